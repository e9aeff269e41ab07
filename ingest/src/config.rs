use std::time::Duration;

use serde::Deserialize;
use trivium_model::{SignalKind, limit};

use crate::quota::TenantLimits;

/// How long the records of each signal are kept; `None` keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Log records.
    #[serde(with = "kept_for")]
    pub logs: Option<Duration>,
    /// Metric data points.
    #[serde(with = "kept_for")]
    pub metrics: Option<Duration>,
    /// Spans.
    #[serde(with = "kept_for")]
    pub traces: Option<Duration>,
}

impl Retention {
    /// The retention of one signal.
    pub fn of(&self, signal: SignalKind) -> Option<Duration> {
        match signal {
            SignalKind::Logs => self.logs,
            SignalKind::Metrics => self.metrics,
            SignalKind::Traces => self.traces,
        }
    }
}

/// Settings of the receivers and the pipeline. Immutable once built.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// Records that are older than this when they arrive are rejected and counted, because retention would delete them at
    /// once; must be what the store deletes by. A duration such as `30d`, or `none`. Default `none` for every signal.
    pub retention: Retention,
    /// Bytes of export requests, decompressed, that may be in work at once; above it clients are told to come back later.
    /// A request that is alone is always taken. Default 256 MiB. Raising it costs memory (decoded rows come on top, about
    /// as much again); lowering it refuses earlier when many clients send at once.
    pub in_flight_bytes_max: usize,
    /// How long a client may take to send the body of one request. Default 30 s. Raising it lets slow clients hold memory
    /// for longer; lowering it refuses large requests over slow links.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// What each tenant may send that has no limits of its own. Default no limits.
    pub tenant_limits: TenantLimits,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            in_flight_bytes_max: 4 * limit::REQUEST_BYTES_MAX,
            body_timeout: Duration::from_secs(30),
            tenant_limits: TenantLimits::default(),
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct InvalidConfig {
    /// One sentence each, with key and value.
    pub problems: Vec<String>,
}

impl IngestConfig {
    /// The defaults with one retention for all signals and a budget of bytes in flight.
    pub fn new(retention: Option<Duration>, in_flight_bytes_max: usize) -> Self {
        let retention = Retention { logs: retention, metrics: retention, traces: retention };
        Self { retention, in_flight_bytes_max, ..Self::default() }
    }

    /// Checks every setting and reports all problems at once.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let mut problems = Vec::new();
        if self.in_flight_bytes_max == 0 {
            problems.push("in_flight_bytes_max = 0 takes one request at a time; give at least one MiB".into());
        }
        if self.body_timeout.is_zero() {
            problems.push("body_timeout = 0s refuses every request that comes in more than one packet".into());
        }
        for signal in SignalKind::ALL {
            if self.retention.of(signal).is_some_and(|kept| kept.is_zero()) {
                problems.push(format!("retention.{signal} = 0s rejects every record; use none to keep everything"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(InvalidConfig { problems }) }
    }
}

/// Durations as people write them: `30s`, `15m`.
mod duration {
    use std::borrow::Cow;
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("{text:?} is not a duration such as 30s: {error}")))
    }
}

/// A duration, or `none` for ever.
mod kept_for {
    use std::borrow::Cow;
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == "none" {
            return Ok(None);
        }
        let duration = humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!("{text:?} is neither a duration such as 30d nor none: {error}"))
        })?;
        Ok(Some(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let text = r#"{"retention": {"logs": "30d", "traces": "none"}, "body_timeout": "5s"}"#;
        let config: IngestConfig = serde_json::from_str(text).expect("a valid configuration");
        assert_eq!(config.retention.of(SignalKind::Logs), Some(Duration::from_secs(30 * 24 * 3600)));
        assert_eq!(config.retention.of(SignalKind::Metrics), None);
        assert_eq!(config.retention.of(SignalKind::Traces), None);
        assert_eq!(config.body_timeout, Duration::from_secs(5));
        assert_eq!(config.in_flight_bytes_max, 256 * 1024 * 1024);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<IngestConfig>(r#"{"body_timeot": "5s"}"#).expect_err("a misspelt key");
        assert!(error.to_string().contains("body_timeot"), "{error}");
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let config = IngestConfig { body_timeout: Duration::ZERO, ..IngestConfig::new(Some(Duration::ZERO), 0) };
        let problems = config.validate().expect_err("everything is wrong").problems;
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert_eq!(IngestConfig::default().validate(), Ok(()));
    }
}
