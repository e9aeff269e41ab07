//! The readers of encrypted files, encrypted requests and wrapped keys for `tests/fuzz`, which is a crate of its own. They are
//! not public otherwise: who reads a part or the WAL never has to do with keys.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use trivium_model::{PartId, SignalKind, TenantId, UnixNanos, WireFormat};

use super::{
    EncryptedFile, FileIdentity, KEY_BYTES, KeyId, Keyring, MasterKeys, RequestIdentity, TenantKey, encrypt_file,
};
use crate::error::Error;

/// Always the same, so that what was found with one vault is found again with another.
const SECRET: [u8; KEY_BYTES] = [7; KEY_BYTES];
const KEY: KeyId = KeyId([1; 16]);
const TENANT: TenantId = TenantId(5);

const FILE: FileIdentity<'static> =
    FileIdentity { tenant: TENANT, signal: SignalKind::Logs, part: PartId([2; 16]), name: "columns.parquet" };

const REQUEST: RequestIdentity = RequestIdentity {
    tenant: TENANT,
    signal: SignalKind::Traces,
    format: WireFormat::Otlp,
    received_at: UnixNanos(3),
    oldest_admitted: UnixNanos(2),
};

/// The key of one tenant, and what it encrypts: one file, one request.
#[derive(Debug)]
pub struct Vault {
    master: MasterKeys,
    keys: Arc<Keyring>,
    stored: TenantKey,
}

impl Vault {
    /// With the master keys of a file.
    pub fn open(key_file: &Path) -> Result<Self, Error> {
        let master = MasterKeys::read(key_file)?;
        let (name, wrapped) = master.wrap(KEY, TENANT, &SECRET)?;
        let stored =
            TenantKey { id: KEY, tenant: TENANT, master: name, wrapped, created_at: UnixNanos(1), shredded_at: None };
        let keys = Keyring::new(std::slice::from_ref(&stored), Some(MasterKeys::read(key_file)?), true)?;
        Ok(Self { master, keys: Arc::new(keys), stored })
    }

    /// The wrapped key, as the catalog keeps it.
    pub fn wrapped(&self) -> &[u8] {
        &self.stored.wrapped
    }

    /// Whether bytes open as the wrapped key, and it is the one that was wrapped.
    pub fn unwraps(&self, wrapped: &[u8]) -> Result<bool, Error> {
        let secret = self.master.unwrap(self.stored.id, self.stored.tenant, &self.stored.master, wrapped)?;
        Ok(*secret == SECRET)
    }

    /// A file as it is stored.
    pub fn encrypt_file(&self, plain: &[u8]) -> Result<Bytes, Error> {
        let key = self.keys.get(KEY)?;
        encrypt_file(&key, FILE, plain)
    }

    /// The whole of a stored file in plain.
    pub fn decrypt_file(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let file = EncryptedFile::open(path, FILE, &self.keys)?;
        let length = usize::try_from(file.len()).map_err(|_| Error::Internal("a file larger than memory".into()))?;
        let mut plain = vec![0; length];
        file.read_exact_at(&mut plain, 0).map_err(Error::io("read", path))?;
        Ok(plain)
    }

    /// A request as it goes into the WAL.
    pub fn encrypt_request(&self, plain: &[u8]) -> Result<Bytes, Error> {
        self.keys.get(KEY)?.encrypt_request(REQUEST, plain)
    }

    /// A request from the WAL in plain.
    pub fn decrypt_request(&self, encrypted: &[u8]) -> Result<Bytes, Error> {
        self.keys.decrypt_request(REQUEST, encrypted)
    }
}
