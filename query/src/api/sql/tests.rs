use std::net::SocketAddr;

use arrow::array::{Float64Array, Int64Array};
use arrow::ipc::reader::StreamReader;
use axum::body::to_bytes;
use axum::http::{Request, StatusCode};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use trivium_model::{Clock, ManualClock, SignalKind, UnixNanos};

use super::*;
use crate::config::QueryConfig;
use crate::testing::{Fixture, NOW, empty_store, ids, integers, rows, text, times, trace_id};

fn spans() -> Fixture {
    let traces: Vec<String> = (0..10_000).map(trace_id).collect();
    let batch = rows(
        SignalKind::Traces,
        vec![
            ("time", times(&vec![NOW; 10_000])),
            ("duration", integers(&(0..10_000).collect::<Vec<_>>())),
            ("name", text(&vec!["a \"span\""; 10_000])),
            ("trace_id", ids(16, &traces.iter().map(String::as_str).collect::<Vec<_>>())),
        ],
    );
    let values = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5];
    let metrics = rows(
        SignalKind::Metrics,
        vec![("value", Arc::new(Float64Array::from(values)) as _), ("time", times(&[NOW, NOW + 1, NOW + 2, NOW + 3]))],
    );
    Fixture::default().buffer(SignalKind::Traces, batch).buffer(SignalKind::Metrics, metrics)
}

/// A server over ten thousand spans. SQL never looks at the store beneath.
async fn server(config: QueryConfig) -> (tempfile::TempDir, Arc<QueryState>) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixNanos(NOW)));
    let storage = empty_store(folder.path(), &clock).await;
    let state = QueryState {
        series: crate::series::SeriesState::new(config.series.clone(), config.promql.answer_cache_bytes_max),
        started: clock.now(),
        slos: crate::alerting::TenantSlos::new(Arc::clone(&clock)),
        views: trivium_views::Views::new(storage.state(), Arc::clone(&clock)),
        engine: spans().engine_with(&config),
        admission: crate::admission::Admission::new(&config),
        metrics: crate::telemetry::QueryMetrics::register(&mut Registry::default()),
        storage,
        clock,
        config,
    };
    (folder, Arc::new(state))
}

/// The server on a socket.
async fn listen(state: &Arc<QueryState>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(trivium_ingest::serve(listener, routes().with_state(Arc::clone(state)), std::future::pending()));
    address
}

async fn send(state: &Arc<QueryState>, accept: &str, body: impl Into<Body>) -> Response {
    let request = Request::post("/api/v1/sql").header(ACCEPT, accept).body(body.into()).expect("a request");
    routes().with_state(Arc::clone(state)).oneshot(request).await.expect("an answer")
}

async fn ask(state: &Arc<QueryState>, body: &Value) -> (StatusCode, Value) {
    read(send(state, "application/json", body.to_string()).await).await
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&bytes).expect("valid JSON"))
}

#[tokio::test]
async fn json_follows_the_conventions() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let sql = "SELECT trace_id, time, duration, name FROM spans ORDER BY duration LIMIT 1";
    let (status, answer) = ask(&state, &json!({ "sql": sql })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["rows"], json!([[trace_id(0), NOW.to_string(), "0", "a \"span\""]]));
    assert_eq!(answer["columns"][0], json!({"name": "trace_id", "type": "hex"}));
    assert_eq!(
        (&answer["row_count"], &answer["truncated"], &answer["partial"], &answer["warnings"]),
        (&json!(1), &json!(false), &json!(false), &json!([]))
    );
    let (_, answer) = ask(&state, &json!({ "sql": "SELECT value FROM metrics ORDER BY time" })).await;
    assert_eq!(answer["rows"], json!([["NaN"], ["Infinity"], ["-Infinity"], [0.5]]));
}

#[tokio::test]
async fn an_answer_comes_in_the_form_that_was_asked_for() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let body = json!({ "sql": "SELECT duration, name FROM spans ORDER BY duration", "max_rows": 700 }).to_string();
    let response = send(&state, "application/x-ndjson", body.clone()).await;
    assert_eq!(response.headers()[CONTENT_TYPE], "application/x-ndjson");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    let lines: Vec<&str> = std::str::from_utf8(&bytes).expect("UTF-8").lines().collect();
    assert_eq!((lines.len(), lines[699]), (700, r#"{"duration":"699","name":"a \"span\""}"#));
    let response = send(&state, "application/vnd.apache.arrow.stream", body).await;
    assert_eq!(response.headers()[CONTENT_TYPE], "application/vnd.apache.arrow.stream");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    let batches: Vec<RecordBatch> =
        StreamReader::try_new(bytes.as_ref(), None).expect("a stream").collect::<Result<_, _>>().expect("batches");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 700);
    let first = batches[0].column(0).as_any().downcast_ref::<Int64Array>().expect("numbers").value(5);
    assert_eq!(first, 5);
}

#[tokio::test]
async fn what_is_cut_is_said() {
    let config = QueryConfig { answer_bytes_max: 10_000, ..QueryConfig::default() };
    let (_folder, state) = server(config).await;
    let (status, answer) = ask(&state, &json!({ "sql": "SELECT name FROM spans", "max_rows": 3 })).await;
    assert_eq!((status, &answer["row_count"]), (StatusCode::OK, &json!(3)));
    assert_eq!((&answer["truncated"], &answer["partial"]), (&json!(true), &json!(true)));
    assert!(answer["warnings"][0].as_str().expect("a warning").contains("more than the 3 rows"), "{answer}");
    let (status, answer) = ask(&state, &json!({ "sql": "SELECT hex(trace_id) FROM spans" })).await;
    assert_eq!((status, &answer["truncated"], &answer["partial"]), (StatusCode::OK, &json!(true), &json!(true)));
    assert!(answer["row_count"].as_u64().expect("a number") < 1_000);
    assert!(answer["warnings"][0].as_str().expect("a warning").contains("cut after 10000 bytes"), "{answer}");
}

#[tokio::test]
async fn every_wrong_request_has_its_status() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let sql = |sql: &str| json!({ "sql": sql }).to_string();
    let mut wrong = Vec::new();
    for (body, status, expected) in [
        (sql("SELECT 1 FROM spans WHERE ) = 1"), 400, "Line: 1, Column: "),
        (sql("SELECT nosuch FROM spans"), 400, "there is no column"),
        (sql("SELECT 1/0"), 400, "division by zero"),
        (sql("SELECT '\u{0}' || 'a'"), 200, ""),
        (sql("DROP TABLE logs"), 403, "read-only"),
        (sql(&format!("SELECT {}1", "1 + ".repeat(5_000))), 422, "send several statements"),
        (sql("SELECT 1; SELECT 2"), 400, "one statement"),
        ("{".to_owned(), 400, "cannot read the request"),
        ("[]".to_owned(), 400, "cannot read the request"),
        ("[".repeat(100_000), 400, "cannot read the request"),
        (r#"{"sql": 1}"#.to_owned(), 400, "cannot read the request"),
        (r#"{"sql": "SELECT 1", "tenant": 7}"#.to_owned(), 400, "unknown field"),
        (r#"{"sql": "SELECT 1", "timeout": "soon"}"#.to_owned(), 400, "soon"),
        (r#"{"sql": "SELECT 1", "timeout": -1}"#.to_owned(), 400, "-1"),
        (r#"{"sql": "SELECT 1", "timeout": 1e300}"#.to_owned(), 400, "not a number of seconds"),
        (r#"{"sql": "SELECT 1", "timeout": "10h"}"#.to_owned(), 422, "timeout is 10h"),
        (r#"{"sql": "SELECT 1", "max_rows": 99999999999}"#.to_owned(), 422, "max_rows"),
        (r#"{"sql": "SELECT 1", "max_rows": -1}"#.to_owned(), 400, "max_rows"),
        (r#"{"sql": "SELECT 1", "timeout": []}"#.to_owned(), 400, "duration such as"),
        (r#"{"sql": "SELECT 1"} and more"#.to_owned(), 400, "must be a JSON object"),
        (String::new(), 400, "must be a JSON object"),
        (format!(r#"{{"sql": "{}"}}"#, "x".repeat(600_000)), 413, "524288 bytes"),
    ] {
        let (found, answer) = read(send(&state, "*/*", body.clone()).await).await;
        let start = body.get(..60).unwrap_or(&body);
        if found.as_u16() != status || !answer.to_string().contains(expected) {
            wrong.push(format!("{start}: {found} {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let (status, answer) = read(send(&state, "*/*", vec![b'"', 0xff, 0xfe]).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test]
async fn only_json_is_taken() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let body = json!({ "sql": "SELECT 1" }).to_string();
    let mut wrong = Vec::new();
    for (content_type, status) in [
        (None, 200),
        (Some("application/json"), 200),
        (Some("Application/JSON; charset=utf-8"), 200),
        (Some(""), 200),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("text/plain"), 415),
        (Some("application/jsonp"), 415),
    ] {
        let request = Request::post("/api/v1/sql");
        let request = match content_type {
            Some(value) => request.header(CONTENT_TYPE, value),
            None => request,
        };
        let request = request.body(Body::from(body.clone())).expect("a request");
        let response = routes().with_state(Arc::clone(&state)).oneshot(request).await.expect("an answer");
        let (found, answer) = read(response).await;
        let is_told = found == StatusCode::OK || answer.to_string().contains("application/json");
        if found.as_u16() != status || !is_told {
            wrong.push(format!("{content_type:?}: {found} {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_hears_that_it_was_too_much() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let address = listen(&state).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let length = 20 << 20;
    let head = format!("POST /api/v1/sql HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    stream.write_all(&vec![b' '; length]).await.expect("the body is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("limit_exceeded"), "{answer}");
}

const SLOW: &str = "SELECT count(*) FROM spans a, spans b, spans c WHERE a.duration + b.duration + c.duration = -7";

#[tokio::test]
async fn a_query_that_takes_too_long_is_a_gateway_timeout() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let (status, answer) = ask(&state, &json!({ "sql": SLOW, "timeout": "200ms" })).await;
    assert_eq!((status, &answer["error"]["kind"]), (StatusCode::GATEWAY_TIMEOUT, &json!("cancelled")), "{answer}");
}

#[tokio::test]
async fn too_many_queries_at_once_are_told_to_come_back() {
    let config = QueryConfig { concurrency: 1, queue_max: 0, ..QueryConfig::default() };
    let (_folder, state) = server(config).await;
    let permit = state.admission.acquire().await.expect("the only permit");
    let response = send(&state, "*/*", json!({ "sql": "SELECT 1" }).to_string()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    drop(permit);
    assert_eq!(ask(&state, &json!({ "sql": "SELECT 1" })).await.0, StatusCode::OK);
}

mod stream;
