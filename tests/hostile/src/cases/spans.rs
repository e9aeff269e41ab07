//! S: spans.

use trivium_proto::otlp::trace::v1::span::{Event, Link};
use trivium_proto::otlp::trace::v1::{Span, Status};

use crate::build::{NOW, field, span, spans};
use crate::case::{Case, Door, Expect, Signal, case};

const TRACES: Door = Door::Otlp(Signal::Traces);

fn one(family: &'static str, what: &str, span: Span, expect: Expect) -> Case {
    case(family, what, TRACES, move |service| spans(service, vec![span.clone()]), expect)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = identity();
    cases.extend(times());
    cases.extend(children());
    cases.extend(texts());
    cases
}

fn identity() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for bytes in [0, 15, 17, 1 << 20] {
        let trace_id = vec![1; bytes];
        let expect = Expect::Partial(1, 1, "span has no valid trace ID");
        cases.push(case(
            "S1",
            format!("a trace ID of {bytes} bytes"),
            TRACES,
            move |service| spans(service, vec![Span { trace_id: trace_id.clone(), ..span(1, 1) }, span(1, 2)]),
            expect,
        ));
    }
    cases.push(one("S1", "a trace ID of zeroes", span(0, 1), Expect::Partial(0, 1, "span has no valid trace ID")));
    for bytes in [0, 7, 9] {
        let bad = Span { span_id: vec![1; bytes], ..span(1, 1) };
        cases.push(one(
            "S1",
            &format!("a span ID of {bytes} bytes"),
            bad,
            Expect::Partial(0, 1, "span has no valid span ID"),
        ));
    }
    cases.push(one("S1", "a span ID of zeroes", span(1, 0), Expect::Partial(0, 1, "span has no valid span ID")));
    cases.push(one("S2", "its own parent", Span { parent_span_id: vec![1; 8], ..span(0xa1, 1) }, Expect::Stored(1)));
    cases.push(case(
        "S2",
        "each other's parents",
        TRACES,
        |service| {
            let child = |id, parent| Span { parent_span_id: vec![parent; 8], ..span(0xa2, id) };
            spans(service, vec![child(1, 2), child(2, 1), child(3, 9)])
        },
        Expect::Stored(3),
    ));
    cases.push(case(
        "S2",
        "20,000 spans of a trace, each the parent of the next",
        TRACES,
        |service| {
            let id = |number: u64| (number + 1).to_be_bytes().to_vec();
            let chain = (0..20_000).map(|number| Span {
                span_id: id(number),
                parent_span_id: if number == 0 { Vec::new() } else { id(number - 1) },
                ..span(0xa3, 1)
            });
            spans(service, chain.collect())
        },
        Expect::Stored(20_000),
    ));
    for trace in ["a1", "a2", "a3"] {
        let path = format!("/api/v1/traces/{}", trace.repeat(16));
        cases.push(crate::case::text("S2", Door::Get, path, Expect::Answer(&[200], "hostile")));
        let path = format!("/api/v1/correlate/{}", trace.repeat(16));
        cases.push(crate::case::text("S2", Door::Get, path, Expect::Answer(&[200], "hostile")));
    }
    cases.push(case(
        "S5",
        "the same span twice",
        TRACES,
        |service| spans(service, vec![span(0xa5, 1), span(0xa5, 1)]),
        Expect::Stored(2),
    ));
    cases.push(case(
        "S5",
        "two spans of one ID",
        TRACES,
        |service| spans(service, vec![span(0xa6, 1), Span { name: "other".into(), ..span(0xa6, 1) }]),
        Expect::Stored(2),
    ));
    cases
}

fn times() -> Vec<Case> {
    let at = |start, end| Span { start_time_unix_nano: start, end_time_unix_nano: end, ..span(0xb1, 1) };
    let duration = "SELECT duration FROM spans WHERE service_name = '$service'";
    vec![
        one("S3", "an end before the start", at(NOW, NOW - 5), Expect::Stored(1)).then(duration, r#"[["-5"]]"#),
        one("S3", "no end", at(NOW, 0), Expect::Stored(1)).then(duration, "[[null]]"),
        one("S3", "a duration of more than 63 bits", at(1, u64::MAX), Expect::Stored(1))
            .then(duration, r#"[["9223372036854775807"]]"#),
        one("S3", "no start", at(0, NOW), Expect::Stored(1)),
    ]
}

fn children() -> Vec<Case> {
    let event = |index: u64| Event { time_unix_nano: NOW + index, name: "e".into(), ..Event::default() };
    let link = || Link { trace_id: vec![7; 16], span_id: vec![7; 8], ..Link::default() };
    vec![
        one(
            "S4",
            "10,000 events",
            Span { events: (0..10_000).map(event).collect(), ..span(0xb2, 1) },
            Expect::Altered(1, "truncated", 1),
        )
        .then(
            "SELECT cardinality(events), dropped_events_count FROM spans WHERE service_name = '$service'",
            r#"[["1024",8976]]"#,
        ),
        one(
            "S4",
            "10,000 links",
            Span { links: vec![link(); 10_000], ..span(0xb3, 1) },
            Expect::Altered(1, "truncated", 1),
        ),
        one(
            "S4",
            "an event long before its span and one long after",
            Span {
                events: vec![
                    Event { time_unix_nano: 1, ..Event::default() },
                    Event { time_unix_nano: u64::MAX, ..Event::default() },
                ],
                ..span(0xb4, 1)
            },
            Expect::Stored(1),
        ),
        one(
            "S4",
            "a link to nothing",
            Span { links: vec![Link { trace_id: vec![1; 3], ..Link::default() }], ..span(0xb5, 1) },
            Expect::Altered(1, "bad_id", 1),
        ),
        case(
            "S4",
            "20,000,000 empty events",
            TRACES,
            |service| {
                let ids = [field(1, &[0xb6; 16]), field(2, &[1; 8])].concat();
                crate::build::raw_request(service, &[[ids, [0x5a, 0].repeat(20_000_000)].concat()])
            },
            Expect::Altered(1, "truncated", 1),
        ),
    ]
}

fn texts() -> Vec<Case> {
    let named = |name: &str| Span { name: name.into(), ..span(0xb7, 1) };
    let mut cases = vec![
        one(
            "S6",
            "kind 99, status 7, all flags",
            Span {
                kind: 99,
                flags: u32::MAX,
                status: Some(Status { code: 7, message: String::new() }),
                ..span(0xb8, 1)
            },
            Expect::Stored(1),
        )
        .then("SELECT kind, status_code, flags FROM spans WHERE service_name = '$service'", "[[99,7,4294967295]]"),
        one(
            "S6",
            "a trace state of 8 KiB",
            Span { trace_state: "=,".repeat(4 << 10), ..span(0xb9, 1) },
            Expect::Altered(1, "truncated", 1),
        ),
        one("S7", "a name of 64 KiB", named(&"n".repeat(64 << 10)), Expect::Altered(1, "truncated", 1)),
    ];
    for name in ["", "<img src=x onerror=alert(1)>", "two\nlines", "{{.Exec}}", "'; DROP TABLE spans; --"] {
        let rows = serde_json::json!([[name]]).to_string();
        cases.push(
            one("S7", &format!("a span named {name:?}"), named(name), Expect::Stored(1))
                .then("SELECT name FROM spans WHERE service_name = '$service'", &rows),
        );
    }
    cases
}
