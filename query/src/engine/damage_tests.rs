//! Damage within a part costs rows of that part, and the answer says so.

use arrow::array::RecordBatch;
use trivium_model::SignalKind;

use super::*;
use crate::testing::{Fixture, NOW, SECOND, integers, request, rows, text, times};

const ROWS: i64 = 3_000;

fn logs(part: i64) -> RecordBatch {
    let numbers: Vec<i64> = (part * ROWS..(part + 1) * ROWS).collect();
    let bodies: Vec<String> =
        numbers.iter().map(|i| format!("request {i} took {} ms in the end", i * 7 % 1_000)).collect();
    rows(
        SignalKind::Logs,
        vec![
            ("time", times(&numbers.iter().map(|i| NOW - (2 * ROWS - i) * SECOND).collect::<Vec<_>>())),
            ("service_name", text(&vec![if part == 0 { "cart" } else { "payment" }; numbers.len()])),
            ("body", text(&bodies.iter().map(String::as_str).collect::<Vec<_>>())),
            ("observed_delay", integers(&numbers)),
        ],
    )
}

fn two_parts() -> Fixture {
    Fixture::default().part(SignalKind::Logs, logs(0)).part(SignalKind::Logs, logs(1))
}

/// The number of rows, whether some are missing, and the warnings.
async fn told(engine: &Engine, sql: &str) -> Result<(usize, bool, Vec<String>), Error> {
    let mut answer = engine.run(&request(sql)).await?;
    let mut count = 0;
    while let Some(batch) = answer.next().await {
        count += batch?.num_rows();
    }
    let (partial, warnings) = answer.notes();
    Ok((count, partial, warnings))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_costs_rows_of_its_part_and_says_so() {
    for sql in [
        "SELECT body FROM logs",
        "SELECT service_name, body FROM logs WHERE body LIKE '%took%'",
        "SELECT time FROM logs WHERE length(body) > 3",
        "SELECT body FROM logs ORDER BY time",
    ] {
        let fixture = two_parts();
        fixture.damage_page(1, "body");
        let (count, partial, warnings) =
            told(&fixture.engine(), sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let all = usize::try_from(ROWS).expect("a size");
        assert!((all..2 * all).contains(&count), "{sql}: {count} rows");
        assert!(partial && warnings.len() == 1, "{sql}: {warnings:?}");
        assert!(warnings[0].contains("up to 3000 logs of the damaged part 0101"), "{sql}: {warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_column_that_is_not_read_costs_nothing() {
    let fixture = two_parts();
    fixture.damage_page(1, "body");
    let (count, partial, warnings) = told(&fixture.engine(), "SELECT time FROM logs").await.expect("an answer");
    assert_eq!((count, partial, warnings), (6_000, false, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_statement_is_not_taken_for_damage() {
    for sql in ["SELECT 1 / (observed_delay - 3000) FROM logs", "SELECT time FROM logs WHERE cast(body AS bigint) = 1"]
    {
        let error = told(&two_parts().engine(), sql).await.expect_err(sql);
        assert!(matches!(error, Error::InvalidArgument { .. }), "{sql}: {error:?}");
    }
}
