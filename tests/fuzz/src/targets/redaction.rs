//! Redaction: files of rules, with what they make of requests, and requests under fixed rules. A request that is handed back as
//! it came had nothing in it, and one in which something was found is read as rows still.

use std::borrow::Cow;
use std::path::Path;

use trivium_model::{SignalKind, WireFormat};
use trivium_redact::{Counts, Rules};

use crate::corpus::separated;

pub(super) const WORDS: &[&str] = &[
    "rules:",
    "- {name: x, ",
    "keys: ",
    "pattern: ",
    "regex: ",
    "action: ",
    "drop",
    "mask",
    "hash",
    "replace",
    "keep_last: ",
    "replacement: ",
    "services: ",
    "signals: ",
    "in: ",
    "hash_key_file: ",
    "credit_card",
    "email",
    "ipv4",
    "iban",
    "*",
    "?",
    "(?i)",
    "(?P<secret>",
    "[a-z]{1000}",
    "\\b",
    ".*",
    "^",
    "$",
    "|",
    "é",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "\n",
    "&a",
    "*a",
    "<<",
    "18446744073709551616",
    "-1",
];

/// Rules that look everywhere, by key and by every kind of pattern.
const EVERYWHERE: &str = "rules:
- {name: keys, keys: ['*a*', le], action: replace, replacement: somebody}
- {name: mail, pattern: email, action: drop}
- {name: card, pattern: credit_card, action: mask, keep_last: 4}
- {name: iban, pattern: iban, action: drop}
- {name: text, regex: '(?i)e(?P<secret>[a-z])', action: replace, replacement: '<>', services: [cart]}
";

pub(super) fn rule_seeds() -> Vec<Vec<u8>> {
    separated(include_str!("../../corpus/redaction.yaml"))
}

/// Requests, each behind the number of its kind.
pub(super) fn request_seeds() -> Vec<Vec<u8>> {
    let of = |kind: u8, seeds: Vec<Vec<u8>>| seeds.into_iter().map(move |seed| [&[kind][..], &seed].concat());
    let kinds = [super::otlp::log_seeds(), super::otlp::trace_seeds(), super::otlp::metric_seeds()];
    let written = [super::remote_write::seeds_1(), super::remote_write::seeds_2()];
    (0..).zip(kinds.into_iter().chain(written)).flat_map(|(kind, seeds)| of(kind, seeds)).collect()
}

fn kind(number: u8) -> (SignalKind, WireFormat) {
    match number % 5 {
        0 => (SignalKind::Logs, WireFormat::Otlp),
        1 => (SignalKind::Traces, WireFormat::Otlp),
        2 => (SignalKind::Metrics, WireFormat::Otlp),
        3 => (SignalKind::Metrics, WireFormat::RemoteWrite1),
        _ => (SignalKind::Metrics, WireFormat::RemoteWrite2),
    }
}

/// Whether the request could be read.
fn redacted(rules: &Rules, number: u8, request: &[u8]) -> Result<bool, String> {
    let (signal, format) = kind(number);
    let mut counts = Counts::default();
    let Ok(redacted) = rules.redact(signal, format, request, &mut counts) else { return Ok(false) };
    match redacted {
        Cow::Borrowed(_) if counts.total() > 0 => Err(format!("{} hits, and nothing is changed", counts.total())),
        Cow::Owned(same) if same == request => Err("a copy of what it was".to_owned()),
        Cow::Owned(_) if counts.total() == 0 => Err("changed without a hit".to_owned()),
        Cow::Borrowed(_) | Cow::Owned(_) => Ok(true),
    }
}

/// A file of rules, on every seed of a request.
pub(super) fn rules(input: &[u8]) -> Result<bool, String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
    let Ok(rules) = Rules::parse(text, Path::new("/nonexistent")) else { return Ok(false) };
    for seed in request_seeds() {
        if let Some((number, request)) = seed.split_first() {
            redacted(&rules, *number, request)?;
        }
    }
    Ok(true)
}

/// A request under rules that look everywhere. What comes out can be read if what came in could.
pub(super) fn request(input: &[u8]) -> Result<bool, String> {
    let Some((number, request)) = input.split_first() else { return Ok(false) };
    let rules = Rules::parse(EVERYWHERE, Path::new("")).map_err(|error| error.to_string())?;
    if !redacted(&rules, *number, request)? {
        return Ok(false);
    }
    let (signal, format) = kind(*number);
    let mut counts = Counts::default();
    let once = rules.redact(signal, format, request, &mut counts).map_err(|error| error.to_string())?;
    match rules.redact(signal, format, &once, &mut counts) {
        Ok(_) => Ok(true),
        Err(error) => Err(format!("what came out cannot be read: {error}")),
    }
}
