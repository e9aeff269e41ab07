//! One input from another: bytes flipped, cut, doubled; words exchanged; fields of messages changed with their framing kept
//! right, so that what lies behind the framing is reached.

mod random;
mod wire;

pub use random::Random;

/// How inputs are made from one another.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any bytes.
    Bytes,
    /// Text of words; these are worth trying anywhere.
    Text(&'static [&'static str]),
    /// A message whose framing is kept right.
    Protobuf,
}

/// Bytes of an input: enough for every limit of depth, small enough for many inputs a second.
pub const BYTES_MAX: usize = 64 * 1024;

/// What text may be nested in.
const BRACKETS: [(&str, &str); 8] =
    [("(", ")"), ("[", "]"), ("{", "}"), ("{{", "}}"), ("\"", "\""), ("abs(", ")"), ("-", ""), ("{{if .}}", "{{end}}")];

const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e-320",
    "NaN",
    "Inf",
    "0x7fffffffffffffff",
];

/// A new input from a corpus, of 64 KiB at most: one of them, changed in one to four places. The same source of chance and the same
/// corpus make the same inputs.
pub fn mutated(kind: Kind, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(corpus).cloned().unwrap_or_default();
    for _ in 0..=random.below(4) {
        match kind {
            Kind::Text(words) if !random.one_in(8) => text(&mut input, words, corpus, random),
            Kind::Protobuf if !random.one_in(6) => input = wire::mutated(&input, random),
            _ => bytes(&mut input, corpus, random),
        }
    }
    input.truncate(BYTES_MAX);
    input
}

fn range(length: usize, random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(length + 1);
    let longest = if random.one_in(4) { length - start } else { (length - start).min(16) };
    start..start + random.below(longest + 1)
}

fn bytes(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(10) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'\n']).unwrap_or(&0),
        2 if !input.is_empty() => input[at] = random.next() as u8,
        3 => drop(input.drain(range(input.len(), random))),
        4 => {
            let piece = input[range(input.len(), random)].repeat(1 + random.below(3));
            input.splice(at..at, piece);
        }
        5 => input.truncate(at),
        6 => {
            let other = random.pick(corpus).cloned().unwrap_or_default();
            let piece = other[range(other.len(), random)].to_vec();
            input.splice(at..at, piece);
        }
        // A number of four or eight bytes: lengths and offsets.
        7 if input.len() >= 8 => {
            let number = *random.pick(&[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX, 1 << 62]).unwrap_or(&0);
            let width = if random.one_in(2) { 4 } else { 8 };
            let at = random.below(input.len() - width + 1);
            input[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        8 => {
            let piece = input[range(input.len(), random)].repeat(1 << random.below(10));
            input.splice(at..at, piece.into_iter().take(BYTES_MAX));
        }
        _ => input.extend((0..random.below(16)).map(|_| random.next() as u8)),
    }
}

/// The words of a text: runs of letters and digits, and every other character for itself.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut in_word = false;
    for character in text.chars() {
        let is_word = character.is_alphanumeric() || character == '_';
        match pieces.last_mut() {
            Some(last) if is_word && in_word => last.push(character),
            _ => pieces.push(character.into()),
        }
        in_word = is_word;
    }
    pieces
}

fn text(input: &mut Vec<u8>, words: &[&str], corpus: &[Vec<u8>], random: &mut Random) {
    let mut list = pieces(&String::from_utf8_lossy(input));
    let at = random.below(list.len() + 1);
    let number = || NUMBERS.as_slice();
    match random.below(10) {
        0 if at < list.len() => drop(list.remove(at)),
        1 => list.insert(at, random.pick(words).copied().unwrap_or(" ").into()),
        2 if at < list.len() => list[at] = random.pick(words).copied().unwrap_or(" ").into(),
        3 => {
            let numbers: Vec<usize> =
                (0..list.len()).filter(|at| list[*at].starts_with(|c: char| c.is_ascii_digit())).collect();
            if let Some(at) = random.pick(&numbers) {
                list[*at] = random.pick(number()).copied().unwrap_or("0").into();
            }
        }
        4 => {
            let piece = list[range(list.len(), random)].to_vec();
            list.splice(at..at, piece);
        }
        5 => {
            let other = random.pick(corpus).cloned().unwrap_or_default();
            let other = pieces(&String::from_utf8_lossy(&other));
            let piece = other[range(other.len(), random)].to_vec();
            list.splice(at..at, piece);
        }
        6 => {
            let other = random.below(list.len());
            if at < list.len() {
                list.swap(at, other);
            }
        }
        // Much of the same: depth and length.
        7 => {
            let piece = list[range(list.len(), random)].concat();
            let count = (BYTES_MAX / 4 / (piece.len() + 1)).min(1 << random.below(13));
            list.insert(at, piece.repeat(count));
        }
        8 => {
            let (open, close) = *random.pick(&BRACKETS).unwrap_or(&("(", ")"));
            let count = 1 << random.below(12);
            let end = at + random.below(list.len() - at + 1);
            list.insert(end, close.repeat(count));
            list.insert(at, open.repeat(count));
        }
        _ => {
            let odd =
                ["\0", "\u{feff}", "\u{202e}", "\u{1f600}", "\u{fffd}", "\r\n", "\t", "\\", "\"", "'", "ß", "\u{0301}"];
            list.insert(at, random.pick(&odd).copied().unwrap_or(" ").into());
        }
    }
    *input = list.concat().into_bytes();
}
