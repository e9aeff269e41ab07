//! The same series through the OTLP door and through remote write: PromQL answers the same, byte for byte.

use prost::Message;
use tempfile::TempDir;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::common::v1::{AnyValue, KeyValue, any_value};
use trivium_proto::otlp::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric::Data, number_data_point,
};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_proto::prometheus::v1::{Label, Sample, TimeSeries, WriteRequest};

use crate::support::Server;

/// A whole day, long ago, in seconds.
const START: i64 = 1_700_006_400;

/// Points of a series, 15 s apart.
const POINTS: i64 = 80;

const ROUTES: [&str; 2] = ["/cart", "/pay"];

const BOUNDS: [f64; 3] = [0.1, 0.5, 2.5];

/// Milliseconds of a point.
fn time(index: i64) -> i64 {
    (START + index * 15) * 1_000 + 250
}

/// What a service counts up to a point: requests, by bucket of their duration.
fn counts(route: usize, index: i64) -> [u64; 4] {
    let at = u64::try_from(index % 50).expect("few points");
    let factor = route as u64 + 1;
    [at * factor, at * 2, at / 3 * factor, at / 7]
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn level(route: usize, index: i64) -> f64 {
    ((index * 37 + route as i64 * 11) % 101) as f64 / 4.0
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.into(), unit: unit.into(), data: Some(data), ..Metric::default() }
}

/// All points of all routes.
fn points<T>(make: impl Fn(usize, i64, Vec<KeyValue>, u64) -> T) -> Vec<T> {
    let all = (0..ROUTES.len()).flat_map(|route| (0..POINTS).map(move |index| (route, index)));
    all.map(|(route, index)| {
        let nanos = u64::try_from(time(index)).expect("after 1970") * 1_000_000;
        make(route, index, vec![attribute("http.route", ROUTES[route])], nanos)
    })
    .collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn otlp() -> ExportMetricsServiceRequest {
    let cumulative = AggregationTemporality::Cumulative.into();
    let sums = points(|route, index, attributes, time_unix_nano| NumberDataPoint {
        attributes,
        time_unix_nano,
        value: Some(number_data_point::Value::AsDouble(counts(route, index).iter().sum::<u64>() as f64)),
        ..NumberDataPoint::default()
    });
    let gauges = points(|route, index, attributes, time_unix_nano| NumberDataPoint {
        attributes,
        time_unix_nano,
        value: Some(number_data_point::Value::AsDouble(level(route, index))),
        // A point without a value ends the series.
        flags: u32::from(index == 40),
        ..NumberDataPoint::default()
    });
    let histograms = points(|route, index, attributes, time_unix_nano| HistogramDataPoint {
        attributes,
        time_unix_nano,
        count: counts(route, index).iter().sum(),
        sum: Some(level(route, index)),
        bucket_counts: counts(route, index).to_vec(),
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    });
    let metrics = vec![
        metric(
            "http.requests",
            "{request}",
            Data::Sum(Sum { data_points: sums, aggregation_temporality: cumulative, is_monotonic: true }),
        ),
        metric("queue.length", "", Data::Gauge(Gauge { data_points: gauges })),
        metric(
            "http.duration",
            "s",
            Data::Histogram(Histogram { data_points: histograms, aggregation_temporality: cumulative }),
        ),
    ];
    let attributes = vec![
        attribute("service.name", "api"),
        attribute("service.namespace", "shop"),
        attribute("service.instance.id", "a-1"),
    ];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}

fn series(name: &str, route: usize, le: Option<&str>, value: impl Fn(i64) -> f64) -> TimeSeries {
    let own = [("__name__", name), ("http_route", ROUTES[route]), ("instance", "a-1"), ("job", "shop/api")];
    let labels = own.into_iter().chain(le.map(|le| ("le", le)));
    let labels = labels.map(|(name, value)| Label { name: name.into(), value: value.into() }).collect();
    let samples = (0..POINTS).map(|index| Sample { value: value(index), timestamp: time(index) }).collect();
    TimeSeries { labels, samples, ..TimeSeries::default() }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn remote_write() -> WriteRequest {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let mut timeseries = Vec::new();
    for route in 0..ROUTES.len() {
        let total = |index| counts(route, index).iter().sum::<u64>() as f64;
        timeseries.push(series("http_requests_total", route, None, total));
        timeseries.push(series(
            "queue_length",
            route,
            None,
            |index| if index == 40 { stale } else { level(route, index) },
        ));
        for (bucket, le) in ["0.1", "0.5", "2.5", "+Inf"].into_iter().enumerate() {
            let below = |index| counts(route, index)[..=bucket].iter().sum::<u64>() as f64;
            timeseries.push(series("http_duration_seconds_bucket", route, Some(le), below));
        }
        timeseries.push(series("http_duration_seconds_count", route, None, total));
        timeseries.push(series("http_duration_seconds_sum", route, None, |index| level(route, index)));
    }
    WriteRequest { timeseries, ..WriteRequest::default() }
}

const EXPRESSIONS: [&str; 14] = [
    "http_requests_total",
    "rate(http_requests_total[2m])",
    "sum by (job) (increase(http_requests_total[5m]))",
    "resets(http_requests_total[15m])",
    "queue_length",
    r#"queue_length{http_route="/pay"} offset 3m"#,
    "avg_over_time(queue_length[3m])",
    "count_over_time(queue_length[1m])",
    "http_duration_seconds_bucket",
    "histogram_quantile(0.9, sum by (le) (rate(http_duration_seconds_bucket[4m])))",
    "http_duration_seconds_sum / http_duration_seconds_count",
    r#"{job="shop/api",__name__!="target_info"}"#,
    "topk(1, http_requests_total)",
    "absent(nothing)",
];

async fn answer(server: &Server, query: &str) -> String {
    let form = [
        ("query", query.to_owned()),
        ("start", START.to_string()),
        ("end", (START + 1_300).to_string()),
        ("step", "20".into()),
    ];
    let url = format!("{}/prometheus/api/v1/query_range", server.http);
    let answer = server.client().post(url).form(&form).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{query}: {}", answer.status());
    answer.text().await.expect("a body")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_give_the_same_answers() {
    let folder = TempDir::new().expect("a folder");
    let by_otlp = Server::start(&folder.path().join("otlp"), &[]);
    let by_remote_write = Server::start(&folder.path().join("remote-write"), &[]);
    let request = by_otlp.client().post(format!("{}/v1/metrics", by_otlp.otlp_http));
    let sent = request.header("content-type", "application/x-protobuf").body(otlp().encode_to_vec()).send().await;
    assert!(sent.is_ok_and(|answer| answer.status().is_success()));
    let body = snap::raw::Encoder::new().compress_vec(&remote_write().encode_to_vec()).expect("it compresses");
    let request = by_remote_write.client().post(format!("{}/prometheus/api/v1/write", by_remote_write.http));
    let request = request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
    assert!(request.body(body).send().await.is_ok_and(|answer| answer.status().is_success()));
    for is_flushed in [false, true] {
        for query in EXPRESSIONS {
            let (left, right) = (answer(&by_otlp, query).await, answer(&by_remote_write, query).await);
            assert_eq!(left, right, "{query}, flushed: {is_flushed}");
            assert!(left.contains("\"values\""), "{query} found nothing: {left}");
        }
        by_otlp.flush().await;
        by_remote_write.flush().await;
    }
}
