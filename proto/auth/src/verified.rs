//! Remembers what was found of a credential that is dear to verify: a password, a web token.

use quick_cache::sync::Cache;
use ring::digest::{Context, SHA256};
use trivium_model::UnixNanos;

use crate::authenticator::Identity;
use crate::error::Error;
use crate::secret::{Digest, fill};

/// Credentials remembered.
const ENTRIES_MAX: usize = 4_096;

#[derive(Clone, Debug)]
struct Found {
    identity: Identity,
    until: UnixNanos,
    generation: u64,
}

/// By the hash of the credential with a key of this process: a password cannot be guessed from what is in memory.
pub(crate) struct Verified {
    key: [u8; 32],
    found: Cache<Digest, Found>,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Verified").field("entries", &self.found.len()).finish_non_exhaustive()
    }
}

impl Verified {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut key = [0; 32];
        fill(&mut key)?;
        Ok(Self { key, found: Cache::new(ENTRIES_MAX) })
    }

    pub(crate) fn key_of(&self, credential: &[u8]) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(&self.key);
        context.update(credential);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Digest(bytes)
    }

    /// Who it was found to be, unless that is too long ago or credentials have changed since.
    pub(crate) fn find(&self, key: &Digest, now: UnixNanos, generation: u64) -> Option<Identity> {
        let found = self.found.get(key)?;
        (found.generation == generation && now < found.until).then_some(found.identity)
    }

    /// `generation` is that of before the credential was verified: a change in between must be seen.
    pub(crate) fn keep(&self, key: Digest, identity: Identity, until: UnixNanos, generation: u64) {
        self.found.insert(key, Found { identity, until, generation });
    }
}
