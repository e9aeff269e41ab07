use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

fn midnight(year: i32, month: u32, day: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, day).unwrap().and_hms_opt(0, 0, 0).unwrap()
}

fn calendar(period: &str, anchor: NaiveDateTime, zone: Tz) -> Window {
    Window::Calendar { period: Period::parse(period).unwrap(), anchor, zone }
}

fn check(window: Window, now: &str, start: &str, end: &str) {
    assert_eq!(window.bounds(at(now)), Bounds { start: at(start), end: at(end) }, "{window:?} at {now}");
}

#[test]
fn periods_are_strict() {
    assert_eq!(Period::parse("30d"), Some(Period { count: 30, unit: PeriodUnit::Day }));
    assert_eq!(Period::parse("1Q").unwrap().to_string(), "1Q");
    for text in ["", "d", "0d", "30", "30s", "1.5d", "-1d", "30 d", "1é"] {
        assert_eq!(Period::parse(text), None, "{text:?}");
    }
}

#[test]
fn months_follow_the_local_calendar() {
    let berlin = calendar("1M", midnight(1970, 1, 1), Tz::Europe__Berlin);
    check(berlin, "2026-03-15T12:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z");
    check(berlin, "2026-02-28T22:59:59Z", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z");
    check(berlin, "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z");
    let new_york = calendar("1M", midnight(2026, 1, 1), Tz::America__New_York);
    check(new_york, "2026-11-30T12:00:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z");
    check(new_york, "2024-02-29T12:00:00Z", "2024-02-01T05:00:00Z", "2024-03-01T05:00:00Z");
}

#[test]
fn days_have_23_or_25_hours_when_the_clock_changes() {
    let berlin = calendar("1d", midnight(2026, 1, 1), Tz::Europe__Berlin);
    assert_eq!(berlin.bounds(at("2026-03-29T10:00:00Z")).seconds(), 23 * HOUR);
    assert_eq!(berlin.bounds(at("2026-10-25T10:00:00Z")).seconds(), 25 * HOUR);
    let new_york = calendar("1d", midnight(2026, 1, 1), Tz::America__New_York);
    assert_eq!(new_york.bounds(at("2026-03-08T12:00:00Z")).seconds(), 23 * HOUR);
    assert_eq!(new_york.bounds(at("2026-11-01T12:00:00Z")).seconds(), 25 * HOUR);
}

#[test]
fn a_boundary_that_the_clock_skips_is_at_the_end_of_the_gap() {
    let anchor = midnight(2026, 1, 1) + TimeDelta::minutes(150);
    let berlin = calendar("1d", anchor, Tz::Europe__Berlin);
    check(berlin, "2026-03-29T10:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z");
    // 02:30 comes twice in October: the first counts.
    check(berlin, "2026-10-25T10:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
}

#[test]
fn quarters_years_and_short_months() {
    let quarter = calendar("1Q", midnight(1970, 1, 1), Tz::UTC);
    check(quarter, "2026-05-20T00:00:00Z", "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z");
    let year = calendar("1Y", midnight(1970, 1, 1), Tz::UTC);
    check(year, "2024-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let late = calendar("1M", midnight(2026, 1, 31), Tz::UTC);
    check(late, "2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z");
    check(late, "2026-04-30T00:00:00Z", "2026-04-30T00:00:00Z", "2026-05-31T00:00:00Z");
    let week = calendar("1w", midnight(1970, 1, 5), Tz::Europe__Berlin);
    check(week, "2026-03-29T12:00:00Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z");
}

#[test]
fn rolling_windows_end_now() {
    let month = Window::Rolling(Period::parse("1M").unwrap());
    check(month, "2026-03-31T12:00:00Z", "2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z");
    let days = Window::Rolling(Period::parse("28d").unwrap());
    check(days, "2026-03-31T12:00:00Z", "2026-03-03T12:00:00Z", "2026-03-31T12:00:00Z");
    assert_eq!(days.before(at("2026-03-31T12:00:00Z")).end, at("2026-03-03T12:00:00Z"));
}

proptest! {
    /// Calendar windows cover time without gap and overlap, whatever the zone, the anchor and the clock changes.
    #[test]
    fn calendar_windows_partition_time(
        now in -2_000_000_000_i64..6_000_000_000,
        zone in 0_usize..chrono_tz::TZ_VARIANTS.len(),
        anchor in 0_i64..2_000_000_000,
        period in prop::sample::select(vec!["1h", "90m", "1d", "3d", "1w", "2w", "1M", "5M", "1Q", "1Y"]),
    ) {
        let anchor = DateTime::<Utc>::from_timestamp(anchor - anchor % 60, 0).unwrap().naive_utc();
        let window = calendar(period, anchor, chrono_tz::TZ_VARIANTS[zone]);
        let bounds = window.bounds(now);
        prop_assert!(bounds.start <= now && now < bounds.end, "{bounds:?}");
        prop_assert_eq!(window.bounds(bounds.end).start, bounds.end);
        prop_assert_eq!(window.before(now).end, bounds.start);
        prop_assert_eq!(window.bounds(bounds.start), bounds);
    }
}
