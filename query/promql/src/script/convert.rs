//! From the points of a `load` to series with times.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{Load, LoadedLine, Point};
use crate::histogram::{ClassicBucket, custom_from_classic};
use crate::labels::Labels;
use crate::series::{Series, is_stale};

/// All series of a load, with those made of classic histograms if it says so.
pub(super) fn series(load: &Load) -> Result<Vec<Series>, String> {
    let mut series: Vec<Series> = load.series.iter().map(|line| timed(line, load.step)).collect();
    if load.with_custom_buckets {
        series.extend(from_classic(&series)?);
    }
    Ok(series)
}

fn timed(line: &LoadedLine, step: i64) -> Series {
    let mut series = Series { labels: line.labels.clone(), ..Series::default() };
    for (position, point) in line.points.iter().enumerate() {
        let time = i64::try_from(position).unwrap_or(i64::MAX).saturating_mul(step);
        let offset = line.start_offsets.get(position).copied().flatten();
        let start = offset.map_or(0, |offset| time.saturating_add(offset));
        match point {
            Some(Point::Float(value)) => {
                series.times.push(time);
                series.values.push(*value);
                series.start_times.push(start);
            }
            Some(Point::Histogram { histogram, .. }) => {
                // Prometheus' storage keeps no start times of histograms, and scripts expect that.
                series.histograms.push((time, Arc::clone(histogram)));
            }
            None => {}
        }
    }
    forget_unknown_starts(&mut series);
    series
}

/// Where no start time is known there is no list of them.
pub(super) fn forget_unknown_starts(series: &mut Series) {
    for starts in [&mut series.start_times, &mut series.histogram_start_times] {
        if starts.iter().all(|start| *start == 0) {
            starts.clear();
        }
    }
}

/// What is known of a classic histogram at one time.
#[derive(Default)]
struct Classic {
    buckets: Vec<ClassicBucket>,
    sum: Option<f64>,
    count: Option<f64>,
}

/// Native histograms of the classic ones among the series, under the name without suffix and without `le`.
fn from_classic(series: &[Series]) -> Result<Vec<Series>, String> {
    let mut classics: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for one in series {
        collect(one, &mut classics);
    }
    let converted = classics.into_iter().map(|(labels, classics)| {
        let mut series = Series { labels, ..Series::default() };
        for (time, classic) in classics {
            let histogram = custom_from_classic(classic.buckets, classic.sum, classic.count)
                .map_err(|error| format!("classic histogram at {time} ms: {error}"))?;
            series.histograms.push((time, Arc::new(histogram)));
        }
        Ok(series)
    });
    converted.collect()
}

fn collect(series: &Series, classics: &mut BTreeMap<Labels, BTreeMap<i64, Classic>>) {
    let name = series.labels.get("__name__");
    let upper = series.labels.get("le").parse::<f64>().ok().filter(|upper| !upper.is_nan());
    let (base, part): (_, fn(&mut Classic, Option<f64>, f64)) = if let Some(base) = name.strip_suffix("_bucket") {
        if upper.is_none() {
            return;
        }
        (base, |classic, upper, count| {
            classic.buckets.extend(upper.map(|upper| ClassicBucket { upper, count }));
        })
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, |classic, _, count| classic.count = Some(count))
    } else if let Some(base) = name.strip_suffix("_sum") {
        (base, |classic, _, sum| classic.sum = Some(sum))
    } else {
        return;
    };
    let kept = series.labels.iter().filter(|label| !matches!(&*label.name, "__name__" | "le"));
    let pairs = kept.map(|label| (Arc::clone(&label.name), Arc::clone(&label.value)));
    let labels = Labels::new(pairs.chain([(Arc::from("__name__"), Arc::from(base))]));
    let times = classics.entry(labels).or_default();
    for (time, value) in series.times.iter().zip(&series.values).filter(|(_, value)| !is_stale(**value)) {
        part(times.entry(*time).or_default(), upper, *value);
    }
}
