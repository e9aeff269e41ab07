//! Which deploys precede an onset, or are in a range of time whose onset nobody knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A version of a service with when it was seen, in nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The service.
    pub service: String,
    /// `service.version`.
    pub version: String,
    /// The first record that bears it.
    pub first_seen: i64,
    /// The last record that bears it.
    pub last_seen: i64,
}

/// Since when something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Onset {
    /// Since this time, in nanoseconds since 1970; it is known to a scrape or two.
    At(i64),
    /// Since some time of a range that a person asks about, or before it.
    Within {
        /// First nanosecond of the range.
        start: i64,
        /// First nanosecond after it.
        end: i64,
    },
}

impl From<i64> for Onset {
    fn from(time: i64) -> Self {
        Self::At(time)
    }
}

/// How deploys are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Nanoseconds before the onset.
    pub before: i64,
    /// Nanoseconds after the onset: the onset is known to a scrape or two.
    pub after: i64,
    /// For how many nanoseconds a version must be unseen, while an older one is seen, to count as rolled back.
    pub gone: i64,
    /// Nanoseconds from the first record of all in which the first version of a service is taken for one that ran before:
    /// the records begin there, not the services.
    pub begin: i64,
}

const MINUTE: i64 = 60_000_000_000;

impl Default for Rules {
    fn default() -> Self {
        Self { before: 120 * MINUTE, after: MINUTE, gone: 2 * MINUTE, begin: 5 * MINUTE }
    }
}

/// What happened to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A version that was not seen before.
    Deployed,
    /// An older version took over again.
    RolledBack,
}

/// A change of version near an onset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// The service.
    pub service: String,
    /// The version that runs since.
    pub version: String,
    /// The version that ran before, if one was seen.
    pub previous: Option<String>,
    /// Which way.
    pub change: Change,
    /// When, in nanoseconds since 1970.
    pub at: i64,
    /// Seconds until the onset, or until the range begins; negative after it.
    pub seconds_before: f64,
    /// Whether it is in the range of [`Onset::Within`].
    pub is_within: bool,
    /// Whether it was taken back since.
    pub taken_back: bool,
}

impl Deploy {
    /// In words: `checkout 2.4.1 (before 2.4.0) deployed 4 minutes before`, or `… deployed 40 minutes into the range`.
    pub fn text(&self) -> String {
        let previous = self.previous.as_ref().map(|previous| format!(" (before {previous})")).unwrap_or_default();
        let change = match self.change {
            Change::Deployed => "deployed",
            Change::RolledBack => "rolled back to",
        };
        let when = match self.seconds_before {
            _ if self.is_within => "into the range",
            seconds if seconds >= 0.0 => "before",
            _ => "after",
        };
        let since = if self.taken_back { ", taken back since" } else { "" };
        let minutes = minutes(self.seconds_before.abs());
        format!("{} {}{previous} {change} {minutes} {when}{since}", self.service, self.version)
    }
}

/// `1 minute`, `5 minutes`.
pub(crate) fn minutes(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    format!("{minutes} minute{}", if minutes == 1.0 { "" } else { "s" })
}

/// The changes of version near an onset: those that precede it first, the closest first. Of a range all that are in it,
/// the newest first, and then those that precede it.
pub fn deploys(seen: &[Seen], onset: impl Into<Onset>, rules: &Rules, limit: usize) -> Vec<Deploy> {
    let onset = onset.into();
    let (start, last) = match onset {
        Onset::At(time) => (time, time.saturating_add(rules.after)),
        Onset::Within { start, end } => (start, end.saturating_sub(1).max(start)),
    };
    let known_from = seen.iter().map(|version| version.first_seen).min().unwrap_or(i64::MIN);
    let mut services: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for version in seen {
        services.entry(&version.service).or_default().push(version);
    }
    let mut found: Vec<Deploy> = Vec::new();
    for versions in services.values_mut() {
        versions.sort_by(|left, right| (left.first_seen, &left.version).cmp(&(right.first_seen, &right.version)));
        for (index, version) in versions.iter().enumerate() {
            let older = index.checked_sub(1).and_then(|before| versions.get(before));
            let returned = older.filter(|older| older.last_seen.saturating_sub(version.last_seen) > rules.gone);
            let deploy = |version: &Seen, previous: Option<&Seen>, change, at: i64| Deploy {
                service: version.service.clone(),
                version: version.version.clone(),
                previous: previous.map(|previous| previous.version.clone()),
                change,
                at,
                seconds_before: start.saturating_sub(at) as f64 / 1e9,
                is_within: matches!(onset, Onset::Within { .. }) && at >= start,
                taken_back: change == Change::Deployed && returned.is_some(),
            };
            if older.is_some() || version.first_seen.saturating_sub(known_from) > rules.begin {
                found.push(deploy(version, older.copied(), Change::Deployed, version.first_seen));
            }
            if let Some(older) = returned {
                found.push(deploy(older, Some(version), Change::RolledBack, version.last_seen));
            }
        }
    }
    let first = start.saturating_sub(rules.before);
    found.retain(|deploy| (first..=last).contains(&deploy.at));
    found.sort_by(|left, right| {
        // A service of which no other version is known may only have begun to send.
        let key = |deploy: &Deploy| {
            let is_late = deploy.seconds_before < 0.0 && !deploy.is_within;
            let distance = if deploy.is_within { deploy.seconds_before } else { deploy.seconds_before.abs() };
            (deploy.previous.is_none(), !deploy.is_within, is_late, distance)
        };
        let order = key(left).partial_cmp(&key(right)).unwrap_or(std::cmp::Ordering::Equal);
        order.then_with(|| (&left.service, &left.version).cmp(&(&right.service, &right.version)))
    });
    found.truncate(limit);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(service: &str, version: &str, first_minute: i64, last_minute: i64) -> Seen {
        let (first_seen, last_seen) = (first_minute * MINUTE, last_minute * MINUTE);
        Seen { service: service.to_owned(), version: version.to_owned(), first_seen, last_seen }
    }

    fn told(seen: &[Seen]) -> Vec<String> {
        deploys(seen, 1000 * MINUTE, &Rules::default(), 10).iter().map(Deploy::text).collect()
    }

    #[test]
    fn the_closest_deploy_before_the_onset_comes_first() {
        let seen = [
            seen("checkout", "2.4.0", 0, 997),
            seen("checkout", "2.4.1", 996, 1003),
            seen("cart", "7", 0, 950),
            seen("cart", "8", 949, 1003),
            seen("mail", "1", 0, 800),
            seen("mail", "2", 799, 1003),
            seen("late", "1", 0, 1003),
            seen("late", "2", 1002, 1003),
        ];
        let expected =
            ["checkout 2.4.1 (before 2.4.0) deployed 4 minutes before", "cart 8 (before 7) deployed 51 minutes before"];
        assert_eq!(told(&seen), expected);
    }

    #[test]
    fn a_version_that_went_away_was_rolled_back() {
        let seen = [seen("a", "1", 0, 1003), seen("a", "2", 980, 990)];
        let expected = [
            "a 1 (before 2) rolled back to 10 minutes before",
            "a 2 (before 1) deployed 20 minutes before, taken back since",
        ];
        assert_eq!(told(&seen), expected);
    }

    #[test]
    fn an_overlap_while_instances_change_is_no_rollback() {
        let seen = [seen("a", "1", 0, 1003), seen("a", "2", 990, 1002)];
        assert_eq!(told(&seen), ["a 2 (before 1) deployed 10 minutes before"]);
    }

    #[test]
    fn a_service_without_history_comes_last() {
        let seen = [seen("new", "1", 999, 1003), seen("a", "1", 0, 1003), seen("a", "2", 900, 1003)];
        assert_eq!(told(&seen), ["a 2 (before 1) deployed 100 minutes before", "new 1 deployed 1 minute before"]);
    }

    #[test]
    fn in_a_range_all_deploys_count_the_newest_first() {
        let seen = [
            seen("payment", "2.4.0", 0, 1041),
            seen("payment", "2.4.1", 1040, 1060),
            seen("catalog", "1.9.2", 0, 1028),
            seen("catalog", "1.9.3", 1027, 1060),
            seen("cart", "7", 0, 950),
            seen("cart", "8", 949, 1060),
            seen("late", "1", 0, 1060),
            seen("late", "2", 1060, 1060),
        ];
        let range = Onset::Within { start: 1000 * MINUTE, end: 1060 * MINUTE };
        let found = deploys(&seen, range, &Rules::default(), 10);
        let expected = [
            "payment 2.4.1 (before 2.4.0) deployed 40 minutes into the range",
            "catalog 1.9.3 (before 1.9.2) deployed 27 minutes into the range",
            "cart 8 (before 7) deployed 51 minutes before",
        ];
        assert_eq!(found.iter().map(Deploy::text).collect::<Vec<_>>(), expected);
        assert_eq!(found.iter().map(|deploy| deploy.is_within).collect::<Vec<_>>(), [true, true, false]);
    }

    /// A server that is an hour old has seen no version before that; nothing was deployed then.
    #[test]
    fn where_the_records_begin_nothing_is_deployed() {
        let seen = [seen("a", "1", 940, 1003), seen("b", "7", 943, 1003), seen("c", "1", 960, 1003)];
        assert_eq!(told(&seen), ["c 1 deployed 40 minutes before"]);
    }

    #[test]
    fn extreme_times_do_no_harm() {
        let seen = [seen("a", "1", 0, 0), Seen { first_seen: i64::MIN, last_seen: i64::MAX, ..seen("a", "2", 0, 0) }];
        for onset in [i64::MIN, 0, i64::MAX] {
            let rules = Rules { before: i64::MAX, after: i64::MAX, gone: 0, begin: 0 };
            let _deploys = deploys(&seen, onset, &rules, 10);
            let _deploys = deploys(&seen, Onset::Within { start: onset, end: i64::MIN }, &rules, 10);
        }
    }
}
