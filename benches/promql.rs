//! Remote write and PromQL: Trivium beside the Prometheus and the VictoriaMetrics of Debian, in the same run.
//!
//! `cargo bench --bench promql [-- --series N] [--hours N] [--wide N] [--runs N] [--only NAME]`
//!
//! Writes the same requests to each: `--series` counters (default 10,000) over `--hours` (6) at 30 s, 5,000 samples a
//! request as an agent would send them; then `--wide` gauges (default 1,000,000) with two samples each. Prints CPU seconds
//! per million samples until the samples are in files, bytes a sample, and the latency of queries, each checked against
//! Prometheus' answer. VictoriaMetrics deviates from PromQL by design, so its answers are not checked; its cache of
//! results is off. Who is not installed is left out.

#![allow(
    missing_docs,
    dead_code,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a benchmark, not a library; the support module serves the other ones too"
)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message;
use serde_json::Value;
use support::percentile_ms;
use trivium_proto::prometheus::v1::{Label, Sample, TimeSeries, WriteRequest};

/// Samples of a request.
const REQUEST_SAMPLES: usize = 5_000;

/// Seconds between samples, and steps of range queries.
const INTERVAL: i64 = 30;

struct Settings {
    series: usize,
    hours: i64,
    wide: usize,
    runs: usize,
    only: Option<String>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1)).cloned();
    let number = |flag: &str, default: usize| value(flag).and_then(|text| text.parse().ok()).unwrap_or(default);
    let settings = Settings {
        series: number("--series", 10_000),
        hours: number("--hours", 6) as i64,
        wide: number("--wide", 1_000_000),
        runs: number("--runs", 20),
        only: value("--only"),
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(&settings));
}

async fn run(settings: &Settings) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    // Ends a little before now: Prometheus refuses what is too far ahead.
    let end = now / 3600 * 3600;
    let narrow = Narrow { series: settings.series, start: end - settings.hours * 3600, end };
    println!("| | samples | CPU-s per million | bytes a sample | {} |", QUERIES.map(|query| query.name).join(" | "));
    let mut truth: Vec<Option<Vec<f64>>> = vec![None; QUERIES.len()];
    for start in [start_prometheus, start_trivium, start_victoria_metrics] {
        let Some(peer) = start().await else { continue };
        if settings.only.as_deref().is_some_and(|only| only != peer.name) {
            continue;
        }
        let samples = peer.load(&narrow, settings.wide).await;
        let (cpu, bytes) = (peer.cpu_seconds(), peer.bytes());
        let mut cells = Vec::new();
        for (query, truth) in QUERIES.iter().zip(&mut truth) {
            cells.push(peer.measure(query, &narrow, settings.runs, truth).await);
        }
        let millions = samples as f64 / 1e6;
        println!(
            "| {} | {millions:.1} M | {:.2} | {:.2} | {} | peak {:.0} MiB",
            peer.name,
            cpu / millions,
            bytes as f64 / samples as f64,
            cells.join(" | "),
            peer.peak_mib()
        );
    }
}

/// Counters over time.
struct Narrow {
    series: usize,
    start: i64,
    end: i64,
}

struct Query {
    name: &'static str,
    text: &'static str,
    is_range: bool,
}

const QUERIES: [Query; 4] = [
    Query { name: "sum by (rate), range", text: "sum by (job) (rate(requests_total[5m]))", is_range: true },
    Query { name: "one series, range", text: r#"rate(requests_total{pod="pod-77"}[5m])"#, is_range: true },
    Query { name: "top 10 of the wide", text: "topk(10, wide)", is_range: false },
    Query { name: "sum of the wide by job", text: "sum by (job) (wide)", is_range: false },
];

fn labels(name: &str, index: usize) -> Vec<Label> {
    let label = |name: &str, value: String| Label { name: name.into(), value };
    vec![
        label("__name__", name.into()),
        label("container", format!("container-{}", index % 7)),
        label("instance", format!("10.0.{}.{}:9100", index / 250 % 250, index % 250)),
        label("job", format!("job-{}", index % 10)),
        label("namespace", format!("namespace-{}", index % 50)),
        label("pod", format!("pod-{index}")),
    ]
}

/// Requests for series `0..count` at one time.
fn requests(name: &str, count: usize, time: i64, value: impl Fn(usize) -> f64) -> Vec<Vec<u8>> {
    let indexes: Vec<usize> = (0..count).collect();
    let one = |chunk: &[usize]| {
        let timeseries = chunk.iter().map(|index| TimeSeries {
            labels: labels(name, *index),
            samples: vec![Sample { value: value(*index), timestamp: time * 1_000 + 300 }],
            ..TimeSeries::default()
        });
        let request = WriteRequest { timeseries: timeseries.collect(), ..WriteRequest::default() };
        snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("it compresses")
    };
    indexes.chunks(REQUEST_SAMPLES).map(one).collect()
}

struct Peer {
    name: &'static str,
    child: Child,
    base: String,
    flush: String,
    folder: PathBuf,
    extra: &'static [(&'static str, &'static str)],
    client: reqwest::Client,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn folder(name: &str) -> PathBuf {
    let folder = support::cache_folder().join(format!("promql-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

async fn peer(
    name: &'static str,
    folder: PathBuf,
    base: String,
    flush: String,
    ready: String,
    command: &mut Command,
) -> Peer {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let client = reqwest::Client::new();
    let extra: &[(&str, &str)] = if name == "VictoriaMetrics" { &[("nocache", "1")] } else { &[] };
    let peer = Peer { name, child, base, flush, folder, extra, client };
    while !peer.client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    peer
}

type Starting = std::pin::Pin<Box<dyn Future<Output = Option<Peer>>>>;

fn start_prometheus() -> Starting {
    Box::pin(async {
        let binary = Path::new("/usr/bin/prometheus");
        if !binary.exists() {
            return None;
        }
        let (folder, port) = (folder("prometheus"), free_port());
        let config = folder.join("prometheus.yml");
        fs::write(&config, "global: {}\n").expect("written");
        let base = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(binary);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-remote-write-receiver", "--query.max-samples=500000000"]);
        let ready = format!("{base}/-/ready");
        Some(peer("Prometheus 2.42", folder, base, String::new(), ready, &mut command).await)
    })
}

fn start_trivium() -> Starting {
    Box::pin(async {
        let (folder, port) = (folder("trivium"), free_port());
        let base = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_trivium"));
        command.args(["serve", "--retention", "none", "--log-level", "warn", "--data-dir"]).arg(folder.join("data"));
        command.args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http"]);
        command.arg(format!("127.0.0.1:{port}"));
        let (flush, ready) = (format!("{base}/-/flush"), format!("{base}/readyz"));
        Some(peer("Trivium", folder, format!("{base}/prometheus"), flush, ready, &mut command).await)
    })
}

fn start_victoria_metrics() -> Starting {
    Box::pin(async {
        let binary = Path::new("/usr/bin/victoria-metrics");
        if !binary.exists() {
            return None;
        }
        let (folder, port) = (folder("victoria-metrics"), free_port());
        let base = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(binary);
        command.arg(format!("-storageDataPath={}", folder.join("data").display()));
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .args(["-retentionPeriod=100y", "-search.maxUniqueTimeseries=5000000"]);
        let (flush, ready) = (format!("{base}/internal/force_flush"), format!("{base}/health"));
        Some(peer("VictoriaMetrics", folder, base, flush, ready, &mut command).await)
    })
}

impl Peer {
    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process lives");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
    }

    fn peak_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process lives");
        let value = status.lines().find(|l| l.starts_with("VmHWM")).and_then(|l| l.split_whitespace().nth(1));
        value.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    fn bytes(&self) -> u64 {
        fn of(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries
                .map(|entry| match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => of(&entry.path()),
                    Ok(metadata) => metadata.len(),
                    Err(_) => 0,
                })
                .sum()
        }
        of(&self.folder.join("data"))
    }

    /// Writes everything; how many samples that were.
    async fn load(&self, narrow: &Narrow, wide: usize) -> u64 {
        let mut samples = 0;
        let mut time = narrow.start;
        while time <= narrow.end {
            let step = (time - narrow.start) / INTERVAL;
            for body in
                requests("requests_total", narrow.series, time, |index| (step * (1 + index as i64 % 17) + 1_000) as f64)
            {
                self.write(body).await;
            }
            samples += narrow.series as u64;
            time += INTERVAL;
        }
        for time in [narrow.end - INTERVAL, narrow.end] {
            for body in requests("wide", wide, time, |index| (index * 7_919 % 1_000_003) as f64 / 7.0) {
                self.write(body).await;
            }
            samples += wide as u64;
        }
        if !self.flush.is_empty() {
            let request =
                if self.name == "Trivium" { self.client.post(&self.flush) } else { self.client.get(&self.flush) };
            assert!(request.send().await.is_ok_and(|answer| answer.status().is_success()), "{}: flush", self.name);
        }
        samples
    }

    async fn write(&self, body: Vec<u8>) {
        let request = self.client.post(format!("{}/api/v1/write", self.base)).body(body);
        let request = request.header("content-encoding", "snappy").header("content-type", "application/x-protobuf");
        let answer = request.header("x-prometheus-remote-write-version", "0.1.0").send().await.expect("an answer");
        let status = answer.status();
        assert!(status.is_success(), "{}: {status}: {}", self.name, answer.text().await.unwrap_or_default());
    }

    async fn measure(&self, query: &Query, narrow: &Narrow, runs: usize, truth: &mut Option<Vec<f64>>) -> String {
        let mut form: Vec<(&str, String)> = vec![("query", query.text.to_owned())];
        if query.is_range {
            form.push(("start", (narrow.start + 300).to_string()));
            form.push(("end", narrow.end.to_string()));
            form.push(("step", INTERVAL.to_string()));
        } else {
            form.push(("time", (narrow.end + 1).to_string()));
        }
        form.extend(self.extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let url = format!("{}/api/v1/{}", self.base, if query.is_range { "query_range" } else { "query" });
        let mut took = Vec::new();
        let mut first = Duration::ZERO;
        for run in 0..=runs {
            let begun = Instant::now();
            let answer = self.client.post(&url).form(&form).send().await.expect("an answer");
            let body = answer.bytes().await.expect("a body");
            if run == 0 {
                first = begun.elapsed();
                let found = values(&serde_json::from_slice(&body).expect("JSON"));
                check(self.name, query, found, truth);
            } else {
                took.push(begun.elapsed());
            }
        }
        let (p50, p99) = (percentile_ms(&mut took, 0.5), percentile_ms(&mut took, 0.99));
        format!("{p50:.1} / {p99:.1} ms (first {:.0})", first.as_secs_f64() * 1e3)
    }
}

/// All values of an answer, sorted.
fn values(json: &Value) -> Vec<f64> {
    assert_eq!(json["status"], "success", "{json}");
    let number = |pair: &Value| pair[1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    let series = json["data"]["result"].as_array().expect("series");
    let mut values: Vec<f64> = series
        .iter()
        .flat_map(|series| match series.get("value") {
            Some(value) => vec![number(value)],
            None => series["values"].as_array().expect("values").iter().map(number).collect(),
        })
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

fn check(name: &str, query: &Query, found: Vec<f64>, truth: &mut Option<Vec<f64>>) {
    match truth {
        None if name.starts_with("Prometheus") => *truth = Some(found),
        Some(truth) if name == "Trivium" => {
            let alike = |(left, right): (&f64, &f64)| (left - right).abs() <= 1e-6 * (left.abs() + right.abs());
            assert_eq!(found.len(), truth.len(), "{}", query.text);
            assert!(found.iter().zip(truth.iter()).all(alike), "{}: other values than Prometheus", query.text);
        }
        _ => {}
    }
}
