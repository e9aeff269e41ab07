//! Backups of a data folder, made while the server runs or not, and the way back. See `FORMAT.md` beside this file.

mod create;
mod manifest;
mod restore;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::fs::FileSystem;

pub use create::{BackupOptions, BackupReport, backup};
pub use restore::{RestoreOptions, RestoreReport, restore};

/// Is told how many bytes of how many were read and written.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

const PARTS: &str = "parts";
const SNAPSHOTS: &str = "snapshots";
const WAL: &str = "wal";

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 4 << 20;

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

/// The complete snapshots of a backup folder, oldest first.
fn snapshots(fs: &dyn FileSystem, folder: &Path) -> Result<Vec<String>, Error> {
    let path = folder.join(SNAPSHOTS);
    if !fs.exists(&path)? {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for path in fs.list(&path)? {
        if fs.exists(&path.join(manifest::FILE))? {
            names.push(name_of(&path));
        }
    }
    Ok(names)
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
