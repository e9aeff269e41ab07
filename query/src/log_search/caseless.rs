use memchr::{memchr_iter, memchr2_iter};

/// How common an ASCII byte is in log text, roughly: the search looks for the least common byte of its needle first.
const COMMON: &[u8] = b"etaoinsrlcdmpu01h2gfby345w6789vk_xjqz";

/// Finds an ASCII text in bytes, letters in any case.
#[derive(Clone, Debug)]
pub(super) struct CaselessFinder {
    /// In lower case, never empty.
    needle: Vec<u8>,
    rare_at: usize,
}

impl CaselessFinder {
    /// A finder of a text in lower case; `None` when it is empty or not ASCII.
    pub(super) fn new(needle: &str) -> Option<Self> {
        if needle.is_empty() || !needle.is_ascii() {
            return None;
        }
        let commonness = |byte: u8| COMMON.iter().position(|&common| common == byte).unwrap_or(COMMON.len());
        let rare_at =
            (0..needle.len()).max_by_key(|&index| needle.as_bytes().get(index).map(|&byte| commonness(byte)))?;
        Some(Self { needle: needle.as_bytes().to_vec(), rare_at })
    }

    pub(super) fn len(&self) -> usize {
        self.needle.len()
    }

    /// Whether text outside ASCII could hold the needle in other bytes: the Kelvin sign is a `k` in lower case.
    pub(super) fn has_other_forms(&self) -> bool {
        self.needle.contains(&b'k')
    }

    /// The first occurrence for which `accept` says yes.
    pub(super) fn find(&self, text: &[u8], mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
        let rare = self.needle.get(self.rare_at).copied().unwrap_or_default();
        let mut accepts = |found: usize| {
            let start = found.checked_sub(self.rare_at)?;
            let candidate = text.get(start..start + self.needle.len())?;
            (candidate.eq_ignore_ascii_case(&self.needle) && accept(start)).then_some(start)
        };
        if rare.is_ascii_lowercase() {
            memchr2_iter(rare, rare.to_ascii_uppercase(), text).find_map(&mut accepts)
        } else {
            memchr_iter(rare, text).find_map(&mut accepts)
        }
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.find(text, |_| true).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_case_at_every_place() {
        let finder = CaselessFinder::new("zone").expect("an ASCII needle");
        for (text, at) in [("ZONE", Some(0)), ("the zOnE", Some(4)), ("zon", None), ("one", None), ("", None)] {
            assert_eq!(finder.find(text.as_bytes(), |_| true), at, "{text:?}");
        }
        assert_eq!(finder.find(b"zone zone", |at| at > 0), Some(5));
    }

    #[test]
    fn refuses_what_it_cannot_find() {
        assert!(CaselessFinder::new("").is_none());
        assert!(CaselessFinder::new("grün").is_none());
    }
}
