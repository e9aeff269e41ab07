//! Native histograms from data points.

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int32Type, UInt64Type};
use trivium_promql::Histogram;
use trivium_promql::histogram::{CUSTOM_BUCKETS_SCHEMA, ResetHint, Span};

/// The finest resolution of Prometheus; finer ones are merged.
const SCHEMA_MAX: i32 = 8;

/// The coarsest one; coarser ones cannot be shown.
const SCHEMA_MIN: i32 = -4;

/// The zero bucket's width where the sender names none (as Prometheus' OTLP receiver does).
const ZERO_THRESHOLD: f64 = 1e-128;

/// The value of a row, if the column is there and not null.
pub(super) fn number<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str, row: usize) -> Option<T::Native> {
    let array = batch.column_by_name(name)?.as_primitive_opt::<T>()?;
    array.is_valid(row).then(|| array.value(row))
}

/// The elements of a row's list, if the column is there and not null.
pub(super) fn list<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str, row: usize) -> Option<PrimitiveArray<T>> {
    let lists = batch.column_by_name(name)?.as_list_opt::<i32>()?;
    lists.is_valid(row).then(|| lists.value(row).as_primitive_opt::<T>().cloned()).flatten()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn counts(array: Option<PrimitiveArray<UInt64Type>>) -> Vec<f64> {
    array.map(|array| array.values().iter().map(|count| *count as f64).collect()).unwrap_or_default()
}

/// A histogram of explicit bounds as one with custom buckets.
#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
pub(super) fn custom(batch: &RecordBatch, row: usize, is_delta: bool) -> Option<Histogram> {
    let buckets = counts(list::<UInt64Type>(batch, "bucket_counts", row));
    let bounds = list::<Float64Type>(batch, "explicit_bounds", row).map(|bounds| bounds.values().to_vec());
    let count = number::<UInt64Type>(batch, "count", row)? as f64;
    let mut histogram = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count,
        sum: number::<Float64Type>(batch, "sum", row).unwrap_or_default(),
        custom_values: bounds.unwrap_or_default(),
        reset_hint: if is_delta { ResetHint::Gauge } else { ResetHint::Unknown },
        ..Histogram::default()
    };
    let buckets = if buckets.is_empty() { vec![count] } else { buckets };
    histogram.positive_spans = vec![Span { offset: 0, length: u32::try_from(buckets.len()).ok()? }];
    histogram.positive_buckets = buckets;
    Some(histogram)
}

/// An exponential histogram. `None` when it is coarser than Prometheus knows.
#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
pub(super) fn exponential(batch: &RecordBatch, row: usize, is_delta: bool) -> Option<Histogram> {
    let scale = number::<Int32Type>(batch, "scale", row)?;
    if scale < SCHEMA_MIN {
        return None;
    }
    let shift = u32::try_from((scale - SCHEMA_MAX).max(0)).unwrap_or(0);
    let buckets = |offset: &str, name: &str| {
        let offset = number::<Int32Type>(batch, offset, row).unwrap_or_default();
        merged(offset, &counts(list::<UInt64Type>(batch, name, row)), shift)
    };
    let (positive_spans, positive_buckets) = buckets("positive_offset", "positive_counts");
    let (negative_spans, negative_buckets) = buckets("negative_offset", "negative_counts");
    let zero_threshold = number::<Float64Type>(batch, "zero_threshold", row).filter(|threshold| *threshold > 0.0);
    Some(Histogram {
        reset_hint: if is_delta { ResetHint::Gauge } else { ResetHint::Unknown },
        schema: scale.min(SCHEMA_MAX),
        zero_threshold: zero_threshold.unwrap_or(ZERO_THRESHOLD),
        zero_count: number::<UInt64Type>(batch, "zero_count", row).unwrap_or_default() as f64,
        count: number::<UInt64Type>(batch, "count", row)? as f64,
        sum: number::<Float64Type>(batch, "sum", row).unwrap_or_default(),
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        custom_values: Vec::new(),
    })
}

/// Buckets from `offset` on, each `2^shift` of them merged. OTLP's bucket i is Prometheus' bucket i + 1: it names a bucket by
/// its lower bound, Prometheus by its upper one.
fn merged(offset: i32, counts: &[f64], shift: u32) -> (Vec<Span>, Vec<f64>) {
    let Some(first) = counts.iter().position(|count| *count != 0.0) else { return Default::default() };
    let last = counts.iter().rposition(|count| *count != 0.0).unwrap_or(first);
    let place = |index: usize| (i64::from(offset) + i64::try_from(index).unwrap_or(i64::MAX / 2)) >> shift.min(62);
    let (start, end) = (place(first), place(last));
    let length = usize::try_from(end - start + 1).unwrap_or(0);
    let mut buckets = vec![0.0; length];
    for (index, count) in counts.iter().enumerate().take(last + 1).skip(first) {
        if let Some(bucket) = usize::try_from(place(index) - start).ok().and_then(|at| buckets.get_mut(at)) {
            *bucket += count;
        }
    }
    let (Ok(offset), Ok(length)) = (i32::try_from(start + 1), u32::try_from(length)) else { return Default::default() };
    (vec![Span { offset, length }], buckets)
}

/// A histogram as Prometheus sent it. `None` when the row is no histogram.
pub(super) fn prometheus(batch: &RecordBatch, row: usize) -> Option<Histogram> {
    let spans = |name: &str| -> Vec<Span> {
        let numbers = list::<Int32Type>(batch, name, row).map(|array| array.values().to_vec()).unwrap_or_default();
        let (pairs, _) = numbers.as_chunks::<2>();
        pairs
            .iter()
            .map(|[offset, length]| Span { offset: *offset, length: u32::try_from(*length).unwrap_or(0) })
            .collect()
    };
    let floats =
        |name: &str| list::<Float64Type>(batch, name, row).map(|array| array.values().to_vec()).unwrap_or_default();
    let hint = batch.column_by_name("reset_hint").and_then(|column| column.as_dictionary_opt::<Int32Type>());
    let hint = hint.and_then(|column| column.key(row).map(|key| column.values().as_string::<i32>().value(key)));
    let count = number::<Float64Type>(batch, "count_float", row)?;
    Some(Histogram {
        reset_hint: match hint {
            Some("reset") => ResetHint::Reset,
            Some("not_reset") => ResetHint::NotReset,
            Some("gauge") => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        },
        schema: number::<Int32Type>(batch, "scale", row)?,
        zero_threshold: number::<Float64Type>(batch, "zero_threshold", row).unwrap_or_default(),
        zero_count: number::<Float64Type>(batch, "zero_count_float", row).unwrap_or_default(),
        count,
        sum: number::<Float64Type>(batch, "sum", row).unwrap_or_default(),
        positive_spans: spans("positive_spans"),
        positive_buckets: floats("positive_counts_float"),
        negative_spans: spans("negative_spans"),
        negative_buckets: floats("negative_counts_float"),
        custom_values: floats("explicit_bounds"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_move_up_by_one_and_merge_when_they_are_too_fine() {
        assert_eq!(merged(-2, &[0.0, 1.0, 2.0, 0.0], 0), (vec![Span { offset: 0, length: 2 }], vec![1.0, 2.0]));
        // Two at a time: -3|-2 -1|0 1|2 in pairs by their lower bounds.
        assert_eq!(
            merged(-3, &[1.0, 2.0, 4.0, 8.0, 16.0], 1),
            (vec![Span { offset: -1, length: 3 }], vec![1.0, 6.0, 24.0])
        );
        assert_eq!(merged(7, &[0.0, 0.0], 0), (Vec::new(), Vec::new()));
        assert_eq!(merged(i32::MAX, &[1.0, 1.0], 0).0, Vec::new());
    }
}
