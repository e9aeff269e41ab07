//! OTLP, against prost as the model: what prost can decode must be taken, and every record of it accepted or refused.

use prost::Message;
use trivium_ingest::decode::{DecodeContext, DecodeError, decode, json_to_protobuf};
use trivium_model::{SignalKind, UnixNanos, WireFormat};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point, number_data_point, summary_data_point,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::span::{Event, Link};
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

const NOW: u64 = 1_700_000_000_000_000_000;

pub(super) const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "\"NaN\"",
    "\\ud800",
    "\\u0000",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    "body",
    "stringValue",
    "arrayValue",
    "kvlistValue",
    "values",
    "intValue",
    "bytesValue",
    "doubleValue",
    "attributes",
    "key",
    "value",
    "timeUnixNano",
    "traceId",
    "severityNumber",
    "\"12\"",
    "1e30",
    "-0",
    "resource_logs",
];

pub(super) fn context() -> DecodeContext {
    DecodeContext { received_at: UnixNanos(NOW as i64), oldest_admitted: UnixNanos::MIN }
}

fn value(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

pub(super) fn attributes() -> Vec<KeyValue> {
    let of = |key: &str, inner: Value| KeyValue { key: key.into(), value: value(inner), ..KeyValue::default() };
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(-1)) }, AnyValue::default()] };
    let map = KeyValueList { values: vec![of("inner", Value::StringValue("ä".into()))] };
    vec![
        of("service.name", Value::StringValue("cart".into())),
        of("bool", Value::BoolValue(true)),
        of("int", Value::IntValue(i64::MAX)),
        of("double", Value::DoubleValue(0.5)),
        of("bytes", Value::BytesValue(vec![0, 255])),
        of("list", Value::ArrayValue(list)),
        of("map", Value::KvlistValue(map)),
    ]
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: attributes(), ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "lib".into(), version: "1".into(), ..InstrumentationScope::default() })
}

pub(super) fn log_request() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: NOW,
        observed_time_unix_nano: NOW + 5,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: value(Value::StringValue("order 42 failed".into())),
        attributes: attributes(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        flags: 1,
        event_name: "order.failed".into(),
        ..LogRecord::default()
    };
    let other = LogRecord { body: value(Value::IntValue(7)), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records: vec![record, other], schema_url: "u".into() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource(), scope_logs, schema_url: "v".into() }],
    }
}

pub(super) fn log_seeds() -> Vec<Vec<u8>> {
    vec![log_request().encode_to_vec(), Vec::new()]
}

pub(super) fn trace_seeds() -> Vec<Vec<u8>> {
    let event =
        Event { time_unix_nano: NOW, name: "exception".into(), attributes: attributes(), dropped_attributes_count: 1 };
    let link = Link { trace_id: vec![3; 16], span_id: vec![4; 8], trace_state: "a=b".into(), ..Link::default() };
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        name: "GET /".into(),
        kind: 2,
        start_time_unix_nano: NOW,
        end_time_unix_nano: NOW + 1_000,
        attributes: attributes(),
        events: vec![event.clone(), event],
        links: vec![link],
        status: Some(Status { message: "no".into(), code: 2 }),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { scope: scope(), spans: vec![span.clone(), span], schema_url: String::new() }];
    let resource_spans = vec![ResourceSpans { resource: resource(), scope_spans, schema_url: String::new() }];
    vec![ExportTraceServiceRequest { resource_spans }.encode_to_vec()]
}

pub(super) fn metric_seeds() -> Vec<Vec<u8>> {
    let exemplar = Exemplar {
        time_unix_nano: NOW,
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        value: Some(exemplar::Value::AsInt(3)),
        filtered_attributes: attributes(),
    };
    let number = NumberDataPoint {
        time_unix_nano: NOW,
        start_time_unix_nano: NOW - 5,
        attributes: attributes(),
        exemplars: vec![exemplar.clone()],
        value: Some(number_data_point::Value::AsDouble(0.5)),
        ..NumberDataPoint::default()
    };
    let histogram = HistogramDataPoint {
        time_unix_nano: NOW,
        count: 3,
        sum: Some(4.0),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![1.0],
        exemplars: vec![exemplar],
        min: Some(0.5),
        max: Some(3.0),
        ..HistogramDataPoint::default()
    };
    let buckets = |offset| exponential_histogram_data_point::Buckets { offset, bucket_counts: vec![1, 0, 2] };
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano: NOW,
        count: 7,
        zero_count: 1,
        scale: 3,
        positive: Some(buckets(-2)),
        negative: Some(buckets(5)),
        ..ExponentialHistogramDataPoint::default()
    };
    let quantile = summary_data_point::ValueAtQuantile { quantile: 0.5, value: 2.0 };
    let summary = SummaryDataPoint {
        time_unix_nano: NOW,
        count: 1,
        sum: 2.0,
        quantile_values: vec![quantile],
        ..SummaryDataPoint::default()
    };
    let all = [
        Data::Gauge(Gauge { data_points: vec![number.clone(), number.clone()] }),
        Data::Sum(Sum { data_points: vec![number], aggregation_temporality: 2, is_monotonic: true }),
        Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 }),
        Data::ExponentialHistogram(ExponentialHistogram { data_points: vec![exponential], aggregation_temporality: 2 }),
        Data::Summary(Summary { data_points: vec![summary] }),
    ];
    let metric = |data| Metric {
        name: "m".into(),
        unit: "s".into(),
        description: "d".into(),
        data: Some(data),
        ..Metric::default()
    };
    let scope_metrics =
        vec![ScopeMetrics { scope: scope(), metrics: all.map(metric).to_vec(), schema_url: String::new() }];
    let resource_metrics = vec![ResourceMetrics { resource: resource(), scope_metrics, schema_url: String::new() }];
    vec![ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()]
}

pub(super) fn json_seeds() -> Vec<Vec<u8>> {
    let record = r#"{"timeUnixNano":"1700000000000000000","severityNumber":9,"body":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"5"},{"doubleValue":"NaN"},{"bytesValue":"AP8="}]}}}]}},"traceId":"0102030405060708090a0b0c0d0e0f10","attributes":[{"key":"k","value":{"stringValue":"\u00e4\ud83d\ude00"}}],"unknown":[{}]}"#;
    vec![format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#).into_bytes(), b"{}".to_vec()]
}

/// Decodes; how many records were accepted and refused, and what an error must not be.
fn told(signal: SignalKind, input: &[u8]) -> Result<Option<u64>, String> {
    match decode(signal, WireFormat::Otlp, input, &context()) {
        Ok(decoded) => {
            let rows = decoded.batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            if rows != decoded.accepted {
                return Err(format!("{rows} rows, {} accepted", decoded.accepted));
            }
            Ok(Some(decoded.accepted + decoded.rejected.iter().map(|rejected| rejected.count).sum::<u64>()))
        }
        Err(DecodeError::Columns(error)) => Err(format!("the columns: {error}")),
        Err(_) => Ok(None),
    }
}

fn agree(told: Option<u64>, model: Option<usize>) -> Result<bool, String> {
    match (told, model) {
        (Some(told), Some(model)) if told != model as u64 => Err(format!("{told} records are told of {model}")),
        (None, Some(model)) => Err(format!("prost reads {model} records, we none")),
        (told, _) => Ok(told.is_some()),
    }
}

pub(super) fn logs(input: &[u8]) -> Result<bool, String> {
    let model = ExportLogsServiceRequest::decode(input).ok();
    let scopes = |request: &ExportLogsServiceRequest| -> usize {
        request
            .resource_logs
            .iter()
            .flat_map(|resource| &resource.scope_logs)
            .map(|scope| scope.log_records.len())
            .sum()
    };
    agree(told(SignalKind::Logs, input)?, model.as_ref().map(scopes))
}

pub(super) fn traces(input: &[u8]) -> Result<bool, String> {
    let model = ExportTraceServiceRequest::decode(input).ok();
    let scopes = |request: &ExportTraceServiceRequest| -> usize {
        request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
    };
    agree(told(SignalKind::Traces, input)?, model.as_ref().map(scopes))
}

/// prost merges data that a metric has twice, we take the last as the specification of a oneof of messages leaves open; so that
/// the numbers of points are not compared.
pub(super) fn metrics(input: &[u8]) -> Result<bool, String> {
    let is_read = told(SignalKind::Metrics, input)?.is_some();
    if !is_read && ExportMetricsServiceRequest::decode(input).is_ok() {
        return Err("prost reads it, we do not".into());
    }
    Ok(is_read)
}

/// What is read as JSON is a request.
pub(super) fn json(input: &[u8]) -> Result<bool, String> {
    let mut is_read = false;
    for signal in SignalKind::ALL {
        if let Ok(message) = json_to_protobuf(signal, input) {
            is_read = true;
            if told(signal, &message)?.is_none() {
                return Err(format!("JSON of {signal} became bytes that are no request"));
            }
        }
    }
    Ok(is_read)
}
