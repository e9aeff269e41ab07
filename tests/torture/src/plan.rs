//! Which scenarios there are, and how much of each a short and a long run take.

use clap::Subcommand;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Scenario {
    /// kill -9 under load, in recovery, in flushes, in retention
    Kill,
    /// Bit flips, cuts, missing, swapped and stale files
    Damage,
    /// A file system fills up and is freed (needs root)
    DiskFull,
    /// fdatasync fails (needs strace and root)
    FsyncEio,
    /// Reads of files fail (needs strace)
    ReadEio,
    /// kill -9 at the N-th call of each system call that changes files (needs strace)
    CrashPoints,
    /// Images of a mounted disk, taken under load (needs root)
    PowerCut,
    /// Five times the load in a memory cgroup (needs root)
    Memory,
    /// A large WAL is replayed in a memory cgroup (needs root)
    Replay,
    /// What durability costs: fdatasync takes 4 ms, or is not waited for (needs strace)
    Ack,
    /// fdatasync takes 200 ms (needs strace)
    SlowDisk,
    /// The wall clock jumps (needs faketime)
    Clock,
    /// Several processes on one folder
    TwoProcesses,
    /// Queries that would stop a careless engine
    HostileQuery,
    /// Hours of mixed load with short time constants: does anything grow?
    Soak,
}

/// A scenario with the effort it gets: repetitions and seconds.
pub(crate) type Step = (Scenario, u64, u64);

/// At most nine minutes with a debug build on two processors.
pub(crate) const SHORT: [Step; 13] = [
    (Scenario::Kill, 60, 150),
    (Scenario::Damage, 1_000, 90),
    (Scenario::DiskFull, 3, 40),
    (Scenario::FsyncEio, 20, 40),
    (Scenario::ReadEio, 8, 20),
    (Scenario::CrashPoints, 60, 20),
    (Scenario::PowerCut, 100, 60),
    (Scenario::Memory, 1, 60),
    (Scenario::Replay, 1, 15),
    (Scenario::SlowDisk, 1, 8),
    (Scenario::Clock, 3, 10),
    (Scenario::TwoProcesses, 3, 10),
    (Scenario::HostileQuery, 50, 30),
];

/// About three hours with a release build, and two more for the soak, which is last: an interrupted run has the others.
pub(crate) const LONG: [Step; 15] = [
    (Scenario::Kill, 1_000, 3_000),
    (Scenario::Damage, 50_000, 3_000),
    (Scenario::DiskFull, 100, 1_200),
    (Scenario::FsyncEio, 200, 900),
    (Scenario::ReadEio, 100, 300),
    (Scenario::CrashPoints, 2_000, 900),
    (Scenario::PowerCut, 2_000, 1_500),
    (Scenario::Memory, 1, 600),
    (Scenario::Replay, 1, 600),
    (Scenario::Ack, 1, 90),
    (Scenario::SlowDisk, 1, 60),
    (Scenario::Clock, 50, 300),
    (Scenario::TwoProcesses, 50, 120),
    (Scenario::HostileQuery, 100_000, 600),
    (Scenario::Soak, 1, 7_200),
];

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Damage => "damage",
            Self::DiskFull => "disk-full",
            Self::FsyncEio => "fsync-eio",
            Self::ReadEio => "read-eio",
            Self::CrashPoints => "crash-points",
            Self::PowerCut => "power-cut",
            Self::Memory => "memory",
            Self::Replay => "replay",
            Self::Ack => "ack",
            Self::SlowDisk => "slow-disk",
            Self::Clock => "clock",
            Self::TwoProcesses => "two-processes",
            Self::HostileQuery => "hostile-query",
            Self::Soak => "soak",
        }
    }
}
