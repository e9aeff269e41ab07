//! Encryption at rest as an operator meets it: what is on the disk, what a missing or wrong key says, another master key,
//! a tenant that is shredded, backups.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{BINARY, Server, output_of};

/// Planted in a body, an attribute, the name of a span, a label and the name of a service.
const PLANTED: [&str; 5] =
    ["sesame-body-4711", "sesame-note-4712", "sesame-span-4713", "sesame-label-4714", "sesame-shop-4715"];

const TRACE: &str = "0102030405060708090a0b0c0d0e0f10";

/// A key file with new master keys of these names.
fn key_file(folder: &Path, names: &[&str]) -> PathBuf {
    let lines: Vec<String> =
        names.iter().map(|name| output_of(Command::new(BINARY).args(["keys", "generate", name]))).collect();
    written_keys(folder, names.first().expect("a name"), &lines.concat())
}

fn written_keys(folder: &Path, name: &str, lines: &str) -> PathBuf {
    let file = folder.join(format!("{name}.keys"));
    std::fs::write(&file, lines).expect("written");
    let mode = Command::new("chmod").arg("600").arg(&file).status().expect("chmod runs");
    assert!(mode.success());
    file
}

fn start(data: &Path, keys: &Path, flags: &[&str]) -> Server {
    let keys = keys.to_str().expect("UTF-8");
    Server::start(data, &[&["--encryption-key-file", keys], flags].concat())
}

/// A start that should fail: what the server says.
fn refused(data: &Path, keys: Option<&Path>) -> String {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--log-level", "warn", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"]);
    command.args(["--http", "127.0.0.1:0", "--data-dir"]).arg(data).env("TRIVIUM_CRASH_LOOP_STARTS", "0");
    if let Some(keys) = keys {
        command.arg("--encryption-key-file").arg(keys);
    }
    failed(&mut command)
}

/// The message of a command that should fail.
fn failed(command: &mut Command) -> String {
    let Output { status, stderr, stdout } = command.output().expect("the binary runs");
    assert!(!status.success(), "{command:?} did not fail: {}", String::from_utf8_lossy(&stdout));
    String::from_utf8_lossy(&stderr).into_owned()
}

fn trivium(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data-dir").arg(data);
    command
}

fn with_keys(arguments: &[&str], data: &Path, keys: &Path) -> Command {
    let mut command = trivium(arguments, data);
    command.arg("--encryption-key-file").arg(keys);
    command
}

/// A log record, a span and a data point with everything that is planted.
async fn send(server: &Server, token: Option<&str>, number: usize) {
    let nanos = "1700000000000000000";
    let text = |value: &str| json!({"stringValue": value});
    let attributes = json!([{"key": "note", "value": text(PLANTED[1])}, {"key": "number", "value": {"intValue": number.to_string()}}]);
    let resource = json!({"attributes": [{"key": "service.name", "value": text(PLANTED[4])}]});
    let record = json!({"timeUnixNano": nanos, "traceId": TRACE, "body": text(&format!("{} {number}", PLANTED[0])), "attributes": attributes});
    let span = json!({"traceId": TRACE, "spanId": format!("{:016x}", number + 1), "name": PLANTED[2],
        "startTimeUnixNano": nanos, "endTimeUnixNano": nanos, "attributes": attributes});
    let labels = json!([{"key": PLANTED[3], "value": text(&number.to_string())}]);
    let point = json!({"timeUnixNano": nanos, "asDouble": 1.0, "attributes": labels});
    for (signal, body) in [
        ("logs", json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]})),
        ("traces", json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})),
        (
            "metrics",
            json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [{"name": "sesames", "gauge": {"dataPoints": [point]}}]}]}]}),
        ),
    ] {
        let mut request = server.client().post(format!("{}/v1/{signal}", server.otlp_http)).json(&body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{signal}: {}", answer.text().await.unwrap_or_default());
    }
}

/// The planted texts that are in a file below a folder.
fn on_disk(folder: &Path) -> Vec<&'static str> {
    let mut found: Vec<&str> = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(on_disk(&path));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        found.extend(PLANTED.iter().filter(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes())));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Every signal by SQL and by its own door, each with as many as were sent.
async fn assert_readable(server: &Server, sent: u64) {
    let [body, note, span, label, shop] = PLANTED;
    for sql in [
        format!(
            "SELECT count(*) FROM logs WHERE body LIKE '{body}%' AND attributes LIKE '%{note}%' AND service_name = '{shop}'"
        ),
        format!("SELECT count(*) FROM spans WHERE name = '{span}'"),
        format!("SELECT count(*) FROM metrics WHERE attributes LIKE '%{label}%'"),
    ] {
        assert_eq!(server.number(&sql).await, sent, "{sql}");
    }
    let found = server.get(&format!("/api/v1/logs?query=%22{body}%22&limit=1000")).await.to_string();
    assert_eq!(found.matches(body).count() as u64 >= sent, sent > 0, "{found}");
    let trace = server.get(&format!("/api/v1/traces/{TRACE}")).await.to_string();
    assert!(trace.contains(span), "{trace}");
}

/// Guarantee: from the first acknowledged request over a crash, publishing, merging and a backup nothing of what was sent
/// is on the disk in plain, everything is readable with the key, and without it every door says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_on_the_disk_in_plain_and_nothing_opens_without_the_key() {
    let folder = tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (data, backup, restored) = (at("data"), at("backup"), at("restored"));
    let (keys, wrong) = (key_file(folder.path(), &["first"]), key_file(folder.path(), &["wrong"]));
    {
        let plain = Server::start(&at("plain"), &[]);
        send(&plain, None, 0).await;
        assert_eq!(on_disk(&at("plain")).len(), PLANTED.len(), "the search finds what is there");
    }
    let server = start(&data, &keys, &[]);
    for number in 0..3 {
        send(&server, None, number).await;
    }
    assert_readable(&server, 3).await;
    server.kill();
    assert_eq!(on_disk(&data), [""; 0], "in the WAL");

    let message = refused(&data, None);
    assert!(
        message.contains("encrypted") && message.contains("encryption_key_file") && message.contains("first"),
        "{message}"
    );
    let message = refused(&data, Some(&wrong));
    assert!(message.contains("first") && message.contains("key"), "{message}");

    let server = start(&data, &keys, &[]);
    assert_readable(&server, 3).await;
    for number in 3..9 {
        server.flush().await;
        send(&server, None, number).await;
    }
    server.flush().await;
    assert_readable(&server, 9).await;
    assert_eq!(on_disk(&data), [""; 0], "in parts");

    output_of(trivium(&["backup"], &data).arg(&backup));
    server.kill();
    let server = start(&data, &keys, &[]);
    assert_readable(&server, 9).await;
    server.stop();
    assert_eq!(on_disk(folder.path().join("data").as_path()), [""; 0], "after an orderly end");
    assert_eq!(on_disk(&backup), [""; 0], "in the backup");

    let verified = output_of(&mut with_keys(&["verify", "--deep"], &data, &keys));
    assert!(verified.contains("9 rows") || verified.contains("27 rows"), "{verified}");
    let message = failed(&mut trivium(&["verify", "--deep"], &data));
    assert!(message.contains("encryption_key_file"), "{message}");
    // Sums are those of the stored files: a backup is checked and brought back by somebody who has no key.
    output_of(Command::new(BINARY).arg("verify").arg(&backup));
    output_of(trivium(&["restore"], &restored).arg(&backup));
    assert_eq!(on_disk(&restored), [""; 0], "in what was restored");
    assert!(refused(&restored, None).contains("encryption_key_file"));
    assert_readable(&start(&restored, &keys, &[]), 9).await;
}

/// Guarantee: tenants' keys are wrapped with another master key while the server runs; afterwards the old one opens nothing
/// and the new one everything, and back again while it is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_takes_over_while_the_server_runs() {
    let folder = tempdir().expect("a folder");
    let data = folder.path().join("data");
    let line = |name: &str| output_of(Command::new(BINARY).args(["keys", "generate", name]));
    let (old, new) = (line("old"), line("new"));
    let keys = written_keys(folder.path(), "used", &old);
    let [only_old, only_new] =
        [("only-old", &old), ("only-new", &new)].map(|(name, line)| written_keys(folder.path(), name, line));
    let server = start(&data, &keys, &[]);
    send(&server, None, 0).await;
    let listed = output_of(&mut trivium(&["keys", "list"], &data));
    assert!(listed.contains("wrapped with old"), "{listed}");

    // Without the key of before in the file, nothing can be unwrapped, and nothing is changed.
    let message = failed(&mut with_keys(&["keys", "rotate"], &data, &only_new));
    assert!(message.contains("old"), "{message}");
    written_keys(folder.path(), "used", &format!("{new}{old}"));
    let said = output_of(&mut with_keys(&["keys", "rotate"], &data, &keys));
    assert!(said.contains("1 of 1 keys") && said.contains("new"), "{said}");
    assert!(output_of(&mut trivium(&["keys", "list"], &data)).contains("wrapped with new"));
    send(&server, None, 1).await;
    assert_readable(&server, 2).await;
    server.kill();

    let message = refused(&data, Some(&only_old));
    assert!(message.contains("new"), "{message}");
    let server = start(&data, &only_new, &[]);
    assert_readable(&server, 2).await;
    server.flush().await;
    server.stop();
    written_keys(folder.path(), "used", &format!("{old}{new}"));
    output_of(&mut with_keys(&["keys", "rotate"], &data, &keys));
    assert_readable(&start(&data, &only_old, &[]), 2).await;
}

/// Asks with a token.
async fn ask(server: &Server, method: Method, path: &str, token: &str, body: Value) -> Value {
    let request = server.client().request(method, format!("{}{path}", server.http)).bearer_auth(token).json(&body);
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    assert!(status.is_success(), "{path}: {status} {body}");
    body
}

/// A tenant with a token that may do everything in it: its ID and the token.
async fn new_tenant(server: &Server, admin: &str, name: &str) -> (u64, String) {
    let made = ask(server, Method::POST, "/api/v1/auth/tenants", admin, json!({ "name": name })).await;
    let id = made["id"].as_u64().unwrap_or_else(|| panic!("no ID in {made}"));
    let body = json!({"name": name, "role": "admin", "tenant": name});
    let made = ask(server, Method::POST, "/api/v1/auth/tokens", admin, body).await;
    (id, made["token"].as_str().expect("a token").to_owned())
}

async fn rows_of(server: &Server, token: &str) -> Value {
    let body = json!({"sql": "SELECT count(*) FROM logs WHERE body LIKE 'sesame%'"});
    ask(server, Method::POST, "/api/v1/sql", token, body).await["rows"][0][0].clone()
}

/// Guarantee: the telemetry of a tenant whose key is shredded is gone from parts and WAL, also in a copy of the folder that was
/// made before and gets the catalog of now; the command says what it did; other tenants read on, and the tenant can store anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_tenant_is_unreadable_and_others_are_not() {
    let folder = tempdir().expect("a folder");
    let data = folder.path().join("data");
    let keys = key_file(folder.path(), &["first"]);
    let flags = ["--auth", "required"];
    let server = start(&data, &keys, &flags);
    let admin = std::fs::read_to_string(data.join("first-admin-token")).expect("the first token");
    let admin = admin.trim();
    let (doomed, doomed_token) = new_tenant(&server, admin, "doomed").await;
    let (_, other_token) = new_tenant(&server, admin, "other").await;
    for token in [&doomed_token, &other_token] {
        send(&server, Some(token), 0).await;
    }
    ask(&server, Method::POST, "/-/flush", admin, Value::Null).await;
    // And one of each that is in the WAL only.
    for token in [&doomed_token, &other_token] {
        send(&server, Some(token), 1).await;
        assert_eq!(rows_of(&server, token).await, "2");
    }
    let mut shred = with_keys(&["keys", "shred", "--tenant", &doomed.to_string()], &data, &keys);
    let message = failed(&mut shred);
    assert!(message.contains("in use"), "the server must be stopped: {message}");
    server.kill();
    copy(&data.join("parts"), &folder.path().join("copy"));

    let said = output_of(&mut shred);
    assert!(said.contains("shredded 1 key(s)") && said.contains("Backups"), "{said}");
    let listed = output_of(&mut trivium(&["keys", "list"], &data));
    assert!(listed.contains(", shredded ") && listed.contains("wrapped with first"), "{listed}");
    output_of(&mut with_keys(&["verify", "--deep"], &data, &keys));
    let server = start(&data, &keys, &flags);
    assert_eq!((rows_of(&server, &doomed_token).await, rows_of(&server, &other_token).await), ("0".into(), "2".into()));
    send(&server, Some(&doomed_token), 2).await;
    assert_eq!((rows_of(&server, &doomed_token).await, rows_of(&server, &other_token).await), ("1".into(), "2".into()));
    server.stop();

    // Files that somebody kept are no use to the catalog of now.
    copy(&folder.path().join("copy"), &data.join("parts"));
    let server = start(&data, &keys, &flags);
    assert_eq!((rows_of(&server, &doomed_token).await, rows_of(&server, &other_token).await), ("1".into(), "2".into()));
    drop(server);
    assert_eq!(on_disk(&data), [""; 0]);
}

/// Copies a folder over another one.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("cp runs");
    assert!(status.success());
}
