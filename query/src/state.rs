use std::sync::Arc;

use prometheus_client::registry::Registry;
use trivium_model::{Clock, UnixNanos};
use trivium_storage::Storage;
use trivium_views::Views;

use crate::admission::Admission;
use crate::alerting::TenantSlos;
use crate::config::QueryConfig;
use crate::engine::Engine;
use crate::series::SeriesState;
use crate::telemetry::QueryMetrics;

/// What every handler shares.
#[derive(Debug)]
pub struct QueryState {
    /// Where the data are.
    pub storage: Storage,
    /// What `now` means in a query.
    pub clock: Arc<dyn Clock>,
    /// The limits.
    pub config: QueryConfig,
    /// When this process began to answer.
    pub started: UnixNanos,
    /// Objectives of each tenant and what was measured of them.
    pub slos: TenantSlos,
    /// What people saved.
    pub views: Views,
    /// What queries for series share.
    pub series: Arc<SeriesState>,
    /// Runs SQL.
    pub engine: Engine,
    /// Hands out the permits without which no query runs.
    pub admission: Admission,
    /// What is counted.
    pub metrics: QueryMetrics,
}

/// Builds the query side on an open store. Metrics are registered under `trivium_query_`.
pub fn build(config: QueryConfig, storage: Storage, clock: Arc<dyn Clock>, registry: &mut Registry) -> Arc<QueryState> {
    let engine = Engine::new(&config, Arc::new(storage.clone()), Arc::clone(&clock))
        .expect("a session without disk and network needs nothing that can be missing");
    let admission = Admission::new(&config);
    let metrics = QueryMetrics::register(registry);
    let series = SeriesState::new(config.series.clone(), config.promql.answer_cache_bytes_max);
    let slos = TenantSlos::new(Arc::clone(&clock));
    let views = Views::new(storage.state(), Arc::clone(&clock));
    let started = clock.now();
    Arc::new(QueryState { storage, clock, config, started, slos, views, series, engine, admission, metrics })
}
