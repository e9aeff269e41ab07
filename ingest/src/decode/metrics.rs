//! `ExportMetricsServiceRequest` (opentelemetry/proto/metrics/v1/metrics.proto).

use arrow::array::RecordBatch;
use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::attribute_set::RawSet;
use super::distribution::Distribution;
use super::exemplar::Exemplars;
use super::origin::{OriginColumns, Rows, expect_rows, walk};
use super::point_columns::{MetricTexts, PointCodes, PointColumns, RowHead};
use super::points::{MetricType, NumberPoint, PointHead};
use super::value::ValueWriter;
use super::wire::{Fields, WireError};
use super::{DecodeError, Outcome, Reason};

/// The data points of a request on their way into columns.
#[derive(Debug)]
struct Points<'a> {
    columns: PointColumns<'a>,
    /// Metrics that occurred: senders repeat them for every resource.
    known: HashTable<(u64, RawMetric<'a>, usize)>,
    codes: Vec<MetricCodes>,
    identity: Identity,
    /// The attributes, exemplars and buckets of the point at hand.
    set: RawSet<'a>,
    exemplars: Exemplars<'a>,
    distribution: Distribution,
}

/// A metric as it stands on the wire, but for its data points: two of them with equal bytes are the same metric.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RawMetric<'a> {
    /// What stands before and behind the data: name, description, unit, metadata.
    before: &'a [u8],
    behind: &'a [u8],
    metric_type: MetricType,
    temporality: i32,
    is_monotonic: bool,
}

/// What all points of a metric share.
#[derive(Clone, Copy, Debug)]
struct MetricCodes {
    columns: PointCodes,
    has_name: bool,
}

/// What a series is identified by besides its attributes, joined by zero bytes: resource, scope, name, type, unit,
/// temporality, monotonicity.
#[derive(Debug, Default)]
struct Identity {
    text: Vec<u8>,
    /// The codes of the resource and scope that the text begins with, and where they end.
    origin: Option<(i32, i32)>,
    origin_end: usize,
}

impl Identity {
    /// The hash of the identity, the seed of the hash of the attributes.
    fn seed(&mut self, columns: &mut PointColumns<'_>, metric: &RawMetric<'_>, codes: &PointCodes) -> u64 {
        let origin = columns.origin().current_codes();
        if self.origin != Some(origin) {
            self.text.clear();
            for part in columns.origin().identity() {
                self.text.extend_from_slice(part);
                self.text.push(0);
            }
            (self.origin, self.origin_end) = (Some(origin), self.text.len());
        }
        self.text.truncate(self.origin_end);
        for part in [columns.name(codes), metric.metric_type.as_str().as_bytes(), columns.unit(codes)] {
            self.text.extend_from_slice(part);
            self.text.push(0);
        }
        self.text.extend_from_slice(metric.temporality().as_bytes());
        self.text.extend_from_slice(if metric.is_monotonic { b"\x001" } else { b"\x000" });
        xxh3_64(&self.text)
    }
}

pub(super) fn decode<'a>(payload: &'a [u8], outcome: &mut Outcome<'a>) -> Result<RecordBatch, DecodeError> {
    let rows = expect_rows::<Points<'_>>(payload)?;
    let mut points = Points {
        columns: PointColumns::with_capacity(rows),
        known: HashTable::new(),
        codes: Vec::new(),
        identity: Identity::default(),
        set: RawSet::default(),
        exemplars: Exemplars::default(),
        distribution: Distribution::default(),
    };
    walk(payload, &mut points, outcome)?;
    points.columns.finish()
}

impl<'a> Rows<'a> for Points<'a> {
    const BYTES: usize = 64;

    fn origin(&mut self) -> &mut OriginColumns<'a> {
        self.columns.origin()
    }

    fn take(&mut self, message: &'a [u8], outcome: &mut Outcome<'a>) {
        let before = outcome.writer.sanitized;
        let result = RawMetric::read(message).and_then(|metric| match metric {
            Some((metric, data)) => self.push_metric(metric, data, outcome),
            None => Ok(()),
        });
        if let Err(error) = result {
            outcome.writer.sanitized = before;
            let service = self.columns.origin().service();
            outcome.reject(service, Self::count(message).max(1) as u64, error.into());
        }
    }

    fn count(message: &[u8]) -> usize {
        let mut fields = Fields::new(message);
        let mut points = 0;
        while let Ok(Some((number, value))) = fields.next() {
            if MetricType::of_field(number).is_some()
                && let Ok(data) = value.bytes(&fields)
            {
                points = count_points(data);
            }
        }
        points
    }
}

fn count_points(data: &[u8]) -> usize {
    let mut fields = Fields::new(data);
    let mut points = 0;
    while let Ok(Some((number, _))) = fields.next() {
        points += usize::from(number == 1);
    }
    points
}

impl<'a> RawMetric<'a> {
    /// A metric and the message with its data points; `None` when it has no data, or of a type that this build does not know.
    #[inline]
    fn read(message: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, WireError> {
        let mut fields = Fields::new(message);
        let (mut start, mut found) = (message, None);
        while let Some((number, value)) = fields.next()? {
            if let Some(metric_type) = MetricType::of_field(number) {
                let before = message.get(..message.len() - start.len()).unwrap_or_default();
                found = Some((metric_type, value.bytes(&fields)?, before, fields.rest()));
            }
            start = fields.rest();
        }
        let Some((metric_type, data, before, behind)) = found else { return Ok(None) };
        let mut metric = Self { before, behind, metric_type, temporality: 0, is_monotonic: false };
        if metric_type.has_temporality() {
            metric.read_type(data)?;
        }
        Ok(Some((metric, data)))
    }

    /// What stands among the data points but holds for all of them.
    fn read_type(&mut self, data: &[u8]) -> Result<(), WireError> {
        let mut fields = Fields::new(data);
        while let Some((number, value)) = fields.next()? {
            match number {
                2 => self.temporality = value.int32(&fields)?,
                3 if self.metric_type == MetricType::Sum => self.is_monotonic = value.varint(&fields)? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn temporality(&self) -> &'static str {
        match self.temporality {
            1 => "delta",
            2 => "cumulative",
            _ => "",
        }
    }

    fn hash(&self) -> u64 {
        xxh3_64(self.before) ^ self.metric_type as u64 ^ xxh3_64(self.behind).rotate_left(32)
    }
}

impl<'a> Points<'a> {
    /// Takes the data points of a metric. An error says that the metric itself is not decodable, and comes before the first.
    fn push_metric(
        &mut self,
        metric: RawMetric<'a>,
        data: &'a [u8],
        outcome: &mut Outcome<'a>,
    ) -> Result<(), WireError> {
        let index = self.codes_index(metric, &mut outcome.writer)?;
        let codes = self.codes[index];
        if let Err(reason) = check(&metric, &codes) {
            let reason = reason.about(self.columns.name(&codes.columns));
            let service = self.columns.origin().service();
            outcome.reject(service, count_points(data) as u64, reason);
            return Ok(());
        }
        let seed = self.identity.seed(&mut self.columns, &metric, &codes.columns);
        let mut fields = Fields::new(data);
        while let Some((number, value)) = fields.next()? {
            if number != 1 {
                continue;
            }
            let before = outcome.writer.sanitized;
            if let Err(reason) = self.push(metric.metric_type, &codes, seed, value.bytes(&fields)?, outcome) {
                outcome.writer.sanitized = before;
                let reason = reason.about(self.columns.name(&codes.columns));
                let service = self.columns.origin().service();
                outcome.reject(service, 1, reason);
            }
        }
        Ok(())
    }

    /// The position of the codes of a metric, which is decoded when its bytes are new.
    fn codes_index(&mut self, metric: RawMetric<'a>, writer: &mut ValueWriter<'a>) -> Result<usize, WireError> {
        let hash = metric.hash();
        if let Some((_, _, index)) = self.known.find(hash, |known| known.0 == hash && known.1 == metric) {
            return Ok(*index);
        }
        let before = writer.sanitized;
        let codes = self.read_codes(&metric, writer)?;
        let index = self.codes.len();
        self.codes.push(codes);
        if writer.sanitized == before {
            self.known.insert_unique(hash, (hash, metric, index), |known| known.0);
        }
        Ok(index)
    }

    fn read_codes(&mut self, metric: &RawMetric<'a>, writer: &mut ValueWriter<'a>) -> Result<MetricCodes, WireError> {
        let (mut name, mut description, mut unit) = (&[][..], &[][..], &[][..]);
        self.set.clear();
        for part in [metric.before, metric.behind] {
            let (mut fields, mut start) = (Fields::new(part), part);
            while let Some((number, value)) = fields.next()? {
                match number {
                    1 => name = value.bytes(&fields)?,
                    2 => description = value.bytes(&fields)?,
                    3 => unit = value.bytes(&fields)?,
                    12 => {
                        value.bytes(&fields)?;
                        self.set.push(start, fields.rest());
                    }
                    _ => {}
                }
                start = fields.rest();
            }
        }
        let temporality = metric.temporality();
        let metric_type = metric.metric_type.as_str();
        let is_monotonic = (metric.metric_type == MetricType::Sum).then_some(metric.is_monotonic);
        let texts = MetricTexts { name, metric_type, unit, description, temporality, is_monotonic };
        let columns = self.columns.codes(&texts, &self.set, writer);
        Ok(MetricCodes { columns, has_name: !name.is_empty() })
    }

    /// Everything that can fail comes before the first column is touched, so that a rejected point leaves no trace.
    fn push(
        &mut self,
        metric_type: MetricType,
        codes: &MetricCodes,
        seed: u64,
        message: &'a [u8],
        outcome: &mut Outcome<'a>,
    ) -> Result<(), Reason> {
        let (head, number) = self.read_point(metric_type, message)?;
        let time = head.check(outcome)?;
        match &number {
            Some(number) => number.check()?,
            None => self.distribution.check(metric_type)?,
        }
        let writer = &mut outcome.writer;
        self.exemplars.clear();
        if let (true, Some(field)) = (head.has_exemplars, metric_type.exemplars_field()) {
            self.exemplars.read(message, field, writer)?;
            outcome.nested.admit(self.exemplars.len())?;
        }
        let attributes = self.columns.attributes(&self.set, writer);
        let series = xxh3_64_with_seed(self.columns.attributes_of(attributes), seed);
        let row = RowHead { time, start: head.start(), flags: head.flags };
        self.columns.push_head(&row, &codes.columns, attributes, series);
        match number {
            Some(number) => self.columns.push_number(number.value),
            None => self.columns.push_distribution(metric_type, &self.distribution),
        }
        self.columns.push_exemplars(&self.exemplars, &mut writer.sanitized);
        self.columns.origin().push_row();
        Ok(())
    }

    /// Reads a point; its number, when it is one, else it is in `distribution`.
    fn read_point(
        &mut self,
        metric_type: MetricType,
        message: &'a [u8],
    ) -> Result<(PointHead, Option<NumberPoint>), WireError> {
        if matches!(metric_type, MetricType::Gauge | MetricType::Sum) {
            let point = NumberPoint::read(message, &mut self.set)?;
            return Ok((point.head, Some(point)));
        }
        Ok((self.distribution.read(metric_type, message, &mut self.set)?, None))
    }
}

/// Why none of the points of a metric can be taken.
fn check(metric: &RawMetric<'_>, codes: &MetricCodes) -> Result<(), Reason> {
    if !codes.has_name {
        return Err(Reason::new("metric has no name", String::new()));
    }
    if metric.metric_type.has_temporality() && !(1..=2).contains(&metric.temporality) {
        let example = format!("temporality {}", metric.temporality);
        return Err(Reason::new("aggregation temporality must be delta or cumulative", example));
    }
    Ok(())
}
