//! Answers the queries of rules from the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::max;
use arrow::datatypes::TimestampNanosecondType;
use async_trait::async_trait;
use trivium_alert::{Completeness, Querier, RowQuery, RuleQuery, StepRange};
use trivium_model::{SignalKind, TenantId, UnixNanos};
use trivium_promql::{Engine, EngineOptions, MatrixSeries, ParseOptions, QueryError, Value, VectorSample, When};
use trivium_storage::Snapshot;

use super::turns::{Turn, Turns};
use super::{WithSlos, log_rows, sql_rows};
use crate::api::prometheus_engine_options;
use crate::lookup::Deadline;
use crate::series::StoredSeries;
use crate::state::QueryState;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// For how long the newest time of a table is taken as known: one look serves all rules of a slot.
const WATERMARK_AGE: Duration = Duration::from_secs(1);

/// When a signal was looked at, and the newest time of its rows in milliseconds.
type Watermark = (UnixNanos, Option<i64>);

/// Answers from the tables of the tenant that is asked for. Rules have their own turns: a flood of questions from people must
/// not keep alerts from being evaluated.
#[derive(Debug)]
pub(crate) struct StoreQuerier {
    state: Arc<QueryState>,
    turns: Turns,
    watermarks: Mutex<HashMap<(TenantId, SignalKind), Watermark>>,
}

impl StoreQuerier {
    pub(super) fn new(state: Arc<QueryState>, turns: Turns) -> Self {
        Self { state, turns, watermarks: Mutex::default() }
    }

    /// The right to run one query, for whoever asks the store without this.
    pub(super) async fn turn(&self) -> Turn {
        self.turns.next().await
    }

    async fn run(&self, tenant: TenantId, query: &str, when: When) -> Result<Value, String> {
        self.run_with(prometheus_engine_options(&self.state.config.promql), tenant, query, when).await
    }

    async fn run_with(
        &self,
        options: EngineOptions,
        tenant: TenantId,
        query: &str,
        when: When,
    ) -> Result<Value, String> {
        let (state, query) = (Arc::clone(&self.state), query.to_owned());
        let turn = self.turn().await;
        let work = tokio::task::spawn_blocking(move || {
            // What blocks goes on when nobody waits for it any more.
            let _turn = turn;
            evaluate(&state, options, tenant, &query, when)
        });
        work.await.map_err(|error| format!("the query did not end: {error}"))?
    }

    /// Evaluates a query of ours at every step: with the whole language, whatever is set for people.
    pub(crate) async fn range_of_ours(
        &self,
        tenant: TenantId,
        query: &str,
        range: StepRange,
    ) -> Result<Vec<MatrixSeries>, String> {
        let mut options = prometheus_engine_options(&self.state.config.promql);
        options.parse = ParseOptions::EXPERIMENTAL;
        matrix(self.run_with(options, tenant, query, when(range)).await?)
    }

    /// Newest time of the rows of a signal, in milliseconds.
    fn watermark(&self, tenant: TenantId, signal: SignalKind) -> Option<i64> {
        let now = self.state.clock.now();
        let mut known = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, watermark)) = known.get(&(tenant, signal))
            && now.since(*at) < WATERMARK_AGE
        {
            return *watermark;
        }
        let watermark = newest(&self.state.storage.snapshot(tenant, signal));
        known.insert((tenant, signal), (now, watermark));
        watermark
    }
}

fn when(range: StepRange) -> When {
    When::Range { start: range.start_ms, end: range.end_ms, step: range.step_ms }
}

fn matrix(value: Value) -> Result<Vec<MatrixSeries>, String> {
    match value {
        Value::Matrix(series) => Ok(series),
        _ => Err("a range query answers series".to_owned()),
    }
}

fn evaluate(
    state: &Arc<QueryState>,
    options: EngineOptions,
    tenant: TenantId,
    query: &str,
    when: When,
) -> Result<Value, String> {
    let deadline = Deadline::after(state.config.timeout);
    let stored = StoredSeries::new(&state.series, &state.storage, tenant, deadline)
        .with_samples_max(state.config.promql.samples_max);
    // The alerts of SLOs are rules over their series.
    let series = WithSlos { stored: &stored, slos: &state.slos.of(tenant), clock: &*state.clock };
    let engine = Engine::new(options);
    let check = || deadline.check().map_err(|error| error.to_string());
    let answer = engine.run(&series, query, when, &check).map_err(|error: QueryError| error.to_string())?;
    // A rule that is told of less than there is would fire, or resolve, for nothing; an error leaves its alerts as they are.
    if !stored.unread().is_empty() {
        let why = stored.unread().warnings().join("; ");
        return Err(format!("the query did not see all samples, so its result would be wrong: {why}"));
    }
    Ok(answer.value)
}

fn newest(snapshot: &Snapshot) -> Option<i64> {
    let parts = snapshot.parts.iter().map(|part| part.record().last_time.0);
    let times =
        |batch: &RecordBatch| max(batch.column_by_name("time")?.as_primitive_opt::<TimestampNanosecondType>()?);
    let newest = parts.chain(snapshot.buffered.iter().filter_map(times)).max()?;
    Some(newest.div_euclid(NANOS_PER_MILLI))
}

#[async_trait]
impl Querier for StoreQuerier {
    async fn promql(&self, tenant: TenantId, query: &str, at_ms: i64) -> Result<Value, String> {
        self.run(tenant, query, When::Instant(at_ms)).await
    }

    async fn promql_range(&self, tenant: TenantId, query: &str, range: StepRange) -> Result<Vec<MatrixSeries>, String> {
        matrix(self.run(tenant, query, when(range)).await?)
    }

    async fn rows(&self, tenant: TenantId, query: RowQuery<'_>, at_ms: i64) -> Result<Vec<VectorSample>, String> {
        let at = UnixNanos(at_ms.saturating_mul(NANOS_PER_MILLI));
        let turn = self.turn().await;
        match query {
            RowQuery::Sql(sql) => sql_rows::samples(&self.state, tenant, sql, at).await,
            RowQuery::Logs(query) => log_rows::samples(&self.state, tenant, query, at, turn).await,
        }
    }

    async fn completeness(&self, tenant: TenantId, query: &RuleQuery, _at_ms: i64) -> Completeness {
        // A statement may read several; the signal that lags most decides what is missing.
        let all = query.signals().into_iter().filter_map(|signal| self.watermark(tenant, signal));
        Completeness { watermark_ms: all.min(), share: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{damaged_state, state};
    use super::*;
    use crate::config::QueryConfig;
    use crate::testing::NOW;

    /// Scenario: all turns of rules are taken. Guarantee: a rule of whatever tenant waits, however many questions of people are
    /// answered meanwhile, and is evaluated when a turn is given back.
    #[tokio::test]
    async fn a_rule_waits_for_its_turn() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = state(folder.path(), QueryConfig::default()).await;
        let turns = Turns::at_once(1);
        let taken = turns.next().await;
        let log_query = trivium_alert::LogQuery::parse("* | count() [5m] > 10").expect("a query");
        let rules: Vec<_> = (1..4)
            .map(|tenant| {
                let (querier, query) = (StoreQuerier::new(Arc::clone(&state), turns.clone()), log_query.clone());
                tokio::spawn(async move {
                    querier.promql(TenantId(tenant), "vector(1)", 0).await.expect("an answer");
                    querier.rows(TenantId(tenant), RowQuery::Logs(&query), 0).await.expect("an answer");
                })
            })
            .collect();
        let people = StoreQuerier::new(Arc::clone(&state), Turns::unbounded());
        for _ in 0..20 {
            people.promql(TenantId::DEFAULT, "vector(1)", 0).await.expect("an answer");
        }
        assert!(rules.iter().all(|rule| !rule.is_finished()));
        drop(taken);
        for rule in rules {
            rule.await.expect("it is evaluated");
        }
    }

    /// Scenario: samples that a rule asks for lie in a damaged part. Guarantee: it gets an error that names the part, in every
    /// language, instead of a result of what is left: its alerts stay as they are.
    #[tokio::test]
    async fn a_rule_over_a_damaged_part_is_told_what_is_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = damaged_state(folder.path()).await;
        let part = state.storage.parts()[0].id.to_string();
        let querier = StoreQuerier::new(state, Turns::unbounded());
        let at_ms = NOW / NANOS_PER_MILLI;
        let sql = RowQuery::Sql("SELECT sum(value) AS value FROM metrics");
        let errors = [
            querier.promql(TenantId::DEFAULT, "absent(queue_length)", at_ms).await.expect_err("a sample is missing"),
            querier.rows(TenantId::DEFAULT, sql, at_ms).await.expect_err("a row is missing"),
        ];
        for error in errors {
            assert!(error.contains("its result would be wrong") && error.contains(&part), "{error}");
        }
        querier.promql(TenantId::DEFAULT, "vector(1)", at_ms).await.expect("it asks for no sample");
    }
}
