use arrow::datatypes::{DataType, Field, SchemaRef};

use super::{SERVICE_NAME, TIME, table, text, timestamp};

/// The table `logs`: one row per log record.
pub fn logs_schema() -> SchemaRef {
    table(vec![
        // time_unix_nano, else observed_time_unix_nano, else the time of receipt.
        Field::new(TIME, timestamp(), false),
        // observed_time_unix_nano - time in nanoseconds; null when the record names no observed time. The difference is
        // mostly small or constant, where the time itself would cost as many bytes as `time` once more.
        Field::new("observed_delay", DataType::Int64, true),
        Field::new(SERVICE_NAME, text(), false),
        // As sent: 0 is unspecified, values outside 0..=24 are kept.
        Field::new("severity_number", DataType::Int32, false),
        Field::new("severity_text", text(), true),
        // A string body as it is; any other value as canonical JSON, then `body_type` says so.
        Field::new("body", DataType::Utf8, true),
        // `string`, `bool`, `int`, `double`, `bytes`, `array`, `kvlist`; null when there is no body.
        Field::new("body_type", text(), true),
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("flags", DataType::UInt32, false),
        Field::new("event_name", text(), true),
        Field::new("attributes", text(), false),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
    ])
}
