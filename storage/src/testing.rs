//! A store whose requests are lines of text: one log record a line, its time in nanoseconds and its body.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use serde_json::{Value, json};
use trivium_model::{Clock, RequestKey, SignalKind, SystemClock, TenantId, UnixNanos, WireFormat};

use crate::catalog::SqliteCatalog;
use crate::config::StorageConfig;
use crate::error::Error;
use crate::fs::RealFileSystem;
use crate::recovery::RecoveryReport;
use crate::schema::decoded_schema;
use crate::storage::{AppendRequest, PayloadDecoder, Storage, StorageDeps};

/// When the tests begin: 2023-11-14.
pub(crate) const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

const DAY: i64 = 24 * 3600 * 1_000_000_000;

/// Records of one request.
pub(crate) const RECORDS: u64 = 20;

/// Decodes requests made of lines; a line that is no record makes the request undecodable.
#[derive(Debug)]
pub(crate) struct Lines;

impl PayloadDecoder for Lines {
    fn decode(
        &self,
        _: SignalKind,
        _: WireFormat,
        payload: &[u8],
        _: UnixNanos,
        _: UnixNanos,
    ) -> Result<Option<RecordBatch>, String> {
        let text = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
        let rows: Result<Vec<Value>, String> = text.lines().map(row).collect();
        Ok(Some(batch(&rows?)))
    }
}

fn row(line: &str) -> Result<Value, String> {
    let (time, body) = line.split_once(' ').ok_or("no time")?;
    let time: i64 = time.parse().map_err(|_| "no number")?;
    Ok(json!({
        "time": time, "service_name": "test", "severity_number": 9, "body": body, "body_type": "string", "flags": 0,
        "attributes": "{}", "dropped_attributes_count": 0, "resource": "{\"service.name\":\"test\"}",
        "resource_dropped_attributes_count": 0, "scope": "{}",
    }))
}

fn batch(rows: &[Value]) -> RecordBatch {
    let schema = decoded_schema(SignalKind::Logs);
    let plain = |field: &Field| match field.data_type() {
        DataType::Dictionary(..) => field.clone().with_data_type(DataType::Utf8),
        _ => field.clone(),
    };
    let readable = Arc::new(Schema::new(schema.fields().iter().map(|field| plain(field)).collect::<Vec<_>>()));
    let mut decoder = arrow::json::ReaderBuilder::new(readable).build_decoder().expect("a decoder");
    decoder.serialize(rows).expect("rows of the schema");
    let read = decoder.flush().expect("rows of the schema").expect("at least one row");
    let columns = schema.fields().iter().zip(read.columns());
    let columns: Vec<ArrayRef> =
        columns.map(|(field, column)| cast(column, field.data_type()).expect("text becomes a dictionary")).collect();
    RecordBatch::try_new(schema, columns).expect("columns of the schema")
}

/// A request whose records follow from its number and lie on a day of their own.
pub(crate) fn request(number: u64, day: u64) -> AppendRequest {
    let time = START.0 + i64::try_from(day).expect("few days") * DAY + i64::try_from(number).expect("small") * 1_000;
    let line =
        |index: u64| format!("{} request {number} record {index} order-{}\n", time + index as i64, number * 7919);
    let payload = Bytes::from((0..RECORDS).map(line).collect::<String>());
    let batch = Lines.decode(SignalKind::Logs, WireFormat::Otlp, &payload, START, START);
    AppendRequest {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        format: WireFormat::Otlp,
        key: RequestKey(u128::from(number).to_be_bytes()),
        received_at: START,
        oldest_admitted: UnixNanos::MIN,
        payload,
        batch: batch.expect("lines").expect("records"),
    }
}

/// The requests of the given numbers, each acknowledged.
pub(crate) async fn append(storage: &Storage, numbers: std::ops::Range<u64>, day: u64) {
    for number in numbers {
        storage.append(request(number, day)).await.expect("it is acknowledged");
    }
}

pub(crate) fn config() -> StorageConfig {
    let mut config = StorageConfig::default();
    SignalKind::ALL.into_iter().for_each(|signal| config.set_retention(signal, None));
    config
}

pub(crate) async fn open_with(
    folder: &Path,
    config: StorageConfig,
    clock: Arc<dyn Clock>,
) -> Result<(Storage, RecoveryReport), Error> {
    open_on(folder, config, clock, SqliteCatalog::open(folder).await?).await
}

/// On a catalog of the test's, which can close it when the store is gone: a catalog that is only dropped is closed by a
/// thread of SQLite's driver, later, and SQLite writes the file then.
pub(crate) async fn open_on(
    folder: &Path,
    config: StorageConfig,
    clock: Arc<dyn Clock>,
    catalog: SqliteCatalog,
) -> Result<(Storage, RecoveryReport), Error> {
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock,
        catalog: Arc::new(catalog),
        decoder: Arc::new(Lines),
        seed: RandomState::new().build_hasher().finish(),
    };
    Storage::open(folder, config, deps).await
}

pub(crate) async fn open(folder: &Path) -> Storage {
    open_with(folder, config(), clock()).await.expect("it opens").0
}

/// The clock of the machine, so that the names of parts sort by their creation.
pub(crate) fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock)
}

/// The bodies of all rows that a query would see, sorted.
pub(crate) fn bodies(storage: &Storage) -> Vec<String> {
    bodies_of(storage, TenantId::DEFAULT)
}

/// The bodies of all rows of a tenant.
pub(crate) fn bodies_of(storage: &Storage, tenant: TenantId) -> Vec<String> {
    let snapshot = storage.snapshot(tenant, SignalKind::Logs);
    let parts = snapshot.parts.iter().flat_map(|part| part.read(Some(&["body"]), None).expect("an intact part"));
    let batches: Vec<RecordBatch> = parts.chain(snapshot.buffered.iter().cloned()).collect();
    let body = |batch: &RecordBatch| {
        let column = batch.column_by_name("body").expect("the column");
        column.as_string::<i32>().iter().map(|body| body.expect("a body").to_owned()).collect::<Vec<_>>()
    };
    let mut bodies: Vec<String> = batches.iter().flat_map(body).collect();
    bodies.sort_unstable();
    bodies
}

/// Every record of the given requests, sorted.
pub(crate) fn expected(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    let records =
        |number: u64| (0..RECORDS).map(move |index| format!("request {number} record {index} order-{}", number * 7919));
    let mut bodies: Vec<String> = numbers.into_iter().flat_map(records).collect();
    bodies.sort_unstable();
    bodies
}

/// The folders of the parts of logs.
pub(crate) fn part_folders(folder: &Path) -> Vec<std::path::PathBuf> {
    crate::fs::FileSystem::list(&RealFileSystem::new(), &folder.join("parts/logs")).expect("the parts")
}

/// Changes a file behind everybody's back.
pub(crate) fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("readable");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}
