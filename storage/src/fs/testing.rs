//! A file system in memory that forgets what was not synced: crashes between any two operations, full and failing disks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{File, FileSystem, RealFileSystem};
use crate::error::Error;

/// A file and what it holds.
pub(crate) type FileContent = (PathBuf, Arc<Vec<u8>>);

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Nothing.
    OnlySynced,
    /// Everything: only the process died.
    Everything,
    /// Everything but what only cut a file: the bytes had reached the disk, their removal had not.
    NothingCut,
    /// Some of it, chosen by the seed; the tail of a file may be cut inside a write.
    Some(u64),
    /// Some of it, chosen by the seed: of every sector that a write touched there is the old content or the new one, in any
    /// combination, and the length is the old one, the new one or one in between.
    Torn(u64),
}

/// Bytes that reach the disk together.
const SECTOR_BYTES: usize = 512;

/// Numbers that look like chance, the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below a bound, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
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
    synced_folders: BTreeSet<PathBuf>,
    next: u64,
    operations: u64,
    stop_at: Option<u64>,
    fail_sync_at: Option<u64>,
    syncs: u64,
    room: Option<u64>,
    panic_at_sync: Option<u64>,
    fail_dir_sync: bool,
    fail_append: Option<std::io::ErrorKind>,
    /// How often files can be read before they vanish.
    vanishing: BTreeMap<PathBuf, u32>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// Shared, so that a copy of all that is on the disk costs little.
    bytes: Arc<Vec<u8>>,
    synced: Arc<Vec<u8>>,
    /// What it was before it was cut, as long as the cut is not synced.
    before_cut: Option<Arc<Vec<u8>>>,
    /// Where a sync failed: the system takes these bytes for written, shows them, and never writes them.
    lost: Vec<std::ops::Range<usize>>,
}

impl Content {
    fn new(bytes: Arc<Vec<u8>>) -> Self {
        Self { synced: Arc::clone(&bytes), bytes, ..Self::default() }
    }

    fn after(&self, crash: Crash, chance: &mut Chance) -> Arc<Vec<u8>> {
        if Arc::ptr_eq(&self.bytes, &self.synced) && self.before_cut.is_none() {
            return Arc::clone(&self.bytes);
        }
        match crash {
            Crash::OnlySynced => Arc::clone(&self.synced),
            Crash::Everything => Arc::clone(&self.bytes),
            Crash::NothingCut => Arc::clone(self.before_cut.as_ref().unwrap_or(&self.bytes)),
            Crash::Some(_) => {
                let unsynced = self.bytes.len().saturating_sub(self.synced.len()) as u64;
                let kept = self.synced.len() + chance.below(unsynced + 1) as usize;
                let is_longer = self.bytes.starts_with(&self.synced);
                if is_longer { Arc::new(self.bytes[..kept].to_vec()) } else { Arc::clone(&self.synced) }
            }
            Crash::Torn(_) => Arc::new(self.torn(chance)),
        }
    }

    fn torn(&self, chance: &mut Chance) -> Vec<u8> {
        let versions: Vec<&Arc<Vec<u8>>> = [&self.synced, &self.bytes].into_iter().chain(&self.before_cut).collect();
        let shortest = versions.iter().map(|version| version.len()).min().unwrap_or_default();
        let longest = versions.iter().map(|version| version.len()).max().unwrap_or_default();
        let length = match chance.below(3) {
            0 => shortest,
            1 => longest,
            _ => shortest + chance.below((longest - shortest) as u64 + 1) as usize,
        };
        let mut torn = vec![0; length];
        for (index, sector) in torn.chunks_mut(SECTOR_BYTES).enumerate() {
            let version = versions[chance.below(versions.len() as u64) as usize];
            let written = version.get(index * SECTOR_BYTES..).unwrap_or_default();
            let bytes = written.len().min(sector.len());
            sector[..bytes].copy_from_slice(&written[..bytes]);
        }
        torn
    }

    fn sync(&mut self) {
        self.synced = Arc::clone(&self.bytes);
        for lost in &self.lost {
            let end = lost.end.min(self.synced.len());
            Arc::make_mut(&mut self.synced)[lost.start.min(end)..end].fill(0);
        }
        self.before_cut = None;
    }
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

    /// The process was stopped, the machine was not: the next process goes on with what this one had not synced.
    pub(crate) fn go_on(&self) {
        self.state().stop_at = None;
    }

    /// The given file sync, counted from 0, fails. What it should have written is shown until a power cut and never
    /// written, though later syncs succeed.
    pub(crate) fn fail_sync_at(&self, sync: u64) {
        self.state().fail_sync_at = Some(sync);
    }

    /// Bytes that can still be written; `None` is no limit.
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// The given file sync, counted from 0, panics.
    pub(crate) fn panic_at_sync(&self, sync: u64) {
        self.state().panic_at_sync = Some(sync);
    }

    /// The next sync of a folder fails.
    pub(crate) fn fail_dir_sync(&self) {
        self.state().fail_dir_sync = true;
    }

    /// The next append fails with nothing written.
    pub(crate) fn fail_append(&self, kind: std::io::ErrorKind) {
        self.state().fail_append = Some(kind);
    }

    /// How many file syncs were asked for.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// A disk in the same state that goes its own way from here on.
    pub(crate) fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// The folders and files whose paths begin with this one, parents first, as the process that is running sees them.
    pub(crate) fn below(&self, path: &Path) -> (Vec<PathBuf>, Vec<FileContent>) {
        let state = self.state();
        let folders = state.folders.iter().filter(|folder| folder.starts_with(path)).cloned().collect();
        let files = state.names.iter().filter(|(name, _)| name.starts_with(path));
        let files = files.map(|(name, number)| (name.clone(), Arc::clone(&state.files[number].bytes))).collect();
        (folders, files)
    }

    /// Makes one folder, whose entry is then to be synced.
    pub(crate) fn make_dir(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.change("create", path)?;
        state.folders.insert(path.to_path_buf());
        Ok(())
    }

    /// A file can be read so often, then somebody removes it.
    pub(crate) fn vanish_after(&self, path: &Path, reads: u32) {
        self.state().vanishing.insert(path.to_path_buf(), reads);
    }

    /// What the next start finds.
    pub(crate) fn crash(&self, crash: Crash) -> Self {
        let state = self.state();
        let mut chance = Chance(match crash {
            Crash::Some(seed) | Crash::Torn(seed) => seed,
            _ => 0,
        });
        let mut after = State { next: state.next, ..State::default() };
        for folder in state.folders.union(&state.synced_folders) {
            let (named, synced) = (state.folders.contains(folder), state.synced_folders.contains(folder));
            let survives = survivor(crash, &mut chance, named, synced);
            // Parents come first in the order of paths.
            if survives && folder.parent().is_none_or(|parent| is_root(parent) || after.folders.contains(parent)) {
                after.folders.insert(folder.clone());
            }
        }
        let all: BTreeSet<&PathBuf> = state.names.keys().chain(state.synced_names.keys()).collect();
        for path in all {
            let number = survivor(crash, &mut chance, state.names.get(path), state.synced_names.get(path));
            let has_folder = path.parent().is_none_or(|parent| is_root(parent) || after.folders.contains(parent));
            if let Some(number) = number.filter(|_| has_folder) {
                after.names.insert(path.clone(), *number);
            }
        }
        let seed = chance.0;
        for number in after.names.values() {
            // Of each file by itself: the length of one must not decide about the others.
            let mut chance = Chance(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let bytes = state.files[number].after(crash, &mut chance);
            after.files.insert(*number, Content::new(bytes));
        }
        after.synced_names = after.names.clone();
        after.synced_folders = after.folders.clone();
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let number = state.names[path];
        let content = state.files.get_mut(&number).expect("a name refers to a file");
        change(Arc::make_mut(&mut content.bytes));
        content.synced = Arc::clone(&content.bytes);
    }
}

/// Which of two states of an entry a power cut leaves.
fn survivor<T>(crash: Crash, chance: &mut Chance, current: T, synced: T) -> T {
    match crash {
        Crash::OnlySynced => synced,
        Crash::Everything | Crash::NothingCut => current,
        Crash::Some(_) | Crash::Torn(_) => {
            if chance.coin() {
                current
            } else {
                synced
            }
        }
    }
}

fn is_root(path: &Path) -> bool {
    path.parent().is_none()
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
        if let Some(kind) = state.fail_append.take() {
            return Err(error("append to", &self.path, kind));
        }
        let room = state.room.unwrap_or(u64::MAX);
        let written = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        state.room = state.room.map(|room| room - written as u64);
        let content = state.files.get_mut(&self.number).expect("an open file exists");
        Arc::make_mut(&mut content.bytes).extend_from_slice(&bytes[..written]);
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
        assert_ne!(state.panic_at_sync, Some(sync), "the test wants a panic here");
        let failed = state.fail_sync_at == Some(sync);
        let content = state.files.get_mut(&self.number).expect("an open file exists");
        if failed {
            content.lost.push(content.synced.len()..content.bytes.len());
            return Err(error("fsync", &self.path, std::io::ErrorKind::Other));
        }
        content.sync();
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> Result<(), Error> {
        let mut state = self.fs.state();
        state.change("truncate", &self.path)?;
        let length = usize::try_from(bytes).expect("files in memory are small");
        let content = state.files.get_mut(&self.number).expect("an open file exists");
        let before = Arc::clone(&content.bytes);
        content.before_cut.get_or_insert(before);
        Arc::make_mut(&mut content.bytes).truncate(length);
        Ok(())
    }
}

impl FileSystem for CrashFileSystem {
    /// In the steps of the real one: every missing folder is made and then its entry synced.
    fn create_dir_all(&self, path: &Path) -> Result<(), Error> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if self.state().folders.contains(path) {
            return Ok(());
        }
        self.create_dir_all(parent)?;
        self.make_dir(path)?;
        self.sync_dir(parent)
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
        let mut state = self.state();
        match state.vanishing.get_mut(path) {
            Some(0) => drop(state.names.remove(path)),
            Some(reads) => *reads -= 1,
            None => {}
        }
        let number = state.number("read", path)?;
        Ok(Bytes::from(state.files[&number].bytes.to_vec()))
    }

    fn sync_file(&self, path: &Path) -> Result<(), Error> {
        let mut state = self.state();
        state.change("fsync", path)?;
        let number = state.number("fsync", path)?;
        state.files.get_mut(&number).expect("a name refers to a file").sync();
        Ok(())
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
        if std::mem::take(&mut state.fail_dir_sync) {
            return Err(error("fsync", path, std::io::ErrorKind::Other));
        }
        let within = |name: &Path| name.parent() == Some(path);
        let current: Vec<(PathBuf, u64)> =
            state.names.iter().filter(|(name, _)| within(name)).map(|(name, number)| (name.clone(), *number)).collect();
        state.synced_names.retain(|name, _| !within(name));
        state.synced_names.extend(current);
        let current: Vec<PathBuf> = state.folders.iter().filter(|name| within(name)).cloned().collect();
        state.synced_folders.retain(|name| !within(name));
        state.synced_folders.extend(current);
        Ok(())
    }
}

/// What ext4 answers when the checksum of an inode is wrong.
const EBADMSG: i32 = 74;

/// A disk with room for so many more files of parts.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    pub(crate) room: AtomicI64,
    pub(crate) refused: AtomicUsize,
    /// The name of files that nobody may look at: their inodes are damaged.
    pub(crate) unknown: Mutex<Option<&'static str>>,
}

impl SmallDisk {
    pub(crate) fn with_room(files: i64) -> Self {
        Self { room: AtomicI64::new(files), refused: AtomicUsize::new(0), unknown: Mutex::default() }
    }
}

impl FileSystem for SmallDisk {
    fn create_dir_all(&self, path: &Path) -> Result<(), Error> {
        RealFileSystem.create_dir_all(path)
    }

    fn create_new(&self, path: &Path) -> Result<Box<dyn File>, Error> {
        let is_part = path.components().any(|part| part.as_os_str() == "parts");
        if is_part && self.room.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::io("create", path)(std::io::ErrorKind::StorageFull.into()));
        }
        RealFileSystem.create_new(path)
    }

    fn read(&self, path: &Path) -> Result<Bytes, Error> {
        RealFileSystem.read(path)
    }

    fn len(&self, path: &Path) -> Result<u64, Error> {
        let unknown = *self.unknown.lock().expect("no test panicked with it");
        if unknown.is_some_and(|name| path.ends_with(name)) {
            return Err(Error::io("look at", path)(std::io::Error::from_raw_os_error(EBADMSG)));
        }
        RealFileSystem.len(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, Error> {
        RealFileSystem.exists(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        RealFileSystem.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        RealFileSystem.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<(), Error> {
        RealFileSystem.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), Error> {
        RealFileSystem.remove_dir_all(path)
    }

    fn sync_file(&self, path: &Path) -> Result<(), Error> {
        RealFileSystem.sync_file(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        RealFileSystem.sync_dir(path)
    }
}
