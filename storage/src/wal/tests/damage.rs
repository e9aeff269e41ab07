//! Bytes that are not what was written.

use super::*;
use crate::wal::format::{FRAME_HEADER_BYTES, Mark};
use crate::wal::scan;

/// Bytes of frame 3, the last one of `written(3)`.
const FRAME_3_BYTES: usize = FRAME_HEADER_BYTES + 63;

fn quarantined(fs: &CrashFileSystem) -> Vec<Bytes> {
    let paths = fs.list(Path::new("/data/quarantine")).expect("the quarantine");
    paths.iter().map(|path| fs.read(path).expect("readable")).collect()
}

/// The end of the last file cut off at every byte of its last frame, with zeros instead or without.
fn cut_ends(whole: &CrashFileSystem) -> impl Iterator<Item = (CrashFileSystem, String)> {
    let path = files(whole).pop().expect("a file");
    (1..=FRAME_3_BYTES).flat_map(move |cut| [0, cut].map(|garbage| (cut, garbage))).map(move |(cut, garbage)| {
        let fs = whole.crash(Crash::Everything);
        fs.damage(&path, |bytes| {
            bytes.truncate(bytes.len() - cut);
            bytes.extend(std::iter::repeat_n(0xa5, garbage));
        });
        (fs, format!("cut {cut} garbage {garbage}"))
    })
}

#[test]
fn after_a_crash_a_torn_end_is_cut_at_every_byte() {
    for (fs, context) in cut_ends(&without_mark(&written(3))) {
        let (wal, report) = open(&fs).expect("a torn end is normal");
        assert!(report.damage.is_empty(), "{:?}", report.damage);
        assert_eq!(numbers(&wal), [1, 2], "{context}");
        assert_eq!(append(&wal, 7).expect("it goes on"), WalPosition(3));
        wal.close();
        let (wal, report) = open(&fs).expect("it opens");
        assert_eq!((numbers(&wal), &report.damage[..]), (vec![1, 2, 7], &[][..]));
    }
}

/// All of it was acknowledged: losing it silently would be a lie.
#[test]
fn after_a_close_in_order_a_missing_end_is_damage_at_every_byte() {
    for (fs, context) in cut_ends(&written(3)) {
        let before = fs.read(&files(&fs)[0]).expect("readable");
        assert!(!scan(&fs, folder()).expect("a scan").damage.is_empty(), "{context}");
        let (wal, report) = open(&fs).expect("damage does not stop the start");
        assert!(!report.damage.is_empty() && report.torn_bytes == 0, "{context}");
        assert_eq!(numbers(&wal), [1, 2], "{context}");
        // What is cut off exactly at a frame's beginning leaves an intact file.
        assert!(context == "cut 139 garbage 0" || quarantined(&fs) == [before], "{context}: it is kept");
        assert_eq!(append(&wal, 7).expect("it goes on"), WalPosition(4), "{context}: 3 was given out");
    }
}

/// Whenever the process that took the mark away dies, also without a request: the end of its predecessor is no torn end.
#[test]
fn a_start_that_dies_does_not_make_a_missing_end_a_torn_one() {
    let whole = written(3);
    let path = files(&whole)[0].clone();
    let complete = whole.crash(Crash::Everything);
    drop(open_log(&complete).expect("it opens"));
    for stop in 0..=complete.operations() {
        for crash in [Crash::OnlySynced, Crash::Everything, Crash::Some(stop)] {
            let fs = whole.crash(Crash::Everything);
            fs.stop_at(stop);
            drop(open_log(&fs));
            let fs = fs.crash(crash);
            fs.damage(&path, |bytes| bytes.truncate(bytes.len() - 5));
            let (_, report) = open(&fs).expect("it opens");
            assert!(!report.damage.is_empty() && report.torn_bytes == 0, "stopped at {stop}, {crash:?}: {report:?}");
        }
    }
}

/// A start that never closes.
fn open_log(fs: &CrashFileSystem) -> Result<WalRecovery, Error> {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    crate::wal::open_log(&fs, folder(), CONFIG, WalPosition::ZERO).map(|(_, report)| report)
}

#[test]
fn damage_costs_the_damaged_frames_only_and_is_reported() {
    let whole = written(9);
    let paths = files(&whole);
    type Case = (&'static str, usize, fn(&mut Vec<u8>), usize);
    let cases: [Case; 5] = [
        ("payload", 0, |bytes| bytes[FILE_HEADER_BYTES + FRAME_HEADER_BYTES + 5] ^= 1, 8),
        ("frame header", 0, |bytes| bytes[FILE_HEADER_BYTES + 9] ^= 1, 8),
        ("length", 0, |bytes| bytes[FILE_HEADER_BYTES + 4] = 0xff, 8),
        ("file header", 1, |bytes| bytes[0] = 0, 9),
        ("both headers", 0, |bytes| bytes[..FILE_HEADER_BYTES + FRAME_HEADER_BYTES].fill(0), 8),
    ];
    for whole in [whole.crash(Crash::Everything), without_mark(&whole)] {
        for (name, file, change, survivors) in cases {
            let fs = whole.crash(Crash::Everything);
            fs.damage(&paths[file], change);
            assert!(!scan(&fs, folder()).expect("a scan").damage.is_empty(), "{name}");
            let damaged = fs.read(&paths[file]).expect("readable");
            let (wal, report) = open(&fs).expect("damage does not stop the start");
            assert!(!report.damage.is_empty(), "{name}");
            assert_eq!(numbers(&wal).len(), survivors, "{name}");
            assert_eq!(quarantined(&fs), [damaged], "{name}: the damaged file is kept");
            assert_eq!(append(&wal, 10).expect("it goes on"), WalPosition(10), "{name}");
        }
    }
}

#[test]
fn a_missing_file_is_reported() {
    let whole = written(9);
    // After a kill too, when nothing says where the log ended: also of the newest one.
    for whole in [whole.crash(Crash::Everything), without_mark(&whole)] {
        for path in &files(&whole)[1..] {
            let fs = whole.crash(Crash::Everything);
            fs.remove_file(path).expect("removed");
            assert!(!scan(&fs, folder()).expect("a scan").damage.is_empty());
            let (wal, report) = open(&fs).expect("it opens");
            assert!(!report.damage.is_empty());
            assert!(numbers(&wal).len() < 9);
            append(&wal, 10).expect("it goes on");
            assert!(numbers(&wal).contains(&10));
        }
    }
    // What a mark alone knows of is told once: then there is a newer file.
    let fs = without_mark(&whole);
    fs.remove_file(files(&whole).last().expect("several")).expect("removed");
    drop(open(&fs).expect("it opens"));
    let (_, report) = open(&fs).expect("it opens");
    assert_eq!(report.damage, []);
}

#[test]
fn a_file_that_was_copied_over_another_name_gives_its_frames_once() {
    let fs = written(9);
    let paths = files(&fs);
    let first = fs.read(&paths[0]).expect("readable");
    fs.write_file_synced(&folder().join("00000000000000000002-0000000000000007.wal"), &first).expect("a copy");
    let (wal, report) = open(&fs).expect("it opens");
    assert!(!report.damage.is_empty());
    assert_eq!(numbers(&wal), (1..=9).collect::<Vec<u8>>());
}

#[test]
fn a_frame_that_stands_in_a_file_twice_is_replayed_once() {
    let fs = written(9);
    fs.damage(&files(&fs)[0], |bytes| {
        let frame_1 = bytes[FILE_HEADER_BYTES..FILE_HEADER_BYTES + FRAME_HEADER_BYTES + 61].to_vec();
        bytes.extend(frame_1);
    });
    let (wal, report) = open(&fs).expect("it opens");
    assert!(!report.damage.is_empty());
    assert_eq!(numbers(&wal), (1..=9).collect::<Vec<u8>>());
}

#[test]
fn files_that_exchanged_their_names_lose_nothing() {
    let fs = written(9);
    let paths = files(&fs);
    let other = folder().join("other");
    for (from, to) in [(&paths[0], &other), (&paths[1], &paths[0]), (&other, &paths[1])] {
        fs.rename(from, to).expect("renamed");
    }
    let (wal, report) = open(&fs).expect("it opens");
    assert!(!report.damage.is_empty());
    assert_eq!(numbers(&wal), (1..=9).collect::<Vec<u8>>());
    assert_eq!(append(&wal, 10).expect("it goes on"), WalPosition(10));
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let fs = written(1);
    let path = files(&fs).pop().expect("a file");
    fs.damage(&path, |bytes| {
        bytes[8] = 5;
        let sum = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    });
    let before = fs.read(&path).expect("readable");
    assert!(matches!(open(&fs), Err(Error::UnknownFormat { found: 5, .. })));
    assert_eq!(fs.read(&path).expect("readable"), before);
}

/// The files that version 2 left, no format in the frames, which are all OTLP, and version 3, nothing encrypted.
#[test]
fn the_files_of_earlier_versions_are_read_as_plain_otlp() {
    for version in [2, 3] {
        check_earlier_version(version);
    }
}

fn check_earlier_version(version: u8) {
    let fs = CrashFileSystem::new();
    let (mut log, salt) = (Vec::new(), 7);
    let file =
        FileHeader { version: version.into(), first: WalPosition(1), after: WalPosition(0), salt, previous_sum: 0 };
    log.extend_from_slice(&file.encode());
    let frame = FrameHeader { format: WireFormat::Otlp, ..header(5) };
    let place = Place { salt, position: WalPosition(1), in_group: 0 };
    log.extend_from_slice(&encode_frame_header(&frame, place, b"payload"));
    log.extend_from_slice(b"payload");
    fs.create_dir_all(folder()).expect("made");
    fs.write_file_synced(&folder().join(file.file_name()), &log).expect("written");
    let mut clean = Mark::Clean.encode(WalPosition(1));
    clean[8] = version;
    let sum = crc32c::crc32c(&clean[..20]);
    clean[20..].copy_from_slice(&sum.to_le_bytes());
    fs.write_file_synced(&folder().join("clean"), &clean).expect("written");
    for _ in 0..2 {
        let (wal, report) = open(&fs).expect("it opens");
        assert_eq!(report.damage, []);
        let read = wal.replay(WalPosition::ZERO).next_frame().expect("readable").expect("a frame");
        assert_eq!((read.header, &read.payload[..]), (frame, &b"payload"[..]));
        wal.close();
    }
}

/// A client that knows the format puts frames into its payload; damage in front of them must not make them requests.
#[test]
fn frames_in_a_payload_are_never_taken_for_requests() {
    let forged_header = FrameHeader { tenant: TenantId(77), ..header(77) };
    let place = Place { salt: 0, position: WalPosition(100), in_group: 0 };
    let mut forged = encode_frame_header(&forged_header, place, &[77; 9]).to_vec();
    forged.extend_from_slice(&[77; 9]);
    let fs = CrashFileSystem::new();
    let (wal, _) = open(&fs).expect("it opens");
    append(&wal, 1).expect("appended");
    let (done, verdict) = mpsc::channel();
    let committed = Box::new(move |result: Result<WalPosition, Error>| done.send(result.is_ok()).expect("it waits"));
    wal.append(header(2), Bytes::from(forged.repeat(3)), committed).expect("taken");
    assert!(verdict.recv().expect("a verdict"));
    append(&wal, 3).expect("appended");
    wal.close();
    let frame_2 = FILE_HEADER_BYTES + FRAME_HEADER_BYTES + 61;
    for damaged in [frame_2 + 1, frame_2 + FRAME_HEADER_BYTES + forged.len() - 1] {
        let fs = fs.crash(Crash::Everything);
        fs.damage(&files(&fs)[0], |bytes| bytes[damaged] ^= 1);
        let (wal, report) = open(&fs).expect("it opens");
        assert!(!report.damage.is_empty());
        assert_eq!(numbers(&wal), [1, 3]);
        assert_eq!(append(&wal, 4).expect("it goes on"), WalPosition(4));
    }
}

#[test]
fn the_copy_of_a_damaged_file_is_whole_wherever_the_process_dies() {
    let whole = written(9);
    let path = files(&whole)[1].clone();
    whole.damage(&path, |bytes| bytes[FILE_HEADER_BYTES + 9] ^= 1);
    let damaged = whole.read(&path).expect("readable");
    let complete = whole.crash(Crash::Everything);
    open(&complete).expect("it opens");
    for stop in 0..complete.operations() {
        for crash in [Crash::OnlySynced, Crash::Everything, Crash::Some(stop), Crash::Torn(stop)] {
            let fs = whole.crash(Crash::Everything);
            fs.stop_at(stop);
            drop(open(&fs));
            let fs = fs.crash(crash);
            let (_, report) = open(&fs).expect("it opens");
            assert!(!report.damage.is_empty());
            assert_eq!(quarantined(&fs), std::slice::from_ref(&damaged), "stopped at {stop}, {crash:?}");
        }
    }
}

#[test]
fn without_room_for_a_copy_the_damaged_file_stays_and_the_start_goes_on() {
    let fs = written(9);
    let path = files(&fs)[1].clone();
    fs.damage(&path, |bytes| bytes[FILE_HEADER_BYTES + 9] ^= 1);
    let damaged = fs.read(&path).expect("readable");
    fs.set_room(Some(0));
    let (wal, report) = open(&fs).expect("a full disk does not stop the start");
    assert!(report.damage.iter().any(|damage| damage.problem.contains("could not be copied")), "{report:?}");
    assert_eq!(numbers(&wal).len(), 8);
    assert_eq!(fs.read(&path).expect("it is still there"), damaged);
    // Later it goes to where it belongs, which takes no room.
    wal.remove_up_to(WalPosition(9)).expect("removed");
    assert_eq!((quarantined(&fs), fs.exists(&path).expect("known")), (vec![damaged], false));
    fs.set_room(None);
    assert_eq!(append(&wal, 10).expect("it goes on"), WalPosition(10));
    wal.close();
    assert_eq!(open(&fs).expect("it opens").1.damage, []);
}

/// The next starts took for damage what a start on a full disk had left as it was.
#[test]
fn a_torn_end_that_a_full_disk_kept_is_no_damage_later() {
    for (fs, context) in cut_ends(&without_mark(&written(3))) {
        let path = files(&fs)[0].clone();
        let torn = fs.read(&path).expect("readable").to_vec();
        let (wal, _) = open(&fs).expect("a torn end is normal");
        assert_eq!(append(&wal, 7).expect("it goes on"), WalPosition(3));
        wal.close();
        // As it would be without room for a copy.
        fs.damage(&path, |bytes| bytes.clone_from(&torn));
        assert_eq!(scan(&fs, folder()).expect("a scan").damage, [], "{context}");
        let (wal, report) = open(&fs).expect("it opens");
        assert_eq!((numbers(&wal), &report.damage[..]), (vec![1, 2, 7], &[][..]), "{context}");
        wal.close();
        // What was durable when the next file was begun is damage when it is missing.
        let frame_2 = FILE_HEADER_BYTES + FRAME_HEADER_BYTES + 61;
        fs.damage(&path, |bytes| bytes[frame_2 + 9] ^= 1);
        let (wal, report) = open(&fs).expect("it opens");
        assert_eq!((numbers(&wal), report.damage.is_empty()), (vec![1, 7], false), "{context}");
    }
}

#[test]
fn a_file_that_vanishes_under_a_scan_is_no_damage() {
    let whole = written(9);
    for path in files(&whole) {
        for reads in 0..2 {
            let fs = without_mark(&whole);
            fs.vanish_after(&path, reads);
            assert_eq!(scan(&fs, folder()).expect("a scan").damage, [], "{path:?} after {reads} reads");
        }
    }
}
