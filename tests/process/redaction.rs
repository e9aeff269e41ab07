//! Redaction rules and limits of the real binary: files on disk, reload, the dry run.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{BINARY, Server, output_of};

const MAIL: &str = "dora.planted@example.com";
const CARD: &str = "4111111111111111";

fn request(number: u64) -> Value {
    let body = json!({"stringValue": format!("order {number} of {MAIL} paid with {CARD}")});
    let password = json!({"key": "password", "value": {"stringValue": "hunter2planted"}});
    let record = json!({"timeUnixNano": "1700000000000000000", "body": body, "attributes": [password]});
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
}

async fn send(server: &Server, number: u64) -> reqwest::Response {
    let url = format!("{}/v1/logs", server.otlp_http);
    server.client().post(url).json(&request(number)).send().await.expect("an answer")
}

/// Whether a file below a folder has this text in it.
fn is_on_disk(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return is_on_disk(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

async fn bodies(server: &Server) -> Vec<String> {
    let rows = server.sql("SELECT body FROM logs ORDER BY body").await;
    rows.iter().map(|row| row[0].as_str().expect("a body").to_owned()).collect()
}

const FIRST: &str = "rules:\n- {name: mail, pattern: email, action: replace, replacement: '[mail]'}\n\
                     - {name: card, pattern: credit_card, action: mask, keep_last: 4}\n\
                     - {name: keys, keys: [password], action: drop}\n";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_away_from_the_disk_and_rules_are_reloaded_all_or_nothing() {
    let folder = tempdir().expect("a folder");
    let (data, rules) = (folder.path().join("data"), folder.path().join("rules.yml"));
    std::fs::write(&rules, FIRST).expect("written");
    let server = Server::start(&data, &["--redaction", rules.to_str().expect("UTF-8")]);
    assert!(send(&server, 1).await.status().is_success());
    for secret in [MAIL, CARD, "hunter2planted"] {
        assert!(!is_on_disk(&data, secret), "{secret} is on the disk");
    }
    assert_eq!(bodies(&server).await, ["order 1 of [mail] paid with ************1111"]);

    let reload = async || server.client().post(format!("{}/-/reload", server.http)).send().await.expect("an answer");
    std::fs::write(&rules, "rules: [{name: a, pattern: passport, action: drop}]").expect("written");
    let refused = reload().await;
    assert_eq!(refused.status(), 400);
    let text = refused.text().await.expect("text");
    assert!(text.contains("passport") && text.contains("stays in force"), "{text}");
    assert!(send(&server, 2).await.status().is_success());

    std::fs::write(&rules, FIRST.replace("[mail]", "<mail>")).expect("written");
    assert!(reload().await.status().is_success());
    assert!(send(&server, 3).await.status().is_success());
    assert_eq!(
        bodies(&server).await,
        [
            "order 1 of [mail] paid with ************1111",
            "order 2 of [mail] paid with ************1111",
            "order 3 of <mail> paid with ************1111",
        ]
    );
    let metrics = server.client().get(format!("{}/metrics", server.http)).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("trivium_ingest_redacted_total{signal=\"logs\",rule=\"card\"} 3"), "not counted");
    server.flush().await;
    assert!(![MAIL, CARD, "hunter2planted"].iter().any(|secret| is_on_disk(&data, secret)));
}

#[test]
fn a_dry_run_shows_what_would_be_changed_and_no_secret() {
    let folder = tempdir().expect("a folder");
    let (rules, file) = (folder.path().join("rules.yml"), folder.path().join("logs.json"));
    std::fs::write(&rules, FIRST).expect("written");
    std::fs::write(&file, format!("{}\n{}\n", request(1), request(2))).expect("written");
    let text = output_of(Command::new(BINARY).args(["redact", "--dry-run", "--rules"]).arg(&rules).arg(&file));
    for part in [
        "2 of 2 requests would be changed",
        "mail: 2 in logs",
        "card: 2 in logs",
        "4111… (16 characters) → \"************1111\"",
        "password: hun… (14 characters) → left out",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains(MAIL) && !text.contains(CARD) && !text.contains("hunter2planted"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_limit_is_told_when_to_come_back() {
    let folder = tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--tenant-records-per-second", "1", "--tenant-records-burst", "1"]);
    let mut many = request(1);
    let records = many["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array_mut().expect("records");
    *records = vec![records[0].clone(); 1_000];
    let url = format!("{}/v1/logs", server.otlp_http);
    let taken = server.client().post(url).json(&many).send().await.expect("an answer");
    assert!(taken.status().is_success(), "nothing was owed");
    let refused = send(&server, 2).await;
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"].to_str().expect("ASCII").parse().expect("whole seconds");
    assert!((900..=1_000).contains(&seconds), "{seconds}");
}
