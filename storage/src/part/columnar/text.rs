//! Chunks of text columns, with a dictionary or without.

use arrow::array::{Array, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Bounds, ChunkBuilder, Compressor, EncodedChunk, PageShape, Storing};
use super::fixed::{Codes, PAGE_ROWS, Pages, code_pages, null_chunk};

/// Rows of a page of a text column without a dictionary: what a needle search decompresses.
const TEXT_PAGE_ROWS: usize = 1_024;
/// Bytes after which a page of text ends, however few its rows.
const TEXT_PAGE_BYTES: usize = 1 << 20;
/// A dictionary above this size must save at least half of the values.
const DICTIONARY_BYTES_FREE: usize = 64 * 1024;

const NO_CODE: u32 = u32::MAX;

/// What all row groups of one dictionary column share.
pub(crate) struct TextColumn<'a> {
    array: &'a DictionaryArray<Int32Type>,
    values: &'a StringArray,
    /// Whether pages have bounds: not for attribute sets and the like, which nobody compares.
    bounded: bool,
    /// Per dictionary value the code in the current row group; reset after each.
    codes: Vec<u32>,
}

impl<'a> TextColumn<'a> {
    pub(crate) fn new(array: &'a DictionaryArray<Int32Type>, bounded: bool) -> Self {
        let values = array.values().as_string::<i32>();
        Self { array, values, bounded, codes: vec![NO_CODE; values.len()] }
    }

    /// Encodes the chunk of the rows `order`.
    pub(crate) fn chunk(
        &mut self,
        column: ColumnDescPtr,
        order: &[u32],
        zstd: &mut Compressor,
    ) -> Result<EncodedChunk, ParquetError> {
        let keys = self.array.keys();
        let nulls = keys.nulls().filter(|nulls| nulls.null_count() > 0);
        let levels: Option<Vec<u32>> =
            nulls.map(|nulls| order.iter().map(|row| u32::from(nulls.is_valid(*row as usize))).collect());
        let mut distinct: Vec<u32> = Vec::new();
        let mut codes = Vec::with_capacity(order.len());
        for (index, row) in order.iter().enumerate() {
            if levels.as_ref().is_some_and(|levels| levels[index] == 0) {
                continue;
            }
            let value = keys.values()[*row as usize] as usize;
            if self.codes[value] == NO_CODE {
                self.codes[value] = distinct.len() as u32;
                distinct.push(value as u32);
            }
            codes.push(self.codes[value]);
        }
        distinct.iter().for_each(|value| self.codes[*value as usize] = NO_CODE);
        if codes.is_empty() {
            return null_chunk(column, order.len(), zstd);
        }
        let bytes: usize = distinct.iter().map(|value| self.values.value(*value as usize).len() + 4).sum();
        if bytes > DICTIONARY_BYTES_FREE && distinct.len() * 2 > codes.len() {
            return self.plain_chunk(column, order, levels.as_deref(), (&distinct, &codes), zstd);
        }
        self.dictionary_chunk(column, order.len(), levels.as_deref(), (&distinct, &codes), zstd)
    }

    fn dictionary_chunk(
        &self,
        column: ColumnDescPtr,
        rows: usize,
        levels: Option<&[u32]>,
        (distinct, codes): (&[u32], &[u32]),
        zstd: &mut Compressor,
    ) -> Result<EncodedChunk, ParquetError> {
        let nullable = column.max_def_level() > 0;
        let mut chunk = ChunkBuilder::new(column, Storing::Auto, self.bounded);
        let mut bytes = Vec::new();
        for value in distinct {
            plain_text(&mut bytes, self.values.value(*value as usize));
        }
        chunk.dictionary(bytes, distinct.len());
        let ranks = if self.bounded { self.ranks(distinct) } else { (Vec::new(), Vec::new()) };
        let bounds = |range: std::ops::Range<usize>| self.bounds(&codes[range], distinct, &ranks);
        let codes = Codes { levels, rows, codes, nullable, page_rows: PAGE_ROWS };
        code_pages(&mut chunk, &codes, &bounds, zstd)?;
        chunk.finish(zstd)
    }

    fn plain_chunk(
        &self,
        column: ColumnDescPtr,
        order: &[u32],
        levels: Option<&[u32]>,
        (distinct, codes): (&[u32], &[u32]),
        zstd: &mut Compressor,
    ) -> Result<EncodedChunk, ParquetError> {
        let nullable = column.max_def_level() > 0;
        let mut chunk = ChunkBuilder::new(column, Storing::Compressed, false);
        for page in Pages::new(levels, order.len(), TEXT_PAGE_ROWS) {
            let mut bytes = page.levels(nullable);
            for code in &codes[page.values.clone()] {
                plain_text(&mut bytes, self.values.value(distinct[*code as usize] as usize));
            }
            let nulls = page.nulls();
            let shape = PageShape { rows: page.rows, nulls, encoding: Encoding::PLAIN, bounds: Bounds::None };
            chunk.page(bytes, shape, zstd)?;
        }
        chunk.finish(zstd)
    }

    /// Per code its place in the order of the texts, and the codes in that order.
    fn ranks(&self, distinct: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let mut sorted: Vec<u32> = (0..distinct.len() as u32).collect();
        sorted.sort_unstable_by_key(|code| self.values.value(distinct[*code as usize] as usize));
        let mut ranks = vec![0; distinct.len()];
        for (rank, code) in sorted.iter().enumerate() {
            ranks[*code as usize] = rank as u32;
        }
        (ranks, sorted)
    }

    fn bounds(&self, codes: &[u32], distinct: &[u32], (ranks, sorted): &(Vec<u32>, Vec<u32>)) -> Bounds {
        if !self.bounded || codes.is_empty() {
            return Bounds::None;
        }
        let (mut least, mut greatest) = (u32::MAX, 0);
        for code in codes {
            let rank = ranks[*code as usize];
            least = least.min(rank);
            greatest = greatest.max(rank);
        }
        let text = |rank: u32| {
            let value = distinct[sorted[rank as usize] as usize];
            self.values.value(value as usize).as_bytes().to_vec()
        };
        Bounds::Text(text(least), text(greatest))
    }
}

fn plain_text(output: &mut Vec<u8>, text: &str) {
    output.extend_from_slice(&(text.len() as u32).to_le_bytes());
    output.extend_from_slice(text.as_bytes());
}

/// Encodes a chunk of texts that do not repeat.
pub(crate) fn plain_text_chunk(
    column: ColumnDescPtr,
    texts: &[Option<&str>],
    order: &[u32],
    zstd: &mut Compressor,
) -> Result<EncodedChunk, ParquetError> {
    let has_nulls = order.iter().any(|row| texts[*row as usize].is_none());
    let levels: Option<Vec<u32>> =
        has_nulls.then(|| order.iter().map(|row| u32::from(texts[*row as usize].is_some())).collect());
    if levels.as_ref().is_some_and(|levels| levels.iter().all(|level| *level == 0)) {
        return null_chunk(column, order.len(), zstd);
    }
    let nullable = column.max_def_level() > 0;
    let mut chunk = ChunkBuilder::new(column, Storing::Compressed, false);
    let mut start = 0;
    while start < order.len() {
        let (rows, length) = text_page(texts, &order[start..]);
        let page_levels = levels.as_ref().map(|levels| &levels[start..start + rows]);
        let Some(page) = Pages::new(page_levels, rows, rows).next() else { break };
        let mut bytes = page.levels(nullable);
        bytes.reserve_exact(length);
        let page_texts = order[start..start + rows].iter().filter_map(|row| texts[*row as usize]);
        page_texts.for_each(|text| plain_text(&mut bytes, text));
        let shape = PageShape { rows, nulls: page.nulls(), encoding: Encoding::PLAIN, bounds: Bounds::None };
        chunk.page(bytes, shape, zstd)?;
        start += rows;
    }
    chunk.finish(zstd)
}

/// How many rows the next page takes, and how many bytes.
fn text_page(texts: &[Option<&str>], order: &[u32]) -> (usize, usize) {
    let mut bytes = 0;
    for (index, row) in order.iter().enumerate() {
        if index == TEXT_PAGE_ROWS || bytes >= TEXT_PAGE_BYTES {
            return (index, bytes);
        }
        bytes += texts[*row as usize].map_or(0, |text| 4 + text.len());
    }
    (order.len(), bytes)
}
