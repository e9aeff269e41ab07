//! The files of the WAL: groups in at the end, files out at the beginning.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use trivium_model::WalPosition;

use super::WalConfig;
use super::format::{FRAME_HEADER_BYTES, FileHeader, FrameHeader, Mark, Place, VERSION, encode_frame_header};
use super::writer::lock;
use crate::error::Error;
use crate::fs::{File, FileSystem};

/// A WAL file that is complete or being written.
#[derive(Clone, Debug)]
pub(super) struct WalFile {
    pub(super) path: PathBuf,
    /// `None` when it does not check out.
    pub(super) header: Option<FileHeader>,
    /// That of the last intact frame; the one before the first when there is none.
    pub(super) last: WalPosition,
    pub(super) bytes: u64,
    /// Goes to `quarantine/` when it is no longer needed: something in it is kept nowhere else.
    pub(super) is_kept: bool,
}

impl WalFile {
    /// The last position in the log before it, when its header says it.
    pub(super) fn begins_after(&self) -> Option<WalPosition> {
        self.header.map(|header| header.after)
    }

    fn has_frames(&self) -> bool {
        self.header.is_none_or(|header| self.last >= header.first)
    }
}

/// The files, in order; on a lock of their own, so that questions do not wait for an fsync.
pub(super) type Files = Arc<Mutex<Vec<WalFile>>>;

/// The end of the log.
#[derive(Debug)]
pub(super) struct Log {
    fs: Arc<dyn FileSystem>,
    folder: PathBuf,
    config: WalConfig,
    files: Files,
    /// The last position given out, or a higher one that the catalog knows.
    last: WalPosition,
    /// The last position that is in the log or was.
    durable: WalPosition,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: Box<dyn File>,
    salt: u64,
    /// Bytes up to the end of the last durable group.
    bytes: u64,
    frames: u64,
}

/// How a change of the log failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was changed; the next attempt may succeed (disk full).
    Passing(Error),
    /// It is not known what is on the disk; nothing may be acknowledged any more.
    Disk(Error),
}

/// Whether there was no room, which passes.
pub(super) fn is_full(error: &Error) -> bool {
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
    matches!(error, Error::Io { source, .. } if full.contains(&source.kind()))
}

/// Any failed write but for want of room, or of a descriptor to write with, says that the disk does not work.
fn failed_write(error: Error) -> Failure {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let lacks_descriptors =
        matches!(&error, Error::Io { source, .. } if matches!(source.raw_os_error(), Some(ENFILE | EMFILE)));
    if is_full(&error) || lacks_descriptors { Failure::Passing(error) } else { Failure::Disk(error) }
}

/// A number that nobody outside of this process can know. The hasher's keys come from the operating system.
fn new_salt() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Log {
    /// `found` is the last position that recovery found, `published` the highest that the catalog knows.
    pub(super) fn new(
        fs: Arc<dyn FileSystem>,
        folder: &Path,
        config: WalConfig,
        files: Vec<WalFile>,
        found: WalPosition,
        published: WalPosition,
    ) -> Self {
        let files = Arc::new(Mutex::new(files));
        Self { fs, folder: folder.into(), config, files, last: found.max(published), durable: found, open: None }
    }

    pub(super) fn files(&self) -> Files {
        Arc::clone(&self.files)
    }

    pub(super) fn last(&self) -> WalPosition {
        self.last
    }

    /// Begins a file before there is anything to write to it. A full disk does not keep the server from starting.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        match self.begin_file() {
            Ok(()) => Ok(()),
            Err(Failure::Passing(error)) => {
                tracing::warn!(%error, "no WAL file could be begun; tried again with the first request");
                Ok(())
            }
            Err(Failure::Disk(error)) => Err(error),
        }
    }

    /// Makes a group durable; its first frame gets the position after [`Log::last`].
    pub(super) fn append<'a>(
        &mut self,
        group: impl ExactSizeIterator<Item = (&'a FrameHeader, &'a Bytes)> + Clone,
    ) -> Result<(), Failure> {
        let is_full = |open: &OpenFile| open.bytes >= self.config.file_bytes_max && open.frames > 0;
        if self.open.as_ref().is_none_or(is_full) {
            self.begin_file()?;
        }
        let open = self.open.as_mut().expect("a file was begun before anything is written to it");
        let frames = group.len() as u64;
        let bytes = encode(group, self.last.next(), open.salt);
        if let Err(error) = open.file.append(&bytes) {
            let failure = failed_write(error);
            if matches!(failure, Failure::Passing(_)) {
                // Take the part that was written back, so that the next group follows an intact one; durably, because the
                // next group may go to another file: then frames that were refused must not come back at its positions.
                open.file.truncate(open.bytes).and_then(|()| open.file.sync()).map_err(Failure::Disk)?;
            }
            return Err(failure);
        }
        open.file.sync().map_err(Failure::Disk)?;
        open.bytes += bytes.len() as u64;
        open.frames += frames;
        self.last = WalPosition(self.last.0 + frames);
        self.durable = self.last;
        if let Some(file) = lock(&self.files).last_mut() {
            file.bytes = open.bytes;
            file.last = self.last;
        }
        Ok(())
    }

    /// Begins the file of the next position. It gets its name when its header is durable, and its entry is durable before a
    /// frame is in it: a file with the name of a WAL file has a header.
    fn begin_file(&mut self) -> Result<(), Failure> {
        let header = self.next_header();
        let path = self.folder.join(header.file_name());
        let encoded = header.encode();
        let unnamed = path.with_extension("tmp");
        self.fs.remove_file(&unnamed).map_err(Failure::Passing)?;
        let mut file = self.fs.create_new(&unnamed).map_err(Failure::Passing)?;
        file.append(&encoded).map_err(failed_write)?;
        file.sync().map_err(Failure::Disk)?;
        self.fs.rename(&unnamed, &path).map_err(failed_write)?;
        self.fs.sync_dir(&self.folder).map_err(Failure::Disk)?;
        let bytes = encoded.len() as u64;
        {
            let mut files = lock(&self.files);
            // One without frames that the last process began had the same name.
            files.retain(|file| file.path != path);
            // Until its first group is durable the file holds nothing: its last position is the one before its first.
            files.push(WalFile { path, header: Some(header), last: self.last, bytes, is_kept: false });
        }
        self.durable = self.last;
        // Without the mark nobody would notice that the newest file is gone. When there is no room for it, the next attempt
        // begins this file once more: nothing goes into the one before it any more.
        self.open = None;
        self.write_mark(Mark::Newest, header.first).map_err(failed_write)?;
        self.open = Some(OpenFile { file, salt: header.salt, bytes, frames: 0 });
        Ok(())
    }

    fn write_mark(&self, mark: Mark, position: WalPosition) -> Result<(), Error> {
        self.fs.replace_file(&self.folder.join(mark.file_name()), &mark.encode(position))
    }

    fn next_header(&self) -> FileHeader {
        let first = self.last.next();
        let files = lock(&self.files);
        let before = files.last();
        let begun = before.filter(|file| !file.has_frames() && !file.is_kept).and_then(|file| file.header);
        let begun = begun.filter(|header| header.first == first);
        // An earlier build may have begun it; the frames will be ours.
        begun.map(|header| FileHeader { version: VERSION, ..header }).unwrap_or_else(|| FileHeader {
            version: VERSION,
            first,
            after: self.durable,
            salt: new_salt(),
            previous_sum: before.and_then(|file| file.header).map_or(0, FileHeader::sum),
        })
    }

    /// When all that the newest file holds lies at or below a position: begins the next one, so that this one can go. A
    /// file stays without frames then; its name says which positions were given out.
    pub(super) fn rotate_after(&mut self, position: WalPosition) -> Result<(), Failure> {
        if lock(&self.files).last().is_some_and(|file| file.has_frames() && file.last <= position) {
            self.begin_file()?;
        }
        Ok(())
    }

    /// Marks the WAL as closed in order. Nothing may be appended afterwards.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.open = None;
        self.write_mark(Mark::Clean, self.durable)
    }
}

/// Removes files of which every frame lies at or below a position, oldest first, except the newest.
pub(super) fn remove_files(fs: &dyn FileSystem, files: &Files, position: WalPosition) -> Result<(), Failure> {
    loop {
        let unneeded = {
            let files = lock(files);
            let complete = &files[..files.len().saturating_sub(1)];
            complete.iter().find(|file| file.last <= position).cloned()
        };
        let Some(WalFile { path, is_kept, .. }) = unneeded else { return Ok(()) };
        if is_kept {
            move_to_quarantine(fs, &path).map_err(Failure::Passing)?;
        } else {
            fs.remove_file(&path).map_err(Failure::Passing)?;
        }
        // One after the other: a power cut must not bring back an older file without the newer one.
        path.parent().map_or(Ok(()), |folder| fs.sync_dir(folder)).map_err(Failure::Disk)?;
        lock(files).retain(|file| file.path != path);
    }
}

fn move_to_quarantine(fs: &dyn FileSystem, path: &Path) -> Result<(), Error> {
    let target = quarantine(path);
    fs.create_dir_all(&target)?;
    fs.rename(path, &target.join(path.file_name().unwrap_or_default()))?;
    fs.sync_dir(&target)
}

/// The folder for damaged files: `quarantine/` beside `wal/`.
pub(super) fn quarantine(path: &Path) -> PathBuf {
    path.ancestors().nth(2).unwrap_or(path).join("quarantine")
}

fn encode<'a>(
    group: impl Iterator<Item = (&'a FrameHeader, &'a Bytes)> + Clone,
    first: WalPosition,
    salt: u64,
) -> Vec<u8> {
    let length = group.clone().map(|(_, payload)| FRAME_HEADER_BYTES + payload.len()).sum();
    let mut bytes = Vec::with_capacity(length);
    let mut position = first;
    for ((header, payload), in_group) in group.zip(0..) {
        bytes.extend_from_slice(&encode_frame_header(header, Place { salt, position, in_group }, payload));
        bytes.extend_from_slice(payload);
        position = position.next();
    }
    bytes
}
