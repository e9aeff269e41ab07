//! From alerts to notifications: which incident an alert belongs to, and what explains it.
//!
//! An alert is handed to the notifier at once; its diagnosis follows when it is done and is told with the next notification
//! of the group, so that a slow one delays nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use trivium_alert::{AlertNotice, AlertState, Notifier as AlertReceiver};
use trivium_diagnosis::incident::{self, Incidents, Topology};
use trivium_model::{StateChange, TenantId, UnixNanos};
use trivium_notify::{AlertInput, AlertRelabelling, Labels, Notifier};

use super::alertmanagers::Alertmanagers;
use super::diagnosis::{Asked, Question, Queue, diagnose};
use super::querier::StoreQuerier;
use super::service_graph;
use super::turns::Turns;
use crate::state::QueryState;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// The kind of the record that holds all incidents, and of those that hold their evidence.
const INCIDENTS: &str = "incidents";
const EVIDENCE: &str = "incident_evidence";

/// How long an incident is remembered after its end.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How old the service graph may be.
const GRAPH_AGE: Duration = Duration::from_secs(60);

/// How long the service graph is waited for: without it alerts of different services are incidents of their own.
const GRAPH_WAIT: Duration = Duration::from_secs(3);

/// More alerts than this are diagnosed as the first ones are.
const ALERTS_MAX: usize = 50;

/// Hands alerts on.
#[derive(Debug)]
pub(super) struct Bridge(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    tenant: TenantId,
    state: Arc<QueryState>,
    querier: Arc<StoreQuerier>,
    notifier: Arc<Notifier>,
    alertmanagers: Arc<Alertmanagers>,
    relabelling: Arc<AlertRelabelling>,
    external_url: String,
    incidents: Mutex<Incidents>,
    topology: Mutex<Option<(UnixNanos, Arc<Topology>)>>,
    /// Alerts that fire, by fingerprint.
    firing: Mutex<HashMap<String, Firing>>,
    diagnoses: Arc<Queue>,
    evidence: Mutex<BTreeMap<String, Value>>,
}

#[derive(Clone, Debug)]
struct Firing {
    notice: AlertNotice,
    service: String,
    incident: String,
}

impl Bridge {
    pub(super) async fn open(
        tenant: TenantId,
        (state, turns): (Arc<QueryState>, Turns),
        querier: Arc<StoreQuerier>,
        notifier: Arc<Notifier>,
        alertmanagers: Arc<Alertmanagers>,
        relabelling: Arc<AlertRelabelling>,
        external_url: String,
    ) -> Result<Self, String> {
        let store = state.storage.state();
        let failed = |error: trivium_model::StateError| format!("the incidents could not be read: {error}");
        let kept = store.list(tenant, INCIDENTS, "").await.map_err(failed)?;
        let incidents = kept.first().and_then(|record| serde_json::from_slice(&record.value).ok()).unwrap_or_default();
        let kept = store.list(tenant, EVIDENCE, "").await.map_err(failed)?;
        let evidence =
            kept.into_iter().filter_map(|record| Some((record.key, serde_json::from_slice(&record.value).ok()?)));
        Ok(Self(Arc::new(Inner {
            tenant,
            state,
            querier,
            notifier,
            alertmanagers,
            relabelling,
            external_url,
            incidents: Mutex::new(incidents),
            topology: Mutex::default(),
            firing: Mutex::default(),
            diagnoses: Queue::new(turns),
            evidence: Mutex::new(evidence.collect()),
        })))
    }

    pub(super) fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The service that an alert is about, by the labels that tell one.
fn service_of(notice: &AlertNotice) -> String {
    let names = ["service", "service_name", "service.name", "slo_service", "job"];
    let found = names.iter().find_map(|name| notice.labels.get(*name).filter(|value| !value.is_empty()));
    // A job is `namespace/name`.
    found.map(|value| value.rsplit('/').next().unwrap_or(value).to_owned()).unwrap_or_default()
}

fn time(millis: i64) -> UnixNanos {
    UnixNanos(millis.saturating_mul(NANOS_PER_MILLI))
}

fn input(notice: &AlertNotice, incident: Option<String>, evidence: Option<Value>) -> AlertInput {
    AlertInput {
        labels: Labels(notice.labels.clone()),
        annotations: Labels(notice.annotations.clone()),
        starts_at: Some(time(notice.starts_at_ms)),
        ends_at: Some(time(notice.ends_at_ms)),
        generator_url: notice.generator_url.clone(),
        incident,
        evidence,
        sampled_at: notice.completeness.watermark_ms.map(time),
        evaluated_at: Some(time(notice.slot_ms)),
    }
}

#[async_trait]
impl AlertReceiver for Bridge {
    async fn notify(&self, _tenant: TenantId, alerts: Vec<AlertNotice>) {
        let inner = &self.0;
        let (incidents, fresh) = inner.assign(&alerts).await;
        let inputs: Vec<AlertInput> = alerts
            .iter()
            .zip(&incidents)
            .map(|(notice, incident)| {
                let evidence = incident.as_ref().and_then(|incident| inner.telling_evidence(incident));
                input(notice, incident.clone(), evidence)
            })
            .collect();
        inner.hand_on(inputs).await;
        for incident in fresh {
            Inner::explain(inner, incident);
        }
    }
}

impl Inner {
    async fn hand_on(&self, inputs: Vec<AlertInput>) {
        let inputs = self.relabelling.apply(inputs);
        if self.alertmanagers.send(&inputs) {
            return;
        }
        match self.notifier.put(inputs).await {
            Ok(refused) => refused.iter().for_each(|problem| tracing::warn!(problem, "an alert cannot be notified")),
            Err(error) => {
                tracing::error!(error = %error, "alerts could not be handed to the notifier; they are sent again");
            }
        }
    }

    /// The incident of each alert, and the incidents that grew.
    async fn assign(&self, alerts: &[AlertNotice]) -> (Vec<Option<String>>, Vec<String>) {
        let is_new = |notice: &AlertNotice| {
            notice.state == AlertState::Firing && !lock(&self.firing).contains_key(&fingerprint(notice))
        };
        let topology = if alerts.iter().any(is_new) { self.topology().await } else { Arc::default() };
        let (mut names, mut fresh) = (Vec::new(), Vec::new());
        for notice in alerts {
            let (fingerprint, service) = (fingerprint(notice), service_of(notice));
            let mut incidents = lock(&self.incidents);
            if notice.state != AlertState::Firing {
                let name = incidents.of(&fingerprint).map(str::to_owned);
                incidents.resolve(&fingerprint, time(notice.ends_at_ms).0);
                lock(&self.firing).remove(&fingerprint);
                names.push(name);
                continue;
            }
            let alert = incident::Alert {
                fingerprint: fingerprint.clone(),
                name: notice.rule.clone(),
                summary: notice.annotations.get("summary").cloned().unwrap_or_default(),
                service: service.clone(),
                onset: time(notice.starts_at_ms).0,
            };
            let joined = incidents.fire(&alert, &topology, &incident::Rules::default());
            drop(incidents);
            let firing = Firing { notice: notice.clone(), service, incident: joined.incident.clone() };
            let before = lock(&self.firing).insert(fingerprint, firing);
            if before.is_none() && !fresh.contains(&joined.incident) {
                fresh.push(joined.incident.clone());
            }
            names.push(Some(joined.incident));
        }
        self.keep().await;
        (names, fresh)
    }

    /// What explains an incident; `None` while nothing was found that is worth a notification.
    fn telling_evidence(&self, incident: &str) -> Option<Value> {
        lock(&self.evidence).get(incident).filter(|evidence| tells_something(evidence)).cloned()
    }

    async fn keep(&self) {
        let old = self.state.clock.now().before(KEPT);
        let (value, forgotten) = {
            let mut incidents = lock(&self.incidents);
            incidents.forget(old.0);
            let mut evidence = lock(&self.evidence);
            let forgotten: Vec<String> =
                evidence.keys().filter(|name| incidents.get(name).is_none()).cloned().collect();
            evidence.retain(|name, _| incidents.get(name).is_some());
            (serde_json::to_vec(&*incidents), forgotten)
        };
        let Ok(value) = value else { return };
        let mut changes = vec![StateChange::Put { kind: INCIDENTS.into(), key: "all".into(), value }];
        changes.extend(forgotten.into_iter().map(|key| StateChange::Delete { kind: EVIDENCE.into(), key }));
        if let Err(error) = self.state.storage.state().apply(self.tenant, None, changes).await {
            tracing::warn!(%error, "the incidents could not be kept; they are kept with the next alert");
        }
    }

    async fn topology(&self) -> Arc<Topology> {
        let now = self.state.clock.now();
        let known = lock(&self.topology).clone();
        if let Some((at, topology)) = &known
            && now.since(*at) < GRAPH_AGE
        {
            return Arc::clone(topology);
        }
        let read = tokio::time::timeout(GRAPH_WAIT, service_graph::edges(&self.state, self.tenant, now)).await;
        match read {
            Ok(Ok(edges)) => {
                let edges = edges.iter().map(|(caller, callee)| (caller.as_str(), callee.as_str()));
                let topology = Arc::new(Topology::from_edges(edges));
                *lock(&self.topology) = Some((now, Arc::clone(&topology)));
                topology
            }
            Ok(Err(error)) => {
                tracing::warn!(error, "the service graph could not be read; alerts are grouped by service");
                known.map(|(_, topology)| topology).unwrap_or_default()
            }
            Err(_) => known.map(|(_, topology)| topology).unwrap_or_default(),
        }
    }

    /// Explains an incident in the background when it is its turn; alerts that join meanwhile have it explained again.
    fn explain(this: &Arc<Self>, incident: String) {
        let (inner, name) = (Arc::clone(this), incident.clone());
        this.diagnoses.push(incident, move || {
            let (inner, name) = (Arc::clone(&inner), name.clone());
            async move { inner.explain_once(&name).await }
        });
    }

    async fn explain_once(&self, incident: &str) {
        let mut alerts: Vec<(AlertNotice, String)> = lock(&self.firing)
            .values()
            .filter(|firing| firing.incident == incident)
            .map(|firing| (firing.notice.clone(), firing.service.clone()))
            .collect();
        if alerts.is_empty() {
            return;
        }
        alerts.sort_by(|left, right| (left.0.starts_at_ms, &left.0.rule).cmp(&(right.0.starts_at_ms, &right.0.rule)));
        alerts.truncate(ALERTS_MAX);
        let question = Question {
            tenant: self.tenant,
            alerts,
            incident: incident.to_owned(),
            asked: None,
            external_url: self.external_url.clone(),
        };
        let evidence = diagnose(&self.state, &self.querier, &question).await;
        lock(&self.evidence).insert(incident.to_owned(), evidence.clone());
        let change = StateChange::Put {
            kind: EVIDENCE.into(),
            key: incident.to_owned(),
            value: evidence.to_string().into_bytes(),
        };
        if let Err(error) = self.state.storage.state().apply(self.tenant, None, vec![change]).await {
            tracing::warn!(%error, incident, "the evidence of an incident could not be kept");
        }
        if !tells_something(&evidence) {
            return;
        }
        let inputs = lock(&self.firing)
            .values()
            .filter(|firing| firing.incident == incident)
            .map(|firing| input(&firing.notice, Some(incident.to_owned()), Some(evidence.clone())))
            .collect();
        self.hand_on(inputs).await;
    }

    /// What changed at a time, without any alert.
    pub(super) async fn explain_at(&self, asked: Asked) -> Value {
        let question = Question {
            tenant: self.tenant,
            alerts: Vec::new(),
            incident: String::new(),
            asked: Some(asked),
            external_url: self.external_url.clone(),
        };
        diagnose(&self.state, &self.querier, &question).await
    }

    /// Incidents for people, the newest first: members, times, evidence.
    pub(super) fn incidents(&self) -> Vec<Value> {
        let incidents = lock(&self.incidents);
        let evidence = lock(&self.evidence);
        let firing = lock(&self.firing);
        let mut all: Vec<(i64, Value)> = incidents
            .iter()
            .map(|(name, incident)| {
                let members = incident.members.iter().map(|(fingerprint, member)| {
                    let notice = firing.get(fingerprint).map(|firing| &firing.notice);
                    serde_json::json!({
                        "fingerprint": fingerprint,
                        "name": member.name,
                        "summary": member.summary,
                        "service": member.service,
                        "onset": member.onset.to_string(),
                        "resolved_at": member.resolved_at.map(|at| at.to_string()),
                        "labels": notice.map(|notice| &notice.labels),
                        "annotations": notice.map(|notice| &notice.annotations),
                    })
                });
                let value = serde_json::json!({
                    "id": name,
                    "opened_at": incident.opened_at.to_string(),
                    "closed_at": incident.closed_at.map(|at| at.to_string()),
                    "services": incident.services(),
                    "alerts": members.collect::<Vec<_>>(),
                    "evidence": evidence.get(name),
                });
                (incident.opened_at, value)
            })
            .collect();
        all.sort_by_key(|(opened_at, _)| std::cmp::Reverse(*opened_at));
        all.into_iter().map(|(_, value)| value).collect()
    }
}

/// Whether a diagnosis found anything but the time of the alert.
fn tells_something(evidence: &Value) -> bool {
    let found = ["traces", "log_patterns", "attributes", "deploys", "suspects"];
    found.iter().any(|name| evidence[*name].as_array().is_some_and(|list| !list.is_empty()))
}

fn fingerprint(notice: &AlertNotice) -> String {
    format!("{:016x}", notice.fingerprint)
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use trivium_alert::Completeness;
    use trivium_notify::{Config, OutgoingPolicy, RuntimeTimer, Surroundings};

    use super::super::testing::state;
    use super::*;
    use crate::config::QueryConfig;
    use crate::testing::NOW;

    async fn bridge(state: &Arc<QueryState>) -> Bridge {
        let surroundings = Surroundings {
            store: state.storage.state(),
            tenant: TenantId::DEFAULT,
            clock: Arc::clone(&state.clock),
            timer: Arc::new(RuntimeTimer),
            holder: "here".into(),
        };
        let config = Config::built_in().expect("a configuration");
        let notifier = Notifier::new(config, "http://x", OutgoingPolicy::default(), surroundings).await;
        let opened = Bridge::open(
            TenantId::DEFAULT,
            (Arc::clone(state), Turns::at_once(1)),
            Arc::new(StoreQuerier::new(Arc::clone(state), Turns::unbounded())),
            Arc::new(notifier.expect("a notifier")),
            Arc::new(Alertmanagers::new(CancellationToken::new())),
            Arc::default(),
            "http://x".into(),
        );
        opened.await.expect("a bridge")
    }

    fn notice(state: AlertState) -> AlertNotice {
        let map = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        AlertNotice {
            labels: map("service", "cart"),
            annotations: map("summary", "cart is slow"),
            starts_at_ms: NOW / NANOS_PER_MILLI - 60_000,
            ends_at_ms: NOW / NANOS_PER_MILLI,
            state,
            generator_url: String::new(),
            fingerprint: 7,
            value: 1.0,
            no_data_since_ms: None,
            group: "rules.yml;shop".into(),
            rule: "Slow".into(),
            expr: "latency > 1".into(),
            slot_ms: NOW / NANOS_PER_MILLI,
            completeness: Completeness::default(),
        }
    }

    /// The only alert of the only incident.
    fn shown(bridge: &Bridge) -> Value {
        bridge.inner().incidents()[0]["alerts"][0].clone()
    }

    /// Scenario: an alert is resolved, and the process starts anew. Guarantee: the incident still says which alert it was.
    #[tokio::test]
    async fn an_incident_keeps_the_names_of_its_alerts() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = state(folder.path(), QueryConfig::default()).await;
        let told = bridge(&state).await;
        told.notify(TenantId::DEFAULT, vec![notice(AlertState::Firing)]).await;
        assert_eq!(shown(&told)["labels"]["service"], "cart");
        told.notify(TenantId::DEFAULT, vec![notice(AlertState::Inactive)]).await;
        for bridge in [told, bridge(&state).await] {
            let alert = shown(&bridge);
            assert_eq!([&alert["name"], &alert["summary"]], ["Slow", "cart is slow"], "{alert}");
            assert!(alert["resolved_at"].is_string() && alert["labels"].is_null(), "{alert}");
        }
    }
}
