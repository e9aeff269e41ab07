use std::time::Duration;

use super::*;
use crate::world::{PlainTemplates, START_MS, Samples, World, labels, map, rules};

const MINUTE: i64 = 60_000;

fn request(text: &str, minutes: i64) -> BacktestRequest {
    BacktestRequest {
        rules: rules(text),
        start_ms: START_MS,
        end_ms: START_MS + minutes * MINUTE,
        options: Options { external_url: "http://here".to_owned(), ..Options::default() },
        others: BTreeMap::new(),
        incidents: None,
        verdicts: BTreeMap::new(),
        utc_offset_ms: 0,
        timeout: None,
    }
}

async fn run_on(samples: &Arc<Samples>, request: BacktestRequest) -> BacktestReport {
    let querier: Arc<dyn Querier> = Arc::clone(samples) as _;
    backtest(querier, Arc::new(PlainTemplates), request, &mut SimpleGrouping::default()).await.unwrap()
}

/// A gauge that wanders in a way that is the same in every run, with gaps.
fn wander(samples: &Samples, job: &str, seed: u64, minutes: i64) {
    let mut state = seed;
    let mut value: f64 = 5.0;
    let mut points = Vec::new();
    for minute in 0..minutes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (state >> 33) as f64 / (1_u64 << 31) as f64;
        value = (value + 4.0 * (random - 0.5)).clamp(0.0, 10.0);
        match (state >> 20) % 40 {
            0 => points.push((minute * MINUTE, f64::from_bits(trivium_promql::STALE_NAN_BITS))),
            1..4 => {}
            _ => points.push((minute * MINUTE, value)),
        }
    }
    samples.load(labels(&[("__name__", "errors"), ("job", job)]), &points);
}

const RULES: &str = r#"
groups:
- name: all
  interval: 1m
  rules:
  - record: job:errors:max
    expr: max by (job) (max_over_time(errors[3m]))
  - alert: Plain
    expr: errors > 6
    for: 2m
    keep_firing_for: 3m
    labels: {severity: page}
    annotations: {summary: "{{ job }} {{ value }} of {{ query sum(errors) }}"}
  - alert: Kept
    expr: errors > 8
    no_data: keep
    no_data_for: 4m
  - alert: Chained
    expr: job:errors:max > 7
    for: 1m
  - alert: Mixed
    expr: errors > 4 and on (job) job:errors:max > 7 unless on (job) ALERTS{alertname="Chained", alertstate="firing"}
  - alert: AtOnce
    expr: topk(1, errors) > 9 or vector(time() % 7200 < bool 60) > 0
"#;

/// What the rules do when they are evaluated then, slot by slot.
async fn live(samples: &Arc<Samples>, minutes: i64) -> Vec<(String, Vec<Firing>)> {
    let request = request(RULES, minutes);
    let options = Arc::new(request.options.clone());
    let group = Arc::new(request.rules.groups[0].clone());
    let world = World::new();
    let deps = Deps { querier: Arc::clone(samples) as _, sink: Arc::clone(samples) as _, ..world.deps() };
    let cell = unknown(&group, &options);
    let runner = Runner::load(deps, options, Arc::clone(&group), Arc::clone(&cell)).await.unwrap();
    let mut progress = Progress { timeout: None, done: 0, total: 0 };
    let tracked = follow(runner, &cell, &group, &request, &mut progress).await.unwrap();
    tracked.into_iter().map(|rule| (rule.report.rule, rule.report.firings)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_backtest_tells_what_happened() {
    let minutes = 1300;
    let world = World::new();
    wander(&world.samples, "a", 1, minutes);
    wander(&world.samples, "b", 2, minutes);
    let report = run_on(&world.samples, request(RULES, minutes)).await;
    assert_eq!(world.samples.written.lock().unwrap().len(), 0, "a backtest writes nothing");
    let live = live(&world.samples, minutes).await;
    for (rule, (name, firings)) in report.rules.iter().zip(live) {
        assert_eq!(rule.rule, name);
        let sorted = |mut firings: Vec<Firing>| {
            firings.sort_by(|left, right| (left.fired_at_ms, &left.labels).cmp(&(right.fired_at_ms, &right.labels)));
            firings
        };
        let (tried, happened) = (sorted(rule.firings.clone()), sorted(firings));
        let difference = tried.iter().zip(&happened).find(|(tried, happened)| tried != happened);
        assert_eq!((tried.len(), difference), (happened.len(), None), "{name}");
        assert_eq!((rule.failures, rule.evaluations), (0, 1300), "{name}: {:?}", rule.first_error);
        assert!(name == "job:errors:max" || rule.firings_total > 5, "{name} fired {} times", rule.firings_total);
    }
    assert!(report.notifications > 10);
}

/// Counts the queries that reach the store.
#[derive(Debug, Default)]
struct Counted(Samples, std::sync::atomic::AtomicUsize);

#[async_trait]
impl Querier for Counted {
    async fn promql(&self, tenant: TenantId, query: &str, at_ms: i64) -> Result<trivium_promql::Value, String> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.0.promql(tenant, query, at_ms).await
    }

    async fn promql_range(
        &self,
        tenant: TenantId,
        query: &str,
        range: crate::StepRange,
    ) -> Result<Vec<trivium_promql::MatrixSeries>, String> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.0.promql_range(tenant, query, range).await
    }

    async fn rows(
        &self,
        tenant: TenantId,
        query: crate::RowQuery<'_>,
        at_ms: i64,
    ) -> Result<Vec<trivium_promql::VectorSample>, String> {
        self.0.rows(tenant, query, at_ms).await
    }

    async fn completeness(&self, _: TenantId, _: &crate::RuleQuery, _: i64) -> crate::Completeness {
        crate::Completeness { watermark_ms: None, share: Some(0.5) }
    }
}

#[tokio::test(start_paused = true)]
async fn slots_are_asked_for_in_chunks() {
    let counted = Arc::new(Counted::default());
    wander(&counted.0, "a", 1, 1000);
    let text = "groups: [{name: g, interval: 1m, rules: [{record: r, expr: sum(errors)}, {alert: A, expr: r > 5, no_data: resolve}, {alert: B, expr: errors > 5, no_data: resolve}]}]";
    let querier: Arc<dyn Querier> = Arc::clone(&counted) as _;
    let mut model = SimpleGrouping::default();
    let report = backtest(querier, Arc::new(PlainTemplates), request(text, 1000), &mut model).await.unwrap();
    assert!(report.rules[1].firings_total > 0);
    assert_eq!(report.rules[1].incomplete, 1000);
    // Two rules read what is stored, in two chunks each.
    assert_eq!(counted.1.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn totals_flaps_and_overlaps_are_counted() {
    let world = World::new();
    let mut points: Vec<(i64, f64)> = (0..120).map(|minute| (minute * MINUTE, 1.0)).collect();
    for minute in (10..13).chain(20..23).chain(60..100) {
        points[minute].1 = 9.0;
    }
    world.samples.load(labels(&[("__name__", "errors"), ("job", "a")]), &points);
    let text = "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: errors > 5, labels: {severity: ticket}, annotations: {s: 'is {{ value }}'}}, {alert: B, expr: errors > 5, for: 30m}, {alert: C, expr: errors > 5, for: 5h}]}]";
    let mut asked = request(text, 119);
    asked.others.insert("Existing".to_owned(), vec![(START_MS + 60 * MINUTE, START_MS + 101 * MINUTE)]);
    asked.incidents = Some(vec![(START_MS + 70 * MINUTE, START_MS + 80 * MINUTE)]);
    let report = run_on(&world.samples, asked).await;
    let [a, b, c] = report.rules.as_slice() else { panic!("three rules") };
    assert_eq!((a.firings_total, a.flaps, a.short_lived), (3, 1, 2));
    assert_eq!(a.firing_seconds, 46.0 * 60.0);
    assert_eq!(a.firings[0].annotations, map(&[("s", "is 9")]));
    let lasted = a.firings[2].resolved_at_ms.unwrap() - a.firings[2].fired_at_ms;
    assert_eq!(lasted, 40 * MINUTE);
    assert_eq!(a.overlaps[0].rule, "Existing");
    assert!((a.overlaps[0].jaccard - 0.85).abs() < 0.03, "{:?}", a.overlaps);
    assert_eq!((b.firings_total, c.firings_total, c.never_fired), (1, 0, 3));
    let noise = a.noise.as_ref().unwrap();
    assert_eq!((noise.imprecision, noise.precision_is_proxy), (Some(1.0 - 1.0 / 3.0), true));
    // Started at midnight.
    assert_eq!((noise.off_hours_share, noise.flap_rate), (1.0, 1.0 / 3.0));
    assert!(noise.score > 50.0 && noise.score < 70.0, "{noise:?}");
    // A: firing and resolved three times; B: once.
    assert_eq!(report.notifications, 8);
}

#[tokio::test(start_paused = true)]
async fn what_would_never_end_is_refused() {
    let querier: Arc<dyn Querier> = Arc::new(Samples::default());
    let text = "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: errors > 5}]}]";
    let asked = request(text, 60 * 24 * 365);
    let error = backtest(querier, Arc::new(PlainTemplates), asked, &mut SimpleGrouping::default()).await.unwrap_err();
    assert!(error.to_string().contains("31536001 evaluations"), "{error}");
}

/// Takes a second for each query.
#[derive(Debug, Default)]
struct Slow(Samples);

#[async_trait]
impl Querier for Slow {
    async fn promql(&self, tenant: TenantId, query: &str, at_ms: i64) -> Result<trivium_promql::Value, String> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.promql(tenant, query, at_ms).await
    }

    async fn promql_range(
        &self,
        tenant: TenantId,
        query: &str,
        range: crate::StepRange,
    ) -> Result<Vec<trivium_promql::MatrixSeries>, String> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.promql_range(tenant, query, range).await
    }

    async fn rows(
        &self,
        tenant: TenantId,
        query: crate::RowQuery<'_>,
        at_ms: i64,
    ) -> Result<Vec<trivium_promql::VectorSample>, String> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.rows(tenant, query, at_ms).await
    }

    async fn completeness(&self, _: TenantId, _: &crate::RuleQuery, at_ms: i64) -> crate::Completeness {
        crate::Completeness { watermark_ms: Some(at_ms), share: None }
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_stopped_with_its_limit() {
    let text = "groups: [{name: g, interval: 1m, rules: [{alert: A, type: sql, expr: SELECT 1}, {alert: B, type: sql, expr: SELECT 2}]}]";
    for (timeout, percent) in [(90, Some(45)), (201, None)] {
        let mut asked = request(text, 99);
        asked.timeout = Some(Duration::from_secs(timeout));
        let querier: Arc<dyn Querier> = Arc::new(Slow::default());
        let begun = Instant::now();
        let report = backtest(querier, Arc::new(PlainTemplates), asked, &mut SimpleGrouping::default()).await;
        let after = Duration::from_secs(timeout);
        match percent {
            Some(percent) => {
                let error = report.unwrap_err();
                assert_eq!(error, BacktestError::Timeout { after, percent });
                assert!(
                    error.to_string().contains("stopped after 90s with 45 %")
                        && error.to_string().contains("raise backtest_timeout")
                );
                assert_eq!(begun.elapsed(), after);
            }
            None => assert_eq!(report.unwrap().rules[0].evaluations, 99),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backtest_lets_others_work_and_ends_when_nobody_waits() {
    let samples = Arc::new(Samples::default());
    wander(&samples, "a", 1, 1000);
    let text = "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: errors > 5}]}]";
    let running = tokio::spawn({
        let querier: Arc<dyn Querier> = samples;
        async move { backtest(querier, Arc::new(PlainTemplates), request(text, 1000), &mut SimpleGrouping::default()).await }
    });
    // One thread: this goes on because the backtest gives way between slots.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished());
    running.abort();
    assert!(running.await.is_err_and(|error| error.is_cancelled()));
}

#[test]
fn groups_wait_and_repeat() {
    let notice = |slot_ms: i64, fingerprint: u64, state: AlertState| AlertNotice {
        labels: map(&[("alertname", "A")]),
        annotations: BTreeMap::new(),
        starts_at_ms: 0,
        ends_at_ms: 0,
        state,
        generator_url: String::new(),
        fingerprint,
        value: 1.0,
        no_data_since_ms: None,
        group: String::new(),
        rule: String::new(),
        expr: String::new(),
        slot_ms,
        completeness: crate::Completeness::default(),
    };
    let repeat_interval = Duration::from_secs(3600);
    let mut model = SimpleGrouping::new(Grouping { repeat_interval, ..Grouping::default() });
    model.take(&notice(0, 1, AlertState::Firing));
    model.take(&notice(10_000, 2, AlertState::Firing));
    model.take(&notice(11_000, 3, AlertState::Firing));
    model.take(&notice(12_000, 3, AlertState::Inactive));
    assert_eq!(model.finish(20_000), 0, "the group waits");
    assert_eq!(model.finish(30_000), 1, "one for both; the third came and went");
    model.take(&notice(60_000, 4, AlertState::Firing));
    assert_eq!(model.finish(300_000), 1);
    assert_eq!(model.finish(330_000), 2);
    assert_eq!(model.finish(330_000 + 3_600_000), 3, "repeated");
    for fingerprint in [1, 2, 4] {
        model.take(&notice(4_000_000, fingerprint, AlertState::Inactive));
    }
    assert_eq!(model.finish(10_000_000), 4);
}
