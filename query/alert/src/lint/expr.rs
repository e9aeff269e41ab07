//! What can be told from expressions.

use std::collections::BTreeSet;
use std::time::Duration;

use trivium_promql::ast::{
    Aggregate, Binary, BinaryOp, Call, Cardinality, Duration as AstDuration, Expr, ExprKind, ValueType, VectorSelector,
};

use crate::duration::{format_duration, millis};
use crate::inputs::visit;

/// A selector without range, offset and `@`.
pub(super) fn plain(expr: &Expr, selector: &VectorSelector) -> Expr {
    let selector = VectorSelector { offset: None, at: None, ..selector.clone() };
    Expr { kind: ExprKind::Vector(selector), position: expr.position }
}

/// Odd rates: of what looks like a gauge, or over less than two samples.
pub(super) fn rates(expr: &Expr, interval_of: &dyn Fn(&str) -> Duration) -> Vec<(&'static str, String)> {
    const COUNTERS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];
    let mut found = Vec::new();
    visit(expr, &mut |expr| {
        let ExprKind::Call(call) = &expr.kind else { return };
        let function = call.function.name;
        if !matches!(function, "rate" | "irate" | "increase") {
            return;
        }
        let Some(ExprKind::Matrix(matrix)) = call.args.first().map(|arg| &arg.unwrapped().kind) else { return };
        let Some(name) = matrix.selector.name.as_deref() else { return };
        if !COUNTERS.iter().any(|suffix| name.ends_with(suffix)) && !name.contains(':') {
            let message =
                format!("{function}() of {name}, whose name is not one of a counter; a gauge needs delta() or deriv()");
            found.push(("rate-of-gauge", message));
        }
        let interval = interval_of(name);
        if let AstDuration::Fixed(range) = matrix.range
            && range < millis(interval).saturating_mul(2)
        {
            let [range, interval] = [Duration::from_millis(range.unsigned_abs()), interval].map(format_duration);
            let message = format!("{function}({name}[{range}]) needs two samples and they come every {interval}");
            found.push(("rate-too-short", message));
        }
    });
    found
}

/// Whether a value is compared with a number.
pub(super) fn has_threshold(expr: &Expr) -> bool {
    let mut found = false;
    visit(expr, &mut |expr| {
        if let ExprKind::Binary(binary) = &expr.kind
            && binary.op.is_comparison()
        {
            let scalars = [&binary.left, &binary.right].map(|side| side.value_type() == ValueType::Scalar);
            found |= scalars[0] != scalars[1];
        }
    });
    found
}

/// A comparison of an error ratio with `factor * (1 - objective)` that is 1 or more: no ratio is.
pub(super) fn impossible_factor(expr: &Expr) -> Option<String> {
    let mut found = None;
    visit(expr, &mut |expr| {
        let ExprKind::Binary(binary) = &expr.kind else { return };
        let bound = match binary.op {
            BinaryOp::Greater | BinaryOp::GreaterEqual => &binary.right,
            BinaryOp::Less | BinaryOp::LessEqual => &binary.left,
            _ => return,
        };
        if let Some((factor, budget)) = burn(bound)
            && factor * budget >= 1.0
        {
            found = Some(format!(
                "can never fire: {bound} is {}, and no share of errors is larger than 1; take a smaller factor",
                factor * budget
            ));
        }
    });
    found
}

/// A burn factor above 1 and the error budget below 1 that it is multiplied with.
fn burn(expr: &Expr) -> Option<(f64, f64)> {
    let ExprKind::Binary(binary) = &expr.unwrapped().kind else { return None };
    if binary.op != BinaryOp::Mul {
        return None;
    }
    let (left, right) = (constant(&binary.left)?, constant(&binary.right)?);
    let is_budget = |value: f64| value > 0.0 && value < 1.0;
    match (left, right) {
        (factor, budget) | (budget, factor) if factor > 1.0 && is_budget(budget) => Some((factor, budget)),
        _ => None,
    }
}

/// The value of an expression of numbers.
fn constant(expr: &Expr) -> Option<f64> {
    match &expr.unwrapped().kind {
        ExprKind::Number(number) => Some(number.value),
        ExprKind::Unary(unary) => constant(&unary.operand).map(|value| if unary.negates { -value } else { value }),
        ExprKind::Binary(binary) => {
            let (left, right) = (constant(&binary.left)?, constant(&binary.right)?);
            match binary.op {
                BinaryOp::Add => Some(left + right),
                BinaryOp::Sub => Some(left - right),
                BinaryOp::Mul => Some(left * right),
                BinaryOp::Div => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Which labels a result can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KnownLabels {
    /// Any but these.
    AnyBut(BTreeSet<String>),
    /// No others than these.
    Only(BTreeSet<String>),
}

impl KnownLabels {
    fn any() -> Self {
        Self::AnyBut(BTreeSet::new())
    }

    fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether a result certainly does not have a label.
    pub(super) fn lacks(&self, label: &str) -> bool {
        match self {
            Self::AnyBut(missing) => missing.contains(label),
            Self::Only(labels) => !labels.contains(label),
        }
    }

    fn keep<'a>(self, names: impl IntoIterator<Item = &'a String>) -> Self {
        Self::Only(names.into_iter().filter(|name| !self.lacks(name)).cloned().collect())
    }

    fn drop<'a>(self, names: impl IntoIterator<Item = &'a String>) -> Self {
        match self {
            Self::AnyBut(mut missing) => {
                missing.extend(names.into_iter().cloned());
                Self::AnyBut(missing)
            }
            Self::Only(mut labels) => {
                names.into_iter().for_each(|name| {
                    labels.remove(name);
                });
                Self::Only(labels)
            }
        }
    }

    fn add<'a>(self, names: impl IntoIterator<Item = &'a String>) -> Self {
        match self {
            Self::AnyBut(mut missing) => {
                names.into_iter().for_each(|name| {
                    missing.remove(name);
                });
                Self::AnyBut(missing)
            }
            Self::Only(mut labels) => {
                labels.extend(names.into_iter().cloned());
                Self::Only(labels)
            }
        }
    }
}

/// The labels that the result of an expression can have.
pub(super) fn labels(expr: &Expr) -> KnownLabels {
    match &expr.kind {
        ExprKind::Vector(_) | ExprKind::Matrix(_) => KnownLabels::any(),
        ExprKind::Number(_) | ExprKind::String(_) => KnownLabels::none(),
        ExprKind::Paren(inner) => labels(inner),
        ExprKind::Unary(unary) => labels(&unary.operand),
        ExprKind::Subquery(subquery) => labels(&subquery.expr),
        ExprKind::Call(call) => of_call(call),
        ExprKind::Aggregate(aggregate) => of_aggregate(aggregate),
        ExprKind::Binary(binary) => of_binary(binary),
    }
}

fn of_call(call: &Call) -> KnownLabels {
    match call.function.name {
        "label_replace" | "label_join" | "absent" | "absent_over_time" | "info" => KnownLabels::any(),
        "histogram_quantile" => {
            call.args.last().map_or_else(KnownLabels::any, |arg| labels(arg).drop([&"le".to_owned()]))
        }
        "vector" | "scalar" | "time" | "pi" => KnownLabels::none(),
        _ => {
            let series = call.args.iter().find(|arg| matches!(arg.value_type(), ValueType::Vector | ValueType::Matrix));
            series.map_or_else(KnownLabels::none, labels)
        }
    }
}

fn of_aggregate(aggregate: &Aggregate) -> KnownLabels {
    let inner = labels(&aggregate.expr);
    match aggregate.op.as_str() {
        "topk" | "bottomk" | "limitk" | "limit_ratio" => inner,
        "count_values" => KnownLabels::any(),
        _ if aggregate.without => inner.drop(&aggregate.grouping),
        _ => inner.keep(&aggregate.grouping),
    }
}

fn of_binary(binary: &Binary) -> KnownLabels {
    let (left, right) = (labels(&binary.left), labels(&binary.right));
    let scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
    if scalar(&binary.left) {
        return right;
    }
    if scalar(&binary.right) {
        return left;
    }
    let matching = &binary.matching;
    match binary.op {
        BinaryOp::And | BinaryOp::Unless => left,
        BinaryOp::Or if left == right => left,
        BinaryOp::Or => KnownLabels::any(),
        _ => match matching.cardinality {
            Cardinality::ManyToOne => left.add(&matching.include),
            Cardinality::OneToMany => right.add(&matching.include),
            _ if matching.on => left.keep(&matching.labels),
            _ => left.drop(&matching.labels),
        },
    }
}
