use serde_json::{Value, json};

use super::*;
use crate::runner::{Options, Runner, unknown};
use crate::world::{START_MS, World, labels, rules};

const RULES: &str = r#"
groups:
- name: b
  interval: 90s
  limit: 5
  rules:
  - {record: r, expr: errors * 2, labels: {team: infra}}
  - alert: High
    expr: errors > 5
    for: 5m
    keep_firing_for: 1m
    labels: {severity: page}
    annotations: {summary: "{{ job }}"}
- name: a
  rules:
  - {alert: Broken, type: sql, expr: SELECT}
- {name: empty, rules: []}
"#;

async fn statuses() -> Vec<Arc<GroupStatus>> {
    let world = World::new();
    world.samples.load(labels(&[("__name__", "errors"), ("job", "x")]), &[(0, 12.5)]);
    let options = Arc::new(Options::default());
    let mut statuses = Vec::new();
    for (at, group) in rules(RULES).groups.into_iter().enumerate() {
        let group = Arc::new(group);
        let cell = unknown(&group, &options);
        let mut runner = Runner::load(world.deps(), Arc::clone(&options), group, Arc::clone(&cell)).await.unwrap();
        if at == 0 {
            runner.evaluate(START_MS, None).await.unwrap();
        }
        statuses.push(Arc::clone(&cell.lock().unwrap()));
    }
    statuses
}

fn names(answer: &RulesAnswer) -> Vec<&str> {
    answer.groups.iter().map(|group| group.name.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn rules_are_written_as_prometheus_writes_them() {
    let answer = rules_answer(&statuses().await, &RulesQuery::default()).unwrap();
    let json = serde_json::to_value(&answer).unwrap();
    let group = &json["groups"][1];
    assert_eq!(group["name"], "b");
    assert_eq!((&group["interval"], &group["limit"]), (&json!(90.0), &json!(5)));
    assert_eq!(group["lastEvaluation"], "2023-11-15T00:00:00Z");
    let mut alerting = group["rules"][1].clone();
    let ours = ["evaluations", "completeness", "queryType"];
    ours.iter().for_each(|field| assert!(alerting.as_object_mut().unwrap().remove(*field).is_some(), "{field}"));
    let alert = json!({
        "labels": {"alertname": "High", "job": "x", "severity": "page"},
        "annotations": {"summary": "x"},
        "state": "pending",
        "activeAt": "2023-11-15T00:00:00Z",
        "value": "1.25e+01",
    });
    let expected = json!({
        "state": "pending", "name": "High", "query": "errors > 5", "duration": 300.0, "keepFiringFor": 60.0,
        "labels": {"severity": "page"}, "annotations": {"summary": "{{ job }}"}, "alerts": [alert], "health": "ok",
        "evaluationTime": 0.0, "lastEvaluation": "2023-11-15T00:00:00Z", "type": "alerting",
    });
    assert_eq!(alerting, expected);
    let recording = &group["rules"][0];
    assert_eq!((&recording["type"], &recording["labels"]), (&json!("recording"), &json!({"team": "infra"})));
    assert_eq!(recording["evaluations"][0]["samples"], 1);
    assert_eq!(json["groups"][0]["rules"][0]["state"], "unknown");
    assert_eq!(json["groups"][0]["rules"][0]["health"], "unknown");
    assert_eq!(json["groups"][0]["lastEvaluation"], "0001-01-01T00:00:00Z");
    assert_eq!(json.get("groupNextToken"), None::<&Value>);
}

#[tokio::test(start_paused = true)]
async fn filters_leave_out_what_was_not_asked_for() {
    let statuses = statuses().await;
    let ask = |query: RulesQuery| rules_answer(&statuses, &query).unwrap();
    assert_eq!(names(&ask(RulesQuery::default())), ["a", "b", "empty"]);
    let recording = ask(RulesQuery { kind: Some(RuleKind::Recording), ..RulesQuery::default() });
    assert_eq!((names(&recording), recording.groups[0].rules.len()), (vec!["b", "empty"], 1));
    assert_eq!(names(&ask(RulesQuery { rule_names: vec!["Broken".into()], ..RulesQuery::default() })), ["a", "empty"]);
    assert_eq!(names(&ask(RulesQuery { rule_groups: vec!["b".into()], ..RulesQuery::default() })), ["b"]);
    assert_eq!(names(&ask(RulesQuery { files: vec!["other".into()], ..RulesQuery::default() })), [""; 0]);
    let matchers = vec![trivium_promql::parse_selector("{severity=~\"page|ticket\"}").unwrap()];
    assert_eq!(ask(RulesQuery { matchers, ..RulesQuery::default() }).groups[0].rules.len(), 1);
    let excluded = ask(RulesQuery { exclude_alerts: true, rule_groups: vec!["b".into()], ..RulesQuery::default() });
    assert_eq!(serde_json::to_value(&excluded).unwrap()["groups"][0]["rules"][1]["alerts"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn groups_can_be_had_page_by_page() {
    let statuses = statuses().await;
    let ask = |limit: Option<usize>, token: Option<String>| {
        let query = RulesQuery { group_limit: limit, group_next_token: token, ..RulesQuery::default() };
        rules_answer(&statuses, &query)
    };
    let first = ask(Some(2), None).unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    let second = ask(Some(2), first.group_next_token.clone()).unwrap();
    assert_eq!((names(&second), &second.group_next_token), (vec!["empty"], &None));
    assert!(ask(None, first.group_next_token).is_err());
    assert!(ask(Some(2), Some("nonsense".to_owned())).unwrap_err().contains("group_next_token"));
    assert!(ask(Some(0), None).is_err());
}

#[tokio::test(start_paused = true)]
async fn alerts_are_those_of_all_rules() {
    let answer = alerts_answer(&statuses().await);
    assert_eq!(answer.alerts.len(), 1);
}

#[test]
fn numbers_have_an_exponent_as_in_go() {
    for (value, text) in [(1.0, "1e+00"), (0.0, "0e+00"), (12.5, "1.25e+01"), (1e-7, "1e-07"), (-3e100, "-3e+100")] {
        assert_eq!(exponential(value), text);
    }
    assert_eq!(exponential(f64::NAN), "NaN");
    assert_eq!(exponential(f64::INFINITY), "+Inf");
}
