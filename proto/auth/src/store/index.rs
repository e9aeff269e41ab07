use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use trivium_model::{TenantId, UnixNanos};

use super::record::{SessionOf, SessionRecord, TenantRecord, TokenRecord, UserRecord};
use super::{Change, DEFAULT_TENANT};
use crate::principal::{How, Principal};
use crate::role::Signals;
use crate::secret::Digest;

/// A token as a request finds it: the principal is ready.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) record: Arc<TokenRecord>,
    pub(crate) principal: Arc<Principal>,
    used: AtomicI64,
}

/// A session as a request finds it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) record: Arc<SessionRecord>,
    seen: AtomicI64,
}

impl Token {
    pub(crate) fn mark_used(&self, now: UnixNanos) {
        self.used.fetch_max(now.0, Ordering::Relaxed);
    }

    pub(crate) fn last_used(&self) -> Option<UnixNanos> {
        let used = self.used.load(Ordering::Relaxed);
        (used != i64::MIN).then_some(UnixNanos(used))
    }
}

impl Session {
    pub(crate) fn mark_seen(&self, now: UnixNanos) {
        self.seen.fetch_max(now.0, Ordering::Relaxed);
    }

    pub(crate) fn seen(&self) -> UnixNanos {
        UnixNanos(self.seen.load(Ordering::Relaxed))
    }
}

/// All credentials.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tokens: HashMap<String, Arc<Token>>,
    users: BTreeMap<String, Arc<UserRecord>>,
    sessions: HashMap<Digest, Arc<Session>>,
    /// By name. The default tenant is not among them.
    tenants: BTreeMap<String, Arc<TenantRecord>>,
    /// Grows with every change after which what a user or a web token was taken for may be wrong.
    generation: u64,
}

impl Index {
    pub(crate) fn token(&self, id: &str) -> Option<Arc<Token>> {
        self.tokens.get(id).map(Arc::clone)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }

    pub(crate) fn user(&self, name: &str) -> Option<Arc<UserRecord>> {
        self.users.get(name).map(Arc::clone)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = &Arc<UserRecord>> {
        self.users.values()
    }

    pub(crate) fn session(&self, hash: &Digest) -> Option<Arc<Session>> {
        self.sessions.get(hash).map(Arc::clone)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.values()
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = &Arc<TenantRecord>> {
        self.tenants.values()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn tenant_named(&self, name: &str) -> Option<TenantId> {
        match name {
            DEFAULT_TENANT => Some(TenantId::DEFAULT),
            name => self.tenants.get(name).map(|record| record.tenant()),
        }
    }

    pub(crate) fn tenant_name(&self, tenant: TenantId) -> Arc<str> {
        let found = self.tenants.values().find(|record| record.id == tenant.0);
        match found {
            Some(record) => record.name.as_str().into(),
            None if tenant == TenantId::DEFAULT => DEFAULT_TENANT.into(),
            None => format!("tenant {tenant}").into(),
        }
    }

    /// Who a user is, by whichever way.
    pub(crate) fn principal_of_user(&self, user: &UserRecord, how: How) -> Principal {
        let tenant = TenantId(user.tenant);
        Principal {
            tenant,
            tenant_name: self.tenant_name(tenant),
            role: user.role,
            name: user.name.as_str().into(),
            how,
            signals: Signals::ALL,
        }
    }

    /// Whose session it is; `None` when the user is gone or disabled.
    pub(crate) fn principal_of_session(&self, session: &SessionRecord) -> Option<Principal> {
        match &session.who {
            SessionOf::User => {
                let user = self.users.get(&session.name).filter(|user| !user.disabled)?;
                Some(self.principal_of_user(user, How::Session))
            }
            SessionOf::Provider { role, tenant, .. } => {
                let tenant = TenantId(*tenant);
                Some(Principal {
                    tenant,
                    tenant_name: self.tenant_name(tenant),
                    role: *role,
                    name: session.name.as_str().into(),
                    how: How::Session,
                    signals: Signals::ALL,
                })
            }
        }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Token(record) => {
                let token = Arc::new(self.token_of(record));
                self.tokens.insert(record.id.clone(), token);
            }
            Change::ForgetToken(id) => drop(self.tokens.remove(id)),
            Change::User(record) => {
                self.generation += 1;
                self.users.insert(record.name.clone(), Arc::clone(record));
            }
            Change::ForgetUser(name) => {
                self.generation += 1;
                self.users.remove(name);
            }
            Change::Session(record) => {
                let session = Session { record: Arc::clone(record), seen: AtomicI64::new(record.seen.0) };
                self.sessions.insert(record.hash, Arc::new(session));
            }
            Change::ForgetSession(hash) => drop(self.sessions.remove(hash)),
            Change::Tenant(record) => drop(self.tenants.insert(record.name.clone(), Arc::clone(record))),
        }
    }

    fn token_of(&self, record: &Arc<TokenRecord>) -> Token {
        let tenant = TenantId(record.tenant);
        let principal = Principal {
            tenant,
            tenant_name: self.tenant_name(tenant),
            role: record.role,
            name: record.name.as_str().into(),
            how: How::Token(record.id.clone()),
            signals: record.signals,
        };
        let known = self.tokens.get(&record.id).and_then(|token| token.last_used());
        let used = known.max(record.last_used).map_or(i64::MIN, |time| time.0);
        Token { record: Arc::clone(record), principal: Arc::new(principal), used: AtomicI64::new(used) }
    }
}
