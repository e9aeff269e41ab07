//! `PUT` and `DELETE /api/v1/alerts/{fingerprint}/acknowledgement`: who looks after an alert.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::put};
use serde_json::json;
use trivium_notify::{ApiError as Refused, PostableAcknowledgement};

use super::Of;
use crate::alerting::Tenants;
use crate::api::ApiError;
use crate::error::Error;

pub(super) fn routes() -> Router<Arc<Tenants>> {
    Router::new().route("/api/v1/alerts/{fingerprint}/acknowledgement", put(acknowledge).delete(take_back))
}

async fn acknowledge(Of(alerting): Of, Path(fingerprint): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    let posted: PostableAcknowledgement = serde_json::from_slice(&body).map_err(|error| {
        let hint = "send {\"by\": \"your name\", \"note\": \"what you do about it\"}";
        Error::invalid_with_hint(format!("cannot read the body: {error}"), hint)
    })?;
    let kept = alerting.notifier.acknowledge(&fingerprint, posted).await;
    Ok(kept.map_or_else(|error| refused(&error), |kept| Json(kept).into_response()))
}

async fn take_back(Of(alerting): Of, Path(fingerprint): Path<String>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let by = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "by").map(|(_, by)| by.into_owned());
    let taken = alerting.notifier.unacknowledge(&fingerprint, &by.unwrap_or_default()).await;
    taken.map_or_else(|error| refused(&error), |()| StatusCode::NO_CONTENT.into_response())
}

/// A refusal of the notifier in the shape of our own API.
fn refused(error: &Refused) -> Response {
    let kind = match error.status {
        400 => "invalid_argument",
        404 => "not_found",
        503 => "unavailable",
        _ => "internal",
    };
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(json!({"error": {"kind": kind, "message": error.message}}))).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
