//! A flush: what of a group is told to whom, and what follows from how that went.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use trivium_model::{HistoryEvent, UnixNanos};

use super::changes::{LOG, key_of};
use super::log::reason;
use super::{Core, GroupId, LogEntry, Reason, Timer};
use crate::alert::Alert;
use crate::config::{Integration, Settings};
use crate::labels::{Fingerprint, Labels};
use crate::silence::RETENTION;

/// The least time that a notification gets, whatever `group_interval` is.
const DEADLINE_MIN: Duration = Duration::from_secs(10);

/// Pauses between attempts: the first, and the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Alerts that a line of history names.
const HISTORY_ALERTS_MAX: usize = 100;

/// One alert as a notification has it.
#[derive(Clone, Debug)]
pub(crate) struct Notified {
    pub(crate) alert: Alert,
    pub(crate) is_resolved: bool,
}

/// What is to be told to one integration.
#[derive(Clone, Debug)]
pub(crate) struct Notification {
    pub(crate) receiver: String,
    pub(crate) group_key: String,
    pub(crate) group_labels: Labels,
    pub(crate) reason: Reason,
    /// In Alertmanager's order.
    pub(crate) alerts: Vec<Notified>,
    /// The time of the flush.
    pub(crate) at: UnixNanos,
}

/// One attempt to tell it.
#[derive(Clone, Debug)]
pub(crate) struct SendJob {
    pub(crate) id: u64,
    pub(crate) deadline: UnixNanos,
    pub(crate) integration: Integration,
    pub(crate) notification: Arc<Notification>,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was told.
    Sent,
    /// It may go better later; not before `after`, if the receiver said so.
    Transient { problem: String, after: Option<Duration> },
    /// It will never go.
    Permanent(String),
}

/// A notification on its way.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// `None` when a reload took the group away.
    pub(crate) group: Option<GroupId>,
    job: SendJob,
    log_key: String,
    entry: LogEntry,
    attempts: u32,
    problem: String,
}

impl Core {
    pub(super) fn flush(&mut self, id: &GroupId, now: UnixNanos, jobs: &mut Vec<SendJob>) {
        let config = Arc::clone(&self.config);
        let options = &config.routes.get(id.0).options;
        let Some(group) = self.groups.get_mut(id) else { return };
        if group.open > 0 {
            group.is_due = true;
            return;
        }
        (group.is_flushed, group.has_failed, group.is_due) = (true, false, false);
        let key = group.key.clone();
        let mut alerts: Vec<Notified> = group
            .alerts
            .iter()
            .filter_map(|fingerprint| self.alerts.get(fingerprint))
            .map(|alert| Notified { is_resolved: alert.is_resolved(now), alert: alert.clone() })
            .collect();
        alerts.sort_by(|left, right| left.alert.labels.compare(&right.alert.labels));
        let resolved = alerts.iter().filter(|one| one.is_resolved);
        group.resolved = resolved.map(|one| (one.alert.fingerprint(), one.alert.updated_at)).collect();
        self.schedule(id, now.after(options.group_interval).0);
        let is_muted = !self.muted_by(id.0, now).is_empty();
        alerts.retain(|one| {
            !is_muted
                && self.inhibitor(&one.alert.labels, now).is_none()
                && self.silences.muting(&one.alert.labels, now).is_empty()
        });
        let integrations = config.receiver(&options.receiver).map_or(&[][..], |receiver| &receiver.integrations);
        if !alerts.is_empty() {
            for integration in integrations {
                let delivery = self.prepare(id, &key, integration, &alerts, now);
                jobs.extend(delivery.and_then(|delivery| self.start(delivery, now)));
            }
        }
        self.finish(id, now);
    }

    /// What an integration is to be told, if there is something new.
    fn prepare(
        &self,
        id: &GroupId,
        key: &str,
        to: &Integration,
        alerts: &[Notified],
        now: UnixNanos,
    ) -> Option<Delivery> {
        let options = &self.config.routes.get(id.0).options;
        let log_key = key_of(&format!("{key}|{}/{}/{}", options.receiver, to.kind(), to.index));
        let mut entry = LogEntry { at: now.0, ..LogEntry::default() };
        // Twice the time after which it would be repeated: later it is of no use.
        entry.expires_at = now.after(RETENTION.min(options.repeat_interval.saturating_mul(2))).0;
        for one in alerts {
            let fingerprint = one.alert.fingerprint().0;
            if one.is_resolved {
                entry.resolved.insert(fingerprint);
            } else {
                entry.firing.insert(fingerprint);
                entry.evidence.extend(one.alert.evidence.is_some().then_some(fingerprint));
            }
        }
        let known = self.log.get(&log_key).filter(|known| known.expires_at > now.0);
        let reason = reason(known, &entry, to.send_resolved, options.repeat_interval, now)?;
        let told = alerts.iter().filter(|one| to.send_resolved || !one.is_resolved).cloned().collect();
        let notification = Notification {
            receiver: options.receiver.clone(),
            group_key: key.to_owned(),
            group_labels: id.1.clone(),
            reason,
            alerts: told,
            at: now,
        };
        let deadline = now.after(options.group_interval.max(DEADLINE_MIN));
        let job = SendJob { id: 0, deadline, integration: to.clone(), notification: Arc::new(notification) };
        Some(Delivery { group: Some(id.clone()), job, log_key, entry, attempts: 0, problem: String::new() })
    }

    fn start(&mut self, mut delivery: Delivery, now: UnixNanos) -> Option<SendJob> {
        // A receiver that is not told of ends has nothing to hear when all is over; the log is to know it.
        if delivery.job.notification.alerts.is_empty() {
            self.write_log(delivery.log_key, delivery.entry);
            return None;
        }
        if matches!(delivery.job.integration.settings, Settings::Record) {
            self.counters.attempt("record");
            self.counters.outcome("record", true, Duration::ZERO);
            self.record(&delivery, "recorded", now);
            self.write_log(delivery.log_key, delivery.entry);
            return None;
        }
        self.last_delivery += 1;
        delivery.job.id = self.last_delivery;
        delivery.attempts = 1;
        self.counters.attempt(delivery.job.integration.kind());
        let job = delivery.job.clone();
        if let Some(group) = delivery.group.as_ref().and_then(|id| self.groups.get_mut(id)) {
            group.open += 1;
        }
        self.deliveries.insert(job.id, delivery);
        Some(job)
    }

    pub(super) fn retry(&mut self, id: u64) -> Option<SendJob> {
        let delivery = self.deliveries.get_mut(&id)?;
        delivery.attempts += 1;
        self.counters.attempt(delivery.job.integration.kind());
        Some(delivery.job.clone())
    }

    /// Takes the outcome of an attempt.
    pub(crate) fn complete(&mut self, id: u64, outcome: Outcome, now: UnixNanos) {
        let Some(mut delivery) = self.deliveries.remove(&id) else { return };
        let kind = delivery.job.integration.kind();
        let took = now.since(delivery.job.notification.at);
        match outcome {
            Outcome::Sent => {
                self.counters.outcome(kind, true, took);
                self.record(&delivery, "sent", now);
                self.write_log(delivery.log_key, delivery.entry);
                self.close(delivery.group, true, now);
            }
            Outcome::Transient { problem, after } => {
                self.counters.request_failed(kind);
                let pause = backoff(delivery.attempts).max(after.unwrap_or_default());
                delivery.problem = problem;
                let next = now.after(pause);
                if next < delivery.job.deadline {
                    self.timers.insert((next.0, Timer::Retry(id)));
                    self.deliveries.insert(id, delivery);
                    return;
                }
                self.fail(delivery, now);
            }
            Outcome::Permanent(problem) => {
                self.counters.request_failed(kind);
                delivery.problem = problem;
                self.fail(delivery, now);
            }
        }
    }

    fn fail(&mut self, delivery: Delivery, now: UnixNanos) {
        let kind = delivery.job.integration.kind();
        let (receiver, attempts) = (&delivery.job.notification.receiver, delivery.attempts);
        tracing::warn!(receiver, integration = kind, attempts, problem = delivery.problem, "a notification failed");
        self.counters.outcome(kind, false, now.since(delivery.job.notification.at));
        self.record(&delivery, "failed", now);
        self.close(delivery.group, false, now);
    }

    fn close(&mut self, group: Option<GroupId>, is_sent: bool, now: UnixNanos) {
        let Some(id) = group else { return };
        if let Some(group) = self.groups.get_mut(&id) {
            group.open = group.open.saturating_sub(1);
            group.has_failed |= !is_sent;
        }
        self.finish(&id, now);
    }

    /// Once nothing of a flush is open: what is resolved and told leaves the group, and an empty group is over.
    fn finish(&mut self, id: &GroupId, now: UnixNanos) {
        let Some(group) = self.groups.get_mut(id).filter(|group| group.open == 0) else { return };
        if group.is_due {
            self.timers.insert((group.next_flush, Timer::Flush(id.clone())));
        }
        if group.has_failed {
            return;
        }
        for (fingerprint, updated_at) in std::mem::take(&mut group.resolved) {
            let is_same = |alert: &Alert| alert.updated_at == updated_at && alert.is_resolved(now);
            if self.alerts.get(&fingerprint).is_some_and(is_same) {
                self.part(id, fingerprint);
            }
        }
    }

    fn part(&mut self, id: &GroupId, fingerprint: Fingerprint) {
        self.leave(id, fingerprint);
        let members = self.members.get_mut(&fingerprint);
        let is_alone = members.is_none_or(|groups| {
            groups.remove(id);
            groups.is_empty()
        });
        if is_alone {
            self.forget(fingerprint);
        }
    }

    fn write_log(&mut self, key: String, entry: LogEntry) {
        self.changes.put(LOG, key.clone(), &entry);
        self.log.insert(key, entry);
    }

    /// A line of history: what was told to whom, how it went and how long it took since the sample.
    fn record(&mut self, delivery: &Delivery, outcome: &str, now: UnixNanos) {
        let notification = &delivery.job.notification;
        let named = notification.alerts.iter().take(HISTORY_ALERTS_MAX).map(|one| {
            json!({
                "fingerprint": one.alert.fingerprint().to_string(),
                "labels": one.alert.labels,
                "status": if one.is_resolved { "resolved" } else { "firing" },
                "incident": one.alert.incident,
            })
        });
        let alerts: Vec<_> = named.collect();
        let firing = notification.alerts.iter().filter(|one| !one.is_resolved);
        let first = |time: fn(&Alert) -> Option<i64>| firing.clone().filter_map(|one| time(&one.alert)).min();
        let value = json!({
            "receiver": notification.receiver,
            "integration": delivery.job.integration.kind(),
            "integration_index": delivery.job.integration.index,
            "group_key": notification.group_key,
            "group_labels": notification.group_labels,
            "reason": notification.reason.as_str(),
            "outcome": outcome,
            "error": Some(&delivery.problem).filter(|problem| !problem.is_empty() && outcome != "sent"),
            "attempts": delivery.attempts,
            "alerts": alerts,
            "alerts_total": notification.alerts.len(),
            "has_evidence": notification.alerts.iter().any(|one| one.alert.evidence.is_some()),
            "sampled_at": first(|alert| alert.sampled_at).map(|at| at.to_string()),
            "evaluated_at": first(|alert| alert.evaluated_at).map(|at| at.to_string()),
            "flushed_at": notification.at.0.to_string(),
            "finished_at": now.0.to_string(),
            "duration_ms": now.since(notification.at).as_millis().to_string(),
        });
        let id = format!("{}-{}", delivery.log_key, now.0);
        self.changes.append(HistoryEvent { kind: "notification".into(), at: now, id, value: value.to_string() });
    }
}

/// The pause after so many attempts: half a second, half as long again each time, a minute at most.
fn backoff(attempts: u32) -> Duration {
    let factor = 1.5_f64.powi(i32::try_from(attempts.saturating_sub(1).min(30)).unwrap_or(30));
    BACKOFF_FIRST.mul_f64(factor).min(BACKOFF_MAX)
}
