//! How part records and request keys stand in the database.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};
use trivium_model::{PartId, RequestKey, SignalKind, TenantId, UnixNanos, WalPosition};

use super::sums::{Sum, stored_sum};
use super::{Publish, invariant, sqlite::failed};
use crate::error::Error;
use crate::part::{PartFile, PartRecord};

/// Bytes of one remembered request: its key, then the time of receipt as i64, little-endian.
const KEY_BYTES: usize = 24;

/// A row of the table `parts`, in the database's types.
#[derive(Clone, Debug)]
pub(super) struct StoredPart {
    id: Vec<u8>,
    tenant: i64,
    signal: i64,
    level: i64,
    first_time: i64,
    last_time: i64,
    first_position: i64,
    last_position: i64,
    rows: i64,
    files: String,
    created_at: i64,
    pub(super) removed_at: Option<UnixNanos>,
    pub(super) quarantined: Option<(UnixNanos, String)>,
    /// That of the row as it was read.
    sum: Option<i64>,
}

/// A file of a part in the JSON of the column `files`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFile {
    name: String,
    bytes: u64,
    crc32c: u32,
}

impl FromRow<'_, SqliteRow> for StoredPart {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let quarantined_at: Option<i64> = row.try_get("quarantined_at")?;
        let reason: Option<String> = row.try_get("quarantine_reason")?;
        Ok(Self {
            id: row.try_get("id")?,
            tenant: row.try_get("tenant")?,
            signal: row.try_get("signal")?,
            level: row.try_get("level")?,
            first_time: row.try_get("first_time")?,
            last_time: row.try_get("last_time")?,
            first_position: row.try_get("first_position")?,
            last_position: row.try_get("last_position")?,
            rows: row.try_get("row_count")?,
            files: row.try_get("files")?,
            created_at: row.try_get("created_at")?,
            removed_at: row.try_get::<Option<i64>, _>("removed_at")?.map(UnixNanos),
            quarantined: quarantined_at.map(|at| (UnixNanos(at), reason.unwrap_or_default())),
            sum: stored_sum(row)?,
        })
    }
}

impl StoredPart {
    pub(super) fn encode(part: &PartRecord) -> Result<Self, Error> {
        let files: Vec<StoredFile> = part
            .files
            .iter()
            .map(|file| StoredFile { name: file.name.clone(), bytes: file.bytes, crc32c: file.crc32c })
            .collect();
        let files = serde_json::to_string(&files)
            .map_err(|error| Error::Internal(format!("cannot describe the files of part {}: {error}", part.id)))?;
        Ok(Self {
            id: part.id.0.to_vec(),
            tenant: part.tenant.0.into(),
            signal: part.signal.tag().into(),
            level: part.level.into(),
            first_time: part.first_time.0,
            last_time: part.last_time.0,
            first_position: part.first_position.0.cast_signed(),
            last_position: part.last_position.0.cast_signed(),
            rows: part.rows.into(),
            files,
            created_at: part.created_at.0,
            removed_at: None,
            quarantined: None,
            sum: None,
        })
    }

    fn sum(&self) -> Sum {
        let range = [self.first_time, self.last_time, self.first_position, self.last_position, self.rows];
        let sum = Sum::default().bytes(&self.id).integer(self.tenant).integer(self.signal).integer(self.level);
        let sum = range.into_iter().fold(sum, Sum::integer).bytes(self.files.as_bytes()).integer(self.created_at);
        let sum = sum.optional(self.removed_at, |sum, at| sum.integer(at.0));
        sum.optional(self.quarantined.as_ref(), |sum, (at, reason)| sum.integer(at.0).bytes(reason.as_bytes()))
    }

    /// [`Error::Corrupted`] when the row is not what was written.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        let id: String = self.id.iter().map(|byte| format!("{byte:02x}")).collect();
        self.sum().check(self.sum, path, &format!("the row of part {id}"))
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.unsigned_abs()
    }

    /// Neither replaced nor in quarantine.
    pub(super) fn is_published(&self) -> bool {
        self.removed_at.is_none() && self.quarantined.is_none()
    }

    pub(super) fn is_of(&self, signal: SignalKind) -> bool {
        self.signal == i64::from(signal.tag())
    }

    /// The record, or [`Error::Corrupted`] when the row is not what was written.
    pub(super) fn decode(&self, path: &Path) -> Result<PartRecord, Error> {
        let corrupted = |expected: &str, found: String| Error::Corrupted {
            path: path.into(),
            offset: 0,
            expected: format!("{expected} in a row of the table parts"),
            found,
        };
        let number = |name: &str, value: i64| {
            u32::try_from(value).map_err(|_| corrupted(&format!("an unsigned {name} of 32 bits"), value.to_string()))
        };
        let id = <[u8; 16]>::try_from(self.id.as_slice())
            .map_err(|_| corrupted("an ID of 16 bytes", format!("{} bytes", self.id.len())))?;
        let signal =
            invariant::signal(self.signal).ok_or_else(|| corrupted("the tag of a signal", self.signal.to_string()))?;
        let files: Vec<StoredFile> =
            serde_json::from_str(&self.files).map_err(|error| corrupted("a list of files", error.to_string()))?;
        Ok(PartRecord {
            id: PartId(id),
            tenant: TenantId(number("tenant", self.tenant)?),
            signal,
            level: number("level", self.level)?,
            first_time: UnixNanos(self.first_time),
            last_time: UnixNanos(self.last_time),
            first_position: WalPosition(self.first_position.cast_unsigned()),
            last_position: WalPosition(self.last_position.cast_unsigned()),
            rows: number("number of rows", self.rows)?,
            files: files
                .into_iter()
                .map(|file| PartFile { name: file.name, bytes: file.bytes, crc32c: file.crc32c })
                .collect(),
            created_at: UnixNanos(self.created_at),
        })
    }

    pub(super) async fn insert(self, transaction: &mut SqliteConnection) -> Result<(), Error> {
        let (id, sum) = (self.id.clone(), self.sum().stored());
        let inserted = sqlx::query(
            "INSERT INTO parts (id, tenant, signal, level, first_time, last_time, first_position, last_position, \
             row_count, files, created_at, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(self.id)
        .bind(self.tenant)
        .bind(self.signal)
        .bind(self.level)
        .bind(self.first_time)
        .bind(self.last_time)
        .bind(self.first_position)
        .bind(self.last_position)
        .bind(self.rows)
        .bind(self.files)
        .bind(self.created_at)
        .bind(sum)
        .execute(transaction)
        .await
        .map_err(failed("insert a part"))?;
        if inserted.rows_affected() == 1 {
            return Ok(());
        }
        let id = <[u8; 16]>::try_from(id).map(PartId);
        Err(Error::Internal(format!("part {id:?} is in the catalog already; IDs are never used twice")))
    }

    /// Writes what may change of a row: whether it is replaced or in quarantine.
    pub(super) async fn update(self, transaction: &mut SqliteConnection) -> Result<(), Error> {
        let sum = self.sum().stored();
        let (quarantined_at, reason) = self.quarantined.map_or((None, None), |(at, reason)| (Some(at.0), Some(reason)));
        sqlx::query("UPDATE parts SET removed_at = ?, quarantined_at = ?, quarantine_reason = ?, sum = ? WHERE id = ?")
            .bind(self.removed_at.map(|at| at.0))
            .bind(quarantined_at)
            .bind(reason)
            .bind(sum)
            .bind(self.id)
            .execute(transaction)
            .await
            .map_err(failed("change the row of a part"))?;
        Ok(())
    }

    pub(super) async fn select(transaction: &mut SqliteConnection, part: PartId) -> Result<Option<Self>, Error> {
        sqlx::query_as("SELECT * FROM parts WHERE id = ?")
            .bind(part.0.to_vec())
            .fetch_optional(transaction)
            .await
            .map_err(failed("read the row of a part"))
    }

    /// Every row, by ID.
    pub(super) async fn select_all(transaction: &mut SqliteConnection) -> Result<Vec<Self>, Error> {
        sqlx::query_as("SELECT * FROM parts ORDER BY id").fetch_all(transaction).await.map_err(failed("read the parts"))
    }
}

/// A row of the table `wal_positions`.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredPosition {
    signal: i64,
    position: i64,
    /// That of the row as it was read.
    sum: Option<i64>,
}

impl FromRow<'_, SqliteRow> for StoredPosition {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self { signal: row.try_get("signal")?, position: row.try_get("position")?, sum: stored_sum(row)? })
    }
}

impl StoredPosition {
    pub(super) fn encode(signal: SignalKind, position: WalPosition) -> Self {
        Self { signal: signal.tag().into(), position: position.0.cast_signed(), sum: None }
    }

    fn sum(&self) -> Sum {
        Sum::default().integer(self.signal).integer(self.position)
    }

    /// [`Error::Corrupted`] when the row is not what was written.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        let Self { signal, position, sum } = self;
        self.sum().check(*sum, path, &format!("the WAL position {position} of signal {signal}"))
    }

    /// The tag of the signal, and the position.
    pub(super) fn decode(self) -> (i64, WalPosition) {
        (self.signal, WalPosition(self.position.cast_unsigned()))
    }

    /// In the place of the one before.
    pub(super) async fn write(self, transaction: &mut SqliteConnection) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO wal_positions (signal, position, sum) VALUES (?, ?, ?) \
             ON CONFLICT DO UPDATE SET position = excluded.position, sum = excluded.sum",
        )
        .bind(self.signal)
        .bind(self.position)
        .bind(self.sum().stored())
        .execute(transaction)
        .await
        .map_err(failed("advance the WAL position"))?;
        Ok(())
    }

    pub(super) async fn select(transaction: &mut SqliteConnection, signal: SignalKind) -> Result<Option<Self>, Error> {
        sqlx::query_as("SELECT * FROM wal_positions WHERE signal = ?")
            .bind(i64::from(signal.tag()))
            .fetch_optional(transaction)
            .await
            .map_err(failed("read the WAL position"))
    }

    pub(super) async fn select_all(transaction: &mut SqliteConnection) -> Result<Vec<Self>, Error> {
        let rows = sqlx::query_as("SELECT * FROM wal_positions").fetch_all(transaction).await;
        rows.map_err(failed("read the WAL positions"))
    }
}

/// A row of the table `publishes`.
#[derive(Clone, Debug)]
pub(super) struct StoredPublish {
    pub(super) token: Vec<u8>,
    signal: i64,
    published_at: i64,
    last_received: i64,
    pub(super) request_keys: Vec<u8>,
    /// That of the row as it was read.
    sum: Option<i64>,
}

impl FromRow<'_, SqliteRow> for StoredPublish {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            token: row.try_get("token")?,
            signal: row.try_get("signal")?,
            published_at: row.try_get("published_at")?,
            last_received: row.try_get("last_received")?,
            request_keys: row.try_get("request_keys")?,
            sum: stored_sum(row)?,
        })
    }
}

impl StoredPublish {
    pub(super) fn encode(publish: &Publish) -> Self {
        // A publish without requests is remembered as long as one whose requests came when it was made.
        let received = publish.request_keys.iter().map(|&(_, received_at)| received_at);
        Self {
            token: publish.token.to_vec(),
            signal: publish.signal.tag().into(),
            published_at: publish.at.0,
            last_received: received.fold(publish.at, Ord::max).0,
            request_keys: encode_keys(&publish.request_keys),
            sum: None,
        }
    }

    pub(super) fn sum(&self) -> Sum {
        let times = [self.signal, self.published_at, self.last_received];
        times.into_iter().fold(Sum::default().bytes(&self.token), Sum::integer).bytes(&self.request_keys)
    }

    /// [`Error::Corrupted`] when the row is not what was written.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        self.sum().check(self.sum, path, "the row of a publish and its requests")
    }

    pub(super) async fn insert(self, transaction: &mut SqliteConnection) -> Result<(), Error> {
        let sum = self.sum().stored();
        sqlx::query(
            "INSERT INTO publishes (token, signal, published_at, last_received, request_keys, sum) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(self.token)
        .bind(self.signal)
        .bind(self.published_at)
        .bind(self.last_received)
        .bind(self.request_keys)
        .bind(sum)
        .execute(transaction)
        .await
        .map_err(failed("remember a publish"))?;
        Ok(())
    }

    pub(super) async fn select_all(transaction: &mut SqliteConnection) -> Result<Vec<Self>, Error> {
        let rows = sqlx::query_as("SELECT * FROM publishes").fetch_all(transaction).await;
        rows.map_err(failed("read the remembered requests"))
    }
}

fn encode_keys(keys: &[(RequestKey, UnixNanos)]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(keys.len() * KEY_BYTES);
    for (key, received_at) in keys {
        blob.extend_from_slice(&key.0);
        blob.extend_from_slice(&received_at.0.to_le_bytes());
    }
    blob
}

/// `None` when the length is not a multiple of that of a key.
pub(super) fn decode_keys(blob: &[u8]) -> Option<Vec<(RequestKey, UnixNanos)>> {
    let (keys, []) = blob.as_chunks::<KEY_BYTES>() else { return None };
    keys.iter()
        .map(|bytes| {
            let (key, rest) = bytes.split_first_chunk::<16>()?;
            let received_at = rest.first_chunk::<8>()?;
            Some((RequestKey(*key), UnixNanos(i64::from_le_bytes(*received_at))))
        })
        .collect()
}
