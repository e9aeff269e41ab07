//! The webhook payload of version 4, with incident and evidence beside Alertmanager's fields.

use chrono::SecondsFormat;
use serde_json::{Value, json};
use trivium_model::UnixNanos;

use super::text::{common, status};
use crate::api::rfc3339;
use crate::engine::{Notification, Notified};

pub(crate) fn payload(notification: &Notification, max_alerts: usize, external_url: &str) -> Value {
    let kept = if max_alerts == 0 { usize::MAX } else { max_alerts };
    let alerts: Vec<Value> = notification.alerts.iter().take(kept).map(alert).collect();
    json!({
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": notification.alerts.len() - alerts.len(),
        "receiver": notification.receiver,
        "status": status(notification),
        "alerts": alerts,
        "groupLabels": notification.group_labels,
        "commonLabels": common(notification, |one| &one.alert.labels),
        "commonAnnotations": common(notification, |one| &one.alert.annotations),
        "externalURL": external_url,
        "notification_reason": notification.reason.as_str(),
    })
}

fn alert(one: &Notified) -> Value {
    let alert = &one.alert;
    let time = |nanos| rfc3339(UnixNanos(nanos), SecondsFormat::AutoSi);
    let ends_at = if one.is_resolved { time(alert.ends_at) } else { "0001-01-01T00:00:00Z".to_owned() };
    let mut value = json!({
        "status": if one.is_resolved { "resolved" } else { "firing" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": time(alert.starts_at),
        "endsAt": ends_at,
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint().to_string(),
    });
    if let Some(incident) = &alert.incident {
        value["incident"] = incident.as_str().into();
    }
    if let Some(evidence) = &alert.evidence {
        value["evidence"] = evidence.clone();
    }
    value
}
