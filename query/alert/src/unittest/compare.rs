//! What is compared, and how it is shown when it differs.

use std::sync::Arc;

use trivium_promql::histogram::ResetHint;
use trivium_promql::{Histogram, Labels, SampleValue, VectorSample, format_float};

use super::Pairs;

/// What of an alert is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AlertView {
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
}

/// A sample of a query.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) content: SampleContent,
}

/// Its value.
#[derive(Clone, Debug)]
pub(super) enum SampleContent {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl From<VectorSample> for Sample {
    fn from(sample: VectorSample) -> Self {
        let content = match sample.value {
            SampleValue::Float(value) => SampleContent::Float(value),
            SampleValue::Histogram(histogram) => SampleContent::Histogram(histogram),
        };
        Self { labels: sample.labels, content }
    }
}

impl Sample {
    pub(super) fn is(&self, other: &Self, fuzzy: bool) -> bool {
        let content = match (&self.content, &other.content) {
            (SampleContent::Float(left), SampleContent::Float(right)) => {
                left == right || left.is_nan() && right.is_nan() || fuzzy && is_near(*left, *right)
            }
            (SampleContent::Histogram(left), SampleContent::Histogram(right)) => plain(left) == plain(right),
            _ => false,
        };
        content && self.labels == other.labels
    }
}

/// At most two floats apart.
fn is_near(left: f64, right: f64) -> bool {
    let (low, high) = if left < right { (left, right) } else { (right, left) };
    low.next_up() >= high || low.next_up().next_up() >= high
}

fn plain(histogram: &Histogram) -> Histogram {
    Histogram { reset_hint: ResetHint::Unknown, ..histogram.clone() }
}

pub(super) fn show_alerts(alerts: &[AlertView]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let show = |(index, alert): (usize, &AlertView)| {
        let (labels, annotations) = (pairs(&alert.labels), pairs(&alert.annotations));
        let indent = "            ";
        format!("{indent}{index}:\n{indent}  Labels:{labels}\n{indent}  Annotations:{annotations}")
    };
    let shown: Vec<String> = alerts.iter().enumerate().map(show).collect();
    format!("[\n{}\n            ]", shown.join(",\n"))
}

fn pairs(pairs: &Pairs) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

pub(super) fn show_samples(samples: &[Sample]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let show = |sample: &Sample| {
        let value = match &sample.content {
            SampleContent::Float(value) => format_float(*value),
            SampleContent::Histogram(histogram) => histogram.to_string(),
        };
        format!("Labels:{:?} Value:{value}", sample.labels.to_string())
    };
    samples.iter().map(show).collect::<Vec<_>>().join(", ")
}
