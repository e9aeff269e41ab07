//! What operators ask of a running server: `/api/v1/admin/…`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use trivium_model::{ErrorKind, TenantId};
use trivium_storage::quarantine::{ReturnOptions, Returned};
use trivium_storage::{Error, Storage};

/// Which piece is brought back, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreRequest {
    name: String,
    #[serde(default)]
    salvage: bool,
    tenant: Option<u32>,
}

/// The quarantine: list it, bring a piece back.
pub(crate) fn router(storage: Storage) -> Router {
    Router::new()
        .route("/api/v1/admin/quarantine", get(list))
        .route("/api/v1/admin/quarantine/restore", post(restore))
        .with_state(storage)
}

async fn list(State(storage): State<Storage>) -> Response {
    match storage.quarantined().await {
        Ok(items) => {
            Json(json!({"items": items.iter().map(super::quarantine::to_json).collect::<Vec<_>>()})).into_response()
        }
        Err(error) => failed(&error),
    }
}

async fn restore(State(storage): State<Storage>, Json(request): Json<RestoreRequest>) -> Response {
    let options = ReturnOptions { salvage: request.salvage, tenant: request.tenant.map(TenantId) };
    match storage.return_quarantined(&request.name, options).await {
        Ok(Returned::Part { id, rows, lost }) => {
            Json(json!({"part": id.to_string(), "rows": rows, "lost": lost})).into_response()
        }
        Ok(Returned::Request(appended)) => {
            Json(json!({"stored": matches!(appended, trivium_storage::Appended::Stored(_))})).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> Response {
    let is_missing = matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    let (status, kind) = match error.kind() {
        _ if is_missing => (StatusCode::NOT_FOUND, "not_found"),
        // It is refused for what the piece is; asking again changes nothing.
        ErrorKind::Unavailable => (StatusCode::CONFLICT, "failed_precondition"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    (status, Json(json!({"error": {"kind": kind, "message": error.to_string()}}))).into_response()
}
