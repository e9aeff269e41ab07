use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use trivium_alert::{GroupMetrics, GroupStatus};
use trivium_notify::MetricSample;

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

/// The numbers of rules and notifications in the text format, under the names of Prometheus and Alertmanager.
///
/// Of each tenant: its name, which is a label unless it is the default one, its groups, its notifications.
pub(crate) fn rules_exposition(
    tenants: impl Iterator<Item = (Option<String>, Vec<Arc<GroupStatus>>, Vec<MetricSample>)>,
) -> String {
    let mut families: BTreeMap<(String, bool), Vec<(String, f64)>> = BTreeMap::new();
    for (tenant, groups, notifications) in tenants {
        let tenant = tenant.map(|name| format!("tenant={name:?}"));
        let labels = |own: Option<String>| match own.into_iter().chain(tenant.clone()).collect::<Vec<_>>() {
            none if none.is_empty() => String::new(),
            some => format!("{{{}}}", some.join(",")),
        };
        for status in &groups {
            let labels = labels(Some(format!("rule_group={:?}", status.group.key())));
            for (name, is_counter, value) in group_numbers(&status.metrics) {
                let name = format!("prometheus_rule_{name}");
                families.entry((name, is_counter)).or_default().push((labels.clone(), value));
            }
        }
        for sample in notifications {
            let labels = labels(sample.label.as_ref().map(|(name, value)| format!("{name}={value:?}")));
            families.entry((sample.name.to_owned(), sample.is_counter)).or_default().push((labels, sample.value));
        }
    }
    let mut text = String::new();
    for ((name, is_counter), samples) in families {
        // OpenMetrics: a counter's samples end in `_total`, its family does not.
        let family = if is_counter { name.trim_end_matches("_total") } else { &name };
        let suffix = if is_counter { "_total" } else { "" };
        text.push_str(&format!("# TYPE {family} {}\n", if is_counter { "counter" } else { "gauge" }));
        for (labels, value) in samples {
            text.push_str(&format!("{family}{suffix}{labels} {value}\n"));
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "numbers are exposed as floating point")]
fn group_numbers(metrics: &GroupMetrics) -> [(&'static str, bool, f64); 9] {
    [
        ("group_iterations_total", true, metrics.iterations_total as f64),
        ("group_iterations_missed_total", true, metrics.iterations_missed_total as f64),
        ("evaluations_total", true, metrics.evaluations_total as f64),
        ("evaluation_failures_total", true, metrics.evaluation_failures_total as f64),
        ("group_last_duration_seconds", false, metrics.last_duration_seconds),
        ("group_interval_seconds", false, metrics.interval_seconds),
        ("group_last_evaluation_timestamp_seconds", false, metrics.last_evaluation_timestamp_seconds),
        ("group_last_evaluation_samples", false, metrics.last_evaluation_samples as f64),
        ("group_rules", false, metrics.rules as f64),
    ]
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
