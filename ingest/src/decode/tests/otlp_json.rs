//! OTLP/JSON of prost messages, as an SDK writes it: IDs in hexadecimal, 64-bit integers as strings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, number_data_point,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::Span;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn double(value: f64) -> Json {
    match value {
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value if value.is_nan() => json!("NaN"),
        value => json!(value),
    }
}

fn maybe_double(value: Option<f64>) -> Json {
    value.map_or(Json::Null, double)
}

fn any_value(value: &AnyValue) -> Json {
    match &value.value {
        None => json!({}),
        Some(Value::StringValue(text)) => json!({"stringValue": text}),
        Some(Value::BoolValue(value)) => json!({"boolValue": value}),
        Some(Value::IntValue(value)) => json!({"intValue": value.to_string()}),
        Some(Value::DoubleValue(value)) => json!({"doubleValue": double(*value)}),
        Some(Value::BytesValue(bytes)) => json!({"bytesValue": STANDARD.encode(bytes)}),
        Some(Value::ArrayValue(list)) => {
            json!({"arrayValue": {"values": list.values.iter().map(any_value).collect::<Vec<_>>()}})
        }
        Some(Value::KvlistValue(list)) => json!({"kvlistValue": {"values": attributes(&list.values)}}),
        Some(other) => panic!("no OTLP value: {other:?}"),
    }
}

fn attributes(pairs: &[KeyValue]) -> Json {
    let pairs = pairs.iter().map(|pair| json!({"key": pair.key, "value": pair.value.as_ref().map(any_value)}));
    Json::Array(pairs.collect())
}

fn resource(resource: Option<&Resource>) -> Json {
    resource.map_or(Json::Null, |resource| {
        json!({
            "attributes": attributes(&resource.attributes),
            "droppedAttributesCount": resource.dropped_attributes_count,
        })
    })
}

fn scope(scope: Option<&InstrumentationScope>) -> Json {
    scope.map_or(Json::Null, |scope| {
        json!({
            "name": scope.name,
            "version": scope.version,
            "attributes": attributes(&scope.attributes),
            "droppedAttributesCount": scope.dropped_attributes_count,
        })
    })
}

fn all<T>(list: &[T], json: impl Fn(&T) -> Json) -> Json {
    list.iter().map(json).collect()
}

pub(super) fn logs(request: &ExportLogsServiceRequest) -> Json {
    let record = |record: &trivium_proto::otlp::logs::v1::LogRecord| {
        json!({
            "timeUnixNano": record.time_unix_nano.to_string(),
            "observedTimeUnixNano": record.observed_time_unix_nano.to_string(),
            "severityNumber": record.severity_number,
            "severityText": record.severity_text,
            "body": record.body.as_ref().map(any_value),
            "attributes": attributes(&record.attributes),
            "droppedAttributesCount": record.dropped_attributes_count,
            "flags": record.flags,
            "traceId": hex(&record.trace_id),
            "spanId": hex(&record.span_id),
            "eventName": record.event_name,
        })
    };
    json!({"resourceLogs": all(&request.resource_logs, |logs| json!({
        "resource": resource(logs.resource.as_ref()),
        "schemaUrl": logs.schema_url,
        "scopeLogs": all(&logs.scope_logs, |logs| json!({
            "scope": scope(logs.scope.as_ref()),
            "schemaUrl": logs.schema_url,
            "logRecords": all(&logs.log_records, record),
        })),
    }))})
}

fn span(span: &Span) -> Json {
    let event = |event: &trivium_proto::otlp::trace::v1::span::Event| {
        json!({
            "timeUnixNano": event.time_unix_nano.to_string(),
            "name": event.name,
            "attributes": attributes(&event.attributes),
            "droppedAttributesCount": event.dropped_attributes_count,
        })
    };
    let link = |link: &trivium_proto::otlp::trace::v1::span::Link| {
        json!({
            "traceId": hex(&link.trace_id),
            "spanId": hex(&link.span_id),
            "traceState": link.trace_state,
            "attributes": attributes(&link.attributes),
            "droppedAttributesCount": link.dropped_attributes_count,
            "flags": link.flags,
        })
    };
    json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "traceState": span.trace_state,
        "parentSpanId": hex(&span.parent_span_id),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano,
        "endTimeUnixNano": span.end_time_unix_nano.to_string(),
        "attributes": attributes(&span.attributes),
        "droppedAttributesCount": span.dropped_attributes_count,
        "events": all(&span.events, event),
        "droppedEventsCount": span.dropped_events_count,
        "links": all(&span.links, link),
        "droppedLinksCount": span.dropped_links_count,
        "status": span.status.as_ref().map(|status| json!({"message": status.message, "code": status.code})),
        "flags": span.flags,
    })
}

pub(super) fn traces(request: &ExportTraceServiceRequest) -> Json {
    json!({"resourceSpans": all(&request.resource_spans, |spans| json!({
        "resource": resource(spans.resource.as_ref()),
        "schemaUrl": spans.schema_url,
        "scopeSpans": all(&spans.scope_spans, |spans| json!({
            "scope": scope(spans.scope.as_ref()),
            "schemaUrl": spans.schema_url,
            "spans": all(&spans.spans, span),
        })),
    }))})
}

fn an_exemplar(exemplar: &Exemplar) -> Json {
    let mut json = json!({
        "timeUnixNano": exemplar.time_unix_nano.to_string(),
        "traceId": hex(&exemplar.trace_id),
        "spanId": hex(&exemplar.span_id),
        "filteredAttributes": attributes(&exemplar.filtered_attributes),
    });
    match exemplar.value {
        Some(exemplar::Value::AsDouble(value)) => json["asDouble"] = double(value),
        Some(exemplar::Value::AsInt(value)) => json["asInt"] = json!(value.to_string()),
        None => {}
    }
    json
}

fn number(point: &NumberDataPoint) -> Json {
    let mut json = json!({
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano,
        "exemplars": all(&point.exemplars, an_exemplar),
        "attributes": attributes(&point.attributes),
        "flags": point.flags,
    });
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => json["asDouble"] = double(value),
        Some(number_data_point::Value::AsInt(value)) => json["asInt"] = json!(value),
        None => {}
    }
    json
}

fn histogram(point: &HistogramDataPoint) -> Json {
    json!({
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano.to_string(),
        "count": point.count.to_string(),
        "sum": maybe_double(point.sum),
        "bucketCounts": all(&point.bucket_counts, |count| json!(count.to_string())),
        "explicitBounds": all(&point.explicit_bounds, |bound| double(*bound)),
        "exemplars": all(&point.exemplars, an_exemplar),
        "attributes": attributes(&point.attributes),
        "flags": point.flags,
        "min": maybe_double(point.min),
        "max": maybe_double(point.max),
    })
}

fn buckets(buckets: Option<&Buckets>) -> Json {
    buckets.map_or(Json::Null, |buckets| {
        json!({"offset": buckets.offset, "bucketCounts": all(&buckets.bucket_counts, |count| json!(count.to_string()))})
    })
}

fn exponential(point: &ExponentialHistogramDataPoint) -> Json {
    json!({
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano.to_string(),
        "count": point.count,
        "sum": maybe_double(point.sum),
        "scale": point.scale,
        "zeroCount": point.zero_count.to_string(),
        "positive": buckets(point.positive.as_ref()),
        "negative": buckets(point.negative.as_ref()),
        "flags": point.flags,
        "exemplars": all(&point.exemplars, an_exemplar),
        "attributes": attributes(&point.attributes),
        "min": maybe_double(point.min),
        "max": maybe_double(point.max),
        "zeroThreshold": double(point.zero_threshold),
    })
}

fn summary(point: &SummaryDataPoint) -> Json {
    json!({
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano.to_string(),
        "count": point.count.to_string(),
        "sum": double(point.sum),
        "quantileValues": all(&point.quantile_values, |pair| {
            json!({"quantile": double(pair.quantile), "value": double(pair.value)})
        }),
        "attributes": attributes(&point.attributes),
        "flags": point.flags,
    })
}

fn metric(metric: &Metric) -> Json {
    let mut json = json!({
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "metadata": attributes(&metric.metadata),
    });
    match &metric.data {
        None => {}
        Some(Data::Gauge(data)) => json["gauge"] = json!({"dataPoints": all(&data.data_points, number)}),
        Some(Data::Sum(data)) => {
            json["sum"] = json!({
                "dataPoints": all(&data.data_points, number),
                "aggregationTemporality": data.aggregation_temporality,
                "isMonotonic": data.is_monotonic,
            });
        }
        Some(Data::Histogram(data)) => {
            json["histogram"] = json!({
                "dataPoints": all(&data.data_points, histogram),
                "aggregationTemporality": data.aggregation_temporality,
            });
        }
        Some(Data::ExponentialHistogram(data)) => {
            json["exponentialHistogram"] = json!({
                "dataPoints": all(&data.data_points, exponential),
                "aggregationTemporality": data.aggregation_temporality,
            });
        }
        Some(Data::Summary(data)) => json["summary"] = json!({"dataPoints": all(&data.data_points, summary)}),
    }
    json
}

pub(super) fn metrics(request: &ExportMetricsServiceRequest) -> Json {
    json!({"resourceMetrics": all(&request.resource_metrics, |metrics| json!({
        "resource": resource(metrics.resource.as_ref()),
        "schemaUrl": metrics.schema_url,
        "scopeMetrics": all(&metrics.scope_metrics, |metrics| json!({
            "scope": scope(metrics.scope.as_ref()),
            "schemaUrl": metrics.schema_url,
            "metrics": all(&metrics.metrics, metric),
        })),
    }))})
}
