//! Ingest: CPU, bytes, memory and acknowledgement latency of the real binary on the TrainTicket day, multiplied.
//!
//! `cargo bench --bench ingest [-- logs|traces|metrics ...] [--copies N] [--grpc] [--connections N]`
//!
//! Every request is acknowledged durably; CPU counts until `/-/flush` has returned, when all rows are in published parts
//! and no compaction is due; bytes are what then lies in the data folder. Z is the CPU time of `zstd -3` over the same bytes.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a benchmark, not a library"
)]

mod support;

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{Payload, Server, messages, payload, percentile_ms, zstd_seconds};
use tokio::sync::{Mutex, mpsc};
use trivium_model::SignalKind;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if support::data_folder().is_none() {
        println!("skipped: ../shared/data is not there");
        return;
    }
    let value = |flag: &str| {
        args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1)).and_then(|v| v.parse::<u64>().ok())
    };
    let grpc = args.iter().any(|arg| arg == "--grpc");
    let connections = value("--connections").unwrap_or(4) as usize;
    let wanted: Vec<SignalKind> =
        SignalKind::ALL.into_iter().filter(|s| args.iter().any(|a| a == s.as_str())).collect();
    let wanted = if wanted.is_empty() { SignalKind::ALL.to_vec() } else { wanted };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!(
        "| signal | items | OTLP MB | CPU-s/M | Z | B/item | parquet | ids | text | other | peak MiB | idle MiB | ack p50 ms | ack p99 ms | items/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for signal in wanted {
        let copies = value("--copies").unwrap_or(if signal == SignalKind::Metrics { 5 } else { 10 });
        let payload = payload(signal, copies);
        runtime.block_on(run(&payload, grpc, connections));
    }
}

async fn run(payload: &Payload, grpc: bool, connections: usize) {
    let folder = support::cache_folder().join(format!("ingest-{}", payload.signal));
    drop(std::fs::remove_dir_all(&folder));
    let (server, _) = Server::start(&folder, std::env::var_os("TRIVIUM_BENCH_KEEP").is_some(), &[]);
    let idle = server.memory_mib("VmRSS");
    let before = server.cpu_seconds();
    let begun = Instant::now();
    let mut latencies = if grpc {
        send_grpc(&server, payload, connections).await
    } else {
        send_http(&server, payload, connections).await
    };
    let took = begun.elapsed();
    let client = reqwest::Client::new();
    let flushed = client.post(format!("{}/-/flush", server.http)).send().await.expect("flush");
    assert!(flushed.status().is_success(), "flush failed: {}", flushed.text().await.unwrap_or_default());
    let cpu = server.cpu_seconds() - before;
    let z = zstd_seconds(payload);
    check_count(&client, &server, payload).await;
    let disk = server.disk();
    let of = |name: &str| disk.get(name).copied().unwrap_or(0);
    let total: u64 = disk.values().sum();
    let (parquet, ids, text) = (of("columns.parquet"), of("ids.idx"), of("text.idx"));
    let per = |bytes: u64| bytes as f64 / payload.items as f64;
    println!(
        "| {} | {} | {:.0} | {:.2} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} |",
        payload.signal,
        payload.items,
        payload.bytes as f64 / 1e6,
        cpu / payload.items as f64 * 1e6,
        cpu / z,
        per(total),
        per(parquet),
        per(ids),
        per(text),
        per(total - parquet - ids - text),
        server.memory_mib("VmHWM"),
        idle,
        percentile_ms(&mut latencies, 0.50),
        percentile_ms(&mut latencies, 0.99),
        payload.items as f64 / took.as_secs_f64(),
    );
}

/// Feeds the requests of a payload to `connections` workers.
fn queue(payload: &Payload) -> Arc<Mutex<mpsc::Receiver<bytes::Bytes>>> {
    let (sender, receiver) = mpsc::channel(16);
    let path = payload.path.clone();
    std::thread::spawn(move || {
        for message in messages(File::open(path).expect("the payload")) {
            if sender.blocking_send(message).is_err() {
                return;
            }
        }
    });
    Arc::new(Mutex::new(receiver))
}

async fn send_http(server: &Server, payload: &Payload, connections: usize) -> Vec<Duration> {
    let queue = queue(payload);
    let url = format!("{}/v1/{}", server.otlp_http, payload.signal);
    let workers = (0..connections).map(|_| {
        let (queue, url) = (Arc::clone(&queue), url.clone());
        tokio::spawn(async move {
            let client = reqwest::Client::new();
            let mut latencies = Vec::new();
            loop {
                let Some(message) = queue.lock().await.recv().await else { return latencies };
                let begun = Instant::now();
                let request = client.post(&url).header("content-type", "application/x-protobuf").body(message);
                let answer = request.send().await.expect("an answer");
                assert!(answer.status().is_success(), "refused: {}", answer.status());
                assert!(answer.bytes().await.expect("a body").is_empty(), "something was rejected");
                latencies.push(begun.elapsed());
            }
        })
    });
    gather(workers.collect()).await
}

async fn send_grpc(server: &Server, payload: &Payload, connections: usize) -> Vec<Duration> {
    let queue = queue(payload);
    let service = match payload.signal {
        SignalKind::Logs => "logs.v1.LogsService",
        SignalKind::Metrics => "metrics.v1.MetricsService",
        SignalKind::Traces => "trace.v1.TraceService",
    };
    let path: http::uri::PathAndQuery =
        format!("/opentelemetry.proto.collector.{service}/Export").parse().expect("a path");
    let mut workers = Vec::new();
    for _ in 0..connections {
        let endpoint = tonic::transport::Endpoint::new(server.otlp_grpc.clone()).expect("an address");
        let channel = endpoint.connect().await.expect("a connection");
        let (queue, path) = (Arc::clone(&queue), path.clone());
        workers.push(tokio::spawn(async move {
            let mut client = tonic::client::Grpc::new(channel);
            let mut latencies = Vec::new();
            loop {
                let Some(message) = queue.lock().await.recv().await else { return latencies };
                let begun = Instant::now();
                client.ready().await.expect("ready");
                let answer =
                    client.unary(tonic::Request::new(message), path.clone(), RawCodec).await.expect("accepted");
                assert!(answer.into_inner().is_empty(), "something was rejected");
                latencies.push(begun.elapsed());
            }
        }));
    }
    gather(workers).await
}

async fn gather(workers: Vec<tokio::task::JoinHandle<Vec<Duration>>>) -> Vec<Duration> {
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.expect("a worker"));
    }
    all
}

async fn check_count(client: &reqwest::Client, server: &Server, payload: &Payload) {
    let sql = format!("SELECT count(*) FROM {}", payload.signal.table());
    let answer =
        client.post(format!("{}/api/v1/sql", server.http)).json(&serde_json::json!({ "sql": sql })).send().await;
    let answer: serde_json::Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["rows"][0][0].as_str(), Some(payload.items.to_string().as_str()), "{answer}");
}

/// Bytes in, bytes out: the client must not spend its core on encoding.
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = bytes::Bytes;
    type Decode = bytes::Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = bytes::Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: bytes::Bytes, buffer: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        bytes::BufMut::put(buffer, item);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = bytes::Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<bytes::Bytes>, tonic::Status> {
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, bytes::Buf::remaining(buffer))))
    }
}
