//! The rows D1 to D12 of the catalogue of bad input (`reliability.md` section 5): what a statement must never reach or
//! break, and the answer it gets.

use std::time::Duration;

use arrow::array::{Float64Array, Int64Array, RecordBatch};
use trivium_model::{ErrorKind, SignalKind};

use super::*;
use crate::testing::{Fixture, NOW, answer, ids, integers, request, rows, text, times, trace_id};

/// 10,000 spans, enough to be expensive when multiplied.
fn many() -> RecordBatch {
    let count = 10_000_u32;
    let traces: Vec<String> = (0..count).map(trace_id).collect();
    rows(
        SignalKind::Traces,
        vec![
            ("time", times(&vec![NOW; count as usize])),
            ("duration", integers(&(0..i64::from(count)).collect::<Vec<_>>())),
            ("name", text(&vec!["a span"; count as usize])),
            ("trace_id", ids(16, &traces.iter().map(String::as_str).collect::<Vec<_>>())),
        ],
    )
}

fn engine() -> Engine {
    Fixture::default().buffer(SignalKind::Traces, many()).engine()
}

/// A pool of a few megabytes.
fn small_engine() -> Engine {
    let config = QueryConfig { memory_bytes_max: 4 << 20, ..QueryConfig::default() };
    Fixture::default().buffer(SignalKind::Traces, many()).engine_with(&config)
}

async fn error_of(engine: &Engine, sql: &str) -> Error {
    match answer(engine, sql).await {
        Ok(lines) => panic!("{sql} was answered: {} rows", lines.len()),
        Err(error) => error,
    }
}

async fn refused(engine: &Engine, sql: &str, kind: ErrorKind, expected: &str) {
    let error = error_of(engine, sql).await;
    assert_eq!(error.kind(), kind, "{sql}: {error:?}");
    let text = match &error {
        Error::InvalidArgument { message, hint } => format!("{message} {}", hint.as_deref().unwrap_or_default()),
        other => other.to_string(),
    };
    assert!(text.contains(expected), "{sql}: {text}");
}

#[tokio::test]
async fn d1_d2_d3_only_one_statement_that_reads() {
    let engine = engine();
    let target = std::env::temp_dir().join("trivium-hostile-copy.parquet");
    let copy = format!("COPY (SELECT 1) TO '{}'", target.display());
    refused(&engine, "SELECT 1; DROP TABLE logs", ErrorKind::InvalidArgument, "2 statements").await;
    for sql in
        [copy.as_str(), "CREATE VIEW v AS SELECT 1", "SET datafusion.execution.batch_size = 1", "SHOW ALL", "BEGIN"]
    {
        assert!(matches!(error_of(&engine, sql).await, Error::ReadOnly { .. }), "{sql}");
    }
    assert!(!target.exists(), "COPY wrote a file");
}

#[tokio::test]
async fn d4_no_file_and_no_network() {
    let engine = engine();
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 's3://other/bucket.parquet'",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM 'trivium://parts/x'",
        "SELECT * FROM 'file.parquet'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
    ] {
        assert_eq!(error_of(&engine, sql).await.kind(), ErrorKind::InvalidArgument, "{sql}");
    }
    let local = ObjectStoreUrl::local_filesystem();
    assert!(engine.sessions.template.runtime_env().object_store(&local).is_err(), "the file system is reachable");
}

#[tokio::test]
async fn d5_no_other_tenant() {
    let engine = engine();
    let mut texts = Vec::new();
    for name in ["other_tenant.logs", "no_such_tenant.logs", "\"../t2\".logs", "pg_catalog.pg_class", "a.b.logs"] {
        let error = error_of(&engine, &format!("SELECT * FROM {name}")).await.to_string();
        texts.push(error.replace(&name.replace('"', ""), "NAME"));
    }
    texts.dedup();
    assert_eq!(texts, ["there is no table \"NAME\""]);
    let mut other = request("SELECT count(*) FROM spans");
    other.tenant = TenantId(7);
    let mut answer_of_other = engine.run(&other).await.expect("an answer");
    let batch = answer_of_other.next().await.expect("a row").expect("a row");
    assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![0]) as &dyn arrow::array::Array);
    let own =
        answer(&engine, "SELECT DISTINCT table_catalog, table_schema FROM information_schema.tables ORDER BY 1, 2")
            .await;
    assert_eq!(own.expect("own tables"), ["trivium|information_schema", "trivium|public"]);
}

#[tokio::test]
async fn d6_nothing_that_makes_much_out_of_little() {
    let engine = engine();
    for sql in [
        "SELECT * FROM generate_series(1, 1000000000000)",
        "SELECT * FROM range(1, 1000000000000)",
        "SELECT generate_series(1, 1000000000000)",
        "SELECT range(1, 1000000000000)",
        "SELECT array_repeat('x', 2000000000)",
        "SELECT array_resize([1], 2000000000, 0)",
        "SELECT repeat('x', 2147483647)",
        "SELECT repeat(repeat('x', 100000), 100000)",
        "SELECT lpad('x', 2147483647, 'y')",
        "SELECT rpad(name, 2147483647) FROM spans",
        "SELECT repeat(name, 1000000) FROM spans",
        "SELECT replace(repeat('a', 100000), 'a', repeat('b', 100000))",
        "SELECT regexp_replace(repeat('a', 100000), 'a', repeat('b', 100000), 'g')",
        "SELECT concat(a, a, a, a, a) FROM (SELECT concat(a, a, a, a) AS a FROM (SELECT repeat('x', 30000000) AS a))",
        "SELECT a || a || a || a FROM (SELECT a || a || a AS a FROM (SELECT repeat('x', 30000000) AS a))",
    ] {
        assert_eq!(error_of(&engine, sql).await.kind(), ErrorKind::InvalidArgument, "{sql}");
    }
    let bomb = "SELECT string_agg(repeat(name, 1000), ',') FROM spans";
    assert_eq!(error_of(&small_engine(), bomb).await.kind(), ErrorKind::LimitExceeded);
    let fine = "SELECT length(repeat('ab', 3) || 'c'), lpad('7', 3, '0'), concat('a', NULL, 'b'), 'a' || NULL, replace('aba', 'a', 'xy')";
    assert_eq!(answer(&engine, fine).await.expect("an answer"), ["7|007|ab|null|xybxy"]);
}

#[tokio::test]
async fn d7_bounded_size_and_no_recursion() {
    let engine = engine();
    let chain = |piece: &str, times: usize| format!("SELECT 1 WHERE {}true", piece.repeat(times));
    for sql in [
        chain("true OR ", 20_000),
        format!("SELECT {}1", "1 + ".repeat(2_000)),
        format!("SELECT {}1{}", "(".repeat(1_000), ")".repeat(1_000)),
        format!("SELECT 1 FROM {}", vec!["spans"; 20].join(" CROSS JOIN ")),
    ] {
        assert_eq!(
            error_of(&engine, &sql).await.kind(),
            ErrorKind::LimitExceeded,
            "{}",
            sql.get(..60).unwrap_or_default()
        );
    }
    let recursive = "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t) SELECT * FROM t";
    refused(&engine, recursive, ErrorKind::InvalidArgument, "RECURSIVE").await;
}

/// Just within the limits: planned, run and dropped without exhausting a stack.
#[tokio::test]
async fn d7_the_deepest_statements_that_are_admitted_are_answered() {
    let engine = engine();
    let or = (0..330).map(|i| format!("duration = {i}")).collect::<Vec<_>>().join(" OR ");
    let and = (0..330).map(|i| format!("duration <> {i}")).collect::<Vec<_>>().join(" AND ");
    let list = (0..9_000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let cases = "CASE WHEN duration = -1 THEN 0 ELSE ";
    for (sql, expected) in [
        (format!("SELECT count(*) FROM spans WHERE {or}"), "330"),
        (format!("SELECT count(*) FROM spans WHERE {and}"), "9670"),
        (format!("SELECT count(*) FROM spans WHERE duration IN ({list})"), "9000"),
        (format!("SELECT {}1 FROM spans LIMIT 1", "1 + ".repeat(990)), "991"),
        (format!("SELECT min({}1) FROM spans", "duration + ".repeat(490)), "1"),
        (format!("SELECT length({}'') FROM spans LIMIT 1", "name || ".repeat(490)), "2940"),
        (format!("SELECT {}duration{} FROM spans ORDER BY duration LIMIT 1", "abs(".repeat(60), ")".repeat(60)), "0"),
        (format!("SELECT {}7{} FROM spans LIMIT 1", cases.repeat(60), " END".repeat(60)), "7"),
        (format!("SELECT count(*) FROM ({})", vec!["SELECT 1"; 300].join(" UNION ALL ")), "300"),
        (format!("SELECT {}count(*) FROM spans{}", "* FROM (SELECT ".repeat(60), ")".repeat(60)), "10000"),
    ] {
        let lines = answer(&engine, &sql).await;
        let beginning = sql.get(..90).unwrap_or(&sql);
        assert_eq!(lines.unwrap_or_else(|error| panic!("{beginning}: {error:?}")), [expected], "{beginning}");
    }
    for sql in [format!("SELECT {} true", "NOT ".repeat(990)), format!("SELECT {}1", "- ".repeat(990))] {
        // Answered or refused by the parser's own bound, but never a crash.
        drop(answer(&engine, &sql).await);
    }
}

#[tokio::test]
async fn d7_a_cross_join_ends_at_its_deadline() {
    let engine = engine();
    let mut asked =
        request("SELECT count(*) FROM spans a, spans b, spans c WHERE a.duration + b.duration + c.duration = 7");
    asked.timeout = Some(Duration::from_millis(300));
    let started = std::time::Instant::now();
    let error = match engine.run(&asked).await {
        Err(error) => error,
        Ok(mut answer) => answer.next().await.expect("an end").expect_err("a deadline"),
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
}

#[tokio::test]
async fn d8_memory_is_bounded() {
    let engine = small_engine();
    for sql in [
        "SELECT array_agg(a.trace_id) FROM spans a CROSS JOIN spans b",
        "SELECT count(DISTINCT hex(a.trace_id) || hex(b.trace_id)) FROM spans a CROSS JOIN spans b",
        "SELECT max(r) FROM (SELECT row_number() OVER (ORDER BY a.duration, b.name) AS r FROM spans a CROSS JOIN (SELECT name FROM spans LIMIT 100) b)",
    ] {
        let error = error_of(&engine, sql).await;
        assert!(matches!(error, Error::Memory { .. }), "{sql}: {error:?}");
    }
    assert_eq!(answer(&engine, "SELECT count(*) FROM spans").await.expect("the pool is free again"), ["10000"]);
}

#[tokio::test]
async fn d9_text_stays_text() {
    let engine = engine();
    for text in ["' OR 1=1 --", "1] OR 1=1; --", "a\\' OR true --"] {
        let literal = text.replace('\'', "''");
        let count = answer(&engine, &format!("SELECT count(*) FROM spans WHERE name = '{literal}'")).await;
        assert_eq!(count.expect("no row"), ["0"], "{text}");
        let search = format!("SELECT count(*) FROM spans WHERE matches(name, '\"{literal}\"')");
        assert_eq!(answer(&engine, &search).await.expect("no row"), ["0"], "{text}");
    }
}

#[tokio::test]
async fn d10_plans_name_no_path() {
    let engine = Fixture::default().part(SignalKind::Traces, many()).engine();
    let plan = answer(&engine, "EXPLAIN SELECT * FROM spans WHERE duration = 1").await.expect("a plan").join("\n");
    assert!(plan.contains("DataSourceExec"), "{plan}");
    let verbose = answer(&engine, "EXPLAIN VERBOSE SELECT count(*) FROM spans").await.expect("a plan").join("\n");
    for text in [plan, verbose] {
        let folder = std::env::temp_dir().display().to_string();
        assert!(!text.contains(&folder) && !text.contains("columns.parquet"), "{text}");
    }
    assert!(matches!(error_of(&engine, "EXPLAIN ANALYZE SELECT 1").await, Error::ReadOnly { .. }));
}

#[tokio::test]
async fn d11_dropping_an_answer_ends_the_query() {
    let engine = engine();
    let pool = Arc::clone(&engine.sessions.template.runtime_env().memory_pool);
    let sql = "SELECT a.duration, count(*) FROM spans a, spans b, spans c GROUP BY a.duration, b.duration";
    let mut asked = request(sql);
    asked.timeout = Some(Duration::from_secs(60));
    let mut answer = engine.run(&asked).await.expect("a running query");
    let first = tokio::time::timeout(Duration::from_millis(200), answer.next()).await;
    assert!(first.is_err(), "the query ended too soon to be cancelled");
    drop(answer);
    // Its tasks give their memory back as they end.
    let freed = async {
        while pool.reserved() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("the memory is free within seconds");
}

#[tokio::test]
async fn d11_a_full_queue_refuses() {
    let config =
        QueryConfig { concurrency: 1, queue_max: 1, queue_wait: Duration::from_secs(60), ..QueryConfig::default() };
    let admission = crate::admission::Admission::new(&config);
    let first = admission.acquire().await.expect("a permit");
    let second = admission.acquire();
    tokio::pin!(second);
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(admission.acquire().await.expect_err("a full queue").kind(), ErrorKind::ResourceExhausted);
    drop(first);
    let second = second.await.expect("the permit of the first");
    assert_eq!(admission.load(), (1, 0));
    drop(second);
    let impatient = QueryConfig { concurrency: 1, queue_max: 8, queue_wait: Duration::ZERO, ..QueryConfig::default() };
    let admission = crate::admission::Admission::new(&impatient);
    let _first = admission.acquire().await.expect("a permit");
    assert_eq!(admission.acquire().await.expect_err("a long wait").kind(), ErrorKind::ResourceExhausted);
    assert_eq!(admission.load(), (1, 0));
}

#[tokio::test]
async fn d12_values_that_do_not_work_out() {
    let metric =
        rows(SignalKind::Metrics, vec![("value", Arc::new(Float64Array::from(vec![1.0])) as arrow::array::ArrayRef)]);
    let engine = Fixture::default().buffer(SignalKind::Traces, many()).buffer(SignalKind::Metrics, metric).engine();
    for (sql, expected) in [
        ("SELECT 1 / 0", "zero"),
        ("SELECT duration / (duration - duration) FROM spans", "zero"),
        ("SELECT duration % 0 FROM spans", "zero"),
        ("SELECT CAST('abc' AS BIGINT)", "abc"),
        ("SELECT CAST(name AS BIGINT) FROM spans", "a span"),
        ("SELECT CAST('2024-13-45' AS TIMESTAMP)", "2024-13-45"),
        ("SELECT count(*) FROM spans WHERE time > 'not a time'", "not a time"),
        ("SELECT to_timestamp('x')", "x"),
        ("SELECT now() AT TIME ZONE 'Foo/Bar'", "Foo/Bar"),
        ("SELECT abs(-9223372036854775808 + 0 * duration) FROM spans", "overflow"),
        ("SELECT foo FROM spans", "there is no column"),
        ("SELECT durations FROM spans", "did you mean duration?"),
        ("SELECT * FROM span", "there are logs, spans"),
        ("SELECT nosuch(1)", "nosuch"),
        ("SELECT substr(name, -9223372036854775808) FROM spans WHERE substr(1) = 'x'", "substr"),
        ("SELECT factorial(100)", "overflow"),
        ("SELECT regexp_like(name, '(') FROM spans", ""),
        ("SELECT name FROM spans GROUP BY service_name", ""),
        ("SELECT date_trunc('fortnight', time) FROM spans", "fortnight"),
    ] {
        refused(&engine, sql, ErrorKind::InvalidArgument, expected).await;
    }
    // Sums of integers wrap in DataFusion; of floats they become infinite. Both are answers, not crashes.
    assert_eq!(
        answer(&engine, "SELECT 1.0 / 0.0, CAST('NaN' AS DOUBLE), sum(value) * 1e308 * 1e308 FROM metrics")
            .await
            .expect("floats"),
        ["Infinity|NaN|Infinity"]
    );
    assert!(answer(&engine, "SELECT sum(duration + 9223372036854765807 - 10000) FROM spans").await.is_ok());
    assert_eq!(answer(&engine, "SELECT TRY_CAST('abc' AS BIGINT)").await.expect("null"), ["null"]);
}
