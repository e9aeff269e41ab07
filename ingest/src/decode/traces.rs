//! `ExportTraceServiceRequest` (opentelemetry/proto/trace/v1/trace.proto).

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType, UInt32Type};
use trivium_model::SignalKind;
use trivium_storage::schema::decoded_schema;

use super::attribute_set::{AttributeColumn, RawSet};
use super::children::{Children, EventColumn, LinkColumn};
use super::column::{AbsentColumns, IdColumn, OptionalNumbers, TextColumn, numbers, valid_id};
use super::origin::{OriginColumns, Rows, expect_rows, walk};
use super::sanitize::Sanitized;
use super::wire::{Fields, WireError};
use super::{DecodeError, Outcome, Reason};

#[derive(Debug)]
struct SpanColumns<'a> {
    origin: OriginColumns<'a>,
    time: Vec<i64>,
    duration: OptionalNumbers<Int64Type>,
    name: TextColumn,
    kind: Vec<i32>,
    trace_id: IdColumn<16>,
    span_id: IdColumn<8>,
    parent_span_id: IdColumn<8>,
    trace_state: TextColumn,
    flags: Vec<u32>,
    status_code: Vec<i32>,
    status_message: TextColumn,
    attributes: AttributeColumn<'a>,
    dropped_attributes: Vec<u32>,
    events: EventColumn,
    dropped_events: Vec<u32>,
    links: LinkColumn,
    dropped_links: Vec<u32>,
    /// The attributes, events and links of the span at hand.
    set: RawSet<'a>,
    children: Children<'a>,
}

/// A span as it stands on the wire.
#[derive(Debug, Default)]
struct Span<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    trace_state: &'a [u8],
    parent_span_id: &'a [u8],
    name: &'a [u8],
    kind: i32,
    start: u64,
    end: u64,
    dropped_attributes: u32,
    has_children: bool,
    dropped_events: u32,
    dropped_links: u32,
    status: (&'a [u8], i32),
    flags: u32,
}

pub(super) fn decode<'a>(payload: &'a [u8], outcome: &mut Outcome<'a>) -> Result<RecordBatch, DecodeError> {
    let rows = expect_rows::<SpanColumns<'_>>(payload)?;
    let mut columns = SpanColumns::with_capacity(rows);
    walk(payload, &mut columns, outcome)?;
    columns.finish()
}

impl<'a> Span<'a> {
    fn read(message: &'a [u8], set: &mut RawSet<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(message);
        let mut span = Self::default();
        let mut before = message;
        set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => span.trace_id = value.bytes(&fields)?,
                2 => span.span_id = value.bytes(&fields)?,
                3 => span.trace_state = value.bytes(&fields)?,
                4 => span.parent_span_id = value.bytes(&fields)?,
                5 => span.name = value.bytes(&fields)?,
                6 => span.kind = value.int32(&fields)?,
                7 => span.start = value.fixed64(&fields)?,
                8 => span.end = value.fixed64(&fields)?,
                9 => {
                    value.bytes(&fields)?;
                    set.push(before, fields.rest());
                }
                10 => span.dropped_attributes = value.uint32(&fields)?,
                11 | 13 => span.has_children = true,
                12 => span.dropped_events = value.uint32(&fields)?,
                14 => span.dropped_links = value.uint32(&fields)?,
                15 => span.status = read_status(value.bytes(&fields)?)?,
                16 => span.flags = value.fixed32(&fields)?,
                _ => {}
            }
            before = fields.rest();
        }
        Ok(span)
    }

    fn ids(&self) -> Result<(&'a [u8; 16], &'a [u8; 8]), Reason> {
        let found = |id: &[u8]| format!("{} bytes: {}", id.len(), hex(id));
        let trace_id = valid_id(self.trace_id);
        let trace_id = trace_id.ok_or_else(|| Reason::new("span has no valid trace ID", found(self.trace_id)))?;
        let span_id = valid_id(self.span_id);
        let span_id = span_id.ok_or_else(|| Reason::new("span has no valid span ID", found(self.span_id)))?;
        Ok((trace_id, span_id))
    }

    /// End minus start, also when it is negative; none without an end.
    fn duration(&self) -> Option<i64> {
        let nanos = i128::from(self.end) - i128::from(self.start);
        (self.end != 0).then(|| nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect()
}

fn read_status(message: &[u8]) -> Result<(&[u8], i32), WireError> {
    let mut fields = Fields::new(message);
    let (mut text, mut code) = (&[][..], 0);
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => text = value.bytes(&fields)?,
            3 => code = value.int32(&fields)?,
            _ => {}
        }
    }
    Ok((text, code))
}

impl<'a> Rows<'a> for SpanColumns<'a> {
    const BYTES: usize = 128;

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

impl<'a> SpanColumns<'a> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            origin: OriginColumns::with_capacity(rows),
            time: Vec::with_capacity(rows),
            duration: OptionalNumbers::with_capacity(rows),
            name: TextColumn::with_capacity(rows),
            kind: Vec::with_capacity(rows),
            trace_id: IdColumn::with_capacity(rows),
            span_id: IdColumn::with_capacity(rows),
            parent_span_id: IdColumn::with_capacity(rows),
            trace_state: TextColumn::with_capacity(rows),
            flags: Vec::with_capacity(rows),
            status_code: Vec::with_capacity(rows),
            status_message: TextColumn::with_capacity(rows),
            attributes: AttributeColumn::with_capacity(rows),
            dropped_attributes: Vec::with_capacity(rows),
            events: EventColumn::new(),
            dropped_events: Vec::with_capacity(rows),
            links: LinkColumn::new(),
            dropped_links: Vec::with_capacity(rows),
            set: RawSet::default(),
            children: Children::default(),
        }
    }

    /// Everything that can fail comes before the first column is touched, so that a rejected span leaves no trace.
    fn push(&mut self, message: &'a [u8], outcome: &mut Outcome<'a>) -> Result<(), Reason> {
        let span = Span::read(message, &mut self.set)?;
        let (trace_id, span_id) = span.ids()?;
        let time = outcome.admit(span.start)?;
        let row = self.origin.rows();
        let writer = &mut outcome.writer;
        if span.has_children {
            self.children.read(message, writer)?;
            outcome.nested.admit(self.children.len())?;
        } else {
            self.children.clear();
        }
        let attributes = self.attributes.code(&self.set, writer);
        self.time.push(time);
        self.trace_id.push(Some(trace_id));
        self.span_id.push(Some(span_id));
        self.attributes.push(attributes);
        self.push_own(&span, &mut writer.sanitized);
        self.events.push(row, &self.children, &mut writer.sanitized);
        self.links.push(row, &self.children, &mut writer.sanitized);
        self.origin.push_row();
        Ok(())
    }

    fn push_own(&mut self, span: &Span<'a>, sanitized: &mut Sanitized) {
        self.duration.push(span.duration());
        let name = self.name.code_of_any(span.name, sanitized);
        self.name.push(name);
        self.kind.push(span.kind);
        self.parent_span_id.push(sanitized.id(span.parent_span_id));
        let trace_state = self.trace_state.code(span.trace_state, sanitized);
        self.trace_state.push(trace_state);
        self.flags.push(span.flags);
        let (message, code) = span.status;
        self.status_code.push(code);
        let message = self.status_message.code(message, sanitized);
        self.status_message.push(message);
        self.dropped_attributes.push(span.dropped_attributes);
        self.dropped_events.push(span.dropped_events.saturating_add(self.children.events_cut()));
        self.dropped_links.push(span.dropped_links.saturating_add(self.children.links_cut()));
    }

    fn finish(self) -> Result<RecordBatch, DecodeError> {
        let rows = self.origin.rows();
        let (service, origin) = self.origin.finish()?;
        let mut absent = AbsentColumns::default();
        let mut columns: Vec<ArrayRef> = vec![
            numbers::<TimestampNanosecondType>(self.time),
            self.duration.finish(),
            service,
            self.name.finish()?,
            numbers::<Int32Type>(self.kind),
            self.trace_id.finish()?,
            self.span_id.finish()?,
            self.parent_span_id.finish()?,
            self.trace_state.finish()?,
            numbers::<UInt32Type>(self.flags),
            numbers::<Int32Type>(self.status_code),
            self.status_message.finish()?,
            self.attributes.finish()?,
            numbers::<UInt32Type>(self.dropped_attributes),
            self.events.finish(rows, &mut absent),
            numbers::<UInt32Type>(self.dropped_events),
            self.links.finish(rows, &mut absent),
            numbers::<UInt32Type>(self.dropped_links),
        ];
        columns.extend(origin);
        Ok(RecordBatch::try_new(decoded_schema(SignalKind::Traces), columns)?)
    }
}
