//! The tree that says who is told about which alert.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::labels::Labels;
use crate::matcher::Matchers;

/// The virtual label that groups by incident: usable in `group_by`, not part of any alert's identity.
pub const INCIDENT_LABEL: &str = "trivium_incident";

/// How alerts of a route are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// By these labels; none means that all alerts are one group.
    Labels(BTreeSet<String>),
    /// `...`: each alert is a group.
    All,
}

/// What a route says of its groups, once what is missing has come from its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOptions {
    /// Who is told.
    pub receiver: String,
    /// How alerts are put together.
    pub group_by: GroupBy,
    /// How long to wait for more alerts before the first notification of a group.
    pub group_wait: Duration,
    /// How long to wait after a notification before a changed group is notified again.
    pub group_interval: Duration,
    /// How long to wait before an unchanged group is notified again.
    pub repeat_interval: Duration,
    /// Never inherited.
    pub mute_time_intervals: Vec<String>,
    /// Never inherited.
    pub active_time_intervals: Vec<String>,
}

/// One node of the tree.
#[derive(Clone, Debug)]
pub struct Route {
    /// Sorted as in Alertmanager.
    pub matchers: Matchers,
    /// Whether siblings further down are asked too.
    pub is_continued: bool,
    /// What it says of its groups.
    pub options: RouteOptions,
    /// The matchers from the root to here; part of the keys of groups.
    pub key: String,
    /// Positions of the children in the tree.
    children: Vec<usize>,
}

/// All routes; the first is the root.
#[derive(Clone, Debug)]
pub struct RouteTree {
    routes: Vec<Route>,
}

impl RouteTree {
    pub(crate) fn new(root: Route) -> Self {
        Self { routes: vec![root] }
    }

    pub(crate) fn add(&mut self, parent: usize, mut route: Route) -> usize {
        route.key = format!("{}/{}", self.routes[parent].key, route.matchers);
        self.routes.push(route);
        let at = self.routes.len() - 1;
        self.routes[parent].children.push(at);
        at
    }

    /// All routes, the root first.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub(crate) fn get(&self, at: usize) -> &Route {
        &self.routes[at]
    }

    /// The routes of an alert, as positions in [`RouteTree::routes`]: depth first, the deepest that fit.
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.visit(0, labels, &mut found);
        found
    }

    fn visit(&self, at: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let route = &self.routes[at];
        if !route.matchers.matches(labels) {
            return false;
        }
        let before = found.len();
        for child in &route.children {
            let is_matching = self.visit(*child, labels, found);
            if is_matching && !self.routes[*child].is_continued {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }
}

impl Route {
    pub(crate) fn new(matchers: Matchers, is_continued: bool, options: RouteOptions) -> Self {
        Self { key: matchers.to_string(), matchers, is_continued, options, children: Vec::new() }
    }

    /// The labels that an alert's group has in this route.
    pub(crate) fn group_labels(&self, labels: &Labels, incident: Option<&str>) -> Labels {
        let GroupBy::Labels(names) = &self.options.group_by else { return labels.clone() };
        let mut group = Labels::default();
        for name in names {
            let pair = match (name.as_str(), incident) {
                (INCIDENT_LABEL, Some(incident)) => Some((INCIDENT_LABEL.to_owned(), incident.to_owned())),
                // An alert of no incident is grouped with its like.
                (INCIDENT_LABEL, None) => {
                    labels.0.get_key_value("alertname").map(|(name, value)| (name.clone(), value.clone()))
                }
                (name, _) => labels.0.get(name).map(|value| (name.to_owned(), value.clone())),
            };
            group.0.extend(pair);
        }
        group
    }
}
