//! All groups of a process: started and stopped as files change, evaluated only while the lease is held.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trivium_model::{Clock, Lease};
use trivium_promql::Labels;

use crate::duration::millis;
use crate::file::{Group, RuleSet};
use crate::record;
use crate::runner::{Deps, Options, Runner, StatusCell, retire, to_millis, unknown};
use crate::status::GroupStatus;

/// How long groups may take to finish their evaluation when they are stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// When state cannot be read, it is tried again after this.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The right to evaluate.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// Its name in the store.
    pub name: String,
    /// What identifies this process.
    pub holder: String,
    /// How long it lasts without being prolonged.
    pub ttl: Duration,
}

/// Evaluates rules on schedule until it is stopped.
#[derive(Debug)]
pub struct RuleManager {
    rules: watch::Sender<Arc<RuleSet>>,
    groups: Groups,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

type Groups = Arc<Mutex<Vec<StatusCell>>>;

impl RuleManager {
    /// Begins to evaluate as soon as the lease is to be had.
    pub fn start(deps: Deps, options: Options, lease: LeaseOptions, rules: RuleSet) -> Self {
        let (sender, receiver) = watch::channel(Arc::new(rules));
        let (groups, stop) = (Groups::default(), CancellationToken::new());
        let supervisor = Supervisor {
            permits: Arc::new(Semaphore::new(options.max_concurrency.max(1))),
            deps,
            options: Arc::new(options),
            lease,
            groups: Arc::clone(&groups),
            running: HashMap::new(),
            retiring: HashMap::new(),
        };
        let task = tokio::spawn(supervisor.run(receiver, stop.clone()));
        Self { rules: sender, groups, stop, task }
    }

    /// Replaces the rules. Groups that did not change go on undisturbed; changed ones keep the state of the rules that
    /// are still there; the series of removed ones end after two intervals.
    pub fn reload(&self, rules: RuleSet) {
        self.rules.send_replace(Arc::new(rules));
    }

    /// The rules as they are configured.
    pub fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.rules.borrow())
    }

    /// How the groups are, in the order of their files. Empty while another process evaluates.
    pub fn groups(&self) -> Vec<Arc<GroupStatus>> {
        let cells = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|cell| Arc::clone(&cell.lock().unwrap_or_else(PoisonError::into_inner))).collect()
    }

    /// Lets running evaluations finish.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the rule manager died");
        }
    }
}

/// The lease while it is held.
#[derive(Debug)]
struct Held {
    lease: Lease,
    until_ms: AtomicI64,
    lost: CancellationToken,
}

impl Held {
    fn is_valid(&self, clock: &dyn Clock) -> bool {
        to_millis(clock.now()) < self.until_ms.load(Ordering::Relaxed) && !self.lost.is_cancelled()
    }
}

struct Running {
    group: Arc<Group>,
    status: StatusCell,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Supervisor {
    deps: Deps,
    options: Arc<Options>,
    lease: LeaseOptions,
    permits: Arc<Semaphore>,
    groups: Groups,
    running: HashMap<String, Running>,
    retiring: HashMap<String, JoinHandle<()>>,
}

impl Supervisor {
    async fn run(mut self, mut rules: watch::Receiver<Arc<RuleSet>>, stop: CancellationToken) {
        loop {
            if let Some(lease) = self.take_lease().await {
                self.lead(lease, &mut rules, &stop).await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.renewal()) => {}
            }
        }
    }

    fn renewal(&self) -> Duration {
        self.lease.ttl / 3
    }

    async fn take_lease(&self) -> Option<Lease> {
        let now = self.deps.clock.now();
        match self.deps.store.lease(&self.lease.name, &self.lease.holder, now, self.lease.ttl).await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::warn!(%error, "cannot ask for the lease on rules");
                None
            }
        }
    }

    /// Evaluates until told to stop or the lease is lost.
    async fn lead(&mut self, lease: Lease, rules: &mut watch::Receiver<Arc<RuleSet>>, stop: &CancellationToken) {
        let until_ms = AtomicI64::new(self.lease_end());
        let held = Arc::new(Held { lease, until_ms, lost: CancellationToken::new() });
        let mut current = Arc::clone(&rules.borrow_and_update());
        self.retire_unknown(&current, &held).await;
        self.sync(&current, &held).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = held.lost.cancelled() => {
                    tracing::warn!("the lease on rules has passed to another process; evaluation ends here");
                    break;
                }
                changed = rules.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    current = Arc::clone(&rules.borrow_and_update());
                    self.sync(&current, &held).await;
                }
                () = tokio::time::sleep(self.renewal()) => self.renew(&held).await,
            }
        }
        self.retiring.drain().for_each(|(_, task)| task.abort());
        let all = self.running.drain().map(|(_, running)| running).collect();
        stop_all(all).await;
        self.publish(&RuleSet::default());
    }

    fn lease_end(&self) -> i64 {
        to_millis(self.deps.clock.now()).saturating_add(millis(self.lease.ttl))
    }

    async fn renew(&self, held: &Held) {
        let end = self.lease_end();
        let now = self.deps.clock.now();
        match self.deps.store.lease(&self.lease.name, &self.lease.holder, now, self.lease.ttl).await {
            Ok(Some(lease)) if lease.epoch == held.lease.epoch => held.until_ms.store(end, Ordering::Relaxed),
            Ok(_) => held.lost.cancel(),
            // It is held until it ends; whether it can be prolonged shows in time.
            Err(error) => tracing::warn!(%error, "cannot prolong the lease on rules"),
        }
    }

    /// Makes the running groups those of the rules.
    async fn sync(&mut self, rules: &RuleSet, held: &Arc<Held>) {
        let wanted: HashMap<String, &Group> = rules.groups.iter().map(|group| (group.key(), group)).collect();
        let is_gone =
            |key: &String, running: &mut Running| wanted.get(key).is_none_or(|group| **group != *running.group);
        let gone: HashMap<String, Running> = self.running.extract_if(is_gone).collect();
        let removed: Vec<(String, Duration)> = gone
            .iter()
            .filter(|(key, _)| !wanted.contains_key(*key))
            .map(|(key, running)| (key.clone(), self.interval(&running.group)))
            .collect();
        stop_all(gone.into_values().collect()).await;
        for (key, interval) in removed {
            self.retire_later(key, interval, held);
        }
        for (key, group) in wanted {
            if let Some(task) = self.retiring.remove(&key) {
                task.abort();
            }
            if !self.running.contains_key(&key) {
                let running = self.spawn(Arc::new(group.clone()), held);
                self.running.insert(key, running);
            }
        }
        self.retiring.retain(|_, task| !task.is_finished());
        self.publish(rules);
    }

    fn interval(&self, group: &Group) -> Duration {
        group.interval.unwrap_or(self.options.evaluation_interval)
    }

    fn publish(&self, rules: &RuleSet) {
        let running = rules.groups.iter().filter_map(|group| self.running.get(&group.key()));
        let cells = running.map(|running| Arc::clone(&running.status)).collect();
        *self.groups.lock().unwrap_or_else(PoisonError::into_inner) = cells;
    }

    fn spawn(&self, group: Arc<Group>, held: &Arc<Held>) -> Running {
        let status = unknown(&group, &self.options);
        let stop = CancellationToken::new();
        let task = GroupTask {
            deps: self.deps.clone(),
            options: Arc::clone(&self.options),
            group: Arc::clone(&group),
            status: Arc::clone(&status),
            permits: Arc::clone(&self.permits),
            held: Arc::clone(held),
            stop: stop.clone(),
        };
        Running { group, status, stop, task: tokio::spawn(task.run()) }
    }

    /// Groups that the store knows and the rules do not: they were removed while no one evaluated.
    async fn retire_unknown(&mut self, rules: &RuleSet, held: &Arc<Held>) {
        let known = match self.deps.store.list(self.options.tenant, record::GROUP, "").await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "cannot list the state of rule groups");
                return;
            }
        };
        for record in known {
            if rules.groups.iter().all(|group| group.key() != record.key) {
                let interval = record::interval(&record.value).unwrap_or(self.options.evaluation_interval);
                self.retire_later(record.key, interval, held);
            }
        }
    }

    /// Ends the series of a group after two intervals, so that a renamed group can take them over before.
    fn retire_later(&mut self, key: String, interval: Duration, held: &Arc<Held>) {
        let (deps, options) = (self.deps.clone(), Arc::clone(&self.options));
        let (groups, held, group) = (Arc::clone(&self.groups), Arc::clone(held), key.clone());
        let removed_ms = to_millis(deps.clock.now());
        let task = async move {
            tokio::time::sleep(interval.saturating_mul(2)).await;
            let statuses: Vec<Arc<GroupStatus>> = {
                let cells = groups.lock().unwrap_or_else(PoisonError::into_inner);
                cells.iter().map(|cell| Arc::clone(&cell.lock().unwrap_or_else(PoisonError::into_inner))).collect()
            };
            let taken = |labels: &Labels| statuses.iter().any(|status| status.writes(labels));
            if held.is_valid(&*deps.clock)
                && let Err(error) = retire(&deps, &options, Some(held.lease.clone()), &group, removed_ms, &taken).await
            {
                tracing::warn!(group, %error, "the state of a removed group stays until the next start");
            }
        };
        self.retiring.insert(key, tokio::spawn(task));
    }
}

/// One group on its schedule.
struct GroupTask {
    deps: Deps,
    options: Arc<Options>,
    group: Arc<Group>,
    status: StatusCell,
    permits: Arc<Semaphore>,
    held: Arc<Held>,
    stop: CancellationToken,
}

impl GroupTask {
    async fn run(self) {
        let Some(mut runner) = self.load().await else { return };
        let mut next = runner.slots.first(self.now_ms(), runner.last_slot_ms);
        loop {
            let wait = u64::try_from(next.saturating_sub(self.now_ms())).unwrap_or(0);
            if !self.sleep(Duration::from_millis(wait)).await {
                return;
            }
            // The wall clock may lag behind the timer, or have been set back.
            if self.now_ms() < next {
                continue;
            }
            if !self.held.is_valid(&*self.deps.clock) {
                if !self.sleep(Duration::from_secs(1)).await {
                    return;
                }
                continue;
            }
            let Ok(_permit) = self.permits.acquire().await else { return };
            let slot = runner.slots.at(self.now_ms());
            let evaluated = tokio::select! {
                () = self.held.lost.cancelled() => return,
                evaluated = runner.evaluate(slot, Some(self.held.lease.clone())) => evaluated,
            };
            if evaluated.is_err() {
                self.held.lost.cancel();
                return;
            }
            next = slot.saturating_add(runner.slots.interval_ms);
        }
    }

    async fn load(&self) -> Option<Runner> {
        loop {
            let (deps, options) = (self.deps.clone(), Arc::clone(&self.options));
            match Runner::load(deps, options, Arc::clone(&self.group), Arc::clone(&self.status)).await {
                Ok(runner) => return Some(runner),
                Err(error) => tracing::warn!(group = self.group.key(), %error, "cannot read the state of a rule group"),
            }
            if !self.sleep(RETRY_DELAY).await {
                return None;
            }
        }
    }

    fn now_ms(&self) -> i64 {
        to_millis(self.deps.clock.now())
    }

    /// Whether the time has passed; if not, the group is to stop.
    async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.held.lost.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

async fn stop_all(groups: Vec<Running>) {
    groups.iter().for_each(|running| running.stop.cancel());
    for mut running in groups {
        if tokio::time::timeout(STOP_TIMEOUT, &mut running.task).await.is_err() {
            tracing::warn!(group = running.group.key(), "an evaluation does not end and is given up");
            running.task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
