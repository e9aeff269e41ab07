//! What we ask of the provider: its endpoints, its keys, and the token for a code.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use trivium_model::{Clock, UnixNanos};

use crate::config::OidcConfig;
use crate::error::Error;
use crate::fetch::{self, HttpClient, OutgoingRequest, TIMEOUT};
use crate::jwt::keys::{KeySource, Keys};
use crate::secret::Secret;

/// Bytes of a discovery document and of the answer with the token.
const DISCOVERY_BYTES_MAX: usize = 128 * 1024;
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// After this time the document is read again.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// The least time between two attempts to read it.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Endpoints {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Debug, Default)]
struct Discovered {
    endpoints: Option<(Arc<Endpoints>, Arc<Keys>)>,
    read: UnixNanos,
}

#[derive(Debug)]
pub(super) struct Provider {
    config: OidcConfig,
    client: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    discovered: Mutex<Discovered>,
    /// When it was last tried; held while it is.
    tried: tokio::sync::Mutex<Option<UnixNanos>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

impl Provider {
    pub(super) fn new(config: OidcConfig, client: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        Self { config, client, clock, discovered: Mutex::default(), tried: tokio::sync::Mutex::default() }
    }

    pub(super) async fn endpoints(&self) -> Result<Arc<Endpoints>, Error> {
        self.discover().await.map(|(endpoints, _)| endpoints)
    }

    pub(super) async fn keys(&self) -> Result<Arc<Keys>, Error> {
        self.discover().await.map(|(_, keys)| keys)
    }

    async fn discover(&self) -> Result<(Arc<Endpoints>, Arc<Keys>), Error> {
        if let Some(found) = self.found(FRESH) {
            return Ok(found);
        }
        let mut tried = self.tried.lock().await;
        let now = self.clock.now();
        if let Some(found) = self.found(FRESH) {
            return Ok(found);
        }
        if tried.is_none_or(|tried| now.since(tried) >= PAUSE) {
            *tried = Some(now);
            if let Err(problem) = self.read().await {
                tracing::warn!(problem, "the OpenID provider was not found");
            }
        }
        // What was known keeps its worth while the provider cannot be asked.
        let found = self.found(Duration::MAX);
        found.ok_or_else(|| {
            Error::unavailable("the provider of logins cannot be reached, or is not set up as it should be")
        })
    }

    fn found(&self, fresh: Duration) -> Option<(Arc<Endpoints>, Arc<Keys>)> {
        let discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = self.clock.now().since(discovered.read) < fresh;
        discovered.endpoints.clone().filter(|_| is_fresh)
    }

    async fn read(&self) -> Result<(), String> {
        let url = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let bytes = fetch::get(&*self.client, &url, DISCOVERY_BYTES_MAX).await?;
        let endpoints: Endpoints =
            serde_json::from_slice(&bytes).map_err(|error| format!("{url} is no discovery document: {error}"))?;
        // Another issuer's document under this URL would have us take that issuer's tokens.
        if endpoints.issuer != self.config.issuer {
            return Err(format!("{url} is of the issuer {:?}, not {:?}", endpoints.issuer, self.config.issuer));
        }
        let scheme = if self.config.issuer.starts_with("https://") { "https://" } else { "http" };
        let urls = [&endpoints.authorization_endpoint, &endpoints.token_endpoint, &endpoints.jwks_uri];
        if let Some(wrong) = urls.into_iter().find(|url| !url.starts_with(scheme)) {
            return Err(format!("{url} names {wrong}, which is not {scheme}"));
        }
        self.keep(endpoints);
        Ok(())
    }

    /// Keeps the keys that are known, as long as they come from the same place.
    fn keep(&self, endpoints: Endpoints) {
        let mut discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        let known = discovered.endpoints.take().filter(|(known, _)| known.jwks_uri == endpoints.jwks_uri);
        let keys = known.map_or_else(
            || {
                let source = KeySource::Url(endpoints.jwks_uri.clone());
                Keys::new(source, Arc::clone(&self.client), Arc::clone(&self.clock))
            },
            |(_, keys)| keys,
        );
        *discovered = Discovered { endpoints: Some((Arc::new(endpoints), keys)), read: self.clock.now() };
    }

    /// Exchanges the code for an ID token, with the verifier that only we know.
    pub(super) async fn exchange(&self, code: &str, verifier: &Secret) -> Result<Secret, Error> {
        let endpoints = self.endpoints().await?;
        let request = self.token_request(&endpoints, code, verifier)?;
        let answer = fetch::bounded(&*self.client, request).await.map_err(|problem| {
            tracing::warn!(problem, "the OpenID provider did not answer");
            Error::unavailable("the provider of logins did not answer")
        })?;
        match answer.status {
            StatusCode::OK => {
                let parsed = serde_json::from_slice::<TokenAnswer>(&answer.body);
                parsed.map(|answer| Secret::new(answer.id_token)).map_err(|error| {
                    tracing::warn!(%error, "the OpenID provider sent no ID token");
                    Error::Unauthenticated { message: "the provider sent no ID token".into() }
                })
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Error::unavailable(format!("the provider of logins answered {}", status.as_u16())))
            }
            status => {
                let shown: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
                tracing::warn!(status = status.as_u16(), answer = shown, "the OpenID provider refused a code");
                Err(Error::Unauthenticated { message: "the provider did not accept the login; log in again".into() })
            }
        }
    }

    fn token_request(&self, endpoints: &Endpoints, code: &str, verifier: &Secret) -> Result<OutgoingRequest, Error> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.config.redirect_url)
            .append_pair("code_verifier", verifier.reveal());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let methods = &endpoints.token_endpoint_auth_methods_supported;
        let by_form = methods.iter().any(|method| method == "client_secret_post")
            && !methods.iter().any(|method| method == "client_secret_basic");
        match &self.config.client_secret {
            Some(secret) if !by_form => drop(headers.insert(AUTHORIZATION, self.basic(secret)?)),
            secret => {
                form.append_pair("client_id", &self.config.client_id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret.reveal());
                }
            }
        }
        let (url, body) = (endpoints.token_endpoint.clone(), Bytes::from(form.finish()));
        let (timeout, answer_bytes_max) = (TIMEOUT, TOKEN_BYTES_MAX);
        Ok(OutgoingRequest { method: Method::POST, url, headers, body, timeout, answer_bytes_max })
    }

    /// ID and secret as RFC 6749 has them: each encoded as in a form before they are joined.
    fn basic(&self, secret: &Secret) -> Result<HeaderValue, Error> {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&self.config.client_id), encode(secret.reveal()));
        let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)));
        let mut value = value.map_err(|_| Error::unavailable("the client secret does not fit a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
