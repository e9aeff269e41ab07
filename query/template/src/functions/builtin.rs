//! The functions of the language itself; `and` and `or` are the interpreter's, because they stop early.

use std::cmp::Ordering;

use super::{Call, compare, escape, wrong_type};
use crate::print;
use crate::value::Value;

/// Every built-in function.
pub(crate) const NAMES: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// Calls a built-in function; `None` when there is none of that name.
pub(crate) fn call(call: &mut Call<'_>) -> Option<Result<Value, String>> {
    let limit = call.text_limit();
    Some(match call.name {
        "call" => Err("call of non-function: data has no functions, only methods".to_owned()),
        "eq" => compare::eq(call),
        "ne" => {
            call.expect(2).and_then(|()| compare::equal(&call.arguments[0], &call.arguments[1])).map(|x| (!x).into())
        }
        "lt" => compare::order(call, Ordering::is_lt),
        "le" => compare::order(call, Ordering::is_le),
        "gt" => compare::order(call, Ordering::is_gt),
        "ge" => compare::order(call, Ordering::is_ge),
        "not" => call.expect(1).map(|()| (!call.arguments[0].truth()).into()),
        "len" => length(call),
        "index" => index(call),
        "slice" => slice(call),
        "print" => print::sprint(call.arguments, limit).map(Value::from),
        "println" => print::sprintln(call.arguments, limit).map(Value::from),
        "printf" => {
            call.text(0).and_then(|format| print::sprintf(format, &call.arguments[1..], limit)).map(Value::from)
        }
        "html" => joined(call).map(|text| {
            // In HTML it would be escaped a second time.
            if call.is_html() { Value::Html(escape::html_contextual(&text).into()) } else { escape::html(&text).into() }
        }),
        "js" => joined(call).map(|text| escape::js(&text).into()),
        "urlquery" => joined(call).map(|text| escape::query(&text).into()),
        _ => return None,
    })
}

fn joined(call: &Call<'_>) -> Result<String, String> {
    match call.arguments {
        [Value::String(text) | Value::Html(text)] => Ok(text.to_string()),
        arguments => print::sprint(arguments, call.text_limit()),
    }
}

fn length(call: &Call<'_>) -> Result<Value, String> {
    call.expect(1)?;
    let value = call.value(0)?;
    let length = match value.plain() {
        Value::String(text) | Value::Html(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.items.len(),
        Value::Labels(labels) => labels.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        _ => return Err(format!("len of type {}", value.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(call: &Call<'_>) -> Result<Value, String> {
    let mut value = call.value(0)?.clone();
    for key in &call.arguments[1..] {
        value = match (value.plain(), key) {
            (Value::Nil, _) => return Err("index of untyped nil".to_owned()),
            (Value::List(list), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| list.items.get(at))
                .cloned()
                .ok_or_else(|| format!("index out of range: {at}"))?,
            (Value::String(text) | Value::Html(text), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| text.as_bytes().get(at))
                .map(|byte| Value::Int(i64::from(*byte)))
                .ok_or_else(|| format!("index out of range: {at}"))?,
            (Value::List(_) | Value::String(_) | Value::Html(_), key) => {
                return Err(format!("cannot index slice/array with type {}", key.type_name()));
            }
            (Value::Labels(labels), Value::String(key)) => labels.get(&**key).cloned().unwrap_or_default().into(),
            (Value::Map(map), Value::String(key)) => map.items.get(&**key).cloned().unwrap_or_default(),
            (Value::Labels(_) | Value::Map(_), key) => return Err(wrong_type("string", key)),
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn slice(call: &Call<'_>) -> Result<Value, String> {
    let value = call.value(0)?;
    let plain = value.plain();
    let length = match &plain {
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        _ => return Err(format!("can't slice item of type {}", value.type_name())),
    };
    if call.arguments.len() > 3 {
        return Err(format!("too many slice indexes: {}", call.arguments.len() - 1));
    }
    let bound = |index: usize, default: usize| match call.arguments.get(index) {
        None => Ok(default),
        Some(Value::Int(at)) => {
            usize::try_from(*at).ok().filter(|at| *at <= length).ok_or(format!("index out of range: {at}"))
        }
        Some(other) => Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match plain {
        Value::List(list) => Value::list(list.items[from..to].to_vec()),
        Value::String(text) => String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned().into(),
        _ => Value::Nil,
    })
}
