use super::*;
use crate::file::SourceFile;
use crate::template::GoTemplates;

/// From the documentation of Prometheus.
const RULES: &str = r#"
groups:
- name: example
  rules:
  - alert: InstanceDown
    expr: up == 0
    for: 5m
    labels: {severity: page}
    annotations:
      summary: "Instance {{ $labels.instance }} down"
      description: "{{ $labels.instance }} of job {{ $labels.job }} has been down for more than 5 minutes."
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Gone
    expr: up > 99
    no_data: keep
"#;

const TESTS: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  name: down
  input_series:
  - series: 'up{job="prometheus", instance="localhost:9090"}'
    values: '0 0 0 0 0 0 0 0 0 0 0 0 0 0 0'
  - series: 'up{job="node_exporter", instance="localhost:9100"}'
    values: '1+0x6 0 0 0 0 0 0 0 0'
  - series: 'go_goroutines{job="prometheus", instance="localhost:9090"}'
    values: '10+10x2 30+20x5'
  - series: 'h'
    values: '{{schema:0 count:3 sum:4 buckets:[1 2]}}x5'
  alert_rule_test:
  - eval_time: 10m
    alertname: InstanceDown
    exp_alerts:
    - exp_labels: {severity: page, instance: localhost:9090, job: prometheus}
      exp_annotations:
        summary: "Instance localhost:9090 down"
        description: "localhost:9090 of job prometheus has been down for more than 5 minutes."
  - eval_time: 4m59s
    alertname: InstanceDown
    exp_alerts: []
  promql_expr_test:
  - expr: go_goroutines > 5
    eval_time: 4m
    exp_samples:
    - labels: 'go_goroutines{job="prometheus",instance="localhost:9090"}'
      value: 50
  - expr: job:up:sum
    eval_time: 9m
    exp_samples:
    - {labels: 'job:up:sum{job="prometheus"}', value: 0}
    - {labels: 'job:up:sum{job="node_exporter"}', value: 0e0}
  - expr: h
    eval_time: 3m
    exp_samples:
    - {labels: h, histogram: '{{schema:0 count:3 sum:4 buckets:[1 2]}}'}
  - expr: "0/0"
    eval_time: 3m
    exp_samples: [{value: NaN}]
  - expr: nothing
    eval_time: 3m
- name: labels of the installation
  external_labels: {region: eu}
  external_url: http://here
"#;

/// The demo's, at a share of failures with more digits than anybody reads.
const DEMO_TESTS: &str = r#"
rule_files: [demo]
evaluation_interval: 15s
tests:
- interval: 15s
  input_series:
  - series: 'http_server_request_duration_seconds_count{job="cart", http_response_status_code="200"}'
    values: 0+9000x20
  - series: 'http_server_request_duration_seconds_count{job="cart", http_response_status_code="503"}'
    values: 0+593x20
  alert_rule_test:
  - eval_time: 5m
    alertname: RequestsFail
    exp_alerts:
    - exp_labels: {severity: page, job: cart}
      exp_annotations:
        summary: "cart fails 6.18% of its requests"
        description: "More than 5 % of the HTTP requests to cart were answered with a server error in the last two minutes."
        runbook_url: https://github.com/trivium-observability/trivium/blob/main/deploy/RUNBOOK.md#http-requests-fail
"#;

async fn run_tests(rules: &str, tests: &str) -> Result<UnitTestReport, UnitTestError> {
    let load = |files: &[String]| {
        let source = |path: &String| SourceFile { path: path.clone(), text: rules.to_owned() };
        RuleSet::parse(&files.iter().map(source).collect::<Vec<_>>(), &GoTemplates::default())
    };
    unit_test(tests, Arc::new(GoTemplates::default()), &load).await
}

#[tokio::test]
async fn the_example_of_the_documentation_passes() {
    let report = run_tests(RULES, TESTS).await.unwrap();
    assert_eq!(report.tests.iter().flat_map(|test| &test.failures).collect::<Vec<_>>(), [""; 0]);
    assert!(report.passed());
    assert_eq!(report.tests[0].name, "down");
}

#[tokio::test]
async fn the_demo_tells_shares_that_people_read() {
    let report = run_tests(include_str!("../../../../deploy/demo/rules.yaml"), DEMO_TESTS).await.unwrap();
    assert_eq!(report.tests[0].failures, [""; 0]);
}

#[tokio::test]
async fn differences_are_shown_as_promtool_shows_them() {
    let tests = TESTS.replace("severity: page, ", "severity: ticket, ").replace("value: 50", "value: 51");
    let report = run_tests(RULES, &tests).await.unwrap();
    let [alert, expr] = report.tests[0].failures.as_slice() else { panic!("{report:?}") };
    let expected = r#"    name: down,
    alertname: InstanceDown, time: 10m, 
        exp:[
            0:
              Labels:{alertname="InstanceDown", instance="localhost:9090", job="prometheus", severity="ticket"}
              Annotations:{description="localhost:9090 of job prometheus has been down for more than 5 minutes.", summary="Instance localhost:9090 down"}
            ], 
        got:[
            0:
              Labels:{alertname="InstanceDown", instance="localhost:9090", job="prometheus", severity="page"}
              Annotations:{description="localhost:9090 of job prometheus has been down for more than 5 minutes.", summary="Instance localhost:9090 down"}
            ]"#;
    assert_eq!(alert, expected);
    assert!(expr.starts_with("    expr: \"go_goroutines > 5\", time: 4m, \n        exp: Labels:"), "{expr}");
    assert!(expr.ends_with("Value:50"), "{expr}");
}

#[tokio::test]
async fn rules_that_fail_fail_the_test() {
    let rules =
        RULES.replace("sum by (job) (up)", "label_replace(up, \"instance\", \"x\", \"job\", \".*\") + on () up");
    let report = run_tests(&rules, TESTS).await.unwrap();
    assert!(report.tests[0].failures[0].starts_with("    rule: job:up:sum, time: 0s, err: "), "{report:?}");
}

#[tokio::test]
async fn wrong_files_are_refused() {
    for (tests, reason) in [
        ("rule_file: []", "rule_file"),
        ("evaluation_interval: 0s", "greater than 0"),
        ("group_eval_order: [a, a]", "repeated"),
        ("tests: [{alert_rule_test: [{eval_time: 5m}]}]", "misses required attribute alertname"),
    ] {
        let error = run_tests(RULES, tests).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{tests}: {error}");
    }
    let tests = "rule_files: [a]\ntests: [{input_series: [{series: 'a{', values: '1'}]}]";
    assert!(!run_tests(RULES, tests).await.unwrap().passed());
    let endless = "rule_files: [a]\nevaluation_interval: 1ms\ntests: [{promql_expr_test: [{expr: a, eval_time: 1y}]}]";
    assert!(run_tests(RULES, endless).await.unwrap().tests[0].failures[0].contains("evaluations"));
}

#[tokio::test]
async fn floats_may_be_near_if_told_so() {
    let tests = |fuzzy: &str| {
        format!(
            "fuzzy_compare: {fuzzy}\ntests: [{{promql_expr_test: [{{expr: 0.1 + 0.2, eval_time: 0s, exp_samples: [{{value: 0.3}}]}}]}}]"
        )
    };
    assert!(!run_tests(RULES, &tests("false")).await.unwrap().passed());
    assert!(run_tests(RULES, &tests("true")).await.unwrap().passed());
}

#[tokio::test]
async fn tests_may_begin_at_another_time() {
    let tests = |start: &str| {
        let expr = "{expr: 'timestamp(up)', eval_time: 1m, exp_samples: [{value: 1704067260}]}";
        let alert = "{eval_time: 5m, alertname: InstanceDown, exp_alerts: []}";
        let series = "{series: up, values: 0x9}";
        format!(
            "rule_files: [a]\ntests: [{{start_timestamp: {start}, input_series: [{series}], alert_rule_test: [{alert}], promql_expr_test: [{expr}]}}]"
        )
    };
    for start in ["1704067200", "'2024-01-01T00:00:00Z'"] {
        let report = run_tests(RULES, &tests(start)).await.unwrap();
        // Five minutes after the start, not after 1970.
        assert!(matches!(report.tests[0].failures.as_slice(), [alert] if alert.contains("InstanceDown")), "{report:?}");
    }
    assert!(run_tests(RULES, &tests("tomorrow")).await.unwrap_err().to_string().contains("RFC 3339"));
}
