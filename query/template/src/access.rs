//! Methods, fields and iteration of values.

use std::sync::Arc;

use crate::time;
use crate::value::{Nested, Value};

/// Calls a method, if the value has one of that name.
pub(crate) fn method(receiver: &Value, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    match receiver {
        Value::Object(object) => object.call(name, arguments),
        Value::Time(time) => time.call(name, arguments),
        Value::Duration(nanoseconds) => time::call_duration(*nanoseconds, name, arguments),
        _ => None,
    }
}

/// A field of a struct, or an entry of a map.
pub(crate) fn field(receiver: &Value, name: &str) -> Result<Value, String> {
    match receiver.plain() {
        Value::Nil => Ok(Value::Nil),
        Value::Labels(labels) => Ok(labels.get(name).cloned().unwrap_or_default().into()),
        Value::Map(map) => Ok(map.items.get(name).cloned().unwrap_or_default()),
        Value::Struct(record) => record
            .field(name)
            .cloned()
            .ok_or_else(|| format!("can't evaluate field {name} in type {}", receiver.type_name())),
        _ => Err(format!("can't evaluate field {name} in type {}", receiver.type_name())),
    }
}

/// What `range` goes over.
pub(crate) enum Items {
    List(Arc<Nested<Vec<Value>>>),
    Pairs(Vec<(Value, Value)>),
    Count(usize),
}

impl Items {
    pub(crate) fn of(value: Value) -> Result<Self, String> {
        let pair = |key: &String, value: Value| (Value::from(key.as_str()), value);
        Ok(match value.plain() {
            Value::List(list) => Self::List(list),
            Value::Labels(labels) => {
                Self::Pairs(labels.iter().map(|(key, value)| pair(key, value.as_str().into())).collect())
            }
            Value::Map(map) => Self::Pairs(map.items.iter().map(|(key, value)| pair(key, value.clone())).collect()),
            Value::Int(count) => Self::Count(usize::try_from(count).unwrap_or(0)),
            Value::Nil => Self::Count(0),
            _ => return Err(format!("range can't iterate over a value of type {}", value.type_name())),
        })
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::List(list) => list.items.len(),
            Self::Pairs(pairs) => pairs.len(),
            Self::Count(count) => *count,
        }
    }

    pub(crate) fn at(&self, index: usize) -> (Value, Value) {
        let number = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
        match self {
            Self::List(list) => (number, list.items.get(index).cloned().unwrap_or_default()),
            Self::Pairs(pairs) => pairs.get(index).cloned().unwrap_or_default(),
            Self::Count(_) => (number.clone(), number),
        }
    }
}
