//! Bounds how many lines refusals make.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trivium_model::UnixNanos;

const WINDOW: Duration = Duration::from_secs(60);

/// Lines of one address in a window, and of all.
const PER_ADDRESS: u32 = 10;
const PER_WINDOW: u32 = 200;

#[derive(Debug, Default)]
struct Window {
    start: UnixNanos,
    /// At most as many as lines.
    of: HashMap<Option<IpAddr>, u32>,
    recorded: u32,
    suppressed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Denied(Mutex<Window>);

/// What to do with a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) record: bool,
    /// So many had no line in the window that just ended.
    pub(super) suppressed: Option<u64>,
}

impl Denied {
    pub(super) fn judge(&self, address: Option<IpAddr>, now: UnixNanos) -> Verdict {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suppressed = None;
        if now.since(window.start) >= WINDOW {
            suppressed = (window.suppressed > 0).then_some(window.suppressed);
            *window = Window { start: now, ..Window::default() };
        }
        let of_address = window.of.get(&address).copied().unwrap_or(0);
        let record = of_address < PER_ADDRESS && window.recorded < PER_WINDOW;
        if record {
            window.recorded += 1;
            window.of.insert(address, of_address + 1);
        } else {
            window.suppressed += 1;
        }
        Verdict { record, suppressed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_makes_few_lines_and_hides_no_other() {
        let denied = Denied::default();
        let now = UnixNanos(1_000_000_000_000);
        let (flood, other) = (Some(IpAddr::from([203, 0, 113, 5])), Some(IpAddr::from([192, 0, 2, 1])));
        let recorded = (0..5_000).filter(|_| denied.judge(flood, now).record).count();
        assert_eq!(recorded, PER_ADDRESS as usize);
        assert!(denied.judge(other, now).record);
        let later = denied.judge(other, now.after(WINDOW));
        assert_eq!(later, Verdict { record: true, suppressed: Some(4_990) });
    }

    #[test]
    fn a_flood_of_many_is_bounded_too() {
        let denied = Denied::default();
        let now = UnixNanos(1_000_000_000_000);
        let recorded = (0..5_000_u32).filter(|number| denied.judge(Some((*number).to_be_bytes().into()), now).record);
        assert_eq!(recorded.count(), PER_WINDOW as usize);
        assert!(denied.0.lock().expect("no test panicked").of.len() <= PER_WINDOW as usize);
    }
}
