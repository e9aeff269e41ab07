use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use trivium_model::{ErrorKind, HistoryEvent, StateChange, StateError, StateStore, TenantId, UnixNanos};

use super::{AuditEvent, HISTORY_KIND};
use crate::secret::Digest;

const HEAD_KIND: &str = "audit_head";
const HEAD_KEY: &str = "head";

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its place in the chain of its tenant: 1 for the first, then without gaps.
    pub sequence: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// The hash of the line before; zeroes before the first.
    pub previous: String,
    /// The SHA-256 over `previous`, the sequence and the event.
    pub hash: String,
}

/// Where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// The content is not what was written.
    #[error("line {sequence} was changed after it was written")]
    Changed {
        /// Its place.
        sequence: u64,
    },
    /// A line is missing, or one was put in between.
    #[error("line {sequence} does not follow the line before it: lines were removed, added or reordered")]
    Gap {
        /// The place of the later one.
        sequence: u64,
    },
}

/// Checks lines, oldest first. What the first of them follows is taken as given, since the oldest are forgotten with age.
pub fn verify(lines: &[AuditLine]) -> Result<(), ChainBreak> {
    let mut before: Option<&AuditLine> = None;
    for line in lines {
        let sequence = line.sequence;
        if hash(&line.previous, sequence, &line.event).is_none_or(|hash| hash != line.hash) {
            return Err(ChainBreak::Changed { sequence });
        }
        if before.is_some_and(|before| before.hash != line.previous || before.sequence + 1 != sequence) {
            return Err(ChainBreak::Gap { sequence });
        }
        before = Some(line);
    }
    Ok(())
}

fn hash(previous: &str, sequence: u64, event: &AuditEvent) -> Option<String> {
    let event = serde_json::to_string(event).ok()?;
    Some(Digest::of(format!("{previous}\n{sequence}\n{event}").as_bytes()).to_string())
}

/// The last line of a chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    sequence: u64,
    hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { sequence: 0, hash: "0".repeat(64) }
    }
}

/// The heads that were read.
#[derive(Debug, Default)]
pub(super) struct Heads(HashMap<TenantId, Head>);

impl Heads {
    /// Appends events to a tenant's chain, in one transaction with its head.
    pub(super) async fn append(
        &mut self,
        store: &dyn StateStore,
        tenant: TenantId,
        events: impl Iterator<Item = AuditEvent>,
    ) -> Result<(), StateError> {
        let mut head = match self.0.get(&tenant) {
            Some(head) => head.clone(),
            // Kept before anything is written: after an error of which we do not know whether it was written all the same,
            // the same events get the same places again.
            None => self.0.entry(tenant).or_insert(read(store, tenant).await?).clone(),
        };
        let mut changes = Vec::new();
        for event in events {
            let line = next(&head, event)?;
            let at = UnixNanos(line.event.at);
            head = Head { sequence: line.sequence, hash: line.hash.clone() };
            let (kind, id) = (HISTORY_KIND.to_owned(), format!("{:016x}", line.sequence));
            changes.push(StateChange::Append(HistoryEvent { kind, at, id, value: json(&line)? }));
        }
        let value = json(&head)?.into_bytes();
        changes.push(StateChange::Put { kind: HEAD_KIND.into(), key: HEAD_KEY.into(), value });
        store.apply(tenant, None, changes).await?;
        self.0.insert(tenant, head);
        Ok(())
    }
}

async fn read(store: &dyn StateStore, tenant: TenantId) -> Result<Head, StateError> {
    let records = store.list(tenant, HEAD_KIND, HEAD_KEY).await?;
    match records.first() {
        None => Ok(Head::default()),
        Some(record) => serde_json::from_slice(&record.value).map_err(|error| StateError::Store {
            kind: ErrorKind::Corrupted,
            message: format!("the head of the audit log of tenant {tenant} cannot be read: {error}"),
        }),
    }
}

fn next(head: &Head, event: AuditEvent) -> Result<AuditLine, StateError> {
    let sequence = head.sequence + 1;
    let hash = hash(&head.hash, sequence, &event).ok_or_else(|| no_json("an event"))?;
    Ok(AuditLine { sequence, event, previous: head.hash.clone(), hash })
}

fn json(value: &impl Serialize) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|_| no_json("a line"))
}

fn no_json(what: &str) -> StateError {
    StateError::Store {
        kind: ErrorKind::Internal,
        message: format!("{what} of the audit log cannot be written as JSON"),
    }
}
