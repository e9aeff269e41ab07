//! What becomes of what a rule finds.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of a key for hashing.
const KEY_BYTES_MIN: usize = 16;
const KEY_BYTES_MAX: usize = 4096;

/// Bytes of a hash that are kept: as many as a trace ID has.
const HASH_BYTES: usize = 16;

/// What stands before a hash, so that nobody takes it for the value.
const HASH_MARK: &str = "hmac:";

/// What stands for a structure whose text cannot be masked.
const MASKED: &[u8] = b"****";

/// A secret key under which equal values have equal hashes, and nobody without it finds out which.
#[derive(Clone)]
pub struct HashKey(hmac::Key);

impl fmt::Debug for HashKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HashKey")
    }
}

impl HashKey {
    /// A key from a file; a line feed at its end is no part of it.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let about = |problem: String| format!("hash_key_file {}: {problem}", path.display());
        let bytes = std::fs::read(path).map_err(|error| about(error.to_string()))?;
        let key = bytes.trim_ascii_end();
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            let advice = "`openssl rand -hex 32` makes a good one";
            return Err(about(format!(
                "{} bytes; give {KEY_BYTES_MIN} to {KEY_BYTES_MAX} random ones ({advice})",
                key.len()
            )));
        }
        Ok(Self::from_bytes(key))
    }

    /// A key of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// A key that nobody knows, for as long as the process runs. `None` when the system has no randomness to give.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self::from_bytes(&bytes))
    }

    /// HMAC-SHA256 of `parts`, one after the other; `purpose` keeps uses apart.
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> [u8; HASH_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        for part in parts {
            context.update(part);
        }
        let tag = context.sign();
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// What is stored instead of a value.
    pub fn hashed(&self, value: &[u8]) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(HASH_MARK.len() + 2 * HASH_BYTES);
        text.push_str(HASH_MARK);
        for byte in self.digest("value", &[value]) {
            text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
        }
        text
    }
}

/// What becomes of what a rule finds.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The attribute is left out; of a text, what was found is.
    Drop,
    /// Another text stands in its place.
    Replace(Box<[u8]>),
    /// Stars stand in its place, but for its last characters.
    Mask(usize),
    /// Its HMAC-SHA256 stands in its place.
    Hash(HashKey),
}

impl Action {
    /// What is stored instead of `found`; `None` when nothing is.
    pub(crate) fn apply(&self, found: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Drop => None,
            Self::Replace(text) => Some(Cow::Borrowed(text)),
            Self::Mask(kept) => Some(Cow::Owned(masked(found, *kept))),
            Self::Hash(key) => Some(Cow::Owned(key.hashed(found).into_bytes())),
        }
    }

    /// The same for a list or a map, which has no text.
    pub(crate) fn apply_to_structure(&self, wire: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Mask(_) => Some(Cow::Borrowed(MASKED)),
            other => other.apply(wire),
        }
    }
}

/// A star for every character but the last `kept`. Of a text that is not twice as long, nothing is kept: half of a short
/// secret is the secret.
fn masked(found: &[u8], kept: usize) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(found) else { return vec![b'*'; found.len()] };
    let length = text.chars().count();
    let kept = if length >= kept.saturating_mul(2) { kept } else { 0 };
    let stars = length - kept;
    let tail = text.char_indices().nth(stars).map_or("", |(start, _)| text.get(start..).unwrap_or_default());
    let mut output = vec![b'*'; stars];
    output.extend_from_slice(tail.as_bytes());
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_end_of_what_is_long_enough() {
        for (text, kept, expected) in [
            ("4111111111111111", 4, "************1111"),
            ("secret", 4, "******"),
            ("grüßen", 3, "***ßen"),
            ("abc", 0, "***"),
            ("", 4, ""),
        ] {
            assert_eq!(masked(text.as_bytes(), kept), expected.as_bytes(), "{text}");
        }
        assert_eq!(masked(&[0xff, 0xfe], 1), b"**");
    }

    #[test]
    fn equal_values_have_equal_hashes_under_one_key_only() {
        let (one, other) = (HashKey::from_bytes(b"0123456789abcdef"), HashKey::from_bytes(b"fedcba9876543210"));
        assert_eq!(one.hashed(b"alice"), one.hashed(b"alice"));
        assert_ne!(one.hashed(b"alice"), other.hashed(b"alice"));
        assert_ne!(one.hashed(b"alice"), one.hashed(b"bob"));
        assert_ne!(one.digest("value", &[b"a"]), one.digest("request", &[b"a"]));
        // HMAC-SHA256("0123456789abcdef", "value\0alice"), by OpenSSL: it must be the same in every version.
        assert_eq!(one.hashed(b"alice"), "hmac:cd2de7ec98bc24e78cfba0054dfaf523");
        assert!(!format!("{one:?}").contains("0123"));
    }
}
