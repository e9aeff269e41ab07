//! Detecting counter resets between two histograms of a series.

use super::arithmetic::{common_bounds, is_exponential, regroup, zero_count_up_to};
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
        let (now, before): (Vec<_>, Vec<_>) =
            (self.positive_entries().collect(), previous.positive_entries().collect());
        if self.custom_values == previous.custom_values {
            return fell(&now, &before);
        }
        let common = common_bounds(&self.custom_values, &previous.custom_values);
        fell(&regroup(&now, &self.custom_values, &common), &regroup(&before, &previous.custom_values, &common))
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
        let at_schema = |histogram: &Self, entries: Vec<(i64, f64)>| {
            histogram.merged_entries(entries.into_iter(), self.schema, self.zero_threshold)
        };
        fell(
            &at_schema(self, self.positive_entries().collect()),
            &at_schema(previous, previous.positive_entries().collect()),
        ) || fell(
            &at_schema(self, self.negative_entries().collect()),
            &at_schema(previous, previous.negative_entries().collect()),
        )
    }
}

/// Whether a bucket has a lower count than before, or had observations and is gone.
fn fell(now: &[(i64, f64)], before: &[(i64, f64)]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|(index, count)| {
        while now.next_if(|(other, _)| other < index).is_some() {}
        match now.peek() {
            Some((other, current)) if other == index => current < count,
            _ => *count != 0.0,
        }
    })
}
