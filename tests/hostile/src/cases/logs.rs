//! L: log records.

use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, ArrayValue, KeyValueList};
use trivium_proto::otlp::logs::v1::LogRecord;

use crate::build::{NOW, attribute, log, logs, string};
use crate::case::{Case, Door, Expect, Signal, case};

const LOGS: Door = Door::Otlp(Signal::Logs);
const DAY: u64 = 86_400_000_000_000;

fn one(family: &'static str, what: &str, record: LogRecord, expect: Expect) -> Case {
    case(family, what, LOGS, move |service| logs(service, vec![record.clone()]), expect)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = times();
    cases.extend(fields());
    cases.extend(bodies());
    cases
}

fn times() -> Vec<Case> {
    let at = |time| LogRecord { time_unix_nano: time, ..log("when") };
    let ahead = || Expect::Partial(0, 1, "time is more than a day in the future");
    vec![
        one("L1", "no time at all", at(0), Expect::Stored(1)).then(
            "SELECT count(*) FROM logs WHERE service_name = '$service' AND time > now() - INTERVAL '5 minutes'",
            r#"[["1"]]"#,
        ),
        one("L2", "the end of 64 bits", at(u64::MAX), ahead()),
        one("L2", "the end of 63 bits", at(i64::MAX as u64), ahead()),
        one("L2", "the year 2098", at(4_039_372_800_000_000_000), ahead()),
        one("L2", "1970-01-02", at(DAY), Expect::Stored(1)),
        one("L2", "one nanosecond after 1970", at(1), Expect::Stored(1)),
        one("L2", "ten years before the others", at(NOW - 3_650 * DAY), Expect::Stored(1)),
        one("L2", "observed at the end of 64 bits", LogRecord { observed_time_unix_nano: u64::MAX, ..at(0) }, ahead()),
        case(
            "L2",
            "one in the future costs itself",
            LOGS,
            move |service| logs(service, vec![at(NOW), at(u64::MAX), at(NOW + 1)]),
            ahead_of_three(),
        ),
    ]
}

fn ahead_of_three() -> Expect {
    Expect::Partial(2, 1, "time is more than a day in the future")
}

fn fields() -> Vec<Case> {
    let mut cases: Vec<Case> = [0, 25, -1, i32::MAX, i32::MIN]
        .map(|number| {
            let record = LogRecord { severity_number: number, ..log("severe") };
            one("L3", &format!("severity {number}"), record, Expect::Stored(1))
                .then("SELECT severity_number FROM logs WHERE service_name = '$service'", &format!("[[{number}]]"))
        })
        .into();
    cases.push(one(
        "L3",
        "a severity text of 1 MiB",
        LogRecord { severity_text: "S".repeat(1 << 20), ..log("severe") },
        Expect::Altered(1, "truncated", 1),
    ));
    for (what, id) in
        [("15 bytes", vec![1; 15]), ("17 bytes", vec![1; 17]), ("zeroes", vec![0; 16]), ("1 MiB", vec![1; 1 << 20])]
    {
        let record = LogRecord { trace_id: id, span_id: vec![1; 8], ..log("associated") };
        let expect = Expect::Altered(1, "bad_trace_id_on_log", 1);
        cases.push(one("L4", &format!("a trace ID of {what}"), record, expect).then(
            "SELECT trace_id, span_id FROM logs WHERE service_name = '$service'",
            r#"[[null,"0101010101010101"]]"#,
        ));
    }
    let names = ["../../../etc/passwd", "C:\\CON", "a\0b", "/", "."];
    for name in names {
        let record = LogRecord { event_name: name.into(), ..log("an event") };
        cases.push(one("L5", &format!("an event named {name:?}"), record, Expect::Stored(1)));
    }
    cases.push(one(
        "L5",
        "an event name of 10 KiB",
        LogRecord { event_name: "e".repeat(10 << 10), ..log("an event") },
        Expect::Altered(1, "truncated", 1),
    ));
    cases
}

fn bodies() -> Vec<Case> {
    let values = [
        (
            "a list of keys",
            Value::KvlistValue(KeyValueList { values: vec![attribute("k", Value::IntValue(1))] }),
            r#"{"k":1}"#,
        ),
        ("an array", Value::ArrayValue(ArrayValue { values: vec![string("a"), string("b")] }), r#"["a","b"]"#),
        ("an integer", Value::IntValue(-7), "-7"),
        ("true", Value::BoolValue(true), "true"),
        ("not a number", Value::DoubleValue(f64::NAN), r#"{"$double":"NaN"}"#),
        ("an empty text", Value::StringValue(String::new()), ""),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (what, value, text) in values {
        let record = LogRecord { body: Some(AnyValue { value: Some(value) }), ..log("") };
        let rows = serde_json::json!([[text]]).to_string();
        cases.push(
            one("L6", what, record, Expect::Stored(1))
                .then("SELECT body FROM logs WHERE service_name = '$service'", &rows),
        );
    }
    cases.push(one("L6", "no body", LogRecord { body: None, ..log("") }, Expect::Stored(1)));
    cases
}
