//! From export requests to Arrow batches: one walk over the protobuf bytes, straight into columns.
//!
//! A pure function of the bytes and the context: the WAL keeps the request, and a restart decodes it again into the same
//! rows. A record that cannot be taken costs itself and is counted with its reason, never its batch. Knows no transport.

mod column;
mod json;
mod json_schema;
mod logs;
mod metrics;
mod origin;
mod points;
mod traces;
mod value;
mod wire;

#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use trivium_model::{SignalKind, UnixNanos, limit};
use trivium_storage::PayloadDecoder;

pub use json::json_to_protobuf;
pub use wire::WireError;

use value::Sanitized;

/// Bytes of distinct text in one column of one batch; far below the 2 GiB of Arrow's offsets.
const COLUMN_TEXT_BYTES_MAX: usize = 1 << 30;

/// Bytes of an example in a rejection.
const EXAMPLE_BYTES_MAX: usize = 256;

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
    /// `service.name` of the sender.
    pub service: String,
    /// How many.
    pub count: u64,
    /// What was found in the first of them, at most 256 bytes.
    pub example: String,
}

/// What became of a request.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The accepted rows, [`trivium_storage::schema::decoded_schema`]; `None` when there is none.
    pub batch: Option<RecordBatch>,
    /// How many rows.
    pub accepted: u64,
    /// What was refused and why.
    pub rejected: Vec<Rejected>,
    /// What was accepted after an alteration: cause and count.
    pub sanitized: Vec<(&'static str, u64)>,
}

/// Why a whole request cannot be decoded. Sending it again cannot succeed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no export request.
    #[error("the body is not a valid OTLP request: {0}")]
    Wire(#[from] WireError),
    /// The text is no OTLP/JSON.
    #[error("the body is not valid OTLP/JSON: {problem} (line {line}, column {column})")]
    Json {
        /// What was found, with its path.
        problem: String,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// The columns could not be built: a defect of ours.
    #[error("cannot build the columns: {0}")]
    Columns(#[from] arrow::error::ArrowError),
}

/// Decodes an export request of a signal.
pub fn decode(signal: SignalKind, payload: &[u8], context: &DecodeContext) -> Result<Decoded, DecodeError> {
    let mut outcome = Outcome::new(*context);
    let batch = match signal {
        SignalKind::Logs => logs::decode(payload, &mut outcome)?,
        SignalKind::Metrics => metrics::decode(payload, &mut outcome)?,
        SignalKind::Traces => traces::decode(payload, &mut outcome)?,
    };
    let accepted = batch.num_rows() as u64;
    let batch = (accepted > 0).then_some(batch);
    Ok(Decoded { batch, accepted, rejected: outcome.rejected, sanitized: outcome.sanitized.causes() })
}

/// The decoder that the store uses to replay its WAL.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtlpDecoder;

impl PayloadDecoder for OtlpDecoder {
    fn decode(
        &self,
        signal: SignalKind,
        payload: &[u8],
        received_at: UnixNanos,
        oldest_admitted: UnixNanos,
    ) -> Result<Option<RecordBatch>, String> {
        let context = DecodeContext { received_at, oldest_admitted };
        decode(signal, payload, &context).map(|decoded| decoded.batch).map_err(|error| error.to_string())
    }
}

/// What is gathered besides the rows.
#[derive(Debug)]
struct Outcome {
    context: DecodeContext,
    newest_admitted: i64,
    rejected: Vec<Rejected>,
    sanitized: Sanitized,
}

impl Outcome {
    fn new(context: DecodeContext) -> Self {
        let future = std::time::Duration::from_secs(limit::FUTURE_SECONDS_MAX);
        let newest_admitted = context.received_at.after(future).0;
        Self { context, newest_admitted, rejected: Vec::new(), sanitized: Sanitized::default() }
    }

    /// Counts a record that is not taken.
    fn reject(&mut self, service: &str, reason: Reason) {
        let same = |other: &&mut Rejected| other.reason == reason.text && other.service == service;
        if let Some(known) = self.rejected.iter_mut().find(same) {
            known.count += 1;
            return;
        }
        let mut example = reason.example;
        example.truncate(example.floor_char_boundary(EXAMPLE_BYTES_MAX));
        self.rejected.push(Rejected { reason: reason.text, service: service.into(), count: 1, example });
    }

    /// A record's time, when it is neither too old nor in the future.
    fn admit(&self, unix_nanos: u64) -> Result<i64, Reason> {
        let time = i64::try_from(unix_nanos).unwrap_or(i64::MAX);
        if time > self.newest_admitted {
            return Err(Reason::new("time is more than a day in the future", format!("time {unix_nanos}")));
        }
        if time < self.context.oldest_admitted.0 {
            return Err(Reason::new("time is older than the retention", format!("time {unix_nanos}")));
        }
        Ok(time)
    }
}

/// Why a record is not taken.
#[derive(Debug)]
struct Reason {
    text: &'static str,
    example: String,
}

impl Reason {
    fn new(text: &'static str, example: String) -> Self {
        Self { text, example }
    }
}

impl From<WireError> for Reason {
    fn from(error: WireError) -> Self {
        Self::new("the record is not decodable", error.to_string())
    }
}
