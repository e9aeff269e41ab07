//! The `_over_time` functions.

use std::sync::Arc;

use super::Result;
use super::kahan::{Mean, Sum, Variance};
use super::quantile::quantile;
use super::window::{Notes, Window, WindowFunction};
use crate::annotations::Note;
use crate::histogram::{Histogram, HistogramSum, Incompatible, Merge, ResetHint};
use crate::value::SampleValue;

pub(super) fn function(name: &str) -> Option<WindowFunction> {
    Some(match name {
        "avg_over_time" => avg,
        "sum_over_time" => sum,
        "count_over_time" => {
            |window, _| Ok(Some(SampleValue::Float((window.values.len() + window.histograms.len()) as f64)))
        }
        "present_over_time" | "absent_over_time" => |_, _| Ok(Some(SampleValue::Float(1.0))),
        "first_over_time" => |window, _| Ok(first(window).map(|(_, value)| value)),
        "last_over_time" => |window, _| Ok(last(window).map(|(_, value)| value)),
        "ts_of_first_over_time" => |window, _| Ok(first(window).map(|(time, _)| seconds(time))),
        "ts_of_last_over_time" => |window, _| Ok(last(window).map(|(time, _)| seconds(time))),
        "max_over_time" => {
            |window, notes| Ok(extreme(window, notes, |value, best| value > best).map(|(_, value)| value))
        }
        "min_over_time" => {
            |window, notes| Ok(extreme(window, notes, |value, best| value < best).map(|(_, value)| value))
        }
        "ts_of_max_over_time" => {
            |window, notes| Ok(extreme(window, notes, |value, best| value >= best).map(|(time, _)| seconds(time)))
        }
        "ts_of_min_over_time" => {
            |window, notes| Ok(extreme(window, notes, |value, best| value <= best).map(|(time, _)| seconds(time)))
        }
        "stddev_over_time" => |window, notes| Ok(variance(window, notes).map(|value| SampleValue::Float(value.sqrt()))),
        "stdvar_over_time" => |window, notes| Ok(variance(window, notes).map(SampleValue::Float)),
        "quantile_over_time" => |window, notes| Ok(quantile_over_time(window, notes)),
        "mad_over_time" => |window, notes| Ok(median_deviation(window, notes)),
        _ => return None,
    })
}

fn seconds(time: i64) -> SampleValue {
    SampleValue::Float(time as f64 / 1000.0)
}

fn first(window: &Window<'_>) -> Option<(i64, SampleValue)> {
    let float = window.times.first().zip(window.values.first());
    match (float, window.histograms.first()) {
        (Some((time, value)), Some((other, _))) if time < other => Some((*time, SampleValue::Float(*value))),
        (Some((time, value)), None) => Some((*time, SampleValue::Float(*value))),
        (_, Some((time, histogram))) => Some((*time, SampleValue::Histogram(Arc::clone(histogram)))),
        (None, None) => None,
    }
}

fn last(window: &Window<'_>) -> Option<(i64, SampleValue)> {
    let float = window.times.last().zip(window.values.last());
    match (float, window.histograms.last()) {
        (Some((time, value)), Some((other, _))) if other < time => Some((*time, SampleValue::Float(*value))),
        (Some((time, value)), None) => Some((*time, SampleValue::Float(*value))),
        (_, Some((time, histogram))) => Some((*time, SampleValue::Histogram(Arc::clone(histogram)))),
        (None, None) => None,
    }
}

/// The floats of a window; histograms among them are noted.
fn floats<'a>(window: &Window<'a>, notes: &mut Notes<'_>) -> Option<&'a [f64]> {
    if window.is_mixed() {
        notes.ignored_histograms();
    }
    (!window.values.is_empty()).then_some(window.values)
}

/// The value that beats all others, and its time.
fn extreme(window: &Window<'_>, notes: &mut Notes<'_>, beats: fn(f64, f64) -> bool) -> Option<(i64, SampleValue)> {
    let values = floats(window, notes)?;
    let (mut best, mut place) = (values[0], 0);
    for (index, value) in values.iter().enumerate() {
        if beats(*value, best) || best.is_nan() {
            (best, place) = (*value, index);
        }
    }
    Some((window.times[place], SampleValue::Float(best)))
}

fn variance(window: &Window<'_>, notes: &mut Notes<'_>) -> Option<f64> {
    let values = floats(window, notes)?;
    Some(values.iter().fold(Variance::default(), |variance, value| variance.plus(*value)).value())
}

fn quantile_over_time(window: &Window<'_>, notes: &mut Notes<'_>) -> Option<SampleValue> {
    if window.values.is_empty() {
        return None;
    }
    let q = window.args[0];
    if !(0.0..=1.0).contains(&q) {
        notes.add(&Note::InvalidQuantile(q));
    }
    let values = floats(window, notes)?;
    Some(SampleValue::Float(quantile(q, &mut values.to_vec())))
}

/// The median of the distances to the median.
fn median_deviation(window: &Window<'_>, notes: &mut Notes<'_>) -> Option<SampleValue> {
    let mut values = floats(window, notes)?.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(SampleValue::Float(quantile(0.5, &mut values)))
}

fn sum(window: &Window<'_>, notes: &mut Notes<'_>) -> Result<Option<SampleValue>> {
    if window.is_mixed() {
        notes.add(&Note::MixedFloatsHistograms { metric: notes.metric });
        return Ok(None);
    }
    if window.histograms.is_empty() {
        let sum = window.values.iter().fold(Sum::default(), |sum, value| sum.plus(*value));
        return Ok(Some(SampleValue::Float(sum.total())));
    }
    Ok(histograms(window, notes, HistogramTotal::sum))
}

fn avg(window: &Window<'_>, notes: &mut Notes<'_>) -> Result<Option<SampleValue>> {
    if window.is_mixed() {
        notes.add(&Note::MixedFloatsHistograms { metric: notes.metric });
        return Ok(None);
    }
    if let [first, rest @ ..] = window.values {
        let mean = rest.iter().fold(Mean::of(*first), |mean, value| mean.plus(*value));
        return Ok(Some(SampleValue::Float(mean.value())));
    }
    Ok(histograms(window, notes, HistogramTotal::mean))
}

fn histograms(
    window: &Window<'_>,
    notes: &mut Notes<'_>,
    result: fn(&HistogramTotal) -> Histogram,
) -> Option<SampleValue> {
    let ((_, first), rest) = window.histograms.split_first()?;
    let mut total = HistogramTotal::new(first);
    for (_, histogram) in rest {
        if total.add(histogram).is_err() {
            notes.add(&Note::MixedBucketSchemas { metric: notes.metric });
            return None;
        }
    }
    if total.resets_collide() {
        notes.add(&Note::CounterResetCollision { operation: "aggregation" });
    }
    if total.reconciled {
        notes.add(&Note::ReconciledBounds { operation: "aggregation" });
    }
    Some(SampleValue::Histogram(Arc::new(result(&total))))
}

/// The sum or mean of histograms, with what there is to note about it.
#[derive(Clone, Debug)]
pub(super) struct HistogramTotal {
    sum: HistogramSum,
    count: f64,
    /// Whether `sum` is the mean already, as the sum itself would overflow.
    is_incremental: bool,
    hints: [bool; 2],
    pub(super) reconciled: bool,
}

impl HistogramTotal {
    pub(super) fn new(first: &Histogram) -> Self {
        let sum = HistogramSum::new(first);
        let mut total = Self { sum, count: 1.0, is_incremental: false, hints: [false; 2], reconciled: false };
        total.see(first);
        total
    }

    fn see(&mut self, histogram: &Histogram) {
        self.hints[0] |= histogram.reset_hint == ResetHint::Reset;
        self.hints[1] |= histogram.reset_hint == ResetHint::NotReset;
    }

    /// Whether some had a counter reset and others explicitly not.
    pub(super) fn resets_collide(&self) -> bool {
        self.hints == [true; 2]
    }

    pub(super) fn add(&mut self, histogram: &Histogram) -> std::result::Result<(), Incompatible> {
        self.see(histogram);
        self.count += 1.0;
        if !self.is_incremental {
            let mut sum = self.sum.clone();
            let Merge { bounds_reconciled, .. } = sum.add(histogram)?;
            self.reconciled |= bounds_reconciled;
            if !sum.has_overflow() {
                self.sum = sum;
                return Ok(());
            }
            self.is_incremental = true;
            self.sum.scale(1.0 / (self.count - 1.0));
        }
        self.sum.scale((self.count - 1.0) / self.count);
        let merge = self.sum.add(&histogram.div(self.count))?;
        self.reconciled |= merge.bounds_reconciled;
        Ok(())
    }

    pub(super) fn sum(&self) -> Histogram {
        let total = self.sum.total();
        if self.is_incremental { total.mul(self.count) } else { total }
    }

    pub(super) fn mean(&self) -> Histogram {
        let total = self.sum.total();
        if self.is_incremental { total } else { total.div(self.count) }
    }
}
