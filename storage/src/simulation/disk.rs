//! The disk of a simulated machine: every operation that changes it has a number, at which the process can end, the disk
//! fail, or the simulation stand still for a while.
//!
//! What is on it is kept by [`CrashFileSystem`], which knows what would survive a power cut. What lies under `parts/` is
//! written to real files too, because parts are read past the seam; those live in memory where there is `/dev/shm`.

use std::fmt::{self, Debug, Formatter};
use std::hash::{DefaultHasher, Hasher};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::error::Error;
use crate::fs::testing::CrashFileSystem;
use crate::fs::{File, FileSystem};

/// Where the simulation stands still, so that something else happens at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Before a group goes into the WAL.
    WalAppend,
    /// Before a file of a part is made.
    PartFile,
    /// Before the catalog takes a publish.
    Publish,
    /// Before a WAL file is removed.
    WalRemoval,
}

/// How operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no room; a part of what was to be written is.
    Full,
    /// The disk does not do it; what a failed fsync should have written never reaches the disk.
    Failing,
    /// As before, and reading fails too.
    Unreadable,
}

impl Fault {
    fn kind(self) -> ErrorKind {
        if self == Self::Full { ErrorKind::StorageFull } else { ErrorKind::Other }
    }
}

/// What a mistake in the store could leave out. The store believes that it is done, and nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// fsync of the files of the WAL.
    WalContent,
    /// fsync of its folder.
    WalNames,
    /// fsync of the files of parts.
    PartContent,
    /// fsync of their folders.
    PartNames,
    /// fsync of files beside them: what marks the folder.
    MarkContent,
    /// fsync of the data folder and of the one that it lies in.
    MarkNames,
    /// The position up to which parts hold what the WAL held.
    WalPosition,
    /// The requests that a part brings, by which they are recognised when they come again.
    RequestKeys,
}

impl Omission {
    /// The one that leaves out fsync of this file.
    fn of_content(path: &Path) -> Self {
        match path {
            path if is_below("parts", path) => Self::PartContent,
            path if is_below("wal", path) => Self::WalContent,
            _ => Self::MarkContent,
        }
    }

    /// The one that leaves out fsync of this folder.
    fn of_names(path: &Path) -> Self {
        match path {
            path if is_below("parts", path) => Self::PartNames,
            path if is_below("wal", path) => Self::WalNames,
            _ => Self::MarkNames,
        }
    }
}

/// Told the number of every operation before it is done.
pub(super) type Observer = Box<dyn FnMut(u64) + Send>;

/// The disk as one process sees it. Cloning shares it.
#[derive(Clone)]
pub(super) struct Disk {
    shared: Arc<Shared>,
}

struct Shared {
    /// What the root of the disk is in reality.
    root: TempDir,
    model: CrashFileSystem,
    control: Mutex<Control>,
    arrived: Notify,
    resumed: Condvar,
    resumed_async: Notify,
}

#[derive(Default)]
struct Control {
    operations: u64,
    stop_at: Option<u64>,
    faults: Option<(Range<u64>, Fault)>,
    omission: Option<Omission>,
    /// How many operations have failed.
    failures: u64,
    trace: DefaultHasher,
    /// The last operations, for the report of a failure.
    last: Vec<String>,
    observer: Option<Observer>,
    pause: Option<Pause>,
    is_paused: bool,
}

impl Debug for Disk {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Disk").field("root", &self.shared.root.path()).finish_non_exhaustive()
    }
}

/// A folder in memory if the machine has one.
fn new_root() -> TempDir {
    let mut named = tempfile::Builder::new();
    named.prefix("trivium-simulation-");
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { named.tempdir_in(memory) } else { named.tempdir() };
    made.expect("a folder for the simulation")
}

impl Disk {
    /// A disk with this on it.
    pub(super) fn new(model: CrashFileSystem) -> Self {
        let root = new_root();
        let (folders, files) = model.below(&Path::new("/").join(DATA).join("parts"));
        let real = |path: &Path| root.path().join(path.strip_prefix("/").expect("absolute"));
        for folder in folders {
            std::fs::create_dir_all(real(&folder)).expect("made");
        }
        for (path, bytes) in files {
            std::fs::write(real(&path), &*bytes).expect("written");
        }
        std::fs::create_dir_all(root.path().join(DATA)).expect("made");
        let (arrived, resumed, resumed_async) = (Notify::new(), Condvar::new(), Notify::new());
        let control = Mutex::default();
        Self { shared: Arc::new(Shared { root, model, control, arrived, resumed, resumed_async }) }
    }

    /// The data folder, as the store is told.
    pub(super) fn folder(&self) -> PathBuf {
        self.shared.root.path().join(DATA)
    }

    /// What is on it and what of that would survive.
    pub(super) fn model(&self) -> &CrashFileSystem {
        &self.shared.model
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.shared.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations were begun.
    pub(super) fn operations(&self) -> u64 {
        self.control().operations
    }

    /// How many operations have failed because the simulation wanted it, a stop aside.
    pub(super) fn failures(&self) -> u64 {
        self.control().failures
    }

    /// A number that tells two sequences of operations apart.
    pub(super) fn trace(&self) -> u64 {
        self.control().trace.finish()
    }

    /// The last operations in words.
    pub(super) fn last_operations(&self) -> String {
        self.control().last.join("\n")
    }

    /// From the given operation on none is done, as if the process were no more.
    pub(super) fn stop_at(&self, operation: u64) {
        self.control().stop_at = Some(operation);
    }

    /// From now on none is done.
    pub(super) fn stop(&self) {
        let mut control = self.control();
        control.stop_at = Some(control.operations);
    }

    /// Whether an operation is no longer done.
    pub(super) fn is_stopped(&self) -> bool {
        let control = self.control();
        control.stop_at.is_some_and(|stop| control.operations >= stop)
    }

    /// The operations with these numbers fail.
    pub(super) fn fail(&self, operations: Range<u64>, fault: Fault) {
        self.control().faults = Some((operations, fault));
    }

    /// From now on this is not done, and nobody is told.
    pub(super) fn leave_out(&self, omission: Option<Omission>) {
        self.control().omission = omission;
    }

    /// What is not done.
    pub(super) fn omission(&self) -> Option<Omission> {
        self.control().omission
    }

    /// Who is told of every operation before it is done.
    pub(super) fn observe(&self, observer: Observer) {
        self.control().observer = Some(observer);
    }

    /// Stands still when it next comes to such a place.
    pub(super) fn pause_at(&self, pause: Pause) {
        self.control().pause = Some(pause);
    }

    /// Completes when the simulation stands still.
    pub(super) async fn arrived(&self) {
        self.shared.arrived.notified().await;
    }

    /// Goes on, or does not stand still after all.
    pub(super) fn resume(&self) {
        let mut control = self.control();
        control.pause = None;
        if std::mem::take(&mut control.is_paused) {
            self.shared.resumed.notify_all();
            self.shared.resumed_async.notify_waiters();
        }
    }

    /// Stands still without holding the thread.
    pub(super) async fn pause_here(&self, here: Pause) {
        let resumed = self.shared.resumed_async.notified();
        if self.control().stands_still(here) {
            self.shared.arrived.notify_one();
            resumed.await;
        }
    }

    fn pause_in_thread(&self, here: Pause) {
        let mut control = self.control();
        if !control.stands_still(here) {
            return;
        }
        self.shared.arrived.notify_one();
        while control.is_paused {
            control = self.shared.resumed.wait(control).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives an operation its number; the error or the fault with which it ends.
    pub(super) fn begin(&self, action: &'static str, path: &Path) -> Result<Option<Fault>, Error> {
        if let Some(pause) = pause_of(action, path) {
            self.pause_in_thread(pause);
        }
        let mut control = self.control();
        let number = control.operations;
        if control.stop_at.is_some_and(|stop| number >= stop) {
            return Err(failed(action, path, ErrorKind::Interrupted));
        }
        if let Some(observer) = &mut control.observer {
            observer(number);
        }
        control.operations += 1;
        let fault = control.faults.as_ref().filter(|(at, _)| at.contains(&number)).map(|(_, fault)| *fault);
        control.failures += u64::from(fault.is_some());
        control.tell(number, action, path.strip_prefix(self.shared.root.path()).unwrap_or(path), fault);
        Ok(fault)
    }

    /// [`Self::begin`] of something that has no effect when it fails.
    pub(super) fn begin_whole(&self, action: &'static str, path: &Path) -> Result<(), Error> {
        self.begin(action, path)?.map_or(Ok(()), |fault| Err(failed(action, path, fault.kind())))
    }

    /// Reading has no number, and fails when the process is no more or the disk fails altogether.
    pub(super) fn begin_reading(&self, action: &'static str, path: &Path) -> Result<(), Error> {
        let mut control = self.control();
        let now = control.operations;
        if control.stop_at.is_some_and(|stop| now >= stop) {
            return Err(failed(action, path, ErrorKind::Interrupted));
        }
        if control.faults.as_ref().is_some_and(|(at, fault)| *fault == Fault::Unreadable && at.contains(&now)) {
            control.failures += 1;
            return Err(failed(action, path, ErrorKind::Other));
        }
        Ok(())
    }

    /// [`Self::begin_reading`]; where it lies on the disk.
    fn read_from(&self, action: &'static str, path: &Path) -> Result<PathBuf, Error> {
        self.begin_reading(action, path)?;
        Ok(self.inside(path))
    }

    /// The path on the disk.
    fn inside(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(self.shared.root.path()).expect("it lies on this disk"))
    }

    fn outside(&self, inside: &Path) -> PathBuf {
        self.shared.root.path().join(inside.strip_prefix("/").expect("absolute"))
    }
}

impl Control {
    fn stands_still(&mut self, here: Pause) -> bool {
        let stands_still = self.pause == Some(here);
        if stands_still {
            self.pause = None;
            self.is_paused = true;
        }
        stands_still
    }

    /// Salts are chance of the system, so the names of WAL files count up to the position only.
    fn tell(&mut self, number: u64, action: &str, path: &Path, fault: Option<Fault>) {
        const LAST: usize = 400;
        let text = path.to_string_lossy();
        let text = match text.find("/wal/0") {
            Some(wal) => &text[..wal + "/wal/".len() + 20],
            None => &*text,
        };
        self.trace.write(action.as_bytes());
        self.trace.write(text.as_bytes());
        if self.last.len() >= LAST {
            self.last.drain(..LAST / 2);
        }
        let fault = fault.map_or(String::new(), |fault| format!(": {fault:?}"));
        self.last.push(format!("{number} {action} {text}{fault}"));
    }
}

/// The data folder on the disk.
const DATA: &str = "data";

fn failed(action: &'static str, path: &Path, kind: ErrorKind) -> Error {
    Error::io(action, path)(std::io::Error::from(kind))
}

fn pause_of(action: &str, path: &Path) -> Option<Pause> {
    match action {
        "append to" if is_below("wal", path) => Some(Pause::WalAppend),
        "create" if is_below("parts", path) => Some(Pause::PartFile),
        // Not what is made under the lock of the log.
        "remove" if path.extension().is_some_and(|extension| extension == "wal") => Some(Pause::WalRemoval),
        _ => None,
    }
}

/// Whether one of the folders of a path, or its end, has this name.
fn is_below(name: &str, path: &Path) -> bool {
    path.ancestors().any(|folder| folder.file_name().is_some_and(|last| *last == *name))
}

fn is_mirrored(inside: &Path) -> bool {
    inside.starts_with(Path::new("/").join(DATA).join("parts"))
}

#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    path: PathBuf,
    model: Box<dyn File>,
    mirror: Option<std::fs::File>,
}

impl File for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let fault = self.disk.begin("append to", &self.path)?;
        let written = if fault.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        self.model.append(written)?;
        if let Some(mirror) = &mut self.mirror {
            mirror.write_all(written).map_err(Error::io("append to", &self.path))?;
        }
        fault.map_or(Ok(()), |fault| Err(failed("append to", &self.path, fault.kind())))
    }

    fn sync(&mut self) -> Result<(), Error> {
        if let Some(fault) = self.disk.begin("fsync", &self.path)? {
            self.disk.model().fail_sync_at(self.disk.model().syncs());
            drop(self.model.sync());
            return Err(failed("fsync", &self.path, fault.kind()));
        }
        if self.disk.omission() == Some(Omission::of_content(&self.path)) {
            return Ok(());
        }
        self.model.sync()
    }

    fn truncate(&mut self, bytes: u64) -> Result<(), Error> {
        self.disk.begin_whole("truncate", &self.path)?;
        self.model.truncate(bytes)?;
        self.mirror.as_ref().map_or(Ok(()), |mirror| mirror.set_len(bytes)).map_err(Error::io("truncate", &self.path))
    }
}

impl FileSystem for Disk {
    fn create_dir_all(&self, path: &Path) -> Result<(), Error> {
        let inside = self.inside(path);
        if inside.parent().is_none() || self.model().exists(&inside)? {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(path);
        self.create_dir_all(parent)?;
        self.begin_whole("create", path)?;
        self.model().make_dir(&inside)?;
        if is_mirrored(&inside) {
            std::fs::create_dir_all(path).map_err(Error::io("create", path))?;
        }
        self.sync_dir(parent)
    }

    fn create_new(&self, path: &Path) -> Result<Box<dyn File>, Error> {
        self.begin_whole("create", path)?;
        let inside = self.inside(path);
        let model = self.model().create_new(&inside)?;
        let mirror = is_mirrored(&inside).then(|| std::fs::File::create_new(path)).transpose();
        let mirror = mirror.map_err(Error::io("create", path))?;
        Ok(Box::new(DiskFile { disk: self.clone(), path: path.into(), model, mirror }))
    }

    fn read(&self, path: &Path) -> Result<Bytes, Error> {
        self.model().read(&self.read_from("read", path)?)
    }

    fn sync_file(&self, path: &Path) -> Result<(), Error> {
        self.begin_whole("fsync", path)?;
        if self.omission() == Some(Omission::of_content(path)) {
            return Ok(());
        }
        self.model().sync_file(&self.inside(path))
    }

    fn len(&self, path: &Path) -> Result<u64, Error> {
        self.model().len(&self.read_from("look at", path)?)
    }

    fn exists(&self, path: &Path) -> Result<bool, Error> {
        self.model().exists(&self.read_from("look at", path)?)
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let inside = self.model().list(&self.read_from("list", path)?)?;
        Ok(inside.iter().map(|path| self.outside(path)).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.begin_whole("rename", from)?;
        let (inside, target) = (self.inside(from), self.inside(to));
        self.model().rename(&inside, &target)?;
        match (is_mirrored(&inside), is_mirrored(&target)) {
            (true, true) => std::fs::rename(from, to).map_err(Error::io("rename", from)),
            _ => Ok(()),
        }
    }

    fn remove_file(&self, path: &Path) -> Result<(), Error> {
        self.begin_whole("remove", path)?;
        let inside = self.inside(path);
        if is_mirrored(&inside) && self.model().exists(&inside)? {
            std::fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
        self.model().remove_file(&inside)
    }

    /// One entry after the other, as the system does it.
    fn remove_dir_all(&self, path: &Path) -> Result<(), Error> {
        if !self.exists(path)? {
            return Ok(());
        }
        let (folders, files) = self.model().below(&self.inside(path));
        for (file, _) in files {
            self.remove_file(&self.outside(&file))?;
        }
        for folder in folders.iter().rev() {
            let outside = self.outside(folder);
            self.begin_whole("remove", &outside)?;
            self.model().remove_dir_all(folder)?;
            if is_mirrored(folder) {
                std::fs::remove_dir_all(&outside).map_err(Error::io("remove", &outside))?;
            }
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        self.begin_whole("fsync", path)?;
        if self.omission() == Some(Omission::of_names(path)) {
            return Ok(());
        }
        self.model().sync_dir(&self.inside(path))
    }
}
