//! Which keys are on the list, and what was found out about the keys of a request.

use std::collections::HashMap;

use crate::glob::Glob;

/// Keys and patterns for keys in one file.
pub(crate) const KEYS_MAX: usize = 1024;

/// A longer key is on every list: it costs time to compare, and nobody means one.
const KEY_BYTES_MAX: usize = 4096;

/// Keys that are known by themselves have at most as many bytes as a pattern.
const EXACT_BYTES_MAX: usize = 256;

/// Keys that are remembered.
const REMEMBERED: usize = 64;

/// Sets of rules, by key. A set is a number with a bit for each rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyList {
    exact: HashMap<Box<[u8]>, u64>,
    globs: Vec<(Glob, u64)>,
    /// Every rule that has keys.
    all: u64,
}

impl KeyList {
    pub(crate) fn add(&mut self, glob: Glob, rule: u64) {
        self.all |= rule;
        match glob.exact() {
            Some(name) => *self.exact.entry(name.into()).or_default() |= rule,
            None => match self.globs.iter_mut().find(|(known, _)| *known == glob) {
                Some((_, rules)) => *rules |= rule,
                None => self.globs.push((glob, rule)),
            },
        }
    }

    /// The rules that list a key.
    fn rules_of(&self, key: &[u8]) -> u64 {
        if key.len() > KEY_BYTES_MAX {
            return self.all;
        }
        let mut lower = [0; EXACT_BYTES_MAX];
        let exact = lower.get_mut(..key.len()).and_then(|lower| {
            lower.copy_from_slice(key);
            lower.make_ascii_lowercase();
            self.exact.get(&*lower).copied()
        });
        let matching = self.globs.iter().filter(|(glob, _)| glob.matches(key));
        matching.fold(exact.unwrap_or_default(), |rules, (_, more)| rules | more)
    }
}

/// What was found out about keys: the same few come with every record.
#[derive(Debug)]
pub(crate) struct KeyMemo<'a>([(&'a [u8], u64); REMEMBERED]);

impl<'a> KeyMemo<'a> {
    pub(crate) fn new(list: &KeyList) -> Self {
        Self([(&[], list.rules_of(&[])); REMEMBERED])
    }

    /// The rules that list a key.
    #[inline]
    pub(crate) fn rules_of(&mut self, list: &KeyList, key: &'a [u8]) -> u64 {
        let place = &mut self.0[place_of(key)];
        if place.0 != key {
            *place = (key, list.rules_of(key));
        }
        place.1
    }
}

/// Where a key is remembered: by its length, and its first and last bytes.
#[inline]
fn place_of(key: &[u8]) -> usize {
    let first = key.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let last = key.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mixed = (first ^ last.rotate_left(11) ^ key.len() as u32).wrapping_mul(0x9e37_79b9);
    (mixed >> (u32::BITS - REMEMBERED.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> KeyList {
        let mut list = KeyList::default();
        for (rule, pattern) in [(1, "password"), (2, "*token*"), (4, "*.secret"), (8, "Password")] {
            list.add(Glob::new(pattern).expect("a pattern"), rule);
        }
        list
    }

    #[test]
    fn a_key_is_on_the_lists_that_name_it() {
        let list = list();
        for (key, rules) in
            [("password", 9), ("PassWord", 9), ("db.password", 0), ("auth.TOKEN.id", 2), ("token.secret", 6), ("", 0)]
        {
            assert_eq!(list.rules_of(key.as_bytes()), rules, "{key}");
        }
        assert_eq!(list.rules_of(&vec![b'x'; 300]), 0);
        assert_eq!(list.rules_of(&vec![b'x'; KEY_BYTES_MAX + 1]), 15);
    }

    #[test]
    fn a_memory_that_is_too_small_forgets_and_is_never_wrong() {
        let list = list();
        let keys: Vec<String> = (0..1000).map(|number| format!("k{}token{number}", number % 7)).collect();
        let others: Vec<String> = (0..1000).map(|number| format!("k{}taken{number}", number % 7)).collect();
        let mut memo = KeyMemo::new(&list);
        for (key, other) in keys.iter().zip(&others).chain(keys.iter().zip(&others)) {
            assert_eq!(memo.rules_of(&list, key.as_bytes()), 2);
            assert_eq!(memo.rules_of(&list, other.as_bytes()), 0);
        }
    }
}
