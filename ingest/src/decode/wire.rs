//! The protobuf wire format, walked in place: no objects, no copies, no allocation. Total: any bytes end in fields or an error.

/// Groups nest at most this deep; OTLP has none, so only a hostile or unknown sender gets here.
const GROUP_DEPTH_MAX: usize = 16;

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct WireError {
    problem: &'static str,
    /// Where it was found. An address while the walk is going on, which costs nothing on the way; [`WireError::within`]
    /// makes it an offset.
    offset: usize,
}

impl WireError {
    pub(super) fn new(problem: &'static str, at: &[u8]) -> Self {
        Self { problem, offset: at.as_ptr().addr() }
    }

    /// The error as it is told: with its offset in the request.
    pub(super) fn within(self, payload: &[u8]) -> Self {
        Self { offset: self.offset.wrapping_sub(payload.as_ptr().addr()), ..self }
    }
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

    /// What is not read yet.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's number and value; `None` at the end of the message.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.rest;
        let key = self.varint()?;
        let number = match u32::try_from(key >> 3) {
            Ok(0) | Err(_) => return Err(WireError::new("a field number out of range", start)),
            Ok(number) => number,
        };
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.bytes()?),
            3 => {
                self.skip_group(number)?;
                Value::Group
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::new("an unknown wire type", start)),
        };
        Ok(Some((number, value)))
    }

    /// Most numbers have one byte (keys, short lengths) or two (the lengths of records).
    #[inline(always)]
    fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    return Err(WireError::new("a number of more than 64 bits", self.rest));
                }
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        let is_short = self.rest.len() < 10;
        let problem = if is_short { "a number that does not end" } else { "a number of more than 64 bits" };
        Err(WireError::new(problem, self.rest))
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((array, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(WireError::new("a number that does not end", self.rest));
        };
        self.rest = rest;
        Ok(*array)
    }

    #[inline(always)]
    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let start = self.rest;
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(WireError::new("a field that is longer than its message", start));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads up to the end of a group, with the groups inside it, without recursion.
    #[inline(never)]
    fn skip_group(&mut self, number: u32) -> Result<(), WireError> {
        let mut open = [0_u32; GROUP_DEPTH_MAX];
        open[0] = number;
        let mut depth = 1;
        while depth > 0 {
            let start = self.rest;
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).unwrap_or(0);
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.bytes()?),
                3 if depth == GROUP_DEPTH_MAX => return Err(WireError::new("groups that are nested too deep", start)),
                3 => {
                    open[depth] = number;
                    depth += 1;
                }
                4 if number == open[depth - 1] => depth -= 1,
                5 => drop(self.array::<4>()?),
                _ => return Err(WireError::new("a group that does not end where it should", start)),
            }
        }
        Ok(())
    }

    /// The error of a field whose value has not the type that its number demands.
    #[cold]
    fn wrong_type(&self) -> WireError {
        WireError::new("a field with the wrong wire type", self.rest)
    }
}

/// A typed reading of the value that [`Fields::next`] returned.
macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident: $variant:ident($value:ident) -> $type:ty = $convert:expr;)*) => {
        impl<'a> Value<'a> {
            $(
                $(#[$doc])*
                #[inline(always)]
                pub(super) fn $name(self, fields: &Fields<'a>) -> Result<$type, WireError> {
                    match self {
                        Self::$variant($value) => Ok($convert),
                        _ => Err(fields.wrong_type()),
                    }
                }
            )*
        }
    };
}

typed! {
    bytes: Bytes(value) -> &'a [u8] = value;
    varint: Varint(value) -> u64 = value;
    /// An enum or int32: negative ones take ten bytes on the wire, the low half is the value.
    int32: Varint(value) -> i32 = value as u32 as i32;
    uint32: Varint(value) -> u32 = value as u32;
    /// A zigzag-coded int32.
    sint32: Varint(value) -> i32 = ((value as u32 >> 1) as i32) ^ -((value & 1) as i32);
    fixed64: Fixed64(value) -> u64 = value;
    fixed32: Fixed32(value) -> u32 = value;
    double: Fixed64(value) -> f64 = f64::from_bits(value);
}

/// Adds the elements of a repeated fixed64 or double, packed or not; of those beyond `elements_max` only one, so that they
/// are seen and take no memory.
pub(super) fn repeated_fixed64<T>(
    value: Value<'_>,
    fields: &Fields<'_>,
    list: &mut Vec<T>,
    elements_max: usize,
    convert: fn(u64) -> T,
) -> Result<(), WireError> {
    let room = (elements_max + 1).saturating_sub(list.len());
    match value {
        Value::Fixed64(bits) => list.extend((room > 0).then(|| convert(bits))),
        Value::Bytes(packed) => {
            let (chunks, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(WireError::new("a packed list that ends inside an element", rest));
            }
            list.extend(chunks.iter().take(room).map(|chunk| convert(u64::from_le_bytes(*chunk))));
        }
        _ => return Err(fields.wrong_type()),
    }
    Ok(())
}

/// Adds the elements of a repeated uint64, packed or not, and likewise of those beyond `elements_max` only one.
pub(super) fn repeated_varint(
    value: Value<'_>,
    fields: &Fields<'_>,
    list: &mut Vec<u64>,
    elements_max: usize,
) -> Result<(), WireError> {
    match value {
        Value::Varint(element) => list.extend((list.len() <= elements_max).then_some(element)),
        Value::Bytes(packed) => {
            let mut elements = Fields::new(packed);
            while !elements.rest.is_empty() {
                let element = elements.varint()?;
                if list.len() <= elements_max {
                    list.push(element);
                }
            }
        }
        _ => return Err(fields.wrong_type()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, WireError> {
        let mut fields = Fields::new(bytes);
        let mut list = Vec::new();
        while let Some(field) = fields.next().map_err(|error| error.within(bytes))? {
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
    fn numbers_of_every_length_are_read() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = vec![0x08];
                prost::encoding::encode_varint(value, &mut bytes);
                assert_eq!(all(&bytes), Ok(vec![(1, Value::Varint(value))]));
            }
        }
    }

    #[test]
    fn zigzag_is_undone() {
        let fields = Fields::new(&[]);
        for (wire, expected) in [(0, 0), (1, -1), (2, 1), (u64::from(u32::MAX), i32::MIN), (0xffff_fffe, i32::MAX)] {
            assert_eq!(Value::Varint(wire).sint32(&fields), Ok(expected));
        }
        assert_eq!(Value::Varint(u64::MAX).int32(&fields), Ok(-1));
    }

    #[test]
    fn groups_are_passed_over_and_bounded() {
        let nested = [0x0b, 0x08, 1, 0x13, 0x14, 0x0c, 0x10, 2];
        assert_eq!(all(&nested), Ok(vec![(1, Value::Group), (2, Value::Varint(2))]));
        assert_eq!(all(&[0x0b; 10_000]).map_err(|error| error.offset), Err(GROUP_DEPTH_MAX));
        assert!(all(&[0x0b, 0x14]).is_err(), "the end of another group");
        assert!(all(&[0x0c]).is_err(), "the end of no group");
    }

    #[test]
    fn hostile_bytes_end_in_an_error_with_its_place() {
        for (bytes, offset, problem) in [
            (&[0x80][..], 0, "a number that does not end"),
            (&[0x08, 0x80], 1, "a number that does not end"),
            (&[0xff; 11], 0, "a number of more than 64 bits"),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], 1, "a number of more than 64 bits"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], 1, "a field that is longer than its message"),
            (&[0x08, 1, 0x0a, 5, 1], 3, "a field that is longer than its message"),
            (&[0x08, 1, 0x0f], 2, "an unknown wire type"),
            (&[0x00, 1], 0, "a field number out of range"),
            (&[0x09, 1, 2], 1, "a number that does not end"),
        ] {
            let error = all(bytes).expect_err("these are no fields");
            assert_eq!((error.offset, error.problem), (offset, problem), "{bytes:?}");
        }
    }
}
