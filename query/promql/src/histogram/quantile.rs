//! Quantiles and fractions of native histograms.

use super::{Bucket, Histogram};

/// How NaN observations, which are counted but in no bucket, bore on a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanObservations {
    /// The quantile lies among them: the result is NaN.
    Result,
    /// They rank above all others: the result is higher than without them.
    Skew,
}

/// A quantile.
#[derive(Clone, Copy, Debug)]
pub struct Quantile {
    /// Its value.
    pub value: f64,
    /// What to tell the user.
    pub nan_observations: Option<NanObservations>,
}

/// A fraction of the observations.
#[derive(Clone, Copy, Debug)]
pub struct Fraction {
    /// Its value.
    pub value: f64,
    /// Whether there are NaN observations, which are in no fraction.
    pub has_nan_observations: bool,
}

impl From<f64> for Quantile {
    fn from(value: f64) -> Self {
        Self { value, nan_observations: None }
    }
}

impl Histogram {
    /// The q-quantile. Interpolates exponentially within exponential buckets, linearly within custom buckets and the
    /// zero bucket. Zero is a natural bound for a histogram with buckets on one side only.
    pub fn quantile(&self, q: f64) -> Quantile {
        if q < 0.0 {
            return f64::NEG_INFINITY.into();
        }
        if q > 1.0 {
            return f64::INFINITY.into();
        }
        if self.count == 0.0 || q.is_nan() {
            return f64::NAN.into();
        }
        // From the near end, for accuracy; but with NaN observations only the ranks from below are known.
        if self.sum.is_nan() || q < 0.5 {
            self.quantile_from_below(q * self.count)
        } else {
            self.quantile_from_above((1.0 - q) * self.count)
        }
    }

    fn quantile_from_below(&self, rank: f64) -> Quantile {
        let buckets = self.all();
        let (bucket, mut count, rest) = reach(&buckets, rank);
        let bucket = match self.natural_bounds(bucket) {
            Ok(bucket) => bucket,
            Err(value) => return value.into(),
        };
        count = count.min(self.count);
        if count < rank {
            return self.beyond_all_buckets(bucket);
        }
        let value = self.interpolate(bucket, (rank - (count - bucket.count)) / bucket.count);
        let in_buckets = rest.iter().fold(count, |sum, bucket| sum + bucket.count);
        // Equal counts and a NaN sum: there were observations of both infinities.
        let skewed = self.sum.is_nan() && in_buckets < self.count;
        Quantile { value, nan_observations: skewed.then_some(NanObservations::Skew) }
    }

    fn quantile_from_above(&self, rank: f64) -> Quantile {
        let buckets = self.all_reverse();
        let (bucket, count, _) = reach(&buckets, rank);
        let bucket = match self.natural_bounds(bucket) {
            Ok(bucket) => bucket,
            Err(value) => return value.into(),
        };
        let count = count.min(self.count);
        if count < rank {
            return self.beyond_all_buckets(bucket);
        }
        self.interpolate(bucket, (count - rank) / bucket.count).into()
    }

    fn beyond_all_buckets(&self, last: Bucket) -> Quantile {
        if self.sum.is_nan() {
            return Quantile { value: f64::NAN, nan_observations: Some(NanObservations::Result) };
        }
        last.upper.into()
    }

    /// Cuts the bounds of the bucket at zero where nothing can lie beyond. `Err` is a quantile that needs no
    /// interpolation, since there is none with an infinite bound.
    fn natural_bounds(&self, mut bucket: Bucket) -> Result<Bucket, f64> {
        if !self.uses_custom_buckets() {
            if bucket.lower < 0.0 && bucket.upper > 0.0 {
                self.cut_at_zero(&mut bucket);
            }
        } else if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Err(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Err(bucket.lower);
        }
        Ok(bucket)
    }

    fn cut_at_zero(&self, bucket: &mut Bucket) {
        match (self.negative_buckets.is_empty(), self.positive_buckets.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
    }

    fn interpolate(&self, bucket: Bucket, fraction: f64) -> f64 {
        let Bucket { lower, upper, .. } = bucket;
        if self.uses_custom_buckets() || (lower <= 0.0 && upper >= 0.0) {
            return lower + (upper - lower) * fraction;
        }
        let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
        if lower > 0.0 {
            (log_lower + (log_upper - log_lower) * fraction).exp2()
        } else {
            -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
        }
    }

    /// The fraction of observations between two values; interpolates as [`quantile`](Self::quantile).
    pub fn fraction(&self, lower: f64, upper: f64) -> Fraction {
        let plain = |value| Fraction { value, has_nan_observations: false };
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return plain(f64::NAN);
        }
        if lower >= upper {
            return plain(0.0);
        }
        let buckets = self.all();
        let in_buckets: f64 = buckets.iter().map(|bucket| bucket.count).sum();
        let has_nan_observations = self.sum.is_nan() && in_buckets < self.count;
        let most = if self.sum.is_nan() { in_buckets } else { self.count };
        let rank = |value| self.rank(&buckets, value).map_or(most, |rank| if rank > most { most } else { rank });
        Fraction { value: (rank(upper) - rank(lower)) / self.count, has_nan_observations }
    }

    /// How many observations are below a value, if it is not above all buckets.
    fn rank(&self, buckets: &[Bucket], value: f64) -> Option<f64> {
        let mut rank = 0.0;
        for bucket in buckets {
            let mut bucket = *bucket;
            let is_zero_bucket = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if is_zero_bucket {
                self.cut_at_zero(&mut bucket);
            }
            if bucket.lower >= value {
                return Some(rank);
            }
            if bucket.upper > value {
                let linear = self.uses_custom_buckets() || is_zero_bucket;
                return Some(if linear {
                    rank_linear(bucket, rank, value)
                } else {
                    rank_exponential(bucket, rank, value)
                });
            }
            rank += bucket.count;
        }
        None
    }
}

/// The first bucket in which the counts so far reach the rank, these counts, and the buckets after it.
fn reach(buckets: &[Bucket], rank: f64) -> (Bucket, f64, &[Bucket]) {
    let mut count = 0.0;
    for (position, bucket) in buckets.iter().enumerate().filter(|(_, bucket)| bucket.count != 0.0) {
        count += bucket.count;
        if count >= rank {
            return (*bucket, count, &buckets[position + 1..]);
        }
    }
    (buckets.last().copied().unwrap_or_default(), count, &[])
}

/// Observations up to a value within a bucket, spread evenly. Of the bucket from `-Inf` all are below.
fn rank_linear(bucket: Bucket, rank: f64, value: f64) -> f64 {
    if bucket.lower == f64::NEG_INFINITY {
        return bucket.count;
    }
    rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower)
}

/// Observations up to a value within a bucket, spread evenly over the logarithms.
fn rank_exponential(bucket: Bucket, rank: f64, value: f64) -> f64 {
    let (log_lower, log_upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let log_value = value.abs().log2();
    let fraction = if value > 0.0 {
        (log_value - log_lower) / (log_upper - log_lower)
    } else {
        1.0 - (log_value - log_upper) / (log_lower - log_upper)
    };
    rank + bucket.count * fraction
}
