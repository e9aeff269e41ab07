//! What was added to a block lately, so that most repetitions cost one look instead of a tokenizer, a hash and a table.

/// Slots; those of tokens and segments together stay in the first two levels of cache.
const SLOTS: usize = 1 << 12;

/// Hashes, each in the one slot where it can be; a later one takes the place of an earlier one.
pub(super) struct Recent(Vec<u64>);

impl Default for Recent {
    fn default() -> Self {
        let mut recent = Self(vec![0; SLOTS]);
        recent.clear();
        recent
    }
}

impl Recent {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        // A slot that holds nothing holds a hash that belongs into another slot.
        self.0.iter_mut().enumerate().for_each(|(slot, hash)| *hash = slot as u64 ^ 1);
    }

    /// Whether a hash is not known to have been added.
    pub(super) fn is_new(&mut self, hash: u64) -> bool {
        let slot = &mut self.0[hash as usize % SLOTS];
        std::mem::replace(slot, hash) != hash
    }
}

/// A stretch of text that ends where no token can go on.
pub(super) struct Segment<'a> {
    pub(super) text: &'a str,
    pub(super) hash: u64,
}

/// ASCII up to and including the comma ends a segment: control characters, space, `!"#$%&'()*+,`. None of them belongs to
/// a token, and log lines and JSON repeat what lies between them.
const SEGMENT_BYTE_MIN: u8 = b'-';

/// Cuts a text into segments, eight bytes at a time, and hashes them on the way (folded multiplication, as in wyhash).
pub(super) struct Segments<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Segments<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Segment<'a>> {
        const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
        let bytes = self.text.as_bytes();
        while *bytes.get(self.at)? < SEGMENT_BYTE_MIN {
            self.at += 1;
        }
        let start = self.at;
        let mut hash = SEED;
        loop {
            let word = word_at(bytes, self.at);
            let ends = bytes_below_min(word);
            if ends == 0 {
                hash = mix(hash ^ word);
                self.at += 8;
                continue;
            }
            let length = ends.trailing_zeros() / 8;
            hash = mix(hash ^ (word & ((1 << (8 * length)) - 1)));
            self.at += length as usize;
            break;
        }
        let text = self.text.get(start..self.at)?;
        Some(Segment { text, hash: mix(hash ^ text.len() as u64) })
    }
}

/// The eight bytes from `at` on; zeros, which end a segment, follow the end.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk::<8>() {
        return u64::from_le_bytes(*word);
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

/// The highest bit of each byte below [`SEGMENT_BYTE_MIN`]; exact up to the first one (Anderson, Bit Twiddling Hacks).
#[inline]
const fn bytes_below_min(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    word.wrapping_sub(ONES * SEGMENT_BYTE_MIN as u64) & !word & (ONES * 128)
}

#[inline]
const fn mix(value: u64) -> u64 {
    let product = value as u128 * 0xa076_1d64_78bd_642f;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::tokens::tokens;

    #[test]
    fn segments_are_cut_at_low_ascii_and_equal_ones_have_equal_hashes() {
        let cut = |text| Segments::of(text).map(|segment| (segment.text.to_owned(), segment.hash)).collect::<Vec<_>>();
        let texts = |text| cut(text).into_iter().map(|(text, _)| text).collect::<Vec<_>>();
        assert_eq!(
            texts("  GET /api/v1?id=42,\"x-y\": \u{e9}t\u{e9} 12345678 "),
            ["GET", "/api/v1?id=42", "x-y", ":", "\u{e9}t\u{e9}", "12345678"]
        );
        assert!(texts(" ,, \n").is_empty() && texts("").is_empty());
        assert_eq!(cut("12345678")[0], cut("x 12345678,")[1], "the place must not matter");
        let hashes = ["a", "aa", "a-", "12345678", "123456781", "1234567812345678"].map(|text| cut(text)[0].1);
        let mut distinct = hashes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), hashes.len());
    }

    #[test]
    fn what_is_new_is_new_once_until_it_is_forgotten() {
        let mut recent = Recent::default();
        for hash in [0, 1, 2, u64::MAX, SLOTS as u64] {
            assert!(recent.is_new(hash) && !recent.is_new(hash), "{hash}");
        }
        recent.clear();
        assert!(recent.is_new(u64::MAX));
    }

    proptest! {
        #[test]
        fn segments_have_the_tokens_of_the_text(text in "[ -~\u{80}-\u{2ff}\n]{0,60}") {
            let cut: Vec<String> = Segments::of(&text).flat_map(|segment| tokens(segment.text)).collect();
            prop_assert_eq!(cut, tokens(&text));
        }
    }
}
