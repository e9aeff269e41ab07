//! `absent` and `absent_over_time`.

use super::matrix::{ABSENT, Column, Values};
use super::{Evaluator, Result, Steps};
use crate::ast::{Call, Expr, ExprKind};
use crate::labels::{Labels, METRIC_NAME, MatchKind, Matcher};

impl Evaluator<'_> {
    pub(super) fn absent(&self, call: &Call, steps: Steps) -> Result<Values> {
        let columns = self.vector(&call.args[0], steps)?;
        Ok(missing(&columns, labels_of(&call.args[0]), steps))
    }

    pub(super) fn absent_over_time(&self, call: &Call, steps: Steps) -> Result<Values> {
        let Values::Vector(columns) = self.range_call(call, steps)? else { return Ok(Values::Vector(Vec::new())) };
        Ok(missing(&columns, labels_of(&call.args[0]), steps))
    }
}

/// 1 at the steps where no column has a value.
fn missing(columns: &[Column], labels: Labels, steps: Steps) -> Values {
    let one = |step: usize| if columns.iter().any(|column| column.has(step)) { ABSENT } else { 1.0 };
    let floats = (0..steps.count).map(one).collect();
    let column = Column { labels, floats, ..Column::default() };
    Values::Vector(if column.is_empty() { Vec::new() } else { vec![column] })
}

/// The labels that a selector asks for with `=`, each only once.
fn labels_of(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match &expr.unwrapped().kind {
        ExprKind::Vector(selector) => &selector.matchers,
        ExprKind::Matrix(matrix) => &matrix.selector.matchers,
        _ => return Labels::default(),
    };
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        let name = matcher.name.as_str();
        if matches!(matcher.kind, MatchKind::Equal) && !seen.contains(&name) {
            seen.push(name);
            labels.push((name, &matcher.value));
        } else {
            labels.retain(|(other, _)| *other != name);
        }
    }
    Labels::new(labels)
}
