//! Receivers: what each kind of them may say, and what is missing is taken from `global`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::email::{Email, WrittenEmail};
use super::global::Global;
use super::http::{HttpSettings, WrittenHttp};
use super::value::{HttpUrl, Secret, SecretSource, Span, check_url, nullable};

/// Someone to be notified, in one or several ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Its name in routes.
    pub name: String,
    /// The ways; none where notifications are only recorded.
    pub integrations: Vec<Integration>,
}

/// One way to notify.
#[derive(Clone, Debug, PartialEq)]
pub struct Integration {
    /// Which among those of its kind in the receiver.
    pub index: usize,
    /// Whether it is told that alerts are resolved.
    pub send_resolved: bool,
    pub(crate) settings: Settings,
}

impl Integration {
    /// Its kind, as in Alertmanager's metrics.
    pub fn kind(&self) -> &'static str {
        match self.settings {
            Settings::Record => "record",
            Settings::Webhook(_) => "webhook",
            Settings::Slack(_) => "slack",
            Settings::Email(_) => "email",
            Settings::PagerDuty(_) => "pagerduty",
            Settings::Teams(_) => "msteams",
            Settings::TeamsV2(_) => "msteamsv2",
            Settings::OpsGenie(_) => "opsgenie",
        }
    }
}

/// What a way to notify needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Settings {
    /// Nothing is sent: the notification is in the history and that is all.
    Record,
    Webhook(Webhook),
    Slack(Box<Slack>),
    Email(Box<Email>),
    PagerDuty(Box<PagerDuty>),
    Teams(Teams),
    TeamsV2(Teams),
    OpsGenie(Box<OpsGenie>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Webhook {
    pub(crate) http: HttpSettings,
    pub(crate) url: SecretSource,
    pub(crate) max_alerts: usize,
    pub(crate) timeout: Duration,
    /// Sent in place of the payload of version 4; every text in it is a template.
    pub(crate) payload: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slack {
    pub(crate) http: HttpSettings,
    pub(crate) url: SecretSource,
    pub(crate) timeout: Duration,
    pub(crate) message: SlackMessage,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PagerDuty {
    pub(crate) http: HttpSettings,
    pub(crate) key: SecretSource,
    pub(crate) url: String,
    pub(crate) timeout: Duration,
    pub(crate) event: PagerDutyEvent,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Teams {
    pub(crate) http: HttpSettings,
    pub(crate) url: SecretSource,
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpsGenie {
    pub(crate) http: HttpSettings,
    pub(crate) key: SecretSource,
    pub(crate) url: String,
    pub(crate) alert: OpsGenieAlert,
}

macro_rules! written {
    ($(#[$attribute:meta])* $name:ident { $($(#[$of:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name { $($(#[$of])* pub(crate) $field: $kind),* }
    };
}

written!(SlackField { title: String, value: String, short: Option<bool> });
written!(SlackConfirm { title: String, text: String, ok_text: String, dismiss_text: String });
written!(SlackAction {
    #[serde(rename = "type")] kind: String,
    text: String, url: String, style: String, name: String, value: String, confirm: Option<SlackConfirm>,
});
written!(SlackMessage {
    channel: String, username: Option<String>, color: Option<String>, title: Option<String>, title_link: Option<String>,
    pretext: Option<String>, text: Option<String>, fields: Vec<SlackField>, short_fields: bool, footer: Option<String>,
    fallback: Option<String>, callback_id: Option<String>, icon_emoji: Option<String>, icon_url: Option<String>,
    image_url: String, thumb_url: String, link_names: bool, mrkdwn_in: Vec<String>, actions: Vec<SlackAction>,
});
written!(PagerDutyLink { href: String, text: String });
written!(PagerDutyImage { src: String, alt: String, href: String });
written!(PagerDutyEvent {
    client: Option<String>, client_url: Option<String>, description: Option<String>, details: BTreeMap<String, String>,
    images: Vec<PagerDutyImage>, links: Vec<PagerDutyLink>, source: String, severity: String, class: String,
    component: String, group: String,
});
written!(OpsGenieResponder {
    id: String,
    name: String,
    username: String,
    #[serde(rename = "type")]
    kind: String,
});
written!(OpsGenieAlert {
    message: Option<String>, description: Option<String>, source: Option<String>, details: BTreeMap<String, String>,
    entity: String, responders: Vec<OpsGenieResponder>, tags: String, note: String, priority: String,
    update_alerts: bool, actions: String,
});

/// A receiver as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenReceiver {
    pub(super) name: String,
    #[serde(deserialize_with = "nullable")]
    webhook_configs: Vec<WrittenWebhook>,
    #[serde(deserialize_with = "nullable")]
    slack_configs: Vec<WrittenSlack>,
    #[serde(deserialize_with = "nullable")]
    email_configs: Vec<WrittenEmail>,
    #[serde(deserialize_with = "nullable")]
    pagerduty_configs: Vec<WrittenPagerDuty>,
    #[serde(deserialize_with = "nullable")]
    msteams_configs: Vec<WrittenTeams>,
    #[serde(deserialize_with = "nullable")]
    msteamsv2_configs: Vec<WrittenTeams>,
    #[serde(deserialize_with = "nullable")]
    opsgenie_configs: Vec<WrittenOpsGenie>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenWebhook {
    send_resolved: Option<bool>,
    http_config: Option<WrittenHttp>,
    url: Option<Secret>,
    url_file: Option<String>,
    max_alerts: usize,
    timeout: Option<Span>,
    payload: Option<Value>,
}

macro_rules! with_message {
    ($name:ident, $message:ident { $($own:ident: $own_kind:ty),* $(,)? }) => {
        /// The message's fields stand beside the others in the file.
        #[derive(Clone, Debug, Default)]
        struct $name { $($own: Option<$own_kind>,)* message: $message }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let mut fields = BTreeMap::<String, Value>::deserialize(from)?;
                fields.values_mut().for_each(numbers_to_texts);
                $(let $own = match fields.remove(stringify!($own)) {
                    None | Some(Value::Null) => None,
                    Some(value) => Some(read::<$own_kind, D::Error>(stringify!($own), value)?),
                };)*
                let rest = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
                let message = serde_json::from_value(Value::Object(rest)).map_err(serde::de::Error::custom)?;
                Ok(Self { $($own,)* message })
            }
        }
    };
}

/// As in YAML for Go, a number is taken where a text is expected; none of these sections wants a number.
pub(super) fn numbers_to_texts(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.to_string().into(),
        Value::Array(items) => items.iter_mut().for_each(numbers_to_texts),
        Value::Object(entries) => entries.values_mut().for_each(numbers_to_texts),
        _ => {}
    }
}

fn read<T: serde::de::DeserializeOwned, E: serde::de::Error>(name: &str, value: Value) -> Result<T, E> {
    serde_json::from_value(value).map_err(|error| E::custom(format!("{name}: {error}")))
}

with_message!(
    WrittenSlack,
    SlackMessage {
        send_resolved: bool,
        http_config: WrittenHttp,
        api_url: Secret,
        api_url_file: String,
        timeout: Span,
    }
);
with_message!(
    WrittenPagerDuty,
    PagerDutyEvent {
        send_resolved: bool,
        http_config: WrittenHttp,
        service_key: Secret,
        service_key_file: String,
        routing_key: Secret,
        routing_key_file: String,
        url: HttpUrl,
        timeout: Span,
    }
);
with_message!(
    WrittenOpsGenie,
    OpsGenieAlert {
        send_resolved: bool,
        http_config: WrittenHttp,
        api_key: Secret,
        api_key_file: String,
        api_url: HttpUrl,
    }
);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenTeams {
    send_resolved: Option<bool>,
    http_config: Option<WrittenHttp>,
    webhook_url: Option<Secret>,
    webhook_url_file: Option<String>,
    title: Option<String>,
    summary: Option<String>,
    text: Option<String>,
}

/// Where what is missing comes from.
pub(super) struct Defaults<'a> {
    pub(super) global: &'a Global,
    pub(super) folder: &'a Path,
}

pub(super) type Built = Result<(bool, Settings), String>;

impl WrittenReceiver {
    pub(super) fn settle(self, defaults: &Defaults<'_>) -> Result<Receiver, String> {
        let mut integrations = Vec::new();
        let mut add = |kind: &str, all: Vec<Built>| -> Result<(), String> {
            for (index, built) in all.into_iter().enumerate() {
                let (send_resolved, settings) = built.map_err(|problem| format!("{kind}[{index}]: {problem}"))?;
                integrations.push(Integration { index, send_resolved, settings });
            }
            Ok(())
        };
        let of = |teams: Vec<WrittenTeams>, v2| teams.into_iter().map(|one| one.settle(defaults, v2)).collect();
        add("webhook_configs", self.webhook_configs.into_iter().map(|one| one.settle(defaults)).collect())?;
        add("email_configs", self.email_configs.into_iter().map(|one| one.settle(defaults)).collect())?;
        add("pagerduty_configs", self.pagerduty_configs.into_iter().map(|one| one.settle(defaults)).collect())?;
        add("opsgenie_configs", self.opsgenie_configs.into_iter().map(|one| one.settle(defaults)).collect())?;
        add("slack_configs", self.slack_configs.into_iter().map(|one| one.settle(defaults)).collect())?;
        add("msteams_configs", of(self.msteams_configs, false))?;
        add("msteamsv2_configs", of(self.msteamsv2_configs, true))?;
        if integrations.is_empty() {
            integrations.push(Integration { index: 0, send_resolved: true, settings: Settings::Record });
        }
        Ok(Receiver { name: self.name, integrations })
    }
}

impl Defaults<'_> {
    fn http(&self, own: Option<WrittenHttp>) -> Result<HttpSettings, String> {
        own.map_or_else(|| Ok(self.global.http.clone()), |own| own.settle(self.folder))
    }

    /// A secret that is a URL: of its own, or the global one.
    fn url(&self, name: &str, inline: Option<Secret>, file: Option<String>) -> Result<Option<SecretSource>, String> {
        if let Some(Secret(url)) = &inline {
            check_url(url).map_err(|problem| format!("{name}: {problem}"))?;
        }
        SecretSource::choose(name, inline, file, self.folder)
    }
}

impl WrittenWebhook {
    fn settle(self, defaults: &Defaults<'_>) -> Built {
        let url = defaults.url("url", self.url, self.url_file)?;
        let webhook = Webhook {
            http: defaults.http(self.http_config)?,
            url: url.ok_or("one of url or url_file must be configured")?,
            max_alerts: self.max_alerts,
            timeout: self.timeout.map_or(Duration::ZERO, |timeout| timeout.0),
            payload: self.payload,
        };
        Ok((self.send_resolved.unwrap_or(true), Settings::Webhook(webhook)))
    }
}

impl WrittenSlack {
    fn settle(self, defaults: &Defaults<'_>) -> Built {
        let own = defaults.url("api_url", self.api_url, self.api_url_file)?;
        let url = own.or_else(|| defaults.global.slack_api_url.clone());
        for field in &self.message.fields {
            if field.title.is_empty() || field.value.is_empty() {
                return Err("missing title or value in Slack field configuration".into());
            }
        }
        for action in &self.message.actions {
            if action.kind.is_empty() || action.text.is_empty() || (action.url.is_empty() && action.name.is_empty()) {
                return Err("an action needs type, text, and either url or name".into());
            }
        }
        let slack = Slack {
            http: defaults.http(self.http_config)?,
            url: url.ok_or("no global Slack API URL set either inline or in a file")?,
            timeout: self.timeout.map_or(Duration::ZERO, |timeout| timeout.0),
            message: self.message,
        };
        Ok((self.send_resolved.unwrap_or(false), Settings::Slack(Box::new(slack))))
    }
}

impl WrittenPagerDuty {
    fn settle(self, defaults: &Defaults<'_>) -> Built {
        let routing = SecretSource::choose("routing_key", self.routing_key, self.routing_key_file, defaults.folder)?;
        let service = SecretSource::choose("service_key", self.service_key, self.service_key_file, defaults.folder)?;
        if routing.is_none() && service.is_some() {
            return Err(
                "service_key is of PagerDuty's old API; give routing_key of an Events API v2 integration".into()
            );
        }
        let pagerduty = PagerDuty {
            http: defaults.http(self.http_config)?,
            key: routing.ok_or("missing service or routing key in PagerDuty config")?,
            url: self.url.map_or_else(|| defaults.global.pagerduty_url.clone(), |url| url.0),
            timeout: self.timeout.map_or(Duration::ZERO, |timeout| timeout.0),
            event: self.message,
        };
        Ok((self.send_resolved.unwrap_or(true), Settings::PagerDuty(Box::new(pagerduty))))
    }
}

impl WrittenTeams {
    fn settle(self, defaults: &Defaults<'_>, is_v2: bool) -> Built {
        let url = defaults.url("webhook_url", self.webhook_url, self.webhook_url_file)?;
        let kind = if is_v2 { "msteamsv2" } else { "msteams" };
        let default = |part: &str| format!("{{{{ template \"{kind}.default.{part}\" . }}}}");
        if is_v2 && self.summary.is_some() {
            return Err("unknown field summary; msteamsv2_configs has title and text".into());
        }
        let teams = Teams {
            http: defaults.http(self.http_config)?,
            url: url.ok_or("one of webhook_url or webhook_url_file must be configured")?,
            title: self.title.unwrap_or_else(|| default("title")),
            summary: self.summary.unwrap_or_else(|| if is_v2 { String::new() } else { default("summary") }),
            text: self.text.unwrap_or_else(|| default("text")),
        };
        let settings = if is_v2 { Settings::TeamsV2(teams) } else { Settings::Teams(teams) };
        Ok((self.send_resolved.unwrap_or(true), settings))
    }
}

impl WrittenOpsGenie {
    fn settle(self, defaults: &Defaults<'_>) -> Built {
        let own = SecretSource::choose("api_key", self.api_key, self.api_key_file, defaults.folder)?;
        let key = own.or_else(|| defaults.global.opsgenie_api_key.clone());
        for responder in &self.message.responders {
            if responder.id.is_empty() && responder.username.is_empty() && responder.name.is_empty() {
                return Err("a responder has to have at least one of id, username or name specified".into());
            }
        }
        let opsgenie = OpsGenie {
            http: defaults.http(self.http_config)?,
            key: key.ok_or("no global OpsGenie API Key set either inline or in a file")?,
            url: self.api_url.map_or_else(|| defaults.global.opsgenie_api_url.clone(), |url| url.0),
            alert: self.message,
        };
        Ok((self.send_resolved.unwrap_or(true), Settings::OpsGenie(Box::new(opsgenie))))
    }
}
