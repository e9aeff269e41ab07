mod cells;
mod differential;
mod json;
mod limits;
mod oracle;
mod otlp_json;
mod remote_write;
mod remote_write_oracle;
mod requests;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type};
use proptest::prelude::{any as arbitrary, prop_assert_eq, proptest};
use prost::Message;
use trivium_model::{SignalKind, UnixNanos, WireFormat};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, number_data_point, summary_data_point::ValueAtQuantile,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};

use super::{DecodeContext, Decoded, decode, json_to_protobuf};

const NOW: i64 = 1_700_000_000_000_000_000;
const TIME: u64 = 1_699_999_999_000_000_000;

fn context() -> DecodeContext {
    DecodeContext { received_at: UnixNanos(NOW), oldest_admitted: UnixNanos(NOW - 30 * 86_400_000_000_000) }
}

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn text(value: &str) -> Option<AnyValue> {
    any(Value::StringValue(value.into()))
}

fn attribute(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: vec![attribute("service.name", text("cart"))], ..Resource::default() })
}

fn logs(records: Vec<LogRecord>) -> Vec<u8> {
    let scope = InstrumentationScope { name: "lib".into(), version: "1".into(), ..InstrumentationScope::default() };
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records: records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, schema_url: "u".into() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn spans(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn metrics(metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

fn decoded(signal: SignalKind, payload: &[u8]) -> Decoded {
    decode(signal, WireFormat::Otlp, payload, &context()).expect("the request is well formed")
}

fn rows(decoded: &Decoded) -> &RecordBatch {
    decoded.batch.as_ref().expect("some rows were accepted")
}

/// The text of a dictionary column.
fn word(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(column).expect("the column exists").as_dictionary::<Int32Type>();
    column.key(row).map(|key| column.values().as_string::<i32>().value(key).to_owned())
}

fn log(body: Option<AnyValue>, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord { time_unix_nano: TIME, body, attributes, ..LogRecord::default() }
}

#[test]
fn every_type_of_value_keeps_its_type() {
    let nested = KeyValueList { values: vec![attribute("$k", text("v")), attribute("a", None)] };
    let list = ArrayValue { values: vec![any(Value::IntValue(1)).expect("a value"), text("x").expect("a value")] };
    let attributes = vec![
        attribute("string", text("a\"b\n")),
        attribute("bool", any(Value::BoolValue(true))),
        attribute("int", any(Value::IntValue(i64::MIN))),
        attribute("double", any(Value::DoubleValue(200.0))),
        attribute("nan", any(Value::DoubleValue(f64::NAN))),
        attribute("bytes", any(Value::BytesValue(vec![0, 255]))),
        attribute("list", any(Value::ArrayValue(list))),
        attribute("map", any(Value::KvlistValue(nested))),
        attribute("none", None),
        attribute("int", any(Value::IntValue(7))),
    ];
    let decoded = decoded(SignalKind::Logs, &logs(vec![log(text("hello"), attributes)]));
    let expected = r#"{"bool":true,"bytes":{"$bytes":"AP8="},"double":200.0,"int":7,"list":[1,"x"],"map":{"$$k":"v","a":null},"nan":{"$double":"NaN"},"none":null,"string":"a\"b\n"}"#;
    assert_eq!(word(rows(&decoded), "attributes", 0).as_deref(), Some(expected));
    assert_eq!(word(rows(&decoded), "resource", 0).as_deref(), Some(r#"{"service.name":"cart"}"#));
    assert_eq!(word(rows(&decoded), "scope", 0).as_deref(), Some(r#"{"name":"lib","version":"1"}"#));
    assert_eq!(word(rows(&decoded), "service_name", 0).as_deref(), Some("cart"));
    assert_eq!(word(rows(&decoded), "resource_schema_url", 0).as_deref(), Some("u"));
    assert_eq!(decoded.sanitized, [("duplicate_key", 1)]);
}

#[test]
fn bodies_of_any_type_are_kept() {
    let map = KeyValueList { values: vec![attribute("k", any(Value::IntValue(1)))] };
    let bodies = [
        (text("plain"), Some("plain"), Some("string")),
        (any(Value::KvlistValue(map)), Some(r#"{"k":1}"#), Some("kvlist")),
        (None, None, None),
    ];
    let records = bodies.iter().map(|(body, ..)| log(body.clone(), Vec::new())).collect();
    let decoded = decoded(SignalKind::Logs, &logs(records));
    let batch = rows(&decoded);
    let column = batch.column_by_name("body").expect("bodies").as_string::<i32>();
    for (row, (_, expected, type_name)) in bodies.iter().enumerate() {
        assert_eq!(column.is_valid(row).then(|| column.value(row)), *expected);
        assert_eq!(word(batch, "body_type", row).as_deref(), *type_name);
    }
}

#[test]
fn the_time_of_a_log_record_falls_back() {
    let observed = LogRecord { observed_time_unix_nano: TIME + 5, ..LogRecord::default() };
    let decoded = decoded(SignalKind::Logs, &logs(vec![log(None, Vec::new()), observed, LogRecord::default()]));
    let times = rows(&decoded).column_by_name("time").expect("times").as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values()[..], [TIME as i64, TIME as i64 + 5, NOW]);
}

#[test]
fn the_observed_time_is_kept_as_its_distance_to_the_time() {
    let at = |observed_time_unix_nano| LogRecord { observed_time_unix_nano, ..log(None, Vec::new()) };
    let alone = LogRecord { observed_time_unix_nano: TIME, ..LogRecord::default() };
    let decoded = decoded(SignalKind::Logs, &logs(vec![at(TIME + 7), at(TIME - 3), at(0), alone]));
    let delays = rows(&decoded).column_by_name("observed_delay").expect("delays").as_primitive::<Int64Type>();
    assert_eq!(delays.iter().collect::<Vec<_>>(), [Some(7), Some(-3), None, Some(0)]);
}

#[test]
fn bad_ids_cost_a_log_record_its_association_and_a_span_itself() {
    let record = LogRecord { trace_id: vec![1; 15], span_id: vec![0; 8], ..log(None, Vec::new()) };
    let kept = decoded(SignalKind::Logs, &logs(vec![record]));
    assert_eq!((kept.accepted, rows(&kept).column_by_name("trace_id").expect("IDs").null_count()), (1, 1));
    let good = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: TIME,
        end_time_unix_nano: TIME + 9,
        ..Span::default()
    };
    let bad = [vec![], vec![0; 16], vec![1; 15], vec![1; 17]].map(|trace_id| Span { trace_id, ..good.clone() });
    let no_span_id = Span { span_id: vec![0; 8], ..good.clone() };
    let all = bad.into_iter().chain([no_span_id, good]).collect();
    let some = decoded(SignalKind::Traces, &spans(all));
    assert_eq!(some.accepted, 1);
    let reasons: Vec<(&str, u64, &str)> =
        some.rejected.iter().map(|r| (r.reason, r.count, r.service.as_str())).collect();
    assert_eq!(reasons, [("span has no valid trace ID", 4, "cart"), ("span has no valid span ID", 1, "cart")]);
}

#[test]
fn records_outside_the_admitted_times_are_rejected_with_the_true_reason() {
    let at = |time_unix_nano: u64| LogRecord { time_unix_nano, ..LogRecord::default() };
    let day = 86_400_000_000_000_u64;
    let records =
        vec![at(NOW as u64 - 31 * day), at(1), at(NOW as u64 + 2 * day), at(u64::MAX), at(NOW as u64 + day / 2)];
    let decoded = decoded(SignalKind::Logs, &logs(records));
    assert_eq!(decoded.accepted, 1);
    let reasons: Vec<(&str, u64)> = decoded.rejected.iter().map(|r| (r.reason, r.count)).collect();
    assert_eq!(reasons, [("time is older than the retention", 2), ("time is more than a day in the future", 2)]);
}

#[test]
fn a_record_that_is_no_message_costs_itself_only() {
    let mut scope = ScopeLogs { log_records: vec![log(text("a"), Vec::new())], ..ScopeLogs::default() }.encode_to_vec();
    scope.extend_from_slice(&[0x12, 3, 0x09, 1, 2]);
    scope.extend_from_slice(
        &ScopeLogs { log_records: vec![log(text("b"), Vec::new())], ..ScopeLogs::default() }.encode_to_vec(),
    );
    let mut request = vec![0x0a, (scope.len() + 2) as u8, 0x12, scope.len() as u8];
    assert!(scope.len() < 120);
    request.extend_from_slice(&scope);
    let decoded = decoded(SignalKind::Logs, &request);
    assert_eq!(
        (decoded.accepted, decoded.rejected[0].reason, decoded.rejected[0].count),
        (2, "record is not decodable", 1)
    );
    assert_eq!(word(rows(&decoded), "service_name", 0).as_deref(), Some("unknown_service"));
}

#[test]
fn invalid_text_is_repaired_and_deep_values_are_cut() {
    let mut value = any(Value::IntValue(1));
    for _ in 0..10_000 {
        let inner = std::mem::take(&mut value).expect("a value");
        value = any(Value::ArrayValue(ArrayValue { values: vec![inner] }));
    }
    let mut payload = logs(vec![log(text("ok \u{1}"), vec![attribute("key", text("va"))])]);
    let position = payload.windows(3).position(|w| w == b"ok ").expect("the body is in there");
    payload[position] = 0xff;
    let repaired = decoded(SignalKind::Logs, &payload);
    assert_eq!(rows(&repaired).column_by_name("body").expect("bodies").as_string::<i32>().value(0), "\u{fffd}k \u{1}");
    assert_eq!(repaired.sanitized, [("invalid_utf8", 1)]);
    // prost encodes recursively; a thread with room for it stands in for a hostile sender.
    let build = move || logs(vec![log(None, vec![attribute("deep", value)]), log(text("sibling"), Vec::new())]);
    let payload =
        std::thread::Builder::new().stack_size(256 << 20).spawn(build).expect("a thread").join().expect("encoded");
    let cut = decoded(SignalKind::Logs, &payload);
    assert_eq!(cut.accepted, 2);
    assert!(word(rows(&cut), "attributes", 0).expect("attributes").contains("[truncated: depth]"));
}

#[test]
fn long_texts_are_cut_and_marked() {
    let decoded = decoded(
        SignalKind::Logs,
        &logs(vec![log(text(&"ä".repeat(1 << 20)), vec![attribute("k", text(&"x".repeat(100_000)))])]),
    );
    let batch = rows(&decoded);
    assert_eq!(batch.column_by_name("body").expect("bodies").as_string::<i32>().value(0).len(), 1 << 20);
    assert!(word(batch, "attributes", 0).expect("attributes").ends_with(r#","trivium.truncated":true}"#));
}

#[test]
fn empty_requests_and_unknown_fields_are_fine() {
    for payload in [&[][..], &[0x0a, 0], &[0x0a, 2, 0x12, 0], &[0x98, 0x06, 1], &[0xfa, 0x7f, 2, 1, 2]] {
        for signal in SignalKind::ALL {
            let decoded = decoded(signal, payload);
            assert!(decoded.batch.is_none() && decoded.rejected.is_empty(), "{payload:?}");
        }
    }
    assert!(decode(SignalKind::Logs, WireFormat::Otlp, &[0x0a, 9, 1], &context()).is_err());
}

fn gauge(name: &str, points: Vec<NumberDataPoint>) -> Metric {
    Metric { name: name.into(), data: Some(Data::Gauge(Gauge { data_points: points })), ..Metric::default() }
}

fn number(value: Option<number_data_point::Value>) -> NumberDataPoint {
    NumberDataPoint { time_unix_nano: TIME, value, ..NumberDataPoint::default() }
}

#[test]
fn numbers_keep_their_bits() {
    use number_data_point::Value::{AsDouble, AsInt};
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let points = vec![number(Some(AsDouble(stale))), number(Some(AsDouble(-0.0))), number(Some(AsInt(i64::MIN)))];
    let decoded = decoded(SignalKind::Metrics, &metrics(vec![gauge("g", points)]));
    let batch = rows(&decoded);
    let values = batch.column_by_name("value").expect("values").as_primitive::<Float64Type>();
    assert_eq!(values.value(0).to_bits(), stale.to_bits());
    assert!(values.value(1) == 0.0 && values.value(1).is_sign_negative());
    let integers = batch.column_by_name("value_int").expect("integers").as_primitive::<Int64Type>();
    assert_eq!((integers.is_null(0), integers.value(2)), (true, i64::MIN));
}

#[test]
fn points_that_cannot_be_right_are_rejected_one_by_one() {
    use number_data_point::Value::AsDouble;
    let good = HistogramDataPoint {
        time_unix_nano: TIME,
        count: 3,
        sum: Some(4.0),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        ..Default::default()
    };
    let histogram = |point: HistogramDataPoint| Metric {
        name: "h".into(),
        data: Some(Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 2 })),
        ..Metric::default()
    };
    let summary = |quantile| Metric {
        name: "s".into(),
        data: Some(Data::Summary(Summary {
            data_points: vec![SummaryDataPoint {
                time_unix_nano: TIME,
                quantile_values: vec![ValueAtQuantile { quantile, value: 1.0 }],
                ..Default::default()
            }],
        })),
        ..Metric::default()
    };
    let no_temporality =
        Sum { data_points: vec![number(Some(AsDouble(1.0)))], aggregation_temporality: 0, is_monotonic: true };
    let cases: Vec<(Metric, Option<&str>)> = vec![
        (
            gauge("g", vec![NumberDataPoint { time_unix_nano: 0, ..number(Some(AsDouble(1.0))) }]),
            Some("data point has no time"),
        ),
        (gauge("g", vec![number(None)]), Some("data point has no value")),
        (gauge("g", vec![NumberDataPoint { flags: 1, ..number(None) }]), None),
        (gauge("", vec![number(Some(AsDouble(1.0)))]), Some("metric has no name")),
        (
            gauge("g", vec![NumberDataPoint { start_time_unix_nano: TIME + 1, ..number(Some(AsDouble(1.0))) }]),
            Some("start time is after time"),
        ),
        (
            Metric { name: "n".into(), data: Some(Data::Sum(no_temporality)), ..Metric::default() },
            Some("aggregation temporality must be delta or cumulative"),
        ),
        (histogram(good.clone()), None),
        (
            histogram(HistogramDataPoint { bucket_counts: vec![3], ..good.clone() }),
            Some("histogram needs one bucket more than bounds"),
        ),
        (
            histogram(HistogramDataPoint {
                bucket_counts: vec![1, 1, 1],
                explicit_bounds: vec![2.0, 1.0],
                ..good.clone()
            }),
            Some("histogram bounds do not ascend"),
        ),
        (
            histogram(HistogramDataPoint { count: 4, ..good.clone() }),
            Some("histogram buckets do not add up to its count"),
        ),
        (
            histogram(HistogramDataPoint { bucket_counts: vec![u64::MAX, 4], ..good }),
            Some("histogram buckets do not add up to its count"),
        ),
        (summary(0.5), None),
        (summary(2.0), Some("summary quantile is not between 0 and 1")),
        (Metric { name: "nothing".into(), ..Metric::default() }, None),
    ];
    for (metric, expected) in cases {
        let description = format!("{metric:?}");
        let decoded = decoded(SignalKind::Metrics, &metrics(vec![metric]));
        assert_eq!(decoded.rejected.first().map(|rejected| rejected.reason), expected, "{description}");
    }
}

#[test]
fn histograms_exemplars_and_temporality_are_kept() {
    let buckets = |offset, bucket_counts| Some(Buckets { offset, bucket_counts });
    let exemplar = Exemplar {
        time_unix_nano: TIME,
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        value: Some(exemplar::Value::AsInt(5)),
        filtered_attributes: vec![attribute("order.id", text("o-1"))],
    };
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: TIME,
        start_time_unix_nano: TIME - 1,
        count: 6,
        sum: Some(1.5),
        scale: -3,
        zero_count: 1,
        positive: buckets(-4, vec![2, 0, 1]),
        negative: buckets(9, vec![2]),
        exemplars: vec![exemplar],
        zero_threshold: 0.25,
        ..Default::default()
    };
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 1 };
    let metric = Metric {
        name: "e".into(),
        unit: "s".into(),
        data: Some(Data::ExponentialHistogram(data)),
        ..Metric::default()
    };
    let decoded = decoded(SignalKind::Metrics, &metrics(vec![metric]));
    let batch = rows(&decoded);
    let list = |name: &str| batch.column_by_name(name).expect("a list").as_list::<i32>().value(0);
    assert_eq!(list("positive_counts").as_primitive::<UInt64Type>().values()[..], [2, 0, 1]);
    assert_eq!(list("negative_counts").as_primitive::<UInt64Type>().values()[..], [2]);
    let integer = |name: &str| batch.column_by_name(name).expect("a number").as_primitive::<Int32Type>().value(0);
    assert_eq!((integer("scale"), integer("positive_offset"), integer("negative_offset")), (-3, -4, 9));
    assert_eq!(word(batch, "temporality", 0).as_deref(), Some("delta"));
    let exemplars = list("exemplars");
    let exemplars = exemplars.as_struct();
    assert_eq!(exemplars.column_by_name("trace_id").expect("IDs").as_fixed_size_binary().value(0), [7; 16]);
    assert_eq!(
        exemplars.column_by_name("attributes").expect("sets").as_string::<i32>().value(0),
        r#"{"order.id":"o-1"}"#
    );
}

#[test]
fn events_links_and_status_are_kept() {
    let event = span::Event {
        time_unix_nano: TIME,
        name: "retry".into(),
        attributes: vec![attribute("n", any(Value::IntValue(2)))],
        ..Default::default()
    };
    let link =
        span::Link { trace_id: vec![5; 16], span_id: vec![6; 8], trace_state: "a=b".into(), ..Default::default() };
    let with = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        name: "n".into(),
        kind: 99,
        start_time_unix_nano: TIME,
        end_time_unix_nano: TIME - 5,
        events: vec![event; 2],
        links: vec![link],
        status: Some(Status { message: "declined".into(), code: 2 }),
        ..Span::default()
    };
    let without = Span { events: Vec::new(), links: Vec::new(), end_time_unix_nano: 0, ..with.clone() };
    let decoded = decoded(SignalKind::Traces, &spans(vec![without, with]));
    let batch = rows(&decoded);
    let durations = batch.column_by_name("duration").expect("durations").as_primitive::<Int64Type>();
    assert_eq!((durations.is_null(0), durations.value(1)), (true, -5));
    let events = batch.column_by_name("events").expect("events").as_list::<i32>();
    assert_eq!((events.is_null(0), events.value(1).len()), (true, 2));
    let links = batch.column_by_name("links").expect("links").as_list::<i32>().value(1);
    assert_eq!(links.as_struct().column_by_name("trace_id").expect("IDs").as_fixed_size_binary().value(0), [5; 16]);
    assert_eq!(word(batch, "status_message", 1).as_deref(), Some("declined"));
}

#[test]
fn json_and_protobuf_of_a_request_give_the_same_rows() {
    let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},
      "scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","name":"I'm a server span",
      "startTimeUnixNano":"1699999999000000000","endTimeUnixNano":1699999999000000009,"kind":2,"futureField":{"a":[1,{"b":null}]},
      "attributes":[{"key":"my.int","value":{"intValue":"12"}},{"key":"d","value":{"doubleValue":"NaN"}},{"key":"b","value":{"bytesValue":"AP8="}},
      {"key":"m","value":{"kvlistValue":{"values":[{"key":"x","value":{"boolValue":false}}]}}},{"key":"e","value":{}},{"key":"z","value":null}],
      "status":{"code":2,"message":"no"},"parentSpanId":"","links":null}]}]}]}"#;
    let attributes = vec![
        attribute("my.int", any(Value::IntValue(12))),
        attribute("d", any(Value::DoubleValue(f64::NAN))),
        attribute("b", any(Value::BytesValue(vec![0, 255]))),
        attribute(
            "m",
            any(Value::KvlistValue(KeyValueList { values: vec![attribute("x", any(Value::BoolValue(false)))] })),
        ),
        attribute("e", Some(AnyValue { value: None })),
        attribute("z", None),
    ];
    let span = Span {
        trace_id: vec![0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c],
        span_id: vec![0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74],
        name: "I'm a server span".into(),
        kind: 2,
        start_time_unix_nano: 1_699_999_999_000_000_000,
        end_time_unix_nano: 1_699_999_999_000_000_009,
        attributes,
        status: Some(Status { message: "no".into(), code: 2 }),
        ..Span::default()
    };
    let transcoded = json_to_protobuf(SignalKind::Traces, json.as_bytes()).expect("valid OTLP/JSON");
    let (from_json, from_protobuf) =
        (decoded(SignalKind::Traces, &transcoded), decoded(SignalKind::Traces, &spans(vec![span])));
    assert_eq!(rows(&from_json), rows(&from_protobuf));
}

#[test]
fn wrong_json_is_refused_with_its_place() {
    for (json, part) in [
        ("{", "EOF"),
        (r#"{"resourceSpans":{}}"#, "resourceSpans: must be an array"),
        (r#"{"resource_spans":[]}"#, "must be written resourceSpans"),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_SERVER"}]}]}]}"#,
            "scopeSpans[0].spans[0].kind: must be the number",
        ),
        (r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"12abc"}]}]}]}"#, "startTimeUnixNano"),
        (r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e30}]}]}]}"#, "startTimeUnixNano"),
        (r#"{"resourceSpans":[]} x"#, "trailing"),
        (r#"{"resourceSpans":[],}"#, "trailing comma"),
    ] {
        let error = json_to_protobuf(SignalKind::Traces, json.as_bytes()).expect_err(json).to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
    let deep = "[".repeat(100_000);
    assert!(json_to_protobuf(SignalKind::Traces, deep.as_bytes()).is_err());
    assert!(json_to_protobuf(SignalKind::Logs, "\u{feff}{}".as_bytes()).is_ok_and(|bytes| bytes.is_empty()));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(arbitrary::<u8>(), 0..200)) {
        for signal in SignalKind::ALL {
            drop(decode(signal, WireFormat::Otlp, &bytes, &context()));
            drop(json_to_protobuf(signal, &bytes));
        }
    }

    #[test]
    fn mutated_requests_are_decoded_or_refused(position in 0_usize..400, byte in arbitrary::<u8>()) {
        let requests = [
            (SignalKind::Logs, logs(vec![log(text("body"), vec![attribute("k", text("v"))])])),
            (SignalKind::Metrics, metrics(vec![gauge("g", vec![number(Some(number_data_point::Value::AsInt(4)))])])),
            (SignalKind::Traces, spans(vec![Span { trace_id: vec![1; 16], span_id: vec![2; 8], start_time_unix_nano: TIME, ..Span::default() }])),
        ];
        for (signal, mut request) in requests {
            if let Some(target) = request.get_mut(position) {
                *target = byte;
            }
            drop(decode(signal, WireFormat::Otlp, &request, &context()));
        }
    }

    #[test]
    fn attributes_are_those_that_prost_sees(pairs in proptest::collection::btree_map("[a-z.]{1,8}", arbitrary::<(i64, bool, String)>(), 0..6)) {
        let attributes = pairs.iter().map(|(key, (int, is_int, string))| {
            attribute(key, if *is_int { any(Value::IntValue(*int)) } else { text(string) })
        });
        let decoded = decoded(SignalKind::Logs, &logs(vec![log(None, attributes.collect())]));
        let set = word(rows(&decoded), "attributes", 0).expect("attributes");
        let read: Vec<(String, String)> = trivium_storage::attributes::entries(&set)
            .map(|(key, value)| (key.into_owned(), value.text().into_owned())).collect();
        let expected: Vec<(String, String)> = pairs.iter()
            .map(|(key, (int, is_int, string))| (key.clone(), if *is_int { int.to_string() } else { string.clone() })).collect();
        prop_assert_eq!(read, expected);
    }
}
