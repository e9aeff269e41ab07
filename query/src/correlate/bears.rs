//! Whether a row bears an ID: in an ID column, or as a whole token or phrase in one of its texts.

use arrow::array::{Array, AsArray, BooleanArray, DictionaryArray, ListArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::Int32Type;
use hashbrown::HashSet;
use trivium_model::{SignalKind, TraceId};

use super::Wanted;
use crate::error::Error;
use crate::lookup::{id_at, id_column};
use crate::trace::span::{text_at, texts};

/// Checks the rows of one signal.
pub(super) struct Bearer<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) signal: SignalKind,
}

impl Bearer<'_> {
    /// The columns that the check looks at.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self.signal {
            SignalKind::Logs => &["trace_id", "span_id", "body", "event_name", "attributes", "resource"],
            SignalKind::Traces => {
                &["trace_id", "span_id", "name", "status_message", "attributes", "resource", "events", "links"]
            }
            SignalKind::Metrics => &["exemplars", "attributes"],
        }
    }

    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let mut hits = vec![false; batch.num_rows()];
        if self.signal != SignalKind::Metrics {
            self.by_id(batch, &mut hits)?;
        }
        match self.signal {
            SignalKind::Logs => {
                self.by_plain_text(batch, "body", &mut hits)?;
                self.by_text(texts(batch, "event_name")?, &mut hits);
            }
            SignalKind::Traces => {
                self.by_text(texts(batch, "name")?, &mut hits);
                self.by_text(texts(batch, "status_message")?, &mut hits);
                self.by_children(batch, "events", &mut hits);
                self.by_children(batch, "links", &mut hits);
            }
            SignalKind::Metrics => self.by_children(batch, "exemplars", &mut hits),
        }
        // A series whose labels bear the ID is a hit of the metrics explorer, not of the story: millions of points would be.
        if self.signal != SignalKind::Metrics {
            self.by_attributes(batch, "attributes", &mut hits)?;
            self.by_attributes(batch, "resource", &mut hits)?;
        }
        Ok(BooleanArray::from(hits))
    }

    fn by_id(&self, batch: &RecordBatch, hits: &mut [bool]) -> Result<(), Error> {
        let Some((column, id)) = self.wanted.column() else { return Ok(()) };
        let ids = id_column(batch, column)?;
        for (row, hit) in hits.iter_mut().enumerate() {
            *hit |= ids.is_valid(row) && ids.value(row) == id;
        }
        Ok(())
    }

    fn by_plain_text(&self, batch: &RecordBatch, name: &str, hits: &mut [bool]) -> Result<(), Error> {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let column = column.ok_or_else(|| Error::Internal(format!("the column {name} is missing or no text")))?;
        for (row, hit) in hits.iter_mut().enumerate() {
            *hit = *hit || (column.is_valid(row) && self.wanted.phrase.matches_text(column.value(row)));
        }
        Ok(())
    }

    fn by_text(&self, column: &DictionaryArray<Int32Type>, hits: &mut [bool]) {
        self.by_entry(column, hits, |text| self.wanted.phrase.matches_text(text));
    }

    fn by_attributes(&self, batch: &RecordBatch, name: &str, hits: &mut [bool]) -> Result<(), Error> {
        self.by_entry(texts(batch, name)?, hits, |set| self.set_bears(set));
        Ok(())
    }

    /// Asks once per dictionary entry.
    fn by_entry(&self, column: &DictionaryArray<Int32Type>, hits: &mut [bool], test: impl Fn(&str) -> bool) {
        let values: &StringArray = column.values().as_string();
        let mut known: Vec<Option<bool>> = vec![None; values.len()];
        for (row, hit) in hits.iter_mut().enumerate() {
            if *hit {
                continue;
            }
            if let Some(key) = column.key(row).filter(|key| *key < known.len()) {
                *hit = *known[key].get_or_insert_with(|| test(values.value(key)));
            }
        }
    }

    /// Whether a value of an attribute set bears the ID.
    fn set_bears(&self, set: &str) -> bool {
        self.wanted.may_stand_in(set)
            && trivium_storage::attributes::entries(set)
                .any(|(_, value)| self.wanted.phrase.matches_text(&value.text()))
    }

    /// Events, links and exemplars: their IDs, names and attributes.
    fn by_children(&self, batch: &RecordBatch, name: &str, hits: &mut [bool]) {
        let Some((list, fields)) = children(batch, name) else { return };
        let offsets = list.value_offsets();
        for (row, hit) in hits.iter_mut().enumerate() {
            if *hit || list.is_null(row) {
                continue;
            }
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            *hit = (start..end).any(|index| self.child_bears(fields, index));
        }
    }

    fn child_bears(&self, fields: &StructArray, index: usize) -> bool {
        let by_id = self.wanted.column().is_some_and(|(column, id)| {
            let ids = fields.column_by_name(column).and_then(|column| column.as_fixed_size_binary_opt());
            ids.is_some_and(|ids| ids.is_valid(index) && ids.value(index) == id)
        });
        let text = |name: &str| fields.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        by_id
            || text("name")
                .is_some_and(|names| names.is_valid(index) && self.wanted.phrase.matches_text(names.value(index)))
            || text("attributes").is_some_and(|sets| sets.is_valid(index) && self.set_bears(sets.value(index)))
    }
}

fn children<'batch>(batch: &'batch RecordBatch, name: &str) -> Option<(&'batch ListArray, &'batch StructArray)> {
    let list = batch.column_by_name(name)?.as_list_opt::<i32>()?;
    Some((list, list.values().as_struct_opt()?))
}

/// One exemplar, in its data point's row.
pub(super) struct ExemplarHit<'batch> {
    pub(super) row: usize,
    pub(super) index: usize,
    pub(super) fields: &'batch StructArray,
}

/// The exemplars for which `test` says yes.
fn exemplars_where<'batch>(
    batch: &'batch RecordBatch,
    test: impl Fn(&StructArray, usize) -> bool,
) -> Vec<ExemplarHit<'batch>> {
    let Some((list, fields)) = children(batch, "exemplars") else { return Vec::new() };
    let offsets = list.value_offsets();
    let mut hits = Vec::new();
    for row in (0..batch.num_rows()).filter(|row| list.is_valid(*row)) {
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        let bearing = range.filter(|index| test(fields, *index));
        hits.extend(bearing.map(|index| ExemplarHit { row, index, fields }));
    }
    hits
}

/// The exemplars that bear the ID themselves.
pub(super) fn exemplar_hits<'batch>(wanted: &Wanted, batch: &'batch RecordBatch) -> Vec<ExemplarHit<'batch>> {
    let bearer = Bearer { wanted, signal: SignalKind::Metrics };
    exemplars_where(batch, |fields, index| bearer.child_bears(fields, index))
}

/// The exemplars of some traces.
pub(super) fn exemplars_of<'batch>(batch: &'batch RecordBatch, traces: &HashSet<TraceId>) -> Vec<ExemplarHit<'batch>> {
    exemplars_where(batch, |fields, index| trace_of(fields, index).is_some_and(|trace| traces.contains(&trace)))
}

/// The rows with an exemplar of one of the traces.
pub(super) fn has_exemplar_of(batch: &RecordBatch, traces: &HashSet<TraceId>) -> BooleanArray {
    let mut rows = vec![false; batch.num_rows()];
    exemplars_of(batch, traces).into_iter().for_each(|hit| rows[hit.row] = true);
    BooleanArray::from(rows)
}

fn trace_of(fields: &StructArray, index: usize) -> Option<TraceId> {
    id_at(fields.column_by_name("trace_id")?.as_fixed_size_binary_opt()?, index)
}

/// The traces of the exemplars that bear the ID.
pub(super) fn exemplar_traces(wanted: &Wanted, batches: &[RecordBatch]) -> Vec<TraceId> {
    let hits = batches.iter().flat_map(|batch| exemplar_hits(wanted, batch));
    hits.filter_map(|hit| trace_of(hit.fields, hit.index)).collect()
}

/// The texts of the sets of a batch, each once, with the number of its rows.
pub(super) fn sets(batch: &RecordBatch) -> Result<Vec<(&str, u64)>, Error> {
    let column = texts(batch, "attributes")?;
    let mut counts = std::collections::BTreeMap::new();
    for row in 0..batch.num_rows() {
        if let Some(set) = text_at(column, row) {
            *counts.entry(set).or_insert(0) += 1;
        }
    }
    Ok(counts.into_iter().collect())
}
