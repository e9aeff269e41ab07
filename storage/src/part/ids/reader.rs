use std::path::{Path, PathBuf};

use super::bits::BitReader;
use super::writer::rice_parameter;
use super::{FINGERPRINT_BITS_MAX, HEADER_BYTES, MAGIC, VERSION};
use crate::error::Error;
use crate::part::source::Source;

/// Bytes of a bucket at most: hostile or damaged offsets must not make us read a whole disk.
const BUCKET_BYTES_MAX: usize = 1 << 20;

/// An open ID index. Keeps the header and the frequent tokens; a look-up reads eight bytes of directory and one bucket.
#[derive(Debug)]
pub(crate) struct IdIndex {
    file: Source,
    path: PathBuf,
    blocks: u32,
    block_rows: u32,
    /// Version 1 does not hold all tokens that are looked for today: any row may match.
    is_partial: bool,
    fingerprint_bits: u32,
    bucket_bits: u32,
    block_bits: u32,
    rice: u32,
    everywhere: Vec<u64>,
    directory_start: u64,
    data_start: u64,
}

impl IdIndex {
    /// Opens the file and checks its header.
    pub(crate) fn open(path: &Path, file: Source) -> Result<Self, Error> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(Error::io("read the header of", path))?;
        let number = |index: usize| {
            let start = 8 + index * 4;
            u32::from_le_bytes([header[start], header[start + 1], header[start + 2], header[start + 3]])
        };
        if header[..8] != MAGIC || number(9) != crc32c::crc32c(&header[..HEADER_BYTES - 4]) {
            let (expected, found) = ("an intact header".into(), "another sum".into());
            return Err(Error::Corrupted { path: path.into(), offset: 0, expected, found });
        }
        if !(1..=VERSION).contains(&number(0)) {
            return Err(Error::UnknownFormat { path: path.into(), found: number(0), supported: VERSION });
        }
        let (blocks, entries, everywhere) = (number(1), number(2), number(3));
        let (fingerprint_bits, bucket_bits, block_bits) = (number(4), number(5), number(6));
        if fingerprint_bits > FINGERPRINT_BITS_MAX
            || bucket_bits > fingerprint_bits
            || bucket_bits > 31
            || block_bits > 24
            || number(7) == 0
        {
            let (expected, found) =
                ("plausible widths".into(), format!("{fingerprint_bits}, {bucket_bits}, {block_bits} bits"));
            return Err(Error::Corrupted { path: path.into(), offset: 24, expected, found });
        }
        let directory_start = HEADER_BYTES as u64 + u64::from(everywhere) * 8;
        let data_start = directory_start + ((1_u64 << bucket_bits) + 1) * 4;
        let length = file.length();
        // Before memory is taken for what the header promises.
        if data_start > length {
            let (expected, found) = (format!("at least {data_start} bytes"), format!("{length} bytes"));
            return Err(Error::Corrupted { path: path.into(), offset: 16, expected, found });
        }
        let mut bytes = vec![0; everywhere as usize * 8];
        file.read_exact_at(&mut bytes, HEADER_BYTES as u64).map_err(Error::io("read", path))?;
        let (chunks, _) = bytes.as_chunks::<8>();
        Ok(Self {
            file,
            path: path.to_path_buf(),
            blocks,
            block_rows: number(7),
            is_partial: number(0) < VERSION,
            fingerprint_bits,
            bucket_bits,
            block_bits,
            rice: rice_parameter(u64::from(entries), fingerprint_bits),
            everywhere: chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect(),
            directory_start,
            data_start,
        })
    }

    /// The blocks that may hold a token, ascending; `None` for a token that may be anywhere.
    pub(crate) fn blocks(&self, fingerprint: u64) -> Result<Option<Vec<u32>>, Error> {
        if self.is_partial || self.everywhere.binary_search(&fingerprint).is_ok() {
            return Ok(None);
        }
        let fingerprint = fingerprint >> (FINGERPRINT_BITS_MAX - self.fingerprint_bits);
        let within_bits = self.fingerprint_bits - self.bucket_bits;
        let (start, end) = self.bucket(fingerprint >> within_bits)?;
        let wanted = fingerprint & ((1 << within_bits) - 1);
        let (first, last) = (start / 8, end.div_ceil(8));
        let length = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX);
        if start > end || length > BUCKET_BYTES_MAX {
            return Err(self.corrupted(first, "a bucket within the file".into(), format!("bits {start} to {end}")));
        }
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, self.data_start + first);
        read.map_err(Error::io("read", &self.path))?;
        let mut bits = BitReader::new(&bytes, start - first * 8, end - first * 8);
        let (mut current, mut blocks) = (0_u64, Vec::new());
        while !bits.is_empty() {
            let entry = bits.read_rice(self.rice).zip(bits.read(self.block_bits));
            let Some((gap, block)) = entry else {
                return Err(self.corrupted(first, "whole entries".into(), "a cut entry".into()));
            };
            current = current.saturating_add(gap);
            if current > wanted {
                break;
            }
            if current == wanted {
                let block = u32::try_from(block).unwrap_or(u32::MAX);
                if block >= self.blocks {
                    return Err(self.corrupted(first, format!("blocks below {}", self.blocks), format!("{block}")));
                }
                blocks.push(block);
            }
        }
        // Two tokens may share a fingerprint; then their blocks follow one another.
        blocks.sort_unstable();
        blocks.dedup();
        Ok(Some(blocks))
    }

    /// Rows of one block.
    pub(crate) fn block_rows(&self) -> u32 {
        self.block_rows
    }

    /// The bits at which a bucket begins and ends.
    fn bucket(&self, bucket: u64) -> Result<(u64, u64), Error> {
        let mut bytes = [0; 8];
        let read = self.file.read_exact_at(&mut bytes, self.directory_start + bucket * 4);
        read.map_err(Error::io("read the directory of", &self.path))?;
        let [a, b, c, d, e, f, g, h] = bytes;
        Ok((u64::from(u32::from_le_bytes([a, b, c, d])), u64::from(u32::from_le_bytes([e, f, g, h]))))
    }

    fn corrupted(&self, offset: u64, expected: String, found: String) -> Error {
        Error::Corrupted { path: self.path.clone(), offset: self.data_start + offset, expected, found }
    }
}
