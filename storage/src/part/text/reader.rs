use std::path::Path;
use std::sync::Arc;

use tantivy::directory::{FileSlice, MmapDirectory};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, Index, InvertedIndexReader, SegmentReader, TERMINATED, Term};

use super::directory::BundleDirectory;
use crate::error::Error;

/// Words that a prefix may stand for; beyond it the prefix may be anywhere.
const PREFIX_WORDS_MAX: usize = 10_000;

/// An open text index.
pub(crate) struct TextIndex {
    words: Arc<InvertedIndexReader>,
    field: Field,
}

impl std::fmt::Debug for TextIndex {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TextIndex").finish_non_exhaustive()
    }
}

impl TextIndex {
    /// Opens the file; its pages are mapped, not read.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let name = Path::new(path.file_name().unwrap_or_default());
        let mapped = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        let bundle: FileSlice = tantivy::Directory::open_read(&mapped, name).map_err(tantivy::TantivyError::from)?;
        Self::open_slice(path, &bundle)
    }

    /// Opens an index that something else reads the bytes of.
    pub(crate) fn open_slice(path: &Path, bundle: &FileSlice) -> Result<Self, Error> {
        let index = Index::open(BundleDirectory::open(path, bundle)?)?;
        let (_, field) = super::schema();
        let segments = index.searchable_segments()?;
        let [segment] = &segments[..] else {
            return Err(Error::Internal(format!("{} has {} segments instead of one", path.display(), segments.len())));
        };
        let words = SegmentReader::open(segment)?.inverted_index(field)?;
        Ok(Self { words, field })
    }

    /// The blocks that hold a word, ascending.
    pub(crate) fn blocks(&self, word: &str) -> Result<Vec<u32>, Error> {
        let term = Term::from_field_text(self.field, word);
        let postings =
            self.words.read_postings(&term, IndexRecordOption::Basic).map_err(Error::io("read", "text.idx"))?;
        let mut blocks = Vec::new();
        if let Some(mut postings) = postings {
            blocks.reserve(postings.doc_freq() as usize);
            collect(&mut postings, &mut blocks);
        }
        Ok(blocks)
    }

    /// The blocks that hold a word with a prefix, ascending; `None` when too many words have it.
    pub(crate) fn blocks_with_prefix(&self, prefix: &str) -> Result<Option<Vec<u32>>, Error> {
        let io = |error| Error::io("read", "text.idx")(error);
        let mut words = self.words.terms().range().ge(prefix).into_stream().map_err(io)?;
        let mut blocks = Vec::new();
        let mut count = 0;
        while words.advance() && words.key().starts_with(prefix.as_bytes()) {
            count += 1;
            if count > PREFIX_WORDS_MAX {
                return Ok(None);
            }
            let info = words.value();
            let postings = self.words.read_postings_from_terminfo(info, IndexRecordOption::Basic);
            collect(&mut postings.map_err(io)?, &mut blocks);
        }
        blocks.sort_unstable();
        blocks.dedup();
        Ok(Some(blocks))
    }
}

fn collect(postings: &mut impl DocSet, blocks: &mut Vec<u32>) {
    let mut block = postings.doc();
    while block != TERMINATED {
        blocks.push(block);
        block = postings.advance();
    }
}
