use super::*;
use crate::template::GoTemplates;
use crate::world::{START_MS, World, labels};

const FINE: &str = r#"
groups:
- name: fine
  interval: 30s
  rules:
  - {record: 'job:errors:rate5m', expr: 'sum by (job) (rate(errors_total[5m]))'}
  - alert: Fine
    expr: job:errors:rate5m > 14.4 * (1 - 0.999)
    for: 5m
    labels: {severity: page}
    annotations:
      summary: "{{ $labels.job }} fails"
      description: "{{ $value }} errors a second: {{ range query \"up\" }}{{ .Labels.instance }}{{ end }}"
      runbook_url: http://runbooks/fine
"#;

fn parsed(text: &str) -> RuleSet {
    let file = crate::file::SourceFile { path: "rules.yml".to_owned(), text: text.to_owned() };
    RuleSet::parse(&[file], &GoTemplates::default()).unwrap()
}

fn checks(text: &str) -> Vec<&'static str> {
    lint(&parsed(text), &LintOptions::default()).into_iter().map(|finding| finding.check).collect()
}

/// The fine rules with one thing changed.
#[track_caller]
fn finds(from: &str, to: &str, check: &str) {
    assert!(FINE.contains(from), "{from}");
    assert_eq!(checks(&FINE.replace(from, to)), [check], "{to}");
}

#[test]
fn fine_rules_are_fine() {
    assert_eq!(lint(&parsed(FINE), &LintOptions::default()), []);
}

#[test]
fn each_check_finds_what_it_is_for() {
    finds("      summary: \"{{ $labels.job }} fails\"\n", "", "missing-summary");
    finds("runbook_url:", "run:", "missing-runbook");
    finds("description:", "text:", "missing-description");
    finds("labels: {severity: page}", "labels: {team: a}", "missing-severity");
    finds("    for: 5m\n", "", "missing-for");
    finds("errors_total[5m]", "errors[5m]", "rate-of-gauge");
    finds("errors_total[5m]", "errors_total[90s]", "rate-too-short");
    finds("14.4 * (1 - 0.999)", "14.4 * (1 - 0.9)", "impossible-burn-factor");
    finds("14.4 * (1 - 0.999)", "(14.4 * 0.1)", "impossible-burn-factor");
    finds("{{ $labels.job }} fails", "$labels.job fails", "unparsed-template");
    let other = "  - {record: 'job:errors:rate5m', expr: vector(1)}\n  - alert: Fine\n";
    finds("  - alert: Fine\n", other, "duplicate-rule");
    let labelled = "expr: 'sum by (job) (rate(errors_total[5m]))', labels: {a: '{{ $labels.job }}'}";
    finds("expr: 'sum by (job) (rate(errors_total[5m]))'", labelled, "unparsed-template");
}

#[test]
fn labels_that_an_expression_does_not_keep_are_known() {
    let uses = |expr: &str, label: &str| {
        let text = FINE.replace("job:errors:rate5m > 14.4 * (1 - 0.999)", expr).replace("$labels.job", label);
        checks(&text).contains(&"template-label-missing")
    };
    for (expr, label, is_missing) in [
        ("sum by (job) (up) > 1", "$labels.job", false),
        ("sum by (job) (up) > 1", "$labels.instance", true),
        ("sum by (job) (up) > 1", ".Labels.instance", true),
        ("sum(up) > 1", "$labels.job", true),
        ("sum without (instance) (up) > 1", "$labels.job", false),
        ("sum without (instance) (up) > 1", "$labels.instance", true),
        ("max by (job, instance) (sum by (job) (up)) > 1", "$labels.instance", true),
        ("topk(3, sum by (job) (up)) > 1", "$labels.instance", true),
        ("sum by (job) (up) / on (job) group_left (team) sum by (job, team) (up) > 1", "$labels.team", false),
        ("up > on (job) sum by (job) (up)", "$labels.instance", true),
        ("up > ignoring (instance) up2", "$labels.instance", true),
        ("up and sum(up) > 1", "$labels.instance", false),
        ("sum(up) or up", "$labels.instance", false),
        ("label_replace(sum(up), \"instance\", \"a\", \"\", \"\") > 1", "$labels.instance", false),
        ("absent(up{instance=\"a\"})", "$labels.instance", false),
        ("histogram_quantile(0.9, sum by (le, job) (up)) > 1", "$labels.le", true),
        ("rate(errors_total[5m]) > 1", "$labels.instance", false),
        ("vector(1) > 0", "$labels.job", true),
    ] {
        assert_eq!(uses(expr, label), is_missing, "{expr} {label}");
    }
}

#[tokio::test(start_paused = true)]
async fn selectors_that_match_nothing_are_told() {
    let world = World::new();
    world.samples.load(labels(&[("__name__", "errors_total"), ("job", "a")]), &[(0, 1.0)]);
    let querier: Arc<dyn Querier> = Arc::clone(&world.samples) as _;
    let text = FINE.replace("> 14.4", "and rate(errors_total{job=\"b\"}[5m] offset 1h) > 14.4");
    let findings = lint_selectors(&parsed(&text), &querier, TenantId::DEFAULT, START_MS).await.unwrap();
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let message = "errors_total{job=\"b\"} matches no series now; is the name or a label wrong?";
    assert_eq!(shown, [format!("rules.yml:7: warning: Fine: {message} [selector-matches-nothing]")]);
}
