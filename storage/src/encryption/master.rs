use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use trivium_model::TenantId;
use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyId, TAG_BYTES, random};
use crate::error::Error;

/// Bytes of a key file at most.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Master keys in it at most.
const KEYS_MAX: usize = 64;
/// Letters of the name of a master key at most.
const ID_LETTERS_MAX: usize = 64;
/// The rights of users who are neither the owner nor of the group.
const OTHERS: u32 = 0o007;
const NONCE_BYTES: usize = 12;
/// Bytes of a wrapped key: nonce, key, tag.
const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// What is authenticated with every wrapped key begins with it.
const WRAPPING: &[u8] = b"trivium tenant key 1";

/// The master keys of a key file. The first one wraps new keys, the others open what was wrapped with them.
pub struct MasterKeys {
    path: PathBuf,
    keys: Vec<MasterKey>,
}

struct MasterKey {
    id: String,
    key: LessSafeKey,
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MasterKeys").field("path", &self.path).field("ids", &self.ids()).finish()
    }
}

/// A line of a key file with a new master key.
pub fn new_master_line(id: &str) -> Result<Zeroizing<String>, Error> {
    check_id(id).map_err(|problem| Error::Encrypted { problem })?;
    let key = Zeroizing::new(random::<KEY_BYTES>()?);
    let encoded = Zeroizing::new(STANDARD.encode(*key));
    Ok(Zeroizing::new(format!("{id}:{}", &*encoded)))
}

fn check_id(id: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > ID_LETTERS_MAX || !id.bytes().all(is_plain) {
        return Err(format!(
            "a master key's name has 1 to {ID_LETTERS_MAX} letters, digits, dots, dashes and underscores"
        ));
    }
    Ok(())
}

impl MasterKeys {
    /// Reads a key file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        use std::io::Read;
        use std::os::unix::fs::PermissionsExt;

        let unusable = |problem: String| Error::KeyFile { path: path.into(), problem };
        let file = std::fs::File::open(path).map_err(Error::io("open the key file", path))?;
        let rights = file.metadata().map_err(Error::io("look at the key file", path))?.permissions();
        if rights.mode() & OTHERS != 0 {
            tracing::warn!(file = %path.display(), "every user of the machine can read the master keys; chmod o-rwx the file");
        }
        // Of its whole size at once: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Error::io("read the key file", path))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(unusable(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is not text".into()))?;
        let keys = parse(text).map_err(unusable)?;
        Ok(Self { path: path.into(), keys })
    }

    /// The names of the keys, the current one first.
    pub fn ids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| &*key.id).collect()
    }

    /// The file that they came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Wraps a tenant's key with the current master key; the name of that one, and the wrapped key.
    pub(super) fn wrap(
        &self,
        id: KeyId,
        tenant: TenantId,
        secret: &[u8; KEY_BYTES],
    ) -> Result<(String, Vec<u8>), Error> {
        let master = self.keys.first().ok_or_else(|| Error::Internal("a key file without a key".into()))?;
        // Few keys are ever wrapped with one master key, so that nonces drawn by chance do not meet.
        let nonce = random::<NONCE_BYTES>()?;
        let mut wrapped = Zeroizing::new(secret.to_vec());
        let aad = Aad::from(wrapping(id, tenant, &master.id));
        let tag = master.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut wrapped);
        let tag = tag.map_err(|_| Error::Internal("a key cannot be wrapped".into()))?;
        Ok((master.id.clone(), [&nonce, &wrapped[..], tag.as_ref()].concat()))
    }

    /// The key that was wrapped.
    pub(super) fn unwrap(
        &self,
        id: KeyId,
        tenant: TenantId,
        master: &str,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
        let file = self.path.display();
        let refused = |problem: String| Error::Encrypted { problem };
        let known = self.keys.iter().find(|key| key.id == master).ok_or_else(|| {
            refused(format!(
                "the key of tenant {tenant} is wrapped with the master key {master:?}, which {file} does not have; add its line to \
                 the file, below the current one"
            ))
        })?;
        let opened = || {
            let nonce = Nonce::try_assume_unique_for_key(wrapped.get(..NONCE_BYTES)?).ok()?;
            let mut bytes =
                Zeroizing::new(wrapped.get(NONCE_BYTES..).filter(|_| wrapped.len() == WRAPPED_BYTES)?.to_vec());
            let secret = known.key.open_in_place(nonce, Aad::from(wrapping(id, tenant, master)), &mut bytes).ok()?;
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            key.copy_from_slice(secret);
            Some(key)
        };
        opened().ok_or_else(|| {
            refused(format!(
                "the master key {master:?} of {file} does not open the key of tenant {tenant}: it is not the one that wrapped it, or \
                 the catalog is damaged; use the key file that this folder was written with"
            ))
        })
    }
}

/// What a wrapped key belongs to: it opens for nothing else.
fn wrapping(id: KeyId, tenant: TenantId, master: &str) -> Vec<u8> {
    [WRAPPING, &id.0, &tenant.0.to_le_bytes(), master.as_bytes()].concat()
}

fn parse(text: &str) -> Result<Vec<MasterKey>, String> {
    let mut keys: Vec<MasterKey> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // Never with what the line holds: it may be a key.
        let key = parse_line(line).map_err(|problem| format!("line {number}: {problem}"))?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(format!("line {number}: there are two master keys named {:?}", key.id));
        }
        if keys.len() == KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err("it has no key; `trivium keys generate` prints a line".into());
    }
    Ok(keys)
}

fn parse_line(line: &str) -> Result<MasterKey, String> {
    let expected = "a line is NAME:KEY, the key as base64 of 32 bytes";
    let (id, encoded) = line.split_once(':').ok_or(expected)?;
    check_id(id)?;
    // Decoding into a buffer of the right size: nothing grows, nothing is left behind.
    let mut decoded = Zeroizing::new([0; KEY_BYTES + 2]);
    let length = STANDARD.decode_slice(encoded, &mut *decoded).map_err(|_| expected)?;
    if length != KEY_BYTES {
        return Err(expected.into());
    }
    let key = UnboundKey::new(&AES_256_GCM, &decoded[..KEY_BYTES]).map_err(|_| expected)?;
    Ok(MasterKey { id: id.into(), key: LessSafeKey::new(key) })
}
