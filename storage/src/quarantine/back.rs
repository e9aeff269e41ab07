//! The way back: rows of a part or of a request in quarantine become queryable again, exactly once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use trivium_model::{PartId, RequestKey, SignalKind, TenantId, UnixNanos, WalPosition};

use super::{FOLDER, Named, RequestName, name_of, unknown};
use crate::encryption::{Keyring, is_encrypted, key_of_file};
use crate::error::Error;
use crate::fs::FileSystem;
use crate::part::{NewPart, PageCache, Part, PartFile, PartRecord, encode_part};
use crate::rows::RowRanges;
use crate::schema::WAL_POSITION;
use crate::storage::{AppendRequest, Appended, Inner, Storage};
use crate::verify::refuse_shared_rows;

/// Rows that are decoded at once when some of them may be damaged: those around a damaged one are lost with it.
const SALVAGE_ROWS: u32 = 1024;

/// How a piece is brought back.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReturnOptions {
    /// Also bring back a part of which something is damaged: every row that can still be decoded. Values may be wrong.
    pub salvage: bool,
    /// Whose rows they are, for pieces of which nothing else says it.
    pub tenant: Option<TenantId>,
}

/// What became of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Its rows are published.
    Part {
        /// Under this name.
        id: PartId,
        /// How many.
        rows: u32,
        /// Rows that could not be decoded; their files stay in quarantine.
        lost: u32,
    },
    /// The request was stored.
    Request(Appended),
}

impl Storage {
    /// Brings the rows of a piece in quarantine back. When it returns, they are published or durable; the piece is gone from
    /// quarantine unless some of it could not be read. Refused when rows of it are published already.
    pub async fn return_quarantined(&self, name: &str, options: ReturnOptions) -> Result<Returned, Error> {
        let inner = &self.inner;
        // Only names that are there: nothing leads out of the folder.
        let path = inner.folder.join(FOLDER);
        let exists = inner.fs.exists(&path)? && inner.fs.list(&path)?.iter().any(|path| name_of(path) == name);
        if !exists {
            return Err(unknown(&inner.folder, name));
        }
        let path = path.join(name);
        match Named::parse(name) {
            Named::Part(signal, id) | Named::Orphan(signal, id) => {
                let inner = Arc::clone(inner);
                // To its end when nobody waits any more: what is published must be served, and be gone from here.
                let returned = tokio::spawn(async move { inner.return_part(path, signal, id, options).await });
                returned.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
            }
            Named::Request(request, _) => self.return_request(&path, request).await,
            Named::Index | Named::Wal | Named::Other => Err(Error::Unavailable {
                reason: format!("{name} is kept for inspection only: what is intact of it is served already"),
            }),
        }
    }

    async fn return_request(&self, path: &Path, request: RequestName) -> Result<Returned, Error> {
        let inner = &self.inner;
        let payload = inner.fs.read(path)?;
        let payload = match request.is_encrypted {
            true => inner.keys.decrypt_request(request.identity(), &payload)?,
            false => payload,
        };
        let RequestName { signal, tenant, format, received_at, oldest_admitted, .. } = request;
        let batch = inner
            .decoder
            .decode(signal, format, &payload, received_at, oldest_admitted)
            .map_err(|reason| Error::Unavailable { reason: format!("this build cannot decode it either: {reason}") })?;
        let Some(batch) = batch else {
            inner.fs.remove_file(path)?;
            return Ok(Returned::Request(Appended::Duplicate));
        };
        // The name tells it from the same payload sent again, and makes a second return of it the same request.
        let key = xxhash_rust::xxh3::xxh3_128(&[name_of(path).as_bytes(), &payload].concat());
        let key = RequestKey(key.to_be_bytes());
        let request = AppendRequest { tenant, signal, format, key, received_at, oldest_admitted, payload, batch };
        let appended = self.append(request).await?;
        inner.fs.remove_file(path)?;
        Ok(Returned::Request(appended))
    }
}

impl Inner {
    async fn return_part(
        self: &Arc<Self>,
        path: PathBuf,
        signal: SignalKind,
        id: PartId,
        options: ReturnOptions,
    ) -> Result<Returned, Error> {
        // No merge may replace a part while it is compared.
        let _one_at_a_time = self.compacting.lock().await;
        let withdrawn = self.catalog.quarantined_parts().await?;
        let record = withdrawn.into_iter().map(|part| part.part).find(|part| part.id == id);
        let old = match record {
            Some(record) => record,
            None => {
                let (inner, folder) = (Arc::clone(self), path.clone());
                let describe = move || describe_part(&*inner.fs, &folder, (signal, id), options.tenant, &inner.keys);
                crate::seal::blocking(describe).await?
            }
        };
        self.ensure_key(old.tenant).await?;
        let (inner, folder, old_rows) = (Arc::clone(self), path.clone(), old.rows);
        let record = crate::seal::blocking(move || inner.write_returned(&folder, old, options)).await?;
        self.catalog.return_part(id, record.clone(), self.wal.begins_after()).await?;
        let parts = self.open_parts(std::slice::from_ref(&record));
        {
            let mut table = self.table_mut(signal);
            parts.into_iter().for_each(|part| table.add(part));
        }
        let lost = old_rows.saturating_sub(record.rows);
        if lost == 0 {
            self.fs.remove_dir_all(&path)?;
        } else {
            let name = format!("salvaged-{}", name_of(&path));
            super::move_to_quarantine(&*self.fs, &self.folder, &path, &name)?;
        }
        tracing::info!(part = %id, new = %record.id, rows = record.rows, lost, "brought a part back from quarantine");
        Ok(Returned::Part { id: record.id, rows: record.rows, lost })
    }

    /// Writes the rows of a part in quarantine as a new part.
    fn write_returned(&self, path: &Path, record: PartRecord, options: ReturnOptions) -> Result<PartRecord, Error> {
        let signal = record.signal;
        let part = Part::open_damaged(record.clone(), path.to_path_buf(), &Arc::new(PageCache::new(0)), &self.keys);
        let published = self.table(signal).parts(record.tenant).to_vec();
        let new = NewPart {
            id: self.new_part_id(),
            tenant: record.tenant,
            signal,
            level: record.level,
            created_at: self.clock.now(),
        };
        let is_intact = part.verify_columns();
        if let (Err(error), false) = (&is_intact, options.salvage) {
            let reason = format!("{error}; --salvage brings back the rows that can still be decoded");
            return Err(Error::Unavailable { reason });
        }
        let readable = readable_rows(&part)?.batches;
        refuse_shared_rows(&record, &readable, &published)?;
        let encoded = match is_intact {
            Ok(()) => part.with_new_indexes(new)?,
            Err(_) => encode_part(new, &readable)?,
        };
        let encoded = self.keys.encrypted(encoded)?;
        crate::seal::write_files(&*self.fs, &self.part_folder(&encoded.record), &encoded.files)?;
        Ok(encoded.record)
    }
}

/// What can be decoded of a part.
pub(super) struct Readable {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) rows: u64,
}

/// The rows of a part that can be decoded, a few at a time. An error when none can.
pub(super) fn readable_rows(part: &Part) -> Result<Readable, Error> {
    let (rows, mut found) = (part.record().rows, Readable { batches: Vec::new(), rows: 0 });
    let mut problem = None;
    let mut start = 0;
    while start < rows {
        let end = start.saturating_add(SALVAGE_ROWS).min(rows);
        match part.read(None, Some(&RowRanges::from_sorted([start..end]))) {
            Ok(batches) => {
                found.rows += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
                found.batches.extend(batches);
            }
            Err(error) => problem = Some(error),
        }
        start = end;
    }
    match problem {
        Some(error) if found.rows == 0 => Err(error),
        _ => Ok(found),
    }
}

/// The last position in the WAL of the rows of a part that the catalog does not know.
pub(crate) fn last_position(
    fs: &dyn FileSystem,
    path: &Path,
    signal: SignalKind,
    keys: &Arc<Keyring>,
) -> Result<WalPosition, Error> {
    let id = name_of(path).parse().map_err(|_| unknown(path, "of this name"))?;
    let describe = |tenant| describe_part(fs, path, (signal, id), tenant, keys);
    // Files that are not encrypted do not say whose they are, which does not matter here.
    let record = describe(None).or_else(|_| describe(Some(TenantId::DEFAULT)))?;
    let part = Part::open_damaged(record, path.to_path_buf(), &Arc::new(PageCache::new(0)), keys);
    let batches = part.read(Some(&[WAL_POSITION]), None)?;
    let positions = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<UInt64Type>().values());
    Ok(WalPosition(positions.copied().max().unwrap_or_default()))
}

/// The record of a part that the catalog does not know, from its files. Files that are encrypted say whose rows they are; of
/// others `tenant` has to.
pub(super) fn describe_part(
    fs: &dyn FileSystem,
    path: &Path,
    (signal, id): (SignalKind, PartId),
    tenant: Option<TenantId>,
    keys: &Arc<Keyring>,
) -> Result<PartRecord, Error> {
    let (mut files, mut owner) = (Vec::new(), tenant);
    for file in fs.list(path)? {
        let (name, bytes) = (name_of(&file), fs.read(&file)?);
        if is_encrypted(&name) {
            owner = Some(keys.get(key_of_file(&file)?)?.tenant());
        }
        files.push(PartFile { name, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) });
    }
    let owner = owner.filter(|owner| tenant.is_none_or(|tenant| tenant == *owner));
    let tenant = owner.ok_or_else(|| Error::Unavailable {
        reason: "no catalog entry says whose rows these are, or they are not that tenant's; name the tenant (--tenant 0 without \
                 credentials)"
            .into(),
    })?;
    let nowhere = WalPosition::ZERO;
    let mut record = PartRecord {
        id,
        tenant,
        signal,
        level: 0,
        first_time: UnixNanos::MIN,
        last_time: UnixNanos::MAX,
        first_position: nowhere,
        last_position: WalPosition(u64::MAX),
        rows: 0,
        files,
        created_at: UnixNanos(0),
    };
    let part = Part::open_damaged(record.clone(), path.to_path_buf(), &Arc::new(PageCache::new(0)), keys);
    record.rows = u32::try_from(part.rows_on_disk()?).unwrap_or(u32::MAX);
    Ok(record)
}
