//! A part: the immutable, checksummed unit of published data. See `FORMAT.md` beside this file.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use trivium_model::{PartId, SignalKind, TenantId, TimeRange, UnixNanos, WalPosition};

use crate::error::Error;
use crate::rows::RowRanges;

/// What the catalog knows of a part. Holds no local path: where a part lies follows from its ID and the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// The part's name.
    pub id: PartId,
    /// Whose rows.
    pub tenant: TenantId,
    /// Which table.
    pub signal: SignalKind,
    /// 0 for a sealed buffer, one more than its highest input for a compacted part.
    pub level: u32,
    /// The earliest `time` of a row, inclusive.
    pub first_time: UnixNanos,
    /// The latest `time` of a row, inclusive.
    pub last_time: UnixNanos,
    /// The lowest WAL position of a row.
    pub first_position: WalPosition,
    /// The highest WAL position of a row.
    pub last_position: WalPosition,
    /// How many rows; never zero.
    pub rows: u32,
    /// The files, in the order of their names.
    pub files: Vec<PartFile>,
    /// When the part was written.
    pub created_at: UnixNanos,
}

/// One file of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartFile {
    /// `columns.parquet`, `ids.idx` or `text.idx`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC32C over the whole file.
    pub crc32c: u32,
}

/// Which rows may matter to a search, in tokens (see [`crate::tokens`]). An index answers it with a superset of the rows
/// that match; the caller checks each row's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFilter {
    /// Every row: nothing is known that an index could use.
    All,
    /// Rows that contain the token, given as [`crate::tokens`] cuts it (lower case).
    Token(String),
    /// Rows that contain a word that starts with the text (lower case).
    Prefix(String),
    /// Rows in all of the sets; every row when empty.
    And(Vec<TokenFilter>),
    /// Rows in any of the sets; no row when empty.
    Or(Vec<TokenFilter>),
}

/// An open part. Cheap to share; opening reads the Parquet footer and the index headers once and keeps them.
#[derive(Debug)]
pub struct Part {
    record: PartRecord,
    folder: PathBuf,
}

impl Part {
    /// What the catalog knows of it.
    pub fn record(&self) -> &PartRecord {
        &self.record
    }

    /// The Parquet file with the columns.
    pub fn columns_path(&self) -> PathBuf {
        self.folder.join("columns.parquet")
    }

    /// Whether a row may lie in `range`.
    pub fn overlaps(&self, range: TimeRange) -> bool {
        range.overlaps(self.record.first_time, self.record.last_time)
    }

    /// A superset of the rows that match `filter`, by the ID index and, for logs, the text index. Blocking; microseconds
    /// when the index pages are in memory.
    pub fn candidate_rows(&self, _filter: &TokenFilter) -> Result<RowRanges, Error> {
        Err(Error::Internal("stub".into()))
    }

    /// The named columns of the given rows, in row order, in batches of up to 8,192 rows. Blocking. Reads only the pages
    /// that hold the rows. `None` stands for all columns and all rows.
    pub fn read(&self, _columns: Option<&[&str]>, _rows: Option<&RowRanges>) -> Result<Vec<RecordBatch>, Error> {
        Err(Error::Internal("stub".into()))
    }

    /// The decoded footer and page index of the Parquet file.
    pub fn metadata(&self) -> Result<Arc<parquet::file::metadata::ParquetMetaData>, Error> {
        Err(Error::Internal("stub".into()))
    }
}
