//! A data folder that an earlier build left behind after a crash opens for ever, and one of a later build is refused with a
//! message that says what to do. `tests/fixtures/README.md` says how the folder was made.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use tempfile::TempDir;
use trivium_ingest::decode::ReplayDecoder;
use trivium_model::{SignalKind, SystemClock, TenantId};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::{RealFileSystem, lock_folder};
use trivium_storage::verify::{Options, verify};
use trivium_storage::{Error, PageCache, Part, Storage, StorageConfig, StorageDeps, TokenFilter};

/// The oldest first. None is ever taken away.
const FOLDERS: [&str; 2] = ["data-folder-1.tar.zst", "data-folder-2.tar.zst"];

/// Unpacks the oldest folder.
fn frozen() -> TempDir {
    unpacked(FOLDERS[0])
}

fn unpacked(name: &str) -> TempDir {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    let packed = std::fs::read(path).expect("the fixture");
    let unpacked = zstd::decode_all(&packed[..]).expect("zstd");
    let folder = tempfile::tempdir().expect("a folder");
    let mut tar = Command::new("tar").args(["-xf", "-", "-C"]).arg(folder.path()).stdin(Stdio::piped()).spawn();
    let tar = tar.as_mut().expect("tar is installed");
    tar.stdin.take().expect("it reads").write_all(&unpacked).expect("it reads all");
    assert!(tar.wait().expect("it ends").success());
    folder
}

async fn open(folder: &Path) -> Result<Storage, Error> {
    let mut config = StorageConfig::default();
    SignalKind::ALL.into_iter().for_each(|signal| config.set_retention(signal, None));
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::new(SystemClock),
        catalog: Arc::new(SqliteCatalog::open(folder).await?),
        decoder: Arc::new(ReplayDecoder),
        seed: 1,
    };
    Ok(Storage::open(folder, config, deps).await?.0)
}

fn rows(storage: &Storage, signal: SignalKind) -> Vec<RecordBatch> {
    let snapshot = storage.snapshot(TenantId::DEFAULT, signal);
    let parts = snapshot.parts.iter().flat_map(|part| part.read(None, None).expect("an intact part"));
    parts.chain(snapshot.buffered.iter().cloned()).collect()
}

fn count(storage: &Storage, signal: SignalKind) -> usize {
    rows(storage, signal).iter().map(RecordBatch::num_rows).sum()
}

fn bodies(storage: &Storage) -> Vec<String> {
    let column = |batch: RecordBatch| -> Vec<String> {
        let bodies = batch.column_by_name("body").expect("the column").as_string::<i32>().clone();
        (0..bodies.len()).map(|row| bodies.value(row).to_owned()).collect()
    };
    let mut bodies: Vec<String> = rows(storage, SignalKind::Logs).into_iter().flat_map(column).collect();
    bodies.sort_unstable();
    bodies
}

fn check(storage: &Storage) {
    let mut expected: Vec<String> = (0..50).map(|n| format!("frozen log {n} order-{}", n * 7919 + 100_000)).collect();
    expected.sort_unstable();
    assert_eq!(bodies(storage), expected);
    assert_eq!(count(storage, SignalKind::Traces), 50);
    assert_eq!(count(storage, SignalKind::Metrics), 100, "a gauge and a histogram each");
}

/// The part with most rows finds a trace and a word, and nothing that is not there.
fn check_indexes(storage: &Storage) {
    let snapshot = storage.snapshot(TenantId::DEFAULT, SignalKind::Logs);
    let part: &Arc<Part> = snapshot.parts.iter().max_by_key(|part| part.record().rows).expect("a part");
    let found = |token: &str| {
        let rows = part.candidate_rows(&TokenFilter::Token(token.into())).expect("readable");
        rows.iter().count() > 0
    };
    assert!(found(&format!("{:032x}", 7)) && found("frozen"));
    assert!(!found(&"f".repeat(32)) && !found("thawed"));
}

#[tokio::test]
async fn the_folders_of_earlier_builds_open_with_everything_in_them() {
    for name in FOLDERS {
        opens_with_everything_in_it(&unpacked(name)).await;
    }
}

async fn opens_with_everything_in_it(folder: &TempDir) {
    let before = verify(folder.path(), Options { deep: true, ..Options::default() }).await.expect("checked");
    assert_eq!((before.findings, before.rows, before.wal_frames), (Vec::new(), 160, 3));
    let storage = open(folder.path()).await.expect("it opens");
    check(&storage);
    check_indexes(&storage);
    let silences = storage.state().list(TenantId::DEFAULT, "notify_silence", "").await.expect("read");
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    assert!(
        silences.iter().any(|record| text(&record.value).contains("made by the build of 2026-11-2")),
        "{silences:?}"
    );
    let rejections = storage.rejections(TenantId::DEFAULT).await.expect("read");
    assert_eq!(rejections.iter().map(|rejection| rejection.count).sum::<u64>(), 1);
    storage.flush().await.expect("what this build writes goes with it");
    check(&storage);
    check_indexes(&storage);
    storage.close().await;
    drop(storage);
    check(&open(folder.path()).await.expect("it opens again"));
    let after = verify(folder.path(), Options { deep: true, ..Options::default() }).await.expect("checked");
    assert_eq!((after.findings, after.rows), (Vec::new(), 200));
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("readable");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn says_what_to_do(error: &Error) {
    assert!(matches!(error, Error::UnknownFormat { .. }), "{error}");
    assert!(error.to_string().contains("start a newer Trivium on this folder"), "{error}");
}

#[tokio::test]
async fn the_folder_of_a_later_build_is_refused() {
    let folder = frozen();
    std::fs::write(folder.path().join("format"), "trivium-data 3\n").expect("written");
    says_what_to_do(&lock_folder(folder.path()).expect_err("the layout is newer"));
    says_what_to_do(&open(folder.path()).await.expect_err("the layout is newer"));
    says_what_to_do(&verify(folder.path(), Options::default()).await.expect_err("the layout is newer"));
}

#[tokio::test]
async fn a_later_wal_is_refused_and_left_as_it_is() {
    let folder = frozen();
    let path = files(&folder.path().join("wal")).pop().expect("a WAL file");
    change(&path, |bytes| {
        bytes[8..12].copy_from_slice(&5_u32.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    });
    let before = std::fs::read(&path).expect("readable");
    says_what_to_do(&open(folder.path()).await.expect_err("the WAL is newer"));
    says_what_to_do(&verify(folder.path(), Options::default()).await.expect_err("the WAL is newer"));
    assert_eq!(std::fs::read(&path).expect("readable"), before);
}

#[tokio::test]
async fn a_later_catalog_is_refused_and_left_as_it_is() {
    let folder = frozen();
    // Closing it moves the journal into the file.
    SqliteCatalog::open(folder.path()).await.expect("it opens").close().await;
    let path = folder.path().join("catalog.sqlite");
    // The field `user_version` of SQLite's header.
    change(&path, |bytes| bytes[60..64].copy_from_slice(&99_u32.to_be_bytes()));
    let before = std::fs::read(&path).expect("readable");
    says_what_to_do(&open(folder.path()).await.expect_err("the catalog is newer"));
    says_what_to_do(&verify(folder.path(), Options::default()).await.expect_err("the catalog is newer"));
    assert_eq!(std::fs::read(&path).expect("readable"), before);
}

/// The catalog's checksums agree with what a later build wrote; here the readers are asked directly.
#[tokio::test]
async fn later_indexes_are_refused() {
    let folder = frozen();
    let storage = open(folder.path()).await.expect("it opens");
    let part = files(&folder.path().join("parts/logs")).pop().expect("a part");
    change(&part.join("ids.idx"), |bytes| {
        bytes[8..12].copy_from_slice(&9_u32.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..44]);
        bytes[44..48].copy_from_slice(&sum.to_le_bytes());
    });
    change(&part.join("text.idx"), |bytes| {
        let version = bytes.len() - 12;
        bytes[version..version + 4].copy_from_slice(&9_u32.to_le_bytes());
    });
    // As the later build would have published it: with the sums of its files.
    let mut record = storage.snapshot(TenantId::DEFAULT, SignalKind::Logs).parts[0].record().clone();
    for file in &mut record.files {
        file.crc32c = crc32c::crc32c(&std::fs::read(part.join(&file.name)).expect("readable"));
    }
    let part = Part::open(record, part, &Arc::new(PageCache::new(0)));
    for token in [&*format!("{:032x}", 7), "frozen"] {
        says_what_to_do(&part.candidate_rows(&TokenFilter::Token(token.into())).expect_err("the index is newer"));
    }
    assert_eq!(
        part.read(None, None).expect("the rows are plain Parquet").iter().map(RecordBatch::num_rows).sum::<usize>(),
        40
    );
}
