use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;

use super::columns::{ATTRIBUTES, RESOURCE, dictionary};
use super::facets::ValueCounts;
use super::field::Field;
use super::json_text;
use crate::error::Error;

/// Pairs of entries up to which they are counted in a plain table.
const DENSE_PAIRS_MAX: usize = 1 << 20;

/// Counts the values of attributes. What is counted per row is only the pair of its attribute set and its resource, both
/// numbers in a dictionary; the keys are looked up once per distinct set.
#[derive(Debug)]
pub(super) struct AttributeFacets {
    record_keys: Keys,
    resource_keys: Keys,
    facets: Vec<AttributeFacet>,
    attributes: Option<ArrayRef>,
    resources: Option<ArrayRef>,
    pairs: PairCounts,
}

/// One facet: in the record, in the resource, or in the resource where the record has none.
#[derive(Debug)]
struct AttributeFacet {
    index: usize,
    in_record: bool,
    in_resource: bool,
}

/// Which facets ask for a key.
#[derive(Debug, Default)]
struct Keys {
    by_key: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
enum PairCounts {
    Dense { width: usize, counts: Vec<u64> },
    Sparse(HashMap<(usize, usize), u64>),
}

/// The value of each facet in one entry.
type Values = Vec<Option<String>>;

impl Keys {
    fn values(&self, json: &str, facets: usize) -> Values {
        let mut values = vec![None; facets];
        let mut nested = false;
        for (key, value) in json_text::members(json).into_iter().flatten() {
            nested = nested || value.starts_with('{');
            for &facet in self.by_key.get(key.as_ref()).into_iter().flatten() {
                if let Some(slot) = values.get_mut(facet) {
                    *slot = Some(json_text::read(value).text().into_owned());
                }
            }
        }
        if nested {
            self.nested_values(json, &mut values);
        }
        values
    }

    fn nested_values(&self, json: &str, values: &mut Values) {
        for (key, facets) in &self.by_key {
            let missing = facets.iter().filter(|&&facet| values.get(facet).is_some_and(Option::is_none));
            let missing: Vec<usize> = missing.copied().collect();
            if missing.is_empty() {
                continue;
            }
            let value = json_text::find(json, key).map(|value| value.text().into_owned());
            for facet in missing {
                if let Some(slot) = values.get_mut(facet) {
                    slot.clone_from(&value);
                }
            }
        }
    }
}

impl AttributeFacets {
    pub(super) fn new(fields: &[Field]) -> Self {
        let (mut record_keys, mut resource_keys) = (Keys::default(), Keys::default());
        let mut facets = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let Some(key) = field.attribute_key() else { continue };
            let in_record = !matches!(field, Field::ResourceAttribute(_));
            let in_resource = !matches!(field, Field::RecordAttribute(_));
            for (keys, wanted) in [(&mut record_keys, in_record), (&mut resource_keys, in_resource)] {
                if wanted {
                    keys.by_key.entry(key.to_owned()).or_default().push(facets.len());
                }
            }
            facets.push(AttributeFacet { index, in_record, in_resource });
        }
        let pairs = PairCounts::Sparse(HashMap::new());
        Self { record_keys, resource_keys, facets, attributes: None, resources: None, pairs }
    }

    pub(super) fn columns(&self) -> Vec<&'static str> {
        let record = self.facets.iter().any(|facet| facet.in_record).then_some(ATTRIBUTES);
        let resource = self.facets.iter().any(|facet| facet.in_resource).then_some(RESOURCE);
        record.into_iter().chain(resource).collect()
    }

    pub(super) fn count(
        &mut self,
        batch: &RecordBatch,
        selection: &BooleanBuffer,
        totals: &mut [ValueCounts],
    ) -> Result<(), Error> {
        if self.facets.is_empty() {
            return Ok(());
        }
        let columns = self.columns();
        let column = |name| columns.contains(&name).then(|| dictionary(batch, name)).transpose();
        let (attributes, resources) = (column(ATTRIBUTES)?, column(RESOURCE)?);
        if !(is_same(&self.attributes, attributes) && is_same(&self.resources, resources)) {
            self.flush(totals);
            self.attributes = attributes.map(|column| Arc::clone(column.values()));
            self.resources = resources.map(|column| Arc::clone(column.values()));
            let length = |column: Option<&DictionaryArray<Int32Type>>| column.map_or(1, |column| column.values().len());
            self.pairs = PairCounts::new(length(attributes), length(resources));
        }
        let key = |column: Option<&DictionaryArray<Int32Type>>, row| column.map_or(Some(0), |column| column.key(row));
        for row in selection.set_indices() {
            if let (Some(left), Some(right)) = (key(attributes, row), key(resources, row)) {
                self.pairs.increment(left, right);
            }
        }
        Ok(())
    }

    /// Turns the counted pairs into values.
    pub(super) fn flush(&mut self, totals: &mut [ValueCounts]) {
        let mut in_resources: HashMap<usize, Values> = HashMap::new();
        let mut in_record: Option<(usize, Values)> = None;
        let pairs = std::mem::replace(&mut self.pairs, PairCounts::Sparse(HashMap::new()));
        for ((attributes, resource), count) in pairs.into_sorted() {
            // Pairs are in the order of the attribute sets: each set is read once.
            let record = match in_record.take().filter(|(known, _)| *known == attributes) {
                Some((_, values)) => values,
                None => self.record_keys.values(entry(self.attributes.as_ref(), attributes), self.facets.len()),
            };
            let resource = in_resources.entry(resource).or_insert_with(|| {
                self.resource_keys.values(entry(self.resources.as_ref(), resource), self.facets.len())
            });
            for ((facet, own), inherited) in self.facets.iter().zip(&record).zip(resource) {
                let value = own.as_ref().or(inherited.as_ref());
                if let (Some(value), Some(totals)) = (value, totals.get_mut(facet.index)) {
                    totals.add(value, count);
                }
            }
            in_record = Some((attributes, record));
        }
    }
}

fn is_same(known: &Option<ArrayRef>, column: Option<&DictionaryArray<Int32Type>>) -> bool {
    match (known, column) {
        (Some(known), Some(column)) => Arc::ptr_eq(known, column.values()),
        (None, None) => true,
        _ => false,
    }
}

fn entry(values: Option<&ArrayRef>, key: usize) -> &str {
    let Some(values) = values else { return "" };
    let values: &StringArray = values.as_string();
    if key < values.len() && values.is_valid(key) { values.value(key) } else { "" }
}

impl PairCounts {
    fn new(left: usize, right: usize) -> Self {
        match left.checked_mul(right).filter(|&pairs| pairs <= DENSE_PAIRS_MAX) {
            Some(pairs) => Self::Dense { width: right.max(1), counts: vec![0; pairs] },
            None => Self::Sparse(HashMap::new()),
        }
    }

    fn increment(&mut self, left: usize, right: usize) {
        match self {
            Self::Dense { width, counts } => {
                if let Some(count) = counts.get_mut(left * *width + right) {
                    *count += 1;
                }
            }
            Self::Sparse(counts) => *counts.entry((left, right)).or_default() += 1,
        }
    }

    fn into_sorted(self) -> Vec<((usize, usize), u64)> {
        match self {
            Self::Dense { width, counts } => {
                let pairs = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
                pairs.map(|(index, count)| ((index / width, index % width), count)).collect()
            }
            Self::Sparse(counts) => {
                let mut pairs: Vec<_> = counts.into_iter().collect();
                pairs.sort_unstable();
                pairs
            }
        }
    }
}
