//! The open connections of one listener, and which of them has to go when there are too many.

use std::collections::{HashMap, hash_map};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::source::{PerAddress, Source};

/// Bytes after which hyper knows the protocol version, and its own time limits hold: the preface of HTTP/2.
const PREFACE_BYTES: usize = 24;

/// All open connections of a listener.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<Open>,
    per_address: PerAddress,
    next_id: AtomicU64,
    started: Instant,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    /// How many of them come from each address whose number is limited; no more entries than connections.
    of_source: HashMap<Source, usize>,
}

/// What an address that wants one more connection has to give for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nothing.
    Free,
    /// Its idlest connection, which is being closed.
    Evicted,
    /// It has as many as it may, and all are at work.
    Refused,
}

/// What is known about one connection while it is open.
#[derive(Debug)]
pub(crate) struct Connection {
    started: Instant,
    /// The address it comes from, when that one's number of connections is limited.
    source: Option<Source>,
    /// Requests that are not answered to the last byte.
    in_flight: AtomicUsize,
    has_asked: AtomicBool,
    bytes_read: AtomicUsize,
    /// Since when nothing is in flight, in milliseconds since the listener started.
    idle_since_millis: AtomicU64,
    is_handshaking: AtomicBool,
    is_evicted: AtomicBool,
    close: CancellationToken,
}

/// A connection's entry; dropping it says that the connection has ended.
#[derive(Debug)]
pub(crate) struct Entry {
    connections: Arc<Connections>,
    id: u64,
    pub(crate) connection: Arc<Connection>,
}

/// A request in work; dropping it says that it is answered.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Connection>);

impl Connections {
    pub(crate) fn new(per_address: PerAddress) -> Self {
        Self {
            open: Mutex::default(),
            per_address,
            next_id: AtomicU64::new(0),
            started: Instant::now(),
            stop: CancellationToken::new(),
        }
    }

    /// Takes a new connection in.
    pub(crate) fn enter(self: &Arc<Self>, source: Option<Source>, is_handshaking: bool) -> Entry {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection {
            started: self.started,
            source,
            in_flight: AtomicUsize::new(0),
            has_asked: AtomicBool::new(false),
            bytes_read: AtomicUsize::new(0),
            idle_since_millis: AtomicU64::new(millis_since(self.started)),
            is_handshaking: AtomicBool::new(is_handshaking),
            is_evicted: AtomicBool::new(false),
            close: self.stop.child_token(),
        });
        let mut open = self.lock();
        open.connections.insert(id, Arc::clone(&connection));
        if let Some(source) = source {
            *open.of_source.entry(source).or_default() += 1;
        }
        drop(open);
        Entry { connections: Arc::clone(self), id, connection }
    }

    /// What an address counts as; `None` when it is not limited.
    pub(crate) fn source(&self, address: IpAddr) -> Option<Source> {
        self.per_address.source(address)
    }

    /// Makes room for one more connection of an address, at the cost of that address alone.
    pub(crate) fn make_room_of(&self, source: Option<Source>) -> Room {
        let Some(source) = source else { return Room::Free };
        let open = self.lock();
        let count = open.of_source.get(&source).copied().unwrap_or_default();
        if count < self.per_address.max {
            return Room::Free;
        }
        if count >= self.per_address.max + self.per_address.slack() {
            return Room::Refused;
        }
        let is_its = |connection: &Connection| connection.source == Some(source);
        let staying = open.connections.values().filter(|connection| is_its(connection) && !connection.is_evicted());
        if staying.count() < self.per_address.max {
            return Room::Free;
        }
        match open.evict(|connection| is_its(connection) && connection.is_idle()) {
            true => Room::Evicted,
            false => Room::Refused,
        }
    }

    /// Closes the connection that has been without a request for the longest time; `false` when all have work.
    pub(crate) fn evict_idlest(&self) -> bool {
        self.lock().evict(Connection::is_idle)
    }

    /// Closes the connection that has been shaking hands for the longest time when so many do that there is no room for
    /// one more.
    pub(crate) fn evict_slowest_handshake(&self, max: usize) -> bool {
        let is_candidate = |connection: &Connection| connection.is_handshaking.load(Ordering::Relaxed);
        let is_counted = |connection: &Connection| is_candidate(connection) && !connection.is_evicted();
        let open = self.lock();
        let handshakes = open.connections.values().filter(|connection| is_counted(connection)).count();
        handshakes >= max && open.evict(is_candidate)
    }

    /// Asks every connection to end once what it has in work is answered.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn evict(&self, is_candidate: impl Fn(&Connection) -> bool) -> bool {
        let candidates =
            self.connections.iter().filter(|(_, connection)| is_candidate(connection) && !connection.is_evicted());
        // Of those that are idle since the same millisecond, the first that came.
        let oldest =
            candidates.min_by_key(|(id, connection)| (connection.idle_since_millis.load(Ordering::Relaxed), **id));
        let Some((_, connection)) = oldest else { return false };
        connection.is_evicted.store(true, Ordering::Relaxed);
        connection.close.cancel();
        true
    }

    fn leave(&mut self, id: u64) {
        let Some(source) = self.connections.remove(&id).and_then(|connection| connection.source) else { return };
        if let hash_map::Entry::Occupied(mut count) = self.of_source.entry(source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Connection {
    /// A request has arrived.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.has_asked.store(true, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    /// Whether it has not even said which protocol it speaks.
    pub(crate) fn is_silent(&self) -> bool {
        !self.has_asked.load(Ordering::Relaxed) && self.bytes_read.load(Ordering::Relaxed) < PREFACE_BYTES
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    pub(crate) fn shook_hands(&self) {
        self.is_handshaking.store(false, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Completes when the connection is to end.
    pub(crate) async fn closing(&self) {
        self.close.cancelled().await;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle_since_millis.store(millis_since(self.0.started), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.lock().leave(self.id);
    }
}

fn millis_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_been_idle_for_the_longest_time_goes_first_and_who_works_stays() {
        let connections = Arc::new(Connections::new(PerAddress::default()));
        let entries: Vec<Entry> = (0..3).map(|_| connections.enter(None, false)).collect();
        let working = entries[0].connection.begin();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(entries[1].connection.begin());
        assert!(connections.evict_idlest(), "the third has been idle for a second");
        let evicted = || entries.iter().map(|entry| entry.connection.is_evicted()).collect::<Vec<_>>();
        assert_eq!(evicted(), [false, false, true]);
        assert!(connections.evict_idlest(), "the second is idle too");
        assert!(!connections.evict_idlest(), "the first has a request in work");
        drop(working);
        assert!(connections.evict_idlest());
        assert_eq!(evicted(), [true, true, true]);
        drop(entries);
        assert!(connections.lock().connections.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_are_evicted_only_above_their_number() {
        let connections = Arc::new(Connections::new(PerAddress::default()));
        let entries: Vec<Entry> = (0..3).map(|_| connections.enter(None, true)).collect();
        assert!(!connections.evict_slowest_handshake(4));
        assert!(connections.evict_slowest_handshake(3));
        assert!(entries[0].connection.is_evicted());
        assert!(!connections.evict_slowest_handshake(3), "one is on its way out");
        entries[1].connection.shook_hands();
        assert!(!connections.evict_slowest_handshake(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_gives_its_own_idlest_for_one_more_and_is_forgotten_with_its_last() {
        let connections = Arc::new(Connections::new(PerAddress { max: 2, with_loopback: false }));
        let source = |address: &str| connections.source(address.parse().expect("an address"));
        let (busy, other) = (source("192.0.2.1"), source("192.0.2.2"));
        let entries: Vec<Entry> = [other, busy, busy].map(|source| connections.enter(source, false)).into();
        assert_eq!(connections.make_room_of(other), Room::Free);
        assert_eq!(connections.make_room_of(source("127.0.0.1")), Room::Free);
        assert_eq!(connections.make_room_of(busy), Room::Evicted);
        let evicted = || entries.iter().map(|entry| entry.connection.is_evicted()).collect::<Vec<_>>();
        assert_eq!(evicted(), [false, true, false], "the idlest of the address, not of all");
        let third = connections.enter(busy, false);
        let (_work, _more) = (entries[2].connection.begin(), third.connection.begin());
        assert_eq!(connections.make_room_of(busy), Room::Refused, "all are at work");
        drop((entries, third));
        assert!(connections.lock().of_source.is_empty() && connections.lock().connections.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_being_closed_count_until_they_are() {
        let connections = Arc::new(Connections::new(PerAddress { max: 8, with_loopback: false }));
        let source = connections.source([192, 0, 2, 1].into());
        let mut entries = Vec::new();
        while connections.make_room_of(source) != Room::Refused {
            entries.push(connections.enter(source, false));
        }
        assert_eq!(entries.len(), 8 + 3);
        entries.remove(0);
        assert_ne!(connections.make_room_of(source), Room::Refused);
    }
}
