//! A part: the immutable, checksummed unit of published data. See `FORMAT.md` beside this file.

mod check;
mod columnar;
mod evolution;
mod gather;
mod ids;
mod indexing;
pub(crate) mod page_cache;
mod recent;
mod sort;
mod source;
mod text;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use bytes::Bytes;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use tantivy::directory::FileSlice;
use trivium_model::{PartId, SignalKind, TenantId, TimeRange, UnixNanos, WalPosition};

pub(crate) use self::check::PartDamage;
use self::columnar::ColumnReader;
use self::ids::{IdIndex, fingerprint};
pub use self::page_cache::PageCache;
use self::source::Source;
use self::text::TextIndex;
use crate::encryption::{Keyring, is_encrypted, key_of_file, plain_name};
use crate::error::Error;
use crate::rows::RowRanges;
use crate::schema::{TIME, WAL_POSITION, table_schema};
use crate::tokens::is_id_token;

/// The names of a part's files.
const COLUMNS: &str = "columns.parquet";
const IDS: &str = "ids.idx";
const TEXT: &str = "text.idx";

/// Stands in the text index before the letters that an ID token begins with.
const ID_LETTERS: char = '\u{1}';

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

impl PartRecord {
    /// Whether the rows are encrypted on disk.
    pub fn is_encrypted(&self) -> bool {
        self.files.iter().any(|file| is_encrypted(&file.name))
    }

    /// Bytes of the Parquet file in plain; 0 when there is none.
    pub fn columns_bytes(&self) -> u64 {
        self.files.iter().find(|file| plain_name(&file.name) == COLUMNS).map_or(0, PartFile::plain_bytes)
    }

    /// Whether the key of a file of this part, which lies in `folder`, was shredded.
    pub(crate) fn is_shredded(&self, folder: &Path, keys: &Keyring) -> bool {
        // All files of a part have the same key.
        let encrypted = self.files.iter().find(|file| is_encrypted(&file.name));
        encrypted.is_some_and(|file| {
            let key = key_of_file(&folder.join(&file.name)).and_then(|id| keys.get(id));
            matches!(key, Err(Error::Shredded { .. }))
        })
    }
}

/// One file of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartFile {
    /// `columns.parquet`, `ids.idx` or `text.idx`, with `.enc` behind it when the file is encrypted.
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
    let rows = gather::gather(&table_schema(new.signal), batches)?;
    let order = sort::order(new.signal, &rows.table)?;
    let columns = columnar::write_columns(new.signal, &rows, &order, sort::sorted_by(new.signal))?;
    let indexes = indexing::index_rows(new.signal, &rows, &order)?;
    let mut files = vec![(COLUMNS.to_owned(), columns), (IDS.to_owned(), indexes.ids)];
    files.extend(indexes.text.map(|text| (TEXT.to_owned(), text)));
    let record = record(new, &rows.table, &files)?;
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
        files: files.iter().map(|(name, bytes)| PartFile::of(name, bytes)).collect(),
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

/// An open part. Cheap to share. Before a file gives its first answer it is read whole and compared with its sum in the
/// catalog: neither Parquet's pages nor Tantivy's postings have sums of their own, and a flipped bit in them would be a wrong
/// answer that nobody notices. Footers and headers are then kept.
#[derive(Debug)]
pub struct Part {
    record: PartRecord,
    folder: PathBuf,
    pages: Arc<PageCache>,
    keys: Option<Arc<Keyring>>,
    columns: OnceLock<ColumnReader>,
    ids: OnceLock<IdIndex>,
    text: OnceLock<TextIndex>,
    is_checked: bool,
}

impl Part {
    /// A published part in `folder`. Reads nothing: headers and footers are read, checked and kept when they are first
    /// needed, so that a start with many parts is fast. Pages of point look-ups are kept in `pages`.
    pub fn open(record: PartRecord, folder: PathBuf, pages: &Arc<PageCache>) -> Self {
        let pages = Arc::clone(pages);
        let (columns, ids, text) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { record, folder, pages, keys: None, columns, ids, text, is_checked: true }
    }

    /// [`Self::open`] of a part that may be encrypted.
    pub(crate) fn open_with(record: PartRecord, folder: PathBuf, pages: &Arc<PageCache>, keys: &Arc<Keyring>) -> Self {
        Self { keys: Some(Arc::clone(keys)), ..Self::open(record, folder, pages) }
    }

    /// A part that is known to be damaged: what can be read of it is, right or wrong.
    pub(crate) fn open_damaged(
        record: PartRecord,
        folder: PathBuf,
        pages: &Arc<PageCache>,
        keys: &Arc<Keyring>,
    ) -> Self {
        Self { is_checked: false, ..Self::open_with(record, folder, pages, keys) }
    }

    /// Whether its rows are encrypted on disk.
    pub fn is_encrypted(&self) -> bool {
        self.record.is_encrypted()
    }

    /// The path of a file, which has another name when it is encrypted.
    fn path_of(&self, name: &str) -> PathBuf {
        let stored = self.record.files.iter().find(|file| plain_name(&file.name) == name);
        self.folder.join(stored.map_or(name, |file| &file.name))
    }

    fn source(&self, name: &str) -> Result<Source, Error> {
        Source::open(&self.path_of(name), &self.record, name, self.keys.as_ref())
    }

    /// Ranges of the bytes of the Parquet file, decrypted if need be. Blocking. [`Self::metadata`] says what lies where.
    pub fn columns_bytes(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let reader = self.columns()?;
        ranges.iter().map(|range| reader.bytes(range)).collect()
    }

    fn corrupted(&self, file: &str, expected: String, found: String) -> Error {
        Error::Corrupted { path: self.folder.join(file), offset: 0, expected, found }
    }

    /// What the catalog knows of it.
    pub fn record(&self) -> &PartRecord {
        &self.record
    }

    /// The file with the columns: Parquet, unless it is encrypted.
    pub fn columns_path(&self) -> PathBuf {
        self.path_of(COLUMNS)
    }

    /// Whether a row may lie in `range`.
    pub fn overlaps(&self, range: TimeRange) -> bool {
        range.overlaps(self.record.first_time, self.record.last_time)
    }

    /// A superset of the rows that match `filter`, by the ID index and, for logs, the text index. Blocking; microseconds
    /// when the index pages are in memory.
    pub fn candidate_rows(&self, filter: &TokenFilter) -> Result<RowRanges, Error> {
        let all = || RowRanges::all(self.record.rows);
        match self.candidate_blocks(filter)? {
            None => Ok(all()),
            Some(blocks) => Ok(RowRanges::from_blocks(blocks, self.ids()?.block_rows(), self.record.rows)),
        }
    }

    /// Ascending block numbers; `None` for all blocks.
    fn candidate_blocks(&self, filter: &TokenFilter) -> Result<Option<Vec<u32>>, Error> {
        match filter {
            TokenFilter::All => Ok(None),
            TokenFilter::Token(token) => self.blocks_of_token(token),
            TokenFilter::Prefix(prefix) => self.blocks_with_prefix(prefix),
            TokenFilter::And(filters) => {
                let mut blocks: Option<Vec<u32>> = None;
                for filter in filters {
                    blocks = match (blocks, self.candidate_blocks(filter)?) {
                        (Some(left), Some(right)) => Some(common(&left, &right)),
                        (left, right) => left.or(right),
                    };
                    if blocks.as_ref().is_some_and(Vec::is_empty) {
                        break;
                    }
                }
                Ok(blocks)
            }
            TokenFilter::Or(filters) => {
                let mut blocks = Vec::new();
                for filter in filters {
                    match self.candidate_blocks(filter)? {
                        Some(some) => blocks.extend(some),
                        None => return Ok(None),
                    }
                }
                blocks.sort_unstable();
                blocks.dedup();
                Ok(Some(blocks))
            }
        }
    }

    fn blocks_of_token(&self, token: &str) -> Result<Option<Vec<u32>>, Error> {
        if self.record.signal != SignalKind::Logs || is_id_token(token) {
            return self.ids()?.blocks(fingerprint(token));
        }
        let mut blocks = self.guarded(TEXT, || self.text()?.blocks(token))?;
        // The ID columns are in the ID index whatever their digits look like, and an ID may happen to be letters only.
        let may_be_id = matches!(token.len(), 16 | 32) && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if may_be_id {
            let Some(ids) = self.ids()?.blocks(fingerprint(token))? else { return Ok(None) };
            blocks.extend(ids);
            blocks.sort_unstable();
            blocks.dedup();
        }
        Ok(Some(blocks))
    }

    /// Words have an order that a prefix can use; of ID tokens the text index knows the letters that they begin with. A
    /// prefix with digits tells nothing.
    fn blocks_with_prefix(&self, prefix: &str) -> Result<Option<Vec<u32>>, Error> {
        if self.record.signal != SignalKind::Logs
            || prefix.is_empty()
            || prefix.bytes().any(|byte| byte.is_ascii_digit())
        {
            return Ok(None);
        }
        let with_prefix = |prefix: &str| self.guarded(TEXT, || self.text()?.blocks_with_prefix(prefix));
        let ids = with_prefix(&format!("{ID_LETTERS}{prefix}"))?;
        Ok(match (with_prefix(prefix)?, ids) {
            (Some(mut words), Some(ids)) => {
                words.extend(ids);
                words.sort_unstable();
                words.dedup();
                Some(words)
            }
            _ => None,
        })
    }

    /// The named columns of the given rows, in row order, in batches of up to 8,192 rows. Blocking. Reads only the pages
    /// that hold the rows. `None` stands for all columns and all rows. A column that is younger than the part is null.
    pub fn read(&self, columns: Option<&[&str]>, rows: Option<&RowRanges>) -> Result<Vec<RecordBatch>, Error> {
        if rows.is_some_and(RowRanges::is_empty) {
            return Ok(Vec::new());
        }
        self.guarded(COLUMNS, || {
            let reader = self.columns()?;
            let batches = match rows {
                Some(rows) => reader.read_cached(columns, rows, self.record.id, &self.pages)?,
                None => reader.read(columns, None)?,
            };
            evolution::complete(&table_schema(self.record.signal), reader.schema(), columns, batches)
        })
    }

    /// Parquet's and Tantivy's readers take sizes within pages and postings on trust, and panic on some that damage made
    /// (parquet 59.3, tantivy 0.27). A damaged file must cost its own rows, not the thread that reads it.
    fn guarded<T>(&self, file: &str, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| Err(self.corrupted(file, "an intact file".into(), "sizes that make no sense".into())))
    }

    /// Whether the file says that a flat column has no value at all, or lacks it.
    pub fn is_null(&self, column: &str) -> Result<bool, Error> {
        let metadata = self.metadata()?;
        let is_it = |path: &[String]| matches!(path, [name] if name == column);
        Ok(metadata.row_groups().iter().all(|group| {
            let chunk = group.columns().iter().find(|chunk| is_it(chunk.column_path().parts()));
            let nulls = |chunk: &ColumnChunkMetaData| chunk.statistics().and_then(Statistics::null_count_opt);
            chunk.is_none_or(|chunk| nulls(chunk).is_some_and(|nulls| i64::try_from(nulls) == Ok(group.num_rows())))
        }))
    }

    /// The decoded footer and page index of the Parquet file.
    pub fn metadata(&self) -> Result<Arc<ParquetMetaData>, Error> {
        Ok(Arc::clone(self.columns()?.metadata()))
    }

    fn columns(&self) -> Result<&ColumnReader, Error> {
        opened(&self.columns, || self.check(COLUMNS).and_then(|()| self.open_columns()))
    }

    fn ids(&self) -> Result<&IdIndex, Error> {
        opened(&self.ids, || self.check(IDS).and_then(|()| self.open_ids()))
    }

    fn text(&self) -> Result<&TextIndex, Error> {
        opened(&self.text, || self.check(TEXT).and_then(|()| self.open_text()))
    }

    fn check(&self, file: &str) -> Result<(), Error> {
        if self.is_checked { self.verify_named(file) } else { Ok(()) }
    }

    fn open_columns(&self) -> Result<ColumnReader, Error> {
        ColumnReader::open(self.source(COLUMNS)?)
    }

    fn open_ids(&self) -> Result<IdIndex, Error> {
        IdIndex::open(&self.path_of(IDS), self.source(IDS)?)
    }

    fn open_text(&self) -> Result<TextIndex, Error> {
        let path = self.path_of(TEXT);
        if !is_encrypted(&path.to_string_lossy()) {
            return TextIndex::open(&path);
        }
        match self.source(TEXT)? {
            Source::Encrypted(file) => TextIndex::open_slice(&path, &FileSlice::new(file)),
            Source::Plain { .. } => TextIndex::open(&path),
        }
    }
}

/// What a cell holds, after opening it if need be. Two threads may both open; one of the results is kept.
fn opened<T>(cell: &OnceLock<T>, open: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let new = open()?;
    Ok(cell.get_or_init(|| new))
}

/// The numbers in both ascending lists.
fn common(left: &[u32], right: &[u32]) -> Vec<u32> {
    let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    short.iter().copied().filter(|block| long.binary_search(block).is_ok()).collect()
}

#[cfg(test)]
pub(crate) mod tests;
