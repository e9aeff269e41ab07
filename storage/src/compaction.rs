//! Which parts to merge: small parts must not pile up, no row may be rewritten often, and a part stays within its window
//! of time so that retention can drop whole parts.

use std::collections::BTreeMap;

use trivium_model::{PartId, SignalKind, UnixNanos};

use crate::part::PartRecord;

/// One day: the window of time within which parts are merged.
pub(crate) const WINDOW_NANOS: i64 = 24 * 3600 * 1_000_000_000;

/// A window is closed this long after its end; then what is left in it is merged whatever its size.
const CLOSED_AFTER_NANOS: i64 = 3600 * 1_000_000_000;

/// Parts of similar size that make a merge. Each merge raises a row's part to at least this multiple of its size, so a row
/// is rewritten at most log4(full / smallest seal) times.
const MERGE_FACTOR: usize = 4;

/// Parts of one merge at most: bounds the memory and the time of one step.
const INPUTS_MAX: usize = 64;

/// The buffer for which [`full_rows`] are meant, and the least share of them: a merge holds its rows in memory several times
/// over, so a server with little of it makes smaller parts, but not so small that they pile up.
const BUFFER_BYTES: usize = 64 * 1024 * 1024;
const SHARE_MIN: usize = 4;

/// Small parts of one tenant and signal from which on merges wait for nobody: in an overload that does not end they would pile
/// up, and each costs every query its look at it.
const PRESSING_PARTS: usize = 256;

/// Whether a merge may wait for work that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    None,
    Pressing,
}

/// How pressing the merges among the parts of one tenant and signal are.
pub(crate) fn haste(parts: &[&PartRecord], full: u32) -> Haste {
    match parts.iter().filter(|part| part.rows < full).count() {
        ..PRESSING_PARTS => Haste::None,
        _ => Haste::Pressing,
    }
}

/// The rows from which a part is left alone. A buffer that was sealed because it was full makes parts of about this size,
/// so that a busy server does not rewrite anything.
pub(crate) fn full_rows(signal: SignalKind, buffer_bytes_max: usize) -> u32 {
    let rows: u32 = match signal {
        SignalKind::Logs => 64 * 1024,
        SignalKind::Metrics => 256 * 1024,
        SignalKind::Traces => 128 * 1024,
    };
    let share = (BUFFER_BYTES / buffer_bytes_max.max(1)).clamp(1, SHARE_MIN);
    rows / u32::try_from(share).unwrap_or(1)
}

/// The window in which a part lies, by its first time.
pub(crate) fn window(time: UnixNanos) -> i64 {
    time.0.div_euclid(WINDOW_NANOS)
}

/// The next merge that is due among the parts of one tenant and signal, which are left alone from `full` rows on; `None` when
/// nothing is.
pub(crate) fn due(parts: &[&PartRecord], full: u32, now: UnixNanos) -> Option<Vec<PartId>> {
    let mut windows: BTreeMap<i64, Vec<&PartRecord>> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.rows < full) {
        windows.entry(window(part.first_time)).or_default().push(part);
    }
    windows.into_iter().find_map(|(window, mut small)| {
        small.sort_unstable_by_key(|part| part.first_position);
        same_size(&small, full).or_else(|| leftovers(window, &small, full, now))
    })
}

/// [`MERGE_FACTOR`] or more parts of one size class, the smallest class first.
fn same_size(small: &[&PartRecord], full: u32) -> Option<Vec<PartId>> {
    let mut classes: BTreeMap<u32, Vec<&PartRecord>> = BTreeMap::new();
    for part in small {
        classes.entry(size_class(part.rows)).or_default().push(part);
    }
    let class = classes.into_values().find(|class| class.len() >= MERGE_FACTOR)?;
    Some(up_to_full(&class, full))
}

/// Everything that is left in a window that gets no more rows.
fn leftovers(window: i64, small: &[&PartRecord], full: u32, now: UnixNanos) -> Option<Vec<PartId>> {
    let closed_at = (window + 1).saturating_mul(WINDOW_NANOS).saturating_add(CLOSED_AFTER_NANOS);
    if small.len() < 2 || now.0 < closed_at {
        return None;
    }
    Some(up_to_full(small, full))
}

/// The powers of four that hold a number of rows.
fn size_class(rows: u32) -> u32 {
    rows.max(1).ilog2() / 2
}

/// As many of the parts as make one full part, at least two.
fn up_to_full(parts: &[&PartRecord], full: u32) -> Vec<PartId> {
    let mut rows = 0_u64;
    let mut chosen = Vec::new();
    for part in parts.iter().take(INPUTS_MAX) {
        if chosen.len() >= 2 && rows + u64::from(part.rows) > 2 * u64::from(full) {
            break;
        }
        rows += u64::from(part.rows);
        chosen.push(part.id);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use trivium_model::{TenantId, WalPosition};

    use super::*;

    fn part(number: u8, rows: u32, time: i64) -> PartRecord {
        PartRecord {
            id: PartId([number; 16]),
            tenant: TenantId::DEFAULT,
            signal: SignalKind::Logs,
            level: 0,
            first_time: UnixNanos(time),
            last_time: UnixNanos(time),
            first_position: WalPosition(u64::from(number)),
            last_position: WalPosition(u64::from(number)),
            rows,
            files: Vec::new(),
            created_at: UnixNanos(0),
        }
    }

    fn check(parts: &[PartRecord], now: i64, expected: Option<&[u8]>) {
        let parts: Vec<&PartRecord> = parts.iter().collect();
        let due = due(&parts, full_rows(SignalKind::Logs, BUFFER_BYTES), UnixNanos(now));
        assert_eq!(due, expected.map(|numbers| numbers.iter().map(|&number| PartId([number; 16])).collect()));
    }

    #[test]
    fn four_parts_of_a_size_are_merged_and_three_are_not() {
        let parts: Vec<PartRecord> = (1..=4).map(|number| part(number, 1000, 5)).collect();
        check(&parts[..3], 10, None);
        check(&parts, 10, Some(&[1, 2, 3, 4]));
    }

    #[test]
    fn merges_wait_until_too_many_small_parts_have_piled_up() {
        let full = full_rows(SignalKind::Logs, BUFFER_BYTES);
        let mut parts = vec![part(1, full, 5); 2 * PRESSING_PARTS];
        let haste = |parts: &[PartRecord]| haste(&parts.iter().collect::<Vec<_>>(), full);
        assert_eq!(haste(&parts), Haste::None, "full parts are no work");
        parts.extend(vec![part(1, full - 1, 5); PRESSING_PARTS - 1]);
        assert_eq!(haste(&parts), Haste::None);
        parts.push(part(1, 1, 5));
        assert_eq!(haste(&parts), Haste::Pressing);
    }

    #[test]
    fn full_parts_are_left_alone() {
        let full = full_rows(SignalKind::Logs, BUFFER_BYTES);
        assert_eq!(full_rows(SignalKind::Logs, BUFFER_BYTES / 2), full / 2);
        assert_eq!(full_rows(SignalKind::Logs, 1), full / 4);
        assert_eq!(full_rows(SignalKind::Logs, usize::MAX), full);
        let parts: Vec<PartRecord> = (1..=8).map(|number| part(number, full, 5)).collect();
        check(&parts, i64::MAX, None);
    }

    #[test]
    fn parts_of_different_days_are_not_merged() {
        let parts: Vec<PartRecord> =
            (1..=4).map(|number| part(number, 1000, i64::from(number) * WINDOW_NANOS)).collect();
        check(&parts, i64::MAX, None);
    }

    #[test]
    fn a_closed_window_is_merged_whatever_the_sizes() {
        let parts = [part(1, 10, 5), part(2, 30_000, 5)];
        check(&parts, WINDOW_NANOS, None);
        check(&parts, WINDOW_NANOS + CLOSED_AFTER_NANOS, Some(&[1, 2]));
    }

    #[test]
    fn a_merge_stops_near_the_full_size() {
        let parts: Vec<PartRecord> = (1..=6).map(|number| part(number, 40_000, 5)).collect();
        check(&parts, 10, Some(&[1, 2, 3]));
    }
}
