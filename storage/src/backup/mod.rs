//! Backups of a data folder, made while the server runs or not, to a folder or to S3, and the way back. See `FORMAT.md` beside
//! this file.

mod check;
mod create;
mod location;
mod manifest;
mod objects;
mod restore;
mod target;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::fs::FileSystem;

pub use check::{CheckReport, check};
pub use create::{BackupOptions, BackupReport, backup};
pub use location::Location;
pub use restore::{RestoreOptions, RestoreReport, restore};

/// Is told how many bytes of how many were read and written.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

const PARTS: &str = "parts";
const SNAPSHOTS: &str = "snapshots";
const WAL: &str = "wal";

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 4 << 20;

/// Counts the bytes of several files that may be on their way at the same time.
#[derive(Clone)]
struct Meter {
    progress: Progress,
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Meter {
    fn new(progress: Progress, total: u64) -> Self {
        Self { progress, done: Arc::default(), total: Arc::new(AtomicU64::new(total)) }
    }

    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(done, self.total.load(Ordering::Relaxed).max(done));
    }

    /// So many bytes are to come.
    fn expect(&self, bytes: u64) {
        self.total.store(self.done.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }
}

/// Length and CRC32C of a file.
fn sum_of(fs: &dyn FileSystem, path: &Path, advance: &dyn Fn(u64)) -> Result<(u64, u32), Error> {
    let (mut bytes, mut sum) = (0_u64, 0_u32);
    loop {
        let chunk = fs.read_range(path, bytes, CHUNK_BYTES)?;
        if chunk.is_empty() {
            return Ok((bytes, sum));
        }
        bytes += chunk.len() as u64;
        sum = crc32c::crc32c_append(sum, &chunk);
        advance(chunk.len() as u64);
    }
}

/// Copies a file to a new one, durably but for its entry; length and CRC32C of what was written.
fn copy(fs: &dyn FileSystem, from: &Path, to: &Path, advance: &dyn Fn(u64)) -> Result<(u64, u32), Error> {
    let mut file = fs.create_new(to)?;
    let (mut bytes, mut sum) = (0_u64, 0_u32);
    loop {
        let chunk = fs.read_range(from, bytes, CHUNK_BYTES)?;
        if chunk.is_empty() {
            break;
        }
        file.append(&chunk)?;
        bytes += chunk.len() as u64;
        sum = crc32c::crc32c_append(sum, &chunk);
        advance(chunk.len() as u64);
    }
    file.sync()?;
    Ok((bytes, sum))
}

/// The snapshots of a place by their names, oldest first.
#[derive(Debug, Default)]
struct Snapshots {
    complete: Vec<String>,
    /// Without a manifest: their backup did not come to its end, or is running.
    interrupted: Vec<String>,
}

impl Snapshots {
    /// Names those without a manifest, for the end of a sentence.
    fn told_interrupted(&self) -> String {
        match self.interrupted.as_slice() {
            [] => String::new(),
            names => format!(
                " (of {} there is no {}: their backups were interrupted, or are running)",
                names.join(", "),
                manifest::FILE
            ),
        }
    }
}

/// The snapshots of a backup folder.
fn snapshots(fs: &dyn FileSystem, folder: &Path) -> Result<Snapshots, Error> {
    let path = folder.join(SNAPSHOTS);
    let mut found = Snapshots::default();
    if !fs.exists(&path)? {
        return Ok(found);
    }
    for path in fs.list(&path)? {
        let is_complete = fs.exists(&path.join(manifest::FILE))?;
        if is_complete { &mut found.complete } else { &mut found.interrupted }.push(name_of(&path));
    }
    Ok(found)
}

fn snapshot_folder(folder: &Path, name: &str) -> PathBuf {
    folder.join(SNAPSHOTS).join(name)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn refused(problem: impl Into<String>) -> Error {
    Error::Backup { problem: problem.into() }
}

/// What is wrong with a file that has another length or sum.
fn other_sum((bytes, sum): (u64, u32), file: &manifest::StoredFile) -> String {
    format!("{bytes} bytes with CRC32C {sum:08x} instead of {} with {:08x}", file.bytes, file.crc32c)
}
