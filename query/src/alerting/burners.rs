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

/// `None` for indicators that are not over spans: metrics have no attributes beyond their groups.
pub(super) async fn top(state: &Arc<QueryState>, tenant: TenantId, slo: &SloDefinition) -> Option<Value> {
    let Indicator::Spans(indicator) = &slo.indicator else { return None };
    let now = state.clock.now();
    let range = TimeRange { start: now.before(BACK), end: now };
    match Telemetry::new(state, tenant, Instant::now() + TIME_MAX).read(range).await {
        Ok(stretch) => {
            let indicator = indicator.clone();
            let work = tokio::task::spawn_blocking(move || contrast(&stretch, &indicator, range));
            work.await.ok().flatten()
        }
        Err(error) => Some(json!({"error": error})),
    }
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
