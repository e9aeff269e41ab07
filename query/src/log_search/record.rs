//! A log record as JSON, by the conventions of [`crate::api`].

use std::fmt::Write;

use arrow::array::{Array, DictionaryArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType, UInt32Type};
use trivium_storage::attributes::write_string;
use trivium_storage::schema::RECEIVED_AT;

use super::columns::{
    ATTRIBUTES, BODY, BODY_TYPE, EVENT_NAME, FLAGS, RESOURCE, SCOPE, SERVICE, SEVERITY_NUMBER, SEVERITY_TEXT, SPAN_ID,
    TIME, TRACE_ID, dictionary, dictionary_text, ids, numbers, text,
};
use super::json_text::{self, JsonValue};
use crate::api::json::write_hex;
use crate::error::Error;

/// The columns of a batch of whole log records, ready to be written as JSON.
#[derive(Debug)]
pub(crate) struct LogRecords<'batch> {
    event_times: &'batch [i64],
    times: Vec<(&'static str, &'batch arrow::array::TimestampNanosecondArray)>,
    observed_delays: &'batch arrow::array::Int64Array,
    texts: Vec<(&'static str, &'batch DictionaryArray<Int32Type>)>,
    objects: Vec<(&'static str, &'batch DictionaryArray<Int32Type>)>,
    ids: Vec<(&'static str, &'batch FixedSizeBinaryArray)>,
    counts: Vec<(&'static str, &'batch arrow::array::UInt32Array)>,
    severity_numbers: &'batch [i32],
    bodies: &'batch StringArray,
    body_types: &'batch DictionaryArray<Int32Type>,
}

impl<'batch> LogRecords<'batch> {
    /// Looks at a batch with all columns of the table.
    pub(crate) fn new(batch: &'batch RecordBatch) -> Result<Self, Error> {
        let times = |name| numbers::<TimestampNanosecondType>(batch, name);
        let texts = [("service", SERVICE), ("severity_text", SEVERITY_TEXT), ("event_name", EVENT_NAME)];
        let urls = [("resource_schema_url", "resource_schema_url")];
        let counts = [FLAGS, "dropped_attributes_count", "resource_dropped_attributes_count"];
        let named = |(key, name): (&'static str, &str)| Ok((key, dictionary(batch, name)?));
        Ok(Self {
            event_times: times(TIME)?.values(),
            times: vec![(TIME, times(TIME)?), (RECEIVED_AT, times(RECEIVED_AT)?)],
            observed_delays: numbers::<Int64Type>(batch, "observed_delay")?,
            texts: texts.into_iter().chain(urls).map(named).collect::<Result<_, Error>>()?,
            objects: [(ATTRIBUTES, ATTRIBUTES), (RESOURCE, RESOURCE), (SCOPE, SCOPE)]
                .into_iter()
                .map(named)
                .collect::<Result<_, Error>>()?,
            ids: vec![(TRACE_ID, ids(batch, TRACE_ID)?), (SPAN_ID, ids(batch, SPAN_ID)?)],
            counts: counts
                .into_iter()
                .map(|name| Ok((name, numbers::<UInt32Type>(batch, name)?)))
                .collect::<Result<_, Error>>()?,
            severity_numbers: numbers::<Int32Type>(batch, SEVERITY_NUMBER)?.values(),
            bodies: text(batch, BODY)?,
            body_types: dictionary(batch, BODY_TYPE)?,
        })
    }

    /// The column `time`, in nanoseconds.
    pub(crate) fn event_times(&self) -> &'batch [i64] {
        self.event_times
    }

    /// Appends a row. Absent fields are left out, so are counts of zero.
    pub(crate) fn write(&self, output: &mut String, row: usize) {
        let mut fields = Fields { output, separator: '{' };
        for (key, column) in &self.times {
            if column.is_valid(row) {
                let time = column.value(row);
                fields.start(key);
                append(fields.output, format_args!("\"{time}\""));
            }
        }
        if let (Some(time), true) = (self.event_times.get(row), self.observed_delays.is_valid(row)) {
            fields.start("observed_time");
            append(fields.output, format_args!("\"{}\"", time.wrapping_add(self.observed_delays.value(row))));
        }
        let severity = self.severity_numbers.get(row).copied().unwrap_or_default();
        fields.start(SEVERITY_NUMBER);
        append(fields.output, format_args!("{severity}"));
        for (key, column) in &self.texts {
            if let Some(text) = dictionary_text(column, row) {
                fields.start(key);
                write_string(fields.output, text);
            }
        }
        if self.bodies.is_valid(row) {
            fields.start(BODY);
            match dictionary_text(self.body_types, row) {
                None | Some("string") => write_string(fields.output, self.bodies.value(row)),
                Some(_) => write_json(fields.output, self.bodies.value(row)),
            }
        }
        for (key, column) in &self.ids {
            if column.is_valid(row) {
                fields.start(key);
                write_hex(fields.output, column.value(row));
            }
        }
        for (key, column) in &self.counts {
            let count = if column.is_valid(row) { column.value(row) } else { 0 };
            if count != 0 {
                fields.start(key);
                append(fields.output, format_args!("{count}"));
            }
        }
        for (key, column) in &self.objects {
            fields.start(key);
            write_json(fields.output, dictionary_text(column, row).unwrap_or("{}"));
        }
        output.push('}');
    }
}

/// Writes the fields of one object.
struct Fields<'output> {
    output: &'output mut String,
    separator: char,
}

impl Fields<'_> {
    fn start(&mut self, key: &str) {
        self.output.push(self.separator);
        self.separator = ',';
        append(self.output, format_args!("\"{key}\":"));
    }
}

fn append(output: &mut String, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("writing to a String cannot fail");
}

/// Appends a canonical JSON value (see [`trivium_storage::attributes`]) as the API shows it: integers as strings, bytes in
/// base64, keys as they were sent.
pub(crate) fn write_json(output: &mut String, canonical: &str) {
    match json_text::read(canonical) {
        JsonValue::Object(object) => {
            let mut separator = '{';
            for (key, value) in json_text::members(object).into_iter().flatten() {
                output.push(separator);
                separator = ',';
                write_string(output, &key);
                output.push(':');
                write_json(output, value);
            }
            output.push_str(if separator == '{' { "{}" } else { "}" });
        }
        JsonValue::List(list) => {
            let mut separator = '[';
            for value in json_text::elements(list).into_iter().flatten() {
                output.push(separator);
                separator = ',';
                write_json(output, value);
            }
            output.push_str(if separator == '[' { "[]" } else { "]" });
        }
        JsonValue::Number(number) if is_finite_double(number) => output.push_str(number),
        JsonValue::Number(text) | JsonValue::Bytes(text) => write_string(output, text),
        JsonValue::Text(_) => output.push_str(canonical),
        JsonValue::Bool(_) | JsonValue::Null => output.push_str(if canonical.is_empty() { "null" } else { canonical }),
    }
}

/// Integers have neither a point nor an exponent; not-a-number and the infinities begin with a letter.
fn is_finite_double(number: &str) -> bool {
    !number.ends_with(|last: char| last.is_ascii_alphabetic()) && number.contains(['.', 'e', 'E'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_values_become_the_values_of_the_api() {
        for (canonical, shown) in [
            ("{}", "{}"),
            ("[]", "[]"),
            ("", "null"),
            ("null", "null"),
            ("9007199254740993", r#""9007199254740993""#),
            ("-0.5", "-0.5"),
            ("1e300", "1e300"),
            (r#"{"$double":"-Infinity"}"#, r#""-Infinity""#),
            (r#"{"$bytes":"aGk="}"#, r#""aGk=""#),
            (r#"{"$$k":1,"a":[true,{"b":"x\"\n"}]}"#, r#"{"$k":"1","a":[true,{"b":"x\"\n"}]}"#),
        ] {
            let mut output = String::new();
            write_json(&mut output, canonical);
            assert_eq!(output, shown, "{canonical}");
        }
    }
}
