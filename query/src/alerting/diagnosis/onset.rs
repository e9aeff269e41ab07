//! Since when the trouble lasts, which is not since when it is known.

use trivium_alert::{AlertNotice, Querier, StepRange};
use trivium_model::TenantId;
use trivium_promql::Labels;

use crate::alerting::StoreQuerier;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// How far back the condition is looked for.
const BACK_MILLIS: i64 = 2 * 3_600_000;

const STEP_MILLIS: i64 = 15_000;

/// A pause of the condition that does not end the trouble.
const PAUSE_STEPS: i64 = 8;

/// The time in nanoseconds since which the condition of an alert holds: a server that was down, or a rule that is new, learns
/// late of what lasts for long. Of rules that are not PromQL, when the alert became active.
pub(in crate::alerting) async fn of_alert(querier: &StoreQuerier, tenant: TenantId, notice: &AlertNotice) -> i64 {
    let known = notice.starts_at_ms;
    let range = StepRange { start_ms: known - BACK_MILLIS, end_ms: known, step_ms: STEP_MILLIS };
    let series = querier.promql_range(tenant, &notice.expr, range).await.unwrap_or_default();
    // The alert has the labels of its series and more.
    let is_of_alert = |labels: &Labels| {
        let mut labels = labels.iter().filter(|label| &*label.name != trivium_promql::METRIC_NAME);
        labels.all(|label| notice.labels.get(&*label.name).is_some_and(|value| **value == *label.value))
    };
    let of_alert = series.iter().filter(|series| is_of_alert(&series.labels));
    let begun = of_alert.filter_map(|series| since(&series.floats, known)).min().unwrap_or(known);
    begun.saturating_mul(NANOS_PER_MILLI)
}

/// The first of the points that reach up to `known` without a long pause.
fn since(points: &[(i64, f64)], known: i64) -> Option<i64> {
    let mut first = None;
    for (time, _) in points.iter().rev() {
        if first.unwrap_or(known) - time > PAUSE_STEPS * STEP_MILLIS {
            break;
        }
        first = Some(*time);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_onset_is_where_the_condition_began_to_hold() {
        let points = |times: &[i64]| times.iter().map(|time| (time * STEP_MILLIS, 1.0)).collect::<Vec<_>>();
        let known = 100 * STEP_MILLIS;
        assert_eq!(since(&points(&[10, 11, 60, 61, 65, 70, 75, 80, 88, 95, 100]), known), Some(60 * STEP_MILLIS));
        assert_eq!(since(&points(&[10, 20]), known), None);
        assert_eq!(since(&[], known), None);
    }
}
