//! From spans of the `tracing` crate to OTLP spans.
//!
//! Fields become attributes under their own names, except those that say what an OTLP span has besides attributes:
//! `otel.name`, `otel.kind` (`server`, …), `otel.status_code` (`ok`, `error`) and `traceparent`, the W3C header of a caller
//! whose trace goes on here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use trivium_model::{Clock, SpanId, TraceId, UnixNanos};
use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::trace::v1::span::SpanKind;
use trivium_proto::otlp::trace::v1::status::StatusCode;
use trivium_proto::otlp::trace::v1::{Span, Status};

use super::{Counters, OWN_TARGET, attribute, nanos};

/// The sampled bit of the W3C trace flags.
const SAMPLED: u32 = 1;

/// Bytes of an attribute's text: a path or a header may be as long as its sender likes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Attributes of a span.
const ATTRIBUTES_MAX: usize = 64;

/// Turns finished spans into OTLP spans and queues them; never waits.
#[derive(Debug)]
pub(crate) struct SpanLayer {
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<Span>,
    counters: Counters,
    seed: u64,
    next_id: AtomicU64,
}

/// What a live span carries in its extensions.
#[derive(Debug)]
enum Live {
    Recorded(Box<Recorded>),
    /// Made while our own telemetry is stored, or within a trace that its caller does not sample.
    Suppressed,
}

#[derive(Debug)]
struct Recorded {
    trace_id: TraceId,
    span_id: SpanId,
    parent_span_id: Option<SpanId>,
    start: UnixNanos,
    started: Instant,
    fields: Fields,
}

impl SpanLayer {
    pub(super) fn new(clock: Arc<dyn Clock>, queue: mpsc::Sender<Span>, counters: Counters, seed: u64) -> Self {
        Self { clock, queue, counters, seed, next_id: AtomicU64::new(0) }
    }

    /// Which spans and events this layer wants to see, whatever the log level is.
    pub(crate) fn wants(metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("trivium") && *metadata.level() <= Level::INFO
    }

    /// Distinct for every call, random for everyone else.
    fn id(&self) -> u64 {
        let count = self.next_id.fetch_add(1, Ordering::Relaxed);
        let id = mix(self.seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        // Zero means no ID; one in 2^64 has to share.
        id.max(1)
    }

    fn begin<S>(&self, span: &SpanRef<'_, S>, fields: Fields) -> Live
    where
        S: for<'a> LookupSpan<'a>,
    {
        if is_own(span.metadata().target()) {
            return Live::Suppressed;
        }
        let (trace_id, parent_span_id) = match span.parent().map(|parent| identity(&parent)) {
            Some(Identity::Suppressed) => return Live::Suppressed,
            Some(Identity::Recorded(trace_id, span_id)) => (trace_id, Some(span_id)),
            Some(Identity::Unknown) | None => match fields.traceparent {
                Some(remote) if !remote.sampled => return Live::Suppressed,
                Some(remote) => (remote.trace_id, Some(remote.span_id)),
                None => (self.trace_id(), None),
            },
        };
        Live::Recorded(Box::new(Recorded {
            trace_id,
            span_id: SpanId(self.id().to_be_bytes()),
            parent_span_id,
            start: self.clock.now(),
            started: Instant::now(),
            fields,
        }))
    }

    fn trace_id(&self) -> TraceId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.id().to_be_bytes());
        bytes[8..].copy_from_slice(&self.id().to_be_bytes());
        TraceId(bytes)
    }
}

fn is_own(target: &str) -> bool {
    target.strip_prefix(OWN_TARGET).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

enum Identity {
    Recorded(TraceId, SpanId),
    Suppressed,
    Unknown,
}

fn identity<S>(span: &SpanRef<'_, S>) -> Identity
where
    S: for<'a> LookupSpan<'a>,
{
    match span.extensions().get::<Live>() {
        Some(Live::Recorded(live)) => Identity::Recorded(live.trace_id, live.span_id),
        Some(Live::Suppressed) => Identity::Suppressed,
        None => Identity::Unknown,
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let live = self.begin(&span, fields);
        span.extensions_mut().insert(live);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(Live::Recorded(live)) = span.extensions_mut().get_mut() {
            values.record(&mut live.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Live::Recorded(live)) = span.extensions_mut().remove::<Live>() else { return };
        if self.queue.try_send(live.finish(span.name())).is_err() {
            self.counters.drop_spans("queue_full", 1);
        }
    }
}

impl Recorded {
    fn finish(self, name: &str) -> Span {
        // The duration is of the monotonic clock, so that a correction of the time makes no negative spans.
        let end = self.start.after(self.started.elapsed());
        let Fields { name: given, kind, status, attributes, dropped, .. } = self.fields;
        Span {
            trace_id: self.trace_id.0.to_vec(),
            span_id: self.span_id.0.to_vec(),
            parent_span_id: self.parent_span_id.map(|id| id.0.to_vec()).unwrap_or_default(),
            flags: SAMPLED,
            name: given.unwrap_or_else(|| name.into()),
            kind: kind.unwrap_or(SpanKind::Internal).into(),
            start_time_unix_nano: nanos(self.start),
            end_time_unix_nano: nanos(end),
            attributes: attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
            dropped_attributes_count: dropped,
            status: status.map(|code| Status { code: code.into(), message: String::new() }),
            ..Span::default()
        }
    }
}

/// The caller of a request, as its `traceparent` header tells.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Remote {
    trace_id: TraceId,
    span_id: SpanId,
    sampled: bool,
}

impl Remote {
    /// `VERSION-TRACEID-SPANID-FLAGS`, <https://www.w3.org/TR/trace-context/#traceparent-header>. Later versions may append.
    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_known = version == "00";
        let is_hex = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex(version) || version == "ff" || !is_hex(flags) || (is_known && parts.next().is_some()) {
            return None;
        }
        let (trace_id, span_id): (TraceId, SpanId) = (trace.parse().ok()?, span.parse().ok()?);
        let sampled = u32::from_str_radix(flags, 16).ok()? & SAMPLED != 0;
        (!trace_id.is_zero() && !span_id.is_zero()).then_some(Self { trace_id, span_id, sampled })
    }
}

/// The fields of a span; a field that is recorded again replaces its value.
#[derive(Debug, Default)]
struct Fields {
    name: Option<String>,
    kind: Option<SpanKind>,
    status: Option<StatusCode>,
    traceparent: Option<Remote>,
    attributes: Vec<(&'static str, Value)>,
    dropped: u32,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        if let Some((_, old)) = self.attributes.iter_mut().find(|(name, _)| *name == field.name()) {
            *old = value;
        } else if self.attributes.len() < ATTRIBUTES_MAX {
            self.attributes.push((field.name(), value));
        } else {
            self.dropped += 1;
        }
    }

    fn set_text(&mut self, field: &Field, text: &str) {
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text);
        match field.name() {
            "otel.name" => self.name = Some(text.into()),
            "otel.kind" => self.kind = kind(text),
            "otel.status_code" => self.status = status(text),
            "traceparent" => self.traceparent = Remote::parse(text),
            _ => self.set(field, Value::StringValue(text.into())),
        }
    }
}

fn kind(text: &str) -> Option<SpanKind> {
    match text {
        "server" => Some(SpanKind::Server),
        "client" => Some(SpanKind::Client),
        "producer" => Some(SpanKind::Producer),
        "consumer" => Some(SpanKind::Consumer),
        _ => None,
    }
}

fn status(text: &str) -> Option<StatusCode> {
    match text {
        "ok" => Some(StatusCode::Ok),
        "error" => Some(StatusCode::Error),
        _ => None,
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::DoubleValue(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::BoolValue(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.set_text(field, &format!("{value:?}"));
    }
}

/// The finaliser of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt;
    use trivium_model::ManualClock;

    use super::*;

    /// Spans of this module itself would be left out.
    const TARGET: &str = "trivium::server";
    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// The spans that `work` makes, in the order in which they ended, and how many found no place in the queue.
    fn spans_of(places: usize, work: impl FnOnce()) -> (Vec<Span>, u64) {
        let (sender, mut receiver) = mpsc::channel(places);
        let counters = Counters::default();
        let clock = Arc::new(ManualClock::new(UnixNanos(1_700_000_000_000_000_000)));
        let layer = SpanLayer::new(clock, sender, counters.clone(), 7).with_filter(filter_fn(SpanLayer::wants));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let spans = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        let reason = super::super::DropReason { reason: "queue_full" };
        (spans, counters.dropped.get_or_create(&reason).get())
    }

    fn value(span: &Span, key: &str) -> Option<Value> {
        span.attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value
    }

    #[test]
    fn a_span_has_its_name_kind_status_attributes_and_times() {
        let (spans, _) = spans_of(8, || {
            let span = tracing::info_span!(
                target: TARGET,
                "request",
                otel.name = "GET /x",
                otel.kind = "server",
                http.response.status_code = tracing::field::Empty,
                otel.status_code = tracing::field::Empty,
                rows = 5_u64,
                text = ?"a"
            );
            span.record("http.response.status_code", 500);
            span.record("http.response.status_code", 503);
            span.record("otel.status_code", "error");
        });
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(span.name, "GET /x");
        assert_eq!(span.kind, i32::from(SpanKind::Server));
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(StatusCode::Error.into()));
        assert_eq!(value(span, "http.response.status_code"), Some(Value::IntValue(503)));
        assert_eq!(value(span, "rows"), Some(Value::IntValue(5)));
        assert_eq!(value(span, "text"), Some(Value::StringValue("\"a\"".into())));
        assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_000_000);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        assert!(span.parent_span_id.is_empty());
    }

    #[test]
    fn children_join_the_trace_of_their_parent_and_roots_that_of_their_caller() {
        let (spans, _) = spans_of(8, || {
            let parent = tracing::info_span!(target: TARGET, "parent", traceparent = CALLER);
            parent.in_scope(|| tracing::info_span!(target: TARGET, "child").in_scope(|| {}));
            tracing::info_span!(target: TARGET, "other").in_scope(|| {});
        });
        let [child, other, parent] = ["child", "other", "parent"]
            .map(|name| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:?}")));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&parent.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(hex(&parent.parent_span_id), "00f067aa0ba902b7");
        assert_eq!(child.trace_id, parent.trace_id);
        assert_eq!(child.parent_span_id, parent.span_id);
        assert_ne!(other.trace_id, parent.trace_id);
        assert_ne!(child.span_id, parent.span_id);
    }

    /// What storing our own telemetry does is within a span of [`OWN_TARGET`]: nothing of it may be stored again.
    #[test]
    fn own_spans_and_all_within_them_are_not_recorded() {
        let (spans, _) = spans_of(8, || {
            tracing::info_span!(target: OWN_TARGET, "store_self_telemetry").in_scope(|| {
                tracing::info_span!(target: TARGET, "decode")
                    .in_scope(|| tracing::info_span!(target: TARGET, "deeper").in_scope(|| {}));
            });
            tracing::info_span!(target: "hyper", "foreign").in_scope(|| {});
            tracing::debug_span!(target: TARGET, "detail").in_scope(|| {});
            tracing::info!(target: TARGET, "a log record");
        });
        assert!(spans.is_empty(), "{spans:?}");
        assert!(is_own("trivium::self_telemetry::spans"));
        assert!(!is_own("trivium::self_telemetry_of_others"));
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (spans, dropped) = spans_of(2, || {
            for _ in 0..5 {
                tracing::info_span!(target: TARGET, "request").in_scope(|| {});
            }
        });
        assert_eq!((spans.len(), dropped), (2, 3));
    }

    #[test]
    fn a_caller_that_does_not_sample_is_followed() {
        let (spans, _) = spans_of(8, || {
            let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
            let span = tracing::info_span!(target: TARGET, "request", traceparent = header);
            span.in_scope(|| tracing::info_span!(target: TARGET, "child").in_scope(|| {}));
        });
        assert!(spans.is_empty(), "{spans:?}");
    }

    #[test]
    fn only_a_valid_traceparent_is_taken() {
        assert!(Remote::parse(CALLER).is_some_and(|remote| remote.sampled));
        assert!(Remote::parse(&CALLER.replacen("00", "01", 1)).is_some());
        assert!(Remote::parse(&format!("01{}-more", CALLER.strip_prefix("00").expect("version"))).is_some());
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(Remote::parse(bad), None, "{bad}");
        }
    }
}
