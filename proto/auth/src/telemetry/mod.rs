//! What is counted about credentials. Labels are kinds and results, never anything that a client sent.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::error::Error;
use crate::principal::How;
use crate::role::Role;

// The registry appends `_total` to the names of counters.
const REQUESTS: &str = "trivium_auth_requests";
const FORBIDDEN: &str = "trivium_auth_forbidden_requests";
const LOGINS: &str = "trivium_auth_logins";
const LOCKED_OUT: &str = "trivium_auth_locked_out";
const TOKENS: &str = "trivium_auth_tokens";
const EXPIRING: &str = "trivium_auth_tokens_expiring";
const SESSIONS: &str = "trivium_auth_sessions";

/// What a request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    None,
    Token,
    Password,
    Session,
    Jwt,
    /// What is none of these.
    Other,
}

impl Credential {
    const ALL: [Self; 6] = [Self::None, Self::Token, Self::Password, Self::Session, Self::Jwt, Self::Other];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Password => "password",
            Self::Session => "session",
            Self::Jwt => "jwt",
            Self::Other => "other",
        }
    }
}

impl From<&How> for Credential {
    fn from(how: &How) -> Self {
        match how {
            How::Open => Self::None,
            How::Token(_) => Self::Token,
            How::Password => Self::Password,
            How::Session => Self::Session,
            How::Jwt(_) => Self::Jwt,
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// Unknown, wrong or malformed; of no credential: there has to be one.
    Invalid,
    /// It was right once.
    Expired,
    /// It was right until somebody took it back.
    Revoked,
    /// Too many attempts failed before.
    Throttled,
    /// It could not be told.
    Unavailable,
}

impl Outcome {
    const ALL: [Self; 6] = [Self::Ok, Self::Invalid, Self::Expired, Self::Revoked, Self::Throttled, Self::Unavailable];

    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error {
            Error::Throttled { .. } => Self::Throttled,
            Error::Unavailable { .. } => Self::Unavailable,
            _ => Self::Invalid,
        }
    }
}

/// A credential that was refused: what is counted, and what is told.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) outcome: Outcome,
    pub(crate) error: Error,
}

impl Denied {
    /// What was right once is told in the words of what never was.
    pub(crate) fn ended(outcome: Outcome) -> Self {
        Self { outcome, error: Error::wrong_credentials() }
    }
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Self { outcome: Outcome::from(&error), error }
    }
}

/// How somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginBy {
    Password,
    Provider,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    credential: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForbiddenLabels {
    credential: &'static str,
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    method: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLabels {
    of: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// The state of credentials as it is counted from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) valid: usize,
    pub(crate) expired: usize,
    pub(crate) revoked: usize,
    pub(crate) expiring: usize,
    pub(crate) sessions: usize,
    /// Pairs of name and address, and addresses, that have to wait.
    pub(crate) locked_out: [usize; 2],
}

/// The metrics of all listeners' credentials. Clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct AuthMetrics {
    requests: Family<RequestLabels, Counter>,
    /// The same by kind and result, so that a request costs one addition.
    by_request: Arc<[[Counter; 6]; 6]>,
    forbidden: Family<ForbiddenLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    locked_out: Family<OfLabels, Gauge>,
    tokens: Family<StateLabels, Gauge>,
    expiring: Gauge,
    sessions: Gauge,
}

impl AuthMetrics {
    pub(crate) fn new() -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let by_request = Credential::ALL.map(|credential| {
            Outcome::ALL.map(|outcome| {
                let labels = RequestLabels { credential: credential.name(), result: outcome.name() };
                requests.get_or_create(&labels).clone()
            })
        });
        let logins = Family::<LoginLabels, Counter>::default();
        for method in ["password", "provider"] {
            for outcome in [Outcome::Ok, Outcome::Invalid, Outcome::Throttled, Outcome::Unavailable] {
                drop(logins.get_or_create(&LoginLabels { method, result: outcome.name() }));
            }
        }
        Self {
            requests,
            by_request: Arc::new(by_request),
            forbidden: Family::default(),
            logins,
            locked_out: Family::default(),
            tokens: Family::default(),
            expiring: Gauge::default(),
            sessions: Gauge::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let requests = "Requests that had to show who they are, by what they showed and what became of it";
        registry.register(REQUESTS, requests, self.requests.clone());
        let forbidden = "Requests whose sender is known and may not do what it asked for";
        registry.register(FORBIDDEN, forbidden, self.forbidden.clone());
        registry.register(LOGINS, "Logins of people, by method and result", self.logins.clone());
        let locked_out = "Names at an address, and addresses, that have to wait after failed logins";
        registry.register(LOCKED_OUT, locked_out, self.locked_out.clone());
        registry.register(TOKENS, "API tokens that are kept, by state", self.tokens.clone());
        let expiring = "Valid API tokens made for more than two weeks, used of late, that expire within seven days";
        registry.register(EXPIRING, expiring, self.expiring.clone());
        registry.register(SESSIONS, "Sessions of browsers that have not ended", self.sessions.clone());
    }

    pub(crate) fn request(&self, credential: Credential, outcome: Outcome) {
        self.by_request[credential as usize][outcome as usize].inc();
    }

    pub(crate) fn forbidden(&self, how: &How, role: Role) {
        let labels = ForbiddenLabels { credential: Credential::from(how).name(), role: role.name() };
        self.forbidden.get_or_create(&labels).inc();
    }

    pub(crate) fn login<T>(&self, by: LoginBy, result: &Result<T, Error>) {
        let method = match by {
            LoginBy::Password => "password",
            LoginBy::Provider => "provider",
        };
        let outcome = result.as_ref().err().map_or(Outcome::Ok, Outcome::from);
        self.logins.get_or_create(&LoginLabels { method, result: outcome.name() }).inc();
    }

    pub(crate) fn census(&self, census: &Census) {
        let set = |gauge: &Gauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        let [names, addresses] = census.locked_out;
        for (of, count) in [("name", names), ("address", addresses)] {
            set(&self.locked_out.get_or_create(&OfLabels { of }), count);
        }
        for (state, count) in [("valid", census.valid), ("expired", census.expired), ("revoked", census.revoked)] {
            set(&self.tokens.get_or_create(&StateLabels { state }), count);
        }
        set(&self.expiring, census.expiring);
        set(&self.sessions, census.sessions);
    }
}
