//! What remote write says of metrics besides labels and samples: version 2.0 with each series, version 1.0 now and then.

use trivium_storage::MetricDescription;

use super::symbols::Symbols;
use crate::decode::Reason;
use crate::decode::point_columns::{PointCodes, PointColumns};
use crate::decode::value::ValueWriter;
use crate::decode::wire::{Fields, WireError};

/// Descriptions of one request that are read, and bytes of each of their texts.
const DESCRIPTIONS_MAX: usize = 20_000;
const DESCRIPTION_BYTES_MAX: usize = 4 * 1024;

/// Types of metrics by their numbers on the wire.
const TYPES: [&str; 8] = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

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

/// The field of a request of version 1.0 that describes a metric.
const DESCRIPTION: u32 = 3;

/// What a request of version 1.0 says of metrics (`prometheus.MetricMetadata`). A description that cannot be read is passed
/// over: it is told again in a minute, and no sample depends on it.
pub(in crate::decode) fn descriptions(payload: &[u8]) -> Result<Vec<MetricDescription>, WireError> {
    let mut fields = Fields::new(payload);
    let mut found = Vec::new();
    while let Some((number, value)) = fields.next()? {
        if number == DESCRIPTION && found.len() < DESCRIPTIONS_MAX {
            found.extend(description(value.bytes(&fields)?).ok().filter(|description| !description.name.is_empty()));
        }
    }
    Ok(found)
}

fn description(message: &[u8]) -> Result<MetricDescription, WireError> {
    let mut fields = Fields::new(message);
    let (mut metric_type, mut texts) = (0, [const { String::new() }; 3]);
    while let Some((number, value)) = fields.next()? {
        let text = match number {
            1 => {
                metric_type = value.varint(&fields)?;
                continue;
            }
            2 => &mut texts[0],
            4 => &mut texts[1],
            5 => &mut texts[2],
            _ => continue,
        };
        let bytes = value.bytes(&fields)?;
        *text = String::from_utf8_lossy(&bytes[..bytes.len().min(DESCRIPTION_BYTES_MAX)]).into_owned();
    }
    let kind = usize::try_from(metric_type).ok().and_then(|number| TYPES.get(number)).copied().unwrap_or("unknown");
    let [name, help, unit] = texts;
    Ok(MetricDescription { name, kind, unit, help })
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
