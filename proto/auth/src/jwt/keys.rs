//! The keys of an issuer: read from a file or fetched, kept, and fetched again when they may have changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use trivium_model::{Clock, UnixNanos};

use super::jwk::{JWKS_BYTES_MAX, KeySet};
use crate::error::Error;
use crate::fetch::{self, HttpClient};

/// After this time keys are read again.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// How long keys are used when no new ones can be had.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The least time between two attempts to fetch: tokens with made-up key IDs must not make us ask on every request. A file
/// costs little and is read when somebody asks, but for as long after an attempt that failed, which makes a line of our log.
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
    /// When reading them began: what the issuer made public later need not be among them.
    read: UnixNanos,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    /// When the last attempt began.
    tried: Option<UnixNanos>,
    /// Whether that came to nothing.
    has_failed: bool,
}

/// The newest keys that can be had.
#[derive(Clone, Debug)]
pub(crate) struct Renewed {
    pub(crate) keys: Arc<KeySet>,
    /// When newer ones can be asked for. `None` when these were read after the question: what is not among them is no key.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Keys {
    source: KeySource,
    client: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held while they are read: of many requests one reads and the others wait for it.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Keys {
    pub(crate) fn new(source: KeySource, client: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { source, client, clock, state: Mutex::default(), reading: Arc::default() })
    }

    /// The keys, not older than they should be if that can be had. An issuer that does not answer is waited for once; from then
    /// on the keys at hand are used at once, for as long as they may be, and new ones are fetched beside the requests. `asked` is
    /// when the request came.
    pub(crate) async fn current(self: &Arc<Self>, asked: UnixNanos) -> Result<Arc<KeySet>, Error> {
        let now = self.clock.now();
        let (kept, is_silent) = self.known(now);
        match kept {
            Some(kept) if now.since(kept.read) < FRESH => Ok(kept.keys),
            Some(kept) if is_silent => {
                self.renew_unattended(now);
                Ok(kept.keys)
            }
            _ => self.renewed(asked).await.map(|renewed| renewed.keys),
        }
    }

    /// The keys after another attempt to get new ones, unless there was one just now or they were read since `asked`.
    pub(crate) async fn renewed(self: &Arc<Self>, asked: UnixNanos) -> Result<Renewed, Error> {
        let turn = Arc::clone(&self.reading).lock_owned().await;
        // Somebody else may have read them while we waited.
        if self.may_read(asked) {
            // By a task of its own: a client that goes away must not end what others wait for, nor may a slow issuer remain
            // unheard because no client is as patient as we are.
            if let Err(error) = tokio::spawn(Arc::clone(self).read(turn)).await {
                tracing::error!(%error, "reading the keys of a token issuer was interrupted");
            }
        }
        let (now, state) = (self.clock.now(), self.state());
        let pause = self.pause(&state, now);
        match state.usable(now) {
            Some(kept) => Ok(Renewed { retry_after: (kept.read < asked).then_some(pause), keys: kept.keys }),
            None => Err(Error::Unavailable {
                message: "the keys of the token's issuer cannot be had".into(),
                retry_after: pause,
            }),
        }
    }

    /// Begins to read them, unless somebody does or did just now. Nobody waits for it.
    fn renew_unattended(self: &Arc<Self>, now: UnixNanos) {
        let Ok(turn) = Arc::clone(&self.reading).try_lock_owned() else { return };
        if self.may_read(now) {
            drop(tokio::spawn(Arc::clone(self).read(turn)));
        }
    }

    /// Reads them and notes how that went.
    async fn read(self: Arc<Self>, _turn: OwnedMutexGuard<()>) {
        let began = self.clock.now();
        self.state().tried = Some(began);
        let result = self.load().await;
        let mut state = self.state();
        state.has_failed = result.is_err();
        match result {
            Ok(keys) => state.keep(keys, began),
            Err(problem) => tracing::warn!(problem, "the keys of a token issuer were not renewed"),
        }
    }

    async fn load(&self) -> Result<KeySet, String> {
        let bytes = match &self.source {
            KeySource::Url(url) => fetch::get(&*self.client, url, JWKS_BYTES_MAX).await?.to_vec(),
            KeySource::File(path) => read_file(path.clone()).await?,
        };
        KeySet::parse(&bytes)
    }

    /// Whether they are older than the question and may be read again.
    fn may_read(&self, asked: UnixNanos) -> bool {
        let (now, state) = (self.clock.now(), self.state());
        let is_newer = state.kept.as_ref().is_some_and(|kept| kept.read >= asked);
        !is_newer && self.pause(&state, now).is_zero()
    }

    /// How long it is until they may be read again.
    fn pause(&self, state: &State, now: UnixNanos) -> Duration {
        let least = match self.source {
            KeySource::File(_) if !state.has_failed => Duration::ZERO,
            _ => PAUSE,
        };
        state.tried.map_or(Duration::ZERO, |tried| least.saturating_sub(now.since(tried)))
    }

    /// The keys that may be used, and whether an attempt of late to get others came to nothing. One of long ago says nothing:
    /// nobody has asked since, and keys that were taken back must not be used without another attempt.
    fn known(&self, now: UnixNanos) -> (Option<Kept>, bool) {
        let state = self.state();
        let is_of_late = state.tried.is_some_and(|tried| now.since(tried) < FRESH);
        (state.usable(now), state.has_failed && is_of_late)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn usable(&self, now: UnixNanos) -> Option<Kept> {
        self.kept.clone().filter(|kept| now.since(kept.read) < STALE)
    }

    /// Keys that are what they were stay the same in memory, by which it is seen that they refuse what they refused.
    fn keep(&mut self, keys: KeySet, read: UnixNanos) {
        let known = self.kept.take().map(|kept| kept.keys).filter(|known| **known == keys);
        self.kept = Some(Kept { keys: known.unwrap_or_else(|| Arc::new(keys)), read });
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
