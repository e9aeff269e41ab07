//! The ready-made files of `deploy/` are read without a warning, and what they refer to exists.

use std::path::{Path, PathBuf};

use serde_json::Value;
use trivium_slo::{SourceFile, load};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn files(folder: &str) -> Vec<SourceFile> {
    let entries = std::fs::read_dir(deploy().join(folder)).expect("the folder is part of the repository");
    let read = |path: PathBuf| SourceFile {
        text: std::fs::read_to_string(&path).expect("a file of the folder"),
        path: path.display().to_string(),
    };
    entries.map(|entry| read(entry.expect("an entry of the folder").path())).collect()
}

fn has_section(url: &str) -> bool {
    let runbook = std::fs::read_to_string(deploy().join("RUNBOOK.md")).expect("the runbook");
    let anchors = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let anchors: Vec<String> = anchors.map(|title| title.to_lowercase().replace(' ', "-")).collect();
    url.split_once('#').is_some_and(|(_, anchor)| anchors.iter().any(|known| known == anchor))
}

/// Every ready SLO is read, alerts on all four pairs and has a section in the runbook.
#[test]
fn ready_slos_are_read() {
    let set = load(&files("slos")).unwrap();
    assert_eq!(set.warnings, []);
    assert_eq!(set.slos.len(), 7);
    for slo in &set.slos {
        assert_eq!(slo.alerting.pairs.len(), 4, "{}", slo.name);
        assert!(slo.description.is_some(), "{}", slo.name);
        assert!(has_section(slo.runbook_url.as_deref().unwrap_or_default()), "{}", slo.name);
    }
}

/// Every ready alert says what is wrong, in a sentence and in more, and has a section in the runbook.
#[test]
fn ready_rules_explain_themselves() {
    let mut alerts = 0;
    for file in files("rules") {
        let rules: Value = serde_saphyr::from_str(&file.text).unwrap();
        let groups = rules["groups"].as_array().unwrap();
        for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
            assert!(rule["expr"].is_string(), "{rule}");
            let Some(alert) = rule["alert"].as_str() else { continue };
            let annotation = |name: &str| rule["annotations"][name].as_str().unwrap_or_default();
            assert!(!annotation("summary").is_empty() && annotation("description").len() > 40, "{alert}");
            assert!(has_section(annotation("runbook_url")), "{alert}");
            assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{alert}");
            alerts += 1;
        }
    }
    assert_eq!(alerts, 29);
}
