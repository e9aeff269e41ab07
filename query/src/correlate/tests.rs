use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use serde_json::{Value, json};
use trivium_model::SignalKind;

use super::{Wanted, correlate};
use crate::lookup::{Deadline, Snapshots};
use crate::testing::{Fixture, NOW, SECOND, from_json, ids, integers, rows, text, times, trace_id};

const FIRST: &str = "1000000000000001";
const SECOND_SPAN: &str = "1000000000000002";
const THIRD: &str = "1000000000000003";

fn at(seconds: i64) -> i64 {
    NOW + seconds * SECOND
}

/// Trace 1 bears order-4711 in an attribute of its second span, trace 2 only in an event; trace 3 has nothing of it.
fn spans() -> RecordBatch {
    let (one, two, three) = (trace_id(1), trace_id(2), trace_id(3));
    let exception = json!([{ "time": 5, "name": "exception", "attributes": "{\"exception.message\":\"no stock for order-4711\"}", "dropped_attributes_count": 0 }]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", times(&[at(1), at(2), at(3), at(4)])),
        ("duration", integers(&[SECOND, SECOND, SECOND, SECOND])),
        ("service_name", text(&["shop", "stock", "stock", "idle"])),
        ("name", text(&["GET /", "reserve", "reserve", "sweep"])),
        ("trace_id", ids(16, &[&one, &one, &two, &three])),
        ("span_id", ids(8, &[FIRST, SECOND_SPAN, THIRD, FIRST])),
        ("parent_span_id", ids(8, &["", FIRST, "", ""])),
        (
            "attributes",
            text(&["{}", "{\"order.id\":\"order-4711\",\"request.id\":\"9f8e7d6c5b4a3210ff\"}", "{}", "{}"]),
        ),
        ("events", from_json(SignalKind::Traces, "events", &[json!([]), json!([]), exception, json!([])])),
    ];
    rows(SignalKind::Traces, columns)
}

/// The first belongs to trace 1 and says nothing of the order, the second bears it outside of any trace.
fn logs() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", times(&[at(1), at(0), at(2)])),
        ("service_name", text(&["shop", "mail", "mail"])),
        ("body", text(&["received", "mail for order-4711 was sent", "order-47112 is another one"])),
        ("resource", text(&["{\"k8s.pod.name\":\"shop-7f8d7d756d-k7b9j\"}", "{}", "{}"])),
        ("trace_id", ids(16, &[&trace_id(1), "", ""])),
        ("span_id", ids(8, &[FIRST, "", ""])),
    ];
    rows(SignalKind::Logs, columns)
}

/// One exemplar of trace 2, one of no trace that bears the order.
fn metrics() -> RecordBatch {
    let exemplars = json!([
        { "time": 7, "value": 0.5, "trace_id": trace_id(2), "span_id": THIRD, "attributes": "{}" },
        { "time": 8, "value": 1.5, "attributes": "{\"order\":\"order-4711\"}" },
        { "time": 9, "value": 2.5, "trace_id": trace_id(9), "span_id": THIRD, "attributes": "{}" },
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", times(&[at(5)])),
        ("service_name", text(&["stock"])),
        ("metric_name", text(&["reserve.duration"])),
        ("exemplars", from_json(SignalKind::Metrics, "exemplars", &[exemplars])),
    ];
    rows(SignalKind::Metrics, columns)
}

fn in_parts() -> Fixture {
    Fixture::default()
        .part(SignalKind::Traces, spans())
        .part(SignalKind::Logs, logs())
        .part(SignalKind::Metrics, metrics())
}

fn buffered() -> Fixture {
    Fixture::default()
        .buffer(SignalKind::Traces, spans())
        .buffer(SignalKind::Logs, logs())
        .buffer(SignalKind::Metrics, metrics())
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn story(fixture: &Fixture, id: &str) -> Value {
    let wanted = Wanted::parse(id).expect("an ID");
    let story = correlate(Snapshots::of_source(fixture), wanted, deadline()).expect("an answer");
    let mut output = String::new();
    story.write_open(&mut output).expect("it can be written");
    output.push('}');
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Trace, its spans with `*` where they bear the ID themselves, its log records likewise.
fn told(story: &Value) -> Vec<String> {
    let list = |trace: &Value, key: &str, name: &str| {
        let items = trace[key].as_array().expect("a list").iter();
        let mark = |item: &Value| if item["direct"] == json!(true) { "*" } else { "" };
        items.map(|item| format!("{}{}", item[name].as_str().unwrap_or("?"), mark(item))).collect::<Vec<_>>().join(",")
    };
    let traces = story["traces"].as_array().expect("a list").iter();
    traces
        .map(|trace| {
            let id = trace["trace_id"].as_str().expect("an ID");
            let number = (1..100).find(|number| trace_id(*number) == id).expect("one of ours");
            format!("{number}: {} | {}", list(trace, "spans", "name"), list(trace, "logs", "body"))
        })
        .collect()
}

#[test]
fn a_business_id_finds_every_signal_that_bears_it_and_tells_its_traces_whole() {
    for fixture in [in_parts(), buffered()] {
        let story = story(&fixture, "order-4711");
        assert_eq!(story["kind"], "other");
        assert_eq!(told(&story), ["1: GET /,reserve* | received", "2: reserve* | "]);
        assert_eq!(story["logs"].as_array().map(Vec::len), Some(1), "{story}");
        assert_eq!(story["logs"][0]["body"], "mail for order-4711 was sent");
        let times: Vec<&Value> = story["exemplars"].as_array().expect("a list").iter().map(|e| &e["time"]).collect();
        assert_eq!(times, ["7", "8"], "the one of a told trace and the one that bears the ID");
        assert_eq!(story["counts"], json!({ "logs": 1, "spans": 2, "exemplars": 2, "traces": 2 }));
        assert_eq!(story["partial"], false);
        let follow: Vec<&Value> = story["follow"].as_array().expect("a list").iter().map(|f| &f["value"]).collect();
        assert_eq!(follow, ["9f8e7d6c5b4a3210ff"], "another ID of a span that was found");
    }
}

#[test]
fn a_trace_id_finds_its_spans_logs_and_exemplars_in_every_form() {
    let fixture = in_parts();
    let (one, two) = (trace_id(1), trace_id(2));
    for id in [one.clone(), one.to_uppercase(), format!("00-{one}-{FIRST}-01")] {
        let story = story(&fixture, &id);
        assert_eq!(story["kind"], "trace");
        assert_eq!(told(&story), ["1: GET /*,reserve* | received*"], "{id}");
    }
    let uuid = format!("{}-{}-{}-{}-{}", &two[..8], &two[8..12], &two[12..16], &two[16..20], &two[20..]);
    let story = story(&fixture, &uuid);
    assert_eq!(told(&story), ["2: reserve* | "]);
    assert_eq!(story["exemplars"][0]["time"], "7");
}

#[test]
fn a_span_id_finds_the_traces_in_which_it_occurs() {
    let story = story(&in_parts(), FIRST);
    assert_eq!(story["kind"], "span");
    assert_eq!(told(&story), ["1: GET /*,reserve | received*", "3: sweep* | "]);
}

#[test]
fn a_value_of_a_resource_is_an_id_too() {
    for fixture in [in_parts(), buffered()] {
        assert_eq!(told(&story(&fixture, "shop-7f8d7d756d-k7b9j")), ["1: GET /,reserve | received*"]);
    }
}

#[test]
fn nothing_found_says_what_was_searched_and_what_may_be_wrong() {
    let fixture = in_parts();
    let absent = story(&fixture, "order-9999");
    assert_eq!(absent["counts"], json!({ "logs": 0, "spans": 0, "exemplars": 0, "traces": 0 }));
    assert_eq!(absent["why_nothing"]["searched"], json!({ "logs": 3, "metrics": 1, "spans": 4 }));
    let cut = story(&fixture, &trace_id(1)[..30]);
    let hint = cut["why_nothing"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("30 digits instead of 32"), "{hint}");
}

#[test]
fn more_traces_than_are_told_are_named() {
    let ids_of_traces: Vec<String> = (1..=30).map(trace_id).collect();
    let trace_ids: Vec<&str> = ids_of_traces.iter().map(String::as_str).collect();
    let batch = rows(
        SignalKind::Traces,
        vec![
            ("time", times(&(1..=30).map(at).collect::<Vec<_>>())),
            ("trace_id", ids(16, &trace_ids)),
            ("span_id", ids(8, &[FIRST; 30])),
            ("attributes", text(&["{\"user\":\"u-77\"}"; 30])),
        ],
    );
    let story = story(&Fixture::default().part(SignalKind::Traces, batch), "u-77");
    assert_eq!(told(&story).len(), 20);
    assert_eq!(story["other_traces"].as_array().map(Vec::len), Some(10));
    assert_eq!(story["counts"]["traces"], 30);
    assert_eq!(story["truncated"], true);
}

#[test]
fn a_damaged_part_is_named_and_the_rest_is_told() {
    let fixture = Fixture::default().part(SignalKind::Traces, spans()).part(SignalKind::Logs, logs());
    fixture.damage_columns(1);
    let story = story(&fixture, "order-4711");
    assert_eq!(told(&story), ["1: GET /,reserve* | ", "2: reserve* | "]);
    assert_eq!(story["partial"], true);
    let warning = story["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("3 logs") && warning.contains("trivium verify"), "{warning}");
}

#[test]
fn without_time_the_answer_says_what_was_not_searched() {
    let wanted = Wanted::parse("order-4711").expect("an ID");
    let story = correlate(Snapshots::of_source(&in_parts()), wanted, Deadline::after(Duration::ZERO));
    let mut output = String::new();
    story.expect("an answer").write_open(&mut output).expect("it can be written");
    assert!(output.contains("\"partial\":true") && output.contains("were not searched within"), "{output}");
}
