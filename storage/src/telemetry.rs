use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use trivium_model::SignalKind;

/// The label `signal`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SignalLabel {
    signal: &'static str,
}

impl From<SignalKind> for SignalLabel {
    fn from(signal: SignalKind) -> Self {
        Self { signal: signal.as_str() }
    }
}

/// What the store counts. Sizes are read when asked for ([`crate::Storage::parts`]), not counted.
#[derive(Clone, Debug, Default)]
pub struct StorageMetrics {
    /// Buffers sealed into parts.
    pub seals: Family<SignalLabel, Counter>,
    /// Rows written into parts by seals.
    pub sealed_rows: Family<SignalLabel, Counter>,
    /// Seals that failed and are tried again.
    pub seal_failures: Family<SignalLabel, Counter>,
    /// Merges of parts.
    pub compactions: Family<SignalLabel, Counter>,
    /// Rows rewritten by merges.
    pub compacted_rows: Family<SignalLabel, Counter>,
    /// Merges that failed and are tried again.
    pub compaction_failures: Family<SignalLabel, Counter>,
    /// Parts dropped because their rows are older than the retention.
    pub expired_parts: Family<SignalLabel, Counter>,
    /// Rows in those parts.
    pub expired_rows: Family<SignalLabel, Counter>,
    /// Parts, WAL ranges and payloads moved to `quarantine/` because their bytes were wrong.
    pub quarantined: Counter,
    /// Parts whose derived files were damaged and made anew.
    pub reindexed: Counter,
    /// Times that readiness was found out by writing and reading back.
    pub canaries: Counter,
    /// 1 when the last process did not close the store in order.
    pub previous_shutdown_unclean: Gauge,
    /// Starts before this one, within the window, that did not end in order.
    pub unclean_starts: Gauge,
    /// Records that this start took from the WAL.
    pub wal_recovered_records: Gauge,
    /// Bytes of the WAL that this start found damaged.
    pub wal_quarantined_bytes: Gauge,
}

impl StorageMetrics {
    /// Makes the metrics visible under `trivium_storage_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("trivium_storage");
        registry.register("seals", "buffers sealed into parts", self.seals.clone());
        registry.register("sealed_rows", "rows written into parts by seals", self.sealed_rows.clone());
        registry.register("seal_failures", "seals that failed and are tried again", self.seal_failures.clone());
        registry.register("compactions", "merges of parts", self.compactions.clone());
        registry.register("compacted_rows", "rows rewritten by merges", self.compacted_rows.clone());
        let failures = self.compaction_failures.clone();
        registry.register("compaction_failures", "merges that failed and are tried again", failures);
        registry.register("expired_parts", "parts dropped by retention", self.expired_parts.clone());
        registry.register("expired_rows", "rows dropped by retention", self.expired_rows.clone());
        registry.register("quarantined", "damaged pieces moved to quarantine", self.quarantined.clone());
        registry.register("reindexed", "parts whose derived files were made anew", self.reindexed.clone());
        registry.register("canaries", "writes that were read back to find out readiness", self.canaries.clone());
        self.register_start(registry);
    }
    /// What this start found.
    fn register_start(&self, registry: &mut Registry) {
        let gauges = [
            (
                "previous_shutdown_unclean",
                "1 when the last process did not close the store in order",
                &self.previous_shutdown_unclean,
            ),
            ("unclean_starts", "recent starts before this one that did not end in order", &self.unclean_starts),
            ("wal_recovered_records", "records that this start took from the WAL", &self.wal_recovered_records),
            ("wal_quarantined_bytes", "bytes of the WAL that this start found damaged", &self.wal_quarantined_bytes),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }
}
