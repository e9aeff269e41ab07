//! Relabelling: rules that rewrite, keep or drop a label set, as `relabel_configs` and `metric_relabel_configs` state them.

#[cfg(test)]
mod tests;

use md5::{Digest, Md5};
use regex::Regex;

use crate::labels::LabelBuilder;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    /// Every action by its name in the configuration.
    pub(crate) const ALL: [(&str, Self); 11] = [
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

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: String,
    pub(crate) regex: Regex,
    pub(crate) target_label: String,
    pub(crate) replacement: String,
    pub(crate) modulus: u64,
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
pub(crate) fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    // On its own first, so that `a)|(b` cannot close the group around it.
    regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()?;
    regex::RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(REGEX_BYTES_MAX).build()
}

/// Applies the rules in order; says whether the label set is kept.
#[must_use]
pub(crate) fn apply(rules: &[Rule], labels: &mut LabelBuilder) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

impl Rule {
    fn apply(&self, labels: &mut LabelBuilder) -> bool {
        let value = self.source_value(labels);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.get(&self.target_label) == value,
            Action::DropEqual => return labels.get(&self.target_label) != value,
            Action::Replace => self.replace(labels, &value),
            Action::HashMod => labels.set(&self.target_label, (hash(&value) % self.modulus.max(1)).to_string()),
            Action::LabelMap => self.map_names(labels),
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
            Action::Lowercase => labels.set(&self.target_label, value.to_lowercase()),
            Action::Uppercase => labels.set(&self.target_label, value.to_uppercase()),
        }
        true
    }

    fn source_value(&self, labels: &LabelBuilder) -> String {
        let mut value = String::new();
        for (position, name) in self.source_labels.iter().enumerate() {
            if position > 0 {
                value.push_str(&self.separator);
            }
            value.push_str(labels.get(name));
        }
        value
    }

    fn replace(&self, labels: &mut LabelBuilder, value: &str) {
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

    fn map_names(&self, labels: &mut LabelBuilder) {
        let mut mapped = Vec::new();
        for (name, value) in labels.iter() {
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
