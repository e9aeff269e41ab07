//! The pairs of windows of multi-window, multi-burn-rate alerts (SRE workbook, chapter 5).

use crate::definition::{BurnPair, Severity, SliceWidth};
use crate::duration::{DAY, HOUR, MINUTE, render_window};

/// Severity, share of the budget, long window, short window.
const WORKBOOK: [(Severity, f64, i64, i64); 4] = [
    (Severity::Page, 0.02, HOUR, 5 * MINUTE),
    (Severity::Page, 0.05, 6 * HOUR, 30 * MINUTE),
    (Severity::Ticket, 0.10, DAY, 2 * HOUR),
    (Severity::Ticket, 0.10, 3 * DAY, 6 * HOUR),
];

/// A pair as it is asked for, before it is checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) severity: Severity,
    pub(crate) budget_share: f64,
    pub(crate) long_seconds: i64,
    pub(crate) short_seconds: i64,
}

/// The pairs that make sense for this SLO, and why the others do not.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pairs {
    pub(crate) kept: Vec<BurnPair>,
    pub(crate) left_out: Vec<String>,
}

/// The workbook's pairs: factors 14.4, 6, 3 and 1 for 30 days.
pub(crate) fn workbook() -> Vec<Wanted> {
    let wanted = |(severity, budget_share, long_seconds, short_seconds)| Wanted {
        severity,
        budget_share,
        long_seconds,
        short_seconds,
    };
    WORKBOOK.into_iter().map(wanted).collect()
}

/// Computes `factor = share of the budget × period / long window` and leaves out what could never tell anything.
///
/// A factor below 1 would alert on a budget that lasts until the end of the window; it becomes 1. Windows are rounded up
/// to whole slices.
pub(crate) fn select(wanted: &[Wanted], period_seconds: i64, budget_ratio: f64, slice: SliceWidth) -> Pairs {
    let mut pairs = Pairs::default();
    for pair in wanted {
        let long_seconds = round_up(pair.long_seconds, slice);
        let short_seconds = round_up(pair.short_seconds, slice);
        let factor = (pair.budget_share * period_seconds as f64 / pair.long_seconds as f64).max(1.0);
        // 0.02 × 720 h / 1 h is 14.400000000000002 in binary: people and labels know 14.4.
        let factor = (factor * 1e6).round() / 1e6;
        let name = format!("{}/{} at {factor}", render_window(pair.long_seconds), render_window(pair.short_seconds));
        if long_seconds * 2 > period_seconds {
            pairs.left_out.push(format!(
                "the {} alert {name} is left out: its long window is more than half of the SLO's window",
                pair.severity.as_str()
            ));
        } else if short_seconds >= long_seconds {
            pairs.left_out.push(format!(
                "the {} alert {name} is left out: with slices of {} its short window is as long as its long one",
                pair.severity.as_str(),
                render_window(slice.seconds())
            ));
        } else if factor * budget_ratio >= 1.0 - 1e-9 {
            let most = (1.0 / budget_ratio * 100.0).round() / 100.0;
            pairs.left_out.push(format!("the {} alert {name} is left out: even if all events were bad the budget would burn only {most} times as fast as allowed; raise the objective, or write alerting.pairs with a smaller budget_percent", pair.severity.as_str()));
        } else {
            pairs.kept.push(BurnPair { severity: pair.severity, long_seconds, short_seconds, factor });
        }
    }
    pairs
}

fn round_up(seconds: i64, slice: SliceWidth) -> i64 {
    let width = slice.seconds();
    (seconds + width - 1).div_euclid(width) * width
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(days: i64, objective: f64) -> Vec<f64> {
        let pairs = select(&workbook(), days * DAY, 1.0 - objective, SliceWidth::FIVE_MINUTES);
        pairs.kept.iter().map(|pair| pair.factor).collect()
    }

    #[test]
    fn factors_are_those_of_the_workbook_and_scale_with_the_window() {
        assert_eq!(factors(30, 0.999), [14.4, 6.0, 3.0, 1.0]);
        assert_eq!(factors(28, 0.999), [13.44, 5.6, 2.8, 1.0]);
        assert_eq!(factors(90, 0.999), [43.2, 18.0, 9.0, 3.0]);
        assert_eq!(factors(7, 0.999), [3.36, 1.4, 1.0, 1.0]);
        assert_eq!(factors(1, 0.999), [1.0, 1.0]);
    }

    #[test]
    fn a_pair_that_cannot_fire_is_left_out_with_a_reason() {
        let pairs = select(&workbook(), 30 * DAY, 1.0 - 0.9, SliceWidth::FIVE_MINUTES);
        assert_eq!(pairs.kept.iter().map(|pair| pair.factor).collect::<Vec<_>>(), [6.0, 3.0, 1.0]);
        assert_eq!(pairs.left_out.len(), 1);
        assert!(
            pairs.left_out[0].contains("1h/5m at 14.4 is left out") && pairs.left_out[0].contains("only 10 times"),
            "{pairs:?}"
        );
        let hourly = SliceWidth::from_seconds(HOUR).unwrap();
        assert_eq!(select(&workbook(), 30 * DAY, 0.001, hourly).kept[0].long_seconds, 6 * HOUR);
    }
}
