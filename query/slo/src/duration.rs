//! Durations as people write them: `5m`, `1h30m`, `300ms`; and back, in the largest units that are exact.

use std::time::Duration;

/// Seconds of a minute, an hour, a day.
pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

const UNITS_MILLIS: [(&str, u64); 6] =
    [("ms", 1), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Parses one or more `<number><unit>` with the units `w d h m s ms`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let refuse =
        || format!("{text:?} is not a duration: write a number and a unit of w d h m s ms, such as 5m or 1h30m");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(refuse());
    }
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let (unit, factor) = UNITS_MILLIS.iter().find(|(unit, _)| tail.starts_with(unit)).ok_or_else(refuse)?;
        millis = number.checked_mul(*factor).and_then(|part| millis.checked_add(part)).ok_or_else(refuse)?;
        rest = tail.get(unit.len()..).unwrap_or_default();
    }
    Ok(Duration::from_millis(millis))
}

/// Seconds in units that a reader knows: `5m`, `2d2h`, `3d`; rounded to seconds, and to minutes beyond a day.
pub(crate) fn render(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "forever".to_owned();
    }
    let mut left =
        if seconds >= DAY as f64 { (seconds / 60.0).round() * 60.0 } else { seconds.round() }.max(0.0) as i64;
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1)] {
        if left >= length {
            text.push_str(&format!("{}{unit}", left / length));
            left %= length;
        }
    }
    text
}

/// The name of a window of this length as Prometheus' metric names have it: one unit, the largest that is exact.
pub(crate) fn render_window(seconds: i64) -> String {
    for (unit, length) in [("d", DAY), ("h", HOUR), ("m", MINUTE)] {
        if seconds >= length && seconds % length == 0 {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in [("5m", 300_000), ("1h30m", 5_400_000), ("300ms", 300), ("1w", 604_800_000), ("0s", 0)] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "5", "m", "5x", "-5m", "5m 3", "99999999999999999999d", "5é"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(render(180_000.0), "2d2h");
        assert_eq!(render(90.0), "1m30s");
        assert_eq!(render(f64::INFINITY), "forever");
        assert_eq!(
            (render_window(259_200), render_window(5_400), render_window(90)),
            ("3d".into(), "90m".into(), "90s".into())
        );
    }
}
