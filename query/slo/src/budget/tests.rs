use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::definition::SliceWidth;
use crate::load::{SourceFile, load};
use crate::slice::{Counts, Slice};

fn slo(objective: f64, window: &str, rest: &str) -> SloDefinition {
    let text = format!(
        "slos:\n  - name: shop\n    service: shop\n    objective: {objective}\n    window: {window}\n    indicator:\n      promql: {{good: a, total: b}}\n{rest}"
    );
    let set = load(&[SourceFile { path: "test".to_owned(), text }]).unwrap();
    SloDefinition::clone(&set.slos[0])
}

fn counts(bad: f64, total: f64) -> Slice {
    let groups = if total > 0.0 { [(Group::from(vec![]), Counts { bad, total })].into() } else { [].into() };
    Slice { coverage: 1.0, groups }
}

/// A timeline from `start` (seconds) on, with one slice for each that `slice` gives.
fn timeline(slo: &SloDefinition, start: i64, slices: impl Iterator<Item = Slice>) -> Timeline {
    let slices: Vec<Slice> = slices.collect();
    let mut timeline = Timeline::new(slo.slice, slo.method, start / slo.slice.seconds());
    timeline.write(start / slo.slice.seconds(), &slices);
    timeline
}

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
}

#[test]
fn a_constant_error_rate_burns_at_its_share_of_the_budget() {
    let slo = slo(99.9, "30d", "");
    let timeline = timeline(&slo, 0, (0..30 * 288).map(|_| counts(5.0, 10_000.0)));
    let reading = Reading::latest(&slo, &timeline, None);
    let budget = reading.budget();
    close(budget.left_share, 0.5);
    close(budget.sli.unwrap(), 0.9995);
    close(budget.budget_minutes, 43.2);
    close(budget.left_minutes, 21.6);
    close(budget.budget_events, 30.0 * 288.0 * 10.0);
    close(budget.left_events, 30.0 * 288.0 * 5.0);
    for seconds in BURN_WINDOWS {
        close(reading.burn(seconds).rate.unwrap(), 0.5);
    }
    // Half of the budget is left and burns at half the allowed rate: 30 days.
    close(reading.exhaustion_seconds(HOUR).unwrap(), 30.0 * DAY as f64);
}

/// A full outage at 99.9 % uses up a budget of 30 days in 43.2 minutes; with slices of a minute that is seen to the minute.
#[test]
fn a_full_outage_uses_up_the_budget_in_43_minutes() {
    let mut slo = slo(99.9, "30d", "");
    slo.slice = SliceWidth::MINUTE;
    let minutes = 30 * 1440;
    let left = |outage: i64| {
        let slices = (0..minutes).map(|minute| counts(if minute >= minutes - outage { 100.0 } else { 0.0 }, 100.0));
        Reading::latest(&slo, &timeline(&slo, 0, slices), None).budget().left_share
    };
    close(left(0), 1.0);
    assert!(left(43) > 0.0 && left(44) < 0.0, "{} {}", left(43), left(44));
    close(left(432), -9.0);
    close((1.0 - left(1)) * 43.2, 1.0);
}

#[test]
fn occurrences_are_weighted_by_traffic() {
    let slo = slo(99.0, "1w", "");
    // By day 1000 requests per slice and no error; by night one request per slice, and it fails.
    let slices = (0..7 * 288).map(|slice| if slice % 288 < 144 { counts(0.0, 1000.0) } else { counts(1.0, 1.0) });
    let timeline = timeline(&slo, 0, slices);
    let budget = Reading::latest(&slo, &timeline, None).budget();
    close(budget.sli.unwrap(), 1000.0 / 1001.0);
}

#[test]
fn timeslices_count_slices() {
    let slo = slo(90.0, "1w", "    timeslices: {target: 99, width: 5m}\n");
    let slices = (0..7 * 288).map(|slice| match slice % 10 {
        0 => counts(2.0, 100.0),
        1 => counts(1.0, 100.0),
        2 => counts(0.0, 0.0),
        3 => Slice::default(),
        _ => counts(0.0, 1.0),
    });
    let timeline = timeline(&slo, 0, slices);
    let budget = Reading::latest(&slo, &timeline, None).budget();
    assert_eq!((budget.bad, budget.total), (202.0, 2016.0 - 202.0));
    close(budget.left_share, 1.0 - 202.0 / (1814.0 * 0.1));
    close(budget.coverage, 1814.0 / 2016.0);
}

#[test]
fn no_data_differs_from_no_requests_and_from_no_errors() {
    let slo = slo(99.9, "30d", "");
    let state = |slice: fn() -> Slice| {
        let timeline = timeline(&slo, 0, (0..288).map(|_| slice()));
        let burn = Reading::latest(&slo, &timeline, None).burn(HOUR);
        (burn.state, burn.rate)
    };
    assert_eq!(state(Slice::default), (BurnState::NoData, None));
    assert_eq!(state(|| counts(0.0, 0.0)), (BurnState::NoEvents, Some(0.0)));
    assert_eq!(state(|| counts(0.0, 5.0)), (BurnState::Measured, Some(0.0)));
}

#[test]
fn unmeasured_time_changes_nothing() {
    let slo = slo(99.9, "30d", "");
    let whole = timeline(&slo, 0, (0..30 * 288).map(|_| counts(5.0, 10_000.0)));
    let gaps = timeline(
        &slo,
        0,
        (0..30 * 288).map(|slice| if slice % 7 == 3 { Slice::default() } else { counts(5.0, 10_000.0) }),
    );
    let (whole, gaps) = (Reading::latest(&slo, &whole, None).budget(), Reading::latest(&slo, &gaps, None).budget());
    close(gaps.left_share, whole.left_share);
    close(gaps.left_minutes, whole.left_minutes);
    close(gaps.coverage, 7406.0 / 8640.0);
}

/// The first hour of a new server costs what it costs one that has been there for a week.
#[test]
fn a_young_rolling_budget_is_of_the_whole_window() {
    let slo = slo(99.0, "7d", "");
    let (week, begin) = (7 * 288, at("2026-02-01T00:00:00Z"));
    let slice = |slice: i64| counts(if slice >= week - 4 { 50.0 } else { 0.0 }, 100.0);
    let old = timeline(&slo, begin, (0..week).map(slice));
    // The time before was looked at, and nothing was there.
    let unmeasured = (0..week - 13).map(|_| Slice::default());
    let young = timeline(&slo, begin, unmeasured.chain((week - 13..week).map(slice)));
    let (old, young) = (Reading::latest(&slo, &old, None), Reading::latest(&slo, &young, None));
    // 200 bad of 1,300 are 15 times as many as the 65 minutes allow, and a tenth of what the week does.
    let (budget, expected) = (young.budget(), old.budget());
    close(budget.left_share, 1.0 - 200.0 / 2016.0);
    close(budget.left_share, expected.left_share);
    close(budget.budget_events, expected.budget_events);
    close(budget.left_minutes, expected.left_minutes);
    assert_eq!((budget.bad, budget.total, budget.budget_minutes), (200.0, 1300.0, expected.budget_minutes));
    close(budget.sli.unwrap(), 1.0 - 200.0 / 1300.0);
    close(young.exhaustion_seconds(HOUR).unwrap(), old.exhaustion_seconds(HOUR).unwrap());
    close(young.burn_down(100).pop().and_then(|point| point.left_share).unwrap(), budget.left_share);
}

/// An hour of outage on the first day of a month costs what it costs on the last day.
#[test]
fn a_calendar_budget_is_of_the_whole_window() {
    let slo = slo(99.9, "calendar month", "    time_zone: Europe/Berlin\n");
    let (begin, now) = (at("2026-02-01T00:00:00Z"), at("2026-03-01T05:00:00Z"));
    let outage = at("2026-03-01T04:00:00Z");
    let slices = (begin..now).step_by(300).map(|at| counts(if at >= outage { 10.0 } else { 0.0 }, 10.0));
    let timeline = timeline(&slo, begin, slices);
    let budget = Reading::latest(&slo, &timeline, None).budget();
    assert_eq!((budget.start, budget.end), (at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z")));
    // March of Berlin has 743 hours: an hour of outage of 0.743 allowed ones.
    close(budget.budget_minutes, 44.58);
    close(budget.left_share, 1.0 - 1.0 / 0.743);
    close(budget.left_minutes, 44.58 - 60.0);
}

#[test]
fn past_windows_close_at_what_was_left() {
    let slo = slo(99.0, "calendar month", "    time_zone: America/New_York\n");
    let (begin, now) = (at("2026-01-01T05:00:00Z"), at("2026-04-10T00:00:00Z"));
    let february = at("2026-02-01T05:00:00Z")..at("2026-03-01T05:00:00Z");
    let slices = (begin..now).step_by(300).map(|at| counts(if february.contains(&at) { 2.0 } else { 0.0 }, 100.0));
    let timeline = timeline(&slo, begin, slices);
    let past = Reading::latest(&slo, &timeline, None).past_windows();
    let left: Vec<f64> = past.iter().map(|window| (window.left_share * 1e9).round() / 1e9).collect();
    assert_eq!(left, [1.0, -1.0, 1.0]);
    assert_eq!(
        past.iter().map(|window| window.end - window.start).collect::<Vec<_>>(),
        [743 * HOUR, 28 * DAY, 31 * DAY]
    );
    assert!(Reading::latest(&slo, &timeline, None).daily().is_empty());
}

#[test]
fn the_forecast_of_a_calendar_window_goes_on_as_now() {
    let slo = slo(99.0, "calendar week", "");
    let begin = at("2026-01-05T00:00:00Z");
    let slices = (0..3 * 288 + 144).map(|_| counts(1.0, 100.0));
    let timeline = timeline(&slo, begin, slices);
    let reading = Reading::latest(&slo, &timeline, None);
    close(reading.budget().left_share, 0.5);
    close(reading.forecast_share(6 * HOUR).unwrap(), 0.0);
    close(reading.exhaustion_seconds(6 * HOUR).unwrap(), 3.5 * DAY as f64);
    let points = reading.burn_down(8);
    assert_eq!(points.len(), 8);
    assert_eq!((points[0].at, points[0].left_share, points[7].at), (begin, Some(1.0), reading.now()));
    close(points[7].left_share.unwrap(), 0.5);
}

#[test]
fn the_first_hour_of_a_month_is_drawn_as_an_hour() {
    let slo = slo(99.0, "30d", "");
    let begin = at("2026-01-05T00:00:00Z");
    let unmeasured = (0..288).map(|_| Slice { coverage: 0.0, ..Slice::default() });
    let hour = (0..12).map(|slice| counts(if slice < 6 { 0.0 } else { 2.0 }, 100.0));
    let timeline = timeline(&slo, begin - DAY, unmeasured.chain(hour));
    let points = Reading::latest(&slo, &timeline, None).burn_down(120);
    assert_eq!((points.len(), points[0].at, points[12].at), (13, begin, begin + HOUR), "one for each slice");
    assert_eq!(points[0].left_share, None, "nothing was measured until then");
    assert_eq!(points[6].left_share, Some(1.0));
    // 12 bad of 1,200 are all that 99 % allows of an hour, of which the month has 720.
    close(points[12].left_share.unwrap(), 1.0 - 1.0 / 720.0);
    close(points[12].coverage, 12.0 / (30.0 * 288.0));
}

#[test]
fn the_lower_bound_is_near_the_exact_one() {
    // Half of the 10 % quantile of chi-squared with 2 k degrees of freedom.
    for (bad, exact) in [(1.0, 0.0513), (3.0, 0.8177), (10.0, 5.4254), (100.0, 84.1398)] {
        assert!((lower_bound(bad) - exact).abs() < 0.02 * exact + 0.012, "{bad}: {} is not {exact}", lower_bound(bad));
        assert!(lower_bound(bad) < bad);
    }
    assert_eq!(lower_bound(0.0), 0.0);
}

proptest! {
    /// Budgets and burn rates of any series of slices are what counting gives, at every time.
    #[test]
    fn budgets_are_what_naive_counting_gives(
        slices in prop::collection::vec(prop::option::weighted(0.9, (0_u32..3, 1_u32..40)), 1..400),
        now in 1_usize..400,
        seconds in prop::sample::select(vec![300_i64, 3_600, 21_600]),
    ) {
        let slo = slo(99.0, "1d", "    timeslices: {target: 90, width: 5m}\n");
        let slo = SloDefinition { method: crate::BudgetingMethod::Occurrences, ..slo };
        let now = now.min(slices.len());
        let list = slices.iter().map(|slice| slice.map_or_else(Slice::default, |(bad, more)| counts(f64::from(bad), f64::from(bad + more))));
        let timeline = timeline(&slo, 86_400 * 20_000, list);
        let end = 86_400 * 20_000 + 300 * now as i64;
        let reading = Reading::latest(&slo, &timeline, None).at(end);
        let count = |length: i64| {
            let from = now.saturating_sub((length / 300) as usize);
            let inside = slices[from..now].iter().flatten();
            inside.fold((0.0, 0.0), |(bad, total), (more_bad, good)| (bad + f64::from(*more_bad), total + f64::from(*more_bad + *good)))
        };
        let (bad, total) = count(DAY);
        let budget = reading.budget();
        prop_assert_eq!((budget.bad, budget.total), (bad, total));
        // What was before the first measurement is taken for as busy as what was measured, and for good.
        let from = now.saturating_sub(288);
        let measured = slices[from..now].iter().flatten().count() as f64;
        let first = slices.iter().position(Option::is_some).unwrap_or(now).min(now);
        let before = (first + 288).saturating_sub(now) as f64;
        let expected = if total > 0.0 { total + total / measured * before } else { 0.0 };
        let left = if expected > 0.0 { 1.0 - bad / (expected * 0.01) } else { 1.0 };
        prop_assert!((budget.left_share - left).abs() < 1e-9);
        let (bad, total) = count(seconds);
        let burn = reading.burn(seconds);
        prop_assert_eq!((burn.bad, burn.total), (bad, total));
        if let (Some(rate), true) = (burn.rate, total > 0.0) {
            prop_assert!((rate - bad / total / 0.01).abs() < 1e-9);
        }
    }
}
