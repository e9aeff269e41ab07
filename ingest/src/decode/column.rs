//! Column builders that fit decoding: plain vectors that become Arrow buffers without a copy, dictionaries with a fast path
//! for what repeats, columns that are mostly absent.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayData, ArrayRef, ArrowPrimitiveType, DictionaryArray, FixedSizeBinaryArray, Int32Array,
    ListArray, NullBufferBuilder, PrimitiveArray, StringBuilder, make_array, new_empty_array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Int32Type};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::DecodeError;
use super::sanitize::Sanitized;

/// The code of an absent text.
pub(super) const ABSENT: i32 = -1;

/// The values without the room that was made for more: batches stay in memory for a while.
fn exact<T: ArrowNativeType>(mut values: Vec<T>) -> ScalarBuffer<T> {
    values.shrink_to_fit();
    ScalarBuffer::from(values)
}

/// A column of numbers that every row has.
pub(super) fn numbers<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(exact(values), None))
}

/// A column of numbers that rows may lack.
#[derive(Debug)]
pub(super) struct OptionalNumbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> OptionalNumbers<T> {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    #[inline]
    pub(super) fn push(&mut self, value: Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.nulls.append(value.is_some());
    }

    pub(super) fn finish(self) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(exact(self.values), self.nulls.build()))
    }
}

/// A column of trace or span IDs.
#[derive(Debug)]
pub(super) struct IdColumn<const N: usize> {
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl<const N: usize> IdColumn<N> {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { bytes: Vec::with_capacity(rows * N), nulls: NullBufferBuilder::new(rows) }
    }

    #[inline]
    pub(super) fn push(&mut self, id: Option<&[u8; N]>) {
        self.bytes.extend_from_slice(id.unwrap_or(&[0; N]));
        self.nulls.append(id.is_some());
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef, DecodeError> {
        self.bytes.shrink_to_fit();
        let array = FixedSizeBinaryArray::try_new(N as i32, self.bytes.into(), self.nulls.build())?;
        Ok(Arc::new(array))
    }
}

/// An ID of the right length that is not all zeroes.
#[inline]
pub(super) fn valid_id<const N: usize>(bytes: &[u8]) -> Option<&[u8; N]> {
    <&[u8; N]>::try_from(bytes).ok().filter(|id| **id != [0; N])
}

/// A dictionary column of one request. Each distinct text is in it once.
#[derive(Debug)]
pub(super) struct TextColumn {
    keys: Vec<i32>,
    texts: StringBuilder,
    index: HashTable<(u64, i32)>,
    last: i32,
}

impl TextColumn {
    pub(super) fn with_capacity(rows: usize) -> Self {
        let texts = StringBuilder::with_capacity(0, 0);
        Self { keys: Vec::with_capacity(rows), texts, index: HashTable::new(), last: ABSENT }
    }

    /// Whether no text is known yet.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The bytes of a known text.
    #[inline]
    pub(super) fn bytes_of(&self, code: i32) -> &[u8] {
        bytes_of(&self.texts, code)
    }

    /// The code of a name, new or known, [`ABSENT`] when it is empty. Known ones are recognised by their bytes alone:
    /// what is in the dictionary is valid and short enough.
    #[inline]
    pub(super) fn code(&mut self, name: &[u8], sanitized: &mut Sanitized) -> i32 {
        if name.is_empty() {
            return ABSENT;
        }
        self.code_of_any(name, sanitized)
    }

    /// Like [`TextColumn::code`], but the empty name is a text of its own.
    #[inline]
    pub(super) fn code_of_any(&mut self, name: &[u8], sanitized: &mut Sanitized) -> i32 {
        if self.last != ABSENT && self.bytes_of(self.last) == name {
            return self.last;
        }
        let hash = xxh3_64(name);
        self.last = match self.find(hash, name) {
            Some(code) => code,
            None => match sanitized.name(name) {
                Cow::Borrowed(text) => self.insert(hash, text),
                Cow::Owned(text) => self.code_of_text(&text),
            },
        };
        self.last
    }

    /// The code of a text that needs no check.
    pub(super) fn code_of_text(&mut self, text: &str) -> i32 {
        let hash = xxh3_64(text.as_bytes());
        self.last = self.find(hash, text.as_bytes()).unwrap_or_else(|| self.insert(hash, text));
        self.last
    }

    fn find(&self, hash: u64, text: &[u8]) -> Option<i32> {
        let is_same = |(other, code): &(u64, i32)| *other == hash && bytes_of(&self.texts, *code) == text;
        self.index.find(hash, is_same).map(|(_, code)| *code)
    }

    fn insert(&mut self, hash: u64, text: &str) -> i32 {
        let code = self.texts.len() as i32;
        self.texts.append_value(text);
        self.index.insert_unique(hash, (hash, code), |(hash, _)| *hash);
        code
    }

    #[inline]
    pub(super) fn push(&mut self, code: i32) {
        self.keys.push(code);
    }

    /// Adds rows without a text until there are so many.
    pub(super) fn push_absent_until(&mut self, rows: usize) {
        self.keys.resize(rows.max(self.keys.len()), ABSENT);
    }

    /// The column of a text that most rows lack, those behind the last one with a text included.
    pub(super) fn finish_sparse(mut self, rows: usize) -> Result<ArrayRef, DecodeError> {
        if self.is_empty() {
            let data_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            return Ok(new_null_array(&data_type, rows));
        }
        self.push_absent_until(rows);
        self.finish()
    }

    /// Adds the same code for many rows.
    pub(super) fn push_run(&mut self, code: i32, rows: usize) {
        self.keys.extend(std::iter::repeat_n(code, rows));
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef, DecodeError> {
        let rows = self.keys.len();
        let keys = &mut self.keys;
        let nulls = keys.contains(&ABSENT).then(|| {
            let nulls = NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| keys[row] != ABSENT));
            // A null's code must be one that readers may look at.
            keys.iter_mut().for_each(|key| *key = (*key).max(0));
            nulls
        });
        let keys = Int32Array::new(exact(self.keys), nulls);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(self.texts.finish()))?))
    }
}

#[inline]
fn bytes_of(texts: &StringBuilder, code: i32) -> &[u8] {
    let (offsets, code) = (texts.offsets_slice(), code as usize);
    &texts.values_slice()[offsets[code] as usize..offsets[code + 1] as usize]
}

/// A column that most rows do not have: it is made when the first value comes, or never, and nulls are added then.
#[derive(Debug)]
pub(super) struct SparseColumn<B> {
    builder: Option<B>,
    make: fn() -> B,
    append_null: fn(&mut B),
}

impl<B: ArrayBuilder> SparseColumn<B> {
    pub(super) fn new(make: fn() -> B, append_null: fn(&mut B)) -> Self {
        Self { builder: None, make, append_null }
    }

    /// The builder, ready to take the value of a row. Each row is taken at most once and in order.
    #[inline]
    pub(super) fn at(&mut self, row: usize) -> &mut B {
        let builder = self.builder.get_or_insert_with(self.make);
        while builder.len() < row {
            (self.append_null)(builder);
        }
        builder
    }

    pub(super) fn finish(mut self, rows: usize, data_type: &DataType, absent: &mut AbsentColumns) -> ArrayRef {
        match self.builder {
            None => absent.column(rows, data_type),
            Some(_) => self.at(rows).finish(),
        }
    }
}

/// Columns without any value. All of a batch share their memory: a data point has fifteen of them.
#[derive(Debug, Default)]
pub(super) struct AbsentColumns {
    shared: Option<(Buffer, NullBuffer, OffsetBuffer<i32>)>,
}

impl AbsentColumns {
    fn column(&mut self, rows: usize, data_type: &DataType) -> ArrayRef {
        let (zeroes, nulls, offsets) = self.shared.get_or_insert_with(|| {
            let zeroes = Buffer::from(vec![0_i64; rows + 1]);
            let offsets = OffsetBuffer::new(ScalarBuffer::new(zeroes.clone(), 0, rows + 1));
            (zeroes, NullBuffer::new_null(rows), offsets)
        });
        if let DataType::List(item) = data_type {
            let (offsets, values) = (offsets.clone(), new_empty_array(item.data_type()));
            return Arc::new(ListArray::new(Arc::clone(item), offsets, values, Some(nulls.clone())));
        }
        let has_shared_width = data_type.primitive_width().is_some_and(|bytes| bytes <= 8);
        if !has_shared_width {
            return new_null_array(data_type, rows);
        }
        let data = ArrayData::builder(data_type.clone()).len(rows).nulls(Some(nulls.clone()));
        match data.add_buffer(zeroes.clone()).build() {
            Ok(data) => make_array(data),
            Err(_) => new_null_array(data_type, rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Float64Builder, Int64Builder};
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    #[test]
    fn a_text_is_in_its_dictionary_once() {
        let mut column = TextColumn::with_capacity(0);
        let mut sanitized = Sanitized::default();
        for name in [&b"a"[..], b"b", b"", b"a", b"\xff", b"\xff", "\u{fffd}".as_bytes()] {
            let code = column.code(name, &mut sanitized);
            column.push(code);
        }
        let array = column.finish().expect("a column");
        let array = array.as_dictionary::<Int32Type>();
        let keys: Vec<Option<i32>> = array.keys().iter().collect();
        assert_eq!(keys, [Some(0), Some(1), None, Some(0), Some(2), Some(2), Some(2)]);
        assert_eq!(array.values().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "\u{fffd}"]);
        assert_eq!(sanitized.causes(), [("invalid_utf8", 2)]);
    }

    #[test]
    fn absent_columns_have_the_rows_and_the_type_that_is_asked_for() {
        let mut absent = AbsentColumns::default();
        let list = DataType::List(Arc::new(Field::new("item", DataType::UInt64, true)));
        for data_type in [DataType::Float64, DataType::Int32, DataType::Boolean, DataType::UInt64, list, DataType::Utf8]
        {
            let column = SparseColumn::new(Float64Builder::new, Float64Builder::append_null);
            let array = column.finish(5, &data_type, &mut absent);
            assert_eq!((array.data_type(), array.len(), array.null_count()), (&data_type, 5, 5));
            array.to_data().validate_full().expect("a valid array");
        }
    }

    #[test]
    fn sparse_columns_fill_what_is_missing() {
        let mut column = SparseColumn::new(Int64Builder::new, Int64Builder::append_null);
        column.at(2).append_value(7);
        let array = column.finish(4, &DataType::Int64, &mut AbsentColumns::default());
        let values: Vec<Option<i64>> = array.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(values, [None, None, Some(7), None]);
    }
}
