//! Files of the write-ahead log: as mutation leaves them, and with their sums put right, so that what lies behind the sums is
//! reached. Nothing read from a damaged file may be more than what was acknowledged: payloads that nobody wrote. And the other
//! way: what is written is read again, or is told to be lost.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

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
            // Bytes like any other to the log; the longest is longer than what encryption adds.
            is_encrypted: number == 4,
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

/// A request as it was written.
struct Written {
    header: FrameHeader,
    payload: Vec<u8>,
    position: WalPosition,
}

/// What an input says besides the requests.
struct Course {
    config: WalConfig,
    /// Of so many requests each the log is closed and opened again.
    between: usize,
    /// How many of the requests are published at the end, so that their files may go.
    published: usize,
    /// Bytes that are cut from the end of the newest file.
    cut: u64,
}

/// Requests that an input writes at most.
const REQUESTS_MAX: usize = 40;

/// How the inputs of [`round_trip`] begin: size of a file, requests between two openings, requests that are published, bytes that
/// are cut. Then four bytes a request: where it belongs, two of length, what it is made of.
pub(super) fn round_trip_seeds() -> Vec<Vec<u8>> {
    let requests: Vec<u8> =
        (0..20_u8).flat_map(|number| [number, number.wrapping_mul(37), number % 5, number]).collect();
    [[0, 7, 0, 0], [3, 100, 0, 0], [1, 5, 9, 0], [2, 6, 0, 50], [1, 3, 12, 200]]
        .map(|course: [u8; 4]| [&course[..], &requests].concat())
        .into()
}

fn course_of(bytes: [u8; 4]) -> Course {
    let [size, between, published, cut] = bytes.map(usize::from);
    let config = WalConfig { file_bytes_max: 1_000 << (size % 8), ..WalConfig::default() };
    Course { config, between: between.max(1), published, cut: cut as u64 * 5 }
}

fn request_of(number: usize, bytes: [u8; 4]) -> (FrameHeader, Vec<u8>) {
    let [place, low, high, filling] = bytes;
    let header = FrameHeader {
        tenant: TenantId(u32::from(place >> 4)),
        signal: SignalKind::ALL[usize::from(place) % SignalKind::ALL.len()],
        format: WireFormat::ALL[usize::from(filling) % WireFormat::ALL.len()],
        key: RequestKey([number as u8; 16]),
        received_at: UnixNanos(i64::from(filling) - 100),
        oldest_admitted: UnixNanos(i64::from(low)),
        is_encrypted: place & 8 == 8,
    };
    // Some payloads look like frames themselves.
    let unit = if filling == 1 { b"FRAM\0\0\0\0".to_vec() } else { vec![filling, number as u8] };
    let length = usize::from(u16::from_le_bytes([low, high])) % 5_000;
    (header, unit.into_iter().cycle().take(length).collect())
}

/// Writes some requests and waits until they are durable.
fn append(wal: &Wal, requests: &[(FrameHeader, Vec<u8>)], written: &mut Vec<Written>) -> Result<(), String> {
    let (done, committed) = mpsc::channel::<Result<WalPosition, trivium_storage::Error>>();
    for (header, payload) in requests {
        let done = done.clone();
        let told = move |result| done.send(result).unwrap_or_default();
        wal.append(*header, payload.clone().into(), Box::new(told)).map_err(|error| error.to_string())?;
    }
    for (header, payload) in requests {
        let told =
            committed.recv_timeout(Duration::from_secs(4)).map_err(|_| "a request is never committed".to_owned())?;
        let position = told.map_err(|error| error.to_string())?;
        written.push(Written { header: *header, payload: payload.clone(), position });
    }
    Ok(())
}

/// Writes requests as an input says, in one or more openings of the log; what is published of them.
fn write_all(folder: &Path, course: &Course, requests: &[u8]) -> Result<(Vec<Written>, WalPosition), String> {
    let (requests, _) = requests.as_chunks::<4>();
    let requests: Vec<(FrameHeader, Vec<u8>)> =
        (0..).zip(requests).take(REQUESTS_MAX).map(|(number, bytes)| request_of(number, *bytes)).collect();
    let (mut written, mut published) = (Vec::new(), WalPosition(0));
    for some in requests.chunks(course.between) {
        let opened = Wal::open(Arc::new(RealFileSystem::new()), folder, course.config, published);
        let (wal, report) = opened.map_err(|error| error.to_string())?;
        if !report.damage.is_empty() {
            return Err(format!("damage is told where there is none: {:?}", report.damage));
        }
        append(&wal, some, &mut written)?;
        published = written.iter().take(course.published).next_back().map_or(published, |last| last.position);
        wal.remove_up_to(published).map_err(|error| error.to_string())?;
        wal.close();
    }
    Ok((written, published))
}

/// Cuts the end of the newest file.
fn cut(folder: &Path, bytes: u64) -> std::io::Result<()> {
    let paths = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = paths.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).max();
    let Some(newest) = newest else { return Ok(()) };
    let file = std::fs::OpenOptions::new().write(true).open(newest)?;
    file.set_len(file.metadata()?.len().saturating_sub(bytes))
}

/// Requests that are written are read again as they were, those that are not published all of them. When the end of the log was
/// cut, those before are, and that others are missing is told.
pub(super) fn round_trip(input: &[u8]) -> Result<bool, String> {
    let Some((course, requests)) = input.split_first_chunk::<4>() else { return Ok(false) };
    let Some(folder) = super::part::folder() else { return Ok(false) };
    let (course, wal) = (course_of(*course), folder.path().join("wal"));
    let (written, published) = write_all(&wal, &course, requests)?;
    if course.cut > 0 && !written.is_empty() {
        cut(&wal, course.cut).map_err(|error| error.to_string())?;
    }
    let opened = Wal::open(Arc::new(RealFileSystem::new()), &wal, course.config, published);
    let (wal, report) = opened.map_err(|error| format!("it does not open again: {error}"))?;
    let mut replay = wal.replay(published);
    let mut expected = written.iter().filter(|request| request.position > published);
    while let Some(frame) = replay.next_frame().map_err(|error| error.to_string())? {
        let Some(request) = expected.next() else { return Err("a request is read that nobody wrote".into()) };
        let is_same = frame.position == request.position && frame.header == request.header;
        if !is_same || frame.payload != request.payload {
            return Err(format!("{:?} at {} is read as {:?}", request.header, request.position, frame.header));
        }
    }
    wal.close();
    let missing = expected.count();
    if missing > 0 && (course.cut == 0 || report.damage.is_empty()) {
        return Err(format!("{missing} requests are missing, and no damage is told"));
    }
    Ok(!written.is_empty())
}
