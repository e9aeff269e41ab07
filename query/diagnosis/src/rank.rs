//! Small statistics that several parts share.

/// How surprising `seen` events are where `expected` were: twice the log-likelihood ratio of two Poisson rates, signed.
pub(crate) fn surprise(seen: f64, expected: f64) -> f64 {
    let expected = expected.max(f64::MIN_POSITIVE);
    let part = if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    let ratio = 2.0 * (part - (seen - expected)).max(0.0);
    if seen >= expected { ratio } else { -ratio }
}
