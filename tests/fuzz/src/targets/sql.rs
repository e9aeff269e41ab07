//! SQL, through the engine itself: what mutation makes of questions is refused or answered within its time and memory, and what is
//! answered is a question.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trivium_ingest::decode::ReplayDecoder;
use trivium_ingest::{Coding, ExportRequest, IngestConfig, IngestDeps, PayloadFormat, Sink};
use trivium_model::{Clock, ManualClock, SignalKind, TenantId, WireFormat};
use trivium_query::{Error, QueryConfig, QueryState, SqlRequest};
use trivium_storage::catalog::SqliteCatalog;
use trivium_storage::fs::RealFileSystem;
use trivium_storage::{Storage, StorageConfig, StorageDeps};

use super::{Kind, Target, otlp, runtime, target};
use crate::corpus::separated;

const WORDS: &[&str] = &[
    "SELECT",
    "*",
    "FROM",
    "logs",
    "spans",
    "metrics",
    "rejected",
    "information_schema.tables",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "IN",
    "(",
    ")",
    ",",
    ";",
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "HAVING",
    "JOIN",
    "CROSS JOIN",
    "LATERAL",
    "::BIGINT[2147483647]",
    "::BIGINT[]",
    "to_char(time, '%c')",
    "[1, 2]",
    "UNNEST",
    "UNION ALL",
    "EXCEPT",
    "WITH",
    "RECURSIVE",
    "AS",
    "OVER",
    "PARTITION BY",
    "CASE WHEN",
    "END",
    "CAST",
    "::",
    "INTERVAL '1 hour'",
    "now()",
    "count(*)",
    "body",
    "time",
    "trace_id",
    "attributes",
    "matches",
    "LIKE",
    "SIMILAR TO",
    "~",
    "[",
    "]",
    "->",
    "NULL",
    "EXPLAIN",
    "ANALYZE",
    "CREATE TABLE t AS",
    "CREATE EXTERNAL TABLE",
    "COPY",
    "INTO",
    "INSERT INTO logs",
    "UPDATE logs SET",
    "DELETE FROM logs",
    "DROP TABLE logs",
    "SET",
    "FOR UPDATE",
    "TABLE",
    "VALUES",
    "$1",
    "@",
];

/// Words with which questions begin.
const QUESTIONS: [&str; 6] = ["SELECT", "WITH", "VALUES", "EXPLAIN", "TABLE", "FROM"];

/// How long a statement may take; the engine answers then, whatever the statement does.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Rows of an answer that are looked at.
const ROWS_MAX: usize = 100;

/// A store with a few rows in each table, in a folder that goes with it.
struct World {
    state: Arc<QueryState>,
    _folder: TempDir,
}

pub(super) fn targets() -> Vec<Target> {
    let Ok(runtime) = runtime() else { return Vec::new() };
    // Not before it is needed: it starts threads.
    let world = OnceCell::new();
    let seeds = separated(include_str!("../../corpus/sql.txt"));
    vec![target("sql", Kind::Text(WORDS), 200, seeds, move |input| {
        match world.get_or_init(|| runtime.block_on(open())) {
            Ok(world) => ask(&runtime, world, input),
            Err(error) => Err(error.clone()),
        }
    })]
}

async fn open() -> Result<World, String> {
    filled().await.map_err(|error| format!("the store does not open: {error}"))
}

async fn filled() -> anyhow::Result<World> {
    let folder = super::part::folder().ok_or_else(|| anyhow::anyhow!("there is no folder"))?;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(otlp::context().received_at));
    let deps = StorageDeps {
        fs: Arc::new(RealFileSystem::new()),
        clock: Arc::clone(&clock),
        catalog: Arc::new(SqliteCatalog::open(folder.path()).await?),
        decoder: Arc::new(ReplayDecoder),
        seed: 1,
    };
    let (storage, _) = Storage::open(folder.path(), StorageConfig::default(), deps).await?;
    fill(&storage, &clock).await?;
    let config = QueryConfig {
        memory_bytes_max: 64 << 20,
        query_memory_bytes_max: 48 << 20,
        timeout: TIMEOUT,
        timeout_max: TIMEOUT,
        ..QueryConfig::default()
    };
    let state = trivium_query::build(config, storage, clock, &mut Registry::default());
    Ok(World { state, _folder: folder })
}

/// Sends one request of each signal.
async fn fill(storage: &Storage, clock: &Arc<dyn Clock>) -> anyhow::Result<()> {
    let mut registry = Registry::default();
    let sink: Arc<dyn Sink> = Arc::new(storage.clone());
    let deps = IngestDeps { sink, clock: Arc::clone(clock), registry: &mut registry };
    let pipeline = trivium_ingest::build(IngestConfig::default(), deps).pipeline();
    let requests = [
        (SignalKind::Logs, otlp::log_seeds()),
        (SignalKind::Traces, otlp::trace_seeds()),
        (SignalKind::Metrics, otlp::metric_seeds()),
    ];
    for (signal, seeds) in requests {
        let request = ExportRequest {
            tenant: TenantId::DEFAULT,
            signal,
            wire_format: WireFormat::Otlp,
            format: PayloadFormat::Protobuf,
            coding: Coding::Identity,
            body: seeds.into_iter().next().unwrap_or_default().into(),
        };
        pipeline.export(request).await?;
    }
    Ok(())
}

fn ask(runtime: &Runtime, world: &World, input: &[u8]) -> Result<bool, String> {
    let sql = String::from_utf8_lossy(input).into_owned();
    let is_question = begins_as_question(&sql);
    let request =
        SqlRequest { tenant: TenantId::DEFAULT, sql, timeout: Some(TIMEOUT), rows_max: Some(ROWS_MAX), now: None };
    let answered = runtime.block_on(async {
        let mut answer = world.state.engine.run(&request).await?;
        while let Some(batch) = answer.next().await {
            batch?;
        }
        Ok::<(), Error>(())
    });
    verdict(answered, is_question)
}

/// Whoever asks may be refused, for whatever reason is theirs. An internal error is a defect of ours, be it of the engine below:
/// a person cannot do anything about it.
fn verdict(answered: Result<(), Error>, is_question: bool) -> Result<bool, String> {
    match answered {
        Ok(()) if !is_question => Err("it does more than ask, and is run".into()),
        Ok(()) => Ok(true),
        Err(error @ Error::Internal(_)) => Err(error.to_string()),
        Err(_) => Ok(false),
    }
}

/// Whether a statement begins with a word of a question. With a comment in it this cannot be told so simply.
fn begins_as_question(sql: &str) -> bool {
    if ["--", "/*", "#", "//"].iter().any(|comment| sql.contains(comment)) {
        return true;
    }
    let bare = sql.trim_start_matches(|found: char| found.is_whitespace() || matches!(found, '(' | ';'));
    let word: String = bare.chars().take_while(|found| found.is_alphanumeric() || *found == '_').collect();
    QUESTIONS.iter().any(|question| question.eq_ignore_ascii_case(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_is_a_finding_and_a_refusal_is_none() {
        let found = verdict(Err(Error::Internal("a plan without a root".into())), true);
        assert_eq!(found, Err("internal error: a plan without a root".into()));
        assert_eq!(verdict(Err(Error::invalid("there is no table \"log\"")), true), Ok(false));
        assert_eq!(verdict(Err(Error::Memory { limit_bytes: 1 }), true), Ok(false));
        assert_eq!(verdict(Ok(()), true), Ok(true));
        assert!(verdict(Ok(()), false).is_err(), "what does more than ask must not be run");
    }
}
