//! Chunks of columns whose values have a fixed width.

use std::hash::Hash;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Bounds, ChunkBuilder, Compressor, EncodedChunk, PageShape, Storing};
use super::encode;

/// Rows of a data page of values.
pub(crate) const PAGE_ROWS: usize = 8_192;
/// Code words from this width on fill whole bytes, which Zstandard needs to see that they repeat.
const WHOLE_BYTES_FROM: u32 = 3;

/// The values of one column in one row group.
pub(crate) struct Values<T> {
    /// Those that are not null.
    pub(crate) present: Vec<T>,
    /// One per row, 1 where there is a value; `None` when no value is null.
    pub(crate) levels: Option<Vec<u32>>,
}

/// A value of fixed width.
pub(crate) trait Fixed: Copy + Eq + Hash {
    /// Appends the value's `PLAIN` bytes.
    fn plain(self, output: &mut Vec<u8>);

    /// Appends many values in an encoding that only some types have.
    fn encode(values: &[Self], _encoding: Fallback, output: &mut Vec<u8>) {
        values.iter().for_each(|value| value.plain(output));
    }
}

impl Fixed for u32 {
    fn plain(self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.to_le_bytes());
    }
}

impl Fixed for u64 {
    fn plain(self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.to_le_bytes());
    }

    fn encode(values: &[Self], encoding: Fallback, output: &mut Vec<u8>) {
        match encoding {
            Fallback::Plain => values.iter().for_each(|value| value.plain(output)),
            Fallback::Delta => encode::delta_binary_packed(output, values),
            Fallback::ByteStreamSplit => encode::byte_stream_split(output, values),
        }
    }
}

impl<const N: usize> Fixed for [u8; N] {
    fn plain(self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self);
    }
}

/// How the values are written when a dictionary does not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    Plain,
    Delta,
    ByteStreamSplit,
}

impl Fallback {
    fn encoding(self) -> Encoding {
        match self {
            Self::Plain => Encoding::PLAIN,
            Self::Delta => Encoding::DELTA_BINARY_PACKED,
            Self::ByteStreamSplit => Encoding::BYTE_STREAM_SPLIT,
        }
    }
}

/// How a column is written.
pub(crate) struct Layout<T> {
    /// The share of distinct values, in percent, up to which there is a dictionary; 0 for never.
    pub(crate) dictionary_percent: usize,
    /// Values after which a dictionary must have shown that it saves something.
    pub(crate) dictionary_trial: usize,
    /// What to try when it does not; the one that takes the fewest bytes on the first page is taken.
    pub(crate) fallbacks: &'static [Fallback],
    /// Rows of a page without a dictionary.
    pub(crate) page_rows: usize,
    /// Rows of a page of dictionary codes.
    pub(crate) code_page_rows: usize,
    pub(crate) storing: Storing,
    pub(crate) bounds: fn(&[T]) -> Bounds,
}

/// Distinct values and, for each value, which one it is.
struct Dictionary<T> {
    distinct: Vec<T>,
    codes: Vec<u32>,
}

fn dictionary<T: Fixed>(values: &[T], percent: usize, trial: usize) -> Option<Dictionary<T>> {
    if percent == 0 {
        return None;
    }
    let mut known: HashMap<T, u32> = HashMap::new();
    let (mut distinct, mut codes) = (Vec::new(), Vec::with_capacity(values.len()));
    let mut last: Option<(T, u32)> = None;
    for (index, value) in values.iter().enumerate() {
        let code = match last {
            Some((previous, code)) if previous == *value => code,
            _ => match known.entry(*value) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    let code = distinct.len() as u32;
                    distinct.push(*value);
                    if distinct.len() > trial && distinct.len() * 100 > (index + 1) * percent {
                        return None;
                    }
                    *entry.insert(code)
                }
            },
        };
        last = Some((*value, code));
        codes.push(code);
    }
    (distinct.len() * 100 <= values.len() * percent || distinct.len() <= 1).then_some(Dictionary { distinct, codes })
}

/// Encodes one chunk of values of fixed width.
pub(crate) fn fixed_chunk<T: Fixed>(
    column: ColumnDescPtr,
    values: &Values<T>,
    rows: usize,
    layout: &Layout<T>,
    zstd: &mut Compressor,
) -> Result<EncodedChunk, ParquetError> {
    if values.present.is_empty() {
        return null_chunk(column, rows, zstd);
    }
    let nullable = column.max_def_level() > 0;
    let Some(dictionary) = dictionary(&values.present, layout.dictionary_percent, layout.dictionary_trial) else {
        let mut chunk = ChunkBuilder::new(column, layout.storing, true);
        let fallback = best_fallback(&values.present, layout, zstd)?;
        let encoding = fallback.encoding();
        for page in Pages::new(values.levels.as_deref(), rows, layout.page_rows) {
            let present = &values.present[page.values.clone()];
            let mut bytes = page.levels(nullable);
            T::encode(present, fallback, &mut bytes);
            let shape = PageShape { rows: page.rows, nulls: page.nulls(), encoding, bounds: (layout.bounds)(present) };
            chunk.page(bytes, shape, zstd)?;
        }
        return chunk.finish(zstd);
    };
    let mut chunk = ChunkBuilder::new(column, layout.storing, true);
    let mut bytes = Vec::with_capacity(dictionary.distinct.len() * size_of::<T>());
    dictionary.distinct.iter().for_each(|value| value.plain(&mut bytes));
    chunk.dictionary(bytes, dictionary.distinct.len());
    let bounds = |range: std::ops::Range<usize>| (layout.bounds)(&values.present[range]);
    let codes = Codes {
        levels: values.levels.as_deref(),
        rows,
        codes: &dictionary.codes,
        nullable,
        page_rows: layout.code_page_rows,
    };
    code_pages(&mut chunk, &codes, &bounds, zstd)?;
    chunk.finish(zstd)
}

/// The encoding that takes the fewest bytes for the first values, compressed.
fn best_fallback<T: Fixed>(values: &[T], layout: &Layout<T>, zstd: &mut Compressor) -> Result<Fallback, ParquetError> {
    let sample = &values[..values.len().min(PAGE_ROWS)];
    let mut best = (usize::MAX, Fallback::Plain);
    for fallback in layout.fallbacks {
        let mut bytes = Vec::new();
        if layout.fallbacks.len() > 1 {
            T::encode(sample, *fallback, &mut bytes);
            // Uncompressed pages may be smaller still: compressed noise grows.
            bytes.truncate(zstd.compress(&bytes)?.len());
        }
        if bytes.len() < best.0 {
            best = (bytes.len(), *fallback);
        }
    }
    Ok(best.1)
}

/// The dictionary codes of one chunk.
pub(crate) struct Codes<'a> {
    pub(crate) levels: Option<&'a [u32]>,
    pub(crate) rows: usize,
    pub(crate) codes: &'a [u32],
    pub(crate) nullable: bool,
    pub(crate) page_rows: usize,
}

/// Adds data pages of dictionary codes.
pub(crate) fn code_pages(
    chunk: &mut ChunkBuilder,
    codes: &Codes<'_>,
    bounds: &dyn Fn(std::ops::Range<usize>) -> Bounds,
    zstd: &mut Compressor,
) -> Result<(), ParquetError> {
    for page in Pages::new(codes.levels, codes.rows, codes.page_rows) {
        let mut bytes = page.levels(codes.nullable);
        let codes = &codes.codes[page.values.clone()];
        let mut width = encode::bits(u64::from(codes.iter().copied().max().unwrap_or(0)));
        if width >= WHOLE_BYTES_FROM {
            width = width.next_multiple_of(8);
        }
        bytes.push(width as u8);
        encode::rle_hybrid(&mut bytes, width, codes);
        let bounds = bounds(page.values.clone());
        let shape = PageShape { rows: page.rows, nulls: page.nulls(), encoding: Encoding::RLE_DICTIONARY, bounds };
        chunk.page(bytes, shape, zstd)?;
    }
    Ok(())
}

/// A chunk of which every leaf value is null: one page, whatever the type.
pub(crate) fn null_chunk(
    column: ColumnDescPtr,
    rows: usize,
    zstd: &mut Compressor,
) -> Result<EncodedChunk, ParquetError> {
    let (repetition, definition) = (column.max_rep_level(), column.max_def_level());
    let mut chunk = ChunkBuilder::new(column, Storing::Raw, repetition == 0);
    // A reader passes over repetition levels one by one, over a run of definition levels at once.
    let page_rows = if repetition > 0 { PAGE_ROWS } else { rows };
    for PageRows { rows, .. } in Pages::new(None, rows, page_rows) {
        let mut bytes = Vec::new();
        if repetition > 0 {
            encode::same_levels(&mut bytes, encode::bits(repetition as u64), 0, rows);
        }
        if definition > 0 {
            encode::same_levels(&mut bytes, encode::bits(definition as u64), 0, rows);
        }
        chunk.page(bytes, PageShape { rows, nulls: rows, encoding: Encoding::PLAIN, bounds: Bounds::None }, zstd)?;
    }
    chunk.finish(zstd)
}

/// The rows of one page.
pub(crate) struct PageRows<'a> {
    pub(crate) rows: usize,
    /// Which of the present values lie in the page.
    pub(crate) values: std::ops::Range<usize>,
    levels: Option<&'a [u32]>,
}

impl PageRows<'_> {
    pub(crate) fn nulls(&self) -> usize {
        self.rows - self.values.len()
    }

    /// The definition levels, with which a data page begins.
    pub(crate) fn levels(&self, nullable: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.levels {
            _ if !nullable => {}
            None => encode::same_levels(&mut bytes, 1, 1, self.rows),
            Some(levels) => encode::levels(&mut bytes, 1, levels),
        }
        bytes
    }
}

/// Cuts the rows of a chunk into pages.
pub(crate) struct Pages<'a> {
    levels: Option<&'a [u32]>,
    rows: usize,
    page_rows: usize,
    row: usize,
    value: usize,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(levels: Option<&'a [u32]>, rows: usize, page_rows: usize) -> Self {
        Self { levels, rows, page_rows, row: 0, value: 0 }
    }
}

impl<'a> Iterator for Pages<'a> {
    type Item = PageRows<'a>;

    fn next(&mut self) -> Option<PageRows<'a>> {
        let rows = self.page_rows.min(self.rows - self.row);
        if rows == 0 {
            return None;
        }
        let levels = self.levels.map(|levels| &levels[self.row..self.row + rows]);
        let present = levels.map_or(rows, |levels| levels.iter().map(|level| *level as usize).sum());
        let values = self.value..self.value + present;
        self.row += rows;
        self.value += present;
        Some(PageRows { rows, values, levels })
    }
}
