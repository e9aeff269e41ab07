//! OTLP over gRPC: three unary methods, read by the same code as HTTP.
//!
//! The framing is ours, the statuses are tonic's. tonic's own decoder answers an over-long message with OUT_OF_RANGE, which
//! OTLP clients retry for ever, sets aside what the length prefix declares, decompresses on the thread that serves other
//! connections, and knows no byte budget; five bytes of framing are less to maintain than repairs for all that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::Code;
use trivium_model::{SignalKind, WireFormat, limit};

use super::body::{self, Bounds};
use super::{Receiver, response, signal_at, status, tenant_of};
use crate::error::Error;
use crate::pipeline::{ExportRequest, Outcome, PayloadFormat};
use crate::receiver::compression::Coding;
use crate::telemetry::Transport;

const PATHS: [(&str, SignalKind); 3] = [
    ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", SignalKind::Logs),
    ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", SignalKind::Metrics),
    ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", SignalKind::Traces),
];

const PATH_ADVICE: &str = "call Export of LogsService, MetricsService or TraceService of opentelemetry.proto.collector";
const TYPE_ADVICE: &str = "this port speaks OTLP over gRPC; OTLP over HTTP has its own, by default 4318";

/// Before every message: one byte whether it is compressed, four bytes of its length, big-endian.
const PREFIX_BYTES: usize = 5;

pub(crate) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new().fallback(handle).with_state(receiver)
}

async fn handle(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response<Body> {
    let (parts, mut body) = request.into_parts();
    if !is_grpc(&parts) {
        return not_grpc(&receiver, &parts);
    }
    let signal = signal_at(parts.uri.path(), PATHS);
    let result = match signal {
        Some(signal) => receiver.call(signal, &parts, &mut body).await.map(|outcome| (signal, outcome)),
        None => Err(Error::UnknownPath { path: parts.uri.path().to_owned(), advice: PATH_ADVICE }),
    };
    drop(body);
    if let Err(error) = &result {
        receiver.admission.keep_back(error).await;
    }
    let (code, response) = match result {
        Ok((signal, outcome)) => (Code::Ok, success(signal, &outcome)),
        Err(error) => status::grpc(&error),
    };
    receiver.telemetry.answered(signal, Transport::Grpc, code as u16);
    response
}

fn is_grpc(parts: &Parts) -> bool {
    let content_type = parts.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |known: &[u8]| essence.eq_ignore_ascii_case(known);
    parts.method == Method::POST && (is(b"application/grpc") || is(b"application/grpc+proto"))
}

/// Whoever sends OTLP/HTTP to this port learns it in plain HTTP.
fn not_grpc(receiver: &Receiver, parts: &Parts) -> Response<Body> {
    let found = parts.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let error = Error::UnsupportedContentType { found: found.unwrap_or_default(), advice: TYPE_ADVICE };
    let response = status::http(&error, PayloadFormat::Json);
    receiver.telemetry.answered(None, Transport::Grpc, response.status().as_u16());
    response
}

impl Receiver {
    /// Takes the request within the client's own deadline, if it set one.
    async fn call(&self, signal: SignalKind, parts: &Parts, body: &mut Body) -> Result<Outcome, Error> {
        let Some(timeout) = deadline_of(&parts.headers)? else { return self.receive(signal, parts, body).await };
        let receiving = tokio::time::timeout(timeout, self.receive(signal, parts, body));
        receiving.await.unwrap_or(Err(Error::DeadlineExceeded { timeout }))
    }

    async fn receive(&self, signal: SignalKind, parts: &Parts, body: &mut Body) -> Result<Outcome, Error> {
        let named = coding_of(&parts.headers)?;
        let mut reservation = self.enter(tenant_of(parts), signal, 0).await?;
        let bounds = Bounds {
            bytes_max: limit::REQUEST_BYTES_MAX + PREFIX_BYTES,
            timeout: self.body_timeout,
            coding: named,
            inspect: length_of,
        };
        let framed = body::read(body, None, &bounds, &mut reservation).await?;
        let (coding, body) = message_of(framed, named)?;
        let format = PayloadFormat::Protobuf;
        let request =
            ExportRequest { tenant: tenant_of(parts), signal, wire_format: WireFormat::Otlp, format, coding, body };
        self.pipeline.export_reserved(request, reservation).await
    }
}

/// The flag and the length of the message that begins here, `None` while its prefix is incomplete.
fn prefix(framed: &[u8]) -> Option<(u8, u64)> {
    let (flag, rest) = framed.split_first()?;
    let length: [u8; 4] = *rest.first_chunk()?;
    Some((*flag, u64::from(u32::from_be_bytes(length))))
}

/// The length that a message declares, with its prefix, as soon as it is there. Refuses one that is too long before it is read.
fn length_of(framed: &[u8]) -> Result<Option<usize>, Error> {
    let Some((_, length)) = prefix(framed) else { return Ok(None) };
    match usize::try_from(length) {
        Ok(length) if length <= limit::REQUEST_BYTES_MAX => Ok(Some(length + PREFIX_BYTES)),
        _ => Err(Error::TooLarge),
    }
}

/// The only message of a unary request, and how it is compressed.
fn message_of(mut framed: Bytes, named: Coding) -> Result<(Coding, Bytes), Error> {
    let Some((flag, length)) = prefix(&framed) else {
        return Err(Error::Malformed(format!("a gRPC message begins with {PREFIX_BYTES} bytes, got {}", framed.len())));
    };
    let message = framed.split_off(PREFIX_BYTES);
    if message.len() as u64 != length {
        return Err(Error::Malformed(format!("the gRPC message declares {length} bytes, {} follow", message.len())));
    }
    match (flag, named) {
        (0, _) => Ok((Coding::Identity, message)),
        (1, Coding::Identity) => Err(Error::CompressionUnnamed),
        (1, coding) => Ok((coding, message)),
        _ => Err(Error::Malformed(format!("the compressed flag of a gRPC message is 0 or 1, got {flag}"))),
    }
}

fn coding_of(headers: &HeaderMap) -> Result<Coding, Error> {
    let Some(value) = headers.get("grpc-encoding") else { return Ok(Coding::Identity) };
    let coding = value.to_str().ok().and_then(Coding::parse);
    coding.ok_or_else(|| Error::UnsupportedContentEncoding {
        found: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        offered: Coding::OFFERED,
    })
}

/// The `grpc-timeout` header: at most eight digits and a unit.
fn deadline_of(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse_timeout);
    let invalid =
        || Error::Malformed(format!("the grpc-timeout {value:?} is no number of at most 8 digits with a unit"));
    parsed.map(Some).ok_or_else(invalid)
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

fn success(signal: SignalKind, outcome: &Outcome) -> Response<Body> {
    let message = response::encode(signal, outcome, PayloadFormat::Protobuf);
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    // The explanation in it is cut to a few KiB.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    let trailers = async {
        let mut trailers = HeaderMap::new();
        trailers.insert(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Some(Ok::<_, Infallible>(trailers))
    };
    let mut response = Response::new(Body::new(Full::new(framed.freeze()).with_trailers(trailers)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        let known = [("1H", 3_600_000_000_000), ("2M", 120_000_000_000), ("3S", 3_000_000_000), ("4m", 4_000_000)];
        for (text, nanos) in known.into_iter().chain([("5u", 5_000), ("6n", 6), ("99999999n", 99_999_999)]) {
            assert_eq!(parse_timeout(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "5", "S", "-1S", "123456789S", "1x", "1é"] {
            assert_eq!(parse_timeout(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_message_is_exactly_what_its_prefix_declares() {
        let message = |bytes: &[u8], named| message_of(Bytes::copy_from_slice(bytes), named);
        assert_eq!(
            message(&[0, 0, 0, 0, 1, 9], Coding::Gzip).expect("plain"),
            (Coding::Identity, Bytes::from(vec![9]))
        );
        assert_eq!(message(&[1, 0, 0, 0, 0], Coding::Gzip).expect("compressed"), (Coding::Gzip, Bytes::new()));
        assert!(matches!(message(&[1, 0, 0, 0, 0], Coding::Identity), Err(Error::CompressionUnnamed)));
        for wrong in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 9], &[2, 0, 0, 0, 0]] {
            assert!(matches!(message(wrong, Coding::Gzip), Err(Error::Malformed(_))), "{wrong:?}");
        }
    }
}
