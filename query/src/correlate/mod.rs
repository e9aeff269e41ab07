//! Everything that bears an ID, from all retained time: the question that Trivium exists for.
//!
//! The ID may be anything: a trace, a span, an order number, a word. Indexes of all parts of all signals name candidates,
//! the rows themselves decide, and the traces that are hit are told as a whole.

mod bears;
mod story;
#[cfg(test)]
mod tests;
mod wanted;

use arrow::array::RecordBatch;
use hashbrown::HashSet;
use trivium_model::{SignalKind, TraceId};
use trivium_storage::TokenFilter;

use crate::error::Error;
use crate::lookup::{Deadline, Found, Lookup, Snapshots, id_at, id_column, rows_of_each_trace};

use bears::Bearer;
pub(crate) use story::Story;
use wanted::IdKind;
pub(crate) use wanted::Wanted;

/// Rows of a signal that bear the ID themselves, in an answer.
const DIRECT_ROWS_MAX: usize = 1_000;

/// The same when the ID is a trace, of which every row bears it.
const TRACE_ROWS_MAX: usize = 10_000;

/// Traces that are told as a whole.
const TRACES_MAX: usize = 20;

/// Spans, and log records, of all told traces together.
const STORY_ROWS_MAX: usize = 20_000;

/// Finds everything that bears the ID and the traces it belongs to.
pub(crate) fn correlate(tables: Snapshots, wanted: Wanted, deadline: Deadline) -> Result<Story, Error> {
    let [logs, metrics, spans] = each_signal(|signal| direct(&tables, signal, &wanted, deadline));
    let (logs, metrics, spans): (Found, Found, Found) = (logs?, metrics?, spans?);
    let mut traces = Vec::new();
    if let IdKind::Trace(trace) = wanted.kind {
        traces.push(trace);
    }
    for batch in logs.batches.iter().chain(&spans.batches) {
        let ids = id_column(batch, "trace_id")?;
        traces.extend((0..batch.num_rows()).filter_map(|row| id_at(ids, row)));
    }
    traces.extend(bears::exemplar_traces(&wanted, &metrics.batches));
    let mut seen = HashSet::new();
    traces.retain(|trace| seen.insert(*trace));
    let others = traces.split_off(traces.len().min(TRACES_MAX));
    let told: HashSet<TraceId> = traces.into_iter().collect();
    let [told_logs, told_metrics, told_spans] = each_signal(|signal| match signal {
        SignalKind::Metrics => exemplars_of(&tables, &told, deadline),
        _ => rows_of_each_trace(tables.of(signal), &told, STORY_ROWS_MAX, deadline),
    });
    let (mut told_logs, told_metrics, mut told_spans) = (told_logs?, told_metrics?, told_spans?);
    keep_direct(&mut told_logs, &logs, &told)?;
    keep_direct(&mut told_spans, &spans, &told)?;
    Ok(Story { wanted, logs, metrics, spans, told, others, told_logs, told_metrics, told_spans, tables })
}

/// Data points with an exemplar of one of the traces.
fn exemplars_of(tables: &Snapshots, told: &HashSet<TraceId>, deadline: Deadline) -> Result<Found, Error> {
    if told.is_empty() {
        return Ok(Found::default());
    }
    let filter = TokenFilter::Or(told.iter().map(|trace| TokenFilter::Token(trace.to_string())).collect());
    let is_hit = |batch: &RecordBatch| Ok(bears::has_exemplar_of(batch, told));
    let snapshot = tables.of(SignalKind::Metrics);
    let columns = &["exemplars"];
    Lookup { snapshot, filter: &filter, columns, is_hit: &is_hit, rows_max: DIRECT_ROWS_MAX, deadline }.run()
}

/// A trace with very many rows is cut; the rows that bear the ID are told all the same.
fn keep_direct(told: &mut Found, direct: &Found, traces: &HashSet<TraceId>) -> Result<(), Error> {
    if !told.is_truncated {
        return Ok(());
    }
    let mut kept = HashSet::new();
    for batch in &told.batches {
        kept.extend(story::arrival(batch)?);
    }
    for batch in &direct.batches {
        let ids = id_column(batch, "trace_id")?;
        let arrival = story::arrival(batch)?;
        let is_missing = (0..batch.num_rows())
            .map(|row| Some(id_at(ids, row).is_some_and(|id| traces.contains(&id)) && !kept.contains(&arrival[row])));
        let missing = arrow::compute::filter_record_batch(batch, &is_missing.collect())?;
        told.rows += missing.num_rows();
        told.batches.push(missing);
    }
    Ok(())
}

fn direct(tables: &Snapshots, signal: SignalKind, wanted: &Wanted, deadline: Deadline) -> Result<Found, Error> {
    let bearer = Bearer { wanted, signal };
    let is_hit = |batch: &RecordBatch| bearer.rows(batch);
    let lookup = Lookup {
        snapshot: tables.of(signal),
        filter: &wanted.filter,
        columns: bearer.columns(),
        is_hit: &is_hit,
        rows_max: if matches!(wanted.kind, IdKind::Trace(_)) { TRACE_ROWS_MAX } else { DIRECT_ROWS_MAX },
        deadline,
    };
    lookup.run()
}

/// Asks the three signals at the same time.
fn each_signal<T: Send>(ask: impl Fn(SignalKind) -> Result<T, Error> + Sync) -> [Result<T, Error>; 3] {
    let ask = &ask;
    std::thread::scope(|scope| {
        let others = [SignalKind::Logs, SignalKind::Metrics].map(|signal| scope.spawn(move || ask(signal)));
        let traces = ask(SignalKind::Traces);
        let [logs, metrics] =
            others.map(|thread| thread.join().unwrap_or_else(|_| Err(Error::Internal("a look-up panicked".into()))));
        [logs, metrics, traces]
    })
}
