//! Rows as plain values, whatever array they come from.

use std::rc::Rc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type};

/// A value of any column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    /// By its bits, so that NaN is itself and -0 is not 0.
    Double(u64),
    Text(Rc<str>),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
    Struct(Vec<Cell>),
}

impl Cell {
    pub(super) fn int(value: impl Into<i128>) -> Self {
        Self::Int(value.into())
    }

    pub(super) fn double(value: f64) -> Self {
        Self::Double(value.to_bits())
    }

    pub(super) fn text(value: &str) -> Self {
        Self::Text(value.into())
    }

    pub(super) fn or_null<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, cell)
    }
}

/// A row: the names of columns and what they hold.
pub(super) type Row = Vec<(&'static str, Cell)>;

/// Compares a batch with rows, column by column.
pub(super) fn assert_rows(batch: Option<&RecordBatch>, expected: &[Row]) {
    let Some(batch) = batch else {
        assert!(expected.is_empty(), "no row instead of {}", expected.len());
        return;
    };
    assert_eq!(batch.num_rows(), expected.len());
    for (index, field) in batch.schema().fields().iter().enumerate() {
        for (row, found) in cells(batch.column(index)).into_iter().enumerate() {
            let (name, cell) = &expected[row][index];
            assert_eq!(name, field.name());
            assert!(found == *cell, "row {row}, column {name}: {found:?} instead of {cell:?}");
        }
    }
    assert!(expected.iter().all(|row| row.len() == batch.num_columns()));
}

fn cells(array: &dyn Array) -> Vec<Cell> {
    macro_rules! integers {
        ($type:ty) => {
            array.as_primitive::<$type>().iter().map(|value| Cell::or_null(value, Cell::int)).collect()
        };
    }
    match array.data_type() {
        DataType::Timestamp(..) => integers!(TimestampNanosecondType),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt64 => integers!(UInt64Type),
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().iter().map(|value| Cell::or_null(value, Cell::double)).collect()
        }
        DataType::Boolean => array.as_boolean().iter().map(|value| Cell::or_null(value, Cell::Bool)).collect(),
        DataType::Utf8 => array.as_string::<i32>().iter().map(|value| Cell::or_null(value, Cell::text)).collect(),
        DataType::FixedSizeBinary(_) => {
            let bytes = |value: &[u8]| Cell::Bytes(value.to_vec());
            array.as_fixed_size_binary().iter().map(|value| Cell::or_null(value, bytes)).collect()
        }
        DataType::Dictionary(..) => {
            let array = array.as_dictionary::<Int32Type>();
            let values = cells(array.values());
            array.keys().iter().map(|key| Cell::or_null(key, |key| values[key as usize].clone())).collect()
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>().iter();
            lists.map(|list| Cell::or_null(list, |list| Cell::List(cells(&list)))).collect()
        }
        DataType::Struct(_) => {
            let columns: Vec<Vec<Cell>> = array.as_struct().columns().iter().map(|column| cells(column)).collect();
            (0..array.len())
                .map(|row| Cell::Struct(columns.iter().map(|column| column[row].clone()).collect()))
                .collect()
        }
        other => panic!("no cells of {other}"),
    }
}
