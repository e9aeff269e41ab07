//! Exemplars of a request. Prometheus sends them as series of their own, behind or before the samples that they belong to,
//! so that they find their rows when all rows are there.

use std::ops::Range;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use trivium_model::limit;

use super::labels::{Labels, SeriesCodes, check_written};
use super::symbols::Symbols;
use super::{Version, nanos};
use crate::decode::attribute_set::RawSet;
use crate::decode::column::valid_id;
use crate::decode::exemplar::ExemplarValue;
use crate::decode::point_columns::{PointCodes, PointColumns, RowHead};
use crate::decode::points::Number;
use crate::decode::wire::Fields;
use crate::decode::{Outcome, Reason};

const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

/// The exemplars so far.
#[derive(Debug)]
pub(super) struct Exemplars<'a> {
    version: Version,
    list: Vec<Exemplar>,
    /// The labels of all of them.
    json: String,
    set: RawSet<'a>,
    labels: Labels<'a>,
}

#[derive(Debug)]
struct Exemplar {
    series: SeriesCodes,
    codes: PointCodes,
    time: i64,
    value: f64,
    trace_id: Option<[u8; 16]>,
    span_id: Option<[u8; 8]>,
    labels: Range<usize>,
}

/// The rows of the series that have exemplars, by time.
type RowsBySeries = HashMap<u64, Vec<(i64, usize)>>;

impl<'a> Exemplars<'a> {
    pub(super) fn new(version: Version) -> Self {
        Self { version, list: Vec::new(), json: String::new(), set: RawSet::default(), labels: Labels::default() }
    }

    /// Reads an exemplar of a series.
    pub(super) fn read(
        &mut self,
        message: &'a [u8],
        symbols: &Symbols<'a>,
        series: SeriesCodes,
        codes: PointCodes,
    ) -> Result<(), Reason> {
        let (value, time) = read_message(message, &mut self.set)?;
        let time = nanos(time)?;
        check_written(self.json.len())?;
        self.labels.read(self.version, &self.set, symbols)?;
        let start = self.json.len();
        self.labels.write_json("", &mut self.json);
        self.list.push(Exemplar {
            series,
            codes,
            time,
            value,
            trace_id: id_of_hex(self.labels.get(TRACE_ID)),
            span_id: id_of_hex(self.labels.get(SPAN_ID)),
            labels: start..self.json.len(),
        });
        Ok(())
    }

    /// Gives each exemplar to the row of its series that is nearest in time. A series without a row in the request gets one
    /// that has nothing but its exemplars. Returns how many were taken.
    pub(super) fn attach(self, columns: &mut PointColumns<'a>, outcome: &mut Outcome<'a>) -> u64 {
        if self.list.is_empty() {
            return 0;
        }
        let mut rows = self.rows_by_series(columns);
        self.add_carriers(&mut rows, columns, outcome);
        let row_of = |(index, exemplar): (usize, &Exemplar)| {
            let rows = rows.get(&exemplar.series.series_id)?;
            Some((nearest(rows, exemplar.time)?, exemplar.time, index))
        };
        let mut placed: Vec<(usize, i64, usize)> = self.list.iter().enumerate().filter_map(row_of).collect();
        placed.sort_unstable();
        let mut taken = 0;
        for group in placed.chunk_by(|left, right| left.0 == right.0) {
            // The newest are kept.
            let kept = group.get(group.len().saturating_sub(limit::EXEMPLARS_MAX)..).unwrap_or_default();
            if kept.len() < group.len() {
                outcome.writer.sanitized.count_truncated();
            }
            let exemplars = kept.iter().filter_map(|(_, _, index)| self.list.get(*index));
            columns.push_exemplars_at(group[0].0, exemplars.map(|exemplar| self.value(exemplar)));
            taken += kept.len() as u64;
        }
        taken
    }

    fn value<'e>(&'e self, exemplar: &'e Exemplar) -> ExemplarValue<'e> {
        ExemplarValue {
            time: exemplar.time,
            value: Some(Number::Double(exemplar.value)),
            trace_id: exemplar.trace_id.as_ref(),
            span_id: exemplar.span_id.as_ref(),
            attributes: self.json.get(exemplar.labels.clone()).unwrap_or_default(),
        }
    }

    fn rows_by_series(&self, columns: &PointColumns<'a>) -> RowsBySeries {
        let mut rows: RowsBySeries = self.list.iter().map(|exemplar| (exemplar.series.series_id, Vec::new())).collect();
        for (row, (series, time)) in columns.series_and_times().enumerate() {
            if let Some(rows) = rows.get_mut(&series) {
                rows.push((time, row));
            }
        }
        rows.values_mut().for_each(|rows| rows.sort_unstable());
        rows
    }

    /// Adds a row, with the time of the newest exemplar, for each series that has none.
    fn add_carriers(&self, rows: &mut RowsBySeries, columns: &mut PointColumns<'a>, outcome: &mut Outcome<'a>) {
        let without_row = |exemplar: &&Exemplar| rows.get(&exemplar.series.series_id).is_some_and(Vec::is_empty);
        let mut newest: HashMap<u64, (usize, u64)> = HashMap::new();
        let mut carriers: Vec<(&Exemplar, u64)> = Vec::new();
        for exemplar in self.list.iter().filter(without_row) {
            match newest.entry(exemplar.series.series_id) {
                Entry::Vacant(entry) => {
                    entry.insert((carriers.len(), 1));
                    carriers.push((exemplar, 1));
                }
                Entry::Occupied(entry) => {
                    let (known, count) = &mut carriers[entry.get().0];
                    *count += 1;
                    if exemplar.time > known.time {
                        *known = exemplar;
                    }
                }
            }
        }
        for (exemplar, count) in carriers {
            columns.origin().enter_service(exemplar.series.service);
            if let Err(reason) = outcome.admit_nanos(exemplar.time) {
                let reason = reason.about(columns.name(&exemplar.codes));
                outcome.reject(columns.origin().service(), count, reason);
                continue;
            }
            let row = columns.origin().rows();
            let head = RowHead { time: exemplar.time, start: None, flags: 0 };
            columns.push_head(&head, &exemplar.codes, exemplar.series.attributes, exemplar.series.series_id);
            columns.push_number(None);
            columns.origin().push_row();
            rows.entry(exemplar.series.series_id).or_default().push((exemplar.time, row));
        }
    }
}

/// The row whose time is nearest, the later one of two.
fn nearest(rows: &[(i64, usize)], time: i64) -> Option<usize> {
    let behind = rows.partition_point(|(other, _)| *other <= time);
    let before = behind.checked_sub(1).and_then(|index| rows.get(index));
    let after = rows.get(behind);
    let distance = |(other, _): &&(i64, usize)| other.abs_diff(time);
    after.into_iter().chain(before).min_by_key(distance).map(|(_, row)| *row)
}

fn read_message<'a>(message: &'a [u8], set: &mut RawSet<'a>) -> Result<(f64, i64), Reason> {
    let mut fields = Fields::new(message);
    let (mut sample, mut before) = ((0.0, 0), message);
    set.clear();
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => set.push(before, fields.rest()),
            2 => sample.0 = value.double(&fields)?,
            3 => sample.1 = value.varint(&fields)? as i64,
            _ => {}
        }
        before = fields.rest();
    }
    Ok(sample)
}

/// The ID that a label spells; it may be anything.
fn id_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut id = [0; N];
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    valid_id::<N>(&id).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_row_is_found_and_the_later_of_two() {
        let rows = [(10, 0), (20, 1), (20, 2), (40, 3)];
        for (time, expected) in [(i64::MIN, 0), (10, 0), (14, 0), (16, 1), (20, 2), (30, 3), (i64::MAX, 3)] {
            assert_eq!(nearest(&rows, time), Some(expected), "{time}");
        }
        assert_eq!(nearest(&[], 5), None);
    }

    #[test]
    fn only_whole_ids_are_read() {
        assert_eq!(id_of_hex::<8>("00000000000000Ff"), Some([0, 0, 0, 0, 0, 0, 0, 255]));
        for text in
            ["", "0000000000000000", "00000000000000f", "00000000000000fg", "00000000000000ff0", "ä0000000000000"]
        {
            assert_eq!(id_of_hex::<8>(text), None, "{text}");
        }
    }
}
