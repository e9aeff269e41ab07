//! Rules, SLOs and notifications: what they are given by the other components, and the command `trivium rules`.

mod built_in;
pub(crate) mod command;
mod remote;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use trivium_alert::{SampleToWrite, Sink, WriteValue};
use trivium_ingest::{Coding, ExportRequest, PayloadFormat, Pipeline};
use trivium_model::{SignalKind, TenantId, WireFormat};
use trivium_promql::{STALE_NAN_BITS, Series};

pub(crate) use built_in::built_in;

/// What rules record goes the way of all samples: through the WAL, visible to the next query, durable when it returns.
pub(crate) struct PipelineSink(pub(crate) Arc<Pipeline>);

impl fmt::Debug for PipelineSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PipelineSink").finish_non_exhaustive()
    }
}

fn series(sample: &SampleToWrite) -> Series {
    let mut series = Series { labels: sample.labels.clone(), ..Series::default() };
    match &sample.value {
        WriteValue::Histogram(histogram) => series.histograms.push((sample.t_ms, Arc::clone(histogram))),
        WriteValue::Float(value) => (series.times, series.values) = (vec![sample.t_ms], vec![*value]),
        WriteValue::Stale => {
            (series.times, series.values) = (vec![sample.t_ms], vec![f64::from_bits(STALE_NAN_BITS)]);
        }
    }
    series
}

#[async_trait]
impl Sink for PipelineSink {
    async fn append(&self, tenant: TenantId, samples: Vec<SampleToWrite>) -> Result<Vec<(usize, String)>, String> {
        let series: Vec<Series> = samples.iter().map(series).collect();
        let mut refused = Vec::new();
        for body in crate::remote_write::requests(&series)? {
            let request = ExportRequest {
                tenant,
                signal: SignalKind::Metrics,
                wire_format: WireFormat::RemoteWrite2,
                format: PayloadFormat::Protobuf,
                coding: Coding::Snappy,
                body: Bytes::from(body),
            };
            let outcome = self.0.export(request).await.map_err(|error| error.to_string())?;
            // The pipeline tells how many and why, not which.
            refused.extend(
                outcome.rejected.iter().map(|rejected| (0, format!("{}: {}", rejected.reason, rejected.example))),
            );
        }
        Ok(refused)
    }
}
