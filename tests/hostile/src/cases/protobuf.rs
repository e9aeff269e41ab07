//! P: the structure of messages, and attributes.

use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, KeyValue};
use trivium_proto::otlp::logs::v1::LogRecord;

use crate::build::{attribute, field, log, logs, nested_value, raw_request, raw_time, string, text_attribute};
use crate::case::{Case, Door, Expect, Signal, case};

const LOGS: Door = Door::Otlp(Signal::Logs);
const UNDECODABLE: Expect = Expect::Refused(400, 3, "not a valid request");

/// A log record with one attribute whose value is given by its bytes.
fn with_value(service: &str, value: &[u8]) -> Vec<u8> {
    let pair = [field(1, b"k"), field(2, value)].concat();
    raw_request(service, &[[raw_time(), field(6, &pair)].concat()])
}

fn with_attributes(service: &str, attributes: Vec<KeyValue>) -> Vec<u8> {
    logs(service, vec![LogRecord { attributes, ..log("attributes") }])
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = structure();
    cases.extend(values());
    cases.extend(keys());
    cases.extend(origins());
    cases
}

fn structure() -> Vec<Case> {
    let groups = |number: u8, depth: usize| [vec![number << 3 | 3; depth], vec![number << 3 | 4; depth]].concat();
    let mut cases: Vec<Case> = Vec::new();
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        let door = Door::Otlp(signal);
        cases.push(case(
            "P1",
            "bytes at random",
            door,
            |_| (0_u32..4_096).map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0] | 0x80).collect(),
            UNDECODABLE,
        ));
        cases.push(case("P1", "a lone 0x80", door, |_| vec![0x80], UNDECODABLE));
        cases.push(case("P1", "a number of eleven bytes", door, |_| [&[0x08][..], &[0xff; 11]].concat(), UNDECODABLE));
        cases.push(case(
            "P1",
            "a length of 2^63",
            door,
            |_| b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
            UNDECODABLE,
        ));
        cases.push(case("P2", "10,000 groups in one another", door, move |_| groups(15, 10_000), UNDECODABLE));
    }
    cases.push(case(
        "P2",
        "fields that nobody knows",
        LOGS,
        |service| {
            let unknown = [field(200, b"x"), vec![15 << 3 | 3, 1 << 3, 1, 15 << 3 | 4]].concat();
            let record = [raw_time(), unknown.clone()].concat();
            [raw_request(service, &[record]), unknown].concat()
        },
        Expect::Stored(1),
    ));
    cases.push(case(
        "P17",
        "1,000,000 empty scopes",
        LOGS,
        |_| field(1, &[0x12, 0].repeat(1_000_000)),
        Expect::Stored(0),
    ));
    cases.push(case("P17", "1,000,000 empty resources", LOGS, |_| [0x0a, 0].repeat(1_000_000), Expect::Stored(0)));
    cases
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    for (is_kvlist, what) in [(true, "10,000 lists of keys in one another"), (false, "10,000 arrays in one another")] {
        cases.push(case(
            "P3",
            what,
            LOGS,
            move |service| with_value(service, &nested_value(10_000, is_kvlist)),
            Expect::Altered(1, "depth", 1),
        ));
    }
    cases.push(
        case(
            "P3",
            "the siblings are kept",
            LOGS,
            |service| {
                let deep = [field(1, b"deep"), field(2, &nested_value(100, true))].concat();
                let flat = [field(1, b"flat"), field(2, &field(1, b"kept"))].concat();
                let record = [raw_time(), field(6, &deep), field(6, &flat)].concat();
                raw_request(service, &[record])
            },
            Expect::Altered(1, "depth", 1),
        )
        .then("SELECT attributes['flat'] FROM logs WHERE service_name = '$service'", r#"[["kept"]]"#),
    );
    cases.push(case(
        "P4",
        "1,000,000 empty elements",
        LOGS,
        |service| with_value(service, &field(5, &[0x0a, 0].repeat(1_000_000))),
        Expect::Altered(1, "truncated", 1),
    ));
    cases.push(case(
        "P4",
        "an array of 1,024 arrays of 1,024",
        LOGS,
        |service| {
            let element = AnyValue { value: Some(Value::IntValue(1)) };
            let inner = Value::ArrayValue(ArrayValue { values: vec![element; 1_024] });
            let values = vec![AnyValue { value: Some(inner) }; 1_024];
            with_attributes(service, vec![attribute("k", Value::ArrayValue(ArrayValue { values }))])
        },
        Expect::Altered(1, "truncated", 1),
    ));
    for (what, number) in [("a body", 5), ("a severity text", 3), ("an event name", 12)] {
        cases.push(case(
            "P5",
            format!("{what} that is no UTF-8"),
            LOGS,
            move |service| {
                let bytes = b"caf\xe9 \xff".to_vec();
                let value = if number == 5 { field(1, &bytes) } else { bytes };
                raw_request(service, &[[raw_time(), field(number, &value)].concat()])
            },
            Expect::Altered(1, "invalid_utf8", 1),
        ));
    }
    cases.push(
        case(
            "P5",
            "a service that is no UTF-8",
            LOGS,
            |service| {
                let name =
                    [field(1, b"service.name"), field(2, &field(1, &[service.as_bytes(), b"\xff"].concat()))].concat();
                let scope = field(2, &field(2, &raw_time()));
                field(1, &[field(1, &field(1, &name)), scope].concat())
            },
            Expect::Altered(1, "invalid_utf8", 1),
        )
        .then("SELECT count(*) FROM logs WHERE service_name = '$service\u{fffd}'", r#"[["1"]]"#),
    );
    cases.push(
        case(
            "P6",
            "control characters and more",
            LOGS,
            |service| logs(service, vec![log("nul \0 esc \u{1b}[31m bidi \u{202e} wide \u{1f600}")]),
            Expect::Stored(1),
        )
        .then(
            "SELECT body FROM logs WHERE service_name = '$service'",
            "[[\"nul \\u0000 esc \\u001b[31m bidi \u{202e} wide \u{1f600}\"]]",
        ),
    );
    cases.push(case("P8", "an attribute of 1 MiB", LOGS, |service| {
        with_attributes(service, vec![text_attribute("k", "x".repeat(1 << 20))])
    }, Expect::Altered(1, "truncated", 1)).then(
        "SELECT octet_length(attributes['k']), attributes['trivium.truncated'] FROM logs WHERE service_name = '$service'",
        r#"[[65536,"true"]]"#,
    ));
    cases.push(
        case(
            "P8",
            "a body of 10 MiB",
            LOGS,
            |service| logs(service, vec![log("x".repeat(10 << 20))]),
            Expect::Altered(1, "truncated", 1),
        )
        .then(
            "SELECT octet_length(body), attributes['trivium.truncated'] FROM logs WHERE service_name = '$service'",
            r#"[[1048576,"true"]]"#,
        ),
    );
    cases.push(case(
        "P12",
        "64 KiB of bytes",
        LOGS,
        |service| with_attributes(service, vec![attribute("k", Value::BytesValue(vec![0xa5; 1 << 16]))]),
        Expect::Stored(1),
    ));
    cases.push(
        case(
            "P13",
            "the ends of 64 bits",
            LOGS,
            |service| {
                let numbers = [("min", i64::MIN), ("max", i64::MAX), ("odd", (1 << 53) + 1)];
                with_attributes(service, numbers.map(|(key, value)| attribute(key, Value::IntValue(value))).to_vec())
            },
            Expect::Stored(1),
        )
        .then(
            "SELECT attributes['min'], attributes['max'], attributes['odd'] FROM logs WHERE service_name = '$service'",
            r#"[["-9223372036854775808","9223372036854775807","9007199254740993"]]"#,
        ),
    );
    cases.push(case(
        "P14",
        "a value that is none, and indices of profiles",
        LOGS,
        |service| {
            let indexed = AnyValue { value: Some(Value::StringValueStrindex(7)) };
            let attributes = vec![
                KeyValue { key: "none".into(), value: Some(AnyValue::default()), ..KeyValue::default() },
                KeyValue { key: "index".into(), value: Some(indexed), ..KeyValue::default() },
                KeyValue { key: "absent".into(), ..KeyValue::default() },
            ];
            with_attributes(service, attributes)
        },
        Expect::Stored(1),
    ));
    cases
}

fn keys() -> Vec<Case> {
    vec![
        case(
            "P7",
            "10,000 attributes",
            LOGS,
            |service| {
                let attributes = (0..10_000).map(|number| text_attribute(format!("k{number}"), "v")).collect();
                with_attributes(service, attributes)
            },
            Expect::Altered(1, "truncated", 1),
        )
        .then("SELECT attributes['k0'] FROM logs WHERE service_name = '$service'", r#"[["v"]]"#),
        case(
            "P9",
            "a key three times, with other types",
            LOGS,
            |service| {
                with_attributes(
                    service,
                    vec![
                        attribute("k", Value::IntValue(1)),
                        attribute("k", Value::BoolValue(true)),
                        text_attribute("k", "last"),
                    ],
                )
            },
            Expect::Altered(1, "duplicate_key", 2),
        )
        .then("SELECT attributes['k'] FROM logs WHERE service_name = '$service'", r#"[["last"]]"#),
        case(
            "P10",
            "an empty key",
            LOGS,
            |service| with_attributes(service, vec![text_attribute("", "v"), text_attribute("k", "v")]),
            Expect::Altered(1, "empty_key", 1),
        ),
        case(
            "P10",
            "a key of 10 KiB",
            LOGS,
            |service| with_attributes(service, vec![text_attribute("k".repeat(10 << 10), "v")]),
            Expect::Altered(1, "truncated", 1),
        ),
        case(
            "P10",
            "keys that mean something elsewhere",
            LOGS,
            |service| {
                let keys = ["..", "__name__", "le", "$x", "a.b", "a", "$bytes", "constructor", "__proto__", "'", "\""];
                with_attributes(service, keys.map(|key| text_attribute(key, format!("of {key}"))).to_vec())
            },
            Expect::Stored(1),
        )
        .then(
            "SELECT attributes['..'], attributes['$x'], attributes['a.b'], attributes['a'], attributes['__proto__'], \
             attributes[''''], attributes['\"'], attributes['$bytes'] FROM logs WHERE service_name = '$service'",
            r#"[["of ..","of $x","of a.b","of a","of __proto__","of '","of \"","of $bytes"]]"#,
        ),
        case(
            "P11",
            "a key of every type",
            LOGS,
            |service| {
                let values = [
                    Value::StringValue("1".into()),
                    Value::IntValue(1),
                    Value::BoolValue(true),
                    Value::DoubleValue(1.0),
                    Value::BytesValue(vec![1]),
                    Value::ArrayValue(ArrayValue { values: vec![string("1")] }),
                ];
                let record = |value| LogRecord { attributes: vec![attribute("k", value)], ..log("typed") };
                logs(service, values.map(record).to_vec())
            },
            Expect::Stored(6),
        )
        .then("SELECT count(*) FROM logs WHERE service_name = '$service' AND attributes['k'] = 1", r#"[["3"]]"#),
    ]
}

fn origins() -> Vec<Case> {
    vec![
        case(
            "P15",
            "a resource without attributes",
            LOGS,
            |service| field(1, &field(2, &field(2, &[raw_time(), field(5, &field(1, service.as_bytes()))].concat()))),
            Expect::Stored(1),
        )
        .then("SELECT service_name FROM logs WHERE body = '$service'", r#"[["unknown_service"]]"#),
        case(
            "P15",
            "500 resources",
            LOGS,
            |service| {
                (0..500).flat_map(|number| logs(&format!("{service}-{number}"), vec![log("one of many")])).collect()
            },
            Expect::Stored(500),
        ),
        case(
            "P16",
            "a schema URL of 1 MiB that is a script",
            LOGS,
            |service| {
                let url = format!("javascript:{}", "x".repeat(1 << 20));
                let request = raw_request(service, &[raw_time()]);
                // Into the resource: behind the key and the length of the field that it is.
                let (_, inner) = request.split_at(request.len() - field_length(&request));
                field(1, &[inner.to_vec(), field(3, url.as_bytes())].concat())
            },
            Expect::Altered(1, "truncated", 1),
        )
        .then("SELECT octet_length(resource_schema_url) FROM logs WHERE service_name = '$service'", "[[4096]]"),
    ]
}

/// The length of the field that a message begins with.
fn field_length(message: &[u8]) -> usize {
    let mut rest = &message[1..];
    usize::try_from(prost::encoding::decode_varint(&mut rest).expect("a length")).expect("a length of ours")
}
