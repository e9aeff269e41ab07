use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::QueryConfig;
use crate::error::Error;

/// Decides how many questions are answered at once. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    concurrency: usize,
    queue_max: usize,
    queue_wait: Duration,
}

/// The right to run one query; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Permit {
    /// Does work that goes on when nobody waits for it any more, and gives the permit back when it has ended.
    pub(crate) async fn hold<T: Send + 'static>(
        self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let task = tokio::spawn(async move {
            let _permit = self;
            work.await
        });
        task.await.map_err(|error| Error::Internal(format!("the work did not end: {error}")))
    }
}

/// Counts a waiting request until it is dropped, also when the client goes away while it waits.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// Admits as many as the configuration says.
    pub fn new(config: &QueryConfig) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.concurrency)),
            waiting: Arc::default(),
            concurrency: config.concurrency,
            queue_max: config.queue_max,
            queue_wait: config.queue_wait,
        }
    }

    /// Waits for a permit, first come first served. [`Error::Busy`] when the queue is full or the wait too long.
    pub async fn acquire(&self) -> Result<Permit, Error> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Permit { _permit: permit });
        }
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(Arc::clone(&self.waiting));
        if ahead >= self.queue_max {
            return Err(self.busy());
        }
        match tokio::time::timeout(self.queue_wait, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit { _permit: permit }),
            Ok(Err(_)) => Err(Error::Internal("the semaphore of queries is closed".into())),
            Err(_) => Err(self.busy()),
        }
    }

    /// How many queries run and wait.
    pub fn load(&self) -> (usize, usize) {
        let running = self.concurrency.saturating_sub(self.permits.available_permits());
        (running, self.waiting.load(Ordering::Relaxed))
    }

    fn busy(&self) -> Error {
        let (running, waiting) = self.load();
        Error::Busy { running, waiting, retry_after: Duration::from_secs(1) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// Scenario: a client leaves while its work is under way. Guarantee: the work keeps its permit to its end; else clients that
    /// come and go could start any number of works.
    #[tokio::test]
    async fn work_keeps_its_permit_when_its_client_is_gone() {
        let admission = Admission::new(&QueryConfig { concurrency: 1, ..QueryConfig::default() });
        let permit = admission.acquire().await.expect("the only permit");
        let (start, started) = oneshot::channel();
        let (finish, finished) = oneshot::channel();
        let client = tokio::spawn(permit.hold(async move {
            start.send(()).expect("the test waits");
            finished.await.expect("the test finishes it")
        }));
        started.await.expect("it begins");
        client.abort();
        assert!(client.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(admission.load(), (1, 0), "it is at work");
        finish.send(()).expect("it waits");
        admission.acquire().await.expect("the permit is given back");
    }
}
