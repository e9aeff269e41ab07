//! How much a tenant may send: bytes and records per second, and bytes per day.
//!
//! Token buckets that may be overdrawn: a request is let in as long as nothing is owed, and is charged for what it turns out
//! to hold. So a request is refused before its body is read, one that is larger than the bucket still gets in, and the time
//! until the debt is paid is the time to wait, exactly. All on the clock that is handed in; one that jumps back pays nothing,
//! one that jumps ahead fills the buckets at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use trivium_model::{Clock, SignalKind, TenantId, UnixNanos};

use crate::error::Error;

// The registry appends `_total` to the names of counters.
const LIMITED: &str = "trivium_ingest_limited_requests";

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;

/// A bucket that is not given a size holds as much as comes in this time.
const BURST_SECONDS: u64 = 10;

/// Waits below this are told as this long: a client that comes back within it finds next to nothing to take.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// What one tenant may send; 0 is no limit. Bytes are those of uncompressed protobuf, as they go into the WAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantLimits {
    /// Bytes per second over all signals. Default 0, no limit.
    pub bytes_per_second: u64,
    /// Bytes that may come at once after a pause. Default 0: what comes in ten seconds.
    pub bytes_burst: u64,
    /// Log records, spans and data points per second. Default 0, no limit.
    pub records_per_second: u64,
    /// Records that may come at once after a pause. Default 0: what comes in ten seconds.
    pub records_burst: u64,
    /// Bytes from midnight to midnight UTC. Counted in memory: a restart begins a new count. Default 0, no limit.
    pub bytes_per_day: u64,
}

impl TenantLimits {
    fn is_none(&self) -> bool {
        self.bytes_per_second == 0 && self.records_per_second == 0 && self.bytes_per_day == 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    tenant: u32,
    signal: &'static str,
    limit: &'static str,
}

/// A token bucket. What is in it is kept in billionths, so that no request is too small to count.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: u64,
    burst: i128,
    level: i128,
    filled_at: UnixNanos,
}

impl Bucket {
    /// A full bucket; `None` without a limit.
    fn new(per_second: u64, burst: u64, now: UnixNanos) -> Option<Self> {
        let burst = if burst == 0 { per_second.saturating_mul(BURST_SECONDS) } else { burst };
        let burst = i128::from(burst) * NANOS_PER_SECOND as i128;
        (per_second > 0).then_some(Self { per_second, burst, level: burst, filled_at: now })
    }

    fn fill(&mut self, now: UnixNanos) {
        let nanos = i128::try_from(now.since(self.filled_at).as_nanos()).unwrap_or(i128::MAX);
        self.level = nanos.saturating_mul(i128::from(self.per_second)).saturating_add(self.level).min(self.burst);
        self.filled_at = self.filled_at.max(now);
    }

    /// How long until nothing is owed; `None` when nothing is.
    fn wait(&mut self, now: UnixNanos) -> Option<Duration> {
        self.fill(now);
        // One more than nothing, so that an empty bucket has a wait too.
        let owed = u128::try_from(1_i128.saturating_sub(self.level)).ok().filter(|owed| *owed > 0)?;
        let nanos = owed.div_ceil(u128::from(self.per_second));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn take(&mut self, amount: u64) {
        self.level = self.level.saturating_sub(i128::from(amount).saturating_mul(NANOS_PER_SECOND as i128));
    }
}

/// What one tenant has used.
#[derive(Debug)]
struct Account {
    bytes: Option<Bucket>,
    records: Option<Bucket>,
    bytes_per_day: u64,
    /// The day, counted from 1970, and the bytes that came in it.
    day: (i64, u64),
}

impl Account {
    fn new(limits: &TenantLimits, now: UnixNanos) -> Self {
        Self {
            bytes: Bucket::new(limits.bytes_per_second, limits.bytes_burst, now),
            records: Bucket::new(limits.records_per_second, limits.records_burst, now),
            bytes_per_day: limits.bytes_per_day,
            day: (now.0.div_euclid(NANOS_PER_DAY), 0),
        }
    }

    /// The limit that holds a request back for longest, and for how long.
    fn wait(&mut self, now: UnixNanos) -> Option<(&'static str, Duration)> {
        self.enter_day(now);
        let day = (self.bytes_per_day > 0 && self.day.1 >= self.bytes_per_day).then(|| {
            let left = NANOS_PER_DAY - now.0.rem_euclid(NANOS_PER_DAY);
            ("bytes_per_day", Duration::from_nanos(left.unsigned_abs()))
        });
        let of = |bucket: &mut Option<Bucket>, name| Some((name, bucket.as_mut()?.wait(now)?));
        let waits = [day, of(&mut self.bytes, "bytes_per_second"), of(&mut self.records, "records_per_second")];
        waits.into_iter().flatten().max_by_key(|(_, wait)| *wait)
    }

    fn enter_day(&mut self, now: UnixNanos) {
        let day = now.0.div_euclid(NANOS_PER_DAY);
        // A clock that jumps back does not give a day twice.
        if day > self.day.0 {
            self.day = (day, 0);
        }
    }

    fn charge(&mut self, used: Usage, now: UnixNanos) {
        self.enter_day(now);
        if let Some(bucket) = &mut self.bytes {
            bucket.fill(now);
            bucket.take(used.bytes);
        }
        if let Some(bucket) = &mut self.records {
            bucket.fill(now);
            bucket.take(used.records);
        }
        if used.is_stored {
            self.day.1 = self.day.1.saturating_add(used.bytes);
        }
    }
}

/// What a request turned out to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Whether it was stored, and not known from before.
    pub(crate) is_stored: bool,
}

/// The accounts of all tenants.
#[derive(Debug)]
pub(crate) struct Quotas {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    limited: Family<LimitLabels, Counter>,
}

#[derive(Debug, Default)]
struct State {
    default: TenantLimits,
    own: HashMap<TenantId, TenantLimits>,
    accounts: HashMap<TenantId, Account>,
}

impl State {
    fn limits(&self, tenant: TenantId) -> TenantLimits {
        self.own.get(&tenant).copied().unwrap_or(self.default)
    }

    /// The account of a tenant that is limited.
    fn account(&mut self, tenant: TenantId, now: UnixNanos) -> Option<&mut Account> {
        let limits = self.limits(tenant);
        if limits.is_none() {
            return None;
        }
        Some(self.accounts.entry(tenant).or_insert_with(|| Account::new(&limits, now)))
    }
}

impl Quotas {
    pub(crate) fn new(default: TenantLimits, clock: Arc<dyn Clock>, registry: &mut Registry) -> Self {
        let limited = Family::default();
        registry.register(LIMITED, "Export requests refused because the tenant sent too much", limited.clone());
        Self { clock, state: Mutex::new(State { default, ..State::default() }), limited }
    }

    /// Gives a tenant limits of its own, or the general ones again. It begins with full buckets.
    pub(crate) fn set(&self, tenant: TenantId, limits: Option<TenantLimits>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match limits {
            Some(limits) => drop(state.own.insert(tenant, limits)),
            None => drop(state.own.remove(&tenant)),
        }
        state.accounts.remove(&tenant);
    }

    /// Lets a request of a tenant in that owes nothing. Costs a lock and no more where there are no limits.
    pub(crate) fn admit(&self, tenant: TenantId, signal: SignalKind) -> Result<(), Error> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = state.account(tenant, now).and_then(|account| account.wait(now));
        drop(state);
        let Some((limit, wait)) = wait else { return Ok(()) };
        self.limited.get_or_create(&LimitLabels { tenant: tenant.0, signal: signal.as_str(), limit }).inc();
        Err(Error::RateLimited { limit, retry_after: wait.max(WAIT_MIN) })
    }

    /// Charges a tenant for a request.
    pub(crate) fn charge(&self, tenant: TenantId, used: Usage) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = state.account(tenant, now) {
            account.charge(used, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use trivium_model::ManualClock;

    use super::*;

    const TENANT: TenantId = TenantId(7);

    fn quotas(limits: TenantLimits) -> (Quotas, Arc<ManualClock>) {
        // An hour before midnight.
        let clock = Arc::new(ManualClock::new(UnixNanos(19_000 * NANOS_PER_DAY - 3_600 * 1_000_000_000)));
        (Quotas::new(limits, Arc::clone(&clock) as Arc<dyn Clock>, &mut Registry::default()), clock)
    }

    fn used(bytes: u64, records: u64) -> Usage {
        Usage { bytes, records, is_stored: true }
    }

    /// How long a request is told to wait, and for which limit.
    fn wait(quotas: &Quotas) -> Option<(&'static str, Duration)> {
        match quotas.admit(TENANT, SignalKind::Logs) {
            Ok(()) => None,
            Err(Error::RateLimited { limit, retry_after }) => Some((limit, retry_after)),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_wait_is_true_to_the_nanosecond() {
        let (quotas, clock) =
            quotas(TenantLimits { bytes_per_second: 1_000, bytes_burst: 4_000, ..Default::default() });
        assert_eq!(wait(&quotas), None);
        quotas.charge(TENANT, used(3_999, 1));
        assert_eq!(wait(&quotas), None, "one byte is left");
        quotas.charge(TENANT, used(2_001, 1));
        let (limit, delay) = wait(&quotas).expect("2,000 bytes are owed");
        assert_eq!((limit, delay.as_millis()), ("bytes_per_second", 2_000));
        clock.advance(delay - Duration::from_nanos(1));
        assert!(wait(&quotas).is_some(), "a nanosecond too early");
        clock.advance(Duration::from_nanos(1));
        assert_eq!(wait(&quotas), None, "the time that was told is over");
    }

    #[test]
    fn over_time_no_more_comes_through_than_is_allowed() {
        let limits = TenantLimits { records_per_second: 100, records_burst: 500, ..Default::default() };
        let (quotas, clock) = quotas(limits);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..600 {
            match wait(&quotas) {
                None => {
                    quotas.charge(TENANT, used(1, 30));
                    taken += 30;
                }
                Some(("records_per_second", _)) => refused += 1,
                other => panic!("{other:?}"),
            }
            clock.advance(Duration::from_millis(100));
        }
        // A minute at 100 a second, the burst, and what one request may overdraw.
        assert!((6_450..=6_530).contains(&taken), "{taken} taken, {refused} refused");
    }

    #[test]
    fn a_day_ends_at_midnight_and_counts_what_is_stored() {
        let (quotas, clock) = quotas(TenantLimits { bytes_per_day: 1_000, ..Default::default() });
        quotas.charge(TENANT, Usage { bytes: 5_000, records: 1, is_stored: false });
        assert_eq!(wait(&quotas), None, "what was refused or known counts nothing");
        quotas.charge(TENANT, used(1_000, 1));
        assert_eq!(wait(&quotas), Some(("bytes_per_day", Duration::from_secs(3_600))));
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(wait(&quotas), None);
    }

    #[test]
    fn tenants_are_apart_and_may_have_limits_of_their_own() {
        let (quotas, _) = quotas(TenantLimits { bytes_per_second: 10, bytes_burst: 10, ..Default::default() });
        quotas.charge(TenantId(1), used(1_000, 1));
        assert!(quotas.admit(TenantId(1), SignalKind::Logs).is_err());
        assert!(quotas.admit(TENANT, SignalKind::Logs).is_ok());
        quotas.set(TenantId(1), Some(TenantLimits::default()));
        assert!(quotas.admit(TenantId(1), SignalKind::Logs).is_ok());
        quotas.set(TenantId(1), None);
        assert!(quotas.admit(TenantId(1), SignalKind::Logs).is_ok(), "a new account is full");
    }

    #[test]
    fn clocks_that_jump_and_amounts_that_are_absurd_do_no_harm() {
        let (quotas, clock) = quotas(TenantLimits {
            bytes_per_second: u64::MAX,
            records_per_second: 1,
            records_burst: u64::MAX,
            ..Default::default()
        });
        quotas.charge(TENANT, used(u64::MAX, u64::MAX));
        quotas.charge(TENANT, used(u64::MAX, u64::MAX));
        assert!(wait(&quotas).is_some());
        clock.advance(Duration::MAX);
        assert!(wait(&quotas).is_some());
        let without = Quotas::new(TenantLimits::default(), Arc::new(ManualClock::default()), &mut Registry::default());
        without.charge(TENANT, used(u64::MAX, u64::MAX));
        assert_eq!(wait(&without), None);
    }
}
