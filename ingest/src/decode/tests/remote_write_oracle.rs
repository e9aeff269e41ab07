//! What the rows of a remote write request must be: plain values, one sample after the other, no cleverness.

use prost::Message;
use trivium_proto::prometheus::{BucketSpan, Count, Histogram, ZeroCount, v1, v2};
use trivium_storage::attributes::write_string;
use trivium_storage::schema::decoded_schema;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::cells::{Cell, Row};
use super::*;

pub(super) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// What a row has in the columns that are not null.
type Cells = Vec<(&'static str, Cell)>;

/// A label set, in order.
pub(super) type Labels = Vec<(String, String)>;

/// A series as both versions can say it.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) labels: Labels,
    /// Bits of the value, time and start time in milliseconds.
    pub(super) samples: Vec<(u64, i64, i64)>,
    pub(super) histograms: Vec<Histogram>,
    /// Labels, value, time.
    pub(super) exemplars: Vec<(Labels, f64, i64)>,
    /// Type, help, unit.
    pub(super) metadata: Option<(i32, String, String)>,
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn request_v1(series: &[Series]) -> Vec<u8> {
    let pairs = |labels: &Labels| {
        let label = |(name, value): &(String, String)| v1::Label { name: name.clone(), value: value.clone() };
        labels.iter().map(label).collect()
    };
    let one = |series: &Series| v1::TimeSeries {
        labels: pairs(&series.labels),
        samples: series
            .samples
            .iter()
            .map(|(bits, timestamp, _)| v1::Sample { value: f64::from_bits(*bits), timestamp: *timestamp })
            .collect(),
        exemplars: series
            .exemplars
            .iter()
            .map(|(labels, value, timestamp)| v1::Exemplar {
                labels: pairs(labels),
                value: *value,
                timestamp: *timestamp,
            })
            .collect(),
        histograms: series.histograms.clone(),
    };
    v1::WriteRequest { timeseries: series.iter().map(one).collect(), metadata: Vec::new() }.encode_to_vec()
}

pub(super) fn request_v2(series: &[Series]) -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut symbol = |text: &str| {
        let known = symbols.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            symbols.push(text.to_owned());
            symbols.len() - 1
        }) as u32
    };
    let mut timeseries = Vec::new();
    for series in series {
        let mut pairs = |labels: &Labels| -> Vec<u32> {
            labels.iter().flat_map(|(name, value)| [symbol(name), symbol(value)]).collect()
        };
        let labels_refs = pairs(&series.labels);
        let exemplars = series
            .exemplars
            .iter()
            .map(|(labels, value, timestamp)| v2::Exemplar {
                labels_refs: pairs(labels),
                value: *value,
                timestamp: *timestamp,
            })
            .collect();
        let metadata = series.metadata.as_ref().map(|(metric_type, help, unit)| v2::Metadata {
            metric_type: *metric_type,
            help_ref: symbol(help),
            unit_ref: symbol(unit),
        });
        let sample = |(bits, timestamp, start): &(u64, i64, i64)| v2::Sample {
            value: f64::from_bits(*bits),
            timestamp: *timestamp,
            start_timestamp: *start,
        };
        let samples = series.samples.iter().map(sample).collect();
        timeseries.push(v2::TimeSeries {
            labels_refs,
            samples,
            histograms: series.histograms.clone(),
            exemplars,
            metadata,
        });
    }
    v2::Request { symbols, timeseries }.encode_to_vec()
}

/// The rows of series without fault, of which every one with exemplars has a sample or a histogram; with `is_v1` what only
/// version 2.0 can say is left out.
pub(super) fn expected(series: &[Series], is_v1: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for one in series {
        let own: Vec<(i64, i64, Cells)> = one
            .samples
            .iter()
            .map(|(bits, time, start)| (*time, *start, sample_cells(*bits)))
            .chain(one.histograms.iter().map(|one| (one.timestamp, one.start_timestamp, histogram_cells(one))))
            .collect();
        for (time, start, mut cells) in own {
            let start = if is_v1 && !one.samples.is_empty() { 0 } else { start };
            cells.push(("time", Cell::int(time * 1_000_000)));
            cells.push(("start_time", Cell::or_null((start != 0).then_some(start * 1_000_000), Cell::int)));
            cells.extend(series_cells(one, is_v1));
            rows.push((json(&one.labels, ""), time, cells));
        }
    }
    let mut exemplars: Vec<Vec<(i64, Cell)>> = vec![Vec::new(); rows.len()];
    for one in series {
        for (labels, value, time) in &one.exemplars {
            let of_series = rows.iter().enumerate().filter(|(_, (other, ..))| *other == json(&one.labels, ""));
            let nearest = of_series.min_by_key(|(index, (_, other, _))| {
                (other.abs_diff(*time), std::cmp::Reverse(*other), std::cmp::Reverse(*index))
            });
            exemplars[nearest.expect("a row").0].push((*time, exemplar_cell(labels, *value, *time)));
        }
    }
    let schema = decoded_schema(SignalKind::Metrics);
    let names: Vec<&'static str> = schema.fields().iter().map(|field| &*field.name().clone().leak()).collect();
    let row = |(mut cells, mut exemplars): (Cells, Vec<(i64, Cell)>)| {
        exemplars.sort_by_key(|(time, _)| *time);
        if !exemplars.is_empty() {
            cells.push(("exemplars", Cell::List(exemplars.into_iter().map(|(_, cell)| cell).collect())));
        }
        let cell = |name| cells.iter().find(|(own, _)| *own == name).map_or(Cell::Null, |(_, cell)| cell.clone());
        names.iter().map(|name| (*name, cell(*name))).collect()
    };
    rows.into_iter().map(|(_, _, cells)| cells).zip(exemplars).map(row).collect()
}

fn sample_cells(bits: u64) -> Cells {
    match bits {
        STALE => vec![("flags", Cell::int(1))],
        bits => vec![("flags", Cell::int(0)), ("value", Cell::Double(bits))],
    }
}

fn histogram_cells(histogram: &Histogram) -> Cells {
    if histogram.sum.to_bits() == STALE {
        return vec![("flags", Cell::int(1))];
    }
    let spans = |spans: &[BucketSpan]| {
        Cell::List(spans.iter().flat_map(|span| [Cell::int(span.offset), Cell::int(span.length)]).collect())
    };
    let is_float = matches!(histogram.count, Some(Count::Float(_)));
    let counts = |counts: &[f64], deltas: &[i64]| {
        let absolute = deltas.iter().scan(0, |sum, delta| {
            *sum += delta;
            Some(*sum as f64)
        });
        let list: Vec<f64> = if is_float { counts.to_vec() } else { absolute.collect() };
        Cell::List(list.into_iter().map(Cell::double).collect())
    };
    let mut cells = vec![
        ("flags", Cell::int(0)),
        ("sum", Cell::double(histogram.sum)),
        ("scale", Cell::int(histogram.schema)),
        ("zero_threshold", Cell::double(histogram.zero_threshold)),
        ("positive_spans", spans(&histogram.positive_spans)),
        ("negative_spans", spans(&histogram.negative_spans)),
        ("positive_counts_float", counts(&histogram.positive_counts, &histogram.positive_deltas)),
        ("negative_counts_float", counts(&histogram.negative_counts, &histogram.negative_deltas)),
        ("reset_hint", Cell::text(["unknown", "reset", "not_reset", "gauge"][histogram.reset_hint as usize])),
    ];
    match histogram.count {
        Some(Count::Float(count)) => cells.push(("count_float", Cell::double(count))),
        Some(Count::Int(count)) => {
            cells.extend([("count", Cell::int(count)), ("count_float", Cell::double(count as f64))]);
        }
        None => cells.extend([("count", Cell::int(0)), ("count_float", Cell::double(0.0))]),
    }
    match histogram.zero_count {
        Some(ZeroCount::Float(count)) => cells.push(("zero_count_float", Cell::double(count))),
        Some(ZeroCount::Int(count)) => {
            cells.extend([("zero_count", Cell::int(count)), ("zero_count_float", Cell::double(count as f64))]);
        }
        None if is_float => cells.push(("zero_count_float", Cell::double(0.0))),
        None => cells.extend([("zero_count", Cell::int(0)), ("zero_count_float", Cell::double(0.0))]),
    }
    if histogram.schema == -53 {
        let bounds = histogram.custom_values.iter().map(|bound| Cell::double(*bound)).collect();
        cells.push(("explicit_bounds", Cell::List(bounds)));
    }
    cells
}

fn series_cells(series: &Series, is_v1: bool) -> Cells {
    let value = |name: &str| series.labels.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value);
    let name = value("__name__");
    let attributes = json(&series.labels, "__name__");
    let seed = xxh3_64(format!("{{}}\0{{}}\0{name}\0prometheus\0\0\x000").as_bytes());
    let job = value("job");
    let mut cells = vec![
        ("service_name", Cell::text(if job.is_empty() { "unknown_service" } else { job })),
        ("metric_name", Cell::text(name)),
        ("metric_type", Cell::text("prometheus")),
        ("attributes", Cell::text(&attributes)),
        ("series_id", Cell::int(xxh3_64_with_seed(attributes.as_bytes(), seed))),
        ("resource", Cell::text("{}")),
        ("resource_dropped_attributes_count", Cell::int(0)),
        ("scope", Cell::text("{}")),
    ];
    if let (false, Some((metric_type, help, unit))) = (is_v1, &series.metadata) {
        let text = |text: &str| Cell::or_null((!text.is_empty()).then_some(text), Cell::text);
        let types = ["", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];
        let metric_type = types[*metric_type as usize];
        let metadata = format!("{{\"prometheus.type\":\"{metric_type}\"}}");
        let metadata = (!metric_type.is_empty()).then_some(metadata);
        cells.extend([("description", text(help)), ("unit", text(unit))]);
        cells.push(("metadata", Cell::or_null(metadata, |json| Cell::text(&json))));
    }
    cells
}

fn exemplar_cell(labels: &Labels, value: f64, time: i64) -> Cell {
    let id = |name: &str, length: usize| {
        let text = &labels.iter().find(|(own, _)| own == name)?.1;
        let bytes: Option<Vec<u8>> =
            (0..text.len() / 2).map(|index| u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()).collect();
        bytes.filter(|bytes| bytes.len() == length && text.len() == 2 * length && bytes.iter().any(|byte| *byte > 0))
    };
    Cell::Struct(vec![
        Cell::int(time * 1_000_000),
        Cell::double(value),
        Cell::Null,
        Cell::or_null(id("trace_id", 16), Cell::Bytes),
        Cell::or_null(id("span_id", 8), Cell::Bytes),
        Cell::text(&json(labels, "")),
    ])
}

fn json(labels: &Labels, without: &str) -> String {
    let mut labels: Vec<&(String, String)> =
        labels.iter().filter(|(name, value)| name != without && !value.is_empty()).collect();
    labels.sort();
    let member = |(name, value): &&(String, String)| {
        let mut text = String::new();
        write_string(&mut text, name);
        text.push(':');
        write_string(&mut text, value);
        text
    };
    format!("{{{}}}", labels.iter().map(member).collect::<Vec<_>>().join(","))
}
