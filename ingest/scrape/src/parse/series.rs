//! The text of a series: `name{label="value"}` or `{"any name", "any label"="value"}`.

use trivium_model::limit;

use crate::labels::LabelBuilder;

/// Where the series at the beginning of a line ends.
pub(crate) fn end(line: &str) -> Result<usize, String> {
    let bytes = line.as_bytes();
    let name_end = bytes.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t')).unwrap_or(bytes.len());
    // A space may stand between the name and its labels.
    let brace =
        bytes[name_end..].iter().position(|byte| !matches!(byte, b' ' | b'\t')).map_or(bytes.len(), |at| name_end + at);
    if bytes.get(brace) == Some(&b'{') { Ok(brace + braces_end(&bytes[brace..])?) } else { Ok(name_end) }
}

/// Where the labels that begin with a brace end, behind the closing one.
pub(crate) fn braces_end(bytes: &[u8]) -> Result<usize, String> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Ok(at + 1),
            _ => {}
        }
    }
    Err(if quoted { "a quoted text is not closed".into() } else { "the labels are not closed by }".into() })
}

/// All labels of a series, `__name__` first.
pub(crate) fn labels(series: &str) -> Result<LabelBuilder, String> {
    let mut labels = LabelBuilder::default();
    let (name, rest) = series.split_at(series.find('{').unwrap_or(series.len()));
    let name = name.trim_end();
    if !name.is_empty() {
        if !is_name(name, true) {
            return Err(format!("{name:?} is not a metric name"));
        }
        labels.set("__name__", name);
    }
    let mut cursor = Cursor(rest);
    if cursor.take('{') {
        pairs(&mut cursor, &mut labels)?;
    }
    if !cursor.0.is_empty() {
        return Err(format!("{:?} follows the labels", shorten(cursor.0)));
    }
    if labels.get("__name__").is_empty() { Err("a series without a name".into()) } else { Ok(labels) }
}

/// The labels of an exemplar: `{trace_id="…"}`.
pub(crate) fn exemplar_labels(text: &str) -> Result<LabelBuilder, String> {
    let mut labels = LabelBuilder::default();
    let mut cursor = Cursor(text);
    if !cursor.take('{') {
        return Err("an exemplar without labels".into());
    }
    pairs(&mut cursor, &mut labels)?;
    Ok(labels)
}

fn pairs(cursor: &mut Cursor<'_>, labels: &mut LabelBuilder) -> Result<(), String> {
    for _ in 0..=limit::ATTRIBUTES_MAX {
        if cursor.take('}') {
            return Ok(());
        }
        let (name, is_quoted) = cursor.label_name()?;
        let (name, value) = if cursor.take('=') {
            (name, cursor.quoted()?)
        } else if is_quoted {
            ("__name__".to_owned(), name)
        } else {
            return Err(format!("label {name:?} has no value"));
        };
        if !labels.insert_new(&name, value) {
            return Err(format!("label {name:?} appears twice"));
        }
        if !cursor.take(',') && !cursor.0.trim_start().starts_with('}') {
            return Err("a comma is missing between labels".into());
        }
    }
    Err(format!("more than {} labels", limit::ATTRIBUTES_MAX))
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    /// Skips spaces; takes `wanted` if it is next.
    fn take(&mut self, wanted: char) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn label_name(&mut self) -> Result<(String, bool), String> {
        if self.0.trim_start().starts_with('"') {
            let name = self.quoted()?;
            return if name.is_empty() { Err("an empty label name".into()) } else { Ok((name, true)) };
        }
        let end =
            self.0.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        if !is_name(name, false) {
            return Err(format!("{:?} is not a label name", shorten(self.0)));
        }
        self.0 = rest;
        Ok((name.to_owned(), false))
    }

    fn quoted(&mut self) -> Result<String, String> {
        if !self.take('"') {
            return Err(format!("a quoted text is expected at {:?}", shorten(self.0)));
        }
        let mut text = String::new();
        let mut letters = self.0.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    Some('n') => text.push('\n'),
                    Some(letter @ ('"' | '\\')) => text.push(letter),
                    Some(letter) => text.extend(['\\', letter]),
                    None => break,
                },
                letter => text.push(letter),
            }
        }
        Err("a quoted text is not closed".into())
    }
}

/// Whether a name needs no quotes; colons are for metrics only.
pub(crate) fn is_name(name: &str, is_metric: bool) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || (is_metric && byte == b':'))
}

/// Enough of a text for an error message.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
