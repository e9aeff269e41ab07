//! SLOs over spans and the logs of their traces, counted by hand.

use serde_json::{Value, json};
use tempfile::tempdir;

use super::means::{
    Call, Complaint, Inbox, eventually, file, now, prometheus_api, promql, send_calls, send_complaints,
};
use crate::support::Server;

const MINUTE: i64 = 60_000_000_000;

/// Minutes of telemetry.
const MINUTES: i64 = 180;

/// The last minutes, in which nearly half of the calls are bad.
const BAD_MINUTES: i64 = 75;

/// Calls of a minute.
const CALLS: i64 = 10;

/// The native form, and OpenSLO in SQL: what it counts is the share of calls whose card was declined.
const SLOS: &str = r#"
slos:
  - name: pay
    service: payment
    objective: 80
    window: 1d
    indicator:
      spans: {service: payment, operation: POST /pay, root: true, span_kind: server, not_error: true, below: 2s, bad_logs: declined}
    alerting:
      pairs: [{severity: page, long: 1h, short: 15m, budget_percent: 8}]
      page: {labels: {team: payments}}
"#;

const OPENSLO: &str = r"
apiVersion: openslo/v1
kind: DataSource
metadata: {name: trivium}
spec: {type: sql, connectionDetails: {}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: cards, displayName: Cards are accepted}
spec:
  service: payment
  indicator:
    metadata: {name: cards-declined}
    spec:
      ratioMetric:
        bad:
          metricSource:
            metricSourceRef: trivium
            spec:
              query: |
                SELECT date_bin($slice, s.time) AS slice, count(DISTINCT s.trace_id) AS value
                FROM spans s JOIN logs l ON s.trace_id = l.trace_id
                WHERE s.time >= $start AND s.time < $end AND s.name = 'POST /pay' AND matches(l.body, 'declined') GROUP BY 1
        total:
          metricSource:
            metricSourceRef: trivium
            spec:
              query: |
                SELECT date_bin($slice, time) AS slice, count(*) AS value
                FROM spans WHERE time >= $start AND time < $end AND name = 'POST /pay' GROUP BY 1
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: Cards, target: 0.75}]
";

const RECEIVER: &str = "
route: {receiver: people, group_by: [slo], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: people, webhook_configs: [{url: 'URL'}]}]
";

/// What is wrong with a call.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    is_error: bool,
    is_slow: bool,
    is_declined: bool,
}

impl Fate {
    /// Of the call with this number in this minute, counted from the first.
    fn of(minute: i64, call: i64) -> Self {
        if minute < MINUTES - BAD_MINUTES {
            return Self { is_error: minute % 10 == 0 && call == 0, ..Self::default() };
        }
        Self {
            is_error: call == 0 || call == 3,
            is_slow: call == 1,
            is_declined: call == 2 || call == 3 || (call == 4 && minute % 2 == 0),
        }
    }

    fn is_bad(self) -> bool {
        self.is_error || self.is_slow || self.is_declined
    }
}

/// How many calls there were from one minute to another, and of how many of them something holds.
fn count(minutes: std::ops::Range<i64>, holds: fn(Fate) -> bool) -> (u32, u32) {
    let minutes = minutes.start.clamp(0, MINUTES)..minutes.end.clamp(0, MINUTES);
    let fates = minutes.flat_map(|minute| (0..CALLS).map(move |call| Fate::of(minute, call)));
    fates.fold((0, 0), |(bad, total), fate| (bad + u32::from(holds(fate)), total + 1))
}

/// All calls and complaints; and some of others, which count for nothing.
async fn send(server: &Server, begin: i64) {
    let (mut calls, mut complaints, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for minute in 0..MINUTES {
        for number in 0..CALLS {
            let fate = Fate::of(minute, number);
            let trace = u128::try_from(1 + minute * CALLS + number).expect("positive") << 64 | 7;
            let start = begin + minute * MINUTE + number * MINUTE / CALLS;
            let duration = if fate.is_slow { 3_000_000_000 } else { 250_000_000 };
            calls.push(Call { trace, name: "POST /pay", start, duration, is_error: fate.is_error });
            if fate.is_declined {
                complaints.push(Complaint {
                    trace,
                    time: start + 1_000_000,
                    body: format!("card of {number} declined"),
                });
            }
        }
        let trace = u128::try_from(1 + minute).expect("positive") << 32;
        others.push(Call { trace, name: "GET /health", start: begin + minute * MINUTE, duration: 1, is_error: true });
        complaints.push(Complaint { trace, time: begin + minute * MINUTE, body: "declined to answer".into() });
    }
    send_calls(server, "payment", &calls).await;
    send_calls(server, "payment", &others).await;
    // The complaints come from another service of the trace.
    send_complaints(server, "bank", &complaints).await;
}

async fn slo(server: &Server, name: &str) -> Value {
    server.get(&format!("/api/v1/slos/{name}")).await
}

/// How many times as many events as were counted the window of a day is expected to have: before the first of them it is taken
/// for as busy as after it.
fn expected(view: &Value, begin: i64) -> f64 {
    let start = view["budget"]["start"].as_i64().expect("a time") * 1_000_000_000;
    1.0 + ((begin - start) / MINUTE) as f64 / MINUTES as f64
}

/// Waits until all slices are measured, and checks the budget against the counts.
async fn check_budget(server: &Server, begin: i64, name: &str, holds: fn(Fate) -> bool, allowed: f64) {
    let (bad, total) = count(0..MINUTES, holds);
    let view = eventually(&format!("{name} is measured in full"), async || {
        let view = slo(server, name).await;
        let is_measured = view["budget"]["total"].as_f64() == Some(f64::from(total));
        if is_measured { Ok(view) } else { Err(format!("{total} calls; {view:#}")) }
    })
    .await;
    let (bad, total, budget) = (f64::from(bad), f64::from(total), &view["budget"]);
    let close = |member: &str, expected: f64| {
        let found = budget[member].as_f64().unwrap_or_else(|| panic!("{member}: {budget}"));
        assert!(
            (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
            "{member} of {name} is {found}, not {expected}"
        );
    };
    close("bad", bad);
    close("sli", 1.0 - bad / total);
    let whole = total * expected(&view, begin);
    close("budget_events", whole * allowed);
    close("left_events", whole * allowed - bad);
    close("left_share", 1.0 - bad / (whole * allowed));
    close("budget_minutes", 1_440.0 * allowed);
    close("left_minutes", (1.0 - bad / (whole * allowed)) * 1_440.0 * allowed);
    let listed = server.get("/api/v1/slos").await;
    let listed = listed["slos"].as_array().expect("SLOs").iter().find(|slo| slo["name"] == name).cloned();
    assert_eq!(listed.expect("it is listed")["budget"]["bad"], budget["bad"]);
}

/// The burn rate of the last hour that was measured.
async fn check_burn_rate(server: &Server, begin: i64) {
    let view = slo(server, "pay").await;
    let end = (view["watermark"].as_i64().expect("a time") * 1_000_000_000 - begin) / MINUTE;
    let (bad, total) = count(end - 60..end, Fate::is_bad);
    let rates = view["burn_rates"].as_array().expect("burn rates");
    let hour = rates.iter().find(|rate| rate["window"] == "1h").unwrap_or_else(|| panic!("{rates:#?}"));
    assert_eq!((hour["bad"].as_f64(), hour["total"].as_f64()), (Some(bad.into()), Some(total.into())), "{hour}");
    let (rate, expected) = (hour["rate"].as_f64().expect("a rate"), f64::from(bad) / f64::from(total) / 0.2);
    assert!((rate - expected).abs() < 1e-9 && rate > 1.92, "{rate} instead of {expected}");
}

/// The names of Sloth, with the numbers of the budget.
async fn check_series(server: &Server, begin: i64) {
    let (bad, total) = count(0..MINUTES, Fate::is_bad);
    let left = |view: &Value| 1.0 - f64::from(bad) / (f64::from(total) * expected(view, begin) * 0.2);
    let before = left(&slo(server, "pay").await);
    let remaining = r#"slo:period_error_budget_remaining:ratio{sloth_slo="pay"}"#;
    let mut found = Vec::new();
    for query in [r#"slo:objective:ratio{sloth_slo="pay"}"#, r#"slo:error_budget:ratio{sloth_slo="pay"}"#, remaining] {
        let answer = promql(&prometheus_api(server), query).await;
        let value = answer[0]["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
        found.push(value.unwrap_or_else(|| panic!("{query}: {answer}")));
    }
    // With every slice the window moves on and holds less of the time before.
    let after = left(&slo(server, "pay").await);
    let is = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
    assert!(is(found[0], 0.8) && is(found[1], 0.2), "{found:?}");
    assert!([before, after].iter().any(|left| is(found[2], *left)), "{found:?}: {before} or {after}");
}

async fn burning(server: &Server) -> Value {
    eventually("the burn-rate alert fires", async || {
        let answer = server.get("/api/v1/alerts").await;
        match answer["data"]["alerts"].as_array().map(Vec::as_slice) {
            Some([alert]) if alert["state"] == "firing" => Ok(alert.clone()),
            _ => {
                let (view, rules) = (slo(server, "pay").await, server.get("/api/v1/rules").await);
                Err(format!("{answer:#}\n{:#}\n{:#}\n{rules:#}", view["alerts"], view["burn_rates"]))
            }
        }
    })
    .await
}

/// Scenario: three hours of calls and of the logs of their traces; two SLOs are measured over them, one of them burns; the
/// process is killed.
/// Guarantee: budgets and burn rates are the counts done by hand (an error with a complaint counts once, a complaint of
/// another service in the trace counts, other operations do not); the burn-rate alert fires and is notified; the names of
/// Sloth are series; after the crash the numbers and the alert are the same and nobody is told again.
#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_what_is_counted_by_hand() {
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let data = folder.path().join("data");
    // All slices are over, and old enough to be measured at once.
    let begin = (now() - MINUTE).div_euclid(MINUTE) * MINUTE - MINUTES * MINUTE;
    let server = Server::start(&data, &[]);
    send(&server, begin).await;
    server.stop();

    let slos = [file(folder.path(), "pay.yaml", SLOS), file(folder.path(), "cards.yaml", OPENSLO)].join(",");
    let receiver = file(folder.path(), "alertmanager.yml", &RECEIVER.replace("URL", &inbox.url("people")));
    let flags = [
        "--slos",
        &slos,
        "--alertmanager-config",
        &receiver,
        "--notify-allow-networks",
        "127.0.0.0/8",
        "--evaluation-interval",
        "1s",
    ];
    let server = Server::start(&data, &flags);
    check_budget(&server, begin, "pay", Fate::is_bad, 0.2).await;
    check_budget(&server, begin, "cards", |fate| fate.is_declined, 0.25).await;
    check_burn_rate(&server, begin).await;
    check_series(&server, begin).await;
    let alert = burning(&server).await;
    let labels = ["alertname", "slo", "severity", "team", "long_window", "short_window"];
    let expected = ["SloBurnRate", "pay", "page", "payments", "1h", "15m"];
    assert_eq!(labels.map(|label| alert["labels"][label].as_str()), expected.map(Some), "{alert:#}");
    let told = inbox.notification("people", 0).await;
    assert_eq!((&told["status"], &told["alerts"][0]["labels"]), (&json!("firing"), &alert["labels"]), "{told:#}");
    let summary = told["alerts"][0]["annotations"]["summary"].as_str().unwrap_or_default();
    assert!(summary.starts_with("pay burns its error budget 2.2"), "{summary}");
    let told = inbox.explained("people").await;
    // A kill between the answer of the receiver and its note is told again, as it must be.
    let noted = "SELECT count(*) FROM notifications_history WHERE outcome = 'sent'";
    eventually("what was told is in the history", async || match server.number(noted).await {
        count if count == told as u64 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;

    server.kill();
    let server = Server::start(&data, &flags);
    check_budget(&server, begin, "pay", Fate::is_bad, 0.2).await;
    check_budget(&server, begin, "cards", |fate| fate.is_declined, 0.25).await;
    check_burn_rate(&server, begin).await;
    check_series(&server, begin).await;
    assert_eq!(burning(&server).await["activeAt"], alert["activeAt"]);
    eventually("the alert was evaluated again and told to the notifier", async || {
        let rules = server.get("/api/v1/rules").await;
        let count = rules["data"]["groups"][0]["rules"][0]["evaluations"].as_array().map_or(0, Vec::len);
        if count > 2 { Ok(()) } else { Err(format!("{rules:#}")) }
    })
    .await;
    assert_eq!(inbox.received("people").len(), told, "{:#?}", inbox.received("people"));
}
