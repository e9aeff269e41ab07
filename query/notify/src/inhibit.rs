//! Inhibition: an alert that fires mutes others that follow from it.

use std::collections::BTreeSet;

use crate::labels::Labels;
use crate::matcher::Matchers;

/// Alerts that match the target are muted while one that matches the source fires and agrees in all `equal` labels.
#[derive(Clone, Debug)]
pub struct InhibitRule {
    /// The alerts that mute.
    pub source: Matchers,
    /// The alerts that are muted.
    pub target: Matchers,
    /// Labels that must be equal on both sides; missing is equal to empty.
    pub equal: BTreeSet<String>,
}

impl InhibitRule {
    /// What makes a source and its targets agree.
    pub(crate) fn agreement(&self, labels: &Labels) -> Vec<String> {
        self.equal.iter().map(|name| labels.value(name).to_owned()).collect()
    }

    /// Whether `source`, which matches the source and agrees, mutes `target`. Two that both match both sides do not mute each other.
    pub(crate) fn mutes(&self, source: &Labels, target: &Labels) -> bool {
        self.target.matches(target) && !(self.source.matches(target) && self.target.matches(source))
    }
}
