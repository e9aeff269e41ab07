//! A server's credentials in memory, with a clock that stands still.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use trivium_model::{Clock, ManualClock, MemoryStateStore, StateStore, UnixNanos};

use crate::authenticator::{AuthDeps, Authenticator};
use crate::config::{AuthConfig, Mode, PasswordCost};
use crate::error::Error;
use crate::fetch::{HttpClient, NoClient};
use crate::manage::{NewToken, NewUser};
use crate::principal::{How, Principal};
use crate::role::{Role, Signals};
use crate::secret::Secret;

/// 2033-05-18.
pub(crate) const NOW_SECONDS: i64 = 2_000_000_000;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct World {
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<MemoryStateStore>,
}

/// Passwords that cost nothing.
pub(crate) fn config() -> AuthConfig {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1 };
    AuthConfig { mode: Mode::Required, password_cost, ..AuthConfig::default() }
}

impl World {
    pub(crate) async fn new(config: AuthConfig) -> Self {
        Self::with_client(config, Arc::new(NoClient)).await
    }

    pub(crate) async fn with_client(config: AuthConfig, client: Arc<dyn HttpClient>) -> Self {
        let clock = Arc::new(ManualClock::new(UnixNanos(NOW_SECONDS * 1_000_000_000)));
        let store = Arc::new(MemoryStateStore::default());
        let auth = open(config, &store, &clock, client).await;
        Self { auth, clock, store }
    }

    /// What another process finds of what this one kept.
    pub(crate) async fn restarted(&self) -> Arc<Authenticator> {
        open(self.auth.config.clone(), &self.store, &self.clock, Arc::new(NoClient)).await
    }

    pub(crate) async fn token(&self, role: Role, tenant: Option<&str>) -> Secret {
        let new = NewToken { tenant: tenant.map(str::to_owned), ..new_token(role) };
        self.auth.create_token(&operator(), new).await.expect("a token").1
    }

    pub(crate) async fn user(&self, name: &str, role: Role) {
        let new = NewUser { name: name.into(), password: Secret::new(PASSWORD), role, tenant: None };
        self.auth.create_user(&operator(), new).await.expect("a user");
    }

    pub(crate) async fn by(&self, authorization: &str) -> Result<Arc<Principal>, Error> {
        self.auth.authenticate(&authorized(authorization), None).await
    }
}

async fn open(
    config: AuthConfig,
    store: &Arc<MemoryStateStore>,
    clock: &Arc<ManualClock>,
    client: Arc<dyn HttpClient>,
) -> Arc<Authenticator> {
    let store = Arc::clone(store) as Arc<dyn StateStore>;
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Authenticator::open(config, AuthDeps { store, clock, client }).await.expect("an authenticator")
}

pub(crate) fn new_token(role: Role) -> NewToken {
    NewToken { name: format!("for {role}"), role, tenant: None, signals: None, expires_in_seconds: None }
}

/// An admin of the default tenant.
pub(crate) fn operator() -> Principal {
    admin_of(0, "default")
}

pub(crate) fn admin_of(tenant: u32, name: &str) -> Principal {
    let (tenant, tenant_name) = (trivium_model::TenantId(tenant), name.into());
    Principal { tenant, tenant_name, role: Role::Admin, name: "root".into(), how: How::Password, signals: Signals::ALL }
}

pub(crate) fn authorized(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).expect("a value"))])
}

pub(crate) fn bearer(secret: &Secret) -> String {
    format!("Bearer {}", secret.reveal())
}

pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}
