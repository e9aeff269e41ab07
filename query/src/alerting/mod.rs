//! Rules, SLOs and notifications at work on the store.
//!
//! The crates `trivium-alert`, `trivium-slo` and `trivium-notify` know neither the store nor each other; here they are
//! given what they ask for. Flow: rules are evaluated on [`StoreQuerier`], what they record goes the way of all samples,
//! their alerts go to [`Bridge`], which puts them into incidents, has them diagnosed, and hands them to the notifier.
//! SLOs are measured in slices by [`SliceCounter`]; their alerts are rules over the virtual series `slo_alert`.

mod alertmanagers;
mod bridge;
mod burners;
mod definitions;
mod diagnosis;
mod history;
mod log_rows;
mod querier;
mod service_graph;
mod slo_counts;
mod slo_rules;
mod slo_series;
mod sql_rows;
mod tenant_slos;
mod tenants;
#[cfg(test)]
mod testing;
mod turns;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trivium_alert::{Deps, GroupStatus, Interval, LeaseOptions, Options, RuleManager, RuleSet};
use trivium_model::{Clock, TenantId, UnixNanos};
use trivium_notify::{AlertRelabelling, MetricSample, Notifier, RuntimeTimer, Surroundings};
use trivium_slo::{Evaluator, EvaluatorConfig, EvaluatorDeps, Slos};

use crate::admission::Permit;
use crate::error::Error;
use crate::state::QueryState;
use alertmanagers::Alertmanagers;
use bridge::Bridge;
use definitions::{Definitions, Files};
pub(crate) use diagnosis::Asked;
use slo_counts::SliceCounter;
use turns::Turns;

pub use definitions::{AlertingConfig, AlertingFiles, BuiltIn};
pub(crate) use querier::StoreQuerier;
pub(crate) use slo_rules::SloTemplates;
pub(crate) use slo_series::WithSlos;
pub use tenant_slos::TenantSlos;
pub use tenants::{AlertingDeps, TenantNames, Tenants};

/// For how long the right to evaluate is taken. After a crash another process takes over when it is over.
const LEASE_TTL: Duration = Duration::from_secs(30);

/// The evaluators of one tenant while they run.
#[derive(Debug)]
pub(crate) struct Alerting {
    tenant: TenantId,
    config: AlertingConfig,
    files: Files,
    built_in: BuiltIn,
    state: Arc<QueryState>,
    slos: Slos,
    rules: Mutex<Option<RuleManager>>,
    pub(crate) notifier: Arc<Notifier>,
    /// For what people ask; rules and SLOs have one that waits for its turn.
    pub(crate) querier: Arc<StoreQuerier>,
    templates: Arc<SloTemplates>,
    alertmanagers: Arc<Alertmanagers>,
    relabelling: Arc<AlertRelabelling>,
    incidents: Arc<bridge::Inner>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Alerting {
    /// Reads the files of a tenant and begins. An error says what is wrong in which file; nothing runs then.
    async fn start(
        tenant: TenantId,
        config: AlertingConfig,
        files: Files,
        built_in: BuiltIn,
        (deps, (turns, diagnoses)): (&AlertingDeps, &(Turns, Turns)),
    ) -> Result<Arc<Self>, String> {
        let AlertingDeps { state, sink, holder, .. } = deps;
        let slos = state.slos.of(tenant);
        let templates = Arc::new(SloTemplates::new(slos.clone()));
        let found = files.find();
        let definitions = Definitions::read(&config, &found, &built_in, &templates)?;
        let surroundings = Surroundings {
            store: state.storage.state(),
            tenant,
            clock: Arc::clone(&state.clock),
            timer: Arc::new(RuntimeTimer),
            holder: holder.clone(),
        };
        let notifier = Notifier::new(definitions.notify, &config.external_url, definitions.policy, surroundings);
        let notifier = Arc::new(notifier.await.map_err(|error| error.to_string())?);
        let stop = CancellationToken::new();
        let alertmanagers = Arc::new(Alertmanagers::new(stop.clone()));
        let relabelling = Arc::new(AlertRelabelling::new(&definitions.alerting));
        let querier = Arc::new(StoreQuerier::new(Arc::clone(state), Turns::unbounded()));
        let querier_of_rules = Arc::new(StoreQuerier::new(Arc::clone(state), turns.clone()));
        let bridge = Bridge::open(
            tenant,
            (Arc::clone(state), diagnoses.clone()),
            Arc::clone(&querier),
            Arc::clone(&notifier),
            Arc::clone(&alertmanagers),
            Arc::clone(&relabelling),
            config.external_url.clone(),
        )
        .await?;
        let incidents = bridge.inner();
        let rule_deps = Deps {
            querier: Arc::clone(&querier_of_rules) as _,
            sink: Arc::clone(sink),
            store: state.storage.state(),
            notifier: Arc::new(bridge),
            templates: Arc::clone(&templates) as _,
            clock: Arc::clone(&state.clock),
        };
        // From here on nothing is awaited: a request that is given up leaves all of it or nothing.
        alertmanagers.replace(definitions.alertmanagers);
        slos.replace(definitions.slos);
        let rules = with_slo_rules(definitions.rules, &slos, &config);
        let lease = LeaseOptions { name: tenant.own("rules"), holder: holder.clone(), ttl: LEASE_TTL };
        let manager = RuleManager::start(rule_deps, options(tenant, &config), lease, rules);
        let mut alerting = Self {
            tenant,
            config,
            files,
            built_in,
            state: Arc::clone(state),
            slos,
            rules: Mutex::new(Some(manager)),
            notifier,
            querier,
            templates,
            alertmanagers,
            relabelling,
            incidents,
            stop,
            tasks: Mutex::default(),
        };
        alerting.tasks = Mutex::new(alerting.spawn(holder, querier_of_rules));
        Ok(Arc::new(alerting))
    }

    /// Whether files could be loaded for a tenant that has no alerting yet.
    fn check(config: &AlertingConfig, files: &Files, clock: Arc<dyn Clock>) -> Result<(), String> {
        let templates = SloTemplates::new(Slos::new(clock));
        Definitions::read(config, &files.find(), &BuiltIn::default(), &templates).map(drop)
    }

    /// Reads all files again.
    fn read(&self) -> Result<Definitions, String> {
        Definitions::read(&self.config, &self.files.find(), &self.built_in, &self.templates)
    }

    /// Has what was read take effect.
    fn apply(&self, definitions: Definitions) -> Result<(), String> {
        self.notifier
            .reload(definitions.notify, &self.config.external_url, definitions.policy)
            .map_err(|error| error.to_string())?;
        self.relabelling.replace(&definitions.alerting);
        self.alertmanagers.replace(definitions.alertmanagers);
        self.slos.replace(definitions.slos);
        let all = with_slo_rules(definitions.rules, &self.slos, &self.config);
        self.with_rules(|manager| manager.reload(all));
        Ok(())
    }

    fn with_rules<T>(&self, look: impl FnOnce(&RuleManager) -> T) -> Option<T> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    /// How the groups of rules are.
    pub(crate) fn groups(&self) -> Vec<Arc<GroupStatus>> {
        self.with_rules(RuleManager::groups).unwrap_or_default()
    }

    pub(crate) fn templates(&self) -> &SloTemplates {
        &self.templates
    }

    pub(crate) fn templates_arc(&self) -> Arc<SloTemplates> {
        Arc::clone(&self.templates)
    }

    pub(crate) fn now(&self) -> UnixNanos {
        self.state.clock.now()
    }

    pub(crate) fn slos(&self) -> &Slos {
        &self.slos
    }

    /// Where all alerts are sent, when they are not notified here.
    pub(crate) fn alertmanager_urls(&self) -> Vec<String> {
        self.alertmanagers.urls()
    }

    /// When alerts fired that are in the history, by the names of their rules.
    pub(crate) async fn past_firings(
        &self,
        start: UnixNanos,
        end: UnixNanos,
    ) -> Result<BTreeMap<String, Vec<Interval>>, Error> {
        history::firings(&*self.state.storage.state(), self.tenant, start, end).await
    }

    /// Incidents, the newest first, with what explains them.
    pub(crate) fn incidents(&self) -> Vec<serde_json::Value> {
        self.incidents.incidents()
    }

    /// The right to make the server work for one person's question.
    pub(crate) async fn permit(&self) -> Result<Permit, Error> {
        self.state.admission.acquire().await
    }

    /// What changed at a time.
    pub(crate) async fn explain_at(&self, asked: Asked) -> Result<serde_json::Value, Error> {
        let permit = self.permit().await?;
        let incidents = Arc::clone(&self.incidents);
        permit.hold(async move { incidents.explain_at(asked).await }).await
    }

    /// What burned the budget of an SLO over spans in its last hour: attributes and log patterns of bad spans against good.
    pub(crate) async fn top_burners(&self, name: &str) -> Option<serde_json::Value> {
        let definitions = self.slos.definitions();
        let slo = definitions.iter().find(|slo| slo.name == name)?;
        burners::top(&self.state, self.tenant, slo).await
    }

    pub(crate) fn options(&self) -> Options {
        options(self.tenant, &self.config)
    }

    /// How long a backtest may take.
    pub(crate) fn backtest_timeout(&self) -> Duration {
        self.config.backtest_timeout
    }

    /// What is counted of notifications.
    fn numbers(&self) -> Vec<MetricSample> {
        let mut samples = self.notifier.metrics();
        samples.extend(self.alertmanagers.metrics());
        samples
    }

    /// What runs beside the rules: measuring SLOs, and telling people.
    fn spawn(&self, holder: &str, querier: Arc<StoreQuerier>) -> Vec<JoinHandle<()>> {
        let deps = EvaluatorDeps {
            querier: Arc::new(SliceCounter::new(self.tenant, Arc::clone(&self.state), querier)),
            store: self.state.storage.state(),
            clock: Arc::clone(&self.state.clock),
            slos: self.slos.clone(),
        };
        let evaluator = Evaluator::new(EvaluatorConfig::new(self.tenant, holder), deps);
        let mut tasks = vec![tokio::spawn(evaluator.run(self.stop.clone()))];
        let (notifier, stopped) = (Arc::clone(&self.notifier), self.stop.clone());
        tasks.push(tokio::spawn(async move {
            tokio::select! { () = notifier.run() => {}, () = stopped.cancelled() => {} }
        }));
        tasks
    }

    /// Lets running evaluations finish, then ends.
    async fn stop(&self) {
        let manager = self.rules.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(manager) = manager {
            manager.stop().await;
        }
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "an evaluator died");
            }
        }
        self.alertmanagers.ended().await;
    }
}

fn options(tenant: TenantId, config: &AlertingConfig) -> Options {
    Options {
        tenant,
        evaluation_interval: config.evaluation_interval,
        external_labels: config.external_labels.clone(),
        external_url: config.external_url.clone(),
        ..Options::default()
    }
}

fn with_slo_rules(mut rules: RuleSet, slos: &Slos, config: &AlertingConfig) -> RuleSet {
    let interval = config.evaluation_interval;
    rules.groups.extend(slos.definitions().iter().filter_map(|slo| slo_rules::group(slo, interval)));
    rules
}
