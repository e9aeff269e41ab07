//! Native histograms: how they are read, made absolute, and when Prometheus would refuse them.

use trivium_model::limit;

use super::{STALE, nanos};
use crate::decode::Reason;
use crate::decode::wire::{Fields, Value, WireError, repeated_fixed64, repeated_varint};

/// The schemas of exponential buckets.
const EXPONENTIAL: std::ops::RangeInclusive<i32> = -4..=8;
/// The schema of custom buckets.
const CUSTOM: i32 = -53;

/// Bytes of one histogram: the buckets that are taken, in their longest form, and room for the rest.
const BYTES_MAX: usize = limit::BUCKETS_MAX * 64;

/// Elements of a list of one histogram: as many as fit into it.
const ELEMENTS_MAX: usize = BYTES_MAX;

/// A count, of a kind that holds for all counts of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Count {
    Integer(u64),
    Float(f64),
}

impl Count {
    pub(crate) fn float(self) -> f64 {
        match self {
            Self::Integer(count) => count as f64,
            Self::Float(count) => count,
        }
    }

    pub(crate) fn integer(self) -> Option<u64> {
        match self {
            Self::Integer(count) => Some(count),
            Self::Float(_) => None,
        }
    }
}

/// The negative or the positive buckets.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Offset and length of each span, one after the other.
    pub(crate) spans: Vec<i32>,
    /// Absolute, as numbers that are exact up to 2^53.
    pub(crate) counts: Vec<f64>,
    /// As they stand on the wire, differences in zigzag code, when counts are integers.
    deltas: Vec<u64>,
}

/// One native histogram. Its memory is used again for the next.
#[derive(Debug)]
pub(crate) struct NativeHistogram {
    pub(crate) count: Count,
    pub(crate) zero_count: Count,
    pub(crate) sum: f64,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) positive: Side,
    pub(crate) negative: Side,
    pub(crate) custom_values: Vec<f64>,
    reset_hint: u64,
    pub(super) time: i64,
    pub(super) start: i64,
}

impl Default for NativeHistogram {
    fn default() -> Self {
        Self {
            count: Count::Integer(0),
            zero_count: Count::Integer(0),
            sum: 0.0,
            schema: 0,
            zero_threshold: 0.0,
            positive: Side::default(),
            negative: Side::default(),
            custom_values: Vec::new(),
            reset_hint: 0,
            time: 0,
            start: 0,
        }
    }
}

impl Side {
    fn clear(&mut self) {
        self.spans.clear();
        self.counts.clear();
        self.deltas.clear();
    }

    fn read_span(&mut self, message: &[u8]) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        let (mut offset, mut length) = (0, 0);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => offset = value.sint32(&fields)?,
                2 => length = value.uint32(&fields)?,
                _ => {}
            }
        }
        // No histogram has so many buckets; the check of the sum finds it.
        self.spans.extend([offset, i32::try_from(length).unwrap_or(i32::MAX)]);
        Ok(())
    }

    /// Sums the differences up; the sum of the counts.
    fn make_absolute(&mut self) -> Result<u64, Reason> {
        self.counts.clear();
        let (mut count, mut total) = (0_i64, 0_u64);
        for delta in &self.deltas {
            let delta = (delta >> 1) as i64 ^ -((delta & 1) as i64);
            count = count.checked_add(delta).filter(|count| *count >= 0).ok_or_else(negative_bucket)?;
            total = total.checked_add(count as u64).ok_or_else(|| mismatch("more than 64 bits".to_owned()))?;
            self.counts.push(count as f64);
        }
        Ok(total)
    }

    /// Spans and counts must speak of the same buckets; the buckets that the spans cover, gaps included.
    fn check_spans(&self) -> Result<i64, Reason> {
        let (spans, _) = self.spans.as_chunks::<2>();
        let (mut buckets, mut covered) = (0_i64, 0_i64);
        for (index, [offset, length]) in spans.iter().enumerate() {
            if index > 0 && *offset < 0 {
                let example = format!("span {index} has offset {offset}");
                return Err(Reason::new("native histogram has a span with a negative offset", example));
            }
            buckets += i64::from(*length);
            covered += i64::from(*offset) + i64::from(*length);
        }
        if buckets != self.counts.len() as i64 {
            let example = format!("spans of {buckets} buckets, {} counts", self.counts.len());
            return Err(Reason::new("native histogram spans do not fit its buckets", example));
        }
        Ok(covered)
    }
}

impl NativeHistogram {
    fn clear(&mut self) {
        self.positive.clear();
        self.negative.clear();
        self.custom_values.clear();
        (self.count, self.zero_count) = (Count::Integer(0), Count::Integer(0));
        (self.sum, self.schema, self.zero_threshold) = (0.0, 0, 0.0);
        (self.reset_hint, self.time, self.start) = (0, 0, 0);
    }

    /// Reads a histogram and checks it as Prometheus does.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<(), Reason> {
        self.clear();
        if message.len() > BYTES_MAX {
            return Err(Reason::new("histogram has too many buckets", format!("{} bytes", message.len())));
        }
        let mut fields = Fields::new(message);
        let (mut time, mut start) = (0, 0);
        while let Some((number, value)) = fields.next()? {
            match number {
                15 => time = value.varint(&fields)? as i64,
                17 => start = value.varint(&fields)? as i64,
                number => self.read_field(number, value, &fields)?,
            }
        }
        (self.time, self.start) = (nanos(time)?, nanos(start)?);
        if self.is_stale() { Ok(()) } else { self.check() }
    }

    fn read_field(&mut self, number: u32, value: Value<'_>, fields: &Fields<'_>) -> Result<(), WireError> {
        match number {
            1 => self.count = Count::Integer(value.varint(fields)?),
            2 => self.count = Count::Float(value.double(fields)?),
            3 => self.sum = value.double(fields)?,
            4 => self.schema = value.sint32(fields)?,
            5 => self.zero_threshold = value.double(fields)?,
            6 => self.zero_count = Count::Integer(value.varint(fields)?),
            7 => self.zero_count = Count::Float(value.double(fields)?),
            8 => self.negative.read_span(value.bytes(fields)?)?,
            9 => repeated_varint(value, fields, &mut self.negative.deltas, ELEMENTS_MAX)?,
            10 => repeated_fixed64(value, fields, &mut self.negative.counts, ELEMENTS_MAX, f64::from_bits)?,
            11 => self.positive.read_span(value.bytes(fields)?)?,
            12 => repeated_varint(value, fields, &mut self.positive.deltas, ELEMENTS_MAX)?,
            13 => repeated_fixed64(value, fields, &mut self.positive.counts, ELEMENTS_MAX, f64::from_bits)?,
            14 => self.reset_hint = value.varint(fields)?,
            16 => repeated_fixed64(value, fields, &mut self.custom_values, ELEMENTS_MAX, f64::from_bits)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether it says that the series ended.
    pub(super) fn is_stale(&self) -> bool {
        self.sum.to_bits() == STALE
    }

    pub(crate) fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM
    }

    pub(crate) fn reset_hint(&self) -> &'static str {
        match self.reset_hint {
            1 => "reset",
            2 => "not_reset",
            3 => "gauge",
            _ => "unknown",
        }
    }

    fn check(&mut self) -> Result<(), Reason> {
        match self.count {
            Count::Integer(count) => self.check_integers(count)?,
            Count::Float(count) => self.check_floats(count)?,
        }
        let buckets = self.positive.counts.len().max(self.negative.counts.len()).max(self.custom_values.len());
        if buckets > limit::BUCKETS_MAX {
            let example = format!("{buckets} buckets, at most {}", limit::BUCKETS_MAX);
            return Err(Reason::new("histogram has too many buckets", example));
        }
        let covered = self.positive.check_spans()?;
        self.negative.check_spans()?;
        if self.has_custom_buckets() { self.check_custom(covered) } else { self.check_exponential() }
    }

    /// The kind of `count` decides which of the other counts are meant.
    fn check_integers(&mut self, count: u64) -> Result<(), Reason> {
        let zero_count = self.zero_count.integer().unwrap_or(0);
        self.zero_count = Count::Integer(zero_count);
        let sides = [self.negative.make_absolute()?, self.positive.make_absolute()?, zero_count];
        let total = sides.into_iter().try_fold(0_u64, u64::checked_add);
        // What a NaN was observed for is in no bucket.
        let adds_up = total.is_some_and(|total| total == count || self.sum.is_nan() && total < count);
        if adds_up {
            return Ok(());
        }
        let total = total.map_or("more than 64 bits".to_owned(), |total| total.to_string());
        Err(mismatch(format!("count {count}, the buckets add up to {total}")))
    }

    /// Sums of floats are not exact, so that nobody checks whether they add up.
    fn check_floats(&mut self, count: f64) -> Result<(), Reason> {
        let zero_count = match self.zero_count {
            Count::Float(count) => count,
            Count::Integer(_) => 0.0,
        };
        self.zero_count = Count::Float(zero_count);
        let counts = self.positive.counts.iter().chain(&self.negative.counts).chain([&count, &zero_count]);
        match counts.into_iter().any(|count| *count < 0.0) {
            true => Err(negative_bucket()),
            false => Ok(()),
        }
    }

    fn check_exponential(&self) -> Result<(), Reason> {
        if !EXPONENTIAL.contains(&self.schema) {
            let (least, most) = (EXPONENTIAL.start(), EXPONENTIAL.end());
            let example = format!("schema {}; {least} to {most} and {CUSTOM} are taken", self.schema);
            return Err(Reason::new("native histogram schema is not known", example));
        }
        if !self.custom_values.is_empty() {
            let example = format!("{} custom bounds", self.custom_values.len());
            return Err(Reason::new("native histogram has exponential and custom buckets", example));
        }
        Ok(())
    }

    fn check_custom(&self, covered: i64) -> Result<(), Reason> {
        let bounds = &self.custom_values;
        let has_zero = self.zero_count.float() != 0.0 || self.zero_threshold != 0.0;
        if has_zero || !self.negative.spans.is_empty() || !self.negative.counts.is_empty() {
            let example = format!("zero count {}, threshold {}", self.zero_count.float(), self.zero_threshold);
            return Err(Reason::new("custom buckets have no zero bucket and no negative ones", example));
        }
        let ascends = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends || bounds.iter().any(|bound| bound.is_nan() || bound.is_infinite()) {
            let example = format!("{:?}", bounds.get(..8).unwrap_or(bounds));
            return Err(Reason::new("custom bounds do not ascend or are not finite", example));
        }
        let starts_before = self.positive.spans.first().is_some_and(|offset| *offset < 0);
        if starts_before || covered > bounds.len() as i64 + 1 {
            let example = format!("{} bounds, spans cover {covered} buckets", bounds.len());
            return Err(Reason::new("custom bounds do not cover the buckets", example));
        }
        Ok(())
    }
}

fn negative_bucket() -> Reason {
    Reason::new("native histogram has a negative count", String::new())
}

fn mismatch(example: String) -> Reason {
    Reason::new("histogram buckets do not add up to its count", example)
}
