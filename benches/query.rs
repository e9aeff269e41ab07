//! Queries: latency of the real binary over the TrainTicket day, multiplied, every answer checked.
//!
//! `cargo bench --bench query [-- --scale N] [--runs N] [--only WORDS] [--fresh]`
//!
//! The data are imported once through the real binary and kept in `~/.cache/trivium-bench/query-data-xN` (logs and spans N
//! times, samples N/2 times; default 10); `--fresh` imports them again, which a change of the part format needs. Queries go
//! over HTTP, one at a time, warm, and are timed until the last byte. What they must answer is read from the payload files
//! by plain loops ([`truth`]); a wrong answer fails the run.

#![allow(
    missing_docs,
    dead_code,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a benchmark, not a library; the support module serves the other one too"
)]

#[path = "support/queries.rs"]
mod queries;
mod support;
#[path = "support/truth.rs"]
mod truth;

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use queries::{Ask, Query};
use serde_json::{Value, json};
use support::{Payload, Server, messages, payload, percentile_ms};
use tokio::task::JoinSet;
use trivium_model::SignalKind;

/// A query is run until it has taken this long in all, but not less than [`RUNS_MIN`] times.
const BUDGET: Duration = Duration::from_secs(10);
const RUNS_MIN: usize = 5;

/// Runs before those that count: the first one reads files that no query has read.
const WARM_UP_RUNS: usize = 2;

const STARTS: usize = 5;

struct Settings {
    scale: u64,
    runs: usize,
    only: Option<String>,
    fresh: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if support::data_folder().is_none() {
        println!("skipped: ../shared/data is not there");
        return ExitCode::SUCCESS;
    }
    let value = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1)).cloned();
    let number = |flag: &str| value(flag).and_then(|text| text.parse::<u64>().ok());
    let settings = Settings {
        scale: number("--scale").unwrap_or(10).max(1),
        runs: number("--runs").unwrap_or(100) as usize,
        only: value("--only"),
        fresh: args.iter().any(|arg| arg == "--fresh"),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&settings))
}

async fn run(settings: &Settings) -> ExitCode {
    let payloads = [
        payload(SignalKind::Logs, settings.scale),
        payload(SignalKind::Traces, settings.scale),
        payload(SignalKind::Metrics, (settings.scale / 2).max(1)),
    ];
    let folder = support::cache_folder().join(format!("query-data-x{}", settings.scale));
    prepare(&folder, &payloads, settings.fresh).await;

    let chosen = truth::choose(&payloads[0]);
    let conditions = queries::conditions(&chosen);
    let truth = truth::read(&payloads[0], &payloads[1], &payloads[2], &conditions);
    println!(
        "\n{} log records with {:.2} GB of text, {} spans, {} samples",
        payloads[0].items,
        truth.text_bytes as f64 / 1e9,
        payloads[1].items,
        payloads[2].items
    );

    let server = measure_starts(&folder);
    let client = reqwest::Client::new();
    check_counts(&client, &server, &payloads).await;
    println!("\n| query | p50 ms | p99 ms | runs | goal p50 / p99 | answer (checked) |\n|---|---|---|---|---|---|");
    let mut wrong = 0;
    for query in queries::queries(&chosen, &truth) {
        if settings.only.as_deref().is_none_or(|words| query.name.contains(words)) {
            wrong += usize::from(!measure(&client, &server, &query, settings.runs).await);
        }
    }
    println!(
        "\nmemory after the queries: {:.0} MiB, peak {:.0} MiB",
        server.memory_mib("VmRSS"),
        server.memory_mib("VmHWM")
    );
    if wrong > 0 {
        println!("{wrong} answers were wrong");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Imports the payloads unless that has been done. The marker is written last: half an import is none.
async fn prepare(folder: &Path, payloads: &[Payload; 3], fresh: bool) {
    let marker = folder.with_extension("complete");
    let content = format!("{:?}", payloads.each_ref().map(|payload| payload.items));
    if !fresh && fs::read_to_string(&marker).is_ok_and(|found| found == content) {
        return;
    }
    drop(fs::remove_file(&marker));
    drop(fs::remove_dir_all(folder));
    let (server, _) = Server::start(folder, true, &[]);
    let begun = Instant::now();
    for payload in payloads {
        import(&server, payload).await;
    }
    let flushed = reqwest::Client::new().post(format!("{}/-/flush", server.http)).send().await.expect("flush");
    assert!(flushed.status().is_success(), "flush: {}", flushed.text().await.unwrap_or_default());
    println!("imported into {} in {:.0} s", folder.display(), begun.elapsed().as_secs_f64());
    fs::write(marker, content).expect("the marker is written");
}

async fn import(server: &Server, payload: &Payload) {
    let url = format!("{}/v1/{}", server.otlp_http, payload.signal);
    let client = reqwest::Client::new();
    let mut sending = JoinSet::new();
    for message in messages(File::open(&payload.path).expect("the payload")) {
        if sending.len() >= 8 {
            sending.join_next().await.expect("one is being sent").expect("it was sent");
        }
        let request = client.post(&url).header("content-type", "application/x-protobuf").body(message);
        sending.spawn(async move {
            let answer = request.send().await.expect("an answer");
            assert!(answer.status().is_success(), "refused: {}", answer.status());
            assert!(answer.bytes().await.expect("a body").is_empty(), "something was rejected");
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("it was sent");
    }
}

/// Starts the server several times on the data; the last one stays.
fn measure_starts(folder: &Path) -> Server {
    let mut took: Vec<Duration> = (1..STARTS).map(|_| Server::start(folder, true, &[]).1).collect();
    let (server, last) = Server::start(folder, true, &[]);
    took.push(last);
    let bytes: u64 = server.disk().values().sum();
    println!(
        "start with {:.2} GB of data: p50 {:.0} ms, slowest of {STARTS} {:.0} ms (goal 300 ms); idle memory {:.0} MiB (goal 60 MiB)",
        bytes as f64 / 1e9,
        percentile_ms(&mut took, 0.5),
        percentile_ms(&mut took, 1.0),
        server.memory_mib("VmRSS"),
    );
    server
}

async fn check_counts(client: &reqwest::Client, server: &Server, payloads: &[Payload; 3]) {
    for payload in payloads {
        let ask = Ask::Sql(format!("SELECT count(*) FROM {}", payload.signal.table()));
        let (_, answer) = send(client, server, &ask).await;
        let found = answer["rows"][0][0].as_str().map(str::to_owned).unwrap_or_else(|| answer.to_string());
        assert_eq!(found, payload.items.to_string(), "{} in the data folder; try --fresh", payload.signal);
    }
}

/// Whether the answer was right. It is checked on the first run and once more on the last.
async fn measure(client: &reqwest::Client, server: &Server, query: &Query<'_>, runs: usize) -> bool {
    let mut checked = String::new();
    for _ in 0..WARM_UP_RUNS {
        let (_, answer) = send(client, server, &query.ask).await;
        match (query.check)(&answer) {
            Ok(text) => checked = text,
            Err(problem) => {
                println!("| {} | | | | {} | WRONG: {problem} |", query.name, query.goal);
                return false;
            }
        }
    }
    let mut durations = Vec::new();
    let begun = Instant::now();
    while durations.len() < RUNS_MIN || (durations.len() < runs && begun.elapsed() < BUDGET) {
        durations.push(send(client, server, &query.ask).await.0);
    }
    let p50 = percentile_ms(&mut durations, 0.50);
    if let Some(bytes) = query.bytes_read {
        checked.push_str(&format!("; {:.2} GB/s", bytes as f64 / 1e9 / (p50 / 1e3)));
    }
    println!(
        "| {} | {:.1} | {:.1} | {} | {} | {checked} |",
        query.name,
        p50,
        percentile_ms(&mut durations, 0.99),
        durations.len(),
        query.goal
    );
    true
}

/// Time to the last byte, and the answer.
async fn send(client: &reqwest::Client, server: &Server, ask: &Ask) -> (Duration, Value) {
    let request = match ask {
        Ask::Get(path, parameters) => client.get(format!("{}{path}", server.http)).query(parameters),
        Ask::Sql(sql) => {
            client.post(format!("{}/api/v1/sql", server.http)).json(&json!({"sql": sql, "timeout": "300s"}))
        }
    };
    let begun = Instant::now();
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let body = answer.bytes().await.expect("the whole answer");
    let took = begun.elapsed();
    let value = serde_json::from_slice(&body)
        .unwrap_or_else(|error| panic!("{status}, not JSON ({error}): {}", String::from_utf8_lossy(&body)));
    assert!(status.is_success(), "{status}: {value}");
    (took, value)
}
