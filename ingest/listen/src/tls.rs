//! Certificates and revocation lists from PEM files, exchanged while the server runs.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use trivium_model::Clock;

use crate::certificate::{RevocationLists, validity};
use crate::telemetry::ListenMetrics;

/// Bytes of one PEM file: far more than any chain, far less than any accident.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of the file of revocation lists: some 300,000 revoked certificates.
const REVOCATION_BYTES_MAX: u64 = 16 * 1024 * 1024;

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
    /// The lists of certificates that those CAs have revoked, in PEM.
    pub client_crl: Option<PathBuf>,
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
    /// Whether it was told that the revocation lists are out of date.
    is_outdated: AtomicBool,
    /// Told when the files were exchanged.
    changes: watch::Sender<()>,
}

type Fingerprint = [u8; 32];

/// Files that were read again and can be used, before they are.
pub struct Fresh {
    loaded: Loaded,
    /// What was in use when they were read.
    used: Fingerprint,
}

struct Loaded {
    fingerprint: Fingerprint,
    open: Arc<ServerConfig>,
    mutual: Option<Mutual>,
    /// When the certificate begins and ceases to be valid.
    validity: [i64; 2],
}

/// What a listener that requires client certificates needs.
struct Mutual {
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    revoked: Option<RevocationLists>,
}

/// The files as they were read.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
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
        let loaded = build(&files, &contents, &clock)?;
        if !loaded.is_valid_at(seconds(&clock)) {
            let (file, [not_before, not_after]) = (files.certificate.display(), loaded.validity);
            tracing::error!(%file, not_before, not_after, "the certificate is not valid at this time; clients will refuse it");
        }
        let tls = Self {
            files,
            clock,
            metrics,
            current: RwLock::new(loaded),
            refused: Mutex::default(),
            is_outdated: AtomicBool::new(false),
            changes: watch::Sender::new(()),
        };
        tls.tell_times();
        Ok(Arc::new(tls))
    }

    /// Reads the files again; what cannot be used leaves all as it is.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub async fn reload(&self) -> Result<Reloaded, TlsError> {
        let Some(fresh) = self.read().await? else { return Ok(Reloaded::Unchanged) };
        self.apply(fresh);
        Ok(Reloaded::Changed)
    }

    /// Reads the files again; nothing changes yet. `None` when they are as they were.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or used, the certificate is not valid at this time, or a revocation list is older than the
    /// one in use.
    pub async fn read(&self) -> Result<Option<Fresh>, TlsError> {
        let contents = Contents::read(&self.files).await?;
        let used = self.current().fingerprint;
        if contents.fingerprint() == used {
            return Ok(None);
        }
        let loaded = build(&self.files, &contents, &self.clock)?;
        if !loaded.is_valid_at(seconds(&self.clock)) {
            // Without the time that it is now: the text tells whether the problem is the same as before.
            let [not_before, not_after] = loaded.validity;
            let problem = format!("is valid from {not_before} to {not_after} (Unix time) only");
            return Err(TlsError::Content { path: self.files.certificate.clone(), problem });
        }
        if let (Some(path), Some(new), Some(used)) =
            (&self.files.client_crl, loaded.revoked(), self.current().revoked())
        {
            new.check_newer(used).map_err(|problem| wrong(path, problem))?;
        }
        Ok(Some(Fresh { loaded, used }))
    }

    /// Has new connections get what was [`Self::read`].
    pub fn apply(&self, fresh: Fresh) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Exchanged meanwhile: what was read then is not to be taken back, and if this is newer, the next look finds it.
        if current.fingerprint != fresh.used {
            return;
        }
        *current = fresh.loaded;
        drop(current);
        self.is_outdated.store(false, Ordering::Relaxed);
        self.tell_times();
        self.changes.send_replace(());
    }

    /// Says until when all is valid, and once when revocation lists are not any more.
    fn tell_times(&self) {
        let current = self.current();
        let next_update = current.revoked().map(RevocationLists::next_update);
        self.metrics.certificate_until(current.validity[1]);
        self.metrics.revocation_until(next_update.unwrap_or_default());
        let is_outdated = next_update.is_some_and(|next_update| next_update <= seconds(&self.clock));
        if is_outdated && !self.is_outdated.swap(true, Ordering::Relaxed) {
            let file = self.files.client_crl.as_deref().unwrap_or_else(|| Path::new("")).display();
            tracing::error!(
                %file, next_update,
                "a revocation list is out of date: what it revokes stays revoked, what was revoked since is let in"
            );
        }
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
        self.tell_times();
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
        let current = self.current();
        match clients {
            ClientCertificates::NotAsked => Some(Arc::clone(&current.open)),
            ClientCertificates::Required => current.mutual.as_ref().map(|mutual| Arc::clone(&mutual.config)),
        }
    }

    /// What [`Self::distrust`] waits for; to be had before [`Self::config`], so that no change is missed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Completes once a client with these certificates would not be let in any more: its CA is gone, it was revoked, or it has
    /// expired. It is looked at when the files change.
    pub(crate) async fn distrust(&self, mut changes: watch::Receiver<()>, chain: Vec<CertificateDer<'static>>) {
        while changes.changed().await.is_ok() {
            if !self.trusts(&chain) {
                return;
            }
        }
        std::future::pending().await
    }

    fn trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        let verifier = self.current().mutual.as_ref().map(|mutual| Arc::clone(&mutual.verifier));
        let (Some(verifier), Some((client, issuers))) = (verifier, chain.split_first()) else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds(&self.clock).try_into().unwrap_or_default()));
        verifier.verify_client_cert(client, issuers, now).is_ok()
    }

    fn current(&self) -> RwLockReadGuard<'_, Loaded> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    fn is_valid_at(&self, now: i64) -> bool {
        (self.validity[0]..=self.validity[1]).contains(&now)
    }

    fn revoked(&self) -> Option<&RevocationLists> {
        self.mutual.as_ref()?.revoked.as_ref()
    }
}

fn seconds(clock: &Arc<dyn Clock>) -> i64 {
    clock.now().0.div_euclid(1_000_000_000)
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fresh").field("validity", &self.loaded.validity).finish_non_exhaustive()
    }
}

impl Contents {
    async fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read_some = async |path: &Option<PathBuf>, bytes_max| match path {
            Some(path) => read(path, bytes_max).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            certificate: read(&files.certificate, FILE_BYTES_MAX).await?,
            key: read(&files.key, FILE_BYTES_MAX).await?,
            client_ca: read_some(&files.client_ca, FILE_BYTES_MAX).await?,
            client_crl: read_some(&files.client_crl, REVOCATION_BYTES_MAX).await?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        fingerprint([Some(&*self.certificate), Some(&*self.key), self.client_ca.as_deref(), self.client_crl.as_deref()])
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

async fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_path_buf(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(wrong(path, format!("is larger than {bytes_max} bytes; a PEM file is expected")));
    }
    Ok(bytes)
}

fn wrong(path: &Path, problem: String) -> TlsError {
    TlsError::Content { path: path.to_path_buf(), problem }
}

fn build(files: &TlsFiles, contents: &Contents, clock: &Arc<dyn Clock>) -> Result<Loaded, TlsError> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    let times = chain.first().and_then(validity);
    let (not_before, not_after) =
        times.ok_or_else(|| wrong(&files.certificate, "has a certificate that cannot be read".into()))?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| {
        wrong(&files.key, format!("has no private key in PEM (-----BEGIN PRIVATE KEY-----): {error}"))
    })?;
    let open = server_config(files, None, &chain, &key, clock)?;
    let mutual = match verifier(files, contents)? {
        Some((verifier, revoked)) => {
            let config = server_config(files, Some(Arc::clone(&verifier)), &chain, &key, clock)?;
            Some(Mutual { config, verifier, revoked })
        }
        None => None,
    };
    Ok(Loaded { fingerprint: contents.fingerprint(), open, mutual, validity: [not_before, not_after] })
}

type Verifier = (Arc<dyn ClientCertVerifier>, Option<RevocationLists>);

/// What decides about client certificates, if any are asked for.
fn verifier(files: &TlsFiles, contents: &Contents) -> Result<Option<Verifier>, TlsError> {
    let (Some(path), Some(pem)) = (&files.client_ca, &contents.client_ca) else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for root in certificates(path, pem)? {
        roots.add(root).map_err(|error| wrong(path, format!("has a certificate that is no CA's: {error}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let revoked = match (&files.client_crl, &contents.client_crl) {
        (Some(path), Some(pem)) => {
            let algorithms = provider.signature_verification_algorithms.all;
            let lists = RevocationLists::read(pem, &roots.roots, algorithms).map_err(|problem| wrong(path, problem))?;
            for issuer in lists.missing(&roots.roots) {
                let file = path.display();
                tracing::warn!(%file, issuer, "there is no revocation list of this CA; clients that it vouches for are refused");
            }
            Some(lists)
        }
        _ => None,
    };
    let lists = revoked.as_ref().map(RevocationLists::to_ders).unwrap_or_default();
    // With lists, every certificate up to the CA is looked up, and one of which no list knows is refused. A list that is out of
    // date keeps those out that it names; it refuses nobody else, or a forgotten renewal would end all telemetry.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists).build();
    let verifier = verifier.map_err(|error| wrong(path, format!("cannot be used: {error}")))?;
    Ok(Some((verifier, revoked)))
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
    clients: Option<Arc<dyn ClientCertVerifier>>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(Time(Arc::clone(clock)));
    let refused = |error: &dyn fmt::Display| wrong(&files.certificate, format!("cannot be used: {error}"));
    let builder = ServerConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
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
