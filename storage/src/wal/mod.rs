//! The write-ahead log: one sequence of export requests for all signals, durable before they are acknowledged.
//!
//! Owns the files of the folder `wal/` and one thread that does all writing there. Knows nothing of what a payload means.
//! See `FORMAT.md` beside this file.

mod format;
mod log;
mod reader;
mod recovery;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use trivium_model::WalPosition;

use crate::error::Error;
use crate::fs::FileSystem;

pub use format::FrameHeader;
pub use reader::{Frame, Replay};
pub use recovery::{Damage, Scan, WalRecovery, scan, scan_file};
pub(crate) use recovery::{all_missing, copy_order};

use log::Log;
use writer::Writer;

/// How the WAL behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalConfig {
    /// Bytes after which a new file is begun; a file is larger by at most one group.
    pub file_bytes_max: u64,
    /// Bytes of payload that may wait for the disk; more is refused as retryable.
    pub queue_bytes_max: usize,
}

impl Default for WalConfig {
    fn default() -> Self {
        Self { file_bytes_max: 64 * 1024 * 1024, queue_bytes_max: 128 * 1024 * 1024 }
    }
}

/// What a request's sender is told: its position once it is durable, or why it is not. Runs on the WAL thread, in the
/// order of positions, and must not block.
pub type Committed = Box<dyn FnOnce(Result<WalPosition, Error>) + Send>;

/// The open WAL.
#[derive(Debug)]
pub struct Wal {
    fs: Arc<dyn FileSystem>,
    writer: Writer,
}

impl Wal {
    /// Opens the folder, repairs what a crash left at its end, and starts the writing thread. The next position is greater
    /// than every position found and than `published`, the highest that the catalog knows.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        folder: &Path,
        config: WalConfig,
        published: WalPosition,
    ) -> Result<(Self, WalRecovery), Error> {
        let (log, report) = open_log(&fs, folder, config, published)?;
        let writer = Writer::start(log, config)?;
        Ok((Self { fs, writer }, report))
    }

    /// Reads the frames after a position, in order, a file at a time. Frames appended after the call are not in it.
    pub fn replay(&self, after: WalPosition) -> Replay {
        let paths: Vec<PathBuf> = self.writer.paths_after(after);
        Replay::new(Arc::clone(&self.fs), paths, after)
    }

    /// Queues a request. [`Error::Unavailable`] at once when the queue is full, the WAL is closed or the disk has failed;
    /// [`Error::TooLarge`] when replay would refuse it; otherwise `committed` is called exactly once.
    pub fn append(&self, header: FrameHeader, payload: Bytes, committed: Committed) -> Result<(), Error> {
        self.writer.append(header, payload, committed)
    }

    /// Removes the files of which every frame lies at or below a position; when that is all of them, a file without frames
    /// remains, which keeps the positions going. Blocks on the disk.
    pub fn remove_up_to(&self, position: WalPosition) -> Result<(), Error> {
        self.writer.remove_up_to(&*self.fs, position)
    }

    /// The file with a frame goes to `quarantine/` when it is no longer needed, because what is in it could not be copied.
    pub fn keep(&self, position: WalPosition) {
        self.writer.keep(position);
    }

    /// The last position before the oldest file: nothing up to it is in the log.
    pub fn begins_after(&self) -> WalPosition {
        self.writer.begins_after()
    }

    /// Bytes of all files.
    pub fn bytes_on_disk(&self) -> u64 {
        self.writer.bytes_on_disk()
    }

    /// Why nothing can be made durable any more; `None` while all is well.
    pub fn is_poisoned(&self) -> Option<String> {
        self.writer.is_poisoned()
    }

    /// Writes what is queued and ends the thread. Later appends are refused.
    pub fn close(&self) {
        self.writer.close();
    }
}

fn open_log(
    fs: &Arc<dyn FileSystem>,
    folder: &Path,
    config: WalConfig,
    published: WalPosition,
) -> Result<(Log, WalRecovery), Error> {
    fs.create_dir_all(folder)?;
    // A process that died between making the folder and syncing its entry left one that a power cut takes away.
    folder.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))?;
    let (files, mut report) = recovery::recover(&**fs, folder)?;
    if files.is_empty() && report.damage.is_empty() {
        report.damage.extend(all_missing(folder, published));
    }
    let mut log = Log::new(Arc::clone(fs), folder, config, files, report.last_position, published);
    // Its header says how far the files before it go, so that what happens to their ends is never taken for a crash; only
    // then may the mark go that said it until now.
    log.begin()?;
    recovery::remove_leftovers(&**fs, folder)?;
    Ok((log, report))
}
