//! What peers over HTTP/2 may send before it is read: flow-control windows out of one budget.
//!
//! A window is memory that is promised to the peer (RFC 9113, section 5.2): what it sends into one waits with us when requests come
//! faster than they are read. A few collectors far away need large windows to be quick, thousands of exporters together must not
//! have them. So each connection takes a share of what is left, and gives it back when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What every HTTP/2 connection has from the start and cannot be denied (RFC 9113, section 6.9.2). A request could be given less, but
/// its sender would wait for us after every frame, and we wake for each: with 16 KiB an overloaded server took a tenth less.
const WINDOW_BYTES_MIN: usize = 65_535;

/// The window of a connection while there is room: 80 MB/s over a distance of 50 ms.
const WINDOW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The part of its connection's window that one request may fill, so that another can go on beside it.
const STREAM_SHARE: usize = 4;

/// The part of the rest that the next connection takes: one after the other has less, none finds nothing.
const SHARE: usize = 8;

/// The windows of all connections of a listener.
#[derive(Debug)]
pub(crate) struct Windows {
    left_bytes: AtomicUsize,
}

/// The window of one connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Window {
    windows: Arc<Windows>,
    taken_bytes: usize,
}

impl Windows {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left_bytes: AtomicUsize::new(bytes) })
    }

    pub(crate) fn take(self: &Arc<Self>) -> Window {
        let take = |left: usize| Some(left - share(left));
        let left = self.left_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).unwrap_or_default();
        Window { windows: Arc::clone(self), taken_bytes: share(left) }
    }
}

/// What the next connection takes of what is left: nothing, when that would be no more than what it has anyway.
fn share(left_bytes: usize) -> usize {
    match left_bytes / SHARE {
        ..=WINDOW_BYTES_MIN => 0,
        share => share.min(WINDOW_BYTES_MAX),
    }
}

impl Window {
    pub(crate) fn of_connection(&self) -> u32 {
        u32::try_from(self.taken_bytes.max(WINDOW_BYTES_MIN)).unwrap_or(u32::MAX)
    }

    pub(crate) fn of_stream(&self) -> u32 {
        let bytes = (self.taken_bytes / STREAM_SHARE).max(WINDOW_BYTES_MIN);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.windows.left_bytes.fetch_add(self.taken_bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_connections_have_large_windows_and_thousands_stay_within_the_budget() {
        let budget = 64 << 20;
        let windows = Windows::new(budget);
        let few: Vec<Window> = (0..4).map(|_| windows.take()).collect();
        assert!(few.iter().all(|window| window.of_connection() == 4 << 20 && window.of_stream() == 1 << 20));
        let many: Vec<Window> = (0..4_000).map(|_| windows.take()).collect();
        let all = || few.iter().chain(&many);
        assert!(all().map(|window| window.taken_bytes).sum::<usize>() <= budget);
        assert!(all().all(|window| window.of_stream() >= 65_535 && window.of_stream() <= window.of_connection()));
        assert_eq!(many.last().map(Window::of_connection), Some(65_535));
        drop((few, many));
        assert_eq!(windows.take().of_connection(), 4 << 20, "what was taken is given back");
    }

    #[test]
    fn without_a_budget_there_is_what_the_protocol_begins_with() {
        let window = Windows::new(0).take();
        assert_eq!((window.of_connection(), window.of_stream()), (65_535, 65_535));
    }
}
