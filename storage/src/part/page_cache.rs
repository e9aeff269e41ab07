//! Decompressed pages of parts that point look-ups touched lately.
//!
//! An ID's rows are scattered: a look-up reads one page of 1,024 bodies for one log record, first to check it and then
//! to show it, and the next question is about the same trace. Scans do not come here: they would push out everything.

use std::sync::Arc;

use parquet::column::page::Page;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use trivium_model::PartId;

/// A page is expected to take this much, which fixes how many places the cache has in the beginning.
const PAGE_BYTES_TYPICAL: usize = 64 * 1024;

/// What an entry costs besides its bytes.
const ENTRY_BYTES: u64 = 160;

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    pub(crate) part: PartId,
    /// Offset in the Parquet file.
    pub(crate) offset: i64,
}

/// Pages by use, bounded in bytes. Cheap to share. A part that is gone leaves its pages to be pushed out.
#[derive(Debug)]
pub struct PageCache(Cache<PageKey, Arc<Page>, PageWeight>);

#[derive(Clone, Debug)]
struct PageWeight;

impl Weighter<PageKey, Arc<Page>> for PageWeight {
    fn weight(&self, _: &PageKey, page: &Arc<Page>) -> u64 {
        page.buffer().len() as u64 + ENTRY_BYTES
    }
}

impl PageCache {
    /// A cache of at most `bytes_max` bytes of pages.
    pub fn new(bytes_max: usize) -> Self {
        Self(Cache::with_weighter((bytes_max / PAGE_BYTES_TYPICAL).max(16), bytes_max as u64, PageWeight))
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }

    pub(crate) fn get(&self, key: &PageKey) -> Option<Page> {
        self.0.get(key).map(|page| Page::clone(&page))
    }

    pub(crate) fn insert(&self, key: PageKey, page: &Page) {
        self.0.insert(key, Arc::new(page.clone()));
    }
}
