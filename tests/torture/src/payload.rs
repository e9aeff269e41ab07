//! Export requests whose whole content follows from a seed and a number, so that what comes back can be compared with what
//! was sent without keeping it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::json;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
    number_data_point,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::random::hash;

/// The time of the first record where nothing else is said: 14 November 2023.
pub(crate) const TIME_BASE: u64 = 1_700_000_000_000_000_000;

/// Nanoseconds from one request to the next: more than the millisecond that PromQL counts in.
pub(crate) const TIME_STEP: u64 = 10_000_000;

/// What stands in a line where a record has nothing.
pub(crate) const NOTHING: &str = "-";

/// The service that everything comes from.
pub(crate) const SERVICE: &str = "torture";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Signal {
    Logs,
    Traces,
    Metrics,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// The path of the method of gRPC.
    pub(crate) fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// The SQL table.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "spans",
            Self::Metrics => "metrics",
        }
    }
}

/// All requests of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) seed: u64,
    /// Records of one request.
    pub(crate) records: u64,
    /// Bytes of text that each log record has in addition.
    pub(crate) padding: u64,
    /// The time of the first record.
    pub(crate) base: u64,
}

/// A body with its headers.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: &'static str,
    pub(crate) is_gzip: bool,
}

impl Stream {
    pub(crate) fn signal(&self, number: u64) -> Signal {
        Signal::ALL[usize::try_from(hash(self.seed ^ 1, number) % 3).unwrap_or(0)]
    }

    /// `t.id` of a record: the seed, then the request and the place in it.
    pub(crate) fn id(&self, number: u64, index: u64) -> u128 {
        (u128::from(self.seed) << 64) | u128::from((number << 12) | index)
    }

    /// The request and the place that an ID names; `None` when it is none of this run.
    pub(crate) fn place(&self, id: &str) -> Option<(u64, u64)> {
        let id = u128::from_str_radix(id, 16).ok()?;
        let low = u64::try_from(id & u128::from(u64::MAX)).ok()?;
        let place = (low >> 12, low & 0xfff);
        (id >> 64 == u128::from(self.seed) && place.1 < self.records).then_some(place)
    }

    pub(crate) fn time(&self, number: u64, index: u64) -> u64 {
        self.base + number * TIME_STEP + index
    }

    fn chance(&self, number: u64, index: u64) -> u64 {
        hash(self.seed, (number << 12) | index)
    }

    /// What each way of reading shows of a record, in one line, so that one that came back changed is found out.
    pub(crate) fn line(&self, number: u64, index: u64) -> String {
        let (time, trace_id) = (self.time(number, index), self.trace_id(number));
        match self.signal(number) {
            Signal::Logs => {
                let severity = self.severity(number, index);
                format!("{time} {trace_id:032x} {severity} {}", self.log_body(number, index))
            }
            Signal::Traces => {
                let (id, duration) = (self.span_id(number, index), self.duration(number, index));
                let parent = match self.parent_span_id(number, index) {
                    Some(parent) => format!("{parent:016x}"),
                    None => NOTHING.to_owned(),
                };
                format!("{time} {trace_id:032x} {id:016x} {parent} {duration} {}", self.span_name(number, index))
            }
            Signal::Metrics => format!("{time} {} {:?}", metric_name(index), self.value(number, index)),
        }
    }

    fn log_body(&self, number: u64, index: u64) -> String {
        const WORDS: [&str; 8] = ["payment", "declined", "timeout", "connected", "pool", "exhausted", "retry", "order"];
        let mut chance = self.chance(number, index);
        let mut body = format!("request {number} record {index} {chance:016x}");
        let words = 4 + self.padding / 8;
        for _ in 0..words {
            body.push(' ');
            body.push_str(WORDS[usize::try_from(chance >> 61).unwrap_or(0)]);
            chance = hash(chance, 7);
        }
        body
    }

    pub(crate) fn trace_id(&self, number: u64) -> u128 {
        (u128::from(hash(self.seed ^ 2, number)) << 64) | u128::from(number + 1)
    }

    fn span_id(&self, number: u64, index: u64) -> u64 {
        self.chance(number, index) | 1
    }

    /// The first span of a request is the parent of the others.
    fn parent_span_id(&self, number: u64, index: u64) -> Option<u64> {
        (index > 0).then(|| self.span_id(number, 0))
    }

    fn span_name(&self, number: u64, index: u64) -> String {
        let chance = self.chance(number, index);
        format!("op-{} {chance:016x}", chance % 50)
    }

    /// Nanoseconds that a span lasts.
    fn duration(&self, number: u64, index: u64) -> u64 {
        1 + self.chance(number, index) % 1_000_000_000
    }

    fn severity(&self, number: u64, index: u64) -> u64 {
        1 + self.chance(number, index) % 24
    }

    /// Of a data point: a number that a float holds exactly.
    fn value(&self, number: u64, index: u64) -> f64 {
        (self.chance(number, index) >> 12) as f64
    }

    fn attributes(&self, number: u64, index: u64) -> Vec<KeyValue> {
        vec![text("t.id", &format!("{:032x}", self.id(number, index)))]
    }

    /// The encoded request. JSON and gzip take turns with protobuf and plain bytes.
    pub(crate) fn body(&self, number: u64) -> Body {
        let choice = hash(self.seed ^ 3, number);
        let is_json = self.signal(number) == Signal::Logs && choice.is_multiple_of(4);
        let (bytes, content_type) = match is_json {
            true => (self.logs_json(number), "application/json"),
            false => (self.protobuf(number), "application/x-protobuf"),
        };
        Body { content_type, ..self.packed(number, bytes) }
    }

    /// The same request for gRPC, which speaks protobuf only.
    pub(crate) fn grpc_body(&self, number: u64) -> Body {
        self.packed(number, self.protobuf(number))
    }

    fn packed(&self, number: u64, bytes: Vec<u8>) -> Body {
        let is_gzip = (hash(self.seed ^ 3, number) >> 8).is_multiple_of(4);
        let bytes = if is_gzip { gzip(&bytes) } else { bytes };
        Body { bytes, content_type: "application/x-protobuf", is_gzip }
    }

    fn protobuf(&self, number: u64) -> Vec<u8> {
        let resource = Some(Resource { attributes: vec![text("service.name", SERVICE)], ..Resource::default() });
        match self.signal(number) {
            Signal::Logs => {
                let log_records = (0..self.records).map(|index| self.log(number, index)).collect();
                let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
                let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
                ExportLogsServiceRequest { resource_logs }.encode_to_vec()
            }
            Signal::Traces => {
                let spans = (0..self.records).map(|index| self.span(number, index)).collect();
                let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
                let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
                ExportTraceServiceRequest { resource_spans }.encode_to_vec()
            }
            Signal::Metrics => {
                let scope_metrics = vec![ScopeMetrics { metrics: self.metrics(number), ..ScopeMetrics::default() }];
                let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
                ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
            }
        }
    }

    fn log(&self, number: u64, index: u64) -> LogRecord {
        LogRecord {
            time_unix_nano: self.time(number, index),
            severity_number: i32::try_from(self.severity(number, index)).unwrap_or(0),
            body: value(&self.log_body(number, index)),
            attributes: self.attributes(number, index),
            trace_id: self.trace_id(number).to_be_bytes().to_vec(),
            ..LogRecord::default()
        }
    }

    fn logs_json(&self, number: u64) -> Vec<u8> {
        let trace_id = format!("{:032x}", self.trace_id(number));
        let record = |index: u64| {
            json!({
                "timeUnixNano": self.time(number, index).to_string(),
                "severityNumber": self.severity(number, index),
                "body": {"stringValue": self.log_body(number, index)},
                "traceId": trace_id,
                "attributes": [{"key": "t.id", "value": {"stringValue": format!("{:032x}", self.id(number, index))}}],
            })
        };
        let records: Vec<_> = (0..self.records).map(record).collect();
        let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": SERVICE}}]});
        json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})
            .to_string()
            .into_bytes()
    }

    fn span(&self, number: u64, index: u64) -> Span {
        let start = self.time(number, index);
        Span {
            trace_id: self.trace_id(number).to_be_bytes().to_vec(),
            span_id: self.span_id(number, index).to_be_bytes().to_vec(),
            parent_span_id: self.parent_span_id(number, index).map_or_else(Vec::new, |id| id.to_be_bytes().to_vec()),
            name: self.span_name(number, index),
            kind: 2,
            start_time_unix_nano: start,
            end_time_unix_nano: start + self.duration(number, index),
            attributes: self.attributes(number, index),
            status: Some(Status { code: 1, ..Status::default() }),
            ..Span::default()
        }
    }

    /// Gauges, sums and histograms in turn; the value of a histogram is its sum.
    fn metrics(&self, number: u64) -> Vec<Metric> {
        (0..self.records).map(|index| self.metric(number, index)).collect()
    }

    fn metric(&self, number: u64, index: u64) -> Metric {
        let (time, value) = (self.time(number, index), self.value(number, index));
        let point = NumberDataPoint {
            attributes: self.attributes(number, index),
            start_time_unix_nano: self.base,
            time_unix_nano: time,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        };
        let data = match index % 4 {
            0 => metric::Data::Sum(Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true }),
            1 => {
                let point = HistogramDataPoint {
                    attributes: self.attributes(number, index),
                    start_time_unix_nano: self.base,
                    time_unix_nano: time,
                    count: 3,
                    sum: Some(value),
                    bucket_counts: vec![1, 2],
                    explicit_bounds: vec![0.5],
                    ..HistogramDataPoint::default()
                };
                metric::Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 2 })
            }
            _ => metric::Data::Gauge(Gauge { data_points: vec![point] }),
        };
        Metric { name: metric_name(index).into(), data: Some(data), ..Metric::default() }
    }
}

fn metric_name(index: u64) -> &'static str {
    match index % 4 {
        0 => "t.sum",
        1 => "t.histogram",
        _ => "t.gauge",
    }
}

fn value(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text.into())) })
}

fn text(key: &str, text: &str) -> KeyValue {
    KeyValue { key: key.into(), value: value(text), ..KeyValue::default() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Into memory: it cannot fail.
    drop(encoder.write_all(bytes));
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_from_seed_and_number() {
        let stream = Stream { seed: 9, records: 4, padding: 16, base: TIME_BASE };
        for number in 0..40 {
            let (one, two) = (stream.body(number), stream.body(number));
            assert_eq!(one.bytes, two.bytes, "a resent request has the same bytes");
            let other = Stream { seed: 10, ..stream }.body(number);
            assert_ne!(one.bytes, other.bytes);
            for index in 0..4 {
                let id = format!("{:032x}", stream.id(number, index));
                assert_eq!(stream.place(&id), Some((number, index)));
                assert_eq!(Stream { seed: 10, ..stream }.place(&id), None);
            }
        }
        let all: Vec<Signal> = (0..40).map(|number| stream.signal(number)).collect();
        assert!(Signal::ALL.iter().all(|signal| all.contains(signal)));
    }
}
