//! The state machine behind notifications: alerts, groups, timers, the log. It does nothing by itself: it is handed
//! alerts and the time, and says what is to be sent and what is to be kept, so that tests run hours in milliseconds.

mod changes;
mod flush;
mod group;
mod log;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use trivium_model::{StateRecord, UnixNanos};

use crate::alert::{Alert, AlertInput};
use crate::config::Config;
use crate::labels::{Fingerprint, Labels};
use crate::metrics::Counters;
use crate::silence::Silences;

pub(crate) use changes::{ALERT, Changes, GROUP, LOG, META, SILENCE, key_of};
pub(crate) use flush::{Delivery, Notification, Notified, Outcome, SendJob};
pub(crate) use group::{Group, GroupId, GroupState};
pub(crate) use log::LogEntry;
pub use log::Reason;

/// Alerts at one time.
pub(crate) const ALERTS_MAX: usize = 100_000;

/// How often what is old is forgotten, and how exactly the end of the process is known afterwards.
const MAINTENANCE: Duration = Duration::from_secs(15);

/// The record that tells when this process was last alive.
pub(crate) const ALIVE: &str = "alive";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Flush(GroupId),
    Retry(u64),
    Maintenance,
}

/// Everything about notifications that is not I/O.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) alerts: HashMap<Fingerprint, Alert>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) silences: Silences,
    pub(crate) changes: Changes,
    pub(crate) counters: Counters,
    log: HashMap<String, LogEntry>,
    /// In which groups each alert is.
    members: HashMap<Fingerprint, BTreeSet<GroupId>>,
    /// For each inhibition rule: what sources agree in, and which alerts they are.
    sources: Vec<HashMap<Vec<String>, BTreeSet<Fingerprint>>>,
    deliveries: HashMap<u64, Delivery>,
    last_delivery: u64,
    timers: BTreeSet<(i64, Timer)>,
}

/// What was kept, as it is read back.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) alerts: Vec<StateRecord>,
    pub(crate) silences: Vec<StateRecord>,
    pub(crate) log: Vec<StateRecord>,
    pub(crate) groups: Vec<StateRecord>,
    pub(crate) meta: Vec<StateRecord>,
}

impl Core {
    pub(crate) fn new(config: Arc<Config>, kept: Kept, now: UnixNanos) -> Self {
        let sources = config.inhibit_rules.iter().map(|_| HashMap::new()).collect();
        let mut core = Self {
            config,
            alerts: HashMap::new(),
            groups: BTreeMap::new(),
            silences: Silences::default(),
            changes: Changes::default(),
            counters: Counters::default(),
            log: HashMap::new(),
            members: HashMap::new(),
            sources,
            deliveries: HashMap::new(),
            // No delivery of a predecessor, whose outcome may still come in, has the same number.
            last_delivery: now.0.unsigned_abs(),
            timers: BTreeSet::from([(now.after(MAINTENANCE).0, Timer::Maintenance)]),
        };
        core.restore(kept, now);
        core
    }

    fn restore(&mut self, kept: Kept, now: UnixNanos) {
        let alive = kept.meta.iter().find(|record| record.key == ALIVE).and_then(decode::<i64>);
        for silence in kept.silences.iter().filter_map(decode) {
            self.silences.restore(silence);
        }
        self.log = kept.log.iter().filter_map(|record| Some((record.key.clone(), decode(record)?))).collect();
        let states = kept.groups.iter().filter_map(|record| Some((record.key.clone(), decode(record)?))).collect();
        let mut alerts: Vec<Alert> = kept.alerts.iter().filter_map(decode).collect();
        if let Some(alive) = alive {
            // Nobody could send an alert again while nobody listened: that time does not count.
            let downtime = now.0.saturating_sub(alive).max(0);
            for alert in alerts.iter_mut().filter(|alert| alert.ends_at > alive) {
                alert.ends_at = alert.ends_at.saturating_add(downtime);
                self.changes.put(ALERT, alert.fingerprint().to_string(), &*alert);
            }
        }
        self.regroup(alerts, &states, now);
        self.changes.put(META, ALIVE.into(), &now.0);
    }

    /// Takes another configuration. Groups that are the same in it go on as if nothing had happened.
    pub(crate) fn reload(&mut self, config: Arc<Config>, now: UnixNanos) {
        let states = self.groups.values().map(|group| (key_of(&group.key), group.state())).collect();
        let alerts = std::mem::take(&mut self.alerts).into_values().collect();
        self.sources = config.inhibit_rules.iter().map(|_| HashMap::new()).collect();
        self.config = config;
        for (_, group) in std::mem::take(&mut self.groups) {
            self.changes.delete(GROUP, key_of(&group.key));
        }
        self.members.clear();
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Flush(_)));
        self.deliveries.values_mut().for_each(|delivery| delivery.group = None);
        self.regroup(alerts, &states, now);
    }

    fn regroup(&mut self, alerts: Vec<Alert>, states: &HashMap<String, GroupState>, now: UnixNanos) {
        for alert in alerts {
            let fingerprint = alert.fingerprint();
            self.index(fingerprint, &alert.labels);
            self.join(fingerprint, &alert, states, now);
            self.alerts.insert(fingerprint, alert);
        }
    }

    /// Takes alerts; says what is wrong with those that are refused.
    pub(crate) fn put(&mut self, inputs: Vec<AlertInput>, now: UnixNanos) -> Vec<String> {
        let mut problems = Vec::new();
        for input in inputs {
            match Alert::accept(input, now, self.config.resolve_timeout) {
                Ok(alert) => problems.extend(self.put_one(alert, now).err()),
                Err(problem) => {
                    self.counters.alerts_invalid += 1;
                    problems.push(problem);
                }
            }
        }
        problems
    }

    fn put_one(&mut self, mut alert: Alert, now: UnixNanos) -> Result<(), String> {
        let fingerprint = alert.fingerprint();
        let is_resolved = alert.is_resolved(now);
        let counter = if is_resolved { &mut self.counters.alerts_resolved } else { &mut self.counters.alerts_firing };
        *counter += 1;
        match self.alerts.get(&fingerprint) {
            Some(old) => {
                let is_told = self.members.get(&fingerprint).is_some_and(|groups| {
                    groups.iter().any(|id| self.groups.get(id).is_some_and(|group| group.is_flushed))
                });
                let grouped_as = old.grouped_as.clone();
                alert = alert.after(old, now);
                if is_told {
                    alert.grouped_as = grouped_as;
                }
            }
            // The end of something that nobody was told of.
            None if is_resolved => return Ok(()),
            None if self.alerts.len() >= ALERTS_MAX => {
                return Err(format!("{ALERTS_MAX} alerts are active; this one is refused"));
            }
            None => self.index(fingerprint, &alert.labels),
        }
        self.changes.put(ALERT, fingerprint.to_string(), &alert);
        self.join(fingerprint, &alert, &HashMap::new(), now);
        self.alerts.insert(fingerprint, alert);
        Ok(())
    }

    fn index(&mut self, fingerprint: Fingerprint, labels: &Labels) {
        for (rule, sources) in self.config.inhibit_rules.iter().zip(&mut self.sources) {
            if rule.source.matches(labels) {
                sources.entry(rule.agreement(labels)).or_default().insert(fingerprint);
            }
        }
    }

    /// Puts an alert into its groups, and takes it out of those that it does not belong to any more.
    fn join(&mut self, fingerprint: Fingerprint, alert: &Alert, states: &HashMap<String, GroupState>, now: UnixNanos) {
        let config = Arc::clone(&self.config);
        let mut wanted = BTreeSet::new();
        for at in config.routes.matching(&alert.labels) {
            let route = config.routes.get(at);
            let id = (at, route.group_labels(&alert.labels, alert.grouped_as.as_deref()));
            let wait = route.options.group_wait;
            let is_late = UnixNanos(alert.starts_at).after(wait) < now;
            let first_flush = if is_late { now } else { now.after(wait) };
            if let Some(group) = self.groups.get_mut(&id) {
                group.alerts.insert(fingerprint);
                if is_late && !group.is_flushed && group.next_flush > now.0 {
                    self.schedule(&id, now.0);
                }
            } else {
                let key = format!("{}:{}", route.key, id.1);
                let first = GroupState { next_flush: first_flush.0, is_flushed: false };
                let mut group =
                    Group::new(key, states.get(&key_of(&format!("{}:{}", route.key, id.1))).copied().unwrap_or(first));
                group.alerts.insert(fingerprint);
                self.changes.put(GROUP, key_of(&group.key), &group.state());
                self.timers.insert((group.next_flush, Timer::Flush(id.clone())));
                self.groups.insert(id.clone(), group);
            }
            wanted.insert(id);
        }
        let old = self.members.insert(fingerprint, wanted.clone()).unwrap_or_default();
        for id in old.difference(&wanted) {
            self.leave(id, fingerprint);
        }
    }

    /// Sets the time of a group's next flush.
    fn schedule(&mut self, id: &GroupId, at: i64) {
        if let Some(group) = self.groups.get_mut(id) {
            self.timers.remove(&(group.next_flush, Timer::Flush(id.clone())));
            group.next_flush = at;
            self.timers.insert((at, Timer::Flush(id.clone())));
            self.changes.put(GROUP, key_of(&group.key), &group.state());
        }
    }

    fn leave(&mut self, id: &GroupId, fingerprint: Fingerprint) {
        if let Some(group) = self.groups.get_mut(id) {
            group.alerts.remove(&fingerprint);
            if group.alerts.is_empty() {
                self.timers.remove(&(group.next_flush, Timer::Flush(id.clone())));
                self.changes.delete(GROUP, key_of(&group.key));
                self.groups.remove(id);
            }
        }
    }

    /// Forgets an alert that is resolved and that all who had to know were told about.
    fn forget(&mut self, fingerprint: Fingerprint) {
        if let Some(alert) = self.alerts.remove(&fingerprint) {
            for (rule, sources) in self.config.inhibit_rules.iter().zip(&mut self.sources) {
                let agreement = rule.agreement(&alert.labels);
                if let Some(all) = sources.get_mut(&agreement) {
                    all.remove(&fingerprint);
                    if all.is_empty() {
                        sources.remove(&agreement);
                    }
                }
            }
        }
        self.members.remove(&fingerprint);
        self.changes.delete(ALERT, fingerprint.to_string());
    }

    /// An alert that fires and mutes a label set.
    pub(crate) fn inhibitor(&self, labels: &Labels, now: UnixNanos) -> Option<Fingerprint> {
        let itself = labels.fingerprint();
        self.config.inhibit_rules.iter().zip(&self.sources).find_map(|(rule, sources)| {
            let agreeing = sources.get(&rule.agreement(labels))?;
            agreeing.iter().copied().find(|source| {
                *source != itself
                    && self
                        .alerts
                        .get(source)
                        .is_some_and(|alert| !alert.is_resolved(now) && rule.mutes(&alert.labels, labels))
            })
        })
    }

    /// The time intervals that mute a route now.
    pub(crate) fn muted_by(&self, route: usize, now: UnixNanos) -> Vec<String> {
        let options = &self.config.routes.get(route).options;
        let is_within = |name: &&String| {
            self.config.time_intervals.get(*name).is_some_and(|all| all.iter().any(|interval| interval.contains(now)))
        };
        let active = &options.active_time_intervals;
        let mut muting: Vec<String> = options.mute_time_intervals.iter().filter(is_within).cloned().collect();
        if !active.is_empty() && !active.iter().any(|name| is_within(&name)) {
            muting.extend(active.iter().cloned());
        }
        muting
    }

    /// When there is something to do next.
    pub(crate) fn next_at(&self) -> Option<UnixNanos> {
        self.timers.first().map(|(at, _)| UnixNanos(*at))
    }

    /// Does what is due; says what is to be sent.
    pub(crate) fn poll(&mut self, now: UnixNanos) -> Vec<SendJob> {
        let mut jobs = Vec::new();
        // What becomes due meanwhile waits for the next call: a loop without end is impossible.
        let due: Vec<_> = self.timers.range(..=(now.0, Timer::Maintenance)).cloned().collect();
        for entry in due {
            if !self.timers.remove(&entry) {
                continue;
            }
            match entry.1 {
                Timer::Flush(id) => self.flush(&id, now, &mut jobs),
                Timer::Retry(id) => jobs.extend(self.retry(id)),
                Timer::Maintenance => self.maintain(now),
            }
        }
        jobs
    }

    fn maintain(&mut self, now: UnixNanos) {
        for id in self.silences.forget(now) {
            self.changes.delete(SILENCE, id);
        }
        for (key, _) in self.log.extract_if(|_, entry| entry.expires_at <= now.0) {
            self.changes.delete(LOG, key);
        }
        if !self.alerts.is_empty() {
            self.changes.put(META, ALIVE.into(), &now.0);
        }
        self.timers.insert((now.after(MAINTENANCE).0, Timer::Maintenance));
    }
}

fn decode<T: DeserializeOwned>(record: &StateRecord) -> Option<T> {
    let decoded = serde_json::from_slice(&record.value);
    decoded
        .inspect_err(|error| tracing::error!(key = record.key, %error, "a record of notifications cannot be read"))
        .ok()
}
