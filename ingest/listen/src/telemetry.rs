//! What is counted about connections and certificates; every label has a bounded set of values.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

// The registry appends `_total` to the names of counters.
const CONNECTIONS: &str = "trivium_listener_connections";
const ACCEPTED: &str = "trivium_listener_accepted_connections";
const CLOSED: &str = "trivium_listener_closed_connections";
const EXPOSED: &str = "trivium_listener_exposed";
const RELOADS: &str = "trivium_tls_reloads";
const NOT_AFTER: &str = "trivium_tls_certificate_not_after_seconds";
const NEXT_UPDATE: &str = "trivium_tls_crl_next_update_seconds";

/// Why we closed a connection, or did not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    Idle,
    AddressIdle,
    AddressRefused,
    Silent,
    SlowHandshake,
    HandshakeTimeout,
    HandshakeFailed,
    Distrusted,
    PlainHttp,
    NotAccepted,
}

impl Closed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::AddressIdle => "address_idle",
            Self::AddressRefused => "address_refused",
            Self::Silent => "silent",
            Self::SlowHandshake => "slow_handshake",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::Distrusted => "distrusted",
            Self::PlainHttp => "plain_http",
            Self::NotAccepted => "not_accepted",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    listener: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LacksLabels {
    listener: &'static str,
    lacks: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// The metrics of all listeners. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct ListenMetrics {
    connections: Family<ListenerLabels, Gauge>,
    accepted: Family<ListenerLabels, Counter>,
    closed: Family<ReasonLabels, Counter>,
    exposed: Family<LacksLabels, Gauge>,
    reloads: Family<ResultLabels, Counter>,
    not_after: Gauge,
    next_update: Gauge,
}

impl ListenMetrics {
    /// Makes them part of what is exposed.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(CONNECTIONS, "Open connections", self.connections.clone());
        registry.register(ACCEPTED, "Connections accepted", self.accepted.clone());
        registry.register(CLOSED, "Connections that the server closed or did not take", self.closed.clone());
        let exposed = "Listeners on an address that others reach, without TLS or authentication, by explicit setting";
        registry.register(EXPOSED, exposed, self.exposed.clone());
        registry.register(RELOADS, "Changed certificates that were taken (ok) or not (error)", self.reloads.clone());
        registry.register(
            NOT_AFTER,
            "When the certificate expires, in Unix seconds; 0 without",
            self.not_after.clone(),
        );
        registry.register(
            NEXT_UPDATE,
            "When the first revocation list is out of date, in Unix seconds; 0 without",
            self.next_update.clone(),
        );
        for result in ["ok", "error"] {
            drop(self.reloads.get_or_create(&ResultLabels { result }));
        }
    }

    /// Says that a listener can be reached by others without something that it should have.
    pub fn exposed(&self, listener: &'static str, lacks: &'static str) {
        self.exposed.get_or_create(&LacksLabels { listener, lacks }).set(1);
    }

    pub(crate) fn opened(&self, listener: &'static str) -> OpenConnection {
        let labels = ListenerLabels { listener };
        self.accepted.get_or_create(&labels).inc();
        let gauge = self.connections.get_or_create(&labels).clone();
        gauge.inc();
        OpenConnection(gauge)
    }

    pub(crate) fn closed(&self, listener: &'static str, reason: Closed) {
        self.closed.get_or_create(&ReasonLabels { listener, reason: reason.as_str() }).inc();
    }

    pub(crate) fn reloaded(&self, is_ok: bool) {
        let result = if is_ok { "ok" } else { "error" };
        self.reloads.get_or_create(&ResultLabels { result }).inc();
    }

    pub(crate) fn certificate_until(&self, unix_seconds: i64) {
        self.not_after.set(unix_seconds);
    }

    pub(crate) fn revocation_until(&self, unix_seconds: i64) {
        self.next_update.set(unix_seconds);
    }
}

/// A connection in the gauge of open ones, until dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
