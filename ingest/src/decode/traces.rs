//! `ExportTraceServiceRequest` (opentelemetry/proto/trace/v1/trace.proto).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder,
    StructBuilder, TimestampNanosecondBuilder, UInt32Builder,
};
use arrow::datatypes::{DataType, Field};
use trivium_model::{SignalKind, limit};
use trivium_storage::schema::{decoded_schema, event_fields, link_fields};

use super::column::{SparseColumn, TextColumn};
use super::logs::append_id;
use super::origin::OriginColumns;
use super::value::{AttributeColumn, RawSet, Sanitized};
use super::wire::{Fields, WireError};
use super::{DecodeError, Outcome, Reason};

type Children = SparseColumn<ListBuilder<StructBuilder>>;

#[derive(Debug)]
struct SpanColumns {
    origin: OriginColumns,
    rows: usize,
    time: TimestampNanosecondBuilder,
    duration: Int64Builder,
    name: TextColumn,
    kind: Int32Builder,
    trace_id: FixedSizeBinaryBuilder,
    span_id: FixedSizeBinaryBuilder,
    parent_span_id: FixedSizeBinaryBuilder,
    trace_state: TextColumn,
    flags: UInt32Builder,
    status_code: Int32Builder,
    status_message: TextColumn,
    attributes: AttributeColumn,
    dropped_attributes: UInt32Builder,
    events: Children,
    dropped_events: UInt32Builder,
    links: Children,
    dropped_links: UInt32Builder,
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
    events: Vec<&'a [u8]>,
    dropped_events: u32,
    links: Vec<&'a [u8]>,
    dropped_links: u32,
    status_message: &'a [u8],
    status_code: i32,
    flags: u32,
}

/// One event or link, decoded before a column is touched.
#[derive(Debug, Default)]
struct Child<'a> {
    time: i64,
    name: &'a [u8],
    trace_id: &'a [u8],
    span_id: &'a [u8],
    attributes: String,
    dropped: u32,
    flags: u32,
}

pub(super) fn decode(payload: &[u8], outcome: &mut Outcome) -> Result<RecordBatch, DecodeError> {
    let mut columns = SpanColumns::new();
    let mut set = RawSet::default();
    let mut resources = Fields::new(payload);
    while let Some((number, value)) = resources.next()? {
        if number != 1 {
            continue;
        }
        for scope in columns.origin.enter_resource(value.bytes()?, &mut outcome.sanitized)? {
            columns.origin.enter_scope(scope, &mut outcome.sanitized)?;
            let mut spans = Fields::new(scope);
            while let Some((number, value)) = spans.next()? {
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

impl<'a> Span<'a> {
    fn read(message: &'a [u8], set: &mut RawSet<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(message);
        let mut span = Self::default();
        set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => span.trace_id = value.bytes()?,
                2 => span.span_id = value.bytes()?,
                3 => span.trace_state = value.bytes()?,
                4 => span.parent_span_id = value.bytes()?,
                5 => span.name = value.bytes()?,
                6 => span.kind = value.int32()?,
                7 => span.start = value.fixed64()?,
                8 => span.end = value.fixed64()?,
                9 => set.push(value)?,
                10 => span.dropped_attributes = value.uint32()?,
                11 => span.events.push(value.bytes()?),
                12 => span.dropped_events = value.uint32()?,
                13 => span.links.push(value.bytes()?),
                14 => span.dropped_links = value.uint32()?,
                15 => (span.status_message, span.status_code) = read_status(value.bytes()?)?,
                16 => span.flags = value.fixed32()?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn check(&self) -> Result<(), Reason> {
        let is_id = |bytes: &[u8], length| bytes.len() == length && bytes.iter().any(|byte| *byte != 0);
        if !is_id(self.trace_id, 16) {
            return Err(Reason::new(
                "span has no valid trace ID",
                format!("{} bytes: {}", self.trace_id.len(), hex(self.trace_id)),
            ));
        }
        if !is_id(self.span_id, 8) {
            return Err(Reason::new(
                "span has no valid span ID",
                format!("{} bytes: {}", self.span_id.len(), hex(self.span_id)),
            ));
        }
        Ok(())
    }

    /// End minus start, exactly as sent, also when it is negative; none without an end.
    fn duration(&self) -> Option<i64> {
        (self.end != 0).then(|| self.end.wrapping_sub(self.start) as i64)
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
            2 => text = value.bytes()?,
            3 => code = value.int32()?,
            _ => {}
        }
    }
    Ok((text, code))
}

fn read_event<'a>(message: &'a [u8], sanitized: &mut Sanitized) -> Result<Child<'a>, WireError> {
    let mut fields = Fields::new(message);
    let (mut event, mut set) = (Child::default(), RawSet::default());
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => event.time = i64::try_from(value.fixed64()?).unwrap_or(i64::MAX),
            2 => event.name = value.bytes()?,
            3 => set.push(value)?,
            4 => event.dropped = value.uint32()?,
            _ => {}
        }
    }
    event.attributes = set.to_json(sanitized)?;
    Ok(event)
}

fn read_link<'a>(message: &'a [u8], sanitized: &mut Sanitized) -> Result<Child<'a>, WireError> {
    let mut fields = Fields::new(message);
    let (mut link, mut set) = (Child::default(), RawSet::default());
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => link.trace_id = value.bytes()?,
            2 => link.span_id = value.bytes()?,
            3 => link.name = value.bytes()?,
            4 => set.push(value)?,
            5 => link.dropped = value.uint32()?,
            6 => link.flags = value.fixed32()?,
            _ => {}
        }
    }
    link.attributes = set.to_json(sanitized)?;
    Ok(link)
}

/// Events or links beyond the limit count as dropped.
fn over_limit(children: usize) -> u32 {
    u32::try_from(children.saturating_sub(limit::SPAN_CHILDREN_MAX)).unwrap_or(u32::MAX)
}

fn children<'a>(
    messages: &[&'a [u8]],
    read: fn(&'a [u8], &mut Sanitized) -> Result<Child<'a>, WireError>,
    sanitized: &mut Sanitized,
) -> Result<Vec<Child<'a>>, WireError> {
    messages.iter().take(limit::SPAN_CHILDREN_MAX).map(|message| read(message, sanitized)).collect()
}

fn event_builder() -> StructBuilder {
    StructBuilder::new(
        event_fields(),
        vec![
            Box::new(TimestampNanosecondBuilder::new()),
            Box::new(StringBuilder::new()),
            Box::new(StringBuilder::new()),
            Box::new(UInt32Builder::new()),
        ],
    )
}

fn link_builder() -> StructBuilder {
    StructBuilder::new(
        link_fields(),
        vec![
            Box::new(FixedSizeBinaryBuilder::new(16)),
            Box::new(FixedSizeBinaryBuilder::new(8)),
            Box::new(StringBuilder::new()),
            Box::new(StringBuilder::new()),
            Box::new(UInt32Builder::new()),
            Box::new(UInt32Builder::new()),
        ],
    )
}

fn list_column(values: StructBuilder, item: DataType) -> Children {
    let builder = ListBuilder::new(values).with_field(Field::new("item", item, true));
    SparseColumn::new(builder, |builder| builder.append_null())
}

/// The field of a struct builder; the types are those of the functions above.
fn field<B: arrow::array::ArrayBuilder>(builder: &mut StructBuilder, index: usize) -> &mut B {
    builder.field_builder(index).expect("the fields of the schema are those of the builder")
}

fn append_event(list: &mut ListBuilder<StructBuilder>, event: &Child<'_>, sanitized: &mut Sanitized) {
    let builder = list.values();
    field::<TimestampNanosecondBuilder>(builder, 0).append_value(event.time);
    field::<StringBuilder>(builder, 1).append_value(sanitized.name(event.name));
    field::<StringBuilder>(builder, 2).append_value(&event.attributes);
    field::<UInt32Builder>(builder, 3).append_value(event.dropped);
    builder.append(true);
}

fn append_link(list: &mut ListBuilder<StructBuilder>, link: &Child<'_>, sanitized: &mut Sanitized) {
    let builder = list.values();
    append_id::<16>(field(builder, 0), link.trace_id, sanitized);
    append_id::<8>(field(builder, 1), link.span_id, sanitized);
    let state = sanitized.name(link.name);
    field::<StringBuilder>(builder, 2).append_option((!state.is_empty()).then_some(state));
    field::<StringBuilder>(builder, 3).append_value(&link.attributes);
    field::<UInt32Builder>(builder, 4).append_value(link.dropped);
    field::<UInt32Builder>(builder, 5).append_value(link.flags);
    builder.append(true);
}

impl SpanColumns {
    fn new() -> Self {
        Self {
            origin: OriginColumns::default(),
            rows: 0,
            time: TimestampNanosecondBuilder::new(),
            duration: Int64Builder::new(),
            name: TextColumn::default(),
            kind: Int32Builder::new(),
            trace_id: FixedSizeBinaryBuilder::new(16),
            span_id: FixedSizeBinaryBuilder::new(8),
            parent_span_id: FixedSizeBinaryBuilder::new(8),
            trace_state: TextColumn::default(),
            flags: UInt32Builder::new(),
            status_code: Int32Builder::new(),
            status_message: TextColumn::default(),
            attributes: AttributeColumn::default(),
            dropped_attributes: UInt32Builder::new(),
            events: list_column(event_builder(), DataType::Struct(event_fields())),
            dropped_events: UInt32Builder::new(),
            links: list_column(link_builder(), DataType::Struct(link_fields())),
            dropped_links: UInt32Builder::new(),
        }
    }

    /// Everything that can fail comes before the first column is touched, so that a rejected span leaves no trace.
    fn push<'a>(&mut self, message: &'a [u8], set: &mut RawSet<'a>, outcome: &mut Outcome) -> Result<(), Reason> {
        let span = Span::read(message, set)?;
        span.check()?;
        let time = outcome.admit(span.start)?;
        if self.origin.is_full() {
            return Err(Reason::new("the request has too much distinct text", String::new()));
        }
        let sanitized = &mut outcome.sanitized;
        let events = children(&span.events, read_event, sanitized)?;
        let links = children(&span.links, read_link, sanitized)?;
        let attributes = self.attributes.code(set, sanitized)?;
        self.time.append_value(time);
        self.attributes.push_code(attributes);
        self.push_own(&span, sanitized);
        if !events.is_empty() {
            let list = self.events.at(self.rows);
            events.iter().for_each(|event| append_event(list, event, sanitized));
            list.append(true);
        }
        if !links.is_empty() {
            let list = self.links.at(self.rows);
            links.iter().for_each(|link| append_link(list, link, sanitized));
            list.append(true);
        }
        self.origin.push_row();
        self.rows += 1;
        Ok(())
    }

    fn push_own(&mut self, span: &Span<'_>, sanitized: &mut Sanitized) {
        self.duration.append_option(span.duration());
        self.name.push(&sanitized.name(span.name));
        self.kind.append_value(span.kind);
        append_id::<16>(&mut self.trace_id, span.trace_id, sanitized);
        append_id::<8>(&mut self.span_id, span.span_id, sanitized);
        append_id::<8>(&mut self.parent_span_id, span.parent_span_id, sanitized);
        self.trace_state.push_or_null(&sanitized.name(span.trace_state));
        self.flags.append_value(span.flags);
        self.status_code.append_value(span.status_code);
        self.status_message.push_or_null(&sanitized.name(span.status_message));
        self.dropped_attributes.append_value(span.dropped_attributes);
        self.dropped_events.append_value(span.dropped_events.saturating_add(over_limit(span.events.len())));
        self.dropped_links.append_value(span.dropped_links.saturating_add(over_limit(span.links.len())));
    }

    fn finish(mut self) -> Result<RecordBatch, DecodeError> {
        let (service, origin) = self.origin.finish()?;
        let schema = decoded_schema(SignalKind::Traces);
        let list_type = |name: &str| schema.field_with_name(name).map(|field| field.data_type().clone());
        let (events, links) = (list_type("events")?, list_type("links")?);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.duration.finish()),
            service,
            self.name.finish()?,
            Arc::new(self.kind.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.parent_span_id.finish()),
            self.trace_state.finish()?,
            Arc::new(self.flags.finish()),
            Arc::new(self.status_code.finish()),
            self.status_message.finish()?,
            self.attributes.column.finish()?,
            Arc::new(self.dropped_attributes.finish()),
            self.events.finish(self.rows, &events),
            Arc::new(self.dropped_events.finish()),
            self.links.finish(self.rows, &links),
            Arc::new(self.dropped_links.finish()),
        ];
        columns.extend(origin);
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}
