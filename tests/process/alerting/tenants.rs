//! Each tenant's rules, SLOs, silences and notifications are its own.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::means::{Inbox, eventually, file, now};
use crate::credentials::{ask, get, new_token, post};
use crate::support::Server;

const RULES: &str = r#"
groups:
- name: shop
  interval: 1s
  rules:
  - alert: QueueLong
    expr: queue_depth > 10
    annotations: {summary: "{{ $labels.job }} has {{ $value }} waiting"}
  - alert: QueueOld
    expr: queue_age > 10
"#;

const SLOS: &str = "
slos:
- name: pay
  service: payment
  objective: 99
  window: 7d
  indicator: {promql: {bad: errors_total, total: calls_total}}
";

/// A tenant as its people and services meet the server.
struct Tenant {
    name: &'static str,
    ingest: String,
    editor: String,
}

async fn tenant(server: &Server, admin: &str, name: &'static str) -> Tenant {
    post(server, "/api/v1/auth/tenants", admin, json!({"name": name})).await;
    let (ingest, _) = new_token(server, admin, "ingest", Some(name)).await;
    let (editor, _) = new_token(server, admin, "editor", Some(name)).await;
    Tenant { name, ingest, editor }
}

/// The folder of a tenant: rules that are the same for all, SLOs named after it, a receiver of its own.
fn configure(tenants: &Path, name: &str, inbox: &Inbox) {
    let folder = tenants.join(name);
    std::fs::create_dir_all(folder.join("rules")).expect("made");
    std::fs::create_dir_all(folder.join("slos")).expect("made");
    file(&folder.join("rules"), "shop.yaml", RULES);
    file(&folder.join("slos"), "slos.yml", &SLOS.replace("name: pay", &format!("name: pay-{name}")));
    let receivers = format!(
        "route: {{receiver: people, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: people, webhook_configs: [{{url: '{}'}}]}}]\n",
        inbox.url(name)
    );
    file(&folder, "alertmanager.yml", &receivers);
}

fn start(folder: &Path) -> Server {
    let tenants = folder.join("tenants").display().to_string();
    let flags = ["--auth", "required", "--tenants-dir", &tenants, "--notify-allow-networks", "127.0.0.0/8"];
    Server::start(&folder.join("data"), &flags)
}

async fn queue(server: &Server, tenant: &Tenant, depth: f64) {
    gauge(server, tenant, "queue_depth", depth).await;
}

async fn gauge(server: &Server, tenant: &Tenant, name: &str, value: f64) {
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": tenant.name}}]},
        "scopeMetrics": [{"metrics": [{"name": name, "gauge": {"dataPoints": [
            {"timeUnixNano": now().to_string(), "asDouble": value},
        ]}}]}],
    }]});
    let url = format!("{}/v1/metrics", server.otlp_http);
    let (status, answer) = ask(server, Method::POST, url, Some(&tenant.ingest), Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

async fn alerts(server: &Server, token: &str) -> Vec<Value> {
    let (status, answer) = get(server, "/api/v1/alerts", Some(token)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["data"]["alerts"].as_array().expect("alerts").clone()
}

async fn firing(server: &Server, tenant: &Tenant) -> Value {
    eventually(&format!("{} has an alert", tenant.name), async || {
        let alerts = alerts(server, &tenant.editor).await;
        alerts.iter().find(|alert| alert["state"] == "firing").cloned().ok_or_else(|| format!("{alerts:?}"))
    })
    .await
}

async fn rows(server: &Server, token: &str, sql: &str) -> u64 {
    let answer = post(server, "/api/v1/sql", token, json!({"sql": sql})).await;
    answer["rows"][0][0]
        .as_str()
        .map_or_else(|| answer["rows"][0][0].as_u64(), |text| text.parse().ok())
        .expect("a number")
}

async fn reload(server: &Server, admin: &str) -> (StatusCode, Value) {
    ask(server, Method::POST, format!("{}/-/reload", server.http), Some(admin), None).await
}

/// Everything about alerts that a tenant can ask for.
async fn all_of(server: &Server, token: &str) -> String {
    let mut all = String::new();
    for path in [
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/incidents",
        "/api/v1/slos",
        "/alertmanager/api/v2/alerts",
        "/alertmanager/api/v2/alerts/groups",
        "/alertmanager/api/v2/silences",
        "/alertmanager/api/v2/receivers",
        "/prometheus/api/v1/query?query=ALERTS",
        "/prometheus/api/v1/query?query=slo:objective:ratio",
    ] {
        let (status, answer) = get(server, path, Some(token)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        all.push_str(&answer.to_string());
    }
    for table in ["alerts_history", "notifications_history"] {
        let body = json!({"sql": format!("SELECT * FROM {table}")});
        all.push_str(&post(server, "/api/v1/sql", token, body).await.to_string());
    }
    all
}

/// Scenario: two tenants with the same rules; the queue of one of them grows, it is told, silences for a while, and the server
/// restarts.
/// Guarantee: the other tenant and the default one see nothing of it and are told nothing; after the restart the alert goes on
/// as it was, and is not told again, while one that is new is told.
#[tokio::test]
async fn a_tenant_has_rules_and_notifications_of_its_own() {
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let tenants = folder.path().join("tenants");
    for name in ["acme", "beta", "nobody"] {
        configure(&tenants, name, &inbox);
    }
    let server = start(folder.path());
    let first = std::fs::read_to_string(folder.path().join("data/first-admin-token")).expect("the first token");
    let (admin, _) = new_token(&server, first.trim(), "admin", None).await;
    let acme = tenant(&server, &admin, "acme").await;
    let beta = tenant(&server, &admin, "beta").await;
    let (status, answer) = reload(&server, &admin).await;
    assert!(status.is_success() && answer.to_string().contains("2 more tenants"), "{answer}");

    queue(&server, &acme, 42.0).await;
    queue(&server, &beta, 3.0).await;
    let alert = firing(&server, &acme).await;
    assert_eq!(alert["annotations"]["summary"], "acme has 42 waiting");
    let told = inbox.notification("acme", 0).await;
    assert_eq!(told["alerts"][0]["labels"]["job"], "acme", "{told:#}");
    let silence = json!({
        "matchers": [{"name": "job", "value": "acme", "isRegex": false}], "createdBy": "ann of acme", "comment": "known",
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
    });
    let silence = post(&server, "/alertmanager/api/v2/silences", &acme.editor, silence).await;

    let own = all_of(&server, &acme.editor).await;
    for part in ["QueueLong", "ann of acme", "pay-acme", "acme has 42"] {
        assert!(own.contains(part), "acme does not see {part}:\n{own}");
    }
    for (who, token) in [("beta", &beta.editor), ("the default tenant", &admin)] {
        let seen = all_of(&server, token).await;
        assert!(!seen.contains("acme"), "{who} sees what is acme's:\n{seen}");
        assert_eq!(alerts(&server, token).await, Vec::<Value>::new(), "{who}");
    }
    assert!(all_of(&server, &beta.editor).await.contains("pay-beta"));
    let (status, metrics) = (server.client().get(format!("{}/metrics", server.http)).bearer_auth(&admin))
        .send()
        .await
        .map(|answer| (answer.status(), answer))
        .expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(status.is_success() && metrics.contains("tenant=\"acme\""), "{metrics}");

    // Silenced, it could not be told again whatever the restart forgets.
    let ended =
        format!("{}/alertmanager/api/v2/silence/{}", server.http, silence["silenceID"].as_str().expect("an ID"));
    let (status, answer) = ask(&server, Method::DELETE, ended, Some(&acme.editor), None).await;
    assert!(status.is_success(), "{answer}");
    eventually("what was told is in the history", async || {
        let sent = "SELECT count(*) FROM notifications_history WHERE outcome = 'sent' AND reason <> 'evidence'";
        match rows(&server, &acme.editor, sent).await {
            1 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;

    server.kill();
    let server = start(folder.path());
    queue(&server, &acme, 43.0).await;
    let again = eventually("the alert goes on", async || {
        let alert = firing(&server, &acme).await;
        if alert["annotations"]["summary"] == "acme has 43 waiting" { Ok(alert) } else { Err(alert.to_string()) }
    })
    .await;
    assert_eq!(again["activeAt"], alert["activeAt"], "the alert began anew");
    assert_eq!(rows(&server, &beta.editor, "SELECT count(*) FROM alerts_history").await, 0);
    // Its group waits as long as that of the first, which began before it.
    gauge(&server, &acme, "queue_age", 11.0).await;
    let next = inbox.notification("acme", 1).await;
    let told: Vec<&str> = next["alerts"].as_array().expect("alerts").iter().filter_map(name_of).collect();
    assert_eq!(told, ["QueueOld"], "{next:#}");
    assert_eq!(inbox.news("acme").len(), 2, "{:#?}", inbox.news("acme"));
    assert_eq!((inbox.news("beta").len(), inbox.news("nobody").len()), (0, 0));
}

/// Scenario: the alerting of a tenant is at work when its folder gets an `alerting.yml` that names an Alertmanager; then another
/// one is named, then none.
/// Guarantee: each reload takes effect: alerts go to the Alertmanager that is named when they are told, and not to the tenant's
/// own receivers.
#[tokio::test]
async fn a_reload_takes_the_alertmanagers_of_a_tenant() {
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let tenants = folder.path().join("tenants");
    configure(&tenants, "acme", &inbox);
    let server = start(folder.path());
    let first = std::fs::read_to_string(folder.path().join("data/first-admin-token")).expect("the first token");
    let (admin, _) = new_token(&server, first.trim(), "admin", None).await;
    let acme = tenant(&server, &admin, "acme").await;
    reload(&server, &admin).await;
    let named = async || {
        let (_, answer) = get(&server, "/prometheus/api/v1/alertmanagers", Some(&acme.editor)).await;
        answer["data"]["activeAlertmanagers"].clone()
    };
    assert_eq!(named().await, json!([]));

    for (name, metric, alert) in [("first", "queue_depth", "QueueLong"), ("second", "queue_age", "QueueOld")] {
        file(&tenants.join("acme"), "alerting.yml", &alertmanager(&inbox, name));
        let (status, answer) = reload(&server, &admin).await;
        assert!(status.is_success(), "{answer}");
        assert_eq!(named().await, json!([{"url": inbox.url(name)}]));
        gauge(&server, &acme, metric, 42.0).await;
        eventually(&format!("{alert} is told to the {name}"), async || {
            let told = told_to(&inbox, name);
            if told.iter().any(|told| told == alert) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    }
    assert!(!told_to(&inbox, "first").contains(&"QueueOld".to_owned()), "{:?}", told_to(&inbox, "first"));
    assert_eq!(inbox.received("acme"), Vec::<Value>::new(), "the tenant's own receivers");
    std::fs::remove_file(tenants.join("acme/alerting.yml")).expect("the file is ours");
    assert!(reload(&server, &admin).await.0.is_success());
    assert_eq!(named().await, json!([]));
}

/// A file that names an Alertmanager, whose requests come to the inbox below a path.
fn alertmanager(inbox: &Inbox, path: &str) -> String {
    let root = inbox.url("");
    let address = root.trim_start_matches("http://").trim_end_matches('/');
    format!("alerting: {{alertmanagers: [{{path_prefix: /{path}, static_configs: [{{targets: ['{address}']}}]}}]}}\n")
}

/// The names of the alerts that an Alertmanager was sent.
fn told_to(inbox: &Inbox, path: &str) -> Vec<String> {
    let requests = inbox.received(&format!("{path}/api/v2/alerts"));
    let alerts = requests.iter().flat_map(|alerts| alerts.as_array().expect("alerts"));
    alerts.filter_map(name_of).map(str::to_owned).collect()
}

fn name_of(alert: &Value) -> Option<&str> {
    alert["labels"]["alertname"].as_str()
}

/// Scenario: a tenant's file is wrong at a reload, and still when the server starts again.
/// Guarantee: the reload changes nothing and names the tenant and the file; the server starts, the other tenant's rules are
/// evaluated, and the first one is told what is wrong, with a status that says to come again.
#[tokio::test]
async fn a_wrong_file_of_one_tenant_does_not_stop_the_others() {
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let tenants = folder.path().join("tenants");
    configure(&tenants, "acme", &inbox);
    configure(&tenants, "beta", &inbox);
    let server = start(folder.path());
    let first = std::fs::read_to_string(folder.path().join("data/first-admin-token")).expect("the first token");
    let (admin, _) = new_token(&server, first.trim(), "admin", None).await;
    let acme = tenant(&server, &admin, "acme").await;
    let beta = tenant(&server, &admin, "beta").await;
    reload(&server, &admin).await;

    file(&tenants.join("beta/rules"), "shop.yaml", &RULES.replace("queue_depth > 10", "sum(("));
    file(&tenants.join("acme/rules"), "more.yaml", &RULES.replace("QueueLong", "QueueLonger").replace("shop", "more"));
    let (status, answer) = reload(&server, &admin).await;
    let told = answer.to_string();
    assert_eq!(status, StatusCode::BAD_REQUEST, "{told}");
    assert!(told.contains("tenant beta") && told.contains("shop.yaml"), "{told}");
    let (_, rules) = get(&server, "/api/v1/rules", Some(&acme.editor)).await;
    assert!(!rules.to_string().contains("QueueLonger"), "a part of a refused reload took effect: {rules}");

    server.kill();
    let server = start(folder.path());
    queue(&server, &acme, 42.0).await;
    firing(&server, &acme).await;
    let answer = server.client().get(format!("{}/api/v1/rules", server.http)).bearer_auth(&beta.editor).send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let told = answer.text().await.expect("text");
    assert!(told.contains("shop.yaml"), "{told}");
    file(&tenants.join("beta/rules"), "shop.yaml", RULES);
    assert!(reload(&server, &admin).await.0.is_success());
    queue(&server, &beta, 42.0).await;
    firing(&server, &beta).await;
}
