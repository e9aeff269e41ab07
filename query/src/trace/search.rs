//! Traces by what their spans are like: newest first, stopping as soon as older parts cannot add a newer trace.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int32Array, RecordBatch, StringArray, StringBuilder,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampNanosecondType};
use hashbrown::{HashMap, HashSet};
use trivium_model::{TimeRange, TraceId};
use trivium_storage::tokens::filter_for_phrase;
use trivium_storage::{Part, RowRanges, Snapshot, TokenFilter, attributes};

use super::assemble::{Summary, assemble};
use super::span::{text_at, texts};
use crate::error::Error;
use crate::log_search::{CompiledQuery, Evaluation};
use crate::lookup::{Deadline, id_at, id_column, rows_of_traces, unreadable};

/// Spans that are read for the summaries of an answer.
const SUMMARY_SPANS_MAX: usize = 50_000;

/// What the spans must be like; absent is anything.
#[derive(Debug)]
pub(crate) struct TraceQuery {
    pub(crate) service: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) min_duration: Option<i64>,
    pub(crate) max_duration: Option<i64>,
    pub(crate) status: Option<i32>,
    pub(crate) query: Option<CompiledQuery>,
    pub(crate) range: TimeRange,
    pub(crate) limit: usize,
}

/// One trace that was found.
#[derive(Debug)]
pub(crate) struct TraceHit {
    pub(crate) trace_id: TraceId,
    pub(crate) matched: usize,
    pub(crate) summary: Summary,
}

/// The newest traces so far: the time of the newest matching span and how many match.
type Newest = HashMap<TraceId, (i64, usize)>;

/// The traces that were found, newest first, and why some may be missing.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) hits: Vec<TraceHit>,
    pub(crate) warnings: Vec<String>,
}

/// The newest traces that have a matching span.
pub(crate) fn search(snapshot: &Snapshot, query: &TraceQuery, deadline: Deadline) -> Result<Answer, Error> {
    let mut newest = Newest::new();
    let mut warnings = Vec::new();
    for batch in &snapshot.buffered {
        query.collect(batch, &mut newest)?;
    }
    let mut parts: Vec<&Arc<Part>> = snapshot.parts.iter().filter(|part| part.overlaps(query.range)).collect();
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.record().last_time));
    for part in parts {
        if query.is_done(&mut newest, part.record().last_time.0) {
            break;
        }
        deadline.check()?;
        match query.collect_part(part, &mut newest) {
            Err(Error::Storage(error)) => {
                tracing::error!(%error, part = %part.record().id, "a part cannot be read; answering from the others");
                warnings.push(unreadable(part));
            }
            other => other?,
        }
    }
    query.is_done(&mut newest, i64::MIN);
    let wanted: HashSet<TraceId> = newest.keys().copied().collect();
    let found = rows_of_traces(snapshot, &wanted, SUMMARY_SPANS_MAX, deadline)?;
    warnings.extend(found.warnings);
    warnings.sort_unstable();
    warnings.dedup();
    Ok(Answer { hits: summaries(&found.batches, &newest)?, warnings })
}

fn summaries(batches: &[RecordBatch], newest: &Newest) -> Result<Vec<TraceHit>, Error> {
    let views = assemble(batches)?;
    let mut hits: Vec<(i64, TraceHit)> = views
        .into_iter()
        .filter_map(|view| {
            let (time, matched) = *newest.get(&view.trace_id)?;
            Some((time, TraceHit { trace_id: view.trace_id, matched, summary: view.summary }))
        })
        .collect();
    hits.sort_unstable_by_key(|(time, hit)| std::cmp::Reverse((*time, hit.trace_id)));
    Ok(hits.into_iter().map(|(_, hit)| hit).collect())
}

impl TraceQuery {
    fn token_filter(&self) -> TokenFilter {
        let mut filters = Vec::new();
        if let Some(operation) = &self.operation {
            filters.push(filter_for_phrase(operation));
        }
        if let Some(query) = &self.query {
            filters.push(query.token_filter().clone());
        }
        TokenFilter::And(filters)
    }

    fn columns(&self) -> Vec<&'static str> {
        let mut columns = vec!["time", "trace_id"];
        let optional = [
            (self.service.is_some() || self.query.is_some(), &["service_name"][..]),
            (self.operation.is_some() || self.query.is_some(), &["name"]),
            (self.min_duration.is_some() || self.max_duration.is_some() || self.query.is_some(), &["duration"]),
            (self.status.is_some() || self.query.is_some(), &["status_code"]),
            (
                self.query.is_some(),
                &[
                    "span_id",
                    "kind",
                    "flags",
                    "status_message",
                    "events",
                    "attributes",
                    "resource",
                    "scope",
                    "wal_position",
                ],
            ),
        ];
        columns.extend(optional.into_iter().filter(|(is_needed, _)| *is_needed).flat_map(|(_, names)| names));
        columns
    }

    /// The rows of the row groups whose longest span is long enough.
    fn row_groups(&self, part: &Part) -> Result<RowRanges, Error> {
        let Some(least) = self.min_duration else { return Ok(RowRanges::all(part.record().rows)) };
        let metadata = part.metadata()?;
        let (mut start, mut ranges) = (0_u32, Vec::new());
        for group in metadata.row_groups() {
            let rows = u32::try_from(group.num_rows()).unwrap_or(u32::MAX);
            let durations = group.columns().iter().find(|column| column.column_path().string() == "duration");
            let longest = durations.and_then(|column| column.statistics()?.max_bytes_opt()?.try_into().ok());
            let longest = longest.map(i64::from_le_bytes);
            if longest.is_none_or(|longest| longest >= least) {
                ranges.push(start..start.saturating_add(rows));
            }
            start = start.saturating_add(rows);
        }
        Ok(RowRanges::from_sorted(ranges))
    }

    fn collect_part(&self, part: &Part, newest: &mut Newest) -> Result<(), Error> {
        let candidates = part.candidate_rows(&self.token_filter()).unwrap_or_else(|error| {
            tracing::error!(%error, part = %part.record().id, "an index cannot be read; searching its rows instead");
            RowRanges::all(part.record().rows)
        });
        let rows = candidates.intersect(&self.row_groups(part)?);
        for batch in part.read(Some(&self.columns()), Some(&rows))? {
            self.collect(&batch, newest)?;
        }
        Ok(())
    }

    /// Adds the traces of the matching spans of a batch.
    fn collect(&self, batch: &RecordBatch, newest: &mut Newest) -> Result<(), Error> {
        let matches = self.matching(batch)?;
        let ids = id_column(batch, "trace_id")?;
        let times = times(batch)?;
        for row in matches.values().set_indices() {
            if let Some(id) = id_at(ids, row) {
                let entry = newest.entry(id).or_insert((i64::MIN, 0));
                *entry = (entry.0.max(times[row]), entry.1 + 1);
            }
        }
        Ok(())
    }

    fn matching(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let times = times(batch)?;
        let range = self.range.start.0..self.range.end.0;
        let mut selected: Vec<bool> = times.iter().map(|time| range.contains(time)).collect();
        if let Some(service) = &self.service {
            retain_text(&mut selected, texts(batch, "service_name")?, service);
        }
        if let Some(operation) = &self.operation {
            retain_text(&mut selected, texts(batch, "name")?, operation);
        }
        if self.min_duration.is_some() || self.max_duration.is_some() {
            let durations = batch.column_by_name("duration").and_then(|column| column.as_primitive_opt::<Int64Type>());
            let durations = durations.ok_or_else(|| Error::Internal("the column duration is missing".into()))?;
            let allowed = self.min_duration.unwrap_or(i64::MIN)..=self.max_duration.unwrap_or(i64::MAX);
            retain(&mut selected, |row| durations.is_valid(row) && allowed.contains(&durations.value(row)));
        }
        if let Some(status) = self.status {
            let codes = batch.column_by_name("status_code").and_then(|column| column.as_primitive_opt::<Int32Type>());
            let codes = codes.ok_or_else(|| Error::Internal("the column status_code is missing".into()))?;
            retain(&mut selected, |row| codes.value(row) == status);
        }
        if let Some(query) = &self.query {
            let matches = Evaluation::new(query).matching(&as_log_records(batch)?)?;
            retain(&mut selected, |row| matches.value(row));
        }
        Ok(BooleanArray::from(selected))
    }

    /// Keeps the newest `limit` traces; `true` when nothing at or before `time` can be among them.
    fn is_done(&self, newest: &mut Newest, time: i64) -> bool {
        if newest.len() <= self.limit {
            return newest.len() == self.limit && newest.values().all(|(newest, _)| *newest > time);
        }
        let mut times: Vec<i64> = newest.values().map(|(time, _)| *time).collect();
        times.sort_unstable_by_key(|time| std::cmp::Reverse(*time));
        let oldest_kept = times[self.limit - 1];
        if oldest_kept <= time {
            return false;
        }
        let mut order: Vec<(i64, TraceId)> = newest.iter().map(|(id, (time, _))| (*time, *id)).collect();
        order.sort_unstable_by_key(|entry| std::cmp::Reverse(*entry));
        for (_, id) in &order[self.limit..] {
            newest.remove(id);
        }
        true
    }
}

fn times(batch: &RecordBatch) -> Result<&[i64], Error> {
    let column = batch.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    column.map(|times| &times.values()[..]).ok_or_else(|| Error::Internal("the column time is missing".into()))
}

/// Whether a buffered batch has a row in the range.
pub(crate) fn overlaps(batch: &RecordBatch, range: TimeRange) -> bool {
    times(batch).is_ok_and(|times| times.iter().any(|time| (range.start.0..range.end.0).contains(time)))
}

fn retain(selected: &mut [bool], mut keep: impl FnMut(usize) -> bool) {
    for (row, selected) in selected.iter_mut().enumerate() {
        *selected = *selected && keep(row);
    }
}

/// Equal texts, compared once per dictionary entry.
fn retain_text(selected: &mut [bool], column: &DictionaryArray<Int32Type>, wanted: &str) {
    let values: &StringArray = column.values().as_string();
    let equal: Vec<bool> = values.iter().map(|value| value == Some(wanted)).collect();
    retain(selected, |row| column.key(row).is_some_and(|key| equal.get(key).copied().unwrap_or(false)));
}

/// The name of each span with the names and attribute values of its events below it: an exception is an event.
fn told_texts(batch: &RecordBatch) -> Result<StringArray, Error> {
    let names = texts(batch, "name")?;
    let events = batch.column_by_name("events").and_then(|column| column.as_list_opt::<i32>());
    let fields = events.and_then(|events| events.values().as_struct_opt());
    let column = |name: &str| fields?.column_by_name(name)?.as_string_opt::<i32>();
    let (event_names, event_sets) = (column("name"), column("attributes"));
    let mut told = StringBuilder::with_capacity(batch.num_rows(), batch.num_rows() * 32);
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        text.clear();
        text.push_str(text_at(names, row).unwrap_or_default());
        let offsets = events.filter(|events| events.is_valid(row)).map_or(&[][..], |events| events.value_offsets());
        let range = offsets.get(row..row + 2).map_or(0..0, |ends| ends[0] as usize..ends[1] as usize);
        for index in range {
            if let Some(names) = event_names.filter(|names| names.is_valid(index)) {
                text.push('\n');
                text.push_str(names.value(index));
            }
            for (_, value) in event_sets.iter().flat_map(|sets| attributes::entries(sets.value(index))) {
                text.push('\n');
                text.push_str(&value.text());
            }
        }
        told.append_value(&text);
    }
    Ok(told.finish())
}

/// Spans in the form of log records, so that one search language serves both.
fn as_log_records(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let rows = batch.num_rows();
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let same = |name: &str| {
        let column = batch.column_by_name(name).cloned();
        column.ok_or_else(|| Error::Internal(format!("the column {name} is missing")))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", same("time")?),
        ("service_name", same("service_name")?),
        ("severity_number", Arc::new(Int32Array::from(vec![0; rows]))),
        ("severity_text", new_null_array(&text, rows)),
        ("body", Arc::new(told_texts(batch)?)),
        ("body_type", new_null_array(&text, rows)),
        ("trace_id", same("trace_id")?),
        ("span_id", same("span_id")?),
        ("flags", same("flags")?),
        ("event_name", same("status_message")?),
        ("attributes", same("attributes")?),
        ("resource", same("resource")?),
        ("scope", same("scope")?),
        ("wal_position", same("wal_position")?),
        ("name", same("name")?),
        ("kind", same("kind")?),
        ("duration", same("duration")?),
        ("status_code", same("status_code")?),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())?)
}

/// The distinct texts of a column with the number of their rows.
pub(crate) fn count_texts(batch: &RecordBatch, name: &str, counts: &mut HashMap<String, u64>) -> Result<(), Error> {
    let column = texts(batch, name)?;
    let mut by_key = vec![0_u64; column.values().len()];
    for row in 0..column.len() {
        if let Some(count) = column.key(row).and_then(|key| by_key.get_mut(key)) {
            *count += 1;
        }
    }
    let values: &StringArray = column.values().as_string();
    for (key, count) in by_key.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        *counts.entry_ref(values.value(key)).or_default() += count;
    }
    Ok(())
}
