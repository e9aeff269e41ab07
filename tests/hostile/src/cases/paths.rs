//! N, X, A: names and paths, and what a browser is told.

use crate::case::{Case, Door, Expect, case, text};

const NOT_THERE: Expect = Expect::Answer(&[400, 404], "");

fn raw(family: &'static str, path: &'static str, headers: &'static str, expect: Expect) -> Case {
    case(
        family,
        path,
        Door::RawApi,
        move |_| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n").into_bytes(),
        expect,
    )
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    // There are no tenants and streams in paths; what the server finds by a name in the path are its assets and pages.
    for path in [
        "/../../../etc/passwd",
        "/assets/../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc/passwd",
        "/assets/%252e%252e%252f%252e%252e%252fetc/passwd",
        "/assets/%2e%2e/index.html",
        "/assets/..\\..\\index.html",
        "/assets/%00",
        "/assets/index.html%00.js",
        "/assets/CON",
        "/assets//etc/passwd",
        "/.git/config",
        "/assets/\u{ff0e}\u{ff0e}/x",
        "/trivium-data/catalog.sqlite",
    ] {
        cases.push(raw("N1", path, "", NOT_THERE));
    }
    cases.push(text("N1", Door::Get, format!("/assets/{}", "a".repeat(20_000)), NOT_THERE));
    for page in ["/logs?query=%3Cscript%3Ealert(1)%3C/script%3E", "/story/%3Cimg%20src=x%3E", "/"] {
        cases.push(raw("X1", page, "", Expect::Answer(&[200], "content-security-policy: default-src 'self'")));
    }
    for page in ["/?next=//evil.example", "/logs?next=/%5Cevil.example"] {
        cases.push(raw("X2", page, "", Expect::Answer(&[200], "content-security-policy")));
    }
    cases.push(raw(
        "X1",
        "/api/v1/logs?query=%3Cscript%3E%22",
        "",
        Expect::Answer(&[200, 400], "content-type: application/json"),
    ));
    cases.push(raw("X1", "/api/v1/traces/%3Cscript%3E", "", Expect::Answer(&[400], "content-type: application/json")));
    cases.push(raw(
        "X1",
        "/prometheus/api/v1/query?query=%3Cscript%3E",
        "",
        Expect::Answer(&[400], "content-type: application/json"),
    ));
    // Reading never changes anything: what changes takes POST or DELETE only.
    for path in ["/-/flush", "/-/reload", "/api/v1/rules/backtest", "/prometheus/api/v1/write", "/api/v1/sql"] {
        cases.push(raw("A2", path, "", Expect::Answer(&[405], "")));
    }
    cases.push(raw("A3", "/api/v1/logs", "origin: https://app.evil.example\r\n", Expect::Answer(&[200], "")));
    cases
}
