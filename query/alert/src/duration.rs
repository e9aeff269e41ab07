//! Durations in Prometheus' notation: `1h30m`, `500ms`.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// The longest duration that Prometheus (Go) can tell, in milliseconds.
const MAX_MILLIS: u64 = 9_223_372_036_854;

/// Reads a duration: units in falling order, each at most once; a bare `0` is one too.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("not a valid duration string: {text:?}; expected one such as \"30s\" or \"1h30m\"");
    let too_long = || format!("duration {text:?} is out of range");
    let (mut rest, mut millis, mut next_unit) = (text, 0_u64, 0);
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?);
        let (unit, tail) = tail.split_at(tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len()));
        let unit = UNITS.iter().position(|(name, _)| *name == unit);
        let unit = unit.filter(|unit| *unit >= next_unit && !digits.is_empty()).ok_or_else(wrong)?;
        let number: u64 = digits.parse().map_err(|_| too_long())?;
        millis = number.checked_mul(UNITS[unit].1).and_then(|more| millis.checked_add(more)).ok_or_else(too_long)?;
        (rest, next_unit) = (tail, unit + 1);
    }
    if millis > MAX_MILLIS { Err(too_long()) } else { Ok(Duration::from_millis(millis)) }
}

/// Writes a duration; years and weeks are only told when nothing is left over.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        let only_exact = matches!(unit, "y" | "w");
        if rest >= size && (!only_exact || rest.is_multiple_of(size)) {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

/// A duration in milliseconds, as times of samples have it.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        for (text, millis) in [("0", 0), ("0s", 0), ("1m", 60_000), ("1h30m", 5_400_000), ("1d12h", 129_600_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "1", "m", "1m1h", "1m1m", "-1s", "1.5s", "1s ", "1x", "999999999999y", "9223372036855ms"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_were_read() {
        for text in ["0s", "5m", "1h30m", "1d", "1w", "90d", "1y", "500ms"] {
            assert_eq!(parse_duration(text).map(format_duration), Ok(text.to_owned()));
        }
    }
}
