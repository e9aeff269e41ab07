//! Nothing acknowledged is ever lost or doubled, whatever kills the server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use tempfile::tempdir;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::resource::v1::Resource;

use crate::support::Server;

/// Records of one request.
pub(crate) const RECORDS: u64 = 50;

/// The number of a request whose records lie on another day than those of small numbers, so that no merge joins them.
pub(crate) const ANOTHER_DAY: u64 = 100_000_000;

fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(value.into())) })
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: text(value), ..KeyValue::default() }
}

/// A request whose content follows from its number.
pub(crate) fn request(number: u64) -> Vec<u8> {
    let record = |index: u64| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + number * 1_000_000 + index,
        severity_number: 9,
        body: text(&format!("request {number} record {index}")),
        attributes: vec![attribute("t.request", &number.to_string())],
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: (0..RECORDS).map(record).collect(), ..ScopeLogs::default() };
    let resource = Resource { attributes: vec![attribute("service.name", "ledger")], ..Resource::default() };
    let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec()
}

pub(crate) async fn send(client: &reqwest::Client, otlp_http: &str, number: u64) -> bool {
    let url = format!("{otlp_http}/v1/logs");
    let sent = client.post(url).header("content-type", "application/x-protobuf").body(request(number)).send().await;
    match sent {
        Ok(answer) => answer.status().is_success(),
        Err(_) => false,
    }
}

/// Sends requests from `next` on over several connections until the server is gone; returns the acknowledged ones.
pub(crate) async fn send_until_killed(server: &Server, next: &Arc<AtomicU64>) -> Vec<u64> {
    let workers = (0..8).map(|_| {
        let (client, url, next) = (server.client().clone(), server.otlp_http.clone(), Arc::clone(next));
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if !send(&client, &url, number).await {
                    return acknowledged;
                }
                acknowledged.push(number);
            }
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.expect("a worker"));
    }
    all
}

/// Every acknowledged request is there with all its records, none is there twice or in part.
pub(crate) async fn check(server: &Server, acknowledged: &[u64], context: &str) {
    let pieces = server.number("SELECT count(*) FROM logs").await / 20_000 + 1;
    let mut rows = Vec::new();
    // In pieces: a slow machine sends more while a test waits than one query may hold in memory.
    for piece in 0..pieces {
        let piece = format!(
            "SELECT request, count(*), count(DISTINCT body) FROM \
             (SELECT CAST(attributes['t.request'] AS BIGINT) AS request, body FROM logs) \
             WHERE request % {pieces} = {piece} GROUP BY 1"
        );
        rows.extend(server.sql(&piece).await);
    }
    let number = |value: &serde_json::Value| -> u64 { value.as_str().expect("a number").parse().expect("a number") };
    let mut found = std::collections::HashSet::new();
    for row in &rows {
        let (request, records, distinct) = (number(&row[0]), number(&row[1]), number(&row[2]));
        assert_eq!((records, distinct), (RECORDS, RECORDS), "{context}: request {request} is not there exactly once");
        found.insert(request);
    }
    let lost: Vec<&u64> = acknowledged.iter().filter(|number| !found.contains(number)).collect();
    assert!(lost.is_empty(), "{context}: {} acknowledged requests are lost, e.g. {:?}", lost.len(), lost.first());
}

/// kill -9 while eight clients export, at a moment that differs each round, with buffers so small that seals and merges
/// are under way at any time.
#[tokio::test(flavor = "multi_thread")]
async fn kill_during_ingest_seal_and_compaction_loses_and_doubles_nothing() {
    let folder = tempdir().expect("a temporary folder");
    let next = Arc::new(AtomicU64::new(0));
    let mut acknowledged = Vec::new();
    for round in 0..12_u64 {
        let server = Server::start(folder.path(), &["--buffer-mib", "1", "--seal-after", "1s"]);
        check(&server, &acknowledged, &format!("round {round}")).await;
        let pid = server.pid();
        let goal = next.load(Ordering::SeqCst) + 40 + round * 60;
        let killer = {
            let next = Arc::clone(&next);
            std::thread::spawn(move || {
                while next.load(Ordering::SeqCst) < goal {
                    std::thread::yield_now();
                }
                std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs")
            })
        };
        acknowledged.extend(send_until_killed(&server, &next).await);
        assert!(killer.join().expect("the killer").success());
        server.kill();
    }
    let server = Server::start(folder.path(), &[]);
    check(&server, &acknowledged, "after the last kill").await;
    server.flush().await;
    check(&server, &acknowledged, "after the flush").await;
    server.stop();
    verify(folder.path());
}

/// kill -9 in the middle of flushes, which seal and merge: the requests were acknowledged before.
#[tokio::test(flavor = "multi_thread")]
async fn kill_during_flush_loses_nothing() {
    let folder = tempdir().expect("a temporary folder");
    let mut acknowledged = Vec::new();
    for round in 0..10_u64 {
        let server = Server::start(folder.path(), &[]);
        check(&server, &acknowledged, &format!("round {round}")).await;
        for number in round * 40..(round + 1) * 40 {
            assert!(send(server.client(), &server.otlp_http, number).await);
            acknowledged.push(number);
        }
        let url = format!("{}/-/flush", server.http);
        let flush = tokio::spawn(server.client().post(url).send());
        // Different rounds reach different steps of seal, publish, trim and merge.
        for _ in 0..round * 3 {
            server.get("/api/v1/services").await;
        }
        server.kill();
        drop(flush.await);
    }
    let server = Server::start(folder.path(), &[]);
    check(&server, &acknowledged, "after the last kill").await;
}

/// A client that lost our answer sends the same bytes again: before a restart, after a kill, and after they are in parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_resent_request_is_stored_once() {
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let sent = futures::future::join_all((0..5).map(|_| send(server.client(), &server.otlp_http, 1))).await;
    assert!(sent.into_iter().all(|ok| ok), "five copies at once are all acknowledged");
    assert_eq!(server.number("SELECT count(*) FROM logs").await, RECORDS);
    server.kill();
    let server = Server::start(folder.path(), &[]);
    assert!(send(server.client(), &server.otlp_http, 1).await);
    assert_eq!(server.number("SELECT count(*) FROM logs").await, RECORDS, "resent after a kill");
    server.flush().await;
    server.stop();
    let server = Server::start(folder.path(), &[]);
    assert!(send(server.client(), &server.otlp_http, 1).await);
    assert_eq!(server.number("SELECT count(*) FROM logs").await, RECORDS, "resent when it was in a part already");
}

/// A flipped bit in a part: the part goes to quarantine, the rest is served, verify says what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_part_is_quarantined_and_the_rest_is_served() {
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    assert!(send(server.client(), &server.otlp_http, 1).await);
    server.flush().await;
    let damaged = parts(folder.path()).pop().expect("one part");
    assert!(send(server.client(), &server.otlp_http, ANOTHER_DAY).await);
    server.flush().await;
    server.stop();
    let columns = damaged.join("columns.parquet");
    let mut bytes = std::fs::read(&columns).expect("the part's columns");
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&columns, bytes).expect("damage is done");
    let output =
        std::process::Command::new(crate::support::BINARY).args(["verify", "--data-dir"]).arg(folder.path()).output();
    let output = output.expect("verify runs");
    assert!(!output.status.success(), "verify must find the damage");
    let server = Server::start(folder.path(), &[]);
    check(&server, &[ANOTHER_DAY], "with one part damaged").await;
    assert_eq!(server.number("SELECT count(*) FROM logs").await, RECORDS);
    assert_eq!(std::fs::read_dir(folder.path().join("quarantine")).expect("the quarantine").count(), 1);
}

/// Two processes on one folder would destroy each other's data: the second refuses to start and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_refuses_to_start() {
    let folder = tempdir().expect("a temporary folder");
    let _first = Server::start(folder.path(), &[]);
    let ports = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let mut second = std::process::Command::new(crate::support::BINARY);
    let output = second.args(["serve", "--data-dir"]).arg(folder.path()).args(ports).output().expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("in use by another process"), "{said}");
}

pub(crate) fn parts(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder.join("parts/logs")).expect("the folder of log parts");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

pub(crate) fn verify(folder: &Path) {
    let mut command = std::process::Command::new(crate::support::BINARY);
    crate::support::output_of(command.args(["verify", "--deep", "--data-dir"]).arg(folder));
}
