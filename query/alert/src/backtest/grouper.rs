//! How many notifications people would have had.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::alert::AlertState;
use crate::duration::millis;
use crate::seam::AlertNotice;

/// Counts notifications: is handed what the notifier would have been told, in the order of time and without repetitions:
/// each alert when it begins to fire and when it is resolved.
pub trait NotificationModel: Send {
    /// Takes an alert that was told in its slot.
    fn take(&mut self, notice: &AlertNotice);

    /// How many notifications there were until then.
    fn finish(&mut self, end_ms: i64) -> usize;
}

/// The settings of a route.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// Labels that alerts are grouped by.
    pub group_by: Vec<String>,
    /// How long a new group waits for more alerts.
    pub group_wait: Duration,
    /// How long a group waits after a notification.
    pub group_interval: Duration,
    /// After what time the same is told again.
    pub repeat_interval: Duration,
}

/// Alertmanager's grouping with one route: waits `group_wait` for the first notification of a group, tells of new and
/// resolved alerts every `group_interval`, and of unchanged ones every `repeat_interval`.
#[derive(Clone, Debug, Default)]
pub struct SimpleGrouping {
    grouping: Grouping,
    groups: BTreeMap<Vec<String>, Pending>,
    count: usize,
}

#[derive(Clone, Debug, Default)]
struct Pending {
    next_flush_ms: i64,
    firing: BTreeSet<u64>,
    told: BTreeSet<u64>,
    told_at_ms: Option<i64>,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            group_by: vec!["alertname".to_owned()],
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(300),
            repeat_interval: Duration::from_secs(4 * 3600),
        }
    }
}

impl SimpleGrouping {
    /// A model with these settings.
    pub fn new(grouping: Grouping) -> Self {
        Self { grouping, ..Self::default() }
    }

    /// Groups whose time has come are told.
    fn flush(&mut self, now_ms: i64) {
        let (interval, repeat) =
            (millis(self.grouping.group_interval).max(1000), millis(self.grouping.repeat_interval));
        let count = &mut self.count;
        self.groups.retain(|_, group| {
            while group.next_flush_ms <= now_ms {
                let at = group.next_flush_ms;
                let is_new = !group.firing.is_subset(&group.told);
                let is_resolved = !group.told.is_subset(&group.firing);
                let is_due = group.told_at_ms.is_some_and(|told| at - told >= repeat) && !group.firing.is_empty();
                if is_new || is_resolved || is_due {
                    *count += 1;
                    group.told.clone_from(&group.firing);
                    group.told_at_ms = Some(at);
                }
                if group.firing.is_empty() && group.told.is_empty() {
                    return false;
                }
                group.next_flush_ms = at.saturating_add(interval);
            }
            true
        });
    }
}

impl NotificationModel for SimpleGrouping {
    fn take(&mut self, notice: &AlertNotice) {
        self.flush(notice.slot_ms.saturating_sub(1));
        let label = |name: &String| notice.labels.get(name).cloned().unwrap_or_default();
        let key = self.grouping.group_by.iter().map(label).collect();
        let is_firing = notice.state == AlertState::Firing;
        if !is_firing && !self.groups.contains_key(&key) {
            return;
        }
        let first_flush = notice.slot_ms.saturating_add(millis(self.grouping.group_wait));
        let new = Pending { next_flush_ms: first_flush, ..Pending::default() };
        let group = self.groups.entry(key).or_insert(new);
        if is_firing {
            group.firing.insert(notice.fingerprint);
        } else {
            group.firing.remove(&notice.fingerprint);
        }
    }

    fn finish(&mut self, end_ms: i64) -> usize {
        self.flush(end_ms);
        self.count
    }
}
