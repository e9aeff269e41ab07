use super::*;

/// Refuses templates with an action that is not closed.
struct Braces;

impl TemplateCheck for Braces {
    fn check(&self, text: &str) -> Result<(), String> {
        if text.matches("{{").count() == text.matches("}}").count() {
            Ok(())
        } else {
            Err("unclosed action".to_owned())
        }
    }
}

fn read(text: &str) -> Result<Vec<Group>, RuleFileError> {
    parse_rule_file("rules.yml", text, &Braces)
}

#[track_caller]
fn refused(text: &str, line: u64, message: &str) {
    let error = read(text).unwrap_err();
    let problem = &error.problems[0];
    assert!(problem.message.contains(message), "{error}");
    assert_eq!(problem.line, line, "{error}");
}

const FULL: &str = r#"
groups:
- name: example
  interval: 30s
  query_offset: 0s
  limit: 7
  labels: {team: infra, tier: 1}
  no_data: keep
  rules:
  - record: job:up:sum
    expr: sum by(job)(up)
    labels:
      tier: "2"
  - alert: Down
    expr: up == 0
    for: 5m
    keep_firing_for: 1h30m
    labels: {severity: page}
    annotations:
      summary: "{{ $labels.job }} is down"
  - alert: Errors
    type: logs
    expr: 'severity:error | count() by (service.name) [5m] > 10'
    no_data: resolve
  - alert: Rows
    type: sql
    expr: SELECT service, count(*) AS value FROM logs GROUP BY 1
---
not: read
"#;

#[test]
fn a_file_is_read_whole() {
    let groups = read(FULL).unwrap();
    let group = &groups[0];
    assert_eq!(group.key(), "rules.yml;example");
    assert_eq!(
        (group.interval, group.query_offset, group.limit),
        (Some(Duration::from_secs(30)), Some(Duration::ZERO), 7)
    );
    let [record, down, errors, rows] = group.rules.as_slice() else { panic!("{group:?}") };
    assert_eq!(record.query, RuleQuery::PromQl("sum by (job) (up)".to_owned()));
    assert_eq!(
        record.labels,
        BTreeMap::from([("team", "infra"), ("tier", "2")].map(|(a, b)| (a.to_owned(), b.to_owned())))
    );
    assert_eq!((down.hold, down.keep_firing_for), (Duration::from_secs(300), Duration::from_secs(5400)));
    assert_eq!(down.labels.get("tier").map(String::as_str), Some("1"));
    assert_eq!((down.no_data, errors.no_data), (Some(NoData::Keep), Some(NoData::Resolve)));
    assert_eq!((errors.query.type_name(), rows.query.type_name()), ("logs", "sql"));
    assert_eq!(down.line, 14);
}

#[test]
fn a_file_without_groups_is_one() {
    assert_eq!(read(""), Ok(Vec::new()));
    assert_eq!(read("groups:\n"), Ok(Vec::new()));
    assert_eq!(read("# nothing\n"), Ok(Vec::new()));
}

#[test]
fn whatever_is_wrong_is_refused_with_its_line() {
    refused("groups:\n- name: a\n  what: b\n", 3, "what");
    refused("groups:\n- name: a\n  rules:\n  - alert: x\n    expr: up\n    fur: 5m\n", 6, "fur");
    refused("groups:\n- name: a\n- name: a\n", 3, "repeated in the same file");
    refused("groups:\n- name: ''\n", 2, "Groupname must not be empty");
    refused("groups:\n- name: a\n  interval: 5 minutes\n", 3, "not a valid duration");
    refused("groups: [\n", 1, "");
    let rule = |rule: &str| format!("groups:\n- name: a\n  rules:\n  - {rule}\n");
    refused(&rule("expr: up"), 4, "one of 'record' or 'alert' must be set");
    refused(&rule("{alert: a, record: b, expr: up}"), 4, "only one of");
    refused(&rule("{alert: a}"), 4, "field 'expr' must be set");
    refused(&rule("{alert: a, expr: 'up +'}"), 4, "could not parse expression");
    refused(&rule("{record: a, expr: up, for: 5m}"), 4, "invalid field 'for'");
    refused(&rule("{record: a, expr: up, keep_firing_for: 5m}"), 4, "invalid field 'keep_firing_for'");
    refused(&rule("{record: a, expr: up, annotations: {a: b}}"), 4, "invalid field 'annotations'");
    refused(&rule("{record: 'a{b=\"c\"}', expr: up}"), 4, "braces present");
    refused(&rule("{alert: a, expr: up, labels: {__name__: b}}"), 4, "invalid label name");
    refused(&rule("{alert: a, expr: up, labels: {b: '{{ x'}}"), 4, "unclosed action");
    refused(&rule("{alert: a, expr: up, annotations: {b: '{{ x'}}"), 4, "unclosed action");
    refused(&rule("{alert: a, expr: up, type: mongo}"), 4, "unknown type");
    refused(&rule("{alert: a, expr: up, no_data: maybe}"), 4, "none of resolve");
    refused(&rule("{alert: a, expr: up, inputs: up}"), 4, "inputs: the inputs of PromQL are its selectors");
    refused(&rule("{alert: a, expr: SELECT 1, type: sql, inputs: ''}"), 4, "inputs: the SQL is empty");
    refused(&rule("{alert: a, expr: 'x | count() [5m]', type: logs, inputs: x}"), 4, "inputs: expected a log search");
    refused(&rule("{record: a, expr: SELECT 1, type: sql, inputs: SELECT 1}"), 4, "invalid field 'inputs'");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "groups:\n- name: a\n  rules:\n  - {alert: a}\n  - {alert: b, expr: 'sum('}\n";
    assert_eq!(read(text).unwrap_err().problems.len(), 2);
}

#[test]
fn one_bad_file_refuses_all() {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let files = [file("a.yml", FULL), file("b.yml", "groups: 5\n")];
    assert!(RuleSet::parse(&files, &Braces).unwrap_err().to_string().starts_with("b.yml:1"));
    assert_eq!(RuleSet::parse(&files[..1], &Braces).unwrap().groups.len(), 1);
}

#[test]
fn a_rule_that_only_moved_is_the_same() {
    let moved = FULL.replacen("groups:", "# a comment\n\ngroups:", 1);
    assert_eq!(read(FULL), read(&moved));
    assert_ne!(read(FULL), read(&FULL.replace("for: 5m", "for: 6m")));
}
