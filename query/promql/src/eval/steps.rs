//! The times at which an expression is evaluated.

/// Times at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    /// The first.
    pub(crate) start: i64,
    /// Their distance, above zero.
    pub(crate) step: i64,
    /// How many there are.
    pub(crate) count: usize,
}

impl Steps {
    /// All steps from `start` up to and with `end`.
    pub(crate) fn between(start: i64, end: i64, step: i64) -> Self {
        let count = if end < start { 0 } else { usize::try_from((end - start) / step).unwrap_or(usize::MAX - 1) + 1 };
        Self { start, step, count }
    }

    /// Only the first.
    pub(crate) fn first(self) -> Self {
        Self { count: self.count.min(1), ..self }
    }

    pub(crate) fn time(self, index: usize) -> i64 {
        self.start + self.step * index as i64
    }

    /// The last, or the first if there is none.
    pub(crate) fn end(self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }

    pub(crate) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |index| self.time(index))
    }
}
