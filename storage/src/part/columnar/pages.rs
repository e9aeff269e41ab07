//! Pages of column chunks for point look-ups, through the [`PageCache`].

use std::sync::Arc;

use parquet::arrow::arrow_reader::RowGroups;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use trivium_model::PartId;

use crate::part::page_cache::{PageCache, PageKey};

/// Some row groups of a part's Parquet file, whose pages come through the cache. The file has a page index.
pub(super) struct CachedRowGroups<R> {
    pub(super) source: Arc<R>,
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) groups: Vec<usize>,
    pub(super) part: PartId,
    pub(super) cache: Arc<PageCache>,
}

impl<R: ChunkReader + 'static> RowGroups for CachedRowGroups<R> {
    fn num_rows(&self) -> usize {
        self.row_groups().map(rows_of).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let chunks: Result<Vec<_>> = self.groups.iter().map(|group| self.chunk(*group, column)).collect();
        Ok(Box::new(Chunks(chunks?.into_iter())))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.groups.iter().map(|group| self.metadata.row_group(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

impl<R: ChunkReader + 'static> CachedRowGroups<R> {
    fn chunk(&self, group: usize, column: usize) -> Result<CachedPages<R>> {
        let pages = CachedPages {
            source: Arc::clone(&self.source),
            metadata: Arc::clone(&self.metadata),
            group,
            column,
            part: self.part,
            cache: Arc::clone(&self.cache),
            is_dictionary_due: false,
            next: 0,
            behind: None,
        };
        let first = pages.locations()?.first().map(|location| location.offset);
        Ok(CachedPages { is_dictionary_due: first.is_some_and(|first| first != pages.start()), ..pages })
    }
}

fn rows_of(group: &RowGroupMetaData) -> usize {
    usize::try_from(group.num_rows()).unwrap_or(0)
}

struct Chunks<R: ChunkReader>(std::vec::IntoIter<CachedPages<R>>);

impl<R: ChunkReader + 'static> Iterator for Chunks<R> {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|pages| Ok(Box::new(pages) as Box<dyn PageReader>))
    }
}

impl<R: ChunkReader + 'static> PageIterator for Chunks<R> {}

/// The pages of one column chunk, in order: the dictionary if there is one, then the data.
struct CachedPages<R: ChunkReader> {
    source: Arc<R>,
    metadata: Arc<ParquetMetaData>,
    group: usize,
    column: usize,
    part: PartId,
    cache: Arc<PageCache>,
    is_dictionary_due: bool,
    /// The next data page.
    next: usize,
    /// Reads what the cache does not have, and the data page it stands at. Made when it is first needed: it costs a
    /// decompression context.
    behind: Option<(usize, SerializedPageReader<R>)>,
}

impl<R: ChunkReader> CachedPages<R> {
    fn locations(&self) -> Result<&[PageLocation]> {
        let index = self.metadata.offset_index().and_then(|index| index.get(self.group)?.get(self.column));
        let index = index.ok_or_else(|| ParquetError::General("a part without a page index".into()))?;
        Ok(index.page_locations())
    }

    /// The offset of the chunk.
    fn start(&self) -> i64 {
        i64::try_from(self.metadata.row_group(self.group).column(self.column).byte_range().0).unwrap_or(i64::MAX)
    }

    fn page(&mut self, offset: i64, read: impl FnOnce(&mut Self) -> Result<Option<Page>>) -> Result<Option<Page>> {
        let key = PageKey { part: self.part, offset };
        if let Some(page) = self.cache.get(&key) {
            return Ok(Some(page));
        }
        let page = read(self)?;
        if let Some(page) = &page {
            self.cache.insert(key, page);
        }
        Ok(page)
    }

    fn read_dictionary(&mut self) -> Result<Option<Page>> {
        self.reader(0)?.get_next_page()
    }

    fn read_data(&mut self, wanted: usize) -> Result<Option<Page>> {
        let mut at = match self.behind.take() {
            Some((at, reader)) if at <= wanted => {
                self.behind = Some((at, reader));
                at
            }
            _ => {
                let has_dictionary = self.locations()?.get(wanted).is_some_and(|page| page.offset != self.start());
                let reader = self.reader(wanted)?;
                if has_dictionary {
                    // What lies before the page is taken for a dictionary.
                    reader.skip_next_page()?;
                }
                wanted
            }
        };
        let Some((_, reader)) = &mut self.behind else { return Ok(None) };
        while at < wanted {
            reader.skip_next_page()?;
            at += 1;
        }
        let page = reader.get_next_page()?;
        if let Some((at, _)) = &mut self.behind {
            *at = wanted + 1;
        }
        Ok(page)
    }

    /// A reader of the pages from `first` on.
    fn reader(&mut self, first: usize) -> Result<&mut SerializedPageReader<R>> {
        let group = self.metadata.row_group(self.group);
        let locations = self.locations()?.get(first..).unwrap_or_default().to_vec();
        let source = Arc::clone(&self.source);
        let reader = SerializedPageReader::new(source, group.column(self.column), rows_of(group), Some(locations))?;
        Ok(&mut self.behind.insert((first, reader)).1)
    }
}

impl<R: ChunkReader> Iterator for CachedPages<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<R: ChunkReader> PageReader for CachedPages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        if self.is_dictionary_due {
            self.is_dictionary_due = false;
            return self.page(self.start(), Self::read_dictionary);
        }
        let wanted = self.next;
        let Some(offset) = self.locations()?.get(wanted).map(|location| location.offset) else { return Ok(None) };
        self.next += 1;
        self.page(offset, |pages| pages.read_data(wanted))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        if self.is_dictionary_due {
            return Ok(Some(PageMetadata { num_rows: None, num_levels: None, is_dict: true }));
        }
        let locations = self.locations()?;
        let Some(page) = locations.get(self.next) else { return Ok(None) };
        let end = match locations.get(self.next + 1) {
            Some(following) => following.first_row_index,
            None => self.metadata.row_group(self.group).num_rows(),
        };
        let rows = usize::try_from(end - page.first_row_index)?;
        Ok(Some(PageMetadata { num_rows: Some(rows), num_levels: None, is_dict: false }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        if self.is_dictionary_due {
            self.is_dictionary_due = false;
        } else {
            self.next += 1;
        }
        Ok(())
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        Ok(true)
    }
}
