//! Sums of rows. SQLite finds damage to its structure, not to values: a bit more or less in a time, and queries would pass a part
//! over. See `FORMAT.md`, "Sums".

use std::path::Path;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::record::{StoredPart, StoredPosition, StoredPublish};
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

/// The sum that stands in a row; rows of earlier versions, opened for reading only, have no such column.
pub(super) fn stored_sum(row: &SqliteRow) -> Result<Option<i64>, sqlx::Error> {
    match row.try_get("sum") {
        Err(sqlx::Error::ColumnNotFound(_)) => Ok(None),
        sum => sum,
    }
}

/// Gives every row its sum. What is damaged already is not found any more, but for what the
/// constraints of the tables exclude: SQLite looks at them when a column is added.
pub(super) async fn fill(transaction: &mut SqliteConnection) -> Result<(), Error> {
    for part in StoredPart::select_all(&mut *transaction).await? {
        part.update(&mut *transaction).await?;
    }
    for position in StoredPosition::select_all(&mut *transaction).await? {
        position.write(&mut *transaction).await?;
    }
    for publish in StoredPublish::select_all(&mut *transaction).await? {
        let sum = publish.sum().stored();
        sqlx::query("UPDATE publishes SET sum = ? WHERE token = ?")
            .bind(sum)
            .bind(publish.token)
            .execute(&mut *transaction)
            .await
            .map_err(failed("sum the publishes"))?;
    }
    Ok(())
}
