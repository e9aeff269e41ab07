//! Counts what there is of credentials, for metrics.

use std::time::Duration;

use prometheus_client::registry::Registry;
use trivium_model::UnixNanos;

use super::Authenticator;
use crate::store::Token;
use crate::telemetry::Census;

/// A token that is used and expires within this time is told: somebody has to replace it.
const EXPIRES_SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Who was made for less is meant to expire, and whoever uses it renews it by itself.
const LONG_LIVED: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A token that was not used for so long is missed by nobody.
const USED_OF_LATE: Duration = Duration::from_secs(24 * 60 * 60);

impl Authenticator {
    /// Makes the metrics of credentials, `trivium_auth_*`, part of what is exposed.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    pub(super) fn count(&self, now: UnixNanos) {
        let mut census = Census { locked_out: self.lockout.waiting(now), ..Census::default() };
        self.credentials.with(|index| {
            for token in index.tokens() {
                match (token.record.revoked, token.record.is_valid(now)) {
                    (Some(_), _) => census.revoked += 1,
                    (None, true) => census.valid += 1,
                    (None, false) => census.expired += 1,
                }
                census.expiring += usize::from(is_expiring(token, now));
            }
            census.sessions = index.sessions().filter(|session| self.is_live(session, now)).count();
        });
        self.metrics.census(&census);
    }
}

fn is_expiring(token: &Token, now: UnixNanos) -> bool {
    let record = &token.record;
    let Some((expires, used)) = record.expires.zip(token.last_used()) else { return false };
    record.is_valid(now)
        && expires.since(now) <= EXPIRES_SOON
        && expires.since(record.created) > LONG_LIVED
        && now.since(used) <= USED_OF_LATE
}
