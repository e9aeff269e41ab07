//! Our own metrics about scrapes.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of all targets together.
#[derive(Clone, Debug, Default)]
pub struct ScrapeMetrics {
    pub(crate) targets: Gauge,
    pub(crate) scrapes: Counter,
    pub(crate) failures: Counter,
    pub(crate) samples: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) refused_requests: Counter,
}

impl ScrapeMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("trivium_scrape_targets", "Targets that are scraped", self.targets.clone());
        registry.register("trivium_scrapes", "Scrapes, failed ones included", self.scrapes.clone());
        registry.register("trivium_scrape_failures", "Scrapes that failed", self.failures.clone());
        registry.register("trivium_scrape_samples", "Samples of scrapes that were kept", self.samples.clone());
        let help = "Samples of a series that the same scrape had already given a value";
        registry.register("trivium_scrape_duplicate_samples", help, self.duplicates.clone());
        let help = "Requests with samples that could not be stored";
        registry.register("trivium_scrape_refused_requests", help, self.refused_requests.clone());
    }
}
