//! What scripts cannot say about the engine.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use trivium_promql::script::MemorySource;
use trivium_promql::{
    Engine, EngineOptions, Histogram, Labels, LimitKind, Limits, ParseOptions, QueryError, SampleValue, Series, Value,
    When,
};

const MINUTE: i64 = 60_000;

fn labels(name: &str, job: &str, pod: &str) -> Labels {
    Labels::new([("__name__", name), ("job", job), ("pod", pod)])
}

fn floats(labels: Labels, values: &[f64]) -> Series {
    let times = (0..values.len() as i64).map(|index| index * MINUTE).collect();
    Series { labels, times, values: values.to_vec(), ..Series::default() }
}

fn source() -> MemorySource {
    let mut source = MemorySource::default();
    let stale = f64::from_bits(trivium_promql::STALE_NAN_BITS);
    let histogram = |count: f64| {
        let positive_spans = vec![trivium_promql::histogram::Span { offset: 0, length: 2 }];
        let positive_buckets = vec![count, 2.0 * count];
        let sum = 4.0 * count;
        Arc::new(Histogram { count: 3.0 * count, sum, positive_spans, positive_buckets, ..Histogram::default() })
    };
    let mut mixed = floats(labels("mixed", "a", "4"), &[1.0, 2.0, 3.0]);
    mixed.histograms = (3..8).map(|index| (index * MINUTE, histogram(index as f64))).collect();
    let mut histograms = Series { labels: labels("latency", "b", "1"), ..Series::default() };
    histograms.histograms = (0..8).map(|index| (index * MINUTE, histogram(index as f64))).collect();
    let series = vec![
        floats(labels("requests_total", "a", "1"), &[0.0, 5.0, 9.0, 2.0, 3.0, 8.0, 9.0, 11.0]),
        floats(labels("requests_total", "a", "2"), &[1.0, f64::NAN, 3.0, 4.0, stale, 5.0, 6.0, f64::INFINITY]),
        floats(labels("requests_total", "b", "3"), &[7.0, 7.0, stale, 7.5, 7.5]),
        floats(labels("gauge", "a", "1"), &[3.0, -1.0, 4.0, -1.0, 5.0, -9.0, 2.0, 6.0]),
        floats(labels("gauge", "b", "3"), &[0.0, 0.5, 0.5, 0.25, 1.0, 1.0, 1.0, 0.0]),
        mixed,
        histograms,
    ];
    source.load(series).unwrap();
    source
}

fn experimental(delayed_name_removal: bool) -> Engine {
    let parse = ParseOptions::EXPERIMENTAL;
    Engine::new(EngineOptions { parse, delayed_name_removal, ..EngineOptions::default() })
}

/// Random numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

fn scalar(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 2 } else { 4 }) {
        0 => random.pick(&["1", "0", "-2.5", "NaN", "Inf", "0.5", "3"]).to_owned(),
        1 => "time() / 60".to_owned(),
        2 => format!("scalar({})", vector(random, depth - 1)),
        _ => format!(
            "({} {} {})",
            scalar(random, depth - 1),
            random.pick(&["+", "*", "^", "%", "<bool"]),
            scalar(random, 0)
        ),
    }
}

fn range(random: &mut Random, depth: usize) -> String {
    let modifier = random.pick(&["", "", " offset 1m", " @ 200", " offset -30s", " @ 300 offset 90s"]);
    let window = random.pick(&["1m", "3m", "5m", "90s"]);
    if depth == 0 || random.below(3) > 0 {
        let name = random.pick(&["requests_total", "gauge", "mixed", "latency", "{job=\"a\"}"]);
        return format!("{name}[{window}]{modifier}");
    }
    format!("({})[{window}:{}]{modifier}", vector(random, depth - 1), random.pick(&["", "30s", "1m", "70s"]))
}

fn vector(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        let modifier = random.pick(&["", "", "", " offset 1m", " @ 200", " smoothed"]);
        let name =
            random.pick(&["requests_total", "gauge", "requests_total{job=\"a\"}", "gauge{pod!=\"1\"}", "missing"]);
        return if random.below(4) == 0 {
            random.pick(&["mixed", "latency"]).to_owned()
        } else {
            format!("{name}{modifier}")
        };
    }
    let over_time = [
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "avg_over_time",
        "sum_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "first_over_time",
        "stddev_over_time",
        "present_over_time",
        "absent_over_time",
        "deriv",
        "mad_over_time",
        "ts_of_max_over_time",
    ];
    let functions = [
        "abs",
        "ceil",
        "sgn",
        "exp",
        "-",
        "+",
        "sort",
        "histogram_count",
        "histogram_stddev",
        "timestamp",
        "absent",
        "minute",
        "day_of_week",
    ];
    let aggregations = ["sum", "avg", "min", "max", "count", "stddev", "group"];
    let groupings = ["", " by (job)", " without (pod)", " by (job, pod)", " by (__name__)"];
    match random.below(9) {
        0 => format!("{}({})", random.pick(&over_time), range(random, depth - 1)),
        1 => format!("{}({})", random.pick(&functions), vector(random, depth - 1)),
        2 => format!("{}{} ({})", random.pick(&aggregations), random.pick(&groupings), vector(random, depth - 1)),
        3 => {
            let op = random.pick(&["quantile", "bottomk", "topk", "limitk"]);
            let inner = vector(random, depth - 1);
            format!("{op}{} ({}, {inner})", random.pick(&groupings), random.pick(&["1", "2", "0.5", "time() / 120"]))
        }
        4 => {
            let op = random.pick(&["+", "-", "*", ">", "== bool", "and", "or", "unless", "</"]);
            let matching = random.pick(&["", " on (job, pod)", " ignoring (pod)", " on (pod)"]);
            format!("({} {op}{matching} {})", vector(random, depth - 1), vector(random, depth - 1))
        }
        5 => {
            let op = random.pick(&["+", "/", "%", ">", "<= bool", "!=", "atan2"]);
            format!("({} {op} {})", vector(random, depth - 1), scalar(random, depth - 1))
        }
        6 => format!("clamp({}, {}, 5)", vector(random, depth - 1), scalar(random, depth - 1)),
        7 => format!("label_replace({}, \"x\", \"$1\", \"pod\", \"(.)\")", vector(random, depth - 1)),
        _ => format!("histogram_quantile({}, {})", scalar(random, depth - 1), vector(random, depth - 1)),
    }
}

/// Values by labels, as bits so that NaN is NaN.
fn values(value: Value, time: i64) -> BTreeMap<String, String> {
    let text = |value: SampleValue| match value {
        SampleValue::Float(value) if value.is_nan() => "NaN".to_owned(),
        // The sum of what is summed up in another order may differ in its last digits, but nothing is here.
        SampleValue::Float(value) => format!("{value:?}"),
        SampleValue::Histogram(histogram) => histogram.to_string(),
    };
    match value {
        Value::Vector(samples) => {
            samples.into_iter().map(|sample| (sample.labels.to_string(), text(sample.value))).collect()
        }
        Value::Matrix(series) => {
            let at = |(at, _): &(i64, _)| *at == time;
            let mut all = BTreeMap::new();
            for series in series {
                let float =
                    series.floats.iter().find(|(at, _)| *at == time).map(|(_, value)| SampleValue::Float(*value));
                let histogram = series.histograms.into_iter().find(at).map(|(_, value)| SampleValue::Histogram(value));
                if let Some(value) = float.or(histogram) {
                    all.insert(series.labels.to_string(), text(value));
                }
            }
            all
        }
        _ => BTreeMap::new(),
    }
}

#[test]
fn range_queries_are_instant_queries_at_every_step() {
    let source = source();
    let mut random = Random(7);
    let mut answered = 0;
    for number in 0..2_000 {
        let engine = experimental(number % 2 == 0);
        let depth = 1 + random.below(3);
        let query = vector(&mut random, depth);
        let (start, step, end) = (0, 45_000, 9 * MINUTE);
        let Ok(range) = engine.range(&source, &query, start, end, step) else { continue };
        for time in (start..=end).step_by(step as usize) {
            let instant =
                engine.instant(&source, &query, time).unwrap_or_else(|error| panic!("{query} at {time}: {error}"));
            assert_eq!(values(range.value.clone(), time), values(instant.value, time), "{query} at {time}");
        }
        answered += 1;
    }
    assert!(answered > 1_000, "{answered}");
}

#[test]
fn what_is_printed_evaluates_to_the_same() {
    let (source, engine) = (source(), experimental(true));
    let mut random = Random(11);
    for _ in 0..2_000 {
        let query = vector(&mut random, 3);
        let printed = engine.parse(&query).unwrap().to_string();
        let answers = [&query, &printed].map(|query| engine.instant(&source, query, 5 * MINUTE));
        match answers {
            [Ok(a), Ok(b)] => assert_eq!(values(a.value, 0), values(b.value, 0), "{query}"),
            [a, b] => assert_eq!(a.is_err(), b.is_err(), "{query}"),
        }
    }
}

#[test]
fn names_are_dropped_at_once_or_at_the_end() {
    let source = source();
    let query = "sum by (__name__) (abs({__name__=~\"gauge|requests_total\", pod=\"1\"}))";
    let error = experimental(false).instant(&source, query, MINUTE).unwrap_err();
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
    let query = "count(sum by (__name__) (abs({__name__=~\"gauge|requests_total\", pod=\"1\"})))";
    let answer = experimental(true).instant(&source, query, MINUTE).unwrap();
    assert_eq!(values(answer.value, MINUTE), BTreeMap::from([("{}".to_owned(), "2.0".to_owned())]));
}

#[test]
fn deltas_are_summed_up() {
    let mut source = MemorySource::default();
    let mut deltas = floats(labels("deltas_total", "a", "1"), &[5.0, 1.0, 2.0, 3.0]);
    deltas.is_delta = true;
    source.load(vec![deltas]).unwrap();
    let engine = experimental(true);
    for (query, expected) in [
        ("increase(deltas_total[2m])", "5.0"),
        ("rate(deltas_total[2m]) * 120", "5.0"),
        ("increase(deltas_total[1m])", "3.0"),
        ("irate(deltas_total[5m]) * 60", "3.0"),
        ("resets(deltas_total[5m])", "0.0"),
    ] {
        let answer = engine.instant(&source, query, 3 * MINUTE).unwrap();
        let values = values(answer.value, 0);
        assert_eq!(values.values().next().map(String::as_str), Some(expected), "{query}");
    }
}

#[test]
fn limits_refuse_and_say_which() {
    let source = source();
    let limits = Limits { max_samples: 20, max_points: 100, max_series: 2 };
    let engine = Engine::new(EngineOptions { limits, ..EngineOptions::default() });
    for query in ["gauge[8m:1ms]", "sum_over_time(gauge[1000d:1ms])", "gauge + gauge + gauge"] {
        let error =
            engine.range(&source, query, 0, 8 * MINUTE, MINUTE).or_else(|_| engine.instant(&source, query, 8 * MINUTE));
        let is_limit = matches!(error, Err(QueryError::Limit(_)));
        assert!(is_limit || query.contains(" + "), "{query}: {error:?}");
    }
    let error = engine.range(&source, "1", 0, MINUTE, 1).unwrap_err();
    let limit = |error: &QueryError| match error {
        QueryError::Limit(limit) => Some((limit.limit, limit.max)),
        _ => None,
    };
    assert_eq!(limit(&error), Some((LimitKind::Points, Some(100))));
    assert_eq!(
        error.to_string(),
        "exceeded maximum resolution of 100 points per timeseries. Try decreasing the query resolution (?step=XX)"
    );
    let error = engine.instant(&source, "requests_total", 0).unwrap_err();
    assert_eq!(limit(&error), Some((LimitKind::Series, Some(2))));
    assert!(LimitKind::Series.remedy().contains("raise the limit"));
    assert_eq!(error.to_string(), "a selector matches 3 series, more than the limit of 2");
    let error = engine.range(&source, "gauge", 0, 60 * MINUTE, MINUTE).unwrap_err();
    assert_eq!(limit(&error), Some((LimitKind::Samples, Some(20))));
    assert!(error.to_string().starts_with("query processing would load too many samples into memory"));
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let (source, engine) = (source(), experimental(true));
    for (start, end, step) in [(0, 10, 0), (0, 10, -1), (10, 0, 1), (i64::MIN, 0, 1), (0, i64::MAX, i64::MAX)] {
        assert!(matches!(engine.range(&source, "gauge", start, end, step), Err(QueryError::Parameter(_))));
    }
    for query in ["gauge @ 9e18", "gauge offset 290y", "gauge[290y] @ -9e18", "gauge[290y:290y] offset -290y @ 9e18"] {
        let query = format!("count_over_time(({query})[1m:1m])").replace("y])[1m:1m]", "y]");
        drop(engine.instant(&source, &query, 0));
        drop(engine.instant(&source, &query, i64::MAX / 8));
        drop(engine.instant(&source, &query, -(i64::MAX / 8)));
    }
}

#[test]
fn a_query_ends_when_it_is_told_to() {
    let (source, engine) = (source(), experimental(true));
    let asked = AtomicUsize::new(0);
    let check = || if asked.fetch_add(1, Ordering::Relaxed) > 2 { Err("query timed out".to_owned()) } else { Ok(()) };
    let error = engine.run(&source, "gauge + gauge + gauge", When::Instant(0), &check).unwrap_err();
    assert!(matches!(error, QueryError::Ended(_)));
}

#[test]
fn the_deepest_expressions_fit_a_small_stack() {
    let run = || {
        let (source, engine) = (source(), experimental(true));
        let chain = vec!["gauge"; 950].join(" + ");
        engine.instant(&source, &chain, MINUTE).unwrap();
        let nested = format!("{}gauge{}", "abs(-(".repeat(80), "))".repeat(80));
        engine.instant(&source, &nested, MINUTE).unwrap();
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn annotations_tell_their_places_and_are_told_once() {
    let (source, engine) = (source(), experimental(true));
    let answer = engine.instant(&source, "rate(gauge[5m]) +\n  rate(gauge[5m]) + sum(mixed)", 2 * MINUTE).unwrap();
    let not_counter =
        "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"gauge\"";
    assert_eq!(answer.infos, [format!("{not_counter} (2:8)")]);
    let answer = engine.instant(&source, "sum({pod=~\"1|4\"})", 5 * MINUTE).unwrap();
    assert_eq!(answer.warnings, ["PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)"]);
}

#[test]
fn counters_may_be_known_by_their_types() {
    let mut source = MemorySource::default();
    let typed = |kind: &str| Labels::new([("__name__", "requests"), ("__type__", kind), ("job", kind)]);
    source.load(vec![floats(typed("counter"), &[1.0, 2.0]), floats(typed("gauge"), &[1.0, 2.0])]).unwrap();
    let options = EngineOptions { type_and_unit_labels: true, ..EngineOptions::default() };
    let answer = Engine::new(options).instant(&source, "rate(requests[5m])", MINUTE).unwrap();
    let expected = "PromQL info: metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", \
                    got \"gauge\": \"requests\" (1:6)";
    assert_eq!(answer.infos, [expected]);
    assert_eq!(values(answer.value, 0).keys().collect::<Vec<_>>(), ["{job=\"counter\"}", "{job=\"gauge\"}"]);
}

#[test]
fn histograms_that_begin_in_the_window_are_rated_from_zero() {
    let spans = vec![trivium_promql::histogram::Span { offset: 0, length: 1 }];
    let histogram = |count: f64| {
        let positive_spans = spans.clone();
        Arc::new(Histogram { count, sum: count, positive_spans, positive_buckets: vec![count], ..Histogram::default() })
    };
    let mut series = Series { labels: labels("latency", "a", "1"), ..Series::default() };
    series.histograms = [(2, 100.0), (3, 130.0), (4, 30.0)].map(|(m, count)| (m * MINUTE, histogram(count))).into();
    series.histogram_start_times = vec![MINUTE, MINUTE, 3 * MINUTE];
    let mut source = MemorySource::default();
    source.load(vec![series]).unwrap();
    let engine = Engine::new(EngineOptions { use_start_timestamps: true, ..EngineOptions::default() });
    let count = |query: &str, minute: i64| {
        let answer = engine.instant(&source, query, minute * MINUTE).unwrap();
        let Value::Vector(samples) = answer.value else { panic!("expected a vector") };
        samples.first().map(|sample| match &sample.value {
            SampleValue::Float(value) => *value,
            SampleValue::Histogram(histogram) => histogram.count,
        })
    };
    assert_eq!(count("increase(latency[4m])", 4), Some(160.0), "130 before the reset and 30 after it");
    assert_eq!(count("increase(latency[2m])", 2), Some(100.0), "one sample is enough");
    assert_eq!(count("increase(latency[1m])", 2), None, "the window does not reach back before the start");
    assert_eq!(count("delta(latency[2m])", 2), None, "a gauge has no start");
}
