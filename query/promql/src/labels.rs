//! Label sets and what selects them.

use std::sync::Arc;

use regex::Regex;

/// The label of the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// The label of the metric's type, where it has one.
pub const METRIC_TYPE: &str = "__type__";

/// The label of the metric's unit, where it has one.
pub const METRIC_UNIT: &str = "__unit__";

/// Whether a label says what the metric is, not what was measured: no longer true of what is computed from it.
pub(crate) fn is_metadata(name: &str) -> bool {
    matches!(name, METRIC_NAME | METRIC_TYPE | METRIC_UNIT)
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Its name; `__name__` is the metric's.
    pub name: Arc<str>,
    /// Its value, never empty in a set.
    pub value: Arc<str>,
}

/// A label set, sorted by name, names unique, values not empty. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Labels {
    /// A set of pairs in any order; empty values are no labels; of a name given twice the last counts.
    pub fn new(pairs: impl IntoIterator<Item = (impl Into<Arc<str>>, impl Into<Arc<str>>)>) -> Self {
        let mut labels = Vec::new();
        for (name, value) in pairs {
            let label = Label { name: name.into(), value: value.into() };
            labels.retain(|other: &Label| other.name != label.name);
            if !label.value.is_empty() {
                labels.push(label);
            }
        }
        labels.sort_unstable();
        Self(labels.into())
    }

    /// A set of labels with unique names and values that are not empty, in any order.
    pub fn of_unique(mut labels: Vec<Label>) -> Self {
        labels.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        debug_assert!(labels.is_sorted_by(|left, right| left.name < right.name), "a name twice");
        Self(labels.into())
    }

    /// The value of a label; empty when it is absent, as PromQL has it.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|label| &*label.name == name).map_or("", |label| &label.value)
    }

    /// The labels in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.0.iter()
    }

    /// The metric's name, or an empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// The set without the labels that say what the metric is.
    pub fn without_metadata(&self) -> Self {
        if self.0.iter().any(|label| is_metadata(&label.name)) {
            self.filtered(|name| !is_metadata(name))
        } else {
            self.clone()
        }
    }

    /// The labels whose names are wanted.
    pub fn filtered(&self, wanted: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|label| wanted(&label.name)).cloned().collect())
    }

    /// The set with a label set anew; an empty value takes it out.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut labels: Vec<Label> = self.0.iter().filter(|label| &*label.name != name).cloned().collect();
        if !value.is_empty() {
            let place = labels.partition_point(|label| &*label.name < name);
            labels.insert(place, Label { name: name.into(), value: value.into() });
        }
        Self(labels.into())
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How a matcher compares.
#[derive(Clone, Debug)]
pub enum MatchKind {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends.
    Regex(Regex),
    /// `!~`, anchored at both ends.
    NotRegex(Regex),
}

/// One condition on a label.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How it compares.
    pub kind: MatchKind,
    /// What it compares with, as written.
    pub value: String,
}

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), kind: MatchKind::Equal, value: value.into() }
    }

    /// `name=~"pattern"`; the error says what is wrong with the pattern.
    pub fn regex(name: impl Into<String>, pattern: impl Into<String>) -> Result<Self, String> {
        let value = pattern.into();
        Ok(Self { name: name.into(), kind: MatchKind::Regex(crate::parse::anchored_regex(&value)?), value })
    }

    /// Whether a value (empty for an absent label) is selected.
    pub fn matches(&self, value: &str) -> bool {
        match &self.kind {
            MatchKind::Equal => value == self.value,
            MatchKind::NotEqual => value != self.value,
            MatchKind::Regex(regex) => regex.is_match(value),
            MatchKind::NotRegex(regex) => !regex.is_match(value),
        }
    }
}
