//! Mean and variance.

use super::Histogram;
use super::arithmetic::Tally;
use super::compensated::FloatSum;

impl Histogram {
    /// The mean of the observations.
    pub fn avg(&self) -> f64 {
        self.sum / self.count
    }

    /// The population variance, as if all observations of a bucket had the value in its middle: the geometric mean of
    /// its bounds, the arithmetic mean for custom buckets, 0 for the zero bucket.
    pub fn stdvar(&self) -> f64 {
        let mean = self.avg();
        let mut sum = FloatSum::default();
        for bucket in self.all().iter().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.uses_custom_buckets() {
                (bucket.upper + bucket.lower) / 2.0
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
            };
            let delta = middle - mean;
            sum.increase(bucket.count * delta * delta);
        }
        sum.value() / self.count
    }

    /// The population standard deviation.
    pub fn stddev(&self) -> f64 {
        self.stdvar().sqrt()
    }
}
