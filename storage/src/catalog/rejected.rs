//! The table `rejections`: refused records, summed, so that a misconfigured sender costs rows by the minute, not by the record.

use std::path::Path;

use sqlx::{SqliteConnection, SqlitePool};
use trivium_model::{TenantId, UnixNanos};

use super::{REJECTION_DAYS_MAX, REJECTION_ROWS_MAX, invariant, sqlite::failed};
use crate::error::Error;
use crate::storage::Rejection;

const MINUTE_NANOS: i64 = 60 * 1_000_000_000;
const DAY_MINUTES: i64 = 24 * 60;

/// Bytes of a text that is kept: a sender chooses its service name and, in part, the example.
const TEXT_BYTES_MAX: usize = 256;

/// SQLite turns an integer sum that overflows into a float, so the sum stops at the largest integer.
const UPSERT_SQL: &str = "\
INSERT INTO rejections (minute, tenant, signal, reason, service, count, example, time)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    count = CASE WHEN count > 9223372036854775807 - excluded.count THEN 9223372036854775807
                 ELSE count + excluded.count END,
    example = CASE WHEN excluded.time >= time THEN excluded.example ELSE example END,
    time = max(time, excluded.time)";

const SELECT_SQL: &str = "\
SELECT tenant, signal, reason, service, count, example, time FROM rejections
WHERE tenant = ? ORDER BY time DESC, signal, reason, service LIMIT ?";

const DELETE_OLD_SQL: &str = "DELETE FROM rejections WHERE minute < ?";

const DELETE_SURPLUS_SQL: &str = "\
DELETE FROM rejections WHERE rowid IN (SELECT rowid FROM rejections ORDER BY minute DESC LIMIT -1 OFFSET ?)";

/// The columns of [`SELECT_SQL`].
type StoredRejection = (u32, i64, String, String, i64, String, i64);

pub(super) async fn add(writer: &SqlitePool, rejections: Vec<Rejection>) -> Result<(), Error> {
    let Some(newest) = rejections.iter().map(|rejection| minute(rejection.time)).max() else { return Ok(()) };
    let action = "add rejections";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
    for rejection in rejections {
        upsert(&mut transaction, rejection).await?;
    }
    sqlx::query(DELETE_OLD_SQL)
        .bind(newest - i64::from(REJECTION_DAYS_MAX) * DAY_MINUTES)
        .execute(&mut *transaction)
        .await
        .map_err(failed(action))?;
    sqlx::query(DELETE_SURPLUS_SQL)
        .bind(REJECTION_ROWS_MAX)
        .execute(&mut *transaction)
        .await
        .map_err(failed(action))?;
    transaction.commit().await.map_err(failed(action))
}

pub(super) async fn select(
    readers: &SqlitePool,
    path: &Path,
    tenant: TenantId,
    limit: u32,
) -> Result<Vec<Rejection>, Error> {
    let rows: Vec<StoredRejection> = sqlx::query_as(SELECT_SQL)
        .bind(tenant.0)
        .bind(limit)
        .fetch_all(readers)
        .await
        .map_err(failed("read the rejections"))?;
    rows.into_iter().map(|row| decode(row, path)).collect()
}

fn decode(row: StoredRejection, path: &Path) -> Result<Rejection, Error> {
    let (tenant, tag, reason, service, count, example, time) = row;
    let signal = invariant::signal(tag).ok_or_else(|| Error::Corrupted {
        path: path.into(),
        offset: 0,
        expected: "the tag of a signal in a row of the table rejections".into(),
        found: tag.to_string(),
    })?;
    let (tenant, time) = (TenantId(tenant), UnixNanos(time));
    Ok(Rejection { tenant, signal, reason, service, count: count.cast_unsigned(), example, time })
}

async fn upsert(transaction: &mut SqliteConnection, rejection: Rejection) -> Result<(), Error> {
    sqlx::query(UPSERT_SQL)
        .bind(minute(rejection.time))
        .bind(rejection.tenant.0)
        .bind(i64::from(rejection.signal.tag()))
        .bind(cut(rejection.reason))
        .bind(cut(rejection.service))
        .bind(i64::try_from(rejection.count).unwrap_or(i64::MAX))
        .bind(cut(rejection.example))
        .bind(rejection.time.0)
        .execute(transaction)
        .await
        .map_err(failed("add a rejection"))?;
    Ok(())
}

fn minute(time: UnixNanos) -> i64 {
    time.0.div_euclid(MINUTE_NANOS)
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
