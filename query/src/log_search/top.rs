//! The first rows of an answer, kept while rows come in any order.

/// The place of a row in the order of all rows: bigger keys come first in the answer. For the oldest first, times and
/// positions are inverted bit by bit, which inverts their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SortKey {
    pub(super) time: i64,
    pub(super) position: u64,
}

impl SortKey {
    pub(super) fn new(descending: bool, time: i64, position: u64) -> Self {
        if descending { Self { time, position } } else { Self { time: !time, position: !position } }
    }
}

/// Where a row lies: in which source of the scan, and there which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) source: u32,
    pub(super) row: u32,
}

/// The `wanted` first rows, with all rows that share the key of the last one: which of those belong to the answer is only
/// known when their contents are compared.
#[derive(Debug)]
pub(super) struct Top {
    wanted: usize,
    rows: Vec<(SortKey, Place)>,
    threshold: Option<SortKey>,
    prune_at: usize,
}

impl Top {
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, rows: Vec::new(), threshold: None, prune_at: wanted.saturating_mul(2).max(64) }
    }

    pub(super) fn offer(&mut self, key: SortKey, place: Place) {
        if self.wanted == 0 || self.threshold.is_some_and(|threshold| key < threshold) {
            return;
        }
        self.rows.push((key, place));
        if self.rows.len() >= self.prune_at {
            self.prune();
            // Ties may leave more rows than wanted: pruning again at once would cost their square.
            self.prune_at = self.rows.len().saturating_mul(2).max(64);
        }
    }

    /// Forgets the rows that can no longer belong to the answer.
    pub(super) fn prune(&mut self) {
        let Some(last) = self.wanted.checked_sub(1).filter(|&last| last < self.rows.len()) else { return };
        let (_, &mut (threshold, _), _) = self.rows.select_nth_unstable_by(last, |left, right| right.0.cmp(&left.0));
        self.rows.retain(|(key, _)| *key >= threshold);
        self.threshold = Some(threshold);
    }

    /// The key below which no row is wanted any more; `None` while every row is.
    pub(super) fn threshold(&mut self) -> Option<SortKey> {
        self.prune();
        self.threshold
    }

    pub(super) fn absorb(&mut self, other: Self) {
        for (key, place) in other.rows {
            self.offer(key, place);
        }
    }

    /// The rows, first ones first; rows of the same key by place.
    pub(super) fn into_sorted(mut self) -> Vec<(SortKey, Place)> {
        self.prune();
        self.rows.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top_times(wanted: usize, descending: bool, times: &[i64]) -> Vec<i64> {
        let mut top = Top::new(wanted);
        for (row, &time) in (0..).zip(times) {
            top.offer(SortKey::new(descending, time, 1), Place { source: 0, row });
        }
        let rows = top.into_sorted();
        rows.iter().map(|(_, place)| times[usize::try_from(place.row).expect("a small number")]).collect()
    }

    #[test]
    fn keeps_the_first_rows_and_the_ties_of_the_last() {
        assert_eq!(top_times(2, true, &[1, 5, 3, 4, 4, 4]), [5, 4, 4, 4]);
        assert_eq!(top_times(2, false, &[1, 5, 3, 4, 4, 4]), [1, 3]);
        assert_eq!(top_times(9, true, &[2, 1]), [2, 1]);
        assert!(top_times(0, true, &[2, 1]).is_empty());
    }

    #[test]
    fn many_rows_are_pruned_on_the_way() {
        let times: Vec<i64> = (0..10_000).map(|index| (index * 7_919) % 10_007).collect();
        let mut sorted = times.clone();
        sorted.sort_unstable();
        assert_eq!(top_times(3, false, &times), sorted[..3]);
        sorted.reverse();
        assert_eq!(top_times(3, true, &times), sorted[..3]);
    }

    #[test]
    fn a_threshold_exists_only_when_enough_rows_came() {
        let mut top = Top::new(2);
        let place = Place { source: 0, row: 0 };
        top.offer(SortKey::new(true, 5, 0), place);
        assert_eq!(top.threshold(), None);
        top.offer(SortKey::new(true, 7, 0), place);
        assert_eq!(top.threshold(), Some(SortKey::new(true, 5, 0)));
    }
}
