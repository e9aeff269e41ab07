//! How many queries of rules and SLOs run at once, of all tenants together: each tenant's evaluators know only themselves,
//! and what they ask at the same time must fit into memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::QueryConfig;

/// Queries of rules at once, however much memory there is.
const AT_ONCE_MAX: usize = 8;

/// And however little: one that takes long must not keep all others waiting.
const AT_ONCE_MIN: usize = 2;

/// Diagnoses in the background at once, where there is memory for them.
const DIAGNOSES_MAX: usize = 2;

/// Hands out turns, first come first served. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Turns(Option<Arc<Semaphore>>);

/// The right to run one query; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// For rules: as many at once as queries of people, which are fewer where memory is little, within bounds.
    pub(super) fn of_rules(config: &QueryConfig) -> Self {
        Self::at_once(config.concurrency.clamp(AT_ONCE_MIN, AT_ONCE_MAX))
    }

    /// For diagnoses of incidents, which may be many in an outage.
    pub(super) fn of_diagnoses(config: &QueryConfig) -> Self {
        Self::at_once(config.concurrency.clamp(1, DIAGNOSES_MAX))
    }

    /// For questions of people, who have a permit of their own, and for what is asked once an incident.
    pub(super) fn unbounded() -> Self {
        Self(None)
    }

    pub(super) fn at_once(count: usize) -> Self {
        Self(Some(Arc::new(Semaphore::new(count))))
    }

    /// Waits for the next turn. Whoever holds one must not ask for another: all could wait for each other.
    pub(super) async fn next(&self) -> Turn {
        let Some(semaphore) = &self.0 else { return Turn { _permit: None } };
        // Nobody closes it.
        Turn { _permit: Arc::clone(semaphore).acquire_owned().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_small_machine_has_fewer_turns() {
        for (concurrency, expected) in [(16, 8), (3, 3), (1, 2)] {
            let turns = Turns::of_rules(&QueryConfig { concurrency, ..QueryConfig::default() });
            let held: Vec<Turn> = std::iter::from_fn(|| turns.next().now_or_never()).collect();
            assert_eq!(held.len(), expected, "{concurrency} queries of people");
            assert!(turns.clone().next().now_or_never().is_none(), "a clone shares them");
            drop(held);
            assert!(turns.next().now_or_never().is_some(), "they are given back");
        }
        let unbounded = Turns::unbounded();
        let held: Vec<Turn> = (0..100).filter_map(|_| unbounded.next().now_or_never()).collect();
        assert_eq!(held.len(), 100);
    }
}
