//! Which column, attribute or part of the body a field name means.

use std::fmt;

use super::span_field::SpanField;

/// What a field name in a search means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `service`, `service.name`: the resource attribute `service.name`.
    Service,
    /// `level`, `severity`: the class of `severity_number`, else of `severity_text`.
    Severity,
    /// `severity_number` as sent.
    SeverityNumber,
    /// `severity_text` as sent.
    SeverityText,
    /// `trace_id` in hexadecimal.
    TraceId,
    /// `span_id` in hexadecimal.
    SpanId,
    /// `event`, `event_name`.
    EventName,
    /// `body`: the text, or the canonical JSON of a structured body.
    Body,
    /// `body.a.b`: a value within a structured body.
    BodyPath(String),
    /// `flags`.
    Flags,
    /// `scope`, `scope.name`: the name of the instrumentation scope.
    ScopeName,
    /// A key without prefix: the record's attribute, and where the record has none, the resource's.
    Attribute(String),
    /// `attributes.KEY`: the record's attribute only.
    RecordAttribute(String),
    /// `resource.KEY`: the resource's attribute only.
    ResourceAttribute(String),
    /// What only a span has.
    Span(SpanField),
}

impl Field {
    /// The meaning of a name; every name has one.
    pub fn resolve(name: &str) -> Self {
        if let Some(field) = Self::built_in(name) {
            return field;
        }
        if let Some(key) = without_prefix(name, "attributes.") {
            return Self::RecordAttribute(key.to_owned());
        }
        if let Some(key) = without_prefix(name, "resource.") {
            return if key == "service.name" { Self::Service } else { Self::ResourceAttribute(key.to_owned()) };
        }
        if let Some(path) = without_prefix(name, "body.") {
            return Self::BodyPath(path.to_owned());
        }
        Self::Attribute(name.to_owned())
    }

    fn built_in(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "service" | "service.name" | "service_name" => Self::Service,
            "level" | "severity" => Self::Severity,
            "severity_number" => Self::SeverityNumber,
            "severity_text" => Self::SeverityText,
            "trace_id" | "traceid" | "trace.id" => Self::TraceId,
            "span_id" | "spanid" | "span.id" => Self::SpanId,
            "event" | "event_name" | "event.name" => Self::EventName,
            "body" => Self::Body,
            "flags" => Self::Flags,
            "scope" | "scope.name" | "scope_name" => Self::ScopeName,
            _ => return None,
        })
    }

    /// The attribute key that a typing error could be in, `None` for a built-in field.
    pub fn attribute_key(&self) -> Option<&str> {
        match self {
            Self::Attribute(key) | Self::RecordAttribute(key) | Self::ResourceAttribute(key) => Some(key),
            _ => None,
        }
    }
}

/// The rest after a prefix that is followed by something. A key that starts like a prefix is still reachable:
/// `attributes.resource.x`.
fn without_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| !rest.is_empty())
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => formatter.write_str("service"),
            Self::Severity => formatter.write_str("severity"),
            Self::SeverityNumber => formatter.write_str("severity_number"),
            Self::SeverityText => formatter.write_str("severity_text"),
            Self::TraceId => formatter.write_str("trace_id"),
            Self::SpanId => formatter.write_str("span_id"),
            Self::EventName => formatter.write_str("event_name"),
            Self::Body => formatter.write_str("body"),
            Self::BodyPath(path) => write!(formatter, "body.{path}"),
            Self::Flags => formatter.write_str("flags"),
            Self::ScopeName => formatter.write_str("scope.name"),
            Self::Attribute(key) => formatter.write_str(key),
            Self::RecordAttribute(key) => write!(formatter, "attributes.{key}"),
            Self::ResourceAttribute(key) => write!(formatter, "resource.{key}"),
            Self::Span(field) => write!(formatter, "{field}"),
        }
    }
}
