//! Slows down whoever guesses passwords, and nobody else.
//!
//! Failures are counted for the pair of name and address, and for the address over all names. Never for the name alone:
//! whoever knows a name could lock its owner out.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trivium_model::{Clock, UnixNanos};

use crate::error::Error;

/// Failures of one name from one address that cost nothing; people mistype.
const FREE_PER_NAME: u32 = 5;

/// Failures from one address over all names that cost nothing; many people may share one.
const FREE_PER_ADDRESS: u32 = 50;

/// The first pause; each further failure doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// After this time without a failure everything is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// Entries of each kind. When there are more, the one that failed least recently is forgotten.
const ENTRIES_MAX: usize = 8_192;

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: UnixNanos,
}

#[derive(Debug, Default)]
struct Counts {
    names: HashMap<(String, Source), Failures>,
    addresses: HashMap<Source, Failures>,
}

/// Where attempts come from: an IPv4 address, or the /64 of IPv6 that one customer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(Option<IpAddr>);

impl Source {
    fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            address => address,
        }))
    }
}

/// The failures of late.
#[derive(Debug, Default)]
pub(crate) struct Lockout(Mutex<Counts>);

impl Lockout {
    /// Takes an attempt, which counts as a failure until [`Lockout::succeeded`]: attempts made at once must not all be free.
    pub(crate) fn attempt(&self, name: &str, address: Option<IpAddr>, clock: &dyn Clock) -> Result<(), Error> {
        let (now, source) = (clock.now(), Source::of(address));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (name.to_owned(), source);
        let waits = [
            wait(counts.names.get(&pair), FREE_PER_NAME, now),
            wait(counts.addresses.get(&source), FREE_PER_ADDRESS, now),
        ];
        if let Some(retry_after) = waits.into_iter().flatten().max() {
            return Err(Error::Throttled { retry_after });
        }
        count(&mut counts.names, pair, now);
        count(&mut counts.addresses, source, now);
        Ok(())
    }

    /// Forgets the failures of the name at this address, and this attempt of the address.
    pub(crate) fn succeeded(&self, name: &str, address: Option<IpAddr>) {
        let source = Source::of(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.names.remove(&(name.to_owned(), source));
        give_back(&mut counts.addresses, &source);
    }

    /// How many pairs of name and address, and how many addresses, have to wait at this time.
    pub(crate) fn waiting(&self, now: UnixNanos) -> [usize; 2] {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |failures: &Failures, free| wait(Some(failures), free, now).is_some();
        [
            counts.names.values().filter(|failures| waits(failures, FREE_PER_NAME)).count(),
            counts.addresses.values().filter(|failures| waits(failures, FREE_PER_ADDRESS)).count(),
        ]
    }

    /// Takes an attempt back that was never decided.
    pub(crate) fn undecided(&self, name: &str, address: Option<IpAddr>) {
        let source = Source::of(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        give_back(&mut counts.names, &(name.to_owned(), source));
        give_back(&mut counts.addresses, &source);
    }
}

fn give_back<K: Hash + Eq>(entries: &mut HashMap<K, Failures>, key: &K) {
    if let Some(failures) = entries.get_mut(key) {
        failures.count = failures.count.saturating_sub(1);
        if failures.count == 0 {
            entries.remove(key);
        }
    }
}

/// How long it is until the next attempt.
fn wait(failures: Option<&Failures>, free: u32, now: UnixNanos) -> Option<Duration> {
    let failures = failures?;
    let since = now.since(failures.last);
    if failures.count < free || since >= FORGET_AFTER {
        return None;
    }
    let doublings = (failures.count - free).min(20);
    let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
    pause.checked_sub(since).filter(|left| !left.is_zero())
}

fn count<K: Hash + Eq + Clone>(entries: &mut HashMap<K, Failures>, key: K, now: UnixNanos) {
    if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
        entries.retain(|_, failures| now.since(failures.last) < FORGET_AFTER);
    }
    if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
        // Of those with the fewest failures the oldest: a flood of new names must not make us forget a stubborn guesser.
        let least = entries.iter().min_by_key(|(_, failures)| (failures.count, failures.last));
        if let Some(least) = least.map(|(key, _)| key.clone()) {
            entries.remove(&least);
        }
    }
    let failures = entries.entry(key).or_insert(Failures { count: 0, last: now });
    if now.since(failures.last) >= FORGET_AFTER {
        failures.count = 0;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last = now;
}

#[cfg(test)]
mod tests {
    use trivium_model::ManualClock;

    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn wait_of(result: Result<(), Error>) -> Duration {
        result.err().and_then(|error| error.retry_after()).unwrap_or_default()
    }

    #[test]
    fn guesses_become_slower_and_the_owner_elsewhere_notices_nothing() {
        let (lockout, clock) = (Lockout::default(), ManualClock::default());
        let attacker = address("203.0.113.5");
        let mut tried = 0;
        for _ in 0..1_000 {
            match lockout.attempt("alice", attacker, &clock) {
                Ok(()) => tried += 1,
                Err(error) => assert!(matches!(error, Error::Throttled { .. }), "{error:?}"),
            }
            clock.advance(Duration::from_secs(1));
        }
        assert!(tried < 16, "{tried} guesses in 1000 s");
        assert_eq!(lockout.attempt("alice", address("198.51.100.1"), &clock), Ok(()));
        assert_eq!(lockout.attempt("bob", attacker, &clock), Ok(()), "others behind the same address");
    }

    #[test]
    fn a_success_and_an_hour_are_forgiven() {
        let (lockout, clock) = (Lockout::default(), ManualClock::default());
        let home = address("192.0.2.1");
        for _ in 0..FREE_PER_NAME {
            assert_eq!(lockout.attempt("alice", home, &clock), Ok(()));
        }
        assert_eq!(wait_of(lockout.attempt("alice", home, &clock)), PAUSE_MIN);
        clock.advance(PAUSE_MIN);
        assert_eq!(lockout.attempt("alice", home, &clock), Ok(()));
        lockout.succeeded("alice", home);
        for _ in 0..FREE_PER_NAME {
            assert_eq!(lockout.attempt("alice", home, &clock), Ok(()), "counted from zero again");
        }
        clock.advance(FORGET_AFTER);
        assert_eq!(lockout.attempt("alice", home, &clock), Ok(()));
    }

    #[test]
    fn one_address_cannot_go_through_all_names_nor_through_its_own_network() {
        let (lockout, clock) = (Lockout::default(), ManualClock::default());
        let tried = (0..200_u16)
            .filter(|number| {
                let from = address(&format!("2001:db8:1:2::{number:x}"));
                lockout.attempt(&format!("name {number}"), from, &clock).is_ok()
            })
            .count();
        assert_eq!(tried, FREE_PER_ADDRESS as usize);
        assert_eq!(lockout.attempt("name 1", address("2001:db8:1:3::1"), &clock), Ok(()), "another network");
    }

    #[test]
    fn memory_is_bounded_and_a_flood_does_not_free_who_was_slowed_down() {
        let (lockout, clock) = (Lockout::default(), ManualClock::default());
        let attacker = address("203.0.113.5");
        for _ in 0..=FREE_PER_NAME {
            lockout.attempt("alice", attacker, &clock).ok();
        }
        for number in 0..9_000_u32 {
            let from = Some(IpAddr::from(number.to_be_bytes()));
            assert_eq!(lockout.attempt("mallory", from, &clock), Ok(()), "{number}");
        }
        assert!(lockout.attempt("alice", attacker, &clock).is_err());
        let counts = lockout.0.lock().expect("no test panicked");
        assert!(counts.names.len() <= ENTRIES_MAX && counts.addresses.len() <= ENTRIES_MAX);
    }

    #[test]
    fn what_was_not_decided_is_no_failure() {
        let (lockout, clock) = (Lockout::default(), ManualClock::default());
        for _ in 0..1_000 {
            assert_eq!(lockout.attempt("alice", None, &clock), Ok(()));
            lockout.undecided("alice", None);
        }
    }
}
