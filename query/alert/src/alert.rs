//! The state machine of an alerting rule: which alerts are pending, firing or resolved after each evaluation.
//!
//! Pure: no clock, no I/O. It is Prometheus' state machine line by line, with one more way for an alert to stay, that its
//! inputs are gone (see [`NoData`](crate::NoData)).

use std::collections::{BTreeMap, HashSet};

use trivium_promql::{Label, Labels};

/// How long a resolved alert is kept, so that it is told again.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// How an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Resolved.
    Inactive,
    /// In the result for less than `for`.
    Pending,
    /// To be told of.
    Firing,
}

impl AlertState {
    /// Its name in the API and in `alertstate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// One alert of a rule. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The labels of its sample, by which its inputs are looked for when it is no longer in the result.
    pub(crate) source: Labels,
    /// When it was last in the result.
    pub(crate) seen_ms: i64,
    /// What identifies it: labels of the result, of the rule, and `alertname`.
    pub labels: Labels,
    /// Its texts.
    pub annotations: BTreeMap<String, String>,
    /// How it is.
    pub state: AlertState,
    /// The value when it was last in the result.
    pub value: f64,
    /// When it became pending.
    pub active_at_ms: i64,
    /// When it began to fire.
    pub fired_at_ms: Option<i64>,
    /// When it was resolved.
    pub resolved_at_ms: Option<i64>,
    /// When it was last told of.
    pub last_sent_ms: Option<i64>,
    /// Until when it counts as firing for those who were told.
    pub valid_until_ms: Option<i64>,
    /// Since when it only fires for `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
    /// Since when its inputs are missing.
    pub no_data_since_ms: Option<i64>,
}

impl Alert {
    /// What identifies it, as a number.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.labels)
    }

    fn needs_sending(&self, ts: i64, resend_delay_ms: i64) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        let Some(last_sent) = self.last_sent_ms else { return true };
        self.resolved_at_ms.is_some_and(|resolved| resolved > last_sent)
            || last_sent.saturating_add(resend_delay_ms) < ts
    }
}

/// The hash of a label set, as Prometheus and Alertmanager print it.
pub fn fingerprint(labels: &Labels) -> u64 {
    let mut hash = Fnv::default();
    for label in labels.iter() {
        hash.write(label.name.as_bytes());
        hash.write(&[255]);
        hash.write(label.value.as_bytes());
        hash.write(&[255]);
    }
    hash.0
}

/// FNV-1a.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is in the result for the first time.
    Pending,
    /// It fires.
    Firing,
    /// It was pending and is no longer in the result.
    Inactive,
    /// It fired and is resolved.
    Resolved,
    /// Its inputs are gone; it stays as it is.
    NoData,
    /// Its inputs are back.
    DataBack,
}

impl Change {
    /// Its name in the history.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Inactive => "inactive",
            Self::Resolved => "resolved",
            Self::NoData => "no_data",
            Self::DataBack => "data_back",
        }
    }
}

/// An alert of the result with its templates expanded.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) source: Labels,
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// What the state machine needs to know of its rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) hold_ms: i64,
    pub(crate) keep_firing_ms: i64,
    /// How long an alert whose inputs are gone stays; 0 for not at all.
    pub(crate) no_data_ms: i64,
    pub(crate) limit: usize,
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Alerts {
    active: BTreeMap<Labels, Alert>,
}

impl Alerts {
    pub(crate) fn insert(&mut self, alert: Alert) {
        self.active.insert(alert.labels.clone(), alert);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.active.values()
    }

    /// The alerts that fire although they are not among these labels.
    pub(crate) fn firing_without(&self, present: &HashSet<Labels>) -> impl Iterator<Item = &Alert> {
        let missing = self.active.values().filter(|alert| !present.contains(&alert.labels));
        missing.filter(|alert| alert.state == AlertState::Firing)
    }

    /// Takes the result of an evaluation. `vanished` are firing alerts whose inputs are gone. With more alerts than the
    /// limit all are forgotten, as in Prometheus.
    pub(crate) fn advance(
        &mut self,
        ts: i64,
        terms: Terms,
        incoming: Vec<Incoming>,
        vanished: &HashSet<Labels>,
    ) -> Result<Vec<(Change, Labels)>, String> {
        let present: HashSet<Labels> = incoming.iter().map(|one| one.labels.clone()).collect();
        let mut changes = Vec::new();
        for one in incoming {
            self.take(ts, one, &mut changes);
        }
        let mut count = 0;
        self.active.retain(|labels, alert| {
            let (stays, counts) = if present.contains(labels) {
                alert.keep_firing_since_ms = None;
                if alert.no_data_since_ms.take().is_some() {
                    changes.push((Change::DataBack, labels.clone()));
                }
                (true, true)
            } else {
                missing(alert, ts, terms, vanished.contains(labels), &mut changes)
            };
            count += usize::from(counts);
            if counts {
                progress(alert, ts, terms, &mut changes);
            }
            stays
        });
        if terms.limit > 0 && count > terms.limit {
            self.active.clear();
            return Err(format!("exceeded limit of {} with {count} alerts", terms.limit));
        }
        Ok(changes)
    }

    fn take(&mut self, ts: i64, one: Incoming, changes: &mut Vec<(Change, Labels)>) {
        if let Some(alert) = self.active.get_mut(&one.labels).filter(|alert| alert.state != AlertState::Inactive) {
            (alert.value, alert.annotations, alert.seen_ms, alert.source) =
                (one.value, one.annotations, ts, one.source);
            return;
        }
        changes.push((Change::Pending, one.labels.clone()));
        self.insert(Alert {
            source: one.source,
            seen_ms: ts,
            labels: one.labels,
            annotations: one.annotations,
            state: AlertState::Pending,
            value: one.value,
            active_at_ms: ts,
            fired_at_ms: None,
            resolved_at_ms: None,
            last_sent_ms: None,
            valid_until_ms: None,
            keep_firing_since_ms: None,
            no_data_since_ms: None,
        });
    }

    /// Marks the alerts that are to be told of now as told and answers with them.
    pub(crate) fn take_due(&mut self, ts: i64, resend_delay_ms: i64, interval_ms: i64) -> Vec<Alert> {
        let due = self.active.values_mut().filter(|alert| alert.needs_sending(ts, resend_delay_ms));
        due.map(|alert| {
            alert.last_sent_ms = Some(ts);
            // Two evaluations or deliveries may fail before it is taken for resolved.
            alert.valid_until_ms = Some(ts.saturating_add(interval_ms.max(resend_delay_ms).saturating_mul(4)));
            alert.clone()
        })
        .collect()
    }

    /// The series that tell of the alerts: `ALERTS` and `ALERTS_FOR_STATE`.
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    pub(crate) fn samples(&self) -> Vec<(Labels, f64)> {
        let active = self.active.values().filter(|alert| alert.state != AlertState::Inactive);
        let pairs = active.map(|alert| {
            let for_state = alert.labels.with("__name__", "ALERTS_FOR_STATE");
            let alerts = alert.labels.with("__name__", "ALERTS").with("alertstate", alert.state.as_str());
            [(alerts, 1.0), (for_state, alert.active_at_ms.div_euclid(1000) as f64)]
        });
        pairs.flatten().collect()
    }

    /// The state of the rule: that of its most urgent alert.
    pub(crate) fn state(&self) -> AlertState {
        self.active.values().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive)
    }
}

/// What becomes of an alert that is not in the result: whether it is kept, and whether it is still active.
fn missing(
    alert: &mut Alert,
    ts: i64,
    terms: Terms,
    has_vanished: bool,
    changes: &mut Vec<(Change, Labels)>,
) -> (bool, bool) {
    if keeps_without_data(alert, ts, terms, has_vanished, changes) {
        return (true, true);
    }
    if alert.state == AlertState::Firing && terms.keep_firing_ms > 0 {
        let since = *alert.keep_firing_since_ms.get_or_insert(ts);
        if ts.saturating_sub(since) < terms.keep_firing_ms {
            return (true, true);
        }
    }
    let (state, resolved_at) = (alert.state, alert.resolved_at_ms);
    let is_forgotten = match state {
        AlertState::Pending => true,
        AlertState::Inactive => resolved_at.is_some_and(|at| ts.saturating_sub(at) > RESOLVED_RETENTION_MS),
        AlertState::Firing => false,
    };
    match state {
        AlertState::Pending => changes.push((Change::Inactive, alert.labels.clone())),
        AlertState::Firing => {
            changes.push((Change::Resolved, alert.labels.clone()));
            alert.state = AlertState::Inactive;
            alert.resolved_at_ms = Some(ts);
        }
        AlertState::Inactive => {}
    }
    (!is_forgotten, false)
}

/// Whether an alert fires on because its inputs are gone. Notes since when, also after it stopped to count.
fn keeps_without_data(
    alert: &mut Alert,
    ts: i64,
    terms: Terms,
    has_vanished: bool,
    changes: &mut Vec<(Change, Labels)>,
) -> bool {
    if !has_vanished || alert.state != AlertState::Firing {
        if alert.state == AlertState::Firing && alert.no_data_since_ms.take().is_some() {
            changes.push((Change::DataBack, alert.labels.clone()));
        }
        return false;
    }
    let since = alert.no_data_since_ms.unwrap_or_else(|| {
        changes.push((Change::NoData, alert.labels.clone()));
        ts
    });
    alert.no_data_since_ms = Some(since);
    ts.saturating_sub(since) < terms.no_data_ms
}

fn progress(alert: &mut Alert, ts: i64, terms: Terms, changes: &mut Vec<(Change, Labels)>) {
    let held_for = ts.saturating_sub(alert.active_at_ms);
    if alert.state == AlertState::Pending && held_for >= terms.hold_ms {
        alert.state = AlertState::Firing;
        alert.fired_at_ms = Some(ts);
        changes.push((Change::Firing, alert.labels.clone()));
    } else if alert.state == AlertState::Firing && held_for < terms.hold_ms {
        // `for` was raised by a reload.
        alert.state = AlertState::Pending;
        (alert.fired_at_ms, alert.last_sent_ms, alert.keep_firing_since_ms) = (None, None, None);
        changes.push((Change::Pending, alert.labels.clone()));
    }
}

/// The pairs of a set, for JSON.
pub(crate) fn to_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|Label { name, value }| (name.to_string(), value.to_string())).collect()
}

#[cfg(test)]
mod tests;
