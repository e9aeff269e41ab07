//! The three listeners: who may reach them, with which certificate, and where they are bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trivium_listen::{Allowed, ClientCertificates, Door, ListenMetrics, Listener, PerAddress, Tls, TlsFiles};
use trivium_model::Clock;

use crate::config::{Config, LISTENERS, given};
use crate::server::Bound;
use crate::starting::Entrance;

/// What a connection of an exporter buffers over HTTP/1.1. In an overload there are thousands of them, and heads of OTLP are
/// short; those of the API may have a long query in their address.
const OTLP_BUFFER_BYTES: usize = 16 * 1024;

/// The part of what may be in flight that each listener lets HTTP/2 connections send before it is read.
const HTTP2_WINDOWS_SHARE: u64 = 4;

/// How often the files of the certificate are looked at.
const CERTIFICATE_POLL_INTERVAL: Duration = Duration::from_secs(10);

/// One of each of the three listeners.
pub(crate) struct PerListener<T> {
    pub(crate) otlp_grpc: T,
    pub(crate) otlp_http: T,
    pub(crate) http: T,
}

/// The listeners, bound before anything is promised.
pub(crate) struct Listeners {
    listeners: PerListener<Listener>,
    pub(crate) bound: Bound,
    /// The certificate, if any listener speaks TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Whether all of them speak TLS, so that browsers may be told to come no other way.
    is_tls_alone: bool,
}

impl PerListener<Entrance> {
    fn refusing() -> Self {
        Self {
            otlp_grpc: Entrance::new(trivium_auth::Door::OtlpGrpc),
            otlp_http: Entrance::new(trivium_auth::Door::OtlpHttp),
            http: Entrance::new(trivium_auth::Door::Api),
        }
    }

    /// Ends the refusals.
    pub(crate) fn open(&self, routers: PerListener<Router>) {
        self.otlp_grpc.open(routers.otlp_grpc);
        self.otlp_http.open(routers.otlp_http);
        self.http.open(routers.http);
    }
}

/// A listener that serves, with the name that people know it by.
pub(crate) type Serving = (&'static str, JoinHandle<std::io::Result<()>>);

impl Listeners {
    /// Serves until `stop`; the API on the runtime of queries. Everybody is told to come back until the entrances are opened.
    pub(crate) fn serve(self, query: &Runtime, stop: &CancellationToken) -> (PerListener<Entrance>, [Serving; 3]) {
        let entrances = PerListener::refusing();
        let stopped = || stop.clone().cancelled_owned();
        // Outside of everything, so that refusals have them too.
        let with_headers = |router: Router| match self.is_tls_alone {
            true => trivium_listen::with_transport_security(trivium_listen::with_security_headers(router)),
            false => trivium_listen::with_security_headers(router),
        };
        let otlp_grpc = with_headers(entrances.otlp_grpc.router());
        let otlp_http = with_headers(entrances.otlp_http.router());
        let api = with_headers(entrances.http.router());
        if let Some(tls) = self.tls {
            let stopped = stopped();
            tokio::spawn(async move { tls.watch(CERTIFICATE_POLL_INTERVAL, stopped).await });
        }
        let serving = [
            ("gRPC", tokio::spawn(trivium_listen::serve(self.listeners.otlp_grpc, otlp_grpc, stopped()))),
            ("HTTP", tokio::spawn(trivium_listen::serve(self.listeners.otlp_http, otlp_http, stopped()))),
            ("API", query.spawn(trivium_listen::serve(self.listeners.http, api, stopped()))),
        ];
        (entrances, serving)
    }
}

/// Opens the listeners that the configuration asks for. `has_auth` says whether requests need credentials.
pub(crate) async fn bind(
    config: &Config,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
    has_auth: bool,
) -> anyhow::Result<Listeners> {
    let metrics = ListenMetrics::default();
    metrics.register(registry);
    check(config, &metrics, has_auth)?;
    let tls = load(config, clock, &metrics).await?;
    let descriptors = trivium_listen::raise_descriptor_limit();
    let connections_max = trivium_listen::connections_max(descriptors, LISTENERS.len() as u64);
    let per_address = PerAddress { max: config.connections_per_address_max, ..PerAddress::default() };
    let listen = async |name: &'static str, address: SocketAddr| {
        let tcp = TcpListener::bind(address).await.with_context(|| {
            let flag = name.replace('_', "-");
            format!("cannot listen on {address}; is another Trivium running? Choose another address with --{flag}")
        })?;
        let bound = tcp.local_addr().context("a listener has no address")?;
        let listener = Listener::new(name, tcp, metrics.clone())
            .with_connections_max(connections_max)
            .with_connections_per_address(per_address);
        let clients = match config.requires_client_certificate(name) {
            true => ClientCertificates::Required,
            false => ClientCertificates::NotAsked,
        };
        anyhow::Ok(match &tls {
            Some(tls) if config.has_tls(name) => (listener.with_tls(Arc::clone(tls), clients), bound),
            _ => (listener, bound),
        })
    };
    let [grpc, http, api] = LISTENERS;
    let (otlp_grpc, grpc_address) = listen(grpc, config.otlp_grpc).await?;
    let (otlp_http, http_address) = listen(http, config.otlp_http).await?;
    let (http, api_address) = listen(api, config.http).await?;
    let windows = usize::try_from((config.in_flight_mib << 20) / HTTP2_WINDOWS_SHARE).unwrap_or(usize::MAX);
    let [otlp_grpc, otlp_http, http] =
        [otlp_grpc, otlp_http, http].map(|listener| listener.with_http2_windows_bytes(windows));
    let [otlp_grpc, otlp_http] =
        [otlp_grpc, otlp_http].map(|listener| listener.with_http1_buffer_bytes(OTLP_BUFFER_BYTES));
    let scheme = config.scheme(api);
    let bound = Bound { otlp_grpc: grpc_address, otlp_http: http_address, http: api_address, scheme };
    // Of the port of gRPC too: what is promised holds for all ports of the name.
    let is_tls_alone = LISTENERS.iter().all(|name| config.has_tls(name));
    Ok(Listeners { listeners: PerListener { otlp_grpc, otlp_http, http }, bound, tls, is_tls_alone })
}

/// Refuses what would be open to others, and tells what is open to them by explicit setting.
fn check(config: &Config, metrics: &ListenMetrics, has_auth: bool) -> anyhow::Result<()> {
    let addresses = [config.otlp_grpc, config.otlp_http, config.http];
    let doors: Vec<Door> = LISTENERS
        .into_iter()
        .zip(addresses)
        .map(|(name, address)| Door {
            name,
            address,
            has_tls: config.has_tls(name),
            has_auth: has_auth || config.requires_client_certificate(name),
        })
        .collect();
    let allowed = Allowed { no_tls: config.insecure_no_tls, no_auth: config.insecure_no_auth };
    for exposed in trivium_listen::check_exposure(&doors, allowed)? {
        let (listener, address, lacks) = (exposed.door.name, exposed.door.address, exposed.lacks);
        metrics.exposed(listener, lacks);
        tracing::warn!(listener, %address, lacks, "other machines reach this listener, and that is allowed explicitly");
    }
    Ok(())
}

async fn load(config: &Config, clock: &Arc<dyn Clock>, metrics: &ListenMetrics) -> anyhow::Result<Option<Arc<Tls>>> {
    if config.tls_cert_file.as_os_str().is_empty() {
        return Ok(None);
    }
    let files = TlsFiles {
        certificate: config.tls_cert_file.clone(),
        key: config.tls_key_file.clone(),
        client_ca: given(&config.tls_client_ca_file),
        client_crl: given(&config.tls_client_crl_file),
    };
    let tls = Tls::load(files, Arc::clone(clock), metrics.clone()).await;
    Ok(Some(tls.context("cannot speak TLS with the files that the settings tls_… name")?))
}
