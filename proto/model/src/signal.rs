use std::fmt;

/// The three signals of OpenTelemetry. The set is closed on purpose: a fourth signal touches this enum and the files that
/// are named after signals, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SignalKind {
    /// Log records.
    Logs = 1,
    /// Metric data points.
    Metrics = 2,
    /// Spans.
    Traces = 3,
}

impl SignalKind {
    /// Every signal, in the order of their tags.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Metrics, Self::Traces];

    /// The byte that stands for the signal on disk.
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// The signal of a tag read from disk, `None` when it is not one of ours.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Logs),
            2 => Some(Self::Metrics),
            3 => Some(Self::Traces),
            _ => None,
        }
    }

    /// The name used in paths, metrics and messages: `logs`, `metrics`, `traces`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }

    /// The SQL table that holds the signal's rows: `logs`, `metrics`, `spans`.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "spans",
        }
    }

    /// What one row of the signal is called in a message: `log record`, `data point`, `span`.
    pub const fn item(self) -> &'static str {
        match self {
            Self::Logs => "log record",
            Self::Metrics => "data point",
            Self::Traces => "span",
        }
    }

    /// The position in [`SignalKind::ALL`], for arrays indexed by signal.
    pub const fn index(self) -> usize {
        self as usize - 1
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
