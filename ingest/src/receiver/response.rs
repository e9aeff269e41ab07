//! The answer to a request that was taken: empty when all of it was, else how much was not, and why.

use bytes::Bytes;
use http::HeaderValue;
use prost::Message;
use serde_json::json;
use trivium_model::SignalKind;

use crate::pipeline::{Outcome, PayloadFormat, cut};

/// Bytes of the English explanation; OTLP allows 4 MiB for the whole answer, people read a screen.
const EXPLANATION_BYTES_MAX: usize = 4 * 1024;

/// Bytes of one example in it.
const EXAMPLE_BYTES_MAX: usize = 200;

/// `Export{Logs,Metrics,Trace}ServiceResponse`: the three have the same fields under the same numbers.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `Export{Logs,Metrics,Trace}PartialSuccess`.
#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    /// `rejected_log_records`, `rejected_data_points` or `rejected_spans`.
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// The content type of a format, in requests and answers.
pub(super) fn content_type(format: PayloadFormat) -> HeaderValue {
    HeaderValue::from_static(match format {
        PayloadFormat::Protobuf => "application/x-protobuf",
        PayloadFormat::Json => "application/json",
    })
}

/// The body of a success.
pub(super) fn encode(signal: SignalKind, outcome: &Outcome, format: PayloadFormat) -> Bytes {
    let response = ExportResponse { partial_success: partial_success(signal, outcome) };
    match format {
        PayloadFormat::Protobuf => response.encode_to_vec().into(),
        PayloadFormat::Json => json_response(signal, &response).to_string().into(),
    }
}

fn json_response(signal: SignalKind, response: &ExportResponse) -> serde_json::Value {
    let Some(partial) = &response.partial_success else { return json!({}) };
    let rejected = match signal {
        SignalKind::Logs => "rejectedLogRecords",
        SignalKind::Metrics => "rejectedDataPoints",
        SignalKind::Traces => "rejectedSpans",
    };
    // Proto3 JSON writes 64-bit integers as strings.
    json!({"partialSuccess": {rejected: partial.rejected.to_string(), "errorMessage": partial.error_message}})
}

/// Unset when every record was stored as it came. With nothing rejected but something changed it is a warning, which OTLP
/// expresses by a count of zero and a message.
fn partial_success(signal: SignalKind, outcome: &Outcome) -> Option<PartialSuccess> {
    if outcome.rejected.is_empty() && outcome.sanitized.is_empty() {
        return None;
    }
    let rejected: u64 = outcome.rejected.iter().map(|rejected| rejected.count).sum();
    let explanation = explanation(signal, outcome, rejected);
    Some(PartialSuccess {
        rejected: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: shorten(explanation, EXPLANATION_BYTES_MAX),
    })
}

/// What was refused of a request and why, as plain text; `None` when all of it was taken.
pub(super) fn refusal(signal: SignalKind, outcome: &Outcome) -> Option<String> {
    let rejected: u64 = outcome.rejected.iter().map(|rejected| rejected.count).sum();
    (rejected > 0).then(|| shorten(refused(signal, outcome, rejected), EXPLANATION_BYTES_MAX))
}

fn refused(signal: SignalKind, outcome: &Outcome, rejected: u64) -> String {
    let all = rejected.saturating_add(outcome.accepted);
    let reasons: Vec<String> = by_reason(outcome).iter().map(|reason| reason.describe()).collect();
    format!("rejected {rejected} of {all} {}s: {}", signal.item(), reasons.join("; "))
}

fn explanation(signal: SignalKind, outcome: &Outcome, rejected: u64) -> String {
    let mut sentences = Vec::new();
    if rejected > 0 {
        sentences.push(refused(signal, outcome, rejected));
    }
    if !outcome.sanitized.is_empty() {
        let change = |(reason, count): &(&str, u64)| format!("{} ({count})", reason.replace('_', " "));
        let changes: Vec<String> = outcome.sanitized.iter().map(change).collect();
        sentences.push(format!("stored with changed values: {}", changes.join("; ")));
    }
    sentences.join(". ")
}

/// The records that were rejected for one reason, over all services.
struct Reason<'a> {
    reason: &'static str,
    count: u64,
    example: &'a str,
}

impl Reason<'_> {
    fn describe(&self) -> String {
        if self.example.is_empty() {
            return format!("{} because {}", self.count, self.reason);
        }
        format!("{} because {} (for example {})", self.count, self.reason, cut(self.example, EXAMPLE_BYTES_MAX))
    }
}

fn by_reason(outcome: &Outcome) -> Vec<Reason<'_>> {
    let mut reasons: Vec<Reason<'_>> = Vec::new();
    for rejected in &outcome.rejected {
        match reasons.iter_mut().find(|known| known.reason == rejected.reason) {
            Some(known) => known.count += rejected.count,
            None => {
                let (reason, count, example) = (rejected.reason, rejected.count, rejected.example.as_str());
                reasons.push(Reason { reason, count, example });
            }
        }
    }
    reasons
}

fn shorten(text: String, bytes_max: usize) -> String {
    const MORE: &str = " …";
    if text.len() <= bytes_max {
        return text;
    }
    format!("{}{MORE}", cut(&text, bytes_max - MORE.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Rejected, Written};

    fn rejected(reason: &'static str, service: &str, count: u64, example: &str) -> Rejected {
        Rejected { reason, service: service.to_owned(), count, example: example.to_owned() }
    }

    fn outcome(rejected: Vec<Rejected>, sanitized: Vec<(&'static str, u64)>) -> Outcome {
        Outcome { accepted: 7, written: Written::default(), duplicate: false, rejected, sanitized }
    }

    #[test]
    fn full_success_is_the_empty_message() {
        let full = outcome(Vec::new(), Vec::new());
        assert!(encode(SignalKind::Logs, &full, PayloadFormat::Protobuf).is_empty());
        assert_eq!(encode(SignalKind::Logs, &full, PayloadFormat::Json), "{}");
    }

    #[test]
    fn every_reason_is_named_once_with_its_count_and_an_example() {
        let partial = outcome(
            vec![
                rejected("the trace ID is not 16 bytes", "cart", 2, "15 bytes"),
                rejected("the span ID is zero", "cart", 1, ""),
                rejected("the trace ID is not 16 bytes", "shop", 3, "17 bytes"),
            ],
            Vec::new(),
        );
        let body = encode(SignalKind::Traces, &partial, PayloadFormat::Json);
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let message = "rejected 6 of 13 spans: 5 because the trace ID is not 16 bytes (for example 15 bytes); \
                       1 because the span ID is zero";
        assert_eq!(body, json!({"partialSuccess": {"rejectedSpans": "6", "errorMessage": message}}));
    }

    #[test]
    fn changed_values_are_a_warning() {
        let warning =
            partial_success(SignalKind::Logs, &outcome(Vec::new(), vec![("truncated", 2), ("duplicate_key", 1)]));
        let warning = warning.expect("a warning");
        assert_eq!(warning.rejected, 0);
        assert_eq!(warning.error_message, "stored with changed values: truncated (2); duplicate key (1)");
    }

    #[test]
    fn a_long_explanation_is_cut() {
        let sanitized = vec![("a reason that is repeated", 1); 1_000];
        let partial = partial_success(SignalKind::Metrics, &outcome(Vec::new(), sanitized)).expect("a warning");
        assert!(partial.error_message.len() <= EXPLANATION_BYTES_MAX);
        assert!(partial.error_message.ends_with('…'));
    }
}
