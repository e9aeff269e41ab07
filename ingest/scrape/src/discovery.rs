//! Where groups of targets come from: the configuration, and files that are read again and again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::config::{self, Group, Job};

/// The groups that each file had when it was last valid.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    files: HashMap<PathBuf, Vec<Group>>,
}

impl Discovery {
    /// All groups of a job. A file that became invalid keeps the targets it had; one that is gone has none.
    pub(crate) fn groups(&mut self, job: &Job) -> Vec<Group> {
        let mut groups = job.static_groups.clone();
        for pattern in job.files.iter().flat_map(|files| &files.patterns) {
            for path in expand(pattern) {
                match read(&path) {
                    Ok(read) => drop(self.files.insert(path.clone(), read)),
                    Err(problem) => tracing::warn!(file = %path.display(), problem, "cannot read a file of targets"),
                }
                groups.extend(self.files.get(&path).into_iter().flatten().cloned());
            }
        }
        groups
    }
}

/// The files that a pattern means, sorted.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return vec![pattern.to_path_buf()];
    }
    let expression = format!("^{}$", regex::escape(&name).replace(r"\*", ".*").replace(r"\?", "."));
    let Ok(expression) = regex::Regex::new(&expression) else { return Vec::new() };
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| expression.is_match(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<Vec<Group>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let groups = config::parse(&text).and_then(|node| node.list()?.into_iter().map(config::group).collect());
    let mut groups: Vec<Group> = groups.map_err(|error| error.to_string())?;
    for group in &mut groups {
        group.labels.insert("__meta_filepath".into(), path.to_string_lossy().into_owned());
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ScrapeConfig;

    #[test]
    fn files_are_globbed_and_keep_their_last_valid_targets() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "scrape_configs: [{job_name: j, file_sd_configs: [{files: ['t-*.yml', 'o.json']}]}]";
        let config = ScrapeConfig::parse(text, folder.path()).expect("valid");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        let mut discovery = Discovery::default();
        let mut targets = || -> Vec<String> {
            discovery.groups(&config.jobs[0]).into_iter().flat_map(|group| group.targets).collect()
        };
        assert!(targets().is_empty());
        write("t-1.yml", "- targets: [a:1]\n  labels: {x: y}\n");
        write("other.yml", "- targets: [no:1]\n");
        write("o.json", "[{\"targets\": [\"b:2\"]}]");
        assert_eq!(targets(), ["a:1", "b:2"]);
        write("t-1.yml", "- target: [a:1]\n");
        assert_eq!(targets(), ["a:1", "b:2"], "an invalid file changes nothing");
        std::fs::remove_file(folder.path().join("t-1.yml")).expect("removed");
        assert_eq!(targets(), ["b:2"]);
    }
}
