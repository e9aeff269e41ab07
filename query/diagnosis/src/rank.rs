//! Small statistics that several parts share.

/// How surprising `seen` events are where `expected` were: twice the log-likelihood ratio of two Poisson rates, signed.
pub(crate) fn surprise(seen: f64, expected: f64) -> f64 {
    let expected = expected.max(f64::MIN_POSITIVE);
    let part = if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    let ratio = 2.0 * (part - (seen - expected)).max(0.0);
    if seen >= expected { ratio } else { -ratio }
}

/// Whether two shares differ: twice the log-likelihood ratio of one share against two, signed.
pub(crate) fn shares(part_before: u64, before: u64, part_during: u64, during: u64) -> f64 {
    if before == 0 || during == 0 {
        return 0.0;
    }
    let term = |part: f64, whole: f64, share: f64| {
        let some = if part > 0.0 { part * (part / (whole * share)).ln() } else { 0.0 };
        let rest = whole - part;
        some + if rest > 0.0 { rest * (rest / (whole * (1.0 - share))).ln() } else { 0.0 }
    };
    let (pb, b, pd, d) = (part_before as f64, before as f64, part_during as f64, during as f64);
    let share = (pb + pd) / (b + d);
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let ratio = 2.0 * (term(pb, b, share) + term(pd, d, share)).max(0.0);
    if pd / d >= pb / b { ratio } else { -ratio }
}
