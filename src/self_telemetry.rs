//! Trivium's own traces and metrics, stored in itself when asked.
//!
//! Every second the finished spans, every 15 s a snapshot of the metrics go through the ingest pipeline inside the process:
//! no connection, but the same decoding, the same limits and the same WAL as for everyone else.
//!
//! Invariants: storing its own telemetry makes no span that is stored (no amplification), and nothing here ever makes a
//! request wait. A full queue drops spans, counted; the queue is emptied once a second, so its size is the rate cap too.

mod metrics;
mod process;
mod spans;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trivium_ingest::{Coding, ExportRequest, PayloadFormat, Pipeline};
use trivium_model::{Clock, SignalKind, TenantId, UnixNanos, WireFormat};
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use trivium_proto::otlp::metrics::v1::{ResourceMetrics, ScopeMetrics};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};

pub(crate) use spans::SpanLayer;

/// The module whose own spans are never stored, nor those within them.
const OWN_TARGET: &str = module_path!();

/// How often finished spans are stored.
const SPANS_INTERVAL: Duration = Duration::from_secs(1);

/// How often the metrics are stored.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);

/// Spans that wait at most, and with [`SPANS_INTERVAL`] the spans stored a second at most.
const SPANS_MAX: usize = 2_048;

/// How long the last export may take when the server stops.
const LAST_EXPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The version of the semantic conventions that names and units follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropReason {
    reason: &'static str,
}

/// What became of our own telemetry.
#[derive(Clone, Debug, Default)]
struct Counters {
    stored: Counter,
    dropped: Family<DropReason, Counter>,
}

impl Counters {
    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("trivium_self_telemetry");
        registry.register("spans", "spans of Trivium itself that were stored", self.stored.clone());
        registry.register("dropped_spans", "spans of Trivium itself that were not stored", self.dropped.clone());
    }

    fn drop_spans(&self, reason: &'static str, count: u64) {
        self.dropped.get_or_create(&DropReason { reason }).inc_by(count);
    }
}

/// Collects spans from the start of the process on; stores them once there is a pipeline.
#[derive(Debug)]
pub(crate) struct SelfTelemetry {
    clock: Arc<dyn Clock>,
    process_start: UnixNanos,
    sender: mpsc::Sender<Span>,
    receiver: mpsc::Receiver<Span>,
    counters: Counters,
}

/// The task that stores; [`Self::finish`] ends it.
#[derive(Debug)]
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Stores what is left. Call it before the pipeline drains.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_EXPORT_TIMEOUT, self.task).await.is_err() {
            tracing::warn!("the last spans and metrics of Trivium itself were not stored in time");
        }
    }
}

impl SelfTelemetry {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let (sender, receiver) = mpsc::channel(SPANS_MAX);
        Self { process_start: clock.now(), clock, sender, receiver, counters: Counters::default() }
    }

    /// The subscriber layer that turns finished spans of `trivium…` into OTLP spans.
    pub(crate) fn layer(&self) -> SpanLayer {
        SpanLayer::new(Arc::clone(&self.clock), self.sender.clone(), self.counters.clone(), seed())
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        self.counters.register(registry);
    }

    /// Starts to store. `exposition` gives the metrics in OpenMetrics text format, as `/metrics` does.
    pub(crate) fn start(
        self,
        pipeline: Arc<Pipeline>,
        exposition: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Running {
        let stop = CancellationToken::new();
        let exporter = Exporter {
            pipeline,
            clock: self.clock,
            process_start: self.process_start,
            resource: resource(seed()),
            receiver: self.receiver,
            counters: self.counters,
            exposition,
            failing: false,
        };
        // Whatever spans the pipeline makes, now or one day, are within this one, which the layer does not store.
        let span = tracing::info_span!("store_self_telemetry");
        let task = tokio::spawn(exporter.run(stop.clone()).instrument(span));
        Running { stop, task }
    }
}

struct Exporter<F> {
    pipeline: Arc<Pipeline>,
    clock: Arc<dyn Clock>,
    process_start: UnixNanos,
    resource: Resource,
    receiver: mpsc::Receiver<Span>,
    counters: Counters,
    exposition: F,
    failing: bool,
}

impl<F: Fn() -> Option<String>> Exporter<F> {
    async fn run(mut self, stop: CancellationToken) {
        let mut spans = tokio::time::interval(SPANS_INTERVAL);
        let mut metrics = tokio::time::interval(METRICS_INTERVAL);
        spans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        metrics.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = spans.tick() => self.store_spans().await,
                _ = metrics.tick() => self.store_metrics().await,
                () = stop.cancelled() => break,
            }
        }
        self.store_spans().await;
        self.store_metrics().await;
    }

    async fn store_spans(&mut self) {
        let mut spans = Vec::new();
        while spans.len() < SPANS_MAX
            && let Ok(span) = self.receiver.try_recv()
        {
            spans.push(span);
        }
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        let request = spans_request(&self.resource, spans);
        if self.export(SignalKind::Traces, request.encode_to_vec()).await {
            self.counters.stored.inc_by(count);
        } else {
            self.counters.drop_spans("refused", count);
        }
    }

    async fn store_metrics(&mut self) {
        let Some(text) = (self.exposition)() else { return };
        let window = metrics::Window { start: self.process_start, time: self.clock.now() };
        let mut metrics = metrics::from_exposition(&text, window);
        metrics.extend(process::metrics(window));
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }];
        let resource =
            ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics, schema_url: SCHEMA_URL.into() };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
        self.export(SignalKind::Metrics, request.encode_to_vec()).await;
    }

    /// Whether the request is stored. A refusal is not tried again: the next snapshot follows, and spans would pile up.
    async fn export(&mut self, signal: SignalKind, payload: Vec<u8>) -> bool {
        let request = ExportRequest {
            tenant: TenantId::DEFAULT,
            signal,
            wire_format: WireFormat::Otlp,
            format: PayloadFormat::Protobuf,
            coding: Coding::Identity,
            body: payload.into(),
        };
        let failure = match self.pipeline.export(request).await {
            Ok(outcome) => {
                outcome.rejected.first().map(|rejected| format!("{}: {}", rejected.reason, rejected.example))
            }
            Err(error) => Some(error.to_string()),
        };
        // Said once, not every second.
        if let Some(problem) = &failure
            && !self.failing
        {
            tracing::warn!(%signal, problem, "cannot store the telemetry of Trivium itself; it is counted and left out");
        }
        self.failing = failure.is_some();
        failure.is_none()
    }
}

fn spans_request(resource: &Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }];
    let resource = ResourceSpans { resource: Some(resource.clone()), scope_spans, schema_url: SCHEMA_URL.into() };
    ExportTraceServiceRequest { resource_spans: vec![resource] }
}

fn resource(instance: u64) -> Resource {
    let attributes = vec![
        attribute("service.name", Value::StringValue("trivium".into())),
        attribute("service.version", Value::StringValue(env!("CARGO_PKG_VERSION").into())),
        attribute("service.instance.id", Value::StringValue(format!("{instance:016x}"))),
        attribute("process.pid", Value::IntValue(i64::from(std::process::id()))),
    ];
    Resource { attributes, ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "trivium".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nanos(time: UnixNanos) -> u64 {
    u64::try_from(time.0).unwrap_or(0)
}

/// Random bits of the operating system, by way of the only safe door to them in the standard library.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
