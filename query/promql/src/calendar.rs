//! Dates of the proleptic Gregorian calendar in UTC, without leap seconds.

const DAY: i64 = 86_400;

/// A second of a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DateTime {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    /// Days since the epoch.
    days: i64,
    second_of_day: i64,
}

impl DateTime {
    /// Seconds since the epoch. Times beyond some hundred billion years are held at that.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        let seconds = seconds.clamp(-(1 << 61), 1 << 61);
        let days = seconds.div_euclid(DAY);
        let (year, month, day) = civil_from_days(days);
        Self { year, month, day, days, second_of_day: seconds.rem_euclid(DAY) }
    }

    pub(crate) fn hour(self) -> i64 {
        self.second_of_day / 3_600
    }

    pub(crate) fn minute(self) -> i64 {
        self.second_of_day / 60 % 60
    }

    pub(crate) fn second(self) -> i64 {
        self.second_of_day % 60
    }

    /// From Sunday, which is 0.
    pub(crate) fn day_of_week(self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    /// From 1.
    pub(crate) fn day_of_year(self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1) + 1
    }

    pub(crate) fn days_in_month(self) -> i64 {
        let next = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        days_from_civil(next.0, next.1, 1) - days_from_civil(self.year, self.month, 1)
    }
}

/// Milliseconds since the epoch as `2006-01-02T15:04:05Z`.
pub(crate) fn rfc3339(millis: i64) -> String {
    let time = DateTime::from_seconds(millis.div_euclid(1000));
    let (year, month, day) = (time.year, time.month, time.day);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
}

/// Days in 400 years.
const ERA: i64 = 146_097;

/// Years are counted from March, so that the leap day is the last one.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(ERA);
    let day_of_era = days.rem_euclid(ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{DateTime, rfc3339};

    #[test]
    fn dates_are_told() {
        let leap_day = DateTime::from_seconds(1_709_210_096);
        assert_eq!((leap_day.year, leap_day.month, leap_day.day), (2024, 2, 29));
        assert_eq!((leap_day.day_of_week(), leap_day.day_of_year(), leap_day.days_in_month()), (4, 60, 29));
        assert_eq!(rfc3339(1_709_210_096_123), "2024-02-29T12:34:56Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        assert_eq!(DateTime::from_seconds(i64::MIN).hour() / 24, 0);
    }
}
