//! The contract of [`StateStore`] as tests, run on the catalog and on the store in memory.

use std::sync::Arc;
use std::time::Duration;

use trivium_model::{
    HistoryEvent, MemoryStateStore, StateChange, StateError, StateRecord, StateStore, TenantId, TimeRange, UnixNanos,
};

use super::SqliteCatalog;

const TENANT: TenantId = TenantId::DEFAULT;
const TTL: Duration = Duration::from_nanos(10);

/// Runs a case on every implementation.
macro_rules! state_tests {
    ($($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let folder = tempfile::tempdir().expect("a folder for the test");
                let catalog = SqliteCatalog::open(folder.path()).await.expect("the catalog opens");
                let stores: [Arc<dyn StateStore>; 2] = [Arc::new(catalog), Arc::new(MemoryStateStore::default())];
                for store in stores {
                    cases::$case(&*store).await;
                }
            }
        )*
    };
}

state_tests! {
    records_are_replaced_listed_and_forgotten
    prefixes_are_no_patterns
    tenants_do_not_see_each_other
    history_is_kept_once_and_read_newest_first
    a_lease_has_one_holder_and_fences_the_last
    a_refused_transaction_changes_nothing
}

#[tokio::test]
async fn state_survives_another_opening() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let catalog = SqliteCatalog::open(folder.path()).await.expect("the catalog opens");
    catalog.apply(TENANT, None, vec![put("a", "k", "v"), event("e", 5, "{}")]).await.expect("it is written");
    let lease = catalog.lease("rules", "one", UnixNanos(0), TTL).await.expect("it answers").expect("it is free");
    let again = SqliteCatalog::open(folder.path()).await.expect("the catalog opens again");
    assert_eq!(again.list(TENANT, "a", "").await.expect("it is read"), [record("k", "v")]);
    assert_eq!(again.history(TENANT, "alert", TimeRange::ALL, 9).await.expect("it is read").len(), 1);
    assert_eq!(again.lease("rules", "two", UnixNanos(9), TTL).await.expect("it answers"), None);
    again.apply(TENANT, Some(lease), vec![put("a", "k", "w")]).await.expect("the lease still holds");
}

#[tokio::test]
async fn a_record_of_any_size_is_refused_or_kept() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let catalog = SqliteCatalog::open(folder.path()).await.expect("the catalog opens");
    let at_most = "x".repeat(1024 * 1024);
    catalog.apply(TENANT, None, vec![put("a", "k", &at_most)]).await.expect("it is written");
    let error = catalog.apply(TENANT, None, vec![put("a", "j", "v"), put("a", "k", &format!("{at_most}x"))]).await;
    assert!(matches!(error, Err(StateError::Store { .. })), "{error:?}");
    assert_eq!(catalog.list(TENANT, "a", "j").await.expect("it is read"), []);
}

fn put(kind: &str, key: &str, value: &str) -> StateChange {
    StateChange::Put { kind: kind.into(), key: key.into(), value: value.into() }
}

fn delete(kind: &str, key: &str) -> StateChange {
    StateChange::Delete { kind: kind.into(), key: key.into() }
}

fn event(id: &str, at: i64, value: &str) -> StateChange {
    StateChange::Append(HistoryEvent { kind: "alert".into(), at: UnixNanos(at), id: id.into(), value: value.into() })
}

fn record(key: &str, value: &str) -> StateRecord {
    StateRecord { key: key.into(), value: value.into() }
}

mod cases {
    use super::*;

    pub(super) async fn records_are_replaced_listed_and_forgotten(store: &dyn StateStore) {
        let changes = vec![put("a", "2", "two"), put("a", "1", "one"), put("b", "1", "other"), put("a", "2", "zwei")];
        store.apply(TENANT, None, changes).await.expect("it is written");
        assert_eq!(store.list(TENANT, "a", "").await.expect("it is read"), [record("1", "one"), record("2", "zwei")]);
        store.apply(TENANT, None, vec![delete("a", "1"), delete("a", "none")]).await.expect("it is written");
        assert_eq!(store.list(TENANT, "a", "").await.expect("it is read"), [record("2", "zwei")]);
    }

    pub(super) async fn prefixes_are_no_patterns(store: &dyn StateStore) {
        let keys = ["a_/1", "ab/1", "a%/1", "a", "é/1", "é/2"];
        let changes = keys.iter().map(|key| put("k", key, "")).collect();
        store.apply(TENANT, None, changes).await.expect("it is written");
        for (prefix, expected) in [("a_", 1), ("a%", 1), ("a", 4), ("é/", 2), ("z", 0)] {
            assert_eq!(store.list(TENANT, "k", prefix).await.expect("it is read").len(), expected, "{prefix}");
        }
    }

    pub(super) async fn tenants_do_not_see_each_other(store: &dyn StateStore) {
        store.apply(TENANT, None, vec![put("a", "k", "v"), event("e", 1, "{}")]).await.expect("it is written");
        let other = TenantId(7);
        assert_eq!(store.list(other, "a", "").await.expect("it is read"), []);
        assert_eq!(store.history(other, "alert", TimeRange::ALL, 9).await.expect("it is read"), []);
        store.apply(other, None, vec![delete("a", "k")]).await.expect("it is written");
        assert_eq!(store.list(TENANT, "a", "").await.expect("it is read").len(), 1);
    }

    pub(super) async fn history_is_kept_once_and_read_newest_first(store: &dyn StateStore) {
        let changes = vec![event("x", 1, "first"), event("y", 3, ""), event("x", 9, "again"), event("z", 2, "")];
        store.apply(TENANT, None, changes).await.expect("it is written");
        let read = async |range, limit| {
            let events = store.history(TENANT, "alert", range, limit).await.expect("it is read");
            events.into_iter().map(|event| (event.id, event.value)).collect::<Vec<_>>()
        };
        let pair = |id: &str, value: &str| (id.to_owned(), value.to_owned());
        assert_eq!(read(TimeRange::ALL, 9).await, [pair("y", ""), pair("z", ""), pair("x", "first")]);
        assert_eq!(read(TimeRange::ALL, 1).await, [pair("y", "")]);
        let range = TimeRange { start: UnixNanos(1), end: UnixNanos(3) };
        assert_eq!(read(range, 9).await, [pair("z", ""), pair("x", "first")]);
    }

    pub(super) async fn a_lease_has_one_holder_and_fences_the_last(store: &dyn StateStore) {
        let take = async |holder, now| store.lease("rules", holder, UnixNanos(now), TTL).await.expect("it answers");
        let first = take("one", 0).await.expect("it is free");
        assert_eq!(take("two", 9).await, None);
        assert_eq!(take("one", 9).await.expect("its holder prolongs it").epoch, first.epoch);
        assert_eq!(take("two", 18).await, None, "prolonged until 19");
        let second = take("two", 19).await.expect("it has expired");
        assert!(second.epoch > first.epoch);
        let refused = store.apply(TENANT, Some(first), vec![put("a", "k", "late")]).await;
        assert_eq!(refused, Err(StateError::Fenced { name: "rules".into() }));
        store.apply(TENANT, Some(second), vec![put("a", "k", "v")]).await.expect("the holder writes");
        assert_eq!(store.list(TENANT, "a", "").await.expect("it is read"), [record("k", "v")]);
        assert!(store.lease("notify", "one", UnixNanos(20), TTL).await.expect("it answers").is_some());
    }

    pub(super) async fn a_refused_transaction_changes_nothing(store: &dyn StateStore) {
        let never_held = trivium_model::Lease { name: "slo".into(), epoch: 1 };
        let refused = store.apply(TENANT, Some(never_held), vec![put("a", "k", "v"), event("e", 1, "")]).await;
        assert!(matches!(refused, Err(StateError::Fenced { .. })), "{refused:?}");
        assert_eq!(store.list(TENANT, "a", "").await.expect("it is read"), []);
        assert_eq!(store.history(TENANT, "alert", TimeRange::ALL, 9).await.expect("it is read"), []);
    }
}
