use std::sync::Arc;

use arrow::array::{Float64Array, Int32Array, RecordBatch};
use serde_json::json;
use trivium_model::SignalKind;
use trivium_storage::Rejection;

use super::*;
use crate::testing::{Fixture, NOW, SECOND, answer, from_json, ids, integers, request, rows, text, times, trace_id};

fn sample_logs() -> RecordBatch {
    let (first, second) = (trace_id(1), trace_id(2));
    rows(
        SignalKind::Logs,
        vec![
            ("time", times(&[NOW - 3 * SECOND, NOW - 2 * SECOND, NOW - SECOND, NOW])),
            ("service_name", text(&["cart", "payment", "payment", "cart"])),
            ("severity_number", Arc::new(Int32Array::from(vec![9, 17, 17, 9]))),
            ("severity_text", text(&["INFO", "ERROR", "ERROR", "INFO"])),
            (
                "body",
                text(&[
                    "order 10234 created",
                    "card declined: timeout after 30s",
                    "card refused",
                    "timeout while waiting",
                ]),
            ),
            ("trace_id", ids(16, &[&first, &second, &second, ""])),
            (
                "attributes",
                text(&[
                    r#"{"http.route":"/cart","http.status_code":200}"#,
                    r#"{"http.route":"/pay","http.status_code":503,"retry":true}"#,
                    r#"{"http.route":"/pay","http.status_code":"504"}"#,
                    "{}",
                ]),
            ),
            ("resource", text(&[r#"{"service.name":"cart","host.name":"a"}"#; 4])),
            ("scope", text(&[r#"{"name":"lib","version":"1"}"#; 4])),
        ],
    )
}

fn sample_spans() -> RecordBatch {
    let traces: Vec<String> = (1..=4).map(trace_id).collect();
    let traces: Vec<&str> = traces.iter().map(String::as_str).collect();
    rows(
        SignalKind::Traces,
        vec![
            ("time", times(&[NOW - 4 * SECOND, NOW - 3 * SECOND, NOW - 2 * SECOND, NOW - SECOND])),
            ("duration", integers(&[5_000_000, 900_000_000, 7_000_000, 8_000_000])),
            ("service_name", text(&["cart", "payment", "cart", "cart"])),
            ("name", text(&["GET /cart", "POST /pay", "GET /cart", "GET /cart"])),
            ("trace_id", ids(16, &traces)),
            ("span_id", ids(8, &["00000000000000a1", "00000000000000a2", "00000000000000a3", "00000000000000a4"])),
            ("attributes", text(&[r#"{"db.rows":12}"#, r#"{"db.rows":3.5}"#, "{}", r#"{"db.rows":1000}"#])),
        ],
    )
}

fn sample_metrics() -> RecordBatch {
    rows(
        SignalKind::Metrics,
        vec![
            ("time", times(&[NOW - 2 * SECOND, NOW - SECOND, NOW])),
            ("metric_name", text(&["cpu", "cpu", "memory"])),
            ("metric_type", text(&["gauge"; 3])),
            ("value", Arc::new(Float64Array::from(vec![0.5, 0.75, f64::NAN]))),
            ("series_id", Arc::new(arrow::array::UInt64Array::from(vec![7, 7, u64::MAX]))),
        ],
    )
}

fn buffered() -> Engine {
    Fixture::default()
        .buffer(SignalKind::Logs, sample_logs())
        .buffer(SignalKind::Traces, sample_spans())
        .buffer(SignalKind::Metrics, sample_metrics())
        .engine()
}

async fn check(engine: &Engine, sql: &str, expected: &[&str]) {
    match answer(engine, sql).await {
        Ok(lines) => assert_eq!(lines, expected, "{sql}"),
        Err(error) => panic!("{sql}: {error}"),
    }
}

async fn check_error(engine: &Engine, sql: &str, expected: &str) {
    match answer(engine, sql).await {
        Ok(lines) => panic!("{sql} was answered: {lines:?}"),
        Err(error) => assert!(error.to_string().contains(expected), "{sql}: {error:?}"),
    }
}

#[tokio::test]
async fn buffered_rows_are_tables() {
    let engine = buffered();
    check(&engine, "SELECT count(*) FROM logs", &["4"]).await;
    check(&engine, "SELECT service_name, count(*) FROM logs GROUP BY 1 ORDER BY 1", &["cart|2", "payment|2"]).await;
    check(&engine, "SELECT hex(trace_id) FROM logs WHERE body LIKE 'card%' GROUP BY 1", &[&trace_id(2)]).await;
}

#[tokio::test]
async fn attributes_read_naturally() {
    let engine = buffered();
    check(&engine, "SELECT attributes['http.route'] FROM logs ORDER BY time", &["/cart", "/pay", "/pay", "null"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE attributes['http.status_code'] >= 500", &["2"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE 500 < attributes['http.status_code']", &["2"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE attributes['http.status_code'] IN (200, 504)", &["2"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE attributes['http.status_code'] BETWEEN 503 AND 503.5", &["1"])
        .await;
    check(&engine, "SELECT count(*) FROM logs WHERE attributes['retry'] = true", &["1"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE attributes['http.status_code'] = '504'", &["1"]).await;
    check(&engine, "SELECT avg(attributes['db.rows']), sum(attributes['db.rows']) FROM spans", &["338.5|1015.5"]).await;
    check(&engine, "SELECT attributes['db.rows'] * 2 FROM spans ORDER BY time LIMIT 1", &["24.0"]).await;
    check(&engine, "SELECT DISTINCT resource['host.name'], scope['name'] FROM logs", &["a|lib"]).await;
    check(
        &engine,
        "SELECT attributes['http.route'] AS route, count(*) FROM logs GROUP BY attributes['http.route'] ORDER BY 1 NULLS LAST",
        &["/cart|1", "/pay|2", "null|1"],
    )
    .await;
    check(&engine, "SELECT l.attributes['http.route'] FROM logs l WHERE l.attributes['retry'] = 'true'", &["/pay"])
        .await;
}

#[tokio::test]
async fn ids_are_written_in_hexadecimal() {
    let engine = buffered();
    let id = trace_id(2);
    check(&engine, &format!("SELECT count(*) FROM logs WHERE trace_id = '{id}'"), &["2"]).await;
    check(&engine, &format!("SELECT count(*) FROM logs WHERE '{}' = trace_id", id.to_uppercase()), &["2"]).await;
    check(&engine, &format!("SELECT count(*) FROM logs WHERE trace_id = X'{id}'"), &["2"]).await;
    check(&engine, &format!("SELECT count(*) FROM logs WHERE trace_id <> '{id}'"), &["1"]).await;
    check(&engine, &format!("SELECT count(*) FROM logs WHERE trace_id IN ('{id}', '{}')", trace_id(1)), &["3"]).await;
    check(&engine, &format!("SELECT count(*) FROM logs WHERE trace_id NOT IN ('{id}')"), &["1"]).await;
    check(&engine, "SELECT span_id FROM spans WHERE span_id = '00000000000000a3'", &["00000000000000a3"]).await;
    check_error(&engine, "SELECT 1 FROM logs WHERE trace_id = 'abc'", "is not an ID of 32 hexadecimal digits").await;
    check_error(&engine, "SELECT 1 FROM logs WHERE trace_id IN ('zz')", "is not an ID").await;
}

#[tokio::test]
async fn signals_join() {
    let engine = buffered();
    check(
        &engine,
        "SELECT s.name, l.body FROM logs l JOIN spans s ON l.trace_id = s.trace_id
         WHERE s.duration > 100000000 ORDER BY l.time",
        &["POST /pay|card declined: timeout after 30s", "POST /pay|card refused"],
    )
    .await;
    check(
        &engine,
        "SELECT m.metric_name, count(*) FROM metrics m JOIN logs l ON date_trunc('second', m.time) = date_trunc('second', l.time)
         GROUP BY 1 ORDER BY 1",
        &["cpu|2", "memory|1"],
    )
    .await;
}

#[tokio::test]
async fn full_text_is_a_predicate() {
    let engine = buffered();
    check(&engine, "SELECT count(*) FROM logs WHERE matches(body, 'timeout')", &["2"]).await;
    check(&engine, r#"SELECT count(*) FROM logs WHERE matches(body, 'timeout AND "card declined"')"#, &["1"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE NOT matches(body, 'timeout OR refused')", &["1"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE matches(attributes, 'pay')", &["2"]).await;
    check_error(&engine, "SELECT count(*) FROM logs WHERE matches(body, '(')", "cannot read the query").await;
    check_error(&engine, "SELECT count(*) FROM logs WHERE matches(body, service_name)", "must be a constant").await;
}

#[tokio::test]
async fn times_are_read_as_people_write_them() {
    let engine = buffered();
    check(&engine, "SELECT count(*) FROM logs WHERE time >= 'now-1s'", &["2"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE time > now() - interval '2 seconds'", &["2"]).await;
    check(&engine, &format!("SELECT count(*) FROM logs WHERE time = {NOW}"), &["1"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE time < '2023-11-14T22:13:19Z'", &["2"]).await;
    check(&engine, "SELECT count(*) FROM logs WHERE time BETWEEN 'now-3s' AND 'now-2s'", &["2"]).await;
    check(&engine, "SELECT now()", &[&NOW.to_string()]).await;
}

#[tokio::test]
async fn rows_are_limited_and_the_answer_says_so() {
    let engine = buffered();
    let mut asked = request("SELECT time FROM logs ORDER BY time");
    for (rows_max, expected, truncated) in [(3, 3, true), (4, 4, false), (0, 0, true)] {
        asked.rows_max = Some(rows_max);
        let mut answer = engine.run(&asked).await.expect("an answer");
        let mut rows = 0;
        while let Some(batch) = answer.next().await {
            rows += batch.expect("rows").num_rows();
        }
        assert_eq!((rows, answer.truncated()), (expected, truncated), "{rows_max}");
    }
}

#[tokio::test]
async fn views_unfold_what_is_nested() {
    let events = [
        json!([
            {"time": NOW, "name": "exception", "attributes": r#"{"exception.type":"E"}"#, "dropped_attributes_count": 0},
            {"time": NOW + 1, "name": "retry", "attributes": "{}", "dropped_attributes_count": 2}
        ]),
        serde_json::Value::Null,
    ];
    let links = [
        serde_json::Value::Null,
        json!([{"trace_id": trace_id(9), "span_id": "00000000000000ff", "trace_state": null, "attributes": "{}",
                "dropped_attributes_count": 0, "flags": 1}]),
    ];
    let spans = rows(
        SignalKind::Traces,
        vec![
            ("name", text(&["a", "b"])),
            ("trace_id", ids(16, &[&trace_id(1), &trace_id(2)])),
            ("events", from_json(SignalKind::Traces, "events", &events)),
            ("links", from_json(SignalKind::Traces, "links", &links)),
        ],
    );
    let exemplars = [
        json!([{"time": NOW, "value": 0.25, "value_int": null, "trace_id": trace_id(2), "span_id": null, "attributes": r#"{"k":"v"}"#}]),
        serde_json::Value::Null,
        serde_json::Value::Null,
    ];
    let mut columns = vec![("exemplars", from_json(SignalKind::Metrics, "exemplars", &exemplars))];
    columns.extend(
        ["time", "metric_name", "metric_type", "value", "series_id"]
            .map(|name| (name, Arc::clone(sample_metrics().column_by_name(name).expect("a column")))),
    );
    for engine in [
        Fixture::default()
            .buffer(SignalKind::Traces, spans.clone())
            .buffer(SignalKind::Metrics, rows(SignalKind::Metrics, columns.clone()))
            .engine(),
        Fixture::default()
            .part(SignalKind::Traces, spans.clone())
            .part(SignalKind::Metrics, rows(SignalKind::Metrics, columns.clone()))
            .engine(),
    ] {
        check(
            &engine,
            "SELECT time, name, span_name, attributes['exception.type'], dropped_attributes_count FROM span_events ORDER BY time",
            &[&format!("{NOW}|exception|a|E|0"), &format!("{}|retry|a|null|2", NOW + 1)],
        )
        .await;
        check(&engine, &format!("SELECT count(*) FROM span_events WHERE trace_id = '{}'", trace_id(1)), &["2"]).await;
        check(
            &engine,
            "SELECT linked_trace_id, linked_flags, span_name FROM span_links",
            &[&format!("{}|1|b", trace_id(9))],
        )
        .await;
        check(
            &engine,
            "SELECT e.value, e.metric_name, e.filtered_attributes['k'], s.name FROM exemplars e JOIN spans s ON s.trace_id = e.trace_id",
            &["0.25|cpu|v|b"],
        )
        .await;
        check(
            &engine,
            "SELECT series_id, metric_name, points, last_time FROM series ORDER BY metric_name",
            &[&format!("7|cpu|2|{}", NOW - SECOND), &format!("18446744073709551615|memory|1|{NOW}")],
        )
        .await;
    }
}

#[tokio::test]
async fn refused_records_are_a_table() {
    let rejection = Rejection {
        tenant: TenantId::DEFAULT,
        signal: SignalKind::Logs,
        reason: "time is older than the retention".into(),
        service: "cart".into(),
        count: 3,
        example: "time 0".into(),
        time: UnixNanos(NOW),
    };
    let engine = Fixture::default().rejected(rejection).engine();
    let expected = format!("{NOW}|logs|cart|time is older than the retention|3|time 0");
    check(&engine, "SELECT * FROM rejected", &[&expected]).await;
    check(&engine, "SELECT count(*) FROM alerts_history", &["0"]).await;
}

#[tokio::test]
async fn an_empty_store_has_tables() {
    let engine = Fixture::default().engine();
    for table in table::TABLE_NAMES {
        check(&engine, &format!("SELECT count(*) FROM {table}"), &["0"]).await;
    }
    check(&engine, "SELECT * FROM logs", &[]).await;
}

#[tokio::test]
async fn percentiles_are_exact_in_small_groups_with_and_without_grouping() {
    let spans = rows(
        SignalKind::Traces,
        vec![("service_name", text(&["a", "b", "a", "a", "b", "a"])), ("duration", integers(&[10, 7, 30, 20, 9, 40]))],
    );
    let engine = Fixture::default()
        .part(SignalKind::Traces, spans.slice(0, 4))
        .buffer(SignalKind::Traces, spans.slice(4, 2))
        .engine();
    let check = async |sql: &str, expected: &[&str]| {
        assert_eq!(answer(&engine, sql).await.expect("an answer"), expected, "{sql}");
    };
    check(
        "SELECT service_name, approx_percentile_cont(duration, 0.5), approx_percentile_cont(duration, 1) FROM spans \
         GROUP BY service_name ORDER BY service_name",
        &["a|25.0|40.0", "b|8.0|9.0"],
    )
    .await;
    // Those of the same values share them; the third has a filter of its own.
    check(
        "SELECT approx_percentile_cont(duration, 0.5), count(*), approx_percentile_cont(duration, 1.0) AS p, service_name, \
         approx_percentile_cont(duration, 0) FILTER (WHERE duration > 9) FROM spans GROUP BY service_name ORDER BY p",
        &["8.0|2|9.0|b|null", "25.0|4|40.0|a|10.0"],
    )
    .await;
    check(
        "SELECT approx_percentile_cont(duration, 0.5), approx_percentile_cont(duration, 1.0) FROM spans",
        &["15.0|40.0"],
    )
    .await;
    check("SELECT approx_percentile_cont(0.2) WITHIN GROUP (ORDER BY duration DESC) FROM spans", &["30.0"]).await;
    check("SELECT approx_percentile_cont(duration, 0.5, 100) FILTER (WHERE duration > 9) FROM spans", &["25.0"]).await;
    check("SELECT approx_percentile_cont(duration, 0.5) FROM spans WHERE duration > 99", &["null"]).await;
    let error = answer(&engine, "SELECT approx_percentile_cont(duration, 1.5) FROM spans").await.expect_err("an error");
    assert!(error.to_string().contains("from 0 to 1"), "{error}");
}
