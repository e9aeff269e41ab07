//! Counts of log records per bucket of time and class of severity.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;
use trivium_model::TimeRange;

use super::columns::{SEVERITY_NUMBER, SEVERITY_TEXT, TIME, dictionary, dictionary_text, numbers, times};
use super::severity::{CLASS_COUNT, class_of_number, effective_number};
use crate::error::Error;

/// Buckets of one histogram.
pub const BUCKETS_MAX: usize = 65_536;

const SECOND: i64 = 1_000_000_000;

/// Widths that people read easily: the first that gives few enough buckets is taken.
const WIDTHS: [i64; 22] = [
    1_000_000,
    10_000_000,
    100_000_000,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
    600 * SECOND,
    900 * SECOND,
    1_800 * SECOND,
    3_600 * SECOND,
    7_200 * SECOND,
    14_400 * SECOND,
    43_200 * SECOND,
    86_400 * SECOND,
    604_800 * SECOND,
    31_536_000 * SECOND,
];

/// How fine a histogram is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// At most this many, of a width that reads well.
    AtMost(usize),
    /// Of this width.
    Width(Duration),
}

/// Counts per bucket and class, the buckets aligned to multiples of their width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Nanoseconds per bucket.
    pub width: i64,
    /// The start of the first bucket.
    pub start: i64,
    /// Counts by [`super::severity::CLASSES`], bucket after bucket.
    pub counts: Vec<[u64; CLASS_COUNT]>,
}

impl Histogram {
    /// An empty histogram over the times that records have, from `first` to `last` inclusive.
    pub(super) fn new(buckets: Buckets, first: i64, last: i64) -> Result<Self, Error> {
        let span = i128::from(last) - i128::from(first);
        let width = match buckets {
            Buckets::Width(width) => i64::try_from(width.as_nanos()).unwrap_or(i64::MAX).max(1),
            Buckets::AtMost(count) => {
                let fits =
                    |width: &i64| span / i128::from(*width) + 2 <= i128::try_from(count.max(3)).unwrap_or(i128::MAX);
                WIDTHS.into_iter().find(fits).unwrap_or(i64::MAX)
            }
        };
        let start = align(first, width);
        let count = (i128::from(last) - i128::from(start)) / i128::from(width) + 1;
        match usize::try_from(count) {
            Ok(count) if count <= BUCKETS_MAX => Ok(Self { width, start, counts: vec![[0; CLASS_COUNT]; count] }),
            _ => Err(Error::invalid_with_hint(
                format!("the histogram would have {count} buckets, more than {BUCKETS_MAX}"),
                "ask for a longer interval or a shorter range of time",
            )),
        }
    }

    pub(super) const COLUMNS: [&'static str; 3] = [TIME, SEVERITY_NUMBER, SEVERITY_TEXT];

    /// Counts the selected rows.
    pub(super) fn count(&mut self, batch: &RecordBatch, selection: &BooleanBuffer) -> Result<(), Error> {
        let times = times(batch)?;
        let severities = numbers::<Int32Type>(batch, SEVERITY_NUMBER)?.values();
        let texts = dictionary(batch, SEVERITY_TEXT)?;
        let mut bucket = Bucket::default();
        let mut count = |row: usize| {
            let (Some(&time), Some(&severity)) = (times.get(row), severities.get(row)) else { return };
            let severity = if severity == 0 { effective_number(0, dictionary_text(texts, row)) } else { severity };
            if !(bucket.start..bucket.end).contains(&time) {
                bucket = self.bucket_of(time);
            }
            if let Some(counts) = self.counts.get_mut(bucket.index) {
                counts[class_of_number(severity)] += 1;
            }
        };
        if selection.count_set_bits() == selection.len() {
            (0..selection.len()).for_each(&mut count);
        } else {
            selection.set_indices().for_each(&mut count);
        }
        Ok(())
    }

    fn bucket_of(&self, time: i64) -> Bucket {
        let index = (i128::from(time) - i128::from(self.start)).div_euclid(i128::from(self.width));
        let start = i128::from(self.start) + index * i128::from(self.width);
        Bucket {
            index: usize::try_from(index).unwrap_or(usize::MAX),
            start: i64::try_from(start).unwrap_or(i64::MIN),
            end: i64::try_from(start + i128::from(self.width)).unwrap_or(i64::MAX),
        }
    }

    /// Adds counts whose buckets lie whole within ours; says whether they do.
    pub(super) fn add_finer(&mut self, finer: &Self) -> bool {
        if self.width % finer.width != 0 {
            return false;
        }
        for (start, more) in finer.buckets() {
            // The first bucket of all may start before ours, but its records do not.
            let index = self.bucket_of(start.max(self.start)).index;
            if let Some(counts) = self.counts.get_mut(index) {
                counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            }
        }
        true
    }

    /// How many records were counted.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            for (count, more) in counts.iter_mut().zip(more) {
                *count += more;
            }
        }
    }

    /// The buckets that are not empty, with their start.
    pub fn buckets(&self) -> impl Iterator<Item = (i64, &[u64; CLASS_COUNT])> {
        let starts = (0_i64..).map(|index| self.start.saturating_add(index.saturating_mul(self.width)));
        starts.zip(&self.counts).filter(|(_, counts)| counts.iter().any(|&count| count > 0))
    }
}

/// Rows come nearly in time order: the bucket of the row before is looked at first.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    index: usize,
    start: i64,
    end: i64,
}

/// The start of the bucket that holds a time; the first bucket of all times starts at their minimum.
fn align(time: i64, width: i64) -> i64 {
    time.checked_sub(time.rem_euclid(width)).unwrap_or(i64::MIN)
}

/// The part of a range of time in which there are records, both ends inclusive; `None` when it is empty.
pub(super) fn clip(range: TimeRange, first: i64, last: i64) -> Option<(i64, i64)> {
    let first = first.max(range.start.0);
    let last = last.min(range.end.0.saturating_sub(1));
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_follows_from_the_number_of_buckets() {
        let hour = Histogram::new(Buckets::AtMost(60), 0, 3_600 * SECOND - 1).expect("few buckets");
        assert_eq!((hour.width, hour.counts.len()), (120 * SECOND, 30));
        let instant = Histogram::new(Buckets::AtMost(1), 5, 5).expect("one bucket");
        assert_eq!((instant.start, instant.counts.len()), (0, 1));
    }

    #[test]
    fn too_many_buckets_are_refused_before_they_are_allocated() {
        let nanosecond = Buckets::Width(Duration::from_nanos(1));
        let error = Histogram::new(nanosecond, 0, 31_536_000 * SECOND).expect_err("a year of nanoseconds");
        assert!(error.to_string().contains("more than 65536"), "{error}");
        assert!(Histogram::new(nanosecond, i64::MIN, i64::MAX).is_err());
        assert!(Histogram::new(Buckets::Width(Duration::ZERO), 0, 10).is_ok());
    }

    #[test]
    fn all_of_time_is_a_few_buckets() {
        let histogram = Histogram::new(Buckets::AtMost(60), i64::MIN, i64::MAX).expect("few buckets");
        assert!(histogram.counts.len() <= 60, "{}", histogram.counts.len());
        for time in [i64::MIN, 0, i64::MAX] {
            assert!(histogram.bucket_of(time).index < histogram.counts.len(), "{time}");
        }
    }

    #[test]
    fn finer_counts_are_added_to_the_buckets_that_hold_them() {
        let mut fine = Histogram::new(Buckets::Width(Duration::from_nanos(5)), -7, 23).expect("few buckets");
        for bucket in &mut fine.counts {
            bucket[1] = 1;
        }
        let mut coarse = Histogram::new(Buckets::Width(Duration::from_nanos(10)), -7, 23).expect("few buckets");
        assert!(coarse.add_finer(&fine));
        assert_eq!(
            coarse.buckets().map(|(start, counts)| (start, counts[1])).collect::<Vec<_>>(),
            [(-10, 2), (0, 2), (10, 2), (20, 1)]
        );
        assert_eq!(coarse.total(), 7);
        let mut odd = Histogram::new(Buckets::Width(Duration::from_nanos(7)), -7, 23).expect("few buckets");
        assert!(!odd.add_finer(&fine));
        assert_eq!(odd.total(), 0);
    }

    #[test]
    fn times_before_1970_fall_into_the_bucket_below() {
        let histogram = Histogram::new(Buckets::Width(Duration::from_nanos(10)), -5, 5).expect("two buckets");
        assert_eq!((histogram.start, histogram.counts.len()), (-10, 2));
        assert_eq!(histogram.bucket_of(-1).index, 0);
        assert_eq!(histogram.bucket_of(0).index, 1);
    }
}
