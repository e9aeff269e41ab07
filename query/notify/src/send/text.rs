//! Texts of notifications: the data that templates work on, and evidence in short form.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use trivium_template::functions::alertmanager;
use trivium_template::notification::{Alert, Data};
use trivium_template::{DEFAULT_TEMPLATES, Functions, Limits, Mode, TemplateSet, Time, Value};

use crate::config::{Config, ConfigError};
use crate::engine::{Notification, Notified};
use crate::labels::Labels;

/// Lines of evidence for one alert.
const EVIDENCE_LINES_MAX: usize = 12;

/// Characters of one line of evidence.
const EVIDENCE_LINE_MAX: usize = 300;

/// The default templates, with what the diagnosis found behind the summary.
const EVIDENCE_TEMPLATES: &str = r#"
{{- define "slack.default.text" }}{{ range .Alerts }}{{ with .Annotations.summary }}{{ . }}
{{ end }}{{ range .EvidenceLines }}• {{ . }}
{{ end }}{{ with .Annotations.description }}{{ . }}
{{ end }}{{ end }}{{ end -}}
{{- define "__text_alert" -}}
{{ with .Annotations.summary }}{{ . }}
{{ end }}{{ range .EvidenceLines }} * {{ . }}
{{ end }}{{ with .Annotations.description }}{{ . }}
{{ end }}Labels:
{{ range .Labels.SortedPairs }} - {{ .Name }} = {{ .Value }}
{{ end }}Annotations:
{{ range .Annotations.SortedPairs }} - {{ .Name }} = {{ .Value }}
{{ end }}Since: {{ .StartsAt }}
Source: {{ .GeneratorURL }}
{{ end -}}
{{- define "__text_alert_list_markdown" }}{{ range . }}
**{{ .Labels.alertname }}**{{ with .Annotations.summary }}: {{ . }}{{ end }}

{{ range .EvidenceLines }}- {{ . }}
{{ end }}{{ range .Labels.SortedPairs }}- {{ .Name }} = {{ .Value }}
{{ end }}{{ range .Annotations.SortedPairs }}- {{ .Name }}: {{ .Value }}
{{ end }}[Source]({{ .GeneratorURL }})
{{ end }}{{ end -}}
{{- define "__email_alert" -}}
<div style="padding:4px 12px;margin:12px 0">
<div style="font-weight:bold">{{ .Labels.alertname }}{{ with .Annotations.summary }}: {{ . }}{{ end }}</div>
{{ if .EvidenceLines }}<ul>
{{ range .EvidenceLines }}<li>{{ . }}</li>
{{ end }}</ul>
{{ end }}{{ with .Annotations.description }}<p>{{ . }}</p>
{{ end }}<div style="color:#555">since {{ .StartsAt.Format "2006-01-02 15:04:05 MST" }}</div>
<table>
{{ range .Labels.SortedPairs }}<tr><td style="color:#555">{{ .Name }}</td><td>{{ .Value }}</td></tr>
{{ end }}</table>
{{ with .GeneratorURL }}<a href="{{ . }}">Source</a>{{ end }}
</div>
{{ end -}}
"#;

/// The templates of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Templates {
    set: TemplateSet,
    external_url: String,
}

impl Templates {
    pub(crate) fn new(config: &Config, external_url: &str) -> Result<Self, ConfigError> {
        let functions = alertmanager::functions(Time::from_unix_nanos(0));
        let mut set = TemplateSet::new(Limits::default());
        let own = [("default.tmpl", DEFAULT_TEMPLATES), ("evidence.tmpl", EVIDENCE_TEMPLATES)];
        let files = config.templates.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        for (name, text) in own.into_iter().chain(files) {
            set.add(name, text, &functions).map_err(|error| ConfigError(format!("template {name}: {error}")))?;
        }
        Ok(Self { set, external_url: external_url.trim_end_matches('/').to_owned() })
    }

    pub(crate) fn external_url(&self) -> &str {
        &self.external_url
    }

    /// What is needed to expand the texts of one notification.
    pub(crate) fn of<'a>(&'a self, notification: &Notification) -> Texts<'a> {
        let data = self.data(notification);
        let functions = alertmanager::functions(Time::from_unix_nanos(notification.at.0));
        Texts { set: &self.set, functions, status: data.status.clone(), data: data.into() }
    }

    fn data(&self, notification: &Notification) -> Data {
        let alerts: Vec<Alert> = notification.alerts.iter().map(alert).collect();
        Data {
            receiver: notification.receiver.clone(),
            status: status(notification).to_owned(),
            group_labels: notification.group_labels.0.clone(),
            common_labels: common(notification, |one| &one.alert.labels).0,
            common_annotations: common(notification, |one| &one.alert.annotations).0,
            external_url: self.external_url.clone(),
            more: vec![("NotificationReason", notification.reason.as_str().into())],
            alerts,
        }
    }
}

/// The texts of one notification.
pub(crate) struct Texts<'a> {
    set: &'a TemplateSet,
    functions: Functions<'static>,
    data: Value,
    pub(crate) status: String,
}

impl Texts<'_> {
    /// Expands a template of the configuration.
    pub(crate) fn text(&self, template: &str) -> Result<String, String> {
        self.expand(template, Mode::Text)
    }

    /// Expands a template whose values are escaped for HTML.
    pub(crate) fn html(&self, template: &str) -> Result<String, String> {
        self.expand(template, Mode::Html)
    }

    /// Expands a template, or the default one of this name.
    pub(crate) fn or(&self, template: Option<&String>, default: &str) -> Result<String, String> {
        match template {
            Some(template) => self.text(template),
            None => self.text(&format!("{{{{ template \"{default}\" . }}}}")),
        }
    }

    /// Expands all texts in a value.
    pub(crate) fn all(&self, value: &Json) -> Result<Json, String> {
        Ok(match value {
            Json::String(template) => Json::String(self.text(template)?),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.all(item)).collect::<Result<_, _>>()?),
            Json::Object(entries) => {
                let expanded = entries.iter().map(|(key, value)| Ok((self.text(key)?, self.all(value)?)));
                Json::Object(expanded.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }

    pub(crate) fn map(&self, templates: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
        templates.iter().map(|(name, template)| Ok((name.clone(), self.text(template)?))).collect()
    }

    fn expand(&self, template: &str, mode: Mode) -> Result<String, String> {
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        let expanded = self.set.expand(template, mode, &self.data, &self.functions);
        expanded.map_err(|error| format!("failed to template: {error}"))
    }
}

/// `firing` while one alert fires.
pub(crate) fn status(notification: &Notification) -> &'static str {
    if notification.alerts.iter().any(|one| !one.is_resolved) { "firing" } else { "resolved" }
}

/// What all alerts share.
pub(crate) fn common(notification: &Notification, of: impl Fn(&Notified) -> &Labels) -> Labels {
    let mut alerts = notification.alerts.iter();
    let mut shared = alerts.next().map(|one| of(one).clone()).unwrap_or_default();
    for one in alerts {
        shared.0.retain(|name, value| of(one).0.get(name) == Some(value));
    }
    shared
}

fn alert(one: &Notified) -> Alert {
    let alert = &one.alert;
    let lines = alert.evidence.as_ref().map(evidence_lines).unwrap_or_default();
    // Go's zero time.
    let never =
        chrono::DateTime::from_timestamp(-62_135_596_800, 0).map_or_else(|| Time::from_unix_nanos(0), Time::from);
    Alert {
        status: if one.is_resolved { "resolved" } else { "firing" }.into(),
        labels: alert.labels.0.clone(),
        annotations: alert.annotations.0.clone(),
        starts_at: Time::from_unix_nanos(alert.starts_at),
        ends_at: if one.is_resolved { Time::from_unix_nanos(alert.ends_at) } else { never },
        generator_url: alert.generator_url.clone(),
        fingerprint: alert.fingerprint().to_string(),
        more: vec![
            ("Incident", alert.incident.clone().unwrap_or_default().into()),
            ("EvidenceLines", Value::list(lines.into_iter().map(Value::from).collect())),
        ],
    }
}

/// The evidence in a few lines: the origin first, then traces, log patterns and attributes.
pub(crate) fn evidence_lines(evidence: &Json) -> Vec<String> {
    let text = |value: &Json, name: &str| value.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let list = |name: &str| evidence.get(name).and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let mut lines = Vec::new();
    if let Some(summary) = evidence.get("summary").and_then(Json::as_str) {
        lines.push(summary.to_owned());
    }
    if let Some(origin) = evidence.get("origin") {
        let (service, version) = (text(origin, "service"), text(origin, "version"));
        let version = if version.is_empty() { version } else { format!(" version {version}") };
        if !service.is_empty() {
            lines.push(format!("likely origin: {service}{version}"));
        }
    }
    for trace in list("traces").iter().take(3) {
        let (id, url) = (text(trace, "trace_id"), text(trace, "url"));
        lines.push(format!("trace: {}", if url.is_empty() { id } else { url }));
    }
    for pattern in list("log_patterns").iter().take(3) {
        lines.push(format!("log pattern grew: {}", text(pattern, "pattern")));
    }
    for attribute in list("attributes").iter().take(3) {
        lines.push(format!("attribute changed: {}={}", text(attribute, "name"), text(attribute, "value")));
    }
    lines.truncate(EVIDENCE_LINES_MAX);
    lines.into_iter().map(|line| line.chars().take(EVIDENCE_LINE_MAX).collect()).collect()
}
