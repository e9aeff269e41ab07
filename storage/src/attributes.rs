//! Attribute sets as text: a canonical JSON object, keys in byte order, no white space, every OTLP type told apart.
//!
//! | `AnyValue` | JSON |
//! |---|---|
//! | string | string |
//! | bool | `true`, `false` |
//! | int | number without `.`, `e` or `E`: `200` |
//! | double | number with one of them: `200.0`, `1e300`; `{"$double":"NaN"}`, `{"$double":"Infinity"}`, `{"$double":"-Infinity"}` |
//! | bytes | `{"$bytes":"<base64>"}` |
//! | array | array |
//! | kvlist | object; a key that starts with `$` gets one more `$` in front |
//! | empty | `null` |
//!
//! The empty set is `{}`. The same set always gives the same text, so that a dictionary entry, a series identity or a
//! group key is the set itself. Plain JSON on purpose: DuckDB reads it with `attributes->>'http.route'`.

use std::borrow::Cow;

/// The set without attributes.
pub const EMPTY: &str = "{}";

/// Appends `text` as a JSON string, quotes included. Control characters, `"` and `\` are escaped, all else is verbatim UTF-8.
pub fn write_string(output: &mut String, text: &str) {
    output.push('"');
    let mut start = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        output.push_str(text.get(start..index).unwrap_or_default());
        if escape.is_empty() {
            output.push_str(&format!("\\u{byte:04x}"));
        } else {
            output.push_str(escape);
        }
        start = index + 1;
    }
    output.push_str(text.get(start..).unwrap_or_default());
    output.push('"');
}

/// The value of one attribute, as it stands in the set's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeValue<'a>(&'a str);

impl<'a> AttributeValue<'a> {
    /// The value as JSON.
    pub fn json(self) -> &'a str {
        self.0
    }

    /// The value as people write it: strings without quotes, everything else as JSON.
    pub fn text(self) -> Cow<'a, str> {
        match self.0.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => unescape(quoted),
            None => Cow::Borrowed(self.0),
        }
    }

    /// Whether it is a string.
    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }
}

/// The value of a key in a set. Walks the text up to the key; allocates nothing.
pub fn get<'a>(set: &'a str, key: &str) -> Option<AttributeValue<'a>> {
    let is_key = |quoted: &str| if quoted.contains('\\') { unescape(quoted) == key } else { quoted == key };
    Members::new(set).find(|(quoted, _)| is_key(quoted)).map(|(_, value)| value)
}

/// The keys and values of a set, in the order of the keys.
pub fn entries(set: &str) -> impl Iterator<Item = (Cow<'_, str>, AttributeValue<'_>)> {
    Members::new(set).map(|(key, value)| (unescape(key), value))
}

/// The members of a canonical object: keys as they are escaped, without their quotes. What is no canonical object ends
/// early; nothing panics.
struct Members<'a> {
    rest: &'a str,
}

impl<'a> Members<'a> {
    fn new(set: &'a str) -> Self {
        Self { rest: set.strip_prefix('{').unwrap_or_default() }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, AttributeValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
        let key_end = string_end(rest)?;
        let key = rest.get(1..key_end - 1)?;
        let value = rest.get(key_end..)?.strip_prefix(':')?;
        let value_end = value_end(value)?;
        self.rest = value.get(value_end..)?;
        Some((key, AttributeValue(value.get(..value_end)?)))
    }
}

/// The offset behind the string that begins the text.
fn string_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut index = 1;
    loop {
        index += memchr::memchr2(b'"', b'\\', bytes.get(index..)?)?;
        if bytes[index] == b'"' {
            return Some(index + 1);
        }
        index += 2;
    }
}

/// The offset behind the value that begins the text.
fn value_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut index, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'"' => {
                index += string_end(text.get(index..)?)?;
                if depth == 0 {
                    return Some(index);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return Some(index),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            b',' if depth == 0 => return Some(index),
            _ => {}
        }
        index += 1;
    }
    None
}

/// The text of an escaped string.
fn unescape(quoted: &str) -> Cow<'_, str> {
    if !quoted.contains('\\') {
        return Cow::Borrowed(quoted);
    }
    let text = serde_json::from_str::<String>(&format!("\"{quoted}\""));
    text.map_or_else(|_| Cow::Borrowed(quoted), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: &str, key: &str, expected: Option<&str>) {
        assert_eq!(get(set, key).map(|value| value.text().into_owned()).as_deref(), expected, "{key} in {set}");
    }

    #[test]
    fn values_of_every_type_are_found() {
        let set =
            r#"{"a":"x\"y\n","a.b":200,"c":[1,"]",{"d":"}"}],"e":{"f":null},"g":true,"h":1.5,"q\"k":"v","z":"last"}"#;
        check(set, "a", Some("x\"y\n"));
        check(set, "a.b", Some("200"));
        check(set, "c", Some(r#"[1,"]",{"d":"}"}]"#));
        check(set, "e", Some(r#"{"f":null}"#));
        check(set, "g", Some("true"));
        check(set, "q\"k", Some("v"));
        check(set, "z", Some("last"));
        check(set, "f", None);
        check("{}", "a", None);
        assert_eq!(entries(set).count(), 8);
    }

    #[test]
    fn a_written_string_is_read_back() {
        for text in ["", "plain", "q\"b\\", "\u{1}\n\t\r\u{7f}", "ümläut 😀", "}{,:"] {
            let mut set = String::from("{\"k\":");
            write_string(&mut set, text);
            set.push('}');
            check(&set, "k", Some(text));
        }
    }

    #[test]
    fn what_is_no_set_ends_without_a_panic() {
        for set in
            ["", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":[", "{\"a\\", "nonsense", "{\"a\":1"]
        {
            assert_eq!(entries(set).count(), 0, "{set}");
        }
    }
}
