//! Sums of floats that keep track of what rounding took from them.

/// A sum and its error (Kahan and Babuška, with Neumaier's improvement).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) sum: f64,
    pub(super) error: f64,
}

impl Sum {
    #[inline]
    pub(super) fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        let is_larger = self.sum.abs() >= value.abs();
        let (larger, smaller) = if is_larger { (self.sum, value) } else { (value, self.sum) };
        let error = self.error + ((larger - sum) + smaller);
        Self { sum, error: if sum.is_infinite() { 0.0 } else { error } }
    }

    pub(super) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.error }
    }
}

/// A mean: of the sum as long as that does not overflow, then kept up to date value by value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    sum: Sum,
    count: f64,
    is_incremental: bool,
}

impl Mean {
    pub(super) fn of(value: f64) -> Self {
        Self { sum: Sum { sum: value, error: 0.0 }, count: 1.0, is_incremental: false }
    }

    pub(super) fn plus(mut self, value: f64) -> Self {
        self.count += 1.0;
        if !self.is_incremental {
            let sum = self.sum.plus(value);
            if !sum.sum.is_infinite() {
                self.sum = sum;
                return self;
            }
            self.is_incremental = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.error /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.sum = Sum { sum: share * self.sum.sum, error: share * self.sum.error }.plus(value / self.count);
        self
    }

    pub(super) fn value(self) -> f64 {
        if self.is_incremental {
            self.sum.sum + self.sum.error
        } else {
            self.sum.sum / self.count + self.sum.error / self.count
        }
    }
}

/// The population variance, by Welford.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variance {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Variance {
    pub(super) fn plus(mut self, value: f64) -> Self {
        self.count += 1.0;
        let delta = value - (self.mean.sum + self.mean.error);
        self.mean = self.mean.plus(delta / self.count);
        self.squares = self.squares.plus(delta * (value - (self.mean.sum + self.mean.error)));
        self
    }

    pub(super) fn value(self) -> f64 {
        (self.squares.sum + self.squares.error) / self.count
    }
}
