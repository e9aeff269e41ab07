//! `email_configs`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::receiver::{Built, Defaults, Settings};
use super::tls::{TlsSettings, TlsVersions, WrittenTls};
use super::value::{Secret, SecretSource};

/// Where mail goes, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Email {
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) hello: Option<String>,
    pub(crate) smarthost: (String, u16),
    pub(crate) auth_username: String,
    pub(crate) auth_password: Option<SecretSource>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) html: String,
    pub(crate) text: String,
    pub(crate) require_tls: bool,
    pub(crate) implicit_tls: bool,
    pub(crate) tls: TlsSettings,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenEmail {
    send_resolved: Option<bool>,
    to: String,
    from: Option<String>,
    hello: Option<String>,
    smarthost: Option<String>,
    auth_username: Option<String>,
    auth_password: Option<Secret>,
    auth_password_file: Option<String>,
    // Taken as Alertmanager has it; PLAIN and LOGIN need none.
    auth_identity: Option<String>,
    auth_secret: Option<Secret>,
    auth_secret_file: Option<String>,
    headers: BTreeMap<String, String>,
    html: Option<String>,
    text: Option<String>,
    require_tls: Option<bool>,
    #[serde(alias = "force_implicit_tls")]
    implicit_tls: Option<bool>,
    tls_config: Option<WrittenTls>,
}

impl WrittenEmail {
    pub(super) fn settle(self, defaults: &Defaults<'_>) -> Built {
        let (global, mut headers) = (defaults.global, BTreeMap::new());
        for (name, value) in self.headers {
            if headers.insert(canonical(&name), value).is_some() {
                return Err(format!("duplicate header {:?} in email config", canonical(&name)));
            }
        }
        if self.to.is_empty() {
            return Err("missing to address in email config".into());
        }
        let has_file = self.auth_secret_file.is_some_and(|file| !file.is_empty());
        if has_file || self.auth_secret.is_some_and(|secret| !secret.0.is_empty()) {
            return Err("CRAM-MD5 is not spoken; give auth_password in place of auth_secret".into());
        }
        let own = SecretSource::choose("auth_password", self.auth_password, self.auth_password_file, defaults.folder)?;
        let own_host = self.smarthost.map(|text| smarthost(&text)).transpose()?;
        let host = own_host.or_else(|| global.smtp_smarthost.clone()).ok_or("no global SMTP smarthost set")?;
        let given = |own: Option<String>, default: &Option<String>| own.or_else(|| default.clone());
        let tls = self.tls_config.map(|tls| tls.settle(defaults.folder)).transpose()?;
        let tls = tls.unwrap_or_else(|| global.smtp_tls.clone());
        if tls.versions == TlsVersions::Only12 {
            return Err(
                "tls_config.max_version: mail is sent with TLS 1.3 where the server has it; remove the key".into()
            );
        }
        let email = Email {
            to: self.to,
            from: given(self.from, &global.smtp_from).ok_or("no global SMTP from set")?,
            hello: given(self.hello, &global.smtp_hello),
            implicit_tls: self.implicit_tls.or(global.smtp_implicit_tls).unwrap_or(host.1 == 465),
            smarthost: host,
            auth_username: given(self.auth_username, &global.smtp_auth_username).unwrap_or_default(),
            auth_password: own.or_else(|| global.smtp_auth_password.clone()),
            headers,
            html: self.html.unwrap_or_else(|| "{{ template \"email.default.html\" . }}".into()),
            text: self.text.unwrap_or_default(),
            require_tls: self.require_tls.unwrap_or(global.smtp_require_tls),
            tls,
        };
        Ok((self.send_resolved.unwrap_or(false), Settings::Email(Box::new(email))))
    }
}

pub(super) fn smarthost(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let address = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = address.ok_or_else(|| format!("smarthost: {text:?} is not host:port"))?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// `reply-to` is `Reply-To`.
fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect()
        })
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}
