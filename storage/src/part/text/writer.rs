use std::path::PathBuf;

use bytes::Bytes;
use tantivy::directory::RamDirectory;
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{Directory, Index, IndexSettings, SingleSegmentIndexWriter, TantivyDocument};

use super::directory::write_bundle;
use super::{TOKENIZER, schema};
use crate::error::Error;

/// Bytes of memory for Tantivy's postings; parts stay far below, so that there is one segment.
const MEMORY_BYTES: usize = 256 << 20;

/// Takes the words of one block after the other.
pub(crate) struct TextIndexWriter {
    writer: SingleSegmentIndexWriter<TantivyDocument>,
    directory: RamDirectory,
    field: tantivy::schema::Field,
}

impl TextIndexWriter {
    pub(crate) fn new() -> Result<Self, Error> {
        let (schema, field) = schema();
        let directory = RamDirectory::create();
        let tokenizers = TokenizerManager::new();
        tokenizers.register(TOKENIZER, TextAnalyzer::from(WordTokenizer));
        let builder = Index::builder().schema(schema).settings(IndexSettings::default()).tokenizers(tokenizers);
        let writer = builder.single_segment_index_writer(directory.clone(), MEMORY_BYTES)?;
        Ok(Self { writer, directory, field })
    }

    /// Adds the next block: its distinct words, each followed by a zero byte.
    pub(crate) fn add_block(&mut self, words: &str) -> Result<(), Error> {
        let mut document = TantivyDocument::default();
        document.add_text(self.field, words);
        Ok(self.writer.add_document(document)?)
    }

    /// The bytes of the index.
    pub(crate) fn finish(self) -> Result<Bytes, Error> {
        let index = self.writer.finalize()?;
        let mut files = Vec::new();
        let mut paths: Vec<PathBuf> = index.load_metas()?.list_segment_files().into_iter().collect();
        paths.sort_unstable();
        for path in paths {
            if self.directory.exists(&path).unwrap_or(false) {
                let bytes = self.directory.open_read(&path).map_err(tantivy::TantivyError::from)?.read_bytes();
                files.push((path, bytes.map_err(tantivy::TantivyError::from)?.to_vec()));
            }
        }
        let meta = PathBuf::from("meta.json");
        let bytes = self.directory.atomic_read(&meta).map_err(tantivy::TantivyError::from)?;
        files.push((meta, bytes));
        Ok(write_bundle(&files))
    }
}

/// Words that are cut already, in lower case, each followed by a zero byte.
#[derive(Clone, Default)]
struct WordTokenizer;

struct WordStream<'a> {
    rest: &'a str,
    token: Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream { rest: text, token: Token::default() }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((word, rest)) = self.rest.split_once('\0') else { return false };
        self.token.text.clear();
        self.token.text.push_str(word);
        self.token.position = self.token.position.wrapping_add(1);
        self.rest = rest;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
