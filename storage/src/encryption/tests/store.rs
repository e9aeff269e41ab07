//! The store with encryption: what lies on the disk, and what can be read.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use trivium_model::{ManualClock, RequestKey};

use super::*;
use crate::backup::{BackupOptions, Location, RestoreOptions, backup, restore};
use crate::catalog::{Catalog, SqliteCatalog};
use crate::config::StorageConfig;
use crate::keys::{self, RotateReport};
use crate::quarantine::{QuarantineKind, ReturnOptions, Returned};
use crate::recovery::RecoveryReport;
use crate::storage::{AppendRequest, PayloadDecoder, Rejection, Storage};
use crate::testing::{Lines, START, bodies_of, clock, config, damage, open_with, part_folders};
use crate::verify::{Options, RepairDeps, repair, verify};

const ANN: TenantId = TenantId(1);
const BOB: TenantId = TenantId(2);

/// A data folder and key files beside it.
struct Place {
    root: tempfile::TempDir,
    data: PathBuf,
    keys: PathBuf,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let data = root.path().join("data");
        std::fs::create_dir(&data).expect("made");
        let keys = key_file(root.path(), &["one"]);
        Self { root, data, keys }
    }

    fn config(&self) -> StorageConfig {
        StorageConfig { encryption_key_file: Some(self.keys.clone()), ..config() }
    }

    fn options(&self) -> Options {
        Options { deep: true, encryption_key_file: Some(self.keys.clone()) }
    }

    async fn start_with(&self, config: StorageConfig) -> Result<(Storage, RecoveryReport), Error> {
        open_with(&self.data, config, Arc::new(ManualClock::new(START))).await
    }

    async fn start(&self) -> Storage {
        self.start_with(self.config()).await.expect("it opens").0
    }

    async fn verify(&self) -> crate::verify::VerifyReport {
        verify(&self.data, self.options()).await.expect("checked")
    }

    async fn tenant_keys(&self) -> Vec<TenantKey> {
        keys::list(&self.data).await.expect("read")
    }

    /// All bytes below the data folder, file by file.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        files_below(&self.data)
    }
}

fn files_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let bytes = std::fs::read(&path).expect("readable");
            files.push((path, bytes));
        }
    }
    files
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// Everything that the tests send says it, in bodies; and that is how plain files begin and end.
const SECRET: &str = "iban-DE02120300000000202051";
const PLAIN: [&[u8]; 5] = [SECRET.as_bytes(), b"PAR1", b"TRIVIDS\0", b"TRIVTXT\0", b"ARROW:schema"];

fn check_nothing_is_plain(files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        for wanted in PLAIN {
            let wanted_text = String::from_utf8_lossy(wanted);
            assert!(!contains(bytes, wanted), "{} holds {wanted_text}", path.display());
        }
    }
}

fn bodies_sent(tenant: TenantId, number: u64) -> Vec<String> {
    (0..5).map(|index| format!("{SECRET} tenant {tenant} request {number} record {index}")).collect()
}

fn request(tenant: TenantId, number: u64) -> AppendRequest {
    let time = START.0 + i64::try_from(number).expect("small") * 1_000;
    let lines: String = bodies_sent(tenant, number).iter().map(|body| format!("{time} {body}\n")).collect();
    let payload = Bytes::from(lines);
    let batch = Lines.decode(SignalKind::Logs, WireFormat::Otlp, &payload, START, START);
    let key = u128::from(tenant.0) << 64 | u128::from(number);
    AppendRequest {
        tenant,
        signal: SignalKind::Logs,
        format: WireFormat::Otlp,
        key: RequestKey(key.to_be_bytes()),
        received_at: START,
        oldest_admitted: UnixNanos::MIN,
        payload,
        batch: batch.expect("lines").expect("records"),
    }
}

async fn append(storage: &Storage, tenant: TenantId, numbers: std::ops::Range<u64>) {
    for number in numbers {
        storage.append(request(tenant, number)).await.expect("it is acknowledged");
    }
}

fn expected(tenant: TenantId, numbers: std::ops::Range<u64>) -> Vec<String> {
    let mut bodies: Vec<String> = numbers.flat_map(|number| bodies_sent(tenant, number)).collect();
    bodies.sort_unstable();
    bodies
}

fn check_rows(storage: &Storage, ann: std::ops::Range<u64>, bob: std::ops::Range<u64>) {
    assert_eq!(bodies_of(storage, ANN), expected(ANN, ann));
    assert_eq!(bodies_of(storage, BOB), expected(BOB, bob));
}

fn repair_deps() -> RepairDeps {
    let seed = RandomState::new().build_hasher().finish();
    RepairDeps { clock: clock(), decoder: Arc::new(Lines), seed, orphan_grace: Duration::ZERO }
}

#[tokio::test]
async fn without_keys_what_is_sent_lies_on_the_disk_as_it_is() {
    let place = Place::new();
    let storage = place.start_with(config()).await.expect("it opens").0;
    append(&storage, ANN, 0..3).await;
    let found = |wanted: &[u8]| place.files().iter().any(|(_, bytes)| contains(bytes, wanted));
    assert!(found(SECRET.as_bytes()), "or the other tests prove nothing");
    storage.flush().await.expect("flushed");
    assert!(PLAIN[1..].iter().all(|wanted| found(wanted)), "or the other tests prove nothing");
    assert!(place.tenant_keys().await.is_empty());
}

#[tokio::test]
async fn nothing_on_the_disk_is_plain_and_everything_is_read() {
    let place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..5).await;
    append(&storage, BOB, 0..2).await;
    check_nothing_is_plain(&place.files());
    check_rows(&storage, 0..5, 0..2);
    // Killed: a drop would close it in order.
    std::mem::forget(storage);
    let (storage, report) = place.start_with(place.config()).await.expect("it opens");
    assert_eq!((report.replayed_requests, report.undecodable_requests, report.shredded_requests), (7, 0, 0));
    check_rows(&storage, 0..5, 0..2);
    for round in 1..5 {
        // Four parts of a size become one.
        append(&storage, ANN, round * 5..round * 5 + 5).await;
        storage.flush().await.expect("flushed");
        check_nothing_is_plain(&place.files());
    }
    assert!(storage.metrics().compactions.get_or_create(&SignalKind::Logs.into()).get() > 0);
    storage.record_rejections(vec![Rejection {
        tenant: ANN,
        signal: SignalKind::Logs,
        reason: "too old".into(),
        service: "shop".into(),
        count: 1,
        example: SECRET.into(),
        time: START,
    }]);
    assert_eq!(storage.rejections(ANN).await.expect("read")[0].example, "not kept: telemetry is encrypted at rest");
    check_rows(&storage, 0..25, 0..2);
    let snapshot = storage.snapshot(ANN, SignalKind::Logs);
    assert!(snapshot.parts.iter().all(|part| part.is_encrypted()));
    let part = &snapshot.parts[0];
    let length = part.record().columns_bytes();
    let ends = part.columns_bytes(&[0..4, length - 4..length]).expect("readable");
    assert_eq!((&ends[0][..], &ends[1][..]), (&b"PAR1"[..], &b"PAR1"[..]), "what DataFusion reads is Parquet");
    assert!(part.columns_bytes(&[length..length + 1]).is_err());
    storage.close().await;
    drop((storage, snapshot));
    check_nothing_is_plain(&place.files());
    let report = place.verify().await;
    assert_eq!((report.findings, report.rows), (Vec::new(), 27 * 5));
    let storage = place.start().await;
    check_rows(&storage, 0..25, 0..2);
    for token in ["iban", "records-that-are-not-there"] {
        let filter = crate::part::TokenFilter::Token(token.into());
        let parts = storage.snapshot(ANN, SignalKind::Logs).parts;
        let rows: u64 = parts.iter().map(|part| part.candidate_rows(&filter).expect("readable").len()).sum();
        assert_eq!(rows > 0, token == "iban", "{token}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_decrypted_is_refused_in_words_and_left_as_it_is() {
    let place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..3).await;
    storage.close().await;
    drop(storage);
    // SQLite moves its journal into the catalog whenever the last connection is gone.
    let without_catalog = || {
        let mut files = place.files();
        files.retain(|(path, _)| !path.to_string_lossy().contains("catalog.sqlite"));
        files.sort();
        files
    };
    let (before, keys_before) = (without_catalog(), place.tenant_keys().await);
    let other = tempfile::tempdir().expect("a folder");
    for (file, words) in [
        (None, "no key file was given; set encryption_key_file to the file with the master key one"),
        (Some(key_file(other.path(), &["two"])), "the master key \"one\", which"),
        (Some(key_file(other.path(), &["one"])), "is not the one that wrapped it"),
        (Some(other.path().join("none")), "cannot open the key file"),
    ] {
        let settings = StorageConfig { encryption_key_file: file.clone(), ..config() };
        let error = place.start_with(settings).await.expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
        let error = verify(&place.data, Options { deep: false, encryption_key_file: file }).await.expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(place.tenant_keys().await, keys_before);
    let after = without_catalog();
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "a refusal makes no file");
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        assert!(before == after, "a refusal changes nothing: {}", path.display());
    }
    check_rows(&place.start().await, 0..3, 0..0);
}

#[tokio::test]
async fn encryption_is_turned_on_and_off_for_what_is_new() {
    let place = Place::new();
    let storage = place.start_with(config()).await.expect("it opens").0;
    append(&storage, ANN, 0..1).await;
    storage.flush().await.expect("flushed");
    append(&storage, ANN, 1..2).await;
    std::mem::forget(storage);
    // On: what is in the WAL in plain becomes an encrypted part, the plain part stays.
    let storage = place.start().await;
    append(&storage, ANN, 2..3).await;
    storage.flush().await.expect("flushed");
    let encrypted = |storage: &Storage| {
        let parts = storage.snapshot(ANN, SignalKind::Logs).parts;
        parts.iter().map(|part| part.is_encrypted()).collect::<Vec<_>>()
    };
    assert_eq!(encrypted(&storage), [false, true]);
    storage.close().await;
    drop(storage);
    // Off: the key file is still needed.
    let off = StorageConfig { encrypt: false, ..place.config() };
    let storage = place.start_with(off).await.expect("it opens").0;
    append(&storage, ANN, 3..4).await;
    storage.flush().await.expect("flushed");
    check_rows(&storage, 0..4, 0..0);
    assert_eq!(encrypted(&storage).iter().filter(|is_encrypted| **is_encrypted).count(), 1);
    storage.close().await;
    drop(storage);
    // On again: the merge of all of them is encrypted.
    let years_later = open_with(&place.data, place.config(), clock()).await;
    let storage = years_later.expect("it opens").0;
    append(&storage, ANN, 4..8).await;
    storage.flush().await.expect("flushed");
    let storage_parts = encrypted(&storage);
    assert!(storage_parts.iter().all(|is_encrypted| *is_encrypted), "{storage_parts:?}");
    check_rows(&storage, 0..8, 0..0);
    storage.close().await;
    drop(storage);
    check_nothing_is_plain(&place.files());
}

#[tokio::test]
async fn another_master_key_takes_over() {
    let mut place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..2).await;
    append(&storage, BOB, 0..2).await;
    storage.close().await;
    drop(storage);
    let old = place.tenant_keys().await;
    // The new one on top, the old one below.
    let (first, second) = (std::fs::read_to_string(&place.keys).expect("read"), key_file(place.root.path(), &["two"]));
    let both = place.root.path().join("both.keys");
    std::fs::write(&both, format!("{}\n{first}", std::fs::read_to_string(&second).expect("read"))).expect("written");
    let error = keys::rotate(&place.data, &second).await.expect_err("it lacks the old one");
    assert!(error.to_string().contains("the master key \"one\""), "{error}");
    let report = keys::rotate(&place.data, &both).await.expect("rotated");
    assert_eq!(report, RotateReport { master: "two".into(), keys: 2, changed: 2 });
    assert_eq!(keys::rotate(&place.data, &both).await.expect("rotated").changed, 0);
    let new = place.tenant_keys().await;
    assert!(new.iter().all(|key| key.master == "two") && new.len() == 2);
    for key in &old {
        let found = place.files().iter().any(|(_, bytes)| contains(bytes, &key.wrapped));
        assert!(!found, "the key as the old master key wrapped it is still on the disk");
    }
    place.keys = second;
    let storage = place.start().await;
    check_rows(&storage, 0..2, 0..2);
    assert_eq!(place.tenant_keys().await, new, "the tenants' own keys are the same");
}

#[tokio::test]
async fn a_shredded_tenant_is_gone_and_the_others_stay() {
    let place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..3).await;
    append(&storage, BOB, 0..3).await;
    storage.flush().await.expect("flushed");
    append(&storage, ANN, 3..5).await;
    append(&storage, BOB, 3..5).await;
    let before = place.tenant_keys().await;
    let wrapped = before.iter().find(|key| key.tenant == ANN).expect("Ann's key").wrapped.clone();
    let on_disk = |bytes: &[u8]| place.files().iter().any(|(_, file)| contains(file, bytes));
    assert!(on_disk(&wrapped));
    let report = storage.shred_tenant(ANN).await.expect("shredded");
    assert_eq!((report.keys, report.rows, report.left), (1, 25, Vec::new()));
    assert!(!on_disk(&wrapped), "the wrapped key is still on the disk");
    check_rows(&storage, 0..0, 0..5);
    let error = storage.shred_tenant(TenantId(9)).await.expect_err("it has no key");
    assert!(error.to_string().contains("tenant 9 has no key"), "{error}");
    // Ann begins anew.
    append(&storage, ANN, 7..8).await;
    append(&storage, BOB, 5..6).await;
    std::mem::forget(storage);
    let (storage, report) = place.start_with(place.config()).await.expect("it opens");
    assert_eq!((report.shredded_requests, report.undecodable_requests), (0, 0));
    check_rows(&storage, 7..8, 0..6);
    storage.close().await;
    drop(storage);
    assert_eq!(place.verify().await.findings, []);
    let after = place.tenant_keys().await;
    assert_eq!(after.len(), 3);
    let shredded: Vec<_> = after.iter().filter(|key| key.shredded_at.is_some()).collect();
    assert_eq!((shredded.len(), shredded[0].tenant, shredded[0].wrapped.len()), (1, ANN, 0));
    // With the server stopped.
    let report = keys::shred(&place.data, BOB, &place.keys, repair_deps()).await.expect("shredded");
    assert_eq!((report.keys, report.rows), (1, 30));
    check_rows(&place.start().await, 7..8, 0..0);
}

/// The process dies after the keys are gone and before anything else is; and the keys of a backup are those of the backup.
#[tokio::test]
async fn what_a_shredded_key_encrypted_is_dropped_at_the_next_start() {
    let place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..3).await;
    append(&storage, BOB, 0..1).await;
    storage.flush().await.expect("flushed");
    append(&storage, ANN, 3..5).await;
    append(&storage, BOB, 1..2).await;
    std::mem::forget(storage);
    let catalog = SqliteCatalog::open(&place.data).await.expect("opened");
    assert_eq!(catalog.shred_tenant_keys(ANN, START).await.expect("shredded"), 1);
    assert_eq!(catalog.shred_tenant_keys(ANN, START).await.expect("again"), 0);
    catalog.close().await;
    assert!(!place.verify().await.findings.is_empty(), "a part that nobody can read is a finding");
    let folders = part_folders(&place.data).len();
    let (storage, report) = place.start_with(place.config()).await.expect("it opens");
    assert_eq!((report.shredded_parts, report.shredded_requests, report.damaged_parts.len()), (1, 2, 0));
    assert_eq!(part_folders(&place.data).len(), folders - 1);
    check_rows(&storage, 0..0, 0..2);
    storage.close().await;
    drop(storage);
    assert_eq!(place.verify().await.findings, []);
    assert_eq!(place.start_with(place.config()).await.expect("it opens").1.shredded_requests, 0);
}

#[tokio::test]
async fn damage_to_encrypted_parts_is_found_put_right_and_brought_back() {
    let place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..3).await;
    storage.close().await;
    drop(storage);
    let folder = part_folders(&place.data).pop().expect("a part");
    damage(&folder.join("ids.idx.enc"), |bytes| bytes[100] ^= 1);
    assert_eq!(place.verify().await.findings.len(), 1);
    let repaired = repair(&place.data, place.options(), repair_deps(), Arc::new(|_, _| ())).await.expect("repaired");
    assert_eq!((repaired.actions.len(), repaired.left.findings), (1, Vec::new()));
    check_nothing_is_plain(&place.files());
    // Rows that are damaged: the part is set aside as it is, encrypted.
    let folder = part_folders(&place.data).pop().expect("a part");
    damage(&folder.join("columns.parquet.enc"), |bytes| bytes[100] ^= 1);
    repair(&place.data, place.options(), repair_deps(), Arc::new(|_, _| ())).await.expect("repaired");
    let storage = place.start().await;
    check_rows(&storage, 0..0, 0..0);
    let item = storage.quarantined().await.expect("listed").into_iter().find(|item| item.kind == QuarantineKind::Part);
    let name = item.expect("the part").name;
    let refused = storage.return_quarantined(&name, ReturnOptions::default()).await;
    assert!(refused.is_err(), "its first chunk is not authentic");
    damage(&place.data.join("quarantine").join(&name).join("columns.parquet.enc"), |bytes| bytes[100] ^= 1);
    let (_, lines) = crate::quarantine::show(&place.data, &name, Some(&place.keys)).await.expect("shown");
    assert!(lines.iter().any(|line| line == "15 of 15 rows can be decoded"), "{lines:?}");
    let (_, lines) = crate::quarantine::show(&place.data, &name, None).await.expect("shown");
    assert!(lines.iter().any(|line| line.starts_with("no row can be decoded")), "{lines:?}");
    let returned = storage.return_quarantined(&name, ReturnOptions::default()).await.expect("returned");
    assert!(matches!(returned, Returned::Part { rows: 15, lost: 0, .. }), "{returned:?}");
    check_rows(&storage, 0..3, 0..0);
    check_nothing_is_plain(&place.files());
}

/// The sums in the catalog are no secret: whoever can write to the disk can make them fit.
#[tokio::test]
async fn files_that_were_exchanged_are_found_out_though_the_catalog_fits() {
    for name in ["columns.parquet.enc", "ids.idx.enc", "text.idx.enc"] {
        let place = Place::new();
        let storage = place.start().await;
        append(&storage, ANN, 0..3).await;
        storage.flush().await.expect("flushed");
        append(&storage, BOB, 0..3).await;
        storage.flush().await.expect("flushed");
        let parts = [ANN, BOB].map(|tenant| Arc::clone(&storage.snapshot(tenant, SignalKind::Logs).parts[0]));
        let [ann, bob] = parts.each_ref().map(|part| part.columns_path().parent().expect("a folder").join(name));
        storage.close().await;
        std::fs::copy(&ann, &bob).expect("copied");
        let file = parts[0].record().files.iter().find(|file| file.name == name).expect("the file").clone();
        let mut record = parts[1].record().clone();
        *record.files.iter_mut().find(|file| file.name == name).expect("the file") = file;
        let part = crate::part::Part::open_with(
            record,
            bob.parent().expect("a folder").to_path_buf(),
            &Arc::new(crate::part::PageCache::new(0)),
            &storage.inner.keys,
        );
        let error = part.verify(true).expect_err("another tenant's file").to_string();
        assert!(error.contains("not authentic") || error.contains("cannot"), "{error}");
    }
}

#[tokio::test]
async fn a_backup_is_encrypted_and_comes_back_with_the_key_file() {
    let place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..3).await;
    storage.flush().await.expect("flushed");
    append(&storage, ANN, 3..4).await;
    let target = place.root.path().join("backup");
    let silent: crate::backup::Progress = Arc::new(|_, _| ());
    let made = backup(&place.data, &Location::folder(&target), BackupOptions::default(), clock(), Arc::clone(&silent))
        .await
        .expect("made");
    assert_eq!((made.rows, made.wal_frames, made.damaged.len()), (15, 1, 0));
    check_nothing_is_plain(&files_below(&target));
    storage.close().await;
    drop(storage);
    let restored = Place { data: place.root.path().join("restored"), ..Place::new() };
    let restored = Place { keys: place.keys.clone(), ..restored };
    restore(&Location::folder(&target), &restored.data, RestoreOptions::default(), silent).await.expect("restored");
    let error = restored.start_with(config()).await.expect_err("no key").to_string();
    assert!(error.contains("holds encrypted telemetry"), "{error}");
    assert_eq!(restored.verify().await.findings, []);
    check_rows(&restored.start().await, 0..4, 0..0);
}

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
    ) -> Result<Option<arrow::array::RecordBatch>, String> {
        Err("a defect".into())
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_decoded_is_kept_encrypted() {
    let place = Place::new();
    let storage = place.start().await;
    append(&storage, ANN, 0..2).await;
    std::mem::forget(storage);
    let deps = crate::storage::StorageDeps {
        fs: Arc::new(crate::fs::RealFileSystem::new()),
        clock: clock(),
        catalog: Arc::new(SqliteCatalog::open(&place.data).await.expect("opened")),
        decoder: Arc::new(Undecodable),
        seed: 5,
    };
    let (storage, report) = Storage::open(&place.data, place.config(), deps).await.expect("it opens");
    assert_eq!(report.undecodable_requests, 2);
    storage.close().await;
    drop(storage);
    check_nothing_is_plain(&place.files());
    let storage = place.start().await;
    for item in storage.quarantined().await.expect("listed") {
        assert!(item.kind == QuarantineKind::Request && item.name.ends_with(".otlp.enc"), "{item:?}");
        storage.return_quarantined(&item.name, ReturnOptions::default()).await.expect("returned");
    }
    check_rows(&storage, 0..2, 0..0);
    check_nothing_is_plain(&place.files());
}
