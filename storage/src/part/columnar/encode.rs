//! The Parquet encodings that the part writer uses, written so that a constant or a run costs next to nothing.

/// Values of one block of `DELTA_BINARY_PACKED`, in four miniblocks.
const DELTA_BLOCK: usize = 128;
const MINIBLOCK: usize = 32;
/// Repetitions from which a run is worth leaving the bit-packed form.
const RUN_MIN: usize = 8;

pub(crate) fn varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// How many bits `value` needs.
pub(crate) const fn bits(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Packs values of `width` bits, least significant bit first. The number of values is a multiple of eight.
fn pack(output: &mut Vec<u8>, width: u32, values: impl Iterator<Item = u64>) {
    if width == 0 {
        return;
    }
    let (mut pending, mut filled) = (0_u128, 0);
    for value in values {
        pending |= u128::from(value) << filled;
        filled += width;
        if filled >= 64 {
            output.extend_from_slice(&(pending as u64).to_le_bytes());
            pending >>= 64;
            filled -= 64;
        }
    }
    while filled > 0 {
        output.push(pending as u8);
        pending >>= 8;
        filled = filled.saturating_sub(8);
    }
}

/// `DELTA_BINARY_PACKED` of 64-bit values. Differences wrap, so every pattern survives, signed or not.
pub(crate) fn delta_binary_packed(output: &mut Vec<u8>, values: &[u64]) {
    let mut previous = values.first().copied().unwrap_or(0);
    varint(output, DELTA_BLOCK as u64);
    varint(output, (DELTA_BLOCK / MINIBLOCK) as u64);
    varint(output, values.len() as u64);
    varint(output, zigzag(previous as i64));
    let mut deltas = [0_i64; DELTA_BLOCK];
    for block in values.get(1..).unwrap_or_default().chunks(DELTA_BLOCK) {
        let mut least = i64::MAX;
        for (delta, value) in deltas.iter_mut().zip(block) {
            *delta = value.wrapping_sub(previous) as i64;
            previous = *value;
            least = least.min(*delta);
        }
        varint(output, zigzag(least));
        let widths_at = output.len();
        output.extend_from_slice(&[0; DELTA_BLOCK / MINIBLOCK]);
        for (index, miniblock) in deltas[..block.len()].chunks(MINIBLOCK).enumerate() {
            let offsets = miniblock.iter().map(|delta| delta.wrapping_sub(least) as u64);
            let width = bits(offsets.clone().fold(0, |all, offset| all | offset));
            output[widths_at + index] = width as u8;
            pack(output, width, offsets.chain(std::iter::repeat_n(0, MINIBLOCK - miniblock.len())));
        }
    }
}

/// The RLE and bit-packing hybrid, without length or width in front.
pub(crate) fn rle_hybrid(output: &mut Vec<u8>, width: u32, values: &[u32]) {
    let mut at = 0;
    let mut packed_from = 0;
    while at < values.len() {
        let value = values[at];
        let run = values[at..].iter().take_while(|other| **other == value).count();
        if run < RUN_MIN {
            at += run;
            continue;
        }
        // A bit-packed stretch holds whole groups of eight: the run lends it what is missing.
        let lent = (packed_from as isize - at as isize).rem_euclid(8) as usize;
        if run - lent < RUN_MIN {
            at += run;
            continue;
        }
        packed_groups(output, width, &values[packed_from..at + lent]);
        repeated(output, width, value, run - lent);
        at += run;
        packed_from = at;
    }
    packed_groups(output, width, &values[packed_from..]);
}

/// One run of the hybrid.
pub(crate) fn repeated(output: &mut Vec<u8>, width: u32, value: u32, count: usize) {
    varint(output, (count as u64) << 1);
    output.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

fn packed_groups(output: &mut Vec<u8>, width: u32, values: &[u32]) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    varint(output, ((groups as u64) << 1) | 1);
    let padding = std::iter::repeat_n(0, groups * 8 - values.len());
    pack(output, width, values.iter().map(|value| u64::from(*value)).chain(padding));
}

/// Levels of one data page of version 1: the length in four bytes, then the hybrid.
pub(crate) fn levels(output: &mut Vec<u8>, width: u32, values: &[u32]) {
    let start = output.len();
    output.extend_from_slice(&[0; 4]);
    rle_hybrid(output, width, values);
    let length = (output.len() - start - 4) as u32;
    output[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// The same for `count` equal levels.
pub(crate) fn same_levels(output: &mut Vec<u8>, width: u32, level: u32, count: usize) {
    let start = output.len();
    output.extend_from_slice(&[0; 4]);
    repeated(output, width, level, count);
    let length = (output.len() - start - 4) as u32;
    output[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// `BYTE_STREAM_SPLIT` of eight-byte values: all first bytes, then all second bytes, and so on.
pub(crate) fn byte_stream_split(output: &mut Vec<u8>, values: &[u64]) {
    let start = output.len();
    output.resize(start + values.len() * 8, 0);
    for (index, stream) in output[start..].chunks_exact_mut(values.len().max(1)).enumerate() {
        let shift = index * 8;
        for (byte, value) in stream.iter_mut().zip(values) {
            *byte = (value >> shift) as u8;
        }
    }
}
