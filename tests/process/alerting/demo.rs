//! The demo's incident, from the bad deploy to what people are told.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::means::{Inbox, Postbox, eventually, file};
use crate::support::Server;

const RECEIVERS: &str = "
global: {smtp_smarthost: 'SMTP', smtp_from: trivium@example.com, smtp_require_tls: false}
route: {receiver: people, group_by: [trivium_incident], group_wait: 20s, group_interval: 5s, repeat_interval: 1h}
receivers:
- name: people
  webhook_configs: [{url: 'URL'}]
  email_configs: [{to: ann@example.com}]
";

/// What fires: the names of alerts.
async fn firing(server: &Server) -> BTreeSet<String> {
    let answer = server.get("/api/v1/alerts").await;
    let alerts = answer["data"]["alerts"].as_array().expect("alerts").iter();
    let names = alerts.filter_map(|alert| alert["labels"]["alertname"].as_str());
    names.map(str::to_owned).collect()
}

/// What explains a notification: the evidence of its first alert.
fn check_evidence(evidence: &Value) {
    assert_eq!((&evidence["origin"]["service"], &evidence["origin"]["version"]), (&json!("payment"), &json!("2.4.1")));
    assert_eq!(evidence["suspects"][0]["service"], "payment", "{evidence:#}");
    assert_eq!(evidence["services"][0], "payment", "{evidence:#}");
    let text = evidence["summary"].as_str().expect("a summary");
    assert!(text.contains("payment") && text.contains("2.4.1"), "{text}");
    let traces = evidence["traces"].as_array().expect("traces");
    assert!(!traces.is_empty() && traces[0]["trace_id"].as_str().is_some_and(|id| id.len() == 32), "{traces:?}");
    let patterns = evidence["log_patterns"].as_array().expect("patterns").iter();
    let said =
        |pattern: &&Value| pattern["pattern"].as_str().is_some_and(|text| text.contains("connection pool exhausted"));
    let exhausted = patterns.clone().find(said).unwrap_or_else(|| panic!("{evidence:#}"));
    let samples = exhausted["samples"].as_array().expect("samples").len();
    assert!(exhausted["service"] == "payment" && (1..=3).contains(&samples), "{exhausted:#}");
    assert!(evidence["attributes"].as_array().is_some_and(|found| !found.is_empty()), "{evidence:#}");
    let deploys = evidence["deploys"].as_array().expect("deploys");
    assert!(deploys.iter().any(|deploy| deploy["service"] == "payment" && deploy["version"] == "2.4.1"), "{deploys:?}");
}

/// Scenario: `trivium serve --demo` with its rules and SLOs, a webhook and a mail server; the bad deploy is 20 minutes old.
/// Guarantee: rules in PromQL, over logs and in SQL see it and the SLO of the checkout burns; all of it is one incident, told in
/// one notification that names payment 2.4.1 as its origin, with traces, log patterns and attributes; the mail says so too.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_incident_is_told_once_with_its_origin() {
    let (folder, inbox, postbox) = (tempdir().expect("a folder"), Inbox::open().await, Postbox::open().await);
    let receivers = RECEIVERS.replace("URL", &inbox.url("people")).replace("SMTP", &postbox.address);
    let receivers = file(folder.path(), "alertmanager.yml", &receivers);
    let flags = [
        "--demo",
        "--alertmanager-config",
        &receivers,
        "--notify-allow-networks",
        "127.0.0.0/8",
        "--evaluation-interval",
        "5s",
    ];
    let server = Server::start(&folder.path().join("data"), &flags);
    // RequestsFail waits for a minute; that it waits is enough here.
    let wanted = ["ConnectionPoolExhausted", "OrdersLost", "RequestsFail"].map(str::to_owned);
    eventually("the rules see the incident", async || {
        let found = firing(&server).await;
        if wanted.iter().all(|name| found.contains(name)) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    eventually("the SLO of the checkout burns", async || {
        let slo = server.get("/api/v1/slos/checkout").await;
        let (left, rate) = (slo["budget"]["left_share"].as_f64(), slo["burn_rate_1h"].as_f64());
        // An hour of errors is a part of the week's budget, not many times all of it.
        let burns = left.is_some_and(|left| (0.0..0.95).contains(&left)) && rate.is_some_and(|rate| rate > 1.0);
        if burns { Ok(()) } else { Err(format!("{:#}\n{:#}", slo["budget"], slo["burn_rates"])) }
    })
    .await;

    let told = inbox.notification("people", 0).await;
    assert_eq!(told["status"], "firing");
    let alerts = told["alerts"].as_array().expect("alerts");
    let incidents: BTreeSet<&str> = alerts.iter().filter_map(|alert| alert["incident"].as_str()).collect();
    assert_eq!(incidents.len(), 1, "{told:#}");
    let names: BTreeSet<&str> = alerts.iter().filter_map(|alert| alert["labels"]["alertname"].as_str()).collect();
    assert!(names.is_superset(&["ConnectionPoolExhausted", "OrdersLost"].into()), "{names:?}");
    for alert in alerts {
        check_evidence(&alert["evidence"]);
    }
    let mail = eventually("a mail", async || postbox.mails().first().cloned().ok_or_else(String::new)).await;
    for part in ["payment", "2.4.1", "connection pool exhausted", "/trace/"] {
        assert!(mail.contains(part), "{part}:\n{mail}");
    }
    let groups: BTreeSet<String> =
        inbox.received("people").iter().map(|payload| payload["groupKey"].to_string()).collect();
    assert_eq!(groups.len(), 1, "one incident, one group: {groups:?}");
}
