//! Attribute sets as columns: a set that occurred in this request before is recognised by its bytes, without decoding it.

use arrow::array::ArrayRef;
use hashbrown::HashTable;
use trivium_model::limit;
use trivium_storage::attributes::EMPTY;
use xxhash_rust::xxh3::xxh3_64;

use super::DecodeError;
use super::column::{ABSENT, TextColumn};
use super::sanitize::Sanitized;
use super::value::ValueWriter;

/// The repeated `KeyValue` field of one record, undecoded. Senders write its elements one after the other, so that the set
/// is one run of bytes; the format allows other fields in between.
#[derive(Debug, Default)]
pub(super) struct RawSet<'a> {
    /// The message from the first element of the last run on, and how many bytes of it follow the run.
    head: &'a [u8],
    behind: usize,
    /// The runs before the last one.
    earlier: Vec<&'a [u8]>,
}

impl<'a> RawSet<'a> {
    pub(super) fn clear(&mut self) {
        self.head = &[];
        self.behind = 0;
        self.earlier.clear();
    }

    /// Adds an element, given by what was left of the message before and after it.
    #[inline]
    pub(super) fn push(&mut self, before: &'a [u8], after: &'a [u8]) {
        let follows = self.head.get(self.head.len() - self.behind..).is_some_and(|end| std::ptr::eq(end, before));
        if !follows {
            // A set has so many attributes at most; a run has one at least.
            if !self.is_empty() && self.earlier.len() <= limit::ATTRIBUTES_MAX {
                self.earlier.push(self.last_run());
            }
            self.head = before;
        }
        self.behind = after.len();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    fn last_run(&self) -> &'a [u8] {
        self.head.get(..self.head.len() - self.behind).unwrap_or_default()
    }

    /// The runs of bytes that hold the elements, in the order of the wire.
    pub(super) fn runs(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.earlier.iter().copied().chain((!self.is_empty()).then(|| self.last_run()))
    }

    /// The run that holds all elements; `None` when there are several.
    #[inline]
    pub(super) fn only_run(&self) -> Option<&'a [u8]> {
        self.earlier.is_empty().then(|| self.last_run())
    }

    /// The set as canonical JSON; with `is_cut` it says that something of its record was cut off elsewhere.
    pub(super) fn json<'w>(&self, writer: &'w mut ValueWriter<'a>, is_cut: bool) -> &'w str {
        if self.is_empty() && !is_cut {
            return EMPTY;
        }
        if self.earlier.is_empty() {
            return writer.set(&[self.last_run()], is_cut);
        }
        let mut runs = self.earlier.clone();
        runs.push(self.last_run());
        writer.set(&runs, is_cut)
    }
}

/// A set that occurred.
#[derive(Debug)]
struct Known<'a> {
    hash: u64,
    run: &'a [u8],
    code: i32,
    /// What was altered in it, counted again for every record that has it.
    altered: Option<Box<Sanitized>>,
}

/// A column of attribute sets.
#[derive(Debug)]
pub(super) struct AttributeColumn<'a> {
    texts: TextColumn,
    index: HashTable<Known<'a>>,
    last: (&'a [u8], i32),
    empty: i32,
}

impl<'a> AttributeColumn<'a> {
    pub(super) fn with_capacity(rows: usize) -> Self {
        let texts = TextColumn::with_capacity(rows);
        Self { texts, index: HashTable::new(), last: (&[], ABSENT), empty: ABSENT }
    }

    /// The code of a set.
    #[inline]
    pub(super) fn code(&mut self, set: &RawSet<'a>, writer: &mut ValueWriter<'a>) -> i32 {
        if set.is_empty() {
            return self.empty_code();
        }
        let run = set.last_run();
        if !set.earlier.is_empty() {
            return self.code_of_altered(set, writer, false);
        }
        if self.last.0 == run {
            return self.last.1;
        }
        let hash = xxh3_64(run);
        if let Some(known) = self.index.find(hash, |known| known.hash == hash && known.run == run) {
            match &known.altered {
                Some(altered) => writer.sanitized.add(altered),
                None => self.last = (run, known.code),
            }
            return known.code;
        }
        self.insert(hash, run, writer)
    }

    fn insert(&mut self, hash: u64, run: &'a [u8], writer: &mut ValueWriter<'a>) -> i32 {
        let before = writer.sanitized;
        let code = self.texts.code_of_text(writer.set(&[run], false));
        let altered = writer.sanitized.since(before).map(Box::new);
        if altered.is_none() {
            self.last = (run, code);
        }
        self.index.insert_unique(hash, Known { hash, run, code, altered }, |known| known.hash);
        code
    }

    /// The code of the set of a record of which something was cut off.
    pub(super) fn code_of_altered(&mut self, set: &RawSet<'a>, writer: &mut ValueWriter<'a>, is_cut: bool) -> i32 {
        self.texts.code_of_text(set.json(writer, is_cut))
    }

    /// The code of a set that is canonical JSON already.
    pub(super) fn code_of_json(&mut self, json: &str) -> i32 {
        self.texts.code_of_text(json)
    }

    pub(super) fn empty_code(&mut self) -> i32 {
        if self.empty == ABSENT {
            self.empty = self.texts.code_of_text(EMPTY);
        }
        self.empty
    }

    #[inline]
    pub(super) fn push(&mut self, code: i32) {
        self.texts.push(code);
    }

    pub(super) fn push_run(&mut self, code: i32, rows: usize) {
        self.texts.push_run(code, rows);
    }

    /// The JSON of a known set.
    pub(super) fn json_of(&self, code: i32) -> &[u8] {
        self.texts.bytes_of(code)
    }

    pub(super) fn finish(self) -> Result<ArrayRef, DecodeError> {
        self.texts.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::wire::Fields;

    /// Reads the fields 1 of a message as a set.
    fn set(message: &[u8]) -> RawSet<'_> {
        let (mut fields, mut set) = (Fields::new(message), RawSet::default());
        let mut before = fields.rest();
        while let Some((number, _)) = fields.next().expect("a message") {
            if number == 1 {
                set.push(before, fields.rest());
            }
            before = fields.rest();
        }
        set
    }

    /// `KeyValue { key, value: { int_value: 1 } }` as field 1.
    fn pair(key: &str) -> Vec<u8> {
        [&[0x0a, key.len() as u8 + 6, 0x0a, key.len() as u8], key.as_bytes(), &[0x12, 2, 0x18, 1]].concat()
    }

    #[test]
    fn a_set_is_one_run_or_several() {
        let other = [0x10, 5];
        for (message, runs) in [
            ([pair("b"), pair("a")].concat(), 1),
            ([&other[..], &pair("b"), &pair("a"), &other].concat(), 1),
            ([&pair("b")[..], &other, &pair("a"), &other].concat(), 2),
        ] {
            let set = set(&message);
            assert_eq!(set.earlier.len() + 1, runs);
            assert_eq!(set.json(&mut ValueWriter::default(), false), r#"{"a":1,"b":1}"#);
        }
        assert_eq!(set(&other).json(&mut ValueWriter::default(), false), "{}");
    }

    #[test]
    fn an_alteration_counts_for_every_record_that_has_it() {
        let message = [pair("a"), pair("a")].concat();
        let (set, mut writer) = (set(&message), ValueWriter::default());
        let mut column = AttributeColumn::with_capacity(3);
        for _ in 0..3 {
            assert_eq!(column.code(&set, &mut writer), 0);
        }
        assert_eq!(writer.sanitized.causes(), [("duplicate_key", 3)]);
    }

    #[test]
    fn equal_sets_in_different_bytes_are_one_entry() {
        let (left, right) = ([pair("a"), pair("b")].concat(), [pair("b"), pair("a")].concat());
        let (left, right, mut writer) = (set(&left), set(&right), ValueWriter::default());
        let mut column = AttributeColumn::with_capacity(2);
        assert_eq!((column.code(&left, &mut writer), column.code(&right, &mut writer)), (0, 0));
        assert_eq!(column.json_of(0), br#"{"a":1,"b":1}"#);
    }
}
