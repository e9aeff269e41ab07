//! OTLP/gRPC, with tonic's client and a codec of raw bytes, and with bare HTTP/2 where a client would not do it.

use bytes::{Buf, BufMut, Bytes};
use http::{Method, StatusCode};
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use trivium_model::SignalKind;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceResponse;
use trivium_proto::rpc;

use super::support::*;

/// Messages as the bytes they are.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, destination: &mut EncodeBuf<'_>) -> Result<(), Status> {
        destination.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

fn method(signal: SignalKind) -> &'static str {
    match signal {
        SignalKind::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        SignalKind::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        SignalKind::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    }
}

async fn client(server: &Server) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("a URI");
    Grpc::new(endpoint.connect().await.expect("listening"))
}

async fn call(client: &mut Grpc<Channel>, path: &str, body: impl Into<Bytes>) -> Result<Bytes, Status> {
    client.ready().await.expect("ready");
    let path = path.parse().expect("a path");
    client.unary(Request::new(body.into()), path, RawCodec).await.map(tonic::Response::into_inner)
}

/// One call on a connection of its own.
pub(crate) async fn export(server: &Server, signal: SignalKind, body: impl Into<Bytes>) -> Result<Bytes, Status> {
    call(&mut client(server).await, method(signal), body).await
}

/// The `google.rpc.Status` in the details, which must agree with the status that carries it.
pub(crate) fn details_of(status: &Status) -> rpc::Status {
    let details = rpc::Status::decode(status.details()).expect("google.rpc.Status");
    assert_eq!(details.code, i32::from(status.code()));
    assert_eq!(details.message, status.message());
    details
}

fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut framed = vec![flag];
    framed.extend_from_slice(&u32::try_from(message.len()).expect("32 bits").to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

/// A call over bare HTTP/2.
async fn bare(server: &Server, path: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
    let headers = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
    http2_request(server.grpc, request(Method::POST, path, &headers, body)).await
}

fn code_of(reply: &Reply) -> Code {
    assert_eq!(reply.status, StatusCode::OK);
    let value = reply.headers.get("grpc-status").or_else(|| reply.trailers.get("grpc-status"));
    Code::from_bytes(value.expect("a gRPC status").as_bytes())
}

/// T1, R1: every signal in every compression is stored as sent and answered with the empty message.
#[tokio::test]
async fn full_success_in_every_signal_and_compression() {
    let server = Server::start().await;
    let codings =
        [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd), Some(CompressionEncoding::Deflate)];
    for signal in SignalKind::ALL {
        for coding in codings {
            let mut client = client(&server).await;
            if let Some(coding) = coding {
                client = client.send_compressed(coding).accept_compressed(coding);
            }
            let answer = call(&mut client, method(signal), sample(signal)).await;
            assert_eq!(answer.expect("taken"), Bytes::new(), "{signal} {coding:?}");
            let appended = server.sink.take_appended();
            assert_eq!(appended.len(), 1, "{signal} {coding:?}");
            assert_eq!((appended[0].signal, &appended[0].payload[..]), (signal, &sample(signal)[..]));
        }
    }
    let ok = r#"trivium_ingest_requests_total{signal="logs",transport="grpc",code="0"}"#;
    assert_eq!(server.metric(ok), 4.0);
}

/// R1, R2, R9: empty requests and partial success.
#[tokio::test]
async fn empty_and_partial_success() {
    let server = Server::start().await;
    for signal in SignalKind::ALL {
        assert_eq!(export(&server, signal, vec![]).await.expect("taken"), Bytes::new());
    }
    assert!(server.sink.take_appended().is_empty());
    let body = spans_request(&[16, 15]).encode_to_vec();
    let answer = export(&server, SignalKind::Traces, body).await.expect("taken");
    let partial = ExportTraceServiceResponse::decode(answer).expect("a response").partial_success.expect("set");
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.starts_with("rejected 1 of 2 spans: "), "{}", partial.error_message);
}

/// R5: what cannot be decoded or decompressed is INVALID_ARGUMENT with a BadRequest.
#[tokio::test]
async fn undecodable_messages_are_invalid_arguments() {
    let server = Server::start().await;
    for signal in SignalKind::ALL {
        let status = export(&server, signal, vec![0xff; 100]).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(has_detail(&details_of(&status), "BadRequest"));
    }
    let gzipped = [("grpc-encoding", "gzip")];
    let truncated = gzip(&sample(SignalKind::Logs))[..20].to_vec();
    for framed in [frame(1, &truncated), frame(1, b"no gzip"), frame(7, b""), frame(0, b"")[..3].to_vec().into()] {
        let reply = bare(&server, method(SignalKind::Logs), &gzipped, framed).await;
        assert_eq!(code_of(&reply), Code::InvalidArgument);
    }
    let two_messages = [frame(0, b""), frame(0, b"")].concat().into();
    assert_eq!(code_of(&bare(&server, method(SignalKind::Logs), &[], two_messages).await), Code::InvalidArgument);
    assert_eq!(code_of(&bare(&server, method(SignalKind::Logs), &[], Bytes::new()).await), Code::InvalidArgument);
    assert!(server.sink.take_appended().is_empty());
}

/// T7, T8, B-T5, B-T6, B-T16: over the limit, on the wire, after decompression, or only declared, is RESOURCE_EXHAUSTED
/// without RetryInfo, never OUT_OF_RANGE; the limit itself is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_limit_is_not_retryable() {
    let server = Server::start().await;
    let status = export(&server, SignalKind::Logs, padding(65 * MIB)).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(!has_detail(&details_of(&status), "RetryInfo"), "{status:?}");

    let gzipped = [("grpc-encoding", "gzip")];
    let bomb = bare(&server, method(SignalKind::Traces), &gzipped, frame(1, &gzip_bomb(1024))).await;
    assert_eq!(code_of(&bomb), Code::ResourceExhausted);
    let declared = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let declared = bare(&server, method(SignalKind::Traces), &[], declared).await;
    assert_eq!(code_of(&declared), Code::ResourceExhausted);

    let whole = export(&server, SignalKind::Metrics, padding(64 * MIB)).await;
    assert_eq!(whole.expect("exactly the limit"), Bytes::new());
    assert_eq!(server.metric("trivium_ingest_in_flight_bytes"), 0.0);
}

/// B-T19: unknown services, methods and forms of the path are UNIMPLEMENTED.
#[tokio::test]
async fn unknown_methods_are_unimplemented() {
    let server = Server::start().await;
    let known = method(SignalKind::Logs);
    let lower = known.to_lowercase();
    let double = format!("/{known}");
    let other = known.replace("Export", "Import");
    let unknown = ["/grpc.health.v1.Health/Check", "/", &lower, &other];
    for path in unknown {
        let reply = bare(&server, path, &[], frame(0, b"")).await;
        assert_eq!(code_of(&reply), Code::Unimplemented, "{path}");
    }
    let status = call(&mut client(&server).await, &double, vec![]).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unimplemented, "{double}");
}

/// B-T17: an unknown compression is UNIMPLEMENTED and told what is offered; a compressed flag without one is INTERNAL.
#[tokio::test]
async fn unknown_and_unnamed_compressions() {
    let server = Server::start().await;
    let reply = bare(&server, method(SignalKind::Logs), &[("grpc-encoding", "br")], frame(1, b"")).await;
    assert_eq!(code_of(&reply), Code::Unimplemented);
    assert_eq!(reply.header("grpc-accept-encoding"), "identity,gzip,zstd,deflate");
    for named in [&[][..], &[("grpc-encoding", "identity")]] {
        let reply = bare(&server, method(SignalKind::Logs), named, frame(1, b"")).await;
        assert_eq!(code_of(&reply), Code::Internal);
    }
}

/// B-T18: the client's deadline is kept, also when the store stalls.
#[tokio::test]
async fn deadlines_are_kept() {
    let server = Server::start().await;
    server.sink.behave(Behaviour::Stall);
    for timeout in ["1n", "50m"] {
        let framed = frame(0, &sample(SignalKind::Logs));
        let reply = bare(&server, method(SignalKind::Logs), &[("grpc-timeout", timeout)], framed).await;
        assert_eq!(code_of(&reply), Code::DeadlineExceeded, "{timeout}");
    }
    let framed = frame(0, b"");
    let reply = bare(&server, method(SignalKind::Logs), &[("grpc-timeout", "soon")], framed).await;
    assert_eq!(code_of(&reply), Code::InvalidArgument);
}

/// Whoever sends OTLP/HTTP to the gRPC port is told which port to use, in the format that OTLP/HTTP clients read.
#[tokio::test]
async fn http_on_the_grpc_port_is_explained() {
    let server = Server::start().await;
    let request = request(Method::POST, "/v1/logs", &[PROTOBUF], sample(SignalKind::Logs).into());
    let reply = http1_request(server.grpc, request).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(reply.rpc_status().message.contains("4318"), "{:?}", reply.body);
}
