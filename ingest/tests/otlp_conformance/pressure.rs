//! Both transports while the store fails, stalls or panics, the budget is used up, or the server stops.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use http::StatusCode;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use trivium_ingest::IngestConfig;
use trivium_model::SignalKind;
use trivium_proto::rpc;

use super::grpc::{details_of, export};
use super::support::*;

/// Checks that an HTTP answer tells the client to come back (R6, R8).
fn check_http(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{:?}", reply.body);
    let seconds: u64 = reply.header("retry-after").parse().expect("whole seconds");
    assert!((1..=3).contains(&seconds), "{seconds}");
    let status = reply.rpc_status();
    assert_eq!(status.code, i32::from(Code::Unavailable));
    assert!(has_detail(&status, "RetryInfo"), "{status:?}");
}

/// The same for gRPC (R7, R8).
fn check_grpc(status: &tonic::Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = details_of(status);
    let retry = details.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"));
    let retry = rpc::RetryInfo::decode(retry.expect("RetryInfo").value.as_slice()).expect("decodes");
    let delay = retry.retry_delay.expect("a delay");
    assert!((1..=3).contains(&delay.seconds), "{delay:?}");
}

async fn check_all_doors(server: &Server) {
    check_http(&server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)).await);
    check_http(&server.post("/v1/logs", &[JSON], sample_json(SignalKind::Logs)).await);
    check_grpc(&export(server, SignalKind::Logs, sample(SignalKind::Logs)).await.expect_err("refused"));
}

/// R6, R7, R8: a store that takes no writes, or a defect of ours, is retryable through every door, and the server goes on.
#[tokio::test]
async fn failures_of_the_store_are_retryable() {
    let server = Server::start().await;
    for behaviour in [Behaviour::Fail, Behaviour::Panic] {
        server.sink.behave(behaviour);
        check_all_doors(&server).await;
    }
    server.sink.behave(Behaviour::Record);
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)).await.status, StatusCode::OK);
    assert_eq!(server.metric("trivium_ingest_in_flight_bytes"), 0.0);
}

/// R10: no answer comes before the store says that the request is durable.
#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let server = Server::start().await;
    server.sink.behave(Behaviour::Stall);
    let mut http = pin!(server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)));
    let mut grpc = pin!(export(&server, SignalKind::Traces, sample(SignalKind::Traces)));
    tokio::select! {
        _ = &mut http => panic!("acknowledged before the append ended"),
        () = server.sink.entered.notified() => {}
    }
    tokio::select! {
        _ = &mut grpc => panic!("acknowledged before the append ended"),
        () = server.sink.entered.notified() => {}
    }
    assert!(http.as_mut().now_or_never().is_none());
    server.sink.release(2);
    assert_eq!(http.await.status, StatusCode::OK);
    grpc.await.expect("acknowledged");
    assert_eq!(server.sink.take_appended().len(), 2);
}

/// Section 4, Overload: while one request uses up the budget others are refused as retryable, over HTTP before their body is
/// read; then there is room again.
#[tokio::test]
async fn an_exhausted_budget_is_retryable() {
    let server = Server::start_with(IngestConfig::new(None, 1000)).await;
    server.sink.behave(Behaviour::Stall);
    let long = "x".repeat(2000);
    let mut first = pin!(server.post("/v1/logs", &[PROTOBUF], logs_request(&[&long]).encode_to_vec()));
    tokio::select! {
        _ = &mut first => panic!("acknowledged before the append ended"),
        () = server.sink.entered.notified() => {}
    }
    check_all_doors(&server).await;

    let mut unsent = TcpStream::connect(server.http).await.expect("listening");
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n";
    unsent.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    unsent.read_exact(&mut answer).await.expect("an answer without the body");
    assert_eq!(&answer, b"HTTP/1.1 503");

    server.sink.release(1);
    assert_eq!(first.await.status, StatusCode::OK);
    server.sink.behave(Behaviour::Record);
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)).await.status, StatusCode::OK);
}

/// Decompressed bytes count: a small body that grows over a budget in use is refused as retryable, not as too large.
#[tokio::test]
async fn decompressed_bytes_count_against_the_budget() {
    let server = Server::start_with(IngestConfig::new(None, 4 * MIB)).await;
    server.sink.behave(Behaviour::Stall);
    let mut first = pin!(server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)));
    tokio::select! {
        _ = &mut first => panic!("acknowledged before the append ended"),
        () = server.sink.entered.notified() => {}
    }
    let bomb = gzip(&padding(8 * MIB));
    check_http(&server.post("/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], bomb).await);
    server.sink.release(1);
    assert_eq!(first.await.status, StatusCode::OK);
}

/// Once shutdown has begun new requests are told to come back; one in work is acknowledged before the connection closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_finishes_what_was_begun() {
    let mut server = Server::start().await;
    server.sink.behave(Behaviour::Stall);
    let running = tokio::spawn(http1_request(
        server.http,
        request(http::Method::POST, "/v1/logs", &[PROTOBUF], sample(SignalKind::Logs).into()),
    ));
    server.sink.entered.notified().await;
    server.ingest.drain();
    check_all_doors(&server).await;
    server.stop.cancel();
    server.sink.release(1);
    assert_eq!(running.await.expect("no panic").status, StatusCode::OK);
    while let Some(stopped) = server.tasks.join_next().await {
        stopped.expect("no panic").expect("no error");
    }
    assert!(TcpStream::connect(server.http).await.is_err(), "still listening");
}

/// Records that the retention would delete at once are rejected with the bound that replay will use too.
#[tokio::test]
async fn the_retention_bound_goes_to_the_store() {
    let kept = Duration::from_secs(3_600);
    let server = Server::start_with(IngestConfig::new(Some(kept), 64 * MIB)).await;
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)).await.status, StatusCode::OK);
    let appended = server.sink.take_appended().remove(0);
    assert_eq!(appended.received_at.0 as u64, NOW);
    assert_eq!(appended.received_at.since(appended.oldest_admitted), kept);
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What an HTTP/2 client says first: the preface and empty settings.
fn greeting() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

/// `POST http://a/v1/logs`, as HPACK has it.
const HEADERS: &[u8] = b"\x83\x86\x04\x08/v1/logs\x41\x01a";

/// Thousands of requests, each taken back at once.
fn rapid_reset() -> Vec<u8> {
    let requests = (0..5_000_u32).map(|number| 2 * number + 1);
    let cancel = 8_u32.to_be_bytes();
    requests.flat_map(|stream| [frame(1, 4, stream, HEADERS), frame(3, 0, stream, &cancel)].concat()).collect()
}

/// A request whose headers never end.
fn endless_headers() -> Vec<u8> {
    [frame(1, 0, 1, HEADERS), frame(9, 0, 1, &[]).repeat(50_000)].concat()
}

/// Floods over HTTP/2 cost the connection that they come on, and nobody else.
#[tokio::test]
async fn floods_over_http2_are_cut_off_while_others_are_served() {
    let server = Server::start().await;
    for address in [server.http, server.grpc] {
        for (name, flood) in [("rapid reset", rapid_reset()), ("endless headers", endless_headers())] {
            let (mut reader, mut writer) = TcpStream::connect(address).await.expect("a connection").into_split();
            let sending = tokio::spawn(async move {
                // The server may close the connection while we send.
                drop(writer.write_all(&[greeting(), flood].concat()).await);
                writer
            });
            let reply = server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)).await;
            assert_eq!(reply.status, StatusCode::OK, "{name} at {address}");
            export(&server, SignalKind::Logs, sample(SignalKind::Logs)).await.expect("taken");
            let mut heard = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(10), reader.read_to_end(&mut heard)).await;
            assert!(ended.is_ok(), "{name} at {address}: the connection goes on");
            drop(sending.await);
        }
    }
    assert_eq!(server.metric("trivium_ingest_in_flight_bytes"), 0.0);
}
