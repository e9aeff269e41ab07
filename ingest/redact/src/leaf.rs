//! `AnyValue` and `KeyValue` messages as nearly all are: a text or a number under a key.

use std::borrow::Cow;

use crate::wire::{Fields, Malformed, Value, write_bytes};

/// Key and value of a `KeyValue` that is written as every exporter writes it. `None` for all others, right or wrong.
#[inline]
pub(crate) fn pair(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = short_field(message, 1)?;
    let (value, rest) = short_field(rest, 2)?;
    rest.is_empty().then_some((key, value))
}

/// Whether an `AnyValue` is nothing but a text, bytes, a boolean or a number, written as every exporter writes it.
#[inline]
pub(crate) fn is_plain(value: &[u8]) -> bool {
    match value {
        [] => true,
        [0x0a | 0x3a, ..] => short_field(value, value[0] >> 3).is_some_and(|(_, rest)| rest.is_empty()),
        [0x10 | 0x18, integer @ ..] => is_varint(integer),
        [0x21, double @ ..] => double.len() == 8,
        _ => false,
    }
}

/// The content of the field at the beginning, and what follows, when it has this number and a length of at most two bytes.
#[inline]
fn short_field(message: &[u8], number: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match message {
        [tag, length, rest @ ..] if *tag == number << 3 | 2 && *length < 0x80 => (usize::from(*length), rest),
        [tag, low, high, rest @ ..] if *tag == number << 3 | 2 && *high < 0x80 => {
            (usize::from(*low & 0x7f) | usize::from(*high) << 7, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Whether these bytes are one number of at most nine bytes.
#[inline]
fn is_varint(bytes: &[u8]) -> bool {
    matches!(bytes, [rest @ .., last] if *last < 0x80 && rest.len() < 9 && rest.iter().all(|byte| *byte >= 0x80))
}

/// What an `AnyValue` holds, as a text where it has one.
pub(crate) enum Leaf<'a> {
    Nothing,
    Text(Cow<'a, [u8]>),
    Structure,
}

/// The set member of an `AnyValue`: the last one, as protobuf demands of a oneof.
pub(crate) fn leaf(message: &[u8]) -> Result<Leaf<'_>, Malformed> {
    let mut fields = Fields::new(message);
    let mut found = Leaf::Nothing;
    while let Some((number, value)) = fields.next()? {
        let text = |text: String| Leaf::Text(Cow::Owned(text.into_bytes()));
        found = match (number, value) {
            (1 | 7, Value::Bytes([])) => Leaf::Nothing,
            (1 | 7, Value::Bytes(bytes)) => Leaf::Text(Cow::Borrowed(bytes)),
            (2, Value::Varint(value)) => text((value != 0).to_string()),
            (3, Value::Varint(value)) => text((value as i64).to_string()),
            (4, Value::Fixed64(bits)) => text(f64::from_le_bytes(bits).to_string()),
            (5 | 6, Value::Bytes(_)) => Leaf::Structure,
            _ => found,
        };
    }
    // A text that a later member hides is on the disk all the same.
    Ok(if matches!(found, Leaf::Nothing) && message.len() > 2 { Leaf::Structure } else { found })
}

/// An `AnyValue` that is a text.
pub(crate) fn string_value(text: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(text.len() + 4);
    write_bytes(&mut message, 1, text);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_a_leaf_and_the_rest_is_looked_into() {
        let text = |length: usize| {
            let mut value = Vec::new();
            write_bytes(&mut value, 1, &vec![b'x'; length]);
            value
        };
        for length in [0, 1, 127, 128, 16_383] {
            assert!(is_plain(&text(length)), "{length}");
        }
        let numbers: [&[u8]; 5] =
            [&[], &[0x10, 1], &[0x18, 5], &[0x18, 0xff, 0xff, 0x03], &[0x21, 1, 2, 3, 4, 5, 6, 7, 8]];
        assert!(numbers.iter().all(|value| is_plain(value)));
        let structures: [&[u8]; 9] = [
            &[0x2a, 0],
            &[0x32, 0],
            &[0x0a, 2, b'x'],
            &[0x0a, 1, b'x', 0x0a, 0],
            &[0x18],
            &[0x18, 0x80],
            &[0x18, 1, 1],
            &[0x21, 1],
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ];
        assert!(structures.iter().all(|value| !is_plain(value)), "cut, doubled, structures, what is rare");
        assert!(!is_plain(&text(16_384)), "a length of three bytes");
    }

    #[test]
    fn a_pair_is_taken_apart_only_when_nothing_else_is_there() {
        assert_eq!(pair(&[0x0a, 1, b'k', 0x12, 2, 0x10, 1]), Some((&b"k"[..], &[0x10, 1][..])));
        assert_eq!(pair(&[0x0a, 0, 0x12, 0]), Some((&[][..], &[][..])));
        for other in [&[0x12, 0, 0x0a, 0][..], &[0x0a, 0], &[0x0a, 0, 0x12, 1], &[0x0a, 0, 0x12, 0, 0x1a, 0], &[]] {
            assert_eq!(pair(other), None, "{other:?}");
        }
    }
}
