//! `ExportLogsServiceRequest` (opentelemetry/proto/logs/v1/logs.proto).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType, UInt32Type};
use trivium_model::{SignalKind, limit};
use trivium_storage::schema::decoded_schema;

use super::attribute_set::{AttributeColumn, RawSet};
use super::column::{ABSENT, IdColumn, OptionalNumbers, TextColumn, numbers};
use super::origin::{OriginColumns, Rows, expect_rows, walk};
use super::sanitize::beginning;
use super::value::{AnyValue, ValueWriter, any_value, type_name};
use super::wire::{Fields, Value, WireError};
use super::{DecodeError, Outcome, Reason};

#[derive(Debug)]
struct LogColumns<'a> {
    origin: OriginColumns<'a>,
    time: Vec<i64>,
    observed_delay: OptionalNumbers<Int64Type>,
    severity_number: Vec<i32>,
    severity_text: TextColumn,
    body: Vec<Option<Cow<'a, str>>>,
    body_type: TextColumn,
    trace_id: IdColumn<16>,
    span_id: IdColumn<8>,
    flags: Vec<u32>,
    event_name: TextColumn,
    attributes: AttributeColumn<'a>,
    dropped: Vec<u32>,
    /// The attributes of the record at hand.
    set: RawSet<'a>,
}

/// A log record as it stands on the wire.
#[derive(Debug, Default)]
struct LogRecord<'a> {
    time: u64,
    observed_time: u64,
    severity_number: i32,
    severity_text: &'a [u8],
    body: AnyValue<'a>,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    flags: u32,
    event_name: &'a [u8],
    dropped: u32,
}

/// A body as the columns show it.
#[derive(Debug)]
struct Body<'a> {
    text: Option<Cow<'a, str>>,
    type_name: Option<&'static str>,
    is_cut: bool,
}

pub(super) fn decode<'a>(payload: &'a [u8], outcome: &mut Outcome<'a>) -> Result<RecordBatch, DecodeError> {
    let rows = expect_rows::<LogColumns<'_>>(payload)?;
    let mut columns = LogColumns::with_capacity(rows);
    walk(payload, &mut columns, outcome)?;
    columns.finish()
}

impl<'a> LogRecord<'a> {
    fn read(message: &'a [u8], set: &mut RawSet<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(message);
        let mut record = Self::default();
        let mut before = message;
        set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => record.time = value.fixed64(&fields)?,
                2 => record.severity_number = value.int32(&fields)?,
                3 => record.severity_text = value.bytes(&fields)?,
                5 => record.body = any_value(value.bytes(&fields)?)?,
                6 => {
                    value.bytes(&fields)?;
                    set.push(before, fields.rest());
                }
                7 => record.dropped = value.uint32(&fields)?,
                8 => record.flags = value.fixed32(&fields)?,
                9 => record.trace_id = value.bytes(&fields)?,
                10 => record.span_id = value.bytes(&fields)?,
                11 => record.observed_time = value.fixed64(&fields)?,
                12 => record.event_name = value.bytes(&fields)?,
                _ => {}
            }
            before = fields.rest();
        }
        Ok(record)
    }

    /// The time of the event, else of its observation, else of its receipt (logs data model, Timestamp).
    fn time(&self, outcome: &Outcome<'_>) -> Result<i64, Reason> {
        match (self.time, self.observed_time) {
            (0, 0) => Ok(outcome.context.received_at.0),
            (0, observed) => outcome.admit(observed),
            (time, _) => outcome.admit(time),
        }
    }
}

impl<'a> Rows<'a> for LogColumns<'a> {
    const BYTES: usize = 256;

    fn origin(&mut self) -> &mut OriginColumns<'a> {
        &mut self.origin
    }

    fn take(&mut self, message: &'a [u8], outcome: &mut Outcome<'a>) {
        let before = outcome.writer.sanitized;
        if let Err(reason) = self.push(message, outcome) {
            outcome.writer.sanitized = before;
            outcome.reject(self.origin.service(), 1, reason);
        }
    }

    fn count(_: &[u8]) -> usize {
        1
    }
}

impl<'a> LogColumns<'a> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            origin: OriginColumns::with_capacity(rows),
            time: Vec::with_capacity(rows),
            observed_delay: OptionalNumbers::with_capacity(rows),
            severity_number: Vec::with_capacity(rows),
            severity_text: TextColumn::with_capacity(rows),
            body: Vec::with_capacity(rows),
            body_type: TextColumn::with_capacity(rows),
            trace_id: IdColumn::with_capacity(rows),
            span_id: IdColumn::with_capacity(rows),
            flags: Vec::with_capacity(rows),
            event_name: TextColumn::with_capacity(rows),
            attributes: AttributeColumn::with_capacity(rows),
            dropped: Vec::with_capacity(rows),
            set: RawSet::default(),
        }
    }

    /// Everything that can fail comes before the first column is touched, so that a rejected record leaves no trace.
    fn push(&mut self, message: &'a [u8], outcome: &mut Outcome<'a>) -> Result<(), Reason> {
        let record = LogRecord::read(message, &mut self.set)?;
        let time = record.time(outcome)?;
        let writer = &mut outcome.writer;
        let body = read_body(record.body, writer)?;
        let attributes = if body.is_cut {
            self.attributes.code_of_altered(&self.set, writer, true)
        } else {
            self.attributes.code(&self.set, writer)
        };
        self.time.push(time);
        self.attributes.push(attributes);
        self.body.push(body.text);
        let body_type =
            body.type_name.map_or(ABSENT, |name| self.body_type.code(name.as_bytes(), &mut writer.sanitized));
        self.body_type.push(body_type);
        self.push_own(&record, time, writer);
        self.origin.push_row();
        Ok(())
    }

    fn push_own(&mut self, record: &LogRecord<'a>, time: i64, writer: &mut ValueWriter<'a>) {
        let sanitized = &mut writer.sanitized;
        let observed = i64::try_from(record.observed_time).ok().filter(|observed| *observed > 0);
        self.observed_delay.push(observed.map(|observed| observed.wrapping_sub(time)));
        self.severity_number.push(record.severity_number);
        let severity_text = self.severity_text.code(record.severity_text, sanitized);
        self.severity_text.push(severity_text);
        let (trace_id, span_id) = sanitized.log_ids(record.trace_id, record.span_id);
        self.trace_id.push(trace_id);
        self.span_id.push(span_id);
        self.flags.push(record.flags);
        let event_name = self.event_name.code(record.event_name, sanitized);
        self.event_name.push(event_name);
        self.dropped.push(record.dropped);
    }

    fn finish(self) -> Result<RecordBatch, DecodeError> {
        let (service, origin) = self.origin.finish()?;
        let mut columns: Vec<ArrayRef> = vec![
            numbers::<TimestampNanosecondType>(self.time),
            self.observed_delay.finish(),
            service,
            numbers::<Int32Type>(self.severity_number),
            self.severity_text.finish()?,
            bodies(&self.body),
            self.body_type.finish()?,
            self.trace_id.finish()?,
            self.span_id.finish()?,
            numbers::<UInt32Type>(self.flags),
            self.event_name.finish()?,
            self.attributes.finish()?,
            numbers::<UInt32Type>(self.dropped),
        ];
        columns.extend(origin);
        Ok(RecordBatch::try_new(decoded_schema(SignalKind::Logs), columns)?)
    }
}

/// The bodies as one column of exactly their size.
fn bodies(texts: &[Option<Cow<'_, str>>]) -> ArrayRef {
    let bytes = texts.iter().flatten().map(|text| text.len()).sum();
    let mut builder = StringBuilder::with_capacity(texts.len(), bytes);
    for text in texts {
        builder.append_option(text.as_deref());
    }
    Arc::new(builder.finish())
}

fn read_body<'a>(body: AnyValue<'a>, writer: &mut ValueWriter<'a>) -> Result<Body<'a>, WireError> {
    let before = writer.sanitized;
    let (text, type_name) = match body {
        None => (None, None),
        Some((1, Value::Bytes(bytes))) => {
            (Some(writer.sanitized.short_text(bytes, limit::BODY_BYTES_MAX)), Some("string"))
        }
        other => {
            let json = writer.value(other)?;
            if json.len() <= limit::BODY_BYTES_MAX {
                (Some(Cow::Owned(json.to_owned())), type_name(&other))
            } else {
                // The beginning of a structure is no structure any more.
                let text = beginning(json, limit::BODY_BYTES_MAX).to_owned();
                writer.sanitized.count_truncated();
                (Some(Cow::Owned(text)), Some("string"))
            }
        }
    };
    Ok(Body { text, type_name, is_cut: writer.sanitized.has_cut_since(&before) })
}
