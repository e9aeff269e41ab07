//! A whole day of real telemetry: counted exactly, searched, joined and correlated, against answers computed from the
//! files by another path (prost objects and plain loops).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use prost::Message;
use tempfile::tempdir;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;

use crate::support::{BINARY, Server, output_of, trainticket};

/// One log record of the day, as far as the questions need it.
struct Log {
    service: String,
    trace_id: Vec<u8>,
    body: String,
    severity: i32,
}

/// One span of the day.
struct Span {
    service: String,
    trace_id: Vec<u8>,
    name: String,
    duration: u64,
}

/// The day, read by prost.
struct Day {
    logs: Vec<Log>,
    spans: Vec<Span>,
}

fn messages(path: &Path) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut decoder = zstd::Decoder::new(File::open(path).expect("the data file")).expect("zstd");
    decoder.read_to_end(&mut bytes).expect("it decompresses");
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(prost::encoding::decode_varint(&mut rest).expect("a length")).expect("a length");
        let (message, after) = rest.split_at(length);
        messages.push(message.to_vec());
        rest = after;
    }
    messages
}

fn service(resource: Option<&trivium_proto::otlp::resource::v1::Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let value =
        attributes.iter().find(|attribute| attribute.key == "service.name").and_then(|found| found.value.clone());
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    }
}

fn read_day(folder: &Path) -> Day {
    let mut day = Day { logs: Vec::new(), spans: Vec::new() };
    for message in messages(&folder.join("logs.otlp.zst")) {
        for resource in ExportLogsServiceRequest::decode(&message[..]).expect("logs").resource_logs {
            let service = service(resource.resource.as_ref());
            for record in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let body = match record.body.and_then(|body| body.value) {
                    Some(Value::StringValue(text)) => text,
                    _ => String::new(),
                };
                day.logs.push(Log {
                    service: service.clone(),
                    trace_id: record.trace_id,
                    body,
                    severity: record.severity_number,
                });
            }
        }
    }
    for message in messages(&folder.join("traces.otlp.zst")) {
        for resource in ExportTraceServiceRequest::decode(&message[..]).expect("traces").resource_spans {
            let service = service(resource.resource.as_ref());
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let duration = span.end_time_unix_nano - span.start_time_unix_nano;
                day.spans.push(Span { service: service.clone(), trace_id: span.trace_id, name: span.name, duration });
            }
        }
    }
    day
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower-case runs of letters, digits and `_`: what a word of the search language is.
fn words(text: &str) -> HashSet<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

async fn import(server: &Server, folder: &Path) {
    let files = ["logs", "traces", "metrics"].map(|signal| folder.join(format!("{signal}.otlp.zst")));
    let said = tokio::task::block_in_place(|| {
        output_of(Command::new(BINARY).args(["import", "--endpoint", &server.otlp_http]).args(files))
    });
    assert!(said.contains("168597 log records sent, 168597 accepted, 0 rejected"), "{said}");
}

async fn check_counts(server: &Server) {
    for (table, rows) in [("logs", 168_597), ("spans", 321_068), ("metrics", 807_801)] {
        assert_eq!(server.number(&format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
}

async fn check_groups(server: &Server, day: &Day) {
    let mut expected: HashMap<(&str, i32), u64> = HashMap::new();
    day.logs.iter().for_each(|log| *expected.entry((&log.service, log.severity)).or_default() += 1);
    let rows = server.sql("SELECT service_name, severity_number, count(*) FROM logs GROUP BY 1, 2").await;
    assert_eq!(rows.len(), expected.len());
    for row in &rows {
        let service = row[0].as_str().expect("a service");
        let severity = i32::try_from(row[1].as_i64().expect("a severity")).expect("a severity");
        assert_eq!(row[2], expected[&(service, severity)].to_string(), "{service} {severity}");
    }
    let mut slowest: HashMap<(&str, &str), u64> = HashMap::new();
    for span in &day.spans {
        let longest = slowest.entry((&span.service, &span.name)).or_default();
        *longest = span.duration.max(*longest);
    }
    let rows = server.sql("SELECT service_name, name, max(duration) FROM spans GROUP BY 1, 2").await;
    assert_eq!(rows.len(), slowest.len());
    for row in &rows {
        let key = (row[0].as_str().expect("a service"), row[1].as_str().expect("a name"));
        assert_eq!(row[2], slowest[&key].to_string(), "{key:?}");
    }
}

async fn check_search(server: &Server, day: &Day) {
    type Question = (&'static str, fn(&HashSet<String>) -> bool);
    let questions: [Question; 4] = [
        ("exception", |words| words.contains("exception")),
        ("warn -seat", |words| words.contains("warn") && !words.contains("seat")),
        ("error OR failed", |words| words.contains("error") || words.contains("failed")),
        ("ticket AND NOT (info OR warn)", |words| {
            words.contains("ticket") && !words.contains("info") && !words.contains("warn")
        }),
    ];
    for (query, matches) in questions {
        let expected = day.logs.iter().filter(|log| matches(&words(&log.body))).count() as u64;
        let sql = format!("SELECT count(*) FROM logs WHERE matches(body, '{query}')");
        assert_eq!(server.number(&sql).await, expected, "{sql}");
    }
}

async fn check_join(server: &Server, day: &Day) {
    let slow: HashSet<&[u8]> =
        day.spans.iter().filter(|span| span.duration > 2_000_000_000).map(|span| span.trace_id.as_slice()).collect();
    let expected = day.logs.iter().filter(|log| slow.contains(log.trace_id.as_slice())).count() as u64;
    let sql = "SELECT count(*) FROM logs WHERE trace_id IN (SELECT trace_id FROM spans WHERE duration > 2000000000)";
    assert_eq!(server.number(sql).await, expected, "{sql}");
    assert!(expected > 0, "the question must have an answer to prove anything");
}

async fn check_correlation(server: &Server, day: &Day) {
    let mut logs_of: HashMap<&[u8], usize> = HashMap::new();
    day.logs.iter().for_each(|log| *logs_of.entry(&log.trace_id).or_default() += 1);
    let mut spans_of: HashMap<&[u8], usize> = HashMap::new();
    day.spans.iter().for_each(|span| *spans_of.entry(&span.trace_id).or_default() += 1);
    for span in day.spans.iter().step_by(day.spans.len() / 20) {
        let (id, key) = (hex(&span.trace_id), span.trace_id.as_slice());
        let trace = server.get(&format!("/api/v1/traces/{id}")).await;
        assert_eq!(trace["spans"].as_array().expect("spans").len(), spans_of[key], "{id}");
        assert_eq!(trace["logs"].as_array().expect("logs").len(), logs_of.get(key).copied().unwrap_or(0), "{id}");
        let story = server.get(&format!("/api/v1/correlate/{}", id.to_uppercase())).await;
        assert_eq!(story["traces"][0]["trace_id"], id.as_str(), "{id}");
    }
    // An ID that stands in log texts only: an order number, which unlike a user's number is in few records.
    let is_uuid = |word: &&str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let split = |log: &Log| -> Vec<String> {
        log.body.split(|c: char| !(c.is_ascii_hexdigit() || c == '-')).filter(is_uuid).map(str::to_owned).collect()
    };
    let mut uuids: HashMap<String, usize> = HashMap::new();
    for log in &day.logs {
        let distinct: HashSet<String> = split(log).into_iter().collect();
        distinct.into_iter().for_each(|uuid| *uuids.entry(uuid).or_default() += 1);
    }
    let (uuid, direct) =
        uuids.into_iter().filter(|(_, count)| (3..100).contains(count)).max().expect("the day has order IDs");
    let story = server.get(&format!("/api/v1/correlate/{uuid}")).await;
    let counted = &story["counts"]["logs"];
    assert_eq!(counted.as_u64().or_else(|| counted.as_str()?.parse().ok()), Some(direct as u64), "{uuid}");
    let nothing = server.get("/api/v1/correlate/00000000-dead-4bad-beef-000000000000").await;
    assert_eq!(nothing["traces"].as_array().expect("traces").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_day_is_counted_searched_joined_and_correlated() {
    let Some(data) = trainticket() else { return };
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    import(&server, &data).await;
    let day = read_day(&data);
    check_counts(&server).await;
    server.flush().await;
    check_counts(&server).await;
    check_groups(&server, &day).await;
    check_search(&server, &day).await;
    check_join(&server, &day).await;
    check_correlation(&server, &day).await;
    server.stop();
    let restarted = Server::start(folder.path(), &[]);
    check_counts(&restarted).await;
    check_correlation(&restarted, &day).await;
}
