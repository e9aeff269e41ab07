//! What happened to alerts, out of the history that rules write.

use std::collections::BTreeMap;

use serde::Deserialize;
use trivium_alert::Interval;
use trivium_model::{StateStore, TenantId, TimeRange, UnixNanos};

use crate::error::Error;

/// Events that are looked at.
const EVENTS_MAX: u32 = 100_000;

const NANOS_PER_MILLI: i64 = 1_000_000;

#[derive(Deserialize)]
struct Event {
    transition: String,
    rule: String,
    #[serde(default)]
    fingerprint: String,
}

/// When alerts fired between two times, by the names of their rules, in milliseconds.
pub(super) async fn firings(
    store: &dyn StateStore,
    tenant: TenantId,
    start: UnixNanos,
    end: UnixNanos,
) -> Result<BTreeMap<String, Vec<Interval>>, Error> {
    let events = store.history(tenant, "alert", TimeRange { start, end }, EVENTS_MAX).await;
    let mut events = events.map_err(|error| Error::Internal(format!("cannot read the history of alerts: {error}")))?;
    events.reverse();
    let millis = |time: UnixNanos| time.0.div_euclid(NANOS_PER_MILLI);
    let mut open = BTreeMap::new();
    let mut firings: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
    for event in events {
        let Ok(told) = serde_json::from_str::<Event>(&event.value) else { continue };
        let key = (told.rule, told.fingerprint);
        match told.transition.as_str() {
            "firing" => {
                open.entry(key).or_insert(millis(event.at));
            }
            "resolved" => {
                // What fired before the range began has no beginning in it.
                let since = open.remove(&key).unwrap_or_else(|| millis(start));
                firings.entry(key.0).or_default().push((since, millis(event.at)));
            }
            _ => {}
        }
    }
    for ((rule, _), since) in open {
        firings.entry(rule).or_default().push((since, millis(end)));
    }
    Ok(firings)
}

#[cfg(test)]
mod tests {
    use trivium_model::{HistoryEvent, MemoryStateStore, StateChange};

    use super::*;

    #[tokio::test]
    async fn a_firing_lasts_from_its_beginning_to_its_end() {
        let store = MemoryStateStore::default();
        let event = |second: i64, rule: &str, transition: &str, fingerprint: &str| {
            let value = serde_json::json!({"transition": transition, "rule": rule, "fingerprint": fingerprint});
            StateChange::Append(HistoryEvent {
                kind: "alert".into(),
                at: UnixNanos(second * 1_000_000_000),
                id: format!("{second}{rule}{fingerprint}"),
                value: value.to_string(),
            })
        };
        let changes = vec![
            event(5, "Old", "resolved", "1"),
            event(10, "Slow", "pending", "1"),
            event(20, "Slow", "firing", "1"),
            event(25, "Slow", "firing", "2"),
            event(30, "Slow", "resolved", "1"),
        ];
        store.apply(TenantId::DEFAULT, None, changes).await.expect("it is written");
        let firings =
            firings(&store, TenantId::DEFAULT, UnixNanos(0), UnixNanos(40_000_000_000)).await.expect("it is read");
        assert_eq!(firings["Slow"], [(20_000, 30_000), (25_000, 40_000)]);
        assert_eq!(firings["Old"], [(0, 5_000)]);
    }
}
