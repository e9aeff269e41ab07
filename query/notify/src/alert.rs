//! Alerts as they are handed in and as they are kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trivium_model::UnixNanos;

use crate::labels::{Fingerprint, Labels};

/// Labels or annotations of one alert.
const LABELS_MAX: usize = 256;

/// Bytes of the labels, or of the annotations, of one alert.
const LABELS_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the evidence of one alert; more is left out of notifications.
const EVIDENCE_BYTES_MAX: usize = 256 * 1024;

/// An alert as a rule or a client hands it in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertInput {
    /// Who it is.
    pub labels: Labels,
    /// What there is to say.
    pub annotations: Labels,
    /// Since when; now, when it is missing.
    pub starts_at: Option<UnixNanos>,
    /// Until when it holds unless it is sent again; when it is missing, `resolve_timeout` from now.
    pub ends_at: Option<UnixNanos>,
    /// Where it comes from.
    pub generator_url: String,
    /// The incident that it belongs to. Once known it stays; only until the first notification it moves the alert to another group.
    pub incident: Option<String>,
    /// What the diagnosis found. May come later than the alert.
    pub evidence: Option<Value>,
    /// The time of the sample that made it fire.
    pub sampled_at: Option<UnixNanos>,
    /// When the rule was evaluated.
    pub evaluated_at: Option<UnixNanos>,
}

/// Who looks after an alert. It holds until the alert is resolved; a later alert of the same labels is a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledgement {
    pub(crate) by: String,
    pub(crate) note: String,
    pub(crate) at: i64,
}

/// An alert as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    pub(crate) starts_at: i64,
    pub(crate) ends_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) generator_url: String,
    /// Whether the end comes from `resolve_timeout`.
    pub(crate) is_timeout: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) incident: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sampled_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) evaluated_at: Option<i64>,
    /// The incident as the groups know it: fixed by the first notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grouped_as: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledgement: Option<Acknowledgement>,
}

impl Alert {
    /// What is handed in, checked; the errors are Alertmanager's.
    pub(crate) fn accept(
        input: AlertInput,
        now: UnixNanos,
        resolve_timeout: std::time::Duration,
    ) -> Result<Self, String> {
        let mut labels = input.labels;
        labels.0.retain(|_, value| !value.is_empty());
        let incident = input.incident.filter(|incident| (1..=256).contains(&incident.len()));
        let starts_at = input.starts_at.or(input.ends_at).unwrap_or(now);
        let alert = Self {
            annotations: input.annotations,
            starts_at: starts_at.0,
            ends_at: input.ends_at.unwrap_or_else(|| now.after(resolve_timeout)).0,
            updated_at: now.0,
            generator_url: input.generator_url,
            is_timeout: input.ends_at.is_none(),
            grouped_as: incident.clone(),
            incident,
            evidence: input.evidence.filter(|evidence| evidence.to_string().len() <= EVIDENCE_BYTES_MAX),
            sampled_at: input.sampled_at.map(|at| at.0),
            evaluated_at: input.evaluated_at.map(|at| at.0),
            acknowledgement: None,
            labels,
        };
        alert.check().map(|()| alert)
    }

    fn check(&self) -> Result<(), String> {
        if self.ends_at < self.starts_at {
            return Err("start time must be before end time".into());
        }
        if self.labels.0.is_empty() {
            return Err("at least one label pair required".into());
        }
        for (what, set) in [("label set", &self.labels), ("annotations", &self.annotations)] {
            if set.0.contains_key("") {
                return Err(format!("invalid {what}: invalid name \"\""));
            }
            if set.0.len() > LABELS_MAX || set.size() > LABELS_BYTES_MAX {
                return Err(format!("invalid {what}: more than {LABELS_MAX} names or {LABELS_BYTES_MAX} bytes"));
            }
        }
        Ok(())
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.labels.fingerprint()
    }

    pub(crate) fn is_resolved(&self, now: UnixNanos) -> bool {
        self.ends_at <= now.0
    }

    /// This alert after what was known of it before.
    pub(crate) fn after(mut self, old: &Self, now: UnixNanos) -> Self {
        let is_overlapping = (self.ends_at > old.starts_at && self.ends_at < old.ends_at)
            || (self.starts_at > old.starts_at && self.starts_at < old.ends_at);
        if is_overlapping {
            self.starts_at = self.starts_at.min(old.starts_at);
            if self.is_resolved(now) {
                if old.is_resolved(now) {
                    self.ends_at = self.ends_at.max(old.ends_at);
                }
            } else if old.ends_at > self.ends_at && !old.is_timeout {
                self.ends_at = old.ends_at;
            }
        }
        if !old.is_resolved(now) || self.is_resolved(now) {
            self.incident = self.incident.or_else(|| old.incident.clone());
            self.evidence = self.evidence.or_else(|| old.evidence.clone());
            self.sampled_at = self.sampled_at.or(old.sampled_at);
            self.evaluated_at = self.evaluated_at.or(old.evaluated_at);
            self.grouped_as.clone_from(&self.incident);
            self.acknowledgement.clone_from(&old.acknowledgement);
        }
        self
    }
}
