//! What a selector asks of each metric: under which names its data points are seen, and which of them are wanted.

use std::sync::Arc;

use trivium_promql::{METRIC_NAME, MatchKind, Matcher};

use super::index::{Metric, PointKind, SeriesIndex};
use super::labels::Style;
use super::translate::{NameContext, TranslationStrategy, metric_name};

/// Which part of a data point a series shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Projection {
    /// The number; of a sample of Prometheus its number or histogram.
    Value,
    /// One bucket of a histogram up to its bound, the label `le`.
    Bucket,
    /// The sum of all observations.
    Sum,
    /// How many observations there were.
    Count,
    /// One quantile of a summary, the label `quantile`.
    Quantile,
    /// The whole distribution as a native histogram.
    Native,
}

/// One way in which a metric is seen.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) name: Arc<str>,
    pub(super) projection: Projection,
    pub(super) style: Style,
}

/// The matchers of a selector, those for the name apart.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    names: Vec<&'a Matcher>,
    pub(super) others: Vec<&'a Matcher>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(matchers: &'a [Matcher]) -> Self {
        let (names, others) = matchers.iter().partition(|matcher| matcher.name == METRIC_NAME);
        Self { names, others }
    }

    /// Whether a metric of this name is wanted.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.names.iter().all(|matcher| matcher.matches(name))
    }

    /// The views of each metric of an index that are wanted.
    pub(super) fn views_of(&self, index: &SeriesIndex) -> Vec<Vec<View>> {
        index.metrics.iter().zip(&index.views).map(|(metric, views)| self.views(metric, views)).collect()
    }

    /// Whether one of the views of a metric is wanted.
    pub(super) fn wants_any(&self, metric: &Metric, translated: &[View]) -> bool {
        translated.iter().any(|view| self.wants(&view.name)) || self.wants_original(metric)
    }

    /// Which views of a metric are wanted, of those under translated names and the one under its own.
    fn views(&self, metric: &Metric, translated: &[View]) -> Vec<View> {
        let views: Vec<View> = translated.iter().filter(|view| self.wants(&view.name)).cloned().collect();
        if views.is_empty() && self.wants_original(metric) {
            return original_views(metric);
        }
        views
    }

    fn wants_original(&self, metric: &Metric) -> bool {
        metric.kind != PointKind::Prometheus && self.names_exactly(&metric.name)
    }

    /// A name as the service gave it is seen when it is asked for as such: else everything would be seen twice.
    fn names_exactly(&self, name: &str) -> bool {
        self.names.iter().any(|matcher| matches!(matcher.kind, MatchKind::Equal) && matcher.value == name)
            && self.wants(name)
    }
}

/// Every name under which Prometheus would see a metric.
pub(super) fn translated_views(metric: &Metric, strategy: TranslationStrategy) -> Vec<View> {
    let context = NameContext {
        unit: &metric.unit,
        is_counter: metric.kind == PointKind::Sum && metric.is_monotonic,
        is_gauge: metric.kind == PointKind::Gauge,
    };
    let view = |name: String, projection| View { name: name.into(), projection, style: Style::Translated };
    if metric.kind == PointKind::Prometheus {
        let name = Arc::clone(&metric.name);
        return vec![View { name, projection: Projection::Value, style: Style::Prometheus }];
    }
    let name = metric_name(&metric.name, context, strategy);
    match metric.kind {
        PointKind::Histogram => vec![
            view(format!("{name}_bucket"), Projection::Bucket),
            view(format!("{name}_sum"), Projection::Sum),
            view(format!("{name}_count"), Projection::Count),
        ],
        PointKind::Summary => vec![
            view(format!("{name}_sum"), Projection::Sum),
            view(format!("{name}_count"), Projection::Count),
            view(name, Projection::Quantile),
        ],
        PointKind::ExponentialHistogram => vec![view(name, Projection::Native)],
        PointKind::Gauge | PointKind::Sum | PointKind::Prometheus => vec![view(name, Projection::Value)],
    }
}

fn original_views(metric: &Metric) -> Vec<View> {
    let projection = match metric.kind {
        PointKind::Histogram | PointKind::ExponentialHistogram => Projection::Native,
        PointKind::Summary => Projection::Quantile,
        PointKind::Gauge | PointKind::Sum | PointKind::Prometheus => Projection::Value,
    };
    vec![View { name: Arc::clone(&metric.name), projection, style: Style::Original }]
}

/// The columns that a projection of a kind of point needs, besides time and flags.
pub(super) fn columns_of(kind: PointKind, projection: Projection) -> &'static [&'static str] {
    match (kind, projection) {
        (PointKind::Prometheus, _) => &[
            "value",
            "count_float",
            "sum",
            "scale",
            "zero_threshold",
            "zero_count_float",
            "positive_spans",
            "positive_counts_float",
            "negative_spans",
            "negative_counts_float",
            "explicit_bounds",
            "reset_hint",
        ],
        (_, Projection::Value) => &["value"],
        (_, Projection::Bucket) => &["count", "bucket_counts", "explicit_bounds"],
        (_, Projection::Sum) => &["sum"],
        (_, Projection::Count) => &["count"],
        (_, Projection::Quantile) => &["quantiles", "quantile_values"],
        (PointKind::ExponentialHistogram, Projection::Native) => &[
            "count",
            "sum",
            "scale",
            "zero_count",
            "zero_threshold",
            "positive_offset",
            "positive_counts",
            "negative_offset",
            "negative_counts",
        ],
        (_, Projection::Native) => &["count", "sum", "bucket_counts", "explicit_bounds"],
    }
}
