//! Joins batches into one, without looking at text that the batches already share.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use hashbrown::HashMap;

use crate::error::Error;

/// The rows of a part before they are sorted.
pub(crate) struct Rows<'a> {
    /// All columns; those of plain text (`body`) are empty here.
    pub(crate) table: RecordBatch,
    /// The values of the one column of plain text, where they lie: they are most of the bytes and are copied once, when
    /// they are written. Empty when the table has no such column.
    pub(crate) texts: Vec<Option<&'a str>>,
}

/// All rows of `batches`, in their order. `batches` is not empty and of one schema.
pub(crate) fn gather<'a>(schema: &SchemaRef, batches: &'a [RecordBatch]) -> Result<Rows<'a>, Error> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let mut texts = Vec::new();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(index)).collect();
        let is_null = arrays.iter().all(|array| array.null_count() == array.len());
        columns.push(match field.data_type() {
            // Zeroed memory that nobody touches costs nothing: most columns of data points have no value.
            nothing if is_null => {
                texts = if *nothing == DataType::Utf8 { vec![None; rows] } else { texts };
                new_null_array(nothing, rows)
            }
            DataType::Utf8 => {
                texts = arrays.iter().flat_map(|array| array.as_string::<i32>().iter()).collect();
                new_null_array(&DataType::Utf8, rows)
            }
            DataType::Dictionary(..) => gather_text(&arrays)?,
            _ => concat(&arrays.iter().map(|array| array.as_ref()).collect::<Vec<_>>())?,
        });
    }
    Ok(Rows { table: RecordBatch::try_new(Arc::clone(schema), columns)?, texts })
}

fn gather_text(arrays: &[&ArrayRef]) -> Result<ArrayRef, Error> {
    let dictionaries: Vec<&DictionaryArray<Int32Type>> = arrays.iter().map(|array| array.as_dictionary()).collect();
    let keys: Vec<&dyn Array> = dictionaries.iter().map(|dictionary| dictionary.keys() as &dyn Array).collect();
    let Some(first) = dictionaries.first().map(|dictionary| dictionary.values()) else {
        return Err(Error::Internal("no array to join".into()));
    };
    let same = |values: &ArrayRef| Arc::ptr_eq(values, first) || values.to_data().ptr_eq(&first.to_data());
    if dictionaries.iter().all(|dictionary| same(dictionary.values())) {
        let keys = concat(&keys)?;
        return Ok(Arc::new(DictionaryArray::try_new(keys.as_primitive::<Int32Type>().clone(), Arc::clone(first))?));
    }
    merge_dictionaries(&dictionaries)
}

/// Gives equal texts of different dictionaries one code.
fn merge_dictionaries(dictionaries: &[&DictionaryArray<Int32Type>]) -> Result<ArrayRef, Error> {
    let mut codes: HashMap<&str, i32> = HashMap::new();
    let mut texts: Vec<&str> = Vec::new();
    let mut keys: Vec<Option<i32>> = Vec::with_capacity(dictionaries.iter().map(|dictionary| dictionary.len()).sum());
    for dictionary in dictionaries {
        let values = dictionary.values().as_string::<i32>();
        // A dictionary may hold far more texts than its few rows use: only used ones are looked up.
        let mut renamed: Vec<i32> = vec![-1; values.len()];
        keys.extend(dictionary.keys().iter().map(|key| {
            let key = key? as usize;
            if values.is_null(key) {
                return None;
            }
            if renamed[key] < 0 {
                renamed[key] = *codes.entry(values.value(key)).or_insert_with(|| {
                    texts.push(values.value(key));
                    (texts.len() - 1) as i32
                });
            }
            Some(renamed[key])
        }));
    }
    let values = Arc::new(StringArray::from(texts));
    Ok(Arc::new(DictionaryArray::try_new(Int32Array::from(keys), values)?))
}
