//! What an SLO is, after reading: nothing here can be invalid.

use std::collections::BTreeMap;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::duration::{DAY, MINUTE};
use crate::window::Window;

/// Labels, in the order of their names.
pub type Labels = BTreeMap<String, String>;

/// One service level objective.
#[derive(Clone, Debug, PartialEq)]
pub struct SloDefinition {
    /// Its name, one of its kind; lower-case letters, digits, `-` and `.`.
    pub name: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// The service that promises it.
    pub service: String,
    /// What is promised, in words.
    pub description: Option<String>,
    /// The share of good events (or slices) that is promised; above 0 and below 1.
    pub objective: f64,
    /// What the budget is counted in.
    pub method: BudgetingMethod,
    /// The window of the budget.
    pub window: Window,
    /// The length of a slice.
    pub slice: SliceWidth,
    /// What is measured.
    pub indicator: Indicator,
    /// The indicator as its author wrote it.
    pub written: String,
    /// Labels or columns that each have a budget of their own.
    pub group_by: Vec<String>,
    /// Which alerts are generated.
    pub alerting: Alerting,
    /// Where the alerts send the reader.
    pub runbook_url: Option<String>,
    /// Labels that alerts and series carry.
    pub labels: Labels,
    /// Where it was defined: file and line.
    pub defined_at: (String, u64),
}

impl SloDefinition {
    /// Identifies how it is measured. A change of it makes a new generation of slices; the objective, the window and the
    /// alerts are applied when slices are read and may change freely.
    pub fn generation(&self) -> u64 {
        // The JSON of a derived serializer has a fixed order of fields, and no map of it is unordered.
        let read = serde_json::to_vec(&(&self.indicator, &self.group_by, self.slice.seconds())).unwrap_or_default();
        xxh3_64(&read)
    }

    /// The share of bad events that is allowed.
    pub fn budget_ratio(&self) -> f64 {
        complement(self.objective)
    }
}

/// One minus a share, without the dust of binary fractions: of 0.999 it is 0.001 and not 0.0010000000000000009.
pub(crate) fn complement(share: f64) -> f64 {
    ((1.0 - share) * 1e12).round() / 1e12
}

/// What the budget is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum BudgetingMethod {
    /// Events: weighted by traffic.
    Occurrences,
    /// Slices, each good or bad.
    Timeslices {
        /// The share of good events that makes a slice good.
        target: f64,
    },
    /// Slices, each as good as its share of good events.
    RatioTimeslices,
}

/// The length of a slice: whole minutes that divide a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SliceWidth(u32);

impl SliceWidth {
    /// Of windows up to a day.
    pub const MINUTE: Self = Self(60);
    /// Of all other windows.
    pub const FIVE_MINUTES: Self = Self(300);

    /// A width of so many seconds; `None` when it is no whole number of minutes or does not divide a day.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        let fits = seconds >= MINUTE && seconds % MINUTE == 0 && DAY % seconds == 0;
        u32::try_from(seconds).ok().filter(|_| fits).map(Self)
    }

    /// Seconds of a slice.
    pub fn seconds(self) -> i64 {
        i64::from(self.0)
    }

    /// Slices of a day.
    pub fn per_day(self) -> usize {
        usize::try_from(DAY / self.seconds()).unwrap_or(1)
    }
}

/// What is measured. Every form answers with good and total for each slice and group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Indicator {
    /// Two queries: some of the events, and all of them.
    Ratio {
        /// Whether `part` counts good or bad events.
        part_is: Part,
        /// Counts good or bad events.
        part: Query,
        /// Counts all events.
        total: Query,
        /// Whether the metrics are counters that only grow, so that a slice counts their increase. Otherwise each sample
        /// is itself a number of events, and a slice sums its samples.
        counter: bool,
    },
    /// A query that yields ratios from 0 to 1: each point is one event, as good as its ratio. `good` of a slice is the sum
    /// of the points (of their complements for [`Part::Bad`]), `total` is their number.
    Raw {
        /// The query.
        query: Query,
        /// Whether the ratio is of good or of bad events.
        ratio_of: Part,
    },
    /// A query whose points are compared with a value: each point is one event, good when the comparison holds.
    Threshold {
        /// The query.
        query: Query,
        /// How a point is compared.
        op: Comparison,
        /// With what.
        value: f64,
    },
    /// One SQL query that yields the columns `time` or `slice`, `good`, `total`, and one for each group.
    Sql {
        /// With the parameters `$start`, `$end` and `$slice`.
        query: String,
    },
    /// Spans of a service, joined with the logs of their traces.
    Spans(SpanIndicator),
}

/// Which events a query counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The good ones.
    Good,
    /// The bad ones.
    Bad,
}

/// One query for a number of each slice and group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "language", content = "query", rename_all = "lowercase")]
pub enum Query {
    /// A PromQL expression; see [`promql_of_slice`](crate::promql_of_slice) for what is asked of each slice.
    Promql(String),
    /// SQL that yields the columns `time` or `slice`, `value`, and one for each group.
    Sql(String),
}

/// How a point is compared with the threshold; good when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Comparison {
    /// At most.
    Lte,
    /// Less than.
    Lt,
    /// At least.
    Gte,
    /// More than.
    Gt,
}

impl Comparison {
    /// Whether `point` is good.
    pub fn holds(self, point: f64, value: f64) -> bool {
        match self {
            Self::Lte => point <= value,
            Self::Lt => point < value,
            Self::Gte => point >= value,
            Self::Gt => point > value,
        }
    }
}

/// Which spans are events, and which of them are good: those that meet every condition that is given. A span belongs to
/// the slice in which it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpanIndicator {
    /// `service.name`.
    pub service: String,
    /// The name of the span; `None` for any.
    pub operation: Option<String>,
    /// Only spans without parent.
    pub root: bool,
    /// Only spans of this kind.
    pub span_kind: Option<SpanKind>,
    /// Attributes of the span or its resource that must have these values.
    pub attributes: Labels,
    /// Good only when the status is not error.
    pub not_error: bool,
    /// Good only when it took less than so many nanoseconds.
    pub below_nanos: Option<u64>,
    /// Good only when no log record of its trace is found by this log search.
    pub bad_logs: Option<String>,
}

/// The kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Handles a request.
    Server,
    /// Makes a request.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
    /// Work inside the service.
    Internal,
}

/// Which alerts are generated for an SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerting {
    /// The pairs of windows of burn-rate alerts, meaningless ones left out.
    pub pairs: Vec<BurnPair>,
    /// Conditions of OpenSLO alert policies.
    pub policies: Vec<AlertPolicy>,
    /// Low-traffic guard: bad events of the long window below which no burn-rate alert is active.
    pub min_bad_events: f64,
    /// Low-traffic guard: events of the long window below which no burn-rate alert is active.
    pub min_total: f64,
    /// Labels of alerts of severity `page`.
    pub page_labels: Labels,
    /// Labels of alerts of severity `ticket`.
    pub ticket_labels: Labels,
    /// Percentages of the budget left at or below which an alert is active.
    pub budget_left: Vec<f64>,
    /// An alert is active when the budget is predicted to be used up within so many seconds.
    pub exhaustion_within: Option<i64>,
}

impl Default for Alerting {
    fn default() -> Self {
        Self {
            pairs: Vec::new(),
            policies: Vec::new(),
            min_bad_events: 3.0,
            min_total: 0.0,
            page_labels: Labels::new(),
            ticket_labels: Labels::new(),
            budget_left: Vec::new(),
            exhaustion_within: None,
        }
    }
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Someone is called now.
    Page,
    /// Someone looks at it on a working day.
    Ticket,
}

impl Severity {
    /// The value of the label `severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// A long and a short window whose burn rates must both exceed the factor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BurnPair {
    /// How urgent it is.
    pub severity: Severity,
    /// Seconds of the long window.
    pub long_seconds: i64,
    /// Seconds of the short window, which ends the alert soon after the errors end.
    pub short_seconds: i64,
    /// How many times faster than allowed the budget must burn.
    pub factor: f64,
}

/// The condition of an OpenSLO alert policy.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertPolicy {
    /// The name of the policy.
    pub name: String,
    /// What the policy says of itself.
    pub description: Option<String>,
    /// The severity of its condition, any text.
    pub severity: String,
    /// How the burn rate is compared.
    pub op: Comparison,
    /// With what.
    pub threshold: f64,
    /// Seconds over which the burn rate is taken.
    pub lookback_seconds: i64,
    /// Seconds for which it must hold before the alert fires.
    pub alert_after_seconds: i64,
    /// Whether an alert is active while there is no data.
    pub when_no_data: bool,
    /// Whether the end is notified.
    pub when_resolved: bool,
    /// Whether an alert is active while the condition holds.
    pub when_breaching: bool,
    /// Names of the notification targets.
    pub targets: Vec<String>,
}
