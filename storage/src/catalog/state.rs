//! The tables `state`, `history` and `leases`: what the evaluators of rules, notifications and SLOs keep.

use std::time::Duration;

use sqlx::{SqliteConnection, SqlitePool};
use trivium_model::{
    ErrorKind, HistoryEvent, Lease, StateChange, StateError, StateRecord, TenantId, TimeRange, UnixNanos,
};

use super::HISTORY_ROWS_MAX;

/// Bytes of a record or of a line of history.
const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// `substr` instead of `LIKE`, which would read `%` and `_` in a key as wildcards.
const LIST_SQL: &str = "\
SELECT key, value FROM state
WHERE tenant = ? AND kind = ? AND key >= ? AND substr(key, 1, length(?)) = ? ORDER BY key";

const PUT_SQL: &str = "\
INSERT INTO state (tenant, kind, key, value) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value";

const APPEND_SQL: &str = "\
INSERT INTO history (tenant, kind, id, at, value) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";

/// Row IDs grow with every insertion, so the oldest lines go first.
const DELETE_SURPLUS_SQL: &str = "\
DELETE FROM history WHERE rowid <= (SELECT max(rowid) FROM history) - ?";

const HISTORY_SQL: &str = "\
SELECT id, at, value FROM history
WHERE tenant = ? AND kind = ? AND at >= ? AND at < ? ORDER BY at DESC, id DESC LIMIT ?";

/// Takes a lease that is free, expired or held already. The epoch grows when the holder changes.
const LEASE_SQL: &str = "\
INSERT INTO leases (name, holder, epoch, expires_at) VALUES (?1, ?2, 1, ?4)
ON CONFLICT DO UPDATE SET
    epoch = CASE WHEN holder = excluded.holder THEN epoch ELSE epoch + 1 END,
    holder = excluded.holder,
    expires_at = excluded.expires_at
WHERE holder = excluded.holder OR expires_at <= ?3
RETURNING epoch";

pub(super) async fn list(
    readers: &SqlitePool,
    tenant: TenantId,
    kind: String,
    prefix: String,
) -> Result<Vec<StateRecord>, StateError> {
    let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(LIST_SQL)
        .bind(tenant.0)
        .bind(kind)
        .bind(prefix.clone())
        .bind(prefix.clone())
        .bind(prefix)
        .fetch_all(readers)
        .await
        .map_err(failed("read state"))?;
    Ok(rows.into_iter().map(|(key, value)| StateRecord { key, value }).collect())
}

pub(super) async fn apply(
    writer: &SqlitePool,
    tenant: TenantId,
    lease: Option<Lease>,
    changes: Vec<StateChange>,
) -> Result<(), StateError> {
    let action = "write state";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
    if let Some(lease) = lease {
        check_lease(&mut transaction, lease).await?;
    }
    let mut appended = false;
    for change in changes {
        appended |= matches!(change, StateChange::Append(_));
        change_one(&mut transaction, tenant, change).await?;
    }
    if appended {
        let delete = sqlx::query(DELETE_SURPLUS_SQL).bind(HISTORY_ROWS_MAX);
        delete.execute(&mut *transaction).await.map_err(failed("forget old history"))?;
    }
    transaction.commit().await.map_err(failed(action))
}

async fn check_lease(transaction: &mut SqliteConnection, lease: Lease) -> Result<(), StateError> {
    let held: Option<(i64,)> = sqlx::query_as("SELECT epoch FROM leases WHERE name = ?")
        .bind(lease.name.clone())
        .fetch_optional(transaction)
        .await
        .map_err(failed("check a lease"))?;
    match held {
        Some((epoch,)) if epoch.cast_unsigned() == lease.epoch => Ok(()),
        _ => Err(StateError::Fenced { name: lease.name }),
    }
}

async fn change_one(
    transaction: &mut SqliteConnection,
    tenant: TenantId,
    change: StateChange,
) -> Result<(), StateError> {
    let query = match change {
        StateChange::Put { kind, key, value } => {
            check_size(&kind, &key, value.len())?;
            sqlx::query(PUT_SQL).bind(tenant.0).bind(kind).bind(key).bind(value)
        }
        StateChange::Delete { kind, key } => {
            let delete = sqlx::query("DELETE FROM state WHERE tenant = ? AND kind = ? AND key = ?");
            delete.bind(tenant.0).bind(kind).bind(key)
        }
        StateChange::Append(HistoryEvent { kind, at, id, value }) => {
            check_size(&kind, &id, value.len())?;
            sqlx::query(APPEND_SQL).bind(tenant.0).bind(kind).bind(id).bind(at.0).bind(value)
        }
    };
    query.execute(transaction).await.map_err(failed("write state"))?;
    Ok(())
}

fn check_size(kind: &str, key: &str, bytes: usize) -> Result<(), StateError> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the {kind} {key} has {bytes} bytes, at most {VALUE_BYTES_MAX} are kept");
    Err(StateError::Store { kind: ErrorKind::LimitExceeded, message })
}

pub(super) async fn history(
    readers: &SqlitePool,
    tenant: TenantId,
    kind: String,
    range: TimeRange,
    limit: u32,
) -> Result<Vec<HistoryEvent>, StateError> {
    let rows: Vec<(String, i64, String)> = sqlx::query_as(HISTORY_SQL)
        .bind(tenant.0)
        .bind(kind.clone())
        .bind(range.start.0)
        .bind(range.end.0)
        .bind(limit)
        .fetch_all(readers)
        .await
        .map_err(failed("read history"))?;
    let event = |(id, at, value)| HistoryEvent { kind: kind.clone(), at: UnixNanos(at), id, value };
    Ok(rows.into_iter().map(event).collect())
}

pub(super) async fn lease(
    writer: &SqlitePool,
    name: String,
    holder: String,
    now: UnixNanos,
    ttl: Duration,
) -> Result<Option<Lease>, StateError> {
    let taken: Option<(i64,)> = sqlx::query_as(LEASE_SQL)
        .bind(name.clone())
        .bind(holder)
        .bind(now.0)
        .bind(now.after(ttl).0)
        .fetch_optional(writer)
        .await
        .map_err(failed("take a lease"))?;
    Ok(taken.map(|(epoch,)| Lease { name, epoch: epoch.cast_unsigned() }))
}

/// The database may be busy or its disk full: the evaluator tries again at its next turn.
fn failed(action: &'static str) -> impl FnOnce(sqlx::Error) -> StateError {
    move |source| StateError::Store {
        kind: ErrorKind::Unavailable,
        message: format!("cannot {action} in the catalog: {source}"),
    }
}
