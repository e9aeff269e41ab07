//! Protobuf messages as trees of fields, for changes that keep the framing right.

use crate::random::Random;

const NUMBERS: [u64; 12] =
    [0, 1, 2, 127, 128, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 53, i64::MAX as u64, 1 << 63, u64::MAX];

/// Levels that a message is taken apart.
const DEPTH_MAX: usize = 8;

#[derive(Clone, Debug)]
enum Value {
    Varint(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
    Fixed32(u32),
}

#[derive(Clone, Debug)]
struct Field {
    number: u64,
    value: Value,
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn read(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = key >> 3;
        if number == 0 || number > 1 << 29 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => {
                let (head, rest) = bytes.split_first_chunk::<8>()?;
                bytes = rest;
                Value::Fixed64(u64::from_le_bytes(*head))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                let message = if depth < DEPTH_MAX && inner.len() > 1 { read(inner, depth + 1) } else { None };
                message.map_or_else(|| Value::Bytes(inner.to_vec()), Value::Message)
            }
            5 => {
                let (head, rest) = bytes.split_first_chunk::<4>()?;
                bytes = rest;
                Value::Fixed32(u32::from_le_bytes(*head))
            }
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

fn write(fields: &[Field], output: &mut Vec<u8>) {
    for field in fields {
        let wire_type = match &field.value {
            Value::Varint(_) => 0,
            Value::Fixed64(_) => 1,
            Value::Bytes(_) | Value::Message(_) => 2,
            Value::Fixed32(_) => 5,
        };
        prost::encoding::encode_varint(field.number << 3 | wire_type, output);
        match &field.value {
            Value::Varint(value) => prost::encoding::encode_varint(*value, output),
            Value::Fixed64(value) => output.extend(value.to_le_bytes()),
            Value::Fixed32(value) => output.extend(value.to_le_bytes()),
            Value::Bytes(bytes) => {
                prost::encoding::encode_varint(bytes.len() as u64, output);
                output.extend(bytes);
            }
            Value::Message(fields) => {
                let mut inner = Vec::new();
                write(fields, &mut inner);
                prost::encoding::encode_varint(inner.len() as u64, output);
                output.extend(inner);
            }
        }
    }
}

/// A message with one field changed somewhere inside; the same bytes when they are no message.
pub(crate) fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let Some(mut fields) = read(bytes, 0) else { return bytes.to_vec() };
    change(&mut fields, random);
    let mut output = Vec::with_capacity(bytes.len() + 16);
    write(&fields, &mut output);
    output
}

fn change(fields: &mut Vec<Field>, random: &mut Random) {
    let at = random.below(fields.len());
    // Mostly further in: that is where the records are.
    if let Some(Field { value: Value::Message(inner), .. }) = fields.get_mut(at)
        && !random.one_in(5)
    {
        return change(inner, random);
    }
    if fields.is_empty() || random.one_in(10) {
        let number = 1 + random.below(20) as u64;
        fields.insert(at, Field { number, value: fresh(random) });
        return;
    }
    match random.below(8) {
        0 => drop(fields.remove(at)),
        1 => {
            let copies = vec![fields[at].clone(); 1 << random.below(8)];
            fields.splice(at..at, copies);
        }
        2 => fields[at].number = 1 + random.below(20) as u64,
        3 => fields[at].value = fresh(random),
        4 => {
            let other = random.below(fields.len());
            fields.swap(at, other);
        }
        // Into itself, as a value in a value.
        5 => {
            let mut inner = fields[at].clone();
            for _ in 0..1 << random.below(8) {
                inner = Field { number: inner.number, value: Value::Message(vec![inner]) };
            }
            fields[at] = inner;
        }
        _ => scalar(&mut fields[at].value, random),
    }
}

fn fresh(random: &mut Random) -> Value {
    let number = random.pick(&NUMBERS).copied().unwrap_or(0);
    match random.below(5) {
        0 => Value::Varint(number),
        1 => Value::Fixed64(number),
        2 => Value::Fixed32(number as u32),
        3 => Value::Bytes((0..random.below(40)).map(|_| random.next() as u8).collect()),
        _ => Value::Bytes(vec![number as u8; 1 << random.below(13)]),
    }
}

fn scalar(value: &mut Value, random: &mut Random) {
    let number = random.pick(&NUMBERS).copied().unwrap_or(0);
    match value {
        Value::Varint(found) => *found = number,
        Value::Fixed64(found) => {
            let double = *random.pick(&[f64::NAN, f64::INFINITY, -0.0, 5e-324, -1.0, f64::MAX]).unwrap_or(&0.0);
            *found = if random.one_in(2) { number } else { double.to_bits() };
        }
        Value::Fixed32(found) => *found = number as u32,
        Value::Bytes(bytes) if bytes.is_empty() => bytes.push(0xff),
        Value::Bytes(bytes) => {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes.truncate(at),
                2 => *bytes = bytes.repeat(1 << random.below(8)),
                _ => bytes[at] ^= 0x80,
            }
        }
        Value::Message(fields) => fields.clear(),
    }
}
