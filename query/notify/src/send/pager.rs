//! Events of PagerDuty and alerts of OpsGenie.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::chat::cut;
use super::text::{Texts, common};
use crate::config::{OpsGenieAlert, PagerDuty};
use crate::engine::{Notification, key_of};

/// Characters of a summary, as PagerDuty takes it.
const SUMMARY_MAX: usize = 1024;

/// Characters of a message, as OpsGenie takes it.
const MESSAGE_MAX: usize = 130;

/// Characters of a description, as OpsGenie takes it.
const DESCRIPTION_MAX: usize = 15_000;

/// Details that every event has unless the configuration says otherwise.
const DETAILS: [(&str, &str); 4] = [
    ("firing", "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}"),
    ("resolved", "{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}"),
    ("num_firing", "{{ .Alerts.Firing | len }}"),
    ("num_resolved", "{{ .Alerts.Resolved | len }}"),
];

/// An event of the Events API v2.
pub(crate) fn pagerduty(
    to: &PagerDuty,
    routing_key: &str,
    notification: &Notification,
    texts: &Texts<'_>,
) -> Result<Value, String> {
    let event = &to.event;
    let client = texts.or(event.client.as_ref(), "pagerduty.default.client")?;
    let mut details: BTreeMap<String, String> =
        DETAILS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    details.extend(event.details.clone());
    let source = texts.text(&event.source)?;
    let severity = texts.text(&event.severity)?;
    let action = if texts.status == "firing" { "trigger" } else { "resolve" };
    let mut value = json!({
        "routing_key": texts.text(routing_key)?,
        "event_action": action,
        "dedup_key": key_of(&notification.group_key),
        "client": client,
        "client_url": texts.or(event.client_url.as_ref(), "pagerduty.default.clientURL")?,
    });
    if action == "resolve" {
        return Ok(value);
    }
    let mut payload = Map::new();
    let summary = texts.or(event.description.as_ref(), "pagerduty.default.description")?;
    payload.insert("summary".into(), cut(summary, SUMMARY_MAX).into());
    payload.insert("source".into(), if source.is_empty() { client.into() } else { source.into() });
    payload.insert("severity".into(), if severity.is_empty() { "error".into() } else { severity.into() });
    for (name, template) in [("class", &event.class), ("component", &event.component), ("group", &event.group)] {
        let text = texts.text(template)?;
        if !text.is_empty() {
            payload.insert(name.into(), text.into());
        }
    }
    payload.insert("custom_details".into(), json!(texts.map(&details)?));
    value["payload"] = payload.into();
    let links =
        event.links.iter().map(|link| Ok(json!({"href": texts.text(&link.href)?, "text": texts.text(&link.text)?})));
    value["links"] = links.collect::<Result<Vec<_>, String>>()?.into();
    let images = event.images.iter().map(|image| {
        Ok(json!({"src": texts.text(&image.src)?, "alt": texts.text(&image.alt)?, "href": texts.text(&image.href)?}))
    });
    value["images"] = images.collect::<Result<Vec<_>, String>>()?.into();
    Ok(value)
}

/// Path and body of a call to OpsGenie.
pub(crate) fn opsgenie(
    alert: &OpsGenieAlert,
    notification: &Notification,
    texts: &Texts<'_>,
) -> Result<(String, Value), String> {
    let alias = key_of(&notification.group_key);
    let source = texts.or(alert.source.as_ref(), "opsgenie.default.source")?;
    if texts.status != "firing" {
        return Ok((format!("v2/alerts/{alias}/close?identifierType=alias"), json!({"source": source})));
    }
    let words = |template: &str| {
        let text = texts.text(template)?;
        Ok::<_, String>(
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>(),
        )
    };
    let mut details = common(notification, |one| &one.alert.labels).0;
    details.extend(texts.map(&alert.details)?);
    let responder = |one: &crate::config::OpsGenieResponder| {
        let mut fields = Map::new();
        for (name, template) in [("id", &one.id), ("name", &one.name), ("username", &one.username), ("type", &one.kind)]
        {
            let text = texts.text(template)?;
            if !text.is_empty() {
                fields.insert(name.into(), text.into());
            }
        }
        Ok::<_, String>(Value::from(fields))
    };
    let description = texts.or(alert.description.as_ref(), "opsgenie.default.description")?;
    let mut body = json!({
        "alias": alias,
        "message": cut(texts.or(alert.message.as_ref(), "opsgenie.default.message")?, MESSAGE_MAX),
        "description": cut(description, DESCRIPTION_MAX),
        "details": details,
        "source": source,
        "responders": alert.responders.iter().map(responder).collect::<Result<Vec<_>, _>>()?,
        "tags": words(&alert.tags)?,
        "actions": words(&alert.actions)?,
    });
    for (name, template) in [("note", &alert.note), ("priority", &alert.priority), ("entity", &alert.entity)] {
        let text = texts.text(template)?;
        if !text.is_empty() {
            body[name] = text.into();
        }
    }
    Ok(("v2/alerts".to_owned(), body))
}
