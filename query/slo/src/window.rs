//! The windows that budgets are counted in, and their bounds in time.

use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::duration::{DAY, HOUR, MINUTE};

/// Steps of a quarter of an hour in which the end of a gap of local time is looked for. Samoa once left out a whole day.
const GAP_STEPS: i64 = 4 * 25;

/// The unit of a window's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeriodUnit {
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// A calendar day (rolling: 24 hours).
    Day,
    /// Seven days.
    Week,
    /// A calendar month (rolling: back to the same day of the month before).
    Month,
    /// Three months.
    Quarter,
    /// Twelve months.
    Year,
}

/// The length of a window as written: `30d`, `1M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    /// How many of the unit; at least 1.
    pub count: u32,
    /// The unit.
    pub unit: PeriodUnit,
}

impl Period {
    /// Parses OpenSLO's `\d+[mhdwMQY]`.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = match text.chars().last()? {
            'm' => PeriodUnit::Minute,
            'h' => PeriodUnit::Hour,
            'd' => PeriodUnit::Day,
            'w' => PeriodUnit::Week,
            'M' => PeriodUnit::Month,
            'Q' => PeriodUnit::Quarter,
            'Y' => PeriodUnit::Year,
            _ => return None,
        };
        let digits = text.get(..text.len() - 1)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count = digits.parse().ok().filter(|count| (1..=1_000_000).contains(count))?;
        Some(Self { count, unit })
    }

    /// Its length where a month has 30 days, a quarter 90 and a year 365: what burn rates are scaled by.
    pub fn nominal_seconds(self) -> i64 {
        let unit = match self.unit {
            PeriodUnit::Minute => MINUTE,
            PeriodUnit::Hour => HOUR,
            PeriodUnit::Day => DAY,
            PeriodUnit::Week => 7 * DAY,
            PeriodUnit::Month => 30 * DAY,
            PeriodUnit::Quarter => 90 * DAY,
            PeriodUnit::Year => 365 * DAY,
        };
        i64::from(self.count) * unit
    }

    fn months(self) -> Option<u32> {
        match self.unit {
            PeriodUnit::Month => Some(self.count),
            PeriodUnit::Quarter => self.count.checked_mul(3),
            PeriodUnit::Year => self.count.checked_mul(12),
            _ => None,
        }
    }

    fn days(self) -> Option<u32> {
        match self.unit {
            PeriodUnit::Day => Some(self.count),
            PeriodUnit::Week => self.count.checked_mul(7),
            _ => None,
        }
    }

    fn letter(self) -> char {
        match self.unit {
            PeriodUnit::Minute => 'm',
            PeriodUnit::Hour => 'h',
            PeriodUnit::Day => 'd',
            PeriodUnit::Week => 'w',
            PeriodUnit::Month => 'M',
            PeriodUnit::Quarter => 'Q',
            PeriodUnit::Year => 'Y',
        }
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}", self.count, self.letter())
    }
}

/// The window that a budget is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The time up to now.
    Rolling(Period),
    /// From one boundary of the calendar to the next; the budget begins anew at each.
    Calendar {
        /// From boundary to boundary.
        period: Period,
        /// A boundary in local time; the others follow from it.
        anchor: NaiveDateTime,
        /// Whose days these are.
        zone: Tz,
    },
}

/// The bounds of a window in seconds since 1970: `start` inside, `end` outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// First second inside.
    pub start: i64,
    /// First second after it.
    pub end: i64,
}

impl Bounds {
    /// Its length in seconds.
    pub fn seconds(self) -> i64 {
        self.end.saturating_sub(self.start)
    }
}

impl Window {
    /// Its length as written.
    pub fn period(&self) -> Period {
        match self {
            Self::Rolling(period) | Self::Calendar { period, .. } => *period,
        }
    }

    /// Whether the budget begins anew at boundaries of the calendar.
    pub fn is_calendar(&self) -> bool {
        matches!(self, Self::Calendar { .. })
    }

    /// The window of `now`. A rolling one ends there; a calendar one holds it and usually ends later.
    pub fn bounds(&self, now: i64) -> Bounds {
        match self {
            Self::Rolling(period) => Bounds { start: rolling_start(*period, now), end: now },
            Self::Calendar { period, anchor, zone } => {
                Calendar { period: *period, anchor: *anchor, zone: *zone }.around(now)
            }
        }
    }

    /// The calendar window before the one of `now`; for a rolling window the one that ended when this one began.
    pub fn before(&self, now: i64) -> Bounds {
        self.bounds(self.bounds(now).start - i64::from(self.is_calendar()))
    }
}

fn rolling_start(period: Period, now: i64) -> i64 {
    let by_calendar = period.months().and_then(|months| {
        let at = DateTime::<Utc>::from_timestamp(now, 0)?;
        Some(at.checked_sub_months(Months::new(months))?.timestamp())
    });
    by_calendar.unwrap_or_else(|| now.saturating_sub(period.nominal_seconds()))
}

struct Calendar {
    period: Period,
    anchor: NaiveDateTime,
    zone: Tz,
}

impl Calendar {
    fn around(&self, now: i64) -> Bounds {
        let mut number = self.estimate(now);
        // The estimate ignores the time of day, changes of the clock and months of different length: one step at most.
        for _ in 0..4 {
            if self.boundary(number) > now {
                number -= 1;
            } else if self.boundary(number + 1) <= now {
                number += 1;
            } else {
                break;
            }
        }
        Bounds { start: self.boundary(number), end: self.boundary(number + 1) }
    }

    fn estimate(&self, now: i64) -> i64 {
        let local = DateTime::<Utc>::from_timestamp(now, 0).unwrap_or_default().with_timezone(&self.zone).naive_local();
        if let Some(months) = self.period.months() {
            return (months_of(local) - months_of(self.anchor)).div_euclid(i64::from(months));
        }
        if let Some(days) = self.period.days() {
            return (local.date() - self.anchor.date()).num_days().div_euclid(i64::from(days));
        }
        (now - instant(self.zone, self.anchor)).div_euclid(self.period.nominal_seconds())
    }

    /// Boundary `number` counted from the anchor, always reckoned from the anchor itself: a window that begins on the
    /// 31st begins on the last day of a shorter month and on the 31st again after it.
    fn boundary(&self, number: i64) -> i64 {
        let steps = |each: u32| number.unsigned_abs().checked_mul(u64::from(each));
        let local = if let Some(each) = self.period.months() {
            let months = Months::new(steps(each).and_then(|months| u32::try_from(months).ok()).unwrap_or(0));
            if number < 0 { self.anchor.checked_sub_months(months) } else { self.anchor.checked_add_months(months) }
        } else if let Some(each) = self.period.days() {
            let days = Days::new(steps(each).unwrap_or(0));
            if number < 0 { self.anchor.checked_sub_days(days) } else { self.anchor.checked_add_days(days) }
        } else {
            return instant(self.zone, self.anchor)
                .saturating_add(number.saturating_mul(self.period.nominal_seconds()));
        };
        instant(self.zone, local.unwrap_or(self.anchor))
    }
}

fn months_of(local: NaiveDateTime) -> i64 {
    use chrono::Datelike;
    i64::from(local.year()) * 12 + i64::from(local.month0())
}

/// When a clock on the wall shows `local`: the first time when it does twice, the end of the gap when it never does.
fn instant(zone: Tz, local: NaiveDateTime) -> i64 {
    (0..GAP_STEPS)
        .filter_map(|step| local.checked_add_signed(TimeDelta::minutes(15 * step)))
        .find_map(|shown| zone.from_local_datetime(&shown).earliest())
        .map_or_else(|| local.and_utc().timestamp(), |at| at.timestamp())
}

#[cfg(test)]
mod tests;
