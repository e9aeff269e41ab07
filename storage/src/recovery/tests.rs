use std::sync::mpsc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use trivium_model::{ManualClock, RequestKey, TenantId, UnixNanos, WireFormat};

use super::*;
use crate::catalog::SqliteCatalog;
use crate::fs::testing::SmallDisk;
use crate::fs::{FileSystem, RealFileSystem};
use crate::storage::PayloadDecoder;
use crate::wal::FrameHeader;

/// A build that cannot read what an earlier one acknowledged.
#[derive(Debug)]
struct Undecodable;

impl PayloadDecoder for Undecodable {
    fn decode(
        &self,
        _: SignalKind,
        _: WireFormat,
        _: &[u8],
        _: UnixNanos,
        _: UnixNanos,
    ) -> Result<Option<RecordBatch>, String> {
        Err("the test cannot decode anything".into())
    }
}

async fn open(folder: &Path) -> (Storage, RecoveryReport) {
    try_open_on(folder, Arc::new(RealFileSystem::new()), 1).await.expect("it opens")
}

async fn open_on(folder: &Path, fs: Arc<dyn FileSystem>) -> (Storage, RecoveryReport) {
    // Another process: its names differ.
    try_open_on(folder, fs, 2).await.expect("it opens")
}

async fn try_open_on(folder: &Path, fs: Arc<dyn FileSystem>, seed: u64) -> Result<(Storage, RecoveryReport), Error> {
    let deps = StorageDeps {
        fs,
        clock: Arc::new(ManualClock::new(UnixNanos(1))),
        catalog: Arc::new(SqliteCatalog::open(folder).await.expect("a catalog")),
        decoder: Arc::new(Undecodable),
        seed,
    };
    Storage::open(folder, StorageConfig::default(), deps).await
}

/// A WAL with requests of the given payloads, closed in order.
fn write_wal(folder: &Path, payloads: &[&'static [u8]]) {
    let fs = Arc::new(RealFileSystem::new());
    fs.create_dir_all(folder).expect("made");
    let (wal, _) = Wal::open(fs, &folder.join("wal"), WalConfig::default(), WalPosition::ZERO).expect("it opens");
    for payload in payloads {
        let header = FrameHeader {
            tenant: TenantId::DEFAULT,
            signal: SignalKind::Logs,
            format: WireFormat::Otlp,
            key: RequestKey([payload[0]; 16]),
            received_at: UnixNanos(1),
            oldest_admitted: UnixNanos::MIN,
            is_encrypted: false,
        };
        let (done, verdict) = mpsc::channel();
        let committed =
            Box::new(move |result: Result<WalPosition, Error>| done.send(result.is_ok()).expect("it waits"));
        wal.append(header, Bytes::from_static(payload), committed).expect("taken");
        assert!(verdict.recv().expect("a verdict"));
    }
    wal.close();
}

/// The process may die before the WAL file is gone: the next start finds the same request and its copy.
#[tokio::test]
async fn an_undecodable_request_is_kept_once_however_often_the_server_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    write_wal(folder.path(), &[b"one", b"two"]);
    for start in 0..3 {
        let (storage, report) = open(folder.path()).await;
        assert_eq!((report.undecodable_requests, report.replayed_requests), (2, 0), "start {start}");
        let kept = RealFileSystem.list(&folder.path().join("quarantine")).expect("the quarantine");
        let kept: Vec<Bytes> = kept.iter().map(|path| RealFileSystem.read(path).expect("readable")).collect();
        assert_eq!(kept, [&b"one"[..], b"two"], "start {start}");
        drop(storage);
    }
}

#[tokio::test]
async fn a_flush_leaves_no_published_request_in_the_wal() {
    let folder = tempfile::tempdir().expect("a folder");
    write_wal(folder.path(), &[b"one", b"two"]);
    let (storage, _) = open(folder.path()).await;
    assert!(storage.wal_bytes() > 100);
    storage.flush().await.expect("flushed");
    assert_eq!(storage.wal_bytes(), 48, "a file without frames");
    storage.close().await;
    let (_, report) = open(folder.path()).await;
    assert_eq!((report.undecodable_requests, report.wal.expect("a report").damage), (0, Vec::new()));
}

/// Damage at the end of a WAL that was closed in order is counted, and the positions are not given out again.
#[tokio::test]
async fn damage_after_a_close_in_order_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    write_wal(folder.path(), &[b"one", b"two"]);
    let paths = RealFileSystem.list(&folder.path().join("wal")).expect("the files");
    let path = paths.iter().find(|path| path.extension().is_some()).expect("a WAL file");
    let bytes = RealFileSystem.read(path).expect("readable");
    RealFileSystem.replace_file(path, &bytes[..bytes.len() - 1]).expect("cut");
    let findings = crate::verify::verify(folder.path(), crate::verify::Options::default()).await.expect("checked");
    assert!(findings.findings.iter().any(|finding| finding.path == *path), "{findings:?}");
    let (storage, report) = open(folder.path()).await;
    assert_eq!(report.undecodable_requests, 1);
    let recovery = report.wal.expect("a report");
    assert_eq!((recovery.torn_bytes, recovery.last_position), (0, WalPosition(2)));
    assert_eq!(storage.metrics().quarantined.get(), recovery.damage.len() as u64 + 1);
}

/// Two parts of log records, published, and nothing in the WAL.
async fn with_parts(folder: &Path) {
    let (storage, _) = open(folder).await;
    for key in [1, 2] {
        append(&storage, key).await;
        storage.flush().await.expect("flushed");
    }
    storage.close().await;
}

async fn append(storage: &Storage, key: u8) {
    append_to(storage, SignalKind::Logs, key).await;
}

async fn append_to(storage: &Storage, signal: SignalKind, key: u8) {
    let columns: Vec<usize> = (0..crate::schema::decoded_schema(signal).fields().len()).collect();
    let batches = crate::part::tests::batches(signal, 10, key.into());
    let request = crate::AppendRequest {
        tenant: TenantId::DEFAULT,
        signal,
        format: WireFormat::Otlp,
        key: RequestKey([key; 16]),
        received_at: UnixNanos(1),
        oldest_admitted: UnixNanos::MIN,
        payload: Bytes::from(vec![key]),
        batch: batches[0].project(&columns).expect("the decoder's columns"),
    };
    storage.append(request).await.expect("taken");
}

/// On a disk without room the rows are there and their index cannot be made anew: they are served, and the index comes later.
#[tokio::test]
async fn an_index_lost_on_a_full_disk_costs_no_row() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), Arc::new(SmallDisk::with_room(0)));
    with_parts(folder.path()).await;
    let parts = folder.path().join("parts").join("logs");
    let indexes = || {
        let parts = RealFileSystem.list(&parts).expect("the parts");
        parts.iter().map(|part| part.join("ids.idx")).filter(|path| path.exists()).collect::<Vec<_>>()
    };
    RealFileSystem.remove_file(&indexes()[0]).expect("removed");
    let (storage, report) = open_on(folder.path(), Arc::<SmallDisk>::clone(&disk)).await;
    assert_eq!((report.parts, report.damaged_parts), (2, Vec::new()));
    assert!(disk.refused.load(Ordering::SeqCst) > 0, "the index was made anew on a full disk");
    disk.room.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(entries(&parts), 2, "an attempt left files");
    storage.inner.check_unchecked().await;
    assert_eq!((indexes().len(), storage.parts().iter().map(|part| part.rows).sum::<u32>()), (2, 20));
}

/// A damaged inode: nobody knows whether the part is there. The others are served, and what nobody knows is left alone.
#[tokio::test]
async fn a_part_that_cannot_be_looked_at_does_not_keep_the_store_shut() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), Arc::new(SmallDisk::with_room(i64::MAX)));
    with_parts(folder.path()).await;
    let parts = folder.path().join("parts").join("logs");
    let unpublished = parts.join("0".repeat(32));
    std::fs::create_dir(&unpublished).expect("made");
    *disk.unknown.lock().expect("nobody else") = Some("ids.idx");
    let (storage, report) = open_on(folder.path(), Arc::<SmallDisk>::clone(&disk)).await;
    assert_eq!((report.parts, report.unknown_parts.len(), report.damaged_parts.len()), (2, 2, 0));
    assert_eq!((report.strays, report.orphans, entries(&parts)), (0, 0, 3), "something was removed or moved");
    assert_eq!(entries(&folder.path().join("quarantine")), 0);
    storage.close().await;
    *disk.unknown.lock().expect("nobody else") = None;
    let (_, report) = open_on(folder.path(), disk).await;
    assert_eq!((report.parts, report.unknown_parts.len(), report.orphans), (2, 0, 1));
}

fn entries(folder: &Path) -> usize {
    RealFileSystem.list(folder).map_or(0, |paths| paths.len())
}

/// The files of a catalog as they are, and their names.
type CatalogFiles = [(&'static str, Vec<u8>); 2];

fn catalog_of(folder: &Path) -> CatalogFiles {
    ["catalog.sqlite", "catalog.sqlite-wal"].map(|name| (name, std::fs::read(folder.join(name)).expect("readable")))
}

/// Parts and WAL of a folder beside an older catalog. Elsewhere: connections to its own may still be open.
fn with_catalog(folder: &Path, old: CatalogFiles) -> tempfile::TempDir {
    let restored = tempfile::tempdir().expect("a folder");
    for name in ["parts", "wal"] {
        let from = folder.join(name);
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(restored.path()).status();
        assert!(copied.expect("cp runs").success());
    }
    for (name, bytes) in old {
        std::fs::write(restored.path().join(name), bytes).expect("restored");
    }
    restored
}

/// The catalog's journal lost its last commit, that of a merge: its inputs are gone, its output is not known.
#[tokio::test]
async fn a_catalog_that_lost_a_merge_costs_no_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut old = None;
    let (storage, _) = open(folder.path()).await;
    for key in 1..=4 {
        old = Some(catalog_of(folder.path()));
        append(&storage, key).await;
        storage.flush().await.expect("flushed");
    }
    storage.close().await;
    assert_eq!(entries(&folder.path().join("parts/logs")), 1, "four were merged");
    let folder = with_catalog(folder.path(), old.expect("it was kept"));
    let (storage, report) = open(folder.path()).await;
    assert_eq!((report.parts, report.damaged_parts.len(), report.strays, report.orphans), (0, 3, 1, 0));
    assert!(entries(&folder.path().join("quarantine")) >= 1);
    assert_eq!(storage.metrics().quarantined.get(), 4);
}

/// The catalog's journal lost its last commit, that of a seal: it knows a later position, of another signal, and the WAL has
/// neither request any more. The part is all that there is of its rows.
#[tokio::test]
async fn a_catalog_that_lost_one_signal_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (storage, _) = open(folder.path()).await;
    append_to(&storage, SignalKind::Traces, 1).await;
    append(&storage, 2).await;
    storage.inner.seal(SignalKind::Logs).await.expect("sealed");
    let old = catalog_of(folder.path());
    storage.close().await;
    let restored = with_catalog(folder.path(), old);
    let error =
        try_open_on(restored.path(), Arc::new(RealFileSystem::new()), 2).await.expect_err("it would remove the part");
    assert!(matches!(error, Error::StaleCatalog { parts: 1, .. }), "{error}");
    assert_eq!(entries(&restored.path().join("parts/traces")), 1);
}

/// What a crash leaves between writing and publishing is removed: the WAL still has its rows.
#[tokio::test]
async fn a_part_that_was_never_published_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    with_parts(folder.path()).await;
    std::fs::create_dir(folder.path().join("parts/logs/0123")).expect("made");
    let (_, report) = open(folder.path()).await;
    assert_eq!((report.parts, report.strays, report.orphans), (2, 0, 1));
    assert_eq!(entries(&folder.path().join("quarantine")), 0);
}

/// Somebody removed the WAL: what was acknowledged and not yet published went with it, and the server must say so.
#[tokio::test]
async fn a_lost_wal_is_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let (storage, report) = open(folder.path()).await;
    assert_eq!(report.wal.expect("a report").damage, [], "a new folder lacks nothing");
    append(&storage, 1).await;
    storage.flush().await.expect("flushed");
    append(&storage, 2).await;
    drop(storage);
    std::fs::remove_dir_all(folder.path().join("wal")).expect("removed");
    let findings = crate::verify::verify(folder.path(), crate::verify::Options::default()).await.expect("checked");
    assert!(findings.findings.iter().any(|finding| finding.problem.contains("no WAL file")), "{findings:?}");
    let (storage, report) = open(folder.path()).await;
    assert_eq!(report.wal.expect("a report").damage.len(), 1);
    assert_eq!(storage.metrics().quarantined.get(), 1);
}
