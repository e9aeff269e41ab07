//! From the spans of a trace to visits: what a service did between being called and answering.

use std::collections::{BTreeMap, HashMap};

/// A span, as far as the graph needs it.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Of its trace.
    pub trace_id: u128,
    /// Its own.
    pub span_id: u64,
    /// 0 for the root.
    pub parent_id: u64,
    /// The service.
    pub service: &'a str,
    /// Its name.
    pub operation: &'a str,
    /// Nanoseconds since 1970.
    pub start: i64,
    /// Nanoseconds since 1970.
    pub end: i64,
    /// Whether its status is an error.
    pub failed: bool,
}

/// A log record of a trace, as far as the graph needs it.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// Of its trace.
    pub trace_id: u128,
    /// The span it was written in.
    pub span_id: u64,
    /// Identifies its pattern within the service.
    pub pattern: &'a str,
    /// OpenTelemetry's severity number.
    pub severity: u8,
}

/// Something that a visit did: a span of its own, a call, or a log line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Feature {
    Inner(String),
    Call(String),
    Log(String),
}

/// A call to another service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing<'a> {
    pub(crate) service: &'a str,
    /// As the caller saw it.
    pub(crate) nanos: i64,
    /// What of it passed on the way there and back; `None` when the caller has no span of the call.
    pub(crate) way_nanos: Option<i64>,
    pub(crate) failed: bool,
}

/// One call of a service.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    pub(crate) service: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) failed: bool,
    /// Without the time that others took.
    pub(crate) own_nanos: i64,
    /// The services it called.
    pub(crate) calls: Vec<Outgoing<'a>>,
    pub(crate) features: BTreeMap<Feature, u8>,
}

/// Spans of a trace that are looked at.
const SPANS_MAX: usize = 10_000;

/// How deep a visit's spans may hang below its first.
const HOPS_MAX: usize = 64;

/// The visits of one trace.
pub(crate) fn visits<'a>(spans: &[Span<'a>], logs: &[Log<'_>]) -> Vec<Visit<'a>> {
    let spans = &spans[..spans.len().min(SPANS_MAX)];
    let by_id: HashMap<u64, usize> = spans.iter().enumerate().map(|(at, span)| (span.span_id, at)).collect();
    let parent = |at: usize| by_id.get(&spans[at].parent_id).copied().filter(|parent| *parent != at);
    let entries: Vec<usize> = (0..spans.len()).map(|at| entry(at, spans, &parent)).collect();
    let mut visits: BTreeMap<usize, Visit<'a>> = BTreeMap::new();
    for at in 0..spans.len() {
        if entries[at] == at {
            visits.insert(at, visit(&spans[at]));
        }
    }
    let mut called: BTreeMap<usize, Vec<(i64, i64)>> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate() {
        let of = entries[at];
        if of != at {
            if let Some(visit) = visits.get_mut(&of) {
                visit.failed |= span.failed;
                visit.features.insert(Feature::Inner(span.operation.to_owned()), 0);
            }
        } else if let Some(caller) = parent(at) {
            let caller_visit = entries[caller];
            let answered = span.end - span.start;
            // The caller's span of the call, where it has one, covers the way there and back.
            let whole = spans[caller].end - spans[caller].start;
            let is_client = caller != caller_visit && whole >= answered;
            let outgoing = Outgoing {
                service: span.service,
                nanos: if is_client { whole } else { answered.max(0) },
                way_nanos: is_client.then_some(whole - answered),
                failed: span.failed,
            };
            let covered = if is_client { &spans[caller] } else { span };
            called.entry(caller_visit).or_default().push((covered.start, covered.end));
            if let Some(visit) = visits.get_mut(&caller_visit) {
                visit.calls.push(outgoing);
                visit.features.insert(Feature::Call(format!("{} {}", span.service, span.operation)), 0);
            }
        }
    }
    for (at, intervals) in called {
        if let Some(visit) = visits.get_mut(&at) {
            visit.own_nanos -= covered(intervals, spans[at].start, spans[at].end);
        }
    }
    for log in logs {
        let visit = by_id.get(&log.span_id).and_then(|at| visits.get_mut(&entries[*at]));
        if let Some(visit) = visit {
            let severity = visit.features.entry(Feature::Log(log.pattern.to_owned())).or_default();
            *severity = (*severity).max(log.severity);
        }
    }
    visits.into_values().collect()
}

/// The first span of the visit that a span belongs to.
fn entry(at: usize, spans: &[Span<'_>], parent: &impl Fn(usize) -> Option<usize>) -> usize {
    let mut first = at;
    for _ in 0..HOPS_MAX {
        match parent(first) {
            Some(above) if spans[above].service == spans[at].service => first = above,
            _ => break,
        }
    }
    first
}

fn visit<'a>(span: &Span<'a>) -> Visit<'a> {
    Visit {
        service: span.service,
        operation: span.operation,
        failed: span.failed,
        own_nanos: (span.end - span.start).max(0),
        calls: Vec::new(),
        features: BTreeMap::new(),
    }
}

/// How much of a stretch of time the intervals cover.
fn covered(mut intervals: Vec<(i64, i64)>, start: i64, end: i64) -> i64 {
    intervals.sort_unstable();
    let (mut total, mut until) = (0, start);
    for (from, to) in intervals {
        let (from, to) = (from.max(until), to.min(end));
        if to > from {
            total += to - from;
            until = to;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span<'a>(span_id: u64, parent_id: u64, service: &'a str, start: i64, end: i64) -> Span<'a> {
        Span { trace_id: 1, span_id, parent_id, service, operation: "op", start, end, failed: false }
    }

    #[test]
    fn a_visit_is_what_a_service_did_between_call_and_answer() {
        let spans =
            [span(1, 0, "a", 0, 100), span(2, 1, "a", 10, 60), span(3, 2, "b", 20, 50), span(4, 1, "b", 40, 90)];
        let logs = [Log { trace_id: 1, span_id: 2, pattern: "p", severity: 17 }];
        let visits = visits(&spans, &logs);
        assert_eq!(visits.len(), 3);
        assert_eq!(visits[0].own_nanos, 20, "the calls cover 10 to 90");
        let call = |nanos, way_nanos| Outgoing { service: "b", nanos, way_nanos, failed: false };
        assert_eq!(visits[0].calls, [call(50, Some(20)), call(50, None)]);
        assert_eq!(visits[0].features.get(&Feature::Log("p".to_owned())), Some(&17));
        assert_eq!(visits[1].own_nanos, 30);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let spans = [span(1, 2, "a", 0, 10), span(2, 1, "a", 0, 10), span(3, 3, "b", 0, 10)];
        assert!(visits(&spans, &[]).len() <= 3);
    }
}
