//! The composition root: builds every component in the order of their dependencies, runs them, stops them in reverse.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::signal::unix;
use tokio_util::sync::CancellationToken;
use trivium_auth::Authenticator;
use trivium_ingest::decode::ReplayDecoder;
use trivium_ingest::{Ingest, IngestConfig, IngestDeps};
use trivium_listen::Tls;
use trivium_model::{Clock, SignalKind, SystemClock};
use trivium_query::alerting::{AlertingDeps, Tenants};
use trivium_query::{OtlpListener, OtlpListeners, QueryConfig, QueryState};
use trivium_scrape::ScrapeMetrics;
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::{FolderLock, RealFileSystem, lock_folder};
use trivium_storage::{RecoveryReport, Storage, StorageConfig, StorageDeps};

use crate::cli::{LogsArgs, ServeArgs};
use crate::config::{Authentication, Config, LISTENERS, LogFormat, given};
use crate::credentials;
use crate::listeners::{self, PerListener, Serving};
use crate::redact::Redacting;
use crate::rules::{PipelineSink, built_in};
use crate::scrape::Scraping;
use crate::self_telemetry::{SelfTelemetry, SpanLayer};
use crate::server::{self, Bound};
use crate::starting::Entrance;

/// How long requests in flight may take to end after a signal to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the server until it is told to stop.
pub(crate) fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut config = args.resolve()?;
    let limit = crate::memory::limit();
    let lowered = crate::memory::fit(&mut config, limit);
    if args.demo && config.has_tls("otlp_http") {
        anyhow::bail!(
            "--demo sends plain OTLP over HTTP: leave otlp_http out of tls_listeners, or start without --demo and run \
             `trivium demo --endpoint https://NAME:4318` beside the server"
        );
    }
    if args.demo && config.auth == Authentication::Required {
        anyhow::bail!(
            "--demo has no credentials: start without it, make an ingest token (README, Credentials) and run \
             `trivium demo --token-file FILE` beside the server"
        );
    }
    let telemetry = config.self_telemetry.then(|| SelfTelemetry::new(Arc::new(SystemClock)));
    start_logging(&config, telemetry.as_ref().map(SelfTelemetry::layer))?;
    if !lowered.is_empty() {
        tracing::info!(
            memory_mib = limit.unwrap_or(0) >> 20,
            lowered = lowered.join(", "),
            "fitted settings to little memory"
        );
    }
    // Two runtimes, so that a heavy query cannot delay the acknowledgement of an export.
    let ingest = runtime("trivium-ingest")?;
    let query = runtime("trivium-query")?;
    let result = ingest.block_on(run(&config, args.demo, telemetry, &query));
    query.shutdown_timeout(DRAIN_TIMEOUT);
    result
}

fn runtime(name: &str) -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .thread_name(name)
        .thread_stack_size(8 * 1024 * 1024)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// What is there as soon as the store is open.
struct Opened {
    clock: Arc<dyn Clock>,
    registry: Registry,
    bound: Bound,
    tls: Option<Arc<Tls>>,
    entrances: PerListener<Entrance>,
    servers: [Serving; 3],
    signals: Signals,
    hangup: unix::Signal,
    stop: CancellationToken,
    storage: Storage,
    catalog: Arc<SqliteCatalog>,
}

async fn run(
    config: &Config,
    demo: bool,
    telemetry: Option<SelfTelemetry>,
    query: &Runtime,
) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut registry = Registry::default();
    let mut signals = Signals::expect()?;
    // A process that does not expect it is ended by it; what was asked for before the store is open is done then.
    let hangup = unix::signal(unix::SignalKind::hangup()).context("cannot expect SIGHUP")?;
    let listeners = listeners::bind(config, &clock, &mut registry, config.auth == Authentication::Required).await?;
    let (bound, tls) = (listeners.bound, listeners.tls.clone());
    let stop = CancellationToken::new();
    // Bound and not served, they would have who comes during a replay wait.
    let (entrances, servers) = listeners.serve(query, &stop);
    let opened = tokio::select! {
        opened = open_storage(config, Arc::clone(&clock), &mut registry) => opened?,
        () = signals.received() => {
            tracing::info!("interrupted before the store was open; the next start goes on");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let (storage, catalog, _lock) = opened;
    let (open, open_catalog) = (storage.clone(), Arc::clone(&catalog));
    let opened = Opened { clock, registry, bound, tls, entrances, servers, signals, hangup, stop, storage, catalog };
    let ended = serve_opened(config, demo, telemetry, query, opened).await;
    if ended.is_err() {
        // A start that ends at a mistake in some file did not crash.
        close(&open, &open_catalog).await;
    }
    ended
}

async fn serve_opened(
    config: &Config,
    demo: bool,
    telemetry: Option<SelfTelemetry>,
    query: &Runtime,
    opened: Opened,
) -> anyhow::Result<ExitCode> {
    let Opened { clock, mut registry, bound, tls, entrances, servers, mut signals, hangup, stop, storage, catalog } =
        opened;
    let redacting = Redacting::start(&config.redaction_file, &mut registry)?;
    let ingest = build_ingest(config, redacting.as_ref(), &storage, &clock, &mut registry);
    let state = build_query(config, bound, &storage, &clock, &mut registry);
    if let Some(telemetry) = &telemetry {
        telemetry.register(&mut registry);
    }
    let scraping = start_scraping(config, &ingest, &clock, &mut registry)?;
    let credentials = credentials::open(config, &storage, &clock).await?;
    credentials.register_metrics(&mut registry);
    // Ends after the listeners: what they do last is in the audit log too.
    let keep = CancellationToken::new();
    let keeping = {
        let (credentials, keep) = (Arc::clone(&credentials), keep.clone());
        tokio::spawn(async move { credentials.run(keep.cancelled()).await })
    };
    let alerting = start_alerting(config, demo, bound.http, &state, &ingest, &credentials, query).await?;

    let admin = server::Admin {
        storage: storage.clone(),
        registry: Arc::new(Mutex::new(registry)),
        scraping: scraping.clone(),
        redacting,
        alerting: Arc::clone(&alerting),
        tls,
        stop: stop.clone(),
    };
    let reloading = tokio::spawn(server::reload_on_hangup(admin.clone(), hangup));
    let telemetry = telemetry.map(|telemetry| {
        let admin = admin.clone();
        telemetry.start(ingest.pipeline(), move || admin.exposition().ok())
    });
    let api = trivium_query::router(state)
        .merge(trivium_query::alerting_router(Arc::clone(&alerting)))
        .merge(ingest.remote_write_router())
        .merge(crate::scrape::targets_router(scraping.clone()))
        .merge(crate::operation::router(storage.clone()));
    let routers = PerListener {
        otlp_grpc: ingest.grpc_router(),
        otlp_http: ingest.http_router(),
        http: server::router(api, admin),
    };
    entrances.open(credentials::guard(&credentials, routers)?);
    let maintenance = {
        let (storage, stop) = (storage.clone(), stop.clone());
        tokio::spawn(async move { storage.maintain(stop.cancelled()).await })
    };
    crate::print(&bound.to_json())?;
    tracing::info!(ui = %format!("{}://{}", bound.scheme, bound.http), otlp_grpc = %bound.otlp_grpc, otlp_http = %bound.otlp_http, "ready");

    let demo = demo.then(|| tokio::spawn(crate::demo::run_inside(bound, stop.clone())));
    let reason = wait_for_stop(&storage, &stop, &mut signals).await;
    tracing::info!(reason, "stopping");
    reloading.abort();
    // What rules write last must still be taken.
    alerting.stop().await;
    if let Some(telemetry) = telemetry {
        telemetry.finish().await;
    }
    if let Some(scraping) = scraping {
        scraping.stop().await;
    }
    ingest.drain();
    stop.cancel();
    for (name, task) in servers {
        finish(name, task).await;
    }
    if let Some(demo) = demo {
        demo.abort();
    }
    keep.cancel();
    // Both write to the catalog for the last time.
    drop(tokio::join!(maintenance, keeping));
    close(&storage, &catalog).await;
    tracing::info!("stopped");
    Ok(if storage.failed().is_some() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// Evaluates rules and SLOs beside the queries of people, away from ingest.
async fn start_alerting(
    config: &Config,
    demo: bool,
    address: std::net::SocketAddr,
    state: &Arc<QueryState>,
    ingest: &Ingest,
    credentials: &Arc<Authenticator>,
    query: &Runtime,
) -> anyhow::Result<Arc<Tenants>> {
    let deps = AlertingDeps {
        state: Arc::clone(state),
        sink: Arc::new(PipelineSink(ingest.pipeline())),
        names: Arc::new(credentials::Names(Arc::clone(credentials))),
        // The lock on the folder, where the catalog is, is ours: what the last process held is ours too, without a wait until
        // it lapses. A catalog that several processes share will need a name for each of them.
        holder: "server".to_owned(),
    };
    let start = Tenants::start(config.alerting(address), built_in(demo, config.self_telemetry), deps);
    query.spawn(start).await.context("the evaluators died")?.map_err(|error| anyhow::anyhow!("{error}"))
}

async fn finish(name: &str, task: tokio::task::JoinHandle<std::io::Result<()>>) {
    match tokio::time::timeout(DRAIN_TIMEOUT, task).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::error!(name, %error, "listener failed"),
        Ok(Err(error)) => tracing::error!(name, %error, "listener died"),
        Err(_) => tracing::warn!(name, "requests were still open when the server stopped"),
    }
}

/// Waits for a signal, or for the disk to fail in a way that nothing can be acknowledged any more.
async fn wait_for_stop(storage: &Storage, stop: &CancellationToken, signals: &mut Signals) -> &'static str {
    let poisoned = async {
        while storage.failed().is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => "asked to",
        () = signals.received() => "interrupted",
        () = poisoned => "the WAL cannot be written; see the error above",
    }
}

/// The signals that ask for an end. Expected from the start: the first process of a container gets none that it does not expect.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn expect() -> anyhow::Result<Self> {
        let expect = |kind| unix::signal(kind).context("cannot expect signals");
        Ok(Self {
            interrupt: expect(unix::SignalKind::interrupt())?,
            terminate: expect(unix::SignalKind::terminate())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn open_storage(
    config: &Config,
    clock: Arc<dyn Clock>,
    registry: &mut Registry,
) -> anyhow::Result<(Storage, Arc<SqliteCatalog>, FolderLock)> {
    let folder = config.data_dir.as_path();
    let lock = lock_folder(folder)?;
    let fs = Arc::new(RealFileSystem::new());
    let catalog = Arc::new(SqliteCatalog::open(folder).await?);
    let seed = RandomState::new().build_hasher().finish();
    let deps = StorageDeps {
        fs,
        clock,
        catalog: Arc::<SqliteCatalog>::clone(&catalog),
        decoder: Arc::new(ReplayDecoder),
        seed,
    };
    let (storage, report) = Storage::open(folder, storage_config(config), deps).await?;
    storage.metrics().register(registry);
    log_recovery(folder, &report);
    Ok((storage, catalog, lock))
}

/// Publishes what is buffered, closes the WAL, and has SQLite move its journal into the catalog, so that the one file is all of it.
/// Safe without: what still reads it is not waited for.
async fn close(storage: &Storage, catalog: &SqliteCatalog) {
    storage.close().await;
    if tokio::time::timeout(DRAIN_TIMEOUT, catalog.close()).await.is_err() {
        tracing::warn!("something still reads the catalog; its journal stays beside it");
    }
}

fn storage_config(config: &Config) -> StorageConfig {
    let mut storage = StorageConfig {
        buffer_bytes_max: usize::try_from(config.buffer_mib << 20).unwrap_or(usize::MAX),
        page_cache_bytes_max: usize::try_from(config.page_cache_mib << 20).unwrap_or(usize::MAX),
        seal_after_seconds: config.seal_after().as_secs(),
        crash_loop_starts_max: config.crash_loop_starts,
        encryption_key_file: given(&config.encryption_key_file),
        encrypt: config.encrypt,
        ..StorageConfig::default()
    };
    for signal in SignalKind::ALL {
        storage.set_retention(signal, config.retention_of(signal));
    }
    storage
}

fn log_recovery(folder: &Path, report: &RecoveryReport) {
    tracing::info!(
        folder = %folder.display(), parts = report.parts, replayed_requests = report.replayed_requests,
        replayed_rows = report.replayed_rows, orphans = report.orphans, "opened the store"
    );
    for (part, problem) in &report.damaged_parts {
        tracing::error!(%part, problem, "a part is damaged; its files are in quarantine/, everything else is served");
    }
    for (part, problem) in &report.unknown_parts {
        tracing::error!(%part, problem, "a part could not be looked at: check the disk; answers that need it say so");
    }
    if let Some(wal) = &report.wal {
        tracing::debug!(?wal, "opened the WAL");
    }
}

/// Scrapes what the file of the configuration names, if it names one.
fn start_scraping(
    config: &Config,
    ingest: &Ingest,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> anyhow::Result<Option<Arc<Scraping>>> {
    let metrics = ScrapeMetrics::default();
    metrics.register(registry);
    let Some(file) = given(&config.scrape_config_file) else { return Ok(None) };
    Ok(Some(Arc::new(Scraping::start(&file, ingest.pipeline(), Arc::clone(clock), metrics)?)))
}

fn build_ingest(
    config: &Config,
    redacting: Option<&Redacting>,
    storage: &Storage,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Ingest {
    let [logs, metrics, traces] =
        [SignalKind::Logs, SignalKind::Metrics, SignalKind::Traces].map(|signal| config.retention_of(signal));
    let in_flight = usize::try_from(config.in_flight_mib << 20).unwrap_or(usize::MAX);
    let retention = trivium_ingest::Retention { logs, metrics, traces };
    let tenant_limits = config.tenant_limits();
    let settings = IngestConfig { retention, tenant_limits, ..IngestConfig::new(None, in_flight) };
    let deps = IngestDeps { sink: Arc::new(storage.clone()), clock: Arc::clone(clock), registry };
    trivium_ingest::build_with(settings, deps, redacting.map(|redacting| Arc::clone(&redacting.redaction)))
}

fn build_query(
    config: &Config,
    bound: Bound,
    storage: &Storage,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Arc<QueryState> {
    let settings = QueryConfig {
        memory_bytes_max: usize::try_from(config.query_memory_mib << 20).unwrap_or(usize::MAX),
        timeout: config.query_timeout(),
        concurrency: config.query_concurrency,
        promql: config.promql(),
        series: config.series(),
        otlp: Some(otlp_listeners(config, bound)),
        ..QueryConfig::default()
    };
    trivium_query::build(settings, storage.clone(), Arc::clone(clock), registry)
}

fn otlp_listeners(config: &Config, bound: Bound) -> OtlpListeners {
    let listener = |name: &str, address| OtlpListener {
        address,
        scheme: config.scheme(name),
        token: config.auth == Authentication::Required,
        client_certificate: config.requires_client_certificate(name),
    };
    let [grpc, http, _] = LISTENERS;
    OtlpListeners { grpc: listener(grpc, bound.otlp_grpc), http: listener(http, bound.otlp_http) }
}

fn start_logging(config: &Config, spans: Option<SpanLayer>) -> anyhow::Result<()> {
    use tracing_subscriber::filter::{EnvFilter, filter_fn};
    use tracing_subscriber::layer::{Layer, SubscriberExt};
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_new(&config.log_level)
        .with_context(|| format!("log_level {:?} is not a level or filter", config.log_level))?;
    // Standard output carries the line with the addresses only; logs go to standard error.
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // The log level is about lines only: with `warn`, spans are stored all the same.
    let spans = spans.map(|spans| spans.with_filter(filter_fn(SpanLayer::wants)));
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init();
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// `trivium logs`: one page, or with `--follow` one line a record until interrupted.
pub(crate) async fn logs(args: &LogsArgs) -> anyhow::Result<()> {
    let search = trivium_client::LogSearch {
        query: args.query.clone(),
        start: args.start.clone(),
        end: args.end.clone(),
        limit: args.limit,
    };
    if args.follow {
        return trivium_client::tail(&args.server.server()?, &args.query, args.server.json, |line| {
            crate::print(line).is_ok()
        })
        .await;
    }
    crate::print(&trivium_client::logs(&args.server.server()?, &search, args.server.json).await?)?;
    Ok(())
}
