//! F: log search, trace search, correlation.

use crate::case::{Case, Door, Expect, text};

const BAD: Expect = Expect::Answer(&[400], "error");
const OK: Expect = Expect::Answer(&[200], "");
/// Read leniently or refused, as the grammar has it.
const EITHER: Expect = Expect::Answer(&[200, 400], "");

fn search(family: &'static str, query: impl Into<String>, expect: Expect) -> Case {
    text(family, Door::LogSearch, query, expect)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = syntax();
    cases.extend(sizes());
    cases.extend(patterns());
    cases.extend(parameters());
    cases
}

fn syntax() -> Vec<Case> {
    let mut cases: Vec<Case> =
        ["\"unclosed", "(((", "a)", "x:[a TO", "x:[1* TO 5]"].map(|query| search("F1", query, BAD)).into();
    for query in [
        "field:",
        "AND",
        "OR OR",
        "\\",
        "NOT",
        "+",
        "-",
        "x:>",
        "x:>=abc",
        "\0",
        "/unclosed",
        "\u{202e}",
        "a:b:c:d",
        "\u{1f600}:\u{1f600}",
    ] {
        cases.push(search("F1", query, EITHER));
    }
    cases.push(search("F1", "x".repeat(11 << 10), Expect::Answer(&[400], "bytes")));
    for field in [
        "../x",
        "__proto__",
        "constructor",
        "'",
        "\"",
        "größe",
        "\u{1f600}",
        "$bytes",
        "a.b.c.d.e.f.g",
        "attributes.attributes.x",
    ] {
        cases.push(search("F4", format!("{}:zzz-never-there", field.replace(['\'', '"'], "\\\"")), EITHER));
    }
    cases
}

fn sizes() -> Vec<Case> {
    let exponential = |depth: usize| format!("{}a{}", "(+".repeat(depth), ")".repeat(depth));
    vec![
        search("F2", "(".repeat(9_000), BAD),
        search("F2", format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000)), BAD),
        search("F2", "(".repeat(100_000), Expect::Answer(&[400, 414, 431], "")),
        search("F2", format!("{}a", "NOT ".repeat(2_500)), BAD),
        search("F2", format!("{}a", "-".repeat(10_000)), EITHER),
        search("F2", exponential(60), BAD),
        search("F2", exponential(30), OK),
        search("F2", format!("a{}", " a".repeat(2_000)), BAD),
        search("F2", format!("a{}", " OR a".repeat(1_000)), OK),
        search("F2", format!("({})", "a OR ".repeat(1_500) + "a"), BAD),
    ]
}

fn patterns() -> Vec<Case> {
    vec![
        search("F3", "*", OK),
        search("F3", "*a*", OK),
        search("F3", "?????", OK),
        search("F3", "/.*/", OK),
        search("F3", "/(a{1000}){1000}/", BAD),
        search("F3", r"/\p{L}{1000}{1000}/", BAD),
        search("F3", "/(x+x+)+y/", OK),
        search("F3", "/((((((((((a*)*)*)*)*)*)*)*)*)*)*b/", OK),
        search("F3", "a~9999", EITHER),
        search("F3", "\"a b\"~4294967295", EITHER),
        search("F3", format!("{}b", "*a".repeat(4_000)), EITHER),
        search("F3", format!("{}b", "?".repeat(9_000)), EITHER),
        search("F3", "*a ".repeat(100), BAD),
        search("F3", "/a/ ".repeat(100), BAD),
        search("F3", format!("/{}z/", "(a{100}){10}|".repeat(700)), EITHER),
        search("F3", format!("\"{}\"", "a ".repeat(4_000)), EITHER),
    ]
}

fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (parameters, expect) in [
        ("limit=1000000000", BAD),
        ("limit=-1", BAD),
        ("limit=1000000000000000000", BAD),
        ("limit=1e3", BAD),
        ("from=1000000000", OK),
        ("histogram=10000000", BAD),
        ("histogram=true&interval=1ns&start=2022-01-01&end=2023-12-31", Expect::Answer(&[200, 400, 422], "")),
        ("interval=0s", BAD),
        ("interval=99999999999999999999w", BAD),
        ("facets=body,body,body,body,body", EITHER),
        ("facets=body&facet_values=1000000000", BAD),
        ("order=sideways", BAD),
        ("cursor=rubbish", BAD),
        ("cursor=%00%ff", BAD),
        ("cursor=9223372036854775807.18446744073709551615.4294967295", EITHER),
        ("start=now&end=now-1h", BAD),
        ("start=1e300", BAD),
        ("start=9999-12-31T23:59:59Z", BAD),
        ("start=-9223372036854775808&end=9223372036854775807", OK),
        ("timeout=0s", Expect::Answer(&[200, 400, 504], "")),
        ("timeout=1000000h", EITHER),
        ("query=%ff%fe", EITHER),
        ("query=a&query=b", EITHER),
    ] {
        cases.push(text("F5", Door::Get, format!("/api/v1/logs?{parameters}"), expect));
    }
    cases.push(text("F5", Door::Get, format!("/api/v1/logs?facets={}", "a,".repeat(5_000)), BAD));
    for (path, expect) in [
        ("/api/v1/traces?limit=-1", BAD),
        ("/api/v1/traces?limit=0", BAD),
        ("/api/v1/traces?limit=1000000000000000000", BAD),
        ("/api/v1/traces?min_duration=99999999999w", EITHER),
        ("/api/v1/traces?min_duration=-5ms", BAD),
        ("/api/v1/traces?status=99", BAD),
        ("/api/v1/traces/00000000000000000000000000000000", Expect::Answer(&[400, 404], "")),
        ("/api/v1/traces/xyz", BAD),
        ("/api/v1/traces/a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1?limit=1000000000", BAD),
        (
            "/api/v1/traces/a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1?offset=18446744073709551615",
            Expect::Answer(&[200, 404], ""),
        ),
        ("/api/v1/traces/a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1?offset=99999999999999999999", BAD),
        ("/api/v1/services?start=x", BAD),
        ("/api/v1/correlate/a", EITHER),
        ("/api/v1/correlate/%00", EITHER),
        ("/api/v1/correlate/../../etc/passwd", EITHER),
        ("/api/v1/correlate/..%2f..%2fetc%2fpasswd", EITHER),
        ("/api/v1/correlate/%20", BAD),
    ] {
        cases.push(text("F6", Door::Get, path, expect));
    }
    cases.push(text(
        "F6",
        Door::Get,
        format!("/api/v1/correlate/{}", "a".repeat(20_000)),
        Expect::Answer(&[422], "limit_exceeded"),
    ));
    cases.push(text(
        "F6",
        Door::Get,
        format!("/api/v1/correlate/{}", "a1-".repeat(3_000)),
        Expect::Answer(&[422], "limit_exceeded"),
    ));
    cases
}
