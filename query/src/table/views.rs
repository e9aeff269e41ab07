use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use trivium_storage::Rejection;

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
