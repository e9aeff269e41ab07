//! Checking that a query with all its selectors fixed by `@` gives the same whenever it is asked.

use crate::ast::{At, Expr, ExprKind};
use crate::parse::{ParseOptions, parse};

/// Functions whose result depends on the time of the query, or of the samples, even so.
const DEPENDS_ON_TIME: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// The query with all selectors fixed to a time, unless it has none or depends on the time in other ways.
pub(super) fn fixed_query(query: &str, time: i64) -> Option<String> {
    let mut expr = parse(query, &ParseOptions::EXPERIMENTAL).ok()?;
    let mut has_selector = false;
    fix(&mut expr, time, &mut has_selector).then_some(())?;
    has_selector.then(|| expr.to_string())
}

/// Times to ask a fixed query for.
pub(super) fn other_times(time: i64) -> Vec<i64> {
    if time == 0 {
        return vec![-1000, 0, 1000];
    }
    vec![time.saturating_mul(-10), 0, time / 5, time, time.saturating_mul(10)]
}

/// Fixes all selectors; false if there is something that cannot be fixed.
fn fix(expr: &mut Expr, time: i64, has_selector: &mut bool) -> bool {
    let mut fix_at = |at: &mut Option<At>| {
        *has_selector = true;
        // With one time only, the start and the end of the query are that time.
        if !matches!(at, Some(At::Time(_))) {
            *at = Some(At::Time(time));
        }
        true
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(selector) => fix_at(&mut selector.at),
        ExprKind::Matrix(matrix) => fix_at(&mut matrix.selector.at),
        // What is within is asked for the steps of the subquery, which are fixed with it.
        ExprKind::Subquery(subquery) => fix_at(&mut subquery.at),
        ExprKind::Call(call) => {
            !DEPENDS_ON_TIME.contains(&call.function.name)
                && call.args.iter_mut().all(|argument| fix(argument, time, has_selector))
        }
        ExprKind::Aggregate(aggregate) => {
            fix(&mut aggregate.expr, time, has_selector)
                && aggregate.param.as_mut().is_none_or(|param| fix(param, time, has_selector))
        }
        ExprKind::Binary(binary) => {
            fix(&mut binary.left, time, has_selector) && fix(&mut binary.right, time, has_selector)
        }
        ExprKind::Unary(unary) => fix(&mut unary.operand, time, has_selector),
        ExprKind::Paren(inner) => fix(inner, time, has_selector),
    }
}

#[cfg(test)]
mod tests {
    use super::fixed_query;

    #[test]
    fn selectors_are_fixed() {
        let fixed = |query: &str| fixed_query(query, 60_000);
        assert_eq!(fixed("sum(rate(a[5m])) / b").as_deref(), Some("sum(rate(a[5m] @ 60.000)) / b @ 60.000"));
        assert_eq!(fixed("a @ 3 + b @ end()").as_deref(), Some("a @ 3.000 + b @ 60.000"));
        assert_eq!(
            fixed("max_over_time((time() * a)[5m:1m] offset 1m)").as_deref(),
            Some("max_over_time((time() * a)[5m:1m] @ 60.000 offset 1m)")
        );
        for query in ["1 + 1", "\"a\"", "time() + a", "predict_linear(a[5m], 60)", "timestamp(a)", "a{"] {
            assert_eq!(fixed(query), None, "{query}");
        }
    }
}
