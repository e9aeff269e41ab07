//! The columns of the logs table, by name and with their types.

use arrow::array::{Array, AsArray, DictionaryArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int32Type, TimestampNanosecondType, UInt64Type};

use crate::error::Error;

pub(super) const TIME: &str = trivium_storage::schema::TIME;
pub(super) const WAL_POSITION: &str = trivium_storage::schema::WAL_POSITION;
pub(super) const SERVICE: &str = trivium_storage::schema::SERVICE_NAME;
pub(super) const SEVERITY_NUMBER: &str = "severity_number";
pub(super) const SEVERITY_TEXT: &str = "severity_text";
pub(super) const BODY: &str = "body";
pub(super) const BODY_TYPE: &str = "body_type";
pub(super) const TRACE_ID: &str = "trace_id";
pub(super) const SPAN_ID: &str = "span_id";
pub(super) const FLAGS: &str = "flags";
pub(super) const EVENT_NAME: &str = "event_name";
pub(super) const ATTRIBUTES: &str = "attributes";
pub(super) const RESOURCE: &str = "resource";
pub(super) const SCOPE: &str = "scope";

fn missing(name: &str) -> Error {
    Error::Internal(format!("log search needs the column {name}, which was not read or has another type"))
}

fn column<'batch>(batch: &'batch RecordBatch, name: &str) -> Result<&'batch dyn Array, Error> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| missing(name))
}

/// A column of plain text.
pub(super) fn text<'batch>(batch: &'batch RecordBatch, name: &str) -> Result<&'batch StringArray, Error> {
    column(batch, name)?.as_string_opt().ok_or_else(|| missing(name))
}

/// A column of repeating text.
pub(super) fn dictionary<'batch>(
    batch: &'batch RecordBatch,
    name: &str,
) -> Result<&'batch DictionaryArray<Int32Type>, Error> {
    let dictionary = column(batch, name)?.as_dictionary_opt::<Int32Type>().ok_or_else(|| missing(name))?;
    if *dictionary.values().data_type() == DataType::Utf8 { Ok(dictionary) } else { Err(missing(name)) }
}

/// A column of IDs.
pub(super) fn ids<'batch>(batch: &'batch RecordBatch, name: &str) -> Result<&'batch FixedSizeBinaryArray, Error> {
    column(batch, name)?.as_fixed_size_binary_opt().ok_or_else(|| missing(name))
}

/// A column of numbers.
pub(super) fn numbers<'batch, T: ArrowPrimitiveType>(
    batch: &'batch RecordBatch,
    name: &str,
) -> Result<&'batch PrimitiveArray<T>, Error> {
    column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| missing(name))
}

/// The times, in nanoseconds.
pub(super) fn times(batch: &RecordBatch) -> Result<&[i64], Error> {
    Ok(numbers::<TimestampNanosecondType>(batch, TIME)?.values())
}

/// The arrival order.
pub(super) fn wal_positions(batch: &RecordBatch) -> Result<&[u64], Error> {
    Ok(numbers::<UInt64Type>(batch, WAL_POSITION)?.values())
}

/// The text of a row of a dictionary column, `None` for null.
pub(super) fn dictionary_text(column: &DictionaryArray<Int32Type>, row: usize) -> Option<&str> {
    let values: &StringArray = column.values().as_string();
    let key = column.key(row)?;
    (key < values.len() && !values.is_null(key)).then(|| values.value(key))
}
