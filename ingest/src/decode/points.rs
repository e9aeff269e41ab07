//! The types of metrics, and what data points of all types have in common.

use super::attribute_set::RawSet;
use super::wire::{Fields, WireError};
use super::{Outcome, Reason};

/// `DataPointFlags.NO_RECORDED_VALUE`: a point without a value says that the series ended.
pub(super) const NO_RECORDED_VALUE: u32 = 1;

/// The types of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl MetricType {
    /// The type whose data is in this field of `Metric`.
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

    /// The field of a data point that holds its attributes.
    pub(super) fn attributes_field(self) -> u32 {
        match self {
            Self::Histogram => 9,
            Self::ExponentialHistogram => 1,
            Self::Gauge | Self::Sum | Self::Summary => 7,
        }
    }

    /// The field of a data point that holds its flags.
    pub(super) fn flags_field(self) -> u32 {
        match self {
            Self::Histogram | Self::ExponentialHistogram => 10,
            Self::Gauge | Self::Sum | Self::Summary => 8,
        }
    }

    /// The field of a data point that holds its exemplars.
    pub(super) fn exemplars_field(self) -> Option<u32> {
        match self {
            Self::Gauge | Self::Sum => Some(5),
            Self::Histogram => Some(8),
            Self::ExponentialHistogram => Some(11),
            Self::Summary => None,
        }
    }
}

/// A number as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Double(f64),
    Int(i64),
}

impl Number {
    /// The columns `value` and `value_int`.
    #[inline]
    pub(super) fn columns(self) -> (Option<f64>, Option<i64>) {
        match self {
            Self::Double(value) => (Some(value), None),
            Self::Int(value) => (Some(value as f64), Some(value)),
        }
    }
}

/// What data points of all types have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PointHead {
    pub(super) start: u64,
    pub(super) time: u64,
    pub(super) flags: u32,
    pub(super) has_exemplars: bool,
}

impl PointHead {
    /// The time of the point when it can be taken.
    #[inline]
    pub(super) fn check(&self, outcome: &Outcome<'_>) -> Result<i64, Reason> {
        if self.time == 0 {
            return Err(Reason::new("data point has no time", String::new()));
        }
        let time = outcome.admit(self.time)?;
        if self.start > self.time {
            return Err(Reason::new("start time is after time", format!("start {}, time {}", self.start, self.time)));
        }
        Ok(time)
    }

    /// The start time, when it is known.
    #[inline]
    pub(super) fn start(&self) -> Option<i64> {
        i64::try_from(self.start).ok().filter(|start| *start > 0)
    }
}

/// A data point of a gauge or a sum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NumberPoint {
    pub(super) head: PointHead,
    pub(super) value: Option<Number>,
}

impl NumberPoint {
    /// Reads a data point; its attributes go into `set`.
    #[inline]
    pub(super) fn read<'a>(message: &'a [u8], set: &mut RawSet<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(message);
        let (mut point, mut before) = (Self::default(), message);
        set.clear();
        while let Some((number, value)) = fields.next()? {
            match number {
                2 => point.head.start = value.fixed64(&fields)?,
                3 => point.head.time = value.fixed64(&fields)?,
                4 => point.value = Some(Number::Double(value.double(&fields)?)),
                5 => point.head.has_exemplars = true,
                6 => point.value = Some(Number::Int(value.fixed64(&fields)? as i64)),
                7 => {
                    value.bytes(&fields)?;
                    set.push(before, fields.rest());
                }
                8 => point.head.flags = value.uint32(&fields)?,
                _ => {}
            }
            before = fields.rest();
        }
        Ok(point)
    }

    /// Without a value only the mark that there is none makes sense.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Reason> {
        if self.value.is_some() || self.head.flags & NO_RECORDED_VALUE != 0 {
            return Ok(());
        }
        Err(Reason::new("data point has no value", format!("time {}", self.head.time)))
    }
}
