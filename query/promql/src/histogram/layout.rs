//! Buckets as a list of (index, count) and back to spans: what arithmetic works on.

use super::{Histogram, MAX_SCHEMA, MIN_SCHEMA, Span};

/// Longer runs of empty buckets are never written out, whatever is asked for: indexes may be 2^32 apart.
const LONGEST_FILL: i64 = 4096;

/// The buckets of one side with their indexes, ascending. Ends with the shorter of spans and counts, so that spans which
/// promise more buckets than there are cost nothing.
pub(super) fn entries<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i64, f64)> + 'a {
    let mut end = 0;
    let indexes = spans.iter().flat_map(move |span| {
        let start = end + i64::from(span.offset);
        end = start + i64::from(span.length);
        start..end
    });
    indexes.zip(counts.iter().copied())
}

/// The spans of buckets with ascending indexes.
pub(super) fn spans(indexes: impl Iterator<Item = i64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for index in indexes {
        match spans.last_mut() {
            Some(last) if index == end && last.length < u32::MAX => last.length += 1,
            _ => push_span(&mut spans, index - end),
        }
        end = index + 1;
    }
    spans
}

/// Adds a span of one bucket; a gap too wide for one offset is crossed in empty spans.
fn push_span(spans: &mut Vec<Span>, mut gap: i64) {
    loop {
        let offset = gap.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        gap -= i64::from(offset);
        spans.push(Span { offset, length: u32::from(gap == 0) });
        if gap == 0 {
            return;
        }
    }
}

/// The index that a bucket has at a lower resolution.
pub(super) fn index_at_schema(index: i64, from: i32, to: i32) -> i64 {
    let shift = from.saturating_sub(to).clamp(0, MAX_SCHEMA - MIN_SCHEMA);
    ((index - 1) >> shift) + 1
}

impl Histogram {
    /// The positive (or custom) buckets with their indexes.
    pub(super) fn positive_entries(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        entries(&self.positive_spans, &self.positive_buckets)
    }

    /// The negative buckets with their indexes, from zero downwards.
    pub(super) fn negative_entries(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        entries(&self.negative_spans, &self.negative_buckets)
    }

    /// Drops empty buckets, but keeps (or adds) runs of at most `max_empty` of them between others where that saves a
    /// span.
    pub fn compact(&mut self, max_empty: u32) {
        let positive = compact(self.positive_entries(), max_empty);
        let negative = compact(self.negative_entries(), max_empty);
        (self.positive_spans, self.positive_buckets) = positive;
        (self.negative_spans, self.negative_buckets) = negative;
    }

    /// As [`compact`](Self::compact) so that each side is one span, unless it has long gaps.
    pub(super) fn in_single_spans(&self) -> Option<Self> {
        let mut compacted = self.clone();
        compacted.compact(u32::MAX);
        (compacted.positive_spans.len() <= 1 && compacted.negative_spans.len() <= 1).then_some(compacted)
    }
}

fn compact(entries: impl Iterator<Item = (i64, f64)>, max_empty: u32) -> (Vec<Span>, Vec<f64>) {
    let mut kept: Vec<(i64, f64)> = Vec::new();
    for (index, count) in entries.filter(|(_, count)| *count != 0.0) {
        if let Some(&(last, _)) = kept.last() {
            let gap = index - last - 1;
            if gap <= i64::from(max_empty).min(LONGEST_FILL) {
                kept.extend((last + 1..index).map(|empty| (empty, 0.0)));
            }
        }
        kept.push((index, count));
    }
    (spans(kept.iter().map(|(index, _)| *index)), kept.iter().map(|(_, count)| *count).collect())
}
