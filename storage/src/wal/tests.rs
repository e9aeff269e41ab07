mod crashes;
mod damage;
mod faults;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use trivium_model::{ErrorKind, RequestKey, SignalKind, TenantId, UnixNanos, WalPosition, WireFormat, limit};

use super::format::{FILE_HEADER_BYTES, FileHeader, Place, decode_frame_header, encode_frame_header};
use super::{Frame, FrameHeader, Wal, WalConfig, WalRecovery};
use crate::error::Error;
use crate::fs::FileSystem;
use crate::fs::testing::{Crash, CrashFileSystem};

/// Small files, so that few frames reach every branch.
const CONFIG: WalConfig = WalConfig { file_bytes_max: 400, queue_bytes_max: 1 << 20 };

fn folder() -> &'static Path {
    Path::new("/data/wal")
}

fn header(number: u8) -> FrameHeader {
    FrameHeader {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::ALL[usize::from(number) % 3],
        format: WireFormat::ALL[usize::from(number / 3) % 3],
        key: RequestKey([number; 16]),
        received_at: UnixNanos(i64::from(number)),
        oldest_admitted: UnixNanos::MIN,
        is_encrypted: false,
    }
}

fn open(fs: &CrashFileSystem) -> Result<(Wal, WalRecovery), Error> {
    Wal::open(Arc::new(fs.clone()), folder(), CONFIG, WalPosition::ZERO)
}

/// Appends a frame whose payload is its number and waits for the verdict.
fn append(wal: &Wal, number: u8) -> Result<WalPosition, Error> {
    let (done, verdict) = mpsc::channel();
    let payload = Bytes::from(vec![number; 60 + usize::from(number)]);
    wal.append(header(number), payload, Box::new(move |result| done.send(result).expect("the test waits")))?;
    verdict.recv().expect("every accepted append gets a verdict")
}

fn frames(wal: &Wal) -> Vec<Frame> {
    let mut replay = wal.replay(WalPosition::ZERO);
    std::iter::from_fn(|| replay.next_frame().expect("the files are readable")).collect()
}

fn numbers(wal: &Wal) -> Vec<u8> {
    frames(wal).iter().map(|frame| frame.payload[0]).collect()
}

fn files(fs: &CrashFileSystem) -> Vec<PathBuf> {
    let paths = fs.list(folder()).expect("the folder exists");
    paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect()
}

/// A file system with frames 1 to `last`, closed.
fn written(last: u8) -> CrashFileSystem {
    let fs = CrashFileSystem::new();
    let (wal, _) = open(&fs).expect("an empty folder opens");
    for number in 1..=last {
        append(&wal, number).expect("appended");
    }
    wal.close();
    fs
}

#[test]
fn frames_come_back_in_order_with_all_they_carry() {
    let fs = written(9);
    let (wal, report) = open(&fs).expect("it opens again");
    assert_eq!((report.frames, report.torn_bytes, report.unclean), (9, 0, false));
    assert!(report.files > 2, "the frames must spread over several files");
    for (frame, number) in frames(&wal).iter().zip(1..) {
        assert_eq!((frame.position, frame.header), (WalPosition(u64::from(number)), header(number)));
    }
    assert_eq!(append(&wal, 10).expect("it goes on"), WalPosition(10));
    assert_eq!(numbers(&wal), (1..=10).collect::<Vec<u8>>());
}

#[test]
fn positions_are_never_given_out_twice() {
    let fs = written(3);
    let (wal, _) = Wal::open(Arc::new(fs.clone()), folder(), CONFIG, WalPosition(50)).expect("it opens");
    assert_eq!(append(&wal, 4).expect("appended"), WalPosition(51), "the catalog knows up to 50");
}

#[test]
fn published_files_are_removed_and_the_rest_stays() {
    let fs = written(9);
    let (wal, _) = open(&fs).expect("it opens");
    let before = wal.bytes_on_disk();
    wal.remove_up_to(WalPosition(5)).expect("removed");
    let left = numbers(&wal);
    assert!(wal.bytes_on_disk() < before && left.ends_with(&[6, 7, 8, 9]), "{left:?}");
}

#[test]
fn a_log_that_is_published_leaves_one_empty_file_that_keeps_the_positions_going() {
    let fs = written(5);
    let (wal, _) = open(&fs).expect("it opens");
    append(&wal, 6).expect("appended");
    wal.remove_up_to(WalPosition(6)).expect("removed");
    assert_eq!((wal.bytes_on_disk(), files(&fs).len()), (FILE_HEADER_BYTES as u64, 1));
    wal.remove_up_to(WalPosition(6)).expect("there is nothing left to do");
    assert_eq!(append(&wal, 7).expect("appended"), WalPosition(7));
    wal.remove_up_to(WalPosition(7)).expect("removed");
    wal.close();
    for _ in 0..3 {
        let (wal, report) = open(&fs).expect("it opens");
        assert_eq!((report.last_position, &report.damage[..], report.files), (WalPosition(7), &[][..], 1));
        wal.close();
    }
    assert_eq!(append(&open(&fs).expect("it opens").0, 8).expect("appended"), WalPosition(8));
}

#[test]
fn every_file_names_the_one_before_it_across_restarts() {
    let fs = CrashFileSystem::new();
    for process in 0..4 {
        let (wal, _) = open(&fs).expect("it opens");
        for number in 0..4 {
            append(&wal, process * 4 + number).expect("appended");
        }
        wal.close();
    }
    let header = |path| FileHeader::decode(&fs.read(path).expect("readable")).expect("intact");
    let headers: Vec<FileHeader> = files(&fs).iter().map(|path| header(path)).collect();
    assert!(headers.len() >= 4);
    for pair in headers.windows(2) {
        assert_eq!(pair[1].previous_sum, pair[0].sum());
    }
}

#[test]
fn a_payload_longer_than_replay_takes_is_refused() {
    let fs = CrashFileSystem::new();
    let (wal, _) = open(&fs).expect("an empty folder opens");
    let unreached = || Box::new(|_| panic!("a refused request gets no verdict"));
    let error = wal.append(header(1), Bytes::from(vec![0; limit::REQUEST_BYTES_MAX + 1]), unreached());
    let error = error.expect_err("one byte too many");
    assert!(matches!(error, Error::TooLarge { .. }) && error.kind() == ErrorKind::LimitExceeded, "{error}");
    let (done, verdict) = mpsc::channel();
    let longest = Bytes::from(vec![7; limit::REQUEST_BYTES_MAX]);
    let committed = Box::new(move |result: Result<WalPosition, Error>| done.send(result.is_ok()).expect("it waits"));
    wal.append(header(1), longest.clone(), committed).expect("the longest is taken");
    assert!(verdict.recv().expect("a verdict"));
    assert!(frames(&wal)[0].payload == longest);
}

#[test]
fn an_encrypted_request_may_be_longer_by_what_encryption_adds() {
    let longest = limit::REQUEST_BYTES_MAX + crate::encryption::REQUEST_OVERHEAD_BYTES;
    let plain = header(1);
    let encrypted = FrameHeader { is_encrypted: true, ..plain };
    let place = Place { salt: 9, position: WalPosition(1), in_group: 0 };
    let payload = vec![7; longest + 1];
    let is_taken = |header: &FrameHeader, length: usize| {
        decode_frame_header(&encode_frame_header(header, place, &payload[..length]), 9).is_some()
    };
    assert!(is_taken(&encrypted, longest) && !is_taken(&encrypted, longest + 1));
    assert!(is_taken(&plain, limit::REQUEST_BYTES_MAX) && !is_taken(&plain, limit::REQUEST_BYTES_MAX + 1));
}

/// What a crash leaves is not marked as closed.
fn without_mark(fs: &CrashFileSystem) -> CrashFileSystem {
    let fs = fs.crash(Crash::Everything);
    fs.remove_file(&folder().join("clean")).expect("removed");
    fs
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(tenant in any::<u32>(), signal in 0_usize..3, format in 0_usize..3, times in any::<(i64, i64)>(), key in any::<[u8; 16]>(), place in any::<(u64, u64, u32)>(), is_encrypted in any::<bool>(), payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let header = FrameHeader { tenant: TenantId(tenant), signal: SignalKind::ALL[signal], format: WireFormat::ALL[format], key: RequestKey(key), received_at: UnixNanos(times.0), oldest_admitted: UnixNanos(times.1), is_encrypted };
        let place = Place { salt: place.0, position: WalPosition(place.1), in_group: place.2 };
        let mut bytes = encode_frame_header(&header, place, &payload).to_vec();
        bytes.extend_from_slice(&payload);
        let start = decode_frame_header(&bytes, place.salt).expect("intact");
        prop_assert_eq!((start.header, start.place, start.length), (Some(header), place, payload.len()));
        prop_assert!(start.is_complete(&bytes) && !start.is_complete(&bytes[..bytes.len() - 1]));
        prop_assert_eq!(decode_frame_header(&bytes, place.salt ^ 1), None);
    }

    #[test]
    fn a_changed_frame_is_never_taken(position in 0_usize..136, bit in 0_u8..8) {
        let payload = [7; 60];
        let place = Place { salt: 9, position: WalPosition(1), in_group: 0 };
        let mut bytes = encode_frame_header(&header(1), place, &payload).to_vec();
        bytes.extend_from_slice(&payload);
        bytes[position] ^= 1 << bit;
        prop_assert!(decode_frame_header(&bytes, 9).is_none_or(|start| !start.is_complete(&bytes)));
    }

    #[test]
    fn any_bytes_give_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let fs = written(3);
        fs.damage(&files(&fs)[0], |content| *content = bytes);
        prop_assert!(open(&fs).is_ok());
    }
}
