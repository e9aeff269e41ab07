//! What the slices say about the budget of an SLO: how much is left, how fast it burns, when it is used up.

use serde::Serialize;

use crate::definition::SloDefinition;
use crate::duration::{DAY, HOUR, MINUTE};
use crate::querier::Group;
use crate::slice::{Timeline, WindowSums};
use crate::window::Bounds;

/// The share of a window that must have been measured before anything is concluded from it.
pub const COVERAGE_FLOOR: f64 = 0.8;

/// Past windows that are told at most.
const PAST_WINDOWS_MAX: usize = 60;

/// The windows whose burn rates are told, beside those of the alerts.
pub(crate) const BURN_WINDOWS: [i64; 7] = [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY];

/// The budget of one window of one SLO or group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Where the window begins, seconds since 1970.
    pub start: i64,
    /// Where it ends.
    pub end: i64,
    /// The share of good ones so far; `None` when there was nothing to count.
    pub sli: Option<f64>,
    /// Bad events (or slices) so far.
    pub bad: f64,
    /// Events (or slices) so far.
    pub total: f64,
    /// The share of the window up to now that was measured.
    pub coverage: f64,
    /// Bad events that the whole window may have, also where it is longer than what was measured.
    pub budget_events: f64,
    /// Minutes of full outage that the whole window may have.
    pub budget_minutes: f64,
    /// The share of the budget that is left; negative when it is overdrawn, 1 when nothing was spent.
    pub left_share: f64,
    /// Bad events that are left.
    pub left_events: f64,
    /// Minutes of full outage that are left.
    pub left_minutes: f64,
}

/// How fast the budget burns over a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Burn {
    /// Seconds of the window, which ends with the last complete slice.
    pub seconds: i64,
    /// How many times as fast as allowed; 1 uses up the budget exactly. `None` without data.
    pub rate: Option<f64>,
    /// What the rate is of.
    pub state: BurnState,
    /// Bad events (or slices).
    pub bad: f64,
    /// Events (or slices).
    pub total: f64,
    /// The share of the window that was measured.
    pub coverage: f64,
}

/// What a burn rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BurnState {
    /// There were events.
    Measured,
    /// It was measured, and nothing happened: the rate is 0.
    NoEvents,
    /// Too little of it was measured to conclude anything.
    NoData,
}

/// One point of a budget over time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BudgetPoint {
    /// Seconds since 1970.
    pub at: i64,
    /// The share of the budget that was left then; `None` where nothing was measured.
    pub left_share: Option<f64>,
    /// The share of good ones in the window up to then.
    pub sli: Option<f64>,
    /// The share of the window up to then that was measured: how much to make of it.
    pub coverage: f64,
}

/// The slices of an SLO or one of its groups, read against its objective as of `now`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    slo: &'a SloDefinition,
    timeline: &'a Timeline,
    group: Option<&'a Group>,
    now: i64,
}

impl<'a> Reading<'a> {
    /// As of the end of the last complete slice.
    pub(crate) fn latest(slo: &'a SloDefinition, timeline: &'a Timeline, group: Option<&'a Group>) -> Self {
        Self { slo, timeline, group, now: timeline.end_seconds() }
    }

    /// As of an earlier time; later slices are not looked at.
    pub(crate) fn at(self, now: i64) -> Self {
        let width = self.timeline.width().seconds();
        Self { now: now.div_euclid(width) * width, ..self }
    }

    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    fn sums(&self, start: i64, end: i64) -> WindowSums {
        self.timeline.window(self.group, start, end.min(self.now))
    }

    /// The budget of the window of now.
    pub(crate) fn budget(&self) -> Budget {
        self.budget_of(self.slo.window.bounds(self.now))
    }

    /// The budget of any window; of one that has not ended, as far as it has come.
    pub(crate) fn budget_of(&self, bounds: Bounds) -> Budget {
        let window = self.sums(bounds.start, bounds.end);
        let expected = window.sums.total + self.rate() * self.unknown_seconds(bounds);
        let budget_events = expected * self.slo.budget_ratio();
        let left_share = if budget_events > 0.0 { 1.0 - window.sums.bad / budget_events } else { 1.0 };
        let budget_minutes = bounds.seconds() as f64 / MINUTE as f64 * self.slo.budget_ratio();
        Budget {
            start: bounds.start,
            end: bounds.end,
            sli: window.sums.bad_ratio().map(|bad| 1.0 - bad),
            bad: window.sums.bad,
            total: window.sums.total,
            coverage: window.coverage,
            budget_events,
            budget_minutes,
            left_share,
            left_events: budget_events - window.sums.bad,
            left_minutes: left_share * budget_minutes,
        }
    }

    /// Seconds of a window that have no events yet and count nevertheless, so that its first hour is not taken for all of it:
    /// what is to come of a calendar window, what was before the first measurement of a rolling one.
    fn unknown_seconds(&self, bounds: Bounds) -> f64 {
        if self.slo.window.is_calendar() {
            return (bounds.end - self.now).max(0) as f64;
        }
        let first_measured = self.timeline.first_measured().saturating_mul(self.timeline.width().seconds());
        (first_measured.min(self.now) - bounds.start).max(0) as f64
    }

    /// Events of a second: what the time is expected to have of which nothing is known.
    fn rate(&self) -> f64 {
        let window = self.sums(self.now - self.slo.window.period().nominal_seconds(), self.now);
        if window.measured_seconds > 0.0 { window.sums.total / window.measured_seconds } else { 0.0 }
    }

    /// The burn rate of the last `seconds`.
    pub(crate) fn burn(&self, seconds: i64) -> Burn {
        let window = self.sums(self.now - seconds, self.now);
        let (rate, state) = match window.sums.bad_ratio() {
            _ if window.coverage < COVERAGE_FLOOR => (None, BurnState::NoData),
            None => (Some(0.0), BurnState::NoEvents),
            Some(bad) => (Some(bad / self.slo.budget_ratio()), BurnState::Measured),
        };
        let WindowSums { sums, coverage, .. } = window;
        Burn { seconds, rate, state, bad: sums.bad, total: sums.total, coverage }
    }

    /// Seconds until the budget is used up when it goes on burning as in the last `seconds`. `None` when that is not
    /// known or never.
    pub(crate) fn exhaustion_seconds(&self, seconds: i64) -> Option<f64> {
        let budget = self.budget();
        let rate = self.burn(seconds).rate.filter(|rate| *rate > 0.0)?;
        let length = (budget.end - budget.start) as f64;
        Some((budget.left_share * length / rate).max(0.0))
    }

    /// What is left at the end of the window when it goes on as in the last `seconds`. A rolling window forgets as it
    /// goes, so this is told for calendar windows only.
    pub(crate) fn forecast_share(&self, seconds: i64) -> Option<f64> {
        if !self.slo.window.is_calendar() {
            return None;
        }
        let budget = self.budget();
        let rest = (budget.end - self.now) as f64 / (budget.end - budget.start) as f64;
        Some(budget.left_share - self.burn(seconds).rate? * rest)
    }

    /// The budget over the current window: at its begin, at its last complete slice, and evenly between. What was before
    /// the first measurement is left out, so that the first hour of a month is not one point of it.
    pub(crate) fn burn_down(&self, points: usize) -> Vec<BudgetPoint> {
        let bounds = self.slo.window.bounds(self.now);
        let width = self.timeline.width().seconds();
        let start = bounds.start.max(self.timeline.first_measured() * width).min(self.now);
        let length = self.now - start;
        let steps = i64::try_from(points.clamp(2, 2_000) - 1).unwrap_or(1).min((length / width).max(1));
        let mut times: Vec<i64> = (0..=steps).map(|step| start + length * step / steps).collect();
        times.dedup();
        times.into_iter().map(|at| self.at(at).point()).collect()
    }

    fn point(&self) -> BudgetPoint {
        let budget = self.budget();
        let is_known = budget.coverage > 0.0 || budget.start >= self.now;
        let left_share = is_known.then_some(budget.left_share);
        BudgetPoint { at: self.now, left_share, sli: budget.sli, coverage: budget.coverage }
    }

    /// Past calendar windows, newest first, as far as slices reach.
    pub(crate) fn past_windows(&self) -> Vec<Budget> {
        let first = self.timeline.first() * self.timeline.width().seconds();
        let mut windows = Vec::new();
        let mut bounds = self.slo.window.bounds(self.now);
        while self.slo.window.is_calendar() && windows.len() < PAST_WINDOWS_MAX {
            bounds = self.slo.window.before(bounds.start);
            if bounds.end <= first {
                break;
            }
            windows.push(self.budget_of(bounds));
        }
        windows
    }

    /// The budget of the rolling window at the end of each day, newest first, as far as slices reach.
    pub(crate) fn daily(&self) -> Vec<BudgetPoint> {
        let first = self.timeline.first() * self.timeline.width().seconds();
        let newest = self.now.div_euclid(DAY) * DAY;
        let days = (0..PAST_WINDOWS_MAX).map_while(|day| {
            let at = newest - i64::try_from(day).unwrap_or(0) * DAY;
            (at > first).then_some(at)
        });
        if self.slo.window.is_calendar() { Vec::new() } else { days.map(|at| self.at(at).point()).collect() }
    }
}

/// A lower bound of the expected number of bad events behind `bad` observed ones: one-sided, 95 %, Poisson, in Wilson and
/// Hilferty's approximation. Poisson's bound is below the binomial one, so this never claims too much.
pub(crate) fn lower_bound(bad: f64) -> f64 {
    if bad < 1.0 {
        return 0.0;
    }
    let root = 1.0 - 1.0 / (9.0 * bad) - 1.645 / (3.0 * bad.sqrt());
    bad * root.max(0.0).powi(3)
}

#[cfg(test)]
mod tests;
