//! A stopwatch for log search: the TrainTicket day as many times as the argument says, each a day later, in parts.
//!
//! `cargo run --release -p trivium-query --example log_search_speed -- 60` is 10 million records.

#![expect(clippy::print_stdout, reason = "a stopwatch prints what it measured")]

#[path = "../tests/trainticket/mod.rs"]
mod trainticket;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use trivium_model::TimeRange;
use trivium_query::log_search::{Buckets, Field, PartFacts, SearchRequest, compile, search};
use trivium_storage::Snapshot;

const SEARCHES: &[&str] = &[
    "*",
    "order success",
    "\"get all\"",
    "nosuchword order",
    "exce*",
    "service:ts-order-service level:error",
    "k8s.pod.name:nosuchpod",
    "/[Ff]ail(ed|ure)/",
    "/no such thing/",
    "*nosuchpart*",
];

fn main() {
    let days = std::env::args().nth(1).and_then(|days| days.parse().ok()).unwrap_or(6);
    let Some(messages) = trainticket::messages() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let parts = (0..days).map(|day| {
        let number = u8::try_from(day).expect("at most 256 days");
        trainticket::part(folder.path(), number, &trainticket::batches(&messages, day))
    });
    let snapshot = Snapshot { parts: parts.collect(), buffered: Vec::new() };
    let facts = PartFacts::default();
    for (name, request) in requests() {
        let run = || search(&snapshot, &request, &facts, &CancellationToken::new()).expect("a search");
        let mut answer = run();
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                let begun = Instant::now();
                answer = run();
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        let (shown, matched, read) = (answer.records.len(), answer.matched, answer.rows_read);
        println!("{:>10.2?}  {name}: {shown} records, {matched} matched, {read} rows read", times[2]);
    }
}

fn requests() -> Vec<(String, SearchRequest)> {
    let request = |query: &str, limit| SearchRequest {
        query: compile(query).expect("a valid query"),
        range: TimeRange::ALL,
        limit,
        descending: true,
        cursor: None,
        histogram: None,
        facets: Vec::new(),
        facet_rows_max: u64::MAX,
        deadline: Instant::now() + Duration::from_secs(3_600),
    };
    let mut requests: Vec<_> = SEARCHES.iter().map(|query| ((*query).to_owned(), request(query, 100))).collect();
    let per_minute = Some(Buckets::Width(Duration::from_secs(60)));
    requests.push(("all per minute".into(), SearchRequest { histogram: per_minute, ..request("", 0) }));
    requests.push(("`order` per minute".into(), SearchRequest { histogram: per_minute, ..request("order", 0) }));
    let keys = [
        "service",
        "level",
        "event",
        "scope",
        "flags",
        "k8s.pod.name",
        "k8s.node.name",
        "host.name",
        "thread.name",
        "code.function",
    ];
    let mut facets: Vec<Field> = keys.map(Field::resolve).to_vec();
    facets.extend((0..10).map(|number| Field::resolve(&format!("key-{number}"))));
    requests.push(("20 facets of all".into(), SearchRequest { facets, ..request("", 0) }));
    requests
}
