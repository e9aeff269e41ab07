//! Slices: what is kept of each, how days of them are stored, and sums over any window of them.

mod format;
mod ledger;
mod timeline;

use std::collections::BTreeMap;

pub(crate) use format::{Place, decode, encode};
pub use ledger::{Sums, WindowSums};
pub(crate) use timeline::Timeline;

use crate::querier::{Group, MeasuredSlice};

/// Groups of one SLO.
pub(crate) const GROUPS_MAX: usize = 200;

/// Bytes of one value of a group; a longer one is refused. With it the largest record stays below 1 MiB.
pub(crate) const GROUP_VALUE_BYTES_MAX: usize = 512;

/// Bad and all events of one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) bad: f64,
    pub(crate) total: f64,
}

/// One slice as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// The share that was measured.
    pub(crate) coverage: f32,
    pub(crate) groups: BTreeMap<Group, Counts>,
}

impl Slice {
    /// What a querier answered, checked. A count that is no number means that the slice was not measured.
    pub(crate) fn from_measured(measured: &MeasuredSlice, group_by: usize) -> Result<Self, String> {
        let mut slice = Self { coverage: measured.coverage.clamp(0.0, 1.0) as f32, groups: BTreeMap::new() };
        if measured.coverage.is_nan() || slice.coverage == 0.0 {
            return Ok(Self::default());
        }
        for counts in &measured.groups {
            if counts.group.len() != group_by {
                return Err(format!("a group has {} values where group_by names {group_by}", counts.group.len()));
            }
            if counts.group.iter().any(|value| value.len() > GROUP_VALUE_BYTES_MAX) {
                return Err(format!(
                    "a value of a group is longer than {GROUP_VALUE_BYTES_MAX} bytes; group by another label"
                ));
            }
            if !(counts.good.is_finite() && counts.total.is_finite()) {
                return Ok(Self::default());
            }
            // Extrapolated counters may count a little more good events than events.
            let total = counts.total.max(0.0);
            let sum = slice.groups.entry(Group::clone(&counts.group)).or_default();
            sum.total += total;
            sum.bad += (total - counts.good).clamp(0.0, total);
        }
        slice.groups.retain(|_, counts| counts.total > 0.0);
        Ok(slice)
    }

    /// The counts of all groups together.
    pub(crate) fn overall(&self) -> Counts {
        self.groups.values().fold(Counts::default(), |sum, counts| Counts {
            bad: sum.bad + counts.bad,
            total: sum.total + counts.total,
        })
    }
}

#[cfg(test)]
mod tests;
