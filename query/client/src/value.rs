//! Reading the API's JSON: IDs are text, times and 64-bit integers are text or numbers.

use chrono::DateTime;
use serde_json::Value;

use crate::terminal::harmless;

/// The text of a field, made harmless; empty when there is none.
pub(crate) fn text(value: &Value, field: &str) -> String {
    display(&value[field])
}

/// A value as people write it, made harmless: text without quotes, everything else as JSON.
pub(crate) fn display(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => harmless(text).into_owned(),
        other => harmless(&other.to_string()).into_owned(),
    }
}

/// A 64-bit integer.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The elements of a list; none when it is none.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// `1 span`, `2 spans`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A time in nanoseconds as UTC, with the milliseconds.
pub(crate) fn time(value: &Value) -> String {
    match integer(value) {
        Some(nanos) => DateTime::from_timestamp_nanos(nanos).format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        None => display(value),
    }
}

/// A duration in nanoseconds with three digits or a little more: `950ns`, `3.25ms`, `12.1s`, `4m10s`, `2h05m`, `3d04h`.
pub(crate) fn duration(nanos: i64) -> String {
    let absolute = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let scaled = |unit: u64, name: &str| {
        let value = absolute as f64 / unit as f64;
        let decimals = if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        };
        format!("{sign}{value:.decimals$}{name}")
    };
    match absolute {
        0..1_000 => format!("{sign}{absolute}ns"),
        1_000..1_000_000 => scaled(1_000, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => scaled(1_000_000_000, "s"),
        _ => {
            let seconds = absolute / 1_000_000_000;
            let (unit, name, part, part_name) = match seconds {
                0..3_600 => (60, 'm', 1, 's'),
                3_600..86_400 => (3_600, 'h', 60, 'm'),
                _ => (86_400, 'd', 3_600, 'h'),
            };
            format!("{sign}{}{name}{:02}{part_name}", seconds / unit, seconds % unit / part)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_short() {
        let cases = [
            (0, "0ns"),
            (999, "999ns"),
            (3_250_000, "3.25ms"),
            (9_999_999, "10.0ms"),
            (99_960_000, "100ms"),
            (12_100_000_000, "12.1s"),
            (250_000_000_000, "4m10s"),
            (7_500_000_000_000, "2h05m"),
            (273_600_000_000_000, "3d04h"),
            (-1_500, "-1.50µs"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(duration(nanos), expected);
        }
        assert_eq!(duration(i64::MIN), "-106751d23h");
    }

    #[test]
    fn times_are_read_as_text_and_as_number() {
        assert_eq!(time(&json!("1790000000123456789")), "2026-09-21 14:13:20.123");
        assert_eq!(time(&json!(1_790_000_000_123_456_789_i64)), "2026-09-21 14:13:20.123");
        assert_eq!(time(&json!("\u{1b}")), "\\u{1b}");
        assert_eq!(time(&json!(i64::MIN.to_string())), "1677-09-21 00:12:43.145");
    }
}
