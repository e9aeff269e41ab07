use std::cmp::Ordering;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use trivium_model::{WalPosition, limit};

use super::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, Invalid, Mark, Place, VERSION, decode_name, encode_void,
};
use super::log::{WalFile, is_full, quarantine};
use super::reader::{Content, Piece, pieces, salt_of};
use crate::encryption::REQUEST_OVERHEAD_BYTES;
use crate::error::Error;
use crate::fs::{FileSystem, keep_copy};

/// A group is longer only when it is one frame. More than this without an intact frame is no torn group.
const GROUP_BYTES_ON_DISK_MAX: usize = FRAME_HEADER_BYTES + limit::REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES;

/// A range of a WAL file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file; a copy of it is in `quarantine/` unless another entry says that it could not be made.
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
    /// Bytes after the last frame of the last file that a crash left; they were never acknowledged. After a close in order
    /// such bytes are damage.
    pub torn_bytes: u64,
    /// Damage to what had been acknowledged.
    pub damage: Vec<Damage>,
    /// Whether the last process did not close the WAL.
    pub unclean: bool,
    /// The highest position found.
    pub last_position: WalPosition,
    /// The last position before the oldest file; `None` when no header says it.
    pub begins_after: Option<WalPosition>,
}

/// What a look at the folder found, without changing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Files.
    pub files: usize,
    /// Intact frames.
    pub frames: u64,
    /// Damage; a torn end of the last file is none, unless the WAL was closed in order.
    pub damage: Vec<Damage>,
    /// The last position before the oldest file; `None` when no header says it.
    pub begins_after: Option<WalPosition>,
}

/// The damage that no file can tell of. Every start begins a file and the newest one is never removed, so that positions that
/// were published came from a WAL of which something is left.
pub(crate) fn all_missing(folder: &Path, published: WalPosition) -> Option<Damage> {
    (published > WalPosition::ZERO).then(|| Damage {
        path: folder.into(),
        offset: 0,
        bytes: 0,
        problem: format!(
            "there is no WAL file, although positions up to {published} were published; what was acknowledged after that is lost"
        ),
    })
}

/// Reads all files of a WAL folder without changing anything. A running server may write and remove files meanwhile.
pub fn scan(fs: &dyn FileSystem, folder: &Path) -> Result<Scan, Error> {
    let clean = read_mark(fs, folder, Mark::Clean)?;
    let scanned = scan_as(fs, folder, clean)?;
    // A server that started meanwhile has taken the mark away and writes: what it is about to write is no damage.
    if clean.is_some() && read_mark(fs, folder, Mark::Clean)? != clean {
        scan_as(fs, folder, None)
    } else {
        Ok(scanned)
    }
}

fn scan_as(fs: &dyn FileSystem, folder: &Path, clean: Option<WalPosition>) -> Result<Scan, Error> {
    let mut state = Recovery::default();
    // Before the files are listed: a server that runs may begin newer ones, and keeps the newest.
    let newest = read_mark(fs, folder, Mark::Newest)?;
    let files = wal_files(fs, folder)?;
    for (index, Listed { path, .. }) in files.iter().enumerate() {
        let bytes = match fs.read(path) {
            Ok(bytes) => bytes,
            Err(_) if !fs.exists(path)? => {
                // No longer needed, and with it those before it: nothing follows from what is read next.
                (state.next, state.previous_sum) = (None, None);
                continue;
            }
            Err(error) => return Err(error),
        };
        state.read_file(path, &bytes, FileEnd::of(files.get(index + 1), clean))?;
    }
    state.compare_with_marks(folder, clean, newest, &files);
    let WalRecovery { frames, damage, begins_after, .. } = state.report;
    Ok(Scan { files: files.len(), frames, damage, begins_after })
}

/// Reads one WAL file, wherever it lies, as if it had been closed in order.
pub fn scan_file(fs: &dyn FileSystem, path: &Path) -> Result<Scan, Error> {
    let mut state = Recovery::default();
    state.read_file(path, &fs.read(path)?, FileEnd::Durable)?;
    let WalRecovery { frames, damage, begins_after, .. } = state.report;
    Ok(Scan { files: 1, frames, damage, begins_after })
}

#[derive(Debug, Default)]
struct Recovery {
    report: WalRecovery,
    /// Sum of the header of the file before.
    previous_sum: Option<u32>,
    /// The position that comes next; `None` before the first file.
    next: Option<WalPosition>,
}

/// What is known of the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileEnd {
    /// It is the last one, and a crash may have left a part of a group there.
    MayBeTorn,
    /// The header of the next file says where the log ended when that was begun: what lies behind was torn then, and there was no
    /// room to write the file anew without it.
    LogEndedAt(WalPosition),
    /// All of it was durable.
    Durable,
}

impl FileEnd {
    fn of(next: Option<&Listed>, clean: Option<WalPosition>) -> Self {
        match next {
            None if clean.is_none() => Self::MayBeTorn,
            Some(Listed { header: Some(header), .. }) => Self::LogEndedAt(header.after),
            _ => Self::Durable,
        }
    }
}

/// A file of the folder; its header when it checks out.
#[derive(Debug)]
struct Listed {
    path: PathBuf,
    header: Option<FileHeader>,
}

/// One file as it was read.
#[derive(Debug, Default)]
struct FileContent {
    header: Option<FileHeader>,
    salt: Option<u64>,
    frames: u64,
    /// Bytes up to the end of the last intact frame.
    valid_bytes: usize,
    /// What a power cut left out of the last group, before `valid_bytes`.
    holes: Vec<Hole>,
    damaged: bool,
    /// Its header is that of another place.
    misplaced: bool,
}

/// Bytes without an intact frame that were never acknowledged, while later frames of their group are intact.
#[derive(Clone, Copy, Debug)]
struct Hole {
    offset: usize,
    end: usize,
    first: WalPosition,
    /// The position after the last one in it.
    next: WalPosition,
}

/// The files of a folder in the order of what they hold, whatever their names: files that exchanged their names lose
/// nothing.
fn wal_files(fs: &dyn FileSystem, folder: &Path) -> Result<Vec<Listed>, Error> {
    let mut files = Vec::new();
    for path in fs.list(folder)? {
        if path.extension().is_none_or(|extension| extension != "wal") {
            continue;
        }
        let header = match fs.read_start(&path, FILE_HEADER_BYTES) {
            Ok(bytes) => FileHeader::decode(&bytes).ok(),
            // A running server has removed it, which whoever reads it finds out.
            Err(_) if !fs.exists(&path)? => None,
            Err(error) => return Err(error),
        };
        files.push(Listed { path, header });
    }
    let first = |file: &Listed| file.header.map(|header| header.first).or_else(|| named_first(&file.path));
    files.sort_by_cached_key(|file| (first(file).map_or(u64::MAX, |first| first.0), file.path.clone()));
    Ok(files)
}

/// The WAL files of a folder in the order in which a server that runs beside us removes them: oldest first.
pub(crate) fn copy_order(fs: &dyn FileSystem, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let files = if fs.exists(folder)? { wal_files(fs, folder)? } else { Vec::new() };
    Ok(files.into_iter().map(|file| file.path).collect())
}

fn named_first(path: &Path) -> Option<WalPosition> {
    decode_name(path).map(|(first, _)| first)
}

/// The position of a mark. One that does not check out, cut by a crash, proves nothing.
fn read_mark(fs: &dyn FileSystem, folder: &Path, mark: Mark) -> Result<Option<WalPosition>, Error> {
    let path = folder.join(mark.file_name());
    match fs.read(&path) {
        Ok(bytes) => Ok(mark.decode(&bytes)),
        Err(_) if !fs.exists(&path)? => Ok(None),
        Err(error) => Err(error),
    }
}

fn missing(first: WalPosition, end: WalPosition) -> String {
    match end.0.saturating_sub(1) {
        last if last == first.0 => format!("position {first} is missing"),
        last => format!("positions {first} to {last} are missing"),
    }
}

impl Recovery {
    fn read_file(&mut self, path: &Path, bytes: &Bytes, end: FileEnd) -> Result<FileContent, Error> {
        let mut content = FileContent { valid_bytes: FILE_HEADER_BYTES.min(bytes.len()), ..FileContent::default() };
        match FileHeader::decode(bytes) {
            Ok(header) => self.read_header(path, header, &mut content),
            Err(Invalid::Version(found)) => {
                return Err(Error::UnknownFormat { path: path.into(), found, supported: VERSION });
            }
            Err(Invalid::Damaged) => {
                let problem = "the file header does not check out";
                self.damage(path, 0..FILE_HEADER_BYTES, problem.into(), &mut content);
                self.previous_sum = None;
                self.next = self.next.or_else(|| named_first(path));
            }
        }
        content.salt = salt_of(path, bytes);
        self.read_frames(path, bytes, end, &mut content);
        Ok(content)
    }

    fn read_header(&mut self, path: &Path, header: FileHeader, content: &mut FileContent) {
        let first = header.first;
        content.header = Some(header);
        self.report.begins_after = self.report.begins_after.or(Some(header.after));
        content.misplaced = path.file_name().is_none_or(|name| *name != *header.file_name());
        if content.misplaced {
            let problem = format!("it has another file's name: its content begins at position {first}");
            self.damage(path, 0..0, problem, content);
        }
        if self.next.is_some_and(|next| first < next) {
            let problem = format!("it begins at position {first}, which was read from another file already");
            self.damage(path, 0..0, problem, content);
            return;
        }
        let due = header.after.next();
        if let Some(next) = self.next.filter(|&next| next < due) {
            self.damage(path, 0..0, missing(next, due), content);
        }
        if self.previous_sum.is_some_and(|previous| header.previous_sum != previous && header.previous_sum != 0) {
            let problem = "a file between this one and the one before is missing or was exchanged";
            self.damage(path, 0..0, problem.into(), content);
        }
        self.previous_sum = Some(header.sum());
        self.go_on_at(first);
    }

    fn read_frames(&mut self, path: &Path, bytes: &Bytes, end_of_file: FileEnd, content: &mut FileContent) {
        let pieces: Vec<Piece> = pieces(bytes, content.salt).collect();
        // Only the last group can be torn: all before it was durable when its first byte was written.
        let durable_before = pieces.iter().map(|piece| piece.durable_before).max().unwrap_or_default();
        let is_torn = |next: WalPosition| end_of_file == FileEnd::MayBeTorn && next >= durable_before;
        let mut gap = None;
        for piece in pieces {
            let position = match &piece.content {
                Content::Gap(_) => {
                    gap = Some(piece);
                    continue;
                }
                Content::Frame(frame) => frame.position,
                Content::Void(position) => *position,
            };
            let next = self.next.unwrap_or(position);
            self.pass_over(path, gap.take(), &piece, next..position, is_torn(next), content);
            content.valid_bytes = piece.end;
            if position < next {
                continue;
            }
            self.go_on_at(position.next());
            let frames = u64::from(matches!(piece.content, Content::Frame(_)));
            self.report.frames += frames;
            content.frames += frames;
        }
        let Some(Piece { offset, end, content: Content::Gap(highest), .. }) = gap else { return };
        let next = self.next.unwrap_or_default();
        let log_ended =
            matches!(end_of_file, FileEnd::LogEndedAt(last) if last.next() == next && next >= durable_before);
        if log_ended || is_torn(next) && end - offset <= GROUP_BYTES_ON_DISK_MAX {
            self.report.torn_bytes += (end - offset) as u64;
        } else {
            self.damage(path, offset..end, "no intact frame up to the end of the file".into(), content);
            self.go_on_at(durable_before.max(WalPosition(highest.0.saturating_add(1))));
        }
    }

    /// What lies between the last intact frame and this one, and whether the positions go on.
    fn pass_over(
        &mut self,
        path: &Path,
        gap: Option<Piece>,
        piece: &Piece,
        due: Range<WalPosition>,
        is_torn: bool,
        content: &mut FileContent,
    ) {
        let (next, position) = (due.start, due.end);
        let problem = match position.cmp(&next) {
            Ordering::Less => format!("position {position} was read already, {next} is due"),
            Ordering::Greater => missing(next, position),
            Ordering::Equal if gap.is_some() => "no intact frame".into(),
            Ordering::Equal => return,
        };
        let at = gap.map_or(piece.offset..piece.offset, |gap| gap.offset..gap.end);
        if is_torn && position > next && !at.is_empty() {
            self.report.torn_bytes += at.len() as u64;
            content.holes.push(Hole { offset: at.start, end: at.end, first: next, next: position });
        } else {
            self.damage(path, at, problem, content);
        }
    }

    fn go_on_at(&mut self, next: WalPosition) {
        self.next = self.next.max(Some(next));
        self.report.last_position = self.report.last_position.max(WalPosition(next.0.saturating_sub(1)));
    }

    fn compare_with_marks(
        &mut self,
        folder: &Path,
        clean: Option<WalPosition>,
        newest: Option<WalPosition>,
        files: &[Listed],
    ) {
        let is_older =
            |first: WalPosition| files.iter().filter_map(|file| named_first(&file.path)).all(|named| named < first);
        // By their names: of two files that were exchanged for each other both are there.
        if let Some(first) = newest.filter(|&first| is_older(first)) {
            let problem =
                format!("the newest file is missing, and with it what was acknowledged at positions from {first} on");
            self.contradiction(folder, Mark::Newest, problem);
            self.go_on_at(first);
        }
        let (next, end) = (self.report.last_position.next(), clean.map_or(WalPosition::ZERO, WalPosition::next));
        if next < end {
            let problem = format!("{}, although the WAL was closed in order with them", missing(next, end));
            self.contradiction(folder, Mark::Clean, problem);
            self.go_on_at(end);
        }
    }

    /// What a mark says and the files do not have.
    fn contradiction(&mut self, folder: &Path, mark: Mark, problem: String) {
        self.report.damage.push(Damage { path: folder.join(mark.file_name()), offset: 0, bytes: 0, problem });
    }

    fn damage(&mut self, path: &Path, at: Range<usize>, problem: String, content: &mut FileContent) {
        content.damaged = true;
        let (offset, bytes) = (at.start as u64, at.len() as u64);
        self.report.damage.push(Damage { path: path.into(), offset, bytes, problem });
    }

    /// Repairs one file. `None` when nothing of it is needed any more.
    fn repair(
        &mut self,
        fs: &dyn FileSystem,
        path: &Path,
        bytes: &Bytes,
        mut content: FileContent,
        is_last: bool,
    ) -> Result<Option<WalFile>, Error> {
        let mut file = WalFile {
            path: path.into(),
            header: content.header,
            last: self.report.last_position,
            bytes: bytes.len() as u64,
            is_kept: false,
        };
        if content.damaged && !self.quarantine(fs, path, bytes, &mut content) {
            file.is_kept = true;
            return Ok(Some(file));
        }
        if content.frames == 0 && (content.header.is_none() || content.misplaced) {
            fs.remove_file(path)?;
            return Ok(None);
        }
        if is_last && (self.report.unclean || content.valid_bytes < bytes.len()) {
            // A copy is known to be on the disk, the original may be in the page cache only.
            let valid = without_holes(bytes, &content);
            match fs.replace_file(path, &valid) {
                Ok(()) => file.bytes = valid.len() as u64,
                Err(error) if is_full(&error) => {
                    tracing::warn!(%error, "the last WAL file is used as it is, there is no room for a copy");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(file))
    }

    /// Whether there is a copy now. A disk without room for it must not keep the server from starting.
    fn quarantine(&mut self, fs: &dyn FileSystem, path: &Path, bytes: &Bytes, content: &mut FileContent) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match keep_copy(fs, &quarantine(path), &name, bytes) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "a damaged WAL file could not be copied to quarantine/");
                let problem = format!(
                    "it could not be copied to quarantine/, where it goes when it is no longer needed: {error}"
                );
                self.damage(path, 0..bytes.len(), problem, content);
                false
            }
        }
    }
}

/// The valid bytes of a file, with a frame for every position that a power cut left out: the next start must not take the
/// gap for damage.
fn without_holes(bytes: &Bytes, content: &FileContent) -> Bytes {
    let valid = bytes.slice(..content.valid_bytes);
    let (false, Some(salt)) = (content.holes.is_empty(), content.salt) else { return valid };
    let mut whole = Vec::with_capacity(valid.len());
    let mut from = 0;
    for hole in &content.holes {
        whole.extend_from_slice(&valid[from..hole.offset]);
        for (position, in_group) in (hole.first.0..hole.next.0).zip(0..) {
            whole.extend_from_slice(&encode_void(Place { salt, position: WalPosition(position), in_group }));
        }
        from = hole.end;
    }
    whole.extend_from_slice(&valid[from..]);
    Bytes::from(whole)
}

/// Brings the folder into a state that can be written on: keeps every intact frame, keeps a copy of damaged files, writes
/// the last file anew after a crash. May be interrupted anywhere and started again.
pub(super) fn recover(fs: &dyn FileSystem, folder: &Path) -> Result<(Vec<WalFile>, WalRecovery), Error> {
    let (clean, newest) = (read_mark(fs, folder, Mark::Clean)?, read_mark(fs, folder, Mark::Newest)?);
    let mut state = Recovery::default();
    state.report.unclean = clean.is_none();
    let mut files = Vec::new();
    let listed = wal_files(fs, folder)?;
    for (index, Listed { path, .. }) in listed.iter().enumerate() {
        let next = listed.get(index + 1);
        let bytes = fs.read(path)?;
        let content = state.read_file(path, &bytes, FileEnd::of(next, clean))?;
        files.extend(state.repair(fs, path, &bytes, content, next.is_none())?);
    }
    state.compare_with_marks(folder, clean, newest, &listed);
    state.report.files = files.len();
    Ok((files, state.report))
}

/// Removes the mark, which is no longer true, and files that were never given their name. Durable before a group is
/// written, so that a mark never stands beside a WAL that has gone on.
pub(super) fn remove_leftovers(fs: &dyn FileSystem, folder: &Path) -> Result<(), Error> {
    for path in fs.list(folder)? {
        let is_unnamed = path.extension().is_some_and(|extension| extension == "tmp");
        if is_unnamed || path.file_name().is_some_and(|name| name == Mark::Clean.file_name()) {
            fs.remove_file(&path)?;
        }
    }
    fs.sync_dir(folder)
}
