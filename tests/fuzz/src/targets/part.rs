//! Files of a part. The sums of the record are those of the mutated files: what a disk changes is found by them, so that
//! here only what lies behind them is of interest.

use std::path::Path;
use std::sync::Arc;

use prost::Message;
use tempfile::TempDir;
use trivium_ingest::decode::decode;
use trivium_model::{PartId, SignalKind, TenantId, UnixNanos, WireFormat};
use trivium_storage::{
    EncodedPart, NewPart, PageCache, Part, PartFile, PartRecord, RowRanges, TokenFilter, encode_part,
};

use arrow::array::{ArrayRef, TimestampNanosecondArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use trivium_storage::schema::table_schema;

use super::otlp::{context, log_request};
use super::{Kind, Target, target};

const IDS: &str = "ids.idx";
const TEXT: &str = "text.idx";
const COLUMNS: &str = "columns.parquet";

const IDS_HEADER_BYTES: usize = 48;

/// A folder in memory, when the machine has one.
pub(super) fn folder() -> Option<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).ok() } else { tempfile::tempdir().ok() }
}

/// A part of logs.
pub(super) fn make() -> Option<EncodedPart> {
    let mut request = log_request();
    let records = &mut request.resource_logs[0].scope_logs[0].log_records;
    let first = records[0].clone();
    records.extend((0_u8..200).map(|number| {
        let mut record = first.clone();
        record.trace_id = vec![number; 16];
        record.time_unix_nano += u64::from(number);
        record
    }));
    let decoded = decode(SignalKind::Logs, WireFormat::Otlp, &request.encode_to_vec(), &context()).ok()?;
    let batch = decoded.batch?;
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns.push(Arc::new(TimestampNanosecondArray::from(vec![context().received_at.0; rows])));
    columns.push(Arc::new(UInt64Array::from(vec![1; rows])));
    let table = RecordBatch::try_new(table_schema(SignalKind::Logs), columns).ok()?;
    let new = NewPart {
        id: PartId([1; 16]),
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        level: 0,
        created_at: UnixNanos(0),
    };
    encode_part(new, &[table]).ok()
}

/// The files of a part, each mutated with the others as they were.
pub(super) fn targets() -> Vec<Target> {
    let Some(part) = make().map(Arc::new) else { return Vec::new() };
    let one = |name: &'static str, file: &'static str, inputs: u64| {
        let files = part.files.iter().filter(|(found, _)| found == file);
        let (seeds, part) = (files.map(|(_, bytes)| bytes.to_vec()).collect(), Arc::clone(&part));
        target(name, Kind::Bytes, inputs, seeds, move |input| look(&part, file, input))
    };
    vec![one("part_columns", COLUMNS, 300), one("part_ids", IDS, 600), one("part_text", TEXT, 300)]
}

/// The part with one file replaced, on the disk and in its record.
fn with(part: &EncodedPart, folder: &Path, name: &str, input: &[u8]) -> Option<PartRecord> {
    let mut record = part.record.clone();
    record.files.clear();
    for (found, bytes) in &part.files {
        let bytes = if found == name { input } else { bytes.as_ref() };
        std::fs::write(folder.join(found), bytes).ok()?;
        record.files.push(PartFile { name: found.clone(), bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) });
    }
    Some(record)
}

fn look(part: &EncodedPart, name: &str, input: &[u8]) -> Result<bool, String> {
    let input = &if name == IDS { resealed(input) } else { input.to_vec() };
    let Some(folder) = folder() else { return Ok(false) };
    let Some(record) = with(part, folder.path(), name, input) else { return Ok(false) };
    let rows = record.rows;
    let part = Part::open(record, folder.path().to_path_buf(), &Arc::new(PageCache::new(1 << 20)));
    let mut is_read = part.verify(true).is_ok();
    for filter in [
        TokenFilter::Token("order".into()),
        TokenFilter::Prefix("or".into()),
        TokenFilter::Token("07070707070707070707070707070707".into()),
        TokenFilter::Token("failed".into()),
    ] {
        if let Ok(found) = part.candidate_rows(&filter) {
            is_read = true;
            let beyond = found.iter().any(|range| range.end > rows);
            if beyond {
                return Err(format!("rows beyond the {rows} that there are"));
            }
            if name == COLUMNS {
                drop(part.read(Some(&["body", "trace_id", "time"]), Some(&found)));
            }
        }
    }
    if name == COLUMNS {
        drop(part.read(None, None));
        drop(part.read(None, Some(&RowRanges::from_sorted([3..9, 100..150]))));
    }
    Ok(is_read)
}

/// An ID index with the sum of its header put right.
fn resealed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    if bytes.len() >= IDS_HEADER_BYTES {
        let sum = crc32c::crc32c(&bytes[..IDS_HEADER_BYTES - 4]);
        bytes[IDS_HEADER_BYTES - 4..IDS_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}
