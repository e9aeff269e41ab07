use std::net::SocketAddr;
use std::time::Duration;

use crate::series::SeriesConfig;

/// How much a query may use.
#[derive(Clone, Debug)]
pub struct QueryConfig {
    /// Bytes of memory that all SQL queries together may use for sorting, grouping and joining. More lets larger queries
    /// through; less protects ingest. A query that needs more is refused with 422.
    pub memory_bytes_max: usize,
    /// Bytes of it that one SQL query may use, so that one cannot starve the others.
    pub query_memory_bytes_max: usize,
    /// Time after which a query is cancelled unless it asks for another.
    pub timeout: Duration,
    /// The longest time that a query may ask for.
    pub timeout_max: Duration,
    /// Queries that run at once.
    pub concurrency: usize,
    /// Queries that may wait for a permit; the next one is refused with 429.
    pub queue_max: usize,
    /// How long a query waits for a permit before it is refused with 429.
    pub queue_wait: Duration,
    /// Rows of an SQL answer unless the request asks for another number.
    pub rows_default: usize,
    /// The most rows of an SQL answer that a request may ask for.
    pub rows_max: usize,
    /// Bytes of an SQL answer, after which it is cut and says so.
    pub answer_bytes_max: usize,
    /// What PromQL queries may do.
    pub promql: PromqlConfig,
    /// How metrics are seen by PromQL.
    pub series: SeriesConfig,
    /// Where telemetry is sent to, told to who asks.
    pub otlp: Option<OtlpListeners>,
}

/// The listeners that take telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtlpListeners {
    /// OTLP over gRPC.
    pub grpc: OtlpListener,
    /// OTLP over HTTP.
    pub http: OtlpListener,
}

/// How a listener is reached by who sends to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtlpListener {
    /// Where it is bound.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Whether it wants a token.
    pub token: bool,
    /// Whether it wants a certificate of the client.
    pub client_certificate: bool,
}

/// What PromQL queries may do and use.
#[derive(Clone, Debug)]
pub struct PromqlConfig {
    /// Samples that one query may hold in memory; at least 16 bytes each.
    pub samples_max: usize,
    /// Bytes of answers to range queries that are kept for the next refresh of a dashboard; 0 keeps none.
    pub answer_cache_bytes_max: usize,
    /// Steps of a range query.
    pub points_max: usize,
    /// Series that one selector may yield.
    pub series_max: usize,
    /// How old a sample may be to stand for an instant.
    pub lookback: Duration,
    /// Whether the functions and the syntax are known that Prometheus has behind flags.
    pub experimental: bool,
    /// Whether metric names are kept until the whole query is evaluated.
    pub delayed_name_removal: bool,
    /// Whether start times of series are evidence of counter resets.
    pub start_timestamps: bool,
}

impl Default for PromqlConfig {
    fn default() -> Self {
        Self {
            samples_max: 50_000_000,
            answer_cache_bytes_max: 32 << 20,
            points_max: 11_000,
            series_max: 2_000_000,
            lookback: Duration::from_secs(300),
            experimental: false,
            delayed_name_removal: false,
            start_timestamps: false,
        }
    }
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            memory_bytes_max: 512 << 20,
            query_memory_bytes_max: 384 << 20,
            timeout: Duration::from_secs(30),
            timeout_max: Duration::from_secs(300),
            concurrency: 16,
            queue_max: 64,
            queue_wait: Duration::from_secs(5),
            rows_default: 10_000,
            rows_max: 1_000_000,
            answer_bytes_max: 256 << 20,
            promql: PromqlConfig::default(),
            series: SeriesConfig::default(),
            otlp: None,
        }
    }
}
