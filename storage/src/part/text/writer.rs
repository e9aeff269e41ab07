use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tantivy::directory::RamDirectory;
use tantivy::index::SegmentComponent;
use tantivy::postings::InvertedIndexSerializer;
use tantivy::store::Compressor;
use tantivy::{Directory, Index, IndexSettings, Segment, SingleSegmentIndexWriter, TantivyDocument, TantivyError};

use super::directory::write_bundle;
use super::schema;
use crate::error::Error;

/// Memory that Tantivy's writer asks for, although it only sees documents without words.
const MEMORY_BYTES: usize = 15_000_000;

/// A word that was seen before.
struct Word {
    hash: u64,
    /// Where it stands in the texts.
    text: Range<u32>,
    last_block: u32,
    blocks: u32,
}

/// Gathers the words of the blocks. Tantivy's own writer would hash every word once more and keep its postings in a form
/// that costs more to fill; its serializers take what is gathered here.
#[derive(Default)]
pub(crate) struct TextIndexWriter {
    table: HashTable<u32>,
    words: Vec<Word>,
    texts: String,
    /// Words and blocks as they came, each pair once, blocks ascending.
    pairs: Vec<(u32, u32)>,
}

impl TextIndexWriter {
    /// A word stands in a block. May be said any number of times; blocks never descend. `hash` is one of the word.
    pub(crate) fn add(&mut self, word: &str, hash: u64, block: u32) {
        let Self { table, words, texts, pairs } = self;
        let is_same = |known: &u32| {
            let known = &words[*known as usize];
            known.hash == hash
                && texts.as_bytes()[known.text.start as usize..known.text.end as usize] == *word.as_bytes()
        };
        match table.entry(hash, is_same, |known| words[*known as usize].hash) {
            Entry::Occupied(entry) => {
                let number = *entry.get();
                let known = &mut words[number as usize];
                if known.last_block != block {
                    known.last_block = block;
                    known.blocks += 1;
                    pairs.push((number, block));
                }
            }
            Entry::Vacant(entry) => {
                let number = words.len() as u32;
                entry.insert(number);
                pairs.push((number, block));
                let start = texts.len() as u32;
                texts.push_str(word);
                words.push(Word { hash, text: start..texts.len() as u32, last_block: block, blocks: 1 });
            }
        }
    }

    /// The bytes of the index of a part of `blocks` blocks.
    pub(crate) fn finish(self, blocks: u32) -> Result<Bytes, Error> {
        let (segment, directory) = empty_segment(blocks)?;
        let (words, words_directory) = self.write_words()?;
        let mut files = Vec::new();
        for component in [SegmentComponent::Store, SegmentComponent::FastFields, SegmentComponent::FieldNorms] {
            let path = segment.relative_path(component);
            files.push((path.clone(), file(&directory, path)?));
        }
        for component in [SegmentComponent::Terms, SegmentComponent::Postings, SegmentComponent::Positions] {
            let path = words.relative_path(component.clone());
            files.push((segment.relative_path(component), file(&words_directory, path)?));
        }
        let meta = PathBuf::from("meta.json");
        files.push((meta.clone(), directory.atomic_read(&meta).map_err(TantivyError::from)?));
        Ok(write_bundle(&files))
    }

    /// Dictionary and postings, in a segment that has nothing else.
    fn write_words(self) -> Result<(Segment, RamDirectory), Error> {
        let (schema, field) = schema();
        let directory = RamDirectory::create();
        let segment = Index::create(directory.clone(), schema, settings())?.new_segment();
        let text = |word: &Word| &self.texts[word.text.start as usize..word.text.end as usize];
        let (starts, postings) = self.postings();
        let mut sorted: Vec<u32> = (0..self.words.len() as u32).collect();
        sorted.sort_unstable_by_key(|word| text(&self.words[*word as usize]));

        let io = |error| Error::io("write the words of", "text.idx")(error);
        let mut serializer = InvertedIndexSerializer::open(&segment)?;
        let mut field_serializer = serializer.new_field(field, self.pairs.len() as u64, None).map_err(io)?;
        for number in sorted {
            let word = &self.words[number as usize];
            field_serializer.new_term(text(word).as_bytes(), word.blocks, false).map_err(io)?;
            let start = starts[number as usize] as usize;
            for block in &postings[start..start + word.blocks as usize] {
                field_serializer.write_doc(*block, 1, &[]);
            }
            field_serializer.close_term().map_err(io)?;
        }
        field_serializer.close().map_err(io)?;
        serializer.close().map_err(io)?;
        Ok((segment, directory))
    }

    /// The blocks of each word behind one another, and where each word's begin.
    fn postings(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = Vec::with_capacity(self.words.len());
        let mut next = 0;
        for word in &self.words {
            starts.push(next);
            next += word.blocks;
        }
        let mut at = starts.clone();
        let mut postings = vec![0; self.pairs.len()];
        for (word, block) in &self.pairs {
            let at = &mut at[*word as usize];
            postings[*at as usize] = *block;
            *at += 1;
        }
        (starts, postings)
    }
}

/// Nothing is stored, so nothing is worth a thread.
fn settings() -> IndexSettings {
    let docstore_compression = Compressor::None;
    IndexSettings { docstore_compression, docstore_compress_dedicated_thread: false, ..IndexSettings::default() }
}

/// A segment of `blocks` documents without a word: whatever Tantivy wants of a segment besides words.
fn empty_segment(blocks: u32) -> Result<(Segment, RamDirectory), Error> {
    let (schema, _) = schema();
    let directory = RamDirectory::create();
    let builder = Index::builder().schema(schema).settings(settings());
    let mut writer: SingleSegmentIndexWriter<TantivyDocument> =
        builder.single_segment_index_writer(directory.clone(), MEMORY_BYTES)?;
    for _ in 0..blocks {
        writer.add_document(TantivyDocument::default())?;
    }
    let segment = writer.finalize()?.searchable_segments()?.pop();
    let segment = segment.ok_or_else(|| Error::Internal("Tantivy wrote no segment".into()))?;
    Ok((segment, directory))
}

/// A file as it lies in the directory, with the footer that Tantivy adds.
fn file(directory: &RamDirectory, path: PathBuf) -> Result<Vec<u8>, Error> {
    let slice = directory.open_read(&path).map_err(TantivyError::from)?;
    Ok(slice.read_bytes().map_err(TantivyError::from)?.to_vec())
}
