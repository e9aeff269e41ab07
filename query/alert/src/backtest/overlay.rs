//! Samples in memory: what backtested rules wrote, and what is laid over the stored samples.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use trivium_promql::{Labels, STALE_NAN_BITS, SampleValue, Selection, Series, SeriesSource, SourceError};

/// More samples at once are refused.
pub(super) const MAX_SAMPLES: usize = 10_000_000;

/// Samples of series by time.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    series: HashMap<Labels, BTreeMap<i64, SampleValue>>,
    samples: usize,
}

impl Overlay {
    pub(super) fn put(&mut self, labels: &Labels, t_ms: i64, value: SampleValue) -> Result<(), String> {
        if self.samples >= MAX_SAMPLES {
            return Err(format!("the backtest needs more than {MAX_SAMPLES} samples in memory; take a shorter range"));
        }
        let samples = match self.series.get_mut(labels) {
            Some(samples) => samples,
            None => self.series.entry(labels.clone()).or_default(),
        };
        self.samples += usize::from(samples.insert(t_ms, value).is_none());
        Ok(())
    }

    pub(super) fn put_stale(&mut self, labels: &Labels, t_ms: i64) -> Result<(), String> {
        self.put(labels, t_ms, SampleValue::Float(f64::from_bits(STALE_NAN_BITS)))
    }

    /// Forgets samples that are older.
    pub(super) fn forget_before(&mut self, t_ms: i64) {
        self.series.retain(|_, samples| {
            *samples = samples.split_off(&t_ms);
            !samples.is_empty()
        });
        self.samples = self.series.values().map(BTreeMap::len).sum();
    }

    pub(super) fn clear(&mut self) {
        self.series.clear();
        self.samples = 0;
    }

    fn select(&self, selection: &Selection<'_>, found: &mut Vec<Series>) {
        if selection.after >= selection.until {
            return;
        }
        let meets =
            |labels: &Labels| selection.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)));
        for (labels, samples) in self.series.iter().filter(|(labels, _)| meets(labels)) {
            let mut series = Series { labels: labels.clone(), ..Series::default() };
            for (time, value) in samples.range(selection.after + 1..=selection.until) {
                match value {
                    SampleValue::Float(value) => {
                        series.times.push(*time);
                        series.values.push(*value);
                    }
                    SampleValue::Histogram(histogram) => series.histograms.push((*time, Arc::clone(histogram))),
                }
            }
            if !series.times.is_empty() || !series.histograms.is_empty() {
                found.push(series);
            }
        }
    }
}

/// What rules wrote, over what was stored.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    pub(super) written: &'a Overlay,
    pub(super) stored: &'a Overlay,
}

impl SeriesSource for Layers<'_> {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let mut found = Vec::new();
        self.written.select(selection, &mut found);
        self.stored.select(selection, &mut found);
        Ok(found)
    }
}
