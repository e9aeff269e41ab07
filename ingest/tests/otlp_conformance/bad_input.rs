//! OTLP/HTTP: requests that are refused, each with `google.rpc.Status` in the encoding of the request, nothing stored.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use trivium_ingest::IngestConfig;
use trivium_model::{SignalKind, limit};
use trivium_proto::rpc;

use super::support::*;

const LIMIT: usize = 64 * MIB;

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Checks that an answer is a refusal as R4 wants it.
fn check(reply: &Reply, status: StatusCode, code: Code, content_type: &str) -> rpc::Status {
    assert_eq!(reply.status, status, "{:?}", reply.body);
    assert_eq!(reply.header("content-type"), content_type);
    let rpc_status = reply.rpc_status();
    assert_eq!(rpc_status.code, i32::from(code), "{rpc_status:?}");
    assert!(!rpc_status.message.is_empty());
    assert!(!has_detail(&rpc_status, "RetryInfo"), "told to retry what cannot succeed: {rpc_status:?}");
    assert_eq!(reply.header("retry-after"), "");
    rpc_status
}

/// R5, T5, B-T4, B-T10: what cannot be decoded or decompressed is 400 with a BadRequest.
#[tokio::test]
async fn undecodable_bodies_are_400() {
    let server = Server::start().await;
    let truncated_gzip = gzip(&sample(SignalKind::Logs))[..20].to_vec();
    let trailing_garbage = [gzip(&sample(SignalKind::Logs)), b"garbage that is no gzip member".to_vec()].concat();
    let gzipped: Headers = &[PROTOBUF, ("content-encoding", "gzip")];
    let zstandard: Headers = &[PROTOBUF, ("content-encoding", "zstd")];
    let cases: [(Headers, Vec<u8>); 10] = [
        (&[PROTOBUF], vec![0xff; 100]),
        (&[PROTOBUF], vec![0x80]),
        (&[PROTOBUF], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec()),
        (&[JSON], sample(SignalKind::Logs)),
        (&[JSON], b"{".to_vec()),
        (&[JSON], Vec::new()),
        (gzipped, truncated_gzip),
        (gzipped, trailing_garbage),
        (gzipped, sample(SignalKind::Logs)),
        (zstandard, sample(SignalKind::Logs)),
    ];
    for (path, _) in PATHS {
        for (headers, body) in &cases {
            let reply = server.post(path, headers, body.clone()).await;
            let status = check(&reply, StatusCode::BAD_REQUEST, Code::InvalidArgument, headers[0].1);
            assert!(has_detail(&status, "BadRequest"), "{status:?}");
        }
    }
    assert!(server.sink.take_appended().is_empty());
}

/// A request with more records than one may have is 400, told before they take memory, and stores nothing.
#[tokio::test]
async fn too_many_records_are_400() {
    let server = Server::start().await;
    // One resource with one scope with one record of two bytes more than is taken.
    let records = [0x12, 0].repeat(limit::REQUEST_ROWS_MAX + 1);
    let scope = field(2, &records);
    let reply = server.post("/v1/logs", &[PROTOBUF], field(1, &scope)).await;
    let status = check(&reply, StatusCode::BAD_REQUEST, Code::InvalidArgument, PROTOBUF.1);
    assert!(status.message.contains("1048577 records") && status.message.contains("smaller batches"), "{status:?}");
    let error = super::grpc::export(&server, SignalKind::Logs, field(1, &scope)).await.expect_err("too many records");
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    assert!(server.sink.take_appended().is_empty());
}

/// A field of bytes.
fn field(number: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(message.len() as u64, &mut bytes);
    bytes.extend_from_slice(message);
    bytes
}

/// T10, B-T3: other content types are 415.
#[tokio::test]
async fn unknown_content_types_are_415() {
    let server = Server::start().await;
    for headers in [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/jsonp")]] {
        let reply = server.post("/v1/logs", headers, sample(SignalKind::Logs)).await;
        check(&reply, StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, "application/json");
    }
    assert!(server.sink.take_appended().is_empty());
}

/// B-T7, B-T9: unknown and multiple content codings are 415 and told what is offered.
#[tokio::test]
async fn unknown_content_codings_are_415() {
    let server = Server::start().await;
    let twice = gzip(&gzip(&sample(SignalKind::Logs)));
    for codings in [&["br"][..], &["snappy"], &["gzip, gzip"], &["gzip", "gzip"], &["identity", "gzip"]] {
        for content_type in [PROTOBUF, JSON] {
            let mut headers = vec![content_type];
            headers.extend(codings.iter().map(|coding| ("content-encoding", *coding)));
            let reply = server.post("/v1/logs", &headers, twice.clone()).await;
            check(&reply, StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, content_type.1);
            assert_eq!(reply.header("accept-encoding"), "gzip, zstd, deflate");
        }
    }
    let reply = server.post("/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], twice).await;
    check(&reply, StatusCode::BAD_REQUEST, Code::InvalidArgument, PROTOBUF.1);
    assert!(server.sink.take_appended().is_empty());
}

/// R4, T10, B-T2: other paths are 404, other methods 405 with Allow.
#[tokio::test]
async fn wrong_paths_and_methods() {
    let server = Server::start().await;
    for path in ["/", "/v1/profiles", "/v1/logs/", "//v1/logs", "/V1/logs", "/v1/logs/x"] {
        for content_type in [PROTOBUF, JSON] {
            let reply = server.post(path, &[content_type], "").await;
            check(&reply, StatusCode::NOT_FOUND, Code::Unimplemented, content_type.1);
        }
    }
    for (path, _) in PATHS {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let reply = server.request(method, path, &[], "").await;
            check(&reply, StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, "application/json");
            assert_eq!(reply.header("allow"), "POST");
        }
    }
}

/// T7, T8, B-T5: 64 MiB is taken, one byte more is 413, also when a client that never looks up sends all of it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_limit_holds_on_the_wire() {
    let server = Server::start().await;
    let reply = server.post("/v1/logs", &[PROTOBUF], padding(LIMIT)).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    let reply = server.post("/v1/logs", &[PROTOBUF], padding(LIMIT + 1)).await;
    check(&reply, StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, PROTOBUF.1);

    // Without a declared length.
    let chunks = padding(LIMIT + 1).chunks(MIB).map(Bytes::copy_from_slice).collect::<Vec<_>>();
    let frames = futures::stream::iter(chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Frame::data(chunk))));
    let mut chunked = Request::new(StreamBody::new(frames));
    *chunked.method_mut() = Method::POST;
    *chunked.uri_mut() = "/v1/logs".parse().expect("a path");
    chunked.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    let reply = http1_request(server.http, chunked).await;
    check(&reply, StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, JSON.1);

    let mut stream = TcpStream::connect(server.http).await.expect("listening");
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        LIMIT + 1
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b' '; LIMIT + 1]).await.expect("the whole body is accepted before the answer is read");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert!(server.sink.take_appended().is_empty());
}

/// T7, T8, B-T6: a bomb of 1 GiB in 1 MiB is 413 in every coding, and costs no more memory than the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_limit_holds_after_decompression() {
    let server = Server::start().await;
    let zeroes = vec![0; LIMIT + 1];
    for (coding, body) in [("gzip", gzip_bomb(1024)), ("zstd", zstd(&zeroes)), ("deflate", zlib(&zeroes))] {
        let reply = server.post("/v1/traces", &[PROTOBUF, ("content-encoding", coding)], body).await;
        check(&reply, StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, PROTOBUF.1);
    }
    let whole = padding(LIMIT);
    let reply = server.post("/v1/traces", &[PROTOBUF, ("content-encoding", "zstd")], zstd(&whole)).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    assert_eq!(server.metric("trivium_ingest_in_flight_bytes"), 0.0);
}

/// B-T20: a declared length over the limit is refused before the body is asked for.
#[tokio::test]
async fn an_over_long_body_is_refused_unread() {
    let server = Server::start().await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut stream = TcpStream::connect(server.http).await.expect("listening");
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{expect}content-length: {}\r\n\r\n",
            LIMIT + 1
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    }
}

/// B-T11: a body that never ends is 408 after the time limit, one that breaks off is 400; neither holds the budget.
#[tokio::test]
async fn slow_and_broken_bodies() {
    let config = IngestConfig { body_timeout: Duration::from_millis(100), ..IngestConfig::default() };
    let server = Server::start_with(config).await;
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

    let mut slow = TcpStream::connect(server.http).await.expect("listening");
    slow.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n").as_bytes()).await.expect("sent");
    let answer = read_head(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    let mut broken = TcpStream::connect(server.http).await.expect("listening");
    broken.write_all(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).await.expect("sent");
    broken.shutdown().await.expect("half closed");
    let answer = read_head(&mut broken).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{answer}");
    assert!(server.sink.take_appended().is_empty());
    assert_eq!(server.metric("trivium_ingest_in_flight_bytes"), 0.0);
}

/// B-T13, B-T14: oversized heads are 431; two content lengths are 400; a length beside chunks ends the connection, so that
/// nothing can be smuggled behind it.
#[tokio::test]
async fn hostile_heads() {
    let server = Server::start().await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let many: String = (0..1000).map(|i| format!("x{i}: a\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    let twice = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_owned();
    for (head, status) in [(long, 431), (many, 431), (twice, 400)] {
        let mut stream = TcpStream::connect(server.http).await.expect("listening");
        // The server may answer and close before all of it is written.
        drop(stream.write_all(head.as_bytes()).await);
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}: {answer}");
    }
    let mut stream = TcpStream::connect(server.http).await.expect("listening");
    let smuggling = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\
                     transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(smuggling.as_bytes()).await.expect("sent");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("the server closes");
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
}

/// The head of the next answer, empty when the connection ends without one.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => head.extend_from_slice(&buffer[..bytes]),
        }
    }
    String::from_utf8(head).expect("ASCII")
}

/// A body that is still being sent when it is refused is read on, so that the connection stays usable.
#[tokio::test]
async fn a_refusal_in_the_middle_of_a_body_keeps_the_connection() {
    let server = Server::start().await;
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Bytes>();
    let frames = receiver.map(|chunk| Ok::<_, std::io::Error>(Frame::data(chunk)));
    let mut client = http1_client(server.http).await;
    let build = |path: &str, body| {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().expect("a path");
        request.headers_mut().insert("host", "x".parse().expect("a value"));
        request.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
        request
    };
    sender.unbounded_send(Bytes::from_static(b"{")).expect("open");
    let refused = client.send_request(build("/v1/profiles", StreamBody::new(frames.boxed()))).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    sender.unbounded_send(Bytes::from_static(b"}")).expect("open");
    drop(sender);
    Reply::read(refused).await;
    client.ready().await.expect("the connection is kept");
    let next = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"{}")))]).boxed();
    let taken = client.send_request(build("/v1/logs", StreamBody::new(next))).await.expect("an answer");
    assert_eq!(taken.status(), StatusCode::OK);
}
