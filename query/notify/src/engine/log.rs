//! The notification log: what each receiver was told last, and whether there is something new to say.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trivium_model::UnixNanos;

/// Why there is a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The group is new to the receiver.
    First,
    /// Alerts joined the group.
    NewAlerts,
    /// Some alerts ended.
    SomeResolved,
    /// All alerts ended.
    AllResolved,
    /// Nothing changed for `repeat_interval`.
    Repeat,
    /// The diagnosis of an alert arrived after its notification.
    Evidence,
}

impl Reason {
    /// Alertmanager's words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first notification",
            Self::NewAlerts => "new alerts added",
            Self::SomeResolved => "some alerts resolved",
            Self::AllResolved => "all alerts resolved",
            Self::Repeat => "repeat interval elapsed",
            Self::Evidence => "evidence",
        }
    }
}

/// What a receiver was told of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) firing: BTreeSet<u64>,
    pub(crate) resolved: BTreeSet<u64>,
    /// The alerts whose evidence was sent.
    #[serde(default)]
    pub(crate) evidence: BTreeSet<u64>,
    pub(crate) at: i64,
    pub(crate) expires_at: i64,
}

/// Whether to notify, and why.
pub(crate) fn reason(
    last: Option<&LogEntry>,
    new: &LogEntry,
    send_resolved: bool,
    repeat: Duration,
    now: UnixNanos,
) -> Option<Reason> {
    let Some(last) = last else {
        return (!new.firing.is_empty()).then_some(Reason::First);
    };
    if !new.firing.is_subset(&last.firing) {
        return Some(if last.firing.is_empty() { Reason::First } else { Reason::NewAlerts });
    }
    if new.firing.is_empty() {
        // Whatever send_resolved says, so that the log knows of no firing alert any more.
        return (!last.firing.is_empty()).then_some(Reason::AllResolved);
    }
    if send_resolved && !new.resolved.is_subset(&last.resolved) {
        return Some(Reason::SomeResolved);
    }
    if !new.evidence.is_subset(&last.evidence) {
        return Some(Reason::Evidence);
    }
    (last.at < now.before(repeat).0).then_some(Reason::Repeat)
}
