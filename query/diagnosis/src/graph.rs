//! Who calls whom, how each service behaves when it is called, and which service is the likely origin of a trouble.
//!
//! A service is judged by its *visits* (what it did between being called and answering), per operation: how long it took
//! by itself, what it logged, which calls it made, whether it failed. Counted per visit, a change of traffic is no change
//! of behaviour. What a caller suffers from a callee is taken off the caller, so that the deepest service that changed by
//! itself comes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::patterns::Phase;
use crate::rank::shares;
use crate::versions::minutes;
use crate::visit::{Feature, visits};

pub use crate::visit::{Log, Span};

/// Bounds of what is observed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Operations over all services.
    pub operations: usize,
    /// Features (log patterns, calls, inner spans) of one operation.
    pub features: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { operations: 5_000, features: 200 }
    }
}

/// Calls from one service to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeCounts {
    /// Calls.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Their time as the caller saw it, in nanoseconds.
    pub nanos: i64,
    /// What passed on the way there and back, where the caller has a span of the call.
    pub way: Spread,
}

/// Durations by their logarithms, because they spread over decades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    sum: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, nanos: i64) {
        // Below a microsecond clocks tell nothing.
        let log = (nanos.max(1000) as f64).ln();
        self.count += 1;
        self.sum += log;
        self.squares += log * log;
    }

    fn mean(&self) -> f64 {
        self.sum / (self.count.max(1) as f64)
    }

    /// The geometric mean in nanoseconds.
    pub fn typical_nanos(&self) -> f64 {
        self.mean().exp()
    }

    fn variance(&self) -> f64 {
        (self.squares / (self.count.max(1) as f64) - self.mean().powi(2)).max(0.0)
    }
}

/// A value in the baseline and in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair<T> {
    /// In the baseline.
    pub before: T,
    /// In the window.
    pub during: T,
}

impl<T> Pair<T> {
    fn of(&mut self, phase: Phase) -> &mut T {
        match phase {
            Phase::Before => &mut self.before,
            Phase::During => &mut self.during,
        }
    }
}

/// How an operation behaved in one phase.
#[derive(Clone, Debug, Default)]
struct Behaviour {
    visits: u64,
    failed: u64,
    own: Spread,
}

#[derive(Clone, Debug, Default)]
struct Operation {
    behaviour: Pair<Behaviour>,
    /// Visits that had the feature, and its highest severity.
    features: HashMap<Feature, (Pair<u64>, u8)>,
}

/// What is known besides spans and logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Since when a service alerts, in nanoseconds since 1970.
    pub onset: Option<i64>,
    /// Seconds between its latest deploy and the onset.
    pub deployed_before_seconds: Option<f64>,
    /// Whether a deploy of it is in the range that is asked about, whose onset nobody knows.
    pub is_deployed_within: bool,
    /// Processor use: mean and standard deviation of the baseline, and median of the window.
    pub cpu: Option<Cpu>,
}

/// Processor use of a service's instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Mean of the baseline.
    pub mean: f64,
    /// Standard deviation of the baseline.
    pub deviation: f64,
    /// Median of the window: a burst at start-up or garbage collection is no trouble, what lasts is.
    pub during: f64,
}

/// Why a service is suspected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// How much it counts.
    pub score: f64,
    /// In words.
    pub text: String,
}

/// A service with what speaks for it being the origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// The service.
    pub service: String,
    /// The higher the likelier; only good for comparing.
    pub score: f64,
    /// Its own change, before what callees explain was taken off.
    pub own: f64,
    /// The callee that explains most of it.
    pub explained_by: Option<String>,
    /// The strongest first.
    pub reasons: Vec<Reason>,
}

/// Observes spans and logs of a baseline and of a window.
#[derive(Clone, Debug)]
pub struct Graph {
    limits: Limits,
    operations: HashMap<(String, String), Operation>,
    edges: BTreeMap<(String, String), Pair<EdgeCounts>>,
}

impl Graph {
    /// An empty graph.
    pub fn new(limits: Limits) -> Self {
        Self { limits, operations: HashMap::new(), edges: BTreeMap::new() }
    }

    /// Takes one whole trace with its log records.
    pub fn trace(&mut self, spans: &[Span<'_>], logs: &[Log<'_>], phase: Phase) {
        for visit in visits(spans, logs) {
            for call in &visit.calls {
                let key = (visit.service.to_owned(), call.service.to_owned());
                if self.edges.len() < self.limits.operations || self.edges.contains_key(&key) {
                    let edge = self.edges.entry(key).or_default().of(phase);
                    edge.calls += 1;
                    edge.failed += u64::from(call.failed);
                    edge.nanos = edge.nanos.saturating_add(call.nanos);
                    if let Some(nanos) = call.way_nanos {
                        edge.way.add(nanos);
                    }
                }
            }
            let key = (visit.service.to_owned(), visit.operation.to_owned());
            if self.operations.len() >= self.limits.operations && !self.operations.contains_key(&key) {
                continue;
            }
            let operation = self.operations.entry(key).or_default();
            let behaviour = operation.behaviour.of(phase);
            behaviour.visits += 1;
            behaviour.failed += u64::from(visit.failed);
            behaviour.own.add(visit.own_nanos);
            for (feature, severity) in visit.features {
                if operation.features.len() < self.limits.features || operation.features.contains_key(&feature) {
                    let (counts, known) = operation.features.entry(feature).or_default();
                    *counts.of(phase) += 1;
                    *known = (*known).max(severity);
                }
            }
        }
    }

    /// Calls between services, by caller and callee.
    pub fn edges(&self) -> &BTreeMap<(String, String), Pair<EdgeCounts>> {
        &self.edges
    }

    /// The services, the likeliest origin first.
    pub fn origin(&self, context: &BTreeMap<String, Context>, limit: usize) -> Vec<Suspect> {
        let reasons = self.reasons(context);
        let own: BTreeMap<&str, f64> =
            reasons.iter().map(|(service, reasons)| (service.as_str(), total(reasons))).collect();
        let callees = self.callees();
        let mut suspects: Vec<Suspect> = reasons
            .iter()
            .map(|(service, reasons)| {
                let explained = explained(service, &callees, &own);
                let own = own.get(service.as_str()).copied().unwrap_or_default();
                let mut reasons = reasons.clone();
                reasons.truncate(REASONS_MAX);
                let taken = explained.map_or(0.0, |(_, score)| score.min(own) * INHERITED);
                let explained_by = explained.map(|(callee, _)| callee.to_owned());
                Suspect { service: service.clone(), score: own - taken, own, explained_by, reasons }
            })
            .collect();
        suspects
            .sort_by(|left, right| right.score.total_cmp(&left.score).then_with(|| left.service.cmp(&right.service)));
        suspects.truncate(limit);
        suspects
    }

    /// The callees of each service.
    fn callees(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut callees: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (caller, callee) in self.edges.keys() {
            callees.entry(caller).or_default().push(callee);
        }
        callees
    }

    /// What changed of each service.
    fn reasons(&self, context: &BTreeMap<String, Context>) -> BTreeMap<String, Vec<Reason>> {
        let mut reasons: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
        let has_baseline = self.operations.values().any(|operation| operation.behaviour.before.visits > 0);
        for ((service, name), operation) in &self.operations {
            let found = reasons.entry(service.clone()).or_default();
            found.extend(slower(name, operation));
            found.extend(if has_baseline { failing(name, operation) } else { failing_anyway(name, operation) });
            found.extend(
                operation
                    .features
                    .iter()
                    .filter_map(|(feature, (counts, severity))| changed(name, operation, feature, counts, *severity)),
            );
        }
        for ((caller, callee), edge) in &self.edges {
            // Whose network it is shows by how many of its edges have it: both ends are told.
            for (service, peer) in [(callee, caller), (caller, callee)] {
                reasons.entry(service.clone()).or_default().extend(delayed(peer, edge));
            }
        }
        let first_onset = context.values().filter_map(|context| context.onset).min();
        for (service, context) in context {
            let found = reasons.entry(service.clone()).or_default();
            found.extend(context.cpu.and_then(busier));
            found.extend(context.deployed_before_seconds.and_then(deployed));
            if context.is_deployed_within {
                found.push(Reason { score: DEPLOYED, text: "deployed in the range".to_owned() });
            }
            if context.onset.is_some() && context.onset == first_onset {
                found.push(Reason { score: FIRST_ONSET, text: "the first to alert".to_owned() });
            }
        }
        for found in reasons.values_mut() {
            found.sort_by(|left, right| right.score.total_cmp(&left.score).then_with(|| left.text.cmp(&right.text)));
        }
        reasons
    }
}

/// The callee, direct or behind others, whose own change is the greatest.
fn explained<'s>(
    service: &'s str,
    callees: &BTreeMap<&'s str, Vec<&'s str>>,
    own: &BTreeMap<&str, f64>,
) -> Option<(&'s str, f64)> {
    let mut seen: BTreeSet<&str> = BTreeSet::from([service]);
    let mut front: Vec<&str> = vec![service];
    let mut best: Option<(&str, f64)> = None;
    for _ in 0..HOPS_MAX {
        let reached = front.iter().flat_map(|caller| callees.get(caller).into_iter().flatten().copied());
        let next: Vec<&str> = reached.filter(|callee| seen.insert(callee)).collect();
        for callee in &next {
            let score = own.get(callee).copied().unwrap_or_default();
            if score > best.map_or(SIGNIFICANT, |(_, score)| score) {
                best = Some((callee, score));
            }
        }
        front = next;
    }
    best
}

/// Reasons that are told.
const REASONS_MAX: usize = 5;
/// Calls that a trouble travels.
const HOPS_MAX: usize = 4;
/// The share of a callee's change that a caller may have from it.
const INHERITED: f64 = 0.9;
/// Below this a change explains nothing: the 99.9 % point of the chi-square distribution.
const SIGNIFICANT: f64 = 10.8;
/// What the earliest alert counts.
const FIRST_ONSET: f64 = 10.0;
/// What a deploy counts just before the onset, or at some time of a range.
const DEPLOYED: f64 = 30.0;
/// Below this share failures are usual, for all that is known.
const USUAL_FAILED_SHARE: f64 = 0.01;

/// What this share of visits had before is normal behaviour; more of it counts less than its absence.
const COMMON_PERCENT: f64 = 10.0;
const RISE_OF_COMMON: f64 = 0.25;

/// The strongest reason counts whole, further ones of the same cause less and less.
fn total(reasons: &[Reason]) -> f64 {
    reasons.iter().zip([1.0, 0.5, 0.25, 0.125, 0.0625]).map(|(reason, weight)| reason.score * weight).sum()
}

/// Own time against the baseline.
fn slower(name: &str, operation: &Operation) -> Option<Reason> {
    let (score, factor) = longer(&operation.behaviour.before.own, &operation.behaviour.during.own, OWN_FLOOR)?;
    Some(Reason { score, text: format!("{name} takes {factor:.1} times as long by itself") })
}

/// The way of calls against the baseline: a network that delays or loses.
fn delayed(peer: &str, edge: &Pair<EdgeCounts>) -> Option<Reason> {
    let (score, _) = longer(&edge.before.way, &edge.during.way, WAY_FLOOR)?;
    let millis = |spread: &Spread| spread.typical_nanos() / 1e6;
    let (from, to) = (millis(&edge.before.way), millis(&edge.during.way));
    let text = format!("calls between it and {peer} are {to:.1} ms on the way, before {from:.1} ms");
    Some(Reason { score, text })
}

/// Nanoseconds by which a typical duration must grow to matter.
const OWN_FLOOR: f64 = 0.0;
const WAY_FLOOR: f64 = 5e6;

/// Welch's statistic on logarithms, squared, and the factor; `None` when the durations did not grow.
fn longer(before: &Spread, during: &Spread, floor: f64) -> Option<(f64, f64)> {
    if before.count < 5 || during.count < 5 || during.typical_nanos() - before.typical_nanos() < floor {
        return None;
    }
    let error = before.variance() / before.count as f64 + during.variance() / during.count as f64;
    let difference = during.mean() - before.mean();
    let (factor, z) = (difference.exp(), difference / (error + 1e-4).sqrt());
    (factor >= 1.3 && z > 3.0).then(|| ((z * z).min(400.0) * (factor - 1.0).min(1.0), factor))
}

/// Failed visits against the baseline.
fn failing(name: &str, operation: &Operation) -> Option<Reason> {
    let (before, during) = (&operation.behaviour.before, &operation.behaviour.during);
    let score = shares(before.failed, before.visits, during.failed, during.visits);
    (score > SIGNIFICANT).then(|| {
        let share = 100.0 * during.failed as f64 / during.visits.max(1) as f64;
        Reason { score: score * 3.0, text: format!("{share:.0} % of {name} fail") }
    })
}

/// Failed visits where there is no baseline at all, as on the first day of a server: then what fails is all there is to see.
fn failing_anyway(name: &str, operation: &Operation) -> Option<Reason> {
    let during = &operation.behaviour.during;
    let score = shares(0, during.visits, during.failed, during.visits);
    let share = during.failed as f64 / during.visits.max(1) as f64;
    let text = || format!("{:.0} % of {name} fail; of before nothing is known", 100.0 * share);
    (score > SIGNIFICANT && share >= USUAL_FAILED_SHARE).then(|| Reason { score: score * 3.0, text: text() })
}

/// A feature that more or fewer of the visits have.
fn changed(name: &str, operation: &Operation, feature: &Feature, counts: &Pair<u64>, severity: u8) -> Option<Reason> {
    let (before, during) = (operation.behaviour.before.visits, operation.behaviour.during.visits);
    let score = shares(counts.before, before, counts.during, during);
    if score.abs() <= SIGNIFICANT {
        return None;
    }
    // An error that is logged less often is a recovery, and so is more of what was common before.
    let recovers = matches!(feature, Feature::Log(_)) && severity >= 17 && score < 0.0;
    if recovers {
        return None;
    }
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let (from, to) = (percent(counts.before, before), percent(counts.during, during));
    let (weight, what) = match feature {
        Feature::Log(text) if severity >= 17 && score > 0.0 => (3.0, format!("logs the error \"{text}\"")),
        Feature::Log(text) => (1.0, format!("logs \"{text}\"")),
        Feature::Call(callee) => (0.5, format!("calls {callee}")),
        Feature::Inner(span) => (1.0, format!("runs {span}")),
    };
    let weight = if score > 0.0 && from >= COMMON_PERCENT { weight * RISE_OF_COMMON } else { weight };
    Some(Reason {
        score: score.abs() * weight,
        text: format!("{name} {what} in {to:.0} % of visits, before in {from:.0} %"),
    })
}

/// Processor use beyond the baseline's scatter.
fn busier(cpu: Cpu) -> Option<Reason> {
    let deviation = cpu.deviation.max(0.1 * cpu.mean).max(1e-3);
    let z = (cpu.during - cpu.mean) / deviation;
    let factor = cpu.during / cpu.mean.max(1e-6);
    (z > 4.0 && factor > 1.5)
        .then(|| Reason { score: (z * z).min(200.0), text: format!("uses {factor:.1} times the processor") })
}

fn deployed(seconds: f64) -> Option<Reason> {
    let score = DEPLOYED * (-seconds / 1800.0).exp();
    (seconds >= 0.0 && score > 1.0).then(|| Reason { score, text: format!("deployed {} before", minutes(seconds)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Traces of shop → cart → store, with own times in milliseconds; `delay` is on the way from shop to cart.
    struct Calls {
        own: [i64; 3],
        delay: i64,
        failed: [bool; 3],
        error: Option<&'static str>,
    }

    const CALM: Calls = Calls { own: [5, 5, 5], delay: 1, failed: [false; 3], error: None };

    fn feed(graph: &mut Graph, calls: &Calls, count: u64, phase: Phase) {
        for trace in 0..count {
            let jitter = i64::try_from(trace % 7).expect("small") * 100_000;
            let [shop, cart, store] = calls.own.map(|own| own * 1_000_000 + jitter);
            let delay = calls.delay * 1_000_000;
            let cart = cart + store + 1_000_000;
            let whole = shop + cart + delay;
            let span = |span_id, parent_id, service, length, failed| Span {
                trace_id: u128::from(trace),
                span_id,
                parent_id,
                service,
                operation: "handle",
                start: 0,
                end: length,
                failed,
            };
            let spans = [
                span(1, 0, "shop", whole, calls.failed[0]),
                span(2, 1, "shop", cart + delay, false),
                span(3, 2, "cart", cart, calls.failed[1]),
                span(4, 3, "cart", store + 1_000_000, false),
                span(5, 4, "store", store, calls.failed[2]),
            ];
            let logs: Vec<Log<'_>> = ["cart", "store"]
                .iter()
                .zip([3, 5])
                .filter(|(service, _)| calls.error == Some(**service))
                .map(|(_, span_id)| Log { trace_id: 1, span_id, pattern: "it broke", severity: 17 })
                .collect();
            graph.trace(&spans, &logs, phase);
        }
    }

    fn first(calls: &Calls, context: &BTreeMap<String, Context>) -> Suspect {
        let mut graph = Graph::new(Limits::default());
        feed(&mut graph, &CALM, 200, Phase::Before);
        feed(&mut graph, calls, 50, Phase::During);
        graph.origin(context, 3).remove(0)
    }

    #[test]
    fn the_deepest_service_that_fails_comes_first() {
        let suspect = first(&Calls { failed: [true; 3], ..CALM }, &BTreeMap::new());
        assert_eq!(suspect.service, "store", "{suspect:?}");
        assert_eq!(suspect.reasons[0].text, "100 % of handle fail");
        let suspect = first(&Calls { failed: [true, true, false], ..CALM }, &BTreeMap::new());
        assert_eq!(suspect.service, "cart");
    }

    #[test]
    fn who_is_slow_by_itself_comes_before_who_waits() {
        let suspect = first(&Calls { own: [5, 80, 5], ..CALM }, &BTreeMap::new());
        assert_eq!(suspect.service, "cart");
        assert!(suspect.reasons[0].text.contains("times as long by itself"), "{suspect:?}");
    }

    #[test]
    fn a_delay_on_the_way_is_told_as_one() {
        let suspect = first(&Calls { delay: 200, ..CALM }, &BTreeMap::new());
        assert!(suspect.reasons[0].text.contains("ms on the way, before 1.0 ms"), "{suspect:?}");
        assert_eq!(suspect.service, "cart");
    }

    #[test]
    fn errors_in_logs_and_processors_count() {
        let suspect = first(&Calls { error: Some("cart"), ..CALM }, &BTreeMap::new());
        assert_eq!(suspect.service, "cart");
        let busy = Context { cpu: Some(Cpu { mean: 0.1, deviation: 0.02, during: 0.9 }), ..Context::default() };
        let suspect = first(&CALM, &BTreeMap::from([("store".to_owned(), busy)]));
        assert_eq!(
            (suspect.service.as_str(), suspect.reasons[0].text.as_str()),
            ("store", "uses 9.0 times the processor")
        );
    }

    #[test]
    fn a_fresh_deploy_decides_between_equals() {
        let context = Context { deployed_before_seconds: Some(300.0), onset: Some(5), ..Context::default() };
        let suspect = first(&CALM, &BTreeMap::from([("shop".to_owned(), context)]));
        assert_eq!(suspect.service, "shop");
        let texts: Vec<&str> = suspect.reasons.iter().map(|reason| reason.text.as_str()).collect();
        assert_eq!(texts, ["deployed 5 minutes before", "the first to alert"]);
    }

    #[test]
    fn a_deploy_in_a_range_counts_too() {
        let context = Context { is_deployed_within: true, ..Context::default() };
        let suspect = first(&CALM, &BTreeMap::from([("cart".to_owned(), context)]));
        assert_eq!((suspect.service.as_str(), suspect.reasons[0].text.as_str()), ("cart", "deployed in the range"));
    }

    /// The first hour of a server: there is no hour before it.
    #[test]
    fn without_a_baseline_the_deepest_service_that_fails_comes_first() {
        let mut graph = Graph::new(Limits::default());
        feed(&mut graph, &CALM, 50, Phase::During);
        feed(&mut graph, &Calls { failed: [true; 3], ..CALM }, 25, Phase::During);
        let deployed = Context { is_deployed_within: true, ..Context::default() };
        let suspects = graph.origin(&BTreeMap::from([("cart".to_owned(), deployed)]), 3);
        assert_eq!(suspects[0].service, "store", "{suspects:?}");
        assert_eq!(suspects[0].reasons[0].text, "33 % of handle fail; of before nothing is known");
    }

    #[test]
    fn nothing_changed_is_no_reason() {
        assert_eq!(first(&CALM, &BTreeMap::new()).score, 0.0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut graph = Graph::new(Limits { operations: 2, features: 1 });
        feed(&mut graph, &CALM, 3, Phase::Before);
        assert_eq!(graph.operations.len(), 2);
        assert!(graph.operations.values().all(|operation| operation.features.len() <= 1));
    }
}
