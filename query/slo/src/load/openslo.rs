//! The objects of OpenSLO v1 as they stand in a file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::definition::Labels;

/// `kind`, `apiVersion`, `metadata` and the `spec` of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Object<T> {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) spec: Spanned<T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Spanned<String>,
    pub(super) display_name: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, LabelValue>,
    #[serde(default)]
    pub(super) annotations: Labels,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LabelValue {
    One(String),
    Many(Vec<String>),
}

impl Metadata {
    /// Labels as alerts and series can carry them: other letters than theirs become `_`, several values are joined.
    pub(super) fn labels(&self) -> Labels {
        let letter = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
        let value = |value: &LabelValue| match value {
            LabelValue::One(value) => value.clone(),
            LabelValue::Many(values) => values.join(","),
        };
        self.labels.iter().map(|(name, values)| (name.chars().map(letter).collect(), value(values))).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DataSourceSpec {
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(rename = "connectionDetails")]
    _connection_details: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceSpec {
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SliSpec {
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) threshold_metric: Option<MetricHolder>,
    pub(super) ratio_metric: Option<RatioMetric>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RatioMetric {
    pub(super) counter: Option<bool>,
    pub(super) good: Option<MetricHolder>,
    pub(super) bad: Option<MetricHolder>,
    pub(super) total: Option<MetricHolder>,
    pub(super) raw_type: Option<RawType>,
    pub(super) raw: Option<MetricHolder>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawType {
    Success,
    Failure,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MetricHolder {
    pub(super) metric_source: MetricSource,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MetricSource {
    pub(super) metric_source_ref: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) spec: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SloSpec {
    pub(super) description: Option<String>,
    pub(super) service: Spanned<String>,
    pub(super) indicator: Option<InlineIndicator>,
    pub(super) indicator_ref: Option<Spanned<String>>,
    pub(super) time_window: Spanned<Vec<TimeWindow>>,
    pub(super) budgeting_method: Spanned<String>,
    pub(super) objectives: Spanned<Vec<Spanned<Objective>>>,
    #[serde(default)]
    pub(super) alert_policies: Vec<Spanned<PolicyEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InlineIndicator {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    #[serde(rename = "metadata")]
    _metadata: Option<Metadata>,
    pub(super) spec: Spanned<SliSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TimeWindow {
    pub(super) duration: String,
    #[serde(default)]
    pub(super) is_rolling: bool,
    pub(super) calendar: Option<CalendarSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct CalendarSpec {
    pub(super) start_time: String,
    pub(super) time_zone: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Objective {
    pub(super) display_name: Option<String>,
    pub(super) op: Option<OpSpec>,
    pub(super) value: Option<f64>,
    pub(super) target: Option<f64>,
    pub(super) target_percent: Option<f64>,
    pub(super) time_slice_target: Option<f64>,
    pub(super) time_slice_window: Option<serde_json::Value>,
    pub(super) indicator: Option<InlineIndicator>,
    pub(super) indicator_ref: Option<Spanned<String>>,
    pub(super) composite_weight: Option<Spanned<f64>>,
}

impl Objective {
    /// Whether it is part of a composite: it has an indicator of its own, or a weight.
    pub(super) fn is_composite(&self) -> bool {
        self.indicator.is_some() || self.indicator_ref.is_some() || self.composite_weight.is_some()
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OpSpec {
    Lte,
    Lt,
    Gte,
    Gt,
}

/// A reference, or the object itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PolicyEntry {
    pub(super) alert_policy_ref: Option<String>,
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) spec: Option<PolicySpec>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PolicySpec {
    pub(super) description: Option<String>,
    pub(super) alert_when_no_data: Option<bool>,
    pub(super) alert_when_resolved: Option<bool>,
    pub(super) alert_when_breaching: Option<bool>,
    pub(super) conditions: Vec<ConditionEntry>,
    #[serde(default)]
    pub(super) notification_targets: Vec<TargetEntry>,
}

/// A reference, or the object itself.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ConditionEntry {
    pub(super) condition_ref: Option<String>,
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    #[serde(rename = "metadata")]
    _metadata: Option<serde::de::IgnoredAny>,
    pub(super) spec: Option<ConditionSpec>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionSpec {
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) severity: String,
    pub(super) condition: BurnCondition,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BurnCondition {
    pub(super) kind: Option<String>,
    pub(super) op: Option<OpSpec>,
    pub(super) threshold: f64,
    pub(super) lookback_window: String,
    pub(super) alert_after: Option<String>,
}

/// A reference, or the object itself.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TargetEntry {
    pub(super) target_ref: Option<String>,
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    pub(super) metadata: Option<TargetMetadata>,
    #[serde(rename = "spec")]
    _spec: Option<TargetSpec>,
}

#[derive(Clone, Deserialize)]
pub(super) struct TargetMetadata {
    pub(super) name: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetSpec {
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) target: String,
}
