//! The only file that maps error kinds to HTTP and gRPC statuses.
//!
//! OTLP clients retry HTTP 429, 502, 503, 504 and gRPC UNAVAILABLE (among others), and RESOURCE_EXHAUSTED only with
//! `RetryInfo`; on anything else they drop the data. So what may pass answers 503 or UNAVAILABLE, even a defect of ours,
//! and 500 is never used.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;
use trivium_model::ErrorKind;
use trivium_proto::rpc;

use super::response::content_type;
use crate::error::Error;
use crate::pipeline::{PayloadFormat, cut};

/// Bytes of an error message. In gRPC it travels in a header, twice, once percent-encoded, and clients limit headers to
/// 8 KiB.
const MESSAGE_BYTES_MAX: usize = 1024;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// The codings that a gRPC client may use.
const GRPC_ACCEPT_ENCODING: &str = "identity,gzip,zstd,deflate";

/// The HTTP status and the gRPC code of a kind of error.
fn of_kind(kind: ErrorKind) -> (StatusCode, Code) {
    match kind {
        ErrorKind::InvalidArgument => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, Code::NotFound),
        ErrorKind::LimitExceeded => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted),
        ErrorKind::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
        ErrorKind::Cancelled => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
        ErrorKind::Unavailable | ErrorKind::Corrupted | ErrorKind::Internal => {
            (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
        }
    }
}

/// The status of an error: that of its kind, but for what only one of the two protocols can express.
fn of_error(error: &Error) -> (StatusCode, Code) {
    let (http, grpc) = of_kind(error.kind());
    match error {
        Error::UnsupportedContentType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, grpc),
        Error::UnsupportedContentEncoding { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
        Error::WrongMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
        Error::UnknownPath { .. } => (http, Code::Unimplemented),
        // The gRPC specification asks for INTERNAL here.
        Error::CompressionUnnamed => (http, Code::Internal),
        _ => (http, grpc),
    }
}

/// An error as an HTTP answer: `google.rpc.Status` in `format`.
pub(super) fn http(error: &Error, format: PayloadFormat) -> Response<Body> {
    let (status, code) = of_error(error);
    let rpc_status = rpc_status(error, code);
    let body = match format {
        PayloadFormat::Protobuf => rpc_status.encode_to_vec(),
        PayloadFormat::Json => json_status(error, &rpc_status).to_string().into_bytes(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type(format));
    add_hints(error, response.headers_mut());
    response
}

/// An error as the answer to a remote write: plain text. Its clients drop the data on every status from 400 to 499, so that
/// what only came too slowly, or is too much for now, is told as what may pass (`retry_on_http_429` of Prometheus is off).
pub(super) fn plain(error: &Error) -> Response<Body> {
    let (status, _) = of_error(error);
    let status = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    let mut response = plain_text(status, message(error));
    add_hints(error, response.headers_mut());
    response
}

/// An answer for people.
pub(super) fn plain_text(status: StatusCode, mut text: String) -> Response<Body> {
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn add_hints(error: &Error, headers: &mut HeaderMap) {
    if let Some(delay) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
    }
    match error {
        Error::WrongMethod { .. } => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Error::UnsupportedContentEncoding { offered, .. } => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(offered));
        }
        _ => {}
    }
}

/// `Retry-After` has whole seconds; rounded up, because a client that comes early is refused again.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}

/// An error as a gRPC answer without a message, the whole status in its headers.
pub(super) fn grpc(error: &Error) -> (Code, Response<Body>) {
    let (_, code) = of_error(error);
    let rpc_status = rpc_status(error, code);
    let details = Bytes::from(rpc_status.encode_to_vec());
    let mut response = tonic::Status::with_details(code, rpc_status.message, details).into_http::<Body>();
    if code == Code::Unimplemented {
        response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(GRPC_ACCEPT_ENCODING));
    }
    (code, response)
}

fn rpc_status(error: &Error, code: Code) -> rpc::Status {
    let retry = error.retry_after().map(|delay| any(RETRY_INFO, &retry_info(delay)));
    let bad_request = violation(error).map(|violation| any(BAD_REQUEST, &violation));
    rpc::Status {
        code: i32::from(code),
        message: message(error),
        details: retry.into_iter().chain(bad_request).collect(),
    }
}

fn message(error: &Error) -> String {
    cut(&error.to_string(), MESSAGE_BYTES_MAX).to_owned()
}

fn any(type_url: &str, detail: &impl Message) -> rpc::Any {
    rpc::Any { type_url: type_url.to_owned(), value: detail.encode_to_vec() }
}

fn retry_info(delay: Duration) -> rpc::RetryInfo {
    let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(delay.subsec_nanos()).unwrap_or_default();
    rpc::RetryInfo { retry_delay: Some(rpc::Duration { seconds, nanos }) }
}

/// What is wrong with which part of a request that can never succeed.
fn violation(error: &Error) -> Option<rpc::BadRequest> {
    let field = match error {
        Error::Decode(_) | Error::Decompress { .. } | Error::Malformed(_) => "body",
        Error::UnsupportedContentType { .. } => "content-type",
        Error::UnsupportedContentEncoding { .. } => "content-encoding",
        _ => return None,
    };
    let violation = rpc::FieldViolation { field: field.to_owned(), description: message(error) };
    Some(rpc::BadRequest { field_violations: vec![violation] })
}

/// The proto3 JSON form of the same status.
fn json_status(error: &Error, rpc_status: &rpc::Status) -> Value {
    let retry = error.retry_after().map(|delay| {
        // A JSON duration has three, six or nine decimals; ours are whole milliseconds.
        json!({"@type": RETRY_INFO, "retryDelay": format!("{}.{:03}s", delay.as_secs(), delay.subsec_millis())})
    });
    let bad_request = violation(error).map(|bad_request| {
        let violations = bad_request.field_violations.into_iter();
        let violations: Vec<Value> =
            violations.map(|one| json!({"field": one.field, "description": one.description})).collect();
        json!({"@type": BAD_REQUEST, "fieldViolations": violations})
    });
    let details: Vec<Value> = retry.into_iter().chain(bad_request).collect();
    let mut status = json!({"code": rpc_status.code, "message": rpc_status.message});
    if !details.is_empty() {
        status["details"] = Value::from(details);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::compression::Coding;

    /// The statuses on which OTLP clients send the same request again.
    fn is_retried(status: StatusCode, code: Code, error: &Error) -> (bool, bool) {
        let http = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let grpc = match code {
            Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::OutOfRange => true,
            Code::Unavailable | Code::DataLoss => true,
            Code::ResourceExhausted => error.retry_after().is_some(),
            _ => false,
        };
        (http, grpc)
    }

    fn unavailable_store() -> Error {
        let source = trivium_storage::Error::Unavailable { reason: "the disk is full".into() };
        Error::Store { source, retry_after: Duration::from_millis(1_500) }
    }

    #[test]
    fn what_passes_is_retried_and_what_cannot_succeed_is_not() {
        let delay = Duration::from_secs(2);
        let internal = trivium_storage::Error::Internal("a defect".into());
        let transient = [
            Error::Overloaded { in_flight_bytes_max: 1, retry_after: delay },
            Error::RateLimited { limit: "bytes_per_second", retry_after: delay },
            Error::Draining { retry_after: delay },
            Error::Defect { retry_after: delay },
            Error::Store { source: internal, retry_after: delay },
            unavailable_store(),
        ];
        for error in transient {
            let (status, code) = of_error(&error);
            assert_eq!(is_retried(status, code, &error), (true, true), "{error:?} → {status}, {code:?}");
        }
        let hopeless = [
            Error::TooLarge,
            Error::Malformed("cut off".into()),
            Error::CompressionUnnamed,
            Error::UnsupportedContentEncoding { found: "br".into(), offered: Coding::OFFERED },
            Error::UnsupportedContentType { found: "text/plain".into(), advice: "" },
            Error::UnknownPath { path: "/".into(), advice: "" },
            Error::WrongMethod { method: "GET".into() },
        ];
        for error in hopeless {
            let (status, code) = of_error(&error);
            assert_eq!(is_retried(status, code, &error), (false, false), "{error:?} → {status}, {code:?}");
        }
    }

    #[test]
    fn no_kind_answers_500() {
        use ErrorKind::*;
        for kind in
            [InvalidArgument, NotFound, LimitExceeded, ResourceExhausted, Unavailable, Corrupted, Cancelled, Internal]
        {
            let (status, code) = of_kind(kind);
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{kind:?}");
            assert_ne!(code, Code::Internal, "{kind:?}");
        }
        assert_eq!(of_kind(ResourceExhausted), (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted));
    }

    #[test]
    fn the_retry_delay_is_exact_in_the_details_and_rounded_up_in_the_header() {
        let error = unavailable_store();
        let response = http(&error, PayloadFormat::Json);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let status = rpc_status(&error, Code::Unavailable);
        assert_eq!(status.details[0].type_url, RETRY_INFO);
        let info = rpc::RetryInfo::decode(status.details[0].value.as_slice()).expect("a RetryInfo");
        assert_eq!(info.retry_delay, Some(rpc::Duration { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(json_status(&error, &status)["details"][0]["retryDelay"], "1.500s");
    }

    #[test]
    fn a_long_message_fits_a_header() {
        let (_, response) = grpc(&Error::Malformed("ü".repeat(5_000)));
        let bytes: usize = response.headers().values().map(HeaderValue::len).sum();
        assert!(bytes < 8 * 1024, "{bytes} bytes of headers");
    }
}
