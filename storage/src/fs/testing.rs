//! A file system in memory that forgets what was not synced: crashes between any two operations, full and failing disks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{File, FileSystem};
use crate::error::Error;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Nothing.
    OnlySynced,
    /// Everything: only the process died.
    Everything,
    /// Some of it, chosen by the seed; the tail of a file may be cut inside a write.
    Some(u64),
}

/// A file system in memory. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrashFileSystem {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Contents by file number; a name refers to a number, so that renaming and content crash independently.
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
    next: u64,
    operations: u64,
    stop_at: Option<u64>,
    fail_sync_at: Option<u64>,
    syncs: u64,
    room: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

impl CrashFileSystem {
    /// An empty file system.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations that change something were done.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Every operation from the given one on fails, as if the process were no more.
    pub(crate) fn stop_at(&self, operation: u64) {
        self.state().stop_at = Some(operation);
    }

    /// The given file sync, counted from 0, fails, and with it everything is as if never written.
    pub(crate) fn fail_sync_at(&self, sync: u64) {
        self.state().fail_sync_at = Some(sync);
    }

    /// Bytes that can still be written; `None` is no limit.
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// What the next start finds.
    pub(crate) fn crash(&self, crash: Crash) -> Self {
        let state = self.state();
        let mut random = match crash {
            Crash::Some(seed) => seed,
            _ => 0,
        };
        let mut chance = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let mut after = State { folders: state.folders.clone(), next: state.next, ..State::default() };
        let all: BTreeSet<&PathBuf> = state.names.keys().chain(state.synced_names.keys()).collect();
        for path in all {
            let survives = match crash {
                Crash::OnlySynced => state.synced_names.get(path),
                Crash::Everything => state.names.get(path),
                Crash::Some(_) if chance() % 2 == 0 => state.names.get(path),
                Crash::Some(_) => state.synced_names.get(path),
            };
            if let Some(number) = survives {
                after.names.insert(path.clone(), *number);
            }
        }
        for number in after.names.values() {
            let content = &state.files[number];
            let bytes = match crash {
                Crash::OnlySynced => content.synced.clone(),
                Crash::Everything => content.bytes.clone(),
                Crash::Some(_) => {
                    let unsynced = content.bytes.len().saturating_sub(content.synced.len()) as u64;
                    let kept = content.synced.len() + (chance() % (unsynced + 1)) as usize;
                    if content.bytes.starts_with(&content.synced) {
                        content.bytes[..kept].to_vec()
                    } else {
                        content.synced.clone()
                    }
                }
            };
            after.files.insert(*number, Content { synced: bytes.clone(), bytes });
        }
        after.synced_names = after.names.clone();
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let number = state.names[path];
        let content = state.files.get_mut(&number).expect("a name refers to a file");
        change(&mut content.bytes);
        content.synced = content.bytes.clone();
    }
}

fn error(action: &'static str, path: &Path, kind: std::io::ErrorKind) -> Error {
    Error::io(action, path)(std::io::Error::from(kind))
}

impl State {
    fn change(&mut self, action: &'static str, path: &Path) -> Result<(), Error> {
        if self.stop_at.is_some_and(|stop| self.operations >= stop) {
            return Err(error(action, path, std::io::ErrorKind::Interrupted));
        }
        self.operations += 1;
        Ok(())
    }

    fn number(&self, action: &'static str, path: &Path) -> Result<u64, Error> {
        self.names.get(path).copied().ok_or_else(|| error(action, path, std::io::ErrorKind::NotFound))
    }
}

#[derive(Debug)]
struct CrashFile {
    fs: CrashFileSystem,
    path: PathBuf,
    number: u64,
}

impl File for CrashFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut state = self.fs.state();
        state.change("append to", &self.path)?;
        let room = state.room.unwrap_or(u64::MAX);
        let written = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        state.room = state.room.map(|room| room - written as u64);
        let content = state.files.get_mut(&self.number).expect("an open file exists");
        content.bytes.extend_from_slice(&bytes[..written]);
        if written < bytes.len() {
            Err(error("append to", &self.path, std::io::ErrorKind::StorageFull))
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        let mut state = self.fs.state();
        state.change("fsync", &self.path)?;
        let sync = state.syncs;
        state.syncs += 1;
        if state.fail_sync_at == Some(sync) {
            return Err(error("fsync", &self.path, std::io::ErrorKind::Other));
        }
        let content = state.files.get_mut(&self.number).expect("an open file exists");
        content.synced = content.bytes.clone();
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> Result<(), Error> {
        let mut state = self.fs.state();
        state.change("truncate", &self.path)?;
        let length = usize::try_from(bytes).expect("files in memory are small");
        let content = state.files.get_mut(&self.number).expect("an open file exists");
        content.bytes.truncate(length);
        Ok(())
    }
}

impl FileSystem for CrashFileSystem {
    fn create_dir_all(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.change("create", path)?;
        let folders = path.ancestors().map(Path::to_path_buf);
        state.folders.extend(folders);
        Ok(())
    }

    fn create_new(&self, path: &Path) -> Result<Box<dyn File>, Error> {
        let mut state = self.state();
        state.change("create", path)?;
        if state.names.contains_key(path) {
            return Err(error("create", path, std::io::ErrorKind::AlreadyExists));
        }
        let number = state.next;
        state.next += 1;
        state.files.insert(number, Content::default());
        state.names.insert(path.to_path_buf(), number);
        Ok(Box::new(CrashFile { fs: self.clone(), path: path.to_path_buf(), number }))
    }

    fn read(&self, path: &Path) -> Result<Bytes, Error> {
        let state = self.state();
        let number = state.number("read", path)?;
        Ok(Bytes::from(state.files[&number].bytes.clone()))
    }

    fn len(&self, path: &Path) -> Result<u64, Error> {
        let state = self.state();
        let number = state.number("look at", path)?;
        Ok(state.files[&number].bytes.len() as u64)
    }

    fn exists(&self, path: &Path) -> Result<bool, Error> {
        let state = self.state();
        Ok(state.names.contains_key(path) || state.folders.contains(path))
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let state = self.state();
        let within = |other: &&PathBuf| other.parent() == Some(path);
        let mut paths: Vec<PathBuf> =
            state.names.keys().filter(within).chain(state.folders.iter().filter(within)).cloned().collect();
        paths.sort_unstable();
        Ok(paths)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.change("rename", from)?;
        let number = state.number("rename", from)?;
        state.names.remove(from);
        state.names.insert(to.to_path_buf(), number);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.change("remove", path)?;
        state.names.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.change("remove", path)?;
        state.names.retain(|name, _| !name.starts_with(path));
        state.folders.retain(|name| !name.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.change("fsync", path)?;
        let within = |name: &Path| name.parent() == Some(path);
        let current: Vec<(PathBuf, u64)> =
            state.names.iter().filter(|(name, _)| within(name)).map(|(name, number)| (name.clone(), *number)).collect();
        state.synced_names.retain(|name, _| !within(name));
        state.synced_names.extend(current);
        Ok(())
    }
}
