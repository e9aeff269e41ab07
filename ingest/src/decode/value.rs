//! `AnyValue` and attribute sets to the text forms of [`trivium_storage::attributes`].

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;
use trivium_model::limit;
use trivium_storage::attributes::write_string;
use xxhash_rust::xxh3::xxh3_128;

use super::column::TextColumn;
use super::wire::{Fields, Value, WireError};

/// What stands for a subtree that is nested too deep.
const TOO_DEEP: &str = "\"[truncated: depth]\"";

/// The attribute that marks a record of which something was cut.
pub(super) const TRUNCATED: &str = "trivium.truncated";

/// What was altered on the way, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sanitized {
    pub(super) invalid_utf8: u64,
    pub(super) truncated: u64,
    pub(super) too_deep: u64,
    pub(super) duplicate_keys: u64,
    pub(super) empty_keys: u64,
    pub(super) bad_ids: u64,
}

impl Sanitized {
    pub(super) fn causes(self) -> Vec<(&'static str, u64)> {
        let causes = [
            ("invalid_utf8", self.invalid_utf8),
            ("truncated", self.truncated),
            ("too_deep", self.too_deep),
            ("duplicate_key", self.duplicate_keys),
            ("empty_key", self.empty_keys),
            ("bad_id", self.bad_ids),
        ];
        causes.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Bytes as text: what is no UTF-8 becomes U+FFFD.
    pub(super) fn text<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                self.invalid_utf8 += 1;
                String::from_utf8_lossy(bytes)
            }
        }
    }

    /// Bytes as text of at most `bytes_max` bytes.
    pub(super) fn short_text<'a>(&mut self, bytes: &'a [u8], bytes_max: usize) -> Cow<'a, str> {
        let text = self.text(bytes);
        if text.len() <= bytes_max {
            return text;
        }
        self.truncated += 1;
        Cow::Owned(text[..text.floor_char_boundary(bytes_max)].to_owned())
    }

    /// A name: span, metric, scope, unit …
    pub(super) fn name<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        self.short_text(bytes, limit::NAME_BYTES_MAX)
    }
}

/// The set member of an `AnyValue`: its field and its value; `None` when it is empty.
pub(super) type AnyValue<'a> = Option<(u32, Value<'a>)>;

/// Which kind of value a body is; the words of the column `body_type`.
pub(super) fn type_name(value: Option<(u32, Value<'_>)>) -> Option<&'static str> {
    match value?.0 {
        1 => Some("string"),
        2 => Some("bool"),
        3 => Some("int"),
        4 => Some("double"),
        5 => Some("array"),
        6 => Some("kvlist"),
        7 => Some("bytes"),
        _ => None,
    }
}

/// The set member of an `AnyValue`: the last one wins, as protobuf demands of a oneof. `None` when it is empty.
pub(super) fn any_value(message: &[u8]) -> Result<Option<(u32, Value<'_>)>, WireError> {
    let mut fields = Fields::new(message);
    let mut found = None;
    while let Some(field) = fields.next()? {
        if (1..=7).contains(&field.0) {
            found = Some(field);
        }
    }
    Ok(found)
}

/// Appends a value as canonical JSON; `true` when something was cut.
pub(super) fn write_value(
    output: &mut String,
    value: Option<(u32, Value<'_>)>,
    depth: usize,
    sanitized: &mut Sanitized,
) -> Result<bool, WireError> {
    let Some((number, value)) = value else {
        output.push_str("null");
        return Ok(false);
    };
    if depth > limit::VALUE_DEPTH_MAX {
        sanitized.too_deep += 1;
        output.push_str(TOO_DEEP);
        return Ok(true);
    }
    let before = sanitized.truncated;
    match number {
        1 => write_string(output, &sanitized.short_text(value.bytes()?, limit::VALUE_BYTES_MAX)),
        2 => output.push_str(if value.varint()? == 0 { "false" } else { "true" }),
        3 => output.push_str(&(value.varint()? as i64).to_string()),
        4 => write_double(output, value.double()?),
        5 => write_array(output, value.bytes()?, depth, sanitized)?,
        6 => write_kvlist(output, value.bytes()?, depth, sanitized)?,
        _ => write_bytes(output, value.bytes()?, sanitized),
    }
    Ok(sanitized.truncated > before)
}

fn write_double(output: &mut String, value: f64) {
    if value.is_finite() {
        output.push_str(ryu::Buffer::new().format_finite(value));
        return;
    }
    let name = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    output.push_str("{\"$double\":\"");
    output.push_str(name);
    output.push_str("\"}");
}

fn write_bytes(output: &mut String, bytes: &[u8], sanitized: &mut Sanitized) {
    let kept = &bytes[..bytes.len().min(limit::VALUE_BYTES_MAX)];
    if kept.len() < bytes.len() {
        sanitized.truncated += 1;
    }
    output.push_str("{\"$bytes\":\"");
    STANDARD.encode_string(kept, output);
    output.push_str("\"}");
}

fn write_array(output: &mut String, message: &[u8], depth: usize, sanitized: &mut Sanitized) -> Result<(), WireError> {
    let mut fields = Fields::new(message);
    let mut elements = 0;
    output.push('[');
    while let Some((number, value)) = fields.next()? {
        if number != 1 {
            continue;
        }
        if elements == limit::VALUE_ELEMENTS_MAX {
            sanitized.truncated += 1;
            break;
        }
        if elements > 0 {
            output.push(',');
        }
        elements += 1;
        write_value(output, any_value(value.bytes()?)?, depth + 1, sanitized)?;
    }
    output.push(']');
    Ok(())
}

fn write_kvlist(output: &mut String, message: &[u8], depth: usize, sanitized: &mut Sanitized) -> Result<(), WireError> {
    let mut fields = Fields::new(message);
    let mut pairs = Vec::new();
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            pairs.push(value.bytes()?);
        }
    }
    write_set(output, &pairs, limit::VALUE_ELEMENTS_MAX, depth + 1, sanitized)
}

/// Appends `KeyValue` messages as a canonical JSON object.
fn write_set(
    output: &mut String,
    pairs: &[&[u8]],
    pairs_max: usize,
    depth: usize,
    sanitized: &mut Sanitized,
) -> Result<(), WireError> {
    let truncated_before = sanitized.truncated;
    let mut entries: Vec<(Cow<'_, str>, String)> = Vec::with_capacity(pairs.len().min(pairs_max));
    for pair in pairs {
        let (key, value) = key_value(pair)?;
        let key = sanitized.short_text(key, limit::KEY_BYTES_MAX);
        if key.is_empty() {
            sanitized.empty_keys += 1;
            continue;
        }
        if entries.len() == pairs_max {
            sanitized.truncated += 1;
            break;
        }
        let mut text = String::new();
        write_value(&mut text, value, depth, sanitized)?;
        entries.push((key, text));
    }
    // A stable sort keeps the order of equal keys, so that the last one sent is the last of its run.
    entries.sort_by(|left, right| left.0.as_bytes().cmp(right.0.as_bytes()));
    if sanitized.truncated > truncated_before && depth == 1 && !entries.iter().any(|(key, _)| key == TRUNCATED) {
        let index = entries.partition_point(|(key, _)| key.as_bytes() < TRUNCATED.as_bytes());
        entries.insert(index, (Cow::Borrowed(TRUNCATED), "true".into()));
    }
    output.push('{');
    let mut is_first = true;
    for (index, (key, text)) in entries.iter().enumerate() {
        if entries.get(index + 1).is_some_and(|(next, _)| next == key) {
            sanitized.duplicate_keys += 1;
            continue;
        }
        if !std::mem::take(&mut is_first) {
            output.push(',');
        }
        if key.starts_with('$') && depth > 1 {
            write_string(output, &format!("${key}"));
        } else {
            write_string(output, key);
        }
        output.push(':');
        output.push_str(text);
    }
    output.push('}');
    Ok(())
}

/// The key and the value of a `KeyValue`.
fn key_value(message: &[u8]) -> Result<(&[u8], AnyValue<'_>), WireError> {
    let mut fields = Fields::new(message);
    let (mut key, mut found) = (&[][..], None);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.bytes()?,
            2 => found = any_value(value.bytes()?)?,
            _ => {}
        }
    }
    Ok((key, found))
}

/// The raw `KeyValue` messages of one record; kept between records to save the allocation.
#[derive(Debug, Default)]
pub(super) struct RawSet<'a> {
    pub(super) pairs: Vec<&'a [u8]>,
}

impl<'a> RawSet<'a> {
    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<(), WireError> {
        self.pairs.push(value.bytes()?);
        Ok(())
    }

    /// The set as canonical JSON.
    pub(super) fn to_json(&self, sanitized: &mut Sanitized) -> Result<String, WireError> {
        let mut output = String::new();
        write_set(&mut output, &self.pairs, limit::ATTRIBUTES_MAX, 1, sanitized)?;
        Ok(output)
    }

    fn hash(&self) -> u128 {
        let mut hash = self.pairs.len() as u128;
        for pair in &self.pairs {
            hash = hash.rotate_left(29).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b) ^ xxh3_128(pair);
        }
        hash
    }
}

/// A column of attribute sets: a set that was seen in this request before is recognised by its bytes, without decoding it.
#[derive(Debug, Default)]
pub(super) struct AttributeColumn {
    pub(super) column: TextColumn,
    seen: HashMap<u128, i32>,
}

impl AttributeColumn {
    /// The code of a set.
    pub(super) fn code(&mut self, set: &RawSet<'_>, sanitized: &mut Sanitized) -> Result<i32, WireError> {
        if set.pairs.is_empty() {
            return Ok(self.column.code(trivium_storage::attributes::EMPTY));
        }
        let hash = set.hash();
        if let Some(&code) = self.seen.get(&hash) {
            return Ok(code);
        }
        let json = set.to_json(sanitized)?;
        let code = self.column.code(&json);
        self.seen.insert(hash, code);
        Ok(code)
    }

    pub(super) fn push_code(&mut self, code: i32) {
        self.column.push_code(code);
    }
}
