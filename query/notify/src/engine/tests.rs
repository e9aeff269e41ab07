use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use trivium_model::{MemoryStateStore, StateStore, TenantId, UnixNanos};

use super::{ALERT, Core, GROUP, Kept, LOG, META, Outcome, Reason, SILENCE, SendJob};
use crate::alert::AlertInput;
use crate::config::Config;
use crate::labels::Labels;
use crate::silence::{Silence, SilenceMatcher};

/// 2026-11-21T12:00:00Z, a Saturday.
const START: i64 = 1_795_262_400;

/// Runs the state machine in virtual time on a store that survives restarts.
struct Sim {
    core: Core,
    config: Arc<Config>,
    store: MemoryStateStore,
    now: UnixNanos,
    /// The answers of receivers by name; those that are not here take everything.
    answers: BTreeMap<String, Outcome>,
    /// Time and text of what was told.
    told: Vec<(i64, String)>,
    jobs: Vec<SendJob>,
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    futures::FutureExt::now_or_never(future).expect("the store in memory never waits")
}

impl Sim {
    fn new(config: &str) -> Self {
        let config = Arc::new(Config::parse(config, Path::new(".")).unwrap());
        let now = UnixNanos(START * 1_000_000_000);
        Self {
            core: Core::new(Arc::clone(&config), Kept::default(), now),
            config,
            store: MemoryStateStore::default(),
            now,
            answers: BTreeMap::new(),
            told: Vec::new(),
            jobs: Vec::new(),
        }
    }

    fn save(&mut self) {
        let changes = std::mem::take(&mut self.core.changes);
        wait(self.store.apply(TenantId(1), None, changes.to_vec())).unwrap();
    }

    /// Another process takes over, `after` so many seconds.
    fn restart(&mut self, after: i64) {
        self.save();
        self.now = self.now.after(seconds(after));
        let list = |kind| wait(self.store.list(TenantId(1), kind, "")).unwrap();
        let kept = Kept {
            alerts: list(ALERT),
            silences: list(SILENCE),
            log: list(LOG),
            groups: list(GROUP),
            meta: list(META),
        };
        self.core = Core::new(Arc::clone(&self.config), kept, self.now);
    }

    fn poll(&mut self) {
        self.jobs = self.core.poll(self.now);
        self.save();
        for job in std::mem::take(&mut self.jobs) {
            let outcome = self.answers.get(&job.notification.receiver).cloned().unwrap_or(Outcome::Sent);
            if outcome == Outcome::Sent {
                let alerts = job.notification.alerts.iter().map(|one| {
                    let (labels, mark) = (&one.alert.labels, if one.is_resolved { "-" } else { "+" });
                    format!("{mark}{}", labels.0.get("instance").unwrap_or(&labels.0["alertname"]))
                });
                let alerts = alerts.collect::<Vec<_>>().join("");
                let text = format!("{} {} {alerts}", job.notification.receiver, job.notification.reason.as_str());
                self.told.push(((self.now.0 / 1_000_000_000) - START, text));
            }
            self.core.complete(job.id, outcome, self.now);
        }
        self.save();
    }

    /// Lets time pass, stopping wherever something is due.
    fn pass(&mut self, count: i64) {
        let end = self.now.after(seconds(count));
        while let Some(next) = self.core.next_at().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.poll();
        }
        self.now = end;
    }

    /// An alert that lasts for `lasts` seconds from now; 0 is its end.
    fn alert(&mut self, labels: &[(&str, &str)], lasts: i64) {
        self.put(AlertInput { ends_at: Some(self.now.after(seconds(lasts))), ..input(labels) });
    }

    fn put(&mut self, input: AlertInput) {
        assert_eq!(self.core.put(vec![input], self.now), Vec::<String>::new());
        self.save();
    }

    fn told(&mut self) -> Vec<(i64, String)> {
        std::mem::take(&mut self.told)
    }
}

fn input(labels: &[(&str, &str)]) -> AlertInput {
    AlertInput { labels: labels.iter().copied().collect::<Labels>(), ..AlertInput::default() }
}

fn lines(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
}

const SIMPLE: &str = "
route: {receiver: hook, group_by: [alertname], group_wait: 30s, group_interval: 5m, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: 'http://x'}]}]
";

const HOUR: i64 = 3600;

#[test]
fn a_group_waits_then_follows_its_interval_and_repeats() {
    let mut sim = Sim::new(SIMPLE);
    sim.alert(&[("alertname", "A"), ("instance", "1")], 10 * HOUR);
    sim.pass(10);
    sim.alert(&[("alertname", "A"), ("instance", "2")], 10 * HOUR);
    sim.pass(60);
    sim.alert(&[("alertname", "A"), ("instance", "3")], 10 * HOUR);
    sim.pass(2 * HOUR);
    // Sent at 330; an hour later it is 3930, which is not more than an hour: the next flush repeats.
    let expected = [
        (30, "hook first notification +1+2"),
        (330, "hook new alerts added +1+2+3"),
        (4230, "hook repeat interval elapsed +1+2+3"),
    ];
    assert_eq!(sim.told(), lines(&expected));
}

#[test]
fn ends_are_told_and_end_the_group() {
    let mut sim = Sim::new(SIMPLE);
    sim.alert(&[("alertname", "A"), ("instance", "1")], 10 * HOUR);
    sim.alert(&[("alertname", "A"), ("instance", "2")], 10 * HOUR);
    sim.pass(40);
    sim.alert(&[("alertname", "A"), ("instance", "1")], 0);
    sim.pass(300);
    sim.alert(&[("alertname", "A"), ("instance", "2")], 0);
    sim.pass(300);
    assert_eq!((sim.core.groups.len(), sim.core.alerts.len()), (0, 0));
    // It comes back: a new group, and the first notification of it.
    sim.alert(&[("alertname", "A"), ("instance", "1")], 60);
    sim.pass(HOUR);
    let expected = [
        (30, "hook first notification +1+2"),
        (330, "hook some alerts resolved -1+2"),
        (630, "hook all alerts resolved -2"),
        (670, "hook first notification +1"),
        (970, "hook all alerts resolved -1"),
    ];
    assert_eq!(sim.told(), lines(&expected));
}

#[test]
fn what_ends_within_group_wait_is_never_told() {
    let mut sim = Sim::new(SIMPLE);
    sim.alert(&[("alertname", "A")], 20);
    sim.pass(HOUR);
    assert_eq!(sim.told(), []);
    assert_eq!((sim.core.groups.len(), sim.core.alerts.len()), (0, 0));
}

#[test]
fn an_old_alert_is_told_at_once() {
    let mut sim = Sim::new(SIMPLE);
    let now = sim.now;
    sim.alert(&[("alertname", "A"), ("instance", "1")], HOUR);
    sim.pass(5);
    let old =
        AlertInput { starts_at: Some(now.before(seconds(600))), ..input(&[("alertname", "A"), ("instance", "2")]) };
    sim.put(old);
    sim.pass(60);
    assert_eq!(sim.told(), lines(&[(5, "hook first notification +1+2")]));
}

const TREE: &str = "
route:
  receiver: root
  group_wait: 10s
  group_interval: 1m
  routes:
    - matchers: [team=a]
      receiver: a
      continue: true
    - matchers: [team=~\"a|b\"]
      receiver: ab
      group_by: [...]
      routes:
        - matchers: [severity=page, \"zone!=eu\"]
          receiver: pager
          group_wait: 0s
inhibit_rules:
  - source_matchers: [severity=page]
    target_matchers: [severity=~\"page|ticket\"]
    equal: [zone, rack]
receivers:
  - {name: root, webhook_configs: [{url: 'http://x'}]}
  - {name: a, webhook_configs: [{url: 'http://x'}]}
  - {name: ab, webhook_configs: [{url: 'http://x', send_resolved: false}]}
  - {name: pager, webhook_configs: [{url: 'http://x'}]}
";

#[test]
fn routes_are_walked_depth_first() {
    let config = Config::parse(TREE, Path::new(".")).unwrap();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        (&[("alertname", "x")], &["root"]),
        (&[("team", "a")], &["a", "ab"]),
        (&[("team", "b")], &["ab"]),
        (&[("team", "a"), ("severity", "page")], &["a", "pager"]),
        (&[("team", "b"), ("severity", "page"), ("zone", "eu")], &["ab"]),
        (&[("team", "c")], &["root"]),
    ];
    for (labels, expected) in cases {
        let labels = labels.iter().copied().collect();
        let found = config.routes.matching(&labels);
        let receivers: Vec<_> = found.iter().map(|at| config.routes.get(*at).options.receiver.as_str()).collect();
        assert_eq!(receivers, expected, "{labels}");
    }
}

#[test]
fn a_firing_source_inhibits_what_agrees() {
    let mut sim = Sim::new(TREE);
    let (page, ticket) = (("severity", "page"), ("severity", "ticket"));
    sim.alert(&[("alertname", "src"), page, ("zone", "1")], 100);
    sim.alert(&[("alertname", "same"), ticket, ("zone", "1"), ("rack", "")], HOUR);
    sim.alert(&[("alertname", "other"), ticket, ("zone", "2")], HOUR);
    sim.alert(&[("alertname", "twin"), page, ("zone", "1")], HOUR);
    sim.pass(15);
    assert_eq!(
        sim.told(),
        lines(&[(10, "root first notification +other+src+twin")]),
        "two sources do not mute each other"
    );
    // One source ends, the other still mutes; when that ends too, what they muted is told.
    sim.pass(100);
    assert_eq!(sim.told(), []);
    sim.alert(&[("alertname", "twin"), page, ("zone", "1")], 0);
    sim.pass(60);
    assert_eq!(sim.told(), lines(&[(130, "root new alerts added +other+same-src-twin")]));
}

#[test]
fn a_receiver_that_hears_of_no_ends() {
    let mut sim = Sim::new(TREE);
    sim.alert(&[("alertname", "x"), ("team", "b")], 30);
    sim.pass(200);
    assert_eq!(sim.told(), lines(&[(10, "ab first notification +x")]));
    assert!(sim.core.groups.is_empty());
    sim.alert(&[("alertname", "x"), ("team", "b")], 30);
    sim.pass(60);
    assert_eq!(sim.told(), lines(&[(210, "ab first notification +x")]), "the log knows that it had ended");
}

fn silence(matchers: &[(&str, &str)], from: UnixNanos, until: UnixNanos) -> Silence {
    let of = |(name, value): &(&str, &str)| SilenceMatcher {
        name: (*name).into(),
        value: (*value).into(),
        is_regex: false,
        is_equal: true,
    };
    Silence {
        id: String::new(),
        matchers: matchers.iter().map(of).collect(),
        starts_at: from.0,
        ends_at: until.0,
        updated_at: 0,
        created_by: "me".into(),
        comment: "why".into(),
        annotations: BTreeMap::new(),
    }
}

#[test]
fn a_silence_mutes_for_its_time_across_restarts() {
    let mut sim = Sim::new(SIMPLE);
    let (from, until) = (sim.now.after(seconds(100)), sim.now.after(seconds(2000)));
    let set = sim.core.silences.set(silence(&[("instance", "1")], from, until), sim.now, "s1".into()).unwrap();
    sim.core.changes.put(SILENCE, "s1".into(), &set[0]);
    sim.pass(80);
    for instance in ["1", "2"] {
        sim.alert(&[("alertname", "A"), ("instance", instance)], 2 * HOUR);
    }
    sim.pass(10);
    sim.restart(0);
    sim.pass(2400);
    let expected = [(110, "hook first notification +2"), (2210, "hook new alerts added +1+2")];
    assert_eq!(sim.told(), lines(&expected));
    sim.pass(5 * 24 * HOUR);
    assert_eq!(sim.core.silences.iter().count(), 0, "forgotten after 120 hours");
}

#[test]
fn silences_change_as_in_alertmanager() {
    let mut sim = Sim::new(SIMPLE);
    let (now, later) = (sim.now, sim.now.after(seconds(600)));
    let silences = &mut sim.core.silences;
    let first = silences.set(silence(&[("a", "b")], now.before(seconds(50)), later), now, "1".into()).unwrap();
    assert_eq!((first[0].starts_at, first[0].id.as_str()), (now.0, "1"), "it cannot begin in the past");
    let mut longer = first[0].clone();
    longer.ends_at = later.after(seconds(60)).0;
    assert_eq!(silences.set(longer.clone(), now, "2".into()).unwrap()[0].id, "1", "it may last longer");
    longer.matchers[0].value = "c".into();
    let changed = silences.set(longer, now, "2".into()).unwrap();
    assert_eq!(
        changed.iter().map(|one| (one.id.as_str(), one.ends_at == now.0)).collect::<Vec<_>>(),
        [("1", true), ("2", false)]
    );
    assert_eq!(silences.expire("1", now).unwrap_err().to_string(), "silence 1 already expired");
    assert_eq!(silences.expire("x", now).unwrap_err().to_string(), "silence not found");
    let all_empty = silences.set(silence(&[("a", "")], now, later), now, "3".into()).unwrap_err();
    assert_eq!(all_empty.to_string(), "silence invalid: at least one matcher must not match the empty string");
}

const MUTED: &str = "
route:
  receiver: hook
  group_wait: 10s
  group_interval: 1m
  routes:
    - matchers: [kind=mute]
      mute_time_intervals: [noon]
    - matchers: [kind=active]
      active_time_intervals: [noon]
time_intervals:
  - {name: noon, time_intervals: [{times: [{start_time: '12:00', end_time: '12:05'}]}]}
receivers: [{name: hook, webhook_configs: [{url: 'http://x'}]}]
";

#[test]
fn time_intervals_mute_and_activate() {
    let mut sim = Sim::new(MUTED);
    sim.alert(&[("alertname", "m"), ("kind", "mute")], HOUR);
    sim.pass(290);
    sim.alert(&[("alertname", "a"), ("kind", "active")], HOUR);
    sim.pass(700);
    assert_eq!(sim.told(), lines(&[(310, "hook first notification +m")]));
    sim.pass(24 * HOUR - 990);
    sim.alert(&[("alertname", "a2"), ("kind", "active")], HOUR);
    sim.pass(60);
    assert_eq!(sim.told().last().unwrap(), &(86_410, "hook first notification +a2".to_owned()));
}

#[test]
fn a_failed_notification_is_tried_again_until_the_deadline_and_at_the_next_flush() {
    let mut sim = Sim::new(SIMPLE);
    sim.answers.insert("hook".into(), Outcome::Transient { problem: "503".into(), after: None });
    sim.alert(&[("alertname", "A"), ("instance", "1")], 2 * HOUR);
    sim.pass(60);
    assert_eq!(sim.told(), []);
    sim.answers.clear();
    sim.pass(60);
    let told = sim.told();
    assert_eq!(told.len(), 1);
    assert!((60..=90).contains(&told[0].0), "the pause grows to a minute at most: {told:?}");
    // A permanent failure waits for the next flush, and nothing resolved is lost.
    sim.answers.insert("hook".into(), Outcome::Permanent("404".into()));
    sim.alert(&[("alertname", "A"), ("instance", "1")], 0);
    sim.pass(300);
    sim.answers.clear();
    sim.pass(300);
    assert_eq!(sim.told(), lines(&[(630, "hook all alerts resolved -1")]));
}

#[test]
fn retry_after_is_honoured() {
    let mut sim = Sim::new(SIMPLE);
    let after = Some(Duration::from_secs(100));
    sim.answers.insert("hook".into(), Outcome::Transient { problem: "429".into(), after });
    sim.alert(&[("alertname", "A"), ("instance", "1")], 2 * HOUR);
    sim.pass(60);
    sim.answers.clear();
    sim.pass(100);
    assert_eq!(sim.told(), lines(&[(130, "hook first notification +1")]));
}

/// Runs a history of two hours, restarting after each of the given moments.
fn history(restarts: &[i64]) -> Vec<(i64, String)> {
    let mut sim = Sim::new(TREE);
    let start = sim.now;
    for step in 0..240 {
        let at = step * 30;
        let mut fire = |name: &str, severity: &str, team: &str, from: i64, until: i64| {
            if (from..=until).contains(&at) {
                // Rules send again each half minute; the end once.
                let lasts = if at == until { 0 } else { 120 };
                let labels = [("alertname", name), ("severity", severity), ("team", team), ("zone", "z")];
                let starts_at = Some(start.after(seconds(from)));
                sim.put(AlertInput { starts_at, ends_at: Some(sim.now.after(seconds(lasts))), ..input(&labels) });
            }
        };
        fire("src", "page", "c", 60, 3000);
        fire("target", "ticket", "c", 90, 5400);
        fire("pageme", "page", "a", 600, 1200);
        fire("plain", "none", "b", 30, 6000);
        fire("flap", "none", "a", 300, 330);
        fire("flap", "none", "a", 900, 1500);
        sim.pass(7);
        if restarts.contains(&step) {
            sim.restart(0);
        }
        sim.pass(23);
    }
    sim.told()
}

#[test]
fn a_restart_at_any_step_changes_nothing() {
    let expected = history(&[]);
    assert!(expected.len() > 8, "{expected:#?}");
    assert!(expected.iter().all(|(at, text)| *at >= 3000 || !text.contains("+target")), "inhibited: {expected:#?}");
    for step in 0..240 {
        assert_eq!(history(&[step]), expected, "restart after step {step}");
    }
    assert_eq!(history(&(0..240).collect::<Vec<_>>()), expected, "a restart at every step");
}

#[test]
fn an_outage_resolves_nothing() {
    let mut sim = Sim::new(SIMPLE);
    sim.alert(&[("alertname", "A"), ("instance", "1")], 120);
    sim.pass(60);
    sim.restart(1800);
    // Another one at once must not forget that nobody listened.
    sim.restart(5);
    sim.pass(30);
    sim.alert(&[("alertname", "A"), ("instance", "1")], 120);
    sim.pass(50);
    assert_eq!(sim.told(), lines(&[(30, "hook first notification +1")]));
}

#[test]
fn a_reload_keeps_groups_and_routes_anew() {
    let mut sim = Sim::new(SIMPLE);
    sim.alert(&[("alertname", "A"), ("instance", "1")], HOUR);
    sim.pass(60);
    sim.core.reload(Arc::clone(&sim.config), sim.now);
    sim.pass(600);
    assert_eq!(sim.told(), lines(&[(30, "hook first notification +1")]), "nothing is told twice");
    let other = SIMPLE.replace(": hook", ": other");
    sim.core.reload(Arc::new(Config::parse(&other, Path::new(".")).unwrap()), sim.now);
    sim.pass(600);
    assert_eq!(sim.told()[0].1, "other first notification +1");
}

#[test]
fn incidents_group_and_evidence_is_told_once() {
    let mut sim = Sim::new(&SIMPLE.replace("group_by: [alertname]", "group_by: [trivium_incident]"));
    sim.put(AlertInput { incident: Some("i1".into()), ..input(&[("alertname", "A")]) });
    sim.put(input(&[("alertname", "B")]));
    sim.put(AlertInput { incident: Some("i1".into()), ..input(&[("alertname", "C")]) });
    sim.pass(10);
    // The incident becomes known before the first notification: the alert moves.
    sim.put(AlertInput { incident: Some("i1".into()), ..input(&[("alertname", "B")]) });
    assert_eq!(
        sim.core.groups.keys().map(|(_, labels)| labels.to_string()).collect::<Vec<_>>(),
        ["{trivium_incident=\"i1\"}"]
    );
    sim.pass(60);
    let evidence = Some(json!({"origin": {"service": "cart"}}));
    sim.put(AlertInput { evidence, ..input(&[("alertname", "B")]) });
    sim.pass(200);
    for name in ["A", "B", "C"] {
        sim.put(input(&[("alertname", name)]));
    }
    sim.pass(280);
    for name in ["A", "B", "C"] {
        sim.put(input(&[("alertname", name)]));
    }
    sim.pass(290);
    assert_eq!(sim.told(), lines(&[(30, "hook first notification +A+B+C"), (330, "hook evidence +A+B+C")]));
}

#[test]
fn each_notification_is_in_the_history() {
    let mut sim = Sim::new("route: {receiver: quiet, group_wait: 5s}\nreceivers: [{name: quiet}]\n");
    let sampled_at = sim.now.before(seconds(20));
    sim.put(AlertInput { sampled_at: Some(sampled_at), evaluated_at: Some(sim.now), ..input(&[("alertname", "A")]) });
    sim.pass(60);
    let events = wait(sim.store.history(TenantId(1), "notification", trivium_model::TimeRange::ALL, 10)).unwrap();
    assert_eq!(events.len(), 1);
    let value: serde_json::Value = serde_json::from_str(&events[0].value).unwrap();
    assert_eq!((&value["outcome"], &value["reason"]), (&json!("recorded"), &json!(Reason::First.as_str())));
    assert_eq!(value["sampled_at"], json!(sampled_at.0.to_string()));
}

#[test]
fn alerts_are_checked() {
    let mut sim = Sim::new(SIMPLE);
    let now = sim.now;
    let cases = [
        (input(&[]), "at least one label pair required"),
        (input(&[("a", "")]), "at least one label pair required"),
        (input(&[("", "a")]), "invalid label set: invalid name \"\""),
        (
            AlertInput { starts_at: Some(now), ends_at: Some(now.before(seconds(1))), ..input(&[("a", "b")]) },
            "start time must be before end time",
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(sim.core.put(vec![input], now), [expected]);
    }
}
