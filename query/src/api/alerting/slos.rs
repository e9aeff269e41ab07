//! SLOs: objectives, budgets, burn rates.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Of;
use crate::api::ApiError;
use crate::error::Error;

pub(super) async fn list(Of(alerting): Of) -> Response {
    let slos = alerting.slos();
    let warnings: Vec<String> = slos.warnings().iter().map(ToString::to_string).collect();
    Json(json!({"slos": slos.summaries(), "warnings": warnings})).into_response()
}

pub(super) async fn one(Of(alerting): Of, Path(name): Path<String>) -> Result<Response, ApiError> {
    let mut view = alerting.slos().view(&name).map_err(|error| Error::NotFound(error.to_string()))?;
    view.top_burners = alerting.top_burners(&name).await;
    Ok(Json(view).into_response())
}
