//! OTLP/JSON: what is taken that other parsers refuse, and how what is refused is told.

use arrow::array::AsArray;

use super::*;
use crate::decode::DecodeError;

#[test]
fn half_a_surrogate_pair_costs_one_letter() {
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1699999999000000000","body":{"stringValue":"a\ud800b\ud83d\ude00"},"\ud800":"\udfff","traceId":"\udfff",
         "attributes":[{"key":"\udc00","value":{"stringValue":"\ud83dx"}}]},
        {"timeUnixNano":"1699999999000000000","body":{"stringValue":"other"}}]}]}]}"#;
    let transcoded = json_to_protobuf(SignalKind::Logs, json.as_bytes()).expect("a request");
    let decoded = decoded(SignalKind::Logs, &transcoded);
    let batch = rows(&decoded);
    let bodies = batch.column_by_name("body").expect("bodies").as_string::<i32>();
    assert_eq!((bodies.value(0), bodies.value(1)), ("a\u{fffd}b\u{1f600}", "other"));
    assert_eq!(word(batch, "attributes", 0).as_deref(), Some("{\"\u{fffd}\":\"\u{fffd}x\"}"));
    assert_eq!(decoded.sanitized, [("invalid_utf8", 3), ("bad_trace_id_on_log", 1)]);
}

#[test]
fn doubles_in_json_keep_every_bit() {
    for value in
        ["0.30000000000000004", "1.7976931348623157e308", "2.2250738585072011e-308", "5.764607523034235e17", "1e23"]
    {
        let json = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"g","gauge":{{"dataPoints":[
            {{"timeUnixNano":"1699999999000000000","asDouble":{value}}}]}}}}]}}]}}]}}"#
        );
        let transcoded = json_to_protobuf(SignalKind::Metrics, json.as_bytes()).expect(value);
        let decoded = decoded(SignalKind::Metrics, &transcoded);
        let values = rows(&decoded).column_by_name("value").expect("values").as_primitive::<Float64Type>();
        assert_eq!(Ok(values.value(0)), value.parse::<f64>());
    }
}

#[test]
fn an_error_in_json_says_where_it_is() {
    let request = |span: &str| format!(r#"{{"resourceSpans":[{{}},{{"scopeSpans":[{{"spans":[{{}},{span}]}}]}}]}}"#);
    for (span, expected) in [
        (r#"{"name":5}"#, "resourceSpans[1].scopeSpans[0].spans[1].name: invalid type: integer `5`, expected a string"),
        (r#"{"flags":-1}"#, "resourceSpans[1].scopeSpans[0].spans[1].flags: must be a 32-bit integer, found -1"),
        (r#"{"start_time_unix_nano":"1"}"#, "spans[1]: Span.start_time_unix_nano must be written startTimeUnixNano"),
        (
            r#"{"attributes":[{"key":"k","value":{"doubleValue":"12x"}}]}"#,
            "spans[1].attributes[0].value.doubleValue: must be a number, \"NaN\", \"Infinity\" or \"-Infinity\", found \"12x\"",
        ),
        ("7", "resourceSpans[1].scopeSpans[0].spans[1]: must be an object, found 7"),
        ("{\"name\":\"", "resourceSpans[1].scopeSpans[0].spans[1].name: EOF while parsing a string"),
    ] {
        let json = request(span);
        let error = json_to_protobuf(SignalKind::Traces, json.as_bytes()).expect_err(span);
        let DecodeError::Json { problem, line, column } = error else { panic!("{error}") };
        assert!(problem.contains(expected), "{problem}");
        let place = json.find(span).expect("it is in there");
        assert!(line == 1 && column > place, "line {line}, column {column}");
    }
}

/// The JSON of a value in so many lists, or so many objects.
fn nested(levels: usize, open: &str, close: &str, innermost: &str) -> String {
    format!("{}{innermost}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn a_value_that_is_nested_too_deep_costs_itself() {
    let lists = |levels, innermost: &str| nested(levels, r#"{"arrayValue":{"values":["#, "]}}", innermost);
    let objects =
        |levels, innermost: &str| nested(levels, r#"{"kvlistValue":{"values":[{"key":"k","value":"#, "}]}}", innermost);
    let innermost = r#"{"stringValue":"deep"}"#;
    for (value, is_cut) in [
        (lists(20, innermost), false),
        (objects(20, innermost), false),
        (lists(31, innermost), false),
        (objects(31, innermost), false),
        (lists(32, innermost), true),
        (objects(32, innermost), true),
        (lists(40, innermost), true),
        (objects(500, innermost), true),
        (lists(50_000, innermost), true),
    ] {
        let json = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[
            {{"timeUnixNano":"1699999999000000000","attributes":[{{"key":"deep","value":{value}}},{{"key":"a","value":{{"intValue":1}}}}]}},
            {{"timeUnixNano":"1699999999000000000","body":{{"stringValue":"sibling"}}}}]}}]}}]}}"#
        );
        let start = &value[..value.len().min(40)];
        let transcoded =
            json_to_protobuf(SignalKind::Logs, json.as_bytes()).unwrap_or_else(|error| panic!("{start}: {error}"));
        let decoded = decoded(SignalKind::Logs, &transcoded);
        assert_eq!((decoded.accepted, decoded.rejected.len()), (2, 0), "{start}");
        let set = word(rows(&decoded), "attributes", 0).expect("attributes");
        assert!(set.starts_with(r#"{"a":1,"deep":"#), "{set}");
        assert_eq!(
            (set.contains("[truncated: depth]"), set.contains(r#""deep"]"#) || set.contains(r#":"deep"}"#)),
            (is_cut, !is_cut)
        );
        let expected: &[(&str, u64)] = if is_cut { &[("depth", 1)] } else { &[] };
        assert_eq!(decoded.sanitized, expected, "{start}");
    }
}

#[test]
fn an_error_deep_in_a_value_still_says_where_it_is() {
    let value = nested(20, r#"{"arrayValue":{"values":["#, "]}}", r#"{"boolValue":7}"#);
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}"#);
    let error = json_to_protobuf(SignalKind::Logs, json.as_bytes()).expect_err("no boolean").to_string();
    assert!(error.contains("values[0].boolValue: must be true or false, found 7"), "{error}");
    let ignored = format!(r#"{{"unknown":{}}}"#, nested(100_000, "[", "]", "1"));
    assert!(json_to_protobuf(SignalKind::Logs, ignored.as_bytes()).expect("unknown fields are skipped").is_empty());
}
