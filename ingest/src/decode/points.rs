//! Data points of the five metric types as they stand on the wire, checked but not yet in columns.

use trivium_model::limit;

use super::value::{RawSet, Sanitized};
use super::wire::{Fields, Value, WireError, repeated_fixed64, repeated_varint};
use super::{Outcome, Reason};

/// `DataPointFlags.NO_RECORDED_VALUE`: a point without a value says that the series ended.
const NO_RECORDED_VALUE: u32 = 1;

/// The types of metrics; the numbers are the fields of `Metric` that hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl MetricType {
    pub(super) fn of_field(number: u32) -> Option<Self> {
        match number {
            5 => Some(Self::Gauge),
            7 => Some(Self::Sum),
            9 => Some(Self::Histogram),
            10 => Some(Self::ExponentialHistogram),
            11 => Some(Self::Summary),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::ExponentialHistogram => "exponential_histogram",
            Self::Summary => "summary",
        }
    }

    pub(super) fn has_temporality(self) -> bool {
        matches!(self, Self::Sum | Self::Histogram | Self::ExponentialHistogram)
    }
}

/// A number as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Double(f64),
    Int(i64),
}

/// Buckets of one side of an exponential histogram.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// A data point of any type.
#[derive(Debug, Default)]
pub(super) struct Point<'a> {
    pub(super) start: u64,
    pub(super) time: u64,
    pub(super) flags: u32,
    pub(super) value: Option<Number>,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) bucket_counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) exemplars: Vec<&'a [u8]>,
}

/// An exemplar, decoded.
#[derive(Debug, Default)]
pub(super) struct Exemplar<'a> {
    pub(super) time: i64,
    pub(super) value: Option<Number>,
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) attributes: String,
}

impl<'a> Point<'a> {
    /// Reads a point of a type; its attributes go into `set`.
    pub(super) fn read(metric_type: MetricType, message: &'a [u8], set: &mut RawSet<'a>) -> Result<Self, WireError> {
        let read_field = match metric_type {
            MetricType::Gauge | MetricType::Sum => Self::number_field,
            MetricType::Histogram => Self::histogram_field,
            MetricType::ExponentialHistogram => Self::exponential_field,
            MetricType::Summary => Self::summary_field,
        };
        let mut fields = Fields::new(message);
        let mut point = Self::default();
        set.clear();
        while let Some((number, value)) = fields.next()? {
            read_field(&mut point, number, value, set)?;
        }
        Ok(point)
    }

    fn number_field(&mut self, number: u32, value: Value<'a>, set: &mut RawSet<'a>) -> Result<(), WireError> {
        match number {
            2 => self.start = value.fixed64()?,
            3 => self.time = value.fixed64()?,
            4 => self.value = Some(Number::Double(value.double()?)),
            5 => self.exemplars.push(value.bytes()?),
            6 => self.value = Some(Number::Int(value.fixed64()? as i64)),
            7 => set.push(value)?,
            8 => self.flags = value.uint32()?,
            _ => {}
        }
        Ok(())
    }

    fn histogram_field(&mut self, number: u32, value: Value<'a>, set: &mut RawSet<'a>) -> Result<(), WireError> {
        match number {
            2 => self.start = value.fixed64()?,
            3 => self.time = value.fixed64()?,
            4 => self.count = value.fixed64()?,
            5 => self.sum = Some(value.double()?),
            6 => repeated_fixed64(value, &mut self.bucket_counts, |bits| bits)?,
            7 => repeated_fixed64(value, &mut self.bounds, f64::from_bits)?,
            8 => self.exemplars.push(value.bytes()?),
            9 => set.push(value)?,
            10 => self.flags = value.uint32()?,
            11 => self.min = Some(value.double()?),
            12 => self.max = Some(value.double()?),
            _ => {}
        }
        Ok(())
    }

    fn exponential_field(&mut self, number: u32, value: Value<'a>, set: &mut RawSet<'a>) -> Result<(), WireError> {
        match number {
            1 => set.push(value)?,
            2 => self.start = value.fixed64()?,
            3 => self.time = value.fixed64()?,
            4 => self.count = value.fixed64()?,
            5 => self.sum = Some(value.double()?),
            6 => self.scale = value.sint32()?,
            7 => self.zero_count = value.fixed64()?,
            8 => self.positive = read_buckets(value.bytes()?)?,
            9 => self.negative = read_buckets(value.bytes()?)?,
            10 => self.flags = value.uint32()?,
            11 => self.exemplars.push(value.bytes()?),
            12 => self.min = Some(value.double()?),
            13 => self.max = Some(value.double()?),
            14 => self.zero_threshold = value.double()?,
            _ => {}
        }
        Ok(())
    }

    fn summary_field(&mut self, number: u32, value: Value<'a>, set: &mut RawSet<'a>) -> Result<(), WireError> {
        match number {
            2 => self.start = value.fixed64()?,
            3 => self.time = value.fixed64()?,
            4 => self.count = value.fixed64()?,
            5 => self.sum = Some(value.double()?),
            6 => self.quantiles.push(read_quantile(value.bytes()?)?),
            7 => set.push(value)?,
            8 => self.flags = value.uint32()?,
            _ => {}
        }
        Ok(())
    }

    /// The time of the point when it can be taken.
    pub(super) fn check(&self, metric_type: MetricType, outcome: &Outcome) -> Result<i64, Reason> {
        if self.time == 0 {
            return Err(Reason::new("data point has no time", String::new()));
        }
        let time = outcome.admit(self.time)?;
        if self.start > self.time {
            return Err(Reason::new("start time is after time", format!("start {} time {}", self.start, self.time)));
        }
        let is_number = matches!(metric_type, MetricType::Gauge | MetricType::Sum);
        if is_number && self.value.is_none() && !self.has_no_value() {
            return Err(Reason::new("data point has no value", format!("time {}", self.time)));
        }
        match metric_type {
            MetricType::Histogram => self.check_histogram()?,
            MetricType::ExponentialHistogram => self.check_exponential()?,
            MetricType::Summary => self.check_summary()?,
            MetricType::Gauge | MetricType::Sum => {}
        }
        Ok(time)
    }

    pub(super) fn has_no_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    fn check_histogram(&self) -> Result<(), Reason> {
        let (counts, bounds) = (self.bucket_counts.len(), self.bounds.len());
        if counts > limit::BUCKETS_MAX {
            return Err(Reason::new(
                "histogram has too many buckets",
                format!("{counts} buckets, at most {}", limit::BUCKETS_MAX),
            ));
        }
        if counts != bounds + 1 && !(counts == 0 && bounds == 0) {
            return Err(Reason::new(
                "histogram needs one bucket more than bounds",
                format!("{counts} buckets, {bounds} bounds"),
            ));
        }
        let ascends = self.bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends || self.bounds.iter().any(|bound| bound.is_nan()) {
            return Err(Reason::new("histogram bounds do not ascend", format!("{:?}", &self.bounds[..bounds.min(8)])));
        }
        let total = self.bucket_counts.iter().try_fold(0_u64, |total, count| total.checked_add(*count));
        if counts > 0 && total != Some(self.count) {
            return Err(Reason::new(
                "histogram buckets do not add up to its count",
                format!("{total:?} instead of {}", self.count),
            ));
        }
        Ok(())
    }

    fn check_exponential(&self) -> Result<(), Reason> {
        for buckets in [&self.positive, &self.negative] {
            let length = buckets.counts.len();
            if length > limit::BUCKETS_MAX {
                return Err(Reason::new(
                    "histogram has too many buckets",
                    format!("{length} buckets, at most {}", limit::BUCKETS_MAX),
                ));
            }
            if buckets.offset.checked_add(i32::try_from(length).unwrap_or(i32::MAX)).is_none() {
                return Err(Reason::new("histogram bucket index overflows", format!("offset {}", buckets.offset)));
            }
        }
        if !(-10..=20).contains(&self.scale) {
            return Err(Reason::new(
                "exponential histogram scale is out of range",
                format!("scale {}, -10 to 20 are taken", self.scale),
            ));
        }
        if self.zero_threshold < 0.0 || self.zero_threshold.is_nan() {
            return Err(Reason::new(
                "exponential histogram has a wrong zero threshold",
                format!("{}", self.zero_threshold),
            ));
        }
        let mut counts = self.positive.counts.iter().chain(&self.negative.counts);
        let total = counts.try_fold(self.zero_count, |total, count| total.checked_add(*count));
        if total != Some(self.count) {
            return Err(Reason::new(
                "histogram buckets do not add up to its count",
                format!("{total:?} instead of {}", self.count),
            ));
        }
        Ok(())
    }

    fn check_summary(&self) -> Result<(), Reason> {
        if self.quantiles.len() > limit::BUCKETS_MAX {
            return Err(Reason::new("summary has too many quantiles", format!("{} quantiles", self.quantiles.len())));
        }
        match self.quantiles.iter().find(|(quantile, _)| !(0.0..=1.0).contains(quantile)) {
            Some((quantile, _)) => {
                Err(Reason::new("summary quantile is not between 0 and 1", format!("quantile {quantile}")))
            }
            None => Ok(()),
        }
    }

    /// The newest exemplars, at most [`limit::EXEMPLARS_MAX`]; one without a time is none.
    pub(super) fn read_exemplars(&self, sanitized: &mut Sanitized) -> Result<Vec<Exemplar<'a>>, WireError> {
        let mut exemplars = Vec::with_capacity(self.exemplars.len());
        for message in &self.exemplars {
            let exemplar = read_exemplar(message, sanitized)?;
            if exemplar.time != 0 {
                exemplars.push(exemplar);
            }
        }
        if exemplars.len() > limit::EXEMPLARS_MAX {
            exemplars.sort_by_key(|exemplar| std::cmp::Reverse(exemplar.time));
            exemplars.truncate(limit::EXEMPLARS_MAX);
            sanitized.truncated += 1;
        }
        Ok(exemplars)
    }
}

fn read_buckets(message: &[u8]) -> Result<Buckets, WireError> {
    let mut fields = Fields::new(message);
    let mut buckets = Buckets::default();
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => buckets.offset = value.sint32()?,
            2 => repeated_varint(value, &mut buckets.counts)?,
            _ => {}
        }
    }
    Ok(buckets)
}

fn read_quantile(message: &[u8]) -> Result<(f64, f64), WireError> {
    let mut fields = Fields::new(message);
    let mut pair = (0.0, 0.0);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => pair.0 = value.double()?,
            2 => pair.1 = value.double()?,
            _ => {}
        }
    }
    Ok(pair)
}

fn read_exemplar<'a>(message: &'a [u8], sanitized: &mut Sanitized) -> Result<Exemplar<'a>, WireError> {
    let mut fields = Fields::new(message);
    let (mut exemplar, mut set) = (Exemplar::default(), RawSet::default());
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => exemplar.time = i64::try_from(value.fixed64()?).unwrap_or(i64::MAX),
            3 => exemplar.value = Some(Number::Double(value.double()?)),
            4 => exemplar.span_id = value.bytes()?,
            5 => exemplar.trace_id = value.bytes()?,
            6 => exemplar.value = Some(Number::Int(value.fixed64()? as i64)),
            7 => set.push(value)?,
            _ => {}
        }
    }
    exemplar.attributes = set.to_json(sanitized)?;
    Ok(exemplar)
}
