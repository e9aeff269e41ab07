//! From a log line to the words that make its pattern; what varies from line to line is masked.

use serde::{Deserialize, Serialize};

/// What stands for a part that varies.
pub(crate) const WILDCARD: &str = "<*>";

/// A word or a mark. Lines that differ in white space only are of one pattern, which looks like the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Word<T> {
    /// [`WILDCARD`] when it varies.
    pub(crate) text: T,
    /// Whether white space stands before it.
    pub(crate) is_spaced: bool,
}

/// The words as text.
pub(crate) fn join<T: AsRef<str>>(words: &[Word<T>]) -> String {
    let mut text = String::new();
    for word in words {
        if word.is_spaced && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word.text.as_ref());
    }
    text
}

/// Splits a line into at most `limit` words and marks, masked. What follows is not looked at: the pattern is in the head
/// of a line, lists and stack traces are behind it.
pub(crate) fn words(text: &str, limit: usize) -> Vec<Word<&str>> {
    let mut words: Vec<Word<&str>> = Vec::with_capacity(limit.min(64));
    let mut rest = text;
    while words.len() < limit {
        let begins = rest.trim_start();
        let is_spaced = begins.len() < rest.len();
        rest = begins;
        let Some(first) = rest.chars().next() else {
            break;
        };
        let length = match first {
            '"' | '\'' | '`' => match quoted(rest, first) {
                Some(length) => {
                    words.push(Word { text: WILDCARD, is_spaced });
                    rest = &rest[length..];
                    continue;
                }
                None => first.len_utf8(),
            },
            first if is_word(first) => rest.find(|next| !is_word(next)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let word = &rest[..length];
        rest = &rest[length..];
        let masked = word.len() > WORD_MAX || varies(word);
        // A list of numbers is one wildcard, however long.
        if masked && words.last().is_some_and(|last| last.text == WILDCARD) {
            continue;
        }
        words.push(Word { text: if masked { WILDCARD } else { word }, is_spaced });
    }
    words
}

/// The most bytes between two quotes that count as a quoted string.
const QUOTED_MAX: usize = 200;

/// Longer words are encoded data.
const WORD_MAX: usize = 96;

fn quoted(text: &str, quote: char) -> Option<usize> {
    let end = text[1..].find(quote)?;
    (end <= QUOTED_MAX && !text[1..=end].contains('\n')).then_some(end + 2)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '#' | '$' | '@' | '/' | '%' | '+')
}

/// Numbers, times, hexadecimal, UUIDs, addresses.
fn varies(word: &str) -> bool {
    let core = word.trim_matches(|edge: char| !edge.is_alphanumeric());
    let mut digits = 0;
    let mut letters = 0;
    let mut foreign = 0;
    for character in core.chars() {
        match character {
            '0'..='9' => digits += 1,
            'a'..='f' | 'A'..='F' => letters += 1,
            '-' | '.' | ':' | '_' | '+' | '/' | '%' => {}
            _ => foreign += 1,
        }
    }
    let hexadecimal = foreign == 0 && digits + letters >= 8 && digits > 0;
    let number = digits > 0 && letters + foreign == 0;
    // `12ms`, `3.5GB`, `0x1f`: a number with its unit.
    let starts_with_digit = core.starts_with(|first: char| first.is_ascii_digit());
    let measured = starts_with_digit && letters + foreign <= 3 && digits > 0;
    hexadecimal || number || measured
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, limit: usize) -> Vec<&str> {
        words(text, limit).into_iter().map(|word| word.text).collect()
    }

    fn masked(text: &str) -> String {
        texts(text, 64).join(" ")
    }

    #[test]
    fn what_varies_is_masked() {
        assert_eq!(masked("took 12ms for 10.0.0.1:8080 id 4bf92f3577b34da6"), "took <*> for <*> : <*> id <*>");
        assert_eq!(masked("user 'bob' paid \"12 EUR\""), "user <*> paid <*>");
        assert_eq!(masked("0b23bd3e-876a-4af3-b920-c50a90c90b04 deadbeef"), "<*> deadbeef");
        assert_eq!(masked("t.c.Travel2Controller#115 [query]"), "t.c.Travel2Controller#115 [ query ]");
        assert_eq!(masked("2023-01-29 16:42:09.486 INFO don't"), "<*> : <*> : <*> INFO don ' t");
        assert_eq!(masked("1 2 3 4"), "<*>");
        assert_eq!(masked(&format!("token {}", "xyz".repeat(50))), "token <*>");
        assert_eq!(texts("a b c d", 2), ["a", "b"]);
    }

    /// Patterns were shown as `exhausted:waited <*>`, which no line says.
    #[test]
    fn a_pattern_looks_like_its_lines() {
        for (line, pattern) in [
            ("pool exhausted: waited 5000ms for payments-db", "pool exhausted: waited <*> for payments-db"),
            ("  GET /cart (3 items), user='bob'", "GET /cart (<*> items), user=<*>"),
            ("at 16:42:09 [1, 2] a -> b\n\tc", "at <*>:<*>:<*> [<*>, <*>] a -> b c"),
            ("", ""),
        ] {
            assert_eq!(join(&words(line, 64)), pattern);
        }
    }
}
