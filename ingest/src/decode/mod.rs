//! From requests to Arrow batches: one walk over the protobuf bytes, straight into columns.
//!
//! A pure function of the bytes and the context: the WAL keeps the request, and a restart decodes it again into the same
//! rows. A record that cannot be taken costs itself and is counted with its reason, never its batch. Knows no transport.
//!
//! `wire` reads fields, `remote_write` reads what Prometheus sends; of OTLP `origin` walks resources and scopes and hands each record to the file of its signal. What repeats
//! from record to record (attribute sets, names, metrics) is recognised by its bytes and decoded once a request.

mod attribute_set;
mod children;
mod column;
mod distribution;
mod exemplar;
mod json;
mod json_schema;
mod logs;
mod metrics;
mod origin;
mod point_columns;
mod points;
mod rejections;
mod remote_write;
mod sanitize;
mod traces;
mod value;
mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

use arrow::array::RecordBatch;
use trivium_model::{SignalKind, UnixNanos, WireFormat, limit};
use trivium_storage::{MetricDescription, PayloadDecoder};

pub use json::json_to_protobuf;
pub(crate) use remote_write::LabelCache;
pub use wire::WireError;

use rejections::{Reason, Rejections};
use remote_write::Version;
use value::ValueWriter;

/// What decoding depends on besides the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeContext {
    /// When the request arrived. Records may be a day ahead of it ([`limit::FUTURE_SECONDS_MAX`]).
    pub received_at: UnixNanos,
    /// Older records are rejected.
    pub oldest_admitted: UnixNanos,
}

/// Records that were rejected for one reason, from one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The cause, a stable text without values.
    pub reason: &'static str,
    /// `service.name` of the sender; empty when it is not known, or when there are too many to tell apart.
    pub service: String,
    /// How many.
    pub count: u64,
    /// What was found in the first of them, at most 256 bytes.
    pub example: String,
}

/// What was taken of a remote write request, as its answer tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The accepted rows, [`trivium_storage::schema::decoded_schema`]; `None` when there is none.
    pub batch: Option<RecordBatch>,
    /// How many rows.
    pub accepted: u64,
    /// What of a remote write request they are; zero for OTLP.
    pub written: Written,
    /// What a remote write request of version 1 says of metrics, apart from its samples.
    pub described: Vec<MetricDescription>,
    /// What was refused and why.
    pub rejected: Vec<Rejected>,
    /// What was accepted after an alteration: cause and count.
    pub sanitized: Vec<(&'static str, u64)>,
}

/// Why a whole request cannot be decoded. Sending it again cannot succeed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no export request.
    #[error("the body is not a valid request: {0}")]
    Wire(#[from] WireError),
    /// The text is no OTLP/JSON.
    #[error("the body is not valid OTLP/JSON: {problem} (line {line}, column {column})")]
    Json {
        /// What was found, after the path to it.
        problem: String,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// More records than one request may have, told before any of them is decoded.
    #[error("the request has {found} records, at most {} are taken; send smaller batches", limit::REQUEST_ROWS_MAX)]
    TooManyRecords {
        /// How many there are.
        found: usize,
    },
    /// The columns could not be built: a defect of ours.
    #[error("cannot build the columns: {0}")]
    Columns(#[from] arrow::error::ArrowError),
}

/// Decodes an export request of a signal. Remote write has metrics only.
pub fn decode(
    signal: SignalKind,
    format: WireFormat,
    payload: &[u8],
    context: &DecodeContext,
) -> Result<Decoded, DecodeError> {
    decode_with(signal, format, payload, context, None)
}

/// The same with the label sets of earlier requests, which make it faster and nothing else.
pub(crate) fn decode_with(
    signal: SignalKind,
    format: WireFormat,
    payload: &[u8],
    context: &DecodeContext,
    labels: Option<&LabelCache>,
) -> Result<Decoded, DecodeError> {
    let mut outcome = Outcome::new(payload, *context);
    let mut described = Vec::new();
    let rows = match format {
        WireFormat::Otlp => decode_otlp(signal, payload, &mut outcome).map(|batch| (batch, Written::default())),
        WireFormat::RemoteWrite1 => {
            // What is wrong with the request as a whole is told by the next line.
            described = remote_write::descriptions(payload).unwrap_or_default();
            remote_write::decode(Version::V1, payload, labels, &mut outcome)
        }
        WireFormat::RemoteWrite2 => remote_write::decode(Version::V2, payload, labels, &mut outcome),
    };
    let (batch, written) = rows.map_err(|error| match error {
        DecodeError::Wire(error) => DecodeError::Wire(error.within(payload)),
        other => other,
    })?;
    let accepted = batch.num_rows() as u64;
    let batch = (accepted > 0).then_some(batch);
    let (rejected, sanitized) = (outcome.rejections.finish(), outcome.writer.sanitized.causes());
    Ok(Decoded { batch, accepted, written, described, rejected, sanitized })
}

fn decode_otlp<'a>(
    signal: SignalKind,
    payload: &'a [u8],
    outcome: &mut Outcome<'a>,
) -> Result<RecordBatch, DecodeError> {
    match signal {
        SignalKind::Logs => logs::decode(payload, outcome),
        SignalKind::Metrics => metrics::decode(payload, outcome),
        SignalKind::Traces => traces::decode(payload, outcome),
    }
}

/// The decoder that the store uses to replay its WAL.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayDecoder;

impl PayloadDecoder for ReplayDecoder {
    fn decode(
        &self,
        signal: SignalKind,
        format: WireFormat,
        payload: &[u8],
        received_at: UnixNanos,
        oldest_admitted: UnixNanos,
    ) -> Result<Option<RecordBatch>, String> {
        let context = DecodeContext { received_at, oldest_admitted };
        decode(signal, format, payload, &context).map(|decoded| decoded.batch).map_err(|error| error.to_string())
    }
}

/// What is gathered besides the rows.
#[derive(Debug)]
struct Outcome<'a> {
    payload: &'a [u8],
    context: DecodeContext,
    newest_admitted: i64,
    rejections: Rejections,
    nested: Nested,
    writer: ValueWriter<'a>,
}

impl<'a> Outcome<'a> {
    fn new(payload: &'a [u8], context: DecodeContext) -> Self {
        let newest_admitted = context.received_at.after(Duration::from_secs(limit::FUTURE_SECONDS_MAX)).0;
        Self {
            payload,
            context,
            newest_admitted,
            rejections: Rejections::default(),
            nested: Nested::default(),
            writer: ValueWriter::default(),
        }
    }

    /// Counts records that are not taken.
    fn reject(&mut self, service: &str, count: u64, reason: Reason) {
        self.rejections.count(service, count, reason, self.payload);
    }

    /// A record's time, when it is neither too old nor in the future.
    #[inline]
    fn admit(&self, unix_nanos: u64) -> Result<i64, Reason> {
        self.admit_nanos(i64::try_from(unix_nanos).unwrap_or(i64::MAX))
    }

    /// The same for times that may be before 1970.
    #[inline]
    fn admit_nanos(&self, time: i64) -> Result<i64, Reason> {
        if time > self.newest_admitted {
            return Err(Reason::new("time is more than a day in the future", format!("time {time}")));
        }
        if time < self.context.oldest_admitted.0 {
            return Err(Reason::new("time is older than the retention", format!("time {time}")));
        }
        Ok(time)
    }
}

/// Events, links and exemplars of a request so far. One may be two bytes on the wire and takes tens in memory.
#[derive(Debug, Default)]
struct Nested(usize);

impl Nested {
    /// Makes room for those of one record.
    fn admit(&mut self, count: usize) -> Result<(), Reason> {
        if self.0 + count > limit::REQUEST_NESTED_MAX {
            let example = format!("more than {}", limit::REQUEST_NESTED_MAX);
            return Err(Reason::new("the request has too many events, links or exemplars", example));
        }
        self.0 += count;
        Ok(())
    }
}
