//! The histogram of all records: every part is counted once and remembered, so that only parts at the ends of the range
//! are read again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use tokio_util::sync::CancellationToken;
use trivium_model::TimeRange;
use trivium_storage::{Part, RowRanges};

use super::chunks::chunks_of_part;
use super::columns::times;
use super::histogram::Histogram;
use super::memo::select;
use super::part_facts::PartFacts;
use super::scan::Source;
use crate::error::Error;

/// Threads that count parts for the first time.
const THREADS_MAX: usize = 8;
/// Rows that are read at once from a part that lies only partly in the range.
const ROWS_AT_ONCE: u64 = 65_536;

/// Counts all records of the sources within a range.
#[derive(Debug)]
pub(super) struct Overview<'request> {
    pub(super) sources: &'request [Source],
    pub(super) range: TimeRange,
    pub(super) facts: &'request PartFacts,
    pub(super) deadline: Instant,
    pub(super) cancel: &'request CancellationToken,
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) histogram: Histogram,
    /// Whether time ran out, or some part could not be read.
    pub(super) partial: bool,
    pub(super) warnings: Vec<String>,
}

impl Overview<'_> {
    /// Fills an empty histogram.
    pub(super) fn count(&self, empty: Histogram) -> Result<Counted, Error> {
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let threads = threads.min(self.sources.len()).max(1);
        let work = || self.count_some(&next, empty.clone());
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut counted = work()?;
            for helper in helpers {
                let more = helper.join().map_err(|_| Error::Internal("a thread of a log search panicked".into()))??;
                counted.histogram.absorb(&more.histogram);
                counted.partial |= more.partial;
                counted.warnings.extend(more.warnings);
            }
            counted.warnings.truncate(4);
            Ok(counted)
        })
    }

    fn count_some(&self, next: &AtomicUsize, histogram: Histogram) -> Result<Counted, Error> {
        let mut counted = Counted { histogram, partial: false, warnings: Vec::new() };
        while let Some(source) = self.sources.get(next.fetch_add(1, Ordering::Relaxed)) {
            if self.cancel.is_cancelled() || Instant::now() >= self.deadline {
                counted.partial = true;
                break;
            }
            let outcome = match source {
                Source::Buffered(batch) => self.count_batch(batch, &mut counted.histogram),
                Source::Part(part) => self.count_part(part, &mut counted.histogram),
            };
            match outcome {
                // One part that cannot be read must not hide all others.
                Err(Error::Storage(error)) => {
                    tracing::error!(%error, "a part could not be counted");
                    counted.partial = true;
                    counted.warnings.push(format!("some records could not be read: {error}"));
                }
                outcome => outcome?,
            }
        }
        Ok(counted)
    }

    fn count_batch(&self, batch: &RecordBatch, histogram: &mut Histogram) -> Result<(), Error> {
        let times = times(batch)?;
        let inside =
            |row: usize| times.get(row).is_some_and(|&time| self.range.start.0 <= time && time < self.range.end.0);
        histogram.count(batch, &select(&BooleanBuffer::new_set(batch.num_rows()), inside))
    }

    fn count_part(&self, part: &Part, histogram: &mut Histogram) -> Result<(), Error> {
        let record = part.record();
        if self.range.contains(record.first_time) && self.range.contains(record.last_time) {
            let known = self.facts.histogram(part)?;
            if histogram.add_finer(&known) {
                return Ok(());
            }
        }
        for chunk in chunks_of_part(part, &RowRanges::all(record.rows), self.range, ROWS_AT_ONCE)? {
            if self.cancel.is_cancelled() {
                break;
            }
            for batch in part.read(Some(&Histogram::COLUMNS), Some(&chunk.rows))? {
                self.count_batch(&batch, histogram)?;
            }
        }
        Ok(())
    }
}
