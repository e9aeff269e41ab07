use std::path::PathBuf;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use trivium_model::{ManualClock, UnixNanos};

use super::testing::{Fault, Faulty};
use super::*;
use crate::backup::{
    BackupOptions, BackupReport, CheckReport, Location, Progress, RestoreOptions, RestoreReport, backup, check, restore,
};
use crate::fs::RealFileSystem;
use crate::storage::Storage;
use crate::testing::{append, bodies, expected, open};
use crate::verify::{Options, verify};

const START: i64 = 1_795_279_322_000_000_000;

fn silent() -> Progress {
    Arc::new(|_, _| ())
}

/// A store with records, a place in memory, and a clock that the test moves.
struct Scene {
    source: TempDir,
    storage: Storage,
    store: Arc<Faulty>,
    clock: Arc<ManualClock>,
}

impl Scene {
    /// Two parts with the records 0..4 and the record 4 in the WAL.
    async fn new() -> Self {
        let source = tempfile::tempdir().expect("a folder");
        let storage = open(source.path()).await;
        append(&storage, 0..2, 0).await;
        storage.flush().await.expect("published");
        append(&storage, 2..4, 5).await;
        storage.flush().await.expect("published");
        append(&storage, 4..5, 0).await;
        let clock = Arc::new(ManualClock::new(UnixNanos(START)));
        Self { source, storage, store: Faulty::new(), clock }
    }

    fn location(&self) -> Location {
        Location::objects(self.store.objects())
    }

    fn later(&self, minutes: u64) {
        self.clock.advance(std::time::Duration::from_secs(60 * minutes));
    }

    /// A minute after the one before.
    async fn back_up(&self, options: BackupOptions) -> Result<BackupReport, Error> {
        self.later(1);
        backup(self.source.path(), &self.location(), options, Arc::<ManualClock>::clone(&self.clock), silent()).await
    }

    async fn made(&self) -> BackupReport {
        self.back_up(BackupOptions::default()).await.expect("a backup")
    }

    async fn restore(&self, folder: &Path) -> Result<RestoreReport, Error> {
        restore(&self.location(), folder, RestoreOptions::default(), silent()).await
    }

    async fn check(&self) -> CheckReport {
        check(&self.location(), silent()).await.expect("checked")
    }

    async fn check_restored(&self, numbers: impl IntoIterator<Item = u64>) {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("data");
        self.restore(&folder).await.expect("restored");
        assert_eq!(verify(&folder, Options { deep: true, ..Options::default() }).await.expect("checked").findings, []);
        assert_eq!(bodies(&open(&folder).await), expected(numbers));
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("listed").next().is_none()
}

#[tokio::test]
async fn what_is_new_is_sent_and_old_snapshots_go() {
    let scene = Scene::new().await;
    let first = scene.made().await;
    assert_eq!((first.parts, first.copied_parts, first.rows, first.wal_frames), (2, 2, 80, 1));
    scene.check_restored(0..5).await;
    append(&scene.storage, 5..7, 9).await;
    scene.storage.flush().await.expect("published");
    let keep = |keep| BackupOptions { keep: Some(keep), check: false };
    let second = scene.back_up(keep(2)).await.expect("a backup");
    assert_eq!((second.parts, second.copied_parts, second.removed.len()), (3, 2, 0));
    let dropped = scene.storage.parts().into_iter().next().expect("a part");
    scene
        .storage
        .inner
        .replace(dropped.signal, Vec::new(), vec![dropped.id], u64::from(dropped.rows))
        .await
        .expect("gone");
    let third = scene.back_up(keep(2)).await.expect("a backup");
    assert_eq!((third.copied_parts, third.removed.as_slice()), (0, std::slice::from_ref(&first.snapshot)));
    let of = |part: &str| part.contains(&dropped.id.to_string());
    assert!(scene.store.keys().await.iter().any(|key| of(key)), "the second snapshot names it");
    let last = scene.back_up(keep(1)).await.expect("a backup");
    let keys = scene.store.keys().await;
    assert!(!keys.iter().any(|key| of(key)), "nothing names it any more");
    assert!(keys.iter().all(|key| key.starts_with("here/parts/") || key.contains(&last.snapshot)), "{keys:?}");
    let checked = scene.check().await;
    assert_eq!((checked.snapshots, checked.findings, checked.interrupted), (vec![last.snapshot], vec![], vec![]));
    // What a folder holds and what lies in an object store is the same.
    let folder = tempfile::tempdir().expect("a folder");
    for key in &keys {
        let path = folder.path().join(key.strip_prefix("here/").expect("below"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        scene.store.change(key, |bytes| std::fs::write(&path, bytes).expect("written")).await;
    }
    let data = folder.path().join("data");
    let carried = Location::folder(folder.path());
    let report = restore(&carried, &data, RestoreOptions::default(), silent()).await.expect("restored");
    assert_eq!(report.parts, last.parts);
}

/// Each request of a backup and of a restore in turn goes wrong once, in each way that may pass.
#[tokio::test]
async fn trouble_that_passes_changes_nothing() {
    let scene = Scene::new().await;
    scene.made().await;
    let keys = scene.store.keys().await.len();
    for fault in [Fault::Unreachable, Fault::AnswerLost, Fault::Throttled, Fault::CutOff] {
        let mut bad = 0;
        loop {
            bad += 1;
            for key in scene.store.keys().await {
                scene.store.remove(&key).await;
            }
            scene.store.plan(move |number, _| (number == bad).then_some(fault));
            scene.back_up(BackupOptions::default()).await.unwrap_or_else(|error| panic!("{fault:?} {bad}: {error}"));
            let requests = scene.store.plan(|_, _| None);
            assert_eq!(scene.store.keys().await.len(), keys, "{fault:?} {bad}");
            if requests < bad {
                break;
            }
        }
        let checked = scene.check().await;
        assert_eq!((checked.snapshots.len(), checked.findings), (1, vec![]), "{fault:?}");
        let mut bad = 0;
        loop {
            bad += 1;
            scene.store.plan(move |number, _| (number == bad).then_some(fault));
            let folder = tempfile::tempdir().expect("a folder");
            scene.restore(folder.path()).await.unwrap_or_else(|error| panic!("{fault:?} {bad}: {error}"));
            if scene.store.plan(|_, _| None) < bad {
                break;
            }
        }
        assert!(bad > 10, "{fault:?}: {bad}");
    }
    scene.check_restored(0..5).await;
}

/// The process dies, or the network does, before each request of a backup in turn.
#[tokio::test]
async fn an_interrupted_backup_is_none_and_the_next_one_is_whole() {
    let scene = Scene::new().await;
    let (mut dead_from, mut told) = (0, std::collections::BTreeSet::new());
    loop {
        dead_from += 1;
        for key in scene.store.keys().await {
            scene.store.remove(&key).await;
        }
        scene.store.plan(move |number, _| (number >= dead_from).then_some(Fault::Unreachable));
        let made = scene.back_up(BackupOptions::default()).await;
        let requests = scene.store.plan(|_, _| None);
        if requests < dead_from {
            made.expect("nothing went wrong");
            break;
        }
        let keys = scene.store.keys().await;
        let has_manifest = keys.iter().any(|key| key.ends_with("manifest.json"));
        match made {
            Ok(_) => assert!(has_manifest, "only the lock was not given back"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("tried 4 times") && error.contains("run the command again"), "{error}");
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        match scene.restore(folder.path()).await {
            Ok(_) => assert!(has_manifest, "{dead_from}"),
            Err(error) => {
                assert!(!has_manifest && is_empty(folder.path()), "{dead_from}: {error}");
                let error = error.to_string();
                assert!(error.contains("holds no complete snapshot"), "{error}");
                let is_begun = keys.iter().any(|key| key.contains("/snapshots/"));
                assert_eq!(error.contains("were interrupted"), is_begun, "{error}");
                told.insert(is_begun);
            }
        }
        // Its lock may be there still.
        scene.later(31);
        scene.made().await;
        let checked = scene.check().await;
        assert_eq!((checked.interrupted, checked.findings), (vec![], vec![]), "{dead_from}");
    }
    assert_eq!(told.len(), 2, "before and after the first object of the snapshot");
    assert!(dead_from > 15, "{dead_from}");
    scene.check_restored(0..5).await;
}

#[tokio::test]
async fn damage_to_any_object_is_found_and_nothing_is_restored() {
    let scene = Scene::new().await;
    scene.made().await;
    let folder = tempfile::tempdir().expect("a folder");
    let changes: [fn(&mut Vec<u8>); 3] = [
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        },
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
    ];
    let keys = scene.store.keys().await;
    assert!(keys.len() > 8, "{keys:?}");
    for key in keys {
        for change in changes {
            let mut intact = Vec::new();
            scene
                .store
                .change(&key, |bytes| {
                    intact = bytes.clone();
                    change(bytes);
                })
                .await;
            let error = scene.restore(folder.path()).await.expect_err(&key).to_string();
            assert!(is_empty(folder.path()), "{key}: {error}");
            let checked = scene.check().await;
            assert_eq!(checked.findings.len(), 1, "{key}");
            let name = key.strip_prefix("here").and_then(|rest| rest.strip_suffix("/manifest.json").or(Some(rest)));
            assert!(checked.findings[0].0.ends_with(name.expect("below")), "{key}: {checked:?}");
            scene.store.change(&key, |bytes| *bytes = intact).await;
        }
        let mut intact = Vec::new();
        scene.store.change(&key, |bytes| intact.clone_from(bytes)).await;
        scene.store.remove(&key).await;
        assert!(scene.restore(folder.path()).await.is_err() && is_empty(folder.path()), "{key}");
        scene.store.inner_put(&key, intact).await;
    }
    scene.check_restored(0..5).await;
    // One that is damaged in the backup only is sent again when asked for.
    let part = scene.store.keys().await.into_iter().find(|key| key.ends_with("columns.parquet")).expect("a part");
    scene.store.change(&part, |bytes| bytes[50] ^= 1).await;
    assert_eq!(scene.made().await.copied_parts, 0);
    let checked = scene.back_up(BackupOptions { keep: None, check: true }).await.expect("a backup");
    assert_eq!(checked.copied_parts, 1);
    scene.check_restored(0..5).await;
}

#[tokio::test]
async fn a_part_that_is_damaged_at_its_source_is_not_sent() {
    let scene = Scene::new().await;
    let folders = crate::testing::part_folders(scene.source.path());
    crate::testing::damage(&folders[0].join("columns.parquet"), |bytes| bytes[50] ^= 1);
    std::fs::remove_dir_all(&folders[1]).expect("removed");
    let report = scene.made().await;
    assert_eq!((report.parts, report.damaged.len()), (0, 2), "{report:?}");
    assert!(report.damaged.iter().any(|(_, problem)| problem.contains("columns.parquet has")), "{report:?}");
    assert!(report.damaged.iter().any(|(_, problem)| problem.contains("missing")), "{report:?}");
    scene.check_restored(4..5).await;
}

#[tokio::test]
async fn one_backup_at_a_time_and_a_dead_one_does_not_stand_in_the_way_for_ever() {
    let scene = Scene::new().await;
    let objects = scene.store.objects();
    let clock = || Arc::<ManualClock>::clone(&scene.clock);
    let lease = Lease::take(&objects, clock()).await.expect("free");
    let error = scene.back_up(BackupOptions::default()).await.expect_err("taken").to_string();
    assert!(error.contains("another backup into s3://test/here is running"), "{error}");
    scene.later(5);
    lease.keep().await.expect("renewed");
    scene.later(27);
    assert!(scene.back_up(BackupOptions::default()).await.is_err(), "it was renewed");
    scene.later(10);
    scene.made().await;
    let error = lease.keep().await.expect_err("lost").to_string();
    assert!(error.contains("took over"), "{error}");
    lease.release().await.expect("nothing to do");
    let lease = Lease::take(&objects, clock()).await.expect("it was let go");
    scene.later(31);
    let other = Lease::take(&objects, clock()).await.expect("taken over");
    lease.release().await.expect("not its own");
    assert!(Lease::take(&objects, clock()).await.is_err(), "the other one has it");
    other.release().await.expect("let go");
    assert_eq!(scene.store.keys().await.iter().filter(|key| key.ends_with("/lock")).count(), 0);
}

/// As with `AWS_CONDITIONAL_PUT=disabled`.
#[tokio::test]
async fn a_store_without_conditional_writes_has_a_lock_too() {
    let scene = Scene::new().await;
    scene.store.plan(|_, kind| (kind == "put_if").then_some(Fault::Unknown));
    let objects = scene.store.objects();
    let clock = || Arc::<ManualClock>::clone(&scene.clock);
    let lease = Lease::take(&objects, clock()).await.expect("free");
    let error = scene.back_up(BackupOptions::default()).await.expect_err("taken").to_string();
    assert!(error.contains("another backup into s3://test/here is running"), "{error}");
    scene.later(5);
    lease.keep().await.expect("renewed");
    scene.later(31);
    let other = Lease::take(&objects, clock()).await.expect("taken over");
    assert!(lease.keep().await.expect_err("lost").to_string().contains("took over"));
    other.release().await.expect("let go");
    scene.made().await;
    scene.check_restored(0..5).await;
}

#[tokio::test]
async fn a_refusal_is_told_at_once_and_a_foreign_place_is_left_alone() {
    let scene = Scene::new().await;
    scene.store.plan(|_, _| Some(Fault::Denied));
    let error = scene.back_up(BackupOptions::default()).await.expect_err("denied").to_string();
    assert!(error.contains("access is denied") && error.contains("AccessDenied: No."), "{error}");
    assert_eq!(scene.store.plan(|_, _| None), 1, "it is not tried again");
    scene.store.inner_put("here/photos/1.jpg", vec![1]).await;
    let error = scene.back_up(BackupOptions::default()).await.expect_err("foreign").to_string();
    assert!(error.contains("it holds photos/1.jpg"), "{error}");
    scene.store.remove("here/photos/1.jpg").await;
    scene.made().await;
    let full = tempfile::tempdir().expect("a folder");
    std::fs::write(full.path().join("mine"), "").expect("written");
    let error = scene.restore(full.path()).await.expect_err("full").to_string();
    assert!(error.contains("is not empty") && full.path().join("mine").exists(), "{error}");
    let wanted = RestoreOptions { snapshot: Some("gone".into()) };
    let folder = tempfile::tempdir().expect("a folder");
    let error = restore(&scene.location(), folder.path(), wanted, silent()).await.expect_err("gone").to_string();
    assert!(error.contains("no complete snapshot gone"), "{error}");
}

pub(super) fn long_file(folder: &Path, name: &str, bytes: usize) -> (PathBuf, StoredFile) {
    let content: Vec<u8> = (0..bytes).map(|at| (at / 7 * 31 % 251) as u8).collect();
    let path = folder.join(name);
    std::fs::write(&path, &content).expect("written");
    let file = StoredFile { name: name.into(), bytes: bytes as u64, crc32c: crc32c::crc32c(&content) };
    (path, file)
}

/// 25 MiB are four chunks. Each request goes wrong once; a source that is not what it should be leaves nothing.
#[tokio::test]
async fn a_long_file_is_sent_in_chunks_and_is_there_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    let (path, file) = long_file(folder.path(), "long", 25 << 20);
    let store = Faulty::new();
    let objects = store.objects();
    for (fault, kinds) in [
        (Fault::Unreachable, ["create_multipart", "put_part", "complete_multipart"]),
        (Fault::AnswerLost, ["create_multipart", "put_part", "complete_multipart"]),
    ] {
        for kind in kinds {
            let mut is_first = true;
            store.plan(move |_, asked| (asked == kind && std::mem::take(&mut is_first)).then_some(fault));
            let sent = objects.send(&fs, &path, "parts/long", &file, &|_| ()).await;
            assert_eq!(sent.expect(kind), None, "{fault:?} {kind}");
            let sum = objects.sum("parts/long", file.bytes, &|_| ()).await.expect("read");
            assert_eq!(sum, file.crc32c, "{fault:?} {kind}");
            store.remove("here/parts/long").await;
        }
    }
    let other = StoredFile { crc32c: file.crc32c ^ 1, ..file.clone() };
    let aborted = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&aborted);
    store.plan(move |_, kind| {
        seen.fetch_or(kind == "abort_multipart", Ordering::SeqCst);
        None
    });
    let found = objects.send(&fs, &path, "parts/long", &other, &|_| ()).await.expect("sent");
    assert_eq!(found, Some((file.bytes, file.crc32c)));
    store.plan(|_, kind| (kind == "put_part").then_some(Fault::Throttled));
    objects.send(&fs, &path, "parts/long", &file, &|_| ()).await.expect_err("it does not pass");
    assert_eq!(store.keys().await, Vec::<String>::new());
    assert!(aborted.load(Ordering::SeqCst), "what was sent is given up");
}

/// Eight files of 20 MiB at the width of a backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    let (path, file) = long_file(folder.path(), "long", 20 << 20);
    let store = Faulty::new();
    let objects = store.objects();
    futures::stream::iter(0..8)
        .for_each_concurrent(WIDTH, |number| {
            let (objects, fs, path, file) = (&objects, &fs, &path, &file);
            async move {
                let key = format!("parts/{number}");
                assert_eq!(objects.send(fs, path, &key, file, &|_| ()).await.expect("sent"), None);
            }
        })
        .await;
    let bytes_max = store.bytes_max.load(Ordering::SeqCst);
    assert!((8 << 20..=32 << 20).contains(&bytes_max), "{bytes_max}");
}
