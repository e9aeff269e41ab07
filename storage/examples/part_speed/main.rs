//! Measures what a part costs: CPU and bytes per row, by signal and file, on the TrainTicket day.
//!
//! `cargo run --release -p trivium-storage --example part_speed [logs|traces|metrics] [repetitions]`

#![expect(clippy::print_stdout, reason = "a stopwatch prints what it measured")]

mod load;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use parquet::file::reader::{FileReader, SerializedFileReader};
use trivium_model::{PartId, SignalKind, TenantId, UnixNanos};
use trivium_storage::{EncodedPart, NewPart, PageCache, Part, RowRanges, TokenFilter, encode_part};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next().unwrap_or_else(|| "all".to_owned());
    let repetitions: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/trainticket-2023-01-29");
    let folder = if folder.exists() { folder } else { "/work/shared/data/trainticket-2023-01-29".into() };
    for (signal, file) in [(SignalKind::Logs, "logs"), (SignalKind::Traces, "traces"), (SignalKind::Metrics, "metrics")]
    {
        if only != "all" && only != file {
            continue;
        }
        let requests = load::requests(&folder.join(format!("{file}.otlp.zst")))?;
        let batches = load::batches(signal, &requests);
        measure(signal, &batches, repetitions)?;
    }
    Ok(())
}

fn new_part(signal: SignalKind) -> NewPart {
    NewPart { id: PartId([1; 16]), tenant: TenantId::DEFAULT, signal, level: 0, created_at: UnixNanos(0) }
}

/// CPU time of this thread, which other work on the machine does not distort much.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?;
    Ok(nanos / 1e9)
}

fn measure(signal: SignalKind, batches: &[RecordBatch], repetitions: usize) -> Result<(), Box<dyn std::error::Error>> {
    let rows = load::rows(batches);
    let mut best = f64::MAX;
    let mut last: Option<EncodedPart> = None;
    for _ in 0..repetitions {
        let start = cpu_seconds()?;
        last = Some(encode_part(new_part(signal), batches)?);
        best = best.min(cpu_seconds()? - start);
    }
    let part = last.ok_or("no repetition")?;
    println!("{signal}: {rows} rows, encode {:.0} CPU ns/row", best * 1e9 / rows as f64);
    for (name, bytes) in &part.files {
        println!("  {name}: {:.2} B/row", bytes.len() as f64 / rows as f64);
    }
    let total: usize = part.files.iter().map(|(_, bytes)| bytes.len()).sum();
    println!("  total: {:.2} B/row", total as f64 / rows as f64);
    columns(rows, &part)?;
    let folder = Path::new("/tmp/part_speed").join(signal.as_str());
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in &part.files {
        std::fs::write(folder.join(name), bytes)?;
    }
    needles(signal, &Part::open(part.record, folder, &Arc::new(PageCache::new(0))))
}

/// How long a look-up by an ID takes: the index alone, and with the whole row read.
fn needles(signal: SignalKind, part: &Part) -> Result<(), Box<dyn std::error::Error>> {
    if signal == SignalKind::Metrics {
        return Ok(());
    }
    let ids: Vec<String> = part.read(Some(&["span_id"]), None)?.iter().flat_map(hex_ids).collect();
    let ids: Vec<&String> = ids.iter().step_by(ids.len().div_ceil(200)).collect();
    let filter = |text: &str| TokenFilter::Token(text.to_owned());
    part.candidate_rows(&filter(ids[0]))?;
    part.read(None, Some(&RowRanges::from_sorted([0..1])))?;
    let absent: Vec<String> = (0..200_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let timed = |name: &str, look_up: &dyn Fn(usize) -> Result<u64, trivium_storage::Error>| {
        let mut micros = Vec::with_capacity(200);
        let mut rows = 0;
        for index in 0..ids.len() {
            let start = Instant::now();
            rows += look_up(index)?;
            micros.push(start.elapsed().as_nanos() as f64 / 1e3);
        }
        micros.sort_by(f64::total_cmp);
        let (median, late) = (micros[micros.len() / 2], micros[micros.len() * 99 / 100]);
        println!("    {name}: p50 {median:.1} us, p99 {late:.1} us, {} rows", rows / ids.len() as u64);
        Ok::<_, trivium_storage::Error>(())
    };
    timed("present ID, index", &|index| Ok(part.candidate_rows(&filter(ids[index]))?.len()))?;
    timed("absent ID, index", &|index| Ok(part.candidate_rows(&filter(&absent[index]))?.len()))?;
    timed("ID columns of the candidates", &|index| {
        let rows = part.candidate_rows(&filter(ids[index]))?;
        Ok(part.read(Some(&["trace_id", "span_id"]), Some(&rows))?.iter().map(|batch| batch.num_rows() as u64).sum())
    })?;
    timed("one whole row", &|index| {
        let row = part.record().rows / 200 * index as u32;
        let rows = RowRanges::from_sorted([row..row + 1]);
        Ok(part.read(None, Some(&rows))?.iter().map(|batch| batch.num_rows() as u64).sum())
    })?;
    Ok(())
}

fn hex_ids(batch: &RecordBatch) -> Vec<String> {
    let ids = batch.column(0).as_fixed_size_binary();
    ids.iter().flatten().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

fn columns(rows: usize, part: &EncodedPart) -> Result<(), Box<dyn std::error::Error>> {
    let Some((_, bytes)) = part.files.iter().find(|(name, _)| name == "columns.parquet") else { return Ok(()) };
    let reader = SerializedFileReader::new(bytes.clone())?;
    let metadata = reader.metadata();
    let mut sum = 0;
    for leaf in 0..metadata.file_metadata().schema_descr().num_columns() {
        let chunks = || metadata.row_groups().iter().map(|group| group.column(leaf));
        let size: i64 = chunks().map(|chunk| chunk.compressed_size()).sum();
        sum += size;
        if size as f64 / rows as f64 >= 0.01 {
            let first = metadata.row_group(0).column(leaf);
            let encodings: Vec<String> = first.encodings().map(|encoding| encoding.to_string()).collect();
            println!(
                "    {:24} {:6.2} B/row {:?} {encodings:?}",
                first.column_path().string(),
                size as f64 / rows as f64,
                first.compression()
            );
        }
    }
    println!("    {:24} {:6.2} B/row", "footer and page index", (bytes.len() as i64 - sum) as f64 / rows as f64);
    Ok(())
}
