//! The credentials: durable in the state store, and all of them in memory, so that a request reads nothing from disk.
//!
//! A change is made durable first and then in memory, under one lock: whoever was told that a token is revoked finds it
//! revoked. Everything is kept with the default tenant, because who a credential belongs to is known only once it is found.

mod index;
mod record;

use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedMutexGuard;
use trivium_model::{StateChange, StateError, StateStore, TenantId};

use crate::error::Error;

pub(crate) use index::{Index, Session, Token};
pub(crate) use record::{SessionOf, SessionRecord, TenantRecord, TokenRecord, UserRecord, nanos, optional_nanos};

/// How much is kept. All of it is in memory.
pub(crate) const TOKENS_MAX: usize = 10_000;
pub(crate) const USERS_MAX: usize = 10_000;
pub(crate) const SESSIONS_MAX: usize = 20_000;
pub(crate) const SESSIONS_PER_PERSON_MAX: usize = 16;
pub(crate) const TENANTS_MAX: usize = 1_000;

/// How much of it a tenant besides the default one may have: its admin must not use up what is for all.
pub(crate) const TOKENS_PER_TENANT_MAX: usize = 1_000;
pub(crate) const USERS_PER_TENANT_MAX: usize = 1_000;

/// The name of the default tenant.
pub(crate) const DEFAULT_TENANT: &str = "default";

const TOKEN: &str = "auth_token";
const USER: &str = "auth_user";
const SESSION: &str = "auth_session";
const TENANT: &str = "auth_tenant";

/// A change of one record.
pub(crate) enum Change {
    Token(Arc<TokenRecord>),
    User(Arc<UserRecord>),
    Session(Arc<SessionRecord>),
    Tenant(Arc<TenantRecord>),
    ForgetToken(String),
    ForgetUser(String),
    ForgetSession(crate::secret::Digest),
}

#[derive(Debug)]
pub(crate) struct Credentials {
    store: Arc<dyn StateStore>,
    index: Arc<RwLock<Index>>,
    /// Held from the decision until the change is durable and in memory.
    writing: Arc<tokio::sync::Mutex<()>>,
}

/// The right to make one change, of one at a time.
pub(crate) struct Writing<'a> {
    credentials: &'a Credentials,
    lock: OwnedMutexGuard<()>,
}

impl Credentials {
    /// Reads what is kept. A record that cannot be read is left out with a warning: whoever it belongs to is refused.
    pub(crate) async fn open(store: Arc<dyn StateStore>) -> Result<Self, StateError> {
        let mut index = Index::default();
        for record in read::<TenantRecord>(&*store, TENANT).await? {
            index.apply(&Change::Tenant(Arc::new(record)));
        }
        for record in read::<TokenRecord>(&*store, TOKEN).await? {
            index.apply(&Change::Token(Arc::new(record)));
        }
        for record in read::<UserRecord>(&*store, USER).await? {
            index.apply(&Change::User(Arc::new(record)));
        }
        for record in read::<SessionRecord>(&*store, SESSION).await? {
            index.apply(&Change::Session(Arc::new(record)));
        }
        Ok(Self { store, index: Arc::new(RwLock::new(index)), writing: Arc::default() })
    }

    /// Looks something up.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a change.
    pub(crate) async fn write(&self) -> Writing<'_> {
        Writing { credentials: self, lock: Arc::clone(&self.writing).lock_owned().await }
    }
}

impl Writing<'_> {
    /// Makes the changes, all or none; durable when this returns. Goes on when nobody waits any more: a client that goes away
    /// must not leave a token revoked on disk and valid in memory.
    pub(crate) async fn apply(self, changes: Vec<Change>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let durable = changes.iter().map(state_change).collect::<Result<Vec<_>, _>>()?;
        let (store, index, lock) =
            (Arc::clone(&self.credentials.store), Arc::clone(&self.credentials.index), self.lock);
        let applying = tokio::spawn(async move {
            let _lock = lock;
            store.apply(TenantId::DEFAULT, None, durable).await?;
            let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
            for change in &changes {
                index.apply(change);
            }
            Ok::<_, Error>(())
        });
        applying.await.map_err(|error| Error::unavailable(format!("the change was interrupted: {error}")))?
    }
}

fn state_change(change: &Change) -> Result<StateChange, Error> {
    Ok(match change {
        Change::Token(record) => put(TOKEN, &record.id, &**record)?,
        Change::User(record) => put(USER, &record.name, &**record)?,
        Change::Session(record) => put(SESSION, &record.hash.to_string(), &**record)?,
        Change::Tenant(record) => put(TENANT, &record.name, &**record)?,
        Change::ForgetToken(id) => StateChange::Delete { kind: TOKEN.into(), key: id.clone() },
        Change::ForgetUser(name) => StateChange::Delete { kind: USER.into(), key: name.clone() },
        Change::ForgetSession(hash) => StateChange::Delete { kind: SESSION.into(), key: hash.to_string() },
    })
}

fn put(kind: &str, key: &str, record: &impl Serialize) -> Result<StateChange, Error> {
    let value =
        serde_json::to_vec(record).map_err(|error| Error::unavailable(format!("a record of {kind}: {error}")))?;
    Ok(StateChange::Put { kind: kind.into(), key: key.into(), value })
}

async fn read<T: DeserializeOwned>(store: &dyn StateStore, kind: &str) -> Result<Vec<T>, StateError> {
    let records = store.list(TenantId::DEFAULT, kind, "").await?;
    let read = records.into_iter().filter_map(|record| {
        let parsed = serde_json::from_slice(&record.value);
        if let Err(error) = &parsed {
            tracing::warn!(kind, key = record.key, %error, "a credential cannot be read and is not valid until it can");
        }
        parsed.ok()
    });
    Ok(read.collect())
}
