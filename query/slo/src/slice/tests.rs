use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::definition::{BudgetingMethod, SliceWidth};
use crate::querier::GroupCounts;

fn group(name: &str) -> Group {
    Group::from(vec![name.to_owned()])
}

fn slice(coverage: f32, counts: &[(u8, u32, u32)]) -> Slice {
    let groups = counts.iter().map(|(name, bad, more)| {
        (group(&name.to_string()), Counts { bad: f64::from(*bad), total: f64::from(*bad) + f64::from(*more) })
    });
    Slice { coverage, groups: groups.filter(|(_, counts)| counts.total > 0.0).collect() }
}

#[test]
fn what_a_querier_answers_is_checked() {
    let measured = |coverage, good, total| MeasuredSlice {
        coverage,
        groups: vec![GroupCounts { group: group("a"), good, total }],
    };
    let read = |measured: MeasuredSlice| Slice::from_measured(&measured, 1).unwrap();
    assert_eq!(read(measured(1.0, 9.0, 10.0)).overall(), Counts { bad: 1.0, total: 10.0 });
    assert_eq!(read(measured(1.0, 10.5, 10.0)).overall(), Counts { bad: 0.0, total: 10.0 });
    assert_eq!(read(measured(1.0, -1.0, 10.0)).overall(), Counts { bad: 10.0, total: 10.0 });
    for unmeasured in [measured(0.0, 1.0, 2.0), measured(f64::NAN, 1.0, 2.0), measured(1.0, f64::NAN, 2.0)] {
        assert_eq!(read(unmeasured), Slice::default());
    }
    assert!(Slice::from_measured(&measured(1.0, 1.0, 1.0), 0).is_err());
    let measured_without_events = read(measured(1.0, 0.0, 0.0));
    assert_eq!((measured_without_events.coverage, measured_without_events.groups.len()), (1.0, 0));
}

fn any_slices(count: usize) -> impl Strategy<Value = Vec<Slice>> {
    let one =
        (prop::sample::select(vec![0.0_f32, 0.5, 1.0]), prop::collection::vec((0_u8..3, 0_u32..5, 0_u32..50), 0..3));
    let slice =
        one.prop_map(|(coverage, counts)| if coverage == 0.0 { Slice::default() } else { slice(coverage, &counts) });
    prop::collection::vec(slice, 0..count)
}

fn any_method() -> impl Strategy<Value = BudgetingMethod> {
    prop::sample::select(vec![
        BudgetingMethod::Occurrences,
        BudgetingMethod::Timeslices { target: 0.95 },
        BudgetingMethod::RatioTimeslices,
    ])
}

/// What a window holds, counted slice by slice.
fn naive(
    method: BudgetingMethod,
    slices: &BTreeMap<i64, Slice>,
    of: Option<&Group>,
    start: i64,
    end: i64,
) -> (f64, f64) {
    let inside = slices.iter().filter(|(at, _)| (start..end).contains(&(*at * 300)));
    inside.fold((0.0, 0.0), |(bad, total), (_, slice)| {
        let counts = of.map_or_else(|| slice.overall(), |of| slice.groups.get(of).copied().unwrap_or_default());
        let bad_share = if counts.total > 0.0 { counts.bad / counts.total } else { 0.0 };
        let is_measured = slice.coverage >= 0.8;
        match method {
            BudgetingMethod::Occurrences => (bad + counts.bad, total + counts.total),
            _ if !is_measured => (bad, total),
            BudgetingMethod::Timeslices { target } if 1.0 - bad_share < target - 1e-12 => (bad + 1.0, total + 1.0),
            BudgetingMethod::Timeslices { .. } => (bad, total + 1.0),
            BudgetingMethod::RatioTimeslices => (bad + bad_share, total + 1.0),
        }
    })
}

proptest! {
    /// Any window of any group is what counting slice by slice gives, after appending, recomputing, prepending and
    /// dropping in any order.
    #[test]
    fn windows_are_what_naive_counting_gives(
        method in any_method(),
        head in any_slices(30),
        writes in prop::collection::vec((-20_i64..60, any_slices(20)), 0..6),
        drop in -5_i64..20,
        windows in prop::collection::vec((-6_000_i64..30_000, 0_i64..30_000), 8),
    ) {
        let mut timeline = Timeline::new(SliceWidth::FIVE_MINUTES, method, 0);
        timeline.write(0, &head);
        let mut slices: BTreeMap<i64, Slice> = (0..).zip(head).collect();
        for (first, written) in writes {
            let (start, end) = (timeline.first(), timeline.end());
            let touches = first <= end && first + written.len() as i64 >= start;
            if !touches || start == end || written.is_empty() {
                continue;
            }
            timeline.write(first, &written);
            slices.extend((first..).zip(written));
        }
        if drop > timeline.first() && drop < timeline.end() {
            timeline.drop_before(drop);
            slices.retain(|at, _| *at >= drop);
        }
        prop_assert_eq!((timeline.end() - timeline.first()) as usize, slices.len());
        for (start, length) in windows {
            for of in [None, Some(group("0")), Some(group("1")), Some(group("9"))] {
                let window = timeline.window(of.as_ref(), start, start + length);
                let (bad, total) = naive(method, &slices, of.as_ref(), start, start + length);
                prop_assert!((window.sums.bad - bad).abs() < 1e-9, "{window:?} against {bad} of {total}");
                prop_assert_eq!(window.sums.total, total);
            }
        }
    }
}

/// A year of slices of five minutes with ten groups: what a window costs.
#[test]
fn a_year_of_slices_answers_in_microseconds() {
    let mut timeline = Timeline::new(SliceWidth::FIVE_MINUTES, BudgetingMethod::Occurrences, 0);
    let groups: Vec<(u8, u32, u32)> = (0..10).map(|name| (name, 1, 999)).collect();
    let day = vec![slice(1.0, &groups); 288];
    let begun = Instant::now();
    (0..365).for_each(|number| timeline.write(number * 288, &day));
    let filled = begun.elapsed();
    let begun = Instant::now();
    let windows: i64 = 10_000;
    let sum: f64 = (0..windows).map(|start| timeline.window(None, start * 300, 365 * 86_400).sums.total).sum();
    let each = begun.elapsed() / 10_000;
    println!("a year of slices of 10 groups: filled in {filled:?}, a window answered in {each:?}");
    let slices_of_all: i64 = (0..windows).map(|start| 365 * 288 - start).sum();
    assert_eq!(sum, slices_of_all as f64 * 10_000.0);
    assert!(each < Duration::from_millis(1));
}
