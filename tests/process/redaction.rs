//! Redaction rules and limits of the real binary: files on disk, reload, the dry run.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use prost::Message;
use serde_json::{Value, json};
use tempfile::tempdir;
use trivium_proto::prometheus::{v1, v2};

use crate::support::{BINARY, PATIENCE, Server, output_of};

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

/// What every door is given: found by a key, by two patterns.
const PLANTED: [&str; 3] = [MAIL, CARD, "hunter2planted"];

/// Secrets in every text that remote write has. `password` as a label is for the list of keys.
fn write_requests(millis: i64) -> [(&'static str, Vec<u8>); 3] {
    let text = format!("asked by {MAIL} with {CARD}");
    let pairs = [("__name__", "orders_total"), ("job", "shop"), ("note", &text), ("password", PLANTED[2])];
    let label = |(name, value): &(&str, &str)| v1::Label { name: (*name).to_owned(), value: (*value).to_owned() };
    let exemplar = v1::Exemplar { labels: pairs[2..].iter().map(label).collect(), value: 1.0, timestamp: millis };
    let series = v1::TimeSeries {
        labels: pairs.iter().map(label).collect(),
        samples: vec![v1::Sample { value: 1.0, timestamp: millis }],
        exemplars: vec![exemplar],
        ..v1::TimeSeries::default()
    };
    let described = v1::MetricMetadata {
        metric_type: 1,
        metric_family_name: "orders_total".to_owned(),
        help: text.clone(),
        unit: text.clone(),
    };
    let first = v1::WriteRequest { timeseries: vec![series], metadata: vec![described.clone()] };
    let descriptions = v1::WriteRequest { timeseries: Vec::new(), metadata: vec![described] };
    let symbols = ["", "__name__", "sold_total", "job", "shop", "note", &text, "password", PLANTED[2]];
    let series = v2::TimeSeries {
        labels_refs: (1..9).collect(),
        samples: vec![v2::Sample { value: 2.0, timestamp: millis, ..v2::Sample::default() }],
        exemplars: vec![v2::Exemplar { labels_refs: (5..9).collect(), value: 1.0, timestamp: millis }],
        metadata: Some(v2::Metadata { metric_type: 1, help_ref: 6, unit_ref: 6 }),
        ..v2::TimeSeries::default()
    };
    let second = v2::Request { symbols: symbols.map(str::to_owned).to_vec(), timeseries: vec![series] };
    [
        ("prometheus.WriteRequest", first.encode_to_vec()),
        ("prometheus.WriteRequest", descriptions.encode_to_vec()),
        ("io.prometheus.write.v2.Request", second.encode_to_vec()),
    ]
}

/// Spans and metrics with the secrets in names, attributes, events, descriptions.
fn otlp_requests(nanos: &str) -> [(&'static str, Value); 3] {
    let text = json!(format!("asked by {MAIL} with {CARD}"));
    let attributes = json!([
        {"key": "password", "value": {"stringValue": PLANTED[2]}}, {"key": "note", "value": {"stringValue": text}},
        {"key": "card", "value": {"intValue": CARD}},
    ]);
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}},
        {"key": "owner", "value": {"stringValue": MAIL}}]});
    let record = json!({"timeUnixNano": nanos, "severityText": text, "body": {"kvlistValue": {"values": attributes}},
        "attributes": attributes, "eventName": text});
    let span = json!({"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": text,
        "traceState": text, "startTimeUnixNano": nanos, "endTimeUnixNano": nanos, "attributes": attributes,
        "events": [{"timeUnixNano": nanos, "name": text, "attributes": attributes}],
        "links": [{"traceId": "0102030405060708090a0b0c0d0e0f11", "spanId": "0102030405060709", "attributes": attributes}],
        "status": {"code": 2, "message": text}});
    let point = json!({"timeUnixNano": nanos, "asDouble": 1.0, "attributes": attributes,
        "exemplars": [{"timeUnixNano": nanos, "asDouble": 1.0, "filteredAttributes": attributes}]});
    let metric = json!({"name": "told", "description": text, "unit": text, "gauge": {"dataPoints": [point]}});
    let scope = json!({"name": text, "attributes": attributes});
    [
        (
            "logs",
            json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [record]}]}]}),
        ),
        (
            "traces",
            json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]}]}),
        ),
        (
            "metrics",
            json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": [metric]}]}]}),
        ),
    ]
}

/// What a target exposes, with secrets in a label, a help text, a unit and an exemplar.
fn exposition() -> String {
    format!(
        "# TYPE scraped_orders counter\n# HELP scraped_orders asked by {MAIL} with {CARD}\n\
         scraped_orders_total{{note=\"by {MAIL} with {CARD}\",password=\"{}\"}} 3 # {{note=\"{MAIL}\",password=\"{}\"}} 1\n# EOF\n",
        PLANTED[2], PLANTED[2]
    )
}

/// A target to scrape; its address.
async fn target() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let answer =
        || async { ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], exposition()) };
    let router = axum::Router::new().route("/metrics", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[expect(clippy::disallowed_methods, reason = "the server under test has the real clock too")]
fn now_nanos() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos()
}

/// Sends the secrets through every door and waits until a scrape brought them too.
async fn send_through_every_door(server: &Server) {
    let now = now_nanos();
    for (signal, body) in otlp_requests(&now.to_string()) {
        let url = format!("{}/v1/{signal}", server.otlp_http);
        let answer = server.client().post(url).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{signal}: {}", answer.text().await.unwrap_or_default());
    }
    for (message, body) in write_requests(i64::try_from(now / 1_000_000).expect("a time")) {
        let body = snap::raw::Encoder::new().compress_vec(&body).expect("it compresses");
        let request = server.client().post(format!("{}/prometheus/api/v1/write", server.http)).body(body);
        let request = request.header("content-type", format!("application/x-protobuf;proto={message}"));
        let answer = request.header("content-encoding", "snappy").send().await.expect("an answer");
        assert!(answer.status().is_success(), "{message}: {}", answer.text().await.unwrap_or_default());
    }
    let until = Instant::now() + PATIENCE;
    while server.number("SELECT count(*) FROM metrics WHERE metric_name = 'scraped_orders_total'").await == 0 {
        assert!(Instant::now() < until, "nothing was scraped within {PATIENCE:?}");
    }
}

/// Everything that a reader is told, with the names of what must be there.
async fn everything_told(server: &Server) -> String {
    let mut all = String::new();
    for table in ["logs", "spans", "metrics"] {
        all.push_str(&Value::from(server.sql(&format!("SELECT * FROM {table}")).await).to_string());
    }
    for path in [
        "/api/v1/logs?query=asked",
        "/api/v1/traces/0102030405060708090a0b0c0d0e0f10",
        "/api/v1/correlate/0102030405060708090a0b0c0d0e0f10",
        "/prometheus/api/v1/metadata",
        "/prometheus/api/v1/targets",
        "/prometheus/api/v1/series?match%5B%5D=%7Bjob%3D~%22.%2B%22%7D",
        "/prometheus/api/v1/labels",
        "/prometheus/api/v1/label/note/values",
        "/prometheus/api/v1/query?query=scraped_orders_total",
    ] {
        all.push_str(&server.get(path).await.to_string());
    }
    all
}

/// Guarantee: whichever door a secret comes through, and in whichever text, it is neither on the disk nor in an answer.
/// Without rules the same search finds all of them.
#[tokio::test(flavor = "multi_thread")]
async fn no_door_lets_a_planted_secret_through() {
    let folder = tempdir().expect("a folder");
    let (rules, scrape) = (folder.path().join("rules.yml"), folder.path().join("scrape.yml"));
    std::fs::write(&rules, FIRST).expect("written");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: shop\n  static_configs: [{{targets: ['{}']}}]\n",
        target().await
    );
    std::fs::write(&scrape, config).expect("written");
    let (rules, scrape) = (rules.to_str().expect("UTF-8"), scrape.to_str().expect("UTF-8"));
    for is_redacting in [false, true] {
        let data = folder.path().join(is_redacting.to_string());
        let flags = ["--scrape-config", scrape, "--redaction", rules];
        let server = Server::start(&data, &flags[..if is_redacting { 4 } else { 2 }]);
        send_through_every_door(&server).await;
        let wanted = |found: bool| found != is_redacting;
        assert!(
            PLANTED.iter().all(|secret| wanted(is_on_disk(&data, secret))),
            "redacting: {is_redacting}, in the WAL"
        );
        let told = everything_told(&server).await;
        assert!(PLANTED.iter().all(|secret| wanted(told.contains(secret))), "redacting: {is_redacting}\n{told}");
        for kept in ["asked by ", "orders_total", "sold_total", "scraped_orders_total", "\"help\""] {
            assert!(told.contains(kept), "{kept} is not told\n{told}");
        }
        server.flush().await;
        if is_redacting {
            assert!(!PLANTED.iter().any(|secret| is_on_disk(&data, secret)), "in a part");
        }
    }
}

/// Guarantee: what rules would have taken out of everything that a server has stored is counted by rule, field and service, in
/// buffers and in parts, and no secret is shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_looks_at_what_is_stored() {
    let folder = tempdir().expect("a folder");
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, FIRST).expect("written");
    let server = Server::start(&folder.path().join("data"), &[]);
    for (signal, body) in otlp_requests(&now_nanos().to_string()) {
        let url = format!("{}/v1/{signal}", server.otlp_http);
        let answer = server.client().post(url).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{signal}: {}", answer.text().await.unwrap_or_default());
    }
    let dry_run = |more: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["redact", "--dry-run", "--stored", "--url", &server.http, "--rules"]).arg(&rules).args(more);
        tokio::task::block_in_place(|| output_of(&mut command))
    };
    let buffered = dry_run(&[]);
    for part in
        ["4 of 4 stored records and series", "mail: ", "in logs", "in traces", "in metrics", "password (", "of shop ("]
    {
        assert!(buffered.contains(part), "{part} is missing in\n{buffered}");
    }
    assert!(!PLANTED.iter().any(|secret| buffered.contains(secret)), "{buffered}");
    server.flush().await;
    assert_eq!(dry_run(&[]), buffered, "parts");
    assert!(dry_run(&["--start", "now-1h", "--limit", "1"]).contains("of logs only 1 were looked at"));
    assert!(dry_run(&["--end", "2001-01-01"]).contains("0 of 0 stored"));
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
