//! The bytes of files and frames, see `FORMAT.md`.

use std::path::Path;

use trivium_model::{RequestKey, SignalKind, TenantId, UnixNanos, WalPosition, WireFormat, limit};

use crate::encryption::{REQUEST_OVERHEAD_BYTES, RequestIdentity};

/// Bytes of a file's header.
pub(super) const FILE_HEADER_BYTES: usize = 48;
/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 76;
pub(super) const FRAME_MAGIC: [u8; 4] = *b"FRAM";
const FILE_MAGIC: [u8; 8] = *b"TRIVWAL\0";
/// Bytes of the mark that says that the WAL was closed in order.
const MARK_BYTES: usize = 24;

/// A file beside those of the WAL that says one position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// The last process closed the WAL in order, with this as the last position in it.
    Clean,
    /// There is a file that begins at this position, or a later one.
    Newest,
}
/// The version that this build writes.
pub(super) const VERSION: u32 = 4;
/// The oldest version that this build reads.
const OLDEST_VERSION: u32 = 2;
/// What a frame says of a payload that is encrypted, and of one that is not.
const ENCRYPTED: u8 = 1;
const PLAIN: u8 = 0;
/// The signal of a frame that only holds a position's place.
const VOID: u8 = 0;

/// What a frame says about its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whose rows.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: SignalKind,
    /// What the payload is.
    pub format: WireFormat,
    /// By which a resent request is recognised.
    pub key: RequestKey,
    /// When the request arrived.
    pub received_at: UnixNanos,
    /// Older records were rejected when the request was decoded.
    pub oldest_admitted: UnixNanos,
    /// Whether the payload is encrypted ([`crate::encryption`]).
    pub is_encrypted: bool,
}

impl FrameHeader {
    /// Bytes of a payload at most.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        let overhead = if self.is_encrypted { REQUEST_OVERHEAD_BYTES } else { 0 };
        limit::REQUEST_BYTES_MAX + overhead
    }

    /// What an encrypted payload is bound to.
    pub(crate) fn identity(&self) -> RequestIdentity {
        let Self { tenant, signal, format, received_at, oldest_admitted, .. } = *self;
        RequestIdentity { tenant, signal, format, received_at, oldest_admitted }
    }
}

/// The header of a WAL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) version: u32,
    pub(super) first: WalPosition,
    /// The last position in the log before this file. Smaller than the one before `first` when the catalog knew of higher
    /// positions than the log: those in between were never given out.
    pub(super) after: WalPosition,
    /// In every frame of the file. Drawn by chance, so that no client can put into a payload what looks like a frame.
    pub(super) salt: u64,
    /// Sum of the header of the file before; 0 when there is none or it is not known.
    pub(super) previous_sum: u32,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    /// Too short, wrong magic or wrong sum.
    Damaged,
    /// Intact, but of a version that this build does not know.
    Version(u32),
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// That of its file.
    pub(super) salt: u64,
    pub(super) position: WalPosition,
    /// How many frames of the same group, which became durable with one fsync, are before it.
    pub(super) in_group: u32,
}

/// An intact header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameStart {
    pub(super) place: Place,
    /// Bytes of the payload.
    pub(super) length: usize,
    payload_sum: u32,
    /// `None` when it only holds the place of a position that was never acknowledged.
    pub(super) header: Option<FrameHeader>,
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

fn i64_at(bytes: &[u8], offset: usize) -> Option<i64> {
    array(bytes, offset).map(i64::from_le_bytes)
}

impl FileHeader {
    pub(super) fn encode(self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.after.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.previous_sum.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..44]);
        bytes[44..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let version = decode_version(bytes).ok_or(Invalid::Damaged)?;
        if !is_known(version) {
            return Err(Invalid::Version(version));
        }
        let decode = || {
            let header = bytes.get(..FILE_HEADER_BYTES)?;
            let is_valid = u32_at(header, 44)? == crc32c::crc32c(&header[..44]);
            is_valid.then_some(Self {
                version,
                first: WalPosition(u64_at(header, 16)?),
                after: WalPosition(u64_at(header, 24)?),
                salt: u64_at(header, 32)?,
                previous_sum: u32_at(header, 40)?,
            })
        };
        decode().ok_or(Invalid::Damaged)
    }

    /// By which the header of the next file names this one.
    pub(super) fn sum(self) -> u32 {
        crc32c::crc32c(&self.encode()[..44])
    }

    /// What of the header is also in the file's name, in case the header is damaged.
    pub(super) fn file_name(self) -> String {
        format!("{:020}-{:016x}.wal", self.first.0, self.salt)
    }
}

/// Version 2 had zero where version 3 says the format, which is the tag of OTLP, the only format that it knew. Version 3 had zero
/// where version 4 says that a payload is encrypted, which none was.
fn is_known(version: u32) -> bool {
    (OLDEST_VERSION..=VERSION).contains(&version)
}

/// The part of a header that is the same in all versions, with a sum of its own.
fn decode_version(bytes: &[u8]) -> Option<u32> {
    let is_valid = bytes.get(..8)? == FILE_MAGIC && u32_at(bytes, 12)? == crc32c::crc32c(&bytes[..12]);
    u32_at(bytes, 8).filter(|_| is_valid)
}

/// The first position and the salt that a file's name says.
pub(super) fn decode_name(path: &Path) -> Option<(WalPosition, u64)> {
    let (first, salt) = path.file_stem()?.to_str()?.split_once('-')?;
    Some((WalPosition(first.parse().ok()?), u64::from_str_radix(salt, 16).ok()?))
}

impl Mark {
    /// Its name within the folder of the WAL.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Newest => "newest",
        }
    }

    fn magic(self) -> [u8; 8] {
        match self {
            Self::Clean => *b"TRIVCLN\0",
            Self::Newest => *b"TRIVNEW\0",
        }
    }

    /// The content of the file.
    pub(super) fn encode(self, position: WalPosition) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&self.magic());
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&position.0.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The position; `None` when the mark does not check out, which proves nothing.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<WalPosition> {
        let is_valid = bytes.len() == MARK_BYTES
            && bytes[..8] == self.magic()
            && is_known(u32_at(bytes, 8)?)
            && u32_at(bytes, 20)? == crc32c::crc32c(&bytes[..20]);
        u64_at(bytes, 12).filter(|_| is_valid).map(WalPosition)
    }
}

impl Place {
    /// The first position of its group: when the group was written, all before it was durable.
    pub(super) fn group_first(self) -> WalPosition {
        WalPosition(self.position.0.saturating_sub(u64::from(self.in_group)))
    }
}

/// The header of a frame; the payload follows it in the file.
pub(super) fn encode_frame_header(header: &FrameHeader, place: Place, payload: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
    let length = u32::try_from(payload.len()).expect("longer requests are refused before they are queued");
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[16..20].copy_from_slice(&header.tenant.0.to_le_bytes());
    bytes[20] = header.signal.tag();
    bytes[21] = header.format.tag();
    bytes[22] = if header.is_encrypted { ENCRYPTED } else { PLAIN };
    bytes[24..32].copy_from_slice(&header.received_at.0.to_le_bytes());
    bytes[32..40].copy_from_slice(&header.oldest_admitted.0.to_le_bytes());
    bytes[40..56].copy_from_slice(&header.key.0);
    bytes[68..72].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    put(bytes, place)
}

/// A frame without payload for a position that was never acknowledged and is not on the disk.
pub(super) fn encode_void(place: Place) -> [u8; FRAME_HEADER_BYTES] {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes[20] = VOID;
    put(bytes, place)
}

fn put(mut bytes: [u8; FRAME_HEADER_BYTES], place: Place) -> [u8; FRAME_HEADER_BYTES] {
    bytes[..4].copy_from_slice(&FRAME_MAGIC);
    bytes[8..16].copy_from_slice(&place.position.0.to_le_bytes());
    bytes[56..64].copy_from_slice(&place.salt.to_le_bytes());
    bytes[64..68].copy_from_slice(&place.in_group.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..72]);
    bytes[72..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The header at the beginning of `bytes`, when it checks out and is one of a file with this salt.
pub(super) fn decode_frame_header(bytes: &[u8], salt: u64) -> Option<FrameStart> {
    let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
    let is_valid =
        bytes[..4] == FRAME_MAGIC && u64_at(bytes, 56)? == salt && u32_at(bytes, 72)? == crc32c::crc32c(&bytes[..72]);
    let length = usize::try_from(u32_at(bytes, 4)?).ok()?;
    let header = match bytes[20] {
        VOID => None,
        tag => Some(FrameHeader {
            tenant: TenantId(u32_at(bytes, 16)?),
            signal: SignalKind::from_tag(tag)?,
            format: WireFormat::from_tag(bytes[21])?,
            key: RequestKey(array(bytes, 40)?),
            received_at: UnixNanos(i64_at(bytes, 24)?),
            oldest_admitted: UnixNanos(i64_at(bytes, 32)?),
            is_encrypted: match bytes[22] {
                PLAIN => false,
                ENCRYPTED => true,
                _ => return None,
            },
        }),
    };
    let length_max = header.as_ref().map_or(0, FrameHeader::payload_bytes_max).max(limit::REQUEST_BYTES_MAX);
    let place = Place { salt, position: WalPosition(u64_at(bytes, 8)?), in_group: u32_at(bytes, 64)? };
    (is_valid && length <= length_max).then_some(FrameStart { place, length, payload_sum: u32_at(bytes, 68)?, header })
}

impl FrameStart {
    /// Whether the payload, given the bytes from the header on, is there and checks out.
    pub(super) fn is_complete(&self, bytes: &[u8]) -> bool {
        let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.length);
        payload.is_some_and(|payload| crc32c::crc32c(payload) == self.payload_sum)
    }
}
