//! The route tree as it is written, and its inheritance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::all_matchers;
use super::receiver::Receiver;
use super::value::{MatcherList, Span, nullable};
use crate::interval::TimeInterval;
use crate::route::{GroupBy, Route, RouteOptions, RouteTree};

/// Routes of one tree.
const ROUTES_MAX: usize = 10_000;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenRoute {
    receiver: String,
    group_by: Option<Vec<String>>,
    #[serde(rename = "match", deserialize_with = "nullable")]
    equal: BTreeMap<String, String>,
    #[serde(rename = "match_re", deserialize_with = "nullable")]
    regex: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    matchers: MatcherList,
    #[serde(rename = "continue")]
    is_continued: bool,
    #[serde(deserialize_with = "nullable")]
    routes: Vec<Self>,
    group_wait: Option<Span>,
    group_interval: Option<Span>,
    repeat_interval: Option<Span>,
    #[serde(deserialize_with = "nullable")]
    mute_time_intervals: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    active_time_intervals: Vec<String>,
    labels: Option<IgnoredAny>,
}

/// What routes may name.
pub(super) struct Known<'a> {
    pub(super) receivers: &'a [Receiver],
    pub(super) intervals: &'a BTreeMap<String, Vec<TimeInterval>>,
}

/// The word of the file that is wrong, and why.
type Problem = (String, String);

impl WrittenRoute {
    pub(super) fn settle(mut self, known: &Known<'_>) -> Result<RouteTree, Problem> {
        let at = |word: &str, problem: &str| Err((word.to_owned(), problem.to_owned()));
        if self.receiver.is_empty() {
            return at("route", "root route must specify a default receiver");
        }
        if !self.equal.is_empty() || !self.regex.is_empty() || !self.matchers.0.is_empty() {
            return at("route", "root route must not have any matchers");
        }
        if !self.mute_time_intervals.is_empty() {
            return at("mute_time_intervals", "root route must not have any mute time intervals");
        }
        if !self.active_time_intervals.is_empty() {
            return at("active_time_intervals", "root route must not have any active time intervals");
        }
        if self.is_continued {
            return at("continue", "cannot have continue in root route");
        }
        let defaults = RouteOptions {
            receiver: String::new(),
            group_by: GroupBy::Labels(BTreeSet::new()),
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(300),
            repeat_interval: Duration::from_secs(4 * 3600),
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
        };
        let children = std::mem::take(&mut self.routes);
        let root = self.node(&defaults, known)?;
        let mut tree = RouteTree::new(root);
        add(&mut tree, 0, children, known)?;
        Ok(tree)
    }

    fn node(self, parent: &RouteOptions, known: &Known<'_>) -> Result<Route, Problem> {
        let zero = |name: &str, span: Option<Span>| match span {
            Some(Span(Duration::ZERO)) => Err((name.to_owned(), format!("{name} cannot be zero"))),
            span => Ok(span.map(|span| span.0)),
        };
        if self.labels.is_some() {
            let problem = "labels of routes (Alertmanager 0.34) are not supported; remove the key, and set the labels in the \
                           rules or with alert_relabel_configs, or say the same in the templates of the receiver";
            return Err(("labels".to_owned(), problem.to_owned()));
        }
        let group_by = match &self.group_by {
            None => parent.group_by.clone(),
            Some(names) => grouping(names)?,
        };
        let receiver = if self.receiver.is_empty() { parent.receiver.clone() } else { self.receiver };
        if !known.receivers.iter().any(|one| one.name == receiver) {
            let problem = format!("undefined receiver {receiver:?} used in route");
            return Err((receiver, problem));
        }
        for name in self.mute_time_intervals.iter().chain(&self.active_time_intervals) {
            if !known.intervals.contains_key(name) {
                return Err((name.clone(), format!("undefined time interval {name:?} used in route")));
            }
        }
        let matchers = all_matchers(self.equal, self.regex, self.matchers);
        let options = RouteOptions {
            receiver,
            group_by,
            group_wait: self.group_wait.map_or(parent.group_wait, |span| span.0),
            group_interval: zero("group_interval", self.group_interval)?.unwrap_or(parent.group_interval),
            repeat_interval: zero("repeat_interval", self.repeat_interval)?.unwrap_or(parent.repeat_interval),
            mute_time_intervals: self.mute_time_intervals,
            active_time_intervals: self.active_time_intervals,
        };
        Ok(Route::new(matchers.map_err(|problem| ("match".to_owned(), problem))?, self.is_continued, options))
    }
}

fn add(tree: &mut RouteTree, parent: usize, children: Vec<WrittenRoute>, known: &Known<'_>) -> Result<(), Problem> {
    for mut written in children {
        if tree.routes().len() >= ROUTES_MAX {
            return Err(("routes".to_owned(), format!("more than {ROUTES_MAX} routes")));
        }
        let grandchildren = std::mem::take(&mut written.routes);
        let options = tree.get(parent).options.clone();
        let at = tree.add(parent, written.node(&options, known)?);
        add(tree, at, grandchildren, known)?;
    }
    Ok(())
}

fn grouping(names: &[String]) -> Result<GroupBy, Problem> {
    let at = |problem: &str| Err(("group_by".to_owned(), problem.to_owned()));
    let mut labels = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return at("invalid label name \"\" in group_by list");
        }
        if !labels.insert(name.clone()) {
            return at(&format!("duplicated label {name:?} in group_by list"));
        }
    }
    match (labels.remove("..."), labels.is_empty()) {
        (true, true) => Ok(GroupBy::All),
        (true, false) => at("cannot have wildcard group_by (`...`) and other labels at the same time"),
        (false, _) => Ok(GroupBy::Labels(labels)),
    }
}
