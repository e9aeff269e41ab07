//! A look at attribute sets that rules most series out before their labels are made.
//!
//! With a million series, making the labels of each only to find that they do not match costs a second a query. A label that
//! must have some value has it from the attribute set or the resource, so the value must stand in one of the two texts.

use memchr::memmem::Finder;
use trivium_promql::{METRIC_NAME, MatchKind, Matcher};

use super::index::{PointKind, Run, SeriesIndex};

/// Labels that are not taken from the texts as they stand there: made up of several attributes, or of a data point.
const MADE_UP: [&str; 6] = [METRIC_NAME, "job", "instance", "le", "quantile", "__type__"];

/// The values that must stand in the texts of a selected series.
pub(super) struct Prefilter<'a> {
    /// For samples of Prometheus, whose labels are all strings and stand as they are.
    of_prometheus: Vec<Finder<'a>>,
    /// For all others: attributes may be numbers, whose text is not what stands there.
    of_others: Vec<Finder<'a>>,
}

impl<'a> Prefilter<'a> {
    pub(super) fn new(matchers: &'a [&'a Matcher]) -> Self {
        let equal = || {
            let is_literal = |matcher: &&&&Matcher| {
                matches!(matcher.kind, MatchKind::Equal)
                    && !matcher.value.is_empty()
                    && matcher.name != METRIC_NAME
                    && matcher.value.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\')
            };
            matchers.iter().filter(move |matcher| is_literal(&matcher))
        };
        let finder = |matcher: &'a &'a Matcher| Finder::new(matcher.value.as_bytes());
        let stands_as_it_is = |matcher: &&&Matcher| {
            !MADE_UP.contains(&matcher.name.as_str())
                && !matcher.name.starts_with("otel_scope_")
                && !matcher.value.contains(';')
                && is_no_number(&matcher.value)
        };
        Self {
            of_prometheus: equal().map(finder).collect(),
            of_others: equal().filter(stands_as_it_is).map(finder).collect(),
        }
    }

    /// Whether the series of a run may be selected.
    pub(super) fn admits(&self, index: &SeriesIndex, run: &Run) -> bool {
        let attributes = index.text(run.attributes).as_bytes();
        if index.metrics[run.metric as usize].kind == PointKind::Prometheus {
            return self.of_prometheus.iter().all(|finder| finder.find(attributes).is_some());
        }
        let resource = index.text(run.resource).as_bytes();
        self.of_others.iter().all(|finder| finder.find(attributes).is_some() || finder.find(resource).is_some())
    }
}

/// Whether no number has this text: `5` is also the text of 5.0, and `NaN` of a number too.
fn is_no_number(value: &str) -> bool {
    value.parse::<f64>().is_err() && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}
