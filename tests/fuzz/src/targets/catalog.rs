//! The catalog: a file of SQLite that anything may have happened to. It opens or is refused, and what is not sound in what it
//! says is found by its own check.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::runtime::Runtime;
use trivium_model::{
    HistoryEvent, PartId, RequestKey, SignalKind, StateChange, StateStore, TenantId, TimeRange, UnixNanos, WalPosition,
};
use trivium_storage::catalog::{Catalog, CatalogState, Publish, SqliteCatalog};
use trivium_storage::encryption::{KeyId, TenantKey};
use trivium_storage::{Error, PartFile, PartRecord, Rejection};

use super::part::folder;
use super::{Kind, Target, runtime, target};

const FILE_NAME: &str = "catalog.sqlite";

/// Small pages, so that a catalog with a row in each table is a small input.
const PAGE_BYTES: u32 = 512;

pub(super) fn targets() -> Vec<Target> {
    let Ok(runtime) = runtime() else { return Vec::new() };
    vec![target("catalog", Kind::Bytes, 150, seeds(&runtime), move |input| look(&runtime, input))]
}

/// Made once for all tests of a process.
fn seeds(runtime: &Runtime) -> Vec<Vec<u8>> {
    static SEED: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    SEED.get_or_init(|| runtime.block_on(filled()).ok()).iter().cloned().collect()
}

/// A catalog with a row in each table.
async fn filled() -> anyhow::Result<Vec<u8>> {
    let folder = folder().ok_or_else(|| anyhow::anyhow!("there is no folder"))?;
    let path = folder.path().join(FILE_NAME);
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true).page_size(PAGE_BYTES);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    // The size of pages is settled by the first table.
    sqlx::raw_sql("CREATE TABLE first (a); DROP TABLE first").execute(&mut connection).await?;
    connection.close().await?;
    let catalog = SqliteCatalog::open(folder.path()).await?;
    publish_parts(&catalog).await?;
    catalog.add_rejections(vec![rejection()]).await?;
    catalog.add_tenant_key(tenant_key()).await?;
    keep_state(&catalog).await?;
    catalog.close().await;
    Ok(std::fs::read(path)?)
}

/// A part that is published, one that was dropped and one that is damaged.
async fn publish_parts(catalog: &SqliteCatalog) -> Result<(), Error> {
    for number in 1..=3 {
        catalog.publish(publish(number)).await?;
    }
    let dropped = Publish {
        token: [9; 16],
        add: Vec::new(),
        remove: vec![PartId([2; 16])],
        dropped_rows: 100,
        wal_position: None,
        request_keys: Vec::new(),
        ..publish(4)
    };
    catalog.publish(dropped).await?;
    catalog.quarantine_part(PartId([3; 16]), "a sum differs".into(), UnixNanos(8_000)).await
}

async fn keep_state(catalog: &SqliteCatalog) -> anyhow::Result<()> {
    let event = HistoryEvent { kind: "alert".into(), at: UnixNanos(5), id: "a".into(), value: "{}".into() };
    let put = StateChange::Put { kind: "silence".into(), key: "one".into(), value: b"{}".to_vec() };
    catalog.apply(TenantId::DEFAULT, None, vec![put, StateChange::Append(event)]).await?;
    catalog.lease("rules", "here", UnixNanos(5), Duration::from_secs(10)).await?;
    Ok(())
}

fn publish(number: u8) -> Publish {
    let position = WalPosition(u64::from(number));
    Publish {
        token: [number; 16],
        signal: SignalKind::Logs,
        add: vec![part(number)],
        remove: Vec::new(),
        dropped_rows: 0,
        wal_position: Some(position),
        request_keys: vec![(RequestKey([number; 16]), UnixNanos(5_000))],
        at: UnixNanos(6_000),
    }
}

fn part(number: u8) -> PartRecord {
    let file = |name: &str| PartFile { name: name.into(), bytes: 4_711, crc32c: 0xdead_beef };
    let position = WalPosition(u64::from(number));
    PartRecord {
        id: PartId([number; 16]),
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        level: 0,
        first_time: UnixNanos(1_000),
        last_time: UnixNanos(2_000),
        first_position: position,
        last_position: position,
        rows: 100,
        files: vec![file("columns.parquet"), file("ids.idx")],
        created_at: UnixNanos(3_000),
    }
}

fn rejection() -> Rejection {
    Rejection {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Traces,
        reason: "the time is too old".into(),
        service: "cart".into(),
        count: 3,
        example: "1970".into(),
        time: UnixNanos(1_700_000_000_000_000_000),
    }
}

fn tenant_key() -> TenantKey {
    TenantKey {
        id: KeyId([5; 16]),
        tenant: TenantId(7),
        master: "a".into(),
        wrapped: vec![6; 60],
        created_at: UnixNanos(1),
        shredded_at: None,
    }
}

fn look(runtime: &Runtime, input: &[u8]) -> Result<bool, String> {
    let Some(folder) = folder() else { return Ok(false) };
    std::fs::write(folder.path().join(FILE_NAME), input).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let is_read = read(folder.path()).await?;
        write(folder.path()).await?;
        Ok(is_read)
    })
}

/// What an answer of the catalog is; an error when it is one that it must never be.
fn told<T>(answer: Result<T, Error>) -> Result<Option<T>, String> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Catalog { action, source: sqlx::Error::WorkerCrashed }) => {
            Err(format!("the thread that should {action} panicked"))
        }
        Err(_) => Ok(None),
    }
}

/// Reads all that there is, without changing the file. Whether the state could be read.
async fn read(folder: &Path) -> Result<bool, String> {
    let Some(catalog) = told(SqliteCatalog::open_read_only(folder).await)? else { return Ok(false) };
    let state = told(catalog.load().await)?;
    let findings = told(catalog.check_integrity().await)?.unwrap_or_default();
    told(catalog.tenant_keys().await)?;
    told(catalog.quarantined_parts().await)?;
    told(catalog.rejections(TenantId::DEFAULT, 10).await)?;
    drop(catalog.list(TenantId::DEFAULT, "silence", "").await);
    drop(catalog.history(TenantId::DEFAULT, "alert", TimeRange::ALL, 10).await);
    catalog.close().await;
    if state.as_ref().is_some_and(is_broken) && findings.is_empty() {
        return Err(format!("{state:?} is found sound"));
    }
    Ok(state.is_some())
}

fn is_broken(state: &CatalogState) -> bool {
    state.parts.iter().any(|part| {
        part.rows == 0 || part.first_time > part.last_time || part.last_position > state.wal_position(part.signal)
    })
}

/// Opens it as a server does, and goes on with it. A catalog that is damaged may refuse anything.
async fn write(folder: &Path) -> Result<(), String> {
    let Some(catalog) = told(SqliteCatalog::open(folder).await)? else { return Ok(()) };
    told(catalog.publish(publish(50)).await)?;
    told(catalog.purge_tombstones(vec![PartId([2; 16])]).await)?;
    told(catalog.add_rejections(vec![rejection()]).await)?;
    told(catalog.add_tenant_key(tenant_key()).await)?;
    told(catalog.load().await)?;
    catalog.close().await;
    Ok(())
}
