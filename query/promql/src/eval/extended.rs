//! `anchored` and `smoothed` selectors, which look at samples next to the window for its values at the bounds.

use super::matrix::{ABSENT, Column};
use super::window::Window;
use super::{QueryError, Result, Steps};
use crate::ast::Extension;
use crate::series::{Series, is_stale};

pub(super) fn no_histograms() -> QueryError {
    QueryError::Execution("smoothed and anchored modifiers do not work with native histograms".to_owned())
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
