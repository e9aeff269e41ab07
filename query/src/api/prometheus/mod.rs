//! The Prometheus HTTP API, `/prometheus/api/v1`, in the bytes of Prometheus 3, so that Grafana's built-in data source,
//! `promtool` and dashboards work unchanged.
//!
//! | path | file |
//! |---|---|
//! | `query`, `query_range` | [`query`] |
//! | `series`, `labels`, `label/{name}/values` | [`labels`] |
//! | `query_exemplars` | [`exemplars`] |
//! | `metadata` | [`metadata`] |
//! | `format_query`, `parse_query` | [`syntax`] |
//! | `status/…` | [`status`] |
//!
//! Other than Prometheus: the parameter `timeout` may also ask for more time than `query_timeout`, up to five minutes;
//! the statistics of `stats` count each sample once for each selector that reads it, not once for each step.

mod body;
mod error;
mod execute;
mod exemplars;
mod form;
mod json;
mod labels;
mod metadata;
mod parameter;
mod query;
mod stats;
mod status;
mod syntax;
mod unescape;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

use error::ApiError;
pub(crate) use query::engine_options;
pub(crate) use syntax::selectors;

use crate::state::QueryState;

/// The version of Prometheus whose API this is, as clients ask for it to know what they may use.
const PROMETHEUS_VERSION: &str = "3.8.0";

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new()
        .route("/prometheus/api/v1/query", get(query::instant).post(query::instant))
        .route("/prometheus/api/v1/query_range", get(query::range).post(query::range))
        .route("/prometheus/api/v1/query_exemplars", get(exemplars::exemplars).post(exemplars::exemplars))
        .route("/prometheus/api/v1/format_query", get(syntax::format_query).post(syntax::format_query))
        .route("/prometheus/api/v1/parse_query", get(syntax::parse_query).post(syntax::parse_query))
        .route("/prometheus/api/v1/series", get(labels::series).post(labels::series))
        .route("/prometheus/api/v1/labels", get(labels::names).post(labels::names))
        .route("/prometheus/api/v1/label/{name}/values", get(labels::values))
        .route("/prometheus/api/v1/metadata", get(metadata::metadata))
        .route("/prometheus/api/v1/status/{page}", get(status::page))
        .route("/prometheus/api/v1/targets/metadata", get(|| async { body::data("[]") }))
        .route("/prometheus/api/v1/{*path}", any(not_found))
}

async fn not_found() -> ApiError {
    ApiError::not_found("path not found")
}
