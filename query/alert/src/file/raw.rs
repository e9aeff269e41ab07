//! Rule files as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A text and where it stands. Numbers and truth values are texts too, as in Prometheus.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    #[serde(default)]
    pub(super) groups: Option<Vec<RawGroup>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGroup {
    pub(super) name: Option<Text>,
    pub(super) interval: Option<Text>,
    pub(super) query_offset: Option<Text>,
    pub(super) limit: Option<Spanned<i64>>,
    pub(super) labels: Option<BTreeMap<String, Text>>,
    pub(super) no_data: Option<Text>,
    pub(super) no_data_for: Option<Text>,
    pub(super) rules: Option<Vec<Spanned<RawRule>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) record: Option<Text>,
    pub(super) alert: Option<Text>,
    pub(super) expr: Option<Text>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Text>,
    pub(super) inputs: Option<Text>,
    #[serde(rename = "for")]
    pub(super) hold: Option<Text>,
    pub(super) keep_firing_for: Option<Text>,
    pub(super) labels: Option<BTreeMap<String, Text>>,
    pub(super) annotations: Option<BTreeMap<String, Text>>,
    pub(super) no_data: Option<Text>,
    pub(super) no_data_for: Option<Text>,
}
