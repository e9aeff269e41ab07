//! Alerts to Alertmanagers of others, in place of or beside our own notifications.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::SecondsFormat;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::Notify;
use trivium_relabel::Rule;

use super::http;
use super::policy::OutgoingPolicy;
use crate::alert::AlertInput;
use crate::api::rfc3339;
use crate::config::{AlertingFile, Alertmanager, ConfigError, HttpSettings, Secret, TIMEOUT, check_url, without_user};
use crate::engine::Outcome;
use crate::metrics::MetricSample;
use crate::relabel::relabel;

/// Alerts that wait; the oldest give way.
const QUEUE_MAX: usize = 10_000;

/// Alerts of one request.
const BATCH: usize = 256;

/// One Alertmanager.
#[derive(Debug)]
pub struct ExternalAlertmanager {
    url: Secret,
    /// Without name and password.
    shown: String,
    http: HttpSettings,
    timeout: Duration,
    relabel: Vec<Rule>,
    queue: Mutex<VecDeque<Value>>,
    wake: Notify,
    sent: AtomicU64,
    errors: AtomicU64,
    dropped: AtomicU64,
}

/// Sends alerts to every one of several Alertmanagers.
#[derive(Debug)]
pub struct ExternalSender {
    targets: Vec<Arc<ExternalAlertmanager>>,
    network: http::Network,
}

impl ExternalSender {
    /// A sender to the Alertmanagers at these URLs, such as `http://alertmanager:9093`, and to those of a file, with its
    /// settings of the client. The file's own `alert_relabel_configs` are [`AlertRelabelling`](crate::AlertRelabelling)'s.
    pub fn new(urls: &[String], file: &AlertingFile, policy: OutgoingPolicy) -> Result<Self, ConfigError> {
        let plain = |url: &String| {
            check_url(url).map_err(|problem| ConfigError(format!("{:?}: {problem}", without_user(url))))?;
            let (http, url) = (HttpSettings::default(), url.clone());
            Ok(Alertmanager { url, http, timeout: TIMEOUT, relabel: Vec::new() })
        };
        let mut all = urls.iter().map(plain).collect::<Result<Vec<_>, ConfigError>>()?;
        all.extend(file.alertmanagers.iter().cloned());
        let targets = all.into_iter().map(|one| Arc::new(ExternalAlertmanager::new(one))).collect();
        Ok(Self { targets, network: http::Network::new(policy) })
    }

    /// Where the Alertmanagers are, without credentials.
    pub fn urls(&self) -> Vec<String> {
        let base = |target: &Arc<ExternalAlertmanager>| target.shown.trim_end_matches("/api/v2/alerts").to_owned();
        self.targets.iter().map(base).collect()
    }

    /// Takes alerts for all; never waits.
    pub fn send(&self, alerts: &[AlertInput]) {
        for target in &self.targets {
            let relabelled = alerts.iter().filter_map(|alert| relabel(&target.relabel, alert.clone()));
            target.take(relabelled.map(|alert| posted(&alert)));
        }
    }

    /// Sends until the future is dropped.
    pub async fn run(&self) {
        let all = self.targets.iter().map(|target| target.run(&self.network));
        futures::future::join_all(all).await;
    }

    /// The numbers to expose, under Prometheus' names.
    pub fn metrics(&self) -> Vec<MetricSample> {
        let mut samples = Vec::new();
        #[expect(clippy::cast_precision_loss, reason = "numbers are exposed as floating point")]
        for target in &self.targets {
            let mut add = |name, value: u64, is_counter| {
                let label = Some(("alertmanager", target.shown.clone()));
                samples.push(MetricSample { name, label, value: value as f64, is_counter });
            };
            add("prometheus_notifications_sent_total", target.sent.load(Ordering::Relaxed), true);
            add("prometheus_notifications_errors_total", target.errors.load(Ordering::Relaxed), true);
            add("prometheus_notifications_dropped_total", target.dropped.load(Ordering::Relaxed), true);
            let waiting = target.queue.lock().unwrap_or_else(PoisonError::into_inner).len();
            add("prometheus_notifications_queue_length", waiting as u64, false);
        }
        samples
    }
}

impl ExternalAlertmanager {
    fn new(one: Alertmanager) -> Self {
        let url = format!("{}/api/v2/alerts", one.url.trim_end_matches('/'));
        Self {
            shown: without_user(&url),
            url: Secret(url),
            http: one.http,
            timeout: one.timeout,
            relabel: one.relabel,
            queue: Mutex::default(),
            wake: Notify::new(),
            sent: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    fn take(&self, alerts: impl Iterator<Item = Value>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for alert in alerts {
            if queue.len() >= QUEUE_MAX {
                queue.pop_front();
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            queue.push_back(alert);
        }
        drop(queue);
        self.wake.notify_one();
    }

    fn batch(&self) -> Vec<Value> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.len().min(BATCH);
        queue.drain(..count).collect()
    }

    /// As in Prometheus a batch that fails is dropped and counted: rules send their alerts again.
    async fn run(&self, network: &http::Network) {
        loop {
            let batch = self.batch();
            if batch.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let count = batch.len() as u64;
            let request = http::Request {
                settings: &self.http,
                method: Method::POST,
                url: &self.url.0,
                headers: HeaderMap::new(),
                body: Value::from(batch).to_string().into_bytes(),
                timeout: self.timeout,
            };
            match http::send(request, network).await {
                Outcome::Sent => {
                    self.sent.fetch_add(count, Ordering::Relaxed);
                }
                Outcome::Transient { problem, .. } | Outcome::Permanent(problem) => {
                    tracing::warn!(url = self.shown, problem, count, "alerts could not be sent to an Alertmanager");
                    self.errors.fetch_add(count, Ordering::Relaxed);
                    self.dropped.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
    }
}

fn posted(alert: &AlertInput) -> Value {
    let mut value = json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "generatorURL": alert.generator_url,
    });
    for (name, at) in [("startsAt", alert.starts_at), ("endsAt", alert.ends_at)] {
        if let Some(at) = at {
            value[name] = rfc3339(at, SecondsFormat::Nanos).into();
        }
    }
    value
}
