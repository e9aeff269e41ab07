use std::time::Duration;

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
        }
    }
}
