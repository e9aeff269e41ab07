//! Runs the scripts of `testdata`.

#![expect(clippy::unwrap_used, reason = "a test ends when its files cannot be read")]

use std::fs;
use std::path::Path;

use trivium_promql::script::{Command, EngineTarget, Script, run};
use trivium_promql::{ParseOptions, parse};

/// The scripts with their names.
fn scripts() -> Vec<(String, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = Script::parse(&fs::read_to_string(path).unwrap());
        (name.clone(), script.unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    paths.iter().map(|path| read(path)).collect()
}

#[test]
fn queries_are_valid() {
    let mut number = 0;
    for (name, script) in scripts() {
        for command in script.commands {
            let Command::Eval(eval) = command else { continue };
            let parsed = parse(&eval.query, &ParseOptions::EXPERIMENTAL);
            let fits = parsed.is_ok() || eval.expectations.failure.is_some();
            assert!(fits, "{name}:{}: {}: {parsed:?}", eval.line, eval.query);
            number += 1;
        }
    }
    assert!(number > 100);
}

#[test]
fn answers_are_as_expected() {
    let reports: Vec<_> = scripts()
        .iter()
        .map(|(name, script)| run(&format!("testdata/{name}"), script, &mut EngineTarget::default()))
        .collect();
    let failed = reports.iter().map(|report| report.failures().count()).sum::<usize>();
    let text: Vec<String> = reports.iter().map(ToString::to_string).collect();
    assert_eq!(failed, 0, "\n{}", text.join("\n"));
}
