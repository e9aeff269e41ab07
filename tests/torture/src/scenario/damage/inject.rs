//! What is done to files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Bytes at either end of a file that are damaged more often than their share, and each in turn in the long run.
const EDGE: u64 = 64;

/// The end of a Parquet file is as long as its footer, up to so many bytes.
const FOOTER_MAX: u64 = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    FlipInside,
    FlipAtStart,
    FlipAtEnd,
    Cut,
    Empty,
    Missing,
    Swapped,
    Stale,
    /// The next of all bytes of the header and the footer.
    EachEdge,
}

/// What chance chooses from.
const BY_CHANCE: [Damage; 8] = [
    Damage::FlipInside,
    Damage::FlipAtStart,
    Damage::FlipAtEnd,
    Damage::Cut,
    Damage::Empty,
    Damage::Missing,
    Damage::Swapped,
    Damage::Stale,
];

/// A damage that was done.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// `columns.parquet of logs: Cut`.
    pub(super) kind: String,
    /// What exactly was done to which file.
    pub(super) what: String,
    /// The files that are not as they were, below the folder.
    pub(super) paths: Vec<PathBuf>,
}

/// Where damage comes from.
#[derive(Clone, Debug)]
pub(super) struct Injector {
    pub(super) random: Random,
    /// Of every hundred damages so many go through headers and footers byte by byte.
    pub(super) edge_percent: u64,
    /// Places of [`Damage::EachEdge`] that this injector leaves out between two of its own.
    pub(super) stride: u64,
    pub(super) first: u64,
    /// How far each kind of file is.
    edges: BTreeMap<String, Edges>,
}

/// The places of a kind of file that were damaged one after the other.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Edges {
    pub(super) done: u64,
    pub(super) of: u64,
    #[serde(skip)]
    next: u64,
}

impl Injector {
    pub(super) fn new(random: Random, edge_percent: u64, stride: u64, first: u64) -> Self {
        Self { random, edge_percent, stride, first, edges: BTreeMap::new() }
    }

    pub(super) fn edges(&self) -> &BTreeMap<String, Edges> {
        &self.edges
    }

    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let place = usize::try_from(self.random.below(all.len().max(1) as u64)).unwrap_or(0);
        all.get(place)
    }

    /// Damages a file of a folder. `others` are of the same kind, `earlier` is the folder at an earlier time. `None` when what
    /// chance chose cannot be done to that file.
    pub(super) fn inject(
        &mut self,
        folder: &Path,
        path: &Path,
        kind: &str,
        others: &[PathBuf],
        earlier: &Path,
    ) -> anyhow::Result<Option<Done>> {
        let damage = match self.random.percent(self.edge_percent) {
            true => Damage::EachEdge,
            false => *self.pick(&BY_CHANCE).unwrap_or(&Damage::FlipInside),
        };
        let length = fs::metadata(path)?.len();
        let relative = path.strip_prefix(folder)?.to_path_buf();
        let mut paths = vec![relative.clone()];
        let is_empty = length == 0;
        let detail = match damage {
            Damage::FlipInside | Damage::FlipAtStart | Damage::FlipAtEnd | Damage::Cut | Damage::EachEdge
                if is_empty =>
            {
                return Ok(None);
            }
            Damage::FlipInside => self.flip(path, 0, length)?,
            Damage::FlipAtStart => self.flip(path, 0, length.min(EDGE))?,
            Damage::FlipAtEnd => self.flip(path, length - length.min(EDGE), length)?,
            Damage::Cut => {
                let to = self.random.below(length);
                fs::File::options().write(true).open(path)?.set_len(to)?;
                format!(" to {to} of {length} bytes")
            }
            Damage::Empty => {
                fs::write(path, b"")?;
                String::new()
            }
            Damage::Missing => {
                fs::remove_file(path)?;
                String::new()
            }
            Damage::Swapped => {
                let Some(other) = self.pick(others) else { return Ok(None) };
                let (mine, theirs) = (fs::read(path)?, fs::read(other)?);
                if mine == theirs {
                    return Ok(None);
                }
                fs::write(path, theirs)?;
                fs::write(other, mine)?;
                paths.push(other.strip_prefix(folder)?.to_path_buf());
                format!(" with {}", other.strip_prefix(folder)?.display())
            }
            Damage::Stale => {
                let older = earlier.join(&relative);
                if !older.exists() || fs::read(&older)? == fs::read(path)? {
                    return Ok(None);
                }
                fs::copy(older, path)?;
                String::new()
            }
            Damage::EachEdge => match self.each_edge(path, kind)? {
                Some(detail) => detail,
                None => return Ok(None),
            },
        };
        let what = format!("{damage:?}{detail}: {}", relative.display());
        Ok(Some(Done { kind: format!("{kind}: {damage:?}"), what, paths }))
    }

    /// Flips a bit somewhere in a range.
    fn flip(&mut self, path: &Path, from: u64, end: u64) -> anyhow::Result<String> {
        let (at, bit) = (self.random.between(from, end), self.random.below(8));
        change(path, at, |byte| byte ^ (1 << bit))?;
        Ok(format!(" of bit {bit} at byte {at}"))
    }

    /// The next byte of the header and then of the footer: a flipped bit, then 0x00, then 0xff.
    fn each_edge(&mut self, path: &Path, kind: &str) -> anyhow::Result<Option<String>> {
        let bytes = fs::read(path)?;
        let length = bytes.len() as u64;
        let head = length.min(EDGE);
        let tail = footer(&bytes).clamp(EDGE, FOOTER_MAX).min(length - head);
        let (first, stride) = (self.first, self.stride);
        let edges = self.edges.entry(kind.to_owned()).or_insert(Edges { next: first, ..Edges::default() });
        edges.of = edges.of.max((head + tail) * 3);
        while edges.next < (head + tail) * 3 {
            let (place, how) = (edges.next / 3, edges.next % 3);
            edges.next += stride;
            edges.done += 1;
            let at = if place < head { place } else { length - tail + (place - head) };
            let bit = at % 8;
            let changed = match how {
                0 => change(path, at, |byte| byte ^ (1 << bit))?,
                1 => change(path, at, |_| 0x00)?,
                _ => change(path, at, |_| 0xff)?,
            };
            // A byte that is what it would become is done, too.
            if changed {
                let word = ["flip", "0x00", "0xff"][usize::try_from(how)?];
                return Ok(Some(format!(" {word} at byte {at} of {length}")));
            }
        }
        Ok(None)
    }
}

/// Bytes of the footer of a Parquet file with its length and magic; 0 of others.
fn footer(bytes: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        Some([a, b, c, d, b'P', b'A', b'R', b'1']) => u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 8,
        _ => 0,
    }
}

/// Changes a byte; whether it is another one now.
fn change(path: &Path, at: u64, to: impl Fn(u8) -> u8) -> anyhow::Result<bool> {
    let mut bytes = fs::read(path)?;
    let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) else { return Ok(false) };
    let changed = to(*byte);
    if changed == *byte {
        return Ok(false);
    }
    *byte = changed;
    fs::write(path, bytes)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_header_and_footer_comes_once_in_three_ways() {
        let folder = std::env::temp_dir().join(format!("trivium-torture-edges-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("columns.parquet");
        let mut bytes = vec![0x11_u8; 1_000];
        bytes.extend(100_u32.to_le_bytes());
        bytes.extend(b"PAR1");
        let mut changed = BTreeMap::new();
        for first in 0..2 {
            let mut injector = Injector::new(Random::new(1), 100, 2, first);
            loop {
                fs::write(&path, &bytes).expect("written");
                let Some(done) = injector.inject(&folder, &path, "k", &[], &folder).expect("done") else { break };
                assert_eq!(done.kind, "k: EachEdge");
                let now = fs::read(&path).expect("readable");
                let places: Vec<usize> = (0..bytes.len()).filter(|place| now[*place] != bytes[*place]).collect();
                assert_eq!(places.len(), 1, "{}", done.what);
                *changed.entry(places[0]).or_insert(0) += 1;
            }
            assert_eq!((injector.edges()["k"].of, injector.edges()["k"].done), ((64 + 108) * 3, (64 + 108) * 3 / 2));
        }
        fs::remove_dir_all(&folder).expect("removed");
        let places: Vec<usize> = (0..64).chain(900..1_008).collect();
        assert_eq!(changed.keys().copied().collect::<Vec<_>>(), places);
        // The zeros of the footer's length are zero already.
        assert_eq!(changed.values().sum::<i32>(), (64 + 108) * 3 - 3);
    }
}
