//! Random requests: every field that holds a text, with secrets here and there.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value as Any;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        3 => Just(String::new()),
        8 => "[a-z ]{1,12}",
        2 => "\\PC{0,10}",
        1 => Just("write to bob@example.com, or not".to_owned()),
        1 => Just("paid with 4111 1111 1111 1111".to_owned()),
        1 => Just("badge B123".to_owned()),
        1 => Just("@@ 1111 1111 1111 1112 B12".to_owned()),
    ]
    .boxed()
}

fn key() -> BoxedStrategy<String> {
    let known = prop_oneof![Just("password"), Just("Auth.Token.id"), Just("USER"), Just("service.name"), Just("a")];
    prop_oneof![1 => known.prop_map(str::to_owned), 3 => text()].boxed()
}

fn any_value() -> BoxedStrategy<AnyValue> {
    let leaf = prop_oneof![
        6 => text().prop_map(|text| Some(Any::StringValue(text))),
        1 => Just(None),
        1 => any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        1 => any::<i64>().prop_map(|value| Some(Any::IntValue(value))),
        1 => Just(Some(Any::IntValue(5_555_555_555_554_444))),
        1 => any::<i32>().prop_map(|value| Some(Any::DoubleValue(f64::from(value)))),
        1 => text().prop_map(|text| Some(Any::BytesValue(text.into_bytes()))),
    ];
    leaf.prop_map(|value| AnyValue { value })
        .prop_recursive(4, 12, 3, |inner| {
            let list = vec(inner.clone(), 0..3).prop_map(|values| Any::ArrayValue(ArrayValue { values }));
            let pairs = vec(pair(inner), 0..3).prop_map(|values| Any::KvlistValue(KeyValueList { values }));
            prop_oneof![list, pairs].prop_map(|value| AnyValue { value: Some(value) })
        })
        .boxed()
}

fn pair(value: impl Strategy<Value = AnyValue> + 'static) -> BoxedStrategy<KeyValue> {
    (key(), of(value)).prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() }).boxed()
}

fn attributes() -> BoxedStrategy<Vec<KeyValue>> {
    vec(pair(any_value()), 0..3).boxed()
}

fn resource() -> BoxedStrategy<Option<Resource>> {
    of(attributes().prop_map(|attributes| Resource { attributes, ..Resource::default() })).boxed()
}

fn scope() -> BoxedStrategy<Option<InstrumentationScope>> {
    let fields = (text(), text(), attributes());
    let scope = fields.prop_map(|(name, version, attributes)| InstrumentationScope {
        name,
        version,
        attributes,
        ..InstrumentationScope::default()
    });
    of(scope).boxed()
}

pub(crate) fn logs() -> BoxedStrategy<ExportLogsServiceRequest> {
    let record = (any::<u64>(), text(), of(any_value()), attributes(), text()).prop_map(
        |(time_unix_nano, severity_text, body, attributes, event_name)| LogRecord {
            time_unix_nano,
            severity_text,
            body,
            attributes,
            event_name,
            trace_id: vec![7; 16],
            ..LogRecord::default()
        },
    );
    let scope_logs = (scope(), vec(record, 0..3), text()).prop_map(|(scope, log_records, schema_url)| ScopeLogs {
        scope,
        log_records,
        schema_url,
    });
    let resource_logs = (resource(), vec(scope_logs, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs }).boxed()
}

pub(crate) fn traces() -> BoxedStrategy<ExportTraceServiceRequest> {
    let event = (text(), attributes()).prop_map(|(name, attributes)| span::Event {
        name,
        attributes,
        ..span::Event::default()
    });
    let link = (text(), attributes()).prop_map(|(trace_state, attributes)| span::Link {
        trace_state,
        attributes,
        ..span::Link::default()
    });
    let status = text().prop_map(|message| Status { message, code: 2 });
    let fields = (text(), text(), attributes(), vec(event, 0..2), vec(link, 0..2), of(status));
    let span = fields.prop_map(|(name, trace_state, attributes, events, links, status)| Span {
        name,
        trace_state,
        attributes,
        events,
        links,
        status,
        span_id: vec![3; 8],
        ..Span::default()
    });
    let scope_spans = (scope(), vec(span, 0..3), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let resource_spans = (resource(), vec(scope_spans, 0..2), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans }).boxed()
}

fn exemplars() -> BoxedStrategy<Vec<Exemplar>> {
    let exemplar = attributes().prop_map(|filtered_attributes| Exemplar {
        filtered_attributes,
        trace_id: vec![1; 16],
        ..Exemplar::default()
    });
    vec(exemplar, 0..2).boxed()
}

fn data() -> BoxedStrategy<Option<Data>> {
    macro_rules! points {
        ($point:ident) => {
            vec(
                (attributes(), exemplars()).prop_map(|(attributes, exemplars)| $point {
                    attributes,
                    exemplars,
                    ..$point::default()
                }),
                0..3,
            )
        };
    }
    let summary = vec(attributes().prop_map(|attributes| SummaryDataPoint { attributes, ..Default::default() }), 0..3);
    prop_oneof![
        Just(None),
        points!(NumberDataPoint).prop_map(|data_points| Some(Data::Gauge(Gauge { data_points }))),
        points!(NumberDataPoint).prop_map(|data_points| Some(Data::Sum(Sum { data_points, ..Sum::default() }))),
        points!(HistogramDataPoint)
            .prop_map(|data_points| Some(Data::Histogram(Histogram { data_points, ..Histogram::default() }))),
        points!(ExponentialHistogramDataPoint).prop_map(|data_points| {
            Some(Data::ExponentialHistogram(ExponentialHistogram { data_points, ..ExponentialHistogram::default() }))
        }),
        summary.prop_map(|data_points| Some(Data::Summary(Summary { data_points }))),
    ]
    .boxed()
}

pub(crate) fn metrics() -> BoxedStrategy<ExportMetricsServiceRequest> {
    let metric = (text(), text(), text(), data(), attributes())
        .prop_map(|(name, description, unit, data, metadata)| Metric { name, description, unit, data, metadata });
    let scope_metrics = (scope(), vec(metric, 0..3), text()).prop_map(|(scope, metrics, schema_url)| ScopeMetrics {
        scope,
        metrics,
        schema_url,
    });
    let resource_metrics = (resource(), vec(scope_metrics, 0..2), text())
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(resource_metrics, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics }).boxed()
}
