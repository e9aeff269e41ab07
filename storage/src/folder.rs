//! The data folder as a whole: its format version, and what keeps it from being opened.

use std::path::Path;

use crate::error::Error;
use crate::fs::FileSystem;

/// The version of the layout that this build writes: which files and folders there are, and that no file in them is of a
/// newer version than this build reads. Raised together with the version of any file that an older build refuses, so that
/// the older build refuses the folder before it touches anything.
pub const FORMAT_VERSION: u32 = 2;

/// The file with the version.
const FORMAT: &str = "format";

/// The word before the version.
const FORMAT_WORD: &str = "trivium-data";

/// The file that stands in a folder from the first to the last byte of a restore.
pub(crate) const RESTORING: &str = "restoring";

/// Refuses a folder that a newer Trivium wrote, or into which a restore did not finish. Changes nothing. A folder without a
/// version is of the first one.
pub fn check_folder(fs: &dyn FileSystem, folder: &Path) -> Result<(), Error> {
    if fs.exists(&folder.join(RESTORING))? {
        return Err(Error::NotRestored { folder: folder.into() });
    }
    match version(fs, folder)? {
        Some(found) if found > FORMAT_VERSION => {
            Err(Error::UnknownFormat { path: folder.join(FORMAT), found, supported: FORMAT_VERSION })
        }
        _ => Ok(()),
    }
}

/// The version in a folder; `None` when it has none.
fn version(fs: &dyn FileSystem, folder: &Path) -> Result<Option<u32>, Error> {
    let path = folder.join(FORMAT);
    if !fs.exists(&path)? {
        return Ok(None);
    }
    let text = fs.read(&path)?;
    let text = String::from_utf8_lossy(&text);
    let version = text.trim().strip_prefix(FORMAT_WORD).and_then(|version| version.trim().parse().ok());
    let found = || text.chars().take(64).collect::<String>();
    version.map(Some).ok_or_else(|| Error::Corrupted {
        path,
        offset: 0,
        expected: format!("{FORMAT_WORD} and a number"),
        found: found(),
    })
}

/// Writes the version into a folder that has none or an earlier one, before anything of this version is in it.
pub(crate) fn mark_folder(fs: &dyn FileSystem, folder: &Path) -> Result<(), Error> {
    if version(fs, folder)?.is_some_and(|found| found >= FORMAT_VERSION) {
        return Ok(());
    }
    fs.replace_file(&folder.join(FORMAT), format!("{FORMAT_WORD} {FORMAT_VERSION}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{RealFileSystem, lock_folder};

    #[test]
    fn a_folder_gets_its_version_and_a_newer_one_is_refused_untouched() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(lock_folder(folder.path()).expect("a new folder"));
        let path = folder.path().join(FORMAT);
        assert_eq!(std::fs::read_to_string(&path).expect("written"), "trivium-data 2\n");
        std::fs::write(&path, "trivium-data 1\n").expect("written");
        drop(lock_folder(folder.path()).expect("an earlier version"));
        assert_eq!(std::fs::read_to_string(&path).expect("written"), "trivium-data 2\n");
        std::fs::write(&path, "trivium-data 3\n").expect("written");
        let error = lock_folder(folder.path()).expect_err("newer");
        assert!(matches!(error, Error::UnknownFormat { found: 3, supported: 2, .. }), "{error}");
        assert!(error.to_string().contains("start a newer Trivium"), "{error}");
        std::fs::write(&path, "?").expect("written");
        assert!(matches!(lock_folder(folder.path()), Err(Error::Corrupted { .. })));
    }

    #[test]
    fn a_new_folder_is_its_owners_alone_and_one_that_is_there_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        let folder = tempfile::tempdir().expect("a folder");
        let new = folder.path().join("above/data");
        drop(lock_folder(&new).expect("a new folder"));
        assert_eq!(mode(&new), 0o700);
        assert_ne!(mode(&folder.path().join("above")), 0o700, "what is above is not ours");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        drop(lock_folder(&new).expect("a folder that is there"));
        assert_eq!(mode(&new), 0o755, "told, and left to whoever decided it");
    }

    #[test]
    fn a_half_restored_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(RESTORING), "").expect("written");
        let error = check_folder(&RealFileSystem::new(), folder.path()).expect_err("half restored");
        assert!(error.to_string().contains("restore again"), "{error}");
    }
}
