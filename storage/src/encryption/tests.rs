mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use trivium_model::{PartId, SignalKind, TenantId, UnixNanos, WireFormat};
use zeroize::Zeroizing;

use super::data_key::RequestIdentity;
use super::*;

const CHUNK: usize = 64 * 1024;
const STORED_CHUNK: usize = CHUNK + TAG_BYTES;
const HEADER: usize = 68;

/// Writes a key file with master keys of these names.
fn key_file(folder: &Path, ids: &[&str]) -> PathBuf {
    let path = folder.join(format!("{}.keys", ids.join("-")));
    let lines: Vec<String> = ids.iter().map(|id| new_master_line(id).expect("a line").to_string()).collect();
    std::fs::write(&path, lines.join("\n")).expect("written");
    path
}

fn masters(text: &str) -> Result<MasterKeys, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    std::fs::write(&path, text).expect("written");
    MasterKeys::read(&path)
}

fn data_key(number: u8, tenant: u32) -> DataKey {
    DataKey::new(KeyId([number; 16]), TenantId(tenant), Zeroizing::new([number; KEY_BYTES]))
}

fn keyring(keys: impl IntoIterator<Item = DataKey>) -> Arc<Keyring> {
    Arc::new(Keyring::of(keys))
}

#[test]
fn a_key_file_is_lines_of_names_and_keys() {
    let line = |id: &str| new_master_line(id).expect("a line").to_string();
    let text = format!("# made in 2026\n\n {} \n{}\n", line("b-2026.11"), line("a"));
    assert_eq!(masters(&text).expect("sound").ids(), ["b-2026.11", "a"], "the first one is the current one");
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    for (text, problem) in [
        (String::new(), "no key"),
        (key.clone(), "line 1: a line is NAME:KEY"),
        ("a:".into(), "line 1: a line is NAME:KEY"),
        (format!("\na:{}", &key[..40]), "line 2: a line is NAME:KEY"),
        (format!("a:{key}{key}"), "line 1: a line is NAME:KEY"),
        (format!("a b:{key}"), "line 1: a master key's name"),
        (format!("a:{key}\na:{key}"), "line 2: there are two master keys named \"a\""),
        ("#".repeat(70_000), "longer than"),
    ] {
        let error = masters(&text).expect_err(problem).to_string();
        assert!(error.contains(problem) && !error.contains(&key[..8]), "{error}");
    }
    assert!(new_master_line("a:b").is_err() && new_master_line("").is_err());
    let error = MasterKeys::read(Path::new("/nowhere/keys")).expect_err("missing").to_string();
    assert!(error.contains("cannot open the key file /nowhere/keys"), "{error}");
}

#[test]
fn no_key_is_ever_shown() {
    let masters = masters(&format!("a:{}", base64::engine::general_purpose::STANDARD.encode([77; 32]))).expect("sound");
    let keyring = keyring([data_key(77, 3)]);
    for shown in [format!("{masters:?}"), format!("{keyring:?}"), format!("{:?}", data_key(77, 3))] {
        // As numbers, as text, as base64; the name of the key is 16 times 77.
        let without_id = shown.replace(&format!("{:?}", KeyId([77; 16])), "");
        assert!(
            !without_id.contains("77, 77") && !without_id.contains("MMMM") && !without_id.contains("TU1N"),
            "{shown}"
        );
    }
}

#[test]
fn a_wrapped_key_opens_with_its_master_key_for_its_tenant_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, other) = (key_file(folder.path(), &["a"]), key_file(folder.path(), &["b"]));
    let (first, other) = (MasterKeys::read(&first).expect("read"), MasterKeys::read(&other).expect("read"));
    let (id, tenant) = (KeyId([1; 16]), TenantId(5));
    let (master, wrapped) = first.wrap(id, tenant, &[9; KEY_BYTES]).expect("wrapped");
    assert_eq!(*first.unwrap(id, tenant, &master, &wrapped).expect("opened"), [9; KEY_BYTES]);
    assert_ne!(first.wrap(id, tenant, &[9; KEY_BYTES]).expect("wrapped").1, wrapped, "never twice the same");
    for (id, tenant) in [(KeyId([2; 16]), tenant), (id, TenantId(6))] {
        assert!(first.unwrap(id, tenant, &master, &wrapped).is_err());
    }
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(first.unwrap(id, tenant, &master, &changed).is_err(), "bit {bit}");
    }
    for cut in 0..wrapped.len() {
        assert!(first.unwrap(id, tenant, &master, &wrapped[..cut]).is_err(), "{cut} bytes");
    }
    let error = other.unwrap(id, tenant, &master, &wrapped).expect_err("it has another name").to_string();
    assert!(error.contains("the master key \"a\"") && error.contains("add its line"), "{error}");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let impostor = MasterKeys::read(&key_file(elsewhere.path(), &["a"])).expect("read");
    let error = impostor.unwrap(id, tenant, &master, &wrapped).expect_err("it is another key").to_string();
    assert!(error.contains("is not the one that wrapped it"), "{error}");
}

const IDENTITY: FileIdentity<'static> =
    FileIdentity { tenant: TenantId(3), signal: SignalKind::Logs, part: PartId([4; 16]), name: "columns.parquet" };

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 251) as u8).collect()
}

/// Opens and reads a whole file.
fn read(path: &Path, identity: FileIdentity<'_>, keys: &Arc<Keyring>) -> Result<Vec<u8>, Error> {
    let file = EncryptedFile::open(path, identity, keys)?;
    let mut bytes = vec![0; file.len() as usize];
    file.read_exact_at(&mut bytes, 0).map_err(Error::io("read", path))?;
    Ok(bytes)
}

#[test]
fn a_file_is_read_from_anywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let keys = keyring([data_key(1, 3)]);
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
        let plain = content(length);
        let stored = encrypt_file(&data_key(1, 3), IDENTITY, &plain).expect("encrypted");
        assert_eq!(plain_length(stored.len() as u64), Some(length as u64), "{length}");
        assert_ne!(stored, encrypt_file(&data_key(1, 3), IDENTITY, &plain).expect("encrypted"), "never twice the same");
        std::fs::write(&path, &stored).expect("written");
        assert_eq!(key_of_file(&path).expect("a header"), KeyId([1; 16]));
        assert_eq!(read(&path, IDENTITY, &keys).expect("read"), plain, "{length}");
        let file = EncryptedFile::open(&path, IDENTITY, &keys).expect("opened");
        for (from, bytes) in
            [(0, 1), (CHUNK - 1, 2), (CHUNK, CHUNK), (7, 2 * CHUNK), (length, 0), (length.max(1) - 1, 1)]
        {
            let mut found = vec![0; bytes];
            let read = file.read_exact_at(&mut found, from as u64);
            match plain.get(from..from + bytes) {
                Some(expected) => {
                    assert_eq!((read.is_ok(), &found[..]), (true, expected), "{from} {bytes} of {length}")
                }
                None => assert!(read.is_err(), "{from} {bytes} of {length}"),
            }
        }
        assert!(file.read_exact_at(&mut [0], u64::MAX).is_err());
    }
}

/// What must not be read as if it were the file.
fn check_refused(folder: &Path, what: &str, stored: &[u8], identity: FileIdentity<'_>) {
    let path = folder.join("changed");
    std::fs::write(&path, stored).expect("written");
    // No cache that may know the file.
    let keys = keyring([data_key(1, 3), data_key(2, 4)]);
    assert!(read(&path, identity, &keys).is_err(), "{what}");
}

#[test]
fn whatever_is_done_to_a_file_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |what: &str, stored: &[u8]| check_refused(folder.path(), what, stored, IDENTITY);
    let stored = encrypt_file(&data_key(1, 3), IDENTITY, &content(2 * CHUNK + 100)).expect("encrypted").to_vec();
    let (first, second) = (HEADER..HEADER + STORED_CHUNK, HEADER + STORED_CHUNK..HEADER + 2 * STORED_CHUNK);
    let places = [0, 8, 12, 16, 31, 32, 63, 64, 67, HEADER, first.end - 1, second.start, second.end, stored.len() - 1];
    for place in places {
        let mut changed = stored.clone();
        changed[place] ^= 0x10;
        refused(&format!("a flipped bit at {place}"), &changed);
        // A header with its sum put right.
        let sum = crc32c::crc32c(&changed[..64]);
        changed[64..HEADER].copy_from_slice(&sum.to_le_bytes());
        if place < 64 {
            refused(&format!("a changed header at {place}"), &changed);
        }
    }
    let mut swapped = stored.clone();
    swapped[first.clone()].copy_from_slice(&stored[second.clone()]);
    swapped[second.clone()].copy_from_slice(&stored[first.clone()]);
    refused("two chunks exchanged", &swapped);
    for end in [0, 7, HEADER, HEADER + 5, first.end, first.end + 3, second.end, stored.len() - 1] {
        refused(&format!("cut to {end} bytes"), &stored[..end]);
    }
    refused("bytes behind the end", &[&stored[..], &[0; 20]].concat());
    refused("the last chunk twice", &[&stored[..], &stored[second.end..]].concat());
    refused("without its first chunk", &[&stored[..HEADER], &stored[first.end..]].concat());
    let again = encrypt_file(&data_key(1, 3), IDENTITY, &content(2 * CHUNK + 100)).expect("encrypted");
    refused("a chunk of a file of the same place", &[&stored[..first.end], &again[second.start..]].concat());
    for identity in [
        FileIdentity { tenant: TenantId(4), ..IDENTITY },
        FileIdentity { signal: SignalKind::Traces, ..IDENTITY },
        FileIdentity { part: PartId([5; 16]), ..IDENTITY },
        FileIdentity { name: "ids.idx", ..IDENTITY },
    ] {
        check_refused(folder.path(), &format!("the place {identity:?}"), &stored, identity);
    }
    let other = encrypt_file(&data_key(2, 4), IDENTITY, b"of another tenant").expect("encrypted");
    check_refused(
        folder.path(),
        "the file of another tenant",
        &other,
        FileIdentity { tenant: TenantId(4), name: "x", ..IDENTITY },
    );
}

/// The cache knows a file wherever it lies; a file in a wrong place must not be opened for that.
#[test]
fn a_file_that_was_read_before_is_not_opened_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, keys) = (folder.path().join("file"), keyring([data_key(1, 3)]));
    std::fs::write(&path, encrypt_file(&data_key(1, 3), IDENTITY, b"small").expect("encrypted")).expect("written");
    let opened = EncryptedFile::open(&path, IDENTITY, &keys).expect("opened");
    opened.read_exact_at(&mut [0], 0).expect("read");
    let error =
        EncryptedFile::open(&path, FileIdentity { part: PartId([5; 16]), ..IDENTITY }, &keys).expect_err("moved");
    assert!(error.to_string().contains("the encrypted file of this part and tenant"), "{error}");
}

#[test]
fn a_later_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut stored = encrypt_file(&data_key(1, 3), IDENTITY, b"x").expect("encrypted").to_vec();
    stored[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let sum = crc32c::crc32c(&stored[..64]);
    stored[64..HEADER].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&path, stored).expect("written");
    let error = EncryptedFile::open(&path, IDENTITY, &keyring([data_key(1, 3)])).expect_err("newer");
    assert!(matches!(error, Error::UnknownFormat { found: 2, supported: 1, .. }), "{error}");
}

const REQUEST: RequestIdentity = RequestIdentity {
    tenant: TenantId(3),
    signal: SignalKind::Logs,
    format: WireFormat::Otlp,
    received_at: UnixNanos(5),
    oldest_admitted: UnixNanos::MIN,
};

#[test]
fn a_request_opens_for_its_frame_only() {
    let keys = keyring([data_key(1, 3), data_key(2, 4)]);
    let stored = data_key(1, 3).encrypt_request(REQUEST, b"payload").expect("encrypted");
    assert_eq!(stored.len(), b"payload".len() + REQUEST_OVERHEAD_BYTES);
    assert_eq!(keys.decrypt_request(REQUEST, &stored).expect("opened"), &b"payload"[..]);
    for identity in [
        RequestIdentity { tenant: TenantId(4), ..REQUEST },
        RequestIdentity { signal: SignalKind::Traces, ..REQUEST },
        RequestIdentity { format: WireFormat::RemoteWrite1, ..REQUEST },
        RequestIdentity { received_at: UnixNanos(6), ..REQUEST },
        RequestIdentity { oldest_admitted: UnixNanos(0), ..REQUEST },
    ] {
        assert!(keys.decrypt_request(identity, &stored).is_err(), "{identity:?}");
    }
    for bit in 0..stored.len() * 8 {
        let mut changed = stored.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(keys.decrypt_request(REQUEST, &changed).is_err(), "bit {bit}");
    }
    for cut in 0..stored.len() {
        assert!(keys.decrypt_request(REQUEST, &stored[..cut]).is_err(), "{cut} bytes");
    }
    let empty = data_key(1, 3).encrypt_request(REQUEST, b"").expect("encrypted");
    assert_eq!(keys.decrypt_request(REQUEST, &empty).expect("opened").len(), 0);
    keys.forget(TenantId(3));
    assert!(matches!(keys.decrypt_request(REQUEST, &stored), Err(Error::Shredded { tenant: TenantId(3) })));
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_no_file_and_no_request(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in any::<bool>()) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let sound = encrypt_file(&data_key(1, 3), IDENTITY, b"x").expect("encrypted");
        let stored = if start { [&sound[..HEADER], &bytes].concat() } else { bytes.clone() };
        std::fs::write(&path, stored).expect("written");
        let keys = keyring([data_key(1, 3)]);
        prop_assert!(EncryptedFile::open(&path, IDENTITY, &keys).is_err());
        prop_assert!(keys.decrypt_request(REQUEST, &bytes).is_err());
    }

    #[test]
    fn lengths_are_those_of_the_plain_file(length in 0_usize..300_000) {
        let chunks = length.div_ceil(CHUNK).max(1);
        prop_assert_eq!(plain_length((HEADER + length + chunks * TAG_BYTES) as u64), Some(length as u64));
    }
}
