use std::ops::Range;

/// A set of rows of one part: sorted, disjoint, non-empty, non-adjacent half-open ranges of row numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowRanges(Vec<Range<u32>>);

impl RowRanges {
    /// No row.
    pub fn none() -> Self {
        Self::default()
    }

    /// The rows `0..rows`.
    pub fn all(rows: u32) -> Self {
        Self::from_sorted(std::iter::once(0..rows))
    }

    /// Ranges that are sorted by start; empty ones are dropped, overlapping and adjacent ones merged.
    pub fn from_sorted(ranges: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut merged: Vec<Range<u32>> = Vec::new();
        for range in ranges {
            if range.is_empty() {
                continue;
            }
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The rows of the given blocks (ascending numbers) of `block_rows` rows each, in a part of `rows` rows.
    pub fn from_blocks(blocks: impl IntoIterator<Item = u32>, block_rows: u32, rows: u32) -> Self {
        Self::from_sorted(blocks.into_iter().map(|block| {
            let start = block.saturating_mul(block_rows).min(rows);
            start..start.saturating_add(block_rows).min(rows)
        }))
    }

    /// The rows in both sets.
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let common = a.start.max(b.start)..a.end.min(b.end);
            if a.end <= b.end {
                left.next();
            } else {
                right.next();
            }
            if !common.is_empty() {
                both.push(common);
            }
        }
        Self::from_sorted(both)
    }

    /// The rows in either set.
    pub fn union(&self, other: &Self) -> Self {
        let mut ranges: Vec<Range<u32>> = self.0.iter().chain(&other.0).cloned().collect();
        ranges.sort_unstable_by_key(|range| range.start);
        Self::from_sorted(ranges)
    }

    /// How many rows.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.end - range.start)).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u32>> + '_ {
        self.0.iter().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[(u32, u32)]) -> RowRanges {
        RowRanges::from_sorted(list.iter().map(|&(start, end)| start..end))
    }

    #[test]
    fn touching_ranges_merge() {
        assert_eq!(ranges(&[(0, 2), (2, 3), (5, 5), (6, 9), (7, 8)]), ranges(&[(0, 3), (6, 9)]));
    }

    #[test]
    fn intersection_and_union_are_those_of_sets() {
        let a = ranges(&[(0, 10), (20, 30), (40, 41)]);
        let b = ranges(&[(5, 25), (29, 50)]);
        assert_eq!(a.intersect(&b), ranges(&[(5, 10), (20, 25), (29, 30), (40, 41)]));
        assert_eq!(a.union(&b), ranges(&[(0, 50)]));
        assert_eq!(a.intersect(&RowRanges::none()), RowRanges::none());
    }

    #[test]
    fn the_last_block_ends_with_the_part() {
        assert_eq!(RowRanges::from_blocks([0, 3], 256, 800), ranges(&[(0, 256), (768, 800)]));
        assert_eq!(RowRanges::from_blocks([9], 256, 800), RowRanges::none());
    }
}
