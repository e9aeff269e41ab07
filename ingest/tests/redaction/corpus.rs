//! The planted secrets, and requests of every kind that have them at every place.

use prost::Message;
use trivium_ingest::PayloadFormat;
use trivium_model::{SignalKind, WireFormat};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value as Any;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint, exemplar,
    metric, number_data_point,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use trivium_proto::prometheus::{v1, v2};

pub(crate) const NOW: i64 = 1_700_000_000_000_000_000;

pub(crate) const RULES: &str = "hash_key_file: redaction.key
rules:
- {name: credentials, keys: ['*password*'], action: drop}
- {name: mail, pattern: email, action: hash}
- {name: card, pattern: credit_card, action: mask, keep_last: 4}
- {name: jwt, pattern: jwt, action: drop}
- {name: auth, pattern: authorization, action: replace}
- {name: aws, pattern: aws_access_key, action: drop}
- {name: key, pattern: private_key, action: drop}
- {name: iban, pattern: iban, action: mask, keep_last: 2}
- {name: badge, regex: 'BADGE-(?P<secret>[0-9a-f]+)', action: drop}
";

pub(crate) const SECRETS: [&str; 9] = [
    "hunter2planted77",
    "alice.planted@example.com",
    "4111111111111111",
    "eyJhbGciOiJIUzI1NiJ9.eyJwbGFudGVkIjoxMjM0fQ.dozjgNryP4J3jVmNHl0w5N",
    "planted0Token1234567890ab",
    "AKIAIOSFODNN7EXAMPLE",
    "MIIEplantedkeymaterial0123456789abcdef",
    "DE89370400440532013000",
    "778899aabbccddee",
];

const PASSWORD: &str = SECRETS[0];

/// Everything but the password, which only its key betrays.
fn everything() -> String {
    let [_, mail, card, jwt, token, aws, key, iban, badge] = SECRETS;
    format!(
        "the order was placed by {mail} with {card} or {iban}, jwt {jwt}, Authorization: Bearer {token}, {aws}, \
         BADGE-{badge} and -----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----"
    )
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text.to_owned())) }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// Attributes with secrets on every level.
fn attributes() -> Vec<KeyValue> {
    let map = Any::KvlistValue(KeyValueList {
        values: vec![pair("Password", text(PASSWORD)), pair("note", text(&everything()))],
    });
    let list = Any::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(map) }, text(&everything())] });
    vec![
        pair("db.password", text(PASSWORD)),
        pair("note", text(&everything())),
        pair("nested", AnyValue { value: Some(list) }),
        pair("service.name", text("shop")),
    ]
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: attributes(), ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: everything(),
        version: everything(),
        attributes: attributes(),
        ..InstrumentationScope::default()
    })
}

fn logs() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: NOW as u64,
        severity_text: everything(),
        body: Some(text(&everything())),
        attributes: attributes(),
        event_name: everything(),
        ..LogRecord::default()
    };
    let map = Any::KvlistValue(KeyValueList { values: attributes() });
    let structured =
        LogRecord { time_unix_nano: NOW as u64, body: Some(AnyValue { value: Some(map) }), ..LogRecord::default() };
    let scope_logs = ScopeLogs { scope: scope(), log_records: vec![record, structured], schema_url: everything() };
    let logs = ResourceLogs { resource: resource(), scope_logs: vec![scope_logs], schema_url: everything() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }
}

/// A request of one record.
pub(crate) fn log_request(note: &str) -> ExportLogsServiceRequest {
    let body = format!("{note}: write to carol@example.com");
    let body = if note == "plain" { note.to_owned() } else { body };
    let record = LogRecord { time_unix_nano: NOW as u64, body: Some(text(&body)), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn logs_json() -> String {
    let everything = everything().replace('\n', "\\n");
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"PASSWORD","value":{{"stringValue":"{PASSWORD}"}}}}]}},
        "scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{NOW}","body":{{"stringValue":"{everything}"}},
        "attributes":[{{"key":"password","value":{{"stringValue":"{PASSWORD}"}}}}]}}]}}]}}]}}"#
    )
}

fn traces_json() -> String {
    let everything = everything().replace('\n', "\\n");
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"password","value":{{"stringValue":"{PASSWORD}"}}}}]}},
        "schemaUrl":"{everything}","scopeSpans":[{{"scope":{{"name":"{everything}"}},"spans":[{{
        "traceId":"07070707070707070707070707070708","spanId":"0909090909090909","name":"{everything}",
        "traceState":"{everything}","startTimeUnixNano":"{NOW}","endTimeUnixNano":"{NOW}",
        "status":{{"code":2,"message":"{everything}"}},
        "attributes":[{{"key":"password","value":{{"kvlistValue":{{"values":[
            {{"key":"note","value":{{"stringValue":"{everything}"}}}}]}}}}}}],
        "events":[{{"name":"{everything}","timeUnixNano":"{NOW}"}}]}}]}}]}}]}}"#
    )
}

fn metrics_json() -> String {
    let everything = everything().replace('\n', "\\n");
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"orders_json","description":"{everything}",
        "unit":"{everything}","sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{
            "timeUnixNano":"{NOW}","asDouble":0.5,
            "attributes":[{{"key":"password","value":{{"stringValue":"{PASSWORD}"}}}},
                {{"key":"note","value":{{"stringValue":"{everything}"}}}}],
            "exemplars":[{{"timeUnixNano":"{NOW}","asDouble":0.5,
                "filteredAttributes":[{{"key":"note","value":{{"stringValue":"{everything}"}}}}]}}]}}]}}}}]}}]}}]}}"#
    )
}

fn traces() -> ExportTraceServiceRequest {
    let event =
        span::Event { name: everything(), attributes: attributes(), time_unix_nano: NOW as u64, ..Default::default() };
    let link = span::Link {
        trace_id: vec![5; 16],
        span_id: vec![6; 8],
        trace_state: everything(),
        attributes: attributes(),
        ..Default::default()
    };
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        name: everything(),
        trace_state: everything(),
        start_time_unix_nano: NOW as u64,
        end_time_unix_nano: NOW as u64 + 1,
        attributes: attributes(),
        events: vec![event],
        links: vec![link],
        status: Some(Status { message: everything(), code: 2 }),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { scope: scope(), spans: vec![span], schema_url: everything() }];
    let spans = ResourceSpans { resource: resource(), scope_spans, schema_url: everything() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

fn metrics() -> ExportMetricsServiceRequest {
    let exemplar = Exemplar {
        filtered_attributes: attributes(),
        time_unix_nano: NOW as u64,
        value: Some(exemplar::Value::AsDouble(0.5)),
        ..Exemplar::default()
    };
    let point = NumberDataPoint {
        time_unix_nano: NOW as u64,
        value: Some(number_data_point::Value::AsDouble(0.5)),
        attributes: attributes(),
        exemplars: vec![exemplar.clone()],
        ..NumberDataPoint::default()
    };
    let data = [metric::Data::Gauge(Gauge { data_points: vec![point] })].into_iter().chain(distributions(&exemplar));
    let metrics = data.map(|data| Metric {
        name: everything(),
        description: everything(),
        unit: everything(),
        metadata: attributes(),
        data: Some(data),
    });
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics: metrics.collect(), schema_url: everything() }];
    let metrics = ResourceMetrics { resource: resource(), scope_metrics, schema_url: everything() };
    ExportMetricsServiceRequest { resource_metrics: vec![metrics] }
}

/// A point of every other kind.
fn distributions(exemplar: &Exemplar) -> [metric::Data; 3] {
    let (time_unix_nano, exemplars) = (NOW as u64, vec![exemplar.clone()]);
    let histogram = HistogramDataPoint {
        time_unix_nano,
        attributes: attributes(),
        exemplars: exemplars.clone(),
        count: 1,
        bucket_counts: vec![1, 0],
        explicit_bounds: vec![1.0],
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano,
        attributes: attributes(),
        exemplars,
        ..ExponentialHistogramDataPoint::default()
    };
    let summary = SummaryDataPoint { time_unix_nano, attributes: attributes(), ..SummaryDataPoint::default() };
    let aggregation_temporality = AggregationTemporality::Cumulative as i32;
    [
        metric::Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality }),
        metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality,
        }),
        metric::Data::Summary(Summary { data_points: vec![summary] }),
    ]
}

fn labels() -> Vec<(String, String)> {
    let everything = everything();
    [("__name__", "orders_total"), ("db_password", PASSWORD), ("job", "shop"), ("note", &everything)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

fn write_v1() -> v1::WriteRequest {
    let labels: Vec<v1::Label> = labels().into_iter().map(|(name, value)| v1::Label { name, value }).collect();
    let timestamp = NOW / 1_000_000;
    let exemplar = v1::Exemplar { labels: labels[1..].to_vec(), value: 0.5, timestamp };
    v1::WriteRequest {
        timeseries: vec![v1::TimeSeries {
            labels,
            samples: vec![v1::Sample { value: 1.5, timestamp }],
            exemplars: vec![exemplar],
            ..v1::TimeSeries::default()
        }],
        metadata: vec![described("orders_total")],
    }
}

/// A help text and a unit of version 1.0, which are remembered beside the samples.
fn described(name: &str) -> v1::MetricMetadata {
    let (help, unit) = (everything(), everything());
    v1::MetricMetadata { metric_type: 1, metric_family_name: name.to_owned(), help, unit }
}

/// A request of version 1.0 with nothing but descriptions, as Prometheus sends every minute.
pub(crate) fn write_descriptions() -> Vec<u8> {
    let metadata = vec![described("orders_total"), described(&everything())];
    v1::WriteRequest { timeseries: Vec::new(), metadata }.encode_to_vec()
}

fn write_v2() -> v2::Request {
    let mut symbols = vec![String::new()];
    symbols.extend(labels().into_iter().flat_map(|(name, value)| [name, value]));
    let timestamp = NOW / 1_000_000;
    let series = v2::TimeSeries {
        labels_refs: (1..9).collect(),
        samples: vec![v2::Sample { value: 2.5, timestamp, ..v2::Sample::default() }],
        exemplars: vec![v2::Exemplar { labels_refs: (3..9).collect(), value: 0.5, timestamp }],
        metadata: Some(v2::Metadata { metric_type: 1, help_ref: 8, unit_ref: 8 }),
        ..v2::TimeSeries::default()
    };
    v2::Request { symbols, timeseries: vec![series] }
}

/// The corpus in every encoding.
pub(crate) fn requests() -> Vec<(SignalKind, WireFormat, PayloadFormat, Vec<u8>)> {
    use PayloadFormat::{Json, Protobuf};
    use SignalKind::{Logs, Metrics, Traces};
    vec![
        (Logs, WireFormat::Otlp, Protobuf, logs().encode_to_vec()),
        (Logs, WireFormat::Otlp, Json, logs_json().into_bytes()),
        (Traces, WireFormat::Otlp, Protobuf, traces().encode_to_vec()),
        (Traces, WireFormat::Otlp, Json, traces_json().into_bytes()),
        (Metrics, WireFormat::Otlp, Protobuf, metrics().encode_to_vec()),
        (Metrics, WireFormat::Otlp, Json, metrics_json().into_bytes()),
        (Metrics, WireFormat::RemoteWrite1, Protobuf, write_v1().encode_to_vec()),
        (Metrics, WireFormat::RemoteWrite2, Protobuf, write_v2().encode_to_vec()),
    ]
}
