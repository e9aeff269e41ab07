//! Classic histograms: cumulative counts by `le`.

use super::float::almost_equal;
use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, HistogramError, Span};

/// Counts of neighbours that differ by less than this are the same but for rounding.
const COUNT_TOLERANCE: f64 = 1e-12;

/// One `le` bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    /// Its `le`.
    pub upper: f64,
    /// Observations up to `upper`.
    pub count: f64,
}

/// Where counts that should not decrease had to be raised; worth a note to the user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonotonicityFix {
    /// `le` of the lowest bucket raised.
    pub lowest: f64,
    /// `le` of the highest bucket raised.
    pub highest: f64,
    /// The largest raise.
    pub max_difference: f64,
}

/// A quantile of a classic histogram.
#[derive(Clone, Copy, Debug)]
pub struct ClassicQuantile {
    /// Its value.
    pub value: f64,
    /// Set if counts had to be raised by more than rounding explains.
    pub fix: Option<MonotonicityFix>,
}

/// The q-quantile over buckets in any order, interpolated linearly. NaN without a `+Inf` bucket, with fewer than two
/// buckets, or without observations. A quantile in the highest bucket is the bound below it.
pub fn classic_quantile(q: f64, buckets: Vec<ClassicBucket>) -> ClassicQuantile {
    let plain = |value| ClassicQuantile { value, fix: None };
    if q.is_nan() {
        return plain(f64::NAN);
    }
    if q < 0.0 {
        return plain(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return plain(f64::INFINITY);
    }
    let Some(mut buckets) = sorted(buckets) else { return plain(f64::NAN) };
    let fix = make_monotonic(&mut buckets);
    let [.., below, last] = buckets.as_slice() else { return plain(f64::NAN) };
    if last.count == 0.0 {
        return plain(f64::NAN);
    }
    let rank = q * last.count;
    let position = buckets[..buckets.len() - 1].partition_point(|bucket| bucket.count < rank || bucket.count.is_nan());
    let bucket = buckets[position];
    let value = match position.checked_sub(1).map(|before| buckets[before]) {
        _ if position == buckets.len() - 1 => below.upper,
        None if bucket.upper <= 0.0 => bucket.upper,
        None => bucket.upper * (rank / bucket.count),
        Some(before) => {
            let fraction = (rank - before.count) / (bucket.count - before.count);
            before.upper + (bucket.upper - before.upper) * fraction
        }
    };
    ClassicQuantile { value, fix }
}

/// The fraction of observations between two values over buckets in any order.
pub fn classic_fraction(lower: f64, upper: f64, buckets: Vec<ClassicBucket>) -> f64 {
    let Some(buckets) = sorted(buckets) else { return f64::NAN };
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value| rank(&buckets, value).map_or(count, |rank| if rank > count { count } else { rank });
    (rank(upper) - rank(lower)) / count
}

/// How many observations are below a value, if it is not above all buckets.
fn rank(buckets: &[ClassicBucket], value: f64) -> Option<f64> {
    let is_positive = buckets.first().is_some_and(|bucket| bucket.upper > 0.0);
    let mut lower = if is_positive { 0.0 } else { f64::NEG_INFINITY };
    let mut rank = 0.0;
    for bucket in buckets {
        if lower >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            let fraction = (value - lower) / (bucket.upper - lower);
            let is_open = lower == f64::NEG_INFINITY;
            return Some(if is_open { bucket.count } else { rank + (bucket.count - rank) * fraction });
        }
        rank = bucket.count;
        lower = bucket.upper;
    }
    None
}

/// Buckets by their bounds, those with the same bound added up; `None` without a `+Inf` bucket.
fn sorted(mut buckets: Vec<ClassicBucket>) -> Option<Vec<ClassicBucket>> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    buckets.dedup_by(|later, kept| {
        let same = later.upper == kept.upper;
        if same {
            kept.count += later.count;
        }
        same
    });
    Some(buckets)
}

/// Removes decreases of cumulative counts, and the differences that only come from rounding.
fn make_monotonic(buckets: &mut [ClassicBucket]) -> Option<MonotonicityFix> {
    let mut fix: Option<MonotonicityFix> = None;
    let mut before = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        if almost_equal(before, bucket.count, COUNT_TOLERANCE) {
            bucket.count = before;
        } else if bucket.count < before {
            let difference = before - bucket.count;
            let fix = fix.get_or_insert(MonotonicityFix {
                lowest: bucket.upper,
                highest: bucket.upper,
                max_difference: difference,
            });
            fix.highest = bucket.upper;
            fix.max_difference = fix.max_difference.max(difference);
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    fix
}

/// A native histogram with the bounds of a classic one. Without a count (or a `+Inf` bucket) the highest bucket says
/// how many observations there are.
pub fn custom_from_classic(
    mut buckets: Vec<ClassicBucket>,
    sum: Option<f64>,
    count: Option<f64>,
) -> Result<Histogram, HistogramError> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    // `le="0.2"` and `le="2e-1"` are the same bucket.
    buckets.dedup_by(|later, kept| later.upper == kept.upper);
    let total = count.or(buckets.last().map(|bucket| bucket.count)).unwrap_or(0.0);
    if buckets.last().is_none_or(|bucket| bucket.upper != f64::INFINITY) {
        buckets.push(ClassicBucket { upper: f64::INFINITY, count: total });
    }
    let mut before = 0.0;
    let mut counts = Vec::with_capacity(buckets.len());
    for bucket in &buckets {
        if bucket.count < before {
            return Err(HistogramError::Decreasing { upper: bucket.upper, count: bucket.count });
        }
        counts.push(bucket.count - before);
        before = bucket.count;
    }
    let mut histogram = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: total,
        sum: sum.unwrap_or(0.0),
        positive_spans: vec![Span { offset: 0, length: u32::try_from(counts.len()).unwrap_or(u32::MAX) }],
        positive_buckets: counts,
        custom_values: buckets.iter().map(|bucket| bucket.upper).filter(|upper| *upper != f64::INFINITY).collect(),
        ..Histogram::default()
    };
    histogram.compact(0);
    histogram.validate()?;
    Ok(histogram)
}
