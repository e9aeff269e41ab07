//! Short names for OTLP attributes.

use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value};

pub(crate) fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(crate) fn string(text: impl Into<String>) -> AnyValue {
    value(Value::StringValue(text.into()))
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

pub(crate) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, string(value))
}

pub(crate) fn int(key: &str, number: i64) -> KeyValue {
    pair(key, value(Value::IntValue(number)))
}

pub(crate) fn double(key: &str, number: f64) -> KeyValue {
    pair(key, value(Value::DoubleValue(number)))
}

pub(crate) fn flag(key: &str, yes: bool) -> KeyValue {
    pair(key, value(Value::BoolValue(yes)))
}

pub(crate) fn list(key: &str, texts: &[&str]) -> KeyValue {
    let values = texts.iter().map(|&text| string(text)).collect();
    pair(key, value(Value::ArrayValue(ArrayValue { values })))
}

pub(crate) fn map(values: Vec<KeyValue>) -> AnyValue {
    value(Value::KvlistValue(KeyValueList { values }))
}
