//! Native histograms with float counts: exponential buckets (schemas -4 to 8) and custom buckets (schema -53).

/// A run of buckets without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Gap to the end of the span before, or the index of the first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// What is known of a counter reset before a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing.
    #[default]
    Unknown,
    /// The counter was reset.
    Reset,
    /// It was not.
    NotReset,
    /// No counter at all.
    Gauge,
}

/// The schema of custom buckets.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// One native histogram, as `prometheus.FloatHistogram`.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// What is known of a reset before it.
    pub reset_hint: ResetHint,
    /// Resolution: buckets grow by `2^(2^-schema)`; or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Spans of the positive (or custom) buckets.
    pub positive_spans: Vec<Span>,
    /// Counts of the positive (or custom) buckets, not deltas.
    pub positive_buckets: Vec<f64>,
    /// Spans of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of the custom buckets but `+Inf`, ascending.
    pub custom_values: Vec<f64>,
}
