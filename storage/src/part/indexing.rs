//! What of a row can be found: its IDs and the tokens of its texts, block by block.

use arrow::array::{Array, AsArray, DictionaryArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use trivium_model::SignalKind;
use trivium_model::limit::INDEX_BLOCK_ROWS;
use xxhash_rust::xxh3::xxh3_64;

use super::ID_LETTERS;
use super::gather::Rows;
use super::ids::{IdIndexWriter, fingerprint_of};
use super::recent::{Recent, Segments};
use super::text::TextIndexWriter;
use crate::attributes;
use crate::error::Error;
use crate::tokens::{TokenKind, for_each_token};

/// The index files of a part: `ids.idx`, and for logs `text.idx`.
pub(crate) struct Indexes {
    pub(crate) ids: Bytes,
    pub(crate) text: Option<Bytes>,
}

/// Rows of an index block.
fn block_rows(signal: SignalKind) -> u32 {
    match signal {
        SignalKind::Logs => INDEX_BLOCK_ROWS,
        SignalKind::Traces | SignalKind::Metrics => 8 * INDEX_BLOCK_ROWS,
    }
}

/// Indexes the rows of a table in the order of the part.
pub(crate) fn index_rows(signal: SignalKind, rows: &Rows<'_>, order: &[u32]) -> Result<Indexes, Error> {
    let block_rows = block_rows(signal);
    let mut sources = sources(signal, rows)?;
    sources.retain(|source| !source.is_empty());
    let mut blocks = Blocks::new(signal == SignalKind::Logs);
    let mut seen_codes: Vec<Vec<u32>> = sources.iter().map(|source| vec![u32::MAX; source.entries()]).collect();
    for (block, rows) in order.chunks(block_rows as usize).enumerate() {
        let block = u32::try_from(block).map_err(|_| Error::Internal("a part with too many blocks".into()))?;
        blocks.begin(block);
        for (source, seen) in sources.iter().zip(&mut seen_codes) {
            source.visit(rows, block, seen, &mut blocks);
        }
    }
    blocks.finish(block_rows)
}

/// One column, as the indexes see it.
enum Source<'a> {
    /// Text that differs from row to row.
    Plain(&'a [Option<&'a str>]),
    /// Text of which an entry is looked at once per block.
    Dictionary(&'a DictionaryArray<Int32Type>),
    /// Attribute sets: the texts of the values.
    Sets(&'a DictionaryArray<Int32Type>),
    Ids(&'a FixedSizeBinaryArray),
    /// Events, links or exemplars.
    Children(&'a ListArray),
}

fn sources<'a>(signal: SignalKind, rows: &'a Rows<'_>) -> Result<Vec<Source<'a>>, Error> {
    let table = &rows.table;
    let column = |name: &str| table.column_by_name(name).ok_or_else(|| Error::Internal(format!("no column {name}")));
    let dictionary = |name: &str| Ok::<_, Error>(Source::Dictionary(column(name)?.as_dictionary()));
    let ids = |name: &str| Ok::<_, Error>(Source::Ids(column(name)?.as_fixed_size_binary()));
    let children = |name: &str| Ok::<_, Error>(Source::Children(column(name)?.as_list()));
    let sets = |name: &str| Ok::<_, Error>(Source::Sets(column(name)?.as_dictionary()));
    Ok(match signal {
        SignalKind::Logs => vec![
            Source::Plain(&rows.texts),
            sets("attributes")?,
            sets("resource")?,
            dictionary("event_name")?,
            dictionary("severity_text")?,
            ids("trace_id")?,
            ids("span_id")?,
        ],
        SignalKind::Traces => vec![
            ids("trace_id")?,
            ids("span_id")?,
            // A parent mostly stands in the block of its children, so that it adds hardly an entry.
            ids("parent_span_id")?,
            sets("attributes")?,
            sets("resource")?,
            dictionary("name")?,
            dictionary("status_message")?,
            children("events")?,
            children("links")?,
        ],
        SignalKind::Metrics => vec![sets("attributes")?, children("exemplars")?],
    })
}

impl Source<'_> {
    /// Whether no row has a value.
    fn is_empty(&self) -> bool {
        match self {
            Self::Plain(texts) => texts.iter().all(Option::is_none),
            Self::Dictionary(column) | Self::Sets(column) => column.null_count() == column.len(),
            Self::Ids(column) => column.null_count() == column.len(),
            Self::Children(column) => column.null_count() == column.len(),
        }
    }

    /// Entries of the dictionary, if it has one.
    fn entries(&self) -> usize {
        match self {
            Self::Dictionary(column) | Self::Sets(column) => column.values().len(),
            _ => 0,
        }
    }

    /// Adds the rows of a block; `seen` holds for each dictionary entry the last block in which it was added.
    fn visit(&self, rows: &[u32], block: u32, seen: &mut [u32], blocks: &mut Blocks) {
        match self {
            Self::Plain(column) => {
                rows.iter().filter_map(|row| column[*row as usize]).for_each(|text| blocks.text(text));
            }
            Self::Dictionary(column) => each_entry(column, rows, block, seen, |text| blocks.text(text)),
            Self::Sets(column) => each_entry(column, rows, block, seen, |set| blocks.set(set)),
            Self::Ids(column) => {
                let mut previous: &[u8] = &[];
                for row in rows.iter().map(|row| *row as usize).filter(|row| column.is_valid(*row)) {
                    let id = column.value(row);
                    if id != previous {
                        blocks.id(id);
                        previous = id;
                    }
                }
            }
            Self::Children(column) => {
                for row in rows.iter().map(|row| *row as usize).filter(|row| column.is_valid(*row)) {
                    blocks.children(column, row);
                }
            }
        }
    }
}

fn each_entry<'a>(
    column: &'a DictionaryArray<Int32Type>,
    rows: &[u32],
    block: u32,
    seen: &mut [u32],
    mut add: impl FnMut(&'a str),
) {
    let values: &StringArray = column.values().as_string();
    for row in rows {
        let Some(key) = column.key(*row as usize) else { continue };
        if let Some(last) = seen.get_mut(key)
            && *last != block
        {
            *last = block;
            add(values.value(key));
        }
    }
}

/// The tokens of one block after the other.
struct Blocks {
    ids: IdIndexWriter,
    text: Option<TextIndexWriter>,
    block: u32,
    count: u32,
    /// Tokens and segments added to the block.
    tokens: Recent,
    segments: Recent,
    scratch: String,
    hex: String,
}

impl Blocks {
    fn new(has_text: bool) -> Self {
        Self {
            ids: IdIndexWriter::default(),
            text: has_text.then(TextIndexWriter::default),
            block: 0,
            count: 0,
            tokens: Recent::default(),
            segments: Recent::default(),
            scratch: String::new(),
            hex: String::new(),
        }
    }

    fn begin(&mut self, block: u32) {
        self.block = block;
        self.count = block + 1;
        self.tokens.clear();
        self.segments.clear();
    }

    fn finish(self, block_rows: u32) -> Result<Indexes, Error> {
        let text = self.text.map(|text| text.finish(self.count)).transpose()?;
        Ok(Indexes { ids: self.ids.finish(self.count, block_rows), text })
    }

    /// Adds the tokens of a text. Most of its segments stand in another row of the block already and go no further.
    fn text(&mut self, text: &str) {
        for segment in Segments::of(text) {
            if self.segments.is_new(segment.hash) {
                self.segment(segment.text);
            }
        }
    }

    fn segment(&mut self, text: &str) {
        let Self { ids, tokens, block, scratch, text: text_index, .. } = self;
        for_each_token(text, scratch, |token| {
            let hash = xxh3_64(token.text.as_bytes());
            if !tokens.is_new(hash) {
                return;
            }
            match text_index {
                Some(words) if token.kind == TokenKind::Word => words.add(token.text, hash, *block),
                None => ids.add(fingerprint_of(hash), *block),
                Some(words) => {
                    ids.add(fingerprint_of(hash), *block);
                    add_letters(token.text, words, *block);
                }
            }
        });
    }

    fn set(&mut self, set: &str) {
        for (_, value) in attributes::entries(set) {
            self.text(&value.text());
        }
    }

    fn id(&mut self, id: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.hex.clear();
        for byte in id {
            self.hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            self.hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        let hash = xxh3_64(self.hex.as_bytes());
        if self.tokens.is_new(hash) {
            self.ids.add(fingerprint_of(hash), self.block);
        }
    }

    /// The names, attributes and IDs of the elements of one row.
    fn children(&mut self, list: &ListArray, row: usize) {
        let Some(fields) = list.values().as_struct_opt() else { return };
        let offsets = list.value_offsets();
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        for name in ["name", "attributes"] {
            let texts = fields.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            for texts in texts.into_iter() {
                for index in range.clone().filter(|index| texts.is_valid(*index)) {
                    if name == "attributes" { self.set(texts.value(index)) } else { self.text(texts.value(index)) }
                }
            }
        }
        for name in ["trace_id", "span_id"] {
            let ids = fields.column_by_name(name).and_then(|column| column.as_fixed_size_binary_opt());
            for ids in ids.into_iter() {
                for index in range.clone().filter(|index| ids.is_valid(*index)) {
                    self.id(ids.value(index));
                }
            }
        }
    }
}

/// Adds the letters that an ID token begins with, so that a search for a prefix finds it.
fn add_letters(token: &str, words: &mut TextIndexWriter, block: u32) {
    let end = token.find(|letter: char| letter.is_ascii_digit()).unwrap_or(token.len());
    if let Some(letters) = token.get(..end).filter(|letters| !letters.is_empty()) {
        let word = format!("{ID_LETTERS}{letters}");
        words.add(&word, xxh3_64(word.as_bytes()), block);
    }
}

/// A token and the row, counted within its batch, that must be found by it.
pub(crate) struct SampleToken {
    pub(crate) text: String,
    pub(crate) row: u32,
}

/// Tokens of some rows of a batch of a part, for `verify --deep`.
pub(crate) fn sample_tokens(signal: SignalKind, batch: &RecordBatch) -> Result<Vec<SampleToken>, Error> {
    const ROWS_PER_SAMPLE: usize = 97;
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| Error::Internal(format!("no column {name}")));
    let mut samples = Vec::new();
    for row in (0..batch.num_rows()).step_by(ROWS_PER_SAMPLE) {
        let mut add = |text: &str| {
            let texts = crate::tokens::tokens(text).into_iter();
            samples.extend(texts.map(|text| SampleToken { text, row: u32::try_from(row).unwrap_or(u32::MAX) }));
        };
        match signal {
            SignalKind::Logs => {
                let bodies: &StringArray = column("body")?.as_string();
                if bodies.is_valid(row) {
                    add(bodies.value(row));
                }
            }
            SignalKind::Traces => {
                let ids = column("trace_id")?.as_fixed_size_binary();
                add(&ids.value(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            }
            SignalKind::Metrics => {}
        }
    }
    Ok(samples)
}
