use trivium_model::{RequestKey, SignalKind, TenantId, UnixNanos, WalPosition, limit};

/// Bytes of a file's header.
pub(super) const FILE_HEADER_BYTES: usize = 32;
/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 76;
pub(super) const FRAME_MAGIC: [u8; 4] = *b"FRAM";
const FILE_MAGIC: [u8; 8] = *b"TRIVWAL\0";
/// The version that this build writes and the only one that it reads.
pub(super) const VERSION: u32 = 1;

/// What a frame says about its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whose rows.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: SignalKind,
    /// By which a resent request is recognised.
    pub key: RequestKey,
    /// When the request arrived.
    pub received_at: UnixNanos,
    /// Older records were rejected when the request was decoded.
    pub oldest_admitted: UnixNanos,
}

/// The header of a WAL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) first: WalPosition,
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

fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

impl FileHeader {
    pub(super) fn encode(self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.previous_sum.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header and its sum.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, u32), Invalid> {
        let header = bytes.get(..FILE_HEADER_BYTES).ok_or(Invalid::Damaged)?;
        let sum = u32_at(header, 28).ok_or(Invalid::Damaged)?;
        if header[..8] != FILE_MAGIC || sum != crc32c::crc32c(&header[..28]) {
            return Err(Invalid::Damaged);
        }
        let version = u32_at(header, 8).ok_or(Invalid::Damaged)?;
        if version != VERSION {
            return Err(Invalid::Version(version));
        }
        let first = WalPosition(u64_at(header, 12).ok_or(Invalid::Damaged)?);
        Ok((Self { first, previous_sum: u32_at(header, 20).ok_or(Invalid::Damaged)? }, sum))
    }
}

/// The header of a frame; the payload follows it in the file.
pub(super) fn encode_frame_header(
    header: &FrameHeader,
    position: WalPosition,
    payload: &[u8],
) -> [u8; FRAME_HEADER_BYTES] {
    let length = u32::try_from(payload.len()).expect("requests are limited to 64 MiB before they reach the WAL");
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes[..4].copy_from_slice(&FRAME_MAGIC);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..16].copy_from_slice(&position.0.to_le_bytes());
    bytes[16..20].copy_from_slice(&header.tenant.0.to_le_bytes());
    bytes[20] = header.signal.tag();
    bytes[24..32].copy_from_slice(&header.received_at.0.to_le_bytes());
    bytes[32..40].copy_from_slice(&header.oldest_admitted.0.to_le_bytes());
    bytes[40..56].copy_from_slice(&header.key.0);
    bytes[68..72].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..72]);
    bytes[72..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The frame at the beginning of `bytes`, when header and payload check out: header, position, length of the payload.
pub(super) fn decode_frame(bytes: &[u8]) -> Option<(FrameHeader, WalPosition, usize)> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    if header[..4] != FRAME_MAGIC || u32_at(header, 72)? != crc32c::crc32c(&header[..72]) {
        return None;
    }
    let length = usize::try_from(u32_at(header, 4)?).ok().filter(|&length| length <= limit::REQUEST_BYTES_MAX)?;
    let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length)?;
    if u32_at(header, 68)? != crc32c::crc32c(payload) {
        return None;
    }
    let decoded = FrameHeader {
        tenant: TenantId(u32_at(header, 16)?),
        signal: SignalKind::from_tag(header[20])?,
        key: RequestKey(array(header, 40)?),
        received_at: UnixNanos(i64::from_le_bytes(array(header, 24)?)),
        oldest_admitted: UnixNanos(i64::from_le_bytes(array(header, 32)?)),
    };
    Some((decoded, WalPosition(u64_at(header, 8)?), length))
}
