//! How two operands of different types are brought together.

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, lit};
use trivium_model::UnixNanos;

use crate::api::time::parse_time;
use crate::error::Error;
use crate::functions::{attribute_number, is_attribute};

/// Whole numbers up to here are exact as `Float64`; larger ones are compared as text.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// Brings a literal into the type of what it is compared with; `None` when that is DataFusion's business.
pub(super) fn literal_for(target: &DataType, value: &ScalarValue, now: UnixNanos) -> Result<Option<ScalarValue>> {
    match target {
        DataType::FixedSizeBinary(size) => id_literal(*size, value),
        DataType::Timestamp(..) => Ok(time_literal(value, now)),
        _ => Ok(None),
    }
}

/// An ID as it is written: hexadecimal text, or bytes as `X'…'`.
fn id_literal(size: i32, value: &ScalarValue) -> Result<Option<ScalarValue>> {
    if value.is_null() {
        return Ok(Some(ScalarValue::FixedSizeBinary(size, None)));
    }
    let length = usize::try_from(size).unwrap_or_default();
    let bytes = match value {
        ScalarValue::Binary(Some(bytes)) => Some(bytes.clone()),
        other => match other.try_as_str().flatten() {
            Some(text) => Some(from_hex(text).ok_or_else(|| not_an_id(text, length))?),
            None => None,
        },
    };
    match bytes {
        Some(bytes) if bytes.len() == length => Ok(Some(ScalarValue::FixedSizeBinary(size, Some(bytes)))),
        Some(_) => Err(not_an_id(&value.to_string(), length)),
        None => Ok(None),
    }
}

fn not_an_id(text: &str, length: usize) -> DataFusionError {
    let text: String = text.chars().take(64).collect();
    let message = format!("{text:?} is not an ID of {} hexadecimal digits", length * 2);
    let hint =
        "write it as trace_id = '4bf92f3577b34da6a3ce929d0e0e4736'; for a part of an ID use hex(trace_id) LIKE '4bf9%'";
    DataFusionError::External(Box::new(Error::invalid_with_hint(message, hint)))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?).ok();
    text.as_bytes().chunks(2).map(byte).collect()
}

/// A time as our API takes it. Whole numbers are nanoseconds, as our answers show them.
fn time_literal(value: &ScalarValue, now: UnixNanos) -> Option<ScalarValue> {
    let nanos = match value {
        ScalarValue::Int64(Some(nanos)) => *nanos,
        ScalarValue::UInt64(Some(nanos)) => i64::try_from(*nanos).ok()?,
        other => parse_time(other.try_as_str().flatten()?, now).ok()?.0,
    };
    Some(ScalarValue::TimestampNanosecond(Some(nanos), None))
}

/// The attribute as a number, when the expression is an attribute.
pub(super) fn as_number(expression: &Expr) -> Option<Expr> {
    let arguments = is_attribute(expression)?.to_vec();
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(attribute_number(), arguments)))
}

/// What an attribute is compared with, when both are to be compared as text: booleans, and integers that a float would
/// round.
pub(super) fn as_text(value: &ScalarValue) -> Option<Expr> {
    match value {
        ScalarValue::Boolean(Some(value)) => Some(lit(value.to_string())),
        ScalarValue::Int64(Some(value)) if value.unsigned_abs() > EXACT_INTEGER_MAX => Some(lit(value.to_string())),
        ScalarValue::UInt64(Some(value)) if *value > EXACT_INTEGER_MAX => Some(lit(value.to_string())),
        _ => None,
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => value.is_string(),
        other => other.is_string(),
    }
}
