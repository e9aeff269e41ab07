//! What scraped targets answer.

use crate::corpus::separated;

pub(super) const WORDS: &[&str] = &[
    "# HELP ",
    "# TYPE ",
    "# UNIT ",
    "# EOF\n",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
    "unknown",
    "_total",
    "_created",
    "_bucket",
    "_sum",
    "_count",
    "{",
    "}",
    "=",
    "\"",
    ",",
    "\\\"",
    "\\n",
    " # {",
    "le=\"+Inf\"",
    "quantile=\"0.5\"",
    " ",
    "\n",
    "NaN",
    "+Inf",
    "1e3",
    ".",
    "-",
];

pub(super) fn text_seeds() -> Vec<Vec<u8>> {
    let with_end = |mut seed: Vec<u8>| {
        seed.push(b'\n');
        seed
    };
    separated(include_str!("../../corpus/expositions.txt")).into_iter().map(with_end).collect()
}

/// A counter, as `io.prometheus.client.MetricFamily` behind its length.
pub(super) fn protobuf_seeds() -> Vec<Vec<u8>> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let label = field(1, &[field(1, b"a"), field(2, b"b")].concat());
    let counter = field(3, &[&[1 << 3 | 1][..], &1.5_f64.to_le_bytes()].concat());
    let metric = field(4, &[label, counter, vec![6 << 3, 0x80, 0x90, 0xdf, 0xc3, 0xb8, 0x31]].concat());
    let family = [field(1, b"x_total"), field(2, b"help"), vec![3 << 3, 0], metric].concat();
    let one = [&[family.len() as u8][..], &family].concat();
    vec![one.clone(), one.repeat(2)]
}

fn run(content_type: &str, input: &[u8]) -> Result<bool, String> {
    Ok(trivium_scrape::check_exposition(content_type, input).is_ok())
}

pub(super) fn text(input: &[u8]) -> Result<bool, String> {
    run("text/plain", input)
}

pub(super) fn openmetrics(input: &[u8]) -> Result<bool, String> {
    run("application/openmetrics-text", input)
}

pub(super) fn protobuf(input: &[u8]) -> Result<bool, String> {
    run("application/vnd.google.protobuf", input)
}
