use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use prometheus_client::metrics::gauge::Gauge;

use super::*;
use crate::admission::Admission;
use crate::config::IngestConfig;

const LIMIT: usize = 3 * STEP_BYTES;

fn admission(in_flight_bytes_max: usize) -> Arc<Admission> {
    Arc::new(Admission::new(&IngestConfig::new(None, in_flight_bytes_max), Gauge::default()))
}

fn check(coding: Coding, body: &[u8]) -> Result<Bytes, Error> {
    let mut reservation = admission(usize::MAX).begin(body.len()).expect("room");
    decompress(coding, Bytes::copy_from_slice(body), LIMIT, &mut reservation)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).expect("in memory")
}

type Encoder = fn(&[u8]) -> Vec<u8>;
const ENCODERS: [(Coding, Encoder); 4] =
    [(Coding::Gzip, gzip), (Coding::Zstd, zstd), (Coding::Deflate, zlib), (Coding::Deflate, raw_deflate)];

#[test]
fn every_coding_gives_back_what_went_in() {
    let plain: Vec<u8> = (0..2 * STEP_BYTES + 17).map(|i| ((i * i) >> 7) as u8).collect();
    for (coding, encode) in ENCODERS {
        for size in [0, 1, 1000, STEP_BYTES, plain.len()] {
            let body = encode(&plain[..size]);
            let output = check(coding, &body).unwrap_or_else(|error| panic!("{coding:?} of {size} bytes: {error}"));
            assert!(output == plain[..size], "{coding:?} of {size} bytes came back different");
        }
    }
}

#[test]
fn the_limit_is_exact_and_holds_for_bombs() {
    for (coding, encode) in ENCODERS {
        assert!(check(coding, &encode(&vec![7; LIMIT])).is_ok(), "{coding:?}: the limit itself was refused");
        let over = check(coding, &encode(&vec![7; LIMIT + 1]));
        assert!(matches!(over, Err(Error::TooLarge)), "{coding:?}: {over:?}");
    }
    let identity = check(Coding::Identity, &vec![7; LIMIT + 1]);
    assert!(matches!(identity, Err(Error::TooLarge)), "{identity:?}");
}

#[test]
fn truncated_bodies_and_trailing_garbage_are_refused() {
    let plain: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
    for (coding, encode) in ENCODERS {
        let body = encode(&plain);
        for cut in [0, 1, 5, body.len() / 2, body.len() - 1] {
            let result = check(coding, &body[..cut]);
            assert!(matches!(result, Err(Error::Decompress { .. })), "{coding:?} cut at {cut}: {result:?}");
        }
        for garbage in ["x", "a longer piece of garbage behind the end"] {
            let result = check(coding, &[&body, garbage.as_bytes()].concat());
            assert!(matches!(result, Err(Error::Decompress { .. })), "{coding:?} + {garbage:?}: {result:?}");
        }
    }
}

#[test]
fn concatenated_members_and_frames_are_one_body() {
    for (coding, encode) in [(Coding::Gzip, gzip as Encoder), (Coding::Zstd, zstd)] {
        let body = [encode(b"one "), encode(b"two")].concat();
        assert_eq!(check(coding, &body).expect("two members"), "one two");
    }
}

/// Scenario: a zstd frame declares 2^40 bytes of content, another a window of 2 GiB. Guarantee: neither is believed.
#[test]
fn declared_zstd_sizes_are_not_believed() {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    // Single segment, 8-byte content size: the window is the content, 2^40.
    let content = [&MAGIC[..], &[0b1110_0000], &(1_u64 << 40).to_le_bytes(), &[1, 0, 0]].concat();
    // No content size, window descriptor: exponent 21, 2^31 bytes.
    let window = [&MAGIC[..], &[0], &[21 << 3], &[1, 0, 0]].concat();
    for body in [content, window] {
        let result = check(Coding::Zstd, &body);
        assert!(matches!(result, Err(Error::Decompress { .. } | Error::TooLarge)), "{result:?}");
    }
}

#[test]
fn output_is_paid_for_from_the_budget_before_it_is_made() {
    let body = gzip(&vec![7; 2 * STEP_BYTES]);
    let admission = admission(STEP_BYTES);
    let other = admission.begin(1).expect("room");
    let mut reservation = admission.begin(body.len()).expect("room");
    let result = decompress(Coding::Gzip, Bytes::from(body.clone()), LIMIT, &mut reservation);
    assert!(matches!(result, Err(Error::Overloaded { .. })), "{result:?}");
    drop(other);
    let plain = decompress(Coding::Gzip, Bytes::from(body), LIMIT, &mut reservation).expect("alone");
    assert!(admission.in_flight_bytes() >= plain.len(), "decoding needs what was given back");
}

#[test]
fn only_single_known_codings_are_recognised() {
    assert_eq!(Coding::parse(" GZip "), Some(Coding::Gzip));
    assert_eq!(Coding::parse("none"), Some(Coding::Identity));
    for unknown in ["br", "snappy", "gzip, gzip", "gzip,identity", "gzip;q=1"] {
        assert_eq!(Coding::parse(unknown), None, "{unknown:?}");
    }
}
