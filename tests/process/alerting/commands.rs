//! `trivium rules check | test | backtest`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;

use super::means::{eventually, file, now, write, write_url};
use crate::support::{BINARY, Server};

/// Runs `trivium rules …`: whether it succeeded, and what it printed.
fn rules(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(BINARY).arg("rules").args(arguments).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

const GOOD: &str = r#"
groups:
- name: shop
  rules:
  - record: job:queue_depth:max
    expr: max by (job) (queue_depth)
  - alert: QueueLong
    expr: job:queue_depth:max > 10
    for: 2m
    labels: {severity: page}
    annotations:
      summary: '{{ $labels.job }} has {{ $value }} waiting'
      description: Orders wait for a minute and more.
      runbook_url: https://runbooks.example.com/queue
"#;

const SLO: &str = "
slos:
- name: pay
  service: payment
  objective: 99
  window: 7d
  indicator: {promql: {bad: errors_total, total: calls_total}}
";

/// Scenario: right files, files that are odd, files that are wrong.
/// Guarantee: the exit code says whether they can be loaded (with `--strict`: whether there is anything to say), each problem
/// has its file and line, and a running server is asked whether selectors match anything.
#[tokio::test(flavor = "multi_thread")]
async fn check_finds_what_is_wrong_before_the_server_does() {
    let folder = tempdir().expect("a folder");
    let (good, slo) = (file(folder.path(), "good.yml", GOOD), file(folder.path(), "slo.yaml", SLO));
    let (is_fine, said) = rules(&["check", "--strict", &good, &slo]);
    assert!(is_fine && said.contains("2 rules, 1 SLOs: 0 errors, 0 warnings"), "{said}");

    let odd = file(folder.path(), "odd.yml", "groups: [{name: g, rules: [{alert: A, expr: up == 0}]}]\n");
    let (is_fine, said) = rules(&["check", &odd]);
    assert!(is_fine && said.contains("odd.yml") && said.contains("summary"), "{said}");
    let (is_fine, said) = rules(&["check", "--strict", &odd]);
    assert!(!is_fine, "{said}");
    let (_, said) = rules(&["check", "--json", &odd]);
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((&said["rules"], said["findings"].as_array().is_some_and(|found| !found.is_empty())), (&1.into(), true));

    let wrong = file(
        folder.path(),
        "wrong.yml",
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(up\n  - alert: B\n    exprr: up\n",
    );
    let (is_fine, said) = rules(&["check", &wrong, &good]);
    assert!(!is_fine && said.contains("wrong.yml:"), "{said}");

    let server = Server::start(&folder.path().join("data"), &[]);
    let (_, said) = rules(&["check", "--url", &server.http, &good]);
    assert!(said.contains("queue_depth"), "no such series: {said}");
    write(&write_url(&server), &[(&[("__name__", "queue_depth"), ("job", "orders")], 1.0)]).await;
    let (is_fine, said) = rules(&["check", "--strict", "--url", &server.http, &good]);
    assert!(is_fine, "{said}");
}

fn unit_test(folder: &Path, summary: &str) -> String {
    let text = format!(
        r#"
rule_files: [good.yml]
evaluation_interval: 1m
tests:
- name: a queue that grows
  interval: 1m
  input_series:
  - {{series: 'queue_depth{{job="orders"}}', values: '1 20 20 20 20 1'}}
  promql_expr_test:
  - expr: job:queue_depth:max
    eval_time: 2m
    exp_samples: [{{labels: 'job:queue_depth:max{{job="orders"}}', value: 20}}]
  alert_rule_test:
  - {{eval_time: 2m, alertname: QueueLong, exp_alerts: []}}
  - eval_time: 3m
    alertname: QueueLong
    exp_alerts:
    - exp_labels: {{severity: page, job: orders}}
      exp_annotations:
        summary: '{summary}'
        description: Orders wait for a minute and more.
        runbook_url: https://runbooks.example.com/queue
  - {{eval_time: 5m, alertname: QueueLong, exp_alerts: []}}
"#
    );
    file(folder, "unit.yml", &text)
}

/// Scenario: a unit test in promtool's format, right and wrong.
/// Guarantee: success and failure by exit code, and a failure shows what was expected and what was found.
#[test]
fn unit_tests_of_rules_run_as_with_promtool() {
    let folder = tempdir().expect("a folder");
    file(folder.path(), "good.yml", GOOD);
    let (is_fine, said) = rules(&["test", &unit_test(folder.path(), "orders has 20 waiting")]);
    assert!(is_fine && said.contains("unit.yml: SUCCESS"), "{said}");
    let (is_fine, said) = rules(&["test", &unit_test(folder.path(), "orders has 21 waiting")]);
    assert!(!is_fine && said.contains("unit.yml: FAILED") && said.contains("a queue that grows"), "{said}");
    assert!(said.contains("has 21 waiting") && said.contains("has 20 waiting"), "{said}");
}

const LIVE: &str = "
groups:
- name: live
  interval: 1s
  rules:
  - record: job:queue_depth:max
    expr: max by (job) (queue_depth)
  - alert: QueueLong
    expr: job:queue_depth:max > 10
    for: 1s
  - alert: Long
    expr: queue_depth > 10
    keep_firing_for: 2s
";

/// When alerts of a rule fired and resolved by the history, in seconds.
async fn lived(server: &Server, rule: &str) -> Vec<(String, f64)> {
    let sql = format!(
        "SELECT state, CAST(time AS BIGINT) AS at FROM alerts_history WHERE rule = '{rule}' AND state <> 'pending' ORDER BY at"
    );
    let rows = server.sql(&sql).await;
    let time = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok()).expect("a time");
    rows.iter().map(|row| (row[0].as_str().unwrap_or_default().to_owned(), time(&row[1]) / 1e9)).collect()
}

/// The last slot in which the rules were evaluated, in seconds.
async fn last_slot(server: &Server) -> f64 {
    let rules = server.get("/api/v1/rules").await;
    let evaluations = rules["data"]["groups"][0]["rules"][0]["evaluations"].as_array();
    let last = evaluations.and_then(|all| all.last()?["slotMs"].as_f64());
    last.unwrap_or_default() / 1e3
}

/// Scenario: two rules, one on top of a recording rule, fire and resolve twice in a running server; then their file is tried on
/// the stored history.
/// Guarantee: the backtest tells the same firings (their times are slots of another group, an interval apart at most, and a
/// sample may arrive a slot after its time), also as text, and a wrong file is refused with its reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_tells_what_really_happened() {
    let folder = tempdir().expect("a folder");
    let path = file(folder.path(), "live.yml", LIVE);
    let server = Server::start(&folder.path().join("data"), &["--rules", &path]);
    let start = (now() / 1_000_000_000).to_string();
    for (depth, events) in [(42.0, 1), (1.0, 2), (17.0, 3), (1.0, 4)] {
        write(&write_url(&server), &[(&[("__name__", "queue_depth"), ("job", "orders")], depth)]).await;
        // Long enough that slots which lie elsewhere see it too.
        eventually(&format!("{events} transitions of both, and three slots more"), async || {
            let both = [lived(&server, "QueueLong").await, lived(&server, "Long").await];
            let since = both.iter().flatten().map(|(_, time)| *time).fold(0.0, f64::max);
            let is_told = both.iter().all(|one| one.len() == events);
            if is_told && last_slot(&server).await >= since + 3.0 { Ok(()) } else { Err(format!("{both:?}")) }
        })
        .await;
    }
    let (is_fine, said) = rules(&["backtest", &path, "--url", &server.http, "--start", &start, "--json"]);
    assert!(is_fine, "{said}");
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    for rule in ["QueueLong", "Long"] {
        let told = report["rules"].as_array().expect("rules").iter().find(|told| told["rule"] == rule);
        let told = told.unwrap_or_else(|| panic!("{rule}: {report:#}"));
        assert_eq!(told["failures"], 0, "{told:#}");
        let firings = told["firings"].as_array().expect("firings");
        let seconds =
            |firing: &Value, member: &str| firing[member].as_f64().map_or(f64::INFINITY, |millis| millis / 1e3);
        let times: Vec<f64> =
            firings.iter().flat_map(|one| [seconds(one, "firedAtMs"), seconds(one, "resolvedAtMs")]).collect();
        let lived = lived(&server, rule).await;
        let states: Vec<&str> = lived.iter().map(|(state, _)| state.as_str()).collect();
        assert_eq!(states, ["firing", "resolved", "firing", "resolved"]);
        assert_eq!(times.len(), lived.len(), "{told:#}\n{lived:?}");
        for (time, (_, live)) in times.iter().zip(&lived) {
            assert!((time - live).abs() <= 2.0, "{rule}: {times:?} instead of {lived:?}");
        }
        assert_eq!(firings[0]["labels"]["job"], "orders");
    }
    let (is_fine, said) = rules(&["backtest", &path, "--url", &server.http, "--start", &start]);
    assert!(is_fine && said.contains("QueueLong  2 firings") && said.contains("notifications"), "{said}");
    let wrong = file(folder.path(), "wrong.yml", "groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]\n");
    let (is_fine, said) = rules(&["backtest", &wrong, "--url", &server.http]);
    assert!(!is_fine && said.contains("parenthesis"), "{said}");
}
