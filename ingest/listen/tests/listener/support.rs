//! A server, its certificates, and clients that behave as badly as they are told to.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Extension;
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use trivium_listen::{
    ClientCertificates, ListenMetrics, Listener, Peer, Tls, TlsFiles, with_security_headers, with_transport_security,
};
use trivium_model::{Clock, SystemClock};

/// A running listener; stops when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: ListenMetrics,
    pub(crate) stop: CancellationToken,
    /// Lets one request of `/wait` go on.
    pub(crate) go_on: Arc<Notify>,
    /// Told when a request of `/wait` has arrived.
    pub(crate) arrived: Arc<Notify>,
    pub(crate) serving: tokio::task::JoinHandle<std::io::Result<()>>,
    _guard: DropGuard,
}

impl Server {
    pub(crate) async fn start(configure: impl FnOnce(Listener) -> Listener) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = tcp.local_addr().expect("an address");
        let (metrics, stop) = (ListenMetrics::default(), CancellationToken::new());
        let (go_on, arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let listener = configure(Listener::new("test", tcp, metrics.clone()));
        let router = with_security_headers(router(Arc::clone(&go_on), Arc::clone(&arrived)));
        let router = with_transport_security(router);
        let serving = tokio::spawn(trivium_listen::serve(listener, router, stop.clone().cancelled_owned()));
        Self { address, metrics, go_on, arrived, serving, _guard: stop.clone().drop_guard(), stop }
    }

    pub(crate) async fn start_tls(tls: &Arc<Tls>, clients: ClientCertificates) -> Self {
        let tls = Arc::clone(tls);
        Self::start(|listener| listener.with_tls(tls, clients)).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// A line of the exposition; 0 when it is not there.
    pub(crate) fn metric(&self, series: &str) -> i64 {
        metric(&self.metrics, series)
    }

    /// A request on a connection of its own is answered.
    pub(crate) async fn assert_alive(&self) {
        let answer = exchange(self.connect().await, GET_CLOSE).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

pub(crate) const GET_CLOSE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

pub(crate) fn metric(metrics: &ListenMetrics, series: &str) -> i64 {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it encodes");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a number"))
}

fn router(go_on: Arc<Notify>, arrived: Arc<Notify>) -> Router {
    let wait = move || async move {
        arrived.notify_one();
        go_on.notified().await;
        "done"
    };
    Router::new()
        .route("/", get(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") }))
        .route("/wait", get(wait))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/refuse", post(|| async { http::StatusCode::PAYLOAD_TOO_LARGE }))
        .route("/endless", get(|| async { Body::from_stream(futures::stream::repeat_with(chunk)) }))
}

/// A chunk of an answer without end.
fn chunk() -> Result<Bytes, std::io::Error> {
    Ok(Bytes::from_static(&[b'x'; 16 * 1024]))
}

/// Sends a request and reads until the end of the connection.
pub(crate) async fn exchange(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    request: &str,
) -> String {
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    // A reset after the answer is the end too.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until the other side has closed the connection.
pub(crate) async fn closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut bytes = [0; 4 * 1024];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// Whether the other side has closed the connection by now.
pub(crate) async fn is_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(1), closed(stream)).await.is_ok()
}

/// Waits in virtual time until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap_or_else(|_| panic!("{what} never happened"));
}

/// Measures in virtual time.
pub(crate) async fn seconds<F: Future>(work: F) -> (F::Output, u64) {
    let started = tokio::time::Instant::now();
    let output = work.await;
    (output, started.elapsed().as_secs())
}

/// A CA of the test's own.
pub(crate) struct Authority {
    pub(crate) certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.issue_between(name, 2020, 2099)
    }

    /// A certificate that a revocation list can name.
    pub(crate) fn issue_numbered(&self, name: &str, number: u64) -> Identity {
        self.sign(name, [2020, 2099], Some(number))
    }

    pub(crate) fn issue_between(&self, name: &str, first_year: i32, last_year: i32) -> Identity {
        self.sign(name, [first_year, last_year], None)
    }

    fn sign(&self, name: &str, [first_year, last_year]: [i32; 2], number: Option<u64>) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(first_year, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        params.serial_number = number.map(SerialNumber::from);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The list of what is revoked, made in one year and good until another.
    pub(crate) fn revoke(&self, numbers: &[u64], [made, next]: [i32; 2]) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: rcgen::date_time_ymd(made, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(made, 1, 1),
            next_update: rcgen::date_time_ymd(next, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }

    /// A CA below this one: its issuer, and its certificate.
    pub(crate) fn intermediate(&self, name: &str, number: u64) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serial_number = Some(SerialNumber::from(number));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }
}

/// A folder with the files of a server.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(identity: &Identity, client_ca: Option<&Authority>) -> Self {
        let folder = Self(TempDir::new().expect("a folder"));
        folder.put(identity);
        if let Some(ca) = client_ca {
            folder.write("ca.pem", &ca.certificate.pem());
        }
        folder
    }

    pub(crate) fn put(&self, identity: &Identity) {
        self.write("cert.pem", &identity.certificate);
        self.write("key.pem", &identity.key);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it is written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn files(&self) -> TlsFiles {
        let client_ca = Some(self.path("ca.pem")).filter(|path| path.exists());
        let client_crl = Some(self.path("crl.pem")).filter(|path| path.exists());
        TlsFiles { certificate: self.path("cert.pem"), key: self.path("key.pem"), client_ca, client_crl }
    }

    pub(crate) async fn load(&self) -> Arc<Tls> {
        self.load_at(Arc::new(SystemClock)).await
    }

    pub(crate) async fn load_at(&self, clock: Arc<dyn Clock>) -> Arc<Tls> {
        Tls::load(self.files(), clock, ListenMetrics::default()).await.expect("the files are good")
    }
}

/// What a client trusts and is.
pub(crate) fn client(server_ca: &Authority, identity: Option<&Identity>, protocols: &[&str]) -> Arc<ClientConfig> {
    client_of(server_ca, identity, protocols, rustls::DEFAULT_VERSIONS)
}

pub(crate) fn client_of(
    server_ca: &Authority,
    identity: Option<&Identity>,
    protocols: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(server_ca.certificate.der().clone()).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("they match")
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Handshake and request; with TLS 1.3 the refusal of a client's certificate only shows when something is read.
pub(crate) async fn ask(server: &Server, config: &Arc<ClientConfig>) -> String {
    match server.connect_tls(config).await {
        Ok(mut stream) => {
            if stream.write_all(GET_CLOSE.as_bytes()).await.is_err() {
                return String::new();
            }
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok();
            String::from_utf8_lossy(&answer).into_owned()
        }
        Err(_) => String::new(),
    }
}

impl Server {
    pub(crate) async fn connect_tls(&self, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("server.example").expect("a name");
        TlsConnector::from(Arc::clone(client)).connect(name, self.connect().await).await
    }
}
