use super::{ParseOptions, parse};

fn printed(query: &str) -> String {
    match parse(query, &ParseOptions::EXPERIMENTAL) {
        Ok(expr) => expr.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn expressions_are_printed_as_prometheus_prints_them() {
    for (query, expected) in [
        ("foo", "foo"),
        ("-1^2", "-1 ^ 2"),
        ("2^3^4", "2 ^ 3 ^ 4"),
        ("a + b*c == bool d", "a + b * c == bool d"),
        ("SUM BY (a, \"b.c\") (x)", "sum by (a, \"b.c\") (x)"),
        ("sum(x) without (a,)", "sum without (a) (x)"),
        ("{\"my.metric\", \"a.b\"='c'}", "{\"a.b\"=\"c\",__name__=\"my.metric\"}"),
        ("x[300]", "x[5m]"),
        ("x[5m:] offset -1h30m", "x[5m:] offset -1h30m"),
        ("x @ start() offset 5m", "x @ start() offset 5m"),
        ("x[5m+2*step()]", "x[5m + 2 * step()]"),
        ("x offset (5m*2)", "x offset (5m * 2)"),
        ("x[max(step(),5m)] anchored", "x[max(step(), 5m)] anchored"),
        ("a + on(x) group_left(y) fill_right(0) b", "a + on (x) group_left (y) fill_right (0) b"),
        ("a + fill(-1) b", "a + fill (-1) b"),
        ("fill + fill", "fill + fill"),
        ("h </ 5", "h </ 5"),
        ("sum + min", "sum + min"),
        ("topk(5, foo{a=~\"b.*\"}) # comment", "topk(5, foo{a=~\"b.*\"})"),
        ("0x1F + 1e3 + 1_000", "31 + 1000 + 1000"),
        ("count_values(\"v\", start)", "count_values(\"v\", start)"),
        ("x offset -2^2", "x offset -2s ^ 2"),
        ("5m * 2", "5m * 2"),
        ("start() + end() + step()", "start() + end() + step()"),
        ("label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")", "label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")"),
        ("x smoothed", "x smoothed"),
        (
            "quantile by (a) (0.5, x[1h:30s] @ 10.5)",
            "1:23: parse error: expected type instant vector in aggregation expression, got range vector",
        ),
    ] {
        assert_eq!(printed(query), expected, "{query}");
    }
}

#[test]
fn what_was_printed_parses_to_the_same() {
    for query in ["-(a^b)", "(-a)^b", "a - (b - c)", "sum(rate(x{a!=\"b\"}[5m] @ 1.000 offset 1m)) by (le) > bool 0"] {
        let once = printed(query);
        assert_eq!(printed(&once), once);
    }
}

#[test]
fn errors_tell_the_place() {
    for (query, expected) in [
        ("", "1:1: parse error: no expression found in input"),
        ("foo(x)", "1:1: parse error: unknown function with name \"foo\""),
        ("rate(x)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"),
        ("{a=\"\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("(a", "1:3: parse error: unclosed left parenthesis"),
        ("a b", "1:3: parse error: unexpected identifier \"b\""),
        (
            "sum(a, b)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        ("x offset 5m offset 5m", "1:1: parse error: offset may not be set multiple times"),
        ("rate(x[5m],)", "1:11: parse error: trailing commas not allowed in function call args"),
        ("x[0]", "1:3: parse error: duration must be greater than 0"),
        ("x[1e-320]", "1:3: parse error: duration must be greater than 0"),
        ("a\n  b", "2:3: parse error: unexpected identifier \"b\""),
        ("{a=~\"(\"}", "1:2: parse error: error parsing regexp: unclosed group: `(`"),
    ] {
        assert_eq!(printed(query), expected, "{query}");
    }
}

#[test]
fn experiments_can_be_off() {
    for query in ["limitk(1, x)", "info(x)", "x[5m+1m]", "x[5m] anchored", "a + fill(1) b"] {
        assert!(parse(query, &ParseOptions::STABLE).is_err(), "{query}");
        assert!(parse(query, &ParseOptions::EXPERIMENTAL).is_ok(), "{query}");
    }
}

#[test]
fn nothing_overflows_the_stack() {
    let chain = vec!["a"; 100_000].join("+");
    for query in [
        "(".repeat(100_000),
        "-".repeat(100_000),
        chain,
        format!("x[{}", "(".repeat(100_000)),
        format!("x[{}1]", "1+".repeat(100_000)),
        format!("a{}", "[1m:1m]".repeat(100_000)),
    ] {
        assert!(parse(&query, &ParseOptions::EXPERIMENTAL).is_err());
    }
}

#[test]
fn no_input_panics() {
    let alphabet =
        ["a", "(", ")", "{", "}", "[", "]", "1", "5m", "\"", "\\", "é", "=", "~", "+", "-", "@", " offset ", ","];
    let mut state: usize = 1;
    for _ in 0..20_000 {
        let mut query = String::new();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            query.push_str(alphabet[(state >> 33) % alphabet.len()]);
        }
        drop(parse(&query, &ParseOptions::EXPERIMENTAL));
    }
}
