//! Exemplars of data points: decoded whole before a column is touched, then appended to the nested column.

use std::ops::Range;

use arrow::array::{
    ArrayBuilder, ArrayRef, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, StringBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::DataType;
use trivium_model::limit;
use trivium_storage::schema::exemplar_fields;

use super::attribute_set::RawSet;
use super::children::{StructLists, append_id, field, list_builder, struct_lists};
use super::column::AbsentColumns;
use super::points::Number;
use super::sanitize::Sanitized;
use super::value::ValueWriter;
use super::wire::{Fields, WireError};

/// Exemplars of one data point that are gathered before the oldest of them are let go: one is eleven bytes on the wire and
/// takes ten times as much in memory.
const GATHERED_MAX: usize = 16 * limit::EXEMPLARS_MAX;

/// The exemplars of one data point. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Exemplars<'a> {
    list: Vec<Exemplar<'a>>,
    /// The attributes of all of them.
    json: String,
    set: RawSet<'a>,
}

#[derive(Debug, Default)]
struct Exemplar<'a> {
    time: i64,
    value: Option<Number>,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    attributes: Range<usize>,
}

impl<'a> Exemplars<'a> {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.json.clear();
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Reads the exemplars of a data point, which are a field with this number. The newest are kept, at most
    /// [`limit::EXEMPLARS_MAX`]; one without a time is none.
    pub(super) fn read(&mut self, point: &'a [u8], field: u32, writer: &mut ValueWriter<'a>) -> Result<(), WireError> {
        self.clear();
        let mut is_cut = false;
        let mut fields = Fields::new(point);
        while let Some((number, value)) = fields.next()? {
            if number != field {
                continue;
            }
            let exemplar = self.read_one(value.bytes(&fields)?, writer)?;
            if exemplar.time == 0 {
                writer.sanitized.count_exemplar();
            } else {
                self.list.push(exemplar);
            }
            if self.list.len() == GATHERED_MAX {
                self.keep_newest();
                is_cut = true;
            }
        }
        if self.list.len() > limit::EXEMPLARS_MAX {
            self.keep_newest();
            is_cut = true;
        }
        if is_cut {
            writer.sanitized.count_truncated();
        }
        Ok(())
    }

    /// Keeps as many as a point may have. The order of arrival decides between two of the same time.
    fn keep_newest(&mut self) {
        self.list.sort_by_key(|exemplar| exemplar.time);
        self.list.drain(..self.list.len() - limit::EXEMPLARS_MAX);
        let mut json = String::new();
        for exemplar in &mut self.list {
            let start = json.len();
            json.push_str(self.json.get(exemplar.attributes.clone()).unwrap_or_default());
            exemplar.attributes = start..json.len();
        }
        self.json = json;
    }

    fn read_one(&mut self, message: &'a [u8], writer: &mut ValueWriter<'a>) -> Result<Exemplar<'a>, WireError> {
        let mut fields = Fields::new(message);
        let (mut exemplar, mut before) = (Exemplar::default(), message);
        self.set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                2 => exemplar.time = i64::try_from(value.fixed64(&fields)?).unwrap_or(i64::MAX),
                3 => exemplar.value = Some(Number::Double(value.double(&fields)?)),
                4 => exemplar.span_id = value.bytes(&fields)?,
                5 => exemplar.trace_id = value.bytes(&fields)?,
                6 => exemplar.value = Some(Number::Int(value.fixed64(&fields)? as i64)),
                7 => {
                    value.bytes(&fields)?;
                    self.set.push(before, fields.rest());
                }
                _ => {}
            }
            before = fields.rest();
        }
        let start = self.json.len();
        self.json.push_str(self.set.json(writer, false));
        exemplar.attributes = start..self.json.len();
        Ok(exemplar)
    }
}

/// One element of the column `exemplars`.
#[derive(Debug)]
pub(super) struct ExemplarValue<'e> {
    pub(super) time: i64,
    pub(super) value: Option<Number>,
    pub(super) trace_id: Option<&'e [u8; 16]>,
    pub(super) span_id: Option<&'e [u8; 8]>,
    pub(super) attributes: &'e str,
}

/// The column `exemplars`.
#[derive(Debug)]
pub(super) struct ExemplarColumn(StructLists);

impl ExemplarColumn {
    pub(super) fn new() -> Self {
        Self(struct_lists(|| {
            let builders: Vec<Box<dyn ArrayBuilder>> = vec![
                Box::new(TimestampNanosecondBuilder::new()),
                Box::new(Float64Builder::new()),
                Box::new(Int64Builder::new()),
                Box::new(FixedSizeBinaryBuilder::new(16)),
                Box::new(FixedSizeBinaryBuilder::new(8)),
                Box::new(StringBuilder::new()),
            ];
            list_builder(exemplar_fields(), builders)
        }))
    }

    #[inline]
    pub(super) fn push(&mut self, row: usize, exemplars: &Exemplars<'_>, sanitized: &mut Sanitized) {
        if exemplars.list.is_empty() {
            return;
        }
        let values = exemplars.list.iter().map(|exemplar| ExemplarValue {
            time: exemplar.time,
            value: exemplar.value,
            trace_id: sanitized.id(exemplar.trace_id),
            span_id: sanitized.id(exemplar.span_id),
            attributes: exemplars.json.get(exemplar.attributes.clone()).unwrap_or_default(),
        });
        self.push_values(row, values);
    }

    /// Adds the exemplars of a row, of which there is one at least.
    pub(super) fn push_values<'e>(&mut self, row: usize, exemplars: impl Iterator<Item = ExemplarValue<'e>>) {
        let list = self.0.at(row);
        for exemplar in exemplars {
            let builder = list.values();
            let (value, integer) = exemplar.value.map_or((None, None), Number::columns);
            field::<TimestampNanosecondBuilder>(builder, 0).append_value(exemplar.time);
            field::<Float64Builder>(builder, 1).append_option(value);
            field::<Int64Builder>(builder, 2).append_option(integer);
            append_id::<16>(field(builder, 3), exemplar.trace_id);
            append_id::<8>(field(builder, 4), exemplar.span_id);
            field::<StringBuilder>(builder, 5).append_value(exemplar.attributes);
            builder.append(true);
        }
        list.append(true);
    }

    pub(super) fn finish(self, rows: usize, data_type: &DataType, absent: &mut AbsentColumns) -> ArrayRef {
        self.0.finish(rows, data_type, absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_the_others_take_no_memory() {
        const FIELD: u32 = 5;
        let mut point = Vec::new();
        for time in 0..50_000_u64 {
            // In no order, and each time once: 7 has no factor in common with their number.
            let time = 1 + time * 7 % 50_000;
            point.extend([FIELD as u8 * 8 + 2, 9, 2 << 3 | 1]);
            point.extend(time.to_le_bytes());
        }
        let (mut exemplars, mut writer) = (Exemplars::default(), ValueWriter::default());
        exemplars.read(&point, FIELD, &mut writer).expect("they are well formed");
        let times: Vec<i64> = exemplars.list.iter().map(|exemplar| exemplar.time).collect();
        let newest: Vec<i64> = (50_001 - limit::EXEMPLARS_MAX as i64..=50_000).collect();
        assert_eq!(times, newest);
        assert!(exemplars.list.capacity() <= 2 * GATHERED_MAX, "{}", exemplars.list.capacity());
        assert!(exemplars.json.capacity() <= 16 * GATHERED_MAX, "{}", exemplars.json.capacity());
        assert_eq!(writer.sanitized.causes(), [("truncated", 1)]);
    }
}
