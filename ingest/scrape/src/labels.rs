//! Label sets: of targets while they are relabelled, of series once they are final.

use trivium_relabel::LabelSet;

/// Labels in the making: names are unique, in no order; an empty value is a label that is there but says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelBuilder(Vec<(String, String)>);

impl LabelBuilder {
    /// The value, empty when the label is missing.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |at| &self.0[at].1)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.find(name) {
            Some(at) => self.0[at].1 = value.into(),
            None => self.0.push((name.to_owned(), value.into())),
        }
    }

    pub(crate) fn set_default(&mut self, name: &str, value: &str) {
        if !self.contains(name) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// Adds a label whose name must be new; says whether it was.
    pub(crate) fn insert_new(&mut self, name: &str, value: String) -> bool {
        let is_new = !self.contains(name);
        if is_new {
            self.0.push((name.to_owned(), value));
        }
        is_new
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The final set: sorted, without labels that say nothing.
    pub(crate) fn build(&self) -> Labels {
        let mut labels: Vec<(Box<str>, Box<str>)> = self
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        labels.sort_unstable();
        Labels(labels)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|(known, _)| known == name)
    }
}

impl LabelSet for LabelBuilder {
    fn value(&self, name: &str) -> &str {
        self.get(name)
    }

    fn set(&mut self, name: &str, value: String) {
        Self::set(self, name, value);
    }

    fn remove(&mut self, name: &str) {
        Self::remove(self, name);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&str) -> bool) {
        Self::retain(self, keep);
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.iter().collect()
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for LabelBuilder {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        let mut builder = Self::default();
        for (name, value) in labels {
            builder.set(name.as_ref(), value);
        }
        builder
    }
}

/// A final label set: sorted by name, names unique, no empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Vec<(Box<str>, Box<str>)>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok().map(|at| &*self.0[at].1)
    }

    /// Name and value of each label, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        labels.into_iter().collect::<LabelBuilder>().build()
    }
}
