//! Instant and range selectors.

use std::sync::Arc;

use super::matrix::{ABSENT, Column};
use super::{Evaluator, HistogramView, QueryError, Result, Steps, extended, parallel};
use crate::ast::{Expr, ExprKind, Extension, MatrixSelector, VectorSelector};
use crate::engine::LimitExceeded;
use crate::histogram::{Histogram, ResetHint};
use crate::labels::Matcher;
use crate::series::{Selection, Series, is_stale};
use crate::value::{MatrixSeries, Value};

/// The samples that a function over ranges slides over.
#[derive(Debug)]
pub(super) struct RangeVector {
    pub(super) series: Vec<RangeSeries>,
    /// How far back from the end of a window, in milliseconds.
    pub(super) range: i64,
    pub(super) offset: i64,
    /// Where all windows end but for the offset, if that is fixed.
    pub(super) at: Option<i64>,
    pub(super) extension: Extension,
}

/// One series of a range vector, without staleness markers.
#[derive(Debug)]
pub(super) struct RangeSeries {
    pub(super) samples: Series,
    pub(super) drops_name: bool,
}

impl RangeVector {
    /// Where the window of a step ends.
    pub(super) fn end(&self, time: i64) -> i64 {
        self.at.unwrap_or(time) - self.offset
    }
}

impl Evaluator<'_> {
    pub(super) fn select(&self, matchers: &[Matcher], after: i64, until: i64) -> Result<Vec<Series>> {
        let mut series = self.source.select(&Selection { matchers, after, until })?;
        let max = self.options.limits.max_series;
        if series.len() > max {
            return Err(QueryError::Limit(LimitExceeded::series(series.len(), max)));
        }
        if self.view.get() == HistogramView::Statistics {
            series.iter_mut().for_each(|series| tell_resets(&mut series.histograms));
        }
        Ok(series)
    }

    pub(super) fn vector_selector(&self, selector: &VectorSelector, steps: Steps) -> Result<Vec<Column>> {
        if steps.count == 0 {
            return Ok(Vec::new());
        }
        let offset = self.offset_millis(selector.offset.as_ref())?;
        let at = selector.at.map(|at| self.time_of(at));
        let read = match at {
            Some(time) => Steps { start: time - offset, step: 1, count: 1 },
            None => Steps { start: steps.start - offset, ..steps },
        };
        let lookback = self.options.lookback_delta;
        let ahead = if selector.extension == Extension::Smoothed { lookback } else { 0 };
        let series = self.select(&selector.matchers, read.start - lookback, read.end() + ahead)?;
        self.hold(series.len().saturating_mul(read.count))?;
        let work = series.len() * read.count;
        let columns = parallel::map(series, work, |series| {
            (self.check)().map_err(QueryError::Ended)?;
            match selector.extension {
                Extension::Smoothed => extended::smoothed_column(&series, read, lookback),
                _ => Ok(column(&series, read, lookback)),
            }
        });
        let mut columns = columns.into_iter().collect::<Result<Vec<_>>>()?;
        columns.retain(|column| !column.is_empty());
        if at.is_some() {
            columns = columns.into_iter().map(|column| column.repeated(steps.count)).collect();
        }
        Ok(columns)
    }

    /// When the sample of each step was taken, in seconds: `timestamp` of a selector.
    pub(super) fn sample_times(&self, selector: &VectorSelector, steps: Steps) -> Result<Vec<Column>> {
        let lookback = self.options.lookback_delta;
        // With `@`, Prometheus does not look at the offset here.
        let read = match selector.at.map(|at| self.time_of(at)) {
            Some(time) => Steps { start: time, step: 1, count: 1 },
            None => Steps { start: steps.start - self.offset_millis(selector.offset.as_ref())?, ..steps },
        };
        let series = self.select(&selector.matchers, read.start - lookback, read.end())?;
        let columns = series.iter().map(|series| {
            let mut column = Column::empty(series.labels.clone(), read.count);
            each_latest(series, read, lookback, |step, latest| column.floats[step] = latest.time() as f64 / 1000.0);
            column.repeated_if(selector.at.is_some(), steps.count)
        });
        Ok(columns.filter(|column| !column.is_empty()).collect())
    }

    /// The samples for windows that end at the steps.
    pub(super) fn range_arg(&self, expr: &Expr, steps: Steps) -> Result<RangeVector> {
        match &expr.unwrapped().kind {
            ExprKind::Matrix(matrix) => self.matrix_selector(matrix, steps),
            ExprKind::Subquery(subquery) => self.subquery(subquery, steps),
            _ => Err(QueryError::Execution("expected a range vector".to_owned())),
        }
    }

    fn matrix_selector(&self, matrix: &MatrixSelector, steps: Steps) -> Result<RangeVector> {
        let selector = &matrix.selector;
        let range = self.positive_millis(&matrix.range)?;
        let offset = self.offset_millis(selector.offset.as_ref())?;
        let at = selector.at.map(|at| self.time_of(at));
        let mut vector = RangeVector { series: Vec::new(), range, offset, at, extension: selector.extension };
        if steps.count == 0 {
            return Ok(vector);
        }
        let lookback = self.options.lookback_delta;
        let (behind, ahead) = match selector.extension {
            Extension::None => (0, 0),
            Extension::Anchored => (lookback, 0),
            Extension::Smoothed => (lookback, lookback),
        };
        let (first, last) = (vector.end(steps.start), vector.end(steps.end()));
        let series = self.select(&selector.matchers, first - range - behind, last + ahead)?;
        vector.series = series.into_iter().map(without_stale_markers).collect();
        Ok(vector)
    }

    /// A range vector as the answer to a query.
    pub(super) fn range_vector(&self, expr: &Expr) -> Result<Value> {
        let vector = self.range_arg(expr, self.query)?;
        let end = vector.end(self.query.start);
        let start = end - vector.range;
        let mut matrix = Vec::new();
        for series in vector.series {
            let samples = series.samples;
            let mut floats: Vec<_> = samples.times.iter().copied().zip(samples.values.iter().copied()).collect();
            let mut histograms = samples.histograms;
            if vector.extension == Extension::None {
                floats.retain(|(time, _)| *time > start && *time <= end);
                histograms.retain(|(time, _)| *time > start && *time <= end);
            } else if histograms.is_empty() {
                floats = extended::with_bounds(&floats, start, end, vector.extension == Extension::Smoothed);
            } else {
                return Err(extended::no_histograms());
            }
            self.hold(floats.len() + histograms.iter().map(|(_, histogram)| histogram.weight()).sum::<usize>())?;
            if !floats.is_empty() || !histograms.is_empty() {
                let labels = if series.drops_name { samples.labels.without_metadata() } else { samples.labels };
                matrix.push(MatrixSeries { labels, floats, histograms });
            }
        }
        matrix.sort_by(|a, b| a.labels.cmp(&b.labels));
        if matrix.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
            return Err(QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned()));
        }
        Ok(Value::Matrix(matrix))
    }
}

impl Column {
    fn repeated_if(self, condition: bool, count: usize) -> Self {
        if condition { self.repeated(count) } else { self }
    }
}

fn is_stale_histogram(histogram: &Histogram) -> bool {
    is_stale(histogram.sum)
}

/// Looks for resets where nothing is known of them, as long as there is a histogram before.
fn tell_resets(histograms: &mut [(i64, Arc<Histogram>)]) {
    let mut before: Option<Arc<Histogram>> = None;
    for (_, histogram) in histograms.iter_mut().filter(|(_, histogram)| !is_stale_histogram(histogram)) {
        if let Some(before) = before.filter(|_| histogram.reset_hint == ResetHint::Unknown) {
            let was_reset = histogram.detect_reset(&before);
            Arc::make_mut(histogram).reset_hint = if was_reset { ResetHint::Reset } else { ResetHint::NotReset };
        }
        before = Some(Arc::clone(histogram));
    }
}

/// Takes staleness markers out: no range has them.
pub(super) fn without_stale_markers(mut series: Series) -> RangeSeries {
    if series.values.iter().any(|value| is_stale(*value)) {
        let keep: Vec<bool> = series.values.iter().map(|value| !is_stale(*value)).collect();
        let retain = |list: &mut Vec<i64>| {
            let mut kept = keep.iter();
            list.retain(|_| kept.next().copied().unwrap_or(true));
        };
        retain(&mut series.times);
        retain(&mut series.start_times);
        series.values.retain(|value| !is_stale(*value));
    }
    if series.histograms.iter().any(|(_, histogram)| is_stale_histogram(histogram)) {
        let mut kept = series.histograms.iter().map(|(_, histogram)| !is_stale_histogram(histogram));
        series.histogram_start_times.retain(|_| kept.next().unwrap_or(true));
        series.histograms.retain(|(_, histogram)| !is_stale_histogram(histogram));
    }
    RangeSeries { samples: series, drops_name: false }
}

/// The latest sample at a step.
enum Latest<'a> {
    Float(i64, f64),
    Histogram(i64, &'a Arc<Histogram>),
}

impl Latest<'_> {
    fn time(&self) -> i64 {
        match self {
            Self::Float(time, _) | Self::Histogram(time, _) => *time,
        }
    }
}

/// Calls back for every step with a sample that is neither too old nor a staleness marker.
fn each_latest<'a>(series: &'a Series, steps: Steps, lookback: i64, mut found: impl FnMut(usize, Latest<'a>)) {
    let (mut floats, mut histograms) = (0, 0);
    for step in 0..steps.count {
        let time = steps.time(step);
        while series.times.get(floats).is_some_and(|next| *next <= time) {
            floats += 1;
        }
        while series.histograms.get(histograms).is_some_and(|(next, _)| *next <= time) {
            histograms += 1;
        }
        let float = floats.checked_sub(1).map(|index| (series.times[index], series.values[index]));
        let histogram = histograms.checked_sub(1).map(|index| &series.histograms[index]);
        let latest = match (float, histogram) {
            (Some((at, _)), Some((other, histogram))) if *other > at => Latest::Histogram(*other, histogram),
            (Some((at, value)), _) => Latest::Float(at, value),
            (None, Some((at, histogram))) => Latest::Histogram(*at, histogram),
            (None, None) => continue,
        };
        let is_stale = match &latest {
            Latest::Float(_, value) => is_stale(*value),
            Latest::Histogram(_, histogram) => is_stale_histogram(histogram),
        };
        if latest.time() > time - lookback && !is_stale {
            found(step, latest);
        }
    }
}

fn column(series: &Series, steps: Steps, lookback: i64) -> Column {
    let mut column = Column::empty(series.labels.clone(), steps.count);
    if !series.histograms.is_empty() {
        each_latest(series, steps, lookback, |step, latest| match latest {
            Latest::Float(_, value) => column.floats[step] = value,
            Latest::Histogram(_, histogram) => column.set_histogram(step, Arc::clone(histogram)),
        });
        return column;
    }
    // A marker of staleness is what stands for no value, so it needs no care.
    let mut next = 0;
    for (step, float) in column.floats.iter_mut().enumerate() {
        let time = steps.time(step);
        while series.times.get(next).is_some_and(|at| *at <= time) {
            next += 1;
        }
        let latest = next.checked_sub(1);
        *float = match latest {
            Some(index) if series.times[index] > time - lookback => series.values[index],
            _ => ABSENT,
        };
    }
    column
}
