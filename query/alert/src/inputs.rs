//! Whether the inputs of an expression are there: by this missing data are told from a condition that is no longer met.

use std::collections::HashSet;

use trivium_model::TenantId;
use trivium_promql::ast::{Expr, ExprKind, VectorSelector};
use trivium_promql::{Labels, ParseOptions, Value, parse};

use crate::alert::Alert;
use crate::seam::Querier;

/// Selectors that are looked at; an expression with more is only judged by these.
const MAX_SELECTORS: usize = 16;

/// The selectors of an expression, each as an expression that has a sample where the selector has any.
pub(crate) fn selectors(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(expr) = parse(text, &ParseOptions::EXPERIMENTAL) {
        visit(&expr, &mut |expr| found.extend(presence(expr)));
    }
    found.sort();
    found.dedup();
    found.truncate(MAX_SELECTORS);
    found
}

fn presence(expr: &Expr) -> Option<String> {
    // Alerts of other rules come and go as they should.
    let is_input = |selector: &VectorSelector| {
        let name = selector.matchers.iter().find(|matcher| matcher.name == "__name__");
        name.is_none_or(|name| !matches!(name.value.as_str(), "ALERTS" | "ALERTS_FOR_STATE"))
    };
    match &expr.kind {
        ExprKind::Vector(selector) if is_input(selector) => Some(expr.to_string()),
        ExprKind::Matrix(matrix) if is_input(&matrix.selector) => Some(format!("present_over_time({expr})")),
        _ => None,
    }
}

/// The selectors of an expression as they are.
pub(crate) fn vector_selectors(expr: &Expr) -> Vec<(&Expr, &VectorSelector)> {
    let mut found = Vec::new();
    visit(expr, &mut |expr| match &expr.kind {
        ExprKind::Vector(selector) => found.push((expr, selector)),
        ExprKind::Matrix(matrix) => found.push((expr, &matrix.selector)),
        _ => {}
    });
    found
}

/// Calls for every node of an expression.
pub(crate) fn visit<'a>(expr: &'a Expr, call: &mut impl FnMut(&'a Expr)) {
    call(expr);
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {}
        ExprKind::Subquery(subquery) => visit(&subquery.expr, call),
        ExprKind::Call(function) => function.args.iter().for_each(|arg| visit(arg, call)),
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| visit(param, call));
            visit(&aggregate.expr, call);
        }
        ExprKind::Binary(binary) => {
            visit(&binary.left, call);
            visit(&binary.right, call);
        }
        ExprKind::Unary(unary) => visit(&unary.operand, call),
        ExprKind::Paren(inner) => visit(inner, call),
    }
}

/// Where inputs are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) querier: &'a dyn Querier,
    pub(crate) tenant: TenantId,
    /// From [`selectors`].
    pub(crate) selectors: &'a [String],
    /// The query offset in milliseconds.
    pub(crate) offset_ms: i64,
}

impl Inputs<'_> {
    /// Which of the alerts had inputs when they were last seen and have none at `ts`: for one of the selectors there is
    /// no series left with the labels of the alert, where there was one. If a selector never had those labels (the
    /// expression made them), all of its series count.
    pub(crate) async fn vanished(&self, alerts: Vec<&Alert>, ts: i64) -> HashSet<Labels> {
        let mut vanished = HashSet::new();
        let mut seen: Vec<i64> = alerts.iter().map(|alert| alert.seen_ms).collect();
        seen.sort_unstable();
        seen.dedup();
        for selector in self.selectors {
            let mut shapes: Vec<Vec<&str>> = alerts.iter().map(|alert| names(&alert.source)).collect();
            shapes.sort_unstable();
            shapes.dedup();
            for shape in shapes {
                let Some(now) = self.present(selector, &shape, ts).await else { continue };
                for at in &seen {
                    let of_time = alerts.iter().filter(|alert| alert.seen_ms == *at && names(&alert.source) == shape);
                    let missing: Vec<&&Alert> = of_time.filter(|alert| !now.contains(&alert.source)).collect();
                    if missing.is_empty() {
                        continue;
                    }
                    let Some(then) = self.present(selector, &shape, *at).await else { continue };
                    let all_gone = now.is_empty() && !then.is_empty();
                    let is_gone = |alert: &&&Alert| then.contains(&alert.source) || all_gone;
                    vanished.extend(missing.into_iter().filter(is_gone).map(|alert| alert.labels.clone()));
                }
            }
        }
        vanished
    }

    /// Whether any input is there.
    pub(crate) async fn any(&self, ts: i64) -> bool {
        for selector in self.selectors {
            // An error says nothing: what cannot be asked is not missing.
            if self.present(selector, &[], ts).await.is_none_or(|found| !found.is_empty()) {
                return true;
            }
        }
        false
    }

    async fn present(&self, selector: &str, by: &[&str], ts: i64) -> Option<HashSet<Labels>> {
        let by: Vec<String> = by.iter().map(|name| label_name(name)).collect();
        let query = format!("group by ({}) ({selector})", by.join(", "));
        match self.querier.promql(self.tenant, &query, ts.saturating_sub(self.offset_ms)).await {
            Ok(Value::Vector(samples)) => Some(samples.into_iter().map(|sample| sample.labels).collect()),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(query, error, "cannot tell whether the inputs of a rule are there");
                None
            }
        }
    }
}

/// A label's name as PromQL takes it.
fn label_name(name: &str) -> String {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !name.starts_with(|letter: char| letter.is_ascii_digit());
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")) }
}

fn names(labels: &Labels) -> Vec<&str> {
    labels.iter().map(|label| &*label.name).collect()
}

#[cfg(test)]
mod tests {
    use super::selectors;

    #[test]
    fn selectors_are_found_wherever_they_stand() {
        let found =
            selectors("sum(rate(a{b=\"c\"}[5m])) / on() (d offset 1m) > 1 and max_over_time(e[1h:1m]) unless ALERTS");
        assert_eq!(found, ["d offset 1m", "e", "present_over_time(a{b=\"c\"}[5m])"]);
    }
}
