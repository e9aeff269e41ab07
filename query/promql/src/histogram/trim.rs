//! Cutting off the observations above or below a value: the operators `</` and `>/`.

use super::{Bucket, Histogram};

/// Which observations are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

/// What is left of a bucket: how many observations, and the value that stands for them in the new sum.
struct Kept {
    count: f64,
    middle: f64,
}

impl Histogram {
    /// Keeps the observations up to a value (`</`). The sum is estimated from the buckets if any is cut.
    pub fn trim_upper(&self, value: f64) -> Self {
        self.trim(value, Keep::Below)
    }

    /// Keeps the observations from a value on (`>/`).
    pub fn trim_lower(&self, value: f64) -> Self {
        self.trim(value, Keep::Above)
    }

    fn trim(&self, value: f64, keep: Keep) -> Self {
        let mut trimmed = self.clone();
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let mut take = |target: &mut f64, kept: Kept| {
            changed |= *target != kept.count;
            *target = kept.count;
            count += kept.count;
            sum += kept.middle * kept.count;
        };
        let custom = self.uses_custom_buckets();
        let (positive, negative): (Vec<_>, Vec<_>) = (self.positive().collect(), self.negative().collect());
        for (target, bucket) in trimmed.positive_buckets.iter_mut().zip(&positive).filter(|(_, b)| b.count != 0.0) {
            take(target, kept_of_bucket(bucket, value, keep, custom));
        }
        for (target, bucket) in trimmed.negative_buckets.iter_mut().zip(&negative).filter(|(_, b)| b.count != 0.0) {
            take(target, kept_of_bucket(bucket, value, keep, false));
        }
        if self.zero_count > 0.0 {
            let mut zero = self.zero_bucket();
            let populated = |buckets: &[Bucket]| buckets.iter().any(|bucket| bucket.count != 0.0);
            match (populated(&negative), populated(&positive)) {
                (true, false) => zero.upper = 0.0,
                (false, true) => zero.lower = 0.0,
                _ => {}
            }
            take(&mut trimmed.zero_count, kept_of_zero_bucket(&zero, value, keep));
        }
        if changed {
            trimmed.count = count;
            trimmed.sum = sum;
            trimmed.compact(0);
        }
        trimmed
    }
}

fn kept_of_bucket(bucket: &Bucket, value: f64, keep: Keep, linear: bool) -> Kept {
    let Bucket { lower, upper, count, .. } = *bucket;
    let (inside, outside) = match keep {
        Keep::Below => (upper <= value, lower >= value),
        Keep::Above => (lower >= value, upper <= value),
    };
    if inside {
        return Kept { count, middle: middle(lower, upper, linear) };
    }
    // A comparison with NaN keeps nothing.
    if outside || value.is_nan() {
        return Kept { count: 0.0, middle: 0.0 };
    }
    if lower == f64::NEG_INFINITY || upper == f64::INFINITY {
        return kept_of_infinite_bucket(bucket, value, keep);
    }
    let below = count * fraction_below(lower, upper, value, linear);
    match keep {
        Keep::Below => Kept { count: below, middle: middle(lower, value, linear) },
        Keep::Above => Kept { count: count - below, middle: middle(value, upper, linear) },
    }
}

/// How the observations spread over an infinite bucket is not known. One from `-Inf` to a positive bound is taken to
/// begin at zero; otherwise all are kept or none.
fn kept_of_infinite_bucket(bucket: &Bucket, value: f64, keep: Keep) -> Kept {
    let Bucket { lower, upper, count, .. } = *bucket;
    let none = Kept { count: 0.0, middle: 0.0 };
    let from_zero = lower == f64::NEG_INFINITY && upper.is_finite();
    match keep {
        Keep::Below if from_zero && value > 0.0 && upper > 0.0 => {
            Kept { count: count * value / upper, middle: value / 2.0 }
        }
        Keep::Below if lower == f64::NEG_INFINITY && upper <= 0.0 => Kept { count, middle: value },
        Keep::Above if from_zero && value >= 0.0 => {
            Kept { count: count * (1.0 - value / upper), middle: (value + upper) / 2.0 }
        }
        Keep::Above if lower > f64::NEG_INFINITY => Kept { count, middle: value },
        _ => none,
    }
}

fn kept_of_zero_bucket(zero: &Bucket, value: f64, keep: Keep) -> Kept {
    let Bucket { lower, upper, count, .. } = *zero;
    let all = Kept { count, middle: (lower + upper) / 2.0 };
    let none = Kept { count: 0.0, middle: 0.0 };
    let width = upper - lower;
    match keep {
        Keep::Below if value <= lower => none,
        Keep::Below if value >= upper => all,
        Keep::Below => Kept { count: count * (value - lower) / width, middle: (lower + value) / 2.0 },
        Keep::Above if value <= lower => all,
        Keep::Above if value >= upper => none,
        Keep::Above => Kept { count: count * (upper - value) / width, middle: (value + upper) / 2.0 },
    }
}

fn fraction_below(lower: f64, upper: f64, value: f64, linear: bool) -> f64 {
    if linear {
        return (value - lower) / (upper - lower);
    }
    let (log_lower, log_upper, log_value) = (lower.abs().log2(), upper.abs().log2(), value.abs().log2());
    if lower >= 0.0 {
        (log_value - log_lower) / (log_upper - log_lower)
    } else {
        1.0 - (log_value - log_upper) / (log_lower - log_upper)
    }
}

/// The value that stands for an interval: its geometric mean, or the arithmetic one.
fn middle(lower: f64, upper: f64, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) => (lower * upper).abs().sqrt().copysign(if upper > 0.0 { 1.0 } else { -1.0 }),
    }
}
