//! Native histograms with float counts: exponential buckets (schemas -4 to 8) and custom buckets (schema -53), and the
//! classic histograms of cumulative `le` buckets.
//!
//! Behaves as Prometheus 3's `FloatHistogram`. Bucket bounds are computed, not looked up, and may differ from
//! Prometheus' table in the last digit.

mod arithmetic;
mod bounds;
mod buckets;
mod classic;
mod compensated;
mod float;
mod layout;
mod quantile;
mod render;
mod reset;
mod statistics;
mod trim;
mod validate;

#[cfg(test)]
mod properties;

pub use arithmetic::{Incompatible, Merge, ReduceError};
pub use buckets::Bucket;
pub use classic::{
    ClassicBucket, ClassicQuantile, MonotonicityFix, classic_fraction, classic_quantile, custom_from_classic,
};
pub use compensated::HistogramSum;
pub use float::{almost_equal, format_general};
pub use quantile::{Fraction, NanObservations, Quantile};
pub use render::RenderedBucket;
pub use validate::HistogramError;

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

/// The lowest resolution of exponential buckets: bounds grow by 2^16.
pub const MIN_SCHEMA: i32 = -4;

/// The highest resolution of exponential buckets: 256 buckets for each power of two.
pub const MAX_SCHEMA: i32 = 8;

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

impl Histogram {
    /// Whether its buckets have custom bounds.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// How many samples it counts as against the limit of a query: one for each 16 bytes, as in Prometheus.
    pub fn weight(&self) -> usize {
        let numbers = self.positive_buckets.len() + self.negative_buckets.len() + self.custom_values.len();
        let spans = self.positive_spans.len() + self.negative_spans.len();
        (size_of::<Self>() + 8 * (numbers + spans)).div_ceil(16)
    }

    /// Whether any of its numbers grew to infinity.
    pub fn has_overflow(&self) -> bool {
        let numbers = [self.zero_count, self.count, self.sum];
        let buckets = self.positive_buckets.iter().chain(&self.negative_buckets);
        numbers.iter().chain(buckets).any(|number| number.is_infinite())
    }
}

/// Equality of the data: counts and sum by their bits, buckets by their place however the spans are cut, and whatever
/// the reset hints are.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        let same_bits = |a: &[f64], b: &[f64]| a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()));
        let same_side = |a: &[Span], a_counts: &[f64], b: &[Span], b_counts: &[f64]| {
            let indexes = |spans, counts| layout::entries(spans, counts).map(|(index, _)| index);
            same_bits(a_counts, b_counts) && indexes(a, a_counts).eq(indexes(b, b_counts))
        };
        self.schema == other.schema
            && same_bits(&[self.count, self.sum, self.zero_count], &[other.count, other.sum, other.zero_count])
            && self.zero_threshold == other.zero_threshold
            && (!self.uses_custom_buckets() || self.custom_values == other.custom_values)
            && same_side(&self.positive_spans, &self.positive_buckets, &other.positive_spans, &other.positive_buckets)
            && same_side(&self.negative_spans, &self.negative_buckets, &other.negative_spans, &other.negative_buckets)
    }
}
