//! From the OpenMetrics text of `/metrics` to OTLP metrics.
//!
//! The text is the registry's only complete interface, and the gauges of the store are already in it. Names are those of
//! the metric families, so counters have no `_total`, as the OpenTelemetry specification says ("Prometheus and
//! OpenMetrics compatibility"); units come from the suffix.

use std::collections::BTreeMap;

use trivium_model::UnixNanos;
use trivium_proto::otlp::common::v1::KeyValue;
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::number_data_point::Value as Number;
use trivium_proto::otlp::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::{attribute, nanos};

/// From the start of the process, when every counter was zero, to the moment of the snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) start: UnixNanos,
    pub(super) time: UnixNanos,
}

/// One line with a value.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

/// A metric family while its lines are read.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    description: &'a str,
    samples: Vec<Sample<'a>>,
}

/// Converts a whole exposition. Lines that cannot be read are left out: the text is our own, a test reads all of it.
pub(super) fn from_exposition(text: &str, window: Window) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut family = Family::default();
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            family.samples.extend(sample(line));
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(keyword), Some(name)) = (words.next(), words.next()) else { continue };
        if name != family.name {
            let whole = std::mem::replace(&mut family, Family { name, kind: "unknown", ..Family::default() });
            metrics.extend(metric(whole, window));
        }
        let rest = words.next().unwrap_or_default();
        match keyword {
            "TYPE" => family.kind = rest,
            "HELP" => family.description = rest,
            _ => {}
        }
    }
    metrics.extend(metric(family, window));
    metrics
}

fn metric(family: Family<'_>, window: Window) -> Option<Metric> {
    let data = match family.kind {
        "counter" => counter(&family, window),
        "histogram" => histogram(&family, window),
        _ => Data::Gauge(Gauge {
            data_points: family.samples.iter().filter_map(|sample| number_point(sample, None, window)).collect(),
        }),
    };
    let is_empty = match &data {
        Data::Sum(sum) => sum.data_points.is_empty(),
        Data::Histogram(histogram) => histogram.data_points.is_empty(),
        Data::Gauge(gauge) => gauge.data_points.is_empty(),
        Data::ExponentialHistogram(_) | Data::Summary(_) => false,
    };
    (!is_empty).then(|| Metric {
        name: family.name.into(),
        description: family.description.into(),
        unit: unit(family.name).into(),
        data: Some(data),
        ..Metric::default()
    })
}

/// The unit that a name ends in, as UCUM writes it; `1` when the name says none.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "1",
    }
}

fn counter(family: &Family<'_>, window: Window) -> Data {
    let totals = family.samples.iter().filter(|sample| sample.name.ends_with("_total"));
    Data::Sum(Sum {
        data_points: totals.filter_map(|sample| number_point(sample, Some(window.start), window)).collect(),
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    })
}

fn number_point(sample: &Sample<'_>, start: Option<UnixNanos>, window: Window) -> Option<NumberDataPoint> {
    let value = match sample.value.parse::<i64>() {
        Ok(value) => Number::AsInt(value),
        Err(_) => Number::AsDouble(sample.value.parse().ok()?),
    };
    Some(NumberDataPoint {
        attributes: attributes(sample, None),
        start_time_unix_nano: start.map_or(0, nanos),
        time_unix_nano: nanos(window.time),
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

fn attributes(sample: &Sample<'_>, without: Option<&str>) -> Vec<KeyValue> {
    let kept = sample.labels.iter().filter(|(name, _)| Some(*name) != without);
    kept.map(|(name, value)| attribute(name, Value::StringValue(value.clone()))).collect()
}

/// The lines of one histogram: same labels but for `le`.
#[derive(Debug, Default)]
struct Buckets {
    /// Upper bound and cumulative count, ascending as the format demands; the last bound is infinite.
    cumulative: Vec<(f64, u64)>,
    sum: Option<f64>,
    count: u64,
    attributes: Vec<KeyValue>,
}

fn histogram(family: &Family<'_>, window: Window) -> Data {
    let mut series: BTreeMap<Vec<(&str, &str)>, Buckets> = BTreeMap::new();
    for sample in &family.samples {
        let labels = sample.labels.iter().filter(|(name, _)| *name != "le");
        let key = labels.map(|(name, value)| (*name, value.as_str())).collect();
        let buckets = series
            .entry(key)
            .or_insert_with(|| Buckets { attributes: attributes(sample, Some("le")), ..Buckets::default() });
        match sample.name.strip_prefix(family.name) {
            Some("_sum") => buckets.sum = sample.value.parse().ok(),
            Some("_count") => buckets.count = sample.value.parse().unwrap_or(0),
            Some("_bucket") => {
                let bound = sample.labels.iter().find(|(name, _)| *name == "le").map(|(_, bound)| bound.parse());
                if let (Some(Ok(bound)), Ok(count)) = (bound, sample.value.parse()) {
                    buckets.cumulative.push((bound, count));
                }
            }
            _ => {}
        }
    }
    let data_points = series.into_values().map(|buckets| histogram_point(buckets, window)).collect();
    Data::Histogram(Histogram { data_points, aggregation_temporality: AggregationTemporality::Cumulative.into() })
}

fn histogram_point(buckets: Buckets, window: Window) -> HistogramDataPoint {
    let mut below = 0;
    let mut bucket_counts = Vec::with_capacity(buckets.cumulative.len());
    for (_, count) in &buckets.cumulative {
        // Saturating: the lines of a histogram are not read in one atomic step.
        bucket_counts.push(count.saturating_sub(below));
        below = *count;
    }
    // An OTLP receiver demands that the buckets add up to the count.
    let count = if bucket_counts.is_empty() { buckets.count } else { bucket_counts.iter().sum() };
    HistogramDataPoint {
        attributes: buckets.attributes,
        start_time_unix_nano: nanos(window.start),
        time_unix_nano: nanos(window.time),
        count,
        sum: buckets.sum,
        bucket_counts,
        explicit_bounds: buckets.cumulative.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect(),
        ..HistogramDataPoint::default()
    }
}

/// `name{label="value",…} value [# exemplar]`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?;
    Some(Sample { name, labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = label_value(after)?;
        labels.push((name, value));
        rest = after;
    }
}

/// An escaped value up to its closing quote, and what follows it.
fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(index + 1..)?)),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::EncodeLabelSet;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Series;
    use prometheus_client::metrics::gauge::Gauge as Level;
    use prometheus_client::metrics::histogram::Histogram as Distribution;
    use prometheus_client::registry::Registry;

    use super::*;

    const WINDOW: Window = Window { start: UnixNanos(1_000), time: UnixNanos(5_000) };

    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Labels {
        reason: String,
    }

    fn label(point: &[KeyValue]) -> Vec<(String, String)> {
        let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            other => panic!("{other:?} is no string"),
        };
        point.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
    }

    /// What the registry encodes today is what is read: a change of its text format fails here.
    #[test]
    fn every_kind_of_metric_in_a_registry_is_converted() {
        let mut registry = Registry::default();
        let (refused, level) = (Series::<Labels, Counter>::default(), Level::<i64>::default());
        let seconds = Distribution::new([0.5, 2.0]);
        registry.register("refused", "records refused", refused.clone());
        registry.register("level_bytes", "bytes", level.clone());
        registry.register("wait_seconds", "waits", seconds.clone());
        let odd = "a \"quoted\\\n, {word} =\"";
        refused.get_or_create(&Labels { reason: odd.into() }).inc_by(7);
        level.set(-3);
        for value in [0.25, 0.25, 1.0, 100.0] {
            seconds.observe(value);
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoding into a String");

        let metrics = from_exposition(&text, WINDOW);

        let [refused, level, wait] = metrics.as_slice() else { panic!("{metrics:?}") };
        assert_eq!((refused.name.as_str(), refused.unit.as_str()), ("refused", "1"));
        let Some(Data::Sum(sum)) = &refused.data else { panic!("{refused:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality, i32::from(AggregationTemporality::Cumulative));
        let point = &sum.data_points[0];
        assert_eq!(label(&point.attributes), [("reason".to_owned(), odd.to_owned())]);
        assert_eq!(point.value, Some(Number::AsInt(7)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000, 5_000));

        assert_eq!((level.name.as_str(), level.unit.as_str()), ("level_bytes", "By"));
        let Some(Data::Gauge(gauge)) = &level.data else { panic!("{level:?}") };
        assert_eq!(gauge.data_points[0].value, Some(Number::AsInt(-3)));

        assert_eq!((wait.name.as_str(), wait.unit.as_str()), ("wait_seconds", "s"));
        let Some(Data::Histogram(histogram)) = &wait.data else { panic!("{wait:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (4, Some(101.5)));
        assert_eq!(point.explicit_bounds, [0.5, 2.0]);
        assert_eq!(point.bucket_counts, [2, 1, 1]);
    }

    #[test]
    fn series_of_one_histogram_stay_apart() {
        let text = "# TYPE t histogram\n\
            t_sum{e=\"a\"} 1.0\nt_count{e=\"a\"} 1\nt_bucket{le=\"1.0\",e=\"a\"} 1\nt_bucket{le=\"+Inf\",e=\"a\"} 1\n\
            t_sum{e=\"b\"} 8.0\nt_count{e=\"b\"} 2\nt_bucket{le=\"1.0\",e=\"b\"} 0\nt_bucket{le=\"+Inf\",e=\"b\"} 2\n# EOF\n";
        let metrics = from_exposition(text, WINDOW);
        let Some(Data::Histogram(histogram)) = &metrics[0].data else { panic!("{metrics:?}") };
        let counts: Vec<_> = histogram.data_points.iter().map(|point| point.bucket_counts.clone()).collect();
        assert_eq!(counts, [vec![1, 0], vec![0, 2]]);
        assert_eq!(label(&histogram.data_points[1].attributes), [("e".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn a_family_without_samples_and_a_broken_line_give_nothing() {
        assert!(from_exposition("# TYPE a counter\n# HELP a what.\n# EOF\n", WINDOW).is_empty());
        assert!(from_exposition("# TYPE a gauge\na{b=\"c 1\n# EOF\n", WINDOW).is_empty());
        assert!(from_exposition("", WINDOW).is_empty());
    }
}
