//! Series on their way into columns.

use arrow::array::RecordBatch;

use super::exemplars::Exemplars;
use super::histogram::NativeHistogram;
use super::labels::{LabelSets, SeriesCodes};
use super::metadata::Metadata;
use super::symbols::Symbols;
use super::{LabelCache, SAMPLES, STALE, Version, count_items, nanos};
use crate::decode::attribute_set::RawSet;
use crate::decode::point_columns::{PointCodes, PointColumns, RowHead};
use crate::decode::points::{NO_RECORDED_VALUE, Number};
use crate::decode::wire::{Fields, WireError};
use crate::decode::{DecodeError, Outcome, Reason, Written};

/// The rows of a request.
#[derive(Debug)]
pub(super) struct SeriesRows<'a> {
    version: Version,
    symbols: Symbols<'a>,
    columns: PointColumns<'a>,
    labels: LabelSets<'a>,
    metadata: Metadata<'a>,
    exemplars: Exemplars<'a>,
    written: Written,
    /// The labels and the histogram at hand.
    set: RawSet<'a>,
    histogram: NativeHistogram,
}

/// A series as it stands on the wire; its labels are elsewhere.
struct RawSeries<'a> {
    /// Empty when there are none.
    metadata: &'a [u8],
    /// The message from the first sample, histogram or exemplar on.
    items: &'a [u8],
}

impl<'a> RawSeries<'a> {
    /// Finds the parts of a series; an error here costs all of it.
    #[inline]
    fn read(version: Version, message: &'a [u8], labels: &mut RawSet<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(message);
        let (mut series, mut before) = (Self { metadata: &[], items: &[] }, message);
        labels.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => labels.push(before, fields.rest()),
                5 if version == Version::V2 => series.metadata = value.bytes(&fields)?,
                number if version.is_item(number) && series.items.is_empty() => series.items = before,
                _ => {}
            }
            before = fields.rest();
        }
        Ok(series)
    }
}

impl<'a> SeriesRows<'a> {
    pub(super) fn new(version: Version, symbols: Symbols<'a>, cache: Option<&'a LabelCache>, rows: usize) -> Self {
        let mut columns = PointColumns::with_capacity(rows);
        columns.origin().enter_nowhere();
        let metadata = Metadata::new(columns.prometheus_codes());
        Self {
            version,
            symbols,
            columns,
            labels: LabelSets::new(version, cache),
            metadata,
            exemplars: Exemplars::new(version),
            written: Written::default(),
            set: RawSet::default(),
            histogram: NativeHistogram::default(),
        }
    }

    /// Takes a series, or counts why it cannot be taken.
    pub(super) fn take(&mut self, message: &'a [u8], outcome: &mut Outcome<'a>) {
        let series = RawSeries::read(self.version, message, &mut self.set).map_err(Reason::from);
        let read = series.and_then(|series| Ok((self.codes(&series, outcome)?, series)));
        match read {
            Ok(((codes, point), series)) => self.take_items(series.items, codes, point, outcome),
            Err(reason) => {
                let items = count_items(self.version, message).max(1);
                outcome.reject(self.labels.last_service(), items as u64, reason);
            }
        }
    }

    fn codes(
        &mut self,
        series: &RawSeries<'a>,
        outcome: &mut Outcome<'a>,
    ) -> Result<(SeriesCodes, PointCodes), Reason> {
        let codes = self.labels.codes(&self.set, &self.symbols, &mut self.columns)?;
        let writer = &mut outcome.writer;
        let described = self.metadata.codes(series.metadata, &self.symbols, &mut self.columns, writer)?;
        Ok((codes, described.named(codes.name)))
    }

    fn take_items(&mut self, items: &'a [u8], series: SeriesCodes, point: PointCodes, outcome: &mut Outcome<'a>) {
        self.columns.origin().enter_service(series.service);
        let mut fields = Fields::new(items);
        // The framing was read before.
        while let Ok(Some((number, value))) = fields.next() {
            if !self.version.is_item(number) {
                continue;
            }
            let taken = match value.bytes(&fields) {
                Err(error) => Err(error.into()),
                Ok(item) if number == SAMPLES => self.push_sample(item, &series, &point, outcome),
                Ok(item) if number == self.version.histograms_field() => {
                    self.push_histogram(item, &series, &point, outcome)
                }
                Ok(item) => self.exemplars.read(item, &self.symbols, series, point),
            };
            if let Err(reason) = taken {
                let reason = reason.about(self.columns.name(&point));
                outcome.reject(self.columns.origin().service(), 1, reason);
            }
        }
    }

    #[inline]
    fn push_sample(
        &mut self,
        message: &[u8],
        series: &SeriesCodes,
        point: &PointCodes,
        outcome: &Outcome<'a>,
    ) -> Result<(), Reason> {
        let (mut value, mut time, mut start) = (0.0_f64, 0, 0);
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => value = field.double(&fields)?,
                2 => time = field.varint(&fields)? as i64,
                3 if self.version == Version::V2 => start = field.varint(&fields)? as i64,
                _ => {}
            }
        }
        let is_stale = value.to_bits() == STALE;
        let (time, start) = (nanos(time)?, nanos(start)?);
        self.push_head(time, start, is_stale, series, point, outcome)?;
        self.columns.push_number((!is_stale).then_some(Number::Double(value)));
        self.columns.origin().push_row();
        self.written.samples += 1;
        Ok(())
    }

    fn push_histogram(
        &mut self,
        message: &[u8],
        series: &SeriesCodes,
        point: &PointCodes,
        outcome: &Outcome<'a>,
    ) -> Result<(), Reason> {
        self.histogram.read(message)?;
        let (is_stale, time, start) = (self.histogram.is_stale(), self.histogram.time, self.histogram.start);
        self.push_head(time, start, is_stale, series, point, outcome)?;
        if is_stale {
            self.columns.push_number(None);
        } else {
            self.columns.push_native_histogram(&self.histogram);
        }
        self.columns.origin().push_row();
        self.written.histograms += 1;
        Ok(())
    }

    /// Begins a row; the last step that can fail, and the first that touches a column.
    #[inline]
    fn push_head(
        &mut self,
        time: i64,
        start: i64,
        is_stale: bool,
        series: &SeriesCodes,
        point: &PointCodes,
        outcome: &Outcome<'a>,
    ) -> Result<(), Reason> {
        let time = outcome.admit_nanos(time)?;
        let flags = if is_stale { NO_RECORDED_VALUE } else { 0 };
        let head = RowHead { time, start: (start != 0).then_some(start), flags };
        self.columns.push_head(&head, point, series.attributes, series.series_id);
        Ok(())
    }

    /// The rows, and what of the request they are.
    pub(super) fn finish(mut self, outcome: &mut Outcome<'a>) -> Result<(RecordBatch, Written), DecodeError> {
        self.written.exemplars = self.exemplars.attach(&mut self.columns, outcome);
        Ok((self.columns.finish()?, self.written))
    }
}
