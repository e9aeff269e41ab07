use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tower::ServiceExt;
use trivium_model::{Clock, ManualClock, RequestKey, TenantId, UnixNanos, Validity, WireFormat};
use trivium_storage::schema::decoded_schema;
use trivium_storage::{AppendRequest, Storage};

use super::*;
use crate::config::QueryConfig;
use crate::log_search::fixture::{LogRow, batch, rows_of_json_lines};
use crate::testing::empty_store;

async fn append(storage: &Storage, rows: &[LogRow], key: u8) {
    let columns: Vec<usize> = (0..decoded_schema(SignalKind::Logs).fields().len()).collect();
    let request = AppendRequest {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        format: WireFormat::Otlp,
        key: RequestKey([key; 16]),
        received_at: UnixNanos(10_000),
        oldest_admitted: UnixNanos::MIN,
        payload: vec![key].into(),
        batch: batch(rows).project(&columns).expect("the decoder's columns"),
    };
    storage.append(request).await.expect("an acknowledged request");
}

/// A server over the nine records of the fixture.
async fn server(folder: &Path) -> Arc<QueryState> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixNanos(10_000)));
    let storage = empty_store(folder, &clock).await;
    append(&storage, &rows_of_json_lines(include_str!("../../log_search/testdata/records.jsonl")), 1).await;
    crate::state::build(QueryConfig::default(), storage, clock, &mut Registry::default())
}

async fn ask(state: &Arc<QueryState>, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = routes().with_state(Arc::clone(state)).oneshot(request).await.expect("an answer");
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&bytes).expect("valid JSON"))
}

#[tokio::test]
async fn an_answer_has_records_counts_and_the_next_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let (status, answer) = ask(
        &state,
        "/api/v1/logs?query=service:cart%20OR%20service:checkout&limit=3&histogram=true&facets=service,http.route&facet_values=1",
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let times = |answer: &Value| -> Vec<String> {
        answer["logs"]
            .as_array()
            .expect("records")
            .iter()
            .map(|log| log["time"].as_str().expect("a time").into())
            .collect()
    };
    assert_eq!(times(&answer), ["4000", "3000", "2000"]);
    assert_eq!(
        (&answer["matched"], &answer["matched_exact"], &answer["partial"]),
        (&4.into(), &true.into(), &false.into())
    );
    assert_eq!(answer["histogram"]["buckets"][0]["severities"], serde_json::json!({"info": 1, "warn": 2, "error": 1}));
    let route = serde_json::json!({"values": [{"value": "/api/v1/checkout", "count": 2}], "distinct": 1, "missing": 2, "estimated": false});
    assert_eq!(answer["facets"]["http.route"], route);
    assert_eq!(answer["facets"]["service"]["values"].as_array().map(Vec::len), Some(1));
    let cursor = answer["next_cursor"].as_str().expect("another page");
    let (_, second) =
        ask(&state, &format!("/api/v1/logs?query=service:cart%20OR%20service:checkout&limit=3&cursor={cursor}")).await;
    assert_eq!((times(&second), &second["next_cursor"]), (vec!["1000".to_owned()], &Value::Null));
}

#[tokio::test]
async fn times_and_order_are_parameters() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let (_, answer) = ask(&state, "/api/v1/logs?start=0&end=0.000005&order=asc&limit=2").await;
    assert_eq!((&answer["logs"][0]["time"], &answer["logs"][1]["time"]), (&"1000".into(), &"2000".into()));
    let (_, answer) = ask(&state, "/api/v1/logs?end=0.000005&query=%20").await;
    assert_eq!(answer["logs"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn wrong_parameters_are_refused_with_a_hint_before_anything_is_allocated() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let many = vec!["f"; 33].join(",");
    for parameters in [
        "limit=-1",
        "limit=1e18",
        "limit=10001",
        "limit=999999999999999999999",
        "order=up",
        "cursor=zzz",
        "histogram=10000000",
        "histogram=-5",
        "interval=1ns&start=0&histogram=true",
        "interval=0s",
        "interval=soon",
        "facets=body",
        &format!("facets={many}"),
        "facets=service&facet_values=1001",
        "start=yesterday",
        "start=now&end=now-1h",
        "timeout=never",
        "query=%22open",
        "query=a&query=b",
    ] {
        // A single bucket of a nanosecond would be fine for an empty store: the records span nine thousand.
        let expected = if parameters.starts_with("interval=1ns") { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        let (status, answer) = ask(&state, &format!("/api/v1/logs?{parameters}")).await;
        assert_eq!(status, expected, "{parameters}: {answer}");
    }
    let (_, answer) = ask(&state, "/api/v1/logs?query=gr%C3%BCn%20%22open").await;
    assert_eq!((&answer["error"]["column"], &answer["error"]["offset"]), (&6.into(), &6.into()));
    assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains("\n       ^")), "{answer}");
    assert!(answer["error"]["hint"].as_str().is_some_and(|hint| hint.contains("add a `\"`")), "{answer}");
}

/// Reads events until `count` have come.
async fn events(body: &mut Body, count: usize) -> Vec<String> {
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let frame = body.frame().await.expect("the stream goes on").expect("a frame");
        text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
    }
    text.split_terminator("\n\n").map(str::to_owned).collect()
}

/// Scenario: a client follows while two requests arrive. Guarantee: it gets the new matches, in the order of arrival, and
/// none of the old ones.
#[tokio::test]
async fn a_tail_sends_what_arrives_and_matches() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let request = Request::get("/api/v1/logs/tail?query=order").body(Body::empty()).expect("a request");
    let response = routes().with_state(Arc::clone(&state)).oneshot(request).await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    assert_eq!(events(&mut body, 1).await, ["event: open\ndata: {}"]);
    append(&state.storage, &[LogRow::new(5, 0, "order one"), LogRow::new(6, 0, "unrelated")], 2).await;
    append(&state.storage, &[LogRow::new(1, 0, "order two")], 3).await;
    let found: Vec<Value> = events(&mut body, 2)
        .await
        .iter()
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").expect("data")).expect("valid JSON"))
        .collect();
    assert_eq!((&found[0]["body"], &found[1]["body"]), (&"order one".into(), &"order two".into()));
}

/// A credential that is taken back in the middle.
#[derive(Debug, Default)]
struct Revocable(AtomicBool);

impl Validity for Revocable {
    fn is_good(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_tail_ends_with_its_credential() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let credential = Arc::new(Revocable::default());
    let request = Request::get("/api/v1/logs/tail").extension(Arc::clone(&credential) as Arc<dyn Validity>);
    let request = request.body(Body::empty()).expect("a request");
    let response = routes().with_state(Arc::clone(&state)).oneshot(request).await.expect("an answer");
    let mut body = response.into_body();
    append(&state.storage, &[LogRow::new(5, 0, "before")], 2).await;
    assert!(events(&mut body, 2).await[1].contains("before"));
    credential.0.store(true, Ordering::SeqCst);
    append(&state.storage, &[LogRow::new(6, 0, "a secret")], 3).await;
    let end = events(&mut body, 1).await;
    assert!(end[0].starts_with("event: end\n") && end[0].contains("not valid any more"), "{end:?}");
    assert!(body.frame().await.is_none(), "the stream goes on");
}

#[tokio::test]
async fn a_tail_refuses_a_wrong_query_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let (status, answer) = ask(&state, "/api/v1/logs/tail?query=(").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}
