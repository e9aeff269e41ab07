//! Alerts that fire together along the service graph are one incident.
//!
//! An alert joins an incident when one of its members is near in the graph and in time. An alert that is near to several
//! incidents makes one of them: the oldest keeps its name. So the incidents are the connected groups of alerts, whatever
//! the order in which the alerts come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// When alerts belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Calls between the services, either way; 0 for the same service only.
    pub hops: usize,
    /// Nanoseconds between the onsets.
    pub within: i64,
    /// Members of an incident; further alerts begin another.
    pub members: usize,
    /// Nanoseconds after its end within which an incident opens again when one of its alerts returns.
    pub reopen: i64,
}

const MINUTE: i64 = 60_000_000_000;

impl Default for Rules {
    fn default() -> Self {
        Self { hops: 2, within: 5 * MINUTE, members: 1000, reopen: 15 * MINUTE }
    }
}

/// Who is connected with whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    neighbours: BTreeMap<String, BTreeSet<String>>,
}

impl Topology {
    /// From calls: caller and callee.
    pub fn from_edges<'a>(edges: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut topology = Self::default();
        for (caller, callee) in edges {
            topology.neighbours.entry(caller.to_owned()).or_default().insert(callee.to_owned());
            topology.neighbours.entry(callee.to_owned()).or_default().insert(caller.to_owned());
        }
        topology
    }

    /// The services within some calls of one, itself included.
    fn near(&self, service: &str, hops: usize) -> BTreeSet<String> {
        let mut near = BTreeSet::from([service.to_owned()]);
        let mut front = VecDeque::from([(service.to_owned(), 0)]);
        while let Some((service, distance)) = front.pop_front() {
            if distance == hops {
                continue;
            }
            for neighbour in self.neighbours.get(&service).into_iter().flatten() {
                if near.insert(neighbour.clone()) {
                    front.push_back((neighbour.clone(), distance + 1));
                }
            }
        }
        near
    }
}

/// Characters that are kept of each text of an alert: all incidents of a week are one record.
const TEXT_CHARS_MAX: usize = 160;

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Identifies it.
    pub fingerprint: String,
    /// What its rule is called.
    pub name: String,
    /// What it says; may be empty.
    pub summary: String,
    /// The service it is about; empty when none is known, then it joins nothing.
    pub service: String,
    /// Since when, in nanoseconds since 1970.
    pub onset: i64,
}

/// An alert within an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What its rule is called, cut when it is long; empty when an earlier version kept it.
    #[serde(default)]
    pub name: String,
    /// What it said last, likewise.
    #[serde(default)]
    pub summary: String,
    /// The service it is about.
    pub service: String,
    /// Since when it fires, in nanoseconds since 1970.
    pub onset: i64,
    /// When it was resolved.
    pub resolved_at: Option<i64>,
}

/// Alerts that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The earliest onset.
    pub opened_at: i64,
    /// When the last member was resolved; `None` while one fires.
    pub closed_at: Option<i64>,
    /// By fingerprint.
    pub members: BTreeMap<String, Member>,
    /// Incidents that became part of it.
    pub merged: BTreeSet<String>,
}

impl Incident {
    /// The services, the first to alert first.
    pub fn services(&self) -> Vec<&str> {
        let mut first: BTreeMap<&str, i64> = BTreeMap::new();
        for member in self.members.values() {
            let onset = first.entry(&member.service).or_insert(member.onset);
            *onset = (*onset).min(member.onset);
        }
        let mut services: Vec<(i64, &str)> = first.into_iter().map(|(service, onset)| (onset, service)).collect();
        services.sort_unstable();
        services.into_iter().map(|(_, service)| service).collect()
    }

    /// The earliest onset, and the end when every member is resolved.
    fn settle(&mut self) {
        self.opened_at = self.members.values().map(|member| member.onset).min().unwrap_or(self.opened_at);
        let all = self.members.values().map(|member| member.resolved_at);
        self.closed_at = all.reduce(|left, right| left.zip(right).map(|(left, right)| left.max(right))).flatten();
    }
}

/// Where an alert went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The incident.
    pub incident: String,
    /// Whether it is new.
    pub created: bool,
    /// Incidents that became part of it by this alert.
    pub merged: Vec<String>,
}

/// All incidents, by name. The whole state: keep it, and nothing is lost by a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    incidents: BTreeMap<String, Incident>,
}

impl Incidents {
    /// The incident of a name, or the one that it became part of.
    pub fn get(&self, name: &str) -> Option<&Incident> {
        self.incidents.get(name).or_else(|| self.incidents.values().find(|incident| incident.merged.contains(name)))
    }

    /// Every incident by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Incident)> {
        self.incidents.iter().map(|(name, incident)| (name.as_str(), incident))
    }

    /// The incident that an alert is in.
    pub fn of(&self, fingerprint: &str) -> Option<&str> {
        let has = |(_, incident): &(&String, &Incident)| incident.members.contains_key(fingerprint);
        // An old incident may hold the same alert from another time.
        let found = self
            .incidents
            .iter()
            .filter(has)
            .max_by_key(|(_, incident)| (incident.closed_at.is_none(), incident.opened_at));
        found.map(|(name, _)| name.as_str())
    }

    /// An alert fires: it joins an incident, or begins one. Calling it again for the same alert changes nothing but what it
    /// says.
    pub fn fire(&mut self, alert: &Alert, topology: &Topology, rules: &Rules) -> Assignment {
        let near = topology.near(&alert.service, rules.hops);
        let joins = |incident: &Incident| match incident.members.get(&alert.fingerprint) {
            Some(_) => incident.closed_at.is_none_or(|closed| alert.onset.saturating_sub(closed) <= rules.reopen),
            None => {
                let is_near = |member: &Member| {
                    !alert.service.is_empty()
                        && near.contains(&member.service)
                        && member.onset.abs_diff(alert.onset) <= rules.within.unsigned_abs()
                };
                let open = incident.closed_at.is_none() && incident.members.len() < rules.members;
                open && incident.members.values().any(is_near)
            }
        };
        let mut joined: Vec<(i64, String)> = self
            .incidents
            .iter()
            .filter(|(_, incident)| joins(incident))
            .map(|(name, incident)| (incident.opened_at, name.clone()))
            .collect();
        joined.sort_unstable();
        let mut joined = joined.into_iter().map(|(_, name)| name);
        let Some(name) = joined.next() else {
            return self.open(alert);
        };
        let merged: Vec<String> = joined.filter(|other| self.merge(&name, other, rules.members)).collect();
        if let Some(incident) = self.incidents.get_mut(&name) {
            let member = incident.members.entry(alert.fingerprint.clone()).or_insert_with(|| member(alert));
            if member.resolved_at.is_some() {
                *member = self::member(alert);
            }
            (member.name, member.summary) = texts(alert);
            incident.settle();
        }
        Assignment { incident: name, created: false, merged }
    }

    fn open(&mut self, alert: &Alert) -> Assignment {
        let mut name = xxh3_64(format!("{}\0{}", alert.fingerprint, alert.onset).as_bytes());
        while self.incidents.contains_key(&format!("{name:016x}")) {
            name = name.wrapping_add(1);
        }
        let name = format!("{name:016x}");
        let members = BTreeMap::from([(alert.fingerprint.clone(), member(alert))]);
        let incident = Incident { opened_at: alert.onset, closed_at: None, members, merged: BTreeSet::new() };
        self.incidents.insert(name.clone(), incident);
        Assignment { incident: name, created: true, merged: Vec::new() }
    }

    /// Makes one incident part of another; not when they would be too large together.
    fn merge(&mut self, into: &str, from: &str, members: usize) -> bool {
        let size = |name: &str| self.incidents.get(name).map_or(0, |incident| incident.members.len());
        if size(into) + size(from) > members {
            return false;
        }
        let Some(from_incident) = self.incidents.remove(from) else {
            return false;
        };
        let Some(incident) = self.incidents.get_mut(into) else {
            return false;
        };
        for (fingerprint, member) in from_incident.members {
            let known = incident.members.entry(fingerprint).or_insert_with(|| member.clone());
            // Of the same alert at two times the one that fires counts.
            if known.resolved_at.is_some() && member.resolved_at.is_none() {
                *known = member;
            }
        }
        incident.merged.extend(from_incident.merged);
        incident.merged.insert(from.to_owned());
        true
    }

    /// An alert is resolved; gives back its incident and whether that ended by it.
    pub fn resolve(&mut self, fingerprint: &str, at: i64) -> Option<(String, bool)> {
        let name = self.of(fingerprint)?.to_owned();
        let incident = self.incidents.get_mut(&name)?;
        let was_open = incident.closed_at.is_none();
        incident.members.get_mut(fingerprint)?.resolved_at.get_or_insert(at);
        incident.settle();
        let ended = was_open && incident.closed_at.is_some();
        Some((name, ended))
    }

    /// Forgets incidents that ended before a time; gives back how many.
    pub fn forget(&mut self, before: i64) -> usize {
        let count = self.incidents.len();
        self.incidents.retain(|_, incident| incident.closed_at.is_none_or(|closed| closed >= before));
        count - self.incidents.len()
    }
}

fn member(alert: &Alert) -> Member {
    let (name, summary) = texts(alert);
    Member { name, summary, service: alert.service.clone(), onset: alert.onset, resolved_at: None }
}

fn texts(alert: &Alert) -> (String, String) {
    let cut = |text: &str| -> String { text.chars().take(TEXT_CHARS_MAX).collect() };
    (cut(&alert.name), cut(&alert.summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(fingerprint: &str, service: &str, minute: i64) -> Alert {
        Alert {
            fingerprint: fingerprint.to_owned(),
            name: format!("Alert{fingerprint}"),
            summary: String::new(),
            service: service.to_owned(),
            onset: minute * MINUTE,
        }
    }

    /// web → shop → cart → store, and mail by itself.
    fn topology() -> Topology {
        Topology::from_edges([("web", "shop"), ("shop", "cart"), ("cart", "store")])
    }

    fn fire_all(alerts: &[Alert]) -> Incidents {
        let mut incidents = Incidents::default();
        for alert in alerts {
            incidents.fire(alert, &topology(), &Rules::default());
        }
        incidents
    }

    #[test]
    fn near_alerts_are_one_incident() {
        let incidents = fire_all(&[
            alert("a", "store", 0),
            alert("b", "shop", 2),
            alert("c", "web", 4),
            alert("d", "mail", 1),
            alert("e", "store", 20),
            alert("f", "", 0),
        ]);
        let groups: BTreeSet<Vec<&str>> =
            incidents.iter().map(|(_, incident)| incident.members.keys().map(String::as_str).collect()).collect();
        let expected = BTreeSet::from([vec!["a", "b", "c"], vec!["d"], vec!["e"], vec!["f"]]);
        assert_eq!(groups, expected);
        let name = incidents.of("b").expect("an incident");
        assert_eq!(incidents.get(name).expect("known").services(), ["store", "shop", "web"]);
    }

    #[test]
    fn a_bridge_merges_and_the_oldest_keeps_its_name() {
        let mut incidents = Incidents::default();
        let (rules, topology) = (Rules::default(), topology());
        let web = incidents.fire(&alert("a", "web", 1), &topology, &rules);
        let store = incidents.fire(&alert("b", "store", 0), &topology, &rules);
        assert!(web.created && store.created);
        let bridge = incidents.fire(&alert("c", "shop", 3), &topology, &rules);
        assert_eq!(
            bridge,
            Assignment { incident: store.incident.clone(), created: false, merged: vec![web.incident.clone()] }
        );
        assert_eq!(incidents.get(&web.incident), incidents.get(&store.incident), "the old name still leads there");
        assert_eq!(incidents.fire(&alert("c", "shop", 3), &topology, &rules).incident, store.incident);
        assert_eq!(incidents.iter().count(), 1);
    }

    /// Every order of arrival gives the same groups.
    #[test]
    fn order_does_not_matter() {
        let alerts = [
            alert("a", "web", 0),
            alert("b", "store", 4),
            alert("c", "shop", 8),
            alert("d", "cart", 12),
            alert("e", "mail", 4),
        ];
        let groups = |incidents: &Incidents| -> BTreeSet<Vec<String>> {
            incidents.iter().map(|(_, incident)| incident.members.keys().cloned().collect()).collect()
        };
        let expected = groups(&fire_all(&alerts));
        let mut order = [0, 1, 2, 3, 4];
        for step in 0..120 {
            let shuffled: Vec<Alert> = order.iter().map(|at| alerts[*at].clone()).collect();
            assert_eq!(groups(&fire_all(&shuffled)), expected, "{order:?}");
            order.swap(step % 4, step % 4 + 1);
        }
    }

    #[test]
    fn an_incident_ends_with_its_last_alert_and_opens_again_soon_after() {
        let mut incidents = fire_all(&[alert("a", "web", 0), alert("b", "shop", 1)]);
        let name = incidents.of("a").expect("an incident").to_owned();
        assert_eq!(incidents.resolve("a", 10 * MINUTE), Some((name.clone(), false)));
        assert_eq!(incidents.resolve("b", 12 * MINUTE), Some((name.clone(), true)));
        assert_eq!(incidents.resolve("b", 13 * MINUTE), Some((name.clone(), false)));
        assert_eq!(incidents.get(&name).expect("known").closed_at, Some(12 * MINUTE));
        let (rules, topology) = (Rules::default(), topology());
        assert!(incidents.clone().fire(&alert("a", "web", 60), &topology, &rules).created);
        assert!(
            incidents.clone().fire(&alert("x", "web", 2), &topology, &rules).created,
            "a closed one takes no new alerts"
        );
        assert_eq!(incidents.fire(&alert("a", "web", 20), &topology, &rules).incident, name);
        assert_eq!(incidents.get(&name).expect("known").closed_at, None);
        assert_eq!(incidents.forget(i64::MAX), 0);
        assert_eq!(incidents.resolve("a", 30 * MINUTE), Some((name, true)));
        assert_eq!(incidents.forget(i64::MAX), 1);
        assert_eq!(incidents.resolve("a", 31 * MINUTE), None);
    }

    /// The history of incidents told of nameless alerts as soon as they were resolved.
    #[test]
    fn a_resolved_alert_keeps_its_name_and_what_it_said_last() {
        let mut incidents = fire_all(&[alert("a", "web", 0)]);
        let (rules, topology) = (Rules::default(), topology());
        let said = Alert { summary: format!("é{}", "x".repeat(500)), ..alert("a", "web", 0) };
        incidents.fire(&said, &topology, &rules);
        incidents.resolve("a", 10 * MINUTE);
        let text = serde_json::to_string(&incidents).expect("serialisable");
        let kept: Incidents = serde_json::from_str(&text).expect("readable");
        let member = &kept.iter().next().expect("an incident").1.members["a"];
        assert_eq!((member.name.as_str(), member.summary.chars().count()), ("Alerta", TEXT_CHARS_MAX));
        let older = text.replace("\"name\":\"Alerta\",", "");
        let older: Incidents = serde_json::from_str(&older).expect("what an earlier version kept");
        assert_eq!(older.iter().next().expect("an incident").1.members["a"].name, "");
    }

    #[test]
    fn incidents_are_bounded() {
        let rules = Rules { members: 2, ..Rules::default() };
        let mut incidents = Incidents::default();
        let created =
            ["a", "b", "c", "d"].map(|name| incidents.fire(&alert(name, "web", 0), &topology(), &rules).created);
        assert_eq!(created, [true, false, true, false]);
    }

    #[test]
    fn the_state_survives_a_restart() {
        let incidents = fire_all(&[alert("a", "web", 0), alert("b", "store", 0), alert("c", "shop", 1)]);
        let text = serde_json::to_string(&incidents).expect("serialisable");
        assert_eq!(serde_json::from_str::<Incidents>(&text).expect("readable"), incidents);
    }
}
