//! The rules of the property tests, applied to objects field by field, with lists and matching of its own.

use std::path::Path;

use trivium_model::SignalKind;
use trivium_proto::otlp::collector::logs::v1::ExportLogsServiceRequest;
use trivium_proto::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use trivium_proto::otlp::collector::trace::v1::ExportTraceServiceRequest;
use trivium_proto::otlp::common::v1::any_value::Value as Any;
use trivium_proto::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::{Exemplar, Metric};
use trivium_proto::otlp::resource::v1::Resource;
use trivium_redact::{Counts, Rules};

/// The rules.
pub(crate) fn rules() -> Rules {
    let text = "rules:
- {name: lists, keys: [password, '*token*'], action: drop}
- {name: names, keys: [user], action: replace, replacement: somebody}
- {name: mails, pattern: email, action: replace, replacement: '<mail>'}
- {name: cards, pattern: credit_card, action: mask, keep_last: 4, in: [body, attributes]}
- {name: badges, regex: 'B[0-9]{3}', action: drop, in: [span_name, status, event, other]}
";
    Rules::parse(text, Path::new("")).expect("valid rules")
}

fn only(lines: &[usize]) -> Rules {
    let texts = [
        "- {name: mails, pattern: email, action: replace, replacement: '<mail>'}\n",
        "- {name: cards, pattern: credit_card, action: mask, keep_last: 4}\n",
        "- {name: badges, regex: 'B[0-9]{3}', action: drop}\n",
    ];
    let text = lines.iter().map(|line| texts[*line]).collect::<String>();
    Rules::parse(&format!("rules:\n{text}"), Path::new("")).expect("valid rules")
}

pub(crate) struct Oracle {
    signal: SignalKind,
    values: Rules,
    others: Rules,
    cards: Rules,
}

impl Oracle {
    pub(crate) fn new(signal: SignalKind) -> Self {
        Self { signal, values: only(&[0, 1]), others: only(&[0, 2]), cards: only(&[1]) }
    }

    fn text(&self, rules: &Rules, text: &mut String) {
        if let Some(redacted) = rules.redact_text(self.signal, text.as_bytes(), &mut Counts::default()) {
            *text = String::from_utf8(redacted).expect("text stays text");
        }
    }

    fn other(&self, text: &mut String) {
        self.text(&self.others, text);
    }

    fn value(&self, value: &mut AnyValue) {
        match &mut value.value {
            Some(Any::StringValue(text)) => self.text(&self.values, text),
            Some(Any::BytesValue(bytes)) => {
                if let Some(redacted) = self.values.redact_text(self.signal, bytes, &mut Counts::default()) {
                    *bytes = redacted;
                }
            }
            Some(Any::ArrayValue(list)) => list.values.iter_mut().for_each(|value| self.value(value)),
            Some(Any::KvlistValue(list)) => self.attributes(&mut list.values),
            Some(Any::IntValue(integer)) if *integer >= 1_000_000_000_000 => {
                let mut text = integer.to_string();
                let digits = text.clone();
                self.text(&self.cards, &mut text);
                if text != digits {
                    value.value = Some(Any::StringValue(text));
                }
            }
            _ => {}
        }
    }

    fn attributes(&self, attributes: &mut Vec<KeyValue>) {
        let holds = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Any::StringValue(text)) => !text.is_empty(),
            Some(Any::BytesValue(bytes)) => !bytes.is_empty(),
            other => other.is_some(),
        };
        attributes.retain(|pair| {
            let key = pair.key.to_lowercase();
            !((key == "password" || key.contains("token")) && holds(pair))
        });
        for pair in attributes {
            let is_user = pair.key.to_lowercase() == "user" && holds(pair);
            if is_user {
                pair.value = Some(AnyValue { value: Some(Any::StringValue("somebody".into())) });
            } else if !["password", "user"].contains(&pair.key.to_lowercase().as_str())
                && !pair.key.to_lowercase().contains("token")
                && let Some(value) = &mut pair.value
            {
                self.value(value);
            }
            self.text(&self.values, &mut pair.key);
        }
    }

    fn resource(&self, resource: Option<&mut Resource>) {
        if let Some(resource) = resource {
            self.attributes(&mut resource.attributes);
        }
    }

    fn scope(&self, scope: Option<&mut InstrumentationScope>) {
        if let Some(scope) = scope {
            self.other(&mut scope.name);
            self.other(&mut scope.version);
            self.attributes(&mut scope.attributes);
        }
    }

    pub(crate) fn logs(&self, request: &mut ExportLogsServiceRequest) {
        for resource in &mut request.resource_logs {
            self.resource(resource.resource.as_mut());
            self.other(&mut resource.schema_url);
            for scope in &mut resource.scope_logs {
                self.scope(scope.scope.as_mut());
                self.other(&mut scope.schema_url);
                for record in &mut scope.log_records {
                    self.other(&mut record.severity_text);
                    self.other(&mut record.event_name);
                    self.attributes(&mut record.attributes);
                    record.body.iter_mut().for_each(|body| self.value(body));
                }
            }
        }
    }

    pub(crate) fn traces(&self, request: &mut ExportTraceServiceRequest) {
        for resource in &mut request.resource_spans {
            self.resource(resource.resource.as_mut());
            self.other(&mut resource.schema_url);
            for scope in &mut resource.scope_spans {
                self.scope(scope.scope.as_mut());
                self.other(&mut scope.schema_url);
                for span in &mut scope.spans {
                    self.other(&mut span.name);
                    self.other(&mut span.trace_state);
                    self.attributes(&mut span.attributes);
                    span.status.iter_mut().for_each(|status| self.other(&mut status.message));
                    for event in &mut span.events {
                        self.other(&mut event.name);
                        self.attributes(&mut event.attributes);
                    }
                    for link in &mut span.links {
                        self.other(&mut link.trace_state);
                        self.attributes(&mut link.attributes);
                    }
                }
            }
        }
    }

    pub(crate) fn metrics(&self, request: &mut ExportMetricsServiceRequest) {
        for resource in &mut request.resource_metrics {
            self.resource(resource.resource.as_mut());
            self.other(&mut resource.schema_url);
            for scope in &mut resource.scope_metrics {
                self.scope(scope.scope.as_mut());
                self.other(&mut scope.schema_url);
                scope.metrics.iter_mut().for_each(|metric| self.metric(metric));
            }
        }
    }

    fn metric(&self, metric: &mut Metric) {
        for text in [&mut metric.name, &mut metric.description, &mut metric.unit] {
            self.other(text);
        }
        self.attributes(&mut metric.metadata);
        macro_rules! points {
            ($data:expr) => {
                for point in &mut $data.data_points {
                    self.attributes(&mut point.attributes);
                    self.exemplars(&mut point.exemplars);
                }
            };
        }
        match &mut metric.data {
            Some(Data::Gauge(data)) => points!(data),
            Some(Data::Sum(data)) => points!(data),
            Some(Data::Histogram(data)) => points!(data),
            Some(Data::ExponentialHistogram(data)) => points!(data),
            Some(Data::Summary(data)) => {
                data.data_points.iter_mut().for_each(|point| self.attributes(&mut point.attributes));
            }
            None => {}
        }
    }

    fn exemplars(&self, exemplars: &mut [Exemplar]) {
        exemplars.iter_mut().for_each(|exemplar| self.attributes(&mut exemplar.filtered_attributes));
    }
}
