use proptest::prelude::*;

use super::*;
use crate::definition::SliceWidth;
use crate::duration::{DAY, MINUTE};
use crate::load::{SourceFile, load};
use crate::slice::{Counts, Slice};

fn slo(objective: f64, rest: &str) -> SloDefinition {
    let text = format!(
        "slos:\n  - name: shop\n    service: cart\n    objective: {objective}\n    window: 30d\n    runbook_url: https://r\n    labels: {{tier: '1'}}\n    indicator:\n      promql: {{good: a, total: b}}\n{rest}"
    );
    let set = load(&[SourceFile { path: "test".to_owned(), text }]).unwrap();
    // Slices of a minute, so that times of detection are seen to the minute.
    SloDefinition { slice: SliceWidth::MINUTE, ..SloDefinition::clone(&set.slos[0]) }
}

fn counts(bad: f64, total: f64) -> Slice {
    Slice { coverage: 1.0, groups: [(Group::from(vec![]), Counts { bad, total })].into() }
}

/// The report after each minute of `minutes`, which follow a month without errors.
fn reports(slo: &SloDefinition, minutes: impl Iterator<Item = Slice>) -> Vec<AlertReport> {
    let mut timeline = Timeline::new(slo.slice, slo.method, 0);
    timeline.write(0, &vec![counts(0.0, 1e6); 30 * 1440]);
    minutes
        .map(|minute| {
            let end = timeline.end();
            timeline.write(end, &[minute]);
            evaluate(slo, &timeline, None)
        })
        .collect()
}

fn is_active(report: &AlertReport, factor: &str) -> bool {
    report.active.iter().any(|alert| alert.labels.get("burn_factor").is_some_and(|label| label == factor))
}

fn first_minute(slo: &SloDefinition, error_rate: f64, factor: &str) -> Option<usize> {
    let minutes = (0..5 * 1440).map(|_| counts(1e6 * error_rate, 1e6));
    let found = reports(slo, minutes).iter().position(|report| is_active(report, factor));
    found.map(|minute| minute + 1)
}

/// The workbook: an alert is found after `factor × (1 − objective) / error rate × long window`.
#[test]
fn detection_times_are_those_of_the_workbook() {
    let slo = slo(99.9, "");
    for (factor, long) in [("14.4", HOUR), ("6", 6 * HOUR), ("3", DAY), ("1", 3 * DAY)] {
        let number: f64 = factor.parse().unwrap();
        for error_rate in [1.0, 0.1, 0.02] {
            let exact = number * 0.001 / error_rate * (long / MINUTE) as f64;
            // The condition is `more than`, seen at the end of a slice.
            let expected = exact.floor() as usize + 1;
            assert_eq!(first_minute(&slo, error_rate, factor), Some(expected), "{factor} at {error_rate}");
        }
    }
    assert_eq!(first_minute(&slo, 0.0009, "1"), None);
    assert_eq!(first_minute(&slo, 0.0143, "14.4"), None);
}

#[test]
fn an_alert_ends_within_its_short_window() {
    let slo = slo(99.9, "");
    let outage = |minute| if minute < 30 { counts(1e6, 1e6) } else { counts(0.0, 1e6) };
    let reports = reports(&slo, (0..120).map(outage));
    let last = reports.iter().rposition(|report| is_active(report, "14.4")).unwrap();
    assert_eq!(last, 30 + 3, "four minutes after the outage one minute of five is still bad");
    assert!(is_active(&reports[50], "6") && !is_active(&reports[61], "6"));
}

#[test]
fn an_active_alert_says_what_is_wrong() {
    let slo = slo(99.9, "    alerting:\n      page: {labels: {team: pay}}\n");
    let reports = reports(&slo, (0..60).map(|_| counts(2e4, 1e6)));
    let alert = reports[59].active.iter().find(|alert| alert.labels["severity"] == "page").unwrap();
    let expected = [
        ("alertname", "SloBurnRate"),
        ("burn_factor", "14.4"),
        ("exhaustion", "2d2h"),
        ("long_window", "1h"),
        ("severity", "page"),
        ("short_window", "5m"),
        ("slo", "shop"),
        ("slo_service", "cart"),
        ("team", "pay"),
        ("tier", "1"),
    ];
    assert_eq!(alert.labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(alert.value, 20.0);
    assert_eq!(alert.annotations["summary"], "shop burns its error budget 20 times as fast as allowed");
    assert_eq!(
        alert.annotations["description"],
        "In the last 1h 1,200,000 of 60,000,000 events were bad (2 %), in the last 5m 2 %; the objective allows 0.1 %. 97.22 % of the budget of 30d is left; at this rate it is used up in 1d11h."
    );
    assert_eq!(alert.annotations["runbook_url"], "https://r");
}

#[test]
fn low_traffic_does_not_page() {
    let slo = slo(99.9, "");
    let last = |minutes: &[(f64, f64)]| {
        let mut timeline = Timeline::new(slo.slice, slo.method, 0);
        let quiet = (0..4 * 1440).map(|minute| if minute % 6 == 0 { counts(0.0, 1.0) } else { counts(0.0, 0.0) });
        let slices: Vec<Slice> = quiet.chain(minutes.iter().map(|(bad, total)| counts(*bad, *total))).collect();
        timeline.write(0, &slices);
        evaluate(&slo, &timeline, None)
    };
    assert!(last(&[(1.0, 1.0)]).active.is_empty(), "one failure of eleven requests an hour");
    assert!(last(&[(2.0, 2.0)]).active.is_empty());
    assert!(is_active(&last(&[(3.0, 3.0)]), "14.4"));
}

#[test]
fn missing_data_holds_and_neither_fires_nor_resolves() {
    let slo = slo(99.9, "");
    let minute = |minute| match minute {
        0..30 => counts(5e5, 1e6),
        30..60 => Slice::default(),
        _ => counts(0.0, 1e6),
    };
    let reports = reports(&slo, (0..400).map(minute));
    assert!(is_active(&reports[29], "14.4"));
    let of_pair = |report: &AlertReport| {
        let held = report.held.iter().find(|held| held.labels["burn_factor"] == "14.4");
        (is_active(report, "14.4"), held.map(|held| held.reason.clone()))
    };
    assert_eq!(of_pair(&reports[30]), (true, None), "80 % of five minutes are enough");
    assert_eq!(of_pair(&reports[31]), (false, Some("only 60 % of the last 5m was measured".to_owned())));
    assert_eq!(of_pair(&reports[62]).1.as_deref(), Some("only 50 % of the last 1h was measured"));
    assert_eq!(of_pair(&reports[399]), (false, None));
    let report = evaluate(&slo, &Timeline::new(slo.slice, slo.method, 0), None);
    assert_eq!((report.active.len(), report.held.len()), (0, 4), "a new SLO concludes nothing");
}

#[test]
fn stale_slices_hold_everything() {
    let slo = slo(99.9, "");
    let mut timeline = Timeline::new(slo.slice, slo.method, 0);
    timeline.write(0, &vec![counts(1e6, 1e6); 4 * 1440]);
    let report = evaluate(&slo, &timeline, Some("slices end at noon"));
    assert_eq!((report.active.len(), report.held.len()), (0, 4));
    assert_eq!(report.held[0].reason, "slices end at noon");
}

#[test]
fn alerts_on_the_budget_left_and_on_its_predicted_end() {
    let slo = slo(99.9, "    alerting: {pairs: [], budget_left: [50, 20, 0], exhaustion_within: 3d}\n");
    let reports = reports(&slo, (0..10 * 1440).map(|_| counts(5e3, 1e6)));
    let names = |day: usize| -> Vec<String> {
        let label =
            |alert: &ActiveAlert| alert.labels.get("budget_left_percent").or(alert.labels.get("exhaustion")).cloned();
        reports[day * 1440 - 1].active.iter().filter_map(label).collect()
    };
    // Burning five times as fast as allowed: a sixth of the budget a day.
    assert_eq!(names(2), Vec::<String>::new());
    assert_eq!(names(3), ["50", "3d"]);
    assert_eq!(names(5), ["50", "20", "3d"]);
    assert_eq!(names(7), ["50", "20", "0"]);
    let summary = |day: usize| reports[day * 1440].active[0].annotations["summary"].as_str();
    assert!(summary(4).starts_with("shop has 33."), "{}", summary(4));
    assert!(summary(7).starts_with("the error budget of shop is used 1.1"), "{}", summary(7));
}

/// An alert said that `-2350 %` of the budget was left.
#[test]
fn an_overdrawn_budget_is_told_as_how_often_it_was_used() {
    for (left, text) in
        [(0.0, "used up"), (-0.004, "used up"), (-0.25, "used 1.25 times over"), (-23.5, "used 24.5 times over")]
    {
        assert_eq!(spent(left), text);
    }
    let slo = slo(99.9, "    alerting: {budget_left: [50, 0]}\n");
    let report = reports(&slo, (0..600).map(|_| counts(1e6, 1e6))).pop().expect("the last minute");
    let texts: Vec<&str> =
        report.active.iter().flat_map(|alert| alert.annotations.values().map(String::as_str)).collect();
    assert!(texts.iter().any(|text| text.starts_with("the error budget of shop is used 13.")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("The budget of 30d is used 13.")), "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains(" -")), "{texts:?}");
}

#[test]
fn a_policy_of_openslo_is_evaluated() {
    let policy = AlertPolicy {
        name: "policy".to_owned(),
        description: None,
        severity: "sev1".to_owned(),
        op: Comparison::Gte,
        threshold: 2.0,
        lookback_seconds: HOUR,
        alert_after_seconds: 300,
        when_no_data: true,
        when_resolved: false,
        when_breaching: true,
        targets: vec!["pager".to_owned()],
    };
    let mut slo = slo(99.9, "    alerting: {pairs: []}\n");
    slo.alerting.policies = vec![policy];
    let active = |slice: fn() -> Slice| {
        reports(&slo, (0..61).map(|_| slice())).pop().and_then(|report| report.active.first().cloned())
    };
    let breach = active(|| counts(2_000.0, 1e6)).unwrap();
    assert_eq!((breach.hold, breach.value, breach.notify_resolved), (Duration::from_secs(300), 2.0, false));
    assert_eq!((breach.labels["severity"].as_str(), breach.labels["alert_policy"].as_str()), ("sev1", "policy"));
    assert_eq!(breach.annotations["notification_targets"], "pager");
    assert_eq!(active(|| counts(1_999.0, 1e6)), None);
    assert_eq!(active(Slice::default).unwrap().annotations["summary"], "shop has no data");
    let mut timeline = Timeline::new(slo.slice, slo.method, 0);
    timeline.write(0, &vec![counts(2_000.0, 1e6); 1440]);
    let stale = evaluate(&slo, &timeline, Some("slices end at noon"));
    assert_eq!((stale.active[0].value, stale.held.len()), (0.0, 0));
    slo.alerting.policies[0].when_no_data = false;
    assert_eq!(evaluate(&slo, &timeline, Some("slices end at noon")).held.len(), 1);
}

#[test]
fn each_group_has_its_own_alerts() {
    let slo = slo(99.9, "    group_by: [route]\n");
    let group = |name: &str| Group::from(vec![name.to_owned()]);
    let slice = Slice {
        coverage: 1.0,
        groups: [
            (group("/pay"), Counts { bad: 50.0, total: 100.0 }),
            (group("/cart"), Counts { bad: 0.0, total: 1e6 }),
        ]
        .into(),
    };
    let mut timeline = Timeline::new(slo.slice, slo.method, 0);
    timeline.write(0, &vec![slice; 4 * 1440]);
    let report = evaluate(&slo, &timeline, None);
    let routes: Vec<&str> = report.active.iter().map(|alert| alert.labels["route"].as_str()).collect();
    assert_eq!(routes, ["/pay"; 4]);
}

proptest! {
    /// A pair is active exactly when both ratios, counted minute by minute, exceed the factor and the guard agrees.
    #[test]
    fn pairs_are_what_naive_counting_gives(
        minutes in prop::collection::vec((0_u32..40, 1_u32..400), 60..120),
    ) {
        let slo = slo(98.0, "    alerting: {pairs: [{severity: page, long: 1h, short: 5m, budget_percent: 1}]}\n");
        let factor = slo.alerting.pairs[0].factor;
        prop_assert_eq!(factor, 7.2);
        let mut timeline = Timeline::new(slo.slice, slo.method, 0);
        let slices: Vec<Slice> = minutes.iter().map(|(bad, more)| counts(f64::from(*bad), f64::from(bad + more))).collect();
        timeline.write(0, &slices);
        let ratio = |count: usize| {
            let (bad, total) = minutes[minutes.len() - count..].iter().fold((0, 0), |(bad, total), (more_bad, good)| (bad + more_bad, total + more_bad + good));
            f64::from(bad) / f64::from(total)
        };
        let expected = ratio(60) / 0.02 > factor && ratio(5) / 0.02 > factor;
        prop_assert_eq!(!evaluate(&slo, &timeline, None).active.is_empty(), expected);
    }
}
