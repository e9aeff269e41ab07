//! From the credential of a request to a principal.

mod census;
mod session;
#[cfg(test)]
mod tests;
mod validity;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use trivium_model::{Clock, StateStore, TenantId};

use crate::audit::AuditLog;
use crate::config::{AuthConfig, ClaimMapping, Mode};
use crate::cookie::Names;
use crate::error::Error;
use crate::fetch::HttpClient;
use crate::jwt::keys::{KeySource, Keys};
use crate::jwt::{self, Claims, Expected, Refusal, Unverified, claims};
use crate::lockout::Lockout;
use crate::oidc::Oidc;
use crate::password::Passwords;
use crate::principal::{How, Principal};
use crate::role::{Role, Signals};
use crate::secret::{Digest, Secret};
use crate::store::{Credentials, DEFAULT_TENANT, UserRecord};
use crate::telemetry::{AuthMetrics, Credential, Denied, Outcome};
use crate::token;
use crate::verified::Verified;

pub(crate) use session::Entrant;
pub(crate) use validity::Validity;
pub(crate) use validity::{Identity, Proof};

/// Bytes of an `Authorization` header.
const HEADER_BYTES_MAX: usize = 12 * 1024;

/// How long what was found of a password or a web token is believed without verifying it again. A change of users ends it
/// at once.
const BELIEVED: Duration = Duration::from_secs(5 * 60);

/// What the authenticator works with.
#[derive(Clone, Debug)]
pub struct AuthDeps {
    /// Where credentials and the audit log are kept.
    pub store: Arc<dyn StateStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Asks providers of keys and logins.
    pub client: Arc<dyn HttpClient>,
}

/// Knows all credentials, and who may do what.
#[derive(Debug)]
pub struct Authenticator {
    pub(crate) config: AuthConfig,
    pub(crate) credentials: Credentials,
    pub(crate) passwords: Passwords,
    pub(crate) lockout: Lockout,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cookies: Names,
    pub(crate) oidc: Option<Oidc>,
    pub(crate) metrics: AuthMetrics,
    verified: Verified,
    issuers: Vec<Issuer>,
    open: Arc<Principal>,
    /// What the secret of an unknown token is compared with, so that it takes as long.
    nobody: Digest,
}

/// An issuer of web tokens.
#[derive(Debug)]
struct Issuer {
    name: Arc<str>,
    audience: String,
    claims: ClaimMapping,
    keys: Arc<Keys>,
}

impl Authenticator {
    /// Opens it on the credentials that were kept. Refuses a configuration that could not work.
    pub async fn open(config: AuthConfig, deps: AuthDeps) -> Result<Arc<Self>, Error> {
        config.validate()?;
        for url in config.asked_in_plain_text() {
            tracing::warn!(
                url,
                "keys or logins come over plain HTTP: whoever is in between can make credentials of any role"
            );
        }
        let AuthDeps { store, clock, client } = deps;
        let issuers = config.jwt.iter().map(|jwt| {
            let source = match (&jwt.jwks_file, &jwt.jwks_url) {
                (Some(file), _) => KeySource::File(file.clone()),
                (None, url) => KeySource::Url(url.clone().unwrap_or_default()),
            };
            let keys = Keys::new(source, Arc::clone(&client), Arc::clone(&clock));
            let (audience, claims) = (jwt.audience.clone(), jwt.claims.clone());
            Issuer { name: jwt.issuer.as_str().into(), audience, claims, keys }
        });
        let authenticator = Self {
            issuers: issuers.collect(),
            oidc: config.oidc.clone().map(|oidc| Oidc::new(oidc, Arc::clone(&client), Arc::clone(&clock))),
            credentials: Credentials::open(Arc::clone(&store)).await?,
            passwords: Passwords::new(config.password_cost),
            lockout: Lockout::default(),
            audit: Arc::new(AuditLog::new(store, Arc::clone(&clock))),
            cookies: Names::new(config.tls),
            metrics: AuthMetrics::new(),
            verified: Verified::new()?,
            open: Arc::new(open_principal()),
            nobody: Digest([0; 32]),
            clock,
            config,
        };
        authenticator.count(authenticator.clock.now());
        Ok(Arc::new(authenticator))
    }

    /// Whether credentials are asked for.
    pub fn mode(&self) -> Mode {
        self.config.mode
    }

    /// Who a request with these headers comes from.
    pub async fn authenticate(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Arc<Principal>, Error> {
        self.identify(headers, address).await.map(|identity| identity.principal)
    }

    /// The same, and by what it was found.
    pub(crate) async fn identify(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Identity, Error> {
        if self.config.mode == Mode::Open {
            return Ok(Identity { principal: Arc::clone(&self.open), proof: Proof::Open });
        }
        let (credential, result) = self.decide(headers, address).await;
        let outcome = result.as_ref().err().map_or(Outcome::Ok, |denied| denied.outcome);
        self.metrics.request(credential, outcome);
        result.map_err(|denied| denied.error)
    }

    /// What kind of credential there is, and whose.
    async fn decide(&self, headers: &HeaderMap, address: Option<IpAddr>) -> (Credential, Result<Identity, Denied>) {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return self.by_cookie(headers),
            (Some(value), None) if value.len() <= HEADER_BYTES_MAX => value.to_str().ok(),
            _ => None,
        };
        let Some((scheme, credential)) = value.and_then(|value| value.split_once(' ')) else {
            return (Credential::Other, Err(Error::wrong_credentials().into()));
        };
        let credential = credential.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            self.by_bearer(credential).await
        } else if scheme.eq_ignore_ascii_case("basic") {
            // On the heap, as web tokens are: what every request moves around must not have room for what few need.
            Box::pin(self.by_basic(credential, address)).await
        } else {
            (Credential::Other, Err(Error::wrong_credentials().into()))
        }
    }

    async fn by_bearer(&self, credential: &str) -> (Credential, Result<Identity, Denied>) {
        if credential.starts_with(token::PREFIX) {
            (Credential::Token, self.by_token(credential))
        } else if jwt::looks_like(credential) && !self.issuers.is_empty() {
            (Credential::Jwt, Box::pin(self.by_jwt(credential)).await)
        } else {
            (Credential::Other, Err(Error::wrong_credentials().into()))
        }
    }

    /// One hash, one look-up.
    pub(crate) fn by_token(&self, secret: &str) -> Result<Identity, Denied> {
        let id = token::id_of(secret).ok_or_else(Error::wrong_credentials)?;
        let hash = Digest::of(secret.as_bytes());
        let found = self.credentials.with(|index| index.token(id));
        let matches = hash.matches(found.as_ref().map_or(&self.nobody, |token| &token.record.hash));
        let token = found.filter(|_| matches).ok_or_else(Error::wrong_credentials)?;
        let now = self.clock.now();
        if token.record.is_valid(now) {
            token.mark_used(now);
            return Ok(Identity { principal: Arc::clone(&token.principal), proof: Proof::Token(token) });
        }
        let outcome = if token.record.revoked.is_some() { Outcome::Revoked } else { Outcome::Expired };
        Err(Denied::ended(outcome))
    }

    /// A user and password; or any user and a token for a password, as tools can be told that know only these two.
    async fn by_basic(&self, credential: &str, address: Option<IpAddr>) -> (Credential, Result<Identity, Denied>) {
        let key = self.verified.key_of(credential.as_bytes());
        let (now, generation) = (self.clock.now(), self.credentials.with(|index| index.generation()));
        if let Some(identity) = self.verified.find(&key, now, generation) {
            return (Credential::Password, Ok(identity));
        }
        let decoded = STANDARD.decode(credential).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((name, password)) = decoded.as_deref().and_then(|decoded| decoded.split_once(':')) else {
            return (Credential::Password, Err(Error::wrong_credentials().into()));
        };
        if password.starts_with(token::PREFIX) {
            return (Credential::Token, self.by_token(password));
        }
        let found = self.by_password(name, &Secret::new(password), address, How::Password).await;
        let found =
            found.map(|(principal, user)| Identity { principal: Arc::new(principal), proof: Proof::Password(user) });
        if let Ok(identity) = &found {
            self.verified.keep(key, identity.clone(), now.after(BELIEVED), generation);
        }
        (Credential::Password, found.map_err(Denied::from))
    }

    /// Verifies a password. Guessing is slowed down before any work is done. With the principal comes the record whose password
    /// it is: it may have been changed since, and what is to last longer than this request has to look again.
    pub(crate) async fn by_password(
        &self,
        name: &str,
        password: &Secret,
        address: Option<IpAddr>,
        how: How,
    ) -> Result<(Principal, Arc<UserRecord>), Error> {
        let name = crate::manage::user_name(name).unwrap_or_default();
        self.lockout.attempt(&name, address, &*self.clock)?;
        let user = self.credentials.with(|index| index.user(&name));
        let verified = self.passwords.verify(password, user.as_ref().map(|user| &user.password)).await;
        let matches = verified.inspect_err(|_| self.lockout.undecided(&name, address))?;
        match user.filter(|user| matches && !user.disabled) {
            Some(user) => {
                self.lockout.succeeded(&name, address);
                Ok((self.credentials.with(|index| index.principal_of_user(&user, how)), user))
            }
            None => Err(Error::Unauthenticated { message: "the name or the password is wrong".into() }),
        }
    }

    async fn by_jwt(&self, token: &str) -> Result<Identity, Denied> {
        if token.len() > jwt::TOKEN_BYTES_MAX {
            return Err(Error::wrong_credentials().into());
        }
        let key = self.verified.key_of(token.as_bytes());
        let (now, generation) = (self.clock.now(), self.credentials.with(|index| index.generation()));
        if let Some(identity) = self.verified.find(&key, now, generation) {
            return Ok(identity);
        }
        let refused = |refusal: Refusal| {
            tracing::debug!(%refusal, "a web token was refused");
            Denied::ended(if refusal == Refusal::Expired { Outcome::Expired } else { Outcome::Invalid })
        };
        let unverified = Unverified::parse(token).map_err(refused)?;
        let issuer = self.issuers.iter().find(|issuer| *issuer.name == *unverified.issuer());
        let issuer = issuer.ok_or_else(Error::wrong_credentials)?;
        let expected = Expected { issuer: &issuer.name, audience: &issuer.audience, now };
        let claims = verify(token, unverified, &issuer.keys, &expected).await?.map_err(refused)?;
        let subject = claims::subject(&claims.all, &issuer.claims, &self.credentials).map_err(refused)?;
        let tenant_name = self.credentials.with(|index| index.tenant_name(subject.tenant));
        let principal = Arc::new(Principal {
            tenant: subject.tenant,
            tenant_name,
            role: subject.role,
            name: subject.name.into(),
            how: How::Jwt(Arc::clone(&issuer.name)),
            signals: Signals::ALL,
        });
        let identity = Identity { principal, proof: Proof::Jwt(claims.expires.after(jwt::LEEWAY)) };
        self.verified.keep(key, identity.clone(), claims.expires.min(now.after(BELIEVED)), generation);
        Ok(identity)
    }
}

/// Verifies a token; by newer keys when those at hand do not fit, because the issuer may have changed them. The outer error is
/// that it cannot be told: there are no keys, or none that are new enough to say that the token's key is not the issuer's.
pub(crate) async fn verify(
    token: &str,
    unverified: Unverified<'_>,
    keys: &Arc<Keys>,
    expected: &Expected<'_>,
) -> Result<Result<Claims, Refusal>, Error> {
    let current = keys.current(expected.now).await?;
    let refusal = match unverified.verify(&current, expected) {
        Err(refusal @ (Refusal::UnknownKey(_) | Refusal::Signature)) => refusal,
        decided => return Ok(decided),
    };
    let renewed = keys.renewed(expected.now).await?;
    let decided = if Arc::ptr_eq(&renewed.keys, &current) {
        Err(refusal)
    } else {
        Unverified::parse(token).and_then(|unverified| unverified.verify(&renewed.keys, expected))
    };
    match (decided, renewed.retry_after) {
        // The issuer may have changed its keys since they were read. A sender drops what is answered 401 for good, and anybody
        // who makes up key IDs keeps us between two attempts: it must not cost others their telemetry. That his own answer is
        // to come again is no harm.
        (Err(Refusal::UnknownKey(_)), Some(retry_after)) => Err(Error::Unavailable {
            message: "the token's key is not known yet, and the issuer's keys cannot be read again at the moment"
                .into(),
            retry_after,
        }),
        (decided, _) => Ok(decided),
    }
}

fn open_principal() -> Principal {
    Principal {
        tenant: TenantId::DEFAULT,
        tenant_name: DEFAULT_TENANT.into(),
        role: Role::Admin,
        name: "anonymous".into(),
        how: How::Open,
        signals: Signals::ALL,
    }
}
