//! Reads definition files.

use std::path::{Path, PathBuf};

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files of all patterns together.
const FILES_MAX: usize = 10_000;

/// Path and text of the files that the patterns name, in the order of their paths. `*` and `?` stand within the last part
/// of a path; a pattern without them must name a file that is there.
pub(super) fn read(patterns: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut paths = Vec::new();
    for pattern in patterns {
        paths.extend(matching(pattern)?);
    }
    paths.sort();
    paths.dedup();
    if paths.len() > FILES_MAX {
        return Err(format!("{} files match, at most {FILES_MAX} are read", paths.len()));
    }
    paths.iter().map(|path| Ok((path.display().to_string(), text_of(path)?))).collect()
}

fn text_of(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("{} has {bytes} bytes, at most {FILE_BYTES_MAX} are read", path.display()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(pattern);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return Ok(vec![path.to_path_buf()]);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
        let is_file = entry.path().is_file();
        if is_file && fits(name.as_bytes(), entry.file_name().to_string_lossy().as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether a name fits a pattern; linear in the product of their lengths at worst.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place, mut star) = (0, 0, None);
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(&letter) if letter == b'?' || letter == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    at = star_at + 1;
                    place = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_letters() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("**a", "bca", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_read_in_order_and_a_missing_one_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.yml", "a.yml", "c.txt"] {
            std::fs::write(folder.path().join(name), name).expect("a file");
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        let read_all = read(&[path("*.yml"), path("a.yml")]).expect("they are there");
        assert_eq!(read_all, [(path("a.yml"), "a.yml".to_owned()), (path("b.yml"), "b.yml".to_owned())]);
        assert!(read(&[path("none.yml")]).is_err_and(|error| error.contains("none.yml")));
        assert_eq!(read(&[path("*.none")]), Ok(Vec::new()));
    }
}
