//! Functions that can make much text out of little, with a bound on what one call makes for one batch of rows. DataFusion
//! asks for memory only after it has allocated, so a bound must hold before.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// Bytes of text that one call makes for one batch.
const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// Bytes of the replacement of a regular expression, which can stand in the result once per character of the text.
const REPLACEMENT_BYTES_MAX: u64 = 256;

/// How the size of the result follows from the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// All arguments, one after the other.
    Sum,
    /// The first argument as often as the second says.
    Times,
    /// As many characters as the second argument says.
    Characters,
    /// The first argument with each occurrence of the second replaced by the third.
    Replace,
    /// The third argument replaces matches of a regular expression.
    RegexReplace,
}

fn growth(name: &str) -> Option<Growth> {
    Some(match name {
        "concat" | "concat_ws" => Growth::Sum,
        "repeat" => Growth::Times,
        "lpad" | "rpad" => Growth::Characters,
        "replace" => Growth::Replace,
        "regexp_replace" => Growth::RegexReplace,
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
    let length = |row: usize, index: usize| arguments.get(index).map_or(0, |argument| text_bytes(argument, row));
    let count = |row: usize| arguments.get(1).map_or(0, |argument| integer(argument, row));
    let all_constant = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    let mut total = 0_u64;
    for row in 0..if all_constant { 1 } else { rows } {
        let bytes = match growth {
            Growth::Sum => (0..arguments.len()).map(|index| length(row, index)).sum(),
            Growth::Times => length(row, 0).saturating_mul(count(row)),
            // A character of UTF-8 has up to four bytes.
            Growth::Characters => count(row).saturating_mul(4),
            Growth::Replace => {
                let replaced = length(row, 0).saturating_mul(length(row, 2)) / length(row, 1).max(1);
                replaced.saturating_add(length(row, 0))
            }
            Growth::RegexReplace if length(row, 2) > REPLACEMENT_BYTES_MAX => return Err(too_much(name)),
            Growth::RegexReplace => length(row, 0),
        };
        total = total.saturating_add(bytes);
        if total > OUTPUT_BYTES_MAX {
            return Err(too_much(name));
        }
    }
    Ok(())
}

fn too_much(name: &str) -> DataFusionError {
    let message = format!("{name} would make more than {} MiB of text", OUTPUT_BYTES_MAX >> 20);
    DataFusionError::External(Box::new(Error::invalid_with_hint(message, "ask for less text, or for fewer rows")))
}

fn text_bytes(argument: &ColumnarValue, row: usize) -> u64 {
    let bytes = match argument {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map_or(0, str::len),
        ColumnarValue::Array(array) if array.is_null(row) => 0,
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value(row).len(),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
            DataType::Utf8View => array.as_string_view().value(row).len(),
            // What is no text is short when written as text.
            _ => 64,
        },
    };
    bytes as u64
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

/// `a || b` of two texts, null when one is: the operator itself has no bound.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinText {
    signature: Signature,
}

/// The function that stands for the operator `||`.
pub(crate) fn join_text() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(JoinText { signature: Signature::variadic_any(Volatility::Immutable) }))
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
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let texts = arrays.iter().map(|array| cast(array, &DataType::Utf8View)).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<_> = texts.iter().map(|array| array.as_string_view()).collect();
        let rows = texts.first().map_or(0, |text| text.len());
        let mut builder = StringViewBuilder::with_capacity(rows);
        let mut joined = String::new();
        for row in 0..rows {
            joined.clear();
            texts.iter().for_each(|text| joined.push_str(text.value(row)));
            let is_null = texts.iter().any(|text| text.is_null(row));
            builder.append_option((!is_null).then_some(joined.as_str()));
        }
        let joined = builder.finish();
        if all_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(joined)))
    }
}
