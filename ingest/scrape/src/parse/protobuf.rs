//! The protobuf format: `io.prometheus.client.MetricFamily`, each behind its length. What is no native histogram is turned into
//! the series that the text format would have.

use std::borrow::Cow;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};
use trivium_model::limit;
use trivium_proto::prometheus::{BucketSpan, Count, Histogram as NativeHistogram, ZeroCount};

use super::{Exemplar, Exposition, Family, Kind, ParseError, Sample, Value, bound};
use client_model as wire;

/// Messages of `io.prometheus.client`, by field number.
mod client_model {
    use prost::Message;
    use trivium_proto::prometheus::BucketSpan;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct LabelPair {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Timestamp {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) label: Vec<LabelPair>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(message, optional, tag = "3")]
        pub(super) timestamp: Option<Timestamp>,
    }

    /// A gauge or an untyped value.
    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Gauge {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Counter {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(message, optional, tag = "2")]
        pub(super) exemplar: Option<Exemplar>,
        #[prost(message, optional, tag = "3")]
        pub(super) created: Option<Timestamp>,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Quantile {
        #[prost(double, tag = "1")]
        pub(super) quantile: f64,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Summary {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) quantile: Vec<Quantile>,
        #[prost(message, optional, tag = "4")]
        pub(super) created: Option<Timestamp>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Bucket {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "4")]
        pub(super) count_float: f64,
        #[prost(double, tag = "2")]
        pub(super) upper_bound: f64,
        #[prost(message, optional, tag = "3")]
        pub(super) exemplar: Option<Exemplar>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "4")]
        pub(super) count_float: f64,
        #[prost(double, tag = "2")]
        pub(super) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) bucket: Vec<Bucket>,
        #[prost(message, optional, tag = "15")]
        pub(super) created: Option<Timestamp>,
        #[prost(sint32, tag = "5")]
        pub(super) schema: i32,
        #[prost(double, tag = "6")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, tag = "7")]
        pub(super) zero_count: u64,
        #[prost(double, tag = "8")]
        pub(super) zero_count_float: f64,
        #[prost(message, repeated, tag = "9")]
        pub(super) negative_span: Vec<BucketSpan>,
        #[prost(sint64, repeated, tag = "10")]
        pub(super) negative_delta: Vec<i64>,
        #[prost(double, repeated, tag = "11")]
        pub(super) negative_count: Vec<f64>,
        #[prost(message, repeated, tag = "12")]
        pub(super) positive_span: Vec<BucketSpan>,
        #[prost(sint64, repeated, tag = "13")]
        pub(super) positive_delta: Vec<i64>,
        #[prost(double, repeated, tag = "14")]
        pub(super) positive_count: Vec<f64>,
        #[prost(message, repeated, tag = "16")]
        pub(super) exemplars: Vec<Exemplar>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Metric {
        #[prost(message, repeated, tag = "1")]
        pub(super) label: Vec<LabelPair>,
        #[prost(message, optional, tag = "2")]
        pub(super) gauge: Option<Gauge>,
        #[prost(message, optional, tag = "3")]
        pub(super) counter: Option<Counter>,
        #[prost(message, optional, tag = "4")]
        pub(super) summary: Option<Summary>,
        #[prost(message, optional, tag = "5")]
        pub(super) untyped: Option<Gauge>,
        #[prost(message, optional, tag = "7")]
        pub(super) histogram: Option<Histogram>,
        #[prost(int64, tag = "6")]
        pub(super) timestamp_ms: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct MetricFamily {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) help: String,
        #[prost(int32, tag = "3")]
        pub(super) kind: i32,
        #[prost(message, repeated, tag = "4")]
        pub(super) metric: Vec<Metric>,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }
}

/// Metrics, labels, buckets and the like of one exposition.
const MESSAGES_MAX: usize = limit::REQUEST_ROWS_MAX;

/// Which fields of a family, a metric and a histogram or summary are messages that may be many.
const NESTED: [&[u32]; 3] = [&[4], &[1, 4, 7], &[3, 9, 12, 16]];

/// How many messages a family holds. An empty one is two bytes on the wire and hundreds in memory, so they are counted first.
fn messages(mut message: &[u8], level: usize) -> Result<usize, DecodeError> {
    let mut count = 1;
    let Some(nested) = NESTED.get(level) else { return Ok(count) };
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(&mut message)?;
        if wire_type != WireType::LengthDelimited || !nested.contains(&tag) {
            skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
        let (inner, rest) = message.split_at(length.min(message.len()));
        count += messages(inner, level + 1)?;
        message = rest;
    }
    Ok(count)
}

/// Refuses an exposition that would take far more memory than its bytes.
fn check_size(mut body: &[u8]) -> Result<(), ParseError> {
    let invalid = |error: DecodeError| ParseError::Whole(error.to_string());
    let mut count = 0;
    while !body.is_empty() {
        let length = usize::try_from(decode_varint(&mut body).map_err(invalid)?).unwrap_or(usize::MAX);
        let (family, rest) = body.split_at(length.min(body.len()));
        count += messages(family, 0).map_err(invalid)?;
        if count > MESSAGES_MAX {
            return Err(ParseError::Whole(format!("more than {MESSAGES_MAX} metrics, labels and buckets")));
        }
        body = rest;
    }
    Ok(())
}

/// Reads a whole exposition.
pub(crate) fn parse(mut body: &[u8], native: bool) -> Result<Exposition<'static>, ParseError> {
    check_size(body)?;
    let mut exposition = Exposition::default();
    while !body.is_empty() {
        let family = wire::MetricFamily::decode_length_delimited(&mut body)
            .map_err(|error| ParseError::Whole(format!("metric family {}: {error}", exposition.families.len() + 1)))?;
        read_family(family, native, &mut exposition);
    }
    Ok(exposition)
}

fn read_family(family: wire::MetricFamily, native: bool, exposition: &mut Exposition<'static>) {
    let kind = match family.kind {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        2 => Kind::Summary,
        4 => Kind::Histogram,
        5 => Kind::GaugeHistogram,
        _ => Kind::Unknown,
    };
    let mut series =
        Series { name: family.name.clone(), index: exposition.families.len(), samples: &mut exposition.samples };
    exposition.families.push(Family {
        name: Cow::Owned(family.name),
        kind,
        help: Cow::Owned(family.help),
        unit: Cow::Owned(family.unit),
    });
    for metric in &family.metric {
        if let Some(value) = metric.gauge.or(metric.untyped) {
            series.push(metric, "", None, value.value, 0);
        }
        if let Some(counter) = &metric.counter {
            series.push(metric, "", None, counter.value, millis(counter.created));
            series.exemplars(counter.exemplar.as_ref());
        }
        if let Some(summary) = &metric.summary {
            series.summary(metric, summary);
        }
        if let Some(histogram) = &metric.histogram {
            if native && is_native(histogram) {
                series.native(metric, histogram, kind);
            } else {
                series.classic(metric, histogram, kind);
            }
        }
    }
}

/// The samples of one family.
struct Series<'s> {
    name: String,
    index: usize,
    samples: &'s mut Vec<Sample<'static>>,
}

impl Series<'_> {
    fn push(&mut self, metric: &wire::Metric, suffix: &str, extra: Option<(&str, String)>, value: f64, start: i64) {
        let value = if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0001) } else { value };
        self.push_value(metric, suffix, extra, Value::Float(value), start);
    }

    fn push_value(
        &mut self,
        metric: &wire::Metric,
        suffix: &str,
        extra: Option<(&str, String)>,
        value: Value,
        start: i64,
    ) {
        let mut text = String::from("{");
        quote(&mut text, &format!("{}{suffix}", self.name));
        write_labels(&mut text, &metric.label, true);
        if let Some((name, value)) = extra {
            text.push(',');
            text.push_str(name);
            text.push('=');
            quote(&mut text, &value);
        }
        text.push('}');
        self.samples.push(Sample {
            series: Cow::Owned(text),
            family: self.index,
            value,
            timestamp: (metric.timestamp_ms != 0).then_some(metric.timestamp_ms),
            start,
            exemplars: Vec::new(),
        });
    }

    /// Gives the sample before its exemplars.
    fn exemplars<'e>(&mut self, exemplars: impl IntoIterator<Item = &'e wire::Exemplar>) {
        let Some(sample) = self.samples.last_mut() else { return };
        sample.exemplars.extend(exemplars.into_iter().map(|exemplar| {
            let mut labels = String::from("{");
            write_labels(&mut labels, &exemplar.label, false);
            labels.push('}');
            let timestamp = exemplar.timestamp.map(|timestamp| millis(Some(timestamp)));
            Exemplar { labels: Cow::Owned(labels), value: exemplar.value, timestamp }
        }));
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
    fn summary(&mut self, metric: &wire::Metric, summary: &wire::Summary) {
        let start = millis(summary.created);
        for quantile in &summary.quantile {
            self.push(metric, "", Some(("quantile", bound(quantile.quantile))), quantile.value, start);
        }
        self.push(metric, "_sum", None, summary.sum, start);
        self.push(metric, "_count", None, summary.count as f64, start);
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
    fn classic(&mut self, metric: &wire::Metric, histogram: &wire::Histogram, kind: Kind) {
        let start = millis(histogram.created);
        let count = if histogram.count_float > 0.0 { histogram.count_float } else { histogram.count as f64 };
        let mut has_infinity = false;
        for bucket in &histogram.bucket {
            has_infinity |= bucket.upper_bound == f64::INFINITY;
            let count = if bucket.count_float > 0.0 { bucket.count_float } else { bucket.count as f64 };
            self.push(metric, "_bucket", Some(("le", bound(bucket.upper_bound))), count, start);
            self.exemplars(bucket.exemplar.as_ref());
        }
        if !has_infinity {
            self.push(metric, "_bucket", Some(("le", "+Inf".into())), count, start);
        }
        let is_gauge = kind == Kind::GaugeHistogram;
        self.push(metric, if is_gauge { "_gsum" } else { "_sum" }, None, histogram.sum, start);
        self.push(metric, if is_gauge { "_gcount" } else { "_count" }, None, count, start);
    }

    fn native(&mut self, metric: &wire::Metric, histogram: &wire::Histogram, kind: Kind) {
        let start = millis(histogram.created);
        let is_float = histogram.count_float > 0.0 || histogram.zero_count_float > 0.0;
        let value = NativeHistogram {
            count: Some(if is_float { Count::Float(histogram.count_float) } else { Count::Int(histogram.count) }),
            sum: histogram.sum,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: Some(if is_float {
                ZeroCount::Float(histogram.zero_count_float)
            } else {
                ZeroCount::Int(histogram.zero_count)
            }),
            negative_spans: spans(&histogram.negative_span),
            negative_deltas: histogram.negative_delta.clone(),
            negative_counts: histogram.negative_count.clone(),
            positive_spans: spans(&histogram.positive_span),
            positive_deltas: histogram.positive_delta.clone(),
            positive_counts: histogram.positive_count.clone(),
            reset_hint: if kind == Kind::GaugeHistogram { 3 } else { 0 },
            timestamp: 0,
            custom_values: Vec::new(),
            start_timestamp: start,
        };
        self.push_value(metric, "", None, Value::Histogram(Box::new(value)), start);
        let of_buckets = histogram.bucket.iter().filter_map(|bucket| bucket.exemplar.as_ref());
        self.exemplars(histogram.exemplars.iter().chain(of_buckets));
    }
}

/// Targets mark an empty native histogram by a span without length.
fn is_native(histogram: &wire::Histogram) -> bool {
    !histogram.positive_span.is_empty()
        || !histogram.negative_span.is_empty()
        || histogram.zero_count > 0
        || histogram.zero_threshold > 0.0
        || histogram.zero_count_float > 0.0
}

fn spans(spans: &[BucketSpan]) -> Vec<BucketSpan> {
    spans.iter().filter(|span| span.length > 0).copied().collect()
}

fn write_labels(text: &mut String, labels: &[wire::LabelPair], mut comma: bool) {
    for label in labels {
        if comma {
            text.push(',');
        }
        comma = true;
        quote(text, &label.name);
        text.push('=');
        quote(text, &label.value);
    }
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
    text.push('"');
}

fn millis(timestamp: Option<wire::Timestamp>) -> i64 {
    timestamp.map_or(0, |at| at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos / 1_000_000)))
}
