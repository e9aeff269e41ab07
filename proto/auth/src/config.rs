//! What can be set. Everything has a default but what names somebody else's server.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;
use crate::role::Role;
use crate::secret::Secret;

/// Whether credentials are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nobody is asked: whoever reaches the listeners is an admin of the default tenant. For loopback.
    #[default]
    Open,
    /// Every route that the table does not make public needs credentials.
    Required,
}

/// How requests are authenticated.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Whether credentials are asked for.
    pub mode: Mode,
    /// Whether browsers reach the API over TLS, ours or a proxy's: cookies then carry `Secure` and the prefix `__Host-`.
    pub tls: bool,
    /// Names besides IP addresses and `localhost` by which people reach an open server. A page of another site that had its
    /// name resolve to this machine is refused. An empty list with `any_host` turns the check off.
    pub hosts: Vec<String>,
    /// Whether an open server answers to any name.
    pub any_host: bool,
    /// Origins, such as `https://trivium.example`, from which pages may use the cookie besides the one that a request is
    /// addressed to: for proxies that change the host.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How long a session lasts without being used.
    pub session_idle: Duration,
    /// How long a session lasts at most.
    pub session_lifetime: Duration,
    /// The cost of hashing a password.
    pub password_cost: PasswordCost,
    /// Issuers of JSON web tokens for services.
    pub jwt: Vec<JwtConfig>,
    /// Where people log in without a password of ours.
    pub oidc: Option<OidcConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            tls: false,
            hosts: Vec::new(),
            any_host: false,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            session_idle: Duration::from_secs(2 * 60 * 60),
            session_lifetime: Duration::from_secs(24 * 60 * 60),
            password_cost: PasswordCost::default(),
            jwt: Vec::new(),
            oidc: None,
        }
    }
}

/// What argon2id costs: memory for each of at most two at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// An issuer of JSON web tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be, or contain.
    pub audience: String,
    /// A file with the keys as JWKS. Either this or `jwks_url`.
    pub jwks_file: Option<PathBuf>,
    /// Where to fetch them.
    pub jwks_url: Option<String>,
    /// Who the token's subject is to us.
    #[serde(flatten)]
    pub claims: ClaimMapping,
}

/// An OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Its URL, below which `/.well-known/openid-configuration` is, and what `iss` must be.
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// What we show it; none for a public client, which PKCE protects alone.
    pub client_secret: Option<Secret>,
    /// Where it sends people back to: our URL, then `/api/v1/auth/oidc/callback`.
    pub redirect_url: String,
    /// What is asked for besides `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The label of the button.
    #[serde(default = "label")]
    pub label: String,
    /// Who the person is to us.
    #[serde(flatten)]
    pub claims: ClaimMapping,
}

fn scopes() -> Vec<String> {
    vec!["profile".into(), "email".into()]
}

fn label() -> String {
    "Log in with single sign-on".into()
}

/// From claims to a principal. Without a matching role there is no access.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ClaimMapping {
    /// The claim that is the name; a path with dots.
    #[serde(default = "subject")]
    pub name_claim: String,
    /// The claim with the roles: a text or a list of texts; a path with dots such as `realm_access.roles`.
    pub role_claim: Option<String>,
    /// From a value of it to our role; of several the one that may most counts.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    /// The role of whoever has none of them.
    pub default_role: Option<Role>,
    /// The claim with the tenant; without it, everybody is of the default tenant.
    pub tenant_claim: Option<String>,
    /// From a value of it to a tenant's name. What is not here is no tenant.
    #[serde(default)]
    pub tenants: BTreeMap<String, String>,
}

fn subject() -> String {
    "sub".into()
}

impl Default for ClaimMapping {
    fn default() -> Self {
        Self {
            name_claim: subject(),
            role_claim: None,
            roles: BTreeMap::new(),
            default_role: None,
            tenant_claim: None,
            tenants: BTreeMap::new(),
        }
    }
}

impl AuthConfig {
    /// Refuses what could not work or would be open to everybody.
    pub fn validate(&self) -> Result<(), Error> {
        for jwt in &self.jwt {
            let at = format!("the JWT issuer {:?}", jwt.issuer);
            required(&jwt.issuer, "issuer", &at)?;
            required(&jwt.audience, "audience", &at)?;
            if jwt.jwks_file.is_some() == jwt.jwks_url.is_some() {
                return Err(Error::invalid(format!("{at}: give either jwks_file or jwks_url")));
            }
            jwt.claims.validate(&at)?;
        }
        if let Some(oidc) = &self.oidc {
            let at = format!("the OpenID provider {:?}", oidc.issuer);
            required(&oidc.issuer, "issuer", &at)?;
            required(&oidc.client_id, "client_id", &at)?;
            if oidc.client_secret.as_ref().is_some_and(|secret| secret.reveal().is_empty()) {
                return Err(Error::invalid(format!(
                    "{at}: the client secret is empty; leave it out for a public client"
                )));
            }
            let callback = oidc.redirect_url.ends_with("/api/v1/auth/oidc/callback");
            if !callback || !oidc.redirect_url.starts_with("http") {
                let message = format!("{at}: redirect_url must be our URL followed by /api/v1/auth/oidc/callback");
                return Err(Error::invalid(message));
            }
            oidc.claims.validate(&at)?;
        }
        if self.session_idle.is_zero() || self.session_lifetime < self.session_idle {
            return Err(Error::invalid("a session must last longer than it may be idle, and that longer than zero"));
        }
        Ok(())
    }
}

impl AuthConfig {
    /// URLs of issuers and providers that are asked without TLS on a network, where their answers can be exchanged.
    pub(crate) fn asked_in_plain_text(&self) -> Vec<&str> {
        let keys = self.jwt.iter().filter_map(|jwt| jwt.jwks_url.as_deref());
        let urls = keys.chain(self.oidc.iter().map(|oidc| &*oidc.issuer));
        urls.filter(|url| url.starts_with("http://") && !is_on_this_machine(url)).collect()
    }
}

fn is_on_this_machine(url: &str) -> bool {
    let host = url.parse::<http::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl ClaimMapping {
    fn validate(&self, at: &str) -> Result<(), Error> {
        if self.roles.is_empty() && self.default_role.is_none() {
            return Err(Error::invalid(format!("{at}: nobody would have a role; give roles or default_role")));
        }
        if !self.roles.is_empty() && self.role_claim.is_none() {
            return Err(Error::invalid(format!("{at}: there are roles but no role_claim to find them in")));
        }
        if self.tenants.is_empty() != self.tenant_claim.is_none() {
            return Err(Error::invalid(format!("{at}: tenant_claim and tenants belong together")));
        }
        Ok(())
    }
}

fn required(value: &str, field: &str, at: &str) -> Result<(), Error> {
    if value.trim().is_empty() { Err(Error::invalid(format!("{at}: {field} is empty"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_in_plain_text_on_a_network_is_told() {
        let jwt = |url: &str| JwtConfig {
            issuer: "https://issuer".into(),
            audience: "trivium".into(),
            jwks_file: None,
            jwks_url: Some(url.into()),
            claims: ClaimMapping::default(),
        };
        for (url, is_told) in [
            ("http://keycloak/keys", true),
            ("http://127.0.0.1.example/keys", true),
            ("http://localhost@keycloak/keys", true),
            ("https://keycloak/keys", false),
            ("http://127.0.0.1:8080/keys", false),
            ("http://[::1]/keys", false),
            ("http://localhost:8080/keys", false),
        ] {
            let config = AuthConfig { jwt: vec![jwt(url)], ..AuthConfig::default() };
            assert_eq!(config.asked_in_plain_text() == [url], is_told, "{url}");
        }
    }
}
