//! Exemplars of series.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use trivium_promql::{Labels, Matcher};
use trivium_storage::RowRanges;
use trivium_storage::attributes::entries;

use super::NANOS_PER_MILLI;
use super::index::{Run, SeriesIndex};
use super::labels::LabelMaker;
use super::plan::{Plan, Projection, View};
use super::points::parts_of_row;
use super::source::{Source, StoredSeries, Window, labels_of};
use crate::error::Error;

/// One exemplar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    /// `trace_id`, `span_id` and what else it bears.
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    /// In milliseconds.
    pub(crate) time: i64,
}

/// The exemplars of one series, in time order, each once.
#[derive(Debug)]
pub(crate) struct SeriesExemplars {
    pub(crate) labels: Labels,
    pub(crate) exemplars: Vec<Exemplar>,
}

impl StoredSeries {
    /// The exemplars of the series that match one of the selectors, between two times (milliseconds, both included).
    pub(crate) fn exemplars(
        &self,
        selectors: &[Vec<Matcher>],
        (start, end): (i64, i64),
    ) -> Result<Vec<SeriesExemplars>, Error> {
        let window = Window { after: start.saturating_sub(1), until: end };
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for matchers in selectors {
            let plan = Plan::new(matchers);
            let sources = self.sources(window, &|metric, views| plan.wants_any(metric, views))?;
            for source in &sources {
                self.check()?;
                let read = self.exemplars_of(source, &plan, window, &mut found);
                self.given(source, read)?;
            }
        }
        let series = found.into_iter().map(|(labels, mut exemplars)| {
            exemplars.sort_by(|left, right| left.time.cmp(&right.time).then_with(|| left.labels.cmp(&right.labels)));
            // A sender repeats an exemplar with every data point until a newer one replaces it.
            exemplars.dedup_by(|later, first| later.time == first.time && later.labels == first.labels);
            SeriesExemplars { labels, exemplars }
        });
        Ok(series.collect())
    }

    fn exemplars_of(
        &self,
        source: &Source<'_>,
        plan: &Plan<'_>,
        window: Window,
        found: &mut BTreeMap<Labels, Vec<Exemplar>>,
    ) -> Result<(), Error> {
        let index = source.index();
        let mut maker = LabelMaker::new(&self.state, self.tenant);
        let views = plan.views_of(index);
        for run in index.runs.iter().filter(|run| window.overlaps(run.first_time, run.last_time)) {
            if views[run.metric as usize].is_empty() {
                continue;
            }
            let exemplars = exemplars_of_run(source, run, window)?;
            if exemplars.is_empty() {
                continue;
            }
            for view in &views[run.metric as usize] {
                for exemplar in &exemplars {
                    let labels = labels_for(&mut maker, source, index, run, view, exemplar.value)?;
                    if plan.others.iter().all(|matcher| matcher.matches(labels.get(&matcher.name))) {
                        found.entry(labels).or_default().push(exemplar.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// The series of a view to which an exemplar belongs: of buckets the first one that holds its value.
fn labels_for(
    maker: &mut LabelMaker<'_>,
    source: &Source<'_>,
    index: &SeriesIndex,
    run: &Run,
    view: &View,
    value: f64,
) -> Result<Labels, Error> {
    let part = match view.projection {
        Projection::Bucket => {
            let bounds = parts_of_row(source, run, view.projection)?;
            bounds.into_iter().flatten().find(|bound| value <= f64::from_bits(*bound))
        }
        _ => None,
    };
    Ok(labels_of(maker, index, run, view, part))
}

fn exemplars_of_run(source: &Source<'_>, run: &Run, window: Window) -> Result<Vec<Exemplar>, Error> {
    let rows = run.first_row..run.first_row + run.rows;
    let batches = match source {
        Source::Batch(batch, _) => vec![batch.slice(run.first_row as usize, run.rows as usize)],
        Source::Part(part, _) => part.read(Some(&["exemplars"]), Some(&RowRanges::from_sorted([rows])))?,
    };
    Ok(batches.iter().flat_map(|batch| exemplars_of_batch(batch, window)).collect())
}

fn exemplars_of_batch(batch: &RecordBatch, window: Window) -> Vec<Exemplar> {
    let lists = batch.column_by_name("exemplars").and_then(|column| column.as_list_opt::<i32>());
    let Some(lists) = lists.filter(|lists| lists.null_count() < lists.len()) else { return Vec::new() };
    let Some(fields) = lists.values().as_struct_opt() else { return Vec::new() };
    let offsets = lists.value_offsets();
    let rows = (0..lists.len()).filter(|row| lists.is_valid(*row));
    let all = rows.flat_map(|row| offsets[row] as usize..offsets[row + 1] as usize);
    all.filter_map(|at| exemplar(fields, at))
        .filter(|exemplar| exemplar.time > window.after && exemplar.time <= window.until)
        .collect()
}

fn exemplar(fields: &StructArray, at: usize) -> Option<Exemplar> {
    let field = |name: &str| fields.column_by_name(name);
    let time = field("time")?.as_primitive_opt::<TimestampNanosecondType>()?.value(at).div_euclid(NANOS_PER_MILLI);
    let value = field("value")?.as_primitive_opt::<Float64Type>()?;
    let mut labels: Vec<(String, String)> = Vec::new();
    for name in ["trace_id", "span_id"] {
        let ids = field(name).and_then(|column| column.as_fixed_size_binary_opt());
        if let Some(ids) = ids.filter(|ids| ids.is_valid(at)) {
            labels.push((name.into(), ids.value(at).iter().map(|byte| format!("{byte:02x}")).collect()));
        }
    }
    let attributes = field("attributes").and_then(|column| column.as_string_opt::<i32>());
    if let Some(set) = attributes.filter(|sets| sets.is_valid(at)).map(|sets| sets.value(at)) {
        labels.extend(entries(set).map(|(key, value)| (key.into_owned(), value.text().into_owned())));
    }
    Some(Exemplar {
        labels: Labels::new(labels),
        value: if value.is_valid(at) { value.value(at) } else { f64::NAN },
        time,
    })
}
