//! Disks that are full or fail, and panics.

use std::io::ErrorKind::{Other, QuotaExceeded};

use super::*;

/// A WAL of which the next append begins a file. Syncs so far: the header, the mark of the newest file and three frames.
fn before_rotation() -> (CrashFileSystem, Wal) {
    let fs = CrashFileSystem::new();
    let (wal, _) = open(&fs).expect("an empty folder opens");
    for number in 1..=3 {
        append(&wal, number).expect("appended");
    }
    (fs, wal)
}

fn check_poisoned(fs: &CrashFileSystem, wal: Wal, failed: u8, acknowledged: &[u8]) {
    assert!(matches!(append(&wal, failed), Err(Error::Unavailable { .. })));
    assert!(wal.is_poisoned().is_some());
    assert!(append(&wal, failed + 1).is_err(), "nothing is taken after the disk has failed");
    wal.close();
    for crash in [Crash::OnlySynced, Crash::Everything, Crash::Torn(7)] {
        let (wal, report) = open(&fs.crash(crash)).expect("a restart");
        assert!(report.unclean && report.damage.is_empty(), "{report:?}");
        assert!(numbers(&wal).starts_with(acknowledged), "{crash:?}");
    }
}

#[test]
fn a_failed_fsync_ends_acknowledgements_for_good() {
    for sync in 1..4 {
        let fs = CrashFileSystem::new();
        let (wal, _) = open(&fs).expect("an empty folder opens");
        fs.fail_sync_at(sync + 1);
        let acknowledged: Vec<u8> = (1..sync as u8).collect();
        assert!(acknowledged.iter().all(|number| append(&wal, *number).is_ok()));
        check_poisoned(&fs, wal, sync as u8, &acknowledged);
    }
}

#[test]
fn a_failed_fsync_of_a_new_file_ends_acknowledgements_for_good() {
    // Of its header, and of the mark that says that it is there.
    for sync in [5, 6] {
        let (fs, wal) = before_rotation();
        fs.fail_sync_at(sync);
        check_poisoned(&fs, wal, 4, &[1, 2, 3]);
    }
    let (fs, wal) = before_rotation();
    fs.fail_dir_sync();
    check_poisoned(&fs, wal, 4, &[1, 2, 3]);
}

#[test]
fn a_failed_write_ends_acknowledgements_unless_the_disk_is_full() {
    let (fs, wal) = before_rotation();
    fs.fail_append(QuotaExceeded);
    assert!(matches!(append(&wal, 4), Err(Error::Unavailable { .. })));
    assert_eq!(append(&wal, 5).expect("there is room again"), WalPosition(4));
    fs.fail_append(Other);
    check_poisoned(&fs, wal, 6, &[1, 2, 3, 5]);
}

#[test]
fn a_failure_while_files_are_removed_ends_acknowledgements() {
    let (fs, wal) = before_rotation();
    fs.fail_dir_sync();
    assert!(wal.remove_up_to(WalPosition(3)).is_err());
    check_poisoned(&fs, wal, 4, &[1, 2, 3]);
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

/// The header of the next file fits, and the mark that says that it is there does not.
#[test]
fn a_disk_too_full_for_a_new_file_and_its_mark_refuses_and_recovers() {
    for room in [10, 50] {
        let (fs, wal) = before_rotation();
        fs.set_room(Some(room));
        for number in [4, 5] {
            assert!(matches!(append(&wal, number), Err(Error::Unavailable { .. })), "room for {room} bytes");
        }
        assert_eq!(wal.is_poisoned(), None, "a full disk is transient");
        fs.set_room(None);
        assert_eq!(append(&wal, 6).expect("there is room again"), WalPosition(4));
        let (wal, report) = open(&fs.crash(Crash::OnlySynced)).expect("it opens");
        assert_eq!((numbers(&wal), report.damage), (vec![1, 2, 3, 6], Vec::new()));
    }
}

/// The part that was written is taken back on the disk, not only in the page cache.
#[test]
fn what_a_full_disk_refused_does_not_come_back() {
    for room in [70, 137] {
        let fs = CrashFileSystem::new();
        let (wal, _) = open(&fs).expect("an empty folder opens");
        append(&wal, 1).expect("appended");
        fs.set_room(Some(room));
        append(&wal, 2).expect_err("the disk is full");
        fs.set_room(None);
        wal.close();
        let (wal, report) = open(&fs.crash(Crash::NothingCut)).expect("it opens");
        assert_eq!((numbers(&wal), &report.damage[..], report.torn_bytes), (vec![1], &[][..], 0));
    }
}

#[test]
fn a_full_disk_after_a_crash_does_not_stop_the_start() {
    let fs = without_mark(&written(3));
    fs.set_room(Some(0));
    let (wal, _) = open(&fs).expect("it opens");
    assert_eq!(numbers(&wal), [1, 2, 3]);
    append(&wal, 4).expect_err("the disk is full");
    fs.set_room(None);
    assert_eq!(append(&wal, 4).expect("there is room again"), WalPosition(4));
    let (wal, report) = open(&fs.crash(Crash::OnlySynced)).expect("it opens");
    assert_eq!((numbers(&wal), &report.damage[..]), (vec![1, 2, 3, 4], &[][..]));
}

#[test]
fn a_panic_of_the_writing_thread_leaves_nobody_waiting() {
    let (fs, wal) = before_rotation();
    fs.panic_at_sync(5);
    // The sender gets its verdict from the thread that is ending.
    assert!(matches!(append(&wal, 4), Err(Error::Unavailable { .. })));
    assert!(wal.is_poisoned().is_some_and(|reason| reason.contains("panicked")));
    assert!(append(&wal, 5).is_err());
    wal.close();
    assert!(open(&fs.crash(Crash::OnlySynced)).expect("a restart").1.unclean);
}

#[test]
fn a_panic_of_a_sender_is_not_the_end_of_the_others() {
    let (_, wal) = before_rotation();
    let panicking = Box::new(|_| panic!("the test wants a panic here"));
    wal.append(header(4), Bytes::from_static(&[4; 8]), panicking).expect("taken");
    wal.close();
    assert!(wal.is_poisoned().is_some_and(|reason| reason.contains("position 4")));
}
