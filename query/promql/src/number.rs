//! Numbers, durations and strings as Go prints them.

/// A float in plain decimals, as short as it can be told apart: `0.1`, `100000000`, `+Inf`.
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value}")
    }
}

/// A label's value for a number, as OpenMetrics has it: always with a point or an exponent.
pub(crate) fn format_open_metrics(value: f64) -> String {
    let text = crate::histogram::format_general(value);
    if value.is_finite() && !text.contains(['.', 'e']) { text + ".0" } else { text }
}

/// A duration such as `1h30m`. Years and weeks are only told when nothing is left over.
pub(crate) fn format_duration(millis: i64) -> String {
    const UNITS: [(&str, i64, bool); 7] = [
        ("y", 365 * 24 * 3_600_000, true),
        ("w", 7 * 24 * 3_600_000, true),
        ("d", 24 * 3_600_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    if millis < 0 {
        text.push('-');
    }
    let mut rest = millis.saturating_abs();
    for (unit, size, only_exact) in UNITS {
        if rest >= size && (!only_exact || rest % size == 0) {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

/// A string between quotes, with the escapes of Go.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            _ if character.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", character as u32)),
            _ if character.is_control() => quoted.push_str(&format!("\\u{:04x}", character as u32)),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{format_duration, format_float, format_open_metrics, quote};

    #[test]
    fn numbers_look_as_in_go() {
        assert_eq!(format_float(1e21), "1000000000000000000000");
        assert_eq!(format_float(0.1), "0.1");
        assert_eq!(format_float(-0.0), "-0");
        assert_eq!(format_open_metrics(1.0), "1.0");
        assert_eq!(format_open_metrics(0.25), "0.25");
    }

    #[test]
    fn durations_look_as_in_prometheus() {
        for (millis, text) in [(5_400_000, "1h30m"), (604_800_000, "1w"), (691_200_000, "8d"), (-1_001, "-1s1ms")] {
            assert_eq!(format_duration(millis), text);
        }
    }

    #[test]
    fn quotes_escape_what_go_escapes() {
        assert_eq!(quote("a\"\n\u{1}é"), "\"a\\\"\\n\\x01é\"");
    }
}
