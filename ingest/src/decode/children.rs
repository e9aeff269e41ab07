//! Events and links of spans: decoded whole before a column is touched, then appended to the nested columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, FixedSizeBinaryBuilder, ListBuilder, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Fields as StructFields};
use trivium_model::limit;
use trivium_storage::schema::{event_fields, link_fields};

use super::attribute_set::RawSet;
use super::column::{AbsentColumns, SparseColumn};
use super::sanitize::Sanitized;
use super::value::ValueWriter;
use super::wire::{Fields, WireError};

const EVENT: u32 = 11;
const LINK: u32 = 13;

/// The events and links of one span. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Children<'a> {
    events: Vec<Event<'a>>,
    links: Vec<Link<'a>>,
    /// Those beyond [`limit::SPAN_CHILDREN_MAX`].
    events_cut: u32,
    links_cut: u32,
    /// The attributes of all of them.
    json: String,
    set: RawSet<'a>,
}

#[derive(Debug, Default)]
struct Event<'a> {
    time: i64,
    name: &'a [u8],
    attributes: Range<usize>,
    dropped: u32,
}

#[derive(Debug, Default)]
struct Link<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    trace_state: &'a [u8],
    attributes: Range<usize>,
    dropped: u32,
    flags: u32,
}

impl<'a> Children<'a> {
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.links.clear();
        self.json.clear();
        (self.events_cut, self.links_cut) = (0, 0);
    }

    /// Reads the events and links of a span.
    pub(super) fn read(&mut self, span: &'a [u8], writer: &mut ValueWriter<'a>) -> Result<(), WireError> {
        self.clear();
        let mut fields = Fields::new(span);
        while let Some((number, value)) = fields.next()? {
            match number {
                EVENT if self.events.len() == limit::SPAN_CHILDREN_MAX => self.events_cut += 1,
                LINK if self.links.len() == limit::SPAN_CHILDREN_MAX => self.links_cut += 1,
                EVENT => self.read_event(value.bytes(&fields)?, writer)?,
                LINK => self.read_link(value.bytes(&fields)?, writer)?,
                _ => {}
            }
        }
        if self.events_cut > 0 || self.links_cut > 0 {
            writer.sanitized.count_truncated();
        }
        Ok(())
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.events.len() + self.links.len()
    }

    pub(super) fn events_cut(&self) -> u32 {
        self.events_cut
    }

    pub(super) fn links_cut(&self) -> u32 {
        self.links_cut
    }

    fn read_event(&mut self, message: &'a [u8], writer: &mut ValueWriter<'a>) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        let (mut event, mut before) = (Event::default(), message);
        self.set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => event.time = i64::try_from(value.fixed64(&fields)?).unwrap_or(i64::MAX),
                2 => event.name = value.bytes(&fields)?,
                3 => {
                    value.bytes(&fields)?;
                    self.set.push(before, fields.rest());
                }
                4 => event.dropped = value.uint32(&fields)?,
                _ => {}
            }
            before = fields.rest();
        }
        event.attributes = self.write_attributes(writer);
        self.events.push(event);
        Ok(())
    }

    fn read_link(&mut self, message: &'a [u8], writer: &mut ValueWriter<'a>) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        let (mut link, mut before) = (Link::default(), message);
        self.set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => link.trace_id = value.bytes(&fields)?,
                2 => link.span_id = value.bytes(&fields)?,
                3 => link.trace_state = value.bytes(&fields)?,
                4 => {
                    value.bytes(&fields)?;
                    self.set.push(before, fields.rest());
                }
                5 => link.dropped = value.uint32(&fields)?,
                6 => link.flags = value.fixed32(&fields)?,
                _ => {}
            }
            before = fields.rest();
        }
        link.attributes = self.write_attributes(writer);
        self.links.push(link);
        Ok(())
    }

    fn write_attributes(&mut self, writer: &mut ValueWriter<'a>) -> Range<usize> {
        let start = self.json.len();
        self.json.push_str(self.set.json(writer, false));
        start..self.json.len()
    }

    fn attributes(&self, range: &Range<usize>) -> &str {
        self.json.get(range.clone()).unwrap_or_default()
    }
}

/// A column of lists of structs, null where a row has none.
pub(super) type StructLists = SparseColumn<ListBuilder<StructBuilder>>;

pub(super) fn struct_lists(make: fn() -> ListBuilder<StructBuilder>) -> StructLists {
    SparseColumn::new(make, |builder| builder.append_null())
}

/// A builder of lists of structs with these fields.
pub(super) fn list_builder(fields: StructFields, builders: Vec<Box<dyn ArrayBuilder>>) -> ListBuilder<StructBuilder> {
    let item = Field::new("item", DataType::Struct(fields.clone()), true);
    ListBuilder::new(StructBuilder::new(fields, builders)).with_field(item)
}

/// The builder of a field of a struct; the caller names the types that it gave to [`list_builder`].
pub(super) fn field<B: ArrayBuilder>(builder: &mut StructBuilder, index: usize) -> &mut B {
    builder.field_builder(index).expect("the fields of the schema are those of the builder")
}

pub(super) fn append_id<const N: usize>(builder: &mut FixedSizeBinaryBuilder, id: Option<&[u8; N]>) {
    match id {
        Some(id) => builder.append_value(id).expect("the builder was made for IDs of this length"),
        None => builder.append_null(),
    }
}

fn list_type(fields: StructFields) -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(fields), true)))
}

/// The column `events`.
#[derive(Debug)]
pub(super) struct EventColumn(StructLists);

impl EventColumn {
    pub(super) fn new() -> Self {
        Self(struct_lists(|| {
            let builders: Vec<Box<dyn ArrayBuilder>> = vec![
                Box::new(TimestampNanosecondBuilder::new()),
                Box::new(StringBuilder::new()),
                Box::new(StringBuilder::new()),
                Box::new(UInt32Builder::new()),
            ];
            list_builder(event_fields(), builders)
        }))
    }

    #[inline]
    pub(super) fn push(&mut self, row: usize, children: &Children<'_>, sanitized: &mut Sanitized) {
        if children.events.is_empty() {
            return;
        }
        let list = self.0.at(row);
        for event in &children.events {
            let builder = list.values();
            field::<TimestampNanosecondBuilder>(builder, 0).append_value(event.time);
            field::<StringBuilder>(builder, 1).append_value(sanitized.name(event.name));
            field::<StringBuilder>(builder, 2).append_value(children.attributes(&event.attributes));
            field::<UInt32Builder>(builder, 3).append_value(event.dropped);
            builder.append(true);
        }
        list.append(true);
    }

    pub(super) fn finish(self, rows: usize, absent: &mut AbsentColumns) -> ArrayRef {
        self.0.finish(rows, &list_type(event_fields()), absent)
    }
}

/// The column `links`.
#[derive(Debug)]
pub(super) struct LinkColumn(StructLists);

impl LinkColumn {
    pub(super) fn new() -> Self {
        Self(struct_lists(|| {
            let builders: Vec<Box<dyn ArrayBuilder>> = vec![
                Box::new(FixedSizeBinaryBuilder::new(16)),
                Box::new(FixedSizeBinaryBuilder::new(8)),
                Box::new(StringBuilder::new()),
                Box::new(StringBuilder::new()),
                Box::new(UInt32Builder::new()),
                Box::new(UInt32Builder::new()),
            ];
            list_builder(link_fields(), builders)
        }))
    }

    #[inline]
    pub(super) fn push(&mut self, row: usize, children: &Children<'_>, sanitized: &mut Sanitized) {
        if children.links.is_empty() {
            return;
        }
        let list = self.0.at(row);
        for link in &children.links {
            let builder = list.values();
            append_id::<16>(field(builder, 0), sanitized.id(link.trace_id));
            append_id::<8>(field(builder, 1), sanitized.id(link.span_id));
            let state = sanitized.name(link.trace_state);
            field::<StringBuilder>(builder, 2).append_option((!state.is_empty()).then_some(state));
            field::<StringBuilder>(builder, 3).append_value(children.attributes(&link.attributes));
            field::<UInt32Builder>(builder, 4).append_value(link.dropped);
            field::<UInt32Builder>(builder, 5).append_value(link.flags);
            builder.append(true);
        }
        list.append(true);
    }

    pub(super) fn finish(self, rows: usize, absent: &mut AbsentColumns) -> ArrayRef {
        self.0.finish(rows, &list_type(link_fields()), absent)
    }
}
