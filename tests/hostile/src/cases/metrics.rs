//! M: data points by OTLP.

use trivium_proto::otlp::metrics::v1::exponential_histogram_data_point::Buckets;
use trivium_proto::otlp::metrics::v1::summary_data_point::ValueAtQuantile;
use trivium_proto::otlp::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, exemplar, number_data_point,
};

use crate::build::{
    CUMULATIVE, DELTA, NOW, exponential, field, gauge, histogram, metrics, point, raw_request, sum, summary,
    text_attribute,
};
use crate::case::{Case, Door, Expect, Signal, case};

const METRICS: Door = Door::Otlp(Signal::Metrics);
const SECOND: u64 = 1_000_000_000;

fn one(family: &'static str, what: impl Into<String>, metric: Metric, expect: Expect) -> Case {
    case(family, what, METRICS, move |service| metrics(service, vec![metric.clone()]), expect)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = numbers();
    cases.extend(histograms());
    cases.extend(exponentials());
    cases.extend(summaries());
    cases.extend(exemplars());
    cases.extend(times());
    cases.extend(names());
    cases
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn numbers() -> Vec<Case> {
    let timeless = NumberDataPoint { time_unix_nano: 0, ..point(1.0) };
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX];
    let no_value = NumberDataPoint { value: None, ..point(0.0) };
    let stale = NumberDataPoint { flags: 1, ..no_value.clone() };
    vec![
        one("M1", "no time", gauge("m", vec![timeless, point(1.0)]), Expect::Partial(1, 1, "data point has no time")),
        one("M2", "numbers that are hardly any", gauge("m", values.map(point).to_vec()), Expect::Stored(6))
            .then("SELECT count(*) FROM metrics WHERE service_name = '$service' AND isnan(value)", r#"[["1"]]"#),
        one(
            "M2",
            "not a number, as Prometheus marks the end of a series",
            gauge("m", vec![point(f64::from_bits(0x7ff0_0000_0000_0002))]),
            Expect::Stored(1),
        ),
        one("M2", "no recorded value", gauge("m", vec![stale]), Expect::Stored(1)),
        one(
            "M15",
            "no value",
            gauge("m", vec![no_value, point(1.0)]),
            Expect::Partial(1, 1, "data point has no value"),
        ),
        one("M15", "no data", Metric { name: "m".into(), ..Metric::default() }, Expect::Stored(0)),
        one("M15", "no points", gauge("m", vec![]), Expect::Stored(0)),
        one(
            "M14",
            "an integer, then a double",
            gauge(
                "m",
                vec![
                    NumberDataPoint { value: Some(number_data_point::Value::AsInt(1)), ..point(0.0) },
                    NumberDataPoint { time_unix_nano: NOW + SECOND, ..point(1.5) },
                ],
            ),
            Expect::Stored(2),
        ),
        case(
            "M14",
            "a gauge, then a sum, then another unit",
            METRICS,
            |service| {
                let other = Metric { unit: "ms".into(), ..gauge("m", vec![point(1.0)]) };
                metrics(service, vec![gauge("m", vec![point(1.0)]), sum("m", CUMULATIVE, vec![point(1.0)]), other])
            },
            Expect::Stored(3),
        ),
        one(
            "M3",
            "a sum that is neither delta nor cumulative",
            sum("m", 0, vec![point(1.0); 3]),
            Expect::Partial(0, 3, "temporality must be delta or cumulative"),
        ),
        one(
            "M3",
            "temporality 7",
            sum("m", 7, vec![point(1.0)]),
            Expect::Partial(0, 1, "temporality must be delta or cumulative"),
        ),
        case(
            "M4",
            "delta, then cumulative",
            METRICS,
            |service| metrics(service, vec![sum("m", DELTA, vec![point(1.0)]), sum("m", CUMULATIVE, vec![point(1.0)])]),
            Expect::Stored(2),
        )
        .then("SELECT count(DISTINCT series_id) FROM metrics WHERE service_name = '$service'", r#"[["2"]]"#),
        one(
            "M4",
            "a start after the time",
            sum("m", DELTA, vec![NumberDataPoint { start_time_unix_nano: NOW + 1, ..point(1.0) }]),
            Expect::Partial(0, 1, "start time is after time"),
        ),
        one(
            "M4",
            "a monotonic sum that goes down, and overlapping deltas",
            sum(
                "m",
                CUMULATIVE,
                vec![
                    point(9.0),
                    NumberDataPoint { time_unix_nano: NOW + SECOND, ..point(1.0) },
                    NumberDataPoint { time_unix_nano: NOW + SECOND, start_time_unix_nano: NOW - SECOND, ..point(2.0) },
                ],
            ),
            Expect::Stored(3),
        ),
    ]
}

fn histograms() -> Vec<Case> {
    let ascend = || Expect::Partial(0, 1, "histogram bounds do not ascend");
    let count = || Expect::Partial(0, 1, "histogram buckets do not add up to its count");
    let many = |buckets: usize| (0..buckets - 1).map(|bound| bound as f64).collect::<Vec<f64>>();
    vec![
        one(
            "M5",
            "as many buckets as bounds",
            histogram(vec![1.0, 2.0], vec![1, 1], 2),
            Expect::Partial(0, 1, "one bucket more than bounds"),
        ),
        one("M5", "bounds that go down", histogram(vec![2.0, 1.0], vec![1, 1, 1], 3), ascend()),
        one("M5", "a bound twice", histogram(vec![1.0, 1.0], vec![1, 1, 1], 3), ascend()),
        one("M5", "a bound that is no number", histogram(vec![f64::NAN], vec![1, 1], 2), ascend()),
        one("M5", "a bound at infinity", histogram(vec![1.0, f64::INFINITY], vec![1, 1, 0], 2), Expect::Stored(1)),
        one("M5", "counts that add up to less", histogram(vec![1.0], vec![1, 1], 3), count()),
        one("M5", "counts of more than 64 bits", histogram(vec![1.0], vec![u64::MAX, 2], 1), count()),
        one("M6", "2,048 buckets", histogram(many(2_048), vec![0; 2_048], 0), Expect::Stored(1)),
        one(
            "M6",
            "2,049 buckets",
            histogram(many(2_049), vec![0; 2_049], 0),
            Expect::Partial(0, 1, "histogram has too many buckets"),
        ),
        one(
            "M6",
            "1,000,000 buckets",
            histogram(many(1_000_000), vec![0; 1_000_000], 0),
            Expect::Partial(0, 1, "histogram has too many buckets"),
        ),
        case(
            "M6",
            "30,000,000 buckets of a byte each",
            METRICS,
            |service| {
                let counts = field(2, &vec![0; 30_000_000]);
                let point = [vec![3 << 3 | 1], NOW.to_le_bytes().to_vec(), field(8, &counts)].concat();
                let data = [field(1, &point), vec![2 << 3, 1]].concat();
                raw_request(service, &[[field(1, b"m"), field(10, &data)].concat()])
            },
            Expect::Partial(0, 1, "histogram has too many buckets"),
        ),
    ]
}

fn exponentials() -> Vec<Case> {
    let side = |offset, counts: Vec<u64>| Some(Buckets { offset, bucket_counts: counts });
    let three =
        |offset| ExponentialHistogramDataPoint { count: 3, positive: side(offset, vec![1; 3]), ..Default::default() };
    let scale = |scale| exponential(ExponentialHistogramDataPoint { scale, ..three(0) });
    let threshold = |zero_threshold| exponential(ExponentialHistogramDataPoint { zero_threshold, ..three(0) });
    let range = || Expect::Partial(0, 1, "scale is out of range");
    let negative = || Expect::Partial(0, 1, "zero threshold is negative");
    vec![
        one("M7", "scale i32::MAX", scale(i32::MAX), range()),
        one("M7", "scale i32::MIN", scale(i32::MIN), range()),
        one("M7", "scale 20", scale(20), Expect::Stored(1)),
        one("M7", "scale -10", scale(-10), Expect::Stored(1)),
        one(
            "M7",
            "an index of more than 32 bits",
            exponential(three(i32::MAX)),
            Expect::Partial(0, 1, "bucket index overflows"),
        ),
        one("M7", "an index at the end of 32 bits", exponential(three(i32::MAX - 3)), Expect::Stored(1)),
        one("M7", "the lowest index", exponential(three(i32::MIN)), Expect::Stored(1)),
        one("M7", "a negative zero threshold", threshold(-1.0), negative()),
        one("M7", "a zero threshold that is no number", threshold(f64::NAN), negative()),
        one(
            "M7",
            "counts that do not add up",
            exponential(ExponentialHistogramDataPoint { count: 9, ..three(0) }),
            Expect::Partial(0, 1, "do not add up"),
        ),
        one(
            "M7",
            "counts of more than 64 bits",
            exponential(ExponentialHistogramDataPoint {
                count: 1,
                positive: side(0, vec![u64::MAX]),
                negative: side(0, vec![2]),
                ..Default::default()
            }),
            Expect::Partial(0, 1, "do not add up"),
        ),
        one(
            "M7",
            "10,000,000 buckets",
            exponential(ExponentialHistogramDataPoint { negative: side(0, vec![0; 10_000_000]), ..Default::default() }),
            Expect::Partial(0, 1, "histogram has too many buckets"),
        ),
    ]
}

fn summaries() -> Vec<Case> {
    let with = |quantiles: &[(f64, f64)]| {
        let quantile_values = quantiles.iter().map(|&(quantile, value)| ValueAtQuantile { quantile, value }).collect();
        summary(SummaryDataPoint { count: 1, sum: 1.0, quantile_values, ..Default::default() })
    };
    let range = || Expect::Partial(0, 1, "summary quantile is not between 0 and 1");
    vec![
        one("M8", "quantile 2", with(&[(2.0, 1.0)]), range()),
        one("M8", "quantile -0.1", with(&[(-0.1, 1.0)]), range()),
        one("M8", "quantile not a number", with(&[(f64::NAN, 1.0)]), range()),
        one("M8", "quantiles in no order, one negative", with(&[(0.9, -1.0), (0.1, 2.0)]), Expect::Stored(1)),
        case(
            "M8",
            "10,000,000 quantiles",
            METRICS,
            |service| {
                let point = [vec![3 << 3 | 1], NOW.to_le_bytes().to_vec(), [0x32, 0].repeat(10_000_000)].concat();
                raw_request(service, &[[field(1, b"m"), field(11, &field(1, &point))].concat()])
            },
            Expect::Partial(0, 1, "summary has too many quantiles"),
        ),
    ]
}

fn exemplars() -> Vec<Case> {
    let exemplar = |index: u64| Exemplar {
        time_unix_nano: NOW + index,
        trace_id: vec![9; 16],
        span_id: vec![9; 8],
        value: Some(exemplar::Value::AsDouble(1.0)),
        ..Exemplar::default()
    };
    let with = |exemplars: Vec<Exemplar>| gauge("m", vec![NumberDataPoint { exemplars, ..point(1.0) }]);
    let long = Exemplar { filtered_attributes: vec![text_attribute("k", "x".repeat(1 << 20))], ..exemplar(0) };
    vec![
        one("M9", "1,000 exemplars", with((0..1_000).map(exemplar).collect()), Expect::Altered(1, "truncated", 1))
            .then(
                "SELECT cardinality(exemplars), exemplars[64]['time'] FROM metrics WHERE service_name = '$service'",
                r#"[["64","1700000000000000999"]]"#,
            ),
        one(
            "M9",
            "an exemplar without a time",
            with(vec![Exemplar { time_unix_nano: 0, ..exemplar(0) }]),
            Expect::Altered(1, "exemplar_without_time", 1),
        ),
        one("M9", "attributes of 1 MiB", with(vec![long]), Expect::Altered(1, "truncated", 1)),
        one(
            "M9",
            "an exemplar with a bad ID",
            with(vec![Exemplar { trace_id: vec![1; 3], ..exemplar(0) }]),
            Expect::Altered(1, "bad_id", 1),
        ),
        case(
            "M9",
            "2,000,000 exemplars",
            METRICS,
            |service| {
                let exemplar = [vec![0x2a, 9, 2 << 3 | 1], NOW.to_le_bytes().to_vec()].concat();
                let time = [vec![3 << 3 | 1], NOW.to_le_bytes().to_vec()].concat();
                let value = [vec![4 << 3 | 1], 1_f64.to_le_bytes().to_vec()].concat();
                let point = [time, value, exemplar.repeat(2_000_000)].concat();
                raw_request(service, &[[field(1, b"m"), field(5, &field(1, &point))].concat()])
            },
            Expect::Altered(1, "truncated", 1),
        ),
    ]
}

fn times() -> Vec<Case> {
    let at = |time, value| NumberDataPoint { time_unix_nano: time, ..point(value) };
    vec![
        one(
            "M10",
            "a point twice, and once with another value",
            gauge("m", vec![at(NOW, 1.0), at(NOW, 1.0), at(NOW, 2.0)]),
            Expect::Stored(3),
        ),
        one(
            "M11",
            "an hour late, a month late, in any order",
            gauge(
                "m",
                vec![
                    at(NOW, 1.0),
                    at(NOW - SECOND, 2.0),
                    at(NOW - 3_600 * SECOND, 3.0),
                    at(NOW - 2_592_000 * SECOND, 4.0),
                    at(NOW - 60 * SECOND, 5.0),
                ],
            ),
            Expect::Stored(5),
        ),
        case(
            "M12",
            "100,000 series in a request",
            METRICS,
            |service| {
                let points = (0..100_000).map(|number| NumberDataPoint {
                    attributes: vec![text_attribute("uuid", format!("{number:032x}"))],
                    ..point(1.0)
                });
                metrics(service, vec![gauge("m", points.collect())])
            },
            Expect::Stored(100_000),
        ),
    ]
}

fn names() -> Vec<Case> {
    let mut cases = vec![
        one("M13", "no name", gauge("", vec![point(1.0)]), Expect::Partial(0, 1, "metric has no name")),
        one(
            "M13",
            "a name of 10 KiB",
            gauge("m".repeat(10 << 10), vec![point(1.0)]),
            Expect::Altered(1, "truncated", 1),
        ),
        one(
            "M13",
            "an attribute called __name__",
            gauge(
                "m",
                vec![NumberDataPoint {
                    attributes: vec![text_attribute("__name__", "other"), text_attribute("le", "<script>")],
                    ..point(1.0)
                }],
            ),
            Expect::Stored(1),
        ),
        case(
            "M13",
            "names that become one",
            METRICS,
            |service| {
                metrics(
                    service,
                    vec![
                        gauge("a.b", vec![point(1.0)]),
                        gauge("a_b", vec![point(2.0)]),
                        gauge("a-b", vec![point(3.0)]),
                    ],
                )
            },
            Expect::Stored(3),
        ),
    ];
    for name in ["{", "}", "\"", "größe µ", "\u{1f600}", "a\nb", "a\0b", "sum by (x)"] {
        let rows = serde_json::json!([[name]]).to_string();
        cases.push(
            one("M13", format!("a metric named {name:?}"), gauge(name, vec![point(1.0)]), Expect::Stored(1))
                .then("SELECT metric_name FROM metrics WHERE service_name = '$service'", &rows),
        );
    }
    cases
}
