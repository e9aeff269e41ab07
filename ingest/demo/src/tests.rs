use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::{KeyValue, any_value::Value};
use trivium_proto::otlp::logs::v1::LogRecord;
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{ResourceMetrics, number_data_point};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::otlp::trace::v1::Span;
use trivium_proto::otlp::trace::v1::status::StatusCode;

use super::*;

const NOW: UnixNanos = UnixNanos(1_790_000_000_500_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// Everything of a story, with the service that sent it.
#[derive(Default)]
struct Told {
    spans: Vec<(String, Span)>,
    logs: Vec<(String, LogRecord)>,
    metrics: Vec<ResourceMetrics>,
    services: BTreeMap<String, HashSet<String>>,
    points: u64,
}

impl Told {
    fn read(requests: &[DemoRequest]) -> Self {
        let mut told = Self::default();
        for request in requests {
            let before = told.spans.len() + told.logs.len();
            match request.signal {
                SignalKind::Traces => told.read_spans(&request.payload),
                SignalKind::Logs => told.read_logs(&request.payload),
                SignalKind::Metrics => {
                    let decoded = ExportMetricsServiceRequest::decode(&*request.payload).expect("a request");
                    told.points += request.items;
                    told.metrics.extend(decoded.resource_metrics);
                    continue;
                }
            }
            assert_eq!((told.spans.len() + told.logs.len() - before) as u64, request.items);
        }
        told
    }

    fn read_spans(&mut self, payload: &[u8]) {
        for of_resource in ExportTraceServiceRequest::decode(payload).expect("a request").resource_spans {
            let service = self.service(of_resource.resource.expect("a resource"));
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.extend(spans.map(|span| (service.clone(), span)));
        }
    }

    fn read_logs(&mut self, payload: &[u8]) {
        for of_resource in ExportLogsServiceRequest::decode(payload).expect("a request").resource_logs {
            let service = self.service(of_resource.resource.expect("a resource"));
            let records = of_resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            self.logs.extend(records.map(|record| (service.clone(), record)));
        }
    }

    fn service(&mut self, resource: Resource) -> String {
        let service = attribute(&resource.attributes, "service.name").expect("a service");
        let instance = attribute(&resource.attributes, "service.instance.id").expect("an instance");
        self.services.entry(service.clone()).or_default().insert(instance);
        service
    }

    /// Share of the service's server spans in the time that failed, and how many there are.
    fn failed_share(&self, service: &str, from: UnixNanos, until: UnixNanos) -> (f64, usize) {
        let served = self.spans.iter().filter(|(name, span)| {
            name == service
                && span.kind == 2
                && (from.0..until.0).contains(&i64::try_from(span.start_time_unix_nano).expect("a time of ours"))
        });
        let failed: Vec<bool> = served.map(|(_, span)| failed(span)).collect();
        (failed.iter().filter(|&&failed| failed).count() as f64 / failed.len() as f64, failed.len())
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    match value {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

fn body(record: &LogRecord) -> String {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

/// The orders that the story names.
fn orders(told: &Told) -> HashSet<String> {
    told.logs.iter().filter_map(|(_, record)| attribute(&record.attributes, "order.id")).collect()
}

fn hour() -> (Demo, Vec<DemoRequest>) {
    let mut demo = Demo::new(DemoConfig::starting_before(NOW, HOUR));
    let requests = demo.next(NOW);
    (demo, requests)
}

#[test]
fn equal_seeds_tell_equal_stories() {
    let tell = |seed| {
        let history = Duration::from_secs(600);
        Demo::new(DemoConfig { seed, ..DemoConfig::starting_before(NOW, history) }).next(NOW)
    };
    assert!(tell(7) == tell(7), "the same seed gave other bytes");
    assert!(tell(7) != tell(8), "another seed gave the same bytes");
}

/// Live telemetry comes second by second; the story must not depend on when it is asked for.
#[test]
fn small_steps_tell_the_same_story_as_large_ones() {
    let history = Duration::from_secs(300);
    let config = DemoConfig::starting_before(NOW, history);
    let at_once = Told::read(&Demo::new(config.clone()).next(NOW));
    let mut demo = Demo::new(config.clone());
    let mut requests = Vec::new();
    for step in 0..=3_000 {
        requests.extend(demo.next(config.start.after(Duration::from_millis(100) * step)));
    }
    let stepwise = Told::read(&requests);
    let ids = |told: &Told| told.spans.iter().map(|(_, span)| span.span_id.clone()).collect::<HashSet<_>>();
    assert_eq!(ids(&stepwise), ids(&at_once));
    assert_eq!(stepwise.logs.len(), at_once.logs.len());
    assert_eq!(stepwise.points, at_once.points);
    assert!(requests.is_sorted_by_key(|request| request.time));
    assert!(demo.next(NOW).is_empty(), "what is told is not told again");
}

/// A server that is started again goes on with the same shop: what was deployed stays, and no ID is given twice.
#[test]
fn a_story_that_goes_on_repeats_nothing() {
    let (_, requests) = hour();
    let told = Told::read(&requests);
    let later = NOW.after(Duration::from_secs(600));
    let mut demo = Demo::new(DemoConfig::continuing(NOW, later));
    let more = Told::read(&demo.next(later));
    let traces = |told: &Told| told.spans.iter().map(|(_, span)| span.trace_id.clone()).collect::<HashSet<_>>();
    assert!(traces(&told).is_disjoint(&traces(&more)), "a trace ID came again");
    let (before, after) = (orders(&told), orders(&more));
    assert!(after.len() > 100 && before.iter().max() < after.iter().min(), "{:?}", after.iter().min());
    let begun = more.spans.iter().map(|(_, span)| span.start_time_unix_nano).min().expect("spans");
    assert!(begun > NOW.0 as u64, "what was told is not told again");
    for (service, instances) in &more.services {
        assert!(instances.is_subset(&told.services[service]), "{service} has other instances");
    }
    assert_eq!((more.services["payment"].len(), more.services["recommendation"].len()), (4, 2));
    let deploys = ["rollout of", "received SIGTERM", " started on "];
    let said = |text: &str| more.logs.iter().any(|(_, record)| body(record).contains(text));
    assert!(!deploys.into_iter().any(said), "nothing is deployed");
    assert!(said(demo.incident().message), "the incident lasts");
}

/// Orders that are told again, because somebody sends the same time twice, have other traces all the same.
#[test]
fn another_start_gives_other_ids() {
    let history = Duration::from_secs(300);
    let tell = |now: UnixNanos| Told::read(&Demo::new(DemoConfig::starting_before(now, history)).next(now));
    let (one, other) = (tell(NOW), tell(NOW.after(Duration::from_secs(1))));
    let traces = |told: &Told| told.spans.iter().map(|(_, span)| span.trace_id.clone()).collect::<HashSet<_>>();
    assert!(traces(&one).is_disjoint(&traces(&other)));
    assert_eq!(one.services.keys().collect::<Vec<_>>(), other.services.keys().collect::<Vec<_>>());
}

#[test]
fn who_says_that_nobody_answered_has_waited() {
    let (_, requests) = hour();
    let told = Told::read(&requests);
    let nanos: HashMap<_, u64> = told
        .spans
        .iter()
        .map(|(_, span)| ((&span.trace_id, &span.span_id), span.end_time_unix_nano - span.start_time_unix_nano))
        .collect();
    let mut waited = 0;
    for (service, record) in told.logs.iter().filter(|(_, record)| body(record).contains("did not answer within")) {
        let text = body(record);
        let millis: u64 = text.rsplit(' ').next().and_then(|last| last.strip_suffix("ms")?.parse().ok()).expect("ms");
        // The newest spans are still open.
        if let Some(nanos) = nanos.get(&(&record.trace_id, &record.span_id)) {
            assert!(*nanos >= millis * 1_000_000, "{service} says after {nanos} ns: {text}");
            waited += 1;
        }
    }
    assert!(waited > 10, "{waited}");
}

#[test]
fn an_hour_is_as_large_as_promised() {
    let (_, requests) = hour();
    let told = Told::read(&requests);
    let traces: HashSet<_> = told.spans.iter().map(|(_, span)| &span.trace_id).collect();
    let counts = format!(
        "{} traces, {} spans, {} log records, {} points, {} requests, {} bytes",
        traces.len(),
        told.spans.len(),
        told.logs.len(),
        told.points,
        requests.len(),
        requests.iter().map(|request| request.payload.len()).sum::<usize>()
    );
    println!("{counts}");
    assert!((100_000..150_000).contains(&told.spans.len()), "{counts}");
    assert!((45_000..75_000).contains(&told.logs.len()), "{counts}");
    assert!((45_000..75_000).contains(&told.points), "{counts}");
    assert!(requests.is_sorted_by_key(|request| request.time));
    assert!(requests.iter().all(|request| (1..=2_000).contains(&request.items)));
    let (services, instances) = (told.services.len(), told.services.values().map(HashSet::len).sum::<usize>());
    assert_eq!((services, instances), (13, 37), "31 instances, and 6 that replace others");
}

#[test]
fn every_span_has_its_parent_and_every_id_its_span() {
    let (_, requests) = hour();
    let told = Told::read(&requests);
    let by_id: HashMap<_, _> =
        told.spans.iter().map(|(service, span)| ((&span.trace_id, &span.span_id), (service, span))).collect();
    assert_eq!(by_id.len(), told.spans.len(), "span IDs are unique");
    // The newest traces are still running when the hour ends.
    let settled = (NOW.0 - 30 * SECOND) as u64;
    for (service, span) in told.spans.iter().filter(|(_, span)| span.end_time_unix_nano < settled) {
        assert!(span.start_time_unix_nano < span.end_time_unix_nano, "{service} {}", span.name);
        if span.parent_span_id.is_empty() {
            assert!(span.kind == 2 || span.kind == 5, "{service} {} begins a trace", span.name);
            continue;
        }
        let (caller, parent) = by_id[&(&span.trace_id, &span.parent_span_id)];
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano, "{service} {}", span.name);
        if span.kind != 2 && span.kind != 5 {
            assert_eq!(caller, service, "{} is part of its service", span.name);
        }
    }
    for link in told.spans.iter().flat_map(|(_, span)| &span.links) {
        assert!(by_id.contains_key(&(&link.trace_id, &link.span_id)));
    }
    let of_requests = told.logs.iter().filter(|(_, record)| !record.trace_id.is_empty());
    for (service, record) in of_requests.filter(|(_, record)| record.time_unix_nano < settled) {
        let (sender, _) = by_id[&(&record.trace_id, &record.span_id)];
        assert_eq!(sender, service, "{}", body(record));
    }
}

#[test]
fn the_incident_is_where_it_is_said_to_be() {
    let (demo, requests) = hour();
    let told = Told::read(&requests);
    let incident = demo.incident();
    assert_eq!(incident.start, UnixNanos((NOW.0 - 1_200 * SECOND) / SECOND * SECOND));
    let settled = incident.start.after(Duration::from_secs(300));
    let bounds = [("payment", 0.3), ("checkout", 0.15), ("api-gateway", 0.01), ("storefront", 0.01)];
    for (service, least) in bounds {
        let (before, served) = told.failed_share(service, UnixNanos::MIN, incident.start);
        let (after, _) = told.failed_share(service, settled, NOW);
        println!("{service}: {:.2} % of {served} failed before, {:.2} % after", before * 100.0, after * 100.0);
        assert!(before < 0.01, "{service} failed {before} before the incident");
        assert!(after > least && after > before * 5.0, "{service} failed {after} after the incident");
    }
    for service in ["catalog", "search", "cart", "inventory", "recommendation"] {
        let (after, _) = told.failed_share(service, settled, NOW);
        assert!(after < 0.01, "{service} has nothing to do with it and failed {after}");
    }
    let said: Vec<_> = told.logs.iter().filter(|(_, record)| body(record).contains(incident.message)).collect();
    assert!(said.len() > 50, "{} records say it", said.len());
    for (service, record) in said {
        assert_eq!(service, incident.service);
        assert!(record.time_unix_nano > incident.start.0 as u64);
        assert!(attribute(&record.attributes, "order.id").is_some_and(|order| body(record).contains(&order)));
    }
}

#[test]
fn some_payments_still_succeed_and_some_of_them_slowly() {
    let (demo, requests) = hour();
    let told = Told::read(&requests);
    let settled = demo.incident().start.after(Duration::from_secs(300)).0 as u64;
    let paid: Vec<u64> = told
        .spans
        .iter()
        .filter(|(service, span)| service == "payment" && span.kind == 2 && span.name == "POST /charges")
        .filter(|(_, span)| span.start_time_unix_nano > settled && !failed(span))
        .map(|(_, span)| span.end_time_unix_nano - span.start_time_unix_nano)
        .collect();
    let slow = paid.iter().filter(|&&nanos| nanos > 800_000_000).count();
    assert!(paid.len() > 50 && slow > 20, "{slow} of {} were slow", paid.len());
}

#[test]
fn an_order_is_named_by_all_that_work_on_it() {
    let (_, requests) = hour();
    let told = Told::read(&requests);
    let mut services: BTreeMap<String, HashSet<&str>> = BTreeMap::new();
    for (service, record) in &told.logs {
        if let Some(order) = attribute(&record.attributes, "order.id") {
            assert!(order.starts_with("ORD-2026-"), "{order}");
            assert!(body(record).contains(&order), "{}", body(record));
            services.entry(order).or_default().insert(service);
        }
    }
    let everywhere = ["checkout", "payment", "inventory", "shipping", "orders", "notification"];
    let complete = services.values().filter(|services| everywhere.iter().all(|service| services.contains(service)));
    assert!(complete.count() > 300);
}

#[test]
fn metrics_come_in_every_kind_and_agree_with_the_spans() {
    let (demo, requests) = hour();
    let told = Told::read(&requests);
    let mut kinds = HashSet::new();
    let mut placed = 0;
    let mut newest_counts: HashMap<String, u64> = HashMap::new();
    for of_resource in &told.metrics {
        let resource = of_resource.resource.as_ref().expect("a resource");
        let instance = attribute(&resource.attributes, "service.instance.id").expect("an instance");
        for metric in of_resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let data = metric.data.as_ref().expect("data");
            match data {
                Data::Gauge(_) => kinds.insert("gauge"),
                Data::Sum(sum) if sum.aggregation_temporality == 1 => {
                    for point in &sum.data_points {
                        if let Some(number_data_point::Value::AsInt(orders)) = point.value {
                            placed += orders;
                        }
                    }
                    kinds.insert("delta")
                }
                Data::Sum(_) => kinds.insert("cumulative"),
                Data::ExponentialHistogram(histogram) => {
                    for point in &histogram.data_points {
                        let buckets = point.positive.as_ref().expect("durations are positive");
                        assert_eq!(buckets.bucket_counts.iter().sum::<u64>(), point.count);
                    }
                    kinds.insert("exponential histogram")
                }
                Data::Summary(_) => kinds.insert("summary"),
                Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                        let labels: Vec<_> = point.attributes.iter().map(|label| format!("{label:?}")).collect();
                        newest_counts.insert(format!("{instance} {} {labels:?}", metric.name), point.count);
                        kinds.extend(point.exemplars.first().map(|_| "exemplar"));
                    }
                    kinds.insert("histogram")
                }
            };
        }
    }
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    let last_export = demo.now as u64;
    let served = |(_, span): &&(String, Span)| span.kind == 2 && span.end_time_unix_nano <= last_export;
    let captured = newest_counts.iter().filter(|(series, _)| series.contains("shop.payment.amount"));
    let captured: u64 = captured.map(|(_, count)| count).sum();
    let counted = newest_counts.values().sum::<u64>() - captured;
    assert_eq!(counted, told.spans.iter().filter(served).count() as u64);
    let ended = ["checkout failed", "not placed", " placed: "];
    let orders = told
        .logs
        .iter()
        .filter(|(service, record)| service == "checkout" && ended.iter().any(|ending| body(record).contains(ending)));
    assert_eq!(placed, orders.count() as i64);
}
