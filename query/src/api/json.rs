//! Arrow to JSON, shared by all endpoints. The conventions are those of [`crate::api`].
//!
//! A [`Rows`] brings each column into one of a few forms once per batch; a cell is then written straight into the output.

use std::fmt::Write;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, StringViewArray, StructArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, UInt64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use trivium_storage::attributes::write_string;

/// The rows of a batch, ready to be written as JSON.
pub(crate) struct Rows {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
}

impl Rows {
    /// Looks at the columns of a batch.
    pub(crate) fn new(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let names = batch.schema_ref().fields().iter().map(|field| quoted(field.name())).collect();
        let columns = batch.columns().iter().map(Column::new).collect::<Result<_, _>>()?;
        Ok(Self { names, columns, rows: batch.num_rows() })
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Appends a row as an array of its cells.
    pub(crate) fn write_array(&self, output: &mut String, row: usize) {
        output.push('[');
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                output.push(',');
            }
            column.write(output, row);
        }
        output.push(']');
    }

    /// Appends a row as an object.
    pub(crate) fn write_object(&self, output: &mut String, row: usize) {
        output.push('{');
        for (index, (name, column)) in self.names.iter().zip(&self.columns).enumerate() {
            if index > 0 {
                output.push(',');
            }
            output.push_str(name);
            output.push(':');
            column.write(output, row);
        }
        output.push('}');
    }
}

/// The name that a column's type has in an answer.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Duration(_) => "duration".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "hex".into(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        DataType::Struct(_) => "struct".into(),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "decimal".into()
        }
        other => other.to_string().to_ascii_lowercase(),
    }
}

/// Appends a number as JSON; what JSON has no number for becomes a string.
pub(crate) fn write_float(output: &mut String, value: f64) {
    if value.is_nan() {
        output.push_str("\"NaN\"");
    } else if value.is_infinite() {
        output.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else {
        append(output, format_args!("{value:?}"));
    }
}

/// Appends bytes as lower-case hexadecimal within quotes.
pub(crate) fn write_hex(output: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    output.push('"');
    for byte in bytes {
        output.push(DIGITS[usize::from(byte >> 4)]);
        output.push(DIGITS[usize::from(byte & 15)]);
    }
    output.push('"');
}

fn append(output: &mut String, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("writing to a String cannot fail");
}

fn quoted(text: &str) -> String {
    let mut output = String::with_capacity(text.len() + 2);
    write_string(&mut output, text);
    output
}

/// A column in the form in which its cells are written.
enum Column {
    Boolean(BooleanArray),
    /// Integers of up to 32 bits, as JSON numbers.
    Small(Int64Array),
    /// 64-bit integers, as strings.
    Signed(Int64Array),
    /// 64-bit integers, as strings.
    Unsigned(UInt64Array),
    /// Times and durations in units of this many nanoseconds, as strings.
    Nanos(Int64Array, i128),
    Float(Float64Array),
    Utf8(StringArray),
    Utf8View(StringViewArray),
    FixedSizeBinary(FixedSizeBinaryArray),
    Binary(BinaryArray),
    Dictionary(Int32Array, Box<Column>),
    List(ListArray, Box<Column>),
    Struct(StructArray, Vec<(String, Column)>),
    /// Everything else as the text that Arrow gives it: decimals, dates, intervals, maps.
    Other(ArrayRef),
}

impl Column {
    fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        use DataType as D;
        Ok(match array.data_type() {
            D::Boolean => Self::Boolean(array.as_boolean().clone()),
            D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 | D::UInt32 => Self::Small(signed(array)?),
            D::Int64 => Self::Signed(signed(array)?),
            D::UInt64 => Self::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            D::Timestamp(unit, _) | D::Duration(unit) => Self::Nanos(signed(array)?, unit_nanos(*unit)),
            D::Float16 | D::Float32 | D::Float64 => {
                Self::Float(cast(array, &D::Float64)?.as_primitive::<Float64Type>().clone())
            }
            D::Utf8 => Self::Utf8(array.as_string::<i32>().clone()),
            D::Utf8View => Self::Utf8View(array.as_string_view().clone()),
            D::LargeUtf8 => Self::Utf8View(cast(array, &D::Utf8View)?.as_string_view().clone()),
            D::FixedSizeBinary(_) => Self::FixedSizeBinary(array.as_fixed_size_binary().clone()),
            D::Binary => Self::Binary(array.as_binary().clone()),
            D::LargeBinary | D::BinaryView => Self::Binary(cast(array, &D::Binary)?.as_binary().clone()),
            D::Dictionary(_, value) => Self::dictionary(array, value)?,
            D::List(_) => {
                let list = array.as_list::<i32>().clone();
                let items = Self::new(list.values())?;
                Self::List(list, Box::new(items))
            }
            D::LargeList(item) | D::FixedSizeList(item, _) => {
                return Self::new(&cast(array, &D::List(Clone::clone(item)))?);
            }
            D::Struct(fields) => {
                let structs = array.as_struct().clone();
                let columns = structs.columns().iter().map(Self::new).collect::<Result<Vec<_>, _>>()?;
                let names = fields.iter().map(|field| quoted(field.name()));
                Self::Struct(structs, names.zip(columns).collect())
            }
            _ => Self::Other(ArrayRef::clone(array)),
        })
    }

    fn dictionary(array: &ArrayRef, value: &DataType) -> Result<Self, ArrowError> {
        let form = DataType::Dictionary(Box::new(DataType::Int32), Box::new(value.clone()));
        let array = cast(array, &form)?;
        let dictionary = array.as_dictionary::<Int32Type>();
        Ok(Self::Dictionary(dictionary.keys().clone(), Box::new(Self::new(dictionary.values())?)))
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(array) => array.is_null(row),
            Self::Small(array) | Self::Signed(array) | Self::Nanos(array, _) => array.is_null(row),
            Self::Unsigned(array) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Utf8(array) => array.is_null(row),
            Self::Utf8View(array) => array.is_null(row),
            Self::FixedSizeBinary(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::Dictionary(keys, _) => keys.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Struct(array, _) => array.is_null(row),
            Self::Other(array) => array.is_null(row),
        }
    }

    fn write(&self, output: &mut String, row: usize) {
        if self.is_null(row) {
            output.push_str("null");
            return;
        }
        match self {
            Self::Boolean(array) => output.push_str(if array.value(row) { "true" } else { "false" }),
            Self::Small(array) => append(output, format_args!("{}", array.value(row))),
            Self::Signed(array) => append(output, format_args!("\"{}\"", array.value(row))),
            Self::Unsigned(array) => append(output, format_args!("\"{}\"", array.value(row))),
            // In 128 bits: seconds of a far year do not fit into 64 bits of nanoseconds.
            Self::Nanos(array, unit) => append(output, format_args!("\"{}\"", i128::from(array.value(row)) * unit)),
            Self::Float(array) => write_float(output, array.value(row)),
            Self::Utf8(array) => write_string(output, array.value(row)),
            Self::Utf8View(array) => write_string(output, array.value(row)),
            Self::FixedSizeBinary(array) => write_hex(output, array.value(row)),
            Self::Binary(array) => write_hex(output, array.value(row)),
            Self::Dictionary(keys, values) => {
                values.write(output, usize::try_from(keys.value(row)).expect("a dictionary key is not negative"));
            }
            Self::List(array, items) => write_list(output, array, items, row),
            Self::Struct(_, fields) => {
                let mut separator = '{';
                for (name, column) in fields {
                    output.push(separator);
                    output.push_str(name);
                    output.push(':');
                    column.write(output, row);
                    separator = ',';
                }
                output.push_str(if separator == '{' { "{}" } else { "}" });
            }
            Self::Other(array) => write_other(output, array, row),
        }
    }
}

fn write_list(output: &mut String, array: &ListArray, items: &Column, row: usize) {
    let offsets = array.value_offsets();
    let index = |offset: i32| usize::try_from(offset).expect("a list offset is not negative");
    let start = index(offsets[row]);
    output.push('[');
    for item in start..index(offsets[row + 1]) {
        if item > start {
            output.push(',');
        }
        items.write(output, item);
    }
    output.push(']');
}

fn write_other(output: &mut String, array: &dyn Array, row: usize) {
    match ArrayFormatter::try_new(array, &FormatOptions::default()) {
        Ok(formatter) => write_string(output, &formatter.value(row).to_string()),
        Err(_) => output.push_str("null"),
    }
}

fn signed(array: &ArrayRef) -> Result<Int64Array, ArrowError> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn unit_nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date32Array, Decimal128Array, DictionaryArray, DurationMillisecondArray, Int32Array, TimestampNanosecondArray,
        TimestampSecondArray,
    };
    use arrow::datatypes::{Field, Fields};
    use serde_json::{Value, json};

    use super::*;

    fn check(array: ArrayRef, name: &str, expected: &Value) {
        assert_eq!(type_name(array.data_type()), name);
        let batch = RecordBatch::try_from_iter_with_nullable([("c", array, true)]).expect("one column");
        let rows = Rows::new(&batch).expect("the type is known");
        let mut text = String::from("[");
        for row in 0..rows.len() {
            if row > 0 {
                text.push(',');
            }
            let mut object = String::new();
            rows.write_object(&mut object, row);
            let mut cells = String::new();
            rows.write_array(&mut cells, row);
            assert_eq!(object, format!("{{\"c\":{}}}", &cells[1..cells.len() - 1]));
            text.push_str(&cells[1..cells.len() - 1]);
        }
        text.push(']');
        assert_eq!(&serde_json::from_str::<Value>(&text).expect("valid JSON"), expected, "{text}");
    }

    #[test]
    fn numbers_follow_the_conventions() {
        check(Arc::new(Int32Array::from(vec![Some(-5), None])), "int32", &json!([-5, null]));
        check(Arc::new(Int64Array::from(vec![i64::MIN])), "int64", &json!(["-9223372036854775808"]));
        check(Arc::new(UInt64Array::from(vec![u64::MAX])), "uint64", &json!(["18446744073709551615"]));
        let floats = vec![0.5, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        check(Arc::new(Float64Array::from(floats)), "float64", &json!([0.5, 1e300, "NaN", "Infinity", "-Infinity"]));
        let decimals = Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).expect("a decimal");
        check(Arc::new(decimals), "decimal", &json!(["123.45"]));
        check(Arc::new(BooleanArray::from(vec![Some(true), None])), "boolean", &json!([true, null]));
    }

    #[test]
    fn times_are_nanoseconds_whatever_their_unit() {
        check(Arc::new(TimestampNanosecondArray::from(vec![Some(-1), None])), "timestamp", &json!(["-1", null]));
        check(
            Arc::new(TimestampSecondArray::from(vec![i64::MAX / 2])),
            "timestamp",
            &json!(["4611686018427387903000000000"]),
        );
        check(Arc::new(DurationMillisecondArray::from(vec![7])), "duration", &json!(["7000000"]));
        check(Arc::new(Date32Array::from(vec![1])), "date", &json!(["1970-01-02"]));
    }

    #[test]
    fn ids_are_hexadecimal_and_text_is_escaped() {
        let ids = FixedSizeBinaryArray::try_from_iter([[0x0a_u8, 0xff]].iter()).expect("IDs");
        check(Arc::new(ids), "hex", &json!(["0aff"]));
        check(Arc::new(StringArray::from(vec!["a\"\n\u{1}é"])), "text", &json!(["a\"\n\u{1}é"]));
        check(Arc::new(StringViewArray::from(vec![Some("x"), None])), "text", &json!(["x", null]));
        let dictionary: DictionaryArray<Int32Type> = [Some("b"), None, Some("a"), Some("b")].into_iter().collect();
        check(Arc::new(dictionary.slice(1, 3)), "text", &json!([null, "a", "b"]));
    }

    #[test]
    fn lists_and_structs_nest() {
        let list = ListArray::from_iter_primitive::<UInt64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
        check(Arc::new(list.slice(0, 3)), "list<uint64>", &json!([["1", null], null, []]));
        check(Arc::new(list.slice(2, 1)), "list<uint64>", &json!([[]]));
        let fields = Fields::from(vec![Field::new("a", DataType::Int32, true)]);
        let structs = StructArray::new(fields, vec![Arc::new(Int32Array::from(vec![Some(1), None]))], None);
        check(Arc::new(structs), "struct", &json!([{"a": 1}, {"a": null}]));
    }
}
