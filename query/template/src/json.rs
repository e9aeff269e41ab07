//! `toJson`, as Go's `encoding/json` writes it.

use crate::number;
use crate::print::Sink;
use crate::value::Value;

/// The value as JSON.
pub(crate) fn write(value: &Value, limit: usize) -> Result<String, String> {
    let mut out = Sink::new(limit);
    write_value(&mut out, value)?;
    out.finish()
}

fn write_value(out: &mut Sink, value: &Value) -> Result<(), String> {
    if out.full {
        return Ok(());
    }
    match value {
        Value::Nil => out.push("null"),
        Value::Bool(value) => out.push(if *value { "true" } else { "false" }),
        Value::Int(value) | Value::Duration(value) => out.push(&value.to_string()),
        Value::Float(value) if value.is_finite() => out.push(&float(*value)),
        Value::Float(value) => return Err(format!("json: unsupported value: {}", number::float(*value, 'g', None))),
        Value::String(text) | Value::Html(text) => out.push(&quote(text)),
        Value::Time(time) => out.push(&quote(&time.rfc3339())),
        Value::List(list) => {
            out.push("[");
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.push(",");
                }
                write_value(out, item)?;
            }
            out.push("]");
        }
        Value::Labels(labels) => {
            write_map(out, labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))))?;
        }
        Value::Map(map) => write_map(out, map.items.iter().map(|(key, value)| (key.clone(), value.clone())))?,
        Value::Struct(record) => {
            // These two have JSON names in Alertmanager; `Pair` has none.
            let named = matches!(record.type_name, "template.Data" | "template.Alert");
            let name = |field: &str| if named { lower_first(field) } else { field.to_owned() };
            write_map(out, record.fields.iter().map(|(field, value)| (name(field), value.clone())))?;
        }
        Value::Object(object) => write_value(out, &object.underlying())?,
    }
    Ok(())
}

fn write_map(out: &mut Sink, entries: impl Iterator<Item = (String, Value)>) -> Result<(), String> {
    out.push("{");
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(",");
        }
        out.push(&quote(&key));
        out.push(":");
        write_value(out, &value)?;
    }
    out.push("}");
    Ok(())
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn float(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        number::float(value, 'e', None).replace("e-0", "e-")
    } else {
        number::float(value, 'f', None)
    }
}

/// A JSON string, safe within HTML as Go writes it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
