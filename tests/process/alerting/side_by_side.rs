//! The same samples, rules and receivers for Trivium and for Debian's Prometheus 2.42 with Alertmanager 0.25.
//!
//! Differences, which the comparison leaves out or the scenario avoids:
//! - Samples stay in reach of lookback: when a series ends, ours keeps its alerts firing for 15 minutes (`no_data: keep`),
//!   Prometheus resolves them. A rule file with `no_data: resolve` does as Prometheus, which does not know the field.
//! - `generatorURL` and `externalURL` name different servers; only the expression in them is compared.
//! - Ours has `notification_reason`, `incident` and `evidence` beside Alertmanager's members; evidence that comes later than the
//!   first notification is told in one more, with the reason `evidence`.
//! - Times differ by less than the interval of evaluation, since slots are spread by different hashes.
//! - The text of a broken template begins `<error expanding template: template: :1:4:` in ours and names `__alert_NAME` and
//!   other columns in Prometheus'; where it broke and why is the same.
//! - `query` in `/api/v1/rules` is as it was written in ours, and printed anew in Prometheus' (`sum by(job) (x)`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use super::means::{Alertmanager, Inbox, eventually, file, prometheus_api, promql, write, write_url};
use crate::prometheus::{Prometheus, binary, start_prometheus};
use crate::support::Server;

const RULES: &str = r#"
groups:
- name: shop
  interval: 1s
  rules:
  - record: job:queue_depth:sum
    expr: sum by (job) (queue_depth)
  - alert: QueueLong
    expr: job:queue_depth:sum > 10
    for: 2s
    labels: {severity: '{{ if gt $value 100.0 }}page{{ else }}ticket{{ end }}'}
    annotations: {summary: '{{ $labels.job | title }} has {{ $value | humanize }} waiting in {{ $externalLabels.region }}'}
  - alert: InstanceLong
    expr: queue_depth > 50
    labels: {severity: page}
    annotations:
      summary: '{{ .Labels.instance }}: {{ printf "%.1f" .Value }} of {{ query "sum(queue_depth)" | first | value }}'
      broken: '{{ query "sum(" | first | value }}'
  - alert: InstanceAbove
    expr: queue_depth > 55
    labels: {severity: ticket}
  - alert: Held
    expr: queue_depth{instance="a"} > 50
    keep_firing_for: 2s
  - alert: Other
    expr: queue_depth{job="invoices"} > 20
  - alert: Never
    expr: queue_depth > 1000
    for: 1s
  - alert: Waits
    expr: queue_depth > 5
    for: 1h
- name: limited
  interval: 1s
  limit: 1
  rules:
  - alert: TooMany
    expr: queue_depth >= 0
"#;

const RECEIVERS: &str = r#"
route:
  receiver: rest
  group_by: [alertname, job]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
  routes:
  - matchers: [severity="page"]
    receiver: pager
    continue: true
  - matchers: ['alertname=~"QueueLong|Held"']
    receiver: team
    group_by: ['...']
inhibit_rules:
- source_matchers: [alertname="InstanceLong"]
  target_matchers: [alertname="InstanceAbove"]
  equal: [instance]
receivers:
- {name: rest, webhook_configs: [{url: 'URL/rest'}]}
- {name: pager, webhook_configs: [{url: 'URL/pager'}]}
- {name: team, webhook_configs: [{url: 'URL/team'}]}
"#;

/// The real pair; ends with the test.
struct Theirs {
    prometheus: Prometheus,
    _alertmanager: Alertmanager,
}

fn receivers(folder: &Path, inbox: &Inbox, who: &str) -> String {
    file(folder, &format!("{who}.yml"), &RECEIVERS.replace("URL", &inbox.url(who)))
}

async fn start_theirs(binary: &Path, folder: &Path, inbox: &Inbox) -> Theirs {
    let alertmanager = Alertmanager::start(folder, &receivers(folder, inbox, "theirs")).await;
    let configuration = format!(
        "global: {{external_labels: {{region: eu}}}}\nrule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n",
        alertmanager.address
    );
    let prometheus = start_prometheus(binary, folder, &configuration).await;
    let theirs = Theirs { prometheus, _alertmanager: alertmanager };
    // Alerts that fire before it has found Alertmanager are sent again only after a minute.
    let found = format!("{}/api/v1/alertmanagers", theirs.prometheus.url);
    eventually("Prometheus has found Alertmanager", async || {
        let answer = reqwest::get(&found).await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        let active = answer["data"]["activeAlertmanagers"].as_array().map_or(0, Vec::len);
        if active == 1 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    theirs
}

/// Annotations without the place of a broken template.
fn without_places(annotations: &mut Value) {
    for text in annotations.as_object_mut().expect("an object").values_mut() {
        let place = text
            .as_str()
            .filter(|text| text.starts_with("<error expanding template: "))
            .and_then(|text| text.find(" at <"));
        if let Some(place) = place {
            *text = text.as_str().and_then(|text| text.get(place..)).into();
        }
    }
}

/// A notification without what is of the moment or of the server.
fn plain(mut payload: Value) -> Value {
    let members = payload.as_object_mut().expect("an object");
    members.retain(|name, _| !["externalURL", "notification_reason"].contains(&name.as_str()));
    without_places(&mut members["commonAnnotations"]);
    for alert in members["alerts"].as_array_mut().expect("alerts") {
        without_places(&mut alert["annotations"]);
        let is_firing = alert["status"] == "firing";
        let alert = alert.as_object_mut().expect("an object");
        alert.retain(|name, _| !["startsAt", "incident", "evidence"].contains(&name.as_str()));
        let has_no_end = alert.remove("endsAt").is_some_and(|end| end == "0001-01-01T00:00:00Z");
        assert_eq!(has_no_end, is_firing, "only what has resolved has an end");
        let url = alert["generatorURL"].as_str().unwrap_or_default();
        let url = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let expression = url.query_pairs().find(|(name, _)| name == "g0.expr").map(|(_, value)| value.into_owned());
        alert["generatorURL"] = expression.into();
    }
    payload
}

/// What one of them told all receivers: the notifications of each group in their order.
fn told(inbox: &Inbox, who: &str) -> BTreeMap<(String, String), Vec<Value>> {
    let mut groups: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for receiver in ["rest", "pager", "team"] {
        for payload in inbox.received(&format!("{who}/{receiver}")) {
            if payload["notification_reason"] != "evidence" {
                let key = (receiver.to_owned(), payload["groupKey"].to_string());
                groups.entry(key).or_default().push(plain(payload));
            }
        }
    }
    groups
}

/// Waits until both have told so many notifications, and compares them.
async fn until_told(inbox: &Inbox, count: usize) {
    eventually(&format!("{count} notifications of both"), async || {
        let counts = ["ours", "theirs"].map(|who| told(inbox, who).values().map(Vec::len).sum::<usize>());
        if counts.iter().all(|found| *found >= count) {
            return Ok(());
        }
        let list = ["ours", "theirs"].map(|who| summary(&told(inbox, who)));
        Err(format!("{counts:?}\nours: {:#?}\ntheirs: {:#?}", list[0], list[1]))
    })
    .await;
    let (ours, theirs) = (told(inbox, "ours"), told(inbox, "theirs"));
    assert_eq!(summary(&ours), summary(&theirs));
    assert_eq!(ours, theirs);
}

/// Groups with the states that were told.
fn summary(groups: &BTreeMap<(String, String), Vec<Value>>) -> Vec<String> {
    let states = |payload: &Value| {
        let alerts = payload["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
        alerts.iter().map(|alert| alert["status"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(",")
    };
    let line = |((receiver, key), payloads): (&(String, String), &Vec<Value>)| {
        format!("{receiver} {key}: {}", payloads.iter().map(states).collect::<Vec<_>>().join(" | "))
    };
    groups.iter().map(line).collect()
}

/// The alerts that `ALERTS` has seen, with the states that each went through in their order.
async fn transitions(api: &str) -> BTreeMap<String, Vec<String>> {
    let mut states: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for series in promql(api, "ALERTS[10m]").await.as_array().expect("series") {
        let mut labels = series["metric"].as_object().expect("labels").clone();
        let state = labels.remove("alertstate").expect("a state").as_str().unwrap_or_default().to_owned();
        let first = series["values"][0][0].as_f64().expect("a time");
        let labels: BTreeMap<String, Value> = labels.into_iter().collect();
        states.entry(format!("{labels:?}")).or_default().push(((first * 1_000.0) as u64, state));
    }
    let in_order = |(labels, mut states): (String, Vec<(u64, String)>)| {
        states.sort();
        (labels, states.into_iter().map(|(_, state)| state).collect())
    };
    states.into_iter().map(in_order).collect()
}

/// What both say of a rule and of its alerts. Prometheus 2.42 leaves out a `keepFiringFor` of 0.
const OF_RULE: &[&str] =
    &["name", "state", "duration", "keepFiringFor", "labels", "annotations", "alerts", "health", "lastError", "type"];
const OF_ALERT: &[&str] = &["labels", "annotations", "state", "value"];

/// A rule as far as it does not depend on the moment.
fn plain_rule(mut rule: Value) -> Value {
    let members = rule.as_object_mut().expect("an object");
    members.retain(|name, value| OF_RULE.contains(&name.as_str()) && (name != "keepFiringFor" || *value != 0.0));
    for value in members.values_mut().filter(|value| value.is_number()) {
        *value = value.as_f64().into();
    }
    if let Some(alerts) = members.get_mut("alerts").and_then(Value::as_array_mut) {
        for alert in alerts.iter_mut() {
            alert.as_object_mut().expect("an object").retain(|name, _| OF_ALERT.contains(&name.as_str()));
            without_places(&mut alert["annotations"]);
        }
        alerts.sort_by_key(|alert| alert["labels"].to_string());
    }
    rule
}

/// `/api/v1/rules`, rule by rule with what is said of its group.
async fn rules(api: &str) -> Vec<Value> {
    let answer = reqwest::get(format!("{api}/api/v1/rules")).await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let mut found = Vec::new();
    for group in answer["data"]["groups"].as_array().expect("groups") {
        let [interval, limit] = ["interval", "limit"].map(|name| group[name].as_f64());
        for rule in group["rules"].as_array().expect("rules") {
            found.push(serde_json::json!([group["name"], interval, limit, plain_rule(rule.clone())]));
        }
    }
    found
}

/// Scenario: queues grow and shrink in four steps; alerts with and without `for`, with `keep_firing_for`, with labels and texts
/// from templates, inhibited ones, and a group beyond its limit.
/// Guarantee: the same notifications in each group in the same order, down to labels, texts, fingerprints and group keys; the
/// same states of each alert in `ALERTS`; the same answer of `/api/v1/rules`.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_alerts_are_told_to_the_same_receivers() {
    let Some(binary) = binary() else { return };
    if Alertmanager::is_missing() {
        return;
    }
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let rule_file = file(folder.path(), "rules.yml", RULES);
    let theirs = start_theirs(&binary, folder.path(), &inbox).await;
    let receivers = receivers(folder.path(), &inbox, "ours");
    let flags = [
        "--rules",
        &rule_file,
        "--alertmanager-config",
        &receivers,
        "--notify-allow-networks",
        "127.0.0.0/8",
        "--external-labels",
        "region=eu",
    ];
    let ours = Server::start(&folder.path().join("data"), &flags);
    let apis = [prometheus_api(&ours), theirs.prometheus.url.clone()];
    let doors = [write_url(&ours), format!("{}/api/v1/write", theirs.prometheus.url)];
    let queues = [("orders", "a"), ("orders", "b"), ("invoices", "c")]
        .map(|(job, instance)| [("__name__", "queue_depth"), ("job", job), ("instance", instance)]);
    // Depths, and the notifications that there are then in all: see `summary`.
    for (depths, notifications) in
        [([1.0, 1.0, 1.0], 0), ([80.0, 60.0, 1.0], 4), ([80.0, 60.0, 30.0], 6), ([80.0, 1.0, 30.0], 10), ([1.0; 3], 15)]
    {
        let samples: Vec<_> = queues.iter().map(|labels| labels.as_slice()).zip(depths).collect();
        for door in &doors {
            write(door, &samples).await;
        }
        until_told(&inbox, notifications).await;
        let same = eventually("both answer the same rules", async || {
            let [ours, theirs] = [rules(&apis[0]).await, rules(&apis[1]).await];
            let different = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
            let is_seen = ours.len() == theirs.len() && ours.iter().all(|rule| rule[3]["health"] != "unknown");
            match different {
                None if is_seen => Ok(ours.len()),
                _ => Err(format!("{different:#?}")),
            }
        });
        assert_eq!(same.await, 9);
    }
    let [ours, theirs] = [transitions(&apis[0]).await, transitions(&apis[1]).await];
    assert_eq!(ours, theirs);
    let states: BTreeSet<&Vec<String>> = ours.values().collect();
    let expected = [vec!["firing".to_owned()], vec!["pending".into()], vec!["pending".into(), "firing".into()]];
    assert_eq!(states, expected.iter().collect());
}

const RULE: &str = "
groups:
- name: shop
  interval: 1s
  rules:
  - alert: QueueLong
    expr: queue_depth > 10
";

const RECEIVER: &str = "
route: {receiver: people, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers: [{name: people, webhook_configs: [{url: 'URL'}]}]
";

/// Scenario: `alertmanager_urls` names an Alertmanager, and there are receivers of our own too.
/// Guarantee: Alertmanager is sent what fires and what has resolved and tells it to its receivers; ours are told nothing.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_go_to_an_alertmanager_instead() {
    if Alertmanager::is_missing() {
        return;
    }
    let (folder, inbox) = (tempdir().expect("a folder"), Inbox::open().await);
    let configuration =
        |who: &str| file(folder.path(), &format!("{who}.yml"), &RECEIVER.replace("URL", &inbox.url(who)));
    let alertmanager = Alertmanager::start(folder.path(), &configuration("theirs")).await;
    let (rules, ours) = (file(folder.path(), "rules.yml", RULE), configuration("ours"));
    let url = format!("http://{}", alertmanager.address);
    let flags = [
        "--rules",
        &rules,
        "--alertmanager-config",
        &ours,
        "--alertmanager-urls",
        &url,
        "--notify-allow-networks",
        "127.0.0.0/8",
    ];
    let server = Server::start(&folder.path().join("data"), &flags);
    for (number, (depth, status)) in [(42.0, "firing"), (1.0, "resolved")].into_iter().enumerate() {
        write(&write_url(&server), &[(&[("__name__", "queue_depth"), ("job", "orders")], depth)]).await;
        let told = inbox.notification("theirs", number).await;
        let alert = &told["alerts"][0];
        assert_eq!((&told["status"], &alert["labels"]["job"]), (&status.into(), &"orders".into()), "{told:#}");
    }
    assert_eq!(inbox.received("ours"), Vec::<Value>::new());
    assert_eq!(server.number("SELECT count(*) FROM notifications_history").await, 0);
    let known = server.get("/prometheus/api/v1/alertmanagers").await;
    assert!(known["data"]["activeAlertmanagers"][0]["url"].as_str().is_some_and(|known| known.starts_with(&url)));
}
