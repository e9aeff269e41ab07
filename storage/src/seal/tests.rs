use trivium_model::{ManualClock, RequestKey, UnixNanos, WireFormat};

use super::*;
use crate::catalog::SqliteCatalog;
use crate::fs::testing::SmallDisk;
use crate::fs::{FileSystem, RealFileSystem};
use crate::storage::{AppendRequest, PayloadDecoder, Storage, StorageDeps};

#[derive(Debug)]
struct NoReplay;

impl PayloadDecoder for NoReplay {
    fn decode(
        &self,
        _: SignalKind,
        _: WireFormat,
        _: &[u8],
        _: UnixNanos,
        _: UnixNanos,
    ) -> Result<Option<RecordBatch>, String> {
        Err("nothing is replayed here".into())
    }
}

async fn append(storage: &Storage, key: u8) {
    let columns: Vec<usize> = (0..schema::decoded_schema(SignalKind::Logs).fields().len()).collect();
    let batches = crate::part::tests::batches(SignalKind::Logs, 20, key.into());
    let request = AppendRequest {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        format: WireFormat::Otlp,
        key: RequestKey([key; 16]),
        received_at: UnixNanos(1),
        oldest_admitted: UnixNanos::MIN,
        payload: Bytes::from(vec![key]),
        batch: batches[0].project(&columns).expect("the decoder's columns"),
    };
    storage.append(request).await.expect("taken");
}

/// Every attempt wrote its files under new names and left them: a full disk became fuller, until a restart.
#[tokio::test]
async fn what_a_full_disk_interrupts_leaves_no_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(SmallDisk::with_room(0));
    let deps = StorageDeps {
        fs: Arc::clone(&disk) as Arc<dyn FileSystem>,
        clock: Arc::new(ManualClock::new(UnixNanos(1))),
        catalog: Arc::new(SqliteCatalog::open(folder.path()).await.expect("a catalog")),
        decoder: Arc::new(NoReplay),
        seed: 1,
    };
    let (storage, _) = Storage::open(folder.path(), crate::StorageConfig::default(), deps).await.expect("it opens");
    let parts = folder.path().join("parts/logs");
    let count = || RealFileSystem.list(&parts).map_or(0, |paths| paths.len());
    append(&storage, 1).await;
    for room in 0..3 {
        disk.room.store(room, Ordering::SeqCst);
        assert!(storage.flush().await.is_err(), "room for {room} files of three");
        assert_eq!(count(), 0, "room for {room} files of three");
    }
    // Now the merge of four parts finds no room.
    for key in 2..=5 {
        disk.room.store(if key == 5 { 4 } else { 100 }, Ordering::SeqCst);
        let flushed = storage.flush().await;
        assert_eq!(flushed.is_ok(), key < 5, "{key}: {flushed:?}");
        append(&storage, key).await;
    }
    assert_eq!((count(), disk.refused.load(Ordering::SeqCst)), (4, 4), "the four inputs of the merge");
}

/// A sector that cannot be read: its part stays as it is, and the others are merged without it.
#[tokio::test]
async fn a_part_that_cannot_be_read_holds_no_merge_up() {
    use crate::testing::{START, append, bodies, config, expected, open_with, part_folders};
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::new(START));
    let opened = open_with(folder.path(), config(), Arc::<ManualClock>::clone(&clock)).await;
    let (storage, _) = opened.expect("it opens");
    for number in 0..5 {
        append(&storage, number..number + 1, 0).await;
        assert!(storage.inner.seal(SignalKind::Logs).await.expect("sealed"));
    }
    // Reading a folder as a file fails as a disk does: nothing is known of the bytes.
    let columns = part_folders(folder.path())[0].join("columns.parquet");
    let aside = folder.path().join("aside");
    std::fs::rename(&columns, &aside).expect("renamed");
    std::fs::create_dir(&columns).expect("made");
    storage.inner.compact_due(SignalKind::Logs).await;
    assert_eq!(storage.parts().len(), 5, "a merge of what cannot be read");
    storage.inner.compact_due(SignalKind::Logs).await;
    assert_eq!(storage.parts().len(), 2, "the other four are not merged");
    assert!(!folder.path().join("quarantine").exists(), "rows that may come back were put aside");
    // The disk reads again, and the day is over.
    std::fs::remove_dir(&columns).expect("removed");
    std::fs::rename(&aside, &columns).expect("renamed");
    clock.advance(Duration::from_secs(2 * 24 * 3600));
    storage.inner.compact_due(SignalKind::Logs).await;
    assert_eq!((storage.parts().len(), bodies(&storage)), (1, expected(0..5)));
}

/// A stop ends the wait for a seal; its files would be nobody's until the next start.
#[tokio::test]
async fn a_seal_that_nobody_waits_for_leaves_no_files() {
    use crate::testing::{append, bodies, expected, open, part_folders};
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(folder.path()).await;
    append(&storage, 0..10, 0).await;
    let mut seal = Box::pin(storage.flush());
    assert!(futures::FutureExt::now_or_never(seal.as_mut()).is_none(), "it waits for its files");
    drop(seal);
    while Arc::strong_count(&storage.inner) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(part_folders(folder.path()).is_empty());
    storage.flush().await.expect("flushed");
    assert_eq!(part_folders(folder.path()).len(), 1);
    assert_eq!(bodies(&storage), expected(0..10));
    storage.close().await;
}

/// The same of a merge: its inputs stay in service, its output is not left lying about.
#[tokio::test]
async fn a_merge_that_nobody_waits_for_leaves_no_files() {
    use crate::testing::{append, bodies, expected, open, part_folders};
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(folder.path()).await;
    for number in 0..4 {
        append(&storage, number..number + 1, 0).await;
        assert!(storage.inner.seal(SignalKind::Logs).await.expect("sealed"));
    }
    let inputs = part_folders(folder.path());
    let mut merge = Box::pin(storage.inner.compact_once(SignalKind::Logs));
    assert!(futures::FutureExt::now_or_never(merge.as_mut()).is_none(), "it waits for its files");
    drop(merge);
    while Arc::strong_count(&storage.inner) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!((part_folders(folder.path()), inputs.len()), (inputs, 4));
    storage.flush().await.expect("flushed");
    assert_eq!((part_folders(folder.path()).len(), bodies(&storage)), (1, expected(0..4)));
    storage.close().await;
}
