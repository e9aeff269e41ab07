//! Files of the write-ahead log: as mutation leaves them, and with their sums put right, so that what lies behind the sums is
//! reached. Nothing read from a damaged file may be more than what was acknowledged: payloads that nobody wrote.

use std::path::Path;
use std::sync::{Arc, mpsc};

use trivium_model::{RequestKey, SignalKind, TenantId, UnixNanos, WalPosition, WireFormat};
use trivium_storage::fs::RealFileSystem;
use trivium_storage::wal::{FrameHeader, Wal, WalConfig, scan};

const FILE_HEADER_BYTES: usize = 48;
const FRAME_HEADER_BYTES: usize = 76;

/// The name of the first file, but for the salt, which is in the header.
fn name(input: &[u8]) -> String {
    let salt = input.get(32..40).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    format!("{:020}-{salt:016x}.wal", 1)
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    log_of_five().unwrap_or_default()
}

fn log_of_five() -> Option<Vec<Vec<u8>>> {
    let folder = super::part::folder()?;
    let path = folder.path().join("wal");
    let (wal, _) = Wal::open(Arc::new(RealFileSystem::new()), &path, WalConfig::default(), WalPosition(0)).ok()?;
    let (done, committed) = mpsc::channel();
    for number in 0..5_u8 {
        let header = FrameHeader {
            tenant: TenantId::DEFAULT,
            signal: SignalKind::ALL[usize::from(number) % 3],
            format: WireFormat::Otlp,
            key: RequestKey([number; 16]),
            received_at: UnixNanos(1_700_000_000_000_000_000),
            oldest_admitted: UnixNanos::MIN,
            is_encrypted: false,
        };
        let done = done.clone();
        let payload = vec![number; 20 * usize::from(number)];
        wal.append(header, payload.into(), Box::new(move |result| done.send(result.is_ok()).unwrap_or_default()))
            .ok()?;
        committed.recv().ok()?;
    }
    wal.close();
    let files = std::fs::read_dir(&path).ok()?.filter_map(|entry| std::fs::read(entry.ok()?.path()).ok());
    Some(files.filter(|bytes| bytes.len() > FILE_HEADER_BYTES).collect())
}

fn sum(bytes: &mut [u8], covered: usize, at: usize) {
    let Some(sum) = bytes.get(..covered).map(crc32c::crc32c) else { return };
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

/// Puts the sums of the headers and payloads right, as far as the frames can be followed.
fn resealed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    sum(&mut bytes, 12, 12);
    sum(&mut bytes, 44, 44);
    let mut at = FILE_HEADER_BYTES;
    while let Some(frame) = bytes.get_mut(at..).filter(|frame| frame.len() >= FRAME_HEADER_BYTES) {
        let length = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
        if let Some(payload) = frame.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.saturating_add(length)) {
            let sum = crc32c::crc32c(payload).to_le_bytes();
            frame[68..72].copy_from_slice(&sum);
        }
        sum(frame, 72, 72);
        at = at.saturating_add(FRAME_HEADER_BYTES).saturating_add(length);
    }
    bytes
}

fn read(folder: &Path, input: &[u8]) -> Result<bool, String> {
    let wal = folder.join("wal");
    let write = std::fs::create_dir_all(&wal).and_then(|()| std::fs::write(wal.join(name(input)), input));
    write.map_err(|error| error.to_string())?;
    let fs = Arc::new(RealFileSystem::new());
    let scanned = scan(&*fs, &wal);
    let opened = Wal::open(fs, &wal, WalConfig::default(), WalPosition(0));
    let Ok((wal, report)) = opened else { return Ok(false) };
    let mut replay = wal.replay(WalPosition(0));
    let mut frames = 0_u64;
    let mut last = WalPosition(0);
    while let Ok(Some(frame)) = replay.next_frame() {
        if frame.position <= last {
            return Err(format!("position {:?} after {last:?}", frame.position));
        }
        (frames, last) = (frames + 1, frame.position);
    }
    wal.close();
    if scanned.is_ok_and(|scanned| scanned.frames > 0 && frames == 0 && report.damage.is_empty()) {
        return Err("frames were found that are not replayed, and no damage is told".into());
    }
    Ok(frames > 0)
}

pub(super) fn open(input: &[u8]) -> Result<bool, String> {
    let Some(folder) = super::part::folder() else { return Ok(false) };
    read(folder.path(), input)
}

pub(super) fn scan_resealed(input: &[u8]) -> Result<bool, String> {
    open(&resealed(input))
}
