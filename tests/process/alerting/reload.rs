//! `POST /-/reload` and SIGHUP: all or nothing.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::means::{eventually, file, write, write_url};
use crate::support::Server;

fn rules(alert: &str) -> String {
    format!(
        "groups:\n- name: shop\n  interval: 1s\n  rules:\n  - alert: Stays\n    expr: queue_depth > 10\n    for: 1h\n\
        \x20 - alert: {alert}\n    expr: vector(1)\n"
    )
}

fn slos(name: &str) -> String {
    format!(
        "slos:\n- name: {name}\n  service: shop\n  objective: 99\n  window: 7d\n\
        \x20 indicator: {{promql: {{bad: errors_total, total: calls_total}}}}\n"
    )
}

fn receivers(name: &str) -> String {
    format!("route: {{receiver: {name}}}\nreceivers: [{{name: {name}}}]\n")
}

fn scrape(job: &str) -> String {
    format!("scrape_configs: [{{job_name: {job}, static_configs: [{{targets: ['127.0.0.1:9']}}]}}]\n")
}

const FILES: [&str; 4] = ["rules.yml", "slos.yaml", "alertmanager.yml", "scrape.yml"];

/// Writes all files with this word in them.
fn configure(folder: &Path, word: &str) -> [String; 4] {
    let texts = [rules(word), slos(word), receivers(word), scrape(word)];
    std::array::from_fn(|number| file(folder, FILES[number], &texts[number]))
}

/// What is in force, by what it calls itself.
async fn in_force(server: &Server) -> Vec<String> {
    let rules = server.get("/api/v1/rules?rule_group[]=shop&type=alert").await;
    let slos = server.get("/api/v1/slos").await;
    let receivers = server.get("/alertmanager/api/v2/receivers").await;
    let scraped = server.get("/prometheus/api/v1/scrape_pools").await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    vec![
        text(&rules["data"]["groups"][0]["rules"][1]["name"]),
        text(&slos["slos"][0]["name"]),
        text(&receivers[0]["name"]),
        text(&scraped["data"]["scrapePools"][0]),
    ]
}

async fn until_in_force(server: &Server, word: &str) {
    eventually(&format!("{word} is in force everywhere"), async || {
        let found = in_force(server).await;
        if found.iter().all(|name| name == word) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

async fn reload(server: &Server) -> (u16, Value) {
    let answer = server.client().post(format!("{}/-/reload", server.http)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn pending(server: &Server) -> Value {
    eventually("the alert is pending", async || {
        let answer = server.get("/api/v1/alerts").await;
        let alerts = answer["data"]["alerts"].as_array().expect("alerts").iter();
        let found = alerts.into_iter().find(|alert| alert["labels"]["alertname"] == "Stays").cloned();
        found.ok_or_else(|| answer.to_string())
    })
    .await
}

/// Scenario: rules, SLOs, receivers and the scrape configuration change together; then one of the four is wrong, each in turn;
/// then they change again, and the process gets SIGHUP.
/// Guarantee: either all four are replaced or none, and the refusal names the file and what is wrong in it; an alert that was
/// pending stays so since the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn all_files_are_replaced_or_none() {
    let folder = tempdir().expect("a folder");
    let paths = configure(folder.path(), "first");
    let flags = ["--rules", "--slos", "--alertmanager-config", "--scrape-config"];
    let flags: Vec<&str> = flags.into_iter().zip(&paths).flat_map(|(flag, path)| [flag, path]).collect();
    let server = Server::start(&folder.path().join("data"), &flags);
    until_in_force(&server, "first").await;
    write(&write_url(&server), &[(&[("__name__", "queue_depth"), ("job", "orders")], 42.0)]).await;
    let since = pending(&server).await["activeAt"].clone();

    configure(folder.path(), "second");
    let (status, answer) = reload(&server).await;
    assert_eq!((status, &answer["message"]), (200, &json!("settings need a restart")), "{answer}");
    until_in_force(&server, "second").await;
    assert_eq!(pending(&server).await["activeAt"], since);

    for (name, wrong, reason) in [
        ("rules.yml", "groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]\n", "parenthesis"),
        (
            "slos.yaml",
            "slos: [{name: shop, service: s, objective: 101, window: 7d, indicator: {promql: {bad: a, total: b}}}]\n",
            "101",
        ),
        ("alertmanager.yml", "route: {receiver: nobody}\nreceivers: [{name: somebody}]\n", "nobody"),
        ("scrape.yml", "scrape_configs: [{job_name: a, scrape_intervall: 1s}]\n", "scrape_intervall"),
    ] {
        configure(folder.path(), "third");
        file(folder.path(), name, wrong);
        let (status, answer) = reload(&server).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(name) && message.contains(reason), "{name}: {answer}");
        assert_eq!((status, message.contains("stays in force")), (400, true), "{answer}");
        assert_eq!(in_force(&server).await, ["second"; 4], "after {name}");
    }
    configure(folder.path(), "third");
    assert_eq!(reload(&server).await.0, 200);
    until_in_force(&server, "third").await;
    configure(folder.path(), "fourth");
    server.hang_up();
    until_in_force(&server, "fourth").await;
    assert_eq!(pending(&server).await["activeAt"], since);
}
