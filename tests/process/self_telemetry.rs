//! `--self-telemetry`: Trivium finds its own requests and metrics in itself.

use std::time::Instant;

use serde_json::Value;

use crate::support::{PATIENCE, Server};

/// Asks until the number is at least `least`; the condition is what is waited for, not time.
async fn at_least(server: &Server, least: u64, sql: &str) -> u64 {
    let until = Instant::now() + PATIENCE;
    loop {
        let number = server.number(sql).await;
        if number >= least {
            return number;
        }
        assert!(Instant::now() < until, "{number} instead of {least} after {PATIENCE:?}: {sql}");
    }
}

/// Guarantee: requests to the API are spans of the service `trivium` with the names of the semantic conventions, they join
/// the trace of their caller, and the metrics of `/metrics` and of the process are there, with `--log-level warn`.
#[tokio::test(flavor = "multi_thread")]
async fn own_requests_and_metrics_are_found_in_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--self-telemetry"]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let flush = server.client().post(format!("{}/-/flush", server.http));
    let flush = flush.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")).send().await;
    assert!(flush.expect("the server answers").status().is_success());

    let of_trace = format!("SELECT count(*) FROM spans WHERE service_name = 'trivium' AND trace_id = '{trace}'");
    at_least(&server, 2, &of_trace).await;
    let answer = server.get(&format!("/api/v1/traces/{trace}")).await;
    let span = |name: &str| {
        let spans = answer["spans"].as_array().expect("spans");
        spans.iter().find(|span| span["name"] == name).cloned().unwrap_or_else(|| panic!("no {name} in {answer}"))
    };
    let (request, flush) = (span("POST /-/flush"), span("flush"));
    assert_eq!(request["parent_span_id"], "00f067aa0ba902b7");
    assert_eq!(flush["parent_span_id"], request["span_id"]);
    let attributes = &request["attributes"];
    assert_eq!(attributes["http.route"], "/-/flush", "{request}");
    assert_eq!(attributes["http.request.method"], "POST", "{request}");
    assert_eq!(attributes["http.response.status_code"], Value::from("200"), "{request}");

    let metric =
        |name: &str| format!("SELECT count(*) FROM metrics WHERE service_name = 'trivium' AND metric_name = '{name}'");
    for name in ["process.cpu.time", "process.memory.usage", "trivium_ingest_items", "trivium_storage_parts"] {
        at_least(&server, 1, &metric(name)).await;
    }
    let sum = "SELECT count(*) FROM metrics WHERE metric_name = 'trivium_ingest_items' AND is_monotonic \
         AND temporality = 'cumulative' AND start_time < time";
    at_least(&server, 3, sum).await;
}

/// Guarantee: storing spans makes no spans, those of the last second are stored when the server stops, an ID that was asked
/// for is not in the span of the question, and without the flag nothing is stored.
#[tokio::test(flavor = "multi_thread")]
async fn storing_own_telemetry_makes_none_and_without_the_flag_there_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["--self-telemetry"]);
    let absent = "a1b2c3d4e5f60718a1b2c3d4e5f60718";
    let of_story = "SELECT count(*) FROM spans WHERE name = 'GET /api/v1/correlate/{*id}'";
    server.get(&format!("/api/v1/correlate/{absent}")).await;
    at_least(&server, 1, of_story).await;
    let story = server.get(&format!("/api/v1/correlate/{absent}")).await;
    assert_eq!(story["counts"]["spans"], 0, "{story}");
    let others = "SELECT count(*) FROM spans WHERE name NOT LIKE '% /api/v1/%'";
    assert_eq!(server.number(others).await, 0, "spans that no request made");
    server.stop();

    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.number(of_story).await, 2, "the span of the last question");
    let count = "SELECT count(*) FROM spans";
    let before = server.number(count).await;
    server.get("/api/v1/services").await;
    server.flush().await;
    assert_eq!(server.number(count).await, before);
}
