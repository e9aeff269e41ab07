use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use trivium_model::WalPosition;

use super::format::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, decode_frame};
use crate::error::Error;
use crate::fs::FileSystem;

/// One request as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where in the sequence.
    pub position: WalPosition,
    /// What goes with it.
    pub header: FrameHeader,
    /// The request.
    pub payload: Bytes,
}

/// Something between two readings of a file's bytes.
#[derive(Debug)]
pub(super) enum Piece {
    /// An intact frame and the offset behind it.
    Frame(Frame, usize),
    /// Bytes that are no frame.
    Gap { offset: usize, bytes: usize },
}

/// The pieces of one file, from behind its header on. Total: any bytes give an end.
pub(super) fn pieces(bytes: &Bytes) -> impl Iterator<Item = Piece> + '_ {
    let mut offset = FILE_HEADER_BYTES.min(bytes.len());
    std::iter::from_fn(move || {
        if offset >= bytes.len() {
            return None;
        }
        if let Some((frame, end)) = frame_at(bytes, offset) {
            offset = end;
            return Some(Piece::Frame(frame, end));
        }
        let start = offset;
        offset = next_frame(bytes, start + 1).unwrap_or(bytes.len());
        Some(Piece::Gap { offset: start, bytes: offset - start })
    })
}

fn frame_at(bytes: &Bytes, offset: usize) -> Option<(Frame, usize)> {
    let (header, position, length) = decode_frame(&bytes[offset..])?;
    let start = offset + FRAME_HEADER_BYTES;
    Some((Frame { position, header, payload: bytes.slice(start..start + length) }, start + length))
}

/// The offset of the next intact frame. A payload may hold the magic by chance, so the sums decide.
fn next_frame(bytes: &Bytes, from: usize) -> Option<usize> {
    let candidates = memmem::find_iter(bytes.get(from..)?, &FRAME_MAGIC);
    candidates.map(|found| from + found).find(|&offset| decode_frame(&bytes[offset..]).is_some())
}

/// Frames in order, over several files.
#[derive(Debug)]
pub struct Replay {
    fs: Arc<dyn FileSystem>,
    paths: std::vec::IntoIter<PathBuf>,
    after: WalPosition,
    frames: std::vec::IntoIter<Frame>,
}

impl Replay {
    pub(super) fn new(fs: Arc<dyn FileSystem>, paths: Vec<PathBuf>, after: WalPosition) -> Self {
        Self { fs, paths: paths.into_iter(), after, frames: Vec::new().into_iter() }
    }

    /// The next frame; `None` at the end. Frames that are damaged are passed over: [`super::Wal::open`] reported them.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.frames.next() {
                return Ok(Some(frame));
            }
            let Some(path) = self.paths.next() else { return Ok(None) };
            let bytes = self.fs.read(&path)?;
            let after = self.after;
            let frames = pieces(&bytes).filter_map(|piece| match piece {
                Piece::Frame(frame, _) if frame.position > after => Some(frame),
                _ => None,
            });
            self.frames = frames.collect::<Vec<_>>().into_iter();
        }
    }
}
