//! The simulation itself: a store that leaves out what keeps its promises must be found out.

use super::disk::Omission;
use super::run;
use super::seeds::simulate;

/// Seeds within which each mistake must show; the tests run ten times as many.
const SEEDS: u64 = 200;

#[test]
fn a_store_that_forgets_something_is_found_out() {
    for omission in [
        Omission::WalContent,
        Omission::WalNames,
        Omission::PartContent,
        Omission::PartNames,
        Omission::MarkContent,
        Omission::MarkNames,
        Omission::WalPosition,
        Omission::RequestKeys,
    ] {
        let found = (0..SEEDS).find_map(|seed| Some((seed, run(simulate(seed, Some(omission))).err()?)));
        let (seed, what) = found.unwrap_or_else(|| panic!("no seed below {SEEDS} shows {omission:?}"));
        println!("{omission:?}: seed {seed}: {}", what.lines().next().unwrap_or_default());
    }
}
