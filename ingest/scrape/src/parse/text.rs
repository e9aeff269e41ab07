//! The text formats: Prometheus 0.0.4 and 1.0, OpenMetrics 1.0.

use std::borrow::Cow;
use std::collections::HashMap;

use trivium_model::limit;

use super::series::{self, shorten};
use super::{Exemplar, Exposition, Family, Kind, ParseError, Sample, Value};
use crate::labels::Labels;

/// The NaN that Prometheus stores: a stale marker has other bits, and no target may send one by accident.
const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Reads a whole exposition.
pub(crate) fn parse(text: &str, is_open_metrics: bool) -> Result<Exposition<'_>, ParseError> {
    let mut reader = Reader::new(is_open_metrics);
    for (at, line) in text.split('\n').enumerate() {
        let line = if is_open_metrics { line } else { line.trim_end_matches('\r') };
        reader.line(line).map_err(|problem| ParseError::Line { line: at + 1, problem })?;
    }
    reader.end_family();
    if is_open_metrics && !reader.ended {
        return Err(ParseError::Whole("the exposition does not end with # EOF; it was cut off".into()));
    }
    Ok(reader.exposition)
}

struct Reader<'a> {
    is_open_metrics: bool,
    ended: bool,
    exposition: Exposition<'a>,
    /// Where the samples of the family in work begin.
    family_start: usize,
    /// Its `_created` lines.
    created: Vec<(&'a str, i64)>,
}

impl<'a> Reader<'a> {
    fn new(is_open_metrics: bool) -> Self {
        // Family 0 is of the samples that no TYPE, HELP or UNIT announces.
        let exposition = Exposition { families: vec![Family::default()], samples: Vec::new() };
        Self { is_open_metrics, ended: false, exposition, family_start: 0, created: Vec::new() }
    }

    fn line(&mut self, line: &'a str) -> Result<(), String> {
        if self.ended {
            return if line.is_empty() { Ok(()) } else { Err("something follows # EOF".into()) };
        }
        let trimmed = line.trim_start_matches([' ', '\t']);
        if trimmed.is_empty() {
            return Ok(());
        }
        match trimmed.strip_prefix('#') {
            Some("EOF" | " EOF") if self.is_open_metrics => {
                self.ended = true;
                Ok(())
            }
            Some(comment) => self.comment(comment.trim_start_matches([' ', '\t'])),
            None => self.sample(trimmed),
        }
    }

    fn comment(&mut self, comment: &'a str) -> Result<(), String> {
        let Some((keyword, rest)) = comment.split_once([' ', '\t']) else { return Ok(()) };
        if !matches!(keyword, "TYPE" | "HELP" | "UNIT") {
            return Ok(());
        }
        let (name, text) = metric_name(rest.trim_start_matches([' ', '\t']))?;
        if self.family().name != name {
            self.end_family();
            self.exposition.families.push(Family { name, ..Family::default() });
        }
        match keyword {
            "TYPE" => self.family().kind = kind(text.trim())?,
            "HELP" => self.family().help = unescape(text),
            _ => self.family().unit = Cow::Borrowed(text.trim()),
        }
        Ok(())
    }

    /// The family in work; there is always one.
    fn family(&mut self) -> &mut Family<'a> {
        let last = self.exposition.families.len() - 1;
        &mut self.exposition.families[last]
    }

    fn sample(&mut self, line: &'a str) -> Result<(), String> {
        let (series, rest) = line.split_at(series::end(line)?);
        let (rest, exemplar) = match rest.split_once(" # ") {
            Some((rest, exemplar)) if self.is_open_metrics => (rest, Some(self.exemplar(exemplar)?)),
            _ => (rest, None),
        };
        let mut words = rest.split_ascii_whitespace();
        let value = words.next().ok_or_else(|| format!("{:?} has no value", shorten(series)))?;
        let value = float(value)?;
        let timestamp = words.next().map(|text| self.timestamp(text)).transpose()?;
        if let Some(word) = words.next() {
            return Err(format!("{:?} follows the timestamp", shorten(word)));
        }
        if self.exposition.samples.len() + self.created.len() >= limit::REQUEST_ROWS_MAX {
            return Err(format!("more than {} samples", limit::REQUEST_ROWS_MAX));
        }
        let (family, suffix) = self.family_of(series);
        if self.is_open_metrics && suffix == "_created" {
            self.created.push((series, millis(value)?));
            return Ok(());
        }
        self.exposition.samples.push(Sample {
            series: Cow::Borrowed(series),
            family,
            value: Value::Float(value),
            timestamp,
            start: 0,
            exemplars: exemplar.into_iter().collect(),
        });
        Ok(())
    }

    /// To which family a series belongs, and what its name has behind the family's.
    fn family_of(&self, series: &'a str) -> (usize, &'a str) {
        let last = self.exposition.families.len() - 1;
        let family = &self.exposition.families[last];
        let name = match series.strip_prefix("{\"") {
            Some(quoted) => quoted.split('"').next().unwrap_or_default(),
            None => series.split(['{', ' ']).next().unwrap_or_default(),
        };
        let suffixes: &[&str] = match family.kind {
            Kind::Counter => &["", "_total", "_created"],
            Kind::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
            Kind::GaugeHistogram => &["", "_bucket", "_gsum", "_gcount"],
            Kind::Summary => &["", "_sum", "_count", "_created"],
            Kind::Info => &["", "_info"],
            _ => &[""],
        };
        match name.strip_prefix(&*family.name) {
            Some(suffix) if last > 0 && suffixes.contains(&suffix) => (last, suffix),
            _ => (0, ""),
        }
    }

    fn timestamp(&self, text: &str) -> Result<i64, String> {
        if self.is_open_metrics {
            return millis(float(text)?);
        }
        text.parse().map_err(|_| format!("{:?} is not a timestamp in milliseconds", shorten(text)))
    }

    fn exemplar(&self, text: &'a str) -> Result<Exemplar<'a>, String> {
        let (labels, rest) = text.split_at(series::braces_end(text.as_bytes())?);
        series::exemplar_labels(labels)?;
        let mut words = rest.split_ascii_whitespace();
        let value = float(words.next().ok_or("an exemplar without a value")?)?;
        let timestamp = words.next().map(|text| self.timestamp(text)).transpose()?;
        match words.next() {
            Some(word) => Err(format!("{:?} follows the exemplar", shorten(word))),
            None => Ok(Exemplar { labels: Cow::Borrowed(labels), value, timestamp }),
        }
    }

    /// Gives the family's samples the time at which they began.
    fn end_family(&mut self) {
        let created = std::mem::take(&mut self.created);
        let samples = self.exposition.samples.iter_mut().skip(self.family_start);
        if !created.is_empty() {
            let starts: HashMap<Labels, i64> =
                created.into_iter().filter_map(|(series, start)| Some((identity(series)?, start))).collect();
            for sample in samples {
                sample.start = identity(&sample.series).and_then(|key| starts.get(&key).copied()).unwrap_or(0);
            }
        }
        self.family_start = self.exposition.samples.len();
    }
}

/// What all series of one counter, histogram or summary share.
fn identity(series: &str) -> Option<Labels> {
    let mut labels = series::labels(series).ok()?;
    labels.retain(|name| !matches!(name, "__name__" | "le" | "quantile"));
    Some(labels.build())
}

fn metric_name(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    if !text.starts_with('"') {
        let (name, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        return Ok((Cow::Borrowed(name), rest));
    }
    let mut escaped = false;
    let close = text.bytes().enumerate().skip(1).find_map(|(at, byte)| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes.then_some(at)
    });
    let close = close.ok_or("a quoted name is not closed")?;
    Ok((unescape(&text[1..close]), text[close + 1..].trim_start()))
}

fn kind(text: &str) -> Result<Kind, String> {
    Ok(match text {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "gaugehistogram" => Kind::GaugeHistogram,
        "summary" => Kind::Summary,
        "info" => Kind::Info,
        "stateset" => Kind::StateSet,
        "untyped" | "unknown" => Kind::Unknown,
        other => return Err(format!("{:?} is not a metric type", shorten(other))),
    })
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, false) => plain.push(letter),
            (_, true) => match letters.next() {
                Some('n') => plain.push('\n'),
                Some(letter @ ('\\' | '"')) => plain.push(letter),
                Some(letter) => plain.extend(['\\', letter]),
                None => plain.push('\\'),
            },
        }
    }
    Cow::Owned(plain)
}

/// A number as Go reads it, without hexadecimal forms and underscores.
pub(crate) fn float(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{:?} is not a number", shorten(text)))?;
    if value.is_nan() {
        return Ok(NAN);
    }
    if value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(format!("{:?} is out of range", shorten(text)));
    }
    Ok(value)
}

/// Seconds as milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn millis(seconds: f64) -> Result<i64, String> {
    let millis = (seconds * 1000.0).round();
    if millis.abs() < 9e15 { Ok(millis as i64) } else { Err(format!("{seconds} is not a time")) }
}
