//! Functions that can make much out of little, or take long for little, with a bound on what one call does for one batch
//! of rows. DataFusion asks for memory only after it has allocated, so the bound must hold before: what a call is about to
//! make is estimated, never too low, and reserved in the memory of the query.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::engine::meter;
use crate::error::Error;

/// Bytes that one call makes for one batch.
const OUTPUT_BYTES_MAX: u64 = 128 << 20;

/// Bytes of a value made of constants alone: it stands in every row.
const CONSTANT_BYTES_MAX: u64 = 16 << 10;

/// Steps of one call for one batch, of about a nanosecond each.
const STEPS_MAX: u64 = 1 << 32;

/// Bytes of a text that is looked at with a regular expression, or compared letter by letter.
const SEARCHED_BYTES_MAX: u64 = 1 << 20;

/// Bytes that a byte of the format of a time becomes at most: `%+` is written with 35.
const FORMATTED_BYTES: u64 = 18;

/// Steps for each of them: formats are read once more for every row.
const FORMATTING_STEPS: u64 = 8;

/// How the size of the result, or the time it takes, follows from the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// All arguments, one after the other.
    Sum,
    /// The first argument, each byte of it becoming at most this many.
    Expand(u64),
    /// The first argument as often as the second says.
    Times,
    /// As many characters as the second argument says.
    Characters,
    /// The first argument with each occurrence of the second replaced by the third.
    Replace,
    /// The first argument with each match of a regular expression replaced by the third, which may repeat the match.
    RegexReplace,
    /// No larger than the first argument, searched with a regular expression.
    Regex,
    /// A number, after as many steps as the product of two lengths.
    Product,
    /// A list whose elements are written with the second argument between them.
    Join,
    /// A list in which the third argument replaces elements.
    ReplaceElements,
    /// A time as the second argument says.
    Format,
}

fn growth(name: &str) -> Option<Growth> {
    Some(match name {
        "concat" | "concat_ws" | "overlay" | "make_array" | "named_struct" | "struct" | "map" | "array_append"
        | "array_prepend" | "array_concat" | "array_union" => Growth::Sum,
        "encode" | "decode" => Growth::Expand(2),
        "upper" | "lower" | "initcap" => Growth::Expand(3),
        "translate" => Growth::Expand(4),
        // Each character may become an element of its own.
        "string_to_array" => Growth::Expand(8),
        "repeat" => Growth::Times,
        "lpad" | "rpad" => Growth::Characters,
        "replace" => Growth::Replace,
        "regexp_replace" => Growth::RegexReplace,
        "regexp_count" | "regexp_instr" | "regexp_like" | "regexp_match" => Growth::Regex,
        "levenshtein" => Growth::Product,
        "array_to_string" => Growth::Join,
        "array_replace" | "array_replace_n" | "array_replace_all" => Growth::ReplaceElements,
        "to_char" => Growth::Format,
        _ => return None,
    })
}

/// The function itself, wrapped in a bound if it needs one.
pub(super) fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match growth(function.name()) {
        Some(growth) => Arc::new(ScalarUDF::new_from_impl(Bounded { inner: function, growth })),
        None => function,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    // `simplify` is not forwarded: the inner function would put itself in the place of this one.

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        check(self.name(), self.growth, &arguments.args, arguments.number_rows)?;
        self.inner.invoke_with_args(arguments)
    }
}

fn check(name: &str, growth: Growth, arguments: &[ColumnarValue], rows: usize) -> Result<()> {
    let all_constant = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    let (mut bytes, mut steps) = (0_u64, 0_u64);
    for row in 0..if all_constant { 1 } else { rows } {
        let cost = Cost::of(name, growth, arguments, row)?;
        bytes = bytes.saturating_add(cost.bytes);
        steps = steps.saturating_add(cost.steps);
    }
    if steps > STEPS_MAX {
        return Err(too_much(format!("{name} would take too long for texts of this size")));
    }
    if all_constant && bytes > CONSTANT_BYTES_MAX {
        return Err(too_much(format!("{name} would make a constant of more than {} KiB", CONSTANT_BYTES_MAX >> 10)));
    }
    if bytes > OUTPUT_BYTES_MAX {
        return Err(too_much(format!("{name} would make more than {} MiB out of {rows} rows", OUTPUT_BYTES_MAX >> 20)));
    }
    meter::reserve(bytes)
}

fn too_much(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid_with_hint(message, "ask for less text, or for fewer rows")))
}

/// What a call costs for one row, at most.
struct Cost {
    bytes: u64,
    steps: u64,
}

impl Cost {
    fn of(name: &str, growth: Growth, arguments: &[ColumnarValue], row: usize) -> Result<Self> {
        let length = |index: usize| arguments.get(index).map_or(0, |argument| value_bytes(argument, row));
        let elements = || arguments.first().map_or(0, |argument| elements(argument, row));
        let count = || arguments.get(1).map_or(0, |argument| integer(argument, row));
        let made = |bytes: u64| Ok(Self { bytes, steps: 0 });
        match growth {
            Growth::Sum => made((0..arguments.len()).map(length).sum()),
            Growth::Expand(times) => made(length(0).saturating_mul(times)),
            Growth::Times => made(length(0).saturating_mul(count())),
            // A character of UTF-8 has up to four bytes.
            Growth::Characters => made(count().saturating_mul(4)),
            Growth::Replace => {
                let replaced = length(0).saturating_mul(length(2)) / length(1).max(1);
                made(replaced.saturating_add(length(0)))
            }
            Growth::RegexReplace => {
                let steps = regex_steps(name, length(0), length(1))?;
                Ok(Self { bytes: (length(0) + 1).saturating_mul(length(2) + 1), steps })
            }
            Growth::Regex => Ok(Self { bytes: length(0), steps: regex_steps(name, length(0), length(1))? }),
            Growth::Product => Ok(Self { bytes: 8, steps: length(0).saturating_mul(length(1)) }),
            Growth::Join => made(length(0).saturating_mul(2).saturating_add(elements().saturating_mul(length(1) + 8))),
            Growth::Format => {
                let bytes = length(1).saturating_mul(FORMATTED_BYTES);
                Ok(Self { bytes, steps: bytes.saturating_mul(FORMATTING_STEPS) })
            }
            Growth::ReplaceElements => made(length(0).saturating_add(elements().saturating_mul(length(2)))),
        }
    }
}

fn regex_steps(name: &str, text: u64, pattern: u64) -> Result<u64> {
    if text > SEARCHED_BYTES_MAX {
        return Err(too_much(format!("{name} takes texts of up to {} KiB", SEARCHED_BYTES_MAX >> 10)));
    }
    Ok(text.saturating_mul(pattern))
}

/// Bytes of an argument in a row: of a text its own, of a list what its elements have.
fn value_bytes(argument: &ColumnarValue, row: usize) -> u64 {
    let bytes = match argument {
        ColumnarValue::Scalar(value) => match value.try_as_str() {
            Some(text) => text.map_or(0, str::len),
            None => value.size(),
        },
        ColumnarValue::Array(array) if array.is_null(row) => 0,
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value(row).len(),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
            DataType::Utf8View => array.as_string_view().value(row).len(),
            // What holds other values: its share of the whole.
            DataType::List(_) => list_bytes(array.as_list::<i32>().values(), elements(argument, row)),
            DataType::LargeList(_) => list_bytes(array.as_list::<i64>().values(), elements(argument, row)),
            DataType::Struct(_) | DataType::Map(..) | DataType::Dictionary(..) => {
                array.get_array_memory_size() / array.len().max(1)
            }
            // What is no text is short when written as text.
            _ => 64,
        },
    };
    bytes as u64
}

/// Bytes of so many of the elements of a column of lists. Elements that differ in size are taken for equal: over all rows
/// the sum is right.
fn list_bytes(values: &Arc<dyn Array>, elements: u64) -> usize {
    let share = values.get_array_memory_size().div_ceil(values.len().max(1));
    share.saturating_mul(usize::try_from(elements).unwrap_or(usize::MAX))
}

/// Elements of a list in a row, 0 of anything else.
fn elements(argument: &ColumnarValue, row: usize) -> u64 {
    let length = |list: &dyn Array, row: usize| match list.data_type() {
        DataType::List(_) => list.as_list::<i32>().value_length(row) as u64,
        DataType::LargeList(_) => list.as_list::<i64>().value_length(row) as u64,
        _ => 0,
    };
    match argument {
        ColumnarValue::Scalar(ScalarValue::List(list)) => length(list.as_ref(), 0),
        ColumnarValue::Scalar(ScalarValue::LargeList(list)) => length(list.as_ref(), 0),
        ColumnarValue::Scalar(_) => 0,
        ColumnarValue::Array(array) if array.is_null(row) => 0,
        ColumnarValue::Array(array) => length(array.as_ref(), row),
    }
}

fn integer(argument: &ColumnarValue, row: usize) -> u64 {
    let value = match argument {
        ColumnarValue::Scalar(value) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(value)) => value.unwrap_or_default(),
            _ => i64::MAX,
        },
        ColumnarValue::Array(array) if array.is_null(row) => 0,
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row),
            _ => i64::MAX,
        },
    };
    u64::try_from(value).unwrap_or_default()
}

/// `a || b || …` of texts, null when one is: the operator itself has no bound.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinText {
    signature: Signature,
}

/// The function that stands for the operator `||`.
pub(crate) fn join_text() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(JoinText { signature: Signature::variadic_any(Volatility::Immutable) }))
}

/// `left || right`. A chain becomes one call: DataFusion's work grows with the third power of the depth of calls.
pub(crate) fn join_texts(left: Expr, right: Expr) -> Expr {
    match left {
        Expr::ScalarFunction(mut call) if call.func.inner().is::<JoinText>() => {
            call.args.push(right);
            Expr::ScalarFunction(call)
        }
        left => Expr::ScalarFunction(ScalarFunction::new_udf(join_text(), vec![left, right])),
    }
}

impl ScalarUDFImpl for JoinText {
    fn name(&self) -> &str {
        "join_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.len() {
            0 | 1 => plan_err!("|| takes two texts"),
            _ => Ok(DataType::Utf8View),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        check("||", Growth::Sum, &arguments.args, arguments.number_rows)?;
        let all_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let texts = ColumnarValue::values_to_arrays(&arguments.args)?;
        let texts = texts.iter().map(|text| cast(text, &DataType::Utf8View)).collect::<Result<Vec<_>, _>>()?;
        let rows = texts.first().map_or(0, |text| text.len());
        let mut builder = StringViewBuilder::with_capacity(rows);
        let mut joined = String::new();
        for row in 0..rows {
            if texts.iter().any(|text| text.is_null(row)) {
                builder.append_null();
                continue;
            }
            joined.clear();
            texts.iter().for_each(|text| joined.push_str(text.as_string_view().value(row)));
            builder.append_value(&joined);
        }
        let joined = builder.finish();
        if all_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(joined)))
    }
}
