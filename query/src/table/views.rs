use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use trivium_storage::Rejection;
use trivium_storage::quarantine::QuarantinedItem;

use super::{metrics, spans};

/// The statement behind a view.
pub(super) fn definition(name: &str) -> Option<&'static str> {
    match name {
        "span_events" => Some(spans::SPAN_EVENTS),
        "span_links" => Some(spans::SPAN_LINKS),
        "exemplars" => Some(metrics::EXEMPLARS),
        "series" => Some(metrics::SERIES),
        _ => None,
    }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

fn rejected_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("time", timestamp(), false),
        Field::new("signal", DataType::Utf8, false),
        Field::new("service_name", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("count", DataType::UInt64, false),
        Field::new("example", DataType::Utf8, false),
    ]))
}

/// The refused records.
pub(super) fn rejected(rejections: &[Rejection]) -> Result<Arc<dyn TableProvider>> {
    let text = |field: &dyn Fn(&Rejection) -> String| -> ArrayRef {
        Arc::new(rejections.iter().map(|rejection| Some(field(rejection))).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rejections.iter().map(|rejection| Some(rejection.time.0)).collect::<TimestampNanosecondArray>()),
        text(&|rejection| rejection.signal.to_string()),
        text(&|rejection| rejection.service.clone()),
        text(&|rejection| rejection.reason.clone()),
        Arc::new(rejections.iter().map(|rejection| Some(rejection.count)).collect::<UInt64Array>()),
        text(&|rejection| rejection.example.clone()),
    ];
    let batch = RecordBatch::try_new(rejected_schema(), columns)?;
    Ok(Arc::new(MemTable::try_new(rejected_schema(), vec![vec![batch]])?))
}

fn quarantine_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("time", timestamp(), true),
        Field::new("name", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("signal", DataType::Utf8, true),
        Field::new("rows", DataType::UInt64, true),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("reason", DataType::Utf8, true),
    ]))
}

/// What was found damaged.
pub(super) fn quarantine(items: &[QuarantinedItem]) -> Result<Arc<dyn TableProvider>> {
    let text = |field: &dyn Fn(&QuarantinedItem) -> Option<String>| -> ArrayRef {
        Arc::new(items.iter().map(field).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(items.iter().map(|item| item.at.map(|at| at.0)).collect::<TimestampNanosecondArray>()),
        text(&|item| Some(item.name.clone())),
        text(&|item| Some(item.kind.as_str().to_owned())),
        text(&|item| item.signal.map(|signal| signal.to_string())),
        Arc::new(items.iter().map(|item| item.rows.map(u64::from)).collect::<UInt64Array>()),
        Arc::new(items.iter().map(|item| Some(item.bytes)).collect::<UInt64Array>()),
        text(&|item| item.reason.clone()),
    ];
    let batch = RecordBatch::try_new(quarantine_schema(), columns)?;
    Ok(Arc::new(MemTable::try_new(quarantine_schema(), vec![vec![batch]])?))
}
