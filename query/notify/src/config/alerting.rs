//! `alerting` of Prometheus' configuration: how alerts are relabelled, and to which Alertmanagers they are sent.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use trivium_relabel::{RULES_MAX, Rule, RuleSpec};

use super::http::{HttpSettings, WrittenHttp};
use super::receiver::numbers_to_texts;
use super::value::{Span, check_url};
use super::{ConfigError, line_of, read, yaml};

/// For how long an Alertmanager is waited for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Alertmanagers of one file.
const ALERTMANAGERS_MAX: usize = 100;

/// What stands beside `alerting` in Prometheus' file. It is not looked at.
const OTHERS: [&str; 10] = [
    "global",
    "runtime",
    "rule_files",
    "scrape_configs",
    "scrape_config_files",
    "remote_write",
    "remote_read",
    "storage",
    "tracing",
    "otlp",
];

/// `alerting` of a file in Prometheus' format; the rest of the file is not looked at.
#[derive(Clone, Debug, Default)]
pub struct AlertingFile {
    pub(crate) relabel: Vec<Rule>,
    pub(crate) alertmanagers: Vec<Alertmanager>,
}

/// One Alertmanager.
#[derive(Clone, Debug)]
pub(crate) struct Alertmanager {
    /// Without the path of the API.
    pub(crate) url: String,
    pub(crate) http: HttpSettings,
    pub(crate) timeout: Duration,
    pub(crate) relabel: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenAlerting {
    alert_relabel_configs: Option<Vec<RuleSpec>>,
    alertmanagers: Option<Vec<Map<String, Value>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenTargets {
    targets: Vec<String>,
}

impl AlertingFile {
    /// Reads a file; paths in it are meant relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder).map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// Reads a configuration whose relative paths are meant in `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let file: Option<Map<String, Value>> = yaml(text)?;
        let mut file = file.unwrap_or_default();
        let alerting = file.remove("alerting").unwrap_or_default();
        if let Some(key) = file.keys().find(|key| !OTHERS.contains(&key.as_str())) {
            return Err(ConfigError(format!("{}{key}: Prometheus' file has no such key", line_of(text, key))));
        }
        let at = |problem: String| ConfigError(format!("{}alerting.{problem}", line_of(text, "alerting:")));
        let alerting: Option<WrittenAlerting> =
            serde_json::from_value(alerting).map_err(|error| at(format!(" {error}")))?;
        let alerting = alerting.unwrap_or_default();
        let relabel = rules(alerting.alert_relabel_configs.unwrap_or_default()).map_err(at)?;
        let mut alertmanagers = Vec::new();
        for (place, written) in alerting.alertmanagers.unwrap_or_default().into_iter().enumerate() {
            let found = alertmanager(written, folder);
            alertmanagers.extend(found.map_err(|problem| at(format!("alertmanagers[{place}].{problem}")))?);
        }
        if alertmanagers.len() > ALERTMANAGERS_MAX {
            let count = alertmanagers.len();
            return Err(at(format!("alertmanagers: {count} targets; at most {ALERTMANAGERS_MAX} are taken")));
        }
        Ok(Self { relabel, alertmanagers })
    }

    /// Whether it names Alertmanagers.
    pub fn has_alertmanagers(&self) -> bool {
        !self.alertmanagers.is_empty()
    }
}

fn rules(written: Vec<RuleSpec>) -> Result<Vec<Rule>, String> {
    if written.len() > RULES_MAX {
        return Err(format!("alert_relabel_configs: {} rules; at most {RULES_MAX} are taken", written.len()));
    }
    let rule = |(place, spec)| {
        Rule::new(spec).map_err(|error| format!("alert_relabel_configs[{place}].{}: {}", error.key, error.problem))
    };
    written.into_iter().enumerate().map(rule).collect()
}

fn take<T: serde::de::DeserializeOwned>(written: &mut Map<String, Value>, key: &str) -> Result<Option<T>, String> {
    let value = written.remove(key).filter(|value| !value.is_null());
    value.map(|value| serde_json::from_value(value).map_err(|error| format!("{key}: {error}"))).transpose()
}

/// The settings of the client stand beside those of Prometheus.
fn alertmanager(mut written: Map<String, Value>, folder: &Path) -> Result<Vec<Alertmanager>, String> {
    if let Some(key) = written.keys().find(|key| key.ends_with("_sd_configs") || key.as_str() == "relabel_configs") {
        return Err(format!("{key}: Alertmanagers are not discovered; name them in static_configs"));
    }
    let scheme = take::<String>(&mut written, "scheme")?.unwrap_or_else(|| "http".into());
    let prefix = take::<String>(&mut written, "path_prefix")?.unwrap_or_default();
    let timeout = take::<Span>(&mut written, "timeout")?.map_or(TIMEOUT, |timeout| timeout.0);
    let version = take::<String>(&mut written, "api_version")?;
    if let Some(version) = version.filter(|version| version != "v2") {
        return Err(format!("api_version: {version:?} is not spoken; Alertmanager 0.16 and later have v2"));
    }
    let relabel = rules(take(&mut written, "alert_relabel_configs")?.unwrap_or_default())?;
    let groups = take::<Vec<WrittenTargets>>(&mut written, "static_configs")?.unwrap_or_default();
    let mut rest = Value::Object(written);
    numbers_to_texts(&mut rest);
    let http = serde_json::from_value::<WrittenHttp>(rest).map_err(|error| error.to_string())?.settle(folder)?;
    let one = |target: String| {
        if target.is_empty() || target.contains(['/', '@']) {
            return Err("static_configs: a target is not an address such as alertmanager:9093".to_owned());
        }
        let url = format!("{scheme}://{target}/{}", prefix.trim_matches('/'));
        check_url(&url).map_err(|problem| format!("static_configs: {target:?}: {problem}"))?;
        Ok(Alertmanager { url, http: http.clone(), timeout, relabel: relabel.clone() })
    };
    groups.into_iter().flat_map(|group| group.targets).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_file_is_read_as_it_is() {
        let text = "
global: {scrape_interval: 15s, external_labels: {a: b}}
scrape_configs: [{job_name: x}]
alerting:
  alert_relabel_configs:
  - {regex: replica, action: labeldrop}
  alertmanagers:
  - scheme: https
    path_prefix: /am/
    timeout: 3s
    api_version: v2
    basic_auth: {username: u, password: 1234567}
    tls_config: {ca_file: ca.pem}
    static_configs: [{targets: ['a:9093', 'b:9093']}]
    alert_relabel_configs: [{target_label: x, replacement: 'y'}]
  - static_configs: [{targets: ['c:9093']}]
";
        let file = AlertingFile::parse(text, Path::new("/etc")).unwrap();
        let urls: Vec<&str> = file.alertmanagers.iter().map(|one| one.url.as_str()).collect();
        assert_eq!(urls, ["https://a:9093/am", "https://b:9093/am", "http://c:9093/"]);
        assert_eq!((file.relabel.len(), file.alertmanagers[1].relabel.len()), (1, 1));
        let timeouts: Vec<u64> = file.alertmanagers.iter().map(|one| one.timeout.as_secs()).collect();
        assert_eq!(timeouts, [3, 3, 10]);
        assert!(!format!("{file:?}").contains("1234567"));
        assert!(!AlertingFile::parse("", Path::new("/")).unwrap().has_alertmanagers());
        assert!(!AlertingFile::parse("alerting:", Path::new("/")).unwrap().has_alertmanagers());
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_key() {
        let one = |rest: &str| format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: [x]}}], {rest}}}]}}");
        for (text, expected) in [
            ("alertin: {}".to_owned(), "line 1: alertin: Prometheus' file has no such key"),
            ("alerting: {relabel: []}".to_owned(), "unknown field `relabel`"),
            (
                "alerting: {alert_relabel_configs: [{action: keep}, {action: hashmod, target_label: a}]}".to_owned(),
                "alerting.alert_relabel_configs[1].modulus: missing",
            ),
            (
                one("kubernetes_sd_configs: []"),
                "alertmanagers[0].kubernetes_sd_configs: Alertmanagers are not discovered",
            ),
            (one("api_version: v1"), "alertmanagers[0].api_version"),
            (one("basic_aut: {}"), "basic_aut"),
            (one("scheme: ftp"), "unsupported scheme"),
            (one("timeout: soon"), "timeout: not a valid duration"),
            (one("authorization: hush"), "a mapping is expected"),
            (one("authorization: {credentials: [hush]}"), "expected a string"),
            (
                "alerting: {alertmanagers: [{static_configs: [{targets: ['me:hush@x']}]}]}".to_owned(),
                "is not an address",
            ),
        ] {
            let error = AlertingFile::parse(&text, Path::new("/")).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hush"), "{text}\n{error}");
        }
    }
}
