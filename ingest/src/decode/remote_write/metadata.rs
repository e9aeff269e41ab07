//! What remote write 2.0 says of a series besides its labels.

use super::symbols::Symbols;
use crate::decode::Reason;
use crate::decode::point_columns::{PointCodes, PointColumns};
use crate::decode::value::ValueWriter;
use crate::decode::wire::{Fields, WireError};

/// The metadata of the last series: those of one metric follow one another.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    none: PointCodes,
    last: (&'a [u8], PointCodes),
}

impl<'a> Metadata<'a> {
    pub(super) fn new(none: PointCodes) -> Self {
        Self { none, last: (&[], none) }
    }

    /// The codes of a series with this metadata, without its name.
    #[inline]
    pub(super) fn codes(
        &mut self,
        message: &'a [u8],
        symbols: &Symbols<'a>,
        columns: &mut PointColumns<'a>,
        writer: &mut ValueWriter<'a>,
    ) -> Result<PointCodes, Reason> {
        if message.is_empty() {
            return Ok(self.none);
        }
        if self.last.0 != message {
            let before = writer.sanitized;
            let [metric_type, help, unit] = read(message)?;
            let (help, unit) = (symbols.get_or_empty(help)?, symbols.get_or_empty(unit)?);
            let codes = columns.described(self.none, type_json(metric_type), help, unit, writer);
            if writer.sanitized != before {
                return Ok(codes);
            }
            self.last = (message, codes);
        }
        Ok(self.last.1)
    }
}

/// Type, help and unit; the latter two are references.
fn read(message: &[u8]) -> Result<[u64; 3], WireError> {
    let mut fields = Fields::new(message);
    let mut found = [0; 3];
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => found[0] = value.varint(&fields)?,
            3 => found[1] = value.varint(&fields)?,
            4 => found[2] = value.varint(&fields)?,
            _ => {}
        }
    }
    Ok(found)
}

/// The column `metadata`; `None` when the type is not known.
fn type_json(metric_type: u64) -> Option<&'static str> {
    Some(match metric_type {
        1 => r#"{"prometheus.type":"counter"}"#,
        2 => r#"{"prometheus.type":"gauge"}"#,
        3 => r#"{"prometheus.type":"histogram"}"#,
        4 => r#"{"prometheus.type":"gaugehistogram"}"#,
        5 => r#"{"prometheus.type":"summary"}"#,
        6 => r#"{"prometheus.type":"info"}"#,
        7 => r#"{"prometheus.type":"stateset"}"#,
        _ => return None,
    })
}
