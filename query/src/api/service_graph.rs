//! `/api/v1/service_graph`: who calls whom, and how well.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use trivium_model::TenantId;

use super::ApiError;
use super::error::kind_name;
use super::tenant::Tenant;
use super::time::parse_range;
use crate::error::Error;
use crate::service_graph::{CallKind, NodeKind, Requests, ServiceGraph, service_graph};
use crate::state::QueryState;

/// Where the range begins unless the request says it.
const START_DEFAULT: &str = "now-1h";

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new().route("/api/v1/service_graph", get(graph))
}

#[derive(Debug, Deserialize)]
struct Parameters {
    start: Option<String>,
    end: Option<String>,
}

async fn graph(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Answer>, ApiError> {
    let started = Instant::now();
    let answer = answer((&state, tenant), parameters).await;
    let outcome = answer.as_ref().map_or_else(kind_name, |_| "ok");
    state.metrics.observe("service_graph", outcome, started.elapsed());
    let graph = answer?;
    Ok(Json(Answer::new(graph, started.elapsed().as_secs_f64() * 1e3)))
}

async fn answer(
    (state, tenant): (&QueryState, TenantId),
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<ServiceGraph, Error> {
    let Query(Parameters { start, end }) = parameters.map_err(|error| Error::invalid(error.body_text()))?;
    let start = start.filter(|text| !text.trim().is_empty());
    let range = parse_range(Some(start.as_deref().unwrap_or(START_DEFAULT)), end.as_deref(), state.clock.now())?;
    let _permit = state.admission.acquire().await?;
    service_graph(&state.engine, tenant, range, state.config.timeout).await
}

/// The graph as JSON; 64-bit integers are strings.
#[derive(Debug, Serialize)]
struct Answer {
    nodes: Vec<NodeAnswer>,
    calls: Vec<CallAnswer>,
    sampled_share: f64,
    truncated: bool,
    partial: bool,
    warnings: Vec<String>,
    elapsed_ms: f64,
}

#[derive(Debug, Serialize)]
struct NodeAnswer {
    name: String,
    kind: NodeKind,
    #[serde(flatten)]
    requests: RequestsAnswer,
}

#[derive(Debug, Serialize)]
struct CallAnswer {
    caller: String,
    callee: String,
    callee_kind: NodeKind,
    kind: CallKind,
    #[serde(flatten)]
    requests: RequestsAnswer,
}

#[derive(Debug, Serialize)]
struct RequestsAnswer {
    requests: String,
    errors: String,
    p95: Option<String>,
}

impl From<Requests> for RequestsAnswer {
    fn from(requests: Requests) -> Self {
        Self {
            requests: requests.count.to_string(),
            errors: requests.errors.to_string(),
            p95: requests.p95.map(|nanos| nanos.to_string()),
        }
    }
}

impl Answer {
    fn new(graph: ServiceGraph, elapsed_ms: f64) -> Self {
        let node = |((kind, name), requests): (_, Requests)| NodeAnswer { name, kind, requests: requests.into() };
        let call = |((caller, (callee_kind, callee), kind), requests): (_, Requests)| CallAnswer {
            caller,
            callee,
            callee_kind,
            kind,
            requests: requests.into(),
        };
        Self {
            nodes: graph.nodes.into_iter().map(node).collect(),
            calls: graph.calls.into_iter().map(call).collect(),
            sampled_share: graph.sampled_share,
            truncated: graph.is_truncated,
            partial: graph.is_partial,
            warnings: graph.warnings.into_iter().collect(),
            elapsed_ms,
        }
    }
}
