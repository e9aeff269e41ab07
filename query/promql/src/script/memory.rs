//! Samples in memory.

use std::collections::BTreeMap;
use std::iter::repeat;
use std::ops::Bound;
use std::sync::Arc;

use super::convert::forget_unknown_starts;
use crate::histogram::{Histogram, ResetHint};
use crate::labels::Labels;
use crate::series::{Selection, Series, SeriesSource, SourceError};

/// A source that holds what was loaded, in any order; of samples of a series at the same time the last one counts.
///
/// Counter reset hints are given as Prometheus' storage gives them: not what was loaded, but that there was no reset if
/// the histogram before (with nothing else in between) has the same layout and no larger counts, else nothing. Only
/// gauges stay gauges.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    series: BTreeMap<Labels, Stored>,
}

#[derive(Clone, Debug, Default)]
struct Stored {
    samples: BTreeMap<i64, Sample>,
    is_delta: bool,
}

#[derive(Clone, Debug)]
struct Sample {
    value: Value,
    /// Start time, 0 where unknown.
    start: i64,
}

#[derive(Clone, Debug)]
enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl MemorySource {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    /// Adds samples.
    pub fn load(&mut self, series: Vec<Series>) -> Result<(), String> {
        for one in series {
            for (time, histogram) in &one.histograms {
                histogram.validate().map_err(|error| format!("{} at {time} ms: {error}", one.labels))?;
            }
            let stored = self.series.entry(one.labels).or_default();
            stored.is_delta = one.is_delta;
            let floats = one.times.into_iter().zip(one.values.into_iter().map(Value::Float));
            stored.extend(floats.zip(one.start_times.into_iter().chain(repeat(0))));
            let histograms = one.histograms.into_iter().map(|(time, histogram)| (time, Value::Histogram(histogram)));
            stored.extend(histograms.zip(one.histogram_start_times.into_iter().chain(repeat(0))));
            stored.set_hints();
        }
        Ok(())
    }
}

impl Stored {
    fn extend(&mut self, samples: impl Iterator<Item = ((i64, Value), i64)>) {
        self.samples.extend(samples.map(|((time, value), start)| (time, Sample { value, start })));
    }

    fn set_hints(&mut self) {
        let mut before: Option<Arc<Histogram>> = None;
        for sample in self.samples.values_mut() {
            let Value::Histogram(histogram) = &mut sample.value else {
                before = None;
                continue;
            };
            let hint = hint(histogram, before.as_deref());
            if histogram.reset_hint != hint {
                *histogram = Arc::new(Histogram { reset_hint: hint, ..Histogram::clone(histogram) });
            }
            before = Some(Arc::clone(histogram));
        }
    }

    fn select(&self, labels: &Labels, after: i64, until: i64) -> Option<Series> {
        let mut series = Series { labels: labels.clone(), is_delta: self.is_delta, ..Series::default() };
        if after >= until {
            return None;
        }
        for (time, sample) in self.samples.range((Bound::Excluded(after), Bound::Included(until))) {
            match &sample.value {
                Value::Float(value) => {
                    series.times.push(*time);
                    series.values.push(*value);
                    series.start_times.push(sample.start);
                }
                Value::Histogram(histogram) => {
                    series.histograms.push((*time, Arc::clone(histogram)));
                    series.histogram_start_times.push(sample.start);
                }
            }
        }
        forget_unknown_starts(&mut series);
        (!series.times.is_empty() || !series.histograms.is_empty()).then_some(series)
    }
}

fn hint(histogram: &Histogram, before: Option<&Histogram>) -> ResetHint {
    if histogram.reset_hint == ResetHint::Gauge {
        return ResetHint::Gauge;
    }
    let continues = before.is_some_and(|before| {
        before.reset_hint != ResetHint::Gauge
            && before.schema == histogram.schema
            && before.zero_threshold == histogram.zero_threshold
            && before.custom_values == histogram.custom_values
            && !Histogram { reset_hint: ResetHint::Unknown, ..histogram.clone() }.detect_reset(before)
    });
    if continues { ResetHint::NotReset } else { ResetHint::Unknown }
}

impl SeriesSource for MemorySource {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let matching = self
            .series
            .iter()
            .filter(|(labels, _)| selection.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name))));
        Ok(matching.filter_map(|(labels, stored)| stored.select(labels, selection.after, selection.until)).collect())
    }
}
