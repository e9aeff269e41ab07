//! Which expressions yield the same at every step, for they look at fixed times only.

use crate::ast::{Expr, ExprKind};

/// Functions whose result depends on the time of evaluation whatever their arguments are.
const TIME_DEPENDENT: [&str; 11] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
];

/// Whether to evaluate an expression for one step only and repeat the result.
pub(super) fn is_worth_once(expr: &Expr) -> bool {
    !matches!(expr.kind, ExprKind::Number(_)) && is_invariant(expr)
}

fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(selector) => selector.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        ExprKind::Paren(inner) => is_invariant(inner),
        ExprKind::Unary(unary) => is_invariant(&unary.operand),
        ExprKind::Aggregate(aggregate) => {
            is_invariant(&aggregate.expr) && aggregate.param.as_ref().is_none_or(is_invariant)
        }
        ExprKind::Binary(binary) => is_invariant(&binary.left) && is_invariant(&binary.right),
        ExprKind::Call(call) => !TIME_DEPENDENT.contains(&call.function.name) && call.args.iter().all(is_invariant),
    }
}
