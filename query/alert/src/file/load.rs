//! Several rule files together: all of them or none.

use std::collections::HashSet;

use super::{Group, Problem, RuleFileError, TemplateCheck, parse_rule_file};

/// A rule file that was read from disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, as it is shown.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The groups of all rule files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    /// In the order of their files.
    pub groups: Vec<Group>,
}

impl RuleSet {
    /// Reads rule files; with anything wrong in any of them there is no set. A file given twice counts once.
    pub fn parse(files: &[SourceFile], templates: &dyn TemplateCheck) -> Result<Self, RuleFileError> {
        let (mut groups, mut problems, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for file in files {
            if !seen.insert(&file.path) {
                continue;
            }
            match parse_rule_file(&file.path, &file.text, templates) {
                Ok(more) => groups.extend(more),
                Err(error) => problems.extend(error.problems),
            }
        }
        if problems.is_empty() { Ok(Self { groups }) } else { Err(RuleFileError { problems }) }
    }

    /// Reads the files that the patterns match, in the order of their paths. `*` and `?` stand within the last part of a
    /// path; a pattern without them must name a file that is there.
    pub fn load(patterns: &[String], templates: &dyn TemplateCheck) -> Result<Self, RuleFileError> {
        let (sources, mut problems) = read_all(patterns);
        match Self::parse(&sources, templates) {
            Ok(set) if problems.is_empty() => Ok(set),
            Ok(_) => Err(RuleFileError { problems }),
            Err(error) => {
                problems.extend(error.problems);
                Err(RuleFileError { problems })
            }
        }
    }
}

/// Reads the files that the patterns match, as [`RuleSet::load`] does; with anything wrong there are none.
pub fn read_files(patterns: &[String]) -> Result<Vec<SourceFile>, RuleFileError> {
    let (sources, problems) = read_all(patterns);
    if problems.is_empty() { Ok(sources) } else { Err(RuleFileError { problems }) }
}

fn read_all(patterns: &[String]) -> (Vec<SourceFile>, Vec<Problem>) {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match expand(pattern) {
            Ok(paths) => files.extend(paths),
            Err(message) => problems.push(Problem { file: pattern.clone(), line: 0, message }),
        }
    }
    let (mut sources, mut seen) = (Vec::new(), HashSet::new());
    files.retain(|path| seen.insert(path.clone()));
    for path in files {
        match read(&path) {
            Ok(text) => sources.push(SourceFile { path, text }),
            Err(message) => problems.push(Problem { file: path, line: 0, message }),
        }
    }
    (sources, problems)
}

fn read(path: &str) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if metadata.len() > super::MAX_FILE_BYTES as u64 {
        return Err(format!("has {} bytes, more than {}", metadata.len(), super::MAX_FILE_BYTES));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// The files that a pattern matches, sorted.
pub(crate) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let (folder, name) = pattern.rsplit_once('/').map_or((None, pattern), |(folder, name)| (Some(folder), name));
    if !name.contains(['*', '?']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let folder_path = folder.map_or(".", |folder| if folder.is_empty() { "/" } else { folder });
    let entries = std::fs::read_dir(folder_path).map_err(|error| format!("{folder_path} cannot be listed: {error}"))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{folder_path} cannot be listed: {error}"))?;
        let Ok(found) = entry.file_name().into_string() else { continue };
        if matches(name.as_bytes(), found.as_bytes()) && entry.path().is_file() {
            paths.push(folder.map_or_else(|| found.clone(), |folder| format!("{folder}/{found}")));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Whether a name matches a pattern with `*` and `?`; in time linear in the name for each star.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&letter) if letter == b'?' || letter == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((after_star, start)) = retry else { return false };
                (p, n) = (after_star, start + 1);
                retry = Some((after_star, start + 1));
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_match_any_run() {
        for (pattern, name, is_match) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "axxbxbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), is_match, "{pattern} {name}");
        }
    }
}
