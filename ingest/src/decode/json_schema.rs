//! The OTLP messages as their JSON mapping sees them: names in lowerCamelCase, numbers and kinds (opentelemetry-proto 1.11).

/// How a field's value is written in JSON and on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Message(&'static Message),
    Text,
    /// Base64 in JSON.
    Bytes,
    /// Hexadecimal in JSON, unlike any other `bytes` (OTLP specification, JSON Protobuf Encoding).
    HexId,
    Bool,
    /// An enum: a number in JSON, never a name.
    Enum,
    Uint32,
    Sint32,
    Fixed32,
    Int64,
    Uint64,
    Fixed64,
    Sfixed64,
    Double,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) is_repeated: bool,
}

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_repeated: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_repeated: true }
}

const fn message(name: &'static str, number: u32, message: &'static Message) -> Field {
    one(name, number, Kind::Message(message))
}

const fn messages(name: &'static str, number: u32, message: &'static Message) -> Field {
    many(name, number, Kind::Message(message))
}

pub(super) static ANY_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        one("stringValue", 1, Kind::Text),
        one("boolValue", 2, Kind::Bool),
        one("intValue", 3, Kind::Int64),
        one("doubleValue", 4, Kind::Double),
        message("arrayValue", 5, &ARRAY_VALUE),
        message("kvlistValue", 6, &KEY_VALUE_LIST),
        one("bytesValue", 7, Kind::Bytes),
    ],
};
static ARRAY_VALUE: Message = Message { name: "ArrayValue", fields: &[messages("values", 1, &ANY_VALUE)] };
static KEY_VALUE_LIST: Message = Message { name: "KeyValueList", fields: &[messages("values", 1, &KEY_VALUE)] };
static KEY_VALUE: Message =
    Message { name: "KeyValue", fields: &[one("key", 1, Kind::Text), message("value", 2, &ANY_VALUE)] };
static RESOURCE: Message = Message {
    name: "Resource",
    fields: &[messages("attributes", 1, &KEY_VALUE), one("droppedAttributesCount", 2, Kind::Uint32)],
};
static SCOPE: Message = Message {
    name: "InstrumentationScope",
    fields: &[
        one("name", 1, Kind::Text),
        one("version", 2, Kind::Text),
        messages("attributes", 3, &KEY_VALUE),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

pub(super) static LOGS: Message =
    Message { name: "ExportLogsServiceRequest", fields: &[messages("resourceLogs", 1, &RESOURCE_LOGS)] };
static RESOURCE_LOGS: Message = Message {
    name: "ResourceLogs",
    fields: &[
        message("resource", 1, &RESOURCE),
        messages("scopeLogs", 2, &SCOPE_LOGS),
        one("schemaUrl", 3, Kind::Text),
    ],
};
static SCOPE_LOGS: Message = Message {
    name: "ScopeLogs",
    fields: &[message("scope", 1, &SCOPE), messages("logRecords", 2, &LOG_RECORD), one("schemaUrl", 3, Kind::Text)],
};
static LOG_RECORD: Message = Message {
    name: "LogRecord",
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("severityNumber", 2, Kind::Enum),
        one("severityText", 3, Kind::Text),
        message("body", 5, &ANY_VALUE),
        messages("attributes", 6, &KEY_VALUE),
        one("droppedAttributesCount", 7, Kind::Uint32),
        one("flags", 8, Kind::Fixed32),
        one("traceId", 9, Kind::HexId),
        one("spanId", 10, Kind::HexId),
        one("observedTimeUnixNano", 11, Kind::Fixed64),
        one("eventName", 12, Kind::Text),
    ],
};

pub(super) static TRACES: Message =
    Message { name: "ExportTraceServiceRequest", fields: &[messages("resourceSpans", 1, &RESOURCE_SPANS)] };
static RESOURCE_SPANS: Message = Message {
    name: "ResourceSpans",
    fields: &[
        message("resource", 1, &RESOURCE),
        messages("scopeSpans", 2, &SCOPE_SPANS),
        one("schemaUrl", 3, Kind::Text),
    ],
};
static SCOPE_SPANS: Message = Message {
    name: "ScopeSpans",
    fields: &[message("scope", 1, &SCOPE), messages("spans", 2, &SPAN), one("schemaUrl", 3, Kind::Text)],
};
static SPAN: Message = Message {
    name: "Span",
    fields: &[
        one("traceId", 1, Kind::HexId),
        one("spanId", 2, Kind::HexId),
        one("traceState", 3, Kind::Text),
        one("parentSpanId", 4, Kind::HexId),
        one("name", 5, Kind::Text),
        one("kind", 6, Kind::Enum),
        one("startTimeUnixNano", 7, Kind::Fixed64),
        one("endTimeUnixNano", 8, Kind::Fixed64),
        messages("attributes", 9, &KEY_VALUE),
        one("droppedAttributesCount", 10, Kind::Uint32),
        messages("events", 11, &EVENT),
        one("droppedEventsCount", 12, Kind::Uint32),
        messages("links", 13, &LINK),
        one("droppedLinksCount", 14, Kind::Uint32),
        message("status", 15, &STATUS),
        one("flags", 16, Kind::Fixed32),
    ],
};
static EVENT: Message = Message {
    name: "Event",
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("name", 2, Kind::Text),
        messages("attributes", 3, &KEY_VALUE),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};
static LINK: Message = Message {
    name: "Link",
    fields: &[
        one("traceId", 1, Kind::HexId),
        one("spanId", 2, Kind::HexId),
        one("traceState", 3, Kind::Text),
        messages("attributes", 4, &KEY_VALUE),
        one("droppedAttributesCount", 5, Kind::Uint32),
        one("flags", 6, Kind::Fixed32),
    ],
};
static STATUS: Message =
    Message { name: "Status", fields: &[one("message", 2, Kind::Text), one("code", 3, Kind::Enum)] };

pub(super) static METRICS: Message =
    Message { name: "ExportMetricsServiceRequest", fields: &[messages("resourceMetrics", 1, &RESOURCE_METRICS)] };
static RESOURCE_METRICS: Message = Message {
    name: "ResourceMetrics",
    fields: &[
        message("resource", 1, &RESOURCE),
        messages("scopeMetrics", 2, &SCOPE_METRICS),
        one("schemaUrl", 3, Kind::Text),
    ],
};
static SCOPE_METRICS: Message = Message {
    name: "ScopeMetrics",
    fields: &[message("scope", 1, &SCOPE), messages("metrics", 2, &METRIC), one("schemaUrl", 3, Kind::Text)],
};
static METRIC: Message = Message {
    name: "Metric",
    fields: &[
        one("name", 1, Kind::Text),
        one("description", 2, Kind::Text),
        one("unit", 3, Kind::Text),
        message("gauge", 5, &GAUGE),
        message("sum", 7, &SUM),
        message("histogram", 9, &HISTOGRAM),
        message("exponentialHistogram", 10, &EXPONENTIAL_HISTOGRAM),
        message("summary", 11, &SUMMARY),
        messages("metadata", 12, &KEY_VALUE),
    ],
};
static GAUGE: Message = Message { name: "Gauge", fields: &[messages("dataPoints", 1, &NUMBER_POINT)] };
static SUM: Message = Message {
    name: "Sum",
    fields: &[
        messages("dataPoints", 1, &NUMBER_POINT),
        one("aggregationTemporality", 2, Kind::Enum),
        one("isMonotonic", 3, Kind::Bool),
    ],
};
static HISTOGRAM: Message = Message {
    name: "Histogram",
    fields: &[messages("dataPoints", 1, &HISTOGRAM_POINT), one("aggregationTemporality", 2, Kind::Enum)],
};
static EXPONENTIAL_HISTOGRAM: Message = Message {
    name: "ExponentialHistogram",
    fields: &[messages("dataPoints", 1, &EXPONENTIAL_POINT), one("aggregationTemporality", 2, Kind::Enum)],
};
static SUMMARY: Message = Message { name: "Summary", fields: &[messages("dataPoints", 1, &SUMMARY_POINT)] };
static NUMBER_POINT: Message = Message {
    name: "NumberDataPoint",
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("asDouble", 4, Kind::Double),
        messages("exemplars", 5, &EXEMPLAR),
        one("asInt", 6, Kind::Sfixed64),
        messages("attributes", 7, &KEY_VALUE),
        one("flags", 8, Kind::Uint32),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    name: "HistogramDataPoint",
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("bucketCounts", 6, Kind::Fixed64),
        many("explicitBounds", 7, Kind::Double),
        messages("exemplars", 8, &EXEMPLAR),
        messages("attributes", 9, &KEY_VALUE),
        one("flags", 10, Kind::Uint32),
        one("min", 11, Kind::Double),
        one("max", 12, Kind::Double),
    ],
};
static EXPONENTIAL_POINT: Message = Message {
    name: "ExponentialHistogramDataPoint",
    fields: &[
        messages("attributes", 1, &KEY_VALUE),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        one("scale", 6, Kind::Sint32),
        one("zeroCount", 7, Kind::Fixed64),
        message("positive", 8, &BUCKETS),
        message("negative", 9, &BUCKETS),
        one("flags", 10, Kind::Uint32),
        messages("exemplars", 11, &EXEMPLAR),
        one("min", 12, Kind::Double),
        one("max", 13, Kind::Double),
        one("zeroThreshold", 14, Kind::Double),
    ],
};
static BUCKETS: Message =
    Message { name: "Buckets", fields: &[one("offset", 1, Kind::Sint32), many("bucketCounts", 2, Kind::Uint64)] };
static SUMMARY_POINT: Message = Message {
    name: "SummaryDataPoint",
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        messages("quantileValues", 6, &QUANTILE),
        messages("attributes", 7, &KEY_VALUE),
        one("flags", 8, Kind::Uint32),
    ],
};
static QUANTILE: Message =
    Message { name: "ValueAtQuantile", fields: &[one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)] };
static EXEMPLAR: Message = Message {
    name: "Exemplar",
    fields: &[
        one("timeUnixNano", 2, Kind::Fixed64),
        one("asDouble", 3, Kind::Double),
        one("spanId", 4, Kind::HexId),
        one("traceId", 5, Kind::HexId),
        one("asInt", 6, Kind::Sfixed64),
        messages("filteredAttributes", 7, &KEY_VALUE),
    ],
};
