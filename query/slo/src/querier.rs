//! The seam to whoever can count: the store of telemetry and its query languages.

use std::sync::Arc;

use async_trait::async_trait;
use trivium_model::{ErrorKind, TenantId, UnixNanos};

use crate::definition::SloDefinition;

/// The values of the `group_by` labels of one group, in their order; empty when an SLO has no groups.
pub type Group = Arc<[String]>;

/// Which slices are to be measured: `count` slices of the SLO's width, the first beginning at `start`.
#[derive(Clone, Debug)]
pub struct SliceRequest {
    /// Whose telemetry.
    pub tenant: TenantId,
    /// What is measured: its indicator, groups and width.
    pub slo: Arc<SloDefinition>,
    /// Where the first slice begins, a multiple of the width since 1970.
    pub start: UnixNanos,
    /// How many slices; at most a day of them, or two.
    pub count: usize,
}

impl SliceRequest {
    /// Where slice `number` begins, from 0; that of `count` is the end of the request.
    pub fn slice_start(&self, number: usize) -> UnixNanos {
        let width = self.slo.slice.seconds().saturating_mul(1_000_000_000);
        UnixNanos(self.start.0.saturating_add(width.saturating_mul(i64::try_from(number).unwrap_or(i64::MAX))))
    }
}

/// What was counted in one slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredSlice {
    /// The share of the slice that was measured, from 0 to 1. A slice in which telemetry was received and no event
    /// happened is measured and has no groups; one in which nothing was received has a coverage of 0.
    pub coverage: f64,
    /// The counts of each group; a group that is not named had no events.
    pub groups: Vec<GroupCounts>,
}

/// Counts of one group in one slice.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupCounts {
    /// The group.
    pub group: Group,
    /// Good events.
    pub good: f64,
    /// All events.
    pub total: f64,
}

/// Why slices could not be measured. They stay due.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// What was attempted and found.
    pub message: String,
}

/// Counts events.
///
/// What implementors must keep apart: a query for bad events that finds nothing counts 0 when the query for all events
/// finds something; a query for all events that finds no series and no samples at all means that the slice was not
/// measured (coverage 0); series whose samples do not grow mean that nothing happened (coverage 1, no events).
#[async_trait]
pub trait IndicatorQuerier: Send + Sync + std::fmt::Debug {
    /// Counts the slices of the request. The answer has one entry for each, in their order.
    async fn measure(&self, request: SliceRequest) -> Result<Vec<MeasuredSlice>, QueryError>;

    /// Up to when telemetry of this SLO is expected to be complete. Slices that end later are not asked for. What arrives
    /// even later is found when the last slices are measured again.
    fn watermark(&self, slo: &SloDefinition, now: UnixNanos) -> UnixNanos;

    /// The earliest time of telemetry that arrived since this was last asked: slices from then on are measured again,
    /// however old they are. `None` when nothing arrived.
    fn arrived(&self) -> Option<UnixNanos> {
        None
    }
}
