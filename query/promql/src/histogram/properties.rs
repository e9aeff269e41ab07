//! What must hold for every histogram, and examples of each function.

use proptest::prelude::*;

use super::*;

/// A histogram with counts as read from spans of short gaps; `schema` and zero bucket vary.
fn exponential() -> impl Strategy<Value = Histogram> {
    let side = || prop::collection::vec((0_i32..4, prop::collection::vec(0_u32..20, 0..4)), 0..4);
    (-4_i32..=8, -12_i32..12, side(), side(), 0_u32..5, prop::sample::select(vec![0.0, 0.001, 0.5, 3.0])).prop_map(
        |(schema, first, positive, negative, zero_count, zero_threshold)| {
            let (positive_spans, positive_buckets) = to_side(first, &positive);
            let (negative_spans, negative_buckets) = to_side(first, &negative);
            let in_buckets: f64 = positive_buckets.iter().chain(&negative_buckets).sum();
            Histogram {
                schema,
                zero_threshold,
                zero_count: f64::from(zero_count),
                count: in_buckets + f64::from(zero_count),
                sum: in_buckets * 1.5,
                positive_spans,
                positive_buckets,
                negative_spans,
                negative_buckets,
                ..Histogram::default()
            }
        },
    )
}

fn to_side(first: i32, runs: &[(i32, Vec<u32>)]) -> (Vec<Span>, Vec<f64>) {
    let spans = runs.iter().enumerate().map(|(position, (offset, counts))| Span {
        offset: if position == 0 { first + offset } else { *offset },
        length: counts.len() as u32,
    });
    (spans.collect(), runs.iter().flat_map(|(_, counts)| counts.iter().map(|count| f64::from(*count))).collect())
}

fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: counts.iter().sum(),
        sum: 10.0,
        positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
        positive_buckets: counts.to_vec(),
        custom_values: bounds.to_vec(),
        ..Histogram::default()
    }
}

fn simple(schema: i32, offset: i32, counts: &[f64]) -> Histogram {
    Histogram {
        schema,
        count: counts.iter().sum(),
        sum: counts.iter().sum::<f64>() * 2.0,
        positive_spans: vec![Span { offset, length: counts.len() as u32 }],
        positive_buckets: counts.to_vec(),
        ..Histogram::default()
    }
}

/// Spans and counts that belong to nothing.
fn arbitrary() -> impl Strategy<Value = Histogram> {
    let spans = || {
        prop::collection::vec(
            (prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX)], prop_oneof![any::<u32>(), Just(u32::MAX)])
                .prop_map(|(offset, length)| Span { offset, length }),
            0..4,
        )
    };
    let counts = || prop::collection::vec(any::<f64>(), 0..8);
    let schema = prop_oneof![any::<i32>(), Just(CUSTOM_BUCKETS_SCHEMA), -5_i32..10];
    (schema, spans(), counts(), spans(), counts(), any::<[f64; 4]>(), counts()).prop_map(
        |(schema, positive_spans, positive_buckets, negative_spans, negative_buckets, numbers, custom_values)| {
            let [zero_threshold, zero_count, count, sum] = numbers;
            Histogram {
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive_spans,
                positive_buckets,
                negative_spans,
                negative_buckets,
                custom_values,
                ..Histogram::default()
            }
        },
    )
}

fn populated(histogram: &Histogram) -> Vec<Bucket> {
    histogram.all().into_iter().filter(|bucket| bucket.count != 0.0).collect()
}

proptest! {
    #[test]
    fn compaction_keeps_the_buckets(histogram in exponential(), max_empty in 0_u32..5) {
        let mut compacted = histogram.clone();
        compacted.compact(max_empty);
        prop_assert!(compacted.validate().is_ok());
        prop_assert_eq!(populated(&compacted), populated(&histogram));
        prop_assert!(compacted.positive_spans.iter().all(|span| span.length > 0));
        let again = { let mut again = compacted.clone(); again.compact(max_empty); again };
        prop_assert_eq!(again.positive_spans, compacted.positive_spans);
    }

    #[test]
    fn subtraction_undoes_addition(a in exponential(), b in exponential()) {
        let (sum, _) = a.add(&b).unwrap();
        let (difference, _) = sum.sub(&b).unwrap();
        // The sum may have a lower resolution and a wider zero bucket than `a`: compare in its layout.
        let empty = sum.mul(0.0);
        let (expected, _) = a.add(&empty).unwrap();
        prop_assert_eq!(populated(&difference), populated(&expected));
        prop_assert_eq!(difference.count, a.count);
        let in_buckets: f64 = sum.all().iter().map(|bucket| bucket.count).sum();
        prop_assert_eq!(in_buckets, sum.count);
    }

    #[test]
    fn addition_commutes(a in exponential(), b in exponential()) {
        prop_assert_eq!(populated(&a.add(&b).unwrap().0), populated(&b.add(&a).unwrap().0));
    }

    #[test]
    fn buckets_ascend(histogram in exponential()) {
        // Nothing but a zero bucket that reaches over whole buckets can disturb the order.
        let histogram = Histogram { zero_threshold: 0.0, ..histogram };
        let all = histogram.all();
        prop_assert!(all.windows(2).all(|pair| pair[0].upper <= pair[1].upper && pair[0].lower <= pair[1].lower));
        let mut reverse = histogram.all_reverse();
        reverse.reverse();
        prop_assert_eq!(reverse, all);
    }

    #[test]
    fn quantiles_lie_in_buckets_and_ascend(histogram in exponential(), a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
        let quantile = |q| histogram.quantile(q).value;
        let (low, high) = (quantile(a.min(b)), quantile(a.max(b)));
        if histogram.count > 0.0 && a.min(b) > 0.0 && histogram.zero_threshold == 0.0 {
            let buckets = populated(&histogram);
            let around = |value: f64| buckets.iter().any(|bucket| {
                let slack = 1e-9 * value.abs();
                bucket.lower - slack <= value && value <= bucket.upper + slack
            });
            prop_assert!(around(low) && around(high));
            prop_assert!(low <= high || almost_equal(low, high, 1e-9));
        } else {
            prop_assert!(histogram.count > 0.0 || low.is_nan());
        }
    }

    #[test]
    fn trimming_parts_the_observations(histogram in exponential(), value in -50.0..50.0_f64) {
        let (below, above) = (histogram.trim_upper(value), histogram.trim_lower(value));
        prop_assert!(almost_equal(below.count + above.count, histogram.count, 1e-9));
        prop_assert!(below.validate().is_ok() && above.validate().is_ok());
    }

    #[test]
    fn nothing_panics_or_allocates_much(a in arbitrary(), b in arbitrary(), q in any::<f64>(), v in any::<f64>()) {
        let valid = a.validate().is_ok();
        prop_assert!(a.all().len() <= a.positive_buckets.len() + a.negative_buckets.len() + 1);
        let mut compacted = a.clone();
        compacted.compact(u32::MAX);
        let _ = (a.quantile(q), a.fraction(q, v), a.stddev(), a.trim_upper(v), a.trim_lower(v), a.detect_reset(&b));
        let _ = (a.to_string(), a.test_expression(), a.rendered_buckets(), a == b, a.has_overflow());
        let mut sum = HistogramSum::new(&a);
        drop((a.add(&b), a.sub(&b), sum.add(&b), sum.total(), compacted.reduce_resolution(-4)));
        prop_assert!(!valid || a.mul(2.0).validate().is_ok());
    }
}

#[test]
fn spans_that_promise_too_much_are_refused() {
    let mut histogram = simple(0, 0, &[1.0, 2.0]);
    assert!(histogram.validate().is_ok());
    histogram.positive_spans[0].length = u32::MAX;
    assert!(matches!(histogram.validate(), Err(HistogramError::Index { .. })));
    histogram.positive_spans = vec![Span { offset: i32::MAX, length: 2 }];
    assert!(matches!(histogram.validate(), Err(HistogramError::Index { .. })));
    histogram.positive_spans = vec![Span { offset: 0, length: 1 }];
    assert!(matches!(histogram.validate(), Err(HistogramError::BucketNumber { needed: 1, present: 2, .. })));
    histogram.positive_spans = vec![Span { offset: 0, length: 1 }, Span { offset: -1, length: 1 }];
    assert!(matches!(histogram.validate(), Err(HistogramError::NegativeOffset { number: 2, .. })));
    assert!(matches!(simple(9, 0, &[]).validate(), Err(HistogramError::Schema(9))));
    assert!(matches!(simple(0, 0, &[-1.0]).validate(), Err(HistogramError::NegativeCount { .. })));
    assert!(matches!(custom(&[1.0], &[1.0, 2.0, 3.0]).validate(), Err(HistogramError::TooFewBounds { .. })));
    assert!(matches!(custom(&[2.0, 1.0], &[1.0]).validate(), Err(HistogramError::Bounds { .. })));
    assert!(matches!(custom(&[f64::NAN], &[1.0]).validate(), Err(HistogramError::Bounds { .. })));
    assert!(custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]).validate().is_ok());
}

#[test]
fn bounds_are_powers_of_two_and_infinity_has_a_bucket() {
    let bounds = |schema, offset| simple(schema, offset, &[1.0, 1.0]).positive().map(|b| b.upper).collect::<Vec<_>>();
    assert_eq!(bounds(0, 1), [2.0, 4.0]);
    assert_eq!(bounds(-1, 1), [4.0, 16.0]);
    let one_bit_less = f64::from_bits(std::f64::consts::SQRT_2.to_bits() - 1);
    assert_eq!(bounds(1, 0), [1.0, one_bit_less], "as Prometheus has it");
    assert_eq!(bounds(0, 1024), [f64::MAX, f64::INFINITY]);
    assert_eq!(bounds(8, -1), [0.997_296_056_085_469_8, 1.0]);
}

#[test]
fn resolution_and_zero_bucket_are_reconciled() {
    let mut fine = simple(1, 1, &[1.0, 2.0, 3.0, 4.0]);
    let coarse = simple(0, 1, &[10.0, 20.0]);
    let (sum, merge) = fine.add(&coarse).unwrap();
    assert_eq!((sum.schema, sum.positive_buckets.clone()), (0, vec![13.0, 27.0]));
    assert_eq!(merge, Merge::default());
    fine.reduce_resolution(0).unwrap();
    assert_eq!(fine.positive_buckets, [3.0, 7.0]);
    assert!(fine.reduce_resolution(0).is_err());

    let mut wide = simple(0, 3, &[1.0]);
    wide.zero_threshold = 1.5;
    wide.zero_count = 5.0;
    // The threshold is within the bucket (1,2], which has observations: it is raised to 2.
    let (sum, _) = coarse.add(&wide).unwrap();
    assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 15.0));
    assert_eq!(sum.to_string(), "{count:31, sum:62, [-2,2]:15, (2,4]:20, (4,8]:1}");
}

#[test]
fn hints_are_merged() {
    use ResetHint::{Gauge, NotReset, Reset, Unknown};
    let with = |reset_hint| Histogram { reset_hint, ..simple(0, 0, &[1.0]) };
    for (a, b, hint, reset_collision) in [
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
        (NotReset, NotReset, NotReset, false),
        (Gauge, Reset, Gauge, false),
        (Unknown, NotReset, Unknown, false),
        (Unknown, Gauge, Gauge, false),
    ] {
        let (sum, merge) = with(a).add(&with(b)).unwrap();
        assert_eq!((sum.reset_hint, merge.reset_collision), (hint, reset_collision));
    }
    assert_eq!(with(Unknown).negate().reset_hint, Gauge);
    assert_eq!(with(Unknown).div(-2.0).reset_hint, Gauge);
}

#[test]
fn custom_buckets_keep_common_bounds() {
    let a = custom(&[2.0, 4.0, 6.0], &[1.0, 2.0, 5.0, 7.0]);
    let b = custom(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    let (sum, merge) = a.add(&b).unwrap();
    assert!(merge.bounds_reconciled);
    assert_eq!((sum.custom_values, sum.positive_buckets), (vec![2.0, 4.0, 6.0], vec![4.0, 9.0, 16.0, 31.0]));
    let (_, merge) = a.sub(&custom(&[9.0], &[1.0])).unwrap();
    assert!(merge.bounds_reconciled);
    assert_eq!(a.add(&simple(0, 0, &[1.0])).unwrap_err(), Incompatible);
    // Counts of the common bounds rose, though one bucket was split.
    assert!(!custom(&[2.0, 3.0, 4.0, 6.0], &[1.0, 1.0, 1.0, 5.0, 8.0]).detect_reset(&a));
    assert!(custom(&[2.0, 3.0, 4.0, 6.0], &[1.0, 0.0, 1.0, 5.0, 8.0]).detect_reset(&a));
}

#[test]
fn resets_are_detected() {
    let before = simple(1, 1, &[1.0, 0.0, 3.0]);
    assert!(!before.detect_reset(&before));
    assert!(simple(1, 1, &[1.0, 0.0, 2.0, 9.0]).detect_reset(&before));
    assert!(!simple(1, 1, &[1.0, 0.0, 3.0, 9.0]).detect_reset(&before));
    assert!(simple(1, 3, &[9.0]).detect_reset(&before), "a populated bucket vanished");
    assert!(simple(2, 1, &[9.0]).detect_reset(&before), "finer");
    assert!(!simple(0, 1, &[1.0, 3.0]).detect_reset(&before), "coarser");
    let hinted = Histogram { reset_hint: ResetHint::NotReset, ..simple(0, 0, &[]) };
    assert!(!hinted.detect_reset(&before));
    assert!(Histogram { reset_hint: ResetHint::Reset, ..before.clone() }.detect_reset(&before));
    let wider = Histogram { zero_threshold: 2.0, zero_count: 4.0, count: 4.0, ..simple(1, 1, &[]) };
    assert!(wider.detect_reset(&before), "a bucket ends above the wider zero bucket");
    let wider = Histogram { zero_threshold: 4.0, zero_count: 4.0, count: 4.0, ..simple(1, 1, &[]) };
    assert!(!wider.detect_reset(&before));
}

#[test]
fn sums_are_compensated() {
    let of = |count: f64| simple(0, 0, &[count]);
    let mut sum = HistogramSum::new(&of(1.0));
    for count in [1e100, 1.0, -1e100] {
        sum.add(&of(count)).unwrap();
    }
    let total = sum.total();
    assert_eq!((total.count, total.sum, total.positive_buckets[0]), (2.0, 4.0, 2.0));
    assert!(!sum.has_overflow());
    sum.scale(0.5);
    assert_eq!(sum.total().count, 1.0);
    sum.add(&of(f64::MAX)).unwrap();
    sum.add(&of(f64::MAX)).unwrap();
    assert!(sum.has_overflow() && sum.total().has_overflow());
}

#[test]
fn quantiles_interpolate() {
    let histogram = simple(0, 1, &[2.0, 2.0]);
    assert_eq!(histogram.quantile(0.25).value, 2_f64.sqrt());
    assert_eq!(histogram.quantile(1.0).value, 4.0);
    assert_eq!(histogram.quantile(-0.1).value, f64::NEG_INFINITY);
    assert_eq!(histogram.quantile(1.1).value, f64::INFINITY);
    assert!(histogram.quantile(f64::NAN).value.is_nan());
    assert!(simple(0, 0, &[]).quantile(0.5).value.is_nan());

    let zero = Histogram { zero_threshold: 1.0, zero_count: 4.0, count: 8.0, ..simple(0, 1, &[4.0]) };
    assert_eq!(zero.quantile(0.25).value, 0.5, "positive buckets only: the zero bucket begins at 0");

    let nhcb = custom(&[1.0, 2.0], &[1.0, 1.0, 2.0]);
    assert_eq!(nhcb.quantile(0.125).value, 0.5);
    assert_eq!(nhcb.quantile(0.9).value, 2.0, "the bucket to +Inf has no upper bound");
    assert_eq!(custom(&[-1.0], &[1.0, 1.0]).quantile(0.25).value, -1.0);

    let with_nan = Histogram { sum: f64::NAN, count: 8.0, ..simple(0, 1, &[2.0, 2.0]) };
    let skewed = with_nan.quantile(0.25);
    assert_eq!((skewed.value, skewed.nan_observations), (2.0, Some(NanObservations::Skew)));
    let among = with_nan.quantile(0.9);
    assert!(among.value.is_nan());
    assert_eq!(among.nan_observations, Some(NanObservations::Result));
}

#[test]
fn fractions_are_inverse_quantiles() {
    let histogram = simple(1, -2, &[3.0, 1.0, 4.0, 2.0]);
    for q in [0.1, 0.33, 0.5, 0.9] {
        let value = histogram.quantile(q).value;
        assert!(almost_equal(histogram.fraction(f64::NEG_INFINITY, value).value, q, 1e-9));
    }
    assert_eq!(histogram.fraction(2.0, 1.0).value, 0.0);
    assert!(histogram.fraction(f64::NAN, 1.0).value.is_nan());
    let with_nan = Histogram { sum: f64::NAN, count: 20.0, ..histogram };
    let all = with_nan.fraction(f64::NEG_INFINITY, f64::INFINITY);
    assert_eq!((all.value, all.has_nan_observations), (0.5, true));
    assert_eq!(custom(&[1.0, 3.0], &[2.0, 2.0]).fraction(2.0, f64::INFINITY).value, 0.25);
}

#[test]
fn variance_uses_the_middle_of_buckets() {
    let nhcb = Histogram { sum: 4.0, ..custom(&[0.0, 2.0, 4.0], &[0.0, 1.0, 1.0]) };
    assert_eq!((nhcb.avg(), nhcb.stdvar(), nhcb.stddev()), (2.0, 1.0, 1.0));
    let exponential = Histogram { sum: 8_f64.sqrt(), ..simple(0, 2, &[1.0]) };
    assert!(exponential.stdvar() < 1e-20);
}

#[test]
fn trimming_estimates_the_sum() {
    let nhcb = Histogram { sum: 100.0, ..custom(&[5.0, 10.0], &[8.0, 8.0, 4.0]) };
    let below = nhcb.trim_upper(7.5);
    assert_eq!((below.count, below.sum), (12.0, 8.0 * 2.5 + 4.0 * 6.25));
    let above = nhcb.trim_lower(5.0);
    assert_eq!((above.count, above.sum), (12.0, 8.0 * 7.5 + 4.0 * 10.0));
    assert_eq!(nhcb.trim_upper(f64::INFINITY).sum, 100.0, "nothing cut: the sum is kept");
    assert_eq!(nhcb.trim_upper(20.0).count, 16.0, "of the last bucket nothing is known");
    let exponential = simple(0, 1, &[2.0, 2.0]);
    assert!(almost_equal(exponential.trim_upper(2_f64.sqrt()).count, 1.0, 1e-12));
}

/// Count and sum of what Prometheus leaves of a histogram.
#[test]
fn trimming_agrees_with_prometheus() {
    let check = |trimmed: Histogram, count: f64, sum: f64| {
        let close = almost_equal(trimmed.count, count, 1e-9) && almost_equal(trimmed.sum, sum, 1e-9);
        assert!(close, "expected {count} and {sum}, got {trimmed}");
    };
    let span = |length| vec![Span { offset: 0, length }];
    let both = Histogram {
        zero_count: 1.0,
        zero_threshold: 0.001,
        sum: 123.75,
        count: 34.0,
        negative_spans: span(2),
        negative_buckets: vec![1.0, 2.0],
        ..simple(0, 0, &[2.0, 4.0, 8.0, 16.0])
    };
    assert_eq!(both.trim_lower(f64::NEG_INFINITY), both);
    check(both.trim_lower(f64::INFINITY), 0.0, 0.0);
    check(both.trim_lower(0.0), 30.5, 120.208_402_801_713_08);
    check(both.trim_upper(0.0), 3.5, -3.535_783_905_932_737_7);
    check(both.trim_upper(2.0), 10.0, 3.535_533_905_932_737_3);
    check(both.trim_lower(-1.0), 32.0, 119.501_046_020_526_53);
    check(both.trim_upper(-1.0), 2.0, -2.828_427_124_746_190_3);

    let zero = |histogram: Histogram| Histogram { zero_count: 2.0, zero_threshold: 0.5, count: 12.0, ..histogram };
    let positive = zero(simple(0, 0, &[10.0]));
    check(positive.trim_lower(0.1), 11.6, 7.551_067_811_865_476);
    check(positive.trim_upper(0.1), 0.4, 0.02);
    let negative = zero(Histogram { negative_spans: span(1), negative_buckets: vec![10.0], ..simple(0, 0, &[]) });
    check(negative.trim_upper(-0.1), 11.6, -7.551_067_811_865_476);
    let only = Histogram { zero_count: 5.0, zero_threshold: 0.1, count: 5.0, ..simple(0, 0, &[]) };
    check(only.trim_lower(0.05), 1.25, 0.093_75);
    check(only.trim_upper(0.0), 2.5, -0.125);

    let nhcb = custom(&[5.0, 10.0, 15.0, 20.0], &[1.0, 6.0, 4.0, 3.0, 1.0]);
    check(nhcb.trim_lower(15.0), 4.0, 72.5);
    check(nhcb.trim_upper(13.0), 9.4, 75.1);
    check(nhcb.trim_lower(13.0), 5.6, 94.9);
    check(nhcb.trim_upper(50.0), 14.0, 150.0);
    check(nhcb.trim_upper(0.0), 0.0, 0.0);
    assert_eq!(nhcb.trim_lower(0.0), nhcb);
    let below_zero = custom(&[-10.0, 5.0, 10.0, 15.0, 20.0], &[2.0, 1.0, 6.0, 4.0, 3.0, 1.0]);
    check(below_zero.trim_upper(2.0), 2.8, -23.2);
    check(below_zero.trim_upper(-15.0), 2.0, -30.0);
    let unbounded = custom(&[], &[100.0]);
    check(unbounded.trim_upper(10.0), 0.0, 0.0);
    check(unbounded.trim_lower(10.0), 0.0, 0.0);
    assert_eq!(unbounded.trim_upper(f64::INFINITY), unbounded);
    check(custom(&[5.0], &[1.0, 100.0]).trim_lower(-10.0), 100.0, 500.0);
}

/// Quantiles and fractions that Prometheus gives.
#[test]
fn quantiles_agree_with_prometheus() {
    let zero = Histogram { zero_count: 2.0, zero_threshold: 0.001, count: 12.0, ..Histogram::default() };
    let counts = simple(0, 0, &[2.0, 3.0, 0.0, 1.0, 4.0]);
    let positive =
        Histogram { positive_spans: counts.positive_spans, positive_buckets: counts.positive_buckets, ..zero };
    for (q, expected) in [
        (0.99, 15.670_724_761_390_83),
        (0.9, 12.996_038_341_699_77),
        (0.6, 4.594_793_419_988_138),
        (0.5, 1.587_401_051_968_199_4),
        (0.1, 0.000_6),
        (0.0, 0.0),
    ] {
        assert!(almost_equal(positive.quantile(q).value, expected, 1e-12), "{q}");
    }
    for (lower, upper, expected) in [
        (0.0, 0.000_5, 0.083_333_333_333_333_33),
        (0.0, 1.5, 0.479_573_958_513_622_4),
        (1.5, 6.0, 0.152_506_249_879_807_24),
        (-0.001, 0.0, 0.0),
        (0.001, f64::INFINITY, 0.833_333_333_333_333_4),
    ] {
        assert!(almost_equal(positive.fraction(lower, upper).value, expected, 1e-12), "{lower} to {upper}");
    }
    let negative = Histogram {
        negative_spans: positive.positive_spans.clone(),
        negative_buckets: positive.positive_buckets.clone(),
        positive_spans: Vec::new(),
        positive_buckets: Vec::new(),
        ..positive
    };
    for (q, expected) in [(0.99, -0.000_06), (0.5, -1.587_401_051_968_199_6), (0.1, -12.996_038_341_699_768)] {
        assert!(almost_equal(negative.quantile(q).value, expected, 1e-12), "{q}");
    }
    assert!(almost_equal(negative.fraction(-2.0, -1.5).value, 0.103_759_374_819_710_91, 1e-12));
}

#[test]
fn renders_as_prometheus() {
    let histogram = Histogram {
        schema: 1,
        reset_hint: ResetHint::Gauge,
        sum: -0.5,
        count: 12.0,
        zero_count: 2.0,
        zero_threshold: 0.001,
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_buckets: vec![4.0],
        ..simple(1, 2, &[2.0, 0.0, 4.0])
    };
    let expected = "{{schema:1 count:12 sum:-0.5 z_bucket:2 z_bucket_w:0.001 counter_reset_hint:gauge offset:2 \
                    buckets:[2 0 4] n_buckets:[4]}}";
    assert_eq!(histogram.test_expression(), expected);
    let rules: Vec<u8> = histogram.rendered_buckets().iter().map(|bucket| bucket.boundary_rule).collect();
    assert_eq!(rules, [1, 3, 0, 0]);
    let coarse = simple(0, 1, &[2.0, 0.0, 4.0]);
    assert_eq!(coarse.to_string(), "{count:6, sum:12, (1,2]:2, (4,8]:4}");
    let nhcb = custom(&[1.0, 2.5], &[1.0, 0.0, 3.0]);
    assert_eq!(nhcb.to_string(), "{count:4, sum:10, [-Inf,1]:1, (2.5,+Inf]:3}");
    assert_eq!(nhcb.test_expression(), "{{schema:-53 count:4 sum:10 custom_values:[1 2.5] buckets:[1 0 3]}}");
}

#[test]
fn equality_is_of_places_not_spans() {
    let one = simple(0, 0, &[1.0, 2.0]);
    let cut = Histogram {
        positive_spans: vec![
            Span { offset: 0, length: 1 },
            Span { offset: 0, length: 0 },
            Span { offset: 0, length: 1 },
        ],
        ..one.clone()
    };
    assert_eq!(one, cut);
    assert_ne!(one, simple(0, 1, &[1.0, 2.0]));
    assert_ne!(one, simple(0, 0, &[1.0, 2.0, 0.0]));
}

fn classic(buckets: &[(f64, f64)]) -> Vec<ClassicBucket> {
    buckets.iter().map(|(upper, count)| ClassicBucket { upper: *upper, count: *count }).collect()
}

#[test]
fn classic_quantiles() {
    let inf = f64::INFINITY;
    let of = |q, buckets: &[(f64, f64)]| classic_quantile(q, classic(buckets));
    assert_eq!(of(0.5, &[(inf, 4.0), (1.0, 2.0), (2.0, 4.0)]).value, 1.0);
    assert_eq!(of(0.75, &[(1.0, 2.0), (2.0, 4.0), (inf, 4.0)]).value, 1.5);
    assert_eq!(of(0.25, &[(1.0, 2.0), (2.0, 4.0), (inf, 4.0)]).value, 0.5);
    assert_eq!(of(0.25, &[(-1.0, 2.0), (2.0, 4.0), (inf, 4.0)]).value, -1.0);
    assert_eq!(of(1.0, &[(1.0, 2.0), (inf, 4.0)]).value, 1.0);
    for buckets in [&[(1.0, 2.0)][..], &[(inf, 2.0)], &[(1.0, 0.0), (inf, 0.0)], &[]] {
        assert!(of(0.5, buckets).value.is_nan());
    }
    // As in a known example of Prometheus: 2, 1, 5, 4, 9, 8 observations up to 0.1, 1, 10, ...
    let fixed = of(0.5, &[(0.1, 2.0), (1.0, 1.0), (10.0, 5.0), (100.0, 4.0), (1000.0, 9.0), (inf, 8.0)]);
    assert_eq!(fixed.value, 8.5);
    assert_eq!(fixed.fix, Some(MonotonicityFix { lowest: 1.0, highest: inf, max_difference: 1.0 }));
    assert_eq!(of(0.5, &[(1.0, 1.0 + 1e-14), (2.0, 1.0), (inf, 2.0)]).fix, None, "only rounding");
}

#[test]
fn classic_fractions() {
    let buckets = || classic(&[(1.0, 2.0), (2.0, 4.0), (f64::INFINITY, 8.0)]);
    assert_eq!(classic_fraction(0.0, 1.5, buckets()), 3.0 / 8.0);
    assert_eq!(classic_fraction(f64::NEG_INFINITY, f64::INFINITY, buckets()), 1.0);
    assert_eq!(classic_fraction(5.0, f64::INFINITY, buckets()), 0.5);
    assert!(classic_fraction(0.0, 1.0, classic(&[(1.0, 2.0)])).is_nan());
}

#[test]
fn classic_buckets_become_custom_ones() {
    let buckets = classic(&[(2.0, 5.0), (1.0, 2.0), (f64::INFINITY, 9.0)]);
    let histogram = custom_from_classic(buckets, Some(7.0), None).unwrap();
    assert_eq!((histogram.count, histogram.sum), (9.0, 7.0));
    assert_eq!((histogram.custom_values, histogram.positive_buckets), (vec![1.0, 2.0], vec![2.0, 3.0, 4.0]));
    let open = custom_from_classic(classic(&[(1.0, 2.0)]), None, Some(3.0)).unwrap();
    assert_eq!((open.count, open.positive_buckets), (3.0, vec![2.0, 1.0]));
    assert!(custom_from_classic(classic(&[(1.0, 2.0), (2.0, 1.0)]), None, None).is_err());
    assert_eq!(custom_from_classic(vec![], None, None).unwrap().count, 0.0);
}
