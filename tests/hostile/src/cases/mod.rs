//! The cases, one file for each door or signal.

mod alerting;
mod json;
mod log_search;
mod logs;
mod metrics;
mod paths;
mod promql;
mod protobuf;
mod remote_write;
mod spans;
mod sql;
mod transport;

use crate::case::Case;

/// All cases, those of one family together.
pub(crate) fn all() -> Vec<Case> {
    let groups = [
        transport::cases(),
        protobuf::cases(),
        logs::cases(),
        spans::cases(),
        json::cases(),
        metrics::cases(),
        remote_write::cases(),
        promql::cases(),
        sql::cases(),
        log_search::cases(),
        alerting::cases(),
        paths::cases(),
    ];
    groups.into_iter().flatten().collect()
}
