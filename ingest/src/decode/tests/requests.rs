//! Random requests of all signals: every field of every message, present, absent and wrong.

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use prost::encoding::{WireType, encode_key, encode_varint};
use trivium_model::SignalKind;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value as Any;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, number_data_point, summary_data_point::ValueAtQuantile,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};

use super::{NOW, TIME};
use crate::decode::wire::{Fields, Value};

/// Short texts, some of them the same again and again.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        2 => Just(String::new()),
        4 => "[a-c]{1,2}",
        2 => "\\PC{0,12}",
        1 => any::<String>().prop_map(|text| text.chars().take(20).collect()),
    ]
    .boxed()
}

fn double() -> BoxedStrategy<f64> {
    let special = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(0.0)];
    prop_oneof![3 => any::<f64>(), 1 => special, 2 => (-1000_i32..1000).prop_map(|value| f64::from(value) / 8.0)]
        .boxed()
}

fn time() -> BoxedStrategy<u64> {
    let day = 86_400_000_000_000;
    prop_oneof![
        12 => (TIME - 1000)..TIME,
        1 => Just(0_u64),
        1 => any::<u64>(),
        1 => Just(NOW as u64 + day),
        1 => Just(NOW as u64 + day + 1),
        1 => Just(NOW as u64 - 30 * day),
        1 => Just(NOW as u64 - 30 * day - 1),
    ]
    .boxed()
}

fn id(length: usize) -> BoxedStrategy<Vec<u8>> {
    prop_oneof![10 => vec(any::<u8>(), length), 1 => Just(Vec::new()), 1 => Just(vec![0; length]), 1 => vec(any::<u8>(), 0..40)]
        .boxed()
}

fn key() -> BoxedStrategy<String> {
    let known = prop_oneof![Just("service.name"), Just("$bytes"), Just("a"), Just("b"), Just("trivium.truncated")];
    prop_oneof![3 => known.prop_map(str::to_owned), 2 => text()].boxed()
}

fn any_value() -> BoxedStrategy<AnyValue> {
    let leaf = prop_oneof![
        4 => text().prop_map(|text| Some(Any::StringValue(text))),
        1 => Just(None),
        1 => any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        2 => any::<i64>().prop_map(|value| Some(Any::IntValue(value))),
        2 => double().prop_map(|value| Some(Any::DoubleValue(value))),
        1 => vec(any::<u8>(), 0..8).prop_map(|bytes| Some(Any::BytesValue(bytes))),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 16, 4, |inner| {
        let list = vec(inner.clone(), 0..4).prop_map(|values| Any::ArrayValue(ArrayValue { values }));
        let pairs = vec(pair(inner), 0..4).prop_map(|values| Any::KvlistValue(KeyValueList { values }));
        prop_oneof![list, pairs].prop_map(|value| AnyValue { value: Some(value) })
    })
    .boxed()
}

fn pair(value: impl Strategy<Value = AnyValue> + 'static) -> impl Strategy<Value = KeyValue> {
    let value = prop_oneof![9 => value.prop_map(Some), 1 => Just(None)];
    (key(), value).prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() })
}

fn attributes() -> BoxedStrategy<Vec<KeyValue>> {
    let same = KeyValue {
        key: "service.name".into(),
        value: Some(AnyValue { value: Some(Any::StringValue("cart".into())) }),
        ..KeyValue::default()
    };
    prop_oneof![1 => Just(Vec::new()), 2 => Just(vec![same]), 3 => vec(pair(any_value()), 0..5)].boxed()
}

fn resource() -> BoxedStrategy<Option<Resource>> {
    let resource = (attributes(), 0_u32..3).prop_map(|(attributes, dropped_attributes_count)| {
        Some(Resource { attributes, dropped_attributes_count, ..Resource::default() })
    });
    prop_oneof![5 => resource, 1 => Just(None)].boxed()
}

fn scope() -> BoxedStrategy<Option<InstrumentationScope>> {
    let scope = (text(), text(), attributes(), 0_u32..3).prop_map(|(name, version, attributes, dropped)| {
        Some(InstrumentationScope { name, version, attributes, dropped_attributes_count: dropped })
    });
    prop_oneof![3 => scope, 1 => Just(None)].boxed()
}

fn log_record() -> BoxedStrategy<LogRecord> {
    let body = prop_oneof![1 => Just(None), 5 => any_value().prop_map(Some)];
    let own = (time(), time(), any::<i32>(), text(), body, attributes());
    (own, any::<u32>(), any::<u32>(), id(16), id(8), text())
        .prop_map(
            |(
                (time, observed, severity_number, severity_text, body, attributes),
                dropped,
                flags,
                trace_id,
                span_id,
                event_name,
            )| {
                LogRecord {
                    time_unix_nano: time,
                    observed_time_unix_nano: observed,
                    severity_number,
                    severity_text,
                    body,
                    attributes,
                    dropped_attributes_count: dropped,
                    flags,
                    trace_id,
                    span_id,
                    event_name,
                }
            },
        )
        .boxed()
}

pub(super) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (scope(), vec(log_record(), 0..5), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (resource(), vec(scope_logs, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn event() -> BoxedStrategy<span::Event> {
    (time(), text(), attributes(), 0_u32..3)
        .prop_map(|(time_unix_nano, name, attributes, dropped_attributes_count)| span::Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        })
        .boxed()
}

fn link() -> BoxedStrategy<span::Link> {
    (id(16), id(8), text(), attributes(), 0_u32..3, any::<u32>())
        .prop_map(|(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| span::Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        })
        .boxed()
}

fn status() -> BoxedStrategy<Option<Status>> {
    prop_oneof![Just(None), (text(), 0..4).prop_map(|(message, code)| Some(Status { message, code }))].boxed()
}

fn a_span() -> BoxedStrategy<Span> {
    let ids = (id(16), id(8), id(8));
    let own = (text(), text(), any::<i32>(), time(), time(), attributes());
    let dropped = (any::<u32>(), any::<u32>(), any::<u32>());
    (ids, own, dropped, vec(event(), 0..3), vec(link(), 0..3), status(), any::<u32>())
        .prop_map(|(ids, own, dropped, events, links, status, flags)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state: own.0,
            name: own.1,
            kind: own.2,
            start_time_unix_nano: own.3,
            end_time_unix_nano: own.4,
            attributes: own.5,
            dropped_attributes_count: dropped.0,
            dropped_events_count: dropped.1,
            dropped_links_count: dropped.2,
            events,
            links,
            status,
            flags,
        })
        .boxed()
}

pub(super) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (scope(), vec(a_span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let resource_spans = (resource(), vec(scope_spans, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// Start, time, attributes and flags of a data point.
fn head() -> BoxedStrategy<(u64, u64, Vec<KeyValue>, u32)> {
    let start = prop_oneof![Just(0_u64), Just(1), (TIME - 2000)..(TIME + 2000), any::<u64>()];
    let flags = prop_oneof![3 => Just(0_u32), 1 => Just(1), 1 => any::<u32>()];
    (start, time(), attributes(), flags).boxed()
}

fn an_exemplar() -> BoxedStrategy<Exemplar> {
    let value = prop_oneof![
        Just(None),
        double().prop_map(|value| Some(exemplar::Value::AsDouble(value))),
        any::<i64>().prop_map(|value| Some(exemplar::Value::AsInt(value))),
    ];
    (time(), value, id(16), id(8), attributes())
        .prop_map(|(time_unix_nano, value, trace_id, span_id, filtered_attributes)| Exemplar {
            time_unix_nano,
            value,
            trace_id,
            span_id,
            filtered_attributes,
        })
        .boxed()
}

fn number() -> BoxedStrategy<NumberDataPoint> {
    let value = prop_oneof![
        1 => Just(None),
        4 => double().prop_map(|value| Some(number_data_point::Value::AsDouble(value))),
        4 => any::<i64>().prop_map(|value| Some(number_data_point::Value::AsInt(value))),
    ];
    (head(), value, vec(an_exemplar(), 0..3))
        .prop_map(|((start, time, attributes, flags), value, exemplars)| NumberDataPoint {
            start_time_unix_nano: start,
            time_unix_nano: time,
            attributes,
            flags,
            value,
            exemplars,
        })
        .boxed()
}

fn maybe_double() -> BoxedStrategy<Option<f64>> {
    prop_oneof![Just(None), double().prop_map(Some)].boxed()
}

/// Bucket counts, now and then so large that their sum overflows.
fn bucket_counts() -> BoxedStrategy<Vec<u64>> {
    let count = prop_oneof![20 => 0_u64..300, 1 => any::<u64>()];
    vec(count, 0..6).boxed()
}

/// What the buckets add up to, or something else.
fn total(counts: &[u64], is_right: bool) -> u64 {
    counts.iter().fold(u64::from(!is_right), |total, count| total.wrapping_add(*count))
}

fn histogram_point() -> BoxedStrategy<HistogramDataPoint> {
    let bounds = prop_oneof![
        5 => (0_usize..6).prop_map(|bounds| (0..bounds).map(|bound| bound as f64 * 2.5).collect()),
        1 => vec(double(), 0..6),
    ];
    let is_right = prop_oneof![8 => Just(true), 1 => Just(false)];
    (head(), bucket_counts(), bounds, is_right, maybe_double(), maybe_double(), vec(an_exemplar(), 0..2))
        .prop_map(|(head, mut bucket_counts, explicit_bounds, is_right, sum, min, exemplars)| {
            if is_right && !bucket_counts.is_empty() {
                bucket_counts.resize(explicit_bounds.len() + 1, 1);
            }
            HistogramDataPoint {
                start_time_unix_nano: head.0,
                time_unix_nano: head.1,
                attributes: head.2,
                flags: head.3,
                count: total(&bucket_counts, is_right),
                sum,
                min,
                max: min.map(|min| min + 1.0),
                bucket_counts,
                explicit_bounds,
                exemplars,
            }
        })
        .boxed()
}

fn buckets() -> BoxedStrategy<Option<Buckets>> {
    let offset = prop_oneof![8 => -50_i32..50, 1 => any::<i32>(), 1 => Just(i32::MAX - 3)];
    let buckets = (offset, bucket_counts()).prop_map(|(offset, bucket_counts)| Some(Buckets { offset, bucket_counts }));
    prop_oneof![1 => Just(None), 3 => buckets].boxed()
}

fn exponential_point() -> BoxedStrategy<ExponentialHistogramDataPoint> {
    let scale = prop_oneof![9 => -10_i32..=20, 1 => any::<i32>()];
    let threshold = prop_oneof![5 => Just(0.0), 3 => Just(0.25), 1 => double()];
    let is_right = prop_oneof![8 => Just(true), 1 => Just(false)];
    let own = (scale, 0_u64..9, threshold, buckets(), buckets(), is_right);
    (head(), own, maybe_double(), maybe_double(), vec(an_exemplar(), 0..2))
        .prop_map(|(head, (scale, zero_count, zero_threshold, positive, negative, is_right), sum, max, exemplars)| {
            let all = [&positive, &negative].into_iter().flatten().flat_map(|side| side.bucket_counts.clone());
            let all: Vec<u64> = all.chain([zero_count]).collect();
            ExponentialHistogramDataPoint {
                attributes: head.2,
                start_time_unix_nano: head.0,
                time_unix_nano: head.1,
                count: total(&all, is_right),
                sum,
                scale,
                zero_count,
                positive,
                negative,
                flags: head.3,
                exemplars,
                min: max.map(|max| max - 1.0),
                max,
                zero_threshold,
            }
        })
        .boxed()
}

fn summary_point() -> BoxedStrategy<SummaryDataPoint> {
    let quantile = prop_oneof![9 => 0.0..=1.0, 1 => double()];
    let pair = (quantile, double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (head(), any::<u64>(), double(), vec(pair, 0..4))
        .prop_map(|((start, time, attributes, flags), count, sum, quantile_values)| SummaryDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count,
            sum,
            quantile_values,
            flags,
        })
        .boxed()
}

fn data() -> BoxedStrategy<Option<Data>> {
    let temporality = || prop_oneof![4 => 1..=2_i32, 1 => Just(0), 1 => any::<i32>()];
    let sum =
        (vec(number(), 0..3), temporality(), any::<bool>()).prop_map(|(data_points, temporality, is_monotonic)| {
            Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic })
        });
    let histogram = (vec(histogram_point(), 0..3), temporality()).prop_map(|(data_points, temporality)| {
        Data::Histogram(Histogram { data_points, aggregation_temporality: temporality })
    });
    let exponential = (vec(exponential_point(), 0..3), temporality()).prop_map(|(data_points, temporality)| {
        Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality: temporality })
    });
    let gauge = vec(number(), 0..3).prop_map(|data_points| Data::Gauge(Gauge { data_points }));
    let summary = vec(summary_point(), 0..3).prop_map(|data_points| Data::Summary(Summary { data_points }));
    let data = prop_oneof![gauge, sum, histogram, exponential, summary];
    prop_oneof![1 => Just(None), 12 => data.prop_map(Some)].boxed()
}

pub(super) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metadata = prop_oneof![3 => Just(Vec::new()), 1 => attributes()];
    let name = prop_oneof![9 => "[a-c]{1,2}", 1 => text()];
    let metric = (name, text(), text(), metadata, data())
        .prop_map(|(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data });
    let scope_metrics = (scope(), vec(metric, 0..4), text()).prop_map(|(scope, metrics, schema_url)| ScopeMetrics {
        scope,
        metrics,
        schema_url,
    });
    let resource_metrics = (resource(), vec(scope_metrics, 0..3), text())
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(resource_metrics, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

/// The same request with the fields of its messages in another order: protobuf promises none but for the elements of a
/// list. From `depth` 0, the request, down to data points.
pub(super) fn reordered(signal: SignalKind, message: &[u8], depth: usize) -> Vec<u8> {
    let mut fields = Fields::new(message);
    let mut pieces: Vec<(usize, u32, Vec<u8>)> = Vec::new();
    let mut before = message;
    while let Ok(Some((number, value))) = fields.next() {
        let raw = &before[..before.len() - fields.rest().len()];
        before = fields.rest();
        let is_inner = match depth {
            0 => number == 1,
            1 | 2 => number == 2,
            // The message of the data points in a metric.
            3 => signal == SignalKind::Metrics && [5, 7, 9, 10, 11].contains(&number),
            _ => false,
        };
        let occurrence = pieces.iter().filter(|piece| piece.1 == number).count();
        let bytes = match value {
            Value::Bytes(inner) if is_inner => {
                let inner = reordered(signal, inner, depth + 1);
                let mut bytes = Vec::new();
                encode_key(number, WireType::LengthDelimited, &mut bytes);
                encode_varint(inner.len() as u64, &mut bytes);
                [bytes, inner].concat()
            }
            _ => raw.to_vec(),
        };
        pieces.push((occurrence, number, bytes));
    }
    // The first of every list from the last field to the first, then the second of every list …
    pieces.sort_by_key(|(occurrence, number, _)| (*occurrence, u32::MAX - number));
    pieces.into_iter().flat_map(|(_, _, bytes)| bytes).collect()
}
