//! The most frequent values of fields among the records that match, all fields in one pass.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int32Type, UInt32Type};

use super::attribute_facets::AttributeFacets;
use super::columns::{
    EVENT_NAME, FLAGS, SCOPE, SERVICE, SEVERITY_NUMBER, SEVERITY_TEXT, SPAN_ID, TRACE_ID, dictionary, dictionary_text,
    ids, numbers,
};
use super::field::Field;
use super::json_text;
use super::severity::{CLASS_COUNT, CLASSES, class_of_number, effective_number};
use crate::error::Error;

/// Fields of one request.
pub const FACETS_MAX: usize = 32;
/// Values of one field that a request may ask for.
pub const VALUES_MAX: usize = 1_000;
/// Rows that are read for the facets of one request.
pub const FACET_ROWS_MAX: u64 = 10_000_000;
/// Distinct values of one field that are counted one by one; the rest is counted together.
pub(crate) const DISTINCT_MAX: usize = 50_000;

/// How often each value of a field occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueCounts {
    counts: HashMap<String, u64>,
    /// Records whose value came after [`DISTINCT_MAX`] other ones.
    other: u64,
}

impl ValueCounts {
    pub(super) fn add(&mut self, value: &str, count: u64) {
        if let Some(known) = self.counts.get_mut(value) {
            *known += count;
        } else if self.counts.len() < DISTINCT_MAX {
            self.counts.insert(value.to_owned(), count);
        } else {
            self.other += count;
        }
    }

    fn absorb(&mut self, other: Self) {
        for (value, count) in other.counts {
            self.add(&value, count);
        }
        self.other += other.other;
    }

    /// Whether some values were only counted together, so that single counts may be too low.
    pub fn is_estimated(&self) -> bool {
        self.other > 0
    }

    /// How many distinct values there are, at least.
    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// How many records have the field.
    pub fn total(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.other
    }

    /// The most frequent values, the most frequent first.
    pub fn most_frequent(&self, count: usize) -> Vec<(&str, u64)> {
        let mut values: Vec<(&str, u64)> = self.counts.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        values.sort_unstable_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        values.truncate(count);
        values
    }
}

/// Counts the values of some fields.
#[derive(Debug)]
pub(super) struct Facets {
    fields: Vec<Field>,
    counts: Vec<ValueCounts>,
    columns: Vec<ColumnFacet>,
    attributes: AttributeFacets,
}

/// Facets of one column each, by the index of the field.
#[derive(Debug)]
struct ColumnFacet {
    index: usize,
    column: &'static str,
    kind: ColumnKind,
}

#[derive(Debug)]
enum ColumnKind {
    /// The entries of a dictionary.
    Text(EntryCounts),
    /// `name` within the entries of `scope`.
    ScopeName(EntryCounts),
    Severity([u64; CLASS_COUNT]),
    SeverityNumber(HashMap<i64, u64>),
    Flags(HashMap<i64, u64>),
    Id,
}

impl Facets {
    /// Whether a field can be a facet; the error says why not.
    pub(super) fn check(field: &Field) -> Result<(), Error> {
        match field {
            Field::Body | Field::BodyPath(_) => Err(Error::invalid_with_hint(
                format!("`{field}` cannot be a facet: bodies hardly repeat"),
                "take service, severity, event, or an attribute",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn new(fields: &[Field]) -> Self {
        let kind = |field: &Field| match field {
            Field::Service => Some((SERVICE, ColumnKind::Text(EntryCounts::default()))),
            Field::SeverityText => Some((SEVERITY_TEXT, ColumnKind::Text(EntryCounts::default()))),
            Field::EventName => Some((EVENT_NAME, ColumnKind::Text(EntryCounts::default()))),
            Field::ScopeName => Some((SCOPE, ColumnKind::ScopeName(EntryCounts::default()))),
            Field::Severity => Some((SEVERITY_NUMBER, ColumnKind::Severity([0; CLASS_COUNT]))),
            Field::SeverityNumber => Some((SEVERITY_NUMBER, ColumnKind::SeverityNumber(HashMap::new()))),
            Field::Flags => Some((FLAGS, ColumnKind::Flags(HashMap::new()))),
            Field::TraceId => Some((TRACE_ID, ColumnKind::Id)),
            Field::SpanId => Some((SPAN_ID, ColumnKind::Id)),
            _ => None,
        };
        let column = |(index, field)| kind(field).map(|(column, kind)| ColumnFacet { index, column, kind });
        Self {
            fields: fields.to_vec(),
            counts: vec![ValueCounts::default(); fields.len()],
            columns: fields.iter().enumerate().filter_map(column).collect(),
            attributes: AttributeFacets::new(fields),
        }
    }

    /// The columns that are read.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        let mut columns: Vec<&'static str> = self.columns.iter().map(|facet| facet.column).collect();
        if self.columns.iter().any(|facet| matches!(facet.kind, ColumnKind::Severity(_))) {
            columns.push(SEVERITY_TEXT);
        }
        columns.extend(self.attributes.columns());
        columns
    }

    /// Counts the selected rows.
    pub(super) fn count(&mut self, batch: &RecordBatch, selection: &BooleanBuffer) -> Result<(), Error> {
        for facet in &mut self.columns {
            let Some(counts) = self.counts.get_mut(facet.index) else { continue };
            match &mut facet.kind {
                ColumnKind::Text(entries) => entries.count(batch, facet.column, selection, counts, &whole_entry)?,
                ColumnKind::ScopeName(entries) => entries.count(batch, facet.column, selection, counts, &scope_name)?,
                ColumnKind::Severity(classes) => count_severities(batch, selection, classes)?,
                ColumnKind::SeverityNumber(map) => {
                    count_numbers(numbers::<Int32Type>(batch, facet.column)?.values(), selection, map);
                }
                ColumnKind::Flags(map) => {
                    count_numbers(numbers::<UInt32Type>(batch, facet.column)?.values(), selection, map);
                }
                ColumnKind::Id => count_ids(batch, facet.column, selection, counts)?,
            }
        }
        self.attributes.count(batch, selection, &mut self.counts)
    }

    /// The counts of each field, in the order of the fields.
    pub(super) fn finish(mut self) -> Vec<(Field, ValueCounts)> {
        self.attributes.flush(&mut self.counts);
        for facet in &mut self.columns {
            let Some(counts) = self.counts.get_mut(facet.index) else { continue };
            match &mut facet.kind {
                ColumnKind::Text(entries) => entries.flush(counts, &whole_entry),
                ColumnKind::ScopeName(entries) => entries.flush(counts, &scope_name),
                ColumnKind::Severity(classes) => {
                    let found = CLASSES.iter().zip(classes).filter(|(_, count)| **count > 0);
                    found.for_each(|(class, count)| counts.add(class, *count));
                }
                ColumnKind::SeverityNumber(map) | ColumnKind::Flags(map) => {
                    map.iter().for_each(|(number, count)| counts.add(&number.to_string(), *count));
                }
                ColumnKind::Id => {}
            }
        }
        self.fields.into_iter().zip(self.counts).collect()
    }
}

/// Adds the counts of another worker to those of this one.
pub(super) fn absorb(into: &mut Vec<(Field, ValueCounts)>, from: Vec<(Field, ValueCounts)>) {
    if into.is_empty() {
        *into = from;
        return;
    }
    for ((_, counts), (_, more)) in into.iter_mut().zip(from) {
        counts.absorb(more);
    }
}

fn whole_entry(entry: &str, counts: &mut ValueCounts, count: u64) {
    counts.add(entry, count);
}

fn scope_name(entry: &str, counts: &mut ValueCounts, count: u64) {
    if let Some(name) = json_text::find(entry, "name") {
        counts.add(&name.text(), count);
    }
}

/// How often each entry of the current dictionary occurs; turned into values when the dictionary changes.
#[derive(Debug, Default)]
struct EntryCounts {
    values: Option<ArrayRef>,
    counts: Vec<u64>,
}

type AddEntry = dyn Fn(&str, &mut ValueCounts, u64);

impl EntryCounts {
    fn count(
        &mut self,
        batch: &RecordBatch,
        name: &str,
        selection: &BooleanBuffer,
        totals: &mut ValueCounts,
        add: &AddEntry,
    ) -> Result<(), Error> {
        let column = dictionary(batch, name)?;
        if !self.values.as_ref().is_some_and(|known| Arc::ptr_eq(known, column.values())) {
            self.flush(totals, add);
            self.values = Some(Arc::clone(column.values()));
            self.counts.resize(column.values().len(), 0);
        }
        for row in selection.set_indices() {
            if let Some(count) = column.key(row).and_then(|key| self.counts.get_mut(key)) {
                *count += 1;
            }
        }
        Ok(())
    }

    fn flush(&mut self, totals: &mut ValueCounts, add: &AddEntry) {
        let Some(values) = self.values.take() else { return };
        let values: &StringArray = values.as_string();
        for (key, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if values.is_valid(key) {
                add(values.value(key), totals, *count);
            }
        }
        self.counts.clear();
    }
}

fn count_severities(
    batch: &RecordBatch,
    selection: &BooleanBuffer,
    classes: &mut [u64; CLASS_COUNT],
) -> Result<(), Error> {
    let severities = numbers::<Int32Type>(batch, SEVERITY_NUMBER)?.values();
    let texts = dictionary(batch, SEVERITY_TEXT)?;
    for row in selection.set_indices() {
        let number = severities.get(row).copied().unwrap_or_default();
        let number = if number == 0 { effective_number(0, dictionary_text(texts, row)) } else { number };
        classes[class_of_number(number)] += 1;
    }
    Ok(())
}

fn count_numbers<N: Copy + Into<i64>>(column: &[N], selection: &BooleanBuffer, counts: &mut HashMap<i64, u64>) {
    for row in selection.set_indices() {
        let Some(number) = column.get(row).map(|&number| number.into()) else { continue };
        if counts.len() < DISTINCT_MAX || counts.contains_key(&number) {
            *counts.entry(number).or_default() += 1;
        }
    }
}

fn count_ids(
    batch: &RecordBatch,
    name: &str,
    selection: &BooleanBuffer,
    counts: &mut ValueCounts,
) -> Result<(), Error> {
    let column = ids(batch, name)?;
    for row in selection.set_indices().filter(|&row| column.is_valid(row)) {
        let hex: String = column.value(row).iter().map(|byte| format!("{byte:02x}")).collect();
        counts.add(&hex, 1);
    }
    Ok(())
}
