//! Runs SQL: one session per query on a shared runtime environment, so that a query sees its tenant's tables and nothing
//! of another query.

mod execution;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::object_store::memory::InMemory;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use trivium_model::{Clock, TenantId, UnixNanos};

use self::execution::{Execution, Executor, Interrupt, InterruptJoins};
use crate::config::QueryConfig;
use crate::error::Error;
use crate::functions;
use crate::guard;
use crate::optimizer::{CoerceLists, Cooperate, SharePercentiles, TelemetryPlanner};
use crate::sql_error::SqlErrors;
use crate::table::{self, TableSource, TenantCatalog, TenantTables};

/// Keys of the small side of a join up to which they prune the large side. 20,000 trace IDs are 320 KB.
const JOIN_KEYS_MAX: usize = 20_000;
const JOIN_KEYS_BYTES_MAX: usize = 1 << 20;

/// Runs SQL over snapshots of the store, on threads of its own.
#[derive(Debug)]
pub struct Engine {
    config: QueryConfig,
    sessions: Arc<Sessions>,
    executor: Executor,
}

/// Makes a session for each statement.
#[derive(Debug)]
struct Sessions {
    source: Arc<dyn TableSource>,
    clock: Arc<dyn Clock>,
    /// What all sessions have in common.
    template: SessionState,
}

/// One question in SQL.
#[derive(Clone, Debug)]
pub struct SqlRequest {
    /// Whose tables.
    pub tenant: TenantId,
    /// The statement.
    pub sql: String,
    /// How long it may take; the configured time when `None`, never more than the configured maximum.
    pub timeout: Option<Duration>,
    /// How many rows at most; the configured number when `None`, never more than the configured maximum.
    pub rows_max: Option<usize>,
}

impl Engine {
    /// An engine over a store.
    pub(crate) fn new(
        config: &QueryConfig,
        source: Arc<dyn TableSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let failed = |error: DataFusionError| Error::Internal(format!("cannot set up the query engine: {error}"));
        let template = SessionStateBuilder::new()
            .with_config(session_config())
            .with_runtime_env(runtime_env(config).map_err(failed)?)
            .with_scalar_functions(functions::scalar_functions())
            .with_aggregate_functions(functions::aggregate_functions())
            .with_window_functions(functions::window_functions())
            .with_optimizer_rule(Arc::new(SharePercentiles))
            .with_physical_optimizer_rule(Arc::new(Cooperate))
            .build();
        let executor = Executor::new().map_err(|error| Error::Internal(format!("cannot start threads: {error}")))?;
        Ok(Self { config: config.clone(), sessions: Arc::new(Sessions { source, clock, template }), executor })
    }

    /// Plans a statement and starts it. The rows come as the answer is polled; dropping it cancels the query.
    pub async fn run(&self, request: &SqlRequest) -> Result<SqlAnswer, Error> {
        let timeout = request.timeout.unwrap_or(self.config.timeout).min(self.config.timeout_max);
        let rows_max = request.rows_max.unwrap_or(self.config.rows_default).min(self.config.rows_max);
        let errors = SqlErrors { memory_bytes_max: self.config.memory_bytes_max };
        let interrupt = Interrupt::after(timeout);
        let sessions = Arc::clone(&self.sessions);
        let (request, work) = (request.clone(), Arc::clone(&interrupt));
        let stream = async move { sessions.start(&request, rows_max, &errors, &work).await };
        let execution = self.executor.start(stream, interrupt, errors).await?;
        Ok(SqlAnswer { execution, rows_left: rows_max, truncated: false })
    }
}

impl Sessions {
    async fn start(
        &self,
        request: &SqlRequest,
        rows_max: usize,
        errors: &SqlErrors,
        interrupt: &Arc<Interrupt>,
    ) -> Result<SendableRecordBatchStream, Error> {
        let statement = guard::admit(&request.sql)?;
        let state = self.session(request.tenant, interrupt);
        let plan = state.statement_to_plan(statement).await.map_err(|error| errors.convert(error))?;
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan).map_err(|_| Error::ReadOnly { statement: plan.display().to_string() })?;
        let plan = limited(plan, rows_max).map_err(|error| errors.convert(error))?;
        let plan = state.create_physical_plan(&plan).await.map_err(|error| errors.convert(error))?;
        execute_stream(plan, state.task_ctx()).map_err(|error| errors.convert(error))
    }

    /// A session that sees the tables of one tenant, at the time of our clock.
    fn session(&self, tenant: TenantId, interrupt: &Arc<Interrupt>) -> SessionState {
        let now = self.clock.now();
        let mut planners = SessionStateDefaults::default_expr_planners();
        planners.insert(0, Arc::new(TelemetryPlanner { now }));
        let mut rules = Analyzer::new().rules;
        rules.insert(0, Arc::new(CoerceLists { now }));
        let mut state = SessionStateBuilder::new_from_existing(self.template.clone())
            .with_expr_planners(planners)
            .with_analyzer_rules(rules)
            .with_physical_optimizer_rule(Arc::new(InterruptJoins { interrupt: Arc::clone(interrupt) }))
            .build();
        set_now(&mut state, now);
        let tables = TenantTables { source: Arc::clone(&self.source), tenant };
        let catalog = TenantCatalog::new(tables, Arc::new(state.clone()));
        state.register_catalog_list(Arc::new(table::session_catalogs(Arc::new(catalog))));
        state
    }
}

/// What `now()` means in the statement.
fn set_now(state: &mut SessionState, now: UnixNanos) {
    state.execution_props_mut().query_execution_start_time = Some(DateTime::from_timestamp_nanos(now.0));
}

/// One row more than is wanted, to know whether there are more.
fn limited(plan: LogicalPlan, rows_max: usize) -> Result<LogicalPlan, DataFusionError> {
    match plan {
        LogicalPlan::Explain(_) => Ok(plan),
        other => LogicalPlanBuilder::from(other).limit(0, Some(rows_max.saturating_add(1)))?.build(),
    }
}

fn session_config() -> SessionConfig {
    let partitions = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_default_catalog_and_schema(table::CATALOG, table::SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    let options = config.options_mut();
    options.execution.enable_recursive_ctes = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.parquet.enable_page_index = true;
    options.optimizer.hash_join_inlist_pushdown_max_distinct_values = JOIN_KEYS_MAX;
    options.optimizer.hash_join_inlist_pushdown_max_size = JOIN_KEYS_BYTES_MAX;
    config
}

/// Memory for all queries together, no spilling to disk, and no object store but the name under which parts are known.
fn runtime_env(config: &QueryConfig) -> Result<Arc<RuntimeEnv>, DataFusionError> {
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(config.memory_bytes_max)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?;
    environment.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    environment.register_object_store(table::object_store_url()?.as_ref(), Arc::new(InMemory::new()));
    Ok(environment)
}

/// The rows of an answer as they come. Dropping it ends the statement.
#[derive(Debug)]
pub struct SqlAnswer {
    execution: Execution,
    rows_left: usize,
    truncated: bool,
}

impl SqlAnswer {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.execution.schema()
    }

    /// Whether rows were left out because there are more than were asked for. Known when all rows have come.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The next rows, `None` after the last. Never waits longer than the statement may take.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        if self.truncated {
            return None;
        }
        let batch = match self.execution.next().await? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        if batch.num_rows() > self.rows_left {
            self.truncated = true;
            return Some(Ok(batch.slice(0, self.rows_left)));
        }
        self.rows_left -= batch.num_rows();
        Some(Ok(batch))
    }
}

#[cfg(test)]
mod hostile_tests;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod pruning_tests;
