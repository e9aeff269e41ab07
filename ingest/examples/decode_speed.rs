//! CPU of decoding, in nanoseconds per log record, span and data point of the TrainTicket day, one thread.
//!
//! `cargo run --release -p trivium-ingest --example decode_speed [ROUNDS]`. Prints the fastest and the median round: the
//! fastest is what the code costs, the distance to the median is what the machine was busy with.

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::path::Path;
use std::time::Instant;

use trivium_ingest::decode::{DecodeContext, decode};
use trivium_model::{SignalKind, UnixNanos, WireFormat};

const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(ROUNDS), |text| text.parse())?;
    let only = std::env::args().nth(2);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/trainticket-2023-01-29");
    let context = DecodeContext { received_at: UnixNanos(1_700_000_000_000_000_000), oldest_admitted: UnixNanos::MIN };
    for signal in SignalKind::ALL {
        if only.as_ref().is_some_and(|only| only != signal.as_str()) {
            continue;
        }
        let bytes = zstd::decode_all(&std::fs::read(folder.join(format!("{signal}.otlp.zst")))?[..])?;
        let requests = requests(&bytes)?;
        let mut nanos: Vec<f64> = Vec::with_capacity(rounds);
        let mut memory = 0;
        for _ in 0..rounds.max(1) {
            let started = Instant::now();
            let mut items = 0;
            memory = 0;
            for request in &requests {
                let decoded = decode(signal, WireFormat::Otlp, request, &context)?;
                items += decoded.accepted;
                memory += decoded.batch.map_or(0, |batch| batch.get_array_memory_size());
            }
            nanos.push(started.elapsed().as_nanos() as f64 / items as f64);
        }
        nanos.sort_by(f64::total_cmp);
        let (fastest, median) = (nanos[0], nanos[nanos.len() / 2]);
        let ratio = memory as f64 / bytes.len() as f64;
        println!(
            "{signal:<8} {fastest:7.1} ns per {} (median {median:.1}), {ratio:.2} bytes of Arrow per byte",
            signal.item()
        );
    }
    Ok(())
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
