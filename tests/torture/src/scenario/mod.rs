//! One file per kind of misfortune.

pub(crate) mod ack;
pub(crate) mod clock;
pub(crate) mod crash_points;
pub(crate) mod damage;
pub(crate) mod disk_full;
pub(crate) mod fsync;
pub(crate) mod hostile;
pub(crate) mod kill;
pub(crate) mod memory;
pub(crate) mod power;
pub(crate) mod read_eio;
pub(crate) mod replay;
pub(crate) mod slow_disk;
pub(crate) mod soak;
pub(crate) mod two;
