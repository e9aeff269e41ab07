//! XXH64, by which `limit_ratio` picks series, as Prometheus does.

use crate::labels::Labels;

const PRIMES: [u64; 5] =
    [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5];

/// The hash of a label set: of lengths and texts of names and values, one after another.
pub(super) fn hash_labels(labels: &Labels) -> u64 {
    let mut bytes = Vec::new();
    for label in labels.iter() {
        for text in [&label.name, &label.value] {
            match u8::try_from(text.len()) {
                Ok(length) if length < 255 => bytes.push(length),
                _ => {
                    let [a, b, c, ..] = text.len().to_le_bytes();
                    bytes.extend([255, a, b, c]);
                }
            }
            bytes.extend(text.as_bytes());
        }
    }
    hash(&bytes)
}

fn round(accumulator: u64, lane: u64) -> u64 {
    accumulator.wrapping_add(lane.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

fn hash(input: &[u8]) -> u64 {
    let stripes = input.chunks_exact(32);
    let rest = stripes.remainder();
    let mut hash = if input.len() < 32 {
        PRIMES[4]
    } else {
        let mut lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0_u64.wrapping_sub(PRIMES[0])];
        for stripe in stripes {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(bytes));
            }
        }
        let rotated = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, bits)| lane.rotate_left(bits));
        let merged = rotated.fold(0_u64, u64::wrapping_add);
        lanes.iter().fold(merged, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]))
    };
    hash = hash.wrapping_add(input.len() as u64);
    let words = rest.chunks_exact(8);
    let mut tail = words.remainder();
    for bytes in words {
        hash = (hash ^ round(0, word(bytes))).rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    if tail.len() >= 4 {
        let (half, more) = tail.split_at(4);
        hash ^= word(half).wrapping_mul(PRIMES[0]);
        hash = hash.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        tail = more;
    }
    for byte in tail {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn hashes_are_those_of_xxhash() {
        assert_eq!(hash(b""), 0xef46_db37_51d8_e999);
        assert_eq!(hash(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(hash(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(hash(b"Nobody inspects the spammish repetition"), 0xfbce_a83c_8a37_8bf1);
    }
}
