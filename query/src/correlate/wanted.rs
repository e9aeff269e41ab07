//! What the user pasted, and what it may stand for.

use regex::{Regex, RegexBuilder};
use trivium_model::{SpanId, TraceId};
use trivium_storage::TokenFilter;
use trivium_storage::tokens::filter_for_phrase;

use crate::error::Error;
use crate::log_search::{CompiledQuery, compile_text};

/// Bytes of an ID.
const ID_BYTES_MAX: usize = 1_024;

/// What an ID looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdKind {
    Trace(TraceId),
    Span(SpanId),
    Other,
}

impl IdKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trace(_) => "trace",
            Self::Span(_) => "span",
            Self::Other => "other",
        }
    }

    fn of(text: &str) -> Self {
        let trace = text.parse::<TraceId>().ok().or_else(|| trace_of_header(text)).filter(|trace| !trace.is_zero());
        let span = text.parse::<SpanId>().ok().filter(|span| !span.is_zero());
        trace.map(Self::Trace).or(span.map(Self::Span)).unwrap_or(Self::Other)
    }
}

/// An ID, ready to be looked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) text: String,
    pub(crate) kind: IdKind,
    /// A UUID is also the trace ID of the same digits: some tools write trace IDs so.
    uuid: Option<TraceId>,
    pub(super) filter: TokenFilter,
    pub(super) phrase: CompiledQuery,
    /// Its longest plain token in any case; a text without it cannot bear the ID.
    needle: Option<Regex>,
}

impl Wanted {
    /// Reads what the user pasted.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() > ID_BYTES_MAX {
            return Err(Error::Limit {
                what: format!("the ID has {} bytes", text.len()),
                limit: format!("{ID_BYTES_MAX} bytes"),
            });
        }
        let phrase = filter_for_phrase(text);
        if phrase == TokenFilter::All || phrase == TokenFilter::And(Vec::new()) {
            let hint = "paste a trace ID, a span ID, an order number, or any word of a log record";
            return Err(Error::invalid_with_hint(format!("{text:?} has no letter and no digit to look for"), hint));
        }
        let (kind, uuid) = (IdKind::of(text), trace_of_uuid(text));
        let digits = match kind {
            IdKind::Trace(trace) => Some(trace.to_string()),
            IdKind::Span(span) => Some(span.to_string()),
            IdKind::Other => uuid.map(|trace| trace.to_string()),
        };
        let filter = match digits.map(TokenFilter::Token) {
            Some(token) if token != phrase => TokenFilter::Or(vec![phrase, token]),
            _ => phrase,
        };
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        Ok(Self { text: text.to_owned(), kind, uuid, filter, phrase: compile_text(&quoted)?, needle: needle(text) })
    }

    /// Whether an attribute set, as JSON, may bear the ID: cheaper than to take it apart. Letters and digits stand in JSON as
    /// they are.
    pub(super) fn may_stand_in(&self, set: &str) -> bool {
        self.needle.as_ref().is_none_or(|needle| needle.is_match(set))
    }

    /// The ID column that may hold it, and the bytes it then holds.
    pub(super) fn column(&self) -> Option<(&'static str, &[u8])> {
        match (&self.kind, &self.uuid) {
            (IdKind::Trace(trace), _) | (IdKind::Other, Some(trace)) => Some(("trace_id", &trace.0)),
            (IdKind::Span(span), _) => Some(("span_id", &span.0)),
            (IdKind::Other, None) => None,
        }
    }
}

fn needle(text: &str) -> Option<Regex> {
    let plain = |token: &&str| !token.is_empty() && token.is_ascii();
    let token =
        text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(plain).max_by_key(|token| token.len())?;
    RegexBuilder::new(&regex::escape(token)).case_insensitive(true).build().ok()
}

/// The trace ID of a header that carries one: W3C `traceparent` (`00-TRACE-SPAN-FLAGS`,
/// <https://www.w3.org/TR/trace-context/#traceparent-header>) and X-Ray (`1-TIME-UNIQUE`, 8 and 24 digits).
fn trace_of_header(text: &str) -> Option<TraceId> {
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [version, trace, span, flags] if [version.len(), span.len(), flags.len()] == [2, 16, 2] => trace.parse().ok(),
        ["1", time, unique] if [time.len(), unique.len()] == [8, 24] => format!("{time}{unique}").parse().ok(),
        _ => None,
    }
}

fn trace_of_uuid(text: &str) -> Option<TraceId> {
    let is_uuid = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    is_uuid.then(|| text.replace('-', "").parse().ok()).flatten().filter(|trace: &TraceId| !trace.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn column_of(text: &str) -> Option<(&'static str, String)> {
        let wanted = Wanted::parse(text).expect("an ID");
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect();
        wanted.column().map(|(name, id)| (name, hex(id)))
    }

    #[test]
    fn a_trace_id_is_known_in_every_form_in_which_tools_write_it() {
        for text in [
            TRACE.to_owned(),
            TRACE.to_uppercase(),
            format!("  {TRACE}\n"),
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("1-{}-{}", &TRACE[..8], &TRACE[8..]),
            "4bf92f35-77b3-4da6-a3ce-929d0e0e4736".to_owned(),
        ] {
            assert_eq!(column_of(&text), Some(("trace_id", TRACE.to_owned())), "{text}");
        }
    }

    #[test]
    fn other_ids_are_spans_or_words() {
        assert_eq!(column_of("00F067AA0BA902B7"), Some(("span_id", "00f067aa0ba902b7".to_owned())));
        for text in ["order-4711", "00000000000000000000000000000000", "0000000000000000", "zz-top"] {
            assert_eq!(column_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_has_nothing_to_look_for_is_refused() {
        for text in ["", "  ", "---", "\"", "\\"] {
            assert!(Wanted::parse(text).is_err(), "{text:?}");
        }
        assert!(Wanted::parse(&"a".repeat(ID_BYTES_MAX + 1)).is_err());
    }
}
