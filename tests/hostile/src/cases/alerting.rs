//! R: rule files by way of the backtest, which takes them from clients; silences, alerts and matchers.

use serde_json::json;

use crate::case::{Case, Door, Expect, case, text};

const JSON: &str = "application/json";
const BAD: Expect = Expect::Answer(&[400, 413, 422], "");
const EITHER: Expect = Expect::Answer(&[200, 400, 422], "");
const BACKTEST: Door = Door::Post("/api/v1/rules/backtest", JSON);
const SILENCES: Door = Door::Post("/alertmanager/api/v2/silences", JSON);
const ALERTS: Door = Door::Post("/alertmanager/api/v2/alerts", JSON);

/// Rules over the hour of the records.
fn backtest(family: &'static str, what: &str, rules: impl Into<String>, expect: Expect) -> Case {
    let body = json!({ "rules": rules.into(), "start": "1699999000", "end": "1700000000" }).to_string();
    case(family, what.to_owned(), BACKTEST, move |_| body.clone().into_bytes(), expect)
}

fn rule(rule: &str) -> String {
    format!("groups:\n- name: g\n  rules:\n  - {rule}\n")
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = yaml();
    cases.extend(rules());
    cases.extend(templates());
    cases.extend(alertmanager());
    cases
}

fn yaml() -> Vec<Case> {
    let mut laughs = String::from("a: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
    for (this, before) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        laughs.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{before}"); 9].join(",")));
    }
    let labels_bomb = format!(
        "x: &x {{{}}}\ngroups:\n- name: g\n  rules:\n{}",
        (0..1_000).map(|number| format!("k{number}: v")).collect::<Vec<_>>().join(", "),
        "  - {alert: A, expr: up, labels: *x}\n".repeat(10_000)
    );
    vec![
        backtest("R1", "a billion laughs", laughs, BAD),
        backtest("R1", "an alias of many labels, 10,000 times", labels_bomb, BAD),
        backtest("R1", "10,000 brackets", "[".repeat(10_000), BAD),
        backtest(
            "R1",
            "10,000 levels of indentation",
            (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(),
            BAD,
        ),
        backtest("R1", "an alias of itself", "a: &a [*a]\n", BAD),
        case("R1", "50 MiB", BACKTEST, |_| json!({ "rules": "#".repeat(50 << 20) }).to_string().into_bytes(), BAD),
        backtest("R2", "an object of Python", "groups: !!python/object/apply:os.system ['id']\n", BAD),
        backtest("R2", "a field that nobody knows", rule("{alert: A, expr: up, exec: id}"), BAD),
        backtest("R2", "a key twice", rule("{alert: A, alert: B, expr: up}"), BAD),
        backtest("R2", "tabs", "groups:\n\t- name: g\n", BAD),
        backtest("R2", "control characters", "groups:\n- name: \"\u{1}\u{7f}\"\n", EITHER),
        case("R2", "no UTF-8", BACKTEST, |_| b"{\"rules\":\"\xff\xfe\"}".to_vec(), BAD),
        text("R2", BACKTEST, r#"{"rules":"\ud800"}"#, BAD),
        text("R2", BACKTEST, "[".repeat(100_000), BAD),
        text("R2", BACKTEST, "groups: []", BAD),
        backtest("R2", "nothing", "", EITHER),
    ]
}

fn rules() -> Vec<Case> {
    let ranged = |start: &str, end: &str, expect| {
        let body = json!({ "rules": rule("{alert: A, expr: up}"), "start": start, "end": end }).to_string();
        case("R3", format!("from {start} to {end}"), BACKTEST, move |_| body.clone().into_bytes(), expect)
    };
    let group =
        |interval: &str| format!("groups:\n- name: g\n  interval: {interval}\n  rules:\n  - {{alert: A, expr: up}}\n");
    let many = |count: usize| format!("groups:\n- name: g\n  rules:\n{}", "  - {alert: A, expr: up}\n".repeat(count));
    vec![
        backtest("R3", "interval 0s", group("0s"), EITHER),
        backtest("R3", "interval -1s", group("-1s"), BAD),
        backtest("R3", "interval 100ms", group("100ms"), EITHER),
        backtest("R3", "interval 1ns", group("1ns"), BAD),
        backtest("R3", "interval 9999999y", group("9999999y"), BAD),
        backtest("R3", "for 99999999999999999999y", rule("{alert: A, expr: up, for: 99999999999999999999y}"), BAD),
        backtest("R3", "for 290y", rule("{alert: A, expr: up, for: 290y}"), EITHER),
        backtest("R3", "a rule that reads what it writes", rule("{record: a, expr: a + 1}"), EITHER),
        backtest("R3", "100,001 rules", many(100_001), BAD),
        ranged("-9223372036854775808", "9223372036854775807", BAD),
        ranged("now", "now-1h", BAD),
        ranged("0", "now", BAD),
        ranged("1e300", "now", BAD),
        backtest("R4", "no expression", rule("{alert: A, expr: ''}"), BAD),
        backtest("R4", "an expression that is none", rule("{alert: A, expr: 'sum('}"), BAD),
        backtest("R4", "100,000 parentheses", rule(&format!("{{alert: A, expr: '{}'}}", "(".repeat(100_000))), BAD),
        backtest(
            "R4",
            "a bomb of subqueries",
            rule("{alert: A, expr: 'max_over_time(rate(x[5m])[30d:1s])[30d:1s]'}"),
            EITHER,
        ),
        backtest("R4", "a bomb of samples", rule("{alert: A, expr: 'sum_over_time(vector(1)[10y:1s]) > 0'}"), EITHER),
        backtest("R4", "SQL that writes", rule("{alert: A, type: sql, expr: 'DROP TABLE logs'}"), EITHER),
        backtest("R4", "a log query that is none", rule("{alert: A, type: logs, expr: '((('}"), BAD),
    ]
}

fn templates() -> Vec<Case> {
    let annotated = |what: &str, template: String, expect| {
        let template = template.replace('\'', "''");
        backtest(
            "R5",
            what,
            rule(&format!("{{alert: A, expr: 'vector(1)', annotations: {{a: '{template}'}}}}")),
            expect,
        )
    };
    vec![
        annotated("a template that does not end", "{{".into(), EITHER),
        annotated("a function that is not there", "{{ exec \"id\" }}".into(), EITHER),
        annotated(
            "a template of itself",
            "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}".into(),
            EITHER,
        ),
        annotated(
            "10,000 blocks in one another",
            format!("{}{}", "{{ if true }}".repeat(10_000), "{{ end }}".repeat(10_000)),
            EITHER,
        ),
        annotated("10,000 parentheses", format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000)), EITHER),
        annotated("a text of 2^31 characters", "{{ printf \"%2147483647d\" 1 }}".into(), EITHER),
        annotated("an expression bomb", "{{ reReplaceAll \"(a{1000}){1000}\" \"x\" \"y\" }}".into(), EITHER),
        annotated("HTML, line breaks, a channel", "<script>alert(1)</script>\\r\\nBcc: x <!channel>".into(), EITHER),
    ]
}

fn alertmanager() -> Vec<Case> {
    let silence = |what: &str, matchers: serde_json::Value, starts: &str, ends: &str, expect| {
        let body = json!({
            "matchers": matchers, "startsAt": starts, "endsAt": ends, "createdBy": "x", "comment": "<script>alert(1)</script>",
        }).to_string();
        case("R5", format!("a silence: {what}"), SILENCES, move |_| body.clone().into_bytes(), expect)
    };
    let matcher = |value: &str| json!([{ "name": "a", "value": value, "isRegex": true, "isEqual": true }]);
    let (now, later) = ("2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z");
    let deep: serde_json::Value = (0..100).fold(json!(1), |inner, _| json!([inner]));
    vec![
        silence("a bomb", matcher("(a{1000}){1000}"), now, later, BAD),
        silence("an expression that is none", matcher("("), now, later, BAD),
        silence("no matchers", json!([]), now, later, BAD),
        silence("a matcher of everything", matcher(".*"), now, later, BAD),
        silence("an end before the start", matcher("x"), later, now, BAD),
        silence("in the year 999999", matcher("x"), now, "+999999-01-01T00:00:00Z", BAD),
        silence(
            "10,000 matchers",
            json!(vec![json!({ "name": "a", "value": "b", "isRegex": false }); 10_000]),
            now,
            later,
            BAD,
        ),
        text("R2", SILENCES, "[".repeat(100_000), BAD),
        text("R2", ALERTS, "[".repeat(100_000), BAD),
        text("R2", ALERTS, json!([{ "labels": deep }]).to_string(), BAD),
        case(
            "R3",
            "100,000 alerts",
            ALERTS,
            |_| json!(vec![json!({ "labels": { "a": "b" } }); 100_000]).to_string().into_bytes(),
            BAD,
        ),
        case(
            "R5",
            "an alert with labels of 1 MiB",
            ALERTS,
            |_| json!([{ "labels": { "a": "b".repeat(1 << 20) } }]).to_string().into_bytes(),
            BAD,
        ),
        text("R5", ALERTS, r#"[{"labels":{"":"x"}}]"#, BAD),
        text(
            "R5",
            ALERTS,
            r#"[{"labels":{"alertname":"A"},"startsAt":"9999-12-31T23:59:59Z","endsAt":"0001-01-01T00:00:00Z"}]"#,
            EITHER,
        ),
        text(
            "R5",
            ALERTS,
            r#"[{"labels":{"alertname":"<img src=x onerror=alert(1)>"},"generatorURL":"javascript:alert(1)"}]"#,
            EITHER,
        ),
        text("R2", Door::Get, "/alertmanager/api/v2/alerts?filter=a%3D~%22(a%7B1000%7D)%7B1000%7D%22", BAD),
        text("R2", Door::Get, "/alertmanager/api/v2/alerts?filter=%7B%7B%7B", BAD),
        text("R2", Door::Get, "/alertmanager/api/v2/alerts?receiver=(a%7B1000%7D)%7B1000%7D", BAD),
        text("R2", Door::Get, format!("/alertmanager/api/v2/alerts?{}", "filter=a%3Db&".repeat(1_000)), BAD),
        text("R2", Door::Get, "/alertmanager/api/v2/silence/..%2f..%2fetc", Expect::Answer(&[400, 404, 422], "")),
        text("R2", Door::Get, "/api/v1/slos/..%2f..%2fetc", Expect::Answer(&[404, 400], "")),
        text("R2", Door::Get, "/api/v1/rules?type=none", EITHER),
        text("R2", Door::Get, "/prometheus/api/v1/rules?match[]=%7B%7B", EITHER),
    ]
}
