//! The queue in front of the log and the thread that empties it, a group at a time.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use trivium_model::WalPosition;

use super::format::{FRAME_HEADER_BYTES, FrameHeader};
use super::log::{Failure, Files, Log, WalFile, remove_files};
use super::{Committed, WalConfig};
use crate::error::Error;
use crate::fs::FileSystem;

/// Bytes of one group at most: the group is one buffer in memory.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

const STOPPING: &str = "the server is stopping";
const PANICKED: &str = "the writing thread of the WAL panicked; restart the server";

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
    /// Held while the disk is written to, never while a sender is told.
    log: Mutex<Log>,
    files: Files,
    poison: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Nothing more is taken.
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    pub(super) fn start(log: Log, config: WalConfig) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            config,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            files: log.files(),
            log: Mutex::new(log),
            poison: Mutex::default(),
        });
        let worker = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("trivium-wal".into());
        let thread = builder.spawn(move || EndOfThread(worker).run());
        let thread = thread.map_err(Error::io("start the writing thread of", "wal"))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn append(&self, header: FrameHeader, payload: Bytes, committed: Committed) -> Result<(), Error> {
        let max = header.payload_bytes_max();
        if payload.len() > max {
            return Err(Error::TooLarge { bytes: payload.len(), max });
        }
        let mut queue = lock(&self.shared.queue);
        if let Some(reason) = self.is_poisoned() {
            return Err(Error::Unavailable { reason });
        }
        if queue.closed {
            return Err(Error::Unavailable { reason: STOPPING.into() });
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

    pub(super) fn begins_after(&self) -> WalPosition {
        let files = lock(&self.shared.files);
        files.first().and_then(WalFile::begins_after).unwrap_or_default()
    }

    pub(super) fn paths_after(&self, after: WalPosition) -> Vec<PathBuf> {
        lock(&self.shared.files).iter().filter(|file| file.last > after).map(|file| file.path.clone()).collect()
    }

    pub(super) fn keep(&self, position: WalPosition) {
        if let Some(file) = lock(&self.shared.files).iter_mut().find(|file| file.last >= position) {
            file.is_kept = true;
        }
    }

    pub(super) fn remove_up_to(&self, fs: &dyn FileSystem, position: WalPosition) -> Result<(), Error> {
        if self.is_poisoned().is_some() {
            return Ok(());
        }
        let shared = &self.shared;
        // The newest file is given up under the log's lock, a short while; the rest does not hold up the groups.
        let removed = remove_files(fs, &shared.files, position)
            .and_then(|()| shared.rotate_after(position))
            .and_then(|()| remove_files(fs, &shared.files, position));
        match removed {
            Ok(()) => Ok(()),
            Err(Failure::Passing(error)) => {
                tracing::warn!(%error, "WAL files that are no longer needed could not be removed; tried again later");
                Ok(())
            }
            Err(Failure::Disk(error)) => {
                shared.disk_failed(&error);
                Err(error)
            }
        }
    }

    pub(super) fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.arrived.notify_one();
        // Telling a sender may drop the last owner of the WAL, on the writing thread itself, which ends by what was set above.
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            drop(thread.join());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The writing thread. However it ends, nobody waits for it in vain.
struct EndOfThread(Arc<Shared>);

impl EndOfThread {
    fn run(self) {
        self.0.run();
    }
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(PANICKED.into());
        }
        let waiting = {
            let mut queue = lock(&self.0.queue);
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        drop(Verdicts { shared: &self.0, waiting });
    }
}

/// Requests whose senders are still to be told; those that are left when it goes are refused.
struct Verdicts<'a> {
    shared: &'a Shared,
    waiting: VecDeque<Waiting>,
}

impl Drop for Verdicts<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.poison(PANICKED.into());
        }
        for Waiting { committed, .. } in self.waiting.drain(..) {
            let reason = lock(&self.shared.poison).clone().unwrap_or_else(|| STOPPING.into());
            drop(catch_unwind(AssertUnwindSafe(|| committed(Err(Error::Unavailable { reason })))));
        }
    }
}

impl Shared {
    fn run(&self) {
        while let Some(group) = self.next_group() {
            self.write_group(group);
        }
        if lock(&self.poison).is_none()
            && let Err(error) = lock(&self.log).close()
        {
            tracing::warn!(%error, "the WAL is complete but could not be marked as closed");
        }
    }

    /// All that is queued, up to the size of a group; waits for the first. `None` when closed and empty.
    fn next_group(&self) -> Option<VecDeque<Waiting>> {
        let mut queue = lock(&self.queue);
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut group, mut bytes) = (VecDeque::new(), 0);
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

    fn write_group(&self, group: VecDeque<Waiting>) {
        let mut verdicts = Verdicts { shared: self, waiting: group };
        let (mut position, outcome) = self.write(&verdicts.waiting);
        while let Some(Waiting { committed, .. }) = verdicts.waiting.pop_front() {
            position = position.next();
            let result = match &outcome {
                Ok(()) => Ok(position),
                Err(reason) => Err(Error::Unavailable { reason: reason.clone() }),
            };
            if catch_unwind(AssertUnwindSafe(|| committed(result))).is_err() {
                // The frame is durable but its rows are not visible: only a restart can show them.
                self.poison(format!("taking over the request at position {position} panicked; restart the server"));
            }
        }
    }

    /// The position before the group's first frame, and whether the group is durable.
    fn write(&self, group: &VecDeque<Waiting>) -> (WalPosition, Result<(), String>) {
        let mut log = lock(&self.log);
        let before = log.last();
        // Under the lock: a removal of files may have found that the disk fails.
        if let Some(reason) = lock(&self.poison).clone() {
            return (before, Err(reason));
        }
        let written = log.append(group.iter().map(|waiting| (&waiting.header, &waiting.payload)));
        (before, written.map_err(|failure| self.refused(failure)))
    }

    /// Nothing but checks as long as the newest file is needed: it is at every seal of a busy server.
    fn rotate_after(&self, position: WalPosition) -> Result<(), Failure> {
        if lock(&self.files).last().is_none_or(|file| file.last > position) {
            return Ok(());
        }
        let mut log = lock(&self.log);
        if lock(&self.poison).is_some() {
            return Ok(());
        }
        log.rotate_after(position).inspect_err(|failure| {
            // Still under the lock: no group may be written after it.
            if let Failure::Disk(error) = failure {
                self.disk_failed(error);
            }
        })
    }

    fn refused(&self, failure: Failure) -> String {
        match failure {
            Failure::Passing(error) => {
                tracing::error!(%error, "a group of requests was not written and not acknowledged; clients retry");
                format!("the WAL cannot be written: {error}")
            }
            Failure::Disk(error) => self.disk_failed(&error),
        }
    }

    fn disk_failed(&self, error: &Error) -> String {
        let reason = format!("the disk failed, nothing can be acknowledged any more: {error}");
        self.poison(reason.clone());
        reason
    }

    fn poison(&self, reason: String) {
        tracing::error!(reason, "the WAL is closed until a restart");
        // The first reason is the cause, later ones follow from it.
        lock(&self.poison).get_or_insert(reason);
    }
}
