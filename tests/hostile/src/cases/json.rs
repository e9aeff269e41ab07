//! S8 to S10, and of the other families what only JSON can say.

use crate::case::{Case, Door, Expect, Signal, case};

const LOGS: Door = Door::Json(Signal::Logs);
const TRACES: Door = Door::Json(Signal::Traces);
const METRICS: Door = Door::Json(Signal::Metrics);

fn resource(service: &str) -> String {
    format!(r#""resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}}"#)
}

fn log(service: &str, record: &str) -> Vec<u8> {
    let resource = resource(service);
    format!(r#"{{"resourceLogs":[{{{resource},"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#).into_bytes()
}

fn span(service: &str, span: &str) -> Vec<u8> {
    let resource = resource(service);
    format!(r#"{{"resourceSpans":[{{{resource},"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#).into_bytes()
}

fn of_log(family: &'static str, record: impl Into<String>, expect: Expect) -> Case {
    let record = record.into();
    case(family, crate::reply::shown(&record), LOGS, move |service| log(service, &record), expect)
}

fn of_span(family: &'static str, members: &'static str, expect: Expect) -> Case {
    case(family, members, TRACES, move |service| span(service, &format!("{{{members}}}")), expect)
}

fn bad(text: &'static str) -> Expect {
    Expect::Refused(400, 0, text)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = identity();
    cases.extend(types());
    cases.extend(syntax());
    cases.extend(of_other_families());
    cases
}

fn identity() -> Vec<Case> {
    let trace = || Expect::Partial(0, 1, "span has no valid trace ID");
    vec![
        of_span("S8", r#""traceId":"AQEBAQEBAQEBAQEBAQEBAQ==","spanId":"0101010101010101""#, trace()),
        of_span("S8", r#""traceId":"0101010101010101010101010101010","spanId":"0101010101010101""#, trace()),
        of_span("S8", r#""traceId":"","spanId":"0101010101010101""#, trace()),
        of_span(
            "S8",
            r#""traceId":"ABCDEFABCDEFABCDEFABCDEFABCDEFAB","spanId":"ABCDEFABCDEFABCD","startTimeUnixNano":"1700000000000000000""#,
            Expect::Stored(1),
        ),
        of_span("S8", r#""traceId":"abcdefabcdefabcdefabcdefabcdefab","spanId":7"#, bad("")),
    ]
}

fn types() -> Vec<Case> {
    const IDS: &str = r#""traceId":"abcdefabcdefabcdefabcdefabcdefab","spanId":"abcdefabcdefabcd""#;
    let more = |members: &str, expect| {
        let members = format!("{{{IDS},{members}}}");
        case("S9", members.clone(), TRACES, move |service| span(service, &members), expect)
    };
    vec![
        more(r#""kind":"SPAN_KIND_SERVER""#, bad("kind")),
        more(r#""kind":1e30"#, bad("kind")),
        more(r#""start_time_unix_nano":"1""#, bad("must be written startTimeUnixNano")),
        more(r#""startTimeUnixNano":"12abc""#, bad("startTimeUnixNano")),
        more(r#""startTimeUnixNano":1e30"#, bad("startTimeUnixNano")),
        more(r#""startTimeUnixNano":-1"#, bad("startTimeUnixNano")),
        more(r#""startTimeUnixNano":[]"#, bad("startTimeUnixNano")),
        more(r#""nobody":{"knows":[1,null,{"this":true}]}"#, Expect::Stored(1)),
        more(r#""attributes":{"key":"k"}"#, bad("attributes")),
        more(r#""events":[[]]"#, bad("events")),
    ]
}

fn syntax() -> Vec<Case> {
    let whole = |what: &str, text: String, expect| {
        case("S10", what.to_owned(), LOGS, move |_| text.clone().into_bytes(), expect)
    };
    let value = |open: &str, close: &str, depth: usize| {
        format!(r#"{{"body":{}{{"stringValue":"deep"}}{}}}"#, open.repeat(depth), close.repeat(depth))
    };
    vec![
        whole("100,000 brackets", "[".repeat(100_000), bad("")),
        whole("100,000 objects", r#"{"a":"#.repeat(100_000), bad("")),
        whole(
            "100,000 brackets under a name that nobody knows",
            format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
            Expect::Stored(0),
        ),
        whole("a comma behind the last", r#"{"resourceLogs":[],}"#.into(), bad("")),
        whole("NaN without quotes", r#"{"resourceLogs":NaN}"#.into(), bad("")),
        whole("two objects", "{}{}".into(), bad("")),
        whole("a byte order mark", "\u{feff}{}".into(), Expect::Stored(0)),
        whole("nothing", String::new(), bad("")),
        whole("a text that does not end", format!("{{\"{}", "x".repeat(50 << 20)), bad("")),
        of_log("S10", r#"{"body":{"stringValue":"first"},"body":{"stringValue":"last"}}"#, Expect::Stored(1))
            .then("SELECT body FROM logs WHERE service_name = '$service'", r#"[["last"]]"#),
        of_log("S10", value(r#"{"arrayValue":{"values":["#, "]}}", 10_000), Expect::Altered(1, "depth", 1)),
        of_log(
            "S10",
            value(r#"{"kvlistValue":{"values":[{"key":"k","value":"#, "}]}}", 10_000),
            Expect::Altered(1, "depth", 1),
        ),
    ]
}

fn of_other_families() -> Vec<Case> {
    vec![
        of_log("P6", r#"{"body":{"stringValue":"half \ud800 of a pair"}}"#, Expect::Altered(1, "invalid_utf8", 1))
            .then("SELECT body FROM logs WHERE service_name = '$service'", "[[\"half \u{fffd} of a pair\"]]"),
        case(
            "P5",
            "a body that is no UTF-8, in JSON",
            LOGS,
            |service| {
                let mut bytes = log(service, r#"{"body":{"stringValue":"caf?"}}"#);
                let place = bytes.iter().position(|byte| *byte == b'?').expect("it is there");
                bytes[place] = 0xe9;
                bytes
            },
            Expect::Altered(1, "invalid_utf8", 1),
        ),
        of_log("P12", r#"{"body":{"bytesValue":"not base64!"}}"#, bad("bytesValue")),
        of_log("P13", r#"{"attributes":[{"key":"k","value":{"intValue":"-9223372036854775809"}}]}"#, bad("intValue")),
        of_log(
            "L4",
            r#"{"traceId":"xyz","body":{"stringValue":"associated"}}"#,
            Expect::Altered(1, "bad_trace_id_on_log", 1),
        ),
        case(
            "M2",
            "numbers as text",
            METRICS,
            |service| {
                let resource = resource(service);
                let point = |value: &str| format!(r#"{{"timeUnixNano":"1700000000000000000","asDouble":{value}}}"#);
                let points = [point("\"NaN\""), point("\"-Infinity\""), point("1e-320"), point("-0.0")].join(",");
                format!(r#"{{"resourceMetrics":[{{{resource},"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#).into_bytes()
            },
            Expect::Stored(4),
        ),
        case(
            "M2",
            "a number that is none",
            METRICS,
            |_| {
                br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asDouble":"1e999"}]}}]}]}]}"#.to_vec()
            },
            bad("asDouble"),
        ),
    ]
}
