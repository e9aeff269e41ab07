//! OTLP/JSON to OTLP/protobuf, in one streaming pass, so that everything behind it knows one encoding only.
//!
//! Unlike general proto3 JSON (OTLP specification, JSON Protobuf Encoding): IDs are hexadecimal, enums are numbers, names are
//! lowerCamelCase only, unknown names are ignored.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use trivium_model::{SignalKind, limit};

use super::DecodeError;
use super::json_schema::{ANY_VALUE, Field, Kind, LOGS, METRICS, Message, TRACES};
use super::sanitize::beginning;

/// Transcodes a request. Integers may be numbers or strings, doubles also `"NaN"`, `"Infinity"` and `"-Infinity"`, `null`
/// stands for the default. Text that is not Unicode (bytes that are no UTF-8, half of a surrogate pair) becomes bytes that
/// are no UTF-8 either, so that the decoder repairs and counts it as it does everywhere.
pub fn json_to_protobuf(signal: SignalKind, json: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let message = match signal {
        SignalKind::Logs => &LOGS,
        SignalKind::Metrics => &METRICS,
        SignalKind::Traces => &TRACES,
    };
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    let mut output = Vec::with_capacity(json.len() / 2);
    let mut path = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let done = MessageSeed { message, output: &mut output, path: &mut path, level: 0 }.deserialize(&mut deserializer);
    done.and_then(|()| deserializer.end()).map_err(|error| {
        let problem = without_place(&error);
        let problem = if path.is_empty() { problem } else { format!("{}: {problem}", path_text(&path)) };
        DecodeError::Json { problem, line: error.line(), column: error.column() }
    })?;
    Ok(output)
}

/// What an error of serde_json says, without the line and the column.
fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.rsplit_once(" at line ").map_or(said.as_str(), |(problem, _)| problem).to_owned()
}

/// Levels of `AnyValue` that one parser reads. serde_json gives up at 128 levels of JSON, of which a level of `AnyValue` takes
/// up to four, so a deeper one is read by a parser of its own; what is too deep to be kept is skipped, which takes no stack.
const LEVELS_AT_ONCE: usize = 16;

/// Bytes of a wrong value in an error.
const FOUND_BYTES_MAX: usize = 64;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Whether it is the one message that can hold itself.
fn is_value(message: &'static Message) -> bool {
    std::ptr::eq(message, &raw const ANY_VALUE)
}

/// A step from a value to one inside it. Steps are taken back when a value is read, so that after an error they lead to it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Field(&'static str),
    Element(usize),
}

fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.extend([".", name]),
            Step::Element(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Reads one object as a message and appends its fields.
struct MessageSeed<'o> {
    message: &'static Message,
    output: &'o mut Vec<u8>,
    path: &'o mut Vec<Step>,
    /// How many `AnyValue`s it is in, itself counted.
    level: usize,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object, the {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, output, path, level } = self;
        while let Some(key) = map.next_key_seed(KeySeed { message })? {
            let Some(field) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            path.push(Step::Field(field.name));
            let mut seed = FieldSeed { field, output: &mut *output, path: &mut *path, is_element: false, level };
            if level > limit::VALUE_DEPTH_MAX && matches!(field.kind, Kind::Message(_)) {
                // Enough for the decoder to see that there was something, and to count it.
                seed.write_bytes(&[]);
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(seed)?;
            }
            path.pop();
        }
        Ok(())
    }
}

/// Reads a name: the field that has it, none when it is unknown.
struct KeySeed {
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<&'static Field>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the name of a field of {}", self.message.name)
    }

    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        let found = self.message.fields.iter().find(|field| field.name.as_bytes() == key);
        if found.is_none() {
            check_case(self.message, &String::from_utf8_lossy(key))?;
        }
        Ok(found)
    }
}

/// An unknown name is fine, a known one in the wrong case is a sender that would lose its data in silence.
fn check_case<E: serde::de::Error>(message: &Message, key: &str) -> Result<(), E> {
    if !key.contains('_') {
        return Ok(());
    }
    let mut camel = String::with_capacity(key.len());
    for (index, word) in key.split('_').enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if index > 0 => camel.extend(first.to_uppercase()),
            Some(first) => camel.push(first),
            None => {}
        }
        camel.extend(letters);
    }
    match message.fields.iter().find(|field| field.name == camel) {
        Some(field) => Err(E::custom(format!("{}.{key} must be written {}", message.name, field.name))),
        None => Ok(()),
    }
}

/// Reads one value as a field and appends it.
struct FieldSeed<'o> {
    field: &'static Field,
    output: &'o mut Vec<u8>,
    path: &'o mut Vec<Step>,
    is_element: bool,
    /// How many `AnyValue`s it is in.
    level: usize,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.kind {
            // Strings as bytes: serde_json would refuse the whole request for one that is not Unicode.
            Kind::Text | Kind::HexId if !self.expects_list() => deserializer.deserialize_option(self),
            Kind::Message(message)
                if is_value(message)
                    && !self.expects_list()
                    && self.level.is_multiple_of(LEVELS_AT_ONCE)
                    && self.level > 0 =>
            {
                self.afresh(<&RawValue>::deserialize(deserializer)?.get())
            }
            Kind::Double if !self.expects_list() => self.double(<&RawValue>::deserialize(deserializer)?.get()),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl FieldSeed<'_> {
    fn expects_list(&self) -> bool {
        self.field.is_repeated && !self.is_element
    }

    fn expected(&self) -> &'static str {
        match self.field.kind {
            _ if self.expects_list() => "an array",
            Kind::Message(_) => "an object",
            Kind::Text => "a string",
            Kind::Bytes => "base64 text",
            Kind::HexId => "hexadecimal text",
            Kind::Bool => "true or false",
            Kind::Enum => "the number of an enum value, not its name",
            Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 => "a 32-bit integer",
            Kind::Int64 | Kind::Sfixed64 => "a 64-bit integer as a number or a string",
            Kind::Uint64 | Kind::Fixed64 => "a 64-bit integer without a sign as a number or a string",
            Kind::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        }
    }

    /// Reads the text of a value with a parser of its own.
    fn afresh<E: serde::de::Error>(self, json: &str) -> Result<(), E> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        deserializer.deserialize_any(self).map_err(|error| E::custom(without_place(&error)))
    }

    fn wrong<E: serde::de::Error>(&self, found: &str) -> E {
        E::custom(format!("must be {}, found {found}", self.expected()))
    }

    fn key(&mut self, wire_type: u32) {
        write_varint(self.output, u64::from(self.field.number << 3 | wire_type));
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        self.key(2);
        write_varint(self.output, bytes.len() as u64);
        self.output.extend_from_slice(bytes);
    }

    fn integer<E: serde::de::Error>(mut self, value: i128) -> Result<(), E> {
        let wrong = |seed: &Self| Err(seed.wrong(&value.to_string()));
        if self.expects_list() {
            return wrong(&self);
        }
        match self.field.kind {
            Kind::Enum => match i32::try_from(value) {
                Ok(value) => {
                    self.key(0);
                    write_varint(self.output, i64::from(value) as u64);
                }
                Err(_) => return wrong(&self),
            },
            Kind::Uint32 | Kind::Fixed32 => match (u32::try_from(value), self.field.kind) {
                (Ok(value), Kind::Fixed32) => {
                    self.key(5);
                    self.output.extend_from_slice(&value.to_le_bytes());
                }
                (Ok(value), _) => {
                    self.key(0);
                    write_varint(self.output, u64::from(value));
                }
                (Err(_), _) => return wrong(&self),
            },
            Kind::Sint32 => match i32::try_from(value) {
                Ok(value) => {
                    self.key(0);
                    write_varint(self.output, u64::from(((value << 1) ^ (value >> 31)) as u32));
                }
                Err(_) => return wrong(&self),
            },
            Kind::Int64 | Kind::Sfixed64 => match i64::try_from(value) {
                Ok(value) => self.write_64(value as u64),
                Err(_) => return wrong(&self),
            },
            Kind::Uint64 | Kind::Fixed64 => match u64::try_from(value) {
                Ok(value) => self.write_64(value),
                Err(_) => return wrong(&self),
            },
            _ => return wrong(&self),
        }
        Ok(())
    }

    fn write_64(&mut self, bits: u64) {
        if matches!(self.field.kind, Kind::Int64 | Kind::Uint64) {
            self.key(0);
            write_varint(self.output, bits);
        } else {
            self.key(1);
            self.output.extend_from_slice(&bits.to_le_bytes());
        }
    }

    /// Reads the text of a double: the parser of serde_json may be off by one in the last bit.
    fn double<E: serde::de::Error>(mut self, json: &str) -> Result<(), E> {
        if json == "null" {
            return Ok(());
        }
        let text = if json.starts_with('"') { serde_json::from_str::<String>(json) } else { Ok(json.to_owned()) };
        let value = match text.as_deref() {
            Ok("NaN") => Some(f64::NAN),
            Ok("Infinity") => Some(f64::INFINITY),
            Ok("-Infinity") => Some(f64::NEG_INFINITY),
            Ok(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
            Err(_) => None,
        };
        let Some(value) = value else { return Err(self.wrong(beginning(json, FOUND_BYTES_MAX))) };
        self.write_64(value.to_bits());
        Ok(())
    }

    fn integer_in_text<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match text.parse::<i128>() {
            Ok(value) if !matches!(self.field.kind, Kind::Enum) => self.integer(value),
            _ => Err(self.wrong(&format!("{:?}", beginning(text, FOUND_BYTES_MAX)))),
        }
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected())
    }

    /// `null` is the default value, which the wire leaves out.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_bytes<E: serde::de::Error>(mut self, text: &[u8]) -> Result<(), E> {
        match self.field.kind {
            Kind::HexId => self.write_bytes(&hex_id(&String::from_utf8_lossy(text))),
            _ => self.write_bytes(&without_surrogates(text)),
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> Result<(), E> {
        if !matches!(self.field.kind, Kind::Bool) || self.expects_list() {
            return Err(self.wrong(&value.to_string()));
        }
        self.key(0);
        self.output.push(u8::from(value));
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if self.expects_list() {
            return Err(self.wrong(&value.to_string()));
        }
        // 1e3 is an integer to proto3 JSON, 1e30 fits none.
        if value.fract() == 0.0 && value.abs() < 9.0e18 {
            return self.integer(value as i128);
        }
        Err(self.wrong(&value.to_string()))
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        if self.expects_list() {
            return Err(self.wrong("a string"));
        }
        match self.field.kind {
            Kind::Bytes => {
                let bytes = decode_base64(text).ok_or_else(|| self.wrong("other text"))?;
                self.write_bytes(&bytes);
            }
            Kind::Message(_) | Kind::Bool | Kind::Text | Kind::HexId => return Err(self.wrong("a string")),
            _ => return self.integer_in_text(text),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else { return Err(self.wrong("an object")) };
        if self.expects_list() {
            return Err(self.wrong("an object"));
        }
        let mut nested = Vec::new();
        let level = self.level + usize::from(is_value(message));
        MessageSeed { message, output: &mut nested, path: &mut *self.path, level }.visit_map(map)?;
        self.write_bytes(&nested);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.expects_list() {
            return Err(self.wrong("an array"));
        }
        let Self { field, output, path, level, .. } = self;
        for index in 0.. {
            path.push(Step::Element(index));
            let element = FieldSeed { field, output: &mut *output, path: &mut *path, is_element: true, level };
            let read = list.next_element_seed(element)?;
            path.pop();
            if read.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// Half of a surrogate pair comes from serde_json as three bytes that are no UTF-8; one such byte stands for it as well, and
/// becomes one U+FFFD.
fn without_surrogates(text: &[u8]) -> Cow<'_, [u8]> {
    if simdutf8::basic::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    let mut output = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, behind @ ..] => {
                output.push(0xff);
                rest = behind;
            }
            _ => {
                output.push(*first);
                rest = behind;
            }
        }
    }
    Cow::Owned(output)
}

fn write_varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

/// The bytes of an ID. What is not hexadecimal becomes bytes of a length that no ID has, so that the rule for the record
/// decides (a span is rejected, a log record is kept without the ID).
fn hex_id(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().unwrap_or_else(|| vec![0xff])
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let is_url_safe = text.contains(['-', '_']);
    let alphabet = if is_url_safe { base64::alphabet::URL_SAFE } else { base64::alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, config).decode(text).ok()
}
