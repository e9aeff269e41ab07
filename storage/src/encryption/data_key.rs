use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use trivium_model::{SignalKind, TenantId, UnixNanos, WireFormat};
use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyId, TAG_BYTES, random};
use crate::error::Error;

/// Bytes of the chance from which a key for one use is derived.
pub(super) const SALT_BYTES: usize = 32;

/// Bytes by which an encrypted request is longer than the plain one: name of the key, salt, tag.
pub const REQUEST_OVERHEAD_BYTES: usize = 16 + SALT_BYTES + TAG_BYTES;

/// What keys of requests are derived for.
const REQUEST: &[u8] = b"trivium request 1";

/// The key of a tenant. Never encrypts anything itself: every file and every request has a key of its own, derived with a
/// salt of 256 bits drawn by chance, so that nonces cannot meet however much is written, by however many copies of a folder.
pub(crate) struct DataKey {
    id: KeyId,
    tenant: TenantId,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DataKey").field("id", &self.id).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// What an encrypted request is bound to: nothing of it can be exchanged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestIdentity {
    pub(crate) tenant: TenantId,
    pub(crate) signal: SignalKind,
    pub(crate) format: WireFormat,
    pub(crate) received_at: UnixNanos,
    pub(crate) oldest_admitted: UnixNanos,
}

impl RequestIdentity {
    fn aad(&self) -> [u8; 22] {
        let mut bytes = [0; 22];
        bytes[..4].copy_from_slice(&self.tenant.0.to_le_bytes());
        bytes[4] = self.signal.tag();
        bytes[5] = self.format.tag();
        bytes[6..14].copy_from_slice(&self.received_at.0.to_le_bytes());
        bytes[14..].copy_from_slice(&self.oldest_admitted.0.to_le_bytes());
        bytes
    }
}

impl DataKey {
    pub(super) fn new(id: KeyId, tenant: TenantId, secret: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { id, tenant, secret }
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub(super) fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    /// The key for one use.
    pub(super) fn derive(&self, salt: &[u8; SALT_BYTES], purpose: &[u8]) -> Result<LessSafeKey, Error> {
        let derived = Salt::new(HKDF_SHA256, salt).extract(&self.secret[..]);
        let purpose = [purpose];
        let key = derived.expand(&purpose, &AES_256_GCM);
        let key = key.map_err(|_| Error::Internal("a key cannot be derived".into()))?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }

    /// A request as it goes into the WAL.
    pub(crate) fn encrypt_request(&self, identity: RequestIdentity, plain: &[u8]) -> Result<Bytes, Error> {
        let salt = random::<SALT_BYTES>()?;
        let key = self.derive(&salt, REQUEST)?;
        let mut bytes = Vec::with_capacity(plain.len() + REQUEST_OVERHEAD_BYTES);
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(&salt);
        let start = bytes.len();
        bytes.extend_from_slice(plain);
        let tag = key.seal_in_place_separate_tag(once(), Aad::from(identity.aad()), &mut bytes[start..]);
        let tag = tag.map_err(|_| Error::Internal("a request cannot be encrypted".into()))?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(Bytes::from(bytes))
    }

    /// The request again; `None` when it is not what was encrypted for this identity.
    pub(super) fn decrypt_request(&self, identity: RequestIdentity, encrypted: &[u8]) -> Result<Option<Bytes>, Error> {
        let Some((_, rest)) = encrypted.split_first_chunk::<16>() else { return Ok(None) };
        let Some((salt, body)) = rest.split_first_chunk::<SALT_BYTES>() else { return Ok(None) };
        let key = self.derive(salt, REQUEST)?;
        let mut bytes = body.to_vec();
        let Ok(plain) = key.open_in_place(once(), Aad::from(identity.aad()), &mut bytes) else { return Ok(None) };
        let length = plain.len();
        bytes.truncate(length);
        Ok(Some(Bytes::from(bytes)))
    }
}

/// The key that an encrypted request says it was encrypted with.
pub(super) fn key_of_request(encrypted: &[u8]) -> Option<KeyId> {
    encrypted.first_chunk::<16>().map(|id| KeyId(*id))
}

/// The nonce of a key that is used once.
fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}
