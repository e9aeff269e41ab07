//! The configuration: one TOML file, overlaid by the environment, overlaid by flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use trivium_listen::PerAddress;
use trivium_model::SignalKind;
use trivium_query::PromqlConfig;
use trivium_query::alerting::{AlertingConfig, AlertingFiles};
use trivium_query::series::{SeriesConfig, TranslationStrategy};

/// How log lines of the server look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For eyes.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether requests need credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Authentication {
    /// Whoever reaches the listeners may do everything.
    #[default]
    Open,
    /// Every request needs a token, a password or a session.
    Required,
}

/// How long telemetry is kept: a duration such as `30d`, or `none` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Retention(pub(crate) Option<Duration>);

impl std::str::FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let duration = humantime::parse_duration(text)
            .map_err(|error| format!("{text:?} is neither a duration such as 30d nor none: {error}"))?;
        if duration < Duration::from_secs(60) {
            return Err(format!("{text:?} is shorter than a minute; data would vanish before anyone can look at them"));
        }
        Ok(Self(Some(duration)))
    }
}

impl TryFrom<String> for Retention {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Retention> for String {
    fn from(retention: Retention) -> Self {
        retention.0.map_or_else(|| "none".into(), |duration| humantime::format_duration(duration).to_string())
    }
}

/// How long one signal is kept: as `retention` says, or otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SignalRetention(Option<Retention>);

impl std::str::FromStr for SignalRetention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "same" { Ok(Self(None)) } else { text.parse().map(|retention| Self(Some(retention))) }
    }
}

impl TryFrom<String> for SignalRetention {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SignalRetention> for String {
    fn from(retention: SignalRetention) -> Self {
        retention.0.map_or_else(|| "same".into(), Self::from)
    }
}

/// The effective configuration of `trivium serve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) otlp_grpc: SocketAddr,
    pub(crate) otlp_http: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) tls_cert_file: PathBuf,
    pub(crate) tls_key_file: PathBuf,
    pub(crate) tls_client_ca_file: PathBuf,
    pub(crate) tls_client_crl_file: PathBuf,
    pub(crate) tls_listeners: Vec<String>,
    pub(crate) tls_client_ca_listeners: Vec<String>,
    pub(crate) connections_per_address_max: usize,
    pub(crate) auth: Authentication,
    pub(crate) auth_config_file: PathBuf,
    pub(crate) insecure_no_tls: bool,
    pub(crate) insecure_no_auth: bool,
    pub(crate) retention: Retention,
    pub(crate) logs_retention: SignalRetention,
    pub(crate) metrics_retention: SignalRetention,
    pub(crate) traces_retention: SignalRetention,
    pub(crate) scrape_config_file: PathBuf,
    pub(crate) redaction_file: PathBuf,
    pub(crate) encryption_key_file: PathBuf,
    pub(crate) encrypt: bool,
    pub(crate) tenant_bytes_per_second: u64,
    pub(crate) tenant_bytes_burst: u64,
    pub(crate) tenant_records_per_second: u64,
    pub(crate) tenant_records_burst: u64,
    pub(crate) tenant_bytes_per_day: u64,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
    pub(crate) self_telemetry: bool,
    pub(crate) buffer_mib: u64,
    pub(crate) seal_after: String,
    pub(crate) in_flight_mib: u64,
    pub(crate) page_cache_mib: u64,
    pub(crate) query_memory_mib: u64,
    pub(crate) query_timeout: String,
    pub(crate) query_concurrency: usize,
    pub(crate) promql_samples_max: usize,
    pub(crate) promql_cache_mib: u64,
    pub(crate) series_cache_mib: u64,
    pub(crate) promql_lookback: String,
    pub(crate) promql_experimental: bool,
    pub(crate) promql_delayed_name_removal: bool,
    pub(crate) promql_start_timestamps: bool,
    pub(crate) otlp_translation_strategy: String,
    pub(crate) promote_resource_attributes: Vec<String>,
    pub(crate) rule_files: Vec<String>,
    pub(crate) slo_files: Vec<String>,
    pub(crate) alertmanager_config_file: PathBuf,
    pub(crate) alertmanager_urls: Vec<String>,
    pub(crate) alerting_config_file: PathBuf,
    pub(crate) tenants_dir: PathBuf,
    pub(crate) external_url: String,
    pub(crate) external_labels: Vec<String>,
    pub(crate) evaluation_interval: String,
    pub(crate) backtest_timeout: String,
    pub(crate) notify_allow_networks: Vec<String>,
    pub(crate) crash_loop_starts: u32,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            data_dir: PathBuf::from("trivium-data"),
            otlp_grpc: local(4317),
            otlp_http: local(4318),
            http: local(4319),
            tls_cert_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            tls_client_ca_file: PathBuf::new(),
            tls_client_crl_file: PathBuf::new(),
            tls_listeners: LISTENERS.map(str::to_owned).into(),
            tls_client_ca_listeners: LISTENERS.map(str::to_owned).into(),
            connections_per_address_max: PerAddress::default().max,
            auth: Authentication::Open,
            auth_config_file: PathBuf::new(),
            insecure_no_tls: false,
            insecure_no_auth: false,
            retention: Retention(Some(Duration::from_secs(30 * 24 * 3600))),
            logs_retention: SignalRetention::default(),
            metrics_retention: SignalRetention::default(),
            traces_retention: SignalRetention::default(),
            scrape_config_file: PathBuf::new(),
            redaction_file: PathBuf::new(),
            encryption_key_file: PathBuf::new(),
            encrypt: true,
            tenant_bytes_per_second: 0,
            tenant_bytes_burst: 0,
            tenant_records_per_second: 0,
            tenant_records_burst: 0,
            tenant_bytes_per_day: 0,
            log_format: LogFormat::Text,
            log_level: "info".into(),
            self_telemetry: false,
            buffer_mib: 64,
            seal_after: "5m".into(),
            in_flight_mib: 256,
            page_cache_mib: 128,
            query_memory_mib: 512,
            query_timeout: "30s".into(),
            query_concurrency: 16,
            promql_samples_max: 50_000_000,
            promql_cache_mib: 32,
            series_cache_mib: 1024,
            promql_lookback: "5m".into(),
            promql_experimental: false,
            promql_delayed_name_removal: false,
            promql_start_timestamps: false,
            otlp_translation_strategy: "UnderscoreEscapingWithSuffixes".into(),
            promote_resource_attributes: Vec::new(),
            rule_files: Vec::new(),
            slo_files: Vec::new(),
            alertmanager_config_file: PathBuf::new(),
            alertmanager_urls: Vec::new(),
            alerting_config_file: PathBuf::new(),
            tenants_dir: PathBuf::new(),
            external_url: String::new(),
            external_labels: Vec::new(),
            evaluation_interval: "1m".into(),
            backtest_timeout: "5m".into(),
            notify_allow_networks: Vec::new(),
            crash_loop_starts: 5,
        }
    }
}

/// A file or folder that a setting names, unless it is empty, which means none.
pub(crate) fn given(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_path_buf())
}

/// The listeners by the names of their settings.
pub(crate) const LISTENERS: [&str; 3] = ["otlp_grpc", "otlp_http", "http"];

/// One setting as the reference shows it: key, what it does.
const REFERENCE: [(&str, &str); 59] = [
    ("data_dir", "Where everything is kept. One process at a time; the folder is locked."),
    ("otlp_grpc", "Address of OTLP over gRPC; port 0 picks a free one."),
    ("otlp_http", "Address of OTLP over HTTP: /v1/logs, /v1/metrics, /v1/traces."),
    ("http", "Address of the API and the UI."),
    (
        "tls_cert_file",
        "Certificate of the server in PEM, then those that lead to its CA; empty speaks no TLS. Files that change are taken\n\
         within 10 s or at POST /-/reload, without a restart; what cannot be used leaves the one before.",
    ),
    ("tls_key_file", "Private key of that certificate in PEM."),
    (
        "tls_client_ca_file",
        "CAs in PEM; clients must have a certificate of one of them (mutual TLS). Empty asks for none.",
    ),
    (
        "tls_client_crl_file",
        "Lists in PEM of the certificates that those CAs have revoked, of each CA one; taken when they change, like the\n\
         certificate. A CA without a list vouches for nobody. Empty: nobody is asked whether a certificate was revoked.",
    ),
    ("tls_listeners", "Listeners that speak TLS: otlp_grpc, otlp_http, http."),
    ("tls_client_ca_listeners", "Those of them that require a client's certificate, when tls_client_ca_file is set."),
    (
        "connections_per_address_max",
        "Connections that one address (of IPv6: one /64) may hold on each listener; for each above, its idlest is closed, or\n\
         the new one while all are at work. Loopback is exempt. 0: any number, for a proxy that brings all.",
    ),
    (
        "auth",
        "Whether requests need credentials: open (everybody who reaches the listeners may do everything) or required. The\n\
         first start with required writes a token for the first admin into the data folder.",
    ),
    (
        "auth_config_file",
        "TOML file with what goes beyond tokens and users: hosts, origins, trusted_proxies, tls_at_proxy, session_idle,\n\
         session_lifetime, [[jwt]] issuers of services, [oidc] single sign-on (proto/auth/README.md).",
    ),
    (
        "insecure_no_tls",
        "Whether to listen without TLS on an address that other machines reach; refused unless this is set.",
    ),
    (
        "insecure_no_auth",
        "Whether to listen without authentication on an address that other machines reach, so that whoever reaches it reads\n\
         and writes everything; refused unless this is set.",
    ),
    (
        "retention",
        "How long telemetry is kept, by its own time: 30d, 12h … or none for ever. Records that are older when they\n\
         arrive are refused and counted; with none, records of any age are taken.",
    ),
    ("logs_retention", "How long log records are kept: a duration, none, or same as retention."),
    ("metrics_retention", "How long data points are kept, likewise."),
    ("traces_retention", "How long spans are kept, likewise."),
    (
        "scrape_config_file",
        "File in Prometheus' format whose scrape_configs say what is scraped; empty scrapes nothing. POST /-/reload reads\n\
         it again.",
    ),
    (
        "redaction_file",
        "Rules (ingest/redact/README.md) by which secrets and personal data are taken out of requests before they are stored;\n\
         empty takes out nothing. POST /-/reload reads it again.",
    ),
    (
        "encryption_key_file",
        "File with the master keys of encryption at rest, a line NAME:KEY each, the current one first (`trivium keys generate`\n\
         prints one); empty encrypts nothing. Without it a folder with encrypted telemetry is refused. Keep a copy elsewhere:\n\
         what is encrypted is lost with it.",
    ),
    (
        "encrypt",
        "Whether what is new is encrypted when there is an encryption_key_file; what was encrypted before stays readable.",
    ),
    (
        "tenant_bytes_per_second",
        "Bytes of uncompressed OTLP per second that a tenant may send; above it clients are told when to come back. 0: any.",
    ),
    ("tenant_bytes_burst", "Bytes that may come at once after a pause. 0: what may come in ten seconds."),
    ("tenant_records_per_second", "Log records, spans and data points per second that a tenant may send. 0: any."),
    ("tenant_records_burst", "Records that may come at once after a pause. 0: what may come in ten seconds."),
    (
        "tenant_bytes_per_day",
        "Bytes that a tenant may send from midnight to midnight UTC, counted anew after a restart. 0: any.",
    ),
    ("log_format", "How Trivium's own log lines look: text or json."),
    (
        "log_level",
        "Which of them are written: error, warn, info, debug, trace, or a filter such as trivium_storage=debug.",
    ),
    ("self_telemetry", "Whether Trivium stores its own metrics and traces in itself, as the service trivium."),
    (
        "buffer_mib",
        "MiB of memory in which rows of one signal gather before they become a part. More makes larger parts and less\n\
         compaction; a busy signal needs up to three times as much.",
    ),
    ("seal_after", "Age at which rows become a part even when the buffer is not full. Bounds what a restart replays."),
    (
        "in_flight_mib",
        "MiB of memory for export requests in work and their rows; above it clients are told to come back later.",
    ),
    (
        "page_cache_mib",
        "MiB of decompressed pages that look-ups of IDs, traces and log records keep for the next one; 0 keeps none.",
    ),
    ("query_memory_mib", "MiB of memory that all SQL queries together may use."),
    ("query_timeout", "Time after which a query is cancelled unless it asks for another, at most 5m."),
    ("query_concurrency", "Queries that run at once; more wait shortly, then are refused as retryable."),
    (
        "promql_samples_max",
        "Samples that one PromQL query may hold in memory, at least 16 bytes each; above it is refused.",
    ),
    (
        "promql_cache_mib",
        "MiB of answers to PromQL range queries that are kept for the next refresh of a dashboard; 0 keeps none.",
    ),
    (
        "series_cache_mib",
        "MiB, at most, that PromQL remembers of series: their labels, where their samples are, decoded columns.",
    ),
    ("promql_lookback", "How old a sample may be to stand for an instant in PromQL; a request may ask for another."),
    (
        "promql_experimental",
        "Whether PromQL has the functions and the syntax that Prometheus keeps behind feature flags.",
    ),
    (
        "promql_delayed_name_removal",
        "Whether PromQL keeps metric names until a whole query is evaluated, so that they can be used within it.",
    ),
    ("promql_start_timestamps", "Whether PromQL takes a new start time of a series as evidence of a counter reset."),
    (
        "otlp_translation_strategy",
        "How PromQL sees OpenTelemetry's names: UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes,\n\
         NoUTF8EscapingWithSuffixes or NoTranslation. Nothing that is stored depends on it.",
    ),
    (
        "promote_resource_attributes",
        "Resource attributes that PromQL sees as labels of every series, such as [\"k8s.namespace.name\"].",
    ),
    (
        "rule_files",
        "Rule files in Prometheus' format, such as [\"rules/*.yml\"]; * and ? stand within the last part of a path.",
    ),
    ("slo_files", "Files of SLOs, OpenSLO v1 or the short form of query/slo/README.md, likewise."),
    (
        "alertmanager_config_file",
        "Routes and receivers in Alertmanager's format (alertmanager.yml). Empty: notifications are only recorded.",
    ),
    ("alertmanager_urls", "Alertmanagers that are sent all alerts instead, such as [\"http://am:9093\"]."),
    (
        "alerting_config_file",
        "A file in Prometheus' format (prometheus.yml), of which only `alerting` is read: alert_relabel_configs, and\n\
         alertmanagers that are sent all alerts instead, with tls_config, basic_auth, authorization and oauth2.",
    ),
    (
        "tenants_dir",
        "A folder with the files of the other tenants: in the folder of a tenant's name rules/*.yaml, slos/*.yaml,\n\
         alertmanager.yml and alerting.yml, each if it is there. Read again by /-/reload and SIGHUP. Empty: none.",
    ),
    (
        "external_url",
        "Where people reach this server, for links in notifications. Empty: http(s):// and the address bound.",
    ),
    ("external_labels", "Labels of this server that all its alerts get, such as [\"region=eu\"]."),
    ("evaluation_interval", "How often groups of rules are evaluated that do not say."),
    ("backtest_timeout", "Time after which a backtest of rules is stopped without an answer."),
    (
        "notify_allow_networks",
        "Networks that are not public and may nevertheless be notified, such as [\"10.0.0.0/8\"]. Without it, receivers on\n\
         loopback, private and link-local addresses are refused, so that a rule cannot reach what it should not.",
    ),
    (
        "crash_loop_starts",
        "Starts within ten minutes that may end in a crash before the next one refuses writes for half a minute, and twice\n\
         as long with each further crash, so that what is in the WAL reaches parts first; 0 never refuses any.",
    ),
];

impl Config {
    /// Reads the file, if any; without one all defaults hold.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| {
            format!("the configuration {} is not valid; `trivium config` prints a valid one", path.display())
        })
    }

    /// Everything that is wrong, at once.
    pub(crate) fn validate(&self) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        for (key, value) in [
            ("seal_after", &self.seal_after),
            ("query_timeout", &self.query_timeout),
            ("promql_lookback", &self.promql_lookback),
            ("evaluation_interval", &self.evaluation_interval),
            ("backtest_timeout", &self.backtest_timeout),
        ] {
            if let Err(error) = humantime::parse_duration(value) {
                problems.push(format!("{key} = {value:?} is not a duration such as 30s or 5m: {error}"));
            }
        }
        for (key, value, least) in [
            ("buffer_mib", self.buffer_mib, 1),
            ("in_flight_mib", self.in_flight_mib, 8),
            ("query_memory_mib", self.query_memory_mib, 16),
            ("query_concurrency", self.query_concurrency as u64, 1),
            ("promql_samples_max", self.promql_samples_max as u64, 1),
            ("series_cache_mib", self.series_cache_mib, 8),
        ] {
            if value < least {
                problems.push(format!("{key} = {value} is below the least useful value {least}"));
            }
        }
        self.validate_tls(&mut problems);
        if let Err(error) = self.otlp_translation_strategy.parse::<TranslationStrategy>() {
            problems.push(format!("otlp_translation_strategy: {error}"));
        }
        if let Some(label) = self.external_labels.iter().find(|label| !label.contains('=')) {
            problems.push(format!("external_labels: {label:?} is not of the form name=value"));
        }
        if problems.is_empty() {
            return Ok(());
        }
        bail!("the configuration has {} problem(s):\n  {}", problems.len(), problems.join("\n  "))
    }

    fn validate_tls(&self, problems: &mut Vec<String>) {
        let is_set = |path: &Path| !path.as_os_str().is_empty();
        let (certificate, key) = (is_set(&self.tls_cert_file), is_set(&self.tls_key_file));
        if certificate != key {
            problems.push("tls_cert_file and tls_key_file go together: set both or none".into());
        }
        if is_set(&self.tls_client_ca_file) && !certificate {
            problems.push("tls_client_ca_file needs tls_cert_file and tls_key_file".into());
        }
        if is_set(&self.tls_client_crl_file) && !is_set(&self.tls_client_ca_file) {
            problems.push("tls_client_crl_file needs tls_client_ca_file: it says whom of its clients to refuse".into());
        }
        for (key, names) in
            [("tls_listeners", &self.tls_listeners), ("tls_client_ca_listeners", &self.tls_client_ca_listeners)]
        {
            for name in names.iter().filter(|name| !LISTENERS.contains(&&***name)) {
                problems.push(format!("{key}: {name:?} is none of {}", LISTENERS.join(", ")));
            }
        }
    }

    /// Whether a listener speaks TLS.
    pub(crate) fn has_tls(&self, listener: &str) -> bool {
        !self.tls_cert_file.as_os_str().is_empty() && self.tls_listeners.iter().any(|name| name == listener)
    }

    /// Whether a listener requires a certificate of its clients.
    pub(crate) fn requires_client_certificate(&self, listener: &str) -> bool {
        self.has_tls(listener)
            && !self.tls_client_ca_file.as_os_str().is_empty()
            && self.tls_client_ca_listeners.iter().any(|name| name == listener)
    }

    /// How the URL of a listener begins.
    pub(crate) fn scheme(&self, listener: &str) -> &'static str {
        if self.has_tls(listener) { "https" } else { "http" }
    }

    /// How long a signal is kept; `None` for ever.
    pub(crate) fn retention_of(&self, signal: SignalKind) -> Option<Duration> {
        let own = match signal {
            SignalKind::Logs => self.logs_retention,
            SignalKind::Metrics => self.metrics_retention,
            SignalKind::Traces => self.traces_retention,
        };
        own.0.unwrap_or(self.retention).0
    }

    /// What each tenant may send.
    pub(crate) fn tenant_limits(&self) -> trivium_ingest::TenantLimits {
        trivium_ingest::TenantLimits {
            bytes_per_second: self.tenant_bytes_per_second,
            bytes_burst: self.tenant_bytes_burst,
            records_per_second: self.tenant_records_per_second,
            records_burst: self.tenant_records_burst,
            bytes_per_day: self.tenant_bytes_per_day,
        }
    }

    pub(crate) fn seal_after(&self) -> Duration {
        humantime::parse_duration(&self.seal_after).unwrap_or(Duration::from_secs(300))
    }

    pub(crate) fn query_timeout(&self) -> Duration {
        humantime::parse_duration(&self.query_timeout).unwrap_or(Duration::from_secs(30))
    }

    pub(crate) fn promql(&self) -> PromqlConfig {
        let default = PromqlConfig::default();
        PromqlConfig {
            samples_max: self.promql_samples_max,
            answer_cache_bytes_max: usize::try_from(self.promql_cache_mib << 20).unwrap_or(usize::MAX),
            lookback: humantime::parse_duration(&self.promql_lookback).unwrap_or(default.lookback),
            experimental: self.promql_experimental,
            delayed_name_removal: self.promql_delayed_name_removal,
            start_timestamps: self.promql_start_timestamps,
            ..default
        }
    }

    pub(crate) fn series(&self) -> SeriesConfig {
        SeriesConfig {
            translation: self.otlp_translation_strategy.parse().unwrap_or_default(),
            promote_resource_attributes: self.promote_resource_attributes.clone(),
            cache_bytes_max: self.series_cache_mib << 20,
            ..SeriesConfig::default()
        }
    }

    /// What is evaluated and who is told; `address` is where the API was bound.
    pub(crate) fn alerting(&self, address: SocketAddr) -> AlertingConfig {
        let external_labels = self.external_labels.iter().filter_map(|label| label.split_once('='));
        AlertingConfig {
            files: AlertingFiles {
                rule_files: self.rule_files.clone(),
                slo_files: self.slo_files.clone(),
                alertmanager_config: given(&self.alertmanager_config_file),
                alertmanager_urls: self.alertmanager_urls.clone(),
                alerting_config: given(&self.alerting_config_file),
            },
            tenants_dir: given(&self.tenants_dir),
            external_url: match self.external_url.trim_end_matches('/') {
                "" => format!("{}://{address}", self.scheme("http")),
                url => url.to_owned(),
            },
            external_labels: external_labels.map(|(name, value)| (name.into(), value.into())).collect(),
            evaluation_interval: humantime::parse_duration(&self.evaluation_interval)
                .unwrap_or(Duration::from_secs(60)),
            notify_allow_networks: self.notify_allow_networks.clone(),
            backtest_timeout: humantime::parse_duration(&self.backtest_timeout).unwrap_or(Duration::from_secs(300)),
        }
    }

    /// The networks that may be asked though they are not public.
    pub(crate) fn notify_networks(&self) -> anyhow::Result<Vec<trivium_notify::Network>> {
        let parse = |text: &String| text.parse().map_err(|error| anyhow::anyhow!("notify_allow_networks: {error}"));
        self.notify_allow_networks.iter().map(parse).collect()
    }

    /// The configuration as a file that `--config` reads back, every setting with what it does.
    pub(crate) fn render(&self) -> anyhow::Result<String> {
        let table = toml::Table::try_from(self).context("cannot render the configuration")?;
        let mut text = String::from(
            "# Trivium's effective configuration. Every key is also a flag (--data-dir) and an environment variable\n\
             # (TRIVIUM_DATA_DIR); a flag wins over the environment, the environment over this file.\n",
        );
        for (key, doc) in REFERENCE {
            let value = table.get(key).with_context(|| format!("setting {key} has no value"))?;
            let doc = doc.replace('\n', "\n# ");
            text.push_str(&format!("\n# {doc}\n{key} = {value}\n"));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_configuration_is_read_back_as_the_same() {
        let config = Config { retention: Retention(None), buffer_mib: 7, ..Config::default() };
        let text = config.render().expect("the default configuration renders");
        assert_eq!(toml::from_str::<Config>(&text).expect("the printed configuration is valid"), config);
    }

    #[test]
    fn a_signal_may_be_kept_longer_or_shorter_than_the_others() {
        let text = "retention = \"30d\"\nmetrics_retention = \"none\"\ntraces_retention = \"2d\"\n";
        let config: Config = toml::from_str(text).expect("a valid file");
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
        let kept = SignalKind::ALL.map(|signal| config.retention_of(signal));
        let [logs, metrics, traces] = [SignalKind::Logs, SignalKind::Metrics, SignalKind::Traces];
        assert_eq!(config.retention_of(logs), days(30), "{kept:?}");
        assert_eq!(config.retention_of(metrics), None, "{kept:?}");
        assert_eq!(config.retention_of(traces), days(2), "{kept:?}");
        let rendered = config.render().expect("it renders");
        assert!(rendered.contains("logs_retention = \"same\"") && rendered.contains("metrics_retention = \"none\""));
    }

    #[test]
    fn every_setting_is_in_the_reference() {
        let table = toml::Table::try_from(Config::default()).expect("a table");
        let missing: Vec<&String> =
            table.keys().filter(|key| !REFERENCE.iter().any(|(known, _)| known == key)).collect();
        assert!(missing.is_empty(), "settings without documentation: {missing:?}");
    }

    #[test]
    fn no_text_of_the_reference_is_a_comment_already() {
        let wrong: Vec<&str> = REFERENCE.iter().filter(|(_, doc)| doc.contains('#')).map(|(key, _)| *key).collect();
        assert!(wrong.is_empty(), "`render` puts the signs of comments before every line: {wrong:?}");
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let config = Config { buffer_mib: 0, seal_after: "soon".into(), ..Config::default() };
        let error = config.validate().expect_err("two settings are wrong").to_string();
        assert!(error.contains("buffer_mib") && error.contains("seal_after"), "{error}");
    }

    #[test]
    fn tls_is_set_as_a_whole_and_for_listeners_that_exist() {
        let problems = |text: &str| {
            let config: Config = toml::from_str(text).expect("a valid file");
            config.validate().map_err(|error| error.to_string())
        };
        let pair = "tls_cert_file = \"c\"\ntls_key_file = \"k\"\n";
        assert_eq!(problems(pair), Ok(()));
        assert!(problems("tls_cert_file = \"c\"").is_err_and(|error| error.contains("tls_key_file")));
        assert!(problems("tls_client_ca_file = \"c\"").is_err_and(|error| error.contains("needs tls_cert_file")));
        let lists = format!("{pair}tls_client_crl_file = \"c\"");
        assert!(problems(&lists).is_err_and(|error| error.contains("needs tls_client_ca_file")));
        assert_eq!(problems(&format!("{lists}\ntls_client_ca_file = \"a\"")), Ok(()));
        let unknown = format!("{pair}tls_listeners = [\"grpc\"]");
        assert!(
            problems(&unknown).is_err_and(|error| error.contains("\"grpc\" is none of otlp_grpc, otlp_http, http"))
        );
        let text = format!("{pair}tls_client_ca_file = \"a\"\ntls_client_ca_listeners = [\"otlp_grpc\"]");
        let config: Config = toml::from_str(&text).expect("a valid file");
        let requires = LISTENERS.map(|name| (config.has_tls(name), config.requires_client_certificate(name)));
        assert_eq!(requires, [(true, true), (true, false), (true, false)]);
        assert!(!Config::default().has_tls("http") && Config::default().scheme("http") == "http");
    }
}
