//! `AnyValue` and sets of `KeyValue` to the text forms of [`trivium_storage::attributes`].

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use trivium_model::limit;
use trivium_storage::attributes::write_string;

use super::sanitize::{Sanitized, beginning};
use super::wire::{Fields, Value, WireError};

/// What stands for a subtree that is nested too deep.
const TOO_DEEP: &str = "\"[truncated: depth]\"";

/// The attribute that marks a record of which something was cut, and the member of the set that says so.
const TRUNCATED: &str = "trivium.truncated";
const TRUNCATED_MEMBER: &str = "\"trivium.truncated\":true";

/// An `AnyValue` as it stands on the wire: the number of its field and the value, `None` when it is empty.
pub(super) type AnyValue<'a> = Option<(u32, Value<'a>)>;

const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;
const DOUBLE: u32 = 4;
const ARRAY: u32 = 5;
const KVLIST: u32 = 6;
const BYTES: u32 = 7;

/// The set member of an `AnyValue`: the last one wins, as protobuf demands of a oneof.
#[inline]
pub(super) fn any_value(message: &[u8]) -> Result<AnyValue<'_>, WireError> {
    let mut fields = Fields::new(message);
    let mut found = None;
    while let Some((number, value)) = fields.next()? {
        // The type of the value is checked here, where its place is known.
        match number {
            STRING | ARRAY | KVLIST | BYTES => drop(value.bytes(&fields)?),
            BOOL | INT => drop(value.varint(&fields)?),
            DOUBLE => drop(value.fixed64(&fields)?),
            _ => continue,
        }
        found = Some((number, value));
    }
    Ok(found)
}

/// Which kind of value a body is; the words of the column `body_type`.
pub(super) fn type_name(value: &AnyValue<'_>) -> Option<&'static str> {
    match value.as_ref()?.0 {
        STRING => Some("string"),
        BOOL => Some("bool"),
        INT => Some("int"),
        DOUBLE => Some("double"),
        ARRAY => Some("array"),
        KVLIST => Some("kvlist"),
        BYTES => Some("bytes"),
        _ => None,
    }
}

/// Writes values as canonical JSON and counts what it had to alter. Its memory is used again for every value.
#[derive(Debug, Default)]
pub(super) struct ValueWriter<'a> {
    pub(super) sanitized: Sanitized,
    /// Members of the sets that are being written, innermost last, and the text of the values inside them.
    arena: String,
    members: Vec<Member<'a>>,
    output: String,
}

/// A member of a set: its key, and where its text stands in the arena.
#[derive(Debug)]
struct Member<'a> {
    key: Cow<'a, str>,
    text: Range<usize>,
    /// Where the value begins in that text, behind the key.
    value_start: usize,
    is_structure: bool,
}

impl<'a> ValueWriter<'a> {
    /// A value as canonical JSON.
    pub(super) fn value(&mut self, value: AnyValue<'a>) -> Result<&str, WireError> {
        self.clear();
        self.write_value(value, 1)?;
        Ok(&self.arena)
    }

    /// `KeyValue` messages, each of them a field of one of the `runs` of bytes, as a canonical JSON object. With
    /// `is_cut` the set says that something of its record was cut off elsewhere.
    ///
    /// An attribute that is not decodable costs itself.
    pub(super) fn set(&mut self, runs: &[&'a [u8]], is_cut: bool) -> &str {
        self.clear();
        let before = self.sanitized;
        let is_complete = runs.iter().all(|run| self.read_attributes(run));
        if !is_complete {
            self.sanitized.count_truncated();
        }
        if is_cut || self.sanitized.has_cut_since(&before) {
            self.members.retain(|member| member.key != TRUNCATED);
            let start = self.arena.len();
            self.arena.push_str(TRUNCATED_MEMBER);
            let text = start..self.arena.len();
            let key = Cow::Borrowed(TRUNCATED);
            self.members.push(Member { key, text, value_start: start, is_structure: false });
        }
        let mut output = std::mem::take(&mut self.output);
        self.close_set(0, &mut output);
        self.output = output;
        &self.output
    }

    /// What an error or the last value left behind.
    fn clear(&mut self) {
        self.arena.clear();
        self.members.clear();
        self.output.clear();
    }

    /// Writes attributes into the arena, in the order of the wire; `false` when there are too many. Who found the run has
    /// read its framing.
    fn read_attributes(&mut self, run: &'a [u8]) -> bool {
        let mut fields = Fields::new(run);
        while let Ok(Some((_, Value::Bytes(pair)))) = fields.next() {
            if self.members.len() == limit::ATTRIBUTES_MAX {
                return false;
            }
            let (members, start, before) = (self.members.len(), self.arena.len(), self.sanitized);
            if self.read_member(pair, 1).is_err() {
                self.members.truncate(members);
                self.arena.truncate(start);
                self.sanitized = before;
                self.sanitized.count_undecodable();
            } else if self.arena.len() - start > limit::VALUE_BYTES_MAX {
                self.cut_structure(members);
            }
        }
        true
    }

    /// Writes a `KeyValue` into the arena: `depth` is 1 for an attribute of a record, more for what lists hold.
    fn read_member(&mut self, pair: &'a [u8], depth: usize) -> Result<(), WireError> {
        let (key, value) = key_value(pair)?;
        if key.is_empty() {
            self.sanitized.count_empty_key();
            return Ok(());
        }
        let key = self.sanitized.key(key);
        let start = self.arena.len();
        write_string(&mut self.arena, &key);
        if depth > 1 && key.starts_with('$') {
            // Behind the quote, where no reader takes the key for one of ours.
            self.arena.insert(start + 1, '$');
        }
        self.arena.push(':');
        let value_start = self.arena.len();
        self.write_value(value, depth)?;
        let is_structure = matches!(value, Some((ARRAY | KVLIST, _)));
        self.members.push(Member { key, text: start..self.arena.len(), value_start, is_structure });
        Ok(())
    }

    /// An attribute that is a list whose text is too long becomes the beginning of that text.
    fn cut_structure(&mut self, member: usize) {
        let Some(member) = self.members.get_mut(member) else { return };
        if member.is_structure && self.arena.len() - member.value_start > limit::VALUE_BYTES_MAX {
            self.sanitized.count_truncated();
            let text = self.arena.split_off(member.value_start);
            write_string(&mut self.arena, beginning(&text, limit::VALUE_BYTES_MAX));
            member.text.end = self.arena.len();
        }
    }

    /// Puts the members from `base` on in order and appends them to `output` as an object.
    fn close_set(&mut self, base: usize, output: &mut String) {
        let members = &mut self.members[base..];
        // A stable sort keeps the order of equal keys, so that the last one sent is the last of its run.
        members.sort_by(|left, right| left.key.as_bytes().cmp(right.key.as_bytes()));
        output.push('{');
        let mut is_first = true;
        for (index, member) in members.iter().enumerate() {
            if members.get(index + 1).is_some_and(|next| next.key == member.key) {
                self.sanitized.count_duplicate_key();
                continue;
            }
            if !std::mem::take(&mut is_first) {
                output.push(',');
            }
            output.push_str(self.arena.get(member.text.clone()).unwrap_or_default());
        }
        output.push('}');
        self.members.truncate(base);
    }

    fn write_value(&mut self, value: AnyValue<'a>, depth: usize) -> Result<(), WireError> {
        let Some((number, value)) = value else {
            self.arena.push_str("null");
            return Ok(());
        };
        if depth > limit::VALUE_DEPTH_MAX {
            self.sanitized.count_depth();
            self.arena.push_str(TOO_DEEP);
            return Ok(());
        }
        match (number, value) {
            (BOOL, Value::Varint(value)) => self.arena.push_str(if value == 0 { "false" } else { "true" }),
            (_, Value::Varint(value)) => write_int(&mut self.arena, value as i64),
            (_, Value::Fixed64(bits)) => write_double(&mut self.arena, f64::from_bits(bits)),
            (STRING, Value::Bytes(bytes)) => {
                let text = self.sanitized.short_text(bytes, limit::VALUE_BYTES_MAX);
                write_string(&mut self.arena, &text);
            }
            (ARRAY, Value::Bytes(message)) => self.write_array(message, depth)?,
            (KVLIST, Value::Bytes(message)) => self.write_kvlist(message, depth)?,
            (_, Value::Bytes(bytes)) => self.write_bytes(bytes),
            (_, Value::Fixed32(_) | Value::Group) => self.arena.push_str("null"),
        }
        Ok(())
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        let kept = bytes.get(..limit::VALUE_BYTES_MAX).unwrap_or(bytes);
        if kept.len() < bytes.len() {
            self.sanitized.count_truncated();
        }
        self.arena.push_str("{\"$bytes\":\"");
        STANDARD.encode_string(kept, &mut self.arena);
        self.arena.push_str("\"}");
    }

    fn write_array(&mut self, message: &'a [u8], depth: usize) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        let mut elements = 0;
        self.arena.push('[');
        while let Some((number, value)) = fields.next()? {
            if number != 1 {
                continue;
            }
            if elements == limit::VALUE_ELEMENTS_MAX {
                self.sanitized.count_truncated();
                break;
            }
            if elements > 0 {
                self.arena.push(',');
            }
            elements += 1;
            self.write_value(any_value(value.bytes(&fields)?)?, depth + 1)?;
        }
        self.arena.push(']');
        Ok(())
    }

    fn write_kvlist(&mut self, message: &'a [u8], depth: usize) -> Result<(), WireError> {
        let (base, start) = (self.members.len(), self.arena.len());
        let mut fields = Fields::new(message);
        while let Some((number, pair)) = fields.next()? {
            if number != 1 {
                continue;
            }
            if self.members.len() - base == limit::VALUE_ELEMENTS_MAX {
                self.sanitized.count_truncated();
                break;
            }
            self.read_member(pair.bytes(&fields)?, depth + 1)?;
        }
        let mut object = String::new();
        self.close_set(base, &mut object);
        self.arena.truncate(start);
        self.arena.push_str(&object);
        Ok(())
    }
}

/// The key and the value of a `KeyValue`.
#[inline]
fn key_value(message: &[u8]) -> Result<(&[u8], AnyValue<'_>), WireError> {
    let mut fields = Fields::new(message);
    let (mut key, mut found) = (&[][..], None);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.bytes(&fields)?,
            2 => found = any_value(value.bytes(&fields)?)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn write_int(output: &mut String, value: i64) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [0_u8; DIGITS_MAX];
    let (mut start, mut rest) = (DIGITS_MAX, value.unsigned_abs());
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        output.push('-');
    }
    output.extend(digits[start..].iter().map(|digit| char::from(*digit)));
}

fn write_double(output: &mut String, value: f64) {
    if value.is_finite() {
        output.push_str(ryu::Buffer::new().format_finite(value));
        return;
    }
    output.push_str(match value {
        f64::INFINITY => "{\"$double\":\"Infinity\"}",
        f64::NEG_INFINITY => "{\"$double\":\"-Infinity\"}",
        _ => "{\"$double\":\"NaN\"}",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_the_standard_library_writes_them() {
        for value in [0, 1, -1, 9, 10, -10, 99, 100, i64::from(u32::MAX), i64::MAX, i64::MIN] {
            let mut text = String::new();
            write_int(&mut text, value);
            assert_eq!(text, value.to_string());
        }
    }

    #[test]
    fn doubles_are_told_from_integers() {
        for (value, expected) in [
            (200.0, "200.0"),
            (-0.0, "-0.0"),
            (1e300, "1e300"),
            (0.1, "0.1"),
            (f64::NAN, r#"{"$double":"NaN"}"#),
            (f64::NEG_INFINITY, r#"{"$double":"-Infinity"}"#),
        ] {
            let mut text = String::new();
            write_double(&mut text, value);
            assert_eq!(text, expected);
        }
    }
}
