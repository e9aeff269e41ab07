//! Which attributes tell bad spans from the others, in the manner of Honeycomb's BubbleUp.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::patterns::Phase;
use crate::rank::shares;

/// Bounds of a contrast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Attribute keys; further ones are not looked at.
    pub keys: usize,
    /// Values of a key. A key with more is an identifier or a measure, and is dropped.
    pub values: usize,
    /// Bytes of a value; longer ones are not looked at.
    pub value_bytes: usize,
    /// Bad spans that must have a value.
    pub support: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keys: 500, values: 200, value_bytes: 256, support: 3 }
    }
}

/// Spans that had a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    bad: u64,
    other: u64,
}

/// Counts attributes of bad spans and of the others: those of the window that are not bad, and the whole baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    limits: Limits,
    total: Counts,
    /// `None` for a key with too many values.
    keys: HashMap<String, Option<HashMap<String, Counts>>>,
}

/// A value that bad spans have more often than others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The attribute's key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Share of the bad spans, from 0 to 1.
    pub bad_share: f64,
    /// Share of the other spans, from 0 to 1.
    pub other_share: f64,
    /// Bad spans with the value.
    pub bad: u64,
    /// Other spans with the value.
    pub other: u64,
    /// Twice the log-likelihood ratio of the two shares, times their distance.
    pub score: f64,
}

impl Difference {
    /// In words: `service.version=2.4.1: 97 % of failed spans, 31 % of others`.
    pub fn text(&self, bad: &str) -> String {
        format!(
            "{}={}: {} % of {bad} spans, {} % of others",
            self.key,
            self.value,
            percent(self.bad_share),
            percent(self.other_share)
        )
    }
}

/// Whole percents, but neither 0 nor 100 for what is not.
fn percent(share: f64) -> String {
    match share * 100.0 {
        some if some > 0.0 && some < 1.0 => "<1".to_owned(),
        some if some > 99.0 && some < 100.0 => ">99".to_owned(),
        some => format!("{some:.0}"),
    }
}

/// A key whose spans have this share of distinct values is an identifier.
const DISTINCT_SHARE: f64 = 0.5;

/// Spans a key must have before its values are called distinct.
const DISTINCT_MIN: u64 = 20;

/// Distance of shares below which a difference helps nobody.
const DISTANCE_MIN: f64 = 0.05;

/// The 99.9 % point of the chi-square distribution.
const SIGNIFICANT: f64 = 10.8;

impl Contrast {
    /// Nothing counted yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, total: Counts::default(), keys: HashMap::new() }
    }

    /// Counts a span; `bad` says whether it failed or was slow. A key must come once.
    pub fn observe<'a>(&mut self, phase: Phase, bad: bool, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let bad = bad && phase == Phase::During;
        self.total.add(bad);
        for (key, value) in attributes {
            if value.len() > self.limits.value_bytes {
                continue;
            }
            if !self.keys.contains_key(key) {
                if self.keys.len() >= self.limits.keys {
                    continue;
                }
                self.keys.insert(key.to_owned(), Some(HashMap::new()));
            }
            let Some(slot) = self.keys.get_mut(key) else { continue };
            let Some(values) = slot else { continue };
            if let Some(counts) = values.get_mut(value) {
                counts.add(bad);
            } else if values.len() < self.limits.values {
                values.entry(value.to_owned()).or_default().add(bad);
            } else {
                *slot = None;
            }
        }
    }

    /// Keys that were dropped because they have too many values.
    pub fn dropped(&self) -> Vec<&str> {
        let mut dropped: Vec<&str> =
            self.keys.iter().filter(|(_, values)| values.is_none()).map(|(key, _)| key.as_str()).collect();
        dropped.sort_unstable();
        dropped
    }

    /// The values that tell most.
    pub fn ranked(&self, limit: usize) -> Vec<Difference> {
        let mut differences: Vec<Difference> = Vec::new();
        for (key, values) in &self.keys {
            let Some(values) = values else { continue };
            let spans: u64 = values.values().map(|counts| counts.bad + counts.other).sum();
            if spans >= DISTINCT_MIN && values.len() as f64 > spans as f64 * DISTINCT_SHARE {
                continue;
            }
            differences.extend(values.iter().filter_map(|(value, counts)| self.difference(key, value, *counts)));
        }
        differences.sort_by(|left, right| {
            right.score.total_cmp(&left.score).then_with(|| (&left.key, &left.value).cmp(&(&right.key, &right.value)))
        });
        differences.truncate(limit);
        differences
    }

    fn difference(&self, key: &str, value: &str, counts: Counts) -> Option<Difference> {
        if counts.bad < self.limits.support {
            return None;
        }
        let ratio = shares(counts.other, self.total.other, counts.bad, self.total.bad);
        let bad_share = counts.bad as f64 / self.total.bad.max(1) as f64;
        let other_share = counts.other as f64 / self.total.other.max(1) as f64;
        let distance = bad_share - other_share;
        (ratio > SIGNIFICANT && distance >= DISTANCE_MIN).then(|| Difference {
            key: key.to_owned(),
            value: value.to_owned(),
            bad_share,
            other_share,
            bad: counts.bad,
            other: counts.other,
            score: ratio * distance,
        })
    }
}

impl Counts {
    fn add(&mut self, bad: bool) {
        if bad { self.bad += 1 } else { self.other += 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contrast(limits: Limits) -> Contrast {
        let mut contrast = Contrast::new(limits);
        for span in 0..1000_u32 {
            let during = span >= 800;
            let phase = if during { Phase::During } else { Phase::Before };
            let version = if during && span % 2 == 0 { "2.4.1" } else { "2.4.0" };
            // The new version fails for nine of ten; one span in a hundred fails anyway.
            let bad = version == "2.4.1" && span % 20 != 0 || span % 100 == 7;
            let id = format!("order-{span}");
            let region = if span % 3 == 0 { "eu" } else { "us" };
            let attributes =
                [("service.version", version), ("order.id", id.as_str()), ("cloud.region", region), ("sdk", "java")];
            contrast.observe(phase, bad, attributes);
        }
        contrast
    }

    #[test]
    fn the_value_that_bad_spans_share_comes_first() {
        let ranked = contrast(Limits::default()).ranked(10);
        assert_eq!(ranked.len(), 1, "neither identifiers, nor constants, nor what is spread alike: {ranked:?}");
        assert_eq!(ranked[0].text("failed"), "service.version=2.4.1: 98 % of failed spans, 1 % of others");
        assert_eq!((ranked[0].bad, ranked[0].other), (90, 10));
    }

    #[test]
    fn keys_with_many_values_are_dropped_early() {
        let contrast = contrast(Limits { values: 50, ..Limits::default() });
        assert_eq!(contrast.dropped(), ["order.id"]);
        assert!(contrast.keys["order.id"].is_none(), "their memory is free");
    }

    #[test]
    fn keys_and_values_are_bounded() {
        let mut contrast = Contrast::new(Limits { keys: 2, value_bytes: 3, ..Limits::default() });
        contrast.observe(Phase::During, true, [("a", "1"), ("b", "long"), ("c", "1"), ("d", "1")]);
        assert_eq!(contrast.keys.len(), 2);
        assert!(!contrast.keys.contains_key("b"));
    }

    #[test]
    fn bad_spans_of_the_baseline_are_others() {
        let mut contrast = Contrast::new(Limits::default());
        for _ in 0..50 {
            contrast.observe(Phase::Before, true, [("tenant", "a")]);
            contrast.observe(Phase::During, true, [("tenant", "a")]);
        }
        assert!(contrast.ranked(5).is_empty());
    }

    #[test]
    fn shares_are_told_in_words() {
        assert_eq!([0.0, 0.001, 0.314, 0.999, 1.0].map(percent), ["0", "<1", "31", ">99", "100"]);
    }
}
