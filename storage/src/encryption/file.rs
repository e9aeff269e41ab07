//! Encrypted files that are read from anywhere: chunks, each encrypted and authenticated on its own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use trivium_model::{PartId, SignalKind, TenantId};

use super::data_key::SALT_BYTES;
use super::{DataKey, KeyId, Keyring, TAG_BYTES, random};
use crate::error::Error;

const MAGIC: [u8; 8] = *b"TRIVENC\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 68;
/// Bytes of a chunk in plain; all but the last have so many.
const CHUNK_BYTES: usize = 64 * 1024;
const STORED_CHUNK_BYTES: u64 = (CHUNK_BYTES + TAG_BYTES) as u64;
/// What keys of files are derived for.
const PURPOSE: &[u8] = b"trivium file 1";
/// Bytes of decrypted chunks that small reads keep for the next one.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// What a file is bound to: it opens in no other place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileIdentity<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) signal: SignalKind,
    pub(crate) part: PartId,
    /// The plain file's.
    pub(crate) name: &'a str,
}

impl FileIdentity<'_> {
    /// What is authenticated with every chunk; its number and whether it is the last one are in the nonce.
    fn aad(&self, header: &[u8; HEADER_BYTES]) -> Vec<u8> {
        let numbers = [&self.tenant.0.to_le_bytes()[..], &[self.signal.tag()], &self.part.0].concat();
        [&header[..], &numbers, self.name.as_bytes()].concat()
    }
}

struct Header {
    key: KeyId,
    salt: [u8; SALT_BYTES],
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.key.0);
        bytes[32..64].copy_from_slice(&self.salt);
        let sum = crc32c::crc32c(&bytes[..64]);
        bytes[64..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn read(file: &File, path: &Path) -> Result<([u8; HEADER_BYTES], Self), Error> {
        let corrupted = |expected: &str, found: &str| Error::Corrupted {
            path: path.into(),
            offset: 0,
            expected: expected.into(),
            found: found.into(),
        };
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(Error::io("read the header of", path))?;
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..8] != MAGIC || number(64) != crc32c::crc32c(&bytes[..64]) {
            return Err(corrupted("the header of an encrypted file", "something else"));
        }
        if number(8) > VERSION {
            return Err(Error::UnknownFormat { path: path.into(), found: number(8), supported: VERSION });
        }
        if number(12) as usize != CHUNK_BYTES {
            return Err(corrupted("chunks of 65536 bytes", "others"));
        }
        let (mut key, mut salt) = ([0; 16], [0; SALT_BYTES]);
        key.copy_from_slice(&bytes[16..32]);
        salt.copy_from_slice(&bytes[32..64]);
        Ok((bytes, Self { key: KeyId(key), salt }))
    }
}

/// The nonce of a chunk. The key is that of one file, so that no nonce comes twice; a chunk is authentic in its place only,
/// and only as the last one if it is.
fn nonce(chunk: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&chunk.to_le_bytes());
    bytes[NONCE_LEN - 1] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

/// A file as it is stored.
pub(crate) fn encrypt_file(key: &DataKey, identity: FileIdentity<'_>, plain: &[u8]) -> Result<Bytes, Error> {
    let header = Header { key: key.id(), salt: random()? };
    let cipher = key.derive(&header.salt, PURPOSE)?;
    let header = header.encode();
    let aad = identity.aad(&header);
    let chunks = plain.len().div_ceil(CHUNK_BYTES).max(1);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + plain.len() + chunks * TAG_BYTES);
    bytes.extend_from_slice(&header);
    for chunk in 0..chunks {
        let start = bytes.len();
        let from = chunk * CHUNK_BYTES;
        bytes.extend_from_slice(&plain[from..plain.len().min(from + CHUNK_BYTES)]);
        let nonce = nonce(chunk as u64, chunk + 1 == chunks);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(&aad), &mut bytes[start..]);
        let tag = tag.map_err(|_| Error::Internal("a file cannot be encrypted".into()))?;
        bytes.extend_from_slice(tag.as_ref());
    }
    Ok(Bytes::from(bytes))
}

/// Bytes of the plain file, given those of the stored one; `None` when no stored file has so many.
pub(crate) fn plain_length(stored: u64) -> Option<u64> {
    let body = stored.checked_sub(HEADER_BYTES as u64)?;
    let chunks = body.div_ceil(STORED_CHUNK_BYTES);
    let tags = chunks * TAG_BYTES as u64;
    let rest = body % STORED_CHUNK_BYTES;
    let is_whole = chunks > 0 && (rest == 0 || rest >= TAG_BYTES as u64);
    is_whole.then(|| body - tags)
}

/// The key that a stored file says it was encrypted with.
pub(crate) fn key_of_file(path: &Path) -> Result<KeyId, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    Header::read(&file, path).map(|(_, header)| header.key)
}

/// An encrypted file that is open.
pub(crate) struct EncryptedFile {
    file: File,
    cipher: LessSafeKey,
    aad: Vec<u8>,
    /// Of the plain file.
    length: u64,
    chunks: u64,
    /// By which the cache knows the file: it was drawn by chance.
    salt: [u8; SALT_BYTES],
    keys: std::sync::Arc<Keyring>,
}

impl std::fmt::Debug for EncryptedFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EncryptedFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl EncryptedFile {
    /// Opens a file. [`Error::Encrypted`] and [`Error::Shredded`] when its key is not there.
    pub(crate) fn open(path: &Path, identity: FileIdentity<'_>, keys: &std::sync::Arc<Keyring>) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let (bytes, header) = Header::read(&file, path)?;
        let key = keys.get(header.key)?;
        let stored = file.metadata().map_err(Error::io("look at", path))?.len();
        let length = plain_length(stored).ok_or_else(|| Error::Corrupted {
            path: path.into(),
            offset: stored,
            expected: "whole chunks".into(),
            found: "a cut one".into(),
        })?;
        let cipher = key.derive(&header.salt, PURPOSE)?;
        let chunks = length.div_ceil(CHUNK_BYTES as u64).max(1);
        let opened = Self {
            file,
            cipher,
            aad: identity.aad(&bytes),
            length,
            chunks,
            salt: header.salt,
            keys: std::sync::Arc::clone(keys),
        };
        // Says that the file is the one of this place, and that nothing is missing at its end. Past the cache, which knows a
        // file wherever it lies.
        opened.decrypt(chunks - 1).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Error::Corrupted {
                path: path.into(),
                offset: 0,
                expected: "the encrypted file of this part and tenant".into(),
                found: error.to_string(),
            },
            _ => Error::io("read", path)(error),
        })?;
        Ok(opened)
    }

    /// Bytes of the plain file.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Fills the buffer from a place in the plain file on; an error when the file ends before.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.length) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (mut at, mut filled) = (offset, 0);
        while filled < buffer.len() {
            let chunk = at / CHUNK_BYTES as u64;
            let within = (at % CHUNK_BYTES as u64) as usize;
            let length = (buffer.len() - filled).min(CHUNK_BYTES - within);
            let target = &mut buffer[filled..filled + length];
            let plain = if length == CHUNK_BYTES { self.decrypt(chunk)? } else { self.chunk(chunk)? };
            let source = plain.get(within..within + length).ok_or(std::io::ErrorKind::UnexpectedEof)?;
            target.copy_from_slice(source);
            (at, filled) = (at + length as u64, filled + length);
        }
        Ok(())
    }

    /// A chunk by way of the cache: many reads are of a few bytes.
    fn chunk(&self, chunk: u64) -> std::io::Result<Bytes> {
        let key = ChunkKey { file: self.salt, chunk };
        if let Some(known) = self.keys.chunks.0.get(&key) {
            return Ok(known);
        }
        let plain = self.decrypt(chunk)?;
        self.keys.chunks.0.insert(key, plain.clone());
        Ok(plain)
    }

    fn decrypt(&self, chunk: u64) -> std::io::Result<Bytes> {
        let is_last = chunk + 1 == self.chunks;
        let length = if is_last { self.length - chunk * CHUNK_BYTES as u64 } else { CHUNK_BYTES as u64 };
        let mut bytes = vec![0; length as usize + TAG_BYTES];
        self.file.read_exact_at(&mut bytes, HEADER_BYTES as u64 + chunk * STORED_CHUNK_BYTES)?;
        let opened = self.cipher.open_in_place(nonce(chunk, is_last), Aad::from(&self.aad), &mut bytes);
        if opened.is_err() {
            let problem = format!("chunk {chunk} is not authentic: it was changed, or belongs elsewhere");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, problem));
        }
        bytes.truncate(length as usize);
        Ok(bytes.into())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ChunkKey {
    file: [u8; SALT_BYTES],
    chunk: u64,
}

#[derive(Clone)]
struct ChunkWeight;

impl Weighter<ChunkKey, Bytes> for ChunkWeight {
    fn weight(&self, _: &ChunkKey, chunk: &Bytes) -> u64 {
        chunk.len() as u64 + 128
    }
}

/// Decrypted chunks by use, bounded in bytes.
pub(super) struct ChunkCache(Cache<ChunkKey, Bytes, ChunkWeight>);

impl Default for ChunkCache {
    fn default() -> Self {
        Self(Cache::with_weighter((CACHE_BYTES as usize) / CHUNK_BYTES, CACHE_BYTES, ChunkWeight))
    }
}

impl std::fmt::Debug for ChunkCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ChunkCache").field(&self.0.len()).finish()
    }
}

impl ChunkCache {
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}
