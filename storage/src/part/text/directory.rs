//! Tantivy's files in one file, and the read-only directory that shows them again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{DirectoryLock, FileHandle, FileSlice, Lock, WatchCallback, WatchHandle, WritePtr};
use tantivy::{Directory, HasLen};

use crate::error::Error;

const MAGIC: [u8; 8] = *b"TRIVTXT\0";
const VERSION: u32 = 1;

/// Bytes of the trailer: offset of the table, its length and sum, version, magic.
const TRAILER_BYTES: usize = 28;

/// Joins files: their bytes one after the other, a table of names, the trailer.
pub(super) fn write_bundle(files: &[(PathBuf, Vec<u8>)]) -> Bytes {
    let mut bytes =
        Vec::with_capacity(files.iter().map(|(_, content)| content.len() + 64).sum::<usize>() + TRAILER_BYTES);
    let mut table = Vec::new();
    for (path, content) in files {
        let name = path.to_string_lossy();
        let numbers = [bytes.len() as u64, content.len() as u64, name.len() as u64];
        numbers.iter().for_each(|number| table.extend_from_slice(&number.to_le_bytes()));
        table.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(content);
    }
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(&table);
    bytes.extend_from_slice(&offset.to_le_bytes());
    let length = u32::try_from(table.len()).expect("an index has few files");
    for number in [length, crc32c::crc32c(&table), VERSION] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&MAGIC);
    bytes.into()
}

/// The files of a bundle as Tantivy's directory. Nothing can be written.
#[derive(Clone, Debug)]
pub(super) struct BundleDirectory {
    files: Arc<BTreeMap<PathBuf, FileSlice>>,
}

impl BundleDirectory {
    pub(super) fn open(path: &Path, bundle: &FileSlice) -> Result<Self, Error> {
        let corrupted = |expected: &str, found: String| Error::Corrupted {
            path: path.into(),
            offset: bundle.len().saturating_sub(TRAILER_BYTES) as u64,
            expected: expected.into(),
            found,
        };
        let read = |from: usize, length: usize| {
            let end = from.checked_add(length).filter(|end| *end <= bundle.len());
            let end = end.ok_or_else(|| corrupted("a range within the file", format!("{length} bytes at {from}")))?;
            bundle.slice(from..end).read_bytes().map_err(Error::io("read", path))
        };
        let start =
            bundle.len().checked_sub(TRAILER_BYTES).ok_or_else(|| corrupted("a trailer", "a shorter file".into()))?;
        let trailer = read(start, TRAILER_BYTES)?;
        let number = |at: usize| u32::from_le_bytes([trailer[at], trailer[at + 1], trailer[at + 2], trailer[at + 3]]);
        if trailer[20..] != MAGIC {
            return Err(corrupted("the mark of a text index", format!("{:?}", &trailer[20..])));
        }
        if number(16) != VERSION {
            return Err(Error::UnknownFormat { path: path.into(), found: number(16), supported: VERSION });
        }
        let offset = u64::from(number(0)) | u64::from(number(4)) << 32;
        let table = read(usize::try_from(offset).unwrap_or(usize::MAX), number(8) as usize)?;
        if crc32c::crc32c(&table) != number(12) {
            return Err(corrupted("an intact table of files", "another sum".into()));
        }
        let files = read_table(&table, bundle).ok_or_else(|| corrupted("files within the bundle", "others".into()))?;
        Ok(Self { files: Arc::new(files) })
    }
}

fn read_table(mut table: &[u8], bundle: &FileSlice) -> Option<BTreeMap<PathBuf, FileSlice>> {
    let mut files = BTreeMap::new();
    while !table.is_empty() {
        let mut number = || {
            let (bytes, rest) = table.split_first_chunk::<8>()?;
            table = rest;
            usize::try_from(u64::from_le_bytes(*bytes)).ok()
        };
        let (offset, length, name_length) = (number()?, number()?, number()?);
        let (name, rest) = table.split_at_checked(name_length)?;
        table = rest;
        let end = offset.checked_add(length).filter(|end| *end <= bundle.len())?;
        files.insert(PathBuf::from(std::str::from_utf8(name).ok()?), bundle.slice(offset..end));
    }
    Some(files)
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a published text index is read-only")
}

impl Directory for BundleDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let slice = self.files.get(path).ok_or_else(|| OpenReadError::FileDoesNotExist(path.into()))?;
        Ok(Arc::new(slice.clone()))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(read_only()), filepath: path.into() })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.files.contains_key(path))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::IoError { io_error: Arc::new(read_only()), filepath: path.into() })
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let slice = self.files.get(path).ok_or_else(|| OpenReadError::FileDoesNotExist(path.into()))?;
        let bytes = slice.read_bytes();
        bytes.map(|bytes| bytes.to_vec()).map_err(|error| OpenReadError::wrap_io_error(error, path.into()))
    }

    fn atomic_write(&self, _path: &Path, _data: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing changes, so nothing needs to be kept from changing.
    fn acquire_lock(&self, _lock: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
