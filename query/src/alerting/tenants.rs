//! The rules, SLOs and notifications of every tenant, each on its own: files, state, leases, silences, incidents.
//!
//! The default tenant's files are named in the settings. Those of another one are in the folder of its name below
//! `tenants_dir`; a tenant without files has alerting all the same, so that it can ask what changed, test a rule on its
//! past, or have its own Prometheus send alerts here.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use trivium_alert::Sink;
use trivium_model::TenantId;

use super::definitions::Files;
use super::turns::Turns;
use super::{Alerting, AlertingConfig, BuiltIn};
use crate::error::Error;
use crate::state::QueryState;

/// Which tenants there are.
pub trait TenantNames: Send + Sync + Debug {
    /// The tenant of this name.
    fn named(&self, name: &str) -> Option<TenantId>;

    /// The name of a tenant, fit for a folder; `None` when it has none.
    fn name(&self, tenant: TenantId) -> Option<String>;
}

/// What the evaluators work with.
#[derive(Clone, Debug)]
pub struct AlertingDeps {
    /// The store and its queries.
    pub state: Arc<QueryState>,
    /// Where what rules record goes.
    pub sink: Arc<dyn Sink>,
    /// Which tenants there are.
    pub names: Arc<dyn TenantNames>,
    /// The name of this process, different from that of any other.
    pub holder: String,
}

/// The evaluators of all tenants while they run.
#[derive(Debug)]
pub struct Tenants {
    config: AlertingConfig,
    /// Rules that come with the product rather than from files, such as the demo's.
    built_in: BuiltIn,
    deps: AlertingDeps,
    /// Of rules, and of diagnoses in the background.
    turns: (Turns, Turns),
    running: RwLock<BTreeMap<TenantId, Arc<Alerting>>>,
    /// Held while tenants are started or their files read again.
    changing: Mutex<()>,
}

impl Tenants {
    /// Reads all files and begins. An error in the files of the default tenant says what is wrong in which of them, and
    /// nothing runs; one in those of another tenant is told in the log, and all others run.
    pub async fn start(config: AlertingConfig, built_in: BuiltIn, deps: AlertingDeps) -> Result<Arc<Self>, String> {
        let turns = (Turns::of_rules(&deps.state.config), Turns::of_diagnoses(&deps.state.config));
        let tenants = Self { config, built_in, deps, turns, running: RwLock::default(), changing: Mutex::default() };
        tenants.begin(TenantId::DEFAULT).await?;
        for (tenant, name) in tenants.with_folder()? {
            if let Err(error) = tenants.begin(tenant).await {
                tracing::error!(
                    tenant = name,
                    error,
                    "the rules of a tenant cannot be loaded: none of them is evaluated"
                );
            }
        }
        Ok(Arc::new(tenants))
    }

    /// The evaluators of a tenant, begun when it had none.
    pub(crate) async fn of(&self, tenant: TenantId) -> Result<Arc<Alerting>, Error> {
        if let Some(alerting) = self.known(tenant) {
            return Ok(alerting);
        }
        let _changing = self.changing.lock().await;
        if let Some(alerting) = self.known(tenant) {
            return Ok(alerting);
        }
        let begun = self.begin(tenant).await;
        begun.map_err(|error| Error::Unavailable(format!("the rules of this tenant cannot be loaded: {error}")))
    }

    /// Reads all files of all tenants again. When one of them is wrong, everything stays as it was; else says what is in
    /// force now.
    pub async fn reload(&self) -> Result<String, String> {
        let _changing = self.changing.lock().await;
        let mut fresh = Vec::new();
        for (tenant, name) in self.with_folder()? {
            if self.known(tenant).is_none() {
                Alerting::check(&self.config, &self.files(tenant), Arc::clone(&self.deps.state.clock))
                    .map_err(|error| format!("tenant {name}: {error}"))?;
                fresh.push((tenant, name));
            }
        }
        let mut read = Vec::new();
        for (tenant, alerting) in self.all() {
            let name = || self.deps.names.name(tenant).unwrap_or_else(|| tenant.to_string());
            let of_whom =
                |error| if tenant == TenantId::DEFAULT { error } else { format!("tenant {}: {error}", name()) };
            read.push((alerting.read().map_err(of_whom)?, alerting));
        }
        let (rules, slos) = read.iter().map(|(definitions, _)| definitions.counts()).fold((0, 0), sum);
        for (definitions, alerting) in read {
            alerting.apply(definitions)?;
        }
        for (tenant, name) in &fresh {
            self.begin(*tenant).await.map_err(|error| format!("tenant {name}: {error}"))?;
        }
        let of_others = if fresh.is_empty() { String::new() } else { format!(", {} more tenants", fresh.len()) };
        Ok(format!("{rules} rules, {slos} SLOs{of_others}"))
    }

    /// Our numbers in the text format of Prometheus, under the names that dashboards for Prometheus and Alertmanager read.
    /// Those of other tenants than the default one have the label `tenant`.
    pub fn exposition(&self) -> String {
        let numbers = |(tenant, alerting): (TenantId, Arc<Alerting>)| {
            let name = (tenant != TenantId::DEFAULT).then(|| self.deps.names.name(tenant));
            (name.map(|name| name.unwrap_or_else(|| tenant.to_string())), alerting.groups(), alerting.numbers())
        };
        crate::telemetry::rules_exposition(self.all().into_iter().map(numbers))
    }

    /// Lets running evaluations finish, then ends.
    pub async fn stop(&self) {
        futures::future::join_all(self.all().into_iter().map(|(_, alerting)| async move { alerting.stop().await }))
            .await;
    }

    fn all(&self) -> Vec<(TenantId, Arc<Alerting>)> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|(tenant, alerting)| (*tenant, Arc::clone(alerting))).collect()
    }

    fn known(&self, tenant: TenantId) -> Option<Arc<Alerting>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).map(Arc::clone)
    }

    async fn begin(&self, tenant: TenantId) -> Result<Arc<Alerting>, String> {
        let built_in = if tenant == TenantId::DEFAULT { self.built_in.clone() } else { BuiltIn::default() };
        let begun =
            Alerting::start(tenant, self.config.clone(), self.files(tenant), built_in, (&self.deps, &self.turns))
                .await?;
        self.running.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, Arc::clone(&begun));
        Ok(begun)
    }

    fn files(&self, tenant: TenantId) -> Files {
        if tenant == TenantId::DEFAULT {
            return Files::Named(self.config.files.clone());
        }
        let folder = self.config.tenants_dir.as_deref();
        let folder = folder.and_then(|folder| Some(folder.join(self.deps.names.name(tenant)?)));
        folder.map_or(Files::None, Files::Folder)
    }

    /// The tenants that have a folder of files. A folder that no tenant has the name of is told and passed over: tenants
    /// are made while the server runs.
    fn with_folder(&self) -> Result<Vec<(TenantId, String)>, String> {
        let Some(folder) = self.config.tenants_dir.as_deref() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for name in folders_in(folder).map_err(|error| format!("tenants_dir: {}: {error}", folder.display()))? {
            match self.deps.names.named(&name) {
                Some(TenantId::DEFAULT) => {
                    let message = "the default tenant's files are named by rule_files and the like";
                    return Err(format!("tenants_dir: {}/{name}: {message}", folder.display()));
                }
                Some(tenant) => found.push((tenant, name)),
                None => tracing::warn!(
                    folder = %folder.join(&name).display(),
                    "there is no tenant of this name: its rules are loaded by a reload once it is made"
                ),
            }
        }
        Ok(found)
    }
}

fn sum(left: (usize, usize), right: (usize, usize)) -> (usize, usize) {
    (left.0 + right.0, left.1 + right.1)
}

/// The names of folders, sorted; hidden ones are not meant.
fn folders_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string())
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
