//! What ingest counts about itself. One update per request, never per record; every label has a bounded set of values.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use trivium_model::SignalKind;

use crate::pipeline::Outcome;

// The registry appends `_total` to the names of counters.
const REQUESTS: &str = "trivium_ingest_requests";
const ITEMS: &str = "trivium_ingest_items";
const REJECTED: &str = "trivium_ingest_rejected";
const SANITIZED: &str = "trivium_ingest_sanitized";
const DUPLICATE_REQUESTS: &str = "trivium_ingest_duplicate_requests";
const BYTES: &str = "trivium_ingest_bytes";
const ACKNOWLEDGE_SECONDS: &str = "trivium_ingest_acknowledge_seconds";
const IN_FLIGHT_BYTES: &str = "trivium_ingest_in_flight_bytes";

/// Which listener a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Grpc,
}

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    signal: &'static str,
    transport: &'static str,
    /// The HTTP status or the gRPC code, as a number.
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    signal: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    signal: &'static str,
    reason: &'static str,
}

/// The handles of all metrics of this crate.
#[derive(Debug)]
pub(crate) struct Telemetry {
    requests: Family<RequestLabels, Counter>,
    items: Family<SignalLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    sanitized: Family<ReasonLabels, Counter>,
    duplicate_requests: Family<SignalLabels, Counter>,
    bytes: Family<SignalLabels, Counter>,
    acknowledge_seconds: Histogram,
    pub(crate) in_flight_bytes: Gauge,
}

impl Telemetry {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let telemetry = Self {
            requests: Family::default(),
            items: Family::default(),
            rejected: Family::default(),
            sanitized: Family::default(),
            duplicate_requests: Family::default(),
            bytes: Family::default(),
            // 0.5 ms to 8 s: an fsync takes 4 to 9 ms on the machines we measured.
            acknowledge_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            in_flight_bytes: Gauge::default(),
        };
        telemetry.register_into(registry);
        // A series that exists from the start shows its first increase; one that appears with it does not.
        for signal in SignalKind::ALL {
            let labels = SignalLabels { signal: signal.as_str() };
            for family in [&telemetry.items, &telemetry.duplicate_requests, &telemetry.bytes] {
                drop(family.get_or_create(&labels));
            }
        }
        telemetry
    }

    fn register_into(&self, registry: &mut Registry) {
        registry.register(REQUESTS, "Export requests by the status of the answer", self.requests.clone());
        registry.register(ITEMS, "Log records, data points and spans acknowledged", self.items.clone());
        registry.register(REJECTED, "Log records, data points and spans refused", self.rejected.clone());
        registry.register(SANITIZED, "Values changed to fit a limit or the format", self.sanitized.clone());
        let duplicates = self.duplicate_requests.clone();
        registry.register(DUPLICATE_REQUESTS, "Resent requests, acknowledged but not stored again", duplicates);
        registry.register(BYTES, "Bytes of acknowledged requests as uncompressed protobuf", self.bytes.clone());
        let acknowledge = self.acknowledge_seconds.clone();
        registry.register(ACKNOWLEDGE_SECONDS, "Time from the whole request to its acknowledgement", acknowledge);
        registry.register(IN_FLIGHT_BYTES, "Bytes of export requests in work", self.in_flight_bytes.clone());
    }

    /// Counts an answer; `signal` is `None` when the path named none.
    pub(crate) fn answered(&self, signal: Option<SignalKind>, transport: Transport, code: u16) {
        let signal = signal.map_or("unknown", SignalKind::as_str);
        self.requests.get_or_create(&RequestLabels { signal, transport: transport.as_str(), code }).inc();
    }

    /// Counts a request that is about to be acknowledged.
    pub(crate) fn acknowledged(&self, signal: SignalKind, outcome: &Outcome, payload_bytes: u64, took: Duration) {
        let labels = SignalLabels { signal: signal.as_str() };
        self.acknowledge_seconds.observe(took.as_secs_f64());
        if outcome.duplicate {
            // What a resent request contains was counted when it was stored.
            self.duplicate_requests.get_or_create(&labels).inc();
            return;
        }
        self.items.get_or_create(&labels).inc_by(outcome.accepted);
        self.bytes.get_or_create(&labels).inc_by(payload_bytes);
        for rejected in &outcome.rejected {
            let labels = ReasonLabels { signal: signal.as_str(), reason: rejected.reason };
            self.rejected.get_or_create(&labels).inc_by(rejected.count);
        }
        for &(reason, count) in &outcome.sanitized {
            self.sanitized.get_or_create(&ReasonLabels { signal: signal.as_str(), reason }).inc_by(count);
        }
    }
}
