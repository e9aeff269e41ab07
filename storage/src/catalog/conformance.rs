//! The contract of [`Catalog`] as tests. An implementation gives a [`Fixture`] and calls [`conformance_tests!`].

use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use trivium_model::{ErrorKind, PartId, RequestKey, SignalKind, TenantId, UnixNanos, WalPosition};

use super::{Catalog, CatalogState, Publish, REJECTION_DAYS_MAX};
use crate::encryption::{KeyId, TenantKey};
use crate::error::Error;
use crate::part::{PartFile, PartRecord};
use crate::storage::Rejection;

/// An empty catalog that can be opened again and again.
pub(super) trait Fixture: Send + Sync {
    /// Opens what the previous opening left behind, which may still be open.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Catalog>>;
}

/// Runs every case of the suite on a fresh fixture each.
macro_rules! conformance_tests {
    ($fixture:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::catalog::conformance::$case(&$fixture).await;
            }
        )*
    };
    ($fixture:expr) => {
        conformance_tests!($fixture;
            a_new_catalog_is_empty
            a_publish_is_found_again_by_another_opening
            a_replacement_leaves_tombstones_until_they_are_purged
            a_replacement_of_what_is_gone_changes_nothing
            a_repeated_token_has_no_effect
            wal_positions_only_grow
            rows_do_not_get_lost_in_a_replacement
            unsound_parts_are_refused
            an_id_is_never_used_twice
            extreme_values_come_back
            of_racing_compactions_one_wins
            concurrent_publishes_all_arrive
            request_keys_are_forgotten_by_time_of_receipt
            a_quarantined_part_is_not_published
            a_part_returns_from_quarantine_once
            rejections_are_summed_by_minute_and_cause
            rejections_are_bounded
            a_tenant_has_one_live_key_until_it_is_shredded
            a_sound_catalog_has_no_findings
        );
    };
}
pub(super) use conformance_tests;

/// A part of 100 rows of logs that holds the given WAL positions.
pub(super) fn part(number: u8, positions: std::ops::RangeInclusive<u64>) -> PartRecord {
    PartRecord {
        id: PartId([number; 16]),
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        level: 0,
        first_time: UnixNanos(1_000),
        last_time: UnixNanos(2_000),
        first_position: WalPosition(*positions.start()),
        last_position: WalPosition(*positions.end()),
        rows: 100,
        files: vec![
            PartFile { name: "columns.parquet".into(), bytes: 4_711, crc32c: 0xdead_beef },
            PartFile { name: "ids.idx".into(), bytes: 42, crc32c: 7 },
        ],
        created_at: UnixNanos(3_000),
    }
}

/// A sealed buffer: one new part, and the position of its last request.
pub(super) fn seal(number: u8, positions: std::ops::RangeInclusive<u64>) -> Publish {
    Publish {
        token: [number; 16],
        signal: SignalKind::Logs,
        wal_position: Some(WalPosition(*positions.end())),
        request_keys: positions.clone().map(|position| (key(position), UnixNanos(5_000))).collect(),
        add: vec![part(number, positions)],
        remove: Vec::new(),
        dropped_rows: 0,
        at: UnixNanos(6_000),
    }
}

/// A compaction of the parts with the given numbers and 100 rows each.
fn compaction(number: u8, inputs: &[u8], positions: std::ops::RangeInclusive<u64>) -> Publish {
    let rows = 100 * u32::try_from(inputs.len()).expect("few inputs");
    Publish {
        add: vec![PartRecord { level: 1, rows, ..part(number, positions.clone()) }],
        remove: inputs.iter().map(|&input| PartId([input; 16])).collect(),
        wal_position: None,
        request_keys: Vec::new(),
        ..seal(number, positions)
    }
}

fn key(number: u64) -> RequestKey {
    let mut bytes = [0xff; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    RequestKey(bytes)
}

fn rejection(minute: i64, reason: &str, count: u64, example: &str) -> Rejection {
    Rejection {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Traces,
        reason: reason.into(),
        service: "checkout".into(),
        count,
        example: example.into(),
        time: UnixNanos(minute * 60_000_000_000),
    }
}

async fn load(catalog: &Arc<dyn Catalog>) -> CatalogState {
    catalog.load().await.expect("the catalog loads")
}

async fn publish_all(catalog: &Arc<dyn Catalog>, publishes: impl IntoIterator<Item = Publish>) {
    for publish in publishes {
        catalog.publish(publish).await.expect("the publish is sound");
    }
}

fn numbers(state: &CatalogState) -> Vec<u8> {
    state.parts.iter().map(|part| part.id.0[0]).collect()
}

/// Asserts that the publish is refused as a defect and that nothing has changed.
async fn check_refused(catalog: &Arc<dyn Catalog>, publish: Publish) {
    let before = load(catalog).await;
    let error = catalog.publish(publish.clone()).await.expect_err("the publish breaks an invariant");
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(load(catalog).await, before, "{publish:?} was refused and left a trace");
}

pub(super) async fn a_new_catalog_is_empty(fixture: &dyn Fixture) {
    assert_eq!(load(&fixture.open().await).await, CatalogState::default());
}

pub(super) async fn a_publish_is_found_again_by_another_opening(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let publish = seal(1, 1..=3);
    publish_all(&catalog, [publish.clone()]).await;
    for reader in [Arc::clone(&catalog), fixture.open().await] {
        let state = load(&reader).await;
        assert_eq!(state.parts, publish.add);
        assert_eq!(state.request_keys, publish.request_keys);
        assert_eq!(state.wal_position(SignalKind::Logs), WalPosition(3));
        assert_eq!(state.wal_position(SignalKind::Traces), WalPosition::ZERO);
        assert!(state.tombstones.is_empty());
    }
}

pub(super) async fn a_replacement_leaves_tombstones_until_they_are_purged(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=3), seal(2, 4..=5), seal(3, 6..=6), compaction(4, &[1, 2], 1..=5)]).await;
    let state = load(&catalog).await;
    assert_eq!(numbers(&state), [3, 4]);
    let removed: Vec<_> =
        state.tombstones.iter().map(|tombstone| (tombstone.part.clone(), tombstone.removed_at)).collect();
    assert_eq!(removed, [(part(1, 1..=3), UnixNanos(6_000)), (part(2, 4..=5), UnixNanos(6_000))]);

    // Part 3 is published: a caller that takes it for a tombstone must not remove it.
    let purged = vec![PartId([1; 16]), PartId([3; 16]), PartId([99; 16])];
    catalog.purge_tombstones(purged).await.expect("the purge succeeds");
    let state = load(&fixture.open().await).await;
    assert_eq!(numbers(&state), [3, 4]);
    assert_eq!(state.tombstones.len(), 1);
    assert_eq!(state.tombstones[0].part.id, PartId([2; 16]));
}

pub(super) async fn a_replacement_of_what_is_gone_changes_nothing(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=1), seal(2, 2..=2), compaction(3, &[1], 1..=1)]).await;
    let before = load(&catalog).await;
    // Part 2 is still there, part 1 is not: the removal of part 2 must be undone too.
    let late = compaction(4, &[2, 1], 1..=2);
    for publish in [late.clone(), compaction(5, &[77], 1..=2)] {
        let gone = *publish.remove.last().expect("an input");
        let error = catalog.publish(publish).await.expect_err("an input is gone");
        assert!(matches!(error, Error::Conflict { part } if part == gone), "{error}");
    }
    let of_spans = Publish { signal: SignalKind::Traces, add: Vec::new(), remove: vec![PartId([2; 16])], ..late };
    let error = catalog.publish(of_spans).await.expect_err("part 2 is not one of spans");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(load(&catalog).await, before);
}

pub(super) async fn a_repeated_token_has_no_effect(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let publish = seal(1, 1..=3);
    publish_all(&catalog, [publish.clone(), publish.clone()]).await;
    let compacted = compaction(2, &[1], 1..=3);
    publish_all(&catalog, [compacted.clone(), compacted, publish]).await;
    let state = load(&fixture.open().await).await;
    assert_eq!(numbers(&state), [2]);
    assert_eq!(state.request_keys.len(), 3);
}

pub(super) async fn wal_positions_only_grow(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=10)]).await;
    check_refused(&catalog, Publish { add: Vec::new(), ..seal(2, 10..=10) }).await;
    check_refused(&catalog, Publish { add: Vec::new(), ..seal(2, 9..=9) }).await;
    // Rows that are in parts already, and rows that the new position does not cover.
    check_refused(&catalog, seal(2, 10..=12)).await;
    check_refused(&catalog, Publish { wal_position: Some(WalPosition(11)), ..seal(2, 11..=12) }).await;
    // Each signal has its own position.
    let spans = Publish { signal: SignalKind::Traces, add: Vec::new(), ..seal(3, 4..=4) };
    publish_all(&catalog, [spans, seal(4, 12..=12)]).await;
    let state = load(&catalog).await;
    assert_eq!(state.wal_positions, [WalPosition(12), WalPosition::ZERO, WalPosition(4)]);
}

pub(super) async fn rows_do_not_get_lost_in_a_replacement(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=1), seal(2, 2..=2)]).await;
    let whole = compaction(3, &[1, 2], 1..=2);
    for rows in [199, 201] {
        let part = PartRecord { rows, ..whole.add[0].clone() };
        check_refused(&catalog, Publish { add: vec![part], ..whole.clone() }).await;
    }
    check_refused(&catalog, Publish { add: Vec::new(), ..whole.clone() }).await;
    check_refused(&catalog, Publish { dropped_rows: u64::MAX, ..whole.clone() }).await;
    check_refused(&catalog, Publish { remove: vec![PartId([1; 16]); 2], ..whole.clone() }).await;
    // Retention says what it drops.
    let part = PartRecord { rows: 150, ..whole.add[0].clone() };
    let retention =
        Publish { token: [9; 16], add: Vec::new(), remove: vec![PartId([3; 16])], dropped_rows: 150, ..whole.clone() };
    publish_all(&catalog, [Publish { add: vec![part], dropped_rows: 50, ..whole }, retention]).await;
    assert_eq!(numbers(&load(&catalog).await), [0_u8; 0]);
}

pub(super) async fn unsound_parts_are_refused(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let sound = part(1, 1..=3);
    let unsound = [
        PartRecord { rows: 0, ..sound.clone() },
        PartRecord { first_time: UnixNanos(2_001), ..sound.clone() },
        PartRecord { first_position: WalPosition(4), ..sound.clone() },
        PartRecord { signal: SignalKind::Metrics, ..sound },
    ];
    for part in unsound {
        check_refused(&catalog, Publish { add: vec![part], ..seal(1, 1..=4) }).await;
    }
}

pub(super) async fn an_id_is_never_used_twice(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=1), compaction(2, &[1], 1..=1)]).await;
    for number in [1, 2] {
        check_refused(&catalog, Publish { add: vec![part(number, 2..=2)], ..seal(3, 2..=2) }).await;
    }
}

pub(super) async fn extreme_values_come_back(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let part = PartRecord {
        id: PartId([0xff; 16]),
        tenant: TenantId(u32::MAX),
        level: u32::MAX,
        first_time: UnixNanos::MIN,
        last_time: UnixNanos::MAX,
        first_position: WalPosition(i64::MAX as u64 + 1),
        last_position: WalPosition(u64::MAX),
        rows: u32::MAX,
        files: vec![PartFile { name: "\"é\u{0}'; DROP TABLE parts".into(), bytes: u64::MAX, crc32c: u32::MAX }],
        created_at: UnixNanos::MIN,
        ..part(1, 1..=1)
    };
    let publish = Publish {
        token: [0; 16],
        add: vec![part.clone()],
        wal_position: Some(WalPosition(u64::MAX)),
        request_keys: vec![(key(0), UnixNanos::MIN), (key(u64::MAX), UnixNanos::MAX)],
        at: UnixNanos::MIN,
        ..seal(1, 1..=1)
    };
    // Beyond i64 the order of positions is still that of u64.
    let half = Publish { add: Vec::new(), wal_position: Some(WalPosition(i64::MAX as u64)), ..seal(7, 1..=1) };
    publish_all(&catalog, [half, publish.clone()]).await;
    let rejected = Rejection { tenant: part.tenant, count: u64::MAX, ..rejection(1, "\u{0}", 1, "\u{10ffff}") };
    catalog.add_rejections(vec![rejected.clone(), rejected]).await.expect("rejections are added");
    let reopened = fixture.open().await;
    let state = load(&reopened).await;
    assert_eq!(state.parts, std::slice::from_ref(&part));
    assert!(publish.request_keys.iter().all(|pair| state.request_keys.contains(pair)));
    assert_eq!(state.wal_position(SignalKind::Logs), WalPosition(u64::MAX));
    let rejections = reopened.rejections(part.tenant, 10).await.expect("rejections are read");
    assert_eq!(rejections.len(), 1);
    assert_eq!(rejections[0].count, i64::MAX as u64, "sums stop at the largest integer of the database");
    check_refused(&reopened, Publish { add: Vec::new(), ..seal(2, 1..=1) }).await;
}

/// Two compactions read the same inputs; the rows must not be there twice (openobserve#8888).
pub(super) async fn of_racing_compactions_one_wins(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=1), seal(2, 2..=2)]).await;
    let results = join_all((10..20).map(|number| catalog.publish(compaction(number, &[1, 2], 1..=2)))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Conflict { .. }))).count(), 9);
    let state = load(&catalog).await;
    assert_eq!((state.parts.len(), state.parts[0].rows, state.tombstones.len()), (1, 200, 2));
}

pub(super) async fn concurrent_publishes_all_arrive(fixture: &dyn Fixture) {
    let openings = [fixture.open().await, fixture.open().await];
    let publishes = (0..60_u8).map(|number| {
        let catalog = Arc::clone(&openings[usize::from(number % 2)]);
        tokio::spawn(async move { catalog.publish(Publish { wal_position: None, ..seal(number, 1..=1) }).await })
    });
    for result in join_all(publishes.collect::<Vec<_>>()).await {
        result.expect("no task panics").expect("the publish is sound");
    }
    assert_eq!(numbers(&load(&openings[0]).await), (0..60).collect::<Vec<_>>());
}

pub(super) async fn request_keys_are_forgotten_by_time_of_receipt(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let received = |number, time| Publish {
        request_keys: vec![(key(number), UnixNanos(time)), (key(number + 100), UnixNanos(time - 50))],
        at: UnixNanos(0),
        ..seal(u8::try_from(number).expect("small"), number..=number)
    };
    publish_all(&catalog, [received(1, 100), received(2, 200), received(3, 300)]).await;
    catalog.forget_request_keys_before(UnixNanos(200)).await.expect("old requests are forgotten");
    let mut keys = load(&fixture.open().await).await.request_keys;
    keys.sort_unstable();
    // The publish of request 2 ends inside the window, so that its older request is remembered as well.
    let expected = [(key(2), 200), (key(3), 300), (key(102), 150), (key(103), 250)];
    assert_eq!(keys, expected.map(|(key, time)| (key, UnixNanos(time))));
    assert_eq!(numbers(&load(&catalog).await), [1, 2, 3], "parts stay");
}

pub(super) async fn a_quarantined_part_is_not_published(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=1), seal(2, 2..=2)]).await;
    let id = PartId([1; 16]);
    for reason in ["checksum differs", "again"] {
        catalog.quarantine_part(id, reason.into(), UnixNanos(9)).await.expect("the part is withdrawn");
    }
    let state = load(&fixture.open().await).await;
    assert_eq!(numbers(&state), [2]);
    assert_eq!(
        (state.quarantined[0].part.clone(), state.quarantined[0].reason.as_str()),
        (part(1, 1..=1), "checksum differs")
    );
    assert_eq!(catalog.quarantined_parts().await.expect("they are read"), state.quarantined);
    let error = catalog.publish(compaction(3, &[1, 2], 1..=2)).await.expect_err("an input is withdrawn");
    assert!(matches!(error, Error::Conflict { part } if part == id), "{error}");
    catalog.purge_tombstones(vec![id]).await.expect("a withdrawn part is no tombstone");
    assert_eq!(load(&catalog).await, state);
    let error = catalog.quarantine_part(PartId([9; 16]), "?".into(), UnixNanos(9)).await;
    assert!(matches!(error, Err(Error::Conflict { .. })), "{error:?}");
}

pub(super) async fn a_part_returns_from_quarantine_once(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=3), seal(2, 4..=5)]).await;
    let returned = part(7, 1..=3);
    let error =
        catalog.return_part(PartId([1; 16]), returned.clone(), WalPosition::ZERO).await.expect_err("it is published");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    catalog.quarantine_part(PartId([1; 16]), "damaged".into(), UnixNanos(1)).await.expect("it is withdrawn");
    catalog.return_part(PartId([1; 16]), returned.clone(), WalPosition::ZERO).await.expect("it comes back");
    let state = load(&catalog).await;
    assert_eq!((numbers(&state), state.quarantined.len()), (vec![2, 7], 0));
    catalog.return_part(PartId([1; 16]), returned, WalPosition::ZERO).await.expect_err("its new ID is used");
    // One that the catalog never knew, unless the WAL still has its requests.
    catalog.return_part(PartId([8; 16]), part(9, 2..=4), WalPosition::ZERO).await.expect("it is taken");
    let late = part(10, 5..=6);
    let refused = catalog.return_part(PartId([8; 16]), late.clone(), WalPosition::ZERO).await;
    refused.expect_err("position 6 is to be replayed");
    catalog.return_part(PartId([8; 16]), late, WalPosition(6)).await.expect("the WAL does not hold it any more");
    let state = load(&catalog).await;
    assert_eq!((numbers(&state), state.wal_position(SignalKind::Logs)), (vec![2, 7, 9, 10], WalPosition(6)));
}

pub(super) async fn rejections_are_summed_by_minute_and_cause(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let late = Rejection { time: UnixNanos(60_000_000_000 + 7), ..rejection(1, "too old", 2, "late in the minute") };
    let other = Rejection { tenant: TenantId(7), ..rejection(1, "too old", 9, "") };
    let first = vec![late.clone(), rejection(2, "too old", 1, "next"), rejection(1, "no name", 5, ""), other];
    catalog.add_rejections(first).await.expect("rejections are added");
    catalog.add_rejections(vec![rejection(1, "too old", 3, "early")]).await.expect("rejections are added");
    catalog.add_rejections(Vec::new()).await.expect("nothing is added");
    let all = fixture.open().await.rejections(TenantId::DEFAULT, 10).await.expect("rejections are read");
    assert_eq!(
        all,
        [rejection(2, "too old", 1, "next"), Rejection { count: 5, ..late }, rejection(1, "no name", 5, "")]
    );
    let newest = catalog.rejections(TenantId::DEFAULT, 1).await.expect("rejections are read");
    assert_eq!(newest, all[..1]);
}

pub(super) async fn rejections_are_bounded(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let long = "é".repeat(1_000);
    let week = i64::from(REJECTION_DAYS_MAX) * 24 * 60;
    let rejections = vec![rejection(0, "a", 1, ""), rejection(1, &long, 1, &long), rejection(week + 1, "c", 1, "")];
    catalog.add_rejections(rejections).await.expect("rejections are added");
    let kept = catalog.rejections(TenantId::DEFAULT, 10).await.expect("rejections are read");
    assert_eq!(kept.iter().map(|rejection| rejection.reason.len()).collect::<Vec<_>>(), [1, 256]);
    assert_eq!(kept[1].example, "é".repeat(128));
}

pub(super) async fn a_tenant_has_one_live_key_until_it_is_shredded(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    let key = |number: u8, tenant: u32| TenantKey {
        id: KeyId([number; 16]),
        tenant: TenantId(tenant),
        master: "one".into(),
        wrapped: vec![number; 60],
        created_at: UnixNanos(5),
        shredded_at: None,
    };
    let (first, second) = (key(9, u32::MAX), key(3, 7));
    assert_eq!(catalog.add_tenant_key(first.clone()).await.expect("added"), first);
    assert_eq!(catalog.add_tenant_key(second.clone()).await.expect("added"), second);
    assert_eq!(catalog.add_tenant_key(key(4, 7)).await.expect("there is one"), second, "the first one wins");
    let again = fixture.open().await;
    assert_eq!(again.tenant_keys().await.expect("read"), [second.clone(), first.clone()]);
    let rewrapped = TenantKey { master: "two".into(), wrapped: vec![1; 60], ..second.clone() };
    again.rewrap_tenant_keys(vec![rewrapped.clone(), key(5, 8)]).await.expect("wrapped anew");
    assert_eq!(
        catalog.tenant_keys().await.expect("read"),
        [rewrapped, first.clone()],
        "one that is not there is no one's"
    );
    let refused = Rejection { tenant: TenantId(7), ..rejection(1, "too old", 1, "x") };
    catalog.add_rejections(vec![refused, rejection(1, "too old", 1, "x")]).await.expect("added");
    assert_eq!(catalog.shred_tenant_keys(TenantId(7), UnixNanos(6)).await.expect("shredded"), 1);
    assert_eq!(catalog.shred_tenant_keys(TenantId(7), UnixNanos(8)).await.expect("nothing is left"), 0);
    let shredded =
        TenantKey { master: String::new(), wrapped: Vec::new(), shredded_at: Some(UnixNanos(6)), ..second.clone() };
    assert_eq!(again.tenant_keys().await.expect("read"), [shredded.clone(), first.clone()]);
    assert_eq!(again.rejections(TenantId(7), 9).await.expect("read"), []);
    assert_eq!(again.rejections(TenantId::DEFAULT, 9).await.expect("read").len(), 1);
    again.rewrap_tenant_keys(vec![second]).await.expect("nothing is changed");
    assert_eq!(again.tenant_keys().await.expect("read"), [shredded, first], "what is shredded does not come back");
    assert_eq!(catalog.add_tenant_key(key(4, 7)).await.expect("a new one"), key(4, 7));
}

pub(super) async fn a_sound_catalog_has_no_findings(fixture: &dyn Fixture) {
    let catalog = fixture.open().await;
    publish_all(&catalog, [seal(1, 1..=1), seal(2, 2..=2), compaction(3, &[1, 2], 1..=2)]).await;
    assert_eq!(catalog.check_integrity().await.expect("the check runs"), Vec::<String>::new());
    publish_all(&catalog, [Publish { wal_position: None, ..seal(4, 3..=3) }]).await;
    let findings = catalog.check_integrity().await.expect("the check runs");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("published only up to 2"), "{findings:?}");
}
