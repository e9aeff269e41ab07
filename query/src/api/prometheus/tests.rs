//! Requests as clients send them, over a store that was filled through OTLP; answers to the byte.

use std::path::Path;
use std::time::Duration;
use trivium_model::TenantId;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tower::ServiceExt;
use trivium_ingest::{IngestConfig, IngestDeps};
use trivium_model::{Clock, ManualClock, SignalKind, UnixNanos};
use trivium_storage::MetricDescription;

use super::*;
use crate::config::{OtlpListener, OtlpListeners, PromqlConfig, QueryConfig};
use crate::testing::{NOW, empty_store};

/// One metric of every kind. Times are relative to [`NOW`], in seconds.
fn telemetry() -> Value {
    let at = |seconds: i64| (NOW + seconds * 1_000_000_000).to_string();
    let route = json!([{"key": "http.route", "value": {"stringValue": "/a<b>"}}]);
    let requests = [(-120, 10), (-60, 20), (0, 30)].map(|(time, value)| {
        json!({"timeUnixNano": at(time), "startTimeUnixNano": at(-300), "asInt": value.to_string(), "attributes": route})
    });
    let exemplar = json!({
        "timeUnixNano": at(-1), "asDouble": 0.75, "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": "00f067aa0ba902b7", "filteredAttributes": [{"key": "user", "value": {"stringValue": "u1"}}]
    });
    let latency = json!({
        "timeUnixNano": at(0), "count": "4", "sum": 3.5, "bucketCounts": ["1", "2", "1"], "explicitBounds": [0.1, 1.0],
        "exemplars": [exemplar]
    });
    let size = json!({
        "timeUnixNano": at(0), "count": "4", "sum": 5.0, "scale": 0, "zeroCount": "1", "zeroThreshold": 0.001,
        "positive": {"offset": 0, "bucketCounts": ["1", "2"]}
    });
    let pauses =
        json!({"timeUnixNano": at(0), "count": "3", "sum": 1.5, "quantileValues": [{"quantile": 0.5, "value": 0.2}]});
    json!({"resourceMetrics": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "shop"}},
            {"key": "service.instance.id", "value": {"stringValue": "a"}}
        ]},
        "scopeMetrics": [{"metrics": [
            {"name": "queue.length", "unit": "{message}", "description": "waiting & ready",
             "gauge": {"dataPoints": [{"timeUnixNano": at(-60), "asDouble": 3.0}, {"timeUnixNano": at(0), "asDouble": 2.5}]}},
            {"name": "http.requests", "sum": {"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": requests}},
            {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [latency]}},
            {"name": "size", "unit": "By", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [size]}},
            {"name": "pauses", "summary": {"dataPoints": [pauses]}}
        ]}]
    }]})
}

async fn server_with(folder: &Path, config: QueryConfig) -> Arc<QueryState> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixNanos(NOW)));
    let storage = empty_store(folder, &clock).await;
    let mut registry = Registry::default();
    let deps = IngestDeps { sink: Arc::new(storage.clone()), clock: Arc::clone(&clock), registry: &mut registry };
    let ingest = trivium_ingest::build(IngestConfig::default(), deps);
    let request = Request::post("/v1/metrics").header(CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(telemetry().to_string())).expect("a request");
    let response = ingest.http_router().oneshot(request).await.expect("an answer");
    assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, "{}"));
    crate::state::build(config, storage, clock, &mut registry)
}

async fn server(folder: &Path) -> Arc<QueryState> {
    server_with(folder, QueryConfig::default()).await
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

async fn send(state: &Arc<QueryState>, request: Request<Body>) -> Response {
    routes().with_state(Arc::clone(state)).oneshot(request).await.expect("an answer")
}

fn get_request(path: &str, parameters: &[(&str, &str)]) -> Request<Body> {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    Request::get(format!("/prometheus/api/v1/{path}?{query}")).body(Body::empty()).expect("a request")
}

fn post_request(path: &str, parameters: &[(&str, &str)]) -> Request<Body> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    Request::post(format!("/prometheus/api/v1/{path}"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
        .body(Body::from(form))
        .expect("a request")
}

/// The same asked as GET and as POST, which must answer the same.
async fn ask(state: &Arc<QueryState>, path: &str, parameters: &[(&str, &str)]) -> (StatusCode, String) {
    let response = send(state, get_request(path, parameters)).await;
    let got = (response.status(), text(response).await);
    let response = send(state, post_request(path, parameters)).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        assert_eq!((response.status(), text(response).await), got, "{path} as POST");
    }
    got
}

/// The data of an answer that succeeds without notes.
async fn data_of(state: &Arc<QueryState>, path: &str, parameters: &[(&str, &str)]) -> String {
    let (status, body) = ask(state, path, parameters).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let data = body.strip_prefix(r#"{"status":"success","data":"#).and_then(|rest| rest.strip_suffix('}'));
    data.unwrap_or_else(|| panic!("no envelope: {body}")).to_owned()
}

#[tokio::test]
async fn results_are_the_bytes_of_prometheus() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let shop = r#""instance":"a","job":"shop""#;
    for (query, expected) in [
        ("1.5", r#"{"resultType":"scalar","result":[1700000000,"1.5"]}"#.to_owned()),
        ("1/0", r#"{"resultType":"scalar","result":[1700000000,"+Inf"]}"#.to_owned()),
        ("2^80", r#"{"resultType":"scalar","result":[1700000000,"1.2089258196146292e+24"]}"#.to_owned()),
        (r#""a<b""#, r#"{"resultType":"string","result":[1700000000,"a\u003cb"]}"#.to_owned()),
        ("absent(queue_length)", r#"{"resultType":"vector","result":[]}"#.to_owned()),
        (
            "queue_length",
            format!(
                r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"queue_length",{shop}}},"value":[1700000000,"2.5"]}}]}}"#
            ),
        ),
        (
            r#"{"queue.length"}"#,
            format!(
                r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"queue.length",{shop},"service.instance.id":"a","service.name":"shop"}},"value":[1700000000,"2.5"]}}]}}"#
            ),
        ),
        (
            "http_requests_total[2m1s]",
            format!(
                r#"{{"resultType":"matrix","result":[{{"metric":{{"__name__":"http_requests_total","http_route":"/a\u003cb\u003e",{shop}}},"values":[[1699999880,"10"],[1699999940,"20"],[1700000000,"30"]]}}]}}"#
            ),
        ),
        (
            "size_bytes",
            format!(
                r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"size_bytes",{shop}}},"histogram":[1700000000,{{"count":"4","sum":"5","buckets":[[3,"-0.001","0.001","1"],[0,"1","2","1"],[0,"2","4","2"]]}}]}}]}}"#
            ),
        ),
        (
            "latency_seconds_bucket > 3",
            format!(
                r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"latency_seconds_bucket",{shop},"le":"+Inf"}},"value":[1700000000,"4"]}}]}}"#
            ),
        ),
        (
            "pauses",
            format!(
                r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"pauses",{shop},"quantile":"0.5"}},"value":[1700000000,"0.2"]}}]}}"#
            ),
        ),
    ] {
        assert_eq!(data_of(&state, "query", &[("query", query)]).await, expected, "{query}");
    }
    let range = [("query", "queue_length"), ("start", "1699999939.5"), ("end", "1700000000"), ("step", "30.25")];
    let expected = format!(
        r#"{{"resultType":"matrix","result":[{{"metric":{{"__name__":"queue_length",{shop}}},"values":[[1699999969.750,"3"],[1700000000,"2.5"]]}}]}}"#
    );
    assert_eq!(data_of(&state, "query_range", &range).await, expected);
    let range = [("query", "size_bytes"), ("start", "1700000000"), ("end", "1700000001"), ("step", "1m")];
    let expected = format!(
        r#"{{"resultType":"matrix","result":[{{"metric":{{"__name__":"size_bytes",{shop}}},"histograms":[[1700000000,{{"count":"4","sum":"5","buckets":[[3,"-0.001","0.001","1"],[0,"1","2","1"],[0,"2","4","2"]]}}]]}}]}}"#
    );
    assert_eq!(data_of(&state, "query_range", &range).await, expected);
}

#[tokio::test]
async fn what_there_is_to_tell_follows_the_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let (_, body) = ask(&state, "query", &[("query", "rate(queue_length[2m])")]).await;
    let info = r#""infos":["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"queue_length\" (1:6)"]}"#;
    assert!(body.ends_with(info), "{body}");
    let (_, body) = ask(&state, "query", &[("query", r#"{job="shop"}"#), ("limit", "1")]).await;
    assert!(body.ends_with(r#"]},"warnings":["results truncated due to limit"]}"#), "{body}");
    assert_eq!(body.matches("\"metric\"").count(), 1);
    let response = send(&state, get_request("query", &[("query", "queue_length[5m]"), ("stats", "all")])).await;
    let answer: Value = serde_json::from_str(&text(response).await).expect("JSON");
    assert_eq!(answer["data"]["stats"]["samples"], json!({"totalQueryableSamples": 2, "peakSamples": 2}));
    assert!(answer["data"]["stats"]["timings"]["evalTotalTime"].is_number(), "{answer}");
}

#[tokio::test]
async fn parameters_are_read_as_in_prometheus() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let scalar = |time: &str| format!(r#"{{"resultType":"scalar","result":[{time},"1"]}}"#);
    for (time, expected) in [
        ("4", "4"),
        ("-1.5", "-1.500"),
        ("1700000000.1239", "1700000000.124"),
        ("2023-11-14T22:13:20.007Z", "1700000000.007"),
        ("1e3", "1000"),
    ] {
        assert_eq!(data_of(&state, "query", &[("query", "1"), ("time", time)]).await, scalar(expected), "{time}");
    }
    let stale = [("query", "queue_length"), ("time", "1700000030"), ("lookback_delta", "20s")];
    assert_eq!(data_of(&state, "query", &stale).await, r#"{"resultType":"vector","result":[]}"#);
    // The body counts before the URL, as in Go.
    let request = Request::post("/prometheus/api/v1/query?query=2&time=7")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("query=1"));
    let body = text(send(&state, request.expect("a request")).await).await;
    assert_eq!(body, format!(r#"{{"status":"success","data":{}}}"#, scalar("7")));
}

/// Path, parameters, status, type and text of an error.
type Refusal<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str, &'a str);

const REFUSALS: &[Refusal<'_>] = &[
    (
        "query",
        &[("query", "1"), ("time", "x")],
        400,
        "bad_data",
        r#"invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp"#,
    ),
    (
        "query",
        &[("query", "1"), ("timeout", "x")],
        400,
        "bad_data",
        r#"invalid parameter "timeout": cannot parse "x" to a valid duration"#,
    ),
    (
        "query",
        &[("query", "1"), ("limit", "many")],
        400,
        "bad_data",
        r#"invalid parameter "limit": strconv.Atoi: parsing "many": invalid syntax"#,
    ),
    (
        "query",
        &[("query", "1"), ("limit", "-1")],
        400,
        "bad_data",
        r#"invalid parameter "limit": limit must be non-negative"#,
    ),
    (
        "query",
        &[("query", "1"), ("lookback_delta", "x")],
        400,
        "bad_data",
        r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#,
    ),
    (
        "query",
        &[("query", "sum(")],
        400,
        "bad_data",
        r#"invalid parameter "query": 1:5: parse error: unclosed left parenthesis"#,
    ),
    ("query", &[("query", "queue_length + on(job) group_left {job=~\".+\"}")], 422, "execution", ""),
    (
        "query_range",
        &[("query", "1"), ("end", "2"), ("step", "1")],
        400,
        "bad_data",
        r#"invalid parameter "start": cannot parse "" to a valid timestamp"#,
    ),
    (
        "query_range",
        &[("query", "1"), ("start", "2"), ("end", "1"), ("step", "1")],
        400,
        "bad_data",
        r#"invalid parameter "end": end timestamp must not be before start time"#,
    ),
    (
        "query_range",
        &[("query", "1"), ("start", "1"), ("end", "2"), ("step", "0")],
        400,
        "bad_data",
        r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
    ),
    (
        "query_range",
        &[("query", "1"), ("start", "0"), ("end", "11001"), ("step", "1")],
        400,
        "bad_data",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    ),
    (
        "query_range",
        &[("query", "x[5m]"), ("start", "1"), ("end", "2"), ("step", "1")],
        400,
        "bad_data",
        r#"invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector"#,
    ),
    ("series", &[], 400, "bad_data", "no match[] parameter provided"),
    ("series", &[("match[]", "{")], 400, "bad_data", ""),
    ("labels", &[("match[]", "{a=\"\"}")], 400, "bad_data", ""),
    (
        "labels",
        &[("start", "x")],
        400,
        "bad_data",
        r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
    ),
    ("metadata", &[("limit", "x")], 400, "bad_data", "limit must be a number"),
    ("status/tsdb", &[("limit", "0")], 400, "bad_data", "limit must be a positive number"),
    ("status/nothing", &[], 404, "not_found", "path not found"),
    ("nothing/at/all", &[], 404, "not_found", "path not found"),
];

#[tokio::test]
async fn errors_have_prometheus_shape_and_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    for (path, parameters, status, kind, message) in REFUSALS {
        let (got, body) = ask(&state, path, parameters).await;
        let error: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((got.as_u16(), &error["errorType"]), (*status, &json!(kind)), "{path} {parameters:?}: {body}");
        assert!(message.is_empty() || error["error"] == json!(message), "{path} {parameters:?}: {body}");
        assert!(body.starts_with(&format!(r#"{{"status":"error","errorType":"{kind}","error":""#)), "{body}");
    }
}

#[tokio::test]
async fn limits_say_what_they_are_and_how_to_raise_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let promql = PromqlConfig { samples_max: 2, ..PromqlConfig::default() };
    let config =
        QueryConfig { promql, concurrency: 1, queue_max: 0, queue_wait: Duration::ZERO, ..QueryConfig::default() };
    let state = server_with(folder.path(), config).await;
    let (status, body) = ask(&state, "query", &[("query", "http_requests_total[5m]")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    for part in ["\"execution\"", "samples", "2", "promql_samples_max"] {
        assert!(body.contains(part), "{part} in {body}");
    }
    let long = format!("1{}", " ".repeat(300 << 10));
    let response = send(&state, post_request("query", &[("query", &long)])).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(text(response).await.contains("the query has 307201 bytes, the limit is 262144"));
    let nested = format!("{}1{}", "(".repeat(1_000), ")".repeat(1_000));
    let (status, body) = ask(&state, "query", &[("query", &nested)]).await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("nested"), "{body}");
    let (status, body) = ask(&state, "query", &[("query", r#"{a=~"(x{1000}){1000}"}"#)]).await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("bytes when compiled"), "{body}");
    let (status, body) = ask(&state, "query", &[("query", "queue_length"), ("timeout", "0")]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body.contains(r#""errorType":"timeout","error":"query timed out in expression evaluation"#), "{body}");
    assert!(body.contains("query_timeout"), "{body}");
    let _permit = state.admission.acquire().await.expect("the only permit");
    let response = send(&state, get_request("query", &[("query", "1")])).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(RETRY_AFTER));
    assert!(text(response).await.contains(r#""errorType":"unavailable""#));
}

/// A question that met a damaged part was answered 500, whatever else there was.
#[tokio::test]
async fn a_damaged_part_is_named_and_the_rest_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    state.storage.flush().await.expect("the samples are published");
    let part = Arc::clone(&state.storage.snapshot(TenantId::DEFAULT, SignalKind::Metrics).parts[0]);
    std::fs::write(part.columns_path(), b"no Parquet").expect("the file");
    let expected = format!("metrics of the damaged part {} are missing; run `trivium verify`", part.record().id);
    let query = ("query", "queue_length or vector(1)");
    let questions: [(&str, &[(&str, &str)]); 8] = [
        ("query", &[query]),
        ("query_range", &[query, ("start", "1699999900"), ("end", "1700000000"), ("step", "10")]),
        ("query_exemplars", &[("query", "latency_seconds_bucket")]),
        ("series", &[("match[]", "queue_length")]),
        ("labels", &[]),
        ("label/job/values", &[]),
        ("metadata", &[]),
        ("status/tsdb", &[]),
    ];
    for (path, parameters) in questions {
        let (status, body) = ask(&state, path, parameters).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let warning = answer["warnings"][0].as_str();
        assert!(warning.is_some_and(|warning| warning.contains(&expected)), "{path}: {body}");
    }
    let (_, body) = ask(&state, "query", &[query]).await;
    assert!(body.contains(r#""value":[1700000000,"1"]"#), "{body}");
}

#[tokio::test]
async fn work_ends_when_its_client_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let (started, has_started) = tokio::sync::oneshot::channel();
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let work = execute::run((Arc::clone(&state), TenantId::DEFAULT), "promql_query", None, move |job| {
        started.send(()).expect("the test waits");
        let selectors = [trivium_promql::parse_selector("queue_length").expect("a selector")];
        let seen = loop {
            if job.check().is_err() {
                break (job.ended(), job.series().series(&selectors, (0, i64::MAX), 1).is_err());
            }
            std::thread::yield_now();
        };
        ended.send(seen).map_err(|_| ApiError::bad_data("the test is gone"))
    });
    let client = tokio::spawn(work);
    has_started.await.expect("the work starts");
    client.abort();
    let (error, sees_it) = has_ended.await.expect("the work ends");
    assert_eq!((error.kind, sees_it), (error::ErrorType::Canceled, true));
    assert_eq!(error.into_response().status().as_u16(), 503);
}

#[test]
fn many_annotations_are_cut() {
    let many: Vec<String> = (0..13).map(|number| format!("note {number}")).collect();
    let notes = body::Notes::of_query(many.clone(), many[..10].to_vec());
    assert_eq!((notes.warnings.len(), notes.infos.len()), (11, 10));
    assert_eq!(notes.warnings.last().map(String::as_str), Some("3 more warning annotations omitted"));
}

#[tokio::test]
async fn large_answers_are_sent_in_pieces_and_whole() {
    let items = (0..50_000).map(|number| format!("value {number}"));
    let response = body::texts(items.clone(), &body::Notes::truncated(true));
    let answer: Value = serde_json::from_str(&text(response).await).expect("JSON");
    assert_eq!(answer["data"], json!(items.collect::<Vec<_>>()));
    assert_eq!(answer["warnings"], json!(["results truncated due to limit"]));
}

#[tokio::test]
async fn series_and_labels_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let shop = r#""instance":"a","job":"shop""#;
    assert_eq!(
        data_of(&state, "series", &[("match[]", "queue_length"), ("match[]", "pauses_count")]).await,
        format!(r#"[{{"__name__":"pauses_count",{shop}}},{{"__name__":"queue_length",{shop}}}]"#)
    );
    assert_eq!(data_of(&state, "labels", &[]).await, r#"["__name__","http_route","instance","job","le","quantile"]"#);
    let names = data_of(&state, "label/__name__/values", &[]).await;
    for name in ["http_requests_total", "latency_seconds_bucket", "pauses", "queue_length", "size_bytes"] {
        assert!(names.contains(&format!("\"{name}\"")), "{name} in {names}");
    }
    assert_eq!(data_of(&state, "label/http_route/values", &[]).await, r#"["/a\u003cb\u003e"]"#);
    let original = [("match[]", r#"{"http.requests"}"#)];
    assert_eq!(data_of(&state, "label/U__http_2e_route/values", &original).await, r#"["/a\u003cb\u003e"]"#);
    assert_eq!(data_of(&state, "label/job/values", &[("end", "1600000000")]).await, "[]");
    let (_, body) = ask(&state, "labels", &[("limit", "1")]).await;
    let expected = r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#;
    assert_eq!(body, expected);
}

#[tokio::test]
async fn exemplars_metadata_and_syntax_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    let query = "histogram_quantile(0.9, rate(latency_seconds_bucket[5m]))";
    let exemplars = [("query", query), ("start", "1699999000"), ("end", "1700000000")];
    assert_eq!(
        data_of(&state, "query_exemplars", &exemplars).await,
        r#"[{"seriesLabels":{"__name__":"latency_seconds_bucket","instance":"a","job":"shop","le":"1"},"exemplars":[{"labels":{"span_id":"00f067aa0ba902b7","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user":"u1"},"value":"0.75","timestamp":1699999999}]}]"#
    );
    assert_eq!(data_of(&state, "query_exemplars", &[("query", "1")]).await, "[]");
    assert_eq!(
        data_of(&state, "metadata", &[("metric", "queue_length")]).await,
        r#"{"queue_length":[{"type":"gauge","unit":"{message}","help":"waiting \u0026 ready"}]}"#
    );
    // As a sender of remote write 1.0 tells it.
    let described = MetricDescription {
        name: "build_info".into(),
        kind: "info",
        unit: String::new(),
        help: "Which \"build\"".into(),
    };
    state.storage.describe_metrics(TenantId::DEFAULT, vec![described]);
    assert_eq!(
        data_of(&state, "metadata", &[("metric", "build_info")]).await,
        r#"{"build_info":[{"type":"info","unit":"","help":"Which \"build\""}]}"#
    );
    let all: Value = serde_json::from_str(&data_of(&state, "metadata", &[("limit", "2")]).await).expect("JSON");
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(data_of(&state, "format_query", &[("query", "sum(a)by(b)>1")]).await, r#""sum by (b) (a) \u003e 1""#);
    let parsed = data_of(&state, "parse_query", &[("query", "rate(a{b=~\"c\"}[5m] @ start()) > 1")]).await;
    let expected = concat!(
        r#"{"bool":false,"lhs":{"args":[{"anchored":false,"matchers":[{"name":"b","type":"=~","value":"c"},"#,
        r#"{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"range":300000,"smoothed":false,"#,
        r#""startOrEnd":"start","timestamp":null,"type":"matrixSelector"}],"func":{"argTypes":["matrix"],"#,
        r#""name":"rate","returnType":"vector","variadic":0},"type":"call"},"matching":null,"op":"\u003e","#,
        r#""rhs":{"type":"numberLiteral","val":"1"},"type":"binaryExpr"}"#
    );
    assert_eq!(parsed, expected);
}

/// Method, path, parameters, and places that the answer must have.
type GrafanaRequest<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// What Grafana's data source sends, and the places in the answers that it reads.
const GRAFANA: &[GrafanaRequest<'_>] = &[
    ("POST", "query", &[("query", "1+1"), ("time", "4")], &["/data/resultType", "/data/result/1"]),
    ("GET", "status/buildinfo", &[], &["/data/version", "/data/revision", "/data/goVersion"]),
    (
        "POST",
        "query_range",
        &[
            ("query", "queue_length"),
            ("start", "1699999940"),
            ("end", "1700000000"),
            ("step", "15"),
            ("timeout", "30s"),
        ],
        &["/data/result/0/metric/job", "/data/result/0/values/0/1"],
    ),
    ("POST", "query", &[("query", "size_bytes"), ("time", "1700000000")], &["/data/result/0/histogram/1/buckets/0/3"]),
    (
        "GET",
        "label/__name__/values",
        &[("start", "1699990000"), ("end", "1700000000"), ("limit", "40000")],
        &["/data/0"],
    ),
    ("POST", "labels", &[("match[]", "{__name__=\"queue_length\"}"), ("limit", "40000")], &["/data/0"]),
    (
        "POST",
        "series",
        &[("match[]", "queue_length"), ("start", "1699990000"), ("end", "1700000000")],
        &["/data/0/__name__"],
    ),
    ("GET", "metadata", &[("limit", "2000")], &["/data/queue_length/0/type", "/data/queue_length/0/help"]),
    (
        "POST",
        "query_exemplars",
        &[("query", "latency_seconds_bucket"), ("start", "1699990000"), ("end", "1700000000")],
        &["/data/0/seriesLabels/job", "/data/0/exemplars/0/labels/trace_id", "/data/0/exemplars/0/timestamp"],
    ),
    ("GET", "status/flags", &[], &["/data/query.lookback-delta"]),
    ("GET", "status/config", &[], &["/data/yaml"]),
    ("GET", "status/runtimeinfo", &[], &["/data/startTime"]),
    ("GET", "status/tsdb", &[("limit", "3")], &["/data/headStats/numSeries", "/data/seriesCountByMetricName/0/value"]),
    ("GET", "format_query", &[("query", "foo/bar")], &["/data"]),
];

#[tokio::test]
async fn grafana_finds_what_it_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    for (method, path, parameters, places) in GRAFANA {
        let request = if *method == "GET" { get_request(path, parameters) } else { post_request(path, parameters) };
        let response = send(&state, request).await;
        assert_eq!(response.status(), StatusCode::OK, "{method} {path}");
        let json = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        assert_eq!(json.as_deref(), Some("application/json"), "{method} {path}");
        let answer: Value = serde_json::from_str(&text(response).await).expect("JSON");
        assert_eq!(answer["status"], "success", "{method} {path}: {answer}");
        for place in *places {
            assert!(
                answer.pointer(place).is_some_and(|value| !value.is_null()),
                "{method} {path}: {place} in {answer}"
            );
        }
    }
    let info = send(&state, get_request("status/buildinfo", &[])).await;
    assert!(!text(info).await.contains("features"));
}

#[tokio::test]
async fn who_wants_to_send_telemetry_is_told_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = |port: u16, scheme: &'static str| {
        let address = ([0, 0, 0, 0], port).into();
        OtlpListener { address, scheme, token: true, client_certificate: false }
    };
    let otlp = Some(OtlpListeners { grpc: listener(4317, "http"), http: listener(443, "https") });
    let state = server_with(folder.path(), QueryConfig { otlp, ..QueryConfig::default() }).await;
    let info: Value = serde_json::from_str(&data_of(&state, "status/runtimeinfo", &[]).await).expect("JSON");
    let http = json!({
        "address": "0.0.0.0:443", "scheme": "https", "port": 443, "token": true, "client_certificate": false,
    });
    assert_eq!((&info["otlp"]["http"], &info["otlp"]["grpc"]["port"]), (&http, &json!(4317)));
}

#[tokio::test]
async fn experimental_language_is_a_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    let promql = PromqlConfig { experimental: true, ..PromqlConfig::default() };
    let state = server_with(folder.path(), QueryConfig { promql, ..QueryConfig::default() }).await;
    let query = [("query", "mad_over_time(queue_length[5m])")];
    assert_eq!(ask(&state, "query", &query).await.0, StatusCode::OK);
    let folder = tempfile::tempdir().expect("a folder");
    let state = server(folder.path()).await;
    assert_eq!(ask(&state, "query", &query).await.0, StatusCode::BAD_REQUEST);
    let flags: Value = serde_json::from_str(&data_of(&state, "status/flags", &[]).await).expect("JSON");
    assert_eq!((&flags["query.lookback-delta"], &flags["enable-feature"]), (&json!("5m"), &json!("")));
}
