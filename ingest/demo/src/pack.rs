//! Puts items into export requests, as a collector batches them: grouped by resource and instrumentation scope.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use trivium_model::{SignalKind, UnixNanos};
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::InstrumentationScope;
use trivium_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};

use crate::shop::{InstanceId, Shop};
use crate::{DemoRequest, Nanos};

/// Items of one request at most.
const REQUEST_ITEMS_MAX: usize = 2_000;

const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// An item with its time, its sender and its scope.
pub(crate) type Sent<T> = (Nanos, InstanceId, &'static str, T);

pub(crate) fn spans(shop: &Shop, spans: Vec<Sent<Span>>) -> Vec<DemoRequest> {
    let build = |instance, scopes: BTreeMap<&str, Vec<Span>>| ResourceSpans {
        resource: Some(resource(shop, instance)),
        scope_spans: scopes
            .into_iter()
            .map(|(name, spans)| ScopeSpans { scope: Some(scope(name)), spans, schema_url: SCHEMA_URL.into() })
            .collect(),
        schema_url: SCHEMA_URL.into(),
    };
    let encode = |resource_spans| ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    requests(SignalKind::Traces, spans, build, encode)
}

pub(crate) fn logs(shop: &Shop, records: Vec<Sent<LogRecord>>) -> Vec<DemoRequest> {
    let build = |instance, scopes: BTreeMap<&str, Vec<LogRecord>>| ResourceLogs {
        resource: Some(resource(shop, instance)),
        scope_logs: scopes
            .into_iter()
            .map(|(name, log_records)| ScopeLogs {
                scope: Some(scope(name)),
                log_records,
                schema_url: SCHEMA_URL.into(),
            })
            .collect(),
        schema_url: SCHEMA_URL.into(),
    };
    let encode = |resource_logs| ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    requests(SignalKind::Logs, records, build, encode)
}

/// The metrics of all instances at one time.
pub(crate) fn metrics(shop: &Shop, time: Nanos, exports: Vec<(InstanceId, Vec<Metric>)>) -> DemoRequest {
    let items = exports.iter().flat_map(|(_, metrics)| metrics).map(points).sum();
    let resource_metrics = exports
        .into_iter()
        .map(|(instance, metrics)| {
            let name = shop.instance(instance).service.name();
            let scope_metrics = ScopeMetrics { scope: Some(scope(name)), metrics, schema_url: SCHEMA_URL.into() };
            ResourceMetrics {
                resource: Some(resource(shop, instance)),
                scope_metrics: vec![scope_metrics],
                schema_url: SCHEMA_URL.into(),
            }
        })
        .collect();
    let payload = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into();
    DemoRequest { signal: SignalKind::Metrics, payload, items, time: UnixNanos(time) }
}

/// Cuts items, which are in the order of time, into requests.
fn requests<T, R>(
    signal: SignalKind,
    items: Vec<Sent<T>>,
    build: impl Fn(InstanceId, BTreeMap<&'static str, Vec<T>>) -> R,
    encode: impl Fn(Vec<R>) -> Vec<u8>,
) -> Vec<DemoRequest> {
    let mut requests = Vec::new();
    let mut rest = items.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut count, mut time) = (0, 0);
        let mut groups: BTreeMap<InstanceId, BTreeMap<&'static str, Vec<T>>> = BTreeMap::new();
        for (at, instance, scope, item) in rest.by_ref().take(REQUEST_ITEMS_MAX) {
            groups.entry(instance).or_default().entry(scope).or_default().push(item);
            (count, time) = (count + 1, at);
        }
        let payload: Bytes =
            encode(groups.into_iter().map(|(instance, scopes)| build(instance, scopes)).collect()).into();
        requests.push(DemoRequest { signal, payload, items: count, time: UnixNanos(time) });
    }
    requests
}

fn resource(shop: &Shop, instance: InstanceId) -> Resource {
    shop.instance(instance).resource.clone()
}

fn scope(name: &str) -> InstrumentationScope {
    InstrumentationScope { name: name.into(), version: "1.0.0".into(), ..InstrumentationScope::default() }
}

fn points(metric: &Metric) -> u64 {
    let points = match &metric.data {
        None => 0,
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
    };
    points as u64
}
