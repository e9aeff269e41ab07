//! What the services measure: every span of a server, a database call or an order counts here too, so that metrics and
//! traces tell the same story.

use std::collections::BTreeMap;

use trivium_proto::otlp::common::v1::KeyValue;
use trivium_proto::otlp::metrics::v1::exponential_histogram_data_point::Buckets;
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::number_data_point::Value;
use trivium_proto::otlp::metrics::v1::summary_data_point::ValueAtQuantile;
use trivium_proto::otlp::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram,
    HistogramDataPoint, Metric as OtlpMetric, NumberDataPoint, Sum, Summary, SummaryDataPoint, exemplar,
};

use crate::Nanos;
use crate::attribute::text;
use crate::shop::InstanceId;
use crate::story::unsigned;

/// Seconds, as the semantic conventions advise for durations of requests.
const DURATION_BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const AMOUNT_BOUNDS: [f64; 8] = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];

/// Exponential histograms have buckets that grow by the factor 2^(1/8).
const EXPONENTIAL_SCALE: i32 = 3;

/// Values from which the quantiles of a summary are taken.
const SUMMARY_WINDOW: usize = 200;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    HttpServerDuration,
    RpcServerDuration,
    DbClientDuration,
    PaymentAmount,
    SearchDuration,
    MessagesSent,
    CartItems,
    Orders,
}

/// How a metric is described and aggregated.
struct Description {
    name: &'static str,
    unit: &'static str,
    text: &'static str,
}

/// One measurement, with the span in which it was taken.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) metric: Metric,
    pub(crate) attributes: Vec<(&'static str, String)>,
    pub(crate) value: f64,
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
}

type Series = (InstanceId, Metric, Vec<(&'static str, String)>);

/// The instruments of all instances.
#[derive(Debug, Default)]
pub(crate) struct Instruments {
    series: BTreeMap<Series, Accumulator>,
}

/// What one series has seen since its start, or since the last export when it is a delta.
#[derive(Debug, Default)]
struct Accumulator {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    buckets: Vec<u64>,
    exponential: BTreeMap<i32, u64>,
    newest: Vec<f64>,
    newest_at: usize,
    exemplars: Vec<Exemplar>,
}

/// The interval of an export.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    /// When the instance began to count.
    pub(crate) started: Nanos,
    /// When the export before was.
    pub(crate) previous: Nanos,
    pub(crate) now: Nanos,
}

impl Instruments {
    pub(crate) fn observe(&mut self, instance: InstanceId, time: Nanos, observation: Observation) {
        let Observation { metric, attributes, value, trace, span } = observation;
        let accumulator = self.series.entry((instance, metric, attributes)).or_default();
        accumulator.observe(metric, value);
        let exemplar = Exemplar {
            time_unix_nano: unsigned(time),
            trace_id: trace.to_vec(),
            span_id: span.to_vec(),
            value: Some(exemplar::Value::AsDouble(value)),
            ..Exemplar::default()
        };
        accumulator.keep_exemplar(exemplar, value);
    }

    /// The metrics of one instance as an SDK exports them; data points of one metric together.
    pub(crate) fn export(&mut self, instance: InstanceId, interval: Interval) -> Vec<OtlpMetric> {
        let first = (instance, Metric::HttpServerDuration, Vec::new());
        let end = (InstanceId(instance.0 + 1), Metric::HttpServerDuration, Vec::new());
        let mut metrics: Vec<OtlpMetric> = Vec::new();
        for ((_, metric, attributes), accumulator) in self.series.range_mut(first..end) {
            let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
            let point = accumulator.export(*metric, attributes, interval);
            let name = metric.describe().name;
            match metrics.last_mut().filter(|last| last.name == name).and_then(|last| last.data.as_mut()) {
                Some(data) => join(data, point),
                None => metrics.push(metric.describe().metric(point)),
            }
        }
        metrics
    }
}

impl Metric {
    fn describe(self) -> Description {
        let (name, unit, text) = match self {
            Self::HttpServerDuration => ("http.server.request.duration", "s", "Duration of HTTP server requests."),
            Self::RpcServerDuration => ("rpc.server.call.duration", "s", "Duration of gRPC server calls."),
            Self::DbClientDuration => ("db.client.operation.duration", "s", "Duration of database client operations."),
            Self::PaymentAmount => ("shop.payment.amount", "EUR", "Amounts of captured payments."),
            Self::SearchDuration => {
                ("search_query_duration_seconds", "s", "Duration of searches, as Prometheus counts.")
            }
            Self::MessagesSent => ("messaging.client.sent.messages", "{message}", "Messages sent to the broker."),
            Self::CartItems => ("shop.cart.items", "{item}", "Items added to carts."),
            Self::Orders => ("shop.orders", "{order}", "Orders by what became of them."),
        };
        Description { name, unit, text }
    }

    fn bounds(self) -> &'static [f64] {
        match self {
            Self::HttpServerDuration | Self::RpcServerDuration => &DURATION_BOUNDS,
            Self::PaymentAmount => &AMOUNT_BOUNDS,
            _ => &[],
        }
    }
}

impl Description {
    fn metric(self, data: Data) -> OtlpMetric {
        let (name, unit, description) = (self.name.into(), self.unit.into(), self.text.into());
        OtlpMetric { name, unit, description, data: Some(data), ..OtlpMetric::default() }
    }
}

impl Accumulator {
    fn observe(&mut self, metric: Metric, value: f64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.count += 1;
        self.sum += value;
        match metric {
            Metric::HttpServerDuration | Metric::RpcServerDuration | Metric::PaymentAmount => {
                let bounds = metric.bounds();
                self.buckets.resize(bounds.len() + 1, 0);
                self.buckets[bounds.partition_point(|&bound| bound < value)] += 1;
            }
            Metric::DbClientDuration => {
                let index = (value.log2() * f64::from(1 << EXPONENTIAL_SCALE)).ceil() as i32 - 1;
                *self.exponential.entry(index).or_default() += 1;
            }
            Metric::SearchDuration if self.newest.len() < SUMMARY_WINDOW => self.newest.push(value),
            Metric::SearchDuration => {
                self.newest[self.newest_at] = value;
                self.newest_at = (self.newest_at + 1) % SUMMARY_WINDOW;
            }
            Metric::MessagesSent | Metric::CartItems | Metric::Orders => {}
        }
    }

    /// Keeps the slowest of the interval and the newest one.
    fn keep_exemplar(&mut self, exemplar: Exemplar, value: f64) {
        let slowest = match self.exemplars.first().and_then(|first| first.value) {
            Some(exemplar::Value::AsDouble(slowest)) => slowest,
            _ => f64::NEG_INFINITY,
        };
        if value > slowest {
            self.exemplars.truncate(0);
        }
        self.exemplars.truncate(1);
        self.exemplars.push(exemplar);
    }

    fn export(&mut self, metric: Metric, attributes: Vec<KeyValue>, interval: Interval) -> Data {
        let exemplars = std::mem::take(&mut self.exemplars);
        match metric {
            Metric::HttpServerDuration | Metric::RpcServerDuration | Metric::PaymentAmount => {
                self.histogram(metric, attributes, interval, exemplars)
            }
            Metric::DbClientDuration => self.exponential_histogram(attributes, interval, exemplars),
            Metric::SearchDuration => self.summary(attributes, interval),
            Metric::MessagesSent | Metric::CartItems => {
                let value = Value::AsInt(self.sum as i64);
                sum(AggregationTemporality::Cumulative, attributes, interval.started, interval.now, value, exemplars)
            }
            Metric::Orders => {
                let value = Value::AsInt(std::mem::take(&mut self.sum) as i64);
                self.count = 0;
                sum(AggregationTemporality::Delta, attributes, interval.previous, interval.now, value, exemplars)
            }
        }
    }

    fn histogram(
        &self,
        metric: Metric,
        attributes: Vec<KeyValue>,
        interval: Interval,
        exemplars: Vec<Exemplar>,
    ) -> Data {
        let point = HistogramDataPoint {
            attributes,
            start_time_unix_nano: unsigned(interval.started),
            time_unix_nano: unsigned(interval.now),
            count: self.count,
            sum: Some(self.sum),
            bucket_counts: self.buckets.clone(),
            explicit_bounds: metric.bounds().to_vec(),
            exemplars,
            flags: 0,
            min: Some(self.min),
            max: Some(self.max),
        };
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality })
    }

    fn exponential_histogram(&self, attributes: Vec<KeyValue>, interval: Interval, exemplars: Vec<Exemplar>) -> Data {
        let (first, last) = (self.exponential.keys().next(), self.exponential.keys().next_back());
        let positive = first.zip(last).map(|(&first, &last)| Buckets {
            offset: first,
            bucket_counts: (first..=last).map(|index| self.exponential.get(&index).copied().unwrap_or(0)).collect(),
        });
        let point = ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: unsigned(interval.started),
            time_unix_nano: unsigned(interval.now),
            count: self.count,
            sum: Some(self.sum),
            scale: EXPONENTIAL_SCALE,
            positive,
            exemplars,
            min: Some(self.min),
            max: Some(self.max),
            ..ExponentialHistogramDataPoint::default()
        };
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        Data::ExponentialHistogram(ExponentialHistogram { data_points: vec![point], aggregation_temporality })
    }

    fn summary(&self, attributes: Vec<KeyValue>, interval: Interval) -> Data {
        let mut sorted = self.newest.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile = |quantile: f64| {
            let rank = (quantile * (sorted.len() - 1) as f64).round() as usize;
            ValueAtQuantile { quantile, value: sorted[rank] }
        };
        let point = SummaryDataPoint {
            attributes,
            start_time_unix_nano: unsigned(interval.started),
            time_unix_nano: unsigned(interval.now),
            count: self.count,
            sum: self.sum,
            quantile_values: [0.5, 0.9, 0.99].map(quantile).to_vec(),
            flags: 0,
        };
        Data::Summary(Summary { data_points: vec![point] })
    }
}

/// Adds the points of the same metric's other series.
fn join(data: &mut Data, more: Data) {
    match (data, more) {
        (Data::Sum(all), Data::Sum(more)) => all.data_points.extend(more.data_points),
        (Data::Histogram(all), Data::Histogram(more)) => all.data_points.extend(more.data_points),
        (Data::ExponentialHistogram(all), Data::ExponentialHistogram(more)) => all.data_points.extend(more.data_points),
        (Data::Summary(all), Data::Summary(more)) => all.data_points.extend(more.data_points),
        _ => unreachable!("every series of a metric has the metric's type"),
    }
}

fn sum(
    temporality: AggregationTemporality,
    attributes: Vec<KeyValue>,
    start: Nanos,
    now: Nanos,
    value: Value,
    exemplars: Vec<Exemplar>,
) -> Data {
    let point = NumberDataPoint {
        attributes,
        start_time_unix_nano: unsigned(start),
        time_unix_nano: unsigned(now),
        exemplars,
        flags: 0,
        value: Some(value),
    };
    Data::Sum(Sum { data_points: vec![point], aggregation_temporality: temporality.into(), is_monotonic: true })
}
