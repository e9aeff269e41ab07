//! What there is: series, label names, label values, metrics. Answered from the indexes; no sample is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trivium_promql::{Labels, Matcher};
use trivium_storage::MetricDescription;
use trivium_storage::attributes::get;

use super::index::{Metric, PointKind, Run, SeriesIndex};
use super::labels::LabelMaker;
use super::plan::{Plan, Projection, View};
use super::source::{Source, StoredSeries, Window, labels_of};
use super::target::{self, TARGET_INFO};
use crate::error::Error;

/// The types that the metadata of remote write know.
const PROMETHEUS_TYPES: [&str; 7] = ["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// What was found, and whether a limit cut it.
#[derive(Debug, Default)]
pub(crate) struct Listed<T> {
    pub(crate) found: T,
    pub(crate) is_cut: bool,
}

/// What is known of a metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MetricMetadata {
    pub(crate) name: String,
    /// `counter`, `gauge`, `histogram`, `summary` or `unknown`.
    pub(crate) kind: &'static str,
    pub(crate) help: String,
    pub(crate) unit: String,
}

impl StoredSeries {
    /// The series that match one of the selectors and have samples between the times (milliseconds, both included), in
    /// the order of their labels. Series that a bucket or a quantile distinguishes are told apart by reading their bounds.
    pub(crate) fn series(
        &self,
        selectors: &[Vec<Matcher>],
        (start, end): (i64, i64),
        limit: usize,
    ) -> Result<Listed<BTreeSet<Labels>>, Error> {
        let mut listed: Listed<BTreeSet<Labels>> = Listed::default();
        self.each_series(selectors, Window { after: start.saturating_sub(1), until: end }, &mut |labels| {
            if listed.found.len() >= limit && !listed.found.contains(&labels) {
                listed.is_cut = true;
                return false;
            }
            listed.found.insert(labels);
            true
        })?;
        Ok(listed)
    }

    /// The names of their labels. No selector stands for all series.
    pub(crate) fn label_names(&self, selectors: &[Vec<Matcher>], range: (i64, i64)) -> Result<BTreeSet<String>, Error> {
        let mut names = BTreeSet::new();
        self.each_series(selectors, Window { after: range.0.saturating_sub(1), until: range.1 }, &mut |labels| {
            for label in labels.iter().filter(|label| !names.contains(&*label.name)).collect::<Vec<_>>() {
                names.insert(label.name.to_string());
            }
            true
        })?;
        Ok(names)
    }

    /// The values of one of their labels.
    pub(crate) fn label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        range: (i64, i64),
    ) -> Result<BTreeSet<String>, Error> {
        let window = Window { after: range.0.saturating_sub(1), until: range.1 };
        if name == "__name__" && selectors.is_empty() {
            return self.metric_names(window);
        }
        let mut values = BTreeSet::new();
        self.each_series(selectors, window, &mut |labels| {
            let value = labels.get(name);
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_owned());
            }
            true
        })?;
        Ok(values)
    }

    fn metric_names(&self, window: Window) -> Result<BTreeSet<String>, Error> {
        let mut names = BTreeSet::new();
        for source in self.all_sources(window)? {
            let index = source.index();
            let mut seen = vec![false; index.metrics.len()];
            for run in index.runs.iter().filter(|run| window.overlaps(run.first_time, run.last_time)) {
                seen[run.metric as usize] = true;
            }
            for view in index.views.iter().zip(seen).filter(|(_, seen)| *seen).flat_map(|(views, _)| views) {
                if !names.contains(&*view.name) {
                    names.insert(view.name.to_string());
                }
            }
            names.extend(self.has_target_info(&source).then(|| TARGET_INFO.to_owned()));
        }
        Ok(names)
    }

    fn has_target_info(&self, source: &Source<'_>) -> bool {
        let resources = self.resources(std::slice::from_ref(source));
        resources.iter().any(|(resource, _)| target::labels(resource, &self.state.config).is_some())
    }

    /// Calls `take` with the labels of every series until it says no; some more than once.
    fn each_series(
        &self,
        selectors: &[Vec<Matcher>],
        window: Window,
        take: &mut dyn FnMut(Labels) -> bool,
    ) -> Result<(), Error> {
        let everything = [Vec::new()];
        let selectors = if selectors.is_empty() { &everything[..] } else { selectors };
        for matchers in selectors {
            let plan = Plan::new(matchers);
            let wants_targets = plan.wants(TARGET_INFO);
            let sources = self.sources(window, &|metric, views| wants_targets || plan.wants_any(metric, views))?;
            for source in &sources {
                self.check()?;
                let goes_on = self.each_series_of(source, &plan, window, take);
                if self.given(source, goes_on)? == Some(false) {
                    return Ok(());
                }
            }
            if wants_targets {
                for (resource, _) in self.resources(&sources).iter() {
                    let labels = target::labels(resource, &self.state.config);
                    let labels = labels.filter(|labels| selects(&plan, labels));
                    if labels.is_some_and(|labels| !take(labels)) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn each_series_of(
        &self,
        source: &Source<'_>,
        plan: &Plan<'_>,
        window: Window,
        take: &mut dyn FnMut(Labels) -> bool,
    ) -> Result<bool, Error> {
        let index = source.index();
        let views = plan.views_of(index);
        let mut maker = LabelMaker::new(&self.state, self.tenant);
        let mut last = None;
        for run in index.runs.iter().filter(|run| window.overlaps(run.first_time, run.last_time)) {
            // In a buffer the runs of a series are many.
            if last.replace(run.series_id) == Some(run.series_id) {
                continue;
            }
            for view in &views[run.metric as usize] {
                for part in parts_of(source, run, view)? {
                    let labels = labels_of(&mut maker, index, run, view, part);
                    if selects(plan, &labels) && !take(labels) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// What is known of the metrics, or of one of them, in the order of their names.
    pub(crate) fn metadata(&self, wanted: Option<&str>) -> Result<Vec<MetricMetadata>, Error> {
        let mut known: BTreeMap<(String, &'static str), MetricMetadata> = BTreeMap::new();
        for source in self.all_sources(Window { after: i64::MIN, until: i64::MAX })? {
            let index = source.index();
            let described = index.metrics.iter().zip(&index.views).zip(index.descriptions.iter().zip(&index.metadata));
            for ((metric, views), (description, metadata)) in described {
                let kind = kind_name(metric, metadata);
                let Some(name) = family_name(metric, kind, views) else { continue };
                if wanted.is_some_and(|wanted| wanted != name) {
                    continue;
                }
                let (help, unit) = (description.to_string(), metric.unit.to_string());
                known.entry((name.clone(), kind)).or_insert(MetricMetadata { name, kind, help, unit });
            }
        }
        self.add_described(&mut known, wanted);
        Ok(known.into_values().collect())
    }

    /// Adds what was said of metrics apart from their samples, in the place of those that nothing else is known of.
    fn add_described(&self, known: &mut BTreeMap<(String, &'static str), MetricMetadata>, wanted: Option<&str>) {
        let Some(storage) = &self.described else { return };
        for MetricDescription { name, kind, unit, help } in storage.metric_descriptions(self.tenant) {
            for suffix in [""].iter().chain(suffixes(kind)) {
                known.remove(&(format!("{name}{suffix}"), "unknown"));
            }
            if wanted.is_none_or(|wanted| wanted == name) {
                known.entry((name.clone(), kind)).or_insert(MetricMetadata { name, kind, help, unit });
            }
        }
    }
}

fn selects(plan: &Plan<'_>, labels: &Labels) -> bool {
    plan.others.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
}

/// What the names of a metric's series have more than its own.
fn suffixes(kind: &str) -> &'static [&'static str] {
    if matches!(kind, "histogram" | "summary") { &["_bucket", "_sum", "_count"] } else { &[] }
}

/// The name of a metric without the suffixes of its series.
fn family_name(metric: &Metric, kind: &str, views: &[View]) -> Option<String> {
    if metric.kind == PointKind::Prometheus {
        let family = suffixes(kind).iter().find_map(|suffix| metric.name.strip_suffix(suffix));
        return Some(family.unwrap_or(&metric.name).to_owned());
    }
    let view = views.iter().find(|view| view.projection != Projection::Sum && view.projection != Projection::Count)?;
    let name = &*view.name;
    Some(
        if view.projection == Projection::Bucket { name.strip_suffix("_bucket").unwrap_or(name) } else { name }
            .to_owned(),
    )
}

fn kind_name(metric: &Metric, metadata: &str) -> &'static str {
    match metric.kind {
        PointKind::Sum if metric.is_monotonic => "counter",
        PointKind::Gauge | PointKind::Sum => "gauge",
        PointKind::Histogram | PointKind::ExponentialHistogram => "histogram",
        PointKind::Summary => "summary",
        PointKind::Prometheus => {
            let said = get(metadata, "prometheus.type").map(|value| value.text().into_owned()).unwrap_or_default();
            PROMETHEUS_TYPES.into_iter().find(|kind| *kind == said).unwrap_or("unknown")
        }
    }
}

/// The bounds or quantiles by which a view tells the series of a run apart: those of its last row, which seldom change.
fn parts_of(source: &Source<'_>, run: &Run, view: &View) -> Result<Vec<super::points::Part>, Error> {
    match view.projection {
        Projection::Bucket | Projection::Quantile => super::points::parts_of_row(source, run, view.projection),
        _ => Ok(vec![None]),
    }
}

/// How many series there are by metric name, and how many values labels have; for the page about cardinality.
#[derive(Debug, Default)]
pub(crate) struct Cardinality {
    pub(crate) series: usize,
    pub(crate) series_by_name: BTreeMap<Arc<str>, usize>,
    pub(crate) values_by_label: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    pub(crate) series_by_pair: BTreeMap<(Arc<str>, Arc<str>), usize>,
}

impl StoredSeries {
    /// Counts the series between two times, in milliseconds.
    pub(crate) fn cardinality(&self, range: (i64, i64)) -> Result<Cardinality, Error> {
        let mut counted = Cardinality::default();
        for labels in self.series(&[], range, usize::MAX)?.found {
            counted.series += 1;
            for label in labels.iter() {
                if &*label.name == "__name__" {
                    *counted.series_by_name.entry(Arc::clone(&label.value)).or_default() += 1;
                }
                counted.values_by_label.entry(Arc::clone(&label.name)).or_default().insert(Arc::clone(&label.value));
                let pair = (Arc::clone(&label.name), Arc::clone(&label.value));
                *counted.series_by_pair.entry(pair).or_default() += 1;
            }
        }
        Ok(counted)
    }
}

impl SeriesIndex {
    /// The rows of a run.
    pub(super) fn last_row(run: &Run) -> u32 {
        run.first_row + run.rows.saturating_sub(1)
    }
}
