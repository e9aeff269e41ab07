//! One pass over a snapshot: the pieces that may hold the first rows come first, and what can no longer contribute is
//! never read.

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;
use chrono::{DateTime, SecondsFormat};
use tokio_util::sync::CancellationToken;
use trivium_model::{TimeRange, UnixNanos};
use trivium_storage::{Part, RowRanges, Snapshot, TokenFilter};

use super::chunks::{CHUNK_BYTES_MAX, chunks_of_part};
use super::columns::times;
use super::cursor::Cursor;
use super::facets::{self, ValueCounts};
use super::field::Field;
use super::histogram::Histogram;
use super::matcher::CompiledQuery;
use super::part_facts::PartFacts;
use super::top::{Place, SortKey};
use super::worker::Worker;
use crate::error::Error;

/// Candidate rows read at once when the answer may be complete after a few.
pub(super) const ROWS_OF_A_PIECE: u64 = 4_096;
/// Candidate rows read at once when all of them are.
pub(super) const ROWS_OF_A_LARGE_PIECE: u64 = 65_536;
/// Rows after which more threads are worth their start.
const ROWS_ALONE_MAX: u64 = 100_000;
/// Threads of one search.
const THREADS_MAX: usize = 8;

/// What a search reads from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Part(Arc<Part>),
    Buffered(RecordBatch),
}

/// The parts and batches of a snapshot that overlap a range of time.
pub(super) fn sources(snapshot: &Snapshot, range: TimeRange) -> Result<Vec<Source>, Error> {
    let parts = snapshot.parts.iter().filter(|part| part.overlaps(range)).map(|part| Source::Part(Arc::clone(part)));
    let mut sources: Vec<Source> = parts.collect();
    for batch in &snapshot.buffered {
        if let Some((first, last)) = time_bounds(batch)?
            && range.overlaps(UnixNanos(first), UnixNanos(last))
        {
            sources.push(Source::Buffered(batch.clone()));
        }
    }
    Ok(sources)
}

fn time_bounds(batch: &RecordBatch) -> Result<Option<(i64, i64)>, Error> {
    let times = times(batch)?;
    Ok(times.iter().min().copied().zip(times.iter().max().copied()))
}

impl Source {
    /// The earliest and the latest time of a row.
    pub(super) fn time_bounds(&self) -> Result<Option<(i64, i64)>, Error> {
        match self {
            Self::Part(part) => Ok(Some((part.record().first_time.0, part.record().last_time.0))),
            Self::Buffered(batch) => time_bounds(batch),
        }
    }
}

/// What a pass over the rows is to find.
#[derive(Debug)]
pub(super) struct ScanPlan<'request> {
    pub(super) query: &'request CompiledQuery,
    pub(super) sources: &'request [Source],
    pub(super) range: TimeRange,
    pub(super) descending: bool,
    /// How many rows are wanted, in order.
    pub(super) wanted: usize,
    /// Rows before it were shown.
    pub(super) cursor: Option<Cursor>,
    /// Empty, to be filled.
    pub(super) histogram: Option<Histogram>,
    pub(super) facets: &'request [Field],
    /// Rows that are read for the facets.
    pub(super) facet_rows_max: u64,
    pub(super) facts: &'request PartFacts,
    pub(super) deadline: Instant,
    pub(super) cancel: &'request CancellationToken,
}

impl ScanPlan<'_> {
    /// Whether every match must be seen, not only the first ones.
    pub(super) fn counts_everything(&self) -> bool {
        self.histogram.is_some() || !self.facets.is_empty()
    }

    /// The columns that are read besides those of the tests.
    pub(super) fn collected_columns(&self, for_facets: bool) -> BTreeSet<&'static str> {
        let mut columns = BTreeSet::from([super::columns::TIME]);
        if self.wanted > 0 {
            columns.insert(super::columns::WAL_POSITION);
        }
        if self.histogram.is_some() {
            columns.extend(Histogram::COLUMNS);
        }
        if for_facets {
            columns.extend(facets::Facets::new(self.facets).columns());
        }
        columns
    }

    /// The range of time that must be read: rows that were shown before are skipped when nothing is counted.
    fn read_range(&self) -> TimeRange {
        let Some(cursor) = self.cursor.filter(|_| !self.counts_everything()) else { return self.range };
        if self.descending {
            let end = UnixNanos(cursor.key.time.saturating_add(1));
            TimeRange { start: self.range.start, end: self.range.end.min(end) }
        } else {
            TimeRange { start: self.range.start.max(UnixNanos(!cursor.key.time)), end: self.range.end }
        }
    }
}

/// What a pass found.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// The first rows in order, with all ties of the last.
    pub(super) rows: Vec<(SortKey, Place)>,
    /// Rows that share the key of the cursor.
    pub(super) at_cursor: Vec<Place>,
    pub(super) matched: u64,
    pub(super) rows_read: u64,
    /// Whether every row was looked at.
    pub(super) complete: bool,
    /// Whether time ran out, or some part could not be read.
    pub(super) partial: bool,
    /// Whether time ran out.
    pub(super) stopped: bool,
    pub(super) histogram: Option<Histogram>,
    pub(super) facets: Vec<(Field, ValueCounts)>,
    /// Whether the facets were counted over the first rows only.
    pub(super) facets_cut: bool,
    pub(super) warnings: Vec<String>,
    /// Attribute keys of the query that no row had.
    pub(super) unseen_keys: Vec<String>,
}

/// A piece of work, ordered by the first row that it may hold.
#[derive(Debug)]
pub(super) struct Work {
    /// The time of its first row in the order of the answer, as [`SortKey`] has it.
    best: i64,
    pub(super) source: usize,
    /// `None` is a part that was not looked into, or a whole batch.
    pub(super) rows: Option<RowRanges>,
    bytes: u64,
}

impl PartialEq for Work {
    fn eq(&self, other: &Self) -> bool {
        self.best == other.best
    }
}
impl Eq for Work {}
impl PartialOrd for Work {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Work {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.best.cmp(&other.best)
    }
}

/// The work that is left, shared by the threads of a search.
#[derive(Debug)]
pub(super) struct Queue<'plan> {
    plan: &'plan ScanPlan<'plan>,
    heap: Mutex<BinaryHeap<Work>>,
    /// The time below which no row is wanted, as [`SortKey`] has it.
    threshold: AtomicI64,
    /// Rows handed out so far while facets are counted.
    facet_rows: AtomicU64,
    /// Whether there were more.
    facets_cut: AtomicBool,
}

/// What the next step of a worker is.
pub(super) enum Step {
    Read(Work),
    /// Nothing that is left can contribute.
    Done,
    /// Time ran out or the client went away.
    Stopped,
}

impl<'plan> Queue<'plan> {
    fn new(plan: &'plan ScanPlan<'plan>) -> Result<Self, Error> {
        let mut heap = BinaryHeap::new();
        for (source, part) in plan.sources.iter().enumerate() {
            if let Some((first, last)) = part.time_bounds()? {
                heap.push(Work { best: best(plan, first, last), source, rows: None, bytes: 0 });
            }
        }
        Ok(Self {
            plan,
            heap: Mutex::new(heap),
            threshold: AtomicI64::new(i64::MIN),
            facet_rows: AtomicU64::new(0),
            facets_cut: AtomicBool::new(false),
        })
    }

    fn heap(&self) -> MutexGuard<'_, BinaryHeap<Work>> {
        // A panic elsewhere leaves a heap that is whole.
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.plan.cancel.is_cancelled() || Instant::now() >= self.plan.deadline
    }

    /// Whether the facets are to be counted over so many more rows; once refused, always refused.
    pub(super) fn counts_facets(&self, rows: u64) -> bool {
        if self.plan.facets.is_empty() {
            return false;
        }
        let granted = self.facet_rows.fetch_add(rows, Ordering::Relaxed) < self.plan.facet_rows_max;
        if !granted {
            self.facets_cut.store(true, Ordering::Relaxed);
        }
        granted
    }

    fn facets_cut(&self) -> bool {
        self.facets_cut.load(Ordering::Relaxed)
    }

    /// Whether rows that cannot be among the first ones are wanted nevertheless.
    fn counts_everything(&self) -> bool {
        self.plan.histogram.is_some() || !(self.plan.facets.is_empty() || self.facets_cut())
    }

    /// What time did not suffice for.
    fn unsearched(&self) -> String {
        let heap = self.heap();
        let rows: u64 = heap.iter().map(|work| self.rows_of(work)).sum();
        let mut warning = format!("the time ran out before {rows} records were searched");
        if let Some(work) = heap.peek() {
            let (word, time) = if self.plan.descending { ("newest", work.best) } else { ("oldest", !work.best) };
            let time = DateTime::from_timestamp_nanos(time).to_rfc3339_opts(SecondsFormat::Secs, true);
            warning.push_str(&format!(", the {word} of {time}"));
        }
        let unindexed = *self.plan.query.token_filter() == TokenFilter::All && !self.plan.query.matches_everything();
        warning.push_str(match unindexed {
            true => ": the query has no whole word that the index could find; add one, narrow the time, or give more timeout",
            false => ": narrow the time, or give more timeout",
        });
        warning
    }

    fn rows_of(&self, work: &Work) -> u64 {
        match (&work.rows, self.plan.sources.get(work.source)) {
            (Some(rows), _) => rows.len(),
            (None, Some(Source::Part(part))) => u64::from(part.record().rows),
            (None, Some(Source::Buffered(batch))) => batch.num_rows() as u64,
            (None, None) => 0,
        }
    }

    /// The next piece. Neighbours of the same part are joined to about `rows_max` rows: reading them together costs less.
    pub(super) fn next(&self, rows_max: u64) -> Step {
        if self.is_over() {
            return if self.heap().is_empty() { Step::Done } else { Step::Stopped };
        }
        let mut heap = self.heap();
        let threshold = self.threshold.load(Ordering::Relaxed);
        match heap.pop() {
            Some(work) if work.best >= threshold => Step::Read(join_neighbours(work, &mut heap, rows_max)),
            // The heap is kept as a sign that not every row was looked at.
            Some(work) => {
                heap.push(work);
                Step::Done
            }
            None => Step::Done,
        }
    }

    /// Tells all workers that rows below the key are not wanted.
    pub(super) fn raise_threshold(&self, key: SortKey) {
        if !self.counts_everything() {
            self.threshold.fetch_max(key.time, Ordering::Relaxed);
        }
    }

    pub(super) fn threshold(&self) -> i64 {
        self.threshold.load(Ordering::Relaxed)
    }

    /// Replaces a part by its pieces that may hold matches.
    pub(super) fn expand(&self, part: &Part, source: usize) -> Result<(), Error> {
        let filter = self.plan.query.token_filter_of(part, self.plan.facts)?;
        let candidates = candidates(part, &filter);
        if candidates.is_empty() {
            return Ok(());
        }
        let rows = if self.plan.counts_everything() { ROWS_OF_A_LARGE_PIECE } else { ROWS_OF_A_PIECE };
        let chunks = chunks_of_part(part, &candidates, self.plan.read_range(), rows)?;
        let mut heap = self.heap();
        heap.extend(chunks.into_iter().map(|chunk| Work {
            best: best(self.plan, chunk.first, chunk.last),
            source,
            rows: Some(chunk.rows),
            bytes: chunk.bytes,
        }));
        Ok(())
    }

    /// Takes the parts out that were not looked into.
    pub(super) fn take_unexpanded(&self) -> Vec<Work> {
        let mut heap = self.heap();
        let is_unexpanded =
            |work: &Work| work.rows.is_none() && matches!(self.plan.sources.get(work.source), Some(Source::Part(_)));
        let (unexpanded, rest): (Vec<Work>, Vec<Work>) = heap.drain().partition(is_unexpanded);
        heap.extend(rest);
        unexpanded
    }

    /// Work that was taken and not done.
    pub(super) fn put_back(&self, work: Work) {
        self.heap().push(work);
    }

    fn is_empty(&self) -> bool {
        self.heap().is_empty()
    }
}

/// The rows that the indexes name. An index that cannot be read is derived data: the rows themselves are searched.
pub(super) fn candidates(part: &Part, filter: &TokenFilter) -> RowRanges {
    part.candidate_rows(filter).unwrap_or_else(|error| {
        tracing::error!(%error, part = %part.record().id, "an index cannot be read; searching its rows instead");
        RowRanges::all(part.record().rows)
    })
}

fn join_neighbours(mut work: Work, heap: &mut BinaryHeap<Work>, rows_max: u64) -> Work {
    let Some(mut rows) = work.rows.take() else { return work };
    while let Some(next) = heap.peek()
        && next.source == work.source
        && work.bytes + next.bytes <= CHUNK_BYTES_MAX
        && next.rows.as_ref().is_some_and(|more| rows.len() + more.len() <= rows_max)
    {
        let Some(next) = heap.pop() else { break };
        work.bytes += next.bytes;
        rows = rows.union(&next.rows.unwrap_or_default());
    }
    work.rows = Some(rows);
    work
}

fn best(plan: &ScanPlan<'_>, first: i64, last: i64) -> i64 {
    SortKey::new(plan.descending, if plan.descending { last } else { first }, 0).time
}

/// Runs a pass. Blocking; uses more threads when there is much to read.
pub(super) fn scan(plan: &ScanPlan<'_>) -> Result<Scanned, Error> {
    let queue = Queue::new(plan)?;
    let mut first = Worker::new(plan);
    first.run(&queue, ROWS_ALONE_MAX)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    if threads > 1 && !first.is_done() {
        first.expand_all(&queue)?;
        std::thread::scope(|scope| {
            let helper = || -> Result<Worker<'_>, Error> {
                let mut worker = Worker::new(plan);
                worker.run(&queue, u64::MAX)?;
                Ok(worker)
            };
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(helper)).collect();
            first.run(&queue, u64::MAX)?;
            for helper in helpers {
                let worker =
                    helper.join().map_err(|_| Error::Internal("a thread of a log search panicked".into()))??;
                first.absorb(worker);
            }
            Ok::<(), Error>(())
        })?;
    } else {
        first.run(&queue, u64::MAX)?;
    }
    let mut scanned = first.finish(queue.is_empty());
    if scanned.stopped {
        scanned.warnings.push(queue.unsearched());
    }
    scanned.facets_cut = queue.facets_cut();
    Ok(scanned)
}
