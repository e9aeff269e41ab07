//! Parts and buffered rows give the same answers, and less is read than there is.

use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use trivium_model::{SignalKind, TenantId};

use super::*;
use crate::testing::{Fixture, NOW, SECOND, answer, ids, integers, rows, text, times, trace_id};

const ROWS: u32 = 2_000;
const STEPS: u32 = 4;

/// Row `i` of `ROWS * STEPS`: a second apart, with a trace of its own, a few services, an order number and words.
fn logs(step: u32) -> RecordBatch {
    let numbers: Vec<u32> = (step * ROWS..(step + 1) * ROWS).collect();
    let owned = |cell: &dyn Fn(u32) -> String| numbers.iter().map(|number| cell(*number)).collect::<Vec<String>>();
    let bodies = owned(&|i| {
        format!("order {} was {} by worker {}", 100_000 + i, if i % 997 == 0 { "declined" } else { "paid" }, i % 7)
    });
    let sets = owned(&|i| format!(r#"{{"code":{},"order":"A-{}"}}"#, 200 + i % 5, 100_000 + i));
    let services = owned(&|i| format!("service-{}", i % 3));
    let traces = owned(&trace_id);
    let refs = |list: &'_ [String]| list.iter().map(String::as_str).map(str::to_owned).collect::<Vec<String>>();
    let as_text = |list: &[String]| text(&refs(list).iter().map(String::as_str).collect::<Vec<_>>());
    rows(
        SignalKind::Logs,
        vec![
            ("time", times(&numbers.iter().map(|i| NOW - i64::from(ROWS * STEPS - i) * SECOND).collect::<Vec<_>>())),
            ("service_name", as_text(&services)),
            (
                "severity_number",
                Arc::new(Int32Array::from_iter_values(numbers.iter().map(|i| if i % 10 == 0 { 17 } else { 9 }))),
            ),
            ("body", as_text(&bodies)),
            ("trace_id", ids(16, &traces.iter().map(String::as_str).collect::<Vec<_>>())),
            ("attributes", as_text(&sets)),
            ("resource", as_text(&pods(&numbers))),
        ],
    )
}

/// A pod for every 250 rows.
fn pods(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|i| format!(r#"{{"k8s.pod.name":"pod-{}"}}"#, i / 250)).collect()
}

fn span_id(number: u32) -> String {
    format!("{:016x}", u64::from(number) + 0x1234_5678_0000)
}

fn spans(step: u32) -> RecordBatch {
    let numbers: Vec<u32> = (step * ROWS..(step + 1) * ROWS).collect();
    let traces: Vec<String> = numbers.iter().map(|i| trace_id(*i)).collect();
    let span_ids: Vec<String> = numbers.iter().map(|i| span_id(*i)).collect();
    // The parent may stand in another part.
    let parents: Vec<String> = numbers.iter().map(|i| span_id((i * 7 + 3) % (ROWS * STEPS))).collect();
    let pods = pods(&numbers);
    rows(
        SignalKind::Traces,
        vec![
            ("time", times(&numbers.iter().map(|i| NOW - i64::from(ROWS * STEPS - i) * SECOND).collect::<Vec<_>>())),
            ("duration", integers(&numbers.iter().map(|i| i64::from(i % 1_000) * 1_000_000).collect::<Vec<_>>())),
            ("service_name", text(&vec!["api"; numbers.len()])),
            ("name", text(&vec!["GET /orders"; numbers.len()])),
            ("trace_id", ids(16, &traces.iter().map(String::as_str).collect::<Vec<_>>())),
            ("span_id", ids(8, &span_ids.iter().map(String::as_str).collect::<Vec<_>>())),
            ("parent_span_id", ids(8, &parents.iter().map(String::as_str).collect::<Vec<_>>())),
            ("resource", text(&pods.iter().map(String::as_str).collect::<Vec<_>>())),
        ],
    )
}

fn all_buffered() -> Engine {
    (0..STEPS)
        .fold(Fixture::default(), |fixture, step| {
            fixture.buffer(SignalKind::Logs, logs(step)).buffer(SignalKind::Traces, spans(step))
        })
        .engine()
}

/// The last step is still in memory.
fn mostly_parts() -> Engine {
    let fixture = (0..STEPS - 1).fold(Fixture::default(), |fixture, step| {
        fixture.part(SignalKind::Logs, logs(step)).part(SignalKind::Traces, spans(step))
    });
    fixture.buffer(SignalKind::Logs, logs(STEPS - 1)).buffer(SignalKind::Traces, spans(STEPS - 1)).engine()
}

fn only_parts() -> Engine {
    (0..STEPS)
        .fold(Fixture::default(), |fixture, step| {
            fixture.part(SignalKind::Logs, logs(step)).part(SignalKind::Traces, spans(step))
        })
        .engine()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_buffers_answer_alike() {
    let engines = [all_buffered(), mostly_parts(), only_parts()];
    let id = trace_id(4_242);
    for sql in [
        "SELECT count(*), min(time), max(time) FROM logs".to_owned(),
        "SELECT service_name, severity_number, count(*) FROM logs GROUP BY 1, 2 ORDER BY 1, 2".to_owned(),
        format!("SELECT * FROM logs WHERE trace_id = '{id}'"),
        format!("SELECT l.body, s.span_id FROM logs l JOIN spans s USING (trace_id) WHERE l.trace_id = '{id}'"),
        "SELECT body FROM logs WHERE attributes['order'] = 'A-100777'".to_owned(),
        "SELECT count(*) FROM logs WHERE attributes['code'] = 203".to_owned(),
        "SELECT body FROM logs WHERE matches(body, 'declined') ORDER BY time".to_owned(),
        "SELECT body FROM logs WHERE matches(body, '\"order 103456 was paid\"')".to_owned(),
        "SELECT count(*) FROM logs WHERE body LIKE '% declined by %'".to_owned(),
        "SELECT count(*) FROM logs WHERE body LIKE '%clined by%'".to_owned(),
        "SELECT count(*) FROM logs WHERE NOT matches(body, 'declined')".to_owned(),
        "SELECT count(*) FROM logs WHERE time >= 'now-100s' AND time < 'now-50s'".to_owned(),
        "SELECT time, body FROM logs ORDER BY time DESC LIMIT 5".to_owned(),
        "SELECT attributes['code'], count(*), avg(attributes['code']) FROM logs GROUP BY 1 ORDER BY 1".to_owned(),
        "SELECT s.span_id FROM logs l JOIN spans s ON l.trace_id = s.trace_id
         WHERE matches(l.body, 'declined') AND s.duration > 1000000 ORDER BY 1".to_owned(),
        "SELECT count(*) FROM spans WHERE trace_id IN (SELECT trace_id FROM logs WHERE matches(body, 'declined'))".to_owned(),
        "SELECT date_bin(interval '10 minutes', time) AS bin, count(*), approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY duration) > 0
         FROM spans GROUP BY 1 ORDER BY 1".to_owned(),
        "SELECT service_name FROM logs WHERE trace_id IS NULL".to_owned(),
        "SELECT count(*) FROM logs WHERE resource['k8s.pod.name'] = 'pod-7'".to_owned(),
        "SELECT count(*) FROM spans WHERE resource['k8s.pod.name'] IN ('pod-7', 'pod-30', 'absent')".to_owned(),
        format!("SELECT span_id FROM spans WHERE parent_span_id = '{}'", span_id(4_242)),
        format!("SELECT span_id FROM spans WHERE parent_span_id IN ('{}', '{}') ORDER BY 1", span_id(1), span_id(7_000)),
    ] {
        let mut answers = Vec::new();
        for engine in &engines {
            match answer(engine, &sql).await {
                Ok(lines) => answers.push(lines),
                Err(error) => panic!("{sql}: {error}"),
            }
        }
        assert_eq!(answers[0], answers[1], "mostly parts: {sql}");
        assert_eq!(answers[0], answers[2], "only parts: {sql}");
    }
}

/// Rows that the Parquet readers decoded for filters and output, and the rows of the answer.
async fn rows_read(engine: &Engine, sql: &str) -> (usize, usize) {
    let state = engine.session(TenantId::DEFAULT, None, &Arc::default(), None);
    let plan = state.create_logical_plan(sql).await.expect("a plan");
    let plan = state.create_physical_plan(&plan).await.expect("a physical plan");
    let batches = collect(Arc::clone(&plan), state.task_ctx()).await.expect("an answer");
    (decoded(&plan), batches.iter().map(RecordBatch::num_rows).sum())
}

fn decoded(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan
        .downcast_ref::<DataSourceExec>()
        .filter(|scan| scan.data_source().is::<FileScanConfig>())
        .and_then(|scan| scan.metrics())
        .map_or(0, |metrics| {
            let sum = |name: &str| metrics.sum_by_name(name).map_or(0, |value| value.as_usize());
            (sum("pushdown_rows_pruned") + sum("pushdown_rows_matched")).max(metrics.output_rows().unwrap_or(0))
        });
    own + plan.children().into_iter().map(decoded).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_reads_one_block() {
    let engine = only_parts();
    let (read, found) =
        rows_read(&engine, &format!("SELECT body FROM logs WHERE trace_id = '{}'", trace_id(777))).await;
    assert_eq!(found, 1);
    assert!(read <= 256, "{read} rows were read");
    let (read, found) = rows_read(&engine, &format!("SELECT body FROM logs WHERE trace_id = '{ABSENT}'")).await;
    assert_eq!((read, found), (0, 0));
}

const ABSENT: &str = "ffffffffffffffff1234567890abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_word_and_a_time_read_little() {
    let engine = only_parts();
    let (read, found) = rows_read(&engine, "SELECT time FROM logs WHERE matches(body, '\"order 103456\"')").await;
    assert_eq!(found, 1);
    assert!(read <= 256, "{read} rows were read");
    let (read, found) = rows_read(&engine, "SELECT body FROM logs WHERE time >= 'now-10s'").await;
    assert_eq!(found, 10);
    assert!(read <= ROWS as usize, "{read} rows were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_and_parents_read_their_blocks() {
    let engine = only_parts();
    let all = (ROWS * STEPS) as usize;
    let (parent, other) = (span_id(4_242), span_id(4_249));
    // Blocks of logs have 256 rows; those of spans 2,048, which is a whole part here.
    for (sql, expected, most) in [
        ("SELECT body FROM logs WHERE resource['k8s.pod.name'] = 'pod-7'".to_owned(), 250, all / 4),
        (
            "SELECT body FROM logs WHERE resource['k8s.pod.name'] IN ('pod-7', 'pod-30', 'absent')".to_owned(),
            500,
            all / 3,
        ),
        ("SELECT name FROM spans WHERE resource['k8s.pod.name'] = 'pod-7'".to_owned(), 250, all / 4),
        (format!("SELECT name FROM spans WHERE parent_span_id = '{parent}'"), 1, all / 2),
        (format!("SELECT name FROM spans WHERE parent_span_id IN ('{parent}', '{other}')"), 2, all * 3 / 4),
        ("SELECT name FROM spans WHERE parent_span_id = 'ffffffffffff1234'".to_owned(), 0, 0),
    ] {
        let (read, found) = rows_read(&engine, &sql).await;
        assert_eq!(found, expected, "{sql}");
        assert!(read <= most, "{sql}: {read} rows were read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_small_side_of_a_join_prunes_the_large_one() {
    let engine = only_parts();
    let sql = "SELECT s.span_id FROM spans s JOIN logs l ON l.trace_id = s.trace_id WHERE matches(l.body, '\"order 103456\"')";
    let (read, found) = rows_read(&engine, sql).await;
    assert_eq!(found, 1);
    // One block of logs and one of spans.
    assert!(read <= 256 + 2_048, "{read} rows were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_reads_nothing() {
    let (read, found) = rows_read(&only_parts(), "SELECT count(*) FROM logs").await;
    assert_eq!((read, found), (0, 1));
}
