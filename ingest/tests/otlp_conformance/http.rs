//! OTLP/HTTP: what a well-behaved client sees.

use http::{Method, StatusCode};
use prost::Message;
use trivium_model::SignalKind;
use trivium_proto::otlp::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};

use super::support::*;

type Encoder = fn(&[u8]) -> Vec<u8>;

const CODINGS: [(&[(&str, &str)], Encoder); 8] = [
    (&[], |plain| plain.to_vec()),
    (&[("content-encoding", "identity")], |plain| plain.to_vec()),
    (&[("content-encoding", "none")], |plain| plain.to_vec()),
    (&[("content-encoding", "gzip")], gzip),
    (&[("content-encoding", "GZIP")], gzip),
    (&[("content-encoding", "zstd")], zstd),
    (&[("content-encoding", "deflate")], zlib),
    (&[("content-encoding", "deflate")], raw_deflate),
];

/// T1, T3, T4, T5, R1: every signal in both encodings and all compressions is stored as the same protobuf and answered
/// with the empty response in its own encoding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_success_in_every_signal_encoding_and_compression() {
    let server = Server::start().await;
    for (path, signal) in PATHS {
        for (headers, encode) in CODINGS {
            for (content_type, body, answer) in
                [(PROTOBUF, sample(signal), ""), (JSON, sample_json(signal).into_bytes(), "{}")]
            {
                let headers = [headers, &[content_type]].concat();
                let reply = server.post(path, &headers, encode(&body)).await;
                assert_eq!(reply.status, StatusCode::OK, "{path} {headers:?}: {:?}", reply.body);
                assert_eq!(reply.header("content-type"), content_type.1, "{path} {headers:?}");
                assert_eq!(reply.body, answer, "{path} {headers:?}");
                let appended = server.sink.take_appended();
                assert_eq!(appended.len(), 1, "{path} {headers:?}");
                assert_eq!(appended[0].signal, signal);
                assert_eq!(appended[0].batch.num_rows(), 1, "{path} {headers:?}");
                if content_type == PROTOBUF {
                    assert_eq!(appended[0].payload, body, "{path} {headers:?}: the payload is not what was sent");
                }
            }
        }
    }
}

/// T4: a charset behind the content type changes nothing.
#[tokio::test]
async fn content_type_parameters_are_ignored() {
    let server = Server::start().await;
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    let reply = server.post("/v1/logs", &headers, sample_json(SignalKind::Logs)).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), "application/json");
}

/// T6: HTTP/2 with prior knowledge, and several requests on one HTTP/1.1 connection.
#[tokio::test]
async fn http2_and_keep_alive() {
    let server = Server::start().await;
    let body = sample(SignalKind::Logs);
    let reply = http2_request(server.http, request(Method::POST, "/v1/logs", &[PROTOBUF], body.into())).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));

    let mut client = http1_client(server.http).await;
    for (path, signal) in PATHS {
        let request = request(Method::POST, path, &[PROTOBUF, ("host", "localhost")], sample(signal).into());
        client.ready().await.expect("the connection is kept");
        let reply = Reply::read(client.send_request(request).await.expect("an answer")).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
    }
}

/// R9, B-T1: a request without records, or without anything at all, is a success and stores nothing.
#[tokio::test]
async fn empty_requests_succeed() {
    let server = Server::start().await;
    for (path, _) in PATHS {
        // Field 1, length 0: one empty resource_logs, resource_metrics or resource_spans.
        for body in [&[][..], &[0x0a, 0x00]] {
            let reply = server.post(path, &[PROTOBUF], body.to_vec()).await;
            assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0), "{path} {body:?}");
        }
        let reply = server.post(path, &[JSON], "{}").await;
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &b"{}"[..]), "{path}");
    }
    assert!(server.sink.take_appended().is_empty());
}

/// R2: rejected spans are counted and explained; the others are stored; the rejections reach the store with their cause.
#[tokio::test]
async fn partial_success_counts_and_explains() {
    let server = Server::start().await;
    let body = spans_request(&[16, 15, 16, 0]).encode_to_vec();
    let reply = server.post("/v1/traces", &[PROTOBUF], body).await;
    assert_eq!(reply.status, StatusCode::OK);
    let response = ExportTraceServiceResponse::decode(reply.body).expect("a response");
    let ExportTracePartialSuccess { rejected_spans, error_message } = response.partial_success.expect("set");
    assert_eq!(rejected_spans, 2, "{error_message}");
    assert!(error_message.starts_with("rejected 2 of 4 spans: "), "{error_message}");
    let appended = server.sink.take_appended();
    assert_eq!(appended[0].batch.num_rows(), 2);
    let rejections = server.sink.take_rejections();
    assert_eq!(rejections.iter().map(|rejection| rejection.count).sum::<u64>(), 2, "{rejections:?}");
    for rejection in &rejections {
        assert!(error_message.contains(&rejection.reason), "{:?} is not in {error_message:?}", rejection.reason);
    }

    let trace_ids = ["07".repeat(16), "07".repeat(15)];
    let reply = server.post("/v1/traces", &[JSON], spans_json(&trace_ids)).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    let partial = &reply.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "1", "64-bit integers are strings in proto3 JSON");
    assert!(partial["errorMessage"].as_str().expect("a message").starts_with("rejected 1 of 2 spans: "));
}

/// R2: when every span is rejected nothing is stored, and it is still a partial success.
#[tokio::test]
async fn a_request_without_a_valid_record_stores_nothing() {
    let server = Server::start().await;
    let reply = server.post("/v1/traces", &[PROTOBUF], spans_request(&[15]).encode_to_vec()).await;
    assert_eq!(reply.status, StatusCode::OK);
    let response = ExportTraceServiceResponse::decode(reply.body).expect("a response");
    assert_eq!(response.partial_success.expect("set").rejected_spans, 1);
    assert!(server.sink.take_appended().is_empty());
    assert_eq!(server.sink.take_rejections().len(), 1);
}

/// R11, B-T22: a resent request has the same key whatever its compression, so that it is stored once; it is acknowledged
/// every time. Another request, or the same bytes for another signal, has another key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resent_request_is_stored_once() {
    let server = Server::start().await;
    let body = sample(SignalKind::Logs);
    let plain = [PROTOBUF];
    let gzipped = [PROTOBUF, ("content-encoding", "gzip")];
    let resent = (0..5).map(|_| server.post("/v1/logs", &plain, body.clone()));
    for reply in futures::future::join_all(resent).await {
        assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
    }
    assert_eq!(server.post("/v1/logs", &gzipped, gzip(&body)).await.status, StatusCode::OK);
    assert_eq!(server.metric(r#"trivium_ingest_items_total{signal="logs"}"#), 1.0);
    assert_eq!(server.metric(r#"trivium_ingest_duplicate_requests_total{signal="logs"}"#), 5.0);
    server.post("/v1/logs", &plain, logs_request(&["hello", "hello"]).encode_to_vec()).await;
    let appended = server.sink.take_appended();
    assert_eq!(appended.iter().map(|request| request.batch.num_rows()).collect::<Vec<_>>(), [1, 2]);
}

/// T11: a browser may ask first, and reads the answer.
#[tokio::test]
async fn browsers_may_send() {
    let server = Server::start().await;
    let asked = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-team"),
    ];
    let reply = server.request(Method::OPTIONS, "/v1/traces", &asked, "").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("access-control-allow-methods"), "POST");
    assert_eq!(reply.header("access-control-allow-headers"), "content-type,x-team");
    assert_eq!(reply.header("access-control-allow-credentials"), "", "credentials were allowed to everybody");

    let headers = [JSON, ("origin", "https://shop.example")];
    for (body, status) in [("{}", StatusCode::OK), ("{", StatusCode::BAD_REQUEST)] {
        let reply = server.post("/v1/traces", &headers, body).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (status, "*"));
    }
}

/// What was taken, refused and resent is counted by signal, transport and status.
#[tokio::test]
async fn requests_are_counted() {
    let server = Server::start().await;
    server.post("/v1/traces", &[PROTOBUF], spans_request(&[16, 15]).encode_to_vec()).await;
    server.post("/v1/traces", &[PROTOBUF], vec![0xff]).await;
    server.request(Method::GET, "/", &[], "").await;
    let requests = |signal: &str, code: u16| {
        server.metric(&format!(r#"trivium_ingest_requests_total{{signal="{signal}",transport="http",code="{code}"}}"#))
    };
    assert_eq!((requests("traces", 200), requests("traces", 400), requests("unknown", 404)), (1.0, 1.0, 1.0));
    assert_eq!(server.metric(r#"trivium_ingest_items_total{signal="traces"}"#), 1.0);
    assert!(server.metric(r#"trivium_ingest_bytes_total{signal="traces"}"#) > 0.0);
    assert_eq!(server.metric("trivium_ingest_acknowledge_seconds_count"), 1.0);
    assert_eq!(server.metric("trivium_ingest_in_flight_bytes"), 0.0);
    let rejection = server.sink.take_rejections().remove(0);
    let line = format!(r#"trivium_ingest_rejected_total{{signal="traces",reason="{}"}}"#, rejection.reason);
    assert_eq!(server.metric(&line), 1.0, "{line}");
}
