//! Detecting counter resets between two histograms of a series.

use super::arithmetic::{common_bounds, is_exponential, regroup, zero_count_up_to};
use super::bounds::exponential_bound;
use super::{Histogram, ResetHint};

impl Histogram {
    /// Whether the counter was reset between `previous` and this histogram: a count fell, a bucket with observations
    /// vanished, or the layout became finer, which only happens on a restart. The hint is trusted where it says reset
    /// or not; a gauge is looked at as if it were a counter.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.reset_hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        match (self.uses_custom_buckets(), previous.uses_custom_buckets()) {
            (true, true) => self.custom_bucket_fell(previous),
            (false, false) => self.exponential_bucket_fell(previous),
            _ => true,
        }
    }

    fn custom_bucket_fell(&self, previous: &Self) -> bool {
        let (now, before) = (self.positive_entries(), previous.positive_entries());
        if self.custom_values == previous.custom_values {
            return fell(now, before);
        }
        let common = common_bounds(&self.custom_values, &previous.custom_values);
        let now = regroup(&now.collect::<Vec<_>>(), &self.custom_values, &common);
        let before = regroup(&before.collect::<Vec<_>>(), &previous.custom_values, &common);
        fell(now.into_iter(), before.into_iter())
    }

    fn exponential_bucket_fell(&self, previous: &Self) -> bool {
        if !is_exponential(self.schema) || !is_exponential(previous.schema) {
            return true;
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (zero_count, threshold) = zero_count_up_to(previous, self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        if self.schema == previous.schema {
            return self.bucket_outside_zero_fell(previous);
        }
        let mut coarser = previous.clone();
        coarser.reduce_resolution(self.schema).is_err() || self.bucket_outside_zero_fell(&coarser)
    }

    /// Compares buckets of the same schema. Those within the zero bucket are in its count.
    fn bucket_outside_zero_fell(&self, previous: &Self) -> bool {
        let outside = |(index, _): &(i64, f64)| {
            self.zero_threshold == 0.0 || exponential_bound(*index, self.schema) > self.zero_threshold
        };
        fell(self.positive_entries().filter(outside), previous.positive_entries().filter(outside))
            || fell(self.negative_entries().filter(outside), previous.negative_entries().filter(outside))
    }
}

/// Whether a bucket has a lower count than before, or had observations and is gone.
fn fell(now: impl Iterator<Item = (i64, f64)>, mut before: impl Iterator<Item = (i64, f64)>) -> bool {
    let mut now = now.peekable();
    before.any(|(index, count)| {
        while now.next_if(|(other, _)| *other < index).is_some() {}
        match now.peek() {
            Some((other, current)) if *other == index => *current < count,
            _ => count != 0.0,
        }
    })
}
