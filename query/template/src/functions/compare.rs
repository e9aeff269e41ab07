//! `eq`, `ne`, `lt`, `le`, `gt`, `ge`, with Go's strictness about types.

use std::cmp::Ordering;

use super::Call;
use crate::value::Value;

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// `eq first second…`: whether the first equals any of the others.
pub(super) fn eq(call: &Call<'_>) -> Result<Value, String> {
    let first = call.value(0)?;
    if call.arguments().len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for other in &call.arguments()[1..] {
        if equal(first, other)? {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

pub(super) fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    Ok(match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::Nil, _) | (_, Value::Nil) => false,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left) | Value::Duration(left), Value::Int(right) | Value::Duration(right)) => left == right,
        (Value::Float(left), Value::Float(right)) => left == right,
        (Value::String(left) | Value::Html(left), Value::String(right) | Value::Html(right)) => left == right,
        (Value::Time(left), Value::Time(right)) => left == right,
        (Value::List(_) | Value::Map(_) | Value::Labels(_) | Value::Struct(_) | Value::Object(_), _) => {
            return Err(format!("non-comparable type {}: {INCOMPATIBLE}", left.type_name()));
        }
        _ => return Err(INCOMPATIBLE.to_owned()),
    })
}

/// `lt`, `le`, `gt`, `ge`.
pub(super) fn order(call: &Call<'_>, accepts: fn(Ordering) -> bool) -> Result<Value, String> {
    call.expect(2)?;
    let (left, right) = (call.value(0)?, call.value(1)?);
    let ordering = match (left, right) {
        (Value::Int(left) | Value::Duration(left), Value::Int(right) | Value::Duration(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::String(left) | Value::Html(left), Value::String(right) | Value::Html(right)) => Some(left.cmp(right)),
        (Value::Int(_) | Value::Float(_) | Value::String(_) | Value::Html(_) | Value::Duration(_), _) => {
            return Err(INCOMPATIBLE.to_owned());
        }
        _ => return Err("invalid type for comparison".to_owned()),
    };
    Ok(ordering.is_some_and(accepts).into())
}
