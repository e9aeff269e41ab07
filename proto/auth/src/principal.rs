//! Who a request comes from.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use trivium_model::{SignalKind, TenantId};

use crate::error::Error;
use crate::refuse;
use crate::role::{Role, Signals, Verb};

/// How a principal showed who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It did not have to: the server runs without credentials.
    Open,
    /// By an API token with this public ID.
    Token(String),
    /// By name and password in the request.
    Password,
    /// By a session cookie. The only way that a browser takes by itself, and so the one that needs protection against
    /// requests made by other sites.
    Session,
    /// By a JSON web token of this issuer.
    Jwt(Arc<str>),
}

impl fmt::Display for How {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => formatter.write_str("open"),
            Self::Token(id) => write!(formatter, "token {id}"),
            Self::Password => formatter.write_str("password"),
            Self::Session => formatter.write_str("session"),
            Self::Jwt(issuer) => write!(formatter, "jwt of {issuer}"),
        }
    }
}

/// Who a request comes from, and for whom. The tenant comes from the credential and from nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose data it sees.
    pub tenant: TenantId,
    /// The tenant's name, for people.
    pub tenant_name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The user's name, or that of the token, or the subject of a web token.
    pub name: Arc<str>,
    /// How it showed who it is.
    pub how: How,
    /// Which signals the credential is for.
    pub signals: Signals,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What the request does.
    pub verb: Verb,
    /// To which signal; `None` when it may be any of them, or none.
    pub signal: Option<SignalKind>,
}

impl Principal {
    /// Whether it may do this. A credential for some signals only must not use what could reach any of them.
    pub fn may(&self, permission: Permission) -> bool {
        let in_scope = match (permission.verb, permission.signal) {
            (Verb::Read | Verb::Ingest, Some(signal)) => self.signals.contains(signal),
            _ => self.signals.is_all(),
        };
        in_scope && self.role.allows(permission.verb, self.tenant)
    }

    /// Whether it may manage the tokens and users of this tenant: an admin those of its own, one of the default tenant those
    /// of all.
    pub fn may_administer(&self, tenant: TenantId) -> bool {
        let reaches = self.tenant == tenant || self.tenant == TenantId::DEFAULT;
        reaches && self.signals.is_all() && self.role.allows(Verb::Administer, self.tenant)
    }
}

/// The principal that [`crate::AuthLayer`] found, as an argument of a handler. A handler behind no such layer is never
/// called.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<Principal>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match parts.extensions.get::<Arc<Principal>>() {
            Some(principal) => Ok(Self(Arc::clone(principal))),
            None => Err(refuse::json(&Error::missing_credentials()).into_response()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(role: Role, tenant: u32, signals: Signals) -> Principal {
        let how = How::Password;
        Principal { tenant: TenantId(tenant), tenant_name: "t".into(), role, name: "n".into(), how, signals }
    }

    #[test]
    fn a_credential_for_one_signal_reaches_no_other() {
        let logs = principal(Role::Admin, 0, Signals::only([SignalKind::Logs]));
        let may = |verb, signal| logs.may(Permission { verb, signal });
        assert!(may(Verb::Ingest, Some(SignalKind::Logs)) && may(Verb::Read, Some(SignalKind::Logs)));
        assert!(!may(Verb::Ingest, Some(SignalKind::Traces)) && !may(Verb::Read, Some(SignalKind::Metrics)));
        // SQL reads all of them, and administration would lift the restriction.
        assert!(!may(Verb::Read, None) && !may(Verb::Administer, None) && !may(Verb::Operate, None));
        assert!(!logs.may_administer(TenantId(0)));
    }

    #[test]
    fn only_the_operators_reach_another_tenant_and_only_to_administer_it() {
        for role in Role::ALL {
            for (own, other, expected) in [(1, 1, true), (1, 2, false), (1, 0, false), (0, 2, true)] {
                let principal = principal(role, own, Signals::ALL);
                let expected = expected && role == Role::Admin;
                assert_eq!(principal.may_administer(TenantId(other)), expected, "{role} of {own} in {other}");
            }
        }
    }
}
