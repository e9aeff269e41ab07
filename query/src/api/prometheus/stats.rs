//! The statistics that the parameter `stats` asks for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trivium_promql::{Selection, Series, SeriesSource, SourceError};

/// A source that counts what is read of it.
pub(super) struct Counted<'a> {
    source: &'a dyn SeriesSource,
    samples: AtomicUsize,
}

impl<'a> Counted<'a> {
    pub(super) fn new(source: &'a dyn SeriesSource) -> Self {
        Self { source, samples: AtomicUsize::new(0) }
    }

    /// The samples that were read so far.
    pub(super) fn samples(&self) -> usize {
        self.samples.load(Ordering::Relaxed)
    }
}

impl SeriesSource for Counted<'_> {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let series = self.source.select(selection)?;
        let samples = series.iter().map(|series| series.times.len() + series.histograms.len()).sum();
        self.samples.fetch_add(samples, Ordering::Relaxed);
        Ok(series)
    }
}

/// What a query cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statistics {
    pub(super) queued: Duration,
    pub(super) evaluated: Duration,
    pub(super) samples: usize,
}

impl Statistics {
    /// In the shape of Prometheus; what is not measured apart is 0.
    pub(super) fn to_json(self) -> String {
        let [queued, evaluated] = [self.queued, self.evaluated].map(|time| time.as_secs_f64());
        let samples = self.samples;
        format!(
            "{{\"timings\":{{\"evalTotalTime\":{evaluated},\"resultSortTime\":0,\"queryPreparationTime\":0,\
             \"innerEvalTime\":{evaluated},\"execQueueTime\":{queued},\"execTotalTime\":{total}}},\
             \"samples\":{{\"totalQueryableSamples\":{samples},\"peakSamples\":{samples}}}}}",
            total = queued + evaluated
        )
    }
}
