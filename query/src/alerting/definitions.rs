//! What is evaluated and who is told, as files say it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trivium_alert::{RuleSet, SourceFile, read_files};
use trivium_notify::{AlertingFile, Config as NotifyConfig, Network, Notifier, OutgoingPolicy};
use trivium_slo::SloSet;

use super::alertmanagers::Named;
use super::slo_rules::SloTemplates;

/// Settings of rules, SLOs and notifications.
#[derive(Clone, Debug)]
pub struct AlertingConfig {
    /// The files of the default tenant.
    pub files: AlertingFiles,
    /// A folder that has a folder of files for each other tenant, under its name.
    pub tenants_dir: Option<PathBuf>,
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

/// Where the files of a tenant are.
#[derive(Clone, Debug, Default)]
pub struct AlertingFiles {
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
}

/// Files that are part of the program, of the default tenant.
#[derive(Clone, Debug, Default)]
pub struct BuiltIn {
    /// Name and text of rule files.
    pub rules: Vec<(String, String)>,
    /// Name and text of SLO files.
    pub slos: Vec<(String, String)>,
}

/// How a tenant's files are found; what a folder has is looked up each time that they are read.
#[derive(Clone, Debug)]
pub(super) enum Files {
    Named(AlertingFiles),
    Folder(PathBuf),
    None,
}

impl Files {
    pub(super) fn find(&self) -> AlertingFiles {
        match self {
            Self::Named(files) => files.clone(),
            Self::Folder(folder) => in_folder(folder),
            Self::None => AlertingFiles::default(),
        }
    }
}

/// `rules/*.yaml`, `slos/*.yaml`, `alertmanager.yml` and `alerting.yml`, those that are there.
fn in_folder(folder: &Path) -> AlertingFiles {
    let all = |name: &str| {
        let inner = folder.join(name);
        if inner.is_dir() { vec![inner.join("*.y*ml").display().to_string()] } else { Vec::new() }
    };
    let one = |name: &str| Some(folder.join(name)).filter(|file| file.is_file());
    AlertingFiles {
        rule_files: all("rules"),
        slo_files: all("slos"),
        alertmanager_config: one("alertmanager.yml"),
        alertmanager_urls: Vec::new(),
        alerting_config: one("alerting.yml"),
    }
}

/// All that the files of a tenant say, checked.
pub(super) struct Definitions {
    pub(super) rules: RuleSet,
    pub(super) slos: SloSet,
    pub(super) notify: NotifyConfig,
    pub(super) alerting: AlertingFile,
    pub(super) alertmanagers: Option<Named>,
    pub(super) policy: OutgoingPolicy,
}

impl Definitions {
    /// How many rules and SLOs.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.rules.groups.iter().map(|group| group.rules.len()).sum(), self.slos.slos.len())
    }

    /// Reads everything. An error says what is wrong in which file.
    pub(super) fn read(
        config: &AlertingConfig,
        files: &AlertingFiles,
        built_in: &BuiltIn,
        templates: &SloTemplates,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let read = |patterns: &[String], built_in: &[(String, String)]| {
            let mut files = read_files(patterns).map_err(|error| text(&error))?;
            files.extend(built_in.iter().map(|(path, text)| SourceFile { path: path.clone(), text: text.clone() }));
            Ok::<_, String>(files)
        };
        let rule_files = read(&files.rule_files, &built_in.rules)?;
        let slo_files: Vec<_> = read(&files.slo_files, &built_in.slos)?
            .into_iter()
            .map(|SourceFile { path, text }| trivium_slo::SourceFile { path, text })
            .collect();
        let notify = match &files.alertmanager_config {
            Some(file) => NotifyConfig::load(file),
            None => NotifyConfig::built_in(),
        };
        let (alerting, alerting_text) = alerting(files.alerting_config.as_deref())?;
        let network = |text: &String| {
            text.parse::<Network>().map_err(|error| format!("notify_allow_networks: {text:?} is no network: {error}"))
        };
        let allow = config.notify_allow_networks.iter().map(network).collect::<Result<Vec<_>, _>>()?;
        let policy = OutgoingPolicy { allow };
        let alertmanagers = Named::of(files, (&alerting, &alerting_text), policy.clone())?;
        let notify = notify.map_err(|error| text(&error))?;
        // Nothing that is applied later may fail: a reload is all or nothing.
        Notifier::check(&notify, &config.external_url).map_err(|error| text(&error))?;
        Ok(Self {
            rules: RuleSet::parse(&rule_files, templates).map_err(|error| text(&error))?,
            slos: trivium_slo::load(&slo_files).map_err(|error| text(&error))?,
            notify,
            alerting,
            alertmanagers,
            policy,
        })
    }
}

/// What a file says, and its text, which is read first: should the file change between, the next reload takes it for changed.
fn alerting(file: Option<&Path>) -> Result<(AlertingFile, String), String> {
    let Some(file) = file else { return Ok((AlertingFile::default(), String::new())) };
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok((AlertingFile::load(file).map_err(|error| error.to_string())?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_what_is_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = in_folder(&folder.path().join("shop"));
        assert!(nothing.rule_files.is_empty() && nothing.alertmanager_config.is_none());
        std::fs::create_dir_all(folder.path().join("rules")).expect("made");
        std::fs::write(folder.path().join("rules/a.yaml"), "groups: []").expect("written");
        std::fs::write(folder.path().join("alertmanager.yml"), "").expect("written");
        let found = in_folder(folder.path());
        assert_eq!(read_files(&found.rule_files).expect("read").len(), 1);
        assert!(found.slo_files.is_empty() && found.alerting_config.is_none());
        assert_eq!(found.alertmanager_config, Some(folder.path().join("alertmanager.yml")));
    }
}
