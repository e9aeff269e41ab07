//! Relabelling: rules that rewrite, keep or drop a label set, as `relabel_configs`, `metric_relabel_configs` and
//! `alert_relabel_configs` state them.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use regex::Regex;
use serde::Deserialize;

/// Rules of one list.
pub const RULES_MAX: usize = 1_000;

/// Labels that are relabelled. Names are unique; an empty value is as good as none.
pub trait LabelSet {
    /// The value, empty when the label is missing.
    fn value(&self, name: &str) -> &str;
    /// Adds or changes a label.
    fn set(&mut self, name: &str, value: String);
    /// Takes a label away.
    fn remove(&mut self, name: &str);
    /// Keeps only labels of some names.
    fn retain(&mut self, keep: &mut dyn FnMut(&str) -> bool);
    /// Name and value of each label.
    fn pairs(&self) -> Vec<(&str, &str)>;
}

impl LabelSet for BTreeMap<String, String> {
    fn value(&self, name: &str) -> &str {
        self.get(name).map_or("", String::as_str)
    }

    fn set(&mut self, name: &str, value: String) {
        self.insert(name.to_owned(), value);
    }

    fn remove(&mut self, name: &str) {
        Self::remove(self, name);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&str) -> bool) {
        Self::retain(self, |name, _| keep(name));
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sets a label if the regex matches.
    Replace,
    /// Drops what the regex does not match.
    Keep,
    /// Drops what the regex matches.
    Drop,
    /// Drops what differs from a label.
    KeepEqual,
    /// Drops what equals a label.
    DropEqual,
    /// Sets a label to a hash.
    HashMod,
    /// Copies labels to other names.
    LabelMap,
    /// Takes labels away.
    LabelDrop,
    /// Takes other labels away.
    LabelKeep,
    /// Sets a label to lower case.
    Lowercase,
    /// Sets a label to upper case.
    Uppercase,
}

impl Action {
    /// Every action by its name in the configuration.
    const ALL: [(&str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
    ];
}

/// A rule as it is written; what is missing has Prometheus' default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSpec {
    /// `replace` unless told.
    pub action: Option<String>,
    /// Labels whose values are put together.
    pub source_labels: Vec<String>,
    /// `;` unless told.
    pub separator: Option<String>,
    /// `(.*)` unless told.
    pub regex: Option<String>,
    /// The label that is set.
    pub target_label: String,
    /// `$1` unless told.
    pub replacement: Option<String>,
    /// Of a hash.
    pub modulus: u64,
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The key that is wrong.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    target_label: String,
    replacement: String,
    modulus: u64,
}

impl Rule {
    /// The rule that is written, or what is wrong with it.
    pub fn new(spec: RuleSpec) -> Result<Self, RuleError> {
        let error = |key, problem: String| RuleError { key, problem };
        let name = spec.action.map_or_else(|| "replace".to_owned(), |name| name.to_ascii_lowercase());
        let known = Action::ALL.iter().find(|(known, _)| *known == name);
        let (_, action) = *known.ok_or_else(|| error("action", format!("{name:?} is not an action of relabelling")))?;
        let pattern = spec.regex.unwrap_or_else(|| "(.*)".into());
        let regex =
            anchored(&pattern).map_err(|problem| error("regex", format!("{pattern:?} is not a regex: {problem}")))?;
        let needs_target =
            !matches!(action, Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep);
        if needs_target && spec.target_label.is_empty() {
            return Err(error("target_label", format!("missing; {name} needs it")));
        }
        if action == Action::HashMod && spec.modulus == 0 {
            return Err(error("modulus", "missing; hashmod needs a number above 0".into()));
        }
        Ok(Self {
            action,
            source_labels: spec.source_labels,
            separator: spec.separator.unwrap_or_else(|| ";".into()),
            regex,
            target_label: spec.target_label,
            replacement: spec.replacement.unwrap_or_else(|| "$1".into()),
            modulus: spec.modulus,
        })
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.action == other.action
            && self.source_labels == other.source_labels
            && self.separator == other.separator
            && self.regex.as_str() == other.regex.as_str()
            && self.target_label == other.target_label
            && self.replacement == other.replacement
            && self.modulus == other.modulus
    }
}

/// Memory that one regex of the configuration may take once compiled.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Compiles a regex as Prometheus does: it must match the whole value, and the dot matches line ends too.
fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    // On its own first, so that `a)|(b` cannot close the group around it.
    regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()?;
    regex::RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(REGEX_BYTES_MAX).build()
}

/// Applies the rules in order; says whether the label set is kept.
#[must_use]
pub fn apply(rules: &[Rule], labels: &mut impl LabelSet) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

impl Rule {
    fn apply(&self, labels: &mut impl LabelSet) -> bool {
        let value = self.source_value(labels);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.value(&self.target_label) == value,
            Action::DropEqual => return labels.value(&self.target_label) != value,
            Action::Replace => self.replace(labels, &value),
            Action::HashMod => labels.set(&self.target_label, (hash(&value) % self.modulus.max(1)).to_string()),
            Action::LabelMap => self.map_names(labels),
            Action::LabelDrop => labels.retain(&mut |name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(&mut |name| self.regex.is_match(name)),
            Action::Lowercase => labels.set(&self.target_label, value.to_lowercase()),
            Action::Uppercase => labels.set(&self.target_label, value.to_uppercase()),
        }
        true
    }

    fn source_value(&self, labels: &impl LabelSet) -> String {
        let mut value = String::new();
        for (position, name) in self.source_labels.iter().enumerate() {
            if position > 0 {
                value.push_str(&self.separator);
            }
            value.push_str(labels.value(name));
        }
        value
    }

    fn replace(&self, labels: &mut impl LabelSet, value: &str) {
        let Some(captures) = self.regex.captures(value) else { return };
        let (mut target, mut replacement) = (String::new(), String::new());
        captures.expand(&self.target_label, &mut target);
        if target.is_empty() {
            return;
        }
        captures.expand(&self.replacement, &mut replacement);
        if replacement.is_empty() {
            labels.remove(&target);
        } else {
            labels.set(&target, replacement);
        }
    }

    fn map_names(&self, labels: &mut impl LabelSet) {
        let mut mapped = Vec::new();
        for (name, value) in labels.pairs() {
            if let Some(captures) = self.regex.captures(name) {
                let mut target = String::new();
                captures.expand(&self.replacement, &mut target);
                mapped.push((target, value.to_owned()));
            }
        }
        for (target, value) in mapped {
            if !target.is_empty() {
                labels.set(&target, value);
            }
        }
    }
}

/// The last eight bytes of the MD5 sum, so that shards agree with those of Prometheus.
fn hash(value: &str) -> u64 {
    let sum: [u8; 16] = Md5::digest(value.as_bytes()).into();
    let mut half = [0; 8];
    half.copy_from_slice(&sum[8..]);
    u64::from_be_bytes(half)
}
