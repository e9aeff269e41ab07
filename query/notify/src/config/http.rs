//! `http_config`: what is shown to be let in, and how the connection is made.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use reqwest::header::{HeaderName, HeaderValue};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::tls::{TlsSettings, WrittenTls};
use super::value::{Secret, SecretSource, check_url, nullable};

/// Headers that one may not write by hand: they are made here, or would change what a request is.
const RESERVED_HEADERS: [&str; 9] = [
    "authorization",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "user-agent",
    "accept-encoding",
    "proxy-authorization",
];

const NO_PROXY: &str = "proxies are not supported: the address that is asked must be the one that was checked; \
                        remove the key, and allow the receiver's own address";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenHttp {
    #[serde(deserialize_with = "section")]
    basic_auth: Option<WrittenBasic>,
    #[serde(deserialize_with = "section")]
    authorization: Option<WrittenAuthorization>,
    #[serde(deserialize_with = "section")]
    oauth2: Option<WrittenOauth2>,
    bearer_token: Option<Secret>,
    bearer_token_file: Option<String>,
    #[serde(deserialize_with = "nullable")]
    tls_config: WrittenTls,
    #[serde(deserialize_with = "nullable")]
    http_headers: BTreeMap<String, WrittenHeader>,
    proxy_url: Option<Secret>,
    // Taken as Alertmanager has them; no proxy is ever used.
    no_proxy: Option<IgnoredAny>,
    proxy_connect_header: Option<IgnoredAny>,
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
struct WrittenOauth2 {
    client_id: String,
    client_secret: Option<Secret>,
    client_secret_file: Option<String>,
    #[serde(deserialize_with = "nullable")]
    scopes: Vec<String>,
    token_url: Secret,
    #[serde(deserialize_with = "nullable")]
    endpoint_params: BTreeMap<String, Secret>,
    #[serde(deserialize_with = "nullable")]
    tls_config: WrittenTls,
    proxy_url: Option<Secret>,
    no_proxy: Option<IgnoredAny>,
    proxy_connect_header: Option<IgnoredAny>,
    proxy_from_environment: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenHeader {
    #[serde(deserialize_with = "nullable")]
    values: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    secrets: Vec<Secret>,
    #[serde(deserialize_with = "nullable")]
    files: Vec<String>,
}

/// How a server is asked over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HttpSettings {
    pub(crate) auth: Option<Auth>,
    pub(crate) tls: TlsSettings,
    /// Further headers; several values of a name are several headers.
    pub(crate) headers: Vec<(HeaderName, SecretSource)>,
}

/// What is shown to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Basic { username: Option<SecretSource>, password: Option<SecretSource> },
    Scheme { scheme: String, credentials: SecretSource },
    Oauth2(Box<Oauth2>),
}

/// Where tokens come from, with the grant of client credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Oauth2 {
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<SecretSource>,
    pub(crate) scopes: Vec<String>,
    /// May have a name and a password in it.
    pub(crate) token_url: Secret,
    pub(crate) params: Vec<(String, Secret)>,
    pub(crate) tls: TlsSettings,
}

impl WrittenHttp {
    pub(super) fn settle(self, folder: &Path) -> Result<HttpSettings, String> {
        if self.proxy_from_environment || self.proxy_url.is_some_and(|url| !url.0.is_empty()) {
            return Err(NO_PROXY.into());
        }
        let bearer = SecretSource::choose("bearer_token", self.bearer_token, self.bearer_token_file, folder)?;
        let given = [self.basic_auth.is_some(), self.authorization.is_some(), self.oauth2.is_some(), bearer.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err("at most one of basic_auth, authorization, oauth2 & bearer_token must be configured".into());
        }
        let mut auth = bearer.map(|credentials| Auth::Scheme { scheme: "Bearer".into(), credentials });
        if let Some(basic) = self.basic_auth {
            auth = Some(Auth::Basic {
                username: SecretSource::choose("username", basic.username, basic.username_file, folder)?,
                password: SecretSource::choose("password", basic.password, basic.password_file, folder)?,
            });
        }
        if let Some(written) = self.authorization {
            auth = written.settle(folder)?;
        }
        if let Some(written) = self.oauth2 {
            let oauth2 = written.settle(folder).map_err(|problem| format!("oauth2: {problem}"))?;
            auth = Some(Auth::Oauth2(Box::new(oauth2)));
        }
        let tls = http_tls(self.tls_config, folder)?;
        Ok(HttpSettings { auth, tls, headers: headers(self.http_headers, folder)? })
    }
}

impl WrittenAuthorization {
    fn settle(self, folder: &Path) -> Result<Option<Auth>, String> {
        let scheme = self.scheme.map(|scheme| scheme.trim().to_owned()).filter(|scheme| !scheme.is_empty());
        let scheme = scheme.unwrap_or_else(|| "Bearer".into());
        if scheme.eq_ignore_ascii_case("basic") {
            return Err("authorization type cannot be set to \"basic\", use \"basic_auth\" instead".into());
        }
        let credentials = SecretSource::choose("credentials", self.credentials, self.credentials_file, folder)?;
        Ok(credentials.map(|credentials| Auth::Scheme { scheme, credentials }))
    }
}

impl WrittenOauth2 {
    fn settle(self, folder: &Path) -> Result<Oauth2, String> {
        if self.proxy_from_environment || self.proxy_url.is_some_and(|url| !url.0.is_empty()) {
            return Err(NO_PROXY.into());
        }
        if self.client_id.is_empty() {
            return Err("missing client_id".into());
        }
        if self.token_url.0.is_empty() {
            return Err("missing token_url".into());
        }
        check_url(&self.token_url.0).map_err(|problem| format!("token_url: {problem}"))?;
        Ok(Oauth2 {
            client_id: self.client_id,
            client_secret: SecretSource::choose("client_secret", self.client_secret, self.client_secret_file, folder)?,
            scopes: self.scopes,
            token_url: self.token_url,
            params: self.endpoint_params.into_iter().collect(),
            tls: http_tls(self.tls_config, folder)?,
        })
    }
}

/// Over HTTP another name of the server is the name that is sent to it, and an address cannot be sent as a name.
fn http_tls(written: WrittenTls, folder: &Path) -> Result<TlsSettings, String> {
    let tls = written.settle(folder)?;
    if let Some(name) = &tls.server_name {
        let is_name = rustls::pki_types::DnsName::try_from(name.as_str()).is_ok();
        if !is_name || name.ends_with('.') {
            return Err(format!("tls_config.server_name: {name:?} is not a name such as alerts.example.org"));
        }
    }
    Ok(tls)
}

fn headers(written: BTreeMap<String, WrittenHeader>, folder: &Path) -> Result<Vec<(HeaderName, SecretSource)>, String> {
    let mut all = Vec::new();
    for (name, header) in written {
        let error = |problem: &str| format!("http_headers: {name:?} {problem}");
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| error("is not the name of a header"))?;
        if RESERVED_HEADERS.contains(&parsed.as_str()) {
            return Err(error("is set by Trivium; use authorization or basic_auth for credentials"));
        }
        for text in header.values.into_iter().map(Secret).chain(header.secrets) {
            HeaderValue::from_str(&text.0).map_err(|_| error("has a value that does not fit a header"))?;
            all.push((parsed.clone(), SecretSource::Inline(text)));
        }
        let files = header.files.into_iter().map(|file| (parsed.clone(), SecretSource::File(folder.join(file))));
        all.extend(files);
    }
    Ok(all)
}

/// A section in which secrets are expected: what stands there instead of a mapping may be one, and is not shown.
fn section<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    struct Visitor<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
        type Value = Option<T>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a mapping")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Some)
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(E::custom("a mapping is expected here, and a text was found"))
        }
    }

    from.deserialize_any(Visitor(std::marker::PhantomData))
}
