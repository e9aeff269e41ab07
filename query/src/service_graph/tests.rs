use std::sync::Arc;

use arrow::array::{Int32Array, StringArray};
use serde_json::{Value, json};
use trivium_model::{SignalKind, UnixNanos};

use super::*;
use crate::testing::{Fixture, NOW, SECOND, from_json, ids, integers, rows, times, trace_id};

const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A span of a test: trace, own ID, parent (0 is none), service, kind, whether it failed, milliseconds.
struct Span {
    trace: u32,
    id: u32,
    parent: u32,
    service: &'static str,
    kind: i32,
    failed: bool,
    millis: i64,
    attributes: Value,
    link: Option<(u32, u32)>,
}

fn span(trace: u32, (id, parent): (u32, u32), service: &'static str, kind: i32, millis: i64) -> Span {
    Span { trace, id, parent, service, kind, failed: false, millis, attributes: json!({}), link: None }
}

impl Span {
    fn failed(self) -> Self {
        Self { failed: true, ..self }
    }

    fn with(self, attributes: Value) -> Self {
        Self { attributes, ..self }
    }

    fn linked(self, trace: u32, id: u32) -> Self {
        Self { link: Some((trace, id)), ..self }
    }
}

fn span_id(number: u32) -> String {
    if number == 0 { String::new() } else { format!("{number:016x}") }
}

fn store(spans: &[Span]) -> Fixture {
    let texts = |of: &dyn Fn(&Span) -> String| -> Vec<String> { spans.iter().map(of).collect() };
    let id_column = |size: i32, texts: Vec<String>| ids(size, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let numbers = |of: &dyn Fn(&Span) -> i32| Arc::new(Int32Array::from_iter_values(spans.iter().map(of)));
    let link = |span: &Span| {
        span.link.map_or(Value::Null, |(trace, id)| {
            json!([{"trace_id": trace_id(trace), "span_id": span_id(id), "trace_state": null,
                    "attributes": "{}", "dropped_attributes_count": 0, "flags": 0}])
        })
    };
    if spans.is_empty() {
        return Fixture::default();
    }
    let batch = rows(
        SignalKind::Traces,
        vec![
            ("time", times(&vec![NOW - SECOND; spans.len()])),
            ("trace_id", id_column(16, texts(&|span| trace_id(span.trace)))),
            ("span_id", id_column(8, texts(&|span| span_id(span.id)))),
            ("parent_span_id", id_column(8, texts(&|span| span_id(span.parent)))),
            ("service_name", Arc::new(StringArray::from(texts(&|span| span.service.to_owned())))),
            ("kind", numbers(&|span| span.kind)),
            ("status_code", numbers(&|span| if span.failed { 2 } else { 0 })),
            ("duration", integers(&spans.iter().map(|span| span.millis * 1_000_000).collect::<Vec<_>>())),
            ("attributes", Arc::new(StringArray::from(texts(&|span| span.attributes.to_string())))),
            ("links", from_json(SignalKind::Traces, "links", &spans.iter().map(link).collect::<Vec<_>>())),
        ],
    );
    Fixture::default().part(SignalKind::Traces, batch)
}

async fn graph_of(spans: &[Span]) -> ServiceGraph {
    let range = TimeRange { start: UnixNanos(NOW - 60 * SECOND), end: UnixNanos(NOW) };
    let engine = store(spans).engine();
    service_graph(&engine, TenantId::DEFAULT, range, Duration::from_secs(60)).await.expect("a graph")
}

fn shown(requests: &Requests) -> String {
    let p95 = requests.p95.map_or_else(|| "?".to_owned(), |nanos| (nanos / 1_000_000).to_string());
    format!("{} {} {p95}", requests.count, requests.errors)
}

fn nodes(graph: &ServiceGraph) -> Vec<String> {
    graph.nodes.iter().map(|((kind, name), requests)| format!("{kind:?} {name}: {}", shown(requests))).collect()
}

fn calls(graph: &ServiceGraph) -> Vec<String> {
    let call = |((caller, (_, callee), kind), requests): (&CallKey, &Requests)| {
        format!("{kind:?} {caller} > {callee}: {}", shown(requests))
    };
    graph.calls.iter().map(call).collect()
}

#[tokio::test]
async fn calls_are_spans_with_the_parent_in_another_service() {
    let graph = graph_of(&[
        span(1, (1, 0), "web", SERVER, 90),
        span(1, (2, 1), "web", CLIENT, 80).failed(),
        span(1, (3, 2), "cart", SERVER, 70),
        span(1, (4, 3), "cart", INTERNAL, 60).failed(),
        // Beyond the range the parent is not known, and neither is the call.
        span(2, (5, 99), "cart", SERVER, 70),
    ])
    .await;
    assert_eq!(nodes(&graph), ["Service cart: 2 0 70", "Service web: 1 0 90"]);
    assert_eq!(calls(&graph), ["Call web > cart: 1 1 70"], "what its caller gave up has failed");
    assert_eq!((graph.sampled_share, graph.is_truncated, graph.is_partial), (1.0, false, false));
}

#[tokio::test]
async fn what_clients_name_is_a_database_or_outside() {
    let postgres = || json!({"db.system.name": "postgresql", "db.namespace": "orders", "server.address": "db.svc"});
    let graph = graph_of(&[
        span(1, (1, 0), "orders", SERVER, 9),
        span(1, (2, 1), "orders", CLIENT, 3).with(postgres()),
        span(1, (3, 1), "orders", CLIENT, 3).with(postgres()).failed(),
        span(2, (4, 0), "stock", CLIENT, 8).with(postgres()),
        span(1, (5, 1), "orders", CLIENT, 4).with(json!({"db.system": "redis"})),
        span(1, (6, 1), "orders", CLIENT, 5).with(json!({"server.address": "bank.example"})),
        // Down, but known.
        span(1, (7, 1), "orders", CLIENT, 5).with(json!({"server.address": "stock.shop.svc"})),
        // Answered by a span of another name.
        span(1, (8, 1), "orders", CLIENT, 5).with(json!({"server.address": "10.0.0.7"})),
        span(1, (9, 8), "web", SERVER, 5),
    ])
    .await;
    assert_eq!(
        nodes(&graph),
        [
            "Service orders: 1 0 9",
            "Service stock: 0 0 ?",
            "Service web: 1 0 5",
            "Database postgresql orders: 3 1 ?",
            "Database redis: 1 0 4",
            "External bank.example: 1 0 5"
        ]
    );
    assert_eq!(
        calls(&graph),
        [
            "Call orders > web: 1 0 5",
            "Call orders > postgresql orders: 2 1 3",
            "Call orders > redis: 1 0 4",
            "Call orders > bank.example: 1 0 5",
            "Call stock > postgresql orders: 1 0 8"
        ]
    );
}

#[tokio::test]
async fn a_message_is_followed_by_its_link_and_counts_once() {
    let graph = graph_of(&[
        span(1, (1, 0), "checkout", PRODUCER, 3),
        // In the same trace, by its parent; the link says the same.
        span(1, (2, 1), "orders", CONSUMER, 5).linked(1, 1),
        // A batch of another trace, and the processing within it.
        span(2, (3, 0), "mail", CONSUMER, 9).linked(1, 1),
        span(2, (4, 3), "mail", CONSUMER, 7).linked(1, 1).failed(),
    ])
    .await;
    assert_eq!(calls(&graph), ["Message checkout > mail: 1 1 9", "Message checkout > orders: 1 0 5"]);
}

#[tokio::test]
async fn names_are_data() {
    let graph =
        graph_of(&[span(1, (1, 0), "a' OR '1'='1", SERVER, 9), span(1, (2, 1), "\"; DROP TABLE spans", SERVER, 9)])
            .await;
    assert_eq!(calls(&graph), ["Call a' OR '1'='1 > \"; DROP TABLE spans: 1 0 9"]);
    assert!(graph_of(&[]).await.calls.is_empty());
}

#[tokio::test]
async fn of_many_spans_a_share_of_the_traces_tells_the_whole() {
    let spans: Vec<Span> = (0..2_000)
        .flat_map(|trace| [span(trace, (1, 0), "web", SERVER, 5), span(trace, (2, 1), "cart", SERVER, 5)])
        .collect();
    let engine = store(&spans).engine();
    let within = within(TimeRange { start: UnixNanos(NOW - 60 * SECOND), end: UnixNanos(NOW) });
    let graph = ServiceGraph { sampled_share: 1.0, ..ServiceGraph::default() };
    let ends_at = Instant::now() + Duration::from_secs(60);
    let mut reader = Reader { engine: &engine, tenant: TenantId::DEFAULT, within, ends_at, graph };
    let sample = reader.sample(4_000, 1_000);
    assert_eq!(
        (sample.as_str(), reader.graph.sampled_share),
        (" AND right(encode(trace_id, 'hex'), 4) < '4000'", 0.25)
    );
    reader.calls(&sample).await.expect("calls");
    let requests = reader.graph.calls.values().next().copied().expect("one call");
    assert!(requests.count.abs_diff(2_000) < 250, "{} of 2,000 by a quarter of the traces", requests.count);
    assert_eq!(reader.sample(4_000, 4_000), "", "few spans are looked at one and all");
}

#[tokio::test]
async fn an_engine_without_time_says_so() {
    let engine = store(&[span(1, (1, 0), "web", SERVER, 9)]).engine();
    let error = service_graph(&engine, TenantId::DEFAULT, TimeRange::ALL, Duration::ZERO).await;
    // A millisecond may be enough for one statement, never for all five.
    assert!(matches!(error, Err(Error::Timeout { .. })), "{error:?}");
}
