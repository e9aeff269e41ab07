//! A backup in an object store: the same names as in a folder, below a prefix. Every request is bounded in time and tried again
//! while what is wrong may pass.

mod lease;
#[cfg(test)]
mod moto;
mod profile;
mod retry;
mod s3;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, ObjectStore, PutMode, PutPayload, PutResult};

use super::manifest::{self, Manifest, StoredFile};
use super::{SNAPSHOTS, refused};
use crate::error::Error;
use crate::fs::FileSystem;

pub(super) use lease::{KEY as LOCK, Lease};
pub(super) use retry::Retries;
pub(super) use s3::open as open_s3;

/// Bytes that travel in one request, and at least so many in a part of a larger object. S3 wants 5 MiB at least.
const CHUNK_BYTES: u64 = 8 << 20;

/// Files that travel at the same time: 32 MiB of chunks.
pub(super) const WIDTH: usize = 4;

/// Parts of one object. S3 allows 10,000.
const UPLOAD_PARTS_MAX: u64 = 9_000;

/// The longest chunk of a file that is too long for chunks of [`CHUNK_BYTES`]: files of 144 GB at least.
const LONG_CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Keys that tell what lies in a place.
const FIRST_KEYS: usize = 100;

/// Objects of a backup that are listed.
const OBJECTS_MAX: usize = 4_000_000;

/// What a backup needs of an object store.
pub(super) trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// The objects of a backup by their names below its prefix, with their lengths.
pub(super) type Listing = BTreeMap<String, u64>;

/// Length and CRC32C.
pub(super) type Sum = (u64, u32);

/// A bucket, or what lies below a prefix in it.
#[derive(Clone)]
pub(super) struct Objects {
    store: Arc<dyn Store>,
    /// Ends with `/` unless it is empty.
    prefix: String,
    /// For people: `s3://bucket/prefix`.
    name: String,
    retries: Retries,
}

/// Without the store, whose own form may hold credentials.
impl fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Objects").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Objects {
    pub(super) fn new(store: Arc<dyn Store>, prefix: &str, name: String, retries: Retries) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { store, prefix, name, retries }
    }

    /// How people call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn name_of(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    fn path(&self, key: &str) -> ObjectPath {
        ObjectPath::from(format!("{}{key}", self.prefix))
    }

    /// All objects below a folder.
    pub(super) async fn list(&self, folder: &str) -> Result<Listing, Error> {
        let listing = self.list_some(folder, OBJECTS_MAX + 1).await?;
        if listing.len() > OBJECTS_MAX {
            return Err(refused(format!("{} holds more than {OBJECTS_MAX} objects", self.name_of(folder))));
        }
        Ok(listing)
    }

    /// Some of what is there.
    pub(super) async fn first_keys(&self) -> Result<Vec<String>, Error> {
        Ok(self.list_some("", FIRST_KEYS).await?.into_keys().collect())
    }

    async fn list_some(&self, folder: &str, objects_max: usize) -> Result<Listing, Error> {
        let path = self.path(folder);
        let what = format!("list {}", self.name_of(folder));
        self.retries
            .run(&what, || {
                let (store, path) = (Arc::clone(&self.store), path.clone());
                let prefix = self.prefix.clone();
                async move {
                    let mut objects = store.list(Some(&path)).take(objects_max);
                    let mut listing = Listing::new();
                    while let Some(object) = objects.try_next().await? {
                        let key = object.location.as_ref().strip_prefix(&prefix).unwrap_or_default();
                        listing.insert(key.to_owned(), object.size);
                    }
                    Ok(listing)
                }
            })
            .await
    }

    /// The complete snapshots, oldest first, and those without a manifest.
    pub(super) async fn snapshots(&self) -> Result<super::Snapshots, Error> {
        let listing = self.list(SNAPSHOTS).await?;
        let mut found = BTreeMap::new();
        for key in listing.keys() {
            if let Some((name, file)) = below(key, SNAPSHOTS).and_then(|rest| rest.split_once('/')) {
                *found.entry(name.to_owned()).or_insert(false) |= file == manifest::FILE;
            }
        }
        let mut snapshots = super::Snapshots::default();
        for (name, is_complete) in found {
            if is_complete { snapshots.complete.push(name) } else { snapshots.interrupted.push(name) }
        }
        Ok(snapshots)
    }

    /// The length of an object. `None` when there is none.
    async fn length(&self, key: &str) -> Result<Option<u64>, Error> {
        let path = self.path(key);
        let head = || {
            let (store, path) = (Arc::clone(&self.store), path.clone());
            async move {
                match store.get_opts(&path, GetOptions::new().with_head(true)).await {
                    Ok(found) => Ok(Some(found.meta.size)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        };
        self.retries.run(&format!("look at {}", self.name_of(key)), head).await
    }

    /// The next bytes of an object of a known length; empty at its end only.
    pub(super) async fn read_next(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, Error> {
        let bytes = CHUNK_BYTES.min(length.saturating_sub(offset));
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let path = self.path(key);
        let what = format!("read {}", self.name_of(key));
        let get = || {
            let (store, path) = (Arc::clone(&self.store), path.clone());
            async move {
                let options = GetOptions::new().with_range(Some(offset..offset + bytes));
                let content = store.get_opts(&path, options).await?.bytes().await?;
                if content.len() as u64 != bytes {
                    return Err(cut_off(content.len(), bytes));
                }
                Ok(content)
            }
        };
        self.retries.run(&what, get).await
    }

    /// A small object as a whole.
    async fn read_whole(&self, key: &str, length: u64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        while (content.len() as u64) < length {
            content.extend_from_slice(&self.read_next(key, content.len() as u64, length).await?);
        }
        Ok(content)
    }

    /// The CRC32C of an object of a known length.
    pub(super) async fn sum(
        &self,
        key: &str,
        length: u64,
        advance: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<u32, Error> {
        let (mut offset, mut sum) = (0, 0);
        while offset < length {
            let chunk = self.read_next(key, offset, length).await?;
            offset += chunk.len() as u64;
            sum = crc32c::crc32c_append(sum, &chunk);
            advance(chunk.len() as u64);
        }
        Ok(sum)
    }

    /// The manifest of a complete snapshot.
    pub(super) async fn manifest(&self, snapshot: &str) -> Result<Manifest, Error> {
        let key = format!("{SNAPSHOTS}/{snapshot}/{}", manifest::FILE);
        let path = std::path::PathBuf::from(self.name_of(&key));
        let bytes = self.length(&key).await?.unwrap_or_default();
        Manifest::check_length(&path, bytes)?;
        Manifest::decode(path, &self.read_whole(&key, bytes).await?)
    }

    /// Writes an object of one request, in place of one that is there.
    pub(super) async fn write(&self, key: &str, content: Bytes) -> Result<(), Error> {
        let path = self.path(key);
        let what = format!("write {}", self.name_of(key));
        let put = || {
            let (store, path, payload) = (Arc::clone(&self.store), path.clone(), PutPayload::from(content.clone()));
            async move { store.put_opts(&path, payload, PutMode::Overwrite.into()).await.map(drop) }
        };
        self.retries.run(&what, put).await
    }

    /// Writes a small object on a condition; tried again by the caller, who knows what a second try means.
    async fn write_if(&self, key: &str, content: Bytes, mode: PutMode) -> Result<PutResult, object_store::Error> {
        let path = self.path(key);
        let put = self.store.put_opts(&path, content.into(), mode.into());
        self.retries.bounded(put).await
    }

    /// Sends a local file whose length and sum are known. When it has others, they are the answer, and no object is made.
    pub(super) async fn send(
        &self,
        fs: &Arc<dyn FileSystem>,
        from: &Path,
        key: &str,
        file: &StoredFile,
        advance: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Option<Sum>, Error> {
        let expected = (file.bytes, file.crc32c);
        if file.bytes > CHUNK_BYTES {
            return self.send_in_parts(fs, from, key, expected, advance).await;
        }
        // One byte more than there should be shows a file that is too long.
        let content = read_local(fs, from, 0, CHUNK_BYTES + 1).await?;
        let found = (content.len() as u64, crc32c::crc32c(&content));
        if found != expected {
            return Ok(Some(found));
        }
        self.write(key, content).await?;
        advance(file.bytes);
        Ok(None)
    }

    async fn send_in_parts(
        &self,
        fs: &Arc<dyn FileSystem>,
        from: &Path,
        key: &str,
        expected: Sum,
        advance: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Option<Sum>, Error> {
        let chunk_bytes = expected.0.div_ceil(UPLOAD_PARTS_MAX).max(CHUNK_BYTES);
        if chunk_bytes > LONG_CHUNK_BYTES_MAX {
            return Err(refused(format!("{} has {} bytes, too many for an object", from.display(), expected.0)));
        }
        let upload = Upload::begin(self, key).await?;
        let sent = upload.send(fs, from, chunk_bytes, advance).await;
        match sent {
            Ok((found, parts)) if found == expected => upload.complete(parts, expected.0).await.map(|()| None),
            Ok((found, _)) => {
                upload.abort().await;
                Ok(Some(found))
            }
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Removes objects; those that are not there are none the less.
    pub(super) async fn remove(&self, keys: &[String]) -> Result<(), Error> {
        let Some(first) = keys.first() else { return Ok(()) };
        let what = format!("remove {}", self.name_of(first));
        let delete = || {
            let paths: Vec<_> = keys.iter().map(|key| Ok(self.path(key))).collect();
            let mut removed = self.store.delete_stream(futures::stream::iter(paths).boxed());
            async move {
                while let Some(outcome) = removed.next().await {
                    match outcome {
                        Ok(_) | Err(object_store::Error::NotFound { .. }) => (),
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        };
        self.retries.run(&what, delete).await
    }
}

/// An object that is sent in several requests and is not there before the last one.
struct Upload<'a> {
    objects: &'a Objects,
    key: &'a str,
    path: ObjectPath,
    id: String,
    what: String,
}

impl<'a> Upload<'a> {
    async fn begin(objects: &'a Objects, key: &'a str) -> Result<Self, Error> {
        let (path, what) = (objects.path(key), format!("write {}", objects.name_of(key)));
        let begin = || {
            let (store, path) = (Arc::clone(&objects.store), path.clone());
            async move { store.create_multipart(&path).await }
        };
        let id = objects.retries.run(&what, begin).await?;
        Ok(Self { objects, key, path, id, what })
    }

    async fn send(
        &self,
        fs: &Arc<dyn FileSystem>,
        from: &Path,
        chunk_bytes: u64,
        advance: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(Sum, Vec<PartId>), Error> {
        let (mut bytes, mut sum, mut parts) = (0_u64, 0_u32, Vec::new());
        loop {
            let chunk = read_local(fs, from, bytes, chunk_bytes).await?;
            if chunk.is_empty() {
                return Ok(((bytes, sum), parts));
            }
            bytes += chunk.len() as u64;
            sum = crc32c::crc32c_append(sum, &chunk);
            let (number, length) = (parts.len(), chunk.len() as u64);
            let put = || {
                let (store, path, id) = (Arc::clone(&self.objects.store), self.path.clone(), self.id.clone());
                let payload = PutPayload::from(chunk.clone());
                async move { store.put_part(&path, &id, number, payload).await }
            };
            parts.push(self.objects.retries.run(&self.what, put).await?);
            advance(length);
        }
    }

    async fn complete(&self, parts: Vec<PartId>, length: u64) -> Result<(), Error> {
        let complete = || {
            let (store, path, id) = (Arc::clone(&self.objects.store), self.path.clone(), self.id.clone());
            let parts = parts.clone();
            async move { store.complete_multipart(&path, &id, parts).await.map(drop) }
        };
        let Err(error) = self.objects.retries.run(&self.what, complete).await else { return Ok(()) };
        // The answer to a request that was carried out may be lost; the next one finds no upload.
        if self.objects.length(self.key).await.is_ok_and(|found| found == Some(length)) {
            return Ok(());
        }
        self.abort().await;
        Err(error)
    }

    /// What was sent takes no room then. A bucket rule removes what is left when this fails too.
    async fn abort(&self) {
        let abort = self.objects.store.abort_multipart(&self.path, &self.id);
        drop(self.objects.retries.bounded(abort).await);
    }
}

/// What a key is called below a folder.
pub(super) fn below<'a>(key: &'a str, folder: &str) -> Option<&'a str> {
    key.strip_prefix(folder)?.strip_prefix('/')
}

fn cut_off(found: usize, expected: u64) -> object_store::Error {
    let source = format!("the answer was cut off: {found} bytes instead of {expected}").into();
    object_store::Error::Generic { store: "backup", source }
}

async fn read_local(fs: &Arc<dyn FileSystem>, path: &Path, offset: u64, bytes: u64) -> Result<Bytes, Error> {
    let (fs, path) = (Arc::clone(fs), path.to_path_buf());
    let bytes = usize::try_from(bytes).map_err(|error| Error::Internal(error.to_string()))?;
    crate::seal::blocking(move || fs.read_range(&path, offset, bytes)).await
}
