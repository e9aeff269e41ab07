//! Values in the JSON that Prometheus writes: Go's number formats, and `<`, `>`, `&` escaped as Go does.

use std::fmt::Write;

use trivium_promql::{Histogram, Labels};
use trivium_storage::attributes::write_string;

/// A string with its quotes.
pub(super) fn write_text(output: &mut String, text: &str) {
    let start = output.len();
    write_string(output, text);
    if text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        let escaped = escape_html(&output[start..]);
        output.truncate(start);
        output.push_str(&escaped);
    }
}

/// JSON with the characters that Go escapes lest they mean something in HTML. They occur within strings only.
pub(super) fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                append(&mut escaped, format_args!("\\u{:04x}", character as u32))
            }
            other => escaped.push(other),
        }
    }
    escaped
}

pub(super) fn append(output: &mut String, arguments: std::fmt::Arguments<'_>) {
    output.write_fmt(arguments).expect("writing to a String cannot fail");
}

/// A float as a string: in plain decimals unless it is very small or very large.
pub(super) fn write_float(output: &mut String, value: f64) {
    output.push('"');
    let magnitude = value.abs();
    if value.is_nan() {
        output.push_str("NaN");
    } else if value.is_infinite() {
        output.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        write_exponent(output, value);
    } else if value.fract() == 0.0 && magnitude < 1e15 && value.is_sign_positive() {
        append(output, format_args!("{}", value as i64));
    } else {
        append(output, format_args!("{value}"));
    }
    output.push('"');
}

/// `1e+21`, `1.5e-07`: the exponent has a sign and at least two digits.
fn write_exponent(output: &mut String, value: f64) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    append(output, format_args!("{mantissa}e{sign}{digits:0>2}"));
}

/// Milliseconds as seconds: whole, or with three digits.
pub(super) fn write_timestamp(output: &mut String, millis: i64) {
    if millis < 0 {
        output.push('-');
    }
    let millis = millis.unsigned_abs();
    append(output, format_args!("{}", millis / 1000));
    if !millis.is_multiple_of(1000) {
        append(output, format_args!(".{:03}", millis % 1000));
    }
}

pub(super) fn write_labels(output: &mut String, labels: &Labels) {
    output.push('{');
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            output.push(',');
        }
        write_text(output, &label.name);
        output.push(':');
        write_text(output, &label.value);
    }
    output.push('}');
}

/// `[1700000000.5,"1"]`
pub(super) fn write_point(output: &mut String, time: i64, value: f64) {
    output.push('[');
    write_timestamp(output, time);
    output.push(',');
    write_float(output, value);
    output.push(']');
}

/// `[1700000000.5,{"count":"1","sum":"2","buckets":[[0,"1","2","1"]]}]`
pub(super) fn write_histogram_point(output: &mut String, time: i64, histogram: &Histogram) {
    output.push('[');
    write_timestamp(output, time);
    output.push_str(",{\"count\":");
    write_float(output, histogram.count);
    output.push_str(",\"sum\":");
    write_float(output, histogram.sum);
    let buckets = histogram.rendered_buckets();
    for (index, bucket) in buckets.iter().enumerate() {
        output.push_str(if index == 0 { ",\"buckets\":[" } else { "," });
        append(output, format_args!("[{}", bucket.boundary_rule));
        for number in [bucket.left, bucket.right, bucket.count] {
            output.push(',');
            write_float(output, number);
        }
        output.push(']');
    }
    output.push_str(if buckets.is_empty() { "}]" } else { "]}]" });
}

/// `,"warnings":["…"]`, or nothing when there are none.
pub(super) fn write_notes(output: &mut String, name: &str, notes: &[String]) {
    for (index, note) in notes.iter().enumerate() {
        if index == 0 {
            append(output, format_args!(",\"{name}\":["));
        } else {
            output.push(',');
        }
        write_text(output, note);
    }
    if !notes.is_empty() {
        output.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut output = String::new();
        write(&mut output);
        output
    }

    #[test]
    fn floats_look_as_in_prometheus() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (9.9e-7, "9.9e-07"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (5e-324, "5e-324"),
            (1e15, "1000000000000000"),
            (123_456_789.125, "123456789.125"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(|output| write_float(output, value)), format!("\"{text}\""));
        }
    }

    #[test]
    fn timestamps_have_three_digits_or_none() {
        for (millis, text) in [(0, "0"), (1, "0.001"), (1_700_000_000_100, "1700000000.100"), (-1_500, "-1.500")] {
            assert_eq!(written(|output| write_timestamp(output, millis)), text);
        }
        assert!(written(|output| write_timestamp(output, i64::MIN)).starts_with("-9223372036854775.8"));
    }

    #[test]
    fn text_is_escaped_as_go_does() {
        assert_eq!(written(|output| write_text(output, "a<b>&\"\u{2028}é\n")), r#""a\u003cb\u003e\u0026\"\u2028é\n""#);
    }
}
