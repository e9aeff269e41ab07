//! Buckets with their bounds, and iterators over them.

use super::Histogram;
use super::bounds::exponential_bound;

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to it.
    pub upper_inclusive: bool,
    /// Observations, possibly fractional.
    pub count: f64,
    /// Its place within schema and sign; 0 for the zero bucket.
    pub index: i32,
}

/// The upper bound of a custom bucket.
fn custom_bound(index: i64, custom_values: &[f64]) -> f64 {
    if index < 0 {
        return f64::NEG_INFINITY;
    }
    usize::try_from(index).ok().and_then(|index| custom_values.get(index)).copied().unwrap_or(f64::INFINITY)
}

impl Histogram {
    /// The positive (or custom) buckets, ascending.
    pub fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.positive_entries().map(|(index, count)| self.positive_bucket(index, count))
    }

    /// The negative buckets from zero downwards.
    pub fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.negative_entries().map(|(index, count)| {
            let lower = -exponential_bound(index, self.schema);
            let upper = -exponential_bound(index - 1, self.schema);
            Bucket { lower, upper, lower_inclusive: true, upper_inclusive: false, count, index: clamp_index(index) }
        })
    }

    /// The zero bucket, closed on both sides; empty for custom buckets.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// All buckets, ascending: negative ones, the zero bucket if it has observations, positive ones. Where a bucket
    /// overlaps the zero bucket it is cut at the zero threshold.
    pub fn all(&self) -> Vec<Bucket> {
        let mut all: Vec<Bucket> = self.negative().collect();
        all.reverse();
        if self.zero_count > 0.0 {
            all.push(self.zero_bucket());
        }
        all.extend(self.positive());
        if self.zero_threshold > 0.0 {
            all.iter_mut().for_each(|bucket| cut_at_zero_bucket(bucket, self.zero_threshold));
        }
        all
    }

    /// All buckets, descending.
    pub fn all_reverse(&self) -> Vec<Bucket> {
        let mut all = self.all();
        all.reverse();
        all
    }

    fn positive_bucket(&self, index: i64, count: f64) -> Bucket {
        if self.uses_custom_buckets() {
            return Bucket {
                lower: custom_bound(index - 1, &self.custom_values),
                upper: custom_bound(index, &self.custom_values),
                lower_inclusive: index == 0,
                upper_inclusive: true,
                count,
                index: clamp_index(index),
            };
        }
        Bucket {
            lower: exponential_bound(index - 1, self.schema),
            upper: exponential_bound(index, self.schema),
            lower_inclusive: false,
            upper_inclusive: true,
            count,
            index: clamp_index(index),
        }
    }
}

fn cut_at_zero_bucket(bucket: &mut Bucket, threshold: f64) {
    if bucket.upper < 0.0 && bucket.upper > -threshold {
        bucket.upper = -threshold;
    } else if bucket.lower > 0.0 && bucket.lower < threshold {
        bucket.lower = threshold;
    }
}

fn clamp_index(index: i64) -> i32 {
    index.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}
