//! Requests, well-formed and not.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress};
use prost::Message;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, KeyValue};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, number_data_point,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// 2023-11-14T22:13:20Z: the time of every record that has no reason for another.
pub(crate) const NOW: u64 = 1_700_000_000_000_000_000;

pub(crate) const CUMULATIVE: i32 = 2;
pub(crate) const DELTA: i32 = 1;

pub(crate) fn string(text: impl Into<String>) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.into())) }
}

pub(crate) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(crate) fn text_attribute(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![text_attribute("service.name", service)], ..Resource::default() })
}

pub(crate) fn log(body: impl Into<String>) -> LogRecord {
    LogRecord { time_unix_nano: NOW, body: Some(string(body)), ..LogRecord::default() }
}

pub(crate) fn logs(service: &str, records: Vec<LogRecord>) -> Vec<u8> {
    let scope = ScopeLogs { log_records: records, ..ScopeLogs::default() };
    let resource_logs =
        vec![ResourceLogs { resource: resource(service), scope_logs: vec![scope], ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

/// The record that is sent after each family.
pub(crate) fn good_log(service: &str) -> Vec<u8> {
    logs(service, vec![log("good")])
}

pub(crate) fn span(trace: u8, id: u8) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        name: "hostile".into(),
        kind: 1,
        start_time_unix_nano: NOW,
        end_time_unix_nano: NOW + 1_000,
        ..Span::default()
    }
}

pub(crate) fn spans(service: &str, spans: Vec<Span>) -> Vec<u8> {
    let scope = ScopeSpans { spans, ..ScopeSpans::default() };
    let resource_spans =
        vec![ResourceSpans { resource: resource(service), scope_spans: vec![scope], ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

pub(crate) fn metrics(service: &str, metrics: Vec<Metric>) -> Vec<u8> {
    let scope = ScopeMetrics { metrics, ..ScopeMetrics::default() };
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(service), scope_metrics: vec![scope], ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

pub(crate) fn metric(name: impl Into<String>, data: Data) -> Metric {
    Metric { name: name.into(), data: Some(data), ..Metric::default() }
}

pub(crate) fn point(value: f64) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: NOW,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

pub(crate) fn gauge(name: impl Into<String>, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, Data::Gauge(Gauge { data_points }))
}

pub(crate) fn sum(name: &str, temporality: i32, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic: true }))
}

/// A histogram of one point with these buckets.
pub(crate) fn histogram(bounds: Vec<f64>, counts: Vec<u64>, count: u64) -> Metric {
    let point = HistogramDataPoint {
        time_unix_nano: NOW,
        count,
        sum: Some(1.0),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    };
    metric("hostile.histogram", Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: DELTA }))
}

pub(crate) fn exponential(point: ExponentialHistogramDataPoint) -> Metric {
    let point = ExponentialHistogramDataPoint { time_unix_nano: NOW, ..point };
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: DELTA };
    metric("hostile.exponential", Data::ExponentialHistogram(data))
}

pub(crate) fn summary(point: SummaryDataPoint) -> Metric {
    let point = SummaryDataPoint { time_unix_nano: NOW, ..point };
    metric("hostile.summary", Data::Summary(Summary { data_points: vec![point] }))
}

/// A field of bytes, as protobuf writes it.
pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(bytes.len() + 12);
    prost::encoding::encode_varint(number << 3 | 2, &mut output);
    prost::encoding::encode_varint(bytes.len() as u64, &mut output);
    output.extend_from_slice(bytes);
    output
}

/// A request whose one resource is a service's and whose one scope holds these messages, for all signals alike.
pub(crate) fn raw_request(service: &str, records: &[Vec<u8>]) -> Vec<u8> {
    let resource = resource(service).map(|resource| field(1, &resource.encode_to_vec())).unwrap_or_default();
    let scope: Vec<u8> = records.iter().flat_map(|record| field(2, record)).collect();
    field(1, &[resource, field(2, &scope)].concat())
}

/// The fields of a log record's time.
pub(crate) fn raw_time() -> Vec<u8> {
    [&[1 << 3 | 1][..], &NOW.to_le_bytes()].concat()
}

/// An `AnyValue` that is a list in a list …, so many levels deep, with text inside.
pub(crate) fn nested_value(depth: usize, is_kvlist: bool) -> Vec<u8> {
    let mut value = field(1, b"deep");
    for _ in 0..depth {
        value = if is_kvlist {
            field(6, &field(1, &[field(1, b"k"), field(2, &value)].concat()))
        } else {
            field(5, &field(1, &value))
        };
    }
    value
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all")
}

/// Gzip of so many MiB of zeroes, made without having them: a block of one MiB that ends at a byte boundary and refers to
/// nothing before it may be written as often as one likes.
pub(crate) fn gzip_bomb(mib: usize) -> Vec<u8> {
    let mut deflater = Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(1 << 16);
    deflater.compress_vec(&vec![0; 1 << 20], &mut block, FlushCompress::Full).expect("it fits");
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // No last block and no trailer: nobody may come so far.
    [&head[..], &block.repeat(mib)].concat()
}
