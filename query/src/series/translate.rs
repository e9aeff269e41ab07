//! Names as Prometheus translates them from OpenTelemetry (OpenTelemetry specification, compatibility/
//! prometheus_and_openmetrics.md; the strategies are those of Prometheus' `otlp.translation_strategy`).

use std::borrow::Cow;

/// How names of metrics and labels are translated for PromQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TranslationStrategy {
    /// `http.server.request.duration` in seconds is `http_server_request_duration_seconds`.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// `http_server_request_duration`
    UnderscoreEscapingWithoutSuffixes,
    /// `http.server.request.duration_seconds`
    NoUtf8EscapingWithSuffixes,
    /// Names as they were sent.
    NoTranslation,
}

impl TranslationStrategy {
    /// Its name in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnderscoreEscapingWithSuffixes => "UnderscoreEscapingWithSuffixes",
            Self::UnderscoreEscapingWithoutSuffixes => "UnderscoreEscapingWithoutSuffixes",
            Self::NoUtf8EscapingWithSuffixes => "NoUTF8EscapingWithSuffixes",
            Self::NoTranslation => "NoTranslation",
        }
    }

    fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

impl std::str::FromStr for TranslationStrategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "UnderscoreEscapingWithSuffixes" => Self::UnderscoreEscapingWithSuffixes,
            "UnderscoreEscapingWithoutSuffixes" => Self::UnderscoreEscapingWithoutSuffixes,
            "NoUTF8EscapingWithSuffixes" => Self::NoUtf8EscapingWithSuffixes,
            "NoTranslation" => Self::NoTranslation,
            other => {
                return Err(format!(
                    "{other:?} is no translation strategy; take UnderscoreEscapingWithSuffixes, \
                     UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes or NoTranslation"
                ));
            }
        })
    }
}

/// What a name is translated by.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameContext<'a> {
    pub(super) unit: &'a str,
    /// A monotonic sum, which is a counter.
    pub(super) is_counter: bool,
    pub(super) is_gauge: bool,
}

/// The name of a metric.
pub(super) fn metric_name(name: &str, context: NameContext<'_>, strategy: TranslationStrategy) -> String {
    match (strategy.escapes(), strategy.adds_suffixes()) {
        (false, false) => name.to_owned(),
        (false, true) => with_suffixes(name, context),
        (true, false) => escaped_name(name),
        (true, true) => escaped_with_suffixes(name, context),
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// The words of a name, cut at every character that a classic name cannot have.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c| !is_name_char(c)).filter(|word| !word.is_empty())
}

fn escaped_name(name: &str) -> String {
    guarded(words(name).collect::<Vec<_>>().join("_"))
}

/// A name does not begin with a digit.
fn guarded(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn escaped_with_suffixes(name: &str, context: NameContext<'_>) -> String {
    let (unit, per_unit) = unit_words(context.unit);
    let mut tokens: Vec<&str> = words(name).collect();
    for word in words(unit) {
        if !tokens.contains(&word) {
            tokens.push(word);
        }
    }
    if !per_unit.is_empty() && !tokens.contains(&per_unit) {
        tokens.extend(["per", per_unit]);
    }
    if context.is_counter {
        tokens.retain(|token| *token != "total");
        tokens.push("total");
    }
    if context.unit == "1" && context.is_gauge {
        tokens.retain(|token| *token != "ratio");
        tokens.push("ratio");
    }
    guarded(tokens.join("_"))
}

/// Suffixes on a name that keeps its characters.
fn with_suffixes(name: &str, context: NameContext<'_>) -> String {
    let (unit, per_unit) = unit_words(context.unit);
    let last = match context {
        NameContext { is_counter: true, .. } => "_total",
        NameContext { is_gauge: true, unit: "1", .. } => "_ratio",
        _ => "",
    };
    let mut name = name.strip_suffix(last).unwrap_or(name).to_owned();
    if !unit.is_empty() && !name.ends_with(unit) {
        name = format!("{name}_{unit}");
    }
    if !per_unit.is_empty() && !name.ends_with(per_unit) {
        name = format!("{name}_per_{per_unit}");
    }
    name + last
}

/// The words of a UCUM unit and of what it is per. Annotations such as `{request}` say nothing.
fn unit_words(unit: &str) -> (&str, &str) {
    let (unit, per) = unit.split_once('/').unwrap_or((unit, ""));
    (unit_word(without_annotation(unit)), per_unit_word(without_annotation(per)))
}

fn without_annotation(unit: &str) -> &str {
    unit.split('{').next().unwrap_or_default().trim()
}

fn unit_word(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" | "kBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// The name of a label.
pub(super) fn label_name(key: &str, strategy: TranslationStrategy) -> Cow<'_, str> {
    if !strategy.escapes() || is_classic_label(key) {
        return Cow::Borrowed(key);
    }
    let escaped: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let starts_with_digit = escaped.starts_with(|c: char| c.is_ascii_digit());
    Cow::Owned(if starts_with_digit { format!("key_{escaped}") } else { escaped })
}

fn is_classic_label(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(name: &str, unit: &str, kind: &str, strategy: TranslationStrategy) -> String {
        let context = NameContext { unit, is_counter: kind == "counter", is_gauge: kind == "gauge" };
        metric_name(name, context, strategy)
    }

    #[test]
    fn names_get_their_units_and_suffixes() {
        for (from, unit, kind, to) in [
            ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
            ("system.cpu.utilization", "1", "gauge", "system_cpu_utilization_ratio"),
            ("disk.io", "By", "counter", "disk_io_bytes_total"),
            ("cpu.speed", "m/s", "gauge", "cpu_speed_meters_per_second"),
            ("http.requests", "{request}", "counter", "http_requests_total"),
            ("rate", "foo{bar}/s", "gauge", "rate_foo_per_second"),
            ("requests_total", "", "counter", "requests_total"),
            ("total_requests", "", "counter", "requests_total"),
            ("memory_bytes", "By", "gauge", "memory_bytes"),
            ("2xx.count", "", "gauge", "_2xx_count"),
            ("a..b__c", "", "gauge", "a_b_c"),
            ("job:rate:5m", "", "gauge", "job:rate:5m"),
            ("queue.length", "{message}", "gauge", "queue_length"),
            ("broken", "1", "counter", "broken_total"),
            ("net.rate", "By/s", "gauge", "net_rate_bytes_per_second"),
        ] {
            assert_eq!(translated(from, unit, kind, TranslationStrategy::default()), to, "{from} in {unit:?}");
        }
    }

    #[test]
    fn strategies_differ_in_escaping_and_suffixes() {
        for (strategy, expected) in [
            ("UnderscoreEscapingWithSuffixes", "disk_io_bytes_total"),
            ("UnderscoreEscapingWithoutSuffixes", "disk_io"),
            ("NoUTF8EscapingWithSuffixes", "disk.io_bytes_total"),
            ("NoTranslation", "disk.io"),
        ] {
            let parsed = strategy.parse().expect("a strategy");
            assert_eq!(translated("disk.io", "By", "counter", parsed), expected, "{strategy}");
        }
        assert!("Underscores".parse::<TranslationStrategy>().is_err());
    }

    #[test]
    fn labels_are_escaped_character_by_character() {
        let strategy = TranslationStrategy::default();
        for (key, expected) in
            [("http.route", "http_route"), ("0day", "key_0day"), ("a__b", "a__b"), ("größe", "gr__e"), ("_x", "_x")]
        {
            assert_eq!(label_name(key, strategy), expected);
        }
        assert_eq!(label_name("http.route", TranslationStrategy::NoTranslation), "http.route");
    }
}
