//! Logging in at an OpenID provider: authorization code with PKCE (S256), state and nonce.
//!
//! What a login needs between its two requests is in memory, for ten minutes and one use. A cookie ties it to the browser that
//! began it: nobody can have another log in as himself.

mod provider;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use subtle::ConstantTimeEq;
use trivium_model::{Clock, UnixNanos};

use crate::authenticator::verify;
use crate::config::OidcConfig;
use crate::error::Error;
use crate::fetch::HttpClient;
use crate::jwt::{Claims, Expected, Refusal, Unverified};
use crate::secret::{Digest, SECRET_CHARS, Secret, random_text};
use provider::Provider;

/// How long somebody may take at the provider.
pub(crate) const LOGIN_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Logins under way. Beginning one costs nothing, so that a flood pushes out the oldest.
const PENDING_MAX: usize = 4_096;

/// Bytes of what the browser brings back.
const CODE_BYTES_MAX: usize = 4 * 1024;

/// Bytes of the path that a login returns to.
const RETURN_BYTES_MAX: usize = 1_024;

#[derive(Clone, Debug)]
struct Pending {
    nonce: String,
    verifier: Secret,
    return_to: String,
    begun: UnixNanos,
}

/// A login that was begun: where the browser is sent, and what its cookie holds.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) location: String,
    pub(crate) state: String,
}

/// A login that succeeded.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) claims: Claims,
    pub(crate) return_to: String,
}

#[derive(Debug)]
pub(crate) struct Oidc {
    pub(crate) config: OidcConfig,
    provider: Provider,
    clock: Arc<dyn Clock>,
    /// By the hash of the state.
    pending: Mutex<HashMap<Digest, Pending>>,
}

impl Oidc {
    pub(crate) fn new(config: OidcConfig, client: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        let provider = Provider::new(config.clone(), client, Arc::clone(&clock));
        Self { config, provider, clock, pending: Mutex::default() }
    }

    /// Begins a login.
    pub(crate) async fn begin(&self, return_to: Option<&str>) -> Result<Begun, Error> {
        let endpoints = self.provider.endpoints().await?;
        let (state, nonce, verifier) =
            (random_text(SECRET_CHARS)?, random_text(SECRET_CHARS)?, random_text(SECRET_CHARS)?);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let scope = std::iter::once("openid").chain(self.config.scopes.iter().map(String::as_str));
        let mut query = Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &self.config.redirect_url)
            .append_pair("scope", &scope.collect::<Vec<_>>().join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let separator = if endpoints.authorization_endpoint.contains('?') { '&' } else { '?' };
        let location = format!("{}{separator}{}", endpoints.authorization_endpoint, query.finish());
        let return_to = return_path(return_to).to_owned();
        let pending = Pending { nonce, verifier: Secret::new(verifier), return_to, begun: self.clock.now() };
        self.remember(Digest::of(state.as_bytes()), pending);
        Ok(Begun { location, state })
    }

    fn remember(&self, state: Digest, begun: Pending) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= PENDING_MAX {
            pending.retain(|_, one| begun.begun.since(one.begun) < LOGIN_TIMEOUT);
        }
        if pending.len() >= PENDING_MAX
            && let Some(oldest) = pending.iter().min_by_key(|(_, one)| one.begun).map(|(state, _)| *state)
        {
            pending.remove(&oldest);
        }
        pending.insert(state, begun);
    }

    /// Ends a login with what the browser brought back from the provider, and the state in its cookie.
    pub(crate) async fn end(&self, code: &str, state: &str, cookie: Option<Secret>) -> Result<Ended, Error> {
        let again = |what: &str| Error::Unauthenticated { message: format!("{what}; log in again") };
        let is_same = |cookie: Secret| bool::from(cookie.reveal().as_bytes().ct_eq(state.as_bytes()));
        if !cookie.is_some_and(is_same) {
            return Err(again("this login was not begun in this browser"));
        }
        let taken = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.remove(&Digest::of(state.as_bytes()))
        };
        let live = taken.filter(|login| self.clock.now().since(login.begun) < LOGIN_TIMEOUT);
        let login = live.ok_or_else(|| again("this login has been used or took too long"))?;
        if code.is_empty() || code.len() > CODE_BYTES_MAX {
            return Err(again("the provider sent no code"));
        }
        let token = self.provider.exchange(code, &login.verifier).await?;
        let claims = self.verify(token.reveal(), &login.nonce).await?;
        let claims = claims.map_err(|refusal| {
            tracing::warn!(%refusal, issuer = self.config.issuer, "the ID token of a login was refused");
            again("what the provider says of you was not accepted")
        })?;
        Ok(Ended { claims, return_to: login.return_to })
    }

    async fn verify(&self, token: &str, nonce: &str) -> Result<Result<Claims, Refusal>, Error> {
        let unverified = match Unverified::parse(token) {
            Ok(unverified) => unverified,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let keys = self.provider.keys().await?;
        let (issuer, audience) = (self.config.issuer.as_str(), self.config.client_id.as_str());
        let expected = Expected { issuer, audience, now: self.clock.now() };
        let verified = verify(token, unverified, &keys, &expected).await?;
        Ok(verified.and_then(|claims| check_login(claims, audience, nonce)))
    }
}

/// What OpenID Connect asks of an ID token beyond what holds for every web token.
fn check_login(claims: Claims, client_id: &str, nonce: &str) -> Result<Claims, Refusal> {
    let text = |name: &str| claims.all.get(name).and_then(Value::as_str);
    if !text("nonce").is_some_and(|found| found.as_bytes().ct_eq(nonce.as_bytes()).into()) {
        return Err(Refusal::Nonce);
    }
    let has_many = claims.all.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
    match text("azp") {
        Some(party) if party != client_id => Err(Refusal::Audience),
        None if has_many => Err(Refusal::Audience),
        _ => Ok(claims),
    }
}

/// Where a login returns to: a path of ours. What browsers could take for another server is not one.
fn return_path(asked: Option<&str>) -> &str {
    let is_path = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.len() <= RETURN_BYTES_MAX
            && path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\')
    };
    asked.filter(is_path).unwrap_or("/")
}
