//! Semantics against what `amtool template render` 0.25 and Prometheus' own tests answer, real templates, and noise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::functions::{alertmanager, prometheus};
use crate::notification::{Alert, Data};
use crate::{DEFAULT_TEMPLATES, Functions, Limits, Mode, TemplateSet, Time, Value};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn alert(status: &str, name: &str, severity: &str) -> Alert {
    Alert {
        status: status.to_owned(),
        labels: map(&[("severity", severity), ("alertname", name), ("cluster", "eu")]),
        annotations: map(&[("summary", "disk <full> & hot"), ("runbook_url", "https://run.example/x?a=1&b=2")]),
        starts_at: Time::from_unix_nanos(1_674_981_729_250_000_000),
        ends_at: Time::from_unix_nanos(1_674_985_329_000_000_000),
        generator_url: "http://p/graph?g0.expr=up+%3D%3D+0&g0.tab=1".to_owned(),
        fingerprint: "00f1".to_owned(),
        more: vec![],
    }
}

fn notification() -> Value {
    Data {
        receiver: "team-x".to_owned(),
        status: "firing".to_owned(),
        alerts: vec![alert("firing", "Disk", "critical"), alert("resolved", "Cpu", "warning")],
        group_labels: map(&[("cluster", "eu")]),
        common_labels: map(&[("cluster", "eu"), ("team", "core")]),
        common_annotations: map(&[("summary", "disk <full> & hot")]),
        external_url: "http://am.example:9093".to_owned(),
        more: vec![],
    }
    .into()
}

fn render_mode(text: &str, mode: Mode) -> Result<String, String> {
    let functions = alertmanager::functions(Time::from_unix_nanos(1_674_981_789_250_000_000));
    let mut set = TemplateSet::new(Limits::default());
    set.add("default.tmpl", DEFAULT_TEMPLATES, &functions).expect("the default templates");
    set.expand(text, mode, &notification(), &functions).map_err(|error| error.to_string())
}

fn render(text: &str) -> String {
    render_mode(text, Mode::Text).unwrap_or_else(|error| format!("ERROR {error}"))
}

fn check_all(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(render(text), *expected, "{text}");
    }
}

#[test]
fn literals_print_as_in_go() {
    check_all(&[
        (
            "{{1234567.0}} {{100000000.0}} {{123456789.5}} {{1e20}} {{1.0e-5}}",
            "1.234567e+06 1e+08 1.234567895e+08 1e+20 1e-05",
        ),
        ("{{1e3}} {{123456.0}} {{0.1}} {{1.5}} {{-0.00012}}", "1000 123456 0.1 1.5 -0.00012"),
        (
            "{{ 0x1F }} {{ 1_000 }} {{ 'a' }} {{ 0b11 }} {{0o17}} {{017}} {{ 1.5e3 }} {{ -3 }} {{ +3 }} {{0x1p4}}",
            "31 1000 97 3 15 15 1500 -3 3 16",
        ),
        (r#"{{ "a\tb\u00e9\x41\"" }} {{ `raw\n` }} {{ '\n' }} {{true}}"#, "a\tbéA\" raw\\n 10 true"),
        ("{{- /* c */ -}} x {{- 3 -}} y {{/* a\nb */}}z", "x3y z"),
        ("{{\n\"a\"\n|\nprint\n}}", "a"),
    ]);
}

#[test]
fn printf_prints_as_in_go() {
    check_all(&[
        (
            r#"{{printf "%g %g %.4g %.3g %e %f %v" 1e20 1234567.5 100000.0 0.00001234 12345.678 1e10 1e22}}"#,
            "1e+20 1.2345675e+06 1e+05 1.23e-05 1.234568e+04 10000000000.000000 1e+22",
        ),
        (
            r#"{{printf "%5d|%-5s|%05.1f|%x|%X|%q|%T|%T|%v|%d|%s|%%|%!|%z" 42 "ab" 3.14159 "hi" 255 "a\"b" 1 1.5 (dict "b" 1 "a" 2) "x" 5 1 }}"#,
            "   42|ab   |003.1|6869|FF|\"a\\\"b\"|int|float64|map[a:2 b:1]|%!d(string=x)|%!s(int=5)|%|%!!(int=1)|%!z(MISSING)",
        ),
        (r#"{{printf "%d"}} {{printf "x" 1 "a"}}"#, "%!d(MISSING) x%!(EXTRA int=1, string=a)"),
        (r#"{{printf "%t %v %s" true nil 1.5}}"#, "true <nil> %!s(float64=1.5)"),
        (
            r#"{{printf "%6.2f|%-8v|%08d|%+d|% d|%#x|%c|%U|%o|%b" 3.14159 true 42 5 5 255 65 65 8 5}}"#,
            "  3.14|true    |00000042|+5| 5|0xff|A|U+0041|10|101",
        ),
        (r#"{{printf "%[2]d %[1]d" 1 2}} {{printf "%*d" 5 42}} {{printf "%"}}"#, "2 1    42 %!(NOVERB)"),
        (
            r#"{{ print nil }}|{{ printf "%d" nil }}|{{ printf "%v" 1.0 }}|{{ printf "%d" 1.5 }}|{{ printf "%s" true}}|{{ printf "%6.3v|%-+7.2f|" 3.14159 2.5 }}"#,
            "<nil>|%!d(<nil>)|1|%!d(float64=1.5)|%!s(bool=true)|  3.14|+2.50  |",
        ),
        (r#"{{ printf "%s %q %v" (list "a" "b") (list "a" "b") (list 1 2.5) }}"#, r#"[a b] ["a" "b"] [1 2.5]"#),
        (
            r#"{{ printf "%+v" (index .GroupLabels.SortedPairs 0) }} {{ printf "%+d %x" -5 "é" }}"#,
            "{Name:cluster Value:eu} -5 c3a9",
        ),
    ]);
}

#[test]
fn built_in_functions_answer_as_in_go() {
    check_all(&[
        (
            r#"{{len "abc"}} {{index .CommonLabels "x"}}|{{.CommonLabels.nope}}| {{print 1 2 "a" "b" 3}} {{println 1 "a"}}"#,
            "3 || 1 2ab3 1 a\n",
        ),
        (
            r#"{{html "<a>&\"+"}} {{js "a\"<b>\n"}} {{urlquery "a b&c"}}"#,
            r#"&lt;a&gt;&amp;&#34;+ a\"\u003Cb\u003E\u000A a+b%26c"#,
        ),
        (
            r#"{{slice "abcdef" 1 3}} {{and 1 0}} {{or 0 "x"}} {{not 1}} {{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}}"#,
            "bc 0 x false true true true",
        ),
        (r#"{{"a" | printf "%s-%s" "b"}} {{le 2 2}} {{ge "b" "a"}} {{gt 1.5 1.0}}"#, "b-a true true true"),
        (
            r"{{eq 1 1.0}}",
            r#"ERROR template: :1:3: executing "" at <eq 1 1.0>: error calling eq: incompatible types for comparison"#,
        ),
        (
            r"{{lt true false}}",
            r#"ERROR template: :1:3: executing "" at <lt true false>: error calling lt: invalid type for comparison"#,
        ),
        (
            r"{{ index .Alerts 9 }}",
            r#"ERROR template: :1:4: executing "" at <index .Alerts 9>: error calling index: index out of range: 9"#,
        ),
        (
            r#"{{ slice "abc" 2 9 }}"#,
            r#"ERROR template: :1:4: executing "" at <slice "abc" 2 9>: error calling slice: index out of range: 9"#,
        ),
        (r"{{ not }}", r#"ERROR template: :1:4: executing "" at <not>: wrong number of args for not: want 1 got 0"#),
        (r"{{ len 3 }}", r#"ERROR template: :1:4: executing "" at <len 3>: error calling len: len of type int"#),
        (
            r"{{ 5 | toUpper }}",
            r#"ERROR template: :1:8: executing "" at <toUpper>: wrong type for value; expected string; got int"#,
        ),
        (
            r"{{ .Nope }}",
            r#"ERROR template: :1:4: executing "" at <.Nope>: can't evaluate field Nope in type template.Data"#,
        ),
        (
            r"{{ .Status.Foo }}",
            r#"ERROR template: :1:4: executing "" at <.Status.Foo>: can't evaluate field Foo in type string"#,
        ),
        // The second argument is never looked at.
        (r"{{ and false .Nope }} {{ or true .Nope }}", "false true"),
        (r#"{{ (index .Alerts 0).Labels.alertname }} {{ index (list 1 (list 2 3)) 1 0 }}"#, "Disk 2"),
    ]);
}

#[test]
fn control_flow_follows_go() {
    check_all(&[
        (r"{{ if 0 }}a{{ else if 1 }}b{{ else }}c{{ end }}", "b"),
        (
            r#"{{ with $x := "q" }}{{ $x }}{{ . }}{{ end }}{{ with "" }}x{{ else }}y{{ end }}{{with ""}}a{{else with "z"}}{{.}}{{end}}"#,
            "qqyz",
        ),
        (r"{{ $y := 1 }}{{ if true }}{{ $y = 2 }}{{ $y := 9 }}{{ end }}{{ $y }}", "2"),
        (r"{{ range $i, $e := list 5 6 7 }}{{ $i }}={{ $e }},{{ end }}", "0=5,1=6,2=7,"),
        (r"{{ range $e := list 5 6 }}{{ $e }}{{ . }},{{ end }}{{ range list }}x{{ else }}none{{ end }}", "55,66,none"),
        (
            r#"{{ range $k, $v := dict "b" 1 "a" 2 }}{{ $k }}{{ $v }} {{ end }}{{ range 3 }}{{ . }}{{ end }}"#,
            "a2 b1 012",
        ),
        (
            r"{{ range $i, $_ := list 1 2 3 4 }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ if eq $i 3 }}{{ break }}{{ end }}{{ $i }}{{ end }}",
            "02",
        ),
        (
            r#"{{ define "x" }}<{{ . }}{{ $ }}>{{ end }}{{ template "x" 1 }}{{ template "x" }}{{ block "y" 7 }}{{ . }}{{ end }}"#,
            "<11><<no value><no value>>7",
        ),
        (r"{{ $a := 1 }}{{ $b := 2 }}{{ range $a, $b = list 8 }}{{ end }}{{ $a }}{{ $b }}", "08"),
        (
            r#"{{ range .Alerts.Firing }}{{ .Labels.alertname }} {{ $.Status }} {{ .StartsAt.Format "15:04:05.00 Jan _2 2006 MST Z07:00" }}{{ end }}"#,
            "Disk firing 08:42:09.25 Jan 29 2023 UTC Z",
        ),
        (r#"{{ (dict "a" nil).a }} {{ (dict).b }} {{ .GroupLabels.none }}."#, "<no value> <no value> ."),
    ]);
}

#[test]
fn what_alertmanager_adds_works() {
    check_all(&[
        (
            r#"{{ "a b" | title | toUpper }} {{ reReplaceAll "a(.)" "x$1" "abab" }} {{ join "," (stringSlice "a" "b") }}"#,
            "A B xbxb a,b",
        ),
        (
            r#"{{ .CommonLabels.Remove (stringSlice "team") }} {{ .CommonLabels.Names }} {{ .CommonLabels.Values }} {{ .CommonLabels }}"#,
            "cluster=eu [cluster team] [eu core] cluster=eu, team=core",
        ),
        (
            r"{{ (index .Alerts 0).Labels.SortedPairs.Names }} {{ (index .Alerts 0).Labels.SortedPairs }}",
            "[alertname cluster severity] alertname=Disk, cluster=eu, severity=critical",
        ),
        (
            r#"{{ len .Alerts }} {{ .Alerts.Resolved | len }} {{ toJson .GroupLabels }} {{ toJson (list 1 "a<" 1.5 nil true) }}"#,
            r#"2 1 {"cluster":"eu"} [1,"a\u003c",1.5,null,true]"#,
        ),
        (
            r#"{{ (index .Alerts 0).StartsAt | tz "Europe/Berlin" | date "2006-01-02 15:04 MST -0700" }}"#,
            "2023-01-29 09:42 CET +0100",
        ),
        (
            r"{{ since (index .Alerts 0).StartsAt }} {{ since (index .Alerts 0).StartsAt | humanizeDuration }} {{ (since (index .Alerts 0).StartsAt).Seconds }}",
            "1m0s 1m 0s 60",
        ),
        (
            r#"{{ trimSpace "  a " }}|{{ urlUnescape "a%20b+c" }}|{{ append (list 1) 2 3 }}|{{ "aBC dEF" | title }}|{{ match "^a" "abc" }}"#,
            "a|a b c|[1 2 3]|Abc Def|true",
        ),
        (r"{{ (index .Alerts 0).StartsAt }}", "2023-01-29 08:42:09.25 +0000 UTC"),
        (r"{{ (index .Alerts 0).EndsAt.Sub (index .Alerts 0).StartsAt }}", "59m59.75s"),
        (
            r#"{{ .Alerts.Firing "x" }}"#,
            r#"ERROR template: :1:4: executing "" at <.Alerts.Firing>: error calling Firing: wrong number of args for Firing: want 0 got 1"#,
        ),
    ]);
}

#[test]
fn mistakes_show_at_load_with_their_place() {
    let functions = Functions::new();
    let set = TemplateSet::new(Limits::default());
    for (text, place, message) in [
        ("ok {{ nope }}", "1:7", "function \"nope\" not defined"),
        ("a\nb {{ $x }}", "2:6", "undefined variable \"$x\""),
        ("{{ if true }}x", "1:1", "has no {{end}}"),
        ("x\n{{ end }}", "2:1", "unexpected {{end}}"),
        ("{{ if }}{{ end }}", "1:1", "missing value for if"),
        ("{{ \"a", "1:4", "unterminated quoted string"),
        ("{{", "1:1", "unclosed action"),
        ("{{ .A. }}", "1:6", "unexpected"),
        ("{{ 1 | 2 }}", "1:8", "non executable command"),
        ("{{ break }}", "1:1", "outside {{range}}"),
        ("{{ template \"zz\" . }}", "1:3", "template \"zz\" not defined"),
        ("{{ 9223372036854775808 }}", "1:4", "overflows int"),
        ("{{ if true }}{{ define \"a\" }}{{ end }}{{ end }}", "1:14", "unexpected {{define}}"),
        ("{{ (print 1 }}", "1:4", "unclosed left paren"),
        ("{{ \"x\".Foo }}", "1:7", "unexpected ."),
        ("{{ $x = 1 }}", "1:4", "undefined variable"),
        ("{{ nil }}", "1:4", "nil is not a command"),
        ("{{/* a }}", "1:1", "unclosed comment"),
        ("{{ else }}", "1:1", "unexpected {{else}}"),
        ("{{ \u{a0} }}", "1:4", "unrecognized character"),
    ] {
        let error = set.check(text, &functions, &[]).expect_err(text);
        assert_eq!(format!("{}:{}", error.line, error.column), place, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
    set.check("{{ $labels.a }}", &functions, &["$labels"]).expect("a declared variable");
}

/// Prometheus' rule templates: the cases of its own tests and of its documentation.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn prometheus_functions_answer_exactly() {
    let environment = prometheus::Environment { now: 1.5, external_url: "http://testhost:9090/path/prefix".to_owned() };
    let samples = || {
        let sample = |instance: &str, value| {
            prometheus::sample(map(&[("__name__", "metric"), ("instance", instance), ("__value__", "v")]), value)
        };
        Value::list(vec![sample("b", 21.0), sample("a", 11.0)])
    };
    let functions = prometheus::functions(&environment)
        .with("query", move |call| if call.text(0)? == "missing" { Ok(Value::list(vec![])) } else { Ok(samples()) });
    let data =
        prometheus::data(map(&[("instance", "i:9100"), ("job", "node")]), map(&[("region", "eu")]), "http://x", 0.123);
    let set = TemplateSet::new(Limits::default());
    let variables = prometheus::variables(&data);
    let expand = |text: &str| {
        set.expand_with("t", text, Mode::Text, &data, &functions, &variables).unwrap_or_else(|error| error.to_string())
    };
    for (text, expected) in [
        (r#"{{define "x"}}{{.arg0}} {{.arg1}}{{end}}{{template "x" (args 1 "2")}}"#, "1 2"),
        (
            r#"{{ query "m" | first | value }} {{ query "m" | first | label "instance" }} {{ query "m" | first | strvalue }}"#,
            "21 b v",
        ),
        (
            r#"{{ $x := query "m" | first }}{{ $x.Labels.foo }}|{{ query "m" | first | label "foo" }}|{{ $x.Value }}"#,
            "||21",
        ),
        (
            r#"{{ range query "metric" | sortByLabel "instance" }}{{.Labels.instance}}:{{.Value}}: {{end}}"#,
            "a:11: b:21: ",
        ),
        (
            r#"{{ query "missing" | first }}"#,
            r#"template: t:1:22: executing "t" at <first>: error calling first: first() called on vector with no elements"#,
        ),
        (
            "{{ $labels.instance }} of {{ $labels.job }} {{ $labels.nope }}|{{ .Labels.job }} {{ $externalLabels.region }} {{ $externalURL }} {{ $value }} {{ .Value }}",
            "i:9100 of node |node eu http://x 0.123 0.123",
        ),
        (r#"{{ printf "%.2f" $value }} {{ $value | humanizePercentage }}"#, "0.12 12.3%"),
        (
            "{{ humanize 0.0 }}:{{ humanize 1.0 }}:{{ humanize 1234567.0 }}:{{ humanize .12 }}:{{ humanize 9223372036854775807 }}",
            "0:1:1.235M:120m:9.223E",
        ),
        (
            r#"{{ humanize "1234567.0" }} {{ humanize "one" }}"#,
            r#"template: t:1:31: executing "t" at <humanize "one">: error calling humanize: strconv.ParseFloat: parsing "one": invalid syntax"#,
        ),
        (
            "{{ humanize1024 0.0 }}:{{ humanize1024 1048576.0 }}:{{ humanize1024 .12 }}:{{ humanize1024 1234567 }}",
            "0:1Mi:0.12:1.177Mi",
        ),
        (
            "{{ humanizeDuration 0 }}:{{ humanizeDuration 1 }}:{{ humanizeDuration 60 }}:{{ humanizeDuration 90000 }}:{{ humanizeDuration -183845 }}:{{ humanizeDuration 899.99 }}",
            "0s:1s:1m 0s:1d 1h 0m 0s:-2d 3h 4m 5s:14m 59s",
        ),
        (
            "{{ humanizeDuration .1 }}:{{ humanizeDuration .0001 }}:{{ humanizeDuration .12345 }}:{{ humanizeDuration 60.5 }}:{{ humanizeDuration 1.2345 }}:{{ humanizeDuration 12.345 }}",
            "100ms:100us:123.5ms:1m 0s:1.234s:12.35s",
        ),
        (
            r#"{{ humanize "+Inf" }}:{{ humanize1024 "-Inf" }}:{{ humanizeDuration "NaN" }}:{{ humanizeTimestamp "NaN" }}"#,
            "+Inf:-Inf:NaN:NaN",
        ),
        (
            "{{ -0.22222 | humanizePercentage }}:{{ 0.0 | humanizePercentage }}:{{ 0.1234567 | humanizePercentage }}:{{ 1234567 | humanizePercentage }}",
            "-22.22%:0%:12.35%:1.235e+08%",
        ),
        (
            "{{ 1435065584.128 | humanizeTimestamp }}|{{ humanizeTimestamp -1 }}",
            "2015-06-23 13:19:44.128 +0000 UTC|1969-12-31 23:59:59 +0000 UTC",
        ),
        (
            r#"{{ (1435065584.128 | toTime).Format "2006" }} {{ now }} {{ toDuration 90.5 }} {{ (toDuration 90).Minutes }}"#,
            "2015 1.5 1m30.5s 1.5",
        ),
        (
            r#"{{ "aa bb CC" | title }} {{ "aa bb CC" | toUpper }} {{ match "a+" "aa" }} {{ match "a+" "b" }} {{ reReplaceAll "(a)b" "x$1" "ab" }}"#,
            "Aa Bb CC AA BB CC true false xa",
        ),
        (
            r#"{{ graphLink "up" }} {{ tableLink "up == 0" }} {{ pathPrefix }} {{ externalURL }} {{ urlQueryEscape "a b/c" }}"#,
            "/graph?g0.expr=up&g0.tab=0 /graph?g0.expr=up+%3D%3D+0&g0.tab=1 /path/prefix http://testhost:9090/path/prefix a+b%2Fc",
        ),
        (r#"{{ printf "%0.2f" (parseDuration "1h2m10ms") }}"#, "3720.01"),
        (
            r#"{{ "foo.example.com:12345" | stripPort }} {{ "192.0.2.1:12345" | stripPort }} {{ "2001:0DB8::1" | stripPort }} {{ "[2001:0DB8::1]:12345" | stripPort }} {{ "[2001:0DB8::1]::12345" | stripPort }}"#,
            "foo.example.com 192.0.2.1 2001:0DB8::1 2001:0DB8::1 [2001:0DB8::1]::12345",
        ),
        (
            r#"{{ "foo.example.com" | stripDomain }} {{ "foo.example.com:123" | stripDomain }} {{ "192.0.2.1:80" | stripDomain }}"#,
            "foo foo:123 192.0.2.1:80",
        ),
        (
            r#"{{ with query "m" }}{{ . | first | value | humanize }}{{ end }}{{ with query "missing" }}x{{ else }}none{{ end }}"#,
            "21none",
        ),
        ("{{ if gt $value 0.1 }}high{{ end }} {{ $value }}%", "high 0.123%"),
        // Answered by promtool 2.42.
        ("{{ .Labels }} {{ $value | printf \"%5.3f\" }}", "map[instance:i:9100 job:node] 0.123"),
        (r#"{{ title "foo_bar baz-qux x2y ünï" }} | {{ "ßé" | toUpper }}"#, "Foo_bar Baz-Qux X2y Ünï | ßÉ"),
        (
            "{{ 999.99 | humanize }} {{ 999999.0 | humanize }} {{ 0.00001 | humanize }} {{ -1234.5 | humanize }} {{ 1023.9 | humanize1024 }}",
            "1000 1000k 10u -1.234k 1024",
        ),
        (
            "{{ 0.999 | humanizeDuration }} {{ 59.99999 | humanizeDuration }} {{ 1.5e9 | toTime }}",
            "999ms 60s 2017-07-14 02:40:00 +0000 UTC",
        ),
        (
            r#"{{ "axbx" | reReplaceAll "(.)x" "${1}y$0" }} {{ args 1 "a" }} {{ (args 1).nope }}"#,
            "ayaxbybx map[arg0:1 arg1:a] <no value>",
        ),
        (
            "{{ range query \"m\" | sortByLabel \"instance\" }}{{ . }}{{ end }}",
            "{map[__name__:metric __value__:v instance:a] 11}{map[__name__:metric __value__:v instance:b] 21}",
        ),
        (
            "{{ .Foo }}",
            r#"template: t:1:4: executing "t" at <.Foo>: can't evaluate field Foo in type struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }"#,
        ),
        (r#"{{ define "a" }}x{{ . }}{{ end }}{{ $name := "a" }}{{ tmpl $name 3 }}"#, "x3"),
    ] {
        assert_eq!(expand(text), expected, "{text}");
    }
}

/// The shape of the compliance suite's rule: define, args, query and range together.
#[test]
fn a_rule_of_the_alert_generator_suite_expands() {
    let functions = prometheus::functions(&prometheus::Environment::default()).with("query", |call| {
        assert_eq!(call.text(0)?, r#"metric{alertname="A"}"#);
        Ok(Value::list(vec![
            prometheus::sample(map(&[("variant", "two")]), 2.0),
            prometheus::sample(map(&[("variant", "one")]), 1.0),
        ]))
    });
    let data = prometheus::data(map(&[("alertname", "A")]), BTreeMap::new(), "", 15.0);
    let text = r#"{{ define "row" }}{{ .arg0 }}/{{ .arg1 | humanize }};{{ end -}}
{{- range $i, $sample := query (printf "metric{alertname=%q}" $labels.alertname) | sortByLabel "variant" -}}
{{ template "row" (args ($sample | label "variant") ($sample | value)) }}
{{- end }} {{ .Value }}"#;
    let set = TemplateSet::new(Limits::default());
    let variables = prometheus::variables(&data);
    let expanded = set.expand_with("t", text, Mode::Text, &data, &functions, &variables);
    assert_eq!(expanded.as_deref(), Ok("one/1;two/2; 15"));
}

#[test]
fn the_default_templates_run_whole() {
    check_all(&[
        (r#"{{ template "__subject" . }}"#, "[FIRING:1] eu (core)"),
        (
            r#"{{ template "slack.default.fallback" . }}"#,
            "[FIRING:1] eu (core) | http://am.example:9093/#/alerts?receiver=team-x",
        ),
        (r#"{{ template "jira.default.priority" . }}"#, "High"),
    ]);
    let functions = alertmanager::functions(Time::from_unix_nanos(0));
    let mut set = TemplateSet::new(Limits::default());
    set.add("default.tmpl", DEFAULT_TEMPLATES, &functions).expect("parses");
    set.check_calls().expect("every called template exists");
    for name in set.names().filter(|name| name.contains(".default.") && !name.contains("instances")) {
        set.execute(name, Mode::Text, &notification(), &functions).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let html = render_mode(r#"{{ template "email.default.html" . }}"#, Mode::Html).expect("the e-mail");
    assert!(html.contains("disk &lt;full&gt; &amp; hot"), "{html}");
    assert!(
        html.contains(r#"<a href="https://run.example/x?a=1&amp;b=2">https://run.example/x?a=1&amp;b=2</a>"#),
        "{html}"
    );
    assert!(html.contains(r#"href="http://p/graph?g0.expr=up&#43;%3D%3D&#43;0&amp;g0.tab=1""#), "{html}");
    assert!(html.contains("border-left:4px solid #c62828"), "{html}");
}

/// The templates that Alertmanager 0.25 brings, executed here and by `amtool`; skipped where it is not installed.
#[test]
fn the_installed_alertmanager_answers_alike() {
    let folder = std::path::Path::new("/usr/share/prometheus/alertmanager");
    if !folder.join("default.tmpl").exists() {
        return;
    }
    let functions = alertmanager::functions(Time::from_unix_nanos(0));
    let mut set = TemplateSet::new(Limits::default());
    for file in ["default.tmpl", "email.tmpl"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("a template");
        set.add(file, &text, &functions).expect(file);
    }
    let data = file_with_data();
    let names = set.names().filter(|name| name.contains(".default.") && !name.contains("instances"));
    for name in names.map(str::to_owned).collect::<Vec<_>>() {
        for (mode, kind) in [(Mode::Text, "text"), (Mode::Html, "html")] {
            let text = format!("{{{{ template {name:?} . }}}}");
            let output = std::process::Command::new("amtool")
                .args(["template", "render", "--template.glob=/usr/share/prometheus/alertmanager/*.tmpl"])
                .arg(format!("--template.type={kind}"))
                .arg(format!("--template.data={}", data.display()))
                .arg(format!("--template.text={text}"))
                .output()
                .expect("amtool");
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let ours = set.expand(&text, mode, &notification(), &functions).expect(&name);
            assert_eq!(ours.trim_end(), String::from_utf8_lossy(&output.stdout).trim_end(), "{name} as {kind}");
        }
    }
    std::fs::remove_file(data).expect("our file");
    assert!(set.contains("email.default.html") && set.contains("slack.default.title"));
}

/// The notification as the JSON that `amtool` reads.
fn file_with_data() -> std::path::PathBuf {
    let json = crate::json::write(&notification(), 1 << 20).expect("JSON");
    let path = std::env::temp_dir().join(format!("trivium-template-{}.json", std::process::id()));
    std::fs::write(&path, json).expect("a file");
    path
}

#[test]
fn html_is_escaped_by_where_a_value_stands() {
    let html = |text: &str| render_mode(text, Mode::Html).unwrap_or_else(|error| error);
    for (text, expected) in [
        (r#"{{ "<b>" }} {{ "<b>" | safeHtml }} {{ print nil }}{{ (dict).x }}"#, "&lt;b&gt; <b> &lt;nil&gt;"),
        (r#"<a href="{{ "javascript:alert(1)" }}">"#, "<a href=\"#ZgotmplZ\">"),
        (r#"<a href="/x?q={{ "a b&c" }}">"#, "<a href=\"/x?q=a%20b%26c\">"),
        (r#"<a title='{{ "it's" }}' class={{ "a b" }}>"#, "<a title='it&#39;s' class=a&#32;b>"),
        (
            r#"<script>var x = {{ "</script>" }};</script>{{ "<" }}"#,
            "<script>var x = \"\\u003c/script\\u003e\";</script>&lt;",
        ),
        (r#"<p style="color:{{ "red" }};x:{{ "expression(1)" }}">"#, "<p style=\"color:red;x:ZgotmplZ\">"),
        (r#"<!-- {{ "x" }} -->a<title>{{ "<" | safeHtml }}</title>"#, "a<title>&lt;</title>"),
        (r#"<{{ "b" }} <b {{ "onclick" }}=1 {{ "checked" }}>"#, "&lt;b <b ZgotmplZ=1 checked>"),
        (r#"a < b {{ "&" | html }}"#, "a &lt; b &amp;"),
    ] {
        assert_eq!(html(text), expected, "{text}");
    }
}

#[test]
fn nothing_outgrows_its_limit() {
    for text in [
        "{{ range 10000000 }}x{{ end }}",
        "{{ range 2000000 }}{{ end }}",
        r#"{{ $x := "aaaaaaaa" }}{{ range 64 }}{{ $x = print $x $x }}{{ end }}"#,
        "{{ $x := list }}{{ range 100000 }}{{ $x = list $x }}{{ end }}",
        "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list }}{{ range 100000 }}{{ $x = append $x 1 }}{{ end }}",
        r#"{{ printf "%1000000d%1000000d" 1 1 }}"#,
        r#"{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}"#,
        r#"{{ $x := printf "%100000d" 1 }}{{ reReplaceAll " " $x $x }}"#,
        r#"{{ match "(((a{100}){100}){100})" "a" }}"#,
        r#"{{ range 100 }}{{ match (printf "a%d" .) "a" }}{{ end }}"#,
        r#"{{ $x := printf "%900000d" 1 }}{{ range 900000 }}{{ $_ := match "b$" $x }}{{ end }}"#,
        r#"{{ $x := printf "%900000d" 1 }}{{ range 900000 }}{{ $_ := reReplaceAll " " "" $x }}{{ end }}"#,
    ] {
        let error = render_mode(text, Mode::Text).expect_err(text);
        let told = ["limit", "more than", "deeper", "regexp"].iter().any(|word| error.contains(word));
        assert!(told, "{text}: {error}");
    }
    let deep = format!("{}1{}", "{{ if true }}".repeat(60), "{{ end }}".repeat(60));
    assert!(render(&deep).contains("nested deeper"));
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(render(&deep).contains("nested deeper"));
    let long = "x".repeat(300_000);
    assert!(render(&long).contains("at most"));
}

/// Recursion to the last level that is allowed must fit a thread's stack.
#[test]
fn the_deepest_recursion_fits_the_stack() {
    let nested = format!("{}{{{{ template \"r\" . }}}}{}", "{{ if true }}".repeat(40), "{{ end }}".repeat(40));
    let text = format!("{{{{ define \"r\" }}}}{nested}{{{{ end }}}}{{{{ template \"r\" . }}}}");
    let run = std::thread::Builder::new().stack_size(512 * 1024).spawn(move || render(&text)).expect("a thread");
    assert!(run.join().expect("no overflow").contains("nested deeper"));
}

#[test]
fn a_set_holds_what_several_files_define() {
    let functions = Functions::new();
    let mut set = TemplateSet::new(Limits::default());
    set.add("a.tmpl", r#"{{ define "greet" }}hello {{ . }}{{ end }}"#, &functions).expect("parses");
    set.add("b.tmpl", r#"{{ define "both" }}{{ template "greet" . }}!{{ end }}"#, &functions).expect("parses");
    set.check_calls().expect("complete");
    assert_eq!(set.execute("both", Mode::Text, &"you".into(), &functions).as_deref(), Ok("hello you!"));
    assert!(set.add("c.tmpl", "{{ define \"greet\" }}{{ bad }}{{ end }}", &functions).is_err());
    assert_eq!(set.execute("greet", Mode::Text, &"x".into(), &functions).as_deref(), Ok("hello x"));
    set.add("d.tmpl", r#"{{ define "greet" }}hi {{ . }}{{ end }}"#, &functions).expect("parses");
    assert_eq!(set.execute("both", Mode::Text, &"you".into(), &functions).as_deref(), Ok("hi you!"));
}

fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "\n",
        "|",
        ":=",
        "=",
        ",",
        "(",
        ")",
        ".",
        "$",
        "$x",
        ".Alerts",
        ".Firing",
        ".Labels",
        ".SortedPairs",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "nil",
        "true",
        "\"a\"",
        "\"%d%s%v%q%5.2f\"",
        "`r`",
        "'c'",
        "1",
        "-2.5e9",
        "0x",
        "9223372036854775807",
        "printf",
        "print",
        "index",
        "slice",
        "len",
        "eq",
        "lt",
        "and",
        "or",
        "not",
        "html",
        "js",
        "list",
        "dict",
        "append",
        "toJson",
        "join",
        "reReplaceAll",
        "match",
        "date",
        "tz",
        "title",
        "/*",
        "*/",
        "<a href=",
        "\"",
        "'",
        "<script>",
        "<!--",
        "é",
        "\0",
    ]);
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

/// Expressions that parse, so that the functions see every kind of argument.
fn expressions() -> impl Strategy<Value = String> {
    let function = prop::sample::select(vec![
        "printf",
        "print",
        "println",
        "index",
        "slice",
        "len",
        "eq",
        "ne",
        "lt",
        "html",
        "js",
        "urlquery",
        "list",
        "dict",
        "append",
        "toJson",
        "join",
        "reReplaceAll",
        "match",
        "date",
        "tz",
        "since",
        "title",
        "humanizeDuration",
        "stringSlice",
        "urlUnescape",
        "safeHtml",
        "toUpper",
        "and",
        "or",
        "not",
        "call",
    ]);
    let argument = prop::sample::select(vec![
        "nil",
        "true",
        "1",
        "-1",
        "1e300",
        "9223372036854775807",
        "\"%[9]d%*d%-099999d%.999f%x%U%c\"",
        "\"é%\"",
        "\"\"",
        "\"%zz\"",
        "\"(a|b)*\"",
        "\"2006 _2 Jan .000 Z07:00 -07\"",
        "\"Europe/Berlin\"",
        ".Alerts",
        ".Alerts.Firing",
        "(index .Alerts 0).StartsAt",
        "((index .Alerts 0).EndsAt.Sub (index .Alerts 0).StartsAt)",
        ".CommonLabels",
        ".GroupLabels.SortedPairs",
        "(list 1 2)",
        "(dict \"a\" 1)",
        ".",
        "(\"<b>\" | safeHtml)",
    ]);
    (function, prop::collection::vec(argument, 0..5))
        .prop_map(|(function, arguments)| format!("<a href=\"{{{{ {function} {} }}}}\">", arguments.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn token_soup_never_panics(text in soup()) {
        let _result = render_mode(&text, Mode::Text);
        let _result = render_mode(&text, Mode::Html);
    }

    #[test]
    fn an_action_of_soup_never_panics(text in soup()) {
        let text = text.replace("}}", " ");
        let _result = render_mode(&format!("{{{{ {text} }}}}"), Mode::Html);
    }

    #[test]
    fn any_text_never_panics(text in any::<String>(), format in any::<String>()) {
        let _result = render_mode(&text, Mode::Html);
        let _result = render_mode(&format!("{{{{ {text}"), Mode::Text);
        let _result = crate::print::sprintf(&format, &[Value::Int(3), "é".into(), Value::Float(-1e300), Value::Nil], 10_000);
        let _text = Time::from_unix_nanos(1).format(&format);
    }

    #[test]
    fn functions_take_any_arguments(text in expressions()) {
        let _result = render_mode(&text, Mode::Text);
        let _result = render_mode(&text, Mode::Html);
    }
}
