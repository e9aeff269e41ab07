//! Times with a zone, and Go's layouts (`Mon Jan 2 15:04:05 MST 2006`).

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Datelike, FixedOffset, Offset, TimeDelta, Timelike, Utc};
use chrono_tz::{OffsetName, Tz};

use crate::value::Value;

/// A time in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    at: DateTime<FixedOffset>,
    zone: Arc<str>,
}

impl From<DateTime<Utc>> for Time {
    fn from(at: DateTime<Utc>) -> Self {
        Self { at: at.fixed_offset(), zone: Arc::from("UTC") }
    }
}

impl Time {
    /// A time in nanoseconds since 1970.
    pub fn from_unix_nanos(nanoseconds: i64) -> Self {
        DateTime::from_timestamp_nanos(nanoseconds).into()
    }

    /// The same instant in another zone of the IANA database.
    pub fn in_zone(&self, name: &str) -> Result<Self, String> {
        let zone: Tz = name.parse().map_err(|_| format!("unknown time zone {name}"))?;
        let at = self.at.with_timezone(&zone);
        let abbreviation = at.offset().abbreviation().unwrap_or(name);
        Ok(Self { zone: Arc::from(abbreviation), at: at.with_timezone(&at.offset().fix()) })
    }

    pub(crate) fn utc(&self) -> Self {
        self.at.to_utc().into()
    }

    /// The time as Go's `Time.Format` writes it.
    pub fn format(&self, layout: &str) -> String {
        let mut text = String::new();
        let mut rest = layout;
        while let Some(first) = rest.chars().next() {
            if let Some(taken) = self.fraction(rest, layout.len() - rest.len(), &mut text) {
                rest = &rest[taken..];
                continue;
            }
            match LAYOUT.iter().find(|(token, _)| starts_with_token(rest, token)) {
                Some((token, part)) => {
                    text.push_str(&self.part(*part));
                    rest = &rest[token.len()..];
                }
                None => {
                    text.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        text
    }

    /// `.000` or `,999` after the seconds.
    fn fraction(&self, rest: &str, offset: usize, text: &mut String) -> Option<usize> {
        let mut bytes = rest.bytes();
        let point = bytes.next().filter(|byte| matches!(byte, b'.' | b','))?;
        let kind = bytes.next().filter(|byte| matches!(byte, b'0' | b'9'))?;
        let digits = rest.bytes().skip(1).take_while(|byte| *byte == kind).count();
        if offset == 0 || rest.as_bytes().get(1 + digits).is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let all = format!("{:09}", self.at.nanosecond() % 1_000_000_000);
        let shown = &all[..digits.min(9)];
        let shown = if kind == b'9' { shown.trim_end_matches('0') } else { shown };
        if !shown.is_empty() {
            text.push(char::from(point));
            text.push_str(shown);
        }
        Some(1 + digits)
    }

    fn part(&self, part: Part) -> String {
        let at = &self.at;
        let hour = match at.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        match part {
            Part::Month => MONTHS[at.month0() as usize].to_owned(),
            Part::Mon => MONTHS[at.month0() as usize][..3].to_owned(),
            Part::Weekday => DAYS[at.weekday().num_days_from_sunday() as usize].to_owned(),
            Part::Day3 => DAYS[at.weekday().num_days_from_sunday() as usize][..3].to_owned(),
            Part::Zone => self.zone.to_string(),
            Part::Year => format!("{:04}", at.year()),
            Part::Year2 => format!("{:02}", at.year().rem_euclid(100)),
            Part::Month1 => at.month().to_string(),
            Part::Month2 => format!("{:02}", at.month()),
            Part::Date1 => at.day().to_string(),
            Part::DateSpace => format!("{:2}", at.day()),
            Part::Date2 => format!("{:02}", at.day()),
            Part::YearDay => format!("{:03}", at.ordinal()),
            Part::Hour24 => format!("{:02}", at.hour()),
            Part::Hour1 => hour.to_string(),
            Part::Hour2 => format!("{hour:02}"),
            Part::Minute1 => at.minute().to_string(),
            Part::Minute2 => format!("{:02}", at.minute()),
            Part::Second1 => at.second().to_string(),
            Part::Second2 => format!("{:02}", at.second()),
            Part::Upper => if at.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
            Part::Lower => if at.hour() >= 12 { "pm" } else { "am" }.to_owned(),
            Part::Offset { zulu, colon, minutes } => self.offset(zulu, colon, minutes),
        }
    }

    fn offset(&self, zulu: bool, colon: bool, minutes: bool) -> String {
        let seconds = self.at.offset().local_minus_utc();
        if zulu && seconds == 0 {
            return "Z".to_owned();
        }
        let sign = if seconds < 0 { '-' } else { '+' };
        let total = seconds.unsigned_abs() / 60;
        let separator = if colon { ":" } else { "" };
        let tail = if minutes { format!("{separator}{:02}", total % 60) } else { String::new() };
        format!("{sign}{:02}{tail}", total / 60)
    }

    /// A method of `time.Time`.
    pub(crate) fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        let number = |value: u32| Value::Int(i64::from(value));
        let result = match (name, arguments) {
            ("Format", [Value::String(layout)]) => self.format(layout).into(),
            ("String", []) => self.to_string().into(),
            ("Unix", []) => Value::Int(self.at.timestamp()),
            ("UnixMilli", []) => Value::Int(self.at.timestamp_millis()),
            ("UnixMicro", []) => Value::Int(self.at.timestamp_micros()),
            ("UnixNano", []) => Value::Int(self.at.timestamp_nanos_opt().unwrap_or_default()),
            ("UTC" | "Local", []) => self.utc().into(),
            ("IsZero", []) => (self.at.timestamp() == ZERO_UNIX && self.at.nanosecond() == 0).into(),
            ("Year", []) => Value::Int(i64::from(self.at.year())),
            ("Month", []) => MONTHS[self.at.month0() as usize].into(),
            ("Weekday", []) => DAYS[self.at.weekday().num_days_from_sunday() as usize].into(),
            ("Day", []) => number(self.at.day()),
            ("YearDay", []) => number(self.at.ordinal()),
            ("Hour", []) => number(self.at.hour()),
            ("Minute", []) => number(self.at.minute()),
            ("Second", []) => number(self.at.second()),
            ("Nanosecond", []) => number(self.at.nanosecond() % 1_000_000_000),
            ("Sub", [Value::Time(other)]) => Value::Duration(self.since(other)),
            ("Before", [Value::Time(other)]) => (self.at < other.at).into(),
            ("After", [Value::Time(other)]) => (self.at > other.at).into(),
            ("Equal", [Value::Time(other)]) => (self.at == other.at).into(),
            ("Add", [Value::Duration(nanoseconds)]) => {
                match self.at.checked_add_signed(TimeDelta::nanoseconds(*nanoseconds)) {
                    Some(at) => Self { at, zone: Arc::clone(&self.zone) }.into(),
                    None => return Some(Err("the time is out of range".to_owned())),
                }
            }
            ("Format" | "Sub" | "Before" | "After" | "Equal" | "Add", _) => {
                return Some(Err(format!("wrong number or type of arguments for {name}")));
            }
            _ => return None,
        };
        Some(Ok(result))
    }

    /// How long after another time, in nanoseconds, held within what 64 bits can tell.
    pub(crate) fn since(&self, other: &Time) -> i64 {
        let delta = self.at.signed_duration_since(other.at);
        let bound = if delta < TimeDelta::zero() { i64::MIN } else { i64::MAX };
        delta.num_nanoseconds().unwrap_or(bound)
    }

    pub(crate) fn unix_seconds(&self) -> f64 {
        self.at.timestamp() as f64 + f64::from(self.at.nanosecond()) / 1e9
    }

    pub(crate) fn rfc3339(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }
}

/// The first of January of year one, Go's zero time.
const ZERO_UNIX: i64 = -62_135_596_800;

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// A method of `time.Duration`.
pub(crate) fn call_duration(nanoseconds: i64, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let seconds = nanoseconds as f64 / 1e9;
    let result = match (name, arguments) {
        ("String", []) => crate::number::duration(nanoseconds).into(),
        ("Seconds", []) => seconds.into(),
        ("Minutes", []) => (seconds / 60.0).into(),
        ("Hours", []) => (seconds / 3600.0).into(),
        ("Milliseconds", []) => Value::Int(nanoseconds / 1_000_000),
        ("Microseconds", []) => Value::Int(nanoseconds / 1_000),
        ("Nanoseconds", []) => Value::Int(nanoseconds),
        ("Truncate", [Value::Duration(unit) | Value::Int(unit)]) => {
            Value::Duration(if *unit <= 0 { nanoseconds } else { nanoseconds - nanoseconds % unit })
        }
        ("Round", [Value::Duration(unit) | Value::Int(unit)]) if *unit > 0 => {
            let rest = nanoseconds % unit;
            let down = nanoseconds - rest;
            let up = rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2);
            Value::Duration(if up { down.saturating_add(unit * rest.signum()) } else { down })
        }
        ("Round", [Value::Duration(_) | Value::Int(_)]) => Value::Duration(nanoseconds),
        ("Truncate" | "Round", _) => return Some(Err(format!("wrong number or type of arguments for {name}"))),
        _ => return None,
    };
    Some(Ok(result))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

#[derive(Clone, Copy, Debug)]
enum Part {
    Month,
    Mon,
    Weekday,
    Day3,
    Zone,
    Year,
    Year2,
    Month1,
    Month2,
    Date1,
    DateSpace,
    Date2,
    YearDay,
    Hour24,
    Hour1,
    Hour2,
    Minute1,
    Minute2,
    Second1,
    Second2,
    Upper,
    Lower,
    Offset { zulu: bool, colon: bool, minutes: bool },
}

/// Longer tokens before their prefixes.
const LAYOUT: [(&str, Part); 28] = [
    ("January", Part::Month),
    ("Jan", Part::Mon),
    ("Monday", Part::Weekday),
    ("Mon", Part::Day3),
    ("MST", Part::Zone),
    ("2006", Part::Year),
    ("002", Part::YearDay),
    ("01", Part::Month2),
    ("02", Part::Date2),
    ("03", Part::Hour2),
    ("04", Part::Minute2),
    ("05", Part::Second2),
    ("06", Part::Year2),
    ("15", Part::Hour24),
    ("_2", Part::DateSpace),
    ("1", Part::Month1),
    ("2", Part::Date1),
    ("3", Part::Hour1),
    ("4", Part::Minute1),
    ("5", Part::Second1),
    ("PM", Part::Upper),
    ("pm", Part::Lower),
    ("-07:00", Part::Offset { zulu: false, colon: true, minutes: true }),
    ("-0700", Part::Offset { zulu: false, colon: false, minutes: true }),
    ("-07", Part::Offset { zulu: false, colon: false, minutes: false }),
    ("Z07:00", Part::Offset { zulu: true, colon: true, minutes: true }),
    ("Z0700", Part::Offset { zulu: true, colon: false, minutes: true }),
    ("Z07", Part::Offset { zulu: true, colon: false, minutes: false }),
];

/// `Jan` and `Mon` count only when no lower-case letter follows, as in `Janet` or `Month`.
fn starts_with_token(rest: &str, token: &str) -> bool {
    let Some(after) = rest.strip_prefix(token) else {
        return false;
    };
    if token == "_2" && after.starts_with("006") {
        return false;
    }
    !(matches!(token, "Jan" | "Mon") && after.starts_with(|next: char| next.is_ascii_lowercase()))
}
