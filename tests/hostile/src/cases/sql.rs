//! D: SQL.

use crate::case::{Case, Door, Expect, case, text};

const BAD: Expect = Expect::Answer(&[400], "");
const READ_ONLY: Expect = Expect::Answer(&[400, 403], "read-only");
const NO_TABLE: Expect = Expect::Answer(&[400, 404], "there is no table");
const LIMITED: Expect = Expect::Answer(&[400, 413, 422], "");

fn sql(family: &'static str, statement: impl Into<String>, expect: Expect) -> Case {
    text(family, Door::Sql, statement, expect)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = statements();
    cases.extend(tables());
    cases.extend(growth());
    cases.extend(sizes());
    cases.extend(work());
    cases.extend(values());
    cases
}

fn statements() -> Vec<Case> {
    let mut cases = vec![
        sql("D1", "SELECT 1; DROP TABLE logs", Expect::Answer(&[400], "one statement")),
        sql("D1", "SELECT 1; SELECT 2", Expect::Answer(&[400], "one statement")),
        sql("D1", ";", BAD),
        sql("D1", "", BAD),
        sql("D1", "SELECT 1 -- ; DROP TABLE logs", Expect::Answer(&[200], "")),
    ];
    for statement in [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE t AS SELECT 1",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "DROP TABLE logs",
        "INSERT INTO logs SELECT * FROM logs",
        "COPY (SELECT 1) TO '/tmp/trivium-hostile.csv'",
        "UPDATE logs SET body = ''",
        "DELETE FROM logs",
        "ALTER TABLE logs ADD COLUMN c INT",
        "TRUNCATE TABLE logs",
    ] {
        cases.push(sql("D2", statement, READ_ONLY));
    }
    for statement in [
        "SET datafusion.execution.batch_size = 1",
        "SHOW ALL",
        "SHOW TABLES",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "BEGIN",
        "COMMIT",
        "RESET datafusion.execution.batch_size",
    ] {
        cases.push(sql("D3", statement, READ_ONLY));
    }
    cases.push(sql("D10", "EXPLAIN ANALYZE SELECT * FROM logs", READ_ONLY));
    cases.push(sql("D10", "EXPLAIN EXPLAIN SELECT 1", Expect::Answer(&[400, 403], "")));
    cases.push(case(
        "D10",
        "EXPLAIN shows no paths of ours",
        Door::Sql,
        |_| b"EXPLAIN SELECT * FROM logs".to_vec(),
        Expect::Answer(&[200], "TableScan"),
    ));
    cases
}

fn tables() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "'/etc/passwd'",
        "'file:///etc/passwd'",
        "'s3://other/x.parquet'",
        "'file.parquet'",
        "\"../t2\".logs",
        "other_tenant.logs",
        "pg_catalog.pg_tables",
        "trivium.other.logs",
        "\"/etc/passwd\"",
    ]
    .map(|table| {
        let family = if table.contains(['/', '\'']) && !table.contains("t2") { "D4" } else { "D5" };
        sql(family, format!("SELECT * FROM {table}"), Expect::Answer(&[400, 404], ""))
    })
    .into();
    cases.push(sql(
        "D5",
        "SELECT DISTINCT table_catalog, table_schema FROM information_schema.tables WHERE table_schema <> 'information_schema'",
        Expect::Answer(&[200], r#""rows":[["trivium","public"]]"#),
    ));
    cases.push(sql("D5", "SELECT * FROM t2.secrets", NO_TABLE));
    cases.push(sql(
        "D9",
        "SELECT count(*) FROM logs WHERE body = '1] OR 1=1; --'",
        Expect::Answer(&[200], "[[\"0\"]]"),
    ));
    cases.push(text(
        "D9",
        Door::Get,
        "/api/v1/traces?service=%27%20OR%201%3D1%20--",
        Expect::Answer(&[200], "\"traces\":[]"),
    ));
    cases.push(text(
        "D9",
        Door::Get,
        "/api/v1/traces?operation=%25%27%3B%20DROP%20TABLE%20logs%3B%20--",
        Expect::Answer(&[200], "\"traces\":[]"),
    ));
    cases
}

fn growth() -> Vec<Case> {
    let mut cases = Vec::new();
    for statement in [
        "SELECT * FROM generate_series(1, 1000000000000)",
        "SELECT * FROM range(1, 1000000000000)",
        "SELECT generate_series(1, 1000000000000)",
        "SELECT range(0, 1000000000000)",
        "SELECT unnest(range(0, 1000000000000))",
        "SELECT repeat('x', 2147483648)",
        "SELECT repeat(repeat(repeat('x', 10000), 10000), 10000)",
        "SELECT lpad('x', 2147483647)",
        "SELECT rpad('x', 2147483647, 'yz')",
        "SELECT array_repeat('x', 1000000000)",
        "SELECT array_resize([1], 1000000000, 0)",
        "SELECT array_repeat(array_repeat(array_repeat('x', 10000), 10000), 10000)",
        "SELECT replace(repeat('x', 10000), 'x', repeat('y', 10000))",
        "SELECT regexp_replace(repeat('x', 10000), 'x', repeat('y', 10000), 'g')",
    ] {
        cases.push(sql("D6", statement, LIMITED));
    }
    cases.push(sql(
        "D6",
        "SELECT length(string_agg(repeat(a.body, 100000), '')) FROM logs a CROSS JOIN logs b",
        Expect::Answer(&[200, 400, 413, 422, 504], ""),
    ));
    cases.push(sql(
        "D6",
        "SELECT cardinality(array_agg(repeat(a.service_name, 10000))) FROM metrics a CROSS JOIN logs b",
        Expect::Answer(&[200, 400, 413, 422, 504], ""),
    ));
    cases.push(sql(
        "D6",
        "SELECT max(length(repeat(body, 1000000))) FROM logs",
        Expect::Answer(&[200, 400, 413, 422], ""),
    ));
    cases
}

fn sizes() -> Vec<Case> {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let deep = || Expect::Answer(&[400, 422], "");
    let cross: String = (1..10).map(|number| format!(" CROSS JOIN metrics t{number}")).collect();
    let subqueries = |depth: usize| format!("SELECT {}1{}", "(SELECT ".repeat(depth), ")".repeat(depth));
    let ids: Vec<String> = (0..7_000_u32).map(|number| format!("'{number:032x}'")).collect();
    vec![
        sql("D7", nested("(", "1", ")", 100_000), deep()),
        sql("D7", nested("[", "1", "]", 1_000), deep()),
        sql("D7", nested("CASE WHEN true THEN ", "1", " END", 1_000), deep()),
        sql("D7", nested("abs(", "1", ")", 1_000), deep()),
        sql("D7", nested("NOT ", "true", "", 5_000), deep()),
        sql("D7", nested("- ", "1", "", 5_000), deep()),
        sql("D7", subqueries(60), deep()),
        sql("D7", format!("SELECT 1{}", " + 1".repeat(400)), Expect::Answer(&[200], "401")),
        sql("D7", format!("SELECT 1{}", " + 1".repeat(2_000)), deep()),
        sql("D7", format!("SELECT count(*) FROM logs WHERE {}true", "body = 'a' OR ".repeat(20_000)), deep()),
        sql(
            "D7",
            format!("SELECT count(*) FROM logs WHERE {}false", "severity_number = 1 OR ".repeat(200)),
            Expect::Answer(&[200], ""),
        ),
        sql("D7", format!("SELECT 'a'{}", " || 'a'".repeat(450)), Expect::Answer(&[200], "")),
        sql("D7", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(200)), Expect::Answer(&[200], "")),
        sql("D7", format!("SELECT 1{}", " UNION SELECT 1".repeat(5_000)), deep()),
        sql("D7", format!("SELECT sum(t1.value + t9.value) FROM metrics{cross}"), Expect::Answer(&[422, 504], "")),
        sql("D7", format!("SELECT count(*) FROM logs{}", " CROSS JOIN logs".repeat(40)), deep()),
        sql("D7", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r", deep()),
        sql("D7", doubling(12), deep()),
        sql("D7", format!("SELECT {}", "x".repeat(300 << 10)), deep()),
        sql(
            "D7",
            format!("SELECT count(*) FROM logs WHERE trace_id IN ({})", ids.join(",")),
            Expect::Answer(&[200], "[[\"0\"]]"),
        ),
        sql(
            "D7",
            format!("SELECT count(*) FROM logs WHERE body IN ({})", ids.join(",")),
            Expect::Answer(&[200], "[[\"0\"]]"),
        ),
        sql("D7", format!("SELECT {}1", "1 AS a, ".repeat(400)), Expect::Answer(&[200, 400], "")),
        sql("D7", format!("SELECT {}", vec!["*"; 300].join(", ")), deep()),
        sql(
            "D7",
            format!("SELECT * FROM logs ORDER BY {}", vec!["body"; 400].join(", ")),
            Expect::Answer(&[200, 422], ""),
        ),
        sql(
            "D7",
            format!("SELECT count(*) FROM logs GROUP BY CUBE ({})", columns(20)),
            Expect::Answer(&[400, 422, 504], ""),
        ),
        sql(
            "D7",
            format!("SELECT count(*) FROM logs GROUP BY GROUPING SETS ({})", vec!["(body)"; 400].join(", ")),
            Expect::Answer(&[200, 400, 422, 504], ""),
        ),
    ]
}

/// Each query of the `WITH` is the one before it joined with itself: 2^levels tables.
fn doubling(levels: usize) -> String {
    let first = "WITH t0 AS (SELECT 1 AS a FROM logs)".to_owned();
    let more: String = (1..=levels)
        .map(|level| format!(", t{level} AS (SELECT x.a FROM t{0} x JOIN t{0} y ON x.a = y.a)", level - 1))
        .collect();
    format!("{first}{more} SELECT count(*) FROM t{levels}")
}

fn columns(count: usize) -> String {
    (0..count).map(|number| format!("substr(body, {number})")).collect::<Vec<_>>().join(", ")
}

fn work() -> Vec<Case> {
    let body = |what: &str, body: &str, expect| {
        let body = body.to_owned();
        case("D8", what.to_owned(), Door::SqlBody, move |_| body.clone().into_bytes(), expect)
    };
    vec![
        sql(
            "D8",
            "SELECT a.attributes FROM metrics a CROSS JOIN metrics b ORDER BY a.attributes, b.attributes",
            Expect::Answer(&[422, 504], ""),
        ),
        sql(
            "D8",
            "SELECT count(DISTINCT a.attributes || b.attributes) FROM metrics a CROSS JOIN metrics b",
            Expect::Answer(&[422, 504], ""),
        ),
        sql(
            "D8",
            "SELECT row_number() OVER (ORDER BY a.attributes) FROM metrics a CROSS JOIN metrics b",
            Expect::Answer(&[422, 504], ""),
        ),
        body(
            "a timeout of no time",
            r#"{"sql":"SELECT count(*) FROM metrics a CROSS JOIN metrics b CROSS JOIN metrics c","timeout":"0s"}"#,
            Expect::Answer(&[400, 504], ""),
        ),
        body(
            "a timeout of 1 s",
            r#"{"sql":"SELECT sum(a.value * b.value + c.value) FROM metrics a CROSS JOIN metrics b CROSS JOIN metrics c","timeout":"1s"}"#,
            Expect::Answer(&[504], "cancelled after 1s"),
        ),
        body("a timeout of a year", r#"{"sql":"SELECT 1","timeout":"365d"}"#, Expect::Answer(&[400, 422], "timeout")),
        body("a timeout of -1", r#"{"sql":"SELECT 1","timeout":-1}"#, BAD),
        body("a timeout of 1e300", r#"{"sql":"SELECT 1","timeout":1e300}"#, BAD),
        body(
            "10^18 rows",
            r#"{"sql":"SELECT 1","max_rows":1000000000000000000}"#,
            Expect::Answer(&[400, 422], "max_rows"),
        ),
        body("-1 rows", r#"{"sql":"SELECT 1","max_rows":-1}"#, BAD),
        body("1e30 rows", r#"{"sql":"SELECT 1","max_rows":1e30}"#, BAD),
        body("a member that nobody knows", r#"{"sql":"SELECT 1","tenant":"other"}"#, BAD),
        body("no JSON", "SELECT 1", BAD),
        body("100,000 brackets", &"[".repeat(100_000), BAD),
        body("1 MiB", &format!(r#"{{"sql":"{}"}}"#, "x".repeat(1 << 20)), Expect::Answer(&[413], "")),
        body("half of a surrogate pair", r#"{"sql":"SELECT '\ud800'"}"#, BAD),
        text("D8", Door::Post("/api/v1/sql", "text/plain"), r#"{"sql":"SELECT 1"}"#, Expect::Answer(&[415], "")),
        sql("D8", "SELECT 1 LIMIT 9223372036854775807 OFFSET 9223372036854775807", Expect::Answer(&[200], "")),
        sql("D8", "SELECT 1 LIMIT 99999999999999999999", BAD),
        sql("D8", "SELECT body FROM logs LIMIT -1", BAD),
    ]
}

fn values() -> Vec<Case> {
    let mut cases = vec![
        sql("D12", "SELECT sum(a) FROM (VALUES (9223372036854775807), (1)) AS t(a)", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT 9223372036854775807 + 1", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT 1 / 0", Expect::Answer(&[400], "division by zero")),
        sql("D12", "SELECT 1 % 0", BAD),
        sql("D12", "SELECT -9223372036854775808 / -1", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT abs(-9223372036854775808)", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT CAST('x' AS INT)", BAD),
        sql("D12", "SELECT CAST('2023-99-99' AS TIMESTAMP)", BAD),
        sql("D12", "SELECT TIMESTAMP '9999-12-31 00:00:00'", Expect::Answer(&[200, 400], "")),
        sql(
            "D12",
            "SELECT to_timestamp_nanos(9223372036854775807) + INTERVAL '1000 years'",
            Expect::Answer(&[200, 400], ""),
        ),
        sql("D12", "SELECT now() AT TIME ZONE 'Foo/Bar'", BAD),
        sql("D12", "SELECT date_trunc('fortnight', now())", BAD),
        sql("D12", "SELECT date_bin(INTERVAL '0 seconds', now(), now())", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT INTERVAL '99999999999 years'", BAD),
        sql("D12", "SELECT factorial(1000)", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT chr(99999999999)", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT substr('x', -9223372036854775808, 9223372036854775807)", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT split_part('a,b', ',', -9223372036854775808)", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT power(9223372036854775807, 9223372036854775807)", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT round(1.5, 2147483647), trunc(1.5, -2147483648)", Expect::Answer(&[200, 400], "")),
        sql(
            "D12",
            "SELECT [1,2,3][9223372036854775807], [1,2,3][-9223372036854775808]",
            Expect::Answer(&[200, 400], ""),
        ),
        sql(
            "D12",
            "SELECT array_slice([1,2,3], -9223372036854775808, 9223372036854775807, -1)",
            Expect::Answer(&[200, 400], ""),
        ),
        sql("D12", "SELECT decode('zz', 'hex')", BAD),
        sql("D12", "SELECT count(*) FROM logs WHERE trace_id = 'not hexadecimal'", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT attributes['k'] + 1 FROM logs", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT percentile_cont(2.0) WITHIN GROUP (ORDER BY value) FROM metrics", BAD),
        sql("D12", "SELECT approx_percentile_cont(value, -1) FROM metrics", BAD),
        sql("D12", "SELECT lag(body, -9223372036854775808) OVER () FROM logs LIMIT 1", Expect::Answer(&[200, 400], "")),
        sql("D12", "SELECT ntile(9223372036854775807) OVER () FROM logs LIMIT 1", Expect::Answer(&[200, 400], "")),
        sql(
            "D12",
            "SELECT sum(value) OVER (ROWS BETWEEN 9223372036854775807 PRECEDING AND 9223372036854775807 FOLLOWING) FROM metrics LIMIT 1",
            Expect::Answer(&[200, 400, 422, 504], ""),
        ),
    ];
    for bomb in ["(a{1000}){1000}", r"\p{L}{1000}{1000}", "((a{100}){100}){100}", "("] {
        cases.push(sql("Q7", format!("SELECT count(*) FROM logs WHERE body ~ '{bomb}'"), BAD));
        cases.push(sql("Q7", format!("SELECT regexp_replace(body, '{bomb}', '') FROM logs"), BAD));
    }
    cases.push(sql("Q7", "SELECT count(*) FROM logs WHERE regexp_like(body, '(x+x+)+y')", Expect::Answer(&[200], "")));
    cases.push(sql(
        "Q7",
        "SELECT count(*) FROM logs WHERE regexp_like(body, repeat('(a{100}){100}|', 900))",
        Expect::Answer(&[400, 422], ""),
    ));
    cases.push(sql(
        "Q7",
        "SELECT count(*) FROM metrics WHERE regexp_like(metric_name, '(a{500}){100}' || series_id)",
        Expect::Answer(&[200, 400, 422, 504], ""),
    ));
    cases
}
