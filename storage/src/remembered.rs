//! The memory of requests: OTLP has no request ID, so a resent request is recognised by the hash of its bytes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;
use trivium_model::{RequestKey, UnixNanos};

/// Requests remembered at most; about 64 bytes each. Beyond it the oldest are forgotten early.
const REQUESTS_MAX: usize = 1_000_000;

/// What is known of a request.
#[derive(Debug)]
pub(crate) enum Known {
    /// Never seen, or forgotten: the caller stores it and reports by the sender what became of it.
    New(watch::Sender<Option<bool>>),
    /// Another call is storing the same request now; the receiver tells whether it succeeded.
    InFlight(watch::Receiver<Option<bool>>),
    /// It is stored.
    Stored,
}

#[derive(Debug)]
enum Entry {
    InFlight(watch::Receiver<Option<bool>>),
    Stored,
}

/// Keys of stored requests within a window of time, and of requests that are being stored.
#[derive(Debug)]
pub(crate) struct RememberedRequests {
    window: Duration,
    entries: HashMap<RequestKey, Entry>,
    /// Stored keys by the time of receipt, oldest first.
    order: VecDeque<(UnixNanos, RequestKey)>,
}

impl RememberedRequests {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, entries: HashMap::new(), order: VecDeque::new() }
    }

    /// Looks a request up and, when it is new, marks it as being stored.
    pub(crate) fn begin(&mut self, key: RequestKey) -> Known {
        match self.entries.get(&key) {
            Some(Entry::Stored) => Known::Stored,
            Some(Entry::InFlight(receiver)) => Known::InFlight(receiver.clone()),
            None => {
                let (sender, receiver) = watch::channel(None);
                self.entries.insert(key, Entry::InFlight(receiver));
                Known::New(sender)
            }
        }
    }

    /// The request is durable.
    pub(crate) fn stored(&mut self, key: RequestKey, received_at: UnixNanos) {
        self.entries.insert(key, Entry::Stored);
        self.order.push_back((received_at, key));
        self.forget_old(received_at);
    }

    /// The request was not stored; the next attempt is a new one.
    pub(crate) fn failed(&mut self, key: RequestKey) {
        self.entries.remove(&key);
    }

    fn forget_old(&mut self, now: UnixNanos) {
        let oldest = now.before(self.window);
        while let Some(&(time, key)) = self.order.front() {
            if time >= oldest && self.order.len() <= REQUESTS_MAX {
                return;
            }
            self.order.pop_front();
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> RequestKey {
        RequestKey([number; 16])
    }

    #[test]
    fn a_resent_request_is_known_until_the_window_has_passed() {
        let mut requests = RememberedRequests::new(Duration::from_secs(600));
        assert!(matches!(requests.begin(key(1)), Known::New(_)));
        requests.stored(key(1), UnixNanos(0));
        assert!(matches!(requests.begin(key(1)), Known::Stored));
        requests.stored(key(2), UnixNanos(0).after(Duration::from_secs(601)));
        assert!(matches!(requests.begin(key(1)), Known::New(_)), "the first key is older than the window");
        assert!(matches!(requests.begin(key(2)), Known::Stored));
    }

    #[test]
    fn a_failed_request_may_come_again() {
        let mut requests = RememberedRequests::new(Duration::from_secs(600));
        let Known::New(sender) = requests.begin(key(1)) else { panic!("the key was never seen") };
        assert!(matches!(requests.begin(key(1)), Known::InFlight(_)));
        requests.failed(key(1));
        drop(sender);
        assert!(matches!(requests.begin(key(1)), Known::New(_)));
    }
}
