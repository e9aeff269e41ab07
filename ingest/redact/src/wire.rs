//! The protobuf wire format, read in place by the same laws as the decoder reads it: what is a message here is one there.

/// Groups nest at most this deep, as in the decoder.
const GROUP_DEPTH_MAX: usize = 16;

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// Fixed32 or fixed64: nothing that we look into.
    Fixed,
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    /// A group, passed over.
    Group,
}

/// The fields of one message, in the order of the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    message: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    #[inline]
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, rest: message }
    }

    /// How much of the message is read.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.message.len() - self.rest.len()
    }

    /// The next field's number and value; `None` at the end of the message.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0).ok_or(Malformed)?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.array()?),
            2 => Value::Bytes(self.bytes()?),
            3 => {
                self.skip_group(number)?;
                Value::Group
            }
            5 => {
                self.array::<4>()?;
                Value::Fixed
            }
            _ => return Err(Malformed),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    return Err(Malformed);
                }
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads up to the end of a group, with the groups inside it, without recursion.
    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = [0_u32; GROUP_DEPTH_MAX];
        open[0] = number;
        let mut depth = 1;
        while depth > 0 {
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).unwrap_or(0);
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.bytes()?),
                3 if depth == GROUP_DEPTH_MAX => return Err(Malformed),
                3 => {
                    open[depth] = number;
                    depth += 1;
                }
                4 if number == open[depth - 1] => depth -= 1,
                5 => drop(self.array::<4>()?),
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }
}

/// Appends a number.
pub(crate) fn write_varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

/// Appends a field that holds bytes.
pub(crate) fn write_bytes(output: &mut Vec<u8>, number: u32, content: &[u8]) {
    write_varint(output, u64::from(number) << 3 | 2);
    write_varint(output, content.len() as u64);
    output.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wire_type_is_read_with_its_place() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, 7, 8, 0x25, 9, 0, 0, 0, 0x2b, 0x2c];
        let mut fields = Fields::new(&bytes);
        let mut found = Vec::new();
        while let Some((number, value)) = fields.next().expect("a message") {
            found.push((number, value, fields.position()));
        }
        let fixed = Value::Fixed64([1, 0, 0, 0, 0, 0, 0, 0]);
        let expected = [
            (1, Value::Varint(150), 3),
            (2, fixed, 12),
            (3, Value::Bytes(&[7, 8]), 16),
            (4, Value::Fixed, 21),
            (5, Value::Group, 23),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn hostile_bytes_are_malformed() {
        let wrong: [&[u8]; 8] =
            [&[0x80], &[0xff; 11], &[0x0a, 5, 1], &[0x0f, 1], &[0x00, 1], &[0x09, 1, 2], &[0x0b; 1000], &[0x0b, 0x14]];
        for bytes in wrong {
            let mut fields = Fields::new(bytes);
            let result = std::iter::from_fn(|| fields.next().transpose()).collect::<Result<Vec<_>, _>>();
            assert_eq!(result, Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut output = Vec::new();
            write_bytes(&mut output, 300, &vec![7; length]);
            let mut fields = Fields::new(&output);
            assert_eq!(fields.next(), Ok(Some((300, Value::Bytes(&vec![7; length])))));
            assert_eq!(fields.next(), Ok(None));
        }
    }
}
