//! Acknowledgements: who looks after an alert, and why. Ours; Alertmanager has none.
//!
//! One holds until its alert is resolved and is part of the alert's record. It is told to people and changes nothing of who
//! is notified: that is what silences are for. What was acknowledged and taken back is in the history of alerts.

use serde::{Deserialize, Serialize};
use serde_json::json;
use trivium_model::{HistoryEvent, UnixNanos};

use super::{Answer, ApiError, ApiTime};
use crate::alert::{Acknowledgement, Alert};
use crate::engine::{ALERT, Core};
use crate::labels::Fingerprint;
use crate::notifier::Notifier;

/// Bytes of a name.
const BY_BYTES_MAX: usize = 256;

/// Bytes of a note.
const NOTE_BYTES_MAX: usize = 4 * 1024;

/// An acknowledgement that a client sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostableAcknowledgement {
    /// Who looks after it.
    pub by: String,
    /// What is known or done.
    #[serde(default)]
    pub note: String,
}

/// An acknowledgement as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GettableAcknowledgement {
    /// Who looks after it.
    pub by: String,
    /// What is known or done.
    pub note: String,
    /// Since when.
    pub at: ApiTime,
}

impl From<&Acknowledgement> for GettableAcknowledgement {
    fn from(kept: &Acknowledgement) -> Self {
        Self { by: kept.by.clone(), note: kept.note.clone(), at: ApiTime(UnixNanos(kept.at)) }
    }
}

impl Notifier {
    /// Notes who looks after a firing alert, in place of who did before. Durable when this returns.
    pub async fn acknowledge(
        &self,
        fingerprint: &str,
        posted: PostableAcknowledgement,
    ) -> Answer<GettableAcknowledgement> {
        let fingerprint = parse(fingerprint)?;
        let by = checked("by", &posted.by, BY_BYTES_MAX)?;
        let note = checked("note", &posted.note, NOTE_BYTES_MAX)?;
        if by.is_empty() {
            return Err(ApiError::new(400, "\"by\" is empty: give the name of whoever looks after the alert"));
        }
        let changed = self.change(move |core, now| {
            let kept = Acknowledgement { by, note, at: now.0 };
            set(core, fingerprint, now, "acknowledged", &kept, Some(kept.clone()))?;
            Ok(GettableAcknowledgement::from(&kept))
        });
        changed.await
    }

    /// Takes an acknowledgement back; without effect when there is none.
    pub async fn unacknowledge(&self, fingerprint: &str, by: &str) -> Answer<()> {
        let fingerprint = parse(fingerprint)?;
        let by = checked("by", by, BY_BYTES_MAX)?;
        let changed = self.change(move |core, now| {
            if firing(core, fingerprint, now)?.acknowledgement.is_none() {
                return Ok(());
            }
            let told = Acknowledgement { by, note: String::new(), at: now.0 };
            set(core, fingerprint, now, "unacknowledged", &told, None)
        });
        changed.await
    }
}

fn parse(fingerprint: &str) -> Answer<Fingerprint> {
    let is_one = fingerprint.len() == 16 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = u64::from_str_radix(fingerprint, 16).ok().filter(|_| is_one).map(Fingerprint);
    let message = || {
        format!("{fingerprint:?} is no fingerprint: it has 16 hexadecimal digits, as in /alertmanager/api/v2/alerts")
    };
    parsed.ok_or_else(|| ApiError::new(400, message()))
}

fn checked(name: &str, text: &str, bytes_max: usize) -> Answer<String> {
    let text = text.trim();
    if text.len() > bytes_max {
        return Err(ApiError::new(400, format!("\"{name}\" has {} bytes, the limit is {bytes_max}", text.len())));
    }
    Ok(text.to_owned())
}

fn firing(core: &mut Core, fingerprint: Fingerprint, now: UnixNanos) -> Answer<&mut Alert> {
    let alert = core.alerts.get_mut(&fingerprint).filter(|alert| !alert.is_resolved(now));
    alert.ok_or_else(|| ApiError::new(404, format!("no alert with the fingerprint {fingerprint} is firing")))
}

fn set(
    core: &mut Core,
    fingerprint: Fingerprint,
    now: UnixNanos,
    transition: &str,
    told: &Acknowledgement,
    kept: Option<Acknowledgement>,
) -> Answer<()> {
    let alert = firing(core, fingerprint, now)?;
    alert.acknowledgement = kept;
    let alert = alert.clone();
    core.changes.put(ALERT, fingerprint.to_string(), &alert);
    let value = json!({
        "transition": transition,
        "rule": alert.labels.value("alertname"),
        "labels": alert.labels,
        "annotations": alert.annotations,
        "author": told.by,
        "note": told.note,
    });
    // Of two with the same ID the history keeps the first.
    let id = format!("{transition};{fingerprint};{};{}", now.0, told.by);
    core.changes.append(HistoryEvent { kind: "alert".into(), at: now, id, value: value.to_string() });
    Ok(())
}
