//! Numbers for people, with Prometheus' exact output.

use crate::number::float;

const ABOVE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const ABOVE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const BELOW: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// `%.4g`.
pub(super) fn short(value: f64) -> String {
    float(value, 'g', Some(4))
}

/// `1234567` is `1.235M`.
pub(super) fn decimal(mut value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return short(value);
    }
    if value.abs() < 1.0 {
        return below_one(value, "");
    }
    let mut prefix = "";
    for name in ABOVE {
        if value.abs() < 1000.0 {
            break;
        }
        prefix = name;
        value /= 1000.0;
    }
    short(value) + prefix
}

/// `1048576` is `1Mi`.
pub(super) fn binary(mut value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return short(value);
    }
    let mut prefix = "";
    for name in ABOVE_1024 {
        if value.abs() < 1024.0 {
            break;
        }
        prefix = name;
        value /= 1024.0;
    }
    short(value) + prefix
}

/// Seconds: `3661` is `1h 1m 1s`, `0.0015` is `1.5ms`.
pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return short(value);
    }
    if value == 0.0 {
        return short(value) + "s";
    }
    if value.abs() < 1.0 {
        return below_one(value, "s");
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", short(value.abs()))
    }
}

fn below_one(mut value: f64, unit: &str) -> String {
    let mut prefix = "";
    for name in BELOW {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = name;
        value *= 1000.0;
    }
    short(value) + prefix + unit
}
