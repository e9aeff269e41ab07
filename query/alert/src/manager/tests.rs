use super::*;
use crate::alert::AlertState;
use crate::schedule::Slots;
use crate::seam::WriteValue;
use crate::world::{START_MS, World, labels, lease, rules};
use trivium_model::{StateStore, TenantId, UnixNanos};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

fn start(world: &World, holder: &str, text: &str) -> RuleManager {
    RuleManager::start(world.deps(), Options::default(), lease(holder), rules(text))
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A series with a value every 15 seconds, given as runs of (how many, value).
fn series(world: &World, name: &str, runs: &[(usize, f64)]) {
    let values = runs.iter().flat_map(|(times, value)| std::iter::repeat_n(*value, *times));
    let points: Vec<(i64, f64)> = values.enumerate().map(|(at, value)| (at as i64 * 15 * SECOND, value)).collect();
    world.samples.load(labels(&[("__name__", name)]), &points);
}

const ONE: &str = "groups: [{name: one, interval: 30s, rules: [{record: r, expr: vector(1)}, {alert: A, expr: '1'}]}]";

#[tokio::test(start_paused = true)]
async fn groups_are_evaluated_in_their_slots() {
    let world = World::new();
    let manager = start(&world, "me", ONE);
    pass(301).await;
    let status = manager.groups();
    let slots = Slots::of(&status[0].group, 30 * SECOND);
    assert_eq!(status[0].last_slot_ms, Some(slots.at(world.now_ms())));
    assert_eq!((status[0].metrics.iterations_total, status[0].metrics.iterations_missed_total), (10, 0));
    let written = world.samples.written.lock().unwrap().clone();
    assert!(written.iter().all(|sample| slots.at(sample.t_ms) == sample.t_ms), "times are slots");
    assert!(written[0].t_ms > START_MS, "the first slot is the next one");
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn slots_that_passed_without_an_evaluator_are_counted_and_not_made_up_for() {
    let world = World::new();
    let manager = start(&world, "me", ONE);
    pass(95).await;
    manager.stop().await;
    let evaluated = world.samples.written.lock().unwrap().len();
    pass(300).await;
    let manager = start(&world, "me", ONE);
    pass(1).await;
    let status = manager.groups();
    assert_eq!(status[0].metrics.iterations_missed_total, 9);
    assert_eq!(world.samples.written.lock().unwrap().len(), evaluated + 3, "the current slot, at once");
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_one_of_two_processes_evaluates() {
    let world = World::new();
    let first = start(&world, "first", ONE);
    pass(1).await;
    let second = start(&world, "second", ONE);
    pass(300).await;
    assert_eq!((first.groups().len(), second.groups().len()), (1, 0));
    let times: Vec<i64> = world.samples.written.lock().unwrap().iter().map(|sample| sample.t_ms).collect();
    assert_eq!(times.len(), 30, "three series, ten slots");
    first.stop().await;
    pass(60).await;
    assert_eq!(second.groups().len(), 1, "when the first is gone the second takes over");
    assert!(second.groups()[0].rules[1].alerts[0].active_at_ms < START_MS + MINUTE, "with its state");
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_evaluator_that_lost_its_lease_stops() {
    let world = World::new();
    let manager = start(&world, "me", ONE);
    pass(60).await;
    // Another process found the lease expired, as after a long pause of this one.
    let later = UnixNanos((world.now_ms() + 10 * MINUTE) * 1_000_000);
    let taken = world.store.lease("rules", "other", later, Duration::from_secs(86_400)).await.unwrap();
    assert!(taken.is_some());
    pass(60).await;
    let before = world.samples.written.lock().unwrap().len();
    pass(300).await;
    assert_eq!(world.samples.written.lock().unwrap().len(), before);
    assert_eq!(manager.groups().len(), 0);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_groups_alone_that_did_not_change() {
    let world = World::new();
    let two = |expr: &str| {
        format!(
            "{}\n",
            ONE.replace("]}]", &format!("]}}, {{name: two, interval: 30s, rules: [{{record: s, expr: {expr}}}]}}]"))
        )
    };
    let manager = start(&world, "me", &two("vector(1)"));
    pass(100).await;
    let before = manager.groups();
    manager.reload(rules(&two("vector(2)")));
    pass(100).await;
    let after = manager.groups();
    assert!(Arc::ptr_eq(&before[0].group, &after[0].group));
    assert!(!Arc::ptr_eq(&before[1].group, &after[1].group));
    assert!(after[0].metrics.iterations_total > after[1].metrics.iterations_total);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_series_of_a_removed_group_end_after_two_intervals() {
    let world = World::new();
    let manager = start(&world, "me", ONE);
    pass(100).await;
    let removed = world.now_ms();
    manager.reload(RuleSet::default());
    pass(59).await;
    let stale = || {
        let written = world.samples.written.lock().unwrap();
        written.iter().filter(|sample| sample.value == WriteValue::Stale).map(|sample| sample.t_ms).collect::<Vec<_>>()
    };
    assert_eq!(stale(), [0; 0]);
    pass(5).await;
    let marked = stale();
    assert_eq!(marked.len(), 3);
    assert!(marked.iter().all(|at| (*at - removed).abs() < SECOND), "as of the removal");
    assert_eq!(world.store.list(TenantId::DEFAULT, record::GROUP, "").await.unwrap(), []);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_renamed_group_takes_its_series_over() {
    let world = World::new();
    let manager = start(&world, "me", ONE);
    pass(100).await;
    manager.reload(rules(&ONE.replace("name: one", "name: renamed")));
    pass(300).await;
    let written = world.samples.written.lock().unwrap().clone();
    let stale: Vec<_> = written.iter().filter(|sample| sample.value == WriteValue::Stale).collect();
    // ALERTS_FOR_STATE, ALERTS and the recorded series are the same ones.
    assert_eq!(stale.len(), 0, "{stale:?}");
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_removed_while_no_one_evaluated_is_cleaned_up() {
    let world = World::new();
    let manager = start(&world, "me", ONE);
    pass(100).await;
    manager.stop().await;
    let manager = start(&world, "me", "groups: []");
    pass(70).await;
    assert_eq!(world.store.list(TenantId::DEFAULT, record::GROUP, "").await.unwrap(), []);
    manager.stop().await;
}

/// States of an alert as the clock goes on, each once.
async fn states(manager: &RuleManager, name: &str, minutes: usize) -> Vec<&'static str> {
    let mut states = Vec::new();
    for _ in 0..minutes * 4 {
        pass(15).await;
        let groups = manager.groups();
        let rules = groups.iter().flat_map(|group| group.group.rules.iter().zip(&group.rules));
        let state = rules.filter(|(rule, _)| rule.name == name).find_map(|(_, status)| status.state);
        let state = state.map_or("unknown", AlertState::as_str);
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    states
}

/// What was told of an alert: minute, state, from the alert's beginning to its end.
fn told(world: &World, name: &str) -> Vec<(AlertState, i64, i64, i64)> {
    let of_name = world.take_told().into_iter().filter(|notice| notice.rule == name);
    of_name.map(|notice| (notice.state, notice.slot_ms, notice.starts_at_ms, notice.ends_at_ms)).collect()
}

/// Two rules of a group: alerts of one that did not exist before are in the order of the rules.
#[tokio::test(start_paused = true)]
async fn compliance_new_alerts_order_check() {
    let world = World::new();
    series(&world, "m", &[(20, 5.0), (40, 15.0)]);
    let text = r#"
groups:
- name: NewAlerts_OrderCheck
  interval: 30s
  rules:
  - {record: m:doubled, expr: m * 2}
  - {alert: First, expr: 'm:doubled > 20', labels: {rulegroup: order}}
  - {alert: Second, expr: 'ALERTS{alertname="First", alertstate="firing"}', labels: {foo: bar}}
  - {alert: Third, expr: 'ALERTS{alertname="Second", alertstate="firing"} and on() m:doubled == 30'}
"#;
    let manager = start(&world, "me", text);
    pass(420).await;
    let notices = world.take_told();
    let first: Vec<&str> = notices.iter().take(3).map(|notice| notice.rule.as_str()).collect();
    assert_eq!(first, ["First", "Second", "Third"]);
    assert!(notices[..3].iter().all(|notice| notice.slot_ms == notices[0].slot_ms), "in the same evaluation");
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn compliance_pending_and_firing_and_resolved() {
    let world = World::new();
    series(&world, "m", &[(20, 5.0), (36, 11.0), (200, 5.0)]);
    let text = "groups: [{name: PendingAndFiringAndResolved, interval: 30s, rules: [{alert: A, expr: m > 10, for: 6m, annotations: {description: 'is {{ value }}'}}]}]";
    let manager = start(&world, "me", text);
    assert_eq!(states(&manager, "A", 40).await, ["unknown", "inactive", "pending", "firing", "inactive"]);
    let told = told(&world, "A");
    let (firing, resolved): (Vec<_>, Vec<_>) = told.into_iter().partition(|told| told.0 == AlertState::Firing);
    let (_, slot, starts, ends) = firing[0];
    assert_eq!((starts, ends), (slot, slot + 4 * MINUTE), "EndsAt is four resend delays away");
    assert!(firing.iter().all(|told| told.2 == starts), "StartsAt stays");
    assert!(firing.windows(2).all(|pair| pair[1].1 - pair[0].1 == 90 * SECOND), "first slot past the resend delay");
    assert!(resolved.iter().all(|told| told.2 == starts && told.3 == resolved[0].1));
    let last = resolved.last().unwrap().1 - resolved[0].1;
    assert!((13 * MINUTE..=15 * MINUTE).contains(&last), "told again for 15 minutes: {last}");
    assert!(resolved.windows(2).all(|pair| pair[1].1 - pair[0].1 == 90 * SECOND));
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn compliance_pending_and_resolved_always_inactive() {
    let world = World::new();
    series(&world, "m", &[(20, 5.0), (16, 11.0), (100, 5.0)]);
    let text = "groups: [{name: PendingAndResolved_AlwaysInactive, interval: 30s, rules: [{alert: A, expr: m > 99, for: 6m}, {alert: B, expr: m > 10, for: 6m}]}]";
    let manager = start(&world, "me", text);
    assert_eq!(states(&manager, "B", 12).await, ["unknown", "inactive", "pending", "inactive"]);
    assert_eq!(states(&manager, "A", 10).await, ["inactive"]);
    assert_eq!(world.take_told(), []);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn compliance_zero_for_small_for() {
    let world = World::new();
    series(&world, "m", &[(20, 5.0), (30, 11.0), (100, 5.0)]);
    let text = "groups: [{name: ZeroFor_SmallFor, interval: 30s, rules: [{alert: Zero, expr: m > 10}, {alert: Small, expr: m > 10, for: 10s}]}]";
    let manager = start(&world, "me", text);
    assert_eq!(states(&manager, "Zero", 25).await, ["unknown", "inactive", "firing", "inactive"]);
    let notices = world.take_told();
    let first = |name: &str| notices.iter().find(|notice| notice.rule == name).unwrap().starts_at_ms;
    assert_eq!(first("Small") - first("Zero"), 30 * SECOND, "pending for one evaluation");
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_rules_run_side_by_side() {
    let world = World::new();
    let group = |n: usize| {
        let rules: Vec<String> = (0..20).map(|r| format!("{{alert: A{n}x{r}, expr: vector({r}) > 18}}")).collect();
        format!("{{name: g{n}, interval: 15s, rules: [{}]}}", rules.join(", "))
    };
    let groups: Vec<String> = (0..50).map(group).collect();
    let manager = start(&world, "me", &format!("groups: [{}]", groups.join(", ")));
    pass(61).await;
    let groups = manager.groups();
    assert_eq!(groups.len(), 50);
    assert!(groups.iter().all(|group| matches!(group.metrics.evaluations_total, 80 | 100)), "four or five rounds");
    assert!(groups.iter().all(|group| group.metrics.iterations_missed_total == 0));
    manager.stop().await;
}
