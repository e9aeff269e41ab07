//! What was found damaged or without an owner: kept in `quarantine/`, listed, looked at, and brought back.
//!
//! Names say what a piece is: `part-<signal>-<id>` and `orphan-<signal>-<id>` are folders of parts, `index-…` is a derived
//! file, `request-<signal>-<tenant>-<position>-<received>-<oldest admitted>.<format>` the payload of a request of the WAL that
//! could not be decoded, `*.wal` a WAL file with damage in it. What was encrypted stays so; a request then ends with `.enc`.

mod back;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use trivium_model::{PartId, SignalKind, TenantId, UnixNanos, WalPosition, WireFormat};

use crate::catalog::{Catalog, QuarantinedPart, SqliteCatalog};
use crate::encryption::{Keyring, MasterKeys, RequestIdentity, SUFFIX, is_encrypted, plain_name};
use crate::error::Error;
use crate::folder::check_folder;
use crate::fs::{FileSystem, RealFileSystem};
use crate::part::{PageCache, Part, PartRecord};
use crate::storage::part_folder;
use crate::wal::{FrameHeader, scan_file};

pub(crate) use back::last_position;
pub use back::{ReturnOptions, Returned};

/// The folder inside the data folder.
pub(crate) const FOLDER: &str = "quarantine";

/// What a piece in quarantine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineKind {
    /// A part that was published; its rows are missing from queries.
    Part,
    /// A part that no catalog entry named.
    Orphan,
    /// A derived file of a part that has been made anew.
    Index,
    /// A request that could not be decoded.
    Request,
    /// A WAL file with damage; what was intact of it has been taken over.
    Wal,
    /// Anything else.
    Other,
}

impl QuarantineKind {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Orphan => "orphan",
            Self::Index => "index",
            Self::Request => "request",
            Self::Wal => "wal",
            Self::Other => "other",
        }
    }

    /// Whether its rows can be brought back.
    pub fn can_return(self) -> bool {
        matches!(self, Self::Part | Self::Orphan | Self::Request)
    }
}

/// A piece in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedItem {
    /// The name of its file or folder.
    pub name: String,
    /// What it is.
    pub kind: QuarantineKind,
    /// Whose rows they are, when anything says it.
    pub tenant: Option<TenantId>,
    /// Whose table its rows belong to.
    pub signal: Option<SignalKind>,
    /// How many rows it had, when the catalog says it.
    pub rows: Option<u32>,
    /// Bytes on disk.
    pub bytes: u64,
    /// What was found, when the catalog says it.
    pub reason: Option<String>,
    /// When it was found.
    pub at: Option<UnixNanos>,
}

/// Everything in quarantine, in the order of names. Changes nothing; the server may be running.
pub async fn list(folder: &Path) -> Result<Vec<QuarantinedItem>, Error> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    check_folder(&*fs, folder)?;
    let catalog = SqliteCatalog::open_read_only(folder).await?;
    let withdrawn = catalog.quarantined_parts().await?;
    let folder = folder.to_path_buf();
    crate::seal::blocking(move || list_with(&*fs, &folder, &withdrawn)).await
}

pub(crate) fn list_with(
    fs: &dyn FileSystem,
    folder: &Path,
    withdrawn: &[QuarantinedPart],
) -> Result<Vec<QuarantinedItem>, Error> {
    let quarantine = folder.join(FOLDER);
    let mut items = Vec::new();
    let paths = if fs.exists(&quarantine)? { fs.list(&quarantine)? } else { Vec::new() };
    for path in paths {
        // Somebody may take it away at this moment.
        let bytes = bytes_of(fs, &path).unwrap_or_default();
        items.push(describe(name_of(&path), bytes, withdrawn));
    }
    for part in withdrawn {
        let name = part_name(&part.part);
        if !items.iter().any(|item| item.name == name) {
            let mut item = describe(name, 0, withdrawn);
            item.reason = item.reason.map(|reason| format!("{reason}; its files are not in quarantine/"));
            items.push(item);
        }
    }
    items.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(items)
}

fn describe(name: String, bytes: u64, withdrawn: &[QuarantinedPart]) -> QuarantinedItem {
    let named = Named::parse(&name);
    let withdrawn = withdrawn.iter().find(|part| matches!(named, Named::Part(_, id) if id == part.part.id));
    let (kind, signal) = match &named {
        Named::Part(signal, _) => (QuarantineKind::Part, Some(*signal)),
        Named::Orphan(signal, _) => (QuarantineKind::Orphan, Some(*signal)),
        Named::Request(header, _) => (QuarantineKind::Request, Some(header.signal)),
        Named::Index => (QuarantineKind::Index, None),
        Named::Wal => (QuarantineKind::Wal, None),
        Named::Other => (QuarantineKind::Other, None),
    };
    let tenant = match named {
        Named::Request(request, _) => Some(request.tenant),
        _ => withdrawn.map(|part| part.part.tenant),
    };
    QuarantinedItem {
        name,
        kind,
        tenant,
        signal,
        rows: withdrawn.map(|part| part.part.rows),
        bytes,
        reason: withdrawn.map(|part| part.reason.clone()),
        at: withdrawn.map(|part| part.at),
    }
}

/// What a name says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Part(SignalKind, PartId),
    Orphan(SignalKind, PartId),
    Request(RequestName, WalPosition),
    Index,
    Wal,
    Other,
}

/// What the name of a request says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RequestName {
    signal: SignalKind,
    tenant: TenantId,
    format: WireFormat,
    received_at: UnixNanos,
    oldest_admitted: UnixNanos,
    is_encrypted: bool,
}

const FORMATS: [(WireFormat, &str); 3] = [
    (WireFormat::Otlp, "otlp"),
    (WireFormat::RemoteWrite1, "remote-write-1"),
    (WireFormat::RemoteWrite2, "remote-write-2"),
];

impl RequestName {
    fn identity(&self) -> RequestIdentity {
        let Self { signal, tenant, format, received_at, oldest_admitted, .. } = *self;
        RequestIdentity { tenant, signal, format, received_at, oldest_admitted }
    }
}

impl Named {
    fn parse(name: &str) -> Self {
        let of_part = |rest: &str| {
            let (signal, id) = rest.split_once('-')?;
            Some((signal_of(signal)?, id.parse().ok()?))
        };
        let known = match name.split_once('-') {
            Some(("part", rest)) => of_part(rest).map(|(signal, id)| Self::Part(signal, id)),
            Some(("orphan", rest)) => of_part(rest).map(|(signal, id)| Self::Orphan(signal, id)),
            Some(("request", rest)) => parse_request(rest).map(|(request, position)| Self::Request(request, position)),
            Some(("index", _)) => Some(Self::Index),
            _ => name.contains(".wal").then_some(Self::Wal),
        };
        known.unwrap_or(Self::Other)
    }
}

fn signal_of(word: &str) -> Option<SignalKind> {
    SignalKind::ALL.into_iter().find(|signal| signal.as_str() == word)
}

fn parse_request(rest: &str) -> Option<(RequestName, WalPosition)> {
    let (numbers, ending) = rest.split_once('.')?;
    let (format, _) = FORMATS.into_iter().find(|(_, known)| plain_name(ending) == *known)?;
    // Times may be negative: the dash then belongs to the number.
    let mut words = numbers.splitn(4, '-');
    let signal = signal_of(words.next()?)?;
    let tenant = TenantId(words.next()?.parse().ok()?);
    let position = WalPosition(words.next()?.parse().ok()?);
    let (received, oldest) = words.next()?.split_once('_')?;
    let (received_at, oldest_admitted) = (UnixNanos(received.parse().ok()?), UnixNanos(oldest.parse().ok()?));
    let is_encrypted = is_encrypted(ending);
    Some((RequestName { signal, tenant, format, received_at, oldest_admitted, is_encrypted }, position))
}

/// What a request that cannot be decoded is called: all that is needed to decode it when a later build can.
pub(crate) fn request_name(header: &FrameHeader, position: WalPosition) -> String {
    let ending = FORMATS.into_iter().find(|(format, _)| *format == header.format).map_or("bin", |(_, ending)| ending);
    let suffix = if header.is_encrypted { SUFFIX } else { "" };
    let FrameHeader { tenant, signal, received_at, oldest_admitted, .. } = header;
    format!("request-{signal}-{tenant}-{position:020}-{}_{}.{ending}{suffix}", received_at.0, oldest_admitted.0)
}

/// Whether every position in a range, both ends included, is one of a request in quarantine.
pub(crate) fn holds_requests(
    fs: &dyn FileSystem,
    folder: &Path,
    first: WalPosition,
    last: WalPosition,
) -> Result<bool, Error> {
    let quarantine = folder.join(FOLDER);
    if !fs.exists(&quarantine)? {
        return Ok(false);
    }
    let mut positions: Vec<u64> = fs.list(&quarantine)?.iter().filter_map(|path| position_of(&name_of(path))).collect();
    positions.retain(|position| (first.0..=last.0).contains(position));
    positions.sort_unstable();
    positions.dedup();
    Ok(positions.len() as u64 == (last.0 - first.0).saturating_add(1))
}

/// The position in the name of a request, also of one that an earlier build gave.
fn position_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("request-")?;
    rest.split(['-', '.']).find(|word| word.len() == 20).and_then(|word| word.parse().ok())
}

/// The name of a withdrawn part.
fn part_name(record: &PartRecord) -> String {
    format!("part-{}-{}", record.signal, record.id)
}

/// Withdraws a damaged part: first in the catalog, then its files go to quarantine. Where they are; `None` when there are none.
pub(crate) async fn withdraw(
    fs: &dyn FileSystem,
    catalog: &dyn Catalog,
    folder: &Path,
    record: &PartRecord,
    reason: String,
    now: UnixNanos,
) -> Result<Option<PathBuf>, Error> {
    catalog.quarantine_part(record.id, reason, now).await?;
    keep_withdrawn(fs, folder, record)
}

/// Moves the files of a withdrawn part, if there are any, to quarantine.
pub(crate) fn keep_withdrawn(
    fs: &dyn FileSystem,
    folder: &Path,
    record: &PartRecord,
) -> Result<Option<PathBuf>, Error> {
    let path = part_folder(folder, record);
    if !fs.exists(&path)? {
        return Ok(None);
    }
    move_to_quarantine(fs, folder, &path, &part_name(record)).map(Some)
}

/// Moves a file or folder into quarantine, durably. Under a name with a number when the name is taken.
pub(crate) fn move_to_quarantine(
    fs: &dyn FileSystem,
    folder: &Path,
    path: &Path,
    name: &str,
) -> Result<PathBuf, Error> {
    let quarantine = folder.join(FOLDER);
    fs.create_dir_all(&quarantine)?;
    let mut target = quarantine.join(name);
    let mut number = 0_u32;
    while fs.exists(&target)? {
        number += 1;
        target = quarantine.join(format!("{name}.{number}"));
    }
    fs.rename(path, &target)?;
    fs.sync_dir(&quarantine)?;
    path.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))?;
    Ok(target)
}

/// What of a piece is intact, line by line. Changes nothing. Rows that are encrypted are looked at with a key file only.
pub async fn show(
    folder: &Path,
    name: &str,
    encryption_key_file: Option<&Path>,
) -> Result<(QuarantinedItem, Vec<String>), Error> {
    let item = list(folder).await?.into_iter().find(|item| item.name == name).ok_or_else(|| unknown(folder, name))?;
    let catalog = SqliteCatalog::open_read_only(folder).await?;
    let withdrawn = catalog.quarantined_parts().await?;
    let keys = match encryption_key_file {
        Some(file) => Keyring::new(&catalog.tenant_keys().await?, Some(MasterKeys::read(file)?), false)?,
        None => Keyring::default(),
    };
    let keys = Arc::new(keys);
    let path = folder.join(FOLDER).join(name);
    let named = Named::parse(name);
    let lines = crate::seal::blocking(move || {
        let fs = RealFileSystem::new();
        match named {
            Named::Part(signal, id) | Named::Orphan(signal, id) => {
                let record = withdrawn.into_iter().map(|part| part.part).find(|part| part.id == id);
                look_at_part(&fs, &path, (signal, id), record, &keys)
            }
            Named::Wal => Ok(look_at_wal(&fs, &path)?),
            _ => Ok(vec![format!("{} bytes", fs.len(&path)?)]),
        }
    });
    Ok((item, lines.await?))
}

fn unknown(folder: &Path, name: &str) -> Error {
    let path = folder.join(FOLDER).join(name);
    Error::Io { action: "find", path, source: std::io::Error::from(std::io::ErrorKind::NotFound) }
}

fn look_at_part(
    fs: &dyn FileSystem,
    path: &Path,
    named: (SignalKind, PartId),
    record: Option<PartRecord>,
    keys: &Arc<Keyring>,
) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    if !fs.exists(path)? {
        return Ok(vec!["its files are missing".into()]);
    }
    for file in fs.list(path)? {
        let (name, bytes) = (name_of(&file), fs.read(&file)?);
        let sum = crc32c::crc32c(&bytes);
        let known = record.as_ref().and_then(|record| record.files.iter().find(|known| known.name == name));
        let verdict = match known {
            Some(known) if known.bytes == bytes.len() as u64 && known.crc32c == sum => "as it was written".into(),
            Some(known) => format!("not as it was written: {} bytes, CRC32C {:08x}", known.bytes, known.crc32c),
            None => "nothing says how it was written".into(),
        };
        lines.push(format!("{name}: {} bytes, CRC32C {sum:08x}, {verdict}", bytes.len()));
    }
    let describe = |tenant| back::describe_part(fs, path, named, tenant, keys);
    let described = match record {
        Some(record) => Ok(record),
        None => describe(None).or_else(|_| describe(Some(TenantId::DEFAULT))),
    };
    let readable = described.and_then(|record| {
        let rows = record.rows;
        let part = Part::open_damaged(record, path.to_path_buf(), &Arc::new(PageCache::new(0)), keys);
        back::readable_rows(&part).map(|readable| (readable.rows, rows))
    });
    lines.push(match readable {
        Ok((readable, rows)) => format!("{readable} of {rows} rows can be decoded"),
        Err(error) => format!("no row can be decoded: {error}"),
    });
    Ok(lines)
}

fn look_at_wal(fs: &dyn FileSystem, path: &Path) -> Result<Vec<String>, Error> {
    let scanned = scan_file(fs, path)?;
    let mut lines =
        vec![format!("{} intact requests, which the server took over when it found the damage", scanned.frames)];
    lines.extend(
        scanned
            .damage
            .iter()
            .map(|damage| format!("{} bytes from byte {} on: {}", damage.bytes, damage.offset, damage.problem)),
    );
    Ok(lines)
}

/// How many pieces there are, and the bytes of the first thousand of them.
pub(crate) fn size(fs: &dyn FileSystem, folder: &Path) -> Result<(u64, u64), Error> {
    let quarantine = folder.join(FOLDER);
    let paths = if fs.exists(&quarantine)? { fs.list(&quarantine)? } else { Vec::new() };
    let bytes = paths.iter().take(1_000).map(|path| bytes_of(fs, path).unwrap_or_default()).sum();
    Ok((paths.len() as u64, bytes))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Bytes of a file, or of the files in a folder.
fn bytes_of(fs: &dyn FileSystem, path: &Path) -> Result<u64, Error> {
    match fs.list(path) {
        Ok(files) => files.iter().map(|file| fs.len(file)).sum(),
        Err(_) => fs.len(path),
    }
}
