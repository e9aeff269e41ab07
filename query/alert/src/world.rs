//! A world for tests: samples in memory, a clock that follows tokio's paused time, and a log of what was told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use trivium_model::{Clock, HistoryEvent, MemoryStateStore, StateStore, TenantId, TimeRange, UnixNanos};
use trivium_promql::script::MemorySource;
use trivium_promql::{
    Engine, Labels, MatrixSeries, STALE_NAN_BITS, SampleValue, Series, SeriesSource, Value, VectorSample,
};

use crate::*;

/// Where tests begin: a full day.
pub(crate) const START_MS: i64 = 1_700_006_400_000;

#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(START_MS * 1_000_000).after(self.0.elapsed())
    }
}

/// `{{ .X }}`, replaced by a label, `value`, or the first value of a query.
#[derive(Debug)]
pub(crate) struct PlainTemplates;

impl TemplateCheck for PlainTemplates {
    fn check(&self, text: &str) -> Result<(), String> {
        if text.matches("{{").count() == text.matches("}}").count() {
            Ok(())
        } else {
            Err("unclosed action".to_owned())
        }
    }
}

impl Templates for PlainTemplates {
    fn expand(&self, text: &str, data: &TemplateData<'_>, query: QueryFn<'_>) -> Result<String, String> {
        let (mut expanded, mut rest) = (String::new(), text);
        while let Some((before, tail)) = rest.split_once("{{") {
            let (action, after) = tail.split_once("}}").ok_or("unclosed action")?;
            expanded.push_str(before);
            expanded.push_str(&match action.trim() {
                "value" => data.value.to_string(),
                "fail" => return Err("as told".to_owned()),
                other => match other.strip_prefix("query ") {
                    Some(text) => match query(text)?.first().map(|sample| &sample.value) {
                        Some(SampleValue::Float(value)) => value.to_string(),
                        _ => "none".to_owned(),
                    },
                    None => data.labels.get(other).to_owned(),
                },
            });
            rest = after;
        }
        Ok(expanded + rest)
    }
}

/// Rows, each with the time that they begin to be there.
type TimedRows = Vec<(i64, Vec<VectorSample>)>;

/// Samples, and how queries fail.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) source: Mutex<MemorySource>,
    pub(crate) written: Mutex<Vec<SampleToWrite>>,
    pub(crate) rows: Mutex<Vec<VectorSample>>,
    /// Rows by query.
    pub(crate) rows_of: Mutex<BTreeMap<String, TimedRows>>,
    /// What was asked for rows, with the time.
    pub(crate) asked: Mutex<Vec<(String, i64)>>,
    pub(crate) watermark_ms: Mutex<Option<i64>>,
    pub(crate) fails: Mutex<Option<String>>,
}

impl Samples {
    pub(crate) fn load(&self, labels: Labels, points: &[(i64, f64)]) {
        let times = points.iter().map(|(time, _)| START_MS + time).collect();
        let values = points.iter().map(|(_, value)| *value).collect();
        self.source.lock().unwrap().load(vec![Series { labels, times, values, ..Series::default() }]).unwrap();
    }

    pub(crate) fn instant(&self, query: &str, at_ms: i64) -> Result<Value, String> {
        let source = self.source.lock().unwrap();
        let source: &dyn SeriesSource = &*source;
        Engine::default().instant(source, query, at_ms).map(|answer| answer.value).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Querier for Samples {
    async fn promql(&self, _tenant: TenantId, query: &str, at_ms: i64) -> Result<Value, String> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        self.instant(query, at_ms)
    }

    async fn promql_range(&self, _: TenantId, query: &str, range: StepRange) -> Result<Vec<MatrixSeries>, String> {
        let source = self.source.lock().unwrap();
        let (start, end, step) = (range.start_ms, range.end_ms, range.step_ms);
        let answer = Engine::default().range(&*source, query, start, end, step).map_err(|error| error.to_string())?;
        match answer.value {
            Value::Matrix(series) => Ok(series),
            other => Err(format!("{other:?}")),
        }
    }

    async fn rows(&self, _: TenantId, query: RowQuery<'_>, at_ms: i64) -> Result<Vec<VectorSample>, String> {
        let text = match query {
            RowQuery::Sql(text) => text.to_owned(),
            RowQuery::Logs(logs) => format!("{} by {}", logs.search, logs.by.join(",")),
        };
        self.asked.lock().unwrap().push((text.clone(), at_ms));
        let rows_of = self.rows_of.lock().unwrap();
        let Some(times) = rows_of.get(&text) else { return Ok(self.rows.lock().unwrap().clone()) };
        let last = times.iter().rev().find(|(from, _)| START_MS + from <= at_ms);
        Ok(last.map(|(_, rows)| rows.clone()).unwrap_or_default())
    }

    async fn completeness(&self, _: TenantId, _: &RuleQuery, at_ms: i64) -> Completeness {
        let watermark = self.watermark_ms.lock().unwrap().unwrap_or(at_ms);
        Completeness { watermark_ms: Some(watermark), share: None }
    }
}

#[async_trait]
impl Sink for Samples {
    async fn append(&self, _: TenantId, samples: Vec<SampleToWrite>) -> Result<Vec<(usize, String)>, String> {
        let mut source = self.source.lock().unwrap();
        for sample in &samples {
            let mut series = Series { labels: sample.labels.clone(), ..Series::default() };
            match &sample.value {
                WriteValue::Histogram(histogram) => series.histograms.push((sample.t_ms, Arc::clone(histogram))),
                WriteValue::Float(value) => {
                    series.times.push(sample.t_ms);
                    series.values.push(*value);
                }
                WriteValue::Stale => {
                    series.times.push(sample.t_ms);
                    series.values.push(f64::from_bits(STALE_NAN_BITS));
                }
            }
            source.load(vec![series])?;
        }
        self.written.lock().unwrap().extend(samples);
        Ok(Vec::new())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<AlertNotice>>);

#[async_trait]
impl Notifier for Told {
    async fn notify(&self, _: TenantId, alerts: Vec<AlertNotice>) {
        self.0.lock().unwrap().extend(alerts);
    }
}

/// Everything together.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) samples: Arc<Samples>,
    pub(crate) told: Arc<Told>,
    pub(crate) store: Arc<MemoryStateStore>,
    pub(crate) clock: Arc<TokioClock>,
}

impl World {
    /// Within a runtime whose time is paused.
    pub(crate) fn new() -> Self {
        Self {
            samples: Arc::default(),
            told: Arc::default(),
            store: Arc::default(),
            clock: Arc::new(TokioClock(Instant::now())),
        }
    }

    pub(crate) fn deps(&self) -> Deps {
        Deps {
            querier: Arc::clone(&self.samples) as _,
            sink: Arc::clone(&self.samples) as _,
            store: Arc::clone(&self.store) as _,
            notifier: Arc::clone(&self.told) as _,
            templates: Arc::new(PlainTemplates),
            clock: Arc::clone(&self.clock) as _,
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now().0 / 1_000_000
    }

    pub(crate) async fn history(&self) -> Vec<HistoryEvent> {
        let mut events = self.store.history(TenantId::DEFAULT, "alert", TimeRange::ALL, 1_000_000).await.unwrap();
        events.reverse();
        events
    }

    /// What was told so far: minute since the start, name, state, labels that tell it apart.
    pub(crate) fn take_told(&self) -> Vec<AlertNotice> {
        std::mem::take(&mut *self.told.0.lock().unwrap())
    }
}

/// The groups of a file `rules.yml`.
pub(crate) fn rules(text: &str) -> RuleSet {
    let file = SourceFile { path: "rules.yml".to_owned(), text: text.to_owned() };
    RuleSet::parse(&[file], &PlainTemplates).unwrap()
}

pub(crate) fn lease(holder: &str) -> LeaseOptions {
    LeaseOptions { name: "rules".to_owned(), holder: holder.to_owned(), ttl: Duration::from_secs(30) }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied())
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
