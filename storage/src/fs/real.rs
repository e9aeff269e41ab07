use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{File, FileSystem};
use crate::error::Error;
use crate::folder::{check_folder, mark_folder};

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFileSystem;

impl RealFileSystem {
    /// The file system of the machine.
    pub fn new() -> Self {
        Self
    }
}

/// The file by which a process holds a folder.
pub(crate) const LOCK: &str = "lock";

/// Holds a data folder for this process as long as it lives.
#[derive(Debug)]
pub struct FolderLock {
    /// The lock ends when the file is closed, by whatever end of the process.
    _file: fs::File,
}

/// Takes a data folder for this process, and makes it when it is not there. [`Error::Locked`] when another process has it,
/// [`Error::UnknownFormat`] when a newer Trivium wrote it.
pub fn lock_folder(folder: &Path) -> Result<FolderLock, Error> {
    make_private(folder)?;
    check_folder(&RealFileSystem, folder)?;
    let lock = lock_file(&folder.join(LOCK))?;
    mark_folder(&RealFileSystem, folder)?;
    Ok(lock)
}

/// Makes a folder of data for its owner alone, durably. One that is there is somebody's decision: a group may be meant to read
/// it, as in Kubernetes, but that everybody on the machine may is told.
pub(crate) fn make_private(folder: &Path) -> Result<(), Error> {
    let is_there = folder.is_dir();
    make_or_look_at(folder)?;
    // A process that died before it synced the folder's entry left one that a power cut takes away with all in it.
    match RealFileSystem.sync_dir(parent(folder)) {
        // Above a folder that somebody else made we may lack the permission.
        Err(error) if is_there => {
            tracing::debug!(%error, folder = %folder.display(), "the entry of the folder could not be synced");
            Ok(())
        }
        synced => synced,
    }
}

fn make_or_look_at(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        let mode = fs::metadata(folder).map_err(Error::io("look at", folder))?.mode() & 0o7777;
        if mode & 0o007 != 0 {
            tracing::warn!(
                folder = %folder.display(), mode = format_args!("{mode:04o}"),
                "every user of this machine can get at this folder, telemetry and hashes of credentials included; \
                 `chmod 0700` keeps them out"
            );
        }
        return Ok(());
    }
    RealFileSystem.create_dir_all(parent(folder))?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::io("create", folder)(error)),
        _ => Ok(()),
    }
}

/// Takes a folder for this process by a file in it, which is made when it is not there.
pub(crate) fn lock_file(path: &Path) -> Result<FolderLock, Error> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(Error::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock { _file: file }),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.into() }),
        Err(fs::TryLockError::Error(source)) => Err(Error::io("lock", path)(source)),
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl File for RealFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::io("append to", &self.path))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io("fsync", &self.path))
    }

    fn truncate(&mut self, bytes: u64) -> Result<(), Error> {
        self.file.set_len(bytes).map_err(Error::io("truncate", &self.path))?;
        self.file.seek(SeekFrom::Start(bytes)).map(drop).map_err(Error::io("seek in", &self.path))
    }
}

/// The folder with the entry of a path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn unless_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl FileSystem for RealFileSystem {
    fn create_dir_all(&self, path: &Path) -> Result<(), Error> {
        if path.is_dir() {
            return Ok(());
        }
        // Each new entry is synced in its parent, from the top down.
        self.create_dir_all(parent(path))?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(Error::io("create", path)(error)),
            _ => {}
        }
        self.sync_dir(parent(path))
    }

    fn create_new(&self, path: &Path) -> Result<Box<dyn File>, Error> {
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(Error::io("create", path))?;
        Ok(Box::new(RealFile { file, path: path.to_path_buf() }))
    }

    fn read(&self, path: &Path) -> Result<Bytes, Error> {
        fs::read(path).map(Bytes::from).map_err(Error::io("read", path))
    }

    fn read_start(&self, path: &Path, bytes: usize) -> Result<Bytes, Error> {
        let mut content = Vec::new();
        let file = fs::File::open(path).map_err(Error::io("open", path))?;
        file.take(bytes as u64).read_to_end(&mut content).map_err(Error::io("read", path))?;
        Ok(Bytes::from(content))
    }

    fn read_range(&self, path: &Path, offset: u64, bytes: usize) -> Result<Bytes, Error> {
        let mut file = fs::File::open(path).map_err(Error::io("open", path))?;
        file.seek(SeekFrom::Start(offset)).map_err(Error::io("seek in", path))?;
        let mut content = Vec::with_capacity(bytes.min(1 << 20));
        file.take(bytes as u64).read_to_end(&mut content).map_err(Error::io("read", path))?;
        Ok(Bytes::from(content))
    }

    fn sync_file(&self, path: &Path) -> Result<(), Error> {
        let file = fs::File::open(path).map_err(Error::io("open", path))?;
        file.sync_all().map_err(Error::io("fsync", path))
    }

    fn len(&self, path: &Path) -> Result<u64, Error> {
        fs::metadata(path).map(|metadata| metadata.len()).map_err(Error::io("look at", path))
    }

    fn exists(&self, path: &Path) -> Result<bool, Error> {
        path.try_exists().map_err(Error::io("look at", path))
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let entries = fs::read_dir(path).map_err(Error::io("list", path))?;
        let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(Error::io("list", path))?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        fs::rename(from, to).map_err(Error::io("rename", from))
    }

    fn remove_file(&self, path: &Path) -> Result<(), Error> {
        unless_missing(fs::remove_file(path)).map_err(Error::io("remove", path))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), Error> {
        unless_missing(fs::remove_dir_all(path)).map_err(Error::io("remove", path))
    }

    fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        let folder = fs::File::open(path).map_err(Error::io("open", path))?;
        folder.sync_all().map_err(Error::io("fsync", path))
    }
}
