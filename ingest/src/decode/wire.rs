//! The protobuf wire format, walked in place: no objects, no copies, no allocation. Total: any bytes end in fields or an error.

/// Groups nest at most this deep; OTLP has none, so only a hostile or unknown sender gets here.
const GROUP_DEPTH_MAX: u32 = 16;

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a protobuf message: {problem}")]
pub struct WireError {
    pub(super) problem: &'static str,
}

fn error<T>(problem: &'static str) -> Result<T, WireError> {
    Err(WireError { problem })
}

/// The value of a field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// A group, passed over.
    Group,
}

/// The fields of one message, in the order of the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at the end of the message.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let Ok(number) = u32::try_from(key >> 3) else { return error("a field number is out of range") };
        if number == 0 {
            return error("a field has the number 0");
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.bytes()?),
            3 => {
                self.skip_group(number)?;
                Value::Group
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return error("a field has an unknown wire type"),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        if let [byte, rest @ ..] = self.rest
            && *byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    return error("a number is longer than 64 bits");
                }
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        error(if self.rest.len() < 10 { "it ends inside a number" } else { "a number is longer than 64 bits" })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((array, rest)) = self.rest.split_first_chunk::<N>() else { return error("it ends inside a number") };
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.varint()?;
        let Some((bytes, rest)) = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length))
        else {
            return error("a field is longer than its message");
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads up to the end of a group, with the groups inside it, without recursion.
    fn skip_group(&mut self, number: u32) -> Result<(), WireError> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).unwrap_or(0);
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.bytes()?),
                3 if open.len() as u32 >= GROUP_DEPTH_MAX => return error("groups are nested too deep"),
                3 => open.push(number),
                4 if number == innermost => drop(open.pop()),
                5 => drop(self.array::<4>()?),
                _ => return error("a group does not end where it should"),
            }
        }
        Ok(())
    }
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => error("a field has the wrong wire type"),
        }
    }

    pub(super) fn varint(self) -> Result<u64, WireError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => error("a field has the wrong wire type"),
        }
    }

    /// An enum or int32: negative ones take ten bytes on the wire, the low half is the value.
    pub(super) fn int32(self) -> Result<i32, WireError> {
        self.varint().map(|value| value as u32 as i32)
    }

    pub(super) fn uint32(self) -> Result<u32, WireError> {
        self.varint().map(|value| value as u32)
    }

    /// A zigzag-coded int32.
    pub(super) fn sint32(self) -> Result<i32, WireError> {
        self.uint32().map(|value| ((value >> 1) as i32) ^ -((value & 1) as i32))
    }

    pub(super) fn fixed64(self) -> Result<u64, WireError> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => error("a field has the wrong wire type"),
        }
    }

    pub(super) fn fixed32(self) -> Result<u32, WireError> {
        match self {
            Self::Fixed32(value) => Ok(value),
            _ => error("a field has the wrong wire type"),
        }
    }

    pub(super) fn double(self) -> Result<f64, WireError> {
        self.fixed64().map(f64::from_bits)
    }
}

/// Adds the elements of a repeated fixed64 or double, packed or not.
pub(super) fn repeated_fixed64<T>(value: Value<'_>, list: &mut Vec<T>, convert: fn(u64) -> T) -> Result<(), WireError> {
    match value {
        Value::Fixed64(bits) => list.push(convert(bits)),
        Value::Bytes(packed) => {
            let (chunks, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return error("a packed list ends inside an element");
            }
            list.extend(chunks.iter().map(|chunk| convert(u64::from_le_bytes(*chunk))));
        }
        _ => return error("a field has the wrong wire type"),
    }
    Ok(())
}

/// Adds the elements of a repeated uint64, packed or not.
pub(super) fn repeated_varint(value: Value<'_>, list: &mut Vec<u64>) -> Result<(), WireError> {
    match value {
        Value::Varint(element) => list.push(element),
        Value::Bytes(packed) => {
            let mut fields = Fields::new(packed);
            while !fields.rest.is_empty() {
                list.push(fields.varint()?);
            }
        }
        _ => return error("a field has the wrong wire type"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, WireError> {
        let mut fields = Fields::new(bytes);
        let mut list = Vec::new();
        while let Some(field) = fields.next()? {
            list.push(field);
        }
        Ok(list)
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, 7, 8, 0x25, 9, 0, 0, 0];
        let expected =
            vec![(1, Value::Varint(150)), (2, Value::Fixed64(1)), (3, Value::Bytes(&[7, 8])), (4, Value::Fixed32(9))];
        assert_eq!(all(&bytes), Ok(expected));
    }

    #[test]
    fn groups_are_passed_over_and_bounded() {
        assert_eq!(
            all(&[0x0b, 0x08, 1, 0x13, 0x14, 0x0c, 0x10, 2]),
            Ok(vec![(1, Value::Group), (2, Value::Varint(2))])
        );
        assert!(all(&[0x0b; 10_000]).is_err());
        assert!(all(&[0x0b, 0x14]).is_err(), "the end of another group");
    }

    #[test]
    fn hostile_bytes_end_in_an_error() {
        for bytes in [
            &[0x80][..],
            &[0x08, 0x80],
            &[0xff; 11],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x0a, 5, 1],
            &[0x0f],
            &[0x00, 1],
        ] {
            assert!(all(bytes).is_err(), "{bytes:?}");
        }
    }
}
