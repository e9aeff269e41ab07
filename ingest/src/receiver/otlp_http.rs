//! OTLP over HTTP/1.1 and HTTP/2, protobuf and JSON.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use trivium_model::{SignalKind, WireFormat, limit};

use super::body::{self, Bounds};
use super::{Receiver, response, signal_at, status, tenant_of};
use crate::error::Error;
use crate::pipeline::{ExportRequest, Outcome, PayloadFormat};
use crate::receiver::compression::Coding;
use crate::telemetry::Transport;

const PATHS: [(&str, SignalKind); 3] =
    [("/v1/logs", SignalKind::Logs), ("/v1/metrics", SignalKind::Metrics), ("/v1/traces", SignalKind::Traces)];

const PATH_ADVICE: &str = "POST to /v1/logs, /v1/metrics or /v1/traces";
const TYPE_ADVICE: &str = "send application/x-protobuf or application/json";

/// Every path goes to one handler, because a wrong path or method too is answered in the encoding of the request.
pub(crate) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new().fallback(handle).with_state(receiver)
}

async fn handle(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response<Body> {
    let (parts, mut body) = request.into_parts();
    if is_preflight(&parts) {
        return preflight(&parts.headers);
    }
    let signal = signal_at(parts.uri.path(), PATHS);
    let format = format_of(&parts.headers);
    let result = match signal {
        Some(signal) => receiver.take(signal, &format, &parts, &mut body).await.map(|outcome| (signal, outcome)),
        None => Err(Error::UnknownPath { path: parts.uri.path().to_owned(), advice: PATH_ADVICE }),
    };
    if let Err(error) = &result {
        receiver.let_go(&parts, body);
        receiver.admission.keep_back(error).await;
    }
    let format = format.unwrap_or(PayloadFormat::Json);
    let mut response = match result {
        Ok((signal, outcome)) => success(signal, &outcome, format),
        Err(error) => status::http(&error, format),
    };
    receiver.telemetry.answered(signal, Transport::Http, response.status().as_u16());
    if parts.headers.contains_key(ORIGIN) {
        allow_origin(response.headers_mut());
    }
    response
}

fn success(signal: SignalKind, outcome: &Outcome, format: PayloadFormat) -> Response<Body> {
    let mut response = Response::new(Body::from(response::encode(signal, outcome, format)));
    response.headers_mut().insert(CONTENT_TYPE, response::content_type(format));
    response
}

impl Receiver {
    /// Checks everything that the headers tell before it reads the body.
    async fn take(
        &self,
        signal: SignalKind,
        format: &Result<PayloadFormat, Error>,
        parts: &Parts,
        body: &mut Body,
    ) -> Result<Outcome, Error> {
        if parts.method != Method::POST {
            return Err(Error::WrongMethod { method: parts.method.to_string() });
        }
        let format = format.as_ref().map_err(|_| unsupported_type(&parts.headers)).copied()?;
        let coding = coding_of(&parts.headers)?;
        let declared_bytes = declared_bytes(&parts.headers)?;
        let plain_bytes = coding.plain_bytes(declared_bytes.unwrap_or(0));
        let mut reservation = self.enter(tenant_of(parts), signal, plain_bytes).await?;
        let (bytes_max, timeout) = (limit::REQUEST_BYTES_MAX, self.body_timeout);
        let bounds = Bounds { bytes_max, timeout, coding, inspect: |_| Ok(None) };
        let body = body::read(body, declared_bytes, &bounds, &mut reservation).await?;
        let request =
            ExportRequest { tenant: tenant_of(parts), signal, wire_format: WireFormat::Otlp, format, coding, body };
        self.pipeline.export_reserved(request, reservation).await
    }
}

fn format_of(headers: &HeaderMap) -> Result<PayloadFormat, Error> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is = |known: &str| essence.eq_ignore_ascii_case(known);
    if is("application/x-protobuf") || is("application/protobuf") {
        Ok(PayloadFormat::Protobuf)
    } else if is("application/json") {
        Ok(PayloadFormat::Json)
    } else {
        Err(unsupported_type(headers))
    }
}

fn unsupported_type(headers: &HeaderMap) -> Error {
    let found = headers.get(CONTENT_TYPE).map(lossy).unwrap_or_default();
    Error::UnsupportedContentType { found, advice: TYPE_ADVICE }
}

pub(super) fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The one coding of the body. Several, in one header or in many, are refused: nobody sends them but to amplify.
fn coding_of(headers: &HeaderMap) -> Result<Coding, Error> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let (first, second) = (values.next(), values.next());
    match (first, second) {
        (None, _) => Ok(Coding::Identity),
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(Coding::parse)
            .ok_or_else(|| Error::UnsupportedContentEncoding { found: lossy(value), offered: Coding::OFFERED }),
        (Some(first), Some(second)) => Err(Error::UnsupportedContentEncoding {
            found: format!("{}, {}", lossy(first), lossy(second)),
            offered: Coding::OFFERED,
        }),
    }
}

/// The declared size, refused at once when it is over the limit. hyper has already refused lengths that are no numbers.
pub(super) fn declared_bytes(headers: &HeaderMap) -> Result<Option<usize>, Error> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let bytes = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let bytes = bytes.ok_or_else(|| Error::Malformed(format!("the content length {:?} is no number", lossy(value))))?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= limit::REQUEST_BYTES_MAX => Ok(Some(bytes)),
        _ => Err(Error::TooLarge),
    }
}

/// Whether a browser asks if its page may send what it is about to send.
fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Any page may send telemetry, with any header but without the browser's credentials.
fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow_origin(headers);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    headers.insert(VARY, HeaderValue::from_static("access-control-request-headers"));
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    response
}

fn allow_origin(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
}
