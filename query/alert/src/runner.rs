//! One group: evaluates its rules in order, writes what they give, and keeps their state.

mod evaluate;
mod history;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use trivium_model::{Clock, HistoryEvent, Lease, StateChange, StateError, StateStore, TenantId, UnixNanos};
use trivium_promql::Labels;

use crate::alert::{Alerts, Change};
use crate::duration::millis;
use crate::file::{Group, NoData, Rule, RuleQuery};
use crate::inputs;
use crate::record::{self, GroupRecord, Written};
use crate::schedule::Slots;
use crate::seam::{AlertNotice, Notifier, Querier, SampleToWrite, Sink, WriteValue};
use crate::status::{GroupMetrics, GroupStatus, Health, RuleStatus};
use crate::template::Templates;

/// Events that wait for a store that fails; the oldest are given up beyond.
const MAX_UNSAVED_EVENTS: usize = 10_000;

/// What rules are evaluated with.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Answers queries.
    pub querier: Arc<dyn Querier>,
    /// Takes samples.
    pub sink: Arc<dyn Sink>,
    /// Keeps state.
    pub store: Arc<dyn StateStore>,
    /// Is told of alerts.
    pub notifier: Arc<dyn Notifier>,
    /// Expands templates.
    pub templates: Arc<dyn Templates>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// What holds for all groups.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose rules they are.
    pub tenant: TenantId,
    /// How often groups without interval are evaluated.
    pub evaluation_interval: Duration,
    /// How far queries of groups without offset look back.
    pub query_offset: Duration,
    /// After what time firing and resolved alerts are told of again.
    pub resend_delay: Duration,
    /// What missing data mean for rules that do not say.
    pub no_data: NoData,
    /// How long alerts without data are kept by rules that do not say.
    pub no_data_for: Duration,
    /// Labels of this installation, added to what is told.
    pub external_labels: BTreeMap<String, String>,
    /// Where this installation is reached.
    pub external_url: String,
    /// How many groups are evaluated at once.
    pub max_concurrency: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tenant: TenantId::DEFAULT,
            evaluation_interval: Duration::from_secs(60),
            query_offset: Duration::ZERO,
            resend_delay: Duration::from_secs(60),
            no_data: NoData::Keep,
            no_data_for: Duration::from_secs(15 * 60),
            external_labels: BTreeMap::new(),
            external_url: String::new(),
            max_concurrency: 8,
        }
    }
}

/// The lease has passed to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fenced;

/// A rule and what is remembered of it.
#[derive(Debug)]
struct RuleState {
    rule: Rule,
    key: String,
    /// From [`inputs::selectors`]; empty when missing data mean nothing.
    selectors: Vec<String>,
    alerts: Alerts,
    /// The series of its last evaluation.
    series: Arc<HashSet<Labels>>,
    /// Whether they are others than those that the store has.
    series_changed: bool,
    inputs_seen_ms: Option<i64>,
    status: RuleStatus,
}

/// Where the status of a group can be looked at.
pub(crate) type StatusCell = Arc<Mutex<Arc<GroupStatus>>>;

/// The status of a group that is yet to be evaluated.
pub(crate) fn unknown(group: &Arc<Group>, options: &Options) -> StatusCell {
    let status = GroupStatus {
        group: Arc::clone(group),
        interval_ms: millis(group.interval.unwrap_or(options.evaluation_interval)),
        last_evaluation_ms: None,
        last_slot_ms: None,
        rules: group.rules.iter().map(|_| RuleStatus::default()).collect(),
        series: Vec::new(),
        metrics: GroupMetrics::default(),
    };
    Arc::new(Mutex::new(Arc::new(status)))
}

/// Evaluates one group.
#[derive(Debug)]
pub(crate) struct Runner {
    deps: Deps,
    options: Arc<Options>,
    pub(crate) group: Arc<Group>,
    pub(crate) slots: Slots,
    rules: Vec<RuleState>,
    /// Series of rules that are no more, to be marked stale.
    orphans: HashSet<Labels>,
    pub(crate) last_slot_ms: Option<i64>,
    last_evaluation_ms: Option<i64>,
    generation: u64,
    written: Written,
    unsaved: Vec<HistoryEvent>,
    metrics: GroupMetrics,
    status: StatusCell,
    /// Whether state and history are kept.
    is_durable: bool,
}

impl Runner {
    /// A group with the state that the store has of it. Tells again what the last slot told, for it is not known whether
    /// that arrived.
    pub(crate) async fn load(
        deps: Deps,
        options: Arc<Options>,
        group: Arc<Group>,
        status: StatusCell,
    ) -> Result<Self, StateError> {
        let loaded = record::load(&*deps.store, options.tenant, &group.key()).await?;
        let interval_ms = millis(group.interval.unwrap_or(options.evaluation_interval)).max(1);
        let mut memory = loaded.rules;
        let before = loaded.group;
        let keys = record::rule_keys(&group.rules);
        let rules: Vec<RuleState> = group
            .rules
            .iter()
            .zip(keys)
            .map(|(rule, key)| RuleState::restore(rule.clone(), memory.remove(&key), key, before.as_ref(), &options))
            .collect();
        let key = group.key();
        let unsaved = memory.values().flat_map(|gone| history::removed(&*deps.clock, &key, &gone.alerts)).collect();
        let orphans = memory.into_values().flat_map(|memory| memory.series).collect();
        let metrics = GroupMetrics {
            interval_seconds: Duration::from_millis(interval_ms.unsigned_abs()).as_secs_f64(),
            rules: rules.len(),
            ..GroupMetrics::default()
        };
        let mut runner = Self {
            slots: Slots::of(&group, interval_ms),
            last_slot_ms: before.as_ref().map(|before| before.slot_ms),
            last_evaluation_ms: before.as_ref().map(|before| before.evaluated_ms),
            generation: before.as_ref().map_or(0, |before| before.generation),
            deps,
            options,
            group,
            rules,
            orphans,
            written: loaded.written,
            unsaved,
            metrics,
            status,
            is_durable: true,
        };
        runner.publish();
        runner.tell_again().await;
        Ok(runner)
    }

    /// Keeps neither state nor history: for dry runs.
    pub(crate) fn forgetful(mut self) -> Self {
        self.is_durable = false;
        self
    }

    fn offset_ms(&self) -> i64 {
        millis(self.group.query_offset.unwrap_or(self.options.query_offset))
    }

    /// Evaluates all rules at a slot.
    pub(crate) async fn evaluate(&mut self, slot_ms: i64, lease: Option<Lease>) -> Result<(), Fenced> {
        let started = self.deps.clock.now();
        let missed = self.last_slot_ms.map_or(0, |last| self.slots.missed(last, slot_ms));
        self.metrics.iterations_missed_total += missed;
        self.metrics.iterations_total += missed + 1;
        self.metrics.last_evaluation_samples = 0;
        let mut notices = Vec::new();
        for index in 0..self.rules.len() {
            notices.extend(self.evaluate_rule(index, slot_ms).await);
        }
        self.mark_orphans(slot_ms).await;
        self.generation += 1;
        self.last_slot_ms = Some(slot_ms);
        self.last_evaluation_ms = Some(to_millis(started));
        self.metrics.last_evaluation_timestamp_seconds = seconds(started);
        self.save(lease).await?;
        self.metrics.last_duration_seconds = self.deps.clock.now().since(started).as_secs_f64();
        self.publish();
        if !notices.is_empty() {
            self.deps.notifier.notify(self.options.tenant, notices).await;
        }
        Ok(())
    }

    /// One rule: its state, its samples, and what is to be told.
    async fn evaluate_rule(&mut self, index: usize, slot_ms: i64) -> Vec<AlertNotice> {
        let started = self.deps.clock.now();
        let offset_ms = self.offset_ms();
        let context = evaluate::Context {
            deps: &self.deps,
            options: &self.options,
            group: &self.group,
            slot_ms,
            offset_ms,
            interval_ms: self.slots.interval_ms,
        };
        let Some(state) = self.rules.get_mut(index) else { return Vec::new() };
        let query = &state.rule.query;
        let at_ms = slot_ms.saturating_sub(offset_ms);
        state.status.completeness = self.deps.querier.completeness(self.options.tenant, query, at_ms).await;
        let outcome = context.evaluate(state).await;
        let samples = outcome.samples.as_ref().map_or(0, Vec::len);
        let result = match outcome.samples {
            Ok(samples) => context.write(state, samples).await,
            Err(error) => Err(error),
        };
        self.metrics.evaluations_total += 1;
        self.metrics.evaluation_failures_total += u64::from(result.is_err());
        self.metrics.last_evaluation_samples += samples;
        history::changes(&context, state, &outcome.changes, &mut self.unsaved);
        let notices = outcome.told.iter().map(|alert| context.notice(state, alert)).collect();
        let finished = self.deps.clock.now();
        history::note(&context, state, result.err(), outcome.results, started, finished, &mut self.unsaved);
        notices
    }

    /// Ends the series of rules that are no more, unless another rule took them over.
    async fn mark_orphans(&mut self, slot_ms: i64) {
        if self.orphans.is_empty() {
            return;
        }
        let t_ms = slot_ms.saturating_sub(self.offset_ms());
        let is_taken = |labels: &Labels| self.rules.iter().any(|state| state.series.contains(labels));
        let orphans = self.orphans.iter().filter(|labels| !is_taken(labels));
        let mut samples: Vec<SampleToWrite> =
            orphans.map(|labels| SampleToWrite { labels: labels.clone(), t_ms, value: WriteValue::Stale }).collect();
        samples.sort_by(|left, right| left.labels.cmp(&right.labels));
        match self.deps.sink.append(self.options.tenant, samples).await {
            Ok(_) => self.orphans.clear(),
            Err(error) => {
                tracing::warn!(group = self.group.key(), error, "cannot mark series of removed rules as stale")
            }
        }
    }

    /// Writes state and history in one transaction. When the store fails the evaluation goes on: the next one brings it.
    async fn save(&mut self, lease: Option<Lease>) -> Result<(), Fenced> {
        if !self.is_durable {
            self.unsaved.clear();
            return Ok(());
        }
        let group = self.group.key();
        let mut records = vec![record::group_record(&group, &self.group_record())];
        for state in &self.rules {
            records.extend(state.alerts.iter().map(|alert| record::alert_record(&group, &state.key, alert)));
            if state.series_changed {
                records.extend(record::series_records(&group, &state.key, &state.series));
            }
        }
        let unchanged = self.rules.iter().filter(|state| !state.series_changed);
        let unchanged: HashSet<&str> = unchanged.map(|state| state.key.as_str()).collect();
        // What is to be marked stale must be known until it is.
        let has_orphans = !self.orphans.is_empty();
        let is_kept = |kind: &str, key: &str| {
            let rule = record::rule_of(key, &group);
            kind == record::SERIES && (has_orphans || rule.is_some_and(|rule| unchanged.contains(rule)))
        };
        let before = self.written.clone();
        let mut changes = self.written.changes(records, is_kept);
        changes.extend(self.unsaved.iter().cloned().map(StateChange::Append));
        match self.deps.store.apply(self.options.tenant, lease, changes).await {
            Ok(()) => {
                self.unsaved.clear();
                self.rules.iter_mut().for_each(|state| state.series_changed = false);
                Ok(())
            }
            Err(StateError::Fenced { .. }) => Err(Fenced),
            Err(error) => {
                tracing::error!(group, %error, "the state of a rule group is not saved; the next evaluation tries again");
                self.written = before;
                let excess = self.unsaved.len().saturating_sub(MAX_UNSAVED_EVENTS);
                self.unsaved.drain(..excess);
                Ok(())
            }
        }
    }

    fn group_record(&self) -> GroupRecord {
        let error = |state: &RuleState| Some((state.key.clone(), state.status.last_error.clone()?));
        let seen = |state: &RuleState| Some((state.key.clone(), state.inputs_seen_ms?));
        GroupRecord {
            slot_ms: self.last_slot_ms.unwrap_or_default(),
            evaluated_ms: self.last_evaluation_ms.unwrap_or_default(),
            interval_ms: self.slots.interval_ms,
            generation: self.generation,
            errors: self.rules.iter().filter_map(error).collect(),
            inputs_seen_ms: self.rules.iter().filter_map(seen).collect(),
        }
    }

    fn publish(&mut self) {
        for state in &mut self.rules {
            let is_known = state.status.health != Health::Unknown;
            state.status.state = is_known.then(|| state.alerts.state());
            state.status.alerts = Arc::new(state.alerts.iter().cloned().collect());
        }
        let status = GroupStatus {
            group: Arc::clone(&self.group),
            interval_ms: self.slots.interval_ms,
            last_evaluation_ms: self.last_evaluation_ms,
            last_slot_ms: self.last_slot_ms,
            rules: self.rules.iter().map(|state| state.status.clone()).collect(),
            series: self.rules.iter().map(|state| Arc::clone(&state.series)).collect(),
            metrics: self.metrics,
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }

    async fn tell_again(&self) {
        let Some(slot_ms) = self.last_slot_ms else { return };
        let context = evaluate::Context {
            deps: &self.deps,
            options: &self.options,
            group: &self.group,
            slot_ms,
            offset_ms: self.offset_ms(),
            interval_ms: self.slots.interval_ms,
        };
        let mut notices = Vec::new();
        for state in &self.rules {
            let unsure = state.alerts.iter().filter(|alert| alert.last_sent_ms == Some(slot_ms));
            notices.extend(unsure.map(|alert| context.notice(state, alert)));
        }
        if !notices.is_empty() {
            self.deps.notifier.notify(self.options.tenant, notices).await;
        }
    }
}

impl RuleState {
    fn restore(
        rule: Rule,
        memory: Option<record::RuleMemory>,
        key: String,
        before: Option<&GroupRecord>,
        options: &Options,
    ) -> Self {
        let memory = memory.unwrap_or_default();
        let mut alerts = Alerts::default();
        memory.alerts.into_iter().for_each(|alert| alerts.insert(alert));
        let watches = rule.no_data.unwrap_or(options.no_data) != NoData::Resolve;
        let selectors = match &rule.query {
            RuleQuery::PromQl(text) if watches => inputs::selectors(text),
            _ => Vec::new(),
        };
        let mut status = RuleStatus::default();
        let mut inputs_seen_ms = None;
        if let Some(before) = before {
            status.last_error = before.errors.get(&key).cloned();
            status.health = if status.last_error.is_some() { Health::Err } else { Health::Ok };
            status.last_evaluation_ms = Some(before.evaluated_ms);
            inputs_seen_ms = before.inputs_seen_ms.get(&key).copied();
        }
        Self {
            rule,
            key,
            selectors,
            alerts,
            series: Arc::new(memory.series),
            series_changed: false,
            inputs_seen_ms,
            status,
        }
    }
}

/// Ends the series of a group that is no more and forgets its state. `taken` are series that other groups write.
pub(crate) async fn retire(
    deps: &Deps,
    options: &Options,
    lease: Option<Lease>,
    group: &str,
    removed_ms: i64,
    taken: &(dyn Fn(&Labels) -> bool + Sync),
) -> Result<(), StateError> {
    let mut loaded = record::load(&*deps.store, options.tenant, group).await?;
    let gone = loaded.rules.values();
    let events: Vec<HistoryEvent> = gone.flat_map(|gone| history::removed(&*deps.clock, group, &gone.alerts)).collect();
    let all: HashSet<Labels> = loaded.rules.drain().flat_map(|(_, memory)| memory.series).collect();
    let mut samples: Vec<SampleToWrite> = all
        .into_iter()
        .filter(|labels| !taken(labels))
        .map(|labels| SampleToWrite { labels, t_ms: removed_ms, value: WriteValue::Stale })
        .collect();
    samples.sort_by(|left, right| left.labels.cmp(&right.labels));
    if !samples.is_empty()
        && let Err(error) = deps.sink.append(options.tenant, samples).await
    {
        tracing::warn!(group, error, "cannot mark the series of a removed group as stale");
    }
    let mut changes = loaded.written.changes(Vec::new(), |_, _| false);
    changes.extend(events.into_iter().map(StateChange::Append));
    deps.store.apply(options.tenant, lease, changes).await
}

pub(crate) fn to_millis(time: UnixNanos) -> i64 {
    time.0.div_euclid(1_000_000)
}

#[expect(clippy::cast_precision_loss, reason = "a metric; microseconds are exact enough")]
fn seconds(time: UnixNanos) -> f64 {
    time.0 as f64 / 1e9
}

/// What happened to which alerts.
type ChangeList = Vec<(Change, Labels)>;

#[cfg(test)]
mod tests;
