//! Requests of the simulation: lines of text with a time and a name for each row, of any signal.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimestampNanosecondType};
use bytes::Bytes;
use trivium_model::{RequestKey, SignalKind, TenantId, UnixNanos, WireFormat};

use crate::schema::{TIME, decoded_schema};
use crate::storage::{AppendRequest, PayloadDecoder, Snapshot};

/// The column that says which row it is.
const NAME: &str = "attributes";

/// Which row: the number of its request and its own in there.
pub(super) type RowName = (u32, u32);

/// A request as its sender knows it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) number: u32,
    pub(super) tenant: TenantId,
    pub(super) signal: SignalKind,
    /// The times of its rows.
    pub(super) times: Vec<i64>,
    /// Bytes that mean nothing, at the end of the payload.
    pub(super) padding: usize,
    pub(super) sent_at: UnixNanos,
}

impl Request {
    fn payload(&self) -> Bytes {
        let line = |(row, time): (usize, &i64)| format!("{time} {}.{row}\n", self.number);
        let mut text: String = self.times.iter().enumerate().map(line).collect();
        text.extend(std::iter::repeat_n('#', self.padding));
        text.into()
    }

    /// What the store is given.
    pub(super) fn append(&self, now: UnixNanos) -> AppendRequest {
        let payload = self.payload();
        let batch = Lines.decode(self.signal, WireFormat::Otlp, &payload, now, now);
        AppendRequest {
            tenant: self.tenant,
            signal: self.signal,
            format: WireFormat::Otlp,
            key: RequestKey((u128::from(self.number) << 64).to_be_bytes()),
            received_at: now,
            oldest_admitted: UnixNanos::MIN,
            batch: batch.expect("lines").expect("rows"),
            payload,
        }
    }
}

/// Decodes the requests of the simulation.
#[derive(Debug)]
pub(super) struct Lines;

impl PayloadDecoder for Lines {
    fn decode(
        &self,
        signal: SignalKind,
        _: WireFormat,
        payload: &[u8],
        _: UnixNanos,
        _: UnixNanos,
    ) -> Result<Option<RecordBatch>, String> {
        let text = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
        let line = |line: &str| {
            let (time, name) = line.split_once(' ')?;
            Some((time.parse::<i64>().ok()?, format!("{{\"row\":\"{name}\"}}")))
        };
        let rows: Option<Vec<(i64, String)>> = text.lines().filter(|line| !line.starts_with('#')).map(line).collect();
        Ok(Some(batch(signal, &rows.ok_or("a line that is no row")?)))
    }
}

fn batch(signal: SignalKind, rows: &[(i64, String)]) -> RecordBatch {
    let schema = decoded_schema(signal);
    let column = |name: &str, data_type: &DataType, is_nullable: bool| -> ArrayRef {
        let length = rows.len();
        match data_type {
            _ if name == TIME => Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0))),
            _ if name == NAME => {
                Arc::new(rows.iter().map(|row| row.1.as_str()).collect::<DictionaryArray<Int32Type>>())
            }
            _ if is_nullable => new_null_array(data_type, length),
            DataType::Dictionary(..) => {
                let text = if matches!(name, "resource" | "scope") { "{}" } else { "test" };
                Arc::new(std::iter::repeat_n(text, length).collect::<DictionaryArray<Int32Type>>())
            }
            DataType::Int32 => Arc::new(Int32Array::from_value(1, length)),
            DataType::UInt32 => Arc::new(UInt32Array::from_value(0, length)),
            DataType::UInt64 => Arc::new(UInt64Array::from_value(7, length)),
            DataType::FixedSizeBinary(bytes) => {
                let value = vec![7; usize::try_from(*bytes).expect("small")];
                let values = std::iter::repeat_n(value, length);
                Arc::new(FixedSizeBinaryArray::try_from_iter(values).expect("values of one length"))
            }
            other => unreachable!("the simulation knows no values for {name}, {other}"),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type(), field.is_nullable()));
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns).expect("columns of the schema")
}

/// The rows that a query sees, with their times.
pub(super) fn rows_of(snapshot: &Snapshot) -> Result<Vec<(RowName, i64)>, String> {
    let mut rows = Vec::new();
    for part in &snapshot.parts {
        let batches = part.read(Some(&[TIME, NAME]), None).map_err(|error| error.to_string())?;
        batches.iter().for_each(|batch| add_rows(batch, &mut rows));
    }
    snapshot.buffered.iter().for_each(|batch| add_rows(batch, &mut rows));
    Ok(rows)
}

fn add_rows(batch: &RecordBatch, rows: &mut Vec<(RowName, i64)>) {
    let times = batch.column_by_name(TIME).expect("the column").as_primitive::<TimestampNanosecondType>();
    let names = cast(batch.column_by_name(NAME).expect("the column"), &DataType::Utf8).expect("text");
    let names: &StringArray = names.as_string();
    let name = |text: &str| -> Option<RowName> {
        let (request, row) = text.strip_prefix("{\"row\":\"")?.strip_suffix("\"}")?.split_once('.')?;
        Some((request.parse().ok()?, row.parse().ok()?))
    };
    let found = names.iter().zip(times.values());
    rows.extend(found.map(|(text, &time)| (text.and_then(name).unwrap_or((u32::MAX, 0)), time)));
}
