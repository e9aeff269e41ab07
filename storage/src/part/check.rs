//! Compares a part with its record, and makes the derived files anew when only they are damaged.

use std::io::Read;

use trivium_model::SignalKind;

use super::{COLUMNS, EncodedPart, IDS, NewPart, Part, PartFile, TEXT, TokenFilter, gather, indexing, opened, record};
use crate::encryption::plain_name;
use crate::error::Error;
use crate::schema::table_schema;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What of a part is not as it was written.
#[derive(Debug)]
pub(crate) enum PartDamage {
    /// The rows themselves.
    Columns(Error),
    /// Only what is derived from them.
    Indexes(Error),
}

impl From<PartDamage> for Error {
    fn from(damage: PartDamage) -> Self {
        match damage {
            PartDamage::Columns(error) | PartDamage::Indexes(error) => error,
        }
    }
}

impl Part {
    /// Reads every file of the part whole and compares length, CRC32C and the number of rows with the record. With `deep`
    /// also decodes every column and checks that the indexes find the tokens of rows.
    pub fn verify(&self, deep: bool) -> Result<(), Error> {
        Ok(self.inspect(deep, &|_| ())?)
    }

    /// [`Part::verify`] that tells apart what is damaged; `advance` is told how many bytes were read. Blocking.
    pub(crate) fn inspect(&self, deep: bool, advance: &dyn Fn(u64)) -> Result<(), PartDamage> {
        let (columns, derived): (Vec<_>, Vec<_>) =
            self.record.files.iter().partition(|file| plain_name(&file.name) == COLUMNS);
        columns.into_iter().try_for_each(|file| self.verify_file(file, advance)).map_err(PartDamage::Columns)?;
        let rows = self.rows_on_disk().map_err(PartDamage::Columns)?;
        if rows != u64::from(self.record.rows) {
            return Err(PartDamage::Columns(self.wrong_rows(rows)));
        }
        derived.into_iter().try_for_each(|file| self.verify_file(file, advance)).map_err(PartDamage::Indexes)?;
        self.open_indexes().map_err(PartDamage::Indexes)?;
        if deep { self.verify_rows() } else { Ok(()) }
    }

    fn open_indexes(&self) -> Result<(), Error> {
        self.guarded(IDS, || opened(&self.ids, || self.open_ids()).map(|_| ()))?;
        if self.record.signal == SignalKind::Logs {
            self.guarded(TEXT, || opened(&self.text, || self.open_text()).map(|_| ()))?;
        }
        Ok(())
    }

    /// Reads the Parquet file whole and compares length and CRC32C with the record: whether what a reader stumbled over is
    /// damage. Blocking.
    pub fn verify_columns(&self) -> Result<(), Error> {
        self.verify_named(COLUMNS)
    }

    /// [`Self::verify_columns`] of any file of the part.
    pub(super) fn verify_named(&self, name: &str) -> Result<(), Error> {
        let mut files = self.record.files.iter().filter(|file| plain_name(&file.name) == name);
        files.try_for_each(|file| self.verify_file(file, &|_| ()))
    }

    fn verify_file(&self, file: &PartFile, advance: &dyn Fn(u64)) -> Result<(), Error> {
        let path = self.folder.join(&file.name);
        let mut open = std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        let (mut bytes, mut sum) = (0_u64, 0_u32);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = open.read(&mut chunk).map_err(Error::io("read", &path))?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            sum = crc32c::crc32c_append(sum, &chunk[..read]);
            advance(read as u64);
        }
        if bytes != file.bytes {
            return Err(self.corrupted(&file.name, format!("{} bytes", file.bytes), format!("{bytes} bytes")));
        }
        if sum != file.crc32c {
            return Err(self.corrupted(&file.name, format!("CRC32C {:08x}", file.crc32c), format!("{sum:08x}")));
        }
        Ok(())
    }

    /// Decodes all rows and makes sure that each of them is found by its own tokens.
    fn verify_rows(&self) -> Result<(), PartDamage> {
        let mut start = 0_u32;
        for batch in self.read(None, None).map_err(PartDamage::Columns)? {
            let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
            let tokens = indexing::sample_tokens(self.record.signal, &batch).map_err(PartDamage::Columns)?;
            for token in tokens {
                let found = self.candidate_rows(&TokenFilter::Token(token.text.clone()));
                let found = found.map_err(PartDamage::Indexes)?;
                let row = start + token.row;
                if !found.iter().any(|range| range.contains(&row)) {
                    // The catalog, which will keep this sentence, is not encrypted.
                    let text = if self.is_encrypted() { "(encrypted)" } else { &*token.text };
                    let expected = format!("row {row} under {text:?}");
                    return Err(PartDamage::Indexes(self.corrupted(IDS, expected, "other rows".into())));
                }
            }
            start = start.saturating_add(rows);
        }
        if start == self.record.rows {
            return Ok(());
        }
        Err(PartDamage::Columns(self.wrong_rows(start.into())))
    }

    /// How many rows the Parquet file says that it has.
    pub(crate) fn rows_on_disk(&self) -> Result<u64, Error> {
        self.guarded(COLUMNS, || Ok(self.columns()?.rows()))
    }

    fn wrong_rows(&self, found: u64) -> Error {
        self.corrupted(COLUMNS, format!("{} rows", self.record.rows), format!("{found} rows"))
    }

    /// The same rows in the same order with indexes made anew, in plain. The columns must be intact; they are taken over byte by
    /// byte.
    pub(crate) fn with_new_indexes(&self, new: NewPart) -> Result<EncodedPart, Error> {
        self.verify_columns()?;
        let columns = self.source(COLUMNS)?.read_all().map_err(Error::io("read", self.columns_path()))?;
        let batches = self.read(None, None)?;
        let rows = gather::gather(&table_schema(new.signal), &batches)?;
        let order: Vec<u32> = (0..u32::try_from(rows.table.num_rows()).unwrap_or(u32::MAX)).collect();
        let indexes = indexing::index_rows(new.signal, &rows, &order)?;
        let mut files = vec![(COLUMNS.to_owned(), columns), (IDS.to_owned(), indexes.ids)];
        files.extend(indexes.text.map(|text| (TEXT.to_owned(), text)));
        let record = record(new, &rows.table, &files)?;
        Ok(EncodedPart { record, files })
    }
}
