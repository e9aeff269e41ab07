//! What is told of an evaluation: status and history.

use serde::Serialize;
use trivium_model::{Clock, HistoryEvent, UnixNanos};

use super::evaluate::Context;
use super::{ChangeList, RuleState, to_millis};
use crate::alert::{Alert, AlertState, fingerprint, to_map};
use crate::seam::Completeness;
use crate::status::{Evaluation, Health};

/// The kind of history that alerts have.
const KIND: &str = "alert";

/// Longer errors are cut.
const MAX_ERROR_BYTES: usize = 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    transition: &'a str,
    file: &'a str,
    group: &'a str,
    rule: &'a str,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    slot_ms: i64,
    completeness: Completeness,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Adds the changes of alerts to the history.
pub(super) fn changes(context: &Context<'_>, state: &RuleState, changes: &ChangeList, history: &mut Vec<HistoryEvent>) {
    for (change, labels) in changes {
        let alert = state.alerts.iter().find(|alert| alert.labels == *labels);
        let fingerprint = format!("{:016x}", fingerprint(labels));
        let told = Told {
            labels: to_map(labels),
            annotations: alert.map(|alert| alert.annotations.clone()).unwrap_or_default(),
            value: alert.map(|alert| alert.value.to_string()),
            active_at_ms: alert.map(|alert| alert.active_at_ms),
            fingerprint: Some(fingerprint.clone()),
            ..told(context, state, change.as_str())
        };
        push(context, state, &told, &fingerprint, history);
    }
}

fn told<'a>(context: &'a Context<'_>, state: &'a RuleState, transition: &'a str) -> Told<'a> {
    Told {
        transition,
        file: &context.group.file,
        group: &context.group.name,
        rule: &state.rule.name,
        labels: std::collections::BTreeMap::new(),
        annotations: std::collections::BTreeMap::new(),
        value: None,
        active_at_ms: None,
        fingerprint: None,
        slot_ms: context.slot_ms,
        completeness: state.status.completeness,
        error: None,
    }
}

fn push(context: &Context<'_>, state: &RuleState, told: &Told<'_>, fingerprint: &str, history: &mut Vec<HistoryEvent>) {
    let group = context.group.key();
    let id = format!("{group};{};{fingerprint};{};{}", state.key, told.transition, context.slot_ms);
    let at = UnixNanos(context.slot_ms.saturating_mul(1_000_000));
    match serde_json::to_string(told) {
        Ok(value) => history.push(HistoryEvent { kind: KIND.to_owned(), at, id, value }),
        Err(error) => tracing::error!(group, %error, "a line of alert history cannot be written"),
    }
}

/// The end of alerts whose rule is no more: they are not resolved, nobody looks any longer.
pub(super) fn removed<'a>(
    clock: &dyn Clock,
    group: &'a str,
    alerts: &'a [Alert],
) -> impl Iterator<Item = HistoryEvent> + use<'a> {
    let at = clock.now();
    let active = alerts.iter().filter(|alert| alert.state != AlertState::Inactive);
    active.map(move |alert| {
        let fingerprint = format!("{:016x}", alert.fingerprint());
        let value = serde_json::json!({
            "transition": "removed",
            "file": group.rsplit_once(';').map_or("", |(file, _)| file),
            "group": group.rsplit_once(';').map_or(group, |(_, name)| name),
            "rule": alert.labels.get("alertname"),
            "labels": to_map(&alert.labels),
            "annotations": &alert.annotations,
            "value": alert.value.to_string(),
            "activeAtMs": alert.active_at_ms,
            "fingerprint": &fingerprint,
            "slotMs": to_millis(at),
        });
        let id = format!("{group};{fingerprint};removed;{}", to_millis(at));
        HistoryEvent { kind: KIND.to_owned(), at, id, value: value.to_string() }
    })
}

/// Notes how an evaluation went, and in the history when that is not how it went before.
pub(super) fn note(
    context: &Context<'_>,
    state: &mut RuleState,
    error: Option<String>,
    samples: usize,
    started: UnixNanos,
    finished: UnixNanos,
    history: &mut Vec<HistoryEvent>,
) {
    let error = error.map(|mut error| {
        error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
        error
    });
    let health = if error.is_some() { Health::Err } else { Health::Ok };
    let is_new = health == Health::Err && state.status.health != Health::Err;
    let is_over = health == Health::Ok && state.status.health == Health::Err;
    if is_new || is_over {
        let transition = if is_new { "error" } else { "recovered" };
        let told = Told { error: error.as_deref(), ..told(context, state, transition) };
        push(context, state, &told, "", history);
    }
    let duration_seconds = finished.since(started).as_secs_f64();
    let status = &mut state.status;
    (status.health, status.evaluation_seconds) = (health, duration_seconds);
    status.last_error.clone_from(&error);
    status.last_evaluation_ms = Some(to_millis(started));
    status.note(Evaluation { slot_ms: context.slot_ms, duration_seconds, samples, error });
}
