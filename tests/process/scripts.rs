//! PromQL scripts through the real doors: remote write in, HTTP API out.

use std::path::Path;
use std::process::Command;

use crate::support::{BINARY, output_of};

#[test]
fn scripts_pass_on_a_server_as_on_the_engine() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("query/promql/testdata");
    for flags in [&[][..], &["--engine"]] {
        let said = output_of(Command::new(BINARY).arg("promql-test").args(flags).arg(&scripts));
        let last = said.lines().last().expect("a summary");
        assert!(last.ends_with(" passed, 0 failed, 0 skipped"), "{said}");
        assert!(!last.contains(": 0 passed"), "{said}");
    }
}

#[test]
fn a_script_that_is_wrong_fails_with_its_line() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let script = folder.path().join("wrong.test");
    std::fs::write(&script, "load 1m\n  up 1x5\n\neval instant at 1m up\n  {__name__=\"up\"} 2\n").expect("written");
    let output = Command::new(BINARY).arg("promql-test").arg(&script).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("wrong.test:4: up"), "{said}");
    let output = Command::new(BINARY).args(["promql-test", "/nowhere"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere"));
}
