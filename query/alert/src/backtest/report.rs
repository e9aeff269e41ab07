//! What a backtest tells: firings, flaps, overlaps, and how much noise a rule would make.

use std::collections::BTreeMap;

use serde::Serialize;

/// One time that an alert fired. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Firing {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its texts when it began to fire.
    pub annotations: BTreeMap<String, String>,
    /// The value when it began to fire.
    pub value: String,
    /// When it became pending.
    pub active_at_ms: i64,
    /// When it began to fire.
    pub fired_at_ms: i64,
    /// When it was resolved; none if it still fired at the end.
    pub resolved_at_ms: Option<i64>,
}

/// A time from (inclusive) and to (exclusive), in milliseconds.
pub type Interval = (i64, i64);

/// How much two rules fire at the same time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overlap {
    /// The other rule.
    pub rule: String,
    /// Time that both fire, of the time that at least one does.
    pub jaccard: f64,
}

/// How one rule would have done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleReport {
    /// `file;group`.
    pub group: String,
    /// Its name.
    pub rule: String,
    /// Its firings in the order of their beginnings; the first ones if there were too many.
    pub firings: Vec<Firing>,
    /// How many there were.
    pub firings_total: usize,
    /// Whether some are left out.
    pub truncated: bool,
    /// Alerts that were pending and never fired.
    pub never_fired: usize,
    /// Seconds that any alert fired.
    pub firing_seconds: f64,
    /// Firings that began within 15 minutes after the same alert was resolved.
    pub flaps: usize,
    /// Firings shorter than 5 minutes or twice their `for`.
    pub short_lived: usize,
    /// Other rules that fire at the same time, the most similar first.
    pub overlaps: Vec<Overlap>,
    /// Evaluations.
    pub evaluations: usize,
    /// Evaluations that failed.
    pub failures: usize,
    /// The first reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// Evaluations that had not all of their data.
    pub incomplete: usize,
    /// How much noise it makes; none for recording rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
}

/// How much noise a rule makes, from 0 to 100: weighted parts, each from 0 (none) to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Noise {
    /// The score; what is unknown is left out of it and the rest is weighted up.
    pub score: f64,
    /// Firings that nobody needed: no verdict of a person says so, or else no incident was on.
    pub imprecision: Option<f64>,
    /// Whether incidents had to stand in for verdicts.
    pub precision_is_proxy: bool,
    /// Flaps of all firings.
    pub flap_rate: f64,
    /// Short ones of all firings.
    pub short_lived_share: f64,
    /// The overlap with the most similar other rule.
    pub overlap: f64,
    /// Firings outside of office hours of a rule that does not page; 0 for one that does.
    pub off_hours_share: f64,
    /// Parts that are not known, and why.
    pub unknown: Vec<String>,
}

/// The answer of a backtest.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BacktestReport {
    /// First and last time of evaluation.
    pub start_ms: i64,
    /// Last time of evaluation.
    pub end_ms: i64,
    /// Every rule in order.
    pub rules: Vec<RuleReport>,
    /// Notifications after grouping.
    pub notifications: usize,
}

/// Verdicts of people on the firings of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Something had to be done.
    pub acted: usize,
    /// People were notified.
    pub notified: usize,
}

/// What a score is made of, apart from the firings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) incidents: Option<&'a [Interval]>,
    pub(super) verdicts: Option<Verdicts>,
    pub(super) pages: bool,
    pub(super) utc_offset_ms: i64,
}

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

#[expect(clippy::cast_precision_loss, reason = "counts of firings are far below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl RuleReport {
    pub(super) fn score(&self, intervals: &[Interval], around: Surroundings<'_>) -> Noise {
        let (imprecision, is_proxy) = imprecision(intervals, around);
        let mut unknown = Vec::new();
        if imprecision.is_none() {
            unknown.push("precision: there are neither verdicts nor incidents to compare with".to_owned());
        } else if is_proxy {
            unknown.push("precision: no verdicts; firings during incidents count as needed".to_owned());
        }
        let off_hours = intervals.iter().filter(|(start, _)| is_off_hours(start.saturating_add(around.utc_offset_ms)));
        let off_hours_share = if around.pages { 0.0 } else { share(off_hours.count(), intervals.len()) };
        let flap_rate = share(self.flaps, self.firings_total);
        let short_lived_share = share(self.short_lived, self.firings_total);
        let overlap = self.overlaps.first().map_or(0.0, |overlap| overlap.jaccard);
        let known = 0.25 * flap_rate + 0.15 * short_lived_share + 0.15 * overlap + 0.10 * off_hours_share;
        let score = match imprecision {
            Some(imprecision) => 0.35 * imprecision + known,
            None => known / 0.65,
        };
        Noise {
            score: 100.0 * score.clamp(0.0, 1.0),
            imprecision,
            precision_is_proxy: is_proxy,
            flap_rate,
            short_lived_share,
            overlap,
            off_hours_share,
            unknown,
        }
    }
}

fn imprecision(intervals: &[Interval], around: Surroundings<'_>) -> (Option<f64>, bool) {
    if let Some(verdicts) = around.verdicts.filter(|verdicts| verdicts.notified > 0) {
        return (Some(1.0 - share(verdicts.acted.min(verdicts.notified), verdicts.notified)), false);
    }
    let Some(incidents) = around.incidents else { return (None, false) };
    if intervals.is_empty() {
        return (Some(0.0), true);
    }
    let is_needed = |(start, end): &&Interval| incidents.iter().any(|(from, to)| start < to && from < end);
    (Some(1.0 - share(intervals.iter().filter(is_needed).count(), intervals.len())), true)
}

/// Outside of Monday to Friday, 8 to 18.
fn is_off_hours(local_ms: i64) -> bool {
    // The first of January 1970 was a Thursday.
    let weekday = (local_ms.div_euclid(DAY_MS) + 3).rem_euclid(7);
    let hour = local_ms.rem_euclid(DAY_MS) / HOUR_MS;
    weekday >= 5 || !(8..18).contains(&hour)
}

/// Intervals joined where they touch, in order.
pub(super) fn union(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut joined: Vec<Interval> = Vec::new();
    for (start, end) in intervals {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

pub(super) fn length(joined: &[Interval]) -> i64 {
    joined.iter().map(|(start, end)| end - start).sum()
}

/// Time in both of two joined lists, of the time in at least one.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a backtest are far below 2^53")]
pub(super) fn jaccard(left: &[Interval], right: &[Interval]) -> f64 {
    let (mut common, mut l, mut r) = (0, 0, 0);
    while let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
        common += (a.1.min(b.1) - a.0.max(b.0)).max(0);
        if a.1 < b.1 { l += 1 } else { r += 1 }
    }
    let either = length(left) + length(right) - common;
    if either == 0 { 0.0 } else { common as f64 / either as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_shares_of_time() {
        let left = union(vec![(0, 10), (5, 20), (30, 40)]);
        assert_eq!(left, [(0, 20), (30, 40)]);
        assert_eq!(jaccard(&left, &left), 1.0);
        assert_eq!(jaccard(&left, &[(10, 35)]), 15.0 / 40.0);
        assert_eq!(jaccard(&left, &[]), 0.0);
        assert_eq!(jaccard(&[], &[]), 0.0);
    }

    #[test]
    fn office_hours_are_on_working_days() {
        // 2023-11-15 was a Wednesday.
        let day = 1_700_006_400_000;
        assert!(is_off_hours(day + 7 * HOUR_MS));
        assert!(!is_off_hours(day + 8 * HOUR_MS));
        assert!(is_off_hours(day + 18 * HOUR_MS));
        assert!(is_off_hours(day + 3 * DAY_MS + 12 * HOUR_MS), "Saturday");
    }

    #[test]
    fn verdicts_count_before_incidents() {
        let around = Surroundings { incidents: Some(&[(0, 10)]), verdicts: None, pages: true, utc_offset_ms: 0 };
        assert_eq!(imprecision(&[(5, 6), (20, 30)], around), (Some(0.5), true));
        let verdicts = Some(Verdicts { acted: 1, notified: 4 });
        assert_eq!(imprecision(&[(5, 6)], Surroundings { verdicts, ..around }), (Some(0.75), false));
        assert_eq!(imprecision(&[(5, 6)], Surroundings { incidents: None, ..around }), (None, false));
    }
}
