//! Prometheus remote write.

use proptest::prelude::{Just, Strategy, prop_oneof};
use trivium_proto::prometheus::{BucketSpan, Count, Histogram, ZeroCount, v1, v2};

use super::cells::assert_rows;
use super::remote_write_oracle::{STALE, Series, expected, labels, request_v1, request_v2};
use super::*;
use crate::decode::{LabelCache, decode_with};

const MILLIS: i64 = NOW / 1_000_000;

/// No retention.
fn forever() -> DecodeContext {
    DecodeContext { received_at: UnixNanos(NOW), oldest_admitted: UnixNanos::MIN }
}

fn both(series: &[Series]) -> [(WireFormat, Vec<u8>); 2] {
    [(WireFormat::RemoteWrite1, request_v1(series)), (WireFormat::RemoteWrite2, request_v2(series))]
}

/// What the cache of label sets holds must not change anything: each request is decoded without, and twice with it.
fn decode_all(format: WireFormat, payload: &[u8]) -> Decoded {
    let decoded = decode(SignalKind::Metrics, format, payload, &forever()).expect("the request is well formed");
    let cache = LabelCache::default();
    for _ in 0..2 {
        let cached = decode_with(SignalKind::Metrics, format, payload, &forever(), Some(&cache)).expect("well formed");
        assert_eq!((&cached.batch, &cached.rejected), (&decoded.batch, &decoded.rejected));
    }
    decoded
}

fn sample(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> Series {
    let samples = samples.iter().map(|(value, time)| (value.to_bits(), *time, 0)).collect();
    Series { labels: remote_write_oracle::labels(labels), samples, ..Series::default() }
}

fn histogram() -> Histogram {
    Histogram {
        count: Some(Count::Int(9)),
        sum: 4.5,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: Some(ZeroCount::Int(1)),
        positive_spans: vec![BucketSpan { offset: -2, length: 2 }, BucketSpan { offset: 3, length: 1 }],
        positive_deltas: vec![2, 1, -2],
        negative_spans: vec![BucketSpan { offset: 0, length: 1 }],
        negative_deltas: vec![2],
        timestamp: MILLIS,
        ..Histogram::default()
    }
}

fn float_histogram() -> Histogram {
    Histogram {
        count: Some(Count::Float(0.5)),
        zero_count: None,
        positive_deltas: Vec::new(),
        positive_counts: vec![0.25, 1e300, 0.0],
        negative_deltas: Vec::new(),
        negative_counts: vec![7.5],
        reset_hint: 3,
        ..histogram()
    }
}

fn custom_histogram() -> Histogram {
    Histogram {
        count: Some(Count::Int(5)),
        schema: -53,
        sum: -1.0,
        positive_spans: vec![BucketSpan { offset: 1, length: 2 }],
        positive_deltas: vec![2, 1],
        custom_values: vec![-0.5, 1.0],
        reset_hint: 1,
        timestamp: MILLIS,
        ..Histogram::default()
    }
}

fn of_histogram(histogram: Histogram) -> Vec<Series> {
    vec![Series { labels: labels(&[("__name__", "h")]), histograms: vec![histogram], ..Series::default() }]
}

/// The reasons of the refusals, in both versions the same.
fn reasons(series: &[Series]) -> Vec<(&'static str, u64)> {
    let [first, second] = both(series).map(|(format, payload)| {
        let rejected = decode_all(format, &payload).rejected;
        rejected.iter().map(|rejected| (rejected.reason, rejected.count)).collect::<Vec<_>>()
    });
    assert_eq!(first, second);
    first
}

#[test]
fn rows_are_what_was_sent() {
    let series = [
        Series {
            metadata: Some((1, "What it counts".into(), "seconds".into())),
            ..sample(
                &[("__name__", "up"), ("instance", "a\n\"b\""), ("job", "shop")],
                &[(1.0, 0), (2.0, -5), (3.0, MILLIS)],
            )
        },
        sample(&[("__name__", "up"), ("instance", "a\n\"b\""), ("job", "shop")], &[(f64::INFINITY, MILLIS)]),
        Series { samples: vec![(STALE, 7, 3)], ..sample(&[("__name__", "http.rate"), ("ü", "ß"), ("z", "")], &[]) },
        Series {
            histograms: vec![histogram(), float_histogram(), custom_histogram()],
            metadata: Some((4, String::new(), String::new())),
            ..sample(&[("__name__", "h")], &[])
        },
        Series {
            histograms: vec![Histogram { sum: f64::from_bits(STALE), ..Histogram::default() }],
            ..sample(&[("__name__", "h")], &[])
        },
    ];
    for ((format, payload), is_v1) in both(&series).into_iter().zip([true, false]) {
        let decoded = decode_all(format, &payload);
        assert_eq!(decoded.rejected, []);
        assert_rows(decoded.batch.as_ref(), &expected(&series, is_v1));
        assert_eq!((decoded.written.samples, decoded.written.histograms, decoded.written.exemplars), (5, 4, 0));
    }
}

#[test]
fn a_series_is_the_same_whatever_is_said_about_it() {
    let plain = sample(&[("__name__", "up"), ("a", "1"), ("b", "2")], &[(1.0, 5)]);
    let described = Series { metadata: Some((1, "help".into(), "unit".into())), ..plain.clone() };
    let unsorted = sample(&[("b", "2"), ("__name__", "up"), ("empty", ""), ("a", "1")], &[(1.0, 5)]);
    for (format, payload) in both(&[plain, described, unsorted]) {
        let decoded = decode_all(format, &payload);
        let ids = rows(&decoded)
            .column_by_name("series_id")
            .expect("a column")
            .as_primitive::<UInt64Type>()
            .values()
            .to_vec();
        assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

#[test]
fn one_bad_series_costs_itself() {
    let good = sample(&[("__name__", "up"), ("job", "shop")], &[(1.0, 5)]);
    for (bad, reason) in [
        (labels(&[("job", "shop")]), "series has no metric name"),
        (labels(&[("__name__", ""), ("job", "shop")]), "series has no metric name"),
        (labels(&[]), "series has no metric name"),
        (labels(&[("__name__", "up"), ("a", "1"), ("a", "1")]), "label name is repeated"),
        (labels(&[("", "x"), ("__name__", "up")]), "label has no name"),
        (labels(&[("__name__", "up"), ("a", &"x".repeat(100_000))]), "label is too long"),
        (labels(&[("__name__", "up"), (&"x".repeat(10_000), "a")]), "label is too long"),
        ((0..2_000).map(|index| (format!("l{index}"), "v".into())).collect(), "series has too many labels"),
    ] {
        let bad = Series { labels: bad, samples: vec![(0, 1, 0), (0, 2, 0)], ..Series::default() };
        let series = [good.clone(), bad, good.clone()];
        assert_eq!(reasons(&series), [(reason, 2)]);
        for (format, payload) in both(&series) {
            assert_eq!(decode_all(format, &payload).accepted, 2);
        }
    }
}

#[test]
fn text_that_is_no_utf8_costs_its_series() {
    let mut payload = request_v1(&[sample(&[("__name__", "up"), ("a", "?")], &[(1.0, 5)])]);
    let position = payload.iter().position(|byte| *byte == b'?').expect("it is there");
    payload[position] = 0xff;
    let decoded = decode_all(WireFormat::RemoteWrite1, &payload);
    assert_eq!((decoded.accepted, decoded.rejected[0].reason), (0, "label is not valid UTF-8"));
}

#[test]
fn references_must_lead_somewhere() {
    let series = |labels_refs: Vec<u32>, help_ref| {
        let metadata = Some(v2::Metadata { metric_type: 1, help_ref, unit_ref: 0 });
        let samples = vec![v2::Sample { value: 1.0, timestamp: 5, start_timestamp: 0 }];
        v2::TimeSeries { labels_refs, samples, metadata, ..v2::TimeSeries::default() }
    };
    let timeseries =
        vec![series(vec![1, 2], 0), series(vec![1, 3], 0), series(vec![1, 2, 1], 0), series(vec![1, 2], 9)];
    let symbols = vec![String::new(), "__name__".into(), "up".into()];
    let decoded = decode_all(WireFormat::RemoteWrite2, &v2::Request { symbols, timeseries }.encode_to_vec());
    let found: Vec<(&str, u64)> = decoded.rejected.iter().map(|rejected| (rejected.reason, rejected.count)).collect();
    let outside = "reference points outside of the symbol table";
    assert_eq!(found, [(outside, 2), ("label references do not come in pairs", 1)]);
    assert_eq!(decoded.accepted, 1);
}

#[test]
fn times_are_bounded_as_those_of_otlp() {
    let too_new = MILLIS + 2 * 86_400_000;
    let series =
        [sample(&[("__name__", "up")], &[(1.0, i64::MAX), (1.0, i64::MIN), (1.0, too_new), (1.0, MILLIS), (1.0, -1)])];
    let (far, future) = ("time does not fit into 64 bits of nanoseconds", "time is more than a day in the future");
    assert_eq!(reasons(&series), [(far, 2), (future, 1)]);
    for (format, payload) in both(&series) {
        let bounded = decode(SignalKind::Metrics, format, &payload, &context()).expect("well formed");
        assert_eq!(
            (bounded.accepted, bounded.rejected.last().expect("one").reason),
            (1, "time is older than the retention")
        );
    }
}

#[test]
fn histograms_are_checked_as_prometheus_checks_them() {
    let spans = |pairs: &[(i32, u32)]| {
        pairs.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length }).collect()
    };
    let (sum, negative) = ("histogram buckets do not add up to its count", "native histogram has a negative count");
    let (fit, custom) =
        ("native histogram spans do not fit its buckets", "custom bounds do not ascend or are not finite");
    for (bad, reason) in [
        (Histogram { count: Some(Count::Int(8)), ..histogram() }, sum),
        (Histogram { count: None, ..histogram() }, sum),
        (Histogram { sum: f64::NAN, count: Some(Count::Int(8)), ..histogram() }, sum),
        (Histogram { positive_deltas: vec![2, -3, 1], ..histogram() }, negative),
        (Histogram { positive_deltas: vec![i64::MAX, 1, 1], ..histogram() }, negative),
        (Histogram { positive_deltas: vec![i64::MAX, 0, 0], ..histogram() }, sum),
        (Histogram { positive_spans: spans(&[(0, 2)]), ..histogram() }, fit),
        (Histogram { positive_spans: spans(&[(0, u32::MAX), (0, u32::MAX)]), ..histogram() }, fit),
        (
            Histogram { positive_spans: spans(&[(0, 2), (-1, 1)]), ..histogram() },
            "native histogram has a span with a negative offset",
        ),
        (Histogram { schema: 9, ..histogram() }, "native histogram schema is not known"),
        (Histogram { schema: -5, ..histogram() }, "native histogram schema is not known"),
        (Histogram { custom_values: vec![1.0], ..histogram() }, "native histogram has exponential and custom buckets"),
        (Histogram { count: Some(Count::Float(-1.0)), ..float_histogram() }, negative),
        (Histogram { negative_counts: vec![-0.5], ..float_histogram() }, negative),
        (Histogram { custom_values: vec![1.0, 1.0], ..custom_histogram() }, custom),
        (Histogram { custom_values: vec![1.0, f64::INFINITY], ..custom_histogram() }, custom),
        (Histogram { custom_values: vec![1.0, f64::NAN], ..custom_histogram() }, custom),
        (Histogram { custom_values: vec![1.0], ..custom_histogram() }, "custom bounds do not cover the buckets"),
        (
            Histogram { zero_threshold: 1.0, ..custom_histogram() },
            "custom buckets have no zero bucket and no negative ones",
        ),
        (
            Histogram {
                positive_spans: spans(&[(0, 5_000)]),
                positive_deltas: vec![0; 5_000],
                count: Some(Count::Int(3)),
                ..histogram()
            },
            "histogram has too many buckets",
        ),
        (Histogram { positive_deltas: vec![0; 500_000], ..histogram() }, "histogram has too many buckets"),
    ] {
        assert_eq!(reasons(&of_histogram(bad.clone())), [(reason, 1)], "{bad:?}");
    }
    let with_nan = Histogram { sum: f64::NAN, count: Some(Count::Int(10)), ..histogram() };
    for good in [histogram(), float_histogram(), custom_histogram(), with_nan, Histogram::default()] {
        assert_eq!(reasons(&of_histogram(good)), []);
    }
}

#[test]
fn exemplars_find_the_nearest_row_of_their_series_wherever_they_stand() {
    let name = [("__name__", "up"), ("a", "1")];
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let exemplar = |id: &str, time| (labels(&[("span_id", "00f067aa0ba902b7"), ("trace_id", id)]), 0.5, time);
    let series = [
        Series { exemplars: vec![exemplar(trace, 19), exemplar("no ID", 21)], ..sample(&name, &[]) },
        sample(&[("__name__", "up"), ("a", "2")], &[(5.0, 19)]),
        sample(&name, &[(1.0, 10), (2.0, 20)]),
        Series { exemplars: vec![exemplar(trace, 15)], ..sample(&name, &[]) },
    ];
    for ((format, payload), is_v1) in both(&series).into_iter().zip([true, false]) {
        let decoded = decode_all(format, &payload);
        assert_eq!((decoded.accepted, decoded.written.exemplars), (3, 3));
        assert_rows(decoded.batch.as_ref(), &expected(&series, is_v1));
    }
}

#[test]
fn exemplars_without_a_row_get_one_of_their_own() {
    let exemplar = |time| (labels(&[("trace_id", "t")]), 0.5, time);
    let series = [Series {
        exemplars: vec![exemplar(5), exemplar(9), exemplar(7)],
        ..sample(&[("__name__", "up"), ("job", "shop")], &[])
    }];
    for (format, payload) in both(&series) {
        let decoded = decode_all(format, &payload);
        assert_eq!((decoded.accepted, decoded.written.samples, decoded.written.exemplars), (1, 0, 3));
        let batch = rows(&decoded);
        let null = |name: &str| batch.column_by_name(name).expect("a column").is_null(0);
        assert!(null("value") && null("count") && null("count_float") && !null("exemplars"));
        let time = batch.column_by_name("time").expect("a column").as_primitive::<TimestampNanosecondType>().value(0);
        assert_eq!(time, 9_000_000);
        let bounded = decode(SignalKind::Metrics, format, &payload, &context()).expect("well formed");
        assert_eq!((bounded.accepted, bounded.rejected[0].count), (0, 3));
    }
}

#[test]
fn a_request_of_too_many_samples_is_refused_at_once() {
    let sample = v1::Sample { value: 0.0, timestamp: 0 };
    let timeseries = vec![v1::TimeSeries { samples: vec![sample; 1024 * 1024 + 1], ..v1::TimeSeries::default() }];
    let payload = v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
    let error = decode(SignalKind::Metrics, WireFormat::RemoteWrite1, &payload, &forever()).expect_err("too many");
    assert!(error.to_string().contains("1048577 records"), "{error}");
}

/// Prost takes -0 for the default and leaves it out.
fn number() -> impl Strategy<Value = f64> {
    arbitrary::<f64>().prop_map(|value| value + 0.0)
}

fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0x7ff8_0000_0000_0001_u64),
        Just(0xfff8_0000_dead_beef_u64),
        Just(0x7ff0_0000_0000_0001_u64),
        Just(STALE),
        number().prop_map(f64::to_bits),
        arbitrary::<u64>().prop_filter("prost leaves -0 out", |bits| *bits != 1 << 63),
    ]
}

fn random_histogram() -> impl Strategy<Value = Histogram> {
    let bucket = (0_i32..3, 0_u32..1_000);
    let buckets = proptest::collection::vec(bucket, 0..6);
    (arbitrary::<bool>(), buckets.clone(), buckets, (number(), number(), arbitrary::<i32>()), -4_i32..=8, 0_i32..4)
        .prop_map(|(is_float, positive, negative, (sum, threshold, time), schema, reset_hint)| {
            let spans = |side: &[(i32, u32)]| {
                side.iter().map(|(offset, _)| BucketSpan { offset: *offset, length: 1 }).collect()
            };
            let counts = |side: &[(i32, u32)]| {
                if is_float { side.iter().map(|(_, count)| f64::from(*count)).collect() } else { Vec::new() }
            };
            let deltas = |side: &[(i32, u32)]| {
                let deltas = side.iter().scan(0, |last, (_, count)| {
                    let delta = i64::from(*count) - *last;
                    *last = i64::from(*count);
                    Some(delta)
                });
                if is_float { Vec::new() } else { deltas.collect() }
            };
            let total: u64 = positive.iter().chain(&negative).map(|(_, count)| u64::from(*count)).sum();
            Histogram {
                count: Some(if is_float { Count::Float(total as f64) } else { Count::Int(total + 3) }),
                zero_count: Some(if is_float { ZeroCount::Float(0.5) } else { ZeroCount::Int(3) }),
                sum,
                schema,
                zero_threshold: threshold,
                positive_spans: spans(&positive),
                negative_spans: spans(&negative),
                positive_deltas: deltas(&positive),
                negative_deltas: deltas(&negative),
                positive_counts: counts(&positive),
                negative_counts: counts(&negative),
                reset_hint,
                timestamp: i64::from(time),
                ..Histogram::default()
            }
        })
}

fn random_series() -> impl Strategy<Value = Series> {
    let others = proptest::collection::btree_map("[a-c]|job|ü", "[a-c\"\\\\]{0,3}", 0..4);
    let samples = proptest::collection::vec((bits(), arbitrary::<i32>(), arbitrary::<i32>()), 1..4);
    let histograms = proptest::collection::vec(random_histogram(), 0..3);
    let exemplars = proptest::collection::vec((number(), arbitrary::<i32>(), "[0-9a-f]{16}|[0-9a-f]{32}|x"), 0..3);
    let metadata = proptest::option::of((0_i32..8, "[a-c]{0,2}", "[a-c]{0,2}"));
    ("up|m", others, samples, histograms, exemplars, metadata).prop_map(
        |(name, others, samples, histograms, exemplars, metadata)| Series {
            labels: std::iter::once(("__name__".to_owned(), name)).chain(others).collect(),
            samples: samples.iter().map(|(bits, time, start)| (*bits, i64::from(*time), i64::from(*start))).collect(),
            histograms,
            exemplars: exemplars
                .into_iter()
                .map(|(value, time, id)| (labels(&[("span_id", &id), ("trace_id", &id)]), value, i64::from(time)))
                .collect(),
            metadata,
        },
    )
}

proptest! {
    #[test]
    fn random_requests_become_the_rows_that_plain_loops_make(series in proptest::collection::vec(random_series(), 0..6)) {
        for ((format, payload), is_v1) in both(&series).into_iter().zip([true, false]) {
            let decoded = decode_all(format, &payload);
            prop_assert_eq!(&decoded.rejected, &[]);
            assert_rows(decoded.batch.as_ref(), &expected(&series, is_v1));
            let exemplars: usize = series.iter().map(|series| series.exemplars.len()).sum();
            prop_assert_eq!(decoded.written.exemplars, exemplars as u64);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_as_remote_write(bytes in proptest::collection::vec(arbitrary::<u8>(), 0..200)) {
        for format in [WireFormat::RemoteWrite1, WireFormat::RemoteWrite2] {
            drop(decode(SignalKind::Metrics, format, &bytes, &forever()));
        }
    }

    #[test]
    fn mutated_writes_are_decoded_or_refused(series in random_series(), positions in proptest::collection::vec((0_usize..600, arbitrary::<u8>()), 1..6)) {
        for (format, mut payload) in both(&[series]) {
            for (position, byte) in &positions {
                if let Some(target) = payload.get_mut(*position) {
                    *target = *byte;
                }
            }
            drop(decode(SignalKind::Metrics, format, &payload, &forever()));
        }
    }
}

#[test]
fn version_1_describes_metrics_apart_from_their_samples() {
    let described = |name: &str, metric_type| v1::MetricMetadata {
        metric_type,
        metric_family_name: name.into(),
        help: "What it counts".into(),
        unit: "seconds".into(),
    };
    let metadata = vec![described("a", 1), described("", 1), described("b", 9)];
    let mut payload = v1::WriteRequest { timeseries: Vec::new(), metadata }.encode_to_vec();
    // One that cannot be read costs the others nothing.
    payload.extend([0x1a, 2, 0x12, 9]);
    let decoded = decode(SignalKind::Metrics, WireFormat::RemoteWrite1, &payload, &forever()).expect("well formed");
    assert!(decoded.batch.is_none() && decoded.rejected.is_empty());
    let known: Vec<_> = decoded.described.iter().map(|known| (known.name.as_str(), known.kind)).collect();
    assert_eq!(known, [("a", "counter"), ("b", "unknown")]);
    assert_eq!((decoded.described[0].help.as_str(), decoded.described[0].unit.as_str()), ("What it counts", "seconds"));
    let decoded = decode(SignalKind::Metrics, WireFormat::RemoteWrite2, &payload, &forever()).expect("well formed");
    assert!(decoded.described.is_empty());
}
