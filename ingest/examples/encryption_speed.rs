//! What encryption at rest costs, on the log records of the TrainTicket day: CPU and time per MB of requests that are stored and
//! of part files that are read, without and with a key file.
//!
//! `cargo run --release -p trivium-ingest --example encryption_speed [REQUESTS]`. Stored is a request when it is in the WAL;
//! sealing, merging and reading are measured apart. What is read comes from the page cache of the kernel.

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use trivium_ingest::decode::{DecodeContext, ReplayDecoder, decode};
use trivium_model::{ManualClock, RequestKey, SignalKind, TenantId, UnixNanos, WireFormat};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::encryption::new_master_line;
use trivium_storage::fs::RealFileSystem;
use trivium_storage::{AppendRequest, Storage, StorageConfig, StorageDeps, TokenFilter};

const NOW: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

/// Appends that wait for the same fsync.
const AT_ONCE: usize = 64;

/// Everything is read this often, to find the fastest time.
const REPEATS: usize = 5;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let count = std::env::args().nth(1).map_or(Ok(2_000), |text| text.parse())?;
    let requests = requests(Path::new("/work/shared/data/trainticket-2023-01-29/logs.otlp.zst"), count)?;
    let folder = std::env::temp_dir().join(format!("trivium-encryption-speed-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let keys = folder.join("keys");
    std::fs::write(&keys, new_master_line("example")?.as_bytes())?;
    for round in 0..2 {
        for (name, key_file) in [("plain", None), ("encrypted", Some(keys.clone()))] {
            measure(&folder.join(format!("{name}-{round}")), name, key_file, &requests).await?;
        }
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The first requests of a file.
fn requests(path: &Path, count: usize) -> Result<Vec<AppendRequest>, Failure> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(std::fs::File::open(path)?)?.read_to_end(&mut bytes)?;
    let context = DecodeContext { received_at: NOW, oldest_admitted: UnixNanos::MIN };
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() && found.len() < count {
        let length = prost::decode_length_delimiter(&mut rest)?;
        let (payload, next) = rest.split_at(length);
        rest = next;
        let decoded = decode(SignalKind::Logs, WireFormat::Otlp, payload, &context)?;
        let Some(batch) = decoded.batch else { continue };
        found.push(AppendRequest {
            tenant: TenantId::DEFAULT,
            signal: SignalKind::Logs,
            format: WireFormat::Otlp,
            key: RequestKey((found.len() as u128).to_be_bytes()),
            received_at: NOW,
            oldest_admitted: UnixNanos::MIN,
            payload: payload.to_vec().into(),
            batch,
        });
    }
    Ok(found)
}

async fn measure(
    folder: &Path,
    name: &str,
    encryption_key_file: Option<PathBuf>,
    requests: &[AppendRequest],
) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::new(ManualClock::new(NOW)),
        catalog: Arc::new(SqliteCatalog::open(folder).await?),
        decoder: Arc::new(ReplayDecoder),
        seed: 1,
    };
    let mut config = StorageConfig { encryption_key_file, page_cache_bytes_max: 0, ..StorageConfig::default() };
    SignalKind::ALL.into_iter().for_each(|signal| config.set_retention(signal, None));
    let (storage, _) = Storage::open(folder, config, deps).await?;
    let (started, before) = (Instant::now(), cpu_seconds()?);
    for group in requests.chunks(AT_ONCE) {
        let appends = group.iter().map(|request| storage.append(request.clone()));
        futures::future::try_join_all(appends).await?;
    }
    let stored = (started.elapsed().as_secs_f64(), cpu_seconds()? - before);
    let before = cpu_seconds()?;
    storage.flush().await?;
    let published = cpu_seconds()? - before;
    let sent: usize = requests.iter().map(|request| request.payload.len()).sum();
    let files: u64 = storage.parts().iter().flat_map(|part| &part.files).map(|file| file.bytes).sum();
    let (scan, look_up) = (fastest_scan(&storage)?, fastest_look_up(&storage)?);
    let (sent, files) = (sent as f64 / 1e6, files as f64 / 1e6);
    println!(
        "{name:9}: stored {sent:.1} MB, {:.3} ms and {:.3} CPU-ms a MB; published {:.3} CPU-ms a MB of requests; {files:.3} MB of files \
         scanned in {:.3} ms a MB; a look-up of a word {:.3} ms",
        stored.0 * 1e3 / sent,
        stored.1 * 1e3 / sent,
        published * 1e3 / sent,
        scan * 1e3 / files,
        look_up * 1e3
    );
    storage.close().await;
    Ok(())
}

/// Seconds in which all columns of all rows are read.
fn fastest_scan(storage: &Storage) -> Result<f64, Failure> {
    let mut fastest = f64::MAX;
    for _ in 0..REPEATS {
        let started = Instant::now();
        for part in storage.snapshot(TenantId::DEFAULT, SignalKind::Logs).parts {
            part.read(None, None)?;
        }
        fastest = fastest.min(started.elapsed().as_secs_f64());
    }
    Ok(fastest)
}

/// Seconds in which the rows that hold a word are found and their bodies read.
fn fastest_look_up(storage: &Storage) -> Result<f64, Failure> {
    let mut fastest = f64::MAX;
    let filter = TokenFilter::Token("exception".into());
    for _ in 0..REPEATS {
        let started = Instant::now();
        for part in storage.snapshot(TenantId::DEFAULT, SignalKind::Logs).parts {
            let rows = part.candidate_rows(&filter)?;
            part.read(Some(&["body"]), Some(&rows))?;
        }
        fastest = fastest.min(started.elapsed().as_secs_f64());
    }
    Ok(fastest)
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
