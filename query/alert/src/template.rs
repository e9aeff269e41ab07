//! Templates of labels and annotations.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::OnceLock;

use trivium_model::TenantId;
use trivium_promql::{Labels, SampleValue, Value, VectorSample};
use trivium_template::functions::prometheus::{self, Environment};
use trivium_template::{self as template, Mode, TemplateSet};

use crate::alert::to_map;
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
pub type QueryFn<'a> = &'a (dyn Fn(&str) -> Result<Vec<VectorSample>, String> + Send + Sync);

/// Expands templates.
pub trait Templates: TemplateCheck + Send + Sync + fmt::Debug {
    /// The text of a template. An error of `query` ends the expansion.
    fn expand(&self, text: &str, data: &TemplateData<'_>, query: QueryFn<'_>) -> Result<String, String>;
}

/// Go's templates with Prometheus' functions.
#[derive(Clone, Debug, Default)]
pub struct GoTemplates {
    set: TemplateSet,
}

impl TemplateCheck for GoTemplates {
    fn check(&self, text: &str) -> Result<(), String> {
        let functions = prometheus::functions_for_check(&Environment::default());
        self.set.check(text, &functions, &prometheus::VARIABLES).map_err(|error| error.to_string())
    }
}

impl Templates for GoTemplates {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 with milliseconds are exact")]
    fn expand(&self, text: &str, data: &TemplateData<'_>, query: QueryFn<'_>) -> Result<String, String> {
        let now = data.now_ms as f64 / 1000.0;
        let environment = Environment { now, external_url: data.external_url.to_owned() };
        let functions = prometheus::functions(&environment).with("query", move |call| {
            call.expect(1)?;
            let samples = query(call.text(0)?)?.into_iter();
            Ok(template::Value::list(samples.map(|sample| template_sample(&sample)).collect()))
        });
        let values = prometheus::data(to_map(data.labels), data.external_labels.clone(), data.external_url, data.value);
        let variables = prometheus::variables(&values);
        let expanded = self.set.expand_with("", text, Mode::Text, &values, &functions, &variables);
        expanded.map_err(|error| error.to_string())
    }
}

fn template_sample(sample: &VectorSample) -> template::Value {
    let value = match &sample.value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(_) => 0.0,
    };
    prometheus::sample(to_map(&sample.labels), value)
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
            let missing = OnceLock::new();
            let answers = &self.answers;
            let query = |query: &str| {
                answers.get(query).cloned().unwrap_or_else(|| {
                    missing.get_or_init(|| query.to_owned());
                    Err("not known yet".to_owned())
                })
            };
            let result = self.templates.expand(text, data, &query);
            let Some(query) = missing.into_inner() else {
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
        Value::Scalar(value) => Ok(vec![VectorSample { labels: Labels::default(), value: SampleValue::Float(value) }]),
        Value::String(_) | Value::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, query: QueryFn<'_>) -> Result<String, String> {
        let labels = Labels::new([("__name__", "up"), ("job", "api")]);
        let external_labels = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
        let (external_url, now_ms) = ("http://here/t", 1_700_006_400_000);
        let data =
            TemplateData { labels: &labels, external_labels: &external_labels, external_url, value: 0.25, now_ms };
        GoTemplates::default().expand(text, &data, query)
    }

    #[test]
    fn templates_tell_of_their_alert() {
        let none: QueryFn<'_> = &|_| Ok(Vec::new());
        let text = "{{ $labels.job }} {{ .Labels.job }} {{ $value | humanizePercentage }} {{ $externalLabels.region }}";
        assert_eq!(expand(text, none).unwrap(), "api api 25% eu");
        assert_eq!(expand("{{ $externalURL }} {{ pathPrefix }}", none).unwrap(), "http://here/t /t");
        assert_eq!(expand("{{ $labels.missing }}|{{ $labels.__name__ }}", none).unwrap(), "|up");
    }

    #[test]
    fn templates_ask_queries() {
        let query: QueryFn<'_> = &|text| {
            assert_eq!(text, "sum(up)");
            Ok(vec![VectorSample { labels: Labels::new([("a", "b")]), value: SampleValue::Float(7.0) }])
        };
        let text = "{{ range query \"sum(up)\" }}{{ .Labels.a }}={{ .Value }}{{ end }}{{ with query \"sum(up)\" }} {{ . | first | value }}{{ end }}";
        assert_eq!(expand(text, query).unwrap(), "b=7 7");
        assert_eq!(
            expand("{{ query \"x\" }}", &|_| Err("no such thing".to_owned())).map_err(|e| e.contains("no such thing")),
            Err(true)
        );
    }

    #[test]
    fn templates_are_checked_at_load() {
        let templates = GoTemplates::default();
        assert_eq!(templates.check("{{ query \"up\" | first | value | humanize }} {{ $labels.a }}"), Ok(()));
        for text in ["{{ $labels.a", "{{ nothing }}", "{{ $other }}", "{{ if }}"] {
            assert!(templates.check(text).is_err(), "{text}");
        }
    }
}
