//! Receivers: from a notification to what goes over the network.

mod chat;
mod email;
mod external;
mod fetch;
mod http;
mod pager;
mod policy;
#[cfg(test)]
mod tests;
mod text;
mod tls;
mod token;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::Value;
use trivium_model::StateError;

use crate::config::{Config, ConfigError, HttpSettings, Settings};
use crate::engine::{Outcome, SendJob};
use crate::notifier::{Deliver, Notifier, Surroundings};

pub use external::{ExternalAlertmanager, ExternalSender};
pub use fetch::FetchRequest;
pub use policy::{Network, OutgoingPolicy, Refused};
use text::{Templates, Texts};

/// The least time for an attempt.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Bytes of one request.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a receiver is told with.
#[derive(Clone, Debug)]
pub(crate) struct Senders {
    templates: Templates,
    network: http::Network,
}

impl Notifier {
    /// Opens the notifier on what was kept. `external_url` is where people reach us. Nothing is sent before [`Notifier::run`].
    pub async fn new(
        config: Config,
        external_url: &str,
        policy: OutgoingPolicy,
        surroundings: Surroundings,
    ) -> Result<Self, OpenError> {
        let deliver = Senders::new(&config, external_url, policy)?;
        Ok(Self::open(Arc::new(config), Arc::new(deliver), surroundings).await?)
    }

    /// Whether a configuration could be taken: an error when a template is wrong.
    pub fn check(config: &Config, external_url: &str) -> Result<(), ConfigError> {
        Templates::new(config, external_url).map(drop)
    }

    /// Takes another configuration, all of it or, when a template is wrong, nothing.
    pub fn reload(&self, config: Config, external_url: &str, policy: OutgoingPolicy) -> Result<(), ConfigError> {
        let deliver = Senders::new(&config, external_url, policy)?;
        self.replace(Arc::new(config), Arc::new(deliver));
        Ok(())
    }
}

/// Why the notifier could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A template is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state could not be read.
    #[error("the state of notifications could not be read: {0}")]
    State(#[from] StateError),
}

struct Call<'a> {
    http: &'a HttpSettings,
    url: String,
    headers: HeaderMap,
    body: Value,
    timeout: Duration,
}

impl Senders {
    pub(crate) fn new(config: &Config, external_url: &str, policy: OutgoingPolicy) -> Result<Self, ConfigError> {
        Ok(Self { templates: Templates::new(config, external_url)?, network: http::Network::new(policy) })
    }

    /// What goes over HTTP.
    async fn call<'a>(&self, job: &'a SendJob, texts: &Texts<'_>) -> Result<Call<'a>, String> {
        let mut headers = HeaderMap::new();
        let notification = &job.notification;
        let (http, url, body, timeout) = match &job.integration.settings {
            Settings::Webhook(to) => {
                let body = match &to.payload {
                    Some(payload) => custom(payload, texts)?,
                    None => webhook::payload(notification, to.max_alerts, self.templates.external_url()),
                };
                (&to.http, texts.text(&to.url.reveal().await?)?, body, to.timeout)
            }
            Settings::Slack(to) => (&to.http, to.url.reveal().await?, chat::slack(&to.message, texts)?, to.timeout),
            Settings::PagerDuty(to) => {
                let key = to.key.reveal().await?;
                let body = pager::pagerduty(to, &key, notification, texts)?;
                (&to.http, to.url.clone(), body, to.timeout)
            }
            Settings::Teams(to) => (&to.http, to.url.reveal().await?, chat::teams(to, texts)?, Duration::ZERO),
            Settings::TeamsV2(to) => (&to.http, to.url.reveal().await?, chat::teams_v2(to, texts)?, Duration::ZERO),
            Settings::OpsGenie(to) => {
                let (path, body) = pager::opsgenie(&to.alert, notification, texts)?;
                let key = texts.text(&to.key.reveal().await?)?;
                headers.insert(AUTHORIZATION, http::secret_header(&format!("GenieKey {key}"))?);
                (&to.http, format!("{}/{path}", to.url.trim_end_matches('/')), body, Duration::ZERO)
            }
            Settings::Record | Settings::Email(_) => return Err("this receiver is not asked over HTTP".into()),
        };
        Ok(Call { http, url, headers, body, timeout })
    }
}

/// A payload of the configuration's own: a mapping of templates, or a template that makes JSON.
fn custom(payload: &Value, texts: &Texts<'_>) -> Result<Value, String> {
    match payload {
        Value::String(template) => {
            let text = texts.text(template)?;
            serde_json::from_str(&text).map_err(|error| format!("payload: not JSON once expanded: {error}"))
        }
        other => texts.all(other),
    }
}

#[async_trait]
impl Deliver for Senders {
    async fn deliver(&self, job: &SendJob, timeout: Duration) -> Outcome {
        let timeout = timeout.max(TIMEOUT_MIN);
        let texts = self.templates.of(&job.notification);
        let attempt = async {
            if let Settings::Email(to) = &job.integration.settings {
                return email::send(to, &job.notification, &texts, &self.network.policy, timeout).await;
            }
            let call = match self.call(job, &texts).await {
                Ok(call) => call,
                Err(problem) => return Outcome::Permanent(problem),
            };
            let own = if call.timeout.is_zero() { timeout } else { call.timeout.min(timeout) };
            let body = call.body.to_string().into_bytes();
            if body.len() > BODY_BYTES_MAX {
                let problem = format!("the notification has {} bytes; at most {BODY_BYTES_MAX} are sent", body.len());
                return Outcome::Permanent(problem);
            }
            let (settings, url) = (call.http, call.url.as_str());
            let request =
                http::Request { settings, method: Method::POST, url, headers: call.headers, body, timeout: own };
            http::send(request, &self.network).await
        };
        match tokio::time::timeout(timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Transient { problem: format!("no answer within {timeout:?}"), after: None },
        }
    }
}
