//! OTLP/JSON to OTLP/protobuf, in one streaming pass, so that everything behind it knows one encoding only.
//!
//! Unlike general proto3 JSON (OTLP specification, JSON Protobuf Encoding): IDs are hexadecimal, enums are numbers, names are
//! lowerCamelCase only, unknown names are ignored.

use std::fmt;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use trivium_model::SignalKind;

use super::DecodeError;
use super::json_schema::{Field, Kind, LOGS, METRICS, Message, TRACES};

/// Transcodes a request. Integers may be numbers or strings, doubles also `"NaN"`, `"Infinity"` and `"-Infinity"`, `null`
/// stands for the default.
pub fn json_to_protobuf(signal: SignalKind, json: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let message = match signal {
        SignalKind::Logs => &LOGS,
        SignalKind::Metrics => &METRICS,
        SignalKind::Traces => &TRACES,
    };
    let text = String::from_utf8_lossy(json);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut output = Vec::with_capacity(text.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let done = MessageSeed { message, output: &mut output }.deserialize(&mut deserializer);
    done.and_then(|()| deserializer.end()).map_err(|error| {
        let said = error.to_string();
        let problem = said.rsplit_once(" at line ").map_or(said.as_str(), |(problem, _)| problem).to_owned();
        DecodeError::Json { problem, line: error.line(), column: error.column() }
    })?;
    Ok(output)
}

/// Reads one object as a message and appends its fields.
struct MessageSeed<'o> {
    message: &'static Message,
    output: &'o mut Vec<u8>,
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
        while let Some(key) = map.next_key::<String>()? {
            match self.message.fields.iter().find(|field| field.name == key) {
                Some(field) => map.next_value_seed(FieldSeed { field, output: self.output, is_element: false })?,
                None => {
                    check_case(self.message, &key)?;
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
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
    is_element: bool,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl FieldSeed<'_> {
    fn expects_list(&self) -> bool {
        self.field.is_repeated && !self.is_element
    }

    fn wrong<E: serde::de::Error>(&self, found: &str) -> E {
        let expected = match self.field.kind {
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
        };
        E::custom(format!("{} must be {expected}, found {found}", self.field.name))
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
            Kind::Double => self.write_64((value as f64).to_bits()),
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

    fn number_in_text<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        if matches!(self.field.kind, Kind::Double) {
            let value = match text {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                text => text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or(()),
            };
            return match value {
                Ok(value) => {
                    self.write_64(value.to_bits());
                    Ok(())
                }
                Err(()) => Err(self.wrong(&format!("{text:?}"))),
            };
        }
        match text.parse::<i128>() {
            Ok(value) if !matches!(self.field.kind, Kind::Enum) => self.integer(value),
            _ => Err(self.wrong(&format!("{text:?}"))),
        }
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the value of {}", self.field.name)
    }

    /// `null` is the default value, which the wire leaves out.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
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

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<(), E> {
        if self.expects_list() {
            return Err(self.wrong(&value.to_string()));
        }
        if matches!(self.field.kind, Kind::Double) {
            self.write_64(value.to_bits());
            return Ok(());
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
            Kind::Text => self.write_bytes(text.as_bytes()),
            Kind::HexId => self.write_bytes(&hex_id(text)),
            Kind::Bytes => {
                let bytes = decode_base64(text).ok_or_else(|| self.wrong("other text"))?;
                self.write_bytes(&bytes);
            }
            Kind::Message(_) | Kind::Bool => return Err(self.wrong("a string")),
            _ => return self.number_in_text(text),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else { return Err(self.wrong("an object")) };
        if self.expects_list() {
            return Err(self.wrong("an object"));
        }
        let mut nested = Vec::new();
        MessageSeed { message, output: &mut nested }.visit_map(map)?;
        self.write_bytes(&nested);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.expects_list() {
            return Err(self.wrong("an array"));
        }
        let (field, output) = (self.field, self.output);
        while list.next_element_seed(FieldSeed { field, output, is_element: true })?.is_some() {}
        Ok(())
    }
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
