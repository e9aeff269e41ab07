//! Every hard limit of the product: the constant, its unit, its reason.

/// Bytes of one export request after decompression (OTLP 1.11 recommends 64 MiB).
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Records of one export request. A record may be two bytes on the wire and takes a hundred in memory; a request of 64 MiB
/// whose records are 64 bytes long has this many.
pub const REQUEST_ROWS_MAX: usize = 1024 * 1024;

/// Events, links and exemplars of one export request, in sum; the records beyond are refused.
pub const REQUEST_NESTED_MAX: usize = 4 * REQUEST_ROWS_MAX;

/// Bytes of one answer to an export request (OTLP 1.11 recommends 4 MiB); error messages are cut far below it.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Levels of `AnyValue` nesting that are kept; what is deeper becomes the text `[truncated: depth]`.
pub const VALUE_DEPTH_MAX: usize = 32;

/// Elements of one array or key-value list inside an attribute value.
pub const VALUE_ELEMENTS_MAX: usize = 1_024;

/// Attributes of one record, resource or scope.
pub const ATTRIBUTES_MAX: usize = 1_024;

/// Bytes of one attribute key.
pub const KEY_BYTES_MAX: usize = 256;

/// Bytes of one attribute value in its text form; a longer one is cut and marked by `trivium.truncated`.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one log body; a longer one is cut and marked by `trivium.truncated`.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a name: span, metric, event, scope, unit, severity text, status message.
pub const NAME_BYTES_MAX: usize = 4 * 1024;

/// Events or links of one span.
pub const SPAN_CHILDREN_MAX: usize = 1_024;

/// Buckets of one histogram or exponential histogram data point, quantiles of one summary.
pub const BUCKETS_MAX: usize = 2_048;

/// Exemplars of one data point.
pub const EXEMPLARS_MAX: usize = 64;

/// How far ahead of our clock a record's time may be, in seconds: a sender whose clock is wrong must not create partitions
/// in the future that retention never reaches (prometheus/prometheus#13573).
pub const FUTURE_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Rows of one index block: the unit in which the text index and the ID index answer.
pub const INDEX_BLOCK_ROWS: u32 = 256;
