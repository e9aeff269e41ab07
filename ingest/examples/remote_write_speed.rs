//! CPU of remote write in nanoseconds per sample: decoding alone, and all of it up to published parts.
//!
//! `cargo run --release -p trivium-ingest --example remote_write_speed [SERIES] [ROUNDS]`. Every round sends one sample of
//! each series, as Prometheus does after a scrape, in requests of 1,000 series.

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;
use prost::Message;
use trivium_ingest::decode::{DecodeContext, ReplayDecoder, decode};
use trivium_ingest::{Coding, ExportRequest, IngestConfig, IngestDeps, PayloadFormat, Sink};
use trivium_model::{ManualClock, SignalKind, TenantId, UnixNanos, WireFormat};
use trivium_proto::prometheus::{v1, v2};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::RealFileSystem;
use trivium_storage::{Storage, StorageConfig, StorageDeps};

const START: i64 = 1_700_000_000_000;
const INTERVAL: i64 = 15_000;
const REQUEST_SERIES: usize = 1_000;

/// Decoding is repeated this often, to find the fastest round.
const REPEATS: usize = 15;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let series = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let rounds = arguments.next().map_or(Ok(100), |text| text.parse())?;
    for (format, make) in
        [(WireFormat::RemoteWrite1, first as fn(&[usize], i64) -> Vec<u8>), (WireFormat::RemoteWrite2, second)]
    {
        measure_decoding(format, make, series)?;
        measure_pipeline(format, make, series, rounds).await?;
    }
    Ok(())
}

/// The requests of one round.
fn requests(make: fn(&[usize], i64) -> Vec<u8>, series: usize, round: i64) -> Vec<Vec<u8>> {
    let all: Vec<usize> = (0..series).collect();
    all.chunks(REQUEST_SERIES).map(|chunk| make(chunk, START + round * INTERVAL)).collect()
}

fn measure_decoding(format: WireFormat, make: fn(&[usize], i64) -> Vec<u8>, series: usize) -> Result<(), Failure> {
    let context = DecodeContext { received_at: UnixNanos(START * 1_000_000), oldest_admitted: UnixNanos::MIN };
    let requests = requests(make, series, 0);
    let bytes: usize = requests.iter().map(Vec::len).sum();
    let mut nanos = Vec::new();
    for _ in 0..REPEATS {
        let started = Instant::now();
        let mut samples = 0;
        for request in &requests {
            samples += decode(SignalKind::Metrics, format, request, &context)?.accepted;
        }
        nanos.push(started.elapsed().as_nanos() as f64 / samples as f64);
    }
    nanos.sort_by(f64::total_cmp);
    let (fastest, median) = (nanos[0], nanos[REPEATS / 2]);
    println!("{format:?}: decode {fastest:.1} ns a sample (median {median:.1}), {} bytes a sample", bytes / series);
    Ok(())
}

async fn measure_pipeline(
    format: WireFormat,
    make: fn(&[usize], i64) -> Vec<u8>,
    series: usize,
    rounds: i64,
) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("trivium-remote-write-speed-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let clock = Arc::new(ManualClock::new(UnixNanos(START * 1_000_000)));
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::<ManualClock>::clone(&clock),
        catalog: Arc::new(SqliteCatalog::open(&folder).await?),
        decoder: Arc::new(ReplayDecoder),
        seed: 1,
    };
    let (storage, _) = Storage::open(&folder, StorageConfig::default(), deps).await?;
    let mut registry = Registry::default();
    let sink = Arc::new(storage.clone()) as Arc<dyn Sink>;
    let ingest = trivium_ingest::build(IngestConfig::default(), IngestDeps { sink, clock, registry: &mut registry });
    let pipeline = ingest.pipeline();
    let maintenance = tokio::spawn({
        let storage = storage.clone();
        async move { storage.maintain(std::future::pending()).await }
    });
    let (mut making, started) = (0.0, cpu_seconds()?);
    for round in 0..rounds {
        let before = cpu_seconds()?;
        let bodies: Vec<Vec<u8>> = requests(make, series, round)
            .iter()
            .map(|payload| snap::raw::Encoder::new().compress_vec(payload))
            .collect::<Result<_, _>>()?;
        making += cpu_seconds()? - before;
        for body in bodies {
            let request = ExportRequest {
                tenant: TenantId::DEFAULT,
                signal: SignalKind::Metrics,
                wire_format: format,
                format: PayloadFormat::Protobuf,
                coding: Coding::Snappy,
                body: body.into(),
            };
            pipeline.export(request).await?;
        }
    }
    storage.flush().await?;
    let seconds = cpu_seconds()? - started - making;
    let samples = series as f64 * rounds as f64;
    let bytes: u64 = storage.parts().iter().flat_map(|part| &part.files).map(|file| file.bytes).sum();
    println!(
        "{format:?}: {:.3} CPU-s per million samples with snappy, WAL, parts and compaction; {:.2} bytes a sample on disk",
        seconds * 1e6 / samples,
        bytes as f64 / samples
    );
    maintenance.abort();
    storage.close().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// CPU seconds of this process, of all its threads.
fn cpu_seconds() -> Result<f64, Failure> {
    /// What the kernel counts in, on every platform that Linux runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.get(11..13).ok_or("no times")?.iter().map(|ticks| ticks.parse().unwrap_or(0.0)).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

/// Labels as a scrape of an instrumented service has them.
fn labels(series: usize) -> Vec<(&'static str, String)> {
    vec![
        ("__name__", format!("http_server_requests_{}_total", series % 50)),
        ("cluster", "production-eu-west-1".into()),
        ("container", "shop".into()),
        ("endpoint", "metrics".into()),
        ("instance", format!("10.42.{}.{}:8080", series / 50 % 20, series % 7)),
        ("job", format!("team-{}/shop", series % 4)),
        ("method", "GET".into()),
        ("namespace", "shop".into()),
        ("pod", format!("shop-7d9c5b8f6-{:05}", series / 50)),
        ("status", format!("{}", 200 + series % 5)),
    ]
}

fn value(series: usize, time: i64) -> f64 {
    (series as i64 * 7 + (time - START) / 1_000 * (1 + series as i64 % 13)) as f64
}

fn first(series: &[usize], timestamp: i64) -> Vec<u8> {
    let one = |series: &usize| v1::TimeSeries {
        labels: labels(*series).into_iter().map(|(name, value)| v1::Label { name: name.into(), value }).collect(),
        samples: vec![v1::Sample { value: value(*series, timestamp), timestamp }],
        ..v1::TimeSeries::default()
    };
    v1::WriteRequest { timeseries: series.iter().map(one).collect(), metadata: Vec::new() }.encode_to_vec()
}

fn second(series: &[usize], timestamp: i64) -> Vec<u8> {
    let mut symbols = vec![String::new(), "Requests that were served".to_owned()];
    let mut known = std::collections::HashMap::new();
    let mut symbol = |text: String| {
        *known.entry(text).or_insert_with_key(|text| {
            symbols.push(text.clone());
            symbols.len() as u32 - 1
        })
    };
    let mut timeseries = Vec::new();
    for series in series {
        let pairs = labels(*series).into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        timeseries.push(v2::TimeSeries {
            labels_refs: pairs.map(&mut symbol).collect(),
            samples: vec![v2::Sample { value: value(*series, timestamp), timestamp, start_timestamp: START }],
            metadata: Some(v2::Metadata { metric_type: 1, help_ref: 1, unit_ref: 0 }),
            ..v2::TimeSeries::default()
        });
    }
    v2::Request { symbols, timeseries }.encode_to_vec()
}
