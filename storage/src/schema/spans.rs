use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use super::{SERVICE_NAME, TIME, list, table, text, timestamp};

/// The table `spans`: one row per span.
pub fn spans_schema() -> SchemaRef {
    table(vec![
        // start_time_unix_nano.
        Field::new(TIME, timestamp(), false),
        // end_time_unix_nano - start_time_unix_nano in nanoseconds, negative when the sender says so; null without an end.
        Field::new("duration", DataType::Int64, true),
        Field::new(SERVICE_NAME, text(), false),
        Field::new("name", text(), false),
        // As sent: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
        Field::new("kind", DataType::Int32, false),
        Field::new("trace_id", DataType::FixedSizeBinary(16), false),
        Field::new("span_id", DataType::FixedSizeBinary(8), false),
        Field::new("parent_span_id", DataType::FixedSizeBinary(8), true),
        Field::new("trace_state", text(), true),
        Field::new("flags", DataType::UInt32, false),
        // As sent: 0 unset, 1 ok, 2 error.
        Field::new("status_code", DataType::Int32, false),
        Field::new("status_message", text(), true),
        Field::new("attributes", text(), false),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
        // Null, never empty, when the span has none.
        Field::new("events", list(DataType::Struct(event_fields())), true),
        Field::new("dropped_events_count", DataType::UInt32, false),
        Field::new("links", list(DataType::Struct(link_fields())), true),
        Field::new("dropped_links_count", DataType::UInt32, false),
    ])
}

/// The fields of one element of `events`.
pub fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new(TIME, timestamp(), false),
        Field::new("name", DataType::Utf8, false),
        Field::new("attributes", DataType::Utf8, false),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
    ])
}

/// The fields of one element of `links`.
pub fn link_fields() -> Fields {
    Fields::from(vec![
        // Null when the sender's ID had the wrong length.
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("attributes", DataType::Utf8, false),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
        Field::new("flags", DataType::UInt32, false),
    ])
}
