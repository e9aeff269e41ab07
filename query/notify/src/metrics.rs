//! Numbers about notifications, under Alertmanager's names.

use std::collections::BTreeMap;
use std::time::Duration;

/// One number to expose.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    /// Its name, as in Alertmanager.
    pub name: &'static str,
    /// At most one label: name and value.
    pub label: Option<(&'static str, String)>,
    /// The value.
    pub value: f64,
    /// Whether it only grows.
    pub is_counter: bool,
}

#[derive(Clone, Debug, Default)]
struct OfKind {
    notifications: u64,
    failed: u64,
    requests: u64,
    requests_failed: u64,
    latency_count: u64,
    latency_sum: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) alerts_firing: u64,
    pub(crate) alerts_resolved: u64,
    pub(crate) alerts_invalid: u64,
    kinds: BTreeMap<&'static str, OfKind>,
}

impl Counters {
    pub(crate) fn attempt(&mut self, kind: &'static str) {
        self.kinds.entry(kind).or_default().requests += 1;
    }

    pub(crate) fn request_failed(&mut self, kind: &'static str) {
        self.kinds.entry(kind).or_default().requests_failed += 1;
    }

    pub(crate) fn outcome(&mut self, kind: &'static str, is_sent: bool, took: Duration) {
        let of = self.kinds.entry(kind).or_default();
        of.notifications += 1;
        of.failed += u64::from(!is_sent);
        of.latency_count += 1;
        of.latency_sum += took;
    }

    pub(crate) fn samples(&self) -> Vec<MetricSample> {
        let mut samples = Vec::new();
        let mut add = |name, label: Option<(&'static str, &str)>, value: f64| {
            let label = label.map(|(name, value)| (name, value.to_owned()));
            samples.push(MetricSample { name, label, value, is_counter: true });
        };
        #[expect(clippy::cast_precision_loss, reason = "counters are exposed as floating point")]
        let float = |value: u64| value as f64;
        add("alertmanager_alerts_received_total", Some(("status", "firing")), float(self.alerts_firing));
        add("alertmanager_alerts_received_total", Some(("status", "resolved")), float(self.alerts_resolved));
        add("alertmanager_alerts_invalid_total", None, float(self.alerts_invalid));
        for (kind, of) in &self.kinds {
            let label = Some(("integration", *kind));
            add("alertmanager_notifications_total", label, float(of.notifications));
            add("alertmanager_notifications_failed_total", label, float(of.failed));
            add("alertmanager_notification_requests_total", label, float(of.requests));
            add("alertmanager_notification_requests_failed_total", label, float(of.requests_failed));
            add("alertmanager_notification_latency_seconds_count", label, float(of.latency_count));
            add("alertmanager_notification_latency_seconds_sum", label, of.latency_sum.as_secs_f64());
        }
        samples
    }
}
