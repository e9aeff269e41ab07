//! Comparing and printing numbers as Prometheus does.

use crate::series::is_stale;

/// Whether two numbers are the same but for a relative error: NaN equals NaN, a staleness marker only another, and next
/// to zero there is no tolerance.
pub fn almost_equal(a: f64, b: f64, tolerance: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < tolerance
}

/// A number as C and Go print it with `%g` and the fewest digits: `1e+06`, `0.25`, `+Inf`.
pub fn format_general(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::{almost_equal, format_general};
    use crate::series::STALE_NAN_BITS;

    #[test]
    fn zero_has_no_tolerance() {
        assert!(almost_equal(1.0, 1.000_000_1, 1e-6));
        assert!(!almost_equal(1.0, 1.000_01, 1e-6));
        assert!(!almost_equal(0.0, 1e-300, 1e-6));
        assert!(almost_equal(f64::NAN, f64::NAN, 1e-6));
        assert!(!almost_equal(f64::from_bits(STALE_NAN_BITS), f64::NAN, 1e-6));
        assert!(almost_equal(f64::INFINITY, f64::INFINITY, 1e-6));
        assert!(!almost_equal(f64::INFINITY, f64::MAX, 1e-6));
    }

    #[test]
    fn numbers_are_printed_as_go_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5, "-2.5"),
            (f64::NEG_INFINITY, "-Inf"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(format_general(value), text);
        }
    }
}
