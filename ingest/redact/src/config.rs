//! The rules file, strictly read: what is unknown is refused, and everything that is wrong is told at once.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use trivium_model::SignalKind;

use crate::action::{Action, HashKey};
use crate::builtin;
use crate::glob::Glob;
use crate::hit::{RULES_MAX, UNREADABLE};
use crate::keys::KEYS_MAX;
use crate::rules::{Place, Rule, Rules};
use crate::text::Finder;

/// Bytes of a rules file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a text that stands in the place of what was found. It bounds how much a request can grow.
const REPLACEMENT_BYTES_MAX: usize = 128;

/// Expressions of one file: each is compiled, and a text in which something may be is searched by all.
const FINDERS_MAX: usize = 64;

const REPLACEMENT: &str = "[redacted]";

/// Why a rules file is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    hash_key_file: Option<PathBuf>,
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: String,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    regex: Option<String>,
    action: RawAction,
    #[serde(default)]
    replacement: Option<String>,
    #[serde(default)]
    keep_last: Option<usize>,
    #[serde(default)]
    signals: Option<Vec<String>>,
    #[serde(default)]
    services: Option<Vec<String>>,
    #[serde(default, rename = "in")]
    places: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum RawAction {
    Drop,
    Replace,
    Mask,
    Hash,
}

pub(crate) fn load(path: &Path) -> Result<Rules, RulesError> {
    let about =
        |problem: String| RulesError(format!("the redaction rules {} cannot be used: {problem}", path.display()));
    let bytes = std::fs::metadata(path).map_err(|error| about(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(about(format!("{bytes} bytes, at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| about(error.to_string()))?;
    parse(&text, path.parent().unwrap_or(Path::new(""))).map_err(|error| about(error.0))
}

pub(crate) fn parse(text: &str, folder: &Path) -> Result<Rules, RulesError> {
    // Errors tell the line and do not show it: an expression may hold what it is there to hide.
    let options = serde_saphyr::options! { with_snippet: false };
    let file: RawFile =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| RulesError(error.to_string()))?;
    let mut problems = Vec::new();
    let hash_key = match file.hash_key_file.map(|path| HashKey::load(&folder.join(path))).transpose() {
        Ok(key) => key,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    if file.rules.len() > RULES_MAX {
        problems.push(format!("{} rules, at most {RULES_MAX} are taken", file.rules.len()));
    }
    let mut rules: Vec<Rule> = Vec::new();
    for raw in file.rules.into_iter().take(RULES_MAX) {
        let mut reader = RuleReader { name: raw.name.clone(), problems: &mut problems };
        if rules.iter().any(|rule| rule.name == raw.name) {
            reader.problem("has the name of another rule".into());
        }
        rules.push(reader.rule(raw, hash_key.as_ref()));
    }
    let keys: usize = rules.iter().map(|rule| rule.keys.len()).sum();
    let finders: usize = rules.iter().map(|rule| rule.finders.len()).sum();
    for (what, count, most) in [("keys", keys, KEYS_MAX), ("patterns", finders, FINDERS_MAX)] {
        if count > most {
            problems.push(format!("{count} {what} in all rules, at most {most} are taken"));
        }
    }
    if problems.is_empty() { Ok(Rules::new(rules, hash_key)) } else { Err(RulesError(problems.join("; "))) }
}

/// Reads one rule and gathers what is wrong with it.
struct RuleReader<'a> {
    name: String,
    problems: &'a mut Vec<String>,
}

impl RuleReader<'_> {
    fn problem(&mut self, problem: String) {
        self.problems.push(format!("rule {:?} {problem}", self.name));
    }

    fn rule(&mut self, raw: RawRule, hash_key: Option<&HashKey>) -> Rule {
        const NAME_BYTES_MAX: usize = 64;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if raw.name.is_empty() || raw.name.len() > NAME_BYTES_MAX || !raw.name.bytes().all(is_name) {
            self.problem(format!(
                "needs a name of 1 to {NAME_BYTES_MAX} letters, digits, hyphens, dots and underscores"
            ));
        }
        if raw.name == UNREADABLE {
            self.problem("has the name under which unreadable messages are counted".into());
        }
        if [!raw.keys.is_empty(), raw.pattern.is_some(), raw.regex.is_some()].iter().filter(|has| **has).count() != 1 {
            self.problem("must have exactly one of keys, pattern and regex".into());
        }
        let action = self.action(&raw, hash_key);
        let finders = self.finders(raw.pattern.as_deref(), raw.regex.as_deref());
        Rule {
            name: raw.name,
            finders,
            keys: self.globs("keys", Some(raw.keys)),
            action,
            signals: self.chosen("signals", raw.signals, &SignalKind::ALL.map(|signal| (signal, signal.as_str()))),
            services: self.globs("services", raw.services),
            places: self.chosen("in", raw.places, &Place::ALL),
        }
    }

    fn action(&mut self, raw: &RawRule, hash_key: Option<&HashKey>) -> Action {
        if raw.replacement.is_some() && raw.action != RawAction::Replace {
            self.problem("has a replacement, which only the action replace uses".into());
        }
        if raw.keep_last.is_some() && raw.action != RawAction::Mask {
            self.problem("has keep_last, which only the action mask uses".into());
        }
        match (raw.action, hash_key) {
            (RawAction::Drop, _) => Action::Drop,
            (RawAction::Mask, _) => Action::Mask(raw.keep_last.unwrap_or(0)),
            (RawAction::Replace, _) => {
                let text = raw.replacement.as_deref().unwrap_or(REPLACEMENT);
                if text.len() > REPLACEMENT_BYTES_MAX {
                    self.problem(format!("has a replacement of more than {REPLACEMENT_BYTES_MAX} bytes"));
                }
                Action::Replace(text.as_bytes().into())
            }
            (RawAction::Hash, Some(key)) => Action::Hash(key.clone()),
            (RawAction::Hash, None) => {
                self.problem("hashes, for which the file must name a hash_key_file".into());
                Action::Drop
            }
        }
    }

    fn finders(&mut self, pattern: Option<&str>, regex: Option<&str>) -> Vec<Finder> {
        let finders = match (pattern, regex) {
            (Some(name), _) => builtin::finders(name)
                .unwrap_or_else(|| Err(format!("names no pattern: {name:?}; there are {}", builtin::NAMES.join(", ")))),
            (None, Some(expression)) => Finder::regex(expression).map(|finder| vec![finder]),
            (None, None) => Ok(Vec::new()),
        };
        finders.unwrap_or_else(|problem| {
            self.problem(problem);
            Vec::new()
        })
    }

    fn globs(&mut self, what: &str, texts: Option<Vec<String>>) -> Vec<Glob> {
        let Some(texts) = texts else { return Vec::new() };
        if texts.is_empty() && what == "services" {
            self.problem("has an empty list of services; leave it out for all".into());
        }
        let mut globs = Vec::with_capacity(texts.len());
        for text in texts {
            match Glob::new(&text) {
                Ok(glob) => globs.push(glob),
                Err(problem) => self.problem(format!("{what}: {problem}")),
            }
        }
        globs
    }

    /// Some of a list of names; all when nothing is said.
    fn chosen<T: Copy>(&mut self, what: &str, names: Option<Vec<String>>, all: &[(T, &str)]) -> Vec<T> {
        let Some(names) = names else { return all.iter().map(|(value, _)| *value).collect() };
        let known: Vec<&str> = all.iter().map(|(_, name)| *name).collect();
        if names.is_empty() {
            self.problem(format!("{what} is empty; leave it out for {}", known.join(", ")));
        }
        let mut chosen = Vec::new();
        for name in names {
            match all.iter().find(|(_, known)| *known == name) {
                Some((value, _)) => chosen.push(*value),
                None => self.problem(format!("{what}: {name:?} is none of {}", known.join(", "))),
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, Path::new("/nonexistent")).expect_err("refused").to_string()
    }

    #[test]
    fn a_whole_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key"), "0123456789abcdef0123456789abcdef\n").expect("written");
        let text = "\
hash_key_file: key
rules:
  - name: credentials
    keys: [password, '*token*']
    action: drop
  - name: cards
    pattern: credit_card
    action: mask
    keep_last: 4
    signals: [logs, traces]
    in: [body, attributes]
  - name: people
    pattern: email
    action: hash
    services: ['shop-*']
  - name: badge
    regex: 'BADGE-(?P<secret>[0-9]+)'
    action: replace
    replacement: '[badge]'
";
        let rules = parse(text, folder.path()).expect("a valid file");
        assert_eq!(rules.names().collect::<Vec<_>>(), ["credentials", "cards", "people", "badge"]);
        assert!(rules.hash_key().is_some() && rules.asks_service());
        assert_eq!(rules.active(SignalKind::Metrics, b"shop-a").patterns, 0b1100);
        assert_eq!(rules.active(SignalKind::Logs, b"cart").patterns, 0b1010);
        assert_eq!(rules.name(63), UNREADABLE);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let error = error(
            "hash_key_file: none\nrules:\n\
             - {name: 'a b', keys: [x], regex: y, action: drop}\n\
             - {name: h, pattern: passport, action: hash}\n\
             - {name: r, regex: '(', action: mask, replacement: z}\n\
             - {name: r, keys: [''], action: drop, keep_last: 1}\n\
             - {name: s, keys: [a], action: drop, signals: [log], in: [], services: []}\n",
        );
        for part in [
            "hash_key_file /nonexistent/none",
            "\"a b\" needs a name",
            "exactly one of keys, pattern and regex",
            "\"h\" hashes",
            "names no pattern: \"passport\"",
            "is no regular expression",
            "only the action replace uses",
            "name of another rule",
            "only the action mask uses",
            "keys: \"\" is no name",
            "\"log\" is none of logs, metrics, traces",
            "in is empty",
            "empty list of services",
        ] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_line() {
        let error = error("rules:\n- name: a\n  keys: [b]\n  action: drop\n  sevices: [c]\n");
        assert!(error.contains("sevices") && error.contains('5'), "{error}");
        assert!(Rules::parse("rules: []", Path::new("")).is_ok());
    }

    #[test]
    fn a_short_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key"), "short\n").expect("written");
        let error = parse("hash_key_file: key\nrules: []\n", folder.path()).expect_err("refused").to_string();
        assert!(error.contains("5 bytes") && error.contains("openssl rand"), "{error}");
    }
}
