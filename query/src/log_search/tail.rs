//! New records as they become visible, in the order of arrival.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use trivium_storage::{Part, RowRanges, Snapshot};

use super::columns::{TIME, WAL_POSITION, times, wal_positions};
use super::matcher::{CompiledQuery, Evaluation};
use super::memo::select;
use super::record::LogRecords;
use super::scan::candidates;
use super::top::{Place, SortKey, Top};
use crate::error::Error;

/// Records of one batch of a tail; of a faster stream the newest are taken.
pub(crate) const TAIL_ROWS_MAX: usize = 500;

/// Rows of a part that are looked at together.
const ROWS_AT_ONCE: u32 = 16_384;

/// A position in the stream of arriving records.
#[derive(Debug)]
pub struct Tail {
    query: Arc<CompiledQuery>,
    /// All requests up to this position were looked at.
    seen: u64,
}

/// What became visible since the last look.
#[derive(Debug, Default)]
pub struct TailBatch {
    /// As JSON, in the order of arrival.
    pub records: Vec<String>,
    /// Matches that were left out because there were more than [`TAIL_ROWS_MAX`].
    pub skipped: u64,
}

impl Tail {
    /// Starts behind all that is visible in the snapshot.
    pub fn new(query: CompiledQuery, snapshot: &Snapshot) -> Result<Self, Error> {
        Ok(Self { query: Arc::new(query), seen: last_position(snapshot)? })
    }

    /// The matches that became visible since the last call. Blocking.
    pub fn poll(&mut self, snapshot: &Snapshot) -> Result<TailBatch, Error> {
        let last = last_position(snapshot)?;
        if last <= self.seen {
            return Ok(TailBatch::default());
        }
        let query = Arc::clone(&self.query);
        let mut look =
            Look { evaluation: Evaluation::new(&query), seen: self.seen, top: Top::new(TAIL_ROWS_MAX), matched: 0 };
        for (source, batch) in (0..).zip(&snapshot.buffered) {
            look.batch(batch, source, &|row| row)?;
        }
        let first_part = u32::try_from(snapshot.buffered.len()).unwrap_or(u32::MAX);
        for (source, part) in (first_part..).zip(&snapshot.parts) {
            if part.record().last_position.0 > self.seen {
                look.part(part, source)?;
            }
        }
        self.seen = last;
        let (mut places, matched) = (look.top.into_sorted(), look.matched);
        places.truncate(TAIL_ROWS_MAX);
        places.reverse();
        let records = places.iter().map(|(_, place)| read(snapshot, *place)).collect::<Result<Vec<_>, _>>()?;
        let shown = u64::try_from(records.len()).unwrap_or(u64::MAX);
        Ok(TailBatch { records, skipped: matched.saturating_sub(shown) })
    }
}

fn last_position(snapshot: &Snapshot) -> Result<u64, Error> {
    let mut last = snapshot.parts.iter().map(|part| part.record().last_position.0).max().unwrap_or_default();
    for batch in &snapshot.buffered {
        last = last.max(wal_positions(batch)?.iter().max().copied().unwrap_or_default());
    }
    Ok(last)
}

/// One look at what is new.
struct Look<'query> {
    evaluation: Evaluation<'query>,
    seen: u64,
    top: Top,
    matched: u64,
}

impl Look<'_> {
    fn part(&mut self, part: &Part, source: u32) -> Result<(), Error> {
        let candidates = candidates(part, self.evaluation.token_filter());
        let mut columns: BTreeSet<&str> = BTreeSet::from([TIME, WAL_POSITION]);
        columns.extend(self.evaluation.columns());
        let columns: Vec<&str> = columns.into_iter().collect();
        let mut start = 0;
        while start < part.record().rows {
            let end = start.saturating_add(ROWS_AT_ONCE);
            let rows = candidates.intersect(&RowRanges::from_sorted([start..end]));
            start = end;
            let numbers: Vec<u32> = rows.iter().flatten().collect();
            let mut first = 0;
            for batch in if rows.is_empty() { Vec::new() } else { part.read(Some(&columns), Some(&rows))? } {
                self.batch(&batch, source, &|row| {
                    let index = first + usize::try_from(row).unwrap_or(usize::MAX);
                    numbers.get(index).copied().unwrap_or(u32::MAX)
                })?;
                first += batch.num_rows();
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, source: u32, row_of: &dyn Fn(u32) -> u32) -> Result<(), Error> {
        let (positions, times) = (wal_positions(batch)?, times(batch)?);
        let is_new = |row: usize| positions.get(row).is_some_and(|&position| position > self.seen);
        let new = select(&BooleanBuffer::new_set(batch.num_rows()), is_new);
        if new.count_set_bits() == 0 {
            return Ok(());
        }
        let matching = self.evaluation.matching_of(batch, &new)?;
        for row in matching.set_indices() {
            let (Some(&position), Some(&time)) = (positions.get(row), times.get(row)) else { continue };
            // By arrival, and within a request by time, whose order as an unsigned number needs the sign bit turned.
            let by_time = time.cast_unsigned() ^ (1 << 63);
            let key = SortKey { time: position.cast_signed(), position: by_time };
            self.top.offer(key, Place { source, row: row_of(u32::try_from(row).unwrap_or(u32::MAX)) });
            self.matched += 1;
        }
        Ok(())
    }
}

fn read(snapshot: &Snapshot, place: Place) -> Result<String, Error> {
    let mut json = String::new();
    let source = usize::try_from(place.source).unwrap_or(usize::MAX);
    if let Some(batch) = snapshot.buffered.get(source) {
        LogRecords::new(batch)?.write(&mut json, usize::try_from(place.row).unwrap_or(usize::MAX));
    } else if let Some(part) = snapshot.parts.get(source - snapshot.buffered.len()) {
        let row = RowRanges::from_sorted([place.row..place.row.saturating_add(1)]);
        if let Some(batch) = part.read(None, Some(&row))?.first() {
            LogRecords::new(batch)?.write(&mut json, 0);
        }
    }
    Ok(json)
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
