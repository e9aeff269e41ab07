//! Floats as Go's `strconv` writes them.

/// `%e`, `%f` and `%g` with a precision, or as short as the number can be told apart.
pub(crate) fn float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    match (verb, precision) {
        ('e', Some(digits)) => exponent(&format!("{value:.digits$e}")),
        ('e', None) => exponent(&format!("{value:e}")),
        ('f', Some(digits)) => format!("{value:.digits$}"),
        ('f', None) => format!("{value}"),
        (_, precision) => general(value, precision),
    }
}

/// `%g`: plain unless the exponent is below -4 or reaches the precision (6 when there is none).
fn general(value: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        Some(digits) => format!("{value:.*e}", digits.max(1) - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let limit = match precision {
        Some(digits) => i32::try_from(digits.max(1)).unwrap_or(i32::MAX),
        None => SHORTEST_EXPONENT,
    };
    if power < -4 || power >= limit {
        return exponent(&format!("{sign}{mantissa}e{power}"));
    }
    let point = power + 1;
    let Ok(point) = usize::try_from(point) else {
        return format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    };
    if point == 0 {
        format!("{sign}0.{digits}")
    } else if digits.len() <= point {
        format!("{sign}{digits}{}", "0".repeat(point - digits.len()))
    } else {
        format!("{sign}{}.{}", &digits[..point], &digits[point..])
    }
}

/// Where the shortest form turns to an exponent, as Go has it: `1e+06`, but `123456`.
const SHORTEST_EXPONENT: i32 = 6;

/// Rust's `1.5e3` as Go's `1.5e+03`.
fn exponent(text: &str) -> String {
    let Some((mantissa, power)) = text.split_once('e') else {
        return text.to_owned();
    };
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |rest| ('-', rest));
    format!("{mantissa}e{sign}{power:0>2}")
}

/// A duration as Go prints it: `1h2m3.5s`, `1.5ms`, `0s`.
pub(crate) fn duration(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let rest = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64, name: &str| {
        let digits = unit.checked_ilog10().unwrap_or(0) as usize;
        let part = format!("{:0digits$}", value % unit);
        let part = part.trim_end_matches('0');
        let whole = value / unit;
        if part.is_empty() || unit == 1 { format!("{whole}{name}") } else { format!("{whole}.{part}{name}") }
    };
    let text = match rest {
        ..1_000 => fraction(rest, 1, "ns"),
        1_000..1_000_000 => fraction(rest, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(rest, 1_000_000, "ms"),
        _ => {
            let (hours, minutes) = (rest / 3_600_000_000_000, rest / 60_000_000_000 % 60);
            let seconds = fraction(rest % 60_000_000_000, 1_000_000_000, "s");
            if hours > 0 {
                format!("{hours}h{minutes}m{seconds}")
            } else if minutes > 0 {
                format!("{minutes}m{seconds}")
            } else {
                seconds
            }
        }
    };
    format!("{sign}{text}")
}
