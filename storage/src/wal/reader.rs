use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use trivium_model::WalPosition;

use super::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC, FileHeader, FrameHeader, FrameStart, decode_frame_header,
    decode_name,
};
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

/// A range of a file's bytes.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) offset: usize,
    pub(super) end: usize,
    /// What was written here says that all positions before this one were durable; zero when it says nothing.
    pub(super) durable_before: WalPosition,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Frame(Frame),
    /// A position that was never acknowledged.
    Void(WalPosition),
    /// No intact frame, but perhaps intact headers of frames; the highest position in them, zero when there are none.
    Gap(WalPosition),
}

/// By which the frames of a file are recognised; `None` when neither its header nor its name says it.
pub(super) fn salt_of(path: &Path, bytes: &[u8]) -> Option<u64> {
    let header = FileHeader::decode(bytes).ok().map(|header| header.salt);
    header.or_else(|| decode_name(path).map(|(_, salt)| salt))
}

/// The pieces of one file, from behind its header on. Total: any bytes give an end. Two gaps never follow each other.
pub(super) fn pieces(bytes: &Bytes, salt: Option<u64>) -> impl Iterator<Item = Piece> + '_ {
    let mut offset = FILE_HEADER_BYTES.min(bytes.len());
    std::iter::from_fn(move || {
        if offset >= bytes.len() {
            return None;
        }
        let start = |at: usize| decode_frame_header(&bytes[at..], salt?);
        let piece = match start(offset).filter(|frame| frame.is_complete(&bytes[offset..])) {
            Some(frame) => whole(bytes, offset, &frame),
            None => gap(bytes, offset, start),
        };
        offset = piece.end;
        Some(piece)
    })
}

fn whole(bytes: &Bytes, offset: usize, start: &FrameStart) -> Piece {
    let payload = offset + FRAME_HEADER_BYTES;
    let end = payload + start.length;
    let position = start.place.position;
    let content = match start.header {
        Some(header) => Content::Frame(Frame { position, header, payload: bytes.slice(payload..end) }),
        None => Content::Void(position),
    };
    Piece { offset, end, durable_before: start.place.group_first(), content }
}

/// From an offset without an intact frame to the next one that has one.
fn gap(bytes: &Bytes, offset: usize, start: impl Fn(usize) -> Option<FrameStart>) -> Piece {
    let (mut durable_before, mut highest) = (WalPosition::ZERO, WalPosition::ZERO);
    let mut end = offset;
    while end < bytes.len() {
        let Some(frame) = start(end) else {
            end = next_header(bytes, end + 1, &start);
            continue;
        };
        if frame.is_complete(&bytes[end..]) {
            break;
        }
        durable_before = durable_before.max(frame.place.group_first());
        highest = highest.max(frame.place.position);
        // Its length is known to be right, and what a client put into the payload is passed over with it.
        end = bytes.len().min(end + FRAME_HEADER_BYTES + frame.length);
    }
    Piece { offset, end, durable_before, content: Content::Gap(highest) }
}

/// The offset of the next intact frame header, the end when there is none. The magic may stand anywhere by chance; sum and
/// salt decide.
fn next_header(bytes: &Bytes, from: usize, start: impl Fn(usize) -> Option<FrameStart>) -> usize {
    let mut candidates = memmem::find_iter(bytes.get(from..).unwrap_or_default(), &FRAME_MAGIC);
    candidates.find(|found| start(from + found).is_some()).map_or(bytes.len(), |found| from + found)
}

/// Frames in order, over several files.
#[derive(Debug)]
pub struct Replay {
    fs: Arc<dyn FileSystem>,
    paths: std::vec::IntoIter<PathBuf>,
    /// The position of the last frame that was handed out, or after which to begin.
    last: WalPosition,
    frames: std::vec::IntoIter<Frame>,
}

impl Replay {
    pub(super) fn new(fs: Arc<dyn FileSystem>, paths: Vec<PathBuf>, after: WalPosition) -> Self {
        Self { fs, paths: paths.into_iter(), last: after, frames: Vec::new().into_iter() }
    }

    /// The next frame; `None` at the end. Positions only grow: a file that was copied over another one gives its frames
    /// once. Frames that are damaged are passed over: [`super::Wal::open`] reported them.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.frames.find(|frame| frame.position > self.last) {
                self.last = frame.position;
                return Ok(Some(frame));
            }
            let Some(path) = self.paths.next() else { return Ok(None) };
            let bytes = self.fs.read(&path)?;
            let frames = pieces(&bytes, salt_of(&path, &bytes)).filter_map(|piece| match piece.content {
                Content::Frame(frame) => Some(frame),
                Content::Void(_) | Content::Gap(_) => None,
            });
            self.frames = frames.collect::<Vec<_>>().into_iter();
        }
    }
}
