//! `ExportMetricsServiceRequest` (opentelemetry/proto/metrics/v1/metrics.proto).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int32Builder, Int64Builder, ListBuilder,
    RecordBatch, StringBuilder, StructBuilder, TimestampNanosecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field};
use trivium_model::SignalKind;
use trivium_storage::schema::{decoded_schema, exemplar_fields};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::column::{SparseColumn, TextColumn};
use super::logs::append_id;
use super::origin::OriginColumns;
use super::points::{Exemplar, MetricType, Number, Point};
use super::value::{AttributeColumn, RawSet, Sanitized};
use super::wire::{Fields, WireError};
use super::{DecodeError, Outcome, Reason};

type Doubles = SparseColumn<Float64Builder>;
type Counts = SparseColumn<UInt64Builder>;
type Integers = SparseColumn<Int32Builder>;
type CountLists = SparseColumn<ListBuilder<UInt64Builder>>;
type DoubleLists = SparseColumn<ListBuilder<Float64Builder>>;

#[derive(Debug)]
struct PointColumns {
    origin: OriginColumns,
    rows: usize,
    time: TimestampNanosecondBuilder,
    start_time: SparseColumn<TimestampNanosecondBuilder>,
    name: TextColumn,
    metric_type: TextColumn,
    unit: TextColumn,
    description: TextColumn,
    metadata: AttributeColumn,
    temporality: TextColumn,
    is_monotonic: SparseColumn<BooleanBuilder>,
    attributes: AttributeColumn,
    series_id: UInt64Builder,
    flags: UInt32Builder,
    value: Doubles,
    value_int: SparseColumn<Int64Builder>,
    count: Counts,
    sum: Doubles,
    min: Doubles,
    max: Doubles,
    bucket_counts: CountLists,
    explicit_bounds: DoubleLists,
    scale: Integers,
    zero_count: Counts,
    zero_threshold: Doubles,
    positive_offset: Integers,
    positive_counts: CountLists,
    negative_offset: Integers,
    negative_counts: CountLists,
    quantiles: DoubleLists,
    quantile_values: DoubleLists,
    exemplars: SparseColumn<ListBuilder<StructBuilder>>,
}

/// A metric as it stands on the wire.
#[derive(Debug)]
struct Metric<'a> {
    name: &'a [u8],
    description: &'a [u8],
    unit: &'a [u8],
    metadata: RawSet<'a>,
    metric_type: MetricType,
    points: Vec<&'a [u8]>,
    temporality: i32,
    is_monotonic: bool,
}

/// The codes that all points of a metric share.
#[derive(Debug)]
struct MetricCodes {
    metric_type: MetricType,
    name: i32,
    type_name: i32,
    unit: Option<i32>,
    description: Option<i32>,
    metadata: Option<i32>,
    temporality: Option<i32>,
    is_monotonic: Option<bool>,
    /// The hash of everything in a series' identity but the attributes.
    identity: u64,
}

pub(super) fn decode(payload: &[u8], outcome: &mut Outcome) -> Result<RecordBatch, DecodeError> {
    let mut columns = PointColumns::new();
    let mut resources = Fields::new(payload);
    while let Some((number, value)) = resources.next()? {
        if number != 1 {
            continue;
        }
        for scope in columns.origin.enter_resource(value.bytes()?, &mut outcome.sanitized)? {
            columns.origin.enter_scope(scope, &mut outcome.sanitized)?;
            let mut metrics = Fields::new(scope);
            while let Some((number, value)) = metrics.next()? {
                if number != 2 {
                    continue;
                }
                match Metric::read(value.bytes()?) {
                    Ok(Some(metric)) => columns.push_metric(&metric, outcome)?,
                    Ok(None) => {}
                    Err(error) => outcome.reject(columns.origin.service(), error.into()),
                }
            }
        }
    }
    columns.finish()
}

impl<'a> Metric<'a> {
    /// `None` for a metric without data, or of a type that this build does not know.
    fn read(message: &'a [u8]) -> Result<Option<Self>, WireError> {
        let mut fields = Fields::new(message);
        let (mut name, mut description, mut unit, mut data) = (&[][..], &[][..], &[][..], None);
        let mut metadata = RawSet::default();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => name = value.bytes()?,
                2 => description = value.bytes()?,
                3 => unit = value.bytes()?,
                12 => metadata.push(value)?,
                number => {
                    if let Some(metric_type) = MetricType::of_field(number) {
                        data = Some((metric_type, value.bytes()?));
                    }
                }
            }
        }
        let Some((metric_type, data)) = data else { return Ok(None) };
        let mut metric = Self {
            name,
            description,
            unit,
            metadata,
            metric_type,
            points: Vec::new(),
            temporality: 0,
            is_monotonic: false,
        };
        let mut fields = Fields::new(data);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => metric.points.push(value.bytes()?),
                2 if metric_type.has_temporality() => metric.temporality = value.int32()?,
                3 if metric_type == MetricType::Sum => metric.is_monotonic = value.varint()? != 0,
                _ => {}
            }
        }
        Ok(Some(metric))
    }

    /// Why none of its points can be taken.
    fn check(&self) -> Result<(), Reason> {
        if self.name.is_empty() {
            return Err(Reason::new("metric has no name", String::new()));
        }
        if self.metric_type.has_temporality() && !(1..=2).contains(&self.temporality) {
            let example = format!("{}: temporality {}", String::from_utf8_lossy(self.name), self.temporality);
            return Err(Reason::new("aggregation temporality must be delta or cumulative", example));
        }
        Ok(())
    }
}

fn list_of<B: arrow::array::ArrayBuilder>(values: B, item: DataType) -> SparseColumn<ListBuilder<B>> {
    let builder = ListBuilder::new(values).with_field(Field::new("item", item, true));
    SparseColumn::new(builder, |builder| builder.append_null())
}

fn exemplar_builder() -> StructBuilder {
    StructBuilder::new(
        exemplar_fields(),
        vec![
            Box::new(TimestampNanosecondBuilder::new()),
            Box::new(Float64Builder::new()),
            Box::new(Int64Builder::new()),
            Box::new(FixedSizeBinaryBuilder::new(16)),
            Box::new(FixedSizeBinaryBuilder::new(8)),
            Box::new(StringBuilder::new()),
        ],
    )
}

impl PointColumns {
    fn new() -> Self {
        let doubles = || SparseColumn::new(Float64Builder::new(), |builder| builder.append_null());
        let counts = || SparseColumn::new(UInt64Builder::new(), |builder| builder.append_null());
        let integers = || SparseColumn::new(Int32Builder::new(), |builder| builder.append_null());
        let count_lists = || list_of(UInt64Builder::new(), DataType::UInt64);
        let double_lists = || list_of(Float64Builder::new(), DataType::Float64);
        Self {
            origin: OriginColumns::default(),
            rows: 0,
            time: TimestampNanosecondBuilder::new(),
            start_time: SparseColumn::new(TimestampNanosecondBuilder::new(), |builder| builder.append_null()),
            name: TextColumn::default(),
            metric_type: TextColumn::default(),
            unit: TextColumn::default(),
            description: TextColumn::default(),
            metadata: AttributeColumn::default(),
            temporality: TextColumn::default(),
            is_monotonic: SparseColumn::new(BooleanBuilder::new(), |builder| builder.append_null()),
            attributes: AttributeColumn::default(),
            series_id: UInt64Builder::new(),
            flags: UInt32Builder::new(),
            value: doubles(),
            value_int: SparseColumn::new(Int64Builder::new(), |builder| builder.append_null()),
            count: counts(),
            sum: doubles(),
            min: doubles(),
            max: doubles(),
            bucket_counts: count_lists(),
            explicit_bounds: double_lists(),
            scale: integers(),
            zero_count: counts(),
            zero_threshold: doubles(),
            positive_offset: integers(),
            positive_counts: count_lists(),
            negative_offset: integers(),
            negative_counts: count_lists(),
            quantiles: double_lists(),
            quantile_values: double_lists(),
            exemplars: list_of(exemplar_builder(), DataType::Struct(exemplar_fields())),
        }
    }

    fn push_metric(&mut self, metric: &Metric<'_>, outcome: &mut Outcome) -> Result<(), DecodeError> {
        if let Err(reason) = metric.check() {
            let Reason { text, example } = reason;
            for _ in &metric.points {
                outcome.reject(self.origin.service(), Reason::new(text, example.clone()));
            }
            return Ok(());
        }
        let codes = self.codes(metric, &mut outcome.sanitized)?;
        let mut set = RawSet::default();
        for message in &metric.points {
            if let Err(mut reason) = self.push(&codes, message, &mut set, outcome) {
                reason.example = format!("{}: {}", self.name.text_of(codes.name), reason.example);
                outcome.reject(self.origin.service(), reason);
            }
        }
        Ok(())
    }

    fn codes(&mut self, metric: &Metric<'_>, sanitized: &mut Sanitized) -> Result<MetricCodes, WireError> {
        fn optional(column: &mut TextColumn, text: &str) -> Option<i32> {
            (!text.is_empty()).then(|| column.code(text))
        }
        let (name, unit) = (sanitized.name(metric.name), sanitized.name(metric.unit));
        let temporality = match metric.temporality {
            1 => "delta",
            2 => "cumulative",
            _ => "",
        };
        let has_metadata = !metric.metadata.pairs.is_empty();
        let (resource, scope) = self.origin.identity();
        let monotonic = if metric.is_monotonic { "1" } else { "0" };
        let identity = [resource, scope, &name, metric.metric_type.as_str(), &unit, temporality, monotonic].join("\0");
        Ok(MetricCodes {
            metric_type: metric.metric_type,
            identity: xxh3_64(identity.as_bytes()),
            name: self.name.code(&name),
            type_name: self.metric_type.code(metric.metric_type.as_str()),
            unit: optional(&mut self.unit, &unit),
            description: optional(&mut self.description, &sanitized.name(metric.description)),
            metadata: if has_metadata { Some(self.metadata.code(&metric.metadata, sanitized)?) } else { None },
            temporality: optional(&mut self.temporality, temporality),
            is_monotonic: (metric.metric_type == MetricType::Sum).then_some(metric.is_monotonic),
        })
    }

    /// Everything that can fail comes before the first column is touched, so that a rejected point leaves no trace.
    fn push<'a>(
        &mut self,
        codes: &MetricCodes,
        message: &'a [u8],
        set: &mut RawSet<'a>,
        outcome: &mut Outcome,
    ) -> Result<(), Reason> {
        let point = Point::read(codes.metric_type, message, set)?;
        let time = point.check(codes.metric_type, outcome)?;
        if self.origin.is_full() {
            return Err(Reason::new("the request has too much distinct text", String::new()));
        }
        let sanitized = &mut outcome.sanitized;
        let exemplars = point.read_exemplars(sanitized)?;
        let attributes = self.attributes.code(set, sanitized)?;
        let series = xxh3_64_with_seed(self.attributes.column.text_of(attributes).as_bytes(), codes.identity);
        self.time.append_value(time);
        if let Ok(start @ 1..) = i64::try_from(point.start) {
            self.start_time.at(self.rows).append_value(start);
        }
        self.push_codes(codes);
        self.attributes.push_code(attributes);
        self.series_id.append_value(series);
        self.flags.append_value(point.flags);
        match codes.metric_type {
            MetricType::Gauge | MetricType::Sum => self.push_number(point.value),
            MetricType::Histogram => self.push_histogram(&point),
            MetricType::ExponentialHistogram => self.push_exponential(&point),
            MetricType::Summary => self.push_summary(&point),
        }
        if !exemplars.is_empty() {
            let list = self.exemplars.at(self.rows);
            exemplars.iter().for_each(|exemplar| append_exemplar(list, exemplar, sanitized));
            list.append(true);
        }
        self.origin.push_row();
        self.rows += 1;
        Ok(())
    }

    fn push_codes(&mut self, codes: &MetricCodes) {
        fn push(column: &mut TextColumn, code: Option<i32>) {
            match code {
                Some(code) => column.push_code(code),
                None => column.push_null(),
            }
        }
        self.name.push_code(codes.name);
        self.metric_type.push_code(codes.type_name);
        push(&mut self.unit, codes.unit);
        push(&mut self.description, codes.description);
        push(&mut self.metadata.column, codes.metadata);
        push(&mut self.temporality, codes.temporality);
        if let Some(is_monotonic) = codes.is_monotonic {
            self.is_monotonic.at(self.rows).append_value(is_monotonic);
        }
    }

    fn push_number(&mut self, value: Option<Number>) {
        match value {
            Some(Number::Double(value)) => self.value.at(self.rows).append_value(value),
            Some(Number::Int(value)) => {
                self.value.at(self.rows).append_value(value as f64);
                self.value_int.at(self.rows).append_value(value);
            }
            None => {}
        }
    }

    /// Count, sum, minimum and maximum, as far as they were sent.
    fn push_totals(&mut self, point: &Point<'_>) {
        self.count.at(self.rows).append_value(point.count);
        for (column, value) in [(&mut self.sum, point.sum), (&mut self.min, point.min), (&mut self.max, point.max)] {
            if let Some(value) = value {
                column.at(self.rows).append_value(value);
            }
        }
    }

    fn push_histogram(&mut self, point: &Point<'_>) {
        self.push_totals(point);
        append_counts(self.bucket_counts.at(self.rows), &point.bucket_counts);
        append_doubles(self.explicit_bounds.at(self.rows), &point.bounds);
    }

    fn push_exponential(&mut self, point: &Point<'_>) {
        self.push_totals(point);
        self.scale.at(self.rows).append_value(point.scale);
        self.zero_count.at(self.rows).append_value(point.zero_count);
        self.zero_threshold.at(self.rows).append_value(point.zero_threshold);
        self.positive_offset.at(self.rows).append_value(point.positive.offset);
        append_counts(self.positive_counts.at(self.rows), &point.positive.counts);
        self.negative_offset.at(self.rows).append_value(point.negative.offset);
        append_counts(self.negative_counts.at(self.rows), &point.negative.counts);
    }

    fn push_summary(&mut self, point: &Point<'_>) {
        self.push_totals(point);
        let (quantiles, values): (Vec<f64>, Vec<f64>) = point.quantiles.iter().copied().unzip();
        append_doubles(self.quantiles.at(self.rows), &quantiles);
        append_doubles(self.quantile_values.at(self.rows), &values);
    }

    fn finish(mut self) -> Result<RecordBatch, DecodeError> {
        let (service, origin) = self.origin.finish()?;
        let schema = decoded_schema(SignalKind::Metrics);
        let rows = self.rows;
        let data_type = |name: &str| schema.field_with_name(name).map(|field| field.data_type().clone());
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            self.start_time.finish(rows, &data_type("start_time")?),
            service,
            self.name.finish()?,
            self.metric_type.finish()?,
            self.unit.finish()?,
            self.description.finish()?,
            self.metadata.column.finish()?,
            self.temporality.finish()?,
            self.is_monotonic.finish(rows, &DataType::Boolean),
            self.attributes.column.finish()?,
            Arc::new(self.series_id.finish()),
            Arc::new(self.flags.finish()),
            self.value.finish(rows, &DataType::Float64),
            self.value_int.finish(rows, &DataType::Int64),
            self.count.finish(rows, &DataType::UInt64),
            self.sum.finish(rows, &DataType::Float64),
            self.min.finish(rows, &DataType::Float64),
            self.max.finish(rows, &DataType::Float64),
            self.bucket_counts.finish(rows, &data_type("bucket_counts")?),
            self.explicit_bounds.finish(rows, &data_type("explicit_bounds")?),
            self.scale.finish(rows, &DataType::Int32),
            self.zero_count.finish(rows, &DataType::UInt64),
            self.zero_threshold.finish(rows, &DataType::Float64),
            self.positive_offset.finish(rows, &DataType::Int32),
            self.positive_counts.finish(rows, &data_type("positive_counts")?),
            self.negative_offset.finish(rows, &DataType::Int32),
            self.negative_counts.finish(rows, &data_type("negative_counts")?),
            self.quantiles.finish(rows, &data_type("quantiles")?),
            self.quantile_values.finish(rows, &data_type("quantile_values")?),
            self.exemplars.finish(rows, &data_type("exemplars")?),
        ];
        columns.extend(origin);
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

fn append_counts(list: &mut ListBuilder<UInt64Builder>, counts: &[u64]) {
    list.values().append_slice(counts);
    list.append(true);
}

fn append_doubles(list: &mut ListBuilder<Float64Builder>, values: &[f64]) {
    list.values().append_slice(values);
    list.append(true);
}

fn append_exemplar(list: &mut ListBuilder<StructBuilder>, exemplar: &Exemplar<'_>, sanitized: &mut Sanitized) {
    fn field<B: arrow::array::ArrayBuilder>(builder: &mut StructBuilder, index: usize) -> &mut B {
        builder.field_builder(index).expect("the fields of the schema are those of the builder")
    }
    let builder = list.values();
    let (value, integer) = match exemplar.value {
        Some(Number::Double(value)) => (Some(value), None),
        Some(Number::Int(value)) => (Some(value as f64), Some(value)),
        None => (None, None),
    };
    field::<TimestampNanosecondBuilder>(builder, 0).append_value(exemplar.time);
    field::<Float64Builder>(builder, 1).append_option(value);
    field::<Int64Builder>(builder, 2).append_option(integer);
    append_id::<16>(field(builder, 3), exemplar.trace_id, sanitized);
    append_id::<8>(field(builder, 4), exemplar.span_id, sanitized);
    field::<StringBuilder>(builder, 5).append_value(&exemplar.attributes);
    builder.append(true);
}
