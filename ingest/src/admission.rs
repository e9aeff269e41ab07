//! Decides which requests may enter: a budget of bytes in flight, the retention bound, and the switch for shutting down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Mutex, Notify, Semaphore};
use trivium_model::{SignalKind, UnixNanos};

use crate::config::{IngestConfig, Retention};
use crate::error::Error;

/// Shortest and longest time after which a refused client is asked to come back, in milliseconds. The spread keeps a fleet
/// that was refused together from coming back together.
const RETRY_MILLIS: std::ops::Range<u64> = 1_000..3_000;

/// Memory that a request takes for each of its bytes until it is stored: the bytes, and its rows as columns, which are several times
/// as large. A guess, with which a request is let in before it is read; what it takes is known when it is decoded. In 512 MiB,
/// 2,000 clients that were counted by their bytes alone took all of it.
const MEMORY_OF_BYTE: usize = 5;

/// What a request that waits in line for room holds meanwhile: a buffer of its connection, in which its body begins. A line may hold
/// as much as the budget; none of it is counted there. Nor is what a refusal holds that is kept back.
const WAITING_BYTES: usize = 16 * 1024;

/// Places in line at least. There is always one to let in when another ends: refusing all leaves the server idle until one of the
/// refused comes back.
const PLACES_MIN: usize = 64;

/// How long one waits at most. With the time that storing takes it stays within the second of an acknowledgement in an overload. A
/// client that is refused after it has cost a server that is at its limit half of what one does that is refused at once: it comes
/// back so much later.
const LINE_WAIT: Duration = Duration::from_millis(300);

/// How long a refusal for overload is kept back. Clients that come back sooner than they are asked to cost a server that has no time
/// left a tenth of a millisecond each, as much as thirty records; until it has its answer a client does not come back. With the
/// line it is told within a second.
const KEPT_BACK: Duration = Duration::from_millis(700);

/// The gate that every request passes. What does not fit soon is refused as retryable.
#[derive(Debug)]
pub(crate) struct Admission {
    retention: Retention,
    in_flight_bytes_max: usize,
    in_flight_bytes: AtomicUsize,
    in_flight_gauge: Gauge,
    /// Places in the line, and its head: who holds the lock is let in next, and others behind it in the order of their coming.
    places: Semaphore,
    head: Mutex<()>,
    /// Refusals that may be kept back at once; others are told at once.
    kept_back: Semaphore,
    /// Told when room was made, or when nobody is let in any more.
    changed: Notify,
    draining: AtomicBool,
    refusals: AtomicU64,
}

impl Admission {
    pub(crate) fn new(config: &IngestConfig, in_flight_gauge: Gauge) -> Self {
        Self {
            retention: config.retention,
            in_flight_bytes_max: config.in_flight_bytes_max,
            in_flight_bytes: AtomicUsize::new(0),
            in_flight_gauge,
            places: Semaphore::new(places(config.in_flight_bytes_max)),
            head: Mutex::new(()),
            kept_back: Semaphore::new(places(config.in_flight_bytes_max)),
            changed: Notify::new(),
            draining: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
        }
    }

    /// What a body of so many bytes takes of the budget. Of a large one not more than half of it, lest it never get in beside
    /// small ones.
    fn memory_of(&self, bytes: usize) -> usize {
        bytes.saturating_mul(MEMORY_OF_BYTE).min(self.in_flight_bytes_max / 2).max(bytes)
    }

    /// Begins a request of which `bytes` are known to be needed. Fails when the server is stopping or the budget is used up.
    pub(crate) fn begin(self: &Arc<Self>, bytes: usize) -> Result<Reservation, Error> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Error::Draining { retry_after: self.retry_after() });
        }
        let mut reservation = Reservation { admission: Arc::clone(self), held_bytes: 0 };
        reservation.hold(bytes)?;
        Ok(reservation)
    }

    /// Begins a request whose body has so many bytes, as far as is known; see [`Reservation::enter`].
    pub(crate) async fn enter(self: &Arc<Self>, body_bytes: usize) -> Result<Reservation, Error> {
        let mut reservation = self.begin(0)?;
        reservation.enter(body_bytes).await?;
        Ok(reservation)
    }

    fn overloaded(&self) -> Error {
        Error::Overloaded { in_flight_bytes_max: self.in_flight_bytes_max, retry_after: self.retry_after() }
    }

    /// Waits before a refusal for overload is told, see [`KEPT_BACK`]; with any other error it returns at once. What the request holds
    /// is to be given back before.
    pub(crate) async fn keep_back(&self, error: &Error) {
        if !matches!(error, Error::Overloaded { .. }) || self.draining.load(Ordering::Acquire) {
            return;
        }
        if let Ok(_place) = self.kept_back.try_acquire() {
            tokio::time::sleep(KEPT_BACK).await;
        }
    }

    /// From now on no request is let in; those inside end as usual.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// The earliest record time that is taken at `now`.
    pub(crate) fn oldest_admitted(&self, signal: SignalKind, now: UnixNanos) -> UnixNanos {
        self.retention.of(signal).map_or(UnixNanos::MIN, |kept| now.before(kept))
    }

    /// When a refused client should come back: spread over [`RETRY_MILLIS`] by a hash of how many were refused before.
    pub(crate) fn retry_after(&self) -> Duration {
        let refusal = self.refusals.fetch_add(1, Ordering::Relaxed);
        // Fibonacci hashing: consecutive counts land far apart, and every test sees the same sequence.
        let spread = refusal.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Duration::from_millis(RETRY_MILLIS.start + spread % (RETRY_MILLIS.end - RETRY_MILLIS.start))
    }

    #[cfg(test)]
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.load(Ordering::Acquire)
    }
}

fn places(in_flight_bytes_max: usize) -> usize {
    (in_flight_bytes_max / WAITING_BYTES).clamp(PLACES_MIN, Semaphore::MAX_PERMITS)
}

/// The bytes that one request holds of the budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    admission: Arc<Admission>,
    held_bytes: usize,
}

impl Reservation {
    /// Makes the reservation hold at least `bytes`. On failure it holds what it held.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        let Some(more) = bytes.checked_sub(self.held_bytes).filter(|more| *more > 0) else { return Ok(()) };
        let admission = &self.admission;
        let fits = |used: usize| {
            let wanted = used.checked_add(more)?;
            // A request that is alone always gets in: a budget below its size would refuse it for ever.
            (wanted <= admission.in_flight_bytes_max || used == self.held_bytes).then_some(wanted)
        };
        match admission.in_flight_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => {
                self.has_grown_to(bytes);
                Ok(())
            }
            Err(_) => Err(admission.overloaded()),
        }
    }

    /// As [`Self::hold_for`], after up to [`LINE_WAIT`] in line when there is no room or others wait already.
    pub(crate) async fn enter(&mut self, body_bytes: usize) -> Result<(), Error> {
        let admission = Arc::clone(&self.admission);
        let wanted = admission.memory_of(body_bytes);
        if wanted <= self.held_bytes {
            return Ok(());
        }
        if let Ok(_head) = admission.head.try_lock()
            && self.hold(wanted).is_ok()
        {
            return Ok(());
        }
        let Ok(_place) = admission.places.try_acquire() else { return Err(admission.overloaded()) };
        let waiting = tokio::time::timeout(LINE_WAIT, self.wait_in_line(&admission, wanted));
        waiting.await.unwrap_or_else(|_| Err(admission.overloaded()))
    }

    async fn wait_in_line(&mut self, admission: &Admission, wanted: usize) -> Result<(), Error> {
        let _head = admission.head.lock().await;
        loop {
            // What is given back from here on is told.
            let changed = admission.changed.notified();
            if admission.draining.load(Ordering::Acquire) {
                return Err(Error::Draining { retry_after: admission.retry_after() });
            }
            if self.hold(wanted).is_ok() {
                return Ok(());
            }
            changed.await;
        }
    }

    /// Makes the reservation hold what a body of so many bytes takes until it is stored.
    pub(crate) fn hold_for(&mut self, bytes: usize) -> Result<(), Error> {
        self.hold(self.admission.memory_of(bytes))
    }

    /// Makes the reservation hold exactly `bytes`, which are in use already: above the budget too, and then others are refused.
    pub(crate) fn settle(&mut self, bytes: usize) {
        if let Some(more) = bytes.checked_sub(self.held_bytes) {
            self.admission.in_flight_bytes.fetch_add(more, Ordering::AcqRel);
            self.has_grown_to(bytes);
        }
        self.shrink_to(bytes);
    }

    /// Notes what the budget has been charged for.
    fn has_grown_to(&mut self, bytes: usize) {
        self.admission.in_flight_gauge.inc_by(gauge_bytes(bytes - self.held_bytes));
        self.held_bytes = bytes;
    }

    /// Gives back what is held above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let Some(less) = self.held_bytes.checked_sub(bytes).filter(|less| *less > 0) else { return };
        self.admission.in_flight_bytes.fetch_sub(less, Ordering::AcqRel);
        self.admission.in_flight_gauge.dec_by(gauge_bytes(less));
        self.held_bytes = bytes;
        self.admission.changed.notify_one();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

fn gauge_bytes(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::FutureExt;

    use super::*;

    fn admission(in_flight_bytes_max: usize) -> Arc<Admission> {
        let retention = Some(Duration::from_secs(60));
        Arc::new(Admission::new(&IngestConfig::new(retention, in_flight_bytes_max), Gauge::default()))
    }

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let admission = admission(100);
        let mut first = admission.begin(60).expect("room for the first");
        let second = admission.begin(40).expect("room for the second");
        assert!(matches!(admission.begin(1), Err(Error::Overloaded { .. })), "one byte over the budget was let in");
        assert!(first.hold(61).is_err(), "a running request grew over the budget");
        drop(second);
        first.hold(100).expect("the second gave its bytes back");
        first.shrink_to(10);
        assert_eq!(admission.in_flight_bytes(), 10);
        drop(first);
        assert_eq!(admission.in_flight_bytes(), 0);
        assert_eq!(admission.in_flight_gauge.get(), 0);
    }

    #[test]
    fn a_request_that_is_alone_always_gets_in() {
        let admission = admission(10);
        let mut only = admission.begin(8).expect("within the budget");
        only.hold(50).expect("alone");
        assert!(admission.begin(1).is_err(), "a second one was let in above the budget");
    }

    #[test]
    fn a_request_holds_what_its_rows_will_take_and_then_what_they_took() {
        let admission = admission(1_000);
        let mut small = admission.begin(0).expect("room");
        small.hold_for(20).expect("room");
        assert_eq!(admission.in_flight_bytes(), 100);
        small.settle(170);
        let mut large = admission.begin(0).expect("room");
        large.hold_for(300).expect("half of the budget is enough to get in");
        assert_eq!(admission.in_flight_bytes(), 670);
        large.settle(1_500);
        assert!(admission.begin(1).is_err(), "what is in use is not seen");
        large.settle(300);
        assert_eq!((admission.in_flight_bytes(), admission.in_flight_gauge.get()), (470, 470));
        drop((small, large));
        assert_eq!((admission.in_flight_bytes(), admission.in_flight_gauge.get()), (0, 0));
    }

    #[tokio::test]
    async fn requests_wait_in_the_order_of_their_coming_and_few_of_them() {
        let admission = admission(100);
        let inside = admission.begin(90).expect("room");
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..PLACES_MIN)
            .map(|number| {
                let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
                tokio::spawn(async move {
                    // Large and small ones: 50 bytes and 5 of memory.
                    let reservation = admission.enter(if number % 2 == 0 { 10 } else { 1 }).await.expect("let in");
                    order.lock().expect("a list").push(number);
                    drop(reservation);
                })
            })
            .collect();
        while admission.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*order.lock().expect("a list"), [0_usize; 0], "a small one that came later passed a large one");
        assert!(matches!(admission.enter(1).await, Err(Error::Overloaded { .. })), "the line has no end");
        drop(inside);
        for one in waiting {
            one.await.expect("it ends");
        }
        assert_eq!(*order.lock().expect("a list"), (0..PLACES_MIN).collect::<Vec<_>>());
        assert_eq!((admission.in_flight_bytes(), admission.places.available_permits()), (0, PLACES_MIN));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_to_come_back_and_leaves_the_line() {
        let admission = admission(100);
        let _inside = admission.begin(90).expect("room");
        let refused = [admission.enter(10).await, admission.enter(10).await];
        for answer in refused {
            assert!(matches!(answer, Err(Error::Overloaded { .. })), "{answer:?}");
        }
        let gone = Arc::clone(&admission);
        let gone = tokio::spawn(async move { drop(gone.enter(10).await) });
        while admission.places.available_permits() == PLACES_MIN {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.expect_err("its client went away").is_cancelled());
        admission.enter(2).await.expect("nobody is before it");
    }

    #[tokio::test]
    async fn a_refusal_for_overload_is_kept_back_and_only_that() {
        let admission = admission(100);
        let overloaded = admission.overloaded();
        let at_once = |error: &Error| admission.keep_back(error).now_or_never().is_some();
        assert!(!at_once(&overloaded));
        assert!(at_once(&Error::TooLarge), "a client that is told its mistake need not wait");
        let begun = Instant::now();
        admission.keep_back(&overloaded).await;
        assert!(begun.elapsed() >= KEPT_BACK);
        let others: Vec<_> = (0..PLACES_MIN).map(|_| admission.kept_back.try_acquire().expect("a place")).collect();
        assert!(at_once(&overloaded), "so many are kept back and no more");
        drop(others);
        admission.drain();
        assert!(at_once(&overloaded), "a server that ends keeps nobody");
    }

    #[tokio::test]
    async fn draining_refuses_who_waits() {
        let admission = admission(100);
        let _inside = admission.begin(90).expect("room");
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let admission = Arc::clone(&admission);
                tokio::spawn(async move { admission.enter(10).await })
            })
            .collect();
        while admission.places.available_permits() > PLACES_MIN - 3 {
            tokio::task::yield_now().await;
        }
        admission.drain();
        for one in waiting {
            assert!(matches!(one.await.expect("it ends"), Err(Error::Draining { .. })));
        }
    }

    #[test]
    fn the_line_holds_no_more_than_the_budget() {
        assert_eq!(
            [0, 1 << 20, 256 << 20, usize::MAX].map(places),
            [64, 64, 16_384, Semaphore::MAX_PERMITS.min(usize::MAX >> 14)]
        );
    }

    #[test]
    fn draining_refuses_new_requests_only() {
        let admission = admission(100);
        let mut running = admission.begin(10).expect("before draining");
        admission.drain();
        assert!(matches!(admission.begin(0), Err(Error::Draining { .. })));
        running.hold(20).expect("a running request goes on");
    }

    #[test]
    fn refused_clients_come_back_spread_over_two_seconds() {
        let admission = admission(1);
        let delays: Vec<u64> =
            (0..64).map(|_| u64::try_from(admission.retry_after().as_millis()).expect("milliseconds")).collect();
        assert!(delays.iter().all(|delay| RETRY_MILLIS.contains(delay)), "{delays:?}");
        for quarter in 0..4 {
            let range = 1_000 + quarter * 500..1_500 + quarter * 500;
            assert!(delays.iter().any(|delay| range.contains(delay)), "none in {range:?}: {delays:?}");
        }
    }

    #[test]
    fn the_retention_bounds_what_is_taken() {
        let now = UnixNanos(100_000_000_000);
        assert_eq!(admission(1).oldest_admitted(SignalKind::Logs, now), UnixNanos(40_000_000_000));
        let forever = Admission::new(&IngestConfig::new(None, 1), Gauge::default());
        assert_eq!(forever.oldest_admitted(SignalKind::Traces, now), UnixNanos::MIN);
    }
}
