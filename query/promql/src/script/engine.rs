//! The engine over memory as a target of scripts.

use super::memory::MemorySource;
use super::target::{Answer, SampleValue, Target, TargetSample, TargetSeries, Value};
use crate::engine::{Engine, EngineOptions};
use crate::parse::ParseOptions;
use crate::series::Series;
use crate::value;

/// The engine with the options of Prometheus' own tests: all of the experimental language, delayed removal of names,
/// and start timestamps.
#[derive(Clone, Debug)]
pub struct EngineTarget {
    engine: Engine,
    source: MemorySource,
}

impl Default for EngineTarget {
    fn default() -> Self {
        let options = EngineOptions {
            parse: ParseOptions::EXPERIMENTAL,
            delayed_name_removal: true,
            use_start_timestamps: true,
            ..EngineOptions::default()
        };
        Self::new(options)
    }
}

impl EngineTarget {
    /// An engine with other options.
    pub fn new(options: EngineOptions) -> Self {
        Self { engine: Engine::new(options), source: MemorySource::default() }
    }
}

impl Target for EngineTarget {
    fn clear(&mut self) -> Result<(), String> {
        self.source.clear();
        Ok(())
    }

    fn load(&mut self, series: Vec<Series>) -> Result<(), String> {
        self.source.load(series)
    }

    fn instant(&mut self, query: &str, time: i64) -> Result<Answer, String> {
        let answer = self.engine.instant(&self.source, query, time);
        answer.map(Answer::from).map_err(|error| error.to_string())
    }

    fn range(&mut self, query: &str, start: i64, end: i64, step: i64) -> Result<Answer, String> {
        let answer = self.engine.range(&self.source, query, start, end, step);
        answer.map(Answer::from).map_err(|error| error.to_string())
    }
}

impl From<value::Answer> for Answer {
    fn from(answer: value::Answer) -> Self {
        let value = match answer.value {
            value::Value::Scalar(number) => Value::Scalar(number),
            value::Value::String(text) => Value::String(text),
            value::Value::Vector(samples) => Value::Vector(samples.into_iter().map(TargetSample::from).collect()),
            value::Value::Matrix(series) => Value::Matrix(series.into_iter().map(TargetSeries::from).collect()),
        };
        Self { value, warnings: answer.warnings, infos: answer.infos }
    }
}

impl From<value::VectorSample> for TargetSample {
    fn from(sample: value::VectorSample) -> Self {
        let value = match sample.value {
            value::SampleValue::Float(number) => SampleValue::Float(number),
            value::SampleValue::Histogram(histogram) => SampleValue::Histogram(histogram),
        };
        Self { labels: sample.labels, value }
    }
}

impl From<value::MatrixSeries> for TargetSeries {
    fn from(series: value::MatrixSeries) -> Self {
        let floats = series.floats.into_iter().map(|(time, value)| (time, SampleValue::Float(value)));
        let histograms = series.histograms.into_iter().map(|(time, value)| (time, SampleValue::Histogram(value)));
        let mut samples: Vec<_> = floats.chain(histograms).collect();
        samples.sort_by_key(|(time, _)| *time);
        Self { labels: series.labels, samples }
    }
}
