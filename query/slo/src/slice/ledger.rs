//! Prefix sums: the sum of any window is the difference of two look-ups.

/// Numbers that add up over time, with the sum of any run in two look-ups.
///
/// Sums of whole numbers are exact up to 2^53.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// Where each entry begins with what came before it; one longer than there are entries.
    sums: Vec<f64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { sums: vec![0.0] }
    }
}

impl Ledger {
    /// A ledger of so many zeros.
    pub(crate) fn zeros(count: usize) -> Self {
        Self { sums: vec![0.0; count + 1] }
    }

    pub(crate) fn len(&self) -> usize {
        self.sums.len() - 1
    }

    /// The sum of the entries from `start` to before `end`; bounds beyond the ledger are cut.
    pub(crate) fn sum(&self, start: usize, end: usize) -> f64 {
        let end = end.min(self.len());
        let start = start.min(end);
        match (self.sums.get(start), self.sums.get(end)) {
            // Entries are not negative; the difference of two rounded sums may be, by a whisker.
            (Some(before), Some(after)) => (after - before).max(0.0),
            _ => 0.0,
        }
    }

    /// Writes entries from `start` on, over what is there and beyond it. `start` is at most the length.
    pub(crate) fn write(&mut self, start: usize, values: impl ExactSizeIterator<Item = f64>) {
        let start = start.min(self.len());
        let end = start + values.len();
        let rest: Vec<f64> = (end..self.len()).map(|at| self.sum(at, at + 1)).collect();
        self.sums.truncate(start + 1);
        let mut sum = self.sums.last().copied().unwrap_or_default();
        for value in values.chain(rest) {
            sum += value;
            self.sums.push(sum);
        }
    }

    /// Puts entries in front.
    pub(crate) fn prepend(&mut self, values: impl Iterator<Item = f64>) {
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for value in values {
            sum += value;
            sums.push(sum);
        }
        sums.extend(self.sums.iter().skip(1).map(|after| sum + after));
        self.sums = sums;
    }

    /// Drops the first entries.
    pub(crate) fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len());
        let before = self.sums.get(count).copied().unwrap_or_default();
        self.sums.drain(..count);
        self.sums.iter_mut().for_each(|sum| *sum -= before);
    }
}

/// Bad and all of what the budget is counted in: events, or slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Sums {
    /// Bad ones.
    pub bad: f64,
    /// All.
    pub total: f64,
}

impl Sums {
    /// The share of bad ones; `None` without any.
    pub fn bad_ratio(self) -> Option<f64> {
        (self.total > 0.0).then(|| (self.bad / self.total).clamp(0.0, 1.0))
    }
}

/// The sums of a window and how much of it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WindowSums {
    /// Bad and all.
    pub sums: Sums,
    /// Seconds that were measured.
    pub measured_seconds: f64,
    /// The share of the window that was measured, from 0 to 1.
    pub coverage: f64,
}
