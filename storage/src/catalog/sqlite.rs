//! The catalog of a single process: one SQLite file, `catalog.sqlite`. See `FORMAT.md` beside this file.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection, SqliteExecutor, SqlitePool};
use trivium_model::{
    HistoryEvent, Lease, PartId, SignalKind, StateChange, StateFuture, StateRecord, StateStore, TenantId, TimeRange,
    UnixNanos, WalPosition,
};

use super::record::{StoredPart, StoredPosition, StoredPublish, decode_keys};
use super::sums::SUMS_VERSION;
use super::{
    Catalog, CatalogState, Publish, QuarantinedPart, Tombstone, invariant, rejected, state, sums, tenant_keys,
};
use crate::encryption::TenantKey;
use crate::error::Error;
use crate::part::PartRecord;
use crate::storage::Rejection;

/// The file inside the data folder.
pub(crate) const FILE_NAME: &str = "catalog.sqlite";

/// The migrations in order; number `i` leads to schema version `i + 1`. A published one never changes.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_state.sql"),
    include_str!("migrations/0003_tenant_keys.sql"),
    include_str!("migrations/0004_sums.sql"),
];

/// The version from which on there are keys of tenants.
const TENANT_KEYS_VERSION: u32 = 3;

/// The first SQLite without the WAL-reset bug, by which a committed transaction could be lost at a checkpoint.
const SQLITE_VERSION_MIN: [u32; 3] = [3, 51, 3];

/// How long a statement waits for another process (a backup, a person with `sqlite3`) to leave the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections for reading, opened when needed.
const READERS_MAX: u32 = 2;

/// The catalog in a SQLite file. Cloning shares it.
///
/// One connection writes; WAL journal with `synchronous=FULL`, so every commit is fsynced before it is answered.
#[derive(Clone, Debug)]
pub struct SqliteCatalog {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteCatalog {
    /// Opens or creates the catalog in `folder`, which exists, and brings it to the newest schema version.
    /// [`Error::UnknownFormat`] when a newer Trivium wrote it.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE_NAME);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // macOS answers fsync from its disk's cache unless told otherwise.
            .pragma("fullfsync", "1")
            .pragma("checkpoint_fullfsync", "1")
            .busy_timeout(BUSY_TIMEOUT);
        let writer = connections(1)
            .min_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(failed("open the SQLite file"))?;
        check_sqlite_version(&writer).await?;
        migrate(&writer, &path).await?;
        // SQLite fsyncs the folder for its journals, not for the database file itself.
        let opened = std::fs::File::open(folder).map_err(Error::io("open", folder))?;
        opened.sync_all().map_err(Error::io("fsync", folder))?;
        let readers = connections(READERS_MAX).connect_lazy_with(options.create_if_missing(false).read_only(true));
        Ok(Self { path, writer, readers })
    }

    /// Opens the catalog of a data folder for reading only: nothing is created, migrated or changed. The server may be
    /// running. [`Error::UnknownFormat`] when a newer Trivium wrote it.
    pub async fn open_read_only(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE_NAME);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT);
        let readers =
            connections(READERS_MAX).connect_with(options).await.map_err(failed("open the SQLite file for reading"))?;
        check_sqlite_version(&readers).await?;
        read_version(&readers, &path).await?;
        Ok(Self { path, writer: readers.clone(), readers })
    }

    /// Writes all that is committed at one moment into a new file. Others may write meanwhile. The file is not synced.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let target = path.to_str().ok_or_else(|| Error::Io {
            action: "write a copy of the catalog to",
            path: path.into(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidFilename, "the path is not UTF-8"),
        })?;
        sqlx::query("VACUUM INTO ?").bind(target.to_owned()).execute(&self.readers).await.map_err(failed("copy it"))?;
        Ok(())
    }

    /// Waits for running statements and closes the file, which moves SQLite's journal into it. Not needed for safety.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn publish_once(&self, publish: Publish) -> Result<(), Error> {
        invariant::publish_is_sound(&publish)?;
        // IMMEDIATE: a transaction that begins by reading could not be upgraded while another process writes.
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(failed("begin a publish"))?;
        if is_published(&mut transaction, publish.token).await? {
            return Ok(());
        }
        let removed_rows = remove_parts(&mut transaction, &publish, &self.path).await?;
        invariant::rows_survive(&publish, removed_rows)?;
        if let Some(position) = publish.wal_position {
            advance_position(&mut transaction, &publish, position, &self.path).await?;
        }
        for part in &publish.add {
            StoredPart::encode(part)?.insert(&mut transaction).await?;
        }
        StoredPublish::encode(&publish).insert(&mut transaction).await?;
        transaction.commit().await.map_err(failed("commit a publish"))
    }

    async fn load_state(&self) -> Result<CatalogState, Error> {
        // One read transaction: parts and positions must be of the same moment, or rows would be replayed twice.
        let mut transaction = self.readers.begin().await.map_err(failed("begin to load the state"))?;
        let has_sums = read_version(&mut *transaction, &self.path).await? >= SUMS_VERSION;
        let mut state = CatalogState::default();
        for stored in StoredPart::select_all(&mut transaction).await? {
            if has_sums {
                stored.check(&self.path)?;
            }
            let part = stored.decode(&self.path)?;
            match (stored.removed_at, stored.quarantined) {
                (Some(removed_at), _) => state.tombstones.push(Tombstone { part, removed_at }),
                (None, Some((at, reason))) => state.quarantined.push(QuarantinedPart { part, reason, at }),
                (None, None) => state.parts.push(part),
            }
        }
        for stored in StoredPosition::select_all(&mut transaction).await? {
            if has_sums {
                stored.check(&self.path)?;
            }
            let (tag, position) = stored.decode();
            let signal = invariant::signal(tag).ok_or_else(|| self.corrupted("the tag of a signal", tag))?;
            state.wal_positions[signal.index()] = position;
        }
        for stored in StoredPublish::select_all(&mut transaction).await? {
            if has_sums {
                stored.check(&self.path)?;
            }
            let keys = decode_keys(&stored.request_keys);
            let bytes = stored.request_keys.len();
            state.request_keys.extend(keys.ok_or_else(|| self.corrupted("request keys of 24 bytes each", bytes))?);
        }
        Ok(state)
    }

    async fn purge(&self, parts: Vec<PartId>) -> Result<(), Error> {
        let action = "forget deleted parts";
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
        for part in parts {
            sqlx::query("DELETE FROM parts WHERE id = ? AND removed_at IS NOT NULL")
                .bind(part.0.as_slice())
                .execute(&mut *transaction)
                .await
                .map_err(failed(action))?;
        }
        transaction.commit().await.map_err(failed(action))
    }

    async fn forget_publishes(&self, received_before: UnixNanos) -> Result<(), Error> {
        sqlx::query("DELETE FROM publishes WHERE last_received < ?")
            .bind(received_before.0)
            .execute(&self.writer)
            .await
            .map_err(failed("forget old requests"))?;
        Ok(())
    }

    async fn quarantine(&self, part: PartId, reason: String, at: UnixNanos) -> Result<(), Error> {
        let action = "quarantine a part";
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
        let mut stored = StoredPart::select(&mut transaction, part).await?.ok_or(Error::Conflict { part })?;
        stored.check(&self.path)?;
        if stored.removed_at.is_some() {
            return Err(Error::Conflict { part });
        }
        // A part that is in quarantine keeps its first reason and time.
        stored.quarantined.get_or_insert((at, reason));
        stored.update(&mut transaction).await?;
        transaction.commit().await.map_err(failed(action))
    }

    async fn return_once(&self, old: PartId, part: PartRecord, wal_begins_after: WalPosition) -> Result<(), Error> {
        invariant::part_is_sound(&part)?;
        let action = "return a part from quarantine";
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
        sqlx::query("DELETE FROM parts WHERE id = ? AND quarantined_at IS NOT NULL")
            .bind(old.0.as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(failed(action))?;
        let known: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM parts WHERE id = ?")
            .bind(old.0.as_slice())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed(action))?;
        if known.is_some() {
            return Err(Error::Conflict { part: old });
        }
        let position = position_of(&mut transaction, part.signal, &self.path).await?;
        invariant::is_published_up_to(&part, position.max(wal_begins_after))?;
        if part.last_position > position {
            // The catalog that knew it was lost; what the WAL does not hold any more is in parts like this one.
            StoredPosition::encode(part.signal, part.last_position).write(&mut transaction).await?;
        }
        StoredPart::encode(&part)?.insert(&mut transaction).await?;
        transaction.commit().await.map_err(failed(action))
    }

    /// A catalog of an earlier version, opened for reading only, has no such table.
    async fn load_tenant_keys(&self) -> Result<Vec<TenantKey>, Error> {
        if read_version(&self.readers, &self.path).await? < TENANT_KEYS_VERSION {
            return Ok(Vec::new());
        }
        tenant_keys::select(&self.readers, &self.path).await
    }

    /// Never an error: a file so damaged that the check itself fails is a finding.
    async fn integrity_findings(&self) -> Vec<String> {
        let checked: Result<Vec<(String,)>, Error> = sqlx::query_as("PRAGMA integrity_check")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("check the SQLite file"));
        let mut findings = match checked {
            Ok(lines) => lines.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect(),
            Err(error) => vec![error.to_string()],
        };
        match self.load_state().await {
            Ok(state) => findings.extend(invariant::findings(&state)),
            Err(error) => findings.push(error.to_string()),
        }
        findings.iter().map(|finding| format!("{}: {finding}", self.path.display())).collect()
    }

    fn corrupted(&self, expected: &str, found: impl ToString) -> Error {
        Error::Corrupted { path: self.path.clone(), offset: 0, expected: expected.into(), found: found.to_string() }
    }
}

impl Catalog for SqliteCatalog {
    fn publish(&self, publish: Publish) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.publish_once(publish))
    }

    fn load(&self) -> BoxFuture<'_, Result<CatalogState, Error>> {
        Box::pin(self.load_state())
    }

    fn purge_tombstones(&self, parts: Vec<PartId>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.purge(parts))
    }

    fn forget_request_keys_before(&self, received_at: UnixNanos) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.forget_publishes(received_at))
    }

    fn quarantine_part(&self, part: PartId, reason: String, at: UnixNanos) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.quarantine(part, reason, at))
    }

    fn quarantined_parts(&self) -> BoxFuture<'_, Result<Vec<QuarantinedPart>, Error>> {
        Box::pin(async { Ok(self.load_state().await?.quarantined) })
    }

    fn return_part(
        &self,
        old: PartId,
        part: PartRecord,
        wal_begins_after: WalPosition,
    ) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.return_once(old, part, wal_begins_after))
    }

    fn add_rejections(&self, rejections: Vec<Rejection>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(rejected::add(&self.writer, rejections))
    }

    fn rejections(&self, tenant: TenantId, limit: u32) -> BoxFuture<'_, Result<Vec<Rejection>, Error>> {
        Box::pin(rejected::select(&self.readers, &self.path, tenant, limit))
    }

    fn tenant_keys(&self) -> BoxFuture<'_, Result<Vec<TenantKey>, Error>> {
        Box::pin(self.load_tenant_keys())
    }

    fn add_tenant_key(&self, key: TenantKey) -> BoxFuture<'_, Result<TenantKey, Error>> {
        Box::pin(tenant_keys::add(&self.writer, &self.path, key))
    }

    fn rewrap_tenant_keys(&self, keys: Vec<TenantKey>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(tenant_keys::rewrap(&self.writer, keys))
    }

    fn shred_tenant_keys(&self, tenant: TenantId, at: UnixNanos) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(tenant_keys::shred(&self.writer, tenant, at))
    }

    fn check_integrity(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(async { Ok(self.integrity_findings().await) })
    }
}

impl StateStore for SqliteCatalog {
    fn list(&self, tenant: TenantId, kind: &str, prefix: &str) -> StateFuture<'_, Vec<StateRecord>> {
        Box::pin(state::list(&self.readers, tenant, kind.into(), prefix.into()))
    }

    fn apply(&self, tenant: TenantId, lease: Option<Lease>, changes: Vec<StateChange>) -> StateFuture<'_, ()> {
        Box::pin(state::apply(&self.writer, tenant, lease, changes))
    }

    fn history(
        &self,
        tenant: TenantId,
        kind: &str,
        range: TimeRange,
        limit: u32,
    ) -> StateFuture<'_, Vec<HistoryEvent>> {
        Box::pin(state::history(&self.readers, tenant, kind.into(), range, limit))
    }

    fn lease(&self, name: &str, holder: &str, now: UnixNanos, ttl: Duration) -> StateFuture<'_, Option<Lease>> {
        Box::pin(state::lease(&self.writer, name.into(), holder.into(), now, ttl))
    }
}

/// An error of the database, with what was attempted.
pub(super) fn failed(action: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Catalog { action, source }
}

/// Connections that stay open: reopening one costs more than it holds.
fn connections(max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(max)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_usable(connection)))
}

/// Whether a connection can begin a transaction. When the disk is full, SQLite takes a transaction back by itself; sqlx then
/// fails to take it back once more, believes to be in it for ever, and refuses to begin another.
async fn is_usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Behind what is still to be taken back.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

async fn check_sqlite_version(writer: &SqlitePool) -> Result<(), Error> {
    let (found,): (String,) = sqlx::query_as("SELECT sqlite_version()")
        .fetch_one(writer)
        .await
        .map_err(failed("ask for the version of SQLite"))?;
    if sqlite_is_safe(&found) {
        return Ok(());
    }
    let [major, minor, patch] = SQLITE_VERSION_MIN;
    let reason = format!(
        "this build is linked with SQLite {found}, which can lose committed transactions; \
         build it with SQLite {major}.{minor}.{patch} or newer"
    );
    Err(Error::Unavailable { reason })
}

fn sqlite_is_safe(version: &str) -> bool {
    let numbers: Vec<u32> = version.split('.').map_while(|number| u32::from_str(number).ok()).collect();
    numbers.as_slice() >= SQLITE_VERSION_MIN.as_slice()
}

fn supported_version() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("there are few migrations")
}

/// The version of the schema in the file, unless this build does not know it.
async fn read_version<'e>(connection: impl SqliteExecutor<'e>, path: &Path) -> Result<u32, Error> {
    let (found,): (i64,) =
        sqlx::query_as("PRAGMA user_version").fetch_one(connection).await.map_err(failed("read the schema version"))?;
    let (found, supported) = (u32::try_from(found).unwrap_or(u32::MAX), supported_version());
    if found > supported {
        return Err(Error::UnknownFormat { path: path.into(), found, supported });
    }
    Ok(found)
}

/// Runs the migrations that the file has not seen, each in its own transaction together with the new version number.
async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), Error> {
    let found = read_version(writer, path).await?;
    for (version, migration) in (1..=supported_version()).zip(MIGRATIONS).skip(found as usize) {
        let action = "migrate the schema";
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(action))?;
        sqlx::raw_sql(migration).execute(&mut *transaction).await.map_err(failed(action))?;
        if version == SUMS_VERSION {
            sums::fill(&mut transaction).await?;
        }
        // PRAGMA takes no bound parameters; the version is a number of ours.
        let set_version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        sqlx::raw_sql(set_version).execute(&mut *transaction).await.map_err(failed(action))?;
        transaction.commit().await.map_err(failed(action))?;
    }
    Ok(())
}

async fn is_published(transaction: &mut SqliteConnection, token: [u8; 16]) -> Result<bool, Error> {
    let known = sqlx::query("SELECT 1 FROM publishes WHERE token = ?")
        .bind(token.as_slice())
        .fetch_optional(transaction)
        .await
        .map_err(failed("look up a publish token"))?;
    Ok(known.is_some())
}

/// Turns the removed parts into tombstones; answers how many rows they hold.
async fn remove_parts(transaction: &mut SqliteConnection, publish: &Publish, path: &Path) -> Result<u64, Error> {
    let mut rows = 0_u64;
    for &part in &publish.remove {
        let mut stored = StoredPart::select(&mut *transaction, part).await?.ok_or(Error::Conflict { part })?;
        stored.check(path)?;
        if !stored.is_published() || !stored.is_of(publish.signal) {
            return Err(Error::Conflict { part });
        }
        rows += stored.rows();
        stored.removed_at = Some(publish.at);
        stored.update(&mut *transaction).await?;
    }
    Ok(rows)
}

async fn advance_position(
    transaction: &mut SqliteConnection,
    publish: &Publish,
    position: WalPosition,
    path: &Path,
) -> Result<(), Error> {
    let before = position_of(&mut *transaction, publish.signal, path).await?;
    invariant::position_grows(publish, before, position)?;
    StoredPosition::encode(publish.signal, position).write(transaction).await
}

async fn position_of(
    transaction: &mut SqliteConnection,
    signal: SignalKind,
    path: &Path,
) -> Result<WalPosition, Error> {
    let Some(stored) = StoredPosition::select(transaction, signal).await? else { return Ok(WalPosition::ZERO) };
    stored.check(path)?;
    Ok(stored.decode().1)
}

#[cfg(test)]
mod tests;
