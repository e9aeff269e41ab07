//! The `global` section: what receivers inherit.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::email::smarthost;
use super::http::{HttpSettings, WrittenHttp};
use super::tls::{TlsSettings, WrittenTls};
use super::value::{HttpUrl, Secret, SecretSource, Span, check_url, nullable};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenGlobal {
    resolve_timeout: Option<Span>,
    #[serde(deserialize_with = "nullable")]
    http_config: WrittenHttp,
    smtp_from: Option<String>,
    smtp_hello: Option<String>,
    smtp_smarthost: Option<String>,
    smtp_auth_username: Option<String>,
    smtp_auth_password: Option<Secret>,
    smtp_auth_password_file: Option<String>,
    smtp_require_tls: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    smtp_tls_config: WrittenTls,
    smtp_force_implicit_tls: Option<bool>,
    slack_api_url: Option<Secret>,
    slack_api_url_file: Option<String>,
    pagerduty_url: Option<HttpUrl>,
    opsgenie_api_url: Option<HttpUrl>,
    opsgenie_api_key: Option<Secret>,
    opsgenie_api_key_file: Option<String>,
    // What Alertmanager writes into every configuration for receivers that we do not have.
    smtp_auth_secret: IgnoredAny,
    smtp_auth_secret_file: IgnoredAny,
    smtp_auth_identity: IgnoredAny,
    wechat_api_url: IgnoredAny,
    wechat_api_secret: IgnoredAny,
    wechat_api_corp_id: IgnoredAny,
    victorops_api_url: IgnoredAny,
    victorops_api_key: IgnoredAny,
    victorops_api_key_file: IgnoredAny,
    telegram_api_url: IgnoredAny,
    webex_api_url: IgnoredAny,
    jira_api_url: IgnoredAny,
    rocketchat_api_url: IgnoredAny,
}

/// What receivers inherit.
#[derive(Clone, Debug)]
pub(super) struct Global {
    pub(super) resolve_timeout: Duration,
    pub(super) http: HttpSettings,
    pub(super) smtp_from: Option<String>,
    pub(super) smtp_hello: Option<String>,
    pub(super) smtp_smarthost: Option<(String, u16)>,
    pub(super) smtp_auth_username: Option<String>,
    pub(super) smtp_auth_password: Option<SecretSource>,
    pub(super) smtp_require_tls: bool,
    pub(super) smtp_tls: TlsSettings,
    pub(super) smtp_implicit_tls: Option<bool>,
    pub(super) slack_api_url: Option<SecretSource>,
    pub(super) pagerduty_url: String,
    pub(super) opsgenie_api_url: String,
    pub(super) opsgenie_api_key: Option<SecretSource>,
}

impl WrittenGlobal {
    pub(super) fn settle(self, folder: &Path) -> Result<Global, String> {
        let url = |url: Option<HttpUrl>, default: &str| url.map_or_else(|| default.to_owned(), |url| url.0);
        let secret = |name: &str, inline, file| SecretSource::choose(name, inline, file, folder);
        if let Some(Secret(url)) = &self.slack_api_url {
            check_url(url).map_err(|problem| format!("slack_api_url: {problem}"))?;
        }
        let hello = self.smtp_hello.filter(|hello| !hello.is_empty());
        let smarthost = self.smtp_smarthost.filter(|text| !text.is_empty()).map(|text| smarthost(&text)).transpose()?;
        Ok(Global {
            resolve_timeout: self.resolve_timeout.map_or(Duration::from_secs(300), |timeout| timeout.0),
            http: self.http_config.settle(folder).map_err(|problem| format!("http_config: {problem}"))?,
            smtp_from: self.smtp_from.filter(|from| !from.is_empty()),
            smtp_hello: hello.or_else(|| Some("localhost".into())),
            smtp_smarthost: smarthost,
            smtp_auth_username: self.smtp_auth_username,
            smtp_auth_password: secret("smtp_auth_password", self.smtp_auth_password, self.smtp_auth_password_file)?,
            smtp_require_tls: self.smtp_require_tls.unwrap_or(true),
            smtp_tls: self.smtp_tls_config.settle(folder).map_err(|problem| format!("smtp_{problem}"))?,
            smtp_implicit_tls: self.smtp_force_implicit_tls,
            slack_api_url: secret("slack_api_url", self.slack_api_url, self.slack_api_url_file)?,
            pagerduty_url: url(self.pagerduty_url, "https://events.pagerduty.com/v2/enqueue"),
            opsgenie_api_url: url(self.opsgenie_api_url, "https://api.opsgenie.com/"),
            opsgenie_api_key: secret("opsgenie_api_key", self.opsgenie_api_key, self.opsgenie_api_key_file)?,
        })
    }
}
