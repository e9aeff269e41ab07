//! Slices in the store of state: which records there are, and what is written in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trivium_model::{ErrorKind, Lease, StateChange, StateError, StateStore, TenantId};

use crate::definition::{BudgetingMethod, SliceWidth};
use crate::duration::DAY;
use crate::slice::{Place, Slice, Timeline, decode, encode};

/// The kind of the records of a day of slices.
const SLICES: &str = "slo_slices";

/// The kind of the records that say what is kept of an SLO.
const STATE: &str = "slo_state";

/// The version of the latter.
const STATE_VERSION: u32 = 1;

/// Former generations that stay readable.
const PAST_GENERATIONS_MAX: usize = 20;

/// What is kept of one SLO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    /// The generation that slices are added to.
    pub(crate) current: Generation,
    /// Former ones, oldest first.
    #[serde(default)]
    pub(crate) past: Vec<Generation>,
}

/// One generation of slices: all that were measured by the same definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Identifies the definition of the indicator.
    pub id: String,
    /// Seconds of a slice.
    pub width: i64,
    /// Where its first slice begins, seconds since 1970.
    pub from: i64,
    /// Where its last slice ends.
    pub to: i64,
}

impl Kept {
    /// Nothing is kept yet: the run of slices will grow from `at` in both directions.
    pub(crate) fn new(generation: u64, width: SliceWidth, at: i64) -> Self {
        let current = Generation { id: format!("{generation:016x}"), width: width.seconds(), from: at, to: at };
        Self { version: STATE_VERSION, current, past: Vec::new() }
    }

    /// Begins a generation; the current one becomes a former one. A definition that is taken back goes on where it was
    /// left: what was missed meanwhile is caught up.
    pub(crate) fn succeed(mut self, generation: u64, width: SliceWidth, at: i64) -> Self {
        let mut next = Self::new(generation, width, at).current;
        if let Some(former) = self.past.iter().position(|past| past.id == next.id) {
            next = self.past.remove(former);
        }
        self.past.push(std::mem::replace(&mut self.current, next));
        self.past.retain(|past| past.from < past.to);
        let surplus = self.past.len().saturating_sub(PAST_GENERATIONS_MAX);
        self.past.drain(..surplus);
        self
    }
}

/// A timeline that was read back, and which records of it were damaged.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) timeline: Timeline,
    pub(crate) damaged: Vec<String>,
}

/// The slices of one tenant in the store.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    store: Arc<dyn StateStore>,
    tenant: TenantId,
}

/// The slices of one day as they are stored, and how many records they take.
#[derive(Default)]
struct StoredDay {
    first: i64,
    slices: Vec<Slice>,
    keys: Vec<String>,
    damaged: Vec<String>,
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn StateStore>, tenant: TenantId) -> Self {
        Self { store, tenant }
    }

    /// What is kept of an SLO; `None` when it is new.
    pub(crate) async fn kept(&self, name: &str) -> Result<Option<Kept>, StateError> {
        let records = self.store.list(self.tenant, STATE, name).await?;
        let Some(record) = records.into_iter().find(|record| record.key == name) else { return Ok(None) };
        let damaged = |found: String| StateError::Store {
            kind: ErrorKind::Corrupted,
            message: format!(
                "reading what is kept of SLO {name}: {found}; delete the record {STATE}/{name} to measure it anew"
            ),
        };
        let kept: Kept = serde_json::from_slice(&record.value).map_err(|error| damaged(error.to_string()))?;
        if kept.version != STATE_VERSION {
            return Err(damaged(format!("version {} where {STATE_VERSION} is known", kept.version)));
        }
        Ok(Some(kept))
    }

    /// Reads all slices of a generation. Days that are damaged or missing count as unmeasured.
    pub(crate) async fn timeline(
        &self,
        name: &str,
        generation: &Generation,
        method: BudgetingMethod,
    ) -> Result<Restored, StateError> {
        let width = SliceWidth::from_seconds(generation.width).unwrap_or(SliceWidth::FIVE_MINUTES);
        let (from, to) = (generation.from.div_euclid(width.seconds()), generation.to.div_euclid(width.seconds()));
        let mut restored = Restored { timeline: Timeline::new(width, method, from), damaged: Vec::new() };
        let prefix = format!("{name}/{}/", generation.id);
        let records = self.store.list(self.tenant, SLICES, &prefix).await?;
        let mut days: BTreeMap<i64, StoredDay> = BTreeMap::new();
        for record in records {
            let Some(day) = day_of(&record.key) else { continue };
            days.entry(day).or_default().add(record.key, &record.value, day, width);
        }
        for day in from.div_euclid(per_day(width))..=to.div_euclid(per_day(width)) {
            let start = (day * per_day(width)).max(from);
            let end = ((day + 1) * per_day(width)).min(to);
            let stored = days.remove(&day).unwrap_or_default();
            restored.damaged.extend(stored.damaged.iter().cloned());
            let slices: Vec<Slice> = (start..end).map(|slice| stored.slice(slice)).collect();
            if !slices.is_empty() {
                restored.timeline.write(start, &slices);
            }
        }
        Ok(restored)
    }

    /// Keeps a run of slices from `first` on, which overlaps or touches what is kept, and `kept` as it is afterwards.
    pub(crate) async fn write(
        &self,
        name: &str,
        kept: &Kept,
        first: i64,
        slices: &[Slice],
        lease: Lease,
    ) -> Result<(), StateError> {
        let generation = &kept.current;
        let width = SliceWidth::from_seconds(generation.width).unwrap_or(SliceWidth::FIVE_MINUTES);
        let end = first + i64::try_from(slices.len()).unwrap_or(0);
        let mut changes = Vec::new();
        for day in first.div_euclid(per_day(width))..=(end - 1).div_euclid(per_day(width)) {
            let run = (day * per_day(width)).max(first)..((day + 1) * per_day(width)).min(end);
            let from = usize::try_from(run.start - first).unwrap_or(0);
            let to = usize::try_from(run.end - first).unwrap_or(0);
            let Some(new) = slices.get(from..to).filter(|new| !new.is_empty()) else { continue };
            let stored = self.day(name, generation, day, width).await?;
            changes.extend(stored.merged(name, generation, day, (run.start, new)));
        }
        changes.push(state_change(name, kept));
        self.store.apply(self.tenant, Some(lease), changes).await
    }

    /// Forgets the days of a generation before `day`, and keeps `kept` as it is afterwards.
    pub(crate) async fn forget_before(
        &self,
        name: &str,
        generation: &str,
        kept: &Kept,
        day: i64,
        lease: Lease,
    ) -> Result<(), StateError> {
        let prefix = format!("{name}/{generation}/");
        let records = self.store.list(self.tenant, SLICES, &prefix).await?;
        let old = records.into_iter().filter(|record| day_of(&record.key).is_some_and(|of| of < day));
        let delete = |key| StateChange::Delete { kind: SLICES.to_owned(), key };
        let mut changes: Vec<StateChange> = old.map(|record| delete(record.key)).collect();
        changes.push(state_change(name, kept));
        self.store.apply(self.tenant, Some(lease), changes).await
    }

    async fn day(
        &self,
        name: &str,
        generation: &Generation,
        day: i64,
        width: SliceWidth,
    ) -> Result<StoredDay, StateError> {
        let prefix = format!("{name}/{}/{day:06}/", generation.id);
        let mut stored = StoredDay::default();
        for record in self.store.list(self.tenant, SLICES, &prefix).await? {
            stored.add(record.key, &record.value, day, width);
        }
        Ok(stored)
    }
}

impl StoredDay {
    fn add(&mut self, key: String, value: &[u8], day: i64, width: SliceWidth) {
        self.keys.push(key.clone());
        let block = match decode(value) {
            Ok(block)
                if i64::from(block.place.width_seconds) == width.seconds() && i64::from(block.place.day) == day =>
            {
                block
            }
            Ok(_) => return self.damaged.push(format!("{key}: it is of another day or width")),
            Err(error) => return self.damaged.push(format!("{key}: {error}")),
        };
        let number: usize = key.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        if number >= usize::from(block.blocks) {
            return;
        }
        self.first = day * per_day(width) + i64::from(block.place.first);
        self.slices.resize_with(self.slices.len().max(block.slices.len()), Slice::default);
        for (into, from) in self.slices.iter_mut().zip(block.slices) {
            into.coverage = from.coverage;
            into.groups.extend(from.groups);
        }
    }

    fn slice(&self, slice: i64) -> Slice {
        let at = usize::try_from(slice - self.first).ok();
        at.and_then(|at| self.slices.get(at)).cloned().unwrap_or_default()
    }

    /// The changes that put `new` slices over the stored ones of a day.
    fn merged(&self, name: &str, generation: &Generation, day: i64, new: (i64, &[Slice])) -> Vec<StateChange> {
        let (new_first, new_slices) = new;
        let new_end = new_first + i64::try_from(new_slices.len()).unwrap_or(0);
        let stored_end = self.first + i64::try_from(self.slices.len()).unwrap_or(0);
        let (first, end) = if self.slices.is_empty() {
            (new_first, new_end)
        } else {
            (self.first.min(new_first), stored_end.max(new_end))
        };
        let pick = |slice: i64| {
            let at = usize::try_from(slice - new_first).ok();
            at.and_then(|at| new_slices.get(at)).cloned().unwrap_or_else(|| self.slice(slice))
        };
        let slices: Vec<Slice> = (first..end).map(pick).collect();
        let place = Place {
            width_seconds: u32::try_from(generation.width).unwrap_or(0),
            day: i32::try_from(day).unwrap_or(0),
            first: u16::try_from(first - day * (DAY / generation.width.max(1))).unwrap_or(0),
        };
        let key = |block: usize| format!("{name}/{}/{day:06}/{block:03}", generation.id);
        let records: Vec<Vec<u8>> = encode(place, &slices);
        let written: Vec<String> = (0..records.len()).map(key).collect();
        let leftover = self.keys.iter().filter(|stored| !written.contains(stored));
        let delete = |key: &String| StateChange::Delete { kind: SLICES.to_owned(), key: key.clone() };
        let mut changes: Vec<StateChange> = leftover.map(delete).collect();
        let put = |(key, value)| StateChange::Put { kind: SLICES.to_owned(), key, value };
        changes.extend(written.iter().cloned().zip(records).map(put));
        changes
    }
}

fn state_change(name: &str, kept: &Kept) -> StateChange {
    // Strings and numbers always serialize.
    let value = serde_json::to_vec(kept).unwrap_or_default();
    StateChange::Put { kind: STATE.to_owned(), key: name.to_owned(), value }
}

fn per_day(width: SliceWidth) -> i64 {
    DAY / width.seconds()
}

fn day_of(key: &str) -> Option<i64> {
    key.split('/').nth(2)?.parse().ok()
}
