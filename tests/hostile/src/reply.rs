//! Requests over plain HTTP/1.1 and HTTP/2, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// After this time without an answer a server hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    trailers: HeaderMap,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).or_else(|| self.trailers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The code of a gRPC answer.
    pub(crate) fn grpc_code(&self) -> i32 {
        self.header("grpc-status").parse().unwrap_or(-1)
    }

    /// The message of a gRPC answer, out of its frame.
    pub(crate) fn grpc_message(&self) -> Bytes {
        if self.body.len() < 5 { Bytes::new() } else { self.body.slice(5..) }
    }
}

fn request(method: Method, path: &str, host: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.header("host", host).body(Full::new(body)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.expect("a whole answer");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body: collected.to_bytes(), trailers }
}

/// One request on a connection of its own.
pub(crate) async fn http1(to: &str, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
    let talk = async {
        let stream = TcpStream::connect(to).await.expect("the server listens");
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request(method, path, to, headers, body)).await;
        let reply = read(answer.unwrap_or_else(|error| panic!("no answer to {}: {error}", shown(path)))).await;
        drop(sender);
        connection.abort();
        reply
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| panic!("no answer to {} in time", shown(path)))
}

/// One gRPC call on a connection of its own; the message is framed already.
pub(crate) async fn grpc(to: &str, path: &str, headers: &[(&str, &str)], framed: Bytes) -> Reply {
    let headers = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
    let uri = format!("http://{to}{path}");
    let talk = async {
        let stream = TcpStream::connect(to).await.expect("the server listens");
        let (mut sender, connection) =
            conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let mut request = request(Method::POST, &uri, to, &headers, framed);
        request.headers_mut().remove("host");
        let reply = read(sender.send_request(request).await.expect("an answer")).await;
        assert_eq!(reply.status, StatusCode::OK);
        connection.abort();
        reply
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| panic!("no answer to {path} in time"))
}

/// Sends bytes as they are and returns what comes back until the server closes or has answered `answers` times.
pub(crate) async fn raw(to: &str, bytes: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(to).await.expect("the server listens");
        // The server may answer and close before all of it is written.
        drop(stream.write_all(bytes).await);
        let mut answer = vec![0; 64 * 1024];
        let mut length = 0;
        while length < answer.len() && !answer[..length].windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut answer[length..]).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => length += bytes,
            }
        }
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("an answer in time")
}

/// A message in a gRPC frame.
pub(crate) fn framed(compressed: bool, message: &[u8]) -> Bytes {
    let mut bytes = vec![u8::from(compressed)];
    bytes.extend_from_slice(&u32::try_from(message.len()).expect("32 bits").to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.into()
}

/// The beginning of what may be long.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(300).collect();
    if short.len() < text.len() { format!("{short}… ({} bytes)", text.len()) } else { short }
}

/// `Export*ServiceResponse`: the three have the same fields under the same numbers.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// What was not taken, and why.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected: i64,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}
