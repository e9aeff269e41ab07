use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use trivium_model::{TenantId, UnixNanos};
use zeroize::Zeroizing;

use super::data_key::{RequestIdentity, key_of_request};
use super::file::ChunkCache;
use super::{DataKey, KEY_BYTES, KeyId, MasterKeys, TenantKey, random};
use crate::catalog::Catalog;
use crate::error::Error;
use crate::part::EncodedPart;

/// The keys of all tenants, in memory only. Without a master key there is none, and nothing is encrypted.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    master: Option<MasterKeys>,
    /// Whether what is new is encrypted.
    encrypts: bool,
    keys: RwLock<Keys>,
    pub(super) chunks: ChunkCache,
}

#[derive(Debug, Default)]
struct Keys {
    known: HashMap<KeyId, Known>,
    /// With which each tenant's telemetry is encrypted now.
    current: HashMap<TenantId, Arc<DataKey>>,
}

#[derive(Debug)]
enum Known {
    Live(Arc<DataKey>),
    Shredded(TenantId),
}

impl Keyring {
    /// The keys that the catalog keeps, unwrapped. [`Error::Encrypted`] when one of them cannot be: with what it encrypted
    /// missing from every answer nobody would be served.
    pub(crate) fn new(stored: &[TenantKey], master: Option<MasterKeys>, encrypts: bool) -> Result<Self, Error> {
        let mut keys = Keys::default();
        for row in stored {
            if row.shredded_at.is_some() {
                keys.known.insert(row.id, Known::Shredded(row.tenant));
                continue;
            }
            let Some(master) = &master else { return Err(no_key_file(stored)) };
            keys.add(Arc::new(opened(master, row)?));
        }
        let encrypts = encrypts && master.is_some();
        Ok(Self { master, encrypts, keys: RwLock::new(keys), chunks: ChunkCache::default() })
    }

    /// A keyring with these keys.
    #[cfg(test)]
    pub(super) fn of(keys: impl IntoIterator<Item = DataKey>) -> Self {
        let keyring = Self::default();
        keys.into_iter().for_each(|key| keyring.write().add(Arc::new(key)));
        keyring
    }

    /// Whether what is new is encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.encrypts
    }

    /// Makes sure that a tenant has a key, if what is new is encrypted.
    pub(crate) async fn ensure(&self, tenant: TenantId, catalog: &dyn Catalog, now: UnixNanos) -> Result<(), Error> {
        let Some(master) = self.master.as_ref().filter(|_| self.encrypts) else { return Ok(()) };
        if self.read().current.contains_key(&tenant) {
            return Ok(());
        }
        let new = new_key(master, tenant, now)?;
        // Another request of the tenant may have been faster; one key wins, the other never encrypted anything.
        let row = catalog.add_tenant_key(new).await?;
        let key = Arc::new(opened(master, &row)?);
        self.write().add(key);
        Ok(())
    }

    /// With what telemetry of a tenant is to be encrypted now; `None` when nothing is. After [`Self::ensure`].
    pub(crate) fn for_writing(&self, tenant: TenantId) -> Result<Option<Arc<DataKey>>, Error> {
        if !self.encrypts {
            return Ok(None);
        }
        let key = self.read().current.get(&tenant).map(Arc::clone);
        key.map(Some).ok_or_else(|| Error::Unavailable {
            reason: format!("the key of tenant {tenant} was shredded a moment ago; try again"),
        })
    }

    /// A part as it is to be stored now.
    pub(crate) fn encrypted(&self, part: EncodedPart) -> Result<EncodedPart, Error> {
        match self.for_writing(part.record.tenant)? {
            Some(key) => part.encrypted(&key),
            None => Ok(part),
        }
    }

    /// The key of that name.
    pub(crate) fn get(&self, id: KeyId) -> Result<Arc<DataKey>, Error> {
        match self.read().known.get(&id) {
            Some(Known::Live(key)) => Ok(Arc::clone(key)),
            Some(Known::Shredded(tenant)) => Err(Error::Shredded { tenant: *tenant }),
            None if self.master.is_none() => Err(Error::Encrypted {
                problem: "it is encrypted and no key file was given; name the file with the master keys (encryption_key_file)".into(),
            }),
            None => Err(Error::Encrypted {
                problem: format!(
                    "the catalog does not have the key {id}, without which this cannot be decrypted; restore catalog.sqlite from a \
                     backup"
                ),
            }),
        }
    }

    /// An encrypted request in plain.
    pub(crate) fn decrypt_request(&self, identity: RequestIdentity, encrypted: &[u8]) -> Result<Bytes, Error> {
        let damaged = || Error::Encrypted {
            problem: "an encrypted request is not what was written: it was changed, or belongs to another frame".into(),
        };
        let key = self.get(key_of_request(encrypted).ok_or_else(damaged)?)?;
        key.decrypt_request(identity, encrypted)?.filter(|_| key.tenant() == identity.tenant).ok_or_else(damaged)
    }

    /// Forgets the keys of a tenant, and what was decrypted lately.
    pub(crate) fn forget(&self, tenant: TenantId) {
        let mut keys = self.write();
        keys.current.remove(&tenant);
        for known in keys.known.values_mut() {
            if matches!(known, Known::Live(key) if key.tenant() == tenant) {
                *known = Known::Shredded(tenant);
            }
        }
        self.chunks.clear();
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn add(&mut self, key: Arc<DataKey>) {
        self.known.insert(key.id(), Known::Live(Arc::clone(&key)));
        self.current.insert(key.tenant(), key);
    }
}

/// The same keys, wrapped with the current master key; those that are already are left out.
pub(crate) fn wrapped_anew(stored: &[TenantKey], master: &MasterKeys) -> Result<Vec<TenantKey>, Error> {
    let current = master.ids().first().map(|id| (*id).to_owned()).unwrap_or_default();
    let mut changed = Vec::new();
    for row in stored.iter().filter(|row| row.shredded_at.is_none()) {
        // All of them, so that a file that lacks one is found out before anything is changed.
        let key = opened(master, row)?;
        if row.master != current {
            let (master, wrapped) = master.wrap(row.id, row.tenant, key.secret())?;
            changed.push(TenantKey { master, wrapped, ..row.clone() });
        }
    }
    Ok(changed)
}

fn opened(master: &MasterKeys, row: &TenantKey) -> Result<DataKey, Error> {
    let secret = master.unwrap(row.id, row.tenant, &row.master, &row.wrapped)?;
    Ok(DataKey::new(row.id, row.tenant, secret))
}

fn new_key(master: &MasterKeys, tenant: TenantId, now: UnixNanos) -> Result<TenantKey, Error> {
    let (id, secret) = (KeyId(random()?), Zeroizing::new(random::<KEY_BYTES>()?));
    let (master, wrapped) = master.wrap(id, tenant, &secret)?;
    Ok(TenantKey { id, tenant, master, wrapped, created_at: now, shredded_at: None })
}

fn no_key_file(stored: &[TenantKey]) -> Error {
    let live = stored.iter().filter(|row| row.shredded_at.is_none());
    let mut masters: Vec<&str> = live.map(|row| &*row.master).collect();
    masters.sort_unstable();
    masters.dedup();
    let problem = format!(
        "this folder holds encrypted telemetry, and no key file was given; set encryption_key_file to the file with the master key \
         {}",
        masters.join(", ")
    );
    Error::Encrypted { problem }
}
