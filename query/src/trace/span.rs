//! Spans as rows and as JSON, by the conventions of [`crate::api`].

use std::fmt::Write;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch,
    StringArray, StructArray,
};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type};
use trivium_storage::attributes::write_string;

use crate::api::json::write_hex;
use crate::error::Error;
use crate::log_search::record::write_json;

/// A batch of whole spans by its columns.
#[derive(Debug)]
pub(crate) struct Spans<'batch> {
    pub(crate) times: &'batch [i64],
    pub(crate) durations: &'batch PrimitiveArray<Int64Type>,
    pub(crate) services: &'batch DictionaryArray<Int32Type>,
    pub(crate) names: &'batch DictionaryArray<Int32Type>,
    kinds: &'batch [i32],
    pub(crate) trace_ids: &'batch FixedSizeBinaryArray,
    pub(crate) span_ids: &'batch FixedSizeBinaryArray,
    pub(crate) parent_ids: &'batch FixedSizeBinaryArray,
    pub(crate) status_codes: &'batch [i32],
    status_messages: &'batch DictionaryArray<Int32Type>,
    trace_states: &'batch DictionaryArray<Int32Type>,
    schema_urls: &'batch DictionaryArray<Int32Type>,
    attributes: &'batch DictionaryArray<Int32Type>,
    resources: &'batch DictionaryArray<Int32Type>,
    scopes: &'batch DictionaryArray<Int32Type>,
    counts: Vec<(&'static str, &'batch [u32])>,
    events: Children<'batch>,
    links: Children<'batch>,
}

/// A list of structs: events or links.
#[derive(Debug)]
struct Children<'batch> {
    list: &'batch ListArray,
    fields: &'batch StructArray,
}

fn missing(name: &str) -> Error {
    Error::Internal(format!("the column {name} is missing or of another type"))
}

fn column<'batch>(batch: &'batch RecordBatch, name: &str) -> Result<&'batch ArrayRef, Error> {
    batch.column_by_name(name).ok_or_else(|| missing(name))
}

fn numbers<'batch, T: ArrowPrimitiveType>(
    batch: &'batch RecordBatch,
    name: &str,
) -> Result<&'batch PrimitiveArray<T>, Error> {
    column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| missing(name))
}

/// A column of repeating text.
pub(crate) fn texts<'batch>(
    batch: &'batch RecordBatch,
    name: &str,
) -> Result<&'batch DictionaryArray<Int32Type>, Error> {
    let texts = column(batch, name)?.as_dictionary_opt::<Int32Type>().ok_or_else(|| missing(name))?;
    texts.values().as_string_opt::<i32>().map(|_| texts).ok_or_else(|| missing(name))
}

/// The text of a row; `None` for null.
pub(crate) fn text_at(column: &DictionaryArray<Int32Type>, row: usize) -> Option<&str> {
    let values: &StringArray = column.values().as_string();
    column.key(row).filter(|key| *key < values.len()).map(|key| values.value(key))
}

impl<'batch> Children<'batch> {
    fn new(batch: &'batch RecordBatch, name: &str) -> Result<Self, Error> {
        let list = column(batch, name)?.as_list_opt::<i32>().ok_or_else(|| missing(name))?;
        let fields = list.values().as_struct_opt().ok_or_else(|| missing(name))?;
        Ok(Self { list, fields })
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        if self.list.is_null(row) {
            return 0..0;
        }
        let offsets = self.list.value_offsets();
        let at = |index: usize| usize::try_from(offsets[index]).unwrap_or(0);
        at(row)..at(row + 1)
    }

    fn field(&self, name: &str) -> Option<&'batch ArrayRef> {
        self.fields.column_by_name(name)
    }
}

impl<'batch> Spans<'batch> {
    /// Looks at a batch with all columns of the table.
    pub(crate) fn new(batch: &'batch RecordBatch) -> Result<Self, Error> {
        let ids = |name| crate::lookup::id_column(batch, name);
        let counts = [
            "flags",
            "dropped_attributes_count",
            "dropped_events_count",
            "dropped_links_count",
            "resource_dropped_attributes_count",
        ];
        let count = |name: &'static str| Ok((name, &numbers::<UInt32Type>(batch, name)?.values()[..]));
        Ok(Self {
            times: numbers::<TimestampNanosecondType>(batch, "time")?.values(),
            durations: numbers(batch, "duration")?,
            services: texts(batch, "service_name")?,
            names: texts(batch, "name")?,
            kinds: numbers::<Int32Type>(batch, "kind")?.values(),
            trace_ids: ids("trace_id")?,
            span_ids: ids("span_id")?,
            parent_ids: ids("parent_span_id")?,
            status_codes: numbers::<Int32Type>(batch, "status_code")?.values(),
            status_messages: texts(batch, "status_message")?,
            trace_states: texts(batch, "trace_state")?,
            schema_urls: texts(batch, "resource_schema_url")?,
            attributes: texts(batch, "attributes")?,
            resources: texts(batch, "resource")?,
            scopes: texts(batch, "scope")?,
            counts: counts.into_iter().map(count).collect::<Result<_, Error>>()?,
            events: Children::new(batch, "events")?,
            links: Children::new(batch, "links")?,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn service(&self, row: usize) -> &'batch str {
        text_at(self.services, row).unwrap_or_default()
    }

    pub(crate) fn name(&self, row: usize) -> &'batch str {
        text_at(self.names, row).unwrap_or_default()
    }

    pub(crate) fn span_id(&self, row: usize) -> &'batch [u8] {
        self.span_ids.value(row)
    }

    pub(crate) fn parent_id(&self, row: usize) -> Option<&'batch [u8]> {
        self.parent_ids.is_valid(row).then(|| self.parent_ids.value(row))
    }

    pub(crate) fn duration(&self, row: usize) -> Option<i64> {
        self.durations.is_valid(row).then(|| self.durations.value(row))
    }

    /// The trace IDs of the links of a span.
    pub(crate) fn linked_traces(&self, row: usize) -> Vec<trivium_model::TraceId> {
        let ids = self.links.field("trace_id").and_then(|column| column.as_fixed_size_binary_opt());
        let Some(ids) = ids else { return Vec::new() };
        self.links.range(row).filter_map(|index| crate::lookup::id_at(ids, index)).collect()
    }

    /// Appends a span as a JSON object without its closing brace, so that the caller can add what it knows.
    pub(crate) fn write_open(&self, output: &mut String, row: usize) {
        output.push_str("{\"trace_id\":");
        write_hex(output, self.trace_ids.value(row));
        output.push_str(",\"span_id\":");
        write_hex(output, self.span_id(row));
        if let Some(parent) = self.parent_id(row) {
            output.push_str(",\"parent_span_id\":");
            write_hex(output, parent);
        }
        self.write_own(output, row);
        for (key, column) in [("attributes", self.attributes), ("resource", self.resources), ("scope", self.scopes)] {
            append(output, format_args!(",\"{key}\":"));
            write_json(output, text_at(column, row).unwrap_or("{}"));
        }
        output.push_str(",\"events\":[");
        self.write_events(output, row);
        output.push_str("],\"links\":[");
        self.write_links(output, row);
        output.push(']');
    }

    fn write_own(&self, output: &mut String, row: usize) {
        for (key, text) in [("name", self.name(row)), ("service", self.service(row))] {
            append(output, format_args!(",\"{key}\":"));
            write_string(output, text);
        }
        let start = self.times[row];
        append(output, format_args!(",\"kind\":\"{}\",\"start_time\":\"{start}\"", kind_name(self.kinds[row])));
        if let Some(duration) = self.duration(row) {
            append(
                output,
                format_args!(",\"end_time\":\"{}\",\"duration\":\"{duration}\"", start.wrapping_add(duration)),
            );
        }
        append(output, format_args!(",\"status\":{{\"code\":\"{}\"", status_name(self.status_codes[row])));
        if let Some(message) = text_at(self.status_messages, row) {
            output.push_str(",\"message\":");
            write_string(output, message);
        }
        output.push('}');
        for (key, column) in [("trace_state", self.trace_states), ("resource_schema_url", self.schema_urls)] {
            if let Some(text) = text_at(column, row) {
                append(output, format_args!(",\"{key}\":"));
                write_string(output, text);
            }
        }
        for (key, values) in self.counts.iter().filter(|(_, values)| values[row] != 0) {
            append(output, format_args!(",\"{key}\":{}", values[row]));
        }
    }

    fn write_events(&self, output: &mut String, row: usize) {
        let children = &self.events;
        for index in children.range(row) {
            separate(output);
            output.push('{');
            write_child_time(output, children, index);
            write_child_text(output, children, "name", index);
            write_child_attributes(output, children, index);
            output.push('}');
        }
    }

    fn write_links(&self, output: &mut String, row: usize) {
        let children = &self.links;
        for index in children.range(row) {
            separate(output);
            output.push('{');
            for name in ["trace_id", "span_id"] {
                let ids = children.field(name).and_then(|column| column.as_fixed_size_binary_opt());
                if let Some(ids) = ids.filter(|ids| ids.is_valid(index)) {
                    append(output, format_args!("\"{name}\":"));
                    write_hex(output, ids.value(index));
                    output.push(',');
                }
            }
            write_child_text(output, children, "trace_state", index);
            let flags = children.field("flags").and_then(|column| column.as_primitive_opt::<UInt32Type>());
            if let Some(flags) = flags.map(|flags| flags.value(index)).filter(|flags| *flags != 0) {
                append(output, format_args!("\"flags\":{flags},"));
            }
            write_child_attributes(output, children, index);
            output.push('}');
        }
    }
}

fn append(output: &mut String, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("writing to a String cannot fail");
}

fn separate(output: &mut String) {
    if !output.ends_with('[') {
        output.push(',');
    }
}

fn write_child_time(output: &mut String, children: &Children<'_>, index: usize) {
    let times = children.field("time").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let time = times.map_or(0, |times| times.value(index));
    append(output, format_args!("\"time\":\"{time}\","));
}

fn write_child_text(output: &mut String, children: &Children<'_>, name: &str, index: usize) {
    let texts = children.field(name).and_then(|column| column.as_string_opt::<i32>());
    if let Some(texts) = texts.filter(|texts| texts.is_valid(index)) {
        append(output, format_args!("\"{name}\":"));
        write_string(output, texts.value(index));
        output.push(',');
    }
}

fn write_child_attributes(output: &mut String, children: &Children<'_>, index: usize) {
    let texts = children.field("attributes").and_then(|column| column.as_string_opt::<i32>());
    output.push_str("\"attributes\":");
    write_json(output, texts.map_or("{}", |texts| texts.value(index)));
    let dropped = children.field("dropped_attributes_count").and_then(|column| column.as_primitive_opt::<UInt32Type>());
    let dropped = dropped.map_or(0, |dropped| dropped.value(index));
    if dropped > 0 {
        append(output, format_args!(",\"dropped_attributes_count\":{dropped}"));
    }
}

/// The name of a span kind; a number that OpenTelemetry does not know is unspecified to it.
fn kind_name(kind: i32) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

fn status_name(code: i32) -> &'static str {
    match code {
        1 => "ok",
        2 => "error",
        _ => "unset",
    }
}
