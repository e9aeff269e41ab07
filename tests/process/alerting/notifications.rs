//! Notifications as people and programs receive them.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::means::{Inbox, Postbox, eventually, file, keys, seconds, write, write_url};
use crate::support::Server;

const RULES: &str = r#"
groups:
- name: shop
  interval: 1s
  rules:
  - alert: QueueLong
    expr: queue_depth > 10
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} has {{ $value }} waiting"}
"#;

const RECEIVERS: &str = "
global: {smtp_smarthost: 'SMTP', smtp_from: trivium@example.com, smtp_require_tls: false}
route: {receiver: people, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers:
- name: people
  webhook_configs: [{url: 'URL'}]
  email_configs: [{to: ann@example.com, send_resolved: true}]
";

fn start(folder: &Path, inbox: &Inbox, postbox: &Postbox, flags: &[&str]) -> Server {
    let rules = file(folder, "rules.yml", RULES);
    let receivers = RECEIVERS.replace("URL", &inbox.url("people")).replace("SMTP", &postbox.address);
    let receivers = file(folder, "alertmanager.yml", &receivers);
    let own =
        ["--rules", &rules, "--alertmanager-config", &receivers, "--external-url", "https://trivium.example.com/"];
    Server::start(&folder.join("data"), &[&own, flags].concat())
}

async fn queues(server: &Server, orders: f64, invoices: f64) {
    let series = |job| [("__name__", "queue_depth"), ("job", job)];
    write(&write_url(server), &[(&series("orders"), orders), (&series("invoices"), invoices)]).await;
}

/// Waits for a mail with this in it.
async fn mail(postbox: &Postbox, part: &str) -> String {
    eventually(&format!("a mail with {part}"), async || {
        let mails = postbox.mails();
        mails.iter().find(|mail| mail.contains(part)).cloned().ok_or_else(|| mails.join("\n---\n"))
    })
    .await
}

/// The alert of a job in a payload.
fn alert_of<'a>(payload: &'a Value, job: &str) -> &'a Value {
    let alerts = payload["alerts"].as_array().expect("alerts");
    alerts.iter().find(|alert| alert["labels"]["job"] == job).unwrap_or_else(|| panic!("{job}: {payload:#}"))
}

/// Scenario: two alerts of one group fire, one resolves, then the other; the group is told to a webhook and by mail.
/// Guarantee: one notification for both alerts, with Alertmanager's payload of version 4 in full; what has resolved is told as
/// resolved; the mail says the same; each notification is a row of `notifications_history` with its outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_and_a_mail_tell_the_same() {
    let (folder, inbox, postbox) = (tempdir().expect("a folder"), Inbox::open().await, Postbox::open().await);
    let server = start(folder.path(), &inbox, &postbox, &["--notify-allow-networks", "127.0.0.0/8"]);
    queues(&server, 42.0, 11.0).await;

    let first = inbox.notification("people", 0).await;
    let members = [
        "version",
        "groupKey",
        "truncatedAlerts",
        "receiver",
        "status",
        "alerts",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
    ];
    assert!(keys(&first).is_superset(&members.into()), "{first:#}");
    let told = ["version", "receiver", "status", "groupKey", "externalURL"].map(|member| first[member].as_str());
    let expected = ["4", "people", "firing", r#"{}:{alertname="QueueLong"}"#, "https://trivium.example.com"];
    assert_eq!(told, expected.map(Some));
    assert_eq!(
        (&first["truncatedAlerts"], first["alerts"].as_array().map(Vec::len)),
        (&json!(0), Some(2)),
        "{first:#}"
    );
    assert_eq!(first["groupLabels"], json!({"alertname": "QueueLong"}));
    assert_eq!(first["commonLabels"], json!({"alertname": "QueueLong", "severity": "page"}));
    assert_eq!(first["commonAnnotations"], json!({}), "their summaries differ");
    let alert = alert_of(&first, "orders");
    let members = ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"];
    assert!(keys(alert).is_superset(&members.into()), "{alert:#}");
    assert_eq!(alert["labels"], json!({"alertname": "QueueLong", "job": "orders", "severity": "page"}));
    assert_eq!(alert["annotations"]["summary"], "orders has 42 waiting");
    assert_eq!((&alert["status"], &alert["endsAt"]), (&json!("firing"), &json!("0001-01-01T00:00:00Z")));
    let link = alert["generatorURL"].as_str().expect("a link");
    assert!(link.starts_with("https://trivium.example.com/") && link.contains("queue_depth"), "{link}");
    assert_eq!(alert["fingerprint"].as_str().map(str::len), Some(16), "{alert}");
    let text = mail(&postbox, "[FIRING:2] QueueLong").await;
    for expected in ["MAIL FROM:<trivium@example.com>", "RCPT TO:<ann@example.com>", "42 waiting"] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }

    queues(&server, 42.0, 1.0).await;
    let second = inbox.notification("people", 1).await;
    assert_eq!((&second["status"], &alert_of(&second, "invoices")["status"]), (&json!("firing"), &json!("resolved")));
    queues(&server, 1.0, 1.0).await;
    let third = inbox.notification("people", 2).await;
    let resolved = alert_of(&third, "orders");
    assert_eq!((&third["status"], &resolved["fingerprint"]), (&json!("resolved"), &alert["fingerprint"]));
    assert_eq!(resolved["startsAt"], alert["startsAt"]);
    assert!(seconds(&resolved["endsAt"]) > seconds(&resolved["startsAt"]), "{resolved}");
    assert_eq!(third["alerts"].as_array().map(Vec::len), Some(1), "what was told to have ended is not told again");
    mail(&postbox, "[RESOLVED] QueueLong").await;

    let rows = "SELECT integration, outcome, error, alerts_total FROM notifications_history \
                WHERE reason <> 'evidence' ORDER BY time";
    let rows = eventually("six notifications are in the history", async || {
        let rows = server.sql(rows).await;
        if rows.len() == 6 { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
    .await;
    for row in &rows {
        assert_eq!((&row[1], &row[2]), (&json!("sent"), &Value::Null), "{row}");
    }
    for integration in ["webhook", "email"] {
        let counts: Vec<String> =
            rows.iter().filter(|row| row[0] == integration).map(|row| row[3].to_string().replace('"', "")).collect();
        assert_eq!(counts, ["2", "2", "1"], "{integration}: {rows:?}");
    }
}

/// Scenario: receivers in a private network that the operator has not allowed.
/// Guarantee: nothing is sent there, and the history says for each receiver what was refused and what allows it.
#[tokio::test(flavor = "multi_thread")]
async fn private_networks_are_refused_unless_allowed() {
    let (folder, inbox, postbox) = (tempdir().expect("a folder"), Inbox::open().await, Postbox::open().await);
    let server = start(folder.path(), &inbox, &postbox, &[]);
    queues(&server, 42.0, 1.0).await;
    let rows = "SELECT DISTINCT integration, outcome, error FROM notifications_history ORDER BY integration";
    let rows = eventually("both refusals are in the history", async || {
        let rows = server.sql(rows).await;
        if rows.len() >= 2 { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
    .await;
    for (row, integration) in rows.iter().zip(["email", "webhook"]) {
        assert_eq!((&row[0], &row[1]), (&json!(integration), &json!("failed")), "{rows:?}");
        let error = row[2].as_str().expect("an error");
        assert!(error.contains("127.0.0.1") && error.contains("notify_allow_networks"), "{error}");
    }
    assert_eq!((inbox.received("people").len(), postbox.mails().len()), (0, 0));
}
