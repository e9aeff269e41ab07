//! Data points of histograms, exponential histograms and summaries: how they are read and when they are refused.

use trivium_model::limit;

use super::Reason;
use super::attribute_set::RawSet;
use super::points::{MetricType, PointHead};
use super::wire::{Fields, Value, WireError, repeated_fixed64, repeated_varint};

/// The scales of exponential histograms that are taken: those that the OpenTelemetry SDKs make.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// Buckets of one side of an exponential histogram.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// What a data point has that is no single number. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Distribution {
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
    pub(super) quantiles: Vec<f64>,
    pub(super) quantile_values: Vec<f64>,
}

impl Distribution {
    fn clear(&mut self) {
        let Self { bucket_counts, bounds, positive, negative, quantiles, quantile_values, .. } = self;
        bucket_counts.clear();
        bounds.clear();
        quantiles.clear();
        quantile_values.clear();
        for side in [positive, negative] {
            side.counts.clear();
            side.offset = 0;
        }
        (self.count, self.sum, self.min, self.max) = (0, None, None, None);
        (self.scale, self.zero_count, self.zero_threshold) = (0, 0, 0.0);
    }

    /// Reads a data point; its attributes go into `set`.
    pub(super) fn read<'a>(
        &mut self,
        metric_type: MetricType,
        message: &'a [u8],
        set: &mut RawSet<'a>,
    ) -> Result<PointHead, WireError> {
        self.clear();
        set.clear();
        let read_own = match metric_type {
            MetricType::ExponentialHistogram => Self::exponential_field,
            MetricType::Summary => Self::summary_field,
            _ => Self::histogram_field,
        };
        let (attributes, flags) = (metric_type.attributes_field(), metric_type.flags_field());
        let mut fields = Fields::new(message);
        let (mut head, mut before) = (PointHead::default(), message);
        while let Some((number, value)) = fields.next()? {
            match number {
                2 => head.start = value.fixed64(&fields)?,
                3 => head.time = value.fixed64(&fields)?,
                4 => self.count = value.fixed64(&fields)?,
                5 => self.sum = Some(value.double(&fields)?),
                number if number == attributes => {
                    value.bytes(&fields)?;
                    set.push(before, fields.rest());
                }
                number if number == flags => head.flags = value.uint32(&fields)?,
                number if metric_type.exemplars_field() == Some(number) => head.has_exemplars = true,
                number => read_own(self, number, value, &fields)?,
            }
            before = fields.rest();
        }
        if metric_type == MetricType::Summary {
            // Other than in histograms the sum of a summary is always there: what the wire leaves out is zero.
            self.sum.get_or_insert(0.0);
        }
        Ok(head)
    }

    fn histogram_field(&mut self, number: u32, value: Value<'_>, fields: &Fields<'_>) -> Result<(), WireError> {
        match number {
            6 => repeated_fixed64(value, fields, &mut self.bucket_counts, limit::BUCKETS_MAX, |bits| bits)?,
            7 => repeated_fixed64(value, fields, &mut self.bounds, limit::BUCKETS_MAX, f64::from_bits)?,
            11 => self.min = Some(value.double(fields)?),
            12 => self.max = Some(value.double(fields)?),
            _ => {}
        }
        Ok(())
    }

    fn exponential_field(&mut self, number: u32, value: Value<'_>, fields: &Fields<'_>) -> Result<(), WireError> {
        match number {
            6 => self.scale = value.sint32(fields)?,
            7 => self.zero_count = value.fixed64(fields)?,
            8 => read_buckets(value.bytes(fields)?, &mut self.positive)?,
            9 => read_buckets(value.bytes(fields)?, &mut self.negative)?,
            12 => self.min = Some(value.double(fields)?),
            13 => self.max = Some(value.double(fields)?),
            14 => self.zero_threshold = value.double(fields)?,
            _ => {}
        }
        Ok(())
    }

    fn summary_field(&mut self, number: u32, value: Value<'_>, fields: &Fields<'_>) -> Result<(), WireError> {
        if number == 6 {
            let (quantile, value) = read_quantile(value.bytes(fields)?)?;
            // One too many is enough to be seen.
            if self.quantiles.len() <= limit::BUCKETS_MAX {
                self.quantiles.push(quantile);
                self.quantile_values.push(value);
            }
        }
        Ok(())
    }

    /// Why the data point cannot be right.
    pub(super) fn check(&self, metric_type: MetricType) -> Result<(), Reason> {
        match metric_type {
            MetricType::Histogram => self.check_histogram(),
            MetricType::ExponentialHistogram => self.check_exponential(),
            MetricType::Summary => self.check_summary(),
            MetricType::Gauge | MetricType::Sum => Ok(()),
        }
    }

    fn check_histogram(&self) -> Result<(), Reason> {
        let (counts, bounds) = (self.bucket_counts.len(), self.bounds.len());
        check_length(counts.max(bounds))?;
        if counts != 0 && counts != bounds + 1 {
            let example = format!("{counts} buckets, {bounds} bounds");
            return Err(Reason::new("histogram needs one bucket more than bounds", example));
        }
        let ascends = self.bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends || self.bounds.iter().any(|bound| bound.is_nan()) {
            let example = format!("{:?}", self.bounds.get(..8).unwrap_or(&self.bounds));
            return Err(Reason::new("histogram bounds do not ascend", example));
        }
        if counts == 0 { Ok(()) } else { self.check_count(self.bucket_counts.iter()) }
    }

    fn check_exponential(&self) -> Result<(), Reason> {
        for buckets in [&self.positive, &self.negative] {
            check_length(buckets.counts.len())?;
            if buckets.offset.checked_add(buckets.counts.len() as i32).is_none() {
                return Err(Reason::new("histogram bucket index overflows", format!("offset {}", buckets.offset)));
            }
        }
        if !SCALES.contains(&self.scale) {
            let example = format!("scale {}, {} to {} are taken", self.scale, SCALES.start(), SCALES.end());
            return Err(Reason::new("exponential histogram scale is out of range", example));
        }
        if self.zero_threshold < 0.0 || self.zero_threshold.is_nan() {
            let example = format!("zero threshold {}", self.zero_threshold);
            return Err(Reason::new("exponential histogram zero threshold is negative", example));
        }
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        self.check_count(counts.chain([&self.zero_count]))
    }

    fn check_count<'c>(&self, mut counts: impl Iterator<Item = &'c u64>) -> Result<(), Reason> {
        let total = counts.try_fold(0_u64, |total, count| total.checked_add(*count));
        if total == Some(self.count) {
            return Ok(());
        }
        let total = total.map_or("more than 64 bits".to_owned(), |total| total.to_string());
        let example = format!("count {}, the buckets add up to {total}", self.count);
        Err(Reason::new("histogram buckets do not add up to its count", example))
    }

    fn check_summary(&self) -> Result<(), Reason> {
        let quantiles = self.quantiles.len();
        if quantiles > limit::BUCKETS_MAX {
            return Err(Reason::new("summary has too many quantiles", format!("more than {}", limit::BUCKETS_MAX)));
        }
        match self.quantiles.iter().find(|quantile| !(0.0..=1.0).contains(*quantile)) {
            Some(quantile) => {
                Err(Reason::new("summary quantile is not between 0 and 1", format!("quantile {quantile}")))
            }
            None => Ok(()),
        }
    }
}

fn check_length(buckets: usize) -> Result<(), Reason> {
    if buckets <= limit::BUCKETS_MAX {
        return Ok(());
    }
    Err(Reason::new("histogram has too many buckets", format!("more than {}", limit::BUCKETS_MAX)))
}

fn read_buckets(message: &[u8], buckets: &mut Buckets) -> Result<(), WireError> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => buckets.offset = value.sint32(&fields)?,
            2 => repeated_varint(value, &fields, &mut buckets.counts, limit::BUCKETS_MAX)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_quantile(message: &[u8]) -> Result<(f64, f64), WireError> {
    let mut fields = Fields::new(message);
    let mut pair = (0.0, 0.0);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => pair.0 = value.double(&fields)?,
            2 => pair.1 = value.double(&fields)?,
            _ => {}
        }
    }
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn field(number: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        bytes.extend_from_slice(message);
        bytes
    }

    #[test]
    fn a_point_takes_no_more_memory_than_one_with_as_many_buckets_as_are_taken() {
        const ROOM: usize = 2 * (limit::BUCKETS_MAX + 1);
        let (packed, single) = (vec![0; 1_000_000], [0x10, 0].repeat(1_000_000));
        for counts in [field(2, &packed), single] {
            let (mut point, message) = (Distribution::default(), field(8, &counts));
            point.read(MetricType::ExponentialHistogram, &message, &mut RawSet::default()).expect("it is well formed");
            assert!(point.positive.counts.capacity() <= ROOM, "{}", point.positive.counts.capacity());
            assert!(point.check(MetricType::ExponentialHistogram).is_err());
        }
        let (mut point, message) = (Distribution::default(), field(6, &vec![0; 8_000_000]));
        point.read(MetricType::Histogram, &message, &mut RawSet::default()).expect("it is well formed");
        assert!(point.bucket_counts.capacity() <= ROOM && point.check(MetricType::Histogram).is_err());
        let (mut point, message) = (Distribution::default(), [0x32, 0].repeat(1_000_000));
        point.read(MetricType::Summary, &message, &mut RawSet::default()).expect("it is well formed");
        assert!(point.quantiles.capacity() <= ROOM && point.check(MetricType::Summary).is_err());
    }
}
