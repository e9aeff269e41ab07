use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trivium_model::SignalKind;

/// How the store behaves. Every field has a default that suits one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Bytes of memory that the open buffer of one signal may hold before it is sealed into a part. Larger makes larger
    /// parts and less compaction, and costs up to three times its size in memory per busy signal.
    pub buffer_bytes_max: usize,
    /// Age in seconds at which a buffer is sealed however small it is. Bounds how much WAL a restart replays.
    pub seal_after_seconds: u64,
    /// How long log records are kept, by their own time; absent keeps them for ever.
    pub logs_retention_seconds: Option<u64>,
    /// How long data points are kept.
    pub metrics_retention_seconds: Option<u64>,
    /// How long spans are kept.
    pub traces_retention_seconds: Option<u64>,
    /// For how long a resent request is recognised, in seconds. Survives restarts.
    pub remember_requests_seconds: u64,
    /// Bytes of decompressed pages that point look-ups keep for the next one.
    pub page_cache_bytes_max: usize,
    /// Bytes of one WAL file.
    pub wal_file_bytes_max: u64,
    /// Bytes that may wait for the disk before new requests are refused as retryable.
    pub wal_queue_bytes_max: usize,
    /// Starts that may end without order within [`StorageConfig::crash_loop_window_seconds`] before the next one refuses writes
    /// for a while; zero never does.
    pub crash_loop_starts_max: u32,
    /// For how long a start that did not end in order counts.
    pub crash_loop_window_seconds: u64,
    /// The file with the master keys; absent encrypts nothing, and refuses a folder that holds encrypted telemetry.
    pub encryption_key_file: Option<PathBuf>,
    /// Whether what is new is encrypted when there is a key file. What was encrypted before stays readable either way.
    pub encrypt: bool,
}

impl Default for StorageConfig {
    fn default() -> Self {
        let month = Some(30 * 24 * 3600);
        Self {
            buffer_bytes_max: 64 * 1024 * 1024,
            seal_after_seconds: 300,
            logs_retention_seconds: month,
            metrics_retention_seconds: month,
            traces_retention_seconds: month,
            remember_requests_seconds: 600,
            page_cache_bytes_max: 128 * 1024 * 1024,
            wal_file_bytes_max: 64 * 1024 * 1024,
            wal_queue_bytes_max: 128 * 1024 * 1024,
            crash_loop_starts_max: 0,
            crash_loop_window_seconds: 600,
            encryption_key_file: None,
            encrypt: true,
        }
    }
}

impl StorageConfig {
    /// How long rows of a signal are kept; `None` is for ever.
    pub fn retention(&self, signal: SignalKind) -> Option<Duration> {
        let seconds = match signal {
            SignalKind::Logs => self.logs_retention_seconds,
            SignalKind::Metrics => self.metrics_retention_seconds,
            SignalKind::Traces => self.traces_retention_seconds,
        };
        seconds.map(Duration::from_secs)
    }

    /// Keeps the rows of a signal for so long; `None` is for ever.
    pub fn set_retention(&mut self, signal: SignalKind, retention: Option<Duration>) {
        let kept = match signal {
            SignalKind::Logs => &mut self.logs_retention_seconds,
            SignalKind::Metrics => &mut self.metrics_retention_seconds,
            SignalKind::Traces => &mut self.traces_retention_seconds,
        };
        *kept = retention.map(|retention| retention.as_secs());
    }

    pub(crate) fn seal_after(&self) -> Duration {
        Duration::from_secs(self.seal_after_seconds)
    }
}
