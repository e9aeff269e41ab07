//! What a target exposes: the text formats and protobuf, read into one list of samples.

pub(crate) mod protobuf;
pub(crate) mod series;
pub(crate) mod text;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use trivium_proto::prometheus::Histogram;

use crate::labels::LabelBuilder;

/// Why an exposition is refused as a whole.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ParseError {
    #[error("line {line}: {problem}")]
    Line { line: usize, problem: String },
    #[error("{0}")]
    Whole(String),
}

/// The formats, by `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
    Protobuf,
}

impl Format {
    /// The format of a content type; `None` when it is none of ours.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media.to_ascii_lowercase().as_str() {
            "text/plain" => Some(Self::Text),
            "application/openmetrics-text" => Some(Self::OpenMetrics),
            "application/vnd.google.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// The kinds of metrics, by their number in remote write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    GaugeHistogram = 4,
    Summary = 5,
    Info = 6,
    StateSet = 7,
}

/// What is known of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) kind: Kind,
    pub(crate) help: Cow<'a, str>,
    pub(crate) unit: Cow<'a, str>,
}

/// An exemplar; its labels as text between braces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar<'a> {
    pub(crate) labels: Cow<'a, str>,
    pub(crate) value: f64,
    pub(crate) timestamp: Option<i64>,
}

/// A sample's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Float(f64),
    Histogram(Box<Histogram>),
}

/// A sample. The series stays the text that the target wrote: who knows the text knows the labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) series: Cow<'a, str>,
    pub(crate) family: usize,
    pub(crate) value: Value,
    /// Unix milliseconds, when the target states them.
    pub(crate) timestamp: Option<i64>,
    /// When the counter began, in Unix milliseconds; 0 when nobody knows.
    pub(crate) start: i64,
    pub(crate) exemplars: Vec<Exemplar<'a>>,
}

/// A whole exposition.
#[derive(Debug, Default)]
pub(crate) struct Exposition<'a> {
    pub(crate) families: Vec<Family<'a>>,
    pub(crate) samples: Vec<Sample<'a>>,
}

/// Reads an exposition; `native` says whether protobuf's native histograms are wanted.
pub(crate) fn parse(body: &[u8], format: Format, native: bool) -> Result<Exposition<'_>, ParseError> {
    if format == Format::Protobuf {
        return protobuf::parse(body, native);
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| ParseError::Whole(format!("invalid UTF-8 after byte {}", error.valid_up_to())))?;
    text::parse(text, format == Format::OpenMetrics)
}

/// The labels of a series, `__name__` among them; `le` and `quantile` in the one form that all targets share.
pub(crate) fn labels(series: &str, kind: Kind) -> Result<LabelBuilder, String> {
    let mut labels = series::labels(series)?;
    let normalised = match kind {
        Kind::Histogram | Kind::GaugeHistogram => "le",
        Kind::Summary => "quantile",
        _ => return Ok(labels),
    };
    if let Ok(number) = text::float(labels.get(normalised)) {
        labels.set(normalised, bound(number));
    }
    Ok(labels)
}

/// A bound as OpenMetrics writes it: never without point or exponent.
pub(crate) fn bound(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let magnitude = number.abs();
    if number != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        return with_exponent(number);
    }
    let text = number.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

/// Go's form: a sign and at least two digits in the exponent.
fn with_exponent(number: f64) -> String {
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}
