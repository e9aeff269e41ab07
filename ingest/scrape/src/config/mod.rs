//! The configuration: what of Prometheus' file concerns scraping.

mod reader;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reader::{Map, Node};
pub(crate) use reader::{duration, parse};

use crate::parse::Format;
use trivium_relabel::{RULES_MAX, Rule, RuleSpec};

/// Why a configuration is refused: the path of the key and what is expected there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

/// Bytes of an exposition when the configuration states no limit.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    pub(crate) external_labels: BTreeMap<String, String>,
    pub(crate) jobs: Vec<Job>,
}

/// One of `scrape_configs`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) metrics_path: String,
    pub(crate) scheme: String,
    pub(crate) params: BTreeMap<String, Vec<String>>,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: bool,
    pub(crate) native_histograms: bool,
    pub(crate) fallback: Option<Format>,
    pub(crate) static_groups: Vec<Group>,
    pub(crate) files: Vec<FileDiscovery>,
    pub(crate) relabel: Vec<Rule>,
    pub(crate) metric_relabel: Vec<Rule>,
    pub(crate) limits: Limits,
    pub(crate) auth: Option<Auth>,
    pub(crate) follow_redirects: bool,
}

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) targets: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// One of `file_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileDiscovery {
    pub(crate) patterns: Vec<PathBuf>,
    pub(crate) refresh_interval: Duration,
}

/// Limits of one scrape; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) samples: usize,
    pub(crate) labels: usize,
    pub(crate) label_name_bytes: usize,
    pub(crate) label_value_bytes: usize,
    pub(crate) targets: usize,
    pub(crate) body_bytes: usize,
}

/// A secret: in the configuration, or in a file that is read before each scrape.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Inline(String),
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

/// How a scrape is authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Basic { username: Secret, password: Secret },
    Scheme { scheme: String, credentials: Secret },
}

impl ScrapeConfig {
    /// Reads the file; relative paths in it begin at its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
            .map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// Reads the text of a file that lies in `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let mut file = parse(text)?.map()?;
        let mut defaults = Defaults { interval: Duration::from_secs(60), timeout: None, native: false, folder };
        let mut external_labels = BTreeMap::new();
        if let Some(node) = file.take("global") {
            let mut global = node.map()?;
            defaults.interval = global.get("scrape_interval", Node::duration)?.unwrap_or(defaults.interval);
            defaults.timeout = global.get("scrape_timeout", Node::duration)?;
            defaults.native = global.get("scrape_native_histograms", Node::bool)?.unwrap_or(false);
            external_labels = global.get("external_labels", Node::labels)?.unwrap_or_default();
            global.finish(&["evaluation_interval", "query_log_file", "scrape_protocols", "rule_query_offset"])?;
        }
        let mut jobs: Vec<Job> = Vec::new();
        for node in file.get("scrape_configs", Node::list)?.unwrap_or_default() {
            let path = node.path.clone();
            let job = job(node.map()?, &defaults)?;
            if jobs.iter().any(|known| known.name == job.name) {
                return Err(ConfigError(format!("{path}.job_name: {:?} is the name of another job", job.name)));
            }
            jobs.push(job);
        }
        file.finish(&[
            "alerting",
            "rule_files",
            "remote_write",
            "remote_read",
            "storage",
            "tracing",
            "scrape_config_files",
            "otlp",
            "runtime",
        ])?;
        Ok(Self { external_labels, jobs })
    }
}

struct Defaults<'a> {
    interval: Duration,
    timeout: Option<Duration>,
    native: bool,
    folder: &'a Path,
}

impl Defaults<'_> {
    fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// What Prometheus has in a scrape configuration and we do not.
const UNSUPPORTED: [&str; 16] = [
    "scrape_protocols",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "tls_config",
    "oauth2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "enable_http2",
    "enable_compression",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "keep_dropped_targets",
    "track_timestamps_staleness",
    "http_headers",
];

fn job(mut map: Map, defaults: &Defaults<'_>) -> Result<Job, ConfigError> {
    let name = map.get("job_name", Node::string)?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| map.error("job_name", "missing; a name is expected"))?;
    let interval = map.get("scrape_interval", Node::duration)?.unwrap_or(defaults.interval);
    let own_timeout = map.get("scrape_timeout", Node::duration)?;
    let timeout = own_timeout.or(defaults.timeout).unwrap_or(Duration::from_secs(10));
    if own_timeout.is_some_and(|timeout| timeout > interval) {
        return Err(map.error("scrape_timeout", "longer than the scrape interval"));
    }
    let scheme = map.get("scheme", Node::string)?.unwrap_or_else(|| "http".into());
    check_scheme(&scheme).map_err(|problem| map.error("scheme", &problem))?;
    let mut static_groups = Vec::new();
    for node in map.get("static_configs", Node::list)?.unwrap_or_default() {
        static_groups.push(group(node)?);
    }
    let job = Job {
        name,
        interval,
        timeout: timeout.min(interval),
        metrics_path: map.get("metrics_path", Node::string)?.unwrap_or_else(|| "/metrics".into()),
        scheme,
        params: map.get("params", params)?.unwrap_or_default(),
        honor_labels: map.get("honor_labels", Node::bool)?.unwrap_or(false),
        honor_timestamps: map.get("honor_timestamps", Node::bool)?.unwrap_or(true),
        native_histograms: map.get("scrape_native_histograms", Node::bool)?.unwrap_or(defaults.native),
        fallback: map.get("fallback_scrape_protocol", protocol)?,
        static_groups,
        files: map.get("file_sd_configs", |node| files(node, defaults))?.unwrap_or_default(),
        relabel: map.get("relabel_configs", rules)?.unwrap_or_default(),
        metric_relabel: map.get("metric_relabel_configs", rules)?.unwrap_or_default(),
        limits: limits(&mut map)?,
        auth: auth(&mut map, defaults)?,
        follow_redirects: map.get("follow_redirects", Node::bool)?.unwrap_or(true),
    };
    map.finish(&UNSUPPORTED)?;
    Ok(job)
}

/// Whether we can speak it.
pub(crate) fn check_scheme(scheme: &str) -> Result<(), String> {
    match scheme {
        "http" => Ok(()),
        "https" => Err("https is not supported by Trivium yet; let a collector scrape this target".into()),
        other => Err(format!("{other:?} is not http")),
    }
}

fn limits(map: &mut Map) -> Result<Limits, ConfigError> {
    let mut count = |key| Ok::<_, ConfigError>(map.get(key, Node::count)?.unwrap_or(0));
    let limits = Limits {
        samples: count("sample_limit")?,
        labels: count("label_limit")?,
        label_name_bytes: count("label_name_length_limit")?,
        label_value_bytes: count("label_value_length_limit")?,
        targets: count("target_limit")?,
        body_bytes: 0,
    };
    let body = map.get("body_size_limit", Node::bytes)?.unwrap_or(0);
    Ok(Limits { body_bytes: if body == 0 { BODY_BYTES_MAX } else { body.min(BODY_BYTES_MAX) }, ..limits })
}

fn params(node: Node) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
    node.map()?.into_nodes().map(|(name, node)| Ok((name, node.strings()?))).collect()
}

fn protocol(node: Node) -> Result<Format, ConfigError> {
    let error = node.error("one of PrometheusText0.0.4, PrometheusText1.0.0, OpenMetricsText1.0.0, PrometheusProto");
    match node.string()?.as_str() {
        "PrometheusText0.0.4" | "PrometheusText1.0.0" => Ok(Format::Text),
        "OpenMetricsText0.0.1" | "OpenMetricsText1.0.0" => Ok(Format::OpenMetrics),
        "PrometheusProto" => Ok(Format::Protobuf),
        _ => Err(error),
    }
}

/// Targets and their labels, in the configuration or in a file of targets.
pub(crate) fn group(node: Node) -> Result<Group, ConfigError> {
    let mut map = node.map()?;
    let targets = map.get("targets", Node::strings)?.unwrap_or_default();
    if let Some(target) = targets.iter().find(|target| target.is_empty() || target.contains('/')) {
        return Err(map.error("targets", &format!("{target:?} is not an address such as localhost:9100")));
    }
    let labels = map.get("labels", Node::labels)?.unwrap_or_default();
    map.finish(&[])?;
    Ok(Group { targets, labels })
}

fn files(node: Node, defaults: &Defaults<'_>) -> Result<Vec<FileDiscovery>, ConfigError> {
    node.list()?
        .into_iter()
        .map(|node| {
            let mut map = node.map()?;
            let patterns = map.get("files", Node::strings)?.unwrap_or_default();
            for pattern in &patterns {
                let extension = Path::new(pattern).extension().and_then(|extension| extension.to_str()).unwrap_or("");
                let in_folder =
                    Path::new(pattern).parent().is_some_and(|folder| folder.to_string_lossy().contains('*'));
                if !matches!(extension.to_ascii_lowercase().as_str(), "json" | "yml" | "yaml") || in_folder {
                    let problem = format!("{pattern:?} is not a .json, .yml or .yaml file, * in its last part only");
                    return Err(map.error("files", &problem));
                }
            }
            let refresh_interval = map.get("refresh_interval", Node::duration)?.unwrap_or(Duration::from_secs(300));
            map.finish(&[])?;
            Ok(FileDiscovery {
                patterns: patterns.iter().map(|path| defaults.resolve(path)).collect(),
                refresh_interval,
            })
        })
        .collect()
}

fn secret(map: &mut Map, key: &str, defaults: &Defaults<'_>) -> Result<Option<Secret>, ConfigError> {
    let file_key = format!("{key}_file");
    let (inline, file) = (map.get(key, Node::string)?, map.get(&file_key, Node::string)?);
    match (inline, file) {
        (Some(_), Some(_)) => Err(map.error(key, &format!("given together with {file_key}; one of them is expected"))),
        (Some(text), None) => Ok(Some(Secret::Inline(text))),
        (None, file) => Ok(file.map(|path| Secret::File(defaults.resolve(&path)))),
    }
}

fn auth(map: &mut Map, defaults: &Defaults<'_>) -> Result<Option<Auth>, ConfigError> {
    let empty = || Secret::Inline(String::new());
    let basic = map.take("basic_auth").map(Node::map).transpose()?;
    let scheme = map.take("authorization").map(Node::map).transpose()?;
    match (basic, scheme) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(map.error("authorization", "given together with basic_auth; one is expected")),
        (Some(mut basic), None) => {
            let username = secret(&mut basic, "username", defaults)?.unwrap_or_else(empty);
            let password = secret(&mut basic, "password", defaults)?.unwrap_or_else(empty);
            basic.finish(&["username_ref", "password_ref"])?;
            Ok(Some(Auth::Basic { username, password }))
        }
        (None, Some(mut scheme)) => {
            let credentials = secret(&mut scheme, "credentials", defaults)?.unwrap_or_else(empty);
            let name = scheme.get("type", Node::string)?.unwrap_or_else(|| "Bearer".into());
            scheme.finish(&["credentials_ref"])?;
            Ok(Some(Auth::Scheme { scheme: name, credentials }))
        }
    }
}

fn rules(node: Node) -> Result<Vec<Rule>, ConfigError> {
    let too_many = node.error(&format!("a list of at most {RULES_MAX} rules"));
    let nodes = node.list()?;
    if nodes.len() > RULES_MAX {
        return Err(too_many);
    }
    nodes.into_iter().map(|node| rule(node.map()?)).collect()
}

fn rule(mut map: Map) -> Result<Rule, ConfigError> {
    let spec = RuleSpec {
        action: map.get("action", Node::string)?,
        source_labels: map.get("source_labels", Node::strings)?.unwrap_or_default(),
        separator: map.get("separator", Node::string)?,
        regex: map.get("regex", Node::string)?,
        target_label: map.get("target_label", Node::string)?.unwrap_or_default(),
        replacement: map.get("replacement", Node::string)?,
        modulus: map.get("modulus", Node::count)?.unwrap_or(0) as u64,
    };
    let rule = Rule::new(spec).map_err(|error| map.error(error.key, &error.problem))?;
    map.finish(&[])?;
    Ok(rule)
}
