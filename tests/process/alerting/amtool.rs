//! Debian's `amtool` at our Alertmanager API, and what it does to alerts of our rules.

use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use super::means::{Inbox, eventually, file, write, write_url};
use crate::support::{Server, output_of};

const AMTOOL: &str = "/usr/bin/amtool";

const RULES: &str = "
groups:
- name: shop
  interval: 1s
  rules:
  - alert: QueueLong
    expr: queue_depth > 10
";

const RECEIVER: &str = "
route: {receiver: people, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: people, webhook_configs: [{url: 'URL'}]}]
";

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn is_missing() -> bool {
    let is_missing = !Path::new(AMTOOL).exists();
    if is_missing {
        println!("skipped: {AMTOOL} is not there; `make test` installs it");
    }
    is_missing
}

fn amtool(server: &Server, arguments: &[&str]) -> String {
    let mut command = Command::new(AMTOOL);
    let command = command.arg(format!("--alertmanager.url={}/alertmanager", server.http)).args(arguments);
    tokio::task::block_in_place(|| output_of(command))
}

/// The jobs and statuses of all that was told so far, in order, without the evidence that is told later.
fn told(inbox: &Inbox) -> Vec<String> {
    let alerts = inbox.news("people").into_iter().map(|payload| payload["alerts"][0].clone());
    alerts.map(|alert| format!("{} {}", alert["labels"]["job"], alert["status"]).replace('"', "")).collect()
}

async fn until_told(inbox: &Inbox, expected: &[&str]) {
    eventually(&format!("{expected:?} was told"), async || {
        let told = told(inbox);
        if told.len() >= expected.len() { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    assert_eq!(told(inbox), expected);
}

/// Scenario: a person silences a job, its alert of a rule fires with another's, the silence is ended; an alert is added by hand.
/// Guarantee: `amtool` understands our answers and we its requests; what is silenced is shown as such and told to nobody until
/// the silence ends; everything else is told.
#[tokio::test(flavor = "multi_thread")]
async fn amtool_silences_the_alerts_of_rules() {
    if is_missing() {
        return;
    }
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let rules = file(folder.path(), "rules.yml", RULES);
    let receiver = file(folder.path(), "alertmanager.yml", &RECEIVER.replace("URL", &inbox.url("people")));
    let flags = ["--rules", &rules, "--alertmanager-config", &receiver, "--notify-allow-networks", "127.0.0.0/8"];
    let server = Server::start(&folder.path().join("data"), &flags);

    let silence = amtool(
        &server,
        &["silence", "add", "alertname=QueueLong", "job=~ord.*", "-c", "known", "-a", "ann", "-d", "1h"],
    );
    let silence = silence.trim();
    let listed = amtool(&server, &["silence", "query", "job=~ord.*"]);
    assert!(listed.contains(silence) && listed.contains("known") && listed.contains("ann"), "{listed}");
    let series = |job| [("__name__", "queue_depth"), ("job", job)];
    write(&write_url(&server), &[(&series("orders"), 42.0)]).await;
    eventually("amtool sees the silenced alert", async || {
        let shown = amtool(&server, &["alert", "query", "--silenced", "alertname=QueueLong", "-o", "json"]);
        if shown.contains("orders") && shown.contains(silence) { Ok(()) } else { Err(shown) }
    })
    .await;
    // It came before the one that is told, and its group waits as little.
    write(&write_url(&server), &[(&series("invoices"), 42.0)]).await;
    until_told(&inbox, &["invoices firing"]).await;
    let active = amtool(&server, &["alert", "query", "alertname=QueueLong", "-o", "json"]);
    assert!(active.contains("invoices") && !active.contains("orders"), "{active}");

    amtool(&server, &["alert", "add", "alertname=Manual", "job=hand", "--annotation=summary=by hand"]);
    until_told(&inbox, &["invoices firing", "hand firing"]).await;
    amtool(&server, &["silence", "expire", silence]);
    until_told(&inbox, &["invoices firing", "hand firing", "orders firing"]).await;
    assert!(amtool(&server, &["silence", "query", "--expired"]).contains(silence));
    assert!(!amtool(&server, &["silence", "query"]).contains(silence));

    let configuration = file(folder.path(), "shown.yml", &amtool(&server, &["config", "show"]));
    amtool(&server, &["check-config", &configuration]);
    assert!(amtool(&server, &["config", "routes", "show"]).contains("receiver: people"));
    let noted = "SELECT count(*) FROM notifications_history WHERE outcome = 'sent' AND reason <> 'evidence'";
    eventually("three notifications are in the history", async || match server.number(noted).await {
        3 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
}
