use super::*;
use crate::definition::{BudgetingMethod, Comparison, Indicator, Part, Query, SliceWidth};
use crate::window::Window;

const README: &str = include_str!("../../README.md");

fn file(text: &str) -> SourceFile {
    SourceFile { path: "slos.yaml".to_owned(), text: text.to_owned() }
}

fn check_refused(text: &str, line: u64, part: &str) {
    let error = load(&[file(text)]).unwrap_err();
    let found = error.problems.iter().any(|problem| problem.line == line && problem.message.contains(part));
    assert!(found, "line {line} with {part:?} is not among: {error}");
}

fn examples() -> Vec<SourceFile> {
    let blocks = README.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(file).collect()
}

fn native(name: &str, rest: &str) -> String {
    format!(
        "slos:\n  - name: {name}\n    service: shop\n    objective: 99.9\n    window: 30d\n    indicator:\n      promql: {{good: a, total: b}}\n{rest}"
    )
}

#[test]
fn the_examples_of_the_readme_are_read() {
    let set = load(&examples()).unwrap();
    let names: Vec<&str> = set.slos.iter().map(|slo| slo.name.as_str()).collect();
    let expected = [
        "checkout-availability",
        "orders-complete",
        "payment-success",
        "queue-depth",
        "search-availability",
        "search-latency",
    ];
    assert_eq!(names, expected);
    let checkout = &set.slos[0];
    assert_eq!((checkout.objective, checkout.budget_ratio()), (0.999, 0.001));
    assert_eq!(checkout.alerting.pairs.iter().map(|pair| pair.factor).collect::<Vec<_>>(), [14.4, 6.0, 3.0, 1.0]);
    assert!(
        checkout.written.starts_with("promql:") && checkout.written.contains("bad: http_server"),
        "{}",
        checkout.written
    );
    assert_eq!(set.slos[1].method, BudgetingMethod::Timeslices { target: 0.95 });
    let Indicator::Spans(spans) = &set.slos[2].indicator else { panic!("{:?}", set.slos[2].indicator) };
    assert_eq!((spans.below_nanos, spans.bad_logs.as_deref()), (Some(2_000_000_000), Some("payment_declined")));
    assert!(matches!(set.slos[3].indicator, Indicator::Threshold { op: Comparison::Lte, value: 1000.0, .. }));
    assert_eq!(set.slos[3].slice, SliceWidth::MINUTE);
    let Indicator::Ratio { part: Query::Promql(part), part_is: Part::Good, .. } = &set.slos[5].indicator else {
        panic!()
    };
    assert_eq!(part, r#"http_server_request_duration_seconds_bucket{job="search",le="0.25"}"#);
}

#[test]
fn problems_of_the_native_form_name_their_line() {
    check_refused(&native("Shop", ""), 2, "no name of an SLO");
    check_refused(&native("shop", "    objectiv: 3\n"), 8, "objectiv");
    check_refused(&native("shop", "").replace("99.9", "100"), 4, "above 0 and below 100");
    check_refused(&native("shop", "").replace("30d", "30x"), 5, "is no window");
    check_refused(&native("shop", "").replace("30d", "500d"), 5, "out of range");
    check_refused(&native("shop", "    time_zone: Mars/Olympus\n"), 8, "IANA name");
    check_refused(&native("shop", "    time_zone: Europe/Berlin\n"), 5, "no meaning for the rolling window");
    check_refused(&native("shop", "").replace("good: a", "good: sum(a"), 7, "not closed");
    check_refused(&native("shop", "").replace("good: a, ", ""), 7, "either good or bad");
    check_refused(&native("shop", "    labels: {severity: x}\n"), 2, "set by the generated alerts");
    check_refused(&native("shop", "    timeslices: {target: 99, width: 7m}\n"), 8, "does not divide a day");
    check_refused(&native("shop", "").replace("promql: {good: a, total: b}", "sql: SELECT 1"), 7, "$start");
    check_refused(
        &native("shop", "").replace("promql: {good: a, total: b}", "spans: {service: a}"),
        7,
        "no condition for good",
    );
    check_refused("nothing: here\n", 1, "neither OpenSLO");
    check_refused("slos: [\n", 1, "unclosed");
}

#[test]
fn all_problems_are_told_and_nothing_is_loaded() {
    let other = SourceFile { path: "other.yaml".to_owned(), text: native("shop", "") };
    let error = load(&[file(&native("shop", "")), file(&native("X", "").replace("30d", "1")), other]).unwrap_err();
    assert_eq!(error.problems.len(), 3, "{error}");
    assert!(error.to_string().contains("other.yaml:2: the SLO shop is already defined at slos.yaml:2"), "{error}");
}

#[test]
fn meaningless_pairs_are_warned_about() {
    let set = load(&[file(&native("shop", "").replace("99.9", "90"))]).unwrap();
    assert_eq!(set.warnings.len(), 1);
    assert!(
        set.warnings[0].to_string().starts_with("slos.yaml:2: the page alert 1h/5m at 14.4 is left out"),
        "{:?}",
        set.warnings
    );
    assert_eq!(set.slos[0].alerting.pairs.len(), 3);
}

#[test]
fn the_generation_changes_with_what_is_measured_and_with_nothing_else() {
    let generation = |text: &str| load(&[file(text)]).unwrap().slos[0].generation();
    let base = native("shop", "");
    assert_eq!(generation(&base), generation(&base.replace("99.9", "99").replace("30d", "28d")));
    assert_ne!(generation(&base), generation(&base.replace("good: a", "good: c")));
    assert_ne!(generation(&base), generation(&native("shop", "    group_by: [x]\n")));
    assert_ne!(generation(&base), generation(&native("shop", "    timeslices: {target: 99, width: 1m}\n")));
}

const OPENSLO: &str = r#"apiVersion: openslo/v1
kind: DataSource
metadata: {name: prom}
spec:
  type: Prometheus
  connectionDetails: {url: "http://localhost:9090"}
---
apiVersion: openslo/v1
kind: Service
metadata: {name: foo}
spec: {description: the service}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: foo-error, displayName: Foo Error}
spec:
  ratioMetric:
    counter: true
    good:
      metricSource:
        metricSourceRef: prom
        spec: {query: 'good_total'}
    total:
      metricSource: {metricSourceRef: prom, spec: {query: 'all_total'}}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: burns}
spec:
  severity: page
  condition: {kind: burnrate, op: gte, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: on-call}
spec: {description: x, target: pager}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: policy}
spec:
  alertWhenNoData: true
  alertWhenBreaching: true
  alertWhenResolved: false
  conditions: [{conditionRef: burns}]
  notificationTargets: [{targetRef: on-call}]
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: foo-slo
  displayName: Foo SLO
  labels: {team: [a, b], env/x: prod}
  annotations: {runbook_url: "https://r"}
spec:
  description: d
  service: foo
  indicatorRef: foo-error
  timeWindow:
    - duration: 1M
      isRolling: false
      calendar: {startTime: "2026-01-01 00:00:00", timeZone: America/New_York}
  budgetingMethod: Timeslices
  objectives:
    - displayName: strict
      target: 0.999
      timeSliceTarget: 0.95
      timeSliceWindow: 5
    - displayName: loose
      targetPercent: 99
      timeSliceTarget: 1
      timeSliceWindow: 1m
  alertPolicies: [{alertPolicyRef: policy}]
"#;

#[test]
fn openslo_objects_refer_to_each_other() {
    let set = load(&[file(OPENSLO)]).unwrap();
    assert_eq!(set.notification_targets["on-call"], "pager");
    let [strict, loose] = set.slos.as_slice() else { panic!("{:?}", set.slos) };
    assert_eq!((strict.name.as_str(), strict.display_name.as_deref()), ("foo-slo-1", Some("strict")));
    assert_eq!((loose.objective, loose.slice.seconds()), (0.99, 60));
    assert_eq!(strict.method, BudgetingMethod::Timeslices { target: 0.95 });
    assert_eq!((strict.labels["team"].as_str(), strict.labels["env_x"].as_str()), ("a,b", "prod"));
    assert_eq!(strict.runbook_url.as_deref(), Some("https://r"));
    assert!(matches!(strict.window, Window::Calendar { zone: chrono_tz::Tz::America__New_York, .. }));
    assert!(strict.written.starts_with("ratioMetric:\n  counter: true"), "{}", strict.written);
    assert!(strict.alerting.pairs.is_empty());
    let policy = &strict.alerting.policies[0];
    assert_eq!((policy.threshold, policy.lookback_seconds, policy.alert_after_seconds), (2.0, 3600, 300));
    assert!(policy.when_no_data && !policy.when_resolved);
    assert_eq!(policy.targets, ["on-call"]);
}

proptest::proptest! {
    /// Whatever is cut out of or put into a file, it is read or refused.
    #[test]
    fn no_text_makes_the_reader_panic(at in 0_usize..4_000, length in 0_usize..40, put in "[ -~\n]{0,6}|[{\\[\"'&*!|>%@:-]{1,3}", native in proptest::bool::ANY) {
        let mut text = if native { examples().remove(0).text } else { OPENSLO.to_owned() };
        let at = at % text.len();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &put);
        drop(load(&[file(&text)]));
    }
}

#[test]
fn objects_may_be_spread_over_files() {
    let (head, tail) = OPENSLO.split_at(OPENSLO.find("apiVersion: openslo/v1\nkind: SLO\n").unwrap());
    assert_eq!(load(&[file(tail), file(head)]).unwrap().slos.len(), 2);
    let error = load(&[file(tail)]).unwrap_err().to_string();
    assert!(error.contains("no file defines a SLI") && error.contains("no file defines a AlertPolicy"), "{error}");
}

#[test]
fn problems_of_openslo_name_their_line() {
    let line = |part: &str| 1 + OPENSLO[..OPENSLO.find(part).unwrap()].matches('\n').count() as u64;
    let change = |from: &str, to: &str, part: &str| check_refused(&OPENSLO.replace(from, to), line(from), part);
    change("apiVersion: openslo/v1\nkind: DataSource", "apiVersion: openslo/v2\nkind: DataSource", "only openslo/v1");
    change("indicatorRef: foo-error", "indicatorRef: other", "no file defines a SLI");
    check_refused(
        &OPENSLO.replace("budgetingMethod: Timeslices", "budgetingMethod: Some"),
        line("- displayName: strict"),
        "write Occurrences",
    );
    check_refused(&OPENSLO.replace("duration: 1M", "duration: 1s"), line("- duration: 1M"), "m h d w M Q Y");
    check_refused(&OPENSLO.replace("timeZone: America/New_York", "timeZone: Nowhere"), line("- duration: 1M"), "IANA");
    check_refused(
        &OPENSLO.replace("      targetPercent: 99\n", ""),
        line("displayName: loose"),
        "either target or targetPercent",
    );
    check_refused(
        &OPENSLO.replace("target: 0.999", "target: 0.999\n      compositeWeight: 0"),
        line("displayName: strict") + 2,
        "compositeWeight is 0; write a number above 0",
    );
    check_refused(
        &OPENSLO.replace("target: 0.999", "target: 0.999\n      indicatorRef: foo-error"),
        line("displayName: strict"),
        "the SLO and its objective both have an indicator",
    );
    check_refused(&OPENSLO.replace("type: Prometheus", "type: Datadog"), line("indicatorRef"), "Datadog");
    check_refused(
        &OPENSLO.replace("  service: foo\n", "  service: foo\n  extra: 1\n"),
        line("  indicatorRef"),
        "extra",
    );
    check_refused(&OPENSLO.replace("kind: Service", "kind: Servant"), line("kind: Service"), "Servant");
}

const COMPOSITE: &str = r#"apiVersion: openslo/v1
kind: SLI
metadata: {name: errors}
spec: {ratioMetric: {counter: true, bad: {metricSource: {type: prometheus, spec: {query: bad}}}, total: {metricSource: {type: prometheus, spec: {query: all}}}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout, labels: {team: shop}}
spec:
  service: shop
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: RatioTimeslices
  objectives:
    - displayName: works
      target: 0.999
      timeSliceWindow: 5m
      indicatorRef: errors
      compositeWeight: 2
    - displayName: is fast
      target: 0.95
      timeSliceWindow: 5m
      op: lte
      value: 0.25
      indicator:
        metadata: {name: latency}
        spec:
          thresholdMetric: {metricSource: {type: prometheus, spec: {query: p99}}}
"#;

#[test]
fn the_objectives_of_a_composite_have_indicators_of_their_own() {
    let set = load(&[file(COMPOSITE)]).unwrap();
    let [works, fast] = set.slos.as_slice() else { panic!("{:?}", set.slos) };
    assert_eq!((works.name.as_str(), works.objective), ("checkout-1", 0.999));
    assert_eq!((fast.name.as_str(), fast.display_name.as_deref()), ("checkout-2", Some("is fast")));
    assert!(matches!(works.indicator, Indicator::Ratio { part_is: Part::Bad, counter: true, .. }));
    assert!(matches!(fast.indicator, Indicator::Threshold { op: Comparison::Lte, value: 0.25, .. }));
    assert_eq!((works.method, fast.slice.seconds()), (BudgetingMethod::RatioTimeslices, 300));
    assert!(fast.written.starts_with("thresholdMetric:"), "{}", fast.written);
    assert_eq!((fast.labels["slo_composite"].as_str(), fast.labels["team"].as_str()), ("checkout", "shop"));
    let warning = set.warnings.iter().find(|warning| warning.message.contains("composite checkout"));
    assert_eq!(warning.map(|warning| warning.line), Some(14), "{:?}", set.warnings);
    check_refused(
        &COMPOSITE.replace("      indicatorRef: errors\n", ""),
        8,
        "or one of them in each of its objectives",
    );
    check_refused(&COMPOSITE.replace("indicatorRef: errors", "indicatorRef: other"), 17, "no file defines a SLI");
}
