mod answers;

use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use serde_json::{Value, json};
use trivium_model::{SignalKind, TenantId};
use trivium_promql::{
    Engine, Labels, STALE_NAN_BITS, Selection, Series, SeriesSource, Value as Answer, parse_selector,
};
use trivium_storage::Snapshot;

use super::*;
use crate::lookup::Deadline;
use crate::table::TableSource;
use crate::testing::{Fixture, from_json, rows, text, times};

const MILLI: i64 = 1_000_000;

const RESOURCE: &str = r#"{"service.instance.id":"a-1","service.name":"api","service.namespace":"shop","zone":"eu"}"#;

/// A data point; what is not given is absent.
#[derive(Clone)]
struct Point {
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    attributes: &'static str,
    resource: &'static str,
    id: u64,
    /// In milliseconds.
    time: i64,
    value: Option<f64>,
    is_monotonic: bool,
    temporality: &'static str,
    flags: u32,
    /// Columns of distributions and exemplars.
    more: Value,
}

fn point(name: &'static str, kind: &'static str, id: u64, time: i64, value: f64) -> Point {
    Point {
        name,
        kind,
        unit: "",
        attributes: "{}",
        resource: RESOURCE,
        id,
        time,
        value: Some(value),
        is_monotonic: false,
        temporality: "cumulative",
        flags: 0,
        more: json!({}),
    }
}

const LISTS: [&str; 7] = [
    "bucket_counts",
    "explicit_bounds",
    "positive_counts",
    "negative_counts",
    "quantiles",
    "quantile_values",
    "exemplars",
];

fn batch(points: &[Point]) -> RecordBatch {
    let texts = |get: fn(&Point) -> &'static str| text(&points.iter().map(get).collect::<Vec<_>>());
    let of_more = |name: &str| -> Vec<Value> { points.iter().map(|point| point.more[name].clone()).collect() };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("metric_name", texts(|point| point.name)),
        ("metric_type", texts(|point| point.kind)),
        ("unit", texts(|point| point.unit)),
        ("attributes", texts(|point| point.attributes)),
        ("resource", texts(|point| point.resource)),
        ("temporality", texts(|point| point.temporality)),
        ("time", times(&points.iter().map(|point| point.time * MILLI).collect::<Vec<_>>())),
        ("series_id", Arc::new(points.iter().map(|point| Some(point.id)).collect::<UInt64Array>())),
        ("flags", Arc::new(points.iter().map(|point| Some(point.flags)).collect::<UInt32Array>())),
        ("value", Arc::new(points.iter().map(|point| point.value).collect::<Float64Array>())),
        ("is_monotonic", Arc::new(points.iter().map(|point| Some(point.is_monotonic)).collect::<BooleanArray>())),
    ];
    for name in ["count", "zero_count", "sum", "scale", "positive_offset"].iter().chain(&LISTS) {
        if points.iter().any(|point| !point.more[*name].is_null()) {
            columns.push((name, from_json(SignalKind::Metrics, name, &of_more(name))));
        }
    }
    rows(SignalKind::Metrics, columns)
}

fn stored(fixture: &Fixture, config: SeriesConfig) -> StoredSeries {
    stored_in(&SeriesState::new(config, 32 << 20), fixture)
}

fn stored_in(state: &Arc<SeriesState>, fixture: &Fixture) -> StoredSeries {
    let snapshot = fixture.snapshot(TenantId::DEFAULT, SignalKind::Metrics);
    StoredSeries::over(state, TenantId::DEFAULT, snapshot, Deadline::after(Duration::from_secs(60)))
}

fn select(fixture: &Fixture, selector: &str) -> Vec<Series> {
    let matchers = parse_selector(selector).expect("a selector");
    let selection = Selection { matchers: &matchers, after: -1_000, until: 1_000_000_000 };
    let mut series = stored(fixture, SeriesConfig::default()).select(&selection).expect("readable");
    series.sort_by(|left, right| left.labels.cmp(&right.labels));
    series
}

fn show(labels: &Labels) -> String {
    labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect::<Vec<_>>().join(" ")
}

fn shown(series: &[Series]) -> Vec<String> {
    series.iter().map(|series| format!("{} {:?} {:?}", show(&series.labels), series.times, series.values)).collect()
}

/// In a soak of two hours what was known of merged and expired parts grew to 900 MiB.
#[test]
fn what_is_known_of_parts_that_are_gone_is_forgotten() {
    let up = |time| batch(&[point("up", "gauge", 1, time, 1.0)]);
    let fixture = Fixture::default().part(SignalKind::Metrics, up(1_000)).part(SignalKind::Metrics, up(2_000));
    let state = SeriesState::new(SeriesConfig::default(), 0);
    let matchers = parse_selector("up").expect("a selector");
    let selection = Selection { matchers: &matchers, after: -1_000, until: 1_000_000_000 };
    let ask = || stored_in(&state, &fixture).select(&selection).expect("readable");
    let before = shown(&ask());
    assert_eq!(state.indexes.known(), (2, 2));
    state.keep_only(&HashSet::from([PartId([1; 16])]));
    assert_eq!(state.indexes.known(), (1, 1));
    assert_eq!(shown(&ask()), before, "it is learned again");
}

/// A query that met a damaged part had no answer at all.
#[test]
fn a_damaged_part_costs_its_samples_and_is_named() {
    let parts = [1_000, 2_000, 3_000].map(|time| batch(&[point("up", "gauge", 1, time, 1.0)]));
    let fixture = parts.into_iter().fold(Fixture::default(), |fixture, rows| fixture.part(SignalKind::Metrics, rows));
    let state = SeriesState::new(SeriesConfig::default(), 0);
    let selectors = [parse_selector("up").expect("a selector")];
    fixture.damage_columns(0);
    let stored = stored_in(&state, &fixture);
    assert_eq!(stored.series(&selectors, (0, 10_000), 9).expect("the others").found.len(), 1);
    assert_eq!(stored.metadata(None).expect("the others").len(), 1);
    let warnings = stored.unread().warnings();
    assert!(warnings.len() == 1 && warnings[0].starts_with("up to 1 metrics of the damaged part 0000"), "{warnings:?}");
    // Where its series are is known by now; it is their samples that cannot be read.
    fixture.damage_columns(1);
    let stored = stored_in(&state, &fixture);
    let selection = Selection { matchers: &selectors[0], after: -1_000, until: 1_000_000_000 };
    let series = stored.select(&selection).expect("the others");
    assert_eq!((series.len(), series[0].times.as_slice()), (1, &[3_000][..]));
    let warnings = stored.unread().warnings();
    assert!(warnings.len() == 2 && warnings[1].contains("damaged part 0101"), "{warnings:?}");
}

/// The ID of a series is a hash that everybody can compute.
#[test]
fn tenants_with_the_same_series_id_have_their_own_labels() {
    let up = |attributes| batch(&[Point { attributes, ..point("up", "gauge", 1, 1_000, 1.0) }]);
    let fixture = Fixture::default()
        .part(SignalKind::Metrics, up(r#"{"who":"ann"}"#))
        .part(SignalKind::Metrics, up(r#"{"who":"bob"}"#));
    let parts = fixture.snapshot(TenantId::DEFAULT, SignalKind::Metrics).parts;
    let state = SeriesState::new(SeriesConfig::default(), 0);
    let matchers = parse_selector("up").expect("a selector");
    let selection = Selection { matchers: &matchers, after: -1_000, until: 1_000_000_000 };
    let who = |tenant, part: usize| {
        let snapshot = Snapshot { parts: vec![Arc::clone(&parts[part])], buffered: Vec::new() };
        let stored = StoredSeries::over(&state, TenantId(tenant), snapshot, Deadline::after(Duration::from_secs(60)));
        stored.select(&selection).expect("readable")[0].labels.get("who").to_owned()
    };
    assert_eq!([who(1, 0), who(2, 1), who(1, 0)], ["ann", "bob", "ann"]);
}

#[test]
fn a_metric_has_its_translated_name_and_its_own() {
    let requests = |id, time, value, attributes| Point {
        attributes,
        is_monotonic: true,
        unit: "{request}",
        ..point("http.requests", "sum", id, time, value)
    };
    let fixture = Fixture::default()
        .part(
            SignalKind::Metrics,
            batch(&[
                requests(1, 1_000, 1.0, r#"{"http.route":"/a","n":5}"#),
                requests(1, 2_000, 2.0, r#"{"http.route":"/a","n":5}"#),
                requests(2, 1_000, 10.0, r#"{"http.route":"/b","n":5}"#),
                point("other", "gauge", 3, 1_000, 0.0),
            ]),
        )
        .buffer(SignalKind::Metrics, batch(&[requests(1, 3_000, 3.0, r#"{"http.route":"/a","n":5}"#)]));
    assert_eq!(
        shown(&select(&fixture, r#"http_requests_total{http_route!=""}"#)),
        [
            "__name__=http_requests_total http_route=/a instance=a-1 job=shop/api n=5 [1000, 2000, 3000] [1.0, 2.0, 3.0]",
            "__name__=http_requests_total http_route=/b instance=a-1 job=shop/api n=5 [1000] [10.0]",
        ]
    );
    assert_eq!(
        shown(&select(&fixture, r#"{"http.requests", "http.route"="/b", "service.name"="api"}"#)),
        [
            "__name__=http.requests http.route=/b instance=a-1 job=shop/api n=5 service.instance.id=a-1 service.name=api \
          service.namespace=shop [1000] [10.0]"
        ]
    );
    assert_eq!(select(&fixture, r#"{__name__=~"http.*"}"#).len(), 2, "a pattern sees translated names only");
    assert_eq!(select(&fixture, r#"http_requests_total{http_route="/c"}"#).len(), 0);
    assert_eq!(select(&fixture, r#"{job="shop/api"}"#).len(), 4, "three series and target_info");
}

#[test]
fn a_histogram_is_classic_series_and_under_its_own_name_native() {
    let duration = |time, counts: Value| Point {
        unit: "s",
        value: None,
        more: json!({"count": 6, "sum": 1.5, "bucket_counts": counts, "explicit_bounds": [0.1, 0.5]}),
        ..point("http.duration", "histogram", 1, time, 0.0)
    };
    let fixture = Fixture::default()
        .part(SignalKind::Metrics, batch(&[duration(1_000, json!([1, 2, 3])), duration(2_000, json!([2, 2, 2]))]));
    let buckets: Vec<(String, Vec<f64>)> = select(&fixture, "http_duration_seconds_bucket")
        .into_iter()
        .map(|series| (series.labels.get("le").to_owned(), series.values))
        .collect();
    assert_eq!(
        buckets,
        [("+Inf".into(), vec![6.0, 6.0]), ("0.1".into(), vec![1.0, 2.0]), ("0.5".into(), vec![3.0, 4.0])]
    );
    assert_eq!(select(&fixture, "http_duration_seconds_sum")[0].values, [1.5, 1.5]);
    assert_eq!(select(&fixture, "http_duration_seconds_count")[0].values, [6.0, 6.0]);
    assert_eq!(select(&fixture, r#"http_duration_seconds_bucket{le="0.5"}"#).len(), 1);
    let native = select(&fixture, r#"{"http.duration"}"#);
    assert_eq!(native.len(), 1);
    let (time, histogram) = &native[0].histograms[0];
    assert_eq!((*time, histogram.count, histogram.sum), (1_000, 6.0, 1.5));
    assert_eq!(
        (histogram.custom_values.as_slice(), histogram.positive_buckets.as_slice()),
        (&[0.1, 0.5][..], &[1.0, 2.0, 3.0][..])
    );
    let answer = Engine::default().instant(
        &stored(&fixture, SeriesConfig::default()),
        r#"histogram_quantile(0.5, {"http.duration"})"#,
        1_000,
    );
    let Answer::Vector(vector) = answer.expect("an answer").value else { panic!("no vector") };
    assert_eq!(vector.len(), 1);
}

#[test]
fn exponential_histograms_are_native_and_summaries_have_quantiles() {
    let exponential = Point {
        value: None,
        more: json!({"count": 7, "sum": 3.0, "scale": 9, "zero_count": 1, "positive_offset": 0, "positive_counts": [1, 2, 3]}),
        ..point("size", "exponential_histogram", 1, 1_000, 0.0)
    };
    let summary = Point {
        value: None,
        more: json!({"count": 4, "sum": 2.0, "quantiles": [0.5, 1.0], "quantile_values": [0.1, 0.9]}),
        ..point("latency", "summary", 2, 1_000, 0.0)
    };
    let fixture = Fixture::default().buffer(SignalKind::Metrics, batch(&[exponential, summary]));
    let native = select(&fixture, "size");
    let (_, histogram) = &native[0].histograms[0];
    assert_eq!((histogram.schema, histogram.zero_count, histogram.zero_threshold), (8, 1.0, 1e-128));
    // OTLP's buckets 0, 1 | 2 of scale 9 are buckets 1 and 2 of schema 8.
    assert_eq!((histogram.positive_spans[0].offset, histogram.positive_buckets.as_slice()), (1, &[3.0, 3.0][..]));
    let quantiles = select(&fixture, "latency");
    assert_eq!(quantiles.iter().map(|series| series.labels.get("quantile")).collect::<Vec<_>>(), ["0.5", "1"]);
    assert_eq!(select(&fixture, "latency_count")[0].values, [4.0]);
}

#[test]
fn a_point_without_a_value_ends_its_series() {
    let ended = Point { value: None, flags: 1, ..point("up", "gauge", 1, 2_000, 0.0) };
    let fixture = Fixture::default().part(SignalKind::Metrics, batch(&[point("up", "gauge", 1, 1_000, 1.0), ended]));
    let series = select(&fixture, "up");
    assert_eq!(series[0].times, [1_000, 2_000]);
    assert_eq!(series[0].values[1].to_bits(), STALE_NAN_BITS);
}

#[test]
fn a_histogram_without_a_value_ends_all_of_its_series() {
    let histogram = |time, flags, more| Point { value: None, flags, more, ..point("wait", "histogram", 1, time, 0.0) };
    let counted = json!({"count": 1, "sum": 0.2, "bucket_counts": [0, 1], "explicit_bounds": [0.1]});
    let fixture = Fixture::default()
        .part(SignalKind::Metrics, batch(&[histogram(1_000, 0, counted)]))
        .buffer(SignalKind::Metrics, batch(&[histogram(2_000, 1, json!({}))]));
    for selector in ["wait_bucket", "wait_sum", "wait_count"] {
        for series in select(&fixture, selector) {
            assert_eq!(series.times, [1_000, 2_000], "{}", show(&series.labels));
            assert_eq!(series.values[1].to_bits(), STALE_NAN_BITS);
        }
    }
    assert_eq!(select(&fixture, "wait_bucket").len(), 2);
}

#[test]
fn samples_of_prometheus_keep_their_names_and_labels() {
    let sample = Point {
        attributes: r#"{"instance":"x:9090","job":"node","le":"1"}"#,
        resource: "{}",
        unit: "s",
        is_monotonic: true,
        ..point("node.cpu_seconds", "prometheus", 1, -5, f64::from_bits(0x7ff8_0000_0000_0001))
    };
    let fixture = Fixture::default().part(SignalKind::Metrics, batch(&[sample]));
    let series = select(&fixture, r#"{"node.cpu_seconds"}"#);
    assert_eq!(show(&series[0].labels), "__name__=node.cpu_seconds instance=x:9090 job=node le=1");
    assert_eq!((series[0].times[0], series[0].values[0].to_bits()), (-5, 0x7ff8_0000_0000_0001));
    assert!(select(&fixture, "target_info").is_empty());
}

#[test]
fn deltas_are_told_from_totals() {
    let delta =
        |time, value| Point { is_monotonic: true, temporality: "delta", ..point("orders", "sum", 1, time, value) };
    let fixture = Fixture::default()
        .buffer(SignalKind::Metrics, batch(&[delta(10_000, 3.0), delta(20_000, 4.0), delta(30_000, 5.0)]));
    assert!(select(&fixture, "orders_total")[0].is_delta);
    let answer =
        Engine::default().instant(&stored(&fixture, SeriesConfig::default()), "increase(orders_total[20s])", 30_000);
    let Answer::Vector(vector) = answer.expect("an answer").value else { panic!("no vector") };
    assert_eq!(vector[0].value, trivium_promql::SampleValue::Float(9.0));
}

#[test]
fn late_and_repeated_samples_find_their_place() {
    let fixture = Fixture::default()
        .part(SignalKind::Metrics, batch(&[point("a", "gauge", 1, 3_000, 3.0), point("a", "gauge", 1, 1_000, 1.0)]))
        .buffer(SignalKind::Metrics, batch(&[point("a", "gauge", 1, 3_000, 33.0)]))
        .buffer(SignalKind::Metrics, batch(&[point("a", "gauge", 1, 2_000, 2.0)]));
    let series = select(&fixture, "a");
    assert_eq!(
        (series[0].times.as_slice(), series[0].values.as_slice()),
        (&[1_000, 2_000, 3_000][..], &[1.0, 2.0, 33.0][..])
    );
}

#[test]
fn target_info_lasts_as_long_as_its_resource_is_heard_of() {
    let points: Vec<Point> = (0..20).map(|minute| point("a", "gauge", 1, minute * 60_000, 1.0)).collect();
    let fixture = Fixture::default().part(SignalKind::Metrics, batch(&points));
    let series = select(&fixture, "target_info");
    assert_eq!(show(&series[0].labels), "__name__=target_info instance=a-1 job=shop/api zone=eu");
    assert_eq!(series[0].times.first(), Some(&0));
    assert_eq!(series[0].times.last(), Some(&(19 * 60_000)));
    assert!(series[0].times.windows(2).all(|pair| pair[1] - pair[0] <= 150_000), "{:?}", series[0].times);
    let config = SeriesConfig { promote_resource_attributes: vec!["zone".into()], ..SeriesConfig::default() };
    let promoted = stored(&fixture, config);
    assert_eq!(promoted.label_values("zone", &[], (0, 10)).expect("readable").into_iter().collect::<Vec<_>>(), ["eu"]);
}

#[test]
fn what_there_is_can_be_listed_without_reading_samples() {
    let gauge = |id, attributes| Point { attributes, ..point("queue.length", "gauge", id, 5_000, 1.0) };
    let histogram = Point {
        value: None,
        unit: "s",
        more: json!({"count": 1, "sum": 0.2, "bucket_counts": [0, 1], "explicit_bounds": [0.1]}),
        ..point("wait", "histogram", 9, 5_000, 0.0)
    };
    let points = [gauge(1, r#"{"queue":"mail"}"#), gauge(2, r#"{"queue":"pay"}"#), histogram];
    let fixture = Fixture::default().part(SignalKind::Metrics, batch(&points));
    let series = stored(&fixture, SeriesConfig::default());
    let all = (0, 10_000);
    let selector = |text: &str| vec![parse_selector(text).expect("a selector")];
    let names = series.label_values("__name__", &[], all).expect("readable");
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        ["queue_length", "target_info", "wait_seconds_bucket", "wait_seconds_count", "wait_seconds_sum"]
    );
    assert_eq!(series.label_values("queue", &[], all).expect("readable").len(), 2);
    assert_eq!(series.label_values("le", &[], all).expect("readable").into_iter().collect::<Vec<_>>(), ["+Inf", "0.1"]);
    assert_eq!(
        series.label_names(&selector("queue_length"), all).expect("readable").into_iter().collect::<Vec<_>>(),
        ["__name__", "instance", "job", "queue"]
    );
    let cut = series.series(&selector("queue_length"), all, 1).expect("readable");
    assert!(cut.is_cut && cut.found.len() == 1);
    assert_eq!(series.series(&selector("queue_length"), (6_000, 7_000), 9).expect("readable").found.len(), 0);
    let metadata = series.metadata(None).expect("readable");
    assert_eq!(
        metadata.iter().map(|metric| (metric.name.as_str(), metric.kind)).collect::<Vec<_>>(),
        [("queue_length", "gauge"), ("wait_seconds", "histogram")]
    );
    assert_eq!(series.cardinality(all).expect("readable").series, 7);
}

#[test]
fn exemplars_belong_to_the_bucket_of_their_value() {
    let exemplar = json!([{"time": "1970-01-01T00:00:01", "value": 0.3, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "attributes": "{\"user\":\"u1\"}"}]);
    let with_exemplar = |time| Point {
        value: None,
        unit: "s",
        more: json!({"count": 2, "sum": 0.2, "bucket_counts": [1, 1, 0], "explicit_bounds": [0.1, 0.5], "exemplars": exemplar}),
        ..point("wait", "histogram", 9, time, 0.0)
    };
    let fixture = Fixture::default().part(SignalKind::Metrics, batch(&[with_exemplar(1_000), with_exemplar(2_000)]));
    let series = stored(&fixture, SeriesConfig::default());
    let matchers = vec![parse_selector("wait_seconds_bucket").expect("a selector")];
    let found = series.exemplars(&matchers, (0, 5_000)).expect("readable");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].labels.get("le"), "0.5");
    assert_eq!(found[0].exemplars.len(), 1, "an exemplar that is sent again is shown once");
    assert_eq!(show(&found[0].exemplars[0].labels), "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 user=u1");
    assert_eq!((found[0].exemplars[0].value, found[0].exemplars[0].time), (0.3, 1_000));
}

#[test]
fn a_selector_that_loads_too_much_is_refused() {
    let points: Vec<Point> = (0..100).map(|second| point("a", "gauge", 1, second * 1_000, 1.0)).collect();
    let fixture = Fixture::default().part(SignalKind::Metrics, batch(&points));
    let matchers = parse_selector("a").expect("a selector");
    let selection = Selection { matchers: &matchers, after: -1, until: 1_000_000 };
    let error =
        stored(&fixture, SeriesConfig::default()).with_samples_max(50).select(&selection).expect_err("too many");
    assert!(error.to_string().contains("promql_samples_max = 50"), "{error}");
}

#[test]
fn values_that_do_not_stand_in_the_attributes_are_found_all_the_same() {
    let attributes = r#"{"big":1e21,"half":0.5,"note":"a \"b\"","round":5.0,"text":"shard-17","yes":true}"#;
    let gauge = Point { attributes, ..point("load", "gauge", 1, 1_000, 1.0) };
    let fixture = Fixture::default().part(SignalKind::Metrics, batch(&[gauge]));
    let labels = show(&select(&fixture, "load")[0].labels);
    for pair in labels.split(' ').filter(|pair| !pair.contains('"') && !pair.starts_with("note")) {
        let (name, value) = pair.split_once('=').expect("a label");
        let selector = if name == "__name__" { value.to_owned() } else { format!("load{{{name}=\"{value}\"}}") };
        assert_eq!(select(&fixture, &selector).len(), 1, "{selector}");
    }
    assert_eq!(select(&fixture, r#"load{note="a \"b\""}"#).len(), 1);
    assert_eq!(select(&fixture, r#"load{text="shard-18"}"#).len(), 0);
    assert_eq!(select(&fixture, r#"load{absent=""}"#).len(), 1);
}
