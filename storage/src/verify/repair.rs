//! `verify --repair`: moves what is damaged or belongs to nothing to `quarantine/`, makes derived files anew, takes over what
//! is intact of a damaged WAL. Deletes nothing that is not kept elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trivium_model::{Clock, PartId, SignalKind, UnixNanos};

use super::{Finding, FindingKind, Options, Progress, VerifyReport, verify_with};
use crate::catalog::{Catalog, CatalogState, Publish, SqliteCatalog};
use crate::config::StorageConfig;
use crate::encryption::{Keyring, plain_name};
use crate::error::Error;
use crate::fs::{FileSystem, RealFileSystem, lock_folder};
use crate::part::{NewPart, PageCache, Part, PartRecord};
use crate::quarantine::{move_to_quarantine, withdraw};
use crate::recovery::open_keyring;
use crate::storage::{PayloadDecoder, Storage, StorageDeps, part_folder};

/// What a repair needs besides the folder.
#[derive(Clone, Debug)]
pub struct RepairDeps {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Wire format of the WAL's payloads.
    pub decoder: Arc<dyn PayloadDecoder>,
    /// Chance, for the names of parts: a different number for every repair.
    pub seed: u64,
    /// Parts that nobody names stay where they are when they are younger.
    pub orphan_grace: Duration,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The file or folder that it was done to.
    pub path: PathBuf,
    /// What was done.
    pub done: String,
}

/// What was found, done and left.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// What was found before.
    pub found: VerifyReport,
    /// What was done.
    pub actions: Vec<Action>,
    /// What is still found.
    pub left: VerifyReport,
}

struct Repair {
    folder: PathBuf,
    fs: Arc<dyn FileSystem>,
    catalog: SqliteCatalog,
    state: CatalogState,
    deps: RepairDeps,
    pages: Arc<PageCache>,
    keys: Arc<Keyring>,
    actions: Vec<Action>,
}

/// Checks a data folder and puts right what can be. The folder must not be in use. May be interrupted and started again.
pub async fn repair(
    folder: &Path,
    options: Options,
    deps: RepairDeps,
    progress: Progress,
) -> Result<RepairReport, Error> {
    // A server beside it would take what it does for damage, and the other way around.
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem::new());
    super::is_data_folder(&*fs, folder)?;
    let lock = lock_folder(folder)?;
    let mut found = verify_with(folder, options.clone(), Arc::clone(&progress)).await?;
    if found.findings.is_empty() {
        return Ok(RepairReport { left: found.clone(), found, actions: Vec::new() });
    }
    let catalog = SqliteCatalog::open(folder).await?;
    if found.findings.iter().any(|finding| finding.kind == FindingKind::Catalog) {
        // There may be a new and empty catalog now, to which everything else is to be compared.
        let again = verify_with(folder, options.clone(), Arc::clone(&progress)).await?;
        found.findings.extend(again.findings.into_iter().filter(|finding| finding.kind != FindingKind::Catalog));
        found.findings.dedup();
    }
    let state = catalog.load().await?;
    let (config, pages) = (offline_config(&options), Arc::new(PageCache::new(0)));
    let keys = Arc::new(open_keyring(&config, &catalog).await?);
    let mut repair =
        Repair { folder: folder.into(), fs, catalog, state, deps: deps.clone(), pages, keys, actions: Vec::new() };
    // When the catalog is lost or an older one, parts that it does not name are not what a crash left: none may go.
    if found.findings.iter().any(|finding| matches!(finding.kind, FindingKind::Catalog | FindingKind::Wal)) {
        repair.deps.orphan_grace = Duration::ZERO;
    }
    for finding in &found.findings {
        repair.put_right(finding).await?;
    }
    let mut actions = std::mem::take(&mut repair.actions);
    repair.catalog.close().await;
    drop(repair);
    if found.findings.iter().any(|finding| finding.kind == FindingKind::Wal) {
        actions.push(take_over_wal(folder, config, deps).await?);
    }
    let left = verify_with(folder, options, progress).await?;
    drop(lock);
    Ok(RepairReport { found, actions, left })
}

/// Nothing is dropped for its age meanwhile.
fn offline_config(options: &Options) -> StorageConfig {
    let encryption_key_file = options.encryption_key_file.clone();
    let mut config = StorageConfig { encryption_key_file, ..StorageConfig::default() };
    SignalKind::ALL.into_iter().for_each(|signal| config.set_retention(signal, None));
    config
}

/// What a start does, and then the WAL begins anew.
async fn take_over_wal(folder: &Path, config: StorageConfig, deps: RepairDeps) -> Result<Action, Error> {
    let catalog = Arc::new(SqliteCatalog::open(folder).await?);
    let fs = Arc::new(RealFileSystem::new());
    let deps = StorageDeps { fs, clock: deps.clock, catalog, decoder: deps.decoder, seed: deps.seed };
    let (storage, report) = Storage::open(folder, config, deps).await?;
    storage.flush().await?;
    storage.close().await;
    let done = format!(
        "kept damaged files in quarantine/ and published the {} intact requests with {} rows",
        report.replayed_requests, report.replayed_rows
    );
    Ok(Action { path: folder.join("wal"), done })
}

impl Repair {
    async fn put_right(&mut self, finding: &Finding) -> Result<(), Error> {
        match finding.kind {
            FindingKind::Part(id) => self.withdraw_part(id, &finding.problem).await,
            FindingKind::Indexes(id) => self.make_indexes(id, &finding.problem).await,
            FindingKind::Orphan(signal) => self.move_orphan(signal, &finding.path),
            FindingKind::Stray => {
                let name = format!("stray-{}", name_of(&finding.path));
                self.move_away(&finding.path, &name)
            }
            FindingKind::Unread => {
                let done = "left it: it could not be read this time. Check the disk and repair again".into();
                self.actions.push(Action { path: finding.path.clone(), done });
                Ok(())
            }
            FindingKind::Catalog | FindingKind::Newer | FindingKind::Wal | FindingKind::Duplicate => Ok(()),
        }
    }

    fn record(&self, id: PartId) -> Option<PartRecord> {
        self.state.parts.iter().find(|record| record.id == id).cloned()
    }

    async fn withdraw_part(&mut self, id: PartId, problem: &str) -> Result<(), Error> {
        let Some(record) = self.record(id) else { return Ok(()) };
        let path = part_folder(&self.folder, &record);
        let now = self.deps.clock.now();
        let target = withdraw(&*self.fs, &self.catalog, &self.folder, &record, problem.into(), now).await?;
        let rows = record.rows;
        let done = match target {
            Some(target) => format!("withdrew its {rows} rows and moved it to {}", target.display()),
            None => format!("withdrew its {rows} rows; its files are missing"),
        };
        self.actions.push(Action { path, done });
        Ok(())
    }

    async fn make_indexes(&mut self, id: PartId, problem: &str) -> Result<(), Error> {
        let Some(record) = self.record(id) else { return Ok(()) };
        let made = {
            let (fs, folder, keys) = (Arc::clone(&self.fs), self.folder.clone(), Arc::clone(&self.keys));
            let (id, now) = (self.new_id(id), self.deps.clock.now());
            keys.ensure(record.tenant, &self.catalog, now).await?;
            let part = Part::open_with(record.clone(), part_folder(&folder, &record), &self.pages, &keys);
            crate::seal::blocking(move || write_reindexed(&*fs, &folder, &part, id, now, &keys)).await
        };
        let new = match made {
            Ok(new) => new,
            // A full disk says nothing against the rows.
            Err(error) if error.is_passing() => {
                let done = format!("left it as it is: its indexes cannot be made anew now, {error}");
                self.actions.push(Action { path: part_folder(&self.folder, &record), done });
                return Ok(());
            }
            // Intact bytes that cannot be decoded: nothing can be derived from them.
            Err(error) => return self.withdraw_part(id, &format!("{problem}; {error}")).await,
        };
        let publish = Publish {
            token: new.id.0,
            signal: new.signal,
            add: vec![new.clone()],
            remove: vec![id],
            dropped_rows: 0,
            wal_position: None,
            request_keys: Vec::new(),
            at: self.deps.clock.now(),
        };
        self.catalog.publish(publish).await?;
        let path = part_folder(&self.folder, &record);
        // The columns are in the new part, byte by byte; what was damaged is kept.
        self.keep_indexes(&path, id)?;
        self.fs.remove_dir_all(&path)?;
        self.catalog.purge_tombstones(vec![id]).await?;
        let done = format!("made its indexes anew; its {} rows are part {} now", record.rows, new.id);
        self.actions.push(Action { path, done });
        Ok(())
    }

    fn keep_indexes(&self, path: &Path, id: PartId) -> Result<(), Error> {
        for file in self.fs.list(path)? {
            if plain_name(&name_of(&file)).ends_with(".idx") {
                let name = format!("index-{id}-{}", name_of(&file));
                move_to_quarantine(&*self.fs, &self.folder, &file, &name)?;
            }
        }
        Ok(())
    }

    /// Names sort by creation, and the rest of the old name makes the new one differ from all others.
    fn new_id(&self, old: PartId) -> PartId {
        let millis = u64::try_from(self.deps.clock.now().0 / 1_000_000).unwrap_or(0);
        let mut id = old.0;
        id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        for (byte, seed) in id[6..14].iter_mut().zip(self.deps.seed.to_be_bytes()) {
            *byte ^= seed;
        }
        PartId(id)
    }

    fn move_orphan(&mut self, signal: SignalKind, path: &Path) -> Result<(), Error> {
        let name = name_of(path);
        let oldest_kept = self.deps.clock.now().before(self.deps.orphan_grace);
        let created = name.parse::<PartId>().ok().map(created_at);
        if created.is_some_and(|created| created > oldest_kept) {
            let done = "left it: it is younger than the time of grace".into();
            self.actions.push(Action { path: path.into(), done });
            return Ok(());
        }
        self.move_away(path, &format!("orphan-{signal}-{name}"))
    }

    fn move_away(&mut self, path: &Path, name: &str) -> Result<(), Error> {
        let target = move_to_quarantine(&*self.fs, &self.folder, path, name)?;
        self.actions.push(Action { path: path.into(), done: format!("moved it to {}", target.display()) });
        Ok(())
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// When a part got its name.
fn created_at(id: PartId) -> UnixNanos {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&id.0[..6]);
    UnixNanos(i64::try_from(u64::from_be_bytes(millis)).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

/// Writes the rows of a part whose columns are intact as another part, with indexes made anew. Does not publish it.
pub(crate) fn write_reindexed(
    fs: &dyn FileSystem,
    folder: &Path,
    part: &Part,
    id: PartId,
    now: UnixNanos,
    keys: &Keyring,
) -> Result<PartRecord, Error> {
    let record = part.record();
    let new = NewPart { id, tenant: record.tenant, signal: record.signal, level: record.level, created_at: now };
    let encoded = keys.encrypted(part.with_new_indexes(new)?)?;
    crate::seal::write_files(fs, &part_folder(folder, &encoded.record), &encoded.files)?;
    Ok(encoded.record)
}
