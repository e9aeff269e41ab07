use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use super::{SERVICE_NAME, TIME, list, table, text, timestamp};

/// The table `metrics`: one row per data point. Columns that a point's type does not have are null.
///
/// Samples of Prometheus (remote write) are of the type `prometheus`: name and labels stand here as they were sent, and
/// queries must not translate them as they translate those of OpenTelemetry.
///
/// - `metric_name` is the label `__name__`, `attributes` are the other labels as a canonical set of strings, `service_name` is
///   the label `job`; `resource` and `scope` are the empty set.
/// - `series_id` follows the definition below with the empty unit, whatever metadata came with the sample.
/// - `unit`, `description` and `metadata` (`{"prometheus.type":"counter"}`) are what remote write 2.0 says of the series.
/// - A float sample has `value`, every bit as sent. A native histogram has `scale` (its schema; -53: `explicit_bounds` are
///   custom bounds), `sum`, `zero_threshold`, `reset_hint`, spans and counts; `count` and `zero_count` too when its counts
///   are integers.
/// - A staleness marker, of either kind, has the OpenTelemetry flag `NoRecordedValue` (1) in `flags` and no value.
/// - A row without value, count and flag carries exemplars whose sample came in another request.
pub fn metrics_schema() -> SchemaRef {
    table(vec![
        Field::new(TIME, timestamp(), false),
        Field::new("start_time", timestamp(), true),
        Field::new(SERVICE_NAME, text(), false),
        Field::new("metric_name", text(), false),
        // `gauge`, `sum`, `histogram`, `exponential_histogram`, `summary`, `prometheus`.
        Field::new("metric_type", text(), false),
        Field::new("unit", text(), true),
        Field::new("description", text(), true),
        Field::new("metadata", text(), true),
        // `delta` or `cumulative`; null for gauges and summaries.
        Field::new("temporality", text(), true),
        Field::new("is_monotonic", DataType::Boolean, true),
        Field::new("attributes", text(), false),
        // The identity of the series: XXH3-64 of the attributes' text, seeded with the XXH3-64 of resource, scope, name, type,
        // unit, temporality (empty when null) and monotonicity (`1` or `0`), joined by zero bytes.
        Field::new("series_id", DataType::UInt64, false),
        Field::new("flags", DataType::UInt32, false),
        // Gauge and sum. A point sent as an integer has both columns, so that `value` alone serves every query.
        Field::new("value", DataType::Float64, true),
        Field::new("value_int", DataType::Int64, true),
        // Histogram, exponential histogram, summary.
        Field::new("count", DataType::UInt64, true),
        Field::new("sum", DataType::Float64, true),
        Field::new("min", DataType::Float64, true),
        Field::new("max", DataType::Float64, true),
        // Histogram.
        Field::new("bucket_counts", list(DataType::UInt64), true),
        Field::new("explicit_bounds", list(DataType::Float64), true),
        // Exponential histogram.
        Field::new("scale", DataType::Int32, true),
        Field::new("zero_count", DataType::UInt64, true),
        Field::new("zero_threshold", DataType::Float64, true),
        Field::new("positive_offset", DataType::Int32, true),
        Field::new("positive_counts", list(DataType::UInt64), true),
        Field::new("negative_offset", DataType::Int32, true),
        Field::new("negative_counts", list(DataType::UInt64), true),
        // Summary.
        Field::new("quantiles", list(DataType::Float64), true),
        Field::new("quantile_values", list(DataType::Float64), true),
        // Null, never empty, when the point has none.
        Field::new("exemplars", list(DataType::Struct(exemplar_fields())), true),
        // Native histograms of Prometheus; parts that were written before these columns existed do not have them.
        Field::new("count_float", DataType::Float64, true),
        Field::new("zero_count_float", DataType::Float64, true),
        // Offset and length of each span, one after the other.
        Field::new("positive_spans", list(DataType::Int32), true),
        Field::new("negative_spans", list(DataType::Int32), true),
        // Absolute counts of the buckets in the spans.
        Field::new("positive_counts_float", list(DataType::Float64), true),
        Field::new("negative_counts_float", list(DataType::Float64), true),
        // `unknown`, `reset`, `not_reset`, `gauge`.
        Field::new("reset_hint", text(), true),
    ])
}

/// The fields of one element of `exemplars`.
pub fn exemplar_fields() -> Fields {
    Fields::from(vec![
        Field::new(TIME, timestamp(), false),
        Field::new("value", DataType::Float64, true),
        Field::new("value_int", DataType::Int64, true),
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("attributes", DataType::Utf8, false),
    ])
}
