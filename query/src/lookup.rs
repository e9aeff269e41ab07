//! Rows by what they bear, without SQL: candidates from the indexes of the parts, an exact check on the rows, the whole
//! rows only for what passed. Blocking; the API runs it away from the async workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, BooleanArray, FixedSizeBinaryArray, RecordBatch};
use arrow::compute::filter_record_batch;
use hashbrown::HashSet;
use trivium_model::{SignalKind, TenantId, TraceId};
use trivium_storage::{Part, RowRanges, Snapshot, Storage, TokenFilter};

use crate::error::Error;
use crate::state::QueryState;

/// Candidates that are checked column by column before their whole rows are read; fewer are read at once.
const WHOLE_ROWS_MAX: u64 = 32;

/// Candidates of a part that are looked at together.
const PIECE_ROWS: u32 = 16_384;

/// The moment by which a look-up must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    begun: Instant,
    after: Duration,
}

impl Deadline {
    pub(crate) fn after(after: Duration) -> Self {
        Self { begun: Instant::now(), after }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.elapsed() < self.after { Ok(()) } else { Err(Error::Timeout { after: self.after }) }
    }
}

/// Runs a look-up away from the async workers, with a permit and the configured deadline.
pub(crate) async fn run_blocking<T: Send + 'static>(
    state: Arc<QueryState>,
    work: impl FnOnce(&QueryState, Deadline) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let permit = state.admission.acquire().await?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&state, Deadline::after(state.config.timeout))
    });
    done.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}

/// The three tables at one moment, so that all steps of an answer see the same rows.
#[derive(Debug)]
pub(crate) struct Snapshots([Snapshot; 3]);

impl Snapshots {
    pub(crate) fn take(storage: &Storage, tenant: TenantId) -> Self {
        Self(SignalKind::ALL.map(|signal| storage.snapshot(tenant, signal)))
    }

    #[cfg(test)]
    pub(crate) fn of_source(source: &dyn crate::table::TableSource) -> Self {
        Self(SignalKind::ALL.map(|signal| source.snapshot(TenantId::DEFAULT, signal)))
    }

    pub(crate) fn of(&self, signal: SignalKind) -> &Snapshot {
        &self.0[signal.index()]
    }
}

/// One look-up in one table.
pub(crate) struct Lookup<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// A superset of the rows, by the indexes.
    pub(crate) filter: &'a TokenFilter,
    /// The columns that `is_hit` needs.
    pub(crate) columns: &'a [&'a str],
    /// The exact check.
    pub(crate) is_hit: &'a dyn Fn(&RecordBatch) -> Result<BooleanArray, Error>,
    /// Rows to return at most; newest parts are asked first.
    pub(crate) rows_max: usize,
    pub(crate) deadline: Deadline,
}

/// Whole rows that passed, and whether there may be more.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rows: usize,
    pub(crate) is_truncated: bool,
    /// Why rows may be missing: parts that cannot be read, no more time. Empty when the answer is whole.
    pub(crate) warnings: Vec<String>,
}

impl Found {
    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

impl Lookup<'_> {
    pub(crate) fn run(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        for batch in self.snapshot.buffered.iter().rev() {
            if !self.add(&mut found, filter_record_batch(batch, &(self.is_hit)(batch)?)?) {
                return Ok(found);
            }
        }
        let mut parts: Vec<&Part> = self.snapshot.parts.iter().map(AsRef::as_ref).collect();
        parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.record().last_time));
        for part in parts {
            let candidates = self.candidates(part);
            if candidates.is_empty() {
                continue;
            }
            match self.add_part(part, &candidates, &mut found) {
                Ok(true) => {}
                Ok(false) => return Ok(found),
                // What was found so far is the newest and may be all that is needed.
                Err(Error::Timeout { after }) => {
                    found.warn(format!("older {} were not searched within {after:?}", part.record().signal.table()));
                    return Ok(found);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The rows that the indexes name. An index that cannot be read is derived data: the rows themselves are searched.
    fn candidates(&self, part: &Part) -> RowRanges {
        part.candidate_rows(self.filter).unwrap_or_else(|error| {
            tracing::error!(%error, part = %part.record().id, "an index cannot be read; searching its rows instead");
            RowRanges::all(part.record().rows)
        })
    }

    /// Adds the hits of a part, a bounded number of candidates at a time; `false` when there is no more room.
    fn add_part(&self, part: &Part, candidates: &RowRanges, found: &mut Found) -> Result<bool, Error> {
        for piece in pieces(candidates) {
            self.deadline.check()?;
            let batches = match self.hits(part, &piece) {
                Err(Error::Storage(error)) => {
                    tracing::error!(%error, part = %part.record().id, "a part cannot be read; answering from the others");
                    found.warn(unreadable(part));
                    return Ok(true);
                }
                other => other?,
            };
            for batch in batches {
                if !self.add(found, batch) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn hits(&self, part: &Part, candidates: &RowRanges) -> Result<Vec<RecordBatch>, Error> {
        if candidates.len() <= WHOLE_ROWS_MAX {
            return self.whole_rows(part, candidates);
        }
        let exact = self.exact_rows(part, candidates)?;
        if exact.is_empty() { Ok(Vec::new()) } else { Ok(part.read(None, Some(&exact))?) }
    }

    fn whole_rows(&self, part: &Part, candidates: &RowRanges) -> Result<Vec<RecordBatch>, Error> {
        let batches = part.read(None, Some(candidates))?;
        batches.iter().map(|batch| Ok(filter_record_batch(batch, &(self.is_hit)(batch)?)?)).collect()
    }

    /// The row numbers of the candidates that pass the check, found with few columns.
    fn exact_rows(&self, part: &Part, candidates: &RowRanges) -> Result<RowRanges, Error> {
        let mut numbers = candidates.iter().flatten();
        let mut exact = Vec::new();
        for batch in part.read(Some(self.columns), Some(candidates))? {
            let hits = (self.is_hit)(&batch)?;
            for index in 0..batch.num_rows() {
                let Some(number) = numbers.next() else { return Err(more_rows_than_asked(part)) };
                if hits.value(index) {
                    exact.push(number..number + 1);
                }
            }
            if exact.len() > self.rows_max {
                break;
            }
        }
        Ok(RowRanges::from_sorted(exact))
    }

    /// Keeps the rows of a batch; `false` when there is no more room.
    fn add(&self, found: &mut Found, batch: RecordBatch) -> bool {
        if batch.num_rows() == 0 {
            return true;
        }
        let room = self.rows_max - found.rows;
        let kept = batch.slice(0, batch.num_rows().min(room));
        found.is_truncated |= kept.num_rows() < batch.num_rows();
        found.rows += kept.num_rows();
        if kept.num_rows() > 0 {
            found.batches.push(kept);
        }
        !found.is_truncated
    }
}

/// The rows in pieces of at most [`PIECE_ROWS`], so that a frequent word does not bring a whole part into memory.
fn pieces(rows: &RowRanges) -> Vec<RowRanges> {
    let (mut pieces, mut current, mut count) = (Vec::new(), Vec::new(), 0_u32);
    for range in rows.iter() {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + (PIECE_ROWS - count));
            current.push(start..end);
            count += end - start;
            start = end;
            if count == PIECE_ROWS {
                pieces.push(RowRanges::from_sorted(std::mem::take(&mut current)));
                count = 0;
            }
        }
    }
    if !current.is_empty() {
        pieces.push(RowRanges::from_sorted(current));
    }
    pieces
}

fn more_rows_than_asked(part: &Part) -> Error {
    Error::Internal(format!("part {} gave more rows than it was asked for", part.record().id))
}

/// What is said of a part that cannot be read.
pub(crate) fn unreadable(part: &Part) -> String {
    let record = part.record();
    format!(
        "{} {} of the damaged part {} are missing; run `trivium verify`",
        record.rows,
        record.signal.table(),
        record.id
    )
}

/// All rows of some traces in one table; when they are more than `rows_max`, each trace gets an equal share.
pub(crate) fn rows_of_each_trace(
    snapshot: &Snapshot,
    traces: &HashSet<TraceId>,
    rows_max: usize,
    deadline: Deadline,
) -> Result<Found, Error> {
    let together = rows_of_traces(snapshot, traces, rows_max, deadline)?;
    if !together.is_truncated || traces.len() < 2 {
        return Ok(together);
    }
    let mut found = Found { is_truncated: true, ..Found::default() };
    for trace in traces {
        let one = HashSet::from_iter([*trace]);
        let rows = rows_of_traces(snapshot, &one, rows_max / traces.len(), deadline)?;
        found.rows += rows.rows;
        rows.warnings.into_iter().for_each(|warning| found.warn(warning));
        found.batches.extend(rows.batches);
    }
    Ok(found)
}

/// All rows of some traces in one table.
pub(crate) fn rows_of_traces(
    snapshot: &Snapshot,
    traces: &HashSet<TraceId>,
    rows_max: usize,
    deadline: Deadline,
) -> Result<Found, Error> {
    if traces.is_empty() {
        return Ok(Found::default());
    }
    let tokens = traces.iter().map(|trace| TokenFilter::Token(trace.to_string()));
    let filter = TokenFilter::Or(tokens.collect());
    let is_hit = |batch: &RecordBatch| {
        let ids = id_column(batch, "trace_id")?;
        Ok(BooleanArray::from_iter(
            (0..ids.len()).map(|row| Some(id_at(ids, row).is_some_and(|id| traces.contains(&id)))),
        ))
    };
    Lookup { snapshot, filter: &filter, columns: &["trace_id"], is_hit: &is_hit, rows_max, deadline }.run()
}

/// A column of IDs.
pub(crate) fn id_column<'batch>(batch: &'batch RecordBatch, name: &str) -> Result<&'batch FixedSizeBinaryArray, Error> {
    let column = batch.column_by_name(name).and_then(|column| column.as_fixed_size_binary_opt());
    column.ok_or_else(|| Error::Internal(format!("the column {name} is missing or no ID")))
}

/// The trace ID of a row.
pub(crate) fn id_at(ids: &FixedSizeBinaryArray, row: usize) -> Option<TraceId> {
    if ids.is_null(row) {
        return None;
    }
    ids.value(row).try_into().ok().map(TraceId)
}
