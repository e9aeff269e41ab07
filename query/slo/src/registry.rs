//! The SLOs of a process: their definitions, and what is known of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use trivium_model::Clock;

use crate::alert::{AlertReport, evaluate};
use crate::definition::SloDefinition;
use crate::duration::MINUTE;
use crate::error::{Error, Problem};
use crate::keep::Kept;
use crate::load::SloSet;
use crate::slice::Timeline;

/// How far slices may lag behind the clock before their alerts are held, beside the lengths of two slices.
pub(crate) const STALE_SECONDS: i64 = 15 * MINUTE;

/// Whether an SLO is measured as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// When slices were last measured, seconds since 1970.
    pub last_success: Option<i64>,
    /// Why the last attempt failed; empty after one that did not.
    pub last_error: Option<String>,
    /// Records that could not be read; their time counts as unmeasured.
    pub damaged: Vec<String>,
}

/// What is in memory of one SLO.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Under which lease it was read: another process may have changed the store before this one took over.
    pub(crate) epoch: u64,
    pub(crate) kept: Kept,
    pub(crate) timeline: Timeline,
    /// The first of the slices that are to be measured again, because telemetry arrived for them. Not kept: what arrives
    /// while nobody measures is found by whoever has the store measured anew.
    pub(crate) again: Option<i64>,
}

/// One SLO and what is known of it.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) definition: Arc<SloDefinition>,
    /// Held while slices are measured and kept: of two definitions with the same name, one at a time does so.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    state: RwLock<Option<State>>,
    health: Mutex<Health>,
}

impl Tracked {
    fn new(definition: Arc<SloDefinition>, turn: Arc<tokio::sync::Mutex<()>>) -> Self {
        Self { definition, turn, state: RwLock::default(), health: Mutex::default() }
    }

    /// Reads what is in memory; `None` before it was read from the store.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Option<T> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }

    pub(crate) fn put(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.state.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(state);
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// All SLOs of a process, to read from any task.
#[derive(Clone, Debug)]
pub struct Slos {
    tracked: Arc<RwLock<BTreeMap<String, Arc<Tracked>>>>,
    warnings: Arc<RwLock<Vec<Problem>>>,
    clock: Arc<dyn Clock>,
}

impl Slos {
    /// No SLOs yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { tracked: Arc::default(), warnings: Arc::default(), clock }
    }

    /// Takes over a set of definitions. What is measured alike keeps its slices in memory; the rest is read or measured
    /// by the evaluator's next pass. Records of SLOs that are gone stay in the store.
    pub fn replace(&self, set: SloSet) {
        let mut tracked = self.tracked.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        for definition in set.slos {
            let name = definition.name.clone();
            let old = tracked.get(&name);
            let turn = old.map_or_else(Arc::default, |old| Arc::clone(&old.turn));
            let new = Tracked::new(Arc::clone(&definition), turn);
            if let Some(old) = old
                && old.definition.generation() == definition.generation()
                && old.definition.method == definition.method
            {
                if let Some(state) = old.read(State::clone) {
                    new.put(state);
                }
                new.note(|health| *health = old.health());
            }
            next.insert(name, Arc::new(new));
        }
        *tracked = next;
        *self.warnings.write().unwrap_or_else(PoisonError::into_inner) = set.warnings;
    }

    /// What was warned about when the definitions were read.
    pub fn warnings(&self) -> Vec<Problem> {
        self.warnings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The definitions, in the order of their names.
    pub fn definitions(&self) -> Vec<Arc<SloDefinition>> {
        self.all().iter().map(|tracked| Arc::clone(&tracked.definition)).collect()
    }

    /// What all alerts say now. Of an SLO whose slices are not in memory yet nothing is said: its alerts stay as they are.
    pub fn alerts(&self) -> Vec<(Arc<SloDefinition>, AlertReport)> {
        let report = |tracked: &Arc<Tracked>| {
            let report = tracked.read(|state| self.report(&tracked.definition, &state.timeline))?;
            Some((Arc::clone(&tracked.definition), report))
        };
        self.all().iter().filter_map(report).collect()
    }

    pub(crate) fn report(&self, definition: &SloDefinition, timeline: &Timeline) -> AlertReport {
        let lag = self.now() - timeline.end_seconds();
        let allowed = STALE_SECONDS + 2 * definition.slice.seconds();
        let stale = (lag > allowed).then(|| {
            format!("slices end {} ago; measuring fails or telemetry is late", crate::duration::render(lag as f64))
        });
        evaluate(definition, timeline, stale.as_deref())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Tracked>> {
        self.tracked.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Tracked>, Error> {
        let tracked = self.tracked.read().unwrap_or_else(PoisonError::into_inner);
        tracked.get(name).map(Arc::clone).ok_or_else(|| Error::NotFound { name: name.to_owned() })
    }

    /// Whether this is still the SLO of its name.
    pub(crate) fn is_current(&self, tracked: &Arc<Tracked>) -> bool {
        self.get(&tracked.definition.name).is_ok_and(|current| Arc::ptr_eq(&current, tracked))
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().0.div_euclid(1_000_000_000)
    }
}
