use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;
use trivium_model::{Clock, TenantId};

use super::*;
use crate::catalog::Publish;
use crate::quarantine::{QuarantineKind, ReturnOptions, Returned};
use crate::testing::{Lines, append, bodies, clock, config, damage, expected, open, open_on, open_with, part_folders};

const DEEP: Options = Options { deep: true, encryption_key_file: None };

fn deps(grace: Duration) -> RepairDeps {
    RepairDeps { clock: clock(), decoder: Arc::new(Lines), seed: 7, orphan_grace: grace }
}

async fn repaired(folder: &Path) -> RepairReport {
    repair(folder, DEEP, deps(Duration::from_secs(3600)), Arc::new(|_, _| ())).await.expect("it runs")
}

/// Requests 0..4 in one part, 4..8 in a part of another day, 8..10 in the WAL only.
async fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = SqliteCatalog::open(folder.path()).await.expect("it opens");
    let (storage, _) = open_on(folder.path(), config(), clock(), catalog.clone()).await.expect("it opens");
    for (numbers, day) in [(0..4, 0), (4..8, 5)] {
        append(&storage, numbers, day).await;
        storage.flush().await.expect("published");
    }
    append(&storage, 8..10, 0).await;
    drop(storage);
    catalog.close().await;
    folder
}

async fn found(folder: &Path) -> Vec<FindingKind> {
    let report = verify(folder, DEEP).await.expect("checked");
    report.findings.into_iter().map(|finding| finding.kind).collect()
}

fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut content = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in RealFileSystem.list(&folder).expect("listed") {
            if path.is_dir() {
                folders.push(path)
            } else {
                drop(content.insert(path.clone(), std::fs::read(&path).expect("read")))
            }
        }
    }
    content
}

#[tokio::test]
async fn a_sound_folder_has_no_findings_and_is_not_changed() {
    let folder = folder().await;
    // The thread of the WAL says that it closed in order when it ends, which may be later.
    while !folder.path().join("wal/clean").exists() {
        tokio::task::yield_now().await;
    }
    let before = content(folder.path());
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (teller, hears) =
        (Arc::clone(&told), |told: &std::sync::Mutex<Vec<(u64, u64)>>| told.lock().expect("told").clone());
    let progress: Progress = Arc::new(move |done, total| teller.lock().expect("told").push((done, total)));
    let report = verify_with(folder.path(), DEEP, progress).await.expect("checked");
    assert_eq!(report.findings, []);
    assert_eq!((report.parts, report.rows, report.wal_frames), (2, 160, 2));
    assert_eq!(hears(&told).last(), Some(&(report.bytes, report.bytes)), "it tells how far it is");
    let after = content(folder.path());
    let is_ours =
        |path: &&PathBuf| !path.to_string_lossy().ends_with("-shm") && !path.to_string_lossy().ends_with("-wal");
    assert_eq!(before.keys().filter(is_ours).collect::<Vec<_>>(), after.keys().filter(is_ours).collect::<Vec<_>>());
    assert!(before.iter().filter(|(path, _)| is_ours(path)).all(|(path, bytes)| after[path] == *bytes));
}

#[tokio::test]
async fn indexes_are_made_anew_and_no_row_is_missed() {
    for name in ["ids.idx", "text.idx"] {
        for change in [|bytes: &mut Vec<u8>| bytes[40] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(9), Vec::clear] {
            let folder = folder().await;
            let path = part_folders(folder.path())[0].join(name);
            damage(&path, change);
            assert!(matches!(found(folder.path()).await[..], [FindingKind::Indexes(_)]), "{name}");
            let report = repaired(folder.path()).await;
            assert_eq!(report.left.findings, [], "{name}");
            assert_eq!(report.actions.len(), 1);
            let kept = crate::quarantine::list(folder.path()).await.expect("listed");
            assert!(kept.iter().all(|item| item.kind == QuarantineKind::Index) && !kept.is_empty(), "{kept:?}");
            let storage = open(folder.path()).await;
            assert_eq!(bodies(&storage), expected(0..10), "{name}");
        }
    }
}

/// The same without `verify`: a start that finds an index cut makes it anew, too.
#[tokio::test]
async fn a_start_makes_a_missing_index_anew() {
    let folder = folder().await;
    std::fs::remove_file(part_folders(folder.path())[1].join("text.idx")).expect("removed");
    let (storage, report) = open_with(folder.path(), config(), clock()).await.expect("it opens");
    assert_eq!(report.damaged_parts, []);
    assert_eq!(bodies(&storage), expected(0..10));
    storage.flush().await.expect("published");
    storage.close().await;
    drop(storage);
    drop(open(folder.path()).await);
    assert_eq!(found(folder.path()).await, []);
}

#[tokio::test]
async fn a_part_with_damaged_rows_is_withdrawn_and_kept() {
    let folder = folder().await;
    let path = part_folders(folder.path())[0].join("columns.parquet");
    damage(&path, |bytes| bytes[100] ^= 1);
    assert!(matches!(found(folder.path()).await[..], [FindingKind::Part(_)]));
    let report = repaired(folder.path()).await;
    assert_eq!(report.left.findings, []);
    let kept = crate::quarantine::list(folder.path()).await.expect("listed");
    assert_eq!((kept.len(), kept[0].kind, kept[0].rows), (1, QuarantineKind::Part, Some(80)));
    assert!(kept[0].reason.as_ref().is_some_and(|reason| reason.contains("columns.parquet")), "{kept:?}");
    assert_eq!(bodies(&open(folder.path()).await), expected(4..10));
}

#[tokio::test]
async fn orphans_go_to_quarantine_when_they_are_old() {
    let folder = folder().await;
    let part = part_folders(folder.path())[0].clone();
    let copy = |id: PartId| {
        let target = part.with_file_name(id.to_string());
        std::fs::create_dir(&target).expect("made");
        for file in RealFileSystem.list(&part).expect("listed") {
            std::fs::copy(&file, target.join(file.file_name().expect("a name"))).expect("copied");
        }
    };
    let mut young = [0xff; 16];
    let millis = u64::try_from(clock().now().0 / 1_000_000).expect("after 1970") - 1_000;
    young[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    copy(PartId([1; 16]));
    copy(PartId(young));
    std::fs::write(part.join("notes.txt"), "mine").expect("written");
    let kinds = found(folder.path()).await;
    assert_eq!(kinds.iter().filter(|kind| **kind == FindingKind::Orphan(SignalKind::Logs)).count(), 2);
    assert!(kinds.contains(&FindingKind::Stray) && kinds.len() == 3, "{kinds:?}");
    let report = repaired(folder.path()).await;
    assert_eq!(report.left.findings.len(), 1, "{:?}", report.left);
    assert!(report.left.findings[0].path.ends_with(PartId(young).to_string()));
    let kept = crate::quarantine::list(folder.path()).await.expect("listed");
    let names: Vec<&str> = kept.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, [&*format!("orphan-logs-{}", PartId([1; 16])), "stray-notes.txt"]);
    // Its rows are in the part that it is a copy of.
    let storage = open(folder.path()).await;
    let options = ReturnOptions { tenant: Some(TenantId::DEFAULT), ..ReturnOptions::default() };
    let error = storage.return_quarantined(names[0], options).await.expect_err("they would be there twice");
    assert!(error.to_string().contains("published already"), "{error}");
    assert_eq!(bodies(&storage), expected(0..10));
}

#[tokio::test]
async fn what_is_intact_of_a_damaged_wal_is_published() {
    let folder = folder().await;
    let wal = RealFileSystem.list(&folder.path().join("wal")).expect("listed");
    let path = wal.iter().find(|path| RealFileSystem.len(path).is_ok_and(|bytes| bytes > 100)).expect("a file");
    // The first of two frames.
    damage(path, |bytes| bytes[48 + 76 + 5] ^= 1);
    assert_eq!(found(folder.path()).await, [FindingKind::Wal]);
    let report = repaired(folder.path()).await;
    assert_eq!(report.left.findings, []);
    assert_eq!(bodies(&open(folder.path()).await), expected((0..8).chain([9])));
    let kept = crate::quarantine::list(folder.path()).await.expect("listed");
    assert_eq!((kept.len(), kept[0].kind), (1, QuarantineKind::Wal));
    let (_, lines) = crate::quarantine::show(folder.path(), &kept[0].name, None).await.expect("shown");
    assert!(lines[0].starts_with("1 intact request"), "{lines:?}");
}

/// The parts are the only copy of their rows when the catalog is lost: no start may take them for what a crash left.
#[tokio::test]
async fn a_lost_catalog_costs_no_row() {
    let folder = folder().await;
    for ending in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(folder.path().join(format!("{FILE_NAME}{ending}"))));
    }
    assert_eq!(found(folder.path()).await, [FindingKind::Catalog]);
    let error = open_with(folder.path(), config(), clock()).await.expect_err("it would remove the parts");
    assert!(matches!(error, Error::StaleCatalog { parts: 2, .. }), "{error}");
    assert!(error.to_string().contains("verify --repair"), "{error}");
    assert_eq!(part_folders(folder.path()).len(), 2);
    repaired(folder.path()).await;
    let storage = open(folder.path()).await;
    let kept = storage.quarantined().await.expect("listed");
    assert_eq!(kept.len(), 2);
    for item in kept {
        storage.return_quarantined(&item.name, ReturnOptions::default()).await.expect_err("whose is it?");
        let options = ReturnOptions { tenant: Some(TenantId::DEFAULT), ..ReturnOptions::default() };
        let returned = storage.return_quarantined(&item.name, options).await.expect("it comes back");
        assert!(matches!(returned, Returned::Part { rows: 80, lost: 0, .. }), "{returned:?}");
    }
    assert_eq!(bodies(&storage), expected(0..10));
    storage.close().await;
    drop(storage);
    assert_eq!(found(folder.path()).await, []);
    assert_eq!(bodies(&open(folder.path()).await), expected(0..10));
}

/// Somebody moved the parts into a new folder.
#[tokio::test]
async fn parts_without_catalog_and_wal_are_not_removed() {
    let folder = folder().await;
    std::fs::remove_dir_all(folder.path().join("wal")).expect("removed");
    for ending in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(folder.path().join(format!("{FILE_NAME}{ending}"))));
    }
    let error = open_with(folder.path(), config(), clock()).await.expect_err("it would remove the parts");
    assert!(matches!(error, Error::StaleCatalog { parts: 2, .. }), "{error}");
    assert_eq!(part_folders(folder.path()).len(), 2);
}

#[tokio::test]
async fn a_catalog_that_is_no_database_is_a_finding() {
    let folder = folder().await;
    for ending in ["-wal", "-shm"] {
        drop(std::fs::remove_file(folder.path().join(format!("{FILE_NAME}{ending}"))));
    }
    damage(&folder.path().join(FILE_NAME), |bytes| *bytes = b"gibberish".repeat(1000));
    let report = verify(folder.path(), DEEP).await.expect("checked");
    assert_eq!(report.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::Catalog]);
    assert!(report.findings[0].problem.contains("trivium restore"), "{report:?}");
}

#[tokio::test]
async fn rows_that_are_there_twice_are_found() {
    let folder = folder().await;
    let catalog = SqliteCatalog::open(folder.path()).await.expect("it opens");
    let record = catalog.load().await.expect("read").parts.remove(0);
    let twin = PartRecord { id: PartId([9; 16]), ..record.clone() };
    let (from, to) = (part_folder(folder.path(), &record), part_folder(folder.path(), &twin));
    std::fs::create_dir(&to).expect("made");
    for file in RealFileSystem.list(&from).expect("listed") {
        std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
    }
    let publish = Publish {
        token: [9; 16],
        signal: twin.signal,
        add: vec![twin],
        remove: Vec::new(),
        dropped_rows: 0,
        wal_position: None,
        request_keys: Vec::new(),
        at: record.created_at,
    };
    catalog.publish(publish).await.expect("published");
    assert_eq!(verify(folder.path(), Options::default()).await.expect("checked").findings, []);
    assert_eq!(found(folder.path()).await, [FindingKind::Duplicate]);
}

#[tokio::test]
async fn a_folder_in_use_is_checked_and_not_repaired() {
    let folder = folder().await;
    let _server = crate::fs::lock_folder(folder.path()).expect("ours");
    assert_eq!(found(folder.path()).await, []);
    let refused = repair(folder.path(), DEEP, deps(Duration::ZERO), Arc::new(|_, _| ())).await;
    assert!(matches!(refused, Err(Error::Locked { .. })));
}

#[tokio::test]
async fn what_is_no_data_folder_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_path_buf(), folder.path().join("missing")] {
        assert!(matches!(verify(&path, DEEP).await, Err(Error::Io { .. })));
        assert!(repair(&path, DEEP, deps(Duration::ZERO), Arc::new(|_, _| ())).await.is_err());
    }
    assert_eq!(RealFileSystem.list(folder.path()).expect("listed").len(), 0);
}
