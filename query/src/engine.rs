//! Runs SQL: one session per query on a shared runtime environment, so that a query sees its tenant's tables and nothing
//! of another query.

mod answer;
mod executor;
mod memory;
pub(crate) mod meter;
mod metered;
mod notes;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::object_store::memory::InMemory;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use trivium_model::{Clock, TenantId, UnixNanos};

use crate::admission::Permit;
use crate::config::QueryConfig;
use crate::error::Error;
use crate::functions;
use crate::guard;
use crate::optimizer::{CoerceLists, SharePercentiles, TelemetryPlanner};
use crate::sql_error::SqlErrors;
use crate::table::{self, TableSource, TenantCatalog, TenantTables};

pub use answer::SqlAnswer;
pub(crate) use memory::QueryPool;
pub(crate) use notes::Notes;

use executor::Executor;
use meter::Meter;

/// Keys of the small side of a join up to which they prune the large side. 20,000 trace IDs are 320 KB.
const JOIN_KEYS_MAX: usize = 20_000;
const JOIN_KEYS_BYTES_MAX: usize = 1 << 20;

/// Runs SQL over snapshots of the store.
#[derive(Debug)]
pub struct Engine {
    source: Arc<dyn TableSource>,
    clock: Arc<dyn Clock>,
    config: QueryConfig,
    /// What all sessions have in common.
    template: SessionState,
    executor: Executor,
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
    /// What `now()` means in it; the time of the clock when `None`. Rules are evaluated as of their slot.
    pub now: Option<UnixNanos>,
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
            .build();
        Ok(Self { source, clock, config: config.clone(), template, executor: Executor::new()? })
    }

    /// Plans a statement and starts it. The rows come as the answer is polled; dropping it cancels the query. At the
    /// deadline there is an answer, whatever the query does then.
    pub async fn run(&self, request: &SqlRequest) -> Result<SqlAnswer, Error> {
        self.run_with(request, None).await
    }

    /// The same with a permit, which is held as long as the query runs.
    pub async fn run_permitted(&self, request: &SqlRequest, permit: Permit) -> Result<SqlAnswer, Error> {
        self.run_with(request, Some(permit)).await
    }

    async fn run_with(&self, request: &SqlRequest, permit: Option<Permit>) -> Result<SqlAnswer, Error> {
        let timeout = request.timeout.unwrap_or(self.config.timeout).min(self.config.timeout_max);
        let rows_max = request.rows_max.unwrap_or(self.config.rows_default).min(self.config.rows_max);
        let statement = self.statement(request, timeout, rows_max)?;
        SqlAnswer::start(&self.executor, statement, rows_max, permit).await
    }

    /// The statement with its tables and its share of the memory.
    fn statement(&self, request: &SqlRequest, timeout: Duration, rows_max: usize) -> Result<Statement, Error> {
        let failed = |error: DataFusionError| Error::Internal(format!("cannot set up the query: {error}"));
        let environment = self.template.runtime_env();
        let shared = Arc::clone(&environment.memory_pool);
        let pool = Arc::new(QueryPool::new(shared, self.config.memory_bytes_max, self.config.query_memory_bytes_max));
        let environment = RuntimeEnvBuilder::from_runtime_env(environment)
            .with_memory_pool(Arc::clone(&pool) as Arc<dyn MemoryPool>)
            .build_arc()
            .map_err(failed)?;
        let notes = Arc::new(Notes::default());
        Ok(Statement {
            sql: request.sql.clone(),
            rows_max,
            state: self.session(request.tenant, Some(environment), &notes, request.now),
            meter: Arc::new(Meter::new(timeout, Arc::clone(&pool) as Arc<dyn MemoryPool>)),
            errors: SqlErrors { pool },
            notes,
        })
    }

    /// A session that sees the tables of one tenant, at the time of our clock.
    fn session(
        &self,
        tenant: TenantId,
        environment: Option<Arc<RuntimeEnv>>,
        notes: &Arc<Notes>,
        now: Option<UnixNanos>,
    ) -> SessionState {
        let now = now.unwrap_or_else(|| self.clock.now());
        let mut planners = SessionStateDefaults::default_expr_planners();
        planners.insert(0, Arc::new(TelemetryPlanner { now }));
        let mut rules = Analyzer::new().rules;
        rules.insert(0, Arc::new(CoerceLists { now }));
        let mut builder = SessionStateBuilder::new_from_existing(self.template.clone())
            .with_expr_planners(planners)
            .with_analyzer_rules(rules);
        if let Some(environment) = environment {
            builder = builder.with_runtime_env(environment);
        }
        let mut state = builder.build();
        set_now(&mut state, now);
        let tables = TenantTables { source: Arc::clone(&self.source), tenant, notes: Arc::clone(notes) };
        let catalog = TenantCatalog::new(tables, Arc::new(state.clone()));
        state.register_catalog_list(Arc::new(table::session_catalogs(Arc::new(catalog))));
        state
    }
}

/// A statement on its way.
struct Statement {
    sql: String,
    rows_max: usize,
    state: SessionState,
    meter: Arc<Meter>,
    errors: SqlErrors,
    notes: Arc<Notes>,
}

impl Statement {
    /// Plans the statement and starts it.
    async fn start(&self) -> Result<SendableRecordBatchStream, Error> {
        let plan = meter::within(self.meter.scope(), self.plan()).await?;
        execute_stream(plan, self.state.task_ctx()).map_err(|error| self.errors.convert(error))
    }

    async fn plan(&self) -> Result<Arc<dyn ExecutionPlan>, Error> {
        let statement = guard::admit(&self.sql)?;
        let plan = self.state.statement_to_plan(statement).await.map_err(|error| self.errors.convert(error))?;
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan).map_err(|_| Error::ReadOnly { statement: plan.display().to_string() })?;
        guard::check_plan(&plan)?;
        guard::check_patterns(&plan)?;
        guard::check_casts(&plan)?;
        let plan = limited(plan, self.rows_max).map_err(|error| self.errors.convert(error))?;
        let plan = self.state.create_physical_plan(&plan).await.map_err(|error| self.errors.convert(error))?;
        metered::metered(plan, &self.meter).map_err(|error| self.errors.convert(error))
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

#[cfg(test)]
mod tests;

#[cfg(test)]
mod damage_tests;

#[cfg(test)]
mod hostile_tests;

#[cfg(test)]
mod pruning_tests;
