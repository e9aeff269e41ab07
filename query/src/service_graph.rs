//! Who calls whom and how well, drawn from spans: services, the databases and outside services they call, messages.
//!
//! What a service was asked is counted exactly. Calls need spans to be joined with their parents: beyond
//! [`JOINED_SPANS_MAX`] spans this is done for a share of the traces, chosen by their IDs, and counts are projected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use serde::Serialize;
use trivium_model::{TenantId, TimeRange};

use crate::engine::{Engine, SqlRequest};
use crate::error::Error;

/// Spans that are joined with their parents.
const JOINED_SPANS_MAX: u64 = 1_000_000;

/// Pairs of caller and callee of one answer, of each kind: those with most requests.
const CALLS_MAX: usize = 2_000;

/// Services of one answer: those with most spans.
const SERVICES_MAX: usize = 1_000;

/// The shares of traces that can be chosen: by the last four digits of their IDs, which are random in every version of
/// trace IDs.
const SHARES: u64 = 1 << 16;

/// What a node of the graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NodeKind {
    /// It sends spans.
    Service,
    /// Callers say that it is a database.
    Database,
    /// Callers name it, and nothing under its address sends spans.
    External,
}

/// How a callee is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CallKind {
    Call,
    Message,
}

/// Requests of a node or a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) count: u64,
    pub(crate) errors: u64,
    /// Nanoseconds; `None` when it is not known.
    pub(crate) p95: Option<i64>,
}

/// The name of a node. A service and a database may have the same name.
pub(crate) type NodeKey = (NodeKind, String);

/// Caller, callee and how.
pub(crate) type CallKey = (String, NodeKey, CallKind);

/// The graph of a range of time.
#[derive(Debug, Default)]
pub(crate) struct ServiceGraph {
    pub(crate) nodes: BTreeMap<NodeKey, Requests>,
    pub(crate) calls: BTreeMap<CallKey, Requests>,
    /// Of the traces, whose calls were looked at.
    pub(crate) sampled_share: f64,
    pub(crate) is_truncated: bool,
    pub(crate) is_partial: bool,
    pub(crate) warnings: BTreeSet<String>,
}

/// A condition on the time of a row.
pub(crate) fn within(range: TimeRange) -> String {
    format!("time >= to_timestamp_nanos({}) AND time < to_timestamp_nanos({})", range.start.0, range.end.0)
}

/// Spans `c` with their parents `p`, of both only what meets a condition.
pub(crate) fn spans_with_parents(condition: &str) -> String {
    format!(
        "(SELECT trace_id, parent_span_id, service_name, kind, status_code, duration FROM spans \
          WHERE {condition} AND parent_span_id IS NOT NULL) c \
         JOIN (SELECT trace_id, span_id, service_name, kind, status_code FROM spans WHERE {condition}) p \
         ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id"
    )
}

/// Count, errors and 95th percentile of the rows of a group.
fn requests_of(failed: &str, duration: &str) -> String {
    format!(
        "count(*) AS n, count(*) FILTER (WHERE {failed}) AS e, \
         CAST(approx_percentile_cont({duration}, 0.95) AS BIGINT) AS p95"
    )
}

/// The graph of all spans that began in the range.
pub(crate) async fn service_graph(
    engine: &Engine,
    tenant: TenantId,
    range: TimeRange,
    timeout: Duration,
) -> Result<ServiceGraph, Error> {
    let graph = ServiceGraph { sampled_share: 1.0, ..ServiceGraph::default() };
    let mut reader = Reader { engine, tenant, within: within(range), ends_at: Instant::now() + timeout, graph };
    let spans = reader.services().await?;
    reader.databases().await?;
    let sample = reader.sample(spans, JOINED_SPANS_MAX);
    reader.calls(&sample).await?;
    reader.messages(&sample).await?;
    reader.outside(&sample).await?;
    Ok(reader.graph)
}

/// Fills a graph by one statement after the other.
struct Reader<'a> {
    engine: &'a Engine,
    tenant: TenantId,
    within: String,
    ends_at: Instant,
    graph: ServiceGraph,
}

/// A row of an answer: its texts and what is counted.
type Row = (Vec<Option<String>>, Requests);

impl Reader<'_> {
    /// What every service was asked; answers how many spans there are.
    async fn services(&mut self) -> Result<u64, Error> {
        let sql = format!(
            "SELECT service_name, CAST(count(*) AS VARCHAR) AS spans, count(*) FILTER (WHERE kind IN (2, 5)) AS n, \
             count(*) FILTER (WHERE kind IN (2, 5) AND status_code = 2) AS e, \
             CAST(approx_percentile_cont(CASE WHEN kind IN (2, 5) THEN duration END, 0.95) AS BIGINT) AS p95 \
             FROM spans WHERE {} GROUP BY 1 ORDER BY count(*) DESC",
            self.within
        );
        let mut spans = 0_u64;
        for (texts, requests) in self.rows(sql, 2, SERVICES_MAX).await? {
            let [Some(service), Some(count)] = &texts[..] else { continue };
            spans = spans.saturating_add(count.parse().unwrap_or(0));
            self.graph.nodes.insert((NodeKind::Service, service.clone()), requests);
        }
        Ok(spans)
    }

    /// Databases that clients name by OpenTelemetry's attributes, old and new.
    async fn databases(&mut self) -> Result<(), Error> {
        let sql = format!(
            "SELECT service_name, coalesce(attributes['db.system.name'], attributes['db.system']) AS system, \
             coalesce(attributes['db.namespace'], attributes['db.name']) AS namespace, {} FROM spans \
             WHERE {} AND kind = 3 AND coalesce(attributes['db.system.name'], attributes['db.system']) IS NOT NULL \
             GROUP BY 1, 2, 3 ORDER BY n DESC",
            requests_of("status_code = 2", "duration"),
            self.within
        );
        for (texts, requests) in self.rows(sql, 3, CALLS_MAX).await? {
            let [Some(caller), Some(system), namespace] = &texts[..] else { continue };
            let name = namespace.as_ref().map_or_else(|| system.clone(), |namespace| format!("{system} {namespace}"));
            self.leaf(caller, (NodeKind::Database, name), requests, 1.0);
        }
        Ok(())
    }

    /// A condition that chooses so many traces that at most `spans_max` of the spans are looked at.
    fn sample(&mut self, spans: u64, spans_max: u64) -> String {
        if spans <= spans_max {
            return String::new();
        }
        let chosen = (u128::from(SHARES) * u128::from(spans_max) / u128::from(spans)).max(1);
        #[expect(clippy::cast_precision_loss, reason = "at most 65,536")]
        let share = chosen as f64 / SHARES as f64;
        self.graph.sampled_share = share;
        format!(" AND right(encode(trace_id, 'hex'), 4) < '{chosen:04x}'")
    }

    /// Spans whose parent is another service's. A call that the caller gave up has failed, whatever the callee says.
    async fn calls(&mut self, sample: &str) -> Result<(), Error> {
        let sql = format!(
            "SELECT p.service_name AS caller, c.service_name AS callee, \
             CASE WHEN c.kind = 5 THEN 'message' ELSE 'call' END AS kind, {} FROM {} \
             WHERE p.service_name <> c.service_name GROUP BY 1, 2, 3 ORDER BY n DESC",
            requests_of("c.status_code = 2 OR (p.kind = 3 AND p.status_code = 2)", "c.duration"),
            spans_with_parents(&format!("{}{sample}", self.within)),
        );
        for (texts, requests) in self.rows(sql, 3, CALLS_MAX).await? {
            let [Some(caller), Some(callee), Some(kind)] = &texts[..] else { continue };
            let kind = if kind == "message" { CallKind::Message } else { CallKind::Call };
            self.call(caller, (NodeKind::Service, callee.clone()), kind, requests, self.graph.sampled_share);
        }
        Ok(())
    }

    /// Messages that are linked with the span that sent them, in another trace. What was received and then processed has two
    /// spans with the link and counts once.
    async fn messages(&mut self, sample: &str) -> Result<(), Error> {
        let sql = format!(
            "SELECT p.service_name AS caller, c.service_name AS callee, {requests} \
             FROM (SELECT service_name, sent_trace, sent_span, max(CASE WHEN status_code = 2 THEN 1 ELSE 0 END) AS failed, \
                          max(duration) AS duration \
                   FROM (SELECT service_name, trace_id, status_code, duration, link['trace_id'] AS sent_trace, \
                                link['span_id'] AS sent_span \
                         FROM (SELECT unnest(links) AS link, service_name, trace_id, status_code, duration FROM spans \
                               WHERE {within}{sample} AND kind = 5 AND links IS NOT NULL)) \
                   WHERE trace_id <> sent_trace GROUP BY 1, 2, 3) c \
             JOIN (SELECT trace_id, span_id, service_name FROM spans WHERE {within} AND kind = 4) p \
             ON c.sent_trace = p.trace_id AND c.sent_span = p.span_id \
             WHERE p.service_name <> c.service_name GROUP BY 1, 2 ORDER BY n DESC",
            requests = requests_of("c.failed = 1", "c.duration"),
            within = self.within,
        );
        for (texts, requests) in self.rows(sql, 2, CALLS_MAX).await? {
            let [Some(caller), Some(callee)] = &texts[..] else { continue };
            let callee = (NodeKind::Service, callee.clone());
            self.call(caller, callee, CallKind::Message, requests, self.graph.sampled_share);
        }
        Ok(())
    }

    /// Calls to an address that no span answered: services of others. A service of ours that was down is none.
    async fn outside(&mut self, sample: &str) -> Result<(), Error> {
        let condition = format!("{}{sample}", self.within);
        let sql = format!(
            "SELECT p.service_name AS caller, p.address, {} \
             FROM (SELECT trace_id, span_id, service_name, status_code, duration, \
                          coalesce(attributes['peer.service'], attributes['server.address']) AS address FROM spans \
                   WHERE {condition} AND kind = 3 \
                     AND coalesce(attributes['peer.service'], attributes['server.address']) IS NOT NULL \
                     AND coalesce(attributes['db.system.name'], attributes['db.system']) IS NULL) p \
             LEFT JOIN (SELECT trace_id, parent_span_id FROM spans \
                        WHERE {condition} AND kind = 2 AND parent_span_id IS NOT NULL) c \
             ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id \
             WHERE c.trace_id IS NULL GROUP BY 1, 2 ORDER BY n DESC",
            requests_of("p.status_code = 2", "p.duration"),
        );
        for (texts, requests) in self.rows(sql, 2, CALLS_MAX).await? {
            let [Some(caller), Some(address)] = &texts[..] else { continue };
            // `payment.shop.svc` is the service payment.
            let host = address.split('.').next().unwrap_or(address);
            let is_ours = |name: &str| self.graph.nodes.contains_key(&(NodeKind::Service, name.to_owned()));
            if is_ours(address) || is_ours(host) {
                continue;
            }
            self.leaf(caller, (NodeKind::External, address.clone()), requests, self.graph.sampled_share);
        }
        Ok(())
    }

    /// A call to what sends no spans itself: what it was asked is what its callers asked.
    fn leaf(&mut self, caller: &str, callee: NodeKey, requests: Requests, share: f64) {
        let requests = projected(requests, share);
        match self.graph.nodes.get_mut(&callee) {
            None => drop(self.graph.nodes.insert(callee.clone(), requests)),
            Some(all) => {
                all.count = all.count.saturating_add(requests.count);
                all.errors = all.errors.saturating_add(requests.errors);
                // Percentiles of several callers do not add up.
                all.p95 = None;
            }
        }
        self.call(caller, callee, CallKind::Call, requests, 1.0);
    }

    fn call(&mut self, caller: &str, callee: NodeKey, kind: CallKind, requests: Requests, share: f64) {
        for node in [(NodeKind::Service, caller.to_owned()), callee.clone()] {
            self.graph.nodes.entry(node).or_default();
        }
        let key = (caller.to_owned(), callee, kind);
        let requests = projected(requests, share);
        let all = self.graph.calls.entry(key).or_insert(Requests { p95: requests.p95, ..Requests::default() });
        all.count = all.count.saturating_add(requests.count);
        all.errors = all.errors.saturating_add(requests.errors);
        all.p95 = all.p95.max(requests.p95);
    }

    /// The rows of a statement whose first columns are texts and whose last three are what is counted.
    async fn rows(&mut self, sql: String, texts: usize, rows_max: usize) -> Result<Vec<Row>, Error> {
        // Not nothing: then it is the engine that says that the time is over.
        let timeout = self.ends_at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let request =
            SqlRequest { tenant: self.tenant, sql, timeout: Some(timeout), rows_max: Some(rows_max), now: None };
        let mut answer = self.engine.run(&request).await?;
        let mut rows = Vec::new();
        while let Some(batch) = answer.next().await {
            rows.extend(rows_of(&batch?, texts)?);
        }
        let (_, mut warnings) = answer.notes();
        if answer.truncated() {
            // It speaks of a parameter of SQL.
            warnings.pop();
            self.graph.is_truncated = true;
        }
        self.graph.is_partial |= answer.incomplete();
        self.graph.warnings.extend(warnings);
        Ok(rows)
    }
}

fn rows_of(batch: &RecordBatch, texts: usize) -> Result<Vec<Row>, Error> {
    let column = |place: usize, data_type: &DataType| {
        cast(batch.column(place), data_type).map_err(|error| Error::Internal(format!("cannot read an answer: {error}")))
    };
    let names: Vec<_> = (0..texts).map(|place| column(place, &DataType::Utf8)).collect::<Result<_, _>>()?;
    let numbers: Vec<_> = (texts..texts + 3).map(|place| column(place, &DataType::Int64)).collect::<Result<_, _>>()?;
    let number = |place: usize, row: usize| {
        let values = numbers[place].as_primitive::<Int64Type>();
        values.is_valid(row).then(|| values.value(row))
    };
    let counted =
        |place: usize, row: usize| number(place, row).and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
    let row = |row: usize| {
        let text = |column: &arrow::array::ArrayRef| {
            let column = column.as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let requests = Requests { count: counted(0, row), errors: counted(1, row), p95: number(2, row) };
        (names.iter().map(text).collect(), requests)
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// What all traces have, by what a share of them has.
fn projected(requests: Requests, share: f64) -> Requests {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; a cast from f64 saturates"
    )]
    let of_all = |count: u64| if share < 1.0 { (count as f64 / share).round() as u64 } else { count };
    Requests { count: of_all(requests.count), errors: of_all(requests.errors), p95: requests.p95 }
}

#[cfg(test)]
mod tests;
