//! The type check, with Prometheus' messages.

use crate::ast::ValueType::{Matrix, Scalar, String as Text, Vector};
use crate::ast::{
    Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, ExprKind, Position, ValueType, VectorSelector,
};
use crate::functions::Variadic;
use crate::labels::METRIC_NAME;

type Fault = (Position, String);

fn fault(position: Position, message: impl Into<String>) -> Result<(), Fault> {
    Err((position, message.into()))
}

pub(super) fn check(expr: &Expr) -> Result<(), Fault> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => Ok(()),
        ExprKind::Vector(selector) => check_selector(selector, expr.position),
        ExprKind::Matrix(matrix) => check_selector(&matrix.selector, expr.position),
        ExprKind::Paren(inner) => check(inner),
        ExprKind::Aggregate(aggregate) => check_aggregate(aggregate),
        ExprKind::Binary(binary) => check_binary(binary, expr.position),
        ExprKind::Call(call) => check_call(call, expr.position),
        ExprKind::Unary(unary) => {
            check(&unary.operand)?;
            let given = unary.operand.value_type();
            if matches!(given, Scalar | Vector) {
                return Ok(());
            }
            let message = "unary expression only allowed on expressions of type scalar or instant vector, got";
            fault(expr.position, format!("{message} {:?}", given.documented()))
        }
        ExprKind::Subquery(subquery) => {
            check(&subquery.expr)?;
            let given = subquery.expr.value_type();
            if given == Vector {
                return Ok(());
            }
            let message = format!("subquery is only allowed on instant vector, got {} instead", given.short());
            fault(expr.position, message)
        }
    }
}

pub(super) fn check_selector(selector: &VectorSelector, position: Position) -> Result<(), Fault> {
    if let Some(name) = &selector.name {
        let others = &selector.matchers[..selector.matchers.len().saturating_sub(1)];
        return match others.iter().find(|matcher| matcher.name == METRIC_NAME) {
            Some(other) => fault(position, format!("metric name must not be set twice: {name:?} or {:?}", other.value)),
            None => Ok(()),
        };
    }
    if selector.matchers.iter().all(|matcher| matcher.matches("")) {
        return fault(position, "vector selector must contain at least one non-empty matcher");
    }
    Ok(())
}

fn expect(expr: &Expr, wanted: ValueType, context: &str) -> Result<(), Fault> {
    check(expr)?;
    let given = expr.value_type();
    if given == wanted {
        return Ok(());
    }
    let message = format!("expected type {} in {context}, got {}", wanted.documented(), given.documented());
    fault(expr.position, message)
}

fn check_aggregate(aggregate: &Aggregate) -> Result<(), Fault> {
    expect(&aggregate.expr, Vector, "aggregation expression")?;
    let Some(param) = &aggregate.param else { return Ok(()) };
    let wanted = if aggregate.op == AggregateOp::CountValues { Text } else { Scalar };
    expect(param, wanted, "aggregation parameter")
}

fn check_binary(binary: &Binary, position: Position) -> Result<(), Fault> {
    check(&binary.left)?;
    check(&binary.right)?;
    let sides = [&binary.left, &binary.right];
    let types = sides.map(Expr::value_type);
    let operator = Position { start: binary.left.position.end, end: binary.right.position.start };
    if binary.returns_bool && !binary.op.is_comparison() {
        return fault(operator, "bool modifier can only be used on comparison operators");
    }
    if binary.op.is_comparison() && !binary.returns_bool && types == [Scalar, Scalar] {
        return fault(operator, "comparisons between scalars must use BOOL modifier");
    }
    let matching = &binary.matching;
    let both = matching.labels.iter().find(|label| matching.on && matching.include.contains(label));
    if let Some(label) = both {
        return fault(operator, format!("label {label:?} must not occur in ON and GROUP clause at once"));
    }
    for side in sides {
        if matches!(side.value_type(), Matrix | Text) {
            return fault(side.position, "binary expression must contain only scalar and instant vector types");
        }
    }
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if types != [Vector, Vector] {
        if !matching.labels.is_empty() {
            return fault(position, "vector matching only allowed between instant vectors");
        }
        if fills {
            return fault(position, "filling in missing series only allowed between instant vectors");
        }
        if binary.op.is_set() {
            let operator = binary.op.as_str();
            return fault(position, format!("set operator {operator:?} not allowed in binary scalar expression"));
        }
    } else if binary.op.is_set() {
        if matching.cardinality != Cardinality::OneToOne {
            return fault(position, format!("no grouping allowed for {:?} operation", binary.op.as_str()));
        }
        if fills {
            return fault(position, "filling in missing series not allowed for set operators");
        }
    }
    Ok(())
}

fn check_call(call: &Call, position: Position) -> Result<(), Fault> {
    let function = call.function;
    let (wanted, given, name) = (function.args.len(), call.args.len(), function.name);
    match function.variadic {
        Variadic::No if wanted != given => {
            return fault(position, format!("expected {wanted} argument(s) in call to {name:?}, got {given}"));
        }
        Variadic::AtMost(_) | Variadic::Any if given + 1 < wanted => {
            let least = wanted - 1;
            return fault(position, format!("expected at least {least} argument(s) in call to {name:?}, got {given}"));
        }
        Variadic::AtMost(more) if given > wanted - 1 + more => {
            let most = wanted - 1 + more;
            return fault(position, format!("expected at most {most} argument(s) in call to {name:?}, got {given}"));
        }
        _ => {}
    }
    for (index, arg) in call.args.iter().enumerate() {
        if name == "info" && index == 1 {
            check_info_selector(arg)?;
            continue;
        }
        let wanted = function.args[index.min(wanted - 1)];
        check(arg)?;
        if arg.value_type() != wanted {
            let (wanted, given) = (wanted.documented(), arg.value_type().documented());
            return fault(arg.position, format!("expected type {wanted} in call to function {name:?}, got {given}"));
        }
    }
    Ok(())
}

/// The second argument of `info` is a selector of labels: it needs no matcher that is not empty.
fn check_info_selector(arg: &Expr) -> Result<(), Fault> {
    match &arg.kind {
        ExprKind::Vector(selector) if selector.name.is_some() => {
            fault(arg.position, "expected label selectors only, got vector selector instead")
        }
        ExprKind::Vector(_) => Ok(()),
        _ if arg.value_type() != Vector => {
            let given = arg.value_type().documented();
            fault(arg.position, format!("expected type instant vector in call to function \"info\", got {given}"))
        }
        _ => fault(arg.position, "expected label selectors only"),
    }
}
