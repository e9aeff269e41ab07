//! Prometheus remote write 1.0 and 2.0 over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::any;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use trivium_model::{SignalKind, WireFormat, limit};

use super::body::{self, Bounds};
use super::otlp_http::{declared_bytes, lossy};
use super::{Receiver, response, status, tenant_of};
use crate::decode::Written;
use crate::error::Error;
use crate::pipeline::{ExportRequest, Outcome, PayloadFormat};
use crate::receiver::compression::Coding;
use crate::telemetry::Transport;

const PATH: &str = "/prometheus/api/v1/write";

const TYPE_ADVICE: &str = "send application/x-protobuf, with proto=prometheus.WriteRequest or \
                           proto=io.prometheus.write.v2.Request";
const OFFERED: &str = "snappy";

/// What senders of version 2.0 compare with what they sent, to notice a receiver that does not know the message.
const SAMPLES_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// The one path, for any method: a wrong one is answered here too.
pub(crate) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new().route(PATH, any(handle)).with_state(receiver)
}

async fn handle(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response<Body> {
    let (parts, mut body) = request.into_parts();
    let result = receiver.take_write(&parts, &mut body).await;
    if let Err(error) = &result {
        receiver.let_go(&parts, body);
        receiver.admission.keep_back(error).await;
    }
    let (written, mut response) = match result {
        Ok(outcome) => (outcome.written, answer(&outcome)),
        Err(error) => (Written::default(), status::plain(&error)),
    };
    add_written(written, response.headers_mut());
    receiver.telemetry.answered(Some(SignalKind::Metrics), Transport::Http, response.status().as_u16());
    response
}

impl Receiver {
    /// Checks everything that the headers tell before it reads the body.
    async fn take_write(&self, parts: &Parts, body: &mut Body) -> Result<Outcome, Error> {
        if parts.method != Method::POST {
            return Err(Error::WrongMethod { method: parts.method.to_string() });
        }
        let wire_format = wire_format_of(&parts.headers)?;
        check_coding(&parts.headers)?;
        let declared_bytes = declared_bytes(&parts.headers)?;
        let coding = Coding::Snappy;
        let plain_bytes = coding.plain_bytes(declared_bytes.unwrap_or(0));
        let mut reservation = self.enter(tenant_of(parts), SignalKind::Metrics, plain_bytes).await?;
        let (bytes_max, timeout) = (limit::REQUEST_BYTES_MAX, self.body_timeout);
        let bounds = Bounds { bytes_max, timeout, coding, inspect: |_| Ok(None) };
        let body = body::read(body, declared_bytes, &bounds, &mut reservation).await?;
        let request = ExportRequest {
            tenant: tenant_of(parts),
            signal: SignalKind::Metrics,
            wire_format,
            format: PayloadFormat::Protobuf,
            coding,
            body,
        };
        self.pipeline.export_reserved(request, reservation).await
    }
}

/// Nothing to say, or what was refused of a request whose good part is stored. 400 tells the sender not to send it again.
fn answer(outcome: &Outcome) -> Response<Body> {
    match response::refusal(SignalKind::Metrics, outcome) {
        Some(text) => status::plain_text(StatusCode::BAD_REQUEST, text),
        None => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
    }
}

fn add_written(written: Written, headers: &mut HeaderMap) {
    headers.insert(SAMPLES_WRITTEN, HeaderValue::from(written.samples));
    headers.insert(HISTOGRAMS_WRITTEN, HeaderValue::from(written.histograms));
    headers.insert(EXEMPLARS_WRITTEN, HeaderValue::from(written.exemplars));
}

/// The message that the content type names; without a name it is that of version 1.0.
fn wire_format_of(headers: &HeaderMap) -> Result<WireFormat, Error> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    named_format(value).ok_or_else(|| {
        let found = headers.get(CONTENT_TYPE).map(lossy).unwrap_or_default();
        Error::UnsupportedContentType { found, advice: TYPE_ADVICE }
    })
}

fn named_format(content_type: &str) -> Option<WireFormat> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
        return None;
    }
    let mut format = WireFormat::RemoteWrite1;
    for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        if key.trim().eq_ignore_ascii_case("proto") {
            format = match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => WireFormat::RemoteWrite1,
                "io.prometheus.write.v2.Request" => WireFormat::RemoteWrite2,
                _ => return None,
            };
        }
    }
    Some(format)
}

/// Both versions know one coding; senders of version 1.0 need not name it.
fn check_coding(headers: &HeaderMap) -> Result<(), Error> {
    let values: Vec<String> = headers.get_all(CONTENT_ENCODING).iter().map(lossy).collect();
    match &values[..] {
        [] => Ok(()),
        [only] if only.trim().eq_ignore_ascii_case("snappy") => Ok(()),
        _ => Err(Error::UnsupportedContentEncoding { found: values.join(", "), offered: OFFERED }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_names_the_message() {
        let (first, second) = (Some(WireFormat::RemoteWrite1), Some(WireFormat::RemoteWrite2));
        for (content_type, expected) in [
            ("application/x-protobuf", first),
            ("Application/X-Protobuf; charset=utf-8", first),
            ("application/x-protobuf;proto=prometheus.WriteRequest", first),
            ("application/x-protobuf; proto=\"io.prometheus.write.v2.Request\"", second),
            ("application/x-protobuf;proto=io.prometheus.write.v2.Request", second),
            ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(named_format(content_type), expected, "{content_type:?}");
        }
    }
}
