//! Which series a part has, and where. Rows of a part are sorted by metric, resource, series and time, so a series is a run
//! of rows; the runs of a part are learned when they are first asked for, and kept.
//!
//! A large part is learned in pieces of whole metrics, so that a question about one metric does not pay for a million series of
//! another. Texts are shared between indexes: most parts have the series of those before.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, TimestampNanosecondType, UInt64Type};
use hashbrown::{HashMap, HashSet};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use trivium_model::PartId;
use trivium_storage::{Part, RowRanges};

use super::plan::{View, translated_views};
use super::translate::TranslationStrategy;
use crate::error::Error;

/// Rows up to which a part is learned in one piece, and for which metrics are put together into one.
const PIECE_ROWS: u32 = 65_536;

/// The columns that a metric is known by.
const METRIC_COLUMNS: [&str; 5] = ["metric_name", "metric_type", "unit", "temporality", "is_monotonic"];

/// Shares of the bytes that are kept, as what they are divided by: layouts of parts, and indexes of buffers. Those of batches
/// that were sealed leave with age.
const LAYOUTS: u64 = 32;
const BATCHES: u64 = 8;

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

/// The series of a piece of a part, or of a batch.
#[derive(Debug)]
pub(super) struct SeriesIndex {
    pub(super) key: IndexKey,
    pub(super) metrics: Vec<Metric>,
    /// The names under which each metric is seen.
    pub(super) views: Vec<Vec<View>>,
    /// The first description of each metric.
    pub(super) descriptions: Vec<Arc<str>>,
    /// The first metadata of each metric, an attribute set.
    pub(super) metadata: Vec<Arc<str>>,
    pub(super) texts: Vec<Arc<str>>,
    /// In the order of their rows, which count from the start of the part.
    pub(super) runs: Vec<Run>,
    /// The rows that were looked through.
    pub(super) rows: Range<u32>,
    bytes: u64,
}

impl SeriesIndex {
    pub(super) fn text(&self, text: u32) -> &Arc<str> {
        &self.texts[text as usize]
    }

    /// Whether the rows of each series follow each other, as in a part.
    pub(super) fn is_sorted(&self) -> bool {
        matches!(self.key, IndexKey::Part(..))
    }
}

/// The pieces that a part is learned in.
#[derive(Debug)]
struct Layout {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    rows: Range<u32>,
    /// The names under which its metrics are seen; `None` while that has not been looked at.
    metrics: Option<Vec<(Metric, Vec<View>)>>,
}

/// What an index is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum IndexKey {
    /// The piece of a part that begins with a row.
    Part(PartId, u32),
    Batch(BatchKey),
}

impl IndexKey {
    /// Whether it is not of a part that is gone.
    pub(super) fn is_of(&self, parts: &HashSet<PartId>) -> bool {
        match self {
            Self::Part(part, _) => parts.contains(part),
            Self::Batch(_) => true,
        }
    }
}

/// What a batch of a buffer is known by: where its times lie in memory, how many they are, and its first WAL position. Batches
/// never change, and a position is never used twice.
type BatchKey = (usize, usize, u64);

#[derive(Clone, Debug)]
struct IndexWeight;

impl Weighter<IndexKey, Arc<SeriesIndex>> for IndexWeight {
    fn weight(&self, _: &IndexKey, index: &Arc<SeriesIndex>) -> u64 {
        index.bytes
    }
}

impl Weighter<PartId, Arc<Layout>> for IndexWeight {
    fn weight(&self, _: &PartId, layout: &Arc<Layout>) -> u64 {
        let metrics = |piece: &Piece| piece.metrics.as_ref().map_or(0, Vec::len) as u64;
        128 + layout.pieces.iter().map(|piece| 64 + 256 * metrics(piece)).sum::<u64>()
    }
}

/// Indexes of parts, and of batches that are not in one yet, by use, bounded in bytes.
#[derive(Debug)]
pub(super) struct IndexCache {
    strategy: TranslationStrategy,
    layouts: Cache<PartId, Arc<Layout>, IndexWeight>,
    pieces: Cache<IndexKey, Arc<SeriesIndex>, IndexWeight>,
    batches: Cache<IndexKey, Arc<SeriesIndex>, IndexWeight>,
    texts: Mutex<Texts>,
}

impl IndexCache {
    /// Nothing is known yet. At most so many bytes are kept, the texts that indexes share included.
    pub(super) fn new(strategy: TranslationStrategy, bytes_max: u64) -> Self {
        Self {
            strategy,
            layouts: Cache::with_weighter(256, bytes_max / LAYOUTS, IndexWeight),
            pieces: Cache::with_weighter(256, bytes_max - bytes_max / LAYOUTS - bytes_max / BATCHES, IndexWeight),
            batches: Cache::with_weighter(256, bytes_max / BATCHES, IndexWeight),
            texts: Mutex::default(),
        }
    }

    /// How many parts and how many of their pieces are known.
    #[cfg(test)]
    pub(super) fn known(&self) -> (usize, usize) {
        (self.layouts.len(), self.pieces.len())
    }

    pub(super) fn keep_only(&self, parts: &HashSet<PartId>) {
        self.layouts.retain(|part, _| parts.contains(part));
        self.pieces.retain(|key, _| key.is_of(parts));
    }

    /// The index of a batch. Many queries see the same ones: all rules of a slot, all panels of a dashboard.
    pub(super) fn of_batch(&self, batch: &RecordBatch) -> Result<Arc<SeriesIndex>, Error> {
        let times = column(batch, "time")?.as_primitive_opt::<TimestampNanosecondType>();
        let positions = column(batch, "wal_position")?.as_primitive_opt::<UInt64Type>();
        let (Some(times), Some(positions)) = (times, positions) else { return Err(mistyped("wal_position")) };
        let first = positions.values().first().copied().unwrap_or_default();
        let key = IndexKey::Batch((times.values().as_ptr().addr(), times.len(), first));
        self.batches.get_or_insert_with(&key, || {
            let mut builder = Builder::new(&self.texts, 0);
            builder.add(batch)?;
            Ok(Arc::new(builder.finish(key, self.strategy)))
        })
    }

    /// The first rows of the pieces of a part that have a metric of which a view is wanted.
    pub(super) fn pieces(&self, part: &Part, is_wanted: &dyn Fn(&Metric, &[View]) -> bool) -> Result<Vec<u32>, Error> {
        let layout = self.layouts.get_or_insert_with(&part.record().id, || self.layout(part).map(Arc::new))?;
        let is_wanted = |piece: &&Piece| {
            piece.metrics.as_ref().is_none_or(|metrics| metrics.iter().any(|(metric, views)| is_wanted(metric, views)))
        };
        Ok(layout.pieces.iter().filter(is_wanted).map(|piece| piece.rows.start).collect())
    }

    /// The index of the piece of a part that begins with a row; reads some of its columns whole when it is not known.
    pub(super) fn piece(&self, part: &Part, first_row: u32) -> Result<Arc<SeriesIndex>, Error> {
        let key = IndexKey::Part(part.record().id, first_row);
        self.pieces.get_or_insert_with(&key, || {
            let layout = self.layouts.get_or_insert_with(&part.record().id, || self.layout(part).map(Arc::new))?;
            let piece = layout.pieces.iter().find(|piece| piece.rows.start == first_row);
            let rows = piece.map_or(0..0, |piece| piece.rows.clone());
            let wanted = RowRanges::from_sorted([rows.clone()]);
            let is_whole = rows.len() == part.record().rows as usize;
            let mut builder = Builder::new(&self.texts, first_row);
            for batch in part.read(Some(&COLUMNS), (!is_whole).then_some(&wanted))? {
                builder.add(&batch)?;
            }
            Ok(Arc::new(builder.finish(key, self.strategy)))
        })
    }

    fn layout(&self, part: &Part) -> Result<Layout, Error> {
        let rows = part.record().rows;
        if rows <= PIECE_ROWS {
            return Ok(Layout { pieces: vec![Piece { rows: 0..rows, metrics: None }] });
        }
        let mut pieces: Vec<Piece> = Vec::new();
        for (metric, rows) in extents(part)? {
            let views = translated_views(&metric, self.strategy);
            match pieces.last_mut() {
                Some(Piece { rows: before, metrics: Some(metrics) }) if rows.end - before.start <= PIECE_ROWS => {
                    before.end = rows.end;
                    metrics.push((metric, views));
                }
                _ => pieces.push(Piece { rows, metrics: Some(vec![(metric, views)]) }),
            }
        }
        Ok(Layout { pieces })
    }
}

/// The metrics of a part with the rows of each. Rows of metrics of a kind that a newer version stored are left out.
fn extents(part: &Part) -> Result<Vec<(Metric, Range<u32>)>, Error> {
    let mut extents: Vec<(Metric, Range<u32>)> = Vec::new();
    let mut start = 0_u32;
    for batch in part.read(Some(&METRIC_COLUMNS), None)? {
        let columns = MetricColumns::of(&batch)?;
        let mut last: Option<MetricCodes> = None;
        let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        for row in 0..rows {
            let codes = columns.codes(row as usize);
            let at = start.saturating_add(row);
            if last.replace(codes) == Some(codes) {
                if let Some((_, range)) = extents.last_mut().filter(|(_, range)| range.end == at) {
                    range.end = at + 1;
                }
                continue;
            }
            let Some(metric) = columns.metric(row as usize) else { continue };
            match extents.last_mut() {
                Some((before, range)) if range.end == at && *before == metric => range.end = at + 1,
                _ => extents.push((metric, at..at + 1)),
            }
        }
        start = start.saturating_add(rows);
    }
    Ok(extents)
}

/// Texts that indexes share. Those that no index has any more leave when there are twice as many as there were.
#[derive(Debug, Default)]
struct Texts {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Texts {
    /// The shared text, and whether nobody had it.
    fn share(&mut self, text: &str) -> (Arc<str>, bool) {
        if let Some(known) = self.known.get(text) {
            return (Arc::clone(known), false);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = (self.known.len() * 2).max(4_096);
        }
        let text: Arc<str> = text.into();
        self.known.insert(Arc::clone(&text));
        (text, true)
    }
}

/// The columns of one batch that tell its metrics.
struct MetricColumns<'a> {
    name: &'a DictionaryArray<Int32Type>,
    kind: &'a DictionaryArray<Int32Type>,
    unit: &'a DictionaryArray<Int32Type>,
    temporality: &'a DictionaryArray<Int32Type>,
    is_monotonic: &'a BooleanArray,
}

/// The columns of one batch.
struct Columns<'a> {
    metric: MetricColumns<'a>,
    description: &'a DictionaryArray<Int32Type>,
    metadata: &'a DictionaryArray<Int32Type>,
    resource: &'a DictionaryArray<Int32Type>,
    scope: &'a DictionaryArray<Int32Type>,
    attributes: &'a DictionaryArray<Int32Type>,
    series_ids: &'a [u64],
    times: &'a [i64],
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    batch.column_by_name(name).ok_or_else(|| Error::Internal(format!("metrics without the column {name}")))
}

fn mistyped(name: &str) -> Error {
    Error::Internal(format!("the column {name} of metrics has another type"))
}

fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a DictionaryArray<Int32Type>, Error> {
    let array = column(batch, name)?.as_dictionary_opt::<Int32Type>().ok_or_else(|| mistyped(name))?;
    array.values().as_string_opt::<i32>().ok_or_else(|| mistyped(name))?;
    Ok(array)
}

impl<'a> MetricColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        Ok(Self {
            name: text_column(batch, "metric_name")?,
            kind: text_column(batch, "metric_type")?,
            unit: text_column(batch, "unit")?,
            temporality: text_column(batch, "temporality")?,
            is_monotonic: column(batch, "is_monotonic")?.as_boolean_opt().ok_or_else(|| mistyped("is_monotonic"))?,
        })
    }

    fn is_monotonic(&self, row: usize) -> bool {
        self.is_monotonic.is_valid(row) && self.is_monotonic.value(row)
    }

    fn codes(&self, row: usize) -> MetricCodes {
        let codes = [self.name, self.kind, self.unit, self.temporality].map(|column| code_of(column, row));
        (codes, self.is_monotonic(row))
    }

    /// The metric of a row; `None` when it is of a kind that a newer version stored.
    fn metric(&self, row: usize) -> Option<Metric> {
        Some(Metric {
            name: text_of(self.name, row).into(),
            kind: PointKind::parse(text_of(self.kind, row))?,
            unit: text_of(self.unit, row).into(),
            is_monotonic: self.is_monotonic(row),
            is_delta: text_of(self.temporality, row) == "delta",
        })
    }
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        Ok(Self {
            metric: MetricColumns::of(batch)?,
            description: text_column(batch, "description")?,
            metadata: text_column(batch, "metadata")?,
            resource: text_column(batch, "resource")?,
            scope: text_column(batch, "scope")?,
            attributes: text_column(batch, "attributes")?,
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

struct Builder<'a> {
    shared: &'a Mutex<Texts>,
    places: HashMap<Metric, u32>,
    metrics: Vec<Metric>,
    descriptions: Vec<Arc<str>>,
    metadata: Vec<Arc<str>>,
    known: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    runs: Vec<Run>,
    first_row: u32,
    row: u32,
    bytes: u64,
}

impl<'a> Builder<'a> {
    fn new(shared: &'a Mutex<Texts>, first_row: u32) -> Self {
        Self {
            shared,
            places: HashMap::new(),
            metrics: Vec::new(),
            descriptions: Vec::new(),
            metadata: Vec::new(),
            known: HashMap::new(),
            texts: Vec::new(),
            runs: Vec::new(),
            first_row,
            row: first_row,
            bytes: 0,
        }
    }

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

    fn add_run(&mut self, columns: &Columns<'_>, codes: &mut Codes, metric: u32, range: Range<usize>) {
        let start = range.start;
        let times = &columns.times[range.clone()];
        let first_time = times.iter().copied().min().unwrap_or_default();
        let last_time = times.iter().copied().max().unwrap_or_default();
        let rows = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let first_row = self.row + u32::try_from(start).unwrap_or(u32::MAX);
        // Batches cut runs.
        if let Some(last) = self.runs.last_mut()
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
        self.runs.push(run);
    }

    /// The place of a row's metric; `None` when it is of a kind that a newer version stored.
    fn metric(&mut self, columns: &Columns<'_>, codes: &mut Codes, row: usize) -> Option<u32> {
        let key = columns.metric.codes(row);
        if let Some((last, place)) = codes.last_metric
            && last == key
        {
            return place;
        }
        let place = match codes.metrics.get(&key) {
            Some(place) => *place,
            None => {
                let place = self.new_metric(columns, row);
                codes.metrics.insert(key, place);
                place
            }
        };
        codes.last_metric = Some((key, place));
        place
    }

    fn new_metric(&mut self, columns: &Columns<'_>, row: usize) -> Option<u32> {
        let metric = columns.metric.metric(row)?;
        if let Some(known) = self.places.get(&metric) {
            return Some(*known);
        }
        let place = u32::try_from(self.metrics.len()).ok()?;
        self.metrics.push(metric.clone());
        self.descriptions.push(text_of(columns.description, row).into());
        self.metadata.push(text_of(columns.metadata, row).into());
        self.places.insert(metric, place);
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
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let (text, is_new) = self.shared.lock().unwrap_or_else(PoisonError::into_inner).share(text);
        self.bytes += 16 + if is_new { 48 + text.len() as u64 } else { 0 };
        self.texts.push(Arc::clone(&text));
        self.known.insert(text, place);
        place
    }

    fn finish(mut self, key: IndexKey, strategy: TranslationStrategy) -> SeriesIndex {
        self.runs.shrink_to_fit();
        self.texts.shrink_to_fit();
        let bytes = self.bytes + (self.runs.len() * size_of::<Run>() + self.metrics.len() * 384) as u64;
        SeriesIndex {
            key,
            views: self.metrics.iter().map(|metric| translated_views(metric, strategy)).collect(),
            metrics: self.metrics,
            descriptions: self.descriptions,
            metadata: self.metadata,
            texts: self.texts,
            runs: self.runs,
            rows: self.first_row..self.row,
            bytes,
        }
    }
}
