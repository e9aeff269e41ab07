//! An object store in memory that fails as it is told to.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{Objects, Retries};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backup) enum Fault {
    /// It is not carried out.
    Unreachable,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It is not carried out, for there are too many.
    Throttled,
    /// Half of what is read arrives.
    CutOff,
    /// It is refused for good.
    Denied,
    /// The service does not know it.
    Unknown,
}

/// The n-th request of all, its kind, and what goes wrong with it.
type Plan = Box<dyn FnMut(u64, &'static str) -> Option<Fault> + Send>;

pub(in crate::backup) struct Faulty {
    inner: InMemory,
    plan: Mutex<Plan>,
    requests: AtomicU64,
    on_their_way: AtomicU64,
    /// The most bytes that were on their way at the same time.
    pub(in crate::backup) bytes_max: AtomicU64,
}

impl Faulty {
    pub(in crate::backup) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            plan: Mutex::new(Box::new(|_, _| None)),
            requests: AtomicU64::new(0),
            on_their_way: AtomicU64::new(0),
            bytes_max: AtomicU64::new(0),
        })
    }

    /// The place `s3://test/here` in this store.
    pub(in crate::backup) fn objects(self: &Arc<Self>) -> Objects {
        let retries = Retries {
            tries: 4,
            first_pause: Duration::ZERO,
            pause_max: Duration::ZERO,
            try_max: Duration::from_secs(60),
        };
        Objects::new(Arc::<Self>::clone(self), "here", "s3://test/here".into(), retries)
    }

    /// From now on, counted from 1. Requests so far.
    pub(in crate::backup) fn plan(&self, plan: impl FnMut(u64, &'static str) -> Option<Fault> + Send + 'static) -> u64 {
        *self.plan.lock().expect("a plan") = Box::new(plan);
        self.requests.swap(0, Ordering::SeqCst)
    }

    pub(in crate::backup) async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.inner.list(None).map(|object| object.expect("an object").location.to_string()).collect().await;
        keys.sort_unstable();
        keys
    }

    pub(in crate::backup) async fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = Path::from(key);
        let mut content = self.inner.get(&path).await.expect("there").bytes().await.expect("read").to_vec();
        change(&mut content);
        self.inner.put(&path, content.into()).await.expect("written");
    }

    pub(in crate::backup) async fn inner_put(&self, key: &str, content: Vec<u8>) {
        self.inner.put(&Path::from(key), content.into()).await.expect("written");
    }

    pub(in crate::backup) async fn remove(&self, key: &str) {
        self.inner.delete(&Path::from(key)).await.expect("removed");
    }

    /// What is left of the fault when it does not keep the request from being carried out.
    fn ask(&self, kind: &'static str) -> Result<Option<Fault>> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = (self.plan.lock().expect("a plan"))(number, kind);
        match fault {
            Some(Fault::Unreachable) => Err(generic("connection refused")),
            Some(Fault::Throttled) => Err(generic(
                "Server returned non-2xx status code: 503 Service Unavailable: <Code>SlowDown</Code><Message>Too many</Message>",
            )),
            Some(Fault::Denied) => {
                let body = "status code: 403 Forbidden: <Error><Code>AccessDenied</Code><Message>No.</Message></Error>";
                Err(Error::PermissionDenied { path: "here".into(), source: body.into() })
            }
            Some(Fault::Unknown) => {
                Err(Error::NotImplemented { operation: kind.to_owned(), implementer: "test".to_owned() })
            }
            fault => Ok(fault),
        }
    }

    async fn travel(&self, bytes: u64) {
        let on_their_way = self.on_their_way.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.bytes_max.fetch_max(on_their_way, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.on_their_way.fetch_sub(bytes, Ordering::SeqCst);
    }
}

fn generic(text: &str) -> Error {
    Error::Generic { store: "test", source: text.to_owned().into() }
}

fn answered<T>(fault: Option<Fault>, answer: Result<T>) -> Result<T> {
    if fault == Some(Fault::AnswerLost) { Err(generic("connection reset")) } else { answer }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let is_conditional = opts.mode != PutMode::Overwrite;
        let fault = self.ask(if is_conditional { "put_if" } else { "put" })?;
        self.travel(payload.content_length() as u64).await;
        answered(fault, self.inner.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let fault = self.ask(if is_head { "head" } else { "get" })?;
        let mut found = answered(fault, self.inner.get_opts(location, options).await)?;
        if !is_head {
            self.travel(found.range.end - found.range.start).await;
        }
        if fault == Some(Fault::CutOff) && !is_head {
            let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
            let bytes = found.bytes().await?;
            let half = bytes.slice(..bytes.len() / 2);
            let payload = GetResultPayload::Stream(stream::once(async { Ok(half) }).boxed());
            found = GetResult { payload, meta, range, attributes };
        }
        Ok(found)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.ask("delete") {
            Err(error) => stream::once(async { Err(error) }).boxed(),
            Ok(Some(Fault::AnswerLost)) => {
                let lost = stream::once(async { Err(generic("connection reset")) });
                self.inner.delete_stream(locations).chain(lost).boxed()
            }
            Ok(_) => self.inner.delete_stream(locations),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.ask("list") {
            Err(error) => stream::once(async { Err(error) }).boxed(),
            Ok(fault @ Some(Fault::AnswerLost | Fault::CutOff)) => {
                let lost = stream::once(async move { answered(fault, Err(generic("connection reset"))) });
                self.inner.list(prefix).take(1).chain(lost).boxed()
            }
            Ok(_) => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let fault = self.ask("create_multipart")?;
        answered(fault, self.inner.create_multipart(path).await)
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part_idx: usize, data: PutPayload) -> Result<PartId> {
        let fault = self.ask("put_part")?;
        self.travel(data.content_length() as u64).await;
        answered(fault, self.inner.put_part(path, id, part_idx, data).await)
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let fault = self.ask("complete_multipart")?;
        answered(fault, self.inner.complete_multipart(path, id, parts).await)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.ask("abort_multipart")?;
        self.inner.abort_multipart(path, id).await
    }
}
