//! What is encrypted: files of parts, requests in the WAL, wrapped keys. Anything but the bytes that were written is refused; and
//! files of master keys, which people edit.

use std::path::PathBuf;
use std::rc::Rc;

use tempfile::TempDir;
use trivium_storage::encryption::MasterKeys;
use trivium_storage::encryption::fuzzing::Vault;

use super::part::folder;
use super::{Kind, Target, target};

/// Master keys that are no secret.
const KEY_FILE: &str =
    "# for tests\na:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nb:CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\n";

const KEY_FILE_WORDS: &[&str] =
    &[":", "=", "#", "\n", "\r\n", " ", "a", "b-2026.11", "+", "/", "AAAA", "==", "\0", "é"];

/// Bytes of a chunk as it is stored, and of what stands before the first.
const STORED_CHUNK_BYTES: usize = 64 * 1024 + 16;
const HEADER_BYTES: usize = 68;

/// Bytes of an edit: what, where, how much.
const EDIT_BYTES: usize = 6;
const EDITS_MAX: usize = 8;

/// The keys, and the folder in which their file is and in which encrypted files are tried.
struct Safe {
    vault: Vault,
    folder: TempDir,
    /// A file of three chunks in plain and as it is stored, and another one of the same length.
    plain: Vec<u8>,
    file: Vec<u8>,
    other: Vec<u8>,
    requests: Vec<Vec<u8>>,
}

pub(super) fn targets() -> Vec<Target> {
    let Some(safe) = Safe::make().map(Rc::new) else { return Vec::new() };
    let (files, requests, keys) = (Rc::clone(&safe), Rc::clone(&safe), Rc::clone(&safe));
    let wrapped = vec![safe.vault.wrapped().to_vec()];
    vec![
        target("encrypted_file", Kind::Bytes, 2_000, edit_seeds(), move |input| files.file(input)),
        target("encrypted_request", Kind::Bytes, 3_000, safe.requests.clone(), move |input| requests.request(input)),
        target("wrapped_key", Kind::Bytes, 3_000, wrapped, move |input| keys.wrapped_key(input)),
        target("key_file", Kind::Text(KEY_FILE_WORDS), 2_000, vec![KEY_FILE.into()], move |input| safe.key_file(input)),
    ]
}

/// Edits of a file: none, bits that flip, a chunk in the place of another, an end that is missing, a chunk of another file.
fn edit_seeds() -> Vec<Vec<u8>> {
    let edits: [&[u8]; 6] = [
        &[],
        &[0, 70, 0, 0, 1, 0],
        &[1, 0, 0, 1, 0, 0],
        &[2, 16, 0, 0, 0, 0],
        &[3, 1, 0, 0, 0, 0],
        &[4, 0, 0, 2, 9, 9],
    ];
    edits.map(<[u8]>::to_vec).into()
}

impl Safe {
    fn make() -> Option<Self> {
        let folder = folder()?;
        let key_file = folder.path().join("keys");
        std::fs::write(&key_file, KEY_FILE).ok()?;
        let vault = Vault::open(&key_file).ok()?;
        let plain: Vec<u8> = (0..150_000_u32).map(|number| (number / 7) as u8).collect();
        let (file, other) = (vault.encrypt_file(&plain).ok()?.to_vec(), vault.encrypt_file(&plain).ok()?.to_vec());
        let requests = [&b""[..], b"x", &plain[..300]];
        let requests = requests.map(|plain| vault.encrypt_request(plain).map(|bytes| bytes.to_vec()));
        let requests = requests.into_iter().collect::<Result<Vec<_>, _>>().ok()?;
        Some(Self { vault, folder, plain, file, other, requests })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An input is a list of edits of the file: it is too long to be mutated as a whole.
    fn file(&self, input: &[u8]) -> Result<bool, String> {
        let mut bytes = self.file.clone();
        for edit in input.chunks(EDIT_BYTES).take(EDITS_MAX) {
            self.edit(&mut bytes, edit);
        }
        let path = self.path("columns.parquet.enc");
        std::fs::write(&path, &bytes).map_err(|error| error.to_string())?;
        let is_same = bytes == self.file;
        match self.vault.decrypt_file(&path) {
            Ok(plain) if plain != self.plain => Err("it yields what nobody encrypted".into()),
            Ok(_) if !is_same => Err("it was changed, and is taken for what it was".into()),
            Err(error) if is_same => Err(format!("it does not open: {error}")),
            Ok(_) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    fn edit(&self, bytes: &mut Vec<u8>, edit: &[u8]) {
        let byte = |at: usize| edit.get(at).copied().map_or(0, usize::from);
        let (at, amount) = (byte(1) | byte(2) << 8 | byte(3) << 16, byte(4) | byte(5) << 8);
        match byte(0) % 6 {
            0 => {
                if let Some(found) = bytes.get_mut(at) {
                    *found ^= amount as u8;
                }
            }
            1 => put_chunk(bytes, byte(4) % 3, chunk(&self.file, byte(3) % 3)),
            2 => bytes.truncate(bytes.len().saturating_sub(at)),
            3 => bytes.extend(vec![amount as u8; at % (2 * STORED_CHUNK_BYTES)]),
            4 => put_chunk(bytes, byte(3) % 3, chunk(&self.other, byte(4) % 3)),
            _ => {
                let end = at.saturating_add(amount).min(bytes.len());
                drop(bytes.drain(at.min(end)..end));
            }
        }
    }

    /// A request is authentic or none.
    fn request(&self, input: &[u8]) -> Result<bool, String> {
        let is_written = self.requests.iter().any(|request| request == input);
        match self.vault.decrypt_request(input) {
            Ok(_) if !is_written => Err("a request that nobody encrypted is taken".into()),
            Err(error) if is_written => Err(format!("a request does not open: {error}")),
            opened => Ok(opened.is_ok()),
        }
    }

    /// A wrapped key opens as itself or not at all.
    fn wrapped_key(&self, input: &[u8]) -> Result<bool, String> {
        let is_written = input == self.vault.wrapped();
        match self.vault.unwraps(input) {
            Ok(is_same) if !is_written || !is_same => Err("a key that nobody wrapped is taken".into()),
            Err(error) if is_written => Err(format!("the key does not open: {error}")),
            opened => Ok(opened.is_ok()),
        }
    }

    /// A file of master keys has a current one, and shows none of them when it is refused.
    fn key_file(&self, input: &[u8]) -> Result<bool, String> {
        let path = self.path("mutated-keys");
        std::fs::write(&path, input).map_err(|error| error.to_string())?;
        match MasterKeys::read(&path) {
            Ok(keys) if keys.ids().iter().all(|id| id.is_empty()) => Err("a file without a key is taken".into()),
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("BwcHBwcH") => Err(format!("a key is shown: {error}")),
            Err(_) => Ok(false),
        }
    }
}

/// Where a chunk of a stored file is.
fn range(bytes: &[u8], number: usize) -> std::ops::Range<usize> {
    let start = (HEADER_BYTES + number * STORED_CHUNK_BYTES).min(bytes.len());
    start..(start + STORED_CHUNK_BYTES).min(bytes.len())
}

fn chunk(bytes: &[u8], number: usize) -> &[u8] {
    bytes.get(range(bytes, number)).unwrap_or_default()
}

fn put_chunk(bytes: &mut Vec<u8>, number: usize, chunk: &[u8]) {
    let range = range(bytes, number);
    bytes.splice(range, chunk.iter().copied());
}
