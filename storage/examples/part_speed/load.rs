//! Makes table batches from the TrainTicket day, with the dictionaries that the open buffer would have.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryBuilder, Float64Array, Int32Array, RecordBatch, StringArray,
    StringBuilder, TimestampNanosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, Int32Type};
use hashbrown::HashMap;
use prost::Message;
use trivium_model::SignalKind;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::{AnyValue, KeyValue, any_value};
use trivium_proto::otlp::metrics::v1::{metric, number_data_point};
use trivium_storage::attributes;
use trivium_storage::schema::table_schema;

/// The requests of a file, as they lie in it.
pub(crate) fn requests(path: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(std::fs::File::open(path)?)?.read_to_end(&mut bytes)?;
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(&mut rest)?;
        let (message, next) = rest.split_at(length);
        found.push(message.to_vec());
        rest = next;
    }
    Ok(found)
}

/// A growing column by name.
#[derive(Default)]
struct Table {
    rows: usize,
    texts: HashMap<&'static str, (Vec<i32>, Interner)>,
    bodies: StringBuilder,
    numbers: HashMap<&'static str, Vec<i64>>,
    doubles: HashMap<&'static str, Vec<f64>>,
    ids: HashMap<&'static str, Vec<u8>>,
}

#[derive(Default)]
struct Interner {
    codes: HashMap<String, i32>,
    values: Vec<String>,
}

impl Interner {
    fn code(&mut self, text: &str) -> i32 {
        if let Some(code) = self.codes.get(text) {
            return *code;
        }
        let code = i32::try_from(self.values.len()).expect("fewer texts than 2^31");
        self.codes.insert(text.to_owned(), code);
        self.values.push(text.to_owned());
        code
    }
}

impl Table {
    fn text(&mut self, column: &'static str, text: &str) {
        let (codes, interner) = self.texts.entry(column).or_default();
        codes.push(interner.code(text));
    }
    fn number(&mut self, column: &'static str, number: i64) {
        self.numbers.entry(column).or_default().push(number);
    }
    fn id(&mut self, column: &'static str, id: &[u8], size: usize) {
        let column = self.ids.entry(column).or_default();
        if id.len() == size { column.extend_from_slice(id) } else { column.extend(std::iter::repeat_n(0, size)) }
    }

    fn batches(mut self, signal: SignalKind, rows_a_batch: usize) -> Vec<RecordBatch> {
        let schema = table_schema(signal);
        let columns = schema.fields().iter().map(|field| self.column(field.name(), field.data_type())).collect();
        let whole = RecordBatch::try_new(schema, columns).expect("columns of the schema");
        (0..self.rows).step_by(rows_a_batch).map(|at| whole.slice(at, rows_a_batch.min(self.rows - at))).collect()
    }

    fn column(&mut self, name: &str, kind: &DataType) -> ArrayRef {
        if name == "body" {
            return Arc::new(self.bodies.finish());
        }
        if let Some((codes, interner)) = self.texts.remove(name) {
            let values = Arc::new(StringArray::from(interner.values));
            return Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(codes), values));
        }
        if let Some(numbers) = self.numbers.remove(name) {
            return match kind {
                DataType::Int32 => Arc::new(Int32Array::from_iter_values(numbers.iter().map(|n| *n as i32))),
                DataType::UInt32 => Arc::new(UInt32Array::from_iter_values(numbers.iter().map(|n| *n as u32))),
                DataType::UInt64 => Arc::new(UInt64Array::from_iter_values(numbers.iter().map(|n| *n as u64))),
                DataType::Int64 => Arc::new(arrow::array::Int64Array::from(numbers)),
                _ => Arc::new(TimestampNanosecondArray::from(numbers)),
            };
        }
        if let Some(doubles) = self.doubles.remove(name) {
            return Arc::new(Float64Array::from(doubles));
        }
        if let Some(bytes) = self.ids.remove(name) {
            let DataType::FixedSizeBinary(size) = kind else { panic!("{name} is no ID") };
            let mut builder = FixedSizeBinaryBuilder::new(*size);
            for id in bytes.chunks(*size as usize) {
                if id.iter().all(|byte| *byte == 0) {
                    builder.append_null();
                } else {
                    builder.append_value(id).expect("an ID of the size");
                }
            }
            return Arc::new(builder.finish());
        }
        match kind {
            DataType::UInt32 => Arc::new(UInt32Array::from(vec![0; self.rows])),
            DataType::Int32 => Arc::new(Int32Array::from(vec![0; self.rows])),
            _ => new_null_array(kind, self.rows),
        }
    }
}

fn set(attributes: &[KeyValue]) -> String {
    let mut pairs: Vec<(&str, &Option<AnyValue>)> = attributes.iter().map(|a| (a.key.as_str(), &a.value)).collect();
    pairs.sort_unstable_by_key(|(key, _)| *key);
    let mut text = String::from("{");
    for (key, value) in pairs {
        if text.len() > 1 {
            text.push(',');
        }
        attributes::write_string(&mut text, key);
        text.push(':');
        match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(string)) => attributes::write_string(&mut text, string),
            Some(any_value::Value::IntValue(int)) => text.push_str(&int.to_string()),
            Some(any_value::Value::BoolValue(bool)) => text.push_str(&bool.to_string()),
            Some(any_value::Value::DoubleValue(double)) => text.push_str(&format!("{double:?}")),
            _ => text.push_str("null"),
        }
    }
    text.push('}');
    text
}

fn service(attributes: &[KeyValue]) -> String {
    let value = attributes.iter().find(|a| a.key == "service.name").and_then(|a| a.value.as_ref()?.value.as_ref());
    match value {
        Some(any_value::Value::StringValue(name)) => name.clone(),
        _ => String::new(),
    }
}

fn arrival(table: &mut Table, position: usize) {
    table.rows += 1;
    table.number("wal_position", position as i64 + 1);
    table.number("received_at", 1_700_000_000_000_000_000 + position as i64 * 4_137_912);
}

/// The batches of a signal, each of about 1,000 rows.
pub(crate) fn batches(signal: SignalKind, requests: &[Vec<u8>]) -> Vec<RecordBatch> {
    let mut table = Table::default();
    for (position, request) in requests.iter().enumerate() {
        match signal {
            SignalKind::Logs => logs(&mut table, position, request),
            SignalKind::Traces => spans(&mut table, position, request),
            SignalKind::Metrics => points(&mut table, position, request),
        }
    }
    table.batches(signal, 1_000)
}

fn logs(table: &mut Table, position: usize, request: &[u8]) {
    let request = ExportLogsServiceRequest::decode(request).expect("a request");
    for resource in &request.resource_logs {
        let attributes = resource.resource.as_ref().map(|r| r.attributes.as_slice()).unwrap_or_default();
        let (name, origin) = (service(attributes), set(attributes));
        for scope in &resource.scope_logs {
            for record in &scope.log_records {
                arrival(table, position);
                table.number("time", record.time_unix_nano as i64);
                table.number("observed_delay", record.observed_time_unix_nano as i64 - record.time_unix_nano as i64);
                table.text("service_name", &name);
                table.number("severity_number", i64::from(record.severity_number));
                table.text("severity_text", &record.severity_text);
                let body = record.body.as_ref().and_then(|body| body.value.as_ref());
                let Some(any_value::Value::StringValue(body)) = body else { panic!("a body without text") };
                table.bodies.append_value(body);
                table.text("body_type", "string");
                table.id("trace_id", &record.trace_id, 16);
                table.id("span_id", &record.span_id, 8);
                table.number("flags", i64::from(record.flags));
                table.text("attributes", &set(&record.attributes));
                table.text("resource", &origin);
                table.text("scope", "{}");
            }
        }
    }
}

fn spans(table: &mut Table, position: usize, request: &[u8]) {
    let request = ExportTraceServiceRequest::decode(request).expect("a request");
    for resource in &request.resource_spans {
        let attributes = resource.resource.as_ref().map(|r| r.attributes.as_slice()).unwrap_or_default();
        let (name, origin) = (service(attributes), set(attributes));
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                arrival(table, position);
                table.number("time", span.start_time_unix_nano as i64);
                table.number("duration", span.end_time_unix_nano as i64 - span.start_time_unix_nano as i64);
                table.text("service_name", &name);
                table.text("name", &span.name);
                table.number("kind", i64::from(span.kind));
                table.id("trace_id", &span.trace_id, 16);
                table.id("span_id", &span.span_id, 8);
                table.id("parent_span_id", &span.parent_span_id, 8);
                table.number("flags", i64::from(span.flags));
                table.text("attributes", &set(&span.attributes));
                table.text("resource", &origin);
                table.text("scope", "{}");
            }
        }
    }
}

fn points(table: &mut Table, position: usize, request: &[u8]) {
    let request = ExportMetricsServiceRequest::decode(request).expect("a request");
    for resource in &request.resource_metrics {
        let attributes = resource.resource.as_ref().map(|r| r.attributes.as_slice()).unwrap_or_default();
        let (name, origin) = (service(attributes), set(attributes));
        for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let Some(metric::Data::Gauge(gauge)) = &metric.data else { panic!("not a gauge") };
            for point in &gauge.data_points {
                arrival(table, position);
                table.number("time", point.time_unix_nano as i64);
                table.text("service_name", &name);
                table.text("metric_name", &metric.name);
                table.text("metric_type", "gauge");
                table.text("unit", &metric.unit);
                let attributes = set(&point.attributes);
                let identity =
                    xxhash_rust::xxh3::xxh3_64(format!("{origin}\0{}\0{attributes}", metric.name).as_bytes());
                table.text("attributes", &attributes);
                table.number("series_id", identity as i64);
                let value = match point.value {
                    Some(number_data_point::Value::AsDouble(value)) => value,
                    Some(number_data_point::Value::AsInt(value)) => value as f64,
                    None => f64::NAN,
                };
                table.doubles.entry("value").or_default().push(value);
                table.text("resource", &origin);
                table.text("scope", "{}");
            }
        }
    }
}

/// Rows of all batches.
pub(crate) fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}
