//! The checks that Prometheus makes when it loads rule files, and those of our own fields.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_saphyr::{Location, Options, Spanned};
use trivium_promql::{METRIC_NAME, ParseOptions, parse};

use super::raw::{RawFile, RawGroup, RawRule, Text};
use super::{Group, MAX_FILE_BYTES, NoData, Problem, Rule, RuleFileError, RuleKind, RuleQuery, TemplateCheck};
use crate::duration::parse_duration;
use crate::log_query::LogQuery;

/// More rules in a file are refused.
const MAX_RULES: usize = 100_000;

/// Longer SQL is refused.
const MAX_SQL_BYTES: usize = 256 * 1024;

pub(super) struct Checker<'a> {
    file: &'a str,
    templates: &'a dyn TemplateCheck,
    problems: Vec<Problem>,
}

fn line(location: Location) -> u64 {
    if location == Location::UNKNOWN { 0 } else { location.line() }
}

fn line_of<T>(spanned: &Spanned<T>) -> u64 {
    line(spanned.referenced)
}

impl<'a> Checker<'a> {
    pub(super) fn new(file: &'a str, templates: &'a dyn TemplateCheck) -> Self {
        Self { file, templates, problems: Vec::new() }
    }

    pub(super) fn read(mut self, text: &str) -> Result<Vec<Group>, RuleFileError> {
        let groups = self.document(text).map(|file| self.groups(file)).unwrap_or_default();
        if self.problems.is_empty() { Ok(groups) } else { Err(RuleFileError { problems: self.problems }) }
    }

    fn problem(&mut self, line: u64, message: impl Into<String>) {
        self.problems.push(Problem { file: self.file.to_owned(), line, message: message.into() });
    }

    /// The first YAML document; what follows it is not looked at, as in Prometheus.
    fn document(&mut self, text: &str) -> Option<RawFile> {
        if text.len() > MAX_FILE_BYTES {
            self.problem(0, format!("the file has {} bytes, more than {MAX_FILE_BYTES}", text.len()));
            return None;
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let mut bytes = text.as_bytes();
        match first_document(&mut bytes, options) {
            None => Some(RawFile::default()),
            Some(Ok(file)) => Some(file.unwrap_or_default()),
            Some(Err(error)) => {
                let place = error.location().map_or(0, line);
                self.problem(place, error.to_string());
                None
            }
        }
    }

    fn groups(&mut self, file: RawFile) -> Vec<Group> {
        let mut names = HashSet::new();
        let mut groups = Vec::new();
        let mut rules = 0;
        for raw in file.groups.unwrap_or_default() {
            let Some(name) = raw.name.as_ref().filter(|name| !name.value.is_empty()) else {
                let place = raw.name.as_ref().map_or(0, line_of);
                self.problem(place, "Groupname must not be empty");
                continue;
            };
            if !names.insert(name.value.clone()) {
                let message = format!("groupname: {:?} is repeated in the same file", name.value);
                self.problem(line_of(name), message);
            }
            rules += raw.rules.as_ref().map_or(0, Vec::len);
            let name = name.value.clone();
            groups.push(self.group(name, raw));
        }
        if rules > MAX_RULES {
            self.problem(0, format!("the file has {rules} rules, more than {MAX_RULES}"));
        }
        groups
    }

    fn group(&mut self, name: String, raw: RawGroup) -> Group {
        let context = format!("group {name:?}");
        let interval = self.duration(&context, "interval", raw.interval.as_ref());
        let query_offset = self.duration(&context, "query_offset", raw.query_offset.as_ref());
        let limit = raw.limit.as_ref().map_or(0, |limit| usize::try_from(limit.value).unwrap_or(0));
        let labels = self.labels(&context, raw.labels);
        let no_data = self.no_data(&context, raw.no_data.as_ref());
        let no_data_for = self.duration(&context, "no_data_for", raw.no_data_for.as_ref());
        let mut rules = Vec::new();
        for (index, spanned) in raw.rules.unwrap_or_default().into_iter().enumerate() {
            if let Some(mut rule) = self.rule(&name, index, spanned, &labels) {
                rule.no_data = rule.no_data.or(no_data);
                rule.no_data_for = rule.no_data_for.or(no_data_for);
                rules.push(rule);
            }
        }
        // An interval of 0 is the default one, as in Prometheus.
        let interval = interval.filter(|interval| !interval.is_zero());
        Group { file: self.file.to_owned(), name, interval, query_offset, limit, rules }
    }

    fn rule(
        &mut self,
        group: &str,
        index: usize,
        spanned: Spanned<RawRule>,
        group_labels: &BTreeMap<String, String>,
    ) -> Option<Rule> {
        let (line, raw) = (line_of(&spanned), spanned.value);
        let set = |text: &Option<Text>| text.as_ref().map(|text| text.value.clone()).filter(|text| !text.is_empty());
        let (record, alert) = (set(&raw.record), set(&raw.alert));
        let shown = record.as_ref().or(alert.as_ref()).cloned().unwrap_or_default();
        let context = format!("group {group:?}, rule {}, {shown:?}", index + 1);
        let (kind, name) = match (record, alert) {
            (Some(record), None) => (RuleKind::Recording, record),
            (None, Some(alert)) => (RuleKind::Alerting, alert),
            (Some(_), Some(_)) => {
                self.problem(line, format!("{context}: only one of 'record' and 'alert' must be set"));
                return None;
            }
            (None, None) => {
                self.problem(line, format!("{context}: one of 'record' or 'alert' must be set"));
                return None;
            }
        };
        let before = self.problems.len();
        let query = self.query(&context, line, &raw);
        let inputs = self.inputs(&context, &raw);
        if kind == RuleKind::Recording {
            self.recording(&context, line, &name, &raw);
        }
        let hold = self.duration(&context, "for", raw.hold.as_ref()).unwrap_or_default();
        let keep_firing_for = self.duration(&context, "keep_firing_for", raw.keep_firing_for.as_ref());
        let no_data = self.no_data(&context, raw.no_data.as_ref());
        let no_data_for = self.duration(&context, "no_data_for", raw.no_data_for.as_ref());
        let own_labels = self.labels(&context, raw.labels);
        let annotations = self.annotations(&context, raw.annotations);
        let mut labels = group_labels.clone();
        labels.extend(own_labels);
        if kind == RuleKind::Alerting {
            self.templates(&context, line, "label", &labels);
            self.templates(&context, line, "annotation", &annotations);
        }
        let query = query.filter(|_| self.problems.len() == before)?;
        let keep_firing_for = keep_firing_for.unwrap_or_default();
        Some(Rule { kind, name, query, inputs, hold, keep_firing_for, labels, annotations, no_data, no_data_for, line })
    }

    fn query(&mut self, context: &str, line: u64, raw: &RawRule) -> Option<RuleQuery> {
        let Some(expr) = raw.expr.as_ref().filter(|expr| !expr.value.is_empty()) else {
            self.problem(line, format!("{context}: field 'expr' must be set in rule"));
            return None;
        };
        let kind = raw.kind.as_ref().map_or("promql", |kind| kind.value.as_str());
        let query = read_query(kind, &expr.value);
        query.map_err(|message| self.problem(line_of(expr), format!("{context}: {message}"))).ok()
    }

    fn inputs(&mut self, context: &str, raw: &RawRule) -> Option<RuleQuery> {
        let inputs = raw.inputs.as_ref()?;
        let query = match raw.kind.as_ref().map_or("promql", |kind| kind.value.as_str()) {
            "promql" => Err("the inputs of PromQL are its selectors; remove the field".to_owned()),
            kind => read_query(kind, &inputs.value),
        };
        query.map_err(|message| self.problem(line_of(inputs), format!("{context}: inputs: {message}"))).ok()
    }

    /// What a recording rule must not have.
    fn recording(&mut self, context: &str, line: u64, name: &str, raw: &RawRule) {
        let mut refuse = |message: &str| self.problem(line, format!("{context}: {message}"));
        if raw.annotations.as_ref().is_some_and(|annotations| !annotations.is_empty()) {
            refuse("invalid field 'annotations' in recording rule");
        }
        let is_set =
            |text: &Option<Text>| text.as_ref().is_some_and(|text| parse_duration(&text.value) != Ok(Duration::ZERO));
        if is_set(&raw.hold) {
            refuse("invalid field 'for' in recording rule");
        }
        if is_set(&raw.keep_firing_for) {
            refuse("invalid field 'keep_firing_for' in recording rule");
        }
        if raw.inputs.is_some() {
            refuse("invalid field 'inputs' in recording rule");
        }
        if raw.no_data.is_some() || raw.no_data_for.is_some() {
            refuse("invalid field 'no_data' in recording rule");
        }
        // Braces are valid in UTF-8 names but are nearly always an expression in the wrong place.
        if name.contains(['{', '}']) {
            let message = "braces present in the recording rule name; should it be in expr?: ";
            refuse(&format!("{message}{name}"));
        }
    }

    fn labels(&mut self, context: &str, labels: Option<BTreeMap<String, Text>>) -> BTreeMap<String, String> {
        let mut checked = BTreeMap::new();
        for (name, value) in labels.unwrap_or_default() {
            if name.is_empty() || name == METRIC_NAME {
                self.problem(line_of(&value), format!("{context}: invalid label name: {name}"));
            }
            checked.insert(name, value.value);
        }
        checked
    }

    fn annotations(&mut self, context: &str, annotations: Option<BTreeMap<String, Text>>) -> BTreeMap<String, String> {
        let mut checked = BTreeMap::new();
        for (name, value) in annotations.unwrap_or_default() {
            if name.is_empty() {
                self.problem(line_of(&value), format!("{context}: invalid annotation name: {name}"));
            }
            checked.insert(name, value.value);
        }
        checked
    }

    fn templates(&mut self, context: &str, line: u64, what: &str, texts: &BTreeMap<String, String>) {
        for (name, text) in texts {
            if let Err(error) = self.templates.check(text) {
                self.problem(line, format!("{context}: {what} {name:?}: {error}"));
            }
        }
    }

    fn duration(&mut self, context: &str, field: &str, text: Option<&Text>) -> Option<Duration> {
        let text = text?;
        match parse_duration(&text.value) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.problem(line_of(text), format!("{context}: {field}: {error}"));
                None
            }
        }
    }

    fn no_data(&mut self, context: &str, text: Option<&Text>) -> Option<NoData> {
        let text = text?;
        match text.value.as_str() {
            "resolve" => Some(NoData::Resolve),
            "keep" => Some(NoData::Keep),
            "alerting" => Some(NoData::Alerting),
            other => {
                let message = format!("{context}: no_data: {other:?} is none of resolve, keep and alerting");
                self.problem(line_of(text), message);
                None
            }
        }
    }
}

/// Reads an expression of a type.
fn read_query(kind: &str, text: &str) -> Result<RuleQuery, String> {
    match kind {
        "promql" => parse(text, &ParseOptions::EXPERIMENTAL)
            .map(|expr| RuleQuery::PromQl(expr.to_string()))
            .map_err(|error| format!("could not parse expression: {error}")),
        "sql" if text.trim().is_empty() => Err("the SQL is empty".to_owned()),
        "sql" if text.len() > MAX_SQL_BYTES => Err(format!("the SQL has more than {MAX_SQL_BYTES} bytes")),
        "sql" => Ok(RuleQuery::Sql(text.to_owned())),
        "logs" => LogQuery::parse(text.trim()).map(RuleQuery::Logs),
        other => Err(format!("unknown type {other:?}; there are promql, sql and logs")),
    }
}

fn first_document(bytes: &mut &[u8], options: Options) -> Option<Result<Option<RawFile>, serde_saphyr::Error>> {
    serde_saphyr::read_with_options(bytes, options).next()
}
