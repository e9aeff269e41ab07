//! Rewriting of bytes against the same rules applied to objects: random requests of all signals, what is not understood,
//! and what is hostile.

mod oracle;
mod requests;
mod write;

use std::borrow::Cow;
use std::path::Path;

use proptest::prelude::{BoxedStrategy, ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestRunner;
use prost::Message;
use trivium_model::{SignalKind, WireFormat, limit};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value as Any;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_redact::{Counts, Rules, Unreadable};

fn rules(text: &str) -> Rules {
    Rules::parse(text, Path::new("")).expect("valid rules")
}

fn redact<'a>(rules: &Rules, signal: SignalKind, payload: &'a [u8]) -> (Cow<'a, [u8]>, Counts) {
    let mut counts = Counts::default();
    let redacted = rules.redact(signal, WireFormat::Otlp, payload, &mut counts).expect("a request");
    (redacted, counts)
}

#[expect(clippy::ptr_arg, reason = "asks which of the two it is")]
fn is_borrowed(redacted: &Cow<'_, [u8]>) -> bool {
    matches!(redacted, Cow::Borrowed(_))
}

/// A request as prost writes it: without fields that have their default value.
fn written_again<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
    M::decode(bytes).expect("a request").encode_to_vec()
}

/// Redacts random requests as bytes and as objects.
fn check<M: Message + Default + std::fmt::Debug>(
    signal: SignalKind,
    requests: BoxedStrategy<M>,
    apply: fn(&oracle::Oracle, &mut M),
) {
    let (rules, oracle) = (oracle::rules(), oracle::Oracle::new(signal));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    let checked = runner.run(&requests, |request| {
        let bytes = request.encode_to_vec();
        let (redacted, counts) = redact(&rules, signal, &bytes);
        let mut expected = request;
        apply(&oracle, &mut expected);
        let expected = expected.encode_to_vec();
        prop_assert_eq!(written_again::<M>(&redacted), expected.clone());
        prop_assert_eq!(counts.total() == 0, expected == bytes);
        prop_assert_eq!(is_borrowed(&redacted), expected == bytes);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn logs_are_redacted_as_objects_are() {
    check(SignalKind::Logs, requests::logs(), |oracle, request| oracle.logs(request));
}

#[test]
fn traces_are_redacted_as_objects_are() {
    check(SignalKind::Traces, requests::traces(), |oracle, request| oracle.traces(request));
}

#[test]
fn metrics_are_redacted_as_objects_are() {
    check(SignalKind::Metrics, requests::metrics(), |oracle, request| oracle.metrics(request));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn without_a_hit_every_byte_is_the_same(request in requests::logs()) {
        let bytes = request.encode_to_vec();
        let rules = rules("rules:\n- {name: a, keys: [nobody.has.this], action: drop}\n\
                           - {name: b, regex: 'nobody writes this', action: drop}\n");
        prop_assert!(is_borrowed(&redact(&rules, SignalKind::Logs, &bytes).0));
    }

    #[test]
    fn any_bytes_end_in_a_request_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), format in 0..3_usize) {
        let rules = oracle::rules();
        for signal in SignalKind::ALL {
            let format = if signal == SignalKind::Metrics { WireFormat::ALL[format] } else { WireFormat::Otlp };
            drop(rules.redact(signal, format, &bytes, &mut Counts::default()));
        }
        // The same inside of a record, where the framing is right.
        for number in [6_u8, 2, 2, 1].into_iter().rev() {
            let mut outer = vec![number << 3 | 2];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
        drop(rules.redact(SignalKind::Logs, WireFormat::Otlp, &bytes, &mut Counts::default()));
    }
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text.to_owned())) }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn of_attribute(key: &str, value: AnyValue) -> Vec<u8> {
    request(vec![LogRecord { attributes: vec![pair(key, value)], ..LogRecord::default() }]).encode_to_vec()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A field that holds bytes.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::encode_varint(number << 3 | 2, &mut field);
    prost::encoding::encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

/// A log request of one record with these bytes.
fn of_record(record: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, record)))
}

#[test]
fn values_of_every_type_under_a_listed_key_are_hidden() {
    let values = [
        Any::StringValue("hunter2".into()),
        Any::BoolValue(true),
        Any::IntValue(-42),
        Any::DoubleValue(0.5),
        Any::BytesValue(b"hunter2".to_vec()),
        Any::ArrayValue(ArrayValue { values: vec![text("hunter2")] }),
        Any::KvlistValue(KeyValueList { values: vec![pair("inner", text("hunter2"))] }),
    ];
    let rules = rules("rules: [{name: k, keys: [password], action: mask}]");
    let masked = ["*******", "****", "***", "***", "*******", "****", "****"];
    for (value, masked) in values.into_iter().zip(masked) {
        let bytes = of_attribute("PassWord", AnyValue { value: Some(value) });
        let (redacted, counts) = redact(&rules, SignalKind::Logs, &bytes);
        assert_eq!(&*redacted, of_attribute("PassWord", text(masked)));
        assert_eq!(counts.of(0), 1);
    }
    for nothing in [AnyValue { value: None }, text("")] {
        assert!(is_borrowed(&redact(&rules, SignalKind::Logs, &of_attribute("password", nothing)).0));
    }
}

#[test]
fn a_listed_key_is_found_at_every_level() {
    let rules = rules("rules: [{name: k, keys: ['*password*'], action: drop}]");
    let inner = AnyValue {
        value: Some(Any::KvlistValue(KeyValueList {
            values: vec![pair("db.password", text("x")), pair("a", text("b"))],
        })),
    };
    let list = AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: vec![inner] })) };
    let bytes = request(vec![LogRecord { body: Some(list), ..LogRecord::default() }]).encode_to_vec();
    let (redacted, _) = redact(&rules, SignalKind::Logs, &bytes);
    assert!(!contains(&redacted, "password") && contains(&redacted, "b"));
}

#[test]
fn card_numbers_that_come_as_integers_are_found() {
    let rules = rules("rules: [{name: c, pattern: credit_card, action: mask, keep_last: 4}]");
    let bytes = of_attribute("card", AnyValue { value: Some(Any::IntValue(4_111_111_111_111_111)) });
    assert_eq!(&*redact(&rules, SignalKind::Logs, &bytes).0, of_attribute("card", text("************1111")));
    let time = of_attribute("time", AnyValue { value: Some(Any::IntValue(1_700_000_000_000_000_000)) });
    assert!(is_borrowed(&redact(&rules, SignalKind::Logs, &time).0));
}

#[test]
fn rules_keep_to_their_services_and_places() {
    let rules = rules("rules:\n- {name: m, pattern: email, action: drop, services: ['shop-*'], in: [body]}\n");
    for (service, changes) in [("shop-cart", true), ("SHOP-CART", true), ("cart", false), ("", false)] {
        let mut logs = request(vec![LogRecord {
            body: Some(text("a@example.com")),
            attributes: vec![pair("mail", text("a@example.com"))],
            ..LogRecord::default()
        }]);
        let attributes = vec![pair("service.name", text(service))];
        let resource = trivium_proto::otlp::resource::v1::Resource { attributes, ..Default::default() };
        logs.resource_logs[0].resource = Some(resource);
        let bytes = logs.encode_to_vec();
        // The resource after the records: protobuf promises no order.
        let content = &bytes[2 + usize::from(bytes[1] >= 0x80)..];
        let resource = usize::from(content[1]) + 2;
        let turned = field(1, &[&content[resource..], &content[..resource]].concat());
        for bytes in [bytes, turned] {
            let (redacted, counts) = redact(&rules, SignalKind::Logs, &bytes);
            assert_eq!(counts.total(), u64::from(changes), "{service}");
            assert!(contains(&redacted, "a@example.com"), "the attribute stays");
        }
    }
}

#[test]
fn a_hash_is_the_same_wherever_the_value_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("key"), "0123456789abcdef").expect("written");
    let text_of_rules = "hash_key_file: key\nrules:\n- {name: u, keys: [user], action: hash}\n- {name: m, pattern: email, action: hash}\n";
    let rules = Rules::parse(text_of_rules, folder.path()).expect("valid rules");
    let hash = rules.hash_key().expect("a key").hashed(b"bob@x.org");
    for (key, value, expected) in [("user", "bob@x.org", hash.clone()), ("to", "<bob@x.org>", format!("<{hash}>"))] {
        let bytes = of_attribute(key, text(value));
        assert_eq!(&*redact(&rules, SignalKind::Logs, &bytes).0, of_attribute(key, text(&expected)));
    }
}

#[test]
fn what_nobody_can_read_is_not_passed_on() {
    let rules = rules("rules: [{name: m, pattern: email, action: drop}]");
    let secret = b"bob@x.org";
    // An attribute that is no KeyValue, a record that is cut off, an unknown field, a text where a number should be.
    let broken = [&field(1, secret)[..], &[0xff]].concat();
    let record = |fields: &[&[u8]]| of_record(&fields.concat());
    let body = field(5, &field(1, b"good"));
    for (bytes, is_kept) in [
        (record(&[&body, &field(6, &broken)]), true),
        (record(&[&body, &field(6, secret), &[0x80]]), false),
        (record(&[&body, &field(99, secret)]), true),
        (record(&[&body, &field(2, secret)]), true),
        (record(&[&body, &[99 << 3 & 0x7f | 0x80 | 3, 6], &field(1, secret), &[99 << 3 & 0x7f | 0x80 | 4, 6]]), true),
    ] {
        let (redacted, counts) = redact(&rules, SignalKind::Logs, &bytes);
        assert!(!contains(&redacted, "bob@x.org"), "{bytes:?}");
        assert_eq!(contains(&redacted, "good"), is_kept, "{bytes:?}");
        assert!(counts.of(Counts::UNREADABLE) > 0, "{bytes:?}");
    }
}

#[test]
fn what_is_nested_too_deep_is_cut_where_it_may_hold_something() {
    let mut value = text("bob@x.org");
    for _ in 0..40 {
        value = AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let bytes = of_attribute("deep", value);
    let mails = rules("rules: [{name: m, pattern: email, action: drop}]");
    assert!(!contains(&redact(&mails, SignalKind::Logs, &bytes).0, "bob@x.org"));
    let cards = rules("rules: [{name: c, pattern: credit_card, action: drop}]");
    assert!(is_borrowed(&redact(&cards, SignalKind::Logs, &bytes).0));
}

#[test]
fn the_bounds_of_the_decoder_hold() {
    let rules =
        rules("rules: [{name: m, regex: x, action: replace, replacement: \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"}]");
    let of = |payload: &[u8]| rules.redact(SignalKind::Logs, WireFormat::Otlp, payload, &mut Counts::default()).err();
    assert_eq!(of(&[0x0a, 5, 1]), Some(Unreadable::Malformed));
    assert_eq!(of(&field(1, &field(2, &[0x0f]))), Some(Unreadable::Malformed));
    let records = [0x12, 0].repeat(limit::REQUEST_ROWS_MAX + 1);
    assert_eq!(of(&field(1, &field(2, &records))), Some(Unreadable::TooManyRecords));
    let record = LogRecord { body: Some(text(&"x".repeat(10_000))), ..LogRecord::default() };
    let growing = request(vec![record; 300]).encode_to_vec();
    assert_eq!(of(&growing), Some(Unreadable::TooLarge), "3 MB would become 96 MB");
    let endless = of_attribute("k", text(&"x".repeat(1_000_000)));
    assert!(redact(&rules, SignalKind::Logs, &endless).0.len() < 200, "a text of nothing but findings is one finding");
}
