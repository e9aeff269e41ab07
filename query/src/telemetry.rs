use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What the query side counts of itself. Label values are constants of ours.
#[derive(Clone, Debug)]
pub struct QueryMetrics {
    requests: Family<Outcome, Counter>,
    seconds: Family<Endpoint, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    endpoint: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: &'static str,
}

impl QueryMetrics {
    /// Registers the metrics.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        // From 1 ms to about 16 s.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let seconds = Family::new_with_constructor(histogram);
        registry.register("trivium_query_requests", "Queries answered or refused", Family::clone(&requests));
        registry.register("trivium_query_duration_seconds", "Time to the last row", Family::clone(&seconds));
        Self { requests, seconds }
    }

    /// Counts one request: what became of it (`ok` or the kind of the error) and how long it took.
    pub fn observe(&self, endpoint: &'static str, outcome: &'static str, elapsed: Duration) {
        self.requests.get_or_create(&Outcome { endpoint, outcome }).inc();
        self.seconds.get_or_create(&Endpoint { endpoint }).observe(elapsed.as_secs_f64());
    }
}
