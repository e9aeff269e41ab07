//! Functions that fit a line or a smoothed curve to the floats of a window.

use super::kahan::Sum;
use super::window::{Notes, Window, WindowFunction};
use super::{QueryError, Result};
use crate::value::SampleValue;

pub(super) fn function(name: &str) -> Option<WindowFunction> {
    Some(match name {
        "deriv" => deriv,
        "predict_linear" => predict_linear,
        "double_exponential_smoothing" => double_exponential_smoothing,
        _ => return None,
    })
}

/// Whether there are enough floats; notes histograms that are left out.
fn has_floats(window: &Window<'_>, notes: &mut Notes<'_>) -> bool {
    if window.is_mixed() {
        notes.ignored_histograms();
    }
    window.values.len() > 1
}

fn deriv(window: &Window<'_>, notes: &mut Notes<'_>) -> Result<Option<SampleValue>> {
    if !has_floats(window, notes) {
        return Ok(None);
    }
    let (slope, _) = linear_regression(window, window.times[0]);
    Ok(Some(SampleValue::Float(slope)))
}

fn predict_linear(window: &Window<'_>, notes: &mut Notes<'_>) -> Result<Option<SampleValue>> {
    if !has_floats(window, notes) {
        return Ok(None);
    }
    let (slope, intercept) = linear_regression(window, window.time);
    Ok(Some(SampleValue::Float(slope * window.args[0] + intercept)))
}

/// The slope per second and the value at a time, by least squares.
fn linear_regression(window: &Window<'_>, time: i64) -> (f64, f64) {
    let first = window.values[0];
    if window.values.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Sum::default(); 4];
    for (at, y) in window.times.iter().zip(window.values) {
        let x = (at - time) as f64 / 1000.0;
        x_sum = x_sum.plus(x);
        y_sum = y_sum.plus(*y);
        xy_sum = xy_sum.plus(x * y);
        xx_sum = xx_sum.plus(x * x);
    }
    let count = window.values.len() as f64;
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(|sum| sum.sum + sum.error);
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

fn double_exponential_smoothing(window: &Window<'_>, notes: &mut Notes<'_>) -> Result<Option<SampleValue>> {
    let [smoothing, trend] = window.args;
    for (name, factor, short) in [("smoothing", smoothing, "sf"), ("trend", trend, "tf")] {
        if factor <= 0.0 || factor >= 1.0 {
            let message = format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}");
            return Err(QueryError::Execution(message));
        }
    }
    if !has_floats(window, notes) {
        return Ok(None);
    }
    let values = window.values;
    let (mut before, mut smoothed, mut slope) = (0.0, values[0], values[1] - values[0]);
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (smoothed + slope);
        (before, smoothed) = (smoothed, next);
    }
    Ok(Some(SampleValue::Float(smoothed)))
}
