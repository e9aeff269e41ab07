//! What a signal's table consists of at this moment: parts, the buffer that is being sealed, the open buffer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use trivium_model::{PartId, SignalKind, TenantId, WalPosition};

use crate::buffer::Buffer;
use crate::catalog::Publish;
use crate::part::{Part, PartRecord};

/// A full buffer on its way into parts. Still answers queries; disappears in the step in which its parts appear.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub(crate) buffer: Buffer,
    /// Set once the files are on disk, so that a failed publish is tried again with the same parts and the same token.
    pub(crate) publish: Mutex<Option<Publish>>,
}

/// One signal's table. Every acknowledged row is in exactly one of its three places.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) open: Buffer,
    pub(crate) sealing: Option<Arc<Sealing>>,
    /// In the order of tenants, so that the same requests lead to the same steps.
    parts: BTreeMap<TenantId, Vec<Arc<Part>>>,
}

/// Parts that are no longer published but may still be read; their files go when the last reader is gone.
#[derive(Debug, Default)]
pub(crate) struct Retired(Vec<(Weak<Part>, PartRecord)>);

impl Table {
    pub(crate) fn new(signal: SignalKind) -> Self {
        Self { open: Buffer::new(signal), sealing: None, parts: BTreeMap::new() }
    }

    /// The published parts of a tenant, in the order of their first times.
    pub(crate) fn parts(&self, tenant: TenantId) -> &[Arc<Part>] {
        self.parts.get(&tenant).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = TenantId> + '_ {
        self.parts.keys().copied()
    }

    pub(crate) fn all_parts(&self) -> impl Iterator<Item = &Arc<Part>> {
        self.parts.values().flatten()
    }

    pub(crate) fn add(&mut self, part: Arc<Part>) {
        let parts = self.parts.entry(part.record().tenant).or_default();
        let index = parts.partition_point(|other| other.record().first_time <= part.record().first_time);
        parts.insert(index, part);
    }

    /// Takes parts out; the ones that were there come back.
    pub(crate) fn remove(&mut self, ids: &[PartId]) -> Vec<Arc<Part>> {
        let mut removed = Vec::new();
        for parts in self.parts.values_mut() {
            removed.extend(parts.extract_if(.., |part| ids.contains(&part.record().id)));
        }
        removed
    }

    /// The position up to which everything of this signal is in published parts, given the last position of the WAL.
    pub(crate) fn published_up_to(&self, last: WalPosition) -> WalPosition {
        let sealing = self.sealing.as_ref().map(|sealing| &sealing.buffer);
        let first =
            sealing.into_iter().chain([&self.open]).find(|buffer| !buffer.is_empty()).map(Buffer::first_position);
        first.map_or(last, |position| WalPosition(position.0 - 1))
    }
}

impl Retired {
    pub(crate) fn add(&mut self, parts: &[Arc<Part>]) {
        self.0.extend(parts.iter().map(|part| (Arc::downgrade(part), part.record().clone())));
    }

    /// The parts that nobody reads any more. They stay here until [`Self::forget`]: removing their files may fail.
    pub(crate) fn unread(&self) -> Vec<PartRecord> {
        let unread = self.0.iter().filter(|(part, _)| part.strong_count() == 0);
        unread.map(|(_, record)| record.clone()).collect()
    }

    /// Their files are gone.
    pub(crate) fn forget(&mut self, parts: &[PartId]) {
        self.0.retain(|(_, record)| !parts.contains(&record.id));
    }
}
