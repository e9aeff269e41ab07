//! What burned the budget of an SLO over spans: attributes and log patterns that bad events have more often than good ones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trivium_diagnosis::attributes::{self, Contrast};
use trivium_diagnosis::patterns::{self, Miner, Phase};
use trivium_model::{TenantId, TimeRange};
use trivium_slo::{Indicator, SloDefinition, SpanIndicator};

use super::diagnosis::{SpanRow, Stretch, Telemetry};
use crate::log_search::compile_text;
use crate::state::QueryState;

/// How far back events are looked at.
const BACK: Duration = Duration::from_secs(3600);

/// How long reading may take.
const TIME_MAX: Duration = Duration::from_secs(10);

const ATTRIBUTES_MAX: usize = 10;
const PATTERNS_MAX: usize = 5;

/// `None` for indicators that are not over spans: metrics have no attributes beyond their groups. Why nothing could be found
/// out is told in place of it, for the budget can be shown all the same.
pub(super) async fn top(state: &Arc<QueryState>, tenant: TenantId, slo: &SloDefinition) -> Option<Value> {
    let Indicator::Spans(indicator) = &slo.indicator else { return None };
    find(state, tenant, indicator).await.unwrap_or_else(|error| Some(json!({"error": error})))
}

async fn find(state: &Arc<QueryState>, tenant: TenantId, indicator: &SpanIndicator) -> Result<Option<Value>, String> {
    let permit = state.admission.acquire().await.map_err(|error| error.to_string())?;
    let now = state.clock.now();
    let range = TimeRange { start: now.before(BACK), end: now };
    let stretch = Telemetry::new(state, tenant, Instant::now() + TIME_MAX).read(range).await?;
    let indicator = indicator.clone();
    let work = tokio::task::spawn_blocking(move || {
        // What blocks goes on when nobody waits for it any more.
        let _permit = permit;
        contrast(&stretch, &indicator, range)
    });
    work.await.map_err(|error| format!("the comparison did not end: {error}"))
}

fn contrast(stretch: &Stretch, indicator: &SpanIndicator, range: TimeRange) -> Option<Value> {
    let bad_traces = traces_with_bad_logs(stretch, indicator)?;
    let is_bad = |span: &SpanRow| {
        (indicator.not_error && span.failed)
            || indicator.below_nanos.is_some_and(|below| u64::try_from(span.end - span.start).unwrap_or(0) >= below)
            || bad_traces.contains(&span.trace_id)
    };
    let events: Vec<(&SpanRow, bool)> = stretch
        .spans
        .iter()
        .filter(|span| *span.service == *indicator.service)
        .filter(|span| indicator.operation.as_ref().is_none_or(|name| **name == *span.name))
        .filter(|span| !indicator.root || span.is_root())
        .map(|span| (span, is_bad(span)))
        .collect();
    let mut contrast = Contrast::new(attributes::Limits::default());
    for (span, bad) in &events {
        let pairs = span.attributes();
        contrast.observe(Phase::During, *bad, pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    }
    let bad: BTreeSet<u128> = events.iter().filter(|(_, bad)| *bad).map(|(span, _)| span.trace_id).collect();
    let good: BTreeSet<u128> = events.iter().filter(|(_, bad)| !bad).map(|(span, _)| span.trace_id).collect();
    let mut miner = Miner::new(patterns::Limits::default());
    for log in stretch.logs.iter().filter(|log| log.trace_id != 0) {
        let phase = match (bad.contains(&log.trace_id), good.contains(&log.trace_id)) {
            (true, _) => Phase::During,
            (false, true) => Phase::Before,
            (false, false) => continue,
        };
        let trace_id = format!("{:032x}", log.trace_id);
        miner.observe(&log.as_pattern(&trace_id), phase);
    }
    // The two sets of traces stand for two stretches of time: what counts is how often a trace has the pattern.
    let grown = miner.grown(count(good.len()), count(bad.len()), PATTERNS_MAX);
    let attributes = contrast.ranked(ATTRIBUTES_MAX).into_iter().map(|difference| {
        json!({
            "name": difference.key, "value": difference.value, "bad": difference.bad, "other": difference.other,
            "bad_share": difference.bad_share, "other_share": difference.other_share, "text": difference.text("bad"),
        })
    });
    let patterns = grown.iter().map(|pattern| {
        let samples = pattern
            .samples
            .iter()
            .map(|sample| json!({"text": sample.text, "time": sample.time.to_string(), "trace_id": sample.trace_id}));
        json!({
            "service": pattern.service, "pattern": pattern.template, "good": pattern.before, "bad": pattern.during,
            "samples": samples.collect::<Vec<_>>(),
        })
    });
    Some(json!({
        "events": events.len(),
        "bad": events.iter().filter(|(_, bad)| *bad).count(),
        "start": range.start.0.to_string(),
        "end": range.end.0.to_string(),
        "attributes": attributes.collect::<Vec<_>>(),
        "log_patterns": patterns.collect::<Vec<_>>(),
        "traces": bad.iter().take(3).map(|id| format!("{id:032x}")).collect::<Vec<_>>(),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of traces are far below 2^53")]
fn count(count: usize) -> f64 {
    (count as f64).max(1.0)
}

fn traces_with_bad_logs(stretch: &Stretch, indicator: &SpanIndicator) -> Option<BTreeSet<u128>> {
    let Some(search) = &indicator.bad_logs else { return Some(BTreeSet::new()) };
    let query = compile_text(search).ok()?;
    let bad = stretch.logs.iter().filter(|log| log.trace_id != 0 && query.matches_text(&log.body));
    Some(bad.map(|log| log.trace_id).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::state;
    use super::*;
    use crate::config::QueryConfig;

    const SLO: &str = "
slos:
- name: pay
  service: payment
  objective: 99
  window: 7d
  indicator: {spans: {service: payment, not_error: true}}
";

    /// Scenario: the only permit of queries is taken. Guarantee: nothing is read for an SLO, and why is told in its place.
    #[tokio::test]
    async fn nothing_is_read_without_a_permit() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = QueryConfig { concurrency: 1, queue_max: 0, ..QueryConfig::default() };
        let state = state(folder.path(), config).await;
        let file = trivium_slo::SourceFile { path: "slos.yaml".into(), text: SLO.into() };
        let slos = trivium_slo::load(&[file]).expect("an SLO").slos;
        let permit = state.admission.acquire().await.expect("the only permit");
        let refused = top(&state, TenantId::DEFAULT, &slos[0]).await.expect("it is over spans");
        assert!(refused["error"].as_str().is_some_and(|error| error.contains("queries are running")), "{refused}");
        drop(permit);
        let found = top(&state, TenantId::DEFAULT, &slos[0]).await.expect("it is over spans");
        assert_eq!((&found["error"], &found["events"]), (&Value::Null, &json!(0)), "{found}");
        assert_eq!(state.admission.load(), (0, 0), "the permit is given back");
    }
}
