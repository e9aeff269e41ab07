//! CPU of redaction, in nanoseconds per log record, span and data point of the TrainTicket day, one thread, where nothing is
//! found or next to nothing.
//!
//! `cargo run --release -p trivium-redact --example redact_speed [ROUNDS]`. Prints the fastest and the median round.

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::path::Path;

use prost::Message;
use trivium_model::{SignalKind, WireFormat};
use trivium_proto::otlp::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_redact::{Counts, Rules};

const ROUNDS: usize = 9;

const KEYS: &str = "- {name: keys, keys: [password, passwd, authorization, cookie, set-cookie, '*secret*', '*token*', \
                    '*api_key*', '*credential*'], action: drop}\n";
const PATTERNS: &str = "- {name: card, pattern: credit_card, action: mask, keep_last: 4}
- {name: mail, pattern: email, action: drop}
- {name: jwt, pattern: jwt, action: drop}
- {name: auth, pattern: authorization, action: drop}
- {name: aws, pattern: aws_access_key, action: drop}
- {name: pem, pattern: private_key, action: drop}
- {name: iban, pattern: iban, action: drop}
- {name: tokens, pattern: api_token, action: drop}
";
const ASSIGNMENT: &str = "- {name: assign, pattern: secret_assignment, action: drop}\n";
const OWN: &str = "- {name: own, regex: '[0-9]{3}-[0-9]{2}-[0-9]{4}', action: drop}\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(ROUNDS), |text| text.parse())?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data/trainticket-2023-01-29");
    let folder = if folder.exists() { folder } else { "/work/shared/data/trainticket-2023-01-29".into() };
    let sets = [
        ("keys", KEYS.to_owned()),
        ("card", PATTERNS.lines().next().unwrap_or_default().to_owned() + "\n"),
        ("patterns", PATTERNS.to_owned()),
        ("keys and patterns", format!("{KEYS}{PATTERNS}")),
        ("with secret_assignment", format!("{KEYS}{PATTERNS}{ASSIGNMENT}")),
        ("with an own expression", format!("{KEYS}{PATTERNS}{OWN}")),
    ];
    for signal in SignalKind::ALL {
        let bytes = zstd::decode_all(&std::fs::read(folder.join(format!("{signal}.otlp.zst")))?[..])?;
        let requests = requests(&bytes)?;
        let items = requests.iter().map(|request| count(signal, request)).sum::<Result<usize, _>>()?;
        println!("{signal}: {items} {}s of {} bytes", signal.item(), bytes.len() / items.max(1));
        for (name, text) in &sets {
            let rules = Rules::parse(&format!("rules:\n{text}"), Path::new(""))?;
            let mut nanos: Vec<f64> = Vec::with_capacity(rounds);
            let mut counts = Counts::default();
            for _ in 0..rounds.max(1) {
                counts = Counts::default();
                let started = cpu_nanos()?;
                for request in &requests {
                    drop(rules.redact(signal, WireFormat::Otlp, request, &mut counts)?);
                }
                nanos.push((cpu_nanos()? - started) as f64 / items as f64);
            }
            nanos.sort_by(f64::total_cmp);
            println!(
                "  {name:<24} {:7.1} ns (median {:.1}), {} hits",
                nanos[0],
                nanos[nanos.len() / 2],
                counts.total()
            );
        }
    }
    Ok(())
}

/// What this thread has computed so far; the machine may be busy with others.
fn cpu_nanos() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("no CPU time")?.parse()?)
}

fn count(signal: SignalKind, request: &[u8]) -> Result<usize, prost::DecodeError> {
    Ok(match signal {
        SignalKind::Logs => {
            let request = ExportLogsServiceRequest::decode(request)?;
            request.resource_logs.iter().flat_map(|of| &of.scope_logs).map(|of| of.log_records.len()).sum()
        }
        SignalKind::Traces => {
            let request = ExportTraceServiceRequest::decode(request)?;
            request.resource_spans.iter().flat_map(|of| &of.scope_spans).map(|of| of.spans.len()).sum()
        }
        SignalKind::Metrics => {
            let request = ExportMetricsServiceRequest::decode(request)?;
            let metrics = request.resource_metrics.iter().flat_map(|of| &of.scope_metrics).flat_map(|of| &of.metrics);
            metrics.filter_map(|metric| metric.data.as_ref()).map(points).sum()
        }
    })
}

fn points(data: &Data) -> usize {
    match data {
        Data::Gauge(data) => data.data_points.len(),
        Data::Sum(data) => data.data_points.len(),
        Data::Histogram(data) => data.data_points.len(),
        Data::ExponentialHistogram(data) => data.data_points.len(),
        Data::Summary(data) => data.data_points.len(),
    }
}

/// The requests of a data file: each a varint length and that many bytes.
fn requests(mut bytes: &[u8]) -> Result<Vec<&[u8]>, Box<dyn std::error::Error>> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let length = usize::try_from(prost::encoding::decode_varint(&mut bytes)?)?;
        let (request, rest) = bytes.split_at_checked(length).ok_or("the file ends inside a request")?;
        requests.push(request);
        bytes = rest;
    }
    Ok(requests)
}
