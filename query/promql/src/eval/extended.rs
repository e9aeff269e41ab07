//! `anchored` and `smoothed` selectors, which look at samples next to the window for its values at the bounds.

use std::sync::Arc;

use super::matrix::{ABSENT, Column};
use super::window::{Notes, Window};
use super::{QueryError, Result, Steps};
use crate::annotations::Note;
use crate::ast::Extension;
use crate::histogram::{Histogram, Incompatible, Merge, ResetHint};
use crate::series::{Series, is_stale};

pub(super) fn no_histograms() -> QueryError {
    QueryError::Execution(
        "smoothed and anchored modifiers only work with native histograms in delta, increase and rate".to_owned(),
    )
}

type Float = (i64, f64);

/// The value at a time between two samples. A counter that was reset between them came from zero.
fn interpolate(before: Float, after: Float, time: i64, is_counter: bool) -> f64 {
    let from = if is_counter && after.1 < before.1 { 0.0 } else { before.1 };
    from + (after.1 - from) * (time - before.0) as f64 / (after.0 - before.0) as f64
}

/// The samples that bear on a window, and the values at its bounds.
struct Bounded {
    first: usize,
    last: usize,
    left: f64,
    right: f64,
}

/// `None` if there is no sample in the window.
fn bound(
    len: usize,
    at: impl Fn(usize) -> Float,
    start: i64,
    end: i64,
    is_smoothed: bool,
    is_counter: bool,
) -> Option<Bounded> {
    let mut last = len.checked_sub(1)?;
    // The first index up to (not with) `bound` for which it holds, or `bound`.
    let search =
        |bound: usize, holds: &dyn Fn(i64) -> bool| (0..bound).find(|index| holds(at(*index).0)).unwrap_or(bound);
    let first = search(last, &|time| time > start).saturating_sub(1);
    if is_smoothed {
        last = search(last, &|time| time >= end);
    }
    if at(last).0 <= start {
        return None;
    }
    let left = if is_smoothed && at(first).0 < start && first + 1 < len {
        interpolate(at(first), at(first + 1), start, is_counter)
    } else {
        at(first).1
    };
    let right = if is_smoothed && last > 0 && at(last).0 > end {
        interpolate(at(last - 1), at(last), end, is_counter)
    } else {
        at(last).1
    };
    Some(Bounded { first, last, left, right })
}

/// The indexes of the samples strictly within the bounds, as a half-open range.
fn within(bounded: &Bounded, at: impl Fn(usize) -> Float, start: i64, end: i64) -> std::ops::Range<usize> {
    let low = bounded.first + usize::from(at(bounded.first).0 <= start);
    let high = bounded.last + usize::from(at(bounded.last).0 < end);
    low..high.max(low)
}

/// `rate`, `increase` and `delta` between the bounds of a window.
pub(super) fn rate(window: &Window<'_>, is_counter: bool, per_second: bool) -> Option<f64> {
    let at = |index: usize| (window.times[index], window.values[index]);
    let is_smoothed = window.extension == Extension::Smoothed;
    let bounded = bound(window.times.len(), at, window.start, window.end, is_smoothed, is_counter)?;
    if is_smoothed && at(bounded.first).0 > window.end {
        return None;
    }
    let mut result = bounded.right - bounded.left;
    if is_counter {
        let mut previous = bounded.left;
        for index in within(&bounded, at, window.start, window.end) {
            let value = window.values[index];
            if value < previous {
                result += previous;
            }
            previous = value;
        }
        if bounded.right < previous {
            result += previous;
        }
    }
    Some(if per_second { result / window.range_seconds() } else { result })
}

/// `rate`, `increase` and `delta` of histograms between the bounds of a window.
pub(super) fn histogram_rate(
    window: &Window<'_>,
    notes: &mut Notes<'_>,
    is_counter: bool,
    per_second: bool,
) -> Option<Histogram> {
    let points = window.histograms;
    let is_smoothed = window.extension == Extension::Smoothed;
    let mut last = points.len().checked_sub(1)?;
    let first = points[..last].partition_point(|(time, _)| *time <= window.start).saturating_sub(1);
    if is_smoothed {
        last = points[..last].partition_point(|(time, _)| *time < window.end);
    }
    if points[last].0 <= window.start || (is_smoothed && points[first].0 > window.end) {
        return None;
    }
    let mut merger = Merger { notes };
    merger.check(&points[first..=last], is_counter)?;
    let left = match &points[first..] {
        [before, after, ..] if is_smoothed && before.0 < window.start => {
            merger.between(before, after, window.start, is_counter)?
        }
        _ => Histogram::clone(&points[first].1),
    };
    let right = if is_smoothed && last > 0 && points[last].0 > window.end {
        merger.between(&points[last - 1], &points[last], window.end, is_counter)?
    } else {
        Histogram::clone(&points[last].1)
    };
    if !is_counter && [&left, &right].iter().any(|histogram| histogram.reset_hint != ResetHint::Gauge) {
        merger.notes.add(&Note::NotGaugeHistogram { metric: merger.notes.metric });
    }
    let mut result = merger.sub(&right, &left)?;
    if is_counter {
        // A reset that the value at the left bound is interpolated over is in that value.
        let spans_reset = is_smoothed
            && first < last
            && points[first].0 < window.start
            && points[first + 1].1.detect_reset(&points[first].1);
        let (mut previous, skipped) = if spans_reset { (&*points[first + 1].1, 2) } else { (&left, 1) };
        // The last sample is what the value at the right bound is or comes from.
        let inner = points.get(first + skipped..last).unwrap_or_default();
        let ends = if first + skipped > last { None } else { Some(&right) };
        for histogram in inner.iter().map(|(_, histogram)| &**histogram).chain(ends) {
            if histogram.detect_reset(previous) {
                result = merger.add(&result, previous)?;
            }
            previous = histogram;
        }
    }
    if per_second {
        result = result.div(window.range_seconds());
    }
    result.reset_hint = ResetHint::Gauge;
    result.compact(0);
    Some(result)
}

/// Arithmetics on histograms of a series, with notes where they do not fit together.
struct Merger<'a, 'b> {
    notes: &'a mut Notes<'b>,
}

impl Merger<'_, '_> {
    /// Notes what is wrong with samples; `None` if nothing can be made of them.
    fn check(&mut self, points: &[(i64, Arc<Histogram>)], is_counter: bool) -> Option<()> {
        let metric = self.notes.metric;
        let is_custom = points.first()?.1.uses_custom_buckets();
        for (_, histogram) in points {
            if histogram.uses_custom_buckets() != is_custom {
                self.notes.add(&Note::MixedBucketSchemas { metric });
                return None;
            }
            if is_counter && histogram.reset_hint == ResetHint::Gauge {
                self.notes.add(&Note::NotCounterHistogram { metric });
            }
        }
        Some(())
    }

    /// The histogram at a time between two. A counter that was reset between them came from zero.
    fn between(
        &mut self,
        before: &(i64, Arc<Histogram>),
        after: &(i64, Arc<Histogram>),
        time: i64,
        is_counter: bool,
    ) -> Option<Histogram> {
        if time == after.0 {
            return Some(Histogram::clone(&after.1));
        }
        let fraction = (time - before.0) as f64 / (after.0 - before.0) as f64;
        if is_counter && after.1.detect_reset(&before.1) {
            return Some(after.1.mul(fraction));
        }
        let difference = self.sub(&after.1, &before.1)?;
        self.add(&difference.mul(fraction), &before.1)
    }

    fn add(&mut self, a: &Histogram, b: &Histogram) -> Option<Histogram> {
        self.merged(a.add(b), "addition")
    }

    fn sub(&mut self, a: &Histogram, b: &Histogram) -> Option<Histogram> {
        self.merged(a.sub(b), "subtraction")
    }

    fn merged(
        &mut self,
        outcome: std::result::Result<(Histogram, Merge), Incompatible>,
        operation: &str,
    ) -> Option<Histogram> {
        let Ok((result, merge)) = outcome else {
            self.notes.add(&Note::MixedBucketSchemas { metric: self.notes.metric });
            return None;
        };
        if merge.bounds_reconciled {
            self.notes.add(&Note::ReconciledBounds { operation });
        }
        Some(result)
    }
}

/// The samples of an extended range with the values at its bounds.
pub(super) fn with_bounds(floats: &[Float], start: i64, end: i64, is_smoothed: bool) -> Vec<Float> {
    let at = |index: usize| floats[index];
    let Some(bounded) = bound(floats.len(), at, start, end, is_smoothed, false) else { return Vec::new() };
    let inner = within(&bounded, at, start, end);
    let mut samples = vec![(start, bounded.left)];
    samples.extend_from_slice(&floats[inner]);
    samples.push((end, bounded.right));
    samples
}

/// A series whose values between samples are interpolated.
pub(super) fn smoothed_column(series: &Series, steps: Steps, lookback: i64) -> Result<Column> {
    let floats: Vec<Float> = series.times.iter().copied().zip(series.values.iter().copied()).collect();
    let floats: Vec<Float> = floats.into_iter().filter(|(_, value)| !is_stale(*value)).collect();
    let mut column = Column::empty(series.labels.clone(), steps.count);
    for (step, time) in steps.times().enumerate() {
        let near = |at: i64| at > time - lookback && at <= time + lookback;
        if series.histograms.iter().any(|(at, _)| near(*at)) {
            return Err(no_histograms());
        }
        let next = floats.partition_point(|(at, _)| *at < time);
        let after = floats.get(next).copied().filter(|(at, _)| near(*at));
        let before = next.checked_sub(1).map(|index| floats[index]).filter(|(at, _)| near(*at));
        column.floats[step] = match (before, after) {
            (_, Some((at, value))) if at == time => value,
            (Some(before), Some(after)) => interpolate(before, after, time, false),
            (Some((_, value)), None) => value,
            (None, _) => ABSENT,
        };
    }
    Ok(column)
}
