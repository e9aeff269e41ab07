//! `/api/v1/correlate/{id}`: every signal that bears the ID.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use super::ApiError;
use super::tenant::Tenant;
use super::traces::{finish, json};
use crate::correlate::{Wanted, correlate};
use crate::error::Error;
use crate::lookup::{Snapshots, run_blocking};
use crate::state::QueryState;

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new().route("/api/v1/correlate/{*id}", get(story))
}

async fn story(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|error| Error::invalid(error.body_text()))?;
    let wanted = Wanted::parse(&id)?;
    let answer = run_blocking(state, move |state, deadline| {
        let tables = Snapshots::take(&state.storage, tenant);
        let story = correlate(tables, wanted, deadline)?;
        let mut output = String::new();
        story.write_open(&mut output)?;
        output.push_str(",\"elapsed_ms\":");
        finish(output, deadline)
    });
    Ok(json(answer.await?))
}
