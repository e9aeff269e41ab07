//! The samples of a test.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use trivium_model::TenantId;
use trivium_promql::script::{MemorySource, Point};
use trivium_promql::{Engine, EngineOptions, MatrixSeries, ParseOptions, STALE_NAN_BITS, Series, Value, VectorSample};

use super::file::TestGroup;
use crate::duration::millis;
use crate::file::RuleQuery;
use crate::seam::{AlertNotice, Completeness, Notifier, Querier, RowQuery, SampleToWrite, Sink, StepRange, WriteValue};
use crate::template::vector;

/// Input series, and what the rules make of them.
#[derive(Debug)]
pub(super) struct TestSource {
    samples: Mutex<MemorySource>,
    engine: Engine,
}

impl TestSource {
    pub(super) fn new(test: &TestGroup, evaluation_interval: Duration) -> Result<Self, String> {
        let step = millis(test.interval.unwrap_or(evaluation_interval));
        let mut samples = MemorySource::default();
        for line in test.lines()? {
            let mut series = Series { labels: line.labels, ..Series::default() };
            for (index, point) in line.points.into_iter().enumerate() {
                let time = i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(step).saturating_add(test.start_ms);
                match point {
                    Some(Point::Float(value)) => {
                        series.times.push(time);
                        series.values.push(value);
                    }
                    Some(Point::Histogram { histogram, .. }) => series.histograms.push((time, histogram)),
                    None => {}
                }
            }
            samples.load(vec![series])?;
        }
        let parse = ParseOptions::EXPERIMENTAL;
        let default_subquery_step = millis(evaluation_interval);
        let engine = Engine::new(EngineOptions { parse, default_subquery_step, ..EngineOptions::default() });
        Ok(Self { samples: Mutex::new(samples), engine })
    }

    fn value(&self, query: &str, at_ms: i64) -> Result<Value, String> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.instant(&*samples, query, at_ms).map(|answer| answer.value).map_err(|error| error.to_string())
    }

    pub(super) fn vector(&self, query: &str, at_ms: i64) -> Result<Vec<VectorSample>, String> {
        vector(self.value(query, at_ms)?)
    }
}

#[async_trait]
impl Querier for TestSource {
    async fn promql(&self, _tenant: TenantId, query: &str, at_ms: i64) -> Result<Value, String> {
        self.value(query, at_ms)
    }

    async fn promql_range(
        &self,
        _tenant: TenantId,
        query: &str,
        range: StepRange,
    ) -> Result<Vec<MatrixSeries>, String> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.engine.range(&*samples, query, range.start_ms, range.end_ms, range.step_ms);
        match answer.map_err(|error| error.to_string())?.value {
            Value::Matrix(series) => Ok(series),
            _ => Err("the answer of a range query is no matrix".to_owned()),
        }
    }

    async fn rows(&self, _tenant: TenantId, _query: RowQuery<'_>, _at_ms: i64) -> Result<Vec<VectorSample>, String> {
        Ok(Vec::new())
    }

    async fn completeness(&self, _tenant: TenantId, _query: &RuleQuery, _at_ms: i64) -> Completeness {
        Completeness::default()
    }
}

#[async_trait]
impl Sink for TestSource {
    async fn append(&self, _tenant: TenantId, samples: Vec<SampleToWrite>) -> Result<Vec<(usize, String)>, String> {
        let mut source = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples {
            let mut series = Series { labels: sample.labels, ..Series::default() };
            let value = match sample.value {
                WriteValue::Float(value) => value,
                WriteValue::Stale => f64::from_bits(STALE_NAN_BITS),
                WriteValue::Histogram(histogram) => {
                    series.histograms.push((sample.t_ms, Arc::clone(&histogram)));
                    source.load(vec![series])?;
                    continue;
                }
            };
            series.times.push(sample.t_ms);
            series.values.push(value);
            source.load(vec![series])?;
        }
        Ok(Vec::new())
    }
}

/// Tells no one.
#[derive(Debug)]
pub(super) struct Silent;

#[async_trait]
impl Notifier for Silent {
    async fn notify(&self, _tenant: TenantId, _alerts: Vec<AlertNotice>) {}
}
