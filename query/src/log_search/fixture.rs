//! Log records for tests, written as JSON lines.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryBuilder, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::Int32Type;
use serde::Deserialize;
use serde_json::value::RawValue;
use trivium_model::{PartId, SignalKind, TenantId, UnixNanos};
use trivium_storage::schema::logs_schema;
use trivium_storage::{NewPart, PageCache, Part, encode_part};

/// A log record. Attribute sets are canonical JSON.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogRow {
    pub(crate) id: u32,
    pub(crate) time: i64,
    pub(crate) observed_delay: Option<i64>,
    pub(crate) service: String,
    pub(crate) severity_number: i32,
    pub(crate) severity_text: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) body_type: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) span_id: Option<String>,
    pub(crate) flags: u32,
    pub(crate) event_name: Option<String>,
    pub(crate) attributes: Option<Box<RawValue>>,
    pub(crate) resource: Option<Box<RawValue>>,
    pub(crate) scope: Option<Box<RawValue>>,
    pub(crate) position: u64,
}

impl LogRow {
    pub(crate) fn new(time: i64, position: u64, body: &str) -> Self {
        Self { time, position, body: Some(body.to_owned()), ..Self::default() }
    }

    fn body_type(&self) -> Option<&str> {
        self.body.as_ref().map(|_| self.body_type.as_deref().unwrap_or("string"))
    }
}

pub(crate) fn rows_of_json_lines(lines: &str) -> Vec<LogRow> {
    lines.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The rows as a batch of the logs table.
pub(crate) fn batch(rows: &[LogRow]) -> RecordBatch {
    let texts = |text: &dyn Fn(&LogRow) -> Option<String>| -> ArrayRef {
        let column: DictionaryArray<Int32Type> =
            rows.iter().map(text).collect::<Vec<_>>().iter().map(Option::as_deref).collect();
        Arc::new(column)
    };
    let objects = |object: &dyn Fn(&LogRow) -> Option<&RawValue>| {
        texts(&|row| Some(object(row).map_or("{}", RawValue::get).to_owned()))
    };
    let times = |times: Vec<Option<i64>>| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(times)) };
    let counts =
        |count: &dyn Fn(&LogRow) -> u32| -> ArrayRef { Arc::new(rows.iter().map(count).collect::<UInt32Array>()) };
    let bodies: StringArray = rows.iter().map(|row| row.body.as_deref()).collect();
    let severities: Int32Array = rows.iter().map(|row| Some(row.severity_number)).collect();
    let columns: Vec<ArrayRef> = vec![
        times(rows.iter().map(|row| Some(row.time)).collect()),
        Arc::new(rows.iter().map(|row| row.observed_delay).collect::<Int64Array>()),
        texts(&|row| Some(row.service.clone())),
        Arc::new(severities),
        texts(&|row| row.severity_text.clone()),
        Arc::new(bodies),
        texts(&|row| row.body_type().map(str::to_owned)),
        ids(rows.iter().map(|row| row.trace_id.as_deref()), 16),
        ids(rows.iter().map(|row| row.span_id.as_deref()), 8),
        counts(&|row| row.flags),
        texts(&|row| row.event_name.clone()),
        objects(&|row| row.attributes.as_deref()),
        counts(&|_| 0),
        objects(&|row| row.resource.as_deref()),
        texts(&|_| None),
        counts(&|_| 0),
        objects(&|row| row.scope.as_deref()),
        times(rows.iter().map(|row| Some(row.time)).collect()),
        Arc::new(rows.iter().map(|row| row.position).collect::<UInt64Array>()),
    ];
    RecordBatch::try_new(logs_schema(), columns).expect("columns of the logs table")
}

fn ids<'a>(ids: impl Iterator<Item = Option<&'a str>>, bytes: i32) -> ArrayRef {
    let mut column = FixedSizeBinaryBuilder::new(bytes);
    for id in ids {
        match id {
            Some(id) => {
                let pairs = id.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hexadecimal"));
                let id: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect();
                column.append_value(&id).expect("an ID of the right length");
            }
            None => column.append_null(),
        }
    }
    Arc::new(column.finish())
}

/// Parts on disk, removed when dropped.
#[derive(Debug)]
pub(crate) struct PartFolder(tempfile::TempDir);

impl PartFolder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Writes batches as one part.
    pub(crate) fn part(&self, batches: &[RecordBatch]) -> Arc<Part> {
        let number = std::fs::read_dir(self.0.path()).expect("a folder").count();
        let id = PartId([u8::try_from(number).expect("few parts"); 16]);
        let new =
            NewPart { id, tenant: TenantId::DEFAULT, signal: SignalKind::Logs, level: 0, created_at: UnixNanos(0) };
        let encoded = encode_part(new, batches).expect("rows of the logs table");
        let folder = self.0.path().join(id.to_string());
        std::fs::create_dir(&folder).expect("a new folder");
        for (name, bytes) in &encoded.files {
            std::fs::write(folder.join(name), bytes).expect("room for a file");
        }
        Arc::new(Part::open(encoded.record, folder, &Arc::new(PageCache::new(1 << 20))))
    }
}
