//! The rows of the three signals as Arrow schemas: what a decoder builds, what the open buffer holds, what a part's
//! Parquet file contains and what SQL shows, all the same columns in the same order.
//!
//! Conventions, valid for every signal:
//!
//! - Times are `Timestamp(Nanosecond)` without a zone (UTC). IDs are `FixedSizeBinary`. Absent is null, never zero.
//! - Repeating text is `Dictionary(Int32, Utf8)`; a decoder makes a dictionary per request, the buffer unifies them.
//! - Attribute sets are canonical JSON objects in text (see [`crate::attributes`]), one dictionary entry per distinct set.
//! - The last two columns of every table, [`RECEIVED_AT`] and [`WAL_POSITION`], are the arrival order. The buffer appends
//!   them; a decoder's batch ends before them ([`decoded_schema`]).

mod logs;
mod metrics;
mod spans;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use trivium_model::SignalKind;

pub use logs::logs_schema;
pub use metrics::{exemplar_fields, metrics_schema};
pub use spans::{event_fields, link_fields, spans_schema};

/// The column that orders rows in time, in every table.
pub const TIME: &str = "time";
/// When the request that carried the row was received.
pub const RECEIVED_AT: &str = "received_at";
/// The [`trivium_model::WalPosition`] of the request that carried the row.
pub const WAL_POSITION: &str = "wal_position";
/// The value of the resource attribute `service.name`, in every table.
pub const SERVICE_NAME: &str = "service_name";

/// The full schema of a signal's table.
pub fn table_schema(signal: SignalKind) -> SchemaRef {
    match signal {
        SignalKind::Logs => logs_schema(),
        SignalKind::Metrics => metrics_schema(),
        SignalKind::Traces => spans_schema(),
    }
}

/// The schema of the batches that a decoder makes: [`table_schema`] without its last two columns.
pub fn decoded_schema(signal: SignalKind) -> SchemaRef {
    let table = table_schema(signal);
    let fields: Vec<FieldRef> = table.fields().iter().take(table.fields().len() - 2).cloned().collect();
    Arc::new(Schema::new(fields))
}

pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// Repeating text.
pub(crate) fn text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The columns that say who sent a row, in every table after the signal's own.
fn origin_fields() -> Vec<Field> {
    vec![
        Field::new("resource", text(), false),
        Field::new("resource_schema_url", text(), true),
        Field::new("resource_dropped_attributes_count", DataType::UInt32, false),
        // JSON object with the non-default ones of name, version, schema_url, attributes, dropped_attributes_count.
        Field::new("scope", text(), false),
    ]
}

/// The columns that say when and in which order a row arrived.
fn arrival_fields() -> Vec<Field> {
    vec![Field::new(RECEIVED_AT, timestamp(), false), Field::new(WAL_POSITION, DataType::UInt64, false)]
}

fn table(own: Vec<Field>) -> SchemaRef {
    let fields: Vec<Field> = own.into_iter().chain(origin_fields()).chain(arrival_fields()).collect();
    Arc::new(Schema::new(fields))
}
