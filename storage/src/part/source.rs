//! The bytes of a part's file, whether it is stored plain or encrypted.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tantivy::HasLen;
use tantivy::directory::{FileHandle, OwnedBytes};

use super::{EncodedPart, PartFile, PartRecord};
use crate::encryption::{
    DataKey, EncryptedFile, FileIdentity, Keyring, SUFFIX, encrypt_file, is_encrypted, plain_length,
};
use crate::error::Error;

/// Positional reads on one shared file: no seeking, no second descriptor per read.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Plain { file: Arc<File>, length: u64 },
    Encrypted(Arc<EncryptedFile>),
}

impl Source {
    pub(crate) fn plain(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        Ok(Self::Plain { file: Arc::new(file), length })
    }

    /// Opens a file of a part that is stored under this name.
    pub(crate) fn open(
        path: &Path,
        record: &PartRecord,
        name: &str,
        keys: Option<&Arc<Keyring>>,
    ) -> Result<Self, Error> {
        if !path.file_name().is_some_and(|stored| is_encrypted(&stored.to_string_lossy())) {
            return Self::plain(path);
        }
        let Some(keys) = keys else {
            let problem = format!("{} is encrypted and no key file was given; set encryption_key_file", path.display());
            return Err(Error::Encrypted { problem });
        };
        let identity = FileIdentity { tenant: record.tenant, signal: record.signal, part: record.id, name };
        EncryptedFile::open(path, identity, keys).map(Arc::new).map(Self::Encrypted)
    }

    /// Bytes of the plain file.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Plain { length, .. } => *length,
            Self::Encrypted(file) => file.len(),
        }
    }

    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        match self {
            Self::Plain { file, .. } => file.read_exact_at(buffer, offset),
            Self::Encrypted(file) => file.read_exact_at(buffer, offset),
        }
    }

    /// Some bytes from an offset on, none at the end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        match self {
            Self::Plain { file, .. } => file.read_at(buffer, offset),
            Self::Encrypted(file) => {
                let left = usize::try_from(file.len().saturating_sub(offset)).unwrap_or(usize::MAX);
                let length = left.min(buffer.len());
                file.read_exact_at(&mut buffer[..length], offset).map(|()| length)
            }
        }
    }

    /// The whole plain file.
    pub(crate) fn read_all(&self) -> std::io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(self.length()).map_err(std::io::Error::other)?];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes.into())
    }
}

impl HasLen for EncryptedFile {
    fn len(&self) -> usize {
        usize::try_from(Self::len(self)).unwrap_or(usize::MAX)
    }
}

impl FileHandle for EncryptedFile {
    fn read_bytes(&self, range: Range<usize>) -> std::io::Result<OwnedBytes> {
        let mut bytes = vec![0; range.len()];
        self.read_exact_at(&mut bytes, range.start as u64)?;
        Ok(OwnedBytes::new(bytes))
    }
}

impl EncodedPart {
    /// The same part with every file encrypted.
    pub(crate) fn encrypted(self, key: &DataKey) -> Result<Self, Error> {
        let Self { mut record, files } = self;
        let encrypt = |(name, plain): (String, Bytes)| {
            let identity = FileIdentity { tenant: record.tenant, signal: record.signal, part: record.id, name: &name };
            let stored = encrypt_file(key, identity, &plain)?;
            Ok((format!("{name}{SUFFIX}"), stored))
        };
        let files: Result<Vec<(String, Bytes)>, Error> = files.into_iter().map(encrypt).collect();
        let files = files?;
        record.files = files.iter().map(|(name, bytes)| PartFile::of(name, bytes)).collect();
        Ok(Self { record, files })
    }
}

impl PartFile {
    pub(super) fn of(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.into(), bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) }
    }

    /// Bytes of the file in plain, which are fewer than those of one that is encrypted.
    pub fn plain_bytes(&self) -> u64 {
        if is_encrypted(&self.name) { plain_length(self.bytes).unwrap_or(0) } else { self.bytes }
    }
}
