//! What the fields of the messages are that export requests consist of (opentelemetry-proto 1.9, remote write 1.0).

use trivium_model::SignalKind;

use crate::rules::Place;

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Export…ServiceRequest`.
    Request(SignalKind),
    /// `ResourceLogs`, `ResourceMetrics`, `ResourceSpans`.
    OfResource(SignalKind),
    /// `ScopeLogs`, `ScopeMetrics`, `ScopeSpans`.
    OfScope(SignalKind),
    Resource,
    EntityRef,
    Scope,
    LogRecord,
    Span,
    SpanEvent,
    SpanLink,
    SpanStatus,
    Metric,
    /// `Gauge` and `Sum`.
    Numbers,
    Histogram,
    ExponentialHistogram,
    Summary,
    NumberPoint,
    HistogramPoint,
    ExponentialHistogramPoint,
    SummaryPoint,
    Exemplar,
    /// `prometheus.WriteRequest`.
    WriteRequest,
    WriteSeries,
    WriteExemplar,
    WriteMetadata,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Text(Place),
    Message(Kind),
    /// A `KeyValue`.
    Attribute,
    /// An `AnyValue`.
    Value(Place),
    /// A label of remote write 1.0.
    Label,
    /// Numbers and IDs: no text.
    Opaque,
    Unknown,
}

impl Kind {
    /// What a field that holds bytes is.
    #[inline]
    pub(crate) fn field(self, number: u32) -> Field {
        use Field::{Attribute, Message, Opaque, Text, Unknown, Value};
        match (self, number) {
            (Self::Request(signal), 1) => Message(Self::OfResource(signal)),
            (Self::OfResource(_), 1) => Message(Self::Resource),
            (Self::OfResource(signal), 2) => Message(Self::OfScope(signal)),
            (Self::OfScope(_), 1) => Message(Self::Scope),
            (Self::OfScope(SignalKind::Logs), 2) => Message(Self::LogRecord),
            (Self::OfScope(SignalKind::Metrics), 2) => Message(Self::Metric),
            (Self::OfScope(SignalKind::Traces), 2) => Message(Self::Span),
            (Self::OfResource(_) | Self::OfScope(_), 3) => Text(Place::Other),
            (Self::Resource, 1) | (Self::Scope, 3) => Attribute,
            (Self::Resource, 3) => Message(Self::EntityRef),
            (Self::EntityRef, 1..=4) | (Self::Scope, 1 | 2) => Text(Place::Other),
            (Self::LogRecord, 3) => Text(Place::Other),
            (Self::LogRecord, 5) => Value(Place::Body),
            (Self::LogRecord, 6) => Attribute,
            (Self::LogRecord, 12) => Text(Place::Event),
            (Self::Span, 5) => Text(Place::SpanName),
            (Self::Span, 9) | (Self::SpanEvent, 3) | (Self::SpanLink, 4) => Attribute,
            (Self::Span, 11) => Message(Self::SpanEvent),
            (Self::Span, 13) => Message(Self::SpanLink),
            (Self::Span, 15) => Message(Self::SpanStatus),
            (Self::SpanEvent, 2) => Text(Place::Event),
            (Self::SpanStatus, 2) => Text(Place::Status),
            (Self::Span | Self::SpanLink, 3) => Text(Place::Other),
            (Self::LogRecord, 9 | 10) | (Self::Span, 1 | 2 | 4) | (Self::SpanLink, 1 | 2) => Opaque,
            _ => self.metric_field(number).unwrap_or(Unknown),
        }
    }

    fn metric_field(self, number: u32) -> Option<Field> {
        use Field::{Attribute, Message, Opaque, Text};
        Some(match (self, number) {
            (Self::Metric, 1..=3) => Text(Place::Other),
            (Self::Metric, 5 | 7) => Message(Self::Numbers),
            (Self::Metric, 9) => Message(Self::Histogram),
            (Self::Metric, 10) => Message(Self::ExponentialHistogram),
            (Self::Metric, 11) => Message(Self::Summary),
            (Self::Metric, 12) => Attribute,
            (Self::Numbers, 1) => Message(Self::NumberPoint),
            (Self::Histogram, 1) => Message(Self::HistogramPoint),
            (Self::ExponentialHistogram, 1) => Message(Self::ExponentialHistogramPoint),
            (Self::Summary, 1) => Message(Self::SummaryPoint),
            (Self::NumberPoint | Self::SummaryPoint | Self::Exemplar, 7) => Attribute,
            (Self::HistogramPoint, 9) | (Self::ExponentialHistogramPoint, 1) => Attribute,
            (Self::NumberPoint, 5) | (Self::HistogramPoint, 8) | (Self::ExponentialHistogramPoint, 11) => {
                Message(Self::Exemplar)
            }
            (Self::HistogramPoint, 6 | 7) | (Self::ExponentialHistogramPoint, 8 | 9) => Opaque,
            (Self::SummaryPoint, 6) | (Self::Exemplar, 4 | 5) => Opaque,
            _ => return self.write_field(number),
        })
    }

    fn write_field(self, number: u32) -> Option<Field> {
        Some(match (self, number) {
            (Self::WriteRequest, 1) => Field::Message(Self::WriteSeries),
            (Self::WriteRequest, 3) => Field::Message(Self::WriteMetadata),
            (Self::WriteSeries | Self::WriteExemplar, 1) => Field::Label,
            (Self::WriteSeries, 2 | 4) => Field::Opaque,
            (Self::WriteSeries, 3) => Field::Message(Self::WriteExemplar),
            (Self::WriteMetadata, 2 | 4 | 5) => Field::Text(Place::Other),
            _ => return None,
        })
    }

    /// Whether it is looked at as a whole before its texts are: the messages that come in numbers, and what surrounds them.
    pub(crate) fn is_screened(self) -> bool {
        matches!(
            self,
            Self::Resource
                | Self::Scope
                | Self::LogRecord
                | Self::Span
                | Self::Metric
                | Self::NumberPoint
                | Self::HistogramPoint
                | Self::ExponentialHistogramPoint
                | Self::SummaryPoint
                | Self::WriteSeries
                | Self::WriteMetadata
        )
    }

    /// Whether the decoder refuses the whole request when the framing of such a message is wrong.
    pub(crate) fn is_framing(self) -> bool {
        matches!(self, Self::Request(_) | Self::OfResource(_) | Self::OfScope(_) | Self::WriteRequest)
    }

    /// Whether it is all of a request.
    pub(crate) fn is_request(self) -> bool {
        matches!(self, Self::Request(_) | Self::WriteRequest)
    }

    /// Whether a field of such a message becomes a row.
    pub(crate) fn is_row(self, number: u32) -> bool {
        match self {
            Self::OfScope(SignalKind::Logs | SignalKind::Traces) => number == 2,
            Self::Numbers | Self::Histogram | Self::ExponentialHistogram | Self::Summary => number == 1,
            Self::WriteSeries => matches!(number, 2..=4),
            _ => false,
        }
    }
}
