//! A server that wants credentials, as its clients meet it: who is refused, whose data are seen, what a restart keeps.

use std::path::Path;
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{BINARY, Server, output_of};

fn start(folder: &Path) -> Server {
    Server::start(folder, &["--auth", "required"])
}

/// Asks with a token, or with none; the status and the answer, `Null` when it is no JSON.
pub(crate) async fn ask(
    server: &Server,
    method: Method,
    url: String,
    token: Option<&str>,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut request = server.client().request(method, url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("the server answers");
    (answer.status(), answer.json().await.unwrap_or_default())
}

pub(crate) async fn get(server: &Server, path: &str, token: Option<&str>) -> (StatusCode, Value) {
    ask(server, Method::GET, format!("{}{path}", server.http), token, None).await
}

pub(crate) async fn post(server: &Server, path: &str, token: &str, body: Value) -> Value {
    let (status, answer) = ask(server, Method::POST, format!("{}{path}", server.http), Some(token), Some(body)).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

pub(crate) async fn new_token(server: &Server, admin: &str, role: &str, tenant: Option<&str>) -> (String, String) {
    let body = json!({"name": format!("{role} of {tenant:?}"), "role": role, "tenant": tenant});
    let made = post(server, "/api/v1/auth/tokens", admin, body).await;
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&made["token"]), text(&made["info"]["id"]))
}

/// Sends one log record and one data point that say the word.
async fn export(server: &Server, token: Option<&str>, word: &str) -> StatusCode {
    let logs = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": word}}]},
        "scopeLogs": [{"logRecords": [{
            "timeUnixNano": now_nanos().to_string(), "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "body": {"stringValue": format!("the word is {word}")},
        }]}],
    }]});
    let metrics = json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": word}}]},
        "scopeMetrics": [{"metrics": [{"name": "words", "gauge": {"dataPoints": [{"timeUnixNano": now_nanos().to_string(), "asDouble": 1.0}]}}]}],
    }]});
    let mut statuses = Vec::new();
    for (signal, body) in [("logs", logs), ("metrics", metrics)] {
        let url = format!("{}/v1/{signal}", server.otlp_http);
        statuses.push(ask(server, Method::POST, url, token, Some(body)).await.0);
    }
    assert_eq!(statuses[0], statuses[1]);
    statuses[0]
}

#[expect(clippy::disallowed_methods, reason = "the server under test has the real clock too")]
fn now_nanos() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos()
}

/// Everything that reads telemetry.
async fn read_all(server: &Server, token: &str) -> String {
    let mut all = String::new();
    for path in [
        "/api/v1/logs?query=word",
        "/api/v1/correlate/4bf92f3577b34da6a3ce929d0e0e4736",
        "/api/v1/traces/4bf92f3577b34da6a3ce929d0e0e4736",
        "/api/v1/services",
        "/prometheus/api/v1/query?query=words",
        "/prometheus/api/v1/series?match%5B%5D=words",
        "/prometheus/api/v1/label/job/values",
    ] {
        let (status, answer) = get(server, path, Some(token)).await;
        assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{path}: {status} {answer}");
        all.push_str(&answer.to_string());
    }
    for table in ["logs", "metrics"] {
        let body = json!({"sql": format!("SELECT * FROM {table}")});
        all.push_str(&post(server, "/api/v1/sql", token, body).await.to_string());
    }
    all
}

#[tokio::test]
async fn every_door_is_closed_to_strangers_and_tenants_see_their_own() {
    let folder = tempdir().expect("a folder");
    let server = start(folder.path());
    let first = std::fs::read_to_string(folder.path().join("first-admin-token")).expect("the first token");
    let first = first.trim();

    for path in ["/api/v1/logs", "/api/v1/alerts", "/metrics", "/prometheus/api/v1/labels", "/api/v1/auth/tokens"] {
        for token in [None, Some("trv_made_up"), Some(&first[..first.len() - 1])] {
            let (status, answer) = get(&server, path, token).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {token:?}: {answer}");
        }
    }
    for (path, expected) in
        [("/healthz", StatusCode::OK), ("/", StatusCode::OK), ("/nowhere", StatusCode::UNAUTHORIZED)]
    {
        assert_eq!(get(&server, path, None).await.0, expected, "{path}");
    }
    assert_eq!(export(&server, None, "nobody").await, StatusCode::UNAUTHORIZED);

    let mut words = Vec::new();
    for tenant in ["acme", "beta"] {
        post(&server, "/api/v1/auth/tenants", first, json!({"name": tenant})).await;
        let (ingest, _) = new_token(&server, first, "ingest", Some(tenant)).await;
        let (viewer, _) = new_token(&server, first, "viewer", Some(tenant)).await;
        let word = format!("canary{tenant}");
        assert_eq!(export(&server, Some(&ingest), &word).await, StatusCode::OK);
        assert_eq!(export(&server, Some(&viewer), "intruder").await, StatusCode::FORBIDDEN);
        assert_eq!(get(&server, "/api/v1/logs", Some(&ingest)).await.0, StatusCode::FORBIDDEN);
        let (_, info) = get(&server, "/prometheus/api/v1/status/runtimeinfo", Some(&viewer)).await;
        assert_eq!(info["data"]["otlp"]["http"]["token"], true, "who wants to send is told so: {info}");
        words.push((word, viewer, ingest));
    }
    // Open buffers first, then parts.
    for _ in 0..2 {
        for (own, viewer, _) in &words {
            let seen = read_all(&server, viewer).await;
            for (word, ..) in &words {
                assert_eq!(seen.contains(word.as_str()), word == own, "{own} asks, {word} is seen or not:\n{seen}");
            }
        }
        post(&server, "/-/flush", first, Value::Null).await;
    }

    let (doomed, id) = new_token(&server, first, "viewer", None).await;
    assert!(get(&server, "/api/v1/logs", Some(&doomed)).await.0.is_success());
    let url = format!("{}/api/v1/auth/tokens/{id}", server.http);
    assert!(ask(&server, Method::DELETE, url, Some(first), None).await.0.is_success());
    assert_eq!(get(&server, "/api/v1/logs", Some(&doomed)).await.0, StatusCode::UNAUTHORIZED);
    let (_, audit) = get(&server, "/api/v1/auth/audit", Some(first)).await;
    assert!(audit.to_string().contains(&id), "{audit}");

    server.kill();
    let server = start(folder.path());
    let (own, viewer, _) = &words[0];
    assert!(read_all(&server, viewer).await.contains(own.as_str()));
    assert_eq!(get(&server, "/api/v1/logs", Some(&doomed)).await.0, StatusCode::UNAUTHORIZED);
    server.stop();
    for (_, viewer, ingest) in &words {
        assert_eq!(planted(folder.path(), viewer) + planted(folder.path(), ingest), 0, "a secret lies on the disk");
    }
}

/// Scenario: somebody who is not logged in mistypes the address of a page; a program asks for the same.
/// Guarantee: the browser is led to the page or shown that there is none; of paths of the API it reads what a program does.
#[tokio::test]
async fn who_mistypes_a_page_is_shown_one() {
    let folder = tempdir().expect("a folder");
    let server = start(folder.path());
    let ask = async |path: &str, accept: &str| {
        let request = server.client().get(format!("{}{path}", server.http)).header("accept", accept);
        let answer = request.send().await.expect("an answer");
        let (status, address) = (answer.status().as_u16(), answer.url().as_str().replace(&server.http, ""));
        (status, address, answer.text().await.expect("text"))
    };
    let (status, address, text) = ask("/alerts/?start=now-1h", "text/html").await;
    assert_eq!((status, address.as_str(), text.contains("<html")), (200, "/alerts?start=now-1h", true));
    let (status, address, text) = ask("/nowhere", "text/html").await;
    assert_eq!((status, address.as_str(), text.contains("<html")), (404, "/nowhere", true));
    for (path, accept) in [("/nowhere", "*/*"), ("/alerts/", "*/*"), ("/api/v1/nothing", "text/html")] {
        let (status, _, text) = ask(path, accept).await;
        assert!(status == 401 && text.contains("\"unauthenticated\""), "{path}: {status} {text}");
    }
}

/// In how many files below the folder the text stands.
fn planted(folder: &Path, text: &str) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => planted(&path, text),
        false => {
            let bytes = std::fs::read(&path).expect("a file");
            usize::from(bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        }
    };
    paths.map(count).sum()
}

#[tokio::test]
async fn the_commands_show_a_token() {
    let folder = tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = start(&data);
    let first = data.join("first-admin-token");
    let token = std::fs::read_to_string(&first).expect("the first token");
    assert_eq!(export(&server, Some(token.trim()), "hello").await, StatusCode::OK);
    let sql = |token_file: &Path| {
        let mut command = Command::new(BINARY);
        command.args(["sql", "SELECT count(*) AS n FROM logs", "--url", &server.http, "--token-file"]).arg(token_file);
        command
    };
    assert!(output_of(&mut sql(&first)).contains('1'));
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "trv_made_up").expect("it is written");
    let refused = sql(&wrong).output().expect("the command runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("credential"), "{refused:?}");
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, "groups: [{name: g, rules: [{alert: A, expr: words > 1}]}]\n").expect("it is written");
    let check = |token_file: &Path| {
        let mut command = Command::new(BINARY);
        command.args(["rules", "check", "--url", &server.http, "--token-file"]).arg(token_file).arg(&rules);
        command
    };
    let said = output_of(&mut check(&first));
    assert!(said.contains("1 rules") && !said.contains("matches no series"), "{said}");
    let refused = check(&wrong).output().expect("the command runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("credential"), "{refused:?}");
    let demo = Command::new(BINARY).args(["serve", "--demo", "--auth", "required", "--data-dir"]).arg(&data).output();
    assert!(String::from_utf8_lossy(&demo.expect("it runs").stderr).contains("--token-file"));
}
