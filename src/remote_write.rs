//! Samples as requests of remote write 2.0: those of test scripts, and those that rules record.

use std::collections::HashMap;

use prost::Message;
use trivium_promql::histogram::{Histogram, ResetHint, Span};
use trivium_promql::{Labels, Series};
use trivium_proto::prometheus::v2::{Request, Sample, TimeSeries};
use trivium_proto::prometheus::{BucketSpan, Count, Histogram as Message2, ZeroCount};

/// Samples of one request.
const SAMPLES_MAX: usize = 100_000;

/// Compressed bodies that together hold the series.
pub(crate) fn requests(series: &[Series]) -> Result<Vec<Vec<u8>>, String> {
    let mut bodies = Vec::new();
    let mut writer = Writer::default();
    for series in series {
        writer.add(series);
        if writer.samples >= SAMPLES_MAX {
            bodies.push(std::mem::take(&mut writer).finish()?);
        }
    }
    if writer.samples > 0 {
        bodies.push(writer.finish()?);
    }
    Ok(bodies)
}

struct Writer {
    request: Request,
    symbols: HashMap<String, u32>,
    samples: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            request: Request { symbols: vec![String::new()], ..Request::default() },
            symbols: HashMap::from([(String::new(), 0)]),
            samples: 0,
        }
    }
}

impl Writer {
    /// A series has floats or histograms, not both; one that has both is sent as two.
    fn add(&mut self, series: &Series) {
        let labels_refs = self.labels(&series.labels);
        let start = |times: &[i64], index: usize| times.get(index).copied().unwrap_or(0);
        if !series.times.is_empty() {
            let pairs = series.times.iter().zip(&series.values).enumerate();
            let samples = pairs.map(|(index, (time, value))| Sample {
                value: *value,
                timestamp: *time,
                start_timestamp: start(&series.start_times, index),
            });
            let samples: Vec<Sample> = samples.collect();
            self.samples += samples.len();
            self.request.timeseries.push(TimeSeries {
                labels_refs: labels_refs.clone(),
                samples,
                ..TimeSeries::default()
            });
        }
        if !series.histograms.is_empty() {
            let histograms: Vec<Message2> = series
                .histograms
                .iter()
                .enumerate()
                .map(|(index, (time, histogram))| {
                    message(histogram, *time, start(&series.histogram_start_times, index))
                })
                .collect();
            self.samples += histograms.len();
            self.request.timeseries.push(TimeSeries { labels_refs, histograms, ..TimeSeries::default() });
        }
    }

    fn labels(&mut self, labels: &Labels) -> Vec<u32> {
        labels.iter().flat_map(|label| [self.symbol(&label.name), self.symbol(&label.value)]).collect()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(place) = self.symbols.get(text) {
            return *place;
        }
        let place = u32::try_from(self.request.symbols.len()).unwrap_or_default();
        self.request.symbols.push(text.to_owned());
        self.symbols.insert(text.to_owned(), place);
        place
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        let bytes = self.request.encode_to_vec();
        snap::raw::Encoder::new().compress_vec(&bytes).map_err(|error| format!("cannot compress samples: {error}"))
    }
}

fn message(histogram: &Histogram, timestamp: i64, start_timestamp: i64) -> Message2 {
    Message2 {
        count: Some(Count::Float(histogram.count)),
        sum: histogram.sum,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(ZeroCount::Float(histogram.zero_count)),
        negative_spans: spans(&histogram.negative_spans),
        negative_counts: histogram.negative_buckets.clone(),
        positive_spans: spans(&histogram.positive_spans),
        positive_counts: histogram.positive_buckets.clone(),
        reset_hint: match histogram.reset_hint {
            ResetHint::Unknown => 0,
            ResetHint::Reset => 1,
            ResetHint::NotReset => 2,
            ResetHint::Gauge => 3,
        },
        timestamp,
        custom_values: histogram.custom_values.clone(),
        start_timestamp,
        ..Message2::default()
    }
}

fn spans(spans: &[Span]) -> Vec<BucketSpan> {
    spans.iter().map(|span| BucketSpan { offset: span.offset, length: span.length }).collect()
}
