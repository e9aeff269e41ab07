use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use trivium_model::WalPosition;

use super::format::{FRAME_HEADER_BYTES, FileHeader, FrameHeader, encode_frame_header};
use super::recovery::CLEAN;
use super::{Committed, WalConfig};
use crate::error::Error;
use crate::fs::{File, FileSystem};

/// Bytes of one group at most: the group is one buffer in memory.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A WAL file that is complete or being written.
#[derive(Clone, Debug)]
pub(super) struct WalFile {
    pub(super) path: PathBuf,
    pub(super) last: WalPosition,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    config: WalConfig,
    queue: Mutex<Queue>,
    arrived: Condvar,
    files: Mutex<Vec<WalFile>>,
    poison: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
}

struct Waiting {
    header: FrameHeader,
    payload: Bytes,
    committed: Committed,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Waiting").field("header", &self.header).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    pub(super) fn start(
        fs: Arc<dyn FileSystem>,
        folder: PathBuf,
        config: WalConfig,
        files: Vec<WalFile>,
        last: WalPosition,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            config,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            files: Mutex::new(files),
            poison: Mutex::default(),
        });
        let path = folder.clone();
        let mut appender = Appender { shared: Arc::clone(&shared), fs, folder, last, open: None, previous_sum: 0 };
        let thread = std::thread::Builder::new().name("trivium-wal".into()).spawn(move || appender.run());
        let thread = thread.map_err(Error::io("start the writing thread of", path))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn append(&self, header: FrameHeader, payload: Bytes, committed: Committed) -> Result<(), Error> {
        if let Some(reason) = self.is_poisoned() {
            return Err(Error::Unavailable { reason });
        }
        let mut queue = lock(&self.shared.queue);
        if queue.closed {
            return Err(Error::Unavailable { reason: "the server is stopping".into() });
        }
        if queue.bytes + payload.len() > self.shared.config.queue_bytes_max && !queue.waiting.is_empty() {
            return Err(Error::Unavailable {
                reason: "the disk does not keep up with the requests; retry later".into(),
            });
        }
        queue.bytes += payload.len();
        queue.waiting.push_back(Waiting { header, payload, committed });
        drop(queue);
        self.shared.arrived.notify_one();
        Ok(())
    }

    pub(super) fn is_poisoned(&self) -> Option<String> {
        lock(&self.shared.poison).clone()
    }

    pub(super) fn bytes_on_disk(&self) -> u64 {
        lock(&self.shared.files).iter().map(|file| file.bytes).sum()
    }

    pub(super) fn paths_after(&self, after: WalPosition) -> Vec<PathBuf> {
        lock(&self.shared.files).iter().filter(|file| file.last > after).map(|file| file.path.clone()).collect()
    }

    pub(super) fn remove_up_to(&self, fs: &dyn FileSystem, position: WalPosition) -> Result<(), Error> {
        loop {
            // The newest file may be the one that is being written; it goes when the next one has begun.
            let path = {
                let files = lock(&self.shared.files);
                match files.first() {
                    Some(file) if file.last <= position && files.len() > 1 => file.path.clone(),
                    _ => return Ok(()),
                }
            };
            fs.remove_file(&path)?;
            lock(&self.shared.files).retain(|file| file.path != path);
        }
    }

    pub(super) fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            drop(thread.join());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The writing thread's own state.
struct Appender {
    shared: Arc<Shared>,
    fs: Arc<dyn FileSystem>,
    folder: PathBuf,
    /// The last position given out.
    last: WalPosition,
    open: Option<OpenFile>,
    previous_sum: u32,
}

struct OpenFile {
    file: Box<dyn File>,
    /// Bytes up to the end of the last durable group.
    bytes: u64,
    frames: u64,
}

/// How a group failed.
enum Failure {
    /// Nothing of the group is in the file; the next group may succeed (disk full).
    Group(Error),
    /// It is not known what is on the disk; nothing may be acknowledged any more.
    Disk(Error),
}

impl Appender {
    fn run(&mut self) {
        while let Some(group) = self.next_group() {
            self.write_group(group);
        }
        if lock(&self.shared.poison).is_none()
            && let Err(error) =
                self.fs.write_file_synced(&self.folder.join(CLEAN), b"").and_then(|()| self.fs.sync_dir(&self.folder))
        {
            tracing::warn!(%error, "the WAL is complete but could not be marked as closed");
        }
    }

    /// All that is queued, up to the size of a group; waits for the first. `None` when closed and empty.
    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.shared.queue);
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.shared.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(waiting) = queue.waiting.front() {
            bytes += FRAME_HEADER_BYTES + waiting.payload.len();
            if bytes > GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            queue.bytes -= waiting.payload.len();
            group.extend(queue.waiting.pop_front());
        }
        Some(group)
    }

    fn write_group(&mut self, group: Vec<Waiting>) {
        let first = self.last.next();
        let poison = lock(&self.shared.poison).clone();
        let outcome = match poison {
            Some(reason) => Err(reason),
            None => self.write(&group, first).map_err(|failure| self.handle(failure)),
        };
        let mut position = first;
        for waiting in group {
            let result = match &outcome {
                Ok(()) => Ok(position),
                Err(reason) => Err(Error::Unavailable { reason: reason.clone() }),
            };
            let committed = waiting.committed;
            if catch_unwind(AssertUnwindSafe(|| committed(result))).is_err() {
                // The frame is durable but its rows are not visible: only a restart can show them.
                *lock(&self.shared.poison) =
                    Some(format!("taking over the request at position {position} panicked; restart the server"));
            }
            position = position.next();
        }
    }

    fn handle(&self, failure: Failure) -> String {
        match failure {
            Failure::Group(error) => {
                tracing::error!(%error, "a group of requests was not written and not acknowledged; clients retry");
                format!("the WAL cannot be written: {error}")
            }
            Failure::Disk(error) => {
                let reason = format!("the disk failed, nothing can be acknowledged any more: {error}");
                tracing::error!(%error, "the WAL is closed until a restart");
                *lock(&self.shared.poison) = Some(reason.clone());
                reason
            }
        }
    }

    fn write(&mut self, group: &[Waiting], first: WalPosition) -> Result<(), Failure> {
        let bytes = encode(group, first);
        self.rotate(first).map_err(Failure::Group)?;
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(error) = open.file.append(&bytes) {
            // Disk full, most likely: take the part that was written back, so that the next group follows an intact one.
            return Err(match open.file.truncate(open.bytes) {
                Ok(()) => Failure::Group(error),
                Err(error) => Failure::Disk(error),
            });
        }
        open.file.sync().map_err(Failure::Disk)?;
        open.bytes += bytes.len() as u64;
        open.frames += group.len() as u64;
        self.last = WalPosition(self.last.0 + group.len() as u64);
        if let Some(file) = lock(&self.shared.files).last_mut() {
            file.bytes = open.bytes;
            file.last = self.last;
        }
        Ok(())
    }

    /// Begins a new file when there is none or the current one is full: header and entry are durable before a frame is in it.
    fn rotate(&mut self, first: WalPosition) -> Result<(), Error> {
        if self.open.as_ref().is_some_and(|open| open.bytes < self.shared.config.file_bytes_max || open.frames == 0) {
            return Ok(());
        }
        let path = self.folder.join(format!("{:020}.wal", first.0));
        self.fs.remove_file(&path)?;
        let header = FileHeader { first, previous_sum: self.previous_sum }.encode();
        let mut file = self.fs.create_new(&path)?;
        file.append(&header)?;
        file.sync()?;
        self.fs.sync_dir(&self.folder)?;
        let bytes = header.len() as u64;
        self.previous_sum = FileHeader::decode(&header).map_or(0, |(_, sum)| sum);
        self.open = Some(OpenFile { file, bytes, frames: 0 });
        // Until its first group is durable the file holds nothing: its last position is the one before its first.
        lock(&self.shared.files).push(WalFile { path, last: self.last, bytes });
        Ok(())
    }
}

fn encode(group: &[Waiting], first: WalPosition) -> Vec<u8> {
    let length = group.iter().map(|waiting| FRAME_HEADER_BYTES + waiting.payload.len()).sum();
    let mut bytes = Vec::with_capacity(length);
    let mut position = first;
    for Waiting { header, payload, .. } in group {
        bytes.extend_from_slice(&encode_frame_header(header, position, payload));
        bytes.extend_from_slice(payload);
        position = position.next();
    }
    bytes
}
