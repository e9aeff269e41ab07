//! A running server as the querier of checks.

use async_trait::async_trait;
use serde_json::Value as Json;
use trivium_alert::{Completeness, Querier, RowQuery, RuleQuery, StepRange};
use trivium_client::Failure;
use trivium_model::TenantId;
use trivium_promql::{Labels, MatrixSeries, SampleValue, Value, VectorSample};

fn cause(error: &reqwest::Error) -> String {
    let (Failure::NoServer(cause) | Failure::Tls(cause) | Failure::Other(cause)) = trivium_client::failure(error);
    cause
}

/// Asks PromQL over HTTP.
#[derive(Debug)]
pub(super) struct RemoteQuerier {
    pub(super) url: String,
    pub(super) client: reqwest::Client,
}

#[async_trait]
impl Querier for RemoteQuerier {
    async fn promql(&self, _: TenantId, query: &str, at_ms: i64) -> Result<Value, String> {
        let url = format!("{}/prometheus/api/v1/query", self.url.trim_end_matches('/'));
        let seconds = format!("{}.{:03}", at_ms.div_euclid(1_000), at_ms.rem_euclid(1_000));
        let answer = self.client.get(&url).query(&[("query", query), ("time", &seconds)]).send().await;
        let answer = answer.map_err(|error| format!("cannot ask {}: {}", self.url, cause(&error)))?;
        let answer: Json = answer.json().await.map_err(|error| format!("{} answered no JSON: {error}", self.url))?;
        if answer["status"] != "success" {
            // A refusal of who asks is in the words of our own API.
            let said = answer["error"].as_str().or_else(|| answer["error"]["message"].as_str());
            return Err(said.unwrap_or("the server answered an error").to_owned());
        }
        let samples = answer["data"]["result"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let sample = |sample: &Json| {
            let value = sample["value"][1].as_str().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN);
            let labels = sample["metric"].as_object().into_iter().flatten();
            let labels = labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
            VectorSample { labels: Labels::new(labels), value: SampleValue::Float(value) }
        };
        Ok(Value::Vector(samples.map(sample).collect()))
    }

    async fn promql_range(&self, _: TenantId, _: &str, _: StepRange) -> Result<Vec<MatrixSeries>, String> {
        Err("checks ask for no ranges".to_owned())
    }

    async fn rows(&self, _: TenantId, _: RowQuery<'_>, _: i64) -> Result<Vec<VectorSample>, String> {
        Err("checks ask for no rows".to_owned())
    }

    async fn completeness(&self, _: TenantId, _: &RuleQuery, _: i64) -> Completeness {
        Completeness::default()
    }
}
