//! Reading canonical JSON text (see [`trivium_storage::attributes`]) without building a tree: look one value up, or visit
//! all of them. Text that is not JSON reads as nothing.

use std::borrow::Cow;

/// Levels of nesting that are followed; the store keeps [`trivium_model::limit::VALUE_DEPTH_MAX`].
const DEPTH_MAX: usize = 64;

/// A value within canonical JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JsonValue<'text> {
    Text(Cow<'text, str>),
    /// The digits as they stand, or `NaN`, `Infinity`, `-Infinity`.
    Number(&'text str),
    Bool(bool),
    Null,
    /// In base64.
    Bytes(&'text str),
    /// The whole array as JSON.
    List(&'text str),
    /// The whole object as JSON.
    Object(&'text str),
}

impl<'text> JsonValue<'text> {
    /// The value as people write it; lists and objects as JSON.
    pub(super) fn text(&self) -> Cow<'text, str> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(text) | Self::Bytes(text) | Self::List(text) | Self::Object(text) => Cow::Borrowed(text),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Null => Cow::Borrowed(""),
        }
    }
}

/// The value of a key, or of a path through nested objects: `a.b.c` is the key `a.b.c`, else `b.c` within `a`, and so on.
pub(super) fn find<'text>(object: &'text str, path: &str) -> Option<JsonValue<'text>> {
    find_within(object, path, DEPTH_MAX)
}

fn find_within<'text>(object: &'text str, path: &str, depth: usize) -> Option<JsonValue<'text>> {
    let depth = depth.checked_sub(1)?;
    let mut nested = None;
    for (key, value) in members(object)? {
        if key == path {
            return Some(read(value));
        }
        let rest = path.strip_prefix(key.as_ref()).and_then(|rest| rest.strip_prefix('.'));
        if let Some(rest) = rest.filter(|_| nested.is_none() && value.starts_with('{')) {
            nested = find_within(value, rest, depth);
        }
    }
    nested
}

/// Calls `visit` for every value that is no list and no object until it says yes; says whether one did.
pub(super) fn any_leaf(json: &str, visit: &mut dyn FnMut(&JsonValue<'_>) -> bool) -> bool {
    any_leaf_within(json, visit, DEPTH_MAX)
}

fn any_leaf_within(json: &str, visit: &mut dyn FnMut(&JsonValue<'_>) -> bool, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match read(json) {
        JsonValue::Object(object) => {
            members(object).is_some_and(|mut members| members.any(|(_, value)| any_leaf_within(value, visit, depth)))
        }
        JsonValue::List(list) => {
            elements(list).is_some_and(|mut elements| elements.any(|value| any_leaf_within(value, visit, depth)))
        }
        leaf => visit(&leaf),
    }
}

/// The keys and values of an object; keys without the `$` that marks ours.
pub(super) fn members(object: &str) -> Option<impl Iterator<Item = (Cow<'_, str>, &str)>> {
    let mut scanner = Scanner { text: object.strip_prefix('{')? };
    Some(std::iter::from_fn(move || {
        scanner.skip_separators();
        let key = unquote(scanner.value().filter(|key| key.starts_with('"'))?);
        scanner.skip_separators();
        let value = scanner.value()?;
        let key = if key.starts_with("$$") { Cow::Owned(key.chars().skip(1).collect()) } else { key };
        Some((key, value))
    }))
}

/// The elements of an array.
pub(super) fn elements(list: &str) -> Option<impl Iterator<Item = &str>> {
    let mut scanner = Scanner { text: list.strip_prefix('[')? };
    Some(std::iter::from_fn(move || {
        scanner.skip_separators();
        scanner.value()
    }))
}

/// The value of one JSON text.
pub(super) fn read(json: &str) -> JsonValue<'_> {
    match json.as_bytes().first() {
        Some(b'"') => JsonValue::Text(unquote(json)),
        Some(b'{') => special(json).unwrap_or(JsonValue::Object(json)),
        Some(b'[') => JsonValue::List(json),
        Some(b't') => JsonValue::Bool(true),
        Some(b'f') => JsonValue::Bool(false),
        Some(b'n') | None => JsonValue::Null,
        Some(_) => JsonValue::Number(json),
    }
}

/// `{"$bytes":"…"}` and `{"$double":"…"}`.
fn special(json: &str) -> Option<JsonValue<'_>> {
    let inner = json.strip_prefix("{\"$")?.strip_suffix("\"}")?;
    if let Some(base64) = inner.strip_prefix("bytes\":\"") {
        return Some(JsonValue::Bytes(base64));
    }
    inner.strip_prefix("double\":\"").map(JsonValue::Number)
}

/// The text of a JSON string, quotes removed and escapes resolved.
fn unquote(json: &str) -> Cow<'_, str> {
    let inner = json.strip_prefix('"').map_or(json, |rest| rest.strip_suffix('"').unwrap_or(rest));
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str(json).map_or(Cow::Borrowed(inner), Cow::Owned)
}

struct Scanner<'text> {
    text: &'text str,
}

impl<'text> Scanner<'text> {
    fn skip_separators(&mut self) {
        self.text = self.text.trim_start_matches([',', ':', ' ']);
    }

    /// Steps over one value and returns its text; `None` at the end of the object or list, or of the text.
    fn value(&mut self) -> Option<&'text str> {
        let bytes = self.text.as_bytes();
        let end = match bytes.first()? {
            b'}' | b']' => return None,
            b'"' => string_end(bytes, 0)?,
            b'{' | b'[' => nested_end(bytes)?,
            _ => bytes.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b':')).unwrap_or(bytes.len()),
        };
        let (value, rest) = self.text.split_at_checked(end.max(1))?;
        self.text = rest;
        Some(value)
    }
}

/// The index behind the string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The index behind the object or list at the start.
fn nested_end(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = r#"{"a":{"b":{"c":"deep"},"list":[1,"two",{"x":true}]},"a.b":"flat","bytes":{"$bytes":"aGk="},"$$k":null,"nan":{"$double":"NaN"},"quote":"say \"hi\"\n","ratio":0.5}"#;

    #[test]
    fn finds_flat_keys_before_nested_paths() {
        assert_eq!(find(SET, "a.b"), Some(JsonValue::Text("flat".into())));
        assert_eq!(find(SET, "a.b.c"), Some(JsonValue::Text("deep".into())));
        assert_eq!(find(SET, "a.list"), Some(JsonValue::List(r#"[1,"two",{"x":true}]"#)));
        assert_eq!(find(SET, "$k"), Some(JsonValue::Null));
        assert_eq!(find(SET, "quote"), Some(JsonValue::Text("say \"hi\"\n".into())));
        assert_eq!(find(SET, "bytes"), Some(JsonValue::Bytes("aGk=")));
        assert_eq!(find(SET, "nan"), Some(JsonValue::Number("NaN")));
        assert_eq!(find(SET, "ratio"), Some(JsonValue::Number("0.5")));
        assert_eq!(find(SET, "missing"), None);
    }

    #[test]
    fn visits_every_leaf_once() {
        let mut leaves = Vec::new();
        any_leaf(SET, &mut |leaf| {
            leaves.push(leaf.text().into_owned());
            false
        });
        assert_eq!(leaves, ["deep", "1", "two", "true", "flat", "aGk=", "", "NaN", "say \"hi\"\n", "0.5"]);
    }

    #[test]
    fn broken_text_reads_as_nothing() {
        for text in ["", "{", "{\"a", "{\"a\":", "{\"a\":\"\\", "{]", "[[[", "}{", "{\"a\"}", "\"x", "é", "{é:1}"] {
            assert_eq!(find(text, "b"), None, "{text:?}");
            any_leaf(text, &mut |_| false);
        }
    }
}
