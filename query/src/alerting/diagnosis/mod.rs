//! What changed when an alert fired: evidence out of the store, for one incident.
//!
//! Reads whole traces and their logs from a window around the onset and from the hour before it, and hands them to
//! [`trivium_diagnosis`]. Bounded: at most [`ROWS_MAX`] spans and log records are read from each of the two, of more traffic
//! every n-th trace; everything ends at a deadline with what was found until then. Of those in the background two run at once,
//! of all tenants together; the others wait in a [`Queue`].

mod onset;
mod queue;
mod telemetry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trivium_alert::AlertNotice;
use trivium_diagnosis::attributes::{self, Contrast};
use trivium_diagnosis::graph::{self, Context, Graph, Suspect};
use trivium_diagnosis::patterns::{self, Grown, Miner, Phase, Templates};
use trivium_diagnosis::versions::{self, Deploy, Onset};
use trivium_model::{TenantId, TimeRange, UnixNanos};

use super::querier::StoreQuerier;
use crate::state::QueryState;
use onset::of_alert as onset_of;
use telemetry::LogRow;

pub(super) use queue::Queue;
pub(super) use telemetry::{SpanRow, Telemetry};

/// Spans, or log records, read of one stretch of time.
const ROWS_MAX: usize = 150_000;

/// How long a diagnosis may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The baseline: the hour before, less what already belongs to the trouble.
const BASELINE: Duration = Duration::from_secs(3_600);
const GAP: Duration = Duration::from_secs(60);

/// The window: from a little before the onset to what happened after it, as far as it has happened.
const LEAD: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(300);

/// How far back versions are looked for.
const VERSIONS: Duration = Duration::from_secs(3 * 3_600);

const TRACES_MAX: usize = 3;
const PATTERNS_MAX: usize = 5;
const ATTRIBUTES_MAX: usize = 5;
const SUSPECTS_MAX: usize = 3;
const DEPLOYS_MAX: usize = 5;

/// The longest stretch of time that a person may ask about; of more traffic every n-th trace is read.
const ASKED_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What a person asks about, without any alert.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Since when something is different.
    pub(crate) onset: UnixNanos,
    /// Until when; a few minutes unless told.
    pub(crate) until: Option<UnixNanos>,
    /// The service that the question is about; all, unless told.
    pub(crate) service: Option<String>,
}

/// An incident to be explained.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Whose telemetry explains it.
    pub(super) tenant: TenantId,
    /// Its alerts with what they are about, the first to fire first.
    pub(super) alerts: Vec<(AlertNotice, String)>,
    /// Its name.
    pub(super) incident: String,
    /// What a person asks about.
    pub(super) asked: Option<Asked>,
    /// Where people reach us.
    pub(super) external_url: String,
}

/// Explains an incident. Never fails: what could not be found out is left out, and why is in `"incomplete"`.
pub(super) async fn diagnose(state: &Arc<QueryState>, querier: &StoreQuerier, question: &Question) -> Value {
    let begun = Instant::now();
    let now = state.clock.now();
    let mut onset = question.asked.as_ref().map_or(now, |asked| asked.onset).min(now);
    for (notice, _) in &question.alerts {
        onset = onset.min(UnixNanos(onset_of(querier, question.tenant, notice).await));
    }
    // The onset may be any time that a client asks for.
    let during = window(question.asked.as_ref(), onset, now);
    let before = TimeRange { start: onset.before(BASELINE), end: onset.before(GAP) };
    let telemetry = Telemetry::new(state, question.tenant, begun + TIME_MAX);
    let mut problems = Vec::new();
    let mut noted = |result: Result<_, String>| {
        result.unwrap_or_else(|problem| {
            problems.push(problem);
            Default::default()
        })
    };
    let baseline = noted(telemetry.read(before).await);
    let window = noted(telemetry.read(during).await);
    let seen = telemetry.versions(TimeRange { start: onset.before(VERSIONS), end: now }).await;
    let cpu = telemetry.cpu(before, during).await;
    let exemplars = telemetry.exemplars(&question.alerts, during).await;
    let (seen, cpu) = (seen.unwrap_or_default(), cpu.unwrap_or_default());
    let deploys = versions::deploys(&seen, since(question, onset, during), &versions::Rules::default(), DEPLOYS_MAX);
    let (question, alerts) = (question.clone(), question.alerts.clone());
    let work = tokio::task::spawn_blocking(move || {
        let mut facts = Facts { question, onset, during, before, deploys, cpu, exemplars, problems };
        facts.evidence(&baseline, &window, begun)
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a diagnosis died");
        json!({"summary": summary_of(&alerts), "incomplete": [error.to_string()]})
    })
}

/// What is compared with the hour before: around the onset, or exactly what was asked.
fn window(asked: Option<&Asked>, onset: UnixNanos, now: UnixNanos) -> TimeRange {
    match asked.and_then(|asked| asked.until) {
        Some(until) => TimeRange { start: onset, end: until.min(onset.after(ASKED_MAX)).min(now).max(onset) },
        None => TimeRange { start: onset.before(LEAD), end: onset.after(WINDOW).min(now) },
    }
}

/// Of a range nobody knows where in it, or before it, the trouble began.
fn since(question: &Question, onset: UnixNanos, during: TimeRange) -> Onset {
    match question.asked.as_ref().and_then(|asked| asked.until) {
        Some(_) => Onset::Within { start: during.start.0, end: during.end.0 },
        None => Onset::At(onset.0),
    }
}

fn summary_of(alerts: &[(AlertNotice, String)]) -> String {
    let first = alerts.first().map(|(notice, _)| notice);
    let summary = first.and_then(|notice| notice.annotations.get("summary"));
    summary.cloned().or_else(|| first.map(|notice| notice.rule.clone())).unwrap_or_default()
}

/// What a stretch of time holds.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub(super) spans: Vec<SpanRow>,
    pub(super) logs: Vec<LogRow>,
}

struct Facts {
    question: Question,
    onset: UnixNanos,
    during: TimeRange,
    before: TimeRange,
    deploys: Vec<Deploy>,
    cpu: BTreeMap<String, graph::Cpu>,
    exemplars: Vec<String>,
    problems: Vec<String>,
}

impl Facts {
    fn evidence(&mut self, baseline: &Stretch, window: &Stretch, begun: Instant) -> Value {
        let mut graph = Graph::new(graph::Limits::default());
        let mut miner = Miner::new(patterns::Limits::default());
        let mut templates = Templates::default();
        for (stretch, phase) in [(baseline, Phase::Before), (window, Phase::During)] {
            if begun.elapsed() > TIME_MAX {
                self.problems.push("there was no time to look at all telemetry".to_owned());
                break;
            }
            observe(stretch, phase, &mut templates, &mut graph, &mut miner);
        }
        let suspects = graph.origin(&self.context(), SUSPECTS_MAX);
        let origin = suspects.first().map(|suspect| suspect.service.clone());
        let seconds = |range: TimeRange| range.end.since(range.start).as_secs_f64();
        let grown = miner.grown(seconds(self.before), seconds(self.during), 50);
        let services = self.services(origin.as_deref());
        let asked = self.question.asked.as_ref().and_then(|asked| asked.service.as_deref());
        let differences =
            contrast(baseline, window, origin.as_deref().into_iter().chain(services.first().copied()).chain(asked));
        json!({
            "summary": self.summary(origin.as_deref()),
            "incident": self.question.incident,
            "onset": self.onset.0.to_string(),
            "origin": origin.as_deref().map(|service| self.origin(service, &suspects)),
            "suspects": suspects,
            "services": services,
            "traces": self.traces(window, &services),
            "log_patterns": log_patterns(grown, &services),
            "attributes": differences,
            "deploys": self.deploys.iter().map(|deploy| json!({
                "service": deploy.service, "version": deploy.version, "previous": deploy.previous,
                "change": deploy.change, "at": deploy.at.to_string(), "text": deploy.text(),
            })).collect::<Vec<_>>(),
            "links": self.links(&services),
            "window": {"start": self.during.start.0.to_string(), "end": self.during.end.0.to_string()},
            "baseline": {"start": self.before.start.0.to_string(), "end": self.before.end.0.to_string()},
            "spans_read": baseline.spans.len() + window.spans.len(),
            "logs_read": baseline.logs.len() + window.logs.len(),
            "incomplete": self.problems,
            "duration_ms": u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn context(&self) -> BTreeMap<String, Context> {
        let mut context: BTreeMap<String, Context> = BTreeMap::new();
        for (notice, service) in self.question.alerts.iter().filter(|(_, service)| !service.is_empty()) {
            let onset = notice.starts_at_ms.saturating_mul(1_000_000);
            let known = context.entry(service.clone()).or_default();
            known.onset = Some(known.onset.map_or(onset, |known| known.min(onset)));
        }
        for deploy in &self.deploys {
            let known = context.entry(deploy.service.clone()).or_default();
            known.is_deployed_within |= deploy.is_within;
            let age = known.deployed_before_seconds.unwrap_or(f64::INFINITY);
            known.deployed_before_seconds = Some(age.min(deploy.seconds_before));
        }
        for (service, cpu) in &self.cpu {
            context.entry(service.clone()).or_default().cpu = Some(*cpu);
        }
        context
    }

    /// The services that matter: the likely origin, then the one that was asked about, then those that alert.
    fn services<'a>(&'a self, origin: Option<&'a str>) -> Vec<&'a str> {
        let asked = self.question.asked.iter().filter_map(|asked| asked.service.as_deref());
        let alerting = self.question.alerts.iter().map(|(_, service)| service.as_str());
        let mut seen = BTreeSet::new();
        let all = origin.into_iter().chain(asked).chain(alerting).filter(|service| !service.is_empty());
        all.filter(|service| seen.insert(*service)).collect()
    }

    fn deploy_of(&self, service: &str) -> Option<&Deploy> {
        self.deploys.iter().find(|deploy| deploy.service == service)
    }

    fn summary(&self, origin: Option<&str>) -> String {
        let symptom = summary_of(&self.question.alerts);
        let cause = origin.map(|service| self.deploy_of(service).map_or_else(|| service.to_owned(), Deploy::text));
        match cause {
            Some(cause) if symptom.is_empty() => format!("Likely origin: {cause}"),
            Some(cause) => format!("{symptom}. Likely origin: {cause}"),
            None => symptom,
        }
    }

    fn origin(&self, service: &str, suspects: &[Suspect]) -> Value {
        let deploy = self.deploy_of(service);
        let reasons =
            suspects.first().map(|suspect| suspect.reasons.iter().map(|reason| reason.text.clone()).collect());
        let reasons: Vec<String> = reasons.unwrap_or_default();
        json!({
            "service": service,
            "version": deploy.map(|deploy| deploy.version.clone()),
            "deploy": deploy.map(Deploy::text),
            "reasons": reasons,
        })
    }

    /// Exemplars of the offending series, else failed traces of the services that matter, else their slowest.
    fn traces(&self, window: &Stretch, services: &[&str]) -> Vec<Value> {
        let mut found: Vec<(String, &str)> = self.exemplars.iter().map(|id| (id.clone(), "exemplar")).collect();
        for service in services {
            let mut spans: Vec<&SpanRow> = window.spans.iter().filter(|span| *span.service == **service).collect();
            spans.sort_by_key(|span| (!span.failed, std::cmp::Reverse(span.end - span.start)));
            let of = |span: &&SpanRow| (format!("{:032x}", span.trace_id), if span.failed { "failed" } else { "slow" });
            found.extend(spans.iter().take(TRACES_MAX).map(of));
        }
        let mut seen = BTreeSet::new();
        found.retain(|(id, _)| seen.insert(id.clone()));
        let url = &self.question.external_url;
        let shown = found.into_iter().take(TRACES_MAX);
        shown.map(|(id, why)| json!({"trace_id": id, "why": why, "url": format!("{url}/trace/{id}")})).collect()
    }

    fn links(&self, services: &[&str]) -> Value {
        let url = &self.question.external_url;
        let (start, end) = (self.during.start.0, self.during.end.0);
        let range = format!("start={start}&end={end}");
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let service = services.first().copied().unwrap_or_default();
        json!({
            "incident": format!("{url}/alerts/{}", encoded(&self.question.incident)),
            "logs": format!("{url}/logs?query={}&{range}", encoded(&format!("service:{service} AND severity:>=warn"))),
            "traces": format!("{url}/traces?service={}&{range}", encoded(service)),
            "service": format!("{url}/service/{}?{range}", encoded(service)),
        })
    }
}

fn observe(stretch: &Stretch, phase: Phase, templates: &mut Templates, graph: &mut Graph, miner: &mut Miner) {
    let templates: Vec<Arc<str>> = stretch.logs.iter().map(|log| templates.of(&log.body)).collect();
    for log in &stretch.logs {
        let trace_id = if log.trace_id == 0 { String::new() } else { format!("{:032x}", log.trace_id) };
        miner.observe(&log.as_pattern(&trace_id), phase);
    }
    let mut traces: BTreeMap<u128, (Vec<graph::Span<'_>>, Vec<graph::Log<'_>>)> = BTreeMap::new();
    for span in &stretch.spans {
        traces.entry(span.trace_id).or_default().0.push(span.as_graph());
    }
    for (log, pattern) in stretch.logs.iter().zip(&templates).filter(|(log, _)| log.trace_id != 0) {
        // A record whose trace was not read would be a visit of its own.
        if let Some((_, logs)) = traces.get_mut(&log.trace_id) {
            let (trace_id, span_id, severity) = (log.trace_id, log.span_id, log.severity);
            logs.push(graph::Log { trace_id, span_id, pattern, severity });
        }
    }
    for (spans, logs) in traces.values() {
        graph.trace(spans, logs, phase);
    }
}

/// New or grown patterns: those of the services that matter before all others.
fn log_patterns(mut grown: Vec<Grown>, services: &[&str]) -> Vec<Value> {
    let place = |pattern: &Grown| services.iter().position(|service| *service == pattern.service).unwrap_or(usize::MAX);
    grown.sort_by(|left, right| place(left).cmp(&place(right)).then_with(|| right.score.total_cmp(&left.score)));
    let shown = grown.iter().take(PATTERNS_MAX);
    shown
        .map(|pattern| {
            let samples = pattern.samples.iter().map(
                |sample| json!({"text": sample.text, "time": sample.time.to_string(), "trace_id": sample.trace_id}),
            );
            json!({
                "service": pattern.service, "pattern": pattern.template, "severity": pattern.severity,
                "before": pattern.before, "during": pattern.during, "new": pattern.is_new(),
                "samples": samples.collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// Attribute values that bad spans of the services have more often. Bad is what failed; when nothing did, what took longer
/// than 99 of 100 spans of the same name in the baseline.
fn contrast<'a>(baseline: &Stretch, window: &Stretch, services: impl Iterator<Item = &'a str>) -> Vec<Value> {
    let services: BTreeSet<&str> = services.collect();
    let is_wanted = |span: &&SpanRow| services.contains(&*span.service);
    let failed = window.spans.iter().filter(is_wanted).any(|span| span.failed);
    let mut usual: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    if !failed {
        for span in baseline.spans.iter().filter(is_wanted) {
            usual.entry((&span.service, &span.name)).or_default().push(span.end - span.start);
        }
    }
    let limits: BTreeMap<(&str, &str), i64> = usual
        .into_iter()
        .map(|(key, mut durations)| {
            durations.sort_unstable();
            (key, durations[durations.len() * 99 / 100])
        })
        .collect();
    let is_slow =
        |span: &SpanRow| limits.get(&(&*span.service, &*span.name)).is_some_and(|limit| span.end - span.start > *limit);
    let mut contrast = Contrast::new(attributes::Limits::default());
    for (stretch, phase) in [(baseline, Phase::Before), (window, Phase::During)] {
        for span in stretch.spans.iter().filter(is_wanted) {
            let bad = if failed { span.failed } else { is_slow(span) };
            let pairs = span.attributes();
            contrast.observe(phase, bad, pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        }
    }
    let word = if failed { "failed" } else { "slow" };
    let ranked = contrast.ranked(ATTRIBUTES_MAX).into_iter();
    ranked
        .map(|difference| {
            json!({
                "name": difference.key, "value": difference.value, "bad_share": difference.bad_share,
                "other_share": difference.other_share, "bad": difference.bad, "text": difference.text(word),
            })
        })
        .collect()
}
