//! The table `tenant_keys`: what stands between the master key and the telemetry of a tenant, and how it goes for good.

use std::path::Path;

use sqlx::sqlite::SqlitePool;
use sqlx::{Connection, SqliteConnection};
use trivium_model::{TenantId, UnixNanos};

use super::sqlite::failed;
use crate::encryption::{KeyId, TenantKey};
use crate::error::Error;

const SELECT_SQL: &str = "SELECT id, tenant, master, wrapped, created_at, shredded_at FROM tenant_keys ORDER BY id";

/// A tenant has one live key.
const INSERT_SQL: &str = "\
INSERT INTO tenant_keys (id, tenant, master, wrapped, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";

const REWRAP_SQL: &str = "UPDATE tenant_keys SET master = ?, wrapped = ? WHERE id = ? AND shredded_at IS NULL";

const SHRED_SQL: &str = "\
UPDATE tenant_keys SET wrapped = x'', master = '', shredded_at = ? WHERE tenant = ? AND shredded_at IS NULL";

/// Examples of refused records and names of services are telemetry too.
const FORGET_REJECTIONS_SQL: &str = "DELETE FROM rejections WHERE tenant = ?";

/// The columns of [`SELECT_SQL`].
type StoredKey = (Vec<u8>, u32, String, Vec<u8>, i64, Option<i64>);

pub(super) async fn select(readers: &SqlitePool, path: &Path) -> Result<Vec<TenantKey>, Error> {
    let rows: Vec<StoredKey> =
        sqlx::query_as(SELECT_SQL).fetch_all(readers).await.map_err(failed("read the keys of tenants"))?;
    rows.into_iter().map(|row| decode(row, path)).collect()
}

fn decode(row: StoredKey, path: &Path) -> Result<TenantKey, Error> {
    let (id, tenant, master, wrapped, created_at, shredded_at) = row;
    let id = <[u8; 16]>::try_from(id).map_err(|id| Error::Corrupted {
        path: path.into(),
        offset: 0,
        expected: "the name of a key in 16 bytes".into(),
        found: format!("{} bytes", id.len()),
    })?;
    Ok(TenantKey {
        id: KeyId(id),
        tenant: TenantId(tenant),
        master,
        wrapped,
        created_at: UnixNanos(created_at),
        shredded_at: shredded_at.map(UnixNanos),
    })
}

/// Adds a key unless its tenant has a live one; the live one.
pub(super) async fn add(writer: &SqlitePool, path: &Path, key: TenantKey) -> Result<TenantKey, Error> {
    let action = "add the key of a tenant";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
    sqlx::query(INSERT_SQL)
        .bind(key.id.0.as_slice())
        .bind(key.tenant.0)
        .bind(key.master)
        .bind(key.wrapped)
        .bind(key.created_at.0)
        .execute(&mut *transaction)
        .await
        .map_err(failed(action))?;
    let rows: Vec<StoredKey> = sqlx::query_as(SELECT_SQL).fetch_all(&mut *transaction).await.map_err(failed(action))?;
    transaction.commit().await.map_err(failed(action))?;
    let is_live = |row: &&StoredKey| row.1 == key.tenant.0 && row.5.is_none();
    let row = rows.iter().find(is_live).cloned();
    decode(row.ok_or_else(|| Error::Internal("a key that was added is not there".into()))?, path)
}

/// Exchanges wrapped keys for the same ones under another master key, and erases the old ones.
pub(super) async fn rewrap(writer: &SqlitePool, keys: Vec<TenantKey>) -> Result<(), Error> {
    let action = "wrap the keys of tenants anew";
    let mut connection = writer.acquire().await.map_err(failed(action))?;
    begin_erasing(&mut connection).await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
    for key in keys {
        sqlx::query(REWRAP_SQL)
            .bind(key.master)
            .bind(key.wrapped)
            .bind(key.id.0.as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(failed(action))?;
    }
    transaction.commit().await.map_err(failed(action))?;
    erase(&mut connection).await
}

/// Shreds the live keys of a tenant and forgets its refused records; how many keys.
pub(super) async fn shred(writer: &SqlitePool, tenant: TenantId, at: UnixNanos) -> Result<u64, Error> {
    let action = "shred the key of a tenant";
    let mut connection = writer.acquire().await.map_err(failed(action))?;
    begin_erasing(&mut connection).await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
    let shredded = sqlx::query(SHRED_SQL).bind(at.0).bind(tenant.0).execute(&mut *transaction).await;
    let shredded = shredded.map_err(failed(action))?.rows_affected();
    let forgotten = sqlx::query(FORGET_REJECTIONS_SQL).bind(tenant.0).execute(&mut *transaction).await;
    forgotten.map_err(failed(action))?;
    transaction.commit().await.map_err(failed(action))?;
    erase(&mut connection).await?;
    Ok(shredded)
}

/// What is deleted from now on is overwritten, and no temporary file gets a copy of it.
async fn begin_erasing(connection: &mut SqliteConnection) -> Result<(), Error> {
    let pragmas = sqlx::raw_sql("PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY");
    pragmas.execute(connection).await.map_err(failed("have deleted keys overwritten"))?;
    Ok(())
}

/// Writes the whole file anew, for pages may hold what was moved within them, and empties the journal, which holds the pages as
/// they were. Doing it again does no harm.
async fn erase(connection: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::raw_sql("VACUUM").execute(&mut *connection).await.map_err(failed("erase deleted keys"))?;
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed("empty the journal"))?;
    let pragmas = sqlx::raw_sql("PRAGMA secure_delete = OFF; PRAGMA temp_store = DEFAULT");
    pragmas.execute(connection).await.map_err(failed("go back to ordinary deletes"))?;
    if busy == 0 {
        return Ok(());
    }
    Err(Error::Unavailable {
        reason: "the key is deleted, but another process reads the catalog, so that its journal still holds the old bytes; end that \
                 process and do it again"
            .into(),
    })
}
