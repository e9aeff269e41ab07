use std::fs;
use std::sync::Arc;

use super::*;
use crate::catalog::REJECTION_ROWS_MAX;
use crate::catalog::conformance::{Fixture, conformance_tests, seal};

impl Fixture for tempfile::TempDir {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Catalog>> {
        Box::pin(async { Arc::new(open(self.path()).await) as Arc<dyn Catalog> })
    }
}

conformance_tests!(folder());

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

async fn open(folder: &Path) -> SqliteCatalog {
    SqliteCatalog::open(folder).await.expect("the catalog opens")
}

async fn execute(catalog: &SqliteCatalog, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&catalog.writer).await.expect("the statement runs");
}

/// When the disk is full, SQLite takes back a transaction by itself, whatever was to come.
#[tokio::test]
async fn a_transaction_that_sqlite_took_back_leaves_a_usable_catalog() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    let mut transaction = catalog.writer.begin_with("BEGIN IMMEDIATE").await.expect("begun");
    sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await.expect("taken back");
    transaction.commit().await.expect_err("there is nothing to commit");
    catalog.publish(seal(1, 1..=1)).await.expect("the catalog goes on");
}

#[test]
fn versions_with_the_wal_reset_bug_are_refused() {
    for version in ["3.51.3", "3.51.10", "3.52.0", "4.0.0"] {
        assert!(sqlite_is_safe(version), "{version}");
    }
    for version in ["3.51.2", "3.9.99", "2.99.99", "3.51", "", "unknown"] {
        assert!(!sqlite_is_safe(version), "{version}");
    }
}

#[tokio::test]
async fn every_commit_is_fsynced() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    let (journal,): (String,) =
        sqlx::query_as("PRAGMA journal_mode").fetch_one(&catalog.writer).await.expect("SQLite answers");
    let (synchronous,): (i64,) =
        sqlx::query_as("PRAGMA synchronous").fetch_one(&catalog.writer).await.expect("SQLite answers");
    assert_eq!((journal.as_str(), synchronous), ("wal", 2));
}

/// Copies the files at every stage of a torn write, as kill -9 and a power cut leave them: the catalog holds a prefix of
/// the publishes, each whole, and all of them when nothing is torn.
#[tokio::test]
async fn a_torn_journal_leaves_whole_publishes() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    for number in 1..=5_u8 {
        catalog.publish(seal(number, number.into()..=number.into())).await.expect("the publish is sound");
    }
    let database = fs::read(folder.path().join(FILE_NAME)).expect("the database is there");
    let journal = fs::read(folder.path().join("catalog.sqlite-wal")).expect("the journal is there");
    let mut publishes_before = 0;
    for length in (0..=journal.len()).step_by(1_500).chain([journal.len()]) {
        let copy = self::folder();
        fs::write(copy.path().join(FILE_NAME), &database).expect("the copy is written");
        fs::write(copy.path().join("catalog.sqlite-wal"), &journal[..length]).expect("the copy is written");
        let state = open(copy.path()).await.load().await.expect("the catalog loads");
        let publishes = state.parts.len();
        assert_eq!(state.wal_position(SignalKind::Logs), WalPosition(publishes as u64), "torn at byte {length}");
        assert_eq!(state.request_keys.len(), publishes, "torn at byte {length}");
        assert!(publishes >= publishes_before, "torn at byte {length}");
        publishes_before = publishes;
    }
    assert_eq!(publishes_before, 5, "what was acknowledged is in the untorn journal");
}

#[tokio::test]
async fn the_catalog_of_a_newer_version_is_left_alone() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    execute(&catalog, "PRAGMA user_version = 99").await;
    catalog.close().await;
    let before = fs::read(folder.path().join(FILE_NAME)).expect("the database is there");
    let error = SqliteCatalog::open(folder.path()).await.expect_err("the version is unknown");
    assert!(matches!(error, Error::UnknownFormat { found: 99, supported: 4, .. }), "{error}");
    assert_eq!(fs::read(folder.path().join(FILE_NAME)).expect("the database is there"), before);
}

#[tokio::test]
async fn what_is_not_a_database_is_an_error() {
    let folder = folder();
    fs::write(folder.path().join(FILE_NAME), "not a database, but long enough to be read as one ".repeat(100))
        .expect("the file is written");
    let error = SqliteCatalog::open(folder.path()).await.expect_err("the file is no database");
    assert!(matches!(error, Error::Catalog { .. }), "{error}");
}

#[tokio::test]
async fn rows_that_are_not_what_was_written_are_found() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    catalog.publish(seal(1, 1..=1)).await.expect("the publish is sound");
    execute(&catalog, "UPDATE parts SET files = '[{\"name\":1}]'").await;
    let error = catalog.load().await.expect_err("the files cannot be read");
    assert!(matches!(error, Error::Corrupted { .. }), "{error}");
    assert_eq!(catalog.check_integrity().await.expect("the check runs").len(), 1);
}

/// Damage that SQLite cannot see: a later begin hid a part from queries that ask for a range of time, a time of removal had its
/// files deleted, a higher position left requests of the WAL out.
#[tokio::test]
async fn a_value_that_was_changed_is_found_and_not_built_upon() {
    for change in [
        "UPDATE parts SET first_time = first_time + 1, last_time = last_time + 1",
        "UPDATE parts SET tenant = 1",
        "UPDATE parts SET removed_at = 0",
        "UPDATE parts SET quarantined_at = 1, quarantine_reason = ''",
        "UPDATE parts SET sum = NULL",
        "UPDATE wal_positions SET position = position + 1",
        "UPDATE publishes SET request_keys = zeroblob(24)",
        "UPDATE publishes SET last_received = 0",
    ] {
        let folder = folder();
        let catalog = open(folder.path()).await;
        catalog.publish(seal(1, 1..=1)).await.expect("the publish is sound");
        execute(&catalog, change).await;
        let error = catalog.load().await.expect_err(change);
        assert!(matches!(error, Error::Corrupted { .. }), "{change}: {error}");
        assert!(!catalog.check_integrity().await.expect("the check runs").is_empty(), "{change}");
        let part = seal(1, 1..=1).add.remove(0).id;
        if change.contains("positions") {
            catalog.publish(seal(2, 3..=3)).await.expect_err("the position would get a new sum");
        }
        if change.contains("parts") {
            catalog.quarantine_part(part, "again".into(), UnixNanos(1)).await.expect_err("the row would get a new sum");
            catalog.load().await.expect_err("it is still damaged");
        }
    }
}

const TO_VERSION_3: &str = "ALTER TABLE parts DROP COLUMN sum; ALTER TABLE wal_positions DROP COLUMN sum; \
                            ALTER TABLE publishes DROP COLUMN sum; PRAGMA user_version = 3";

/// Rows of version 3 get their sums, and are as they were.
#[tokio::test]
async fn an_earlier_catalog_gets_its_sums() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    catalog.publish(seal(1, 1..=1)).await.expect("the publish is sound");
    catalog.publish(seal(2, 2..=2)).await.expect("the publish is sound");
    let part = seal(2, 2..=2).add.remove(0).id;
    catalog.quarantine_part(part, "checksum differs".into(), UnixNanos(7)).await.expect("it is published");
    let before = catalog.load().await.expect("the catalog loads");
    execute(&catalog, TO_VERSION_3).await;
    catalog.close().await;
    let reading = SqliteCatalog::open_read_only(folder.path()).await.expect("nothing is migrated");
    assert_eq!(reading.load().await.expect("it loads without sums"), before);
    reading.close().await;
    let catalog = open(folder.path()).await;
    assert_eq!(catalog.load().await.expect("the sums are there"), before);
    execute(&catalog, "UPDATE parts SET level = 9").await;
    catalog.load().await.expect_err("the sums are checked");
}

/// What no row could be is not summed: SQLite looks at the constraints of the table when a column is added.
#[tokio::test]
async fn an_earlier_catalog_with_a_reversed_range_is_refused() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    catalog.publish(seal(1, 1..=1)).await.expect("the publish is sound");
    execute(&catalog, "PRAGMA ignore_check_constraints = ON; UPDATE parts SET first_time = last_time + 1").await;
    execute(&catalog, TO_VERSION_3).await;
    catalog.close().await;
    let error = SqliteCatalog::open(folder.path()).await.expect_err("a damaged row");
    assert!(error.to_string().contains("constraint failed"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    for number in 1..=100 {
        catalog.publish(seal(number, number.into()..=number.into())).await.expect("the publish is sound");
    }
    catalog.close().await;
    let path = folder.path().join(FILE_NAME);
    let mut bytes = fs::read(&path).expect("the database is there");
    // The header and the first page, the schema, stay whole, so that the file still opens.
    for page in bytes.chunks_mut(4_096).skip(1) {
        page[..64].fill(0xa5);
    }
    fs::write(&path, bytes).expect("the database is written");
    let reopened = SqliteCatalog::open(folder.path()).await.expect("the schema is whole");
    assert!(reopened.load().await.is_err(), "damaged parts are served");
    assert!(!reopened.check_integrity().await.expect("the check runs").is_empty());
}

#[tokio::test]
async fn the_oldest_rejections_beyond_the_bound_go_first() {
    let folder = folder();
    let catalog = open(folder.path()).await;
    execute(
        &catalog,
        "INSERT INTO rejections WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) \
         SELECT 1000 + i / 100, 0, 1, 'reason ' || i, '', 1, '', 0 FROM n",
    )
    .await;
    let rejection = Rejection {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        reason: "one more".into(),
        service: String::new(),
        count: 1,
        example: String::new(),
        time: UnixNanos(3_000 * 60_000_000_000),
    };
    catalog.add_rejections(vec![rejection]).await.expect("the rejection is added");
    let (rows, oldest, newest): (u32, i64, i64) =
        sqlx::query_as("SELECT count(*), sum(minute = 1000), sum(minute = 3000) FROM rejections")
            .fetch_one(&catalog.writer)
            .await
            .expect("SQLite answers");
    assert_eq!((rows, oldest, newest), (REJECTION_ROWS_MAX, 99, 1));
}
