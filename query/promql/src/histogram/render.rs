//! Histograms as text.

use std::fmt;

use super::{Bucket, Histogram, ResetHint, Span, format_general};

/// One bucket as Prometheus' HTTP API lists them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenderedBucket {
    /// Which bounds belong to it: 0 only the right one, 1 only the left one, 2 none, 3 both.
    pub boundary_rule: u8,
    /// Lower bound.
    pub left: f64,
    /// Upper bound.
    pub right: f64,
    /// Observations.
    pub count: f64,
}

impl Histogram {
    /// The buckets with observations, ascending, as the HTTP API lists them.
    pub fn rendered_buckets(&self) -> Vec<RenderedBucket> {
        let populated = self.all().into_iter().filter(|bucket| bucket.count != 0.0);
        populated
            .map(|bucket| RenderedBucket {
                boundary_rule: match (bucket.lower_inclusive, bucket.upper_inclusive) {
                    (false, true) => 0,
                    (true, false) => 1,
                    (false, false) => 2,
                    (true, true) => 3,
                },
                left: bucket.lower,
                right: bucket.upper,
                count: bucket.count,
            })
            .collect()
    }

    /// The histogram in the notation of test scripts, `{{schema:1 count:3 sum:4.5 buckets:[1 2]}}`; that notation has
    /// no gaps, so a histogram with very wide ones is given as [`Display`](fmt::Display) has it.
    pub fn test_expression(&self) -> String {
        let Some(compacted) = self.in_single_spans() else { return self.to_string() };
        let mut fields = Vec::new();
        if self.schema != 0 {
            fields.push(format!("schema:{}", self.schema));
        }
        for (key, value) in [
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        ] {
            if value != 0.0 {
                fields.push(format!("{key}:{}", format_general(value)));
            }
        }
        if self.uses_custom_buckets() {
            fields.push(format!("custom_values:[{}]", join(&self.custom_values)));
        }
        match self.reset_hint {
            ResetHint::Unknown => {}
            ResetHint::Reset => fields.push("counter_reset_hint:reset".to_owned()),
            ResetHint::NotReset => fields.push("counter_reset_hint:not_reset".to_owned()),
            ResetHint::Gauge => fields.push("counter_reset_hint:gauge".to_owned()),
        }
        let mut side = |offset: &str, buckets: &str, spans: &[Span], counts: &[f64]| {
            if let Some(span) = spans.first().filter(|span| span.offset != 0) {
                fields.push(format!("{offset}:{}", span.offset));
            }
            if !counts.is_empty() {
                fields.push(format!("{buckets}:[{}]", join(counts)));
            }
        };
        side("offset", "buckets", &compacted.positive_spans, &compacted.positive_buckets);
        side("n_offset", "n_buckets", &compacted.negative_spans, &compacted.negative_buckets);
        format!("{{{{{}}}}}", fields.join(" "))
    }
}

fn join(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format_general(*number)).collect::<Vec<_>>().join(" ")
}

/// `{count:3, sum:4.5, [-0.001,0.001]:1, (1,2]:2}`.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_general(self.count), format_general(self.sum))?;
        let mut negative: Vec<Bucket> = self.negative().collect();
        negative.reverse();
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        for bucket in negative.into_iter().chain(zero).chain(self.positive()).filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        write!(f, "}}")
    }
}

/// `(1,2]:3`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [self.lower, self.upper, self.count].map(format_general);
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}
