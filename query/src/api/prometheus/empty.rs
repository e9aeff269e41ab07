//! What Prometheus tells of its rules and alerts. There are none in this process yet; clients that ask get the shapes
//! they expect.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get};

use super::body::data;
use crate::state::QueryState;

fn always(json: &'static str) -> MethodRouter<Arc<QueryState>> {
    get(move || async move { data(json) })
}

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new()
        .route("/prometheus/api/v1/rules", always(r#"{"groups":[]}"#))
        .route("/prometheus/api/v1/alerts", always(r#"{"alerts":[]}"#))
        .route("/prometheus/api/v1/alertmanagers", always(r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#))
        .route("/prometheus/api/v1/targets/metadata", always("[]"))
}
