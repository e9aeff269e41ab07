//! The one place that says a refusal in the words of each protocol.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use prost::Message;
use serde_json::json;

use crate::error::Error;
use crate::routes::REMOTE_WRITE;

/// Which protocol a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The API and the web UI: JSON.
    Api,
    /// OTLP over HTTP: `google.rpc.Status` in the encoding of the request.
    OtlpHttp,
    /// OTLP over gRPC: a status in the headers of the answer.
    OtlpGrpc,
}

/// Codes of gRPC.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const ALREADY_EXISTS: i32 = 6;
const PERMISSION_DENIED: i32 = 7;
const UNIMPLEMENTED: i32 = 12;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// Bytes of a message in a gRPC header; clients limit headers to 8 KiB.
const GRPC_MESSAGE_BYTES_MAX: usize = 1024;
const GRPC_DETAILS_BYTES_MAX: usize = 2 * 1024;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    /// `RetryInfo` of what passes, without which an OTLP client need not try again; nothing of what does not.
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl RpcStatus {
    fn of(error: &Error, code: i32) -> Self {
        let details = error.retry_after().map(|delay| {
            let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
            let nanos = i32::try_from(delay.subsec_nanos()).unwrap_or_default();
            let info = RetryInfo { retry_delay: Some(RetryDelay { seconds, nanos }) };
            Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() }
        });
        Self { code, message: error.to_string(), details: details.into_iter().collect() }
    }
}

/// The HTTP status, the gRPC code and the name of the kind.
fn statuses(error: &Error) -> (StatusCode, i32, &'static str) {
    match error {
        Error::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED, "unauthenticated"),
        Error::Forbidden { .. } => (StatusCode::FORBIDDEN, PERMISSION_DENIED, "forbidden"),
        // RESOURCE_EXHAUSTED is retried by OTLP clients with details alone, and this passes.
        Error::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, UNAVAILABLE, "resource_exhausted"),
        Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "unavailable"),
        Error::InvalidArgument { .. } => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT, "invalid_argument"),
        Error::NotFound { .. } => (StatusCode::NOT_FOUND, NOT_FOUND, "not_found"),
        Error::WrongMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, UNIMPLEMENTED, "invalid_argument"),
        Error::Conflict { .. } => (StatusCode::CONFLICT, ALREADY_EXISTS, "conflict"),
        Error::LimitExceeded { .. } => (StatusCode::UNPROCESSABLE_ENTITY, INVALID_ARGUMENT, "limit_exceeded"),
    }
}

/// The HTTP status of an error, as the answer to a request for this path. Prometheus drops samples on 429 unless it is set up not
/// to (`retry_on_http_429`), and this passes.
pub(crate) fn status(error: &Error, path: &str) -> StatusCode {
    match statuses(error).0 {
        StatusCode::TOO_MANY_REQUESTS if path == REMOTE_WRITE => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    }
}

/// The refusal of a request.
pub(crate) fn response(error: &Error, door: Door, request: &Parts) -> Response<Body> {
    let Parts { method, headers, .. } = request;
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut response = match door {
        Door::OtlpGrpc if *method == Method::POST && essence.starts_with("application/grpc") => grpc(error),
        Door::OtlpHttp if matches!(&*essence, "application/x-protobuf" | "application/protobuf") => protobuf(error),
        Door::OtlpHttp | Door::OtlpGrpc => rpc_json(error),
        Door::Api => {
            let mut response = json(error);
            *response.status_mut() = status(error, request.uri.path());
            response
        }
    };
    let own = response.headers_mut();
    if door == Door::OtlpHttp && headers.contains_key(ORIGIN) {
        own.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if matches!(error, Error::Unauthenticated { .. }) {
        own.insert(WWW_AUTHENTICATE, challenge(headers));
    }
    response
}

/// What could be sent instead. `Basic` only to who sent that: a browser would ask people for a password on every page.
fn challenge(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
    let is = |scheme: &[u8]| sent.len() > scheme.len() && sent[..scheme.len()].eq_ignore_ascii_case(scheme);
    HeaderValue::from_static(if is(b"basic ") {
        "Basic realm=\"trivium\", charset=\"UTF-8\""
    } else if is(b"bearer ") {
        "Bearer realm=\"trivium\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"trivium\""
    })
}

/// An error as the API has them: `{"error": {"kind", "message"}}`.
pub(crate) fn json(error: &Error) -> Response<Body> {
    let (_, _, kind) = statuses(error);
    let body = json!({"error": {"kind": kind, "message": error.to_string()}});
    with_body(error, "application/json", body.to_string().into())
}

fn rpc_json(error: &Error) -> Response<Body> {
    let (_, code, _) = statuses(error);
    with_body(error, "application/json", json!({"code": code, "message": error.to_string()}).to_string().into())
}

fn protobuf(error: &Error) -> Response<Body> {
    let (_, code, _) = statuses(error);
    with_body(error, "application/x-protobuf", RpcStatus::of(error, code).encode_to_vec().into())
}

fn with_body(error: &Error, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = statuses(error).0;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(delay) = error.retry_after() {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if let Error::WrongMethod { allow, .. } = error
        && let Ok(allow) = HeaderValue::from_str(allow)
    {
        headers.insert(ALLOW, allow);
    }
    response
}

/// A gRPC answer without a message: the status is in its headers.
fn grpc(error: &Error) -> Response<Body> {
    let (_, code, _) = statuses(error);
    // An unknown method is UNIMPLEMENTED to gRPC.
    let code = if code == NOT_FOUND { UNIMPLEMENTED } else { code };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(code));
    if let Ok(message) = HeaderValue::from_str(&percent_encode(&error.to_string())) {
        headers.insert("grpc-message", message);
    }
    let details = STANDARD_NO_PAD.encode(RpcStatus::of(error, code).encode_to_vec());
    if details.len() <= GRPC_DETAILS_BYTES_MAX
        && let Ok(details) = HeaderValue::from_str(&details)
    {
        headers.insert("grpc-status-details-bin", details);
    }
    response
}

/// As gRPC has it: printable ASCII but `%` stays.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes().take(GRPC_MESSAGE_BYTES_MAX) {
        match byte {
            0x20..=0x7e if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(path: &str, content_type: &str) -> Parts {
        let request = http::Request::post(path).header(CONTENT_TYPE, content_type);
        request.body(()).expect("a request").into_parts().0
    }

    async fn body(response: Response<Body>) -> Bytes {
        axum::body::to_bytes(response.into_body(), 64 * 1024).await.expect("a body")
    }

    #[tokio::test]
    async fn every_protocol_is_answered_in_its_words() {
        let error = Error::missing_credentials();
        let at = |door, content_type: &str| response(&error, door, &request("/", content_type));

        let api = at(Door::Api, "application/json");
        assert_eq!(
            (api.status().as_u16(), &api.headers()[WWW_AUTHENTICATE]),
            (401, &HeaderValue::from_static("Bearer realm=\"trivium\""))
        );
        let json: serde_json::Value = serde_json::from_slice(&body(api).await).expect("JSON");
        assert_eq!(json["error"]["kind"], "unauthenticated");

        let otlp = at(Door::OtlpHttp, "application/x-protobuf");
        assert_eq!(
            (otlp.status().as_u16(), &otlp.headers()[CONTENT_TYPE]),
            (401, &HeaderValue::from_static("application/x-protobuf"))
        );
        let status = RpcStatus::decode(body(otlp).await).expect("a status");
        assert_eq!((status.code, status.message.is_empty()), (16, false));

        let otlp = at(Door::OtlpHttp, "application/json; charset=utf-8");
        let json: serde_json::Value = serde_json::from_slice(&body(otlp).await).expect("JSON");
        assert_eq!(json["code"], 16);

        let grpc = at(Door::OtlpGrpc, "application/grpc+proto");
        assert_eq!(grpc.headers()[WWW_AUTHENTICATE], "Bearer realm=\"trivium\"");
        assert_eq!((grpc.status().as_u16(), &grpc.headers()["grpc-status"]), (200, &HeaderValue::from_static("16")));
        assert_eq!(at(Door::OtlpGrpc, "application/x-protobuf").status().as_u16(), 401);
    }

    #[test]
    fn what_passes_is_told_as_what_passes() {
        let error = Error::unavailable("ü %");
        let http = response(&error, Door::OtlpHttp, &request("/v1/logs", "application/x-protobuf"));
        assert_eq!((http.status().as_u16(), &http.headers()[RETRY_AFTER]), (503, &HeaderValue::from_static("5")));
        let grpc = response(&error, Door::OtlpGrpc, &request("/x/Export", "application/grpc"));
        assert_eq!(grpc.headers()["grpc-status"], "14");
        assert_eq!(grpc.headers()["grpc-message"], "%C3%BC %25");
    }

    #[test]
    fn samples_of_a_sender_that_has_to_wait_are_not_lost() {
        let error = Error::Throttled { retry_after: Duration::from_millis(7_500) };
        for (door, path, expected) in [
            (Door::Api, "/prometheus/api/v1/write", 503),
            (Door::Api, "/prometheus/api/v1/query", 429),
            (Door::Api, "/api/v1/auth/login", 429),
            (Door::OtlpHttp, "/v1/metrics", 429),
        ] {
            let answer = response(&error, door, &request(path, "application/x-protobuf"));
            assert_eq!(answer.status().as_u16(), expected, "{path}");
            assert_eq!(answer.headers()[RETRY_AFTER], "8", "{path}");
            assert_eq!(status(&error, path).as_u16(), expected, "{path}: what the audit log has");
        }
        // What does not pass stays what it is.
        let unknown =
            response(&Error::wrong_credentials(), Door::Api, &request(REMOTE_WRITE, "application/x-protobuf"));
        assert_eq!(unknown.status().as_u16(), 401);
    }

    #[test]
    fn basic_is_offered_only_to_who_sent_it() {
        for (sent, expected) in [
            ("Basic eA==", "Basic"),
            ("bearer x", "Bearer realm=\"trivium\", error"),
            ("x", "Bearer realm=\"trivium\""),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(sent))]);
            let offered = challenge(&headers);
            assert!(offered.to_str().expect("text").starts_with(expected), "{offered:?}");
        }
    }
}
