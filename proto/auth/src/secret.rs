//! Random secrets and what is kept of them.

use std::fmt;

use rand::TryRngCore;
use rand::rngs::OsRng;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::error::Error;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest multiple of 62 in a byte: what is above is drawn again, so that every character is equally likely.
const UNBIASED: u8 = 248;

/// Characters of base 62 that have at least 256 bits.
pub(crate) const SECRET_CHARS: usize = 43;

/// Characters drawn from the system's source of randomness.
pub(crate) fn random_text(chars: usize) -> Result<String, Error> {
    let mut text = String::with_capacity(chars);
    let mut bytes = [0_u8; 64];
    while text.len() < chars {
        fill(&mut bytes)?;
        let kept = bytes.iter().filter(|byte| **byte < UNBIASED).map(|byte| ALPHABET[usize::from(byte % 62)]);
        text.extend(kept.take(chars - text.len()).map(char::from));
    }
    Ok(text)
}

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    OsRng.try_fill_bytes(bytes).map_err(|error| Error::unavailable(format!("the system gave no randomness: {error}")))
}

/// The SHA-256 of a secret. Of a secret with 256 random bits this is all that must be kept: nothing can be learned from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

impl Digest {
    pub(crate) fn of(secret: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self(bytes)
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks_exact(2);
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hexadecimal digits"))
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Shows it, to whoever must send or store it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn secrets_are_long_random_and_never_printed() {
        let texts: BTreeSet<String> = (0..200).map(|_| random_text(SECRET_CHARS).expect("randomness")).collect();
        assert_eq!(texts.len(), 200);
        let mut letters: BTreeSet<char> = BTreeSet::new();
        for text in &texts {
            assert_eq!(text.len(), SECRET_CHARS);
            letters.extend(text.chars());
        }
        assert_eq!(letters.len(), 62, "every character occurs in 8600 of them");
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
    }

    #[test]
    fn a_digest_is_hexadecimal_outside() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(serde_json::to_string(&digest).expect("JSON"), format!("\"{text}\""));
        assert!(serde_json::from_str::<Digest>(&format!("\"{text}\"")).expect("a digest").matches(&digest));
        assert!(!Digest::of(b"abd").matches(&digest));
        for wrong in ["", "ba78", &"g".repeat(64), &"é".repeat(32)] {
            assert!(Digest::parse(wrong).is_none(), "{wrong}");
        }
    }
}
