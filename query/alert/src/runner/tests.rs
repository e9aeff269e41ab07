use std::collections::BTreeSet;

use super::*;
use trivium_promql::{SampleValue, VectorSample};

use crate::alert::{Alert, AlertState};
use crate::file::RuleSet;
use crate::seam::Completeness;
use crate::world::{START_MS, World, labels, map, rules};

const MINUTE: i64 = 60_000;

/// A group that is evaluated minute by minute.
struct Bench {
    world: World,
    options: Arc<Options>,
    group: Arc<Group>,
    runner: Runner,
}

impl Bench {
    async fn new(text: &str) -> Self {
        Self::with(text, Options { external_url: "http://here".to_owned(), ..Options::default() }).await
    }

    async fn with(text: &str, options: Options) -> Self {
        let (world, options) = (World::new(), Arc::new(options));
        let group = Arc::new(only_group(rules(text)));
        let runner = load(&world, &options, &group).await;
        Self { world, options, group, runner }
    }

    async fn restart(&mut self) {
        self.runner = load(&self.world, &self.options, &self.group).await;
    }

    /// Goes on with other rules, as a reload does.
    async fn reload(&mut self, text: &str) {
        self.group = Arc::new(only_group(rules(text)));
        self.restart().await;
    }

    async fn at(&mut self, minute: i64) {
        let slot = START_MS + minute * MINUTE;
        let wait = u64::try_from(slot - self.world.now_ms()).unwrap();
        tokio::time::advance(Duration::from_millis(wait)).await;
        self.runner.evaluate(slot, None).await.unwrap();
    }

    fn status(&self) -> Arc<GroupStatus> {
        Arc::clone(&self.runner.status.lock().unwrap())
    }

    /// The samples written since the last call, as `minute name{labels} value`.
    fn written(&self) -> Vec<String> {
        let written = std::mem::take(&mut *self.world.samples.written.lock().unwrap());
        let line = |sample: SampleToWrite| {
            let value = match sample.value {
                WriteValue::Float(value) => value.to_string(),
                WriteValue::Stale => "stale".to_owned(),
                WriteValue::Histogram(_) => "histogram".to_owned(),
            };
            format!("{} {} {value}", (sample.t_ms - START_MS) as f64 / MINUTE as f64, sample.labels)
        };
        written.into_iter().map(line).collect()
    }

    /// What was told since the last call, as `slot state labels [start..end]` in minutes.
    fn told(&self) -> Vec<String> {
        let minute = |ms: i64| (ms - START_MS) / MINUTE;
        let line = |notice: AlertNotice| {
            let (start, end) = (minute(notice.starts_at_ms), minute(notice.ends_at_ms));
            let labels: Vec<String> = notice.labels.values().cloned().collect();
            format!("{} {} {} [{start}..{end}]", minute(notice.slot_ms), notice.state.as_str(), labels.join(","))
        };
        self.world.take_told().into_iter().map(line).collect()
    }

    async fn history(&self) -> Vec<String> {
        let line = |event: HistoryEvent| {
            let value: serde_json::Value = serde_json::from_str(&event.value).unwrap();
            let minute = (event.at.0 / 1_000_000 - START_MS) / MINUTE;
            let (transition, job) = (value["transition"].as_str().unwrap(), value["labels"]["job"].as_str());
            format!("{minute} {transition} {}", job.unwrap_or_default()).trim_end().to_owned()
        };
        let mut lines: Vec<(UnixNanos, String)> =
            self.world.history().await.into_iter().map(|event| (event.at, line(event))).collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

fn only_group(mut set: RuleSet) -> Group {
    assert_eq!(set.groups.len(), 1);
    set.groups.remove(0)
}

async fn load(world: &World, options: &Arc<Options>, group: &Arc<Group>) -> Runner {
    let status = unknown(group, options);
    Runner::load(world.deps(), Arc::clone(options), Arc::clone(group), status).await.unwrap()
}

/// Values minute by minute from the start; `None` for a gap.
fn minutes(values: &[Option<f64>]) -> Vec<(i64, f64)> {
    let timed = values.iter().enumerate().filter_map(|(minute, value)| Some((minute as i64 * MINUTE, (*value)?)));
    timed.collect()
}

fn errors(world: &World, job: &str, values: &[f64]) {
    let points: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
    world.samples.load(labels(&[("__name__", "errors"), ("job", job)]), &minutes(&points));
}

const CHAINED: &str = r#"
groups:
- name: chained
  interval: 1m
  rules:
  - record: job:errors:sum
    expr: sum by (job) (errors)
    labels: {team: a}
  - alert: High
    expr: job:errors:sum > 5
    for: 1m
    labels: {severity: page}
    annotations: {summary: "{{ job }} has {{ value }} of {{ query sum(errors) }}"}
  - alert: Any
    expr: count(ALERTS{alertname="High", alertstate="firing"}) > 0
"#;

#[tokio::test(start_paused = true)]
async fn each_rule_sees_what_those_before_it_wrote() {
    let mut bench = Bench::new(CHAINED).await;
    errors(&bench.world, "a", &[9.0, 9.0, 9.0, 1.0]);
    errors(&bench.world, "b", &[1.0, 1.0, 1.0, 1.0]);
    bench.at(0).await;
    assert_eq!(
        bench.written()[..2],
        [
            "0 {__name__=\"job:errors:sum\", job=\"a\", team=\"a\"} 9",
            "0 {__name__=\"job:errors:sum\", job=\"b\", team=\"a\"} 1"
        ]
    );
    bench.at(1).await;
    // In the very slot that the first alert fires the second one does.
    assert_eq!(bench.history().await, ["0 pending a", "1 firing", "1 firing a", "1 pending"]);
    let high = &bench.status().rules[1].alerts[0];
    assert_eq!(high.annotations, map(&[("summary", "a has 9 of 10")]));
    assert_eq!(high.labels, labels(&[("alertname", "High"), ("job", "a"), ("severity", "page"), ("team", "a")]));
    assert_eq!(bench.told().len(), 2);
    bench.written();
    bench.at(3).await;
    let written = bench.written();
    let stale: Vec<&String> = written.iter().filter(|line| line.ends_with("stale")).collect();
    assert_eq!(stale.len(), 4, "{written:?}");
    assert_eq!(bench.told(), ["3 inactive High,a,page,a [1..3]", "3 inactive Any [1..3]"]);
    assert_eq!(bench.status().metrics.last_evaluation_samples, 2);
}

#[tokio::test(start_paused = true)]
async fn pending_becomes_firing_by_ending_one_series_and_beginning_another() {
    let mut bench = Bench::new("groups: [{name: g, rules: [{alert: High, expr: errors > 5, for: 1m}]}]").await;
    errors(&bench.world, "a", &[9.0, 9.0]);
    bench.at(0).await;
    bench.written();
    bench.at(1).await;
    assert_eq!(
        bench.written(),
        [
            "1 {__name__=\"ALERTS\", alertname=\"High\", alertstate=\"firing\", job=\"a\"} 1",
            &format!("1 {{__name__=\"ALERTS_FOR_STATE\", alertname=\"High\", job=\"a\"}} {}", START_MS / 1000),
            "1 {__name__=\"ALERTS\", alertname=\"High\", alertstate=\"pending\", job=\"a\"} stale",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn queries_and_samples_are_offset_and_alert_times_are_not() {
    let text =
        "groups: [{name: g, query_offset: 1m, rules: [{record: r, expr: errors}, {alert: A, expr: errors > 5}]}]";
    let mut bench = Bench::new(text).await;
    errors(&bench.world, "a", &[1.0, 9.0, 1.0]);
    bench.at(2).await;
    assert!(bench.written().iter().all(|line| line.starts_with("1 ")));
    assert_eq!(bench.status().rules[1].alerts[0].active_at_ms, START_MS + 2 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn an_error_leaves_all_as_it_is_and_the_next_rule_runs() {
    let text = "groups: [{name: g, rules: [{alert: A, expr: errors > 5}, {record: r, expr: vector(1)}]}]";
    let mut bench = Bench::new(text).await;
    errors(&bench.world, "a", &[9.0, 9.0, 9.0]);
    bench.at(0).await;
    bench.written();
    *bench.world.samples.fails.lock().unwrap() = Some("storage is away".to_owned());
    bench.at(1).await;
    assert_eq!(bench.written(), [""; 0]);
    let status = bench.status();
    assert_eq!((status.rules[0].health, status.rules[0].last_error.as_deref()), (Health::Err, Some("storage is away")));
    assert_eq!(status.rules[0].state, Some(AlertState::Firing));
    assert_eq!(status.metrics.evaluation_failures_total, 2);
    *bench.world.samples.fails.lock().unwrap() = None;
    bench.at(2).await;
    let history = bench.history().await;
    assert_eq!(history, ["0 firing a", "0 pending a", "1 error", "1 error", "2 recovered", "2 recovered"]);
}

#[tokio::test(start_paused = true)]
async fn equal_label_sets_are_errors() {
    let text = "groups: [{name: g, rules: [{record: r, expr: errors, labels: {job: x}}, {alert: A, expr: errors, labels: {job: x}}]}]";
    let mut bench = Bench::new(text).await;
    errors(&bench.world, "a", &[9.0]);
    errors(&bench.world, "b", &[9.0]);
    bench.at(0).await;
    let errors: Vec<Option<String>> = bench.status().rules.iter().map(|rule| rule.last_error.clone()).collect();
    let message = |what| Some(format!("vector contains metrics with the same labelset after applying {what} labels"));
    assert_eq!(errors, [message("rule"), message("alert")]);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_nothing_is_written() {
    let text = "groups: [{name: g, limit: 1, rules: [{record: r, expr: errors}, {alert: A, expr: errors > 5}]}]";
    let mut bench = Bench::new(text).await;
    errors(&bench.world, "a", &[9.0, 9.0]);
    errors(&bench.world, "b", &[1.0, 9.0]);
    bench.at(0).await;
    assert_eq!(bench.status().rules[0].last_error.as_deref(), Some("exceeded limit of 1 with 2 series"));
    assert_eq!(bench.written().len(), 2);
    bench.at(1).await;
    assert_eq!(bench.status().rules[1].last_error.as_deref(), Some("exceeded limit of 1 with 2 alerts"));
    assert_eq!((bench.written().len(), bench.status().rules[1].alerts.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_template_that_fails_says_so_in_the_alert() {
    let text = "groups: [{name: g, rules: [{alert: A, expr: errors, annotations: {s: '{{ fail }}', t: '{{ query nonsense( }}'}}]}]";
    let mut bench = Bench::new(text).await;
    errors(&bench.world, "a", &[9.0]);
    bench.at(0).await;
    let alert = &bench.status().rules[0].alerts[0];
    assert_eq!(alert.annotations["s"], "<error expanding template: as told>");
    assert!(alert.annotations["t"].starts_with("<error expanding template: "), "{:?}", alert.annotations);
    assert_eq!(alert.state, AlertState::Firing);
}

#[tokio::test(start_paused = true)]
async fn scalars_and_rows_make_alerts_too() {
    let text = "groups: [{name: g, rules: [{alert: S, expr: '1'}, {alert: L, type: logs, expr: '* | count() by (job) [5m] > 5'}, {alert: Q, type: sql, expr: SELECT 1}]}]";
    let mut bench = Bench::new(text).await;
    let row =
        |job: &str, value: f64| VectorSample { labels: labels(&[("job", job)]), value: SampleValue::Float(value) };
    *bench.world.samples.rows.lock().unwrap() = vec![row("a", 9.0), row("b", 1.0)];
    bench.at(0).await;
    let alerts: Vec<usize> = bench.status().rules.iter().map(|rule| rule.alerts.len()).collect();
    assert_eq!(alerts, [1, 1, 2]);
}

const WATCHED: &str = "groups: [{name: g, rules: [{alert: A, expr: errors > 5, no_data: POLICY, no_data_for: 10m}]}]";

/// `a` is too high and its series ends; `b` is too high and becomes fine.
async fn watched(policy: &str) -> Bench {
    let bench = Bench::new(&WATCHED.replace("POLICY", policy)).await;
    let stale = f64::from_bits(trivium_promql::STALE_NAN_BITS);
    let mut points = vec![(0, 9.0), (MINUTE, stale)];
    points.extend((30..40).map(|minute| (minute * MINUTE, 1.0)));
    bench.world.samples.load(labels(&[("__name__", "errors"), ("job", "a")]), &points);
    errors(&bench.world, "b", &[9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    bench
}

#[tokio::test(start_paused = true)]
async fn missing_data_keep_an_alert_firing_for_a_time() {
    let mut bench = watched("keep").await;
    for minute in 0..=12 {
        bench.at(minute).await;
    }
    let history = bench.history().await;
    assert_eq!(history[4..], ["1 no_data a", "1 resolved b", "11 resolved a"]);
    let mut bench = watched("keep").await;
    bench.at(0).await;
    bench.at(1).await;
    let status = bench.status();
    let alert = status.rules[0].alerts.iter().find(|alert| alert.labels.get("job") == "a").unwrap();
    assert_eq!((alert.state, alert.no_data_since_ms), (AlertState::Firing, Some(START_MS + MINUTE)));
}

#[tokio::test(start_paused = true)]
async fn missing_data_resolve_as_in_prometheus_if_told_so() {
    let mut bench = watched("resolve").await;
    bench.at(0).await;
    bench.at(1).await;
    assert_eq!(bench.history().await[4..], ["1 resolved a", "1 resolved b"]);
}

#[tokio::test(start_paused = true)]
async fn missing_data_alert_until_they_are_back_if_told_so() {
    let mut bench = watched("alerting").await;
    for minute in [0, 1, 12, 20, 29, 30] {
        bench.at(minute).await;
    }
    assert_eq!(bench.history().await[4..], ["1 no_data a", "1 resolved b", "30 data_back a", "30 resolved a"]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_whose_inputs_vanish_alerts_if_told_so() {
    let text = "groups: [{name: g, rules: [{alert: A, expr: sum by (job) (errors) > 5, no_data: alerting}]}]";
    let mut bench = Bench::new(text).await;
    bench.at(0).await;
    assert_eq!(bench.history().await, [""; 0], "nothing was ever there");
    let points = [(2 * MINUTE, 1.0), (3 * MINUTE, 1.0)];
    bench.world.samples.load(labels(&[("__name__", "errors"), ("job", "a")]), &points);
    bench.at(2).await;
    bench.at(7).await;
    assert_eq!(bench.history().await, [""; 0], "within the lookback");
    bench.at(9).await;
    bench.restart().await;
    bench.at(10).await;
    assert_eq!(bench.status().rules[0].alerts[0].labels, labels(&[("alertname", "A"), ("no_data", "true")]));
    assert_eq!(bench.history().await, ["9 firing", "9 pending"]);
}

fn row(service: &str, value: f64) -> VectorSample {
    let labels = if service.is_empty() { labels(&[]) } else { labels(&[("job", service), ("zone", "x")]) };
    VectorSample { labels, value: SampleValue::Float(value) }
}

fn presence(services: &[&str]) -> Vec<VectorSample> {
    services
        .iter()
        .map(|service| VectorSample { labels: labels(&[("job", service)]), value: SampleValue::Float(3.0) })
        .collect()
}

/// `a` and `b` are too high at first; in minute 1 neither is any more, and of `a` nothing is there until minute 30.
async fn rows_watched(rule: &str, expr: &str, inputs: &str) -> Bench {
    let bench = Bench::new(&format!("groups: [{{name: g, rules: [{{alert: A, no_data_for: 10m, {rule}}}]}}]")).await;
    let mut rows_of = bench.world.samples.rows_of.lock().unwrap();
    rows_of.insert(expr.to_owned(), vec![(0, vec![row("a", 9.0), row("b", 9.0)]), (MINUTE, Vec::new())]);
    let there = [(0, presence(&["a", "b"])), (MINUTE, presence(&["b"])), (30 * MINUTE, presence(&["a", "b"]))];
    rows_of.insert(inputs.to_owned(), there.to_vec());
    drop(rows_of);
    bench
}

#[tokio::test(start_paused = true)]
async fn rules_over_rows_tell_missing_data_from_a_condition_that_is_over() {
    let (sql, logs) =
        ("type: sql, expr: bad, inputs: seen", "type: logs, expr: 'bad | count() by (job, zone) [5m] > 5'");
    for (rule, expr, inputs) in [(sql, "bad", "seen"), (logs, "bad by job,zone", "* by job")] {
        let mut bench = rows_watched(&format!("{rule}, no_data: keep"), expr, inputs).await;
        for minute in 0..=12 {
            bench.at(minute).await;
            if minute == 6 {
                bench.restart().await;
            }
        }
        assert_eq!(bench.history().await[4..], ["1 no_data a", "1 resolved b", "11 resolved a"], "{rule}");
        let then = bench
            .world
            .samples
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(text, at)| text == inputs && *at == START_MS)
            .count();
        assert_eq!(then, 1, "what was missing before is not looked up again");

        let mut bench = rows_watched(&format!("{rule}, no_data: alerting"), expr, inputs).await;
        for minute in [0, 1, 12, 29, 30] {
            bench.at(minute).await;
        }
        assert_eq!(
            bench.history().await[4..],
            ["1 no_data a", "1 resolved b", "30 data_back a", "30 resolved a"],
            "{rule}"
        );

        let mut bench = rows_watched(&format!("{rule}, no_data: resolve"), expr, inputs).await;
        bench.at(0).await;
        bench.at(1).await;
        assert_eq!(bench.history().await[4..], ["1 resolved a", "1 resolved b"], "{rule}");
    }
}

#[tokio::test(start_paused = true)]
async fn sql_without_inputs_goes_by_the_newest_row_of_its_signals() {
    let mut bench = rows_watched("type: sql, expr: bad, no_data: keep", "bad", "").await;
    bench.at(0).await;
    *bench.world.samples.watermark_ms.lock().unwrap() = Some(START_MS);
    bench.at(1).await;
    assert_eq!(bench.history().await[4..], ["1 resolved a", "1 resolved b"], "a minute without rows is no gap");
    let mut bench = rows_watched("type: sql, expr: bad, no_data: keep", "bad", "").await;
    bench.at(0).await;
    *bench.world.samples.watermark_ms.lock().unwrap() = Some(START_MS);
    bench.at(6).await;
    assert_eq!(bench.history().await[4..], ["6 no_data a", "6 no_data b"]);
    let told = bench.world.take_told();
    assert!(told.iter().filter(|notice| notice.slot_ms > START_MS).all(|notice| notice.no_data_since_ms.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_rule_over_logs_whose_records_vanish_alerts_if_told_so() {
    let text =
        "groups: [{name: g, rules: [{alert: A, type: logs, expr: 'bad | count() [5m] > 5', no_data: alerting}]}]";
    let mut bench = Bench::new(text).await;
    let there = vec![(0, vec![row("", 0.0)]), (MINUTE, vec![row("", 7.0)]), (2 * MINUTE, vec![row("", 0.0)])];
    bench.world.samples.rows_of.lock().unwrap().insert("* by ".to_owned(), there);
    bench.at(0).await;
    assert_eq!(bench.history().await, [""; 0], "nothing was ever there");
    bench.at(1).await;
    bench.at(2).await;
    assert_eq!(bench.status().rules[0].alerts[0].labels, labels(&[("alertname", "A"), ("no_data", "true")]));
}

#[tokio::test(start_paused = true)]
async fn history_says_how_complete_the_data_were() {
    let mut bench = Bench::new("groups: [{name: g, rules: [{alert: A, expr: '1'}]}]").await;
    bench.at(3).await;
    let event = &bench.world.history().await[0];
    let value: serde_json::Value = serde_json::from_str(&event.value).unwrap();
    assert_eq!(value["completeness"]["watermarkMs"], START_MS + 3 * MINUTE);
    let expected = Completeness { watermark_ms: Some(START_MS + 3 * MINUTE), share: None };
    assert_eq!(bench.world.take_told()[0].completeness, expected);
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_state_of_rules_that_are_still_there() {
    let rule = |name: &str, hold: &str| format!("{{alert: {name}, expr: errors > 5, for: {hold}}}");
    let group = |rules: &[String]| format!("groups: [{{name: g, rules: [{}]}}]", rules.join(", "));
    let mut bench = Bench::new(&group(&[rule("A", "2m"), rule("B", "2m")])).await;
    errors(&bench.world, "a", &[9.0; 9]);
    bench.at(0).await;
    bench.at(1).await;
    bench.written();
    bench.reload(&group(&[rule("C", "0s"), rule("A", "3m")])).await;
    bench.at(2).await;
    let status = bench.status();
    assert_eq!(status.rules[1].alerts[0].active_at_ms, START_MS, "with its state, at another place");
    assert_eq!(status.rules[1].state, Some(AlertState::Pending), "with its new time");
    let stale: Vec<String> = bench.written().into_iter().filter(|line| line.ends_with("stale")).collect();
    assert_eq!(stale.len(), 2, "the series of the removed rule end: {stale:?}");
    assert!(stale.iter().all(|line| line.contains("alertname=\"B\"")));
    assert!(bench.history().await.contains(&"1 removed a".to_owned()), "{:?}", bench.history().await);
    bench.at(3).await;
    assert_eq!(bench.status().rules[1].state, Some(AlertState::Firing));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_no_more_leaves_nothing() {
    let mut bench = Bench::new(CHAINED).await;
    errors(&bench.world, "a", &[9.0; 3]);
    bench.at(0).await;
    bench.written();
    let taken = |labels: &Labels| labels.get("alertname") == "High";
    retire(&bench.world.deps(), &bench.options, None, "rules.yml;chained", START_MS + MINUTE, &taken).await.unwrap();
    assert_eq!(bench.written(), ["1 {__name__=\"job:errors:sum\", job=\"a\", team=\"a\"} stale"]);
    for kind in [record::GROUP, record::ALERT, record::SERIES] {
        assert_eq!(bench.world.store.list(TenantId::DEFAULT, kind, "").await.unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_is_told() {
    let mut bench = Bench::new("groups: [{name: g, rules: [{alert: A, expr: '1'}]}]").await;
    let lease = bench.world.store.lease("rules", "one", UnixNanos(0), Duration::from_secs(1)).await.unwrap();
    bench.world.store.lease("rules", "two", UnixNanos(2_000_000_000), Duration::from_secs(1)).await.unwrap();
    assert_eq!(bench.runner.evaluate(START_MS, lease).await, Err(Fenced));
    assert_eq!(bench.told(), [""; 0]);
    assert_eq!(bench.history().await, [""; 0]);
}

type RuleView = (Health, Option<String>, Option<i64>, Option<AlertState>, Vec<Alert>);

/// A store whose writes fail while it is told so.
#[derive(Debug, Default)]
struct Flaky(trivium_model::MemoryStateStore, std::sync::atomic::AtomicBool);

impl StateStore for Flaky {
    fn list(
        &self,
        tenant: TenantId,
        kind: &str,
        prefix: &str,
    ) -> trivium_model::StateFuture<'_, Vec<trivium_model::StateRecord>> {
        self.0.list(tenant, kind, prefix)
    }

    fn apply(
        &self,
        tenant: TenantId,
        lease: Option<Lease>,
        changes: Vec<StateChange>,
    ) -> trivium_model::StateFuture<'_, ()> {
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            let message = "the disk is full".to_owned();
            let error = StateError::Store { kind: trivium_model::ErrorKind::Unavailable, message };
            return Box::pin(std::future::ready(Err(error)));
        }
        self.0.apply(tenant, lease, changes)
    }

    fn history(
        &self,
        tenant: TenantId,
        kind: &str,
        range: trivium_model::TimeRange,
        limit: u32,
    ) -> trivium_model::StateFuture<'_, Vec<HistoryEvent>> {
        self.0.history(tenant, kind, range, limit)
    }

    fn lease(
        &self,
        name: &str,
        holder: &str,
        now: UnixNanos,
        ttl: Duration,
    ) -> trivium_model::StateFuture<'_, Option<Lease>> {
        self.0.lease(name, holder, now, ttl)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_silences_no_alert_and_loses_no_history() {
    let store = Arc::new(Flaky::default());
    let mut bench = Bench::new("groups: [{name: g, rules: [{alert: A, expr: errors > 5}]}]").await;
    errors(&bench.world, "a", &[9.0, 1.0, 1.0]);
    bench.runner.deps.store = Arc::clone(&store) as _;
    store.1.store(true, std::sync::atomic::Ordering::SeqCst);
    bench.at(0).await;
    assert_eq!(bench.told(), ["0 firing A,a [0..4]"]);
    bench.at(1).await;
    store.1.store(false, std::sync::atomic::Ordering::SeqCst);
    bench.at(2).await;
    let everything = store.history(TenantId::DEFAULT, "alert", trivium_model::TimeRange::ALL, 10).await.unwrap();
    assert_eq!(everything.len(), 3, "pending, firing and resolved");
    let kept = store.list(TenantId::DEFAULT, record::ALERT, "").await.unwrap();
    assert_eq!(kept.len(), 1, "the resolved alert");
}

/// All that can be seen from outside at a step.
#[derive(Debug, PartialEq)]
struct View {
    rules: Vec<RuleView>,
    last: (Option<i64>, Option<i64>),
    written: Vec<String>,
    told: BTreeSet<String>,
}

const LIFE: &str = r#"
groups:
- name: life
  interval: 1m
  rules:
  - record: job:errors:sum
    expr: sum by (job) (errors)
  - alert: High
    expr: job:errors:sum > 5
    for: 2m
    keep_firing_for: 3m
    annotations: {summary: "{{ job }} {{ value }}"}
  - alert: Now
    expr: errors > 7
    no_data: keep
    no_data_for: 4m
  - alert: Absent
    expr: absent(errors{job="a"})
  - alert: Fails
    expr: label_replace(errors, "job", "x", "job", ".*")
"#;

/// Everything that can happen to an alert, in 40 minutes; with a restart before the steps that say so.
async fn life(restarts: impl Fn(i64) -> bool) -> (Vec<View>, Vec<String>) {
    let mut bench = Bench::new(LIFE).await;
    let a = [1, 9, 9, 9, 1, 1, 9, 1, 1, 1, 1, 6, 6, 6, 6, 9, 9, 9, 0, 0, 0, 0, 9, 1].map(f64::from);
    errors(&bench.world, "a", &a);
    let stale = f64::from_bits(trivium_promql::STALE_NAN_BITS);
    let b = [8.0, 8.0, 8.0, stale, 8.0, 8.0, stale];
    errors(&bench.world, "b", &b);
    let mut views = Vec::new();
    for minute in 0..40 {
        if restarts(minute) {
            bench.restart().await;
        }
        bench.at(minute).await;
        let status = bench.status();
        let rule = |rule: &RuleStatus| {
            (rule.health, rule.last_error.clone(), rule.last_evaluation_ms, rule.state, rule.alerts.to_vec())
        };
        views.push(View {
            rules: status.rules.iter().map(rule).collect(),
            last: (status.last_evaluation_ms, status.last_slot_ms),
            written: bench.written(),
            // What the last slot told is told again after a restart; it may not have arrived.
            told: bench.told().into_iter().filter(|line| line.starts_with(&format!("{minute} "))).collect(),
        });
    }
    let history = bench.history().await;
    (views, history)
}

#[tokio::test(start_paused = true)]
async fn a_restart_changes_nothing_that_can_be_seen() {
    let (views, history) = life(|_| false).await;
    let transitions = ["pending", "firing", "inactive", "resolved", "no_data", "data_back", "error", "recovered"];
    for transition in transitions {
        let happens = history.iter().any(|line| line.split(' ').nth(1) == Some(transition));
        assert!(happens, "{transition} is not in the scenario: {history:?}");
    }
    for step in 0..40 {
        let (restarted, told) = life(|minute| minute == step).await;
        for (minute, (left, right)) in views.iter().zip(&restarted).enumerate() {
            assert_eq!(left, right, "restart before minute {step}, seen in minute {minute}");
        }
        assert_eq!(told, history, "restart before minute {step}");
    }
    let (restarted, told) = life(|_| true).await;
    assert_eq!((restarted, told), (views, history), "a restart before every minute");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_its_view_is_as_before() {
    let mut bench = Bench::new(LIFE).await;
    errors(&bench.world, "a", &[9.0; 4]);
    errors(&bench.world, "b", &[9.0; 4]);
    for minute in 0..4 {
        bench.at(minute).await;
    }
    let before = bench.status();
    bench.restart().await;
    let after = bench.status();
    for (left, right) in before.rules.iter().zip(&after.rules) {
        assert_eq!((left.health, &left.last_error, left.state), (right.health, &right.last_error, right.state));
        assert_eq!((&left.alerts, left.last_evaluation_ms), (&right.alerts, right.last_evaluation_ms));
    }
    assert_eq!(before.series, after.series);
}
