//! `rate`, `increase`, `delta`, and what looks at counter resets.

use std::sync::Arc;

use super::window::{Notes, Window, WindowFunction};
use super::{Result, extended};
use crate::annotations::Note;
use crate::ast::Extension;
use crate::histogram::{Histogram, Merge, ResetHint};
use crate::series::Series;
use crate::value::SampleValue;

pub(super) fn function(name: &str) -> Option<WindowFunction> {
    Some(match name {
        "rate" => |window, notes| rate(window, notes, true, true),
        "increase" => |window, notes| rate(window, notes, true, false),
        "delta" => |window, notes| rate(window, notes, false, false),
        "irate" => |window, notes| latest(window, notes, true),
        "idelta" => |window, notes| latest(window, notes, false),
        "resets" => |window, _| Ok(count(window, is_reset)),
        "changes" => |window, _| Ok(count(window, |_, previous, current| is_change(previous, current))),
        _ => return None,
    })
}

/// Whether a function needs to know the resets beforehand.
pub(super) fn counts_resets(name: &str) -> bool {
    matches!(name, "rate" | "increase")
}

/// Where the counter in a window was reset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resets<'a> {
    /// Indexes of the first sample after each reset, in the whole series.
    pub(super) places: &'a [usize],
    /// The floats of the whole series.
    pub(super) values: &'a [f64],
}

/// All resets of a series, found once for all windows.
pub(super) fn find_resets(series: &Series, starts: &[i64]) -> Vec<usize> {
    let values = &series.values;
    let fell = (1..values.len()).filter(|index| values[*index] < values[index - 1]);
    if starts.len() != values.len() {
        return fell.collect();
    }
    let restarted = |index: &usize| {
        values[*index] < values[index - 1]
            || is_restart((starts[index - 1], series.times[index - 1]), (starts[*index], series.times[*index]))
    };
    (1..values.len()).filter(restarted).collect()
}

/// Whether the start time of a sample says that the counter was reset since the one before. Both are start and time.
fn is_restart(previous: (i64, i64), current: (i64, i64)) -> bool {
    let (start, time) = current;
    // A start at the sample's own time says that the true one is not known.
    if start == 0 || start >= time || start < previous.1 {
        return false;
    }
    // A start at the sample before is that of a delta, or that of a counter whose true start is not known: then the
    // one before has none either.
    start > previous.1 || (previous.0 != 0 && previous.0 < previous.1)
}

/// When the counter stood at zero, if the first sample of a window tells and it was within the window. `first` is start
/// and time of that sample.
#[inline]
fn origin(first: (i64, i64), window_start: i64) -> Option<i64> {
    let (start, time) = first;
    (start != 0 && start > window_start && start < time).then_some(start)
}

fn rate(window: &Window<'_>, notes: &mut Notes<'_>, is_counter: bool, per_second: bool) -> Result<Option<SampleValue>> {
    if window.is_mixed() {
        notes.add(&Note::MixedFloatsHistograms { metric: notes.metric });
        return Ok(None);
    }
    if window.extension != Extension::None {
        return Ok(if window.histograms.is_empty() {
            extended::rate(window, is_counter, per_second).map(SampleValue::Float)
        } else {
            extended::histogram_rate(window, notes, is_counter, per_second)
                .map(|result| SampleValue::Histogram(Arc::new(result)))
        });
    }
    if window.is_delta && is_counter && window.histograms.is_empty() {
        let sum: f64 = window.values.iter().sum();
        return Ok(Some(SampleValue::Float(if per_second { sum / window.range_seconds() } else { sum })));
    }
    if !window.histograms.is_empty() {
        return histogram_rate(window, notes, is_counter, per_second);
    }
    let ([first, ..], [.., last]) = (window.values, window.values) else { return Ok(None) };
    let sampled = Sampled::of(window.times, window.start_times, window.start, is_counter);
    let Some(sampled) = sampled else { return Ok(None) };
    let mut result = if sampled.origin.is_some() { *last } else { last - first };
    if is_counter {
        for place in window.resets.places {
            result += window.resets.values[place - 1];
        }
    }
    let counter = is_counter.then_some((*first, result));
    let factor = extrapolation((window.start, window.end), sampled, counter);
    let factor = if per_second { factor / window.range_seconds() } else { factor };
    Ok(Some(SampleValue::Float(result * factor)))
}

/// When the samples of a window were taken.
#[derive(Clone, Copy, Debug)]
struct Sampled {
    first: i64,
    last: i64,
    count: usize,
    /// When a counter stood at zero, if that is known and within the window.
    origin: Option<i64>,
}

impl Sampled {
    /// Of samples with their start times, if there are enough of them for a rate: two, or one of a counter whose origin
    /// is known.
    #[inline]
    fn of(times: &[i64], starts: &[i64], window_start: i64, is_counter: bool) -> Option<Self> {
        let (first, last) = (*times.first()?, *times.last()?);
        let start = starts.first().copied().unwrap_or_default();
        let origin = if is_counter { origin((start, first), window_start) } else { None };
        (times.len() > 1 || origin.is_some()).then_some(Self { first, last, count: times.len(), origin })
    }
}

/// A function that [`FloatRate::fill`] knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloatRate {
    is_counter: bool,
    per_second: bool,
}

impl FloatRate {
    pub(super) fn of(name: &str) -> Option<Self> {
        let (is_counter, per_second) = match name {
            "rate" => (true, true),
            "increase" => (true, false),
            "delta" => (false, false),
            _ => return None,
        };
        Some(Self { is_counter, per_second })
    }

    /// The rates of a series of floats at all steps; the same as [`rate`] yields window by window, without the cost of
    /// windows. `end` tells where the window of a step ends.
    pub(super) fn fill(
        self,
        samples: &Series,
        starts: &[i64],
        resets: &[usize],
        range: i64,
        ends: impl Iterator<Item = i64>,
        output: &mut [f64],
    ) {
        let (times, values) = (&samples.times[..], &samples.values[..]);
        let (mut low, mut high, mut reset_low, mut reset_high) = (0, 0, 0, 0);
        let scale = if self.per_second { 1000.0 / range as f64 } else { 1.0 };
        for (result, end) in output.iter_mut().zip(ends) {
            let start = end - range;
            while high < times.len() && times[high] <= end {
                high += 1;
            }
            while low < high && times[low] <= start {
                low += 1;
            }
            let known = starts.get(low..high).unwrap_or_default();
            let Some(sampled) = Sampled::of(&times[low..high], known, start, self.is_counter) else { continue };
            let (first, last) = (values[low], values[high - 1]);
            let mut increase = if sampled.origin.is_some() { last } else { last - first };
            if self.is_counter {
                while reset_high < resets.len() && resets[reset_high] < high {
                    reset_high += 1;
                }
                while reset_low < reset_high && resets[reset_low] <= low {
                    reset_low += 1;
                }
                for place in &resets[reset_low..reset_high] {
                    increase += values[place - 1];
                }
            }
            let counter = self.is_counter.then_some((first, increase));
            let factor = extrapolation((start, end), sampled, counter);
            *result = increase * (factor * scale);
        }
    }
}

/// By what to multiply the difference of the first and last sample to get that of the window's bounds: the slope goes
/// on to a bound if a sample is as near to it as samples are to one another, and else for half that distance. A counter
/// does not start below zero: of a counter we need its first value and by how much it grew. Where it is known when a
/// counter stood at zero, the slope begins there.
#[inline]
fn extrapolation(bounds: (i64, i64), sampled: Sampled, counter: Option<(f64, f64)>) -> f64 {
    let between = (sampled.last - sampled.first) as f64;
    let average = between / (sampled.count - 1).max(1) as f64;
    let threshold = average * 1.1;
    let reach = |distance: f64| if distance >= threshold { average * 0.5 } else { distance };
    let to_end = reach((bounds.1 - sampled.last) as f64);
    if let Some(origin) = sampled.origin {
        let interval = (sampled.last - origin) as f64;
        return (interval + to_end) / interval;
    }
    let mut to_start = reach((sampled.first - bounds.0) as f64);
    if let Some((first, increase)) = counter
        && first >= 0.0
        && between * first < to_start * increase
    {
        to_start = between * (first / increase);
    }
    (between + to_start + to_end) / between
}

fn histogram_rate(
    window: &Window<'_>,
    notes: &mut Notes<'_>,
    is_counter: bool,
    per_second: bool,
) -> Result<Option<SampleValue>> {
    let points = window.histograms;
    let times: Vec<i64> = points.iter().map(|(time, _)| *time).collect();
    let sampled = Sampled::of(&times, window.histogram_start_times, window.start, is_counter);
    let Some(sampled) = sampled else { return Ok(None) };
    let Some(result) = histogram_increase(window, notes, is_counter, sampled.origin.is_some()) else {
        return Ok(None);
    };
    let counter = is_counter.then_some((points[0].1.count, result.count));
    let factor = extrapolation((window.start, window.end), sampled, counter);
    let factor = if per_second { factor / window.range_seconds() } else { factor };
    Ok(Some(SampleValue::Histogram(Arc::new(result.mul(factor)))))
}

/// Whether a window's histogram is the first after a reset.
fn histogram_restarted(window: &Window<'_>, index: usize, previous: &Histogram) -> bool {
    let points = window.histograms;
    let starts = window.histogram_start_times;
    let restarted = starts.len() == points.len()
        && is_restart((starts[index - 1], points[index - 1].0), (starts[index], points[index].0));
    restarted || points[index].1.detect_reset(previous)
}

/// A histogram of the same layout without observations.
fn empty_like(other: &Histogram) -> Histogram {
    let custom_values = other.custom_values.clone();
    Histogram { schema: other.schema, custom_values, ..Histogram::default() }
}

/// How much a histogram grew from the first to the last sample, or from zero.
fn histogram_increase(
    window: &Window<'_>,
    notes: &mut Notes<'_>,
    is_counter: bool,
    from_zero: bool,
) -> Option<Histogram> {
    let points = window.histograms;
    let metric = notes.metric;
    let is_gauge = |histogram: &Histogram| histogram.reset_hint == ResetHint::Gauge;
    let (first, last) = (&points[0].1, &points[points.len() - 1].1);
    if is_counter && points.iter().any(|(_, histogram)| is_gauge(histogram)) {
        notes.add(&Note::NotCounterHistogram { metric });
    }
    // If there is a reset right after the first sample, its layout does not matter.
    let mut previous = Arc::clone(first);
    if is_counter && !from_zero && histogram_restarted(window, 1, first) {
        previous = Arc::new(empty_like(&points[1].1));
    }
    let is_custom = previous.uses_custom_buckets();
    let between = if is_counter { &points[1..] } else { &points[points.len() - 1..] };
    if between.iter().any(|(_, histogram)| histogram.uses_custom_buckets() != is_custom) {
        notes.add(&Note::MixedBucketSchemas { metric });
        return None;
    }
    let mut result = Histogram::clone(last);
    let lowest = between.iter().map(|(_, histogram)| histogram.schema).min().unwrap_or(result.schema);
    let lowest = lowest.min(previous.schema);
    if lowest < result.schema && !is_custom {
        result.reduce_resolution(lowest).ok()?;
    }
    let operate = |outcome: std::result::Result<(Histogram, Merge), _>, operation, notes: &mut Notes<'_>| {
        let Ok((result, merge)) = outcome else {
            notes.add(&Note::MixedBucketSchemas { metric });
            return None;
        };
        if merge.bounds_reconciled {
            notes.add(&Note::ReconciledBounds { operation });
        }
        Some(result)
    };
    if !from_zero {
        result = operate(result.sub(&previous), "subtraction", notes)?;
    }
    if is_counter {
        for (index, (_, histogram)) in points.iter().enumerate().skip(1) {
            if histogram_restarted(window, index, &previous) {
                result = operate(result.add(&previous), "addition", notes)?;
            }
            previous = Arc::clone(histogram);
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        notes.add(&Note::NotGaugeHistogram { metric });
    }
    result.reset_hint = ResetHint::Gauge;
    result.compact(0);
    Some(result)
}

/// A sample among floats and histograms, with its start time (0 if unknown).
#[derive(Clone, Copy, Debug)]
struct Point<'a> {
    time: i64,
    start: i64,
    value: PointValue<'a>,
}

#[derive(Clone, Copy, Debug)]
enum PointValue<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// All samples of a window in the order of their times.
fn points<'a>(window: &'a Window<'_>) -> impl DoubleEndedIterator<Item = Point<'a>> {
    let starts = |list: &[i64], index: usize| list.get(index).copied().unwrap_or_default();
    let floats = window.times.iter().zip(window.values).enumerate().map(move |(index, (time, value))| Point {
        time: *time,
        start: starts(window.start_times, index),
        value: PointValue::Float(*value),
    });
    let histograms = window.histograms.iter().enumerate().map(move |(index, (time, histogram))| Point {
        time: *time,
        start: starts(window.histogram_start_times, index),
        value: PointValue::Histogram(histogram),
    });
    let mut points: Vec<Point<'a>> = floats.chain(histograms).collect();
    if window.is_mixed() {
        points.sort_by_key(|point| point.time);
    }
    points.into_iter()
}

/// The last two samples of a window.
fn last_two<'a>(window: &'a Window<'_>) -> Option<(Point<'a>, Point<'a>)> {
    let count = window.values.len();
    if window.histograms.is_empty() && count > 1 {
        let point = |index: usize| Point {
            time: window.times[index],
            start: window.start_times.get(index).copied().unwrap_or_default(),
            value: PointValue::Float(window.values[index]),
        };
        return Some((point(count - 2), point(count - 1)));
    }
    let mut points = points(window).rev();
    let last = points.next()?;
    Some((points.next()?, last))
}

/// `irate` and `idelta`: of the last two samples.
fn latest(window: &Window<'_>, notes: &mut Notes<'_>, is_counter: bool) -> Result<Option<SampleValue>> {
    let Some((previous, last)) = last_two(window) else { return Ok(None) };
    let seconds = (last.time - previous.time) as f64 / 1000.0;
    if seconds == 0.0 {
        return Ok(None);
    }
    let restarted = is_restart((previous.start, previous.time), (last.start, last.time));
    Ok(match (previous.value, last.value) {
        (PointValue::Float(before), PointValue::Float(value)) => {
            let starts_anew = is_counter && (window.is_delta || value < before || restarted);
            let difference = if starts_anew { value } else { value - before };
            Some(SampleValue::Float(if is_counter { difference / seconds } else { difference }))
        }
        (PointValue::Histogram(before), PointValue::Histogram(histogram)) => {
            latest_histograms(before, histogram, notes, is_counter, restarted)
                .map(|result| SampleValue::Histogram(Arc::new(if is_counter { result.div(seconds) } else { result })))
        }
        _ => {
            notes.add(&Note::MixedFloatsHistograms { metric: notes.metric });
            None
        }
    })
}

fn latest_histograms(
    before: &Histogram,
    histogram: &Histogram,
    notes: &mut Notes<'_>,
    is_counter: bool,
    restarted: bool,
) -> Option<Histogram> {
    let metric = notes.metric;
    let gauges = [before, histogram].map(|histogram| histogram.reset_hint == ResetHint::Gauge);
    if is_counter && gauges.contains(&true) {
        notes.add(&Note::NotCounterHistogram { metric });
    }
    if !is_counter && gauges.contains(&false) {
        notes.add(&Note::NotGaugeHistogram { metric });
    }
    let mut result = histogram.clone();
    if !is_counter || !(restarted || histogram.detect_reset(before)) {
        let Ok((difference, merge)) = histogram.sub(before) else {
            notes.add(&Note::MixedBucketSchemas { metric });
            return None;
        };
        if merge.bounds_reconciled {
            notes.add(&Note::ReconciledBounds { operation: "subtraction" });
        }
        result = difference;
    }
    result.reset_hint = ResetHint::Gauge;
    result.compact(0);
    Some(result)
}

/// Counts pairs of neighbouring samples.
fn count(window: &Window<'_>, counts: impl Fn(&Window<'_>, &Point<'_>, &Point<'_>) -> bool) -> Option<SampleValue> {
    let mut points = points(window).peekable();
    if window.extension == Extension::Anchored {
        // The last sample before the window belongs to it.
        window.times.last().filter(|last| **last > window.start)?;
        let before = window.times[..window.times.len() - 1].partition_point(|time| *time <= window.start);
        if let Some(skipped) = before.checked_sub(2) {
            points.nth(skipped)?;
        }
    }
    let mut previous = points.next()?;
    let mut total = 0.0;
    for point in points {
        total += f64::from(u8::from(counts(window, &previous, &point)));
        previous = point;
    }
    Some(SampleValue::Float(total))
}

fn is_reset(window: &Window<'_>, previous: &Point<'_>, current: &Point<'_>) -> bool {
    if window.is_delta {
        return false;
    }
    let restarted = is_restart((previous.start, previous.time), (current.start, current.time));
    match (previous.value, current.value) {
        (PointValue::Float(before), PointValue::Float(value)) => restarted || value < before,
        (PointValue::Histogram(before), PointValue::Histogram(histogram)) => {
            restarted || histogram.detect_reset(before)
        }
        _ => true,
    }
}

fn is_change(previous: &Point<'_>, current: &Point<'_>) -> bool {
    match (previous.value, current.value) {
        (PointValue::Float(before), PointValue::Float(value)) => {
            value != before && !(value.is_nan() && before.is_nan())
        }
        (PointValue::Histogram(before), PointValue::Histogram(histogram)) => histogram != before,
        _ => true,
    }
}
