//! What searches learned of parts, which never change: their resources, and their counts over time.
//!
//! A plain key of a search may be an attribute of the record, which the indexes know, or of the resource, which they do
//! not: when no resource of a part can match, the indexes answer for the part.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use trivium_model::PartId;
use trivium_storage::{Part, RowRanges};

use super::columns::{RESOURCE, dictionary};
use super::histogram::{Buckets, Histogram};
use crate::error::Error;

/// Parts that are remembered; beyond it all are forgotten, because most of them are gone by then.
const PARTS_MAX: usize = 4_096;
/// Distinct resources of a part that are remembered; more are not worth their memory.
const RESOURCES_MAX: usize = 1_000;
/// Buckets of the counts of one part.
const BUCKETS_OF_A_PART: usize = 1_024;
/// Buckets of all parts, of 56 bytes each.
const BUCKETS_MAX: usize = 1 << 19;
/// Rows that are read at once.
const ROWS_AT_ONCE: u32 = 65_536;

type Resources = Option<Arc<[String]>>;

/// Remembers facts of parts between searches. Bounded; threads share it.
#[derive(Debug, Default)]
pub struct PartFacts {
    resources: Mutex<HashMap<PartId, Resources>>,
    histograms: Mutex<HashMap<PartId, Arc<Histogram>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves a map that is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartFacts {
    /// The distinct resources of a part as canonical JSON; `None` when there are too many. Reads a column at the first
    /// call.
    pub(super) fn resources(&self, part: &Part) -> Result<Resources, Error> {
        let id = part.record().id;
        if let Some(known) = lock(&self.resources).get(&id) {
            return Ok(known.clone());
        }
        let found = distinct_resources(part)?;
        let mut known = lock(&self.resources);
        if known.len() >= PARTS_MAX {
            known.clear();
        }
        known.insert(id, found.clone());
        Ok(found)
    }

    /// The counts of a part over time, as fine as their bound allows. Reads three columns at the first call.
    pub(super) fn histogram(&self, part: &Part) -> Result<Arc<Histogram>, Error> {
        let id = part.record().id;
        if let Some(known) = lock(&self.histograms).get(&id) {
            return Ok(Arc::clone(known));
        }
        let counted = Arc::new(count_part(part)?);
        let mut known = lock(&self.histograms);
        let buckets: usize = known.values().map(|histogram| histogram.counts.len()).sum();
        if known.len() >= PARTS_MAX || buckets + counted.counts.len() > BUCKETS_MAX {
            known.clear();
        }
        known.insert(id, Arc::clone(&counted));
        Ok(counted)
    }
}

fn distinct_resources(part: &Part) -> Result<Resources, Error> {
    let mut distinct = BTreeSet::new();
    for rows in pieces(part) {
        for batch in part.read(Some(&[RESOURCE]), Some(&rows))? {
            let column = dictionary(&batch, RESOURCE)?;
            let values = column.values().as_string::<i32>();
            let mut is_used = vec![false; values.len()];
            for used in column.keys().iter().flatten().filter_map(|key| usize::try_from(key).ok()) {
                if let Some(slot) = is_used.get_mut(used) {
                    *slot = true;
                }
            }
            for (_, value) in is_used.iter().zip(values.iter()).filter(|(used, _)| **used) {
                if let Some(value) = value.filter(|value| !distinct.contains(*value)) {
                    distinct.insert(value.to_owned());
                }
            }
        }
        if distinct.len() > RESOURCES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(distinct.into_iter().collect()))
}

fn count_part(part: &Part) -> Result<Histogram, Error> {
    let record = part.record();
    let mut histogram = Histogram::new(Buckets::AtMost(BUCKETS_OF_A_PART), record.first_time.0, record.last_time.0)?;
    for rows in pieces(part) {
        for batch in part.read(Some(&Histogram::COLUMNS), Some(&rows))? {
            histogram.count(&batch, &BooleanBuffer::new_set(batch.num_rows()))?;
        }
    }
    Ok(histogram)
}

fn pieces(part: &Part) -> impl Iterator<Item = RowRanges> {
    let rows = part.record().rows;
    let starts = (0..rows).step_by(usize::try_from(ROWS_AT_ONCE).unwrap_or(usize::MAX));
    starts.map(move |start| RowRanges::from_sorted([start..start.saturating_add(ROWS_AT_ONCE).min(rows)]))
}
