//! `ExportLogsServiceRequest` (opentelemetry/proto/logs/v1/logs.proto).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder, UInt32Builder,
};
use trivium_model::{SignalKind, limit};
use trivium_storage::schema::decoded_schema;

use super::column::TextColumn;
use super::origin::OriginColumns;
use super::value::{AttributeColumn, RawSet, Sanitized, TRUNCATED, any_value, type_name, write_value};
use super::wire::{Fields, Value, WireError};
use super::{DecodeError, Outcome, Reason};

#[derive(Debug)]
struct LogColumns {
    origin: OriginColumns,
    time: TimestampNanosecondBuilder,
    observed_delay: Int64Builder,
    severity_number: Int32Builder,
    severity_text: TextColumn,
    body: StringBuilder,
    body_type: TextColumn,
    trace_id: FixedSizeBinaryBuilder,
    span_id: FixedSizeBinaryBuilder,
    flags: UInt32Builder,
    event_name: TextColumn,
    attributes: AttributeColumn,
    dropped: UInt32Builder,
}

/// A log record as it stands on the wire.
#[derive(Debug, Default)]
struct LogRecord<'a> {
    time: u64,
    observed_time: u64,
    severity_number: i32,
    severity_text: &'a [u8],
    body: Option<(u32, Value<'a>)>,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    flags: u32,
    event_name: &'a [u8],
    dropped: u32,
}

pub(super) fn decode(payload: &[u8], outcome: &mut Outcome) -> Result<RecordBatch, DecodeError> {
    let mut columns = LogColumns::new();
    let mut set = RawSet::default();
    let mut resources = Fields::new(payload);
    while let Some((number, value)) = resources.next()? {
        if number != 1 {
            continue;
        }
        for scope in columns.origin.enter_resource(value.bytes()?, &mut outcome.sanitized)? {
            columns.origin.enter_scope(scope, &mut outcome.sanitized)?;
            let mut records = Fields::new(scope);
            while let Some((number, value)) = records.next()? {
                if number == 2
                    && let Err(reason) = columns.push(value.bytes()?, &mut set, outcome)
                {
                    outcome.reject(columns.origin.service(), reason);
                }
            }
        }
    }
    columns.finish()
}

impl<'a> LogRecord<'a> {
    fn read(message: &'a [u8], set: &mut RawSet<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(message);
        let mut record = Self::default();
        set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => record.time = value.fixed64()?,
                2 => record.severity_number = value.int32()?,
                3 => record.severity_text = value.bytes()?,
                5 => record.body = any_value(value.bytes()?)?,
                6 => set.push(value)?,
                7 => record.dropped = value.uint32()?,
                8 => record.flags = value.fixed32()?,
                9 => record.trace_id = value.bytes()?,
                10 => record.span_id = value.bytes()?,
                11 => record.observed_time = value.fixed64()?,
                12 => record.event_name = value.bytes()?,
                _ => {}
            }
        }
        Ok(record)
    }
}

impl LogColumns {
    fn new() -> Self {
        Self {
            origin: OriginColumns::default(),
            time: TimestampNanosecondBuilder::new(),
            observed_delay: Int64Builder::new(),
            severity_number: Int32Builder::new(),
            severity_text: TextColumn::default(),
            body: StringBuilder::new(),
            body_type: TextColumn::default(),
            trace_id: FixedSizeBinaryBuilder::new(16),
            span_id: FixedSizeBinaryBuilder::new(8),
            flags: UInt32Builder::new(),
            event_name: TextColumn::default(),
            attributes: AttributeColumn::default(),
            dropped: UInt32Builder::new(),
        }
    }

    /// Everything that can fail comes before the first column is touched, so that a rejected record leaves no trace.
    fn push<'a>(&mut self, message: &'a [u8], set: &mut RawSet<'a>, outcome: &mut Outcome) -> Result<(), Reason> {
        let record = LogRecord::read(message, set)?;
        let time = self.time_of(&record, outcome)?;
        if self.origin.is_full() {
            return Err(Reason::new("the request has too much distinct text", String::new()));
        }
        let sanitized = &mut outcome.sanitized;
        let (body, is_cut) = body_text(record.body, sanitized)?;
        let attributes = if is_cut { self.marked(set, sanitized)? } else { self.attributes.code(set, sanitized)? };
        self.time.append_value(time);
        let observed = i64::try_from(record.observed_time).ok().filter(|observed| *observed > 0);
        self.observed_delay.append_option(observed.map(|observed| observed.wrapping_sub(time)));
        self.severity_number.append_value(record.severity_number);
        self.severity_text.push_or_null(&sanitized.name(record.severity_text));
        match body {
            Some(body) => self.body.append_value(body),
            None => self.body.append_null(),
        }
        self.body_type.push_or_null(type_name(record.body).unwrap_or_default());
        append_id::<16>(&mut self.trace_id, record.trace_id, sanitized);
        append_id::<8>(&mut self.span_id, record.span_id, sanitized);
        self.flags.append_value(record.flags);
        self.event_name.push_or_null(&sanitized.name(record.event_name));
        self.attributes.push_code(attributes);
        self.dropped.append_value(record.dropped);
        self.origin.push_row();
        Ok(())
    }

    /// The time of the event, else of its observation, else of its receipt (logs data model, Timestamp).
    fn time_of(&self, record: &LogRecord<'_>, outcome: &Outcome) -> Result<i64, Reason> {
        match (record.time, record.observed_time) {
            (0, 0) => Ok(outcome.context.received_at.0),
            (0, observed) => outcome.admit(observed),
            (time, _) => outcome.admit(time),
        }
    }

    /// The attributes of a record whose body was cut.
    fn marked(&mut self, set: &RawSet<'_>, sanitized: &mut Sanitized) -> Result<i32, WireError> {
        // KeyValue { key: "trivium.truncated", value: { bool_value: true } }
        let mut mark = vec![0x0a, TRUNCATED.len() as u8];
        mark.extend_from_slice(TRUNCATED.as_bytes());
        mark.extend_from_slice(&[0x12, 2, 0x10, 1]);
        let mut pairs = set.pairs.clone();
        pairs.push(&mark);
        self.attributes.code(&RawSet { pairs }, sanitized)
    }

    fn finish(mut self) -> Result<RecordBatch, DecodeError> {
        let (service, origin) = self.origin.finish()?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.observed_delay.finish()),
            service,
            Arc::new(self.severity_number.finish()),
            self.severity_text.finish()?,
            Arc::new(self.body.finish()),
            self.body_type.finish()?,
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.flags.finish()),
            self.event_name.finish()?,
            self.attributes.column.finish()?,
            Arc::new(self.dropped.finish()),
        ];
        columns.extend(origin);
        Ok(RecordBatch::try_new(decoded_schema(SignalKind::Logs), columns)?)
    }
}

/// The text of a body and whether it was cut.
fn body_text<'a>(
    body: Option<(u32, Value<'a>)>,
    sanitized: &mut Sanitized,
) -> Result<(Option<Cow<'a, str>>, bool), WireError> {
    let before = sanitized.truncated;
    let text = match body {
        None => None,
        Some((1, value)) => Some(sanitized.short_text(value.bytes()?, limit::BODY_BYTES_MAX)),
        other => {
            let mut json = String::new();
            write_value(&mut json, other, 1, sanitized)?;
            Some(Cow::Owned(json))
        }
    };
    Ok((text, sanitized.truncated > before))
}

/// An ID of the right length that is not all zeroes, else null: the record is kept, not associated (logs data model).
pub(super) fn append_id<const N: usize>(column: &mut FixedSizeBinaryBuilder, bytes: &[u8], sanitized: &mut Sanitized) {
    let is_valid = bytes.len() == N && bytes.iter().any(|byte| *byte != 0);
    if is_valid {
        column.append_value(bytes).expect("the length was checked");
        return;
    }
    if !bytes.is_empty() && (bytes.len() != N) {
        sanitized.bad_ids += 1;
    }
    column.append_null();
}
