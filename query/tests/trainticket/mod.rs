//! The TrainTicket logs of `../shared/data` as rows and parts of the store.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::TimestampNanosecondType;
use trivium_ingest::decode::{DecodeContext, decode};
use trivium_model::{PartId, SignalKind, TenantId, UnixNanos, WireFormat};
use trivium_storage::schema::table_schema;
use trivium_storage::{NewPart, PageCache, Part, encode_part};

const NAMES: [&str; 2] = ["../../shared/data", "../../../shared/data"];

/// The messages of a file, see `data/README.md`; `None` when the data are not there.
#[allow(clippy::print_stdout, reason = "a skipped test says so; the example that shares this file may print anyway")]
pub(crate) fn messages() -> Option<Vec<Vec<u8>>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = |folder: &str| root.join(folder).join("trainticket-2023-01-29/logs.otlp.zst");
    let Some(path) = NAMES.iter().map(|folder| file(folder)).find(|path| path.exists()) else {
        println!("skipped: {} is not there", file(NAMES[0]).display());
        return None;
    };
    let mut bytes = Vec::new();
    let packed = std::fs::File::open(path).expect("a readable file");
    zstd::Decoder::new(packed).expect("zstd").read_to_end(&mut bytes).expect("a whole stream");
    let mut messages = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = rest[0];
            rest = &rest[1..];
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (message, after) = rest.split_at(length);
        messages.push(message.to_vec());
        rest = after;
    }
    Some(messages)
}

/// The decoded rows with the columns that the store adds, moved by some days.
pub(crate) fn batches(messages: &[Vec<u8>], days: i64) -> Vec<RecordBatch> {
    let context = DecodeContext { received_at: UnixNanos(1_700_000_000_000_000_000), oldest_admitted: UnixNanos::MIN };
    let first = u64::try_from(days).expect("not negative") * 1_000_000;
    let batch = |(position, message): (u64, &Vec<u8>)| {
        let decoded =
            decode(SignalKind::Logs, WireFormat::Otlp, message, &context).expect("valid OTLP").batch.expect("rows");
        let rows = decoded.num_rows();
        let moved = decoded
            .column(0)
            .as_primitive::<TimestampNanosecondType>()
            .unary::<_, TimestampNanosecondType>(|time| time + days * 86_400_000_000_000);
        let mut columns: Vec<ArrayRef> = decoded.columns().to_vec();
        columns[0] = Arc::new(moved);
        columns.push(Arc::new(TimestampNanosecondArray::from(vec![context.received_at.0; rows])));
        columns.push(Arc::new(UInt64Array::from(vec![position; rows])));
        RecordBatch::try_new(table_schema(SignalKind::Logs), columns).expect("the logs table")
    };
    (first + 1..).zip(messages).map(batch).collect()
}

/// Writes batches as a part.
pub(crate) fn part(folder: &Path, number: u8, batches: &[RecordBatch]) -> Arc<Part> {
    let new = NewPart {
        id: PartId([number; 16]),
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        level: 1,
        created_at: UnixNanos(0),
    };
    let encoded = encode_part(new, batches).expect("a part");
    let folder = folder.join(number.to_string());
    std::fs::create_dir(&folder).expect("a folder");
    for (name, bytes) in &encoded.files {
        std::fs::write(folder.join(name), bytes).expect("a file");
    }
    Arc::new(Part::open(encoded.record, folder, &Arc::new(PageCache::new(1 << 20))))
}
