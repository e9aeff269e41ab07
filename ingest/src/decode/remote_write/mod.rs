//! Prometheus remote write: `prometheus.WriteRequest` (1.0) and `io.prometheus.write.v2.Request` (2.0).
//!
//! The two differ in where the strings of a series stand and in a few field numbers; behind the label set they are one.
//! Name and labels are stored as they were sent, see [`trivium_storage::schema::metrics_schema`].

mod cache;
mod exemplars;
mod histogram;
mod labels;
mod metadata;
mod series;
mod symbols;

pub(crate) use cache::LabelCache;
pub(super) use histogram::NativeHistogram;
pub(super) use metadata::descriptions;

use arrow::array::RecordBatch;
use trivium_model::limit;

use self::series::SeriesRows;
use self::symbols::Symbols;
use super::wire::{Fields, WireError};
use super::{DecodeError, Outcome, Reason, Written};

/// The bits of the NaN that says that a series ended.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The field of a series that holds its samples, in both versions.
const SAMPLES: u32 = 2;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

impl Version {
    /// The field of a request that holds its series.
    const fn series_field(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 5,
        }
    }

    /// The field of a series that holds its native histograms; its exemplars are in the other one of 3 and 4.
    const fn histograms_field(self) -> u32 {
        match self {
            Self::V1 => 4,
            Self::V2 => 3,
        }
    }

    /// Whether a field of a series holds samples, histograms or exemplars.
    const fn is_item(self, field: u32) -> bool {
        matches!(field, SAMPLES..=4)
    }

    /// Bytes that a sample with its labels typically takes.
    const fn sample_bytes(self) -> usize {
        match self {
            Self::V1 => 128,
            Self::V2 => 40,
        }
    }
}

pub(super) fn decode<'a>(
    version: Version,
    payload: &'a [u8],
    cache: Option<&'a LabelCache>,
    outcome: &mut Outcome<'a>,
) -> Result<(RecordBatch, Written), DecodeError> {
    let rows = expect_rows(version, payload)?;
    let mut rows = SeriesRows::new(version, Symbols::read(version, payload)?, cache, rows);
    each_series(version, payload, |series| rows.take(series, outcome))?;
    rows.finish(outcome)
}

fn each_series<'a>(version: Version, payload: &'a [u8], mut visit: impl FnMut(&'a [u8])) -> Result<(), WireError> {
    let mut fields = Fields::new(payload);
    while let Some((number, value)) = fields.next()? {
        if number == version.series_field() {
            visit(value.bytes(&fields)?);
        }
    }
    Ok(())
}

/// How many rows to make room for. A request of too many is refused here, before it takes memory; only a large one can have
/// them: a sample takes two bytes at the least.
fn expect_rows(version: Version, payload: &[u8]) -> Result<usize, DecodeError> {
    if payload.len() / 2 > limit::REQUEST_ROWS_MAX {
        let mut found = 0;
        each_series(version, payload, |series| found += count_items(version, series))?;
        if found > limit::REQUEST_ROWS_MAX {
            return Err(DecodeError::TooManyRecords { found });
        }
    }
    Ok((payload.len() / version.sample_bytes()).min(limit::REQUEST_ROWS_MAX))
}

/// The samples, histograms and exemplars of a series, as far as it can be read.
fn count_items(version: Version, series: &[u8]) -> usize {
    let mut fields = Fields::new(series);
    let mut items = 0;
    while let Ok(Some((number, _))) = fields.next() {
        items += usize::from(version.is_item(number));
    }
    items
}

/// A time of Prometheus as nanoseconds.
fn nanos(unix_millis: i64) -> Result<i64, Reason> {
    const NANOS: i64 = 1_000_000;
    unix_millis
        .checked_mul(NANOS)
        .ok_or_else(|| Reason::new("time does not fit into 64 bits of nanoseconds", format!("{unix_millis} ms")))
}
