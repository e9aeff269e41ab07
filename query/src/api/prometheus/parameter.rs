//! Times, durations and limits as Prometheus reads them.

use std::time::Duration;

use chrono::DateTime;
use trivium_promql::{Matcher, parse_selectors};

use super::error::ApiError;
use super::form::Form;

/// The earliest time in milliseconds: a range without a start.
pub(super) const MIN_TIME: i64 = -9_223_309_901_257_974;
/// The latest time in milliseconds: a range without an end.
pub(super) const MAX_TIME: i64 = 9_223_309_901_257_974;

const MIN_TIME_TEXT: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME_TEXT: &str = "+292277025-08-18T07:12:54.999999999Z";

const NANOS_PER_SECOND: f64 = 1e9;

/// Seconds as a float, or RFC 3339; in milliseconds.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    let problem = || format!("cannot parse {text:?} to a valid timestamp");
    if let Some(seconds) = parse_float(text) {
        let millis = seconds.trunc() * 1000.0 + (seconds.fract() * 1000.0).round();
        if !(MIN_TIME as f64..=MAX_TIME as f64).contains(&millis) {
            return Err(problem());
        }
        return Ok(millis as i64);
    }
    match text {
        MIN_TIME_TEXT => Ok(MIN_TIME),
        MAX_TIME_TEXT => Ok(MAX_TIME),
        _ => DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis()).map_err(|_| problem()),
    }
}

/// A float as Go writes one.
fn parse_float(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Seconds as a float, or a duration such as `1h30m`; in nanoseconds, as Go counts.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_float(text) {
        let nanos = seconds * NANOS_PER_SECOND;
        if nanos.abs() > i64::MAX as f64 {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok(nanos as i64);
    }
    units(text).ok_or_else(|| format!("cannot parse {text:?} to a valid duration"))
}

/// `1y2w3d4h5m6s7ms`: each unit at most once and in this order.
fn units(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let (mut rest, mut left, mut millis) = (text, &UNITS[..], 0_i64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let place = left.iter().position(|(unit, _)| *unit == &rest[..letters])?;
        millis = millis.checked_add(number.checked_mul(left[place].1)?)?;
        left = &left[place + 1..];
        rest = &rest[letters..];
    }
    if text.is_empty() { None } else { millis.checked_mul(1_000_000) }
}

impl Form {
    /// A time in milliseconds; the default when it is not given.
    pub(super) fn time(&self, name: &str, default: i64) -> Result<i64, ApiError> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_time(text)
                .map_err(|problem| ApiError::parameter(name, format!("invalid time value for '{name}': {problem}"))),
        }
    }

    /// The times `start` and `end`, open when not given.
    pub(super) fn range(&self) -> Result<(i64, i64), ApiError> {
        Ok((self.time("start", MIN_TIME)?, self.time("end", MAX_TIME)?))
    }

    /// The parameter `timeout`.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        match self.get("timeout") {
            "" => Ok(None),
            text => {
                let nanos = parse_duration(text).map_err(|problem| ApiError::parameter("timeout", problem))?;
                Ok(Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))))
            }
        }
    }

    /// The parameter `limit`; 0 and none are no limit.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(usize::MAX);
        }
        let number = parse_integer(text).map_err(|problem| ApiError::parameter("limit", problem))?;
        match usize::try_from(number) {
            Ok(0) => Ok(usize::MAX),
            Ok(limit) => Ok(limit),
            Err(_) => Err(ApiError::parameter("limit", "limit must be non-negative")),
        }
    }

    /// The selectors of `match[]`.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        parse_selectors(self.all("match[]")).map_err(|error| ApiError::parameter("match[]", error))
    }
}

/// An integer; the error is Go's.
pub(super) fn parse_integer(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        let is_too_large =
            matches!(error.kind(), std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow);
        let problem = if is_too_large { "value out of range" } else { "invalid syntax" };
        format!("strconv.Atoi: parsing {text:?}: {problem}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, millis) in [
            ("1700000000", 1_700_000_000_000),
            ("1700000000.1234", 1_700_000_000_123),
            ("-1.5", -1_500),
            ("1.7e9", 1_700_000_000_000),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000_500),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
            (MIN_TIME_TEXT, MIN_TIME),
            (MAX_TIME_TEXT, MAX_TIME),
        ] {
            assert_eq!(parse_time(text), Ok(millis), "{text}");
        }
        for text in ["", "now", "NaN", "Inf", "1e300", "2023-11-14", "1 0"] {
            assert_eq!(parse_time(text), Err(format!("cannot parse {text:?} to a valid timestamp")));
        }
    }

    #[test]
    fn durations_are_seconds_or_units_in_order() {
        for (text, nanos) in [
            ("15", 15_000_000_000),
            ("0.25", 250_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1y2w3d4h5m6s7ms", (365_i64 + 14 + 3) * 86_400_000_000_000 + 14_706_007_000_000),
            ("0", 0),
            ("-5", -5_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for text in ["", "5x", "m5", "5m1h", "5m5m", "-5m", "1.5h", "99999999999y"] {
            assert_eq!(parse_duration(text), Err(format!("cannot parse {text:?} to a valid duration")));
        }
        let overflow = "cannot parse \"1e10\" to a valid duration. It overflows int64";
        assert_eq!(parse_duration("1e10"), Err(overflow.into()));
    }
}
