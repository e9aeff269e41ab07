//! Remote write 1.0 and 2.0, behind Snappy as well.

use arrow::record_batch::RecordBatch;
use prost::Message;
use trivium_ingest::decode::{DecodeError, decode};
use trivium_model::{SignalKind, WireFormat};
use trivium_proto::prometheus::{BucketSpan, Count, Histogram, ZeroCount, v1, v2};

use super::otlp::context;

const NOW: i64 = 1_700_000_000_000;

fn histogram() -> Histogram {
    Histogram {
        count: Some(Count::Int(6)),
        sum: 4.5,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: Some(ZeroCount::Int(1)),
        positive_spans: vec![BucketSpan { offset: -2, length: 2 }],
        positive_deltas: vec![2, 1],
        timestamp: NOW,
        ..Histogram::default()
    }
}

pub(super) fn seeds_1() -> Vec<Vec<u8>> {
    let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
    let series = v1::TimeSeries {
        labels: vec![label("__name__", "up"), label("job", "cart"), label("z", "ä")],
        samples: vec![v1::Sample { value: 1.0, timestamp: NOW }, v1::Sample { value: f64::NAN, timestamp: NOW + 1 }],
        exemplars: vec![v1::Exemplar {
            labels: vec![label("trace_id", "0102030405060708090a0b0c0d0e0f10")],
            value: 1.0,
            timestamp: NOW,
        }],
        histograms: vec![histogram()],
    };
    let metadata =
        v1::MetricMetadata { metric_type: 1, metric_family_name: "up".into(), help: "h".into(), unit: "s".into() };
    vec![v1::WriteRequest { timeseries: vec![series.clone(), series], metadata: vec![metadata] }.encode_to_vec()]
}

pub(super) fn seeds_2() -> Vec<Vec<u8>> {
    let symbols = ["", "__name__", "up", "job", "cart", "help", "s"].map(String::from).to_vec();
    let series = v2::TimeSeries {
        labels_refs: vec![1, 2, 3, 4],
        samples: vec![v2::Sample { value: 1.0, timestamp: NOW, start_timestamp: NOW - 5 }],
        histograms: vec![histogram()],
        exemplars: vec![v2::Exemplar { labels_refs: vec![3, 4], value: 1.0, timestamp: NOW }],
        metadata: Some(v2::Metadata { metric_type: 1, help_ref: 5, unit_ref: 6 }),
    };
    vec![v2::Request { symbols, timeseries: vec![series.clone(), series] }.encode_to_vec()]
}

fn run(format: WireFormat, input: &[u8]) -> Result<bool, String> {
    match decode(SignalKind::Metrics, format, input, &context()) {
        Ok(decoded) if decoded.batch.as_ref().map_or(0, RecordBatch::num_rows) as u64 != decoded.accepted => {
            Err(format!("{} accepted", decoded.accepted))
        }
        Ok(_) => Ok(true),
        Err(DecodeError::Columns(error)) => Err(format!("the columns: {error}")),
        Err(_) => Ok(false),
    }
}

pub(super) fn version_1(input: &[u8]) -> Result<bool, String> {
    run(WireFormat::RemoteWrite1, input)
}

pub(super) fn version_2(input: &[u8]) -> Result<bool, String> {
    run(WireFormat::RemoteWrite2, input)
}
