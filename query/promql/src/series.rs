//! Runs of samples, and where they come from.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::labels::{Labels, Matcher};

/// The bits of the NaN that says that a series has ended.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value is a staleness marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// The samples of one series within a selection. Times are milliseconds since the epoch, ascending and unique over both
/// lists together; staleness markers are floats.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Labels with the metric's name.
    pub labels: Labels,
    /// Times of the floats.
    pub times: Vec<i64>,
    /// The floats, as long as `times`.
    pub values: Vec<f64>,
    /// Native histograms, apart from the floats.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
    /// Start times of the floats in milliseconds, 0 where unknown; empty when none is known.
    pub start_times: Vec<i64>,
    /// The same for the histograms.
    pub histogram_start_times: Vec<i64>,
    /// Each value counts what happened since the one before (OTLP delta temporality): nothing is ever a reset.
    pub is_delta: bool,
}

/// What a selector asks for.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// All must match.
    pub matchers: &'a [Matcher],
    /// Samples later than this, in milliseconds …
    pub after: i64,
    /// … up to and with this.
    pub until: i64,
}

/// Why samples could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The query is over its time, or its client is gone.
    #[error("{0}")]
    Ended(String),
    /// A limit of the source.
    #[error("{0}")]
    Limit(String),
    /// Storage failed.
    #[error("{0}")]
    Storage(String),
}

/// Where samples come from.
pub trait SeriesSource {
    /// The series that match and have a sample in the time range, in any order, labels unique.
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError>;
}
