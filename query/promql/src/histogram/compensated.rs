//! Summing many histograms without the rounding errors of doing it one by one.

use super::Histogram;
use super::arithmetic::{Incompatible, Merge, Parts, Tally};

/// A sum with what rounding took from it (Kahan and Babuška, with Neumaier's improvement).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FloatSum {
    sum: f64,
    error: f64,
}

impl FloatSum {
    pub(super) fn increase(&mut self, by: f64) {
        let total = self.sum + by;
        if total.is_infinite() {
            self.error = 0.0;
        } else if self.sum.abs() >= by.abs() {
            self.error += (self.sum - total) + by;
        } else {
            self.error += (by - total) + self.sum;
        }
        self.sum = total;
    }
}

impl Tally for FloatSum {
    fn of(value: f64) -> Self {
        Self { sum: value, error: 0.0 }
    }

    fn add(&mut self, other: Self) {
        self.increase(other.sum);
        self.increase(other.error);
    }

    fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.error *= factor;
    }

    fn value(self) -> f64 {
        self.sum + self.error
    }
}

/// The running sum of histograms, every number in it compensated; for `sum`, `avg` and their `_over_time`.
#[derive(Clone, Debug)]
pub struct HistogramSum(Parts<FloatSum>);

impl HistogramSum {
    /// Starts with one histogram.
    pub fn new(first: &Histogram) -> Self {
        Self(Parts::from(first))
    }

    /// Adds one more.
    pub fn add(&mut self, histogram: &Histogram) -> Result<Merge, Incompatible> {
        self.0.merge(Parts::from(histogram))
    }

    /// Multiplies what was summed so far: for a mean that is kept up to date when the sum would overflow.
    pub fn scale(&mut self, factor: f64) {
        self.0.scale(factor);
    }

    /// Whether a number in it grew to infinity.
    pub fn has_overflow(&self) -> bool {
        let mut overflow = false;
        self.0.clone().for_each(|number| overflow |= number.sum.is_infinite());
        overflow
    }

    /// The sum so far.
    pub fn total(&self) -> Histogram {
        self.0.clone().into()
    }
}
