//! What the rows of a request must be: prost and plain loops, one record after the other, no cleverness.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use trivium_model::SignalKind;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use trivium_proto::otlp::logs::v1::LogRecord;
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, number_data_point,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::Span;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::cells::{Cell, Row};
use crate::decode::DecodeContext;

/// The columns that only Prometheus' native histograms have.
const NATIVE_HISTOGRAM: [&str; 7] = [
    "count_float",
    "zero_count_float",
    "positive_spans",
    "negative_spans",
    "positive_counts_float",
    "negative_counts_float",
    "reset_hint",
];

/// The rows of a request, and how many records are refused.
pub(super) fn rows(signal: SignalKind, payload: &[u8], context: &DecodeContext) -> (Vec<Row>, u64) {
    let mut found = Vec::new();
    match signal {
        SignalKind::Logs => logs(payload, context, &mut found),
        SignalKind::Metrics => metrics(payload, context, &mut found),
        SignalKind::Traces => spans(payload, context, &mut found),
    }
    let records = found.len();
    let rows: Vec<Row> = found.into_iter().flatten().collect();
    let refused = (records - rows.len()) as u64;
    (rows, refused)
}

/// Where records come from, as cells.
struct Origin {
    service: Cell,
    resource: Cell,
    schema_url: Cell,
    dropped: Cell,
    scope: Cell,
    identity: String,
}

impl Origin {
    fn new(resource: Option<&Resource>, url: &str, scope: Option<&InstrumentationScope>, scope_url: &str) -> Self {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        let service = attributes.iter().rfind(|pair| pair.key == "service.name").and_then(|pair| pair.value.as_ref());
        let service = match service.and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(name)) => name.clone(),
            Some(value) => json(value),
            None => String::new(),
        };
        let scope = scope_json(scope, scope_url);
        let resource_json = set(attributes);
        Self {
            service: Cell::text(if service.is_empty() { "unknown_service" } else { &service }),
            resource: Cell::text(&resource_json),
            schema_url: text_or_null(url),
            dropped: Cell::int(resource.map_or(0, |resource| resource.dropped_attributes_count)),
            scope: Cell::text(&scope),
            identity: format!("{resource_json}\0{scope}"),
        }
    }

    fn end(&self, mut row: Row) -> Row {
        row.extend([
            ("resource", self.resource.clone()),
            ("resource_schema_url", self.schema_url.clone()),
            ("resource_dropped_attributes_count", self.dropped.clone()),
            ("scope", self.scope.clone()),
        ]);
        row
    }
}

fn scope_json(scope: Option<&InstrumentationScope>, schema_url: &str) -> String {
    let scope = scope.cloned().unwrap_or_default();
    let mut members = Vec::new();
    if !scope.attributes.is_empty() {
        members.push(format!("\"attributes\":{}", set(&scope.attributes)));
    }
    if scope.dropped_attributes_count > 0 {
        members.push(format!("\"dropped_attributes_count\":{}", scope.dropped_attributes_count));
    }
    for (key, text) in [("name", scope.name.as_str()), ("schema_url", schema_url), ("version", &scope.version)] {
        if !text.is_empty() {
            members.push(format!("\"{key}\":{}", quoted(text)));
        }
    }
    format!("{{{}}}", members.join(","))
}

/// Attributes as canonical JSON: the last of equal keys, in the order of keys.
pub(super) fn set(attributes: &[KeyValue]) -> String {
    object(attributes, |key| key.to_owned())
}

fn object(pairs: &[KeyValue], name: fn(&str) -> String) -> String {
    let pairs = pairs.iter().filter(|pair| !pair.key.is_empty());
    let members: BTreeMap<&str, String> =
        pairs.map(|pair| (pair.key.as_str(), any_json(pair.value.as_ref()))).collect();
    let members: Vec<String> =
        members.into_iter().map(|(key, value)| format!("{}:{value}", quoted(&name(key)))).collect();
    format!("{{{}}}", members.join(","))
}

fn any_json(value: Option<&AnyValue>) -> String {
    value.and_then(|value| value.value.as_ref()).map_or_else(|| "null".to_owned(), json)
}

fn json(value: &Value) -> String {
    match value {
        Value::StringValue(text) => quoted(text),
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) if value.is_nan() => r#"{"$double":"NaN"}"#.to_owned(),
        Value::DoubleValue(f64::INFINITY) => r#"{"$double":"Infinity"}"#.to_owned(),
        Value::DoubleValue(f64::NEG_INFINITY) => r#"{"$double":"-Infinity"}"#.to_owned(),
        Value::DoubleValue(value) => ryu::Buffer::new().format_finite(*value).to_owned(),
        Value::BytesValue(bytes) => format!("{{\"$bytes\":\"{}\"}}", STANDARD.encode(bytes)),
        Value::ArrayValue(list) => {
            let elements: Vec<String> = list.values.iter().map(|value| any_json(Some(value))).collect();
            format!("[{}]", elements.join(","))
        }
        Value::KvlistValue(list) => {
            object(&list.values, |key| if key.starts_with('$') { format!("${key}") } else { key.to_owned() })
        }
        other => panic!("no OTLP value: {other:?}"),
    }
}

fn quoted(text: &str) -> String {
    let mut output = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => output.extend(['\\', letter]),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            '\0'..='\u{1f}' => output.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => output.push(letter),
        }
    }
    output.push('"');
    output
}

fn text_or_null(text: &str) -> Cell {
    if text.is_empty() { Cell::Null } else { Cell::text(text) }
}

fn id(bytes: &[u8], length: usize) -> Cell {
    let is_valid = bytes.len() == length && bytes.iter().any(|byte| *byte != 0);
    if is_valid { Cell::Bytes(bytes.to_vec()) } else { Cell::Null }
}

/// A time or start that is known.
fn known_time(nanos: u64) -> Cell {
    Cell::or_null(i64::try_from(nanos).ok().filter(|time| *time > 0), Cell::int)
}

fn observed_delay(observed: u64, time: i64) -> Cell {
    Cell::or_null(i64::try_from(observed).ok().filter(|observed| *observed > 0), |observed| Cell::int(observed - time))
}

fn admitted(nanos: u64, context: &DecodeContext) -> Option<i64> {
    let newest = context.received_at.0 + 86_400_000_000_000;
    i64::try_from(nanos).ok().filter(|time| (context.oldest_admitted.0..=newest).contains(time))
}

fn logs(payload: &[u8], context: &DecodeContext, found: &mut Vec<Option<Row>>) {
    let request = ExportLogsServiceRequest::decode(payload).expect("a request");
    for resource in &request.resource_logs {
        for scope in &resource.scope_logs {
            let origin =
                Origin::new(resource.resource.as_ref(), &resource.schema_url, scope.scope.as_ref(), &scope.schema_url);
            found.extend(scope.log_records.iter().map(|record| log(record, &origin, context)));
        }
    }
}

fn log(record: &LogRecord, origin: &Origin, context: &DecodeContext) -> Option<Row> {
    let time = match (record.time_unix_nano, record.observed_time_unix_nano) {
        (0, 0) => context.received_at.0,
        (0, observed) => admitted(observed, context)?,
        (time, _) => admitted(time, context)?,
    };
    let (body, body_type) = match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        None => (Cell::Null, Cell::Null),
        Some(Value::StringValue(text)) => (Cell::text(text), Cell::text("string")),
        Some(value) => (Cell::text(&json(value)), Cell::text(type_name(value))),
    };
    Some(origin.end(vec![
        ("time", Cell::int(time)),
        ("observed_delay", observed_delay(record.observed_time_unix_nano, time)),
        ("service_name", origin.service.clone()),
        ("severity_number", Cell::int(record.severity_number)),
        ("severity_text", text_or_null(&record.severity_text)),
        ("body", body),
        ("body_type", body_type),
        ("trace_id", id(&record.trace_id, 16)),
        ("span_id", id(&record.span_id, 8)),
        ("flags", Cell::int(record.flags)),
        ("event_name", text_or_null(&record.event_name)),
        ("attributes", Cell::text(&set(&record.attributes))),
        ("dropped_attributes_count", Cell::int(record.dropped_attributes_count)),
    ]))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::BoolValue(_) => "bool",
        Value::IntValue(_) => "int",
        Value::DoubleValue(_) => "double",
        Value::ArrayValue(_) => "array",
        Value::KvlistValue(_) => "kvlist",
        Value::BytesValue(_) => "bytes",
        _ => "string",
    }
}

fn spans(payload: &[u8], context: &DecodeContext, found: &mut Vec<Option<Row>>) {
    let request = ExportTraceServiceRequest::decode(payload).expect("a request");
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            let origin =
                Origin::new(resource.resource.as_ref(), &resource.schema_url, scope.scope.as_ref(), &scope.schema_url);
            found.extend(scope.spans.iter().map(|record| span(record, &origin, context)));
        }
    }
}

fn span(span: &Span, origin: &Origin, context: &DecodeContext) -> Option<Row> {
    let (trace_id, span_id) = (id(&span.trace_id, 16), id(&span.span_id, 8));
    if trace_id == Cell::Null || span_id == Cell::Null {
        return None;
    }
    let duration = i128::from(span.end_time_unix_nano) - i128::from(span.start_time_unix_nano);
    let duration = duration.clamp(i64::MIN.into(), i64::MAX.into());
    let (status_code, status_message) =
        span.status.as_ref().map_or((0, ""), |status| (status.code, status.message.as_str()));
    Some(origin.end(vec![
        ("time", Cell::int(admitted(span.start_time_unix_nano, context)?)),
        ("duration", Cell::or_null((span.end_time_unix_nano != 0).then_some(duration), Cell::Int)),
        ("service_name", origin.service.clone()),
        ("name", Cell::text(&span.name)),
        ("kind", Cell::int(span.kind)),
        ("trace_id", trace_id),
        ("span_id", span_id),
        ("parent_span_id", id(&span.parent_span_id, 8)),
        ("trace_state", text_or_null(&span.trace_state)),
        ("flags", Cell::int(span.flags)),
        ("status_code", Cell::int(status_code)),
        ("status_message", text_or_null(status_message)),
        ("attributes", Cell::text(&set(&span.attributes))),
        ("dropped_attributes_count", Cell::int(span.dropped_attributes_count)),
        ("events", list_or_null(events(span))),
        ("dropped_events_count", Cell::int(span.dropped_events_count)),
        ("links", list_or_null(links(span))),
        ("dropped_links_count", Cell::int(span.dropped_links_count)),
    ]))
}

fn list_or_null(elements: Vec<Cell>) -> Cell {
    if elements.is_empty() { Cell::Null } else { Cell::List(elements) }
}

fn events(span: &Span) -> Vec<Cell> {
    let cell = |event: &trivium_proto::otlp::trace::v1::span::Event| {
        Cell::Struct(vec![
            Cell::int(i64::try_from(event.time_unix_nano).unwrap_or(i64::MAX)),
            Cell::text(&event.name),
            Cell::text(&set(&event.attributes)),
            Cell::int(event.dropped_attributes_count),
        ])
    };
    span.events.iter().map(cell).collect()
}

fn links(span: &Span) -> Vec<Cell> {
    let cell = |link: &trivium_proto::otlp::trace::v1::span::Link| {
        Cell::Struct(vec![
            id(&link.trace_id, 16),
            id(&link.span_id, 8),
            text_or_null(&link.trace_state),
            Cell::text(&set(&link.attributes)),
            Cell::int(link.dropped_attributes_count),
            Cell::int(link.flags),
        ])
    };
    span.links.iter().map(cell).collect()
}

fn metrics(payload: &[u8], context: &DecodeContext, found: &mut Vec<Option<Row>>) {
    let request = ExportMetricsServiceRequest::decode(payload).expect("a request");
    for resource in &request.resource_metrics {
        for scope in &resource.scope_metrics {
            let origin =
                Origin::new(resource.resource.as_ref(), &resource.schema_url, scope.scope.as_ref(), &scope.schema_url);
            for metric in &scope.metrics {
                metric_rows(metric, &origin, context, found);
            }
        }
    }
}

/// What the points of a metric share.
struct MetricCells {
    cells: Row,
    /// Why no point is taken.
    is_wrong: bool,
    seed: u64,
}

/// What a point has of what all points have.
struct Head<'p> {
    start: u64,
    time: u64,
    attributes: &'p [KeyValue],
    flags: u32,
    exemplars: &'p [Exemplar],
}

fn metric_rows(metric: &Metric, origin: &Origin, context: &DecodeContext, found: &mut Vec<Option<Row>>) {
    let (kind, temporality, is_monotonic) = match &metric.data {
        None => return,
        Some(Data::Gauge(_)) => ("gauge", None, None),
        Some(Data::Sum(sum)) => ("sum", Some(sum.aggregation_temporality), Some(sum.is_monotonic)),
        Some(Data::Histogram(data)) => ("histogram", Some(data.aggregation_temporality), None),
        Some(Data::ExponentialHistogram(data)) => ("exponential_histogram", Some(data.aggregation_temporality), None),
        Some(Data::Summary(_)) => ("summary", None, None),
    };
    let word = match temporality {
        Some(1) => "delta",
        Some(2) => "cumulative",
        _ => "",
    };
    let monotonic = if is_monotonic == Some(true) { "1" } else { "0" };
    let identity = [&origin.identity, &metric.name, kind, &metric.unit, word, monotonic].join("\0");
    let metadata = if metric.metadata.is_empty() { Cell::Null } else { Cell::text(&set(&metric.metadata)) };
    let shared = MetricCells {
        cells: vec![
            ("service_name", origin.service.clone()),
            ("metric_name", Cell::text(&metric.name)),
            ("metric_type", Cell::text(kind)),
            ("unit", text_or_null(&metric.unit)),
            ("description", text_or_null(&metric.description)),
            ("metadata", metadata),
            ("temporality", text_or_null(word)),
            ("is_monotonic", Cell::or_null(is_monotonic, Cell::Bool)),
        ],
        is_wrong: metric.name.is_empty() || (temporality.is_some() && word.is_empty()),
        seed: xxh3_64(identity.as_bytes()),
    };
    let row = |head: Option<Row>, own: &[(&'static str, Cell)], exemplars: &[Exemplar]| -> Option<Row> {
        let mut row = head?;
        for name in OWN {
            let cell = own.iter().find(|(own, _)| own == name).map_or(Cell::Null, |(_, cell)| cell.clone());
            row.push((name, cell));
        }
        row.push(("exemplars", list_or_null(exemplars.iter().filter_map(exemplar).collect())));
        row.extend(NATIVE_HISTOGRAM.map(|name| (name, Cell::Null)));
        Some(origin.end(row))
    };
    macro_rules! points {
        ($data:expr, $own:expr) => {
            for point in &$data.data_points {
                let head = Head {
                    start: point.start_time_unix_nano,
                    time: point.time_unix_nano,
                    attributes: &point.attributes,
                    flags: point.flags,
                    exemplars: &point.exemplars,
                };
                let own = $own(point);
                let head_row = own.as_ref().and_then(|_| head_row(&head, &shared, context));
                found.push(row(head_row, &own.unwrap_or_default(), head.exemplars));
            }
        };
    }
    match metric.data.as_ref() {
        Some(Data::Gauge(data)) => points!(data, number),
        Some(Data::Sum(data)) => points!(data, number),
        Some(Data::Histogram(data)) => points!(data, histogram),
        Some(Data::ExponentialHistogram(data)) => points!(data, exponential),
        Some(Data::Summary(data)) => {
            for point in &data.data_points {
                let head = Head {
                    start: point.start_time_unix_nano,
                    time: point.time_unix_nano,
                    attributes: &point.attributes,
                    flags: point.flags,
                    exemplars: &[],
                };
                let own = summary(point);
                let head_row = own.as_ref().and_then(|_| head_row(&head, &shared, context));
                found.push(row(head_row, &own.unwrap_or_default(), &[]));
            }
        }
        None => {}
    }
}

/// The columns that only some types of metrics have, in their order.
const OWN: &[&str] = &[
    "value",
    "value_int",
    "count",
    "sum",
    "min",
    "max",
    "bucket_counts",
    "explicit_bounds",
    "scale",
    "zero_count",
    "zero_threshold",
    "positive_offset",
    "positive_counts",
    "negative_offset",
    "negative_counts",
    "quantiles",
    "quantile_values",
];

fn head_row(head: &Head<'_>, metric: &MetricCells, context: &DecodeContext) -> Option<Row> {
    if metric.is_wrong || head.time == 0 || head.start > head.time {
        return None;
    }
    let attributes = set(head.attributes);
    let series = xxh3_64_with_seed(attributes.as_bytes(), metric.seed);
    let mut row = vec![("time", Cell::int(admitted(head.time, context)?)), ("start_time", known_time(head.start))];
    row.extend(metric.cells.iter().cloned());
    row.extend([
        ("attributes", Cell::text(&attributes)),
        ("series_id", Cell::int(series)),
        ("flags", Cell::int(head.flags)),
    ]);
    Some(row)
}

fn exemplar(exemplar: &Exemplar) -> Option<Cell> {
    let (double, integer) = match exemplar.value {
        Some(exemplar::Value::AsDouble(value)) => (Cell::double(value), Cell::Null),
        Some(exemplar::Value::AsInt(value)) => (Cell::double(value as f64), Cell::int(value)),
        None => (Cell::Null, Cell::Null),
    };
    let time = Cell::int(i64::try_from(exemplar.time_unix_nano).unwrap_or(i64::MAX));
    let (trace_id, span_id) = (id(&exemplar.trace_id, 16), id(&exemplar.span_id, 8));
    let attributes = Cell::text(&set(&exemplar.filtered_attributes));
    (exemplar.time_unix_nano != 0).then(|| Cell::Struct(vec![time, double, integer, trace_id, span_id, attributes]))
}

fn number(point: &NumberDataPoint) -> Option<Row> {
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => Some(vec![("value", Cell::double(value))]),
        Some(number_data_point::Value::AsInt(value)) => {
            Some(vec![("value", Cell::double(value as f64)), ("value_int", Cell::int(value))])
        }
        None => (point.flags & 1 == 1).then(Vec::new),
    }
}

fn counts(counts: &[u64]) -> Cell {
    Cell::List(counts.iter().map(|count| Cell::int(*count)).collect())
}

fn doubles(values: &[f64]) -> Cell {
    Cell::List(values.iter().map(|value| Cell::double(*value)).collect())
}

fn histogram(point: &HistogramDataPoint) -> Option<Row> {
    let (buckets, bounds) = (&point.bucket_counts, &point.explicit_bounds);
    let ascends = bounds.windows(2).all(|pair| pair[0] < pair[1]) && !bounds.iter().any(|bound| bound.is_nan());
    let total: u128 = buckets.iter().map(|count| u128::from(*count)).sum();
    let fits = buckets.is_empty() || (buckets.len() == bounds.len() + 1 && total == u128::from(point.count));
    (ascends && fits).then(|| {
        vec![
            ("count", Cell::int(point.count)),
            ("sum", Cell::or_null(point.sum, Cell::double)),
            ("min", Cell::or_null(point.min, Cell::double)),
            ("max", Cell::or_null(point.max, Cell::double)),
            ("bucket_counts", counts(buckets)),
            ("explicit_bounds", doubles(bounds)),
        ]
    })
}

fn exponential(point: &ExponentialHistogramDataPoint) -> Option<Row> {
    let (positive, negative) = (side(point.positive.as_ref()), side(point.negative.as_ref()));
    let all = positive.bucket_counts.iter().chain(&negative.bucket_counts).chain([&point.zero_count]);
    let total: u128 = all.map(|count| u128::from(*count)).sum();
    let overflows = |side: &Buckets| i64::from(side.offset) + side.bucket_counts.len() as i64 > i64::from(i32::MAX);
    let is_wrong = total != u128::from(point.count)
        || overflows(&positive)
        || overflows(&negative)
        || !(-10..=20).contains(&point.scale)
        || point.zero_threshold.is_nan()
        || point.zero_threshold < 0.0;
    (!is_wrong).then(|| {
        vec![
            ("count", Cell::int(point.count)),
            ("sum", Cell::or_null(point.sum, Cell::double)),
            ("min", Cell::or_null(point.min, Cell::double)),
            ("max", Cell::or_null(point.max, Cell::double)),
            ("scale", Cell::int(point.scale)),
            ("zero_count", Cell::int(point.zero_count)),
            ("zero_threshold", Cell::double(point.zero_threshold)),
            ("positive_offset", Cell::int(positive.offset)),
            ("positive_counts", counts(&positive.bucket_counts)),
            ("negative_offset", Cell::int(negative.offset)),
            ("negative_counts", counts(&negative.bucket_counts)),
        ]
    })
}

fn side(buckets: Option<&Buckets>) -> Buckets {
    buckets.cloned().unwrap_or_default()
}

fn summary(point: &SummaryDataPoint) -> Option<Row> {
    let quantiles: Vec<f64> = point.quantile_values.iter().map(|pair| pair.quantile).collect();
    let values: Vec<f64> = point.quantile_values.iter().map(|pair| pair.value).collect();
    quantiles.iter().all(|quantile| (0.0..=1.0).contains(quantile)).then(|| {
        vec![
            ("count", Cell::int(point.count)),
            ("sum", Cell::double(point.sum)),
            ("quantiles", doubles(&quantiles)),
            ("quantile_values", doubles(&values)),
        ]
    })
}
