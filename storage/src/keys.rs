//! What operators do with keys: see which there are, wrap them with another master key, shred those of a tenant.

use std::path::Path;
use std::sync::Arc;

use trivium_model::{PartId, SignalKind, TenantId};

use crate::catalog::{Catalog, FILE_NAME, SqliteCatalog};
use crate::config::StorageConfig;
use crate::encryption::{MasterKeys, TenantKey, wrapped_anew};
use crate::error::Error;
use crate::folder::check_folder;
use crate::fs::{FileSystem, RealFileSystem, lock_folder};
use crate::part::PartRecord;
use crate::quarantine::QuarantineKind;
use crate::storage::{Inner, Storage, StorageDeps};
use crate::verify::RepairDeps;

/// What wrapping the keys anew did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateReport {
    /// The master key that all live keys are wrapped with now.
    pub master: String,
    /// Live keys.
    pub keys: usize,
    /// Those that were wrapped with another master key before.
    pub changed: usize,
}

/// What shredding did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShredReport {
    /// Keys that are gone; 0 when they were shredded before.
    pub keys: u64,
    /// Parts that were dropped.
    pub parts: usize,
    /// Their rows.
    pub rows: u64,
    /// Pieces in quarantine that were removed.
    pub pieces: usize,
    /// What may still hold telemetry of the tenant, and what to do about it.
    pub left: Vec<String>,
}

/// The keys of a data folder, wrapped. The server may be running.
pub async fn list(folder: &Path) -> Result<Vec<TenantKey>, Error> {
    check_is_data_folder(folder)?;
    let catalog = SqliteCatalog::open_read_only(folder).await?;
    let keys = catalog.tenant_keys().await;
    catalog.close().await;
    keys
}

/// Wraps all keys with the first master key of a file, so that the others may leave the file. The server may be running, with
/// the same file. No telemetry is written anew.
pub async fn rotate(folder: &Path, encryption_key_file: &Path) -> Result<RotateReport, Error> {
    check_is_data_folder(folder)?;
    let master = MasterKeys::read(encryption_key_file)?;
    let catalog = SqliteCatalog::open(folder).await?;
    let stored = catalog.tenant_keys().await?;
    let changed = wrapped_anew(&stored, &master)?;
    let report = RotateReport {
        master: master.ids().first().map(|id| (*id).to_owned()).unwrap_or_default(),
        keys: stored.iter().filter(|key| key.shredded_at.is_none()).count(),
        changed: changed.len(),
    };
    // Also when nothing is to be changed: the last attempt may not have been able to erase what was.
    let rewrapped = catalog.rewrap_tenant_keys(changed).await;
    catalog.close().await;
    rewrapped.map(|()| report)
}

/// Shreds the keys of a tenant in a folder that no server uses; see [`Storage::shred_tenant`].
pub async fn shred(
    folder: &Path,
    tenant: TenantId,
    encryption_key_file: &Path,
    deps: RepairDeps,
) -> Result<ShredReport, Error> {
    check_is_data_folder(folder)?;
    let _lock = lock_folder(folder)?;
    let catalog = Arc::new(SqliteCatalog::open(folder).await?);
    let fs = Arc::new(RealFileSystem::new());
    let deps = StorageDeps { fs, clock: deps.clock, catalog, decoder: deps.decoder, seed: deps.seed };
    let mut config =
        StorageConfig { encryption_key_file: Some(encryption_key_file.into()), ..StorageConfig::default() };
    SignalKind::ALL.into_iter().for_each(|signal| config.set_retention(signal, None));
    let (storage, _) = Storage::open(folder, config, deps).await?;
    let report = storage.shred_tenant(tenant).await;
    storage.close().await;
    report
}

fn check_is_data_folder(folder: &Path) -> Result<(), Error> {
    let fs = RealFileSystem::new();
    check_folder(&fs, folder)?;
    let path = folder.join(FILE_NAME);
    if fs.exists(&path)? {
        return Ok(());
    }
    Err(Error::Io { action: "find", path, source: std::io::Error::from(std::io::ErrorKind::NotFound) })
}

impl Storage {
    /// Makes everything of a tenant unreadable: its keys are erased from the disk, its parts and what is in quarantine of it are
    /// dropped, the others are served meanwhile. Requests of all tenants wait until it is done. When a client of the tenant sends
    /// again, it gets a new key. After an error it is to be done again.
    pub async fn shred_tenant(&self, tenant: TenantId) -> Result<ShredReport, Error> {
        let inner = &self.inner;
        let known = inner.catalog.tenant_keys().await?;
        if !known.iter().any(|key| key.tenant == tenant) {
            let problem =
                format!("tenant {tenant} has no key: nothing of it is encrypted, and so nothing of it can be shredded");
            return Err(Error::Encrypted { problem });
        }
        let _nobody_writes = inner.shredding.write().await;
        // Empties the WAL, where requests may be that came before anything was encrypted.
        self.flush().await?;
        let _nothing_is_sealed = inner.sealing.lock().await;
        let _nothing_is_merged = inner.compacting.lock().await;
        inner.write_rejections().await?;
        let keys = inner.catalog.shred_tenant_keys(tenant, inner.clock.now()).await?;
        inner.keys.forget(tenant);
        let mut report = ShredReport { keys, ..ShredReport::default() };
        inner.drop_parts_of(tenant, &mut report).await?;
        inner.drop_pieces_of(tenant, &mut report).await?;
        tracing::warn!(%tenant, keys, parts = report.parts, rows = report.rows, "shredded the keys of a tenant");
        Ok(report)
    }
}

impl Inner {
    async fn drop_parts_of(self: &Arc<Self>, tenant: TenantId, report: &mut ShredReport) -> Result<(), Error> {
        let mut plain = 0;
        for signal in SignalKind::ALL {
            let records: Vec<PartRecord> =
                self.table(signal).parts(tenant).iter().map(|part| part.record().clone()).collect();
            if records.is_empty() {
                continue;
            }
            let rows: u64 = records.iter().map(|record| u64::from(record.rows)).sum();
            let ids: Vec<PartId> = records.iter().map(|record| record.id).collect();
            report.parts += ids.len();
            report.rows += rows;
            plain += records.iter().filter(|record| !record.is_encrypted()).count();
            self.replace(signal, Vec::new(), ids, rows).await?;
        }
        if plain > 0 {
            report.left.push(format!(
                "{plain} parts were written before telemetry was encrypted: their files are deleted, their bytes stay on the disk \
                 until they are overwritten"
            ));
        }
        self.remove_unread().await
    }

    /// Pieces in quarantine that are known to be the tenant's go; others may hold anybody's telemetry and are named.
    async fn drop_pieces_of(self: &Arc<Self>, tenant: TenantId, report: &mut ShredReport) -> Result<(), Error> {
        let withdrawn = self.catalog.quarantined_parts().await?;
        let inner = Arc::clone(self);
        let (removed, left) = crate::seal::blocking(move || {
            let (mut removed, mut left) = (0, Vec::new());
            for item in crate::quarantine::list_with(&*inner.fs, &inner.folder, &withdrawn)? {
                let path = inner.folder.join(crate::quarantine::FOLDER).join(&item.name);
                match item.tenant {
                    Some(owner) if owner != tenant => {}
                    _ if !inner.fs.exists(&path)? => {}
                    Some(_) => {
                        let is_file = item.kind == QuarantineKind::Request;
                        if is_file { inner.fs.remove_file(&path)? } else { inner.fs.remove_dir_all(&path)? }
                        removed += 1;
                    }
                    None => left.push(format!(
                        "quarantine/{} may hold telemetry of the tenant that came before telemetry was encrypted; remove it when it \
                         is no longer needed",
                        item.name
                    )),
                }
            }
            Ok((removed, left))
        })
        .await?;
        report.pieces = removed;
        report.left.extend(left);
        Ok(())
    }
}
