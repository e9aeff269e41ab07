//! Writes remote write 2.0 requests.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use prost::Message;
use trivium_proto::prometheus::v2;

use crate::labels::Labels;
use crate::parse::{Exemplar, Family, Value, series};

/// Series of one request; an exposition of more becomes several.
const SERIES_MAX: usize = 20_000;

/// Gathers points into requests.
#[derive(Debug)]
pub(crate) struct RequestWriter<'a> {
    external_labels: &'a BTreeMap<String, String>,
    symbols: HashMap<String, u32>,
    request: v2::Request,
    finished: Vec<Bytes>,
}

/// A value of a series at a time.
#[derive(Debug)]
pub(crate) struct Point<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) value: &'a Value,
    pub(crate) timestamp: i64,
    pub(crate) start: i64,
    pub(crate) exemplars: &'a [Exemplar<'a>],
    pub(crate) family: Option<&'a Family<'a>>,
}

impl<'a> RequestWriter<'a> {
    pub(crate) fn new(external_labels: &'a BTreeMap<String, String>) -> Self {
        let request = v2::Request::default();
        Self { external_labels, symbols: HashMap::new(), request, finished: Vec::new() }
    }

    pub(crate) fn push(&mut self, point: &Point<'_>) {
        if self.request.timeseries.len() == SERIES_MAX {
            self.flush();
        }
        let mut series = v2::TimeSeries { labels_refs: self.labels(point.labels), ..Default::default() };
        match point.value {
            Value::Float(value) => series.samples.push(v2::Sample {
                value: *value,
                timestamp: point.timestamp,
                start_timestamp: point.start,
            }),
            Value::Histogram(histogram) => {
                let mut histogram = (**histogram).clone();
                histogram.timestamp = point.timestamp;
                series.histograms.push(histogram);
            }
        }
        for exemplar in point.exemplars {
            let Ok(labels) = series::exemplar_labels(&exemplar.labels) else { continue };
            series.exemplars.push(v2::Exemplar {
                labels_refs: self.labels(&labels.build()),
                value: exemplar.value,
                timestamp: exemplar.timestamp.unwrap_or(point.timestamp),
            });
        }
        series.metadata = point.family.map(|family| v2::Metadata {
            metric_type: family.kind as i32,
            help_ref: self.symbol(&family.help),
            unit_ref: self.symbol(&family.unit),
        });
        self.request.timeseries.push(series);
    }

    /// The requests, encoded.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.finished
    }

    fn flush(&mut self) {
        if !self.request.timeseries.is_empty() {
            self.finished.push(std::mem::take(&mut self.request).encode_to_vec().into());
            self.symbols.clear();
        }
    }

    /// Labels stay sorted by name, those that all series get among them.
    fn labels(&mut self, labels: &Labels) -> Vec<u32> {
        let is_series = labels.get("__name__").is_some();
        let external = self.external_labels.iter().filter(|(name, _)| is_series && labels.get(name).is_none());
        let mut pairs: Vec<(&str, &str)> =
            labels.iter().chain(external.map(|(name, value)| (&**name, &**value))).collect();
        pairs.sort_unstable();
        pairs.into_iter().flat_map(|(name, value)| [self.symbol(name), self.symbol(value)]).collect()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if self.request.symbols.is_empty() {
            self.request.symbols.push(String::new());
        }
        if text.is_empty() {
            return 0;
        }
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        let symbol = u32::try_from(self.request.symbols.len()).unwrap_or(0);
        self.request.symbols.push(text.to_owned());
        self.symbols.insert(text.to_owned(), symbol);
        symbol
    }
}
