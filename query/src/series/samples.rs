//! Whole columns of a piece of a part, kept in memory while queries take samples from all over it.
//!
//! The series of one rule lie far apart among a million. Reading them alone decompresses nearly every page; a thousand rules
//! would do that a thousand times. So a reading that would touch most pages reads all rows once, for the others too.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use hashbrown::HashSet;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use trivium_model::PartId;
use trivium_storage::{Part, RowRanges};

use super::index::{IndexKey, SeriesIndex};
use crate::error::Error;

/// Smaller pieces are read as they are.
const ROWS_MIN: usize = 32_768;

/// Rows that are read, at the least, to come to one.
const ROWS_OF_RANGE: usize = 2_048;

/// Columns that take a few bytes a row, whatever is in them; how many bytes all of them take.
const NARROW: [&str; 4] = ["flags", "start_time", "time", "value"];
const NARROW_BYTES: u64 = 4 + 3 * 8;

/// Rows that a reading decodes at once: of narrow columns, and of histograms, whose rows may take kilobytes.
const ROWS_AT_ONCE: usize = 1 << 20;
const WIDE_ROWS_AT_ONCE: usize = 1 << 12;

#[derive(Clone, Debug)]
struct SampleWeight;

impl Weighter<(IndexKey, bool), RecordBatch> for SampleWeight {
    fn weight(&self, _: &(IndexKey, bool), batch: &RecordBatch) -> u64 {
        batch.get_array_memory_size() as u64
    }
}

/// Columns of pieces by use, bounded in bytes; with and without start times.
#[derive(Debug)]
pub(super) struct SampleCache {
    pieces: Cache<(IndexKey, bool), RecordBatch, SampleWeight>,
    /// Rows of the largest piece that is kept.
    rows_max: u64,
}

/// How many rows of these columns a reading may decode at once.
pub(super) fn rows_at_once(columns: &[&str]) -> usize {
    if columns.iter().all(|column| NARROW.contains(column)) { ROWS_AT_ONCE } else { WIDE_ROWS_AT_ONCE }
}

impl SampleCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        let pieces = Cache::with_weighter(64, bytes_max, SampleWeight);
        Self { pieces, rows_max: bytes_max / 2 / NARROW_BYTES }
    }

    pub(super) fn keep_only(&self, parts: &HashSet<PartId>) {
        self.pieces.retain(|(key, _), _| key.is_of(parts));
    }

    /// The columns of all rows of a piece, when that is what reading the wanted rows comes to.
    pub(super) fn get(
        &self,
        part: &Part,
        index: &SeriesIndex,
        columns: &[&'static str],
        wanted: &RowRanges,
    ) -> Result<Option<RecordBatch>, Error> {
        let rows = index.rows.len();
        let ranges = wanted.iter().count();
        let is_all = wanted.len() == rows as u64;
        if rows < ROWS_MIN
            || rows as u64 > self.rows_max
            || is_all
            || !columns.iter().all(|column| NARROW.contains(column))
        {
            return Ok(None);
        }
        let key = (index.key, columns.contains(&"start_time"));
        if ranges.saturating_mul(ROWS_OF_RANGE) < rows {
            return Ok(self.pieces.get(&key));
        }
        let whole = self.pieces.get_or_insert_with(&key, || {
            let all = RowRanges::from_sorted([index.rows.clone()]);
            let batches = part.read(Some(columns), Some(&all))?;
            let Some(first) = batches.first() else {
                return Err(Error::Internal("a part gave no rows".into()));
            };
            concat_batches(&first.schema(), &batches).map_err(|error| Error::Internal(error.to_string()))
        })?;
        Ok(Some(whole))
    }
}
