//! `/api/v1/views`: searches and queries that people saved under a name.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router, body::Body};
use serde::Deserialize;
use serde_json::json;
use trivium_model::ErrorKind;
use trivium_views::{Page, ViewError};

use super::ApiError;
use super::body::read_json;
use super::tenant::Tenant;
use crate::error::Error;
use crate::state::QueryState;

/// Bytes of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new().route("/api/v1/views", get(list)).route("/api/v1/views/{page}/{name}", put(save).delete(remove))
}

#[derive(Debug, Deserialize)]
struct ListParameters {
    page: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewBody {
    query: String,
}

async fn list(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<ListParameters>,
) -> Response {
    let page = parameters.page.filter(|page| !page.is_empty()).map(|page| page.parse::<Page>()).transpose();
    let found = match page {
        Ok(page) => state.views.list(tenant, page).await,
        Err(error) => Err(error),
    };
    found.map_or_else(|error| refused(&error), |views| Json(json!({"views": views})).into_response())
}

async fn save(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    Path((page, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read_json(&headers, body, BODY_BYTES_MAX).await?;
    let body: ViewBody = serde_json::from_slice(&body).map_err(|error| {
        let hint = "send {\"query\": \"query=level%3Aerror\"}: what follows the question mark of the page's address";
        Error::invalid_with_hint(format!("cannot read the view: {error}"), hint)
    })?;
    let saved = match page.parse::<Page>() {
        Ok(page) => state.views.put(tenant, page, &name, &body.query).await,
        Err(error) => Err(error),
    };
    Ok(saved.map_or_else(|error| refused(&error), |view| Json(view).into_response()))
}

async fn remove(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    Path((page, name)): Path<(String, String)>,
) -> Response {
    let removed = match page.parse::<Page>() {
        Ok(page) => state.views.remove(tenant, page, &name).await,
        Err(error) => Err(error),
    };
    removed.map_or_else(|error| refused(&error), |()| StatusCode::NO_CONTENT.into_response())
}

fn refused(error: &ViewError) -> Response {
    let (status, kind) = match error.kind() {
        ErrorKind::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        ErrorKind::LimitExceeded => (StatusCode::UNPROCESSABLE_ENTITY, "limit_exceeded"),
        ErrorKind::Corrupted | ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        ErrorKind::ResourceExhausted | ErrorKind::Unavailable | ErrorKind::Cancelled => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
    };
    let body = json!({"error": {"kind": kind, "message": error.to_string()}});
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}
