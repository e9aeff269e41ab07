//! Measures the slices that are due and keeps them, one process at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use trivium_model::{Clock, Lease, StateStore, TenantId, UnixNanos};

use crate::definition::SloDefinition;
use crate::duration::DAY;
use crate::error::Error;
use crate::keep::{Generation, Keeper, Kept};
use crate::querier::{Group, IndicatorQuerier, SliceRequest};
use crate::registry::{Slos, State, Tracked};
use crate::slice::{GROUPS_MAX, Slice, Timeline};
use crate::view::FormerView;

/// The name of the lease under which slices are kept.
pub const LEASE: &str = "slo";

/// Slices are kept for this long at most.
const KEEP_DAYS_MAX: i64 = 800;

/// Slices are kept for this long at least: the longest window of the workbook's alerts, and a day.
const KEEP_DAYS_MIN: i64 = 4;

/// How the evaluator works.
#[derive(Clone, Debug)]
pub struct EvaluatorConfig {
    /// Whose SLOs these are.
    pub tenant: TenantId,
    /// Names this process among those that may hold the lease.
    pub holder: String,
    /// Time between two looks for slices that are due. Default: 15 seconds.
    pub interval: Duration,
    /// How long the lease lasts without being prolonged. Default: one minute. Higher: a longer pause after a crash.
    pub lease_ttl: Duration,
    /// SLOs measured at a time. Default: 4. Higher: sooner caught up, more load of queries.
    pub concurrency: usize,
    /// For how long complete slices are measured again for late data. Default: 15 minutes.
    pub late: Duration,
    /// How long measuring one chunk of slices may take. Default: one minute.
    pub query_timeout: Duration,
}

impl EvaluatorConfig {
    /// The defaults.
    pub fn new(tenant: TenantId, holder: impl Into<String>) -> Self {
        Self {
            tenant,
            holder: holder.into(),
            interval: Duration::from_secs(15),
            lease_ttl: Duration::from_secs(60),
            concurrency: 4,
            late: Duration::from_secs(15 * 60),
            query_timeout: Duration::from_secs(60),
        }
    }
}

/// What an evaluator works with.
#[derive(Clone, Debug)]
pub struct EvaluatorDeps {
    /// Counts events.
    pub querier: Arc<dyn IndicatorQuerier>,
    /// Keeps slices.
    pub store: Arc<dyn StateStore>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The SLOs to measure, shared with those who read them.
    pub slos: Slos,
}

/// What one pass over all SLOs did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Whether this process holds the lease. Without it slices that another process measured are read.
    pub leads: bool,
    /// Slices measured.
    pub slices: usize,
    /// SLOs whose slices could not be measured or kept; they stay due.
    pub failures: usize,
    /// Whether slices are still due: a gap, or history of a new SLO.
    pub more: bool,
}

/// Measures the slices of all SLOs.
#[derive(Debug)]
pub struct Evaluator {
    config: EvaluatorConfig,
    deps: EvaluatorDeps,
    keeper: Keeper,
    lease: Mutex<Option<(Lease, UnixNanos)>>,
}

/// A run of slices that is due.
struct Due {
    first: i64,
    end: i64,
}

impl Evaluator {
    /// An evaluator that has not begun.
    pub fn new(config: EvaluatorConfig, deps: EvaluatorDeps) -> Self {
        let keeper = Keeper::new(Arc::clone(&deps.store), config.tenant);
        Self { config, deps, keeper, lease: Mutex::default() }
    }

    /// Measures until it is told to stop. What is measured when that happens is either kept whole or not at all.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let pass = tokio::select! {
                () = stop.cancelled() => return,
                pass = self.pass() => pass,
            };
            let wait = if pass.more && pass.failures == 0 { Duration::ZERO } else { self.config.interval };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Measures one chunk of each SLO: what has become complete, or else a day of history.
    pub async fn pass(&self) -> Pass {
        let epoch = self.lease().await.map(|lease| lease.epoch);
        let leads = epoch.is_some();
        if leads && let Some(arrived) = self.deps.querier.arrived() {
            self.deps.slos.all().iter().for_each(|tracked| self.note_arrival(tracked, arrived));
        }
        let advance = |tracked| async move { self.advance_noting(&tracked, epoch).await };
        let concurrency = self.config.concurrency.max(1);
        let results = futures::stream::iter(self.deps.slos.all()).map(advance).buffer_unordered(concurrency);
        let add = |sum: Pass, one: Pass| Pass {
            leads,
            slices: sum.slices + one.slices,
            failures: sum.failures + one.failures,
            more: sum.more || one.more,
        };
        results.fold(Pass { leads, ..Pass::default() }, |sum, one| std::future::ready(add(sum, one))).await
    }

    /// The generations of an SLO's slices, oldest first; the last one is the one that is added to.
    pub async fn generations(&self, name: &str) -> Result<Vec<Generation>, Error> {
        let kept = self.keeper.kept(name).await.map_err(|source| Error::State { slo: name.to_owned(), source })?;
        Ok(kept.map(|kept| kept.past.into_iter().chain([kept.current]).collect()).unwrap_or_default())
    }

    /// What a former generation says, as of its end, read against the objective of today.
    pub async fn former(&self, name: &str, id: &str) -> Result<FormerView, Error> {
        let slo = Arc::clone(&self.deps.slos.get(name)?.definition);
        let generation = self.generations(name).await?.into_iter().find(|generation| generation.id == id);
        let generation = generation.ok_or_else(|| Error::NotFound { name: format!("{name}, generation {id}") })?;
        let restored = self.keeper.timeline(name, &generation, slo.method).await;
        let restored = restored.map_err(|source| Error::State { slo: name.to_owned(), source })?;
        Ok(FormerView::new(&slo, generation, &restored.timeline))
    }

    async fn advance_noting(&self, tracked: &Arc<Tracked>, epoch: Option<u64>) -> Pass {
        let turn = tracked.turn.lock().await;
        if !self.deps.slos.is_current(tracked) {
            return Pass::default();
        }
        let result = match epoch {
            Some(epoch) => self.advance(tracked, epoch).await,
            None => self.follow(tracked).await,
        };
        drop(turn);
        match result {
            Ok(pass) => {
                tracked.note(|health| {
                    health.last_error = None;
                    if pass.slices > 0 {
                        health.last_success = Some(self.deps.slos.now());
                    }
                });
                pass
            }
            Err(error) => {
                tracing::warn!(slo = tracked.definition.name, %error, "slices of an SLO were not measured");
                tracked.note(|health| health.last_error = Some(error.to_string()));
                Pass { failures: 1, ..Pass::default() }
            }
        }
    }

    /// Slices within the late window are measured again anyway.
    fn note_arrival(&self, tracked: &Tracked, arrived: UnixNanos) {
        let width = tracked.definition.slice.seconds();
        let late = self.config.late.as_secs().cast_signed() / width;
        let slice = arrived.0.div_euclid(1_000_000_000).div_euclid(width);
        tracked.change(|state| {
            if slice < state.timeline.end() - late {
                state.again = Some(state.again.map_or(slice, |again| again.min(slice)));
            }
        });
    }

    /// Reads what another process measured.
    async fn follow(&self, tracked: &Tracked) -> Result<Pass, Error> {
        let slo = &tracked.definition;
        let kept = self.kept(slo).await?;
        let of_this = kept.filter(|kept| kept.current.id == format!("{:016x}", slo.generation()));
        let Some(kept) = of_this else { return Ok(Pass::default()) };
        if tracked.read(|state| state.kept == kept) != Some(true) {
            self.restore(tracked, kept, 0).await?;
        }
        Ok(Pass::default())
    }

    async fn advance(&self, tracked: &Tracked, epoch: u64) -> Result<Pass, Error> {
        let slo = &tracked.definition;
        let complete = self.complete(slo);
        if tracked.read(|state| state.epoch) != Some(epoch) {
            self.begin(tracked, complete, epoch).await?;
        }
        let oldest = complete - keep_seconds(slo) / slo.slice.seconds();
        let Some((first, end)) = tracked.read(|state| (state.timeline.first(), state.timeline.end())) else {
            return Ok(Pass::default());
        };
        if first == end || end < oldest {
            self.begin_at(tracked, complete, end > first).await?;
        }
        self.forget(tracked, oldest).await?;
        let Some(due) = tracked.read(|state| self.due(slo, state, complete, oldest)).flatten() else {
            return Ok(Pass::default());
        };
        let slices = self.measure(slo, &due).await?;
        self.keep(tracked, due.first, &slices).await?;
        let more = tracked.read(|state| self.due(slo, state, complete, oldest).is_some()) == Some(true);
        Ok(Pass { slices: slices.len(), more, ..Pass::default() })
    }

    /// Nothing is kept, or only what is too old to be joined: the run begins at the present.
    async fn begin_at(&self, tracked: &Tracked, complete: i64, has_old: bool) -> Result<(), Error> {
        let slo = &tracked.definition;
        let Some(mut state) = tracked.read(State::clone) else { return Ok(()) };
        let at = complete * slo.slice.seconds();
        (state.kept.current.from, state.kept.current.to) = (at, at);
        state.timeline = Timeline::new(slo.slice, slo.method, complete);
        if has_old {
            self.forget_days(tracked, &state.kept.current.id, &state.kept, i64::MAX).await?;
        }
        tracked.put(state);
        Ok(())
    }

    /// The slice after the last complete one.
    fn complete(&self, slo: &SloDefinition) -> i64 {
        let now = self.deps.clock.now();
        let watermark = self.deps.querier.watermark(slo, now).min(now);
        watermark.0.div_euclid(1_000_000_000).div_euclid(slo.slice.seconds())
    }

    async fn kept(&self, slo: &SloDefinition) -> Result<Option<Kept>, Error> {
        self.keeper.kept(&slo.name).await.map_err(|source| Error::State { slo: slo.name.clone(), source })
    }

    /// Reads what is kept of an SLO, or begins its first or next generation.
    async fn begin(&self, tracked: &Tracked, complete: i64, epoch: u64) -> Result<(), Error> {
        let slo = &tracked.definition;
        let (generation, at) = (slo.generation(), complete * slo.slice.seconds());
        let kept = match self.kept(slo).await? {
            Some(kept) if kept.current.id == format!("{generation:016x}") => kept,
            Some(former) => former.succeed(generation, slo.slice, at),
            None => Kept::new(generation, slo.slice, at),
        };
        self.restore(tracked, kept, epoch).await
    }

    async fn restore(&self, tracked: &Tracked, kept: Kept, epoch: u64) -> Result<(), Error> {
        let slo = &tracked.definition;
        let restored = self.keeper.timeline(&slo.name, &kept.current, slo.method).await;
        let restored = restored.map_err(|source| Error::State { slo: slo.name.clone(), source })?;
        for damaged in &restored.damaged {
            tracing::error!(slo = slo.name, record = damaged, "a record of slices is damaged and counts as unmeasured");
        }
        tracked.note(|health| health.damaged = restored.damaged);
        tracked.put(State { epoch, kept, timeline: restored.timeline, again: None });
        Ok(())
    }

    /// New slices with those that may have late data before them; otherwise what telemetry arrived for, a day at once;
    /// otherwise a day of history, newest first.
    fn due(&self, slo: &SloDefinition, state: &State, complete: i64, oldest: i64) -> Option<Due> {
        let per_day = i64::try_from(slo.slice.per_day()).unwrap_or(1);
        let (first, end) = (state.timeline.first(), state.timeline.end());
        if end < complete && first < end {
            let late = i64::try_from(self.config.late.as_secs()).unwrap_or(0) / slo.slice.seconds();
            // At least one slice again and one new one, however few a day has.
            let late = late.min(per_day / 2).max(1);
            let begin = (end - late).max(first);
            return Some(Due { first: begin, end: complete.min(begin + per_day.max(late + 1)) });
        }
        if let Some(again) = state.again.filter(|again| *again < end) {
            let begin = again.max(first);
            return Some(Due { first: begin, end: end.min(begin + per_day) });
        }
        let begin = (first - 1).div_euclid(per_day) * per_day;
        (first > oldest).then_some(Due { first: begin.max(oldest), end: first })
    }

    async fn measure(&self, slo: &Arc<SloDefinition>, due: &Due) -> Result<Vec<Slice>, Error> {
        let count = usize::try_from(due.end - due.first).unwrap_or(0);
        let nanos = due.first.saturating_mul(slo.slice.seconds()).saturating_mul(1_000_000_000);
        let (tenant, start) = (self.config.tenant, UnixNanos(nanos));
        let request = SliceRequest { tenant, slo: Arc::clone(slo), start, count };
        let refuse = |kind, message| Error::Query { slo: slo.name.clone(), kind, message };
        let measuring = self.deps.querier.measure(request);
        let measured = tokio::time::timeout(self.config.query_timeout, measuring).await.map_err(|_| {
            let message = format!("{count} slices took longer than {:?}", self.config.query_timeout);
            refuse(trivium_model::ErrorKind::Unavailable, message)
        })?;
        let measured = measured.map_err(|error| refuse(error.kind, error.message))?;
        if measured.len() != count {
            let message = format!("{} slices were answered where {count} were asked for", measured.len());
            return Err(refuse(trivium_model::ErrorKind::Internal, message));
        }
        let read = |slice| Slice::from_measured(slice, slo.group_by.len());
        let slices: Result<Vec<Slice>, String> = measured.iter().map(read).collect();
        slices.map_err(|message| refuse(trivium_model::ErrorKind::InvalidArgument, message))
    }

    async fn keep(&self, tracked: &Tracked, first: i64, slices: &[Slice]) -> Result<(), Error> {
        let slo = &tracked.definition;
        let joined = tracked.read(|state| {
            let known: BTreeSet<&Group> =
                state.timeline.groups().chain(slices.iter().flat_map(|slice| slice.groups.keys())).collect();
            let (mut kept, width) = (state.kept.clone(), slo.slice.seconds());
            let end = first + i64::try_from(slices.len()).unwrap_or(0);
            kept.current.from = kept.current.from.min(first * width);
            kept.current.to = kept.current.to.max(end * width);
            (kept, known.len())
        });
        let Some((kept, groups)) = joined else { return Ok(()) };
        if groups > GROUPS_MAX {
            let name = &slo.name;
            let message =
                format!("SLO {name} has {groups} groups; {GROUPS_MAX} are the most, group it by fewer labels");
            return Err(Error::LimitExceeded { message });
        }
        let failed = |source| Error::State { slo: slo.name.clone(), source };
        let lease = self.lease().await.ok_or_else(|| failed(fenced()))?;
        let written = self.keeper.write(&slo.name, &kept, first, slices, lease).await;
        self.check_lease(&written);
        written.map_err(failed)?;
        tracked.change(|state| {
            state.timeline.write(first, slices);
            state.kept = kept;
            let measured = first + i64::try_from(slices.len()).unwrap_or(0);
            if state.again.is_some_and(|again| again.max(state.timeline.first()) >= first && again < measured) {
                state.again = Some(measured).filter(|next| *next < state.timeline.end());
            }
        });
        Ok(())
    }

    /// Forgets days and former generations that no answer needs any more.
    async fn forget(&self, tracked: &Tracked, oldest: i64) -> Result<(), Error> {
        let slo = &tracked.definition;
        let is_old = |past: &Generation| past.to < oldest * slo.slice.seconds();
        if let Some(Some(past)) = tracked.read(|state| state.kept.past.first().filter(|past| is_old(past)).cloned()) {
            return self.forget_generation(tracked, past).await;
        }
        let per_day = i64::try_from(slo.slice.per_day()).unwrap_or(1);
        let day = oldest.div_euclid(per_day);
        let old =
            tracked.read(|state| state.timeline.first() < (day - 1) * per_day && state.timeline.end() > day * per_day);
        if old != Some(true) {
            return Ok(());
        }
        let Some(mut kept) = tracked.read(|state| state.kept.clone()) else { return Ok(()) };
        kept.current.from = day * DAY;
        self.forget_days(tracked, &kept.current.id, &kept, day).await?;
        tracked.change(|state| {
            state.timeline.drop_before(day * per_day);
            state.kept = kept;
        });
        Ok(())
    }

    async fn forget_generation(&self, tracked: &Tracked, past: Generation) -> Result<(), Error> {
        let Some(mut kept) = tracked.read(|state| state.kept.clone()) else { return Ok(()) };
        kept.past.retain(|other| *other != past);
        self.forget_days(tracked, &past.id, &kept, i64::MAX).await?;
        tracked.change(|state| state.kept = kept);
        Ok(())
    }

    async fn forget_days(&self, tracked: &Tracked, generation: &str, kept: &Kept, day: i64) -> Result<(), Error> {
        let slo = &tracked.definition;
        let failed = |source| Error::State { slo: slo.name.clone(), source };
        let lease = self.lease().await.ok_or_else(|| failed(fenced()))?;
        let written = self.keeper.forget_before(&slo.name, generation, kept, day, lease).await;
        self.check_lease(&written);
        written.map_err(failed)
    }

    /// The lease, prolonged when a third of it has passed; `None` while another process has it.
    async fn lease(&self) -> Option<Lease> {
        let now = self.deps.clock.now();
        let fresh = self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((lease, since)) = fresh
            && now.since(since) < self.config.lease_ttl / 3
        {
            return Some(lease);
        }
        let answer =
            self.deps.store.lease(&self.config.tenant.own(LEASE), &self.config.holder, now, self.config.lease_ttl);
        let answer = answer.await;
        let lease = answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "the lease on measuring SLOs could not be prolonged");
            None
        });
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease.clone().map(|lease| (lease, now));
        lease
    }

    fn check_lease<T>(&self, result: &Result<T, trivium_model::StateError>) {
        if matches!(result, Err(trivium_model::StateError::Fenced { .. })) {
            *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

fn fenced() -> trivium_model::StateError {
    trivium_model::StateError::Fenced { name: LEASE.to_owned() }
}

/// How far back slices are kept: two rolling windows, or three of the calendar.
fn keep_seconds(slo: &SloDefinition) -> i64 {
    let windows = if slo.window.is_calendar() { 3 } else { 2 };
    let wanted = windows * slo.window.period().nominal_seconds() + DAY;
    wanted.clamp(KEEP_DAYS_MIN * DAY, KEEP_DAYS_MAX * DAY)
}

/// The empty group, for SLOs without `group_by`.
pub fn no_group() -> Group {
    Group::from(Vec::new())
}

#[cfg(test)]
mod tests;
