//! Samples of many sources come together into series.

use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use trivium_promql::{Histogram, Labels, Series};

use super::points::{Point, stale};

/// The labels by which the series of one histogram or summary differ.
const PART_LABELS: [&str; 2] = ["le", "quantile"];

/// Up to so many series are given in the order of their labels, by which Prometheus chooses among equals (`topk`); a million
/// would take seconds to sort.
const SORTED_MAX: usize = 50_000;

/// Samples of one series from one source, in the order in which they were read.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) labels: Labels,
    /// What no other labels have, where that is known.
    pub(super) identity: Option<u64>,
    pub(super) is_delta: bool,
    /// Its samples are the ends of all series with these labels and one of [`PART_LABELS`] more.
    pub(super) ends_parts: bool,
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    pub(super) start_times: Vec<i64>,
    pub(super) histograms: Vec<(i64, i64, Arc<Histogram>)>,
}

impl Fragment {
    pub(super) fn new(labels: Labels, is_delta: bool) -> Self {
        let (times, values, start_times) = (Vec::new(), Vec::new(), Vec::new());
        let (identity, histograms) = (None, Vec::new());
        Self { labels, identity, is_delta, ends_parts: false, times, values, start_times, histograms }
    }

    /// Times at which all buckets, or all quantiles, of a series end.
    pub(super) fn ends_of_parts(labels: Labels) -> Self {
        Self { ends_parts: true, ..Self::new(labels, false) }
    }

    pub(super) fn push(&mut self, time: i64, start_time: i64, point: Point) {
        match point {
            Point::Float(value) => {
                self.times.push(time);
                self.values.push(value);
                self.start_times.push(start_time);
            }
            Point::Histogram(histogram) => self.histograms.push((time, start_time, histogram)),
        }
    }
}

/// Joins fragments, which are given in the order of their sources: of two samples of one time the later one counts.
pub(super) fn join(sources: Vec<Vec<Fragment>>) -> Vec<Series> {
    let all_known = sources.iter().flatten().all(|fragment| fragment.identity.is_some());
    let mut joined = if all_known {
        // Looking at the labels of a million series costs a second, most of it waiting for memory.
        join_by(sources, |fragment| fragment.identity)
    } else {
        join_by(sources, |fragment| fragment.labels.clone())
    };
    if joined.len() <= SORTED_MAX {
        joined.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
    }
    joined.into_iter().map(finish).filter(|series| !series.times.is_empty() || !series.histograms.is_empty()).collect()
}

fn join_by<K: Eq + std::hash::Hash>(sources: Vec<Vec<Fragment>>, key: impl Fn(&Fragment) -> K) -> Vec<Fragment> {
    let expected = sources.iter().map(Vec::len).max().unwrap_or_default();
    let mut places: HashMap<K, usize> = HashMap::with_capacity(expected);
    let mut joined: Vec<Fragment> = Vec::with_capacity(expected);
    let mut ends: HashMap<Labels, Vec<i64>> = HashMap::new();
    for fragment in sources.into_iter().flatten() {
        if fragment.ends_parts {
            ends.entry(fragment.labels).or_default().extend(fragment.times);
            continue;
        }
        match places.entry(key(&fragment)) {
            Entry::Occupied(place) => append(&mut joined[*place.get()], fragment),
            Entry::Vacant(place) => {
                place.insert(joined.len());
                joined.push(fragment);
            }
        }
    }
    if !ends.is_empty() {
        for fragment in &mut joined {
            let whole = fragment.labels.filtered(|name| !PART_LABELS.contains(&name));
            for time in ends.get(&whole).into_iter().flatten() {
                fragment.push(*time, 0, stale());
            }
        }
    }
    joined
}

fn append(to: &mut Fragment, from: Fragment) {
    to.times.extend(from.times);
    to.values.extend(from.values);
    to.start_times.extend(from.start_times);
    to.histograms.extend(from.histograms);
    // The same name and labels in both temporalities cannot be told apart; what is cumulative must not be summed.
    to.is_delta &= from.is_delta;
}

fn finish(mut fragment: Fragment) -> Series {
    if !fragment.times.is_sorted_by(|left, right| left < right) {
        sort(&mut fragment);
    }
    if !fragment.histograms.is_sorted_by(|left, right| left.0 < right.0) {
        fragment.histograms.sort_by_key(|(time, ..)| *time);
        keep_last(&mut fragment.histograms, |entry| entry.0);
    }
    if !fragment.times.is_empty() && !fragment.histograms.is_empty() {
        drop_floats_of_histograms(&mut fragment);
    }
    let knows_starts = fragment.start_times.iter().any(|start| *start != 0);
    let knows_histogram_starts = fragment.histograms.iter().any(|(_, start, _)| *start != 0);
    Series {
        labels: fragment.labels,
        times: fragment.times,
        values: fragment.values,
        start_times: if knows_starts { fragment.start_times } else { Vec::new() },
        histogram_start_times: if knows_histogram_starts {
            fragment.histograms.iter().map(|(_, start, _)| *start).collect()
        } else {
            Vec::new()
        },
        histograms: fragment.histograms.into_iter().map(|(time, _, histogram)| (time, histogram)).collect(),
        is_delta: fragment.is_delta,
    }
}

fn sort(fragment: &mut Fragment) {
    let mut rows: Vec<(i64, f64, i64)> = fragment
        .times
        .iter()
        .zip(&fragment.values)
        .zip(&fragment.start_times)
        .map(|((time, value), start)| (*time, *value, *start))
        .collect();
    // Stable: what came later stays behind.
    rows.sort_by_key(|(time, ..)| *time);
    keep_last(&mut rows, |row| row.0);
    fragment.times = rows.iter().map(|row| row.0).collect();
    fragment.values = rows.iter().map(|row| row.1).collect();
    fragment.start_times = rows.iter().map(|row| row.2).collect();
}

/// Of entries with the same time the last one.
fn keep_last<T>(entries: &mut Vec<T>, time: impl Fn(&T) -> i64) {
    entries.reverse();
    entries.dedup_by(|later, first| time(later) == time(first));
    entries.reverse();
}

/// A float and a histogram of one time cannot both be the sample; the histogram says more.
fn drop_floats_of_histograms(fragment: &mut Fragment) {
    let taken = |time: &i64| fragment.histograms.binary_search_by_key(time, |entry| entry.0).is_ok();
    let kept: Vec<usize> = (0..fragment.times.len()).filter(|index| !taken(&fragment.times[*index])).collect();
    if kept.len() < fragment.times.len() {
        fragment.times = kept.iter().map(|index| fragment.times[*index]).collect();
        fragment.values = kept.iter().map(|index| fragment.values[*index]).collect();
        fragment.start_times = kept.iter().map(|index| fragment.start_times[*index]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Fragment {
        let mut fragment = Fragment::new(Labels::new(labels.iter().copied()), false);
        samples.iter().for_each(|(time, value)| fragment.push(*time, 0, Point::Float(*value)));
        fragment
    }

    #[test]
    fn late_samples_find_their_place_and_the_later_one_counts() {
        let a = [("__name__", "a")];
        let sources =
            vec![vec![fragment(&a, &[(1, 1.0), (3, 3.0)])], vec![fragment(&a, &[(3, 30.0), (2, 2.0), (2, 20.0)])]];
        let series = join(sources);
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].times, [1, 2, 3]);
        assert_eq!(series[0].values, [1.0, 20.0, 30.0]);
        assert!(series[0].start_times.is_empty());
    }

    #[test]
    fn the_end_of_a_histogram_ends_its_buckets_wherever_they_were_read() {
        let bucket = |le| fragment(&[("__name__", "a_bucket"), ("le", le)], &[(1, 1.0)]);
        let mut end = Fragment::ends_of_parts(Labels::new([("__name__", "a_bucket")]));
        end.push(2, 0, stale());
        let series = join(vec![vec![bucket("1"), bucket("+Inf")], vec![end]]);
        assert_eq!(series.iter().map(|series| series.times.as_slice()).collect::<Vec<_>>(), [[1, 2], [1, 2]]);
    }

    #[test]
    fn a_histogram_outweighs_a_float_of_its_time() {
        let mut mixed = fragment(&[("__name__", "a")], &[(1, 1.0), (2, 2.0)]);
        mixed.push(2, 0, Point::Histogram(Arc::new(Histogram::default())));
        let series = join(vec![vec![mixed]]);
        assert_eq!((series[0].times.as_slice(), series[0].histograms.len()), (&[1][..], 1));
    }
}
