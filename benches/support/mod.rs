//! What both benchmarks share: the telemetry of `../shared/data` multiplied, a server of our own, its CPU and memory.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use trivium_model::SignalKind;
use trivium_proto::otlp::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use trivium_proto::otlp::metrics::v1::metric::Data;

/// How far apart two copies of the day are: its own length and a little.
const COPY_NANOS: u64 = 7 * 3600 * 1_000_000_000 + 600_000_000_000;

/// The files of one signal and what is in them.
#[derive(Clone, Debug)]
pub struct Payload {
    pub signal: SignalKind,
    pub path: PathBuf,
    pub items: u64,
    pub bytes: u64,
}

pub fn data_folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/trainticket-2023-01-29");
    folder.is_dir().then_some(folder)
}

pub fn cache_folder() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let folder = home.join(".cache/trivium-bench");
    fs::create_dir_all(&folder).expect("the cache folder can be made");
    folder
}

/// The TrainTicket day `copies` times, each with fresh IDs and later in time, as one file of varint-delimited requests.
pub fn payload(signal: SignalKind, copies: u64) -> Payload {
    let source = data_folder().expect("../shared/data is there").join(format!("{signal}.otlp.zst"));
    let path = cache_folder().join(format!("{signal}-x{copies}.otlp"));
    if !path.exists() {
        let partial = path.with_extension("partial");
        let mut output = BufWriter::new(File::create(&partial).expect("the payload file can be made"));
        for copy in 0..copies {
            for message in messages(zstd::Decoder::new(File::open(&source).expect("the data")).expect("zstd")) {
                write_message(&mut output, &rewrite(signal, &message, copy));
            }
        }
        output.flush().expect("the payload is written");
        fs::rename(partial, &path).expect("the payload is complete");
    }
    let (mut items, mut bytes) = (0, 0);
    for message in messages(BufReader::new(File::open(&path).expect("the payload"))) {
        items += count(signal, &message);
        bytes += message.len() as u64;
    }
    Payload { signal, path, items, bytes }
}

pub fn messages<R: Read>(input: R) -> impl Iterator<Item = Bytes> {
    let mut input = BufReader::with_capacity(1 << 20, input);
    std::iter::from_fn(move || {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let mut byte = [0];
            if input.read(&mut byte).expect("readable") == 0 {
                return None;
            }
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut message = vec![0; length];
        input.read_exact(&mut message).expect("a whole message");
        Some(Bytes::from(message))
    })
}

fn write_message(output: &mut impl Write, message: &[u8]) {
    let mut length = message.len();
    while length >= 0x80 {
        output.write_all(&[(length & 0x7f) as u8 | 0x80]).expect("written");
        length >>= 7;
    }
    output.write_all(&[length as u8]).expect("written");
    output.write_all(message).expect("written");
}

fn rewrite(signal: SignalKind, message: &[u8], copy: u64) -> Vec<u8> {
    let shift = copy * COPY_NANOS;
    match signal {
        SignalKind::Logs => {
            let mut request = ExportLogsServiceRequest::decode(message).expect("logs");
            for record in
                request.resource_logs.iter_mut().flat_map(|r| &mut r.scope_logs).flat_map(|s| &mut s.log_records)
            {
                record.time_unix_nano += shift;
                record.observed_time_unix_nano += shift;
                fresh_id(&mut record.trace_id, copy);
                fresh_id(&mut record.span_id, copy);
                if let Some(body) = &mut record.body
                    && let Some(trivium_proto::otlp::common::v1::any_value::Value::StringValue(text)) = &mut body.value
                {
                    *text = fresh_ids_in_text(text, copy);
                }
            }
            request.encode_to_vec()
        }
        SignalKind::Traces => {
            let mut request = ExportTraceServiceRequest::decode(message).expect("traces");
            for span in request.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans) {
                span.start_time_unix_nano += shift;
                span.end_time_unix_nano += shift;
                fresh_id(&mut span.trace_id, copy);
                fresh_id(&mut span.span_id, copy);
                fresh_id(&mut span.parent_span_id, copy);
            }
            request.encode_to_vec()
        }
        SignalKind::Metrics => {
            let mut request = ExportMetricsServiceRequest::decode(message).expect("metrics");
            let scopes = request.resource_metrics.iter_mut().flat_map(|r| &mut r.scope_metrics);
            for metric in scopes.flat_map(|scope| &mut scope.metrics) {
                if let Some(Data::Gauge(gauge)) = &mut metric.data {
                    gauge.data_points.iter_mut().for_each(|point| point.time_unix_nano += shift);
                }
            }
            request.encode_to_vec()
        }
    }
}

/// The same ID always becomes the same other ID, so that parents, logs and text still fit together.
fn fresh_id(id: &mut [u8], copy: u64) {
    if copy == 0 {
        return;
    }
    for half in id.chunks_mut(8) {
        let mut word = [0; 8];
        word[..half.len()].copy_from_slice(half);
        let mixed = mix(u64::from_be_bytes(word) ^ copy.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes();
        half.copy_from_slice(&mixed[..half.len()]);
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Runs of exactly 16 or 32 hexadecimal digits are trace and span IDs in this system's log texts.
fn fresh_ids_in_text(text: &str, copy: u64) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        output.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if run.len() == 32 || run.len() == 16 {
            let mut id: Vec<u8> =
                (0..run.len()).step_by(2).map(|i| u8::from_str_radix(&run[i..i + 2], 16).unwrap_or(0)).collect();
            fresh_id(&mut id, copy);
            id.iter().for_each(|byte| output.push_str(&format!("{byte:02x}")));
        } else {
            output.push_str(run);
        }
        rest = after;
    }
    output.push_str(rest);
    output
}

fn count(signal: SignalKind, message: &Bytes) -> u64 {
    let items: usize = match signal {
        SignalKind::Logs => {
            let request = ExportLogsServiceRequest::decode(message.clone()).expect("logs");
            request.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum()
        }
        SignalKind::Traces => {
            let request = ExportTraceServiceRequest::decode(message.clone()).expect("traces");
            request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
        }
        SignalKind::Metrics => {
            let request = ExportMetricsServiceRequest::decode(message.clone()).expect("metrics");
            let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
            let gauges =
                metrics.map(|m| if let Some(Data::Gauge(gauge)) = &m.data { gauge.data_points.len() } else { 0 });
            gauges.sum()
        }
    };
    items as u64
}

/// Z: CPU seconds of single-threaded `zstd -3` over the same bytes, in this run.
pub fn zstd_seconds(payload: &Payload) -> f64 {
    let mut encoder = zstd::Encoder::new(std::io::sink(), 3).expect("zstd");
    let mut cpu = 0.0;
    for message in messages(File::open(&payload.path).expect("the payload")) {
        let before = own_thread_cpu();
        encoder.write_all(&message).expect("compressed");
        cpu += own_thread_cpu() - before;
    }
    let before = own_thread_cpu();
    encoder.finish().expect("compressed");
    cpu + own_thread_cpu() - before
}

fn own_thread_cpu() -> f64 {
    // Nanoseconds on the CPU, the first number of schedstat; stat has ticks of 10 ms only.
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// A server of our own on free ports in a folder of its own.
pub struct Server {
    child: Child,
    pub folder: PathBuf,
    pub otlp_grpc: String,
    pub otlp_http: String,
    pub http: String,
    keep: bool,
}

impl Server {
    pub fn start(folder: &Path, keep: bool, extra: &[&str]) -> (Self, Duration) {
        fs::create_dir_all(folder).expect("a data folder");
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_trivium"))
            .args(["serve", "--retention", "none", "--log-level", "warn", "--data-dir"])
            .arg(folder)
            .args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(extra)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("standard output"));
        std::io::BufRead::read_line(&mut output, &mut line).expect("the line with the addresses");
        let took = begun.elapsed();
        let bound: serde_json::Value = serde_json::from_str(&line).expect("the addresses are JSON");
        let address = |key: &str| format!("http://{}", bound[key].as_str().expect("an address"));
        let server = Self {
            otlp_grpc: address("otlp_grpc"),
            otlp_http: address("otlp_http"),
            http: address("http"),
            folder: folder.to_path_buf(),
            child,
            keep,
        };
        (server, took)
    }

    /// CPU seconds of user and system so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process lives");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
        ticks / 100.0
    }

    /// MiB of a line of /proc/PID/status: `VmHWM` (peak) or `VmRSS`.
    pub fn memory_mib(&self, line: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process lives");
        let value = status.lines().find(|l| l.starts_with(line)).and_then(|l| l.split_whitespace().nth(1));
        value.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    /// Bytes on disk by the names of files (`columns.parquet`, `ids.idx`, `text.idx`, catalog, WAL).
    pub fn disk(&self) -> std::collections::BTreeMap<String, u64> {
        let mut sizes = std::collections::BTreeMap::new();
        visit(&self.folder, &mut |path, bytes| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let kind = if name.ends_with(".wal") { "wal".into() } else { name.into_owned() };
            *sizes.entry(kind).or_default() += bytes;
        });
        sizes
    }
}

fn visit(folder: &Path, file: &mut dyn FnMut(&Path, u64)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => visit(&entry.path(), file),
            Ok(metadata) => file(&entry.path(), metadata.len()),
            Err(_) => {}
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if !self.keep {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// The value below which `share` of the sorted durations lie, in milliseconds.
pub fn percentile_ms(durations: &mut [Duration], share: f64) -> f64 {
    durations.sort_unstable();
    let index = ((durations.len() as f64 - 1.0) * share).round() as usize;
    durations.get(index).map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
}
