//! The keys of an issuer: read from a file or fetched, kept, and fetched again when they may have changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use trivium_model::{Clock, UnixNanos};

use super::jwk::{JWKS_BYTES_MAX, KeySet};
use crate::error::Error;
use crate::fetch::{self, HttpClient};

/// After this time keys are fetched again.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// How long keys are used when no new ones can be had.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The least time between two attempts to fetch: tokens with made-up key IDs must not make us ask on every request.
const PAUSE: Duration = Duration::from_secs(30);

/// Where keys come from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    File(PathBuf),
    Url(String),
}

#[derive(Clone, Debug)]
struct Kept {
    keys: Arc<KeySet>,
    read: UnixNanos,
}

#[derive(Debug)]
pub(crate) struct Keys {
    source: KeySource,
    client: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<Kept>>,
    /// When it was last tried. Held while it is: of many requests one fetches and the others wait for it.
    tried: tokio::sync::Mutex<Option<UnixNanos>>,
}

impl Keys {
    pub(crate) fn new(source: KeySource, client: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        Self { source, client, clock, kept: Mutex::default(), tried: tokio::sync::Mutex::default() }
    }

    /// The keys, not older than they should be if that can be had.
    pub(crate) async fn current(&self) -> Result<Arc<KeySet>, Error> {
        match self.kept() {
            Some(kept) if self.clock.now().since(kept.read) < FRESH => Ok(kept.keys),
            _ => self.renewed().await,
        }
    }

    /// The keys after another attempt to get new ones, unless there was one just now.
    pub(crate) async fn renewed(&self) -> Result<Arc<KeySet>, Error> {
        let asked = self.clock.now();
        let mut tried = self.tried.lock().await;
        let now = self.clock.now();
        // Somebody else may have tried while we waited.
        let may_try = tried.is_none_or(|tried| now.since(tried) >= PAUSE && tried <= asked);
        let problem = if may_try {
            *tried = Some(now);
            self.read().await.err()
        } else {
            None
        };
        if let Some(problem) = &problem {
            tracing::warn!(problem, "the keys of a token issuer were not renewed");
        }
        let usable = self.kept().filter(|kept| now.since(kept.read) < STALE);
        usable.map(|kept| kept.keys).ok_or_else(|| Error::unavailable("the keys of the token's issuer cannot be had"))
    }

    async fn read(&self) -> Result<(), String> {
        let bytes = match &self.source {
            KeySource::Url(url) => fetch::get(&*self.client, url, JWKS_BYTES_MAX).await?.to_vec(),
            KeySource::File(path) => read_file(path.clone()).await?,
        };
        let keys = Arc::new(KeySet::parse(&bytes)?);
        let kept = Kept { keys, read: self.clock.now() };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(())
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, String> {
    use tokio::io::AsyncReadExt;
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(JWKS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}
