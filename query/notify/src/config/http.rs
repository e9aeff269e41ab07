//! `http_config` and `tls_config`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::value::{Secret, SecretSource, nullable};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenHttp {
    basic_auth: Option<WrittenBasic>,
    authorization: Option<WrittenAuthorization>,
    bearer_token: Option<Secret>,
    bearer_token_file: Option<String>,
    #[serde(deserialize_with = "nullable")]
    tls_config: WrittenTls,
    proxy_url: Option<String>,
    // Taken as Alertmanager has it; no proxy is ever used.
    no_proxy: Option<String>,
    proxy_from_environment: bool,
    // Taken as Alertmanager has it; redirects are never followed.
    follow_redirects: Option<bool>,
    // Taken as Alertmanager has it; HTTP/1.1 is spoken.
    enable_http2: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenBasic {
    username: Option<Secret>,
    username_file: Option<String>,
    password: Option<Secret>,
    password_file: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenAuthorization {
    #[serde(rename = "type")]
    scheme: Option<String>,
    credentials: Option<Secret>,
    credentials_file: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenTls {
    ca_file: String,
    server_name: String,
    insecure_skip_verify: bool,
    min_version: String,
}

/// How a receiver is asked over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HttpSettings {
    pub(crate) auth: Option<Auth>,
    pub(crate) tls: TlsSettings,
}

/// What is shown to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Basic { username: Option<SecretSource>, password: Option<SecretSource> },
    Scheme { scheme: String, credentials: SecretSource },
}

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
    pub(crate) insecure_skip_verify: bool,
}

impl WrittenTls {
    pub(super) fn settle(self, folder: &Path) -> Result<TlsSettings, String> {
        if !matches!(self.min_version.as_str(), "" | "TLS12" | "TLS13" | "TLS10" | "TLS11") {
            return Err(format!("tls_config.min_version: {:?} is not TLS12 or TLS13", self.min_version));
        }
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(TlsSettings {
            ca_file: given(self.ca_file).map(|path| folder.join(path)),
            server_name: given(self.server_name),
            insecure_skip_verify: self.insecure_skip_verify,
        })
    }
}

impl WrittenHttp {
    pub(super) fn settle(self, folder: &Path) -> Result<HttpSettings, String> {
        if self.proxy_from_environment || self.proxy_url.is_some_and(|url| !url.is_empty()) {
            return Err("proxies are not supported: the address that is asked must be the one that was checked".into());
        }
        let bearer = SecretSource::choose("bearer_token", self.bearer_token, self.bearer_token_file, folder)?;
        let given = [self.basic_auth.is_some(), self.authorization.is_some(), bearer.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err("at most one of basic_auth, authorization & bearer_token must be configured".into());
        }
        let mut auth = bearer.map(|credentials| Auth::Scheme { scheme: "Bearer".into(), credentials });
        if let Some(basic) = self.basic_auth {
            auth = Some(Auth::Basic {
                username: SecretSource::choose("username", basic.username, basic.username_file, folder)?,
                password: SecretSource::choose("password", basic.password, basic.password_file, folder)?,
            });
        }
        if let Some(written) = self.authorization {
            let scheme = written.scheme.unwrap_or_else(|| "Bearer".into());
            if scheme.eq_ignore_ascii_case("basic") {
                return Err("authorization type cannot be set to \"basic\", use \"basic_auth\" instead".into());
            }
            let credentials =
                SecretSource::choose("credentials", written.credentials, written.credentials_file, folder)?;
            auth = credentials.map(|credentials| Auth::Scheme { scheme, credentials });
        }
        Ok(HttpSettings { auth, tls: self.tls_config.settle(folder)? })
    }
}
