use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};

use trivium_model::PartId;

use super::pages::CachedRowGroups;
use crate::error::Error;
use crate::part::page_cache::PageCache;
use crate::part::source::Source;
use crate::rows::RowRanges;

/// Rows of one batch.
const BATCH_ROWS: usize = 8_192;

/// Rows up to which a read is a point look-up, whose pages are worth keeping.
const POINT_ROWS_MAX: u64 = 16_384;

/// The open Parquet file of a part: the footer and the page index are decoded once.
#[derive(Debug)]
pub(crate) struct ColumnReader {
    source: Source,
    metadata: ArrowReaderMetadata,
}

impl ColumnReader {
    pub(crate) fn open(source: Source) -> Result<Self, Error> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&source, options)?;
        Ok(Self { source, metadata })
    }

    pub(crate) fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.metadata.metadata()
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self, range: &Range<u64>) -> Result<Bytes, Error> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        Ok(self.source.get_bytes(range.start, length)?)
    }

    /// The columns of the file.
    pub(crate) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// The rows that the file says it has.
    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The rows by way of the cache: what is read again soon is not decompressed again.
    pub(crate) fn read_cached(
        &self,
        columns: Option<&[&str]>,
        rows: &RowRanges,
        part: PartId,
        cache: &Arc<PageCache>,
    ) -> Result<Vec<RecordBatch>, Error> {
        if rows.len() > POINT_ROWS_MAX || self.metadata().offset_index().is_none() {
            return self.read(columns, Some(rows));
        }
        let mask = columns.map_or_else(ProjectionMask::all, |columns| self.projection(columns));
        let fields = self.metadata.schema().fields();
        let levels = parquet_to_arrow_field_levels(self.metadata.parquet_schema(), mask, Some(fields))?;
        let (groups, selection) = self.select(rows);
        let (source, metadata) = (Arc::new(self.source.clone()), Arc::clone(self.metadata()));
        let groups = CachedRowGroups { source, metadata, groups, part, cache: Arc::clone(cache) };
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &groups, BATCH_ROWS, Some(selection))?;
        let batches: Result<Vec<RecordBatch>, _> = reader.collect();
        Ok(batches?)
    }

    pub(crate) fn read(&self, columns: Option<&[&str]>, rows: Option<&RowRanges>) -> Result<Vec<RecordBatch>, Error> {
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), self.metadata.clone())
                .with_batch_size(BATCH_ROWS);
        if let Some(columns) = columns {
            builder = builder.with_projection(self.projection(columns));
        }
        if let Some(rows) = rows {
            let (groups, selection) = self.select(rows);
            builder = builder.with_row_groups(groups).with_row_selection(selection);
        }
        let batches: Result<Vec<RecordBatch>, _> = builder.build()?.collect();
        Ok(batches?)
    }

    fn projection(&self, columns: &[&str]) -> ProjectionMask {
        let fields = self.metadata.schema().fields();
        let roots = fields.iter().enumerate().filter(|(_, field)| columns.contains(&field.name().as_str()));
        ProjectionMask::roots(self.metadata.parquet_schema(), roots.map(|(index, _)| index))
    }

    /// The row groups that hold the rows, and which of their rows.
    fn select(&self, rows: &RowRanges) -> (Vec<usize>, RowSelection) {
        let mut ranges = rows.iter().peekable();
        let (mut groups, mut selectors) = (Vec::new(), Vec::new());
        let mut start = 0_u64;
        for (index, group) in self.metadata().row_groups().iter().enumerate() {
            let end = start + u64::try_from(group.num_rows()).unwrap_or(0);
            let mut at = start;
            let mut is_used = false;
            while let Some(range) = ranges.peek() {
                let (from, to) = (u64::from(range.start).max(start), u64::from(range.end).min(end));
                if from >= end {
                    break;
                }
                if !is_used {
                    is_used = true;
                    groups.push(index);
                }
                push(&mut selectors, from - at, true);
                push(&mut selectors, to - from, false);
                at = to;
                if u64::from(range.end) > end {
                    break;
                }
                ranges.next();
            }
            if is_used {
                push(&mut selectors, end - at, true);
            }
            start = end;
        }
        (groups, RowSelection::from(selectors))
    }
}

fn push(selectors: &mut Vec<RowSelector>, rows: u64, skip: bool) {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    if rows > 0 {
        selectors.push(if skip { RowSelector::skip(rows) } else { RowSelector::select(rows) });
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.length()
    }
}

impl ChunkReader for Source {
    type T = SourceFrom;

    fn get_read(&self, start: u64) -> Result<SourceFrom, ParquetError> {
        Ok(SourceFrom { source: self.clone(), position: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.length()) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of a file of {} bytes", self.length())));
        }
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A source from a position on.
#[derive(Debug)]
pub(crate) struct SourceFrom {
    source: Source,
    position: u64,
}

impl Read for SourceFrom {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
