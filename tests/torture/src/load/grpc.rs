//! A client of OTLP over gRPC: one HTTP/2 connection, one request at a time on it.
//!
//! By h2 itself, since reqwest hides the trailers in which gRPC answers.

use std::time::Duration;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

use crate::payload::{Body, Signal};

/// Codes on which a client of OTLP sends again (OTLP specification, "OTLP/gRPC Response"): CANCELLED, DEADLINE_EXCEEDED, ABORTED,
/// OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
const RETRYABLE: [u16; 6] = [1, 4, 10, 11, 14, 15];

/// Retried only with a hint when to come back.
const RESOURCE_EXHAUSTED: u16 = 8;

/// Bytes in front of a gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A connection, opened when it is needed.
#[derive(Debug)]
pub(super) struct Grpc {
    /// Host and port.
    address: String,
    open: Option<SendRequest<Bytes>>,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    message: String,
    /// `RetryInfo` is the only detail that Trivium sends.
    has_hint: bool,
    /// The message of the response, without its prefix.
    pub(super) body: Bytes,
}

impl Answer {
    /// Whether the client sends again.
    pub(super) fn is_retried(&self) -> bool {
        RETRYABLE.contains(&self.code) || (self.code == RESOURCE_EXHAUSTED && self.has_hint)
    }

    /// Whether a refusal says when to come back.
    pub(super) fn has_hint(&self) -> bool {
        self.has_hint
    }

    pub(super) fn said(&self) -> String {
        format!("gRPC {}: {}", self.code, self.message)
    }
}

impl Grpc {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), open: None }
    }

    /// Exports over the connection; after an error the next export opens another.
    pub(super) async fn export(&mut self, signal: Signal, body: &Body, timeout: Duration) -> anyhow::Result<Answer> {
        let exporting = tokio::time::timeout(timeout, self.try_export(signal, body));
        let answer = exporting.await.context("no answer in time").flatten();
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    async fn try_export(&mut self, signal: Signal, body: &Body) -> anyhow::Result<Answer> {
        let mut sender = match self.open.take() {
            Some(open) => open.ready().await?,
            None => connect(&self.address).await?.ready().await?,
        };
        let request = Request::post(format!("http://{}{}", self.address, signal.grpc_path()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = if body.is_gzip { request.header("grpc-encoding", "gzip") } else { request };
        let (response, mut stream) = sender.send_request(request.body(())?, false)?;
        stream.send_data(framed(body)?, true)?;
        self.open = Some(sender);
        let (head, mut answered) = response.await?.into_parts();
        let mut whole = BytesMut::new();
        while let Some(data) = answered.data().await {
            let data = data?;
            answered.flow_control().release_capacity(data.len())?;
            whole.extend_from_slice(&data);
        }
        // A refusal has no message, and its status stands in the head.
        let status = answered.trailers().await?.unwrap_or(head.headers);
        let body = whole.freeze();
        let body = if body.len() < PREFIX_BYTES { Bytes::new() } else { body.slice(PREFIX_BYTES..) };
        Ok(Answer {
            code: text(&status, "grpc-status").parse().context("an answer without a grpc-status")?,
            message: text(&status, "grpc-message"),
            has_hint: status.contains_key("grpc-status-details-bin"),
            body,
        })
    }
}

async fn connect(address: &str) -> anyhow::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::handshake(stream).await?;
    // Its errors reach the requests.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn framed(body: &Body) -> anyhow::Result<Bytes> {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + body.bytes.len());
    framed.put_u8(u8::from(body.is_gzip));
    framed.put_u32(u32::try_from(body.bytes.len())?);
    framed.put_slice(&body.bytes);
    Ok(framed.freeze())
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}
