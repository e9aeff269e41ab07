//! Log search over the real logs of `../shared/data`, as one part and as buffered rows, against counts made row by row
//! with the definitions of the language and nothing of its machinery.

mod trainticket;

use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use tokio_util::sync::CancellationToken;
use trivium_model::TimeRange;
use trivium_query::log_search::{PartFacts, SearchAnswer, SearchRequest, compile, search};
use trivium_storage::Snapshot;
use trivium_storage::tokens::tokens;

use trainticket::{batches, messages, part};

fn request(query: &str, limit: usize) -> SearchRequest {
    SearchRequest {
        query: compile(query).unwrap_or_else(|error| panic!("{error}")),
        range: TimeRange::ALL,
        limit,
        descending: true,
        cursor: None,
        histogram: None,
        facets: Vec::new(),
        facet_rows_max: u64::MAX,
        deadline: Instant::now() + Duration::from_secs(600),
    }
}

fn run(snapshot: &Snapshot, facts: &PartFacts, request: &SearchRequest) -> SearchAnswer {
    search(snapshot, request, facts, &CancellationToken::new()).expect("a search without failures")
}

/// One record as the naive count sees it.
struct Record<'a> {
    service: &'a str,
    severity: i32,
    body: &'a str,
    attributes: serde_json::Map<String, serde_json::Value>,
}

type Condition = fn(&Record<'_>) -> bool;

fn has_phrase(record: &Record<'_>, phrase: &str) -> bool {
    let phrase = tokens(phrase);
    let has = |text: &str| tokens(text).windows(phrase.len()).any(|window| window == phrase);
    has(record.body)
        || record.attributes.values().any(|value| value.as_str().map_or_else(|| has(&value.to_string()), has))
}

/// Searches and what they mean, said another way.
const SEARCHES: &[(&str, Condition)] = &[
    ("order", |record| has_phrase(record, "order")),
    ("order NOT success", |record| has_phrase(record, "order") && !has_phrase(record, "success")),
    ("\"get all\"", |record| has_phrase(record, "get all")),
    ("service:ts-order-service", |record| record.service == "ts-order-service"),
    ("service:ts-*-service level:error", |record| {
        record.service.starts_with("ts-")
            && record.service.ends_with("-service")
            && (17..=20).contains(&record.severity)
    }),
    ("severity:>=warn", |record| record.severity >= 13),
    ("/[Ff]ail(ed|ure)/", |record| {
        record.body.contains("Failed")
            || record.body.contains("failed")
            || record.body.contains("Failure")
            || record.body.contains("failure")
    }),
    ("exce* OR erro*", |record| {
        let any = |text: &str| tokens(text).iter().any(|token| token.starts_with("exce") || token.starts_with("erro"));
        any(record.body)
            || record.attributes.values().any(|value| value.as_str().map_or_else(|| any(&value.to_string()), any))
    }),
    ("*stat*", |record| {
        let any = |text: &str| tokens(text).iter().any(|token| token.contains("stat"));
        any(record.body)
            || record.attributes.values().any(|value| value.as_str().map_or_else(|| any(&value.to_string()), any))
    }),
    ("nosuchword", |_| false),
];

fn naive_counts(batches: &[RecordBatch]) -> Vec<u64> {
    let mut counts = vec![0; SEARCHES.len()];
    for batch in batches {
        let column = |name: &str| batch.column_by_name(name).expect("a column of the table");
        let dictionary =
            |name: &str| column(name).as_dictionary::<Int32Type>().downcast_dict::<StringArray>().expect("text");
        let (services, attributes) = (dictionary("service_name"), dictionary("attributes"));
        let bodies = column("body").as_string::<i32>();
        let severities = column("severity_number").as_primitive::<Int32Type>();
        for row in 0..batch.num_rows() {
            let record = Record {
                service: services.values().value(services.keys().value(row).try_into().expect("a key")),
                severity: severities.value(row),
                body: if bodies.is_valid(row) { bodies.value(row) } else { "" },
                attributes: serde_json::from_str(
                    attributes.values().value(attributes.keys().value(row).try_into().expect("a key")),
                )
                .expect("an attribute set"),
            };
            for (count, (_, matches)) in counts.iter_mut().zip(SEARCHES) {
                *count += u64::from(matches(&record));
            }
        }
    }
    counts
}

/// Scenario: the whole TrainTicket day in parts and in a buffer. Guarantee: every search counts what a naive look at every
/// row counts, and the first hits are the newest.
#[test]
fn searches_over_the_trainticket_day_count_exactly() {
    let Some(messages) = messages() else { return };
    let batches = batches(&messages, 0);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 168_597);
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = Snapshot {
        parts: vec![part(folder.path(), 1, &batches[..90]), part(folder.path(), 2, &batches[90..150])],
        buffered: batches[150..].to_vec(),
    };
    let facts = PartFacts::default();
    for ((query, _), expected) in SEARCHES.iter().zip(naive_counts(&batches)) {
        let counted = run(&snapshot, &facts, &request(query, 0));
        assert_eq!((counted.matched, counted.matched_exact), (expected, true), "{query}");
        let shown = run(&snapshot, &facts, &request(query, 50));
        assert_eq!(shown.records.len() as u64, expected.min(50), "{query}");
    }
}
