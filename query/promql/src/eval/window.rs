//! Functions over ranges: a window slides over the samples of each series.

use std::sync::Arc;

use super::matrix::{ABSENT, Column, Values};
use super::rate::Resets;
use super::selector::{RangeSeries, RangeVector};
use super::{Evaluator, QueryError, Result, Steps, extended, over_time, parallel, rate, regression};
use crate::annotations::{Annotations, Note};
use crate::ast::{Call, Expr, Extension, Position, ValueType};
use crate::engine::Check;
use crate::histogram::Histogram;
use crate::series::Series;
use crate::value::SampleValue;

/// The samples of one series that are in the window of a step.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    pub(super) histograms: &'a [(i64, Arc<Histogram>)],
    /// As long as the floats, or empty.
    pub(super) start_times: &'a [i64],
    /// As long as the histograms, or empty.
    pub(super) histogram_start_times: &'a [i64],
    /// Counter resets between the floats.
    pub(super) resets: Resets<'a>,
    pub(super) is_delta: bool,
    /// Samples are later than this …
    pub(super) start: i64,
    /// … up to this; extended windows have more.
    pub(super) end: i64,
    /// The time of the step.
    pub(super) time: i64,
    /// Scalar arguments at the step.
    pub(super) args: [f64; 2],
    pub(super) extension: Extension,
}

impl Window<'_> {
    pub(super) fn range_seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }

    pub(super) fn is_mixed(&self) -> bool {
        !self.values.is_empty() && !self.histograms.is_empty()
    }
}

/// Where functions leave their notes on a series.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    pub(super) metric: &'a str,
    pub(super) position: Position,
    pub(super) annotations: Annotations,
}

impl Notes<'_> {
    pub(super) fn add(&mut self, note: &Note<'_>) {
        self.annotations.add(note, self.position);
    }

    pub(super) fn ignored_histograms(&mut self) {
        self.add(&Note::IgnoredInMixedRange { metric: self.metric });
    }
}

/// A function of the samples in a window.
pub(super) type WindowFunction = fn(&Window<'_>, &mut Notes<'_>) -> Result<Option<SampleValue>>;

fn function(name: &str) -> Option<WindowFunction> {
    over_time::function(name).or_else(|| rate::function(name)).or_else(|| regression::function(name))
}

const ANCHORED_SAFE: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED_SAFE: [&str; 3] = ["delta", "increase", "rate"];

fn check_extension(name: &str, extension: Extension) -> Result<()> {
    let (modifier, safe) = match extension {
        Extension::None => return Ok(()),
        Extension::Anchored => ("anchored", &ANCHORED_SAFE[..]),
        Extension::Smoothed => ("smoothed", &SMOOTHED_SAFE[..]),
    };
    if safe.contains(&name) {
        return Ok(());
    }
    let safe = safe.join(", ");
    Err(QueryError::Execution(format!("{modifier} modifier can only be used with: {safe} - not with {name}")))
}

impl Evaluator<'_> {
    pub(super) fn range_call(&self, call: &Call, steps: Steps) -> Result<Values> {
        let name = call.function.name;
        let is_range = |arg: &&Expr| arg.value_type() == ValueType::Matrix;
        let (Some(range), Some(function)) = (call.args.iter().find(is_range), function(name)) else {
            return Err(QueryError::Execution(format!("unknown function {name}")));
        };
        let mut scalars = Vec::new();
        for arg in call.args.iter().filter(|arg| !is_range(arg)) {
            scalars.push(self.scalar(arg, steps)?);
        }
        let mut vector = self.range_arg(range, steps)?;
        check_extension(name, vector.extension)?;
        let series = std::mem::take(&mut vector.series);
        // Annotations of functions with a parameter before the range stand at that, as they do in Prometheus.
        let position = call.args.first().map_or(range.position, |arg| arg.position);
        let check = self.check;
        let task = Task { evaluator: self.task_options(), vector, steps, scalars, function, position, name, check };
        let work = series.len().saturating_mul(steps.count);
        self.hold(work)?;
        // By reference, so that the samples are freed by the thread that has them.
        let results = parallel::map(series.iter().collect(), work * 4, |series| {
            check().map_err(QueryError::Ended)?;
            task.run(series)
        });
        let mut columns = Vec::with_capacity(results.len());
        for result in results {
            let (column, annotations) = result?;
            self.annotations.borrow_mut().merge(annotations);
            columns.extend(column);
        }
        // Only whether there are samples matters to this one, not whose they are.
        if name == "absent_over_time" {
            return Ok(Values::Vector(columns));
        }
        self.finish_range(columns)
    }

    /// Range functions that keep names yield what the selector had: each label set once.
    fn finish_range(&self, columns: Vec<Column>) -> Result<Values> {
        if columns.iter().any(|column| column.drops_name) { self.finish(columns) } else { Ok(Values::Vector(columns)) }
    }

    fn task_options(&self) -> TaskOptions {
        TaskOptions {
            delayed_name_removal: self.options.delayed_name_removal,
            use_start_timestamps: self.options.use_start_timestamps,
            type_and_unit_labels: self.options.type_and_unit_labels,
            lookback: self.options.lookback_delta,
        }
    }
}

/// After so many samples of windows it is asked whether the query goes on: one series may have millions of windows.
const UNCHECKED_SAMPLES_MAX: usize = 1 << 20;

/// How many samples the work on a histogram stands for.
const HISTOGRAM_WORK: usize = 64;

/// What of the options bears on windows.
#[derive(Clone, Copy, Debug)]
struct TaskOptions {
    delayed_name_removal: bool,
    use_start_timestamps: bool,
    type_and_unit_labels: bool,
    lookback: i64,
}

/// A function to run over each series.
struct Task<'a> {
    evaluator: TaskOptions,
    vector: RangeVector,
    steps: Steps,
    scalars: Vec<Vec<f64>>,
    function: WindowFunction,
    position: Position,
    name: &'a str,
    check: Check<'a>,
}

impl Task<'_> {
    fn run(&self, series: &RangeSeries) -> Result<(Option<Column>, Annotations)> {
        let samples = &series.samples;
        let metric = samples.labels.metric_name().to_owned();
        let mut notes = Notes { metric: &metric, position: self.position, annotations: Annotations::default() };
        let mut column = Column::empty(samples.labels.clone(), self.steps.count);
        self.slide(samples, &mut column, &mut notes)?;
        if column.is_empty() {
            return Ok((None, notes.annotations));
        }
        self.doubt_counter(&column, &mut notes);
        let keeps_name = matches!(self.name, "last_over_time" | "first_over_time");
        column.drops_name = series.drops_name || !keeps_name;
        if !self.evaluator.delayed_name_removal && !keeps_name {
            column.labels = column.labels.without_metadata();
        }
        Ok((Some(column), notes.annotations))
    }

    fn slide(&self, samples: &Series, column: &mut Column, notes: &mut Notes<'_>) -> Result<()> {
        let vector = &self.vector;
        let (behind, ahead) = match vector.extension {
            Extension::None => (0, 0),
            Extension::Anchored => (self.evaluator.lookback, 0),
            Extension::Smoothed => (self.evaluator.lookback, self.evaluator.lookback),
        };
        let uses_starts = self.evaluator.use_start_timestamps;
        let starts = if uses_starts { &samples.start_times[..] } else { &[] };
        let histogram_starts = if uses_starts { &samples.histogram_start_times[..] } else { &[] };
        let counts = rate::counts_resets(self.name) && !samples.is_delta;
        let resets = if counts { rate::find_resets(samples, starts) } else { Vec::new() };
        let is_plain = vector.extension == Extension::None && samples.histograms.is_empty() && !samples.is_delta;
        if let Some(rate) = rate::FloatRate::of(self.name).filter(|_| is_plain) {
            let ends = self.steps.times().map(|time| vector.end(time));
            rate.fill(samples, starts, &resets, vector.range, ends, &mut column.floats);
            return Ok(());
        }
        let (mut floats, mut histograms, mut reset) = (Bounds::default(), Bounds::default(), Bounds::default());
        let mut unchecked = 0;
        for (step, time) in self.steps.times().enumerate() {
            if unchecked > UNCHECKED_SAMPLES_MAX {
                unchecked = 0;
                (self.check)().map_err(QueryError::Ended)?;
            }
            let end = vector.end(time);
            let start = end - vector.range;
            let (after, until) = (start - behind, end + ahead);
            floats.advance(after, until, samples.times.len(), |index| samples.times[index]);
            histograms.advance(after, until, samples.histograms.len(), |index| samples.histograms[index].0);
            unchecked += floats.high - floats.low + HISTOGRAM_WORK * (histograms.high - histograms.low);
            if floats.is_empty() && histograms.is_empty() {
                continue;
            }
            if vector.extension != Extension::None && !histograms.is_empty() && !SMOOTHED_SAFE.contains(&self.name) {
                return Err(extended::no_histograms());
            }
            // A reset counts if the samples on both sides of it are in the window.
            reset.advance(floats.low as i64, floats.high as i64 - 1, resets.len(), |index| resets[index] as i64);
            let arg = |index: usize| self.scalars.get(index).map_or(f64::NAN, |values: &Vec<f64>| values[step]);
            let window = Window {
                times: &samples.times[floats.low..floats.high],
                values: &samples.values[floats.low..floats.high],
                histograms: &samples.histograms[histograms.low..histograms.high],
                start_times: starts.get(floats.low..floats.high).unwrap_or_default(),
                histogram_start_times: histogram_starts.get(histograms.low..histograms.high).unwrap_or_default(),
                resets: Resets { places: &resets[reset.low..reset.high], values: &samples.values },
                is_delta: samples.is_delta,
                start,
                end,
                time,
                args: [arg(0), arg(1)],
                extension: vector.extension,
            };
            match (self.function)(&window, notes)? {
                Some(SampleValue::Float(value)) => column.floats[step] = value,
                Some(SampleValue::Histogram(histogram)) => column.set_histogram(step, histogram),
                None => column.floats[step] = ABSENT,
            }
        }
        Ok(())
    }

    /// Notes that what is taken for a counter does not look like one.
    fn doubt_counter(&self, column: &Column, notes: &mut Notes<'_>) {
        let metric = notes.metric;
        if metric.is_empty() || !matches!(self.name, "rate" | "increase") {
            return;
        }
        if column.floats.iter().all(|value| super::is_absent(*value)) {
            return;
        }
        if self.evaluator.type_and_unit_labels {
            let kind = column.labels.get(crate::labels::METRIC_TYPE);
            if kind != "counter" && kind != "histogram" {
                notes.add(&Note::PossibleNonCounterType { metric, kind });
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix)) {
            notes.add(&Note::PossibleNonCounter { metric });
        }
    }
}

/// A run of indexes that only moves forward.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    low: usize,
    high: usize,
}

impl Bounds {
    /// Moves to the items later than `after` up to `until`.
    #[inline]
    fn advance(&mut self, after: i64, until: i64, len: usize, time: impl Fn(usize) -> i64) {
        while self.high < len && time(self.high) <= until {
            self.high += 1;
        }
        while self.low < self.high && time(self.low) <= after {
            self.low += 1;
        }
    }

    fn is_empty(self) -> bool {
        self.low == self.high
    }
}
