//! What the compiler and clippy cannot check: sizes of files, direction of dependencies, forms of comments and documents.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a Rust file before its tests.
const FILE_LINES_MAX: usize = 800;

/// Bytes of a committed file that is not generated.
const FILE_BYTES_MAX: u64 = 512 * 1024;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn visit(folder: &Path, file: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.')
            || ["target", "node_modules", "dist", "trivium-data", "demo-data", "__pycache__"].contains(&&*name)
        {
            continue;
        }
        if path.is_dir() { visit(&path, file) } else { file(&path) }
    }
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    visit(&root(), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.to_path_buf(), fs::read_to_string(path).expect("source code is UTF-8")));
        }
    });
    assert!(files.len() > 20, "the repository was not found");
    files
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn files_are_small_enough_to_read() {
    let mut problems = Vec::new();
    for (path, text) in rust_files() {
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let lines = text.lines().take_while(|line| *line != "mod tests {").count();
        if !is_test && lines > FILE_LINES_MAX {
            problems.push(format!("{}: {lines} lines, split it (at most {FILE_LINES_MAX})", path.display()));
        }
    }
    report(&problems);
}

#[test]
fn no_large_files_are_committed() {
    let mut problems = Vec::new();
    visit(&root(), &mut |path| {
        let bytes = fs::metadata(path).expect("a file").len();
        if bytes > FILE_BYTES_MAX && !path.ends_with("Cargo.lock") && !path.ends_with("package-lock.json") {
            problems.push(format!("{}: {bytes} bytes", path.display()));
        }
    });
    report(&problems);
}

#[test]
fn reminders_name_their_issue() {
    let mut problems = Vec::new();
    let word = ["TO", "DO"].concat();
    for (path, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            if line.contains(&word) && !line.contains(&format!("{word}(issue ")) {
                problems.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    report(&problems);
}

/// The dependencies among our crates that ARCHITECTURE.md allows, tests aside.
#[test]
fn crates_depend_downwards_only() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("proto", &[] as &[&str]),
        ("proto/auth", &["trivium-model"]),
        ("proto/model", &[]),
        ("proto/relabel", &[]),
        ("storage", &["trivium-model"]),
        ("ingest", &["trivium-listen", "trivium-model", "trivium-proto", "trivium-redact", "trivium-storage"]),
        ("ingest/demo", &["trivium-model", "trivium-proto"]),
        ("ingest/listen", &["trivium-model"]),
        ("ingest/redact", &["trivium-model"]),
        ("ingest/scrape", &["trivium-model", "trivium-proto", "trivium-relabel"]),
        (
            "query",
            &[
                "trivium-alert",
                "trivium-diagnosis",
                "trivium-model",
                "trivium-notify",
                "trivium-promql",
                "trivium-slo",
                "trivium-storage",
                "trivium-views",
            ],
        ),
        ("query/alert", &["trivium-model", "trivium-promql", "trivium-template"]),
        ("query/diagnosis", &[]),
        ("query/notify", &["trivium-model", "trivium-relabel", "trivium-template"]),
        ("query/slo", &["trivium-model"]),
        ("query/template", &[]),
        ("query/views", &["trivium-model"]),
        ("query/client", &[]),
        ("query/promql", &[]),
        ("tests/torture", &["trivium-proto"]),
        ("ui", &[]),
    ]);
    let mut problems = Vec::new();
    for (folder, allowed) in allowed {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = toml::from_str(&manifest).expect("TOML");
        let dependencies = manifest["dependencies"].as_table().expect("dependencies");
        for name in dependencies.keys() {
            let heavy = match name.as_str() {
                "datafusion" => folder != "query",
                "tantivy" => folder != "storage",
                name => name.starts_with("trivium-") && !allowed.contains(&name),
            };
            if heavy {
                problems.push(format!("{folder} must not depend on {name}"));
            }
        }
        if !root().join(folder).join("README.md").exists() {
            problems.push(format!("{folder} has no README.md that says what it owns"));
        }
    }
    report(&problems);
}

#[test]
fn every_on_disk_format_is_described() {
    for folder in [
        "storage/src/wal",
        "storage/src/part",
        "storage/src/catalog",
        "storage/src/backup",
        "storage/src/encryption",
        "query/slo/src/slice",
    ] {
        let path = root().join(folder).join("FORMAT.md");
        assert!(path.exists(), "{} is missing", path.display());
    }
}

#[test]
fn every_module_says_what_it_owns() {
    let mut problems = Vec::new();
    for (path, text) in rust_files() {
        let is_head = path.ends_with("lib.rs") || path.ends_with("main.rs") || path.ends_with("mod.rs");
        if is_head && !text.starts_with("//!") {
            problems.push(format!("{} does not begin with what it owns (//!)", path.display()));
        }
    }
    report(&problems);
}
