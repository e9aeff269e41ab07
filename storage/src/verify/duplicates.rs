//! Whether anything is there twice: rows of a request in two parts, a remembered request in two publishes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use trivium_model::{RequestKey, UnixNanos};

use super::{Finding, FindingKind, Parts, VerifyReport};
use crate::catalog::{CatalogState, FILE_NAME};
use crate::config::StorageConfig;
use crate::error::Error;
use crate::part::{Part, PartRecord};
use crate::schema::{TIME, WAL_POSITION};
use crate::storage::part_folder;

/// More remembered requests than this, and the oldest are forgotten before their time.
const REQUESTS_MAX: usize = 1_000_000;

/// Adds what is there twice to the report.
pub(super) fn check(parts: &Parts<'_>, state: &CatalogState, deep: bool, report: &mut VerifyReport) {
    check_requests(parts.folder, state, report);
    if !deep {
        return;
    }
    for (left, right) in overlapping(&state.parts) {
        let path = part_folder(parts.folder, right);
        // A part that cannot be read is a finding of its own.
        let shared = read_origins(&parts.open(right)).and_then(|batches| shared_rows(&parts.open(left), &batches));
        if let Ok(rows @ 1..) = shared {
            let problem = format!("{rows} of its rows are in part {} too", left.id);
            report.findings.push(Finding { path, problem, kind: FindingKind::Duplicate });
        }
    }
}

/// A request that was resent within the window was recognised, so none is remembered twice from within it.
fn check_requests(folder: &Path, state: &CatalogState, report: &mut VerifyReport) {
    if state.request_keys.len() >= REQUESTS_MAX {
        return;
    }
    let window = Duration::from_secs(StorageConfig::default().remember_requests_seconds);
    let mut keys: HashMap<RequestKey, UnixNanos> = HashMap::with_capacity(state.request_keys.len());
    let mut by_time = state.request_keys.clone();
    by_time.sort_unstable_by_key(|&(_, received_at)| received_at);
    let twice = by_time.iter().filter(|&&(key, received_at)| {
        keys.insert(key, received_at).is_some_and(|before| received_at.since(before) < window)
    });
    let twice = twice.count();
    if twice > 0 {
        let problem = format!("{twice} requests were stored twice within {} seconds", window.as_secs());
        report.findings.push(Finding { path: folder.join(FILE_NAME), problem, kind: FindingKind::Duplicate });
    }
}

/// Pairs of parts that may hold rows of the same request: one tenant, one signal, common positions and common times.
fn overlapping(parts: &[PartRecord]) -> Vec<(&PartRecord, &PartRecord)> {
    let mut sorted: Vec<&PartRecord> = parts.iter().collect();
    sorted.sort_unstable_by_key(|part| (part.tenant, part.signal.tag(), part.first_position));
    let mut pairs = Vec::new();
    for (index, left) in sorted.iter().enumerate() {
        let same = |right: &&&PartRecord| {
            (right.tenant, right.signal) == (left.tenant, left.signal) && right.first_position <= left.last_position
        };
        pairs.extend(
            sorted[index + 1..]
                .iter()
                .take_while(same)
                .filter(|right| may_share(left, right))
                .map(|right| (*left, *right)),
        );
    }
    pairs
}

fn may_share(left: &PartRecord, right: &PartRecord) -> bool {
    let positions = left.first_position <= right.last_position && right.first_position <= left.last_position;
    positions && left.first_time <= right.last_time && right.first_time <= left.last_time
}

/// How many rows of `right` have the request and the time of a row of `left`. A request's rows of one time are never split.
fn shared_rows(left: &Part, right: &[RecordBatch]) -> Result<u64, Error> {
    let mut known = origins(&read_origins(left)?)?;
    known.sort_unstable();
    Ok(origins(right)?.into_iter().filter(|origin| known.binary_search(origin).is_ok()).count() as u64)
}

fn read_origins(part: &Part) -> Result<Vec<RecordBatch>, Error> {
    part.read(Some(&[TIME, WAL_POSITION]), None)
}

/// Request and time of every row.
fn origins(batches: &[RecordBatch]) -> Result<Vec<(u64, i64)>, Error> {
    let mut origins = Vec::new();
    for batch in batches {
        let column = |name| batch.column_by_name(name).ok_or_else(|| Error::Internal(format!("no column {name}")));
        let times = column(TIME)?.as_primitive_opt::<TimestampNanosecondType>();
        let positions = column(WAL_POSITION)?.as_primitive_opt::<UInt64Type>();
        let (Some(times), Some(positions)) = (times, positions) else {
            return Err(Error::Internal("a part whose times and positions are no numbers".into()));
        };
        origins.extend(positions.values().iter().copied().zip(times.values().iter().copied()));
    }
    Ok(origins)
}

/// An error when rows of a part, given as batches, are in one of the published parts already.
pub(crate) fn refuse_shared_rows(
    record: &PartRecord,
    batches: &[RecordBatch],
    published: &[Arc<Part>],
) -> Result<(), Error> {
    for other in published.iter().filter(|other| may_share(record, other.record())) {
        let rows = shared_rows(other, batches)?;
        if rows > 0 {
            let reason = format!("{rows} of its rows are published already, in part {}", other.record().id);
            return Err(Error::Unavailable { reason });
        }
    }
    Ok(())
}
