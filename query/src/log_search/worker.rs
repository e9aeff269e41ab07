use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use trivium_storage::{Part, RowRanges};

use super::columns::{TIME, times, wal_positions};
use super::facets::{self, Facets, ValueCounts};
use super::field::Field;
use super::histogram::Histogram;
use super::matcher::Evaluation;
use super::memo::select;
use super::scan::{Queue, ROWS_OF_A_LARGE_PIECE, ROWS_OF_A_PIECE, ScanPlan, Scanned, Source, Step, Work};
use super::top::{Place, SortKey, Top};
use crate::error::Error;

/// Messages about unreadable parts that an answer carries.
const FAILURES_MAX: usize = 4;

/// One thread of a search with what it found.
#[derive(Debug)]
pub(super) struct Worker<'plan> {
    plan: &'plan ScanPlan<'plan>,
    evaluation: Evaluation<'plan>,
    small_columns: BTreeSet<&'static str>,
    large_columns: BTreeSet<&'static str>,
    top: Top,
    at_cursor: Vec<Place>,
    matched: u64,
    rows_read: u64,
    histogram: Option<Histogram>,
    facets: Facets,
    /// Whether the piece in work counts for the facets.
    counts_facets: bool,
    absorbed_facets: Vec<(Field, ValueCounts)>,
    failures: Vec<String>,
    failed: bool,
    stopped: bool,
    done: bool,
    unseen_keys: Option<BTreeSet<String>>,
}

impl<'plan> Worker<'plan> {
    pub(super) fn new(plan: &'plan ScanPlan<'plan>) -> Self {
        let mut small_columns = plan.query.stage_columns(0);
        small_columns.insert(TIME);
        Self {
            plan,
            evaluation: Evaluation::new(plan.query),
            small_columns,
            large_columns: plan.query.stage_columns(1),
            top: Top::new(plan.wanted),
            at_cursor: Vec::new(),
            matched: 0,
            rows_read: 0,
            histogram: plan.histogram.clone(),
            facets: Facets::new(plan.facets),
            counts_facets: false,
            absorbed_facets: Vec::new(),
            failures: Vec::new(),
            failed: false,
            stopped: false,
            done: false,
            unseen_keys: None,
        }
    }

    /// Whether nothing is left that could contribute, or there is no time left.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Works until the queue is done or `rows_max` rows were read.
    pub(super) fn run(&mut self, queue: &Queue<'_>, rows_max: u64) -> Result<(), Error> {
        while !self.done && self.rows_read < rows_max {
            // An answer that is not complete after a few pieces will not be after a few more.
            let rows_at_once = self.rows_read.clamp(ROWS_OF_A_PIECE, ROWS_OF_A_LARGE_PIECE);
            match queue.next(rows_at_once) {
                Step::Done => self.done = true,
                Step::Stopped => (self.stopped, self.done) = (true, true),
                Step::Read(work) => self.work(queue, work)?,
            }
        }
        Ok(())
    }

    /// Looks into all parts, so that other threads find work at once.
    pub(super) fn expand_all(&mut self, queue: &Queue<'_>) -> Result<(), Error> {
        let mut unexpanded = queue.take_unexpanded().into_iter();
        for work in unexpanded.by_ref() {
            if queue.is_over() {
                queue.put_back(work);
                break;
            }
            self.work(queue, work)?;
        }
        unexpanded.for_each(|work| queue.put_back(work));
        Ok(())
    }

    fn work(&mut self, queue: &Queue<'_>, work: Work) -> Result<(), Error> {
        let rows = match (self.plan.sources.get(work.source), &work.rows) {
            (_, Some(rows)) => rows.len(),
            (Some(Source::Buffered(batch)), None) => batch.num_rows() as u64,
            _ => 0,
        };
        self.counts_facets = rows > 0 && queue.counts_facets(rows);
        let outcome = match (self.plan.sources.get(work.source), work.rows) {
            (Some(Source::Part(part)), None) => queue.expand(part, work.source),
            (Some(Source::Part(part)), Some(rows)) => self.read_part(part, work.source, rows, queue.threshold()),
            (Some(Source::Buffered(batch)), _) => self.read_batch(batch, work.source),
            (None, _) => Ok(()),
        };
        if let Some(threshold) = self.top.threshold() {
            queue.raise_threshold(threshold);
        }
        match outcome {
            // One part that cannot be read must not hide all others.
            Err(Error::Storage(error)) => {
                self.failed = true;
                tracing::error!(%error, "a part could not be searched");
                if self.failures.len() < FAILURES_MAX {
                    self.failures.push(format!("some records could not be read: {error}"));
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn read_batch(&mut self, batch: &RecordBatch, source: usize) -> Result<(), Error> {
        self.rows_read += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        let selection = self.in_range(batch, BooleanBuffer::new_set(batch.num_rows()), i64::MIN)?;
        let selection = self.evaluation.matching_stage(0, batch, &selection)?;
        let selection = self.evaluation.matching_stage(1, batch, &selection)?;
        self.collect(batch, &selection, source, |row| u32::try_from(row).unwrap_or(u32::MAX))
    }

    /// Reads the small columns first, and the large ones for the rows only that they leave.
    fn read_part(&mut self, part: &Part, source: usize, rows: RowRanges, threshold: i64) -> Result<(), Error> {
        self.rows_read += rows.len();
        let has_small_tests = self.small_columns.len() > 1;
        if self.large_columns.is_empty() {
            let columns = union(&self.small_columns, &self.plan.collected_columns(self.counts_facets));
            return self.read_rows(part, source, &rows, &columns, &[0], threshold);
        }
        let narrows = has_small_tests || threshold > i64::MIN || !self.covers(part);
        let rows = if narrows { self.narrow(part, &rows, threshold)? } else { rows };
        if rows.is_empty() {
            return Ok(());
        }
        let columns = union(&self.large_columns, &self.plan.collected_columns(self.counts_facets));
        self.read_rows(part, source, &rows, &columns, &[1], threshold)
    }

    /// Whether all rows of the part lie in the range.
    fn covers(&self, part: &Part) -> bool {
        let record = part.record();
        self.plan.range.contains(record.first_time) && self.plan.range.contains(record.last_time)
    }

    /// The rows that pass the tests of the small columns.
    fn narrow(&mut self, part: &Part, rows: &RowRanges, threshold: i64) -> Result<RowRanges, Error> {
        let columns: Vec<&str> = self.small_columns.iter().copied().collect();
        let mut numbers = rows.iter().flatten();
        let mut left = Vec::new();
        for batch in part.read(Some(&columns), Some(rows))? {
            let selection = self.in_range(&batch, BooleanBuffer::new_set(batch.num_rows()), threshold)?;
            let selection = self.evaluation.matching_stage(0, &batch, &selection)?;
            for (selected, row) in selection.iter().zip(numbers.by_ref().take(batch.num_rows())) {
                if selected {
                    left.push(row..row + 1);
                }
            }
        }
        Ok(RowRanges::from_sorted(left))
    }

    fn read_rows(
        &mut self,
        part: &Part,
        source: usize,
        rows: &RowRanges,
        columns: &BTreeSet<&'static str>,
        stages: &[usize],
        threshold: i64,
    ) -> Result<(), Error> {
        let columns: Vec<&str> = columns.iter().copied().collect();
        let numbers: Vec<u32> = rows.iter().flatten().collect();
        let mut start = 0;
        for batch in part.read(Some(&columns), Some(rows))? {
            let mut selection = self.in_range(&batch, BooleanBuffer::new_set(batch.num_rows()), threshold)?;
            for &stage in stages {
                selection = self.evaluation.matching_stage(stage, &batch, &selection)?;
            }
            let row_of = |row: usize| numbers.get(start + row).copied().unwrap_or(u32::MAX);
            self.collect(&batch, &selection, source, row_of)?;
            start += batch.num_rows();
        }
        Ok(())
    }

    /// The rows within the range of time that are not yet known to come too late in the order.
    fn in_range(&self, batch: &RecordBatch, all: BooleanBuffer, threshold: i64) -> Result<BooleanBuffer, Error> {
        let (range, descending) = (self.plan.range, self.plan.descending);
        let times = times(batch)?;
        let inside = |time: i64| {
            range.start.0 <= time && time < range.end.0 && SortKey::new(descending, time, 0).time >= threshold
        };
        if times.iter().all(|&time| inside(time)) {
            return Ok(all);
        }
        Ok(select(&all, |row| times.get(row).is_some_and(|&time| inside(time))))
    }

    fn collect(
        &mut self,
        batch: &RecordBatch,
        selection: &BooleanBuffer,
        source: usize,
        row_of: impl Fn(usize) -> u32,
    ) -> Result<(), Error> {
        let count = selection.count_set_bits();
        if count == 0 {
            return Ok(());
        }
        self.matched += u64::try_from(count).unwrap_or(u64::MAX);
        if let Some(histogram) = &mut self.histogram {
            histogram.count(batch, selection)?;
        }
        if self.counts_facets {
            self.facets.count(batch, selection)?;
        }
        if self.plan.wanted == 0 {
            return Ok(());
        }
        let (times, positions) = (times(batch)?, wal_positions(batch)?);
        let source = u32::try_from(source).unwrap_or(u32::MAX);
        for row in selection.set_indices() {
            let (Some(&time), Some(&position)) = (times.get(row), positions.get(row)) else { continue };
            let key = SortKey::new(self.plan.descending, time, position);
            let place = Place { source, row: row_of(row) };
            match self.plan.cursor.map(|cursor| key.cmp(&cursor.key)) {
                None | Some(std::cmp::Ordering::Less) => self.top.offer(key, place),
                Some(std::cmp::Ordering::Equal) => self.at_cursor.push(place),
                Some(std::cmp::Ordering::Greater) => {}
            }
        }
        Ok(())
    }

    pub(super) fn absorb(&mut self, other: Self) {
        let unseen = self.keys_unseen_by_both(&other);
        self.unseen_keys = Some(unseen);
        self.top.absorb(other.top);
        self.at_cursor.extend(other.at_cursor);
        self.matched += other.matched;
        self.rows_read += other.rows_read;
        if let (Some(histogram), Some(more)) = (&mut self.histogram, &other.histogram) {
            histogram.absorb(more);
        }
        facets::absorb(&mut self.absorbed_facets, other.facets.finish());
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_MAX);
        self.failed |= other.failed;
        self.stopped |= other.stopped;
    }

    fn unseen_keys(&self) -> BTreeSet<String> {
        match &self.unseen_keys {
            Some(keys) => keys.clone(),
            None => self.evaluation.unseen_keys().into_iter().map(str::to_owned).collect(),
        }
    }

    fn keys_unseen_by_both(&self, other: &Self) -> BTreeSet<String> {
        self.unseen_keys().intersection(&other.unseen_keys()).cloned().collect()
    }

    pub(super) fn finish(mut self, complete: bool) -> Scanned {
        let unseen_keys = self.unseen_keys().into_iter().collect();
        let mut facets = std::mem::take(&mut self.absorbed_facets);
        facets::absorb(&mut facets, self.facets.finish());
        Scanned {
            rows: self.top.into_sorted(),
            at_cursor: self.at_cursor,
            matched: self.matched,
            rows_read: self.rows_read,
            complete: complete && !self.stopped && !self.failed,
            partial: self.stopped || self.failed,
            stopped: self.stopped,
            facets_cut: false,
            histogram: self.histogram,
            facets,
            warnings: self.failures,
            unseen_keys,
        }
    }
}

fn union(left: &BTreeSet<&'static str>, right: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    left.union(right).copied().collect()
}
