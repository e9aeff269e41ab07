//! Encryption at rest: files of parts and requests in the WAL, under a key per tenant that is itself encrypted ("wrapped")
//! with a master key from a file. Without the wrapped key nothing of a tenant can be read any more (crypto-shredding).
//! See `FORMAT.md` beside this file. Knows no catalog and no part: rows of keys and bytes only.

mod data_key;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod keyring;
mod master;
#[cfg(test)]
mod tests;

use ring::rand::{SecureRandom, SystemRandom};
use trivium_model::{TenantId, UnixNanos};

use crate::error::Error;

pub use data_key::REQUEST_OVERHEAD_BYTES;
pub(crate) use data_key::{DataKey, RequestIdentity};
pub(crate) use file::{EncryptedFile, FileIdentity, encrypt_file, key_of_file, plain_length};
pub(crate) use keyring::{Keyring, wrapped_anew};
pub use master::{MasterKeys, new_master_line};

/// What the name of an encrypted file ends with; what stands before it is the name of the plain one.
pub(crate) const SUFFIX: &str = ".enc";

/// Bytes that AES-256-GCM adds.
const TAG_BYTES: usize = 16;

/// Bytes of a key of AES-256.
const KEY_BYTES: usize = 32;

/// The name of a tenant's key, drawn by chance. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A tenant's key as the catalog keeps it: of no use without the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantKey {
    /// Its name, by which what it encrypted refers to it.
    pub id: KeyId,
    /// Whose telemetry it encrypts.
    pub tenant: TenantId,
    /// The master key that it is wrapped with.
    pub master: String,
    /// The wrapped key; empty when it was shredded.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: UnixNanos,
    /// When it was shredded.
    pub shredded_at: Option<UnixNanos>,
}

/// The name of the plain file that a stored name stands for.
pub(crate) fn plain_name(stored: &str) -> &str {
    stored.strip_suffix(SUFFIX).unwrap_or(stored)
}

/// Whether a stored name is that of an encrypted file.
pub(crate) fn is_encrypted(stored: &str) -> bool {
    stored.ends_with(SUFFIX)
}

/// Chance from the operating system.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::Unavailable { reason: "the operating system gives no random numbers".into() })?;
    Ok(bytes)
}
