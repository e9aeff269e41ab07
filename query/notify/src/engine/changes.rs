//! Changes that are not durable yet.

use std::collections::BTreeMap;

use serde::Serialize;
use trivium_model::{HistoryEvent, StateChange};

/// Kinds of records.
pub(crate) const ALERT: &str = "notify_alert";
pub(crate) const SILENCE: &str = "notify_silence";
pub(crate) const LOG: &str = "notify_log";
pub(crate) const GROUP: &str = "notify_group";
pub(crate) const META: &str = "notify_meta";

/// Events of history that wait for the store; the oldest give way.
const EVENTS_MAX: usize = 10_000;

/// Changes that wait for the store: of each record only the last.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    records: BTreeMap<(&'static str, String), Option<Vec<u8>>>,
    events: Vec<HistoryEvent>,
}

impl Changes {
    pub(crate) fn put(&mut self, kind: &'static str, key: String, value: &impl Serialize) {
        match serde_json::to_vec(value) {
            Ok(bytes) => {
                self.records.insert((kind, key), Some(bytes));
            }
            Err(error) => tracing::error!(%error, kind, key, "a record cannot be written"),
        }
    }

    pub(crate) fn delete(&mut self, kind: &'static str, key: String) {
        self.records.insert((kind, key), None);
    }

    pub(crate) fn append(&mut self, event: HistoryEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.remove(0);
        }
        self.events.push(event);
    }

    /// Puts back what could not be made durable, under what has changed since.
    pub(crate) fn restore(&mut self, failed: Self) {
        for (key, value) in failed.records {
            self.records.entry(key).or_insert(value);
        }
        let newer = std::mem::replace(&mut self.events, failed.events);
        newer.into_iter().for_each(|event| self.append(event));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.events.is_empty()
    }

    pub(crate) fn to_vec(&self) -> Vec<StateChange> {
        let records = self.records.iter().map(|((kind, key), value)| match value {
            Some(value) => StateChange::Put { kind: (*kind).to_owned(), key: key.clone(), value: value.clone() },
            None => StateChange::Delete { kind: (*kind).to_owned(), key: key.clone() },
        });
        records.chain(self.events.iter().cloned().map(StateChange::Append)).collect()
    }
}

/// A short key for a long name.
pub(crate) fn key_of(name: &str) -> String {
    let hash = [("name", name)].into_iter().collect::<crate::labels::Labels>().fingerprint();
    format!("{hash}{:08x}", name.len())
}
