//! Decompression of request bodies, bounded by what comes out, never by what the sender declares.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::admission::Reservation;
use crate::error::Error;

/// Largest window that a zstd frame may ask for, as a power of two: 128 MiB, what `zstd --long` uses. libzstd allocates it
/// lazily, and no more of it is touched than output is made.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The largest factor by which a block of Snappy grows: a copy of 64 bytes takes three.
const SNAPPY_GROWTH_MAX: usize = 22;

/// Output is made and reserved in steps of this size.
const STEP_BYTES: usize = 1024 * 1024;

/// How a request body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
    /// RFC 1950 as HTTP defines it; bare RFC 1951, which some clients send, is understood too.
    Deflate,
    /// The block format of Snappy, without framing; what remote write uses.
    Snappy,
}

impl Coding {
    /// What is offered to OTLP clients, as in `Accept-Encoding`.
    pub const OFFERED: &str = "gzip, zstd, deflate";

    /// The bytes that a body of so many will probably become. A request is let in by them: one that finds no room when it is
    /// decompressed has cost all that work for a refusal.
    pub(crate) const fn plain_bytes(self, bytes: usize) -> usize {
        let times = match self {
            Self::Identity => 1,
            // Of remote write, whose texts are in it once.
            Self::Snappy => 4,
            Self::Gzip | Self::Zstd | Self::Deflate => 8,
        };
        bytes.saturating_mul(times)
    }

    /// The name in `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
        }
    }

    /// The coding that a header value names, of those that OTLP knows; `None` when it is unknown or names several.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let name = value.trim();
        let known = [
            ("", Self::Identity),
            ("none", Self::Identity),
            ("identity", Self::Identity),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("zstd", Self::Zstd),
            ("deflate", Self::Deflate),
        ];
        known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, coding)| *coding)
    }
}

/// The plain body, at most `bytes_max` bytes of it. The reservation covers input and output while both exist.
pub(crate) fn decompress(
    coding: Coding,
    body: Bytes,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Error> {
    let mut output = Output { plain: Vec::new(), input_bytes: body.len(), bytes_max, reservation };
    let failed = |source| Error::Decompress { coding, source };
    let mut rest: &[u8] = &[];
    match coding {
        Coding::Identity if body.len() > bytes_max => return Err(Error::TooLarge),
        Coding::Identity => return Ok(body),
        Coding::Snappy => output.fill_from_snappy(&body)?,
        Coding::Gzip => output.fill(&mut MultiGzDecoder::new(body.as_ref()), coding)?,
        Coding::Zstd if body.is_empty() => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body.as_ref()).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            output.fill(&mut decoder, coding)?;
        }
        Coding::Deflate if has_zlib_header(&body) => {
            let mut decoder = ZlibDecoder::new(body.as_ref());
            output.fill(&mut decoder, coding)?;
            rest = decoder.into_inner();
        }
        Coding::Deflate => {
            let mut decoder = DeflateDecoder::new(body.as_ref());
            output.fill(&mut decoder, coding)?;
            rest = decoder.into_inner();
        }
    }
    if !rest.is_empty() {
        let message = format!("{} bytes follow the end of the compressed data", rest.len());
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, message)));
    }
    // What is held beyond the plain body stays held: decoding needs more than that, and what is given back here would be gone.
    Ok(output.plain.into())
}

/// Whether the first two bytes are a zlib header (RFC 1950 section 2.2): deflate, and a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// The growing plain body.
struct Output<'a> {
    plain: Vec<u8>,
    input_bytes: usize,
    bytes_max: usize,
    reservation: &'a mut Reservation,
}

impl Output<'_> {
    /// Decompresses a whole block. It says its length itself, and is believed as far as its bytes can bring it.
    fn fill_from_snappy(&mut self, block: &[u8]) -> Result<(), Error> {
        let failed = |source: snap::Error| Error::Decompress { coding: Coding::Snappy, source: source.into() };
        let bytes = snap::raw::decompress_len(block).map_err(failed)?;
        if bytes > self.bytes_max {
            return Err(Error::TooLarge);
        }
        if bytes / SNAPPY_GROWTH_MAX > block.len() {
            let source = io::Error::new(io::ErrorKind::InvalidData, "it is too short for the length that it declares");
            return Err(Error::Decompress { coding: Coding::Snappy, source });
        }
        self.reservation.hold(self.input_bytes + bytes)?;
        self.plain = snap::raw::Decoder::new().decompress_vec(block).map_err(failed)?;
        Ok(())
    }

    /// Reads the decoder to its end, one reserved step after the other.
    fn fill(&mut self, decoder: &mut impl Read, coding: Coding) -> Result<(), Error> {
        loop {
            // One byte above the limit is asked for, so that reaching the limit and exceeding it can be told apart.
            let step = STEP_BYTES.min(self.bytes_max + 1 - self.plain.len());
            self.reservation.hold(self.input_bytes + self.plain.len() + step)?;
            let made = decoder
                .by_ref()
                .take(step as u64)
                .read_to_end(&mut self.plain)
                .map_err(|source| Error::Decompress { coding, source })?;
            if self.plain.len() > self.bytes_max {
                return Err(Error::TooLarge);
            }
            if made < step {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
