//! Alertmanager's API, version 2.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use trivium_notify::{AlertQuery, ApiError};

use super::Of;
use crate::alerting::Tenants;

pub(super) fn routes() -> Router<Arc<Tenants>> {
    Router::new()
        .route("/alertmanager/api/v2/status", get(status))
        .route("/alertmanager/api/v2/receivers", get(receivers))
        .route("/alertmanager/api/v2/alerts", get(alerts).post(post_alerts))
        .route("/alertmanager/api/v2/alerts/groups", get(groups))
        .route("/alertmanager/api/v2/silences", get(silences).post(post_silence))
        .route("/alertmanager/api/v2/silence/{id}", get(silence).delete(delete_silence))
        .route("/alertmanager/-/healthy", get(|| async { "OK" }))
        .route("/alertmanager/-/ready", get(|| async { "OK" }))
}

fn answered<T: Serialize>(answer: Result<T, ApiError>) -> Response {
    answer.map_or_else(|error| refused(&error), |answer| Json(answer).into_response())
}

fn refused(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/json")], error.body()).into_response()
}

fn empty(answer: Result<(), ApiError>) -> Response {
    answer.map_or_else(|error| refused(&error), |()| StatusCode::OK.into_response())
}

/// A JSON body; the error is in the words of Alertmanager's framework.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError { status: 400, message: format!("parsing body from \"\" failed, because {error}") })
}

fn pairs(query: Option<String>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

fn alert_query(query: Option<String>) -> Result<AlertQuery, ApiError> {
    AlertQuery::from_pairs(pairs(query).iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

async fn status(Of(alerting): Of) -> Response {
    Json(alerting.notifier.status()).into_response()
}

async fn receivers(Of(alerting): Of) -> Response {
    Json(alerting.notifier.receivers()).into_response()
}

async fn alerts(Of(alerting): Of, RawQuery(query): RawQuery) -> Response {
    answered(alert_query(query).and_then(|query| alerting.notifier.alerts(&query)))
}

async fn groups(Of(alerting): Of, RawQuery(query): RawQuery) -> Response {
    answered(alert_query(query).and_then(|query| alerting.notifier.alert_groups(&query)))
}

async fn post_alerts(Of(alerting): Of, bytes: Bytes) -> Response {
    match body(&bytes) {
        Ok(alerts) => empty(alerting.notifier.post_alerts(alerts).await),
        Err(error) => refused(&error),
    }
}

async fn silences(Of(alerting): Of, RawQuery(query): RawQuery) -> Response {
    let filters: Vec<String> =
        pairs(query).into_iter().filter(|(name, _)| name == "filter").map(|(_, value)| value).collect();
    answered(alerting.notifier.silences(&filters))
}

async fn post_silence(Of(alerting): Of, bytes: Bytes) -> Response {
    match body(&bytes) {
        Ok(silence) => answered(alerting.notifier.post_silence(silence).await),
        Err(error) => refused(&error),
    }
}

async fn silence(Of(alerting): Of, Path(id): Path<String>) -> Response {
    answered(alerting.notifier.silence(&id))
}

async fn delete_silence(Of(alerting): Of, Path(id): Path<String>) -> Response {
    empty(alerting.notifier.delete_silence(&id).await)
}
