use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use trivium_model::{Clock, TenantId};

use crate::admission::Admission;
use crate::config::IngestConfig;
use crate::pipeline::{Pipeline, Sink};
use crate::quota::{Quotas, TenantLimits};
use crate::receiver::{self, Receiver};
use crate::redaction::Redaction;
use crate::telemetry::Telemetry;

/// What ingest is built on.
pub struct IngestDeps<'a> {
    /// Where requests become durable.
    pub sink: Arc<dyn Sink>,
    /// The time at which requests arrive.
    pub clock: Arc<dyn Clock>,
    /// Where the metrics of this crate are registered.
    pub registry: &'a mut Registry,
}

impl std::fmt::Debug for IngestDeps<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IngestDeps").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The built crate: the routers of its two listeners and of remote write, and the pipeline behind them.
#[derive(Clone, Debug)]
pub struct Ingest {
    receiver: Arc<Receiver>,
}

/// Builds the receivers and the pipeline. Binds nothing and spawns nothing.
pub fn build(config: IngestConfig, deps: IngestDeps<'_>) -> Ingest {
    build_with(config, deps, None)
}

/// The same with redaction before anything is stored.
pub fn build_with(config: IngestConfig, deps: IngestDeps<'_>, redaction: Option<Arc<Redaction>>) -> Ingest {
    let quotas = Quotas::new(config.tenant_limits, Arc::clone(&deps.clock), deps.registry);
    let telemetry = Arc::new(Telemetry::register(deps.registry));
    let admission = Arc::new(Admission::new(&config, telemetry.in_flight_bytes.clone()));
    let (gate, counters) = (Arc::clone(&admission), Arc::clone(&telemetry));
    let pipeline = Pipeline::new(deps.sink, deps.clock, gate, counters, quotas, redaction);
    let receiver = Receiver::new(Arc::new(pipeline), admission, telemetry, config.body_timeout);
    Ingest { receiver: Arc::new(receiver) }
}

impl Ingest {
    /// OTLP/HTTP: `/v1/logs`, `/v1/metrics`, `/v1/traces`.
    pub fn http_router(&self) -> Router {
        receiver::otlp_http::router(Arc::clone(&self.receiver))
    }

    /// Prometheus remote write: `POST /prometheus/api/v1/write`. To be merged into the router of the API's listener.
    pub fn remote_write_router(&self) -> Router {
        receiver::remote_write::router(Arc::clone(&self.receiver))
    }

    /// OTLP/gRPC: the three `Export` methods.
    pub fn grpc_router(&self) -> Router {
        receiver::otlp_grpc::router(Arc::clone(&self.receiver))
    }

    /// The pipeline behind both, for requests that do not come over the network.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        Arc::clone(&self.receiver.pipeline)
    }

    /// Gives a tenant limits of its own, or with `None` those of everybody again.
    pub fn set_tenant_limits(&self, tenant: TenantId, limits: Option<TenantLimits>) {
        self.receiver.pipeline.quotas().set(tenant, limits);
    }

    /// Refuses new requests as retryable from now on; those in work end as usual. Call it before the listeners stop.
    pub fn drain(&self) {
        self.receiver.admission.drain();
    }
}
