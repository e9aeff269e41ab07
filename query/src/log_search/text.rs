//! Tests of one text: phrases of tokens, tokens with wildcards, plain substrings, regular expressions.

use memchr::memmem;
use regex::Regex;
use trivium_storage::tokens::{for_each_token, tokens};

use super::ast::{Pattern, Piece, TextTest};
use super::caseless::CaselessFinder;
use super::syntax_error::SyntaxError;
use super::term::build_regex;
use super::tokenize::{is_token_char, lower};

/// A compiled [`TextTest`].
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a query has a handful of them, and the large one is the common one")]
pub(super) enum TextMatcher {
    Phrase(Phrase),
    Tokens(TokenSequence),
    /// Text without a token, as it stands.
    Substring(memmem::Finder<'static>),
    Regex(Regex),
}

impl TextMatcher {
    pub(super) fn compile(test: &TextTest) -> Result<Self, SyntaxError> {
        Ok(match test {
            TextTest::Phrase(text) => match Phrase::new(text) {
                Some(phrase) => Self::Phrase(phrase),
                None => Self::Substring(memmem::Finder::new(text.trim()).into_owned()),
            },
            TextTest::Pattern(pattern) => Self::Tokens(TokenSequence::new(pattern)?),
            TextTest::Regex(regex) => Self::Regex(regex.regex.clone()),
        })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Phrase(phrase) => phrase.matches(text),
            Self::Tokens(tokens) => tokens.matches(text),
            Self::Substring(finder) => finder.find(text.as_bytes()).is_some(),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// `false` when no value within the canonical JSON text can match. Tokens stand there verbatim, because JSON escapes
    /// none of their characters.
    pub(super) fn may_match_in_json(&self, json: &str) -> bool {
        match self {
            Self::Phrase(phrase) => phrase.may_match(json),
            Self::Tokens(tokens) => tokens.may_match(json),
            Self::Substring(_) | Self::Regex(_) => true,
        }
    }
}

/// Consecutive tokens.
#[derive(Clone, Debug)]
pub(super) struct Phrase {
    /// In lower case, never empty.
    tokens: Vec<String>,
    /// The token that is searched first: the longest.
    anchor: usize,
    /// `None` when the anchor is not ASCII: then no ASCII text matches.
    finder: Option<CaselessFinder>,
}

impl Phrase {
    fn new(text: &str) -> Option<Self> {
        let tokens = tokens(text);
        let anchor = (0..tokens.len()).max_by_key(|&index| tokens.get(index).map(String::len))?;
        let finder = tokens.get(anchor).and_then(|token| CaselessFinder::new(token));
        Some(Self { tokens, anchor, finder })
    }

    fn matches(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return self.may_match(text) && self.matches_tokens(text);
        }
        let Some(finder) = &self.finder else { return false };
        let text = text.as_bytes();
        finder.find(text, |start| self.matches_around(text, start, start + finder.len())).is_some()
    }

    fn may_match(&self, text: &str) -> bool {
        match &self.finder {
            Some(finder) => finder.is_in(text.as_bytes()) || (finder.has_other_forms() && !text.is_ascii()),
            None => !text.is_ascii(),
        }
    }

    /// Whether the anchor at `start..end` is a whole token with the other tokens beside it, in ASCII text.
    fn matches_around(&self, text: &[u8], start: usize, end: usize) -> bool {
        let (before, after) = (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
        if before.last().copied().is_some_and(is_token_byte) || after.first().copied().is_some_and(is_token_byte) {
            return false;
        }
        let left = self.tokens.get(..self.anchor).unwrap_or_default();
        let right = self.tokens.get(self.anchor + 1..).unwrap_or_default();
        let mut before = before;
        let mut after = after;
        left.iter().rev().all(|token| take_token_back(&mut before, token))
            && right.iter().all(|token| take_token(&mut after, token))
    }

    fn matches_tokens(&self, text: &str) -> bool {
        tokens(text).windows(self.tokens.len()).any(|window| window == self.tokens)
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn take_token(text: &mut &[u8], token: &str) -> bool {
    let Some(start) = text.iter().position(|&byte| is_token_byte(byte)) else { return false };
    let rest = text.get(start..).unwrap_or_default();
    let end = rest.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(rest.len());
    *text = rest.get(end..).unwrap_or_default();
    rest.get(..end).is_some_and(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

fn take_token_back(text: &mut &[u8], token: &str) -> bool {
    let Some(last) = text.iter().rposition(|&byte| is_token_byte(byte)) else { return false };
    let rest = text.get(..=last).unwrap_or_default();
    let start = rest.iter().rposition(|&byte| !is_token_byte(byte)).map_or(0, |separator| separator + 1);
    *text = rest.get(..start).unwrap_or_default();
    rest.get(start..).is_some_and(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

/// Consecutive tokens, some with wildcards. A wildcard stays within its token.
#[derive(Clone, Debug)]
pub(super) struct TokenSequence {
    tokens: Vec<TokenTest>,
    /// The longest literal within one token.
    finder: Option<CaselessFinder>,
}

#[derive(Clone, Debug)]
enum TokenTest {
    Any,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Pattern(Regex),
}

impl TokenTest {
    fn matches(&self, token: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => token == text,
            Self::Prefix(text) => token.starts_with(text.as_str()),
            Self::Suffix(text) => token.ends_with(text.as_str()),
            Self::Contains(text) => token.contains(text.as_str()),
            Self::Pattern(regex) => regex.is_match(token),
        }
    }

    fn compile(pieces: &[Piece]) -> Result<Self, SyntaxError> {
        Ok(match pieces {
            [Piece::AnyRun] => Self::Any,
            [Piece::Literal(text)] => Self::Exact(text.clone()),
            [Piece::Literal(text), Piece::AnyRun] => Self::Prefix(text.clone()),
            [Piece::AnyRun, Piece::Literal(text)] => Self::Suffix(text.clone()),
            [Piece::AnyRun, Piece::Literal(text), Piece::AnyRun] => Self::Contains(text.clone()),
            pieces => Self::Pattern(whole_regex(pieces)?),
        })
    }
}

impl TokenSequence {
    fn new(pattern: &Pattern) -> Result<Self, SyntaxError> {
        let tokens = token_patterns(pattern);
        let longest = tokens
            .iter()
            .flatten()
            .filter_map(|piece| match piece {
                Piece::Literal(text) if text.is_ascii() => Some(text.as_str()),
                _ => None,
            })
            .max_by_key(|text| text.len());
        let finder = longest.and_then(CaselessFinder::new);
        let tokens = tokens.iter().map(|pieces| TokenTest::compile(pieces)).collect::<Result<_, _>>()?;
        Ok(Self { tokens, finder })
    }

    fn may_match(&self, text: &str) -> bool {
        let Some(finder) = &self.finder else { return true };
        finder.is_in(text.as_bytes()) || (finder.has_other_forms() && !text.is_ascii())
    }

    fn matches(&self, text: &str) -> bool {
        if !self.may_match(text) {
            return false;
        }
        if let [only] = self.tokens.as_slice() {
            let mut found = false;
            for_each_token(text, &mut String::new(), |token| found = found || only.matches(token.text));
            return found;
        }
        let found = tokens(text);
        let matches = |window: &[String]| window.iter().zip(&self.tokens).all(|(token, test)| test.matches(token));
        !self.tokens.is_empty() && found.windows(self.tokens.len()).any(matches)
    }
}

/// The pieces of a pattern, token by token, literals in lower case: `foo-b*r` is `foo`, then `b*r`.
pub(super) fn token_patterns(pattern: &Pattern) -> Vec<Vec<Piece>> {
    let mut tokens: Vec<Vec<Piece>> = Vec::new();
    let mut open = false;
    let mut push = |open: &mut bool, piece: Piece| {
        match tokens.last_mut().filter(|_| *open) {
            Some(token) => token.push(piece),
            None => tokens.push(vec![piece]),
        }
        *open = true;
    };
    for piece in &pattern.0 {
        let Piece::Literal(text) = piece else {
            push(&mut open, piece.clone());
            continue;
        };
        for run in split_runs(text) {
            if run.starts_with(is_token_char) {
                push(&mut open, Piece::Literal(lower(run)));
            } else {
                open = false;
            }
        }
    }
    tokens
}

/// The text cut into runs of token characters and runs of others.
fn split_runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let inside = is_token_char(rest.chars().next()?);
        let end = rest.find(|char| is_token_char(char) != inside).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

/// A regular expression for a whole text, ASCII letters in any case. Not that of Unicode, whose folding knows forms that
/// the tokenizer does not (`ſ` is an `s`).
pub(super) fn whole_regex(pieces: &[Piece]) -> Result<Regex, SyntaxError> {
    let mut source = String::from(r"(?s)\A(?:");
    for piece in pieces {
        match piece {
            Piece::Literal(text) => push_literal(&mut source, text),
            Piece::AnyRun => source.push_str(".*"),
            Piece::AnyOne => source.push('.'),
        }
    }
    source.push_str(r")\z");
    build_regex(&source, false).map_err(|reason| {
        let written = Pattern(pieces.to_vec()).to_string();
        SyntaxError::new(&written, 0, format!("the wildcard pattern {reason}"), "use a shorter text or fewer wildcards")
    })
}

fn push_literal(source: &mut String, text: &str) {
    for char in text.chars() {
        if char.is_ascii_alphabetic() {
            source.extend(['[', char.to_ascii_lowercase(), char.to_ascii_uppercase(), ']']);
        } else {
            source.push_str(&regex::escape(char.encode_utf8(&mut [0; 4])));
        }
    }
}
