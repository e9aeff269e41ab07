//! Rules over the past: the state machine that evaluates them now, at the slots of then.
//!
//! `for`, `keep_firing_for`, `limit` and `no_data` are honoured, templates are expanded, and rules see what those before
//! them in the group write. Where Prometheus' `ALERTS` or recorded series of the same names are stored, what the
//! backtested rules write stands in their place. Groups do not see one another.

mod grouper;
mod overlay;
mod querier;
mod report;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use trivium_model::{ManualClock, MemoryStateStore, TenantId, UnixNanos};
use trivium_promql::Labels;

use crate::alert::{Alert, AlertState, to_map};
use crate::duration::millis;
use crate::file::{Group, Rule, RuleKind, RuleSet};
use crate::runner::{Deps, Options, Runner, StatusCell, unknown};
use crate::schedule::Slots;
use crate::seam::{AlertNotice, Notifier, Querier};
use crate::status::{Health, RuleStatus};
use crate::template::Templates;

pub use grouper::{Grouping, NotificationModel, SimpleGrouping};
use querier::History;
pub use report::{BacktestReport, Firing, Interval, Noise, Overlap, RuleReport, Verdicts};
use report::{Surroundings, jaccard, length, union};

/// Firings of a rule that are told one by one.
const MAX_FIRINGS: usize = 10_000;

/// Evaluations of rules in one backtest.
const MAX_EVALUATIONS: i64 = 5_000_000;

/// Firings and resolutions of all alerts in one backtest.
const MAX_NOTICES: usize = 200_000;

/// How long after its end an alert that fires again flaps.
const FLAP_WINDOW_MS: i64 = 15 * 60_000;

/// What is to be tried.
#[derive(Debug)]
pub struct BacktestRequest {
    /// The rules.
    pub rules: RuleSet,
    /// From when, in milliseconds.
    pub start_ms: i64,
    /// Until when, in milliseconds.
    pub end_ms: i64,
    /// As for the evaluation now.
    pub options: Options,
    /// When other rules fired, by their names, to find duplicates.
    pub others: BTreeMap<String, Vec<Interval>>,
    /// When there were incidents, if that is recorded.
    pub incidents: Option<Vec<Interval>>,
    /// What people said about firings of the rules, by name.
    pub verdicts: BTreeMap<String, Verdicts>,
    /// What to add to UTC for office hours, in milliseconds.
    pub utc_offset_ms: i64,
    /// How long it may take; then it ends without an answer.
    pub timeout: Option<Duration>,
}

/// Why a backtest has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// What was asked for cannot be done.
    #[error("{0}")]
    Invalid(String),
    /// It would take longer than it may.
    #[error(
        "the backtest was stopped after {after:?} with {percent} % of its evaluations done; take a shorter range, fewer rules \
         or a longer interval, or raise backtest_timeout"
    )]
    Timeout {
        /// The time it had.
        after: Duration,
        /// How far it came.
        percent: i64,
    },
}

impl From<String> for BacktestError {
    fn from(problem: String) -> Self {
        Self::Invalid(problem)
    }
}

/// How far a backtest has come, and when it must end.
struct Progress {
    timeout: Option<(Duration, Instant)>,
    done: i64,
    total: i64,
}

impl Progress {
    fn timed_out(&self) -> Option<BacktestError> {
        let (after, _) = self.timeout?;
        Some(BacktestError::Timeout { after, percent: self.done.saturating_mul(100) / self.total.max(1) })
    }

    /// Evaluates a slot unless the time is over. Whatever the querier holds in memory, others get their turn between two
    /// slots, and a backtest that nobody waits for ends there.
    async fn step<T>(&mut self, work: impl Future<Output = T>, evaluations: usize) -> Result<T, BacktestError> {
        tokio::task::yield_now().await;
        let done = match self.timeout {
            // A future that is ready at once would win over any time that has passed.
            Some((_, until)) if Instant::now() >= until => None,
            Some((_, until)) => tokio::time::timeout_at(until, work).await.ok(),
            None => Some(work.await),
        };
        let Some(done) = done else {
            let stopped = || BacktestError::Invalid("the backtest was stopped".to_owned());
            return Err(self.timed_out().unwrap_or_else(stopped));
        };
        self.done = self.done.saturating_add(i64::try_from(evaluations).unwrap_or(i64::MAX));
        Ok(done)
    }
}

/// Evaluates rules over the past.
pub async fn backtest(
    querier: Arc<dyn Querier>,
    templates: Arc<dyn Templates>,
    request: BacktestRequest,
    model: &mut dyn NotificationModel,
) -> Result<BacktestReport, BacktestError> {
    let total = check_size(&request)?;
    let timeout = request.timeout.map(|timeout| (timeout, Instant::now() + timeout));
    let mut progress = Progress { timeout, done: 0, total };
    let options = Arc::new(request.options.clone());
    let told = Arc::new(Told::default());
    let mut rules = Vec::new();
    for group in &request.rules.groups {
        let world = (&querier, &templates, &told);
        rules.extend(run(world, &options, group, &request, &mut progress).await?);
    }
    let mut notices = std::mem::take(&mut *told.0.lock().unwrap_or_else(PoisonError::into_inner));
    if notices.left_out > 0 {
        let total = notices.list.len() + notices.left_out;
        let problem = format!("the alerts fire and resolve {total} times, more than {MAX_NOTICES}");
        return Err(format!("{problem}; take a shorter range").into());
    }
    notices.list.sort_by_key(|notice| notice.slot_ms);
    notices.list.iter().for_each(|notice| model.take(notice));
    let notifications = model.finish(request.end_ms);
    let rules = finish(rules, &request);
    Ok(BacktestReport { start_ms: request.start_ms, end_ms: request.end_ms, rules, notifications })
}

fn interval_ms(group: &Group, options: &Options) -> i64 {
    millis(group.interval.unwrap_or(options.evaluation_interval)).max(1)
}

/// How many evaluations it takes.
fn check_size(request: &BacktestRequest) -> Result<i64, String> {
    let span = request.end_ms.saturating_sub(request.start_ms);
    if span < 0 {
        return Err("the end of a backtest must not be before its start".to_owned());
    }
    let of_group = |group: &Group| {
        let rules = i64::try_from(group.rules.len()).unwrap_or(i64::MAX);
        (span / interval_ms(group, &request.options) + 1).saturating_mul(rules)
    };
    let total = request.rules.groups.iter().map(of_group).fold(0, i64::saturating_add);
    if total > MAX_EVALUATIONS {
        let message = "take a shorter range, fewer rules or a longer interval";
        return Err(format!("the backtest needs {total} evaluations, more than {MAX_EVALUATIONS}; {message}"));
    }
    Ok(total)
}

/// Collects what would have been told, without repetitions: an alert that goes on firing is told once.
#[derive(Debug, Default)]
struct Told(Mutex<Notices>);

#[derive(Debug, Default)]
struct Notices {
    list: Vec<AlertNotice>,
    last: HashMap<(String, u64), (AlertState, i64)>,
    left_out: usize,
}

#[async_trait]
impl Notifier for Told {
    async fn notify(&self, _tenant: TenantId, alerts: Vec<AlertNotice>) {
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for alert in alerts {
            let news = (alert.state, alert.starts_at_ms);
            let key = (alert.group.clone(), alert.fingerprint);
            if notices.last.insert(key, news) == Some(news) {
                continue;
            }
            if notices.list.len() < MAX_NOTICES {
                notices.list.push(alert);
            } else {
                notices.left_out += 1;
            }
        }
    }
}

/// A rule while it is backtested.
struct Tracked {
    hold_ms: i64,
    pages: bool,
    kind: RuleKind,
    report: RuleReport,
    /// Firing alerts, by where they stand in the report.
    open: HashMap<Labels, Option<usize>>,
    started: HashMap<Labels, i64>,
    pending: HashSet<Labels>,
    ended: HashMap<Labels, i64>,
    intervals: Vec<Interval>,
}

/// One group.
async fn run(
    (querier, templates, told): (&Arc<dyn Querier>, &Arc<dyn Templates>, &Arc<Told>),
    options: &Arc<Options>,
    group: &Group,
    request: &BacktestRequest,
    progress: &mut Progress,
) -> Result<Vec<Tracked>, BacktestError> {
    let interval_ms = interval_ms(group, options);
    let history = Arc::new(History::new(Arc::clone(querier), group, interval_ms, request.end_ms));
    let clock = Arc::new(ManualClock::new(UnixNanos(request.start_ms.saturating_mul(1_000_000))));
    let deps = Deps {
        querier: Arc::clone(&history) as _,
        sink: history,
        store: Arc::new(MemoryStateStore::default()),
        notifier: Arc::clone(told) as _,
        templates: Arc::clone(templates),
        clock,
    };
    let group = Arc::new(group.clone());
    let cell = unknown(&group, options);
    let runner = Runner::load(deps, Arc::clone(options), Arc::clone(&group), Arc::clone(&cell)).await;
    let runner = runner.map_err(|error| error.to_string())?.forgetful();
    follow(runner, &cell, &group, request, progress).await
}

/// Evaluates slot by slot and notes what happens.
async fn follow(
    mut runner: Runner,
    cell: &StatusCell,
    group: &Group,
    request: &BacktestRequest,
    progress: &mut Progress,
) -> Result<Vec<Tracked>, BacktestError> {
    let mut tracked: Vec<Tracked> = group.rules.iter().map(|rule| Tracked::new(group, rule)).collect();
    let slots: Slots = runner.slots;
    let mut slot = slots.at(request.start_ms);
    if slot < request.start_ms {
        slot = slot.saturating_add(slots.interval_ms);
    }
    while slot <= request.end_ms {
        // A forgetful runner has no lease to lose.
        if progress.step(runner.evaluate(slot, None), group.rules.len()).await?.is_err() {
            break;
        }
        let status = Arc::clone(&cell.lock().unwrap_or_else(PoisonError::into_inner));
        for (rule, status) in tracked.iter_mut().zip(&status.rules) {
            rule.note(slot, status);
        }
        slot = slot.saturating_add(slots.interval_ms);
    }
    tracked.iter_mut().for_each(|rule| rule.end(request.end_ms));
    Ok(tracked)
}

impl Tracked {
    fn new(group: &Group, rule: &Rule) -> Self {
        let report = RuleReport {
            group: group.key(),
            rule: rule.name.clone(),
            firings: Vec::new(),
            firings_total: 0,
            truncated: false,
            never_fired: 0,
            firing_seconds: 0.0,
            flaps: 0,
            short_lived: 0,
            overlaps: Vec::new(),
            evaluations: 0,
            failures: 0,
            first_error: None,
            incomplete: 0,
            noise: None,
        };
        let severity = rule.labels.get("severity").map(String::as_str);
        Self {
            hold_ms: millis(rule.hold),
            pages: matches!(severity, Some("page" | "critical")),
            kind: rule.kind,
            report,
            open: HashMap::new(),
            started: HashMap::new(),
            pending: HashSet::new(),
            ended: HashMap::new(),
            intervals: Vec::new(),
        }
    }

    fn note(&mut self, slot: i64, status: &RuleStatus) {
        self.report.evaluations += 1;
        self.report.incomplete += usize::from(status.completeness.share.is_some_and(|share| share < 1.0));
        if status.health == Health::Err {
            self.report.failures += 1;
            if self.report.first_error.is_none() {
                self.report.first_error.clone_from(&status.last_error);
            }
        }
        let mut active: HashMap<&Labels, &Alert> = HashMap::new();
        for alert in status.alerts.iter().filter(|alert| alert.state != AlertState::Inactive) {
            active.insert(&alert.labels, alert);
            match alert.state {
                AlertState::Firing => self.begin(slot, alert),
                _ => {
                    self.pending.insert(alert.labels.clone());
                }
            }
        }
        let never = self.pending.extract_if(|labels| !active.contains_key(labels)).count();
        self.report.never_fired += never;
        let is_over = |labels: &Labels| active.get(labels).is_none_or(|alert| alert.state != AlertState::Firing);
        let over: Vec<Labels> = self.open.keys().filter(|labels| is_over(labels)).cloned().collect();
        over.iter().for_each(|labels| self.close(labels, slot, true));
    }

    fn begin(&mut self, slot: i64, alert: &Alert) {
        self.pending.remove(&alert.labels);
        if self.open.contains_key(&alert.labels) {
            return;
        }
        self.report.firings_total += 1;
        let ended = self.ended.get(&alert.labels);
        self.report.flaps += usize::from(ended.is_some_and(|ended| slot.saturating_sub(*ended) <= FLAP_WINDOW_MS));
        let index = (self.report.firings.len() < MAX_FIRINGS).then_some(self.report.firings.len());
        if index.is_some() {
            self.report.firings.push(Firing {
                labels: to_map(&alert.labels),
                annotations: alert.annotations.clone(),
                value: trivium_promql::format_float(alert.value),
                active_at_ms: alert.active_at_ms,
                fired_at_ms: slot,
                resolved_at_ms: None,
            });
        } else {
            self.report.truncated = true;
        }
        self.open.insert(alert.labels.clone(), index);
        self.started.insert(alert.labels.clone(), slot);
    }

    fn close(&mut self, labels: &Labels, at: i64, is_resolved: bool) {
        let Some(index) = self.open.remove(labels) else { return };
        let start = self.started.remove(labels).unwrap_or(at);
        if is_resolved {
            if let Some(firing) = index.and_then(|index| self.report.firings.get_mut(index)) {
                firing.resolved_at_ms = Some(at);
            }
            let lasted = at.saturating_sub(start);
            self.report.short_lived += usize::from(lasted < (2 * self.hold_ms).max(5 * 60_000));
            self.ended.insert(labels.clone(), at);
        }
        self.intervals.push((start, at));
    }

    fn end(&mut self, end_ms: i64) {
        let open: Vec<Labels> = self.open.keys().cloned().collect();
        open.iter().for_each(|labels| self.close(labels, end_ms, false));
    }
}

/// Overlaps and scores, which need all rules together.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a backtest are far below 2^53")]
fn finish(tracked: Vec<Tracked>, request: &BacktestRequest) -> Vec<RuleReport> {
    let others = request.others.iter().map(|(rule, intervals)| (rule.clone(), union(intervals.clone())));
    let others: Vec<(String, Vec<Interval>)> = others.collect();
    let unions: Vec<Vec<Interval>> = tracked.iter().map(|rule| union(rule.intervals.clone())).collect();
    let names: Vec<String> = tracked.iter().map(|rule| rule.report.rule.clone()).collect();
    let mut reports = Vec::new();
    for (index, mut rule) in tracked.into_iter().enumerate() {
        let own = &unions[index];
        rule.report.firing_seconds = length(own) as f64 / 1000.0;
        let siblings = names.iter().zip(&unions).enumerate().filter(|(at, _)| *at != index);
        let siblings = siblings.map(|(_, (name, intervals))| (name, intervals));
        let compared = siblings.chain(others.iter().map(|(name, intervals)| (name, intervals)));
        let mut overlaps: Vec<Overlap> = compared
            .map(|(name, intervals)| Overlap { rule: name.clone(), jaccard: jaccard(own, intervals) })
            .filter(|overlap| overlap.jaccard > 0.0)
            .collect();
        overlaps.sort_by(|left, right| right.jaccard.total_cmp(&left.jaccard));
        rule.report.overlaps = overlaps;
        if rule.kind == RuleKind::Alerting {
            let around = Surroundings {
                incidents: request.incidents.as_deref(),
                verdicts: request.verdicts.get(&rule.report.rule).copied(),
                pages: rule.pages,
                utc_offset_ms: request.utc_offset_ms,
            };
            rule.report.noise = Some(rule.report.score(&rule.intervals, around));
        }
        reports.push(rule.report);
    }
    reports
}

#[cfg(test)]
mod tests;
