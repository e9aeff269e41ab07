use std::path::{Path, PathBuf};

use bytes::Bytes;
use trivium_model::WalPosition;

use super::format::{FILE_HEADER_BYTES, FileHeader, Invalid, VERSION};
use super::reader::{Piece, pieces};
use super::writer::WalFile;
use crate::error::Error;
use crate::fs::FileSystem;

/// The file whose presence says that the last process closed the WAL in order.
pub(super) const CLEAN: &str = "clean";

/// A range of a WAL file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file; a copy of it is in `quarantine/`.
    pub path: PathBuf,
    /// Where.
    pub offset: u64,
    /// How much.
    pub bytes: u64,
    /// What was found.
    pub problem: String,
}

/// What opening the WAL found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalRecovery {
    /// Files.
    pub files: usize,
    /// Intact frames in them.
    pub frames: u64,
    /// Bytes after the last frame of the last file that a crash left; they were never acknowledged.
    pub torn_bytes: u64,
    /// Damage to what had been acknowledged.
    pub damage: Vec<Damage>,
    /// Whether the last process did not close the WAL.
    pub unclean: bool,
    /// The highest position found.
    pub last_position: WalPosition,
}

/// What a look at the folder found, without changing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Intact frames.
    pub frames: u64,
    /// Damage; a torn end of the last file is none.
    pub damage: Vec<Damage>,
}

/// Reads all files of a WAL folder without changing anything.
pub fn scan(fs: &dyn FileSystem, folder: &Path) -> Result<Scan, Error> {
    let mut state = Recovery::default();
    let paths = wal_files(fs, folder)?;
    for (index, path) in paths.iter().enumerate() {
        let bytes = fs.read(path)?;
        state.read_file(path, &bytes, index + 1 == paths.len())?;
    }
    Ok(Scan { frames: state.report.frames, damage: state.report.damage })
}

#[derive(Debug, Default)]
struct Recovery {
    report: WalRecovery,
    previous_sum: Option<u32>,
}

/// One file as it was read.
#[derive(Debug, Default)]
struct FileContent {
    first: Option<WalPosition>,
    last: WalPosition,
    /// Bytes up to the end of the last intact frame.
    valid_bytes: usize,
    damaged: bool,
}

fn wal_files(fs: &dyn FileSystem, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths = fs.list(folder)?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect())
}

impl Recovery {
    fn read_file(&mut self, path: &Path, bytes: &Bytes, is_last: bool) -> Result<FileContent, Error> {
        let mut content = FileContent { valid_bytes: FILE_HEADER_BYTES.min(bytes.len()), ..FileContent::default() };
        match FileHeader::decode(bytes) {
            Ok((header, sum)) => {
                if self.previous_sum.is_some_and(|previous| header.previous_sum != previous && header.previous_sum != 0)
                {
                    self.damage(
                        path,
                        0,
                        0,
                        "a file between this one and the one before is missing or was exchanged".into(),
                    );
                    content.damaged = true;
                }
                self.previous_sum = Some(sum);
            }
            Err(Invalid::Version(found)) => {
                return Err(Error::UnknownFormat { path: path.into(), found, supported: VERSION });
            }
            // A crash may leave a file without a whole header: it never held an acknowledged frame.
            Err(Invalid::Damaged) if is_last && bytes.len() <= FILE_HEADER_BYTES => {
                self.report.torn_bytes += bytes.len() as u64;
                return Ok(content);
            }
            Err(Invalid::Damaged) => {
                self.damage(path, 0, FILE_HEADER_BYTES, "the file header does not check out".into());
                self.previous_sum = None;
                content.damaged = true;
            }
        }
        self.read_frames(path, bytes, is_last, &mut content);
        Ok(content)
    }

    fn read_frames(&mut self, path: &Path, bytes: &Bytes, is_last: bool, content: &mut FileContent) {
        for piece in pieces(bytes) {
            match piece {
                Piece::Frame(frame, end) => {
                    let before = self.report.last_position;
                    if before != WalPosition::ZERO && frame.position != before.next() {
                        let problem = format!("position {} follows {before}", frame.position);
                        self.damage(path, end, 0, problem);
                        content.damaged = true;
                    }
                    self.report.last_position = before.max(frame.position);
                    self.report.frames += 1;
                    content.first.get_or_insert(frame.position);
                    content.last = content.last.max(frame.position);
                    content.valid_bytes = end;
                }
                Piece::Gap { offset, bytes: length } if is_last && offset + length == bytes.len() => {
                    self.report.torn_bytes += length as u64;
                }
                Piece::Gap { offset, bytes: length } => {
                    self.damage(path, offset, length, "no intact frame".into());
                    content.damaged = true;
                }
            }
        }
    }

    fn damage(&mut self, path: &Path, offset: usize, bytes: usize, problem: String) {
        let (offset, bytes) = (offset as u64, bytes as u64);
        self.report.damage.push(Damage { path: path.into(), offset, bytes, problem });
    }
}

/// Brings the folder into a state that can be written on: keeps every intact frame, keeps a copy of damaged files, writes
/// the last file anew after a crash.
pub(super) fn recover(fs: &dyn FileSystem, folder: &Path) -> Result<(Vec<WalFile>, WalRecovery), Error> {
    let clean = folder.join(CLEAN);
    let mut state = Recovery::default();
    state.report.unclean = !fs.exists(&clean)?;
    let mut files = Vec::new();
    let paths = wal_files(fs, folder)?;
    for (index, path) in paths.iter().enumerate() {
        let is_last = index + 1 == paths.len();
        let bytes = fs.read(path)?;
        let content = state.read_file(path, &bytes, is_last)?;
        if content.damaged {
            quarantine(fs, folder, path, &bytes)?;
        }
        if content.first.is_none() {
            fs.remove_file(path)?;
            continue;
        }
        if is_last && (state.report.unclean || content.valid_bytes < bytes.len()) {
            write_anew(fs, folder, path, &bytes[..content.valid_bytes])?;
        }
        files.push(WalFile { path: path.clone(), last: content.last, bytes: content.valid_bytes as u64 });
    }
    fs.remove_file(&clean)?;
    fs.sync_dir(folder)?;
    state.report.files = files.len();
    Ok((files, state.report))
}

/// Replaces a file by a copy of its valid prefix that is known to be on the disk, not only in the page cache.
fn write_anew(fs: &dyn FileSystem, folder: &Path, path: &Path, valid: &[u8]) -> Result<(), Error> {
    let copy = path.with_extension("copy");
    fs.remove_file(&copy)?;
    fs.write_file_synced(&copy, valid)?;
    fs.rename(&copy, path)?;
    fs.sync_dir(folder)
}

fn quarantine(fs: &dyn FileSystem, folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let target = folder.parent().unwrap_or(folder).join("quarantine");
    fs.create_dir_all(&target)?;
    let name = path.file_name().unwrap_or_default();
    let copy = target.join(name);
    if !fs.exists(&copy)? {
        fs.write_file_synced(&copy, bytes)?;
        fs.sync_dir(&target)?;
    }
    Ok(())
}
