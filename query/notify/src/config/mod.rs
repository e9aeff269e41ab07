//! `alertmanager.yml`, strictly read: what is unknown is refused, with the line.

mod alerting;
mod email;
mod global;
mod http;
mod receiver;
mod redact;
mod route;
#[cfg(test)]
mod tests;
mod tls;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::inhibit::InhibitRule;
use crate::interval::TimeInterval;
use crate::matcher::{MatchOperator, Matcher, Matchers};
use crate::route::RouteTree;

pub use alerting::AlertingFile;
pub(crate) use alerting::{Alertmanager, TIMEOUT};
pub(crate) use email::Email;
pub(crate) use http::{Auth, HttpSettings, Oauth2};
pub use receiver::{Integration, Receiver};
pub(crate) use receiver::{
    OpsGenieAlert, OpsGenieResponder, PagerDuty, Settings, SlackAction, SlackField, SlackMessage, Teams,
};
pub(crate) use redact::without_user;
pub(crate) use tls::{TlsSettings, TlsVersions};
pub(crate) use value::{Secret, SecretSource, check_url, nullable};

/// Bytes of a configuration or of a file of templates.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What notifies whom when there is no file: one message for each incident, recorded and shown in the history.
const BUILT_IN: &str = "\
# There is no configuration of notifications: they are recorded and shown in the history, and sent to nobody.
route:
  receiver: history
  group_by: [trivium_incident]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
receivers:
  - name: history
";

/// Why a configuration is refused: where, what was found and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

/// A configuration that has been read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// After which an alert without an end that is not sent again is resolved.
    pub resolve_timeout: Duration,
    /// Who is told about what.
    pub routes: RouteTree,
    /// Which alerts mute which.
    pub inhibit_rules: Vec<InhibitRule>,
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Named sets of time intervals.
    pub time_intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// Files of templates: name and text.
    pub templates: Vec<(String, String)>,
    /// The configuration as it may be shown.
    pub original: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct File {
    #[serde(deserialize_with = "nullable")]
    global: global::WrittenGlobal,
    route: Option<route::WrittenRoute>,
    #[serde(deserialize_with = "nullable")]
    inhibit_rules: Vec<WrittenInhibit>,
    #[serde(deserialize_with = "nullable")]
    receivers: Vec<receiver::WrittenReceiver>,
    #[serde(deserialize_with = "nullable")]
    templates: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    mute_time_intervals: Vec<Named>,
    #[serde(deserialize_with = "nullable")]
    time_intervals: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    time_intervals: Vec<TimeInterval>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct WrittenInhibit {
    // A name for people.
    name: String,
    source_match: BTreeMap<String, String>,
    source_match_re: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    source_matchers: value::MatcherList,
    target_match: BTreeMap<String, String>,
    target_match_re: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    target_matchers: value::MatcherList,
    #[serde(deserialize_with = "nullable")]
    equal: BTreeSet<String>,
}

impl Config {
    /// Reads a file; paths in it are meant relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder).map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// What holds when there is no file.
    pub fn built_in() -> Result<Self, ConfigError> {
        Self::parse(BUILT_IN, Path::new("."))
    }

    /// Reads a configuration whose relative paths are meant in `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let tree: Value = yaml(text)?;
        refuse_unsupported(&tree, text)?;
        let file: File = yaml(text)?;
        let at = |name: &str, problem: String| ConfigError(format!("{}{problem}", line_of(text, name)));
        let global = file.global.settle(folder).map_err(|problem| at("global", format!("global.{problem}")))?;
        let mut receivers = Vec::new();
        for written in file.receivers {
            let name = written.name.clone();
            if name.is_empty() {
                return Err(at("receivers", "missing name in receiver".into()));
            }
            if receivers.iter().any(|known: &Receiver| known.name == name) {
                return Err(at(&name, format!("notification config name {name:?} is not unique")));
            }
            let defaults = receiver::Defaults { global: &global, folder };
            let settled = written.settle(&defaults);
            receivers.push(settled.map_err(|problem| at(&name, format!("receiver {name:?}: {problem}")))?);
        }
        let time_intervals = intervals(file.mute_time_intervals.into_iter().chain(file.time_intervals))
            .map_err(|problem| at("time_intervals", problem))?;
        let root = file.route.ok_or_else(|| ConfigError("no route provided in config".into()))?;
        let known = route::Known { receivers: &receivers, intervals: &time_intervals };
        let routes = root.settle(&known).map_err(|(name, problem)| at(&name, problem))?;
        let inhibit_rules = file.inhibit_rules.into_iter().map(inhibit_rule).collect::<Result<_, _>>();
        Ok(Self {
            resolve_timeout: global.resolve_timeout,
            routes,
            inhibit_rules: inhibit_rules.map_err(|problem| at("inhibit_rules", format!("inhibit_rules: {problem}")))?,
            receivers,
            time_intervals,
            templates: templates(&file.templates, folder)?,
            original: redact::redact(tree),
        })
    }

    /// A receiver by its name.
    pub(crate) fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }
}

/// Errors tell the line but do not show it: there may be a secret next to it.
fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| ConfigError(error.to_string()))
}

/// Where a name stands, for errors that are found after reading.
fn line_of(text: &str, name: &str) -> String {
    let line = text.lines().position(|line| !name.is_empty() && line.contains(name));
    line.map_or_else(String::new, |line| format!("line {}: ", line + 1))
}

fn intervals(all: impl Iterator<Item = Named>) -> Result<BTreeMap<String, Vec<TimeInterval>>, String> {
    let mut known = BTreeMap::new();
    for named in all {
        if named.name.is_empty() {
            return Err("missing name in time interval".into());
        }
        if known.contains_key(&named.name) {
            return Err(format!("time interval {:?} is not unique", named.name));
        }
        known.insert(named.name, named.time_intervals);
    }
    Ok(known)
}

fn inhibit_rule(written: WrittenInhibit) -> Result<InhibitRule, String> {
    Ok(InhibitRule {
        source: all_matchers(written.source_match, written.source_match_re, written.source_matchers)?,
        target: all_matchers(written.target_match, written.target_match_re, written.target_matchers)?,
        equal: written.equal,
    })
}

/// The old forms and the new one together, sorted.
fn all_matchers(
    equal: BTreeMap<String, String>,
    regex: BTreeMap<String, String>,
    list: value::MatcherList,
) -> Result<Matchers, String> {
    let mut all = list.0;
    for (pairs, operator) in [(equal, MatchOperator::Equal), (regex, MatchOperator::Regex)] {
        for (name, value) in pairs {
            if name.is_empty() {
                return Err("a label without a name".into());
            }
            // In keys of groups Alertmanager shows the old form with its anchors.
            let value = if operator.is_regex() { format!("^(?:{value})$") } else { value };
            all.push(Matcher::new(&name, operator, &value).map_err(|error| error.to_string())?);
        }
    }
    let mut matchers = Matchers(all);
    matchers.sort();
    Ok(matchers)
}

/// Receivers of Alertmanager's that we do not have, and what to use in their place.
const UNSUPPORTED: [(&str, &str); 13] = [
    (
        "discord_configs",
        "a webhook_configs entry with a payload, or Discord's Slack-compatible URL (…/slack) in slack_configs",
    ),
    ("incidentio_configs", "webhook_configs with the incident.io URL and http_config.authorization"),
    ("jira_configs", "webhook_configs to a Jira automation rule"),
    ("mattermost_configs", "slack_configs with Mattermost's incoming webhook URL"),
    ("pushover_configs", "webhook_configs with a payload"),
    ("rocketchat_configs", "slack_configs with Rocket.Chat's incoming webhook URL"),
    ("sns_configs", "webhook_configs to a function that publishes to SNS"),
    ("telegram_configs", "webhook_configs with a payload (chat_id, text) to the bot's sendMessage URL"),
    ("victorops_configs", "webhook_configs with a payload to the REST endpoint of Splunk On-Call"),
    ("webex_configs", "webhook_configs with a payload and http_config.authorization"),
    ("wechat_configs", "webhook_configs with a payload"),
    ("hipchat_configs", "another receiver; HipChat is gone"),
    ("jsmops_configs", "opsgenie_configs, whose API it shares"),
];

fn refuse_unsupported(tree: &Value, text: &str) -> Result<(), ConfigError> {
    let receivers = tree.get("receivers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for receiver in receivers {
        for (name, instead) in UNSUPPORTED {
            if receiver.get(name).is_some() {
                let line = line_of(text, name);
                return Err(ConfigError(format!("{line}{name} is not supported by Trivium; use {instead}")));
            }
        }
    }
    Ok(())
}

fn templates(patterns: &[String], folder: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let mut found = Vec::new();
    for pattern in patterns {
        for path in expand(&folder.join(pattern))? {
            let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            found.push((name, read(&path)?));
        }
    }
    Ok(found)
}

/// The files of a pattern with `*` and `?` in its last part, sorted. A pattern that fits nothing is no error.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let name = pattern.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let folder = pattern.parent().unwrap_or(Path::new("."));
    let has_wildcard = |text: &str| text.contains(['*', '?', '[']);
    if has_wildcard(&folder.to_string_lossy()) {
        let problem = "* and ? are taken in the last part only";
        return Err(ConfigError(format!("templates: {}: {problem}", pattern.display())));
    }
    if !has_wildcard(&name) {
        return Ok(vec![pattern.to_owned()]);
    }
    let regex = regex::escape(&name).replace("\\*", ".*").replace("\\?", ".");
    let regex = crate::matcher::whole(&regex).map_err(|error| ConfigError(error.to_string()))?;
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| regex.is_match(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |error: std::io::Error| ConfigError(format!("cannot read {}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > FILE_BYTES_MAX {
        return Err(ConfigError(format!("{}: {size} bytes; at most {FILE_BYTES_MAX} are read", path.display())));
    }
    std::fs::read_to_string(path).map_err(failed)
}
