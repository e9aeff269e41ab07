//! The seam between the store and the disk. Everything durable goes through it, so that tests can crash between any two
//! operations; nothing else in this crate that writes uses `std::fs`.

mod real;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::Error;

pub use real::{FolderLock, RealFileSystem, lock_folder};
pub(crate) use real::{LOCK, lock_file, make_private};

/// An open file that is written from its beginning to its end.
pub trait File: Send + Debug {
    /// Appends all of the bytes. After an error the file may hold a part of them.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Returns when all that was appended survives a power cut. After an error nothing is known of what was appended
    /// since the last success, and trying again proves nothing (Rebello et al., ATC 2020).
    fn sync(&mut self) -> Result<(), Error>;

    /// Cuts the file to a length and goes on from there.
    fn truncate(&mut self, bytes: u64) -> Result<(), Error>;
}

/// Files and folders. Creation, renaming and removal of an entry survive a power cut only after [`FileSystem::sync_dir`]
/// of its folder.
pub trait FileSystem: Send + Sync + Debug {
    /// Makes a folder and its parents, durably.
    fn create_dir_all(&self, path: &Path) -> Result<(), Error>;

    /// Makes a new, empty file; an error when it exists.
    fn create_new(&self, path: &Path) -> Result<Box<dyn File>, Error>;

    /// The whole content.
    fn read(&self, path: &Path) -> Result<Bytes, Error>;

    /// The first `bytes` bytes, fewer when the file is shorter.
    fn read_start(&self, path: &Path, bytes: usize) -> Result<Bytes, Error> {
        let content = self.read(path)?;
        Ok(content.slice(..bytes.min(content.len())))
    }

    /// Up to `bytes` bytes from an offset on, fewer at the end of the file.
    fn read_range(&self, path: &Path, offset: u64, bytes: usize) -> Result<Bytes, Error> {
        let content = self.read(path)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        Ok(content.slice(start..start.saturating_add(bytes).min(content.len())))
    }

    /// Returns when the content of a file that others wrote is durable.
    fn sync_file(&self, path: &Path) -> Result<(), Error>;

    /// The length in bytes.
    fn len(&self, path: &Path) -> Result<u64, Error>;

    /// Whether there is a file or folder.
    fn exists(&self, path: &Path) -> Result<bool, Error>;

    /// The paths in a folder, sorted.
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, Error>;

    /// Gives a file or folder another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error>;

    /// Removes a file; nothing happens when there is none.
    fn remove_file(&self, path: &Path) -> Result<(), Error>;

    /// Removes a folder and all in it; nothing happens when there is none.
    fn remove_dir_all(&self, path: &Path) -> Result<(), Error>;

    /// Makes the entries of a folder durable.
    fn sync_dir(&self, path: &Path) -> Result<(), Error>;

    /// Writes a new file and returns when its content is durable. Its entry is not until the folder is synced.
    fn write_file_synced(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.create_new(path)?;
        file.append(bytes)?;
        file.sync()
    }

    /// Writes a file, in place of one of that name if there is one, and returns when content and entry are durable. After a
    /// crash at any moment there is the old content or the new one. Uses the same path with the extension `tmp`.
    fn replace_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let unnamed = path.with_extension("tmp");
        self.remove_file(&unnamed)?;
        if let Err(error) = self.write_file_synced(&unnamed, bytes).and_then(|()| self.rename(&unnamed, path)) {
            // A part of it must not take the room that a full disk does not have.
            drop(self.remove_file(&unnamed));
            return Err(error);
        }
        path.parent().map_or(Ok(()), |folder| self.sync_dir(folder))
    }
}

/// Keeps bytes in a folder under a name, or under the name with a number when other bytes have it. Doing it again with the
/// same bytes changes nothing. The path of the copy.
pub(crate) fn keep_copy(fs: &dyn FileSystem, folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    fs.create_dir_all(folder)?;
    folder.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))?;
    let mut path = folder.join(name);
    let mut number = 0_u32;
    while fs.exists(&path)? {
        if fs.len(&path)? == bytes.len() as u64 && fs.read(&path)? == bytes {
            return Ok(path);
        }
        number += 1;
        path = folder.join(format!("{name}.{number}"));
    }
    fs.replace_file(&path, bytes)?;
    Ok(path)
}
