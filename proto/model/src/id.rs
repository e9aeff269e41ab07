use std::fmt;
use std::str::FromStr;

/// A text that is not the hexadecimal form of the identifier that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an identifier of {expected} hexadecimal digits")]
pub struct InvalidId {
    text: String,
    expected: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], InvalidId> {
    let invalid = || InvalidId { text: text.chars().take(64).collect(), expected: N * 2 };
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(invalid());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16).ok_or_else(invalid)?;
        let low = char::from(pair[1]).to_digit(16).ok_or_else(invalid)?;
        *byte = u8::try_from(high * 16 + low).map_err(|_| invalid())?;
    }
    Ok(bytes)
}

fn write_hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $size]);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, formatter)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_hex(text).map(Self)
            }
        }
    };
}

hex_id!(
    /// A W3C trace ID. All zeroes means "none" on the wire and never reaches a row.
    TraceId,
    16
);
hex_id!(
    /// A W3C span ID. All zeroes means "none" on the wire and never reaches a row.
    SpanId,
    8
);
hex_id!(
    /// The name of an immutable part: 48 bits of Unix milliseconds, then 80 random bits, so that names sort by creation.
    PartId,
    16
);
hex_id!(
    /// The 128-bit hash by which a resent export request is recognised: XXH3 over tenant, signal and the uncompressed protobuf.
    RequestKey,
    16
);

impl TraceId {
    /// Whether this is the all-zero "no trace" of the wire format.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 16]
    }
}

impl SpanId {
    /// Whether this is the all-zero "no span" of the wire format.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 8]
    }
}

/// Who the data belong to. Taken from the credential once there are credentials; until then everything is [`TenantId::DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The tenant of a server without credentials.
    pub const DEFAULT: Self = Self(0);

    /// The name of something that every tenant has one of: itself for the default tenant, `name/7` for others.
    pub fn own(self, name: &str) -> String {
        if self == Self::DEFAULT { name.to_owned() } else { format!("{name}/{self}") }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The sequence number of an acknowledged request in the WAL: 1 for the first, then without gaps, for the life of a data
/// folder. It is the arrival order of every row. Zero means "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalPosition(pub u64);

impl WalPosition {
    /// Before the first request.
    pub const ZERO: Self = Self(0);

    /// The position of the request that follows.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for WalPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_in_any_case_comes_back_in_lower_case() {
        let id: TraceId = "4BF92F3577b34da6a3ce929d0e0e4736".parse().expect("a valid trace ID");
        assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn wrong_lengths_and_letters_are_refused() {
        for text in ["", "4bf9", "4bf92f3577b34da6a3ce929d0e0e473g", "é".repeat(16).as_str()] {
            assert!(text.parse::<TraceId>().is_err(), "{text:?} was taken for a trace ID");
        }
    }
}
