use std::collections::HashSet;

use arrow::buffer::BooleanBuffer;
use proptest::prelude::*;
use trivium_storage::TokenFilter;
use trivium_storage::attributes::entries;
use trivium_storage::tokens::{filter_for_phrase, tokens};

use super::super::fixture::{LogRow, batch, rows_of_json_lines};
use super::super::{Evaluation, compile, compile_text};

/// What the indexes hold of a record.
fn indexed(row: &LogRow) -> HashSet<String> {
    let mut found: HashSet<String> = HashSet::new();
    let texts = [&row.body, &row.event_name, &row.severity_text, &row.trace_id, &row.span_id];
    found.extend(texts.into_iter().flatten().flat_map(|text| tokens(text)));
    if let Some(attributes) = &row.attributes {
        found.extend(entries(attributes.get()).flat_map(|(_, value)| tokens(&value.text())));
    }
    found
}

/// Whether an index would name the record.
fn passes(filter: &TokenFilter, indexed: &HashSet<String>) -> bool {
    match filter {
        TokenFilter::All => true,
        TokenFilter::Token(token) => indexed.contains(token),
        TokenFilter::Prefix(prefix) => indexed.iter().any(|token| token.starts_with(prefix)),
        TokenFilter::And(filters) => filters.iter().all(|filter| passes(filter, indexed)),
        TokenFilter::Or(filters) => filters.iter().any(|filter| passes(filter, indexed)),
    }
}

fn matching(query: &str, rows: &[LogRow]) -> BooleanBuffer {
    let query = compile(query).unwrap_or_else(|error| panic!("{error}"));
    Evaluation::new(&query).matching(&batch(rows)).expect("all columns are there")
}

fn check_superset(query: &str, rows: &[LogRow]) {
    let filter = compile(query).unwrap_or_else(|error| panic!("{error}")).token_filter().clone();
    for row in matching(query, rows).set_indices() {
        assert!(passes(&filter, &indexed(&rows[row])), "{query} matches {:?}, but {filter:?} does not", rows[row]);
    }
}

#[test]
fn filters_say_what_the_indexes_can_answer() {
    let token = |text: &str| TokenFilter::Token(text.to_owned());
    for (query, filter) in [
        ("", TokenFilter::All),
        ("Timeout", token("timeout")),
        ("card declined", TokenFilter::And(vec![token("card"), token("declined")])),
        ("a (b c)", TokenFilter::And(vec![token("a"), token("b"), token("c")])),
        ("card OR timeout", TokenFilter::Or(vec![token("card"), token("timeout")])),
        ("card OR NOT timeout", TokenFilter::All),
        ("card -timeout", token("card")),
        ("service:cart", TokenFilter::All),
        ("service:cart card", token("card")),
        ("trace_id:4BF92F3577b34da6a3ce929d0e0e4736", token("4bf92f3577b34da6a3ce929d0e0e4736")),
        ("trace_id:nonsense", TokenFilter::Or(vec![])),
        ("attributes.user.id:u-42", TokenFilter::And(vec![token("42"), token("u")])),
        ("attributes.code:500", token("500")),
        ("attributes.code:5e2", TokenFilter::All),
        ("attributes.code:007", TokenFilter::All),
        ("attributes.path:/api/v1/x*", TokenFilter::And(vec![token("api"), token("v1")])),
        ("user.id:u-42", TokenFilter::All),
        ("order-481*", TokenFilter::And(vec![token("order"), TokenFilter::Prefix("481".into())])),
        ("conn?ct*", TokenFilter::Prefix("conn".into())),
        ("*pool*", TokenFilter::All),
        ("/timeout after \\d+ ms of/", TokenFilter::And(vec![token("after"), token("ms")])),
        ("/(x after y|z before w)/", TokenFilter::Or(vec![token("after"), token("before")])),
        ("/timeout/", TokenFilter::All),
        ("/ after (x)* /i", TokenFilter::All),
        ("\"->\"", TokenFilter::All),
    ] {
        assert_eq!(compile(query).expect(query).token_filter(), &filter, "{query}");
    }
}

#[test]
fn every_scripted_match_passes_its_filter() {
    let rows = rows_of_json_lines(include_str!("testdata/records.jsonl"));
    let cases = include_str!("testdata/cases.txt").lines().filter_map(|line| line.split_once(" =>"));
    for (query, _) in cases.filter(|(query, _)| !query.starts_with('#') && !query.starts_with("to all")) {
        check_superset(query, &rows);
    }
}

const WORDS: &[&str] = &[
    "card",
    "Declined",
    "connPool",
    "pool",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    "order-10234",
    "42",
    "K\u{212a}elvin",
    "İstanbul",
    "straße",
    "ΣΊΣΥΦΟΣ",
    "a_b",
    "x.y",
    "12345",
    "500",
    "500.0",
    "—",
    "\"quoted\"",
    "tab\there",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![proptest::sample::select(WORDS).prop_map(str::to_owned), "[a-cK\u{212a}é0-9_ .-]{1,6}"]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), 0..5).prop_map(|words| words.join(" "))
}

fn row() -> impl Strategy<Value = LogRow> {
    (text(), text(), text(), proptest::sample::select(WORDS)).prop_map(|(body, attribute, nested, event)| {
        let attributes = serde_json::json!({ "k": attribute, "n": { "m": [nested, 500] } }).to_string();
        LogRow {
            event_name: Some(event.to_owned()),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
            attributes: serde_json::value::RawValue::from_string(attributes).ok(),
            ..LogRow::new(1, 1, &body)
        }
    })
}

/// A term made from what the rows contain, so that many match.
fn term() -> impl Strategy<Value = String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    prop_oneof![
        text().prop_map(move |text| format!("\"{}\"", quoted(&text))),
        text().prop_map(move |text| format!("attributes.k:\"{}\"", quoted(&text))),
        text().prop_map(move |text| format!("attributes.n.m:\"{}\"", quoted(&text))),
        word().prop_map(move |text| format!("event:\"{}\"", quoted(&text))),
        "[a-cp0-9é]{1,3}".prop_map(|text| format!("{text}*")),
        "[a-cp0-9é]{1,3}".prop_map(|text| format!("body:*{text}")),
        "[a-co ]{1,4}".prop_map(|text| format!("/{text}.* ?[a-z]/")),
        "[a-co ]{1,4}".prop_map(|text| format!("body:/{text}/i")),
        Just("trace_id:4BF92F3577B34DA6A3CE929D0E0E4736".to_owned()),
    ]
}

fn query() -> impl Strategy<Value = String> {
    let leaf = (term(), any::<bool>()).prop_map(|(term, negated)| if negated { format!("NOT {term}") } else { term });
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|children| format!("({})", children.join(" "))),
            proptest::collection::vec(inner, 1..4).prop_map(|children| format!("({})", children.join(" OR "))),
        ]
    })
}

/// The phrase rule in its simplest form.
fn phrase_by_definition(phrase: &str, text: &str) -> bool {
    let (phrase, text) = (tokens(phrase), tokens(text));
    text.windows(phrase.len().max(1)).any(|window| window == phrase)
}

proptest! {
    #[test]
    fn rows_that_match_are_never_pruned(query in query(), rows in proptest::collection::vec(row(), 1..6)) {
        check_superset(&query, &rows);
    }

    #[test]
    fn phrases_follow_their_definition(phrase in text(), text in text()) {
        prop_assume!(filter_for_phrase(&phrase) != TokenFilter::All);
        let query = format!("\"{}\"", phrase.replace('\\', "\\\\").replace('"', "\\\""));
        let compiled = compile_text(&query).unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(compiled.matches_text(&text), phrase_by_definition(&phrase, &text), "{} in {}", phrase, text);
    }
}
