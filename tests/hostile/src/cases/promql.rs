//! Q: PromQL and the Prometheus API.

use crate::case::{Case, Door, Expect, case, text};

const FORM: &str = "application/x-www-form-urlencoded";
const BAD: Expect = Expect::Answer(&[400], "bad_data");

fn query(family: &'static str, text_: impl Into<String>, expect: Expect) -> Case {
    text(family, Door::Promql, text_, expect)
}

fn range(family: &'static str, form: &str, expect: Expect) -> Case {
    text(family, Door::PromqlRange, form, expect)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = selectors();
    cases.extend(ranges());
    cases.extend(sizes());
    cases.extend(expressions());
    cases.extend(functions());
    cases.extend(api());
    cases
}

fn selectors() -> Vec<Case> {
    vec![
        // What hostile senders stored: buckets at the ends of what can be said, and names that became one.
        query("Q9", r#"histogram_quantile(0.9, {__name__=~"h|hostile.*"} @ 1700000000)"#, Expect::Answer(&[200], "")),
        query("Q9", r#"sum(rate({__name__=~"h|hostile.*"}[10m] @ 1700000000))"#, Expect::Answer(&[200, 422], "")),
        query("Q9", r#"sum({__name__=~"h|hostile.*"} @ 1700000000)"#, Expect::Answer(&[200, 422], "")),
        query(
            "Q9",
            r#"histogram_fraction(-Inf, 1e300, {__name__=~"h|hostile.*"} @ 1700000000)"#,
            Expect::Answer(&[200], ""),
        ),
        query("Q1", r#"{__name__=~".*"}"#, Expect::Answer(&[400], "must contain at least one non-empty matcher")),
        query("Q1", "{}", Expect::Answer(&[400], "must contain at least one non-empty matcher")),
        query("Q1", r#"{a=""}"#, Expect::Answer(&[400], "must contain at least one non-empty matcher")),
        // As many as there are: the limit of two million is out of reach here; memory is what counts.
        text(
            "Q2",
            Door::PromqlRange,
            "query=%7B__name__%3D~%22.%2B%22%7D&start=1699999000&end=1700003600&step=15",
            Expect::Answer(&[200, 422], ""),
        ),
    ]
}

fn ranges() -> Vec<Case> {
    let times = "start=1700000000&end=1700000600";
    vec![
        query("Q3", "rate(x[100y])", Expect::Answer(&[200], "")),
        query("Q3", "x offset -100y", Expect::Answer(&[200], "")),
        query("Q3", "rate(x[99999999999y])", BAD),
        query("Q3", "x offset 99999999999y", BAD),
        query("Q3", "x[5m:99999999999y]", BAD),
        query("Q3", "x @ 1e300", BAD),
        query("Q3", "x @ NaN", BAD),
        query("Q3", "x[0s]", BAD),
        range("Q4", "query=x&start=2&end=1&step=1", BAD),
        range("Q4", &format!("query=x&{times}&step=0"), BAD),
        range("Q4", &format!("query=x&{times}&step=-1"), BAD),
        range("Q4", &format!("query=x&{times}&step=NaN"), BAD),
        range("Q4", &format!("query=x&{times}&step=1e-9"), BAD),
        range("Q4", &format!("query=x&{times}&step=1e300"), BAD),
        range(
            "Q4",
            "query=x&start=1668464000&end=1700000000&step=0.001",
            Expect::Answer(&[400], "exceeded maximum resolution of 11,000 points"),
        ),
        range("Q4", "query=x&start=-9223372036854775&end=9223372036854775&step=1", BAD),
        range("Q4", "query=x&start=1e300&end=1e301&step=1", BAD),
        range(
            "Q5",
            &format!("query=max_over_time(rate(x%5B5m%5D)%5B30d%3A1s%5D)%5B30d%3A1s%5D&{times}&step=60"),
            Expect::Answer(&[400, 422], ""),
        ),
        range(
            "Q5",
            &format!("query=sum_over_time(vector(1)%5B30d%3A1ms%5D)&{times}&step=1"),
            Expect::Answer(&[422], ""),
        ),
        range(
            "Q5",
            &format!("query=count_over_time(sum_over_time(vector(1)%5B1y%3A1s%5D)%5B1y%3A1s%5D)&{times}&step=1"),
            Expect::Answer(&[422], ""),
        ),
        query("Q5", "absent_over_time(vector(1)[100y:1ms])", Expect::Answer(&[422], "")),
    ]
}

fn sizes() -> Vec<Case> {
    let too_deep = || Expect::Answer(&[400], "nested too deeply");
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        query("Q6", nested("(", "x", ")", 100_000), too_deep()),
        query("Q6", nested("-", "x", "", 100_000), too_deep()),
        query("Q6", nested("+", "1", "", 100_000), too_deep()),
        query("Q6", nested("abs(", "x", ")", 40_000), too_deep()),
        query("Q6", nested("2^", "2", "", 50_000), too_deep()),
        query("Q6", nested("sum(sum(", "x", "))", 10_000), too_deep()),
        query("Q6", "(".repeat(100_000), Expect::Answer(&[400], "")),
        query("Q6", "x[5m:1m]".to_owned() + &"[5m:1m]".repeat(10_000), BAD),
        query("Q6", format!("1{}", " + 1".repeat(800)), Expect::Answer(&[200], "801")),
        query("Q6", format!("1{}", " + 1".repeat(40_000)), too_deep()),
        query("Q6", format!("x{}", " or x".repeat(900)), Expect::Answer(&[200], "")),
        query("Q6", format!("x{}", " or x".repeat(40_000)), too_deep()),
        query("Q6", format!("\"{}\"", "x".repeat(1 << 20)), Expect::Answer(&[400, 413], "")),
        query("Q6", format!("\"{}\"", "x".repeat(300 << 10)), Expect::Answer(&[400], "bytes")),
        query("Q6", format!("sum by ({}x) (x)", "x,".repeat(60_000)), Expect::Answer(&[200, 400], "")),
        query("Q6", "\u{1f600}".repeat(10_000), BAD),
        query("Q6", "\0", BAD),
        query("Q6", "\"\\u{110000}\"", BAD),
    ]
}

fn expressions() -> Vec<Case> {
    let bombs = ["(a{1000}){1000}", r"\p{L}{1000}{100}", "((a{100}){100}){100}"];
    let mut cases: Vec<Case> =
        bombs.map(|bomb| query("Q7", format!("x{{a=~{bomb:?}}}"), Expect::Answer(&[400], ""))).into();
    cases.extend([
        query("Q7", r#"x{a=~"(x+x+)+y"}"#, Expect::Answer(&[200], "")),
        query("Q7", r#"x{a=~"((((((((((a*)*)*)*)*)*)*)*)*)*)*b"}"#, Expect::Answer(&[200], "")),
        query("Q7", format!("x{{a=~\"{}z\"}}", "abcdefgh|".repeat(12_000)), Expect::Answer(&[200], "")),
        query("Q7", format!("x{{a=~\"{}{}\"}}", "(".repeat(50_000), ")".repeat(50_000)), Expect::Answer(&[400], "")),
        query("Q7", r#"label_replace(vector(1),"a","$1","b","(a{1000}){1000}")"#, Expect::Answer(&[400, 422], "")),
        // Each of them is below the limit of one, all of them would take gigabytes.
        query("Q7", format!("x{{{}b=\"c\"}}", "a=~\"(a{500}){100}\",".repeat(2_000)), Expect::Answer(&[400], "")),
        query("Q7", format!("x{{{}b=\"c\"}}", "a=~\"[a-z]+[0-9]\",".repeat(1_000)), Expect::Answer(&[200], "")),
    ]);
    cases.push(case(
        "Q7",
        "2,000 expressions near the limit, as match[]",
        Door::Post("/prometheus/api/v1/series", FORM),
        |_| "match[]=x%7Ba%3D~%22(a%7B500%7D)%7B100%7D%22%7D&".repeat(2_000).into_bytes(),
        Expect::Answer(&[400], ""),
    ));
    cases
}

fn functions() -> Vec<Case> {
    let ok = || Expect::Answer(&[200], "success");
    let refused = || Expect::Answer(&[400, 422], "");
    vec![
        query("Q8", r#"count_values("v", {__name__=~".+"})"#, Expect::Answer(&[200, 422], "")),
        query("Q8", "topk(1e18, vector(1))", ok()),
        query("Q8", "topk(1e300, vector(1))", refused()),
        query("Q8", "topk(-1e18, vector(1))", ok()),
        query("Q8", "topk(NaN, vector(1))", refused()),
        query("Q8", "quantile(NaN, vector(1))", ok()),
        query(
            "Q8",
            format!("label_join(vector(1), \"a\", \",\", {}\"b\")", "\"b\",".repeat(10_000)),
            Expect::Answer(&[200, 400], ""),
        ),
        query(
            "Q8",
            format!("label_replace(vector(1), \"a\", \"{}\", \"b\", \"\")", "$0".repeat(50_000)),
            Expect::Answer(&[200, 400], ""),
        ),
        query("Q9", "absent(no_such_metric)", ok()),
        query("Q9", "histogram_quantile(NaN, vector(1))", ok()),
        query("Q9", "1 / 0", ok()),
        query("Q9", "0 % 0", ok()),
        query("Q9", "clamp(vector(1), Inf, -Inf)", ok()),
        query("Q9", "round(vector(1e308), 1e-308)", ok()),
        query("Q9", "days_in_month(vector(1e300))", ok()),
        query("Q9", "predict_linear(x[5m], 1e308)", ok()),
        query("Q9", "double_exponential_smoothing(x[5m], 2, 3)", refused()),
        text("Q9", Door::Get, "/prometheus/api/v1/query?query=1&time=1.7976931348623157e308", BAD),
        text("Q9", Door::Get, "/prometheus/api/v1/query?query=1&time=NaN", BAD),
        text("Q9", Door::Get, "/prometheus/api/v1/query?query=x&time=9223309901257", Expect::Answer(&[200, 400], "")),
        text("Q9", Door::Get, "/prometheus/api/v1/query?query=x&time=-9223309901257", Expect::Answer(&[200, 400], "")),
    ]
}

fn api() -> Vec<Case> {
    let post = |path, what: &str, body: String, expect| {
        case("Q10", what.to_owned(), Door::Post(path, FORM), move |_| body.clone().into_bytes(), expect)
    };
    vec![
        post(
            "/prometheus/api/v1/query",
            "two queries: the first counts",
            "query=1&query=2".into(),
            Expect::Answer(&[200], "\"1\""),
        ),
        post(
            "/prometheus/api/v1/series",
            "5 MiB of match[]",
            "match[]=x&".repeat(512 << 10),
            Expect::Answer(&[400, 413], ""),
        ),
        post(
            "/prometheus/api/v1/series",
            "5,000 selectors",
            "match[]=x&".repeat(5_000),
            Expect::Answer(&[200, 400], ""),
        ),
        post(
            "/prometheus/api/v1/labels",
            "match[] of everything",
            "match[]=%7B__name__%3D~%22.%2B%22%7D".into(),
            Expect::Answer(&[200], ""),
        ),
        post("/prometheus/api/v1/parse_query", "100,000 parentheses", format!("query={}", "(".repeat(100_000)), BAD),
        post(
            "/prometheus/api/v1/format_query",
            "a long chain",
            format!("query=1{}", "%2B1".repeat(900)),
            Expect::Answer(&[200], ""),
        ),
        post(
            "/prometheus/api/v1/query_exemplars",
            "exemplars of all time",
            "query=x&start=-9e15&end=9e15".into(),
            Expect::Answer(&[200, 400], ""),
        ),
        text("Q10", Door::Get, "/prometheus/api/v1/query?query=%ff%fe", Expect::Answer(&[400], "")),
        text("Q10", Door::Get, "/prometheus/api/v1/label/..%2f..%2fetc/values", Expect::Answer(&[200, 400], "")),
        text("Q10", Door::Get, "/prometheus/api/v1/query?query=1&timeout=99999999999y", BAD),
        text("Q10", Door::Get, "/prometheus/api/v1/query?query=1&timeout=-1", Expect::Answer(&[200, 400, 503], "")),
        text("F6", Door::Get, "/prometheus/api/v1/series?match[]=x&limit=-1", BAD),
        text(
            "F6",
            Door::Get,
            "/prometheus/api/v1/series?match[]=x&limit=1000000000000000000",
            Expect::Answer(&[200], ""),
        ),
        text("F6", Door::Get, "/prometheus/api/v1/labels?limit=99999999999999999999", BAD),
        text(
            "F6",
            Door::Get,
            "/prometheus/api/v1/metadata?limit=1000000000000000000&limit_per_metric=1000000000000000000",
            Expect::Answer(&[200], ""),
        ),
    ]
}
