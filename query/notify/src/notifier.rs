//! The task that drives the state machine: it waits, sends, and keeps.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use trivium_model::{Clock, Lease, StateError, StateStore, TenantId, UnixNanos};

use crate::alert::AlertInput;
use crate::api::ApiError;
use crate::config::Config;
use crate::engine::{ALERT, Core, GROUP, Kept, LOG, META, Outcome, SILENCE, SendJob};
use crate::metrics::MetricSample;
use crate::silence::SilenceState;

#[cfg(test)]
mod tests;

/// The name of the right to notify.
const LEASE_NAME: &str = "notify";

/// For how long the right to notify is taken, and how often it is prolonged.
const LEASE: Duration = Duration::from_secs(30);
const LEASE_RENEWAL: Duration = Duration::from_secs(10);

/// Notifications under way at one time.
const SENDS_MAX: usize = 64;

/// Where the pauses come from: the second seam, beside the clock, for tests in virtual time.
pub trait Timer: Send + Sync + fmt::Debug {
    /// Waits for so long.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The timer of the runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuntimeTimer;

impl Timer for RuntimeTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Tells receivers.
#[async_trait]
pub(crate) trait Deliver: Send + Sync + fmt::Debug {
    async fn deliver(&self, job: &SendJob, timeout: Duration) -> Outcome;
}

/// What a notifier is given.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where its state is kept.
    pub store: Arc<dyn StateStore>,
    /// The tenant whose alerts these are.
    pub tenant: TenantId,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The pauses.
    pub timer: Arc<dyn Timer>,
    /// The name of this process, different from that of any other.
    pub holder: String,
}

/// The running notifier.
#[derive(Debug)]
pub struct Notifier {
    surroundings: Surroundings,
    started_at: UnixNanos,
    state: Mutex<State>,
    /// Held while changes are made durable, so that they are so in their order.
    saving: tokio::sync::Mutex<()>,
    wake: Notify,
    deliver: Mutex<Arc<dyn Deliver>>,
}

#[derive(Debug)]
struct State {
    core: Core,
    lease: Option<Lease>,
}

impl Notifier {
    pub(crate) async fn open(
        config: Arc<Config>,
        deliver: Arc<dyn Deliver>,
        surroundings: Surroundings,
    ) -> Result<Self, StateError> {
        let started_at = surroundings.clock.now();
        let core = Core::new(config, kept(&surroundings).await?, started_at);
        let notifier = Self {
            surroundings,
            started_at,
            state: Mutex::new(State { core, lease: None }),
            saving: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
            deliver: Mutex::new(deliver),
        };
        notifier.renew_lease().await;
        Ok(notifier)
    }

    pub(crate) fn started_at(&self) -> UnixNanos {
        self.started_at
    }

    fn state<T>(&self, action: impl FnOnce(&mut State, UnixNanos) -> T) -> T {
        let now = self.surroundings.clock.now();
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Looks at the state machine.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Core, UnixNanos) -> T) -> T {
        self.state(|state, now| look(&state.core, now))
    }

    /// Whether this is the process that notifies.
    pub fn is_leader(&self) -> bool {
        self.state(|state, _| state.lease.is_some())
    }

    /// Changes the state machine; what changed is durable when this returns.
    pub(crate) async fn change<T>(
        &self,
        action: impl FnOnce(&mut Core, UnixNanos) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let result = self.state(|state, now| {
            if state.lease.is_none() {
                return Err(ApiError::new(503, "another process notifies; send this to it"));
            }
            action(&mut state.core, now)
        })?;
        let saved = self.save().await;
        self.wake.notify_one();
        saved.map_err(|error| ApiError::new(500, error.to_string()))?;
        Ok(result)
    }

    /// Takes alerts, which are durable when this returns. Says what is wrong with those that are refused.
    pub async fn put(&self, alerts: Vec<AlertInput>) -> Result<Vec<String>, ApiError> {
        self.change(|core, now| Ok(core.put(alerts, now))).await
    }

    pub(crate) fn replace(&self, config: Arc<Config>, deliver: Arc<dyn Deliver>) {
        *self.deliver.lock().unwrap_or_else(PoisonError::into_inner) = deliver;
        self.state(|state, now| state.core.reload(config, now));
        self.wake.notify_one();
    }

    /// The numbers to expose.
    pub fn metrics(&self) -> Vec<MetricSample> {
        self.with(|core, now| {
            let mut samples = core.counters.samples();
            let firing = core.alerts.values().filter(|alert| !alert.is_resolved(now));
            let (mut active, mut suppressed) = (0_u32, 0_u32);
            for alert in firing {
                let labels = &alert.labels;
                let is_muted = core.inhibitor(labels, now).is_some() || !core.silences.muting(labels, now).is_empty();
                *if is_muted { &mut suppressed } else { &mut active } += 1;
            }
            let mut gauge = |name, label: Option<(&'static str, &str)>, value: f64| {
                let label = label.map(|(name, value)| (name, value.to_owned()));
                samples.push(MetricSample { name, label, value, is_counter: false });
            };
            gauge("alertmanager_alerts", Some(("state", "active")), active.into());
            gauge("alertmanager_alerts", Some(("state", "suppressed")), suppressed.into());
            for state in [SilenceState::Active, SilenceState::Pending, SilenceState::Expired] {
                let count = core.silences.iter().filter(|silence| silence.state(now) == state).count();
                let name = format!("{state:?}").to_lowercase();
                gauge("alertmanager_silences", Some(("state", &name)), float(count));
            }
            gauge("alertmanager_dispatcher_aggregation_groups", None, float(core.groups.len()));
            samples
        })
    }

    /// Notifies until the future is dropped; nothing is lost by that but attempts under way, which are made again.
    pub async fn run(&self) {
        let (mut sends, mut queue) = (JoinSet::new(), VecDeque::new());
        let mut renewed_at = self.surroundings.clock.now();
        loop {
            let now = self.surroundings.clock.now();
            if now.since(renewed_at) >= LEASE_RENEWAL || !self.is_leader() {
                self.renew_lease().await;
                renewed_at = now;
            }
            let jobs = self.state(|state, now| if state.lease.is_some() { state.core.poll(now) } else { Vec::new() });
            queue.extend(jobs);
            if let Err(error) = self.save().await {
                tracing::error!(%error, "the state of notifications could not be kept; it is tried again");
            }
            while sends.len() < SENDS_MAX
                && let Some(job) = queue.pop_front()
            {
                let deliver = Arc::clone(&self.deliver.lock().unwrap_or_else(PoisonError::into_inner));
                let timeout = job.deadline.since(self.surroundings.clock.now());
                sends.spawn(async move { (job.id, deliver.deliver(&job, timeout).await) });
            }
            tokio::select! {
                () = self.surroundings.timer.sleep(self.pause(renewed_at)) => {}
                () = self.wake.notified() => {}
                Some(sent) = sends.join_next(), if !sends.is_empty() => match sent {
                    Ok((id, outcome)) => self.state(|state, now| state.core.complete(id, outcome, now)),
                    Err(error) => tracing::error!(%error, "a task that notified died"),
                }
            }
        }
    }

    /// How long nothing is due.
    fn pause(&self, renewed_at: UnixNanos) -> Duration {
        self.state(|state, now| {
            let renewal = renewed_at.after(LEASE_RENEWAL);
            let next = if state.lease.is_some() { state.core.next_at().unwrap_or(renewal) } else { renewal };
            next.min(renewal).since(now)
        })
    }

    /// Takes or prolongs the right to notify. Who takes it over reads what the other kept.
    async fn renew_lease(&self) {
        let Surroundings { store, tenant, clock, holder, .. } = &self.surroundings;
        let lease = match store.lease(&tenant.own(LEASE_NAME), holder, clock.now(), LEASE).await {
            Ok(lease) => lease,
            Err(error) => return tracing::error!(%error, "the right to notify could not be prolonged"),
        };
        let known = self.state(|state, _| state.lease.clone());
        if lease == known {
            return;
        }
        if lease.is_some() {
            match kept(&self.surroundings).await {
                Ok(kept) => self.state(|state, now| state.core = Core::new(Arc::clone(&state.core.config), kept, now)),
                Err(error) => return tracing::error!(%error, "the state of notifications could not be read"),
            }
        }
        self.state(|state, _| state.lease = lease);
    }

    async fn save(&self) -> Result<(), StateError> {
        let _saving = self.saving.lock().await;
        let (lease, changes) = self.state(|state, _| (state.lease.clone(), std::mem::take(&mut state.core.changes)));
        if changes.is_empty() {
            return Ok(());
        }
        // Without the right to notify nothing is kept: the process that has it keeps its own.
        let Some(lease) = lease else { return Ok(()) };
        let saved = self.surroundings.store.apply(self.surroundings.tenant, Some(lease), changes.to_vec()).await;
        if let Err(error) = &saved {
            self.state(|state, _| match error {
                StateError::Fenced { .. } => state.lease = None,
                StateError::Store { .. } => state.core.changes.restore(changes),
            });
        }
        saved
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are exposed as floating point")]
fn float(count: usize) -> f64 {
    count as f64
}

async fn kept(surroundings: &Surroundings) -> Result<Kept, StateError> {
    let list = |kind| surroundings.store.list(surroundings.tenant, kind, "");
    Ok(Kept {
        alerts: list(ALERT).await?,
        silences: list(SILENCE).await?,
        log: list(LOG).await?,
        groups: list(GROUP).await?,
        meta: list(META).await?,
    })
}
