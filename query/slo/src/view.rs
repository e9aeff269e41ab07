//! What `/api/v1/slos` and `/api/v1/slos/{name}` answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::alert::AlertReport;
use crate::budget::{BURN_WINDOWS, Budget, BudgetPoint, Burn, Reading};
use crate::definition::{BudgetingMethod, Indicator, Labels, SloDefinition};
use crate::duration::{HOUR, render_window};
use crate::error::Error;
use crate::keep::{Generation, Kept};
use crate::querier::Group;
use crate::registry::{Health, Slos, State, Tracked};
use crate::slice::Timeline;
use crate::window::Window;

/// Points of a burn-down that are told unless asked otherwise.
const BURN_DOWN_POINTS: usize = 200;

/// One SLO in the list.
#[derive(Clone, Debug, Serialize)]
pub struct SloSummary {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// The service that promises it.
    pub service: String,
    /// What is promised, in words.
    pub description: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// The promised share.
    pub objective: f64,
    /// Its window, with the bounds of now.
    pub window: WindowView,
    /// The budget now; `None` before any slice was measured.
    pub budget: Option<Budget>,
    /// The burn rate of the last hour.
    pub burn_rate_1h: Option<f64>,
    /// Seconds until the budget is used up, at the burn rate of the last hour.
    pub exhaustion_seconds: Option<f64>,
    /// How many alerts are active.
    pub active_alerts: usize,
    /// Until when slices are complete, seconds since 1970.
    pub watermark: Option<i64>,
    /// Whether it is measured as it should be.
    pub health: Health,
}

/// The window of an SLO.
#[derive(Clone, Debug, Serialize)]
pub struct WindowView {
    /// Its length as written.
    pub duration: String,
    /// Whether it ends now or at a boundary of the calendar.
    pub is_rolling: bool,
    /// Whose calendar.
    pub time_zone: Option<String>,
    /// Where the window of now begins, seconds since 1970.
    pub start: i64,
    /// Where it ends.
    pub end: i64,
}

/// The indicator of an SLO.
#[derive(Clone, Debug, Serialize)]
pub struct IndicatorView {
    /// As its author wrote it.
    pub written: String,
    /// As it was read.
    pub read: Indicator,
    /// Seconds of a slice.
    pub slice_seconds: i64,
    /// What the budget is counted in.
    pub budgeting: BudgetingMethod,
    /// Labels or columns with budgets of their own.
    pub group_by: Vec<String>,
}

/// Everything about one SLO.
#[derive(Clone, Debug, Serialize)]
pub struct SloView {
    /// What the list says of it.
    #[serde(flatten)]
    pub summary: SloSummary,
    /// What is measured.
    pub indicator: IndicatorView,
    /// Where its runbook is.
    pub runbook_url: Option<String>,
    /// The file and line that define it.
    pub defined_at: String,
    /// Burn rates, with the factors that alert.
    pub burn_rates: Vec<BurnView>,
    /// The burn rate that one bad event more in the last hour would be; what low traffic means.
    pub one_bad_event_burns: Option<f64>,
    /// What is left at the end of a calendar window if it goes on as in the last six hours.
    pub forecast_share: Option<f64>,
    /// What the alerts say.
    pub alerts: AlertView,
    /// The budget over the current window.
    pub burn_down: Vec<BudgetPoint>,
    /// Past calendar windows, newest first: what they closed at.
    pub past_windows: Vec<Budget>,
    /// The rolling window at the end of each day, newest first.
    pub daily: Vec<BudgetPoint>,
    /// The groups, the one with the least budget left first.
    pub groups: Vec<GroupView>,
    /// Generations of slices, oldest first; the last is the current one.
    pub generations: Vec<Generation>,
    /// Where measured slices begin, seconds since 1970; later than two windows ago while history is being measured.
    pub measured_from: Option<i64>,
    /// Attributes and log patterns that burn most, filled in by who can ask for them.
    pub top_burners: Option<serde_json::Value>,
}

/// A burn rate and what it alerts at.
#[derive(Clone, Debug, Serialize)]
pub struct BurnView {
    /// The window, such as `6h`.
    pub window: String,
    /// The burn rate.
    #[serde(flatten)]
    pub burn: Burn,
    /// The factors of the alerts that look at this window: by `severity long/short`.
    pub thresholds: BTreeMap<String, f64>,
}

/// What the alerts of an SLO say.
#[derive(Clone, Debug, Serialize)]
pub struct AlertView {
    /// Conditions that hold, and alerts that are held.
    #[serde(flatten)]
    pub report: AlertReport,
    /// The pairs of windows that are looked at.
    pub pairs: Vec<crate::definition::BurnPair>,
    /// Bad events below which no pair is active.
    pub min_bad_events: f64,
    /// Events below which no pair is active.
    pub min_total: f64,
}

/// One group of an SLO.
#[derive(Clone, Debug, Serialize)]
pub struct GroupView {
    /// Its values.
    pub labels: Labels,
    /// Its budget.
    pub budget: Budget,
    /// Its burn rate of the last hour.
    pub burn_rate_1h: Option<f64>,
}

/// What a former generation says.
#[derive(Clone, Debug, Serialize)]
pub struct FormerView {
    /// The generation.
    pub generation: Generation,
    /// The budget as of its end.
    pub budget: Budget,
    /// Its calendar windows, newest first.
    pub past_windows: Vec<Budget>,
    /// Its rolling window at the end of each day, newest first.
    pub daily: Vec<BudgetPoint>,
}

impl FormerView {
    pub(crate) fn new(slo: &SloDefinition, generation: Generation, timeline: &Timeline) -> Self {
        let reading = Reading::latest(slo, timeline, None);
        let (budget, past_windows, daily) = (reading.budget(), reading.past_windows(), reading.daily());
        Self { generation, budget, past_windows, daily }
    }
}

impl Slos {
    /// All SLOs, those that burn fastest towards their end first.
    pub fn summaries(&self) -> Vec<SloSummary> {
        let mut all: Vec<SloSummary> = self.all().iter().map(|tracked| self.summary(tracked)).collect();
        let urgency = |summary: &SloSummary| {
            let left = summary.budget.map_or(f64::INFINITY, |budget| budget.left_share);
            (summary.exhaustion_seconds.unwrap_or(f64::INFINITY), left)
        };
        all.sort_by(|one, other| {
            let ((end, left), (other_end, other_left)) = (urgency(one), urgency(other));
            end.total_cmp(&other_end).then(left.total_cmp(&other_left))
        });
        all
    }

    /// Everything about one SLO.
    pub fn view(&self, name: &str) -> Result<SloView, Error> {
        let tracked = self.get(name)?;
        let summary = self.summary(&tracked);
        let slo = &tracked.definition;
        let generations = |kept: &Kept| kept.past.iter().chain([&kept.current]).cloned().collect();
        let view = |state: &State| self.view_of(slo, summary.clone(), &state.timeline, generations(&state.kept));
        Ok(tracked.read(view).unwrap_or_else(|| {
            let now = self.now().div_euclid(slo.slice.seconds());
            self.view_of(slo, summary.clone(), &Timeline::new(slo.slice, slo.method, now), Vec::new())
        }))
    }

    fn view_of(
        &self,
        slo: &SloDefinition,
        summary: SloSummary,
        timeline: &Timeline,
        generations: Vec<Generation>,
    ) -> SloView {
        let reading = Reading::latest(slo, timeline, None);
        let hour = reading.burn(HOUR);
        let is_measured = timeline.first() < timeline.end();
        SloView {
            summary,
            indicator: indicator_view(slo),
            runbook_url: slo.runbook_url.clone(),
            defined_at: format!("{}:{}", slo.defined_at.0, slo.defined_at.1),
            burn_rates: burn_views(slo, &reading),
            one_bad_event_burns: (hour.total > 0.0).then(|| 1.0 / hour.total / slo.budget_ratio()),
            forecast_share: reading.forecast_share(6 * HOUR),
            alerts: AlertView {
                report: self.report(slo, timeline),
                pairs: slo.alerting.pairs.clone(),
                min_bad_events: slo.alerting.min_bad_events,
                min_total: slo.alerting.min_total,
            },
            burn_down: reading.burn_down(BURN_DOWN_POINTS),
            past_windows: reading.past_windows(),
            daily: reading.daily(),
            groups: group_views(slo, timeline),
            generations,
            measured_from: is_measured.then(|| timeline.first() * slo.slice.seconds()),
            top_burners: None,
        }
    }

    fn summary(&self, tracked: &Arc<Tracked>) -> SloSummary {
        let slo = &tracked.definition;
        let read = tracked.read(|state| {
            let reading = Reading::latest(slo, &state.timeline, None);
            let is_measured = state.timeline.first() < state.timeline.end();
            let active = self.report(slo, &state.timeline).active.len();
            is_measured.then(|| {
                (reading.now(), reading.budget(), reading.burn(HOUR), reading.exhaustion_seconds(HOUR), active)
            })
        });
        let read = read.flatten();
        SloSummary {
            name: slo.name.clone(),
            display_name: slo.display_name.clone(),
            service: slo.service.clone(),
            description: slo.description.clone(),
            labels: slo.labels.clone(),
            objective: slo.objective,
            window: window_view(slo, read.map_or_else(|| self.now(), |(now, ..)| now)),
            budget: read.map(|(_, budget, ..)| budget),
            burn_rate_1h: read.and_then(|(_, _, burn, ..)| burn.rate),
            exhaustion_seconds: read.and_then(|(_, _, _, exhaustion, _)| exhaustion),
            active_alerts: read.map_or(0, |(.., active)| active),
            watermark: read.map(|(now, ..)| now),
            health: tracked.health(),
        }
    }
}

fn window_view(slo: &SloDefinition, now: i64) -> WindowView {
    let bounds = slo.window.bounds(now);
    let time_zone = match &slo.window {
        Window::Rolling(_) => None,
        Window::Calendar { zone, .. } => Some(zone.name().to_owned()),
    };
    WindowView {
        duration: slo.window.period().to_string(),
        is_rolling: !slo.window.is_calendar(),
        time_zone,
        start: bounds.start,
        end: bounds.end,
    }
}

fn indicator_view(slo: &SloDefinition) -> IndicatorView {
    IndicatorView {
        written: slo.written.clone(),
        read: slo.indicator.clone(),
        slice_seconds: slo.slice.seconds(),
        budgeting: slo.method,
        group_by: slo.group_by.clone(),
    }
}

fn burn_views(slo: &SloDefinition, reading: &Reading<'_>) -> Vec<BurnView> {
    let pairs = &slo.alerting.pairs;
    let mut windows: Vec<i64> = BURN_WINDOWS.to_vec();
    windows.extend(pairs.iter().flat_map(|pair| [pair.long_seconds, pair.short_seconds]));
    windows.extend(slo.alerting.policies.iter().map(|policy| policy.lookback_seconds));
    windows.retain(|seconds| *seconds >= slo.slice.seconds() && *seconds <= slo.window.period().nominal_seconds());
    windows.sort_unstable();
    windows.dedup();
    let view = |seconds: i64| {
        let of_window = pairs.iter().filter(|pair| pair.long_seconds == seconds || pair.short_seconds == seconds);
        let name = |pair: &crate::definition::BurnPair| {
            let (long, short) = (render_window(pair.long_seconds), render_window(pair.short_seconds));
            format!("{} {long}/{short}", pair.severity.as_str())
        };
        let mut thresholds: BTreeMap<String, f64> = of_window.map(|pair| (name(pair), pair.factor)).collect();
        let policies = slo.alerting.policies.iter().filter(|policy| policy.lookback_seconds == seconds);
        thresholds.extend(policies.map(|policy| (format!("policy {}", policy.name), policy.threshold)));
        BurnView { window: render_window(seconds), burn: reading.burn(seconds), thresholds }
    };
    windows.into_iter().map(view).collect()
}

fn group_views(slo: &SloDefinition, timeline: &Timeline) -> Vec<GroupView> {
    let view = |group: &Group| {
        let reading = Reading::latest(slo, timeline, Some(group));
        GroupView {
            labels: slo.group_by.iter().cloned().zip(group.iter().cloned()).collect(),
            budget: reading.budget(),
            burn_rate_1h: reading.burn(HOUR).rate,
        }
    };
    let mut views: Vec<GroupView> = timeline.groups().map(view).collect();
    views.sort_by(|one, other| one.budget.left_share.total_cmp(&other.budget.left_share));
    views
}
