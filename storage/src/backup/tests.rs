use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tempfile::TempDir;
use trivium_model::{ManualClock, SystemClock};

use super::*;
use crate::fs::RealFileSystem;
use crate::testing::{append, bodies, clock, config, damage, expected, open, open_with, part_folders, request};
use crate::verify::{Options, verify};

async fn back_up(source: &Path, folder: &Path, options: BackupOptions) -> Result<BackupReport, Error> {
    backup(source, &Location::folder(folder), options, Arc::new(SystemClock), Arc::new(|_, _| ())).await
}

async fn restored(source: &Path) -> (TempDir, RestoreReport) {
    let parent = tempfile::tempdir().expect("a folder");
    let report =
        restore(&Location::folder(source), &parent.path().join("data"), RestoreOptions::default(), Arc::new(|_, _| ()))
            .await;
    (parent, report.expect("restored"))
}

async fn check_restored(source: &Path, numbers: impl IntoIterator<Item = u64>) {
    let (parent, _) = restored(source).await;
    let folder = parent.path().join("data");
    let verified = verify(&folder, Options { deep: true, ..Options::default() }).await.expect("checked");
    assert_eq!(verified.findings, []);
    let storage = open(&folder).await;
    assert_eq!(bodies(&storage), expected(numbers));
    storage.flush().await.expect("it goes on");
}

/// As the data folder is: telemetry and hashes of credentials are in both.
#[tokio::test]
async fn a_new_backup_folder_and_what_is_restored_from_it_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let (source, parent) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let storage = open(source.path()).await;
    append(&storage, 0..2, 0).await;
    let folder = parent.path().join("backups/nightly");
    back_up(source.path(), &folder, BackupOptions::default()).await.expect("made");
    assert_eq!(mode(&folder), 0o700);
    let (restored, _) = restored(&folder).await;
    assert_eq!(mode(&restored.path().join("data")), 0o700);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o750)).expect("it is ours");
    back_up(source.path(), &folder, BackupOptions::default()).await.expect("made");
    assert_eq!(mode(&folder), 0o750, "left to whoever decided it");
}

/// Four clients write, small parts are sealed and merged all the time, retention drops nothing; ten backups, one after the
/// other into one folder, each restored and compared with what had been acknowledged when it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_under_load_is_in_it_exactly_once() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let settings = crate::StorageConfig { buffer_bytes_max: 64 * 1024, wal_file_bytes_max: 16 * 1024, ..config() };
    let (storage, _) = open_with(source.path(), settings, clock()).await.expect("it opens");
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let acknowledged = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (storage, next, stop) = (storage.clone(), Arc::clone(&next), Arc::clone(&stop));
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    let number = next.fetch_add(1, Ordering::AcqRel);
                    // A disk that does not keep up is told so for the moment, as every client is.
                    while let Err(error) = storage.append(request(number, 0)).await {
                        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
                        assert_eq!(storage.failed(), None, "the disk is sound");
                        tokio::task::yield_now().await;
                    }
                    acknowledged.lock().expect("shared").insert(number);
                }
            })
        })
        .collect();
    let maintenance = {
        let (storage, stop) = (storage.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Acquire) {
                storage.flush().await.expect("published");
            }
        })
    };
    let mut copied = Vec::new();
    for round in 0..10 {
        let before = acknowledged.lock().expect("shared").clone();
        let report = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
        assert_eq!((report.damaged, report.wal_damage), (Vec::new(), Vec::<String>::new()), "round {round}");
        copied.push((report.copied_parts, report.parts));
        let (parent, _) = restored(target.path()).await;
        let folder = parent.path().join("data");
        let verified = verify(&folder, Options { deep: true, ..Options::default() }).await.expect("checked");
        assert_eq!(verified.findings, [], "round {round}");
        let found = bodies(&open(&folder).await);
        let mut distinct = found.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), found.len(), "round {round}: rows are there twice");
        let found: std::collections::HashSet<String> = found.into_iter().collect();
        let lost = expected(before).into_iter().find(|body| !found.contains(body));
        assert_eq!(lost, None, "round {round}");
    }
    stop.store(true, Ordering::Release);
    for task in clients.into_iter().chain([maintenance]) {
        task.await.expect("no task panics");
    }
    assert!(acknowledged.lock().expect("shared").len() > 50, "there was load");
    assert!(copied.iter().any(|(copied, parts)| copied < parts), "parts are shared by the snapshots: {copied:?}");
}

#[tokio::test]
async fn a_second_backup_copies_what_is_new_and_old_ones_go() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let storage = open(source.path()).await;
    append(&storage, 0..5, 0).await;
    storage.flush().await.expect("published");
    let first = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    assert_eq!((first.parts, first.copied_parts, first.rows, first.wal_frames), (1, 1, 100, 0));
    append(&storage, 5..7, 5).await;
    storage.flush().await.expect("published");
    append(&storage, 7..8, 0).await;
    let keep_two = BackupOptions { keep: Some(2), check: false };
    let second = back_up(source.path(), target.path(), keep_two).await.expect("a backup");
    assert_eq!((second.parts, second.copied_parts, second.rows, second.wal_frames), (2, 1, 140, 1));
    assert_eq!(second.removed, Vec::<String>::new());
    check_restored(target.path(), 0..8).await;
    // The first part is dropped; a snapshot names it until it goes itself.
    let record = storage.parts().into_iter().find(|part| part.rows == 100).expect("the first part");
    storage.inner.replace(record.signal, Vec::new(), vec![record.id], 100).await.expect("dropped");
    storage.flush().await.expect("its files go");
    let third = back_up(source.path(), target.path(), keep_two).await.expect("a backup");
    assert_eq!(third.removed, std::slice::from_ref(&first.snapshot));
    assert_eq!(part_folders(target.path()).len(), 3, "those of the second snapshot and the new part");
    let wanted = RestoreOptions { snapshot: Some(second.snapshot) };
    let again = tempfile::tempdir().expect("a folder");
    let report =
        restore(&Location::folder(target.path()), again.path(), wanted, Arc::new(|_, _| ())).await.expect("restored");
    assert_eq!(report.rows, 140);
    let keep_one = BackupOptions { keep: Some(1), check: true };
    back_up(source.path(), target.path(), keep_one).await.expect("a backup");
    assert_eq!(part_folders(target.path()).len(), 2);
    check_restored(target.path(), 5..8).await;
    let gone = RestoreOptions { snapshot: Some(first.snapshot) };
    let refused = restore(&Location::folder(target.path()), &again.path().join("x"), gone, Arc::new(|_, _| ()))
        .await
        .expect_err("gone");
    assert!(refused.to_string().contains("there is no complete snapshot"), "{refused}");
}

#[expect(clippy::ptr_arg, reason = "as the other change is")]
fn flip(bytes: &mut Vec<u8>) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

fn cut(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() - 1);
}

/// Every byte of a backup that is damaged is found before anything is written.
#[tokio::test]
async fn a_damaged_backup_restores_nothing() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let storage = open(source.path()).await;
    append(&storage, 0..3, 0).await;
    storage.flush().await.expect("published");
    append(&storage, 3..4, 0).await;
    let report = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    let snapshot = snapshot_folder(target.path(), &report.snapshot);
    let part = part_folders(target.path())[0].clone();
    let mut files: Vec<PathBuf> = RealFileSystem.list(&part).expect("listed");
    files.extend(RealFileSystem.list(&snapshot.join(WAL)).expect("listed"));
    files.extend([snapshot.join("catalog.sqlite"), snapshot.join("manifest.json")]);
    let data = tempfile::tempdir().expect("a folder");
    for file in files {
        let intact = std::fs::read(&file).expect("read");
        for change in [flip, cut] {
            damage(&file, change);
            let refused =
                restore(&Location::folder(target.path()), data.path(), RestoreOptions::default(), Arc::new(|_, _| ()))
                    .await;
            assert!(refused.is_err(), "{}", file.display());
            assert_eq!(RealFileSystem.list(data.path()).expect("listed").len(), 0, "{}", file.display());
            std::fs::write(&file, &intact).expect("written");
        }
    }
    check_restored(target.path(), 0..4).await;
    // One that is damaged in the backup only is copied again when asked for.
    damage(&part.join("columns.parquet"), |bytes| bytes[50] ^= 1);
    let unchecked = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    let checked =
        back_up(source.path(), target.path(), BackupOptions { check: true, keep: None }).await.expect("a backup");
    assert_eq!((unchecked.copied_parts, checked.copied_parts), (0, 1));
    check_restored(target.path(), 0..4).await;
}

#[tokio::test]
async fn a_check_names_every_damaged_file_of_a_backup_folder() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let silent: Progress = Arc::new(|_, _| ());
    let place = Location::folder(target.path());
    let error = check(&place, Arc::clone(&silent)).await.expect_err("empty").to_string();
    assert!(error.contains("holds no complete snapshot"), "{error}");
    let storage = open(source.path()).await;
    append(&storage, 0..3, 0).await;
    storage.flush().await.expect("published");
    back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    let second = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    let sound = check(&place, Arc::clone(&silent)).await.expect("checked");
    assert_eq!((sound.snapshots.len(), sound.findings, sound.interrupted), (2, vec![], vec![]));
    assert!(sound.files > 5 && sound.bytes > 1000, "{} {}", sound.files, sound.bytes);
    let part = part_folders(target.path())[0].clone();
    damage(&part.join("columns.parquet"), |bytes| bytes[50] ^= 1);
    std::fs::remove_file(part.join("ids.idx")).expect("removed");
    damage(&snapshot_folder(target.path(), &second.snapshot).join("manifest.json"), flip);
    let found = check(&place, silent).await.expect("checked");
    let names: Vec<&str> = found.findings.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in [second.snapshot.as_str(), "columns.parquet", "ids.idx"] {
        assert!(names.iter().any(|found| found.ends_with(name)), "{name}: {names:?}");
    }
}

#[tokio::test]
async fn a_part_that_is_damaged_at_its_source_is_named_and_the_rest_is_kept() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let storage = open(source.path()).await;
    append(&storage, 0..3, 0).await;
    storage.flush().await.expect("published");
    append(&storage, 3..6, 5).await;
    storage.flush().await.expect("published");
    let folders = part_folders(source.path());
    damage(&folders[0].join("columns.parquet"), |bytes| bytes[50] ^= 1);
    let report = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    assert_eq!((report.parts, report.damaged.len()), (1, 1));
    let (parent, told) = restored(target.path()).await;
    assert_eq!(told.damaged.len(), 1);
    assert_eq!(bodies(&open(&parent.path().join("data")).await), expected(3..6));
    std::fs::remove_dir_all(&folders[0]).expect("removed");
    let report = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    assert!(report.damaged[0].1.contains("missing"), "{report:?}");
}

#[tokio::test]
async fn nothing_is_overwritten_and_half_of_anything_is_refused() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let storage = open(source.path()).await;
    append(&storage, 0..1, 0).await;
    let full = tempfile::tempdir().expect("a folder");
    std::fs::write(full.path().join("mine"), "").expect("written");
    let refused = |result: Result<BackupReport, Error>| result.expect_err("refused").to_string();
    let said = refused(back_up(source.path(), full.path(), BackupOptions::default()).await);
    assert!(said.contains("neither empty nor a backup folder"), "{said}");
    let said = refused(back_up(full.path(), target.path(), BackupOptions::default()).await);
    assert!(said.contains("no data folder"), "{said}");
    let report = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    let error =
        restore(&Location::folder(target.path()), full.path(), RestoreOptions::default(), Arc::new(|_, _| ())).await;
    assert!(error.expect_err("refused").to_string().contains("not empty"));
    // An interrupted backup: no manifest. The next one clears it away.
    let manifest = snapshot_folder(target.path(), &report.snapshot).join("manifest.json");
    std::fs::remove_file(&manifest).expect("removed");
    let data = tempfile::tempdir().expect("a folder");
    let error =
        restore(&Location::folder(target.path()), data.path(), RestoreOptions::default(), Arc::new(|_, _| ())).await;
    assert!(error.expect_err("refused").to_string().contains("no complete snapshot"));
    back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    assert!(!snapshot_folder(target.path(), &report.snapshot).exists());
    check_restored(target.path(), 0..1).await;
}

/// By whichever name it is given: through a link, past a folder that is not there.
#[tokio::test]
async fn a_backup_in_the_data_folder_or_around_it_is_refused_before_anything_is_written() {
    let parent = tempfile::tempdir().expect("a folder");
    let (source, empty) = (parent.path().join("data"), parent.path().join("data/empty"));
    std::fs::create_dir(&source).expect("made");
    let storage = open(&source).await;
    append(&storage, 0..1, 0).await;
    std::fs::create_dir(&empty).expect("made");
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(&source, &link).expect("linked");
    let listed = || RealFileSystem.list(&source).expect("listed");
    let before = listed();
    for (folder, said) in [
        (source.clone(), "is the data folder"),
        (link.clone(), "is the data folder"),
        (empty.clone(), "lies in the data folder"),
        (source.join("backups/nightly"), "lies in the data folder"),
        (link.join("backups"), "lies in the data folder"),
        (parent.path().join("new/../data/backups"), "lies in the data folder"),
        (parent.path().to_path_buf(), "has in it the data folder"),
    ] {
        let refused = back_up(&source, &folder, BackupOptions::default()).await.expect_err("refused").to_string();
        assert!(refused.contains(said), "{}: {refused}", folder.display());
        assert_eq!(listed(), before, "{}", folder.display());
        assert_eq!(RealFileSystem.list(&empty).expect("listed").len(), 0);
        assert_eq!(RealFileSystem.list(parent.path()).expect("listed"), [source.clone(), link.clone()]);
    }
    // Beside it, also when the name begins like that of the data folder.
    back_up(&source, &parent.path().join("data-backup"), BackupOptions::default()).await.expect("a backup");
}

#[tokio::test]
async fn a_backup_of_a_newer_format_and_one_that_leads_elsewhere_are_refused() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let storage = open(source.path()).await;
    append(&storage, 0..1, 0).await;
    storage.flush().await.expect("published");
    let report = back_up(source.path(), target.path(), BackupOptions::default()).await.expect("a backup");
    let manifest = snapshot_folder(target.path(), &report.snapshot).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("read");
    let (json, _) = text.split_once('\n').expect("two lines");
    for (from, to, said) in [
        ("\"format\":1", "\"format\":2", "start a newer Trivium"),
        ("ids.idx", "../ids.idx", "leads elsewhere"),
        ("\"logs\"", "\"..\"", "leads elsewhere"),
    ] {
        let changed = json.replace(from, to);
        assert_ne!(changed, json);
        let sum = crc32c::crc32c(changed.as_bytes());
        std::fs::write(&manifest, format!("{changed}\ncrc32c:{sum:08x}\n")).expect("written");
        let data = tempfile::tempdir().expect("a folder");
        let error =
            restore(&Location::folder(target.path()), data.path(), RestoreOptions::default(), Arc::new(|_, _| ()))
                .await;
        let error = error.expect_err("refused").to_string();
        assert!(error.contains(said), "{error}");
    }
    // Two at the same moment by the clock.
    let stopped = Arc::new(ManualClock::new(trivium_model::UnixNanos(5)));
    let silent: Progress = Arc::new(|_, _| ());
    let place = Location::folder(target.path());
    let at_once = |clock: &Arc<ManualClock>| {
        backup(source.path(), &place, BackupOptions::default(), Arc::<ManualClock>::clone(clock), Arc::clone(&silent))
    };
    at_once(&stopped).await.expect("a backup");
    assert!(at_once(&stopped).await.expect_err("refused").to_string().contains("there already"));
}
