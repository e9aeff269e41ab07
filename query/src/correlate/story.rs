//! The answer as JSON: traces as a whole, in time order, then what belongs to none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampNanosecondType, UInt64Type};
use hashbrown::HashSet;
use trivium_model::{SignalKind, TraceId};
use trivium_storage::attributes::write_string;
use trivium_storage::tokens::is_id_token;

use super::Wanted;
use super::bears::{Bearer, ExemplarHit, exemplar_hits, exemplars_of, sets};
use crate::api::json::{write_float, write_hex};
use crate::api::write_warnings;
use crate::error::Error;
use crate::log_search::record::write_json;
use crate::lookup::{Found, Snapshots, id_at, id_column};
use crate::trace::assemble::Summary;
use crate::trace::reader::{write_logs, write_spans};
use crate::trace::span::{Spans, text_at, texts};
use crate::trace::{TraceView, assemble};

/// Values that are offered to follow.
const FOLLOW_MAX: usize = 20;

/// Everything that was found for an ID.
#[derive(Debug)]
pub(crate) struct Story {
    pub(super) wanted: Wanted,
    pub(super) logs: Found,
    pub(super) metrics: Found,
    pub(super) spans: Found,
    /// The traces that are told as a whole.
    pub(super) told: HashSet<TraceId>,
    /// Further traces that bear the ID, named only.
    pub(super) others: Vec<TraceId>,
    pub(super) told_logs: Found,
    pub(super) told_metrics: Found,
    pub(super) told_spans: Found,
    pub(super) tables: Snapshots,
}

fn append(output: &mut String, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("writing to a String cannot fail");
}

impl Story {
    /// The answer without its closing brace, so that the API can add how long it took.
    pub(crate) fn write_open(&self, output: &mut String) -> Result<(), Error> {
        let views = self.views()?;
        output.push_str("{\"id\":");
        write_string(output, &self.wanted.text);
        append(output, format_args!(",\"kind\":\"{}\",\"counts\":{{", self.wanted.kind.name()));
        let exemplars = self.exemplars()?;
        append(
            output,
            format_args!(
                "\"logs\":{},\"spans\":{},\"exemplars\":{},\"traces\":{}}}",
                self.logs.rows,
                self.spans.rows,
                exemplars.len(),
                views.len() + self.others.len()
            ),
        );
        output.push_str(",\"traces\":[");
        let direct_spans = self.direct_rows(SignalKind::Traces, &self.told_spans.batches)?;
        let direct_logs = self.direct_rows(SignalKind::Logs, &self.told_logs.batches)?;
        for (index, view) in views.iter().enumerate() {
            if index > 0 {
                output.push(',');
            }
            self.write_trace(output, view, &direct_spans, &direct_logs)?;
        }
        output.push_str("],\"other_traces\":[");
        for (index, trace) in self.others.iter().enumerate() {
            append(output, format_args!("{}\"{trace}\"", if index > 0 { "," } else { "" }));
        }
        output.push_str("],\"logs\":[");
        self.write_other_logs(output)?;
        append(output, format_args!("],\"exemplars\":[{}", exemplars.join(",")));
        output.push_str("],\"follow\":[");
        self.write_follow(output)?;
        append(output, format_args!("],\"truncated\":{}", self.is_truncated()));
        write_warnings(output, self.warnings());
        if self.logs.rows + self.spans.rows + exemplars.len() == 0 && views.is_empty() {
            self.write_why_nothing(output);
        }
        Ok(())
    }

    fn is_truncated(&self) -> bool {
        let direct = [&self.logs, &self.metrics, &self.spans].iter().any(|direct| direct.is_truncated);
        direct || !self.others.is_empty() || self.told_logs.is_truncated || self.told_spans.is_truncated
    }

    /// Why something may be missing, each reason once.
    fn warnings(&self) -> BTreeSet<&str> {
        let found = [&self.logs, &self.metrics, &self.spans, &self.told_logs, &self.told_metrics, &self.told_spans];
        found.into_iter().flat_map(|found| found.warnings.iter().map(String::as_str)).collect()
    }

    /// The told traces in time order. A trace of which only log records are known has no spans but is told all the same.
    fn views(&self) -> Result<Vec<TraceView>, Error> {
        let mut views = assemble(&self.told_spans.batches)?;
        let mut known: HashSet<TraceId> = views.iter().map(|view| view.trace_id).collect();
        for batch in &self.told_logs.batches {
            let ids = id_column(batch, "trace_id")?;
            let times =
                batch.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
            for row in 0..batch.num_rows() {
                let Some(trace_id) = id_at(ids, row) else { continue };
                if known.insert(trace_id) {
                    let time = times.map_or(0, |times| times.value(row));
                    let summary = Summary { start: time, end: time, ..Default::default() };
                    views.push(TraceView { trace_id, nodes: Vec::new(), summary });
                }
            }
        }
        views.sort_by_key(|view| (view.summary.start, view.trace_id));
        Ok(views)
    }

    /// Which rows of the told traces bear the ID themselves.
    fn direct_rows(
        &self,
        signal: SignalKind,
        batches: &[RecordBatch],
    ) -> Result<Vec<arrow::array::BooleanArray>, Error> {
        let bearer = Bearer { wanted: &self.wanted, signal };
        batches.iter().map(|batch| bearer.rows(batch)).collect()
    }

    fn write_trace(
        &self,
        output: &mut String,
        view: &TraceView,
        direct_spans: &[arrow::array::BooleanArray],
        direct_logs: &[arrow::array::BooleanArray],
    ) -> Result<(), Error> {
        append(output, format_args!("{{\"trace_id\":\"{}\",\"summary\":{{", view.trace_id));
        view.summary.write_members(output);
        output.push_str("},\"spans\":[");
        write_spans(output, view, &self.told_spans.batches, &|batch, row| direct_spans[batch].value(row))?;
        output.push_str("],\"logs\":[");
        write_logs(output, &self.told_logs.batches, Some(view.trace_id), &|batch, row| direct_logs[batch].value(row))?;
        output.push_str("]}");
        Ok(())
    }

    /// Log records that bear the ID and belong to no trace.
    fn write_other_logs(&self, output: &mut String) -> Result<(), Error> {
        let mut others = Vec::new();
        for batch in &self.logs.batches {
            let ids = id_column(batch, "trace_id")?;
            let outside = arrow::array::BooleanArray::from_iter((0..ids.len()).map(|row| Some(ids.is_null(row))));
            others.push(arrow::compute::filter_record_batch(batch, &outside)?);
        }
        write_logs(output, &others, None, &|_, _| true)?;
        Ok(())
    }

    /// The exemplars that bear the ID or belong to a told trace, as JSON objects, each once: a sender repeats an exemplar
    /// with every data point until a newer one replaces it.
    fn exemplars(&self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for batch in &self.metrics.batches {
            for hit in exemplar_hits(&self.wanted, batch) {
                found.push(exemplar_json(batch, &hit)?);
            }
        }
        for batch in &self.told_metrics.batches {
            for hit in exemplars_of(batch, &self.told) {
                found.push(exemplar_json(batch, &hit)?);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Other values that look like IDs on what was found, and traces that are linked.
    fn write_follow(&self, output: &mut String) -> Result<(), Error> {
        let mut values: BTreeMap<(String, String), [u64; 3]> = BTreeMap::new();
        for (signal, batches) in
            [(SignalKind::Logs, &self.told_logs.batches), (SignalKind::Traces, &self.told_spans.batches)]
        {
            for batch in batches {
                for (set, rows) in sets(batch)? {
                    for (key, value) in trivium_storage::attributes::entries(set) {
                        let text = value.text();
                        if value.is_string()
                            && text.len() <= 128
                            && looks_like_id(&text)
                            && !text.eq_ignore_ascii_case(&self.wanted.text)
                        {
                            values.entry((key.into_owned(), text.into_owned())).or_default()[signal.index()] += rows;
                        }
                    }
                }
            }
        }
        for batch in &self.told_spans.batches {
            let spans = Spans::new(batch)?;
            for row in 0..spans.len() {
                for linked in spans.linked_traces(row) {
                    values.entry(("link".into(), linked.to_string())).or_default()[SignalKind::Traces.index()] += 1;
                }
            }
        }
        let mut values: Vec<((String, String), [u64; 3])> = values.into_iter().collect();
        values.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
        for (index, ((key, value), counts)) in values.into_iter().take(FOLLOW_MAX).enumerate() {
            output.push_str(if index > 0 { ",{\"key\":" } else { "{\"key\":" });
            write_string(output, &key);
            output.push_str(",\"value\":");
            write_string(output, &value);
            let (logs, spans) = (counts[SignalKind::Logs.index()], counts[SignalKind::Traces.index()]);
            append(output, format_args!(",\"logs\":{logs},\"spans\":{spans}}}"));
        }
        Ok(())
    }

    fn write_why_nothing(&self, output: &mut String) {
        output.push_str(",\"why_nothing\":{\"searched\":{");
        for (index, signal) in SignalKind::ALL.into_iter().enumerate() {
            let snapshot = self.tables.of(signal);
            let rows: u64 = snapshot.parts.iter().map(|part| u64::from(part.record().rows)).sum();
            let buffered: usize = snapshot.buffered.iter().map(RecordBatch::num_rows).sum();
            let comma = if index > 0 { "," } else { "" };
            append(output, format_args!("{comma}\"{}\":{}", signal.table(), rows + buffered as u64));
        }
        output.push_str("},\"hint\":");
        write_string(output, &self.hint());
        output.push('}');
    }

    fn hint(&self) -> String {
        let text = &self.wanted.text;
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.len() {
            length @ (28..=31 | 33..=36) if is_hex => {
                format!("this looks like a trace ID with {length} digits instead of 32: was it cut when it was copied?")
            }
            length @ (13..=15 | 17..=19) if is_hex => {
                format!("this looks like a span ID with {length} digits instead of 16: was it cut when it was copied?")
            }
            _ => "an ID is found as a whole word or phrase; for a part of a word search log records with a wildcard, such as \
                  /api/v1/logs?query=*part*"
                .into(),
        }
    }
}

fn exemplar_json(batch: &RecordBatch, hit: &ExemplarHit<'_>) -> Result<String, Error> {
    let field = |name: &str| hit.fields.column_by_name(name);
    let times = field("time").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let mut output = format!("{{\"time\":\"{}\"", times.map_or(0, |times| times.value(hit.index)));
    for (key, column) in [("metric", "metric_name"), ("service", "service_name")] {
        append(&mut output, format_args!(",\"{key}\":"));
        write_string(&mut output, text_at(texts(batch, column)?, hit.row).unwrap_or_default());
    }
    output.push_str(",\"series\":");
    write_json(&mut output, text_at(texts(batch, "attributes")?, hit.row).unwrap_or("{}"));
    if let Some(values) = field("value").and_then(|column| column.as_primitive_opt::<Float64Type>()) {
        output.push_str(",\"value\":");
        write_float(&mut output, values.value(hit.index));
    }
    for name in ["trace_id", "span_id"] {
        let ids = field(name).and_then(|column| column.as_fixed_size_binary_opt());
        if let Some(ids) = ids.filter(|ids| ids.is_valid(hit.index)) {
            append(&mut output, format_args!(",\"{name}\":"));
            write_hex(&mut output, ids.value(hit.index));
        }
    }
    output.push('}');
    Ok(output)
}

/// Which row is which, over batches that were read separately: its request and its place by time and span.
pub(super) fn arrival(batch: &RecordBatch) -> Result<Vec<(u64, i64, Vec<u8>)>, Error> {
    let missing = |name: &str| Error::Internal(format!("the column {name} is missing"));
    let positions = batch.column_by_name("wal_position").and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let times = batch.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let (positions, times) = (positions.ok_or_else(|| missing("wal_position"))?, times.ok_or_else(|| missing("time"))?);
    let spans = id_column(batch, "span_id")?;
    let row = |row: usize| (positions.value(row), times.value(row), spans.value(row).to_vec());
    Ok((0..batch.num_rows()).map(row).collect())
}

/// Whether a value is worth following: one token of it is an ID.
fn looks_like_id(text: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|token| is_id_token(&token.to_lowercase()))
}
