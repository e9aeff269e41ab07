use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use proptest::prelude::{any, prop_assert_eq, proptest};
use trivium_model::{RequestKey, SignalKind, TenantId, UnixNanos, WalPosition};

use super::format::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, decode_frame, encode_frame_header};
use super::{Frame, FrameHeader, Wal, WalConfig, WalRecovery, scan};
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
        key: RequestKey([number; 16]),
        received_at: UnixNanos(i64::from(number)),
        oldest_admitted: UnixNanos::MIN,
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
fn a_torn_end_is_cut_at_every_byte() {
    let whole = written(3);
    let last = files(&whole).pop().expect("a file");
    let length = whole.len(&last).expect("a length");
    let frame = (FRAME_HEADER_BYTES + 63) as u64;
    for cut in 1..=frame {
        for garbage in [0, cut] {
            let fs = whole.crash(Crash::Everything);
            fs.damage(&last, |bytes| {
                bytes.truncate((length - cut) as usize);
                bytes.extend(std::iter::repeat_n(0xa5, garbage as usize));
            });
            let (wal, report) = open(&fs).expect("a torn end is normal");
            assert!(report.damage.is_empty(), "{:?}", report.damage);
            assert_eq!(numbers(&wal), [1, 2], "cut {cut} garbage {garbage}");
            assert_eq!(append(&wal, 7).expect("it goes on"), WalPosition(3));
            wal.close();
            assert_eq!(numbers(&open(&fs).expect("it opens").0), [1, 2, 7]);
        }
    }
}

#[test]
fn damage_costs_the_damaged_frames_only_and_is_reported() {
    let whole = written(9);
    let paths = files(&whole);
    type Case = (&'static str, usize, fn(&mut Vec<u8>), usize);
    let cases: [Case; 4] = [
        ("payload", 0, |bytes| bytes[FILE_HEADER_BYTES + FRAME_HEADER_BYTES + 5] ^= 1, 8),
        ("frame header", 0, |bytes| bytes[FILE_HEADER_BYTES + 9] ^= 1, 8),
        ("length", 0, |bytes| bytes[FILE_HEADER_BYTES + 4] = 0xff, 8),
        ("file header", 1, |bytes| bytes[0] = 0, 9),
    ];
    for (name, file, change, survivors) in cases {
        let fs = whole.crash(Crash::Everything);
        fs.damage(&paths[file], change);
        assert!(!scan(&fs, folder()).expect("a scan").damage.is_empty(), "{name}");
        let (wal, report) = open(&fs).expect("damage does not stop the start");
        assert!(!report.damage.is_empty(), "{name}");
        assert_eq!(numbers(&wal).len(), survivors, "{name}");
        let kept = fs.list(Path::new("/data/quarantine")).expect("the quarantine");
        assert_eq!(kept.len(), 1, "{name}: the damaged file is kept");
    }
}

#[test]
fn a_missing_file_is_reported() {
    let fs = written(9);
    fs.remove_file(&files(&fs)[1]).expect("removed");
    let (wal, report) = open(&fs).expect("it opens");
    assert!(!report.damage.is_empty());
    assert!(numbers(&wal).len() < 9);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let fs = written(1);
    let path = files(&fs).pop().expect("a file");
    fs.damage(&path, |bytes| {
        bytes[8] = 2;
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    });
    let before = fs.read(&path).expect("readable");
    assert!(matches!(open(&fs), Err(Error::UnknownFormat { found: 2, .. })));
    assert_eq!(fs.read(&path).expect("readable"), before);
}

#[test]
fn a_failed_fsync_ends_acknowledgements_for_good() {
    let fs = CrashFileSystem::new();
    let (wal, _) = open(&fs).expect("an empty folder opens");
    append(&wal, 1).expect("appended");
    // Syncs so far: file header, frame 1.
    fs.fail_sync_at(2);
    assert!(matches!(append(&wal, 2), Err(Error::Unavailable { .. })));
    assert!(wal.is_poisoned().is_some());
    assert!(append(&wal, 3).is_err(), "nothing is taken after the disk has failed");
    drop(wal);
    let (wal, _) = open(&fs.crash(Crash::OnlySynced)).expect("a restart");
    assert_eq!(numbers(&wal), [1]);
}

#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let fs = CrashFileSystem::new();
    let (wal, _) = open(&fs).expect("an empty folder opens");
    append(&wal, 1).expect("appended");
    fs.set_room(Some(70));
    assert!(matches!(append(&wal, 2), Err(Error::Unavailable { .. })));
    assert_eq!(wal.is_poisoned(), None, "a full disk is transient");
    fs.set_room(None);
    assert_eq!(append(&wal, 3).expect("there is room again"), WalPosition(2));
    wal.close();
    assert_eq!(numbers(&open(&fs).expect("it opens").0), [1, 3]);
}

/// After every operation of a run with rotation, and of the recovery after it, the machine loses power in every manner:
/// what was acknowledged is there, once and in order.
#[test]
fn no_crash_point_loses_an_acknowledged_frame() {
    let run = |fs: &CrashFileSystem| -> Vec<u8> {
        let Ok((wal, _)) = open(fs) else { return Vec::new() };
        let acknowledged = (1..=6).filter(|number| append(&wal, *number).is_ok()).collect();
        wal.close();
        acknowledged
    };
    let complete = CrashFileSystem::new();
    run(&complete);
    for stop in 0..complete.operations() {
        let fs = CrashFileSystem::new();
        fs.stop_at(stop);
        let acknowledged = run(&fs);
        for crash in [Crash::OnlySynced, Crash::Everything, Crash::Some(1), Crash::Some(2), Crash::Some(3)] {
            let context = format!("stopped at operation {stop}, {crash:?}");
            let after = fs.crash(crash);
            check_after(&after.crash(Crash::Everything), &acknowledged, &context);
            // The recovery itself loses power too.
            for second in 0..12 {
                let recovering = after.crash(Crash::Everything);
                recovering.stop_at(second);
                drop(open(&recovering));
                check_after(
                    &recovering.crash(Crash::OnlySynced),
                    &acknowledged,
                    &format!("{context}, recovery at {second}"),
                );
            }
        }
    }
}

fn check_after(fs: &CrashFileSystem, acknowledged: &[u8], context: &str) {
    let (wal, report) = open(fs).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(report.damage.is_empty(), "{context}: {:?}", report.damage);
    let found = numbers(&wal);
    assert!(found.is_sorted() && found.windows(2).all(|pair| pair[0] != pair[1]), "{context}: {found:?}");
    assert!(acknowledged.iter().all(|number| found.contains(number)), "{context}: {acknowledged:?} of {found:?}");
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(tenant in any::<u32>(), signal in 0_usize..3, times in any::<(i64, i64)>(), key in any::<[u8; 16]>(), position in any::<u64>(), payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let header = FrameHeader { tenant: TenantId(tenant), signal: SignalKind::ALL[signal], key: RequestKey(key), received_at: UnixNanos(times.0), oldest_admitted: UnixNanos(times.1) };
        let mut bytes = encode_frame_header(&header, WalPosition(position), &payload).to_vec();
        bytes.extend_from_slice(&payload);
        prop_assert_eq!(decode_frame(&bytes), Some((header, WalPosition(position), payload.len())));
    }

    #[test]
    fn a_changed_frame_is_never_taken(position in 0_usize..136, bit in 0_u8..8) {
        let payload = [7; 60];
        let mut bytes = encode_frame_header(&header(1), WalPosition(1), &payload).to_vec();
        bytes.extend_from_slice(&payload);
        bytes[position] ^= 1 << bit;
        prop_assert_eq!(decode_frame(&bytes), None);
    }
}
