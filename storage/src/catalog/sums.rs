//! Sums of rows. SQLite finds damage to its structure, not to values: a bit more or less in a time, and queries would pass a part
//! over. See `FORMAT.md`, "Sums".

use std::path::Path;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Publish;
use super::record::{StoredPart, encode_keys};
use super::sqlite::failed;
use crate::error::Error;

/// The version from which on rows have sums.
pub(super) const SUMS_VERSION: u32 = 4;

/// CRC32C of the values of a row in the order of its columns: integers as 8 bytes, text and blobs behind their length, of what may
/// be missing first whether it is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u32);

impl Sum {
    pub(super) fn integer(self, value: i64) -> Self {
        Self(crc32c::crc32c_append(self.0, &value.to_le_bytes()))
    }

    pub(super) fn bytes(self, value: &[u8]) -> Self {
        let length = self.integer(value.len() as i64);
        Self(crc32c::crc32c_append(length.0, value))
    }

    pub(super) fn optional<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        let begun = self.integer(i64::from(value.is_some()));
        match value {
            Some(value) => add(begun, value),
            None => begun,
        }
    }

    /// As it stands in the row.
    pub(super) fn stored(self) -> i64 {
        i64::from(self.0)
    }

    /// [`Error::Corrupted`] unless this is what stands in the row.
    pub(super) fn check(self, stored: Option<i64>, path: &Path, row: &str) -> Result<(), Error> {
        if stored == Some(self.stored()) {
            return Ok(());
        }
        Err(Error::Corrupted {
            path: path.into(),
            offset: 0,
            expected: format!("{row} with the sum {}", self.stored()),
            found: stored.map_or("none".into(), |stored| stored.to_string()),
        })
    }
}

pub(super) async fn check_positions(transaction: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let rows: Vec<(i64, i64, Option<i64>)> = sqlx::query_as("SELECT signal, position, sum FROM wal_positions")
        .fetch_all(transaction)
        .await
        .map_err(failed("read the sums of the WAL positions"))?;
    rows.into_iter().try_for_each(|(signal, position, sum)| {
        of_position(signal, position).check(sum, path, &format!("the WAL position {position} of signal {signal}"))
    })
}

pub(super) async fn check_publishes(transaction: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let rows = StoredPublish::select_all(transaction).await?;
    rows.iter().try_for_each(|row| row.sum().check(row.sum, path, "the row of a publish and its requests"))
}

pub(super) fn of_position(signal: i64, position: i64) -> Sum {
    Sum::default().integer(signal).integer(position)
}

/// A row of the table `publishes`.
#[derive(Debug)]
pub(super) struct StoredPublish {
    pub(super) token: Vec<u8>,
    pub(super) signal: i64,
    pub(super) published_at: i64,
    pub(super) last_received: i64,
    pub(super) request_keys: Vec<u8>,
    /// That of the row as it was read.
    sum: Option<i64>,
}

impl StoredPublish {
    async fn select_all(transaction: &mut SqliteConnection) -> Result<Vec<Self>, Error> {
        let rows = sqlx::query("SELECT * FROM publishes").fetch_all(transaction).await;
        let read = |row: SqliteRow| {
            Ok(Self {
                token: row.try_get("token")?,
                signal: row.try_get("signal")?,
                published_at: row.try_get("published_at")?,
                last_received: row.try_get("last_received")?,
                request_keys: row.try_get("request_keys")?,
                sum: row.try_get("sum")?,
            })
        };
        let rows = rows.and_then(|rows| rows.into_iter().map(read).collect());
        rows.map_err(failed("read the publishes"))
    }

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
        let Self { token, signal, published_at, last_received, request_keys, .. } = self;
        let times = Sum::default().bytes(token).integer(*signal).integer(*published_at).integer(*last_received);
        times.bytes(request_keys)
    }
}

/// Gives every row its sum. What is damaged already is not found any more, but for what the
/// constraints of the tables exclude: SQLite looks at them when a column is added.
pub(super) async fn fill(transaction: &mut SqliteConnection) -> Result<(), Error> {
    let action = "sum the rows of the catalog";
    for part in StoredPart::select_all(&mut *transaction).await? {
        part.update(&mut *transaction).await?;
    }
    let positions: Vec<(i64, i64)> = sqlx::query_as("SELECT signal, position FROM wal_positions")
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed(action))?;
    for (signal, position) in positions {
        sqlx::query("UPDATE wal_positions SET sum = ? WHERE signal = ?")
            .bind(of_position(signal, position).stored())
            .bind(signal)
            .execute(&mut *transaction)
            .await
            .map_err(failed(action))?;
    }
    for publish in StoredPublish::select_all(&mut *transaction).await? {
        sqlx::query("UPDATE publishes SET sum = ? WHERE token = ?")
            .bind(publish.sum().stored())
            .bind(publish.token)
            .execute(&mut *transaction)
            .await
            .map_err(failed(action))?;
    }
    Ok(())
}
