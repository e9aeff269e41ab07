//! The metric names of Sloth and Pyrra as series that are computed from slices, so that dashboards made for them work.

use serde::Serialize;

use crate::budget::Reading;
use crate::definition::{Labels, SloDefinition};
use crate::duration::{DAY, HOUR, MINUTE, render_window};
use crate::error::Error;
use crate::querier::Group;
use crate::registry::Slos;
use crate::slice::Timeline;
use crate::window::Window;

/// Points of one answer, over all series.
const POINTS_MAX: usize = 2_000_000;

/// Points of one series, as in Prometheus.
const STEPS_MAX: i64 = 11_000;

/// How far from 1970 a question may reach: past the year 30,000.
const SECONDS_MAX: i64 = 1_000_000_000_000;

/// The windows of Sloth's recordings, beside the window of the SLO.
const SLOTH_WINDOWS: [i64; 7] = [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY];

/// The window of Pyrra's generic rates.
const PYRRA_RATE_SECONDS: i64 = 5 * MINUTE;

/// One series with its points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualSeries {
    /// Its labels, with `__name__`.
    pub labels: Labels,
    /// Seconds since 1970 and the value then, in the order of time. Where too little was measured there is no point.
    pub points: Vec<(i64, f64)>,
}

/// What a series is computed from, at one time.
enum Value {
    Constant(f64),
    /// The share of bad ones over so many seconds.
    ErrorRatio(i64),
    /// The share of bad ones over the window of the SLO.
    PeriodErrorRatio,
    /// The burn rate over so many seconds.
    BurnRate(i64),
    /// The share of the budget of the window that is spent.
    PeriodBurnRate,
    /// The share of the budget that is left.
    BudgetLeft,
    Availability,
    /// Events of a second.
    Requests,
    /// Bad events of a second.
    Errors,
}

struct Template {
    labels: Labels,
    value: Value,
}

impl Slos {
    /// The series whose labels `matches` takes, from `start` to `end` (both inclusive, seconds since 1970) at every
    /// `step`; with `start == end` an instant. Points later than the last complete slice are those of that slice, as long
    /// as its alerts would not be held; then there are none.
    pub fn series(
        &self,
        matches: &dyn Fn(&Labels) -> bool,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<Vec<VirtualSeries>, Error> {
        let (start, end) = (start.clamp(-SECONDS_MAX, SECONDS_MAX), end.clamp(-SECONDS_MAX, SECONDS_MAX));
        let steps = if step > 0 && start <= end { (end - start) / step + 1 } else { 1 };
        if steps > STEPS_MAX {
            let message = format!("the range has {steps} steps; {STEPS_MAX} are the most, ask for a longer step");
            return Err(Error::LimitExceeded { message });
        }
        let times: Vec<i64> = (0..steps).map(|number| start + number * step.clamp(0, SECONDS_MAX)).collect();
        let mut answer = Vec::new();
        let mut points = 0;
        for tracked in self.all() {
            let slo = &tracked.definition;
            let found = tracked.read(|state| of_slo(slo, &state.timeline, matches, &times)).unwrap_or_default();
            points += found.iter().map(|series| series.points.len()).sum::<usize>();
            answer.extend(found);
            if points > POINTS_MAX {
                let message =
                    format!("the answer has more than {POINTS_MAX} points; ask for fewer series or a longer step");
                return Err(Error::LimitExceeded { message });
            }
        }
        Ok(answer)
    }
}

fn of_slo(
    slo: &SloDefinition,
    timeline: &Timeline,
    matches: &dyn Fn(&Labels) -> bool,
    times: &[i64],
) -> Vec<VirtualSeries> {
    let groups: Vec<Option<&Group>> =
        if slo.group_by.is_empty() { vec![None] } else { timeline.groups().map(Some).collect() };
    let mut series = Vec::new();
    for group in groups {
        let reading = Reading::latest(slo, timeline, group);
        for template in sloth(slo, group).into_iter().chain(pyrra(slo, group)) {
            if !matches(&template.labels) {
                continue;
            }
            let point = |at: &i64| Some((*at, template.value.at(slo, timeline, &reading, *at)?));
            let points: Vec<(i64, f64)> = times.iter().filter_map(point).collect();
            if !points.is_empty() {
                series.push(VirtualSeries { labels: template.labels, points });
            }
        }
    }
    series
}

impl Value {
    fn at(&self, slo: &SloDefinition, timeline: &Timeline, reading: &Reading<'_>, at: i64) -> Option<f64> {
        let first = timeline.first() * timeline.width().seconds();
        let lag = at - timeline.end_seconds();
        if let Self::Constant(value) = self {
            return Some(*value);
        }
        if at < first || lag > crate::registry::STALE_SECONDS + 2 * timeline.width().seconds() {
            return None;
        }
        let reading = reading.at(at.min(timeline.end_seconds()));
        let period = slo.window.period().nominal_seconds();
        match self {
            Self::Constant(value) => Some(*value),
            Self::ErrorRatio(seconds) => reading.burn(*seconds).rate.map(|rate| rate * slo.budget_ratio()),
            Self::PeriodErrorRatio => reading.budget().sli.map(|sli| 1.0 - sli),
            Self::BurnRate(seconds) => reading.burn(*seconds).rate,
            Self::PeriodBurnRate => reading.budget().sli.map(|sli| (1.0 - sli) / slo.budget_ratio()),
            Self::BudgetLeft => Some(reading.budget().left_share),
            Self::Availability => reading.budget().sli,
            Self::Requests => per_second(&reading, slo, period).map(|(total, _)| total),
            Self::Errors => per_second(&reading, slo, period).map(|(_, bad)| bad),
        }
    }
}

/// Events and bad events of a second over five minutes, or one slice when that is longer.
fn per_second(reading: &Reading<'_>, slo: &SloDefinition, period: i64) -> Option<(f64, f64)> {
    let seconds = PYRRA_RATE_SECONDS.max(slo.slice.seconds()).min(period);
    let burn = reading.burn(seconds);
    burn.rate.map(|_| (burn.total / seconds as f64, burn.bad / seconds as f64))
}

fn base(slo: &SloDefinition, group: Option<&Group>, own: &[(&str, &str)]) -> Labels {
    let mut labels = slo.labels.clone();
    let values = group.iter().flat_map(|group| group.iter());
    labels.extend(slo.group_by.iter().cloned().zip(values.cloned()));
    labels.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    labels
}

fn named(labels: &Labels, name: &str, value: Value) -> Template {
    let mut labels = labels.clone();
    labels.insert("__name__".to_owned(), name.to_owned());
    Template { labels, value }
}

fn sloth(slo: &SloDefinition, group: Option<&Group>) -> Vec<Template> {
    let id = format!("{}-{}", slo.service, slo.name);
    let own = [("sloth_id", id.as_str()), ("sloth_service", &slo.service), ("sloth_slo", &slo.name)];
    let labels = base(slo, group, &own);
    let period = slo.window.period().nominal_seconds();
    let windows = SLOTH_WINDOWS.into_iter().filter(|seconds| *seconds >= slo.slice.seconds() && *seconds < period);
    let mut templates: Vec<Template> =
        windows.map(|seconds| error_ratio(&labels, seconds, Value::ErrorRatio(seconds))).collect();
    templates.push(error_ratio(&labels, period, Value::PeriodErrorRatio));
    let days = period as f64 / DAY as f64;
    let constants = [
        ("slo:objective:ratio", slo.objective),
        ("slo:error_budget:ratio", slo.budget_ratio()),
        ("slo:time_period:days", days),
    ];
    templates.extend(constants.map(|(name, value)| named(&labels, name, Value::Constant(value))));
    let current = PYRRA_RATE_SECONDS.max(slo.slice.seconds());
    templates.push(named(&labels, "slo:current_burn_rate:ratio", Value::BurnRate(current)));
    templates.push(named(&labels, "slo:period_burn_rate:ratio", Value::PeriodBurnRate));
    templates.push(named(&labels, "slo:period_error_budget_remaining:ratio", Value::BudgetLeft));
    let mut info = named(&labels, "sloth_slo_info", Value::Constant(1.0));
    let percent = (slo.objective * 1e10).round() / 1e8;
    let own = [("sloth_objective", percent.to_string()), ("sloth_mode", "trivium".to_owned())];
    info.labels.extend(own.map(|(name, value)| (name.to_owned(), value)));
    templates.push(info);
    templates
}

fn error_ratio(labels: &Labels, seconds: i64, value: Value) -> Template {
    let window = render_window(seconds);
    let mut template = named(labels, &format!("slo:sli_error:ratio_rate{window}"), value);
    template.labels.insert("sloth_window".to_owned(), window);
    template
}

fn pyrra(slo: &SloDefinition, group: Option<&Group>) -> Vec<Template> {
    let labels = base(slo, group, &[("slo", &slo.name)]);
    let period = match &slo.window {
        Window::Rolling(period) | Window::Calendar { period, .. } => period.nominal_seconds(),
    };
    vec![
        named(&labels, "pyrra_objective", Value::Constant(slo.objective)),
        named(&labels, "pyrra_window", Value::Constant(period as f64)),
        named(&labels, "pyrra_availability", Value::Availability),
        named(&labels, "pyrra_requests:rate5m", Value::Requests),
        named(&labels, "pyrra_errors:rate5m", Value::Errors),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use trivium_model::{ManualClock, UnixNanos};

    use super::*;
    use crate::keep::Kept;
    use crate::load::{SourceFile, load};
    use crate::registry::State;
    use crate::slice::{Counts, Slice};

    const DAYS: i64 = 40;

    /// 40 days of slices with 10 requests a second, of which one of a thousand is bad.
    fn slos() -> Slos {
        let text = "slos:\n  - name: shop\n    service: cart\n    objective: 99.5\n    window: 30d\n    labels: {team: a}\n    indicator:\n      promql: {good: a, total: b}\n";
        let set = load(&[SourceFile { path: "test".to_owned(), text: text.to_owned() }]).unwrap();
        let slos = Slos::new(Arc::new(ManualClock::new(UnixNanos(DAYS * DAY * 1_000_000_000))));
        let slo = Arc::clone(&set.slos[0]);
        slos.replace(set);
        let counts = Counts { bad: 3.0, total: 3000.0 };
        let slice = Slice { coverage: 1.0, groups: [(Group::from(vec![]), counts)].into() };
        let mut timeline = Timeline::new(slo.slice, slo.method, 0);
        timeline.write(0, &vec![slice; (DAYS * 288) as usize]);
        let kept = Kept::new(slo.generation(), slo.slice, 0);
        slos.get("shop").unwrap().put(State { epoch: 1, kept, timeline, again: None });
        slos
    }

    fn value(name: &str) -> f64 {
        let found = slos().series(&|labels| labels["__name__"] == name, DAYS * DAY, DAYS * DAY, 0).unwrap();
        assert_eq!(found.len(), 1, "{name}");
        found[0].points[0].1
    }

    #[test]
    fn the_names_of_sloth_and_pyrra_have_their_values() {
        let expected = [
            ("slo:sli_error:ratio_rate5m", 0.001),
            ("slo:sli_error:ratio_rate3d", 0.001),
            ("slo:sli_error:ratio_rate30d", 0.001),
            ("slo:objective:ratio", 0.995),
            ("slo:error_budget:ratio", 0.005),
            ("slo:time_period:days", 30.0),
            ("slo:current_burn_rate:ratio", 0.2),
            ("slo:period_burn_rate:ratio", 0.2),
            ("slo:period_error_budget_remaining:ratio", 0.8),
            ("sloth_slo_info", 1.0),
            ("pyrra_objective", 0.995),
            ("pyrra_window", 2_592_000.0),
            ("pyrra_availability", 0.999),
            ("pyrra_requests:rate5m", 10.0),
            ("pyrra_errors:rate5m", 0.01),
        ];
        for (name, number) in expected {
            assert!((value(name) - number).abs() < 1e-9, "{name} is {}", value(name));
        }
        let all = slos().series(&|_| true, DAYS * DAY, DAYS * DAY, 0).unwrap();
        assert_eq!(all.len(), 20);
        assert_eq!(all.iter().map(|series| &series.labels).collect::<BTreeSet<_>>().len(), 20);
        let ratio = all.iter().find(|series| series.labels["__name__"] == "slo:sli_error:ratio_rate1h").unwrap();
        let labels =
            ["sloth_id", "sloth_service", "sloth_slo", "sloth_window", "team"].map(|name| ratio.labels[name].as_str());
        assert_eq!(labels, ["cart-shop", "cart", "shop", "1h", "a"]);
    }

    #[test]
    fn a_range_has_a_point_for_each_step_that_is_known() {
        let is_availability = |labels: &Labels| labels["__name__"] == "pyrra_availability";
        let end = DAYS * DAY;
        let points = |start, end, step| slos().series(&is_availability, start, end, step).unwrap().remove(0).points;
        assert_eq!(points(end - 3600, end, 60).len(), 61);
        assert_eq!(points(end, end + 7200, 300).len(), 6, "slices that end 25 minutes ago say nothing of now");
        assert!(slos().series(&is_availability, -1000, -500, 100).unwrap().is_empty());
        assert!(slos().series(&is_availability, 0, end, 1).is_err());
        assert!(slos().series(&is_availability, i64::MIN, i64::MAX, i64::MAX).unwrap().is_empty());
    }
}
