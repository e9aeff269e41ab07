//! Column builders that fit decoding: dictionaries with a fast path for what repeats, columns that are mostly absent.

use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, DictionaryArray, Int32Builder, StringArray, new_null_array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int32Type};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::DecodeError;

/// A dictionary column of one request.
#[derive(Debug, Default)]
pub(super) struct TextColumn {
    keys: Int32Builder,
    text: String,
    ends: Vec<i32>,
    index: HashTable<(u64, i32)>,
    last: Option<i32>,
}

impl TextColumn {
    fn value<'t>(text: &'t str, ends: &[i32], code: i32) -> &'t str {
        let code = code as usize;
        let start = if code == 0 { 0 } else { ends[code - 1] as usize };
        &text[start..ends[code] as usize]
    }

    /// The code of a text, new or known.
    pub(super) fn code(&mut self, text: &str) -> i32 {
        if let Some(last) = self.last
            && Self::value(&self.text, &self.ends, last) == text
        {
            return last;
        }
        let hash = xxh3_64(text.as_bytes());
        let known =
            self.index.find(hash, |(other, code)| *other == hash && Self::value(&self.text, &self.ends, *code) == text);
        let code = match known {
            Some((_, code)) => *code,
            None => {
                let code = self.ends.len() as i32;
                self.text.push_str(text);
                // A request is at most 64 MiB and a text at most a few times its bytes, so that offsets fit 31 bits.
                self.ends.push(i32::try_from(self.text.len()).unwrap_or(i32::MAX));
                self.index.insert_unique(hash, (hash, code), |(hash, _)| *hash);
                code
            }
        };
        self.last = Some(code);
        code
    }

    pub(super) fn push(&mut self, text: &str) {
        let code = self.code(text);
        self.keys.append_value(code);
    }

    pub(super) fn push_code(&mut self, code: i32) {
        self.keys.append_value(code);
    }

    /// A text, or null when it is empty.
    pub(super) fn push_or_null(&mut self, text: &str) {
        if text.is_empty() {
            self.keys.append_null();
        } else {
            self.push(text);
        }
    }

    pub(super) fn push_null(&mut self) {
        self.keys.append_null();
    }

    pub(super) fn text_of(&self, code: i32) -> &str {
        Self::value(&self.text, &self.ends, code)
    }

    /// Bytes of distinct text so far.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef, DecodeError> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend_from_slice(&self.ends);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let values = StringArray::try_new(offsets, self.text.into_bytes().into(), None)?;
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(self.keys.finish(), Arc::new(values))?))
    }
}

/// A column that most rows do not have: nulls are added when a value comes, or never.
#[derive(Debug)]
pub(super) struct SparseColumn<B> {
    builder: B,
    append_null: fn(&mut B),
}

impl<B: ArrayBuilder> SparseColumn<B> {
    pub(super) fn new(builder: B, append_null: fn(&mut B)) -> Self {
        Self { builder, append_null }
    }

    /// The builder, ready to take the value of a row. Each row is taken at most once and in order.
    pub(super) fn at(&mut self, row: usize) -> &mut B {
        while self.builder.len() < row {
            (self.append_null)(&mut self.builder);
        }
        &mut self.builder
    }

    pub(super) fn finish(mut self, rows: usize, data_type: &DataType) -> ArrayRef {
        if self.builder.len() == 0 {
            return new_null_array(data_type, rows);
        }
        self.at(rows);
        self.builder.finish()
    }
}
