//! What Alertmanager's API v2 takes and answers.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trivium_model::UnixNanos;

use super::acknowledge::GettableAcknowledgement;
use crate::labels::Labels;
use crate::silence::{SilenceMatcher, SilenceState};

/// A moment as the API writes it: RFC 3339 with milliseconds. Go's zero time is read as no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiTime(pub UnixNanos);

impl Serialize for ApiTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rfc3339(self.0, SecondsFormat::Millis))
    }
}

pub(crate) fn rfc3339(at: UnixNanos, format: SecondsFormat) -> String {
    DateTime::<Utc>::from_timestamp_nanos(at.0).to_rfc3339_opts(format, true)
}

/// Reads a time; `None` for Go's zero time and everything else that our clock does not reach in the past.
pub(crate) fn parse_time(text: &str) -> Result<Option<UnixNanos>, String> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| format!("{text:?} is not a time as in RFC 3339"))?;
    Ok(match time.timestamp_nanos_opt() {
        Some(nanos) => Some(UnixNanos(nanos)),
        None if time.timestamp() > 0 => Some(UnixNanos::MAX),
        None => None,
    })
}

fn optional_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ApiTime>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    let time = text.filter(|text| !text.is_empty()).map(|text| parse_time(&text)).transpose();
    Ok(time.map_err(serde::de::Error::custom)?.flatten().map(ApiTime))
}

/// An alert that a client sends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PostableAlert {
    /// Who it is.
    pub labels: Labels,
    /// What there is to say.
    #[serde(deserialize_with = "crate::config::nullable")]
    pub annotations: Labels,
    /// Since when.
    #[serde(deserialize_with = "optional_time")]
    pub starts_at: Option<ApiTime>,
    /// Until when.
    #[serde(deserialize_with = "optional_time")]
    pub ends_at: Option<ApiTime>,
    /// Where it comes from.
    #[serde(rename = "generatorURL")]
    pub generator_url: Option<String>,
    /// Ours: the incident that it belongs to.
    pub incident: Option<String>,
    /// Ours: what a diagnosis found.
    pub evidence: Option<serde_json::Value>,
}

/// A silence that a client sends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PostableSilence {
    /// That of the silence to change; empty for a new one.
    #[serde(deserialize_with = "crate::config::nullable")]
    pub id: String,
    /// What is muted.
    pub matchers: Vec<SilenceMatcher>,
    /// Since when.
    #[serde(deserialize_with = "optional_time")]
    pub starts_at: Option<ApiTime>,
    /// Until when.
    #[serde(deserialize_with = "optional_time")]
    pub ends_at: Option<ApiTime>,
    /// Who wants it.
    pub created_by: Option<String>,
    /// Why.
    pub comment: Option<String>,
    /// More about it.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// `GET /receivers`, and part of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReceiverName {
    /// The receiver.
    pub name: String,
}

/// Whether an alert is notified, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// `active` or `suppressed`.
    pub state: &'static str,
    /// Silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts.
    pub inhibited_by: Vec<String>,
    /// Time intervals.
    pub muted_by: Vec<String>,
}

/// An alert as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GettableAlert {
    /// What there is to say.
    pub annotations: Labels,
    /// Until when.
    pub ends_at: ApiTime,
    /// Its identity.
    pub fingerprint: String,
    /// Who is told.
    pub receivers: Vec<ReceiverName>,
    /// Since when.
    pub starts_at: ApiTime,
    /// Whether it is notified.
    pub status: AlertStatus,
    /// When it was sent last.
    pub updated_at: ApiTime,
    /// Where it comes from.
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
    /// Who it is.
    pub labels: Labels,
    /// Ours: the incident that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Ours: who looks after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<GettableAcknowledgement>,
}

/// A group of alerts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertGroup {
    /// What its alerts have in common.
    pub labels: Labels,
    /// Who is told.
    pub receiver: ReceiverName,
    /// Its alerts.
    pub alerts: Vec<GettableAlert>,
}

/// A silence as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GettableSilence {
    /// Its ID.
    pub id: String,
    /// Whether it mutes.
    pub status: SilenceStatus,
    /// When it was changed last.
    pub updated_at: ApiTime,
    /// Why.
    pub comment: String,
    /// Who wants it.
    pub created_by: String,
    /// Until when.
    pub ends_at: ApiTime,
    /// What is muted.
    pub matchers: Vec<SilenceMatcher>,
    /// Since when.
    pub starts_at: ApiTime,
    /// More about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Whether a silence mutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SilenceStatus {
    /// Whether it mutes.
    pub state: SilenceState,
}

/// The answer to a silence that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilenceCreated {
    /// Its ID.
    #[serde(rename = "silenceID")]
    pub silence_id: String,
}

/// `GET /status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusAnswer {
    /// No cluster: state is shared through the store.
    pub cluster: ClusterStatus,
    /// The configuration.
    pub config: ConfigStatus,
    /// Since when this process runs.
    pub uptime: ApiTime,
    /// What it is.
    pub version_info: VersionInfo,
}

/// Part of [`StatusAnswer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// Its name; none.
    pub name: String,
    /// Its other members; none.
    pub peers: Vec<ReceiverName>,
    /// `disabled`.
    pub status: &'static str,
}

/// Part of [`StatusAnswer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    /// The configuration without secrets.
    pub original: String,
}

/// Part of [`StatusAnswer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Unknown to us.
    pub branch: String,
    /// Unknown to us.
    pub build_date: String,
    /// Unknown to us.
    pub build_user: String,
    /// None.
    pub go_version: String,
    /// Unknown to us.
    pub revision: String,
    /// Trivium's.
    pub version: String,
}
