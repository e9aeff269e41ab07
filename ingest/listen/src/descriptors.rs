//! File descriptors: connections must not take those that the store needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for all that is not a connection: files of the store, outgoing connections, the runtime.
const RESERVED: u64 = 1_024;

/// Connections of each listener even where descriptors are few.
const CONNECTIONS_MIN: u64 = 64;

/// Raises the soft limit of open files to the hard one, and returns what holds then.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}

/// Connections that each of some listeners may hold when so many files may be open. At most half are connections, so that
/// no number of peers keeps the store from opening its files.
pub fn connections_max(descriptors: u64, listeners: u64) -> usize {
    let free = descriptors.saturating_sub(RESERVED).max(descriptors / 2);
    let share = (free / 2 / listeners.max(1)).max(CONNECTIONS_MIN);
    usize::try_from(share).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_the_store() {
        for (descriptors, expected) in [(0, 64), (256, 64), (1_024, 85), (20_000, 3_162), (1_048_576, 174_592)] {
            assert_eq!(connections_max(descriptors, 3), expected, "{descriptors}");
        }
        assert!(connections_max(u64::MAX, 0) > 1 << 32);
    }

    #[test]
    fn the_limit_of_this_process_is_its_hard_one() {
        let raised = raise_descriptor_limit();
        assert_eq!(raise_descriptor_limit(), raised);
        assert!(raised > 0);
    }
}
