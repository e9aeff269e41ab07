//! When groups are evaluated: in slots, spread over the interval by the hash of their names.

use crate::alert::Fnv;
use crate::file::Group;

/// The slots of a group, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) interval_ms: i64,
    offset_ms: i64,
}

impl Slots {
    pub(crate) fn of(group: &Group, interval_ms: i64) -> Self {
        let interval_ms = interval_ms.max(1);
        let mut hash = Fnv::default();
        hash.write(group.name.as_bytes());
        hash.write(&[255]);
        hash.write(group.file.as_bytes());
        // FNV's low bits are weak for texts that differ in their last letter only.
        let mixed = (hash.0 ^ (hash.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let offset = (mixed >> 1).cast_signed() % interval_ms;
        Self { interval_ms, offset_ms: offset }
    }

    /// The last slot that is not after `now`.
    pub(crate) fn at(&self, now_ms: i64) -> i64 {
        let shifted = now_ms.saturating_sub(self.offset_ms);
        shifted.saturating_sub(shifted.rem_euclid(self.interval_ms)).saturating_add(self.offset_ms)
    }

    /// The first slot to evaluate: the next one, but the current one when an evaluator that was here before did not come
    /// to it.
    pub(crate) fn first(&self, now_ms: i64, last_ms: Option<i64>) -> i64 {
        let current = self.at(now_ms);
        if last_ms.is_some_and(|last| last < current) { current } else { current.saturating_add(self.interval_ms) }
    }

    /// How many slots lie between the last one evaluated and this one.
    pub(crate) fn missed(&self, last_ms: i64, slot_ms: i64) -> u64 {
        let between = slot_ms.saturating_sub(last_ms) / self.interval_ms - 1;
        u64::try_from(between).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Group {
        Group { file: "f".into(), name: name.into(), interval: None, query_offset: None, limit: 0, rules: Vec::new() }
    }

    #[test]
    fn slots_are_an_interval_apart_and_never_ahead() {
        for name in ["a", "b", "c", "another"] {
            let slots = Slots::of(&group(name), 60_000);
            for now in [0, 1, 59_999, 60_000, 1_700_000_000_123, -5] {
                let slot = slots.at(now);
                assert!(slot <= now && now < slot + 60_000, "{name} {now} {slot}");
                assert_eq!(slots.at(slot), slot);
                assert_eq!(slots.at(slot + 60_000), slot + 60_000);
            }
        }
    }

    #[test]
    fn groups_are_spread_over_the_interval() {
        let offsets: Vec<i64> = (0..100).map(|n| Slots::of(&group(&format!("group{n}")), 60_000).offset_ms).collect();
        for quarter in 0..4 {
            let within = offsets.iter().filter(|offset| **offset / 15_000 == quarter).count();
            assert!((10..=45).contains(&within), "{within} of 100 in quarter {quarter}");
        }
    }

    #[test]
    fn the_first_slot_is_the_next_unless_the_current_one_was_left_out() {
        let slots = Slots::of(&group("a"), 60_000);
        let current = slots.at(1_000_000_000);
        assert_eq!(slots.first(1_000_000_000, None), current + 60_000);
        assert_eq!(slots.first(1_000_000_000, Some(current)), current + 60_000);
        assert_eq!(slots.first(1_000_000_000, Some(current - 60_000)), current);
        assert_eq!(slots.missed(current - 60_000, current), 0);
        assert_eq!(slots.missed(current - 240_000, current), 3);
    }
}
