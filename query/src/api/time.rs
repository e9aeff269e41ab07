//! Times and durations as people write them in a query: RFC 3339, Unix seconds, nanoseconds, `now-15m`.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use trivium_model::{TimeRange, UnixNanos};

use crate::error::Error;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Whole numbers below this are seconds (it is the year 5138).
const SECONDS_MAX: i128 = 100_000_000_000;

/// Whole numbers from this on are nanoseconds (it is April 1970). What lies between is milli- or microseconds, which are
/// refused because a guess that is wrong by three digits gives an empty answer without a word.
const NANOS_MIN: i128 = 10_000_000_000_000_000;

const TIME_HINT: &str =
    "write RFC 3339 (2024-05-01T10:00:00Z), Unix seconds (1714557600.5), nanoseconds (1714557600500000000) or now-15m";

/// The time that a text means. A date or time without a zone is UTC.
pub(crate) fn parse_time(text: &str, now: UnixNanos) -> Result<UnixNanos, Error> {
    let text = text.trim();
    parse_relative(text, now)
        .or_else(|| parse_number(text))
        .or_else(|| parse_calendar(text))
        .ok_or_else(|| Error::invalid_with_hint(format!("{text:?} is not a time"), TIME_HINT))
}

/// The half-open range of the parameters `start` and `end`; without them it is open.
pub(crate) fn parse_range(start: Option<&str>, end: Option<&str>, now: UnixNanos) -> Result<TimeRange, Error> {
    let bound = |name: &str, text: Option<&str>, open: UnixNanos| match text.map(str::trim) {
        None | Some("") => Ok(open),
        Some(text) => parse_time(text, now)
            .map_err(|error| Error::invalid_with_hint(format!("cannot read {name}: {error}"), TIME_HINT)),
    };
    let range =
        TimeRange { start: bound("start", start, TimeRange::ALL.start)?, end: bound("end", end, TimeRange::ALL.end)? };
    if range.end < range.start {
        return Err(Error::invalid("end is before start"));
    }
    Ok(range)
}

/// A duration: numbers with the units ns, us, ms, s, m, h, d, w, such as `500ms`, `1.5s`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Error> {
    duration_nanos(text.trim()).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos).ok_or_else(|| {
        Error::invalid_with_hint(format!("{text:?} is not a duration"), "write for example 500ms, 1.5s, 1h30m")
    })
}

fn parse_relative(text: &str, now: UnixNanos) -> Option<UnixNanos> {
    let rest = text.strip_prefix("now")?.trim_start();
    let Some(sign) = rest.chars().next() else { return Some(now) };
    let nanos = duration_nanos(rest.get(1..)?.trim_start())?;
    let shifted = match sign {
        '-' => i128::from(now.0) - nanos,
        '+' => i128::from(now.0) + nanos,
        _ => return None,
    };
    i64::try_from(shifted).ok().map(UnixNanos)
}

fn parse_number(text: &str) -> Option<UnixNanos> {
    let nanos = if let Ok(whole) = text.parse::<i128>() {
        match whole.abs() {
            seconds if seconds < SECONDS_MAX => whole * NANOS_PER_SECOND,
            nanos if nanos >= NANOS_MIN => whole,
            _ => return None,
        }
    } else if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
        let exact = decimal_nanos(text, NANOS_PER_SECOND);
        exact.or_else(|| float_nanos(text)).filter(|nanos| nanos.abs() < SECONDS_MAX * NANOS_PER_SECOND)?
    } else {
        return None;
    };
    i64::try_from(nanos).ok().map(UnixNanos)
}

/// A number such as `1.7e9`, which clients print for large floats.
fn float_nanos(text: &str) -> Option<i128> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from f64 saturates, and the range is checked by the caller"
    )]
    Some((seconds * 1e9).round() as i128)
}

/// A decimal number of units of `unit` nanoseconds, without rounding; digits below a nanosecond are cut.
fn decimal_nanos(text: &str, unit: i128) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 20 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut nanos = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(unit)? };
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos += i128::from(digit - b'0') * place;
    }
    Some(if negative { -nanos } else { nanos })
}

fn duration_nanos(text: &str) -> Option<i128> {
    let (mut rest, mut total) = (text, 0_i128);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(letters)?;
        total = total.checked_add(decimal_nanos(number, unit_nanos(unit)?)?)?;
        rest = next.trim_start();
    }
    (!text.is_empty()).then_some(total)
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS_PER_SECOND,
        "m" | "min" => 60 * NANOS_PER_SECOND,
        "h" => 3_600 * NANOS_PER_SECOND,
        "d" => 86_400 * NANOS_PER_SECOND,
        "w" => 604_800 * NANOS_PER_SECOND,
        _ => return None,
    })
}

fn parse_calendar(text: &str) -> Option<UnixNanos> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt().map(UnixNanos);
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.and_time(NaiveTime::MIN)))?;
    naive.and_utc().timestamp_nanos_opt().map(UnixNanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

    #[test]
    fn every_form_of_a_time_is_read_exactly() {
        for (text, nanos) in [
            ("now", NOW.0),
            ("now-15m", NOW.0 - 900_000_000_000),
            ("now - 1h30m", NOW.0 - 5_400_000_000_000),
            ("now+1.5s", NOW.0 + 1_500_000_000),
            ("1700000000", NOW.0),
            ("1700000000.123456789", NOW.0 + 123_456_789),
            ("1.7e9", NOW.0),
            ("-1.5", -1_500_000_000),
            ("0", 0),
            ("1700000000000000001", NOW.0 + 1),
            ("2023-11-14T22:13:20Z", NOW.0),
            ("2023-11-14T23:13:20.000000001+01:00", NOW.0 + 1),
            ("2023-11-14 22:13:20", NOW.0),
            ("1970-01-02", 86_400_000_000_000),
        ] {
            assert_eq!(parse_time(text, NOW).map_err(|error| error.to_string()), Ok(UnixNanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        // Milliseconds and microseconds are refused on purpose.
        for text in [
            "",
            "yesterday",
            "now-",
            "now*2m",
            "now-5",
            "1700000000000",
            "1700000000000000",
            "99999999999999999999",
            "NaN",
            "9999-01-01",
            "-",
        ] {
            assert!(parse_time(text, NOW).is_err(), "{text:?} was taken for a time");
        }
    }

    #[test]
    fn ranges_are_open_without_bounds_and_never_negative() {
        assert_eq!(parse_range(None, Some(""), NOW).expect("an open range"), TimeRange::ALL);
        let error = parse_range(Some("now"), Some("now-1s"), NOW).expect_err("end before start");
        assert_eq!(error.to_string(), "end is before start");
        let error = parse_range(Some("x"), None, NOW).expect_err("no time").to_string();
        assert!(error.contains("start"), "{error}");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("1.5s").expect("a duration"), Duration::from_millis(1_500));
        assert_eq!(parse_duration("2h 1ms").expect("a duration"), Duration::from_millis(7_200_001));
        for text in ["", "5", "s", "-1s", "1.5.5s", "1y", "99999999999999999999w"] {
            assert!(parse_duration(text).is_err(), "{text:?} was taken for a duration");
        }
    }
}
