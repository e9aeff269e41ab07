//! A tenant that sends too much is told when to come back, before its body is read, and is taken in then.

use std::time::Duration;

use http::StatusCode;
use prost::Message;
use tonic::Code;
use trivium_ingest::{IngestConfig, TenantLimits};
use trivium_model::{SignalKind, TenantId};
use trivium_proto::rpc;

use super::grpc::{details_of, export};
use super::support::*;

/// Two records may come at once, then one every four seconds.
async fn limited() -> Server {
    let tenant_limits = TenantLimits { bytes_per_second: 10, bytes_burst: 10, ..TenantLimits::default() };
    Server::start_with(IngestConfig { tenant_limits, ..IngestConfig::default() }).await
}

#[tokio::test]
async fn the_wait_that_is_told_is_the_wait_that_is_needed() {
    let server = limited().await;
    let body = sample(SignalKind::Logs);
    let owed = body.len() as u64 - 10;
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], body.clone()).await.status, StatusCode::OK);

    let refused = server.post("/v1/traces", &[PROTOBUF], sample(SignalKind::Traces)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{:?}", refused.body);
    let seconds: u64 = refused.header("retry-after").parse().expect("whole seconds");
    assert_eq!(seconds, owed / 10 + 1);
    let status = refused.rpc_status();
    assert_eq!(status.code, i32::from(Code::ResourceExhausted));
    assert!(has_detail(&status, "RetryInfo") && status.message.contains("bytes_per_second"), "{status:?}");

    let status = export(&server, SignalKind::Logs, body.clone()).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = details_of(&status);
    let retry = details.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"));
    let retry = rpc::RetryInfo::decode(retry.expect("RetryInfo").value.as_slice()).expect("decodes");
    let delay = retry.retry_delay.expect("a delay");
    assert_eq!((delay.seconds as u64, delay.nanos as u64 / 100_000_000), (owed / 10, owed % 10));

    let delay = Duration::new(delay.seconds as u64, delay.nanos as u32);
    server.clock.advance(delay - Duration::from_millis(1));
    assert!(export(&server, SignalKind::Logs, body.clone()).await.is_err(), "a millisecond too early");
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(server.post("/v1/metrics", &[PROTOBUF], sample(SignalKind::Metrics)).await.status, StatusCode::OK);
    let refused = "trivium_ingest_limited_requests_total{tenant=\"0\",signal=\"logs\",limit=\"bytes_per_second\"}";
    assert_eq!(server.metric(refused), 2.0);
    assert_eq!(server.sink.take_appended().len(), 2);
}

/// Nothing of a refused body is read: one that is no request at all, and one that is too large to be, are told the same.
#[tokio::test]
async fn a_refusal_does_not_look_at_the_body() {
    let server = limited().await;
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)).await.status, StatusCode::OK);
    let refused = server.post("/v1/logs", &[PROTOBUF], vec![0xff; 1_000]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.metric("trivium_ingest_in_flight_bytes"), 0.0);
}

#[tokio::test]
async fn what_cannot_be_read_is_charged_too() {
    let server = limited().await;
    let broken = server.post("/v1/logs", &[PROTOBUF], vec![0xff; 1_000]).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let refused = server.post("/v1/logs", &[PROTOBUF], sample(SignalKind::Logs)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "100"));
}

#[tokio::test]
async fn records_are_limited_and_a_tenant_may_be_given_more() {
    let tenant_limits = TenantLimits { records_per_second: 1, records_burst: 2, ..TenantLimits::default() };
    let server = Server::start_with(IngestConfig { tenant_limits, ..IngestConfig::default() }).await;
    let body = |name: &str| logs_request(&[name, name, name]).encode_to_vec();
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], body("a")).await.status, StatusCode::OK);
    let refused = server.post("/v1/logs", &[JSON], sample_json(SignalKind::Logs)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "2"));
    server.ingest.set_tenant_limits(TenantId::DEFAULT, Some(TenantLimits::default()));
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], body("b")).await.status, StatusCode::OK);
}
