//! What is fuzzed.

mod catalog;
mod encrypted;
mod exposition;
mod files;
mod language;
mod otlp;
mod outgoing;
mod part;
mod redaction;
mod remote_write;
mod request;
mod search;
mod sql;
mod tenant;
mod wal;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use trivium_mutate::Kind;

/// What a target says of an input: whether it could be read, or how the model disagrees.
type Run = Box<dyn Fn(&[u8]) -> Result<bool, String>>;

/// One parser or format.
pub struct Target {
    /// How it is called.
    pub name: &'static str,
    /// How its inputs are made.
    pub kind: Kind,
    /// Good inputs to begin with.
    pub seeds: Vec<Vec<u8>>,
    /// Takes one input.
    pub run: Run,
    /// How long one input may take; more is a hang. The build is not optimised, and the machine may be busy.
    pub within: Duration,
    /// Inputs of a run in the tests: a second or two.
    pub inputs: u64,
}

const WITHIN: Duration = Duration::from_secs(5);

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Target").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn target(
    name: &'static str,
    kind: Kind,
    inputs: u64,
    seeds: Vec<Vec<u8>>,
    run: impl Fn(&[u8]) -> Result<bool, String> + 'static,
) -> Target {
    Target { name, kind, seeds, run: Box::new(run), within: WITHIN, inputs }
}

/// For targets whose code waits: all on the thread that asks.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// All of them.
pub fn targets() -> Vec<Target> {
    let mut targets = ingest();
    targets.extend(storage());
    targets.extend(query());
    targets
}

fn ingest() -> Vec<Target> {
    let mut targets = vec![
        target("otlp_logs", Kind::Protobuf, 3_000, otlp::log_seeds(), otlp::logs),
        target("otlp_traces", Kind::Protobuf, 3_000, otlp::trace_seeds(), otlp::traces),
        target("otlp_metrics", Kind::Protobuf, 3_000, otlp::metric_seeds(), otlp::metrics),
        target("otlp_json", Kind::Text(otlp::JSON_WORDS), 3_000, otlp::json_seeds(), otlp::json),
        target("remote_write_1", Kind::Protobuf, 3_000, remote_write::seeds_1(), remote_write::version_1),
        target("remote_write_2", Kind::Protobuf, 3_000, remote_write::seeds_2(), remote_write::version_2),
        target("exposition_text", Kind::Text(exposition::WORDS), 3_000, exposition::text_seeds(), exposition::text),
        target(
            "exposition_openmetrics",
            Kind::Text(exposition::WORDS),
            3_000,
            exposition::text_seeds(),
            exposition::openmetrics,
        ),
        target("exposition_protobuf", Kind::Bytes, 3_000, exposition::protobuf_seeds(), exposition::protobuf),
        target("redaction_rules", Kind::Text(redaction::WORDS), 600, redaction::rule_seeds(), redaction::rules),
        target("redaction_request", Kind::Bytes, 3_000, redaction::request_seeds(), redaction::request),
    ];
    targets.extend(request::targets());
    targets.extend(tenant::targets());
    targets
}

fn storage() -> Vec<Target> {
    let mut targets = part::targets();
    targets.extend([
        target("wal", Kind::Bytes, 600, wal::seeds(), wal::open),
        target("wal_frames", Kind::Bytes, 600, wal::seeds(), wal::scan_resealed),
        target("wal_round_trip", Kind::Bytes, 400, wal::round_trip_seeds(), wal::round_trip),
    ]);
    targets.extend(catalog::targets());
    targets.extend(encrypted::targets());
    targets
}

fn query() -> Vec<Target> {
    let mut targets = vec![
        target("promql", Kind::Text(language::PROMQL_WORDS), 2_000, language::promql_seeds(), language::promql),
        target(
            "rule_log_query",
            Kind::Text(language::LOG_QUERY_WORDS),
            3_000,
            language::log_query_seeds(),
            language::log_query,
        ),
        target("matchers", Kind::Text(language::MATCHER_WORDS), 3_000, language::matcher_seeds(), language::matchers),
        target(
            "go_template",
            Kind::Text(language::TEMPLATE_WORDS),
            2_000,
            language::template_seeds(),
            language::template,
        ),
        target("rule_file", Kind::Text(files::WORDS), 1_000, files::rule_seeds(), files::rules),
        target(
            "alertmanager_config",
            Kind::Text(files::WORDS),
            1_000,
            files::alertmanager_seeds(),
            files::alertmanager,
        ),
        target("slo_file", Kind::Text(files::WORDS), 1_000, files::slo_seeds(), files::slos),
        target("scrape_config", Kind::Text(files::WORDS), 1_000, files::scrape_seeds(), files::scrape),
        target("outgoing_url", Kind::Text(outgoing::WORDS), 3_000, outgoing::seeds(), outgoing::check),
    ];
    targets.extend(sql::targets());
    targets.extend(search::targets());
    targets
}
