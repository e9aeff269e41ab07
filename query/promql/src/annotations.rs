//! Warnings and infos about a query, in Prometheus' words.

use std::collections::BTreeMap;
use std::fmt;

use crate::ast::Position;
use crate::histogram::{MonotonicityFix, format_general};
use crate::number::quote;

/// What there is to tell about a query's result.
#[derive(Clone, Debug)]
pub(crate) enum Note<'a> {
    InvalidQuantile(f64),
    InvalidRatio { given: f64, used: f64 },
    BadBucketLabel { metric: &'a str, value: &'a str },
    MixedFloatsHistograms { metric: &'a str },
    MixedFloatsHistogramsInAggregation,
    MixedClassicNative { metric: &'a str },
    NotCounterHistogram { metric: &'a str },
    NotGaugeHistogram { metric: &'a str },
    MixedBucketSchemas { metric: &'a str },
    IncompatibleBuckets { operator: &'a str },
    CounterResetCollision { operation: &'a str },
    PossibleNonCounter { metric: &'a str },
    PossibleNonCounterType { metric: &'a str, kind: &'a str },
    ForcedMonotonicity { metric: &'a str, time: i64, fix: MonotonicityFix },
    IncompatibleTypes { left: &'a str, operator: &'a str, right: &'a str },
    IgnoredInAggregation { aggregation: &'a str },
    IgnoredInMixedRange { metric: &'a str },
    QuantileNan { metric: &'a str },
    QuantileSkewed { metric: &'a str },
    FractionNan { metric: &'a str },
    ReconciledBounds { operation: &'a str },
}

impl Note<'_> {
    fn is_warning(&self) -> bool {
        use Note::{
            BadBucketLabel, CounterResetCollision, IncompatibleBuckets, InvalidQuantile, InvalidRatio,
            MixedBucketSchemas, MixedClassicNative, MixedFloatsHistograms, MixedFloatsHistogramsInAggregation,
            NotCounterHistogram, NotGaugeHistogram,
        };
        matches!(
            self,
            InvalidQuantile(_)
                | InvalidRatio { .. }
                | BadBucketLabel { .. }
                | MixedFloatsHistograms { .. }
                | MixedFloatsHistogramsInAggregation
                | MixedClassicNative { .. }
                | NotCounterHistogram { .. }
                | NotGaugeHistogram { .. }
                | MixedBucketSchemas { .. }
                | IncompatibleBuckets { .. }
                | CounterResetCollision { .. }
        )
    }
}

/// ` for metric name "x"`, if there is a name.
struct ForMetric<'a>(&'a str);

impl fmt::Display for ForMetric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " for metric name {}", quote(self.0)) }
    }
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_warning() { "PromQL warning: " } else { "PromQL info: " })?;
        self.describe(f)
    }
}

impl Note<'_> {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidQuantile(quantile) => {
                write!(f, "quantile value should be between 0 and 1, got {}", format_general(*quantile))
            }
            Self::InvalidRatio { given, used } => {
                let [given, used] = [*given, *used].map(format_general);
                write!(f, "ratio value should be between -1 and 1, got {given}, capping to {used}")
            }
            Self::BadBucketLabel { metric, value } => {
                let (value, metric) = (quote(value), ForMetric(metric));
                write!(f, "bucket label \"le\" is missing or has a malformed value of {value}{metric}")
            }
            Self::MixedFloatsHistograms { metric } => {
                write!(f, "encountered a mix of histograms and floats for metric name {}", quote(metric))
            }
            Self::MixedFloatsHistogramsInAggregation => {
                f.write_str("encountered a mix of histograms and floats for aggregation")
            }
            Self::MixedClassicNative { metric } => {
                write!(f, "vector contains a mix of classic and native histograms{}", ForMetric(metric))
            }
            Self::NotCounterHistogram { metric } => {
                write!(f, "this native histogram metric is not a counter: {}", quote(metric))
            }
            Self::NotGaugeHistogram { metric } => {
                write!(f, "this native histogram metric is not a gauge: {}", quote(metric))
            }
            Self::MixedBucketSchemas { metric } => {
                let metric = quote(metric);
                let mix = "vector contains a mix of histograms with exponential and custom buckets schemas";
                write!(f, "{mix} for metric name {metric}")
            }
            Self::IncompatibleBuckets { operator } => {
                write!(f, "incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::CounterResetCollision { operation } => {
                write!(f, "conflicting counter resets during histogram {operation}")
            }
            Self::PossibleNonCounter { metric } => {
                let metric = quote(metric);
                write!(f, "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric}")
            }
            Self::PossibleNonCounterType { metric, kind } => {
                let not_set =
                    "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\"";
                write!(f, "{not_set}, got {}: {}", quote(kind), quote(metric))
            }
            Self::ForcedMonotonicity { metric, .. } => {
                let link = "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile";
                let metric = ForMetric(metric);
                write!(f, "input to histogram_quantile needed to be fixed for monotonicity (see {link}){metric}")
            }
            Self::IncompatibleTypes { left, operator, right } => {
                let operation = format!("{left} {operator} {right}");
                write!(f, "incompatible sample types encountered for binary operator {operator:?}: {operation}")
            }
            Self::IgnoredInAggregation { aggregation } => write!(f, "ignored histogram in {aggregation} aggregation"),
            Self::IgnoredInMixedRange { metric } => {
                let metric = quote(metric);
                write!(
                    f,
                    "ignored histograms in a range containing both floats and histograms for metric name {metric}"
                )
            }
            Self::QuantileNan { metric } => {
                write!(f, "input to histogram_quantile has NaN observations, result is NaN{}", ForMetric(metric))
            }
            Self::QuantileSkewed { metric } => {
                let metric = ForMetric(metric);
                write!(f, "input to histogram_quantile has NaN observations, result is skewed higher{metric}")
            }
            Self::FractionNan { metric } => {
                let metric = ForMetric(metric);
                let excluded = "has NaN observations, which are excluded from all fractions";
                write!(f, "input to histogram_fraction {excluded}{metric}")
            }
            Self::ReconciledBounds { operation } => {
                write!(f, "mismatched custom buckets were reconciled during {operation}")
            }
        }
    }
}

/// Where and how often buckets of classic histograms had to be fixed.
#[derive(Clone, Copy, Debug)]
struct Fixes {
    first: i64,
    last: i64,
    lowest: f64,
    highest: f64,
    max_difference: f64,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    is_warning: bool,
    position: Position,
    fixes: Option<Fixes>,
}

/// The notes of a query, each text once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations(BTreeMap<String, Entry>);

impl Annotations {
    pub(crate) fn add(&mut self, note: &Note<'_>, position: Position) {
        let fixes = match note {
            Note::ForcedMonotonicity { time, fix, .. } => Some(Fixes {
                first: *time,
                last: *time,
                lowest: fix.lowest,
                highest: fix.highest,
                max_difference: fix.max_difference,
                count: 1,
            }),
            _ => None,
        };
        self.insert(note.to_string(), Entry { is_warning: note.is_warning(), position, fixes });
    }

    fn insert(&mut self, text: String, mut entry: Entry) {
        let before = self.0.get(&text).and_then(|entry| entry.fixes);
        entry.fixes = match (before, entry.fixes) {
            (Some(a), Some(b)) => Some(Fixes {
                first: a.first.min(b.first),
                last: a.last.max(b.last),
                lowest: a.lowest.min(b.lowest),
                highest: a.highest.max(b.highest),
                max_difference: a.max_difference.max(b.max_difference),
                count: a.count + b.count,
            }),
            (_, fixes) => fixes,
        };
        self.0.insert(text, entry);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|(text, entry)| self.insert(text, entry));
    }

    /// The texts of the warnings and of the infos, with their places in the query.
    pub(crate) fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (text, entry) in &self.0 {
            let place = entry.position.in_query(query);
            let details = entry.fixes.map(describe).unwrap_or_default();
            let list = if entry.is_warning { &mut warnings } else { &mut infos };
            list.push(format!("{text}{details} ({place})"));
        }
        (warnings, infos)
    }
}

fn describe(fixes: Fixes) -> String {
    let [lowest, highest] = [fixes.lowest, fixes.highest].map(format_general);
    let difference = two_digits(fixes.max_difference);
    let [first, last] = [fixes.first, fixes.last].map(crate::calendar::rfc3339);
    let buckets = format!("from buckets {lowest} to {highest}, with a max diff of {difference}");
    format!(", {buckets}, over {} samples from {first} to {last}", fixes.count)
}

/// A number with two significant digits, as `%.2g` has it.
fn two_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    format_general(rounded)
}
