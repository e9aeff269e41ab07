//! Which series a part has, and where. Rows of a part are sorted by metric, resource, series and time, so a series is a run
//! of rows; the runs of a part are learned when it is first asked, and kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, TimestampNanosecondType, UInt64Type};
use hashbrown::HashMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use trivium_model::PartId;
use trivium_storage::Part;

use crate::error::Error;

/// Bytes of indexes of parts that are kept.
const INDEX_BYTES_MAX: u64 = 256 << 20;

/// Bytes of indexes of buffers that are kept: those of batches that were sealed leave with age.
const BATCH_INDEX_BYTES_MAX: u64 = 64 << 20;

/// The columns that a series is known by.
const COLUMNS: [&str; 12] = [
    "metric_name",
    "metric_type",
    "unit",
    "description",
    "metadata",
    "temporality",
    "is_monotonic",
    "resource",
    "scope",
    "attributes",
    "series_id",
    "time",
];

/// What a data point holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PointKind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
    /// A sample of Prometheus, whose name and labels are final.
    Prometheus,
}

impl PointKind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "gauge" => Self::Gauge,
            "sum" => Self::Sum,
            "histogram" => Self::Histogram,
            "exponential_histogram" => Self::ExponentialHistogram,
            "summary" => Self::Summary,
            "prometheus" => Self::Prometheus,
            _ => return None,
        })
    }
}

/// What the series of a metric have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Metric {
    pub(super) name: Arc<str>,
    pub(super) kind: PointKind,
    pub(super) unit: Arc<str>,
    pub(super) is_monotonic: bool,
    pub(super) is_delta: bool,
}

/// Rows of one series that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Places in [`SeriesIndex::metrics`] and [`SeriesIndex::texts`].
    pub(super) metric: u32,
    pub(super) resource: u32,
    pub(super) scope: u32,
    pub(super) attributes: u32,
    pub(super) series_id: u64,
    pub(super) first_row: u32,
    pub(super) rows: u32,
    /// In nanoseconds.
    pub(super) first_time: i64,
    pub(super) last_time: i64,
}

/// The series of a part or of a batch.
#[derive(Debug, Default)]
pub(super) struct SeriesIndex {
    pub(super) metrics: Vec<Metric>,
    /// The first description of each metric.
    pub(super) descriptions: Vec<Arc<str>>,
    /// The first metadata of each metric, an attribute set.
    pub(super) metadata: Vec<Arc<str>>,
    pub(super) texts: Vec<Arc<str>>,
    /// In the order of their rows.
    pub(super) runs: Vec<Run>,
    bytes: u64,
}

impl SeriesIndex {
    fn of_batch(batch: &RecordBatch) -> Result<Self, Error> {
        let mut builder = Builder::default();
        builder.add(batch)?;
        Ok(builder.finish())
    }

    fn of_part(part: &Part) -> Result<Self, Error> {
        let mut builder = Builder::default();
        for batch in part.read(Some(&COLUMNS), None)? {
            builder.add(&batch)?;
        }
        Ok(builder.finish())
    }

    pub(super) fn text(&self, text: u32) -> &Arc<str> {
        &self.texts[text as usize]
    }
}

#[derive(Clone, Debug)]
struct IndexWeight;

impl Weighter<PartId, Arc<SeriesIndex>> for IndexWeight {
    fn weight(&self, _: &PartId, index: &Arc<SeriesIndex>) -> u64 {
        index.bytes
    }
}

/// What a batch of a buffer is known by: where its times lie in memory, how many they are, and its first WAL position. Batches
/// never change, and a position is never used twice.
type BatchKey = (usize, usize, u64);

impl Weighter<BatchKey, Arc<SeriesIndex>> for IndexWeight {
    fn weight(&self, _: &BatchKey, index: &Arc<SeriesIndex>) -> u64 {
        index.bytes
    }
}

/// Indexes of parts, and of batches that are not in one yet, by use, bounded in bytes.
#[derive(Debug)]
pub(super) struct IndexCache(
    Cache<PartId, Arc<SeriesIndex>, IndexWeight>,
    Cache<BatchKey, Arc<SeriesIndex>, IndexWeight>,
);

impl IndexCache {
    pub(super) fn new() -> Self {
        Self(
            Cache::with_weighter(256, INDEX_BYTES_MAX, IndexWeight),
            Cache::with_weighter(256, BATCH_INDEX_BYTES_MAX, IndexWeight),
        )
    }

    /// The index of a batch. Many queries see the same ones: all rules of a slot, all panels of a dashboard.
    pub(super) fn of_batch(&self, batch: &RecordBatch) -> Result<Arc<SeriesIndex>, Error> {
        let times = column(batch, "time")?.as_primitive_opt::<TimestampNanosecondType>();
        let positions = column(batch, "wal_position")?.as_primitive_opt::<UInt64Type>();
        let (Some(times), Some(positions)) = (times, positions) else { return Err(mistyped("wal_position")) };
        let key =
            (times.values().as_ptr().addr(), times.len(), positions.values().first().copied().unwrap_or_default());
        self.1.get_or_insert_with(&key, || SeriesIndex::of_batch(batch).map(Arc::new))
    }

    /// The index of a part; reads some of its columns whole when it is not known.
    pub(super) fn get(&self, part: &Part) -> Result<Arc<SeriesIndex>, Error> {
        let id = part.record().id;
        self.0.get_or_insert_with(&id, || SeriesIndex::of_part(part).map(Arc::new))
    }
}

/// The columns of one batch.
struct Columns<'a> {
    name: &'a DictionaryArray<Int32Type>,
    kind: &'a DictionaryArray<Int32Type>,
    unit: &'a DictionaryArray<Int32Type>,
    description: &'a DictionaryArray<Int32Type>,
    metadata: &'a DictionaryArray<Int32Type>,
    temporality: &'a DictionaryArray<Int32Type>,
    resource: &'a DictionaryArray<Int32Type>,
    scope: &'a DictionaryArray<Int32Type>,
    attributes: &'a DictionaryArray<Int32Type>,
    is_monotonic: &'a BooleanArray,
    series_ids: &'a [u64],
    times: &'a [i64],
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    batch.column_by_name(name).ok_or_else(|| Error::Internal(format!("metrics without the column {name}")))
}

fn mistyped(name: &str) -> Error {
    Error::Internal(format!("the column {name} of metrics has another type"))
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let text = |name: &str| {
            let array = column(batch, name)?.as_dictionary_opt::<Int32Type>().ok_or_else(|| mistyped(name))?;
            array.values().as_string_opt::<i32>().ok_or_else(|| mistyped(name))?;
            Ok::<_, Error>(array)
        };
        Ok(Self {
            name: text("metric_name")?,
            kind: text("metric_type")?,
            unit: text("unit")?,
            description: text("description")?,
            metadata: text("metadata")?,
            temporality: text("temporality")?,
            resource: text("resource")?,
            scope: text("scope")?,
            attributes: text("attributes")?,
            is_monotonic: column(batch, "is_monotonic")?.as_boolean_opt().ok_or_else(|| mistyped("is_monotonic"))?,
            series_ids: column(batch, "series_id")?
                .as_primitive_opt::<UInt64Type>()
                .ok_or_else(|| mistyped("series_id"))?
                .values(),
            times: column(batch, "time")?
                .as_primitive_opt::<TimestampNanosecondType>()
                .ok_or_else(|| mistyped("time"))?
                .values(),
        })
    }
}

/// The code of a row, if it has one that the dictionary knows.
fn code_of(array: &DictionaryArray<Int32Type>, row: usize) -> Option<usize> {
    array.key(row).filter(|key| *key < array.values().len())
}

/// The text of a row, empty when it is null.
fn text_of(array: &DictionaryArray<Int32Type>, row: usize) -> &str {
    let values: &StringArray = array.values().as_string();
    code_of(array, row).map_or("", |key| values.value(key))
}

/// What a batch's metric is known by: the codes of name, kind, unit and temporality, and whether it is monotonic.
type MetricCodes = ([Option<usize>; 4], bool);

/// What the codes of one batch stand for, looked up once each.
#[derive(Default)]
struct Codes {
    resources: Vec<Option<u32>>,
    scopes: Vec<Option<u32>>,
    attributes: Vec<Option<u32>>,
    metrics: HashMap<MetricCodes, Option<u32>>,
    last_metric: Option<(MetricCodes, Option<u32>)>,
}

#[derive(Default)]
struct Builder {
    index: SeriesIndex,
    metrics: HashMap<Metric, u32>,
    texts: HashMap<Arc<str>, u32>,
    row: u32,
}

impl Builder {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let columns = Columns::of(batch)?;
        let ids = columns.series_ids;
        let unknown = |column: &DictionaryArray<Int32Type>| vec![None; column.values().len()];
        let mut codes = Codes {
            resources: unknown(columns.resource),
            scopes: unknown(columns.scope),
            attributes: unknown(columns.attributes),
            ..Codes::default()
        };
        let mut start = 0;
        while start < ids.len() {
            let length = ids[start..].iter().take_while(|id| **id == ids[start]).count();
            if let Some(metric) = self.metric(&columns, &mut codes, start) {
                self.add_run(&columns, &mut codes, metric, start..start + length);
            }
            start += length;
        }
        self.row = self.row.saturating_add(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    fn add_run(&mut self, columns: &Columns<'_>, codes: &mut Codes, metric: u32, range: std::ops::Range<usize>) {
        let start = range.start;
        let times = &columns.times[range.clone()];
        let first_time = times.iter().copied().min().unwrap_or_default();
        let last_time = times.iter().copied().max().unwrap_or_default();
        let rows = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let first_row = self.row + u32::try_from(start).unwrap_or(u32::MAX);
        // Batches cut runs.
        if let Some(last) = self.index.runs.last_mut()
            && last.series_id == columns.series_ids[start]
            && last.first_row + last.rows == first_row
        {
            last.rows += rows;
            last.first_time = last.first_time.min(first_time);
            last.last_time = last.last_time.max(last_time);
            return;
        }
        let run = Run {
            metric,
            resource: self.coded(columns.resource, &mut codes.resources, start),
            scope: self.coded(columns.scope, &mut codes.scopes, start),
            attributes: self.coded(columns.attributes, &mut codes.attributes, start),
            series_id: columns.series_ids[start],
            first_row,
            rows,
            first_time,
            last_time,
        };
        self.index.runs.push(run);
    }

    /// The place of a row's metric; `None` when it is of a kind that a newer version stored.
    fn metric(&mut self, columns: &Columns<'_>, codes: &mut Codes, row: usize) -> Option<u32> {
        let monotonic = columns.is_monotonic;
        let is_monotonic = monotonic.is_valid(row) && monotonic.value(row);
        let key = (
            [columns.name, columns.kind, columns.unit, columns.temporality].map(|column| code_of(column, row)),
            is_monotonic,
        );
        if let Some((last, place)) = codes.last_metric
            && last == key
        {
            return place;
        }
        let place = match codes.metrics.get(&key) {
            Some(place) => *place,
            None => {
                let place = self.new_metric(columns, row, is_monotonic);
                codes.metrics.insert(key, place);
                place
            }
        };
        codes.last_metric = Some((key, place));
        place
    }

    fn new_metric(&mut self, columns: &Columns<'_>, row: usize, is_monotonic: bool) -> Option<u32> {
        let metric = Metric {
            name: text_of(columns.name, row).into(),
            kind: PointKind::parse(text_of(columns.kind, row))?,
            unit: text_of(columns.unit, row).into(),
            is_monotonic,
            is_delta: text_of(columns.temporality, row) == "delta",
        };
        if let Some(known) = self.metrics.get(&metric) {
            return Some(*known);
        }
        let place = u32::try_from(self.index.metrics.len()).ok()?;
        self.index.metrics.push(metric.clone());
        self.index.descriptions.push(text_of(columns.description, row).into());
        self.index.metadata.push(text_of(columns.metadata, row).into());
        self.metrics.insert(metric, place);
        Some(place)
    }

    /// The place of a row's text.
    fn coded(&mut self, column: &DictionaryArray<Int32Type>, known: &mut [Option<u32>], row: usize) -> u32 {
        let Some(code) = code_of(column, row) else { return self.text("") };
        if let Some(place) = known[code] {
            return place;
        }
        let place = self.text(text_of(column, row));
        known[code] = Some(place);
        place
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let place = u32::try_from(self.index.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.index.bytes += 64 + text.len() as u64;
        self.index.texts.push(Arc::clone(&text));
        self.texts.insert(text, place);
        place
    }

    fn finish(mut self) -> SeriesIndex {
        self.index.runs.shrink_to_fit();
        self.index.bytes += (self.index.runs.len() * size_of::<Run>() + self.index.metrics.len() * 128) as u64;
        self.index
    }
}
