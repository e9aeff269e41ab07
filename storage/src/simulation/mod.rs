//! Deterministic simulation of the whole store: a power cut or a kill at every operation, disks that fail, requests that come
//! again or while the store is busy, in sequences that follow from a seed.
//!
//! The model. All of the store runs, from [`crate::Storage`] down to the bytes of WAL and parts, on one thread of tasks, one for
//! blocking work and the writing thread of the WAL; which of them does something next follows from the seed alone. Every change
//! of a file and every transaction of the catalog is an operation with a number. The process may end before any of them, a
//! transaction also after it and before its answer. What the next process finds is what was synced, everything, a random part
//! of what was not, or of every sector of 512 bytes that was written the old or the new content; names and contents apart.
//! After every start and step queries must find each acknowledged row once, of other requests all rows or none, nothing
//! else, and each tenant its own; nothing may be taken for damage; and after an end in order nothing is left behind that
//! `verify` or a look at the folder finds.
//!
//! Its limits. The catalog is kept in memory, by the contract that SQLite passes too (`catalog/conformance.rs`); what SQLite does
//! within a transaction is tested beside it. Files of parts are read past the seam, so that such reads never fail here. A
//! rename is one change, as on journalling file systems. Time moves between steps only, and the loops of
//! [`crate::Storage::maintain`] are not run: their steps are. Encryption, backup and quarantine have tests of their own.

mod catalog;
mod disk;
mod enumeration;
mod failures;
mod ledger;
mod omissions;
mod requests;
mod seeds;
mod steps;
mod world;

/// Runs a simulation to its end: one thread for tasks, one for blocking work.
fn run<T>(simulation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(simulation)
}

/// Does the same for every number below a bound, on all cores.
fn on_all_cores(bound: u64, work: impl Fn(u64) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let next = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= bound {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}
