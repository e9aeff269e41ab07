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
    assert!(engine.template.runtime_env().object_store(&local).is_err(), "the file system is reachable");
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
        "SELECT to_char(time, repeat('%c', 7000)) FROM spans",
        "SELECT to_char(time, repeat(name, 100000)) FROM spans",
        "SELECT arrow_cast([1], 'FixedSizeList(2147483647, Int64)')",
        "SELECT array_slice([1, 2, 3], 1, 3, 9223372036854775807)",
        "SELECT [1, 2, 3][1:3:9223372036854775807]",
    ] {
        assert_eq!(error_of(&engine, sql).await.kind(), ErrorKind::InvalidArgument, "{sql}");
    }
    for sql in [
        "SELECT [duration]::BIGINT[2147483647] FROM spans",
        "SELECT TRY_CAST([1] AS BIGINT[100000000])",
        "SELECT max(cardinality(x)) FROM (SELECT [[duration]]::BIGINT[10][100] AS x FROM spans)",
        "SELECT 1 WHERE [1]::BIGINT[2000000000] IS NULL OR EXISTS (SELECT [duration]::BIGINT[65] FROM spans)",
    ] {
        assert_eq!(error_of(&engine, sql).await.kind(), ErrorKind::LimitExceeded, "{sql}");
    }
    assert_eq!(answer(&engine, "SELECT [1, 2]::BIGINT[2]").await.expect("an answer"), [r#"["1","2"]"#]);
    assert_eq!(
        answer(&engine, "SELECT to_char(DATE '2024-02-03', '%d.%m.%Y')").await.expect("an answer"),
        ["03.02.2024"]
    );
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

/// The longest statement of a shape that is admitted: `shape` is asked for longer ones until one is refused for its size.
async fn at_the_limit(engine: &Engine, name: &str, shape: impl Fn(usize) -> String + Send + Sync) {
    let fits = |length: usize| !matches!(guard::admit(&shape(length)), Err(Error::Limit { .. }));
    // The parser recurses as well, so it also runs on a thread with room.
    let longest =
        (0..16).rev().fold(0, |length, bit| if fits(length + (1 << bit)) { length + (1 << bit) } else { length });
    assert!(longest > 0, "{name}");
    let started = std::time::Instant::now();
    let mut asked = request(&shape(longest));
    asked.timeout = Some(Duration::from_secs(60));
    let outcome = match engine.run(&asked).await {
        Ok(mut answer) => answer.next().await.map_or(Ok(()), |batch| batch.map(|_| ())),
        Err(error) => Err(error),
    };
    let took = started.elapsed();
    println!("{name}: {longest} {took:?} {}", outcome.as_ref().map_or_else(ToString::to_string, |()| "ok".into()));
    // An answer or a refusal, and that soon.
    assert!(
        matches!(&outcome, Ok(()) | Err(Error::InvalidArgument { .. } | Error::Limit { .. })),
        "{name} of {longest}: {outcome:?}"
    );
    let beyond = error_of(engine, &shape(longest + 1)).await;
    assert!(matches!(beyond, Error::Limit { .. }), "{name} of {}: {beyond:?}", longest + 1);
    assert_eq!(answer(engine, "SELECT 1").await.expect("the engine lives"), ["1"], "{name}");
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

/// The statement of a length.
type Shape = Box<dyn Fn(usize) -> String + Send + Sync>;

/// Every shape of statement, exactly as long as the limits allow, is planned, run and dropped within the stack.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn d7_the_longest_statement_of_each_shape_fits_the_stack() {
    let shapes: Vec<(&str, Shape)> = vec![
        ("and", Box::new(|n| format!("SELECT count(*) FROM spans WHERE {}", vec!["duration > 1"; n].join(" AND ")))),
        (
            "or",
            Box::new(|n| {
                let terms: Vec<String> = (0..n).map(|i| format!("duration = {i}")).collect();
                format!("SELECT count(*) FROM spans WHERE {}", terms.join(" OR "))
            }),
        ),
        (
            "or of names",
            Box::new(|n| {
                let terms: Vec<String> = (0..n).map(|i| format!("name LIKE '%{i}%'")).collect();
                format!("SELECT count(*) FROM spans WHERE {}", terms.join(" OR "))
            }),
        ),
        ("plus of constants", Box::new(|n| format!("SELECT {}1", "1 + ".repeat(n)))),
        ("plus of columns", Box::new(|n| format!("SELECT {}1 FROM spans LIMIT 1", "duration + ".repeat(n)))),
        ("plus of attributes", Box::new(|n| format!("SELECT {}1 FROM spans", "attributes['a'] + ".repeat(n)))),
        ("concatenation", Box::new(|n| format!("SELECT length({}'') FROM spans LIMIT 1", "name || ".repeat(n)))),
        ("not", Box::new(|n| format!("SELECT {}(duration > 1) FROM spans LIMIT 1", "NOT ".repeat(n)))),
        ("minus", Box::new(|n| format!("SELECT {}duration FROM spans LIMIT 1", "- ".repeat(n)))),
        ("casts", Box::new(|n| format!("SELECT duration{} FROM spans LIMIT 1", "::text::bigint".repeat(n)))),
        ("is null", Box::new(|n| format!("SELECT name {} FROM spans LIMIT 1", "IS NULL ".repeat(n)))),
        ("parentheses", Box::new(|n| format!("SELECT {}", nested("(", "1", ")", n)))),
        ("sums in parentheses", Box::new(|n| format!("SELECT {} FROM spans", nested("(1 + ", "duration", ")", n)))),
        ("functions", Box::new(|n| format!("SELECT {} FROM spans LIMIT 1", nested("abs(", "duration", ")", n)))),
        ("coalesce", Box::new(|n| format!("SELECT {} FROM spans", nested("coalesce(", "duration", ", 1)", n)))),
        (
            "between",
            Box::new(|n| {
                format!(
                    "SELECT count(*) FROM spans WHERE {}",
                    nested("(", "duration > 1", " BETWEEN false AND true)", n)
                )
            }),
        ),
        (
            "short lists",
            Box::new(|n| {
                format!(
                    "SELECT count(*) FROM spans WHERE {}",
                    nested("(", "duration > 1", " IN (true, false, NULL))", n)
                )
            }),
        ),
        (
            "case",
            Box::new(|n| {
                format!("SELECT {} FROM spans LIMIT 1", nested("CASE WHEN duration > 1 THEN ", "1", " ELSE 2 END", n))
            }),
        ),
        (
            "case in conditions",
            Box::new(|n| {
                format!("SELECT {} FROM spans", nested("CASE WHEN ", "duration > 1", " THEN false ELSE true END", n))
            }),
        ),
        (
            "a long case",
            Box::new(|n| format!("SELECT CASE {} END FROM spans LIMIT 1", "WHEN duration = 1 THEN 2 ".repeat(n))),
        ),
        ("subqueries", Box::new(|n| format!("SELECT * FROM {} LIMIT 1", nested("(SELECT * FROM ", "spans", ")", n)))),
        (
            "exists",
            Box::new(|n| {
                format!("SELECT 1 WHERE {} LIMIT 1", nested("EXISTS (SELECT 1 FROM spans WHERE ", "true", ")", n))
            }),
        ),
        ("scalar subqueries", Box::new(|n| format!("SELECT {}", nested("(SELECT 1 + ", "1", ")", n)))),
        (
            "in subqueries",
            Box::new(|n| {
                let open = "duration IN (SELECT duration FROM spans WHERE ";
                format!("SELECT count(*) FROM spans WHERE {}", nested(open, "true", ")", n))
            }),
        ),
        ("union all", Box::new(|n| format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n)))),
        ("union", Box::new(|n| format!("SELECT duration FROM spans{}", " UNION SELECT duration FROM spans".repeat(n)))),
        (
            "with",
            Box::new(|n| {
                let names: Vec<String> =
                    (0..n).map(|i| format!("t{} AS (SELECT x + 1 AS x FROM t{i})", i + 1)).collect();
                let separator = if n > 0 { "," } else { "" };
                format!("WITH t0 AS (SELECT 1 AS x){separator}{} SELECT x FROM t{n}", names.join(","))
            }),
        ),
        (
            "doubling with",
            Box::new(|n| {
                let double = |i: usize| format!(",t{} AS (SELECT * FROM t{i} UNION ALL SELECT * FROM t{i})", i + 1);
                let names: String = (0..n).map(double).collect();
                format!("WITH t0 AS (SELECT duration FROM spans){names} SELECT count(*) FROM t{n}")
            }),
        ),
        (
            "joins",
            Box::new(|n| {
                let joins: String =
                    (1..=n).map(|i| format!(" JOIN spans s{i} ON s{i}.trace_id = s0.trace_id")).collect();
                format!("SELECT count(*) FROM spans s0{joins}")
            }),
        ),
        ("subscripts", Box::new(|n| format!("SELECT make_array(1){}", "[1]".repeat(n)))),
        (
            "a list of numbers",
            Box::new(|n| {
                let values: Vec<String> = (0..n).map(|i| i.to_string()).collect();
                format!("SELECT count(*) FROM spans WHERE duration IN ({})", values.join(","))
            }),
        ),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(128 << 20).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let all = async move {
        let engine = engine();
        for (name, shape) in shapes {
            at_the_limit(&engine, name, shape).await;
        }
    };
    runtime.block_on(runtime.spawn(all)).expect("no panic");
}

#[tokio::test]
async fn d7_long_lists_are_fine() {
    let engine = engine();
    let ids = (0..6_000).map(|number| format!("'{}'", trace_id(number * 2))).collect::<Vec<_>>().join(",");
    let count = answer(&engine, &format!("SELECT count(*) FROM spans WHERE trace_id IN ({ids})")).await;
    assert_eq!(count.expect("a count"), ["5000"]);
    let numbers = (0..20_000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let count = answer(&engine, &format!("SELECT count(*) FROM spans WHERE duration IN ({numbers})")).await;
    assert_eq!(count.expect("a count"), ["10000"]);
    let rows = (0..5_000).map(|number| format!("({number})")).collect::<Vec<_>>().join(",");
    let count = answer(&engine, &format!("SELECT count(*) FROM (VALUES {rows}) AS v (x)")).await;
    assert_eq!(count.expect("a count"), ["5000"]);
}

/// Short statements that the optimiser would make enormous.
#[tokio::test]
async fn d7_what_doubles_at_every_level_is_refused() {
    let engine = engine();
    let doubled = |levels: usize, last: &str| {
        let names: String = (0..levels).map(|i| format!(",t{} AS (SELECT x + x AS x FROM t{i})", i + 1)).collect();
        format!("WITH t0 AS (SELECT duration AS x FROM spans){names} SELECT count(*) FROM t{levels} WHERE {last}")
    };
    for sql in [
        doubled(60, "x > 1"),
        format!("SELECT count(*) FROM spans WHERE {}", nested("(", "duration > 1", " BETWEEN false AND true)", 40)),
        format!("SELECT {} FROM spans", nested("coalesce(", "duration", ", 1)", 40)),
        format!("SELECT {} FROM spans", nested("CASE WHEN ", "duration > 1", " THEN false ELSE true END", 40)),
        format!("SELECT count(*) FROM spans WHERE {}", nested("(", "duration > 1", " IN (true, false))", 40)),
    ] {
        refused(&engine, &sql, ErrorKind::LimitExceeded, "out of proportion").await;
    }
    assert_eq!(answer(&engine, &doubled(8, "x >= 0")).await.expect("a count"), ["10000"]);
}

/// Waits until a condition holds, at most two seconds (more on a machine that is busy building).
async fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(6), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Joins whose condition holds for no pair compute for minutes without making a batch.
const ENDLESS: &[&str] = &[
    "SELECT count(*) FROM spans a, spans b, spans c WHERE a.duration + b.duration + c.duration = -7",
    "SELECT count(*) FROM spans a JOIN spans b ON a.name = b.name JOIN spans c ON b.name = c.name
     WHERE a.duration + b.duration + c.duration = -7",
    "SELECT count(*) FROM spans a LEFT JOIN spans b ON a.duration + b.duration < -1 CROSS JOIN spans c WHERE c.duration < a.duration",
    "SELECT a.duration % 2, count(*) FROM spans a, spans b, spans c GROUP BY 1",
    "SELECT count(*) FROM spans a, spans b WHERE regexp_like(hex(a.trace_id) || hex(b.trace_id), '(a|b|0)*c{40}(a|1)*d')",
    "SELECT sum(levenshtein(hex(a.trace_id), hex(b.trace_id))) FROM spans a, spans b",
];

#[tokio::test]
async fn d7_the_deadline_holds_and_the_threads_are_free_again() {
    let engine = engine();
    for sql in ENDLESS {
        let mut asked = request(sql);
        asked.timeout = Some(Duration::from_millis(300));
        let started = std::time::Instant::now();
        let error = match engine.run(&asked).await {
            Err(error) => error,
            Ok(mut answer) => answer.next().await.expect("an end").expect_err("a deadline"),
        };
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{sql}: {error}");
        assert!(started.elapsed() < Duration::from_secs(2), "{sql}: {:?}", started.elapsed());
        let next = std::time::Instant::now();
        assert_eq!(answer(&engine, "SELECT count(*) FROM spans").await.expect("a count"), ["10000"]);
        assert!(next.elapsed() < Duration::from_secs(2), "after {sql}: {:?}", next.elapsed());
        soon("the tasks end", || engine.executor.tasks() == 0).await;
        assert_eq!(engine.template.runtime_env().memory_pool.reserved(), 0, "{sql}");
    }
}

#[tokio::test]
async fn d8_one_query_does_not_take_the_memory_of_all() {
    let config = QueryConfig { query_memory_bytes_max: 4 << 20, ..QueryConfig::default() };
    let engine = Fixture::default().buffer(SignalKind::Traces, many()).engine_with(&config);
    let sql = "SELECT cardinality(array_agg(a.trace_id)) FROM spans a CROSS JOIN spans b";
    let error = error_of(&engine, sql).await;
    assert!(matches!(error, Error::Memory { limit_bytes } if limit_bytes == 4 << 20), "{error:?}");
    soon("the tasks end", || engine.executor.tasks() == 0).await;
    assert_eq!(engine.template.runtime_env().memory_pool.reserved(), 0);
}

/// What functions make counts, also what is dropped again at once.
#[tokio::test]
async fn d8_functions_and_constants_ask_for_memory() {
    let engine = engine();
    let columns = (0..40).map(|i| format!("repeat(name, {})", 2_000 + i)).collect::<Vec<_>>().join(" || ");
    let columns = format!("SELECT max(length({columns})) FROM spans");
    assert_eq!(error_of(&engine, &columns).await.kind(), ErrorKind::LimitExceeded);
    let text = "x".repeat(20_000);
    refused(&engine, &format!("SELECT '{text}', name FROM spans"), ErrorKind::LimitExceeded, "constants").await;
    let names: String = (0..40).map(|i| format!(",t{} AS (SELECT array_concat(x, x) AS x FROM t{i})", i + 1)).collect();
    let nested =
        format!("WITH t0 AS (SELECT make_array(duration) AS x FROM spans){names} SELECT max(cardinality(x)) FROM t40");
    assert_eq!(error_of(&engine, &nested).await.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn d8_memory_is_bounded() {
    let engine = small_engine();
    for sql in [
        "SELECT length(string_agg(hex(a.trace_id), ',' ORDER BY b.duration)) FROM spans a CROSS JOIN spans b",
        "SELECT cardinality(array_agg(a.trace_id)) FROM spans a CROSS JOIN spans b",
        "SELECT max(total) FROM (SELECT sum(a.duration) OVER () AS total FROM spans a CROSS JOIN spans b)",
        "SELECT a.duration, b.duration, count(*) FROM spans a CROSS JOIN spans b GROUP BY 1, 2",
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
    let pool = Arc::clone(&engine.template.runtime_env().memory_pool);
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

/// A client that takes no rows, at a zero window of HTTP/2 for instance: at the deadline the next one has its turn.
#[tokio::test]
async fn d11_a_slow_reader_holds_nothing_past_the_deadline() {
    let engine = engine();
    let config = QueryConfig { concurrency: 1, ..QueryConfig::default() };
    let admission = crate::admission::Admission::new(&config);
    let mut asked = request("SELECT a.name, b.name FROM spans a CROSS JOIN spans b");
    (asked.timeout, asked.rows_max) = (Some(Duration::from_millis(500)), Some(100_000));
    let permit = admission.acquire().await.expect("a permit");
    let mut answer = engine.run_permitted(&asked, permit).await.expect("a running query");
    assert_eq!(admission.load(), (1, 0), "the permit is not held while it runs");
    tokio::time::timeout(Duration::from_secs(20), admission.acquire()).await.expect("freed").expect("a permit");
    let pool = Arc::clone(&engine.template.runtime_env().memory_pool);
    let freed = async {
        while pool.reserved() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("the memory is free");
    let last = loop {
        match answer.next().await.expect("rows that lack others must not look like all") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(last, Error::Timeout { .. }), "{last}");
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
        ("SELECT sqrt(-1.0)", "negative"),
        ("SELECT regexp_like(name, '(') FROM spans", ""),
        ("SELECT count(*) FROM spans WHERE name ~ '(a{1000}){1000}'", "regular expression"),
        ("SELECT count(*) FROM spans WHERE name SIMILAR TO '('", "regular expression"),
        ("SELECT count(*) FROM spans WHERE regexp_like(name, '(a{500}){100}' || name)", "differs from row to row"),
        ("SELECT count(*) FROM spans WHERE name ~ (SELECT max(name) FROM spans)", "differs from row to row"),
        ("SELECT 1 WHERE 'x' !~* CAST(random() AS VARCHAR)", "differs from row to row"),
        ("SELECT x FROM (SELECT regexp_count(p, p) AS x FROM (VALUES ('a'), ('b')) t(p))", "differs from row to row"),
        ("SELECT name FROM spans GROUP BY service_name", ""),
        ("SELECT date_trunc('fortnight', time) FROM spans", "fortnight"),
    ] {
        refused(&engine, sql, ErrorKind::InvalidArgument, expected).await;
    }
    // A sum of integers wraps in DataFusion; of floats it becomes infinite. Both are answers, not crashes.
    assert_eq!(
        answer(&engine, "SELECT 1.0 / 0.0, CAST('NaN' AS DOUBLE), sum(value) * 1e308 * 1e308 FROM metrics")
            .await
            .expect("floats"),
        ["Infinity|NaN|Infinity"]
    );
    assert!(answer(&engine, "SELECT sum(duration + 9223372036854765807 - 10000) FROM spans").await.is_ok());
    let wrapped = answer(&engine, "SELECT 9223372036854775807 + duration FROM spans WHERE duration = 1").await;
    assert_eq!(wrapped.expect("a number"), [i64::MIN.to_string()]);
    assert_eq!(answer(&engine, "SELECT TRY_CAST('abc' AS BIGINT)").await.expect("null"), ["null"]);
}
