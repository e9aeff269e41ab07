//! From a search to what the indexes can answer: a [`TokenFilter`] that keeps every row that can match.
//!
//! The indexes of a logs part hold the tokens of bodies, attribute values, event names and severity texts, and trace and
//! span IDs in hexadecimal. Whatever else a test looks at (resource, severity number, service) is decided on the rows.
//! Attribute values other than strings are indexed as their JSON text, in which a control character is an escape whose
//! letters join the token behind it: values with control characters are not looked up.

use regex_syntax::hir::{Hir, HirKind};
use trivium_storage::TokenFilter;
use trivium_storage::tokens::{filter_for_phrase, is_id_token};

use super::ast::{FieldTest, Node, Pattern, Piece, RegexTest, TextTest};
use super::field::Field;
use super::json_text;
use super::span_field::SpanField;
use super::text::token_patterns;
use super::tokenize::is_token_char;
use super::value::{Number, ValueTest};

/// A superset of the rows that match, among rows whose resources are all in `resources`; `None` when they are not known.
pub(super) fn token_filter(node: &Node, resources: Option<&[String]>) -> TokenFilter {
    match node {
        Node::All | Node::Not(_) => TokenFilter::All,
        Node::Text { test, .. } => of_text(test),
        Node::Field { field, test } => of_field(field, test, resources),
        Node::And(children) => all_of(children.iter().map(|child| token_filter(child, resources))),
        Node::Or(children) => any_of(children.iter().map(|child| token_filter(child, resources))),
    }
}

/// Whether the search has a test that is pruned better when the resources are known.
pub(super) fn depends_on_resources(node: &Node) -> bool {
    match node {
        Node::All | Node::Not(_) | Node::Text { .. } => false,
        Node::Field { field, .. } => matches!(field, Field::Attribute(_) | Field::ResourceAttribute(_)),
        Node::And(children) | Node::Or(children) => children.iter().any(depends_on_resources),
    }
}

fn of_text(test: &TextTest) -> TokenFilter {
    match test {
        TextTest::Phrase(text) => filter_for_phrase(text),
        TextTest::Pattern(pattern) => of_token_pattern(pattern),
        TextTest::Regex(regex) => of_regex(regex),
    }
}

fn of_field(field: &Field, test: &FieldTest, resources: Option<&[String]>) -> TokenFilter {
    match (field, test) {
        (Field::Attribute(key), test) if !may_match_resource(key, test, resources) => {
            of_field(&Field::RecordAttribute(key.clone()), test, None)
        }
        (Field::ResourceAttribute(key), test) if !may_match_resource(key, test, resources) => {
            TokenFilter::Or(Vec::new())
        }
        (Field::TraceId, FieldTest::Equals(id)) => of_id(id, 32),
        (Field::SpanId, FieldTest::Equals(id)) => of_id(id, 16),
        (Field::EventName | Field::SeverityText | Field::Span(SpanField::Name), FieldTest::Equals(text)) => {
            filter_for_phrase(text)
        }
        (Field::RecordAttribute(_) | Field::BodyPath(_), FieldTest::Equals(text)) => of_value(text),
        (Field::EventName | Field::SeverityText | Field::RecordAttribute(_), FieldTest::Pattern(pattern)) => {
            of_value_pattern(pattern)
        }
        _ => TokenFilter::All,
    }
}

fn may_match_resource(key: &str, test: &FieldTest, resources: Option<&[String]>) -> bool {
    let (Some(resources), Ok(test)) = (resources, ValueTest::compile(test)) else { return true };
    resources.iter().any(|resource| json_text::find(resource, key).is_some_and(|value| test.matches_json(&value)))
}

fn of_id(id: &str, digits: usize) -> TokenFilter {
    let valid = id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !valid {
        return TokenFilter::Or(Vec::new());
    }
    // An ID of letters only would be a word to the tokenizer, and the column's IDs are not in the text index.
    let token = id.to_ascii_lowercase();
    if is_id_token(&token) { TokenFilter::Token(token) } else { TokenFilter::All }
}

/// A value that is equal to a number may be written in other digits: `5e2` is 500.
fn of_value(text: &str) -> TokenFilter {
    if text.contains(char::is_control) {
        return TokenFilter::All;
    }
    match Number::parse(text) {
        None => filter_for_phrase(text),
        Some(Number::Int(number)) if number.to_string() == text && number.unsigned_abs() < 1_000_000_000_000_000 => {
            filter_for_phrase(text)
        }
        Some(_) => TokenFilter::All,
    }
}

/// Whole values: only tokens with a separator or the end of the value on both sides are known whole.
fn of_value_pattern(pattern: &Pattern) -> TokenFilter {
    let last = pattern.0.len().saturating_sub(1);
    let has_control = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains(char::is_control));
    if pattern.0.iter().any(has_control) {
        return TokenFilter::All;
    }
    all_of(pattern.0.iter().enumerate().map(|(index, piece)| match piece {
        Piece::Literal(text) => inner_tokens(text, index == 0, index == last),
        Piece::AnyRun | Piece::AnyOne => TokenFilter::All,
    }))
}

/// The tokens that are whole in every text that contains `text`: those at an end only if the end is a known boundary.
fn inner_tokens(text: &str, whole_start: bool, whole_end: bool) -> TokenFilter {
    let start = if whole_start { 0 } else { text.find(|char| !is_token_char(char)).unwrap_or(text.len()) };
    let rest = text.get(start..).unwrap_or_default();
    let end = if whole_end { rest.len() } else { rest.rfind(|char| !is_token_char(char)).unwrap_or(0) };
    filter_for_phrase(rest.get(..end).unwrap_or_default())
}

fn of_token_pattern(pattern: &Pattern) -> TokenFilter {
    all_of(token_patterns(pattern).into_iter().map(|pieces| match pieces.as_slice() {
        [Piece::Literal(token)] => TokenFilter::Token(token.clone()),
        [Piece::Literal(prefix), ..] => TokenFilter::Prefix(prefix.clone()),
        _ => TokenFilter::All,
    }))
}

/// What a regular expression needs in every match: the whole tokens within its literals.
fn of_regex(regex: &RegexTest) -> TokenFilter {
    let parsed = regex_syntax::ParserBuilder::new().nest_limit(64).build().parse(&regex.source);
    // Folding of case is that of Unicode, which knows more forms than the tokenizer's lower case.
    match parsed {
        Ok(hir) if !regex.ignore_case => of_hir(&hir),
        _ => TokenFilter::All,
    }
}

fn of_hir(hir: &Hir) -> TokenFilter {
    match hir.kind() {
        HirKind::Literal(literal) => of_literal(&literal.0),
        HirKind::Capture(capture) => of_hir(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => of_hir(&repetition.sub),
        HirKind::Alternation(children) => any_of(children.iter().map(of_hir)),
        HirKind::Concat(children) => all_of(children.iter().map(of_hir)),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) => TokenFilter::All,
    }
}

fn of_literal(bytes: &[u8]) -> TokenFilter {
    std::str::from_utf8(bytes).map_or(TokenFilter::All, |text| inner_tokens(text, false, false))
}

fn all_of(filters: impl Iterator<Item = TokenFilter>) -> TokenFilter {
    let mut all = Vec::new();
    for filter in filters {
        match filter {
            TokenFilter::All => {}
            TokenFilter::And(children) => all.extend(children),
            other => all.push(other),
        }
    }
    match (all.len(), all.pop()) {
        (_, None) => TokenFilter::All,
        (1, Some(only)) => only,
        (_, Some(last)) => {
            all.push(last);
            TokenFilter::And(all)
        }
    }
}

fn any_of(filters: impl Iterator<Item = TokenFilter>) -> TokenFilter {
    let mut any = Vec::new();
    for filter in filters {
        match filter {
            TokenFilter::All => return TokenFilter::All,
            TokenFilter::Or(children) => any.extend(children),
            other => any.push(other),
        }
    }
    TokenFilter::Or(any)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
