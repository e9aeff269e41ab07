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
