//! Templates of labels and annotations.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use trivium_model::TenantId;
use trivium_promql::{Labels, Value, VectorSample};

use crate::file::TemplateCheck;
use crate::seam::Querier;

/// Queries that the templates of one rule may make in one evaluation.
const MAX_QUERIES: usize = 1000;

/// What a template can tell of.
#[derive(Clone, Debug)]
pub struct TemplateData<'a> {
    /// Labels of the sample, with the metric's name.
    pub labels: &'a Labels,
    /// Labels of this installation.
    pub external_labels: &'a BTreeMap<String, String>,
    /// Where this installation is reached.
    pub external_url: &'a str,
    /// The sample's value.
    pub value: f64,
    /// The time of the evaluation, in milliseconds.
    pub now_ms: i64,
}

/// How `query` of a template is answered.
pub type QueryFn<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<VectorSample>, String>;

/// Expands templates.
pub trait Templates: TemplateCheck + Send + Sync + fmt::Debug {
    /// The text of a template. An error of `query` ends the expansion.
    fn expand(&self, text: &str, data: &TemplateData<'_>, query: QueryFn<'_>) -> Result<String, String>;
}

/// Expands the templates of one rule in one evaluation. Templates are synchronous and queries are not: a template that
/// asks for what is not known yet is given up, its query is made, and it is expanded again.
#[derive(Debug)]
pub(crate) struct Expander<'a> {
    templates: &'a dyn Templates,
    querier: &'a dyn Querier,
    tenant: TenantId,
    at_ms: i64,
    answers: HashMap<String, Result<Vec<VectorSample>, String>>,
}

impl<'a> Expander<'a> {
    pub(crate) fn new(templates: &'a dyn Templates, querier: &'a dyn Querier, tenant: TenantId, at_ms: i64) -> Self {
        Self { templates, querier, tenant, at_ms, answers: HashMap::new() }
    }

    /// The text; one that says what is wrong if it cannot be expanded, for the alert must go out all the same.
    pub(crate) async fn expand(&mut self, text: &str, data: &TemplateData<'_>) -> String {
        if !text.contains("{{") {
            return text.to_owned();
        }
        loop {
            let mut missing = None;
            let answers = &self.answers;
            let mut query = |query: &str| {
                answers.get(query).cloned().unwrap_or_else(|| {
                    missing = Some(query.to_owned());
                    Err("not known yet".to_owned())
                })
            };
            let result = self.templates.expand(text, data, &mut query);
            let Some(query) = missing else {
                return result.unwrap_or_else(|error| format!("<error expanding template: {error}>"));
            };
            let answer = self.ask(&query).await;
            self.answers.insert(query, answer);
        }
    }

    async fn ask(&self, query: &str) -> Result<Vec<VectorSample>, String> {
        if self.answers.len() >= MAX_QUERIES {
            return Err(format!("the templates of this rule make more than {MAX_QUERIES} different queries"));
        }
        vector(self.querier.promql(self.tenant, query, self.at_ms).await?)
    }
}

/// The samples of an answer; a scalar is one without labels.
pub(crate) fn vector(value: Value) -> Result<Vec<VectorSample>, String> {
    match value {
        Value::Vector(samples) => Ok(samples),
        Value::Scalar(value) => {
            Ok(vec![VectorSample { labels: Labels::default(), value: trivium_promql::SampleValue::Float(value) }])
        }
        Value::String(_) | Value::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
    }
}
