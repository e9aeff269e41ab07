//! The ID index of a part: which blocks of rows may hold a token, in about three bytes per token and block.
//!
//! Fingerprints instead of tokens: the rows decide, the index only has to be wrong rarely (once in 2^10 look-ups of an
//! absent token) and always on the safe side. See `FORMAT.md` in the folder above.

mod bits;
mod reader;
mod writer;

pub(crate) use reader::IdIndex;
pub(crate) use writer::IdIndexWriter;

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"TRIVIDS\0";

/// The version that this build writes. Version 1 lacks the tokens of resources and of parents of spans.
const VERSION: u32 = 2;

/// Bytes of the header.
const HEADER_BYTES: usize = 48;

/// Bits of a fingerprint beyond those that tell the entries of a part apart: one in 2^10 look-ups of an absent token finds
/// a block in vain.
const SPARE_BITS: u32 = 10;

/// The widest fingerprint; what the writer gathers.
const FINGERPRINT_BITS_MAX: u32 = 40;

/// Entries that share a bucket on average; a look-up decodes one bucket.
const BUCKET_ENTRIES: u32 = 64;

/// A token in more than this share of the blocks is in every block, as far as the index is concerned.
const EVERYWHERE_SHARE: u32 = 4;

/// The fingerprint of a token.
pub(crate) fn fingerprint(token: &str) -> u64 {
    fingerprint_of(xxhash_rust::xxh3::xxh3_64(token.as_bytes()))
}

/// The fingerprint of the token with an XXH3-64.
pub(crate) fn fingerprint_of(hash: u64) -> u64 {
    hash >> (64 - FINGERPRINT_BITS_MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn open(path: &std::path::Path) -> Result<IdIndex, crate::error::Error> {
        IdIndex::open(path, crate::part::source::Source::plain(path)?)
    }

    fn build(entries: &[(String, u32)], blocks: u32) -> (tempfile::NamedTempFile, IdIndex) {
        let mut writer = IdIndexWriter::default();
        entries.iter().for_each(|(token, block)| writer.add(fingerprint(token), *block));
        let bytes = writer.finish(blocks, 256);
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&bytes).expect("written");
        let index = open(file.path()).expect("what was written opens");
        (file, index)
    }

    #[test]
    fn a_header_that_promises_more_than_the_file_has_takes_no_memory() {
        let (file, _) = build(&[("known".into(), 1)], 3);
        let bytes = std::fs::read(file.path()).expect("readable");
        // The tokens that are everywhere; the bits of the directory.
        for (place, value) in [(20, u32::MAX), (28, 31)] {
            let mut bytes = bytes.clone();
            bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
            if place == 28 {
                bytes[24..28].copy_from_slice(&40_u32.to_le_bytes());
            }
            let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]).to_le_bytes();
            bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&sum);
            std::fs::write(file.path(), &bytes).expect("written");
            let error = open(file.path()).expect_err("the file is shorter").to_string();
            assert!(error.contains("at least"), "{error}");
        }
    }

    #[test]
    fn an_index_that_lacks_tokens_rules_nothing_out_and_a_newer_one_is_refused() {
        let (file, index) = build(&[("known".into(), 1)], 3);
        assert_eq!(index.blocks(fingerprint("absent")).expect("readable"), Some(Vec::new()));
        let mut bytes = std::fs::read(file.path()).expect("readable");
        let mut with_version = |version: u8| {
            bytes[8] = version;
            let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]).to_le_bytes();
            bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&sum);
            std::fs::write(file.path(), &bytes).expect("written");
            open(file.path())
        };
        let old = with_version(1).expect("version 1 is read");
        assert_eq!(old.blocks(fingerprint("absent")).expect("readable"), None);
        let error = with_version(9).expect_err("a newer version").to_string();
        assert!(error.contains('9'), "{error}");
    }

    #[test]
    fn tokens_are_found_in_their_blocks_and_absent_ones_hardly_ever() {
        let entries: Vec<(String, u32)> = (0..50_000_u32).map(|n| (format!("token-{}", n / 3), n % 400)).collect();
        let (_file, index) = build(&entries, 400);
        for (token, block) in entries.iter().step_by(97) {
            let blocks = index.blocks(fingerprint(token)).expect("readable");
            assert!(blocks.is_some_and(|blocks| blocks.contains(block)), "{token}");
        }
        let found = (0..10_000)
            .filter(|n| index.blocks(fingerprint(&format!("absent-{n}"))).expect("readable") != Some(Vec::new()));
        assert!(found.count() <= 30, "one in 2^10 is expected");
    }

    #[test]
    fn frequent_tokens_are_everywhere_and_an_empty_index_finds_nothing() {
        let entries: Vec<(String, u32)> = (0..100).map(|block| ("often".to_owned(), block)).collect();
        let (_file, index) = build(&entries, 100);
        assert_eq!(index.blocks(fingerprint("often")).expect("readable"), None);
        let (_file, empty) = build(&[], 3);
        assert_eq!(empty.blocks(fingerprint("often")).expect("readable"), Some(Vec::new()));
    }

    #[test]
    fn damage_is_an_error_or_another_answer_but_no_panic() {
        let entries: Vec<(String, u32)> = (0..2_000).map(|n| (format!("t{n}"), n % 40)).collect();
        let (file, _index) = build(&entries, 40);
        let whole = std::fs::read(file.path()).expect("readable");
        for position in (0..whole.len()).step_by(13) {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x55;
            std::fs::write(file.path(), &bytes).expect("written");
            if let Ok(index) = open(file.path()) {
                (0..50).for_each(|n| drop(index.blocks(fingerprint(&format!("t{n}")))));
            }
            std::fs::write(file.path(), &bytes[..position]).expect("written");
            if let Ok(index) = open(file.path()) {
                (0..50).for_each(|n| drop(index.blocks(fingerprint(&format!("t{n}")))));
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_was_added_is_missed(entries in proptest::collection::vec(("[a-z0-9]{1,6}", 0_u32..50), 0..300)) {
            let (_file, index) = build(&entries, 50);
            for (token, block) in &entries {
                let blocks = index.blocks(fingerprint(token)).expect("readable");
                prop_assert!(blocks.is_none_or(|blocks| blocks.contains(block)), "{} {}", token, block);
            }
        }
    }
}
