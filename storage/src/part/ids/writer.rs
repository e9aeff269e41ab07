use bytes::Bytes;

use super::bits::BitWriter;
use super::{BUCKET_ENTRIES, EVERYWHERE_SHARE, FINGERPRINT_BITS_MAX, HEADER_BYTES, MAGIC, SPARE_BITS, VERSION};

/// Bits of a block number: parts have far fewer than 16 million blocks.
const BLOCK_BITS_MAX: u32 = 24;

/// Gathers tokens and blocks, then writes the index.
#[derive(Debug, Default)]
pub(crate) struct IdIndexWriter {
    /// Fingerprint and block in one number, so that sorting is sorting numbers.
    entries: Vec<u64>,
}

impl IdIndexWriter {
    /// A token stands in a block. May be said any number of times.
    pub(crate) fn add(&mut self, fingerprint: u64, block: u32) {
        debug_assert!(block < 1 << BLOCK_BITS_MAX && fingerprint < 1 << FINGERPRINT_BITS_MAX, "out of range");
        self.entries.push(fingerprint << BLOCK_BITS_MAX | u64::from(block));
    }

    /// The bytes of the index of a part of `blocks` blocks of `block_rows` rows.
    pub(crate) fn finish(mut self, blocks: u32, block_rows: u32) -> Bytes {
        sort(&mut self.entries);
        self.entries.dedup();
        let everywhere = self.take_frequent(blocks);
        let entries = u32::try_from(self.entries.len()).expect("a part has fewer than 2^32 tokens and blocks");
        let fingerprint_bits = (bits_for(u64::from(entries)) + SPARE_BITS).min(FINGERPRINT_BITS_MAX);
        let bucket_bits = bits_for(u64::from(entries / BUCKET_ENTRIES)).min(fingerprint_bits);
        let block_bits = bits_for(u64::from(blocks.max(1)) - 1);
        let (directory, data) = self.encode(fingerprint_bits, bucket_bits, block_bits);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + everywhere.len() * 8 + directory.len() * 4 + data.len());
        bytes.extend_from_slice(&MAGIC);
        let everywhere_count = u32::try_from(everywhere.len()).expect("fewer than the entries");
        let numbers =
            [VERSION, blocks, entries, everywhere_count, fingerprint_bits, bucket_bits, block_bits, block_rows];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        let mut body = Vec::new();
        everywhere.iter().for_each(|fingerprint| body.extend_from_slice(&fingerprint.to_le_bytes()));
        directory.iter().for_each(|offset| body.extend_from_slice(&offset.to_le_bytes()));
        body.extend_from_slice(&data);
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        debug_assert_eq!(bytes.len(), HEADER_BYTES, "the header's length is part of the format");
        bytes.extend_from_slice(&body);
        bytes.into()
    }

    /// Takes out the tokens that are in so many blocks that naming the blocks is of no use.
    fn take_frequent(&mut self, blocks: u32) -> Vec<u64> {
        let most = (blocks / EVERYWHERE_SHARE).max(8) as usize;
        let mut frequent = Vec::new();
        let mut rare = Vec::with_capacity(self.entries.len());
        for group in self.entries.chunk_by(|left, right| left >> BLOCK_BITS_MAX == right >> BLOCK_BITS_MAX) {
            if group.len() > most {
                frequent.push(group[0] >> BLOCK_BITS_MAX);
            } else {
                rare.extend_from_slice(group);
            }
        }
        self.entries = rare;
        frequent
    }

    /// The bit offset of each bucket, one more for the end, and the entries: gaps between fingerprints within a bucket as
    /// Rice codes, each followed by its block.
    fn encode(&self, fingerprint_bits: u32, bucket_bits: u32, block_bits: u32) -> (Vec<u32>, Vec<u8>) {
        let within_bits = fingerprint_bits - bucket_bits;
        let shift = BLOCK_BITS_MAX + FINGERPRINT_BITS_MAX - fingerprint_bits;
        let rice = rice_parameter(self.entries.len() as u64, fingerprint_bits);
        let mut directory = Vec::with_capacity((1 << bucket_bits) + 1);
        let mut writer = BitWriter::default();
        let mut previous = 0;
        for entry in &self.entries {
            let fingerprint = entry >> shift;
            let bucket = usize::try_from(fingerprint >> within_bits).expect("few buckets");
            while directory.len() <= bucket {
                directory.push(offset(&writer));
                previous = 0;
            }
            let within = fingerprint & ((1 << within_bits) - 1);
            writer.write_rice(within - previous, rice);
            previous = within;
            writer.write(entry & ((1 << block_bits) - 1), block_bits);
        }
        while directory.len() <= 1 << bucket_bits {
            directory.push(offset(&writer));
        }
        (directory, writer.finish())
    }
}

/// Fingerprints are uniform: one pass into buckets by their first bits leaves little to sort.
fn sort(entries: &mut Vec<u64>) {
    let bits = (entries.len() / 8).checked_ilog2().map_or(0, |bits| bits.min(16));
    if bits == 0 {
        entries.sort_unstable();
        return;
    }
    let bucket = |entry: u64| (entry >> (FINGERPRINT_BITS_MAX + BLOCK_BITS_MAX - bits)) as usize;
    let mut starts = vec![0_u32; (1 << bits) + 1];
    entries.iter().for_each(|entry| starts[bucket(*entry) + 1] += 1);
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut next = starts.clone();
    let mut sorted = vec![0; entries.len()];
    for entry in entries.iter() {
        let at = &mut next[bucket(*entry)];
        sorted[*at as usize] = *entry;
        *at += 1;
    }
    starts.windows(2).for_each(|range| sorted[range[0] as usize..range[1] as usize].sort_unstable());
    *entries = sorted;
}

fn offset(writer: &BitWriter) -> u32 {
    u32::try_from(writer.position()).expect("an index has fewer than 2^32 bits: parts are bounded in rows")
}

/// Bits that hold the numbers up to and including `largest`.
fn bits_for(largest: u64) -> u32 {
    u64::BITS - largest.leading_zeros()
}

/// The Rice parameter for evenly spread fingerprints: the logarithm of the average gap.
pub(super) fn rice_parameter(entries: u64, fingerprint_bits: u32) -> u32 {
    (fingerprint_bits.saturating_sub(bits_for(entries))).min(30)
}
