use super::*;

const MINUTE: i64 = 60_000;
const TERMS: Terms = Terms { hold_ms: 0, keep_firing_ms: 0, no_data_ms: 0, limit: 0 };

fn set(instance: &str) -> Labels {
    Labels::new([("alertname", "Down"), ("instance", instance)])
}

/// Alerts of one rule that is told minute by minute which instances are down.
struct Rule {
    alerts: Alerts,
    terms: Terms,
}

impl Rule {
    fn new(terms: Terms) -> Self {
        Self { alerts: Alerts::default(), terms }
    }

    fn at(&mut self, minute: i64, down: &[&str], vanished: &[&str]) -> Vec<String> {
        let incoming = down.iter().map(|instance| Incoming {
            source: Labels::new([("instance", *instance)]),
            labels: set(instance),
            annotations: BTreeMap::new(),
            value: minute as f64,
        });
        let vanished = vanished.iter().map(|instance| set(instance)).collect();
        match self.alerts.advance(minute * MINUTE, self.terms, incoming.collect(), &vanished) {
            Ok(changes) => changes
                .iter()
                .map(|(change, labels)| format!("{} {}", change.as_str(), labels.get("instance")))
                .collect(),
            Err(error) => vec![error],
        }
    }

    fn state(&self, instance: &str) -> Option<AlertState> {
        self.alerts.active.get(&set(instance)).map(|alert| alert.state)
    }
}

#[test]
fn without_for_an_alert_fires_at_once() {
    let mut rule = Rule::new(TERMS);
    assert_eq!(rule.at(0, &["a"], &[]), ["pending a", "firing a"]);
    assert_eq!(rule.at(1, &["a"], &[]), [""; 0]);
    assert_eq!(rule.at(2, &[], &[]), ["resolved a"]);
    assert_eq!(rule.state("a"), Some(AlertState::Inactive));
}

#[test]
fn an_alert_is_pending_until_its_time_has_come() {
    let mut rule = Rule::new(Terms { hold_ms: 2 * MINUTE, ..TERMS });
    assert_eq!(rule.at(0, &["a"], &[]), ["pending a"]);
    assert_eq!(rule.at(1, &["a", "b"], &[]), ["pending b"]);
    assert_eq!(rule.at(2, &["a", "b"], &[]), ["firing a"]);
    assert_eq!(rule.at(3, &["a"], &[]), ["inactive b"]);
    assert_eq!((rule.state("a"), rule.state("b")), (Some(AlertState::Firing), None));
}

#[test]
fn an_alert_that_returns_is_a_new_one() {
    let mut rule = Rule::new(TERMS);
    rule.at(0, &["a"], &[]);
    rule.at(1, &[], &[]);
    assert_eq!(rule.at(2, &["a"], &[]), ["pending a", "firing a"]);
    let alert = rule.alerts.iter().next().unwrap();
    assert_eq!((alert.active_at_ms, alert.fired_at_ms, alert.resolved_at_ms), (2 * MINUTE, Some(2 * MINUTE), None));
}

#[test]
fn a_resolved_alert_is_kept_for_fifteen_minutes() {
    let mut rule = Rule::new(TERMS);
    rule.at(0, &["a"], &[]);
    for minute in 1..=16 {
        rule.at(minute, &[], &[]);
        assert_eq!(rule.state("a"), Some(AlertState::Inactive), "{minute}");
    }
    rule.at(17, &[], &[]);
    assert_eq!(rule.state("a"), None);
}

#[test]
fn an_alert_keeps_firing_for_its_time() {
    let mut rule = Rule::new(Terms { keep_firing_ms: 2 * MINUTE, ..TERMS });
    rule.at(0, &["a"], &[]);
    assert_eq!(rule.at(1, &[], &[]), [""; 0]);
    assert_eq!(rule.at(2, &["a"], &[]), [""; 0]);
    assert_eq!(rule.at(3, &[], &[]), [""; 0]);
    assert_eq!(rule.at(4, &[], &[]), [""; 0]);
    assert_eq!(rule.at(5, &[], &[]), ["resolved a"]);
}

#[test]
fn an_alert_is_pending_again_when_for_was_raised() {
    let mut rule = Rule::new(TERMS);
    rule.at(0, &["a"], &[]);
    rule.alerts.take_due(0, MINUTE, MINUTE);
    rule.terms.hold_ms = 3 * MINUTE;
    assert_eq!(rule.at(1, &["a"], &[]), ["pending a"]);
    assert_eq!(rule.alerts.iter().next().unwrap().last_sent_ms, None);
    assert_eq!(rule.at(3, &["a"], &[]), ["firing a"]);
}

#[test]
fn beyond_the_limit_all_is_forgotten() {
    let mut rule = Rule::new(Terms { limit: 1, ..TERMS });
    rule.at(0, &["a"], &[]);
    assert_eq!(rule.at(1, &["a", "b"], &[]), ["exceeded limit of 1 with 2 alerts"]);
    assert_eq!(rule.state("a"), None);
}

#[test]
fn an_alert_without_data_stays_for_its_time() {
    let mut rule = Rule::new(Terms { no_data_ms: 3 * MINUTE, ..TERMS });
    rule.at(0, &["a", "b"], &[]);
    assert_eq!(rule.at(1, &[], &["a"]), ["no_data a", "resolved b"]);
    assert_eq!(rule.at(2, &["a"], &[]), ["data_back a"]);
    assert_eq!(rule.at(3, &[], &["a"]), ["no_data a"]);
    // Its data are back and it is fine.
    assert_eq!(rule.at(4, &[], &[]), ["data_back a", "resolved a"]);
    rule.at(5, &["a"], &[]);
    rule.at(6, &[], &["a"]);
    rule.at(8, &[], &["a"]);
    assert_eq!(rule.at(9, &[], &["a"]), ["resolved a"]);
}

#[test]
fn without_data_keep_firing_for_begins_when_the_time_is_over() {
    let mut rule = Rule::new(Terms { no_data_ms: MINUTE, keep_firing_ms: 2 * MINUTE, ..TERMS });
    rule.at(0, &["a"], &[]);
    rule.at(1, &[], &["a"]);
    assert_eq!(rule.at(2, &[], &["a"]), [""; 0]);
    assert_eq!(rule.at(3, &[], &["a"]), [""; 0]);
    assert_eq!(rule.at(4, &[], &["a"]), ["resolved a"]);
}

#[test]
fn alerts_are_told_when_they_fire_again_and_when_resolved() {
    let mut rule = Rule::new(Terms { hold_ms: MINUTE, ..TERMS });
    let told = |rule: &mut Rule, minute: i64| rule.alerts.take_due(minute * MINUTE, MINUTE, 30_000).len();
    rule.at(0, &["a"], &[]);
    assert_eq!(told(&mut rule, 0), 0);
    rule.at(1, &["a"], &[]);
    assert_eq!(told(&mut rule, 1), 1);
    assert_eq!(rule.alerts.iter().next().unwrap().valid_until_ms, Some(5 * MINUTE));
    rule.at(2, &["a"], &[]);
    assert_eq!(told(&mut rule, 2), 0, "one resend delay ago is not more than one");
    rule.at(3, &["a"], &[]);
    assert_eq!(told(&mut rule, 3), 1);
    rule.at(4, &[], &[]);
    assert_eq!(told(&mut rule, 4), 1, "at once");
    let after: usize = (5..=30)
        .map(|minute| {
            rule.at(minute, &[], &[]);
            told(&mut rule, minute)
        })
        .sum();
    assert_eq!(after, 7, "every other minute for 15 minutes");
}

#[test]
fn series_tell_of_active_alerts() {
    let mut rule = Rule::new(TERMS);
    rule.at(2, &["a"], &[]);
    let samples = rule.alerts.samples();
    assert_eq!(samples[0].0, set("a").with("__name__", "ALERTS").with("alertstate", "firing"));
    assert_eq!(samples[1], (set("a").with("__name__", "ALERTS_FOR_STATE"), 120.0));
    rule.at(3, &[], &[]);
    assert!(rule.alerts.samples().is_empty());
}

#[test]
fn fingerprints_are_those_of_prometheus() {
    // Of an empty set: the offset basis of FNV-1a.
    assert_eq!(fingerprint(&Labels::default()), 0xcbf2_9ce4_8422_2325);
    assert_ne!(fingerprint(&set("a")), fingerprint(&set("b")));
}
