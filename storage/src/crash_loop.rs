//! Tells a server that crashes again and again from one that crashed once.
//!
//! Each start is written down before anything else is done and forgotten when the store is closed in order, or after it has
//! run for a while. When too many starts are still written down, the next one takes no writes for a time that doubles with
//! each further start: what a crash left in the WAL reaches parts before the load that may have caused it comes back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trivium_model::UnixNanos;

use crate::error::Error;
use crate::fs::FileSystem;

/// The file in the data folder: a start a line, as Unix nanoseconds.
const STARTS: &str = "starts";

/// Starts that are remembered.
const STARTS_MAX: usize = 32;

/// For how long writes are refused when the bound is reached, and at most.
const QUIET_MIN: Duration = Duration::from_secs(30);
const QUIET_MAX: Duration = Duration::from_secs(600);

/// The starts of a data folder that did not end in order.
#[derive(Debug)]
pub(crate) struct Starts {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    window: Duration,
    own: UnixNanos,
    before: usize,
}

impl Starts {
    /// Writes this start down. Only starts within `window` count. A full disk does not keep the server from starting.
    pub(crate) fn begin(fs: Arc<dyn FileSystem>, folder: &Path, now: UnixNanos, window: Duration) -> Self {
        let path = folder.join(STARTS);
        let text = fs.read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let is_recent = |at: &UnixNanos| *at >= now.before(window) && *at <= now;
        // A line that a crash cut tells nothing, and a time to come is that of another clock.
        let mut starts: Vec<UnixNanos> =
            text.lines().filter_map(|line| line.parse().ok().map(UnixNanos)).filter(is_recent).collect();
        starts.drain(..starts.len().saturating_sub(STARTS_MAX));
        let begun = Self { fs, path, window, own: now, before: starts.len() };
        starts.push(now);
        if let Err(error) = begun.write(&starts) {
            tracing::warn!(%error, "this start could not be written down; it will not count should it fail");
        }
        begun
    }

    /// How many starts before this one did not end in order.
    pub(crate) fn unclean(&self) -> usize {
        self.before
    }

    /// For how long this start should take no writes, given how many starts may fail before; zero never refuses any.
    pub(crate) fn quiet_for(&self, starts_max: u32) -> Option<Duration> {
        let beyond = self.before.checked_sub(starts_max as usize).filter(|_| starts_max > 0)?;
        Some(QUIET_MIN.saturating_mul(1 << beyond.min(10)).min(QUIET_MAX))
    }

    /// Whether it has run long enough for the starts before it to count no more.
    pub(crate) fn has_lasted(&self, now: UnixNanos) -> bool {
        now > self.own.after(self.window)
    }

    /// Forgets all starts: the store was closed in order, or has lasted.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        self.write(&[])
    }

    fn write(&self, starts: &[UnixNanos]) -> Result<(), Error> {
        let lines: String = starts.iter().map(|at| format!("{}\n", at.0)).collect();
        self.fs.replace_file(&self.path, lines.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::CrashFileSystem;

    const WINDOW: Duration = Duration::from_secs(600);

    fn begin(fs: &CrashFileSystem, seconds: i64) -> Starts {
        let now = UnixNanos(seconds * 1_000_000_000);
        Starts::begin(Arc::new(fs.clone()), Path::new("/data"), now, WINDOW)
    }

    fn folder() -> CrashFileSystem {
        let fs = CrashFileSystem::new();
        fs.create_dir_all(Path::new("/data")).expect("made");
        fs
    }

    #[test]
    fn crashes_within_the_window_make_the_next_start_wait_longer_and_longer() {
        let fs = folder();
        for (second, quiet) in [(0, None), (10, None), (20, None), (30, Some(30)), (40, Some(60)), (50, Some(120))] {
            let quiet_for = begin(&fs, second).quiet_for(3).map(|quiet| quiet.as_secs());
            assert_eq!(quiet_for, quiet, "start at {second}");
        }
        assert_eq!(begin(&fs, 60).quiet_for(0), None, "zero never refuses any");
        assert_eq!(begin(&fs, 661).quiet_for(1), None, "all of them are long ago");
    }

    #[test]
    fn a_close_in_order_and_another_clock_count_for_nothing() {
        let fs = folder();
        for second in 0..5 {
            let starts = begin(&fs, second);
            assert_eq!(starts.unclean(), 0);
            starts.forget().expect("written");
        }
        begin(&fs, 1_000);
        assert_eq!(begin(&fs, 500).unclean(), 0, "the clock went back");
    }

    #[test]
    fn what_a_power_cut_leaves_of_the_file_is_read() {
        let fs = folder();
        begin(&fs, 0);
        fs.damage(Path::new("/data/starts"), |bytes| *bytes = b"1\nnot a number\n\xff\n2".to_vec());
        assert_eq!(begin(&fs, 1).unclean(), 2);
    }
}
