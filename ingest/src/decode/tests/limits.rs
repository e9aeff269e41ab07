//! What is refused, cut or repaired, and that it is counted and costs nothing else.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use trivium_model::{WireFormat, limit};

use super::*;
use crate::decode::DecodeError;

/// A field of bytes.
fn field(number: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(message.len() as u64, &mut bytes);
    bytes.extend_from_slice(message);
    bytes
}

/// A request with this resource message and this scope message.
fn request(resource: &[u8], scope: &[u8]) -> Vec<u8> {
    field(1, &[field(1, resource), field(2, scope)].concat())
}

/// A `KeyValue` that ends inside its key.
const BROKEN: &[u8] = &[0x0a, 9, b'k'];

fn pair(key: &str, value: &str) -> Vec<u8> {
    attribute(key, text(value)).encode_to_vec()
}

/// The field `observed_time_unix_nano` of a log record.
fn observed_time() -> Vec<u8> {
    [&[11 << 3 | 1], &TIME.to_le_bytes()[..]].concat()
}

#[test]
fn too_many_records_are_refused_at_once_whatever_they_are() {
    let records = |count: usize| [0x12, 0].repeat(count);
    let points = |count: usize| field(2, &field(5, &[0x0a, 0].repeat(count)));
    for (signal, most, more) in [
        (SignalKind::Logs, records(limit::REQUEST_ROWS_MAX), records(limit::REQUEST_ROWS_MAX + 1)),
        (SignalKind::Traces, records(limit::REQUEST_ROWS_MAX), records(limit::REQUEST_ROWS_MAX + 1)),
        (SignalKind::Metrics, points(limit::REQUEST_ROWS_MAX), points(limit::REQUEST_ROWS_MAX + 1)),
    ] {
        let taken = decoded(signal, &request(&[], &most));
        let count = taken.accepted + taken.rejected.iter().map(|rejected| rejected.count).sum::<u64>();
        assert_eq!(count, limit::REQUEST_ROWS_MAX as u64, "{signal}");
        let error = decode(signal, WireFormat::Otlp, &request(&[], &more), &context()).expect_err("too many");
        assert!(matches!(error, DecodeError::TooManyRecords { found } if found == limit::REQUEST_ROWS_MAX + 1));
        let expected = "the request has 1048577 records, at most 1048576 are taken; send smaller batches";
        assert_eq!(error.to_string(), expected);
        let broken = [request(&[], &more), vec![0xff]].concat();
        assert!(matches!(decode(signal, WireFormat::Otlp, &broken, &context()), Err(DecodeError::Wire(_))), "{signal}");
    }
}

#[test]
fn events_are_bounded_in_sum() {
    let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], start_time_unix_nano: TIME, ..Span::default() };
    let mut with_events = span.encode_to_vec();
    with_events.extend([11 << 3 | 2, 0].repeat(limit::SPAN_CHILDREN_MAX));
    let most = limit::REQUEST_NESTED_MAX / limit::SPAN_CHILDREN_MAX;
    let scope = [field(2, &with_events).repeat(most + 2), field(2, &span.encode_to_vec())].concat();
    let decoded = decoded(SignalKind::Traces, &request(&[], &scope));
    assert_eq!(decoded.accepted, most as u64 + 1);
    let rejected = &decoded.rejected[0];
    assert_eq!((rejected.reason, rejected.count), ("the request has too many events, links or exemplars", 2));
}

#[test]
fn an_undecodable_attribute_costs_itself_wherever_it_is() {
    let resource = [field(1, &pair("service.name", "cart")), field(1, BROKEN), field(1, &pair("z", "1"))].concat();
    let scope = field(1, &[field(1, b"lib"), field(3, BROKEN), field(3, &pair("s", "1"))].concat());
    let body = text("body").expect("a body").encode_to_vec();
    // An array whose second element is broken.
    let list = [field(1, &[0x10, 1]), field(1, &[0x0a, 9])].concat();
    let list = [field(1, b"list"), field(2, &field(5, &list))].concat();
    let record = [field(6, BROKEN), field(6, &pair("a", "1")), field(5, &body), field(6, &list), observed_time()];
    let kept = decoded(SignalKind::Logs, &request(&resource, &[scope, field(2, &record.concat())].concat()));
    assert!(kept.rejected.is_empty(), "{:?}", kept.rejected);
    let batch = rows(&kept);
    assert_eq!(word(batch, "resource", 0).as_deref(), Some(r#"{"service.name":"cart","z":"1"}"#));
    assert_eq!(word(batch, "service_name", 0).as_deref(), Some("cart"));
    assert_eq!(word(batch, "scope", 0).as_deref(), Some(r#"{"attributes":{"s":"1"},"name":"lib"}"#));
    assert_eq!(word(batch, "attributes", 0).as_deref(), Some(r#"{"a":"1"}"#));
    assert_eq!(kept.sanitized, [("undecodable_attribute", 4)]);
}

#[test]
fn an_undecodable_resource_costs_its_records_and_no_others() {
    let good = logs(vec![log(text("good"), Vec::new())]);
    let bad = request(&[0x0a, 9], &[0x12, 0, 0x12, 0]);
    let decoded = decoded(SignalKind::Logs, &[good.clone(), bad, good].concat());
    assert_eq!(decoded.accepted, 2);
    let reasons: Vec<(&str, u64)> = decoded.rejected.iter().map(|r| (r.reason, r.count)).collect();
    assert_eq!(reasons, [("record is not decodable", 2)]);
    assert!(decoded.rejected[0].example.contains("at byte"), "{:?}", decoded.rejected);
}

#[test]
fn what_is_altered_is_counted_for_every_record_and_not_for_rejected_ones() {
    let attributes = vec![attribute("k", text("1")), attribute("k", text("2")), attribute("", text("3"))];
    let record = LogRecord { trace_id: vec![1; 3], span_id: vec![0; 8], ..log(text("body"), attributes) };
    let old = LogRecord { time_unix_nano: 1, ..record.clone() };
    let decoded = decoded(SignalKind::Logs, &logs(vec![record.clone(), old, record.clone(), record]));
    assert_eq!((decoded.accepted, decoded.rejected[0].count), (3, 1));
    let expected = [("duplicate_key", 3), ("empty_key", 3), ("bad_trace_id_on_log", 3), ("bad_span_id_on_log", 3)];
    assert_eq!(decoded.sanitized, expected);
}

#[test]
fn names_that_are_no_text_are_counted_every_time() {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: TIME,
        name: "XXXX".into(),
        ..Span::default()
    };
    let mut payload = spans(vec![span; 3]);
    for position in 0..payload.len() - 3 {
        if payload[position..].starts_with(b"XXXX") {
            payload[position] = 0xff;
        }
    }
    let decoded = decoded(SignalKind::Traces, &payload);
    assert_eq!(decoded.sanitized, [("invalid_utf8", 3)]);
    assert_eq!(word(rows(&decoded), "name", 2).as_deref(), Some("\u{fffd}XXX"));
}

#[test]
fn histograms_without_buckets_are_taken() {
    let point = |bucket_counts, explicit_bounds| HistogramDataPoint {
        time_unix_nano: TIME,
        count: 3,
        sum: Some(4.0),
        bucket_counts,
        explicit_bounds,
        ..HistogramDataPoint::default()
    };
    let points = vec![point(vec![], vec![]), point(vec![], vec![0.5, 1.0]), point(vec![3], vec![])];
    let data = Data::Histogram(Histogram { data_points: points, aggregation_temporality: 2 });
    let metric = Metric { name: "h".into(), data: Some(data), ..Metric::default() };
    let decoded = decoded(SignalKind::Metrics, &metrics(vec![metric]));
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let counts = rows(&decoded).column_by_name("bucket_counts").expect("counts").as_list::<i32>();
    assert_eq!([0, 1, 2].map(|row| counts.value(row).len()), [0, 0, 1]);
}

#[test]
fn durations_do_not_wrap() {
    let span = |end_time_unix_nano| Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: TIME,
        end_time_unix_nano,
        ..Span::default()
    };
    let decoded = decoded(SignalKind::Traces, &spans(vec![span(u64::MAX), span(1), span(TIME + 1)]));
    let durations = rows(&decoded).column_by_name("duration").expect("durations").as_primitive::<Int64Type>();
    assert_eq!(durations.values()[..], [i64::MAX, 1 - TIME as i64, 1]);
}

#[test]
fn structured_bodies_and_lists_are_bounded() {
    let list = |elements: usize, text: &str| {
        let element = AnyValue { value: Some(Value::StringValue(text.into())) };
        any(Value::ArrayValue(ArrayValue { values: vec![element; elements] }))
    };
    let big = "x".repeat(60_000);
    let long = log(list(2_000, "y"), vec![attribute("list", list(3, &big)), attribute("k", text("v"))]);
    let decoded = decoded(SignalKind::Logs, &logs(vec![log(list(20, &big), Vec::new()), long]));
    let batch = rows(&decoded);
    let bodies = batch.column_by_name("body").expect("bodies").as_string::<i32>();
    assert_eq!(bodies.value(0).len(), limit::BODY_BYTES_MAX);
    assert_eq!(word(batch, "body_type", 0).as_deref(), Some("string"));
    assert_eq!(word(batch, "attributes", 0).as_deref(), Some(r#"{"trivium.truncated":true}"#));
    assert_eq!(bodies.value(1).matches("\"y\"").count(), limit::VALUE_ELEMENTS_MAX);
    assert_eq!(word(batch, "body_type", 1).as_deref(), Some("array"));
    let set = word(batch, "attributes", 1).expect("attributes");
    let list = trivium_storage::attributes::get(&set, "list").expect("the list");
    assert!(list.is_string());
    assert_eq!(list.text().len(), limit::VALUE_BYTES_MAX);
    assert!(set.starts_with(r#"{"k":"v","list":"#) && set.ends_with(r#","trivium.truncated":true}"#));
    assert_eq!(decoded.sanitized, [("truncated", 3)]);
}

#[test]
fn long_keys_are_cut_and_do_not_collide() {
    let key = |last: char| format!("{}{last}", "k".repeat(1_000));
    let attributes = vec![attribute(&key('1'), text("1")), attribute(&key('2'), text("2"))];
    let decoded = decoded(SignalKind::Logs, &logs(vec![log(None, attributes)]));
    let set = word(rows(&decoded), "attributes", 0).expect("attributes");
    let entries: Vec<_> = trivium_storage::attributes::entries(&set).collect();
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|(key, _)| key.len() <= limit::KEY_BYTES_MAX));
    assert_eq!(decoded.sanitized, [("truncated", 2)]);
}

#[test]
fn attributes_beyond_the_limit_are_cut_once() {
    let pairs: Vec<KeyValue> = (0..2_000).map(|index| attribute(&format!("k{index:04}"), text("v"))).collect();
    let whole = decoded(SignalKind::Logs, &logs(vec![log(None, pairs.clone())]));
    // The same attributes with another field after each of them.
    let apart = pairs.iter().flat_map(|pair| [field(6, &pair.encode_to_vec()), vec![0x10, 9]].concat());
    let apart = field(2, &apart.chain(observed_time()).collect::<Vec<u8>>());
    let apart = decoded(SignalKind::Logs, &request(&[], &apart));
    for decoded in [&whole, &apart] {
        let set = word(rows(decoded), "attributes", 0).expect("attributes");
        let keys: Vec<String> = trivium_storage::attributes::entries(&set).map(|(key, _)| key.into_owned()).collect();
        assert_eq!((keys.len(), keys[1023].as_str(), keys[1024].as_str()), (1025, "k1023", "trivium.truncated"));
        assert_eq!(decoded.sanitized, [("truncated", 1)]);
    }
}
