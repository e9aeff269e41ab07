use std::time::{Duration, Instant};

use super::*;

/// Queries and what they mean, as [`Node`] displays it.
const MEANINGS: &[(&str, &str)] = &[
    ("", "all"),
    ("  ", "all"),
    ("*", "all"),
    ("timeout", r#""timeout""#),
    ("card declined", r#"(and "card" "declined")"#),
    ("card AND declined", r#"(and "card" "declined")"#),
    ("card && declined || timeout", r#"(or (and "card" "declined") "timeout")"#),
    ("a OR b c", r#"(or "a" (and "b" "c"))"#),
    ("(a OR b) c", r#"(and (or "a" "b") "c")"#),
    ("NOT a b", r#"(and (not "a") "b")"#),
    ("-a !b -\"c d\" -(e f)", r#"(and (not "a") (not "b") (not "c d") (not (and "e" "f")))"#),
    ("--flag - -> a-b", r#"(and "--flag" "-" "->" "a-b")"#),
    ("+a +(b)", r#"(and "a" "b")"#),
    ("(+(+(+a)))", r#""a""#),
    ("ANDROID ORDER NOTE", r#"(and "ANDROID" "ORDER" "NOTE")"#),
    ("\"AND\"", r#""AND""#),
    ("foo-bar.baz", r#""foo-bar.baz""#),
    ("\"card declined\"", r#""card declined""#),
    (r#""say \"hi\"" a\ b\(c\)\*"#, r#"(and "say \"hi\"" "a b(c)*")"#),
    ("conn* *pool* pay?ent a**b", "(and `conn*` `*pool*` `pay?ent` `a*b`)"),
    ("?????", "`?????`"),
    ("level:error", r#"(severity = "error")"#),
    ("severity:>=warn", r#"(severity ["warn" *])"#),
    ("severity:[warn TO *]", r#"(severity ["warn" *])"#),
    ("service:cart", r#"(service = "cart")"#),
    ("service.name:cart", r#"(service = "cart")"#),
    ("resource.service.name:cart", r#"(service = "cart")"#),
    ("http.route:/api/v1", r#"(http.route = "/api/v1")"#),
    ("http.route:/api/*", "(http.route = `/api/*`)"),
    ("http.route:/^.api/", "(http.route ~ /^.api/)"),
    ("http.status_code:>=500", r#"(http.status_code ["500" *])"#),
    ("code:>5 code:<=7 code:<8 code:=9", r#"(and (code {"5" *]) (code [* "7"]) (code [* "8"}) (code = "9"))"#),
    ("code:> 5", r#"(code {"5" *])"#),
    ("duration:[100 TO 500]", r#"(duration ["100" "500"])"#),
    ("duration:{1 TO 5}", r#"(duration {"1" "5"})"#),
    ("duration:[1 TO 5}", r#"(duration ["1" "5"})"#),
    ("duration:[* TO -5]", r#"(duration [* "-5"])"#),
    (r#"name:["a b" TO "c"]"#, r#"(name ["a b" "c"])"#),
    ("code:-5", r#"(code = "-5")"#),
    ("user.id:*", "(user.id exists)"),
    ("exists:user.id", "(user.id exists)"),
    ("level:(error OR warn)", r#"(or (severity = "error") (severity = "warn"))"#),
    ("code:(>=400 <500 -404)", r#"(and (code ["400" *]) (code [* "500"}) (not (code = "404")))"#),
    (
        "attributes.resource.x:1 resource.k8s.pod.name:y",
        r#"(and (attributes.resource.x = "1") (resource.k8s.pod.name = "y"))"#,
    ),
    ("body:timeout", r#"(body "timeout")"#),
    (r#"body:"card declined" body:*pool* body:/x/i"#, r#"(and (body "card declined") (body `*pool*`) (body /x/i))"#),
    ("body.user.id:7", r#"(body.user.id = "7")"#),
    (r#""odd key":v"#, r#"(odd key = "v")"#),
    (r"a\:b:c", r#"(a:b = "c")"#),
    ("../x:1 __proto__:1 😀:1", r#"(and (../x = "1") (__proto__ = "1") (😀 = "1"))"#),
    ("http://host/path std::io 12:30:45", r#"(and "http://host/path" "std::io" "12:30:45")"#),
    ("/conn(ection)? refused/", "(body /conn(ection)? refused/)"),
    ("/Time/i", "(body /Time/i)"),
    (r"/a\/b/", r"(body /a\/b/)"),
    ("/api/v1/users", r#""/api/v1/users""#),
    ("/ // a", r#"(and "/" "//" "a")"#),
    ("a~9999", r#""a~9999""#),
    ("[main] {x}", r#"(and "[main]" "{x}")"#),
    ("grün 数据 ĐÃ", r#"(and "grün" "数据" "ĐÃ")"#),
];

#[test]
fn queries_mean_what_people_expect() {
    for (query, meaning) in MEANINGS {
        match parse(query) {
            Ok(parsed) => assert_eq!(parsed.node.to_string(), *meaning, "{query}"),
            Err(error) => panic!("{query}: {error}"),
        }
    }
}

/// Queries that cannot be read, the column of the mistake, and a part of the message.
const MISTAKES: &[(&str, usize, &str)] = &[
    ("\"unclosed", 1, "never closed"),
    ("a \"b", 3, "never closed"),
    ("field:", 7, "without a value"),
    ("Error: connection refused", 7, "without a value"),
    ("AND", 1, "AND where"),
    ("a AND", 6, "ends where"),
    ("a OR OR b", 6, "OR where"),
    ("NOT", 4, "ends where"),
    ("(((", 4, "ends where"),
    ("(a", 1, "never closed"),
    ("a)", 2, "without a `("),
    ("()", 2, "`)` where"),
    ("x:[a TO", 3, "not complete"),
    ("x:[a b]", 6, "without TO"),
    ("x:[1 TO 5", 3, "not complete"),
    ("x:[1* TO 5]", 4, "wildcard in a bound"),
    ("x:>", 4, "without a value"),
    ("\\", 1, "without a character"),
    ("ab\\", 3, "without a character"),
    ("severity:>=loud", 12, "no severity"),
    ("/(/", 1, "not valid"),
    ("grün /a{1000}{1000}/", 6, "bytes compiled"),
    ("code:/[/", 6, "not valid"),
];

#[test]
fn mistakes_are_shown_where_they_are() {
    for (query, column, part) in MISTAKES {
        let error = parse(query).expect_err(query);
        assert_eq!(error.column, *column, "{query}: {error}");
        assert!(error.to_string().contains(part), "{query}: {error}");
    }
}

#[test]
fn the_caret_stands_under_the_mistake() {
    let error = parse("grün \"offen").expect_err("an open quote");
    let expected = "cannot read the query at column 6: `\"` is never closed\n  grün \"offen\n       ^\n\
                    hint: add a `\"`, or write \\\" for the character itself";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_long_query_is_cut_around_the_caret() {
    let query = format!("{} \"open {}", "a".repeat(500), "b".repeat(500));
    let text = parse(&query).expect_err("an open quote").to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(text.len() < 400, "{text}");
    let caret = lines[2].chars().position(|char| char == '^').expect("a caret");
    assert_eq!(lines[1].chars().nth(caret), Some('"'), "{text}");
}

#[test]
fn operators_in_lower_case_are_words_with_a_warning() {
    let parsed = parse("card and declined").expect("a valid query");
    assert_eq!(parsed.node.to_string(), r#"(and "card" "and" "declined")"#);
    assert_eq!(parsed.warnings, ["`and` was searched as a word; write AND for the operator"]);
    assert!(parse("sand android").expect("a valid query").warnings.is_empty());
}

/// `level:eror` found nothing, and nothing said why.
#[test]
fn an_unknown_severity_is_told_with_those_that_are_known() {
    for query in ["level:eror", "severity:\"eror\"", "level:=eror", "level:(eror OR warn)"] {
        let warnings = parse(query).expect("a valid query").warnings;
        let [warning] = warnings.as_slice() else { panic!("{query}: {warnings:?}") };
        assert!(warning.starts_with("`eror` is no severity"), "{query}: {warning}");
        assert!(warning.contains("known are trace, debug, info, warn, error, fatal"), "{query}: {warning}");
        assert!(warning.ends_with("did you mean `error`?"), "{query}: {warning}");
    }
    let far = parse("level:audit").expect("a valid query").warnings;
    assert!(far.len() == 1 && far[0].ends_with("or a number from 1 to 24"), "{far:?}");
    for query in ["level:error2 level:Critical level:17 level:unspecified", "level:err* level:*", "severity_text:eror"]
    {
        assert_eq!(parse(query).expect("a valid query").warnings, Vec::<String>::new(), "{query}");
    }
}

#[test]
fn limits_refuse_hostile_queries_at_once() {
    let hostile = [
        "(".repeat(10_000),
        "(".repeat(100_000),
        "NOT ".repeat(2_500),
        "-(".repeat(33),
        format!("{}a{}", "(+".repeat(60), ")".repeat(60)),
        "x".repeat(QUERY_BYTES_MAX + 1),
        "a ".repeat(TERMS_MAX + 1),
        "a* ".repeat(PATTERNS_MAX + 1),
        "/a/ ".repeat(REGEXES_MAX + 1),
        "/x ".repeat(3_000),
        r"\".repeat(9_999),
        format!("\"a b\"~{}", u32::MAX),
    ];
    for query in &hostile {
        let started = Instant::now();
        let outcome = parse(query);
        let taken = started.elapsed();
        assert!(taken < Duration::from_millis(250), "{:.40}… took {taken:?}", query);
        if !query.contains('~') {
            assert!(outcome.is_err(), "{query:.40}… was accepted");
        }
    }
}

#[test]
fn the_deepest_allowed_nesting_is_read() {
    let query = format!("{}a{}", "(".repeat(DEPTH_MAX), ")".repeat(DEPTH_MAX));
    assert_eq!(parse(&query).expect("a valid query").node.to_string(), r#""a""#);
    assert!(parse(&format!("({query})")).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_position_inside(query in "[a-c:\"/\\\\()\\[\\]{}<>=*?+!&|~ \u{e9}ANDORT-]{0,60}") {
        if let Err(error) = parse(&query) {
            proptest::prop_assert!(error.offset <= query.len());
            proptest::prop_assert!(error.column <= query.chars().count() + 1);
        }
    }
}
