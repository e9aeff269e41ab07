//! The command line. Every flag of `serve` is also an environment variable and a key of the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Authentication, Config, LogFormat, Retention, SignalRetention};
use crate::operation::args::{BackupArgs, KeysArgs, QuarantineArgs, RestoreArgs, VerifyArgs};

/// Logs, metrics and traces in one binary: OTLP in, durable at acknowledgement, searchable, joined by any ID.
#[derive(Debug, Parser)]
#[command(name = "trivium", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server: OTLP on 4317 (gRPC) and 4318 (HTTP), API and UI on 4319.
    Serve(ServeArgs),
    /// Send the telemetry of a small shop to a running server: an hour of history, then live, with a bad deploy in it.
    Demo(DemoArgs),
    /// Load OTLP files into a running server: .otlp.zst, or JSON lines as the collector's file exporter writes them.
    Import(ImportArgs),
    /// Ask with SQL over the tables logs, spans and metrics.
    Sql(SqlArgs),
    /// Search log records: words, "phrases", field:value, ranges, wildcards, /regex/, AND OR NOT.
    Logs(LogsArgs),
    /// Show one trace as a tree, with its log records.
    Trace(IdArgs),
    /// Find everything that bears an ID: trace, span, order number, request ID, any value or word.
    Find(IdArgs),
    /// Run test scripts in the language of Prometheus' own PromQL tests against a server that is started for them.
    PromqlTest(PromqlTestArgs),
    /// Show what redaction rules would change in OTLP files or in what is stored, or what a value would be stored as.
    Redact(RedactArgs),
    /// Check rules and SLOs, run their unit tests, or try them on stored history.
    Rules(RulesArgs),
    /// Check a data folder: catalog against files, checksums, the WAL; or a backup. The server may be running.
    Verify(VerifyArgs),
    /// Copy a data folder to a backup folder or to S3, what is new in it. The server may be running.
    Backup(BackupArgs),
    /// Make a data folder of a backup, after every byte of it was checked.
    Restore(RestoreArgs),
    /// Look at what was found damaged, and bring back what can be.
    Quarantine(QuarantineArgs),
    /// Keys of encryption at rest: make a master key, wrap with another one, shred those of a tenant.
    Keys(KeysArgs),
    /// Print the effective configuration, commented, as a file that --config reads.
    Config(ServeArgs),
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML); `trivium config` prints one.
    #[arg(long, env = "TRIVIUM_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where everything is kept [default: trivium-data]
    #[arg(long, env = "TRIVIUM_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317]
    #[arg(long, env = "TRIVIUM_OTLP_GRPC")]
    otlp_grpc: Option<SocketAddr>,
    /// Address of OTLP over HTTP [default: 127.0.0.1:4318]
    #[arg(long, env = "TRIVIUM_OTLP_HTTP")]
    otlp_http: Option<SocketAddr>,
    /// Address of the API and the UI [default: 127.0.0.1:4319]
    #[arg(long, env = "TRIVIUM_HTTP")]
    http: Option<SocketAddr>,
    /// Certificate of the server in PEM, with those that lead to its CA [default: none, no TLS]
    #[arg(long, env = "TRIVIUM_TLS_CERT_FILE")]
    tls_cert_file: Option<PathBuf>,
    /// Private key of that certificate in PEM
    #[arg(long, env = "TRIVIUM_TLS_KEY_FILE")]
    tls_key_file: Option<PathBuf>,
    /// CAs in PEM of which clients must have a certificate [default: none, clients are not asked]
    #[arg(long, env = "TRIVIUM_TLS_CLIENT_CA_FILE")]
    tls_client_ca_file: Option<PathBuf>,
    /// Lists in PEM of client certificates that their CAs have revoked [default: none]
    #[arg(long, env = "TRIVIUM_TLS_CLIENT_CRL_FILE")]
    tls_client_crl_file: Option<PathBuf>,
    /// Listeners that speak TLS, separated by commas [default: otlp_grpc,otlp_http,http]
    #[arg(long, env = "TRIVIUM_TLS_LISTENERS", value_delimiter = ',')]
    tls_listeners: Option<Vec<String>>,
    /// Those of them that require a client's certificate [default: otlp_grpc,otlp_http,http]
    #[arg(long, env = "TRIVIUM_TLS_CLIENT_CA_LISTENERS", value_delimiter = ',')]
    tls_client_ca_listeners: Option<Vec<String>>,
    /// Connections that one address may hold on each listener, 0 for any number [default: 1024]
    #[arg(long, env = "TRIVIUM_CONNECTIONS_PER_ADDRESS_MAX")]
    connections_per_address_max: Option<usize>,
    /// Whether requests need credentials [default: open]
    #[arg(long, env = "TRIVIUM_AUTH")]
    auth: Option<Authentication>,
    /// Single sign-on, issuers of tokens, sessions [default: none]
    #[arg(long = "auth-config", env = "TRIVIUM_AUTH_CONFIG_FILE")]
    auth_config_file: Option<PathBuf>,
    /// Listen without TLS even on an address that other machines reach
    #[arg(long, env = "TRIVIUM_INSECURE_NO_TLS", num_args = 0..=1, default_missing_value = "true")]
    insecure_no_tls: Option<bool>,
    /// Listen without authentication even on an address that other machines reach
    #[arg(long, env = "TRIVIUM_INSECURE_NO_AUTH", num_args = 0..=1, default_missing_value = "true")]
    insecure_no_auth: Option<bool>,
    /// How long telemetry is kept: 30d, 12h …, or none to take and keep records of any age [default: 30d]
    #[arg(long, env = "TRIVIUM_RETENTION")]
    retention: Option<Retention>,
    /// How long log records are kept [default: same as --retention]
    #[arg(long, env = "TRIVIUM_LOGS_RETENTION")]
    logs_retention: Option<SignalRetention>,
    /// How long data points are kept [default: same as --retention]
    #[arg(long, env = "TRIVIUM_METRICS_RETENTION")]
    metrics_retention: Option<SignalRetention>,
    /// How long spans are kept [default: same as --retention]
    #[arg(long, env = "TRIVIUM_TRACES_RETENTION")]
    traces_retention: Option<SignalRetention>,
    /// File in Prometheus' format whose scrape_configs say what is scraped [default: none]
    #[arg(long = "scrape-config", env = "TRIVIUM_SCRAPE_CONFIG_FILE")]
    scrape_config_file: Option<PathBuf>,
    /// Rules by which secrets are taken out before anything is stored [default: none]
    #[arg(long = "redaction", env = "TRIVIUM_REDACTION_FILE")]
    redaction_file: Option<PathBuf>,
    /// Master keys of encryption at rest [default: none, nothing is encrypted]
    #[arg(long = "encryption-key-file", env = "TRIVIUM_ENCRYPTION_KEY_FILE")]
    encryption_key_file: Option<PathBuf>,
    /// Whether what is new is encrypted when there are master keys [default: true]
    #[arg(long, env = "TRIVIUM_ENCRYPT", num_args = 0..=1, default_missing_value = "true")]
    encrypt: Option<bool>,
    /// Bytes per second that a tenant may send, 0 for no limit [default: 0]
    #[arg(long, env = "TRIVIUM_TENANT_BYTES_PER_SECOND")]
    tenant_bytes_per_second: Option<u64>,
    /// Bytes that a tenant may send at once after a pause [default: what may come in ten seconds]
    #[arg(long, env = "TRIVIUM_TENANT_BYTES_BURST")]
    tenant_bytes_burst: Option<u64>,
    /// Records per second that a tenant may send, 0 for no limit [default: 0]
    #[arg(long, env = "TRIVIUM_TENANT_RECORDS_PER_SECOND")]
    tenant_records_per_second: Option<u64>,
    /// Records that a tenant may send at once after a pause [default: what may come in ten seconds]
    #[arg(long, env = "TRIVIUM_TENANT_RECORDS_BURST")]
    tenant_records_burst: Option<u64>,
    /// Bytes that a tenant may send from midnight to midnight UTC, 0 for no limit [default: 0]
    #[arg(long, env = "TRIVIUM_TENANT_BYTES_PER_DAY")]
    tenant_bytes_per_day: Option<u64>,
    /// How Trivium's own log lines look [default: text]
    #[arg(long, env = "TRIVIUM_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// Which of them are written: error, warn, info, debug, trace or a filter [default: info]
    #[arg(long, env = "TRIVIUM_LOG_LEVEL")]
    log_level: Option<String>,
    /// Store Trivium's own metrics and traces in itself
    #[arg(long, env = "TRIVIUM_SELF_TELEMETRY", num_args = 0..=1, default_missing_value = "true")]
    self_telemetry: Option<bool>,
    /// MiB in which rows of one signal gather before they become a part [default: 64]
    #[arg(long, env = "TRIVIUM_BUFFER_MIB")]
    buffer_mib: Option<u64>,
    /// Age at which rows become a part even when the buffer is not full [default: 5m]
    #[arg(long, env = "TRIVIUM_SEAL_AFTER")]
    seal_after: Option<String>,
    /// MiB of export requests that may be in work at once [default: 256]
    #[arg(long, env = "TRIVIUM_IN_FLIGHT_MIB")]
    in_flight_mib: Option<u64>,
    /// MiB of decompressed pages that point look-ups keep for the next one [default: 128]
    #[arg(long, env = "TRIVIUM_PAGE_CACHE_MIB")]
    page_cache_mib: Option<u64>,
    /// MiB of memory that all SQL queries together may use [default: 512]
    #[arg(long, env = "TRIVIUM_QUERY_MEMORY_MIB")]
    query_memory_mib: Option<u64>,
    /// Time after which a query is cancelled unless it asks for another [default: 30s]
    #[arg(long, env = "TRIVIUM_QUERY_TIMEOUT")]
    query_timeout: Option<String>,
    /// Queries that run at once [default: 16]
    #[arg(long, env = "TRIVIUM_QUERY_CONCURRENCY")]
    query_concurrency: Option<usize>,
    /// Samples that one PromQL query may hold in memory [default: 50000000]
    #[arg(long, env = "TRIVIUM_PROMQL_SAMPLES_MAX")]
    promql_samples_max: Option<usize>,
    /// MiB of answers to PromQL range queries kept for the next refresh of a dashboard [default: 32]
    #[arg(long, env = "TRIVIUM_PROMQL_CACHE_MIB")]
    promql_cache_mib: Option<u64>,
    /// MiB, at most, that PromQL remembers of series [default: 1024]
    #[arg(long, env = "TRIVIUM_SERIES_CACHE_MIB")]
    series_cache_mib: Option<u64>,
    /// How old a sample may be to stand for an instant in PromQL [default: 5m]
    #[arg(long, env = "TRIVIUM_PROMQL_LOOKBACK")]
    promql_lookback: Option<String>,
    /// Functions and syntax of PromQL that Prometheus keeps behind feature flags
    #[arg(long, env = "TRIVIUM_PROMQL_EXPERIMENTAL", num_args = 0..=1, default_missing_value = "true")]
    promql_experimental: Option<bool>,
    /// Keep metric names until a whole PromQL query is evaluated
    #[arg(long, env = "TRIVIUM_PROMQL_DELAYED_NAME_REMOVAL", num_args = 0..=1, default_missing_value = "true")]
    promql_delayed_name_removal: Option<bool>,
    /// Take a new start time of a series as evidence of a counter reset
    #[arg(long, env = "TRIVIUM_PROMQL_START_TIMESTAMPS", num_args = 0..=1, default_missing_value = "true")]
    promql_start_timestamps: Option<bool>,
    /// How PromQL sees OpenTelemetry's names [default: UnderscoreEscapingWithSuffixes]
    #[arg(long, env = "TRIVIUM_OTLP_TRANSLATION_STRATEGY")]
    otlp_translation_strategy: Option<String>,
    /// Resource attributes that PromQL sees as labels of every series, separated by commas
    #[arg(long, env = "TRIVIUM_PROMOTE_RESOURCE_ATTRIBUTES", value_delimiter = ',')]
    promote_resource_attributes: Option<Vec<String>>,
    /// Rule files in Prometheus' format, separated by commas; * and ? stand within the last part of a path [default: none]
    #[arg(long = "rules", env = "TRIVIUM_RULE_FILES", value_delimiter = ',')]
    rule_files: Option<Vec<String>>,
    /// Files of SLOs, OpenSLO v1 or the short form, likewise [default: none]
    #[arg(long = "slos", env = "TRIVIUM_SLO_FILES", value_delimiter = ',')]
    slo_files: Option<Vec<String>>,
    /// Routes and receivers of notifications in Alertmanager's format [default: none, they are only recorded]
    #[arg(long = "alertmanager-config", env = "TRIVIUM_ALERTMANAGER_CONFIG_FILE")]
    alertmanager_config_file: Option<PathBuf>,
    /// Alertmanagers that are sent all alerts instead, separated by commas [default: none]
    #[arg(long, env = "TRIVIUM_ALERTMANAGER_URLS", value_delimiter = ',')]
    alertmanager_urls: Option<Vec<String>>,
    /// A file in Prometheus' format of which `alerting` is read: alert_relabel_configs, and Alertmanagers with credentials
    #[arg(long = "alerting-config", env = "TRIVIUM_ALERTING_CONFIG_FILE")]
    alerting_config_file: Option<PathBuf>,
    /// Folder with the rules, SLOs and receivers of the other tenants, each in the folder of its name [default: none]
    #[arg(long, env = "TRIVIUM_TENANTS_DIR")]
    tenants_dir: Option<PathBuf>,
    /// Where people reach this server, for links in notifications [default: http:// and the address of the API]
    #[arg(long, env = "TRIVIUM_EXTERNAL_URL")]
    external_url: Option<String>,
    /// Labels of this server that all its alerts get: name=value, separated by commas
    #[arg(long, env = "TRIVIUM_EXTERNAL_LABELS", value_delimiter = ',')]
    external_labels: Option<Vec<String>>,
    /// How often groups of rules are evaluated that do not say [default: 1m]
    #[arg(long, env = "TRIVIUM_EVALUATION_INTERVAL")]
    evaluation_interval: Option<String>,
    /// Time after which a backtest of rules is stopped without an answer [default: 5m]
    #[arg(long, env = "TRIVIUM_BACKTEST_TIMEOUT")]
    backtest_timeout: Option<String>,
    /// Networks that are not public and may nevertheless be notified, separated by commas: 10.0.0.0/8
    #[arg(long, env = "TRIVIUM_NOTIFY_ALLOW_NETWORKS", value_delimiter = ',')]
    notify_allow_networks: Option<Vec<String>>,
    /// Starts within ten minutes that may end in a crash before the next one refuses writes for a while; 0 never does [default: 5]
    #[arg(long, env = "TRIVIUM_CRASH_LOOP_STARTS")]
    crash_loop_starts: Option<u32>,
    /// Also send the demo telemetry to the server once it is ready
    #[arg(long, env = "TRIVIUM_DEMO")]
    pub(crate) demo: bool,
}

impl ServeArgs {
    /// The configuration with the precedence flag > environment > file > default.
    pub(crate) fn resolve(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        let args = self.clone();
        macro_rules! overlay {
            ($($field:ident),+) => { $(if let Some(value) = args.$field { config.$field = value; })+ };
        }
        overlay!(
            data_dir,
            otlp_grpc,
            otlp_http,
            http,
            tls_cert_file,
            tls_key_file,
            tls_client_ca_file,
            tls_client_crl_file,
            tls_listeners,
            tls_client_ca_listeners,
            connections_per_address_max,
            auth,
            auth_config_file,
            insecure_no_tls,
            insecure_no_auth,
            retention,
            logs_retention,
            metrics_retention,
            traces_retention,
            scrape_config_file,
            redaction_file,
            encryption_key_file,
            encrypt,
            tenant_bytes_per_second,
            tenant_bytes_burst,
            tenant_records_per_second,
            tenant_records_burst,
            tenant_bytes_per_day,
            log_format,
            log_level,
            self_telemetry,
            buffer_mib,
            seal_after,
            in_flight_mib,
            page_cache_mib,
            query_memory_mib,
            query_timeout,
            query_concurrency,
            promql_samples_max,
            promql_cache_mib,
            series_cache_mib,
            promql_lookback,
            promql_experimental,
            promql_delayed_name_removal,
            promql_start_timestamps,
            otlp_translation_strategy,
            promote_resource_attributes,
            rule_files,
            slo_files,
            alertmanager_config_file,
            alertmanager_urls,
            alerting_config_file,
            tenants_dir,
            external_url,
            external_labels,
            evaluation_interval,
            backtest_timeout,
            notify_allow_networks,
            crash_loop_starts
        );
        config.validate()?;
        Ok(config)
    }
}

/// Where a running server is.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// API address of the running server
    #[arg(long, env = "TRIVIUM_URL", default_value = "http://127.0.0.1:4319")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Print the JSON answer as it came
    #[arg(long)]
    pub(crate) json: bool,
}

impl ServerArgs {
    /// The server as the client asks it.
    pub(crate) fn server(&self) -> anyhow::Result<trivium_client::Server> {
        self.access.server(&self.url)
    }
}

/// What opens a server with credentials or with a certificate of its own.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AccessArgs {
    /// File with the API token, for servers that want credentials
    #[arg(long, env = "TRIVIUM_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// File with the certificate of the CA, for https with one that is not public
    #[arg(long, env = "TRIVIUM_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

impl AccessArgs {
    /// The server at an address.
    pub(crate) fn server(&self, url: &str) -> anyhow::Result<trivium_client::Server> {
        trivium_client::Server::new(url, self.token_file.as_deref(), self.ca_file.as_deref())
    }

    /// A client of whatever the server speaks besides its own API.
    pub(crate) fn client(&self, builder: reqwest::ClientBuilder) -> anyhow::Result<reqwest::Client> {
        trivium_client::client(builder, self.token_file.as_deref(), self.ca_file.as_deref())
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// OTLP/HTTP address of the running server
    #[arg(long, env = "TRIVIUM_DEMO_ENDPOINT", default_value = "http://127.0.0.1:4318")]
    pub(crate) endpoint: String,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// The same seed gives the same shop
    #[arg(long, env = "TRIVIUM_DEMO_SEED", default_value_t = 42)]
    pub(crate) seed: u64,
    /// How much history comes first
    #[arg(long, env = "TRIVIUM_DEMO_HISTORY", default_value = "1h")]
    pub(crate) history: String,
    /// Stop after the history
    #[arg(long)]
    pub(crate) no_live: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files to load
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// OTLP/HTTP address of the running server
    #[arg(long, env = "TRIVIUM_IMPORT_ENDPOINT", default_value = "http://127.0.0.1:4318")]
    pub(crate) endpoint: String,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PromqlTestArgs {
    /// Scripts, or folders whose `.test` files are run
    #[arg(required = true, value_name = "DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// Run them on the engine alone, without a server: faster, and exact in the fields of histograms that the API leaves out
    #[arg(long)]
    pub(crate) engine: bool,
    /// Print a JSON line for each evaluation
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The statement
    pub(crate) sql: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The search, for example: level:error service:checkout "connection refused"
    #[arg(default_value = "")]
    pub(crate) query: String,
    /// Earliest time: RFC 3339, Unix seconds or now-15m
    #[arg(long)]
    pub(crate) start: Option<String>,
    /// Latest time
    #[arg(long)]
    pub(crate) end: Option<String>,
    /// How many records, newest first
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Keep printing new records
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// The ID
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RedactArgs {
    /// Files of requests: .otlp.zst, or OTLP JSON lines
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The rules
    #[arg(long, env = "TRIVIUM_REDACTION_FILE")]
    pub(crate) rules: PathBuf,
    /// Show what would be changed; nothing is stored or sent
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Examples of each rule and signal, with their secrets shortened
    #[arg(long, default_value_t = 5)]
    pub(crate) examples: usize,
    /// Print what the action hash stores instead of this value, to search for it
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["files", "stored"])]
    pub(crate) hash: Option<String>,
    /// Look at what a running server has stored instead of files: log records, spans, series, exemplars
    #[arg(long, conflicts_with = "files")]
    pub(crate) stored: bool,
    /// With --stored: earliest time: RFC 3339, Unix nanoseconds or now-1d
    #[arg(long, requires = "stored")]
    pub(crate) start: Option<String>,
    /// With --stored: latest time
    #[arg(long, requires = "stored")]
    pub(crate) end: Option<String>,
    /// With --stored: records of each table at most, the newest
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) limit: u64,
    /// API address of the running server
    #[arg(long, env = "TRIVIUM_URL", default_value = "http://127.0.0.1:4319")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Check files of rules and of SLOs: syntax, and what is likely to be wrong.
    Check(RulesCheckArgs),
    /// Run unit tests in the format of `promtool test rules`.
    Test(RulesTestArgs),
    /// Try a rule file on the history of a running server.
    Backtest(BacktestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RulesCheckArgs {
    /// Files of rules or SLOs
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// API address of a running server that is asked whether selectors match anything
    #[arg(long)]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Fail on warnings too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RulesTestArgs {
    /// Files of tests
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BacktestArgs {
    /// The rule file
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// From when: RFC 3339, Unix seconds or now-7d
    #[arg(long, default_value = "now-7d")]
    pub(crate) start: String,
    /// Until when
    #[arg(long, default_value = "now")]
    pub(crate) end: String,
    /// Labels that notifications are grouped by
    #[arg(long, value_delimiter = ',', default_value = "alertname")]
    pub(crate) group_by: Vec<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
