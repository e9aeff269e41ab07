use std::fmt;

/// Characters of the query shown on either side of the caret.
const EXCERPT_CHARS: usize = 40;

/// A query that cannot be read. Its `Display` is the whole explanation: what is wrong, where, with a caret, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SyntaxError {
    /// Where in the query, in bytes.
    pub offset: usize,
    /// Where in the query, in characters from 1, for people.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
    excerpt: String,
    caret_column: usize,
}

impl SyntaxError {
    pub(crate) fn new(query: &str, offset: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let before = query.get(..offset).unwrap_or(query);
        let after = query.get(offset..).unwrap_or_default();
        let chars_before = before.chars().count();
        let skipped = chars_before.saturating_sub(EXCERPT_CHARS);
        let mut excerpt = String::new();
        if skipped > 0 {
            excerpt.push('…');
        }
        excerpt.extend(before.chars().skip(skipped).map(visible));
        let caret_column = excerpt.chars().count();
        excerpt.extend(after.chars().take(EXCERPT_CHARS).map(visible));
        if after.chars().nth(EXCERPT_CHARS).is_some() {
            excerpt.push('…');
        }
        Self { offset, column: chars_before + 1, message: message.into(), hint: hint.into(), excerpt, caret_column }
    }
}

/// A line break or an escape sequence must not reach a terminal or move the caret.
fn visible(char: char) -> char {
    if char.is_control() { ' ' } else { char }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "cannot read the query at column {}: {}", self.column, self.message)?;
        writeln!(formatter, "  {}", self.excerpt)?;
        writeln!(formatter, "  {:width$}^", "", width = self.caret_column)?;
        write!(formatter, "hint: {}", self.hint)
    }
}
