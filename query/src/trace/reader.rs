//! One trace by its ID: all spans, all log records.

use std::collections::BTreeSet;
use std::fmt::Write;

use arrow::array::RecordBatch;
use hashbrown::HashSet;
use trivium_model::{SignalKind, TraceId};

use super::assemble::{TraceView, assemble};
use super::span::Spans;
use crate::api::write_warnings;
use crate::error::Error;
use crate::log_search::record::LogRecords;
use crate::lookup::{Deadline, Found, Snapshots, rows_of_traces};

/// Spans of one trace that are read; the tree needs them together.
const SPANS_READ_MAX: usize = 200_000;

/// Log records of one trace in an answer.
const LOGS_MAX: usize = 10_000;

/// Which spans of a trace an answer holds, counted in reading order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

/// The JSON of a trace; [`Error::NotFound`] when no span and no log record has the ID.
pub(crate) fn trace_json(
    tables: &Snapshots,
    trace_id: TraceId,
    page: Page,
    deadline: Deadline,
) -> Result<String, Error> {
    let wanted = HashSet::from_iter([trace_id]);
    let rows = |signal, rows_max| rows_of_traces(tables.of(signal), &wanted, rows_max, deadline);
    let (spans, logs) = std::thread::scope(|scope| {
        let logs = scope.spawn(|| rows(SignalKind::Logs, LOGS_MAX));
        let spans = rows(SignalKind::Traces, SPANS_READ_MAX);
        let logs = logs.join().unwrap_or_else(|_| Err(Error::Internal("reading log records panicked".into())));
        (spans, logs)
    });
    let (spans, logs): (Found, Found) = (spans?, logs?);
    let warnings: BTreeSet<&str> = spans.warnings.iter().chain(&logs.warnings).map(String::as_str).collect();
    if spans.rows == 0 && logs.rows == 0 && warnings.is_empty() {
        return Err(Error::NotFound(format!("no span and no log record has the trace ID {trace_id}")));
    }
    let mut output = format!("{{\"trace_id\":\"{trace_id}\"");
    let mut next = None;
    match assemble(&spans.batches)?.into_iter().next() {
        Some(mut view) => {
            output.push_str(",\"summary\":{");
            view.summary.write_members(&mut output);
            output.push_str("},\"spans\":[");
            next = page.cut(&mut view);
            write_spans(&mut output, &view, &spans.batches, &|_, _| false)?;
        }
        None => output.push_str(",\"summary\":null,\"spans\":["),
    }
    output.push_str("],\"logs\":[");
    write_logs(&mut output, &logs.batches, None, &|_, _| false)?;
    let next = next.map_or_else(|| "null".to_owned(), |next: usize| next.to_string());
    let is_truncated = spans.is_truncated || logs.is_truncated;
    let end = format_args!("],\"next\":{next},\"truncated\":{is_truncated}");
    output.write_fmt(end).expect("writing to a String cannot fail");
    write_warnings(&mut output, warnings);
    output.push('}');
    Ok(output)
}

impl Page {
    /// Leaves the spans of the page in the view; the offset of the next page, if there is one.
    fn cut(self, view: &mut TraceView) -> Option<usize> {
        let end = self.offset.saturating_add(self.limit);
        let next = (end < view.nodes.len()).then_some(end);
        view.nodes.truncate(end);
        view.nodes.drain(..self.offset.min(view.nodes.len()));
        next
    }
}

/// Appends the spans of a view, in its order; `is_direct` says which ones bear the ID that was asked for.
pub(crate) fn write_spans(
    output: &mut String,
    view: &TraceView,
    batches: &[RecordBatch],
    is_direct: &dyn Fn(usize, usize) -> bool,
) -> Result<(), Error> {
    let columns = batches.iter().map(Spans::new).collect::<Result<Vec<_>, _>>()?;
    for (index, node) in view.nodes.iter().enumerate() {
        if index > 0 {
            output.push(',');
        }
        columns[node.batch].write_open(output, node.row);
        output.write_fmt(format_args!(",\"depth\":{}", node.depth)).expect("writing to a String cannot fail");
        if node.is_conflict {
            output.push_str(",\"conflict\":true");
        }
        output.push_str(if is_direct(node.batch, node.row) { ",\"direct\":true}" } else { "}" });
    }
    Ok(())
}

/// Appends log records in time order, those of one trace or, with `None`, all.
pub(crate) fn write_logs(
    output: &mut String,
    batches: &[RecordBatch],
    trace_id: Option<TraceId>,
    is_direct: &dyn Fn(usize, usize) -> bool,
) -> Result<usize, Error> {
    let columns = batches.iter().map(LogRecords::new).collect::<Result<Vec<_>, _>>()?;
    let mut order = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let ids = crate::lookup::id_column(batch, "trace_id")?;
        let times = columns[index].event_times();
        for (row, time) in times.iter().enumerate() {
            if trace_id.is_none() || crate::lookup::id_at(ids, row) == trace_id {
                order.push((*time, index, row));
            }
        }
    }
    order.sort_unstable();
    for (count, (_, index, row)) in order.iter().enumerate() {
        if count > 0 {
            output.push(',');
        }
        columns[*index].write(output, *row);
        if is_direct(*index, *row) {
            output.pop();
            output.push_str(",\"direct\":true}");
        }
    }
    Ok(order.len())
}
