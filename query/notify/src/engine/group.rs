//! Groups of alerts that are notified together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::labels::{Fingerprint, Labels};

/// A group: the position of its route, and its labels.
pub(crate) type GroupId = (usize, Labels);

/// Alerts that are notified together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) key: String,
    pub(crate) alerts: BTreeSet<Fingerprint>,
    pub(crate) next_flush: i64,
    pub(crate) is_flushed: bool,
    /// Deliveries of the last flush that are not over.
    pub(crate) open: usize,
    /// Whether one of them failed.
    pub(crate) has_failed: bool,
    /// Whether the time of the next flush came while deliveries were open.
    pub(crate) is_due: bool,
    /// The alerts that were resolved at the last flush, and when they had been changed.
    pub(crate) resolved: Vec<(Fingerprint, i64)>,
}

/// What outlives the process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct GroupState {
    pub(crate) next_flush: i64,
    pub(crate) is_flushed: bool,
}

impl Group {
    pub(crate) fn new(key: String, state: GroupState) -> Self {
        Self {
            key,
            alerts: BTreeSet::new(),
            next_flush: state.next_flush,
            is_flushed: state.is_flushed,
            open: 0,
            has_failed: false,
            is_due: false,
            resolved: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        GroupState { next_flush: self.next_flush, is_flushed: self.is_flushed }
    }
}
