use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use serde_json::{Value, json};
use trivium_model::{SignalKind, TimeRange, UnixNanos};

use super::reader::{Page, trace_json};
use super::search::{Answer, TraceQuery, search};
use crate::error::Error;
use crate::log_search::compile_for_spans;
use crate::lookup::{Deadline, Snapshots};
use crate::testing::{Fixture, NOW, SECOND, from_json, ids, integers, rows, text, times, trace_id};

fn at(seconds: i64) -> i64 {
    NOW + seconds * SECOND
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Four traces of one span each, a second apart; the third failed with an exception.
fn spans() -> RecordBatch {
    let exception = json!([{
        "time": 5, "name": "exception", "dropped_attributes_count": 0,
        "attributes": "{\"exception.type\":\"PoolExhausted\"}"
    }]);
    let trace_ids: Vec<String> = (1..=4).map(trace_id).collect();
    let trace_ids: Vec<&str> = trace_ids.iter().map(String::as_str).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", times(&[at(1), at(2), at(3), at(4)])),
        ("duration", integers(&[SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND])),
        ("service_name", text(&["shop", "stock", "stock", "stock"])),
        ("name", text(&["GET /", "reserve", "reserve", "release"])),
        ("status_code", integers(&[0, 0, 2, 0])),
        ("kind", integers(&[2, 3, 3, 5])),
        ("trace_id", ids(16, &trace_ids)),
        ("span_id", ids(8, &["1000000000000001"; 4])),
        ("attributes", text(&["{\"http.route\":\"/\"}", "{}", "{}", "{\"user\":\"u-77\"}"])),
        ("events", from_json(SignalKind::Traces, "events", &[json!([]), json!([]), exception, json!([])])),
    ];
    rows(SignalKind::Traces, columns)
}

fn anything() -> TraceQuery {
    TraceQuery {
        service: None,
        operation: None,
        min_duration: None,
        max_duration: None,
        status: None,
        query: None,
        range: TimeRange { start: UnixNanos(at(0)), end: UnixNanos(at(100)) },
        limit: 10,
    }
}

fn answer(fixture: &Fixture, query: &TraceQuery) -> Answer {
    search(Snapshots::of_source(fixture).of(SignalKind::Traces), query, deadline()).expect("an answer")
}

/// The numbers of the traces that are found in parts and in buffers.
fn found(query: &TraceQuery) -> Vec<u32> {
    let numbers = |fixture: &Fixture| -> Vec<u32> {
        let hits = answer(fixture, query).hits;
        let number = |id: String| (1..10).find(|number| trace_id(*number) == id).expect("one of ours");
        hits.iter().map(|hit| number(hit.trace_id.to_string())).collect()
    };
    let in_part = numbers(&Fixture::default().part(SignalKind::Traces, spans()));
    let buffered = numbers(&Fixture::default().buffer(SignalKind::Traces, spans()));
    assert_eq!(in_part, buffered);
    in_part
}

#[test]
fn traces_are_found_by_what_their_spans_are_like_newest_first() {
    assert_eq!(found(&anything()), [4, 3, 2, 1]);
    assert_eq!(found(&TraceQuery { limit: 2, ..anything() }), [4, 3]);
    assert_eq!(found(&TraceQuery { service: Some("stock".into()), ..anything() }), [4, 3, 2]);
    assert_eq!(found(&TraceQuery { operation: Some("reserve".into()), ..anything() }), [3, 2]);
    assert_eq!(found(&TraceQuery { min_duration: Some(3 * SECOND), ..anything() }), [4, 3]);
    assert_eq!(found(&TraceQuery { max_duration: Some(3 * SECOND), ..anything() }), [3, 2, 1]);
    assert_eq!(found(&TraceQuery { status: Some(2), ..anything() }), [3]);
    let range = TimeRange { start: UnixNanos(at(2)), end: UnixNanos(at(4)) };
    assert_eq!(found(&TraceQuery { range, ..anything() }), [3, 2]);
}

#[test]
fn the_search_language_sees_names_attributes_and_events() {
    for (query, expected) in [
        ("reserve", vec![3, 2]),
        ("PoolExhausted", vec![3]),
        ("user:u-77", vec![4]),
        ("http.route:/", vec![1]),
        ("reserve NOT exception", vec![2]),
        ("service:stock release", vec![4]),
        ("nothing", vec![]),
    ] {
        let query_text = query;
        let query = TraceQuery { query: Some(compile_for_spans(query).expect("a query")), ..anything() };
        assert_eq!(found(&query), expected, "{query_text}");
    }
}

#[test]
fn the_search_language_knows_the_fields_of_a_span() {
    for (query_text, expected) in [
        ("kind:server", vec![1]),
        ("kind:CLIENT", vec![3, 2]),
        ("kind:(server OR consumer)", vec![4, 1]),
        ("-kind:client", vec![4, 1]),
        ("duration:>2s", vec![4, 3]),
        ("duration:>=2000ms duration:<4s", vec![3, 2]),
        ("duration:[1s TO 1.5s]", vec![1]),
        ("duration:3s", vec![3]),
        ("status:error", vec![3]),
        ("status:unset kind:client", vec![2]),
        ("name:reserve", vec![3, 2]),
        ("name:\"GET /\"", vec![1]),
        ("name:re*", vec![4, 3, 2]),
        ("operation:/^rel/", vec![4]),
        ("service:stock status:error", vec![3]),
        ("attributes.kind:server", vec![]),
    ] {
        let query = compile_for_spans(query_text).unwrap_or_else(|error| panic!("{query_text}: {error}"));
        assert_eq!(found(&TraceQuery { query: Some(query), ..anything() }), expected, "{query_text}");
    }
}

#[test]
fn what_a_span_cannot_be_asked_is_explained() {
    for (query, message, hint) in [
        ("kind:sever", "there is no kind \"sever\"", "unspecified, internal, server, client"),
        ("kind:/s.*/", "whole name only", "kind is one of"),
        ("status:>ok", "whole name only", "unset, ok, error"),
        ("reserve status:failed", "there is no status \"failed\"", "unset, ok, error"),
        ("duration:>100", "\"100\" is not a duration with its unit", "duration:>100ms"),
        ("duration:[1s TO soon]", "\"soon\" is not a duration", "duration:[10ms TO 1s]"),
        ("duration:1*", "durations only", "duration:>100ms"),
        ("level:error", "a span has no `severity`", "status:error"),
        ("body.user:x", "a span has no `body.user`", "status:error"),
    ] {
        let error = compile_for_spans(query).expect_err(query);
        assert!(error.message.contains(message) && error.hint.contains(hint), "{query}: {error}");
    }
    assert_eq!(compile_for_spans("reserve status:failed").expect_err("no such status").column, 9);
}

#[test]
fn a_damaged_part_costs_its_own_traces_only() {
    let fixture = Fixture::default().part(SignalKind::Traces, spans()).part(SignalKind::Traces, spans());
    fixture.damage_columns(0);
    let answer = answer(&fixture, &anything());
    assert_eq!(answer.hits.len(), 4);
    assert!(answer.warnings.iter().any(|warning| warning.contains("4 spans of the damaged part")), "{answer:?}");
}

#[test]
fn a_long_trace_is_given_in_pages() {
    let count = 25_usize;
    let trace = trace_id(1);
    let span_ids: Vec<String> = (1..=count).map(|number| format!("{number:016x}")).collect();
    let span_ids: Vec<&str> = span_ids.iter().map(String::as_str).collect();
    let batch = rows(
        SignalKind::Traces,
        vec![
            ("time", times(&(0..25).map(at).collect::<Vec<_>>())),
            ("trace_id", ids(16, &vec![trace.as_str(); count])),
            ("span_id", ids(8, &span_ids)),
        ],
    );
    let fixture = Fixture::default().part(SignalKind::Traces, batch);
    let page = |offset, limit| -> Value {
        let id = trace.parse().expect("a trace ID");
        let json = trace_json(&Snapshots::of_source(&fixture), id, Page { offset, limit }, deadline());
        serde_json::from_str(&json.expect("an answer")).expect("JSON")
    };
    let (mut offset, mut found) = (0, Vec::new());
    loop {
        let answer = page(offset, 10);
        assert_eq!(answer["summary"]["span_count"], 25, "the summary is of the whole trace");
        found.extend(answer["spans"].as_array().expect("a list").iter().map(|span| span["span_id"].clone()));
        let Some(next) = answer["next"].as_u64() else { break };
        offset = usize::try_from(next).expect("an offset");
    }
    assert_eq!(found, span_ids);
    assert_eq!(page(1_000, 10)["spans"], json!([]));
}

#[test]
fn an_unknown_trace_is_not_found() {
    let id = trace_id(77).parse().expect("a trace ID");
    let page = Page { offset: 0, limit: 10 };
    let fixture = Fixture::default().part(SignalKind::Traces, spans());
    let answer = trace_json(&Snapshots::of_source(&fixture), id, page, deadline());
    assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
}
