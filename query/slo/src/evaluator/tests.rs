use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use proptest::prelude::*;
use trivium_model::{ErrorKind, ManualClock, MemoryStateStore, StateChange};

use super::*;
use crate::load::{SloSet, SourceFile, load};
use crate::querier::{GroupCounts, MeasuredSlice, QueryError};

/// 2026-03-10T12:00:00Z.
const NOON: i64 = 1_773_144_000;

/// Counts that are a function of time, with changes.
#[derive(Debug, Default)]
struct Counter {
    /// Bad events of the slices that begin at these seconds; others have one of a hundred.
    bad: Mutex<BTreeMap<i64, f64>>,
    /// Seconds in which nothing was measured.
    gaps: Mutex<Vec<std::ops::Range<i64>>>,
    fails: Mutex<bool>,
    asked: Mutex<Vec<(i64, usize)>>,
    arrived: Mutex<Option<i64>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

#[async_trait]
impl IndicatorQuerier for Counter {
    async fn measure(&self, request: SliceRequest) -> Result<Vec<MeasuredSlice>, QueryError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.asked.lock().unwrap().push((request.start.0 / 1_000_000_000, request.count));
        if *self.fails.lock().unwrap() {
            return Err(QueryError { kind: ErrorKind::Unavailable, message: "the store is starting".to_owned() });
        }
        let (bad, gaps) = (self.bad.lock().unwrap(), self.gaps.lock().unwrap());
        let slice = |number| {
            let at = request.slice_start(number).0 / 1_000_000_000;
            if gaps.iter().any(|gap| gap.contains(&at)) {
                return MeasuredSlice::default();
            }
            let bad = bad.get(&at).copied().unwrap_or(1.0);
            MeasuredSlice {
                coverage: 1.0,
                groups: vec![GroupCounts { group: no_group(), good: 100.0 - bad, total: 100.0 }],
            }
        };
        Ok((0..request.count).map(slice).collect())
    }

    fn watermark(&self, _: &SloDefinition, now: UnixNanos) -> UnixNanos {
        now.before(Duration::from_secs(30))
    }

    fn arrived(&self) -> Option<UnixNanos> {
        self.arrived.lock().unwrap().take().map(|second| UnixNanos(second * 1_000_000_000))
    }
}

struct World {
    counter: Arc<Counter>,
    store: Arc<MemoryStateStore>,
    clock: Arc<ManualClock>,
}

fn text(objective: f64, good: &str) -> String {
    format!(
        "slos:\n  - name: shop\n    service: shop\n    objective: {objective}\n    window: 7d\n    indicator:\n      promql: {{good: {good}, total: b}}\n"
    )
}

fn set(text: &str) -> SloSet {
    load(&[SourceFile { path: "test".to_owned(), text: text.to_owned() }]).unwrap()
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new(UnixNanos(NOON * 1_000_000_000));
        Self { counter: Arc::default(), store: Arc::default(), clock: Arc::new(clock) }
    }

    /// A process that has just started.
    fn process(&self, holder: &str, text: &str) -> Evaluator {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let slos = Slos::new(Arc::clone(&clock));
        slos.replace(set(text));
        let (querier, store) = (Arc::<Counter>::clone(&self.counter), Arc::<MemoryStateStore>::clone(&self.store));
        Evaluator::new(EvaluatorConfig::new(TenantId(0), holder), EvaluatorDeps { querier, store, clock, slos })
    }

    async fn settle(&self, evaluator: &Evaluator) -> usize {
        for passes in 1..200 {
            if !evaluator.pass().await.more {
                return passes;
            }
        }
        panic!("slices are due for ever");
    }

    fn minutes(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(minutes * 60));
    }
}

fn bounds(evaluator: &Evaluator) -> (i64, i64) {
    let tracked = evaluator.deps.slos.get("shop").unwrap();
    tracked.read(|state| (state.timeline.first() * 300, state.timeline.end() * 300)).unwrap()
}

/// The sums of every hour, which two evaluators must agree about.
fn sums(evaluator: &Evaluator) -> Vec<crate::slice::WindowSums> {
    let tracked = evaluator.deps.slos.get("shop").unwrap();
    let (first, end) = bounds(evaluator);
    tracked
        .read(|state| (first..end - 3599).step_by(3600).map(|at| state.timeline.window(None, at, at + 3600)).collect())
        .unwrap()
}

#[tokio::test]
async fn a_new_slo_is_measured_backwards_in_days() {
    let world = World::new();
    let evaluator = world.process("a", &text(99.9, "a"));
    let passes = world.settle(&evaluator).await;
    // Noon is not yet complete for another 30 seconds.
    let end = NOON - 300;
    assert_eq!(bounds(&evaluator), (end - 15 * DAY, end));
    assert_eq!(passes, 16);
    let asked = world.counter.asked.lock().unwrap().clone();
    assert_eq!(asked[0], (NOON - DAY / 2, 143), "today first");
    assert_eq!(asked[1], (NOON - DAY / 2 - DAY, 288));
    let view = evaluator.deps.slos.view("shop").unwrap();
    assert_eq!(view.summary.budget.unwrap().left_share, -9.0);
    assert_eq!((view.summary.watermark, view.summary.active_alerts), (Some(end), 4));
    assert_eq!(view.summary.health.last_error, None);
    assert!(serde_json::to_string(&view).unwrap().contains(r#""left_share":-9.0"#));
}

/// Whatever happens between two passes, the slices are those that an undisturbed process has.
#[tokio::test]
async fn a_restart_at_any_moment_changes_nothing() {
    let calm = World::new();
    let undisturbed = calm.process("a", &text(99.9, "a"));
    let world = World::new();
    for step in 0..40 {
        let restarted = world.process("a", &text(99.9, "a"));
        restarted.pass().await;
        if step % 4 == 0 {
            calm.minutes(7);
            world.minutes(7);
        }
        undisturbed.pass().await;
    }
    calm.settle(&undisturbed).await;
    let last = world.process("a", &text(99.9, "a"));
    world.settle(&last).await;
    assert_eq!(bounds(&last), bounds(&undisturbed));
    assert_eq!(sums(&last), sums(&undisturbed));
}

#[tokio::test]
async fn missed_slices_are_caught_up() {
    let world = World::new();
    world.settle(&world.process("a", &text(99.9, "a"))).await;
    world.minutes(3 * 24 * 60);
    let evaluator = world.process("a", &text(99.9, "a"));
    let passes = world.settle(&evaluator).await;
    assert!(passes <= 5, "{passes}");
    assert_eq!(bounds(&evaluator).1, NOON + 3 * DAY - 300);
    assert!(sums(&evaluator).len() > 15 * 24);
    assert!(sums(&evaluator).iter().all(|hour| hour.coverage == 1.0));
}

#[tokio::test]
async fn late_data_is_counted_for_a_while() {
    let world = World::new();
    let evaluator = world.process("a", &text(99.9, "a"));
    world.settle(&evaluator).await;
    let (_, end) = bounds(&evaluator);
    world.counter.bad.lock().unwrap().extend([(end - 300, 50.0), (end - 900, 60.0), (end - 1200, 70.0)]);
    world.minutes(5);
    world.settle(&evaluator).await;
    let tracked = evaluator.deps.slos.get("shop").unwrap();
    let bad = |at: i64| tracked.read(|state| state.timeline.window(None, at, at + 300).sums.bad).unwrap();
    assert_eq!((bad(end - 300), bad(end - 900)), (50.0, 60.0));
    assert_eq!(bad(end - 1200), 1.0, "it is older than the time for late data");
    let restarted = world.process("a", &text(99.9, "a"));
    world.settle(&restarted).await;
    assert_eq!(sums(&restarted), sums(&evaluator));
}

#[tokio::test]
async fn telemetry_of_long_ago_is_counted_when_it_arrives() {
    let world = World::new();
    let evaluator = world.process("a", &text(99.9, "a"));
    let gap = NOON - 3 * DAY..NOON - DAY;
    world.counter.gaps.lock().unwrap().push(gap.clone());
    world.settle(&evaluator).await;
    let before = sums(&evaluator);
    world.counter.gaps.lock().unwrap().clear();
    world.settle(&evaluator).await;
    assert_eq!(sums(&evaluator), before, "nothing says that anything arrived");
    *world.counter.arrived.lock().unwrap() = Some(gap.start + 10);
    world.counter.asked.lock().unwrap().clear();
    world.settle(&evaluator).await;
    let asked = world.counter.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().map(|(_, count)| count).sum::<usize>(), 3 * 288 - 1, "from then on, once");
    let whole = World::new();
    let expected = whole.process("a", &text(99.9, "a"));
    whole.settle(&expected).await;
    assert_eq!(sums(&evaluator), sums(&expected));
    *world.counter.arrived.lock().unwrap() = Some(NOON - 600);
    world.counter.asked.lock().unwrap().clear();
    world.settle(&evaluator).await;
    assert_eq!(world.counter.asked.lock().unwrap().len(), 0, "the late window is measured again anyway");
}

#[tokio::test]
async fn a_changed_definition_begins_a_generation_and_the_old_one_stays_readable() {
    let world = World::new();
    let evaluator = world.process("a", &text(99.9, "a"));
    world.settle(&evaluator).await;
    let before = evaluator.generations("shop").await.unwrap();
    evaluator.deps.slos.replace(set(&text(99.0, "a")));
    assert_eq!(evaluator.pass().await.slices, 0, "another objective measures nothing");
    assert_eq!(evaluator.deps.slos.view("shop").unwrap().summary.budget.unwrap().left_share, 0.0);
    world.counter.asked.lock().unwrap().clear();
    evaluator.deps.slos.replace(set(&text(99.0, "c")));
    assert!(evaluator.deps.slos.view("shop").unwrap().summary.budget.is_none());
    world.settle(&evaluator).await;
    let after = evaluator.generations("shop").await.unwrap();
    assert_eq!((after.len(), &after[0]), (2, &before[0]));
    assert_eq!((after[1].from, after[1].to), (before[0].from, before[0].to));
    let former = evaluator.former("shop", &before[0].id).await.unwrap();
    assert_eq!((former.budget.total, former.budget.left_share), (7.0 * 288.0 * 100.0, 0.0));
    assert!(evaluator.former("shop", "x").await.is_err());
    // Once no answer needs it, it is forgotten.
    world.minutes(16 * 24 * 60);
    world.settle(&evaluator).await;
    world.settle(&evaluator).await;
    assert_eq!(evaluator.generations("shop").await.unwrap().len(), 1);
    let records = world.store.list(TenantId(0), "slo_slices", "shop/").await.unwrap();
    assert!(records.len() <= 18 && records.iter().all(|record| record.key.contains(&after[1].id)), "{}", records.len());
}

#[tokio::test]
async fn a_definition_that_is_taken_back_goes_on_where_it_was_left() {
    let world = World::new();
    let evaluator = world.process("a", &text(99.9, "a"));
    world.settle(&evaluator).await;
    let first = evaluator.generations("shop").await.unwrap()[0].clone();
    evaluator.deps.slos.replace(set(&text(99.9, "c")));
    world.settle(&evaluator).await;
    world.minutes(60);
    evaluator.deps.slos.replace(set(&text(99.9, "a")));
    world.counter.asked.lock().unwrap().clear();
    world.settle(&evaluator).await;
    let generations = evaluator.generations("shop").await.unwrap();
    assert_eq!((&generations[1].id, generations[1].from, generations[1].to), (&first.id, first.from, first.to + 3600));
    assert_eq!(world.counter.asked.lock().unwrap().as_slice(), [(first.to - 900, 15)]);
}

#[tokio::test]
async fn slices_of_a_day_are_measured_too() {
    let world = World::new();
    let long =
        format!("{}    timeslices: {{target: 95, width: 1d}}\n", text(90.0, "a").replace("7d", "calendar month"));
    let evaluator = world.process("a", &long);
    world.settle(&evaluator).await;
    world.minutes(3 * 24 * 60);
    world.settle(&evaluator).await;
    let view = evaluator.deps.slos.view("shop").unwrap();
    assert_eq!(view.summary.watermark, Some(NOON - DAY / 2 + 3 * DAY));
    let budget = view.summary.budget.unwrap();
    // March so far: 12 days, all good; the month will have 31.
    assert_eq!((budget.total, budget.bad, budget.left_share), (12.0, 0.0, 1.0));
    assert!((budget.budget_events - 3.1).abs() < 1e-9, "{budget:?}");
    assert_eq!(view.past_windows.len(), 3);
}

#[tokio::test]
async fn a_gap_is_unmeasured_and_holds_alerts() {
    let world = World::new();
    world.counter.gaps.lock().unwrap().push(NOON - 3600..NOON);
    let evaluator = world.process("a", &text(99.9, "a"));
    world.settle(&evaluator).await;
    let view = evaluator.deps.slos.view("shop").unwrap();
    // An hour of a week is missing; nothing else changes.
    assert_eq!(view.summary.budget.unwrap().left_share, -9.0);
    let held = view.alerts.report.held.iter().map(|held| held.labels["long_window"].as_str());
    assert_eq!(held.collect::<Vec<_>>(), ["1h", "6h", "1d"]);
    assert_eq!(view.burn_rates[0].burn.rate, None);
}

#[tokio::test]
async fn a_failure_leaves_slices_due_and_holds_alerts_in_time() {
    let world = World::new();
    let evaluator = world.process("a", &text(99.9, "a"));
    world.settle(&evaluator).await;
    *world.counter.fails.lock().unwrap() = true;
    world.minutes(60);
    assert_eq!(evaluator.pass().await.failures, 1);
    let view = evaluator.deps.slos.view("shop").unwrap();
    assert!(view.summary.health.last_error.unwrap().contains("the store is starting"));
    assert_eq!((view.alerts.report.active.len(), view.alerts.report.held.len()), (0, 4));
    *world.counter.fails.lock().unwrap() = false;
    world.settle(&evaluator).await;
    assert_eq!(bounds(&evaluator).1, NOON + 3300);
    assert_eq!(evaluator.deps.slos.alerts()[0].1.active.len(), 4);
}

#[tokio::test]
async fn one_process_measures_and_the_others_read() {
    let world = World::new();
    let (leader, follower) = (world.process("a", &text(99.9, "a")), world.process("b", &text(99.9, "a")));
    world.settle(&leader).await;
    let asked = world.counter.asked.lock().unwrap().len();
    assert_eq!(follower.pass().await, Pass::default());
    assert_eq!(sums(&follower), sums(&leader));
    assert_eq!(world.counter.asked.lock().unwrap().len(), asked);
    // The leader is gone for longer than its lease; the other takes over, and the first cannot write any more.
    world.minutes(10);
    assert!(follower.pass().await.leads);
    let lost = leader.lease.lock().unwrap().clone().unwrap().0;
    let change = StateChange::Delete { kind: "slo_state".to_owned(), key: "shop".to_owned() };
    assert!(world.store.apply(TenantId(0), Some(lost), vec![change]).await.is_err());
    assert!(!leader.pass().await.leads);
    assert_eq!(sums(&leader), sums(&follower));
    // And back: what the second measured is not measured again.
    world.minutes(10);
    let asked = world.counter.asked.lock().unwrap().len();
    assert!(leader.pass().await.leads);
    assert_eq!(world.counter.asked.lock().unwrap().len(), asked + 1);
    assert_eq!(bounds(&leader).1, NOON + 20 * 60 - 300);
}

#[tokio::test]
async fn a_damaged_record_is_told_and_its_day_is_unmeasured() {
    let world = World::new();
    world.settle(&world.process("a", &text(99.9, "a"))).await;
    let mut records = world.store.list(TenantId(0), "slo_slices", "shop/").await.unwrap();
    let mut record = records.remove(3);
    record.value[40] ^= 1;
    let put = StateChange::Put { kind: "slo_slices".to_owned(), key: record.key.clone(), value: record.value };
    world.store.apply(TenantId(0), None, vec![put]).await.unwrap();
    let evaluator = world.process("a", &text(99.9, "a"));
    world.settle(&evaluator).await;
    let damaged = evaluator.deps.slos.view("shop").unwrap().summary.health.damaged;
    assert_eq!(damaged, [format!("{}: its checksum is wrong", record.key)]);
    assert_eq!(sums(&evaluator).iter().filter(|hour| hour.coverage == 0.0).count(), 23);
}

#[tokio::test]
async fn slos_are_measured_some_at_a_time() {
    let world = World::new();
    let one = text(99.9, "a").replace("slos:\n", "");
    let many: String = (0..20).map(|number| one.replace("name: shop", &format!("name: shop-{number}"))).collect();
    let evaluator = world.process("a", &format!("slos:\n{many}"));
    let pass = evaluator.pass().await;
    assert_eq!((pass.slices, pass.failures), (20 * 143, 0));
    assert_eq!(world.counter.most_running.load(Ordering::SeqCst), 4);
    assert_eq!(evaluator.deps.slos.summaries().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn the_loop_stops_when_told() {
    let world = World::new();
    let evaluator = world.process("a", &text(99.9, "a"));
    let slos = evaluator.deps.slos.clone();
    let stop = CancellationToken::new();
    let waiting = async {
        while slos.summaries()[0].watermark.is_none() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(evaluator.run(stop.clone()), waiting);
    assert!(slos.view("shop").unwrap().measured_from.is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Minutes(u64),
    Pass(usize),
    Restart(usize),
    Fail(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![0_u64..40, 0_u64..6_000].prop_map(Step::Minutes),
        6 => (0_usize..2).prop_map(Step::Pass),
        1 => (0_usize..2).prop_map(Step::Restart),
        1 => any::<bool>().prop_map(Step::Fail),
    ]
}

/// Bad events of the slice that begins at `at`.
fn bad_at(at: i64) -> f64 {
    (at / 300 % 17) as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Two processes pass, fail, restart and take over from each other in any order: what is kept in the end is every
    /// slice of the time that is kept, each with its counts.
    #[test]
    fn every_slice_is_kept_whatever_happens(steps in prop::collection::vec(any_step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let all = (NOON - 40 * DAY..NOON + 200 * DAY).step_by(300);
            world.counter.bad.lock().unwrap().extend(all.map(|at| (at, bad_at(at))));
            let names = ["a", "b"];
            let mut processes = names.map(|name| world.process(name, &text(99.9, "a")));
            for step in steps {
                match step {
                    Step::Minutes(minutes) => world.minutes(minutes),
                    Step::Pass(which) => drop(processes[which].pass().await),
                    Step::Restart(which) => processes[which] = world.process(names[which], &text(99.9, "a")),
                    Step::Fail(fails) => *world.counter.fails.lock().unwrap() = fails,
                }
            }
            *world.counter.fails.lock().unwrap() = false;
            world.minutes(10);
            world.settle(&processes[0]).await;
            let restarted = world.process("a", &text(99.9, "a"));
            world.settle(&restarted).await;
            let end = (world.clock.now().0 / 1_000_000_000 - 30).div_euclid(300) * 300;
            for process in [&processes[0], &restarted] {
                let (first, last) = bounds(process);
                assert_eq!(last, end);
                assert!(first <= end - 15 * DAY && first > end - 18 * DAY, "{} days", (end - first) / DAY);
                let tracked = process.deps.slos.get("shop").unwrap();
                for at in (first..last).step_by(300) {
                    let window = tracked.read(|state| state.timeline.window(None, at, at + 300)).unwrap();
                    assert_eq!((window.sums.bad, window.sums.total, window.coverage), (bad_at(at), 100.0, 1.0), "{at}");
                }
            }
        });
    }
}
