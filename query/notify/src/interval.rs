//! Time intervals: when a route is muted or active.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use trivium_model::UnixNanos;

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Both ends are inside.
type Range = (i32, i32);

/// A set of moments: those that fit every kind of condition that is given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct TimeInterval {
    /// Minutes of the day; the end is outside.
    times: Vec<Range>,
    weekdays: Vec<Range>,
    days_of_month: Vec<Range>,
    months: Vec<Range>,
    years: Vec<Range>,
    location: Tz,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Written {
    times: Vec<WrittenTime>,
    weekdays: Vec<String>,
    days_of_month: Vec<String>,
    months: Vec<String>,
    years: Vec<String>,
    location: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTime {
    start_time: String,
    end_time: String,
}

impl TryFrom<Written> for TimeInterval {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let location = match written.location.as_str() {
            "" | "Local" => Tz::UTC,
            name => Tz::from_str(name).map_err(|_| format!("{name:?} is not a time zone such as Europe/Paris"))?,
        };
        Ok(Self {
            times: written.times.iter().map(time).collect::<Result<_, _>>()?,
            weekdays: ranges(&written.weekdays, |text| named(text, &WEEKDAYS, 0), "a day of the week such as monday")?,
            days_of_month: ranges(&written.days_of_month, day, "a day of the month: 1 to 31 or -1 to -31")?,
            months: ranges(&written.months, month, "a month such as may or 5")?,
            years: ranges(&written.years, |text| text.parse().ok(), "a year such as 2026")?,
            location,
        })
    }
}

fn time(written: &WrittenTime) -> Result<Range, String> {
    let (start, end) = (minutes(&written.start_time)?, minutes(&written.end_time)?);
    if start < end { Ok((start, end)) } else { Err("start time cannot be equal or greater than end time".into()) }
}

fn minutes(text: &str) -> Result<i32, String> {
    let parts = text.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2);
    let numbers = parts.and_then(|(hours, minutes)| Some((hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?)));
    match numbers {
        Some((24, 0)) => Ok(24 * 60),
        Some((hours @ 0..24, minutes @ 0..60)) => Ok(hours * 60 + minutes),
        _ => Err(format!("{text:?} is not a time from 00:00 to 24:00")),
    }
}

fn named(text: &str, names: &[&str], first: i32) -> Option<i32> {
    let at = names.iter().position(|name| *name == text)?;
    i32::try_from(at).ok().map(|at| at + first)
}

fn month(text: &str) -> Option<i32> {
    named(text, &MONTHS, 1).or_else(|| text.parse().ok().filter(|month| (1..=12).contains(month)))
}

fn day(text: &str) -> Option<i32> {
    text.parse().ok().filter(|day| *day != 0 && (-31..=31).contains(day))
}

fn ranges(texts: &[String], read: impl Fn(&str) -> Option<i32>, expected: impl Display) -> Result<Vec<Range>, String> {
    let one = |text: &String| {
        let lower = text.to_lowercase();
        let (first, last) = lower.split_once(':').unwrap_or((&lower, &lower));
        let bound = |part: &str| read(part.trim()).ok_or_else(|| format!("{part:?} is not {expected}"));
        let (first, last) = (bound(first)?, bound(last)?);
        // A negative day counts from the end of the month: 1:-1 is the whole month, -1:1 is none.
        let is_turned = if first.signum() == last.signum() { first > last } else { first < 0 };
        if is_turned { Err(format!("{text:?} ends before it starts")) } else { Ok((first, last)) }
    };
    texts.iter().map(one).collect()
}

fn is_within(ranges: &[Range], value: i32) -> bool {
    ranges.is_empty() || ranges.iter().any(|(first, last)| (*first..=*last).contains(&value))
}

fn days_of(year: i32, month: u32) -> i32 {
    let next =
        if month == 12 { NaiveDate::from_ymd_opt(year + 1, 1, 1) } else { NaiveDate::from_ymd_opt(year, month + 1, 1) };
    next.and_then(|next| next.pred_opt()).map_or(31, |last| i32::try_from(last.day()).unwrap_or(31))
}

impl TimeInterval {
    /// Whether a moment is inside.
    pub fn contains(&self, at: UnixNanos) -> bool {
        let local = DateTime::<Utc>::from_timestamp_nanos(at.0).with_timezone(&self.location);
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let minute = number(local.hour() * 60 + local.minute());
        let is_time = self.times.is_empty() || self.times.iter().any(|(start, end)| (*start..*end).contains(&minute));
        is_time
            && self.contains_day(number(local.day()), days_of(local.year(), local.month()))
            && is_within(&self.weekdays, number(local.weekday().num_days_from_sunday()))
            && is_within(&self.months, number(local.month()))
            && is_within(&self.years, local.year())
    }

    fn contains_day(&self, day: i32, days: i32) -> bool {
        let from_start = |value: i32| if value < 0 { days + value + 1 } else { value };
        let is_inside =
            |(first, last): &Range| *first <= days && (from_start(*first)..=from_start(*last)).contains(&day);
        self.days_of_month.is_empty() || self.days_of_month.iter().any(is_inside)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use trivium_model::UnixNanos;

    use super::TimeInterval;

    fn at(text: &str) -> UnixNanos {
        UnixNanos(DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt().unwrap())
    }

    #[test]
    fn moments_are_inside_or_not() {
        let cases = [
            ("{}", "2026-01-01T00:00:00Z", true),
            ("times: [{start_time: '09:00', end_time: '17:00'}]", "2026-01-01T09:00:00Z", true),
            ("times: [{start_time: '09:00', end_time: '17:00'}]", "2026-01-01T17:00:00Z", false),
            ("times: [{start_time: '22:00', end_time: '24:00'}]", "2026-01-01T23:59:59Z", true),
            ("weekdays: ['monday:friday']", "2026-11-21T12:00:00Z", false),
            ("weekdays: ['Saturday', sunday]", "2026-11-21T12:00:00Z", true),
            ("days_of_month: ['-3:-1']", "2026-02-26T12:00:00Z", true),
            ("days_of_month: ['-3:-1']", "2026-02-25T12:00:00Z", false),
            ("days_of_month: ['31']", "2026-04-30T12:00:00Z", false),
            ("days_of_month: ['29:31']", "2026-04-30T12:00:00Z", true),
            ("days_of_month: ['1:-1']", "2026-02-28T12:00:00Z", true),
            ("months: ['11:december', '2']", "2026-12-01T00:00:00Z", true),
            ("months: ['may:august']", "2026-12-01T00:00:00Z", false),
            ("years: ['2025:2026', '2030']", "2027-12-01T00:00:00Z", false),
            (
                "{times: [{start_time: '09:00', end_time: '10:00'}], location: Europe/Berlin}",
                "2026-07-01T07:30:00Z",
                true,
            ),
            (
                "{times: [{start_time: '09:00', end_time: '10:00'}], location: Europe/Berlin}",
                "2026-01-01T07:30:00Z",
                false,
            ),
            ("{weekdays: [sunday], location: Australia/Sydney}", "2026-11-21T14:00:00Z", true),
            ("{weekdays: [saturday], months: [january]}", "2026-11-21T12:00:00Z", false),
            // As they are often written: without quotes.
            (
                "{times: [{start_time: 09:00, end_time: 17:30}], days_of_month: [1, 21], months: [1:11], years: [2026]}",
                "2026-11-21T17:29:00Z",
                true,
            ),
            ("{days_of_month: [-10], years: [2026:2027]}", "2026-11-21T17:29:00Z", true),
            // The hour that comes twice when summer time ends is inside both times.
            (
                "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}",
                "2026-10-25T00:30:00Z",
                true,
            ),
            (
                "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}",
                "2026-10-25T01:30:00Z",
                true,
            ),
        ];
        for (text, moment, expected) in cases {
            let interval: TimeInterval = serde_saphyr::from_str(text).unwrap();
            assert_eq!(interval.contains(at(moment)), expected, "{text} at {moment}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "times: [{start_time: '17:00', end_time: '09:00'}]",
            "times: [{start_time: '9:00', end_time: '24:01'}]",
            "weekdays: ['friday:monday']",
            "weekdays: ['1']",
            "days_of_month: ['0']",
            "days_of_month: ['-1:1']",
            "days_of_month: ['32']",
            "months: ['13']",
            "location: Mars/Olympus",
            "hours: [1]",
        ] {
            assert!(serde_saphyr::from_str::<TimeInterval>(text).is_err(), "{text}");
        }
    }
}
