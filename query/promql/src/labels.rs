//! Label sets and what selects them.

use std::sync::Arc;

use regex::Regex;

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

    /// The value of a label; empty when it is absent, as PromQL has it.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|label| &*label.name == name).map_or("", |label| &label.value)
    }

    /// The labels in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.0.iter()
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
