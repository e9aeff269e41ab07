//! Rules, SLOs and notifications at work on the store.
//!
//! The crates `trivium-alert`, `trivium-slo` and `trivium-notify` know neither the store nor each other; here they are
//! given what they ask for. Flow: rules are evaluated on [`StoreQuerier`], what they record goes the way of all samples,
//! their alerts go to [`Bridge`], which puts them into incidents, has them diagnosed, and hands them to the notifier.
//! SLOs are measured in slices by [`SliceCounter`]; their alerts are rules over the virtual series `slo_alert`.

mod bridge;
mod burners;
mod diagnosis;
mod history;
mod log_rows;
mod querier;
mod service_graph;
mod slo_counts;
mod slo_rules;
mod slo_series;
mod sql_rows;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trivium_alert::{
    Deps, GroupStatus, Interval, LeaseOptions, Options, RuleManager, RuleSet, Sink, SourceFile, read_files,
};
use trivium_model::{TenantId, UnixNanos};
use trivium_notify::{
    AlertRelabelling, AlertingFile, Config as NotifyConfig, ExternalSender, Network, Notifier, OutgoingPolicy,
    RuntimeTimer, Surroundings,
};
use trivium_slo::{Evaluator, EvaluatorConfig, EvaluatorDeps, SloSet, Slos};

use crate::admission::Permit;
use crate::error::Error;
use crate::state::QueryState;
use bridge::Bridge;
pub(crate) use diagnosis::Asked;
use slo_counts::SliceCounter;

pub(crate) use querier::StoreQuerier;
pub(crate) use slo_rules::SloTemplates;
pub(crate) use slo_series::WithSlos;

/// For how long the right to evaluate is taken. After a crash another process takes over when it is over.
const LEASE_TTL: Duration = Duration::from_secs(30);

/// What is evaluated and who is told.
#[derive(Clone, Debug)]
pub struct AlertingConfig {
    /// Rule files; `*` and `?` stand within the last part of a path.
    pub rule_files: Vec<String>,
    /// Files of SLOs, likewise.
    pub slo_files: Vec<String>,
    /// Alertmanager's configuration; without it notifications are only recorded.
    pub alertmanager_config: Option<PathBuf>,
    /// Addresses of Alertmanagers that are sent all alerts instead.
    pub alertmanager_urls: Vec<String>,
    /// A file in Prometheus' format whose `alerting` says how alerts are relabelled, and to which Alertmanagers they are
    /// sent, with which credentials.
    pub alerting_config: Option<PathBuf>,
    /// Where people reach this installation.
    pub external_url: String,
    /// Labels of this installation, added to alerts.
    pub external_labels: BTreeMap<String, String>,
    /// How often groups without interval are evaluated.
    pub evaluation_interval: Duration,
    /// Networks that are not public and may nevertheless be notified.
    pub notify_allow_networks: Vec<String>,
    /// How long a backtest may take.
    pub backtest_timeout: Duration,
}

/// The evaluators while they run.
#[derive(Debug)]
pub struct Alerting {
    config: AlertingConfig,
    state: Arc<QueryState>,
    rules: Mutex<Option<RuleManager>>,
    /// Rules that come with the product rather than from files, such as the demo's.
    built_in: BuiltIn,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) querier: Arc<StoreQuerier>,
    templates: Arc<SloTemplates>,
    external: Option<Arc<ExternalSender>>,
    relabelling: Arc<AlertRelabelling>,
    incidents: Arc<bridge::Inner>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Files that are part of the program.
#[derive(Clone, Debug, Default)]
pub struct BuiltIn {
    /// Name and text of rule files.
    pub rules: Vec<(String, String)>,
    /// Name and text of SLO files.
    pub slos: Vec<(String, String)>,
}

/// All that files say, checked.
struct Definitions {
    rules: RuleSet,
    slos: SloSet,
    notify: NotifyConfig,
    alerting: AlertingFile,
    policy: OutgoingPolicy,
}

impl Alerting {
    /// Reads all files and begins. An error says what is wrong in which file; nothing runs then.
    pub async fn start(
        config: AlertingConfig,
        built_in: BuiltIn,
        state: Arc<QueryState>,
        sink: Arc<dyn Sink>,
        holder: String,
    ) -> Result<Arc<Self>, String> {
        let querier = Arc::new(StoreQuerier::new(Arc::clone(&state)));
        let templates = Arc::new(SloTemplates::new(state.slos.clone()));
        let definitions = definitions(&config, &built_in, &templates)?;
        state.slos.replace(definitions.slos);
        let rules = with_slo_rules(definitions.rules, &state.slos, &config);
        let surroundings = Surroundings {
            store: state.storage.state(),
            tenant: TenantId::DEFAULT,
            clock: Arc::clone(&state.clock),
            timer: Arc::new(RuntimeTimer),
            holder: holder.clone(),
        };
        let notifier =
            Notifier::new(definitions.notify, &config.external_url, definitions.policy.clone(), surroundings);
        let notifier = Arc::new(notifier.await.map_err(|error| error.to_string())?);
        let external = external(&config, &definitions.alerting, definitions.policy)?;
        let relabelling = Arc::new(AlertRelabelling::new(&definitions.alerting));
        let stop = CancellationToken::new();
        let bridge = Bridge::open(
            Arc::clone(&state),
            Arc::clone(&querier),
            Arc::clone(&notifier),
            external.clone(),
            Arc::clone(&relabelling),
            config.external_url.clone(),
        )
        .await?;
        let incidents = bridge.inner();
        let deps = Deps {
            querier: Arc::clone(&querier) as _,
            sink,
            store: state.storage.state(),
            notifier: Arc::new(bridge),
            templates: Arc::clone(&templates) as _,
            clock: Arc::clone(&state.clock),
        };
        let lease = LeaseOptions { name: "rules".into(), holder: holder.clone(), ttl: LEASE_TTL };
        let manager = RuleManager::start(deps, options(&config), lease, rules);
        let tasks = tasks(&state, &querier, &notifier, external.as_ref(), &stop, &holder);
        Ok(Arc::new(Self {
            config,
            state,
            rules: Mutex::new(Some(manager)),
            built_in,
            notifier,
            querier,
            templates,
            external,
            relabelling,
            incidents,
            stop,
            tasks: Mutex::new(tasks),
        }))
    }

    /// Reads all files again. When one of them is wrong, everything stays as it was; else says what is in force now.
    pub fn reload(&self) -> Result<String, String> {
        let definitions = definitions(&self.config, &self.built_in, &self.templates)?;
        self.notifier
            .reload(definitions.notify, &self.config.external_url, definitions.policy)
            .map_err(|error| error.to_string())?;
        // Which Alertmanagers are sent to is fixed at the start.
        self.relabelling.replace(&definitions.alerting);
        let slos = definitions.slos.slos.len();
        self.state.slos.replace(definitions.slos);
        let rules = definitions.rules.groups.iter().map(|group| group.rules.len()).sum::<usize>();
        let all = with_slo_rules(definitions.rules, &self.state.slos, &self.config);
        self.with_rules(|manager| manager.reload(all));
        Ok(format!("{rules} rules, {slos} SLOs"))
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
        &self.state.slos
    }

    /// Where all alerts are sent, when they are not notified here.
    pub(crate) fn alertmanager_urls(&self) -> Vec<String> {
        self.external.as_ref().map(|external| external.urls()).unwrap_or_default()
    }

    /// When alerts fired that are in the history, by the names of their rules.
    pub(crate) async fn past_firings(
        &self,
        start: UnixNanos,
        end: UnixNanos,
    ) -> Result<BTreeMap<String, Vec<Interval>>, Error> {
        history::firings(&*self.state.storage.state(), start, end).await
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
        let _permit = self.permit().await?;
        Ok(self.incidents.explain_at(asked).await)
    }

    /// What burned the budget of an SLO over spans in its last hour: attributes and log patterns of bad spans against good.
    pub(crate) async fn top_burners(&self, name: &str) -> Option<serde_json::Value> {
        let definitions = self.state.slos.definitions();
        let slo = definitions.iter().find(|slo| slo.name == name)?;
        burners::top(&self.state, slo).await
    }

    pub(crate) fn options(&self) -> Options {
        options(&self.config)
    }

    /// How long a backtest may take.
    pub(crate) fn backtest_timeout(&self) -> Duration {
        self.config.backtest_timeout
    }

    /// Our numbers in the text format of Prometheus, under the names that dashboards for Prometheus and Alertmanager read.
    pub fn exposition(&self) -> String {
        let mut samples = self.notifier.metrics();
        samples.extend(self.external.iter().flat_map(|external| external.metrics()));
        crate::telemetry::rules_exposition(&self.groups(), &samples)
    }

    /// Lets running evaluations finish, then ends.
    pub async fn stop(&self) {
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
    }
}

fn options(config: &AlertingConfig) -> Options {
    Options {
        evaluation_interval: config.evaluation_interval,
        external_labels: config.external_labels.clone(),
        external_url: config.external_url.clone(),
        ..Options::default()
    }
}

fn definitions(config: &AlertingConfig, built_in: &BuiltIn, templates: &SloTemplates) -> Result<Definitions, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let read = |patterns: &[String], built_in: &[(String, String)]| {
        let mut files = read_files(patterns).map_err(|error| text(&error))?;
        files.extend(built_in.iter().map(|(path, text)| SourceFile { path: path.clone(), text: text.clone() }));
        Ok::<_, String>(files)
    };
    let rule_files = read(&config.rule_files, &built_in.rules)?;
    let slo_files: Vec<_> = read(&config.slo_files, &built_in.slos)?
        .into_iter()
        .map(|SourceFile { path, text }| trivium_slo::SourceFile { path, text })
        .collect();
    let notify = match &config.alertmanager_config {
        Some(file) => NotifyConfig::load(file),
        None => NotifyConfig::built_in(),
    };
    let alerting = config.alerting_config.as_deref().map_or_else(|| Ok(AlertingFile::default()), AlertingFile::load);
    let network = |text: &String| {
        text.parse::<Network>().map_err(|error| format!("notify_allow_networks: {text:?} is no network: {error}"))
    };
    Ok(Definitions {
        rules: RuleSet::parse(&rule_files, templates).map_err(|error| text(&error))?,
        slos: trivium_slo::load(&slo_files).map_err(|error| text(&error))?,
        notify: notify.map_err(|error| text(&error))?,
        alerting: alerting.map_err(|error| text(&error))?,
        policy: OutgoingPolicy { allow: config.notify_allow_networks.iter().map(network).collect::<Result<_, _>>()? },
    })
}

fn with_slo_rules(mut rules: RuleSet, slos: &Slos, config: &AlertingConfig) -> RuleSet {
    let interval = config.evaluation_interval;
    rules.groups.extend(slos.definitions().iter().filter_map(|slo| slo_rules::group(slo, interval)));
    rules
}

fn external(
    config: &AlertingConfig,
    file: &AlertingFile,
    policy: OutgoingPolicy,
) -> Result<Option<Arc<ExternalSender>>, String> {
    if config.alertmanager_urls.is_empty() && !file.has_alertmanagers() {
        return Ok(None);
    }
    let sender = ExternalSender::new(&config.alertmanager_urls, file, policy);
    Ok(Some(Arc::new(sender.map_err(|error| format!("alertmanager_urls: {error}"))?)))
}

fn tasks(
    state: &Arc<QueryState>,
    querier: &Arc<StoreQuerier>,
    notifier: &Arc<Notifier>,
    external: Option<&Arc<ExternalSender>>,
    stop: &CancellationToken,
    holder: &str,
) -> Vec<JoinHandle<()>> {
    let deps = EvaluatorDeps {
        querier: Arc::new(SliceCounter::new(Arc::clone(state), Arc::clone(querier))),
        store: state.storage.state(),
        clock: Arc::clone(&state.clock),
        slos: state.slos.clone(),
    };
    let evaluator = Evaluator::new(EvaluatorConfig::new(TenantId::DEFAULT, holder), deps);
    let mut tasks = vec![tokio::spawn(evaluator.run(stop.clone()))];
    let (running, stopped) = (Arc::clone(notifier), stop.clone());
    tasks.push(tokio::spawn(async move {
        tokio::select! { () = running.run() => {}, () = stopped.cancelled() => {} }
    }));
    if let Some(external) = external {
        let (external, stopped) = (Arc::clone(external), stop.clone());
        tasks.push(tokio::spawn(async move {
            tokio::select! { () = external.run() => {}, () = stopped.cancelled() => {} }
        }));
    }
    tasks
}
