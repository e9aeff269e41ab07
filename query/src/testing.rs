//! A small store in memory and on disk, for tests: rows are given by the columns that matter, the rest have defaults.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use tempfile::TempDir;
use trivium_model::{
    Clock, ManualClock, MemoryStateStore, PartId, SignalKind, StateStore, TenantId, UnixNanos, WireFormat,
};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::RealFileSystem;
use trivium_storage::part::{NewPart, encode_part};
use trivium_storage::schema::table_schema;
use trivium_storage::{PageCache, Part, PayloadDecoder, Rejection, Snapshot, Storage, StorageConfig, StorageDeps};

use crate::config::QueryConfig;
use crate::engine::{Engine, SqlAnswer, SqlRequest};
use crate::error::Error;
use crate::table::TableSource;

/// 2023-11-14T22:13:20Z, which is `now` in tests.
pub(crate) const NOW: i64 = 1_700_000_000_000_000_000;

/// A second in nanoseconds.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// Nothing is replayed in tests that open a store.
#[derive(Debug)]
struct NoReplay;

impl PayloadDecoder for NoReplay {
    fn decode(
        &self,
        _: SignalKind,
        _: WireFormat,
        _: &[u8],
        _: UnixNanos,
        _: UnixNanos,
    ) -> Result<Option<RecordBatch>, String> {
        Ok(None)
    }
}

/// An empty store on disk.
pub(crate) async fn empty_store(folder: &Path, clock: &Arc<dyn Clock>) -> Storage {
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::clone(clock),
        catalog: Arc::new(SqliteCatalog::open(folder).await.expect("a catalog")),
        decoder: Arc::new(NoReplay),
        seed: 1,
    };
    Storage::open(folder, StorageConfig::default(), deps).await.expect("an empty store").0
}

/// Rows of a signal. Columns that are not given are null, or zero, empty or `{}` where they must not be null.
pub(crate) fn rows(signal: SignalKind, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let schema = table_schema(signal);
    let count = columns.first().map_or(0, |(_, column)| column.len());
    for (name, _) in &columns {
        assert!(schema.column_with_name(name).is_some(), "{signal} has no column {name}");
    }
    let arrays = schema.fields().iter().map(|field| {
        let given = columns.iter().find(|(name, _)| name == field.name());
        match given {
            Some((_, column)) => cast(column, field.data_type()).expect("the column fits"),
            None => default_column(field, count),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).expect("the columns fit the schema")
}

fn default_column(field: &Field, count: usize) -> ArrayRef {
    if field.is_nullable() {
        return new_null_array(field.data_type(), count);
    }
    let zeros: ArrayRef = Arc::new(Int32Array::from(vec![0; count]));
    match field.data_type() {
        DataType::FixedSizeBinary(size) => {
            let zero = vec![0; usize::try_from(*size).expect("a size")];
            Arc::new(FixedSizeBinaryArray::try_from_iter(vec![zero; count].into_iter()).expect("IDs"))
        }
        DataType::Dictionary(..) | DataType::Utf8 => {
            let is_set = ["attributes", "resource", "scope"].contains(&field.name().as_str());
            let text: ArrayRef = Arc::new(StringArray::from(vec![if is_set { "{}" } else { "" }; count]));
            cast(&text, field.data_type()).expect("text")
        }
        DataType::Timestamp(..) => {
            let times = cast(&zeros, &DataType::Int64).expect("numbers");
            cast(&times, field.data_type()).expect("times")
        }
        other => cast(&zeros, other).expect("zeros"),
    }
}

pub(crate) fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(crate) fn times(values: &[i64]) -> ArrayRef {
    Arc::new(arrow::array::TimestampNanosecondArray::from(values.to_vec()))
}

pub(crate) fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(arrow::array::Int64Array::from(values.to_vec()))
}

/// IDs of 16 or 8 bytes from hexadecimal text; `""` is null.
pub(crate) fn ids(size: i32, values: &[&str]) -> ArrayRef {
    let bytes = |text: &&str| {
        (!text.is_empty()).then(|| -> Vec<u8> {
            (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
                .collect()
        })
    };
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.iter().map(bytes), size).expect("IDs"))
}

/// A column of a signal from JSON, one value a row: for lists of events, links and exemplars.
pub(crate) fn from_json(signal: SignalKind, name: &str, values: &[serde_json::Value]) -> ArrayRef {
    let field = Arc::new(table_schema(signal).field_with_name(name).expect("a column").clone());
    let mut decoder = arrow::json::ReaderBuilder::new_with_field(field).build_decoder().expect("a decoder");
    decoder.serialize(values).expect("the values fit the column");
    let batch = decoder.flush().expect("valid values").expect("at least one value");
    Arc::clone(batch.column(0))
}

/// The trace ID of a number.
pub(crate) fn trace_id(number: u32) -> String {
    format!("{:032x}", u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// A store whose rows were put there by a test.
#[derive(Debug, Default)]
pub(crate) struct Fixture {
    rows: Mutex<Vec<(SignalKind, Placed)>>,
    rejections: Vec<Rejection>,
    folders: Mutex<Vec<TempDir>>,
}

#[derive(Clone, Debug)]
enum Placed {
    Buffered(RecordBatch),
    Part(Arc<Part>),
}

impl Fixture {
    /// Adds rows that are not in a part.
    pub(crate) fn buffer(self, signal: SignalKind, batch: RecordBatch) -> Self {
        self.rows.lock().expect("no test panicked here").push((signal, Placed::Buffered(batch)));
        self
    }

    /// Adds rows as a part on disk.
    pub(crate) fn part(self, signal: SignalKind, batch: RecordBatch) -> Self {
        let number = self.rows.lock().expect("no test panicked here").len();
        let id = PartId([u8::try_from(number).expect("few parts"); 16]);
        let new = NewPart { id, tenant: TenantId::DEFAULT, signal, level: 0, created_at: UnixNanos(NOW) };
        let encoded = encode_part(new, &[batch]).expect("the rows make a part");
        let folder = TempDir::new().expect("a folder");
        for (name, bytes) in &encoded.files {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        }
        let part = Part::open(encoded.record, folder.path().to_path_buf(), &Arc::new(PageCache::new(0)));
        self.rows.lock().expect("no test panicked here").push((signal, Placed::Part(Arc::new(part))));
        self.folders.lock().expect("no test panicked here").push(folder);
        self
    }

    /// Makes the columns of the part that was added at `index`, counted over all rows, unreadable.
    pub(crate) fn damage_columns(&self, index: usize) {
        let rows = self.rows.lock().expect("no test panicked here");
        let Placed::Part(part) = &rows[index].1 else { panic!("the rows {index} are not in a part") };
        std::fs::write(part.columns_path(), b"PAR1 no more PAR1").expect("the file");
    }

    /// Changes one byte in the middle of a column of the part that was added at `index`.
    pub(crate) fn damage_page(&self, index: usize, column: &str) {
        let rows = self.rows.lock().expect("no test panicked here");
        let Placed::Part(part) = &rows[index].1 else { panic!("the rows {index} are not in a part") };
        let metadata = part.metadata().expect("an intact footer");
        let chunks = metadata.row_group(0).columns();
        let chunk = chunks.iter().find(|chunk| chunk.column_path().string() == column).expect("the column");
        let (start, length) = chunk.byte_range();
        let mut bytes = std::fs::read(part.columns_path()).expect("the file");
        bytes[usize::try_from(start + length / 2).expect("a place in it")] ^= 0xff;
        std::fs::write(part.columns_path(), bytes).expect("the file");
    }

    /// Adds refused records.
    pub(crate) fn rejected(mut self, rejection: Rejection) -> Self {
        self.rejections.push(rejection);
        self
    }

    /// An engine over it, at [`NOW`].
    pub(crate) fn engine(self) -> Engine {
        self.engine_with(&QueryConfig::default())
    }

    pub(crate) fn engine_with(self, config: &QueryConfig) -> Engine {
        Engine::new(config, Arc::new(self), Arc::new(ManualClock::new(UnixNanos(NOW)))).expect("an engine")
    }
}

#[async_trait]
impl TableSource for Fixture {
    fn snapshot(&self, tenant: TenantId, signal: SignalKind) -> Snapshot {
        let mut snapshot = Snapshot { parts: Vec::new(), buffered: Vec::new() };
        if tenant != TenantId::DEFAULT {
            return snapshot;
        }
        for (_, placed) in self.rows.lock().expect("no test panicked here").iter().filter(|(kind, _)| *kind == signal) {
            match placed {
                Placed::Buffered(batch) => snapshot.buffered.push(batch.clone()),
                Placed::Part(part) => snapshot.parts.push(Arc::clone(part)),
            }
        }
        snapshot
    }

    async fn rejections(&self, _tenant: TenantId) -> Result<Vec<Rejection>, trivium_storage::Error> {
        Ok(self.rejections.clone())
    }

    async fn quarantined(&self) -> Result<Vec<trivium_storage::quarantine::QuarantinedItem>, trivium_storage::Error> {
        Ok(Vec::new())
    }

    fn state(&self) -> Arc<dyn StateStore> {
        Arc::new(MemoryStateStore::default())
    }
}

/// A statement without wishes.
pub(crate) fn request(sql: &str) -> SqlRequest {
    SqlRequest { tenant: TenantId::DEFAULT, sql: sql.to_owned(), timeout: None, rows_max: None, now: None }
}

/// All rows of an answer as the API shows them: one text per row, cells separated by `|`, without quotes.
pub(crate) async fn answer(engine: &Engine, sql: &str) -> Result<Vec<String>, Error> {
    let mut answer: SqlAnswer = engine.run(&request(sql)).await?;
    let mut lines = Vec::new();
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        let rows = crate::api::json::Rows::new(&batch)?;
        for row in 0..rows.len() {
            let mut line = String::new();
            rows.write_array(&mut line, row);
            let cells: Vec<serde_json::Value> = serde_json::from_str(&line).expect("valid JSON");
            let cells = cells.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned));
            lines.push(cells.collect::<Vec<String>>().join("|"));
        }
    }
    Ok(lines)
}
