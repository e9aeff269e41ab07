//! One backup at a time into one place: an object that is made only when there is none, and that its maker renews. One that was
//! not renewed, because its maker died, may be taken over.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use object_store::{Error as StoreError, PutMode, UpdateVersion};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use trivium_model::{Clock, UnixNanos};

use super::retry::{may_pass, told};
use super::{Objects, cut_off};
use crate::backup::refused;
use crate::error::Error;

/// Its object.
pub(in crate::backup) const KEY: &str = "lock";

/// How long a lease holds without being renewed, longer than a request and its repetitions.
const HELD_NANOS: i64 = 30 * 60 * 1_000_000_000;

/// When it is renewed.
const RENEWED_AFTER_NANOS: i64 = 3 * 60 * 1_000_000_000;

/// The longest lock object that is read.
const BYTES_MAX: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    holder: String,
    until: String,
}

impl Holder {
    fn until(&self) -> i64 {
        self.until.parse().unwrap_or(0)
    }
}

#[derive(Debug)]
struct State {
    version: UpdateVersion,
    renewed: UnixNanos,
}

/// The right to write into a place.
#[derive(Debug)]
pub(in crate::backup) struct Lease {
    objects: Objects,
    clock: Arc<dyn Clock>,
    holder: String,
    state: Mutex<State>,
}

/// What a conditional write came to.
enum Outcome {
    Written(UpdateVersion),
    Taken,
}

impl Lease {
    pub(in crate::backup) async fn take(objects: &Objects, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let now = clock.now();
        // Processes in containers have the same number.
        let (process, chance) = (std::process::id(), RandomState::new().build_hasher().finish());
        let holder = format!("process {process} at {}, {chance:016x}", crate::backup::manifest::snapshot_name(now));
        let mine = Holder { holder, until: now.0.saturating_add(HELD_NANOS).to_string() };
        let outcome = match write(objects, &mine, None).await? {
            Outcome::Written(version) => Outcome::Written(version),
            Outcome::Taken => match read(objects).await? {
                Some((other, version)) if other.until() < now.0 => write(objects, &mine, Some(version)).await?,
                _ => Outcome::Taken,
            },
        };
        match outcome {
            Outcome::Written(version) => {
                let state = Mutex::new(State { version, renewed: now });
                Ok(Self { objects: objects.clone(), clock, holder: mine.holder, state })
            }
            Outcome::Taken => {
                let name = objects.name_of(KEY);
                let other = read(objects).await?.map_or_else(|| "another one".into(), |(other, _)| other.holder);
                Err(refused(format!(
                    "another backup into {} is running ({other}); wait for its end. If none is, its lock ends 30 minutes after it \
                     did, or at once when {name} is removed",
                    objects.name()
                )))
            }
        }
    }

    /// To be called before every request that writes.
    pub(in crate::backup) async fn keep(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if now.0.saturating_sub(state.renewed.0) < RENEWED_AFTER_NANOS {
            return Ok(());
        }
        let mine = Holder { holder: self.holder.clone(), until: now.0.saturating_add(HELD_NANOS).to_string() };
        match write(&self.objects, &mine, Some(state.version.clone())).await? {
            Outcome::Written(version) => {
                *state = State { version, renewed: now };
                Ok(())
            }
            Outcome::Taken => Err(refused(format!(
                "another backup took over {}, because this one did not go on for half an hour or the clocks differ; run it again \
                 when the other one has ended",
                self.objects.name()
            ))),
        }
    }

    /// Lets others in. Does nothing when somebody else has taken over.
    pub(in crate::backup) async fn release(&self) -> Result<(), Error> {
        match read(&self.objects).await? {
            Some((found, _)) if found.holder == self.holder => self.objects.remove(&[KEY.to_owned()]).await,
            _ => Ok(()),
        }
    }
}

/// Writes the lock when there is none, or in place of the version that was seen.
async fn write(objects: &Objects, mine: &Holder, seen: Option<UpdateVersion>) -> Result<Outcome, Error> {
    let json = serde_json::to_vec(mine).map_err(|error| Error::Internal(error.to_string()))?;
    let content = Bytes::from(json);
    let what = format!("take the lock {}", objects.name_of(KEY));
    let mode = || seen.clone().map_or(PutMode::Create, PutMode::Update);
    let mut pause = objects.retries.first_pause;
    for tries in 1..=objects.retries.tries {
        match objects.write_if(KEY, content.clone(), mode()).await {
            Ok(written) => return Ok(Outcome::Written(written.into())),
            // Also when a try before this one was carried out and its answer was lost.
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotModified { .. },
            ) => {
                return Ok(match read(objects).await? {
                    Some((found, version)) if found == *mine => Outcome::Written(version),
                    _ => Outcome::Taken,
                });
            }
            Err(StoreError::NotImplemented { .. }) => return write_unconditionally(objects, mine, content, seen).await,
            Err(error) if tries < objects.retries.tries && may_pass(&error) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(objects.retries.pause_max);
            }
            Err(error) => return Err(told(&what, &error, tries)),
        }
    }
    Ok(Outcome::Taken)
}

/// For a store without conditional writes (`AWS_CONDITIONAL_PUT=disabled`): two that begin at the same moment are not told apart.
async fn write_unconditionally(
    objects: &Objects,
    mine: &Holder,
    content: Bytes,
    seen: Option<UpdateVersion>,
) -> Result<Outcome, Error> {
    if read(objects).await?.map(|(_, version)| version) != seen {
        return Ok(Outcome::Taken);
    }
    objects.write(KEY, content).await?;
    Ok(match read(objects).await? {
        Some((found, version)) if found == *mine => Outcome::Written(version),
        _ => Outcome::Taken,
    })
}

async fn read(objects: &Objects) -> Result<Option<(Holder, UpdateVersion)>, Error> {
    let path = objects.path(KEY);
    let get = || {
        let (store, path) = (Arc::clone(&objects.store), path.clone());
        async move {
            let found = match store.get_opts(&path, object_store::GetOptions::new()).await {
                Err(StoreError::NotFound { .. }) => return Ok(None),
                found => found?,
            };
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            let size = found.meta.size;
            let content = if size > BYTES_MAX { Bytes::new() } else { found.bytes().await? };
            if size <= BYTES_MAX && content.len() as u64 != size {
                return Err(cut_off(content.len(), size));
            }
            Ok(Some((content, version)))
        }
    };
    let found = objects.retries.run(&format!("read {}", objects.name_of(KEY)), get).await?;
    Ok(found.map(|(content, version)| {
        // One that cannot be read was not written by Trivium, or by a newer one: it never ends.
        let unknown = || Holder { holder: "unknown".into(), until: i64::MAX.to_string() };
        (serde_json::from_slice(&content).unwrap_or_else(|_| unknown()), version)
    }))
}
