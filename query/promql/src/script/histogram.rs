//! Histograms as scripts write them: `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}`.

use super::cursor::Cursor;
use crate::histogram::{Histogram, ResetHint, Span};

/// A histogram, and whether its counter reset hint is given.
pub(super) struct Literal {
    pub(super) histogram: Histogram,
    pub(super) with_hint: bool,
}

/// The histogram that comes next; its `{{` is taken already.
pub(super) fn take_histogram(cursor: &mut Cursor<'_>) -> Result<Literal, String> {
    let mut histogram = Histogram::default();
    let mut seen: Vec<&str> = Vec::new();
    let (mut offset, mut negative_offset) = (0, 0);
    loop {
        cursor.skip_spaces();
        if cursor.take("}}") {
            break;
        }
        let here = cursor.here();
        let key = cursor.take_while(|c| c.is_ascii_lowercase() || c == '_');
        cursor.expect(":").map_err(|_| format!("expected a histogram field such as count:3, got {here}"))?;
        if seen.contains(&key) {
            return Err(format!("histogram field {key:?} is given twice"));
        }
        seen.push(key);
        match key {
            "schema" => histogram.schema = integer(cursor)?,
            "sum" => histogram.sum = cursor.float()?,
            "count" => histogram.count = cursor.float()?,
            "z_bucket" => histogram.zero_count = cursor.float()?,
            "z_bucket_w" => histogram.zero_threshold = cursor.float()?,
            "custom_values" => histogram.custom_values = list(cursor)?,
            "buckets" => histogram.positive_buckets = list(cursor)?,
            "n_buckets" => histogram.negative_buckets = list(cursor)?,
            "offset" => offset = integer(cursor)?,
            "n_offset" => negative_offset = integer(cursor)?,
            "counter_reset_hint" => histogram.reset_hint = hint(cursor)?,
            _ => return Err(format!("unknown histogram field {key:?}")),
        }
        if !matches!(cursor.peek(), Some(' ' | '\t' | '}')) {
            return Err(format!("expected a space or }}}} after histogram field {key:?}, got {}", cursor.here()));
        }
    }
    histogram.positive_spans = spans(offset, &histogram.positive_buckets)?;
    histogram.negative_spans = spans(negative_offset, &histogram.negative_buckets)?;
    Ok(Literal { histogram, with_hint: seen.contains(&"counter_reset_hint") })
}

fn spans(offset: i32, buckets: &[f64]) -> Result<Vec<Span>, String> {
    if buckets.is_empty() {
        return Ok(Vec::new());
    }
    let length = u32::try_from(buckets.len()).map_err(|_| "too many buckets")?;
    Ok(vec![Span { offset, length }])
}

fn integer(cursor: &mut Cursor<'_>) -> Result<i32, String> {
    let here = cursor.here();
    let negative = cursor.take("-");
    let magnitude = cursor.unsigned().ok().and_then(|number| i64::try_from(number).ok());
    let value = magnitude.and_then(|number| i32::try_from(if negative { -number } else { number }).ok());
    value.ok_or_else(|| format!("expected a whole number, got {here}"))
}

fn list(cursor: &mut Cursor<'_>) -> Result<Vec<f64>, String> {
    cursor.expect("[")?;
    let mut numbers = Vec::new();
    loop {
        cursor.skip_spaces();
        if cursor.take("]") {
            return Ok(numbers);
        }
        numbers.push(cursor.float()?);
    }
}

fn hint(cursor: &mut Cursor<'_>) -> Result<ResetHint, String> {
    match cursor.take_while(|c| c.is_ascii_lowercase() || c == '_') {
        "unknown" => Ok(ResetHint::Unknown),
        "reset" => Ok(ResetHint::Reset),
        "not_reset" => Ok(ResetHint::NotReset),
        "gauge" => Ok(ResetHint::Gauge),
        other => Err(format!("expected counter_reset_hint unknown, reset, not_reset or gauge, got {other:?}")),
    }
}
