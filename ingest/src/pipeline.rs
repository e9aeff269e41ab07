//! The one path of every request, whatever its protocol, signal, transport and encoding:
//! decompress → JSON to protobuf → redact → decode → append and fsync → count.

use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use trivium_model::{Clock, RequestKey, SignalKind, TenantId, UnixNanos, WireFormat, limit};
use trivium_storage::{AppendRequest, Appended, MetricDescription, Rejection, Storage};

use crate::admission::{Admission, Reservation};
use crate::decode::{self, DecodeContext, DecodeError, Decoded, LabelCache, Rejected, Written};
use crate::error::Error;
use crate::quota::{Quotas, Usage};
use crate::receiver::compression::{self, Coding};
use crate::redaction::{Changed, Redacted, Redaction};
use crate::telemetry::Telemetry;

/// Bodies up to this size are decoded on the thread that received them: some 100 µs, while the way to a blocking thread and
/// back costs 30 µs of CPU (measured, `ingest/README.md`).
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The same for compressed bodies, which grow by an unknown factor.
const INLINE_COMPRESSED_BYTES_MAX: usize = 8 * 1024;

/// Bytes of an example in the table `rejected`.
const EXAMPLE_BYTES_MAX: usize = 256;

/// Where requests become durable. Implemented by [`Storage`]; the seam at which tests let the disk fail, stall or record.
pub trait Sink: Send + Sync {
    /// Makes a request durable and visible; see [`Storage::append`].
    fn append(&self, request: AppendRequest) -> BoxFuture<'_, Result<Appended, trivium_storage::Error>>;

    /// Counts refused records; see [`Storage::record_rejections`].
    fn record_rejections(&self, rejections: Vec<Rejection>);

    /// Remembers what was said of metrics; see [`Storage::describe_metrics`].
    fn describe_metrics(&self, tenant: TenantId, descriptions: Vec<MetricDescription>);
}

impl Sink for Storage {
    fn append(&self, request: AppendRequest) -> BoxFuture<'_, Result<Appended, trivium_storage::Error>> {
        Self::append(self, request).boxed()
    }

    fn record_rejections(&self, rejections: Vec<Rejection>) {
        Self::record_rejections(self, rejections);
    }

    fn describe_metrics(&self, tenant: TenantId, descriptions: Vec<MetricDescription>) {
        Self::describe_metrics(self, tenant, descriptions);
    }
}

/// The two encodings of OTLP; remote write knows the first only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// Binary protobuf.
    Protobuf,
    /// The OTLP dialect of proto3 JSON.
    Json,
}

/// One export request as it was received.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: SignalKind,
    /// What the payload is.
    pub wire_format: WireFormat,
    /// How the payload is encoded.
    pub format: PayloadFormat,
    /// How the body is compressed.
    pub coding: Coding,
    /// The body, still compressed.
    pub body: Bytes,
}

/// What became of a request that was acknowledged.
#[derive(Debug)]
pub struct Outcome {
    /// Records that are durable and visible.
    pub accepted: u64,
    /// What of a remote write request they are.
    pub written: Written,
    /// Whether the same request had been stored before; nothing was stored again.
    pub duplicate: bool,
    /// Records that were refused, by reason and service.
    pub rejected: Vec<Rejected>,
    /// Values that were changed to fit, by reason.
    pub sanitized: Vec<(&'static str, u64)>,
}

/// The pipeline; shared by all receivers.
pub struct Pipeline {
    sink: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    admission: Arc<Admission>,
    telemetry: Arc<Telemetry>,
    decoders: Arc<Semaphore>,
    quotas: Quotas,
    tools: Arc<Tools>,
}

/// What is needed to prepare a request, on whichever thread.
struct Tools {
    labels: LabelCache,
    redaction: Option<Arc<Redaction>>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pipeline").field("admission", &self.admission).finish_non_exhaustive()
    }
}

impl Pipeline {
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
        admission: Arc<Admission>,
        telemetry: Arc<Telemetry>,
        quotas: Quotas,
        redaction: Option<Arc<Redaction>>,
    ) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let tools = Arc::new(Tools { labels: LabelCache::default(), redaction });
        Self { sink, clock, admission, telemetry, decoders: Arc::new(Semaphore::new(threads)), quotas, tools }
    }

    /// What tenants may send, and did.
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Takes a request that is already in memory. Returns after the fsync; after an error nothing was stored, unless the
    /// future was dropped in between, and sending the request again is safe in every case.
    pub async fn export(&self, request: ExportRequest) -> Result<Outcome, Error> {
        let reservation = self.admission.enter(request.coding.plain_bytes(request.body.len())).await?;
        self.export_reserved(request, reservation).await
    }

    /// Takes a request whose body already holds its part of the budget. A panic on the way costs this request alone.
    pub(crate) async fn export_reserved(
        &self,
        request: ExportRequest,
        reservation: Reservation,
    ) -> Result<Outcome, Error> {
        let signal = request.signal;
        AssertUnwindSafe(self.run(request, reservation))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(self.defect(signal, &panic_message(panic.as_ref()))))
    }

    /// Reports a defect of ours. The client is told to retry: the data are good, and a restart or a newer build takes them.
    fn defect(&self, signal: SignalKind, problem: &dyn std::fmt::Display) -> Error {
        tracing::error!(%signal, %problem, "a defect of Trivium stopped an export request; its client is told to retry");
        Error::Defect { retry_after: self.admission.retry_after() }
    }

    async fn run(&self, request: ExportRequest, reservation: Reservation) -> Result<Outcome, Error> {
        let started = Instant::now();
        let (tenant, signal, format) = (request.tenant, request.signal, request.wire_format);
        let body_bytes = request.body.len() as u64;
        let prepared = match self.prepare_off_thread(request, reservation).await {
            Err(Error::Decode(DecodeError::Columns(problem))) => return Err(self.defect(signal, &problem)),
            Err(error) => {
                // What cannot be read was sent and looked at all the same.
                self.quotas.charge(tenant, Usage { bytes: body_bytes, records: 0, is_stored: false });
                return Err(error);
            }
            Ok(prepared) => prepared,
        };
        let payload_bytes = prepared.payload.len() as u64;
        let changed = prepared.changed;
        let (received_at, _reservation) = (prepared.received_at, prepared.reservation);
        let Decoded { batch, accepted, written, described, rejected, sanitized } = prepared.decoded;
        let records = rejected.iter().fold(accepted, |records, rejected| records.saturating_add(rejected.count));
        let mut bill = Bill {
            pipeline: self,
            tenant,
            signal,
            usage: Usage { bytes: payload_bytes, records, is_stored: true },
            rejections: rejections(tenant, signal, received_at, &rejected),
            described,
            changed,
            is_due: true,
        };
        let duplicate = match batch {
            Some(batch) => {
                let append = AppendRequest {
                    tenant,
                    signal,
                    format,
                    key: prepared.key,
                    received_at,
                    oldest_admitted: prepared.oldest_admitted,
                    payload: prepared.payload,
                    batch,
                };
                let appended = self.append(append).await;
                bill.is_due = appended.is_ok();
                appended?
            }
            None => false,
        };
        bill.usage.is_stored = !duplicate;
        drop(bill);
        let outcome = Outcome { accepted, written, duplicate, rejected, sanitized };
        self.telemetry.acknowledged(signal, &outcome, payload_bytes, started.elapsed());
        Ok(outcome)
    }

    /// Whether the same request had been stored before.
    async fn append(&self, request: AppendRequest) -> Result<bool, Error> {
        match self.sink.append(request).await {
            Ok(Appended::Stored(_)) => Ok(false),
            Ok(Appended::Duplicate) => Ok(true),
            Err(source) => {
                tracing::warn!(error = %source, "cannot store an export request; its client is told to retry");
                Err(Error::Store { source, retry_after: self.admission.retry_after() })
            }
        }
    }

    /// Runs [`prepare`] here when it is short, else on a blocking thread, on no more of them than there are cores.
    async fn prepare_off_thread(&self, request: ExportRequest, reservation: Reservation) -> Result<Prepared, Error> {
        let received_at = self.clock.now();
        let oldest_admitted = self.admission.oldest_admitted(request.signal, received_at);
        let context = DecodeContext { received_at, oldest_admitted };
        let inline_bytes_max =
            if request.coding == Coding::Identity { INLINE_BYTES_MAX } else { INLINE_COMPRESSED_BYTES_MAX };
        if request.body.len() <= inline_bytes_max {
            return prepare(request, context, reservation, &self.tools);
        }
        let permit = Arc::clone(&self.decoders).acquire_owned().await;
        let tools = Arc::clone(&self.tools);
        let prepared = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            prepare(request, context, reservation, &tools)
        });
        match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Draining { retry_after: self.admission.retry_after() }),
            },
        }
    }
}

/// What is noted about a request that was stored. Also when its client gives up during the fsync: the rows are stored all the
/// same, and the next attempt finds a duplicate.
struct Bill<'a> {
    pipeline: &'a Pipeline,
    tenant: TenantId,
    signal: SignalKind,
    usage: Usage,
    rejections: Vec<Rejection>,
    described: Vec<MetricDescription>,
    changed: Option<Changed>,
    /// Not when the store refused it.
    is_due: bool,
}

impl Drop for Bill<'_> {
    fn drop(&mut self) {
        if !self.is_due {
            return;
        }
        let Pipeline { quotas, sink, tools, .. } = self.pipeline;
        quotas.charge(self.tenant, self.usage);
        if let (true, Some(redaction), Some(changed)) = (self.usage.is_stored, &tools.redaction, &self.changed) {
            redaction.count(self.signal, changed);
        }
        if self.usage.is_stored && !self.rejections.is_empty() {
            sink.record_rejections(std::mem::take(&mut self.rejections));
        }
        if !self.described.is_empty() {
            sink.describe_metrics(self.tenant, std::mem::take(&mut self.described));
        }
    }
}

/// A request that is ready to be appended.
struct Prepared {
    received_at: UnixNanos,
    oldest_admitted: UnixNanos,
    payload: Bytes,
    decoded: Decoded,
    key: RequestKey,
    /// What redaction did.
    changed: Option<Changed>,
    reservation: Reservation,
}

/// Everything about a request that costs CPU. Grows the reservation before it allocates.
fn prepare(
    request: ExportRequest,
    context: DecodeContext,
    mut reservation: Reservation,
    tools: &Tools,
) -> Result<Prepared, Error> {
    let ExportRequest { tenant, signal, wire_format, format, coding, body } = request;
    let plain = compression::decompress(coding, body, limit::REQUEST_BYTES_MAX, &mut reservation)?;
    let payload = match format {
        PayloadFormat::Protobuf => plain,
        PayloadFormat::Json => protobuf_of(signal, &plain, &mut reservation)?,
    };
    let seed = request_seed(tenant, signal, wire_format);
    let redaction = tools.redaction.as_deref();
    let redacted = redaction.map(|redaction| redaction.apply(signal, wire_format, &payload, seed)).transpose()?;
    let (payload, changed, is_unread) = match redacted {
        None | Some(Some(Redacted(None))) => (payload, None, false),
        Some(None) => (payload, None, true),
        Some(Some(Redacted(Some(changed)))) => {
            reservation.hold(payload.len() + changed.payload.len())?;
            (changed.payload.clone(), Some(changed), false)
        }
    };
    reservation.hold_for(payload.len())?;
    let decoded = decode::decode_with(signal, wire_format, &payload, &context, Some(&tools.labels))?;
    reservation.settle(payload.len() + decoded.batch.as_ref().map_or(0, RecordBatch::get_array_memory_size));
    if is_unread {
        // The decoder refuses what redaction cannot read. Should it ever not, nothing is stored unread.
        return Err(Error::Malformed("it cannot be searched for secrets".into()));
    }
    debug_assert!(
        decoded.batch.as_ref().is_none_or(|batch: &RecordBatch| batch.num_rows() > 0),
        "a batch without rows"
    );
    let key = changed.as_ref().map_or_else(|| request_key(seed, &payload), |changed| changed.key);
    let DecodeContext { received_at, oldest_admitted } = context;
    Ok(Prepared { received_at, oldest_admitted, payload, decoded, key, changed, reservation })
}

/// Converts a JSON payload. A few bytes of JSON can stand for eight of protobuf, so the limit holds again behind it.
fn protobuf_of(signal: SignalKind, json: &[u8], reservation: &mut Reservation) -> Result<Bytes, Error> {
    let payload = decode::json_to_protobuf(signal, json)?;
    if payload.len() > limit::REQUEST_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    reservation.hold(json.len() + payload.len())?;
    Ok(payload.into())
}

/// Tenant, signal and format are the seed of a request's key, so that equal bytes of two of them (an empty resource is the
/// same in all signals) stay apart.
fn request_seed(tenant: TenantId, signal: SignalKind, format: WireFormat) -> u64 {
    u64::from(format.tag()) << 40 | u64::from(tenant.0) << 8 | u64::from(signal.tag())
}

/// The key by which a resent request is recognised.
fn request_key(seed: u64, payload: &[u8]) -> RequestKey {
    RequestKey(xxhash_rust::xxh3::xxh3_128_with_seed(payload, seed).to_be_bytes())
}

fn rejections(tenant: TenantId, signal: SignalKind, time: UnixNanos, rejected: &[Rejected]) -> Vec<Rejection> {
    let row = |rejected: &Rejected| Rejection {
        tenant,
        signal,
        reason: rejected.reason.to_owned(),
        service: rejected.service.clone(),
        count: rejected.count,
        example: cut(&rejected.example, EXAMPLE_BYTES_MAX).to_owned(),
        time,
    };
    rejected.iter().map(row).collect()
}

/// The longest beginning of `text` that has at most `bytes_max` bytes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&'static str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_of_two_signals_or_tenants_have_different_keys() {
        let key =
            |tenant, signal| request_key(request_seed(TenantId(tenant), signal, WireFormat::Otlp), b"the same bytes");
        assert_eq!(key(0, SignalKind::Logs), key(0, SignalKind::Logs));
        assert_ne!(key(0, SignalKind::Logs), key(0, SignalKind::Traces));
        assert_ne!(key(0, SignalKind::Logs), key(1, SignalKind::Logs));
        let [otlp, first, second] = WireFormat::ALL
            .map(|format| request_key(request_seed(TenantId(0), SignalKind::Metrics, format), b"the same bytes"));
        assert!(otlp != first && first != second && otlp != second, "two formats have the same key");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("für", 2), "f");
        assert_eq!(cut("für", 3), "fü");
        assert_eq!(cut("für", 9), "für");
    }
}
