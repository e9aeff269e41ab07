//! Messages of Slack and of Microsoft Teams.

use serde_json::{Map, Value, json};

use super::text::Texts;
use crate::config::{SlackAction, SlackMessage, Teams};

/// Characters of a title, as Slack shows it.
const TITLE_MAX: usize = 1024;

/// Adds a field unless it is empty.
fn add(fields: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        fields.insert(name.to_owned(), text.into());
    }
}

pub(crate) fn cut(text: String, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text;
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

pub(crate) fn slack(message: &SlackMessage, texts: &Texts<'_>) -> Result<Value, String> {
    let default = |own: &Option<String>, part: &str| texts.or(own.as_ref(), &format!("slack.default.{part}"));
    let colour = if texts.status == "firing" { "danger" } else { "good" };
    let mut attachment = Map::new();
    add(&mut attachment, "title", cut(default(&message.title, "title")?, TITLE_MAX));
    add(&mut attachment, "title_link", default(&message.title_link, "titlelink")?);
    add(&mut attachment, "pretext", default(&message.pretext, "pretext")?);
    add(&mut attachment, "text", default(&message.text, "text")?);
    add(&mut attachment, "fallback", default(&message.fallback, "fallback")?);
    add(&mut attachment, "callback_id", default(&message.callback_id, "callbackid")?);
    add(&mut attachment, "image_url", texts.text(&message.image_url)?);
    add(&mut attachment, "thumb_url", texts.text(&message.thumb_url)?);
    add(&mut attachment, "footer", default(&message.footer, "footer")?);
    let own_colour = message.color.as_ref().map(|colour| texts.text(colour)).transpose()?;
    add(&mut attachment, "color", own_colour.unwrap_or_else(|| colour.to_owned()));
    let markdown =
        if message.mrkdwn_in.is_empty() { json!(["fallback", "pretext", "text"]) } else { json!(message.mrkdwn_in) };
    attachment.insert("mrkdwn_in".into(), markdown);
    if !message.fields.is_empty() {
        let field = |field: &crate::config::SlackField| {
            let short = field.short.unwrap_or(message.short_fields);
            Ok(json!({"title": texts.text(&field.title)?, "value": texts.text(&field.value)?, "short": short}))
        };
        attachment
            .insert("fields".into(), message.fields.iter().map(field).collect::<Result<Vec<_>, String>>()?.into());
    }
    if !message.actions.is_empty() {
        let actions: Result<Vec<_>, String> = message.actions.iter().map(|one| action(one, texts)).collect();
        attachment.insert("actions".into(), actions?.into());
    }
    let mut request = Map::new();
    add(&mut request, "channel", texts.text(&message.channel)?);
    add(&mut request, "username", default(&message.username, "username")?);
    add(&mut request, "icon_emoji", default(&message.icon_emoji, "iconemoji")?);
    add(&mut request, "icon_url", default(&message.icon_url, "iconurl")?);
    if message.link_names {
        request.insert("link_names".into(), true.into());
    }
    request.insert("attachments".into(), json!([attachment]));
    Ok(request.into())
}

fn action(action: &SlackAction, texts: &Texts<'_>) -> Result<Value, String> {
    let mut fields = Map::new();
    for (name, template) in [
        ("type", &action.kind),
        ("text", &action.text),
        ("url", &action.url),
        ("style", &action.style),
        ("name", &action.name),
        ("value", &action.value),
    ] {
        add(&mut fields, name, texts.text(template)?);
    }
    if let Some(confirm) = &action.confirm {
        let mut inner = Map::new();
        for (name, template) in [
            ("title", &confirm.title),
            ("text", &confirm.text),
            ("ok_text", &confirm.ok_text),
            ("dismiss_text", &confirm.dismiss_text),
        ] {
            add(&mut inner, name, texts.text(template)?);
        }
        fields.insert("confirm".into(), inner.into());
    }
    Ok(fields.into())
}

/// The card of an Office 365 connector.
pub(crate) fn teams(teams: &Teams, texts: &Texts<'_>) -> Result<Value, String> {
    Ok(json!({
        "@context": "http://schema.org/extensions",
        "@type": "MessageCard",
        "title": texts.text(&teams.title)?,
        "summary": texts.text(&teams.summary)?,
        "text": texts.text(&teams.text)?,
        "themeColor": if texts.status == "firing" { "8C1A1A" } else { "2DC72D" },
    }))
}

/// The adaptive card of a workflow.
pub(crate) fn teams_v2(teams: &Teams, texts: &Texts<'_>) -> Result<Value, String> {
    let colour = if texts.status == "firing" { "attention" } else { "good" };
    let block = |text: String| json!({"type": "TextBlock", "text": text, "wrap": true});
    let mut title = block(texts.text(&teams.title)?);
    for (name, value) in [("weight", "Bolder"), ("size", "Medium"), ("style", "heading"), ("color", colour)] {
        title[name] = value.into();
    }
    Ok(json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [title, block(texts.text(&teams.text)?)],
                "msteams": {"width": "Full"},
            },
        }],
    }))
}
