//! What a histogram from outside must fulfil.

use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, MAX_SCHEMA, MIN_SCHEMA, Span};

/// Why a histogram is not valid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// No such schema.
    #[error(
        "histogram has an invalid schema {0}, must be between -4 and 8 for exponential buckets, or -53 for custom buckets"
    )]
    Schema(i32),
    /// Spans do not belong to the counts.
    #[error("{side} side: spans need {needed} buckets, have {present} buckets")]
    BucketNumber {
        /// `positive` or `negative`.
        side: &'static str,
        /// What the spans say.
        needed: u64,
        /// How many counts there are.
        present: usize,
    },
    /// Only the first span may have a negative offset, and that only with exponential buckets.
    #[error("{side} side: span number {number} with offset {offset} is negative")]
    NegativeOffset {
        /// `positive` or `negative`.
        side: &'static str,
        /// Which span, from 1.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// A bucket has an index beyond 32 bits.
    #[error("{side} side: bucket index {index} is out of range")]
    Index {
        /// `positive` or `negative`.
        side: &'static str,
        /// The index.
        index: i64,
    },
    /// A count below zero.
    #[error("{place} has a negative observation count of {count}")]
    NegativeCount {
        /// Which count.
        place: &'static str,
        /// Its value.
        count: f64,
    },
    /// Zero bucket with a negative width, or none at all.
    #[error("zero threshold {0} is not a number of at least 0")]
    ZeroThreshold(f64),
    /// Bounds of custom buckets must ascend and be finite.
    #[error("custom buckets: bounds must ascend and be finite, but {after} follows {before}")]
    Bounds {
        /// The bound before.
        before: f64,
        /// The bound that is not larger.
        after: f64,
    },
    /// More custom buckets than bounds.
    #[error("custom buckets: only {bounds} bounds for buckets up to number {needed}")]
    TooFewBounds {
        /// Bounds there are.
        bounds: usize,
        /// Buckets that the spans reach.
        needed: u64,
    },
    /// A field that this schema does not have.
    #[error("{0}")]
    Field(&'static str),
    /// Cumulative counts of classic buckets must not decrease.
    #[error("count {count} of the bucket up to {upper} is lower than that of the bucket before")]
    Decreasing {
        /// Upper bound of the bucket.
        upper: f64,
        /// Its count.
        count: f64,
    },
}

impl Histogram {
    /// Checks that spans, counts, schema and bounds belong together. The counts need not add up to `count`: rounding
    /// may keep them apart.
    pub fn validate(&self) -> Result<(), HistogramError> {
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => self.validate_custom()?,
            MIN_SCHEMA..=MAX_SCHEMA => self.validate_exponential()?,
            schema => return Err(HistogramError::Schema(schema)),
        }
        not_negative("histogram", &[self.count])?;
        not_negative("positive bucket", &self.positive_buckets)
    }

    fn validate_exponential(&self) -> Result<(), HistogramError> {
        if !self.custom_values.is_empty() {
            return Err(HistogramError::Field("histogram with exponential schema must not have custom bounds"));
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold(self.zero_threshold));
        }
        validate_spans("positive", &self.positive_spans, self.positive_buckets.len(), 1)?;
        validate_spans("negative", &self.negative_spans, self.negative_buckets.len(), 1)?;
        not_negative("zero bucket", &[self.zero_count])?;
        not_negative("negative bucket", &self.negative_buckets)
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        let mut before = f64::NEG_INFINITY;
        for &after in &self.custom_values {
            if after <= before || !after.is_finite() {
                return Err(HistogramError::Bounds { before, after });
            }
            before = after;
        }
        if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return Err(HistogramError::Field("custom buckets: must have no zero bucket"));
        }
        if !self.negative_spans.is_empty() || !self.negative_buckets.is_empty() {
            return Err(HistogramError::Field("custom buckets: must not have negative buckets"));
        }
        let needed = validate_spans("positive", &self.positive_spans, self.positive_buckets.len(), 0)?;
        let bounds = self.custom_values.len();
        if needed > bounds as u64 + 1 {
            return Err(HistogramError::TooFewBounds { bounds, needed });
        }
        Ok(())
    }
}

/// Checks spans, of which the first `signed` may have a negative offset; returns how far they reach from index 0.
fn validate_spans(side: &'static str, spans: &[Span], present: usize, signed: usize) -> Result<u64, HistogramError> {
    let mut needed = 0;
    let mut end = 0;
    for (position, span) in spans.iter().enumerate() {
        if position >= signed && span.offset < 0 {
            return Err(HistogramError::NegativeOffset { side, number: position + 1, offset: span.offset });
        }
        needed += u64::from(span.length);
        end += i64::from(span.offset) + i64::from(span.length);
        if end > i64::from(i32::MAX) {
            return Err(HistogramError::Index { side, index: end });
        }
    }
    if needed != present as u64 {
        return Err(HistogramError::BucketNumber { side, needed, present });
    }
    Ok(u64::try_from(end).unwrap_or(0))
}

fn not_negative(place: &'static str, counts: &[f64]) -> Result<(), HistogramError> {
    match counts.iter().find(|count| **count < 0.0) {
        Some(&count) => Err(HistogramError::NegativeCount { place, count }),
        None => Ok(()),
    }
}
