//! Decides which requests may enter: a budget of bytes in flight, the retention bound, and the switch for shutting down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
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

/// The gate that every request passes. Never waits: what does not fit now is refused as retryable.
#[derive(Debug)]
pub(crate) struct Admission {
    retention: Retention,
    in_flight_bytes_max: usize,
    in_flight_bytes: AtomicUsize,
    in_flight_gauge: Gauge,
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
            draining: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
        }
    }

    /// What a body of so many bytes takes of the budget. Of a large one not more than half of it, lest it never get in beside
    /// small ones.
    pub(crate) fn memory_of(&self, bytes: usize) -> usize {
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

    /// From now on no request is let in; those inside end as usual.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
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
                admission.in_flight_gauge.inc_by(gauge_bytes(more));
                self.held_bytes = bytes;
                Ok(())
            }
            Err(_) => Err(Error::Overloaded {
                in_flight_bytes_max: admission.in_flight_bytes_max,
                retry_after: admission.retry_after(),
            }),
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
            self.admission.in_flight_gauge.inc_by(gauge_bytes(more));
            self.held_bytes = bytes;
        }
        self.shrink_to(bytes);
    }

    /// Gives back what is held above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let Some(less) = self.held_bytes.checked_sub(bytes) else { return };
        self.admission.in_flight_bytes.fetch_sub(less, Ordering::AcqRel);
        self.admission.in_flight_gauge.dec_by(gauge_bytes(less));
        self.held_bytes = bytes;
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
        let mut small = admission.begin(admission.memory_of(20)).expect("room");
        assert_eq!(admission.in_flight_bytes(), 100);
        small.settle(170);
        let mut large = admission.begin(admission.memory_of(300)).expect("half of the budget is enough to get in");
        assert_eq!(admission.in_flight_bytes(), 670);
        large.settle(1_500);
        assert!(admission.begin(1).is_err(), "what is in use is not seen");
        large.settle(300);
        assert_eq!((admission.in_flight_bytes(), admission.in_flight_gauge.get()), (470, 470));
        drop((small, large));
        assert_eq!((admission.in_flight_bytes(), admission.in_flight_gauge.get()), (0, 0));
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
