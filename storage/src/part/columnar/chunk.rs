//! One column chunk: pages, compressed or not, with their metadata and page index.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// Bytes of a lower or upper bound that statistics keep.
const BOUND_BYTES_MAX: usize = 64;
/// Compressed chunks below this share of the raw bytes are kept, others stay raw: reading them costs less.
const WORTHWHILE_PERCENT: usize = 92;
/// Chunks smaller than this are not worth a frame.
const COMPRESS_BYTES_MIN: usize = 128;

/// The least and the greatest value of a page or chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// Nothing is known, or there is no value.
    None,
    Int32(i32, i32),
    /// Ordered as unsigned numbers.
    UInt32(u32, u32),
    Int64(i64, i64),
    /// Ordered as unsigned numbers.
    UInt64(u64, u64),
    Text(Vec<u8>, Vec<u8>),
    Fixed(Vec<u8>, Vec<u8>),
}

impl Bounds {
    /// The bounds of both.
    pub(crate) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, known) | (known, Self::None) => known,
            (Self::Int32(a, b), Self::Int32(c, d)) => Self::Int32(a.min(c), b.max(d)),
            (Self::UInt32(a, b), Self::UInt32(c, d)) => Self::UInt32(a.min(c), b.max(d)),
            (Self::Int64(a, b), Self::Int64(c, d)) => Self::Int64(a.min(c), b.max(d)),
            (Self::UInt64(a, b), Self::UInt64(c, d)) => Self::UInt64(a.min(c), b.max(d)),
            (Self::Text(a, b), Self::Text(c, d)) => Self::Text(a.min(c), b.max(d)),
            (Self::Fixed(a, b), Self::Fixed(c, d)) => Self::Fixed(a.min(c), b.max(d)),
            _ => Self::None,
        }
    }

    /// As the column index holds them; `None` when a text's upper bound cannot be shortened.
    fn index_bytes(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        Some(match self {
            Self::None => return None,
            Self::Int32(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::UInt32(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::Int64(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::UInt64(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::Fixed(a, b) => (a.clone(), b.clone()),
            Self::Text(a, b) => (lower_bound(a), upper_bound(b)?),
        })
    }

    fn statistics(&self, nulls: u64) -> Statistics {
        let nulls = Some(nulls);
        match self {
            Self::None => Statistics::new::<i64>(None, None, None, nulls, false),
            Self::Int32(a, b) => Statistics::int32(Some(*a), Some(*b), None, nulls, false),
            Self::UInt32(a, b) => Statistics::int32(Some(*a as i32), Some(*b as i32), None, nulls, false),
            Self::Int64(a, b) => Statistics::int64(Some(*a), Some(*b), None, nulls, false),
            Self::UInt64(a, b) => Statistics::int64(Some(*a as i64), Some(*b as i64), None, nulls, false),
            Self::Fixed(a, b) => Statistics::fixed_len_byte_array(
                Some(FixedLenByteArray::from(a.clone())),
                Some(FixedLenByteArray::from(b.clone())),
                None,
                nulls,
                false,
            ),
            Self::Text(a, b) => {
                let upper = upper_bound(b);
                let exact = (a.len() <= BOUND_BYTES_MAX, b.len() <= BOUND_BYTES_MAX);
                let lower = upper.is_some().then(|| ByteArray::from(lower_bound(a)));
                let bounds = ValueStatistics::new(lower, upper.map(ByteArray::from), None, nulls, false);
                Statistics::ByteArray(bounds.with_min_is_exact(exact.0).with_max_is_exact(exact.1))
            }
        }
    }
}

fn lower_bound(text: &[u8]) -> Vec<u8> {
    truncated(text).to_vec()
}

/// The text, or when it is long, the shortest successor of its beginning that is valid UTF-8.
fn upper_bound(text: &[u8]) -> Option<Vec<u8>> {
    let mut bound = truncated(text).to_vec();
    if bound.len() == text.len() {
        return Some(bound);
    }
    // Only an ASCII byte can be counted up without leaving UTF-8.
    while let Some(last) = bound.pop() {
        if last < 0x7f {
            bound.push(last + 1);
            return Some(bound);
        }
    }
    None
}

/// At most [`BOUND_BYTES_MAX`] bytes, cut between characters.
fn truncated(text: &[u8]) -> &[u8] {
    let mut end = text.len().min(BOUND_BYTES_MAX);
    while end < text.len() && end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}

/// How the bytes of a chunk are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storing {
    /// Compressed page by page, at once: the raw bytes are many.
    Compressed,
    /// Compressed when that saves enough.
    Auto,
    /// As they are: random bytes.
    Raw,
}

struct RawPage {
    bytes: Vec<u8>,
    uncompressed: usize,
    /// Entries of a dictionary page, values of a data page; nulls count.
    values: usize,
    rows: usize,
    nulls: usize,
    encoding: Encoding,
    bounds: Bounds,
}

/// An encoded column chunk, to be appended to a row group.
pub(crate) struct EncodedChunk {
    pub(crate) bytes: Bytes,
    pub(crate) close: ColumnCloseResult,
}

/// A Zstandard context that all pages of a part share.
pub(crate) struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    level: i32,
    /// The room that a page may need, kept, so that a kept page has the room that it needs.
    output: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new(level: i32) -> Result<Self, ParquetError> {
        let mut context = zstd::bulk::Compressor::new(level).map_err(external)?;
        // So that a reader notices flipped bits, which Parquet alone would hand on as values.
        context.include_checksum(true).map_err(external)?;
        Ok(Self { context, level, output: Vec::new() })
    }

    pub(crate) fn compress(&mut self, bytes: &[u8]) -> Result<Vec<u8>, ParquetError> {
        self.output.clear();
        self.output.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        self.context.compress_to_buffer(bytes, &mut self.output).map_err(external)?;
        Ok(self.output.clone())
    }
}

fn external(error: std::io::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Collects the pages of one column chunk.
pub(crate) struct ChunkBuilder {
    column: ColumnDescPtr,
    storing: Storing,
    dictionary: Option<RawPage>,
    pages: Vec<RawPage>,
    indexed: bool,
}

/// What a data page holds, besides its bytes.
pub(crate) struct PageShape {
    pub(crate) rows: usize,
    pub(crate) nulls: usize,
    pub(crate) encoding: Encoding,
    pub(crate) bounds: Bounds,
}

impl ChunkBuilder {
    /// A chunk of `column`; `indexed` says whether its pages have bounds.
    pub(crate) fn new(column: ColumnDescPtr, storing: Storing, indexed: bool) -> Self {
        Self { column, storing, dictionary: None, pages: Vec::new(), indexed }
    }

    /// Sets the dictionary, given as `PLAIN` values.
    pub(crate) fn dictionary(&mut self, bytes: Vec<u8>, values: usize) {
        self.dictionary = Some(RawPage {
            uncompressed: bytes.len(),
            bytes,
            values,
            rows: 0,
            nulls: 0,
            encoding: Encoding::PLAIN,
            bounds: Bounds::None,
        });
    }

    /// Adds a data page of version 1: levels, then values.
    pub(crate) fn page(&mut self, bytes: Vec<u8>, shape: PageShape, zstd: &mut Compressor) -> Result<(), ParquetError> {
        let uncompressed = bytes.len();
        let bytes = match self.storing {
            Storing::Compressed => zstd.compress(&bytes)?,
            Storing::Auto | Storing::Raw => bytes,
        };
        let PageShape { rows, nulls, encoding, bounds } = shape;
        self.pages.push(RawPage { bytes, uncompressed, values: rows, rows, nulls, encoding, bounds });
        Ok(())
    }

    fn settle_compression(&mut self, zstd: &mut Compressor) -> Result<Compression, ParquetError> {
        let codec = Compression::ZSTD(ZstdLevel::try_new(zstd.level)?);
        let raw: usize = self.dictionary.iter().chain(&self.pages).map(|page| page.uncompressed).sum();
        if self.storing == Storing::Compressed {
            return Ok(codec);
        }
        if self.storing == Storing::Raw || raw < COMPRESS_BYTES_MIN {
            return Ok(Compression::UNCOMPRESSED);
        }
        let compress = |page: &RawPage| zstd.compress(&page.bytes);
        let compressed: Vec<Vec<u8>> =
            self.dictionary.iter().chain(&self.pages).map(compress).collect::<Result<_, _>>()?;
        if compressed.iter().map(Vec::len).sum::<usize>() * 100 > raw * WORTHWHILE_PERCENT {
            return Ok(Compression::UNCOMPRESSED);
        }
        for (page, bytes) in self.dictionary.iter_mut().chain(&mut self.pages).zip(compressed) {
            page.bytes = bytes;
        }
        Ok(codec)
    }

    /// Lays the pages out and describes them.
    pub(crate) fn finish(mut self, zstd: &mut Compressor) -> Result<EncodedChunk, ParquetError> {
        let compression = self.settle_compression(zstd)?;
        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut column_index = ColumnIndexBuilder::new(self.column.physical_type());
        let mut offset_index = OffsetIndexBuilder::new();
        let (mut uncompressed, mut values, mut rows, mut nulls) = (0, 0, 0, 0);
        let mut encodings = vec![Encoding::RLE, Encoding::PLAIN];
        let (mut data_at, mut bounds) = (0, Bounds::None);
        let dictionary_length = match self.dictionary.take() {
            None => 0,
            Some(page) => {
                let buf = Bytes::from(page.bytes);
                let (num_values, encoding) = (page.values as u32, page.encoding);
                let page_bytes = Page::DictionaryPage { buf, num_values, encoding, is_sorted: false };
                let spec = writer.write_page(CompressedPage::new(page_bytes, page.uncompressed))?;
                uncompressed += spec.uncompressed_size;
                spec.bytes_written
            }
        };
        for (index, page) in self.pages.into_iter().enumerate() {
            let page_bytes = Page::DataPage {
                buf: Bytes::from(page.bytes),
                num_values: page.values as u32,
                encoding: page.encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let spec = writer.write_page(CompressedPage::new(page_bytes, page.uncompressed))?;
            if index == 0 {
                data_at = spec.offset;
            }
            uncompressed += spec.uncompressed_size;
            (values, rows, nulls) = (values + page.values, rows + page.rows, nulls + page.nulls);
            if !encodings.contains(&page.encoding) {
                encodings.push(page.encoding);
            }
            offset_index.append_row_count(page.rows as i64);
            offset_index.append_offset_and_size(spec.offset as i64, spec.compressed_size as i32);
            match page.bounds.index_bytes() {
                Some((least, greatest)) => column_index.append(false, least, greatest, page.nulls as i64),
                None if page.nulls == page.values => {
                    column_index.append(true, Vec::new(), Vec::new(), page.nulls as i64)
                }
                None => column_index.to_invalid(),
            }
            bounds = bounds.merge(page.bounds);
        }
        let bytes = Bytes::from(sink.into_inner()?);
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(compression)
            .set_encodings(encodings)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(values as i64)
            .set_data_page_offset(data_at as i64)
            .set_dictionary_page_offset((dictionary_length > 0).then_some(0));
        if self.indexed && bounds != Bounds::None {
            metadata = metadata.set_statistics(bounds.statistics(nulls as u64));
        }
        let column_index = (self.indexed && column_index.valid()).then(|| column_index.build()).transpose()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index,
            offset_index: Some(offset_index.build()),
        };
        Ok(EncodedChunk { bytes, close })
    }
}
