//! Where connections come from: what counts as one address, and how many connections it may hold.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Connections of one address, unless told otherwise: a quarter of what a listener holds. A gateway of collectors, or an office
/// behind one address, needs tens to hundreds; and what is above loses its idlest connection, not its requests.
pub(crate) const PER_ADDRESS: usize = 1_024;

/// Between two warnings about addresses above their number.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// One address as the limit counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

/// How many connections one address may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerAddress {
    /// Connections; 0 for any number.
    pub max: usize,
    /// Whether that holds for loopback too. A proxy or a collector on the same machine stands for everybody behind it, and who
    /// runs programs here has other ways to take our connections.
    pub with_loopback: bool,
}

impl Default for PerAddress {
    fn default() -> Self {
        Self { max: PER_ADDRESS, with_loopback: false }
    }
}

impl PerAddress {
    /// What an address counts as; `None` when it is not limited.
    pub(crate) fn source(&self, address: IpAddr) -> Option<Source> {
        let source = Source::of(address);
        let is_exempt = self.max == 0 || (!self.with_loopback && source.0.is_loopback());
        (!is_exempt).then_some(source)
    }

    /// Connections above the number that may be open while others of the address are being closed.
    pub(crate) fn slack(&self) -> usize {
        self.max / 4 + 1
    }
}

impl Source {
    /// An IPv4 address, however it is written; of an IPv6 address the first 64 bits, of which one host has all the rest.
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                Self(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)))
            }
            address => Self(address),
        }
    }
}

/// Lets a warning through now and then, with how many there would have been.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// The events since the last time that it was told, when it is time to tell again.
    pub(crate) fn tell(&self) -> Option<u64> {
        let (told, events) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *events += 1;
        let is_due = told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL);
        is_due.then(|| {
            *told = Some(Instant::now());
            std::mem::take(events)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Option<Source> {
        PerAddress::default().source(address.parse().expect("an address"))
    }

    #[test]
    fn one_host_is_one_source() {
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"), "the same address in the form of IPv6");
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:ffff:ffff:ffff"), "one /64");
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("2001:db8:1:2::1"), Some(Source("2001:db8:1:2::".parse().expect("an address"))));
    }

    #[test]
    fn loopback_is_limited_only_when_told_and_zero_limits_nobody() {
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(source(address), None, "{address}");
            let with_loopback = PerAddress { with_loopback: true, ..PerAddress::default() };
            assert!(with_loopback.source(address.parse().expect("an address")).is_some(), "{address}");
        }
        // Not loopback, but the first 64 bits are the same.
        assert!(source("::2").is_some());
        let none = PerAddress { max: 0, with_loopback: true };
        assert_eq!(none.source("192.0.2.1".parse().expect("an address")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_once_a_minute_with_its_number() {
        let seldom = Seldom::default();
        assert_eq!(seldom.tell(), Some(1));
        for _ in 0..1_000 {
            assert_eq!(seldom.tell(), None);
        }
        tokio::time::advance(TELL_INTERVAL).await;
        assert_eq!(seldom.tell(), Some(1_001));
        assert_eq!(seldom.tell(), None);
    }
}
