//! Where a page of hits ends: a place in the order of all records that stays the same while records arrive, are sealed
//! and compacted.

use std::fmt;
use std::str::FromStr;

use super::top::SortKey;
use crate::error::Error;

const VERSION: u8 = 1;
const BYTES: usize = 30;

/// After which record the next page starts. Records are ordered by time, then by arrival. Those of one request with the
/// same time are ordered by a hash of their content, which is all that compaction leaves to tell them apart; of equal ones
/// the cursor says how many were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) descending: bool,
    pub(super) key: SortKey,
    pub(super) hash: u64,
    /// How many of the records with this key and hash were shown.
    pub(super) shown: u32,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1] = u8::from(self.descending);
        bytes[2..10].copy_from_slice(&self.key.time.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.key.position.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.hash.to_be_bytes());
        bytes[26..].copy_from_slice(&self.shown.to_be_bytes());
        bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            Error::invalid_with_hint(
                "the cursor was not made by this server",
                "pass next_cursor of the page before, unchanged",
            )
        })
    }
}

fn parse(text: &str) -> Option<Cursor> {
    // Number parsing alone would take a sign for a digit.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let text = text.as_bytes();
    if text.len() != BYTES * 2 {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let number = |from: usize| Some(u64::from_be_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
    Some(Cursor {
        descending: (bytes[0] == VERSION).then(|| bytes[1] == 1)?,
        key: SortKey { time: number(2)?.cast_signed(), position: number(10)? },
        hash: number(18)?,
        shown: u32::from_be_bytes(bytes.get(26..)?.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let key = SortKey { time: -5, position: u64::MAX };
        let cursor = Cursor { descending: true, key, hash: 0x0123_4567_89ab_cdef, shown: 7 };
        assert_eq!(cursor.to_string().parse::<Cursor>().expect("our own cursor"), cursor);
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for text in ["", "00", "zz", "é".repeat(30).as_str(), "+1".repeat(30).as_str(), "02".repeat(30).as_str()] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }
}
