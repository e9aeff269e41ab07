//! Rules from their file to what people see, and through a crash.

use serde_json::Value;
use tempfile::tempdir;

use super::means::{
    Call, Complaint, Inbox, eventually, file, keys, now, prometheus_api, promql, seconds, send_calls, send_complaints,
    write, write_url,
};
use crate::support::Server;

const RULES: &str = r#"
groups:
- name: shop
  interval: 1s
  rules:
  - record: job:queue_depth:max
    expr: max by (job) (queue_depth)
    labels: {recorded: "yes"}
  - alert: QueueLong
    expr: job:queue_depth:max > 10
    for: 2s
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} has {{ $value }} waiting"}
  - alert: PaymentsFail
    type: sql
    expr: |
      SELECT service_name, count(*) AS value FROM spans
      WHERE time > now() - INTERVAL '6 seconds' AND status_code = 2 GROUP BY service_name
    annotations: {summary: "{{ $value }} calls of {{ $labels.service_name }} failed"}
  - alert: CardsDeclined
    type: logs
    expr: 'severity:error AND declined | count() by (service.name) [6s] > 2'
    annotations: {summary: "{{ $value }} cards were declined by {{ $labels.service_name }}"}
"#;

const SECOND: i64 = 1_000_000_000;

/// The alerts with a name, as `/api/v1/alerts` has them.
async fn alerts(server: &Server, name: &str) -> Vec<Value> {
    let answer = server.get("/prometheus/api/v1/alerts").await;
    let alerts = answer["data"]["alerts"].as_array().expect("alerts").iter();
    alerts.filter(|alert| alert["labels"]["alertname"] == name).cloned().collect()
}

/// Waits until the only alert with this name has this state.
async fn until_state(server: &Server, name: &str, state: &str) -> Value {
    eventually(&format!("{name} is {state}"), async || match &alerts(server, name).await[..] {
        [alert] if alert["state"] == state => Ok(alert.clone()),
        other => Err(format!("{other:?}")),
    })
    .await
}

async fn until_gone(server: &Server, name: &str) {
    eventually(&format!("{name} has resolved"), async || match &alerts(server, name).await[..] {
        [] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// What the history says happened to the alerts of a rule.
async fn history(server: &Server, rule: &str) -> Vec<String> {
    let rows = server.sql(&format!("SELECT state FROM alerts_history WHERE rule = '{rule}' ORDER BY time")).await;
    rows.iter().map(|row| row[0].as_str().expect("a state").to_owned()).collect()
}

/// A queue of 42 by remote write, three failed calls and three declined cards by OTLP.
async fn trouble(server: &Server) {
    let labels = [("__name__", "queue_depth"), ("job", "orders"), ("instance", "a")];
    let other = [("__name__", "queue_depth"), ("job", "orders"), ("instance", "b")];
    write(&write_url(server), &[(&labels, 42.0), (&other, 7.0)]).await;
    let call = |trace| Call { trace, name: "POST /pay", start: now() - SECOND, duration: 1_000, is_error: trace != 4 };
    send_calls(server, "payment", &[1, 2, 3, 4].map(call)).await;
    let complaint = |trace| Complaint { trace, time: now(), body: format!("card {trace} declined") };
    send_complaints(server, "payment", &[1, 2, 3].map(complaint)).await;
}

/// Scenario: a file with a recording rule and alerting rules in PromQL, SQL and over logs; trouble comes and goes.
/// Guarantee: what is recorded, `ALERTS` and `ALERTS_FOR_STATE` are found by PromQL; `for` is waited out; each alert fires with
/// its labels, value and text, and resolves when its condition ends, but not when a service falls silent; the history tells it
/// all; the API has Prometheus' shape.
#[tokio::test(flavor = "multi_thread")]
async fn rules_of_all_kinds_fire_and_resolve() {
    let folder = tempdir().expect("a folder");
    let rules = file(folder.path(), "rules.yml", RULES);
    let server = Server::start(&folder.path().join("data"), &["--rules", &rules]);
    trouble(&server).await;

    let long = until_state(&server, "QueueLong", "firing").await;
    assert_eq!(
        long["labels"],
        serde_json::json!({"alertname": "QueueLong", "job": "orders", "recorded": "yes", "severity": "page"})
    );
    assert_eq!((&long["annotations"]["summary"], &long["value"]), (&"orders has 42 waiting".into(), &"4.2e+01".into()));
    let (active, fired) = (seconds(&long["activeAt"]), seconds(&long["firedAt"]));
    assert!((2.0..2.1).contains(&(fired - active)), "`for` is two slots of a second: {long}");
    let failed = until_state(&server, "PaymentsFail", "firing").await;
    assert_eq!(failed["annotations"]["summary"], "3 calls of payment failed");
    let declined = until_state(&server, "CardsDeclined", "firing").await;
    assert_eq!(declined["annotations"]["summary"], "3 cards were declined by payment");

    let api = prometheus_api(&server);
    let recorded = promql(&api, "job:queue_depth:max").await;
    assert_eq!((&recorded[0]["metric"]["recorded"], &recorded[0]["value"][1]), (&"yes".into(), &"42".into()));
    let firing = promql(&api, r#"ALERTS{alertname="QueueLong",alertstate="firing"}"#).await;
    assert_eq!((&firing[0]["metric"]["job"], &firing[0]["value"][1]), (&"orders".into(), &"1".into()), "{firing}");
    let pending = promql(&api, r#"ALERTS{alertname="QueueLong",alertstate="pending"}"#).await;
    assert_eq!(pending, serde_json::json!([]), "that series has ended");
    let pending = promql(&api, r#"count_over_time(ALERTS{alertname="QueueLong",alertstate="pending"}[5m])"#).await;
    assert_eq!(pending[0]["value"][1], "2", "pending in two slots");
    let since = promql(&api, r#"ALERTS_FOR_STATE{alertname="QueueLong"}"#).await;
    let since: f64 = since[0]["value"][1].as_str().and_then(|value| value.parse().ok()).expect("a number");
    assert!((since - active.floor()).abs() < 1.0, "ALERTS_FOR_STATE {since} is when it became active, {active}");
    check_shape(&server, &rules).await;

    write(&write_url(&server), &[(&[("__name__", "queue_depth"), ("job", "orders"), ("instance", "a")], 3.0)]).await;
    for name in ["QueueLong", "PaymentsFail"] {
        until_gone(&server, name).await;
    }
    // The service says nothing any more: that is not the end of its trouble.
    eventually("CardsDeclined has no data", async || match &alerts(&server, "CardsDeclined").await[..] {
        [alert] if alert["state"] == "firing" && alert["noDataSince"].is_string() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let accepted = Complaint { trace: 5, time: now(), body: "card 5 accepted".into() };
    send_complaints(&server, "payment", &[accepted]).await;
    until_gone(&server, "CardsDeclined").await;
    assert_eq!(promql(&api, "ALERTS").await, serde_json::json!([]), "they end at once");
    assert_eq!(history(&server, "QueueLong").await, ["pending", "firing", "resolved"]);
    for rule in ["PaymentsFail", "CardsDeclined"] {
        let history = history(&server, rule).await;
        assert_eq!(history.last().map(String::as_str), Some("resolved"), "{rule}: {history:?}");
    }
}

/// `/api/v1/rules` as Prometheus answers it, at both of its addresses.
async fn check_shape(server: &Server, path: &str) {
    for address in ["/api/v1/rules", "/prometheus/api/v1/rules"] {
        let answer = server.get(address).await;
        assert_eq!(answer["status"], "success");
        let group = &answer["data"]["groups"][0];
        assert_eq!((&group["name"], &group["file"], &group["interval"]), (&"shop".into(), &path.into(), &1.0.into()));
        let members = ["name", "file", "rules", "interval", "limit", "evaluationTime", "lastEvaluation"];
        assert!(keys(group).is_superset(&members.into()), "{group}");
        let rules = group["rules"].as_array().expect("rules");
        let names: Vec<&str> = rules.iter().filter_map(|rule| rule["name"].as_str()).collect();
        assert_eq!(names, ["job:queue_depth:max", "QueueLong", "PaymentsFail", "CardsDeclined"]);
        for rule in rules {
            assert_eq!((&rule["health"], rule.get("lastError")), (&"ok".into(), None), "{rule}");
        }
        assert_eq!((&rules[0]["type"], &rules[1]["type"]), (&"recording".into(), &"alerting".into()));
        let members = [
            "state",
            "name",
            "query",
            "duration",
            "keepFiringFor",
            "labels",
            "annotations",
            "alerts",
            "health",
            "evaluationTime",
            "lastEvaluation",
            "type",
        ];
        assert!(keys(&rules[1]).is_superset(&members.into()), "{}", rules[1]);
        assert_eq!((&rules[1]["state"], &rules[1]["duration"]), (&"firing".into(), &2.0.into()));
        let alert = ["labels", "annotations", "state", "activeAt", "value"];
        assert!(keys(&rules[1]["alerts"][0]).is_superset(&alert.into()), "{}", rules[1]);
    }
    let recording = server.get("/prometheus/api/v1/rules?type=record").await;
    let groups = &recording["data"]["groups"];
    assert_eq!(groups[0]["rules"].as_array().map(Vec::len), Some(1), "{groups}");
    let one = server.get("/prometheus/api/v1/rules?rule_name[]=QueueLong").await;
    assert_eq!(one["data"]["groups"][0]["rules"][0]["name"], "QueueLong");
}

const CRASH_RULES: &str = r"
groups:
- name: crash
  interval: 1s
  rules:
  - alert: Waits
    expr: queue_depth > 10
    for: 1h
  - alert: Fires
    expr: queue_depth > 20
";

const CRASH_RECEIVER: &str = "
route: {receiver: people, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: people, webhook_configs: [{url: 'URL'}]}]
";

/// How often a group was evaluated since the process began.
async fn evaluations(server: &Server) -> usize {
    let answer = server.get("/api/v1/rules").await;
    answer["data"]["groups"][0]["rules"][0]["evaluations"].as_array().map(Vec::len).unwrap_or_default()
}

/// Scenario: one alert waits for its `for`, one fires and was notified; the process is killed, twice.
/// Guarantee: the next process evaluates at once; `activeAt` is unchanged, nothing resolves, nobody is told again, and that
/// holds also for the flushes of groups that come after.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_not_seen() {
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let rules = file(folder.path(), "rules.yml", CRASH_RULES);
    let receiver = file(folder.path(), "alertmanager.yml", &CRASH_RECEIVER.replace("URL", &inbox.url("people")));
    let flags = ["--rules", &rules, "--alertmanager-config", &receiver, "--notify-allow-networks", "127.0.0.0/8"];
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &flags);
    let call = |trace| Call { trace, name: "POST /order", start: now() - SECOND, duration: 1_000, is_error: true };
    send_calls(&server, "orders", &[1, 2, 3].map(call)).await;
    write(&write_url(&server), &[(&[("__name__", "queue_depth"), ("job", "orders")], 42.0)]).await;
    let (waits, fires) =
        (until_state(&server, "Waits", "pending").await, until_state(&server, "Fires", "firing").await);
    // There is something to be found by a diagnosis. It is told once too, and the crashes come after that.
    let told = inbox.explained("people").await;
    let noted = "SELECT count(*) FROM notifications_history WHERE outcome = 'sent'";
    eventually("what was told is in the history", async || match server.number(noted).await {
        count if count == told as u64 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    for _ in 0..2 {
        server.kill();
        server = Server::start(&data, &flags);
        eventually("the new process has evaluated three times", async || match evaluations(&server).await {
            3.. => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
        for (before, name) in [(&waits, "Waits"), (&fires, "Fires")] {
            let [after] = &alerts(&server, name).await[..] else { panic!("{name} is gone") };
            for member in ["activeAt", "firedAt", "state", "labels"] {
                assert_eq!(after.get(member), before.get(member), "{member} of {name}");
            }
        }
        assert_eq!(inbox.received("people").len(), told, "{:#?}", inbox.received("people"));
        assert_eq!(history(&server, "Waits").await, ["pending"]);
        assert!(!history(&server, "Fires").await.contains(&"resolved".to_owned()));
        assert_eq!(server.number(noted).await, told as u64);
    }
    write(&write_url(&server), &[(&[("__name__", "queue_depth"), ("job", "orders")], 1.0)]).await;
    let resolved = inbox.notification("people", 1).await;
    let (status, name) = (&resolved["status"], &resolved["alerts"][0]["labels"]["alertname"]);
    assert_eq!((status, name), (&"resolved".into(), &"Fires".into()), "{resolved:#}");
}
