//! Certificates from PEM files, exchanged while the server runs.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt;
use trivium_model::Clock;

use crate::certificate::validity;
use crate::telemetry::ListenMetrics;

/// Bytes of one PEM file: far more than any chain, far less than any accident.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What clients may speak after the handshake. Those that do not say are understood by their first bytes.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server first, then those that lead to the CA, in PEM.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// The CAs whose certificates clients must have, in PEM.
    pub client_ca: Option<PathBuf>,
}

/// Whether clients must have a certificate of [`TlsFiles::client_ca`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is asked for.
    NotAsked,
    /// Without one there is no connection.
    Required,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        problem: String,
    },
}

/// What became of looking at the files again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// They are as they were.
    Unchanged,
    /// New connections get the new certificate.
    Changed,
}

/// The certificate of the server as it is now.
pub struct Tls {
    files: TlsFiles,
    clock: Arc<dyn Clock>,
    metrics: ListenMetrics,
    current: RwLock<Loaded>,
    /// What could not be used when it was looked at last, so that it is told once.
    refused: Mutex<Option<Fingerprint>>,
}

type Fingerprint = [u8; 32];

struct Loaded {
    fingerprint: Fingerprint,
    open: Arc<ServerConfig>,
    mutual: Option<Arc<ServerConfig>>,
}

/// The files as they were read.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one cannot be read or used. A certificate that has expired is taken and warned about: clients that do not mind
    /// are better served than none.
    pub async fn load(files: TlsFiles, clock: Arc<dyn Clock>, metrics: ListenMetrics) -> Result<Arc<Self>, TlsError> {
        let contents = Contents::read(&files).await?;
        let (loaded, [not_before, not_after]) = build(&files, &contents, &clock)?;
        let now = clock.now().0.div_euclid(1_000_000_000);
        if !(not_before..=not_after).contains(&now) {
            let file = files.certificate.display();
            tracing::error!(%file, not_before, not_after, "the certificate is not valid at this time; clients will refuse it");
        }
        metrics.certificate_until(not_after);
        Ok(Arc::new(Self { files, clock, metrics, current: RwLock::new(loaded), refused: Mutex::default() }))
    }

    /// Reads the files again; what cannot be used leaves the certificate as it is.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or used, or the certificate is not valid at this time.
    pub async fn reload(&self) -> Result<Reloaded, TlsError> {
        let contents = Contents::read(&self.files).await?;
        if contents.fingerprint() == self.fingerprint() {
            return Ok(Reloaded::Unchanged);
        }
        let (loaded, [not_before, not_after]) = build(&self.files, &contents, &self.clock)?;
        let now = self.clock.now().0.div_euclid(1_000_000_000);
        if !(not_before..=not_after).contains(&now) {
            // Without the time that it is now: the text tells whether the problem is the same as before.
            let problem = format!("is valid from {not_before} to {not_after} (Unix time) only");
            return Err(TlsError::Content { path: self.files.certificate.clone(), problem });
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        self.metrics.certificate_until(not_after);
        Ok(Reloaded::Changed)
    }

    /// Looks at the files at an interval until `stop` completes. A file that cannot be used is told once, not every time.
    pub async fn watch(&self, interval: Duration, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(interval) => self.look().await,
            }
        }
    }

    async fn look(&self) {
        let result = self.reload().await;
        let refused = match &result {
            Ok(_) => None,
            // What is in the files may be what it was, and usable by now: a certificate that was not yet valid.
            Err(error) => Some(fingerprint([Some(error.to_string().as_bytes())])),
        };
        let is_news = {
            let mut known = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let is_news = *known != refused;
            *known = refused;
            is_news
        };
        match result {
            Ok(Reloaded::Unchanged) => {}
            Ok(Reloaded::Changed) => {
                self.metrics.reloaded(true);
                tracing::info!(file = %self.files.certificate.display(), "new connections get the new certificate");
            }
            Err(error) if is_news => {
                self.metrics.reloaded(false);
                tracing::warn!(%error, "the changed certificate cannot be used; the one before is kept");
            }
            Err(_) => {}
        }
    }

    /// What a new connection is to be encrypted with; `None` when a certificate is required and there is no CA for it.
    pub(crate) fn config(&self, clients: ClientCertificates) -> Option<Arc<ServerConfig>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        match clients {
            ClientCertificates::NotAsked => Some(Arc::clone(&current.open)),
            ClientCertificates::Required => current.mutual.clone(),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.current.read().unwrap_or_else(PoisonError::into_inner).fingerprint
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Contents {
    async fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let client_ca = match &files.client_ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        Ok(Self { certificate: read(&files.certificate).await?, key: read(&files.key).await?, client_ca })
    }

    fn fingerprint(&self) -> Fingerprint {
        fingerprint([Some(&self.certificate[..]), Some(&self.key[..]), self.client_ca.as_deref()])
    }
}

/// A hash of all parts, each with its length before it.
fn fingerprint<const N: usize>(parts: [Option<&[u8]>; N]) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    for part in parts.into_iter().flatten() {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_path_buf(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(path, format!("is larger than {FILE_BYTES_MAX} bytes; a PEM file is expected")));
    }
    Ok(bytes)
}

fn wrong(path: &Path, problem: String) -> TlsError {
    TlsError::Content { path: path.to_path_buf(), problem }
}

/// The configurations, and when the certificate is valid.
fn build(files: &TlsFiles, contents: &Contents, clock: &Arc<dyn Clock>) -> Result<(Loaded, [i64; 2]), TlsError> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    let times = chain.first().and_then(validity);
    let (not_before, not_after) =
        times.ok_or_else(|| wrong(&files.certificate, "has a certificate that cannot be read".into()))?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| {
        wrong(&files.key, format!("has no private key in PEM (-----BEGIN PRIVATE KEY-----): {error}"))
    })?;
    let open = server_config(files, None, &chain, &key, clock)?;
    let mutual = match (&files.client_ca, &contents.client_ca) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path, pem)? {
                roots.add(root).map_err(|error| wrong(path, format!("has a certificate that is no CA's: {error}")))?;
            }
            Some(server_config(files, Some(Arc::new(roots)), &chain, &key, clock)?)
        }
        _ => None,
    };
    Ok((Loaded { fingerprint: contents.fingerprint(), open, mutual }, [not_before, not_after]))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(wrong(path, "has no certificate in PEM (-----BEGIN CERTIFICATE-----)".into())),
        Err(error) => Err(wrong(path, format!("is not valid PEM: {error}"))),
    }
}

/// TLS 1.2 and 1.3 with the one provider of this workspace. Sessions are resumed from memory of this very configuration, so
/// that a certificate of a CA that was taken away opens no door.
fn server_config(
    files: &TlsFiles,
    client_roots: Option<Arc<RootCertStore>>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(Time(Arc::clone(clock)));
    let refused = |error: &dyn fmt::Display| wrong(&files.certificate, format!("cannot be used: {error}"));
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    let builder = match client_roots {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| refused(&error))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain.to_vec(), key.clone_key()).map_err(|error| {
        wrong(&files.certificate, format!("and the key {} cannot be used together: {error}", files.key.display()))
    })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

/// The clock as rustls asks for it.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl rustls::time_provider::TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let nanos = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_nanos(nanos)))
    }
}
