//! Stores for tests of alerting: on disk, at a time that stands still.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use prometheus_client::registry::Registry;
use serde_json::json;
use tower::ServiceExt;
use trivium_ingest::{IngestConfig, IngestDeps};
use trivium_model::{Clock, ManualClock, SignalKind, TenantId, UnixNanos};

use crate::config::QueryConfig;
use crate::state::{QueryState, build};
use crate::testing::{NOW, empty_store};

/// The query side on an empty store in a folder.
pub(super) async fn state(folder: &Path, config: QueryConfig) -> Arc<QueryState> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixNanos(NOW)));
    let storage = empty_store(folder, &clock).await;
    build(config, storage, clock, &mut Registry::default())
}

/// The same with one sample of `queue_length`, now, in a part that is damaged.
pub(super) async fn damaged_state(folder: &Path) -> Arc<QueryState> {
    let state = state(folder, QueryConfig::default()).await;
    let mut registry = Registry::default();
    let (sink, clock) = (Arc::new(state.storage.clone()), Arc::clone(&state.clock));
    let ingest = trivium_ingest::build(IngestConfig::default(), IngestDeps { sink, clock, registry: &mut registry });
    let points = json!([{"timeUnixNano": NOW.to_string(), "asDouble": 3.0}]);
    let metrics = json!([{"name": "queue.length", "gauge": {"dataPoints": points}}]);
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).to_string();
    let request = Request::post("/v1/metrics").header(CONTENT_TYPE, "application/json").body(Body::from(body));
    let response = ingest.http_router().oneshot(request.expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    state.storage.flush().await.expect("the sample is published");
    let parts = state.storage.snapshot(TenantId::DEFAULT, SignalKind::Metrics).parts;
    std::fs::write(parts[0].columns_path(), b"no Parquet").expect("the file");
    state
}
