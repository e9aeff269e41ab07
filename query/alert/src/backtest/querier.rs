//! Queries of backtested rules: range queries in chunks where an expression only reads what is stored, an engine of our own
//! over memory where it also reads what the backtested rules write.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use trivium_model::TenantId;
use trivium_promql::ast::{Duration as AstDuration, Expr, ExprKind, ValueType, VectorSelector};
use trivium_promql::{
    Engine, EngineOptions, Labels, MatchKind, MatrixSeries, ParseOptions, SampleValue, Value, VectorSample, parse,
};

use super::overlay::{Layers, MAX_SAMPLES, Overlay};
use crate::file::{Group, RuleKind, RuleQuery};
use crate::inputs::{vector_selectors, visit};
use crate::seam::{Completeness, Querier, RowQuery, SampleToWrite, Sink, StepRange, WriteValue};

/// Slots that one range query answers.
const CHUNK_SLOTS: i64 = 500;

/// What a chain can look back at, when its expression does not say: the engine's lookback and some more.
const MIN_HORIZON_MS: i64 = 600_000;

/// How an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Slots ahead in one range query.
    Ahead,
    /// Slot by slot by the querier.
    Single,
    /// In memory: it reads what the rules write.
    Chained,
}

/// The answers of an expression for slots ahead.
#[derive(Debug, Default)]
struct Chunk {
    start_ms: i64,
    slots: Vec<Vec<VectorSample>>,
}

#[derive(Debug, Default)]
struct State {
    written: Overlay,
    stored: Overlay,
    /// Up to when `stored` has the inputs of chained expressions.
    stored_until: HashMap<String, i64>,
    chunks: HashMap<String, Chunk>,
}

/// Both ends of a backtested group: its queries and its samples.
#[derive(Debug)]
pub(super) struct History {
    querier: Arc<dyn Querier>,
    /// Names that the rules record.
    names: HashSet<String>,
    /// Names of their alerts.
    alerts: HashSet<String>,
    plans: HashMap<String, Plan>,
    is_chained: bool,
    horizon_ms: i64,
    interval_ms: i64,
    /// Last time that is asked for.
    end_ms: i64,
    state: Mutex<State>,
}

impl History {
    pub(super) fn new(querier: Arc<dyn Querier>, group: &Group, interval_ms: i64, end_ms: i64) -> Self {
        let of_kind = |kind| group.rules.iter().filter(move |rule| rule.kind == kind).map(|rule| rule.name.clone());
        let mut history = Self {
            querier,
            names: of_kind(RuleKind::Recording).collect(),
            alerts: of_kind(RuleKind::Alerting).collect(),
            plans: HashMap::new(),
            is_chained: false,
            horizon_ms: MIN_HORIZON_MS,
            interval_ms,
            end_ms,
            state: Mutex::default(),
        };
        for rule in &group.rules {
            let RuleQuery::PromQl(text) = &rule.query else { continue };
            let Ok(expr) = parse(text, &ParseOptions::EXPERIMENTAL) else { continue };
            let plan = history.plan(&expr);
            history.is_chained |= plan == Plan::Chained;
            history.horizon_ms = history.horizon_ms.max(MIN_HORIZON_MS.saturating_add(look_back(&expr)));
            history.plans.insert(text.clone(), plan);
        }
        history
    }

    fn plan(&self, expr: &Expr) -> Plan {
        let mut fixed = false;
        for (_, selector) in vector_selectors(expr) {
            if self.may_read_rules(selector) {
                return Plan::Chained;
            }
            fixed |= selector.at.is_some();
        }
        visit(expr, &mut |expr| fixed |= matches!(&expr.kind, ExprKind::Subquery(subquery) if subquery.at.is_some()));
        let is_series = matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar);
        if fixed || !is_series || is_ordered(expr) { Plan::Single } else { Plan::Ahead }
    }

    /// Whether a selector may select what the rules write.
    fn may_read_rules(&self, selector: &VectorSelector) -> bool {
        let of_name =
            |name: &str| selector.matchers.iter().filter(move |matcher| matcher.name == name).collect::<Vec<_>>();
        let alertnames = of_name("alertname");
        let reads_alerts = self.alerts.iter().any(|alert| alertnames.iter().all(|matcher| matcher.matches(alert)));
        let names = of_name("__name__");
        let selects = |name: &str| names.iter().all(|matcher| matcher.matches(name));
        self.names.iter().any(|name| selects(name))
            || reads_alerts && (selects("ALERTS") || selects("ALERTS_FOR_STATE"))
    }

    /// Whether a stored series is one that the rules write anew.
    fn is_replaced(&self, labels: &Labels) -> bool {
        match labels.metric_name() {
            "ALERTS" | "ALERTS_FOR_STATE" => self.alerts.contains(labels.get("alertname")),
            name => self.names.contains(name),
        }
    }

    async fn ahead(&self, tenant: TenantId, query: &str, at_ms: i64) -> Result<Value, String> {
        let mut state = self.state.lock().await;
        let chunk = state.chunks.entry(query.to_owned()).or_default();
        let index = at_ms.saturating_sub(chunk.start_ms) / self.interval_ms;
        let is_slot = at_ms >= chunk.start_ms && (at_ms - chunk.start_ms) % self.interval_ms == 0;
        let known = usize::try_from(index).ok().filter(|_| is_slot).and_then(|index| chunk.slots.get(index));
        if let Some(samples) = known {
            return Ok(Value::Vector(samples.clone()));
        }
        let last = at_ms.saturating_add((CHUNK_SLOTS - 1) * self.interval_ms).min(self.end_ms.max(at_ms));
        let range = StepRange { start_ms: at_ms, end_ms: last, step_ms: self.interval_ms };
        let series = self.querier.promql_range(tenant, query, range).await?;
        *chunk = Chunk { start_ms: at_ms, slots: slots(series, range)? };
        Ok(Value::Vector(chunk.slots.first().cloned().unwrap_or_default()))
    }

    async fn chained(&self, tenant: TenantId, query: &str, at_ms: i64) -> Result<Value, String> {
        let expr = parse(query, &ParseOptions::EXPERIMENTAL).map_err(|error| error.to_string())?;
        let mut state = self.state.lock().await;
        if state.stored_until.get(query).is_none_or(|until| *until < at_ms) {
            // Every expression reads the same window, so that one that was fetched before is complete for all.
            let until = at_ms.saturating_add((CHUNK_SLOTS - 1) * self.interval_ms).min(self.end_ms.max(at_ms));
            if state.stored_until.values().all(|until| *until < at_ms) {
                state.stored.clear();
            }
            for (expr, selector) in vector_selectors(&expr) {
                self.fetch(
                    tenant,
                    expr,
                    selector,
                    StepRange { start_ms: at_ms, end_ms: until, step_ms: self.interval_ms },
                    &mut state.stored,
                )
                .await?;
            }
            state.stored_until.insert(query.to_owned(), until);
            state.written.forget_before(at_ms.saturating_sub(self.horizon_ms));
        }
        let layers = Layers { written: &state.written, stored: &state.stored };
        let parse = ParseOptions::EXPERIMENTAL;
        let engine = Engine::new(EngineOptions { parse, ..EngineOptions::default() });
        engine.instant(&layers, query, at_ms).map(|answer| answer.value).map_err(|error| error.to_string())
    }

    /// Brings the stored samples that a selector needs for these slots.
    async fn fetch(
        &self,
        tenant: TenantId,
        expr: &Expr,
        selector: &VectorSelector,
        range: StepRange,
        stored: &mut Overlay,
    ) -> Result<(), String> {
        if self.reads_only_rules(selector) {
            return Ok(());
        }
        let plain = VectorSelector { offset: None, at: None, ..selector.clone() };
        let plain = Expr { kind: ExprKind::Vector(plain), position: expr.position };
        let window = range.end_ms.saturating_sub(range.start_ms).saturating_add(self.horizon_ms);
        let raw = match self.querier.promql(tenant, &format!("{plain}[{window}ms]"), range.end_ms).await? {
            Value::Matrix(series) => series,
            _ => return Err("the querier does not answer range selectors".to_owned()),
        };
        for series in raw.iter().filter(|series| !self.is_replaced(&series.labels)) {
            for (time, value) in &series.floats {
                stored.put(&series.labels, *time, SampleValue::Float(*value))?;
            }
            for (time, histogram) in &series.histograms {
                stored.put(&series.labels, *time, SampleValue::Histogram(Arc::clone(histogram)))?;
            }
        }
        if matches!(expr.kind, ExprKind::Vector(_)) {
            self.mark_ends(tenant, &plain, range, &raw, stored).await?;
        }
        Ok(())
    }

    /// A range selector does not tell when series ended; that they are no longer there in a slot does.
    async fn mark_ends(
        &self,
        tenant: TenantId,
        plain: &Expr,
        range: StepRange,
        raw: &[MatrixSeries],
        stored: &mut Overlay,
    ) -> Result<(), String> {
        let seen = self.querier.promql_range(tenant, &plain.to_string(), range).await?;
        let seen: HashMap<&Labels, HashSet<i64>> =
            seen.iter().map(|series| (&series.labels, times(series).collect())).collect();
        let none = HashSet::new();
        for series in raw.iter().filter(|series| !self.is_replaced(&series.labels)) {
            let seen = seen.get(&series.labels).unwrap_or(&none);
            let mut samples: Vec<i64> = times(series).collect();
            samples.sort_unstable();
            let mut slot = range.start_ms;
            while slot <= range.end_ms {
                let last = samples.partition_point(|time| *time <= slot).checked_sub(1).and_then(|at| samples.get(at));
                if let Some(last) = last.filter(|_| !seen.contains(&slot)) {
                    // It ended after the sample, and after the slot before, which may still have seen it.
                    let ended = (*last).max(slot.saturating_sub(range.step_ms));
                    stored.put_stale(&series.labels, ended.saturating_add(1))?;
                }
                slot = slot.saturating_add(range.step_ms);
            }
        }
        Ok(())
    }

    fn reads_only_rules(&self, selector: &VectorSelector) -> bool {
        let exact = |name: &str| {
            let mut found = selector.matchers.iter().filter(|matcher| matcher.name == name);
            found.find(|matcher| matches!(matcher.kind, MatchKind::Equal)).map(|matcher| matcher.value.as_str())
        };
        match exact("__name__") {
            Some("ALERTS" | "ALERTS_FOR_STATE") => exact("alertname").is_some_and(|name| self.alerts.contains(name)),
            Some(name) => self.names.contains(name),
            None => false,
        }
    }
}

fn times(series: &MatrixSeries) -> impl Iterator<Item = i64> + '_ {
    let histograms = series.histograms.iter().map(|(time, _)| *time);
    series.floats.iter().map(|(time, _)| *time).chain(histograms)
}

/// Whether an expression takes some series and not others by their order, which a range query may have differently.
fn is_ordered(expr: &Expr) -> bool {
    let mut found = false;
    visit(expr, &mut |expr| {
        if let ExprKind::Aggregate(aggregate) = &expr.kind {
            found |= matches!(aggregate.op.as_str(), "limitk" | "limit_ratio");
        }
    });
    found
}

/// How far an expression looks back, as far as it says.
fn look_back(expr: &Expr) -> i64 {
    let fixed = |duration: &AstDuration| match duration {
        AstDuration::Fixed(millis) => millis.saturating_abs(),
        AstDuration::Computed(..) => 0,
    };
    let mut total: i64 = 0;
    let mut add = |millis: i64| total = total.saturating_add(millis);
    visit(expr, &mut |expr| match &expr.kind {
        ExprKind::Vector(selector) => add(selector.offset.as_ref().map_or(0, fixed)),
        ExprKind::Matrix(matrix) => {
            add(fixed(&matrix.range));
            add(matrix.selector.offset.as_ref().map_or(0, fixed));
        }
        ExprKind::Subquery(subquery) => {
            add(fixed(&subquery.range));
            add(subquery.offset.as_ref().map_or(0, fixed));
        }
        _ => {}
    });
    total
}

/// The samples of each slot.
fn slots(series: Vec<MatrixSeries>, range: StepRange) -> Result<Vec<Vec<VectorSample>>, String> {
    let count = (range.end_ms - range.start_ms) / range.step_ms + 1;
    let mut slots: Vec<Vec<VectorSample>> = (0..count).map(|_| Vec::new()).collect();
    let mut total = 0;
    let mut put = |labels: &Labels, time: i64, value: SampleValue| {
        total += 1;
        if total > MAX_SAMPLES {
            return Err(format!("the backtest needs more than {MAX_SAMPLES} samples in memory; aggregate more"));
        }
        let index = usize::try_from((time - range.start_ms) / range.step_ms).unwrap_or(usize::MAX);
        if let Some(slot) = slots.get_mut(index) {
            slot.push(VectorSample { labels: labels.clone(), value });
        }
        Ok(())
    };
    for one in series {
        for (time, value) in one.floats {
            put(&one.labels, time, SampleValue::Float(value))?;
        }
        for (time, histogram) in one.histograms {
            put(&one.labels, time, SampleValue::Histogram(histogram))?;
        }
    }
    Ok(slots)
}

#[async_trait]
impl Querier for History {
    async fn promql(&self, tenant: TenantId, query: &str, at_ms: i64) -> Result<Value, String> {
        let plan = match self.plans.get(query) {
            Some(plan) => *plan,
            // A query of a template, or one that looks for inputs.
            None => match parse(query, &ParseOptions::EXPERIMENTAL) {
                Ok(expr) if self.plan(&expr) == Plan::Chained => Plan::Chained,
                _ => Plan::Single,
            },
        };
        match plan {
            Plan::Ahead => self.ahead(tenant, query, at_ms).await,
            Plan::Single => self.querier.promql(tenant, query, at_ms).await,
            Plan::Chained => self.chained(tenant, query, at_ms).await,
        }
    }

    async fn promql_range(&self, tenant: TenantId, query: &str, range: StepRange) -> Result<Vec<MatrixSeries>, String> {
        self.querier.promql_range(tenant, query, range).await
    }

    async fn rows(&self, tenant: TenantId, query: RowQuery<'_>, at_ms: i64) -> Result<Vec<VectorSample>, String> {
        self.querier.rows(tenant, query, at_ms).await
    }

    async fn completeness(&self, tenant: TenantId, query: &RuleQuery, at_ms: i64) -> Completeness {
        self.querier.completeness(tenant, query, at_ms).await
    }
}

#[async_trait]
impl Sink for History {
    async fn append(&self, _tenant: TenantId, samples: Vec<SampleToWrite>) -> Result<Vec<(usize, String)>, String> {
        if !self.is_chained {
            return Ok(Vec::new());
        }
        let mut state = self.state.lock().await;
        for sample in samples {
            match sample.value {
                WriteValue::Float(value) => state.written.put(&sample.labels, sample.t_ms, SampleValue::Float(value)),
                WriteValue::Histogram(histogram) => {
                    state.written.put(&sample.labels, sample.t_ms, SampleValue::Histogram(histogram))
                }
                WriteValue::Stale => state.written.put_stale(&sample.labels, sample.t_ms),
            }?;
        }
        Ok(Vec::new())
    }
}
