//! The columns of the table `metrics`.

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    TimestampNanosecondBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use trivium_model::SignalKind;
use trivium_storage::schema::decoded_schema;

use super::DecodeError;
use super::attribute_set::{AttributeColumn, RawSet};
use super::column::{ABSENT, AbsentColumns, OptionalNumbers, SparseColumn, TextColumn, numbers};
use super::distribution::Distribution;
use super::exemplar::{ExemplarColumn, ExemplarValue, Exemplars};
use super::origin::OriginColumns;
use super::points::{MetricType, Number};
use super::remote_write::NativeHistogram;
use super::sanitize::Sanitized;
use super::value::ValueWriter;

type Doubles = SparseColumn<Float64Builder>;
type Counts = SparseColumn<UInt64Builder>;
type Integers = SparseColumn<Int32Builder>;
type CountLists = SparseColumn<ListBuilder<UInt64Builder>>;
type IntegerLists = SparseColumn<ListBuilder<Int32Builder>>;
type DoubleLists = SparseColumn<ListBuilder<Float64Builder>>;

/// The columns of data points. Those that only some types of metrics have are sparse.
#[derive(Debug)]
pub(super) struct PointColumns<'a> {
    origin: OriginColumns<'a>,
    time: Vec<i64>,
    start_time: SparseColumn<TimestampNanosecondBuilder>,
    name: TextColumn,
    metric_type: TextColumn,
    unit: TextColumn,
    description: TextColumn,
    metadata: AttributeColumn<'a>,
    temporality: TextColumn,
    is_monotonic: SparseColumn<BooleanBuilder>,
    attributes: AttributeColumn<'a>,
    series_id: Vec<u64>,
    flags: Vec<u32>,
    value: OptionalNumbers<Float64Type>,
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
    exemplars: ExemplarColumn,
    count_float: Doubles,
    zero_count_float: Doubles,
    positive_spans: IntegerLists,
    negative_spans: IntegerLists,
    positive_counts_float: DoubleLists,
    negative_counts_float: DoubleLists,
    /// Has the rows up to the last one with a hint.
    reset_hint: TextColumn,
}

/// What a row of any kind begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowHead {
    pub(super) time: i64,
    pub(super) start: Option<i64>,
    pub(super) flags: u32,
}

/// The codes that all points of a metric share.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointCodes {
    name: i32,
    metric_type: i32,
    unit: i32,
    description: i32,
    metadata: i32,
    temporality: i32,
    is_monotonic: Option<bool>,
}

impl PointCodes {
    /// The same codes with another name.
    pub(super) fn named(self, name: i32) -> Self {
        Self { name, ..self }
    }
}

/// What the columns say of a metric, undecoded but for the words that are ours.
#[derive(Debug)]
pub(super) struct MetricTexts<'t> {
    pub(super) name: &'t [u8],
    pub(super) metric_type: &'static str,
    pub(super) unit: &'t [u8],
    pub(super) description: &'t [u8],
    pub(super) temporality: &'static str,
    pub(super) is_monotonic: Option<bool>,
}

fn doubles() -> Doubles {
    SparseColumn::new(Float64Builder::new, Float64Builder::append_null)
}

fn counts() -> Counts {
    SparseColumn::new(UInt64Builder::new, UInt64Builder::append_null)
}

fn integers() -> Integers {
    SparseColumn::new(Int32Builder::new, Int32Builder::append_null)
}

fn count_lists() -> CountLists {
    SparseColumn::new(|| ListBuilder::new(UInt64Builder::new()), |builder| builder.append_null())
}

fn integer_lists() -> IntegerLists {
    SparseColumn::new(|| ListBuilder::new(Int32Builder::new()), |builder| builder.append_null())
}

fn double_lists() -> DoubleLists {
    SparseColumn::new(|| ListBuilder::new(Float64Builder::new()), |builder| builder.append_null())
}

impl<'a> PointColumns<'a> {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            origin: OriginColumns::with_capacity(rows),
            time: Vec::with_capacity(rows),
            start_time: SparseColumn::new(TimestampNanosecondBuilder::new, TimestampNanosecondBuilder::append_null),
            name: TextColumn::with_capacity(rows),
            metric_type: TextColumn::with_capacity(rows),
            unit: TextColumn::with_capacity(rows),
            description: TextColumn::with_capacity(rows),
            metadata: AttributeColumn::with_capacity(rows),
            temporality: TextColumn::with_capacity(rows),
            is_monotonic: SparseColumn::new(BooleanBuilder::new, BooleanBuilder::append_null),
            attributes: AttributeColumn::with_capacity(rows),
            series_id: Vec::with_capacity(rows),
            flags: Vec::with_capacity(rows),
            value: OptionalNumbers::with_capacity(rows),
            value_int: SparseColumn::new(Int64Builder::new, Int64Builder::append_null),
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
            exemplars: ExemplarColumn::new(),
            count_float: doubles(),
            zero_count_float: doubles(),
            positive_spans: integer_lists(),
            negative_spans: integer_lists(),
            positive_counts_float: double_lists(),
            negative_counts_float: double_lists(),
            reset_hint: TextColumn::with_capacity(0),
        }
    }

    pub(super) fn origin(&mut self) -> &mut OriginColumns<'a> {
        &mut self.origin
    }

    /// The codes of a metric with this metadata.
    pub(super) fn codes(
        &mut self,
        texts: &MetricTexts<'_>,
        metadata: &RawSet<'a>,
        writer: &mut ValueWriter<'a>,
    ) -> PointCodes {
        let metadata = if metadata.is_empty() { ABSENT } else { self.metadata.code(metadata, writer) };
        let sanitized = &mut writer.sanitized;
        PointCodes {
            name: self.name.code(texts.name, sanitized),
            metric_type: self.metric_type.code(texts.metric_type.as_bytes(), sanitized),
            unit: self.unit.code(texts.unit, sanitized),
            description: self.description.code(texts.description, sanitized),
            metadata,
            temporality: self.temporality.code(texts.temporality.as_bytes(), sanitized),
            is_monotonic: texts.is_monotonic,
        }
    }

    /// The name of a metric, as its column shows it.
    pub(super) fn name(&self, codes: &PointCodes) -> &[u8] {
        if codes.name == ABSENT { &[] } else { self.name.bytes_of(codes.name) }
    }

    /// The unit of a metric, as its column shows it.
    pub(super) fn unit(&self, codes: &PointCodes) -> &[u8] {
        if codes.unit == ABSENT { &[] } else { self.unit.bytes_of(codes.unit) }
    }

    /// The code of the attributes of a point.
    #[inline]
    pub(super) fn attributes(&mut self, set: &RawSet<'a>, writer: &mut ValueWriter<'a>) -> i32 {
        self.attributes.code(set, writer)
    }

    /// The attributes with a code, as JSON.
    pub(super) fn attributes_of(&self, code: i32) -> &[u8] {
        self.attributes.json_of(code)
    }

    /// Begins a row. What the type of the metric does not have is left out; [`OriginColumns::push_row`] ends the row.
    #[inline]
    pub(super) fn push_head(&mut self, head: &RowHead, codes: &PointCodes, attributes: i32, series: u64) {
        let row = self.origin.rows();
        self.time.push(head.time);
        if let Some(start) = head.start {
            self.start_time.at(row).append_value(start);
        }
        self.name.push(codes.name);
        self.metric_type.push(codes.metric_type);
        self.unit.push(codes.unit);
        self.description.push(codes.description);
        self.metadata.push(codes.metadata);
        self.temporality.push(codes.temporality);
        if let Some(is_monotonic) = codes.is_monotonic {
            self.is_monotonic.at(row).append_value(is_monotonic);
        }
        self.attributes.push(attributes);
        self.series_id.push(series);
        self.flags.push(head.flags);
    }

    #[inline]
    pub(super) fn push_number(&mut self, value: Option<Number>) {
        let (value, integer) = value.map_or((None, None), Number::columns);
        self.value.push(value);
        if let Some(integer) = integer {
            self.value_int.at(self.origin.rows()).append_value(integer);
        }
    }

    pub(super) fn push_distribution(&mut self, metric_type: MetricType, point: &Distribution) {
        let row = self.origin.rows();
        self.value.push(None);
        self.count.at(row).append_value(point.count);
        for (column, value) in [(&mut self.sum, point.sum), (&mut self.min, point.min), (&mut self.max, point.max)] {
            if let Some(value) = value {
                column.at(row).append_value(value);
            }
        }
        match metric_type {
            MetricType::ExponentialHistogram => self.push_exponential(row, point),
            MetricType::Summary => {
                append_doubles(self.quantiles.at(row), &point.quantiles);
                append_doubles(self.quantile_values.at(row), &point.quantile_values);
            }
            _ => {
                append_counts(self.bucket_counts.at(row), &point.bucket_counts);
                append_doubles(self.explicit_bounds.at(row), &point.bounds);
            }
        }
    }

    fn push_exponential(&mut self, row: usize, point: &Distribution) {
        self.scale.at(row).append_value(point.scale);
        self.zero_count.at(row).append_value(point.zero_count);
        self.zero_threshold.at(row).append_value(point.zero_threshold);
        self.positive_offset.at(row).append_value(point.positive.offset);
        append_counts(self.positive_counts.at(row), &point.positive.counts);
        self.negative_offset.at(row).append_value(point.negative.offset);
        append_counts(self.negative_counts.at(row), &point.negative.counts);
    }

    /// The codes of Prometheus' samples, which lack what only metadata say, and the name.
    pub(super) fn prometheus_codes(&mut self) -> PointCodes {
        PointCodes {
            name: ABSENT,
            metric_type: self.metric_type.code_of_text("prometheus"),
            unit: ABSENT,
            description: ABSENT,
            metadata: ABSENT,
            temporality: ABSENT,
            is_monotonic: None,
        }
    }

    /// The same codes with metadata; `metadata` is a canonical set.
    pub(super) fn described(
        &mut self,
        codes: PointCodes,
        metadata: Option<&str>,
        description: &[u8],
        unit: &[u8],
        writer: &mut ValueWriter<'a>,
    ) -> PointCodes {
        let sanitized = &mut writer.sanitized;
        PointCodes {
            metadata: metadata.map_or(ABSENT, |json| self.metadata.code_of_json(json)),
            description: self.description.code(description, sanitized),
            unit: self.unit.code(unit, sanitized),
            ..codes
        }
    }

    /// The codes of a checked name and of a set that is canonical JSON.
    pub(super) fn series_codes(&mut self, name: &str, attributes: &str) -> (i32, i32) {
        (self.name.code_of_text(name), self.attributes.code_of_json(attributes))
    }

    /// Series and time of each row.
    pub(super) fn series_and_times(&self) -> impl Iterator<Item = (u64, i64)> + '_ {
        self.series_id.iter().copied().zip(self.time.iter().copied())
    }

    pub(super) fn push_native_histogram(&mut self, histogram: &NativeHistogram) {
        let row = self.origin.rows();
        self.value.push(None);
        for (column, count) in [(&mut self.count, histogram.count), (&mut self.zero_count, histogram.zero_count)] {
            if let Some(count) = count.integer() {
                column.at(row).append_value(count);
            }
        }
        self.count_float.at(row).append_value(histogram.count.float());
        self.zero_count_float.at(row).append_value(histogram.zero_count.float());
        self.sum.at(row).append_value(histogram.sum);
        self.scale.at(row).append_value(histogram.schema);
        self.zero_threshold.at(row).append_value(histogram.zero_threshold);
        if histogram.has_custom_buckets() {
            append_doubles(self.explicit_bounds.at(row), &histogram.custom_values);
        }
        append_integers(self.positive_spans.at(row), &histogram.positive.spans);
        append_integers(self.negative_spans.at(row), &histogram.negative.spans);
        append_doubles(self.positive_counts_float.at(row), &histogram.positive.counts);
        append_doubles(self.negative_counts_float.at(row), &histogram.negative.counts);
        self.reset_hint.push_absent_until(row);
        let hint = self.reset_hint.code_of_text(histogram.reset_hint());
        self.reset_hint.push(hint);
    }

    /// Adds exemplars of a row that is there already; rows are given in ascending order.
    pub(super) fn push_exemplars_at<'e>(&mut self, row: usize, exemplars: impl Iterator<Item = ExemplarValue<'e>>) {
        self.exemplars.push_values(row, exemplars);
    }

    #[inline]
    pub(super) fn push_exemplars(&mut self, exemplars: &Exemplars<'_>, sanitized: &mut Sanitized) {
        self.exemplars.push(self.origin.rows(), exemplars, sanitized);
    }

    pub(super) fn finish(self) -> Result<RecordBatch, DecodeError> {
        let rows = self.origin.rows();
        let (service, origin) = self.origin.finish()?;
        let mut sparse = Sparse { rows, schema: decoded_schema(SignalKind::Metrics), absent: AbsentColumns::default() };
        let exemplars_type = sparse.data_type("exemplars")?;
        let exemplars = self.exemplars.finish(rows, &exemplars_type, &mut sparse.absent);
        let mut columns: Vec<ArrayRef> = vec![
            numbers::<TimestampNanosecondType>(self.time),
            sparse.finish(self.start_time, "start_time")?,
            service,
            self.name.finish()?,
            self.metric_type.finish()?,
            self.unit.finish()?,
            self.description.finish()?,
            self.metadata.finish()?,
            self.temporality.finish()?,
            sparse.finish(self.is_monotonic, "is_monotonic")?,
            self.attributes.finish()?,
            numbers::<UInt64Type>(self.series_id),
            numbers::<UInt32Type>(self.flags),
            self.value.finish(),
            sparse.finish(self.value_int, "value_int")?,
            sparse.finish(self.count, "count")?,
            sparse.finish(self.sum, "sum")?,
            sparse.finish(self.min, "min")?,
            sparse.finish(self.max, "max")?,
            sparse.finish(self.bucket_counts, "bucket_counts")?,
            sparse.finish(self.explicit_bounds, "explicit_bounds")?,
            sparse.finish(self.scale, "scale")?,
            sparse.finish(self.zero_count, "zero_count")?,
            sparse.finish(self.zero_threshold, "zero_threshold")?,
            sparse.finish(self.positive_offset, "positive_offset")?,
            sparse.finish(self.positive_counts, "positive_counts")?,
            sparse.finish(self.negative_offset, "negative_offset")?,
            sparse.finish(self.negative_counts, "negative_counts")?,
            sparse.finish(self.quantiles, "quantiles")?,
            sparse.finish(self.quantile_values, "quantile_values")?,
            exemplars,
            sparse.finish(self.count_float, "count_float")?,
            sparse.finish(self.zero_count_float, "zero_count_float")?,
            sparse.finish(self.positive_spans, "positive_spans")?,
            sparse.finish(self.negative_spans, "negative_spans")?,
            sparse.finish(self.positive_counts_float, "positive_counts_float")?,
            sparse.finish(self.negative_counts_float, "negative_counts_float")?,
            self.reset_hint.finish_sparse(rows)?,
        ];
        columns.extend(origin);
        Ok(RecordBatch::try_new(sparse.schema, columns)?)
    }
}

/// What it takes to finish a sparse column.
struct Sparse {
    rows: usize,
    schema: SchemaRef,
    absent: AbsentColumns,
}

impl Sparse {
    fn data_type(&self, name: &str) -> Result<DataType, ArrowError> {
        self.schema.field_with_name(name).map(|field| field.data_type().clone())
    }

    fn finish<B: ArrayBuilder>(&mut self, column: SparseColumn<B>, name: &str) -> Result<ArrayRef, ArrowError> {
        let data_type = self.data_type(name)?;
        Ok(column.finish(self.rows, &data_type, &mut self.absent))
    }
}

fn append_counts(list: &mut ListBuilder<UInt64Builder>, counts: &[u64]) {
    list.values().append_slice(counts);
    list.append(true);
}

fn append_integers(list: &mut ListBuilder<Int32Builder>, values: &[i32]) {
    list.values().append_slice(values);
    list.append(true);
}

fn append_doubles(list: &mut ListBuilder<Float64Builder>, values: &[f64]) {
    list.values().append_slice(values);
    list.append(true);
}
