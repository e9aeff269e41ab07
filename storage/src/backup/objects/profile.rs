//! Keys from the file that the tools of AWS share: `AWS_SHARED_CREDENTIALS_FILE` or `~/.aws/credentials`, `AWS_PROFILE`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::backup::refused;
use crate::error::Error;
use crate::fs::{FileSystem, RealFileSystem};

const BYTES_MAX: u64 = 1 << 20;

/// Variables that say where credentials come from, so that no file is looked at.
const OTHER_SOURCES: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];

/// Not `Debug`: it is secret.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// The keys of the profile. `None` when the environment names others, or nobody asked for the file and it is not there.
pub(super) fn read(environment: &BTreeMap<String, String>) -> Result<Option<Keys>, Error> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    if OTHER_SOURCES.iter().any(|name| get(name).is_some()) {
        return Ok(None);
    }
    let is_named = get("AWS_SHARED_CREDENTIALS_FILE").is_some() || get("AWS_PROFILE").is_some();
    let path = match (get("AWS_SHARED_CREDENTIALS_FILE"), get("HOME")) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(home)) => PathBuf::from(home).join(".aws/credentials"),
        (None, None) => return Ok(None),
    };
    let fs = RealFileSystem::new();
    if !is_named && !fs.exists(&path)? {
        return Ok(None);
    }
    let shown = path.display();
    if fs.len(&path)? > BYTES_MAX {
        return Err(refused(format!("{shown} is too long for a file of credentials")));
    }
    let text = fs.read(&path)?;
    let profile = get("AWS_PROFILE").map_or("default", String::as_str);
    match keys_of(&String::from_utf8_lossy(&text), profile) {
        Some(keys) => Ok(Some(keys)),
        None if is_named => Err(refused(format!(
            "{shown} has no aws_access_key_id and aws_secret_access_key under [{profile}]; check AWS_PROFILE"
        ))),
        None => Ok(None),
    }
}

fn keys_of(text: &str, profile: &str) -> Option<Keys> {
    let (mut keys, mut is_inside) = (Keys::default(), false);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_inside) {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => keys.id = value,
                "aws_secret_access_key" => keys.secret = value,
                "aws_session_token" => keys.token = Some(value),
                _ => (),
            }
        }
    }
    (!keys.id.is_empty() && !keys.secret.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = one\naws_secret_access_key=two\n\n[ other ]\n\
                        aws_access_key_id=three\naws_secret_access_key = fo=ur\naws_session_token = five\nregion = x\n[half]\n\
                        aws_access_key_id = six\n";

    #[test]
    fn a_profile_has_its_own_keys() {
        let keys = keys_of(FILE, "default").expect("there");
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token), ("one", "two", None));
        let keys = keys_of(FILE, "other").expect("there");
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()), ("three", "fo=ur", Some("five")));
        assert!(keys_of(FILE, "half").is_none() && keys_of(FILE, "none").is_none());
    }

    #[test]
    fn a_file_that_is_named_must_hold_them_and_the_environment_comes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, FILE).expect("written");
        let file = ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), path.display().to_string());
        let with = |name: &str, value: &str| BTreeMap::from([file.clone(), (name.to_owned(), value.to_owned())]);
        assert_eq!(read(&with("AWS_PROFILE", "other")).expect("read").expect("there").id, "three");
        let error = read(&with("AWS_PROFILE", "half")).err().expect("refused").to_string();
        assert!(error.contains("under [half]") && !error.contains("six"), "{error}");
        assert!(read(&with("AWS_ACCESS_KEY_ID", "x")).expect("not read").is_none());
        let home = BTreeMap::from([("HOME".to_owned(), folder.path().display().to_string())]);
        assert!(read(&home).expect("no file").is_none());
        let gone = BTreeMap::from([(file.0, "/nowhere/keys".to_owned())]);
        assert!(read(&gone).is_err());
    }
}
