//! Samples out of parts and buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampNanosecondType;
use hashbrown::HashMap;
use tokio_util::sync::CancellationToken;
use trivium_model::{SignalKind, TenantId, TimeRange, UnixNanos};
use trivium_promql::{Labels, Matcher, Selection, Series, SeriesSource, SourceError};
use trivium_storage::{Part, RowRanges, Snapshot, Storage};
use xxhash_rust::xxh3::Xxh3;

use super::collect::{Fragment, join};
use super::index::{Metric, PointKind, Run, SeriesIndex};
use super::labels::{Identity, LabelMaker, complete};
use super::plan::{Plan, Projection, View, columns_of};
use super::points::{self, Points, part_label, stale};
use super::prefilter::Prefilter;
use super::samples::rows_at_once;
use super::target::{self, Heard, TARGET_INFO};
use super::{NANOS_PER_MILLI, SeriesState, Unread};
use crate::error::Error;
use crate::lookup::Deadline;

/// How many samples a series of one source counts as against the limit of a query, for its labels and lists.
const SERIES_WEIGHT: usize = 8;

/// Threads that read parts for one selector.
const THREADS_MAX: usize = 8;

/// The series of one tenant at one moment.
pub(crate) struct StoredSeries {
    pub(super) state: Arc<SeriesState>,
    pub(super) tenant: TenantId,
    snapshot: Snapshot,
    deadline: Deadline,
    cancelled: CancellationToken,
    unread: Arc<Unread>,
    /// Whether start times of samples are read.
    reads_start_times: bool,
    samples_max: usize,
    /// Where descriptions of metrics are that came without samples.
    pub(super) described: Option<Storage>,
}

/// Times in milliseconds: later than `after`, up to and with `until`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) after: i64,
    pub(super) until: i64,
}

impl Window {
    /// Nothing.
    pub(super) const EMPTY: Self = Self { after: 0, until: 0 };

    /// Whether something between two times in nanoseconds may lie within.
    pub(super) fn overlaps(self, first: i64, last: i64) -> bool {
        last.div_euclid(NANOS_PER_MILLI) > self.after && first.div_euclid(NANOS_PER_MILLI) <= self.until
    }

    /// As nanoseconds, half open.
    fn range(self) -> TimeRange {
        let nanos = |millis: i64| UnixNanos(millis.saturating_add(1).saturating_mul(NANOS_PER_MILLI));
        TimeRange { start: nanos(self.after), end: nanos(self.until) }
    }
}

/// A part or a batch with its series.
pub(super) enum Source<'a> {
    Part(&'a Part, Arc<SeriesIndex>),
    Batch(&'a RecordBatch, Arc<SeriesIndex>),
}

impl Source<'_> {
    pub(super) fn index(&self) -> &SeriesIndex {
        match self {
            Self::Part(_, index) => index,
            Self::Batch(_, index) => index,
        }
    }
}

impl std::fmt::Debug for StoredSeries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StoredSeries").finish_non_exhaustive()
    }
}

impl StoredSeries {
    /// The series of a tenant now.
    pub(crate) fn new(state: &Arc<SeriesState>, storage: &Storage, tenant: TenantId, deadline: Deadline) -> Self {
        // Of all tenants: the caches are shared.
        state.forget_others(|| storage.parts().into_iter().map(|part| part.id).collect());
        let over = Self::over(state, tenant, storage.snapshot(tenant, SignalKind::Metrics), deadline);
        Self { described: Some(storage.clone()), ..over }
    }

    pub(super) fn over(state: &Arc<SeriesState>, tenant: TenantId, snapshot: Snapshot, deadline: Deadline) -> Self {
        let samples_max = usize::MAX;
        let cancelled = CancellationToken::new();
        Self {
            state: Arc::clone(state),
            tenant,
            snapshot,
            deadline,
            cancelled,
            unread: Arc::default(),
            reads_start_times: false,
            samples_max,
            described: None,
        }
    }

    /// Ends what it does when the token is cancelled.
    pub(crate) fn with_cancellation(self, cancelled: CancellationToken) -> Self {
        Self { cancelled, ..self }
    }

    /// Refuses selectors that would bring more samples into memory.
    pub(crate) fn with_samples_max(self, samples_max: usize) -> Self {
        Self { samples_max, ..self }
    }

    /// Notes there which parts it cannot read.
    pub(crate) fn with_unread(self, unread: Arc<Unread>) -> Self {
        Self { unread, ..self }
    }

    /// The parts that it could not read so far.
    pub(crate) fn unread(&self) -> &Unread {
        &self.unread
    }

    /// Reads start times of samples too.
    pub(crate) fn with_start_times(self) -> Self {
        Self { reads_start_times: true, ..self }
    }

    /// What the samples of a window are in; the same value means the same samples. `None` while a buffer has some of them.
    pub(super) fn fingerprint(&self, window: Window) -> Option<u64> {
        let is_open = |batch: &RecordBatch| {
            let times = batch.column_by_name("time")?.as_primitive_opt::<TimestampNanosecondType>()?;
            Some(window.overlaps(min(times)?, max(times)?))
        };
        if self.snapshot.buffered.iter().any(|batch| batch.num_rows() > 0 && is_open(batch) != Some(false)) {
            return None;
        }
        let range = window.range();
        let parts = self.snapshot.parts.iter().filter(|part| part.overlaps(range));
        let mut hasher = Xxh3::new();
        parts.for_each(|part| hasher.update(&part.record().id.0));
        Some(hasher.digest())
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.cancelled.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.deadline.check()
    }

    /// What reading a source gave; `None` when it is a part that cannot be read.
    pub(super) fn given<T>(&self, source: &Source<'_>, read: Result<T, Error>) -> Result<Option<T>, Error> {
        match source {
            Source::Part(part, _) => self.unread.unless_damaged(part, read),
            Source::Batch(..) => read.map(Some),
        }
    }

    /// The sources that overlap a window and may have metrics with a wanted view, those with older rows first; buffers are
    /// the newest.
    pub(super) fn sources(
        &self,
        window: Window,
        is_wanted: &(dyn Fn(&Metric, &[View]) -> bool + Sync),
    ) -> Result<Vec<Source<'_>>, Error> {
        let range = window.range();
        let parts = self.snapshot.parts.iter().filter(|part| part.overlaps(range));
        let mut parts: Vec<&Part> = parts.map(AsRef::as_ref).collect();
        parts.sort_by_key(|part| (part.record().last_position, part.record().first_time));
        let indexes = &self.state.indexes;
        let pieces_of = |part: &&'_ Part| {
            self.check()?;
            self.unread.unless_damaged(part, indexes.pieces(part, is_wanted)).map(Option::unwrap_or_default)
        };
        let pieces = in_parallel(&parts, &pieces_of)?;
        let pieces: Vec<(&Part, u32)> =
            parts.iter().zip(pieces).flat_map(|(part, rows)| rows.into_iter().map(|row| (*part, row))).collect();
        let readable = in_parallel(&pieces, &|(part, first_row)| {
            self.check()?;
            let index = self.unread.unless_damaged(part, indexes.piece(part, *first_row))?;
            let Some(index) = index else { return Ok(None) };
            Ok(Some(Source::Part(part, index)))
        })?;
        let mut sources: Vec<Source<'_>> = readable.into_iter().flatten().collect();
        for batch in &self.snapshot.buffered {
            self.check()?;
            sources.push(Source::Batch(batch, indexes.of_batch(batch)?));
        }
        Ok(sources)
    }

    /// The sources of all metrics.
    pub(super) fn all_sources(&self, window: Window) -> Result<Vec<Source<'_>>, Error> {
        self.sources(window, &|_, _| true)
    }

    fn select_series(&self, matchers: &[Matcher], window: Window) -> Result<Vec<Series>, Error> {
        let plan = Plan::new(matchers);
        let wants_targets = plan.wants(TARGET_INFO);
        let sources = self.sources(window, &|metric, views| wants_targets || plan.wants_any(metric, views))?;
        let samples = AtomicUsize::new(0);
        let read = |source: &Source<'_>| {
            let fragments = Reading { selector: self, plan: &plan, window, samples: &samples }.run(source);
            self.given(source, fragments).map(Option::unwrap_or_default)
        };
        let mut fragments = in_parallel(&sources, &read)?;
        if wants_targets {
            fragments.push(self.target_info(&plan, &sources, window));
        }
        Ok(join(fragments))
    }

    fn target_info(&self, plan: &Plan<'_>, sources: &[Source<'_>], window: Window) -> Vec<Fragment> {
        let heard = self.resources(sources);
        let mut fragments = Vec::new();
        for (resource, (first, last)) in heard.iter() {
            let Some(labels) = target::labels(resource, &self.state.config) else { continue };
            if plan.others.iter().all(|matcher| matcher.matches(labels.get(&matcher.name))) {
                fragments.push(target::samples(&labels, (first, last), window.after, window.until));
            }
        }
        fragments
    }

    /// When each resource sent data points, in milliseconds.
    pub(super) fn resources(&self, sources: &[Source<'_>]) -> Heard {
        let mut heard = Heard::default();
        for source in sources {
            let index = source.index();
            for run in &index.runs {
                let (first, last) =
                    (run.first_time.div_euclid(NANOS_PER_MILLI), run.last_time.div_euclid(NANOS_PER_MILLI));
                heard.add(index.text(run.resource), first, last);
            }
        }
        heard
    }
}

/// Does the same with each source on several threads; answers in their order.
fn in_parallel<S: Sync, T: Send>(
    sources: &[S],
    read: &(dyn Fn(&S) -> Result<T, Error> + Sync),
) -> Result<Vec<T>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(sources.len());
    if threads < 2 {
        return sources.iter().map(read).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = sources.get(index) else { return done };
            done.push((index, read(source)));
        }
    };
    let mut results = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut results = work();
        for thread in others {
            match thread.join() {
                Ok(done) => results.extend(done),
                Err(_) => results.push((usize::MAX, Err(Error::Internal("a reader of series panicked".into())))),
            }
        }
        results
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The reading of one source for one selector.
struct Reading<'a> {
    selector: &'a StoredSeries,
    plan: &'a Plan<'a>,
    window: Window,
    samples: &'a AtomicUsize,
}

/// Where the samples of a run go.
#[derive(PartialEq, Eq, Hash)]
struct SlotKey {
    series_id: u64,
    /// Which metric's view of this source.
    view: (u32, u32),
    part: points::Part,
}

/// A run to read, with the place of its series when it has just one.
struct Wanted {
    run: Run,
    place: Option<usize>,
}

/// The series that a source has given so far.
struct Slots<'a> {
    plan: &'a Plan<'a>,
    maker: LabelMaker<'a>,
    known: HashMap<SlotKey, Option<usize>>,
    fragments: Vec<Fragment>,
}

impl Slots<'_> {
    /// The place of a series; `None` when it is not selected.
    fn place(
        &mut self,
        index: &SeriesIndex,
        run: &Run,
        (number, view): (u32, &View),
        part: points::Part,
    ) -> Option<usize> {
        let key = SlotKey { series_id: run.series_id, view: (run.metric, number), part };
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let place = self.new_place(index, run, view, part);
        self.known.insert(key, place);
        place
    }

    /// The place of a series that was not met before.
    fn new_place(&mut self, index: &SeriesIndex, run: &Run, view: &View, part: points::Part) -> Option<usize> {
        let labels = labels_of(&mut self.maker, index, run, view, part);
        if !self.plan.others.iter().all(|matcher| matcher.matches(labels.get(&matcher.name))) {
            return None;
        }
        let metric = &index.metrics[run.metric as usize];
        let is_delta = metric.is_delta && view.projection != Projection::Quantile;
        // All labels of a sample of Prometheus are its own, and what its series ID is made of.
        let identity = (metric.kind == PointKind::Prometheus).then_some(run.series_id);
        self.fragments.push(Fragment { identity, ..Fragment::new(labels, is_delta) });
        Some(self.fragments.len() - 1)
    }
}

/// The labels of a series in a view.
pub(super) fn labels_of(
    maker: &mut LabelMaker<'_>,
    index: &SeriesIndex,
    run: &Run,
    view: &View,
    part: points::Part,
) -> Labels {
    let identity = Identity {
        series_id: run.series_id,
        resource: index.text(run.resource),
        scope: index.text(run.scope),
        attributes: index.text(run.attributes),
    };
    let base = maker.base(&identity, view.style);
    complete(&base, &view.name, part_label(view.projection, part))
}

impl Reading<'_> {
    fn run(&self, source: &Source<'_>) -> Result<Vec<Fragment>, Error> {
        self.selector.check()?;
        let index = source.index();
        let views = self.plan.views_of(index);
        if views.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut slots = Slots {
            plan: self.plan,
            maker: LabelMaker::new(&self.selector.state, self.selector.tenant),
            known: HashMap::new(),
            fragments: Vec::new(),
        };
        let runs = self.wanted_runs(index, &views, &mut slots);
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        self.hold(slots.fragments.len() * SERIES_WEIGHT)?;
        match source {
            Source::Batch(batch, _) => {
                self.read_runs(index, &views, &runs, &mut slots, std::slice::from_ref(*batch), Some(0))?
            }
            Source::Part(part, _) => {
                let columns = self.columns(part, index, &views, &runs)?;
                let rows = rows_of(&runs);
                if let Some(batch) = self.selector.state.samples.get(part, index, &columns, &rows)? {
                    let first_row = Some(index.rows.start);
                    self.read_runs(index, &views, &runs, &mut slots, std::slice::from_ref(&batch), first_row)?;
                } else {
                    for runs in chunks(&runs, rows_at_once(&columns)) {
                        let batches = part.read(Some(&columns), Some(&rows_of(runs)))?;
                        self.read_runs(index, &views, runs, &mut slots, &batches, None)?;
                    }
                }
            }
        }
        Ok(slots.fragments)
    }

    /// The runs whose series are selected, as far as that can be told without reading them.
    fn wanted_runs(&self, index: &SeriesIndex, views: &[Vec<View>], slots: &mut Slots<'_>) -> Vec<Wanted> {
        let state = &self.selector.state;
        match state.postings.candidates(index, &self.plan.others, &state.config) {
            Some(places) => {
                let runs = places.iter().map(|place| &index.runs[*place as usize]);
                self.wanted_of(runs, index, views, slots)
            }
            None => {
                slots.maker.expect(index.runs.len());
                self.wanted_of(index.runs.iter(), index, views, slots)
            }
        }
    }

    fn wanted_of<'r>(
        &self,
        runs: impl Iterator<Item = &'r Run>,
        index: &SeriesIndex,
        views: &[Vec<View>],
        slots: &mut Slots<'_>,
    ) -> Vec<Wanted> {
        let prefilter = Prefilter::new(&self.plan.others);
        let is_open = |run: &Run| self.window.overlaps(run.first_time, run.last_time) && prefilter.admits(index, run);
        let is_told_by_points = |view: &View| matches!(view.projection, Projection::Bucket | Projection::Quantile);
        let mut wanted = Vec::new();
        for run in runs {
            let place = match views[run.metric as usize].as_slice() {
                [] => continue,
                _ if !is_open(run) => continue,
                // In a part the rows of a series follow each other, so it is met once.
                [view] if index.is_sorted() && !is_told_by_points(view) => {
                    let Some(place) = slots.new_place(index, run, view, None) else { continue };
                    Some(place)
                }
                views => {
                    let mut views = (0_u32..).zip(views);
                    if !views.any(|view| is_told_by_points(view.1) || slots.place(index, run, view, None).is_some()) {
                        continue;
                    }
                    None
                }
            };
            wanted.push(Wanted { run: *run, place });
        }
        wanted
    }

    fn columns(
        &self,
        part: &Part,
        index: &SeriesIndex,
        views: &[Vec<View>],
        wanted: &[Wanted],
    ) -> Result<Vec<&'static str>, Error> {
        let mut columns = vec!["time", "flags"];
        if self.selector.reads_start_times {
            columns.push("start_time");
        }
        let mut metrics: Vec<u32> = wanted.iter().map(|wanted| wanted.run.metric).collect();
        metrics.dedup();
        metrics.sort_unstable();
        metrics.dedup();
        let has_native = has_native_histograms(part)?;
        for metric in metrics {
            let kind = index.metrics[metric as usize].kind;
            for view in &views[metric as usize] {
                match kind {
                    PointKind::Prometheus if !has_native => columns.push("value"),
                    _ => columns.extend(columns_of(kind, view.projection)),
                }
            }
        }
        columns.sort_unstable();
        columns.dedup();
        Ok(columns)
    }

    /// Takes the samples of the runs out of batches that hold just their rows, or out of one that has all rows from the
    /// `first` one on.
    fn read_runs(
        &self,
        index: &SeriesIndex,
        views: &[Vec<View>],
        runs: &[Wanted],
        slots: &mut Slots<'_>,
        batches: &[RecordBatch],
        first: Option<u32>,
    ) -> Result<(), Error> {
        let opened: Vec<Points<'_>> = batches.iter().map(Points::of).collect::<Result<_, _>>()?;
        let (mut batch, mut at) = (0, 0);
        for wanted in runs {
            let run = &wanted.run;
            if let Some(first) = first {
                at = (run.first_row - first) as usize;
            }
            let mut left = run.rows as usize;
            while left > 0 {
                let Some(points) = opened.get(batch) else {
                    return Err(Error::Internal("a part gave fewer rows than it was asked for".into()));
                };
                let take = left.min(points.times.len() - at);
                self.read_rows(index, &views[run.metric as usize], wanted, slots, points, at..at + take)?;
                left -= take;
                at += take;
                if at == points.times.len() && first.is_none() {
                    (batch, at) = (batch + 1, 0);
                }
            }
        }
        Ok(())
    }

    fn read_rows(
        &self,
        index: &SeriesIndex,
        views: &[View],
        Wanted { run, place }: &Wanted,
        slots: &mut Slots<'_>,
        points: &Points<'_>,
        rows: std::ops::Range<usize>,
    ) -> Result<(), Error> {
        let metric = &index.metrics[run.metric as usize];
        let (mut taken, series) = (0, slots.fragments.len());
        for (number, view) in (0_u32..).zip(views) {
            for row in rows.clone() {
                let time = points.times[row].div_euclid(NANOS_PER_MILLI);
                if time <= self.window.after || time > self.window.until {
                    continue;
                }
                let start = points.start_time(row);
                if points.is_stale(row) {
                    match place {
                        Some(place) => slots.fragments[*place].push(time, 0, stale()),
                        None => self.end_series(index, run, (number, view), slots, time),
                    }
                    continue;
                }
                points.push(row, (metric.kind, view.projection, metric.is_delta), &mut |part, point| {
                    let place = place.or_else(|| slots.place(index, run, (number, view), part));
                    if let Some(place) = place {
                        taken += point.weight();
                        slots.fragments[place].push(time, start, point);
                    }
                });
            }
        }
        taken += (slots.fragments.len() - series) * SERIES_WEIGHT;
        if taken == 0 { Ok(()) } else { self.hold(taken) }
    }

    /// Counts samples against the limit of the query.
    fn hold(&self, samples: usize) -> Result<(), Error> {
        let held = self.samples.fetch_add(samples, Ordering::Relaxed).saturating_add(samples);
        if held > self.selector.samples_max {
            let limit = format!("promql_samples_max = {}", self.selector.samples_max);
            return Err(Error::Limit { what: "the selectors load more samples into memory".into(), limit });
        }
        self.selector.check()
    }

    /// A staleness marker ends every series of the view; of a histogram or summary it does not say which there are.
    fn end_series(&self, index: &SeriesIndex, run: &Run, view: (u32, &View), slots: &mut Slots<'_>, time: i64) {
        if matches!(view.1.projection, Projection::Bucket | Projection::Quantile) {
            let mut end = Fragment::ends_of_parts(labels_of(&mut slots.maker, index, run, view.1, None));
            end.push(time, 0, stale());
            slots.fragments.push(end);
        } else if let Some(place) = slots.place(index, run, view, None) {
            slots.fragments[place].push(time, 0, stale());
        }
    }
}

fn rows_of(runs: &[Wanted]) -> RowRanges {
    RowRanges::from_sorted(runs.iter().map(|wanted| wanted.run.first_row..wanted.run.first_row + wanted.run.rows))
}

/// Runs that follow each other, of about so many rows together. What is decoded is not counted against the limits of a query,
/// so it has to be little at any time.
fn chunks(runs: &[Wanted], rows_max: usize) -> impl Iterator<Item = &[Wanted]> {
    let mut rows = 0;
    runs.chunk_by(move |before, _| {
        rows += before.run.rows as usize;
        let goes_on = rows < rows_max;
        if !goes_on {
            rows = 0;
        }
        goes_on
    })
}

/// Whether a part has native histograms of Prometheus: of most parts it is known that they have not, which spares reading the
/// columns that make them up.
fn has_native_histograms(part: &Part) -> Result<bool, Error> {
    Ok(!part.is_null("scale")?)
}

impl SeriesSource for StoredSeries {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let window = Window { after: selection.after, until: selection.until };
        self.select_series(selection.matchers, window).map_err(|error| match error {
            Error::Timeout { .. } | Error::Cancelled => SourceError::Ended(error.to_string()),
            Error::Limit { .. } => SourceError::Limit(error.to_string()),
            other => SourceError::Storage(other.to_string()),
        })
    }
}
