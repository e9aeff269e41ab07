//! A part: the immutable, checksummed unit of published data. See `FORMAT.md` beside this file.

mod columnar;
mod gather;
mod sort;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use bytes::Bytes;
use trivium_model::{PartId, SignalKind, TenantId, TimeRange, UnixNanos, WalPosition};

use crate::error::Error;
use crate::rows::RowRanges;
use crate::schema::{TIME, WAL_POSITION, table_schema};

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

/// What a part to be written is called and belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPart {
    /// The part's name.
    pub id: PartId,
    /// Whose rows.
    pub tenant: TenantId,
    /// Which table.
    pub signal: SignalKind,
    /// 0 for a sealed buffer, one more than its highest input for a compacted part.
    pub level: u32,
    /// When the part is written.
    pub created_at: UnixNanos,
}

/// A part as bytes. The caller writes the files, fsyncs them and publishes the record.
#[derive(Clone, Debug)]
pub struct EncodedPart {
    /// What the catalog is to know of it.
    pub record: PartRecord,
    /// Name and content of each file, in the order of their names.
    pub files: Vec<(String, Bytes)>,
}

/// Sorts the rows of `batches` into the part's order and encodes them: columns, ID index and, for logs, text index. A
/// pure function of its arguments. The batches have the signal's [`crate::schema::table_schema`], come in any order and
/// together hold at least one row and fewer than 2^31; batches whose dictionaries are the same allocation cost least.
pub fn encode_part(new: NewPart, batches: &[RecordBatch]) -> Result<EncodedPart, Error> {
    let table = gather::gather(&table_schema(new.signal), batches)?;
    let order = sort::order(new.signal, &table)?;
    let columns = columnar::write_columns(&table, &order, sort::sorted_by(new.signal))?;
    let files = vec![("columns.parquet".to_owned(), columns)];
    let record = record(new, &table, &files)?;
    Ok(EncodedPart { record, files })
}

fn record(new: NewPart, table: &RecordBatch, files: &[(String, Bytes)]) -> Result<PartRecord, Error> {
    let column = |name: &str| table.column_by_name(name).ok_or_else(|| Error::Internal(format!("no column {name}")));
    let times = column(TIME)?.as_primitive::<TimestampNanosecondType>();
    let positions = column(WAL_POSITION)?.as_primitive::<UInt64Type>();
    let empty = || Error::Internal("a part without rows".into());
    Ok(PartRecord {
        id: new.id,
        tenant: new.tenant,
        signal: new.signal,
        level: new.level,
        first_time: UnixNanos(min(times).ok_or_else(empty)?),
        last_time: UnixNanos(max(times).ok_or_else(empty)?),
        first_position: WalPosition(min(positions).ok_or_else(empty)?),
        last_position: WalPosition(max(positions).ok_or_else(empty)?),
        rows: u32::try_from(table.num_rows()).map_err(|_| Error::Internal("a part of 2^32 rows".into()))?,
        files: files
            .iter()
            .map(|(name, bytes)| PartFile {
                name: name.clone(),
                bytes: bytes.len() as u64,
                crc32c: crc32c::crc32c(bytes),
            })
            .collect(),
        created_at: new.created_at,
    })
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
    /// Opens the files of a published part in `folder`. Reads the file lengths, not the contents: headers and footers are
    /// read, checked and kept when they are first needed.
    pub fn open(record: PartRecord, folder: PathBuf) -> Result<Self, Error> {
        Ok(Self { record, folder })
    }

    /// Reads every file of the part whole and compares length, CRC32C and the number of rows with the record. With `deep`
    /// also decodes every column and checks that the indexes find the tokens of every row.
    pub fn verify(&self, _deep: bool) -> Result<(), Error> {
        Err(Error::Internal("stub".into()))
    }

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
