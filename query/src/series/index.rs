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

/// Bytes of indexes that are kept.
const INDEX_BYTES_MAX: u64 = 256 << 20;

/// The columns that a series is known by.
const COLUMNS: [&str; 11] = [
    "metric_name",
    "metric_type",
    "unit",
    "description",
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
    pub(super) texts: Vec<Arc<str>>,
    /// In the order of their rows.
    pub(super) runs: Vec<Run>,
    bytes: u64,
}

impl SeriesIndex {
    /// The series of some batches whose rows are numbered through.
    pub(super) fn of_batches(batches: &[RecordBatch]) -> Result<Self, Error> {
        let mut builder = Builder::default();
        for batch in batches {
            builder.add(batch)?;
        }
        Ok(builder.finish())
    }

    fn of_part(part: &Part) -> Result<Self, Error> {
        Self::of_batches(&part.read(Some(&COLUMNS), None)?)
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

/// Indexes of parts by use, bounded in bytes.
#[derive(Debug)]
pub(super) struct IndexCache(Cache<PartId, Arc<SeriesIndex>, IndexWeight>);

impl IndexCache {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(256, INDEX_BYTES_MAX, IndexWeight))
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

/// The text of a row, empty when it is null.
fn text_of(array: &DictionaryArray<Int32Type>, row: usize) -> &str {
    let values: &StringArray = array.values().as_string();
    array.key(row).filter(|key| *key < values.len()).map_or("", |key| values.value(key))
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
        let mut start = 0;
        while start < ids.len() {
            let length = ids[start..].iter().take_while(|id| **id == ids[start]).count();
            self.add_run(&columns, start, length);
            start += length;
        }
        self.row = self.row.saturating_add(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    fn add_run(&mut self, columns: &Columns<'_>, start: usize, length: usize) {
        let times = &columns.times[start..start + length];
        let first_time = times.iter().copied().min().unwrap_or_default();
        let last_time = times.iter().copied().max().unwrap_or_default();
        let rows = u32::try_from(length).unwrap_or(u32::MAX);
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
        let Some(metric) = self.metric(columns, start) else { return };
        let run = Run {
            metric,
            resource: self.text(text_of(columns.resource, start)),
            scope: self.text(text_of(columns.scope, start)),
            attributes: self.text(text_of(columns.attributes, start)),
            series_id: columns.series_ids[start],
            first_row,
            rows,
            first_time,
            last_time,
        };
        self.index.runs.push(run);
    }

    /// `None` for a kind that a newer version stored.
    fn metric(&mut self, columns: &Columns<'_>, row: usize) -> Option<u32> {
        let kind = PointKind::parse(text_of(columns.kind, row))?;
        let monotonic = columns.is_monotonic;
        let metric = Metric {
            name: Arc::clone(self.shared(text_of(columns.name, row))),
            kind,
            unit: Arc::clone(self.shared(text_of(columns.unit, row))),
            is_monotonic: monotonic.is_valid(row) && monotonic.value(row),
            is_delta: text_of(columns.temporality, row) == "delta",
        };
        if let Some(known) = self.metrics.get(&metric) {
            return Some(*known);
        }
        let place = u32::try_from(self.index.metrics.len()).ok()?;
        let description = Arc::clone(self.shared(text_of(columns.description, row)));
        self.index.metrics.push(metric.clone());
        self.index.descriptions.push(description);
        self.metrics.insert(metric, place);
        Some(place)
    }

    fn shared(&mut self, text: &str) -> &Arc<str> {
        let place = self.text(text);
        &self.index.texts[place as usize]
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
